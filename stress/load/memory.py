"""What a process weighs.

What lives here: memory now, threads and open files. What does not: its peak (`bench.alone`).
"""

from __future__ import annotations

import gc
import os
import resource
import sys
import threading
from pathlib import Path

from ..bench.alone import peak_bytes

__all__ = ["open_files", "peak_now", "resident_bytes", "threads"]


def resident_bytes() -> int:
    """Memory that the process holds now, after a collection. Where /proc is missing, the peak has to do."""
    gc.collect()
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        return peak_now()
    return pages * os.sysconf("SC_PAGESIZE")


def peak_now() -> int:
    """The most memory that the process has held."""
    return peak_bytes(resource.getrusage(resource.RUSAGE_SELF))


def open_files() -> int | None:
    """Open file descriptors, or None where nobody tells."""
    for folder in ("/proc/self/fd", "/dev/fd"):
        if sys.platform != "win32" and Path(folder).is_dir():
            return len(os.listdir(folder)) - 1  # the listing itself holds one
    return None


def threads() -> int:
    """Live threads, trio's idle ones included."""
    return threading.active_count()

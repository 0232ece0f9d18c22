"""One owner per journal file, whatever its path is spelled.

What lives here: `OwnerLock`, held from opening to closing. What does not: SQLite's own locks, which come and go with
every transaction.

Two locks, because each misses something. A registry of (device, inode) sees every spelling, hard links included, but
only in this process. A lock on `<real path>.lock` is seen by other processes, and sees through relative paths and
symbolic links; on Linux the file itself is locked, too, which covers hard links (`flock` and the `fcntl` locks of
SQLite do not meet there; elsewhere they might). The system drops both when a process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from pathlib import Path
from typing import Final

from ..errors import JournalBusy

if sys.platform == "win32":  # pragma: no cover - the other branch is the one that is tested here
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # a byte far behind the text, which others may read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


_Identity = tuple[int, int]

_guard: Final = threading.Lock()
_owned: Final[set[_Identity]] = set()
"""The journal files that this process owns."""


def is_owned_here(path: Path) -> bool:
    """Whether this process owns the file.

    Ask before opening a journal with anything but SQLite: closing any descriptor of a file drops the locks that
    SQLite holds on it in the same process.
    """
    try:
        status = path.stat()
    except OSError:
        return False
    with _guard:
        return (status.st_dev, status.st_ino) in _owned


class OwnerLock:
    """Ownership of one journal file. Made by `OwnerLock.acquire`."""

    def __init__(self, sidecar: Path, sidecar_descriptor: int) -> None:
        self._sidecar = sidecar
        self._descriptors = [sidecar_descriptor]
        self._identity: _Identity | None = None

    @classmethod
    def acquire(cls, path: Path) -> OwnerLock:
        """Own the file, which is created empty if it is missing. Raises `JournalBusy`, or `OSError` as it comes."""
        if is_owned_here(path):
            raise _busy(path, "this process")
        real = Path(os.path.realpath(path))
        sidecar = real.with_name(f"{real.name}.lock")
        lock = cls(sidecar, _open_sidecar(path, sidecar))
        try:
            lock._claim(path, real)
        except BaseException:
            lock.release()
            raise
        return lock

    def _claim(self, path: Path, real: Path) -> None:
        descriptor = os.open(real, os.O_RDWR | os.O_CREAT, 0o644)
        self._descriptors.append(descriptor)
        status = os.fstat(descriptor)
        identity = (status.st_dev, status.st_ino)
        if sys.platform == "linux":  # pragma: no branch - tested on Linux
            try:
                _lock(descriptor)
            except BlockingIOError:
                raise _busy(path, "another process, under another name of the file") from None
            except OSError:  # a file system without locks: the sidecar has to do
                pass
        with _guard:
            if identity in _owned:
                raise _busy(path, "this process, under another name of the file")
            _owned.add(identity)
            self._identity = identity

    def release(self) -> None:
        """Give it up; harmless when called again."""
        with _guard:
            _owned.discard(self._identity or (-1, -1))
        self._identity = None
        if not self._descriptors:
            return
        # While still locked: whoever waits at this inode will see that the name no longer leads to it. Where the folder
        # is read-only by now, or the system refuses, it may stay.
        with contextlib.suppress(OSError):
            self._sidecar.unlink()
        for descriptor in reversed(self._descriptors):
            os.close(descriptor)
        self._descriptors.clear()


def _open_sidecar(path: Path, sidecar: Path) -> int:
    while True:
        descriptor = os.open(sidecar, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            _lock(descriptor)
        except OSError:
            owner = os.pread(descriptor, 20, 0).decode("ascii", "replace") if hasattr(os, "pread") else ""
            os.close(descriptor)
            raise _busy(path, f"process {owner.strip()}" if owner.strip() else "another process") from None
        if _is_still(sidecar, descriptor):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, f"{os.getpid()}\n".encode())
            return descriptor
        os.close(descriptor)  # the last owner removed it between our opening and our locking: once more


def _is_still(sidecar: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(sidecar.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _busy(path: Path, owner: str) -> JournalBusy:
    return JournalBusy(
        f"the journal {path} is owned by {owner}; close that one first, or look at it with `actorflow runs` meanwhile"
    )

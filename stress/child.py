"""Processes of our own: the same interpreter, able to import what this process imports.

What lives here: how a module of this tool is started apart, and the versions that a report names. What does not: what
those modules do.
"""

from __future__ import annotations

import os
import platform
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

SOURCE = Path(__file__).resolve().parents[1]
"""The folder that holds the package `stress`: the source tree, or where it is installed."""


def command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module of this tool."""
    return [sys.executable, "-m", module, *arguments]


def environment() -> Mapping[str, str]:
    """The environment of such a process: this one's, with the package found first wherever it is started."""
    path = os.pathsep.join([str(SOURCE), *filter(None, [os.environ.get("PYTHONPATH")])])
    return os.environ | {"PYTHONPATH": path}


def versions() -> dict[str, str]:
    """What was measured on."""
    found = {name: _version(name) for name in ("actorflow", "trio")}
    return found | {
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "platform": platform.platform(),
    }


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # run from an unpacked archive
        return "not installed"

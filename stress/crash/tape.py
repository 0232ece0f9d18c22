"""The record of what reached the files of a journal, and of what was promised meanwhile.

What lives here: the entries of a tape. What does not: recording (`vfs`, `recording`), what a crash leaves (`disk`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from attrs import frozen

__all__ = [
    "CALLS",
    "Acked",
    "Call",
    "Create",
    "Delete",
    "Died",
    "Entry",
    "Issued",
    "LostSync",
    "Settled",
    "Sync",
    "Tape",
    "Told",
    "Truncate",
    "Write",
]


@frozen
class Create:
    """A file appeared, empty. `synced`: its first sync makes the folder durable, as for SQLite's journals and logs."""

    file: str
    syncs_folder: bool


@frozen
class Write:
    """Bytes were handed to the system."""

    file: str
    offset: int
    data: bytes


@frozen
class Truncate:
    """A file was cut."""

    file: str
    size: int


@frozen
class Sync:
    """All that was handed over for a file is on the disk."""

    file: str


@frozen
class LostSync:
    """A sync failed. The system counts the pages as clean all the same: no later sync will write them."""

    file: str


@frozen
class Delete:
    """A file went; its folder was synced with that, or was not."""

    file: str
    syncs_folder: bool


@frozen
class Issued:
    """The journal was asked for a commit; with it the contents are those of this number."""

    state: int


@frozen
class Acked:
    """The journal said that the commit is durable."""

    state: int


@frozen
class Told:
    """A step, or a caller, was told that what carries this mark is done."""

    run_id: str
    mark: str


@frozen
class Died:
    """The process, or the power, ended here. `files`: what the power cut left; None: the system's cache lives on."""

    files: Mapping[str, bytes] | None


@frozen
class Settled:
    """The files were opened again after a death: the contents are those of this number, and stay."""

    state: int


Call = Create | Write | Truncate | Sync | LostSync | Delete
"""What a crash can come after."""

CALLS: Final = (Create, Write, Truncate, Sync, LostSync, Delete)

Entry = Call | Issued | Acked | Told | Died | Settled

Tape = list[Entry]

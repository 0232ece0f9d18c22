"""Between SQLite and its files: every call is recorded, and a chosen one fails.

What lives here: the VFS of apsw that does so. What does not: connections (`adapter`), the tape's entries (`tape`).
"""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Final

import apsw
from attrs import define, field, frozen

from .tape import Create, Delete, Entry, LostSync, Sync, Truncate, Write

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .tape import Call

ERRORS: Final = {"write": ("EIO", "ENOSPC", "short"), "sync": ("EIO",), "truncate": ("EIO",), "delete": ("EIO",)}
"""What may go wrong with each kind of call."""

LASTS: Final = ("once", "a while", "for ever")
"""How long it does. "a while": until the journal is healed under a living runtime."""

_numbers: Final = itertools.count(1)


@frozen
class Fault:
    """The `at`-th call of a kind fails, and those after it as long as `lasts` says."""

    call: str
    at: int
    error: str
    lasts: str

    def __str__(self) -> str:
        return f"{self.call}:{self.at}:{self.error}:{self.lasts}"

    @classmethod
    def parse(cls, text: str) -> Fault:
        """The fault that `str` wrote."""
        call, at, error, lasts = text.split(":")
        if call not in ERRORS or error not in ERRORS[call] or lasts not in LASTS or not at.isdecimal():
            raise ValueError(text)
        return cls(call, int(at), error, lasts)


@define(eq=False)
class Tap:
    """What the files of one life go through.

    Attributes:
        tape: where the calls are written, as long as `is_on`.
        fault: what fails, if anything.
        deaf: sync errors are kept from SQLite: the control that must be found out.
        fired: how many calls have failed; `fired_at`: how long the tape was when the first one did.
    """

    tape: list[Entry]
    fault: Fault | None = None
    deaf: bool = False
    is_on: bool = True
    fired: int = 0
    fired_at: int = 0
    healed: bool = False
    calls: dict[str, int] = field(factory=lambda: dict.fromkeys(ERRORS, 0))
    name: str = field(factory=lambda: f"actorflow-crash-{next(_numbers)}")
    _vfs: _Vfs | None = None

    def __enter__(self) -> Tap:
        self._vfs = _Vfs(self)
        return self

    def __exit__(self, *_: object) -> None:
        vfs, self._vfs = self._vfs, None
        assert vfs is not None
        vfs.unregister()

    def put(self, call: Call) -> None:
        """Record a call."""
        if self.is_on:
            self.tape.append(call)

    def hit(self, call: str) -> str | None:
        """Count a call that is about to be made; the error that it ends in, if it does."""
        if not self.is_on:
            return None
        self.calls[call] += 1
        fault = self.fault
        if fault is None or fault.call != call or self.healed:
            return None
        number = self.calls[call]
        if number == fault.at or (number > fault.at and fault.lasts != "once"):
            self.fired += 1
            self.fired_at = self.fired_at or len(self.tape)
            return fault.error
        return None


class _Vfs(apsw.VFS):
    def __init__(self, tap: Tap) -> None:
        self._tap = tap
        super().__init__(tap.name, "", iVersion=1)

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        """A file of the journal; temporary ones, which have no name, do not matter."""
        if name is None:
            return super().xOpen(name, flags)
        return _File(self._tap, name, flags)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        """A file goes."""
        if os.path.exists(filename):
            if self._tap.hit("delete"):
                raise apsw.exception_for(apsw.SQLITE_IOERR_DELETE)
            self._tap.put(Delete(os.path.basename(filename), bool(syncdir)))
        super().xDelete(filename, syncdir)

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """A second error on top of a planned one is none that anybody should read."""
        return True


class _File(apsw.VFSFile):
    def __init__(self, tap: Tap, name: str | apsw.URIFilename, flags: list[int]) -> None:
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        self._tap = tap
        self._file = os.path.basename(path)
        existed = os.path.exists(path)
        super().__init__("", name, flags)
        if not existed:
            tap.put(Create(self._file, not flags[0] & apsw.SQLITE_OPEN_MAIN_DB))

    def xWrite(self, data: Sequence[int], offset: int) -> None:
        """Bytes for the file."""
        content = bytes(data)
        error = self._tap.hit("write")
        if error == "ENOSPC":
            raise apsw.exception_for(apsw.SQLITE_FULL)
        if error == "EIO":
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)
        if error == "short":
            content = content[: len(content) // 2]
        self._tap.put(Write(self._file, offset, content))
        super().xWrite(content, offset)
        if error == "short":
            raise apsw.exception_for(apsw.SQLITE_IOERR_WRITE)

    def xTruncate(self, newsize: int) -> None:
        """A shorter file."""
        if self._tap.hit("truncate"):
            raise apsw.exception_for(apsw.SQLITE_IOERR_TRUNCATE)
        self._tap.put(Truncate(self._file, newsize))
        super().xTruncate(newsize)

    def xSync(self, flags: int) -> None:
        """What was written should be on the disk now."""
        if self._tap.hit("sync"):
            self._tap.put(LostSync(self._file))
            if self._tap.deaf:
                return
            raise apsw.exception_for(apsw.SQLITE_IOERR_FSYNC)
        super().xSync(flags)
        self._tap.put(Sync(self._file))

    def excepthook(self, etype: object, evalue: object, etraceback: object) -> bool:
        """A second error on top of a planned one is none that anybody should read."""
        return True

"""What a crash leaves of files: a model of the system's cache and of the disk below it.

What lives here: `Disk`, and the kinds of images. What does not: the record that is fed to it (`tape`).

Until a file is synced, its writes are in the system's cache: a killed process loses none of them, a power cut any. A
file that was made is durable from its first sync on. A file that was deleted without a sync of its folder may be
there again, until the folder is synced. What a failed sync should have written is never written by a later one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from .tape import Create, LostSync, Sync, Truncate, Write

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Mapping, Sequence

    from .tape import Call

SECTOR: Final = 512
"""Bytes that a disk writes whole or not at all."""

VERSIONS_MAX: Final = 4
"""Contents that the sectors of a file are taken from: before all writes, after the first ones, after the last."""

_Pending = list["Write | Truncate"]


def put(content: bytearray, call: Write | Truncate, *, data: bytes | None = None) -> None:
    """Apply a write, or a part of it, to the content of a file."""
    if isinstance(call, Truncate):
        del content[call.size :]
        return
    written = call.data if data is None else data
    if len(content) < call.offset:
        content.extend(bytes(call.offset - len(content)))
    content[call.offset : call.offset + len(written)] = written


@define(eq=False)
class Disk:
    """The files as programs see them, what of them is durable, and what is on its way.

    Attributes:
        seen: contents as programs read them.
        durable: contents that no power cut takes away.
        pending: what was handed over since the last sync of each file.
        undead: deleted files that a power cut may bring back.
    """

    seen: dict[str, bytearray] = field(factory=dict)
    durable: dict[str, bytes] = field(factory=dict)
    pending: dict[str, _Pending] = field(factory=dict)
    undead: dict[str, bytes] = field(factory=dict)
    _syncs_folder: set[str] = field(factory=set)

    @classmethod
    def of(cls, files: Mapping[str, bytes]) -> Disk:
        """A disk on which all is durable."""
        return cls({name: bytearray(content) for name, content in files.items()}, dict(files))

    def feed(self, call: Call) -> None:
        """One more call."""
        file = call.file
        if isinstance(call, Write | Truncate):
            put(self.seen.setdefault(file, bytearray()), call)
            self.pending.setdefault(file, []).append(call)
        elif isinstance(call, Sync):
            self._sync(file)
        elif isinstance(call, LostSync):
            self.pending.pop(file, None)
        elif isinstance(call, Create):
            self.seen[file] = bytearray()
            self.pending.pop(file, None)
            if call.syncs_folder:
                self._syncs_folder.add(file)
        else:
            self.seen.pop(file, None)
            self.pending.pop(file, None)
            gone = self.durable.pop(file, None)
            if call.syncs_folder:
                self.undead.clear()
            elif gone is not None:
                self.undead[file] = gone

    def _sync(self, file: str) -> None:
        # Not what programs see: what an earlier sync failed to write stays out.
        content = bytearray(self.durable.get(file, b""))
        for call in self.pending.pop(file, ()):
            put(content, call)
        self.durable[file] = bytes(content)
        self.undead.pop(file, None)
        if file in self._syncs_folder:
            self._syncs_folder.discard(file)
            self.undead.clear()

    def image(self, kind: str, dice: random.Random) -> dict[str, bytes]:
        """The files that a crash at this moment may leave."""
        if kind == "process":
            return {file: bytes(content) for file, content in self.seen.items()}
        fate = _FATES[kind.rstrip("0123456789")]
        found = dict(self.durable)
        for file in sorted(self.undead):
            if file not in found and dice.random() < 0.5:
                found[file] = self.undead[file]
        waiting = {file: calls for file, calls in sorted(self.pending.items()) if calls}
        lucky = {file for file in waiting if dice.random() < 0.5}
        for file, calls in waiting.items():
            content = bytearray(found.get(file, b""))
            if fate(content, calls, dice, file in lucky):
                found[file] = bytes(content)
        return found


def _none(content: bytearray, calls: Sequence[Write | Truncate], dice: random.Random, lucky: bool) -> bool:
    return False


def _torn(content: bytearray, calls: Sequence[Write | Truncate], dice: random.Random, lucky: bool) -> bool:
    for call in calls[:-1]:
        put(content, call)
    last = calls[-1]
    if isinstance(last, Write):
        size = len(last.data)
        cut = SECTOR * dice.randrange(1, -(-size // SECTOR)) if size > SECTOR else size // 2
        put(content, last, data=last.data[:cut])
    return True


def _subset(content: bytearray, calls: Sequence[Write | Truncate], dice: random.Random, lucky: bool) -> bool:
    arrived = [call for call in calls if dice.random() < 0.5]
    for call in arrived:
        put(content, call)
    return bool(arrived)


def _sectors(content: bytearray, calls: Sequence[Write | Truncate], dice: random.Random, lucky: bool) -> bool:
    """Each sector of the file is as it was after some of the writes, whichever the disk came to."""
    after = [bytes(content)]
    for call in calls:
        put(content, call)
        if len(after) == VERSIONS_MAX:
            after.pop()
        after.append(bytes(content))
    size = max(len(version) for version in after)
    mixed = bytearray()
    for start in range(0, size, SECTOR):
        version = dice.choice(after)
        mixed += version[start : start + SECTOR].ljust(min(SECTOR, size - start), b"\0")
    content[:] = mixed
    return True


def _files(content: bytearray, calls: Sequence[Write | Truncate], dice: random.Random, lucky: bool) -> bool:
    if lucky:
        for call in calls:
            put(content, call)
    return lucky


_FATES: Final[Mapping[str, Callable[[bytearray, Sequence[Write | Truncate], random.Random, bool], bool]]] = {
    "none": _none,
    "torn": _torn,
    "subset": _subset,
    "sectors": _sectors,
    "files": _files,
}


def kinds(count: int) -> list[str]:
    """So many kinds of images, the most telling ones first."""
    first = ["process", "none", "torn", "subset", "sectors", "files"]
    return [*first, *(f"subset{number}" for number in range(2, count))][:count]

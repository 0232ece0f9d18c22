"""Frames of a SQLite journal, read from their description alone.

What lives here: the third reading of the format (head, texts, values), which shares no code with `actorflow.journals`.
What does not: tables and checksums (`journal_file`).

    head    [1, at, order, [tag, column …] …]: facts of one kind stand together, column by column
    texts   JSON texts that stay with the record of a run, one a line
    values  values of the run store, one a line; they go when the run ends
"""

from __future__ import annotations

import json
import struct
from base64 import b64decode
from collections.abc import Mapping
from string import ascii_letters, digits
from typing import Final, cast

from attrs import define, frozen

__all__ = ["Entry", "Unreadable", "read_frame"]

LETTERS: Final = ascii_letters + digits

COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "run1": (
        "run-started",
        "workflow_id:W version:A source:A input:T headers:T fingerprint:A prefix:A parent_id:A",
    ),
    "seed1": ("state-seeded", "values:S"),
    "step1": ("step-scheduled", "n:A step:W payload:T due:A by:A key:W"),
    "steps1": ("steps-scheduled", "first:A step:W payloads:L due:A by:A"),
    "unstep1": ("step-unscheduled", "n:A"),
    "wait1": ("wait-opened", "n:A step:W payload:T event:W deadline:A on_timeout:W by:A"),
    "event1": ("event-received", "event:W data:T n:A"),
    "take1": ("event-taken", "event:W n:A"),
    "late1": ("wait-timed-out", "n:A"),
    "start1": ("step-started", "n:A attempt:A"),
    "op1": ("operation-applied", "n:A verb:W key:W argument:V op_id:W"),
    "tx1": ("transaction-applied", "n:A operations:O op_id:W"),
    "once1": ("once-recorded", "n:A name:W value:T"),
    "emit1": ("emitted", "n:A name:W data:T"),
    "log1": ("logged", "n:A attempt:A level:A message:A"),
    "done1": ("step-completed", "n:A output:T"),
    "retry1": ("attempt-failed", "n:A error_type:W message:A due:A"),
    "fail1": ("step-failed", "n:A error_type:W message:A"),
    "cancel1": ("step-cancelled", "n:A"),
    "cut1": ("step-interrupted", "n:A crashed:A"),
    "stop1": ("run-stopping", "ending:A output:T reason:A"),
    "hook1": ("hook-scheduled", "n:A step:W"),
    "hooked1": ("hook-ended", "n:A output:T error_type:W message:A"),
    "end1": ("run-", "status:A output:T reason:A"),
    "suspend1": ("step-suspended", "n:A call:A label:A payload:T"),
    "resume1": ("step-resumed", "n:A data:T"),
    "sleep1": ("run-suspended", ""),
    "wake1": ("run-woken", ""),
    "attach1": ("child-attached", "call:A seq:A path:A inherits:A merge:A"),
    "child1": ("child-started", "n:A by:A workflow_id:W input:T"),
    "abandon1": ("child-abandoned", "n:A"),
    "pause1": ("child-paused", "n:A"),
    "go1": ("child-woken", "n:A"),
    "exit1": ("child-ended", "n:A status:W output:T error_type:W message:A operations:O"),
    "forward1": ("event-forwarded", "event:W child:A"),
    "node1": (
        "node-entered",
        "node:A name:W iteration:A stage:W takes:W n:A step:W due:A event:W",
    ),
    "fork1": ("group-opened", "first:A steps:L runs:A elements:A enough:A"),
    "shut1": ("group-closed", ""),
    "unmet1": ("node-failed", "n:A step:W error_type:W message:A"),
}
"""By tag: the kind of fact as users see it, and its columns. A: atoms, W: words, T: a text each, L: lists of texts,
V: arguments of operations, O: operations, S: states."""


class Unreadable(ValueError):
    """Bytes that are no frame."""


@frozen
class Entry:
    """One fact as the file has it: values of the run store are raw, as they stand in the file."""

    kind: str
    at: float
    fields: Mapping[str, object]


@define
class Part:
    """The lines of one part of a frame, from the front."""

    lines: list[str]
    place: int = 0

    def take(self, count: int) -> list[str]:
        """The next lines."""
        taken = self.lines[self.place : self.place + count]
        self.place += count
        if len(taken) < count:
            raise Unreadable(f"{count} lines are wanted, {len(taken)} are left")
        return taken

    @property
    def left(self) -> list[str]:
        """The lines that nobody has taken."""
        return self.lines[self.place :]


def _part(data: bytes) -> Part:
    return Part(data.decode().split("\n"))


@define
class Reader:
    """Reads columns of one frame; `values` is None if they went with their run."""

    texts: Part
    values: Part | None

    def atoms(self, stored: object, count: int) -> list[object]:
        """A column of numbers, flags or names: one for all, one each, packed, or by letters."""
        if isinstance(stored, dict):
            if "words" in stored:
                found = [stored["words"][LETTERS.index(letter)] for letter in stored["order"]]
            elif "f8" in stored:
                found = [number for (number,) in struct.iter_unpack("<d", b64decode(stored["f8"]))]
            else:
                found = [number for (number,) in struct.iter_unpack("<I", b64decode(stored["u4"]))]
        else:
            found = stored if isinstance(stored, list) else [stored] * count
        if len(found) != count:
            raise Unreadable(f"a column of {len(found)} for {count} facts")
        return found

    def arguments(self, stored: object, count: int) -> list[object]:
        """The arguments of operations: kinds in the head, values in lines, one kind after the other."""
        codes = str(stored)
        if len(codes) == 1:
            codes *= count
        if self.values is None:
            return [None] * count
        if len(codes) != count:
            raise Unreadable(f"{len(codes)} arguments for {count} operations")
        found: list[object] = [None] * count
        for code in sorted(set(codes)):
            places = [place for place, one in enumerate(codes) if one == code]
            for place, value in zip(places, self._kind(code, len(places), self.values), strict=True):
                found[place] = value
        return found

    def _kind(self, code: str, count: int, values: Part) -> list[object]:
        if code == "z":
            return [None] * count
        if code == "t":
            lengths = [int(length) for length in values.take(1)[0].split(",")]
            return [tuple(values.take(length)) for length in lengths]
        lines = values.take(count)
        if code == "i":
            return [int(line) for line in lines]
        return [float(line) for line in lines] if code == "f" else list(lines)

    def operations(self, stored: object, count: int) -> list[object]:
        """Lists of operations."""
        lengths, verbs, keys, arguments = cast("tuple[list[int], object, object, object]", stored)
        total = sum(lengths)
        columns = (self.atoms(verbs, total), self.atoms(keys, total), self.arguments(arguments, total))
        flat = list(zip(*columns, strict=True))
        ends = [sum(lengths[: place + 1]) for place in range(count)]
        return [flat[end - length : end] for end, length in zip(ends, lengths, strict=True)]

    def states(self, count: int) -> list[object]:
        """Keys and values that runs began with."""
        if self.values is None:
            return [{} for _ in range(count)]
        found: list[object] = []
        for _ in range(count):
            size = int(self.values.take(1)[0])
            keys = [json.loads(line) for line in self.values.take(size)]
            found.append(dict(zip(keys, self.values.take(size), strict=True)))
        return found

    def column(self, letter: str, stored: object, count: int) -> list[object]:
        """A column of any kind."""
        if letter in "AW":
            return [stored] if count == 1 else self.atoms(stored, count)
        if letter == "T":
            return list(self.texts.take(1) * count if stored else self.texts.take(count))
        if letter == "L":
            return [self.texts.take(length) for length in cast("list[int]", stored)]
        if letter == "V":
            return self.arguments(stored, count)
        return self.operations(stored, count) if letter == "O" else self.states(count)


def read_frame(head: bytes, texts: bytes, values: bytes | None) -> list[Entry]:
    """The facts of a frame, in their order. Raises `Unreadable`, or what reading broken bytes raises."""
    form, at, order, *rows = json.loads(head)
    if form != 1:
        raise Unreadable(f"format {form!r}")
    reader = Reader(_part(texts), None if values is None else _part(values))
    groups: list[list[Entry]] = []
    for place, row in enumerate(rows):
        count = order if isinstance(order, int) else order.count(LETTERS[place])
        groups.append(_group(reader, row, at, count))
    left = [part.left for part in (reader.texts, reader.values) if part is not None and any(part.left)]
    if left:
        raise Unreadable(f"lines are left over: {left[0][:3]}")
    if isinstance(order, int):
        return groups[0]
    each = {letter: iter(group) for letter, group in zip(LETTERS, groups, strict=False)}
    return [next(each[letter]) for letter in order]


def _group(reader: Reader, row: list[object], at: float | None, count: int) -> list[Entry]:
    tag, *stored = row
    kind, described = COLUMNS.get(str(tag), ("", ""))
    if not kind:
        raise Unreadable(f"unknown tag {tag!r}")
    times = [at] * count if at is not None else reader.column("A", stored.pop(0), count)
    names = [column.partition(":") for column in described.split()]
    columns = [reader.column(letter, one, count) for (_, _, letter), one in zip(names, stored, strict=True)]
    found = []
    for index, time in enumerate(times):
        fields = {name: column[index] for (name, _, _), column in zip(names, columns, strict=True)}
        found.append(Entry(f"run-{fields['status']}" if kind == "run-" else kind, cast("float", time), fields))
    return found

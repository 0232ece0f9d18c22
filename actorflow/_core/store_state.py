"""The keys and values of one run: the only memory that its branches share.

What lives here: `StoreState`, its representation, its versions, its point-in-time views. What does not: the verbs
(`operations`). Only `apply` and a scratch copy of it call the writing methods.

Representation. A value is compact JSON text, except that a number is kept as a number (a counter is not parsed at
every increment) and a list that was pushed to is kept as a `ListView`: a tuple (items, length, bytes) over an
append-only Python list. A push appends to the list and makes a new view, so it copies nothing, and every older view
stays true: it never looks past its own length. Whoever pushes onto a view that is not the newest copies first.
"""

from __future__ import annotations

from itertools import islice
from typing import Final, cast

from .values import MISSING, Missing, decode, size_of

ListView = tuple[list[str], int, int]
Value = str | int | float | ListView
Meta = tuple[int, int, int, int]
"""(version, writer, version of the last write by another writer, that writer). Writers are activation numbers."""

UNDO_TRIM: Final = 4_096
"""Writes that are remembered before those that no live step can ask about are forgotten."""

UNDO_MAX: Final = 50_000
"""Writes that are remembered for a long-lived step before its view is made instead: a few MB."""

NOBODY: Final = 0

SMALL: Final = 100_000_000
"""Whole numbers below it count eight bytes, as floats do."""


class StoreState:
    """Keys, values, versions. Sizes are bytes of compact JSON."""

    __slots__ = ("bytes", "hidden_keys", "meta", "undo", "undo_base", "undo_limit", "values", "views", "writes")

    def __init__(self) -> None:
        self.values: dict[str, Value] = {}
        self.meta: dict[str, Meta] = {}
        self.bytes = 0
        self.writes = 0
        self.hidden_keys = 0  # keys that a scratch copy counts but does not hold
        self.undo: list[tuple[str, Value | Missing]] = []
        self.undo_base = 0
        self.undo_limit = UNDO_TRIM
        self.views: dict[int, dict[str, Value]] = {}

    # --- reading

    def text(self, key: str) -> str | None:
        """The value under `key` as JSON text, None if there is none."""
        value = self.values.get(key, MISSING)
        return None if value is MISSING else value_text(value)

    def foreign_version(self, key: str, writer: int) -> int:
        """The version at which somebody other than `writer` last wrote `key`; 0 if nobody did."""
        meta = self.meta.get(key)
        if meta is None:
            return 0
        return meta[2] if meta[1] == writer else meta[0]

    def foreign_writer(self, key: str, writer: int) -> int:
        """Who that was."""
        meta = self.meta.get(key)
        if meta is None:
            return NOBODY
        return meta[3] if meta[1] == writer else meta[1]

    # --- writing

    def write(self, key: str, old: Value | Missing, new: Value | Missing, writer: int, grown: int) -> None:
        """Put `new` in the place of `old`; `grown` is the difference in bytes."""
        self.undo.append((key, old))
        version = self.writes = self.writes + 1
        meta = self.meta.get(key)
        if meta is None:
            self.meta[key] = (version, writer, 0, NOBODY)
        elif meta[1] == writer:
            self.meta[key] = (version, writer, meta[2], meta[3])
        else:
            self.meta[key] = (version, writer, meta[0], meta[1])
        self.bytes += grown
        if new is MISSING:
            del self.values[key]
        else:
            self.values[key] = new

    # --- views of a past moment, named by its write count: what `ctx.state` shows is the store as the step found it

    def view(self, mark: int) -> dict[str, Value]:
        """The values as they were after `mark` writes; the mark must be that of a step that is still live."""
        made = self.views.get(mark)
        if made is not None:
            return made
        values = self.values.copy()
        for key, old in islice(reversed(self.undo), self.writes - mark):
            _put_back(values, key, old)
        return values

    def forget(self, marks: list[int]) -> None:
        """Keep only what views of `marks` (ascending) need."""
        oldest = marks[0] if marks else self.writes
        if oldest > self.undo_base:
            del self.undo[: oldest - self.undo_base]
            self.undo_base = oldest
        if len(self.undo) > UNDO_MAX:
            self._make_views(marks)
        self.undo_limit = max(UNDO_TRIM, 2 * len(self.undo))
        if self.views:
            wanted = set(marks)
            self.views = {mark: view for mark, view in self.views.items() if mark in wanted}

    def _make_views(self, marks: list[int]) -> None:
        """Make the views of all `marks` in one pass backwards, so that the list can be emptied."""
        values = self.values.copy()
        undo = self.undo
        at = self.writes
        pending = [mark for mark in marks if mark not in self.views]
        while pending:
            while pending and pending[-1] == at:
                self.views[pending.pop()] = values.copy()
            if not undo:
                break
            _put_back(values, *undo.pop())
            at -= 1
        undo.clear()
        self.undo_base = self.writes


def _put_back(values: dict[str, Value], key: str, old: Value | Missing) -> None:
    if old is MISSING:
        values.pop(key, None)
    else:
        values[key] = old


def value_text(value: Value) -> str:
    """A stored value as JSON text."""
    if type(value) is str:
        return value
    if isinstance(value, tuple):
        items, length, _ = value
        return f"[{','.join(items if length == len(items) else items[:length])}]"
    return repr(value)


def value_of(value: Value) -> object:
    """A stored value as a Python object of its own."""
    if type(value) is int or type(value) is float:
        return value
    return decode(value_text(value))


def value_bytes(value: Value) -> int:
    """Bytes of a stored value; a small number counts eight."""
    if type(value) is str:
        return size_of(value)
    if isinstance(value, tuple):
        return value[2] + 2
    if isinstance(value, float) or -SMALL < value < SMALL:  # type: ignore[operator]  # no text: that was the first case
        return 8
    return len(repr(value))


def key_bytes(key: str) -> int:
    """Bytes that a key costs beside its value: itself, its quotes, a colon and a comma."""
    return size_of(key) + 4


def from_text(text: str) -> Value:
    """The stored form of checked JSON text."""
    head = text[0]
    if head == "-" or head.isdigit():
        return cast("int | float", decode(text))
    return text


def list_view(text: str) -> ListView:
    """The view of a list that so far was kept as JSON text."""
    from .values import encode  # here: the one place that parses a stored list

    found = decode(text)
    items: list[str] = [encode(item) for item in found] if isinstance(found, list) else []
    return items, len(items), len(text) - 2 if text.isascii() else size_of(text) - 2

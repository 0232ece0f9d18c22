"""How a second pass of a step recognises what an earlier pass already did.

What lives here: matching, by the rule of semantics C3. What does not: recording (`run_state` keeps the log of each
activation), asking (`_runtime`: a pass asks here first, and only what is not matched is sent to the run).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from .values import decode, json_equal

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .run_state import LogEntry

UNMATCHED: Final = object()


def same_argument(left: object, right: object) -> bool:
    """Whether two arguments of one verb are equal as JSON: what a second pass is recognised by."""
    if left == right and type(left) is type(right):
        return True
    if isinstance(left, str) and isinstance(right, str):
        return left[:1] == right[:1] and left[:1] in "{[" and json_equal(decode(left), decode(right))
    return False


def _is_hashed(argument: object) -> bool:
    """Whether equal arguments are found by their hash; those of a tuple may be equal as JSON and hash differently."""
    return type(argument).__hash__ is not None and not isinstance(argument, tuple)


class _Lane:
    """What an activation did with one verb to one key, in order; each entry is matched at most once per pass."""

    __slots__ = ("entries", "next", "strict", "taken", "texts")

    def __init__(self) -> None:
        self.entries: list[tuple[object, object]] = []
        self.texts: dict[object, deque[int]] = {}
        self.taken: set[int] = set()
        self.next = 0
        self.strict = 0
        """Entries from before the last resume: they are recognised by equal arguments alone."""

    def add(self, argument: object, reply: object, *, strict: bool) -> None:
        self.strict += strict
        if _is_hashed(argument):
            self.texts.setdefault((type(argument), argument), deque()).append(len(self.entries))
        self.entries.append((argument, reply))

    def equal(self, argument: object) -> int:
        """The first unmatched entry with an equal argument, -1 if there is none."""
        if _is_hashed(argument):
            same = self.texts.get((type(argument), argument))
            while same:
                index = same[0]
                if index not in self.taken:
                    return index
                same.popleft()
            if not (isinstance(argument, str) and argument[:1] in ("{", "[")):
                return -1
        for index in range(self.next, len(self.entries)):  # texts that differ only in the order of keys, tuples, lists
            if index not in self.taken and same_argument(self.entries[index][0], argument):
                return index
        return -1

    def oldest(self) -> int:
        """The oldest unmatched entry since the last resume, -1 if there is none."""
        while self.next in self.taken:
            self.next += 1
        index = max(self.next, self.strict)
        while index in self.taken:
            index += 1
        return index if index < len(self.entries) else -1

    def take(self, index: int) -> object:
        self.taken.add(index)
        return self.entries[index][1]


class Replay:
    """The log of an activation's earlier passes, as one pass sees it.

    Args:
        log: what the earlier passes did.
        leg: how much of it was there at the last resume. After a retry or a crash the first write stands even if its
            argument differs now; after a resume an operation with new arguments is new.
    """

    __slots__ = ("_lanes",)

    def __init__(self, log: Sequence[LogEntry], *, leg: int = 0) -> None:
        self._lanes: dict[tuple[str, str], _Lane] = {}
        for place, (verb, key, argument, reply) in enumerate(log):
            strict = place < leg
            if verb == "schedule_many" and isinstance(argument, list) and isinstance(reply, int):
                lane = self._lane("schedule", key)
                for offset, payload in enumerate(argument):
                    lane.add(payload, reply + offset, strict=strict)
            elif verb == "update" and isinstance(argument, tuple):
                self._lane(verb, key).add(argument[1], reply, strict=strict)
            else:
                self._lane(verb, key).add(argument, reply, strict=strict)

    def _lane(self, verb: str, key: str) -> _Lane:
        lane = self._lanes.get((verb, key))
        if lane is None:
            lane = self._lanes[verb, key] = _Lane()
        return lane

    def match(self, verb: str, key: str, argument: object) -> object:
        """The recorded reply of this operation, or `UNMATCHED` if no earlier pass did it.

        The argument of an `update` is the mark of its function: what it will write is not known before it ran.
        """
        lane = self._lanes.get((verb, key))
        if lane is None:
            return UNMATCHED
        index = lane.equal(argument)
        if index < 0:
            index = lane.oldest()
        return UNMATCHED if index < 0 else lane.take(index)

"""What went wrong between the branches of a run, told as stories.

What lives here: the patterns that are found in a history: an update that was overwritten unseen, a check that was out
of date when it was acted on, an item that stands in a list more often than it was pushed. What does not: judging the
store itself (`linearizable`): in all these stories the store did what it was asked.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, cast

from attrs import define, evolve, field, frozen

from .._core.values import MISSING, shorten
from .repeats import Changed, changed
from .store_call import READS, TRANSACTION, StoreCall
from .store_model import freeze

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .history import History

SHOWN: Final = 3
"""Overwritten updates that a story tells one by one."""

WIDTH: Final = 60
"""Characters of a value in a story."""

PUSHES: Final = frozenset({"push", "extend"})
VALUES: Final = frozenset({"get", "snapshot", "wait_for"})
"""Reads that tell the whole value."""

TELLING: Final = frozenset({"increment", "decrement", "maximum", "minimum", "update"})
"""Verbs that change something and are told the new value: who did that has read."""


class Story(Enum):
    """The kinds of stories."""

    LOST_UPDATE = "lost update"
    CHECK_THEN_ACT = "check then act"
    DUPLICATE = "duplicate"


@frozen
class LostUpdateStory:
    """One thing that happened between branches, and what would have been safe.

    `str(story)` tells it: "branch A read `count` = 3, branch B set 4, branch A set 4: B's update is lost".

    Attributes:
        calls: the calls of the story, in the order in which it tells them.
        advice: the verbs that would not have lost anything.
    """

    kind: Story
    key: str
    sentence: str
    calls: tuple[StoreCall, ...]
    advice: str

    def __str__(self) -> str:
        return self.sentence


@define
class _Key:
    """What was asked about one key: reads and writes of each branch, all writes by the place of their answer."""

    mine: dict[str, list[StoreCall]] = field(factory=dict)
    writes: list[StoreCall] = field(factory=list)


def lost_updates(history: History) -> list[LostUpdateStory]:
    """The stories of a history, in the order in which the damage was done."""
    keys: dict[str, _Key] = {}
    for call in _calls(history):
        found = keys.setdefault(call.key, _Key())
        found.mine.setdefault(call.branch, []).append(call)
        if _is_write(call):
            found.writes.append(call)
    stories: list[LostUpdateStory] = []
    for key, found in keys.items():
        found.writes.sort(key=_end)
        ends = [_end(call) for call in found.writes]
        for mine in found.mine.values():
            stories += _overwritten(sorted(mine, key=lambda call: call.invoked), found.writes, ends)
        story = _duplicate(key, found, history.initial.get(key, MISSING))
        stories += [story] if story is not None else []
    return sorted(stories, key=lambda story: story.calls[-1].invoked)


def _calls(history: History) -> Iterator[StoreCall]:
    """Every call as calls on single keys, the reads of whole stores included."""
    known = {key for call in history.calls for key in call.keys}
    for call in history.calls:
        if call.verb == TRANSACTION:
            for verb, key, given in call.parts:
                yield evolve(call, verb=verb, key=key, arguments=given)
        elif call.verb != "refused":
            yield call
    for call in history.seen:
        if call.verb == "snapshot":
            values = cast("dict[str, object]", call.result)
            for key in known:
                yield evolve(call, key=key, result=values.get(key), arguments=(key in values,))
        else:
            yield call


def _end(call: StoreCall) -> float:
    return call.invoked if call.returned == inf else call.returned


def _is_write(call: StoreCall) -> bool:
    if call.verb in {"snapshot", "wait_for", *READS}:
        return False
    return call.result is None or changed(call) is not Changed.NO  # in a transaction, no verb has an answer


def _overwritten(
    mine: Sequence[StoreCall], writes: Sequence[StoreCall], ends: list[float]
) -> Iterator[LostUpdateStory]:
    """Every `set` of one branch that took away what others wrote since the branch had read."""
    read: StoreCall | None = None
    since = 0.0
    for call in mine:
        if call.verb == "set" and read is not None:
            between = writes[bisect_right(ends, since) : bisect_right(ends, _end(call))]
            lost = [
                one
                for one in _after_what_was_seen(between, read)
                if one.branch != call.branch and one.invoked < _end(call) and _is_unseen(one, read)
            ]
            if lost:
                yield _story(read, lost, call)
            since = _end(call)
        elif call.returned != inf and (not _is_write(call) or call.verb in TELLING or call.verb in PUSHES):
            # What others wrote while a value was being read may have come after it was taken.
            read, since = call, call.invoked if call.verb in VALUES else call.returned


def _after_what_was_seen(writes: Sequence[StoreCall], read: StoreCall) -> Sequence[StoreCall]:
    """The writes after the last one of those beside the read that left what it saw."""
    seen = 0
    for place, write in enumerate(writes, 1):
        if _end(write) <= read.returned and not _is_unseen(write, read):
            seen = place
    return writes[seen:]


def _is_unseen(write: StoreCall, read: StoreCall) -> bool:
    """Whether a write that was answered after a read was not what the read saw."""
    if write.invoked > read.returned or read.verb in {"has", "length"}:
        return True
    if write.verb in PUSHES and isinstance(read.result, list) and isinstance(write.result, int):
        return write.result > len(read.result)
    left = write.arguments[0] if write.verb == "set" else write.result
    return freeze(left) != freeze(read.result)


def _story(read: StoreCall, lost: list[StoreCall], last: StoreCall) -> LostUpdateStory:
    key = last.key
    did = [f"branch {one.branch} {_did(one)}" for one in lost[:SHOWN]]
    if len(lost) > SHOWN:
        did.append(f"{len(lost) - SHOWN} more came")
    if len(lost) == 1:
        end = f"{lost[0].branch}'s update is lost"
    elif len({one.branch for one in lost}) == 1:
        end = f"{len(lost)} updates of {lost[0].branch} are lost"
    else:
        end = f"{len(lost)} updates are lost"
    sentence = f"{_saw(read)}, {', '.join(did)}, branch {last.branch} {_did(last)}: {end}"
    kind = Story.CHECK_THEN_ACT if _found_nothing(read) else Story.LOST_UPDATE
    return LostUpdateStory(kind, key, sentence, (read, *lost, last), _advice(read, lost, last))


def _found_nothing(read: StoreCall) -> bool:
    if read.verb == "snapshot":
        return read.arguments == (False,)
    return (read.verb == "get" and read.result is None) or (read.verb == "has" and read.result is False)


def _saw(read: StoreCall) -> str:
    who, key, value = f"branch {read.branch}", f"`{read.key}`", shorten(read.result, WIDTH)
    if _found_nothing(read):
        return f"{who} found no {key}"
    if read.verb == "has":
        return f"{who} found that there is {key}"
    if read.verb == "length":
        return f"{who} read that {key} has {value} items"
    if read.verb in {"get", "snapshot", "wait_for"}:
        return f"{who} read {key} = {value}"
    return f"{who} {_did(read)} ({key})"


def _did(call: StoreCall) -> str:
    given = shorten(call.arguments[0], WIDTH) if call.arguments else ""
    to = "" if call.returned == inf or call.result is None else f" to {shorten(call.result, WIDTH)}"
    texts = {
        "set": f"set {given}",
        "push": f"pushed {given}",
        "extend": f"pushed all of {given}",
        "increment": f"added {given}{to}",
        "decrement": f"subtracted {given}{to}",
        "delete": "deleted it",
        "pop": "took it away",
        "update": f"updated it{to}",
        "maximum": f"raised it{to}",
        "minimum": f"lowered it{to}",
    }
    return texts.get(call.verb, f"did {call.verb} {given}".rstrip())


def _advice(read: StoreCall, lost: Sequence[StoreCall], last: StoreCall) -> str:
    values = [read.result, last.arguments[0], *(one.arguments[0] for one in lost if one.verb == "set")]
    if any(isinstance(one, int | float) and not isinstance(one, bool) for one in values) and read.verb != "length":
        return "increment and update change the value that is there"
    if any(isinstance(one, list) for one in values):
        return "push and extend append to the list that is there"
    if any(isinstance(one, dict) for one in values):
        return "merge and update change the object that is there"
    if _found_nothing(read):
        return "set_if_absent looks and writes at once"
    return "update and compare_and_set read and write at once"


def _duplicate(key: str, found: _Key, initial: object) -> LostUpdateStory | None:
    """An item that stands in a list more often than it was pushed."""
    if any(call.verb not in PUSHES for call in found.writes) or not isinstance(initial, list | type(MISSING)):
        return None
    pushed: Counter[object] = Counter(map(freeze, initial) if isinstance(initial, list) else ())
    by: dict[object, StoreCall] = {}
    for call in found.writes:
        items = call.arguments[:1] if call.verb == "push" else cast("list[object]", call.arguments[0])
        for item in map(freeze, items):
            pushed[item] += 1
            by[item] = call
    reads = [call for mine in found.mine.values() for call in mine if isinstance(call.result, list)]
    for read in sorted(reads, key=lambda call: call.invoked):
        items = cast("list[object]", read.result)
        for item, count in Counter(map(freeze, items)).items():
            if count > pushed[item] > 0 and item in by:
                push = by[item]
                shown = shorten(next(one for one in items if freeze(one) == item), WIDTH)
                sentence = (
                    f"branch {read.branch} read `{key}` with {shown} in it {_times(count)}, but it was pushed "
                    f"{_times(pushed[item])}, by branch {push.branch}: it was applied again"
                )
                return LostUpdateStory(
                    Story.DUPLICATE, key, sentence, (push, read), "op_id names an operation that must count once"
                )
    return None


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")

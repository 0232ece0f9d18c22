"""Keys whose history tells the order itself: checked by sorting, in O(n log n), however many calls overlap.

What lives here: lists that only grow, counters, registers whose values are unique, and which of them fits. What does
not: every other key (`linear_search`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, Protocol, cast

from attrs import frozen

from .._core.values import MISSING
from .store_call import TRANSACTION, StoreCall
from .store_model import freeze, thaw

if TYPE_CHECKING:
    from collections.abc import Callable

Calls = Sequence[StoreCall]
Placed = tuple[int, int, float, StoreCall]
"""The height that a call was told, whether it is a read, when it began, and the call."""


@frozen
class Contradiction:
    """What cannot be, in words, and the calls that show it."""

    sentence: str
    calls: tuple[StoreCall, ...]


def told(call: StoreCall) -> str:
    """What a branch was told, as half a sentence."""
    if call.returned == inf:
        return f"branch {call.branch} asked for {call.asked} and was told nothing"
    asked = call.verb if call.verb in {"increment", "decrement", "get"} else f"{call.verb}{call.arguments!r}"
    if call.verb == TRANSACTION:
        return f"branch {call.branch} was told that {call.asked} was done"
    return f"branch {call.branch} was told {asked} gave {call.result!r}"


def contradict(later: StoreCall, earlier: StoreCall) -> Contradiction:
    """Two answers that exclude each other."""
    if earlier.invoked > later.invoked:
        later, earlier = earlier, later
    if earlier.returned < later.invoked:
        had = told(earlier).replace(" was told ", " had been told ", 1)
        return Contradiction(f"{told(later)} although {had} before", (earlier, later))
    return Contradiction(f"{told(later)} although {told(earlier)} at the same time", (earlier, later))


class Checker(Protocol):
    """Judges the calls of one key, which began with `initial`."""

    def __call__(self, calls: Calls, initial: object = ...) -> Contradiction | None:
        """What cannot be, if anything."""


@frozen
class Gap:
    """Before the `index`-th call of the order, that many calls of unknown outcome must have counted."""

    index: int
    count: int


def _in_order(order: Calls, gaps: Sequence[Gap], unknown: Calls) -> Contradiction | None:
    """Whether an order that the answers dictate fits what was over before what, with the gaps filled."""
    latest: StoreCall | None = None
    for call in order:
        if latest is not None and call.returned < latest.invoked:
            return contradict(latest, call)
        if latest is None or call.invoked > latest.invoked:
            latest = call
    if not gaps:
        return None
    deadlines = [inf] * (len(order) + 1)
    for index in range(len(order) - 1, -1, -1):
        deadlines[index] = min(order[index].returned, deadlines[index + 1])
    free = iter(sorted(call.invoked for call in unknown))
    for gap in gaps:
        for _ in range(gap.count):
            if next(free, inf) >= deadlines[gap.index]:
                call = order[gap.index]
                return Contradiction(f"{told(call)}, which takes more writes than there had been", (call,))
    return None


def _not_told(call: StoreCall, why: str) -> Contradiction:
    return Contradiction(f"{told(call)}, {why}", (call,))


def _length(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def check_list(calls: Calls, initial: object = MISSING) -> Contradiction | None:
    """One list that only grows, by `push` of unique items; reads are `get` and `length`."""
    longest: StoreCall | None = None
    most = -1
    for call in calls:
        if call.verb == "get" and call.returned != inf and call.result is not None:
            if not isinstance(call.result, list) or (not call.result and initial is MISSING):
                return _not_told(call, "which is no list with items")
            if len(call.result) > most:
                longest, most = call, len(call.result)
    first = [] if initial is MISSING else [freeze(one) for one in cast("list[object]", initial)]
    items = first if longest is None else [freeze(one) for one in cast("list[object]", longest.result)]
    if longest is not None and items[: len(first)] != first:
        return _not_told(longest, f"but the list began with {initial!r}")
    at = {item: index for index, item in enumerate(items, 1)}
    if longest is not None and len(at) < len(items):
        return _not_told(longest, "in which an item stands twice")
    placed: list[Placed] = []
    unknown: list[StoreCall] = []
    pushed = set(first)
    for call in calls:
        if call.verb == "push":
            item = freeze(call.arguments[0])
            pushed.add(item)
            height = at.get(item)
            if call.returned == inf:
                if height is None:
                    unknown.append(call)
                else:
                    placed.append((height, 0, call.invoked, call))
                continue
            found = _length(call.result)
            if not found:
                return _not_told(call, "which is no length of a list")
            if longest is not None and (found <= len(items) or height is not None) and found != height:
                return contradict(longest, call)
            placed.append((found, 0, call.invoked, call))
        elif call.returned != inf:
            found = _length(call.result)
            if call.verb == "get":
                seen = [] if call.result is None else [freeze(one) for one in cast("list[object]", call.result)]
                if seen != items[: len(seen)]:
                    return contradict(cast("StoreCall", longest), call)
                if call.result is None and initial is not MISSING:
                    return _not_told(call, f"but the list began with {initial!r}")
                found = len(seen)
            if found is None:
                return _not_told(call, "which is no length of a list")
            placed.append((found, 1, call.invoked, call))
    strange = [item for item in items if item not in pushed]
    if strange and longest is not None:
        return Contradiction(f"{told(longest)}, but nobody pushed {thaw(strange[0])!r}", (longest,))
    return _in_turn(placed) or _ladder(placed, unknown, lambda _: 1, 1, len(first))


def _in_turn(placed: list[Placed]) -> Contradiction | None:
    """Whether what was sent without waiting stands before what its sender sent after it."""
    if not any(one[3].returned == inf and one[3].sender for one in placed):
        return None
    highest: dict[int, tuple[int, StoreCall]] = {}
    for height, reads, _, call in sorted(placed, key=lambda one: one[2]):
        before = highest.get(call.sender)
        if before is not None and height < before[0] + (not reads):
            sent = before[1]
            return Contradiction(
                f"{told(call)}, but it had sent {sent.asked} before, which came to place {before[0]}", (sent, call)
            )
        if call.sender and call.returned == inf:
            highest[call.sender] = (height, call)
    return None


def check_counter(calls: Calls, initial: object = MISSING) -> Contradiction | None:
    """One number that only grows, by `increment` with whole deltas; unknown outcomes all have the same delta."""
    placed: list[Placed] = []
    unknown = [call for call in calls if call.returned == inf and call.verb == "increment"]
    for call in calls:
        if call.returned == inf:
            continue
        is_read = call.verb == "get"
        value = call.result
        if is_read and initial is MISSING:
            value = 0 if value is None else value or None  # a counter that is not there yet is None, and never 0
        if not isinstance(value, int) or isinstance(value, bool):
            return _not_told(call, "which no counter can be")
        placed.append((value, int(is_read), call.invoked, call))
    unit = cast("int", unknown[0].arguments[0]) if unknown else 1
    start = 0 if initial is MISSING else cast("int", initial)
    return _ladder(placed, unknown, lambda call: cast("int", call.arguments[0]), unit, start)


def _ladder(
    placed: list[Placed], unknown: Calls, step: Callable[[StoreCall], int], unit: int, start: int
) -> Contradiction | None:
    """Calls by the height that they were told: writes climb by `step`, reads stand still, the rest climbs by `unit`."""
    placed.sort()  # no two calls begin at one place, so calls themselves are never compared
    gaps = []
    height = start
    previous: StoreCall | None = None
    for index, (told_height, reads, _, call) in enumerate(placed):
        missing = told_height - height - (0 if reads else step(call))
        if missing < 0:
            if previous is None:
                return _not_told(
                    call, "which is less than it began with" if reads else "which is less than it asked for"
                )
            return contradict(call, previous)
        if missing:
            if missing % unit or not unknown:
                who = (call,) if previous is None else (previous, call)
                least = f"the value before was {height}" if height else "nothing had been written"
                return Contradiction(f"{told(call)}, which no calls add up to: {least}", who)
            gaps.append(Gap(index, missing // unit))
        height, previous = told_height, call
    return _in_order([one[3] for one in placed], gaps, unknown)


def check_register(calls: Calls, initial: object = MISSING) -> Contradiction | None:
    """One key written by `set` only, every value once: the zones of Gibbons and Korach."""
    writes = {freeze(call.arguments[0]): call for call in calls if call.verb == "set"}
    first_value = None if initial is MISSING else freeze(initial)
    ends: dict[object, tuple[StoreCall | None, StoreCall | None]] = {}  # by value: first return, last invocation
    for value, call in writes.items():
        if call.returned != inf:
            if call.result is not None:
                return _not_told(call, "which set never gives")
            ends[value] = (call, call)
    for call in calls:
        if call.verb != "get" or call.returned == inf:
            continue
        value = freeze(call.result)
        write = writes.get(value)
        if write is None and value != first_value:
            return _not_told(call, "which nobody had set")
        if write is not None and call.returned < write.invoked:
            return contradict(write, call)
        first, last = ends.get(value, (write, write))
        if write is not None and first is not None and call.returned < first.returned:
            first = call
        if last is None or call.invoked > last.invoked:
            last = call
        ends[value] = (first, last)
    forward: list[tuple[float, float, StoreCall]] = []
    backward: list[tuple[float, float, StoreCall]] = []
    for first, last in ends.values():
        assert last is not None
        start = -1.0 if first is None else first.returned
        if start < last.invoked:
            forward.append((start, last.invoked, last))
        else:
            backward.append((last.invoked, start, last))
    forward.sort(key=lambda one: one[:2])
    for (_, end, one), (start, _, other) in pairwise(forward):
        if start < end:
            return contradict(one, other)
    starts = [one[0] for one in forward]
    for start, end, call in backward:
        index = bisect_right(starts, start) - 1
        if index >= 0 and end < forward[index][1]:
            return contradict(forward[index][2], call)
    return None


def special(calls: Calls, initial: object = MISSING) -> Checker | None:
    """The checker that fits the calls of one key, if one does."""
    verbs = {call.verb for call in calls}
    if not verbs <= {"increment", "push", "set", "get", "length"}:
        return None
    if any(call.verb == "get" and call.arguments != (None,) for call in calls):
        return None
    given = [call.arguments[0] for call in calls if call.verb in {"set", "push", "increment"}]
    if verbs <= {"increment", "get"}:
        whole = all(type(one) is int and one > 0 for one in given) and (initial is MISSING or type(initial) is int)
        unknown = {call.arguments[0] for call in calls if call.returned == inf and call.verb == "increment"}
        return check_counter if whole and len(unknown) <= 1 else None
    values = {freeze(one) for one in given}
    if len(values) < len(given):
        return None
    if verbs <= {"push", "get", "length"}:
        if initial is MISSING:
            return check_list
        if not isinstance(initial, list):
            return None
        first = {freeze(one) for one in initial}
        return check_list if len(first) == len(initial) and not first & values else None
    if verbs <= {"set", "get"} and None not in given and (initial is MISSING or freeze(initial) not in values):
        return check_register
    return None

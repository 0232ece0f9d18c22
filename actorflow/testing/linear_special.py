"""Keys whose history tells the order itself: checked by sorting, in O(n log n), however many calls overlap.

What lives here: lists that only grow, counters, registers whose values are unique, and which of them fits. What does
not: every other key (`linear_search`).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import pairwise
from math import inf
from typing import TYPE_CHECKING, cast

from attrs import frozen

from .history import StoreCall
from .store_model import freeze

if TYPE_CHECKING:
    from collections.abc import Callable

Calls = Sequence[StoreCall]


@frozen
class Contradiction:
    """What cannot be, in words, and the calls that show it."""

    sentence: str
    calls: tuple[StoreCall, ...]


def told(call: StoreCall) -> str:
    """What a branch was told, as half a sentence."""
    if call.returned == inf:
        return f"branch {call.branch} asked for {call.verb} of {call.arguments!r} and was told nothing"
    asked = call.verb if call.verb in {"increment", "decrement", "get"} else f"{call.verb}{call.arguments!r}"
    return f"branch {call.branch} was told {asked} gave {call.result!r}"


def contradict(later: StoreCall, earlier: StoreCall) -> Contradiction:
    """Two answers that exclude each other."""
    if earlier.invoked > later.invoked:
        later, earlier = earlier, later
    if earlier.returned < later.invoked:
        had = told(earlier).replace(" was told ", " had been told ", 1)
        return Contradiction(f"{told(later)} although {had} before", (earlier, later))
    return Contradiction(f"{told(later)} although {told(earlier)} at the same time", (earlier, later))


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


def check_list(calls: Calls) -> Contradiction | None:
    """One list that only grows, by `push` of unique items; reads are `get` and `length`."""
    longest: StoreCall | None = None
    for call in calls:
        if call.verb == "get" and call.returned != inf and call.result is not None:
            if not isinstance(call.result, list) or not call.result:
                return Contradiction(f"{told(call)}, which is no list with items", (call,))
            if longest is None or len(call.result) > len(cast("list[object]", longest.result)):
                longest = call
    items = [] if longest is None else [freeze(one) for one in cast("list[object]", longest.result)]
    at = {item: index for index, item in enumerate(items, 1)}
    if longest is not None and len(at) < len(items):
        return Contradiction(f"{told(longest)}, in which an item stands twice", (longest,))
    placed: list[tuple[int, int, float, StoreCall]] = []
    unknown: list[StoreCall] = []
    pushed = set()
    for call in calls:
        if call.verb == "push":
            item = freeze(call.arguments[0])
            pushed.add(item)
            length = at.get(item)
            if call.returned == inf:
                if length is None:
                    unknown.append(call)
                else:
                    placed.append((length, 0, call.invoked, call))
                continue
            result = call.result
            if not isinstance(result, int) or isinstance(result, bool) or result < 1:
                return Contradiction(f"{told(call)}, which is no length of a list", (call,))
            if longest is not None and (result <= len(items) or length is not None) and result != length:
                return contradict(longest, call)
            placed.append((result, 0, call.invoked, call))
        elif call.returned != inf:
            found = call.result
            if call.verb == "get":
                if (
                    found is not None
                    and [freeze(one) for one in cast("list[object]", found)]
                    != items[: len(cast("list[object]", found))]
                ):
                    return contradict(cast("StoreCall", longest), call)
                found = 0 if found is None else len(cast("list[object]", found))
            if not isinstance(found, int) or isinstance(found, bool) or found < 0:
                return Contradiction(f"{told(call)}, which is no length of a list", (call,))
            placed.append((found, 1, call.invoked, call))
    strange = [item for item in items if item not in pushed]
    if strange and longest is not None:
        return Contradiction(f"{told(longest)}, but nobody pushed {strange[0]!r}", (longest,))
    return _ladder(placed, unknown, lambda _: 1, 1)


def check_counter(calls: Calls) -> Contradiction | None:
    """One number that only grows, by `increment` with whole deltas; unknown outcomes all have the same delta."""
    placed: list[tuple[int, int, float, StoreCall]] = []
    unknown = [call for call in calls if call.returned == inf and call.verb == "increment"]
    for call in calls:
        if call.returned == inf:
            continue
        value = 0 if call.result is None and call.verb == "get" else call.result
        if not isinstance(value, int) or isinstance(value, bool):
            return Contradiction(f"{told(call)}, which no counter can be", (call,))
        placed.append((value, int(call.verb == "get"), call.invoked, call))
    unit = cast("int", unknown[0].arguments[0]) if unknown else 1
    return _ladder(placed, unknown, lambda call: cast("int", call.arguments[0]), unit)


def _ladder(
    placed: list[tuple[int, int, float, StoreCall]],
    unknown: Calls,
    step: Callable[[StoreCall], int],
    unit: int,
) -> Contradiction | None:
    """Calls by the height that they were told: writes climb by `step`, reads stand still, the rest climbs by `unit`."""
    placed.sort(key=lambda one: one[:3])
    gaps = []
    height = 0
    previous: StoreCall | None = None
    for index, (told_height, reads, _, call) in enumerate(placed):
        missing = told_height - height - (0 if reads else step(call))
        if missing < 0:
            if previous is None:
                return Contradiction(f"{told(call)}, which is less than it asked for", (call,))
            return contradict(call, previous)
        if missing:
            if missing % unit or not unknown:
                who = (call,) if previous is None else (previous, call)
                least = f"the value before was {height}" if height else "nothing had been written"
                return Contradiction(f"{told(call)}, which no calls add up to: {least}", who)
            gaps.append(Gap(index, missing // unit))
        height, previous = told_height, call
    return _in_order([one[3] for one in placed], gaps, unknown)


def check_register(calls: Calls) -> Contradiction | None:
    """One key written by `set` only, every value once: the zones of Gibbons and Korach."""
    writes = {freeze(call.arguments[0]): call for call in calls if call.verb == "set"}
    ends: dict[object, tuple[StoreCall | None, StoreCall | None]] = {}  # by value: first return, last invocation
    for value, call in writes.items():
        if call.returned != inf:
            if call.result is not None:
                return Contradiction(f"{told(call)}, which set never gives", (call,))
            ends[value] = (call, call)
    for call in calls:
        if call.verb != "get" or call.returned == inf:
            continue
        value = freeze(call.result)
        write = writes.get(value)
        if write is None and value is not None:
            return Contradiction(f"{told(call)}, which nobody had set", (call,))
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


def special(calls: Calls) -> Callable[[Calls], Contradiction | None] | None:
    """The checker that fits the calls of one key, if one does."""
    verbs = {call.verb for call in calls}
    if any(call.verb == "get" and call.arguments != (None,) for call in calls):
        return None
    given = [call.arguments[0] for call in calls if call.verb in {"set", "push", "increment"}]
    if verbs <= {"increment", "get"}:
        whole = all(isinstance(one, int) and not isinstance(one, bool) and one > 0 for one in given)
        unknown = {call.arguments[0] for call in calls if call.returned == inf and call.verb == "increment"}
        return check_counter if whole and len(unknown) <= 1 else None
    unique = len({freeze(one) for one in given}) == len(given)
    if unique and verbs <= {"push", "get", "length"}:
        return check_list
    if unique and verbs <= {"set", "get"} and None not in given:
        return check_register
    return None

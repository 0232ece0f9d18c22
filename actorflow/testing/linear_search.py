"""Looking for one order of calls that explains every answer: Wing and Gong's search with Lowe's memo.

What lives here: `search`, depth first, most urgent call first. What does not: what is known of a call before the
search (`linear_tables`), the shapes of history that need no search (`linear_special`).

What makes it quick on histories that are right: a call that changes nothing is taken as soon as its answer is right,
the call is tried first that some waiting call needs, and a value that must still be seen is not overwritten if nobody
can bring it back.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, cast

from attrs import define, field

from .linear_tables import Tables
from .store_model import WRONG, thaw

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .store_call import StoreCall

Choice = tuple[float, int, object]
"""How urgent, which call (negative: one whose outcome is unknown), and the state after it."""

Seat = tuple[int, object]
"""A value under one of the keys."""


@define(eq=False)
class _Place:
    """How far an order has come: all calls below `low`, those of `taken` above it, those of `spent` without outcome."""

    low: int
    taken: int
    spent: int
    state: object
    choices: list[Choice] = field(factory=list)
    lost: list[Seat] = field(factory=list)

    def take(self, index: int) -> None:
        self.taken |= 1 << (index - self.low)
        while self.taken & 1:
            self.taken >>= 1
            self.low += 1


@define(eq=False)
class _Search:
    """The calls of one key, or of keys that transactions tie together, ready to be tried."""

    tables: Tables
    slack: dict[Seat, int]
    """By value that calls must find and will change: how often it may still be overwritten by others."""
    work: int = 0
    """Calls that were looked at, roughly."""

    def settle(self, place: _Place) -> bool:
        """Take every call that is right here and changes nothing, list what may come next; whether all is taken."""
        tables = self.tables
        begins, ends, count = tables.begins, tables.ends, len(tables.begins)
        moves, pure, needs, bars = tables.moves, tables.pure, tables.needs, tables.bars
        while True:
            horizon, moved = inf, False
            found: list[Choice] = []
            waiting: dict[Seat, float] = {}
            state, low, taken, index = place.state, place.low, place.taken, place.low
            while index < count and begins[index] < horizon:
                if not taken >> (index - low) & 1:
                    end = ends[index]
                    horizon = min(horizon, end)
                    new = moves[index](state)
                    if new is WRONG:
                        need = needs[index]
                        if need is not None and end < waiting.get(need, inf):
                            waiting[need] = end
                    elif pure[index] and not bars[index] & ~place.spent:
                        place.take(index)
                        moved = True
                    else:
                        found.append((end, index, new))
                index += 1
            if place.low == count:
                return True
            if not moved:
                break
        if any(not self._comes_back(place, seat) for seat in waiting):
            return False
        place.choices = self._in_order(place, found, waiting)
        place.choices[:0] = self._unanswered(place, horizon)
        self._keep_what_is_wanted(place)
        return False

    def _in_order(self, place: _Place, found: list[Choice], waiting: dict[Seat, float]) -> list[Choice]:
        # The call whose own end, or that of a call which waits for its value, comes first is the likeliest next one.
        if len(found) > 1:
            if waiting:
                if self.tables.is_joint:
                    found = [(min(end, self._urgency(place, new, waiting)), index, new) for end, index, new in found]
                else:
                    found = [(min(end, waiting.get((0, new), inf)), index, new) for end, index, new in found]
            found.sort(key=lambda one: (one[0], one[1]), reverse=True)
        return found

    def _urgency(self, place: _Place, new: object, waiting: dict[Seat, float]) -> float:
        old, values = cast("tuple[object, ...]", place.state), cast("tuple[object, ...]", new)
        changed = (slot for slot, value in enumerate(values) if value is not old[slot])
        return min((waiting.get((slot, values[slot]), inf) for slot in changed), default=inf)

    def _unanswered(self, place: _Place, horizon: float) -> list[Choice]:
        tables = self.tables
        tried: set[object] = set()
        found: list[Choice] = []
        for index, begin in enumerate(tables.open_begins):
            if begin >= horizon:
                break
            # Of calls that ask for the same, the first stands for all: it may count wherever a later one may.
            if not place.spent >> index & 1 and tables.open_kinds[index] not in tried:
                tried.add(tables.open_kinds[index])
                new = tables.open_moves[index](place.state)
                if new is not WRONG and new != place.state:
                    found.append((inf, -1 - index, new))
        found.reverse()
        return found

    def _comes_back(self, place: _Place, seat: Seat) -> bool:
        """Whether some call that is still to come may put this value there."""
        tables = self.tables
        makers, slot = tables.makers, (seat[0], WRONG)
        if _is_alive(makers.get(seat, ()), place) or _is_alive(makers.get(slot, ()), place):
            return True
        return bool((tables.open_makers.get(seat, 0) | tables.open_makers.get(slot, 0)) & ~place.spent)

    def _keep_what_is_wanted(self, place: _Place) -> None:
        """Do not overwrite a value that a call must still find, if nobody can bring it back."""
        if not place.choices:
            return
        tables = self.tables
        place.choices = [one for one in place.choices if not self._is_too_much(place, one)]
        states = cast("tuple[object, ...]", place.state) if tables.is_joint else (place.state,)
        for slot, value in enumerate(states):
            seat = (slot, value)
            wanted = tables.wanters.get(seat)
            if wanted and _is_alive(wanted, place) and not self._comes_back(place, seat):
                place.choices = [one for one in place.choices if self._keeps(seat, one)]

    def _is_too_much(self, place: _Place, choice: Choice) -> bool:
        slack = self.slack
        return any(slack.get(seat) == 0 for seat in self._overwritten(place, choice[1]))

    def _overwritten(self, place: _Place, index: int) -> list[Seat]:
        """The values that a call takes away here without having needed them."""
        tables = self.tables
        if not self.slack:
            return []
        if index < 0:
            slots: Sequence[int] = tables.open_touches[-1 - index]
        elif tables.needs[index] is not None or tables.pure[index]:
            return []
        else:
            slots = tables.touches[index]
        if not tables.is_joint:
            return [(0, place.state)]
        values = cast("tuple[object, ...]", place.state)
        return [(slot, values[slot]) for slot in slots]

    def _spend(self, seats: list[Seat], amount: int) -> None:
        slack = self.slack
        for seat in seats:
            if seat in slack:
                slack[seat] -= amount

    def _keeps(self, seat: Seat, choice: Choice) -> bool:
        _, index, new = choice
        if index >= 0 and self.tables.needs[index] == seat:
            return True
        slot, value = seat
        return bool((cast("tuple[object, ...]", new)[slot] if self.tables.is_joint else new) == value)

    def run(self, budget: int, ends: set[object] | None = None) -> bool | None:
        """Whether there is an order. With `ends`, all orders are tried, and the states that they end in put there."""
        tables = self.tables
        if any(left < 0 for left in self.slack.values()):
            return False
        first = _Place(0, 0, 0, tables.initial)
        if self.settle(first):
            if ends is not None:
                ends.add(first.state)
            return True
        stack = [first]
        seen: set[tuple[int, int, int, object]] = set()
        while stack:
            here = stack[-1]
            if not here.choices:
                self._spend(stack.pop().lost, -1)
                continue
            _, index, state = here.choices.pop()
            place = _Place(here.low, here.taken, here.spent, state)
            if index >= 0:
                place.take(index)
                place.spent |= tables.bars[index]
            else:
                place.spent |= 1 << (-1 - index) | tables.open_bars[-1 - index]
            mark = (place.low, place.taken, place.spent, state)
            if mark in seen:
                continue
            if len(seen) >= budget:
                return None
            seen.add(mark)
            self.work += 4 + len(tables.open_begins)
            place.lost = self._overwritten(here, index)
            self._spend(place.lost, 1)
            if not self.settle(place):
                stack.append(place)
                continue
            if ends is None:
                return True
            ends.add(place.state)
            self._spend(place.lost, -1)
        return False


def _is_alive(indices: Sequence[int], place: _Place) -> bool:
    """Whether one of these calls, in ascending order, has not been taken yet."""
    low, taken = place.low, place.taken
    for index in reversed(indices):
        if index < low:
            return False
        if not taken >> (index - low) & 1:
            return True
    return False


def search(
    calls: Sequence[StoreCall], *, initial: Mapping[str, object] | None = None, budget: int = 200_000
) -> bool | None:
    """Whether some order explains the calls; None if `budget` configurations did not decide it.

    They are those of one key, or of several that transactions tie together; `initial` holds the values before.
    """
    return search_with_costs(calls, initial=initial or {}, budget=budget)[0]


def search_with_costs(
    calls: Sequence[StoreCall], *, initial: Mapping[str, object], budget: int
) -> tuple[bool | None, int]:
    """What `search` says, and how many calls it looked at for that, roughly."""
    tables = Tables.of(calls, initial)
    search = _Search(tables, tables.slack(), len(calls))
    return search.run(budget), search.work


def final_states(
    calls: Sequence[StoreCall], *, initial: Mapping[str, object], budget: int
) -> list[dict[str, object]] | None:
    """The values that the calls may leave, by key; None if `budget` configurations did not tell.

    All calls must be of known outcome.
    """
    tables = Tables.of(calls, initial)
    ends: set[object] = set()
    if _Search(tables, tables.slack()).run(budget, ends) is None:
        return None
    states = [cast("tuple[object, ...]", one) if tables.is_joint else (one,) for one in ends]
    return [{key: thaw(value) for key, value in zip(tables.keys, one, strict=True)} for one in states]

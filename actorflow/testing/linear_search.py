"""Looking for one order of the calls of a key that explains every answer: Wing and Gong's search with Lowe's memo.

What lives here: `search`. What does not: the shapes of history that need no search (`linear_special`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf

from attrs import define, field

from .._core.values import MISSING
from .history import StoreCall
from .store_model import READS, WRONG, freeze, move

Choice = tuple[float, int, object]
"""How urgent, which call (negative: one whose outcome is unknown), and the value after it."""


@define(eq=False)
class _Place:
    """How far an order has come: all calls below `low`, those of `taken` above it, those of `spent` without outcome."""

    low: int
    taken: int
    spent: int
    state: object
    choices: list[Choice] = field(factory=list)

    def take(self, index: int) -> None:
        self.taken |= 1 << (index - self.low)
        while self.taken & 1:
            self.taken >>= 1
            self.low += 1


@define(eq=False)
class _Search:
    """The calls of one key, ready to be tried."""

    calls: list[StoreCall]
    open: list[StoreCall]
    moves: list[Callable[[object], object]]
    open_moves: list[Callable[[object], object]]
    reads: list[bool]
    wanted: list[object]
    kinds: list[object]

    @classmethod
    def of(cls, calls: Sequence[StoreCall]) -> _Search:
        done = sorted((one for one in calls if one.returned != inf), key=lambda one: one.invoked)
        unknown = [one for one in calls if one.returned == inf and one.verb not in READS]
        unknown.sort(key=lambda one: one.invoked)
        return cls(
            done,
            unknown,
            [move(one) for one in done],
            [move(one) for one in unknown],
            [one.verb in READS for one in done],
            [freeze(one.result) if one.verb == "get" else WRONG for one in done],
            [(one.verb, freeze(one.arguments)) for one in unknown],
        )

    def settle(self, place: _Place) -> bool:
        """Take every read that is right here (that never hurts), list what may come next; whether all is taken."""
        calls, count = self.calls, len(self.calls)
        while True:
            horizon, moved = inf, False
            found: list[Choice] = []
            waiting: dict[object, float] = {}
            low, taken, index = place.low, place.taken, place.low
            while index < count and calls[index].invoked < horizon:
                if not taken >> (index - low) & 1:
                    returned = calls[index].returned
                    horizon = min(horizon, returned)
                    new = self.moves[index](place.state)
                    if self.reads[index]:
                        if new is not WRONG:
                            place.take(index)
                            moved = True
                        else:
                            value = self.wanted[index]
                            waiting[value] = min(returned, waiting.get(value, inf))
                    elif new is not WRONG:
                        found.append((returned, index, new))
                index += 1
            if place.low == count:
                return True
            if not moved:
                break
        # The call whose own end, or that of a read which waits for its value, comes first is the likeliest next one.
        choices = [(min(end, waiting.get(new, inf)), index, new) for end, index, new in found]
        choices.sort(key=lambda one: (one[0], one[1]), reverse=True)
        tried = set()
        for index, after in enumerate(self.open_moves):
            if self.open[index].invoked >= horizon:
                break
            # Of calls that ask for the same, the first stands for all: it may count wherever a later one may.
            if not place.spent >> index & 1 and self.kinds[index] not in tried:
                tried.add(self.kinds[index])
                new = after(place.state)
                if new is not WRONG and new != place.state:
                    choices.insert(0, (inf, -1 - index, new))
        place.choices = choices
        return False

    def run(self, budget: int) -> bool | None:
        first = _Place(0, 0, 0, MISSING)
        if self.settle(first):
            return True
        stack = [first]
        seen: set[tuple[int, int, int, object]] = set()
        while stack:
            here = stack[-1]
            if not here.choices:
                stack.pop()
                continue
            _, index, state = here.choices.pop()
            place = _Place(here.low, here.taken, here.spent, state)
            if index >= 0:
                place.take(index)
            else:
                place.spent |= 1 << (-1 - index)
            mark = (place.low, place.taken, place.spent, state)
            if mark in seen:
                continue
            if len(seen) >= budget:
                return None
            seen.add(mark)
            if self.settle(place):
                return True
            stack.append(place)
        return False


def search(calls: Sequence[StoreCall], *, budget: int = 200_000) -> bool | None:
    """Whether some order explains the calls of one key; None if `budget` configurations did not decide it."""
    return _Search.of(calls).run(budget)

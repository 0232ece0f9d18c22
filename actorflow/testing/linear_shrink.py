"""From a history that no order explains to the few answers that show why.

What lives here: `shrink` and `explain`. What does not: finding out that there is no order (`linear_search`), drawing
(`lanes`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import inf
from typing import Final

from attrs import define, evolve, frozen

from .._core.values import MISSING
from .linear_search import final_states, search_with_costs
from .linear_special import Contradiction, contradict, told
from .store_call import READS, StoreCall

SHOWN: Final = 24
"""Calls that a picture holds at most."""

LONG: Final = 4 * SHOWN
"""Calls from which on the beginning is told as "before that, the value was": of a short history the calls say more."""

SHRINK_BUDGET: Final = 2_000
"""Configurations per attempt to leave something away."""

SHRINK_EFFORT: Final = 400_000
"""Calls looked at in all attempts together: an explanation may be longer than need be, never late."""


@frozen
class Window:
    """Calls that no order explains, and what the store held before them."""

    calls: list[StoreCall]
    initial: Mapping[str, object]


def until(calls: Sequence[StoreCall], moment: float) -> list[StoreCall]:
    """The history as it was at a moment: what had not begun is not there, what was not over has no outcome yet."""
    begun = [call for call in calls if call.invoked <= moment]
    return [call if call.returned <= moment else evolve(call, returned=inf) for call in begun]


@define
class _Effort:
    """What may still be spent on leaving something away."""

    left: int = SHRINK_EFFORT

    def is_violated(self, calls: Sequence[StoreCall], initial: Mapping[str, object]) -> bool:
        if self.left <= 0:
            return False
        answer, cost = search_with_costs(calls, initial=initial, budget=max(SHRINK_BUDGET, 2 * len(calls)))
        self.left -= cost
        return answer is False


def shrink(calls: Sequence[StoreCall], initial: Mapping[str, object] | None = None) -> Window:
    """The shortest stretch that cannot be explained, with every answer forgotten that is not needed for that."""
    effort = _Effort()
    window = _early_end(Window(list(calls), initial or {}), effort)
    if len(window.calls) > LONG:
        window = _late_start(window, effort)
    left = window.calls
    chunk = max(1, len(left) // 2)
    while True:
        start = 0
        while start < len(left):
            tried = [*left[:start], *_weaker(left[start : start + chunk]), *left[start + chunk :]]
            if tried != left and effort.is_violated(tried, window.initial):
                start += len(tried) - len(left) + chunk
                left = tried
            else:
                start += chunk
        if chunk == 1:
            return Window(left, window.initial)
        chunk //= 2


def _early_end(window: Window, effort: _Effort) -> Window:
    ends = sorted(call.returned for call in window.calls if call.returned != inf)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if effort.is_violated(until(window.calls, ends[middle]), window.initial):
            high = middle
        else:
            low = middle + 1
    return Window(until(window.calls, ends[low]), window.initial)


def _late_start(window: Window, effort: _Effort) -> Window:
    """Go past every moment at which nothing was under way and the calls before leave no doubt about the values."""
    calls = sorted(window.calls, key=lambda call: call.invoked)
    initial = window.initial
    start, latest = 0, 0.0
    known = window
    for index, call in enumerate(calls):
        is_quiet = latest < call.invoked
        latest = max(latest, call.returned)
        if not is_quiet or index == start or index + SHOWN >= len(calls):
            continue
        states = final_states(calls[start:index], initial=initial, budget=SHRINK_BUDGET)
        effort.left -= index - start
        if states is None or effort.left <= 0:
            break
        if len(states) == 1:  # if not, the next such moment may know more
            values = {**initial, **states[0]}
            initial = {key: value for key, value in values.items() if value is not MISSING}
            start = index
            known = Window(calls[start:], initial)
    # Said of more than one stretch, "no doubt" is only as good as the search: ask once more.
    return known if known is window or effort.is_violated(known.calls, known.initial) else window


def _weaker(calls: Sequence[StoreCall]) -> list[StoreCall]:
    # Forgetting an answer never makes a history worse: a read without one is nothing, a write may still count.
    return [evolve(call, returned=inf, sender=0) for call in calls if call.verb not in READS]


def explain(window: Window) -> Contradiction:
    """Words for calls that no order explains: the answers that matter, in the order in which they were given."""
    known = sorted((call for call in window.calls if call.returned != inf), key=lambda call: call.returned)
    if len(known) == 2:
        return contradict(known[1], known[0])
    if len(known) == 1:
        return Contradiction(f"{told(known[0])}, which no calls add up to", tuple(known))
    last = known[-1]
    others = ", ".join(told(call) for call in known[:-1][-3:])
    return Contradiction(f"{told(last)}, which no order explains, since {others}", tuple(known[-SHOWN:]))

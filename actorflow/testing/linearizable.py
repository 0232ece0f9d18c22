"""Whether what the branches were told can have happened one after the other, and if not, why not.

What lives here: `check_linearizable`, its verdict, and the picture. What does not: recording (`history`), the search
(`linear_search`) and the shapes that need none (`linear_special`).
"""

from __future__ import annotations

from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final

from attrs import evolve, frozen

from .history import StoreCall
from .linear_search import search
from .linear_special import Contradiction, contradict, special, told
from .store_model import READS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .history import History

SHOWN: Final = 24
"""Calls that a picture holds at most."""

SHRINK_BUDGET: Final = 2_000
"""Configurations per attempt to leave something away: an explanation may be longer than need be, never late."""


class Linearizability(Enum):
    """What a check found."""

    OK = "ok"
    VIOLATED = "violated"
    UNDECIDED = "undecided"


@frozen
class Verdict:
    """What a check found, and why. It is true if the history is linearizable.

    `sentence` says what cannot be, `calls` is the smallest set of answers that shows it (as far as it was shrunk), and
    `picture` draws them, one lane per branch. `undecided` names the keys that took too long.
    """

    status: Linearizability
    key: str | None = None
    sentence: str = ""
    calls: tuple[StoreCall, ...] = ()
    undecided: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return self.status is Linearizability.OK

    def __str__(self) -> str:
        return "\n".join(part for part in (self.status.value, self.sentence, self.picture) if part)

    @property
    def picture(self) -> str:
        """The calls as text, from left to right in the order of events, one lane per branch."""
        return draw(self.calls)


def check_linearizable(history: History, *, budget: int = 200_000) -> Verdict:
    """Whether, key by key, one order of the calls explains every answer and keeps what was over before what.

    Growing lists, counters and registers with unique values are checked by sorting. Other keys are searched; one that
    `budget` configurations do not decide makes the verdict undecided, unless another key is violated.
    """
    by_key: dict[str, list[StoreCall]] = {}
    for call in history.calls:
        if call.verb != "refused":
            by_key.setdefault(call.key, []).append(call)
    undecided = []
    for key, calls in by_key.items():
        checker = special(calls)
        found: Contradiction | None = None
        if checker is not None:
            found = checker(calls)
        else:
            answer = search(calls, budget=budget)
            if answer is None:
                undecided.append(key)
            elif not answer:
                found = explain(shrink(calls))
        if found is not None:
            sentence = f"key {key!r}: {found.sentence}"
            return Verdict(Linearizability.VIOLATED, key, sentence, found.calls)
    if undecided:
        sentence = f"not decided within {budget} configurations: {', '.join(undecided)}"
        return Verdict(Linearizability.UNDECIDED, None, sentence, (), tuple(undecided))
    return Verdict(Linearizability.OK)


def until(calls: Sequence[StoreCall], moment: float) -> list[StoreCall]:
    """The history as it was at a moment: what had not begun is not there, what was not over has no outcome yet."""
    begun = [call for call in calls if call.invoked <= moment]
    return [call if call.returned <= moment else evolve(call, returned=inf) for call in begun]


def shrink(calls: Sequence[StoreCall]) -> list[StoreCall]:
    """The shortest beginning that cannot be explained, with every answer forgotten that is not needed for that."""
    ends = sorted(call.returned for call in calls if call.returned != inf)
    low, high = 0, len(ends) - 1
    while low < high:
        middle = (low + high) // 2
        if search(until(calls, ends[middle]), budget=SHRINK_BUDGET) is False:
            high = middle
        else:
            low = middle + 1
    left = until(calls, ends[low])
    chunk = max(1, len(left) // 2)
    while True:
        start = 0
        while start < len(left):
            tried = [*left[:start], *_weaker(left[start : start + chunk]), *left[start + chunk :]]
            if tried != left and search(tried, budget=SHRINK_BUDGET) is False:
                start += len(tried) - len(left) + chunk
                left = tried
            else:
                start += chunk
        if chunk == 1:
            return left
        chunk //= 2


def _weaker(calls: Sequence[StoreCall]) -> list[StoreCall]:
    # Forgetting an answer never makes a history worse: a read without one is nothing, a write may still count.
    return [evolve(call, returned=inf) for call in calls if call.verb not in READS]


def explain(calls: Sequence[StoreCall]) -> Contradiction:
    """Words for calls that no order explains: the answers that matter, in the order in which they were given."""
    known = sorted((call for call in calls if call.returned != inf), key=lambda call: call.returned)
    if len(known) == 2:
        return contradict(known[1], known[0])
    if len(known) == 1:
        return Contradiction(f"{told(known[0])}, which no calls add up to", tuple(known))
    last = known[-1]
    others = ", ".join(told(call) for call in known[:-1][-3:])
    return Contradiction(f"{told(last)}, which no order explains, since {others}", tuple(known[-SHOWN:]))


def draw(calls: Sequence[StoreCall]) -> str:
    """Lanes of text: `|increment('c', 1) = 3--|` reaches from the call to its answer."""
    shown = sorted(calls, key=lambda call: call.invoked)
    events = sorted({call.invoked for call in shown} | {call.returned for call in shown})
    labels = {id(call): str(call) for call in shown}
    column: dict[float, int] = {}
    free = 0
    for event in events:
        ending = [column[call.invoked] + len(labels[id(call)]) + 2 for call in shown if call.returned == event]
        column[event] = max([free, *ending])
        free = column[event] + 2
    width = max((len(call.branch) for call in shown), default=0)
    lanes: dict[tuple[str, int], str] = {}
    for call in shown:
        start, end = column[call.invoked], column[call.returned]
        row = 0
        while len(lanes.get((call.branch, row), "")) > start:
            row += 1  # one branch may have several calls under way
        bar = labels[id(call)].ljust(end - start - 1, "-")
        lanes[call.branch, row] = f"{lanes.get((call.branch, row), ''):<{start}}|{bar}{'|' if end != inf else '>'}"
    return "\n".join(f"{branch:<{width}}  {lane}" for (branch, _), lane in sorted(lanes.items()))

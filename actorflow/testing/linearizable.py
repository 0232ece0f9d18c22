"""Whether what the branches were told can have happened one after the other, and if not, why not.

What lives here: `check_linearizable` and its verdict. What does not: recording (`history`), the search
(`linear_search`), the shapes that need none (`linear_special`), finding what matters (`linear_shrink`), pictures
(`lanes`).
"""

from __future__ import annotations

import gc
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING

from attrs import frozen

from .._core.values import MISSING
from .lanes import draw, draw_svg
from .linear_search import search
from .linear_shrink import Window, explain, shrink
from .linear_special import Contradiction, special
from .store_call import TRANSACTION, StoreCall

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from .history import History


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
    def culprit(self) -> StoreCall | None:
        """The call that cannot be placed beside the others."""
        return self.calls[-1] if self.calls else None

    @property
    def picture(self) -> str:
        """The calls as text, from left to right in the order of events, one lane per branch."""
        return draw(self.calls)

    def svg(self) -> str:
        """The same picture as one `<svg>` element for a page; empty if there are no calls to show."""
        return draw_svg(self.calls, culprit=self.culprit, title=self.sentence) if self.calls else ""


def check_linearizable(history: History, *, budget: int = 200_000) -> Verdict:
    """Whether one order of the calls on each key explains every answer and keeps what was over before what.

    Growing lists, counters and registers with unique values are checked by sorting. Other keys are searched, keys that
    transactions tie together at once; what `budget` configurations do not decide makes the verdict undecided, unless
    another key is violated.
    """
    with _no_collections():
        return _check(history, budget)


@contextmanager
def _no_collections() -> Iterator[None]:
    """A check makes millions of small records and no cycles: looking for cycles among them takes half of the time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _check(history: History, budget: int) -> Verdict:
    for told in history.contradicted:
        call = told.call
        again = (
            f"branch {call.branch} was told {call.asked} gave {call.result!r}, and {told.again!r} when it asked again"
        )
        return Verdict(Linearizability.VIOLATED, call.keys[0] if call.keys else None, again, (call,))
    undecided: list[str] = []
    for keys, calls in groups(history.calls):
        found = _judge(keys, calls, history.initial, budget)
        if found is None:
            undecided += keys
        elif found.calls:
            names = f"key {keys[0]!r}" if len(keys) == 1 else f"keys {', '.join(map(repr, keys))}"
            return Verdict(Linearizability.VIOLATED, keys[0], f"{names}: {found.sentence}", found.calls)
    if undecided:
        sentence = f"not decided within {budget} configurations: {', '.join(undecided)}"
        return Verdict(Linearizability.UNDECIDED, None, sentence, (), tuple(undecided))
    return Verdict(Linearizability.OK)


_RIGHT = Contradiction("", ())


def _judge(
    keys: tuple[str, ...], calls: list[StoreCall], initial: Mapping[str, object], budget: int
) -> Contradiction | None:
    if len(keys) == 1:
        first = initial.get(keys[0], MISSING)
        checker = special(calls, first)
        if checker is not None:
            return checker(calls, first) or _RIGHT
    answer = search(calls, initial=initial, budget=budget)
    if answer is None:
        return None
    return _RIGHT if answer else _explained(shrink(calls, initial), initial)


def _explained(window: Window, initial: Mapping[str, object]) -> Contradiction:
    found = explain(window)
    keys = {key for call in found.calls for key in call.keys}
    before = [
        f"{key!r} was {window.initial.get(key)!r}"
        for key in sorted(keys)
        if window.initial.get(key, MISSING) != initial.get(key, MISSING)
    ]
    return Contradiction(f"{found.sentence}; before that, {', '.join(before)}", found.calls) if before else found


def groups(calls: Iterable[StoreCall]) -> Iterator[tuple[tuple[str, ...], list[StoreCall]]]:
    """The calls by what can be checked alone: each key, or the keys that transactions tie together."""
    alone: dict[str, list[StoreCall]] = {}
    transactions: list[StoreCall] = []
    for call in calls:
        if call.verb == TRANSACTION:
            transactions += [call] if call.arguments else []
        elif call.verb != "refused":
            found = alone.get(call.key)
            if found is None:
                alone[call.key] = [call]
            else:
                found.append(call)
    home: dict[str, str] = {}

    def root(key: str) -> str:
        while home.setdefault(key, key) != key:
            home[key] = home[home[key]]
            key = home[key]
        return key

    for call in transactions:
        first, *others = call.keys
        root(first)
        for other in others:
            home[root(other)] = root(first)
    tied: dict[str, list[StoreCall]] = {}
    for call in transactions:
        tied.setdefault(root(call.keys[0]), []).append(call)
    for head, group in tied.items():
        keys = [key for key in home if root(key) == head]
        for key in keys:
            group += alone.pop(key, [])
        yield tuple(keys), group
    for key, group in alone.items():
        yield (key,), group

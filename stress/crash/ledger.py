"""What a journal should hold: its contents after each commit, and where each mark stands in them.

What lives here: `Ledger`, fed by the recorded journal. What does not: what a file does hold (`looking`).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from actorflow.abc import Append, RunHeader
from actorflow.journals import MemoryJournal

from .simulated import Inline, at_once

if TYPE_CHECKING:
    from collections.abc import Mapping


MARK: Final = re.compile(r"t\([^()]*\)")


@frozen(eq=False)
class Kept:
    """One run: its row, and the first `count` of these facts."""

    header: RunHeader
    facts: list[object]
    count: int


State = dict[str, Kept]
"""The contents of a journal: its runs by id."""


@define(eq=False)
class Ledger:
    """The commits of one journal file over all its lives.

    Attributes:
        states: the contents after each commit that was asked for, and again after each opening.
        groups: the commits that are in the file, or may be; those of `states[n]` are the first `sizes[n]` of them.
        places: by (run, mark): in which states it first appears, and as part of which fact.
    """

    states: list[State] = field(factory=lambda: [{}])
    groups: list[Sequence[Append]] = field(factory=list)
    places: dict[tuple[str, str], list[tuple[int, int]]] = field(factory=dict)
    happened: dict[str, int] = field(factory=dict)
    _sizes: list[int] = field(factory=lambda: [0])
    _undone: list[tuple[int, int]] = field(factory=list)
    _model: MemoryJournal = field(factory=lambda: MemoryJournal(durable=True))

    def __attrs_post_init__(self) -> None:
        at_once(self._model.open(Inline()))

    def issue(self, appends: Sequence[Append]) -> int:
        """A commit is asked for; the number of the contents that it leads to."""
        self.groups.append(appends)
        number = len(self.states)
        state = dict(self.states[-1])
        at_once(self._model.commit(appends))
        for append in appends:
            state[append.run_id] = self._kept(append, state.get(append.run_id))
            for place, fact in enumerate(append.facts):
                for found in MARK.findall(repr(fact)):
                    self.places.setdefault((append.run_id, found), []).append((number, append.first_seq + place))
        self.states.append(state)
        self._sizes.append(len(self.groups))
        self._count(appends)
        return number

    def _kept(self, append: Append, before: Kept | None) -> Kept:
        header = append.header or (before.header if before else None)
        assert header is not None
        facts: list[object] = before.facts if before else []
        count = append.first_seq + len(append.facts) - 1
        if append.drop_values or before is None or before.count != len(facts):
            facts = list(at_once(self._model.read(append.run_id)))
        else:
            facts += at_once(self._model.read(append.run_id, append.first_seq))  # shared: earlier states count less
        return Kept(header, facts, count)

    def settle(self, number: int) -> int:
        """The file was opened and holds `states[number]`: what came after that never was. The number of it anew."""
        del self.groups[self._sizes[number] :]
        self._undone.append((number, len(self.states)))
        self._model = MemoryJournal(durable=True)
        at_once(self._model.open(Inline()))
        for appends in self.groups:
            at_once(self._model.commit(appends))
        # Lists of facts are never shared with what was undone.
        before = self.states[number]
        self.states.append({name: Kept(k.header, k.facts[: k.count], k.count) for name, k in before.items()})
        self._sizes.append(len(self.groups))
        return len(self.states) - 1

    def place_of(self, run_id: str, mark: str, issued: int) -> int:
        """The number of the fact that first carries a mark, as far as commits were asked for; 0 if there is none."""
        if not mark:
            return 1
        undone = [span for span in self._undone if span[1] <= issued]
        return min(
            (
                seq
                for state, seq in self.places.get((run_id, mark), ())
                if state <= issued and not any(low < state < high for low, high in undone)
            ),
            default=0,
        )

    def _count(self, appends: Sequence[Append]) -> None:
        happened = self.happened
        for name, number in (
            ("commits", 1),
            ("commits of several runs", len(appends) > 1),
            ("facts", sum(len(append.facts) for append in appends)),
            ("states deleted", sum(append.drop_values for append in appends)),
        ):
            happened[name] = happened.get(name, 0) + number


def same(one: State, other: Mapping[str, Kept]) -> bool:
    """Whether both hold the same runs with the same rows and facts."""
    return one.keys() == other.keys() and all(is_same(kept, other[name]) for name, kept in one.items())


def is_same(one: Kept, other: Kept) -> bool:
    """Whether both hold the same row and facts."""
    count = one.count
    return count == other.count and one.header == other.header and one.facts[:count] == other.facts[:count]

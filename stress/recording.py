"""What is recorded of a scenario while it runs: what its branches were told, and what happened on the way.

What lives here: `Record`, and how a step finds it. What does not: judging it (`oracles`, `Scenario.check`), asking the
runtime for what it knows of the runs (`driving`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from attrs import define, field

from actorflow import Fact, RunOutcome, RunSummary
from actorflow.testing import History

if TYPE_CHECKING:
    from actorflow import Context, RunStore

S = TypeVar("S")

_records: dict[str, Record] = {}


@define(eq=False)
class Record:
    """One plan, run once: everything that the oracles hold against each other.

    Attributes:
        plan: what is done; steps look up here what is too large for an input.
        histories: what the branches were told, by run id.
        outcomes: how the runs ended, by run id; the scenario puts them here (`keep`).
        facts: the journaled facts of each run as its handle gives them; the driver puts them here (`driving.collect`).
        states: the run stores as they were at last, of the runs that still tell; the driver puts them here.
        summaries: the row of each run; the driver puts them here.
        kept: ids of the runs whose facts carry the values of the store; the driver puts them here.
        seen: what steps and drivers of the scenario have seen that cannot be, in sentences.
        notes: what the scenario wants to remember of its own run, for its check.
        happened: the `sometimes` counters.
        closings: how often `Scenario.run` still has to leave its block in the middle (`Scenario.closings`).
        closed: how often it has.
        faulty: whether the driver crashed or cancelled things on purpose, or writes failed that were to fail.
    """

    plan: object = None
    histories: dict[str, History] = field(factory=dict)
    outcomes: dict[str, RunOutcome] = field(factory=dict)
    facts: dict[str, Sequence[Fact]] = field(factory=dict)
    states: dict[str, Mapping[str, object]] = field(factory=dict)
    summaries: dict[str, RunSummary] = field(factory=dict)
    kept: set[str] = field(factory=set)
    seen: list[str] = field(factory=list)
    notes: dict[str, object] = field(factory=dict)
    happened: Counter[str] = field(factory=Counter)
    closings: int = 0
    closed: int = 0
    faulty: bool = False

    def adopt(self, run_id: str) -> str:
        """From now on the steps of this run, and of all runs below it, find this record; the run id."""
        _records[run_id] = self
        return run_id

    def owns(self, run_id: str) -> bool:
        """Whether the run, or one above it, was adopted."""
        return _records.get(run_id.partition("~")[0]) is self

    def forget(self) -> None:
        """The runs are over."""
        for run_id in [name for name, record in _records.items() if record is self]:
            del _records[run_id]

    def store(self, ctx: Context[S]) -> RunStore:
        """The run store of a step, recorded: its activation is the branch."""
        return self._recorded(ctx.run_id, ctx.run_store, ctx.activation_id)

    def parent_store(self, ctx: Context[S]) -> RunStore:
        """The store of the run above, recorded in that run's history."""
        above = ctx.parent_store
        assert above is not None
        return self._recorded(ctx.run_id.rpartition("~")[0], above, ctx.activation_id)

    def root_store(self, ctx: Context[S]) -> RunStore:
        """The store of the outermost run, recorded in that run's history."""
        root = ctx.root_store
        assert root is not None
        return self._recorded(ctx.run_id.partition("~")[0], root, ctx.activation_id)

    def begin(self, run_id: str, initial: Mapping[str, object]) -> None:
        """What the store of a run holds before its first recorded call; of a child run, all that it has inherited."""
        if run_id not in self.histories:
            self.histories[run_id] = History(initial=dict(initial))

    def _recorded(self, run_id: str, store: RunStore, branch: str) -> RunStore:
        self.begin(run_id, {})
        return self.histories[run_id].store(store, branch=branch, replayed=True)

    def keep(self, run_id: str, outcome: RunOutcome) -> None:
        """How a run ended."""
        self.outcomes[run_id] = outcome

    def state_of(self, run_id: str) -> Mapping[str, object] | None:
        """The run store as it was at the end; None if nobody can tell any more."""
        outcome = self.outcomes.get(run_id)
        return self.states.get(run_id) or (outcome.state if outcome is not None else None) or None

    def sometimes(self, name: str, condition: object = True) -> None:
        """Count `name` if the condition holds; register it with 0 if not."""
        self.happened[name] += bool(condition)

    @property
    def operations(self) -> int:
        """Store calls that were recorded."""
        return sum(len(history.calls) for history in self.histories.values())


def record_of(ctx: Context[S]) -> Record:
    """The record of the scenario that this step belongs to."""
    return _records[ctx.run_id.partition("~")[0]]

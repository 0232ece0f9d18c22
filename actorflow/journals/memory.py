"""The journal that keeps facts as they are, in lists: for runs that need not outlive their process.

What lives here: `MemoryJournal`. What does not: bytes; nothing is encoded here.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from .._core.facts import Fact, OperationApplied, StateSeeded, TransactionApplied
from .._core.operations import Argument
from ..abc import Append, Executor, RunHeader, StoredRun
from ..errors import JournalError
from .refusals import already_open, check_joins, not_open, unknown_after, unknown_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.lifecycle import RunStatus
    
STRIPPED_PER_COMMIT: Final = 1_000
"""Facts of ended runs that one commit relieves of their values, at least: well under a millisecond."""

STRIPPED_PER_FACT: Final = 4
"""And so many for each fact that it adds: what ended is gone before much more than it has come."""


@define(eq=False)
class _Kept:
    """One run. The first `stripped` facts have no values any more; of the rest they are hidden once it is `dropped`."""

    header: RunHeader
    facts: list[Fact] = field(factory=list)
    snapshot: str | None = None
    snapshot_seq: int = 0
    dropped: bool = False
    stripped: int = 0
    waits: bool = False
    """Whether it stands in the queue of those that still hold values to let go of."""

    def part(self, first_seq: int, last_seq: int | None) -> list[Fact]:
        """The facts from `first_seq` to `last_seq`, as they may be seen."""
        facts = self.facts[max(0, first_seq - 1) : last_seq]
        return list(map(without_values, facts)) if self.dropped else facts

    def strip(self, count: int) -> int:
        """Relieve up to `count` facts of their values; returns how many it looked at."""
        end = min(len(self.facts), self.stripped + count)
        done = end - self.stripped
        self.facts[self.stripped : end] = map(without_values, self.facts[self.stripped : end])
        self.stripped = end
        return done


def without_values(fact: Fact) -> Fact:
    """The fact as it stays when its run is over: a new one, because others may hold the old."""
    if isinstance(fact, OperationApplied):
        if fact.argument is None:
            return fact
        return OperationApplied(fact.at, fact.n, fact.verb, fact.key, None, fact.op_id)
    if isinstance(fact, TransactionApplied):
        operations: list[tuple[str, str, Argument]] = [(verb, key, None) for verb, key, _ in fact.operations]
        return TransactionApplied(fact.at, fact.n, operations, fact.op_id)
    if isinstance(fact, StateSeeded):
        return StateSeeded(fact.at, {})
    return fact


class MemoryJournal:
    """A journal in memory. What it holds ends with the object.

    When a run ends, its values are hidden at once and let go of in portions by the commits that follow: the end of a
    run of millions of facts stops nobody.

    Args:
        durable: what to claim. True is for tests that take the object for the disk: close it, or abandon it, and
            open it again to recover what was committed.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._runs: dict[str, _Kept] = {}
        self._to_strip: deque[_Kept] = deque()
        self._is_open = False

    @property
    def url(self) -> str:
        """How a user would name this journal."""
        return "memory:"

    @property
    def durable(self) -> bool:
        """False, unless the maker claims otherwise."""
        return self._durable

    async def open(self, executor: Executor) -> None:
        """Become the owner; `JournalBusy` if it is open. The executor is not used: nothing here blocks."""
        if self._is_open:
            raise already_open(self.url)
        self._is_open = True

    async def commit(self, appends: Sequence[Append]) -> int:
        """Keep all of them, or none; returns 0, as no bytes are written."""
        self._check_open()
        self._check(appends)
        for append in appends:
            self._keep(append)
        self._strip(STRIPPED_PER_COMMIT + STRIPPED_PER_FACT * sum(len(append.facts) for append in appends))
        return 0

    async def load(self, run_id: str) -> StoredRun | None:
        """The run from its newest snapshot on; None if there is no such run."""
        self._check_open()
        run = self._runs.get(run_id)
        if run is None:
            return None
        return StoredRun(
            header=run.header,
            facts=run.part(run.snapshot_seq + 1, None),
            snapshot=run.snapshot,
            snapshot_seq=run.snapshot_seq,
        )

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        """The facts `first_seq` to `last_seq`; none if there is no such run."""
        self._check_open()
        run = self._runs.get(run_id)
        return [] if run is None else run.part(first_seq, last_seq)

    async def header(self, run_id: str) -> RunHeader | None:
        """The row of one run."""
        self._check_open()
        run = self._runs.get(run_id)
        return None if run is None else run.header

    async def headers(
        self,
        *,
        workflow_id: str | None = None,
        statuses: Sequence[RunStatus] | None = None,
        parent_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[RunHeader]:
        """Rows, newest first, from the one after run `after` on; `RunNotFound` if there is no such run."""
        self._check_open()
        if after is not None and after not in self._runs:
            raise unknown_after(after)
        before = None if after is None else self._runs[after].header.created
        found = [
            run.header
            for run in self._runs.values()
            if (before is None or run.header.created < before)
            and (workflow_id is None or run.header.workflow_id == workflow_id)
            and (statuses is None or run.header.status in statuses)
            and (parent_id is None or run.header.parent_id == parent_id)
        ]
        found.sort(key=lambda header: header.created, reverse=True)
        return found[:limit]

    async def close(self) -> None:
        """Give up ownership; harmless when called again."""
        self._is_open = False

    def _check_open(self) -> None:
        if not self._is_open:
            raise not_open(self.url)

    def _check(self, appends: Sequence[Append]) -> None:
        """Refuse what does not join on, before anything is kept."""
        ends: dict[str, int] = {}
        for append in appends:
            run = self._runs.get(append.run_id)
            last_seq = ends.get(append.run_id, None if run is None else len(run.facts))
            if last_seq is None:
                if append.header is None:
                    raise unknown_run(append.run_id)
                last_seq = 0
            check_joins(append, last_seq)
            ends[append.run_id] = last_seq + len(append.facts)

    def _keep(self, append: Append) -> None:
        run = self._runs.get(append.run_id)
        if append.header is not None:
            if run is None:
                run = self._runs[append.run_id] = _Kept(append.header)
            elif append.header.created == run.header.created:
                run.header = append.header
            else:
                run.header = evolve(append.header, created=run.header.created)
        if run is None:
            raise JournalError(f"run {append.run_id!r} vanished from the journal", run_id=append.run_id)
        run.facts.extend(append.facts)
        if append.drop_values:
            run.dropped, run.snapshot, run.snapshot_seq = True, None, 0
        elif append.snapshot is not None and not run.dropped:
            run.snapshot, run.snapshot_seq = append.snapshot, len(run.facts)
        if run.dropped and not run.waits and run.stripped < len(run.facts):
            run.waits = True
            self._to_strip.append(run)

    def _strip(self, count: int) -> None:
        while self._to_strip and count > 0:
            run = self._to_strip[0]
            count -= run.strip(count)
            if run.stripped == len(run.facts):
                run.waits = False
                self._to_strip.popleft()

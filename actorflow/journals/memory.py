"""The journal in memory: for runs that need not outlive their process.

What lives here: `MemoryJournal`, which keeps the facts of long runs as packed frames, a few dozen bytes for each and
nothing for the garbage collector to walk. What does not: the bytes of facts (`codec`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from .._core.facts import ChildEnded, Fact, OperationApplied, StateSeeded, TransactionApplied
from ..abc import Append, Executor, RunHeader, StoredRun
from .codec import decode_frame, encode_parts
from .refusals import already_open, check_joins, not_open, unknown_after, unknown_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._core.lifecycle import RunStatus
    from .._core.operations import Argument

PACKED_FROM: Final = 32_768
"""Facts of one append that are packed at once: it is a big run, and it will be bigger."""

LOOSE_MAX: Final = 65_536
"""Facts of one run that are kept as they are, about 8 MB: packing costs 0.4 µs a fact, which pays only for runs whose
facts would keep the garbage collector busy."""


@define(eq=False)
class _Part:
    """Facts of a run that stand together: packed, or as they came, if the codec refuses them."""

    first_seq: int
    count: int
    head: bytes = b""
    texts: bytes = b""
    values: bytes | None = None
    plain: list[Fact] | None = None

    def facts(self) -> Sequence[Fact]:
        """The facts, as they may be seen."""
        return decode_frame(self.head, self.texts, self.values) if self.plain is None else self.plain

    def drop_values(self) -> None:
        """The run is over: what its store held goes."""
        self.values = None
        if self.plain is not None:
            self.plain = list(map(without_values, self.plain))


def _pack(first_seq: int, facts: Sequence[Fact]) -> _Part:
    try:
        head, texts, values = encode_parts(facts)
    except (ValueError, TypeError, KeyError):  # what has no form in bytes is no reason to refuse it in memory
        return _Part(first_seq, len(facts), plain=list(facts))
    return _Part(first_seq, len(facts), head, texts, values)


@define(eq=False)
class _Kept:
    """One run: packed parts, and after them the facts that are not packed yet."""

    header: RunHeader
    parts: list[_Part] = field(factory=list)
    loose: list[Fact] = field(factory=list)
    last_seq: int = 0
    snapshot: str | None = None
    snapshot_seq: int = 0
    dropped: bool = False

    def add(self, facts: Sequence[Fact]) -> None:
        """Keep facts; of a run that is over, without their values."""
        self.last_seq += len(facts)
        if len(facts) < PACKED_FROM:
            self.loose.extend(map(without_values, facts) if self.dropped else facts)
            if len(self.loose) < LOOSE_MAX:
                return
            facts, self.loose = self.loose, []
        elif self.loose:
            facts, self.loose = [*self.loose, *facts], []
        part = _pack(self.last_seq - len(facts) + 1, facts)
        if self.dropped:
            part.drop_values()
        self.parts.append(part)

    def drop_values(self) -> None:
        """The run is over: the values of its store and its snapshot go."""
        self.snapshot, self.snapshot_seq = None, 0
        if not self.dropped:
            self.dropped = True
            for part in self.parts:
                part.drop_values()
            self.loose = list(map(without_values, self.loose))

    def read(self, first_seq: int, last_seq: int | None) -> list[Fact]:
        """The facts from `first_seq` to `last_seq`; only the parts that hold some of them are unpacked."""
        first_seq = max(1, first_seq)
        last_seq = self.last_seq if last_seq is None else min(last_seq, self.last_seq)
        found: list[Fact] = []
        for part in self.parts:
            if part.first_seq <= last_seq and part.first_seq + part.count > first_seq:
                found += part.facts()[max(0, first_seq - part.first_seq) : max(0, last_seq - part.first_seq + 1)]
        begin = self.last_seq - len(self.loose) + 1
        found += self.loose[max(0, first_seq - begin) : max(0, last_seq - begin + 1)]
        return found


def without_values(fact: Fact) -> Fact:
    """The fact as it stays when its run is over: a new one, because others may hold the old."""
    if isinstance(fact, OperationApplied):
        if fact.argument is None:
            return fact
        return OperationApplied(fact.at, fact.n, fact.verb, fact.key, None, fact.op_id)
    if isinstance(fact, TransactionApplied | ChildEnded):
        operations: list[tuple[str, str, Argument]] = [(verb, key, None) for verb, key, _ in fact.operations]
        return evolve(fact, operations=operations)
    if isinstance(fact, StateSeeded):
        return StateSeeded(fact.at, {})
    return fact


class MemoryJournal:
    """A journal in memory. What it holds ends with the object.

    When a run ends, its values go at once: they stand apart in every packed frame.

    Args:
        durable: what to claim. True is for tests that take the object for the disk: close it, or abandon it, and
            open it again to recover what was committed.
    """

    def __init__(self, *, durable: bool = False) -> None:
        self._durable = durable
        self._runs: dict[str, _Kept] = {}
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
        return 0

    async def load(self, run_id: str) -> StoredRun | None:
        """The run from its newest snapshot on; None if there is no such run."""
        self._check_open()
        run = self._runs.get(run_id)
        if run is None:
            return None
        return StoredRun(
            header=run.header,
            facts=run.read(run.snapshot_seq + 1, None),
            snapshot=run.snapshot,
            snapshot_seq=run.snapshot_seq,
        )

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        """The facts `first_seq` to `last_seq`; none if there is no such run."""
        self._check_open()
        run = self._runs.get(run_id)
        return [] if run is None else run.read(first_seq, last_seq)

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
            last_seq = ends.get(append.run_id, None if run is None else run.last_seq)
            if last_seq is None:
                if append.header is None:
                    raise unknown_run(append.run_id)
                last_seq = 0
            check_joins(append, last_seq)
            ends[append.run_id] = last_seq + len(append.facts)

    def _keep(self, append: Append) -> None:
        run = self._runs.get(append.run_id)
        if run is None:
            assert append.header is not None  # `_check` has seen to it
            run = self._runs[append.run_id] = _Kept(append.header)
        elif append.header is not None:
            same_place = append.header.created == run.header.created
            run.header = append.header if same_place else evolve(append.header, created=run.header.created)
        if append.drop_values:
            run.drop_values()
        if append.facts:
            run.add(append.facts)
        if append.snapshot is not None and not run.dropped:
            run.snapshot, run.snapshot_seq = append.snapshot, run.last_seq

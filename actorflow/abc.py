"""The ports: what the runtime needs of a journal, a clock, an executor and an observer, and the records exchanged.

What lives here: protocols and frozen records, for people who write their own. What does not: any implementation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from attrs import frozen

from ._core.facts import Fact
from ._core.lifecycle import RunStatus

__all__ = [
    "Append",
    "Clock",
    "Executor",
    "Instrument",
    "Journal",
    "RunHeader",
    "StoredRun",
]

T = TypeVar("T")


@frozen(kw_only=True)
class RunHeader:
    """One row of a journal's list of runs: what can be known of a run without reading its facts.

    Times are epoch seconds, 0.0 until they happen. `created` orders the runs of one journal: later ones are larger.
    `wake_at` is when the run next has something to do by itself (0.0: nothing). `fingerprint` tells an identical
    second start from a different one. `source` is where the workflow was found ("file.py:Class"), if that is known.
    """

    run_id: str
    workflow_id: str
    version: str = ""
    source: str = ""
    status: RunStatus
    parent_id: str = ""
    created: int
    started_at: float
    ended_at: float = 0.0
    wake_at: float = 0.0
    fingerprint: str = ""


@frozen(kw_only=True)
class Append:
    """What one commit adds to one run, all or nothing with the other appends of that commit.

    Args:
        run_id: the run.
        first_seq: number of the first fact; the facts of a run are numbered from 1 without gaps.
        facts: the facts, in order; may be empty when only the header changes.
        header: the run's new row, or None if it did not change.
        drop_values: the run ended: delete the values of its store (and its snapshots), this append's included.
        snapshot: the whole state after the last of these facts, as text, to shorten recovery; or None.
    """

    run_id: str
    first_seq: int
    facts: Sequence[Fact]
    header: RunHeader | None = None
    drop_values: bool = False
    snapshot: str | None = None


@frozen(kw_only=True)
class StoredRun:
    """One run as the journal holds it.

    `facts` are those after `snapshot_seq`; without a snapshot that is 0 and they are all of them. `frame_bytes` is
    their size in the journal, `snapshot_bytes` that of the snapshot. Facts of a run whose values were dropped carry
    `None` as the argument of their operations.
    """

    header: RunHeader
    facts: Sequence[Fact]
    snapshot: str | None = None
    snapshot_seq: int = 0
    frame_bytes: int = 0
    snapshot_bytes: int = 0


class Executor(Protocol):
    """Where blocking work runs. One call at a time, in order; a call is never abandoned half-way."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function()`, or its exception."""
        ...


class Clock(Protocol):
    """Time as a run sees it: epoch seconds that advance with trio's clock, so that tests can be on virtual time."""

    def now(self) -> float:
        """Epoch seconds."""
        ...


class Journal(Protocol):
    """Where the facts of all runs are kept. `actorflow.testing.JournalContract` is the suite that each must pass.

    Errors: `JournalError` for whatever cannot be opened, read or written; `JournalBusy` when somebody owns it;
    `JournalCorrupt` from `load` and `read` for the one run that is damaged; `Fenced` from `commit` for a stale owner.
    """

    @property
    def url(self) -> str:
        """How a user would name this journal."""
        ...

    @property
    def durable(self) -> bool:
        """Whether a commit survives the process. False lets the runtime answer before it commits."""
        ...

    async def open(self, executor: Executor) -> None:
        """Become the owner; `JournalBusy` if somebody else is."""
        ...

    async def commit(self, appends: Sequence[Append]) -> int:
        """Make all of them durable, or none; returns the bytes written. Never called twice at once."""
        ...

    async def load(self, run_id: str) -> StoredRun | None:
        """The run from its newest snapshot on, checked; None if there is no such run."""
        ...

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        """The facts `first_seq` to `last_seq` (inclusive; None: the last), checked."""
        ...

    async def header(self, run_id: str) -> RunHeader | None:
        """The row of one run."""
        ...

    async def headers(
        self,
        *,
        workflow_id: str | None = None,
        statuses: Sequence[RunStatus] | None = None,
        parent_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[RunHeader]:
        """Rows, newest first, from the one after run `after` on."""
        ...

    async def close(self) -> None:
        """Give up ownership. Everything committed stays."""
        ...


class Instrument:
    """What an observer may hear of the runtime; override what you need. A hook must not block and must not raise."""

    def step_started(self, run_id: str, step_id: str, activation_id: str, attempt: int) -> None:
        """A pass of a step begins."""

    def step_ended(self, run_id: str, step_id: str, activation_id: str, outcome: str) -> None:
        """A pass of a step ended as `outcome`: completed, failed, retried, cancelled or suspended."""

    def run_ended(self, run_id: str, status: RunStatus) -> None:
        """A run is over."""

    def committed(self, facts: int, runs: int, seconds: float) -> None:
        """One commit of the journal: how many facts, of how many runs, in how many seconds."""

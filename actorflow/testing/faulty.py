"""A journal that fails on purpose: at the n-th write, and in a way that a plan says.

What lives here: `FaultyJournal` and the faults of a plan. What does not: deciding which points to try (count `n` up
until nothing fails any more), or any journal of its own: it wraps one that works.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from attrs import field, frozen, validators

from ..errors import JournalError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._core.facts import Fact
    from .._core.lifecycle import RunStatus
    from ..abc import Append, Executor, Journal, RunHeader, StoredRun

SUFFIXES: Final = ("", "-wal")
"""The files of a SQLite journal that hold its content; what else lies beside them is rebuilt."""


class SimulatedCrash(JournalError):
    """The process "died" in a write.

    For the runtime it is a journal that never works again: the runs stop, nothing more is acknowledged, and whoever
    waits for one of them gets this error. Leave the block then; what the journal within holds is what a dead process
    would have left.
    """


@frozen
class Fail:
    """The write raises `JournalError`.

    Args:
        times: how many writes in a row, this one included; None: all from now on, until `FaultyJournal.heal()`.
        written: True: what should be written is there all the same, as when a connection breaks while the journal
            answers: the outcome that the caller cannot know.
        error: what to raise instead.
    """

    times: int | None = field(default=1, kw_only=True)
    written: bool = field(default=False, kw_only=True)
    error: Exception | None = field(default=None, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.times is not None and self.times < 1:
            raise ValueError(f"Fail(times={self.times}): at least 1, or None for all from now on")


@frozen
class Delay:
    """The write takes `seconds` on trio's clock longer than it would."""

    seconds: float = field(validator=validators.ge(0))


@frozen
class Crash:
    """The process "dies" in the write: `SimulatedCrash` is raised, and nothing is written from then on.

    Args:
        written: whether the write was whole by then.
    """

    written: bool = field(default=False, kw_only=True)


@frozen
class Tear:
    """The process "dies" in the middle of the write: a part of its bytes has reached the disk, in order.

    A SQLite journal is closed with its log torn there. A journal without a file of its own has nothing to tear: for
    it this is a `Crash` before the write.

    Args:
        fraction: of the bytes that the write changes, how many have arrived: 0 none, 1 all.
    """

    fraction: float = field(default=0.5, validator=[validators.ge(0), validators.le(1)])


Fault = Fail | Delay | Crash | Tear
"""What may happen to a write."""


class FaultyJournal:
    """Passes everything on to another journal, but for the writes of its plan.

    Once "crashed" it raises `SimulatedCrash` whatever is asked of it, and `close` still closes the journal within. So
    a test opens a second runtime on that journal (or on its file), and finds what a dead process would have left.

    Args:
        journal: the one that does the work; not open yet.
        plan: what happens to the n-th write, counted from 1 over all openings of this object.
        breathes: let other tasks run before and after each write, and before each read, as with a disk that takes its
            time.

    Example:
        >>> from actorflow.journals import MemoryJournal
        >>> from actorflow.testing import Fail, FaultyJournal
        >>> journal = FaultyJournal(MemoryJournal(durable=True), {3: Fail(times=2), 9: Fail(written=True)})
        >>> journal.writes
        0
    """

    def __init__(self, journal: Journal, plan: Mapping[int, Fault], *, breathes: bool = False) -> None:
        for number, fault in plan.items():
            if number < 1:
                raise ValueError(f"plan[{number!r}]: writes are counted from 1")
            if not isinstance(fault, Fail | Delay | Crash | Tear):
                raise TypeError(f"plan[{number}] = {fault!r}: give Fail(…), Delay(…), Crash(…) or Tear(…)")
        self._journal = journal
        self._plan = dict(plan)
        self._breathes = breathes
        self._failing: Fail | None = None
        self._failures_left: int | None = 0
        self._crashed = False
        self._torn: dict[Path, bytes] = {}
        self._writes = 0
        self._failed = 0

    @property
    def journal(self) -> Journal:
        """The journal within, which holds what was really written."""
        return self._journal

    @property
    def writes(self) -> int:
        """How many writes were asked for so far, failed ones included."""
        return self._writes

    @property
    def failed(self) -> int:
        """How many of them ended in a fault other than a delay: 0 after a run means that the plan was never reached."""
        return self._failed

    @property
    def crashed(self) -> bool:
        """Whether the process "died"."""
        return self._crashed

    def heal(self) -> None:
        """Forget the rest of the plan: from now on every write works. A crash stays one."""
        self._plan.clear()
        self._failing = None

    def crash(self) -> None:
        """The process "dies" now: from here on `SimulatedCrash` is raised, and nothing is written."""
        self._crashed = True

    # --- the one method that is not passed on as it is

    async def commit(self, appends: Sequence[Append]) -> int:
        """A write: what the plan says, or that of the journal within."""
        if not self._breathes:
            return await self._commit(appends)
        await trio.lowlevel.cancel_shielded_checkpoint()
        written = await self._commit(appends)
        await trio.lowlevel.cancel_shielded_checkpoint()
        self._check_alive()
        return written

    async def _commit(self, appends: Sequence[Append]) -> int:
        self._check_alive()
        self._writes += 1
        fault = self._next_fault()
        if fault is None:
            return await self._journal.commit(appends)
        if isinstance(fault, Delay):
            await trio.sleep(fault.seconds)
            return await self._journal.commit(appends)
        self._failed += 1
        if isinstance(fault, Fail):
            if fault.written:
                await self._journal.commit(appends)
            raise fault.error or JournalError(f"write {self._writes} of {self.url} fails, as planned")
        if isinstance(fault, Tear):
            await self._tear(appends, fault.fraction)
        elif fault.written:
            await self._journal.commit(appends)
        self._crashed = True
        raise SimulatedCrash(f"the process dies in write {self._writes} of {self.url}, as planned")

    def _next_fault(self) -> Fault | None:
        planned = self._plan.get(self._writes)
        if planned is not None:
            self._failing = None
        if isinstance(planned, Fail):
            self._failing, self._failures_left = planned, planned.times
        if self._failing is None:
            return planned
        if self._failures_left is not None:
            if not self._failures_left:
                self._failing = None
                return None
            self._failures_left -= 1
        return self._failing

    async def _tear(self, appends: Sequence[Append], fraction: float) -> None:
        path = getattr(self._journal, "path", None)
        if not isinstance(path, Path):
            return
        before = _image(path)
        await self._journal.commit(appends)
        log = path.with_name(f"{path.name}-wal")
        # The log alone is torn. The file changes only when what the log holds is safely there.
        self._torn = {**before, log: torn(before.get(log, b""), _image(path).get(log, b""), fraction)}

    # --- passed on

    @property
    def url(self) -> str:
        """That of the journal within."""
        return self._journal.url

    @property
    def durable(self) -> bool:
        """That of the journal within."""
        return self._journal.durable

    async def open(self, executor: Executor) -> None:
        """Open the journal within."""
        self._check_alive()
        await self._journal.open(executor)

    async def load(self, run_id: str) -> StoredRun | None:
        """The run, from the journal within."""
        await self._read_begins()
        return await self._journal.load(run_id)

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        """Facts, from the journal within."""
        await self._read_begins()
        return await self._journal.read(run_id, first_seq, last_seq)

    async def header(self, run_id: str) -> RunHeader | None:
        """One row, from the journal within."""
        await self._read_begins()
        return await self._journal.header(run_id)

    async def headers(
        self,
        *,
        workflow_id: str | None = None,
        statuses: Sequence[RunStatus] | None = None,
        parent_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[RunHeader]:
        """Rows, from the journal within."""
        await self._read_begins()
        return await self._journal.headers(
            workflow_id=workflow_id, statuses=statuses, parent_id=parent_id, limit=limit, after=after
        )

    async def close(self) -> None:
        """Close the journal within, and leave its files as the plan's crash has left them."""
        await self._journal.close()
        torn_files, self._torn = self._torn, {}
        for path, content in torn_files.items():
            path.write_bytes(content)

    async def _read_begins(self) -> None:
        self._check_alive()
        if self._breathes:
            await trio.lowlevel.checkpoint()
            self._check_alive()

    def _check_alive(self) -> None:
        if self._crashed:
            raise SimulatedCrash(f"the process that used {self.url} is dead; open the journal within anew")


def torn(before: bytes, after: bytes, fraction: float) -> bytes:
    """A file between two contents: written from the first changed byte on, up to a fraction of what changed."""
    length = max(len(before), len(after))
    changed = [i for i in range(length) if before[i : i + 1] != after[i : i + 1]]
    if not changed:
        return after
    first, last = changed[0], changed[-1] + 1
    cut = first + int(fraction * (last - first))
    return after[:cut] + before[cut:]


def _image(path: Path) -> dict[Path, bytes]:
    files = [path.with_name(f"{path.name}{suffix}") for suffix in SUFFIXES]
    return {file: file.read_bytes() for file in files if file.exists()}

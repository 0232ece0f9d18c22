"""The k-th call to the disk fails, for every k: nothing is acknowledged that is not there, and nobody hangs.

What lives here: the campaign over one workload. What does not: failing (`vfs`), the last look (`looking`, `judging`).

The faults meet the last life of a workload. While it lasts, runs stop and are tried again, as the documentation says.
When they have ended, or patience has, two images are judged: what the system holds, and what a power cut leaves of it.
"""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from actorflow import JournalError
from actorflow.abc import Append
from actorflow.journals import SqliteJournal
from actorflow.testing.journal_samples import without_values

from .adapter import connecting
from .disk import Disk
from .driving import PATIENCE_S, RETRY_S, Drive, Ends, Unrecovered, differences, undisturbed
from .flows import hearing
from .images import Failure, Tally
from .judging import Finding, finish_runs, told
from .ledger import MARK, State
from .looking import Unreadable, lay_out, look
from .recording import LIFE_S, CannotRecord, memory_folder, record
from .simulated import Hang, Inline, simulated
from .tape import CALLS, Acked, Issued, Tape, Told
from .vfs import ERRORS, LASTS, Fault, Tap
from .workloads import Start, Workload

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.abc import Executor

    from .tape import Entry

HEAL_S: Final = 45.0
"""Virtual seconds after which a fault that lasts "a while" is over: the longest pause of a repair lies within."""
CUTS: Final = 2
"""Moments after the fault at which the power is cut, too."""


@frozen(kw_only=True)
class Plan:
    """How much is tried.

    Args:
        stride: only every so many faults.
        only: the one fault that is wanted.
        until: when to stop, in epoch seconds.
    """

    stride: int = 1
    only: Fault | None = None
    until: float | None = None


class FaultedJournal(SqliteJournal):
    """The real journal on a disk that fails, with a note of what it acknowledged.

    Args:
        sabotage: what is wrong with it: "" nothing; "swallow": a commit that failed is acknowledged; "stuck": it waits
            for ever after an error.
    """

    def __init__(self, path: Path, tap: Tap, groups: list[Sequence[Append]], workload: Workload, sabotage: str) -> None:
        super().__init__(path, connect=connecting(tap, workload.settings))
        self._tape = tap.tape
        self._groups = groups
        self._sabotage = sabotage

    async def open(self, executor: Executor) -> None:
        """Become the owner."""
        await super().open(Inline())

    async def commit(self, appends: Sequence[Append]) -> int:
        """A commit, which may fail."""
        number = len(self._groups)
        self._groups.append(appends)
        self._tape.append(Issued(number))
        try:
            size = await super().commit(appends)
        except JournalError:
            if self._sabotage == "stuck":
                await trio.sleep_forever()
            if self._sabotage != "swallow":
                raise
            size = 0
        self._tape.append(Acked(number))
        return size


@frozen
class _Before:
    """What the last life begins with."""

    files: Mapping[str, bytes]
    contents: State
    starts: Sequence[Start]
    ends: Ends


@define(eq=False)
class _Point:
    """One fault in the last life of a workload, and what came of it."""

    workload: Workload
    seed: int
    before: _Before
    fault: Fault | None
    sabotage: str
    tape: Tape = field(factory=list)
    groups: list[Sequence[Append]] = field(factory=list)
    calls: Mapping[str, int] = field(factory=dict)
    fired: int = 0
    fired_at: int = 0
    images: int = 0
    finished: int = 0

    @property
    def acked(self) -> int:
        """How many commits were acknowledged."""
        return sum(isinstance(entry, Acked) for entry in self.tape)

    def run(self, folder: Path) -> Finding | None:
        """Run the life, then judge what it left."""
        path = lay_out(folder, self.before.files)
        finding: Finding | None = None
        tap = Tap(self.tape, self.fault, self.sabotage == "deaf")
        with tap, hearing(lambda run_id, mark: self.tape.append(Told(run_id, mark))):
            try:
                ends = simulated(self.seed, partial(self._life, path, tap), begin_s=LIFE_S * len(self.workload.lives))
            except Hang as error:
                finding = Finding("hang", str(error))
            except (Unrecovered, BaseExceptionGroup, JournalError) as error:
                finding = Finding("differs", told(error))
            else:
                heals = self.fault is None or self.fault.lasts != "for ever"
                if heals and (found := differences(self.before.ends, ends)):
                    finding = Finding("differs", "in the same life: " + "; ".join(found))
        self.calls, self.fired, self.fired_at = tap.calls, tap.fired, tap.fired_at
        return finding or self._judge(folder)

    async def _life(self, path: Path, tap: Tap) -> Ends:
        ends: Ends = {}

        async def heal() -> None:
            await trio.sleep(HEAL_S)
            tap.healed = True

        async with trio.open_nursery() as nursery:
            if tap.fault is not None and tap.fault.lasts == "a while":
                nursery.start_soon(heal)
            deadline = trio.current_time() + PATIENCE_S
            while trio.current_time() < deadline:
                journal = FaultedJournal(path, tap, self.groups, self.workload, self.sabotage)
                try:
                    ends = await Drive(self.before.starts, patient=True).life(journal)
                    break
                except JournalError:  # it could not even be opened
                    await trio.sleep(RETRY_S)
            nursery.cancel_scope.cancel()
        tap.is_on = False
        return ends

    def _judge(self, folder: Path) -> Finding | None:
        images = list(self._images())
        self.images = len(images)
        deep = (self.fault.at if self.fault else 0) % len(images)
        for number, (where, place, files) in enumerate(images):
            finding = self._look(lay_out(folder, files), self.tape[:place])
            if finding is None and number == deep:
                self.finished += 1
                finding = finish_runs(lay_out(folder, files), Drive(self.before.starts), self.before.ends, self.seed)
            if finding is not None:
                return Finding(finding.kind, f"{where}: {finding.text}")
        return None

    def _images(self) -> Iterator[tuple[str, int, Mapping[str, bytes]]]:
        """What is there at the end, what a power cut leaves then, and what one leaves somewhere after the fault."""
        dice = random.Random(f"{self.seed} {self.fault}")
        disk = Disk.of(self.before.files)
        calls = [place for place, entry in enumerate(self.tape, start=1) if isinstance(entry, (*CALLS, Acked))]
        later = [place for place in calls if place > self.fired_at]
        cuts = set(dice.sample(later, min(CUTS, len(later))))
        for place, entry in enumerate(self.tape, start=1):
            if isinstance(entry, CALLS):
                disk.feed(entry)
            if place in cuts:
                yield f"after a power cut at {place} of {len(self.tape)}", place, disk.image("none", dice)
        seen, durable = disk.image("process", dice), disk.image("none", dice)
        yield "at the end", len(self.tape), seen
        if durable != seen:
            yield "after a power cut at the end", len(self.tape), durable

    def _look(self, path: Path, tape: Sequence[Entry]) -> Finding | None:
        try:
            found = look(path)
        except Unreadable as error:
            return Finding("unreadable", str(error))
        for name, kept in self.before.contents.items():
            if name not in found or not _is_there(kept.facts, 1, found[name].facts):
                return Finding("lost", f"run {name} has not what it had before")
        acked = {entry.state for entry in tape if isinstance(entry, Acked)}
        for number in (entry.state for entry in tape if isinstance(entry, Issued)):
            there = {
                append.run_id in found and _is_there(append.facts, append.first_seq, found[append.run_id].facts)
                for append in self.groups[number]
                if append.facts
            }
            if number in acked and False in there:
                return Finding("lost", f"commit {number + 1} was acknowledged and is gone")
            if len(there) > 1:
                return Finding("half", f"commit {number + 1} is there for some of its runs only")
        return _marks([entry for entry in tape if isinstance(entry, Told)], found)


def _marks(told: Sequence[Told], found: State) -> Finding | None:
    # A run whose values are gone shows its marks no more: its end, which is compared, has them all.
    texts: dict[str, set[str]] = {}
    for entry in told:
        run_id, mark = entry.run_id, entry.mark
        if run_id not in found:
            return Finding("lost", f"run {run_id}, whose start was acknowledged, is gone")
        kept = found[run_id]
        if mark and not kept.header.ended_at:
            if run_id not in texts:
                texts[run_id] = {text for fact in kept.facts for text in MARK.findall(repr(fact))}
            if mark not in texts[run_id]:
                return Finding("lost", f"run {run_id} was told of {mark}, which is gone")
    return None


def _is_there(wanted: Sequence[object], first_seq: int, found: Sequence[object]) -> bool:
    there = found[first_seq - 1 : first_seq - 1 + len(wanted)]
    return len(there) == len(wanted) and all(
        one == other or without_values(one) == without_values(other)  # type: ignore[arg-type]  # facts by their origin
        for one, other in zip(wanted, there, strict=True)
    )


def _begin(workload: Workload, seed: int, folder: Path) -> _Before:
    *earlier, _ = workload.lives
    starts = workload.starts(random.Random(f"{workload.name} {seed}"))
    ends = simulated(seed, partial(undisturbed, starts))
    if not earlier:
        return _Before({}, {}, starts, ends)
    files = record(workload, seed, lives=len(earlier))
    return _Before(files.left, look(lay_out(folder, files.left)), starts, ends)


def points(calls: Mapping[str, int]) -> Iterator[Fault]:
    """Every fault that may meet a life with so many calls."""
    for call, errors in ERRORS.items():
        for at in range(1, calls[call] + 1):
            for error in errors:
                for lasts in LASTS:
                    yield Fault(call, at, error, lasts)


def campaign(workload: Workload, seed: int, plan: Plan, sabotage: str = "") -> Tally:
    """Let every call of the last life of a workload fail, one after the other."""
    tally = Tally(workload.name)
    began = time.perf_counter()
    with TemporaryDirectory(prefix="actorflow-crash-", dir=memory_folder()) as name:
        folder = Path(name)
        try:
            before = _begin(workload, seed, folder)
            calm = _Point(workload, seed, before, None, "")
            finding = calm.run(folder)
            if finding is not None:
                raise CannotRecord(f"with no fault at all: {finding.text}")
        except CannotRecord as error:
            tally.fail(Failure(workload.name, seed, "", Finding("differs", str(error))))
        else:
            for number, fault in enumerate(points(calm.calls) if plan.only is None else [plan.only]):
                if plan.until is not None and time.time() > plan.until:
                    break
                if number % plan.stride == 0:
                    point = _Point(workload, seed, before, fault, sabotage)
                    _count(tally, point, point.run(folder))
    tally.seconds = time.perf_counter() - began
    return tally


def _count(tally: Tally, point: _Point, finding: Finding | None) -> None:
    if not point.fired:
        return
    tally.points += 1
    tally.images += point.images
    tally.distinct += point.images
    tally.finished += point.finished
    for happened, count in (
        ("calls that failed", point.fired),
        ("commits that failed", len(point.groups) - point.acked),
        ("commits acknowledged", point.acked),
    ):
        tally.happened[happened] = tally.happened.get(happened, 0) + count
    if finding is not None:
        tally.fail(Failure(point.workload.name, point.seed, str(point.fault), finding))

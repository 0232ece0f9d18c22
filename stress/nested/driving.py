"""One case: a program run undisturbed, then suspended, crashed and closed at random, and both held against the model.

What lives here: the lives of a run, who answers its questions, and the judgement. What does not: the dice of the
program (`maker`), counting over cases (`campaign`).
"""

from __future__ import annotations

import random
import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio
import trio.testing
from attrs import define, field

from actorflow import (
    AmbiguousResume,
    JournalError,
    NotSuspended,
    Run,
    RunOutcome,
    RunOver,
    RunStatus,
    Runtime,
    RuntimeClosed,
    StepStatus,
    Suspension,
    open_runtime,
)
from actorflow.journals import MemoryJournal, SqliteJournal
from actorflow.testing import Crash, Fail, Fault, FaultyJournal, SimulatedCrash, Tear
from actorflow.testing.trio_internals import ordered_by

from .building import NEVER, Builder, Notes
from .judging import judge
from .maker import made
from .model import Expected, answer, expected
from .programs import Program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping
    from contextlib import AbstractAsyncContextManager, AbstractContextManager

T = TypeVar("T")

RUN_ID = "r"
HANG_S = 1e6
"""Virtual seconds after which a case hangs; the longest one has some thousands of seconds of timers."""
POLLS_MAX = 2000
"""Looks at a run after which it hangs: a case has some dozens of questions, and each look answers one of those open."""
FILES = 0.08
"""The share of the cases whose journal is a real file; a write to it takes a hundred times as long."""
PAUSES_S = (0.0, 0.3, 2.0, 30.0, 300.0)
SETTLED = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED)
OVER = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


@define
class Happened:
    """What a case went through, so that a campaign in which nothing happened shows."""

    writes: int = 0
    crashes: int = 0
    recovery_crashes: int = 0
    faults: int = 0
    closings: int = 0
    resumes: int = 0
    deep_resumes: int = 0
    refused: int = 0


@define
class Case:
    """A seed and all that follows from it."""

    seed: int
    program: Program
    wanted: Expected
    chance: random.Random
    happened: Happened = field(factory=Happened)
    findings: list[str] = field(factory=list)
    state_is_gone: bool = False

    @classmethod
    def of(cls, seed: int, program: Program | None = None) -> Case:
        """The case of a seed; a program may be given, to try the same fate on a smaller one."""
        found = made(seed) if program is None else program
        return cls(seed, found, expected(found), random.Random(f"fate {seed}"))

    def run(self) -> list[str]:
        """Run it, both ways; returns what went wrong."""
        for disturbed in (False, True):
            with seeded(self.seed):
                try:
                    trio.run(self._run, disturbed, clock=trio.testing.MockClock(autojump_threshold=0))
                except Hang as hang:
                    self.findings.append(str(hang))
            if self.findings:
                how = "disturbed" if disturbed else "undisturbed"
                self.findings = [f"{how}: {finding}" for finding in self.findings]
                break
        return self.findings

    async def _run(self, disturbed: bool) -> None:
        notes = Notes(self.wanted.sights, suspends=disturbed)
        outcome = await (self._lives(notes) if disturbed else self._calm(notes))
        faults = self.happened.crashes + self.happened.faults + self.happened.closings
        self.findings += judge(self.program, self.wanted, notes, outcome, calm=faults == 0, gone=self.state_is_gone)

    async def _calm(self, notes: Notes) -> RunOutcome:
        journal = FaultyJournal(MemoryJournal(durable=True), {})
        async with self._open(notes, journal) as runtime:
            run = await self._start(runtime)
            outcome = await self._watched(runtime, partial(self._end_of, run))
            await self._check_over(runtime)
        self.happened.writes = journal.writes
        return outcome

    async def _end_of(self, run: Run) -> RunOutcome:
        """The end of a run that asks nothing, though a loser may leave it suspended but for a timer."""
        while (outcome := await run.wait()).status not in OVER:  # noqa: ASYNC110 - no event for it
            await trio.sleep(max(PAUSES_S))
        return outcome

    # --- disturbed

    async def _lives(self, notes: Notes) -> RunOutcome:
        with tempfile.TemporaryDirectory(prefix="actorflow-nested-") as folder:
            disk: MemoryJournal | Path = MemoryJournal(durable=True)
            if self.chance.random() < FILES:
                disk = Path(folder, "runs.db")
            lives = self.chance.choice([0, 1, 1, 1, 2, 3, 5])
            for life in range(lives):
                ended = await self._life(notes, disk, self._fate(life, disk), closes=self.chance.random() < 0.3)
                if ended is not None:
                    return ended
            ended = await self._life(notes, disk, {}, closes=False)
            if ended is None:
                raise Hang("the last life, in which nothing fails, ends before the run does")
            return ended

    def _fate(self, life: int, disk: MemoryJournal | Path) -> Mapping[int, Fault]:
        """What happens to the writes of a life: later ones die in their recovery as often as after it."""
        last = 3 if life and self.chance.random() < 0.5 else max(2, int(self.happened.writes * 1.3))
        kinds: list[Fault] = [Crash(), Crash(written=True), Crash(), Crash(written=True)]
        kinds += [Tear(self.chance.random())] if isinstance(disk, Path) else []
        kinds += [Fail(times=self.chance.randint(1, 3)), Fail(written=True)]
        return {self.chance.randint(1, last): self.chance.choice(kinds)}

    async def _life(
        self, notes: Notes, disk: MemoryJournal | Path, fate: Mapping[int, Fault], *, closes: bool
    ) -> RunOutcome | None:
        """From one opening to the end of the run, of the process, or of the block; None unless the run ended."""
        journal = FaultyJournal(SqliteJournal(disk) if isinstance(disk, Path) else disk, fate)
        outcome = None
        try:
            async with self._open(notes, journal) as runtime:
                looks = self.chance.randint(1, 6) if closes else None
                outcome = await self._watched(runtime, partial(self._drive, runtime, journal, looks))
                if outcome is not None:
                    await self._check_over(runtime)
        except (JournalError, RuntimeClosed):
            outcome = None
        except BaseExceptionGroup as group:
            _, rest = group.split(JournalError)
            if rest is not None:
                raise
            outcome = None
        if journal.crashed:
            self.happened.crashes += 1
            self.happened.recovery_crashes += min(fate) <= 3
        elif journal.failed:
            self.happened.faults += 1
        elif outcome is None:
            self.happened.closings += 1
        return outcome

    async def _drive(self, runtime: Runtime, journal: FaultyJournal, looks: int | None) -> RunOutcome | None:
        """Answer what the run asks until it is over; None if the block is to be left before that."""
        run: Run | None = None
        for look in range(POLLS_MAX):
            if look == looks:
                return None
            try:
                if run is None:
                    run = await self._start(runtime)
                    # Found so, and not met: its state has gone with its end.
                    self.state_is_gone = not self.program.keeps_state and await run.status() in OVER
                outcome = None
                with trio.move_on_after(self.chance.choice(PAUSES_S)):
                    outcome = await run.wait()
                if outcome is not None and outcome.status in OVER:
                    return outcome
                await self._answer(run, settled=outcome is not None)
            except JournalError:
                # It may work again; a crash does not.
                if journal.crashed:
                    raise
                await trio.sleep(5)
                run = None
        raise Hang(f"hangs: {POLLS_MAX} looks, and it is not over: {await told(runtime)}")

    async def _answer(self, run: Run, *, settled: bool) -> None:
        """Resume some of the open questions, or all."""
        listed = (await run.describe()).suspensions
        if len({found.activation_id for found in listed}) != len(listed):
            self.findings.append(f"a suspension shows up twice: {listed}")
        questions = [found for found in listed if found.payload != NEVER]
        if not questions:
            if settled:
                await trio.sleep(self.chance.choice(PAUSES_S))  # suspended, but for a timer: it goes on by itself
            return
        self.chance.shuffle(questions)
        if self.chance.random() < 0.5:
            del questions[self.chance.randint(1, len(questions)) :]
        if self.chance.random() < 0.3:
            async with trio.open_nursery() as nursery:
                for question in questions:
                    nursery.start_soon(self._resume, run, question, listed)
        else:
            for question in questions:
                await self._resume(run, question, listed)

    async def _resume(self, run: Run, question: Suspension, listed: tuple[Suspension, ...]) -> None:
        how = self.chance.choice(["activation", "activation", "label", "path", "nothing"])
        data = answer(question.payload)
        try:
            if how == "label":
                await run.resume(data, label=question.label)
            elif how == "path" and sum(found.path == question.path for found in listed) == 1:
                await run.resume(data, step=".".join(question.path))
            elif how == "nothing" and len(listed) == 1:
                await run.resume(data)
            else:
                await run.resume(data, step=question.activation_id)
            self.happened.resumes += 1
            self.happened.deep_resumes += len(question.path) > 2
            if self.chance.random() < 0.1:
                await self._resume_again(run, question)
        except AmbiguousResume:
            self.happened.refused += 1  # one more of that path was suspended meanwhile
        except (NotSuspended, RunOver) as error:
            # Only what was cancelled meanwhile may be gone.
            self.happened.refused += 1
            now = () if isinstance(error, RunOver) else (await run.describe()).suspensions
            if any((found.activation_id, found.label) == (question.activation_id, question.label) for found in now):
                self.findings.append(f"{how}: {question} is listed, and its resume refused: {error!r}")

    async def _resume_again(self, run: Run, question: Suspension) -> None:
        try:
            await run.resume("wrong", label=question.label)
        except (NotSuspended, RunOver):
            return
        self.findings.append(f"a second resume of {question} is accepted")

    # --- both

    async def _watched(self, runtime: Runtime, wait: Callable[[], Awaitable[T]]) -> T:
        """What the call gives, unless it hangs."""
        with trio.move_on_after(HANG_S):
            return await wait()
        raise Hang(f"hangs: nothing happens any more: {await told(runtime)}")

    def _open(self, notes: Notes, journal: FaultyJournal) -> AbstractAsyncContextManager[Runtime]:
        builder = Builder(notes, self.program.flow.id if self.program.keeps_state else "")
        builder.flow(self.program.flow)
        return open_runtime(list(builder.flows.values()), journal=journal, shutdown_grace=0)

    async def _start(self, runtime: Runtime) -> Run:
        if runtime.unrecovered:
            for error in runtime.unrecovered.values():
                if isinstance(error, SimulatedCrash):
                    raise error
            raise Hang(f"not recovered: {dict(runtime.unrecovered)}")
        state = dict(self.program.state)
        return await runtime.start(self.program.flow.id, self.program.data, run_id=RUN_ID, initial_state=state or None)

    async def _check_over(self, runtime: Runtime) -> None:
        """No run of the tree is left over."""
        left = [summary for summary in await runtime.list_runs(limit=10_000) if summary.status not in OVER]
        if left:
            self.findings.append(f"the run is over, and these are not: {left}")
        statistics = runtime.statistics()
        if statistics.live_steps or statistics.suspended_runs:
            self.findings.append(f"the run is over, but {statistics}")


async def told(runtime: Runtime) -> str:
    """What the runs that are not over tell of themselves."""
    lines = [str(runtime.statistics())]
    for summary in await runtime.list_runs(limit=10_000):
        if summary.status not in OVER:
            described = await (await runtime.get_run(summary.run_id)).describe()
            steps = [
                f"{step.activation_id} {step.step_id} {step.status.value}"
                for step in described.steps
                if step.status not in SETTLED
            ]
            lines.append(f"{summary.workflow_id} {summary.run_id} {summary.status.value}: {steps}")
    return "\n  ".join(lines)


class Hang(Exception):
    """A case cannot go on."""


def seeded(seed: int) -> AbstractContextManager[None]:
    """Let trio choose the order of its tasks by a seed; without that no failure could be had again."""
    return ordered_by(random.Random(seed))

"""Faults of the runtime that the stress tool has found, each with the exploration that finds its kind."""

from collections.abc import Sequence
from contextlib import suppress

import pytest
import trio
import trio.testing

from actorflow import (
    Context,
    JournalError,
    Limits,
    NotSuspended,
    Retry,
    RunStatus,
    Runtime,
    Workflow,
    open_runtime,
    step,
)
from actorflow._core.facts import ChildEnded, RunEnded
from actorflow.abc import Append, Journal
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, FaultyJournal, explore


@pytest.mark.rule("D1")
def test_wait_never_tells_of_a_run_that_is_still_running() -> None:
    """Also when a timer wakes the suspended run while its outcome is put together."""

    class Woken(Workflow):
        async def start(self, data: object, ctx: Context):
            await ctx.schedule_next_step("asking")
            for number in range(12):
                await ctx.schedule_next_step("late", delay=0.5 * (number // 4 + 1))

        async def late(self, data: object, ctx: Context):
            await ctx.run_store.increment("late")

        async def asking(self, data: object, ctx: Context):
            await ctx.suspend("why?")

    async def program(journal: Journal) -> set[RunStatus]:
        told = set()

        async def look(runtime: Runtime, run_id: str) -> None:
            run = await runtime.start(Woken, run_id=run_id)
            while trio.current_time() < 2:
                for _ in range(20):
                    told.add((await run.wait()).status)
                await trio.sleep(0.5)

        async with open_runtime([Woken], journal=journal, shutdown_grace=0) as runtime, trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(look, runtime, f"r{number}")
        return told

    explore(program, seeds=60, invariants=[lambda told: told <= {RunStatus.SUSPENDED}])


@pytest.mark.rule("A7")
def test_a_run_that_ends_while_it_is_looked_up_is_not_taken_up_beside_itself() -> None:
    """Two starts of one run id in memory, one of which looks at the journal while the last facts are on their way."""

    class Kept(Workflow):
        keep_state = True

        async def start(self, data: object, ctx: Context):
            for _ in range(2):
                await trio.lowlevel.checkpoint()

    async def program() -> list[RunStatus]:
        ends: list[RunStatus] = []
        async with open_runtime([Kept]) as runtime:

            async def one() -> None:
                ends.append((await (await runtime.start(Kept, run_id="r")).wait()).status)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(one)
                nursery.start_soon(one)
        return ends

    explore(program, seeds=200, max_decisions=2000, invariants=[lambda ends: ends == [RunStatus.COMPLETED] * 2])


@pytest.mark.rule("D5")
def test_of_two_answers_to_one_question_the_later_is_no_answer_to_the_next() -> None:
    """Though the step has asked again by the time that the second answer comes."""

    class Asks(Workflow):
        async def start(self, data: object, ctx: Context):
            for number in range(2):
                await ctx.run_store.push("answers", await ctx.suspend(label=f"q{number}"))

    async def program(journal: Journal) -> int:
        refused = 0

        async def answer(text: str) -> None:
            nonlocal refused
            try:
                await run.resume(text, step="1", label="q0")
            except NotSuspended:
                refused += 1

        async with open_runtime([Asks], journal=journal, shutdown_grace=0) as runtime:
            run = await runtime.start(Asks, run_id="r")
            await run.wait()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(answer, "a")
                nursery.start_soon(answer, "b")
        return refused

    explore(program, seeds=150, invariants=[lambda refused: refused == 1])


@pytest.mark.rule("C5", "F4")
async def test_a_retry_waits_for_its_own_delay_after_a_crash(autojump_clock: trio.testing.MockClock) -> None:
    """Not for that of the attempt before, which is long over."""
    disk = MemoryJournal(durable=True)
    began: list[tuple[int, float]] = []

    class Stubborn(Workflow):
        @step(retry=Retry(4, delay=1, factor=60, max_delay=7200, jitter=0))
        async def start(self, data: object, ctx: Context):
            began.append((ctx.attempt, trio.current_time()))
            await ctx.run_store.push("attempts", ctx.attempt)
            if ctx.attempt < 4:
                raise ValueError("not yet")

    for number in range(1, 40):
        journal = FaultyJournal(MemoryJournal(durable=True) if number > 1 else disk, {number: Crash(written=True)})
        began.clear()
        for opened in (journal, journal.journal):
            with suppress(JournalError, BaseExceptionGroup):
                async with open_runtime([Stubborn], journal=opened, shutdown_grace=0) as runtime:
                    await (await runtime.start(Stubborn, run_id="r")).wait()
        first = {attempt: min(at for found, at in began if found == attempt) for attempt, _ in began}
        # Each opening reads the wall clock anew, so a little is lost in between.
        assert first[2] - first[1] > 0.5
        assert first[3] - first[2] > 59
        assert first[4] - first[3] > 3599
        if not journal.crashed:
            break
    assert number > 8


@pytest.mark.rule("A7", "A3", "A8")
async def test_the_end_of_a_child_is_news_in_its_own_commit_behind_any_number_of_cancels(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Though the mailbox has one place: after a crash nobody would tell the parent any more."""

    class Tap(MemoryJournal):
        async def commit(self, appends: Sequence[Append]) -> int:
            ended = any(isinstance(fact, RunEnded) for add in appends if "~" in add.run_id for fact in add.facts)
            told = any(isinstance(fact, ChildEnded) for add in appends for fact in add.facts)
            assert ended == told
            seen.append(ended)
            return await super().commit(appends)

    seen: list[bool] = []
    gate = trio.Event()

    class Child(Workflow):
        async def start(self, data: object, ctx: Context):
            await gate.wait()

    class Parent(Workflow):
        async def start(self, data: object, ctx: Context):
            await ctx.run_child(Child)

    async with open_runtime([Parent, Child], journal=Tap(durable=True), limits=Limits(mailbox=1)) as runtime:
        run = await runtime.start(Parent, run_id="r")
        await trio.testing.wait_all_tasks_blocked()
        async with trio.open_nursery() as nursery:
            gate.set()
            for _ in range(5):
                nursery.start_soon(run.cancel)
        assert (await run.wait()).status in (RunStatus.CANCELLED, RunStatus.COMPLETED)
    assert seen.count(True) == 1

"""What random nested workflows (`python -m stress nested`) have brought to light, each in its smallest form."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from actorflow import Context, JournalError, Run, RunStatus, Workflow, open_runtime
from actorflow.journals import MemoryJournal, SqliteJournal
from actorflow.testing import Fail, FaultyJournal

WRITES_MAX = 60
"""Far more writes than the workflow below asks for."""


class Inner(Workflow):
    """Pushes, after a while."""

    async def start(self, data, ctx: Context):
        await trio.sleep(3)
        await ctx.run_store.push("a", "inner")


class Outer(Workflow):
    """Calls a child, and writes while that one runs."""

    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("other")
        await ctx.run_child(Inner, merge_state=True)

    async def other(self, data, ctx: Context):
        await trio.sleep(1)
        await ctx.run_store.push("a", "other")

    async def on_workflow_complete(self, ctx: Context):
        return sorted(await ctx.run_store.get("a"))


@pytest.mark.rule("F6", "E2")
@pytest.mark.parametrize("times", [1, 2, 3])
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_parent_and_child_stop_and_go_on_together(
    kind: str, times: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Whichever write fails, also while the child does not write: the parent hears of the child's end all the same."""
    for n in range(1, WRITES_MAX):
        disk = MemoryJournal(durable=True) if kind == "memory" else SqliteJournal(tmp_path / f"{n}.db")
        journal = FaultyJournal(disk, {n: Fail(times=times)})
        async with open_runtime([Outer, Inner], journal=journal) as runtime:
            with trio.fail_after(1e5):
                assert await insisted(runtime) == ["inner", "other"]
            assert runtime.unrecovered == {}
        if not journal.failed:
            assert n > 8
            return
    pytest.fail("the writes never end")


async def insisted(runtime) -> object:
    """The output of the run, asked for again and again."""
    while True:
        try:
            run: Run = await runtime.start(Outer, run_id="r")
            return await run.result()
        except JournalError:
            await trio.sleep(1)


class Clinging(Workflow):
    """Writes as it is cancelled, and does not let itself be disturbed."""

    async def start(self, data, ctx: Context):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await ctx.run_store.push("a", 1)


@pytest.mark.rule("A7", "G")
@pytest.mark.parametrize("flow", [Outer, Clinging])
@pytest.mark.parametrize("durable", [False, True])
async def test_a_block_that_is_cancelled_from_outside_ends(
    flow: type[Workflow], durable: bool, autojump_clock: MockClock
) -> None:
    """Cancelled around the block, with a step in `run_child` or in a shielded write: nobody waits for ever."""
    journal = MemoryJournal(durable=durable)
    with trio.move_on_after(2) as scope:
        async with open_runtime([flow, Inner], journal=journal, shutdown_grace=0) as runtime:
            await (await runtime.start(flow)).wait()
    assert scope.cancelled_caught


class Asking(Workflow):
    """Asks at once."""

    async def start(self, data, ctx: Context):
        return await ctx.suspend()


@pytest.mark.rule("D1", "F6")
async def test_suspended_runs_are_counted_right_after_failed_writes(autojump_clock: MockClock) -> None:
    """Whichever write fails, and whether it arrived: the count of suspended runs is that of the journal."""
    for n in range(1, WRITES_MAX):
        journal = FaultyJournal(MemoryJournal(durable=True), {n: Fail(written=n % 2 == 0)})
        async with open_runtime([Asking], journal=journal) as runtime:
            for answered in (False, True):
                with trio.fail_after(1e5):
                    await counted(runtime, answered=answered)
        if not journal.failed:
            assert n > 4
            return
    pytest.fail("the writes never end")


async def counted(runtime, *, answered: bool) -> None:
    """Bring the run to its question, or to its end, and compare the count."""
    while True:
        try:
            run = await runtime.start(Asking, run_id="r")
            outcome = await run.wait()
            if answered and outcome.status is RunStatus.SUSPENDED:
                await run.resume("yes")
                outcome = await run.wait()
            break
        except JournalError:
            await trio.sleep(1)
    assert outcome.status is (RunStatus.COMPLETED if answered else RunStatus.SUSPENDED)
    assert runtime.statistics().suspended_runs == int(not answered)


class Late(Workflow):
    """Asks, and has a step that is due later."""

    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("late", delay=5)
        await ctx.suspend()

    async def late(self, data, ctx: Context):
        await trio.sleep(2)
        await ctx.run_store.push("a", "late")

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("a")


class Long(Workflow):
    """Holds the closing up."""

    async def start(self, data, ctx: Context):
        await trio.sleep_forever()


@pytest.mark.rule("D7", "F4")
async def test_a_timer_of_a_suspended_run_that_falls_due_while_the_runtime_closes(autojump_clock: MockClock) -> None:
    """Its step is not started to be cancelled at once: it is there at the next opening."""
    disk = MemoryJournal(durable=True)
    async with open_runtime([Late, Long], journal=disk, shutdown_grace=3) as runtime:
        run = await runtime.start(Late, run_id="late")
        await runtime.start(Long)
        assert (await run.wait()).status is RunStatus.SUSPENDED
        await trio.sleep(3)
    async with open_runtime([Late, Long], journal=disk, shutdown_grace=0) as runtime:
        run = await runtime.get_run("late")
        await run.resume()
        assert await run.result() == ["late"]

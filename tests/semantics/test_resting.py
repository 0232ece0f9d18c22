"""Runs that wait for events alone take no memory, and are there when something comes for them."""

from __future__ import annotations

import gc

import pytest
import trio

from actorflow import Context, JournalError, RunStatus, Workflow, open_runtime
from actorflow._runtime.supervisor import RunActor
from actorflow.journals import MemoryJournal
from actorflow.testing import Fail, FaultyJournal


class Approval(Workflow):
    """Waits for one event."""

    async def start(self, data: object, ctx: Context[object]) -> None:
        await ctx.run_store.set("asked", data)
        await ctx.wait_for_event("answer", action="decide")

    async def decide(self, data: object, ctx: Context[object]) -> None:
        await ctx.run_store.set("answer", ctx.event)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        return await ctx.run_store.snapshot()


def in_memory() -> int:
    """Actors that exist."""
    gc.collect()
    return sum(isinstance(found, RunActor) for found in gc.get_objects())


@pytest.mark.rule("D6", "F3")
async def test_a_run_that_waits_for_an_event_takes_no_memory(sqlite_url: str) -> None:
    """A hundred runs without a handle are in the journal alone; each wakes for its event and for nothing else."""
    async with open_runtime([Approval], journal=sqlite_url) as runtime:
        before = in_memory()
        for n in range(100):
            await runtime.start(Approval, n, run_id=f"r{n}")
        await runtime._kernel.dispatcher.idle()
        while runtime.statistics().live_steps:
            await runtime._kernel.dispatcher.idle()
            await runtime._kernel.branches.empty()
        assert in_memory() == before
        assert runtime.statistics().live_runs == runtime.statistics().pending_steps == 100
        for n in range(100):
            run = await runtime.get_run(f"r{n}")
            assert await run.status() is RunStatus.RUNNING
            assert await run.state() == {"asked": n}
            await run.send_event("answer", -n)
            assert await run.result() == {"asked": n, "answer": -n}
        del run
        assert runtime.statistics().live_runs == 0
        assert in_memory() == before


@pytest.mark.rule("D6", "A2")
async def test_handles_of_one_resting_run_are_of_one_mind(sqlite_url: str) -> None:
    """However many hold it, and whenever they ask: there is one actor, and every event counts once."""
    async with open_runtime([Approval], journal=sqlite_url) as runtime:
        first = await runtime.start(Approval, 1, run_id="r")
        while (await first.describe()).waits == ():
            await runtime._kernel.dispatcher.idle()
        second = await runtime.get_run("r")
        third = await runtime.start(Approval, 1, run_id="r")
        assert await first.state() == await second.state() == await third.state() == {"asked": 1}
        await second.send_event("other", 0)
        await third.send_event("answer", 5)
        assert [await run.result() for run in (first, second, third)] == [{"asked": 1, "answer": 5}] * 3
        await second.cancel()


@pytest.mark.rule("G", "D6")
async def test_a_resting_run_is_taken_up_and_cancelled_like_any_other(sqlite_url: str) -> None:
    """It outlives the block, and a cancel reaches it."""
    async with open_runtime([Approval], journal=sqlite_url) as runtime:
        for name in ("a", "b"):
            await runtime.start(Approval, 1, run_id=name)
    async with open_runtime([Approval], journal=sqlite_url) as runtime:
        run = await runtime.get_run("a")
        await run.cancel("enough")
        assert await run.status() is RunStatus.CANCELLED
        other = await runtime.get_run("b")
        assert [fact.kind for fact in await other.history()][-1] == "step-completed"
        async with other.events() as stream:
            await other.send_event("answer", 2)
            kinds = [event.kind async for event in stream]
        assert kinds[-1] == "run-completed"


@pytest.mark.rule("F6", "D6")
async def test_a_run_that_rested_and_then_broke_is_found_as_the_journal_has_it(autojump_clock: object) -> None:
    """Every write after the rest fails once, though it was written: the old handle sees the run end all the same."""
    for n in range(1, 20):
        journal = FaultyJournal(MemoryJournal(durable=True), {n: Fail(times=1, written=True)})
        async with open_runtime([Approval], journal=journal) as runtime:
            run = None
            with trio.fail_after(1000):
                while run is None or (await run.status()) is RunStatus.RUNNING:
                    try:
                        run = await runtime.start(Approval, 1, run_id="r")
                        if not (await run.describe()).waits:
                            await trio.sleep(1)
                            continue
                        await trio.sleep(1)  # it rests
                        await run.send_event("answer", 5)
                        await run.wait()
                    except JournalError:
                        await trio.sleep(1)
                assert (await run.wait()).output == {"asked": 1, "answer": 5}
        if not journal.failed:
            assert n > 3
            return
    raise AssertionError("every write failed")

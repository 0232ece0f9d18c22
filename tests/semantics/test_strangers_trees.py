"""What readers of the code found in trees of runs, in waiting and in closing, each kept as a test."""

from __future__ import annotations

import gc

import pytest
import trio
import trio.testing

from actorflow import Context, Retry, RunStatus, Workflow, open_runtime, step


class Asks(Workflow):
    """Suspends, and returns what it is resumed with."""

    async def start(self, data: object, ctx: Context) -> object:
        return await ctx.suspend("?")


class Calls(Workflow):
    """Has one child that asks."""

    async def start(self, data: object, ctx: Context) -> object:
        return await ctx.run_child(Asks)


class Waits(Workflow):
    """Waits for an event that nobody sends."""

    async def start(self, data: object, ctx: Context) -> None:
        await ctx.wait_for_event("never", action="go")

    async def go(self, data: object, ctx: Context) -> None:
        pass


@pytest.mark.rule("G", "A8")
async def test_closing_ends_though_a_child_is_given_up_meanwhile(
    journal: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A child that its parent's scope gives up while the runtime closes does not hold the closing up."""

    class GivesUp(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            with trio.move_on_after(5):
                await ctx.run_child(Waits)

    class Sleeps(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await trio.sleep(8)

    with trio.fail_after(100):
        async with open_runtime([GivesUp, Waits, Sleeps], journal=journal, shutdown_grace=10) as runtime:
            await runtime.start(GivesUp)
            await runtime.start(Sleeps)
            await trio.sleep(1)
            gc.collect()


@pytest.mark.rule("A8", "F9")
async def test_a_cancel_does_not_wait_for_a_child_nobody_knows(
    sqlite_url: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A run whose suspended child belongs to a workflow that the runtime does not know is cancelled all the same."""
    async with open_runtime([Calls, Asks], journal=sqlite_url) as runtime:
        await (await runtime.start(Calls, run_id="calls")).wait()
    gc.collect()
    async with open_runtime([Calls], journal=sqlite_url) as runtime:
        assert len(runtime.unrecovered) == 1
        run = await runtime.get_run("calls")
        with trio.fail_after(100):
            await run.cancel("enough")
            assert (await run.wait()).status is RunStatus.CANCELLED


@pytest.mark.rule("D1")
async def test_wait_never_answers_that_the_run_is_running(journal: str, autojump_clock: trio.testing.MockClock) -> None:
    """Who begins to wait as a timer of a suspended run falls due hears of it when it is suspended again."""

    class Both(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("work", delay=5)
            await ctx.schedule_next_step("ask")

        async def ask(self, data: object, ctx: Context) -> None:
            await ctx.suspend()

        async def work(self, data: object, ctx: Context) -> None:
            await trio.sleep(10)
            await ctx.run_store.set("worked", True)

    async with open_runtime([Both], journal=journal) as runtime:
        run = await runtime.start(Both)
        assert (await run.wait()).status is RunStatus.SUSPENDED
        await trio.sleep(5)
        assert (await run.wait()).status is RunStatus.SUSPENDED
        await trio.sleep(20)
        assert await run.state() == {"worked": True}


@pytest.mark.rule("D1")
async def test_everybody_who_waits_hears_of_the_suspension(
    journal: str, autojump_clock: trio.testing.MockClock
) -> None:
    """One of those who wait resumes the run at once, and the others still hear that it was suspended, or is over."""
    heard: list[RunStatus] = []

    class AsksAndWorks(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.suspend()
            await trio.sleep(10)

    async with open_runtime([AsksAndWorks], journal=journal) as runtime:
        run = await runtime.start(AsksAndWorks)

        async def waits() -> None:
            heard.append((await run.wait()).status)

        async def resumes() -> None:
            await run.wait()
            await run.resume()

        async with trio.open_nursery() as nursery:
            for task in (waits, waits, waits, resumes, waits, waits, waits):
                nursery.start_soon(task)
    assert len(heard) == 6
    assert set(heard) <= {RunStatus.SUSPENDED, RunStatus.COMPLETED}


class Slow(Workflow):
    """Takes long."""

    async def start(self, data: object, ctx: Context) -> None:
        await trio.sleep(100)


@pytest.mark.rule("A8", "C3", "F4")
async def test_a_step_that_gave_a_child_up_completes_after_a_reopening(
    sqlite_url: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A step that went on without its child does so in the next process too, and its effects count once."""
    passes: list[int] = []

    class Impatient(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            passes.append(1)
            with trio.move_on_after(5):
                await ctx.run_child(Slow)
            await ctx.run_store.increment("after")
            await trio.sleep(10)
            return await ctx.run_store.get("after")

    async with open_runtime([Impatient, Slow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Impatient, run_id="r")
        await trio.sleep(8)
    async with open_runtime([Impatient, Slow], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 1
    assert len(passes) == 2


@pytest.mark.rule("A8", "C3", "D4")
async def test_a_step_that_gave_a_child_up_completes_after_a_suspension(
    journal: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A step that went on without its child and suspended then is resumed, and its effects count once."""

    class Impatient(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            with trio.move_on_after(5):
                await ctx.run_child(Slow)
            await ctx.run_store.increment("after")
            return [await ctx.suspend(), await ctx.run_store.get("after")]

    async with open_runtime([Impatient, Slow], journal=journal) as runtime:
        run = await runtime.start(Impatient)
        assert (await run.wait()).status is RunStatus.SUSPENDED
        await run.resume("on")
        assert await run.result() == ["on", 1]


@pytest.mark.rule("C3", "E2")
async def test_what_a_child_writes_to_its_parent_counts_once_over_a_resume_and_retries(journal: str) -> None:
    """A step of a child that was resumed and then retried writes to its parent once, whatever it says again."""
    attempts: list[int] = []

    class Writes(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("write")

        @step(retry=Retry(attempts=3, delay=0))
        async def write(self, data: object, ctx: Context) -> None:
            await ctx.suspend()
            attempts.append(1)
            await ctx.run_store.push("k", len(attempts))
            await ctx.parent_store.push("k", len(attempts))
            if len(attempts) < 3:
                raise ValueError("again")
            await ctx.parent_store.set("own", await ctx.run_store.get("k"))

    class Has(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.run_child(Writes)

    async with open_runtime([Has, Writes], journal=journal) as runtime:
        run = await runtime.start(Has)
        await run.wait()
        await run.resume()
        assert (await run.wait()).state == {"k": [1], "own": [1]}
    assert len(attempts) == 3


@pytest.mark.rule("C3", "D4")
async def test_an_op_id_is_known_in_every_pass_of_a_child_s_step(journal: str) -> None:
    """What is named with an op_id is applied to the parent once, though later passes say something new."""
    passes: list[int] = []

    class Names(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("name")

        @step(retry=Retry(attempts=3, delay=0))
        async def name(self, data: object, ctx: Context) -> None:
            passes.append(1)
            await ctx.parent_store.push("k", len(passes), op_id="first")
            await ctx.suspend()
            await ctx.parent_store.push("k", -len(passes), op_id="second")
            await ctx.suspend()
            if len(passes) < 5:
                raise ValueError("again")

    class Has(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.run_child(Names)

    async with open_runtime([Has, Names], journal=journal) as runtime:
        run = await runtime.start(Has)
        for _ in range(2):
            await run.wait()
            await run.resume()
        assert (await run.wait()).state == {"k": [1, -2]}
    assert len(passes) == 5

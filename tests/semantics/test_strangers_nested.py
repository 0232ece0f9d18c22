"""What readers of the code found in suspension and nesting, each kept as a test."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from actorflow import Context, RunFailed, RunStatus, Workflow, open_runtime, step, workflow


@pytest.mark.rule("C3", "D3")
async def test_a_fork_whose_child_has_ended_since_goes_on(journal: str) -> None:
    """The child begins anew, and the fork's parent, which was suspended for it, hears of it."""

    class Asks(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.suspend("?")

    class Keeps(Workflow):
        keep_state = True

        async def start(self, data, ctx: Context):
            return await ctx.run_child(Asks)

    async with open_runtime([Keeps, Asks], journal=journal) as runtime:
        run = await runtime.start(Keeps, run_id="kept")
        await run.wait()
        place = len(await run.history())
        await run.resume("first")
        assert await run.result() == "first"
        fork = await run.fork(at=place, run_id="fork")
        outcome = await fork.wait()
        while not outcome.suspensions:  # it may be seen before its child has begun anew
            outcome = await fork.wait()
        assert [item.path for item in outcome.suspensions] == [("start", "start")]
        await fork.resume("second")
        assert await fork.result() == "second"


@pytest.mark.rule("D6")
async def test_a_kept_event_of_the_wrong_type_is_not_handed_down(
    journal: str, autojump_clock: trio.testing.MockClock
) -> None:
    """What does not fit the type that a descendant gives the event stays where it is, and the next that fits comes."""

    @step
    async def show(data: int, ctx: Context) -> int:
        return data

    inner = workflow("inner").sleep(5).wait_for_event("paid", type=int).then(show).commit()
    outer = workflow("outer").then(inner).commit()
    async with open_runtime([outer], journal=journal) as runtime:
        run = await runtime.start(outer)
        await run.send_event("paid", "not a number")
        await trio.sleep(10)
        assert await run.status() is RunStatus.RUNNING
        await run.send_event("paid", 7)
        assert await run.result() == 7


@pytest.mark.rule("E3", "F4")
async def test_the_failures_of_a_child_survive_the_process(sqlite_url: str) -> None:
    """A step that hears of its child's failure in a later process hears of every failed step."""
    heard: list[RunFailed] = []

    class Fails(Workflow):
        async def start(self, data, ctx: Context):
            raise ValueError("no")

    class Calls(Workflow):
        async def start(self, data, ctx: Context):
            try:
                await ctx.run_child(Fails)
            except RunFailed as error:
                heard.append(error)
            if len(heard) == 1:
                await trio.sleep_forever()
            return "over it"

    async with open_runtime([Calls, Fails], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Calls, run_id="calls")
        while not heard:
            await trio.lowlevel.checkpoint()
    async with open_runtime([Calls, Fails], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("calls")).result() == "over it"
    assert [[(failed.step_id, failed.error_type) for failed in error.failures] for error in heard] == [
        [("start", "ValueError")],
        [("start", "ValueError")],
    ]


@pytest.mark.rule("G", "C7")
async def test_closing_does_not_fail_a_step_that_deals_with_its_error(sqlite_url: str) -> None:
    """A step that the closing cuts off while it pauses after an error runs again at the next opening."""
    passes: list[int] = []

    class Patient(Workflow):
        async def start(self, data, ctx: Context):
            passes.append(1)
            try:
                if len(passes) == 1:
                    raise ConnectionError("not yet")
            except ConnectionError:
                await trio.sleep_forever()
            return "fine"

    async with open_runtime([Patient], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Patient, run_id="patient")
        while not passes:
            await trio.lowlevel.checkpoint()
    async with open_runtime([Patient], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("patient")).result() == "fine"


@pytest.mark.rule("B12", "D1")
async def test_a_handle_of_a_resting_run_knows_its_last_state(journal: str) -> None:
    """A handle that was had before the end has the final snapshot, though it never looked at the run meanwhile."""

    class Asks(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("answer", await ctx.suspend("?"))

    async with open_runtime([Asks], journal=journal) as runtime:
        await (await runtime.start(Asks, run_id="asks")).wait()
        quiet = await runtime.get_run("asks")
        acting = await runtime.get_run("asks")
        await acting.resume(7)
        await acting.wait()
        del acting
        assert (await quiet.wait()).state == {"answer": 7}


@pytest.mark.rule("D1", "C11")
async def test_a_step_that_catches_its_own_suspension_is_suspended_all_the_same(journal: str) -> None:
    """Whoever swallows what ends the pass gets it again at the next call, and calls no child twice."""

    class Asks(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.suspend("?")

    class Stubborn(Workflow):
        async def start(self, data, ctx: Context):
            for _ in range(5):
                try:
                    return await ctx.run_child(Asks)
                except BaseException:  # noqa: BLE001 - the very thing that is tried
                    continue
            return "never"

    async with open_runtime([Stubborn, Asks], journal=journal) as runtime:
        run = await runtime.start(Stubborn)
        outcome = await run.wait()
        assert len(outcome.suspensions) == 1
        await run.resume("yes")
        assert await run.result() == "yes"

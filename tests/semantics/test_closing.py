"""How the block of a runtime closes (semantics G), on virtual time where there is time in it.

Tests that close and open again use SQLite on the real clock and a grace of zero: nothing in them waits.
"""

from __future__ import annotations

import itertools
import logging

import pytest
import trio
import trio.testing

from actorflow import (
    Context,
    Deadlock,
    RunCancelled,
    RunStatus,
    RuntimeClosed,
    Workflow,
    open_runtime,
)


async def _run_out_of_block(flow: type[Workflow], *, grace: float) -> float:
    """Start a run, leave the block as soon as its first step is live, and tell how long leaving took."""
    flow.live = trio.Event()  # type: ignore[attr-defined]  # the class of the test gets one more attribute
    with trio.fail_after(100_000):
        async with open_runtime([flow], shutdown_grace=grace) as runtime:
            await runtime.start(flow)
            await flow.live.wait()  # type: ignore[attr-defined]  # the class of the test gets one more attribute
            left = trio.current_time()
    return trio.current_time() - left


# ------------------------------------------------------------------------------------ the grace period


@pytest.mark.rule("G")
async def test_a_live_step_may_finish_within_the_grace(autojump_clock) -> None:
    """A step that needs five of ten seconds ends by itself, and the block ends right after it."""
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            type(self).live.set()
            await trio.sleep(5)
            await ctx.run_store.push("k", 1)
            ended.append("by itself")

    took = await _run_out_of_block(Flow, grace=10)
    assert ended == ["by itself"]
    assert 5 <= took < 6


@pytest.mark.rule("G")
@pytest.mark.parametrize("grace", [0, 2, 10])
async def test_a_longer_step_is_cancelled_when_the_grace_is_over(autojump_clock, grace: int) -> None:
    """A step of a minute is cancelled after exactly the grace, and the block ends then."""
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            type(self).live.set()
            try:
                await trio.sleep(60)
                ended.append("by itself")
            except trio.Cancelled:
                ended.append("cancelled")
                raise

    took = await _run_out_of_block(Flow, grace=grace)
    assert ended == ["cancelled"]
    assert grace <= took < grace + 1


@pytest.mark.rule("G")
async def test_the_default_grace_is_ten_seconds(autojump_clock) -> None:
    """Without shutdown_grace a step of nine seconds ends, one of eleven does not."""
    ended: list[int] = []
    live: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.append(data)
            if len(live) == 2:
                both.set()
            await trio.sleep(data)
            ended.append(data)

    both = trio.Event()
    async with open_runtime([Flow]) as runtime:
        await runtime.start(Flow, 9)
        await runtime.start(Flow, 11)
        await both.wait()
    assert ended == [9]


@pytest.mark.rule("G")
async def test_an_idle_run_does_not_use_up_the_grace(autojump_clock) -> None:
    """A run with nothing live, only a timer of a day, holds the block for no time at all."""
    ran: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay="1 day")

        async def later(self, data, ctx: Context):
            ran.append("later")

    async with open_runtime([Flow]) as runtime:
        await runtime.start(Flow)
        await trio.sleep(1)
        left = trio.current_time()
    assert trio.current_time() - left < 1
    assert ran == []


@pytest.mark.rule("G", "F1")
async def test_what_a_step_does_within_the_grace_is_durable(sqlite_url: str) -> None:
    """A step that goes on when the body is over still writes; the next opening finds it done and does not repeat it."""
    go = trio.Event()
    executions: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            executions.append(ctx.attempt)
            live.set()
            await go.wait()
            for n in range(20):
                await ctx.run_store.push("k", n)
            return await ctx.run_store.length("k")

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=60) as runtime:
        await runtime.start(Flow, run_id="r")
        await live.wait()
        go.set()
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 20
    assert executions == [1]


# ------------------------------------------------------------------------------------ steps that do not obey


@pytest.mark.rule("G")
async def test_the_block_ends_with_the_last_step_and_names_the_orphans_once(autojump_clock, caplog) -> None:
    """Two steps shielded for a minute outlast a grace of two seconds: one warning names both, the block waits."""
    live = trio.Event()
    started: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("stubborn_one")
            await ctx.schedule_next_step("stubborn_two")

        async def stubborn_one(self, data, ctx: Context):
            await self._hold("one")

        async def stubborn_two(self, data, ctx: Context):
            await self._hold("two")

        async def _hold(self, name: str) -> None:
            started.append(name)
            if len(started) == 2:
                live.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(60)

    with caplog.at_level(logging.WARNING), trio.fail_after(100_000):
        async with open_runtime([Flow], shutdown_grace=2) as runtime:
            await runtime.start(Flow)
            await live.wait()
            left = trio.current_time()
        took = trio.current_time() - left
    warnings = [record for record in caplog.records if "stubborn" in record.getMessage()]
    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert "stubborn_one" in warnings[0].getMessage()
    assert "stubborn_two" in warnings[0].getMessage()
    assert 59 <= took < 61


@pytest.mark.rule("G")
async def test_no_warning_when_everything_ends_in_time(autojump_clock, caplog) -> None:
    """A step that uses the grace and ends by itself is nobody's warning."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            type(self).live.set()
            await trio.sleep(1)

    with caplog.at_level(logging.WARNING):
        await _run_out_of_block(Flow, grace=10)
    loud = [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]
    assert [message for message in loud if "start" in message or "Flow" in message] == []


@pytest.mark.rule("G", "C12")
async def test_a_step_that_swallows_one_cancellation_does_not_hang_the_block(autojump_clock) -> None:
    """A step that catches Cancelled and sleeps again is cancelled again; the block ends with the grace."""
    swallowed = itertools.count(1)
    last = 0

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            nonlocal last
            type(self).live.set()
            for _ in range(3):
                try:
                    await trio.sleep(60)
                except trio.Cancelled:
                    last = next(swallowed)

    took = await _run_out_of_block(Flow, grace=2)
    assert last >= 1
    assert took < 200


@pytest.mark.rule("G", "C12")
async def test_cancelling_a_run_waits_for_its_shielded_step(autojump_clock) -> None:
    """Run.cancel returns only when the run is over, and it is over only when its last step has really ended."""
    order: list[str] = []
    live = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            with trio.CancelScope(shield=True):
                await trio.sleep(60)
            order.append("step ended")

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow)
        await live.wait()
        await run.cancel()
        order.append("cancel returned")
        assert await run.status() is RunStatus.CANCELLED
    assert order == ["step ended", "cancel returned"]


# ------------------------------------------------------------------------------------ no new runs


@pytest.mark.rule("G")
@pytest.mark.parametrize("who", ["step", "outside"])
async def test_no_new_run_starts_while_the_block_closes(autojump_clock, who: str) -> None:
    """During the grace start() raises RuntimeClosed, called by a live step or by a task outside."""
    ended: list[str] = []
    live = trio.Event()

    async def try_to_start() -> None:
        await trio.sleep(1)
        try:
            await runtime.start(Flow, "second", run_id="second")
        except RuntimeClosed:
            ended.append("refused")

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            if data == "second":
                ended.append("second ran")
                return
            live.set()
            if who == "step":
                await try_to_start()
            await trio.sleep(5)
            ended.append("first ended")

    async with trio.open_nursery() as nursery:
        async with open_runtime([Flow], shutdown_grace=10) as runtime:
            await runtime.start(Flow, "first")
            await live.wait()
            if who == "outside":
                nursery.start_soon(try_to_start)
    assert ended == ["refused", "first ended"]


@pytest.mark.rule("G")
@pytest.mark.parametrize("call", ["start", "run", "get_run", "list_runs"])
async def test_a_call_on_a_closed_runtime_raises_runtime_closed(journal: str, call: str) -> None:
    """After the block every call of the runtime says that it is closed."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            return 1

    async with open_runtime([Flow], journal=journal) as runtime:
        await runtime.run(Flow, run_id="r")
    arguments = {"start": (Flow,), "run": (Flow,), "get_run": ("r",), "list_runs": ()}[call]
    with pytest.raises(RuntimeClosed):
        await getattr(runtime, call)(*arguments)


@pytest.mark.rule("G")
@pytest.mark.parametrize("call", ["wait", "result", "cancel", "status", "describe", "state", "history", "fork"])
async def test_a_call_on_a_handle_of_a_closed_runtime_raises_runtime_closed(sqlite_url: str, call: str) -> None:
    """A handle of an unfinished run does not outlive the block: every call of it says that it is closed."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            await trio.sleep_forever()

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.start(Flow)
        await live.wait()
    with pytest.raises(RuntimeClosed):
        await getattr(run, call)()


@pytest.mark.rule("G")
async def test_a_kept_store_of_a_closed_runtime_raises(sqlite_url: str) -> None:
    """The store of a step that was cut off by closing refuses with RuntimeClosed instead of writing somewhere."""
    held: list[Context] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            held.append(ctx)
            live.set()
            await trio.sleep_forever()

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow)
        await live.wait()
    with pytest.raises(RuntimeClosed):
        await held[0].run_store.push("k", 1)


# ------------------------------------------------------------------------------------ waiters from outside


@pytest.mark.rule("G")
@pytest.mark.parametrize("verb", ["wait", "result"])
async def test_whoever_waits_from_outside_gets_runtime_closed(journal: str, verb: str) -> None:
    """A task outside the block that waits for an unfinished run is told when the block closes, and does not hang."""
    told: list[type[BaseException]] = []
    live, waiting = trio.Event(), trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            await trio.sleep_forever()

    async def outside(run) -> None:
        waiting.set()
        try:
            await getattr(run, verb)()
        except RuntimeClosed as error:
            told.append(type(error))

    async with trio.open_nursery() as nursery:
        async with open_runtime([Flow], journal=journal, shutdown_grace=0) as runtime:
            run = await runtime.start(Flow)
            for _ in range(10):
                nursery.start_soon(outside, run)
            await live.wait()
            await waiting.wait()
            await trio.testing.wait_all_tasks_blocked()
    assert told == [RuntimeClosed] * 10


@pytest.mark.rule("G")
async def test_a_reader_of_the_event_stream_does_not_hang_over_closing(autojump_clock) -> None:
    """A task outside that reads events of an unfinished run comes to an end with the block, by end or by error."""
    ended: list[str] = []
    live, reading = trio.Event(), trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            await trio.sleep_forever()

    async def outside(run) -> None:
        try:
            async with run.events() as stream:
                async for _ in stream:
                    reading.set()
        except RuntimeClosed:
            pass
        ended.append("reader")

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            async with open_runtime([Flow], shutdown_grace=1) as runtime:
                nursery.start_soon(outside, await runtime.start(Flow))
                await live.wait()
                await reading.wait()
    assert ended == ["reader"]


@pytest.mark.rule("G")
async def test_runs_that_wait_for_each_other_do_not_hold_the_block(autojump_clock) -> None:
    """A run whose step waits for another unfinished run ends with the grace like any other."""
    waiting = trio.Event()

    class Parked(Workflow):
        async def start(self, data, ctx: Context):
            await trio.sleep_forever()

    class Waits(Workflow):
        async def start(self, data, ctx: Context):
            handle = await runtime.get_run("parked")
            waiting.set()
            await handle.wait()

    with trio.fail_after(1000):
        async with open_runtime([Parked, Waits], shutdown_grace=3) as runtime:
            await runtime.start(Parked, run_id="parked")
            await runtime.start(Waits)
            await waiting.wait()
            left = trio.current_time()
        assert trio.current_time() - left < 10


# ------------------------------------------------------------------------------------ closing from inside


@pytest.mark.rule("G")
async def test_closing_from_inside_a_step_raises_deadlock(autojump_clock) -> None:
    """A step that leaves the block it runs in gets Deadlock at once; the runtime stays open and usable."""
    caught: list[Deadlock] = []

    class Closer(Workflow):
        async def start(self, data, ctx: Context):
            try:
                await block.__aexit__(None, None, None)
            except Deadlock as error:
                caught.append(error)
            return "alive"

    block = open_runtime([Closer])
    with trio.fail_after(1000):
        runtime = await block.__aenter__()
        try:
            assert await runtime.run(Closer) == "alive"
            assert await runtime.run(Closer, run_id="again") == "alive"
        finally:
            await block.__aexit__(None, None, None)
    assert len(caught) == 2


@pytest.mark.rule("G")
async def test_a_step_may_open_and_close_another_runtime(autojump_clock) -> None:
    """Only the own runtime is out of bounds: a runtime opened inside a step closes as anywhere else."""

    class Inner(Workflow):
        async def start(self, data, ctx: Context):
            return "inner"

    class Outer(Workflow):
        async def start(self, data, ctx: Context):
            async with open_runtime([Inner]) as inside:
                return await inside.run(Inner)

    with trio.fail_after(1000):
        async with open_runtime([Outer]) as runtime:
            assert await runtime.run(Outer) == "inner"


# ------------------------------------------------------------------------------------ memory: cancel hooks


@pytest.mark.rule("G")
async def test_with_memory_unfinished_runs_end_as_cancelled_with_their_hooks(autojump_clock) -> None:
    """Closing a volatile journal calls the cancel hook once per unfinished run, and it may write and wait a little."""
    hooks: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", data)
            await ctx.schedule_next_step("later", delay="1 day")

        async def later(self, data, ctx: Context):
            hooks.append("later ran")

        async def on_workflow_cancel(self, reason, ctx: Context):
            await trio.sleep(1)
            hooks.append(await ctx.run_store.get("k"))

    with trio.fail_after(1000):
        async with open_runtime([Flow], shutdown_grace=10) as runtime:
            for name in ("a", "b"):
                await runtime.start(Flow, name)
            await trio.sleep(1)
    assert sorted(hooks) == ["a", "b"]


@pytest.mark.rule("G")
async def test_with_memory_a_cancel_hook_has_no_more_than_the_grace(autojump_clock) -> None:
    """A cancel hook that sleeps for an hour is cut off; closing takes seconds."""
    hooks: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay="1 day")

        async def later(self, data, ctx: Context):
            """Keeps the run open."""

        async def on_workflow_cancel(self, reason, ctx: Context):
            hooks.append("began")
            await trio.sleep(3600)
            hooks.append("ended")

    async with open_runtime([Flow], shutdown_grace=3) as runtime:
        await runtime.start(Flow)
        await trio.sleep(1)
        left = trio.current_time()
    assert hooks == ["began"]
    assert trio.current_time() - left < 30


@pytest.mark.rule("G")
async def test_with_a_durable_journal_closing_calls_no_hook(sqlite_url: str) -> None:
    """An unfinished durable run is neither completed, failed nor cancelled by closing."""
    hooks: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            await trio.sleep_forever()

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append("error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            hooks.append("cancel")

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
        await live.wait()
    async with open_runtime([Flow], journal=sqlite_url, recover=False) as runtime:
        assert await (await runtime.get_run("r")).status() is RunStatus.RUNNING
    assert hooks == []


# ------------------------------------------------------------------------------------ the next opening


@pytest.mark.rule("G", "F4")
async def test_unfinished_runs_are_taken_up_at_the_next_opening(sqlite_url: str) -> None:
    """A step cut off by closing runs again at the next opening, as the same attempt of the same activation."""
    passes: list[tuple[str, int]] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            passes.append((ctx.activation_id, ctx.attempt))
            count = await ctx.run_store.increment("passes")
            live.set()
            if len(passes) == 1:
                await trio.sleep_forever()
            return [data, count]

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, "input", run_id="r")
        await live.wait()
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        assert dict(runtime.unrecovered) == {}
        assert await (await runtime.get_run("r")).result() == ["input", 1]
    assert len(passes) == 2
    assert len(set(passes)) == 1


@pytest.mark.rule("G", "F4")
async def test_steps_that_never_began_begin_at_the_next_opening(sqlite_url: str) -> None:
    """Branches that stood behind max_live_steps when the block closed all run at the next opening, none twice."""
    ran: list[int] = []
    stop = trio.Event()

    class Flow(Workflow):
        max_live_steps = 2

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(30))

        async def work(self, data, ctx: Context):
            if not stop.is_set():
                stop.set()
                await trio.sleep_forever()
            if reopened:
                ran.append(data)
            await ctx.run_store.push("k", data)

        async def on_workflow_complete(self, ctx: Context):
            return sorted(await ctx.run_store.get("k"))

    reopened = False
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
        await stop.wait()
    reopened = True
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == list(range(30))
    assert len(ran) == len(set(ran)) >= 1


@pytest.mark.rule("G")
async def test_without_recover_a_run_lies_still_until_it_is_acted_on(sqlite_url: str) -> None:
    """recover=False lets unfinished runs be read without starting their steps; cancel takes one up and ends it."""
    passes: list[str] = []
    hooks: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            passes.append(ctx.run_id)
            await ctx.run_store.set("k", 1)
            live.set()
            await trio.sleep_forever()

        async def on_workflow_cancel(self, reason, ctx: Context):
            hooks.append(reason)

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
        await live.wait()
    async with open_runtime([Flow], journal=sqlite_url, recover=False, shutdown_grace=0) as runtime:
        run = await runtime.get_run("r")
        assert await run.status() is RunStatus.RUNNING
        assert await run.state() == {"k": 1}
        assert [step.step_id for step in (await run.describe()).steps] == ["start"]
        assert passes == ["r"]
        await run.cancel("not wanted")
        with pytest.raises(RunCancelled):
            await run.result()
    assert hooks == ["not wanted"]


@pytest.mark.rule("G", "F7")
async def test_the_journal_is_free_when_the_block_has_ended(sqlite_url: str) -> None:
    """Closing flushes and lets go: ten openings in a row of one journal, each finds what the former left."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            return data

    for n in range(10):
        async with open_runtime([Flow], journal=sqlite_url) as runtime:
            assert len(await runtime.list_runs()) == n
            assert await runtime.run(Flow, n) == n


# ------------------------------------------------------------------------------------ leaving by error


@pytest.mark.rule("G")
async def test_an_error_of_the_body_leaves_the_block_bare_and_ends_the_steps(journal: str) -> None:
    """The body's own error comes out as it is, not in a group, after the live steps have ended."""
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.append("step")

    live = trio.Event()
    with pytest.raises(ZeroDivisionError, match="of the body"):
        async with open_runtime([Flow], journal=journal, shutdown_grace=0) as runtime:
            await runtime.start(Flow)
            await live.wait()
            raise ZeroDivisionError("of the body")
    assert ended == ["step"]


@pytest.mark.rule("G")
async def test_cancelling_the_block_from_outside_ends_it(autojump_clock) -> None:
    """A cancel scope around the block ends body, steps and block, and is seen by its owner."""
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            try:
                await trio.sleep_forever()
            finally:
                ended.append("step")

    with trio.fail_after(100_000):
        with trio.move_on_after(5) as scope:
            async with open_runtime([Flow], shutdown_grace=10) as runtime:
                await runtime.start(Flow)
                await trio.sleep_forever()
    assert scope.cancelled_caught
    assert ended == ["step"]


@pytest.mark.rule("G")
async def test_nothing_outlives_the_block(journal: str) -> None:
    """As many tasks live after the block as before it, with finished, live and waiting runs in it."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            if data == "quick":
                return
            await ctx.schedule_next_step("later", delay="1 day")
            live.set()
            await trio.sleep_forever()

        async def later(self, data, ctx: Context):
            """Never runs here."""

    live = trio.Event()
    before = trio.lowlevel.current_statistics().tasks_living
    async with open_runtime([Flow], journal=journal, shutdown_grace=0) as runtime:
        await runtime.run(Flow, "quick")
        await runtime.start(Flow, "slow")
        await live.wait()
    assert trio.lowlevel.current_statistics().tasks_living == before

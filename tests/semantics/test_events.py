"""Waiting for events, and timers that outlive the process (semantics D6, D7)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorflow import (
    Context,
    InputError,
    NotJsonError,
    Run,
    RunOutcome,
    RunOver,
    RunStatus,
    Workflow,
    open_runtime,
)


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def reached_or_over(reached: trio.Event, run: Run) -> None:
    """Return when a step set the event, or else when the run ended without it: a bug must not become a hang."""
    async with trio.open_nursery() as nursery:

        async def over() -> None:
            await run.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(over)
        await reached.wait()
        nursery.cancel_scope.cancel()


class Approval(Workflow):
    """Waits for a decision; its output is what the actions saw."""

    async def start(self, data, ctx: Context):
        for number in range(data.get("waits", 1)):
            if "open_after" in data:
                await ctx.schedule_next_step("open_wait", number, delay=data["open_after"])
            else:
                await self.open_wait(number, ctx)

    async def open_wait(self, data, ctx: Context):
        options = {"timeout": ctx.input["timeout"]} if "timeout" in ctx.input else {}
        if ctx.input.get("on_timeout"):
            options["on_timeout"] = "expired"
        await ctx.wait_for_event("decision", action="decided", payload={"wait": data}, **options)
        await ctx.run_store.increment("open")

    async def decided(self, data, ctx: Context):
        await ctx.run_store.push("decided", {"data": data, "event": ctx.event})

    async def expired(self, data, ctx: Context):
        await ctx.run_store.push("expired", 1)

    async def on_workflow_complete(self, ctx: Context):
        return {
            "decided": await ctx.run_store.get("decided", []),
            "expired": await ctx.run_store.length("expired"),
        }


@pytest.mark.rule("D6", "C1")
@pytest.mark.parametrize("event", [{"ok": True}, [1, 2], "text", 0, False, None], ids=repr)
async def test_event_runs_the_action_with_payload_and_event_apart(event: object, journal: str) -> None:
    """The event ends the wait: the action runs once, the payload is its data and the event stands in `ctx.event`."""
    async with open_runtime([Approval], journal=journal) as runtime:
        run = await runtime.start(Approval, {})
        await run.send_event("decision", event)
        output = await run.result()
    assert output == {"decided": [{"data": {"wait": 0}, "event": event}], "expired": 0}


@pytest.mark.rule("D6", "C1", "D1")
async def test_open_wait_keeps_the_run_running() -> None:
    """A run with nothing but an open wait is running, shows the wait, and an event of another name changes nothing."""
    async with open_runtime([Approval]) as runtime:
        run = await runtime.start(Approval, {})
        await wait_all_tasks_blocked()
        assert await run.status() is RunStatus.RUNNING
        await run.send_event("something else", {"ok": False})
        await wait_all_tasks_blocked()
        description = await run.describe()
        assert (description.status, len(description.waits)) == (RunStatus.RUNNING, 1)
        assert "decision" in repr(description.waits[0])
        await run.send_event("decision", 1)
        assert [entry["event"] for entry in (await run.result())["decided"]] == [1]
        assert (await run.describe()).waits == ()


@pytest.mark.rule("D6")
async def test_event_before_its_wait_is_kept(autojump_clock: MockClock) -> None:
    """An event sent before any wait for it opened is delivered as soon as one does."""
    async with open_runtime([Approval]) as runtime:
        run = await runtime.start(Approval, {"open_after": 3600})
        await run.send_event("decision", "early")
        await trio.sleep(10)
        assert await run.status() is RunStatus.RUNNING
        output = await run.result()
    assert [entry["event"] for entry in output["decided"]] == ["early"]


@pytest.mark.rule("D6")
@pytest.mark.parametrize("early", [False, True], ids=["after the waits", "before the waits"])
async def test_every_event_goes_to_one_wait(early: bool, autojump_clock: MockClock) -> None:
    """Three waits and two events: each event is delivered once, to different waits, and the third wait expires."""
    async with open_runtime([Approval]) as runtime:
        order = {"waits": 3, "timeout": 1000, "on_timeout": True, "open_after": 10}
        run = await runtime.start(Approval, order)
        await trio.sleep(1 if early else 20)
        await run.send_event("decision", "a")
        await run.send_event("decision", "b")
        output = await run.result()
    assert sorted(entry["event"] for entry in output["decided"]) == ["a", "b"]
    assert len({entry["data"]["wait"] for entry in output["decided"]}) == 2
    assert output["expired"] == 1


@pytest.mark.rule("D6")
@pytest.mark.parametrize("sent", [99, 101])
async def test_timeout_decides_between_event_and_expiry(sent: int, autojump_clock: MockClock) -> None:
    """Before the timeout the event wins and `on_timeout` never runs; past it, the other way round."""
    async with open_runtime([Approval]) as runtime:
        run = await runtime.start(Approval, {"timeout": 100, "on_timeout": True})
        await trio.sleep(sent)
        if sent < 100:
            await run.send_event("decision", "in time")
        else:
            with pytest.raises(RunOver):
                await run.send_event("decision", "too late")
        await trio.sleep(1000)
        output = await run.result()
    assert output["expired"] == (0 if sent < 100 else 1)
    assert [entry["event"] for entry in output["decided"]] == (["in time"] if sent < 100 else [])


@pytest.mark.rule("D6")
async def test_wait_past_its_timeout_fails_with_step_timeout(autojump_clock: MockClock) -> None:
    """Without `on_timeout` a wait that nobody answers fails the run with `StepTimeout`, at its timeout."""
    async with open_runtime([Approval]) as runtime:
        began = trio.current_time()
        outcome = await (await runtime.start(Approval, {"timeout": 3600})).wait()
        assert trio.current_time() - began == pytest.approx(3600, abs=0.05)
    assert outcome.status is RunStatus.FAILED
    assert [kind(failure) for failure in outcome.failures] == ["StepTimeout"]


@pytest.mark.rule("D6")
async def test_answered_wait_does_not_time_out_later(autojump_clock: MockClock) -> None:
    """An action still at work when the wait's timeout would have struck is left alone."""

    class SlowAction(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="slow", timeout=10)

        async def slow(self, data, ctx: Context):
            await trio.sleep(100)
            await ctx.run_store.set("event", ctx.event)

    async with open_runtime([SlowAction]) as runtime:
        run = await runtime.start(SlowAction)
        await run.send_event("go", "went")
        outcome = await run.wait()
    assert (outcome.error, outcome.state) == (None, {"event": "went"})


@pytest.mark.rule("D6", "C6")
async def test_open_wait_ends_with_a_failing_run(journal: str) -> None:
    """An open wait does not keep a run alive that a failed step has ended."""

    class Fails(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("never", action="act")
            raise ValueError("after opening a wait")

        async def act(self, data, ctx: Context):
            pass

    async with open_runtime([Fails], journal=journal) as runtime:
        run = await runtime.start(Fails)
        assert (await run.wait()).status is RunStatus.FAILED
        with pytest.raises(RunOver):
            await run.send_event("never", 1)


@pytest.mark.rule("D6", "A7")
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_event_after_the_end_is_refused(end: str, journal: str) -> None:
    """An event for a run that is over raises `RunOver`, however the run ended."""
    live = trio.Event()

    class Ends(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            if end == "failed":
                raise ValueError("the end")
            if end == "cancelled":
                await trio.sleep_forever()

    async with open_runtime([Ends], journal=journal) as runtime:
        run = await runtime.start(Ends)
        await live.wait()
        if end == "cancelled":
            await run.cancel()
        assert (await run.wait()).status is RunStatus(end)
        with pytest.raises(RunOver):
            await run.send_event("anything", {})


@pytest.mark.rule("D6", "B2")
@pytest.mark.parametrize("event", [float("nan"), {1, 2}, b"bytes", {"a": {3: 4}}], ids=["nan", "set", "bytes", "key"])
async def test_event_that_is_not_json_is_refused(event: object) -> None:
    """Event data that is not JSON is refused to its sender; the wait stays open for a better one."""
    async with open_runtime([Approval]) as runtime:
        run = await runtime.start(Approval, {})
        with pytest.raises((InputError, NotJsonError)):
            await run.send_event("decision", event)
        await run.send_event("decision", "better")
        assert [entry["event"] for entry in (await run.result())["decided"]] == ["better"]


@pytest.mark.rule("D6", "B1")
async def test_event_is_copied_when_sent(autojump_clock: MockClock) -> None:
    """Event data changed by the sender afterwards arrives as it was sent."""
    async with open_runtime([Approval]) as runtime:
        run = await runtime.start(Approval, {"open_after": 10})
        event = {"list": [1]}
        await run.send_event("decision", event)
        event["list"].append(2)
        assert (await run.result())["decided"][0]["event"] == {"list": [1]}


@pytest.mark.rule("D6")
async def test_context_event_is_none_outside_a_wait() -> None:
    """Steps that waited for nothing have no event, nor do those that a woken step schedules."""
    seen = []

    class Events(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(ctx.event)
            await ctx.wait_for_event("go", action="woken")

        async def woken(self, data, ctx: Context):
            seen.append((data, ctx.event))
            await ctx.schedule_next_step("after")

        async def after(self, data, ctx: Context):
            seen.append(ctx.event)

    async with open_runtime([Events]) as runtime:
        run = await runtime.start(Events)
        await run.send_event("go", {"n": 1})
        await run.result()
    assert seen == [None, (None, {"n": 1}), None]


@pytest.mark.rule("D6", "D2", "F4")
@pytest.mark.parametrize("sent", ["before closing", "after reopening"])
async def test_waits_and_events_survive_reopening(sent: str, sqlite_url: str, mock_clock: MockClock) -> None:
    """An open wait is answered after reopening, and an event kept for a wait is kept over the closing."""
    order = {"open_after": 60} if sent == "before closing" else {}
    opened = trio.Event()

    class Opens(Approval):
        id = "opens"

        async def start(self, data, ctx: Context):
            await super().start(data, ctx)
            opened.set()

    async with open_runtime([Opens], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.start(Opens, order, run_id="r")
        await reached_or_over(opened, run)
        if sent == "before closing":
            await run.send_event("decision", "kept")
    async with open_runtime([Opens], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.status() is RunStatus.RUNNING
        if sent == "after reopening":
            await run.send_event("decision", "kept")
        else:
            mock_clock.jump(100)
        output = await run.result()
    assert output == {"decided": [{"data": {"wait": 0}, "event": "kept"}], "expired": 0}


@pytest.mark.rule("D6", "C3", "F4")
async def test_interrupted_action_gets_its_event_again_and_counts_once(sqlite_url: str) -> None:
    """An action cut short by closing runs again with the same payload and event; nobody else gets that event."""
    passes = []
    live = trio.Event()

    class Interrupted(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="act", payload="p")

        async def act(self, data, ctx: Context):
            passes.append((data, ctx.event, ctx.activation_id))
            await ctx.run_store.increment("acted")
            if len(passes) == 1:
                live.set()
                await trio.sleep_forever()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("acted")

    async with open_runtime([Interrupted], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.start(Interrupted, run_id="r")
        await run.send_event("go", {"n": 1})
        await reached_or_over(live, run)
    async with open_runtime([Interrupted], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 1
    assert len(passes) == 2
    assert passes[0] == passes[1]
    assert passes[0][:2] == ("p", {"n": 1})


class Timers(Workflow):
    """Schedules one step per delay; its output is the order in which they ran."""

    async def start(self, data, ctx: Context):
        for delay in data:
            await ctx.schedule_next_step("fire", delay, delay=delay)
        await ctx.run_store.set("armed", True)

    async def fire(self, data, ctx: Context):
        await ctx.run_store.push("fired", data)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("fired")


async def arm(delays: list[float], url: str) -> None:
    """Start a run with these timers and close the runtime before any of them is due."""
    async with open_runtime([Timers], journal=url, shutdown_grace=0) as runtime:
        run = await runtime.start(Timers, delays, run_id="r")
        while not (await run.state()).get("armed"):
            await trio.lowlevel.checkpoint()


@pytest.mark.rule("D7", "C2")
async def test_timers_due_while_closed_fire_at_once_in_due_order(sqlite_url: str, mock_clock: MockClock) -> None:
    """Timers that fell due between closing and reopening fire in due order on a clock that does not move at all."""
    await arm([0.030, 0.010, 0.020, 0.015], sqlite_url)
    # Journaled due times are wall-clock times: only the real clock can make them pass while no runtime is open.
    due = datetime.now(UTC) + timedelta(milliseconds=35)
    while datetime.now(UTC) < due:
        pass
    began = trio.current_time()
    async with open_runtime([Timers], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == [0.010, 0.015, 0.020, 0.030]
    assert trio.current_time() == began


@pytest.mark.rule("D7")
async def test_timers_not_yet_due_wait_for_their_time(sqlite_url: str, mock_clock: MockClock) -> None:
    """After reopening, timers fire at their own time, neither restarted nor early."""
    await arm([7200, 3600], sqlite_url)
    async with open_runtime([Timers], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        mock_clock.jump(3000)
        assert (await run.state()).get("fired") is None
        mock_clock.jump(1000)
        async with run.events() as stream:
            async for _ in stream:
                if (await run.state()).get("fired"):
                    break
        assert (await run.state())["fired"] == [3600]
        mock_clock.jump(3600)
        assert await run.result() == [3600, 7200]


@pytest.mark.rule("D7")
async def test_now_follows_the_virtual_clock(autojump_clock: MockClock) -> None:
    """`now()` is aware UTC and moves with virtual time, in steps and at the runtime alike."""
    seen: list[datetime] = []

    class Now(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(ctx.now())
            await trio.sleep(86_400)
            seen.append(ctx.now())

    async with open_runtime([Now]) as runtime:
        before = runtime.now()
        outcome: RunOutcome = await (await runtime.start(Now)).wait()
        after = runtime.now()
    assert outcome.error is None
    assert before.utcoffset() == seen[0].utcoffset() == timedelta(0)
    assert (seen[1] - seen[0]).total_seconds() == pytest.approx(86_400, abs=0.05)
    assert (after - before).total_seconds() == pytest.approx(86_400, abs=0.05)

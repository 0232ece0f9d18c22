"""The status of a run with suspended steps, what wakes it, what it costs, what may not suspend (semantics D1, C11)."""

from __future__ import annotations

import gc
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    HookRestriction,
    Retry,
    RunCancelled,
    RunOver,
    RunStatus,
    RunSuspended,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from actorflow._runtime.supervisor import RunActor
from tests.semantics.settling import answer, asked, children, kind, pause, records, until

STYLE = pytest.mark.parametrize("style", ["class", "graph"])


class Rests(Workflow):
    """Opens what the input names beside a suspension: timers, waits, a retry; the output is the final state."""

    async def start(self, data, ctx: Context):
        if "timer" in data:
            await ctx.schedule_next_step("later", delay=data["timer"])
        if "wait" in data:
            await ctx.wait_for_event("go", action="gone")
        if "retry" in data:
            await ctx.schedule_next_step("flaky")
        for n in range(data.get("questions", 1)):
            await ctx.schedule_next_step("ask", n)

    async def ask(self, data, ctx: Context):
        await ctx.run_store.push("answers", [data, await ctx.suspend(f"q{data}")])

    async def later(self, data, ctx: Context):
        await ctx.run_store.set("later", True)

    async def gone(self, data, ctx: Context):
        await ctx.run_store.set("event", ctx.event)

    @step(retry=Retry(attempts=2, delay=3600.0, max_delay=3600.0, jitter=0.0))
    async def flaky(self, data, ctx: Context):
        if ctx.attempt == 1:
            raise ValueError("once")
        await ctx.run_store.set("retried", True)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.snapshot()


@pytest.mark.rule("D1")
@pytest.mark.parametrize(
    ("beside", "status"),
    [
        ({}, RunStatus.SUSPENDED),
        ({"timer": 3600}, RunStatus.SUSPENDED),
        ({"wait": 1}, RunStatus.SUSPENDED),
        ({"retry": 1}, RunStatus.SUSPENDED),
        ({"timer": 3600, "wait": 1, "retry": 1, "questions": 3}, RunStatus.SUSPENDED),
        ({"questions": 0, "timer": 3600}, RunStatus.RUNNING),
        ({"questions": 0, "wait": 1}, RunStatus.RUNNING),
        ({"questions": 0, "timer": 3600, "wait": 1, "retry": 1}, RunStatus.RUNNING),
    ],
    ids=lambda value: value.value if isinstance(value, RunStatus) else " ".join(value) or "alone",
)
async def test_status_beside_timers_and_waits(
    beside: dict[str, int], status: RunStatus, autojump_clock: MockClock
) -> None:
    """One suspended step makes a resting run suspended, whatever is open beside it; without one it is running."""
    async with open_runtime([Rests]) as runtime:
        run = await runtime.start(Rests, beside)
        await trio.sleep(60)
        described = await run.describe()
        assert (await run.status(), described.status) == (status, status)
        assert [found.status for found in await runtime.list_runs()] == [status]
        assert len(described.suspensions) == beside.get("questions", 1)
        assert len(described.waits) == ("wait" in beside)
        assert described.counts[StepStatus.SUSPENDED] == beside.get("questions", 1)
        assert runtime.statistics().suspended_runs == (status is RunStatus.SUSPENDED)
        await run.cancel()


@pytest.mark.rule("D1")
async def test_a_live_step_keeps_the_run_running(journal: str) -> None:
    """While anything is live the run is running; it is suspended the moment the last live step has ended."""
    release = trio.Event()

    class Live(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("ask")
            await ctx.run_store.wait_for("asked", lambda value: value is True)
            await release.wait()

        async def ask(self, data, ctx: Context):
            await ctx.run_store.set("asked", True)
            await ctx.suspend("q")

    async with open_runtime([Live], journal=journal) as runtime:
        run = await runtime.start(Live)

        async def one_suspended() -> bool:
            return len(await asked(run)) == 1

        await until(one_suspended)
        assert await run.status() is RunStatus.RUNNING
        assert runtime.statistics().suspended_runs == 0
        release.set()
        await pause(run)
        assert await run.status() is RunStatus.SUSPENDED
        await run.resume()
        assert (await run.wait()).status is RunStatus.COMPLETED


@pytest.mark.rule("D1", "D7")
async def test_a_timer_wakes_a_suspended_run(autojump_clock: MockClock) -> None:
    """A timer beside a suspension fires at its time; after it the run is suspended again."""
    async with open_runtime([Rests]) as runtime:
        run = await runtime.start(Rests, {"timer": 3600, "retry": 1})
        await pause(run)
        await trio.sleep(3500)
        assert (await run.status(), await run.state()) == (RunStatus.SUSPENDED, {})
        await trio.sleep(200)
        assert (await run.status(), await run.state()) == (RunStatus.SUSPENDED, {"later": True, "retried": True})
        await run.resume("a")
        assert await run.result() == {"later": True, "retried": True, "answers": [[0, "a"]]}


@pytest.mark.rule("D1", "D6")
async def test_an_event_wakes_a_suspended_run(journal: str) -> None:
    """An event for a wait beside a suspension is delivered; after its action the run is suspended again."""
    async with open_runtime([Rests], journal=journal) as runtime:
        run = await runtime.start(Rests, {"wait": 1})
        await pause(run)
        await run.send_event("go", "went")

        async def went() -> bool:
            return await run.state() == {"event": "went"}

        await until(went)
        assert (await pause(run)).suspensions[0].payload == "q0"
        assert (await run.describe()).waits == ()
        await run.resume("a")
        assert await run.result() == {"event": "went", "answers": [[0, "a"]]}


@pytest.mark.rule("D6", "D1")
async def test_an_event_that_nobody_waits_for_is_kept_over_the_suspension(journal: str) -> None:
    """Sent to a suspended run before its wait opens, the event is there when the resumed step opens one."""

    class Late(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.suspend("q")
            await ctx.wait_for_event("go", action="gone")

        async def gone(self, data, ctx: Context):
            await ctx.run_store.set("event", ctx.event)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("event")

    async with open_runtime([Late], journal=journal) as runtime:
        run = await runtime.start(Late)
        await pause(run)
        await run.send_event("go", "early")
        assert await run.status() is RunStatus.SUSPENDED
        await run.resume()
        assert await run.result() == "early"


@STYLE
@pytest.mark.rule("D1", "A8")
async def test_cancel_ends_a_suspended_run(style: str, journal: str) -> None:
    """`cancel` of a suspended run calls its hook, drops timers, waits and suspensions, and runs no step."""
    calls = []

    async def body(data: object, ctx: Context) -> object:
        calls.append("step")
        return await ctx.suspend("q")

    async def hook(reason: str, ctx: Context) -> None:
        calls.append(reason)
        await ctx.run_store.set("by_hook", True)

    class Cancelled(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("never", delay="1 day")
            await ctx.wait_for_event("go", action="never")
            await ctx.schedule_next_step("ask")

        async def ask(self, data, ctx: Context):
            await body(data, ctx)

        async def never(self, data, ctx: Context):
            calls.append("never")

        async def on_workflow_cancel(self, reason, ctx: Context):
            await hook(reason, ctx)

    graph = workflow("cancelled").then(step(id="ask")(body)).on_cancel(hook).commit()
    flow = Cancelled if style == "class" else graph
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.cancel("enough")
        outcome = await run.wait()
        described = await run.describe()
        assert (outcome.status, outcome.state, outcome.suspensions) == (RunStatus.CANCELLED, {"by_hook": True}, ())
        assert (described.suspensions, described.waits) == ((), ())
        assert [record.status for record in records(described, "ask")] == [StepStatus.CANCELLED]
        with pytest.raises(RunCancelled) as caught:
            await run.result()
        assert caught.value.reason == "enough"
        with pytest.raises(RunOver):
            await run.resume()
        await run.cancel("again")
        assert runtime.statistics().suspended_runs == 0
    assert calls == ["step", "enough"]


# ------------------------------------------------------------------------------------------------ waiting


@STYLE
@pytest.mark.rule("D1")
async def test_wait_after_a_resume_waits_for_the_next_settlement(style: str, journal: str) -> None:
    """A run that was suspended and has been resumed is not settled: `wait` returns when it is again, or over."""
    gates = [trio.Event(), trio.Event()]

    async def body(data: object, ctx: Context) -> object:
        await ctx.suspend("q1")
        await gates[0].wait()
        await ctx.suspend("q2")
        await gates[1].wait()
        return "done"

    class Twice(Workflow):
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Twice if style == "class" else workflow("twice").then(step(id="begin")(body)).commit()
    told: list[tuple[RunStatus, object]] = []
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        assert (await pause(run)).suspensions[0].payload == "q1"
        assert (await pause(run)).suspensions[0].payload == "q1"

        async def wait() -> None:
            outcome = await run.wait()
            told.append((outcome.status, [found.payload for found in outcome.suspensions]))

        for gate in gates:
            await run.resume()
            assert await run.status() is RunStatus.RUNNING
            async with trio.open_nursery() as nursery:
                for _ in range(3):
                    nursery.start_soon(wait)
                for _ in range(50):
                    await trio.lowlevel.checkpoint()
                assert not told
                gate.set()
            if gate is gates[0]:
                assert told == [(RunStatus.SUSPENDED, ["q2"])] * 3
                told.clear()
        assert told == [(RunStatus.COMPLETED, [])] * 3
        assert await run.result() == "done"


@STYLE
@pytest.mark.rule("D1")
async def test_whoever_waits_when_a_run_suspends_is_told(style: str, journal: str) -> None:
    """Waiters from before the suspension get it: `wait` as an outcome, `result` as RunSuspended."""
    release, told = trio.Event(), []

    async def body(data: object, ctx: Context) -> object:
        await release.wait()
        return await ctx.suspend("q")

    class Later(Workflow):
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Later if style == "class" else workflow("later").then(step(id="begin")(body)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        other = await runtime.get_run(run.run_id)

        async def wait() -> None:
            told.append((await run.wait()).status)

        async def result() -> None:
            with pytest.raises(RunSuspended) as caught:
                await other.result()
            told.append([found.payload for found in caught.value.suspensions])

        async with trio.open_nursery() as nursery:
            for waiter in (wait, result, wait, result):
                nursery.start_soon(waiter)
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            release.set()
        await run.cancel()
    assert sorted(map(str, told)) == sorted(map(str, [RunStatus.SUSPENDED, ["q"], RunStatus.SUSPENDED, ["q"]]))


@pytest.mark.rule("D1")
async def test_handles_of_one_suspended_run_are_of_one_mind(journal: str) -> None:
    """A run resumed by one handle is resumed for all; starting it again gives the same run, not a new one."""
    async with open_runtime([Rests], journal=journal) as runtime:
        first = await runtime.start(Rests, {}, run_id="r")
        await pause(first)
        second, third = await runtime.get_run("r"), await runtime.start(Rests, {}, run_id="r")
        assert [(await pause(run)).suspensions for run in (first, second, third)] == [
            (await first.describe()).suspensions
        ] * 3
        await second.resume("a")
        assert [await run.result() for run in (first, second, third)] == [{"answers": [[0, "a"]]}] * 3


# ------------------------------------------------------------------------------------------------ lists and statistics


@pytest.mark.rule("D1")
async def test_suspended_runs_are_listed_and_counted(journal: str) -> None:
    """`list_runs(status=SUSPENDED)` and `statistics()` follow each run as it is suspended, resumed and over."""
    async with open_runtime([Rests], journal=journal) as runtime:
        for n in range(5):
            await pause(await runtime.start(Rests, {}, run_id=f"r{n}"))

        async def listed(status: RunStatus) -> list[str]:
            return [found.run_id for found in await runtime.list_runs(status=status)]

        assert await listed(RunStatus.SUSPENDED) == ["r4", "r3", "r2", "r1", "r0"]
        assert await listed(RunStatus.RUNNING) == []
        found = runtime.statistics()
        assert (found.suspended_runs, found.live_steps) == (5, 0)
        for n in (3, 0):
            run = await runtime.get_run(f"r{n}")
            await run.resume(n)
            assert await run.result() == {"answers": [[0, n]]}
        await (await runtime.get_run("r1")).cancel()
        assert await listed(RunStatus.SUSPENDED) == ["r4", "r2"]
        assert await listed(RunStatus.COMPLETED) == ["r3", "r0"]
        assert runtime.statistics().suspended_runs == 2


@STYLE
@pytest.mark.rule("D1", "E3")
async def test_the_summary_of_a_suspended_child(style: str, journal: str) -> None:
    """The description of the parent shows the child as suspended, and later as completed."""

    async def body(data: object, ctx: Context) -> object:
        return await ctx.suspend("q")

    class Child(Workflow):
        id = "child"

        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    child = Child if style == "class" else workflow("child").then(step(id="begin")(body)).commit()
    flow = workflow("parent").then(child).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        (summary,) = await children(run)
        assert (summary.status, summary.ended_at) == (RunStatus.SUSPENDED, None)
        listed = {found.run_id: found.status for found in await runtime.list_runs()}
        assert listed[run.run_id] is RunStatus.SUSPENDED
        assert listed.get(summary.run_id, RunStatus.SUSPENDED) is RunStatus.SUSPENDED
        await run.resume("a")
        assert await run.result() == "a"
        (summary,) = await children(run)
        assert summary.status is RunStatus.COMPLETED


# ------------------------------------------------------------------------------------------------ passivation


def in_memory() -> int:
    """Actors that exist."""
    gc.collect()
    return sum(isinstance(found, RunActor) for found in gc.get_objects())


async def settle_to(actors: int) -> None:
    """Return when there are no more actors than that."""
    for _ in range(200):
        if in_memory() <= actors:
            return
        await trio.lowlevel.checkpoint()
    assert in_memory() <= actors


@pytest.mark.rule("D1")
@pytest.mark.parametrize("wake", ["resume", "event", "cancel"])
async def test_a_suspended_run_without_a_handle_takes_no_memory(wake: str, sqlite_url: str) -> None:
    """Fifty suspended runs are in the journal alone; each is there when something comes for it, and gone after."""
    async with open_runtime([Rests], journal=sqlite_url) as runtime:
        before = in_memory()
        held = await runtime.start(Rests, {}, run_id="held")
        assert in_memory() > before
        await pause(held)
        await held.cancel()
        del held
        for n in range(50):
            await pause(await runtime.start(Rests, {"wait": 1}, run_id=f"r{n}"))
        await settle_to(before)
        assert runtime.statistics().suspended_runs == 50
        for n in range(50):
            run = await runtime.get_run(f"r{n}")
            assert await run.status() is RunStatus.SUSPENDED
            if wake == "cancel":
                await run.cancel()
            elif wake == "event":
                await run.send_event("go", n)
                await run.resume(-n)
                assert await run.result() == {"event": n, "answers": [[0, -n]]}
            else:
                await run.resume(-n)
                await run.send_event("go", n)
                assert await run.result() == {"event": n, "answers": [[0, -n]]}
        del run
        await settle_to(before)
        assert runtime.statistics().suspended_runs == 0


@pytest.mark.rule("D1", "D7")
async def test_a_passive_run_wakes_for_its_timer(sqlite_url: str, mock_clock: MockClock) -> None:
    """Suspended runs with timers, in the journal alone: when they are due each fires once, and rests again."""
    async with open_runtime([Rests], journal=sqlite_url) as runtime:
        before = in_memory()
        for n in range(10):
            await pause(await runtime.start(Rests, {"timer": 3600 + n}, run_id=f"r{n}"))
        await settle_to(before)
        mock_clock.jump(4000)
        for n in range(10):
            run = await runtime.get_run(f"r{n}")

            async def fired(run: object = run) -> bool:
                return await run.state() == {"later": True}

            await until(fired)
            await pause(run)
            await run.resume(n)
            assert await run.result() == {"later": True, "answers": [[0, n]]}


@pytest.mark.rule("D1", "E3")
async def test_a_suspended_tree_takes_no_memory(sqlite_url: str) -> None:
    """Parent and child are both gone from memory while the child is suspended, and go on when it is resumed."""

    @step(id="ask")
    async def ask(data, ctx: Context):
        return [data, await ctx.suspend(data)]

    flow = workflow("outer").then(workflow("inner").then(ask).commit()).commit()
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        before = in_memory()
        for n in range(20):
            await pause(await runtime.start(flow, n, run_id=f"r{n}"))
        await settle_to(before)
        for n in range(20):
            run = await runtime.get_run(f"r{n}")
            await run.resume(-n)
            assert await run.result() == [n, -n]
        del run
        await settle_to(before)


@pytest.mark.rule("D1")
async def test_many_rounds_of_suspension_leave_nothing_behind(sqlite_url: str) -> None:
    """A hundred rounds of one run: the counters are back where they were, and the answers are all there."""

    class Rounds(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("ask", 0)

        async def ask(self, data, ctx: Context):
            await ctx.run_store.push("answers", await ctx.suspend(data))
            if data < 99:
                await ctx.schedule_next_step("ask", data + 1)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("answers")

    async with open_runtime([Rounds], journal=sqlite_url) as runtime:
        before = in_memory()
        run = await runtime.start(Rounds)
        for n in range(100):
            assert (await pause(run)).suspensions[0].payload == n
            await run.resume(n)
        assert await run.result() == list(range(100))
        found = runtime.statistics()
        assert (found.live_runs, found.suspended_runs, found.pending_steps, found.live_steps) == (0, 0, 0, 0)
        del run
        await settle_to(before)


# ------------------------------------------------------------------------------------------------ where it is refused

REFUSED: dict[str, Callable[[Context], Awaitable[object]]] = {
    "suspend": lambda ctx: ctx.suspend("q"),
    "run_child": lambda ctx: ctx.run_child(Rests, {}),
    "run_child with merge_state": lambda ctx: ctx.run_child(Rests, {}, merge_state=True),
    "wait_for": lambda ctx: ctx.run_store.wait_for("k", lambda value: value == 1),
}


@STYLE
@pytest.mark.rule("C3", "C11")
@pytest.mark.parametrize("verb", REFUSED)
async def test_a_step_that_commits_on_success_may_not_do_what_cannot_be_taken_back(
    style: str, verb: str, journal: str
) -> None:
    """The call raises HookRestriction; caught, the step goes on and its effects take place; uncaught, it fails."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.set("k", 1)
        if data == "caught":
            with pytest.raises(HookRestriction):
                await REFUSED[verb](ctx)
        else:
            await REFUSED[verb](ctx)
        return "done"

    class OnSuccess(Workflow):
        @step(commit="on_success")
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    graph = workflow("on-success").then(step(id="begin", commit="on_success")(body)).commit()
    flow = OnSuccess if style == "class" else graph
    async with open_runtime([flow, Rests], journal=journal) as runtime:
        run = await runtime.start(flow, "caught")
        outcome = await run.wait()
        assert (outcome.status, outcome.output, outcome.state) == (RunStatus.COMPLETED, "done", {"k": 1})
        assert await children(run) == []
        outcome = await (await runtime.start(flow, "uncaught")).wait()
    assert (outcome.status, kind(outcome.error), outcome.state) == (RunStatus.FAILED, "HookRestriction", {})


@STYLE
@pytest.mark.rule("C11")
@pytest.mark.parametrize("hook", ["complete", "error", "cancel"])
@pytest.mark.parametrize("verb", ["suspend", "run_child"])
async def test_a_hook_may_neither_suspend_nor_call_a_child(style: str, hook: str, verb: str, journal: str) -> None:
    """`suspend` and `run_child` raise HookRestriction in every hook; the status of the run stays what it was."""
    called, live = [], trio.Event()

    async def body(data: object, ctx: Context) -> object:
        live.set()
        if hook == "error":
            raise ValueError("for the hook")
        if hook == "cancel":
            await trio.sleep_forever()
        return "done"

    async def restricted(ctx: Context) -> None:
        with pytest.raises(HookRestriction):
            await REFUSED[verb](ctx)
        called.append(hook)
        await ctx.run_store.set("went", "on")

    class Ends(Workflow):
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

        async def on_workflow_complete(self, ctx: Context):
            await restricted(ctx)

        async def on_workflow_error(self, error, ctx: Context):
            await restricted(ctx)

        async def on_workflow_cancel(self, reason, ctx: Context):
            await restricted(ctx)

    async def with_argument(argument: object, ctx: Context) -> None:
        await restricted(ctx)

    builder = workflow("ends").then(step(id="begin")(body)).on_complete(restricted)
    graph = builder.on_error(with_argument).on_cancel(with_argument).commit()
    flow = Ends if style == "class" else graph
    async with open_runtime([flow, Rests], journal=journal) as runtime:
        run = await runtime.start(flow)
        if hook == "cancel":
            await live.wait()
            await run.cancel()
        outcome = await run.wait()
        described = await run.describe()
    status = {"complete": RunStatus.COMPLETED, "error": RunStatus.FAILED, "cancel": RunStatus.CANCELLED}[hook]
    assert (outcome.status, outcome.state, called) == (status, {"went": "on"}, [hook])
    assert (described.children, described.suspensions) == ((), ())


@pytest.mark.rule("D1")
async def test_the_outcome_of_a_suspended_run_has_its_state_and_steps(journal: str) -> None:
    """At a suspension the outcome shows state, steps and suspensions of that moment, which later ones do not change."""

    class Shows(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("log", 1)
            await ctx.schedule_next_step("ask")

        async def ask(self, data, ctx: Context):
            await ctx.suspend("q")
            await ctx.run_store.push("log", 2)

    flow: type[Workflow] | Graph = Shows
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        outcome = await pause(run)
        assert outcome.state == {"log": [1]}
        assert [(record.step_id, record.status) for record in outcome.steps] == [
            ("start", StepStatus.COMPLETED),
            ("ask", StepStatus.SUSPENDED),
        ]
        await answer(run, "q")
        final = await run.wait()
    assert (outcome.state, outcome.suspensions[0].payload) == ({"log": [1]}, "q")
    assert (final.state, final.suspensions) == ({"log": [1, 2]}, ())

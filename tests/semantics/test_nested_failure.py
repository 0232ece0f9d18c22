"""Child runs that fail, are cancelled, time out, bail or wait for their parent (semantics A7, A8, C3, C5, C13, E3)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    DRAIN,
    Context,
    Deadlock,
    Graph,
    NonRetryable,
    Retry,
    Run,
    RunCancelled,
    RunFailed,
    RunStatus,
    Runtime,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    tolerate,
    workflow,
)
from tests.semantics.settling import children, kind, records, until

Flow = type[Workflow] | Graph
Body = Callable[[object, Context], Awaitable[object]]
STYLE = pytest.mark.parametrize("style", ["class", "graph"])


class Boom(Exception):
    """What the steps of this file fail with."""


def child_of(style: str, body: Body, name: str = "child") -> Flow:
    """A workflow with one step `body`."""
    if style == "graph":
        return workflow(name).then(step(id="body")(body)).commit()

    class Child(Workflow):
        id = name

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("body", data)

        async def body(self, data, ctx: Context):
            self.out[ctx.run_id] = await body(data, ctx)

        async def on_workflow_complete(self, ctx: Context):
            return self.out.get(ctx.run_id)

        out: dict[str, object] = {}  # noqa: RUF012 - shared on purpose: outputs by run id

    return Child


async def fails(data: object, ctx: Context) -> object:
    """Fails at once."""
    raise Boom("down below")


async def sleeps(data: object, ctx: Context) -> object:
    """Never ends by itself."""
    await trio.sleep_forever()


async def only_child(runtime: Runtime, run: Run) -> Run:
    """The handle of the one child run, as soon as it is there."""

    async def called() -> bool:
        return len(await children(run)) == 1

    await until(called)
    (child,) = await children(run)
    return await runtime.get_run(child.run_id)


@STYLE
@pytest.mark.rule("E3", "C6")
async def test_a_failed_child_raises_in_its_caller(style: str, journal: str) -> None:
    """`run_child` raises RunFailed with the child's id and failures; a caller that catches it goes on."""
    found: list[RunFailed] = []

    class Catches(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(RunFailed) as caught:
                await ctx.run_child(child, data)
            found.append(caught.value)
            return "went on"

    child = child_of(style, fails)
    async with open_runtime([Catches, child], journal=journal) as runtime:
        run = await runtime.start(Catches)
        assert await run.result() == "went on"
        (below,) = await children(run)
    (error,) = found
    assert (error.run_id, below.status) == (below.run_id, RunStatus.FAILED)
    (failure,) = error.failures
    assert (failure.step_id, kind(failure), failure.message) == ("body", "Boom", "down below")


@STYLE
@pytest.mark.rule("E3", "C6")
async def test_a_failure_below_fails_the_calling_step_and_the_run(style: str, journal: str) -> None:
    """Let through, it fails the calling step with RunFailed, and with it the parent; the hook runs once in each."""
    hooks = []
    child = child_of(style, fails)

    class Lets(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("child")

        async def child(self, data, ctx: Context):
            await ctx.run_child(child, data)

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append((error.step_id, kind(error)))

    async def on_error(error: object, ctx: Context) -> None:
        hooks.append((error.step_id, kind(error)))

    flow = Lets if style == "class" else workflow("lets").then(child).on_error(on_error).commit()
    async with open_runtime([flow, child], journal=journal) as runtime:
        run = await runtime.start(flow)
        outcome = await run.wait()
        assert [found.status for found in await children(run)] == [RunStatus.FAILED]
        with pytest.raises(RunFailed) as caught:
            await run.result()
    assert outcome.status is RunStatus.FAILED
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("child", "RunFailed")]
    assert "down below" in outcome.error.message
    assert caught.value.run_id == run.run_id
    assert hooks == [("child", "RunFailed")]


@STYLE
@pytest.mark.rule("E3")
async def test_a_failure_climbs_three_levels(style: str, journal: str) -> None:
    """Each level fails with RunFailed of the level below; the lowest names what was wrong."""
    flows = [child_of(style, fails, "three")]
    for name in ("two", "one"):
        flows.insert(0, child_of("class", caller_of(flows[0]), name))
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0])
        kinds = []
        for _ in range(3):
            outcome = await run.wait()
            assert outcome.status is RunStatus.FAILED
            kinds.append([kind(failure) for failure in outcome.failures])
            if below := await children(run):
                run = await runtime.get_run(below[0].run_id)
    assert kinds == [["RunFailed"], ["RunFailed"], ["Boom"]]


def caller_of(inner: Flow, **options: object) -> Body:
    """A step that runs a child and returns its output."""

    async def body(data: object, ctx: Context) -> object:
        return await ctx.run_child(inner, data, **options)

    return body


@STYLE
@pytest.mark.rule("A8", "E3")
@pytest.mark.parametrize("caught", [True, False], ids=["caught", "let through"])
async def test_a_child_cancelled_alone(style: str, caught: bool, journal: str) -> None:
    """Cancelling a child run by its own handle raises RunCancelled in the caller, and leaves the rest to it."""
    found: list[RunCancelled] = []
    child = child_of(style, sleeps)

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            try:
                await ctx.run_child(child)
            except RunCancelled as error:
                found.append(error)
                if not caught:
                    raise
            return "went on"

    async with open_runtime([Parent, child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        below = await only_child(runtime, run)
        await below.cancel("alone")
        outcome = await run.wait()
        assert await below.status() is RunStatus.CANCELLED
    assert [(error.run_id, error.reason) for error in found] == [(below.run_id, "alone")]
    if caught:
        assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, "went on")
    else:
        assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "RunCancelled")


@pytest.mark.rule("A8", "E3")
async def test_a_nested_workflow_cancelled_alone_fails_its_step_of_the_graph(journal: str) -> None:
    """The step of the graph fails with RunCancelled, and so does the graph."""
    flow = workflow("outer").then(child_of("graph", sleeps)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await (await only_child(runtime, run)).cancel("alone")
        outcome = await run.wait()
    assert (outcome.status, kind(outcome.error), outcome.error.step_id) == (RunStatus.FAILED, "RunCancelled", "child")


@STYLE
@pytest.mark.rule("A8", "C12")
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_parents_cancel_reaches_and_awaits_every_descendant(style: str, depth: int, journal: str) -> None:
    """When `cancel` returns, the innermost step has ended its cleanup and every run of the tree is cancelled."""
    live, lines = trio.Event(), []

    async def body(data: object, ctx: Context) -> object:
        live.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            lines.append("cleaned up")

    flows = [child_of(style, body, "innermost")]
    for level in range(depth):
        flows.insert(0, child_of("class", caller_of(flows[0]), f"level{level}"))
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0])
        await live.wait()
        handles = [run]
        while below := await children(handles[-1]):
            handles.append(await runtime.get_run(below[0].run_id))
        assert len(handles) == depth + 1
        await run.cancel("all of it")
        assert lines == ["cleaned up"]
        assert [await handle.status() for handle in handles] == [RunStatus.CANCELLED] * (depth + 1)
        assert runtime.statistics().live_runs == 0


@STYLE
@pytest.mark.rule("C12", "C6", "A8")
async def test_a_failing_sibling_cancels_and_awaits_the_child(style: str, journal: str) -> None:
    """The child of a cancelled caller is cancelled and has ended before the error hook runs."""
    live, lines = trio.Event(), []

    async def cleans_up(data: object, ctx: Context) -> object:
        live.set()
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                for _ in range(10):
                    await trio.lowlevel.checkpoint()
            lines.append("cleaned up")

    async def failing(data: object, ctx: Context) -> object:
        await live.wait()
        raise Boom("beside")

    child = child_of(style, cleans_up)

    class Both(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("call")
            await ctx.schedule_next_step("failing")

        async def call(self, data, ctx: Context):
            await ctx.run_child(child)

        async def failing(self, data, ctx: Context):
            await failing(data, ctx)

        async def on_workflow_error(self, error, ctx: Context):
            lines.append("hook")

    async def on_error(error: object, ctx: Context) -> None:
        lines.append("hook")

    graph = workflow("both").parallel([child, step(id="failing")(failing)]).on_error(on_error).commit()
    flow = Both if style == "class" else graph
    async with open_runtime([flow, child], journal=journal) as runtime:
        run = await runtime.start(flow)
        outcome = await run.wait()
        assert [found.status for found in await children(run)] == [RunStatus.CANCELLED]
    assert [kind(failure) for failure in outcome.failures] == ["Boom"]
    assert lines == ["cleaned up", "hook"]


@STYLE
@pytest.mark.rule("C5", "C12", "A8")
async def test_a_timeout_around_a_child_cancels_and_awaits_it(style: str, autojump_clock: MockClock) -> None:
    """The calling step fails with StepTimeout at its time, after its child was cancelled and has ended."""
    lines = []

    async def body(data: object, ctx: Context) -> object:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            lines.append("cleaned up")

    child = child_of(style, body)

    class Impatient(Workflow):
        @step(timeout=10)
        async def start(self, data, ctx: Context):
            await ctx.run_child(child)

        async def on_workflow_error(self, error, ctx: Context):
            lines.append(kind(error))

    async with open_runtime([Impatient, child]) as runtime:
        began = trio.current_time()
        run = await runtime.start(Impatient)
        outcome = await run.wait()
        assert trio.current_time() - began == pytest.approx(15, abs=0.05)
        assert [found.status for found in await children(run)] == [RunStatus.CANCELLED]
    assert [kind(failure) for failure in outcome.failures] == ["StepTimeout"]
    assert lines == ["cleaned up", "StepTimeout"]


@STYLE
@pytest.mark.rule("A8", "C12")
async def test_a_caller_that_gives_up_takes_its_child_with_it(style: str, autojump_clock: MockClock) -> None:
    """A cancel scope around `run_child` that times out leaves a cancelled child behind, and the step goes on."""
    lines = []

    async def body(data: object, ctx: Context) -> object:
        try:
            await trio.sleep_forever()
        finally:
            lines.append("ended")

    child = child_of(style, body)

    class GivesUp(Workflow):
        async def start(self, data, ctx: Context):
            with trio.move_on_after(10) as scope:
                await ctx.run_child(child)
            lines.append("gave up")
            return scope.cancelled_caught

    async with open_runtime([GivesUp, child]) as runtime:
        run = await runtime.start(GivesUp)
        assert await run.result() is True
        assert [found.status for found in await children(run)] == [RunStatus.CANCELLED]
    assert lines == ["ended", "gave up"]


@STYLE
@pytest.mark.rule("C3", "C5", "E3")
async def test_a_retry_starts_a_failed_child_anew_and_keeps_the_completed(
    style: str, journal: str, autojump_clock: MockClock
) -> None:
    """The step's first child completes once; the second fails twice and succeeds in the third attempt, as a new run."""
    ran: list[str] = []

    async def good(data: object, ctx: Context) -> object:
        ran.append("good")
        return f"good {data}"

    async def flaky(data: object, ctx: Context) -> object:
        ran.append("flaky")
        if ran.count("flaky") < 3:
            raise Boom("not yet")
        return f"flaky {data}"

    one, two = child_of(style, good, "good"), child_of(style, flaky, "flaky")

    class Retries(Workflow):
        @step(retry=Retry(attempts=3, jitter=0.0))
        async def start(self, data, ctx: Context):
            return [await ctx.run_child(one, data), await ctx.run_child(two, data), ctx.attempt]

    async with open_runtime([Retries, one, two], journal=journal) as runtime:
        run = await runtime.start(Retries, 1)
        assert await run.result() == ["good 1", "flaky 1", 3]
        assert [found.status for found in await children(run, "good")] == [RunStatus.COMPLETED]
        statuses = [found.status for found in await children(run, "flaky")]
    assert sorted(statuses, key=str) == [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.FAILED]
    assert ran == ["good", "flaky", "flaky", "flaky"]


@pytest.mark.rule("C3", "C5")
async def test_the_same_child_twice_in_one_step_is_two_runs(journal: str, autojump_clock: MockClock) -> None:
    """Two equal calls in one pass are two children; a retry finds both results and starts none."""
    ran: list[int] = []

    async def body(data: object, ctx: Context) -> object:
        ran.append(1)
        return len(ran)

    child = child_of("class", body)

    class Twice(Workflow):
        @step(retry=Retry(attempts=2, jitter=0.0))
        async def start(self, data, ctx: Context):
            found = [await ctx.run_child(child, "same"), await ctx.run_child(child, "same")]
            if ctx.attempt == 1:
                raise Boom("after both")
            return found

    async with open_runtime([Twice, child], journal=journal) as runtime:
        run = await runtime.start(Twice)
        assert await run.result() == [1, 2]
        assert len(await children(run)) == 2


@pytest.mark.rule("C5", "E3")
async def test_what_may_not_be_retried_below_is_not_retried_above(journal: str, autojump_clock: MockClock) -> None:
    """NonRetryable in a child fails the child at once, and the step that called it: trying again is pointless."""
    ran: list[int] = []

    async def body(data: object, ctx: Context) -> object:
        ran.append(1)
        raise NonRetryable("never again")

    child = child_of("graph", body)

    class Retries(Workflow):
        @step(retry=Retry(attempts=3, jitter=0.0))
        async def start(self, data, ctx: Context):
            return await ctx.run_child(child)

    async with open_runtime([Retries, child], journal=journal) as runtime:
        outcome = await (await runtime.start(Retries)).wait()
    assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "RunFailed")
    assert ran == [1]


@pytest.mark.rule("C5", "E3")
async def test_a_child_retries_its_own_steps(journal: str, autojump_clock: MockClock) -> None:
    """A retry inside the child is the child's: the caller runs once."""
    passes: list[str] = []

    @step(retry=Retry(attempts=3, jitter=0.0))
    async def flaky(data, ctx: Context):
        passes.append("flaky")
        if ctx.attempt < 3:
            raise Boom("not yet")
        return "done"

    child = workflow("child").then(flaky).commit()

    class Caller(Workflow):
        async def start(self, data, ctx: Context):
            passes.append("caller")
            return await ctx.run_child(child)

    async with open_runtime([Caller, child], journal=journal) as runtime:
        assert await runtime.run(Caller) == "done"
    assert passes == ["caller", "flaky", "flaky", "flaky"]


@STYLE
@pytest.mark.rule("C13", "E3")
async def test_a_bail_in_a_child_completes_the_child_alone(style: str, journal: str) -> None:
    """The child's other branches end, its output is that of the bail, and the parent goes on with it."""
    lines = []

    async def bails(data: object, ctx: Context) -> object:
        await ctx.bail({"early": data})
        lines.append("not reached")

    async def never(data: object, ctx: Context) -> object:
        lines.append("never")

    class Bails(Workflow):
        id = "child"

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("never", delay="1 day")
            await ctx.schedule_next_step("bails", data)

        async def bails(self, data, ctx: Context):
            await bails(data, ctx)

        async def never(self, data, ctx: Context):
            await never(data, ctx)

        async def on_workflow_complete(self, ctx: Context):
            lines.append("hook of the child")

    async def on_complete(ctx: Context) -> None:
        lines.append("hook of the child")

    graph = workflow("child").then(step(id="bails")(bails)).then(step(id="never")(never)).on_complete(on_complete)
    child = Bails if style == "class" else graph.commit()

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            found = await ctx.run_child(child, 7)
            lines.append("parent")
            return found

    async with open_runtime([Parent, child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        assert await run.result() == {"early": 7}
        assert [found.status for found in await children(run)] == [RunStatus.COMPLETED]
    assert lines == ["hook of the child", "parent"]


@pytest.mark.rule("C13", "A8", "C12")
async def test_a_bail_of_the_parent_cancels_its_children(journal: str) -> None:
    """The parent completes at once; its live child is cancelled and has ended by then."""
    live, lines = trio.Event(), []

    async def body(data: object, ctx: Context) -> object:
        live.set()
        try:
            await trio.sleep_forever()
        finally:
            lines.append("ended")

    child = child_of("graph", body)

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("call")
            await live.wait()
            await ctx.bail("early")

        async def call(self, data, ctx: Context):
            await ctx.run_child(child)

        async def on_workflow_complete(self, ctx: Context):
            lines.append("hook")

    async with open_runtime([Parent, child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        assert await run.result() == "early"
        assert [found.status for found in await children(run)] == [RunStatus.CANCELLED]
    assert lines == ["ended", "hook"]


@STYLE
@pytest.mark.rule("A7")
@pytest.mark.parametrize("depth", [1, 2])
async def test_a_child_that_waits_for_its_ancestor_gets_deadlock(style: str, depth: int, journal: str) -> None:
    """`result` of the parent's handle inside a child raises Deadlock there, naming the cycle, instead of hanging."""
    handle: list[Run] = []
    ready, found = trio.Event(), []

    async def body(data: object, ctx: Context) -> object:
        await ready.wait()
        with pytest.raises(Deadlock) as caught:
            await handle[0].result()
        found.append(caught.value)
        return "went on"

    flows = [child_of(style, body, "innermost")]
    for level in range(depth):
        flows.insert(0, child_of("class", caller_of(flows[0]), f"level{level}"))
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0], run_id="root")
        handle.append(run)
        ready.set()
        assert await run.result() == "went on"
        below = [run.run_id]
        for _ in range(depth):
            (summary,) = await children(await runtime.get_run(below[-1]))
            below.append(summary.run_id)
    assert len(found) == 1
    assert {"root", below[-1]} <= set(found[0].cycle)


@STYLE
@pytest.mark.rule("A7", "E3")
async def test_a_deadlock_that_is_not_caught_fails_the_child_and_frees_the_parent(style: str, journal: str) -> None:
    """Let through, the Deadlock fails the child's step, the child, and the step that called it."""
    handle: list[Run] = []
    ready = trio.Event()

    async def body(data: object, ctx: Context) -> object:
        await ready.wait()
        await handle[0].wait()

    child = child_of(style, body)
    parent = child_of("class", caller_of(child), "parent")
    async with open_runtime([parent, child], journal=journal) as runtime:
        run = await runtime.start(parent)
        handle.append(run)
        ready.set()
        outcome = await run.wait()
        assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "RunFailed")
        (below,) = await children(run)
        described = await (await runtime.get_run(below.run_id)).describe()
    assert kind(described.error) == "Deadlock"


@STYLE
@pytest.mark.rule("C6", "E3")
async def test_failures_of_children_are_tolerated_as_those_of_steps(style: str, journal: str) -> None:
    """A `foreach` with room for one failure gives a Failure in the place of the child that failed."""

    async def body(data: object, ctx: Context) -> object:
        if data == 1:
            raise Boom("the second")
        return data

    child = child_of(style, body)
    flow = workflow("tolerant").foreach(child, concurrency=None, join=tolerate(count=1)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        outcome = await (await runtime.start(flow, [0, 1, 2])).wait()
        assert outcome.status is RunStatus.COMPLETED, outcome.error
        one, failure, three = outcome.output
        assert (one, three) == (0, 2)
        assert (failure["step_id"], kind(failure["error_type"])) == ("child", "RunFailed")
        assert [kind(found) for found in outcome.failures] == ["RunFailed"]
        assert (await (await runtime.start(flow, [1, 1, 2])).wait()).status is RunStatus.FAILED


@STYLE
@pytest.mark.rule("C6", "E3")
async def test_under_drain_the_other_children_finish(style: str, journal: str) -> None:
    """Under DRAIN each child of the group runs to its end, then the group fails with every cause."""
    done = []

    async def body(data: object, ctx: Context) -> object:
        for _ in range(5):
            await trio.lowlevel.checkpoint()
        if data in (0, 2):
            raise Boom(str(data))
        done.append(data)
        return data

    flow = workflow("drained").foreach(child_of(style, body), concurrency=None, join=DRAIN).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, [0, 1, 2, 3])
        outcome = await run.wait()
        statuses = sorted(found.status.value for found in await children(run))
    assert (outcome.status, sorted(done)) == (RunStatus.FAILED, [1, 3])
    assert [kind(failure) for failure in outcome.failures] == ["RunFailed", "RunFailed"]
    assert statuses == ["completed", "completed", "failed", "failed"]


@STYLE
@pytest.mark.rule("C12", "C6", "A8")
async def test_the_first_failing_child_of_a_group_cancels_the_others(style: str, journal: str) -> None:
    """Under ALL the other children are cancelled and awaited, and their callers count as cancelled."""
    live = [0]

    async def body(data: object, ctx: Context) -> object:
        live[0] += 1
        while live[0] < 3:
            await trio.lowlevel.checkpoint()
        if data == 1:
            raise Boom("one of three")
        try:
            await trio.sleep_forever()
        finally:
            live[0] -= 1

    flow = workflow("all").foreach(child_of(style, body), concurrency=None).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, [0, 1, 2])
        outcome = await run.wait()
        assert live == [1]
        statuses = sorted(found.status.value for found in await children(run))
    assert (outcome.status, [kind(failure) for failure in outcome.failures]) == (RunStatus.FAILED, ["RunFailed"])
    assert statuses == ["cancelled", "cancelled", "failed"]
    assert sorted(record.status.value for record in records(outcome, "child")) == ["cancelled", "cancelled", "failed"]


@pytest.mark.rule("A8", "C12")
@pytest.mark.parametrize("style", ["class", "graph"])
async def test_cancel_in_the_instant_a_child_completes(style: str, journal: str) -> None:
    """Whoever comes first, cancel or the child's end: one outcome, recorded once, in parent and child alike."""
    for rounds in range(12):
        live = trio.Event()

        async def body(data: object, ctx: Context, live: trio.Event = live, rounds: int = rounds) -> object:
            live.set()
            for _ in range(rounds):
                await trio.lowlevel.checkpoint()
            return "done"

        child = child_of(style, body)
        parent = child_of("class", caller_of(child), "parent")
        async with open_runtime([parent, child], journal=journal) as runtime:
            run = await runtime.start(parent, run_id=f"r{rounds}")
            await live.wait()
            await run.cancel("now")
            outcome = await run.wait()
            assert outcome.status in (RunStatus.CANCELLED, RunStatus.COMPLETED)
            (below,) = await children(run)
            assert below.status in (RunStatus.CANCELLED, RunStatus.COMPLETED)
            if outcome.status is RunStatus.COMPLETED:
                assert below.status is RunStatus.COMPLETED
            ends = [fact.kind for fact in await run.history() if fact.kind.startswith("run-")]
            assert ends[-1] in ("run-ended", f"run-{outcome.status.value}")
            assert not any(record.status is StepStatus.RUNNING for record in (await run.describe()).steps)

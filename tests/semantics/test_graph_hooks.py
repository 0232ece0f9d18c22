"""Hooks of graphs: called as those of the class style are, once and at the end (semantics C11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from attrs import define, frozen
from trio.testing import MockClock

from actorflow import (
    Context,
    HookRestriction,
    RunOutcome,
    RunStatus,
    StepFailed,
    step,
    workflow,
)
from tests.semantics.graph_flows import (
    Boom,
    adding,
    cut_off,
    failing,
    giving,
    kinds,
    opened,
    output_of,
    saying,
    settle,
    taken_up,
    taking,
)

STATUS = {"complete": RunStatus.COMPLETED, "error": RunStatus.FAILED, "cancel": RunStatus.CANCELLED}
HOOKS = pytest.mark.parametrize("hook", list(STATUS))


@frozen
class Total:
    """A typed output."""

    total: int


@define
class Counter:
    """A state schema."""

    n: int = 0


async def run_to_hook(
    hook: str, body: Callable[[Context], Awaitable[object]], journal: str = "memory:"
) -> tuple[RunOutcome, list[object], str]:
    """Run a graph that ends in this hook, which runs `body`.

    Returns the outcome, what was called with what, and the text of everything on record about the run.
    """
    calls: list[object] = []
    live = trio.Event()

    @step
    async def work(data, ctx: Context):
        await ctx.run_store.push("by_step", 1)
        live.set()
        if hook == "error":
            raise Boom("for the hook")
        if hook == "cancel":
            await trio.sleep_forever()
        return "of the chain"

    async def on_complete(ctx: Context):
        calls.append("complete")
        return await body(ctx)

    async def on_error(error, ctx: Context):
        calls.extend(["error", error])
        await body(ctx)

    async def on_cancel(reason, ctx: Context):
        calls.extend(["cancel", reason])
        await body(ctx)

    graph = workflow("hooked").then(work).on_complete(on_complete).on_error(on_error).on_cancel(on_cancel).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        if hook == "cancel":
            await live.wait()
            await run.cancel("the reason")
        outcome = await run.wait()
        record = f"{await run.history()!r} {await run.describe()!r}"
    return outcome, calls, record


@HOOKS
@pytest.mark.rule("C11", "B12")
async def test_a_hook_sees_and_changes_the_store(hook: str, journal: str, autojump_clock: MockClock) -> None:
    """Each kind of end calls its hook alone, with the store as the steps left it; what it writes is in the snapshot."""

    async def body(ctx: Context) -> object:
        seen = await ctx.run_store.get("by_step")
        await ctx.run_store.push("by_hook", len(seen))
        return None

    outcome, calls, _ = await run_to_hook(hook, body, journal)
    assert outcome.status is STATUS[hook]
    assert outcome.state == {"by_step": [1], "by_hook": [1]}
    assert outcome.output == ("of the chain" if hook == "complete" else None)
    assert [call for call in calls if isinstance(call, str) and call in STATUS] == [hook]
    if hook == "cancel":
        assert calls == ["cancel", "the reason"]
    if hook == "error":
        assert isinstance(calls[1], StepFailed)
        assert calls[1].step_id == "work"


@pytest.mark.rule("C11")
async def test_the_completion_hook_may_give_the_output(journal: str, autojump_clock: MockClock) -> None:
    """What it returns, if not None, is the run's output in place of the chain's."""

    async def total(ctx: Context):
        return {"n": await ctx.run_store.get("n")}

    @step
    async def count(data, ctx: Context):
        await ctx.run_store.increment("n", data)
        return "the chain's"

    graph = workflow("gives").foreach(count, concurrency=None).on_complete(total).commit()
    assert await output_of(graph, [1, 2, 3], journal=journal) == {"n": 6}


async def test_the_hooks_output_is_typed(autojump_clock: MockClock) -> None:
    """The declared output type holds for what the hook gives, and types it."""

    async def total(ctx: Context[Counter]) -> Total:
        assert type(ctx.state) is Counter
        return Total(ctx.state.n)

    @step
    async def count(data, ctx: Context[Counter]):
        await ctx.run_store.increment("n", data)

    graph = workflow("typed", output=Total, state=Counter).foreach(count).on_complete(total).commit()
    assert await output_of(graph, [1, 2]) == Total(3)


@pytest.mark.rule("C11")
async def test_the_order_of_hooks_and_verbs_does_not_matter(autojump_clock: MockClock) -> None:
    """Hooks belong to the graph: they may be given before the steps."""
    calls = []

    async def note(ctx: Context):
        calls.append("complete")

    assert await output_of(workflow("order").on_complete(note).then(saying("a")).then(saying("b")).commit(), "") == "ab"
    assert calls == ["complete"]


@pytest.mark.rule("C11", "C6")
@pytest.mark.parametrize("where", ["step", "member", "element", "condition", "map", "nested"])
async def test_the_error_hook_is_called_once_wherever_it_fails(where: str, autojump_clock: MockClock) -> None:
    """Whatever part of the graph fails, the hook gets that failure, once; the completion hook is not called."""
    calls = []

    async def on_error(error, ctx: Context):
        calls.append(error.error_type.rpartition(".")[2])

    async def on_complete(ctx: Context):
        calls.append("complete")

    def raises(data, ctx: Context):
        raise Boom("here")

    inner = workflow("inner").then(failing("broken")).commit()
    builder = workflow("fails").on_error(on_error).on_complete(on_complete)
    builder = {
        "step": lambda: builder.then(failing("broken")),
        "member": lambda: builder.parallel([failing("broken"), taking("slow", 100)]),
        "element": lambda: builder.map(lambda data, ctx: [1, 2]).foreach(failing("broken"), concurrency=None),
        "condition": lambda: builder.branch([(raises, giving("a", 1))]),
        "map": lambda: builder.map(raises),
        "nested": lambda: builder.then(inner),
    }[where]()
    outcome = await settle(builder.then(failing("never")).commit())
    assert outcome.status is RunStatus.FAILED
    assert calls == ["RunFailed" if where == "nested" else "Boom"]


RESTRICTED: dict[str, Callable[[Context], Awaitable[object]]] = {
    "suspend": lambda ctx: ctx.suspend(),
    "run_child": lambda ctx: ctx.run_child(workflow("child").then(giving("g", 1)).commit()),
    "wait_for": lambda ctx: ctx.run_store.wait_for("by_step", bool),
    "schedule_next_step": lambda ctx: ctx.schedule_next_step("work"),
    "wait_for_event": lambda ctx: ctx.wait_for_event("event", action="work"),
}


@HOOKS
@pytest.mark.rule("C11")
@pytest.mark.parametrize("verb", RESTRICTED)
async def test_a_hook_may_not_open_new_work(hook: str, verb: str, autojump_clock: MockClock) -> None:
    """Suspending, waiting, nesting and scheduling raise `HookRestriction`; the hook can go on and the status stays."""

    async def body(ctx: Context) -> object:
        with pytest.raises(HookRestriction):
            await RESTRICTED[verb](ctx)
        await ctx.run_store.set("went", "on")
        return "output"

    outcome, _, _ = await run_to_hook(hook, body)
    assert (outcome.status, outcome.state["went"]) == (STATUS[hook], "on")


@HOOKS
@pytest.mark.rule("C11")
async def test_a_hook_that_raises_changes_nothing(hook: str, journal: str, autojump_clock: MockClock) -> None:
    """Its exception is on record; status, failures and output stay."""

    async def body(ctx: Context) -> object:
        raise Boom("words-of-the-hook")

    outcome, calls, record = await run_to_hook(hook, body, journal)
    assert outcome.status is STATUS[hook]
    assert outcome.output == ("of the chain" if hook == "complete" else None)
    assert [call for call in calls if isinstance(call, str) and call in STATUS] == [hook]
    assert "words-of-the-hook" in record
    assert (outcome.error is None) is (hook != "error")


@pytest.mark.rule("C11", "D5")
async def test_a_hooks_output_that_does_not_fit(autojump_clock: MockClock) -> None:
    """It never comes out untyped."""

    async def lies(ctx: Context):
        return {"total": "many"}

    graph = workflow("lies", output=Total).then(giving("g", Total(1))).on_complete(lies).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        outcome = await run.wait()
        record = f"{await run.history()!r} {await run.describe()!r}"
    assert outcome.output in (None, Total(1))
    assert "InputError" in record


@pytest.mark.rule("C13", "C11")
async def test_the_completion_hook_after_bail(autojump_clock: MockClock) -> None:
    """It runs, and the output stays the one given to `bail`."""
    calls = []

    async def on_complete(ctx: Context):
        calls.append("complete")
        return "the hook's"

    @step
    async def enough(data, ctx: Context):
        await ctx.bail("bailed")

    graph = workflow("bails").then(enough).then(failing("never")).on_complete(on_complete).commit()
    assert await output_of(graph) == "bailed"
    assert calls == ["complete"]


@pytest.mark.rule("C11", "C12")
async def test_the_run_is_not_over_before_its_hook(autojump_clock: MockClock) -> None:
    """`wait` returns after the hook, however long that takes."""

    async def body(ctx: Context) -> object:
        await trio.sleep(3600)
        return "late"

    began = trio.current_time()
    outcome, _, _ = await run_to_hook("complete", body)
    assert (outcome.output, trio.current_time() - began >= 3600) == ("late", True)


@pytest.mark.rule("C11")
async def test_hooks_of_children_are_their_own(journal: str, autojump_clock: MockClock) -> None:
    """A nested graph's hooks run for the child: its completion hook gives the child's output, before the outer one."""
    calls = []

    def noting(name: str):
        async def on_complete(ctx: Context):
            calls.append(name)
            return name

        return on_complete

    inner = workflow("inner").then(saying("a")).on_complete(noting("inner")).commit()
    graph = workflow("outer").then(inner).then(saying("+")).on_complete(noting("outer")).commit()
    outcome = await settle(graph, journal=journal)
    assert (outcome.output, calls) == ("outer", ["inner", "outer"])
    assert [record.output for record in outcome.steps] == ["inner", "inner+"]


@pytest.mark.rule("C11", "A8")
async def test_cancel_hooks_of_children_come_first(autojump_clock: MockClock) -> None:
    """A cancel reaches every descendant; hooks are called from the innermost run outwards."""
    calls = []
    live = trio.Event()

    def noting(name: str):
        async def on_cancel(reason, ctx: Context):
            calls.append(name)

        return on_cancel

    @step
    async def sleeper(data, ctx: Context):
        live.set()
        await trio.sleep_forever()

    inner = workflow("inner").then(sleeper).on_cancel(noting("inner")).commit()
    middle = workflow("middle").then(inner).on_cancel(noting("middle")).commit()
    graph = workflow("outer").then(middle).on_cancel(noting("outer")).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        await live.wait()
        await run.cancel("all of it")
    assert calls == ["inner", "middle", "outer"]


@pytest.mark.rule("C11", "C6", "E3")
async def test_error_hooks_of_children_come_first(autojump_clock: MockClock) -> None:
    """A failing child calls its own hook, then its parent calls its own with the failure of the step that ran it."""
    calls = []

    def noting(name: str):
        async def on_error(error, ctx: Context):
            calls.append((name, error.step_id))

        return on_error

    inner = workflow("inner").then(failing("broken")).on_error(noting("inner")).commit()
    outcome = await settle(workflow("outer").then(inner).on_error(noting("outer")).commit())
    assert calls == [("inner", "broken"), ("outer", "inner")]
    assert kinds(outcome) == ["RunFailed"]


@pytest.mark.rule("C11", "F4", "C3")
@pytest.mark.parametrize("hook", ["complete", "error"])
async def test_a_hook_cut_short_runs_again_and_counts_once(
    hook: str, sqlite_url: str, autojump_clock: MockClock
) -> None:
    """Closed in the middle of the hook and opened again: the hook runs again, no step does, all counts once."""
    calls = []
    ran = []
    reached = trio.Event()

    async def stops(ctx: Context):
        calls.append(await ctx.run_store.increment("hook"))
        if not reached.is_set():
            reached.set()
            await trio.sleep_forever()
        return "given by the hook"

    async def on_error(error, ctx: Context):
        assert error.step_id == "work"
        await stops(ctx)

    @step
    async def work(data, ctx: Context):
        ran.append(data)
        if hook == "error":
            raise Boom("for the hook")

    graph = workflow("cut").then(work).on_complete(stops).on_error(on_error).commit()
    await cut_off(graph, 1, sqlite_url, reached)
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.status is STATUS[hook]
    assert outcome.output == ("given by the hook" if hook == "complete" else None)
    assert (outcome.state, ran, calls) == ({"hook": 1}, [1], [1, 1])


@pytest.mark.rule("C11", "D1")
async def test_no_hook_is_called_for_a_suspension(autojump_clock: MockClock) -> None:
    """A suspended run has not ended: its hook is called when it has been resumed and is through."""
    calls = []

    async def on_complete(ctx: Context):
        calls.append("complete")

    @step
    async def ask(data, ctx: Context):
        return await ctx.suspend({"question": data})

    graph = workflow("asks").then(ask).then(adding("plus")).on_complete(on_complete).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph, 1)
        outcome = await run.wait()
        assert (outcome.status, calls) == (RunStatus.SUSPENDED, [])
        assert [(found.step_id, found.path, found.payload) for found in outcome.suspensions] == [
            ("ask", ("ask",), {"question": 1})
        ]
        await run.resume(41)
        assert await run.result() == 42
    assert calls == ["complete"]

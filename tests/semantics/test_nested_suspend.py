"""Suspension inside child runs: addressed from the root, one by one, at any depth (semantics A8, D1, D3, D4, E3)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import permutations

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    AmbiguousResume,
    Context,
    Graph,
    InputError,
    NotSuspended,
    Run,
    RunOver,
    RunStatus,
    Runtime,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from tests.semantics.settling import answer, children, kind, pause, records, until, until_asked

Flow = type[Workflow] | Graph
Body = Callable[[object, Context], Awaitable[object]]
STYLE = pytest.mark.parametrize("style", ["class", "graph"])
DEPTH = pytest.mark.parametrize("depth", [1, 2, 3])


def asking(style: str, body: Body, name: str = "asking", **options: object) -> Flow:
    """A workflow with a step `approve`, which runs `body` and gives the run its output."""
    if style == "graph":
        return workflow(name, **options).then(step(id="approve")(body)).commit()

    class Asking(Workflow):
        id = name
        state = options.get("state")

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("approve", data)

        async def approve(self, data, ctx: Context):
            self.out[ctx.run_id] = await body(data, ctx)

        async def on_workflow_complete(self, ctx: Context):
            return self.out[ctx.run_id]

        out: dict[str, object] = {}  # noqa: RUF012 - shared on purpose: outputs by run id, not in the state under test

    return Asking


def calling(style: str, inner: Flow, name: str, passes: Counter[str] | None = None) -> Flow:
    """A workflow with steps `before`, then one that runs `inner` and has its id, then `after`."""
    counted: Counter[str] = Counter() if passes is None else passes

    async def before(data: object, ctx: Context) -> object:
        counted[f"{name} before"] += 1
        await ctx.run_store.increment("before")
        return data

    async def after(data: object, ctx: Context) -> object:
        counted[f"{name} after"] += 1
        return [name, data]

    if style == "graph":
        chain = workflow(name).then(step(id="before")(before)).then(inner)
        return chain.then(step(id="after")(after)).commit()

    async def call(self: Workflow, data: object, ctx: Context) -> None:
        await ctx.run_store.increment("called")
        await ctx.schedule_next_step("after", await ctx.run_child(inner, data))

    class Calling(Workflow):
        id = name
        out: dict[str, object] = {}  # noqa: RUF012 - shared on purpose: outputs by run id, not in the state under test

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("before", data)

        async def before(self, data, ctx: Context):
            await ctx.schedule_next_step(inner.id, await before(data, ctx))

        async def after(self, data, ctx: Context):
            self.out[ctx.run_id] = await after(data, ctx)

        async def on_workflow_complete(self, ctx: Context):
            return self.out[ctx.run_id]

    # The action has the id of the workflow that it runs, so that paths are the same in both styles.
    return type("Calling", (Calling,), {"id": name, inner.id: call, "__module__": __name__})


def tower(style: str, depth: int, body: Body, passes: Counter[str] | None = None) -> list[Flow]:
    """`depth` workflows, each in the one above it, over one that asks; the outermost comes first."""
    flows = [asking(style, body)]
    for level in range(depth):
        flows.insert(0, calling(style, flows[0], f"level{level}", passes))
    return flows


def wrapped(output: object, depth: int) -> object:
    """What the outermost of a tower gives for what the innermost gave."""
    for level in range(depth):
        output = [f"level{level}", output]
    return output


async def ask(data: object, ctx: Context) -> object:
    """Suspends, and returns what it was given beside its input."""
    return [data, await ctx.suspend("q", label="deep")]


async def descend(runtime: Runtime, run: Run) -> list[Run]:
    """The handles of a run and of its descendants, where each has at most one child."""
    found = [run]
    while below := await children(found[-1]):
        (summary,) = below
        found.append(await runtime.get_run(summary.run_id))
    return found


@STYLE
@DEPTH
@pytest.mark.rule("D1", "D4", "E3")
async def test_a_suspension_below_suspends_the_whole_tree_and_shows_up_once(
    style: str, depth: int, journal: str
) -> None:
    """Every run above is suspended; the one suspension has the path from the root, and each caller is suspended."""
    flows = tower(style, depth, ask)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0], 1)
        outcome = await pause(run)
        (suspension,) = outcome.suspensions
        path = (*(flow.id for flow in flows[1:]), "approve")
        assert (suspension.path, suspension.step_id) == (path, "approve")
        assert (suspension.label, suspension.payload) == ("deep", "q")
        assert (await run.describe()).suspensions == (suspension,)
        handles = await descend(runtime, run)
        assert len(handles) == depth + 1
        for handle, inner in zip(handles, flows[1:], strict=False):
            described = await handle.describe()
            assert (described.status, len(described.suspensions)) == (RunStatus.SUSPENDED, 1)
            assert [record.status for record in records(described, inner.id)] == [StepStatus.SUSPENDED]
        described = await handles[-1].describe()
        assert (described.status, len(described.suspensions)) == (RunStatus.SUSPENDED, 1)
        assert described.suspensions[0].activation_id == suspension.activation_id


ADDRESSES: dict[str, Callable[[int, str], dict[str, str]]] = {
    "path": lambda depth, activation: {
        "step": ".".join([*(f"level{n}" for n in reversed(range(depth - 1))), "asking", "approve"])
    },
    "label": lambda depth, activation: {"label": "deep"},
    "activation id": lambda depth, activation: {"step": activation},
    "step id": lambda depth, activation: {"step": "approve"},
    "nothing": lambda depth, activation: {},
}


@STYLE
@DEPTH
@pytest.mark.rule("D4", "E3")
@pytest.mark.parametrize("how", ADDRESSES)
async def test_it_is_resumed_from_the_root(style: str, depth: int, how: str, journal: str) -> None:
    """Path, label, activation id, step id, or nothing: the step below has its answer; no finished one runs again."""
    passes: Counter[str] = Counter()

    async def body(data: object, ctx: Context) -> object:
        passes["approve"] += 1
        return await ask(data, ctx)

    flows = tower(style, depth, body, passes)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0], 1)
        (suspension,) = (await pause(run)).suspensions
        before = {f"level{n} before": 1 for n in range(depth)}
        assert passes == before | {"approve": 1}
        await run.resume("a", **ADDRESSES[how](depth, suspension.activation_id))
        outcome = await run.wait()
        assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, wrapped([1, "a"], depth))
        assert passes == before | {"approve": 2} | {f"level{n} after": 1 for n in range(depth)}
        assert outcome.state["before"] == 1
        assert outcome.state.get("called", 1) == 1
        handles = await descend(runtime, run)
        assert [await handle.status() for handle in handles] == [RunStatus.COMPLETED] * (depth + 1)


@STYLE
@DEPTH
@pytest.mark.rule("D4", "E3")
async def test_the_handle_of_the_run_below_resumes_it_too(style: str, depth: int, journal: str) -> None:
    """A child resumed by its own handle wakes its parents, and they go on to the end."""
    flows = tower(style, depth, ask)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0], 1)
        await pause(run)
        below = (await descend(runtime, run))[-1]
        await below.resume("a", step="approve")
        assert await below.result() == [1, "a"]
        assert await run.result() == wrapped([1, "a"], depth)


@STYLE
@pytest.mark.rule("D4", "D5")
async def test_resuming_below_is_refused_as_at_the_root(style: str, journal: str) -> None:
    """Wrong paths are NotSuspended, a second resume too, and after the end it is RunOver for root and child."""
    flows = tower(style, 2, ask)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0], 1)
        (suspension,) = (await pause(run)).suspensions
        for address in ("asking.approve.approve", "level1.asking", "level0", "nobody.approve", "before"):
            with pytest.raises(NotSuspended):
                await run.resume("a", step=address)
        assert len((await pause(run)).suspensions) == 1
        handles = await descend(runtime, run)
        await run.resume("a", step=suspension.activation_id)
        with pytest.raises((NotSuspended, RunOver)):
            await run.resume("b", step=suspension.activation_id)
        assert await run.result() == wrapped([1, "a"], 2)
        for handle in handles:
            with pytest.raises(RunOver):
                await handle.resume("c")


@attrs.define
class Decision:
    """A typed answer."""

    ok: bool


@step(id="approve", resume=Decision)
async def typed_approve(data, ctx: Context):
    """Asks for a decision."""
    return (await ctx.suspend("q")).ok


@pytest.mark.rule("D5")
async def test_the_type_of_an_answer_is_that_of_the_step_below(journal: str) -> None:
    """The root's `resume` checks against the child's step before anything is journaled in any run of the tree."""
    flow = workflow("outer").then(workflow("inner").then(typed_approve).commit()).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        handles = await descend(runtime, run)
        facts = [len(await handle.history()) for handle in handles]
        with pytest.raises(InputError, match=r"\$\.ok"):
            await run.resume({"ok": 1})
        assert [len(await handle.history()) for handle in handles] == facts
        await run.resume(Decision(False))
        assert await run.result() is False


@STYLE
@pytest.mark.rule("D3", "D4", "E2")
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
@pytest.mark.parametrize("schema", [False, True], ids=["no schema", "schema"])
async def test_three_suspended_children_resumed_in_turn(
    style: str, order: tuple[int, ...], schema: bool, journal: str
) -> None:
    """Each counts before and after its question and sets a key of its own: nothing any of them wrote is lost."""
    passes: Counter[str] = Counter()

    def child(n: int) -> Flow:
        async def body(data: object, ctx: Context) -> object:
            passes[f"c{n}"] += 1
            await ctx.run_store.increment("n")
            await ctx.run_store.set(f"b{n}", 1)
            given = await ctx.suspend(n)
            await ctx.run_store.increment("n", 10)
            await ctx.run_store.set(f"r{n}", 1)
            return given

        return asking(style, body, f"c{n}", state=Keys if schema else None)

    three = [child(n) for n in range(3)]

    class Parent(Workflow):
        state = Keys if schema else None

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(3))

        async def call(self, data, ctx: Context):
            assert await ctx.run_child(three[data], merge_state=True) == f"a{data}"

    graph = workflow("parent", state=Keys if schema else None).parallel(three, merge_state=True).commit()
    flow = graph if style == "graph" else Parent
    async with open_runtime([flow, *three], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        for done, n in enumerate(order):
            await answer(run, n, f"a{n}")
            if done < 2:
                assert len((await pause(run)).suspensions) == 2 - done
                state = await run.state()
                assert state.get("n", 0) == 11 * (done + 1)
                assert {key for key in state if state[key] and key[0] == "r"} == {f"r{m}" for m in order[: done + 1]}
        outcome = await run.wait()
    assert outcome.status is RunStatus.COMPLETED, outcome.error
    assert outcome.state == {"n": 33} | {f"{key}{n}": 1 for key in "br" for n in range(3)}
    assert passes == {"c0": 2, "c1": 2, "c2": 2}


@attrs.define
class Keys:
    """The keys of the test above."""

    n: int = 0
    b0: int = 0
    b1: int = 0
    b2: int = 0
    r0: int = 0
    r1: int = 0
    r2: int = 0


@STYLE
@pytest.mark.rule("D3", "D5")
async def test_children_resumed_at_the_same_moment(style: str, journal: str) -> None:
    """Ten children of a `foreach`, all resumed at once by ten tasks: all accepted, output in order."""
    flow = workflow("ten").foreach(asking(style, asks_its_input), concurrency=None).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(10)))
        found = {suspension.payload: suspension for suspension in (await pause(run)).suspensions}
        assert len(found) == 10
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(resume_one, run, n, found[n].activation_id)
        assert await run.result() == [[n, n * n] for n in range(10)]


async def resume_one(run: Run, n: int, activation_id: str) -> None:
    """Answer one of several."""
    await run.resume(n * n, step=activation_id)


async def asks_its_input(data: object, ctx: Context) -> object:
    """Suspends with its input as payload, and in its label."""
    return [data, await ctx.suspend(data, label=f"l{data}")]


@STYLE
@pytest.mark.rule("D4", "D5", "C9")
@pytest.mark.parametrize("concurrency", [1, None], ids=["one", "all"])
async def test_elements_of_a_foreach_of_children(style: str, concurrency: int | None, journal: str) -> None:
    """All elements get to their question; they share a path, and are told apart by label and activation id."""
    flow = workflow("three").foreach(asking(style, asks_its_input), concurrency=concurrency).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, [0, 1, 2])
        found = (await pause(run)).suspensions
        assert [suspension.path for suspension in found] == [("asking", "approve")] * 3
        assert {suspension.payload for suspension in found} == {0, 1, 2}
        with pytest.raises(AmbiguousResume):
            await run.resume("?", step="asking.approve")
        await run.resume("one", label="l1")
        await answer(run, 2, "two")
        assert [suspension.payload for suspension in (await pause(run)).suspensions] == [0]
        await run.resume("zero", step="asking.approve")
        assert await run.result() == [[0, "zero"], [1, "one"], [2, "two"]]
        assert [child.status for child in await children(run)] == [RunStatus.COMPLETED] * 3


@STYLE
@pytest.mark.rule("D4")
@pytest.mark.parametrize("verb", ["do_until", "do_while"])
async def test_a_suspension_in_a_child_in_a_loop(style: str, verb: str, journal: str) -> None:
    """Each round has one suspension, in a child of its own; what a round returned goes into the next."""

    async def body(data: object, ctx: Context) -> object:
        return data + await ctx.suspend(data)

    inner = asking(style, body)
    builder = workflow("loop")
    if verb == "do_until":
        builder = builder.do_until(inner, lambda data, ctx: data >= 3)
    else:
        builder = builder.do_while(inner, lambda data, ctx: data < 3)
    async with open_runtime([flow := builder.commit()], journal=journal) as runtime:
        run = await runtime.start(flow, 0)
        seen = set()
        for n in range(3):
            (suspension,) = (await pause(run)).suspensions
            assert (suspension.payload, suspension.path) == (n, ("asking", "approve"))
            seen.add(suspension.activation_id)
            await run.resume(1, step="asking.approve")
        assert await run.result() == 3
        assert (len(seen), len(await children(run))) == (3, 3)


@STYLE
@pytest.mark.rule("D3", "D4")
async def test_a_child_is_resumed_while_a_sibling_runs(style: str, journal: str) -> None:
    """A live sibling of the calling step keeps the run running; the suspended child goes on and ends meanwhile."""
    live, release = trio.Event(), trio.Event()

    async def works(data: object, ctx: Context) -> object:
        live.set()
        await release.wait()
        return "worked"

    inner = asking(style, ask)

    class Both(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("works")
            await ctx.schedule_next_step("asking")

        async def works(self, data, ctx: Context):
            await ctx.run_store.set("works", await works(data, ctx))

        async def asking(self, data, ctx: Context):
            await ctx.run_store.set("asking", await ctx.run_child(inner, data))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    flow = Both if style == "class" else workflow("both").parallel([step(id="works")(works), inner]).commit()
    async with open_runtime([flow, inner], journal=journal) as runtime:
        run = await runtime.start(flow)
        await live.wait()
        await until_asked(run, "q")
        assert await run.status() is RunStatus.RUNNING
        (child,) = await children(run)
        assert child.status is RunStatus.SUSPENDED
        await run.resume("a", step="asking.approve")

        async def child_is_done() -> bool:
            return [found.status for found in await children(run)] == [RunStatus.COMPLETED]

        await until(child_is_done)
        assert await run.status() is RunStatus.RUNNING
        release.set()
        assert await run.result() == {"works": "worked", "asking": [None, "a"]}


@STYLE
@pytest.mark.rule("D3", "D4")
async def test_three_children_that_suspend_at_different_times(style: str, journal: str) -> None:
    """A and B are resumed one after the other while C still runs, C asks last: all three succeed, the join once."""
    passes: Counter[str] = Counter()
    release = trio.Event()

    def child(name: str) -> Flow:
        async def body(data: object, ctx: Context) -> object:
            passes[name] += 1
            if name == "c" and not ctx.resumed:
                await release.wait()
            return await ctx.suspend(name)

        return asking(style, body, name)

    @step
    async def after(data, ctx: Context):
        passes["after"] += 1
        return data

    flow = workflow("abc").parallel([child("a"), child("b"), child("c")]).then(after).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await until_asked(run, "a", "b")
        await run.resume(1, step="a.approve")
        await until_asked(run, "b")
        await run.resume(2, step="b.approve")
        await until_asked(run)
        assert await run.status() is RunStatus.RUNNING
        release.set()
        await pause(run)
        await run.resume(3)
        assert await run.result() == {"a": 1, "b": 2, "c": 3}
    assert passes == {"a": 2, "b": 2, "c": 2, "after": 1}


@STYLE
@pytest.mark.rule("D2", "D4")
async def test_a_second_child_starts_fresh_after_the_first_was_resumed(style: str, journal: str) -> None:
    """One child after the other, both suspending: the second has its own input, state and answer."""

    async def body(data: object, ctx: Context) -> object:
        assert ctx.resume_data in (None, f"to {ctx.workflow_id}")
        await ctx.run_store.push("log", ctx.workflow_id)
        found = await ctx.suspend(ctx.workflow_id)
        return [*data, found, await ctx.run_store.get("log"), ctx.input]

    one, two = asking(style, body, "one"), asking(style, body, "two")

    class Chain(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.run_child(two, await ctx.run_child(one, data))

    flow = Chain if style == "class" else workflow("chain").then(one).then(two).commit()
    async with open_runtime([flow, one, two], journal=journal) as runtime:
        run = await runtime.start(flow, ["in"])
        for name in ("one", "two"):
            assert [found.payload for found in (await pause(run)).suspensions] == [name]
            await run.resume(f"to {name}")
        first = ["in", "to one", ["one"], ["in"]]
        assert await run.result() == [*first, "to two", ["two"], first]
        assert len(await children(run)) == 2


@STYLE
@pytest.mark.rule("D4")
async def test_several_suspensions_over_several_levels(style: str, journal: str) -> None:
    """Two in a grandchild, one in the child, one at the root: four, each with its path, resumed from the inside out."""
    grandchild = workflow("g").parallel([step(id="a")(asks_its_id), step(id="b")(asks_its_id)]).commit()
    child = workflow("c").parallel([grandchild, step(id="a")(asks_its_id)]).commit()
    flow: Flow = workflow("r").parallel([child, step(id="a")(asks_its_id)]).commit()

    class Root(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("c")
            await ctx.schedule_next_step("a")

        async def c(self, data, ctx: Context):
            await ctx.run_store.set("c", await ctx.run_child(child))

        async def a(self, data, ctx: Context):
            await ctx.run_store.set("a", await asks_its_id(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    flow = Root if style == "class" else flow
    async with open_runtime([flow, child], journal=journal) as runtime:
        run = await runtime.start(flow)
        paths = {".".join(found.path) for found in (await pause(run)).suspensions}
        assert paths == {"c.g.a", "c.g.b", "c.a", "a"}
        with pytest.raises(AmbiguousResume):
            await run.resume("?", step="a")
        for path in ("c.g.a", "c.g.b", "c.a"):
            await run.resume(path, step=path)
            await pause(run)
        await run.resume("a", step="a")
        assert await run.result() == {"c": {"g": {"a": "c.g.a", "b": "c.g.b"}, "a": "c.a"}, "a": "a"}


async def asks_its_id(data: object, ctx: Context) -> object:
    """Suspends with its step id as payload."""
    return await ctx.suspend(f"{ctx.workflow_id} {ctx.step_id}")


@STYLE
@pytest.mark.rule("D6", "D1")
@DEPTH
async def test_an_event_reaches_the_descendant_that_waits(style: str, depth: int, journal: str) -> None:
    """`send_event` at the root goes down to the wait; the event comes out of the child as its output."""

    class Waits(Workflow):
        id = "asking"
        out: dict[str, object] = {}  # noqa: RUF012 - shared on purpose: outputs by run id

        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="gone")

        async def gone(self, data, ctx: Context):
            self.out[ctx.run_id] = ctx.event

        async def on_workflow_complete(self, ctx: Context):
            return self.out[ctx.run_id]

    flows: list[Flow] = [Waits if style == "class" else workflow("asking").wait_for_event("go").commit()]
    for level in range(depth):
        flows.insert(0, calling(style, flows[0], f"level{level}"))
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0])

        async def waits_below() -> bool:
            handles = await descend(runtime, run)
            return len(handles) == depth + 1 and len((await handles[-1].describe()).waits) == 1

        await until(waits_below)
        assert await run.status() is RunStatus.RUNNING
        await run.send_event("go", {"n": 5})
        assert await run.result() == wrapped({"n": 5}, depth)


@pytest.mark.rule("D6")
async def test_an_event_goes_to_one_wait_and_first_to_the_runs_own(journal: str) -> None:
    """The run's own wait comes before a descendant's, and each event is delivered once over the whole tree."""

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="gone")

        async def gone(self, data, ctx: Context):
            await ctx.root_store.push("got", ["child", ctx.event])

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("call")
            await ctx.wait_for_event("go", action="gone")

        async def call(self, data, ctx: Context):
            await ctx.run_child(Child)

        async def gone(self, data, ctx: Context):
            await ctx.run_store.push("got", ["parent", ctx.event])

    async with open_runtime([Parent, Child], journal=journal) as runtime:
        run = await runtime.start(Parent)

        async def both_wait() -> bool:
            handles = await descend(runtime, run)
            return [len((await handle.describe()).waits) for handle in handles] == [1, 1]

        await until(both_wait)
        await run.send_event("go", 1)
        await run.send_event("go", 2)
        outcome = await run.wait()
    assert sorted(outcome.state["got"]) == [["child", 2], ["parent", 1]]


@pytest.mark.rule("D6", "D1")
async def test_an_event_wakes_a_suspended_tree_below(journal: str) -> None:
    """The child has an open wait beside its question: the event is delivered and the tree is suspended as before."""

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="gone")
            return await ctx.suspend("q")

        async def gone(self, data, ctx: Context):
            await ctx.root_store.push("got", ctx.event)

    flow = workflow("outer").then(Child).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.send_event("go", 1)

        async def got() -> bool:
            return (await run.state()).get("got") == [1]

        await until(got)
        await pause(run)
        await run.resume("a")
        assert await run.result() == "a"


@STYLE
@DEPTH
@pytest.mark.rule("A8", "C12")
async def test_cancel_reaches_suspended_descendants(style: str, depth: int, journal: str) -> None:
    """When the root's `cancel` returns, every run of the tree is cancelled, and nothing of it can be resumed."""
    passes: Counter[str] = Counter()

    async def body(data: object, ctx: Context) -> object:
        passes["approve"] += 1
        return await ctx.suspend("q")

    flows = tower(style, depth, body, passes)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0])
        await pause(run)
        handles = await descend(runtime, run)
        await run.cancel("enough")
        assert [await handle.status() for handle in handles] == [RunStatus.CANCELLED] * (depth + 1)
        for handle in handles:
            with pytest.raises(RunOver):
                await handle.resume("late")
        assert (await run.describe()).suspensions == ()
        found = runtime.statistics()
        assert (found.live_runs, found.suspended_runs) == (0, 0)
    assert passes == {"approve": 1} | {f"level{n} before": 1 for n in range(depth)}


@pytest.mark.rule("A8", "C11")
async def test_each_cancelled_run_of_a_suspended_tree_calls_its_hook_once(journal: str) -> None:
    """The cancel hook of root and child is called once each, the child's before the root's."""
    calls = []

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.suspend("q")

        async def on_workflow_cancel(self, reason, ctx: Context):
            calls.append("child")

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_child(Child)

        async def on_workflow_cancel(self, reason, ctx: Context):
            calls.append(["parent", reason])

    async with open_runtime([Parent, Child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        await pause(run)
        await run.cancel("enough")
    assert calls == ["child", ["parent", "enough"]]


@STYLE
@pytest.mark.rule("A8", "C6", "C12")
async def test_a_failure_beside_it_ends_a_suspended_child(style: str, journal: str) -> None:
    """A sibling of the calling step fails: the suspended child is cancelled, and the run fails with that one cause."""

    async def fails(data: object, ctx: Context) -> object:
        if not ctx.resumed:
            return await ctx.suspend("fail?")
        raise ValueError("on purpose")

    inner = asking(style, ask)

    class Both(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("fails")
            await ctx.schedule_next_step("asking")

        async def fails(self, data, ctx: Context):
            await fails(data, ctx)

        async def asking(self, data, ctx: Context):
            await ctx.run_child(inner, data)

    flow = Both if style == "class" else workflow("both").parallel([step(id="fails")(fails), inner]).commit()
    async with open_runtime([flow, inner], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await answer(run, "fail?")
        outcome = await run.wait()
        (child,) = await children(run)
    assert (outcome.status, [kind(failure) for failure in outcome.failures]) == (RunStatus.FAILED, ["ValueError"])
    assert (child.status, outcome.suspensions) == (RunStatus.CANCELLED, ())


@STYLE
@pytest.mark.rule("D4", "E3")
async def test_several_questions_of_one_step_below(style: str, journal: str) -> None:
    """Three questions in one step of a grandchild: each is answered from the root and the callers stay suspended."""

    async def body(data: object, ctx: Context) -> object:
        return [await ctx.suspend(f"q{n}") for n in range(3)]

    flows = tower(style, 2, body)
    async with open_runtime(flows, journal=journal) as runtime:
        run = await runtime.start(flows[0])
        for n in range(3):
            assert [found.payload for found in (await pause(run)).suspensions] == [f"q{n}"]
            await run.resume(n)
        assert await run.result() == wrapped([0, 1, 2], 2)
        assert len(await descend(runtime, run)) == 3


@pytest.mark.rule("C3", "D4", "E3")
async def test_effects_of_the_caller_count_once(journal: str) -> None:
    """What the calling step did before `run_child` counts once, however often its child was suspended."""
    outside = []

    async def call() -> int:
        outside.append(1)
        return len(outside)

    class Caller(Workflow):
        async def start(self, data, ctx: Context):
            reply = await ctx.run_store.push("log", "before")
            once = await ctx.once("call", call)
            await ctx.schedule_next_step("other")
            answers = await ctx.run_child(inner)
            await ctx.run_store.push("log", "after")
            return [reply, once, answers]

        async def other(self, data, ctx: Context):
            await ctx.run_store.increment("others")

    async def body(data: object, ctx: Context) -> object:
        return [await ctx.suspend(n) for n in range(3)]

    inner = asking("graph", body)
    async with open_runtime([Caller, inner], journal=journal) as runtime:
        run = await runtime.start(Caller)
        for n in range(3):
            await pause(run)
            await run.resume(n)
        outcome = await run.wait()
        assert len(await children(run)) == 1
    assert outcome.output == [1, 1, [0, 1, 2]]
    assert outcome.state == {"log": ["before", "after"], "others": 1}
    assert outside == [1]


@STYLE
@pytest.mark.rule("D1", "C5")
async def test_a_suspended_child_uses_up_no_time_of_its_caller(style: str, autojump_clock: MockClock) -> None:
    """A caller with a timeout may wait for days while its child is suspended."""

    class Caller(Workflow):
        @step(timeout=10)
        async def start(self, data, ctx: Context):
            return await ctx.run_child(inner, data)

    inner = asking(style, ask)
    async with open_runtime([Caller, inner]) as runtime:
        run = await runtime.start(Caller, 1)
        await pause(run)
        await trio.sleep(3 * 86_400)
        assert await run.status() is RunStatus.SUSPENDED
        await run.resume("late")
        assert await run.result() == [1, "late"]


@pytest.mark.rule("D7", "D1", "E3")
async def test_a_timer_of_a_child_wakes_a_suspended_tree(autojump_clock: MockClock) -> None:
    """The child has a timer beside its question: it fires while the tree is suspended, which it is again after."""

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay=3600)
            return await ctx.suspend("q")

        async def later(self, data, ctx: Context):
            await ctx.root_store.set("later", True)

    flow = workflow("outer").then(Child).commit()
    async with open_runtime([flow]) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await trio.sleep(3000)
        assert (await run.status(), await run.state()) == (RunStatus.SUSPENDED, {})
        await trio.sleep(1000)
        assert (await run.status(), await run.state()) == (RunStatus.SUSPENDED, {"later": True})
        await run.resume("a")
        assert await run.result() == "a"

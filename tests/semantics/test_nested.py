"""Workflows in workflows: both styles in each other, at any depth (contract 4 and 5; semantics A8, C8, C9, C10, E3)."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    RunStatus,
    StepStatus,
    Workflow,
    first,
    from_step,
    open_runtime,
    step,
    workflow,
)
from tests.semantics.settling import children, kind, records

Flow = type[Workflow] | Graph
STYLES = ("class", "graph")


def wrap(style: str, name: str, inner: Flow) -> Flow:
    """A workflow that runs `inner` with its input and gives back what came out, with its own name before it."""
    if style == "graph":

        @step
        async def sign(data, ctx: Context):
            return [name, *data]

        return workflow(name).then(inner).then(sign).commit()

    class Wrapping(Workflow):
        id = name

        async def start(self, data, ctx: Context):
            return [name, *await ctx.run_child(inner, data)]

    return Wrapping


def leaf(style: str) -> Flow:
    """A workflow that gives back its input in a list."""
    if style == "graph":

        @step
        async def own(data, ctx: Context):
            return ["leaf", data]

        return workflow("leaf").then(own).commit()

    class Leaf(Workflow):
        id = "leaf"

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("own", data)

        async def own(self, data, ctx: Context):
            await ctx.run_store.set("own", ["leaf", data])

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("own")

    return Leaf


@pytest.mark.rule("A8")
@pytest.mark.parametrize("styles", list(product(STYLES, repeat=2)), ids="-in-".join)
async def test_each_style_runs_in_each(styles: tuple[str, str], journal: str) -> None:
    """The output of a child is that of `run_child`, or of the graph's step, whoever runs whom."""
    inner = leaf(styles[0])
    outer = wrap(styles[1], "outer", inner)
    async with open_runtime([outer, inner], journal=journal) as runtime:
        assert await runtime.run(outer, {"n": 1}) == ["outer", "leaf", {"n": 1}]


@pytest.mark.rule("A8")
@pytest.mark.parametrize("styles", list(product(STYLES, repeat=3)), ids="-".join)
async def test_three_levels_of_any_style(styles: tuple[str, str, str], journal: str) -> None:
    """A workflow in a workflow in a workflow: every level is a run of its own, a child of the one above."""
    inner = leaf(styles[0])
    middle = wrap(styles[1], "middle", inner)
    outer = wrap(styles[2], "outer", middle)
    async with open_runtime([outer, middle, inner], journal=journal) as runtime:
        run = await runtime.start(outer, 5, run_id="root")
        assert await run.result() == ["outer", "middle", "leaf", 5]
        (second,) = await children(run)
        (third,) = await children(await runtime.get_run(second.run_id))
        assert (second.workflow_id, second.parent_id, second.status) == ("middle", "root", RunStatus.COMPLETED)
        assert (third.workflow_id, third.parent_id, third.status) == ("leaf", second.run_id, RunStatus.COMPLETED)
        assert len({"root", second.run_id, third.run_id}) == 3
        assert await (await runtime.get_run(third.run_id)).result() == ["leaf", 5]
        assert await children(await runtime.get_run(third.run_id)) == []
        assert runtime.statistics().live_runs == 0


@attrs.define
class Parcel:
    """What goes into a typed child."""

    name: str
    weights: list[int]


@attrs.define
class Label:
    """What comes out of it."""

    text: str
    total: int


@step
async def label(data: Parcel, ctx: Context) -> Label:
    """Sums up a parcel."""
    return Label(data.name.upper(), sum(data.weights))


labelling = workflow("labelling", input=Parcel, output=Label).then(label).commit()


class LabelClass(Workflow):
    """The same in class style."""

    async def start(self, data: Parcel, ctx: Context) -> Label:
        return Label(data.name.upper(), sum(data.weights))


@pytest.mark.parametrize("child", [labelling, LabelClass], ids=["graph", "class"])
async def test_typed_input_and_output_cross_the_border(child: Flow, journal: str) -> None:
    """A child takes its input as the type or as its JSON, and its output comes typed."""
    seen = []

    class Typed(Workflow):
        async def start(self, data, ctx: Context):
            for given in (Parcel("a", [1, 2]), {"name": "b", "weights": [3]}):
                found = await ctx.run_child(child, given)
                seen.append(found)
            return len(seen)

    async with open_runtime([Typed, child], journal=journal) as runtime:
        assert await runtime.run(Typed) == 2
    assert seen == [Label("A", 3), Label("B", 3)]


@pytest.mark.parametrize("child", [labelling, LabelClass], ids=["graph", "class"])
async def test_a_bad_input_is_refused_by_run_child_and_starts_nothing(child: Flow, journal: str) -> None:
    """`run_child` raises InputError with the path to the bad field; there is no child run, and the step may go on."""

    class Bad(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(ValueError, match=r"\$\.weights\[0\]"):
                await ctx.run_child(child, {"name": "a", "weights": ["1"]})
            return "went on"

    async with open_runtime([Bad, child], journal=journal) as runtime:
        run = await runtime.start(Bad)
        assert await run.result() == "went on"
        assert await children(run) == []


async def test_a_bad_input_of_a_nested_workflow_fails_the_graph(journal: str) -> None:
    """In a graph the step of the nested workflow fails with InputError."""

    @step
    async def passes_on(data, ctx: Context):
        return data

    flow = workflow("bad").then(passes_on).then(labelling).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        outcome = await (await runtime.start(flow, {"name": 5, "weights": []})).wait()
    assert (outcome.status, kind(outcome.error), outcome.error.step_id) == (RunStatus.FAILED, "InputError", "labelling")


async def test_what_stands_in_a_graph_needs_no_registration(journal: str) -> None:
    """A runtime that knows a graph knows the workflows in it, at any depth."""
    outer = wrap("graph", "outer", wrap("graph", "middle", leaf("class")))
    async with open_runtime([outer], journal=journal) as runtime:
        assert await runtime.run(outer, 1) == ["outer", "middle", "leaf", 1]


async def test_a_child_that_this_runtime_does_not_know_is_a_definition_error(journal: str) -> None:
    """`run_child` of a class that was not given to the runtime could not be recovered: it is refused."""
    outer = wrap("class", "outer", leaf("class"))
    async with open_runtime([outer], journal=journal) as runtime:
        run = await runtime.start(outer, 1)
        outcome = await run.wait()
        assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "DefinitionError")
        assert "leaf" in outcome.error.message
        assert await children(run) == []


async def test_a_child_may_be_named_by_its_id(journal: str) -> None:
    """`run_child` takes the id of a registered workflow, as `start` does."""

    class ById(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.run_child("leaf", data)

    async with open_runtime([ById, leaf("graph")], journal=journal) as runtime:
        assert await runtime.run(ById, 1) == ["leaf", 1]


@pytest.mark.parametrize("style", STYLES)
async def test_a_child_knows_who_it_is(style: str, journal: str) -> None:
    """Its context has its own run, workflow and input; the headers are those of the root."""
    seen: dict[str, object] = {}

    async def look(data: object, ctx: Context) -> object:
        seen.update(run=ctx.run_id, flow=ctx.workflow_id, input=ctx.input, headers=dict(ctx.headers), step=ctx.step_id)
        seen["activation"] = ctx.activation_id
        return data

    class Looks(Workflow):
        id = "looks"

        async def start(self, data, ctx: Context):
            return await look(data, ctx)

    inner = Looks if style == "class" else workflow("looks").then(step(id="begin")(look)).commit()

    class Caller(Workflow):
        async def start(self, data, ctx: Context):
            seen["caller"] = ctx.activation_id
            return await ctx.run_child(inner, {"for": "child"})

    async with open_runtime([Caller, inner], journal=journal) as runtime:
        run = await runtime.start(Caller, {"for": "root"}, run_id="root", headers={"tenant": "t1"})
        assert await run.result() == {"for": "child"}
        (child,) = await children(run)
    assert (seen["run"], seen["flow"], seen["step"]) == (
        child.run_id,
        "looks",
        "start" if style == "class" else "begin",
    )
    assert (seen["input"], seen["headers"]) == ({"for": "child"}, {"tenant": "t1"})
    assert seen["activation"] != seen["caller"]


async def test_activation_ids_are_unique_over_the_tree(journal: str) -> None:
    """Ten children with three steps each, below one run: no activation id occurs twice."""
    seen: list[str] = []

    class Many(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(ctx.activation_id)
            await ctx.schedule_many("more", range(2))

        async def more(self, data, ctx: Context):
            seen.append(ctx.activation_id)

    class Caller(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(ctx.activation_id)
            await ctx.schedule_many("call", range(10))

        async def call(self, data, ctx: Context):
            seen.append(ctx.activation_id)
            await ctx.run_child(Many)

    async with open_runtime([Caller, Many], journal=journal) as runtime:
        await runtime.run(Caller)
    assert (len(seen), len(set(seen))) == (41, 41)


@pytest.mark.rule("C9")
@pytest.mark.parametrize("style", STYLES)
async def test_children_beside_each_other(style: str, journal: str) -> None:
    """The members of a parallel group may be workflows and steps; the output is by id."""

    @step
    async def plain(data, ctx: Context):
        return ["plain", data]

    inner = leaf(style)
    flow = workflow("beside").parallel([inner, plain, wrap(style, "other", inner)]).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        assert await runtime.run(flow, 3) == {
            "leaf": ["leaf", 3],
            "plain": ["plain", 3],
            "other": ["other", "leaf", 3],
        }


@pytest.mark.rule("C9")
@pytest.mark.parametrize("concurrency", [1, 3, None], ids=["one", "three", "all"])
@pytest.mark.parametrize("style", STYLES)
async def test_a_child_for_each_element(style: str, concurrency: int | None, journal: str) -> None:
    """`foreach` over a workflow gives the outputs in the order of the input, and one child run for each."""
    flow = workflow("each").foreach(leaf(style), concurrency=concurrency).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(8)))
        assert await run.result() == [["leaf", n] for n in range(8)]
        assert len(await children(run, "leaf")) == 8
        assert await runtime.run(flow, []) == []


@pytest.mark.rule("C10")
async def test_nested_chains_in_a_foreach_are_pipelines(autojump_clock: MockClock) -> None:
    """The second step of a fast element begins while a slow element is still in its first."""
    began: dict[object, float] = {}

    @step
    async def one(data, ctx: Context):
        await trio.sleep(data)
        return data

    @step
    async def two(data, ctx: Context):
        began[data] = trio.current_time() - zero
        return data

    chain = workflow("chain").then(one).then(two).commit()
    flow = workflow("pipelines").foreach(chain, concurrency=None).commit()
    async with open_runtime([flow]) as runtime:
        zero = trio.current_time()
        assert await runtime.run(flow, [100, 1, 50]) == [100, 1, 50]
    assert began == {n: pytest.approx(n, abs=0.05) for n in (1, 50, 100)}


@pytest.mark.rule("C9")
async def test_a_branch_of_workflows(journal: str) -> None:
    """Only the workflow whose condition holds is run; there is no child for the other."""
    yes, no = wrap("graph", "yes", leaf("graph")), wrap("class", "no", leaf("class"))
    flow = workflow("choice").branch([(lambda data, ctx: data > 0, yes), (lambda data, ctx: data <= 0, no)]).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, 1)
        assert await run.result() == {"yes": ["yes", "leaf", 1]}
        assert [child.workflow_id for child in await children(run)] == ["yes"]


@pytest.mark.parametrize("verb", ["do_until", "do_while"])
async def test_a_loop_over_a_workflow(verb: str, journal: str) -> None:
    """Each round is a new child run with the output of the round before; no round gets the result of another."""

    @step
    async def add(data, ctx: Context):
        return data + 1

    adding = workflow("adding").then(add).commit()
    builder = workflow("loop")
    if verb == "do_until":
        builder = builder.do_until(adding, lambda data, ctx: data >= 4)
    else:
        builder = builder.do_while(adding, lambda data, ctx: data < 4)
    async with open_runtime([flow := builder.commit()], journal=journal) as runtime:
        run = await runtime.start(flow, 0)
        assert await run.result() == 4
        assert len({child.run_id for child in await children(run)}) == 4


@pytest.mark.rule("C9")
async def test_a_fan_out_in_a_loop_starts_afresh_each_round(journal: str) -> None:
    """A nested `foreach` in a loop: the second round has results of its own, not those of the first."""

    @step
    async def double(data, ctx: Context):
        return data * 2

    doubling = workflow("doubling").foreach(double, concurrency=None).commit()
    flow = workflow("rounds").do_until(doubling, lambda data, ctx: sum(data) > 40).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        assert await runtime.run(flow, [1, 2, 3]) == [8, 16, 24]


async def test_outputs_of_nested_workflows_can_be_named(journal: str) -> None:
    """`from_step` and `step_result` know a nested workflow by its id."""

    @step
    async def look(data, ctx: Context):
        return [data, await ctx.step_result("leaf")]

    flow = workflow("named").then(leaf("graph")).map({"out": from_step("leaf")}).then(look).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        assert await runtime.run(flow, 1) == [{"out": ["leaf", 1]}, ["leaf", 1]]


@pytest.mark.rule("C8")
@pytest.mark.parametrize("room", [1, 2])
async def test_callers_take_no_place_among_the_live(room: int, journal: str) -> None:
    """With room for one live step in each run, thirty callers and three levels all get through."""

    class Bottom(Workflow):
        max_live_steps = room

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("more", range(2))
            return data

        async def more(self, data, ctx: Context):
            pass

    class Middle(Workflow):
        max_live_steps = room

        async def start(self, data, ctx: Context):
            return await ctx.run_child(Bottom, data)

    class Top(Workflow):
        max_live_steps = room

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(30))

        async def call(self, data, ctx: Context):
            await ctx.run_store.push("out", await ctx.run_child(Middle, data))

        async def on_workflow_complete(self, ctx: Context):
            return sorted(await ctx.run_store.get("out"))

    async with open_runtime([Top, Middle, Bottom], journal=journal) as runtime:
        assert await runtime.run(Top) == list(range(30))


async def test_two_children_at_once_in_one_step(journal: str) -> None:
    """A step may run children beside each other in a nursery of its own; each call gets its own output."""

    class Both(Workflow):
        async def start(self, data, ctx: Context):
            found = {}

            async def call(n: int) -> None:
                found[str(n)] = await ctx.run_child(quick, n)

            async with trio.open_nursery() as nursery:
                for n in range(5):
                    nursery.start_soon(call, n)
            return found

    quick = leaf("class")
    async with open_runtime([Both, quick], journal=journal) as runtime:
        assert await runtime.run(Both) == {str(n): ["leaf", n] for n in range(5)}


@pytest.mark.rule("A8", "C12")
async def test_a_child_ends_before_the_step_that_called_it(journal: str) -> None:
    """When `run_child` returns, the child is over: its completion hook has run and its status says so."""
    lines = []

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("late")
            return "from start"

        async def late(self, data, ctx: Context):
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            lines.append("late")

        async def on_workflow_complete(self, ctx: Context):
            lines.append("hook")

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            lines.append(await ctx.run_child(Child))

    async with open_runtime([Parent, Child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        await run.result()
        (child,) = await children(run)
        (parent,) = [found for found in await runtime.list_runs() if found.run_id == run.run_id]
        assert child.status is RunStatus.COMPLETED
        assert child.started_at <= child.ended_at <= parent.ended_at
    assert lines == ["late", "hook", "from start"]


@pytest.mark.rule("A8")
async def test_a_child_has_a_record_of_its_own(journal: str) -> None:
    """Steps and history of a child are in its own record; the parent's has the calling step only."""
    inner, outer = leaf("graph"), wrap("graph", "outer", leaf("graph"))
    async with open_runtime([outer], journal=journal) as runtime:
        run = await runtime.start(outer, 1)
        outcome = await run.wait()
        (summary,) = await children(run)
        child = await runtime.get_run(summary.run_id)
        described = await child.describe()
        assert [record.step_id for record in outcome.steps] == ["leaf", "sign"]
        assert [record.status for record in records(outcome, "leaf")] == [StepStatus.COMPLETED]
        assert [record.step_id for record in described.steps] == ["own"]
        assert (described.workflow_id, described.parent_id) == (inner.id, run.run_id)
        kinds = [fact.kind for fact in await child.history()]
        async with child.events() as stream:
            told = [event async for event in stream]
    assert len(kinds) > 2
    assert (told[-1].kind, {event.run_id for event in told}) == ("run-completed", {summary.run_id})


@pytest.mark.rule("C6", "C12")
async def test_of_several_workflows_the_first_counts(autojump_clock: MockClock) -> None:
    """In a group that needs one, the slower children are cancelled and awaited, and absent from the output."""
    lines = []

    def sleeper(name: str, seconds: float) -> Graph:
        @step
        async def nap(data, ctx: Context):
            try:
                await trio.sleep(seconds)
            finally:
                lines.append(name)
            return name

        return workflow(name).then(nap).commit()

    @step
    async def after(data, ctx: Context):
        lines.append("after")
        return data

    racers = [sleeper("slow", 100), sleeper("fast", 1), sleeper("slower", 1000)]
    flow = workflow("race").parallel(racers, join=first(1)).then(after).commit()
    async with open_runtime([flow]) as runtime:
        run = await runtime.start(flow)
        assert await run.result() == {"fast": "fast"}
        statuses = {child.workflow_id: child.status for child in await children(run)}
    assert statuses == {
        "fast": RunStatus.COMPLETED,
        "slow": RunStatus.CANCELLED,
        "slower": RunStatus.CANCELLED,
    }
    assert (lines[0], set(lines[1:3]), lines[3:]) == ("fast", {"slow", "slower"}, ["after"])


@pytest.mark.rule("C9", "A8")
async def test_two_hundred_children_and_their_results(journal: str) -> None:
    """Two hundred children of one run: every output arrives once, and nothing is left over."""
    inner = leaf("class")

    class Wide(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(200))

        async def call(self, data, ctx: Context):
            await ctx.run_store.push("out", (await ctx.run_child(inner, data))[1])

        async def on_workflow_complete(self, ctx: Context):
            return sorted(await ctx.run_store.get("out"))

    async with open_runtime([Wide, inner], journal=journal) as runtime:
        run = await runtime.start(Wide)
        assert await run.result() == list(range(200))
        assert len(await children(run)) == 200
        found = runtime.statistics()
        assert (found.live_runs, found.live_steps, found.pending_steps, found.suspended_runs) == (0, 0, 0, 0)


@pytest.mark.rule("F4", "C3")
async def test_a_tree_cut_short_goes_on_in_the_next_runtime(sqlite_url: str) -> None:
    """Closing while the innermost step is live: after reopening that step runs again, and no finished one."""
    passes: list[str] = []
    live, release = trio.Event(), trio.Event()

    def stage(name: str) -> Callable[[object, Context], object]:
        @step(id=name)
        async def body(data, ctx: Context):
            passes.append(name)
            if name == "blocks":
                live.set()
                await release.wait()
            return [*data, name]

        return body

    inner = workflow("inner").then(stage("begun")).then(stage("blocks")).commit()
    outer = workflow("outer").then(stage("before")).then(inner).then(stage("after")).commit()
    async with open_runtime([outer], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(outer, [], run_id="r")
        await live.wait()
    release.set()
    async with open_runtime([outer], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.result() == ["before", "begun", "blocks", "after"]
        assert len(await children(run)) == 1
    assert passes == ["before", "begun", "blocks", "blocks", "after"]

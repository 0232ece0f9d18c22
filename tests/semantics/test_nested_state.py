"""State of parents and children: what is inherited, what stays apart, what comes back (semantics E1, E2)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    InputError,
    JournalError,
    Retry,
    RunFailed,
    RunStatus,
    StateKeyError,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, Fault, FaultyJournal
from tests.semantics.settling import children, kind, pause

Flow = type[Workflow] | Graph
Body = Callable[[object, Context], Awaitable[object]]
STYLE = pytest.mark.parametrize("style", ["class", "graph"])
DAY_S = 86_400


def child_of(style: str, body: Body, name: str = "child", **options: object) -> Flow:
    """A workflow with one step, `body`."""
    if style == "graph":
        return workflow(name, **options).then(step(id="body")(body)).commit()

    class Child(Workflow):
        id = name
        state = options.get("state")

        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    return Child


def parent_of(style: str, child: Flow, *, prepare: Body | None = None, name: str = "parent", **options: object) -> Flow:
    """A workflow that prepares its state, runs the child with these options, and gives back output and state."""

    async def before(data: object, ctx: Context) -> object:
        if prepare is not None:
            await prepare(data, ctx)
        return data

    async def after(data: object, ctx: Context) -> object:
        return {"out": data, "state": await ctx.run_store.snapshot()}

    if style == "graph":
        chain = workflow(name).then(step(id="before")(before)).then(child, **options)
        return chain.then(step(id="after")(after)).commit()

    class Parent(Workflow):
        id = name

        async def start(self, data, ctx: Context):
            await before(data, ctx)
            return await after(await ctx.run_child(child, data, **options), ctx)

    return Parent


async def snapshot(data: object, ctx: Context) -> object:
    """What the store of this run holds."""
    return await ctx.run_store.snapshot()


async def run_parent(journal: str, parent: Flow, *others: Flow, **options: object) -> dict[str, object]:
    """Run a workflow of `parent_of` in a runtime of its own and return its output."""
    async with open_runtime([parent, *others], journal=journal) as runtime:
        output = await runtime.run(parent, **options)
    assert isinstance(output, dict)
    return output


# ------------------------------------------------------------------------------------------------ inheritance

GIVEN: dict[str, object] = {"log": ["init", {"deep": [1]}], "n": 3, "none": None, "a.b": "dot"}


@STYLE
@pytest.mark.rule("E1")
async def test_a_child_starts_with_the_state_of_its_parent(style: str, journal: str) -> None:
    """Everything the parent's store holds at the call is in the child's from its first line on."""

    async def prepare(data: object, ctx: Context) -> object:
        return await ctx.run_store.set("by_step", True)

    parent = parent_of(style, child := child_of(style, snapshot), prepare=prepare)
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    assert found["out"] == {**GIVEN, "by_step": True}


@attrs.define
class Narrow:
    """The state of a child that knows two keys."""

    n: int = 0
    own: list[str] = attrs.field(factory=lambda: ["default"])


@attrs.define
class Demanding:
    """The state of a child that must be given `total`."""

    total: int


@STYLE
@pytest.mark.rule("E1", "B9")
async def test_a_childs_schema_filters_what_it_inherits(style: str, journal: str) -> None:
    """A child with a schema gets the keys it knows and its own defaults; the others are not there, nor lost above."""

    async def body(data: object, ctx: Context) -> object:
        seen = await ctx.run_store.snapshot()
        with pytest.raises(StateKeyError):
            await ctx.run_store.set("log", [])
        await ctx.run_store.increment("n")
        return [seen, type(ctx.state).__name__]

    parent = parent_of(style, child := child_of(style, body, state=Narrow))
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    assert found == {"out": [{"n": 3, "own": ["default"]}, "Narrow"], "state": GIVEN}


@STYLE
@pytest.mark.rule("E1", "B9")
@pytest.mark.parametrize("given", [{}, {"total": "many"}], ids=["missing", "misfit"])
async def test_a_child_that_cannot_begin_with_what_it_inherits(
    style: str, given: dict[str, object], journal: str
) -> None:
    """A required key that the parent lacks, or has with another type, is an InputError of the caller; no child runs."""
    parent = parent_of(style, child := child_of(style, snapshot, state=Demanding))
    async with open_runtime([parent, child], journal=journal) as runtime:
        run = await runtime.start(parent, initial_state=given)
        outcome = await run.wait()
        assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "InputError")
        assert "total" in outcome.error.message
        assert await children(run) == []
        assert (await runtime.run(parent, initial_state={"total": 5}))["out"] == {"total": 5}


@pytest.mark.rule("E1", "E2")
@pytest.mark.parametrize("given", [{"own": 1}, {}], ids=["some", "none"])
async def test_an_initial_state_replaces_what_would_be_inherited(given: dict[str, object], journal: str) -> None:
    """With `initial_state` the child has that and nothing of its parent; the mapping is copied."""
    child = child_of("class", snapshot)
    parent = parent_of("class", child, initial_state=given)
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    assert found == {"out": given, "state": GIVEN}


@pytest.mark.rule("E1", "B9")
async def test_an_initial_state_is_held_against_the_childs_schema(journal: str) -> None:
    """Defaults are filled in, an instance will do, and a misfit is an InputError in the caller."""

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            found = [
                await ctx.run_child(narrow, initial_state={"n": 1}),
                await ctx.run_child(narrow, initial_state=Narrow(2, [])),
            ]
            for bad in ({"n": "x"}, {"log": []}):
                with pytest.raises((InputError, StateKeyError)):
                    await ctx.run_child(narrow, initial_state=bad)
            return found

    narrow = child_of("class", snapshot, state=Narrow)
    async with open_runtime([Parent, narrow], journal=journal) as runtime:
        assert await runtime.run(Parent) == [{"n": 1, "own": ["default"]}, {"n": 2, "own": []}]


@pytest.mark.rule("E1")
async def test_what_is_inherited_is_one_consistent_cut(journal: str) -> None:
    """Twenty children start while a branch changes two keys together: each child sees both at the same count."""

    class Cut(Workflow):
        async def start(self, data, ctx: Context):
            async with ctx.run_store.transaction() as tx:
                tx.set("a", 0)
                tx.push("b", 0)
            await ctx.schedule_next_step("writes")
            await ctx.schedule_many("call", range(20))

        async def writes(self, data, ctx: Context):
            for n in range(1, 60):
                async with ctx.run_store.transaction() as tx:
                    tx.set("a", n)
                    tx.push("b", n)

        async def call(self, data, ctx: Context):
            found = await ctx.run_child(look)
            assert found["b"] == list(range(found["a"] + 1))
            return found["a"]

    look = child_of("graph", snapshot)
    async with open_runtime([Cut, look], journal=journal) as runtime:
        outcome = await (await runtime.start(Cut)).wait()
    assert (outcome.status, outcome.error) == (RunStatus.COMPLETED, None)


# ------------------------------------------------------------------------------------------------ isolation


async def change_everything(data: object, ctx: Context) -> object:
    """Change each given key in its own way."""
    await ctx.run_store.push("log", "c")
    await ctx.run_store.increment("n", 4)
    await ctx.run_store.delete("none")
    await ctx.run_store.set("a.b", "changed")
    await ctx.run_store.set("new", 1)
    return await ctx.run_store.snapshot()


CHANGED = {"log": ["init", {"deep": [1]}, "c"], "n": 7, "a.b": "changed", "new": 1}


@STYLE
@pytest.mark.rule("E2")
async def test_a_parent_sees_nothing_of_its_childs_changes(style: str, journal: str) -> None:
    """Without `merge_state` the parent's state is what it was, while the child had its own."""
    parent = parent_of(style, child := child_of(style, change_everything))
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    assert found == {"out": CHANGED, "state": GIVEN}


@pytest.mark.rule("E2")
async def test_a_child_sees_nothing_of_what_happens_above_later(journal: str) -> None:
    """What a sibling writes to the parent's store while the child runs is not in the child's, and the other way."""
    inside, written = trio.Event(), trio.Event()

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "child")
        inside.set()
        await written.wait()
        return await ctx.run_store.get("log")

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("log", ["init"])
            await ctx.schedule_next_step("call")
            await ctx.schedule_next_step("writes")

        async def call(self, data, ctx: Context):
            await ctx.run_store.set("out", await ctx.run_child(child))

        async def writes(self, data, ctx: Context):
            await inside.wait()
            assert await ctx.run_store.get("log") == ["init"]
            await ctx.run_store.push("log", "parent")
            written.set()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    child = child_of("class", body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        assert await runtime.run(Parent) == {"log": ["init", "parent"], "out": ["init", "child"]}


@STYLE
@pytest.mark.rule("E2")
async def test_siblings_do_not_see_each_other(style: str, journal: str) -> None:
    """Children beside each other each have a state of their own, from the same cut."""
    barrier = [0]

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", data)
        barrier[0] += 1
        while barrier[0] < 3:
            await trio.lowlevel.checkpoint()
        return await ctx.run_store.get("log")

    flow = workflow("siblings").foreach(child := child_of(style, body), concurrency=None).commit()
    async with open_runtime([flow, child], journal=journal) as runtime:
        run = await runtime.start(flow, [1, 2, 3], initial_state={"log": ["init"]})
        outcome = await run.wait()
    assert outcome.output == [["init", n] for n in (1, 2, 3)]
    assert outcome.state == {"log": ["init"]}


# ------------------------------------------------------------------------------------------------ merge_state


@STYLE
@pytest.mark.rule("E2")
async def test_merging_brings_back_every_change_of_the_child(style: str, journal: str) -> None:
    """With `merge_state=True` pushes append, increments add, sets and deletes overwrite, new keys come."""
    parent = parent_of(style, child := child_of(style, change_everything), merge_state=True)
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    assert found == {"out": CHANGED, "state": CHANGED}


@STYLE
@pytest.mark.rule("E2")
@pytest.mark.parametrize("keys", [["log"], ["n", "new"], ("a.b", "none"), ["nothing"], []], ids=str)
async def test_merging_named_keys_brings_back_those_alone(style: str, keys: list[str], journal: str) -> None:
    """With a list of keys only those are changed; a key that the child never touched changes nothing."""
    parent = parent_of(style, child := child_of(style, change_everything), merge_state=keys)
    found = await run_parent(journal, parent, child, initial_state=GIVEN)
    expected = {key: value for key, value in GIVEN.items() if key not in keys}
    expected |= {key: value for key, value in CHANGED.items() if key in keys}
    assert found == {"out": CHANGED, "state": expected}


@STYLE
@pytest.mark.rule("E2")
async def test_what_was_inherited_does_not_come_back_twice(style: str, journal: str) -> None:
    """Parent `[init, a]`, the child pushes `c`: `[init, a, c]`, and a counter of 5 to which it adds 1 is 6."""

    async def prepare(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "a")
        return await ctx.run_store.increment("n", 2)

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "c")
        return await ctx.run_store.increment("n")

    parent = parent_of(style, child := child_of(style, body), prepare=prepare, merge_state=True)
    found = await run_parent(journal, parent, child, initial_state={"log": ["init"], "n": 3})
    assert found == {"out": 6, "state": {"log": ["init", "a", "c"], "n": 6}}


@STYLE
@pytest.mark.rule("E2")
@pytest.mark.parametrize("keys", [True, ["log", "n"]], ids=["all", "named"])
async def test_nothing_comes_back_twice_three_levels_deep(style: str, keys: object, journal: str) -> None:
    """Each of three levels pushes and increments before and after the one below it: all of it once, in order."""

    async def deepest(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "c")
        return await ctx.run_store.increment("n", 100)

    def adds(name: str, amount: int) -> Body:
        async def prepare(data: object, ctx: Context) -> object:
            await ctx.run_store.push("log", name)
            return await ctx.run_store.increment("n", amount)

        return prepare

    three = child_of(style, deepest, "three")
    two = parent_of(style, three, prepare=adds("b", 10), name="two", merge_state=keys)
    one = parent_of(style, two, prepare=adds("a", 1), name="one", merge_state=keys)
    async with open_runtime([one, two, three], journal=journal) as runtime:
        outcome = await (await runtime.start(one, initial_state={"log": ["init"], "n": 0})).wait()
    assert outcome.status is RunStatus.COMPLETED, outcome.error
    assert outcome.state == {"log": ["init", "a", "b", "c"], "n": 111}
    assert outcome.output["out"]["state"] == {"log": ["init", "a", "b", "c"], "n": 111}


MERGED: dict[str, tuple[object, Body, Body, object]] = {
    "push": (
        [1],
        lambda data, ctx: ctx.run_store.push("k", 2),
        lambda data, ctx: ctx.run_store.push("k", 3),
        [1, 2, 3],
    ),
    "extend": (
        [1],
        lambda data, ctx: ctx.run_store.push("k", 2),
        lambda data, ctx: ctx.run_store.extend("k", [3, 4]),
        [1, 2, 3, 4],
    ),
    "increment": (
        10,
        lambda data, ctx: ctx.run_store.increment("k", 5),
        lambda data, ctx: ctx.run_store.increment("k"),
        16,
    ),
    "decrement": (
        10,
        lambda data, ctx: ctx.run_store.increment("k", 5),
        lambda data, ctx: ctx.run_store.decrement("k", 2),
        13,
    ),
    "maximum": (
        1,
        lambda data, ctx: ctx.run_store.set("k", 9),
        lambda data, ctx: ctx.run_store.maximum("k", 5),
        9,
    ),
    "merge": (
        {"a": 1},
        lambda data, ctx: ctx.run_store.merge("k", {"b": 2}),
        lambda data, ctx: ctx.run_store.merge("k", {"c": 3}),
        {"a": 1, "b": 2, "c": 3},
    ),
    "set": (
        "old",
        lambda data, ctx: ctx.run_store.set("k", "sibling"),
        lambda data, ctx: ctx.run_store.set("k", "child"),
        "child",
    ),
    "set_state": (
        "old",
        lambda data, ctx: ctx.run_store.set("k", "sibling"),
        lambda data, ctx: ctx.set_state(k="child"),
        "child",
    ),
    "delete": (
        "old",
        lambda data, ctx: ctx.run_store.set("k", "sibling"),
        lambda data, ctx: ctx.run_store.delete("k"),
        None,
    ),
}


@pytest.mark.rule("E2")
@pytest.mark.parametrize("verb", MERGED)
async def test_changes_are_applied_to_what_the_parent_has_by_then(verb: str, journal: str) -> None:
    """A sibling changes the key while the child runs: the child's operation is applied to that, not to its own copy."""
    initial, beside, below, expected = MERGED[verb]
    inside, written = trio.Event(), trio.Event()

    async def body(data: object, ctx: Context) -> object:
        await below(data, ctx)
        inside.set()
        await written.wait()
        return None

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("call")
            await ctx.schedule_next_step("writes")

        async def call(self, data, ctx: Context):
            await ctx.run_child(child, merge_state=["k"])

        async def writes(self, data, ctx: Context):
            await inside.wait()
            await beside(data, ctx)
            written.set()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("k")

    child = child_of("class", body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        assert await runtime.run(Parent, initial_state={"k": initial}) == expected


@STYLE
@pytest.mark.rule("E2", "C9")
@pytest.mark.parametrize("schema", [None, Narrow], ids=["no schema", "schema"])
async def test_three_parallel_children_lose_nothing(style: str, schema: type | None, journal: str) -> None:
    """Three children that each push and increment twice, beside each other: three pushes each, and six."""
    barrier = [0]

    def child(name: str) -> Flow:
        async def body(data: object, ctx: Context) -> object:
            await ctx.run_store.push("own", name)
            await ctx.run_store.increment("n")
            barrier[0] += 1
            while barrier[0] < 3:
                await trio.lowlevel.checkpoint()
            await ctx.run_store.push("own", f"{name}!")
            return await ctx.run_store.increment("n")

        return child_of(style, body, name, state=schema)

    three = [child(name) for name in ("a", "b", "c")]

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(3))

        async def call(self, data, ctx: Context):
            await ctx.run_child(three[data], merge_state=True)

    graph = workflow("parent").parallel(three, merge_state=True).commit()
    flow = graph if style == "graph" else Parent
    async with open_runtime([flow, *three], journal=journal) as runtime:
        outcome = await (await runtime.start(flow, initial_state={"own": ["init"], "n": 10})).wait()
    assert outcome.status is RunStatus.COMPLETED, outcome.error
    assert outcome.state["n"] == 16
    assert outcome.state["own"][0] == "init"
    assert sorted(outcome.state["own"][1:]) == sorted(f"{name}{mark}" for name in "abc" for mark in ("", "!"))
    for name in "abc":
        assert outcome.state["own"].index(name) < outcome.state["own"].index(f"{name}!")


@pytest.mark.rule("E2")
async def test_a_hundred_children_of_a_foreach_lose_nothing(journal: str) -> None:
    """A `foreach` over a workflow, all at once, two increments and a push in each: 200 and 100."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.increment("n")
        await ctx.run_store.push("log", data)
        return await ctx.run_store.increment("n")

    flow = workflow("hundred").foreach(child_of("graph", body), concurrency=None, merge_state=["n", "log"]).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        outcome = await (await runtime.start(flow, list(range(100)))).wait()
    assert (outcome.state["n"], sorted(outcome.state["log"])) == (200, list(range(100)))


@pytest.mark.rule("E2")
async def test_a_loop_over_a_child_counts_in_the_parents_state(journal: str) -> None:
    """Each round inherits what the rounds before merged; the condition sees it and the loop ends."""
    seen = []

    async def body(data: object, ctx: Context) -> object:
        seen.append(await ctx.run_store.get("n"))
        return await ctx.run_store.increment("n")

    async def enough(data: object, ctx: Context) -> bool:
        return await ctx.run_store.get("n") >= 3

    flow = workflow("loop").do_until(child_of("class", body), enough, merge_state=True).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        outcome = await (await runtime.start(flow, initial_state={"n": 0})).wait()
    assert (outcome.output, outcome.state, seen) == (3, {"n": 3}, [0, 1, 2])


@pytest.mark.rule("E2", "B11")
async def test_a_merge_is_one_change(journal: str) -> None:
    """In the parent's history there is no moment at which only a part of a child's changes is there."""

    async def body(data: object, ctx: Context) -> object:
        for n in range(5):
            await ctx.run_store.push("log", n)
            await ctx.run_store.increment("n")
        async with ctx.run_store.transaction() as tx:
            tx.push("log", "t")
            tx.increment("n")
        return None

    class Parent(Workflow):
        keep_state = True

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(4))

        async def call(self, data, ctx: Context):
            await ctx.run_child(child, merge_state=True)

    child = child_of("class", body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        run = await runtime.start(Parent)
        outcome = await run.wait()
        history = await run.history()
        sizes = []
        for fact in history:
            state = await run.state_at(fact.seq)
            assert len(state.get("log", [])) == state.get("n", 0)
            sizes.append(state.get("n", 0))
    assert outcome.state["n"] == 24
    assert set(sizes) == {0, 6, 12, 18, 24}


@STYLE
@pytest.mark.rule("E2", "E3")
async def test_a_child_that_does_not_complete_merges_nothing(style: str, journal: str) -> None:
    """A failed child leaves the parent's state alone, whatever it had written before."""

    async def body(data: object, ctx: Context) -> object:
        await change_everything(data, ctx)
        raise ValueError("after all that")

    parent = parent_of(style, child := child_of(style, body), merge_state=True)
    async with open_runtime([parent, child], journal=journal) as runtime:
        outcome = await (await runtime.start(parent, initial_state=GIVEN)).wait()
    assert (outcome.status, outcome.state) == (RunStatus.FAILED, GIVEN)


@pytest.mark.rule("E2", "C13")
async def test_a_child_that_bails_has_completed(journal: str) -> None:
    """`bail` completes the child: what it wrote before is merged."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "c")
        await ctx.bail("bailed")

    parent = parent_of("class", child := child_of("class", body), merge_state=True)
    found = await run_parent(journal, parent, child, initial_state={"log": ["init"]})
    assert found == {"out": "bailed", "state": {"log": ["init", "c"]}}


@pytest.mark.rule("E2", "C11")
async def test_what_the_childs_completion_hook_writes_is_merged(journal: str) -> None:
    """The hook belongs to the child: its writes come back with the others."""

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("log", "step")

        async def on_workflow_complete(self, ctx: Context):
            await ctx.run_store.push("log", "hook")
            return "out"

    parent = parent_of("class", Child, merge_state=True)
    found = await run_parent(journal, parent, Child, initial_state={"log": ["init"]})
    assert found == {"out": "out", "state": {"log": ["init", "step", "hook"]}}


@pytest.mark.rule("E2")
async def test_an_initial_state_of_its_own_does_not_come_back(journal: str) -> None:
    """With `initial_state` and `merge_state` only what the child changed is applied, to the parent's own values."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "c")
        return await ctx.run_store.increment("n")

    child = child_of("class", body)
    parent = parent_of("class", child, merge_state=True, initial_state={"log": ["x", "y"], "n": 100, "only": 1})
    found = await run_parent(journal, parent, child, initial_state={"log": ["init"], "n": 1})
    assert found == {"out": 101, "state": {"log": ["init", "c"], "n": 2}}


@STYLE
@pytest.mark.rule("E2", "C3", "C5")
async def test_a_merge_counts_once_when_the_caller_is_retried(
    style: str, journal: str, autojump_clock: MockClock
) -> None:
    """The calling step fails after its child completed and runs again: one child, merged once."""
    passes: list[str] = []

    async def body(data: object, ctx: Context) -> object:
        passes.append("child")
        await ctx.run_store.push("log", "c")
        return await ctx.run_store.increment("n")

    class Parent(Workflow):
        @step(retry=Retry(attempts=3, jitter=0.0))
        async def start(self, data, ctx: Context):
            passes.append("caller")
            out = await ctx.run_child(child, merge_state=True)
            if ctx.attempt < 3:
                raise ValueError("after the child")
            return [out, await ctx.run_store.snapshot()]

    child = child_of(style, body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        run = await runtime.start(Parent, initial_state={"log": ["init"], "n": 0})
        assert await run.result() == [1, {"log": ["init", "c"], "n": 1}]
        assert len(await children(run)) == 1
    assert passes == ["caller", "child", "caller", "caller"]


def counted(style: str) -> tuple[Flow, list[Flow]]:
    """A parent with three children beside each other, which push, increment, retry, and write upwards."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", data)
        await ctx.parent_store.push("live", data)
        await ctx.root_store.increment("live_n")
        if ctx.attempt == 1:
            raise ValueError("once")
        return await ctx.run_store.increment("n")

    flaky = step(id="flaky", retry=Retry(attempts=2, delay=0.01, jitter=0.0))(body)
    child: Flow = workflow("child").then(flaky).commit()

    async def finish(data: object, ctx: Context) -> object:
        found = await ctx.run_store.snapshot()
        return {key: sorted(value) if isinstance(value, list) else value for key, value in found.items()}

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", [1, 2, 3])

        async def call(self, data, ctx: Context):
            await ctx.run_child(child, data, merge_state=True)

        async def on_workflow_complete(self, ctx: Context):
            return await finish(None, ctx)

    @step(id="begin")
    async def begin(data, ctx: Context):
        return [1, 2, 3]

    graph = workflow("parent").then(begin).foreach(child, concurrency=None, merge_state=True)
    graph = graph.then(step(id="finish")(finish)).commit()
    return (graph, [graph]) if style == "graph" else (Parent, [Parent, child])


@STYLE
@pytest.mark.rule("E2", "C3", "F4", "F6")
@pytest.mark.parametrize("fault", [Crash(), Crash(written=True)], ids=["crash", "crash-written"])
async def test_a_merge_counts_once_whichever_write_is_the_last(
    style: str, fault: Fault, autojump_clock: MockClock
) -> None:
    """The process dies in every single write, and the next one ends with the state of an undisturbed run."""
    flow, registered = counted(style)
    for n in range(1, 300):
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})
        expected = {"live": [1, 2, 3], "live_n": 3, "log": [0, 1, 2, 3], "n": 3}

        async def drive(opened: object) -> object:
            async with open_runtime(registered, journal=opened, shutdown_grace=1) as runtime:
                return await runtime.run(flow, run_id="r", initial_state={"log": [0]})

        with trio.fail_after(DAY_S), suppress(JournalError):
            assert await drive(journal) == expected
        with trio.fail_after(DAY_S):
            assert await drive(disk) == expected
        if not journal.failed:
            assert n > 10
            return
    pytest.fail("the writes never end")


# ------------------------------------------------------------------------------------------------ the stores above


@STYLE
@pytest.mark.rule("E2")
async def test_the_stores_above(style: str, journal: str) -> None:
    """At the root there is none above; a child's parent and root are the same; below that they are two."""
    seen: dict[str, object] = {}

    async def look(data: object, ctx: Context) -> object:
        for name, store in (("parent", ctx.parent_store), ("root", ctx.root_store)):
            seen[f"{ctx.workflow_id} {name}"] = None if store is None else await store.get("name")
        return data

    async def own_name(data: object, ctx: Context) -> object:
        await look(data, ctx)
        return await ctx.run_store.set("name", ctx.workflow_id)

    three = child_of(style, look, "three")
    two = parent_of(style, three, prepare=own_name, name="two")
    one = parent_of(style, two, prepare=own_name, name="one")
    async with open_runtime([one, two, three], journal=journal) as runtime:
        await runtime.run(one)
    assert seen == {
        "one parent": None,
        "one root": None,
        "two parent": "one",
        "two root": "one",
        "three parent": "two",
        "three root": "one",
    }


@STYLE
@pytest.mark.rule("E2", "A2")
async def test_writes_to_the_stores_above_are_there_at_once(style: str, journal: str) -> None:
    """A sibling in the parent sees what the child writes to `parent_store` while the child still runs."""
    answered = trio.Event()

    async def body(data: object, ctx: Context) -> object:
        replies = [await ctx.parent_store.push("log", "c"), await ctx.parent_store.increment("n", 2)]
        assert await ctx.run_store.snapshot() == {"log": ["init"]}
        await answered.wait()
        return replies

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("log", ["init"])
            await ctx.schedule_next_step("call")
            await ctx.schedule_next_step("waits")

        async def call(self, data, ctx: Context):
            await ctx.run_store.set("replies", await ctx.run_child(child))

        async def waits(self, data, ctx: Context):
            await ctx.run_store.wait_for("n", lambda value: value == 2)
            answered.set()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    child = child_of(style, body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        assert await runtime.run(Parent) == {"log": ["init", "c"], "n": 2, "replies": [2, 2]}


@STYLE
@pytest.mark.rule("E2", "C3", "D4")
async def test_writes_upwards_count_once_over_retry_and_suspension(style: str, autojump_clock: MockClock) -> None:
    """A step that writes to the stores above, suspends, fails and runs again is counted once there as well."""

    async def body(data: object, ctx: Context) -> object:
        replies = [await ctx.parent_store.increment("n"), await ctx.root_store.push("log", "c")]
        async with ctx.parent_store.transaction() as tx:
            tx.increment("t")
            tx.push("tl", 1)
        await ctx.suspend("q")
        if ctx.attempt == 1:
            raise ValueError("once")
        return replies

    flaky = step(id="flaky", retry=Retry(attempts=2, jitter=0.0))(body)

    class Child(Workflow):
        id = "child"

        @step(retry=Retry(attempts=2, jitter=0.0))
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    child = Child if style == "class" else workflow("child").then(flaky).commit()
    parent = parent_of(style, child)
    async with open_runtime([parent, child]) as runtime:
        run = await runtime.start(parent)
        await pause(run)
        assert await run.state() == {"n": 1, "log": ["c"], "t": 1, "tl": [1]}
        await run.resume()
        assert await run.result() == {"out": [1, 1], "state": {"n": 1, "log": ["c"], "t": 1, "tl": [1]}}


@pytest.mark.rule("E2", "B7")
async def test_a_hundred_grandchildren_write_to_the_root(journal: str) -> None:
    """A hundred runs two levels below increment and push at the root: nothing is lost and replies are 1 to 100."""
    replies = []

    async def body(data: object, ctx: Context) -> object:
        replies.append(await ctx.root_store.increment("n"))
        return await ctx.root_store.push("log", data)

    middle = workflow("middle").foreach(child_of("graph", body), concurrency=None).commit()

    class Root(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(10))

        async def call(self, data, ctx: Context):
            await ctx.run_child(middle, list(range(data * 10, data * 10 + 10)))

        async def on_workflow_complete(self, ctx: Context):
            return [await ctx.run_store.get("n"), sorted(await ctx.run_store.get("log"))]

    async with open_runtime([Root, middle], journal=journal) as runtime:
        assert await runtime.run(Root) == [100, list(range(100))]
    assert sorted(replies) == list(range(1, 101))


@pytest.mark.rule("E2", "B9", "A5")
async def test_writing_upwards_is_held_against_the_parents_schema(journal: str) -> None:
    """The store above is the parent's: its schema refuses, the caller gets the error, the value is unchanged."""

    async def body(data: object, ctx: Context) -> object:
        with pytest.raises(StateKeyError):
            await ctx.parent_store.set("unknown", 1)
        return await ctx.parent_store.increment("n")

    class Parent(Workflow):
        state = Narrow

        async def start(self, data, ctx: Context):
            return [await ctx.run_child(child), await ctx.run_store.snapshot()]

    child = child_of("class", body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        assert await runtime.run(Parent) == [1, {"n": 1, "own": ["default"]}]


@pytest.mark.rule("E2", "E3")
async def test_a_failed_child_keeps_what_it_wrote_upwards(journal: str) -> None:
    """What went to `parent_store` at once is the parent's, whatever becomes of the child."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.parent_store.push("log", "live")
        await ctx.run_store.push("log", "own")
        raise ValueError("on purpose")

    class Parent(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(RunFailed):
                await ctx.run_child(child, merge_state=True)
            return await ctx.run_store.get("log")

    child = child_of("graph", body)
    async with open_runtime([Parent, child], journal=journal) as runtime:
        assert await runtime.run(Parent) == ["live"]

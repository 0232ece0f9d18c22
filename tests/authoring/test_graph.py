"""From the verbs of a graph to its `Definition`, and everything that can be wrong with one."""

from __future__ import annotations

import inspect
import runpy
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import NamedTuple

import pytest
from attrs import define, evolve, field

from actorflow import (
    ALL,
    DRAIN,
    Context,
    Graph,
    Rate,
    Retry,
    Workflow,
    constant,
    first,
    from_input,
    from_state,
    from_step,
    step,
    tolerate,
    workflow,
)
from actorflow._authoring.builder import GraphBuilder
from actorflow._authoring.definition import BoundStep, Commit, Definition, Offload
from actorflow._authoring.schema import PLAIN
from actorflow._authoring.workflow import resolve
from actorflow._core.plan import LostUpdates, Node, NodeKind, StepPlan
from actorflow.errors import DefinitionError, InputError

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)


@define
class Order:
    total: int


@define
class Receipt:
    total: int
    paid: bool = True


@define
class Master:
    done: int = 0
    names: list[str] = field(factory=list)


@define
class Part:
    done: int = 0


@define
class Stray:
    other: int = 0


@step
async def load(data: Order, ctx: Context[Part]) -> Order:
    """Sees a part of the state."""
    return data


@step(retry=Retry(3), concurrency=2, rate=Rate(5), timeout=4.5, commit="on_success", resume=int, suspend=str)
async def charge(data: Order, ctx: Context) -> Receipt:
    """Has every option."""
    return Receipt(data.total)


@step
def crunch(data, ctx):
    """A plain function."""
    return "crunched"


@step
async def plain(data, ctx):
    """Declares nothing."""
    return data


@step
async def count(data: int, ctx) -> int:
    """From a number to a number."""
    return data + 1


@step
async def words(data: str, ctx) -> list[str]:
    """From text to a list."""
    return data.split()


class Child(Workflow):
    state = Master

    async def start(self, data: int, ctx) -> str:
        return str(data)


def is_big(data: Order, ctx) -> bool:
    """Typed."""
    return data.total > 10


async def is_odd(data, ctx):
    """Async."""
    return data["total"] % 2 == 1


def is_done(data, ctx):
    """Declares nothing."""
    return data == "done"


INNER = workflow("inner").then(count).commit()
"""Found under this name."""


def chain_of(builder: GraphBuilder) -> tuple[Node, ...]:
    """The links of the committed graph."""
    chain = resolve(builder.commit()).plan.chain
    assert chain is not None
    return chain


def steps_of(builder: GraphBuilder) -> Mapping[str, BoundStep]:
    """Its steps by id."""
    return resolve(builder.commit()).steps


async def call(bound: BoundStep, data: object = None, ctx: object = None) -> object:
    """What a pass of this step gives."""
    result = bound.invoke(data, ctx)
    return await result if inspect.isawaitable(result) else result


@define
class Clock:
    """The part of a context that durations use."""

    time: datetime = NOON

    def now(self) -> datetime:
        return self.time


# --- the definition


def test_the_plan_has_every_setting() -> None:
    """Id, version, policies, bounds, types and state arrive; a graph has no start."""
    graph = workflow(
        "full", input=Order, output=Receipt, state=Master, join=DRAIN, lost_updates="warn", version="2",
        max_live_steps=5, keep_state=True,
    ).then(charge).commit()  # fmt: skip
    definition = resolve(graph)
    plan = definition.plan
    assert (plan.workflow_id, plan.version, plan.join, plan.lost_updates) == ("full", "2", DRAIN, LostUpdates.WARN)
    assert (plan.max_live_steps, plan.keep_state, plan.hooks) == (5, True, frozenset())
    assert (definition.input.kind, definition.output.kind) == (Order, Receipt)
    assert definition.state is not None
    assert definition.state.kind is Master
    assert definition.target is graph
    assert set(definition.steps) == set(plan.steps) == {"charge"}
    assert plan.chain == (Node(kind=NodeKind.STEP, name="charge", steps=("charge",)),)


def test_the_defaults_are_those_of_the_class_style() -> None:
    """A graph that sets nothing fails with its first failed step."""
    definition = resolve(workflow("bare").then(plain).commit())
    plan = definition.plan
    assert (plan.version, plan.join, plan.lost_updates, plan.max_live_steps) == ("", ALL, LostUpdates.ERROR, 1000)
    assert (plan.keep_state, definition.state, definition.input, definition.output) == (False, None, PLAIN, PLAIN)
    assert (definition.events, definition.nested) == ({}, {})


def test_the_options_and_types_of_a_step_arrive() -> None:
    """As from a method of a class: options, annotations, its part of the state."""
    steps = steps_of(workflow("x", state=Master).then(load).then(charge).then(crunch))
    assert steps["charge"].plan == StepPlan(step_id="charge", retry=Retry(3), concurrency=2, rate=Rate(5))
    assert (steps["charge"].timeout, steps["charge"].commit) == (4.5, Commit.ON_SUCCESS)
    assert (steps["charge"].resume.kind, steps["charge"].suspend.kind) == (int, str)
    assert (steps["load"].payload.kind, steps["load"].output.kind) == (Order, Order)
    assert steps["crunch"].offload is Offload.THREAD
    kinds = {name: bound.state and bound.state.kind for name, bound in steps.items()}
    assert kinds == {"load": Part, "charge": Master, "crunch": Master}


async def test_a_step_is_called_with_data_and_context() -> None:
    """Without self; a plain function is called as it is."""
    steps = steps_of(workflow("x").then(charge).then(crunch))
    assert await call(steps["charge"], Order(3)) == Receipt(3)
    assert await call(steps["crunch"]) == "crunched"


def test_every_verb_has_its_node() -> None:
    """Kind, name, members, question and numbers of each link."""
    other = step(id="other")(takes_two)
    chain = chain_of(
        workflow("x")
        .then(plain)
        .parallel([plain, crunch], first(2))
        .branch([(is_odd, plain), (is_done, crunch)], other)
        .map(takes_two)
        .foreach(plain, concurrency=None, join=tolerate(count=1))
        .do_while(plain, is_done)
        .do_until(crunch, is_done)
        .map(is_done)
        .sleep("5 min")
        .sleep(timedelta(seconds=3))
        .sleep(is_done)
        .sleep_until(NOON)
        .sleep_until(is_done)
        .wait_for_event("approved", timeout="1 day")
        .wait_for_event("done")
    )
    assert chain == (
        Node(kind=NodeKind.STEP, name="plain", steps=("plain",)),
        Node(kind=NodeKind.PARALLEL, name="parallel(plain, crunch)", steps=("plain", "crunch"), join=first(2)),
        Node(
            kind=NodeKind.BRANCH, name="branch(plain, crunch, other)", steps=("plain", "crunch", "other"),
            question="_branch.3",
        ),
        Node(kind=NodeKind.STEP, name="map", steps=("_map.4",)),
        Node(kind=NodeKind.FOREACH, name="foreach(plain)", steps=("plain",), join=tolerate(count=1)),
        Node(kind=NodeKind.LOOP, name="do_while(plain)", steps=("plain",), question="_loop.6"),
        Node(kind=NodeKind.LOOP, name="do_until(crunch)", steps=("crunch",), question="_loop.7"),
        Node(kind=NodeKind.STEP, name="map", steps=("_map.8",)),
        Node(kind=NodeKind.SLEEP, name="sleep", steps=("_sleep.9",), delay_s=300),
        Node(kind=NodeKind.SLEEP, name="sleep", steps=("_sleep.10",), delay_s=3),
        Node(kind=NodeKind.SLEEP, name="sleep", steps=("_sleep.11",), question="_sleep.11.due"),
        Node(kind=NodeKind.SLEEP, name="sleep_until", steps=("_sleep.12",), due=NOON.timestamp()),
        Node(kind=NodeKind.SLEEP, name="sleep_until", steps=("_sleep.13",), question="_sleep.13.due"),
        Node(
            kind=NodeKind.EVENT, name="wait_for_event(approved)", steps=("_event.14",), event="approved",
            timeout_s=86_400,
        ),
        Node(kind=NodeKind.EVENT, name="wait_for_event(done)", steps=("_event.15",), event="done"),
    )  # fmt: skip


def test_groups_have_their_defaults() -> None:
    """One element at a time, and the first failure fails the group."""
    one, _, two = chain_of(workflow("x").parallel([plain]).then(plain).foreach(plain))
    assert (one.join, two.join, two.concurrency) == (ALL, ALL, 1)


def test_timers_and_waits_have_no_code() -> None:
    """The kernel completes them; questions and maps it runs."""
    steps = steps_of(workflow("x").sleep(1).sleep(is_done).wait_for_event("e", type=int).map(is_done))
    assert {name for name, bound in steps.items() if bound.plan.auto} == {"_sleep.1", "_sleep.2", "_event.3"}
    assert set(steps) == {"_sleep.1", "_sleep.2", "_sleep.2.due", "_event.3", "_map.4"}
    assert steps["_event.3"].output.kind is int


def test_a_builder_is_never_changed() -> None:
    """Two graphs may go on from one beginning."""
    begin = workflow("x").then(plain)
    one, two = begin.then(count), begin.then(crunch).on_error(lambda error, ctx: None)
    assert [node.name for node in chain_of(begin)] == ["plain"]
    assert [node.name for node in chain_of(one)] == ["plain", "count"]
    assert [node.name for node in chain_of(two)] == ["plain", "crunch"]
    assert resolve(one.commit()).plan.hooks == frozenset()


def test_a_step_may_stand_twice() -> None:
    """It has one entry, and two links."""
    definition = resolve(workflow("x").then(plain).then(plain).commit())
    assert definition.plan.chain is not None
    assert [node.steps for node in definition.plan.chain] == [("plain",), ("plain",)]
    assert set(definition.steps) == {"plain"}


def test_a_graph_tells_what_it_is() -> None:
    """It shows its chain, cannot be changed, and says of an uncommitted one that it is none."""
    graph = workflow("shop").then(plain).parallel([count, crunch]).commit()
    assert repr(graph) == "<Graph 'shop': plain → parallel(count, crunch)>"
    assert graph.id == "shop"
    with pytest.raises(AttributeError):
        graph.id = "other"
    assert repr(workflow("shop").then(plain)) == "<workflow('shop').then(…), not committed>"


def test_the_source_is_found_by_the_name_in_the_module(tmp_path: Path) -> None:
    """Module-level names only; a graph made in a function has none."""
    assert resolve(INNER).source == f"{__file__}:INNER"
    assert resolve(INNER) is resolve(INNER)
    assert resolve(workflow("local").then(plain).commit()).source == ""
    file = tmp_path / "flows.py"
    file.write_text(
        "from actorflow import step, workflow\n"
        "@step\n"
        "async def one(data, ctx): ...\n"
        "inner = workflow('inner').then(one).commit()\n"
        "outer = workflow('outer').then(inner).commit()\n"
    )
    found = runpy.run_path(str(file))
    assert resolve(found["outer"]).source == f"{file}:outer"
    assert resolve(found["outer"]).nested["inner"].source == f"{file}:inner"


# --- types of input and output


@pytest.mark.parametrize(
    ("builder", "kind"),
    [
        (workflow("x").then(charge), Order),
        (workflow("x").then(INNER), int),
        (workflow("x").do_while(count, is_done), int),
        (workflow("x").map(is_big), Order),
        (workflow("x", input=Receipt).then(charge), Receipt),
        (workflow("x").foreach(charge), None),
        (workflow("x").then(plain).then(charge), None),
        (workflow("x").sleep(1).then(charge), None),
    ],
)
def test_the_input_is_typed_by_the_option_or_the_first_step(builder: GraphBuilder, kind: object) -> None:
    """So that `start()` itself refuses what does not fit."""
    assert resolve(builder.commit()).input.kind is kind


@pytest.mark.parametrize(
    ("builder", "kind"),
    [
        (workflow("x").then(charge), Receipt),
        (workflow("x").then(Child), str),
        (workflow("x").then(INNER), int),
        (workflow("x").foreach(charge), list[Receipt]),
        (workflow("x").foreach(charge, join=tolerate(count=1)), None),
        (workflow("x").foreach(plain), None),
        (workflow("x").parallel([charge]), None),
        (workflow("x").do_while(count, is_done), int),
        (workflow("x").map(is_big), bool),
        (workflow("x").then(charge).sleep(1), Receipt),
        (workflow("x").then(charge).map({}), None),
        (workflow("x").wait_for_event("e", type=int), int),
        (workflow("x", output=Order).then(charge), Order),
    ],
)
def test_the_output_is_typed_by_the_option_or_the_last_link(builder: GraphBuilder, kind: object) -> None:
    """Lists of a `foreach` are lists of what its step declares, unless failures may stand among them."""
    assert resolve(builder.commit()).output.kind == kind


def test_a_declared_output_is_enforced() -> None:
    """By a step of the graph's own, unless the last one declares the very same type."""
    checked = resolve(workflow("x", output=Receipt).then(plain).commit())
    assert checked.plan.chain is not None
    assert checked.plan.chain[-1] == Node(kind=NodeKind.STEP, name="output", steps=("_output",))
    assert checked.steps["_output"].output.kind is Receipt
    assert "_output" not in steps_of(workflow("x", output=Receipt).then(charge))
    assert "_output" not in steps_of(workflow("x", output=list[Receipt]).foreach(charge))
    assert "_output" in steps_of(workflow("x", output=list[Receipt]).foreach(charge, join=tolerate(count=1)))
    assert "_output" in steps_of(workflow("x", output=dict[str, int]).parallel([count]))


async def test_a_completion_hook_gives_the_output() -> None:
    """What it gives is held to the declared output; the chain's is then only held to it if the hook gives none."""

    async def summarise(ctx) -> Receipt:
        return Receipt(1)

    async def unsaid(ctx):
        return None

    async def silent(ctx) -> None:
        return None

    async def perhaps(ctx) -> int | None:
        return 1

    begin = workflow("x", output=Receipt).then(plain)
    assert set(steps_of(begin.on_complete(summarise))) == {"plain", "on_workflow_complete"}
    assert set(steps_of(begin.on_complete(unsaid))) == {"plain", "on_workflow_complete"}
    assert set(steps_of(begin.on_complete(silent))) == {"plain", "_output", "on_workflow_complete"}
    assert steps_of(begin.on_complete(unsaid))["on_workflow_complete"].output.kind is Receipt
    assert resolve(workflow("x").then(words).on_complete(summarise).commit()).output.kind is Receipt
    either = resolve(workflow("x").then(words).on_complete(perhaps).commit()).output
    assert [either.unstructure(value, "x") for value in (1, ["a"])] == ["1", '["a"]']


async def test_the_output_step_passes_its_data_on() -> None:
    """The type does the rest."""
    bound = steps_of(workflow("x", output=Receipt).then(plain))["_output"]
    assert bound.output.unstructure(await call(bound, {"total": 1}), "x") == '{"total":1,"paid":true}'


# --- hooks


async def test_hooks_are_called_like_those_of_a_class() -> None:
    """The completion hook with the context alone; sync and async."""
    steps = steps_of(
        workflow("x")
        .then(plain)
        .on_complete(lambda ctx: ("complete", ctx))
        .on_error(lambda error, ctx: (error, ctx))
        .on_cancel(call_back)
    )
    assert await call(steps["on_workflow_complete"], None, "ctx") == ("complete", "ctx")
    assert await call(steps["on_workflow_error"], "error", "ctx") == ("error", "ctx")
    assert await call(steps["on_workflow_cancel"], "reason", "ctx") == ("reason", "ctx")
    assert resolve(workflow("x").then(plain).on_cancel(call_back).commit()).plan.hooks == {"on_workflow_cancel"}


async def call_back(reason, ctx):
    """A hook of two arguments."""
    return reason, ctx


# --- questions


@pytest.mark.parametrize(
    ("first_match", "total", "chosen"),
    [(False, 12, [0]), (False, 13, [0, 1]), (False, 3, [1]), (False, 2, [2]), (True, 13, [0]), (True, 3, [1])],
)
async def test_a_branch_asks_its_conditions(first_match: bool, total: int, chosen: list[int]) -> None:
    """All that hold, or the first; the index of `otherwise` if none does. Typed and plain, sync and async."""
    builder = workflow("x").branch([(is_big, plain), (is_odd, crunch)], count, first_match=first_match)
    assert await call(steps_of(builder)["_branch.1"], {"total": total}) == chosen


async def test_a_branch_may_choose_nothing() -> None:
    """Without `otherwise`, no condition that holds means no branch."""
    assert await call(steps_of(workflow("x").branch([(is_done, plain)]))["_branch.1"], 1) == []


async def test_conditions_do_not_see_what_another_one_does_to_the_data() -> None:
    """Each has a copy of its own, and its type says what it gets."""

    def spoil(data, ctx):
        data.clear()
        return True

    builder = workflow("x").branch([(spoil, plain), (is_big, crunch)])
    assert await call(steps_of(builder)["_branch.1"], {"total": 11}) == [0, 1]
    with pytest.raises(InputError, match="data of the condition is_big"):
        await call(steps_of(workflow("x").branch([(is_big, plain)]))["_branch.1"], {"total": "much"})


async def test_first_match_asks_no_further() -> None:
    """A condition behind the first that holds is not evaluated."""

    def never(data, ctx):
        raise AssertionError("asked")

    builder = workflow("x").branch([(lambda data, ctx: True, plain), (never, crunch)], first_match=True)
    assert await call(steps_of(builder)["_branch.1"]) == [0]


@pytest.mark.parametrize(("data", "done"), [("done", True), ("more", False)])
async def test_a_loop_asks_whether_to_go_on(data: str, done: bool) -> None:
    """`do_while` as long as the condition holds, `do_until` as long as it does not."""
    steps = steps_of(workflow("x").do_while(plain, is_done).do_until(plain, is_done))
    assert await call(steps["_loop.1"], data) is done
    assert await call(steps["_loop.2"], data) is not done


async def test_functions_declare_the_data_that_they_get() -> None:
    """An annotation of a condition, a map or a duration is as good as that of a step."""

    def later(data: Order, ctx: Context[Part]) -> int:
        return data.total

    builder = workflow("x", state=Master).map(is_big).map(is_odd).do_while(plain, is_big).sleep(later)
    steps = steps_of(builder)
    assert [steps[name].payload.kind for name in ("_map.1", "_map.2", "_loop.3", "_sleep.4.due")] == [
        Order, None, Order, Order,
    ]  # fmt: skip
    state = steps["_sleep.4.due"].state
    assert state is not None
    assert state.kind is Part
    assert await call(steps["_map.1"], Order(20)) is True
    assert await call(steps["_map.2"], {"total": 3}) is True


@pytest.mark.parametrize(
    ("found", "seconds"), [(30, 30), ("2 hr", 7200), (timedelta(minutes=1), 60), (0, 0), (1.5, 1.5)]
)
async def test_a_function_gives_a_duration(found: object, seconds: float) -> None:
    """In any form of a delay, counted from the run's clock."""
    due = steps_of(workflow("x").sleep(lambda data, ctx: found))["_sleep.1.due"]
    assert await call(due, None, Clock()) == NOON.timestamp() + seconds


@pytest.mark.parametrize(("hours", "due"), [(1, 3600), (-1, 0)])
async def test_a_function_gives_a_moment(hours: int, due: float) -> None:
    """Aware; a past one is now."""

    async def moment(data, ctx):
        return NOON + timedelta(hours=hours)

    question = steps_of(workflow("x").sleep_until(moment))["_sleep.1.due"]
    assert await call(question, None, Clock()) == NOON.timestamp() + due


@pytest.mark.parametrize("found", [None, "soon", -1, True])
@pytest.mark.parametrize("verb", ["sleep", "sleep_until"])
async def test_a_bad_time_is_an_input_error(verb: str, found: object) -> None:
    """Whatever a function gives that is no time."""
    builder: GraphBuilder = getattr(workflow("x"), verb)(lambda data, ctx: found)
    with pytest.raises(InputError):
        await call(steps_of(builder)["_sleep.1.due"], None, Clock())


# --- workflows as steps


async def test_a_workflow_is_a_step() -> None:
    """Classes and graphs, in every place; the step runs it as a child."""

    class Caller:
        async def run_child(self, target: object, data: object, *, merge_state: object) -> object:
            return target, data, merge_state

    definition = resolve(
        workflow("x")
        .then(Child, merge_state=["names", "done"])
        .then(plain)
        .parallel([INNER, plain], merge_state=True)
        .commit()
    )
    child, inner = definition.steps["Child"], definition.steps["inner"]
    assert child.plan == StepPlan(step_id="Child", nested="Child")
    assert inner.plan == StepPlan(step_id="inner", nested="inner")
    assert await call(child, 5, Caller()) == (Child, 5, ("done", "names"))
    assert await call(inner, 5, Caller()) == (INNER, 5, True)
    assert (child.payload, child.output.kind) == (PLAIN, str)
    assert definition.nested == {"Child": resolve(Child), "inner": resolve(INNER)}


def test_the_same_workflow_twice_has_one_merge_state() -> None:
    """The order of the keys does not matter, and none at all is False."""
    begin = workflow("x")
    begin.then(Child, merge_state=["names", "done"]).then(plain).then(Child, merge_state={"done", "names"}).commit()
    begin.foreach(Child, merge_state=[]).then(plain).then(Child).commit()


def test_nested_definitions_hold_their_own() -> None:
    """A runtime that knows the outermost reaches every one."""
    middle = workflow("middle").foreach(INNER).commit()
    outer = resolve(workflow("outer").then(plain).then(middle).commit())
    assert set(outer.nested) == {"middle"}
    assert set(outer.nested["middle"].nested) == {"inner"}


def test_a_class_definition_says_its_input_too() -> None:
    """Both styles give the type of the run's input."""
    assert resolve(Child).input.kind is int


# --- events


def test_events_have_types() -> None:
    """By name, for `send_event` to check; the same type twice is fine."""
    builder = workflow("x").wait_for_event("a", type=Order).wait_for_event("b").wait_for_event("a", type=Order)
    events = resolve(builder.wait_for_event("a").commit()).events
    assert {name: schema.kind for name, schema in events.items()} == {"a": Order}
    late = resolve(workflow("x").wait_for_event("a").wait_for_event("a", type=Order).commit()).events
    assert late["a"].kind is Order


# --- findings


def findings_of(builder: GraphBuilder) -> list[str]:
    """The texts of the error, each without its place, which must be in this file."""
    with pytest.raises(DefinitionError) as caught:
        builder.commit()
    for finding in caught.value.findings:
        file, line, _ = finding.split(":", 2)
        assert file == __file__
        assert line.isdecimal()
        assert finding in str(caught.value)
    return [finding.split(": ", 1)[1] for finding in caught.value.findings]


def not_a_step(data, ctx):
    """Without @step."""
    return data


@step(id="plain")
async def namesake(data, ctx):
    """Has another step's id."""
    return data


@step
async def start(data, ctx):
    """Has a reserved id."""
    return data


@step
async def _hidden(data, ctx):
    return data


@step
async def on_workflow_error(data, ctx):
    """Has a hook's id."""
    return data


@step
async def needs_self(self, data, ctx):
    """A method outside of its class."""
    return data


@step
async def stray(data, ctx: Context[Stray]):
    """Another state."""
    return data


@step
async def unreadable(data: complex, ctx):
    """A type that JSON cannot carry."""
    return data


class Broken(Workflow):
    async def other(self, data, ctx): ...


class Named(Workflow):
    id = "_named"

    async def start(self, data, ctx): ...


class Hooked(Workflow):
    id = "on_workflow_cancel"

    async def start(self, data, ctx): ...


async def generator(data, ctx):
    """Gives no result."""
    yield data


def takes_one(data):
    """Takes too little."""
    return data


X = workflow("x", state=Master)
CASES: list[tuple[str, Callable[[], GraphBuilder], list[str]]] = [
    ("empty", lambda: workflow("x"), ["workflow: the graph is empty; give it a step with .then(step)"]),
    (
        "settings",
        lambda: workflow(
            "",
            input=complex,
            output=complex,
            state=int,
            join="all",
            lost_updates="never",
            version=2,
            max_live_steps=0,
            keep_state=1,
        ).then(plain),
        [
            "workflow: id=''",
            "workflow: state=<class 'int'>",
            "workflow: join = 'all'",
            "workflow: lost_updates = ",
            "workflow: version = 2",
            "workflow: max_live_steps = 0",
            "workflow: keep_state = 1",
            "workflow: input: ",
            "workflow: output: ",
        ],
    ),
    ("an id that is no text", lambda: workflow(5).then(plain), ["workflow: id=5 is a int"]),
    ("first of a run", lambda: workflow("x", join=first(2)).then(plain), ["workflow: join = first(2) is for groups"]),
    ("a function", lambda: X.then(not_a_step), [".then: not_a_step is a plain function; put @step on it"]),
    ("an instance", lambda: X.then(Child()), ["it is an instance; give the class Child itself"]),
    ("a builder", lambda: X.then(workflow("y").then(plain)), ["not committed> is no step and no workflow: it is a"]),
    ("nothing", lambda: X.foreach(None), [".foreach: None is no step and no workflow"]),
    ("a number in a group", lambda: X.parallel([plain, 3]), [".parallel: 3 is no step and no workflow"]),
    ("a broken class", lambda: X.then(Broken), ["Broken has no start"]),
    ("a private workflow", lambda: X.then(Named), [".then: the workflow '_named' is a step here, and its id starts"]),
    ("a workflow called a hook", lambda: X.then(Hooked), ["its id is that of a hook"]),
    ("twice in a group", lambda: X.parallel([plain, crunch, plain]), [".parallel: two members of the group"]),
    ("twice in a branch", lambda: X.branch([(is_done, plain)], plain), [".branch: two members of the group"]),
    ("one id for two", lambda: X.then(plain).then(namesake), [".then: the step at "]),
    ("start", lambda: X.then(start), ["step 'start': the id 'start' is that of a class's first step"]),
    ("a private step", lambda: X.then(_hidden), ["step '_hidden': id='_hidden' starts with an underscore"]),
    ("a step called a hook", lambda: X.then(on_workflow_error), ["is the name of a hook"]),
    ("a method", lambda: X.then(needs_self), ["needs_self(self, data, ctx) cannot be called with (data, ctx)"]),
    ("another state", lambda: X.then(stray), ["Stray.other is not in the state Master"]),
    ("no data", lambda: X.then(unreadable), ["step 'unreadable': data: complex"]),
    ("concurrency", lambda: X.foreach(plain, concurrency=0), [".foreach: concurrency=0"]),
    ("no concurrency", lambda: X.foreach(plain, concurrency=True), [".foreach: concurrency=True"]),
    ("join", lambda: X.parallel([plain], 3), [".parallel: join=3: give ALL, DRAIN, first(k) or"]),
    ("first of too many", lambda: X.parallel([plain, crunch], first(3)), [".parallel: first(3) of 2 steps can never"]),
    ("join of foreach", lambda: X.foreach(plain, join="all"), [".foreach: join='all'"]),
    ("no parallel", lambda: X.parallel([]), [".parallel: the list of steps is empty"]),
    (
        "no list",
        lambda: X.parallel(plain),
        [
            ".parallel: Step(",
        ],
    ),
    ("a set", lambda: X.parallel({plain}), ["is no list of steps; write [a, b, …]"]),
    ("no branch", lambda: X.branch([]), [".branch: the list of branches is empty"]),
    ("no pairs", lambda: X.branch({is_done: plain}), ["is no list of pairs"]),
    ("no pair", lambda: X.branch([plain]), ["is no pair; write (condition, step)"]),
    ("no condition", lambda: X.branch([(True, plain)]), [".branch: condition: True is no function"]),
    ("first_match", lambda: X.branch([(is_done, plain)], None, "yes"), [".branch: first_match='yes'"]),
    ("one argument", lambda: X.do_while(plain, takes_one), ["takes_one(data) cannot be called with (data, ctx)"]),
    ("a generator", lambda: X.map(generator), [".map: generator is an async generator"]),
    ("no function", lambda: X.do_until(plain, 3), [".do_until: condition: 3 is no function"]),
    ("states of conditions", lambda: X.branch([(sees_part, plain), (sees_master, crunch)]), ["share one context"]),
    ("no map", lambda: X.map(3), [".map: 3 is no function and no mapping"]),
    ("no source", lambda: X.map({"a": 1}), [".map: a: 1 says no source"]),
    ("no name", lambda: X.map({1: constant(1)}), [".map: the name 1 is a int"]),
    ("from nowhere", lambda: X.then(plain).map({"a": from_step("plan")}), ["from_step('plan'): no such step stands"]),
    ("from later", lambda: X.map({"a": from_step(plain)}).then(plain), ["before it in the chain, where there is 'no"]),
    ("from itself", lambda: X.map(takes_two).map({"a": from_step("_map.1")}), ["from_step('_map.1'): no such step"]),
    ("path", lambda: X.map({"a": from_input("a..b")}), [".map: a: from_input('a..b'): the path 'a..b' is not"]),
    ("no key", lambda: X.map({"a": from_state("x")}), ["from_state('x'): the state Master has no such key"]),
    ("empty key", lambda: X.map({"a": from_state("")}), ["from_state(''): give a key"]),
    ("no JSON", lambda: X.map({"a": constant({1})}), ["constant({1}): at $: {1} is a set"]),
    (
        "duration",
        lambda: X.sleep("soon").sleep(-1),
        [".sleep: duration 'soon' is not", ".sleep: duration -1 is outside"],
    ),
    ("naive", lambda: X.sleep_until(NOON.replace(tzinfo=None)), ["has no time zone; give an aware datetime"]),
    ("no moment", lambda: X.sleep_until("noon"), [".sleep_until: at='noon' is a str"]),
    ("event name", lambda: X.wait_for_event("").wait_for_event("\ud800"), [".wait_for_event: the name"] * 2),
    ("timeout", lambda: X.wait_for_event("e", timeout="x"), [".wait_for_event: timeout 'x' is not understood"]),
    ("event type", lambda: X.wait_for_event("e", type=complex), [".wait_for_event: type: complex"]),
    (
        "two event types",
        lambda: X.wait_for_event("e", type=int).wait_for_event("e", type=str),
        [".wait_for_event: the data of the event 'e' is str here, but int at "],
    ),
    ("merge_state of steps", lambda: X.then(plain, merge_state=True), ["there is no workflow; leave it out"]),
    ("merge_state", lambda: X.then(Child, merge_state="done"), [".then: merge_state='done': give ['done']"]),
    (
        "merged keys",
        lambda: X.foreach(Child, merge_state=["", 3, "done"]),
        ["merge_state has ''", "merge_state has ''", "merge_state has 3"],
    ),
    (
        "no key of the state",
        lambda: X.then(Child, merge_state=["x"]),
        ["merge_state has 'x', which is no key of the state M"],
    ),
    (
        "two merge_states",
        lambda: X.then(Child).then(count).then(Child, merge_state=True),
        [".then: count gets the output of Child", "Child has another merge_state at "],
    ),
    ("a hook twice", lambda: X.then(plain).on_cancel(call_back).on_cancel(call_back), [".on_cancel: there is one"]),
    ("no hook", lambda: X.then(plain).on_error(3), [".on_error: 3 is no function; give one that takes (error, ctx)"]),
    ("a hook of one", lambda: X.then(plain).on_complete(call_back), ["cannot be called with (ctx); write it so"]),
    (
        "a step as hook",
        lambda: X.then(plain).on_error(plain),
        [".on_error: plain is a step, and a hook takes no @step"],
    ),
    (
        "text for int",
        lambda: X.then(words).foreach(count),
        ["count gets the output of words, which is list[str], but wants list[int]"],
    ),
    ("int for text", lambda: X.then(count).then(words), ["words gets the output of count, which is int (an integer)"]),
    ("input", lambda: workflow("x", input=str).then(count), [".then: count gets the input, which is str (text)"]),
    ("output", lambda: workflow("x", output=int).then(words), ["the output of the workflow gets its output, which is"]),
    (
        "no list to go over",
        lambda: X.then(count).sleep(1).foreach(plain),
        ["which is int (an integer), but wants list"],
    ),
    ("a group's object", lambda: X.parallel([plain]).then(count), ["which is dict (an object), but wants int"]),
    ("a list's items", lambda: X.then(words).foreach(plain).then(count), ["which is list (a list), but wants int"]),
    ("its own output", lambda: X.do_while(words, takes_two), [".do_while: words gets its own output, which is list"]),
    ("its condition", lambda: X.do_while(count, is_big), ["the condition gets its own output, which is int"]),
    (
        "an event",
        lambda: X.wait_for_event("e", type=str).then(count),
        ["the output of wait_for_event(e), which is str"],
    ),
]


def takes_two(data, ctx):
    """Takes what it should."""
    return data


def sees_part(data, ctx: Context[Part]):
    """One state."""
    return True


def sees_master(data, ctx: Context[Master]):
    """Another."""
    return True


@pytest.mark.parametrize(("build", "texts"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_findings(build: Callable[[], GraphBuilder], texts: list[str]) -> None:
    """Each fault is told, with what to do about it, at the line of the verb; nothing raises before `commit`."""
    found = sorted(findings_of(build()))
    assert len(found) == len(texts), found
    left = list(found)
    for text in texts:
        match = next((one for one in left if text in one), None)
        assert match is not None, (text, left)
        left.remove(match)


def test_all_findings_come_at_once_each_with_its_line() -> None:
    """A chain over several lines names the line of each verb."""
    here = inspect.currentframe()
    assert here is not None
    line = here.f_lineno
    # fmt: off
    builder = (
        workflow("x", version=2)
        .then(not_a_step)
        .sleep("soon")
        .on_error(
            3
        )
    )
    # fmt: on
    with pytest.raises(DefinitionError, match=r"workflow\('x'\) cannot run, 4 findings:") as caught:
        builder.commit()
    lines = [int(finding.split(":")[1]) - line for finding in caught.value.findings]
    assert lines == [3, 4, 5, 6]


def test_what_may_fit_is_no_finding() -> None:
    """Only types that can never fit are: an int for a float, unions, objects and enums are left to the run."""

    class Colour(Enum):
        RED = "red"

    class Pair(NamedTuple):
        left: int
        right: int

    @step
    async def gives_text(data, ctx) -> str:
        return "red"

    @step
    async def takes_colour(data: Colour, ctx) -> int:
        return 1

    @step
    async def takes_float(data: float, ctx) -> dict[str, int]:
        return {}

    @step
    async def takes_order(data: Order, ctx) -> list[int]:
        return []

    @step
    async def takes_pair(data: Pair, ctx) -> int | None:
        return None

    names = [node.name for node in chain_of(
        workflow("x").then(gives_text).then(takes_colour).then(takes_float).then(takes_order).then(takes_pair)
        .then(count)
    )]  # fmt: skip
    assert names == ["gives_text", "takes_colour", "takes_float", "takes_order", "takes_pair", "count"]


def test_a_builder_is_no_workflow() -> None:
    """Whoever forgets `.commit()` is told."""
    with pytest.raises(DefinitionError, match=r"it is a graph that is not committed; call \.commit\(\)"):
        resolve(workflow("x").then(plain))


def test_local_types_can_be_named() -> None:
    """With postponed annotations, conditions and maps find the names of the function around them."""

    @define
    class Local:
        n: int

    def shape(data: Local, ctx) -> Local:
        return data

    definition: Definition = resolve(workflow("x").map(shape).do_while(plain, shape).commit())
    assert definition.steps["_map.1"].payload.kind is Local
    assert definition.input.kind is Local
    assert evolve(definition, source="").output is PLAIN


def test_a_graph_is_given_where_a_type_is_asked() -> None:
    """The public name is that of what `commit()` gives."""
    assert isinstance(INNER, Graph)

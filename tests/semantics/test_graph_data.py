"""Typed data and state in graphs: what fits arrives as its type, what does not is named with its path.

What lives here: annotations and options of steps and graphs as schemas, the run's state under a schema, and
`set_state` from parallel branches. What does not: the same in the class style (`test_typed_data.py`,
`test_store_schema.py`, `test_lost_update.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum
from typing import Literal, NotRequired, TypedDict
from uuid import UUID

import pytest
import trio
from attrs import define, field, frozen
from trio.testing import MockClock

from actorflow import (
    Context,
    DefinitionError,
    InputError,
    LostUpdate,
    Retry,
    RunNotFound,
    RunStatus,
    StateKeyError,
    StateTypeError,
    constant,
    from_input,
    from_state,
    from_step,
    step,
    workflow,
)
from tests.semantics.graph_flows import (
    adding,
    cut_off,
    failing,
    giving,
    kind,
    kinds,
    opened,
    output_of,
    records,
    settle,
    taken_up,
)


class Colour(Enum):
    """An enum whose values are JSON."""

    RED = "red"
    BLUE = "blue"


@frozen
class Message:
    """The input of the graphs here."""

    text: str
    priority: int = 0


@frozen
class Formatted:
    """What the middle steps hand on."""

    text: str


@frozen
class Summary:
    """The output of the graphs here."""

    lines: list[Formatted]
    total: int


@dataclass
class Point:
    """A dataclass in data."""

    x: int
    tags: list[str] = dataclass_field(default_factory=list)


class Card(TypedDict):
    """A typed dictionary in data."""

    title: str
    pages: NotRequired[int]


@frozen
class Circle:
    """One arm of a union."""

    radius: float


@frozen
class Square:
    """Another arm of a union, told apart by its field."""

    side: float


@frozen
class Rich:
    """Types that JSON does not have, side by side."""

    colour: Colour
    at: datetime
    uid: UUID
    amount: Decimal
    mode: Literal["fast", "slow"]
    pair: tuple[int, str]
    maybe: Message | None
    shape: Circle | Square
    points: dict[str, Point]


@define
class Progress:
    """The master state schema."""

    processed_items: list[str] = field(factory=list)
    shared_counter: int = 0
    colour: Colour = Colour.RED
    message: Message | None = None


@define
class CounterOnly:
    """A part of it, for steps that need no more."""

    shared_counter: int = 0


@define
class Needs:
    """A state schema with a required field."""

    owner: str
    n: int = 0


RICH = Rich(
    Colour.BLUE,
    datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC),
    UUID("12345678-1234-5678-1234-567812345678"),
    Decimal("10.50"),
    "slow",
    (1, "one"),
    Message("hi", 2),
    Square(2.5),
    {"a": Point(1, ["t"]), "b": Point(2)},
)


@step
async def shout(message: Message, ctx: Context[Progress]) -> Formatted:
    """Typed in and out, with the state typed too."""
    assert type(message) is Message
    assert type(ctx.state) is Progress
    await ctx.run_store.push("processed_items", message.text)
    await ctx.set_state(shared_counter=ctx.state.shared_counter + 1)
    return Formatted(message.text.upper())


@step
async def summarise(line: Formatted, ctx: Context[Progress]) -> Summary:
    """What ends the graphs here."""
    assert type(line) is Formatted
    return Summary([line], ctx.state.shared_counter)


FORMAT = workflow("format", input=Message, output=Summary, state=Progress).then(shout).then(summarise).commit()


# ------------------------------------------------------------------------------------------------ data


@pytest.mark.rule("B2")
@pytest.mark.parametrize("data", [Message("hello"), {"text": "hello"}], ids=["instance", "json"])
async def test_a_typed_graph(data: object, journal: str, autojump_clock: MockClock) -> None:
    """Instances or JSON go in, instances reach the steps and come out, and the final state is JSON."""
    async with opened([FORMAT], journal=journal) as runtime:
        run = await runtime.start(FORMAT, data, initial_state=Progress(shared_counter=1))
        assert await run.result() == Summary([Formatted("HELLO")], 2)
        outcome = await run.wait()
    assert outcome.output == Summary([Formatted("HELLO")], 2)
    assert outcome.state == {"processed_items": ["hello"], "shared_counter": 2, "colour": "red", "message": None}
    assert [record.output for record in outcome.steps] == [
        {"text": "HELLO"},
        {"lines": [{"text": "HELLO"}], "total": 2},
    ]


async def test_output_is_typed_after_reopening(sqlite_url: str, autojump_clock: MockClock) -> None:
    """The output of a run that ended in an earlier runtime is typed all the same."""
    async with opened([FORMAT], journal=sqlite_url) as runtime:
        await runtime.run(FORMAT, Message("a"), run_id="r")
    async with opened([FORMAT], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == Summary([Formatted("A")], 1)


@pytest.mark.rule("D5")
@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"text": 5}, "$.text"),
        ({"text": "a", "priority": "5"}, "$.priority"),
        ({"text": "a", "priority": 1.5}, "$.priority"),
        ({"text": "a", "priority": True}, "$.priority"),
        ({"priority": 1}, "text"),
        ("hello", "$"),
        (None, "$"),
        ([], "$"),
    ],
)
async def test_input_that_does_not_fit_the_graph(data: object, path: str, autojump_clock: MockClock) -> None:
    """`start` raises, names the path, and the run id stays free."""
    async with opened([FORMAT]) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(FORMAT, data, run_id="r")
        assert path in str(caught.value)
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")
        assert (await runtime.run(FORMAT, Message("a"), run_id="r")).total == 1


@pytest.mark.rule("D5")
async def test_the_first_steps_annotation_checks_what_the_graph_does_not(autojump_clock: MockClock) -> None:
    """A graph without an input type whose first step has one does not run that step on bad data."""
    ran = []

    @step
    async def typed(data: Message, ctx: Context):
        ran.append(data)

    graph = workflow("untyped").then(typed).commit()
    async with opened([graph]) as runtime:
        try:
            outcome = await (await runtime.start(graph, {"text": 5})).wait()
        except InputError as error:
            found = str(error)
        else:
            assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["InputError"])
            found = outcome.failures[0].message
    assert "$.text" in found
    assert ran == []


@pytest.mark.rule("D5")
async def test_data_that_does_not_fit_the_next_step(journal: str, autojump_clock: MockClock) -> None:
    """The step that cannot take it fails with an `InputError` that names every bad field, before it runs."""
    ran = []

    @step
    async def takes(data: list[Message], ctx: Context):
        ran.append(data)

    bad = [{"text": "fine"}, {"text": 5, "priority": "high"}]
    outcome = await settle(workflow("misfit").then(giving("g", bad)).then(takes).commit(), journal=journal)
    assert (outcome.status, ran) == (RunStatus.FAILED, [])
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("takes", "InputError")]
    assert all(path in outcome.failures[0].message for path in ("$[1].text", "$[1].priority"))


@pytest.mark.rule("D5")
async def test_misfitting_data_is_not_retried(autojump_clock: MockClock) -> None:
    """The same data will not fit a second time: no attempt is wasted on it, no backoff waited for."""

    @step(retry=Retry(attempts=5, delay=100.0))
    async def takes(data: int, ctx: Context):
        return data

    began = trio.current_time()
    outcome = await settle(workflow("misfit").then(giving("g", "x")).then(takes).commit())
    assert (kinds(outcome), trio.current_time()) == (["InputError"], began)


@pytest.mark.rule("D5")
@pytest.mark.parametrize(
    ("value", "path"),
    [({"text": 5}, "$.text"), ("text", "$"), (None, "$"), ({"txt": "a"}, "text")],
    ids=str,
)
async def test_a_step_output_that_does_not_fit(
    value: object, path: str, journal: str, autojump_clock: MockClock
) -> None:
    """A step that returns something else than its annotation says fails, and nothing behind it sees it."""

    @step
    async def lies(data, ctx: Context) -> Formatted:
        return value

    outcome = await settle(workflow("lies").then(lies).then(failing("never")).commit(), journal=journal)
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("lies", "InputError")]
    assert path in outcome.failures[0].message


@pytest.mark.rule("D5")
async def test_a_graph_output_that_does_not_fit(journal: str, autojump_clock: MockClock) -> None:
    """The declared output of a graph is enforced: the run fails with the path instead of completing with a lie."""
    graph = workflow("lies", output=Summary).then(giving("g", {"lines": [{"text": 1}], "total": 0})).commit()
    outcome = await settle(graph, journal=journal)
    assert (outcome.status, outcome.output, kinds(outcome)) == (RunStatus.FAILED, None, ["InputError"])
    assert "$.lines[0].text" in outcome.failures[0].message


async def test_options_stand_for_annotations(autojump_clock: MockClock) -> None:
    """`input`, `output` and `state` given to `@step` do what annotations do."""
    seen = []

    @step(input=Message, output=Formatted, state=CounterOnly)
    async def options(data, ctx):
        seen.append((data, ctx.state))
        return Formatted(data.text)

    graph = workflow("options", output=Formatted, state=Progress).then(options).commit()
    assert await output_of(graph, {"text": "a"}) == Formatted("a")
    assert seen == [(Message("a"), CounterOnly(0))]


@pytest.mark.rule("B2")
async def test_rich_types_between_steps(journal: str, autojump_clock: MockClock) -> None:
    """Enums, datetimes, UUIDs, decimals, literals, tuples, unions and dataclasses arrive as themselves at every hop."""
    seen = []

    @step
    async def same(data: Rich, ctx: Context) -> Rich:
        seen.append(data)
        return data

    inner = workflow("inner", input=Rich, output=Rich).then(same).commit()
    graph = (
        workflow("rich", input=Rich, output=list[Rich])
        .then(same)
        .then(inner)
        .map(lambda data, ctx: [data])
        .foreach(same)
        .commit()
    )
    assert await output_of(graph, RICH, journal=journal) == [RICH]
    assert seen == [RICH] * 3


@step
async def dataclass_step(data: Point, ctx: Context) -> Point:
    """A dataclass in and out."""
    return Point(data.x + 1, [*data.tags, type(data).__name__])


@step
async def typed_dict_step(data: Card, ctx: Context) -> Card:
    """A typed dictionary in and out."""
    return {"title": data["title"] + "!", "pages": data.get("pages", 0) + 1}


@step
async def enum_step(data: Colour, ctx: Context) -> Colour:
    """An enum in and out."""
    return Colour.BLUE if data is Colour.RED else Colour.RED


@step
async def datetime_step(data: datetime, ctx: Context) -> datetime:
    """A datetime in and out."""
    return data + timedelta(days=1)


@step
async def union_step(data: Circle | Square, ctx: Context) -> Circle | Square:
    """A union in and out."""
    return Square(data.radius) if isinstance(data, Circle) else Circle(data.side)


@step
async def optional_step(data: Message | None, ctx: Context) -> int | None:
    """An optional in and out."""
    return None if data is None else data.priority


TYPED = {
    "dataclass": (dataclass_step, Point, {"x": 1}, Point(2, ["Point"]), {"x": "1"}, "$.x"),
    "typed dict": (typed_dict_step, Card, {"title": "t"}, {"title": "t!", "pages": 1}, {"pages": 1}, "title"),
    "typed dict field": (
        typed_dict_step,
        Card,
        {"title": "t", "pages": 4},
        {"title": "t!", "pages": 5},
        {"title": "t", "pages": "4"},
        "$.pages",
    ),
    "enum": (enum_step, Colour, "red", Colour.BLUE, "green", "$"),
    "datetime": (
        datetime_step,
        datetime,
        "2030-01-01T00:00:00+00:00",
        datetime(2030, 1, 2, tzinfo=UTC),
        "soon",
        "$",
    ),
    "union": (union_step, Circle | Square, {"side": 2.0}, Circle(2.0), {"edge": 1.0}, "$"),
    "optional": (optional_step, int | None, None, None, {"text": 1}, "$"),
}


@pytest.mark.rule("B2", "D5")
@pytest.mark.parametrize("name", TYPED)
async def test_each_kind_of_type(name: str, journal: str, autojump_clock: MockClock) -> None:
    """What fits arrives structured and comes out structured; what does not fit is named, at a step and in a list."""
    body, output, good, wanted, bad, path = TYPED[name]
    graph = workflow("one", output=output).then(giving("json", good)).then(body).commit()
    assert await output_of(graph, journal=journal) == wanted
    outcome = await settle(workflow("two").then(giving("json", bad)).then(body).commit())
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [(body.id, "InputError")]
    assert path in outcome.failures[0].message
    outcome = await settle(workflow("three").foreach(body).commit(), [good, bad])
    assert kinds(outcome) == ["InputError"]


@pytest.mark.rule("B2")
async def test_a_typed_step_after_parallel(autojump_clock: MockClock) -> None:
    """The mapping of a group is structured by the annotation of the step behind it."""

    @step
    async def both(data: dict[str, Formatted], ctx: Context):
        return sorted(f"{name}={line.text}" for name, line in data.items())

    @step(id="a")
    async def one(data: Message, ctx: Context) -> Formatted:
        return Formatted(data.text)

    @step(id="b")
    async def two(data: Message, ctx: Context) -> Formatted:
        return Formatted(data.text * 2)

    graph = workflow("group", input=Message).parallel([one, two]).then(both).commit()
    assert await output_of(graph, {"text": "x"}) == ["a=x", "b=xx"]


@pytest.mark.rule("B2")
async def test_step_result_and_sources_are_json(autojump_clock: MockClock) -> None:
    """A mapping takes parts of typed outputs, of typed input and of typed state."""
    graph = (
        workflow("sources", input=Message, state=Progress)
        .then(shout)
        .map(
            {
                "text": from_step("shout", "text"),
                "priority": from_input("priority"),
                "count": from_state("shared_counter"),
                "colour": constant(Colour.BLUE),
            }
        )
        .commit()
    )
    assert await output_of(graph, Message("a", 7)) == {"text": "A", "priority": 7, "count": 1, "colour": "blue"}


async def test_conditions_and_mappings_may_be_annotated(autojump_clock: MockClock) -> None:
    """A condition or a mapping function with types gets its data structured like a step."""

    def urgent(data: Message, ctx: Context) -> bool:
        return data.priority > 5

    async def text(data: Message, ctx: Context) -> Formatted:
        return Formatted(data.text)

    graph = (
        workflow("annotated", input=Message)
        .branch([(urgent, giving("urgent", 1)), (lambda data, ctx: True, giving("any", 2))])
        .map(lambda data, ctx: {"text": "x", "priority": len(data)})
        .map(text)
        .commit()
    )
    assert await output_of(graph, Message("a", 7)) == Formatted("x")


# ------------------------------------------------------------------------------------------------ state


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    "initial",
    [None, Progress(shared_counter=3), {"shared_counter": 3}, {"colour": "blue"}],
    ids=["none", "instance", "json", "enum"],
)
async def test_initial_state_and_defaults(initial: object, journal: str, autojump_clock: MockClock) -> None:
    """What is not given has the schema's default, written when the run starts."""
    seen = []

    @step
    async def look(data, ctx: Context[Progress]):
        seen.append(ctx.state)
        return await ctx.run_store.snapshot()

    graph = workflow("initial", state=Progress).then(look).commit()
    output = await output_of(graph, journal=journal, initial_state=initial)
    counter = 3 if initial is not None and initial != {"colour": "blue"} else 0
    colour = "blue" if initial == {"colour": "blue"} else "red"
    assert output == {"processed_items": [], "shared_counter": counter, "colour": colour, "message": None}
    assert seen == [Progress([], counter, Colour(colour), None)]


@pytest.mark.rule("B9", "D5")
@pytest.mark.parametrize(
    ("initial", "path"),
    [
        (None, "owner"),
        ({}, "owner"),
        ({"owner": 5}, "$.owner"),
        ({"owner": "me", "n": "4"}, "$.n"),
        ({"owner": "me", "other": 1}, "other"),
    ],
)
async def test_bad_initial_state(initial: object, path: str, autojump_clock: MockClock) -> None:
    """A required field without a value, one that does not fit and an unknown one are refused at the start."""
    graph = workflow("needs", state=Needs).then(giving("g", 1)).commit()
    async with opened([graph]) as runtime:
        with pytest.raises((InputError, StateKeyError)) as caught:
            await runtime.start(graph, initial_state=initial, run_id="r")
        assert path in str(caught.value)
        assert await runtime.run(graph, initial_state={"owner": "me"}, run_id="r") == 1


@pytest.mark.rule("B1", "B12")
async def test_initial_state_is_copied(autojump_clock: MockClock) -> None:
    """The caller's object is not the run's: two runs started with one object share nothing, nor do they change it."""

    @step
    async def work(data, ctx: Context[Progress]):
        await ctx.run_store.push("processed_items", ctx.run_id)
        ctx.state.processed_items.append("mine alone")
        return await ctx.run_store.get("processed_items")

    graph = workflow("copies", state=Progress).then(work).commit()
    initial = Progress(["init"])
    async with opened([graph]) as runtime:
        assert await runtime.run(graph, run_id="a", initial_state=initial) == ["init", "a"]
        assert await runtime.run(graph, run_id="b", initial_state=initial) == ["init", "b"]
    assert initial == Progress(["init"])


@pytest.mark.rule("B9")
async def test_a_subset_schema(journal: str, autojump_clock: MockClock) -> None:
    """A step that asks for a part of the state sees just that part, typed, and the rest is left as it is."""
    seen = []

    @step
    async def counts(data, ctx: Context[CounterOnly]):
        seen.append(ctx.state)
        await ctx.set_state(shared_counter=ctx.state.shared_counter + 1)

    graph = workflow("subset", state=Progress).then(counts).then(counts).commit()
    outcome = await settle(graph, journal=journal, initial_state=Progress(["kept"], 5, Colour.BLUE, Message("m")))
    assert seen == [CounterOnly(5), CounterOnly(6)]
    assert outcome.state == {
        "processed_items": ["kept"],
        "shared_counter": 7,
        "colour": "blue",
        "message": {"text": "m", "priority": 0},
    }


@define
class Stranger:
    """A state schema that is no part of the master schema."""

    shared_counter: str = ""
    unknown: int = 0


def test_a_step_schema_that_the_master_cannot_serve() -> None:
    """A step that asks for a field that the workflow's state has not is found when the graph is committed."""

    @step
    async def odd(data, ctx: Context[Stranger]):
        """Never runs."""

    with pytest.raises(DefinitionError) as caught:
        workflow("odd", state=Progress).then(odd).commit()
    assert "unknown" in str(caught.value)


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"nope": 1}, StateKeyError, "nope"),
        ({"shared_counter": "5"}, StateTypeError, "shared_counter"),
        ({"shared_counter": 1.5}, StateTypeError, "shared_counter"),
        ({"colour": "green"}, StateTypeError, "colour"),
        ({"processed_items": ["a", 2]}, StateTypeError, "processed_items"),
        ({"message": {"text": 1}}, StateTypeError, "message"),
        ({"shared_counter": 1, "nope": 2}, StateKeyError, "nope"),
    ],
    ids=str,
)
async def test_set_state_is_held_to_the_schema(
    changes: dict[str, object], error: type[Exception], words: str, autojump_clock: MockClock
) -> None:
    """A bad change raises in the step and changes nothing, not even its good half."""

    @step
    async def tries(data, ctx: Context[Progress]):
        before = await ctx.run_store.snapshot()
        with pytest.raises(error) as caught:
            await ctx.set_state(**changes)
        assert words in str(caught.value)
        return await ctx.run_store.snapshot() == before

    assert await output_of(workflow("held", state=Progress).then(tries).commit()) is True


@pytest.mark.rule("B9", "B2")
async def test_set_state_takes_instances(journal: str, autojump_clock: MockClock) -> None:
    """Values of the schema's types go in as they are, and the next step reads them back as such."""
    seen = []

    @step
    async def writes(data, ctx: Context[Progress]):
        await ctx.set_state(colour=Colour.BLUE, message=Message("m", 1), processed_items=["a"])
        seen.append(ctx.state.colour)

    @step
    async def reads(data, ctx: Context[Progress]):
        seen.append((ctx.state.colour, ctx.state.message, ctx.state.processed_items))

    outcome = await settle(workflow("typed", state=Progress).then(writes).then(reads).commit(), journal=journal)
    assert outcome.error is None
    assert seen == [Colour.RED, (Colour.BLUE, Message("m", 1), ["a"])]


@pytest.mark.rule("B9")
async def test_state_without_a_schema(autojump_clock: MockClock) -> None:
    """Without one `ctx.state` is a read-only mapping of what is in the store, and any key may be set."""

    @step
    async def writes(data, ctx: Context):
        assert dict(ctx.state) == {"given": [1]}
        await ctx.set_state(any_key={"deep": True}, other=None)
        with pytest.raises(TypeError, match="assignment"):
            ctx.state["given"] = 2

    @step
    async def reads(data, ctx: Context):
        return dict(ctx.state)

    graph = workflow("free").then(writes).then(reads).commit()
    assert await output_of(graph, initial_state={"given": [1]}) == {
        "given": [1],
        "any_key": {"deep": True},
        "other": None,
    }


@pytest.mark.rule("B10")
async def test_both_of_two_changes_in_one_step_count(autojump_clock: MockClock) -> None:
    """Two `set_state` in one step, of different keys and of the same one, are both applied, the latter last."""

    @step
    async def twice(data, ctx: Context[Progress]):
        await ctx.set_state(shared_counter=1)
        await ctx.set_state(processed_items=["x"])
        await ctx.set_state(shared_counter=2)
        return await ctx.run_store.get("shared_counter")

    outcome = await settle(workflow("twice", state=Progress).then(twice).commit())
    assert (outcome.output, outcome.state["shared_counter"], outcome.state["processed_items"]) == (2, 2, ["x"])


def racers(count: int, *, retry: Retry | None = None, key: str | None = None) -> list[object]:
    """Members that read the state when all of them have begun, and set it one after the other.

    Each counts in `shared_counter`, or in a key of its own.
    """
    begun: list[str] = []

    def racer(number: int) -> object:
        @step(id=f"m{number}", retry=retry or Retry(attempts=1))
        async def race(data, ctx: Context):
            name = key or f"k{number}"
            begun.append(name)
            before = ctx.state.get(name, 0)
            while len(begun) < count:  # noqa: ASYNC110 - an attempt after the first finds it so
                await trio.sleep(1)
            await ctx.set_state(**{name: before + 1})
            return ctx.attempt

        return race

    return [racer(number) for number in range(count)]


@pytest.mark.rule("B10")
async def test_a_lost_update_in_parallel_branches_is_an_error(journal: str, autojump_clock: MockClock) -> None:
    """Two branches that set what they computed from one snapshot: the second is refused, naming the key and both."""
    graph = workflow("lost").parallel(racers(2, key="n")).commit()
    outcome = await settle(graph, journal=journal)
    assert (outcome.status, kinds(outcome), outcome.state) == (RunStatus.FAILED, ["LostUpdate"], {"n": 1})
    assert outcome.error is not None
    assert isinstance(outcome.error.__cause__, LostUpdate)
    message = outcome.error.message
    assert [word for word in ("n", "m0", "m1", "increment") if word not in message] == []


@pytest.mark.rule("B10", "C3")
@pytest.mark.parametrize("count", [2, 10, 50])
async def test_a_lost_update_under_retry_is_correct(count: int, journal: str, autojump_clock: MockClock) -> None:
    """With a retry the refused branch reads afresh: all of them count."""
    retry = Retry(attempts=count + 5, delay=1.0, factor=1.0, jitter=0.5)
    graph = workflow("retried").parallel(racers(count, retry=retry, key="n")).commit()
    outcome = await settle(graph, journal=journal)
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {"n": count})
    assert max(outcome.output.values()) > 1


@pytest.mark.rule("B10")
async def test_branches_that_set_different_keys_do_not_disturb_each_other(autojump_clock: MockClock) -> None:
    """`set_state` writes the named keys only: ten branches, one key each, all ten there."""
    outcome = await settle(workflow("disjoint").parallel(racers(10)).commit())
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {f"k{n}": 1 for n in range(10)})


@pytest.mark.rule("B10")
@pytest.mark.parametrize("policy", ["warn", "allow"])
async def test_lost_updates_may_be_allowed(policy: str, autojump_clock: MockClock) -> None:
    """The class attribute, given as a keyword: the last one wins, and the run completes."""
    outcome = await settle(workflow("allowed", lost_updates=policy).parallel(racers(3, key="n")).commit())
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {"n": 1})


@pytest.mark.rule("B10")
async def test_steps_in_a_row_lose_nothing(autojump_clock: MockClock) -> None:
    """Each step of a chain reads what the one before set: get and set in turn is no lost update."""

    @step
    async def counts(data, ctx: Context[Progress]):
        await ctx.set_state(shared_counter=ctx.state.shared_counter + 1)
        await ctx.set_state(shared_counter=(await ctx.run_store.get("shared_counter")) + 1)

    outcome = await settle(workflow("row", state=Progress).then(counts).then(counts).then(counts).commit())
    assert outcome.state["shared_counter"] == 6
    outcome = await settle(workflow("each", state=Progress).foreach(counts, concurrency=1).commit(), [1, 2, 3])
    assert outcome.state["shared_counter"] == 6


@pytest.mark.rule("B7", "B9")
async def test_pushes_and_increments_from_branches_need_no_care(journal: str, autojump_clock: MockClock) -> None:
    """What the first page of the documentation promises: race-free verbs under a schema, in any number of branches."""

    @step
    async def collect(data: str, ctx: Context[Progress]) -> Formatted:
        await trio.sleep(len(data))
        await ctx.run_store.push("processed_items", data)
        await ctx.run_store.increment("shared_counter")
        return Formatted(data.upper())

    graph = workflow("many", output=list[Formatted], state=Progress).foreach(collect, concurrency=None).commit()
    names = [f"item-{n}" for n in range(100)]
    outcome = await settle(graph, names, journal=journal)
    assert outcome.output == [Formatted(name.upper()) for name in names]
    assert sorted(outcome.state["processed_items"]) == sorted(names)
    assert outcome.state["shared_counter"] == 100


@pytest.mark.rule("C3", "B9")
async def test_set_state_counts_once_over_attempts(journal: str, autojump_clock: MockClock) -> None:
    """A `set_state` of an attempt that then failed is not applied again by the next one."""

    @step(retry=Retry(attempts=3))
    async def counts(data, ctx: Context[Progress]):
        await ctx.set_state(shared_counter=ctx.state.shared_counter + 1)
        if ctx.attempt < 3:
            raise ValueError("again")

    outcome = await settle(workflow("once", state=Progress).then(counts).commit(), journal=journal)
    assert outcome.state["shared_counter"] == 1
    assert [record.attempts for record in records(outcome)["counts"]] == [3]


@pytest.mark.rule("D2", "F4", "B9")
async def test_typed_state_and_data_survive_closing(sqlite_url: str, autojump_clock: MockClock) -> None:
    """Opened again half-way, the live step gets the same typed data and the state as it was left."""
    seen = []
    reached = trio.Event()

    @step
    async def stops(line: Formatted, ctx: Context[Progress]) -> Formatted:
        seen.append((line, ctx.state.shared_counter, ctx.input))
        if not reached.is_set():
            reached.set()
            await trio.sleep_forever()
        return line

    graph = (
        workflow("closing", input=Message, output=Summary, state=Progress)
        .then(shout)
        .then(stops)
        .then(summarise)
        .commit()
    )
    await cut_off(graph, Message("a"), sqlite_url, reached, initial_state=Progress(shared_counter=10))
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.output == Summary([Formatted("A")], 11)
    assert len(seen) == 2
    assert seen[0] == seen[1]
    assert seen[0][:2] == (Formatted("A"), 11)


@pytest.mark.rule("B8")
@pytest.mark.parametrize("where", ["output", "map"])
async def test_an_output_over_the_limit(where: str, autojump_clock: MockClock) -> None:
    """What a step or a mapping gives is a payload of the next one, and limited as such."""
    big = "x" * (2 << 20)
    builder = workflow("big")
    builder = builder.then(giving("big", big)) if where == "output" else builder.map(lambda data, ctx: big)
    outcome = await settle(builder.then(failing("never")).commit())
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["ValueTooLarge"])


async def test_adding_is_exact(autojump_clock: MockClock) -> None:
    """Big integers go through a chain exactly."""
    graph = workflow("big").then(adding("a")).then(adding("b")).commit()
    assert await output_of(graph, 10**40) == 10**40 + 2

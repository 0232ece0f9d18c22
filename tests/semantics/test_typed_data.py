"""Data with types: structured on the way in, checked with the path to every bad field, typed on the way out."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import Enum
from typing import Literal
from uuid import UUID

import pytest
from attrs import define, field, frozen
from trio.testing import MockClock

from actorflow import (
    Context,
    InputError,
    NotJsonError,
    Retry,
    RunFailed,
    RunNotFound,
    RunStatus,
    Workflow,
    open_runtime,
    step,
)


class Colour(Enum):
    """An enum whose values are JSON."""

    RED = "red"
    BLUE = "blue"


@frozen
class Item:
    """One line of an order."""

    name: str
    price: float
    amount: int = 1


@frozen
class Order:
    """The input of most workflows here."""

    customer: str
    items: list[Item]
    notes: dict[str, str] = field(factory=dict)
    express: bool = False


@frozen
class Rich:
    """Types that JSON does not have."""

    colour: Colour
    at: datetime
    uid: UUID
    mode: Literal["fast", "slow"]
    pair: tuple[int, str]
    maybe: Item | None = None


@frozen
class Summary:
    """The output of typed workflows."""

    total: float
    names: list[str]


@define
class Progress:
    """A state schema with one required field."""

    owner: str
    done: int = 0
    names: list[str] = field(factory=list)


ITEM = {"name": "pen", "price": 1.5}
GOOD = {"customer": "c-1", "items": [ITEM, {"name": "ink", "price": 2, "amount": 3}]}


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


def order_with(**changes: object) -> dict[str, object]:
    """A good order with some of its fields replaced."""
    return {**GOOD, **changes}


def items_with(bad: object, index: int = 3) -> dict[str, object]:
    """An order of five items of which one is bad."""
    return order_with(items=[bad if number == index else ITEM for number in range(5)])


class TypedOrder(Workflow):
    """Takes a typed order and records what arrived."""

    async def start(self, data: Order, ctx: Context) -> Summary:
        assert type(data) is Order
        await ctx.run_store.set("types", [type(item).__name__ for item in data.items])
        return Summary(sum(item.price * item.amount for item in data.items), [item.name for item in data.items])


@pytest.mark.rule("B2", "D5")
@pytest.mark.parametrize("order", [GOOD, Order("c-1", [Item("pen", 1.5), Item("ink", 2, 3)])], ids=["json", "instance"])
async def test_annotated_input_arrives_structured_and_output_typed(order: object, journal: str) -> None:
    """JSON or an instance, the input arrives as the annotated class and the output comes out as its own."""
    async with open_runtime([TypedOrder], journal=journal) as runtime:
        run = await runtime.start(TypedOrder, order)
        assert await run.result() == Summary(7.5, ["pen", "ink"])
        outcome = await run.wait()
        assert outcome.output == Summary(7.5, ["pen", "ink"])
        assert outcome.state == {"types": ["Item", "Item"]}
        records = [record for record in (await run.describe()).steps if record.step_id == "start"]
    assert [record.output for record in records] == [{"total": 7.5, "names": ["pen", "ink"]}]


@pytest.mark.rule("F3")
async def test_output_is_typed_after_reopening(sqlite_url: str) -> None:
    """The output of a run that ended in an earlier runtime is typed all the same."""
    async with open_runtime([TypedOrder], journal=sqlite_url) as runtime:
        await runtime.run(TypedOrder, GOOD, run_id="r")
    async with open_runtime([TypedOrder], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == Summary(7.5, ["pen", "ink"])


BAD_ORDERS: list[tuple[object, list[str]]] = [
    (items_with({"name": "x", "price": "5"}), ["$.items[3].price"]),
    (items_with({"name": "x", "price": None}, 0), ["$.items[0].price"]),
    (items_with({"name": "x", "price": True}), ["$.items[3].price"]),
    (items_with({"name": 5, "price": 1.0}), ["$.items[3].name"]),
    (items_with({"name": None, "price": 1.0}), ["$.items[3].name"]),
    (items_with({"name": "x", "price": 1.0, "amount": "5"}), ["$.items[3].amount"]),
    (items_with({"name": "x", "price": 1.0, "amount": 1.5}), ["$.items[3].amount"]),
    (items_with({"name": "x", "price": 1.0, "amount": True}), ["$.items[3].amount"]),
    (items_with({"name": "x"}), ["$.items[3]"]),
    (items_with("not an item"), ["$.items[3]"]),
    (order_with(express=1), ["$.express"]),
    (order_with(express="yes"), ["$.express"]),
    (order_with(notes={"a": "fine", "b": 7}), ["$.notes", "b"]),
    (order_with(items=5), ["$.items"]),
    (order_with(items="pen"), ["$.items"]),
    (order_with(customer=["c"]), ["$.customer"]),
    ({"items": []}, ["$", "customer"]),
    ([], ["$"]),
    (None, ["$"]),
    ("order", ["$"]),
    (
        {"customer": 1, "items": [ITEM, {"name": "x", "price": "a", "amount": "b"}], "express": "no"},
        ["$.customer", "$.items[1].price", "$.items[1].amount", "$.express"],
    ),
]


@pytest.mark.rule("D5")
@pytest.mark.parametrize(("order", "paths"), BAD_ORDERS, ids=[" ".join(paths) for _, paths in BAD_ORDERS])
async def test_bad_input_names_the_path_of_every_bad_field(order: object, paths: list[str]) -> None:
    """Input that does not fit is an `InputError` from `start()` that names each bad field; nothing is started."""
    async with open_runtime([TypedOrder]) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(TypedOrder, order, run_id="r")
        assert [path for path in paths if path not in str(caught.value)] == []
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")
        assert await runtime.list_runs() == []
        assert (await runtime.run(TypedOrder, GOOD, run_id="r")).total == 7.5


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    "value", [float("nan"), b"x", {1, 2}, {1: 2}, [float("inf")]], ids=["nan", "bytes", "set", "key", "inf"]
)
async def test_untyped_input_must_be_json(value: object) -> None:
    """Without an annotation the input is any JSON value, and only that."""

    class Untyped(Workflow):
        async def start(self, data, ctx: Context):
            return data

    async with open_runtime([Untyped]) as runtime:
        with pytest.raises((InputError, NotJsonError)):
            await runtime.start(Untyped, value, run_id="r")
        assert await runtime.run(Untyped, ["fine"], run_id="r") == ["fine"]


@pytest.mark.rule("B2")
async def test_unannotated_data_is_plain_json() -> None:
    """Instances given to unannotated steps arrive as plain JSON, and so does an undeclared output."""
    seen = []

    class Plain(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(data)
            await ctx.schedule_next_step("more", Item("ink", 2.0))
            return Item("pen", 1.0)

        async def more(self, data, ctx: Context):
            seen.append(data)

    async with open_runtime([Plain]) as runtime:
        output = await runtime.run(Plain, Item("pen", 1.5))
    assert seen == [{"name": "pen", "price": 1.5, "amount": 1}, {"name": "ink", "price": 2.0, "amount": 1}]
    assert output == {"name": "pen", "price": 1.0, "amount": 1}


@pytest.mark.rule("B2", "C2")
async def test_int_will_do_for_a_float_and_stays_a_number() -> None:
    """An int is accepted where a float is asked for."""

    class Price(Workflow):
        async def start(self, data: Item, ctx: Context):
            return data.price + 0.5

    async with open_runtime([Price]) as runtime:
        assert await runtime.run(Price, {"name": "x", "price": 2}) == 2.5


RICH = Rich(
    Colour.BLUE,
    datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC),
    UUID("12345678-1234-5678-1234-567812345678"),
    "slow",
    (1, "one"),
    Item("pen", 1.5),
)


@pytest.mark.rule("B2")
async def test_rich_types_travel_through_payload_and_output(journal: str) -> None:
    """Enums, datetimes, UUIDs, literals, tuples and optionals survive payload, journal and output as themselves."""
    seen = []

    class RichFlow(Workflow):
        async def start(self, data: Rich, ctx: Context) -> Rich:
            await ctx.schedule_next_step("more", data)
            return data

        async def more(self, data: Rich, ctx: Context):
            seen.append(data)

    async with open_runtime([RichFlow], journal=journal) as runtime:
        assert await runtime.run(RichFlow, RICH) == RICH
    assert seen == [RICH]


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"colour": "green"}, "$.colour"),
        ({"at": "yesterday"}, "$.at"),
        ({"uid": "not-a-uuid"}, "$.uid"),
        ({"mode": "medium"}, "$.mode"),
        ({"pair": ["1", "one"]}, "$.pair"),
        ({"maybe": {"name": "pen", "price": "x"}}, "$.maybe"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_bad_rich_values_are_named(changes: dict[str, object], path: str) -> None:
    """A value outside an enum, a literal or a format is refused with its path."""

    class RichFlow(Workflow):
        async def start(self, data: Rich, ctx: Context):
            return "started"

    good = {
        "colour": "red",
        "at": "2030-05-06T07:08:09+00:00",
        "uid": "12345678-1234-5678-1234-567812345678",
        "mode": "fast",
        "pair": [1, "one"],
    }
    async with open_runtime([RichFlow]) as runtime:
        assert await runtime.run(RichFlow, good) == "started"
        with pytest.raises(InputError) as caught:
            await runtime.start(RichFlow, {**good, **changes})
    assert path in str(caught.value)


@pytest.mark.rule("C2")
@pytest.mark.parametrize(
    ("action", "payload", "path"),
    [
        ("one", {"name": "x", "price": "5"}, "$.price"),
        ("one", {"price": 5.0}, "name"),
        ("one", None, "$"),
        ("many", [ITEM, {"name": "x", "price": "5"}], "$[1].price"),
        ("number", "5", "$"),
        ("number", 5.5, "$"),
        ("number", True, "$"),
        ("text", 5, "$"),
        ("table", {"a": 1, "b": "2"}, "b"),
    ],
)
async def test_bad_payload_is_refused_when_it_is_scheduled(action: str, payload: object, path: str) -> None:
    """A payload that does not fit the action's annotation is an `InputError` at the call, and nothing is armed."""
    ran = []

    class Payloads(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(InputError) as caught:
                await ctx.schedule_next_step(action, payload)
            assert path in str(caught.value)
            with pytest.raises(InputError):
                await ctx.wait_for_event("event", action=action, payload=payload)

        async def one(self, data: Item, ctx: Context):
            ran.append(data)

        async def many(self, data: list[Item], ctx: Context):
            ran.append(data)

        async def number(self, data: int, ctx: Context):
            ran.append(data)

        async def text(self, data: str, ctx: Context):
            ran.append(data)

        async def table(self, data: dict[str, int], ctx: Context):
            ran.append(data)

    async with open_runtime([Payloads]) as runtime:
        outcome = await (await runtime.start(Payloads)).wait()
    assert (outcome.status, outcome.error, ran) == (RunStatus.COMPLETED, None, [])


@pytest.mark.rule("C2", "B2")
async def test_payloads_arrive_structured(journal: str) -> None:
    """Payloads of attrs classes, lists, dicts and primitives arrive as what the actions ask for."""
    seen = {}

    class Payloads(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("one", Item("pen", 1.5))
            await ctx.schedule_next_step("many", [ITEM, Item("ink", 2.0)])
            await ctx.schedule_next_step("table", {"a": 1})
            await ctx.schedule_next_step("maybe")
            await ctx.schedule_many("each", [ITEM, ITEM])

        async def one(self, data: Item, ctx: Context):
            seen["one"] = data

        async def many(self, data: list[Item], ctx: Context):
            seen["many"] = data

        async def table(self, data: dict[str, int], ctx: Context):
            seen["table"] = data

        async def maybe(self, data: Item | None, ctx: Context):
            seen["maybe"] = data

        async def each(self, data: Item, ctx: Context):
            seen.setdefault("each", []).append(data)

    async with open_runtime([Payloads], journal=journal) as runtime:
        assert (await (await runtime.start(Payloads)).wait()).error is None
    pen = Item("pen", 1.5)
    assert seen == {
        "one": pen,
        "many": [pen, Item("ink", 2.0)],
        "table": {"a": 1},
        "maybe": None,
        "each": [pen, pen],
    }


@pytest.mark.rule("B2", "B1")
async def test_every_attempt_gets_data_of_its_own(autojump_clock: MockClock) -> None:
    """What one attempt does to its structured data is not seen by the next one."""
    seen = []

    class Mutates(Workflow):
        @step(retry=Retry(attempts=2))
        async def start(self, data: list[Item], ctx: Context):
            seen.append(len(data))
            data.clear()
            if ctx.attempt == 1:
                raise ValueError("again")

    async with open_runtime([Mutates]) as runtime:
        await runtime.run(Mutates, [ITEM, ITEM])
    assert seen == [2, 2]


@pytest.mark.rule("D5")
@pytest.mark.parametrize("where", ["start", "action", "hook"])
async def test_output_that_does_not_fit_its_type(where: str) -> None:
    """A step whose output does not fit its annotation fails with `InputError`; a hook's never comes out untyped."""

    class BadOutput(Workflow):
        async def start(self, data, ctx: Context) -> int:
            await ctx.schedule_next_step("action")
            return "5" if where == "start" else 5

        async def action(self, data, ctx: Context) -> Item:
            return {"name": "x"} if where == "action" else Item("x", 1.0)

        async def on_workflow_complete(self, ctx: Context) -> int | None:
            return "hook" if where == "hook" else None

    async with open_runtime([BadOutput]) as runtime:
        run = await runtime.start(BadOutput)
        outcome = await run.wait()
        record = f"{await run.history()!r} {await run.describe()!r}"
    if where == "hook":
        assert outcome.output != "hook"
        assert "InputError" in record
    else:
        assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [(where, "InputError")]
        assert outcome.status is RunStatus.FAILED


@pytest.mark.rule("B2")
@pytest.mark.parametrize("value", [float("nan"), object(), b"x", {1: 2}], ids=["nan", "object", "bytes", "key"])
async def test_output_must_be_json(value: object) -> None:
    """A step that returns what is no JSON fails, naming it, and the runtime goes on."""

    class NoJson(Workflow):
        async def start(self, data, ctx: Context):
            return value if data == "bad" else "fine"

    async with open_runtime([NoJson]) as runtime:
        with pytest.raises(RunFailed) as caught:
            await runtime.run(NoJson, "bad")
        assert kind(caught.value.failures[0]) in {"NotJsonError", "InputError"}
        assert await runtime.run(NoJson) == "fine"


@pytest.mark.rule("D5", "B9")
async def test_hook_output_is_typed_by_its_annotation(journal: str) -> None:
    """The completion hook's annotation types the output that it gives."""

    class Hooked(Workflow):
        async def start(self, data: Order, ctx: Context):
            for item in data.items:
                await ctx.schedule_next_step("count", item)

        async def count(self, data: Item, ctx: Context):
            await ctx.run_store.increment("total", data.price * data.amount)
            await ctx.run_store.push("names", data.name)

        async def on_workflow_complete(self, ctx: Context) -> Summary:
            return Summary(await ctx.run_store.get("total"), sorted(await ctx.run_store.get("names")))

    async with open_runtime([Hooked], journal=journal) as runtime:
        run = await runtime.start(Hooked, GOOD)
        assert await run.result() == Summary(7.5, ["ink", "pen"])
        assert (await run.wait()).output == Summary(7.5, ["ink", "pen"])


class Stateful(Workflow):
    """A workflow with a state schema."""

    state = Progress

    async def start(self, data, ctx: Context[Progress]):
        assert type(ctx.state) is Progress
        await ctx.set_state(done=ctx.state.done + 1)
        await ctx.run_store.push("names", "x")
        return await ctx.run_store.snapshot()


@pytest.mark.rule("B9")
@pytest.mark.parametrize("initial", [Progress("me", 4), {"owner": "me", "done": 4}], ids=["instance", "json"])
async def test_initial_state_is_structured_and_defaults_written(initial: object, journal: str) -> None:
    """Initial state of either form fits the schema, and the defaults of the other fields are in the store."""
    async with open_runtime([Stateful], journal=journal) as runtime:
        output = await runtime.run(Stateful, initial_state=initial)
    assert output == {"owner": "me", "done": 5, "names": ["x"]}


@pytest.mark.rule("B9", "D5")
@pytest.mark.parametrize(
    ("initial", "path"),
    [
        (None, "owner"),
        ({}, "owner"),
        ({"owner": 5}, "$.owner"),
        ({"owner": "me", "done": "4"}, "$.done"),
        ({"owner": "me", "names": ["a", 2]}, "$.names[1]"),
    ],
)
async def test_bad_initial_state_is_an_input_error(initial: object, path: str) -> None:
    """A missing required field, or one that does not fit, is refused by `start()` with its path."""
    async with open_runtime([Stateful]) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(Stateful, initial_state=initial, run_id="r")
        assert path in str(caught.value)
        assert (await runtime.run(Stateful, initial_state={"owner": "me"}, run_id="r"))["done"] == 1

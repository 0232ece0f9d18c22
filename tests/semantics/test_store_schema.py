"""Typed state: schema checks, defaults, `ctx.state`, `set_state`, `initial_state` (semantics B9)."""

from __future__ import annotations

import operator
from datetime import UTC, datetime
from enum import Enum
from typing import Any

import pytest
from attrs import define, field

from actorflow import Context, InputError, RunStatus, StateKeyError, StateTypeError, Workflow, open_runtime, step
from tests.semantics.store_flows import error_of, exact, flow_of, must_complete, play, run_body


@define
class Progress:
    """A state in which everything has a default."""

    items: list[str] = field(factory=list)
    counter: int = 0
    ratio: float = 0.0
    note: str | None = None


DEFAULTS = {"items": [], "counter": 0, "ratio": 0.0, "note": None}


@define
class Order:
    """A state with a required field."""

    customer: str
    total: int = 0


class Level(Enum):
    """How urgent it is."""

    LOW = "low"
    HIGH = "high"


@define
class Address:
    """A nested record."""

    city: str
    lines: list[str] = field(factory=list)


@define
class Rich:
    """A state whose fields are no plain JSON."""

    when: datetime
    level: Level = Level.LOW
    addresses: list[Address] = field(factory=list)
    by_name: dict[str, Address] = field(factory=dict)


@define
class Counter:
    """The part of `Progress` that one step wants to see."""

    counter: int = 0


MOMENT = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.rule("B9")
async def test_defaults_are_written_when_the_run_starts(journal: str) -> None:
    """Every field is in the store before the first line of `start` runs."""

    async def body(ctx: Any) -> None:
        assert await ctx.run_store.snapshot() == DEFAULTS
        assert await ctx.run_store.has("note") is True
        assert await ctx.run_store.push("items", "a") == 1
        assert await ctx.run_store.increment("counter") == 1

    await run_body(body, schema=Progress, journal=journal)


@pytest.mark.rule("B9")
async def test_defaults_are_fresh_for_every_run() -> None:
    """A list made by a factory is not shared between two runs of one workflow."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.push("items", ctx.run_id)

    flow = flow_of(body, schema=Progress)
    async with open_runtime([flow]) as runtime:
        for run_id in ("one", "two"):
            run = await runtime.start(flow, run_id=run_id)
            assert (await run.wait()).state["items"] == [run_id]


@pytest.mark.rule("B9", "A5")
@pytest.mark.parametrize(
    "verb, args",
    [
        ("set", (1,)),
        ("push", ("a",)),
        ("extend", (["a"],)),
        ("increment", ()),
        ("decrement", ()),
        ("merge", ({"a": 1},)),
        ("maximum", (1,)),
        ("minimum", (1,)),
        ("set_if_absent", (1,)),
        ("update", (lambda value: 1,)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_a_key_outside_the_schema_is_refused(verb: str, args: tuple[object, ...]) -> None:
    """`StateKeyError` names the key; nothing is created."""

    async def body(ctx: Any) -> None:
        error = await error_of(getattr(ctx.run_store, verb), "countr", *args)
        assert isinstance(error, StateKeyError)
        assert error.key == "countr"
        assert "countr" in str(error)
        assert await ctx.run_store.snapshot() == DEFAULTS

    await run_body(body, schema=Progress)


@pytest.mark.rule("B9", "A5")
@pytest.mark.parametrize(
    "verb, args",
    [
        ("set", ("counter", "5")),
        ("set", ("counter", 1.5)),
        ("set", ("counter", None)),
        ("set", ("items", "abc")),
        ("set", ("items", ["a", 1])),
        ("set", ("items", {"a": 1})),
        ("set", ("note", 1)),
        ("set", ("ratio", "0.5")),
        ("push", ("items", 1)),
        ("push", ("items", None)),
        ("push", ("items", ["a"])),
        ("push", ("counter", 1)),
        ("extend", ("items", ["a", 2])),
        ("increment", ("counter", 0.5)),
        ("maximum", ("counter", 2.5)),
        ("compare_and_set", ("counter", 0, "zero")),
        ("update", ("counter", lambda value: "one")),
    ],
    ids=lambda value: str(value) if isinstance(value, str | tuple) and "lambda" not in repr(value) else "",
)
async def test_a_value_that_does_not_fit_the_schema_is_refused(verb: str, args: tuple[object, ...]) -> None:
    """`StateTypeError` for a whole value, a pushed item or a result of another type; nothing changes."""

    async def body(ctx: Any) -> None:
        error = await error_of(getattr(ctx.run_store, verb), *args)
        assert isinstance(error, StateTypeError)
        assert error.key == args[0]
        assert exact(await ctx.run_store.snapshot()) == exact(DEFAULTS)

    await run_body(body, schema=Progress)


@pytest.mark.rule("B9")
async def test_values_that_fit_are_taken() -> None:
    """An int will do for a float, None for an optional, and every verb goes on working."""

    async def body(ctx: Any) -> None:
        store = ctx.run_store
        await store.set("ratio", 1)
        await store.set("note", "x")
        await store.set("note", None)
        await store.set("items", ("a", "b"))
        assert await store.push("items", "c") == 3
        assert await store.extend("items", ["d"]) == 4
        assert await store.increment("counter", 3) == 3
        assert await store.maximum("counter", 9) == 9
        assert await store.compare_and_set("counter", 9, 1) is True
        assert await store.update("counter", lambda value: value + 1) == 2
        state = await store.snapshot()
        assert state["ratio"] == 1
        assert {**state, "ratio": 0} == {"items": ["a", "b", "c", "d"], "counter": 2, "ratio": 0, "note": None}

    await run_body(body, schema=Progress)


@pytest.mark.rule("B9", "B11")
async def test_a_transaction_that_breaks_the_schema_applies_nothing() -> None:
    """One misfit in a transaction takes the rest with it."""

    async def body(ctx: Any) -> None:
        for key, value in (("items", 5), ("unknown", 5)):

            async def break_it(key: str = key, value: object = value) -> None:
                async with ctx.run_store.transaction() as tx:
                    tx.increment("counter")
                    tx.set(key, value)

            assert isinstance(await error_of(break_it), StateTypeError | StateKeyError)
        assert await ctx.run_store.snapshot() == DEFAULTS

    await run_body(body, schema=Progress)


@pytest.mark.rule("B9")
async def test_without_a_schema_any_key_and_type_go() -> None:
    """A key may change its type as often as it likes."""

    async def body(ctx: Any) -> None:
        for value in (1, "x", [1, "a"], {"a": 1}):
            await ctx.run_store.set("anything", value)
            assert await ctx.run_store.get("anything") == value

    await run_body(body)


# ---------------------------------------------------------------- initial state


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    "initial, counter",
    [(Progress(counter=3), 3), ({"counter": 4}, 4), (Progress(items=["x"]), 0), ({}, 0), (None, 0)],
    ids=repr,
)
async def test_an_initial_state_is_an_instance_or_a_mapping(initial: object, counter: int) -> None:
    """What is not given gets its default."""

    async def body(ctx: Any) -> None:
        state = await ctx.run_store.snapshot()
        assert set(state) == set(DEFAULTS)
        assert state["counter"] == ctx.state.counter == counter
        assert state["items"] == (["x"] if initial == Progress(items=["x"]) else [])

    await run_body(body, schema=Progress, initial_state=initial)


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    "initial",
    [None, {}, {"total": 1}, {"customer": None}, {"customer": 5}, {"customer": "c", "total": "1"}],
    ids=repr,
)
async def test_an_initial_state_that_does_not_fit_is_an_input_error(initial: object, journal: str) -> None:
    """A missing required field or a wrong type is named at `start`, and the run id stays free."""
    started: list[object] = []

    async def body(ctx: Any) -> None:
        started.append(ctx.state)

    flow = flow_of(body, schema=Order)
    async with open_runtime([flow], journal=journal) as runtime:
        error = await error_of(runtime.start, flow, run_id="r", initial_state=initial)
        assert isinstance(error, InputError)
        assert ("total" if initial and initial.get("customer") == "c" else "customer") in str(error)
        assert started == []
        run = await runtime.start(flow, run_id="r", initial_state=Order("c"))
        assert (await run.wait()).state == {"customer": "c", "total": 0}
    assert started == [Order("c", 0)]


@pytest.mark.rule("B9")
async def test_every_bad_field_of_an_initial_state_is_named() -> None:
    """One error tells all there is to mend, as paths."""
    flow = flow_of(lambda ctx: ctx.emit("never"), schema=Rich)
    bad = {"when": MOMENT.isoformat(), "level": "sky-high", "addresses": [{"city": "a"}, {"city": 5}]}
    async with open_runtime([flow]) as runtime:
        error = await error_of(runtime.start, flow, initial_state=bad)
    assert isinstance(error, InputError)
    assert "$.level" in str(error)
    assert "$.addresses[1].city" in str(error)


@pytest.mark.rule("B9")
async def test_a_key_outside_the_schema_is_refused_in_an_initial_state() -> None:
    """A misspelt field of the initial state is not dropped in silence."""
    flow = flow_of(lambda ctx: ctx.emit("never"), schema=Progress)
    async with open_runtime([flow]) as runtime:
        error = await error_of(runtime.start, flow, initial_state={"countr": 1})
    assert isinstance(error, InputError | StateKeyError)
    assert "countr" in str(error)


@pytest.mark.rule("B9")
async def test_an_initial_state_without_schema_is_taken_as_it_is(journal: str) -> None:
    """Any mapping of JSON values fills the store."""
    initial = {"a": [1], "b.c": None}

    async def body(ctx: Any) -> None:
        assert await ctx.run_store.snapshot() == initial
        assert ctx.state["a"] == [1]

    await run_body(body, initial_state=initial, journal=journal)


# ---------------------------------------------------------------- ctx.state


@pytest.mark.rule("B9", "B2")
async def test_the_state_is_typed_and_the_store_is_json(journal: str) -> None:
    """`ctx.state` has datetimes, enums and records; `get` and the outcome have JSON values."""
    seen: list[object] = []

    class Typed(Workflow):
        state = Rich

        async def start(self, data, ctx: Context):
            store = ctx.run_store
            seen.append(ctx.state)
            await store.set("level", Level.HIGH)
            await store.push("addresses", Address("Paris", ["rue"]))
            await store.merge("by_name", {"home": Address("Rome")})
            seen.append(await store.get("addresses"))
            seen.append(await store.get("level"))
            await ctx.schedule_next_step("look")

        async def look(self, data, ctx: Context):
            seen.append(ctx.state)

    outcome = must_complete(await play(Typed, initial_state=Rich(MOMENT), journal=journal))
    assert seen == [
        Rich(MOMENT),
        [{"city": "Paris", "lines": ["rue"]}],
        "high",
        Rich(MOMENT, Level.HIGH, [Address("Paris", ["rue"])], {"home": Address("Rome")}),
    ]
    assert isinstance(outcome.state["when"], str)
    assert {**outcome.state, "when": ""} == {
        "when": "",
        "level": "high",
        "addresses": [{"city": "Paris", "lines": ["rue"]}],
        "by_name": {"home": {"city": "Rome", "lines": []}},
    }


@pytest.mark.rule("B9")
async def test_a_pushed_record_is_checked_against_the_element_type() -> None:
    """An item of a list of records may come as a record or as its JSON form, and must fit."""

    async def body(ctx: Any) -> None:
        store = ctx.run_store
        assert await store.push("addresses", {"city": "Oslo", "lines": []}) == 1
        for item in ({"city": 5, "lines": []}, {"lines": []}, "Oslo", 7):
            assert isinstance(await error_of(store.push, "addresses", item), StateTypeError)
        assert isinstance(await error_of(store.set, "level", "sky-high"), StateTypeError)
        assert await store.get("addresses") == [{"city": "Oslo", "lines": []}]
        assert await store.get("level") == "low"

    await run_body(body, schema=Rich, initial_state=Rich(MOMENT))


@pytest.mark.rule("B9")
async def test_the_state_is_a_snapshot_of_the_start_of_the_step() -> None:
    """Later changes, the step's own included, do not show in it; mutating it reaches nobody."""
    seen: list[object] = []

    class Snapshots(Workflow):
        state = Progress

        async def start(self, data, ctx: Context):
            await ctx.run_store.increment("counter", 5)
            await ctx.run_store.push("items", "a")
            seen.append((ctx.state.counter, list(ctx.state.items)))
            ctx.state.items.append("only here")
            await ctx.schedule_next_step("later")

        async def later(self, data, ctx: Context):
            seen.append((ctx.state.counter, list(ctx.state.items)))

    outcome = must_complete(await play(Snapshots))
    assert seen == [(0, []), (5, ["a"])]
    assert outcome.state["items"] == ["a"]


@pytest.mark.rule("B9")
async def test_a_step_may_see_a_part_of_the_state() -> None:
    """`@step(state=…)` gives the step its own view of the master state."""
    seen: list[object] = []

    class Viewed(Workflow):
        state = Progress

        async def start(self, data, ctx: Context):
            await ctx.run_store.increment("counter", 2)
            await ctx.schedule_next_step("look")

        @step(state=Counter)
        async def look(self, data, ctx: Context):
            seen.append(ctx.state)
            await ctx.set_state(counter=ctx.state.counter + 1)

    outcome = must_complete(await play(Viewed, initial_state=Progress(note="kept")))
    assert seen == [Counter(2)]
    assert outcome.state == {**DEFAULTS, "counter": 3, "note": "kept"}


@pytest.mark.rule("B9")
async def test_without_a_schema_the_state_is_a_read_only_mapping() -> None:
    """It can be read like a dict, and not written."""

    async def body(ctx: Any) -> None:
        assert dict(ctx.state) == {"a": 1}
        assert ctx.state.get("b") is None
        assert isinstance(await error_of(operator.setitem, ctx.state, "a", 2), TypeError | AttributeError)
        await ctx.run_store.set("b", 2)
        assert "b" not in ctx.state
        assert await ctx.run_store.get("a") == 1

    await run_body(body, initial_state={"a": 1})


# ---------------------------------------------------------------- set_state


@pytest.mark.rule("B9")
async def test_set_state_sets_only_the_named_fields(journal: str) -> None:
    """Other fields keep what they have, also what came after the snapshot."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.push("items", "kept")
        assert await ctx.set_state(counter=ctx.state.counter + 1, note="n") is None
        assert await ctx.run_store.snapshot() == {**DEFAULTS, "items": ["kept"], "counter": 1, "note": "n"}

    await run_body(body, schema=Progress, journal=journal)


@pytest.mark.rule("B9", "B11", "A5")
@pytest.mark.parametrize(
    "changes, error_type, key",
    [
        ({"counter": 1, "items": 5}, StateTypeError, "items"),
        ({"counter": "1", "note": "n"}, StateTypeError, "counter"),
        ({"counter": 1, "countr": 2}, StateKeyError, "countr"),
    ],
    ids=repr,
)
async def test_set_state_is_all_or_nothing(
    changes: dict[str, Any], error_type: type[StateTypeError | StateKeyError], key: str
) -> None:
    """One field that does not fit keeps all of them back."""

    async def body(ctx: Any) -> None:
        error = await error_of(ctx.set_state, **changes)
        assert isinstance(error, error_type)
        assert error.key == key
        assert await ctx.run_store.snapshot() == DEFAULTS

    await run_body(body, schema=Progress)


@pytest.mark.rule("B9", "B2")
async def test_set_state_takes_typed_values() -> None:
    """Records, enums and datetimes go in as they are."""
    later = MOMENT.replace(year=2030)

    async def body(ctx: Any) -> None:
        await ctx.set_state(when=later, level=Level.HIGH, addresses=[Address("Bern")])
        assert datetime.fromisoformat(await ctx.run_store.get("when")) == later
        assert await ctx.run_store.get("level") == "high"
        assert await ctx.run_store.get("addresses") == [{"city": "Bern", "lines": []}]

    await run_body(body, schema=Rich, initial_state=Rich(MOMENT))


@pytest.mark.rule("B9")
async def test_set_state_works_without_a_schema() -> None:
    """Then any name goes, as with `set`."""

    async def body(ctx: Any) -> None:
        await ctx.set_state(a=[1], b=None)
        assert await ctx.run_store.snapshot() == {"a": [1], "b": None}

    await run_body(body)


@pytest.mark.rule("B9")
async def test_a_misfit_fails_the_step_that_does_not_catch_it() -> None:
    """The failure names the error type; the state is what it was before."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.push("items", "a")
        await ctx.run_store.push("items", 1)

    outcome = await play(flow_of(body, schema=Progress))
    assert outcome.status is RunStatus.FAILED
    assert "StateTypeError" in outcome.error.error_type
    assert outcome.state == {**DEFAULTS, "items": ["a"]}

"""Values of the run store: strict JSON, private copies, keys, missing against stored None (semantics B1 to B4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

import pytest
from attrs import define

from actorflow import (
    ActorflowError,
    Context,
    InputError,
    NotJsonError,
    StateKeyError,
    ValueTooLarge,
    Workflow,
    open_runtime,
)
from tests.semantics.store_flows import KEYED_VERBS, error_of, exact, flow_of, on_store, play, run_body

ROUND_TRIPS = [
    None,
    True,
    False,
    0,
    1,
    -1,
    1.0,
    0.1,
    -2.5e-300,
    1.7976931348623157e308,
    2**53 + 1,
    2**64,
    -(2**200),
    "",
    "é",
    "\N{GRINNING FACE}",
    '\x00\n"\\\x7f\u2028',
    "NaN",
    [],
    {},
    [[], {}, [None, True, 1, 1.0]],
    {"a": {"b": [1, {"c": None}]}},
    {"": 1, "a.b": 2, "$": 3, "__class__": 4},
]


def nested(levels: int) -> list[Any]:
    """That many lists, one in the other, the innermost empty."""
    value: list[Any] = []
    for _ in range(levels - 1):
        value = [value]
    return value


def list_cycle() -> list[Any]:
    """A list that holds itself."""
    value: list[Any] = [1]
    value.append(value)
    return value


def dict_cycle() -> dict[str, Any]:
    """A mapping that holds itself two levels down."""
    value: dict[str, Any] = {"a": []}
    value["a"].append(value)
    return value


# Factories, since a failing test would print the value, and some of these cannot be printed.
REFUSED: dict[str, Callable[[], object]] = {
    "nan": lambda: math.nan,
    "inf": lambda: math.inf,
    "minus inf": lambda: -math.inf,
    "nested nan": lambda: {"a": [math.nan]},
    "bytes": lambda: b"x",
    "bytearray": lambda: bytearray(b"x"),
    "set": lambda: {1},
    "frozenset": lambda: frozenset({1}),
    "object": object,
    "function": lambda: len,
    "complex": lambda: 1j,
    "int key": lambda: {1: 2},
    "two keys of one text": lambda: {1: "a", "1": "b"},
    "None key": lambda: {None: 1},
    "bool key": lambda: {True: 1},
    "float key": lambda: {1.5: 1},
    "tuple key": lambda: {("a",): 1},
    "list cycle": list_cycle,
    "dict cycle": dict_cycle,
    "201 levels": lambda: nested(201),
    "100,000 levels": lambda: nested(100_000),
    "lone surrogate": lambda: "a\ud800",
    "lone surrogate in a key": lambda: {"\udfff": 1},
}


@pytest.mark.rule("B1", "B2")
async def test_json_values_come_back_as_they_were_sent(journal: str) -> None:
    """Every kind of JSON value survives `set` and `push` with its exact type."""

    async def body(store: Any) -> None:
        for number, value in enumerate(ROUND_TRIPS):
            await store.set(f"v{number}", value)
            assert exact(await store.get(f"v{number}")) == exact(value)
            await store.push("all", value)
        assert exact(await store.get("all")) == exact(ROUND_TRIPS)

    await on_store(body, journal=journal)


@pytest.mark.rule("B1", "B2")
async def test_values_survive_the_end_of_the_run_unchanged(journal: str) -> None:
    """The final snapshot holds the same JSON values."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("all", ROUND_TRIPS)

    outcome = await play(flow_of(body), journal=journal)
    assert exact(outcome.state) == exact({"all": ROUND_TRIPS})


@pytest.mark.rule("B2", "A5")
@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
async def test_what_is_not_json_is_refused_and_changes_nothing(make: Callable[[], object]) -> None:
    """A value outside strict JSON raises `NotJsonError`; the old value and the run go on."""

    async def body(store: Any) -> None:
        await store.set("k", "old")
        assert isinstance(await error_of(store.set, "k", make()), NotJsonError)
        assert isinstance(await error_of(store.set, "fresh", make()), NotJsonError)
        assert isinstance(await error_of(store.push, "list", make()), NotJsonError)
        assert await store.snapshot() == {"k": "old"}
        assert await store.increment("n") == 1

    await on_store(body)


@pytest.mark.rule("B2", "A5")
@pytest.mark.parametrize(
    "verb, args",
    [
        ("extend", ("list", [1, math.nan])),
        ("merge", ("object", {"b": math.nan})),
        ("merge", ("object", {2: 1})),
        ("set_if_absent", ("fresh", b"x")),
        ("compare_and_set", ("n", 1, {1})),
        ("update", ("n", lambda value: math.inf)),
        ("update", ("n", lambda value: {value})),
        ("set_nowait", ("n", math.nan)),
        ("push_nowait", ("list", math.nan)),
    ],
)
async def test_every_verb_that_sends_a_value_is_strict(verb: str, args: tuple[object, ...]) -> None:
    """No verb is a back door for values outside JSON."""

    async def body(store: Any) -> None:
        before = {"n": 1, "list": [0], "object": {"a": 1}}
        for key, value in before.items():
            await store.set(key, value)
        assert isinstance(await error_of(getattr(store, verb), *args), NotJsonError)
        assert await store.snapshot() == before

    await on_store(body)


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    "value, path",
    [
        ({"rows": [{"price": 1}, {"price": math.nan}]}, "rows[1].price"),
        ({"rows": [[0, b"x"]]}, "rows[0][1]"),
        ({"a": {"b": {"c": {1, 2}}}}, "a.b.c"),
        ([0, 1, {"name": "\ud800"}], "[2].name"),
        ({"a": [{"b": {1: 2}}]}, "a[0].b"),
    ],
)
async def test_the_refusal_names_the_path(value: object, path: str) -> None:
    """`NotJsonError` says where in the value the trouble is."""

    async def body(store: Any) -> None:
        error = await error_of(store.set, "k", value)
        assert isinstance(error, NotJsonError)
        assert path in str(error)

    await on_store(body)


@pytest.mark.rule("B2")
async def test_two_hundred_levels_are_allowed() -> None:
    """Nesting is refused past 200 levels, not at 200."""

    async def body(store: Any) -> None:
        await store.set("deep", nested(200))
        assert exact(await store.get("deep")) == exact(nested(200))

    await on_store(body)


@pytest.mark.rule("B2")
async def test_the_same_object_twice_is_no_cycle() -> None:
    """A value shared by two places is stored as two copies."""

    async def body(store: Any) -> None:
        shared = [1]
        await store.set("k", {"a": shared, "b": [shared, shared]})
        got = await store.get("k")
        got["a"].append(2)
        assert got == {"a": [1, 2], "b": [[1], [1]]}

    await on_store(body)


@pytest.mark.rule("B2")
async def test_tuples_are_stored_as_lists() -> None:
    """A tuple comes back as a list at every level."""

    async def body(store: Any) -> None:
        await store.set("t", (1, (2, {"a": (3,)})))
        await store.push("p", (1, 2))
        assert await store.get("t") == [1, [2, {"a": [3]}]]
        assert await store.get("p") == [[1, 2]]

    await on_store(body)


@pytest.mark.rule("B2")
async def test_integers_of_4300_digits_are_exact_and_longer_ones_too_large(journal: str) -> None:
    """The longest integer Python prints survives; one digit more is `ValueTooLarge`."""
    largest = 10**4300 - 1

    async def body(store: Any) -> None:
        await store.set("big", largest)
        await store.set("small", -largest)
        same = await store.get("big") == largest, await store.get("small") == -largest
        assert same == (True, True)
        for refused in (largest + 1, -largest - 1, [1, {"a": largest + 1}]):
            too_large = isinstance(await error_of(store.set, "k", refused), ValueTooLarge)
            assert too_large
        assert not await store.has("k")

    await on_store(body, journal=journal)


@pytest.mark.rule("B2", "B6")
async def test_increment_does_not_pass_the_limit_of_digits() -> None:
    """A sum of more than 4,300 digits is refused and the value stays."""
    largest = 10**4300 - 1

    async def body(store: Any) -> None:
        await store.set("n", largest)
        too_large = isinstance(await error_of(store.increment, "n"), ValueTooLarge)
        unchanged = await store.get("n") == largest
        assert (too_large, unchanged) == (True, True)

    await on_store(body)


class Colour(Enum):
    """An enum with text values."""

    RED = "red"


@define
class Point:
    """An attrs class with a nested enum."""

    x: int
    colour: Colour


@pytest.mark.rule("B2")
async def test_python_values_are_unstructured_on_the_way_in() -> None:
    """Instances of attrs classes, enums, UUIDs, datetimes and Decimals are stored as JSON and read back as JSON."""
    moment = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
    number = UUID("12345678123456781234567812345678")

    async def body(store: Any) -> None:
        await store.set("point", Point(1, Colour.RED))
        await store.push("points", Point(2, Colour.RED))
        await store.set("colour", Colour.RED)
        await store.set("id", {"deep": [number]})
        await store.set("when", moment)
        await store.set("price", Decimal("1.50"))
        assert await store.get("point") == {"x": 1, "colour": "red"}
        assert await store.get("points") == [{"x": 2, "colour": "red"}]
        assert await store.get("colour") == "red"
        assert await store.get("id") == {"deep": [str(number)]}
        assert datetime.fromisoformat(await store.get("when")) == moment
        assert Decimal(str(await store.get("price"))) == Decimal("1.5")

    await on_store(body)


@pytest.mark.rule("B1")
@pytest.mark.parametrize(
    "verb, expected",
    [
        ("set", {"inner": [1]}),
        ("push", [{"inner": [1]}]),
        ("set_if_absent", {"inner": [1]}),
        ("merge", {"inner": [1]}),
        ("set_nowait", {"inner": [1]}),
        ("push_nowait", [{"inner": [1]}]),
    ],
)
async def test_mutating_what_was_sent_changes_nothing(verb: str, expected: object, journal: str) -> None:
    """The store keeps a copy of what it is given."""

    async def body(store: Any) -> None:
        sent = {"inner": [1]}
        result = getattr(store, verb)("k", sent)
        if result is not None:
            await result
        sent["inner"].append(2)
        sent["more"] = [3]
        assert await store.get("k") == expected

    await on_store(body, journal=journal)


@pytest.mark.rule("B1")
async def test_extend_and_compare_and_set_copy_too() -> None:
    """Each item of `extend` and the new value of `compare_and_set` are copied."""

    async def body(store: Any) -> None:
        items = [[1], [2]]
        await store.extend("list", items)
        items[0].append(9)
        items.append([3])
        assert await store.get("list") == [[1], [2]]
        value = [1]
        assert await store.compare_and_set("list", [[1], [2]], value)
        value.append(9)
        assert await store.get("list") == [1]

    await on_store(body)


@pytest.mark.rule("B1")
@pytest.mark.parametrize(
    "read",
    [
        lambda store: store.get("k"),
        lambda store: store.slice("k", 0, 10),
        lambda store: store.wait_for("k", bool),
        lambda store: store.update("k", lambda value: value),
    ],
    ids=["get", "slice", "wait_for", "update"],
)
async def test_mutating_what_was_read_changes_nothing(read: Callable[[Any], Any]) -> None:
    """What a verb returns is a private copy, at every level."""

    async def body(store: Any) -> None:
        await store.set("k", [{"a": [1]}])
        got = await read(store)
        assert got == [{"a": [1]}]
        got[0]["a"].append(2)
        got.append(3)
        assert await store.get("k") == [{"a": [1]}]

    await on_store(body)


@pytest.mark.rule("B1")
async def test_a_snapshot_is_a_private_copy() -> None:
    """Mutating a snapshot changes neither the store nor another snapshot."""

    async def body(store: Any) -> None:
        await store.set("k", {"a": [1]})
        first, second = await store.snapshot(), await store.snapshot()
        first["k"]["a"].append(2)
        first["new"] = 1
        assert second == await store.snapshot() == {"k": {"a": [1]}}

    await on_store(body)


@pytest.mark.rule("B1")
async def test_the_argument_and_the_result_of_an_update_stay_private() -> None:
    """A function that keeps hold of its argument or its result cannot reach into the store later."""
    kept: list[list[int]] = []

    def grow(value: list[int]) -> list[int]:
        kept.append(value)
        result = [*value, 2]
        kept.append(result)
        return result

    async def body(store: Any) -> None:
        await store.set("k", [1])
        assert await store.update("k", grow) == [1, 2]
        for value in kept:
            value.append(99)
        assert await store.get("k") == [1, 2]

    await on_store(body)


@pytest.mark.rule("B1")
async def test_a_default_is_not_stored() -> None:
    """`get` with a mutable default hands it out without keeping it."""

    async def body(store: Any) -> None:
        got = await store.get("k", default=[])
        got.append(1)
        assert not await store.has("k")
        assert await store.get("k", default=[]) == []

    await on_store(body)


@pytest.mark.rule("B1")
async def test_a_payload_is_copied_when_it_is_scheduled() -> None:
    """Mutating a payload after the call does not reach the step."""
    seen: list[object] = []

    class Sender(Workflow):
        """Schedule, then change the payload."""

        async def start(self, data, ctx: Context):
            """Send one list."""
            payload = {"items": [1]}
            await ctx.schedule_next_step("receive", payload)
            payload["items"].append(2)

        async def receive(self, data, ctx: Context):
            """Keep what came."""
            seen.append(data)

    await play(Sender)
    assert seen == [{"items": [1]}]


@pytest.mark.rule("B1")
async def test_snapshots_outside_the_run_are_private_copies() -> None:
    """Mutating `initial_state`, `RunOutcome.state` or `Run.state()` changes nothing for others."""
    initial = {"list": [1]}
    states: list[object] = []

    async def body(ctx: Any) -> None:
        states.append(await ctx.run_store.get("list"))
        await ctx.run_store.push("list", 2)

    flow = flow_of(body, keep=True)
    async with open_runtime([flow]) as runtime:
        run = await runtime.start(flow, initial_state=initial)
        initial["list"].append(99)
        outcome = await run.wait()
        outcome.state["list"].append(98)
        (await run.state())["list"].append(97)
        assert await run.state() == {"list": [1, 2]}
    assert states == [[1]]


@pytest.mark.rule("B2")
@pytest.mark.parametrize("initial", [{"a": math.nan}, {"a": {1}}, {"a": b"x"}, {1: 1}])
async def test_an_initial_state_outside_json_is_refused_at_start(initial: object) -> None:
    """`start` raises and the run id stays free."""
    flow = flow_of(lambda ctx: ctx.run_store.set("ok", True))
    async with open_runtime([flow]) as runtime:
        error = await error_of(runtime.start, flow, run_id="r", initial_state=initial)
        assert isinstance(error, InputError | NotJsonError | StateKeyError)
        run = await runtime.start(flow, run_id="r", initial_state={"a": 1})
        assert (await run.wait()).state == {"a": 1, "ok": True}


BAD_KEYS = [1, None, True, 1.5, b"k", ("a",), ["a"], "", "k" * 513, "é" * 257]


@pytest.mark.rule("B3", "A5")
@pytest.mark.parametrize("verb", KEYED_VERBS)
async def test_every_verb_refuses_every_bad_key(verb: str) -> None:
    """A key that is no text, empty or too long raises `StateKeyError`; nothing is coerced, nothing stored."""

    async def body(store: Any) -> None:
        for key in BAD_KEYS:
            error = await error_of(KEYED_VERBS[verb], store, key)
            assert isinstance(error, StateKeyError), (verb, key, error)
            assert isinstance(error, ActorflowError)
        assert await store.snapshot() == {}

    await on_store(body)


@pytest.mark.rule("B3")
async def test_keys_are_taken_as_they_are(journal: str) -> None:
    """Dots, dollars, slashes and dunder names are ordinary keys, all distinct."""
    keys = ["a", "a.b", "$.a", "$", "../x", "é", "e\u0301", "__class__", "1", " ", " a", "A", "a\x00b"]
    keys += ["k" * 512, "é" * 256]

    async def body(store: Any) -> None:
        await store.set("a", {"b": "inner"})
        for number, key in enumerate(keys):
            await store.set(key, number)
        assert await store.snapshot() == {key: number for number, key in enumerate(keys)}
        assert sorted(await store.keys()) == sorted(keys)

    await on_store(body, journal=journal)


@pytest.mark.rule("B3")
async def test_a_key_with_a_lone_surrogate_is_refused() -> None:
    """A key that has no UTF-8 form is no key."""

    async def body(store: Any) -> None:
        assert isinstance(await error_of(store.set, "a\ud800", 1), StateKeyError | NotJsonError)
        assert await store.snapshot() == {}

    await on_store(body)


@pytest.mark.rule("B4")
async def test_a_missing_key_and_a_stored_none_are_told_apart(journal: str) -> None:
    """`get` gives None for both; `has` and `default` tell."""

    async def body(store: Any) -> None:
        assert await store.get("x") is None
        assert await store.get("x", default=7) == 7
        assert await store.get("x", 7) == 7
        assert await store.has("x") is False
        await store.set("x", None)
        assert await store.get("x") is None
        assert await store.get("x", default=7) is None
        assert await store.has("x") is True
        assert await store.snapshot() == {"x": None}

    await on_store(body, journal=journal)


@pytest.mark.rule("B4")
async def test_a_default_may_be_any_object() -> None:
    """A default is handed back as it is; it never goes into the store."""
    default = object()

    async def body(ctx: Any) -> bool:
        return await ctx.run_store.get("x", default=default) is default

    assert await run_body(body) is True

"""The verbs of the run store: what each does, returns and refuses (semantics B5 to B7, contract section 6)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actorflow import (
    MISSING,
    ActorflowError,
    Context,
    Limits,
    NotJsonError,
    RunStatus,
    StateTypeError,
    Workflow,
)
from tests.semantics.store_flows import (
    error_of,
    exact,
    flow_of,
    must_complete,
    on_store,
    play,
    run_body,
)

# ---------------------------------------------------------------- one verb at a time


@pytest.mark.rule("B5")
async def test_set_overwrites_any_type_and_returns_none(journal: str) -> None:
    """`set` replaces whatever was there."""

    async def body(store: Any) -> None:
        for value in (1, "x", [1], {"a": 1}, None, True):
            assert await store.set("k", value) is None
            assert exact(await store.get("k")) == exact(value)

    await on_store(body, journal=journal)


@pytest.mark.rule("B5")
async def test_push_creates_the_list_and_returns_its_length(journal: str) -> None:
    """`push` on a missing key makes a list of one; every push adds one item, also when the item is a list."""

    async def body(store: Any) -> None:
        assert await store.push("l", "a") == 1
        assert await store.push("l", [1, 2]) == 2
        assert await store.push("l", None) == 3
        assert await store.get("l") == ["a", [1, 2], None]

    await on_store(body, journal=journal)


@pytest.mark.rule("B5")
async def test_extend_adds_each_item_and_returns_the_length(journal: str) -> None:
    """`extend` adds as many items as it gets, none for an empty list."""

    async def body(store: Any) -> None:
        assert await store.extend("l", [1, [2]]) == 2
        assert await store.extend("l", []) == 2
        assert await store.extend("l", (3, 4)) == 4
        assert await store.push("l", 5) == 5
        assert await store.get("l") == [1, [2], 3, 4, 5]

    await on_store(body, journal=journal)


@pytest.mark.rule("B5")
async def test_push_works_on_a_list_that_was_set() -> None:
    """A list that came by `set` grows like one that came by `push`."""

    async def body(store: Any) -> None:
        await store.set("l", ["a"])
        assert await store.push("l", "b") == 2
        await store.set("empty", [])
        assert await store.push("empty", 1) == 1
        assert await store.snapshot() == {"l": ["a", "b"], "empty": [1]}

    await on_store(body)


@pytest.mark.rule("B6")
async def test_increment_and_decrement_take_default_negative_and_zero_deltas(journal: str) -> None:
    """The new value comes back; zero creates the key; a missing key starts at 0."""

    async def body(store: Any) -> None:
        assert await store.increment("c") == 1
        assert await store.increment("c", -1) == 0
        assert await store.decrement("c", 2) == -2
        assert await store.decrement("c") == -3
        assert await store.increment("z", 0) == 0
        assert await store.has("z") is True
        assert await store.decrement("d") == -1
        assert await store.increment("k", delta=5) == 5

    await on_store(body, journal=journal)


@pytest.mark.rule("B6")
@pytest.mark.parametrize(
    "start, delta, expected",
    [
        (0.5, 0.25, 0.75),
        (1, 0.5, 1.5),
        (1, 1.0, 2.0),
        (1.5, 1, 2.5),
        (2.0, -2, 0.0),
        (2**53, 1, 2**53 + 1),
        (10**30, 10**30, 2 * 10**30),
        (-(2**63), -1, -(2**63) - 1),
    ],
)
async def test_ints_stay_exact_and_a_float_makes_a_float(start: float, delta: float, expected: float) -> None:
    """Sum of two ints is an exact int, any float makes a float, in the reply and in the store."""

    async def body(store: Any) -> None:
        await store.set("n", start)
        assert exact(await store.increment("n", delta)) == exact(expected)
        assert exact(await store.get("n")) == exact(expected)
        assert exact(await store.decrement("n", delta)) == exact(expected - delta)

    await on_store(body)


@pytest.mark.rule("B6", "A5")
@pytest.mark.parametrize("value, delta", [(1e308, 1e308), (-1e308, -1e308)])
async def test_an_infinite_sum_is_refused(value: float, delta: float) -> None:
    """A result beyond the floats raises and leaves the value."""

    async def body(store: Any) -> None:
        await store.set("n", value)
        assert isinstance(await error_of(store.increment, "n", delta), StateTypeError | NotJsonError)
        assert await store.get("n") == value
        assert await store.increment("n", -delta) == 0.0

    await on_store(body)


@pytest.mark.rule("B6", "A5")
async def test_an_int_too_large_for_a_float_is_refused_with_a_float_delta() -> None:
    """A sum that no float can hold is a refusal, not an `OverflowError`."""

    async def body(store: Any) -> None:
        await store.set("n", 10**400)
        assert isinstance(await error_of(store.increment, "n", 0.5), ActorflowError)
        assert await store.get("n") == 10**400

    await on_store(body)


@pytest.mark.rule("B6", "A5")
@pytest.mark.parametrize("verb", ["increment", "decrement", "maximum", "minimum", "increment_nowait"])
@pytest.mark.parametrize("number", ["1", True, None, [1], {}, math.nan, math.inf], ids=repr)
async def test_what_is_no_number_is_no_delta(verb: str, number: object) -> None:
    """Text, bools, None, containers and non-finite floats are refused; nothing is created or changed."""

    async def body(store: Any) -> None:
        await store.set("n", 3)
        for key in ("n", "fresh"):
            error = await error_of(getattr(store, verb), key, number)
            assert isinstance(error, StateTypeError | NotJsonError)
        assert await store.snapshot() == {"n": 3}

    await on_store(body)


NOT_LISTS = [1, 1.5, "x", {}, {"a": 1}, None, True]
NOT_NUMBERS = ["5", [1], {}, None, True, False]
NOT_OBJECTS = [1, "x", [1], None, True]

MISFITS: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "push": (lambda store: store.push("k", 1), NOT_LISTS),
    "extend": (lambda store: store.extend("k", [1]), NOT_LISTS),
    "remove": (lambda store: store.remove("k", 1), NOT_LISTS),
    "length": (lambda store: store.length("k"), NOT_LISTS),
    "slice": (lambda store: store.slice("k", 0, 1), NOT_LISTS),
    "increment": (lambda store: store.increment("k"), NOT_NUMBERS),
    "increment by zero": (lambda store: store.increment("k", 0), NOT_NUMBERS),
    "decrement": (lambda store: store.decrement("k"), NOT_NUMBERS),
    "maximum": (lambda store: store.maximum("k", 1), NOT_NUMBERS),
    "minimum": (lambda store: store.minimum("k", 1), NOT_NUMBERS),
    "merge": (lambda store: store.merge("k", {"a": 1}), NOT_OBJECTS),
}


@pytest.mark.rule("A5", "B5", "B6")
@pytest.mark.parametrize("verb", MISFITS)
async def test_a_verb_on_a_value_of_the_wrong_type_raises_and_changes_nothing(verb: str, journal: str) -> None:
    """`StateTypeError` names the key, the value is unchanged, the next operation works."""
    call, values = MISFITS[verb]

    async def body(store: Any) -> None:
        for value in values:
            await store.set("k", value)
            error = await error_of(call, store)
            assert isinstance(error, StateTypeError), (value, error)
            assert error.key == "k"
            assert exact(await store.get("k")) == exact(value)
        assert await store.increment("n") == 1

    await on_store(body, journal=journal)


@pytest.mark.rule("A5")
async def test_an_error_names_the_run_and_the_key() -> None:
    """Errors carry `run_id` and `key`, so that a log line says where to look."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("tally", "x")
        error = await error_of(ctx.run_store.increment, "tally")
        assert isinstance(error, StateTypeError)
        assert (error.run_id, error.key) == (ctx.run_id, "tally")

    await run_body(body)


@pytest.mark.rule("B5")
async def test_delete_says_whether_the_key_existed(journal: str) -> None:
    """A deleted key is missing in every respect, and may come back."""

    async def body(store: Any) -> None:
        assert await store.delete("k") is False
        await store.set("k", None)
        assert await store.delete("k") is True
        assert await store.has("k") is False
        assert await store.delete("k") is False
        await store.set("n", 41)
        await store.delete("n")
        assert await store.increment("n") == 1
        await store.push("l", 1)
        await store.delete("l")
        assert await store.push("l", 2) == 1
        assert await store.snapshot() == {"n": 1, "l": [2]}

    await on_store(body, journal=journal)


@pytest.mark.rule("B5")
async def test_remove_takes_every_equal_item_and_counts_them() -> None:
    """Equality is that of JSON, deep; order of the rest is kept; a missing key gives 0 and stays missing."""

    async def body(store: Any) -> None:
        items = [{"a": [1], "b": 2}, 2, {"b": 2, "a": [1]}, "2", 2]
        await store.set("l", items)
        assert await store.remove("l", {"a": [1], "b": 2}) == 2
        assert await store.remove("l", "absent") == 0
        assert await store.get("l") == [2, "2", 2]
        assert await store.remove("l", 2) == 2
        assert await store.remove("l", "2") == 1
        assert await store.get("l") == []
        assert await store.remove("missing", 1) == 0
        assert await store.has("missing") is False

    await on_store(body)


@pytest.mark.rule("B5")
async def test_remove_tells_bools_from_numbers() -> None:
    """True is not 1 and False is not 0, at any depth."""

    async def body(store: Any) -> None:
        await store.set("l", [1, True, 0, False, [True], [1]])
        assert await store.remove("l", True) == 1
        assert await store.remove("l", 0) == 1
        assert await store.remove("l", [1]) == 1
        assert exact(await store.get("l")) == exact([1, False, [True]])

    await on_store(body)


@pytest.mark.rule("B5")
async def test_pop_returns_the_value_and_takes_the_key_away(journal: str) -> None:
    """`pop` of a missing key gives the default, and a stored None is a value."""

    async def body(store: Any) -> None:
        await store.set("k", {"a": [1]})
        assert await store.pop("k") == {"a": [1]}
        assert await store.has("k") is False
        assert await store.pop("k") is None
        assert await store.pop("k", default=7) == 7
        await store.set("none", None)
        assert await store.pop("none", default=7) is None
        assert await store.snapshot() == {}

    await on_store(body, journal=journal)


@pytest.mark.rule("B5")
async def test_merge_is_shallow_and_creates_the_object(journal: str) -> None:
    """Given names are replaced as a whole, others stay; a missing key starts empty."""

    async def body(store: Any) -> None:
        assert await store.merge("o", {"a": {"x": 1}, "b": 1}) is None
        assert await store.merge("o", {"a": {"y": 2}, "c": None}) is None
        await store.merge("o", {})
        assert await store.get("o") == {"a": {"y": 2}, "b": 1, "c": None}

    await on_store(body, journal=journal)


@pytest.mark.rule("A5")
@pytest.mark.parametrize("mapping", [1, None, "ab", [1], [["a", 1]]], ids=repr)
async def test_merge_of_something_else_than_a_mapping_is_refused(mapping: object) -> None:
    """Only a mapping can be merged; nothing changes otherwise."""

    async def body(store: Any) -> None:
        await store.set("o", {"z": 1})
        assert isinstance(await error_of(store.merge, "o", mapping), ActorflowError | TypeError)
        assert await store.snapshot() == {"o": {"z": 1}}

    await on_store(body)


@pytest.mark.rule("B6")
async def test_maximum_and_minimum_keep_the_extreme(journal: str) -> None:
    """The new value comes back; a missing key takes the number as it is."""

    async def body(store: Any) -> None:
        assert await store.maximum("hi", 3) == 3
        assert await store.maximum("hi", 1) == 3
        assert await store.maximum("hi", 4.5) == 4.5
        assert await store.minimum("lo", -1) == -1
        assert await store.minimum("lo", 5) == -1
        assert await store.minimum("lo", -(2**70)) == -(2**70)
        assert await store.minimum("zero", 7) == 7
        assert await store.snapshot() == {"hi": 4.5, "lo": -(2**70), "zero": 7}

    await on_store(body, journal=journal)


@pytest.mark.rule("B4")
async def test_set_if_absent_sets_once(journal: str) -> None:
    """It says whether it was set; a stored None counts as present."""

    async def body(store: Any) -> None:
        assert await store.set_if_absent("k", 1) is True
        assert await store.set_if_absent("k", 2) is False
        await store.set("none", None)
        assert await store.set_if_absent("none", 3) is False
        assert await store.snapshot() == {"k": 1, "none": None}

    await on_store(body, journal=journal)


@pytest.mark.rule("B4")
@pytest.mark.parametrize(
    "current, expected, done",
    [
        (1, 1, True),
        (1, 2, False),
        (1, True, False),
        (True, 1, False),
        (0, False, False),
        ([1, [True]], [1, [1]], False),
        ([1, 2], (1, 2), True),
        ({"a": 1, "b": [2]}, {"b": [2], "a": 1}, True),
        ({"a": 1}, {"a": 1, "b": None}, False),
        (None, None, True),
        (None, MISSING, False),
        ("", None, False),
        ([], {}, False),
        (MISSING, None, False),
        (MISSING, MISSING, True),
        (MISSING, 0, False),
    ],
    ids=repr,
)
async def test_compare_and_set_compares_as_json(current: object, expected: object, done: bool) -> None:
    """It sets exactly if the stored value equals; a missing key equals only `MISSING`."""

    async def body(store: Any) -> None:
        if current is not MISSING:
            await store.set("k", current)
        before = await store.snapshot()
        assert await store.compare_and_set("k", expected, "new") is done
        assert exact(await store.snapshot()) == exact({"k": "new"} if done else before)

    await on_store(body)


@pytest.mark.rule("B1")
async def test_update_applies_the_function_and_returns_the_new_value(journal: str) -> None:
    """The function gets the value or the default; a missing key without default gives it None."""
    seen: list[object] = []

    def note(value: object) -> object:
        seen.append(value)
        return {"was": value}

    async def body(store: Any) -> None:
        await store.set("n", 20)
        assert await store.update("n", lambda value: value * 2 + 2) == 42
        assert await store.update("fresh", note) == {"was": None}
        assert await store.update("other", note, default=[1]) == {"was": [1]}
        assert await store.update("n", note, default="unused") == {"was": 42}
        assert seen == [None, [1], 42]
        assert await store.snapshot() == {"n": {"was": 42}, "fresh": {"was": None}, "other": {"was": [1]}}

    await on_store(body, journal=journal)


@pytest.mark.rule("A5", "B1")
async def test_a_function_that_raises_in_update_changes_nothing() -> None:
    """The error reaches the caller alone, even if the function had already changed its argument."""

    def spoil(value: list[int]) -> list[int]:
        value.append(99)
        raise ZeroDivisionError("spoilt")

    async def body(store: Any) -> None:
        await store.set("l", [1])
        error = await error_of(store.update, "l", spoil)
        assert isinstance(error, ZeroDivisionError) or isinstance(error.__cause__, ZeroDivisionError)
        assert await store.get("l") == [1]
        assert await store.push("l", 2) == 2

    await on_store(body)


@pytest.mark.rule("B3")
async def test_keys_lists_by_plain_prefix(journal: str) -> None:
    """The prefix is text, not a pattern, and the default is every key."""

    async def body(store: Any) -> None:
        assert list(await store.keys()) == []
        for key in ("a", "a.b", "a.c", "b", "*"):
            await store.set(key, 1)
        assert sorted(await store.keys()) == ["*", "a", "a.b", "a.c", "b"]
        assert sorted(await store.keys("a")) == ["a", "a.b", "a.c"]
        assert sorted(await store.keys("a.")) == ["a.b", "a.c"]
        assert sorted(await store.keys(prefix="*")) == ["*"]
        assert sorted(await store.keys("zz")) == []

    await on_store(body, journal=journal)


@pytest.mark.rule("B4")
async def test_length_and_slice_read_a_part_of_a_list(journal: str) -> None:
    """Half-open ranges as in Python; a missing key is 0 and []."""

    async def body(store: Any) -> None:
        assert await store.length("l") == 0
        assert await store.slice("l", 0, 5) == []
        await store.extend("l", list(range(10)))
        assert await store.length("l") == 10
        assert await store.slice("l", 2, 5) == [2, 3, 4]
        assert await store.slice("l", 8, 99) == [8, 9]
        assert await store.slice("l", 5, 5) == []
        assert await store.slice("l", 99, 100) == []
        assert await store.has("l") is True
        assert await store.keys() == ["l"]

    await on_store(body, journal=journal)


@pytest.mark.rule("A2")
async def test_a_long_list_is_read_back_whole_and_in_parts(journal: str) -> None:
    """Many pushes, whatever way they are kept, give one list; a removal in the middle closes the gap."""

    async def body(store: Any) -> None:
        for number in range(600):
            await store.push("l", number)
        assert await store.get("l") == list(range(600))
        assert await store.slice("l", 250, 520) == list(range(250, 520))
        assert await store.remove("l", 300) == 1
        assert await store.push("l", "end") == 600
        assert await store.slice("l", 299, 301) == [299, 301]
        assert (await store.snapshot())["l"] == [*range(300), *range(301, 600), "end"]

    await on_store(body, journal=journal)


# ---------------------------------------------------------------- waiting


@pytest.mark.rule("A2")
async def test_wait_for_returns_at_once_if_the_predicate_holds() -> None:
    """The value comes back; the predicate sees None for a missing key."""
    seen: list[object] = []

    def absent(value: object) -> bool:
        seen.append(value)
        return value is None

    async def body(store: Any) -> None:
        await store.set("n", 3)
        assert await store.wait_for("n", lambda value: value == 3) == 3
        assert await store.wait_for("missing", absent) is None
        assert seen[0] is None

    await on_store(body)


@pytest.mark.rule("A2")
async def test_wait_for_wakes_when_another_branch_makes_it_true(journal: str) -> None:
    """A waiting step goes on with the value that satisfied it, and does not keep others from writing."""
    got: list[object] = []

    class Barrier(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("arrive", range(5))
            got.append(await ctx.run_store.wait_for("n", lambda value: value is not None and value >= 5))

        async def arrive(self, data, ctx: Context):
            await ctx.run_store.increment("n")

    must_complete(await play(Barrier, journal=journal))
    assert got == [5]


@pytest.mark.rule("A6")
async def test_a_cancelled_wait_for_leaves_nothing_behind() -> None:
    """After cancellation the store goes on and a later match calls nobody."""
    calls: list[object] = []

    async def body(store: Any) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def wait() -> None:
                    await store.wait_for("n", lambda value: bool(calls.append(value)))

                nursery.start_soon(wait)
                await trio.testing.wait_all_tasks_blocked()
                await store.set("n", 1)
                scope.cancel()
        seen = len(calls)
        assert seen > 0
        await store.set("n", 2)
        assert await store.get("n") == 2
        assert len(calls) == seen

    await on_store(body)


# ---------------------------------------------------------------- order, and calls without a reply


@pytest.mark.rule("A2", "B7")
async def test_calls_without_reply_keep_program_order_across_verbs(journal: str) -> None:
    """A mix of verbs without and with reply, on several keys, is applied as written."""

    async def body(store: Any) -> None:
        for number in range(100):
            assert store.set_nowait("p", 1) is None
            assert store.increment_nowait("p", 4) is None
            store.set_nowait("q", number)
            assert store.push_nowait("l", number) is None
            assert await store.delete("q") is True
            store.set_nowait("p", "gone")
            store.set_nowait("p", number)
            assert await store.get("p") == number
        assert await store.snapshot() == {"p": 99, "l": list(range(100))}

    await on_store(body, journal=journal)


@pytest.mark.rule("A2")
async def test_calls_without_reply_are_applied_although_the_step_ends(journal: str) -> None:
    """A step that returns right after its last call has said it all the same."""

    async def body(ctx: Any) -> None:
        for number in range(20):
            ctx.run_store.push_nowait("l", number)
        ctx.run_store.increment_nowait("n")

    outcome = must_complete(await play(flow_of(body), journal=journal))
    assert outcome.state == {"l": list(range(20)), "n": 1}


@pytest.mark.rule("A5")
@pytest.mark.parametrize(
    "verb, args",
    [("push_nowait", (1,)), ("increment_nowait", ()), ("set_nowait", (object(),))],
    ids=["push", "increment", "set"],
)
async def test_a_call_without_reply_checks_its_arguments_at_the_call(verb: str, args: tuple[object, ...]) -> None:
    """A bad key, or a bad value, raises where the call stands."""

    async def body(store: Any) -> None:
        key = "k" if verb == "set_nowait" else ""
        assert isinstance(await error_of(getattr(store, verb), key, *args), ActorflowError)
        assert await store.snapshot() == {}

    await on_store(body)


@pytest.mark.rule("A5", "C7")
@pytest.mark.parametrize("verb", ["push_nowait", "increment_nowait"])
async def test_a_failed_call_without_reply_fails_the_step_at_its_end(verb: str, journal: str) -> None:
    """Nothing vanishes: the step ran to its end, and is then recorded as failed."""
    ended: list[bool] = []

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("k", "text")
        getattr(ctx.run_store, verb)("k", 1)
        await ctx.run_store.set("later", True)
        ended.append(True)

    outcome = await play(flow_of(body), journal=journal)
    assert outcome.status is RunStatus.FAILED
    assert "StateTypeError" in outcome.error.error_type
    assert ended == [True]
    assert outcome.state == {"k": "text", "later": True}


@pytest.mark.rule("A3")
async def test_a_full_mailbox_raises_would_block(sqlite_url: str) -> None:
    """Without a checkpoint nothing can be committed, so the bound is met; what was accepted is applied."""

    async def body(store: Any) -> None:
        accepted = 0
        error: Exception | None = None
        while error is None and accepted < 10_000:
            error = await error_of(store.increment_nowait, "n")
            accepted += error is None
        assert isinstance(error, trio.WouldBlock)
        assert await store.get("n", default=0) == accepted
        assert await store.increment("n") == accepted + 1

    await on_store(body, journal=sqlite_url, limits=Limits(mailbox=16))


@pytest.mark.rule("B7")
async def test_a_thousand_concurrent_increments_return_one_to_a_thousand(journal: str) -> None:
    """No increment is lost and no value is returned twice; the pushes beside them are all there."""
    returned: list[int] = []

    class Counting(Workflow):
        async def start(self, data, ctx: Context):
            assert await ctx.schedule_many("count", range(1000)) == 1000

        async def count(self, data, ctx: Context):
            returned.append(await ctx.run_store.increment("n"))
            await ctx.run_store.push("l", {"id": data})

    outcome = must_complete(await play(Counting, journal=journal))
    assert sorted(returned) == list(range(1, 1001))
    assert outcome.state["n"] == 1000
    assert sorted(item["id"] for item in outcome.state["l"]) == list(range(1000))


@pytest.mark.rule("B7")
async def test_concurrent_calls_of_one_step_are_each_applied_once(journal: str) -> None:
    """Tasks inside one step are senders, too."""
    returned: list[int] = []

    async def body(store: Any) -> None:
        async def add() -> None:
            returned.append(await store.increment("n"))

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(add)
        assert sorted(returned) == list(range(1, 101))

    await on_store(body, journal=journal)


@pytest.mark.rule("A2", "B7")
async def test_each_branch_keeps_its_own_order(journal: str) -> None:
    """Pushes of several branches mix, but never within one branch, nor across verbs."""

    class Mixed(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("push_all", ["a", "b", "c"])

        async def push_all(self, data, ctx: Context):
            for number in range(60):
                if number % 3:
                    await ctx.run_store.push("l", [data, number])
                else:
                    ctx.run_store.push_nowait("l", [data, number])

    outcome = must_complete(await play(Mixed, journal=journal))
    pushed = outcome.state["l"]
    assert len(pushed) == 180
    for branch in "abc":
        assert [number for sender, number in pushed if sender == branch] == list(range(60))


@pytest.mark.rule("B7", "A2")
@pytest.mark.parametrize("verb", ["update", "compare_and_set"])
async def test_the_race_of_get_and_set_is_cured_by_one_message(verb: str) -> None:
    """`update`, or `compare_and_set` in a loop, counts a hundred branches exactly."""

    class Cured(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 0)
            await ctx.schedule_many("add", range(100))

        async def add(self, data, ctx: Context):
            if verb == "update":
                await ctx.run_store.update("n", lambda value: value + 1)
                return
            while True:
                value = await ctx.run_store.get("n")
                await trio.lowlevel.checkpoint()
                if await ctx.run_store.compare_and_set("n", value, value + 1):
                    return

    assert must_complete(await play(Cured)).state == {"n": 100}


@pytest.mark.rule("B7")
async def test_set_if_absent_has_one_winner() -> None:
    """Of many branches that claim a key, exactly one gets it, and its value stays."""
    winners: list[int] = []

    class Claim(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("claim", range(50))

        async def claim(self, data, ctx: Context):
            if await ctx.run_store.set_if_absent("owner", data):
                winners.append(data)

    outcome = must_complete(await play(Claim))
    assert len(winners) == 1
    assert outcome.state == {"owner": winners[0]}


@pytest.mark.rule("B7")
async def test_pop_hands_a_value_to_one_branch() -> None:
    """Of many branches that pop a key, exactly one gets the value."""
    got: list[object] = []

    class Grab(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("token", "t")
            await ctx.schedule_many("grab", range(50))

        async def grab(self, data, ctx: Context):
            got.append(await ctx.run_store.pop("token"))

    must_complete(await play(Grab))
    assert sorted(value for value in got if value is not None) == ["t"]
    assert len(got) == 50


# ---------------------------------------------------------------- operation ids

NAMED: dict[str, tuple[object, Callable[[Any], Any]]] = {
    "set": (1, lambda store: store.set("k", 2, op_id="x")),
    "push": ([0], lambda store: store.push("k", 1, op_id="x")),
    "extend": ([0], lambda store: store.extend("k", [1, 2], op_id="x")),
    "remove": ([0, 0], lambda store: store.remove("k", 0, op_id="x")),
    "increment": (5, lambda store: store.increment("k", op_id="x")),
    "decrement": (5, lambda store: store.decrement("k", op_id="x")),
    "delete": (5, lambda store: store.delete("k", op_id="x")),
    "pop": (5, lambda store: store.pop("k", op_id="x")),
    "merge": ({}, lambda store: store.merge("k", {"a": 1}, op_id="x")),
    "maximum": (5, lambda store: store.maximum("k", 6, op_id="x")),
    "minimum": (5, lambda store: store.minimum("k", 4, op_id="x")),
    "set_if_absent": (MISSING, lambda store: store.set_if_absent("k", 1, op_id="x")),
    "compare_and_set": (5, lambda store: store.compare_and_set("k", 5, 6, op_id="x")),
    "update": (5, lambda store: store.update("k", lambda value: value + 1, op_id="x")),
}


@pytest.mark.rule("C3")
@pytest.mark.parametrize("verb", NAMED)
async def test_an_operation_id_makes_every_changing_verb_count_once(verb: str) -> None:
    """The same call with the same `op_id` gives the recorded reply and changes nothing more."""
    initial, call = NAMED[verb]

    async def body(store: Any) -> None:
        if initial is not MISSING:
            await store.set("k", initial)
        first = await call(store)
        after = await store.snapshot()
        assert exact(await call(store)) == exact(first)
        assert await store.snapshot() == after

    await on_store(body)

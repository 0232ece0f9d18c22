"""Transactions of the run store: all or nothing, seen by others as one change (semantics B11)."""

from __future__ import annotations

import math
from typing import Any

import pytest
import trio

from actorflow import (
    ActorflowError,
    Context,
    LostUpdate,
    NotJsonError,
    RunStatus,
    StateKeyError,
    StateTypeError,
    Workflow,
)
from tests.semantics.store_flows import (
    error_of,
    exact,
    flow_of,
    interleave,
    must_complete,
    on_store,
    play,
)


@pytest.mark.rule("B11")
async def test_the_verbs_apply_in_order_on_leaving(journal: str) -> None:
    """Plain calls without a result; nothing shows before the block ends, everything after."""

    async def body(store: Any) -> None:
        await store.set("gone", 1)
        async with store.transaction() as tx:
            assert tx.set("a", 1) is None
            assert tx.increment("a", 4) is None
            assert tx.push("l", "x") is None
            assert tx.extend("l", ["y", ["z"]]) is None
            assert tx.merge("o", {"p": 1}) is None
            assert tx.delete("gone") is None
            tx.decrement("d", 2)
            tx.maximum("m", 3)
            tx.minimum("m", 2)
            assert await store.snapshot() == {"gone": 1}
        assert await store.snapshot() == {"a": 5, "l": ["x", "y", ["z"]], "o": {"p": 1}, "d": -2, "m": 2}

    await on_store(body, journal=journal)


@pytest.mark.rule("B11")
async def test_each_verb_sees_what_the_ones_before_it_did() -> None:
    """Deleting and pushing the same key in one transaction follows the program order."""

    async def body(store: Any) -> None:
        await store.set("l", "no list")
        async with store.transaction() as tx:
            tx.delete("l")
            tx.push("l", 1)
            tx.push("l", 2)
            tx.remove("l", 1)
            tx.set("n", "text")
            tx.set("n", 1)
            tx.increment("n")
        assert await store.snapshot() == {"l": [2], "n": 2}

    await on_store(body)


@pytest.mark.rule("B11", "B1")
async def test_what_is_sent_is_copied_at_the_call() -> None:
    """Mutating a value between its call and the end of the block changes nothing."""

    async def body(store: Any) -> None:
        async with store.transaction() as tx:
            value = [1]
            tx.set("a", value)
            value.append(2)
            tx.push("b", value)
            value.append(3)
        value.append(4)
        assert await store.snapshot() == {"a": [1], "b": [[1, 2]]}

    await on_store(body)


@pytest.mark.rule("B11")
async def test_an_error_in_the_block_drops_everything(journal: str) -> None:
    """The error comes out bare, and no verb was applied."""

    async def body(store: Any) -> None:
        await store.set("n", 1)

        async def drop() -> None:
            async with store.transaction() as tx:
                tx.increment("n")
                tx.push("l", 1)
                raise ZeroDivisionError("mine")

        error = await error_of(drop)
        assert type(error) is ZeroDivisionError
        assert error.args == ("mine",)
        assert await store.snapshot() == {"n": 1}
        assert await store.increment("n") == 2

    await on_store(body, journal=journal)


@pytest.mark.rule("B11", "A6")
async def test_a_cancelled_block_drops_everything() -> None:
    """Cancellation inside the block means that it did not happen."""

    async def body(store: Any) -> None:
        with trio.CancelScope() as scope:
            async with store.transaction() as tx:
                tx.push("l", 1)
                scope.cancel()
                await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught
        assert await store.snapshot() == {}

    await on_store(body)


@pytest.mark.rule("B11", "A5")
@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize(
    "verb, args, error_type",
    [
        ("push", ("text", 1), StateTypeError),
        ("increment", ("text",), StateTypeError),
        ("increment", ("n", 1e308), StateTypeError | NotJsonError),
        ("merge", ("text", {"a": 1}), StateTypeError),
        ("increment", ("n", "1"), StateTypeError),
        ("set", ("n", math.nan), NotJsonError),
        ("push", ("", 1), StateKeyError),
    ],
    ids=str,
)
async def test_one_bad_verb_keeps_all_back(
    verb: str, args: tuple[object, ...], error_type: type[ActorflowError], position: int, journal: str
) -> None:
    """Wherever the bad one stands, the good ones around it are not applied either."""

    async def body(store: Any) -> None:
        before = {"text": "t", "n": 1e308, "l": [0]}
        for key, value in before.items():
            await store.set(key, value)

        async def spoil() -> None:
            async with store.transaction() as tx:
                for turn in range(3):
                    if turn == position:
                        getattr(tx, verb)(*args)
                    else:
                        tx.push("l", turn)
                        tx.set(f"fresh{turn}", 1)

        assert isinstance(await error_of(spoil), error_type)
        assert exact(await store.snapshot()) == exact(before)
        async with store.transaction() as tx:
            tx.push("l", "after")
        assert await store.get("l") == [0, "after"]

    await on_store(body, journal=journal)


@pytest.mark.rule("B11", "A5")
async def test_the_refusal_names_the_key() -> None:
    """What fails on leaving says which key it was about."""

    async def body(store: Any) -> None:
        await store.set("text", "t")

        async def spoil() -> None:
            async with store.transaction() as tx:
                tx.increment("fine")
                tx.increment("text")

        error = await error_of(spoil)
        assert isinstance(error, StateTypeError)
        assert error.key == "text"

    await on_store(body)


@pytest.mark.rule("B11")
async def test_an_empty_transaction_does_nothing(journal: str) -> None:
    """A block without verbs is allowed."""

    async def body(store: Any) -> None:
        async with store.transaction():
            pass
        assert await store.snapshot() == {}

    await on_store(body, journal=journal)


@pytest.mark.rule("B11")
async def test_transactions_of_one_step_do_not_mix() -> None:
    """Two open blocks keep their verbs apart; the inner one may fail alone."""

    async def body(store: Any) -> None:
        async with store.transaction() as outer:
            outer.push("l", "outer")

            async def fail() -> None:
                async with store.transaction() as inner:
                    inner.push("l", "inner")
                    raise KeyError("inner only")

            assert isinstance(await error_of(fail), KeyError)
            async with store.transaction() as inner:
                inner.push("l", "first")
        assert await store.get("l") == ["first", "outer"]

    await on_store(body)


@pytest.mark.rule("B11")
async def test_others_see_it_as_one_change(journal: str) -> None:
    """While a hundred branches move money, no snapshot of any observer shows a different sum."""
    sums: list[int] = []

    class Moving(Workflow):
        async def start(self, data, ctx: Context):
            async with ctx.run_store.transaction() as tx:
                tx.set("a", 500)
                tx.set("b", 0)
            await ctx.schedule_many("move", range(100))
            await ctx.schedule_many("observe", range(5))

        async def move(self, data, ctx: Context):
            async with ctx.run_store.transaction() as tx:
                tx.decrement("a", 5)
                await trio.lowlevel.checkpoint()
                tx.increment("b", 5)
                tx.push("moves", data)

        async def observe(self, data, ctx: Context):
            while True:
                state = await ctx.run_store.snapshot()
                sums.append(state["a"] + state["b"])
                assert len(state.get("moves", [])) * 5 == state["b"]
                if state["b"] == 500:
                    return
                await trio.lowlevel.checkpoint()

    outcome = must_complete(await play(Moving, journal=journal))
    assert (outcome.state["a"], outcome.state["b"]) == (0, 500)
    assert sorted(outcome.state["moves"]) == list(range(100))
    assert len(sums) >= 5
    assert set(sums) == {500}


@pytest.mark.rule("B11")
async def test_a_predicate_never_sees_half_of_it() -> None:
    """`wait_for` is asked after the whole transaction, not between its verbs."""
    seen: list[object] = []

    def watch(value: object) -> bool:
        seen.append(value)
        return value == "end"

    class Watching(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("change")
            assert await ctx.run_store.wait_for("k", watch) == "end"

        async def change(self, data, ctx: Context):
            async with ctx.run_store.transaction() as tx:
                for value in ("begin", "middle", "end"):
                    tx.set("k", value)

    must_complete(await play(Watching))
    assert seen[-1] == "end"
    assert set(seen) <= {None, "end"}


async def set_tally(ctx: Any) -> None:
    """The other branch's change."""
    await ctx.run_store.set("tally", 50)


async def read_tally(ctx: Any) -> None:
    """The read that goes stale."""
    await ctx.run_store.get("tally")


async def transact(ctx: Any) -> None:
    """Good verbs around the stale write."""
    async with ctx.run_store.transaction() as tx:
        tx.push("before", 1)
        tx.set("tally", 1)
        tx.push("after", 1)


@pytest.mark.rule("B10", "B11")
async def test_a_lost_update_drops_the_whole_transaction(journal: str) -> None:
    """A stale `set` inside refuses its neighbours, too."""
    clash = await interleave(reads=read_tally, foreign=set_tally, writes=transact, journal=journal)
    assert [type(error) for error in clash.errors] == [LostUpdate]
    assert clash.outcome.state == {"tally": 50}


@pytest.mark.rule("B11")
async def test_a_step_that_fails_inside_the_block_leaves_nothing_of_it() -> None:
    """What came before the block stays, what stood in it does not."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("before", 1)
        async with ctx.run_store.transaction() as tx:
            tx.set("inside", 1)
            raise RuntimeError("in the block")

    outcome = await play(flow_of(body))
    assert outcome.status is RunStatus.FAILED
    assert outcome.state == {"before": 1}


@pytest.mark.rule("B11", "C11")
async def test_a_hook_may_use_a_transaction() -> None:
    """The completion hook sees the run store with all its verbs."""

    class Hooked(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("l", 1)

        async def on_workflow_complete(self, ctx: Context):
            async with ctx.run_store.transaction() as tx:
                tx.push("l", 2)
                tx.set("done", True)
            return await ctx.run_store.get("l")

    outcome = must_complete(await play(Hooked))
    assert outcome.output == [1, 2]
    assert outcome.state == {"l": [1, 2], "done": True}

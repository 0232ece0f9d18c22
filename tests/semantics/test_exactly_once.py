"""Steps run at least once, their effects count exactly once (semantics C3, C4), over retries and over closing."""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    HookRestriction,
    Retry,
    Run,
    RunOutcome,
    RunStatus,
    RunStore,
    Workflow,
    open_runtime,
    step,
)

Body = Callable[[Context, int], Awaitable[object]]
HOW = pytest.mark.parametrize("how", ["retry", "close"])


class Flaky(Exception):
    """What cuts a pass short in the tests of retries."""


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def reached_or_over(reached: trio.Event, run: Run) -> None:
    """Return when a step set the event, or else when the run ended without it: a bug must not become a hang."""
    async with trio.open_nursery() as nursery:

        async def over() -> None:
            await run.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(over)
        await reached.wait()
        nursery.cancel_scope.cancel()


async def two_passes(
    body: Body,
    how: str,
    url: str,
    *,
    initial: dict[str, object] | None = None,
    commit: str = "at_once",
    between: Callable[[Context], Awaitable[object]] | None = None,
) -> tuple[list[object], RunOutcome]:
    """Run `body` in two passes of one activation; the first is cut short by an error or by closing the runtime.

    The run's output is the store at its end: it is there also for a handle obtained after the run ended.
    """
    numbers = itertools.count(1)
    reached = trio.Event()
    replies = []

    class TwoPasses(Workflow):
        async def start(self, data, ctx: Context):
            for key, value in (initial or {}).items():
                await ctx.run_store.set(key, value)
            await ctx.schedule_next_step("work")

        @step(retry=Retry(attempts=2, delay=0.0, jitter=0.0), commit=commit)
        async def work(self, data, ctx: Context):
            number = next(numbers)
            replies.append(await body(ctx, number))
            if number == 1:
                if between is not None:
                    await ctx.schedule_next_step("between")
                    await ctx.run_store.wait_for("between", lambda value: value is True)
                if how == "retry":
                    raise Flaky("first pass")
                reached.set()
                await trio.sleep_forever()

        async def between(self, data, ctx: Context):
            await between(ctx)
            await ctx.run_store.set("between", True)

        async def child(self, data, ctx: Context):
            await ctx.run_store.push("children", data)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    async with open_runtime([TwoPasses], journal=url, shutdown_grace=0) as runtime:
        run = await runtime.start(TwoPasses, run_id="r")
        if how == "retry":
            return replies, await run.wait()
        await reached_or_over(reached, run)
    async with open_runtime([TwoPasses], journal=url) as runtime:
        return replies, await (await runtime.get_run("r")).wait()


async def plain_transaction(store: RunStore) -> None:
    """Two verbs as one change."""
    async with store.transaction() as tx:
        tx.increment("n", 1)
        tx.push("l", 7)


async def nowait(store: RunStore) -> bool:
    """The plain verbs, and a call that returns after all of them."""
    store.increment_nowait("n", 1)
    store.push_nowait("l", 7)
    store.set_nowait("s", "set")
    return await store.has("s")


INITIAL: dict[str, object] = {"n": 10, "l": [1, 2, 2], "o": {"a": 1}}
VERBS: dict[str, tuple[Callable[[RunStore], Awaitable[object]], object, dict[str, object]]] = {
    "increment": (lambda store: store.increment("n", 2), 12, {"n": 12}),
    "decrement": (lambda store: store.decrement("n", 2), 8, {"n": 8}),
    "push": (lambda store: store.push("l", 3), 4, {"l": [1, 2, 2, 3]}),
    "extend": (lambda store: store.extend("l", [3, 4]), 5, {"l": [1, 2, 2, 3, 4]}),
    "remove": (lambda store: store.remove("l", 2), 2, {"l": [1]}),
    "pop": (lambda store: store.pop("n"), 10, {"n": None}),
    "delete": (lambda store: store.delete("n"), True, {"n": None}),
    "update": (lambda store: store.update("n", lambda value: value * 2), 20, {"n": 20}),
    "set_if_absent": (lambda store: store.set_if_absent("new", 1), True, {"new": 1}),
    "compare_and_set": (lambda store: store.compare_and_set("n", 10, 11), True, {"n": 11}),
    "transaction": (plain_transaction, None, {"n": 11, "l": [1, 2, 2, 7]}),
    "nowait": (nowait, True, {"n": 11, "l": [1, 2, 2, 7], "s": "set"}),
}


@HOW
@pytest.mark.rule("C3", "F4")
@pytest.mark.parametrize("verb", VERBS)
async def test_repeated_verb_gets_its_recorded_reply(verb: str, how: str, sqlite_url: str) -> None:
    """A verb that the first pass had applied is not applied again by the second, which gets the same reply."""
    call, reply, expected = VERBS[verb]
    replies, outcome = await two_passes(lambda ctx, _: call(ctx.run_store), how, sqlite_url, initial=INITIAL)
    assert outcome.status is RunStatus.COMPLETED
    assert replies == [reply, reply]
    assert {key: outcome.output.get(key) for key in INITIAL | expected} == INITIAL | expected


@HOW
@pytest.mark.rule("C3")
async def test_equal_operations_are_matched_one_to_one(how: str, sqlite_url: str) -> None:
    """Two equal increments of a pass are two; the next pass finds both, and a third one there is new."""

    async def body(ctx: Context, number: int) -> list[int]:
        return [await ctx.run_store.increment("n") for _ in range(1 + number)]

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies == [[1, 2], [1, 2, 3]]
    assert outcome.output == {"n": 3}


@HOW
@pytest.mark.rule("C3")
async def test_first_write_stands_though_the_value_differs_now(how: str, sqlite_url: str) -> None:
    """An operation whose value comes out differently on the second pass is the same operation: the first stands."""

    async def body(ctx: Context, number: int) -> list[object]:
        await ctx.run_store.set("token", f"token-{number}")
        return [await ctx.run_store.push("l", number), await ctx.run_store.increment("n", number * 5)]

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies == [[1, 5], [1, 5]]
    assert outcome.output == {"token": "token-1", "l": [1], "n": 5}


@HOW
@pytest.mark.rule("C3")
async def test_equal_arguments_match_before_order(how: str, sqlite_url: str) -> None:
    """Operations that come in another order on the second pass are recognised by their arguments."""

    async def body(ctx: Context, number: int) -> dict[int, int]:
        deltas = [5, 7] if number == 1 else [7, 5]
        return {delta: await ctx.run_store.increment("n", delta) for delta in deltas}

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies == [{5: 5, 7: 12}] * 2
    assert outcome.output == {"n": 12}


@HOW
@pytest.mark.rule("C3")
async def test_other_key_or_verb_is_a_new_operation(how: str, sqlite_url: str) -> None:
    """What the second pass does with another key, or another verb, is applied beside what the first one left."""

    async def body(ctx: Context, number: int) -> object:
        if number == 1:
            return await ctx.run_store.increment("n")
        await ctx.run_store.increment("m")
        return await ctx.run_store.decrement("n", 5)

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies == [1, -4]
    assert outcome.output == {"n": -4, "m": 1}


@HOW
@pytest.mark.rule("C3")
async def test_op_id_names_the_operation_outright(how: str, sqlite_url: str) -> None:
    """With `op_id` the same operation is found whatever its order and arguments, also twice in one pass."""

    async def body(ctx: Context, number: int) -> list[int]:
        store = ctx.run_store
        calls = [("a", 5), ("b", 7)] if number == 1 else [("b", 70), ("a", 50), ("c", 1)]
        return [await store.increment("n", delta, op_id=name) for name, delta in calls]

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies == [[5, 12], [12, 5, 13]]
    assert outcome.output == {"n": 13}


@pytest.mark.rule("C3")
async def test_op_id_sent_twice_counts_once(journal: str) -> None:
    """The same `op_id` sent again by the same step counts once and gets the first reply."""
    replies = []

    class Again(Workflow):
        async def start(self, data, ctx: Context):
            for _ in range(3):
                replies.append(await ctx.run_store.push("l", "x", op_id="only"))

    async with open_runtime([Again], journal=journal) as runtime:
        outcome = await (await runtime.start(Again)).wait()
    assert (replies, outcome.state) == ([1, 1, 1], {"l": ["x"]})


@pytest.mark.rule("C3")
async def test_op_id_belongs_to_its_activation() -> None:
    """Two branches that use the same `op_id` are two operations."""

    class Branches(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(5))

        async def work(self, data, ctx: Context):
            await ctx.run_store.increment("n", op_id="once-per-branch")

    async with open_runtime([Branches]) as runtime:
        outcome = await (await runtime.start(Branches)).wait()
    assert outcome.state == {"n": 5}


@pytest.mark.rule("C3")
async def test_reads_and_refusals_are_done_afresh() -> None:
    """A read, and an operation that was answered False, are not recorded: the second pass sees the present."""

    async def body(ctx: Context, number: int) -> list[object]:
        store = ctx.run_store
        return [
            await store.snapshot() == {"taken": "by start"},
            await store.set_if_absent("taken", "by step"),
            await store.compare_and_set("version", 2, 3),
        ]

    async def between(ctx: Context) -> None:
        await ctx.run_store.delete("taken")
        await ctx.run_store.set("version", 2)

    replies, outcome = await two_passes(body, "retry", "memory:", initial={"taken": "by start"}, between=between)
    assert replies == [[True, False, False], [False, True, True]]
    assert (outcome.output["taken"], outcome.output["version"]) == ("by step", 3)


@pytest.mark.rule("C3")
async def test_recorded_reply_outlives_what_others_did() -> None:
    """The recorded reply is the one of the first pass, also when other branches changed the key since."""

    async def body(ctx: Context, number: int) -> object:
        return await ctx.run_store.increment("n")

    replies, outcome = await two_passes(body, "retry", "memory:", between=lambda ctx: ctx.run_store.increment("n", 100))
    assert replies == [1, 1]
    assert outcome.output["n"] == 101


@HOW
@pytest.mark.rule("C3")
async def test_set_state_is_one_matched_operation(how: str, sqlite_url: str) -> None:
    """`set_state` computed from a fresh snapshot on the second pass still counts once."""

    async def body(ctx: Context, number: int) -> None:
        await ctx.set_state(count=ctx.state["count"] + 1, other="x")

    _, outcome = await two_passes(body, how, sqlite_url, initial={"count": 0})
    assert outcome.output == {"count": 1, "other": "x"}


@HOW
@pytest.mark.rule("C3")
async def test_scheduled_step_is_matched(how: str, sqlite_url: str) -> None:
    """A step that schedules again on its second pass gets the same activation, with the first payload, run once."""

    async def body(ctx: Context, number: int) -> list[str]:
        handles = [await ctx.schedule_next_step("child", "same") for _ in range(2)]
        handles.append(await ctx.schedule_next_step("child", f"pass {number}"))
        return [handle.activation_id for handle in handles]

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert replies[0] == replies[1]
    assert len(set(replies[0])) == 3
    assert sorted(outcome.output["children"]) == ["pass 1", "same", "same"]


@HOW
@pytest.mark.rule("C3")
async def test_schedule_many_is_matched(how: str, sqlite_url: str) -> None:
    """A fan-out that was cut short after it was armed is not armed again."""
    replies, outcome = await two_passes(lambda ctx, number: ctx.schedule_many("child", range(500)), how, sqlite_url)
    assert replies == [500, 500]
    assert sorted(outcome.output["children"]) == list(range(500))


@HOW
@pytest.mark.rule("C3", "C2")
async def test_activation_id_is_stable(how: str, sqlite_url: str) -> None:
    """Both passes of a step carry the same activation id, fit for an idempotency key."""

    async def body(ctx: Context, number: int) -> str:
        return ctx.activation_id

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert outcome.status is RunStatus.COMPLETED
    assert len(replies) == 2
    assert replies[0] == replies[1]


@pytest.mark.rule("C3", "F4", "C5")
async def test_branch_retried_three_times_and_crashed_twice_counts_once(sqlite_url: str) -> None:
    """Three failed attempts and two closings in one branch leave its effects, and its attempts, counted once."""
    plan = iter(["fail", "close", "fail", "close", "fail", "done"])
    attempts, closing = [], []

    class Battered(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(retry=Retry(attempts=4, delay=0.0, jitter=0.0))
        async def work(self, data, ctx: Context):
            attempts.append(ctx.attempt)
            await ctx.run_store.increment("counted")
            await ctx.run_store.push("list", "item")
            await ctx.schedule_next_step("child")
            match next(plan):
                case "fail":
                    raise Flaky("again")
                case "close":
                    closing[-1].set()
                    await trio.sleep_forever()
                case _:
                    pass

        async def child(self, data, ctx: Context):
            await ctx.run_store.increment("children")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    for opening in range(3):
        closing.append(trio.Event())
        async with open_runtime([Battered], journal=sqlite_url, shutdown_grace=0) as runtime:
            run = await (runtime.get_run("r") if opening else runtime.start(Battered, run_id="r"))
            if opening < 2:
                await reached_or_over(closing[-1], run)
            else:
                outcome = await run.wait()
    assert outcome.output == {"counted": 1, "list": ["item"], "children": 1}
    assert attempts == [1, 2, 2, 3, 3, 4]


@pytest.mark.rule("C3", "F4", "C1")
async def test_all_open_branches_go_on_after_reopening(sqlite_url: str) -> None:
    """Of fifty branches, done, half done and never begun at the closing, each one is counted exactly once."""
    begun = []
    halfway = trio.Event()
    first_life = [True]

    class Import(Workflow):
        max_live_steps = 20

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("process", range(50))

        async def process(self, data, ctx: Context):
            begun.append(data)
            await ctx.run_store.push("seen", data)
            await ctx.run_store.increment("count")
            if first_life[0] and data >= 25:
                if data == 30:
                    halfway.set()
                await trio.sleep_forever()

        async def on_workflow_complete(self, ctx: Context):
            return {"seen": sorted(await ctx.run_store.get("seen")), "count": await ctx.run_store.get("count")}

    async with open_runtime([Import], journal=sqlite_url, shutdown_grace=0) as runtime:
        await reached_or_over(halfway, await runtime.start(Import, run_id="import"))
    first_life[0] = False
    done_before = len(begun)
    async with open_runtime([Import], journal=sqlite_url) as runtime:
        outcome = await (await runtime.get_run("import")).wait()
    assert outcome.output == {"seen": list(range(50)), "count": 50}
    assert 30 <= done_before < 50
    assert len(begun) > 50


@pytest.mark.rule("C3", "C11", "F4")
async def test_hook_that_was_cut_short_runs_again_with_its_effects_once(sqlite_url: str) -> None:
    """A completion hook interrupted by closing runs again after reopening, and what it did counts once."""
    calls = []
    reached = trio.Event()

    class Hooked(Workflow):
        async def start(self, data, ctx: Context):
            pass

        async def on_workflow_complete(self, ctx: Context):
            calls.append(await ctx.run_store.increment("hooked"))
            if len(calls) == 1:
                reached.set()
                await trio.sleep_forever()
            return await ctx.run_store.get("hooked")

    async with open_runtime([Hooked], journal=sqlite_url, shutdown_grace=0) as runtime:
        await reached_or_over(reached, await runtime.start(Hooked, run_id="r"))
    async with open_runtime([Hooked], journal=sqlite_url) as runtime:
        outcome = await (await runtime.get_run("r")).wait()
    assert (outcome.status, outcome.output, calls) == (RunStatus.COMPLETED, 1, [1, 1])


@HOW
@pytest.mark.rule("C4")
async def test_once_runs_its_function_once(how: str, sqlite_url: str) -> None:
    """The result of `once` is journaled: a later pass gets it without calling the function."""
    calls = []

    async def charge(amount: int, currency: str) -> dict[str, object]:
        calls.append((amount, currency))
        return {"receipt": len(calls), "amount": amount}

    async def body(ctx: Context, number: int) -> list[object]:
        first = await ctx.once("charge", charge, 5, "eur")
        return [first, await ctx.once("charge-again", charge, 6, "eur")]

    replies, outcome = await two_passes(body, how, sqlite_url)
    assert outcome.status is RunStatus.COMPLETED
    assert calls == [(5, "eur"), (6, "eur")]
    assert replies == [[{"receipt": 1, "amount": 5}, {"receipt": 2, "amount": 6}]] * 2


@pytest.mark.rule("C4", "C5")
async def test_once_that_failed_is_not_journaled() -> None:
    """A function that raised in `once` fails the attempt as itself and is called again by the next one."""
    calls = []

    async def unreliable() -> str:
        calls.append(None)
        if len(calls) < 3:
            raise Flaky("not yet")
        return "answer"

    class Once(Workflow):
        @step(retry=Retry(attempts=3, delay=0.0, on=(Flaky,)))
        async def start(self, data, ctx: Context):
            return await ctx.once("ask", unreliable)

    async with open_runtime([Once]) as runtime:
        assert await runtime.run(Once) == "answer"
    assert len(calls) == 3


@pytest.mark.rule("C4")
async def test_once_is_per_activation() -> None:
    """Branches that use the same name in `once` each run their own."""
    calls = []

    async def note(number: int) -> int:
        calls.append(number)
        return number

    class Branches(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(5))

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("results", await ctx.once("note", note, data))

    async with open_runtime([Branches]) as runtime:
        outcome = await (await runtime.start(Branches)).wait()
    assert sorted(calls) == sorted(outcome.state["results"]) == list(range(5))


@pytest.mark.rule("C3")
async def test_emit_is_seen_once_over_retries(journal: str) -> None:
    """A custom event that every attempt emits appears on the run's stream once, and one of its own appears too."""
    passes = itertools.count(1)

    class Emits(Workflow):
        @step(retry=Retry(attempts=3, delay=0.0))
        async def start(self, data, ctx: Context):
            number = next(passes)
            await ctx.emit("progress", {"mark": "always-1"})
            if number < 3:
                raise Flaky("again")
            await ctx.emit("finished", {"mark": "last-1"})

    async with open_runtime([Emits], journal=journal) as runtime:
        run = await runtime.start(Emits)
        async with run.events() as stream:
            events = [event async for event in stream]
    assert sum("always-1" in repr(event.data) for event in events) == 1
    assert sum("last-1" in repr(event.data) for event in events) == 1
    assert events[-1].kind == "run-completed"
    assert [event.seq for event in events] == sorted({event.seq for event in events})


@pytest.mark.rule("C3")
async def test_step_that_failed_for_good_keeps_what_it_applied(journal: str) -> None:
    """Without `commit="on_success"` the store writes of a failed step stay."""

    class Keeps(Workflow):
        @step(retry=Retry(attempts=2, delay=0.0))
        async def start(self, data, ctx: Context):
            await ctx.run_store.increment("n")
            await ctx.run_store.push("attempts", ctx.attempt)
            raise Flaky("for good")

    async with open_runtime([Keeps], journal=journal) as runtime:
        outcome = await (await runtime.start(Keeps)).wait()
    assert (outcome.status, outcome.state) == (RunStatus.FAILED, {"n": 1, "attempts": [1]})


@HOW
@pytest.mark.rule("C3")
async def test_on_success_applies_the_pass_that_succeeded(how: str, sqlite_url: str) -> None:
    """With `commit="on_success"` nothing of a pass that was cut short is left, and all of the last one is."""

    async def body(ctx: Context, number: int) -> list[object]:
        replies = [await ctx.run_store.increment("n"), await ctx.run_store.push("l", number)]
        await ctx.schedule_next_step("child", number)
        return replies

    replies, outcome = await two_passes(body, how, sqlite_url, commit="on_success")
    assert replies == [[1, 1], [1, 1]]
    assert outcome.output == {"n": 1, "l": [2], "children": [2]}


@pytest.mark.rule("C3", "C6")
async def test_on_success_step_that_fails_leaves_nothing(journal: str) -> None:
    """A buffered step that fails for good leaves no write behind and its scheduled step never runs."""
    hooks = []

    class Nothing(Workflow):
        @step(commit="on_success")
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("written", True)
            await ctx.set_state(also=True)
            await plain_transaction(ctx.run_store)
            await ctx.schedule_many("child", range(3))
            raise Flaky("for good")

        async def child(self, data, ctx: Context):
            hooks.append("child")

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append(kind(error))

    async with open_runtime([Nothing], journal=journal) as runtime:
        outcome = await (await runtime.start(Nothing)).wait()
    assert (outcome.status, outcome.state, hooks) == (RunStatus.FAILED, {}, ["Flaky"])


@pytest.mark.rule("C3", "B11")
async def test_on_success_step_reads_its_own_writes_and_nobody_else_does() -> None:
    """Until it succeeds, only the buffered step itself sees what it wrote; then all of it shows as one change."""
    wrote, looked = trio.Event(), trio.Event()
    seen = {}

    class Buffered(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 5)
            await ctx.schedule_next_step("writer")
            await ctx.schedule_next_step("reader")

        @step(commit="on_success")
        async def writer(self, data, ctx: Context):
            store = ctx.run_store
            seen["replies"] = [await store.increment("n"), await store.increment("n"), await store.push("l", "x")]
            await store.set("s", 1)
            seen["own"] = [await store.get("n"), await store.get("l"), await store.get("s"), await store.has("s")]
            wrote.set()
            await looked.wait()

        async def reader(self, data, ctx: Context):
            await wrote.wait()
            seen["before"] = await ctx.run_store.snapshot()
            looked.set()
            await ctx.run_store.wait_for("s", lambda value: value == 1)
            seen["after"] = await ctx.run_store.snapshot()

    async with open_runtime([Buffered]) as runtime:
        outcome = await (await runtime.start(Buffered)).wait()
    assert outcome.error is None
    assert seen["replies"] == [6, 7, 1]
    assert seen["own"] == [7, ["x"], 1, True]
    assert seen["before"] == {"n": 5}
    assert seen["after"] == {"n": 7, "l": ["x"], "s": 1}


@pytest.mark.rule("C3", "B7")
async def test_on_success_increments_of_many_branches_add_up() -> None:
    """Buffered increments are applied as increments: two hundred overlapping branches lose nothing."""
    arrived = []
    gate = trio.Event()

    class Adds(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("add", range(200))

        @step(commit="on_success")
        async def add(self, data, ctx: Context):
            await ctx.run_store.increment("n")
            await ctx.run_store.push("l", data)
            arrived.append(data)
            if len(arrived) == 200:
                gate.set()
            await gate.wait()

    async with open_runtime([Adds]) as runtime:
        outcome = await (await runtime.start(Adds)).wait()
    assert outcome.state["n"] == 200
    assert sorted(outcome.state["l"]) == list(range(200))


@pytest.mark.rule("C3")
async def test_buffered_verb_that_fails_at_the_end_fails_the_attempt() -> None:
    """If the world changed so that a buffered verb cannot be applied, the attempt fails and none of it applies."""
    wrote, changed = trio.Event(), trio.Event()

    class Conflict(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("writer")
            await ctx.schedule_next_step("spoiler")

        @step(commit="on_success")
        async def writer(self, data, ctx: Context):
            await ctx.run_store.push("l", 1)
            await ctx.run_store.increment("n")
            wrote.set()
            await changed.wait()

        async def spoiler(self, data, ctx: Context):
            await wrote.wait()
            await ctx.run_store.set("n", "text")
            changed.set()

    async with open_runtime([Conflict]) as runtime:
        outcome = await (await runtime.start(Conflict)).wait()
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("writer", "StateTypeError")]
    assert outcome.state == {"n": "text"}


@pytest.mark.rule("C3", "C2")
async def test_delay_counts_from_the_success(autojump_clock: MockClock) -> None:
    """What a buffered step schedules is due its delay after the success, not after the call."""
    times = []

    class Later(Workflow):
        @step(commit="on_success")
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("child", delay=10)
            await trio.sleep(25)

        async def child(self, data, ctx: Context):
            times.append(trio.current_time() - began)

    began = trio.current_time()
    async with open_runtime([Later]) as runtime:
        await runtime.run(Later)
    assert times == [pytest.approx(35, abs=0.05)]


@HOW
@pytest.mark.rule("C3", "C4")
async def test_once_takes_effect_at_once_in_a_buffered_step(how: str, sqlite_url: str) -> None:
    """`once` is journaled at the call also in an `on_success` step: the next pass gets its result."""
    calls = []

    async def charge() -> int:
        calls.append("charged")
        return len(calls)

    replies, outcome = await two_passes(
        lambda ctx, number: ctx.once("charge", charge), how, sqlite_url, commit="on_success"
    )
    assert outcome.status is RunStatus.COMPLETED
    assert (replies, calls) == ([1, 1], ["charged"])


@pytest.mark.rule("C3")
async def test_buffered_step_may_not_wait_for_a_key() -> None:
    """`wait_for` in an `on_success` step raises `HookRestriction`, and the step can go on."""

    class Refused(Workflow):
        @step(commit="on_success")
        async def start(self, data, ctx: Context):
            with pytest.raises(HookRestriction):
                await ctx.run_store.wait_for("k", bool)
            await ctx.run_store.set("went", "on")

    async with open_runtime([Refused]) as runtime:
        outcome = await (await runtime.start(Refused)).wait()
    assert (outcome.error, outcome.state) == (None, {"went": "on"})


@pytest.mark.rule("C3", "A7")
async def test_finished_run_is_not_run_again_after_reopening(sqlite_url: str) -> None:
    """A run that had ended before the closing keeps its output and starts no step at the next opening."""
    calls = []

    class Done(Workflow):
        async def start(self, data, ctx: Context):
            calls.append(data)
            return data * 2

    async with open_runtime([Done], journal=sqlite_url) as runtime:
        assert await runtime.run(Done, 21, run_id="r") == 42
    async with open_runtime([Done], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 42
        assert await runtime.run(Done, 21, run_id="r") == 42
    assert calls == [21]

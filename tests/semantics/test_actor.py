"""The run as an actor (semantics A1 to A7), seen from outside.

Here: one writer, total order, permits, the control lane, withdrawn messages, waits that end, waits in a ring.
Not here: child runs (A8), what the single verbs of the store mean, what happens when the block closes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import trio
import trio.testing

from actorflow import (
    DRAIN,
    MISSING,
    ActorflowError,
    Context,
    Deadlock,
    Limits,
    RunFailed,
    RunOver,
    RunStatus,
    StateTypeError,
    Workflow,
    open_runtime,
)

# ------------------------------------------------------------------------------------ A1: one writer


@pytest.mark.rule("A1")
async def test_nothing_handed_out_is_the_state_itself(journal: str) -> None:
    """Mutating what was sent, read, snapshotted or described changes nothing in the run."""
    ready = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ready.wait()
            sent = [1]
            await ctx.run_store.set("k", sent)
            sent.append("sent")
            (await ctx.run_store.get("k")).append("got")
            (await ctx.run_store.snapshot())["k"].append("snapshot")
            (await handle.state())["k"].append("state")
            return await ctx.run_store.get("k")

    async with open_runtime([Flow], journal=journal) as runtime:
        handle = await runtime.start(Flow)
        ready.set()
        assert await handle.result() == [1]


@pytest.mark.rule("A1")
async def test_ctx_state_cannot_be_written(journal: str) -> None:
    """The untyped snapshot in ctx.state refuses assignment, so that no step can think it wrote something."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("look")

        async def look(self, data, ctx: Context):
            try:
                ctx.state["k"] = 2  # type: ignore[index]  # that it is refused is what the test is about
            except (TypeError, AttributeError):
                await ctx.run_store.set("refused", True)

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, initial_state={"k": 1})
        outcome = await run.wait()
    assert outcome.state == {"k": 1, "refused": True}


@pytest.mark.rule("A1", "A2")
async def test_many_branches_write_one_key_without_a_lost_update(journal: str) -> None:
    """40 branches with 10 increments and updates each leave exactly the sum."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for _ in range(40):
                await ctx.schedule_next_step("add")

        async def add(self, data, ctx: Context):
            for _ in range(10):
                await ctx.run_store.increment("n")
                await trio.lowlevel.checkpoint()
                await ctx.run_store.update("u", lambda value: value + 1, default=0)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {"n": 400, "u": 400})


# ------------------------------------------------------------------------------------ A2: total order


@pytest.mark.rule("A2")
async def test_facts_are_numbered_in_one_ascending_order(journal: str) -> None:
    """The facts of a run carry strictly ascending numbers, also when many branches wrote at once."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(20):
                await ctx.schedule_next_step("put", n)

        async def put(self, data, ctx: Context):
            await ctx.run_store.push("k", data)

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await run.wait()
        numbers = [fact.seq for fact in await run.history()]
    assert len(numbers) >= 40
    assert all(earlier < later for earlier, later in itertools.pairwise(numbers))


@pytest.mark.rule("A2")
@pytest.mark.parametrize("mailbox", [1, 3, 1000])
async def test_each_branch_keeps_its_program_order_across_verbs(journal: str, mailbox: int) -> None:
    """Whatever verb a branch uses and however full the mailbox is, its own writes stand in the order of its calls."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for branch in range(12):
                await ctx.schedule_next_step("write", branch)

        async def write(self, data, ctx: Context):
            store = ctx.run_store
            await store.push("k", [data, 0])
            await store.extend("k", [[data, 1], [data, 2]])
            await trio.lowlevel.checkpoint()
            async with store.transaction() as tx:
                tx.push("k", [data, 3])
                tx.push("k", [data, 4])
            await store.update("k", lambda items: [*items, [data, 5]])
            await store.push("k", [data, 6])

    async with open_runtime([Flow], journal=journal, limits=Limits(mailbox=mailbox)) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    written = outcome.state["k"]
    assert len(written) == 12 * 7
    for branch in range(12):
        assert [n for who, n in written if who == branch] == list(range(7))


@pytest.mark.rule("A2")
async def test_nowait_and_awaited_verbs_keep_one_order(journal: str) -> None:
    """A fire-and-forget push is neither overtaken by a later awaited one nor overtakes an earlier one."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            store = ctx.run_store
            for n in range(0, 90, 3):
                store.push_nowait("k", n)
                await store.push("k", n + 1)
                store.push_nowait("k", n + 2)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert outcome.state["k"] == list(range(90))


@pytest.mark.rule("A2")
async def test_a_read_sees_the_senders_own_earlier_nowait_writes(journal: str) -> None:
    """A get after set_nowait, increment_nowait and push_nowait of the same branch sees all three, on other keys too."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            store = ctx.run_store
            store.set_nowait("s", "x")
            store.increment_nowait("n", 5)
            store.push_nowait("l", 1)
            return [await store.get("l"), await store.get("n"), await store.get("s")]

    async with open_runtime([Flow], journal=journal) as runtime:
        assert await runtime.run(Flow) == [[1], 5, "x"]


@pytest.mark.rule("A2")
async def test_the_last_nowait_writes_of_a_step_are_in_the_final_state(journal: str) -> None:
    """What a step enqueued before it returned is applied before the run ends."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(100):
                ctx.run_store.push_nowait("k", n)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {"k": list(range(100))})


@pytest.mark.rule("A2")
async def test_order_of_the_calls_is_the_order_of_the_store(journal: str) -> None:
    """A message takes its place when it is sent: 100 tasks that call push one after another are applied like that."""
    called: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async def send(n: int) -> None:
                called.append(n)
                await ctx.run_store.push("k", n)

            async with trio.open_nursery() as nursery:
                for n in range(100):
                    nursery.start_soon(send, n)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert sorted(called) == list(range(100))
    assert outcome.state["k"] == called


@pytest.mark.rule("A2")
async def test_every_past_state_is_a_prefix_of_the_later_one(journal: str) -> None:
    """state_at of each fact shows the list of pushes as a prefix of the next one: one order for all observers."""
    release = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async with trio.open_nursery() as nursery:
                for n in range(8):
                    nursery.start_soon(ctx.run_store.push, "k", n)
            done.set()
            await release.wait()

    done = trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await done.wait()
        now = (await run.state())["k"]
        past = [(await run.state_at(fact.seq)).get("k", []) for fact in await run.history()]
        release.set()
        await run.wait()
    assert past[-1] == now
    assert len(now) == 8
    assert all(later[: len(earlier)] == earlier for earlier, later in itertools.pairwise(past))


# ------------------------------------------------------------------------------------ A3: permits and the control lane


@pytest.mark.rule("A3")
async def test_push_nowait_raises_would_block_when_the_mailbox_is_full(sqlite_url: str) -> None:
    """A mailbox of four takes about four messages before the run had a turn, then refuses; the accepted ones arrive."""
    accepted: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            try:
                for n in range(1000):
                    ctx.run_store.push_nowait("k", n)
                    accepted.append(n)
            except trio.WouldBlock:
                await ctx.run_store.set("refused", True)
            await ctx.run_store.push("k", "later")

    async with open_runtime([Flow], journal=sqlite_url, limits=Limits(mailbox=4)) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert 1 <= len(accepted) <= 8
    assert outcome.state == {"k": [*accepted, "later"], "refused": True}


@pytest.mark.rule("A3")
async def test_senders_wait_for_permits_and_nothing_is_dropped(journal: str) -> None:
    """200 senders before a mailbox of four: its depth stays near four and every push arrives once."""
    depths: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async def send(n: int) -> None:
                for i in range(5):
                    await ctx.run_store.push("k", [n, i])
                    depths.append(runtime.statistics().mailbox_depth)

            async with trio.open_nursery() as nursery:
                for n in range(200):
                    nursery.start_soon(send, n)

    async with open_runtime([Flow], journal=journal, limits=Limits(mailbox=4)) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert sorted(outcome.state["k"]) == [[n, i] for n in range(200) for i in range(5)]
    assert max(depths) <= 8


@pytest.mark.rule("A3")
async def test_steps_end_and_are_scheduled_past_a_mailbox_of_one(journal: str) -> None:
    """Exits of steps and replies need no permit: 60 branches with one mailbox place all finish."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(60):
                await ctx.schedule_next_step("work", n)

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("k", data)
            await ctx.run_store.increment("n")

    async with open_runtime([Flow], journal=journal, limits=Limits(mailbox=1)) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert outcome.status is RunStatus.COMPLETED
    assert (sorted(outcome.state["k"]), outcome.state["n"]) == (list(range(60)), 60)


@pytest.mark.rule("A3")
async def test_cancel_is_acted_on_before_50000_queued_pushes(sqlite_url: str) -> None:
    """With 50,000 pushes in the mailbox a cancel reaches the live steps before the backlog has become facts."""
    seen: dict[str, int] = {}
    ready = trio.Event()

    class Flood(Workflow):
        async def start(self, data, ctx: Context):
            handle = await runtime.get_run(ctx.run_id)
            await ctx.schedule_next_step("witness")
            await ready.wait()
            for n in range(50_000):
                ctx.run_store.push_nowait("k", n)
            seen["depth"] = runtime.statistics().mailbox_depth
            seen["before"] = runtime.statistics().facts
            await handle.cancel("enough")

        async def witness(self, data, ctx: Context):
            ready.set()
            try:
                await trio.sleep_forever()
            finally:
                seen["at cancel"] = runtime.statistics().facts

    async with open_runtime([Flood], journal=sqlite_url, limits=Limits(mailbox=60_000)) as runtime:
        outcome = await (await runtime.start(Flood)).wait()
    assert outcome.status is RunStatus.CANCELLED
    assert seen["depth"] >= 49_000
    assert seen["at cancel"] - seen["before"] < 1_000


@pytest.mark.rule("A3", "A6")
@pytest.mark.parametrize("mailbox", [1, 16, 5_000])
async def test_cancel_with_a_crowd_at_the_mailbox_applies_only_what_returned(journal: str, mailbox: int) -> None:
    """2,000 senders are cut off by a cancel: the final state holds exactly the pushes whose callers got a reply."""
    returned: list[int] = []
    first = trio.Event()

    class Crowd(Workflow):
        async def start(self, data, ctx: Context):
            async def send(n: int) -> None:
                await ctx.run_store.push("k", n)
                returned.append(n)
                first.set()

            async with trio.open_nursery() as nursery:
                for n in range(2_000):
                    nursery.start_soon(send, n)
                nursery.start_soon(trio.sleep_forever)

    async with open_runtime([Crowd], journal=journal, limits=Limits(mailbox=mailbox)) as runtime:
        run = await runtime.start(Crowd)
        await first.wait()
        await run.cancel()
        outcome = await run.wait()
    assert outcome.status is RunStatus.CANCELLED
    assert sorted(outcome.state["k"]) == sorted(returned)


@pytest.mark.rule("A3")
async def test_inspection_is_answered_while_senders_fill_the_mailbox(autojump_clock) -> None:
    """describe, status and state come back although 50 senders never leave a permit free."""
    busy = trio.Event()

    class Busy(Workflow):
        async def start(self, data, ctx: Context):
            async def send() -> None:
                for _ in range(2_000):
                    await ctx.run_store.increment("n")
                    busy.set()
                await trio.sleep_forever()

            async with trio.open_nursery() as nursery:
                for _ in range(50):
                    nursery.start_soon(send)

    with trio.fail_after(1000):
        async with open_runtime([Busy], limits=Limits(mailbox=1)) as runtime:
            run = await runtime.start(Busy)
            await busy.wait()
            assert await run.status() is RunStatus.RUNNING
            assert (await run.describe()).status is RunStatus.RUNNING
            assert 1 <= (await run.state())["n"] < 50 * 2_000
            await run.cancel()
            assert await run.status() is RunStatus.CANCELLED


# ------------------------------------------------------------------------------------ A4: pure, synchronous


@pytest.mark.rule("A4")
async def test_the_result_of_an_impure_update_is_a_fact(sqlite_url: str) -> None:
    """A function given to update is called once; the next opening reads its result instead of calling it again."""
    calls = itertools.count(1)
    live = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay="1 day")
            await ctx.run_store.update("k", lambda value: next(calls))
            live.set()

        async def later(self, data, ctx: Context):
            """Keeps the run open."""

    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
        await live.wait()
        before = await (await runtime.get_run("r")).state()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        after = await (await runtime.get_run("r")).state()
    assert before == after == {"k": 1}
    assert next(calls) == 2


@pytest.mark.rule("A4")
async def test_the_times_of_facts_are_journaled_not_read_again(sqlite_url: str) -> None:
    """After a new opening the old facts carry the very same number, kind and time."""
    live = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("k", 1)
            await ctx.schedule_next_step("later", delay="1 day")
            live.set()

        async def later(self, data, ctx: Context):
            """Keeps the run open."""

    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.start(Flow, run_id="r")
        await live.wait()
        before = [(fact.seq, fact.kind, fact.at) for fact in await run.history()]
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0, recover=False) as runtime:
        after = [(fact.seq, fact.kind, fact.at) for fact in await (await runtime.get_run("r")).history()]
    assert len(before) >= 3
    assert after[: len(before)] == before


@pytest.mark.rule("A4", "A5")
async def test_update_refuses_a_coroutine_function(journal: str) -> None:
    """The owner never awaits: an async function given to update is refused and the value stays."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async def slow(value):
                return 2

            await ctx.run_store.set("k", 1)
            try:
                await ctx.run_store.update("k", slow)
            except (ActorflowError, TypeError):
                return await ctx.run_store.get("k")
            return "accepted"

    async with open_runtime([Flow], journal=journal) as runtime:
        assert await runtime.run(Flow) == 1


# ------------------------------------------------------------------------------------ A5: failed operations


def _raise(value: object) -> object:
    raise ZeroDivisionError("from the function")


BAD_OPERATIONS: list[tuple[str, Any, Callable[[Any], Any], type[Exception]]] = [
    ("push on a number", 7, lambda s: s.push("k", 1), StateTypeError),
    ("extend an object", {"a": 1}, lambda s: s.extend("k", [1]), StateTypeError),
    ("increment a list", [1], lambda s: s.increment("k"), StateTypeError),
    ("increment a bool", True, lambda s: s.increment("k"), StateTypeError),
    ("decrement a string", "5", lambda s: s.decrement("k"), StateTypeError),
    ("increment by a string", 1, lambda s: s.increment("k", "1"), StateTypeError),
    ("increment to infinity", 1e308, lambda s: s.increment("k", 1e308), ActorflowError),
    ("merge into a list", [1], lambda s: s.merge("k", {"a": 1}), StateTypeError),
    ("maximum of a string", "x", lambda s: s.maximum("k", 3), StateTypeError),
    ("remove from an object", {"a": 1}, lambda s: s.remove("k", 1), StateTypeError),
    ("length of a number", 3, lambda s: s.length("k"), StateTypeError),
    ("slice of an object", {"a": 1}, lambda s: s.slice("k", 0, 1), StateTypeError),
    ("set of a set", 1, lambda s: s.set("k", {1, 2}), ActorflowError),
    ("update that raises", 1, lambda s: s.update("k", _raise), Exception),
    ("update to bytes", 1, lambda s: s.update("k", lambda value: b"x"), ActorflowError),
    ("wait_for that raises", 1, lambda s: s.wait_for("k", _raise), Exception),
]


@pytest.mark.rule("A5")
@pytest.mark.parametrize(
    ("value", "operation", "error"), [row[1:] for row in BAD_OPERATIONS], ids=[row[0] for row in BAD_OPERATIONS]
)
async def test_a_failed_operation_fails_only_its_caller(autojump_clock, value, operation, error) -> None:
    """The caller gets the error, the value is what it was, and the same branch and others go on with the same owner."""
    caught: list[Exception] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", value)
            await ctx.schedule_next_step("bad")
            await ctx.schedule_next_step("good")

        async def bad(self, data, ctx: Context):
            try:
                await operation(ctx.run_store)
            except Exception as problem:  # noqa: BLE001 - which error it was is asserted below
                caught.append(problem)
            await ctx.run_store.increment("alive")

        async def good(self, data, ctx: Context):
            await trio.sleep(1)
            await ctx.run_store.increment("alive")

    with trio.fail_after(1000):
        async with open_runtime([Flow]) as runtime:
            outcome = await (await runtime.start(Flow)).wait()
    assert len(caught) == 1
    assert isinstance(caught[0], error)
    assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, {"k": value, "alive": 2})


@pytest.mark.rule("A5")
async def test_an_uncaught_failed_operation_fails_its_step_not_its_siblings(journal: str) -> None:
    """Under DRAIN the sibling of a step that died of a bad push still pushes, and the run reports one failure."""

    class Flow(Workflow):
        join = DRAIN

        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 1)
            await ctx.schedule_next_step("bad")
            await ctx.schedule_next_step("good")

        async def bad(self, data, ctx: Context):
            await ctx.run_store.push("n", 1)

        async def good(self, data, ctx: Context):
            for n in range(10):
                await ctx.run_store.push("l", n)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert outcome.status is RunStatus.FAILED
    assert [failure.step_id for failure in outcome.failures] == ["bad"]
    assert outcome.state == {"n": 1, "l": list(range(10))}


@pytest.mark.rule("A5")
async def test_a_failed_nowait_fails_its_step_at_the_end(journal: str) -> None:
    """push_nowait on a number cannot raise at the call; the step that sent it fails, although its code returned."""
    returned: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 1)
            ctx.run_store.push_nowait("n", 1)
            returned.append("to the end")

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert returned == ["to the end"]
    assert outcome.status is RunStatus.FAILED
    assert "StateTypeError" in outcome.failures[0].error_type
    assert outcome.state == {"n": 1}


@pytest.mark.rule("A5")
async def test_a_nowait_with_bad_arguments_raises_at_the_call(journal: str) -> None:
    """What is wrong with the arguments themselves is told where it was written, not at the end of the step."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            refused = 0
            for value in (float("nan"), b"x", {1, 2}):
                try:
                    ctx.run_store.push_nowait("k", value)
                except ActorflowError:
                    refused += 1
            return [refused, await ctx.run_store.has("k")]

    async with open_runtime([Flow], journal=journal) as runtime:
        assert await runtime.run(Flow) == [3, False]


# ------------------------------------------------------------------------------------ A6: withdrawn messages


@pytest.mark.rule("A6")
@pytest.mark.parametrize("mailbox", [1, 1000])
async def test_cancelled_means_did_not_happen(journal: str, mailbox: int) -> None:
    """300 pushes cancelled at different moments: those that raised Cancelled are absent, the others are there once."""
    returned: list[int] = []
    withdrawn: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async def send(n: int, scope: trio.CancelScope) -> None:
                with scope:
                    await ctx.run_store.push("k", n)
                    returned.append(n)
                if scope.cancelled_caught:
                    withdrawn.append(n)

            async def cut(n: int, scope: trio.CancelScope) -> None:
                for _ in range(n % 7):
                    await trio.lowlevel.cancel_shielded_checkpoint()
                scope.cancel()

            async with trio.open_nursery() as nursery:
                for n in range(300):
                    scope = trio.CancelScope()
                    nursery.start_soon(send, n, scope)
                    nursery.start_soon(cut, n, scope)

    async with open_runtime([Flow], journal=journal, limits=Limits(mailbox=mailbox)) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert outcome.status is RunStatus.COMPLETED
    assert sorted(outcome.state.get("k", [])) == sorted(returned)
    assert sorted(returned + withdrawn) == list(range(300))


@pytest.mark.rule("A6")
async def test_a_sender_cancelled_while_it_waits_for_a_permit_is_withdrawn(sqlite_url: str) -> None:
    """Behind a full mailbox a cancelled increment raises Cancelled and leaves the number alone."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.increment("n")
            full = False
            for n in range(1000):
                try:
                    ctx.run_store.push_nowait("filler", n)
                except trio.WouldBlock:
                    full = True
                    break
            with trio.CancelScope() as scope:
                scope.cancel()
                await ctx.run_store.increment("n", 100)
            return [full, scope.cancelled_caught, await ctx.run_store.get("n")]

    async with open_runtime([Flow], journal=sqlite_url, limits=Limits(mailbox=2)) as runtime:
        assert await runtime.run(Flow) == [True, True, 1]


@pytest.mark.rule("A6")
@pytest.mark.parametrize("steps", range(0, 12, 2))
async def test_once_applied_the_call_returns_although_the_step_is_cancelled(journal: str, steps: int) -> None:
    """A run cancelled a few scheduler steps after a push: reply and state agree, whichever came first."""
    returned: list[int] = []
    sent = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in itertools.count():
                if n == 3:
                    sent.set()
                returned.append(await ctx.run_store.push("k", n))

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await sent.wait()
        for _ in range(steps):
            await trio.lowlevel.checkpoint()
        await run.cancel()
        outcome = await run.wait()
    assert outcome.status is RunStatus.CANCELLED
    assert outcome.state["k"] == list(range(len(returned)))
    assert returned == list(range(1, len(returned) + 1))


@pytest.mark.rule("A6")
async def test_replies_and_journal_agree_after_closing_in_the_middle(sqlite_url: str) -> None:
    """Steps cut off by closing: the journal holds exactly the pushes whose callers got a reply."""
    returned: list[int] = []
    enough = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            async def send(n: int) -> None:
                for i in itertools.count():
                    await ctx.run_store.push("k", [n, i])
                    returned.append([n, i])
                    if len(returned) >= 50:
                        enough.set()

            async with trio.open_nursery() as nursery:
                for n in range(10):
                    nursery.start_soon(send, n)

    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
        await enough.wait()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0, recover=False) as runtime:
        kept = (await (await runtime.get_run("r")).state())["k"]
    assert sorted(kept) == sorted(returned)


@pytest.mark.rule("A6")
async def test_a_cancelled_schedule_call_armed_nothing(journal: str) -> None:
    """Scheduling is a message too: a call that raised Cancelled leaves no step behind."""
    called: list[int] = []
    ran: list[int] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(20):
                with trio.CancelScope() as scope:
                    if n % 2:
                        scope.cancel()
                    await ctx.schedule_next_step("work", n)
                    called.append(n)

        async def work(self, data, ctx: Context):
            ran.append(data)

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow)).wait()
    assert outcome.status is RunStatus.COMPLETED
    assert sorted(ran) == sorted(called)
    assert set(range(0, 20, 2)) <= set(ran)


# ------------------------------------------------------------------------------------ A7: replies and ends


@pytest.mark.rule("A7", "A6")
async def test_after_an_abandoned_call_the_next_one_gets_its_own_answer(journal: str) -> None:
    """A call given up never answers the caller's next one: every returned value of increment is a new one."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            values = []
            for n in range(200):
                with trio.CancelScope() as scope:
                    if n % 3 == 0:
                        scope.cancel()
                    values.append(await ctx.run_store.increment("n"))
                values.append(await ctx.run_store.increment("n"))
            return values

    async with open_runtime([Flow], journal=journal) as runtime:
        values = await runtime.run(Flow)
        assert runtime.statistics().late_replies >= 0
    assert len(values) >= 333
    assert values == list(range(1, len(values) + 1))


@pytest.mark.rule("A7")
@pytest.mark.parametrize("how", ["cancel", "fail"])
async def test_every_call_still_waiting_ends_with_run_over(autojump_clock, how: str) -> None:
    """100 callers wait in wait_for from outside; the run ends; each gets RunOver and nobody hangs."""
    held: list[Context] = []
    live, fail = trio.Event(), trio.Event()
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            held.append(ctx)
            live.set()
            await fail.wait()
            raise ValueError("on purpose")

    async def wait() -> None:
        try:
            await held[0].run_store.wait_for("never", lambda value: value is not None)
        except RunOver as error:
            ended.append(error.run_id)

    with trio.fail_after(1000):
        async with open_runtime([Flow]) as runtime, trio.open_nursery() as nursery:
            run = await runtime.start(Flow, run_id="r")
            await live.wait()
            for _ in range(100):
                nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            if how == "cancel":
                await run.cancel()
            else:
                fail.set()
            await run.wait()
    assert ended == ["r"] * 100


async def _transaction(ctx: Context) -> None:
    async with ctx.run_store.transaction() as tx:
        tx.set("k", 1)


async def _nowait(verb: str, ctx: Context) -> None:
    getattr(ctx.run_store, verb)("k", 1)


KEPT_HANDLE_CALLS: dict[str, Callable[[Any], Any]] = {
    "get": lambda c: c.run_store.get("k"),
    "set": lambda c: c.run_store.set("k", 1),
    "push": lambda c: c.run_store.push("l", 1),
    "increment": lambda c: c.run_store.increment("k"),
    "decrement": lambda c: c.run_store.decrement("k"),
    "delete": lambda c: c.run_store.delete("k"),
    "extend": lambda c: c.run_store.extend("l", [1]),
    "remove": lambda c: c.run_store.remove("l", 1),
    "pop": lambda c: c.run_store.pop("k"),
    "merge": lambda c: c.run_store.merge("o", {"a": 1}),
    "maximum": lambda c: c.run_store.maximum("k", 5),
    "minimum": lambda c: c.run_store.minimum("k", 5),
    "set_if_absent": lambda c: c.run_store.set_if_absent("new", 1),
    "compare_and_set": lambda c: c.run_store.compare_and_set("new", MISSING, 1),
    "update": lambda c: c.run_store.update("k", lambda value: value),
    "has": lambda c: c.run_store.has("k"),
    "keys": lambda c: c.run_store.keys(),
    "length": lambda c: c.run_store.length("l"),
    "slice": lambda c: c.run_store.slice("l", 0, 1),
    "snapshot": lambda c: c.run_store.snapshot(),
    "wait_for": lambda c: c.run_store.wait_for("k", lambda value: True),
    "transaction": _transaction,
    "push_nowait": lambda c: _nowait("push_nowait", c),
    "increment_nowait": lambda c: _nowait("increment_nowait", c),
    "set_nowait": lambda c: _nowait("set_nowait", c),
    "set_state": lambda c: c.set_state(k=2),
    "schedule_next_step": lambda c: c.schedule_next_step("other"),
    "schedule_many": lambda c: c.schedule_many("other", [1, 2]),
}


@pytest.mark.rule("A7", "B12")
@pytest.mark.parametrize("call", KEPT_HANDLE_CALLS.values(), ids=KEPT_HANDLE_CALLS.keys())
async def test_a_kept_context_raises_run_over_after_the_end(autojump_clock, call) -> None:
    """Every verb of a context that outlived its run raises RunOver with the run's id, at once, and changes nothing."""
    held: list[Context] = []
    ran: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", 1)
            held.append(ctx)

        async def other(self, data, ctx: Context):
            ran.append("other")

    with trio.fail_after(1000):
        async with open_runtime([Flow]) as runtime:
            run = await runtime.start(Flow, run_id="r")
            await run.wait()
            with pytest.raises(RunOver) as caught:
                await call(held[0])
            assert (await run.wait()).state == {"k": 1}
    assert caught.value.run_id == "r"
    assert ran == []


@pytest.mark.rule("A7", "B12")
async def test_state_of_a_finished_run_raises_run_over(journal: str) -> None:
    """Run.state() after the end raises RunOver, while the handle's outcome still has the final snapshot."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", 1)

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        outcome = await run.wait()
        with pytest.raises(RunOver):
            await run.state()
    assert outcome.state == {"k": 1}


# ------------------------------------------------------------------------------------ A7: waits in a ring


@pytest.mark.rule("A7")
@pytest.mark.parametrize("verb", ["wait", "result"])
@pytest.mark.parametrize("where", ["step", "task of the step", "hook"])
async def test_a_run_that_waits_for_itself_gets_deadlock(autojump_clock, verb: str, where: str) -> None:
    """wait and result of the own handle raise Deadlock naming the run, from a step, its nursery, and a hook."""
    caught: list[Deadlock] = []

    async def wait_for_itself(ctx: Context) -> None:
        try:
            await getattr(await runtime.get_run(ctx.run_id), verb)()
        except Deadlock as error:
            caught.append(error)

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            if where == "step":
                await wait_for_itself(ctx)
            elif where == "task of the step":
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(wait_for_itself, ctx)

        async def on_workflow_complete(self, ctx: Context):
            if where == "hook":
                await wait_for_itself(ctx)

    with trio.fail_after(1000):
        async with open_runtime([Flow]) as runtime:
            outcome = await (await runtime.start(Flow, run_id="ouroboros")).wait()
    assert outcome.status is RunStatus.COMPLETED
    assert len(caught) == 1
    assert "ouroboros" in str(caught[0])


@pytest.mark.rule("A7")
@pytest.mark.parametrize("length", [2, 3, 5])
async def test_a_ring_of_waiting_runs_breaks_in_exactly_one(autojump_clock, length: int) -> None:
    """Runs that wait for each other in a ring: one gets Deadlock naming all of them, the others their outcome."""
    caught: list[Deadlock] = []
    everybody = trio.Event()
    ids = [f"ring-{n}" for n in range(length)]

    class Ring(Workflow):
        async def start(self, data, ctx: Context):
            await everybody.wait()
            try:
                outcome = await (await runtime.get_run(data)).wait()
            except Deadlock as error:
                caught.append(error)
                return "deadlock"
            return outcome.status.value

    with trio.fail_after(1000):
        async with open_runtime([Ring]) as runtime:
            runs = [await runtime.start(Ring, ids[(n + 1) % length], run_id=ids[n]) for n in range(length)]
            everybody.set()
            outputs = [await run.result() for run in runs]
    assert sorted(outputs) == ["completed"] * (length - 1) + ["deadlock"]
    assert len(caught) == 1
    assert all(run_id in str(caught[0]) for run_id in ids)


@pytest.mark.rule("A7")
async def test_an_uncaught_deadlock_fails_one_run_and_frees_the_other(autojump_clock) -> None:
    """Left alone, Deadlock fails its run; the other one sees RunFailed from result() instead of hanging."""
    everybody = trio.Event()

    class Ring(Workflow):
        async def start(self, data, ctx: Context):
            await everybody.wait()
            try:
                await (await runtime.get_run(data)).result()
            except RunFailed:
                return "saw the failure"

    with trio.fail_after(1000):
        async with open_runtime([Ring]) as runtime:
            runs = [await runtime.start(Ring, other, run_id=own) for own, other in (("a", "b"), ("b", "a"))]
            everybody.set()
            outcomes = [await run.wait() for run in runs]
    assert sorted(outcome.status.value for outcome in outcomes) == ["completed", "failed"]
    failed = next(outcome for outcome in outcomes if outcome.status is RunStatus.FAILED)
    assert "Deadlock" in failed.failures[0].error_type


@pytest.mark.rule("A7")
async def test_a_ring_through_different_branches_is_found(autojump_clock) -> None:
    """It is runs that wait, not steps: a ring through a scheduled branch and a start is found."""
    caught: list[str] = []
    everybody = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("look", data)

        async def look(self, data, ctx: Context):
            await everybody.wait()
            try:
                await (await runtime.get_run(data)).wait()
            except Deadlock:
                caught.append(ctx.run_id)

    class Direct(Workflow):
        async def start(self, data, ctx: Context):
            await everybody.wait()
            try:
                await (await runtime.get_run(data)).wait()
            except Deadlock:
                caught.append(ctx.run_id)

    with trio.fail_after(1000):
        async with open_runtime([Flow, Direct]) as runtime:
            runs = [await runtime.start(Flow, "b", run_id="a"), await runtime.start(Direct, "a", run_id="b")]
            everybody.set()
            statuses = [(await run.wait()).status for run in runs]
    assert statuses == [RunStatus.COMPLETED, RunStatus.COMPLETED]
    assert len(caught) == 1


@pytest.mark.rule("A7")
async def test_waiting_without_a_ring_is_no_deadlock(autojump_clock) -> None:
    """Two runs that wait for the same third one, and one that waits for them, all get their results."""

    class Leaf(Workflow):
        async def start(self, data, ctx: Context):
            await trio.sleep(5)
            return 1

    class Sum(Workflow):
        async def start(self, data, ctx: Context):
            return sum([await (await runtime.get_run(run_id)).result() for run_id in data])

    with trio.fail_after(1000):
        async with open_runtime([Leaf, Sum]) as runtime:
            await runtime.start(Leaf, run_id="leaf")
            await runtime.start(Sum, ["leaf"], run_id="left")
            await runtime.start(Sum, ["leaf"], run_id="right")
            assert await runtime.run(Sum, ["left", "right", "leaf"]) == 3


@pytest.mark.rule("A7")
async def test_a_wait_that_was_given_up_closes_no_ring(autojump_clock) -> None:
    """Once a timed-out wait is over, the other run may wait in the opposite direction."""
    given_up = trio.Event()

    class First(Workflow):
        async def start(self, data, ctx: Context):
            with trio.move_on_after(1):
                await (await runtime.get_run("second")).wait()
            given_up.set()
            await trio.sleep(1)
            return "first"

    class Second(Workflow):
        async def start(self, data, ctx: Context):
            await given_up.wait()
            return await (await runtime.get_run("first")).result()

    with trio.fail_after(1000):
        async with open_runtime([First, Second]) as runtime:
            second = await runtime.start(Second, run_id="second")
            await runtime.start(First, run_id="first")
            assert await second.result() == "first"


@pytest.mark.rule("A7")
async def test_cancel_of_the_own_run_asks_for_it_and_cancels_the_step(autojump_clock) -> None:
    """A step that cancels its own run neither deadlocks nor goes on: it is cancelled and the hook hears the reason."""
    heard: list[object] = []
    passed: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay="1 day")
            handle = await runtime.get_run(ctx.run_id)
            try:
                await handle.cancel("had enough")
                await trio.sleep(1)
                passed.append("went on")
            except trio.Cancelled:
                heard.append("cancelled")
                raise

        async def later(self, data, ctx: Context):
            passed.append("later")

        async def on_workflow_cancel(self, reason, ctx: Context):
            heard.append(reason)

    with trio.fail_after(1000):
        async with open_runtime([Flow]) as runtime:
            outcome = await (await runtime.start(Flow)).wait()
    assert outcome.status is RunStatus.CANCELLED
    assert heard == ["cancelled", "had enough"]
    assert passed == []


@pytest.mark.rule("A7")
async def test_one_run_cancels_another_that_waits_for_it(autojump_clock) -> None:
    """The cancelled one gives up its wait and ends; its canceller gets an answer and completes."""
    waiting = trio.Event()

    class Waits(Workflow):
        async def start(self, data, ctx: Context):
            waiting.set()
            await (await runtime.get_run("canceller")).wait()

    class Cancels(Workflow):
        async def start(self, data, ctx: Context):
            await waiting.wait()
            await trio.sleep(1)
            await (await runtime.get_run("victim")).cancel()
            return "done"

    with trio.fail_after(1000):
        async with open_runtime([Waits, Cancels]) as runtime:
            canceller = await runtime.start(Cancels, run_id="canceller")
            victim = await runtime.start(Waits, run_id="victim")
            assert await canceller.result() == "done"
            assert (await victim.wait()).status is RunStatus.CANCELLED

"""Plain steps in threads, whose store verbs are plain calls (contract 4, semantics C3, C5, C12)."""

from __future__ import annotations

import threading

import pytest
import trio
from attrs import frozen
from trio.testing import wait_all_tasks_blocked

from actorflow import (
    Context,
    InputError,
    Retry,
    RunOutcome,
    RunStatus,
    StateTypeError,
    Workflow,
    open_runtime,
    step,
)

# How long a thread waits for what should be there already; only a failing test takes that long.
PATIENCE_S = 10


@frozen
class Chunk:
    """A typed payload."""

    first: int
    last: int


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def settle(workflow: type[Workflow], data: object = None, *, journal: str = "memory:") -> RunOutcome:
    """Run a workflow in a runtime of its own and return how it ended."""
    async with open_runtime([workflow], journal=journal) as runtime:
        run = await runtime.start(workflow, data)
        return await run.wait()


@pytest.mark.rule("A1", "B1")
@pytest.mark.parametrize("options", [{"offload": "thread"}, {}], ids=["offload", "plain function"])
async def test_plain_step_runs_in_a_thread_with_plain_verbs(options: dict[str, object], journal: str) -> None:
    """A plain method under `@step` runs outside trio's thread, gets its typed data, and calls verbs without await."""
    threads = []

    class Offloads(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 1)
            await ctx.schedule_next_step("crunch", Chunk(2, 5))

        @step(**options)
        def crunch(self, data: Chunk, ctx: Context):
            threads.append(threading.get_ident())
            store = ctx.run_store
            replies = [
                store.get("n"),
                store.increment("n", 2),
                store.push("l", "a"),
                store.extend("l", ["b"]),
                store.set("s", {"x": [1]}),
                store.get("s"),
                store.update("n", lambda value: value * 10),
                store.has("missing"),
                store.get("missing", 7),
                store.length("l"),
                store.delete("s"),
                store.set_if_absent("n", 0),
                store.compare_and_set("n", 30, 31),
                store.snapshot(),
            ]
            store.set("replies", replies)
            return data.last - data.first

    async with open_runtime([Offloads], journal=journal) as runtime:
        run = await runtime.start(Offloads)
        outcome = await run.wait()
        records = {record.step_id: record.output for record in (await run.describe()).steps}
    assert outcome.error is None
    assert outcome.state["replies"] == [
        1,
        3,
        1,
        2,
        None,
        {"x": [1]},
        30,
        False,
        7,
        2,
        True,
        False,
        True,
        {"n": 31, "l": ["a", "b"]},
    ]
    assert records["crunch"] == 3
    assert len(threads) == 1
    assert threads[0] != threading.get_ident()


@pytest.mark.rule("A1")
async def test_trio_goes_on_while_a_thread_works() -> None:
    """A blocked thread step holds up neither its siblings nor the store."""
    release, threads_live = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    class Blocks(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("blocked")
            await ctx.schedule_next_step("sibling")

        @step(offload="thread")
        def blocked(self, data, ctx: Context):
            ctx.run_store.set("live", True)
            token.run_sync_soon(threads_live.set)
            ctx.run_store.set("released", release.wait(PATIENCE_S))

        async def sibling(self, data, ctx: Context):
            await threads_live.wait()
            for _ in range(100):
                await ctx.run_store.increment("n")
            release.set()

    outcome = await settle(Blocks)
    assert (outcome.error, outcome.state) == (None, {"live": True, "n": 100, "released": True})


@pytest.mark.rule("A2", "B7")
async def test_many_threads_lose_nothing(journal: str) -> None:
    """Twenty thread steps of twenty increments each get 400 distinct replies, and each keeps its push order."""

    class Counts(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("count", range(20))

        @step(offload="thread", concurrency=8)
        def count(self, data, ctx: Context):
            for number in range(20):
                reply = ctx.run_store.increment("n")
                ctx.run_store.push("log", [data, number, reply])

    outcome = await settle(Counts, journal=journal)
    log = outcome.state["log"]
    assert outcome.state["n"] == 400
    assert sorted(reply for _, _, reply in log) == list(range(1, 401))
    assert all([n for branch, n, _ in log if branch == wanted] == list(range(20)) for wanted in range(20))


@pytest.mark.rule("A5")
async def test_refused_verb_raises_in_the_thread() -> None:
    """A verb that the owner refuses raises its own error at the plain call, and the step can go on."""

    class Refused(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("text", "abc")
            await ctx.schedule_next_step("work")

        @step(offload="thread")
        def work(self, data, ctx: Context):
            with pytest.raises(StateTypeError):
                ctx.run_store.increment("text")
            ctx.run_store.increment("n")

    outcome = await settle(Refused)
    assert (outcome.error, outcome.state) == (None, {"text": "abc", "n": 1})


@pytest.mark.rule("C3", "C5")
async def test_thread_step_is_retried_and_counts_once(journal: str) -> None:
    """A thread step that fails twice runs three times with its attempt number, and its effects count once."""
    attempts = []

    class Retries(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(offload="thread", retry=Retry(attempts=3, delay=0.0))
        def work(self, data, ctx: Context):
            attempts.append((ctx.attempt, ctx.step_id, ctx.run_store.increment("n")))
            ctx.run_store.push("l", "item")
            if ctx.attempt < 3:
                raise OSError("again")

    outcome = await settle(Retries, journal=journal)
    assert (outcome.error, outcome.state) == (None, {"n": 1, "l": ["item"]})
    assert attempts == [(1, "work", 1), (2, "work", 1), (3, "work", 1)]


@pytest.mark.rule("C6")
async def test_failing_thread_step_is_recorded_as_itself() -> None:
    """The exception of a thread step is the recorded failure, with the object itself as the cause."""
    raised = ZeroDivisionError("from a thread")

    class Fails(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(offload="thread")
        def work(self, data, ctx: Context):
            raise raised

    outcome = await settle(Fails)
    assert outcome.status is RunStatus.FAILED
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("work", "ZeroDivisionError")]
    assert outcome.error.__cause__ is raised


@pytest.mark.rule("C12")
async def test_cancel_waits_for_the_thread_and_its_verbs_are_over() -> None:
    """`cancel` returns after a live thread step has really ended, and nothing it does by then changes the run."""
    release, live = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()
    log = []

    class Stubborn(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(offload="thread")
        def work(self, data, ctx: Context):
            token.run_sync_soon(live.set)
            release.wait(PATIENCE_S)
            log.append("thread ends")

    async with open_runtime([Stubborn]) as runtime:
        run = await runtime.start(Stubborn)
        await live.wait()

        async def cancel() -> None:
            await run.cancel("now")
            log.append("cancelled")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(cancel)
            await wait_all_tasks_blocked()
            log.append("released")
            release.set()
        assert await run.status() is RunStatus.CANCELLED
    assert log == ["released", "thread ends", "cancelled"]


@pytest.mark.rule("C2")
async def test_thread_action_checks_its_payload() -> None:
    """The annotation of a plain step is checked when it is scheduled, like that of any other."""

    class Typed(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(InputError, match=r"\$\.last"):
                await ctx.schedule_next_step("work", {"first": 1, "last": "9"})

        @step(offload="thread")
        def work(self, data: Chunk, ctx: Context):
            raise AssertionError("never scheduled")

    assert (await settle(Typed)).error is None


@pytest.mark.rule("C3", "F4")
async def test_thread_step_cut_short_by_closing_runs_again(sqlite_url: str) -> None:
    """A runtime that closes waits for a live thread; the step runs again after reopening and counts once."""
    passes = []
    release, live = threading.Event(), trio.Event()
    token = trio.lowlevel.current_trio_token()

    class Reopens(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(offload="thread", retry=Retry(attempts=1))
        def work(self, data, ctx: Context):
            passes.append(ctx.run_store.increment("n"))
            if len(passes) == 1:
                token.run_sync_soon(live.set)
                release.wait(PATIENCE_S)
                # The runtime is closing: this either never returns a reply, or is one that did count.
                ctx.run_store.increment("late")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("n")

    async with open_runtime([Reopens], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Reopens, run_id="r")
        await live.wait()
        token.run_sync_soon(release.set)
    async with open_runtime([Reopens], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 1
    assert passes in ([1], [1, 1])

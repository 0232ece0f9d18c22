"""What strangers tried and what was wrong then: one test per fault, each of which would have caught its kind."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import Any

import pytest
import trio

from actorflow import Context, HookRestriction, JournalCorrupt, Retry, RunStatus, Workflow, open_runtime, step


class Odd(BaseException):
    """Not an `Exception`: what a careless `except Exception` lets through."""


@pytest.mark.rule("A2", "A7")
async def test_calls_without_reply_and_the_log_work_in_a_thread(journal: str) -> None:
    """A plain step may use every call of its context; the run goes on and knows the line."""

    class Flow(Workflow):
        @step
        def start(self, data: object, ctx: Any) -> object:
            ctx.log.info("from a thread")
            ctx.run_store.push_nowait("l", 1)
            ctx.run_store.increment_nowait("n", 2)
            ctx.run_store.set_nowait("s", "x")
            return [ctx.run_store.get("l"), ctx.run_store.get("n"), ctx.run_store.get("s")]

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        with trio.fail_after(30):
            assert await run.result() == [[1], 2, "x"]
        assert "from a thread" in repr(await run.history())


@pytest.mark.rule("A5", "A7")
@pytest.mark.parametrize("verb", ["update", "wait_for"])
async def test_whatever_a_users_function_raises_belongs_to_its_caller(verb: str, journal: str) -> None:
    """Also a `BaseException`: the owner lives on, and so do the other runs."""

    def boom(value: object) -> object:
        raise Odd(value)

    class Flow(Workflow):
        async def start(self, data: object, ctx: Context[object]) -> str:
            try:
                await (ctx.run_store.update("a", boom) if verb == "update" else ctx.run_store.wait_for("a", boom))
            except Odd:
                await ctx.run_store.increment("n")
                return "caught"
            return "not raised"

    async with open_runtime([Flow], journal=journal) as runtime:
        with trio.fail_after(30):
            assert [await runtime.run(Flow) for _ in range(2)] == ["caught", "caught"]


@pytest.mark.rule("D7")
async def test_time_passes_while_a_thread_waits_for_the_run(autojump_clock: object) -> None:
    """A virtual clock is held while a thread works, not while the thread waits for somebody else's step."""

    class Flow(Workflow):
        async def start(self, data: object, ctx: Context[object]) -> None:
            await ctx.schedule_next_step("waits")
            await trio.sleep(5)
            await ctx.run_store.set("q", 1)

        @step
        def waits(self, data: object, ctx: Any) -> object:
            return ctx.run_store.wait_for("q", bool)

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow)
        assert (await run.wait()).status is RunStatus.COMPLETED


@pytest.mark.rule("C2", "C3")
async def test_a_step_that_was_buffered_can_be_taken_back(autojump_clock: object) -> None:
    """Before the success of its scheduler it has no id, and `cancel()` means what it says; a key is held there too."""
    seen: list[object] = []

    class Flow(Workflow):
        async def start(self, data: object, ctx: Context[object]) -> None:
            await ctx.schedule_next_step("asks")

        @step(commit="on_success")
        async def asks(self, data: object, ctx: Context[object]) -> None:
            await ctx.schedule_next_step("leaf", "kept", delay=5)
            gone = await ctx.schedule_next_step("leaf", "gone", delay=5)
            first = await ctx.schedule_next_step("leaf", "first", key="k", delay=1)
            second = await ctx.schedule_next_step("leaf", "second", key="k", delay=9)
            with pytest.raises(HookRestriction, match="activation_id"):
                _ = gone.activation_id
            seen.extend([await gone.cancel(), await gone.cancel(), first.due == second.due])

        async def leaf(self, data: object, ctx: Context[object]) -> None:
            await ctx.run_store.push("ran", data)

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow)
        assert (await run.wait()).state["ran"] == ["first", "kept"]
    assert seen == [True, False, True]


@pytest.mark.rule("C2")
async def test_a_handle_tells_when_the_step_is_really_due(autojump_clock: object) -> None:
    """A second call with the key, and a second pass, give the first call's handle, with its due time."""
    dues: list[object] = []

    class Flow(Workflow):
        @step(retry=Retry(2, delay=100, jitter=0, max_delay=100))
        async def start(self, data: object, ctx: Context[object]) -> None:
            first = await ctx.schedule_next_step("leaf", key="k", delay=500)
            second = await ctx.schedule_next_step("leaf", key="k", delay=900)
            dues.extend([first.due, second.due])
            if ctx.attempt == 1:
                raise ValueError("once more")

        async def leaf(self, data: object, ctx: Context[object]) -> None:
            dues.append(ctx.now())

    async with open_runtime([Flow]) as runtime:
        await runtime.run(Flow)
    assert len(dues) == 5
    assert all(abs((due - dues[0]).total_seconds()) < 1e-3 for due in dues)  # type: ignore[operator]  # they are datetimes


@pytest.mark.rule("C2")
async def test_a_scheduled_step_can_be_taken_back_from_a_thread(autojump_clock: object) -> None:
    """`cancel()` of a handle is a plain call in a plain step."""

    class Flow(Workflow):
        @step
        def start(self, data: object, ctx: Any) -> object:
            handle = ctx.schedule_next_step("leaf", delay=5)
            return [handle.cancel(), handle.cancel(), handle.activation_id]

        async def leaf(self, data: object, ctx: Context[object]) -> None:
            raise AssertionError("it was taken back")

    async with open_runtime([Flow]) as runtime:
        assert await runtime.run(Flow) == [True, False, "2"]


async def test_a_fork_at_the_first_fact_begins_anew(journal: str) -> None:
    """The first facts of a run are one: a fork at any of them runs `start`."""

    class Flow(Workflow):
        keep_state = True

        async def start(self, data: object, ctx: Context[object]) -> object:
            return [data, await ctx.run_store.increment("n")]

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, 7, initial_state={"n": 1})
        assert await run.result() == [7, 2]
        for at in (1, 2):
            assert await (await run.fork(at=at)).result() == [7, 2]


async def test_a_group_that_the_body_raised_stays_what_it_is() -> None:
    """Only the wrapper of the block's own nursery is taken off."""
    raised = ExceptionGroup("mine", [ValueError(1)])
    with pytest.raises(ExceptionGroup) as caught:
        async with open_runtime([]):
            raise raised
    assert caught.value is raised


@pytest.mark.rule("C6", "C7")
async def test_a_step_that_exits_the_interpreter_fails(journal: str) -> None:
    """`sys.exit()` in a step is that step's failure: it takes neither the program nor the other runs with it."""

    class Flow(Workflow):
        async def start(self, data: object, ctx: Context[object]) -> object:
            if data:
                raise SystemExit(7)
            return "fine"

    async with open_runtime([Flow], journal=journal) as runtime:
        bad = await runtime.start(Flow, True)
        assert await runtime.run(Flow, False) == "fine"
        outcome = await bad.wait()
    assert outcome.status is RunStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.error_type == "SystemExit"


@pytest.mark.rule("F5")
async def test_a_run_without_its_facts_is_damaged_not_over(sqlite_url: str) -> None:
    """A row in the list and nothing behind it: that run is reported, and nothing is made up for it."""

    class Flow(Workflow):
        async def start(self, data: object, ctx: Context[object]) -> object:
            await ctx.schedule_next_step("later", delay=1000)
            return None

        async def later(self, data: object, ctx: Context[object]) -> None: ...

    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, run_id="r")
    with contextlib.closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:"))) as database, database:
        database.execute("DELETE FROM frames")
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        assert isinstance(runtime.unrecovered["r"], JournalCorrupt)
        assert await (await runtime.get_run("r")).status() is RunStatus.RUNNING

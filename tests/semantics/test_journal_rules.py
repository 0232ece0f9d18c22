"""What a journal promises while nothing goes wrong (semantics F1-F3, F8, F10)."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import trio

from actorflow import Context, RunNotFound, RunStatus, Workflow, open_runtime
from actorflow.abc import Append, Executor
from actorflow.journals import MemoryJournal, SqliteJournal, SqliteReader, parse_url

PUSHES = 20


class Gate(MemoryJournal):
    """A durable journal in memory whose commits wait at a gate while it is shut, and that remembers each of them."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self.open_gate = trio.Event()
        self.open_gate.set()
        self.entered = trio.Event()
        self.commits: list[Sequence[Append]] = []

    def shut(self) -> None:
        """From now on commits wait."""
        self.open_gate, self.entered = trio.Event(), trio.Event()

    async def commit(self, appends: Sequence[Append]) -> int:
        """Wait at the gate, then commit."""
        self.entered.set()
        await self.open_gate.wait()
        self.commits.append(list(appends))
        return await super().commit(appends)


async def rest() -> None:
    """Let everything that can go on without a commit do so."""
    for _ in range(100):
        await trio.lowlevel.checkpoint()


class Pushing(Workflow):
    """Pushes once per event."""

    async def start(self, data, ctx: Context):
        await ctx.wait_for_event("go", action="work")

    async def work(self, data, ctx: Context):
        await ctx.run_store.push("l", 1)
        heard.append("replied")
        await ctx.schedule_next_step("after")
        heard.append("scheduled")

    async def after(self, data, ctx: Context):
        heard.append("started")


heard: list[str] = []
"""What the steps of `Pushing` have come to; each test empties it first."""


# --- F1


@pytest.mark.rule("F1")
async def test_nothing_leaves_a_run_before_its_commit() -> None:
    """While the commit is under way: no reply, no step started, no value, no event, no fact to be seen."""
    heard.clear()
    disk = Gate()
    async with open_runtime([Pushing], journal=disk) as runtime:
        disk.shut()
        async with trio.open_nursery() as nursery:
            started = trio.Event()

            async def start() -> None:
                await runtime.start(Pushing, run_id="r")
                started.set()

            nursery.start_soon(start)
            await disk.entered.wait()
            await rest()
            assert not started.is_set()
            disk.open_gate.set()
        run = await runtime.get_run("r")
        await rest()
        disk.shut()
        sent = trio.Event()

        async def send() -> None:
            await run.send_event("go")
            sent.set()

        seen = []

        async def listen() -> None:
            async with run.events(after=len(await run.history())) as stream:
                async for event in stream:
                    seen.append(event.kind)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            nursery.start_soon(send)
            await disk.entered.wait()
            await rest()
            assert (sent.is_set(), seen, heard) == (False, [], [])
            disk.open_gate.set()
            await run.wait()
        assert sorted(heard) == ["replied", "scheduled", "started"]  # trio wakes them in either order
        assert seen[-1] == "run-completed"


@pytest.mark.rule("F1")
async def test_a_reply_is_in_the_file_when_it_comes(sqlite_url: str) -> None:
    """Whenever a call returns, another connection finds its fact in the file."""
    path = sqlite_url.removeprefix("sqlite:")
    lengths = []

    class Checking(Workflow):
        async def start(self, data, ctx: Context):
            reader = SqliteReader(path)
            await reader.open(Inline())
            for i in range(PUSHES):
                await ctx.run_store.push("l", i)
                facts = await reader.read("r")
                lengths.append(sum(type(fact).__name__ == "OperationApplied" for fact in facts))
            await ctx.schedule_next_step("other", delay=0)
            lengths.append(sum(type(fact).__name__ == "StepScheduled" for fact in await reader.read("r")))
            await reader.close()

        async def other(self, data, ctx: Context):
            return None

    async with open_runtime([Checking], journal=sqlite_url) as runtime:
        await (await runtime.start(Checking, run_id="r")).result()
    assert lengths == [*range(1, PUSHES + 1), 2]


class Inline:
    """An executor that does the work where it is asked for, and counts."""

    def __init__(self) -> None:
        self.calls = 0

    async def run(self, function: Callable[[], object]) -> object:
        """The result, at once."""
        self.calls += 1
        return function()


@pytest.mark.rule("F1")
def test_full_is_the_default() -> None:
    """A SQLite journal syncs every commit unless it is told otherwise."""
    assert inspect.signature(SqliteJournal).parameters["synchronous"].default == "FULL"


# --- F2


@pytest.mark.rule("F2")
async def test_what_arrives_during_a_commit_goes_into_the_next_one() -> None:
    """Over all runs: what came while a commit was under way is one commit, not one per run."""
    heard.clear()
    disk = Gate()
    runs = 7
    async with open_runtime([Pushing], journal=disk) as runtime:
        handles = [await runtime.start(Pushing, run_id=f"r{i}") for i in range(runs)]
        await rest()
        disk.shut()
        disk.commits.clear()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handles[0].send_event, "go")
            await disk.entered.wait()
            for run in handles[1:]:
                nursery.start_soon(run.send_event, "go")
            await rest()
            assert disk.commits == []
            disk.open_gate.set()
        assert [append.run_id for append in disk.commits[0]] == ["r0"]
        assert {append.run_id for append in disk.commits[1]} >= {f"r{i}" for i in range(1, runs)}
        for run in handles:
            await run.wait()


class Counting(SqliteJournal):
    """Counts its commits, and the calls of the thread that they need."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.hops: list[int] = []
        self.calls = 0
        self.written: list[int] = []
        self.snapshots: list[int] = []

    async def open(self, executor: Executor) -> None:
        """Open with an executor that counts."""
        journal = self

        class Counted:
            async def run(self, function: Callable[[], object]) -> object:
                journal.calls += 1
                return await executor.run(function)

        await super().open(Counted())

    async def commit(self, appends: Sequence[Append]) -> int:
        """Commit, and note how."""
        before = self.calls
        written = await super().commit(appends)
        self.hops.append(self.calls - before)
        self.written.append(written)
        self.snapshots += [len(append.snapshot) for append in appends if append.snapshot is not None]
        return written


@pytest.mark.rule("F2")
async def test_one_thread_hop_per_commit(tmp_path: Path) -> None:
    """A commit is one call of the journal's thread, and branches that push at once share commits."""
    journal = Counting(tmp_path / "runs.db")
    branches = 200

    class Fan(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("item", range(branches))

        async def item(self, data, ctx: Context):
            await ctx.run_store.push("l", data)
            await ctx.run_store.increment("n")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("n")

    async with open_runtime([Fan], journal=journal) as runtime:
        assert await runtime.run(Fan) == branches
        assert runtime.statistics().commits == len(journal.hops)
    assert set(journal.hops) == {1}
    assert len(journal.hops) < branches / 4


# --- F3


@pytest.mark.rule("F3")
async def test_recovery_runs_no_code_of_finished_steps(sqlite_url: str, autojump_clock: object) -> None:
    """State comes back by folding facts: no step that is done, no `update` function, no `once` runs again."""
    calls = []

    def double(value):
        calls.append("update")
        return value * 2

    async def outside():
        calls.append("once")
        return 1

    class Done(Workflow):
        async def start(self, data, ctx: Context):
            calls.append("start")
            await ctx.run_store.set("n", 21)
            await ctx.run_store.update("n", double)
            await ctx.once("outside", outside)
            await ctx.schedule_next_step("later", delay=3600)

        async def later(self, data, ctx: Context):
            calls.append("later")
            await ctx.run_store.increment("n", 0.5)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("n")

    for opening in range(3):
        async with open_runtime([Done], journal=sqlite_url) as runtime:
            run = await runtime.start(Done, run_id="r")
            await trio.sleep(1)
            assert await run.state() == {"n": 42}, opening
    assert calls == ["start", "update", "once"]
    async with open_runtime([Done], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 42.5
    assert calls == ["start", "update", "once", "later"]


# --- F8


@pytest.mark.rule("F8")
async def test_a_push_writes_its_item_not_the_list(tmp_path: Path) -> None:
    """The hundredth push of a kilobyte costs the journal what the first one did; so does one into a large state."""
    journal = Counting(tmp_path / "runs.db")
    marks = []

    class Growing(Workflow):
        async def start(self, data, ctx: Context):
            for i in range(100):
                await ctx.run_store.push("l", f"{i:03}" + "x" * 1000)
            marks.append(len(journal.written))
            for i in range(20):
                await ctx.run_store.set(f"big{i}", "y" * 200_000)
            marks.append(len(journal.written))
            for i in range(100):
                await ctx.run_store.push("l", f"{i:03}" + "x" * 1000)
            marks.append(len(journal.written))

    async with open_runtime([Growing], journal=journal) as runtime:
        await runtime.run(Growing)
    small = journal.written[2 : marks[0]]
    late = [size for size in journal.written[marks[1] + 1 : marks[2]] if size < 100_000]
    assert len(late) > 90
    assert max(small + late) < 1.5 * min(small + late)


@pytest.mark.rule("F8")
async def test_snapshots_cost_a_constant_factor(tmp_path: Path, autojump_clock: object) -> None:
    """However long a run writes: all its snapshots together are no larger than its facts, and they are taken."""
    journal = Counting(tmp_path / "runs.db")

    class Long(Workflow):
        async def start(self, data, ctx: Context):
            for i in range(250):
                await ctx.run_store.set(f"k{i % 10}", f"{i:04}" + "z" * 150_000)
            await ctx.wait_for_event("end", action="finish")

        async def finish(self, data, ctx: Context):
            return await ctx.run_store.length("none")

        async def on_workflow_complete(self, ctx: Context):
            return sorted(value[:4] for value in (await ctx.run_store.snapshot()).values())

    async with open_runtime([Long], journal=journal) as runtime:
        run = await runtime.start(Long, run_id="r")
        async with run.events() as stream:
            async for event in stream:
                if event.kind == "step-completed":
                    break
    facts = sum(journal.written) - sum(journal.snapshots)
    assert 2 <= len(journal.snapshots) <= math.ceil(facts / 4_000_000)
    assert sum(journal.snapshots) < facts
    async with open_runtime([Long], journal=f"sqlite:{tmp_path / 'runs.db'}") as runtime:
        run = await runtime.get_run("r")
        await run.send_event("end")
        assert await run.result() == [f"{i:04}" for i in range(240, 250)]


# --- F10


@pytest.mark.rule("F10")
async def test_memory_keeps_nothing_and_says_so() -> None:
    """Runs of a `memory:` journal end with the block, and the next block knows none; the journal says what it is."""
    assert parse_url("memory:").durable is False
    assert parse_url("sqlite:runs.db").durable is True

    class Waits(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("never", action="finish")

        async def finish(self, data, ctx: Context):
            return None

    async with open_runtime([Waits], journal="memory:", shutdown_grace=0) as runtime:
        run = await runtime.start(Waits, run_id="r")
        assert await run.status() is RunStatus.RUNNING
    async with open_runtime([Waits], journal="memory:") as runtime:
        assert await runtime.list_runs() == []
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")

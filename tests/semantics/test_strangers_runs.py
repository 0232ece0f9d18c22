"""What readers of the code found in places, events, leaks and the size of trees of runs, each kept as a test."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from pathlib import Path

import pytest
import trio
import trio.testing

from actorflow import Context, Graph, RunStatus, Workflow, open_runtime, step, workflow
from actorflow._core.facts import Fact
from actorflow.abc import StoredRun
from actorflow.journals import SqliteJournal


class CountingJournal(SqliteJournal):
    """Counts the facts that are read from it."""

    facts_read = 0

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        facts = await super().read(run_id, first_seq, last_seq)
        self.facts_read += len(facts)
        return facts

    async def load(self, run_id: str) -> StoredRun | None:
        stored = await super().load(run_id)
        if stored is not None:
            self.facts_read += len(stored.facts)
        return stored


class Asks(Workflow):
    """Suspends, and returns what it is resumed with."""

    async def start(self, data: object, ctx: Context) -> object:
        return await ctx.suspend("?")


class Listens(Workflow):
    """Waits for the event `e` after a second and `data` checkpoints."""

    async def start(self, data: int, ctx: Context) -> None:
        await trio.sleep(1)
        for _ in range(data):
            await trio.lowlevel.checkpoint()
        await ctx.wait_for_event("e", action="heard", timeout=100)

    async def heard(self, data: object, ctx: Context) -> None:
        await ctx.root_store.push("heard", ctx.event)


class ListensElsewhere(Workflow):
    """Waits for another event, beside it."""

    async def start(self, data: object, ctx: Context) -> None:
        await ctx.wait_for_event("other", action="heard")

    async def heard(self, data: object, ctx: Context) -> None:
        pass


class TwoListeners(Workflow):
    """Has a child of each."""

    async def start(self, data: int, ctx: Context) -> None:
        await ctx.schedule_next_step("listen", data)
        await ctx.schedule_next_step("elsewhere")

    async def listen(self, data: int, ctx: Context) -> None:
        await ctx.run_child(Listens, data)

    async def elsewhere(self, data: object, ctx: Context) -> None:
        await ctx.run_child(ListensElsewhere)


@pytest.mark.rule("D6")
@pytest.mark.parametrize("checkpoints", range(0, 24, 2))
async def test_an_event_arrives_while_a_descendant_opens_its_wait(
    journal: str, autojump_clock: trio.testing.MockClock, checkpoints: int
) -> None:
    """An event that is sent in the instant in which a descendant opens its wait for it is neither lost nor doubled."""
    async with open_runtime([TwoListeners, Listens, ListensElsewhere], journal=journal) as runtime:
        run = await runtime.start(TwoListeners, checkpoints)
        await trio.sleep(1)
        await run.send_event("e", "once")
        await trio.sleep(50)
        assert await run.state() == {"heard": ["once"]}
        await run.cancel()


class WaitsAbove(Workflow):
    """Waits for a key of its parent, if told to."""

    async def start(self, data: object, ctx: Context) -> None:
        if data == "wait":
            await ctx.parent_store.wait_for("go", bool)


@pytest.mark.rule("C8")
@pytest.mark.parametrize("delay", [0, 5])
async def test_a_step_with_two_children_gives_its_place_up(
    journal: str, autojump_clock: trio.testing.MockClock, delay: int
) -> None:
    """A step parked in two children at once leaves its place to others, also when one of the two has ended."""

    class OnePlace(Workflow):
        max_live_steps = 1

        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("call")
            await ctx.schedule_next_step("free", delay=delay)

        async def call(self, data: object, ctx: Context) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ctx.run_child, WaitsAbove, "do not")
                nursery.start_soon(ctx.run_child, WaitsAbove, "wait")

        async def free(self, data: object, ctx: Context) -> None:
            await ctx.run_store.set("go", True)

    async with open_runtime([OnePlace, WaitsAbove], journal=journal, shutdown_grace=0) as runtime:
        run = await runtime.start(OnePlace)
        with trio.fail_after(100):
            assert (await run.wait()).status is RunStatus.COMPLETED


@pytest.mark.rule("C8")
async def test_waiting_for_the_parent_s_key_takes_no_place(
    journal: str, autojump_clock: trio.testing.MockClock
) -> None:
    """A step parked in `parent_store.wait_for` does not count against the bound of its own run."""

    class OnePlace(Workflow):
        max_live_steps = 1

        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("wait")
            await ctx.schedule_next_step("free")

        async def wait(self, data: object, ctx: Context) -> None:
            await ctx.parent_store.wait_for("go", bool)

        async def free(self, data: object, ctx: Context) -> None:
            await ctx.parent_store.set("go", True)

    class Above(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.run_child(OnePlace)

    async with open_runtime([Above, OnePlace], journal=journal, shutdown_grace=0) as runtime:
        run = await runtime.start(Above)
        with trio.fail_after(100):
            assert (await run.wait()).status is RunStatus.COMPLETED


@pytest.mark.rule("B12")
@pytest.mark.parametrize("question", ["nothing", "describe", "history", "list_runs"])
async def test_asking_for_finished_runs_keeps_none_in_memory(
    journal: str, autojump_clock: trio.testing.MockClock, question: str
) -> None:
    """Runs that are over leave memory, also those whose record was read after their end."""

    class Ends(Workflow):
        async def start(self, data: object, ctx: Context) -> int:
            return 1

    async with open_runtime([Ends], journal=journal) as runtime:
        for _ in range(20):
            run = await runtime.start(Ends)
            await run.wait()
            if question == "describe":
                await run.describe()
            elif question == "history":
                await run.history()
            elif question == "list_runs":
                await runtime.list_runs(limit=1)
        del run
        await trio.sleep(1)
        gc.collect()
        assert runtime.statistics().live_runs == 0
        assert len(runtime._kernel.actors) == 0


@pytest.mark.rule("G", "F4")
async def test_a_graph_goes_no_further_while_the_runtime_closes(
    sqlite_url: str, autojump_clock: trio.testing.MockClock
) -> None:
    """The live step of a graph has its grace, the next waits for the next opening, and each runs once."""
    ran: list[str] = []

    def link(name: str) -> object:
        @step(id=name)
        async def work(data: object, ctx: Context) -> object:
            await trio.sleep(3)
            ran.append(name)
            return data

        return work

    chain: Graph = workflow("chain")
    for n in range(8):
        chain = chain.then(link(f"s{n}"))
    chain = chain.commit()
    async with open_runtime([chain], journal=sqlite_url, shutdown_grace=10) as runtime:
        await runtime.start(chain, 7, run_id="r")
        await trio.sleep(1)
    assert ran == ["s0"]
    async with open_runtime([chain], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == 7
    assert ran == [f"s{n}" for n in range(8)]


async def facts_of_a_cancel(path: Path, children: int) -> int:
    """How many facts are read while a run with so many suspended children is cancelled."""
    fan = workflow("fan").foreach(Asks, concurrency=None).commit()
    journal = CountingJournal(path)
    async with open_runtime([fan, Asks], journal=journal) as runtime:
        run = await runtime.start(fan, list(range(children)))
        assert len((await run.wait()).suspensions) == children
        gc.collect()
        journal.facts_read = 0
        await run.cancel()
        assert (await run.wait()).status is RunStatus.CANCELLED
        return journal.facts_read


@pytest.mark.rule("A8", "F8")
async def test_a_cancel_reads_each_suspended_child_once(tmp_path: Path) -> None:
    """Four times the suspended children cost a cancel about four times the facts, not sixteen times."""
    few = await facts_of_a_cancel(tmp_path / "few.db", 20)
    many = await facts_of_a_cancel(tmp_path / "many.db", 80)
    assert 0 < many <= 5 * few


def nested(depth: int) -> list[type[Workflow]]:
    """So many workflows, each of which runs the one before it; the first one asks."""
    found: list[type[Workflow]] = [Asks]

    def above(below: type[Workflow], name: str) -> type[Workflow]:
        class Calls(Workflow):
            id = name

            async def start(self, data: object, ctx: Context) -> object:
                return await ctx.run_child(below)

        return Calls

    for n in range(depth):
        found.append(above(found[-1], f"level{n}"))
    return found


@pytest.mark.rule("D4", "A8")
async def test_four_hundred_levels_of_runs(autojump_clock: trio.testing.MockClock) -> None:
    """The innermost of four hundred nested runs suspends, is resumed from the outermost, and all of them complete."""
    levels = nested(400)
    async with open_runtime(levels, journal="memory:", shutdown_grace=0) as runtime:
        run = await runtime.start(levels[-1])
        outcome = await run.wait()
        assert [len(found.path) for found in outcome.suspensions] == [401]
        await run.resume(7)
        with trio.fail_after(100):
            assert await run.result() == 7

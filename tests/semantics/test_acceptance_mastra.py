"""Programs that go wrong elsewhere when state is shared between parallel, nested, suspended and crashed steps.

docs/acceptance.md lists them, with what happens here and which test shows it. What stands in this file is the part of
the list that has a figure of its own; the rest is in the files of the rules.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from attrs import define, frozen
from trio.testing import MockClock

from actorflow import Context, Graph, Retry, RunOutcome, RunStatus, Runtime, open_runtime, step, workflow
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, Fault, FaultyJournal, SimulatedCrash

LONG_S = 1e6
WRITES_MAX = 300
FAULTS = pytest.mark.parametrize("fault", [Crash(), Crash(written=True)], ids=["before", "after"])


class Boom(Exception):
    """What the steps of this file fail with."""


async def settle(graph: Graph, data: object = None, *, journal: str = "memory:", **options: Any) -> RunOutcome:
    """Run a graph in a runtime of its own; how it ended."""
    with trio.fail_after(LONG_S):
        async with open_runtime([graph], journal=journal) as runtime:
            return await (await runtime.start(graph, data, **options)).wait()


async def crash_anywhere(
    make: Callable[[], Graph],
    fault: Fault,
    drive: Callable[[Runtime, Graph], Awaitable[RunOutcome]],
    check: Callable[[RunOutcome], None],
) -> int:
    """Crash in the first, second, third … write, go on with what was written, and check each end; how many writes."""
    for n in range(1, WRITES_MAX):
        graph = make()
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})
        with trio.move_on_after(LONG_S):
            try:
                async with open_runtime([graph], journal=journal, shutdown_grace=0) as runtime:
                    await drive(runtime, graph)
            except SimulatedCrash:
                pass
        with trio.fail_after(LONG_S):
            async with open_runtime([graph], journal=disk) as runtime:
                assert runtime.unrecovered == {}
                check(await drive(runtime, graph))
        if not journal.failed:
            return n - 1
    raise AssertionError("the writes never end")


def bytes_in(folder: Path) -> int:
    """The size of all files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


async def to_the_end(runtime: Runtime, graph: Graph) -> RunOutcome:
    """Start the run "r", or find it, and wait for it."""
    return await (await runtime.start(graph, run_id="r")).wait()


# ------------------------------------------------------------------------------------------------ counting


@define
class Letters:
    """A state of a few keys."""

    a: int = 0
    b: int = 0
    n: int = 0
    k1: int = 0
    k2: int = 0
    k3: int = 0


@pytest.mark.rule("E2")
@pytest.mark.parametrize("schema", [Letters, None], ids=["schema", "no schema"])
async def test_parallel_children_keep_each_others_keys(
    schema: type | None, journal: str, autojump_clock: MockClock
) -> None:
    """Three nested workflows set a key each, and count into a common one: with and without a schema, all is there."""

    def child(name: str, seconds: float) -> Graph:
        @step(id=f"set_{name}")
        async def change(data, ctx: Context):
            await trio.sleep(seconds)
            await ctx.run_store.set(name, 3)
            await ctx.run_store.increment("n", 2)

        return workflow(f"child-{name}", state=schema).then(change).commit()

    children = [child("k1", 3), child("k2", 1), child("k3", 2)]
    graph = workflow("w", state=schema).parallel(children, merge_state=True).commit()
    outcome = await settle(graph, journal=journal, initial_state={"n": 1})
    assert [outcome.state[key] for key in ("k1", "k2", "k3", "n")] == [3, 3, 3, 7]


# ------------------------------------------------------------------------------------------------ suspending


@pytest.mark.rule("C5", "D5")
async def test_a_retry_policy_holds_after_a_resume(journal: str, autojump_clock: MockClock) -> None:
    """The step fails after its answer, and still has all of its four attempts."""
    attempts = []

    @step(retry=Retry(attempts=4, delay=1))
    async def ask(data, ctx: Context):
        await ctx.suspend()
        attempts.append(ctx.attempt)
        raise Boom

    graph = workflow("w").then(ask).commit()
    async with open_runtime([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await run.wait()
        await run.resume()
        outcome = await run.wait()
    assert (outcome.status, attempts) == (RunStatus.FAILED, [1, 2, 3, 4])


# ------------------------------------------------------------------------------------------------ crashing


@frozen
class Approval:
    """The answer in the test below."""

    approved: bool


@FAULTS
@pytest.mark.rule("F4", "D2", "D5")
async def test_an_approval_outlives_any_crash(fault: Fault, autojump_clock: MockClock) -> None:
    """A process that dies anywhere after an acknowledged answer does not ask again, and everything counts once."""
    acknowledged: list[str] = []

    def make() -> Graph:
        acknowledged.clear()

        @step(resume=Approval)
        async def approve(data, ctx: Context):
            await ctx.run_store.push("log", "asked")
            return (await ctx.suspend()).approved

        @step
        async def book(data, ctx: Context):
            await ctx.run_store.push("log", "booked")
            return data

        @step
        async def send(data, ctx: Context):
            await ctx.run_store.push("log", "sent")
            return data

        return workflow("w", keep_state=True).then(approve).then(book).then(send).commit()

    async def drive(runtime: Runtime, graph: Graph) -> RunOutcome:
        run = await runtime.start(graph, run_id="r")
        outcome = await run.wait()
        if outcome.status is RunStatus.SUSPENDED:
            assert acknowledged == []
            await run.resume({"approved": True})
            acknowledged.append("approve")
            outcome = await run.wait()
        return outcome

    def check(outcome: RunOutcome) -> None:
        assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, True), outcome.failures
        assert outcome.state == {"log": ["asked", "booked", "sent"]}

    assert await crash_anywhere(make, fault, drive, check) > 4


@FAULTS
@pytest.mark.rule("F4", "C3")
async def test_a_foreach_counts_each_item_once_over_any_crash(fault: Fault, autojump_clock: MockClock) -> None:
    """Four items one after the other, a crash in any write: items that were done are not begun again, and n is 4."""
    passes: Counter[int] = Counter()

    def make() -> Graph:
        passes.clear()

        @step(id="list")
        async def items(data, ctx: Context):
            return [1, 2, 3, 4]

        @step
        async def item(data, ctx: Context):
            passes[data] += 1
            await ctx.run_store.increment("n")
            return data * 10

        return workflow("w", keep_state=True).then(items).foreach(item).commit()

    def check(outcome: RunOutcome) -> None:
        assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, [10, 20, 30, 40]), outcome.failures
        assert outcome.state == {"n": 4}
        assert passes.total() <= 5  # one at a time: only the one that was at work has to begin again

    assert await crash_anywhere(make, fault, to_the_end, check) > 4


@FAULTS
@pytest.mark.rule("F4", "E2")
async def test_what_a_child_adds_reaches_its_parent_over_any_crash(fault: Fault, autojump_clock: MockClock) -> None:
    """The parent adds 100, the steps of its child 10 and 1: the sum is 111, wherever the process dies."""

    def adding(amount: int):
        @step(id=f"add_{amount}")
        async def add(data, ctx: Context):
            await ctx.run_store.increment("n", amount)

        return add

    def make() -> Graph:
        child = workflow("child").then(adding(10)).then(adding(1)).commit()
        return workflow("w", keep_state=True).then(adding(100)).then(child, merge_state=True).commit()

    def check(outcome: RunOutcome) -> None:
        assert outcome.status is RunStatus.COMPLETED, outcome.failures
        assert outcome.state == {"n": 111}

    assert await crash_anywhere(make, fault, to_the_end, check) > 6


@pytest.mark.rule("D7")
async def test_a_sleep_goes_on_for_the_rest_of_its_time(autojump_clock: MockClock) -> None:
    """Of three seconds 0.8 have passed when the process dies: the next one sleeps for about 2.2."""

    @step
    async def wake(data, ctx: Context):
        return ctx.now().timestamp()

    graph = workflow("w").sleep(3).then(wake).commit()
    disk = MemoryJournal(durable=True)
    async with open_runtime([graph], journal=disk, shutdown_grace=0) as runtime:
        run = await runtime.start(graph, run_id="r")
        began = runtime.now().timestamp()
        await trio.sleep(0.8)
    async with open_runtime([graph], journal=disk) as runtime:
        reopened = runtime.now().timestamp()
        run = await runtime.get_run("r")
        # The wall clock of the second opening is real; the timer is where the first one put it on that clock.
        due = began + 3
        with trio.fail_after(LONG_S):
            woken = await run.result()
    assert woken == pytest.approx(max(due, reopened), abs=0.3)


# ------------------------------------------------------------------------------------------------ the rest


@pytest.mark.rule("F8")
async def test_fifty_outputs_of_100_kb_take_a_few_times_their_size(tmp_path: Path) -> None:
    """Fifty steps in a chain, each with an output of 100 KB: the file stays below three times the data."""
    size = 100_000

    def making(number: int):
        @step(id=f"make_{number}")
        async def make(data, ctx: Context):
            return f"{number:02}" * (size // 2)

        return make

    builder = workflow("w")
    for number in range(50):
        builder = builder.then(making(number))
    graph = builder.commit()
    async with open_runtime([graph], journal=f"sqlite:{tmp_path / 'runs.db'}") as runtime:
        assert len(await runtime.run(graph)) == size
    assert 50 * size < bytes_in(tmp_path) < 3 * 50 * size

"""Loops in graphs: `do_while` and `do_until`, the count of iterations, and what of a loop survives a crash."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from actorflow import Context, Retry, RunStatus, Workflow, from_step, step, workflow
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, Fault, FaultyJournal, SimulatedCrash
from tests.semantics.graph_flows import (
    LONG,
    Boom,
    adding,
    cut_off,
    failing,
    kind,
    kinds,
    opened,
    output_of,
    records,
    saying,
    settle,
    statuses,
    taken_up,
)

POINTS_MAX = 500
"""Far more writes than any graph here asks for."""


@pytest.mark.rule("C9")
@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, 3), (3, 4), (10, 11)])
async def test_do_while_goes_on_while_the_condition_holds(
    start: int, end: int, journal: str, autojump_clock: MockClock
) -> None:
    """The body runs at least once, then again with its own output as long as the condition holds."""
    graph = workflow("while").do_while(adding("plus"), lambda data, ctx: data < 3).commit()
    outcome = await settle(graph, start, journal=journal)
    assert outcome.output == end
    assert statuses(outcome) == {"plus": ["completed"] * (end - start)}


@pytest.mark.rule("C9")
@pytest.mark.parametrize(("start", "end"), [(0, 3), (2, 3), (3, 4), (10, 11)])
async def test_do_until_goes_on_until_the_condition_holds(
    start: int, end: int, journal: str, autojump_clock: MockClock
) -> None:
    """The body runs at least once, then again as long as the condition does not hold."""
    graph = workflow("until").do_until(adding("plus"), lambda data, ctx: data >= 3).commit()
    assert await output_of(graph, start, journal=journal) == end


@pytest.mark.rule("C9")
async def test_iteration_counts_from_one(journal: str, autojump_clock: MockClock) -> None:
    """Body and condition see the number of the iteration; each iteration is an activation of its own."""
    seen, asked = [], []

    @step
    async def body(data, ctx: Context):
        seen.append((ctx.iteration, ctx.activation_id))
        return data

    def enough(data, ctx: Context):
        asked.append(ctx.iteration)
        return ctx.iteration >= 4

    graph = workflow("counted").do_until(body, enough).commit()
    outcome = await settle(graph, "x", journal=journal)
    assert outcome.output == "x"
    assert [iteration for iteration, _ in seen] == asked == [1, 2, 3, 4]
    assert len({activation for _, activation in seen}) == 4
    assert [record.activation_id for record in records(outcome)["body"]] == [activation for _, activation in seen]


async def test_every_loop_counts_for_itself(autojump_clock: MockClock) -> None:
    """A second loop, also over the same step, begins at one again."""
    seen = []

    @step
    async def body(data, ctx: Context):
        seen.append(ctx.iteration)

    graph = (
        workflow("two")
        .do_until(body, lambda data, ctx: ctx.iteration == 2)
        .do_until(body, lambda data, ctx: ctx.iteration == 3)
        .commit()
    )
    await output_of(graph)
    assert seen == [1, 2, 1, 2, 3]


async def test_an_async_condition(autojump_clock: MockClock) -> None:
    """A condition may take its time, and look at the store."""
    began = trio.current_time()

    @step
    async def body(data, ctx: Context):
        return await ctx.run_store.increment("n")

    async def more(data, ctx: Context):
        await trio.sleep(10)
        return await ctx.run_store.get("n") < 5

    assert await output_of(workflow("slow").do_while(body, more).commit()) == 5
    assert trio.current_time() - began == pytest.approx(50, abs=0.1)


@pytest.mark.rule("B9")
async def test_a_loop_on_state_ends(journal: str, autojump_clock: MockClock) -> None:
    """A condition sees the state as the body has just left it, not as it was when the loop began."""

    @step
    async def body(data, ctx: Context):
        await ctx.set_state(n=ctx.state.get("n", 0) + 1)

    graph = workflow("state").do_while(body, lambda data, ctx: ctx.state["n"] < 5).commit()
    outcome = await settle(graph, journal=journal)
    assert outcome.state == {"n": 5}
    assert len(records(outcome)["body"]) == 5


@pytest.mark.parametrize("verb", ["do_while", "do_until"])
async def test_a_condition_that_raises_fails_the_run(verb: str, journal: str, autojump_clock: MockClock) -> None:
    """Its own exception is on record, the body has run once, and nothing behind the loop starts."""

    def undecided(data, ctx: Context):
        raise Boom("no decision")

    builder = workflow("raises")
    graph = getattr(builder, verb)(adding("plus"), undecided).then(failing("never")).commit()
    outcome = await settle(graph, 1, journal=journal)
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["Boom"])
    assert statuses(outcome)["plus"] == ["completed"]


@pytest.mark.rule("C6")
async def test_a_body_that_fails_ends_the_loop(autojump_clock: MockClock) -> None:
    """The failing iteration is the last one, and the condition is not asked about it."""
    asked = []

    @step
    async def body(data, ctx: Context):
        if ctx.iteration == 3:
            raise Boom("third")
        return data

    def more(data, ctx: Context):
        asked.append(ctx.iteration)
        return True

    outcome = await settle(workflow("third").do_while(body, more).then(failing("never")).commit())
    assert (outcome.status, kinds(outcome), asked) == (RunStatus.FAILED, ["Boom"], [1, 2])
    assert statuses(outcome)["body"] == ["completed", "completed", "failed"]


@pytest.mark.rule("C5", "C3")
async def test_retries_in_a_loop(journal: str, autojump_clock: MockClock) -> None:
    """Each iteration has all attempts of the step's policy; a retried one is the same iteration and counts once."""
    seen = []

    @step(retry=Retry(attempts=3, delay=1.0, jitter=0.0))
    async def body(data, ctx: Context):
        seen.append((ctx.iteration, ctx.attempt))
        await ctx.run_store.increment("n")
        if ctx.attempt < 3:
            raise Boom("again")
        return data + 1

    graph = workflow("retries").do_while(body, lambda data, ctx: data < 3).commit()
    outcome = await settle(graph, 0, journal=journal)
    assert (outcome.output, outcome.state) == (3, {"n": 3})
    assert seen == [(iteration, attempt) for iteration in (1, 2, 3) for attempt in (1, 2, 3)]


@pytest.mark.rule("C3")
async def test_equal_operations_of_different_iterations_all_count(journal: str, autojump_clock: MockClock) -> None:
    """The same verb, key and value in each iteration is another operation each time."""

    @step
    async def body(data, ctx: Context):
        await ctx.run_store.push("k", "same")
        await ctx.run_store.increment("n")
        return data + 1

    outcome = await settle(workflow("equal").do_while(body, lambda d, ctx: d < 5).commit(), 0, journal=journal)
    assert outcome.state == {"k": ["same"] * 5, "n": 5}


async def test_from_step_in_and_after_a_loop(autojump_clock: MockClock) -> None:
    """It gives the output of the latest iteration."""
    seen = []

    @step
    async def body(data, ctx: Context):
        if ctx.iteration > 1:
            seen.append(await ctx.step_result("body"))
        return data + 1

    graph = workflow("latest").do_while(body, lambda data, ctx: data < 4).map({"last": from_step("body")}).commit()
    assert await output_of(graph, 0) == {"last": 4}
    assert seen == [1, 2, 3]


@pytest.mark.rule("C8")
async def test_a_thousand_iterations(autojump_clock: MockClock) -> None:
    """Long loops neither recurse nor slow down to a halt."""
    graph = workflow("long").do_while(adding("plus"), lambda data, ctx: data < 1000).commit()
    outcome = await settle(graph, 0)
    assert (outcome.output, len(outcome.steps)) == (1000, 1000)


# ------------------------------------------------------------------------------------------------ nested


@pytest.mark.rule("C9", "E2")
async def test_a_loop_over_a_graph(journal: str, autojump_clock: MockClock) -> None:
    """Each iteration is a child run of its own with a fresh state; its output is the input of the next."""
    runs = []

    @step
    async def look(data, ctx: Context):
        runs.append(ctx.run_id)
        return data + await ctx.run_store.increment("mine")

    inner = workflow("inner").then(look).then(adding("plus", 10)).commit()
    graph = workflow("outer").do_until(inner, lambda data, ctx: data > 30).commit()
    assert await output_of(graph, 0, journal=journal) == 33
    assert len(set(runs)) == 3


class Doubles(Workflow):
    """A class-style body of a loop."""

    async def start(self, data, ctx: Context):
        return data * 2


async def test_a_loop_over_a_class(autojump_clock: MockClock) -> None:
    """A workflow class is as good a body as a step."""
    assert await output_of(workflow("outer").do_while(Doubles, lambda data, ctx: data < 100).commit(), 3) == 192


@pytest.mark.rule("C9")
async def test_a_fan_out_in_a_loop(journal: str, autojump_clock: MockClock) -> None:
    """The second round gets the results of the second round, and every element of every round counts once."""

    @step
    async def work(data, ctx: Context):
        await trio.sleep(10 - data % 7)
        return data + 1

    inner = workflow("round").foreach(work, concurrency=None).commit()
    graph = workflow("rounds").do_until(inner, lambda data, ctx: ctx.iteration == 3).commit()
    assert await output_of(graph, [0, 10, 20], journal=journal) == [3, 13, 23]


@pytest.mark.rule("C9", "C10")
async def test_loops_of_different_length_beside_each_other(autojump_clock: MockClock) -> None:
    """Each element of a foreach goes round its own loop, with its own count, and the join waits for the longest."""
    seen: Counter[int] = Counter()

    @step
    async def body(data, ctx: Context):
        seen[data[0]] += 1
        assert ctx.iteration == seen[data[0]]
        await trio.sleep(1)
        return [data[0], data[1] - 1]

    inner = workflow("inner").do_while(body, lambda data, ctx: data[1] > 0).commit()
    graph = workflow("outer").foreach(inner, concurrency=None).commit()
    assert await output_of(graph, [[n, n] for n in range(1, 6)]) == [[n, 0] for n in range(1, 6)]
    assert seen == {n: n for n in range(1, 6)}


async def test_a_loop_in_a_loop(autojump_clock: MockClock) -> None:
    """The inner loop counts from one in each iteration of the outer one."""
    seen = []

    @step
    async def body(data, ctx: Context):
        seen.append(ctx.iteration)
        return data

    inner = workflow("inner").do_until(body, lambda data, ctx: ctx.iteration == 2).commit()
    await output_of(workflow("outer").do_until(inner, lambda data, ctx: ctx.iteration == 3).commit())
    assert seen == [1, 2] * 3


@pytest.mark.rule("C13")
async def test_bail_in_a_loop(autojump_clock: MockClock) -> None:
    """It ends the run, not just the iteration."""

    @step
    async def body(data, ctx: Context):
        if ctx.iteration == 3:
            await ctx.bail("enough")
        return data

    graph = workflow("bails").do_while(body, lambda data, ctx: True).then(failing("never")).commit()
    assert await output_of(graph) == "enough"


@pytest.mark.rule("C12")
@pytest.mark.parametrize("where", ["body", "condition", "between"])
async def test_cancel_ends_an_endless_loop(where: str, autojump_clock: MockClock) -> None:
    """Wherever the loop is when the cancel comes, it goes round no more."""
    rounds = []

    @step
    async def body(data, ctx: Context):
        rounds.append(ctx.iteration)
        if where == "body":
            await trio.sleep(1)

    async def more(data, ctx: Context):
        if where == "condition":
            await trio.sleep(1)
        return True

    graph = workflow("endless").do_while(body, more).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        while len(rounds) < 5:  # noqa: ASYNC110 - the loop has no event of its own
            await trio.sleep(0 if where == "between" else 0.5)
        await run.cancel("enough")
        count = len(rounds)
        assert await run.status() is RunStatus.CANCELLED
        await trio.sleep(100)
        assert len(rounds) == count


# ------------------------------------------------------------------------------------------------ closing, crash


@pytest.mark.rule("F4", "C3", "C9")
@pytest.mark.parametrize("where", ["body", "condition"])
async def test_a_loop_goes_on_where_it_was(where: str, sqlite_url: str, autojump_clock: MockClock) -> None:
    """Closed in its third iteration and opened again: finished iterations do not run again, the count goes on."""
    passes, asked = [], []
    reached = trio.Event()

    async def stop_once(here: str) -> None:
        if here == where and not reached.is_set():
            reached.set()
            await trio.sleep_forever()

    @step
    async def body(data, ctx: Context):
        passes.append(ctx.iteration)
        await ctx.run_store.increment("n")
        if ctx.iteration == 3:
            await stop_once("body")
        return data + 1

    async def more(data, ctx: Context):
        asked.append(ctx.iteration)
        if ctx.iteration == 3:
            await stop_once("condition")
        return data < 5

    graph = workflow("again").do_while(body, more).commit()
    await cut_off(graph, 0, sqlite_url, reached)
    outcome = await taken_up(graph, sqlite_url)
    assert (outcome.output, outcome.state) == (5, {"n": 5})
    assert passes == ([1, 2, 3, 3, 4, 5] if where == "body" else [1, 2, 3, 4, 5])
    assert asked == ([1, 2, 3, 4, 5] if where == "body" else [1, 2, 3, 3, 4, 5])
    assert [record.attempts for record in records(outcome)["body"]] == [1] * 5


@pytest.mark.rule("F4", "C3", "C9")
async def test_a_fan_out_in_a_loop_goes_on_where_it_was(sqlite_url: str, autojump_clock: MockClock) -> None:
    """Closed in the middle of its second round: the first is not repeated, nor what of the second was done."""
    passes: Counter[tuple[int, int]] = Counter()
    reached = trio.Event()

    @step
    async def work(data, ctx: Context):
        passes[data[0], data[1]] += 1
        if data == [2, 1] and not reached.is_set():
            await trio.sleep(1)
            reached.set()
            await trio.sleep_forever()
        return [data[0], data[1] + 1]

    inner = workflow("round").foreach(work, concurrency=2).commit()
    graph = workflow("rounds").do_until(inner, lambda data, ctx: ctx.iteration == 3).commit()
    await cut_off(graph, [[n, 0] for n in range(5)], sqlite_url, reached)
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.output == [[n, 3] for n in range(5)]
    assert {key for key, count in passes.items() if count > 1} == {(2, 1)}


@pytest.mark.slow
@pytest.mark.rule("F4", "C3", "C9")
@pytest.mark.parametrize("fault", [Crash(), Crash(written=True)], ids=["before", "after"])
async def test_a_crash_at_every_write_of_a_loop(fault: Fault, autojump_clock: MockClock) -> None:
    """Whichever write the process dies in, the loop ends after as many iterations as ever, each counted once."""

    @step
    async def body(data, ctx: Context):
        await ctx.run_store.push("iterations", ctx.iteration)
        return data + 1

    graph = workflow("loop").do_while(body, lambda data, ctx: data < 3).then(saying("end")).commit()
    for n in range(1, POINTS_MAX):
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})
        with trio.move_on_after(LONG):
            try:
                async with opened([graph], journal=journal, shutdown_grace=0) as runtime:
                    await (await runtime.start(graph, 0, run_id="r")).wait()
            except SimulatedCrash:
                pass
        if not journal.failed:
            assert n > 5
            return
        async with opened([graph], journal=disk) as runtime:
            outcome = await (await runtime.start(graph, 0, run_id="r")).wait()
            assert (outcome.output, kind(outcome.error)) == ("3end", "None")
            assert outcome.state in ({"iterations": [1, 2, 3]}, {})
            assert len([record for record in outcome.steps if record.step_id == "body"]) == 3
    pytest.fail("the writes never end")

"""Thirty faults that users of other engines have met, as programs: the part of them that has no test elsewhere.

docs/acceptance.md lists all of them, with what happens here and which test shows it.
"""

from __future__ import annotations

import gc
import itertools
import tracemalloc
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    InputError,
    NotSuspended,
    RunOver,
    RunStatus,
    StateTypeError,
    Step,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    tolerate,
    workflow,
)

LONG_S = 1e6


class Boom(Exception):
    """What the steps of this file fail with."""


# ------------------------------------------------------------------------------------------------ updates (1 to 7)


@pytest.mark.rule("B10", "C6")
async def test_one_lost_update_does_not_waste_the_others(journal: str) -> None:
    """Of a hundred branches two read and set one key at once: the second fails and is named, the other 99 count."""

    class Hundred(Workflow):
        join = tolerate(count=1)

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(98))
            await ctx.schedule_many("careless", range(2))

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("done", data)

        async def careless(self, data, ctx: Context):
            seen = await ctx.run_store.get("shared", 0)
            await ctx.run_store.increment("readers")
            await ctx.run_store.wait_for("readers", lambda value: value == 2)
            await ctx.run_store.set("shared", seen + 1)

    async with open_runtime([Hundred], journal=journal) as runtime:
        outcome = await (await runtime.start(Hundred)).wait()
    assert outcome.status is RunStatus.COMPLETED
    (failure,) = outcome.failures
    assert failure.error_type.endswith("LostUpdate")
    assert "shared" in failure.message
    assert sorted(outcome.state["done"]) == list(range(98))
    assert outcome.state["shared"] == 1


@pytest.mark.rule("B7")
async def test_ten_thousand_increments_of_a_thousand_branches(journal: str) -> None:
    """A thousand branches count ten times each, with a turn for the others after every one: exactly 10,000."""

    class Counting(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(1000))

        async def work(self, data, ctx: Context):
            for _ in range(10):
                await ctx.run_store.increment("n")
                await trio.lowlevel.checkpoint()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("n")

    async with open_runtime([Counting], journal=journal) as runtime:
        assert await runtime.run(Counting) == 10_000


@pytest.mark.rule("F2", "C3")
async def test_thirty_that_end_in_the_same_instant_are_thirty_records(journal: str) -> None:
    """Let go together by one barrier, all of them are in the journal, each with its own result."""
    arrived, gate = [], trio.Event()

    @step
    async def work(data, ctx: Context):
        arrived.append(data)
        if len(arrived) == 30:
            gate.set()
        await gate.wait()
        return data * 10

    graph = workflow("w").foreach(work, concurrency=None).commit()
    async with open_runtime([graph], journal=journal) as runtime:
        run = await runtime.start(graph, list(range(30)))
        assert await run.result() == [number * 10 for number in range(30)]
        kinds = Counter(fact.kind for fact in await run.history())
        records = [record for record in (await run.describe()).steps if record.step_id == "work"]
    assert kinds["step-completed"] >= 30
    assert sorted(record.output for record in records) == [number * 10 for number in range(30)]


@pytest.mark.rule("B12", "F3")
async def test_two_forks_of_one_moment_share_nothing_later(journal: str) -> None:
    """Both go on from the same fact, and so does the origin; each has the common past and its own additions alone."""
    release = {name: trio.Event() for name in ("origin", "left", "right")}

    class Line(Workflow):
        keep_state = True

        async def start(self, data, ctx: Context):
            await ctx.run_store.push("log", "common")
            await ctx.schedule_next_step("own")

        async def own(self, data, ctx: Context):
            await release[ctx.run_id].wait()
            for number in range(3):
                await ctx.run_store.push("log", f"{ctx.run_id} {number}")

    async with open_runtime([Line], journal=journal) as runtime:
        origin = await runtime.start(Line, run_id="origin")
        while (await origin.describe()).counts[StepStatus.RUNNING] != 1 or "log" not in await origin.state():
            await trio.lowlevel.checkpoint()
        runs = [origin, await origin.fork(before="own", run_id="left"), await origin.fork(before="own", run_id="right")]
        for event in release.values():
            event.set()
        states = {run.run_id: (await run.wait()).state for run in runs}
    for name, state in states.items():
        assert state == {"log": ["common", *(f"{name} {number}" for number in range(3))]}


@pytest.mark.rule("B12")
async def test_a_thousand_runs_never_see_each_other(autojump_clock: MockClock) -> None:
    """Concurrent runs of one definition find their own value after every wait, and never an empty or a foreign one."""

    class Own(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("mine", data)
            for pause in range(3):
                await trio.sleep((data * 7 + pause) % 11 / 1000)
                assert await ctx.run_store.snapshot() == {"mine": data}
            await ctx.schedule_next_step("again", data)

        async def again(self, data, ctx: Context):
            assert await ctx.run_store.get("mine") == data == ctx.input

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("mine")

    async with open_runtime([Own]) as runtime:
        runs = [await runtime.start(Own, number) for number in range(1000)]
        assert [await run.result() for run in runs] == list(range(1000))


# ------------------------------------------------------------------------------------------------ joins (8 to 15)


@pytest.mark.rule("C9")
async def test_names_and_order_of_members_decide_nothing(autojump_clock: MockClock) -> None:
    """Every order of four members, under names that sort the other way round, gives the same outputs and ends."""

    def member(name: str, seconds: float) -> Step:
        @step(id=name)
        async def work(data, ctx: Context):
            await trio.sleep(seconds)
            await ctx.run_store.push("done", name)
            return seconds

        return work

    for names in (["a", "b", "c", "d"], ["d", "c", "b", "a"], ["join", "collect", "z", "y"]):
        members = [member(name, seconds) for name, seconds in zip(names, (0, 0, 1, 2), strict=True)]
        for order in itertools.permutations(members):
            graph = workflow("w").parallel(list(order)).commit()
            with trio.fail_after(LONG_S):
                async with open_runtime([graph]) as runtime:
                    outcome = await (await runtime.start(graph)).wait()
            assert outcome.output == dict(zip(names, (0, 0, 1, 2), strict=True))
            assert sorted(outcome.state["done"]) == sorted(names)


@pytest.mark.rule("C9")
async def test_a_branch_that_gives_nothing_holds_up_no_join(journal: str, autojump_clock: MockClock) -> None:
    """A member without an output, one that is skipped and one that takes long: the join comes after all, once."""
    joined = []

    @step
    async def silent(data, ctx: Context):
        return None

    @step
    async def late(data, ctx: Context):
        await trio.sleep(60)
        return "late"

    @step
    async def skipped(data, ctx: Context):
        raise AssertionError("no condition chose it")

    @step
    async def join(data, ctx: Context):
        joined.append(data)

    never = workflow("never").branch([(lambda data, ctx: False, skipped)]).commit()
    graph = workflow("w").parallel([silent, late, never]).then(join).commit()
    with trio.fail_after(LONG_S):
        async with open_runtime([graph], journal=journal) as runtime:
            await runtime.run(graph)
    assert joined == [{"silent": None, "late": "late", "never": {}}]


# ------------------------------------------------------------------------------------------------ resuming (16 to 24)


@pytest.mark.rule("C3", "F4")
@pytest.mark.parametrize("concurrency", [1, 16, 64, 150, None])
async def test_finished_branches_do_not_run_again(
    concurrency: int | None, sqlite_url: str, autojump_clock: MockClock
) -> None:
    """200 branches, cut off when 100 have been seen as done: whatever the limit, none of these begins a second time."""
    passes: Counter[int] = Counter()
    seen_done: set[int] = set()
    half = trio.Event()

    @step
    async def work(data, ctx: Context):
        passes[data] += 1
        await ctx.run_store.increment("n")
        if passes.total() > 140 and not half.is_set():
            half.set()
            await trio.sleep(LONG_S)
        await trio.sleep(0.01 if data < 130 else 1)
        return data

    graph = workflow("w").foreach(work, concurrency=concurrency).commit()
    with trio.fail_after(LONG_S):
        async with open_runtime([graph], journal=sqlite_url, shutdown_grace=0) as runtime:
            run = await runtime.start(graph, list(range(200)), run_id="r")
            await half.wait()
            while len(seen_done) < 100:
                await trio.sleep(0.01)
                done = [one for one in (await run.describe()).steps if one.status is StepStatus.COMPLETED]
                seen_done = {one.output for one in done if one.step_id == "work"}
        half.set()
        async with open_runtime([graph], journal=sqlite_url) as runtime:
            run = await runtime.get_run("r")
            outcome = await run.wait()
    assert outcome.output == list(range(200))
    assert outcome.state == {"n": 200}
    assert {passes[number] for number in seen_done} == {1}


@pytest.mark.rule("D3", "D4")
async def test_ten_questions_of_which_three_are_answered(journal: str, autojump_clock: MockClock) -> None:
    """Three go on from where they stood, seven still wait; no code before a question counts, or asks, twice."""

    @step
    async def ask(data, ctx: Context):
        await ctx.run_store.increment("asked")
        first = await ctx.suspend(f"first {data}", label=f"q{data}")
        second = await ctx.suspend(f"second {data}", label=f"r{data}")
        return [first, second]

    graph = workflow("w").foreach(ask, concurrency=None).commit()
    async with open_runtime([graph], journal=journal) as runtime:
        run = await runtime.start(graph, list(range(10)))
        assert len((await run.wait()).suspensions) == 10
        for number in (7, 2, 5):
            await run.resume(number, label=f"q{number}")
        open_labels = sorted(one.label for one in (await run.wait()).suspensions)
        assert open_labels == sorted([f"q{n}" for n in (0, 1, 3, 4, 6, 8, 9)] + [f"r{n}" for n in (2, 5, 7)])
        assert (await run.state())["asked"] == 10
        with pytest.raises(NotSuspended):
            await run.resume("again", label="q7")
        for label in Random(17).sample(open_labels, len(open_labels)):  # any order
            await run.resume(int(label[1:]), label=label)
            if label.startswith("q"):
                await run.wait()
                await run.resume(int(label[1:]), label=f"r{label[1:]}")
        assert await run.result() == [[number, number] for number in range(10)]
        assert (await run.wait()).state == {"asked": 10}


@pytest.mark.rule("C3", "F3")
@pytest.mark.parametrize("seed", range(5))
async def test_results_belong_to_branches_not_to_their_order(
    seed: int, sqlite_url: str, autojump_clock: MockClock
) -> None:
    """The second process takes other times for everything: each branch keeps the result of its own `once`."""
    lives = [Random(seed), Random(seed + 1000)]

    async def pause() -> None:
        await trio.sleep(lives[0].random())

    async def number(data: int) -> int:
        await pause()
        return data * 100 + len(lives)

    @step
    async def work(data, ctx: Context):
        await pause()
        first = await ctx.once("number", number, data)
        await ctx.run_store.push("seen", [data, first])
        await pause()
        return first

    graph = workflow("w").foreach(work, concurrency=None).commit()
    with trio.fail_after(LONG_S):
        async with open_runtime([graph], journal=sqlite_url, shutdown_grace=0) as runtime:
            await runtime.start(graph, list(range(20)), run_id="r")
            await trio.sleep(1)
        journaled = len(lives)
        lives.pop(0)
        async with open_runtime([graph], journal=sqlite_url) as runtime:
            outcome = await (await runtime.get_run("r")).wait()
    assert journaled == 2
    assert [value // 100 for value in outcome.output] == list(range(20))
    seen = dict(outcome.state["seen"])
    assert len(outcome.state["seen"]) == len(seen) == 20
    assert [seen[data] for data in range(20)] == outcome.output


@define
class Old:
    """The state as the first program has it."""

    price: int = 0
    log: list[str] = field(factory=list)


@define
class New:
    """The state as a later program has it: other types under the same names."""

    price: str = ""
    log: list[int] = field(factory=list)


@pytest.mark.rule("B9", "F9")
async def test_a_stored_value_that_no_longer_fits_is_told_and_kept(sqlite_url: str) -> None:
    """A step that wants the state in its new types fails, with path and type; the stored values are untouched."""

    def flow(schema: type) -> Graph:
        @step(state=schema)
        async def look(data, ctx: Context):
            return [type(ctx.state).__name__, ctx.state.price]

        return workflow("w", state=schema, keep_state=True).wait_for_event("go").then(look).commit()

    graph = flow(Old)
    async with open_runtime([graph], journal=sqlite_url) as runtime:
        await runtime.start(graph, run_id="r", initial_state={"price": 7, "log": ["a"]})
    graph = flow(New)
    async with open_runtime([graph], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.state() == {"price": 7, "log": ["a"]}
        await run.send_event("go")
        outcome = await run.wait()
    assert outcome.status is RunStatus.FAILED
    (failure,) = outcome.failures
    assert failure.error_type.rpartition(".")[2] in (InputError.__name__, StateTypeError.__name__)
    assert "price" in failure.message
    assert outcome.state == {"price": 7, "log": ["a"]}


def bytes_in(folder: Path) -> int:
    """The size of all files of a folder."""
    return sum(file.stat().st_size for file in folder.iterdir())


@pytest.mark.rule("F8")
@pytest.mark.slow
async def test_ten_thousand_appends_cost_what_they_are(tmp_path: Path) -> None:
    """10,000 items of 200 bytes in one list: the journal stays below a few times the two megabytes that they are."""

    class Appending(Workflow):
        keep_state = True

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("append", range(50))

        async def append(self, data, ctx: Context):
            for _ in range(200):
                await ctx.run_store.push("items", "x" * 200)

    async with open_runtime([Appending], journal=f"sqlite:{tmp_path / 'runs.db'}") as runtime:
        await runtime.run(Appending)
    assert 2_000_000 < bytes_in(tmp_path) < 6_000_000


# ------------------------------------------------------------------------------------------------ ends (25 to 30)


@pytest.mark.rule("A6", "C12")
@pytest.mark.parametrize("seed", range(3))
async def test_runs_cancelled_at_random_moments_leave_nothing(seed: int, autojump_clock: MockClock) -> None:
    """300 runs with live, sleeping, waiting and nested branches, cancelled anywhen: all end, and no task is left."""
    random = Random(seed)
    strange: list[BaseException] = []

    @step
    async def leaf(data, ctx: Context):
        try:
            await trio.sleep(data)
            await ctx.run_store.increment("n")
            await ctx.run_store.wait_for("n", lambda value: (value or 0) > 2)
        except (trio.Cancelled, RunOver):
            raise
        except BaseException as error:
            strange.append(error)
            raise

    nested = workflow("nested").foreach(leaf, concurrency=None).commit()
    graph = workflow("w").map(lambda data, ctx: [data, data]).foreach(nested, concurrency=None).commit()
    before = trio.lowlevel.current_statistics().tasks_living
    with trio.fail_after(LONG_S):
        async with open_runtime([graph]) as runtime:
            runs = [await runtime.start(graph, [0.0, 0.1, 0.5]) for _ in range(300)]

            async def end(run: object, pause: float) -> None:
                await trio.sleep(pause)
                await run.cancel("enough")
                assert (await run.wait()).status in (RunStatus.CANCELLED, RunStatus.COMPLETED)

            async with trio.open_nursery() as nursery:
                for run in runs:
                    nursery.start_soon(end, run, random.random() * 0.7)
            await trio.testing.wait_all_tasks_blocked()
            assert runtime.statistics().live_runs == runtime.statistics().live_steps == 0
    assert trio.lowlevel.current_statistics().tasks_living == before
    assert strange == []


ENDED = ("run-completed", "run-failed", "run-cancelled")
ENDS = ["completed", "failed", "cancelled", "timeout", "suspended and resumed", "reopened"]


@pytest.mark.rule("A7")
@pytest.mark.parametrize("how", ENDS)
async def test_every_stream_ends_with_the_end_of_its_run(how: str, sqlite_url: str, autojump_clock: MockClock) -> None:
    """However the run ends, its reader comes to a last event that says how, and then to the end of the stream."""

    @step(timeout=5)
    async def work(data, ctx: Context):
        if data == "failed":
            raise Boom
        if data == "suspended and resumed":
            await ctx.suspend()
        if data in ("cancelled", "timeout") or (data == "reopened" and not closed):
            await trio.sleep_forever()

    closed: list[bool] = []
    graph = workflow("w").then(work).commit()
    with trio.fail_after(LONG_S):
        if how == "reopened":
            async with open_runtime([graph], journal=sqlite_url, shutdown_grace=0) as runtime:
                await runtime.start(graph, how, run_id="r")
                await trio.testing.wait_all_tasks_blocked()
            closed.append(True)
        async with open_runtime([graph], journal=sqlite_url) as runtime:
            run = await runtime.start(graph, how, run_id="r")
            async with run.events() as stream:
                if how == "cancelled":
                    await run.cancel()
                if how == "suspended and resumed":
                    await run.wait()
                    await run.resume()
                kinds = [event.kind async for event in stream]
    status = {"failed": "failed", "timeout": "failed", "cancelled": "cancelled"}.get(how, "completed")
    assert kinds[-1] == f"run-{status}"
    assert [kind for kind in kinds if kind in ENDED] == kinds[-1:]


@pytest.mark.slow
@pytest.mark.rule("B12")
async def test_many_runs_leave_no_memory_behind(sqlite_url: str) -> None:
    """Two batches of 150 runs in one process: nothing is live afterwards, and the second has added next to none."""

    @step
    async def work(data, ctx: Context):
        await ctx.run_store.push("items", "x" * 1000)

    graph = workflow("w").foreach(work, concurrency=None).commit()

    async with open_runtime([graph], journal=sqlite_url) as runtime:

        async def batch() -> int:
            for _ in range(150):
                await runtime.run(graph, [1, 2, 3])
            gc.collect()
            return tracemalloc.get_traced_memory()[0]

        await runtime.run(graph, [1])
        tracemalloc.start()
        try:
            first = await batch()
            second = await batch()
        finally:
            tracemalloc.stop()
        assert runtime.statistics().live_runs == 0
    assert second - first < 150 * 500  # half of the smallest item of each run, let alone its steps


@pytest.mark.rule("D6", "C5", "A7")
@pytest.mark.parametrize("order", list(itertools.permutations(("event", "cancel", "done", "tick"))), ids="-".join)
async def test_of_everything_at_one_instant_one_thing_happens(
    order: Sequence[str], journal: str, autojump_clock: MockClock
) -> None:
    """Event, cancel, the end of a sibling and the timeout of the wait meet: one outcome, recorded once, and no hang."""
    hooks: list[str] = []
    finish = trio.Event()

    class Meeting(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="went", timeout=10, on_timeout="late")
            await ctx.schedule_next_step("sibling")

        async def sibling(self, data, ctx: Context):
            await finish.wait()

        async def went(self, data, ctx: Context):
            await ctx.run_store.push("took", "went")

        async def late(self, data, ctx: Context):
            await ctx.run_store.push("took", "late")

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

        async def on_workflow_cancel(self, reason, ctx: Context):
            hooks.append("cancel")

    async def deed(run: object, name: str) -> None:
        if name == "event":
            with suppress(RunOver):
                await run.send_event("go")
        elif name == "cancel":
            await run.cancel()
        elif name == "done":
            finish.set()

    with trio.fail_after(LONG_S):
        async with open_runtime([Meeting], journal=journal) as runtime:
            run = await runtime.start(Meeting)
            async with run.events() as stream:
                await trio.sleep(10)  # the very instant of the timeout
                async with trio.open_nursery() as nursery:
                    for name in order:
                        nursery.start_soon(deed, run, name)
                        await trio.lowlevel.checkpoint()
                outcome = await run.wait()
                ends = [event.kind async for event in stream if event.kind in ENDED]
            assert await run.status() is outcome.status
    assert outcome.status in (RunStatus.CANCELLED, RunStatus.COMPLETED)
    assert hooks == ["cancel" if outcome.status is RunStatus.CANCELLED else "complete"]
    assert len(outcome.state.get("took", [])) <= 1
    assert ends == [f"run-{outcome.status.value}"]

"""The runtime and its handles (contract: open_runtime, Runtime, Run and the records), black box.

Here: start and its idempotence, listing, statistics, settlement, inspection, events, history, fork, cancel.
Not here: closing (test_closing.py), the verbs of the store, suspend and resume, child runs.
"""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import attrs
import pytest
import trio

from actorflow import (
    DRAIN,
    Context,
    DefinitionError,
    InputError,
    JournalBusy,
    Limits,
    RunCancelled,
    RunExists,
    RunFailed,
    RunNotFound,
    RunOver,
    RunStatus,
    StepFailed,
    StepStatus,
    Workflow,
    open_runtime,
)


class Echo(Workflow):
    """Gives back what it got, and counts in `passes` how often it ran."""

    passes: list[object] = []  # noqa: RUF012 - shared on purpose, emptied by each test that looks at it

    async def start(self, data, ctx: Context):
        type(self).passes.append(data)
        return data


class Fails(Workflow):
    """Fails in its first step."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("k", 1)
        raise ValueError("on purpose")


class Parked(Workflow):
    """Waits for a timer of a day, with nothing live."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("k", 1)
        await ctx.schedule_next_step("later", {"n": 1}, delay="1 day")

    async def later(self, data, ctx: Context):
        return "later"

    async def on_workflow_cancel(self, reason, ctx: Context):
        await ctx.run_store.set("reason", reason)


# ------------------------------------------------------------------------------------------------ start


async def test_start_gives_a_handle_with_its_ids(journal: str) -> None:
    """A run started without an id gets a fresh one; the workflow's id is the class name unless it says otherwise."""

    class Named(Workflow):
        id = "named-otherwise"

        async def start(self, data, ctx: Context):
            return ctx.workflow_id

    async with open_runtime([Echo, Named], journal=journal) as runtime:
        runs = [await runtime.start(Echo, n) for n in range(20)]
        assert {run.workflow_id for run in runs} == {"Echo"}
        assert len({run.run_id for run in runs}) == 20
        assert all(isinstance(run.run_id, str) and run.run_id for run in runs)
        assert (await runtime.start(Named)).workflow_id == "named-otherwise"
        assert await runtime.run("named-otherwise") == "named-otherwise"


async def test_a_workflow_may_be_named_by_its_id(journal: str) -> None:
    """start and run take the id of a registered workflow in place of the class."""
    async with open_runtime([Echo], journal=journal) as runtime:
        assert await runtime.run("Echo", {"a": [1, None]}) == {"a": [1, None]}


@pytest.mark.parametrize("workflow", ["nobody", Parked], ids=["id", "class"])
async def test_an_unknown_workflow_is_a_definition_error(journal: str, workflow) -> None:
    """A workflow that this runtime does not know cannot be started, by id or by class, and leaves no run."""
    async with open_runtime([Echo], journal=journal) as runtime:
        with pytest.raises(DefinitionError):
            await runtime.start(workflow, run_id="r")
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")


async def test_two_workflows_with_one_id_are_a_definition_error() -> None:
    """A runtime that could not tell two workflows apart does not open."""

    class Twin(Workflow):
        id = "Echo"

        async def start(self, data, ctx: Context):
            return "twin"

    with pytest.raises(DefinitionError):
        async with open_runtime([Echo, Twin]):
            pass


async def test_starting_twice_with_the_same_id_and_input_is_one_run(journal: str) -> None:
    """The second start gives the same run, while it runs and when it is finished; its step runs once."""
    Echo.passes.clear()
    async with open_runtime([Echo, Parked], journal=journal) as runtime:
        for _ in range(3):
            run = await runtime.start(Echo, {"a": 1, "b": [2]}, run_id="r")
            assert (run.run_id, await run.result()) == ("r", {"a": 1, "b": [2]})
            assert await (await runtime.start(Echo, {"b": [2], "a": 1}, run_id="r")).result() == {"a": 1, "b": [2]}
        for _ in range(3):
            assert await (await runtime.start(Parked, run_id="p")).status() is RunStatus.RUNNING
        assert len(await runtime.list_runs()) == 2
        await (await runtime.get_run("p")).cancel()
    assert len(Echo.passes) == 1


async def test_concurrent_starts_with_one_id_are_one_run(journal: str) -> None:
    """Twenty tasks that start the same id at the same moment all get the one run."""
    Echo.passes.clear()
    results: list[object] = []

    async with open_runtime([Echo], journal=journal) as runtime:

        async def start() -> None:
            results.append(await (await runtime.start(Echo, 7, run_id="r")).result())

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(start)
        assert len(await runtime.list_runs()) == 1
    assert (results, Echo.passes) == ([7] * 20, [7])


async def test_idempotent_start_holds_over_a_new_opening(sqlite_url: str) -> None:
    """A start repeated after the process came back finds the finished run and its output."""
    Echo.passes.clear()
    for _ in range(2):
        async with open_runtime([Echo], journal=sqlite_url) as runtime:
            assert await runtime.run(Echo, "x", run_id="r") == "x"
            with pytest.raises(RunExists):
                await runtime.start(Echo, "y", run_id="r")
    assert Echo.passes == ["x"]


@pytest.mark.parametrize(
    ("workflow", "data", "state"),
    [(Echo, 2, {"k": 1}), (Echo, True, {"k": 1}), (Echo, 1, {"k": 2}), (Echo, 1, None), (Parked, 1, {"k": 1})],
    ids=["other input", "True is not 1", "other state", "no state", "other workflow"],
)
async def test_the_same_id_for_something_else_is_run_exists(journal: str, workflow, data, state) -> None:
    """Another workflow, input or initial state under a taken id raises RunExists with the id; the run is untouched."""
    async with open_runtime([Echo, Parked], journal=journal) as runtime:
        first = await runtime.start(Echo, 1, run_id="taken", initial_state={"k": 1})
        await first.wait()
        with pytest.raises(RunExists) as caught:
            await runtime.start(workflow, data, run_id="taken", initial_state=state)
        assert await first.result() == 1
        assert len(await runtime.list_runs()) == 1
    assert caught.value.run_id == "taken"


@attrs.define
class Order:
    """A typed input."""

    name: str
    amounts: list[int]


class Typed(Workflow):
    """Takes a typed input."""

    async def start(self, data: Order, ctx: Context):
        return [type(data).__name__, data.name, sum(data.amounts)]


async def test_a_typed_input_arrives_structured(journal: str) -> None:
    """An annotated input is an instance in the step, whether it was sent as one or as plain JSON."""
    async with open_runtime([Typed], journal=journal) as runtime:
        assert await runtime.run(Typed, Order("a", [1, 2])) == ["Order", "a", 3]
        assert await runtime.run(Typed, {"name": "b", "amounts": [3, 4]}) == ["Order", "b", 7]


@pytest.mark.parametrize(
    ("data", "path"),
    [
        ({"name": "a", "amounts": [1, "2"]}, "$.amounts[1]"),
        ({"name": 5, "amounts": []}, "$.name"),
        ({"name": "a"}, "amounts"),
    ],
)
async def test_a_bad_input_is_refused_by_start_and_the_id_stays_free(journal: str, data, path: str) -> None:
    """start itself raises InputError with the path to the bad field; the id can be used for a good start."""
    async with open_runtime([Typed], journal=journal) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(Typed, data, run_id="r")
        assert path in str(caught.value)
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")
        assert await runtime.run(Typed, {"name": "a", "amounts": [1]}, run_id="r") == ["Order", "a", 1]


async def test_a_caller_cancelled_in_start_may_start_again(journal: str) -> None:
    """Whether or not a cancelled start took effect, the same start afterwards gives one run that works."""
    Echo.passes.clear()
    async with open_runtime([Echo], journal=journal) as runtime:
        with trio.CancelScope() as scope:
            scope.cancel()
            await runtime.start(Echo, 1, run_id="r")
        assert await runtime.run(Echo, 1, run_id="r") == 1
        assert len(await runtime.list_runs()) == 1
    assert Echo.passes == [1]


async def test_initial_state_is_there_before_the_first_line(journal: str) -> None:
    """The start step finds the initial state in the store, and changing the mapping afterwards does not reach it."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.run_store.snapshot()

    given = {"a": [1]}
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, initial_state=given)
        given["a"].append(2)
        assert await run.result() == {"a": [1]}


async def test_a_typed_initial_state_brings_its_defaults(journal: str) -> None:
    """With a state schema the defaults are written at the start; a missing required field is an InputError."""

    @attrs.define
    class Progress:
        total: int
        done: list[str] = attrs.field(factory=list)

    class Flow(Workflow):
        state = Progress

        async def start(self, data, ctx: Context):
            return await ctx.run_store.snapshot()

    async with open_runtime([Flow], journal=journal) as runtime:
        assert await runtime.run(Flow, initial_state=Progress(total=3)) == {"total": 3, "done": []}
        with pytest.raises(InputError):
            await runtime.start(Flow, run_id="r")
        with pytest.raises(RunNotFound):
            await runtime.get_run("r")


# ------------------------------------------------------------------------------------------------ run, errors bare


async def test_the_output_is_the_completion_hooks_else_the_starts(journal: str) -> None:
    """on_workflow_complete gives the output; where it gives None, what start returned stays."""

    class Hooked(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", data)
            return "from start"

        async def on_workflow_complete(self, ctx: Context):
            return "from hook" if await ctx.run_store.get("k") else None

    async with open_runtime([Hooked], journal=journal) as runtime:
        assert await runtime.run(Hooked, True) == "from hook"
        assert await runtime.run(Hooked, False) == "from start"


async def test_run_raises_run_failed_bare_with_all_causes(journal: str) -> None:
    """What leaves the block is RunFailed itself; its cause chain leads to StepFailed and the step's own exception."""
    with pytest.raises(RunFailed) as caught:
        async with open_runtime([Fails], journal=journal) as runtime:
            await runtime.run(Fails, run_id="r")
    error = caught.value
    assert error.run_id == "r"
    assert len(error.failures) == 1
    assert isinstance(error.__cause__, StepFailed)
    assert error.__cause__.step_id == "start"
    assert isinstance(error.__cause__.__cause__, ValueError)
    assert str(error.__cause__.__cause__) == "on purpose"


async def test_a_failed_run_does_not_disturb_the_block(journal: str) -> None:
    """A run that fails while nobody waits for it raises nowhere, and other runs go on."""
    async with open_runtime([Fails, Echo], journal=journal) as runtime:
        failing = await runtime.start(Fails)
        assert (await failing.wait()).status is RunStatus.FAILED
        assert await runtime.run(Echo, 1) == 1


async def test_two_failures_come_as_the_same_outer_error(journal: str) -> None:
    """One or many failed steps: result() raises RunFailed, failures has all of them, the first is the cause."""

    class Many(Workflow):
        join = DRAIN

        async def start(self, data, ctx: Context):
            for n in range(data):
                await ctx.schedule_next_step("fail", n)

        async def fail(self, data, ctx: Context):
            raise LookupError(str(data))

    async with open_runtime([Many], journal=journal) as runtime:
        for count in (1, 3):
            with pytest.raises(RunFailed) as caught:
                await runtime.run(Many, count)
            assert len(caught.value.failures) == count
            assert {failure.message for failure in caught.value.failures} == {str(n) for n in range(count)}
            assert isinstance(caught.value.__cause__, StepFailed)


# ------------------------------------------------------------------------------------------------ get_run, list_runs


async def test_an_unknown_run_is_run_not_found(journal: str) -> None:
    """get_run of an id that was never started raises RunNotFound with that id."""
    async with open_runtime([Echo], journal=journal) as runtime:
        with pytest.raises(RunNotFound) as caught:
            await runtime.get_run("nobody")
    assert caught.value.run_id == "nobody"


async def test_list_runs_is_newest_first_and_pages_without_gap_or_repeat(journal: str) -> None:
    """Pages of three, each taken after the last id of the former, together are all runs, newest first."""
    async with open_runtime([Echo], journal=journal) as runtime:
        for n in range(10):
            await runtime.run(Echo, n, run_id=f"r{n}")
        paged: list[str] = []
        page = await runtime.list_runs(limit=3)
        while page:
            assert len(page) <= 3
            paged += [summary.run_id for summary in page]
            page = await runtime.list_runs(limit=3, after=paged[-1])
        everything = [summary.run_id for summary in await runtime.list_runs()]
    assert paged == everything == [f"r{n}" for n in reversed(range(10))]


async def test_list_runs_has_a_default_limit_of_a_hundred(journal: str) -> None:
    """Without limit= at most one hundred summaries come."""
    async with open_runtime([Echo], journal=journal) as runtime:
        async with trio.open_nursery() as nursery:
            for n in range(105):
                nursery.start_soon(runtime.run, Echo, n)
        assert len(await runtime.list_runs()) == 100
        assert len(await runtime.list_runs(limit=1000)) == 105


async def test_list_runs_filters_by_workflow_and_status(journal: str) -> None:
    """workflow= takes class or id, status= a RunStatus, and both together narrow further."""
    async with open_runtime([Echo, Fails, Parked], journal=journal, shutdown_grace=0) as runtime:
        await runtime.run(Echo, run_id="e")
        await (await runtime.start(Fails, run_id="f")).wait()
        await runtime.start(Parked, run_id="p")
        await (await runtime.start(Parked, run_id="c")).cancel()

        async def ids(**filters: object) -> list[str]:
            return [summary.run_id for summary in await runtime.list_runs(**filters)]

        assert await ids() == ["c", "p", "f", "e"]
        assert await ids(workflow=Parked) == await ids(workflow="Parked") == ["c", "p"]
        assert await ids(status=RunStatus.COMPLETED) == ["e"]
        assert await ids(status=RunStatus.FAILED) == ["f"]
        assert await ids(status=RunStatus.CANCELLED) == ["c"]
        assert await ids(workflow=Parked, status=RunStatus.RUNNING) == ["p"]
        assert await ids(workflow=Parked, status=RunStatus.RUNNING, after="c") == ["p"]


async def test_a_summary_has_ids_status_and_aware_times(journal: str) -> None:
    """RunSummary of a finished and of a running run: ids, no parent, UTC times, no end before there is one."""
    async with open_runtime([Echo, Parked], journal=journal, shutdown_grace=0) as runtime:
        await runtime.run(Echo, run_id="e")
        await runtime.start(Parked, run_id="p")
        running, finished = await runtime.list_runs()
    assert (finished.run_id, finished.workflow_id, finished.status) == ("e", "Echo", RunStatus.COMPLETED)
    assert (running.run_id, running.parent_id, running.ended_at) == ("p", None, None)
    assert finished.started_at.utcoffset() == finished.ended_at.utcoffset() == timedelta(0)
    assert finished.started_at <= finished.ended_at
    assert finished.started_at <= running.started_at


# ------------------------------------------------------------------------------------------------ now, statistics


async def test_now_is_wall_time_at_opening_plus_virtual_time(autojump_clock) -> None:
    """Under MockClock an hour of trio's clock is an hour of now(), of ctx.now() and of the records."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            first = ctx.now()
            await trio.sleep(60)
            return (ctx.now() - first).total_seconds()

    opened = datetime.now(UTC)
    async with open_runtime([Flow]) as runtime:
        begin = runtime.now()
        assert begin.utcoffset() == timedelta(0)
        assert abs(begin - opened) < timedelta(hours=1)
        await trio.sleep(3600)
        assert abs(runtime.now() - begin - timedelta(hours=1)) < timedelta(milliseconds=1)
        run = await runtime.start(Flow)
        assert abs(await run.result() - 60) < 0.001
        record = await run.describe()
    assert abs(record.started_at - begin - timedelta(hours=1)) < timedelta(milliseconds=1)
    assert abs(record.ended_at - record.started_at - timedelta(minutes=1)) < timedelta(milliseconds=1)


async def test_statistics_count_what_is_open_and_go_back_to_nothing(autojump_clock) -> None:
    """Live runs, live steps and pending steps are counted while they are, and are zero when all has ended."""
    release = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(3), delay=60)
            await release.wait()

        async def work(self, data, ctx: Context):
            """Something to be pending."""

    async with open_runtime([Flow]) as runtime:
        empty = runtime.statistics()
        runs = [await runtime.start(Flow), await runtime.start(Flow)]
        await trio.sleep(1)
        busy = runtime.statistics()
        release.set()
        for run in runs:
            await run.wait()
        idle = runtime.statistics()
    assert (empty.live_runs, empty.live_steps, empty.pending_steps) == (0, 0, 0)
    assert (busy.live_runs, busy.live_steps, busy.pending_steps, busy.suspended_runs) == (2, 2, 6, 0)
    assert (idle.live_runs, idle.live_steps, idle.pending_steps, idle.mailbox_depth) == (0, 0, 0, 0)
    assert empty.facts < busy.facts < idle.facts


async def test_statistics_have_every_field(journal: str) -> None:
    """Every documented number is there and is a number after some work."""
    names = [
        "live_runs",
        "live_steps",
        "pending_steps",
        "suspended_runs",
        "mailbox_depth",
        "mailbox_oldest_s",
        "commits",
        "facts",
        "commit_latency_s",
        "restarts",
        "late_replies",
    ]
    async with open_runtime([Echo], journal=journal) as runtime:
        await runtime.run(Echo, 1)
        statistics = runtime.statistics()
    values = {name: getattr(statistics, name) for name in names}
    assert all(isinstance(value, int | float) and value >= 0 for value in values.values()), values
    assert values["commits"] >= 1
    assert values["facts"] >= 2


async def test_runs_of_unknown_workflows_are_listed_and_left_alone(sqlite_url: str) -> None:
    """A run whose workflow is not registered stands in unrecovered, is listed, and goes on when known again."""
    Echo.passes.clear()
    async with open_runtime([Parked, Echo], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Parked, run_id="p")
        await runtime.run(Echo, 1)
        assert dict(runtime.unrecovered) == {}
    async with open_runtime([Echo], journal=sqlite_url) as runtime:
        assert list(runtime.unrecovered) == ["p"]
        assert isinstance(runtime.unrecovered["p"], Exception)
        assert [summary.run_id for summary in await runtime.list_runs(workflow="Parked")] == ["p"]
        assert await runtime.run(Echo, 2) == 2
    async with open_runtime([Parked], journal=sqlite_url, shutdown_grace=0) as runtime:
        assert dict(runtime.unrecovered) == {}
        assert await (await runtime.get_run("p")).status() is RunStatus.RUNNING


# ------------------------------------------------------------------------------------------------ wait, result, status


async def test_wait_tells_the_whole_outcome_of_a_completed_run(journal: str) -> None:
    """RunOutcome of a completed run: id, status, output, final state, and no errors."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("k", {"a": 1})
            return "output"

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow, run_id="r")).wait()
    assert (outcome.run_id, outcome.status, outcome.output) == ("r", RunStatus.COMPLETED, "output")
    assert (outcome.state, outcome.error, tuple(outcome.failures)) == ({"k": [{"a": 1}]}, None, ())
    assert len(outcome.suspensions) == 0
    assert outcome.steps


async def test_wait_never_raises_for_what_the_run_did(journal: str) -> None:
    """RunOutcome of a failed run: status, the StepFailed with its fields, the state as it was; nothing is raised."""
    async with open_runtime([Fails], journal=journal) as runtime:
        outcome = await (await runtime.start(Fails)).wait()
    assert (outcome.status, outcome.output, outcome.state) == (RunStatus.FAILED, None, {"k": 1})
    assert isinstance(outcome.error, StepFailed)
    assert (outcome.error.step_id, outcome.error.attempts, outcome.error.message) == ("start", 1, "on purpose")
    assert outcome.error.error_type.endswith("ValueError")
    assert outcome.error.activation_id
    assert len(outcome.failures) == 1


async def test_fifty_waiters_get_the_same_outcome_before_and_after(journal: str) -> None:
    """However many wait, and also when the run is long over, all see one outcome."""
    outcomes: list[object] = []
    release = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await release.wait()
            return data

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, 7)

        async def wait() -> None:
            outcomes.append(await run.wait())

        async with trio.open_nursery() as nursery:
            for _ in range(50):
                nursery.start_soon(wait)
            release.set()
        await wait()
    assert len(outcomes) == 51
    assert all(outcome == outcomes[0] for outcome in outcomes)


async def test_a_waiter_that_gives_up_does_not_touch_the_run(autojump_clock) -> None:
    """Cancelling a wait cancels the waiting only; the run completes and another waiter gets it."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await trio.sleep(10)
            return "done"

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow)
        with trio.move_on_after(1) as scope:
            await run.wait()
        assert scope.cancelled_caught
        assert await run.status() is RunStatus.RUNNING
        assert await run.result() == "done"


async def test_status_values_are_the_lower_case_words() -> None:
    """RunStatus is an enum of five members whose values are their names in lower case."""
    assert {status.name: status.value for status in RunStatus} == {
        name: name.lower() for name in ("RUNNING", "SUSPENDED", "COMPLETED", "FAILED", "CANCELLED")
    }


async def test_finished_runs_are_known_at_the_next_opening(sqlite_url: str) -> None:
    """Status, output and failures of finished runs are read back from a durable journal by another opening."""
    async with open_runtime([Echo, Fails, Parked], journal=sqlite_url) as runtime:
        await runtime.run(Echo, {"a": 1}, run_id="e")
        await (await runtime.start(Fails, run_id="f")).wait()
        await (await runtime.start(Parked, run_id="c")).cancel("reason")
    async with open_runtime([Echo, Fails, Parked], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("e")).result() == {"a": 1}
        with pytest.raises(RunFailed) as failed:
            await (await runtime.get_run("f")).result()
        with pytest.raises(RunCancelled):
            await (await runtime.get_run("c")).result()
        statuses = [(await (await runtime.get_run(run_id)).status()).value for run_id in "efc"]
    assert statuses == ["completed", "failed", "cancelled"]
    assert [failure.message for failure in failed.value.failures] == ["on purpose"]


# ------------------------------------------------------------------------------------------------ describe, state


async def test_describe_counts_and_records_every_step(autojump_clock) -> None:
    """A run in the middle: a completed, a running and a pending step, with counts, times and ids."""
    release = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("live")
            await ctx.schedule_next_step("later", delay=60)
            return {"out": 1}

        async def live(self, data, ctx: Context):
            await release.wait()

        async def later(self, data, ctx: Context):
            """Pending for a minute."""

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow, run_id="r")
        await trio.sleep(1)
        middle = await run.describe()
        release.set()
        await run.wait()
        end = await run.describe()
    assert (middle.run_id, middle.workflow_id, middle.status) == ("r", "Flow", RunStatus.RUNNING)
    assert (middle.parent_id, middle.ended_at, middle.error, middle.recovery_error) == (None, None, None, None)
    assert (tuple(middle.children), tuple(middle.suspensions), tuple(middle.waits)) == ((), (), ())
    counted = {status: count for status, count in middle.counts.items() if count}
    assert counted == {StepStatus.COMPLETED: 1, StepStatus.RUNNING: 1, StepStatus.PENDING: 1}
    steps = {step.step_id: step for step in middle.steps}
    assert (steps["start"].status, steps["start"].output, steps["start"].error) == (
        StepStatus.COMPLETED,
        {"out": 1},
        None,
    )
    assert (steps["live"].status, steps["live"].ended_at, steps["live"].attempts) == (StepStatus.RUNNING, None, 1)
    assert (steps["later"].status, steps["later"].started_at, steps["later"].ended_at) == (
        StepStatus.PENDING,
        None,
        None,
    )
    assert len({step.activation_id for step in middle.steps}) == 3
    assert end.status is RunStatus.COMPLETED
    assert {status: count for status, count in end.counts.items() if count} == {StepStatus.COMPLETED: 3}
    last = next(step for step in end.steps if step.step_id == "later")
    assert last.scheduled_at <= last.started_at <= last.ended_at <= end.ended_at
    assert last.started_at - end.started_at >= timedelta(seconds=60)


async def test_describe_shows_the_error_of_a_failed_step(journal: str) -> None:
    """The record of a failed step and the run's own carry the error."""
    async with open_runtime([Fails], journal=journal) as runtime:
        run = await runtime.start(Fails)
        await run.wait()
        description = await run.describe()
    (step,) = description.steps
    assert (description.status, step.status, step.attempts) == (RunStatus.FAILED, StepStatus.FAILED, 1)
    assert "on purpose" in str(step.error)
    assert "on purpose" in str(description.error)


async def test_records_are_frozen(journal: str) -> None:
    """Nobody can change a record that was handed out."""
    async with open_runtime([Echo], journal=journal) as runtime:
        run = await runtime.start(Echo, 1)
        outcome = await run.wait()
        description = await run.describe()
        records = [outcome, description, description.steps[0], (await runtime.list_runs())[0], runtime.statistics()]
        records.append((await run.history())[0])
    for record in records:
        name = attrs.fields(type(record))[0].name
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(record, name, "other")


async def test_state_is_one_consistent_cut(journal: str) -> None:
    """Two keys that always change together in a transaction are never seen apart by state()."""
    stop = trio.Event()
    going = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            while not stop.is_set():
                async with ctx.run_store.transaction() as tx:
                    tx.increment("a")
                    tx.increment("b")
                going.set()

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await going.wait()
        cuts = [await run.state() for _ in range(50)]
        stop.set()
        await run.wait()
    assert all(cut["a"] == cut["b"] >= 1 for cut in cuts)
    assert [cut["a"] for cut in cuts] == sorted(cut["a"] for cut in cuts)


# ------------------------------------------------------------------------------------------------ events


def _ticks(events: list) -> list[int]:
    """The numbers n of the custom events "tick-n", wherever an event keeps its name."""
    return [n for event in events for n in range(5) if f"tick-{n}" in event.kind or f"tick-{n}" in repr(event.data)]


async def _read(run, after: int = 0) -> list:
    async with run.events(after=after) as stream:
        return [event async for event in stream]


@pytest.mark.parametrize(
    ("workflow", "last"), [(Echo, "run-completed"), (Fails, "run-failed"), (Parked, "run-cancelled")]
)
async def test_the_stream_is_numbered_and_ends_with_the_run(journal: str, workflow, last: str) -> None:
    """A reader from the start sees ascending numbers, the run's id, UTC times, and the end as the last event."""
    events: list = []
    reading = trio.Event()

    async def read() -> None:
        async with run.events() as stream:
            async for event in stream:
                reading.set()
                events.append(event)

    async with open_runtime([Echo, Fails, Parked], journal=journal) as runtime:
        run = await runtime.start(workflow, run_id="r")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await reading.wait()
            if workflow is Parked:
                await run.cancel()
    assert events[-1].kind == last
    assert [event.kind for event in events].count(last) == 1
    assert all(first.seq < second.seq for first, second in itertools.pairwise(events))
    assert {event.run_id for event in events} == {"r"}
    assert all(event.at.utcoffset() == timedelta(0) for event in events)


async def test_events_can_be_taken_up_after_a_number(journal: str) -> None:
    """events(after=n) gives exactly the events with a greater number, as a first reading saw them."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(5):
                await ctx.emit(f"tick-{n}", n)
            ticked.set()
            await release.wait()

    ticked, release = trio.Event(), trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await ticked.wait()
        seen = []
        async with run.events() as stream:
            async for event in stream:
                seen.append(event)
                if _ticks([event]) == [2]:
                    break
        release.set()
        rest = await _read(run, after=seen[-1].seq)
    assert min(event.seq for event in rest) > seen[-1].seq
    assert _ticks(seen) == [0, 1, 2]
    assert _ticks(rest) == [3, 4]
    assert rest[-1].kind == "run-completed"


async def test_leaving_the_stream_early_does_no_harm(journal: str) -> None:
    """Breaking out of the stream, or being cancelled in it, leaves run and runtime usable."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.emit("tick")
            await release.wait()
            return "done"

    release = trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        for _ in range(3):
            async with run.events() as stream:
                async for _event in stream:
                    break
        with trio.CancelScope() as scope:
            async with run.events() as stream:
                async for _event in stream:
                    scope.cancel()
        release.set()
        assert await run.result() == "done"
        assert (await _read(run))[-1].kind == "run-completed"


async def test_a_reader_that_does_not_read_never_blocks_the_run(autojump_clock) -> None:
    """A run that emits 20,000 events ends while its only reader has not taken one; the reader still gets the end."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(20_000):
                await ctx.emit("tick", n)

    with trio.fail_after(100_000):
        async with open_runtime([Flow], limits=Limits(mailbox=16)) as runtime:
            run = await runtime.start(Flow)
            async with run.events() as stream:
                assert (await run.wait()).status is RunStatus.COMPLETED
                last = None
                async for event in stream:
                    last = event
    assert last is not None
    assert last.kind == "run-completed"


# ------------------------------------------------------------------------------------------------ history, state_at


async def test_history_is_ordered_typed_and_stays_after_the_end(journal: str) -> None:
    """Facts have number, kind and time in order; what was read during the run is a prefix of what is read after it."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("other")
            reached.set()
            await release.wait()

        async def other(self, data, ctx: Context):
            """A second step."""

    reached, release = trio.Event(), trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await reached.wait()
        during = [(fact.seq, fact.kind, fact.at) for fact in await run.history()]
        release.set()
        await run.wait()
        after = [(fact.seq, fact.kind, fact.at) for fact in await run.history()]
    assert during
    assert after[: len(during)] == during
    assert len(after) > len(during)
    assert [seq for seq, _, _ in after] == sorted({seq for seq, _, _ in after})
    assert all(isinstance(kind, str) and kind for _, kind, _ in after)
    assert all(at.utcoffset() == timedelta(0) for _, _, at in after)


@pytest.mark.rule("B12")
async def test_state_at_goes_back_in_time_and_ends_with_the_run(journal: str) -> None:
    """state_at of the last fact is state(); of earlier ones what it was; after the end it is RunOver."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(5):
                await ctx.run_store.set("k", n)
            reached.set()
            await release.wait()

    reached, release = trio.Event(), trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await reached.wait()
        facts = await run.history()
        past = [(await run.state_at(fact.seq)).get("k") for fact in facts]
        assert await run.state_at(facts[-1].seq) == await run.state() == {"k": 4}
        release.set()
        await run.wait()
        with pytest.raises(RunOver):
            await run.state_at(facts[0].seq)
    assert [value for value, _ in itertools.groupby(past)] == [None, 0, 1, 2, 3, 4]


# ------------------------------------------------------------------------------------------------ fork


async def test_fork_before_a_step_runs_that_step_again_in_a_run_of_its_own(journal: str) -> None:
    """The fork starts from the state before the step; origin and fork end independently."""
    passes: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("k", "start")
            await ctx.schedule_next_step("second")

        async def second(self, data, ctx: Context):
            passes.append(ctx.run_id)
            reached.set()
            await release.wait()
            await ctx.run_store.push("k", ctx.run_id)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("k")

    reached, release = trio.Event(), trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        origin = await runtime.start(Flow, run_id="origin")
        await reached.wait()
        fork = await origin.fork(before="second", run_id="fork")
        assert (fork.run_id, fork.workflow_id) == ("fork", "Flow")
        assert await fork.state() == {"k": ["start"]}
        release.set()
        assert await origin.result() == ["start", "origin"]
        assert await fork.result() == ["start", "fork"]
        assert {summary.run_id for summary in await runtime.list_runs()} == {"origin", "fork"}
    assert sorted(passes) == ["fork", "origin"]


async def test_fork_at_a_fact_has_the_state_of_that_fact(journal: str) -> None:
    """A fork at a fact starts with state_at of it; changes of the origin after that fact are not in it."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("k", "early")
            await ctx.schedule_next_step("later", delay="1 day")
            early.set()
            await go.wait()
            await ctx.run_store.set("own", ctx.run_id)

        async def later(self, data, ctx: Context):
            """Keeps both open."""

    early, go = trio.Event(), trio.Event()
    async with open_runtime([Flow], journal=journal, shutdown_grace=0) as runtime:
        origin = await runtime.start(Flow, run_id="origin")
        await early.wait()
        cut = (await origin.history())[-1].seq
        fork = await origin.fork(at=cut)
        assert fork.run_id != "origin"
        assert await fork.state() == await origin.state_at(cut) == {"k": "early"}
        assert await fork.status() is RunStatus.RUNNING
        await origin.cancel()
        assert await fork.status() is RunStatus.RUNNING
        await fork.cancel()


@pytest.mark.rule("B12")
async def test_fork_of_a_finished_run_raises_run_over(journal: str) -> None:
    """The values are gone with the end of a run, so there is nothing left to fork from."""
    async with open_runtime([Echo], journal=journal) as runtime:
        run = await runtime.start(Echo, 1)
        await run.wait()
        with pytest.raises(RunOver):
            await run.fork(at=(await run.history())[-1].seq)


# ------------------------------------------------------------------------------------------------ cancel


async def test_cancel_returns_when_the_run_is_over(journal: str) -> None:
    """After cancel the live step has ended, the pending one never ran, the hook had the reason."""
    ended: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay="1 day")
            live.set()
            try:
                await trio.sleep_forever()
            finally:
                ended.append("start")

        async def later(self, data, ctx: Context):
            ended.append("later")

        async def on_workflow_cancel(self, reason, ctx: Context):
            await ctx.run_store.set("reason", reason)
            ended.append("hook")

    live = trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await live.wait()
        await run.cancel("no longer needed")
        assert ended == ["start", "hook"]
        assert await run.status() is RunStatus.CANCELLED
        outcome = await run.wait()
        with pytest.raises(RunCancelled) as caught:
            await run.result()
        steps = {step.step_id: step.status for step in (await run.describe()).steps}
    assert (outcome.status, outcome.output, outcome.state) == (
        RunStatus.CANCELLED,
        None,
        {"reason": "no longer needed"},
    )
    assert caught.value.run_id == run.run_id
    assert steps == {"start": StepStatus.CANCELLED, "later": StepStatus.CANCELLED}


async def test_a_second_cancel_is_harmless(journal: str) -> None:
    """Ten concurrent cancels and a late one all return, and the hook ran once, with the first reason."""
    reasons: list[str] = []

    class Flow(Parked):
        id = "Flow"

        async def on_workflow_cancel(self, reason, ctx: Context):
            reasons.append(reason)

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(run.cancel, f"reason {n}")
        await run.cancel("late")
        assert await run.status() is RunStatus.CANCELLED
    assert len(reasons) == 1
    assert reasons[0].startswith("reason ")


async def test_cancel_of_a_finished_run_changes_nothing(journal: str) -> None:
    """A completed and a failed run stay what they are."""
    async with open_runtime([Echo, Fails], journal=journal) as runtime:
        for workflow, status in ((Echo, RunStatus.COMPLETED), (Fails, RunStatus.FAILED)):
            run = await runtime.start(workflow)
            await run.wait()
            await run.cancel("too late")
            assert await run.status() is status


# ------------------------------------------------------------------------------------------------ journals


@pytest.mark.rule("F10")
async def test_memory_keeps_nothing_over_the_block_and_shares_nothing() -> None:
    """Two runtimes on memory journals know nothing of each other, at the same time or after another."""
    async with open_runtime([Echo]) as first, open_runtime([Echo], journal="memory:") as second:
        assert await first.run(Echo, 1, run_id="r") == 1
        assert await second.run(Echo, 2, run_id="r") == 2
        assert len(await second.list_runs()) == 1
    async with open_runtime([Echo]) as third:
        with pytest.raises(RunNotFound):
            await third.get_run("r")


@pytest.mark.rule("F7")
async def test_an_owned_sqlite_journal_is_busy(sqlite_url: str) -> None:
    """A second opening of the same file, also spelled another way, is refused; the first goes on."""
    folder, _, name = sqlite_url.removeprefix("sqlite:").rpartition("/")
    async with open_runtime([Echo], journal=sqlite_url) as runtime:
        for url in (sqlite_url, f"sqlite:{folder}/../{folder.rpartition('/')[2]}/./{name}"):
            with pytest.raises(JournalBusy):
                async with open_runtime([Echo], journal=url):
                    pass
        assert await runtime.run(Echo, 1) == 1

"""What a failed step means for the others, and what is recorded of it (semantics C6, C7)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    ALL,
    DRAIN,
    Context,
    Retry,
    RunFailed,
    RunOutcome,
    RunStatus,
    StepFailed,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    tolerate,
)


class Boom(Exception):
    """What the steps of this file fail with."""


class Other(Exception):
    """Another thing to fail with."""


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def settle(workflow: type[Workflow], data: object = None, *, journal: str = "memory:") -> RunOutcome:
    """Run a workflow in a runtime of its own and return how it ended."""
    async with open_runtime([workflow], journal=journal) as runtime:
        run = await runtime.start(workflow, data)
        return await run.wait()


async def fan_out(join: object, branches: int, failing: set[int]) -> tuple[RunOutcome, list[str]]:
    """Run that many branches, of which some fail; give the outcome and the hooks that were called."""
    hooks = []
    policy = join

    class FanOut(Workflow):
        join = policy

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(branches))

        async def work(self, data, ctx: Context):
            if data in failing:
                raise Boom(f"branch {data}")
            await ctx.run_store.push("results", data)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")
            return sorted(await ctx.run_store.get("results", []))

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append("error")

    return await settle(FanOut), hooks


@pytest.mark.rule("C6", "C12")
@pytest.mark.parametrize("explicit", [False, True])
async def test_all_cancels_the_rest_at_the_first_failure(explicit: bool, journal: str, mock_clock: MockClock) -> None:
    """By default the first failure cancels live branches, drops armed ones, calls the error hook, fails the run."""
    log = []
    live = trio.Event()

    class Default(Workflow):
        if explicit:
            join = ALL

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("armed", delay=10)
            await ctx.schedule_next_step("sleeper")
            await ctx.schedule_next_step("fails")

        async def armed(self, data, ctx: Context):
            log.append("armed ran")

        async def sleeper(self, data, ctx: Context):
            live.set()
            try:
                await trio.sleep_forever()
            finally:
                log.append("sleeper ended")

        async def fails(self, data, ctx: Context):
            await live.wait()
            raise Boom("first")

        async def on_workflow_complete(self, ctx: Context):
            log.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            log.append("error" if isinstance(error, StepFailed) else error)

    async with open_runtime([Default], journal=journal) as runtime:
        run = await runtime.start(Default)
        outcome = await run.wait()
        statuses = {record.step_id: record.status for record in (await run.describe()).steps}
    assert log == ["sleeper ended", "error"]
    assert outcome.status is RunStatus.FAILED
    assert [failure.step_id for failure in outcome.failures] == ["fails"]
    assert (statuses["fails"], statuses["sleeper"]) == (StepStatus.FAILED, StepStatus.CANCELLED)
    assert statuses.get("armed", StepStatus.CANCELLED) in {StepStatus.CANCELLED, StepStatus.SKIPPED}


@pytest.mark.rule("C6")
@pytest.mark.parametrize("failing", [{0}, {7}, {0, 5, 19}])
async def test_drain_lets_the_others_finish_then_fails(failing: set[int]) -> None:
    """Under `DRAIN` every other branch finishes, and then the run fails once, with all failures listed."""
    outcome, hooks = await fan_out(DRAIN, 20, failing)
    assert (outcome.status, hooks) == (RunStatus.FAILED, ["error"])
    assert sorted(outcome.state["results"]) == sorted(set(range(20)) - failing)
    assert all(any(f"branch {number}" in failure.message for failure in outcome.failures) for number in failing)
    assert len(outcome.failures) == len(failing)


@pytest.mark.rule("C6", "C11")
async def test_error_hook_of_a_drained_run_comes_last(autojump_clock: MockClock) -> None:
    """Under `DRAIN` the error hook waits for the slowest branch, also one armed by the step that failed."""
    log = []

    class Drains(Workflow):
        join = DRAIN

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("late", delay="1 hr")
            raise Boom("after scheduling")

        async def late(self, data, ctx: Context):
            log.append("late")

        async def on_workflow_error(self, error, ctx: Context):
            log.append(error.step_id)

    outcome = await settle(Drains)
    assert (outcome.status, log) == (RunStatus.FAILED, ["late", "start"])


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    ("bound", "branches", "failing", "completes"),
    [
        ({"count": 0}, 3, 0, True),
        ({"count": 0}, 3, 1, False),
        ({"count": 1}, 5, 1, True),
        ({"count": 1}, 5, 2, False),
        ({"count": 5}, 5, 5, True),
        ({"fraction": 0.25}, 4, 1, True),
        ({"fraction": 0.25}, 4, 2, False),
        ({"fraction": 0.33}, 3, 1, False),
        ({"fraction": 1 / 3}, 3, 1, True),
        ({"fraction": 0.29}, 100, 29, True),
        ({"fraction": 0.29}, 100, 30, False),
        ({"fraction": 0.001}, 1000, 1, True),
        ({"fraction": 0.001}, 1000, 2, False),
        ({"fraction": 1.0}, 3, 3, True),
        ({"fraction": 0.0}, 3, 1, False),
    ],
    ids=str,
)
async def test_tolerated_failures_up_to_the_bound(
    bound: dict[str, float], branches: int, failing: int, completes: bool
) -> None:
    """Failures within the bound leave the run completed and listed; one more fails it, with one hook either way."""
    outcome, hooks = await fan_out(tolerate(**bound), branches, set(range(failing)))
    if completes:
        assert (outcome.status, hooks, outcome.error) == (RunStatus.COMPLETED, ["complete"], None)
        assert outcome.output == list(range(failing, branches))
        assert len(outcome.failures) == failing
        assert {(failure.step_id, kind(failure), failure.attempts) for failure in outcome.failures} <= {
            ("work", "Boom", 1)
        }
        assert len({failure.activation_id for failure in outcome.failures}) == failing
    else:
        assert (outcome.status, hooks) == (RunStatus.FAILED, ["error"])
        assert len(outcome.failures) >= 1
        assert outcome.error is not None


@pytest.mark.rule("C6")
async def test_fraction_is_judged_when_all_steps_are_known(autojump_clock: MockClock) -> None:
    """A fraction that early failures exceed is still met when later steps make up for them."""

    class Early(Workflow):
        join = tolerate(fraction=0.5)

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", ["fail", "fail"])
            await ctx.schedule_many("work", ["fine", "fine"], delay=60)

        async def work(self, data, ctx: Context):
            if data == "fail":
                raise Boom("early")

    outcome = await settle(Early)
    assert (outcome.status, len(outcome.failures)) == (RunStatus.COMPLETED, 2)


@pytest.mark.rule("C6")
async def test_cancelled_steps_do_not_count_in_the_fraction(autojump_clock: MockClock) -> None:
    """A scheduled step that was cancelled is no part of the whole that a fraction is taken of."""

    class Cancelled(Workflow):
        join = tolerate(fraction=0.4)

        async def start(self, data, ctx: Context):
            handles = [await ctx.schedule_next_step("work", "fine", delay=10) for _ in range(3)]
            await ctx.schedule_many("work", ["fail", "fine"], delay=20)
            for handle in handles:
                assert await handle.cancel()

        async def work(self, data, ctx: Context):
            if data == "fail":
                raise Boom("one of two")

    assert (await settle(Cancelled)).status is RunStatus.FAILED


@pytest.mark.rule("C6")
@pytest.mark.parametrize("bound", [{"count": 10}, {"fraction": 1.0}], ids=str)
async def test_failure_of_start_is_never_tolerated(bound: dict[str, float]) -> None:
    """Whatever the bound, a `start` that fails fails the run."""
    hooks = []

    class Starts(Workflow):
        join = tolerate(**bound)

        async def start(self, data, ctx: Context):
            raise Boom("start")

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append(error.step_id)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

    assert ((await settle(Starts)).status, hooks) == (RunStatus.FAILED, ["start"])


@pytest.mark.rule("C6", "C5")
async def test_attempts_that_a_retry_cured_are_no_failures() -> None:
    """Only a step that failed for good counts against the bound."""

    class Cured(Workflow):
        join = tolerate(count=0)

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(3))

        @step(retry=Retry(attempts=3, delay=0.0))
        async def work(self, data, ctx: Context):
            if ctx.attempt < 3:
                raise Boom("cured")

    outcome = await settle(Cured)
    assert (outcome.status, outcome.failures) == (RunStatus.COMPLETED, ())


@pytest.mark.rule("C6")
@pytest.mark.parametrize("join", [ALL, DRAIN, tolerate(count=1)], ids=["all", "drain", "tolerate"])
async def test_two_failures_at_one_instant_are_one_hook_and_two_records(join: object, journal: str) -> None:
    """Two branches that raise in the same breath give one call of the error hook and two recorded failures."""
    policy = join
    gate = trio.Event()
    arrived, hooks = [], []

    class Twins(Workflow):
        join = policy

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("left")
            await ctx.schedule_next_step("right")

        async def left(self, data, ctx: Context):
            await self._meet("left")
            raise Boom("left")

        async def right(self, data, ctx: Context):
            await self._meet("right")
            raise Other("right")

        async def _meet(self, name: str):
            arrived.append(name)
            if len(arrived) == 2:
                gate.set()
            await gate.wait()

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append(error)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

    outcome = await settle(Twins, journal=journal)
    assert outcome.status is RunStatus.FAILED
    assert [type(error) for error in hooks] == [StepFailed]
    assert sorted((failure.step_id, kind(failure)) for failure in outcome.failures) == [
        ("left", "Boom"),
        ("right", "Other"),
    ]


@pytest.mark.rule("C6")
@pytest.mark.parametrize("causes", [1, 2, 5])
async def test_outer_error_is_the_same_for_one_cause_or_many(causes: int) -> None:
    """`result()` raises `RunFailed` with every failure, its cause the first, however many there are."""

    class Many(Workflow):
        join = DRAIN

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(causes))

        async def work(self, data, ctx: Context):
            raise Boom(f"number {data}")

    async with open_runtime([Many]) as runtime:
        run = await runtime.start(Many, run_id="r")
        with pytest.raises(RunFailed) as caught:
            await run.result()
        outcome = await run.wait()
        with pytest.raises(RunFailed):
            await runtime.run(Many)
    failures = caught.value.failures
    assert caught.value.run_id == "r"
    assert len(failures) == len(outcome.failures) == causes
    assert all(isinstance(failure, StepFailed) for failure in failures)
    assert isinstance(caught.value.__cause__, StepFailed)
    assert caught.value.__cause__.activation_id == failures[0].activation_id
    assert outcome.error.activation_id == failures[0].activation_id


@pytest.mark.rule("C6", "C7")
async def test_failure_tells_all_about_itself(journal: str, autojump_clock: MockClock) -> None:
    """A recorded failure names step, activation, attempts, type and message, with the exception as its cause."""
    raised, activation = Boom("the very words"), []

    class Fails(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(retry=Retry(attempts=2))
        async def work(self, data, ctx: Context):
            activation.append(ctx.activation_id)
            raise raised

    async with open_runtime([Fails], journal=journal) as runtime:
        run = await runtime.start(Fails)
        outcome = await run.wait()
        record = next(record for record in (await run.describe()).steps if record.step_id == "work")
    error = outcome.error
    assert isinstance(error, StepFailed)
    assert (error.step_id, error.activation_id, error.attempts) == ("work", activation[0], 2)
    assert kind(error) == "Boom"
    assert "the very words" in error.message
    assert error.__cause__ is raised
    assert (record.status, record.attempts, record.activation_id) == (StepStatus.FAILED, 2, activation[0])
    assert "the very words" in str(record.error)


@pytest.mark.rule("C6", "F3")
async def test_failure_is_still_known_after_reopening(sqlite_url: str) -> None:
    """A failed run read from the journal by a later runtime has the same failure, without the live exception."""

    class Fails(Workflow):
        async def start(self, data, ctx: Context):
            raise Boom("the very words")

    async with open_runtime([Fails], journal=sqlite_url) as runtime:
        first = await (await runtime.start(Fails, run_id="r")).wait()
    async with open_runtime([Fails], journal=sqlite_url) as runtime:
        second = await (await runtime.get_run("r")).wait()
        with pytest.raises(RunFailed, match="the very words"):
            await (await runtime.get_run("r")).result()
    assert second.status is RunStatus.FAILED
    assert [(e.step_id, e.activation_id, kind(e), e.message) for e in second.failures] == [
        (e.step_id, e.activation_id, kind(e), e.message) for e in first.failures
    ]


@pytest.mark.rule("C7")
async def test_exception_hidden_by_cancelled_cleanup_is_found(autojump_clock: MockClock) -> None:
    """A step whose cleanup was cancelled while its own exception was under way is recorded with that exception."""

    class Hidden(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("hidden")
            await ctx.schedule_next_step("second", delay=5)

        async def hidden(self, data, ctx: Context):
            try:
                raise Boom("the real reason")
            finally:
                await trio.sleep(3600)

        async def second(self, data, ctx: Context):
            raise Other("cancels the rest")

    outcome = await settle(Hidden)
    assert {failure.step_id: kind(failure) for failure in outcome.failures} == {"hidden": "Boom", "second": "Other"}


@pytest.mark.rule("C7", "C5")
async def test_exception_hidden_by_a_timeout_is_found(autojump_clock: MockClock) -> None:
    """A step that raised, and whose cleanup then passed the timeout, failed with what it raised."""

    class Hidden(Workflow):
        @step(timeout=5.0)
        async def start(self, data, ctx: Context):
            try:
                raise Boom("the real reason")
            finally:
                await trio.sleep(3600)

    outcome = await settle(Hidden)
    assert [kind(failure) for failure in outcome.failures] == ["Boom"]
    assert "the real reason" in outcome.error.message


@pytest.mark.rule("C7")
async def test_handled_exception_does_not_make_a_cancelled_step_failed(autojump_clock: MockClock) -> None:
    """A step that was simply cancelled is no failure."""

    class Cancelled(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("innocent")
            await ctx.schedule_next_step("guilty", delay=5)

        async def innocent(self, data, ctx: Context):
            try:
                raise Boom("handled")
            except Boom:
                pass
            await trio.sleep(3600)

        async def guilty(self, data, ctx: Context):
            raise Other("guilty")

    outcome = await settle(Cancelled)
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("guilty", "Other")]


@pytest.mark.rule("C6", "A5")
async def test_failed_run_leaves_its_neighbours_alone(journal: str) -> None:
    """A run that fails, one that raises something unusual included, does not disturb another run or the runtime."""
    gate = trio.Event()

    class Neighbour(Workflow):
        async def start(self, data, ctx: Context):
            if data == "wait":
                await gate.wait()
                return await ctx.run_store.increment("n")
            raise data_errors[data]

    data_errors = {"plain": Boom("x"), "group": ExceptionGroup("several", [Boom("y")]), "stop": StopAsyncIteration()}
    async with open_runtime([Neighbour], journal=journal) as runtime:
        steady = await runtime.start(Neighbour, "wait")
        for name in data_errors:
            assert (await (await runtime.start(Neighbour, name)).wait()).status is RunStatus.FAILED
        gate.set()
        assert await steady.result() == 1

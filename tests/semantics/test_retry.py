"""Retry, backoff, timeout, rate and concurrency of single steps (semantics C5)."""

from __future__ import annotations

from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    NonRetryable,
    Rate,
    Retry,
    RunFailed,
    RunOutcome,
    RunStatus,
    StepStatus,
    StepTimeout,
    Workflow,
    open_runtime,
    step,
)


class Flaky(LookupError):
    """An error worth another attempt."""


class Fatal(Exception):
    """An error that no attempt will cure."""


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def settle(workflow: type[Workflow], data: object = None, *, journal: str = "memory:") -> RunOutcome:
    """Run a workflow in a runtime of its own and return how it ended."""
    async with open_runtime([workflow], journal=journal) as runtime:
        run = await runtime.start(workflow, data)
        return await run.wait()


async def attempts_of(retry: Retry | None, errors: list[BaseException | None]) -> tuple[list[int], RunOutcome]:
    """Run one step that raises these errors, one per attempt; give the attempts it saw and the outcome."""
    seen = []
    plan = iter(errors)

    class Attempts(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work")

        @step(retry=retry) if retry is not None else step
        async def work(self, data, ctx: Context):
            seen.append(ctx.attempt)
            error = next(plan, None)
            if error is not None:
                raise error

    return seen, await settle(Attempts)


@pytest.mark.rule("C5")
async def test_third_attempt_succeeds(journal: str, autojump_clock: MockClock) -> None:
    """A step that fails twice and then succeeds is one branch, one completion, with three attempts on record."""
    attempts, hooks = [], []

    class Third(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work", {"same": "payload"})

        @step(retry=Retry(attempts=5))
        async def work(self, data, ctx: Context):
            assert data == {"same": "payload"}
            attempts.append(ctx.attempt)
            if ctx.attempt < 3:
                raise Flaky("not yet")

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append("error")

    async with open_runtime([Third], journal=journal) as runtime:
        run = await runtime.start(Third)
        outcome = await run.wait()
        records = [record for record in (await run.describe()).steps if record.step_id == "work"]
    assert (outcome.status, outcome.error, outcome.failures) == (RunStatus.COMPLETED, None, ())
    assert (attempts, hooks) == ([1, 2, 3], ["complete"])
    assert [(record.status, record.attempts) for record in records] == [(StepStatus.COMPLETED, 3)]


@pytest.mark.rule("C5")
@pytest.mark.parametrize(
    ("retry", "errors", "attempts", "error_type"),
    [
        (None, [Flaky()], 1, "Flaky"),
        (Retry(attempts=1), [Flaky()], 1, "Flaky"),
        (Retry(attempts=3), [Flaky(), Flaky(), Fatal(), None], 3, "Fatal"),
        (Retry(attempts=3), [Flaky(), NonRetryable("stop"), None], 2, "NonRetryable"),
        (Retry(attempts=3, on=(NonRetryable,)), [NonRetryable("stop"), None], 1, "NonRetryable"),
        (Retry(attempts=3, on=(LookupError,)), [Flaky(), None], 2, None),
        (Retry(attempts=3, on=(Flaky,)), [LookupError(), None], 1, "LookupError"),
        (Retry(attempts=3, on=(Flaky, Fatal)), [Fatal(), Flaky(), None], 3, None),
        (Retry(attempts=3, never_on=(Fatal,)), [Flaky(), Fatal(), None], 2, "Fatal"),
        (Retry(attempts=3, on=(LookupError,), never_on=(Flaky,)), [KeyError("k"), Flaky(), None], 2, "Flaky"),
    ],
    ids=[
        "no policy",
        "one attempt",
        "exhausted",
        "non-retryable",
        "non-retryable wins over on",
        "subclass of on",
        "superclass of on",
        "one of on",
        "never_on",
        "never_on wins over on",
    ],
)
async def test_policy_decides_who_gets_another_attempt(
    retry: Retry | None,
    errors: list[BaseException | None],
    attempts: int,
    error_type: str | None,
    autojump_clock: MockClock,
) -> None:
    """`attempts`, `on`, `never_on` and `NonRetryable` together say how often a step runs and what it failed with."""
    seen, outcome = await attempts_of(retry, errors)
    assert seen == list(range(1, attempts + 1))
    assert [(kind(failure), failure.attempts) for failure in outcome.failures] == (
        [] if error_type is None else [(error_type, attempts)]
    )
    assert outcome.status is (RunStatus.COMPLETED if error_type is None else RunStatus.FAILED)


async def gaps_of(retry: Retry) -> list[float]:
    """Run a step that always fails and give the time between its attempts."""
    times = []

    class Gaps(Workflow):
        @step(retry=retry)
        async def start(self, data, ctx: Context):
            times.append(trio.current_time())
            raise Flaky("always")

    outcome = await settle(Gaps)
    assert outcome.status is RunStatus.FAILED
    return [later - earlier for earlier, later in pairwise(times)]


@pytest.mark.rule("C5")
@pytest.mark.parametrize(
    ("retry", "gaps"),
    [
        (Retry(attempts=5, jitter=0.0), [1, 2, 4, 8]),
        (Retry(attempts=4, delay=3.0, factor=1.0, jitter=0.0), [3, 3, 3]),
        (Retry(attempts=4, delay=0.5, factor=10.0, max_delay=20.0, jitter=0.0), [0.5, 5, 20]),
        (Retry(attempts=4, delay=10.0, factor=10.0, max_delay=50.0, jitter=0.0), [10, 50, 50]),
        (Retry(attempts=9, jitter=0.0), [1, 2, 4, 8, 16, 32, 60, 60]),
        (Retry(attempts=3, delay=0.0, jitter=0.0), [0, 0]),
    ],
    ids=["default", "constant", "steep", "capped", "default cap", "none"],
)
async def test_backoff_grows_on_the_virtual_clock(retry: Retry, gaps: list[float], autojump_clock: MockClock) -> None:
    """The wait before attempt n + 1 is `delay * factor ** (n - 1)`, never more than `max_delay`."""
    assert await gaps_of(retry) == pytest.approx(gaps, abs=0.05)


@pytest.mark.rule("C5")
async def test_jitter_stays_near_the_backoff(autojump_clock: MockClock) -> None:
    """With jitter the waits differ from each other and stay within a tenth of the plain backoff."""
    gaps = await gaps_of(Retry(attempts=21, delay=10.0, factor=1.0, jitter=0.1))
    assert len(gaps) == 20
    assert all(8.95 <= gap <= 11.05 for gap in gaps)
    assert len({round(gap, 3) for gap in gaps}) > 5


@pytest.mark.rule("C5")
async def test_sibling_does_not_wait_for_a_backoff(autojump_clock: MockClock) -> None:
    """While one branch waits for its next attempt, the others go on."""
    order = []

    class Siblings(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("flaky")
            await ctx.schedule_next_step("steady", delay=5)

        @step(retry=Retry(attempts=2, delay=10.0, jitter=0.0))
        async def flaky(self, data, ctx: Context):
            order.append(f"flaky {ctx.attempt}")
            if ctx.attempt == 1:
                raise Flaky("once")

        async def steady(self, data, ctx: Context):
            order.append("steady")

    assert (await settle(Siblings)).status is RunStatus.COMPLETED
    assert order == ["flaky 1", "steady", "flaky 2"]


@pytest.mark.rule("C5", "D7")
async def test_backoff_survives_reopening(sqlite_url: str, mock_clock: MockClock) -> None:
    """A retry that was waiting when the runtime closed runs after reopening, when due, as the next attempt."""
    attempts = []
    failed = trio.Event()

    class Waits(Workflow):
        @step(retry=Retry(attempts=2, delay=3600.0, max_delay=3600.0, jitter=0.0))
        async def start(self, data, ctx: Context):
            attempts.append(ctx.attempt)
            if ctx.attempt == 1:
                failed.set()
                raise Flaky("once")
            return "second"

    class Quick(Workflow):
        async def start(self, data, ctx: Context):
            pass

    async with open_runtime([Waits, Quick], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Waits, run_id="r")
        await failed.wait()
        # Commits keep their order over all runs (semantics F2): when later runs have ended, the failure is there.
        for _ in range(3):
            await runtime.run(Quick)
    async with open_runtime([Waits, Quick], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        await runtime.run(Quick)
        assert attempts == [1]
        assert await run.status() is RunStatus.RUNNING
        mock_clock.jump(3700)
        assert await run.result() == "second"
    assert attempts == [1, 2]


@pytest.mark.rule("C5")
async def test_closing_uses_up_no_attempt(sqlite_url: str) -> None:
    """A step with a single attempt that was cut short by two closings still gets to run to its end."""
    lives = []
    live = [trio.Event(), trio.Event()]

    class Single(Workflow):
        async def start(self, data, ctx: Context):
            lives.append(ctx.attempt)
            if len(lives) <= 2:
                live[len(lives) - 1].set()
                await trio.sleep_forever()
            return "done"

    for event in live:
        async with open_runtime([Single], journal=sqlite_url, shutdown_grace=0) as runtime:
            await runtime.start(Single, run_id="r")
            await event.wait()
    async with open_runtime([Single], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == "done"
    assert lives == [1, 1, 1]


@pytest.mark.rule("C5")
async def test_step_past_its_timeout_is_cancelled_and_fails(autojump_clock: MockClock) -> None:
    """A step that passes its timeout is cancelled then and there and fails with `StepTimeout`."""
    log = []

    class Slow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("slow")

        @step(timeout=5.0)
        async def slow(self, data, ctx: Context):
            try:
                await trio.sleep(3600)
            finally:
                log.append(trio.current_time() - began)

    began = trio.current_time()
    async with open_runtime([Slow]) as runtime:
        run = await runtime.start(Slow)
        with pytest.raises(RunFailed) as caught:
            await run.result()
    assert log == [pytest.approx(5, abs=0.05)]
    assert [(failure.step_id, kind(failure), failure.attempts) for failure in caught.value.failures] == [
        ("slow", "StepTimeout", 1)
    ]


@pytest.mark.rule("C5")
@pytest.mark.parametrize("on", [(Exception,), (StepTimeout,)], ids=["any error", "StepTimeout"])
async def test_timeout_is_per_attempt_and_counts_as_a_failure(
    on: tuple[type[Exception], ...], autojump_clock: MockClock
) -> None:
    """Every attempt gets the whole timeout, and one that passed it is followed by the next attempt."""
    times = []

    class Slow(Workflow):
        @step(timeout=5.0, retry=Retry(attempts=3, delay=1.0, factor=1.0, jitter=0.0, on=on))
        async def start(self, data, ctx: Context):
            times.append(trio.current_time() - began)
            await trio.sleep(100 if ctx.attempt < 3 else 4)
            return "in time"

    began = trio.current_time()
    outcome = await settle(Slow)
    assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, "in time")
    assert times == pytest.approx([0, 6, 12], abs=0.05)


@pytest.mark.rule("C5")
async def test_timeouts_exhaust_the_attempts(autojump_clock: MockClock) -> None:
    """A step that is too slow every time fails with `StepTimeout` and all its attempts."""

    class Slow(Workflow):
        @step(timeout=1.0, retry=Retry(attempts=3))
        async def start(self, data, ctx: Context):
            await trio.sleep_forever()

    outcome = await settle(Slow)
    assert (kind(outcome.error), outcome.error.attempts) == ("StepTimeout", 3)


@pytest.mark.rule("C5")
async def test_time_in_the_queue_is_not_the_steps_timeout(autojump_clock: MockClock) -> None:
    """A step that waits for its place under `concurrency` longer than its timeout does not time out."""

    class Queue(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(5))

        @step(timeout=5.0, concurrency=1)
        async def work(self, data, ctx: Context):
            await trio.sleep(4)

    assert (await settle(Queue)).status is RunStatus.COMPLETED


@pytest.mark.rule("C5")
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_concurrency_bounds_one_step_in_one_run(limit: int, autojump_clock: MockClock) -> None:
    """At most `concurrency` activations of a step are live in one run; other steps and runs are not held up."""
    live, peak, overall = {}, {}, []

    class Bounded(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(10))
            await ctx.schedule_many("free", range(7))

        @step(concurrency=limit)
        async def work(self, data, ctx: Context):
            await self._busy(ctx.run_id, 1)

        async def free(self, data, ctx: Context):
            await self._busy(ctx.run_id + " free", 1)

        async def _busy(self, name: str, seconds: float):
            live[name] = live.get(name, 0) + 1
            peak[name] = max(peak.get(name, 0), live[name])
            overall.append(live.get("a", 0) + live.get("b", 0))
            await trio.sleep(seconds)
            live[name] -= 1

    async with open_runtime([Bounded]) as runtime:
        for run in [await runtime.start(Bounded, run_id=name) for name in ("a", "b")]:
            assert (await run.wait()).status is RunStatus.COMPLETED
    assert peak == {"a": limit, "b": limit, "a free": 7, "b free": 7}
    assert max(overall) == 2 * limit


@pytest.mark.rule("C5")
async def test_rate_bounds_the_starts_per_period(autojump_clock: MockClock) -> None:
    """With `Rate(2, per=10)` no ten seconds see more than two starts, and six steps take no longer than needed."""
    times = []

    class Rated(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("call", range(6))

        @step(rate=Rate(2, per=10.0))
        async def call(self, data, ctx: Context):
            times.append(trio.current_time() - began)

    began = trio.current_time()
    assert (await settle(Rated)).status is RunStatus.COMPLETED
    assert len(times) == 6
    assert all(later - earlier >= 9.99 for earlier, later in zip(times, times[2:], strict=False))
    assert times[-1] <= 30.05


@pytest.mark.rule("C5", "C6")
async def test_cancelled_run_starts_no_retry(autojump_clock: MockClock) -> None:
    """A run cancelled while a retry is waiting never starts that attempt."""
    attempts = []

    class Waits(Workflow):
        @step(retry=Retry(attempts=5, delay=100.0, max_delay=100.0))
        async def start(self, data, ctx: Context):
            attempts.append(ctx.attempt)
            raise Flaky("always")

    async with open_runtime([Waits]) as runtime:
        run = await runtime.start(Waits)
        await trio.sleep(50)
        await run.cancel("enough")
        await trio.sleep(10_000)
        assert await run.status() is RunStatus.CANCELLED
    assert attempts == [1]

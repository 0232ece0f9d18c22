"""When a run is over, what comes out of it, and what may still run by then (semantics C1, C8, C9, C12, C13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actorflow import (
    Context,
    Retry,
    RunCancelled,
    RunFailed,
    RunNotFound,
    RunOutcome,
    RunOver,
    RunStatus,
    StepStatus,
    Workflow,
    open_runtime,
    step,
)

DAY_S = 86_400
# Virtual time gets there only when nothing can move any more: a hang shows up as a failure.
NEVER_S = 1e8


class Boom(Exception):
    """What the steps of this file fail with."""


async def settle(
    workflow: type[Workflow], data: object = None, *, journal: str = "memory:", **options: object
) -> RunOutcome:
    """Run a workflow in a runtime of its own and return how it ended."""
    with trio.fail_after(NEVER_S) if journal == "memory:" else nullcontext():
        async with open_runtime([workflow], journal=journal) as runtime:
            run = await runtime.start(workflow, data, **options)
            return await run.wait()


@pytest.mark.rule("C1")
@pytest.mark.parametrize(
    ("delays", "follow_up", "over_at"),
    [([10, 3600, 3 * DAY_S], None, 3 * DAY_S), ([10, 3600], 4 * DAY_S, 4 * DAY_S + 10), ([0], None, 0)],
)
async def test_run_is_over_with_its_slowest_branch(
    delays: list[int], follow_up: int | None, over_at: int, autojump_clock: MockClock
) -> None:
    """The completion hook runs once, when the last branch or what it scheduled has ended, and not before."""
    hooks = []

    class Slowest(Workflow):
        async def start(self, data, ctx: Context):
            for number, delay in enumerate(delays):
                await ctx.schedule_next_step("branch", number, delay=delay)

        async def branch(self, data, ctx: Context):
            if data == 0 and follow_up is not None:
                await ctx.schedule_next_step("last", delay=follow_up)

        async def last(self, data, ctx: Context):
            pass

        async def on_workflow_complete(self, ctx: Context):
            hooks.append(trio.current_time() - began)

    began = trio.current_time()
    outcome = await settle(Slowest)
    assert outcome.status is RunStatus.COMPLETED
    assert hooks == [pytest.approx(over_at, abs=0.05)]


@pytest.mark.rule("C1")
async def test_open_count_never_touches_zero_in_a_chain(journal: str) -> None:
    """In a chain where each step schedules just one more, there is one completion, after the last."""
    hooks = []

    class Chain(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("link", 1)

        async def link(self, data, ctx: Context):
            await ctx.run_store.increment("links")
            if data < 150:
                await ctx.schedule_next_step("link", data + 1)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append(await ctx.run_store.get("links"))

    outcome = await settle(Chain, journal=journal)
    assert (outcome.status, hooks) == (RunStatus.COMPLETED, [150])


@pytest.mark.rule("C1")
async def test_scheduler_is_open_until_its_own_end() -> None:
    """A step that outlives everything it scheduled still holds the run open."""
    child_done = trio.Event()

    class LongScheduler(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("child")
            await child_done.wait()
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            await ctx.run_store.set("last_word", True)

        async def child(self, data, ctx: Context):
            child_done.set()

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("last_word")

    assert (await settle(LongScheduler)).output is True


@pytest.mark.rule("C1", "C5")
async def test_waiting_retry_holds_the_run_open(autojump_clock: MockClock) -> None:
    """A run whose only open work is a retry that is not yet due is not over."""
    hooks = []

    class Waits(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("flaky")

        @step(retry=Retry(attempts=2, delay=100.0, max_delay=1000.0, jitter=0.0))
        async def flaky(self, data, ctx: Context):
            if ctx.attempt == 1:
                raise Boom("once")

        async def on_workflow_complete(self, ctx: Context):
            hooks.append(trio.current_time() - began)

    began = trio.current_time()
    assert (await settle(Waits)).status is RunStatus.COMPLETED
    assert hooks == [pytest.approx(100, abs=0.05)]


@pytest.mark.rule("C9", "C1")
@pytest.mark.parametrize("branches", [0, 1, 2, 1000])
async def test_join_fires_once_for_any_number_of_branches(branches: int) -> None:
    """The completion hook is called once per run and sees every branch, for 0, 1, 2 and 1,000 of them."""
    hooks = []

    class FanOut(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(branches))

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("results", data)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append(sorted(await ctx.run_store.get("results", [])))

    outcome = await settle(FanOut)
    assert outcome.status is RunStatus.COMPLETED
    assert hooks == [list(range(branches))]


@pytest.mark.rule("C9")
@pytest.mark.parametrize("lengths", [[1, 5, 3], [4, 1, 1, 4], [6, 5, 4, 3, 2, 1]])
async def test_branches_of_unequal_length_join_once(lengths: list[int], autojump_clock: MockClock) -> None:
    """Branches that are chains of unequal length and pace are all complete when the hook runs."""
    hooks = []

    class Uneven(Workflow):
        async def start(self, data, ctx: Context):
            for number, length in enumerate(lengths):
                await ctx.schedule_next_step("hop", {"number": number, "left": length}, delay=10 - number)

        async def hop(self, data, ctx: Context):
            await ctx.run_store.increment(f"hops-{data['number']}")
            if data["left"] > 1:
                await ctx.schedule_next_step("hop", {**data, "left": data["left"] - 1}, delay=data["number"] * 2)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append([await ctx.run_store.get(f"hops-{number}") for number in range(len(lengths))])

    await settle(Uneven)
    assert hooks == [lengths]


@pytest.mark.rule("C8")
async def test_max_live_steps_bounds_the_steps_not_the_fan_out(autojump_clock: MockClock) -> None:
    """With room for three live steps, forty branches all run, three at a time and never more."""
    live, peaks = [0], []

    class Narrow(Workflow):
        max_live_steps = 3

        async def start(self, data, ctx: Context):
            assert await ctx.schedule_many("work", range(40)) == 40

        async def work(self, data, ctx: Context):
            live[0] += 1
            peaks.append(live[0])
            await trio.sleep(1)
            live[0] -= 1

    assert (await settle(Narrow)).status is RunStatus.COMPLETED
    assert (len(peaks), max(peaks)) == (40, 3)


@pytest.mark.rule("C8")
async def test_branches_beyond_the_bound_wait_as_pending() -> None:
    """What does not fit into `max_live_steps` is counted as pending, not live."""
    gate = trio.Event()

    class Crowd(Workflow):
        max_live_steps = 2

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(50))

        async def work(self, data, ctx: Context):
            await gate.wait()

    async with open_runtime([Crowd]) as runtime:
        run = await runtime.start(Crowd)
        await wait_all_tasks_blocked()
        before = runtime.statistics()
        gate.set()
        outcome = await run.wait()
        after = runtime.statistics()
    assert (before.live_steps, before.pending_steps, before.live_runs) == (2, 48, 1)
    assert (after.live_steps, after.pending_steps) == (0, 0)
    assert outcome.status is RunStatus.COMPLETED


@pytest.mark.rule("C8")
async def test_step_parked_in_wait_for_does_not_hold_a_place(autojump_clock: MockClock) -> None:
    """With a single place, a step that waits for a key lets the step run that sets it."""

    class Parked(Workflow):
        max_live_steps = 1

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("waiter")
            await ctx.schedule_next_step("setter", delay=1)

        async def waiter(self, data, ctx: Context):
            await ctx.run_store.push("seen", await ctx.run_store.wait_for("ready", lambda value: value == 3))

        async def setter(self, data, ctx: Context):
            await ctx.run_store.set("ready", 3)

    assert (await settle(Parked)).state["seen"] == [3]


@pytest.mark.rule("C11", "C13")
@pytest.mark.parametrize(
    ("returned", "hook", "output"),
    [
        ({"from": "start"}, None, {"from": "start"}),
        ({"from": "start"}, {"from": "hook"}, {"from": "hook"}),
        ({"from": "start"}, 0, 0),
        ({"from": "start"}, False, False),
        ("start", "", ""),
        (["start"], [], []),
        (None, None, None),
        ((1, 2), None, [1, 2]),
    ],
)
async def test_output_is_the_hooks_unless_none_else_starts(
    returned: object, hook: object, output: object, journal: str
) -> None:
    """Whatever the completion hook returns, falsy or not, is the output; None leaves the one of `start`."""

    class Output(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("other")
            return returned

        async def other(self, data, ctx: Context):
            return "of no consequence"

        async def on_workflow_complete(self, ctx: Context):
            return hook

    async with open_runtime([Output], journal=journal) as runtime:
        run = await runtime.start(Output)
        assert [await run.result(), (await run.wait()).output, await runtime.run(Output)] == [output] * 3
        assert type(await run.result()) is type(output)


@pytest.mark.rule("C1", "C11")
@pytest.mark.parametrize("fails", [False, True])
async def test_empty_run_calls_just_the_hook_that_fits(fails: bool, journal: str) -> None:
    """A run that schedules nothing ends with its `start`, in one call of one hook."""
    hooks = []

    class Empty(Workflow):
        async def start(self, data, ctx: Context):
            if fails:
                raise Boom("start")

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append("error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            hooks.append("cancel")

    outcome = await settle(Empty, journal=journal)
    assert outcome.status is (RunStatus.FAILED if fails else RunStatus.COMPLETED)
    assert hooks == (["error"] if fails else ["complete"])
    assert (outcome.error is None) is (not fails)


@pytest.mark.rule("C1", "B12")
@pytest.mark.parametrize("fails", [False, True])
async def test_class_without_hooks_ends_cleanly(fails: bool, journal: str) -> None:
    """Without any hook a run completes or fails, its final state in the outcome and nowhere else."""

    class Bare(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("kept", [1])
            if fails:
                raise Boom("bare")
            return "done"

    async with open_runtime([Bare], journal=journal) as runtime:
        run = await runtime.start(Bare)
        if fails:
            with pytest.raises(RunFailed) as caught:
                await run.result()
            assert [failure.step_id for failure in caught.value.failures] == ["start"]
        else:
            assert await run.result() == "done"
        assert (await run.wait()).state == {"kept": [1]}
        with pytest.raises(RunOver):
            await run.state()


@pytest.mark.rule("B12", "C12")
async def test_two_runs_of_one_workflow_share_no_state(journal: str) -> None:
    """A run sees nothing of a finished run of the same workflow, nor of one beside it."""

    class Scoped(Workflow):
        async def start(self, data, ctx: Context):
            seen = await ctx.run_store.snapshot()
            await ctx.run_store.push("mine", data)
            return seen

        async def on_workflow_complete(self, ctx: Context):
            await ctx.run_store.set("total", await ctx.run_store.length("mine"))

    async with open_runtime([Scoped], journal=journal) as runtime:
        assert await runtime.run(Scoped, "first") == {}
        runs = [await runtime.start(Scoped, number) for number in range(5)]
        outcomes = [await run.wait() for run in runs]
    assert [outcome.output for outcome in outcomes] == [{}] * 5
    assert [outcome.state for outcome in outcomes] == [{"mine": [number], "total": 1} for number in range(5)]


KEPT: list[tuple[str, Callable[[Context], Awaitable[object]]]] = [
    ("get", lambda ctx: ctx.run_store.get("n")),
    ("set", lambda ctx: ctx.run_store.set("n", 1)),
    ("push", lambda ctx: ctx.run_store.push("l", 1)),
    ("increment", lambda ctx: ctx.run_store.increment("n")),
    ("delete", lambda ctx: ctx.run_store.delete("n")),
    ("snapshot", lambda ctx: ctx.run_store.snapshot()),
    ("update", lambda ctx: ctx.run_store.update("n", lambda value: value)),
    ("wait_for", lambda ctx: ctx.run_store.wait_for("n", lambda value: value == 99)),
    ("schedule_next_step", lambda ctx: ctx.schedule_next_step("later")),
    ("wait_for_event", lambda ctx: ctx.wait_for_event("never", action="later")),
]


@pytest.mark.rule("B12", "A7")
@pytest.mark.parametrize("use", [use for _, use in KEPT], ids=[name for name, _ in KEPT])
async def test_kept_context_is_dead_after_the_end(use: Callable[[Context], Awaitable[object]]) -> None:
    """A context that outlived its run refuses every verb with `RunOver`, and nothing hangs."""
    kept = []

    class Kept(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("n", 0)
            kept.append(ctx)

        async def later(self, data, ctx: Context):
            kept.append("ran")

    async with open_runtime([Kept]) as runtime:
        await runtime.run(Kept)
        with pytest.raises(RunOver):
            await use(kept[0])
    assert len(kept) == 1


@pytest.mark.rule("B12", "A7")
@pytest.mark.parametrize("verb", ["push_nowait", "increment_nowait", "set_nowait"])
async def test_kept_store_refuses_nowait_verbs_at_the_call(verb: str) -> None:
    """The plain verbs of a store whose run is over raise at the call itself."""
    kept = []

    class Kept(Workflow):
        async def start(self, data, ctx: Context):
            kept.append(ctx.run_store)

    async with open_runtime([Kept]) as runtime:
        await runtime.run(Kept)
        with pytest.raises(RunOver):
            getattr(kept[0], verb)("k", 1)


@pytest.mark.rule("C12", "C13", "C6")
@pytest.mark.parametrize("ending", ["fail", "bail", "cancel"])
async def test_live_steps_are_awaited_before_the_end(ending: str, autojump_clock: MockClock) -> None:
    """However a run ends early, the cleanup of its live steps is over before anybody sees the end."""
    log = []

    class Ending(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("slow")
            await ctx.schedule_next_step("end", delay=1)

        async def slow(self, data, ctx: Context):
            try:
                await trio.sleep_forever()
            finally:
                with trio.CancelScope(shield=True):
                    await trio.sleep(5)
                log.append("cleaned up")

        async def end(self, data, ctx: Context):
            if ending == "fail":
                raise Boom("end")
            if ending == "bail":
                await ctx.bail("early")
            await trio.sleep_forever()

        async def on_workflow_complete(self, ctx: Context):
            log.append("hook")

        async def on_workflow_error(self, error, ctx: Context):
            log.append("hook")

        async def on_workflow_cancel(self, reason, ctx: Context):
            log.append("hook")

    with trio.fail_after(NEVER_S):
        async with open_runtime([Ending]) as runtime:
            run = await runtime.start(Ending)
            if ending == "cancel":
                await trio.sleep(2)
                await run.cancel("enough")
                log.append("over")
            outcome = await run.wait()
            log.append("over")
            await trio.sleep(100)
    statuses = {"fail": RunStatus.FAILED, "bail": RunStatus.COMPLETED, "cancel": RunStatus.CANCELLED}
    assert outcome.status is statuses[ending]
    if ending == "cancel":
        assert sorted(log[:2]) == ["cleaned up", "hook"]
        assert log[2:] == ["over", "over"]
    else:
        assert log == ["cleaned up", "hook", "over"]


@pytest.mark.rule("C13")
async def test_bail_completes_at_once_with_its_output(journal: str) -> None:
    """`bail` cancels live branches, drops pending ones, runs the completion hook and keeps its own output."""
    log = []
    live = trio.Event()

    class Bails(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("pending", delay="1 day")
            await ctx.schedule_next_step("sleeper")
            await ctx.schedule_next_step("quitter")
            return "of start"

        async def pending(self, data, ctx: Context):
            log.append("pending ran")

        async def sleeper(self, data, ctx: Context):
            live.set()
            try:
                await trio.sleep_forever()
            except trio.Cancelled:
                log.append("live cancelled")
                raise

        async def quitter(self, data, ctx: Context):
            await live.wait()
            await ctx.bail({"early": True})
            log.append("went on after bail")

        async def on_workflow_complete(self, ctx: Context):
            log.append("complete")
            return "of hook"

        async def on_workflow_error(self, error, ctx: Context):
            log.append("error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            log.append("cancel")

    async with open_runtime([Bails], journal=journal) as runtime:
        run = await runtime.start(Bails)
        outcome = await run.wait()
        steps = {record.step_id: record.status for record in (await run.describe()).steps}
    assert (outcome.status, outcome.output, outcome.failures) == (RunStatus.COMPLETED, {"early": True}, ())
    assert log == ["live cancelled", "complete"]
    assert StepStatus.PENDING not in steps.values()
    assert StepStatus.RUNNING not in steps.values()


@pytest.mark.rule("C13")
async def test_bail_in_start_ends_the_run() -> None:
    """`bail` works in `start` too, and what `start` scheduled before never runs."""
    log = []

    class BailsEarly(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", delay=10)
            await ctx.bail("nothing to do")

        async def later(self, data, ctx: Context):
            log.append("ran")

    outcome = await settle(BailsEarly)
    assert (outcome.status, outcome.output, log) == (RunStatus.COMPLETED, "nothing to do", [])


@pytest.mark.rule("C13", "A2")
async def test_first_of_two_bails_wins() -> None:
    """Of two branches that bail at the same instant, one decides the output and the hook runs once."""
    gate = trio.Event()
    hooks, order = [], []

    class Rivals(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("quit", ["left", "right"])

        async def quit(self, data, ctx: Context):
            order.append(data)
            if len(order) == 2:
                gate.set()
            await gate.wait()
            await ctx.bail(data)

        async def on_workflow_complete(self, ctx: Context):
            hooks.append("complete")

    outcome = await settle(Rivals)
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.output in {"left", "right"}
    assert hooks == ["complete"]


@pytest.mark.rule("C12", "A3", "C11")
async def test_cancel_reaches_live_and_armed_steps(journal: str) -> None:
    """A cancelled run starts nothing more, ends its live steps, calls one hook with the reason, and is over."""
    log, live = [], []
    all_live = trio.Event()

    class Cancels(Workflow):
        async def start(self, data, ctx: Context):
            if data == "bystander":
                await all_live.wait()
                return data
            await ctx.schedule_many("live", range(20))
            await ctx.schedule_many("armed", range(20), delay="1 hr")
            return None

        async def live(self, data, ctx: Context):
            live.append(data)
            if len(live) == 20:
                all_live.set()
            try:
                await trio.sleep_forever()
            finally:
                live.remove(data)

        async def armed(self, data, ctx: Context):
            log.append("armed ran")

        async def on_workflow_complete(self, ctx: Context):
            if ctx.input != "bystander":
                log.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            log.append("error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            log.append(reason)

    async with open_runtime([Cancels], journal=journal) as runtime:
        other = await runtime.start(Cancels, "bystander")
        run = await runtime.start(Cancels)
        await all_live.wait()
        await run.cancel("no longer needed")
        assert live == []
        assert await run.status() is RunStatus.CANCELLED
        await run.cancel("again")
        with pytest.raises(RunCancelled):
            await run.result()
        outcome = await run.wait()
        assert await other.result() == "bystander"
        assert runtime.statistics().pending_steps == 0
    assert (outcome.status, outcome.output) == (RunStatus.CANCELLED, None)
    assert log == ["no longer needed"]


@pytest.mark.rule("C6")
async def test_error_that_a_step_caught_is_nobodys_business() -> None:
    """A step that catches its own exception has not failed: no error hook, the run completes."""
    hooks = []

    class Catches(Workflow):
        async def start(self, data, ctx: Context):
            try:
                raise Boom("mine")
            except Boom:
                return "handled"

        async def on_workflow_error(self, error, ctx: Context):
            hooks.append(error)

    outcome = await settle(Catches)
    assert (outcome.output, outcome.error, outcome.failures, hooks) == ("handled", None, (), [])


@pytest.mark.rule("C1", "A7")
async def test_every_waiter_gets_the_same_outcome() -> None:
    """Many tasks that wait for one run all get its outcome, and so does whoever asks after the end."""
    gate = trio.Event()
    outcomes = []

    class Awaited(Workflow):
        async def start(self, data, ctx: Context):
            await gate.wait()
            return "same"

    async with open_runtime([Awaited]) as runtime:
        run = await runtime.start(Awaited, run_id="awaited")

        async def wait() -> None:
            outcomes.append(await run.wait())

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(wait)
            await wait_all_tasks_blocked()
            assert outcomes == []
            gate.set()
        outcomes.append(await (await runtime.get_run("awaited")).wait())
        with pytest.raises(RunNotFound):
            await runtime.get_run("somebody else")
    assert [(outcome.run_id, outcome.output) for outcome in outcomes] == [("awaited", "same")] * 11


@pytest.mark.rule("C3")
async def test_context_tells_who_is_running(journal: str) -> None:
    """Every step sees the ids, the headers and the input of its run, and an activation id of its own."""
    seen = []

    class Ids(Workflow):
        id = "ids-of-a-run"

        async def start(self, data, ctx: Context):
            seen.append(ctx)
            await ctx.schedule_many("branch", [1, 2, 3])

        async def branch(self, data, ctx: Context):
            seen.append(ctx)

    async with open_runtime([Ids], journal=journal) as runtime:
        run = await runtime.start(Ids, {"a": 1}, run_id="run-7", headers={"source": "shop"})
        await run.wait()
        assert (run.run_id, run.workflow_id) == ("run-7", "ids-of-a-run")
    assert {(ctx.run_id, ctx.workflow_id, ctx.headers["source"]) for ctx in seen} == {("run-7", "ids-of-a-run", "shop")}
    assert [ctx.step_id for ctx in seen] == ["start", "branch", "branch", "branch"]
    assert [ctx.input for ctx in seen] == [{"a": 1}] * 4
    assert len({ctx.activation_id for ctx in seen}) == 4
    assert {ctx.attempt for ctx in seen} == {1}


@pytest.mark.rule("C1", "B12")
async def test_record_of_a_finished_run_stays(journal: str) -> None:
    """After the end a run can still be described: its status, its output and every step with its end."""

    class Recorded(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("branch", range(3))
            return "out"

        async def branch(self, data, ctx: Context):
            return data * 10

    async with open_runtime([Recorded], journal=journal) as runtime:
        run = await runtime.start(Recorded)
        await run.wait()
        description = await run.describe()
    records = [record for record in description.steps if record.step_id == "branch"]
    assert (description.status, description.error, description.waits) == (RunStatus.COMPLETED, None, ())
    assert sorted(record.output for record in records) == [0, 10, 20]
    assert all(record.scheduled_at <= record.started_at <= record.ended_at for record in records)
    assert all(record.ended_at.utcoffset() is not None for record in records)
    assert description.counts[StepStatus.COMPLETED] == 4

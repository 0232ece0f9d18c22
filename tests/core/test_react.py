"""What follows by itself: starts, gates, time-outs, crashes, the walk to the end."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import fold
from actorflow._core.lifecycle import Ending, Phase, RunStatus, StepStatus
from actorflow._core.plan import RunPlan, StepPlan
from actorflow._core.policies import DRAIN, Limits, Rate, tolerate
from actorflow._core.react import judge, open_gates, pending, wake_at
from actorflow._core.run_state import RunState
from actorflow._core.state_text import dump_state
from actorflow._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR
from tests.core.machine import T0, Machine, check_books, check_fold, check_gates, kinds, plan_of

ALL_HOOKS = frozenset({HOOK_COMPLETE, HOOK_ERROR, HOOK_CANCEL})


def running(**options: Any) -> Machine:
    """A run whose start is live."""
    return Machine(plan_of(**options)).start()


def many(machine: Machine, step: str, count: int, *, delay: float = 0.0) -> list[int]:
    """Schedule `count` steps as one batch; their numbers."""
    first = machine.state.next_n
    machine.do(c.ScheduleMany(1, step, [str(i) for i in range(count)], machine.now + delay))
    return list(range(first, first + count))


def live(machine: Machine) -> list[int]:
    """The live steps except `start`."""
    return [n for n in machine.state.live if n != 1]


# --- places


@pytest.mark.rule("C8")
def test_no_more_steps_are_live_than_the_plan_allows() -> None:
    """A batch is started as places become free, and a parked step gives its place away."""
    machine = running(max_live_steps=3)
    numbers = many(machine, "a", 5)
    assert live(machine) == numbers[:2]
    machine.do(c.FinishStep(numbers[1], "null"))
    assert live(machine) == [numbers[0], numbers[2]]
    machine.state.parked[1] = 1
    machine.settle()
    assert len(machine.state.live) == 4
    machine.do(c.FinishStep(1, "null"))
    assert machine.state.parked == {}
    assert len(machine.state.live) == 3
    check_books(machine)


@pytest.mark.rule("C2", "C8")
def test_a_concurrency_holds_steps_back_and_others_pass_them() -> None:
    """Two of the gated step at once, in order, while other steps start freely."""
    machine = running()
    gated = many(machine, "gated", 4)
    single = machine.schedule("gated")
    free = machine.schedule("a")
    assert live(machine) == [*gated[:2], free]
    order = []
    while len(machine.state.live) > 2:
        n = next(n for n in live(machine) if n != free)
        order.append(n)
        machine.do(c.FinishStep(n, "null"))
        check_books(machine)
    assert order == [*gated, single]


@pytest.mark.rule("C2")
def test_a_held_step_that_is_taken_back_is_passed_over() -> None:
    """The next one starts in its place."""
    machine = running()
    many(machine, "gated", 2)
    third, fourth = machine.schedule("gated"), machine.schedule("gated")
    assert machine.tell(c.Unschedule(third)) is True
    machine.do(c.FinishStep(2, "null"))
    assert fourth in machine.state.live


def test_a_gate_counts_those_who_were_live_before_it_was_made() -> None:
    """A state that was folded without gates gets them when it goes on, and they are true."""
    machine = running()
    numbers = many(machine, "gated", 3)
    other = Machine(machine.plan, fold(RunState("run"), machine.facts), machine.now)
    other.account.where = dict(machine.account.where)
    other.settle()
    assert live(other) == numbers[:2]
    other.do(c.InterruptStep(numbers[0], True))
    assert len(live(other)) == 2
    check_books(other)


def test_a_held_batch_that_the_end_dropped_is_gone() -> None:
    """Nothing held is started after the run has begun to stop."""
    machine = running()
    many(machine, "gated", 4)
    many(machine, "gated", 2)
    machine.do(c.CancelRun("r"))
    for n in list(machine.state.live):
        machine.do(c.DropStep(n))
    assert machine.state.phase is Phase.OVER
    assert machine.starts() == [1, 2, 3]
    assert machine.state.counts[StepStatus.CANCELLED] == 7


@pytest.mark.rule("C2", "D7")
def test_a_rate_spaces_the_starts() -> None:
    """Two starts in four seconds, then the next two; `wake_at` says when."""
    machine = running()
    numbers = many(machine, "rated", 5)
    assert live(machine) == numbers[:2]
    assert wake_at(machine.state, machine.plan) == T0 + 4
    assert machine.do(c.Tick(), after=3.5) == []
    assert kinds(machine.do(c.Tick(), after=0.5)) == ["StepStarted"] * 2
    assert wake_at(machine.state, machine.plan) == T0 + 8
    machine.do(c.Tick(), after=4)
    assert live(machine) == numbers
    assert wake_at(machine.state, machine.plan) == 0.0


@settings(deadline=None)
@given(
    st.integers(1, 3), st.sampled_from([0.5, 1.0, 3.0]), st.lists(st.sampled_from([0.0, 0.25, 1.0, 2.5]), max_size=15)
)
def test_no_window_has_more_starts_than_its_rate(count: int, per: float, pauses: list[float]) -> None:
    """Whenever the steps come: among any `count` + 1 starts, the last is at least `per` after the first."""
    steps = {"start": StepPlan(step_id="start"), "r": StepPlan(step_id="r", rate=Rate(count, per=per))}
    machine = Machine(RunPlan(workflow_id="w", steps=steps)).start()
    for pause in pauses:
        machine.schedule("r", delay=pause)
        machine.do(c.Tick(), after=pause)
    while due := wake_at(machine.state, machine.plan):
        machine.now = max(machine.now, due)
        machine.do(c.Tick())
    at = [fact.at for fact in machine.facts if isinstance(fact, f.StepStarted) and fact.n > 1]
    assert len(at) == len(pauses)
    assert all(later - earlier >= per for earlier, later in zip(at, at[count:], strict=False))


@pytest.mark.rule("D7")
@pytest.mark.parametrize("per", [0.1, 0.3, 1.1])
def test_a_rate_opens_at_the_time_that_it_said(per: float) -> None:
    """At `wake_at` there is something to do, whatever the floats: nobody would ask a second time."""
    steps = {"start": StepPlan(step_id="start"), "r": StepPlan(step_id="r", rate=Rate(1, per=per))}
    machine = Machine(RunPlan(workflow_id="w", steps=steps), now=1_700_000_000.123456).start()
    many(machine, "r", 2)
    machine.now = wake_at(machine.state, machine.plan)
    assert kinds(machine.do(c.Tick())) == ["StepStarted"]


@pytest.mark.rule("F3", "F4")
def test_a_rate_holds_over_a_crash() -> None:
    """A run that is folded from its facts keeps the pace that it kept."""
    machine = running()
    many(machine, "rated", 5)
    for n in pending(machine.state):
        machine.tell(c.InterruptStep(n, True))
    folded = fold(open_gates(RunState("run"), machine.plan), machine.facts)
    assert dump_state(folded) == dump_state(machine.state)


def test_a_concurrency_remembers_no_starts() -> None:
    """A gate without a rate has no use for them: a million branches would leave a million times behind."""
    machine = running()
    for _ in range(50):
        machine.do(c.FinishStep(machine.schedule("gated"), "null"))
    assert len(machine.state.gates["gated"].starts) <= 2


@pytest.mark.rule("C2", "C8")
def test_bounds_that_are_met_make_nobody_wake_at_a_moment_that_has_passed() -> None:
    """What waits for the end of a live step, or for a place, is not waited for by time: that would spin."""
    full = running(max_live_steps=1)
    full.schedule("a", delay=1)
    assert wake_at(full.state, full.plan) == 0.0
    gated = running()
    first, second = many(gated, "both", 2)
    assert live(gated) == [first]
    assert wake_at(gated.state, gated.plan) == 0.0
    gated.do(c.FinishStep(first, "null"))
    assert wake_at(gated.state, gated.plan) == T0 + 2
    assert kinds(gated.do(c.Tick(), after=2)) == ["StepStarted"]
    assert second in gated.state.live
    hook = running(hooks=ALL_HOOKS)
    hook.do(c.FinishStep(1, "null"))
    loaded = hook.copy()
    loaded.do(c.InterruptStep(hook.state.hook, True), after=5)
    assert loaded.state.phase is Phase.HOOK
    assert wake_at(loaded.state, loaded.plan) == 0.0


def new_plan(**steps: StepPlan) -> RunPlan:
    """A plan of `start` and these steps."""
    return RunPlan(workflow_id="w", steps={"start": StepPlan(step_id="start"), **steps})


@pytest.mark.rule("F9")
def test_a_gate_of_a_step_that_is_gone_stands_in_nobodys_way() -> None:
    """The snapshot of an older workflow knows bounds of a step that the new one does not have."""
    old = Machine(new_plan(r=StepPlan(step_id="r", rate=Rate(1, per=2.0)), a=StepPlan(step_id="a"))).start()
    old.do(c.FinishStep(old.schedule("r"), "null"))
    new = Machine(new_plan(a=StepPlan(step_id="a")), old.copy().state, old.now)
    new.account.where = dict(old.account.where)
    n = new.schedule("a")
    assert n in new.state.live
    assert wake_at(new.state, new.plan) == 0.0
    check_books(new)


@pytest.mark.rule("F9", "C5")
@pytest.mark.parametrize(
    ("before", "after"), [(Rate(2, per=4.0), Rate(3, per=4.0)), (Rate(3, per=4.0), Rate(1, per=4.0))]
)
def test_a_rate_that_was_changed_holds_after_a_snapshot(before: Rate, after: Rate) -> None:
    """The new bound is kept, wider or narrower, by the starts that are known."""
    old = Machine(new_plan(r=StepPlan(step_id="r", rate=before))).start()
    many(old, "r", before.count)
    new = Machine(new_plan(r=StepPlan(step_id="r", rate=after)), old.copy().state, old.now + 1)
    new.account.where = dict(old.account.where)
    count = len(new.facts)
    numbers = many(new, "r", 5)
    started = [n for n in new.starts() if n in numbers]
    assert len(started) == max(0, after.count - before.count)
    assert len(new.facts) > count
    new.do(c.Tick(), after=wake_at(new.state, new.plan) - new.now)
    assert len([n for n in new.starts() if n in numbers]) > len(started)
    check_gates(new)


@pytest.mark.rule("C5")
def test_two_steps_of_one_step_id_that_crashed_too_often_fail_together() -> None:
    """Without a gate: under DRAIN each fails and the line moves on."""
    machine = running(join=DRAIN, limits=Limits(crashes_per_step=1))
    first, second = machine.schedule("a"), machine.schedule("a")
    machine.tell(c.InterruptStep(first, True))
    machine.tell(c.InterruptStep(second, True))
    free = machine.schedule("a")
    assert machine.state.failures == [first, second]
    assert live(machine) == [free]
    check_books(machine)


# --- waits


@pytest.mark.rule("D6", "C6")
@pytest.mark.parametrize("join", [DRAIN, tolerate(count=1)])
def test_a_wait_that_times_out_fails_or_runs_its_other_step(join: Any) -> None:
    """Without `on_timeout` the step has failed with `StepTimeout`; with it, that step runs without an event."""
    machine = running(join=join)
    alone = machine.tell(c.OpenWait(1, "a", '"p"', "e", T0 + 2, ""))
    other = machine.tell(c.OpenWait(1, "a", '"p"', "e", T0 + 3, "gated"))
    assert wake_at(machine.state, machine.plan) == T0 + 2
    assert machine.do(c.Tick(), after=1.5) == []
    assert kinds(machine.do(c.Tick(), after=0.5)) == ["WaitTimedOut", "StepFailed"]
    assert machine.state.done[alone][2:7] == (
        "failed",
        0,
        "null",
        "StepTimeout",
        "no event 'e' came within 2 s",
    )  # type: ignore[index]  # the number is the reply
    assert kinds(machine.do(c.Tick(), after=5)) == ["WaitTimedOut", "StepStarted"]
    activation = machine.state.live[other]  # type: ignore[index]  # the number is the reply
    assert (activation.step, activation.payload, activation.event) == ("gated", '"p"', None)
    assert machine.state.waits == {}
    check_fold(machine)


@pytest.mark.rule("C6", "D6")
def test_a_time_out_is_a_failure_like_any_other() -> None:
    """Under ALL it stops the run, and nothing that is due behind it starts."""
    machine = running()
    machine.tell(c.OpenWait(1, "a", "1", "e", T0 + 2, ""))
    machine.schedule("a", delay=3)
    assert kinds(machine.do(c.Tick(), after=9)) == ["WaitTimedOut", "StepFailed", "RunStopping"]
    assert kinds(machine.do(c.DropStep(1))) == ["StepCancelled", "RunEnded"]
    assert machine.state.status is RunStatus.FAILED


@pytest.mark.rule("C2", "D6", "F3")
def test_a_time_out_stands_where_its_deadline_puts_it() -> None:
    """It was due before what fell due while nobody looked, and folding it does not stumble over its old entry."""
    machine = running(max_live_steps=2)
    machine.tell(c.OpenWait(1, "a", "1", "e", T0 + 2, "a"))
    machine.schedule("a", delay=3)
    machine.schedule("a", delay=4)
    facts = machine.do(c.Tick(), after=9)
    assert kinds(facts) == ["WaitTimedOut", "StepStarted"]
    assert machine.state.live[2].due == T0 + 2
    check_fold(machine)
    fold(
        open_gates(RunState("run"), machine.plan),
        [
            f.RunStarted(T0, "w", "", "", "null", "{}", "", "", ""),
            f.WaitOpened(T0, 1, "a", "1", "e", T0 + 2, "a", 0),
            f.StepScheduled(T0 + 3, 2, "a", "1", T0 + 3, 0, ""),
            f.WaitTimedOut(T0 + 3, 1),
        ],
    )


# --- crashes


@pytest.mark.rule("C5")
def test_a_step_that_was_live_at_too_many_deaths_fails() -> None:
    """A crash is no attempt, but not for ever; only crashes count."""
    machine = running(join=DRAIN, limits=Limits(crashes_per_step=2))
    n = machine.schedule("a")
    machine.do(c.InterruptStep(n, False))
    machine.do(c.InterruptStep(n, True))
    assert machine.state.live[n].attempt == 1
    assert kinds(machine.do(c.InterruptStep(n, True))) == ["StepInterrupted", "StepFailed"]
    assert machine.state.done[n][2:7] == (
        "failed",
        1,
        "null",
        "Crashed",
        "its process died 2 times while it ran",
    )
    check_books(machine)


@pytest.mark.rule("C5")
@pytest.mark.parametrize("join", [DRAIN, tolerate(count=9)])
def test_a_held_step_that_crashed_too_often_gives_way(join: Any) -> None:
    """It takes no place behind its gate either: those behind it start."""
    machine = running(join=join, limits=Limits(crashes_per_step=1))
    numbers = many(machine, "gated", 5)
    machine.do(c.InterruptStep(numbers[0], True))
    assert live(machine) == [numbers[1], numbers[2]]
    for n in numbers[1:]:
        machine.do(c.FinishStep(n, "null"))
    assert machine.state.failures == [numbers[0]]
    check_books(machine)


@pytest.mark.rule("C5", "C6")
def test_a_held_step_that_crashed_too_often_stops_the_run() -> None:
    """Under ALL, while others wait behind the same gate."""
    machine = running(limits=Limits(crashes_per_step=1))
    numbers = many(machine, "gated", 5)
    machine.do(c.InterruptStep(numbers[0], True))
    for n in numbers[1:]:
        machine.do(c.FinishStep(n, "null"))
    assert machine.state.failures == numbers[:1]
    assert machine.state.ending is Ending.FAIL
    for n in list(machine.state.live):
        machine.do(c.DropStep(n))
    assert machine.state.status is RunStatus.FAILED


@pytest.mark.rule("C5", "C6")
def test_a_step_that_crashed_too_often_stops_the_run() -> None:
    """Under ALL, the failure by crash ends the run like any other failure."""
    machine = running(limits=Limits(crashes_per_step=1))
    assert kinds(machine.do(c.InterruptStep(1, True))) == ["StepInterrupted", "StepFailed", "RunStopping", "RunEnded"]


@pytest.mark.rule("C11", "C5")
def test_a_hook_that_was_live_at_too_many_deaths_is_given_up() -> None:
    """It runs again after a crash, up to the limit; the status is what it was."""
    machine = running(hooks=ALL_HOOKS, limits=Limits(crashes_per_step=2))
    machine.do(c.FinishStep(1, '"out"'))
    hook = machine.state.hook
    assert kinds(machine.do(c.InterruptStep(hook, True))) == ["StepInterrupted", "StepStarted"]
    assert kinds(machine.do(c.InterruptStep(hook, True))) == ["StepInterrupted", "HookEnded", "RunEnded"]
    state = machine.state
    assert (state.status, state.output) == (RunStatus.COMPLETED, '"out"')
    assert state.hook_error == ("Crashed", "its process died 2 times while it ran")
    check_fold(machine)


# --- the end


@pytest.mark.rule("C11", "C1")
@pytest.mark.parametrize(
    ("end", "hook", "status", "ending", "output"),
    [
        (c.FinishStep(1, '"out"'), HOOK_COMPLETE, RunStatus.COMPLETED, Ending.COMPLETE, '"hook"'),
        (c.Bail(1, '"bail"'), HOOK_COMPLETE, RunStatus.COMPLETED, Ending.BAIL, '"bail"'),
        (c.FailStep(1, "E", "", False, 0.5), HOOK_ERROR, RunStatus.FAILED, Ending.FAIL, "null"),
        (c.CancelRun("why"), HOOK_CANCEL, RunStatus.CANCELLED, Ending.CANCEL, "null"),
    ],
)
@pytest.mark.parametrize("hooks", [ALL_HOOKS, frozenset()])
def test_each_ending_runs_its_hook_once_and_keeps_its_status(
    end: c.Command, hook: str, status: RunStatus, ending: Ending, output: str, hooks: frozenset[str]
) -> None:
    """Only the completion hook of a run that completed by itself gives it another output."""
    machine = running(hooks=hooks)
    machine.do(end)
    machine.do(c.DropStep(1))
    state = machine.state
    assert state.ending is ending
    if hooks:
        assert (state.phase, state.live[state.hook].step) == (Phase.HOOK, hook)
        machine.do(c.FinishHook(state.hook, '"hook"'))
        assert state.output == output
    assert (state.phase, state.status, state.ended_at) == (Phase.OVER, status, T0)
    assert state.reason == ("why" if ending is Ending.CANCEL else "")
    assert kinds(machine.facts).count("HookScheduled") == (1 if hooks else 0)
    assert machine.settle() == []
    check_fold(machine)


@pytest.mark.rule("C11")
@pytest.mark.parametrize("end", ["raises", "dropped", "silent"])
def test_a_hook_never_changes_the_status(end: str) -> None:
    """One that raises is recorded, one that returns nothing leaves the output."""
    machine = running(hooks=ALL_HOOKS)
    machine.do(c.FinishStep(1, '"out"'))
    hook = machine.state.hook
    commands: dict[str, c.Command] = {
        "raises": c.FinishHook(hook, "", "E", "text"),
        "dropped": c.DropStep(hook),
        "silent": c.FinishHook(hook, ""),
    }
    assert kinds(machine.do(commands[end])) == ["HookEnded", "RunEnded"]
    assert (machine.state.status, machine.state.output) == (RunStatus.COMPLETED, '"out"')
    expected = {"raises": ("E", "text"), "dropped": ("Cancelled", "the hook was cancelled"), "silent": None}
    assert machine.state.hook_error == expected[end]


@pytest.mark.rule("C12", "C6")
def test_a_failing_run_waits_for_its_live_steps_before_it_ends() -> None:
    """The first failure stops the starts, each live step is awaited, then the hook runs, once, for all failures."""
    machine = running(hooks=ALL_HOOKS)
    numbers = many(machine, "a", 3)
    many(machine, "a", 2, delay=9)
    fail = [c.FailStep(n, "E", "", False, 0.5) for n in numbers]
    assert kinds(machine.do(fail[0])) == ["StepFailed", "RunStopping"]
    assert kinds(machine.do(fail[1])) == ["StepFailed"]
    assert machine.do(c.Tick(), after=100) == []
    assert kinds(machine.do(c.FinishStep(numbers[2], "null"))) == ["StepCompleted"]
    assert kinds(machine.do(c.DropStep(1))) == ["StepCancelled", "HookScheduled", "StepStarted"]
    assert machine.state.failures == numbers[:2]
    machine.do(c.FinishHook(machine.state.hook, ""))
    assert machine.state.status is RunStatus.FAILED


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    ("join", "failed", "done", "start_fails", "ending"),
    [
        (DRAIN, 0, 3, False, Ending.COMPLETE),
        (DRAIN, 1, 3, False, Ending.FAIL),
        (tolerate(count=1), 1, 0, False, Ending.COMPLETE),
        (tolerate(count=1), 2, 9, False, Ending.FAIL),
        (tolerate(fraction=0.5), 2, 2, False, Ending.COMPLETE),
        (tolerate(fraction=0.5), 2, 1, False, Ending.FAIL),
        (tolerate(fraction=1), 3, 0, False, Ending.COMPLETE),
        (tolerate(fraction=1), 0, 3, True, Ending.FAIL),
    ],
)
def test_a_run_is_judged_when_all_is_known(
    join: Any, failed: int, done: int, start_fails: bool, ending: Ending
) -> None:
    """`start` counts for nothing and is never tolerated; cancelled steps count for nothing either."""
    machine = running(join=join)
    numbers = many(machine, "a", failed + done)
    cancelled = machine.schedule("a", delay=5)
    machine.tell(c.Unschedule(cancelled))
    machine.do(c.FailStep(1, "E", "", False, 0.5) if start_fails else c.FinishStep(1, '"out"'))
    for n in numbers[:failed]:
        machine.do(c.FailStep(n, "E", "", False, 0.5))
    for n in numbers[failed:]:
        machine.do(c.FinishStep(n, "null"))
    assert (judge(machine.state, machine.plan), machine.state.ending) == (ending, ending)
    assert machine.state.phase is Phase.OVER
    assert machine.state.output == ('"out"' if ending is Ending.COMPLETE else "null")


@pytest.mark.rule("C9", "C1")
@pytest.mark.parametrize("count", [0, 1, 2, 1000])
def test_a_run_ends_once_after_its_last_branch(count: int) -> None:
    """Never early, whatever the number of branches."""
    machine = running()
    numbers = many(machine, "a", count)
    machine.do(c.FinishStep(1, "null"))
    for n in reversed(numbers):
        assert machine.state.phase is Phase.OPEN
        machine.do(c.FinishStep(n, "null"))
    assert machine.state.phase is Phase.OVER
    assert kinds(machine.facts).count("RunEnded") == 1


@pytest.mark.rule("C2", "F4")
@pytest.mark.parametrize("step", ["a", "rated"])
@pytest.mark.parametrize("delay", [0.0, 1.0])
@pytest.mark.parametrize("through_text", [False, True])
def test_the_first_of_a_batch_that_was_cut_off_stands_before_the_rest(
    step: str, delay: float, through_text: bool
) -> None:
    """It goes by the same number and the same due time as its batch, in every queue, and is told apart from it."""
    machine = running(max_live_steps=2)
    numbers = many(machine, step, 3, delay=delay)
    others = many(machine, step, 2, delay=delay)
    machine.do(c.Tick(), after=delay)
    assert live(machine) == numbers[:1]
    machine.tell(c.InterruptStep(numbers[0], True))
    machine = machine.copy() if through_text else machine
    machine.settle()
    started = []
    while len(started) < 5:
        assert len(live(machine)) <= 1
        for n in live(machine):
            started.append(n)
            machine.do(c.FinishStep(n, "null"))
        check_books(machine)
        machine.do(c.Tick(), after=4)
    assert started == [*numbers, *others]

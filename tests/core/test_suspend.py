"""Suspension: of a step, and of the run that has nothing else to do."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.lifecycle import Phase, RunStatus, StepStatus
from actorflow._core.plan import NodeKind
from actorflow._core.policies import first
from actorflow._core.react import wake_at
from actorflow._core.state_text import dump_state, load_state
from actorflow.errors import NotSuspended
from tests.core.machine import T0, Machine, chain_plan, check_books, check_fold, kinds, link, plan_of


def running(**options: Any) -> Machine:
    """A run whose start is live."""
    return Machine(plan_of(**options)).start()


def asks(machine: Machine, n: int, label: str = "") -> list[f.Fact]:
    """Step `n` suspends itself until it gets an answer."""
    return machine.do(c.SuspendStep(n, 0, label, '{"why":1}'))


def answer(machine: Machine, n: int, data: str = '"yes"') -> list[f.Fact]:
    """Whoever resumes step `n`."""
    asked = machine.state.suspended.get(n)
    return machine.do(c.ResumeStep(n, data, 0 if asked is None else asked.wakes))


@pytest.mark.rule("D5")
def test_an_answer_to_an_earlier_question_is_not_one_to_the_next() -> None:
    """Whoever looked at the first question comes too late when the step has asked again."""
    machine = running()
    asks(machine, 1, "first")
    answer(machine, 1)
    asks(machine, 1, "second")
    with pytest.raises(NotSuspended):
        machine.do(c.ResumeStep(1, '"late"', 0))
    answer(machine, 1, '"right"')
    assert machine.state.live[1].status is StepStatus.RUNNING


@pytest.mark.rule("D1", "D2", "D4")
def test_a_suspended_step_runs_again_with_its_answers() -> None:
    """From its first line, with every answer so far and what it had done; a suspended pass is no attempt."""
    machine = running()
    machine.do(c.Operate(1, "push", "l", "1"))
    assert kinds(asks(machine, 1, "money")) == ["StepSuspended", "RunSuspended"]
    state = machine.state
    item = state.suspended[1]
    assert (item.status, item.label, item.note, item.call) == (StepStatus.SUSPENDED, "money", '{"why":1}', 0)
    assert (state.status, state.open_steps, state.live, state.armed) == (RunStatus.SUSPENDED, 1, {}, {})
    assert kinds(answer(machine, 1)) == ["StepResumed", "StepStarted", "RunWoken"]
    assert item is state.live[1]
    assert (item.attempt, item.answers, item.label, item.note, item.leg) == (1, ['"yes"'], "", "null", 1)
    machine.do(c.Operate(1, "push", "l", "2"))
    asks(machine, 1)
    answer(machine, 1, "2")
    assert (item.attempt, item.answers, item.leg) == (1, ['"yes"', "2"], 2)
    assert kinds(machine.finish(1, "out")) == ["StepCompleted", "RunStopping", "RunEnded"]
    assert state.output == '"out"'
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("D5")
@pytest.mark.parametrize("when", ["live", "never", "twice", "called", "ending"])
def test_only_a_suspended_step_is_resumed(when: str) -> None:
    """`NotSuspended` for one that is live, unknown or resumed already, that waits for a child, or whose run ends."""
    machine = running()
    n = machine.schedule("a")
    if when == "twice":
        asks(machine, n)
        answer(machine, n)
    elif when == "called":
        call = machine.tell(c.StartChild(n, "W", "null", lambda values: None))
        assert isinstance(call, int)
        machine.do(c.ReportChild(call, RunStatus.SUSPENDED))
        machine.do(c.SuspendStep(n, call))
    elif when == "ending":
        asks(machine, n)
        machine.do(c.CancelRun("stop"))
    number = 99 if when == "never" else n
    count = len(machine.facts)
    with pytest.raises(NotSuspended, match=f"activation {number} of run 'run'") as caught:
        answer(machine, number)
    assert caught.value.run_id == "run"
    assert len(machine.facts) == count


@pytest.mark.rule("D1")
def test_a_run_with_something_live_or_due_is_not_suspended() -> None:
    """Timers and waits beside a suspended step do not keep a run awake; a live step, or one that is due, does."""
    machine = running(max_live_steps=2)
    asked, timer = machine.schedule("a"), machine.schedule("a", delay=5)
    machine.tell(c.OpenWait(1, "a", "null", "e", T0 + 60, ""))
    assert kinds(asks(machine, asked)) == ["StepSuspended"]
    assert kinds(machine.finish(1)) == ["StepCompleted", "RunSuspended"]
    assert wake_at(machine.state, machine.plan) == T0 + 5
    assert kinds(machine.do(c.Tick(), after=5)) == ["StepStarted", "RunWoken"]
    assert kinds(machine.finish(timer)) == ["StepCompleted", "RunSuspended"]
    assert kinds(machine.do(c.SendEvent("e", "1"))) == ["EventReceived", "StepStarted", "RunWoken"]
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("D1")
def test_with_timers_and_waits_alone_a_run_is_running() -> None:
    """It is suspended only if a step is."""
    machine = running()
    machine.schedule("a", delay=5)
    machine.tell(c.OpenWait(1, "a", "null", "e", 0.0, ""))
    assert kinds(machine.finish(1)) == ["StepCompleted"]
    assert machine.state.status is RunStatus.RUNNING


@pytest.mark.rule("D1")
def test_a_step_held_by_its_rate_keeps_the_run_awake() -> None:
    """It is due: only its rate keeps it back."""
    machine = running()
    asked, first_one, second, held = (machine.schedule(step) for step in ("a", "rated", "rated", "rated"))
    for n in (first_one, second, 1):
        machine.finish(n)
    assert kinds(asks(machine, asked)) == ["StepSuspended"]
    machine.do(c.Tick(), after=4)
    assert kinds(machine.finish(held)) == ["StepCompleted", "RunSuspended"]
    check_books(machine)


@pytest.mark.rule("D3")
def test_branches_suspend_and_resume_in_any_order() -> None:
    """Each by itself, while its siblings run, are suspended, or are done."""
    machine = running()
    numbers = [machine.schedule("a") for _ in range(3)]
    machine.finish(1)
    for n in numbers:
        asks(machine, n)
    assert machine.state.status is RunStatus.SUSPENDED
    for n in reversed(numbers):
        assert kinds(answer(machine, n)) == ["StepResumed", "StepStarted", "RunWoken"]
        ended = kinds(machine.finish(n))
        assert ended == ["StepCompleted", *(["RunSuspended"] if n != numbers[0] else ["RunStopping", "RunEnded"])]
    assert machine.starts().count(numbers[0]) == 2
    check_fold(machine)


@pytest.mark.rule("D2", "A8")
@pytest.mark.parametrize("end", [c.CancelRun("stop"), c.Bail(0, '"out"')])
def test_the_end_of_a_run_drops_what_is_suspended(end: c.Command) -> None:
    """A suspended step is cancelled with its run, which is running until it is over."""
    machine = running()
    n = machine.schedule("a", key="k")
    machine.finish(1)
    asks(machine, n)
    assert machine.state.keys == {"k": n}
    assert kinds(machine.do(end)) == ["RunStopping", "RunEnded"]
    assert machine.state.done[n][2] == "cancelled"
    assert (machine.state.keys, machine.state.suspended) == ({}, {})
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("C6", "D2")
def test_a_failure_drops_what_is_suspended() -> None:
    """Under ALL the run fails at once; nobody can resume it any more."""
    machine = running()
    n = machine.schedule("a")
    asks(machine, n)
    assert kinds(machine.fail(1)) == ["StepFailed", "RunStopping", "RunEnded"]
    assert machine.state.done[n][2] == "cancelled"


@pytest.mark.rule("C12")
def test_a_pass_that_would_suspend_while_its_run_ends_is_cancelled() -> None:
    """There is nobody left to answer it; and a second report about the same pass decides to nothing."""
    machine = running()
    n = machine.schedule("a")
    machine.do(c.CancelRun("stop"))
    assert kinds(asks(machine, n)) == ["StepCancelled"]
    assert asks(machine, n) == []
    assert kinds(asks(machine, 1)) == ["StepCancelled", "RunEnded"]


@pytest.mark.rule("D5", "C5")
def test_neither_a_suspension_nor_a_crash_uses_up_an_attempt() -> None:
    """Three attempts are three failures, whatever lies between them."""
    machine = running()
    n = machine.schedule("tough")
    for failures in (1, 2):
        asks(machine, n)
        answer(machine, n)
        machine.do(c.InterruptStep(n, True))
        machine.fail(n, retryable=True)
        machine.do(c.Tick(), after=5)
        assert machine.state.live[n].attempt == failures + 1
    asks(machine, n)
    assert machine.state.suspended[n].interrupted is False
    answer(machine, n)
    assert machine.state.live[n].attempt == 3
    assert kinds(machine.fail(n, retryable=True)) == ["StepFailed", "RunStopping"]
    assert machine.state.live[1].answers is None
    check_fold(machine)


@pytest.mark.rule("D2")
def test_a_suspension_survives_as_text() -> None:
    """Labels, payloads, answers and the place of the last resume."""
    machine = running()
    n = machine.schedule("a")
    machine.do(c.Operate(n, "push", "l", "1"))
    asks(machine, n, "x")
    answer(machine, n, "1")
    machine.do(c.Operate(n, "push", "l", "2"))
    asks(machine, n, "é")
    other = machine.copy()
    found = other.state.suspended[n]
    assert (found.label, found.note, found.answers, found.leg) == ("é", '{"why":1}', ["1"], 1)
    assert answer(other, n) == answer(machine, n)
    assert other.state.live[n].answers == ["1", '"yes"']
    check_books(other)


@pytest.mark.rule("D5")
def test_a_suspended_element_holds_no_place() -> None:
    """Neither of the concurrency of its foreach, nor of that of its step."""
    machine = Machine(chain_plan(link(NodeKind.FOREACH, "a", concurrency=1))).start([1, 2, 3])
    assert list(machine.state.live) == [1]
    assert kinds(asks(machine, 1)) == ["StepSuspended", "StepStarted"]
    machine.finish(2)
    assert kinds(asks(machine, 3)) == ["StepSuspended", "RunSuspended"]
    check_books(machine)
    for n in (3, 1):
        answer(machine, n)
        assert list(machine.state.live) == [n]
        machine.finish(n, n)
    assert machine.state.output == "[1,null,3]"
    check_fold(machine)


@pytest.mark.rule("D2", "C9")
def test_a_decided_join_drops_its_suspended_members() -> None:
    """The run wakes and goes on behind the group; what was suspended can no longer be resumed."""
    chain = (link(NodeKind.PARALLEL, "a", "tough", join=first(1)), link(NodeKind.STEP, "both"))
    machine = Machine(chain_plan(*chain)).start()
    asks(machine, 1)
    asks(machine, 2)
    answer(machine, 2)
    assert kinds(machine.finish(2, "b")) == ["StepCompleted", "GroupClosed", "NodeEntered", "StepStarted"]
    assert machine.state.done[1][2] == "cancelled"
    assert machine.state.status is RunStatus.RUNNING
    with pytest.raises(NotSuspended):
        answer(machine, 1)
    machine.finish("both", "end")
    assert (machine.state.phase, machine.state.output) == (Phase.OVER, '"end"')
    check_fold(machine)


@pytest.mark.rule("D2")
def test_a_run_whose_join_was_decided_while_it_slept_wakes() -> None:
    """A timer beside a suspended member decides the join: the run is suspended no more."""
    chain = (link(NodeKind.PARALLEL, "a", "tough", join=first(1)), link(NodeKind.STEP, "both"))
    machine = Machine(chain_plan(*chain)).start()
    asks(machine, 1)
    machine.fail(2, retryable=True)
    assert machine.state.status is RunStatus.SUSPENDED
    assert kinds(machine.do(c.Tick(), after=1)) == ["StepStarted", "RunWoken"]
    machine.finish(2)
    check_books(machine)


def test_the_log_of_a_step_survives_as_text_whatever_it_did() -> None:
    """Arguments that are tuples are tuples again: a second pass recognises them by that."""
    machine = running()
    machine.do(c.Operate(1, "extend", "l", ("1", "2")))
    machine.do(c.Operate(1, "compare_and_set", "k", ("", "3")))
    machine.do(c.Transact(1, [("extend", "l", ("4",)), ("set", "s", "5")]))
    loaded = load_state("run", dump_state(machine.state))
    assert loaded.live[1].log == machine.state.live[1].log

"""Child runs, as their parent sees them and as they begin: calls, news, changes that come back, guests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs
import pytest

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import apply
from actorflow._core.apply_child import inherited
from actorflow._core.commands import NO_MARK
from actorflow._core.lifecycle import Phase, RunStatus
from actorflow._core.perform import perform
from actorflow._core.plan import NodeKind
from actorflow._core.policies import DRAIN, Limits, first
from actorflow._core.run_state import RunState
from actorflow._core.state_text import dump_state, load_state
from actorflow._core.store_state import Value, value_of
from actorflow._ids import activation_id, child_id, guest, guest_call, guest_legs
from actorflow.errors import InputError, LostUpdate, RunOver
from tests.core.machine import START_RUN, T0, Machine, chain_plan, check_books, check_fold, kinds, link, plan_of

OVER = [RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED]


def running(**options: Any) -> Machine:
    """A run whose start is live."""
    return Machine(plan_of(**options)).start()


def call(machine: Machine, by: int = 1, *, workflow: str = "Child", data: str = "null") -> int:
    """Step `by` calls a child; the number of the call."""
    n = machine.tell(c.StartChild(by, workflow, data, lambda values: None))
    assert isinstance(n, int)
    machine.settle()
    return n


def news(machine: Machine, n: int, status: RunStatus, *operations: Any, output: str = "null") -> list[f.Fact]:
    """What the child of call `n` tells."""
    return machine.do(c.ReportChild(n, status, output, "E", "text", list(operations)))


def shown(machine: Machine) -> dict[str, object]:
    """The store as JSON values."""
    return {key: json.loads(json.dumps(value_of(value))) for key, value in machine.state.store.values.items()}


# --- calling


@pytest.mark.rule("E1", "C1")
def test_a_call_counts_as_open_and_has_a_number_of_its_own() -> None:
    """Its number is that of no step; what is prepared sees the store as it is at that moment, and is kept."""
    machine = running()
    machine.do(c.Operate(1, "set", "k", "7"))
    seen: list[dict[str, Value]] = []

    def prepare(values: Mapping[str, Value]) -> str:
        seen.append(dict(values))
        return "ready"

    command = c.StartChild(1, "Child", '{"x":1}', prepare)
    assert kinds(machine.do(command)) == ["ChildStarted"]
    assert (seen, command.prepared) == ([{"k": 7}], "ready")
    state = machine.state
    assert attrs.astuple(state.calls[2])[:4] == (2, 1, "Child", RunStatus.RUNNING)
    assert (state.next_n, state.open_steps, state.open_calls, state.running_calls) == (3, 2, 1, 1)
    assert state.live[1].log == [("set", "k", "7", None), ("child", "Child", '{"x":1}', 2)]
    machine.finish(1, "out")
    assert state.phase is Phase.OPEN, "the child is not over"
    assert kinds(news(machine, 2, RunStatus.COMPLETED)) == ["ChildEnded", "RunStopping", "RunEnded"]
    assert (state.output, state.calls) == ('"out"', {})
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("E1")
def test_a_child_that_cannot_begin_is_refused_to_its_caller() -> None:
    """Whatever `prepare` raises: nothing is recorded."""
    machine = running()

    def refuse(values: object) -> object:
        raise InputError("does not fit")

    count = len(machine.facts)
    with pytest.raises(InputError, match="does not fit"):
        machine.tell(c.StartChild(1, "Child", "null", refuse))
    assert (len(machine.facts), machine.state.calls) == (count, {})


@pytest.mark.rule("A8")
def test_a_run_that_is_ending_calls_no_child() -> None:
    """`RunOver` says how it ends."""
    machine = running()
    machine.do(c.CancelRun("stop"))
    with pytest.raises(RunOver, match="is ending"):
        call(machine)


@pytest.mark.rule("E3", "D4")
def test_a_step_is_suspended_with_its_child_and_goes_on_with_its_end() -> None:
    """The run is suspended while the child is, running while it runs; the step runs again when it is over."""
    machine = running()
    n = call(machine)
    assert kinds(news(machine, n, RunStatus.SUSPENDED)) == ["ChildPaused"]
    assert kinds(machine.do(c.SuspendStep(1, n))) == ["StepSuspended", "RunSuspended"]
    assert (machine.state.suspended[1].call, machine.state.running_calls) == (n, 0)
    assert kinds(news(machine, n, RunStatus.RUNNING)) == ["ChildWoken", "RunWoken"]
    assert kinds(news(machine, n, RunStatus.SUSPENDED)) == ["ChildPaused", "RunSuspended"]
    assert kinds(news(machine, n, RunStatus.RUNNING)) == ["ChildWoken", "RunWoken"]
    assert news(machine, n, RunStatus.RUNNING) == [], "no news"
    check_books(machine)
    ended = news(machine, n, RunStatus.COMPLETED, output='"gift"')
    assert kinds(ended) == ["ChildEnded", "StepStarted"]
    item = machine.state.live[1]
    assert (item.attempt, item.answers, item.call, item.leg) == (1, None, 0, 1)
    assert machine.state.calls[n].output == '"gift"', "the step asks again, and gets it"
    machine.finish(1)
    assert machine.state.calls == {}
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("E3", "A7")
@pytest.mark.parametrize("status", [RunStatus.RUNNING, *OVER])
def test_a_step_does_not_sleep_through_the_news_that_crossed_its_suspension(status: RunStatus) -> None:
    """What it would wait for has happened: it runs again at once."""
    machine = running()
    n = call(machine)
    news(machine, n, RunStatus.SUSPENDED)
    news(machine, n, status)
    facts = machine.do(c.SuspendStep(1, n))
    assert kinds(facts) == ["StepSuspended", "StepResumed", "StepStarted"]
    assert facts[1] == f.StepResumed(T0, 1, "")
    assert machine.state.live[1].answers is None
    assert machine.state.status is RunStatus.RUNNING
    unknown = running()
    assert kinds(unknown.do(c.SuspendStep(1, 99))) == ["StepSuspended", "StepResumed", "StepStarted"]
    check_fold(machine)


@pytest.mark.rule("A8", "E3")
@pytest.mark.parametrize("status", OVER)
def test_a_child_tells_its_end_once(status: RunStatus) -> None:
    """Its status, output and failure are kept for the step that asks; later news changes nothing."""
    machine = running()
    n = call(machine)
    news(machine, n, status, output='"x"')
    found = machine.state.calls[n]
    assert (found.status, found.output, found.error_type, found.message) == (status, '"x"', "E", "text")
    for late in RunStatus:
        assert news(machine, n, late) == []
    assert news(machine, 99, RunStatus.COMPLETED) == []
    check_books(machine)


@pytest.mark.rule("A8", "C12")
def test_a_run_waits_for_its_children_before_it_ends() -> None:
    """A cancel drops the step that is suspended with its child; the hook runs when the child has told its end."""
    machine = running(hooks=frozenset({"on_workflow_cancel"}))
    n = call(machine)
    news(machine, n, RunStatus.SUSPENDED)
    machine.do(c.SuspendStep(1, n))
    assert kinds(machine.do(c.CancelRun("stop"))) == ["RunStopping"]
    assert (machine.state.suspended, machine.state.open_calls) == ({}, 1)
    assert kinds(news(machine, n, RunStatus.RUNNING)) == ["ChildWoken"]
    assert kinds(news(machine, n, RunStatus.CANCELLED)) == ["ChildEnded", "HookScheduled", "StepStarted"]
    assert machine.state.calls == {}
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("C9", "C12", "A8")
def test_a_join_waits_for_the_children_of_those_it_has_cancelled() -> None:
    """The group's failure is told when the last of its children is over."""
    machine = Machine(chain_plan(link(NodeKind.PARALLEL, "a", "both"))).start()
    n = call(machine, 1)
    news(machine, n, RunStatus.SUSPENDED)
    machine.do(c.SuspendStep(1, n))
    assert kinds(machine.fail(2)) == ["StepFailed", "GroupClosed"]
    assert kinds(news(machine, n, RunStatus.CANCELLED)) == ["ChildEnded", "NodeFailed", "RunStopping", "RunEnded"]
    check_books(machine)
    check_fold(machine)


# --- what is kept, and for whom


@pytest.mark.rule("C3")
def test_what_a_call_gave_is_kept_as_long_as_its_step_may_ask_again() -> None:
    """Over a crash and a failure: a child that has completed is a result; one that failed is called anew."""
    machine = running(join=DRAIN)
    n = machine.schedule("tough")
    good, bad, unended = (call(machine, n, data=data) for data in ("1", "2", "3"))
    news(machine, good, RunStatus.COMPLETED)
    news(machine, bad, RunStatus.FAILED)
    machine.do(c.InterruptStep(n, True))
    assert sorted(machine.state.calls) == [good, bad, unended]
    machine.fail(n, retryable=True)
    assert sorted(machine.state.calls) == [good, unended]
    machine.do(c.Tick(), after=1)
    assert machine.state.live[n].log == [("child", "Child", "1", good)]
    again = call(machine, n, data="2")
    check_books(machine)
    news(machine, unended, RunStatus.CANCELLED)
    news(machine, again, RunStatus.COMPLETED)
    assert sorted(machine.state.calls) == [good, unended, again]
    machine.finish(n)
    assert machine.state.calls == {}
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("C3", "D4")
def test_what_is_forgotten_does_not_shift_what_was_there_at_the_resume() -> None:
    """The failed call before the resume is gone; what the step did behind it is still recognised as after a crash."""
    machine = running(join=DRAIN)
    n = machine.schedule("tough")
    machine.do(c.Operate(n, "push", "l", '"before"'))
    bad = call(machine, n)
    news(machine, bad, RunStatus.SUSPENDED)
    machine.do(c.SuspendStep(n, bad))
    news(machine, bad, RunStatus.FAILED)
    assert machine.state.live[n].leg == 2
    machine.do(c.Operate(n, "push", "l", '"behind"'))
    machine.fail(n, retryable=True)
    item = machine.state.armed[n]
    assert item.leg == 1  # type: ignore[union-attr]  # armed again: an activation
    assert [entry[2] for entry in item.log] == ['"before"', '"behind"']  # type: ignore[union-attr]  # armed again: an activation
    other = machine.copy()
    assert dump_state(other.state) == dump_state(machine.state)
    check_fold(machine)


def test_a_failure_without_failed_children_forgets_nothing() -> None:
    """Neither that of a step that called none, nor that of one whose children have all completed."""
    machine = running(join=DRAIN)
    plain, n = machine.schedule("tough"), machine.schedule("tough")
    good = call(machine, n)
    news(machine, good, RunStatus.COMPLETED)
    machine.fail(plain, retryable=True)
    machine.fail(n, retryable=True)
    assert sorted(machine.state.calls) == [good]
    machine.do(c.Tick(), after=1)
    machine.finish(plain)
    assert sorted(machine.state.calls) == [good]
    machine.finish(n)
    assert machine.state.calls == {}
    check_books(machine)


@pytest.mark.rule("A7")
def test_a_call_whose_step_has_ended_is_forgotten_with_its_end() -> None:
    """Also one that was decided when its step had ended already."""
    machine = running()
    n = machine.schedule("a")
    early = call(machine, n)
    machine.finish(n)
    late = call(machine, n)
    assert sorted(machine.state.calls) == [early, late]
    for number in (late, early):
        news(machine, number, RunStatus.COMPLETED)
    assert machine.state.calls == {}
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("C12")
@pytest.mark.parametrize("by_join", [True, False])
def test_what_a_dropped_step_had_called_is_forgotten(by_join: bool) -> None:
    """A step that waits for its next attempt, and one that never ran, when the run or the join ends them."""
    chain = link(NodeKind.PARALLEL, "tough", "a", "both", join=DRAIN if not by_join else first(1))
    machine = Machine(chain_plan(chain, link(NodeKind.STEP, "b"), max_live_steps=2)).start()
    done, unended = call(machine, 1), call(machine, 1, data="2")
    news(machine, done, RunStatus.COMPLETED)
    machine.fail(1, retryable=True)
    machine.do(c.FinishStep(2, "null") if by_join else c.CancelRun("stop"))
    assert list(machine.state.calls) == [unended]
    check_books(machine)
    news(machine, unended, RunStatus.CANCELLED)
    assert machine.state.calls == {}
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("D2", "F3")
def test_calls_survive_as_text_with_their_steps() -> None:
    """A step that is live, suspended or armed again finds its calls, and lets go of them at its end."""
    machine = running(join=DRAIN)
    live, asleep, armed = (machine.schedule("tough") for _ in range(3))
    calls = {n: call(machine, n) for n in (live, asleep, armed)}
    batch = machine.schedule("a", delay=9)
    news(machine, calls[asleep], RunStatus.SUSPENDED)
    machine.do(c.SuspendStep(asleep, calls[asleep]))
    news(machine, calls[armed], RunStatus.COMPLETED)
    machine.fail(armed, retryable=True)
    other = machine.copy()
    for each in (machine, other):
        news(each, calls[live], RunStatus.COMPLETED)
        news(each, calls[asleep], RunStatus.FAILED)
        each.do(c.Tick(), after=9)
        for n in (live, asleep, armed, batch):
            each.finish(n)
        assert each.state.calls == {}
        check_books(each)
    assert dump_state(other.state) == dump_state(machine.state)


# --- what comes back


@pytest.mark.rule("E2")
def test_the_changes_of_a_child_are_applied_as_one_and_count_as_the_parents_own() -> None:
    """Pushes append, increments add, to what the parent has meanwhile; three levels deep they go on upwards."""
    machine = running()
    machine.inherited = {}
    machine.state.inherited = {}
    apply(machine.state, attached := f.ChildAttached(T0, 1, 5, '["s"]', "", "*"))
    machine.facts.append(attached)
    n = call(machine)
    machine.do(c.Operate(1, "push", "l", '"mine"'))
    gives = [("extend", "l", ('"a"', '"b"')), ("increment", "i", 2), ("delete", "none", None)]
    facts = news(machine, n, RunStatus.COMPLETED, *gives)
    assert kinds(facts) == ["ChildEnded"]
    assert shown(machine) == {"l": ["mine", "a", "b"], "i": 2}
    assert machine.state.own == [("push", "l", '"mine"'), ("extend", "l", ('"a"', '"b"')), ("increment", "i", 2)]
    machine.do(c.Transact(1, [("set", "k", "1"), ("delete", "none", None)]))
    perform(machine.state, machine.plan, T0, 1, "increment", "i", 1, NO_MARK)
    machine.facts.append(f.OperationApplied(T0, 1, "increment", "i", 1, ""))
    assert machine.state.own[3:] == [("set", "k", "1"), ("increment", "i", 1)]
    assert load_state("run", dump_state(machine.state)).own == machine.state.own
    with pytest.raises(LostUpdate, match="another branch"):
        machine.tell(c.Operate(1, "set", "l", "1", "", 0))
    check_fold(machine)


@pytest.mark.rule("E2", "A5")
@pytest.mark.parametrize(
    ("gives", "error"),
    [(("push", "k", "1"), "StateTypeError"), (("set", "third", "1"), "ValueTooLarge")],
)
def test_changes_that_do_not_fit_fail_the_child(gives: Any, error: str) -> None:
    """The parent's store is as it was, and the step that called is told why."""
    machine = running(limits=Limits(keys=2))
    n = call(machine)
    machine.do(c.Operate(1, "set", "k", "1"))
    machine.do(c.Operate(1, "set", "l", "1"))
    news(machine, n, RunStatus.COMPLETED, ("increment", "k", 1), gives, output='"out"')
    found = machine.state.calls[n]
    assert (found.status, found.output, found.error_type) == (RunStatus.FAILED, "null", error)
    assert found.message.startswith("its changes do not fit the run that called it: ")
    assert shown(machine) == {"k": 1, "l": 1}
    check_fold(machine)


@pytest.mark.rule("B12")
def test_the_record_of_a_finished_run_folds_without_the_changes_of_its_children() -> None:
    """Their values are gone from the journal, and the fold does not stumble over it."""
    machine = running()
    n = call(machine)
    news(machine, n, RunStatus.COMPLETED, ("set", "k", "1"), ("increment", "i", 2))
    machine.finish(1, "out")
    blank = RunState("run")
    for fact in machine.facts:
        if isinstance(fact, f.ChildEnded):
            fact = attrs.evolve(fact, operations=[(verb, key, None) for verb, key, _ in fact.operations])
        apply(blank, fact)
    assert (blank.store.values, blank.output, blank.status) == ({}, '"out"', RunStatus.COMPLETED)


# --- beginning as a child


@pytest.mark.rule("E1")
@pytest.mark.parametrize(
    ("inherits", "begins"),
    [("*", {"a": 1, "l": [1, 2], "new": 0}), ('["l","none"]', {"l": [1, 2], "new": 0}), ("", {"new": 0})],
)
def test_a_child_begins_with_the_part_of_the_parents_store_that_it_inherits(inherits: str, begins: Any) -> None:
    """All, some or nothing of it, and its own initial state beside; what it pushes is not seen above."""
    parent = running()
    parent.do(c.Operate(1, "set", "a", "1"))
    parent.do(c.Operate(1, "extend", "l", ("1", "2")))
    child = Machine(plan_of(), RunState(child_id("run", 2)))
    child.inherited = child.state.inherited = dict(parent.state.store.values)
    attached = f.ChildAttached(T0, 2, parent.state.seq, '["start"]', inherits, "")
    facts = child.do(c.StartRun("w", "1", "", "null", "{}", "child", {"new": "0"}, "2.", "run", attached))
    assert kinds(facts) == ["RunStarted", "ChildAttached", "StateSeeded", "StepScheduled", "StepStarted"]
    state = child.state
    assert (state.call, state.path, state.merge, state.own, state.inherited) == (2, '["start"]', "", None, None)
    assert (state.run_id, state.prefix, state.parent_id) == ("run~2", "2.", "run")
    assert shown(child) == begins
    child.do(c.Operate(1, "push", "l", "9"))
    parent.do(c.Operate(1, "push", "l", "8"))
    assert shown(parent)["l"] == [1, 2, 8]
    assert shown(child)["l"] == [*begins.get("l", []), 9]
    check_books(child)
    check_fold(child)


@pytest.mark.rule("E1")
def test_a_child_that_is_folded_without_its_inheritance_begins_empty() -> None:
    """The record of a finished run: what it inherited was never its own."""
    state = RunState("run~2")
    apply(state, f.ChildAttached(T0, 2, 5, "[]", "*", '["k"]'))
    assert (state.store.values, state.store.bytes, state.own, state.merge) == ({}, 0, [], '["k"]')


@pytest.mark.rule("E1")
def test_what_is_inherited_is_a_snapshot_by_reference() -> None:
    """The mapping is its own, the values are the same objects: the cost does not depend on their size."""
    values: dict[str, Value] = {"a": 1, "l": (["1"], 1, 3)}
    everything = inherited(values, "*")
    assert everything == values
    assert everything is not values
    assert everything["l"] is values["l"]
    assert inherited(values, '["l","x"]') == {"l": values["l"]}


@pytest.mark.rule("E1")
def test_a_graph_begins_as_a_child_without_a_first_step() -> None:
    """Its chain arms what comes first."""
    child = Machine(chain_plan(link(NodeKind.STEP, "a")), RunState("run~2"))
    child.inherited = child.state.inherited = {}
    attached = f.ChildAttached(T0, 2, 7, "[]", "*", "")
    facts = child.do(attrs.evolve(START_RUN, attached=attached, input="5"))
    assert kinds(facts) == ["RunStarted", "ChildAttached", "NodeEntered", "StepStarted"]
    check_fold(child)


# --- events


@pytest.mark.rule("D6")
def test_an_event_that_was_kept_is_handed_on_to_a_descendant_once() -> None:
    """The oldest of its name first; without one there is nothing to say."""
    machine = running()
    for data in ("1", "2"):
        machine.do(c.SendEvent("e", data))
    claim = c.ClaimEvent("e", "run~4")
    assert [machine.tell(claim) for _ in range(3)] == ["1", "2", None]
    assert machine.tell(c.ClaimEvent("other", "run~4")) is None
    assert machine.state.kept == {}
    machine.do(c.SendEvent("e", "3"))
    machine.do(c.CancelRun("stop"))
    assert machine.tell(claim) is None
    check_fold(machine)


@pytest.mark.rule("D6")
def test_an_event_for_whoever_waits_is_kept_by_nobody_else() -> None:
    """It is delivered to an open wait, or the reply says that none was open."""
    machine = running()
    command = c.SendEvent("e", "1", waited_for=True)
    assert machine.tell(command) is False
    n = machine.tell(c.OpenWait(1, "a", "null", "e", 0.0, ""))
    assert isinstance(n, int)
    assert machine.tell(command) is True
    machine.settle()
    assert machine.state.live[n].event == "1"
    assert machine.state.kept == {}


# --- guests


@pytest.mark.rule("E2", "C3")
def test_a_step_of_a_descendant_is_remembered_as_long_as_its_child_is_open() -> None:
    """Its operations, named ones and transactions are recognised on a second pass; then it is forgotten."""
    machine = running()
    one, other = call(machine), call(machine)
    n, deep = guest(f"{one}.3", 0), guest(f"{other}.2.7", 0)
    machine.do(c.Operate(n, "push", "l", '"x"'))
    machine.do(c.Transact(n, [("increment", "i", 1), ("push", "l", '"y"')]))
    assert machine.tell(c.Operate(n, "increment", "i", 5, "named")) == 6
    assert machine.tell(c.Operate(n, "increment", "i", 5, "named")) == 6
    assert machine.tell(c.Transact(deep, [("set", "k", "1")], "whole")) is None
    assert machine.tell(c.Transact(deep, [("set", "k", "1")], "whole")) is None
    with pytest.raises(InputError, match="already names"):
        machine.tell(c.Operate(n, "push", "l", "1", "named"))
    assert perform(machine.state, machine.plan, T0, deep, "increment", "i", 1, NO_MARK)[1] == 7
    machine.facts.append(f.OperationApplied(T0, deep, "increment", "i", 1, ""))
    assert shown(machine) == {"l": ["x", "y"], "i": 7, "k": 1}
    log = machine.state.guests[n].log
    assert log is not None
    assert [entry[0] for entry in log] == ["push", "transaction"]
    assert machine.state.guests[deep].log == [("increment", "i", 1, 7)]
    check_books(machine)
    check_fold(machine)
    loaded = load_state("run", dump_state(machine.state))
    apply(loaded, f.ChildEnded(T0, one, "completed", "null", "", "", []))
    assert (list(loaded.guests), loaded.guests_of) == ([deep], {other: [deep]})
    news(machine, one, RunStatus.COMPLETED)
    assert list(machine.state.guests) == [deep]
    news(machine, other, RunStatus.FAILED)
    assert (machine.state.guests, machine.state.guests_of) == ({}, {})
    check_fold(machine)


@pytest.mark.rule("B10", "E2")
def test_a_guest_loses_no_update_unnoticed() -> None:
    """What it read and another branch changed since is a lost update, here as everywhere."""
    machine = running()
    n = guest(f"{call(machine)}.1", 0)
    machine.do(c.Operate(1, "set", "k", "1"))
    with pytest.raises(LostUpdate, match="step 'start'"):
        machine.tell(c.Operate(n, "set", "k", "2", "", 0))
    assert machine.tell(c.Operate(n, "set", "k", "2", "", machine.state.store.writes)) is None


@pytest.mark.parametrize(
    ("path", "call_number"), [("4", 4), ("4.7", 4), ("12.3.9", 12), (f"1.{2**47}", 1), (f"{2**47}.1.1.1", 2**47)]
)
def test_the_number_of_a_guest_is_its_id(path: str, call_number: int) -> None:
    """Negative, one for each path, and read back as the activation id and the call through which it came."""
    number = guest(path, 0)
    assert number < 0
    assert activation_id("", number) == path
    assert activation_id("9.", number) == f"9.{path}"
    assert guest_call(number) == call_number
    assert guest_call(7) == 0
    assert (activation_id("", 7), activation_id("2.", 7)) == ("7", "2.7")
    assert guest(f"{path}.1", 0) != number


@pytest.mark.rule("E2", "C3")
def test_what_a_guest_did_before_a_resume_is_told_apart() -> None:
    """Each leg has a number of its own, which says the same activation; a named operation is known in all of them."""
    machine = running()
    one = call(machine)
    first, second = guest(f"{one}.3", 0), guest(f"{one}.3", 2)
    assert guest_legs(second) == [first, guest(f"{one}.3", 1), second]
    assert activation_id("", first) == activation_id("", second) == f"{one}.3"
    machine.do(c.Operate(first, "push", "l", "1"))
    assert machine.tell(c.Operate(first, "increment", "i", 5, "named")) == 5
    assert machine.tell(c.Operate(second, "increment", "i", 5, "named")) == 5
    assert machine.tell(c.Operate(second, "increment", "i", 5, "another")) == 10
    machine.do(c.Operate(second, "push", "l", "2"))
    assert set(machine.state.guests) == {first, second}
    news(machine, one, RunStatus.COMPLETED)
    assert machine.state.guests == {}
    check_fold(machine)


@pytest.mark.rule("C3", "E3")
def test_a_child_that_was_abandoned_is_called_anew() -> None:
    """It stays open until it has ended, cancelled; then the step does not know it any more. A second word is none."""
    machine = running()
    one = call(machine)
    machine.do(c.AbandonCall(one))
    assert machine.state.live[1].log == [("child", "Child", "null", one)]
    assert machine.state.calls[one].unwanted
    assert machine.state.open_calls == 1
    assert machine.tell(c.AbandonCall(one)) is None
    loaded = load_state("run", dump_state(machine.state))
    assert loaded.calls[one].unwanted
    news(machine, one, RunStatus.CANCELLED)
    assert machine.tell(c.AbandonCall(one)) is None
    assert machine.state.open_calls == 0
    assert machine.state.live[1].log == []
    check_books(machine)
    check_fold(machine)


@pytest.mark.rule("A6", "C3")
def test_a_child_that_completed_before_it_could_be_cancelled_has_happened() -> None:
    """What it gave back is there: a second pass must find the call, and not make another one."""
    machine = running()
    one = call(machine)
    machine.do(c.AbandonCall(one))
    news(machine, one, RunStatus.COMPLETED, ("push", "list", "1"))
    assert machine.state.live[1].log == [("child", "Child", "null", one)]
    assert machine.state.calls[one].status is RunStatus.COMPLETED
    assert shown(machine) == {"list": [1]}
    check_books(machine)
    check_fold(machine)


def test_a_child_is_abandoned_also_when_its_step_is_gone() -> None:
    """The word may come late: the step has ended, and there is no log of it any more."""
    machine = running()
    one = call(machine)
    machine.do(c.FinishStep(1, "null"))
    machine.do(c.AbandonCall(one))
    assert machine.state.calls[one].unwanted
    check_fold(machine)


def test_the_end_of_a_run_drops_what_waits_beside_a_child() -> None:
    """Steps that have not run yet have called nothing; those that have are asked."""
    machine = running()
    machine.do(c.Schedule(1, "a", "null", T0 + 60))
    one = call(machine)
    machine.do(c.CancelRun("enough"))
    assert machine.state.armed == {}
    assert list(machine.state.calls) == [one]
    check_fold(machine)

"""What each command leads to, and every error."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import fold
from actorflow._core.decide import DECIDE, decide
from actorflow._core.decide_store import decide_operation
from actorflow._core.lifecycle import Ending, Phase, RunStatus, StepStatus
from actorflow._core.plan import LostUpdates
from actorflow._core.policies import DRAIN, Limits
from actorflow._core.run_state import RunState
from actorflow._core.values import MAX_DIGITS
from actorflow._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR
from actorflow.errors import InputError, LostUpdate, RunOver, StateTypeError, ValueTooLarge
from tests.core.machine import T0, Machine, check_bytes, kinds, plan_of

ALL_HOOKS = frozenset({HOOK_COMPLETE, HOOK_ERROR, HOOK_CANCEL})


def running(**options: Any) -> Machine:
    """A run whose start is live."""
    return Machine(plan_of(**options)).start()


def ended(**options: Any) -> Machine:
    """A run that is over."""
    machine = running(**options)
    machine.do(c.FinishStep(1, '"out"'))
    assert machine.state.phase is Phase.OVER
    return machine


def put(machine: Machine, verb: str, key: str, argument: Any, *, n: int = 1, mark: int = c.NO_MARK) -> object:
    """One store verb."""
    return machine.tell(c.Operate(n, verb, key, argument, "", mark))


# --- the run


@pytest.mark.rule("C1")
def test_a_run_starts_with_its_state_and_its_first_step() -> None:
    """The facts of a start: the run, its initial state if it has one, `start` armed now."""
    command = c.StartRun("w", "2", "file:Name", '{"in":1}', '{"h":1}', "print", {"a": "1", "l": "[1]"}, "9.", "parent")
    machine = Machine(plan_of())
    assert kinds(machine.do(command)) == ["RunStarted", "StateSeeded", "StepScheduled", "StepStarted"]
    state = machine.state
    assert (state.workflow_id, state.version, state.source, state.input) == ("w", "2", "file:Name", '{"in":1}')
    assert (state.headers, state.fingerprint, state.prefix, state.parent_id) == ('{"h":1}', "print", "9.", "parent")
    assert (state.started_at, state.live[1].payload) == (T0, '{"in":1}')
    assert (state.store.values, state.store.foreign_writer("a", 1)) == ({"a": 1, "l": "[1]"}, 0)


@pytest.mark.parametrize("command", c.COMMANDS)
def test_a_run_that_is_over_refuses_or_ignores_every_command(command: type) -> None:
    """News that comes late changes nothing; whoever wants something gets `RunOver`."""
    machine = ended()
    samples: dict[type, c.Command] = {
        c.StartRun: c.StartRun("w", "", "", "null", "{}", "", {}),
        c.Schedule: c.Schedule(1, "a", "null", T0),
        c.ScheduleMany: c.ScheduleMany(1, "a", ["1"], T0),
        c.Unschedule: c.Unschedule(1),
        c.OpenWait: c.OpenWait(1, "a", "null", "e", 0.0, ""),
        c.SendEvent: c.SendEvent("e", "1"),
        c.Operate: c.Operate(1, "set", "k", "1"),
        c.Transact: c.Transact(1, [("set", "k", "1")]),
        c.RecordOnce: c.RecordOnce(1, "o", "1"),
        c.Emit: c.Emit(1, "e", "1"),
        c.Log: c.Log(1, 1, 20, "line"),
        c.FinishStep: c.FinishStep(1, "1", [("set", "k", "1")]),
        c.FailStep: c.FailStep(1, "E", "", True, 0.5),
        c.DropStep: c.DropStep(1),
        c.InterruptStep: c.InterruptStep(1, True),
        c.FinishHook: c.FinishHook(1, "1"),
        c.CancelRun: c.CancelRun("late"),
        c.Bail: c.Bail(1, "1"),
        c.Tick: c.Tick(),
        c.SuspendStep: c.SuspendStep(1),
        c.ResumeStep: c.ResumeStep(1, "1", 0),
        c.StartChild: c.StartChild(1, "W", "null", lambda values: None),
        c.ReportChild: c.ReportChild(1, RunStatus.COMPLETED),
        c.ClaimEvent: c.ClaimEvent("e", "run~1"),
        c.AbandonCall: c.AbandonCall(1),
    }
    late: tuple[type, ...] = (
        c.Unschedule, c.FinishStep, c.FailStep, c.DropStep, c.FinishHook, c.CancelRun, c.Bail, c.Tick,
        c.SuspendStep, c.ReportChild, c.AbandonCall, c.ClaimEvent,
    )  # fmt: skip
    if command in late:
        assert machine.do(samples[command]) == []
    else:
        with pytest.raises(RunOver, match="is over \\(completed\\)") as caught:
            machine.do(samples[command])
        assert caught.value.run_id == "run"
    assert set(samples) == set(DECIDE)


def test_the_short_way_for_operations_knows_the_end_too() -> None:
    """`decide_operation` is called without `decide`, and refuses all the same."""
    machine = ended()
    with pytest.raises(RunOver):
        decide_operation(machine.state, machine.plan, T0, 1, "set", "k", "1", "", c.NO_MARK)


@pytest.mark.rule("C13", "C1")
def test_a_cancel_or_a_bail_ends_a_run_once() -> None:
    """The first one counts; while the run is stopping, neither changes how it ends."""
    for first, ending in ((c.CancelRun("r"), Ending.CANCEL), (c.Bail(1, '"x"'), Ending.BAIL)):
        machine = running()
        machine.schedule("a", delay=5)
        assert kinds(machine.do(first)) == ["RunStopping"]
        assert (machine.state.ending, machine.state.armed_count) == (ending, 0)
        for second in (c.CancelRun("again"), c.Bail(1, '"y"')):
            assert machine.do(second) == []
        assert kinds(machine.do(c.DropStep(1))) == ["StepCancelled", "RunEnded"]
    assert (machine.state.status, machine.state.output) == (RunStatus.COMPLETED, '"x"')


@pytest.mark.parametrize("first", [c.FinishStep(1, '"x"'), c.Bail(1, '"x"')])
def test_a_cancel_overtakes_the_completion_hook(first: c.Command) -> None:
    """The hook is cancelled and awaited, then the cancel hook runs, and the run is cancelled."""
    machine = running(hooks=ALL_HOOKS)
    machine.do(first)
    machine.do(c.DropStep(1))
    hook = machine.state.hook
    assert machine.state.live[hook].step == HOOK_COMPLETE
    assert kinds(machine.do(c.CancelRun("stop"))) == ["RunStopping"]
    assert kinds(machine.do(c.DropStep(hook))) == ["HookEnded", "HookScheduled", "StepStarted"]
    assert machine.do(c.CancelRun("more")) == []
    assert kinds(machine.do(c.FinishHook(machine.state.hook, '"ignored"'))) == ["HookEnded", "RunEnded"]
    state = machine.state
    assert (state.status, state.output, state.reason) == (RunStatus.CANCELLED, "null", "stop")


# --- scheduling


@pytest.mark.rule("C2")
def test_a_past_due_time_is_now() -> None:
    """A step that was due before it was asked for is due at once."""
    machine = running()
    facts = machine.do(c.Schedule(1, "a", "1", T0 - 100))
    assert isinstance(facts[0], f.StepScheduled)
    assert facts[0].due == T0
    assert kinds(facts) == ["StepScheduled", "StepStarted"]
    facts = machine.do(c.ScheduleMany(1, "a", ["1"], T0 - 100))
    assert isinstance(facts[0], f.StepsScheduled)
    assert facts[0].due == T0


@pytest.mark.rule("C2")
@pytest.mark.parametrize("end", [c.FinishStep(2, "1"), c.FailStep(2, "E", "", False, 0.5), c.DropStep(2)])
def test_a_key_is_held_while_its_step_is_armed_or_live(end: c.Command) -> None:
    """A second call gets the first number; after the end the key is free, whatever the end was."""
    machine = running(join=DRAIN)
    n = machine.schedule("tough", delay=1, key="k")
    ask = c.Schedule(1, "a", "2", T0, "k")
    assert machine.tell(ask) == n
    machine.do(c.Tick(), after=1)
    assert n in machine.state.live
    assert machine.tell(ask) == n
    machine.do(c.FailStep(n, "E", "", True, 0.5))
    assert machine.tell(ask) == n, "between two attempts it is armed"
    machine.do(c.Tick(), after=1)
    machine.do(end)
    assert machine.tell(ask) == n + 1


@pytest.mark.rule("C2")
def test_only_what_has_not_started_can_be_taken_back() -> None:
    """True once for an armed step, which frees its key; False for a live, an ended or an unknown one."""
    machine = running()
    n = machine.schedule("a", delay=1, key="k")
    assert machine.tell(c.Unschedule(n)) is True
    assert machine.tell(c.Unschedule(n)) is False
    assert machine.state.keys == {}
    assert machine.state.counts[StepStatus.CANCELLED] == 1
    tough = machine.schedule("tough")
    assert machine.tell(c.Unschedule(tough)) is False
    machine.do(c.FailStep(tough, "E", "", True, 0.5))
    assert machine.tell(c.Unschedule(tough)) is False, "it has started before"
    assert machine.tell(c.Unschedule(99)) is False


@pytest.mark.rule("C1", "D6")
def test_a_wait_can_be_taken_back() -> None:
    """The event then goes to the next wait, and the last one taken back leaves none."""
    machine = running()
    first = machine.tell(c.OpenWait(1, "a", "1", "e", 0.0, ""))
    second = machine.tell(c.OpenWait(1, "a", "2", "e", 0.0, ""))
    assert machine.tell(c.Unschedule(first)) is True  # type: ignore[arg-type]  # the number is the reply
    facts = machine.do(c.SendEvent("e", '"data"'))
    assert kinds(facts) == ["EventReceived", "StepStarted"]
    assert machine.state.live[second].event == '"data"'  # type: ignore[index]  # the number is the reply
    third = machine.tell(c.OpenWait(1, "a", "3", "e", 0.0, ""))
    assert machine.tell(c.Unschedule(third)) is True  # type: ignore[arg-type]  # the number is the reply
    assert machine.state.waits == {}


@pytest.mark.rule("D6")
def test_an_event_is_kept_for_a_wait_and_given_once() -> None:
    """Kept events are given in the order in which they came, one per wait; open waits are served oldest first."""
    machine = running()
    for data in ("1", "2"):
        machine.do(c.SendEvent("e", data))
    got = []
    for _ in range(3):
        n = machine.tell(c.OpenWait(1, "a", "null", "e", 0.0, ""))
        machine.settle()
        got.append(machine.state.live[n].event if n in machine.state.live else None)  # type: ignore[index]  # the number is the reply
    assert got == ["1", "2", None]
    assert machine.state.kept == {}


@pytest.mark.rule("C11", "C13")
@pytest.mark.parametrize(
    "command",
    [
        c.Schedule(1, "a", "1", T0),
        c.ScheduleMany(1, "a", ["1"], T0),
        c.OpenWait(1, "a", "1", "e", 0.0, ""),
        c.SendEvent("e", "1"),
        c.StartChild(1, "W", "null", lambda values: None),
    ],
)
def test_a_run_that_is_ending_takes_no_new_steps(command: c.Command) -> None:
    """`RunOver` says how it ends."""
    machine = running()
    machine.do(c.CancelRun("r"))
    with pytest.raises(RunOver, match="is ending \\(cancel\\)"):
        machine.tell(command)


# --- the run store


@pytest.mark.rule("B8", "A5")
def test_the_number_of_keys_is_bounded() -> None:
    """A new key beyond the limit is refused, with the numbers; old keys go on; a deleted key makes room."""
    machine = running(limits=Limits(keys=2))
    put(machine, "set", "a", "1")
    put(machine, "increment", "b", 1)
    with pytest.raises(ValueTooLarge) as caught:
        put(machine, "push", "c", "1")
    error = caught.value
    assert (error.what, error.limit, error.size, error.key, error.run_id) == ("keys", 2, 3, "c", "run")
    with pytest.raises(ValueTooLarge):
        machine.tell(c.Transact(1, [("set", "a", "2"), ("set", "c", "1")]))
    put(machine, "set", "a", "3")
    machine.tell(c.Transact(1, [("delete", "a", None), ("set", "c", "1")]))
    assert set(machine.state.store.values) == {"b", "c"}


@pytest.mark.rule("B8", "A5")
@pytest.mark.parametrize(
    ("verb", "argument", "fits"),
    [
        ("set", '"' + "x" * 98 + '"', False),
        ("set", '"' + "x" * 20 + '"', True),
        ("update", '"' + "x" * 98 + '"', False),
        ("push", '"' + "x" * 60 + '"', False),
        ("push", '"x"', True),
        ("extend", ('"' + "x" * 30 + '"', '"' + "y" * 30 + '"'), False),
        ("extend", ('"x"', '"y"'), True),
        ("remove", '"' + "x" * 98 + '"', True),
        ("pop", None, True),
        ("delete", None, True),
    ],
)
def test_the_size_of_the_state_is_bounded(verb: str, argument: Any, fits: bool) -> None:
    """What would bring the store over its limit is refused before it is applied; what replaces or removes is not."""
    machine = running(limits=Limits(state_bytes=100))
    put(machine, "push", "list", '"' + "x" * 40 + '"')
    before = machine.state.store.bytes
    if fits:
        put(machine, verb, "list", argument)
        assert machine.state.store.bytes <= 100
    else:
        with pytest.raises(ValueTooLarge) as caught:
            put(machine, verb, "list", argument)
        assert (caught.value.what, caught.value.limit) == ("state_bytes", 100)
        assert machine.state.store.bytes == before
    with pytest.raises(ValueTooLarge):
        put(machine, "set", "other", '"' + "x" * 98 + '"')


@pytest.mark.rule("B8")
def test_a_value_in_a_full_store_may_be_replaced() -> None:
    """What goes is taken off before what comes is added; the last byte of the limit may be used."""
    machine = running(limits=Limits(state_bytes=65))
    for letter in "xyz":
        put(machine, "set", "k", '"' + letter * 58 + '"')
        assert machine.state.store.bytes == 65
    with pytest.raises(ValueTooLarge):
        put(machine, "set", "k", '"' + "x" * 59 + '"')


@pytest.mark.rule("B8")
def test_the_size_of_the_state_is_in_bytes() -> None:
    """60 letters of two bytes do not fit into 100 bytes."""
    machine = running(limits=Limits(state_bytes=100))
    with pytest.raises(ValueTooLarge):
        put(machine, "set", "k", '"' + "é" * 60 + '"')


@pytest.mark.rule("B8")
def test_counters_count_towards_the_size_of_the_state() -> None:
    """Fifty new counters do not fit into 100 bytes."""
    machine = running(limits=Limits(state_bytes=100))
    with pytest.raises(ValueTooLarge):
        for number in range(50):
            put(machine, "increment", f"counter {number}", 1)


NUMBERS_AND_TEXTS: tuple[tuple[str, Any], ...] = (
    ("set", "1"),
    ("set", '"é"'),
    ("set_if_absent", "2"),
    ("set_if_absent", '""'),
    ("compare_and_set", ("", "1")),
    ("compare_and_set", ("1", '"éé"')),
    ("update", "2.5"),
    ("push", "1"),
    ("push", '"é"'),
    ("extend", ("1", '"x"')),
    ("extend", ()),
    ("remove", "1"),
    ("increment", 1),
    ("increment", 99_999_999),
    ("increment", -(10**40)),
    ("decrement", 10**40 - 1),
    ("maximum", 10**12),
    ("minimum", -(10**MAX_DIGITS) + 1),
    ("maximum", 1e300),
    ("merge", '{"é":1}'),
    ("merge", '{"a":"x"}'),
    ("delete", None),
    ("pop", None),
)


@pytest.mark.rule("B8")
@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([12, 13, 14, 20, 40, 4305, 4306]),
    st.lists(st.tuples(st.sampled_from(NUMBERS_AND_TEXTS), st.sampled_from(["k", "é", "l"])), max_size=12),
)
@example(4305, [(("minimum", -(10**MAX_DIGITS) + 1), "k")])
@example(4306, [(("minimum", -(10**MAX_DIGITS) + 1), "k")])
@example(12, [(("set", "1"), "k")])
@example(12, [(("compare_and_set", ("", "1")), "k")])
def test_the_size_of_the_state_is_held_to_the_byte(limit: int, deeds: Any) -> None:
    """No verb brings the store beyond its limit, and none is refused that would have fitted, or that shrinks it."""
    machine, free = running(limits=Limits(state_bytes=limit)), running()
    for (verb, argument), key in deeds:
        before = free.state.store.bytes
        try:
            expected = put(free, verb, key, argument)
        except StateTypeError:
            with pytest.raises(StateTypeError):
                put(machine, verb, key, argument)
            continue
        after = free.state.store.bytes
        if before < after and after > limit:
            with pytest.raises(ValueTooLarge) as caught:
                put(machine, verb, key, argument)
            assert (caught.value.what, caught.value.limit, caught.value.size) == ("state_bytes", limit, after)
            assert machine.state.store.bytes == before
            return
        assert put(machine, verb, key, argument) == expected
        assert machine.state.store.bytes == after
        check_bytes(machine.state.store)


@pytest.mark.rule("B8")
def test_a_swap_of_equal_size_fits() -> None:
    """A value in a nearly full store may be swapped for one of the same size."""
    machine = running(limits=Limits(state_bytes=100))
    old, new = '"' + "x" * 58 + '"', '"' + "y" * 58 + '"'
    put(machine, "set", "k", old)
    assert put(machine, "compare_and_set", "k", (old, new)) is True


@pytest.mark.rule("B8")
def test_a_merge_that_replaces_a_field_fits() -> None:
    """An object in a nearly full store may have a field replaced by one of the same size."""
    machine = running(limits=Limits(state_bytes=100))
    put(machine, "set", "k", '{"a":"' + "x" * 58 + '"}')
    put(machine, "merge", "k", '{"a":"' + "y" * 58 + '"}')


@pytest.mark.rule("A5", "B5")
def test_a_refusal_names_the_verb_and_the_key() -> None:
    """A wrong type is the caller's error, and the value stays."""
    machine = running()
    put(machine, "set", "k", "1")
    with pytest.raises(StateTypeError, match=r"push\('k'\).*a number '1'") as caught:
        put(machine, "push", "k", "2")
    assert (caught.value.key, caught.value.run_id) == ("k", "run")
    assert machine.state.store.values == {"k": 1}


@pytest.mark.rule("C3")
def test_what_changes_nothing_is_not_recorded() -> None:
    """No fact, and the documented reply."""
    machine = running()
    put(machine, "push", "l", "1")
    for verb, key, argument, reply in [
        ("delete", "none", None, False),
        ("extend", "l", (), 1),
        ("remove", "l", "9", 0),
        ("set_if_absent", "l", "1", False),
        ("compare_and_set", "none", ("1", "2"), False),
    ]:
        count = len(machine.facts)
        assert put(machine, verb, key, argument) == reply
        assert len(machine.facts) == count
    assert machine.tell(c.Transact(1, [("delete", "none", None)], "t")) is None
    assert len(machine.facts) == count
    assert put(machine, "delete", "l", None) is True


@pytest.mark.rule("C3")
def test_a_named_operation_is_applied_once() -> None:
    """Its name brings back the first reply; the name of something else is an `InputError`."""
    machine = running()
    ask = c.Operate(1, "increment", "k", 5, "once")
    assert [machine.tell(ask) for _ in range(2)] == [5, 5]
    assert machine.tell(c.Operate(1, "increment", "k", 99, "once")) == 5
    whole = c.Transact(1, [("increment", "k", 1)], "both")
    assert [machine.tell(whole) for _ in range(2)] == [None, None]
    assert machine.state.store.values == {"k": 6}
    for other in (
        c.Operate(1, "increment", "l", 5, "once"),
        c.Operate(1, "push", "k", "5", "once"),
        c.Operate(1, "push", "k", "5", "both"),
        c.Transact(1, [], "once"),
    ):
        with pytest.raises(InputError, match="already names"):
            machine.tell(other)
    n = machine.schedule("a")
    assert machine.tell(c.Operate(n, "increment", "k", 1, "once")) == 7, "names belong to the activation"


@pytest.mark.rule("A4", "C3")
def test_an_update_is_computed_from_the_value_at_its_turn() -> None:
    """The function sees what is there now; what it makes is recorded; its own error is its caller's."""
    machine = running()
    put(machine, "set", "k", "20")
    reply = machine.tell(c.Operate(1, "update", "k", None, compute=lambda old: f"[{old}]"))
    assert reply == [20]
    assert (machine.state.live[1].log or [])[-1] == ("update", "k", "[20]", [20])

    def broken(old: object) -> str:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        machine.tell(c.Operate(1, "update", "k", None, compute=broken))
    assert machine.state.store.values == {"k": "[20]"}


@pytest.mark.rule("B10")
@pytest.mark.parametrize("how", ["operate", "transact", "finish"])
def test_a_set_that_would_undo_a_foreign_change_is_refused(how: str) -> None:
    """The error names the key, both branches and what to do instead; other verbs go through."""
    machine = running()
    put(machine, "set", "k", "1")
    n = machine.schedule("a")
    mark = machine.state.store.writes
    put(machine, "increment", "k", 1)
    asks: dict[str, c.Command] = {
        "operate": c.Operate(n, "set", "k", "5", "", mark),
        "transact": c.Transact(n, [("push", "l", "1"), ("set", "k", "5")], "", {"k": mark}),
        "finish": c.FinishStep(n, "null", [("set", "k", "5")], {"k": mark}),
    }
    with pytest.raises(LostUpdate, match=r"'start'.*increment, push, update") as caught:
        machine.tell(asks[how])
    error = caught.value
    assert (error.key, error.activation_id, error.other_activation_id, error.run_id) == ("k", str(n), "1", "run")
    assert machine.state.store.values == {"k": 2}
    put(machine, "increment", "k", 1, n=n, mark=mark)
    put(machine, "set", "k", "7", n=n, mark=machine.state.store.writes)
    put(machine, "set", "k", "8", n=n, mark=machine.state.store.writes - 1)
    assert machine.state.store.values == {"k": 8}


@pytest.mark.rule("B10")
def test_the_one_who_undid_it_is_named_even_when_gone() -> None:
    """A finished step by its name, the start of the run as such; with ALLOW the last write wins."""
    machine = running(join=DRAIN)
    n = machine.schedule("a")
    put(machine, "set", "k", "1", n=n)
    machine.do(c.FinishStep(n, "null"))
    with pytest.raises(LostUpdate, match=f"step 'a' \\(activation {n}\\)"):
        put(machine, "set", "k", "2", mark=0)
    with pytest.raises(LostUpdate, match="by another branch"):
        put(machine, "set", "k", "2", n=77, mark=0)
    seeded = Machine(plan_of())
    seeded.do(c.StartRun("w", "", "", "null", "{}", "", {"k": "1"}))
    with pytest.raises(LostUpdate, match="another branch \\(activation the start of the run\\)"):
        put(seeded, "set", "k", "2", mark=0)
    loose = running(lost_updates=LostUpdates.ALLOW)
    other = loose.schedule("a")
    put(loose, "set", "k", "1", n=other)
    put(loose, "set", "k", "2", mark=0)
    assert loose.state.store.values == {"k": 2}


@pytest.mark.rule("B11", "A5")
@pytest.mark.parametrize("value", ["[1,2]", None, '{"a":1}', "pushed"])
def test_a_transaction_is_checked_as_a_whole_on_a_copy(value: str | None) -> None:
    """A late refusal leaves no trace, also on lists that views share; each verb sees those before it."""
    machine = running()
    if value == "pushed":
        for item in ("1", "2"):
            put(machine, "push", "k", item)
    elif value is not None:
        put(machine, "set", "k", value)
    before = {key: machine.state.store.text(key) for key in machine.state.store.values}
    view = dict(machine.state.store.values)
    for operations in (
        [("set", "k", "[]"), ("push", "k", "3"), ("extend", "k", ("4",)), ("increment", "k", 1)],
        [("remove", "k", "1"), ("push", "k", "3"), ("merge", "k", "{}")],
        [("push", "k", "3"), ("increment", "z", 1), ("push", "z", "1")],
    ):
        with pytest.raises(StateTypeError):
            machine.tell(c.Transact(1, operations))
        assert {key: machine.state.store.text(key) for key in machine.state.store.values} == before
        assert machine.state.store.values == view
    machine.tell(c.Transact(1, [("set", "k", "[]"), ("push", "k", "3"), ("delete", "none", None), ("push", "k", "4")]))
    assert machine.state.store.text("k") == "[3,4]"


@pytest.mark.rule("C4")
def test_the_first_result_of_a_once_stands() -> None:
    """A second one gets the first; an activation that is gone keeps nothing."""
    machine = running()
    assert [machine.tell(c.RecordOnce(1, "o", value)) for value in ("1", "2")] == ["1", "1"]
    assert machine.tell(c.RecordOnce(9, "o", "3")) == "3"
    assert machine.state.live[1].once == {"o": "1"}


def test_news_of_an_activation_that_is_gone_changes_no_log() -> None:
    """Operations, emits and schedules of somebody who is not live are applied, and remembered by nobody."""
    machine = running()
    put(machine, "set", "k", "1", n=9)
    machine.tell(c.Transact(9, [("set", "k", "2")], "name"))
    machine.tell(c.Emit(9, "e", "1"))
    machine.tell(c.Log(9, 1, 20, "line"))
    machine.do(c.ScheduleMany(9, "a", ["1"], T0))
    assert (machine.state.store.values, machine.state.live[1].log or []) == ({"k": 2}, [])
    assert 9 not in machine.state.live


# --- the ends of passes


@pytest.mark.rule("C3")
def test_a_success_publishes_what_was_buffered() -> None:
    """Operations, schedules with delays from now, emits, then the end; a taken key schedules nothing."""
    machine = running()
    machine.schedule("a", delay=50, key="taken")
    machine.now += 7
    command = c.FinishStep(
        1,
        '"out"',
        [("push", "k", "1"), ("delete", "none", None)],
        {},
        [
            c.Schedule(1, "a", "1", 2.0, "mine"),
            c.Schedule(1, "a", "2", 0.0, "taken"),
            c.ScheduleMany(1, "a", ["3", "4"], 1.0),
            c.Schedule(1, "a", "5", 0.0),
        ],
        [c.Emit(1, "e", "6")],
    )
    facts = machine.do(command)
    assert kinds(facts) == [
        "TransactionApplied",
        "StepScheduled",
        "StepsScheduled",
        "StepScheduled",
        "Emitted",
        "StepCompleted",
        "StepStarted",
    ]
    assert [(x.n, x.due) for x in facts if isinstance(x, f.StepScheduled)] == [(3, T0 + 9), (6, T0 + 7)]
    assert [(x.first, x.due) for x in facts if isinstance(x, f.StepsScheduled)] == [(4, T0 + 8)]
    nothing = running()
    nothing.schedule("a")
    assert kinds(nothing.do(c.FinishStep(1, "null", [("delete", "none", None)]))) == ["StepCompleted"]


@pytest.mark.rule("C2", "C3")
def test_a_key_is_held_within_one_success_too() -> None:
    """Two buffered schedules under one key arm one step."""
    machine = running()
    asks = [c.Schedule(1, "a", "1", 5.0, "k"), c.Schedule(1, "a", "2", 5.0, "k")]
    assert kinds(machine.do(c.FinishStep(1, "null", (), {}, asks))).count("StepScheduled") == 1
    other = running()
    asks += [c.Schedule(1, "a", str(n), 5.0) for n in range(3)]
    asks += [c.Schedule(1, "a", "2", 5.0, "l")]
    assert kinds(other.do(c.FinishStep(1, "null", (), {}, asks))).count("StepScheduled") == 5


@pytest.mark.rule("C13", "C12")
def test_a_success_while_the_run_stops_schedules_nothing() -> None:
    """Its operations and its output count, its schedules do not."""
    machine = running()
    machine.do(c.Bail(1, "1"))
    machine.tell(c.FinishStep(1, "2", [("set", "k", "1")], {}, [c.Schedule(1, "a", "1", 0.0)]))
    assert (machine.state.store.values, machine.state.armed_count) == ({"k": 1}, 0)
    assert machine.state.done[1][2] == "completed"


@pytest.mark.rule("C5")
def test_a_failure_is_retried_while_the_policy_allows() -> None:
    """Three attempts with growing pauses, then the step has failed; an exception that is not covered fails at once."""
    machine = running(join=DRAIN)
    n = machine.schedule("tough")
    fail = c.FailStep(n, "E", "text", True, 0.5)
    for pause in (1.0, 2.0):
        facts = machine.do(fail)
        assert isinstance(facts[0], f.AttemptFailed)
        assert facts[0].due == machine.now + pause
        assert kinds(machine.do(c.Tick(), after=pause)) == ["StepStarted"]
    assert machine.state.live[n].attempt == 3
    assert kinds(machine.do(fail)) == ["StepFailed"]
    assert machine.state.done[n][2:7] == ("failed", 3, "null", "E", "text")
    other = machine.schedule("tough")
    assert kinds(machine.do(c.FailStep(other, "E", "", False, 0.5))) == ["StepFailed"]
    assert machine.state.failures == [n, other]


@pytest.mark.rule("C5", "C12")
def test_nothing_is_retried_while_the_run_stops() -> None:
    """A pass that fails in a stopping run has failed for good."""
    machine = running()
    n = machine.schedule("tough")
    machine.do(c.CancelRun("r"))
    assert kinds(machine.do(c.FailStep(n, "E", "", True, 0.5))) == ["StepFailed"]


@pytest.mark.rule("C5")
def test_an_interruption_is_no_attempt() -> None:
    """The step runs again with the same attempt, and its success forgets the error of the attempt before."""
    machine = running()
    n = machine.schedule("tough")
    machine.do(c.FailStep(n, "E", "text", True, 0.5))
    machine.do(c.Tick(), after=1)
    assert kinds(machine.do(c.InterruptStep(n, True))) == ["StepInterrupted", "StepStarted"]
    activation = machine.state.live[n]
    assert (activation.attempt, activation.crashes, activation.interrupted) == (2, 1, True)
    machine.do(c.InterruptStep(n, False))
    assert activation.crashes == 1
    machine.do(c.FailStep(n, "E", "text", True, 0.5))
    assert not activation.interrupted
    machine.do(c.Tick(), after=2)
    machine.do(c.FinishStep(n, "1"))
    assert machine.state.done[n][2:7] == ("completed", 3, "1", "", "")


@pytest.mark.parametrize(
    "command",
    [
        c.FinishStep(9, "1"),
        c.FailStep(9, "E", "", True, 0.5),
        c.DropStep(9),
        c.InterruptStep(9, True),
        c.FinishHook(9, "1"),
    ],
)
def test_the_end_of_a_pass_that_is_not_live_is_no_news(command: c.Command) -> None:
    """No facts, no error."""
    machine = running()
    assert decide(machine.state, machine.plan, command, T0).facts == ()


@pytest.mark.rule("B12")
def test_the_record_of_a_finished_run_folds_without_its_values() -> None:
    """Facts whose arguments are gone change nothing, and nothing goes wrong."""
    state = fold(
        RunState("run"),
        [
            f.OperationApplied(T0, 1, "push", "k", None, ""),
            f.OperationApplied(T0, 1, "delete", "k", None, ""),
            f.OperationApplied(T0, 1, "pop", "k", None, ""),
            f.TransactionApplied(T0, 1, [("set", "k", None), ("delete", "k", None)], ""),
        ],
    )
    assert (state.store.values, state.store.bytes, state.seq) == ({}, 0, 4)

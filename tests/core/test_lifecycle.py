"""The tables of legal moves, and random runs held to them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import APPLY
from actorflow._core.decide import DECIDE, decide
from actorflow._core.lifecycle import (
    ENDING_STATUS,
    PHASE_MOVES,
    RUN_MOVES,
    RUN_OVER,
    RUN_SETTLED,
    STEP_MOVES,
    STEP_OVER,
    Ending,
    Phase,
    RunStatus,
    StepStatus,
)
from actorflow._core.plan import NodeKind
from actorflow._core.policies import DRAIN, Join, JoinKind, Limits, first
from actorflow._core.react import HOOK_OF, pending, wake_at
from actorflow._core.state_text import dump_state, load_state
from actorflow._core.values import encode
from actorflow._ids import HOOKS, guest
from actorflow.errors import ActorflowError
from tests.core.machine import START_RUN, STEPS, Machine, chain_plan, check_books, check_fold, link, plan_of

# --- the tables


@pytest.mark.parametrize(("enum", "moves"), [(RunStatus, RUN_MOVES), (StepStatus, STEP_MOVES), (Phase, PHASE_MOVES)])
def test_each_table_is_total_and_closed(enum: Any, moves: Any) -> None:
    """Every state has its row, and every move leads to another state that has one."""
    assert set(moves) == set(enum)
    for state, targets in moves.items():
        assert targets <= set(enum)
        assert state not in targets


def test_what_is_over_stays_over() -> None:
    """The states without a move are the documented ends, and each is reached from somewhere."""
    assert {status for status, moves in RUN_MOVES.items() if not moves} == RUN_OVER
    assert {RunStatus.SUSPENDED} == RUN_SETTLED - RUN_OVER
    assert {StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED} == STEP_OVER
    assert {phase for phase, moves in PHASE_MOVES.items() if not moves} == {Phase.OVER}
    assert set().union(*STEP_MOVES.values()) == set(StepStatus)
    assert set().union(*RUN_MOVES.values()) == set(RunStatus)


def test_every_ending_has_a_status_and_a_hook() -> None:
    """No way of ending is left without its status or its hook."""
    assert set(ENDING_STATUS) == set(HOOK_OF) == set(Ending)
    assert set(ENDING_STATUS.values()) == RUN_OVER
    assert set(HOOK_OF.values()) == HOOKS


def test_the_dispatch_tables_cover_the_closed_unions() -> None:
    """There is one deciding function per command and one writing function per fact."""
    assert set(DECIDE) == set(c.COMMANDS)
    assert set(APPLY) == set(f.FACTS)


# --- random runs

KEYS = ("k", "l", "é")
EVENTS = ("ping", "pong")
DELAYS = (0.0, 0.5, 3.0)
DETOURS = ("1", "-7", "2.5", '"text"', "[1,2]", "{}", '{"x":1}', "null", "[]")
OPERATIONS: tuple[tuple[str, Any], ...] = (
    *(("set", text) for text in DETOURS),
    ("push", "1"),
    ("push", '"é"'),
    ("extend", ("1", '"x"')),
    ("extend", ()),
    ("remove", "1"),
    ("increment", 2),
    ("increment", 0.5),
    ("maximum", 5),
    ("minimum", -5),
    ("merge", '{"y":2}'),
    ("delete", None),
    ("pop", None),
    ("set_if_absent", "3"),
    ("compare_and_set", ("", "4")),
    ("compare_and_set", ("1", '"x"')),
    ("update", '{"u":[]}'),
)
KINDS = (
    "schedule schedule many wait event operate operate transact once emit log unschedule finish finish finish buffered "
    "fail fail drop interrupt cancel bail tick tick suspend suspend resume resume child child report report guest claim"
).split()
RARE = ("cancel", "bail")
ENDS = ("finish", "buffered", "fail", "drop", "interrupt", "suspend")
ARMS = ("schedule", "many", "wait", "unschedule", "buffered")
NEWS = (RunStatus.SUSPENDED, RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
ASKS = st.tuples(st.sampled_from(KINDS), st.integers(0, 1 << 16), st.integers(0, 1 << 16), st.booleans())
Ask = tuple[str, int, int, bool]


def pick(items: Any, number: int) -> Any:
    """One of `items`; 0 if there is none."""
    items = list(items)
    return items[number % len(items)] if items else 0


def operation(number: int, other: int) -> tuple[str, str, Any]:
    """One verb on one key."""
    verb, argument = pick(OPERATIONS, number)
    return verb, pick(KEYS, other), argument


def work_of(machine: Machine, kind: str, x: int, y: int, flag: bool) -> c.Command:
    """A command of a step that is live, or of the outside."""
    state = machine.state
    n = pick(sorted(state.live), y)
    due = machine.now + pick(DELAYS, x)
    step = pick(STEPS, x + y)
    match kind:
        case "schedule":
            return c.Schedule(n, step, encode(x), due, pick(("", "", "one", "two"), y))
        case "many":
            return c.ScheduleMany(n, step, [encode(i) for i in range(x % 5)], due)
        case "wait":
            deadline = machine.now + pick(DELAYS, y) if flag else 0.0
            return c.OpenWait(n, step, encode(x), pick(EVENTS, x), deadline, "a" if x % 3 else "")
        case "event":
            return c.SendEvent(pick(EVENTS, x), encode(y))
        case "operate":
            verb, key, argument = operation(x, y)
            compute = (lambda old: ("[0]", "mark")) if verb == "update" and flag else None
            return c.Operate(n, verb, key, argument, "named" if flag and y % 7 == 0 else "", -1, compute)
        case "transact":
            return c.Transact(n, [operation(x + i, y + i) for i in range(1 + x % 3)], "whole" if y % 7 == 0 else "")
        case "once":
            return c.RecordOnce(n, pick(("u", "v"), x), encode(y))
        case "emit":
            return c.Emit(n, "news", encode(x))
        case "log":
            return c.Log(n, 1, 20, "line")
        case "unschedule":
            return c.Unschedule(pick(sorted(state.armed), x))
        case "resume":
            asked = pick(sorted(state.suspended), x)
            return c.ResumeStep(asked, encode(y), state.suspended[asked].wakes if asked else 0)
        case "child" if n:
            return c.StartChild(n, "Child", encode(x % 3), len)
        case "report":
            gives = [operation(x + i, y + i) for i in range(y % 3)]
            return c.ReportChild(pick(sorted(state.calls), x), pick(NEWS, y), encode(y), operations=gives)
        case "guest" if state.open_calls:
            call = pick([m for m in sorted(state.calls) if state.calls[m].status not in RUN_OVER], x)
            verb, key, argument = operation(x, y)
            return c.Operate(guest(f"{call}.{1 + y % 3}", 0), verb, key, argument, "named" if y % 7 == 0 else "")
        case "claim":
            return c.ClaimEvent(pick(EVENTS, x), "run~9")
        case "cancel":
            return c.CancelRun("enough")
        case "bail":
            return c.Bail(n, encode(x))
        case _:
            return c.Tick()


def end_of(machine: Machine, kind: str, n: int, x: int, flag: bool) -> c.Command:
    """The end of a pass, as the shell would report it in this phase."""
    state = machine.state
    if n in state.live and state.live[n].step in HOOKS:
        if kind == "interrupt" and state.phase is Phase.HOOK:
            return c.InterruptStep(n, flag)
        if kind in ("drop", "interrupt"):
            return c.DropStep(n)
        return c.FinishHook(n, "", "Oops", "it broke") if kind == "fail" else c.FinishHook(n, encode(x) if flag else "")
    match kind:
        case "finish":
            return c.FinishStep(n, encode([*range(x % 4)] if flag and state.flow is not None else x))
        case "suspend" if n not in state.live or state.phase is not Phase.HOOK:
            waits_for = [m for m, call in state.calls.items() if call.by == n and call.status not in RUN_OVER]
            return c.SuspendStep(n, pick(waits_for, x), "label" if flag else "", encode(x))
        case "buffered":
            schedules = [c.Schedule(n, "a", "1", 0.0), c.ScheduleMany(n, "gated", ["1", "2"], 0.5)]
            schedules.append(c.Schedule(n, "tough", "null", 0.0, "one"))
            return c.FinishStep(n, "null", [operation(x, x)], {}, schedules, [c.Emit(n, "news", "1")])
        case "fail":
            return c.FailStep(n, "Oops", "it broke", flag, 0.5)
        case "interrupt" if state.phase is Phase.OPEN:
            return c.InterruptStep(n, flag)
        case _:
            return c.DropStep(n)


def command_for(machine: Machine, ask: Ask) -> c.Command:
    """The command that `ask` means in this state of the run."""
    kind, x, y, flag = ask
    graph = machine.plan.chain is not None
    if kind in RARE and x % 6:
        kind = "tick" if graph else "many"
    if graph and kind in ARMS:
        kind = "finish"  # in a graph nobody but the chain arms a step
    if not graph and kind in ENDS and machine.state.open_steps == 1 and x % 8:
        kind = "many"  # a run that ends at once shows little
    if kind in ENDS:
        return end_of(machine, kind, pick(sorted(machine.state.live), y), x, flag)
    return work_of(machine, kind, x, y, flag)


def play(machine: Machine, ask: Ask) -> tuple[list[f.Fact], object]:
    """One ask: what was recorded, and the reply or the error."""
    command = command_for(machine, ask)
    count = len(machine.facts)
    try:
        reply: object = machine.tell(command)
    except ActorflowError as error:
        assert len(machine.facts) == count, "a refused command changes nothing"
        reply = type(error)
        if isinstance(command, c.FinishStep):  # what was buffered does not fit: the shell fails the pass
            machine.tell(c.FailStep(command.n, type(error).__name__, str(error), ask[3], 0.5))
    if isinstance(command, c.FinishStep | c.FailStep | c.DropStep | c.InterruptStep | c.FinishHook | c.SuspendStep):
        n = command.n
        late_news = (c.FinishStep(n, "1"), c.FailStep(n, "E", "", True, 0.5), c.DropStep(n), c.FinishHook(n, "1"))
        for late in (*late_news, c.SuspendStep(n)):
            assert decide(machine.state, machine.plan, late, machine.now).facts == ()
    machine.settle()
    return machine.facts[count:], reply


JOINS = st.sampled_from([DRAIN, Join(JoinKind.ALL), Join(JoinKind.TOLERATE, 1), Join(JoinKind.TOLERATE, None, 0.5)])
HOOK_SETS = st.sets(st.sampled_from(sorted(HOOKS))).map(frozenset)
GROUP_JOINS = JOINS | st.sampled_from([first(1), first(2)])
MEMBERS = st.lists(st.sampled_from(STEPS), min_size=1, max_size=4, unique=True)
ONE = st.sampled_from(STEPS)
LINKS = st.one_of(
    ONE.map(lambda step: link(NodeKind.STEP, step)),
    st.builds(lambda steps, join: link(NodeKind.PARALLEL, *steps, join=join), MEMBERS, GROUP_JOINS),
    MEMBERS.map(lambda steps: link(NodeKind.BRANCH, *steps, question="_which")),
    st.builds(
        lambda step, join, bound: link(NodeKind.FOREACH, step, join=join, concurrency=bound),
        ONE,
        GROUP_JOINS,
        st.sampled_from([None, 1, 2]),
    ),
    ONE.map(lambda step: link(NodeKind.LOOP, step, question="_again")),
    st.sampled_from([0.0, 2.0]).map(lambda delay: link(NodeKind.SLEEP, "_sleep", delay_s=delay)),
    st.just(link(NodeKind.SLEEP, "_sleep", question="_until")),
    st.sampled_from([None, 3.0]).map(lambda wait: link(NodeKind.EVENT, "_event", event=EVENTS[0], timeout_s=wait)),
)


@st.composite
def plans(draw: Any, room: int | None = None) -> Any:
    """Plans of classes and of graphs, of every join, with and without hooks, with little and much room."""
    join = draw(JOINS)
    crashes = draw(st.sampled_from([2, 100]))
    options: Any = {
        "join": join,
        "hooks": draw(HOOK_SETS),
        "max_live_steps": room or draw(st.sampled_from([1, 3, 1000])),
        "limits": Limits(crashes_per_step=crashes, keys=draw(st.sampled_from([2, 10]))),
    }
    if draw(st.booleans()):
        return plan_of(**options)
    return chain_plan(*draw(st.lists(LINKS, min_size=1, max_size=4)), **options)


@pytest.mark.rule("C1", "C6", "A5")
@settings(max_examples=300, deadline=None)
@given(plan=plans(), asks=st.lists(st.tuples(ASKS, st.sampled_from([0.0, 0.25, 1.0, 4.0])), min_size=5, max_size=60))
def test_every_move_of_a_random_run_is_legal(plan: Any, asks: Any) -> None:
    """Whatever is asked of a run: it moves as the tables say, keeps true books, and folds back to itself."""
    machine = Machine(plan).start()
    for ask, pause in asks:
        machine.now += pause
        play(machine, ask)
        check_books(machine)
        assert pending(machine.state) == list(machine.state.live)
    check_fold(machine)


@pytest.mark.rule("C1", "C9")
@settings(max_examples=150, deadline=None)
@given(plan=plans(), asks=st.lists(ASKS, min_size=3, max_size=25))
def test_every_random_run_can_be_brought_to_its_end(plan: Any, asks: Any) -> None:
    """A run whose steps all end and whose events all come is over after finitely many steps, with one `RunEnded`."""
    machine = Machine(plan).start()
    for ask in asks:
        machine.now += 1
        play(machine, ask)
    for _ in range(1000):
        state = machine.state
        if state.phase is Phase.OVER:
            break
        if state.live:
            play(machine, ("finish", 0, 0, False))
            continue
        if state.open_calls:
            machine.do(c.ReportChild(machine.account.open_calls()[0], RunStatus.COMPLETED))
            continue
        if state.suspended:
            n = min(state.suspended)
            machine.do(c.ResumeStep(n, "true", state.suspended[n].wakes))
            continue
        due = wake_at(state, plan)
        machine.now = max(machine.now, due)
        command = c.SendEvent(next(iter(state.waits)), "null") if state.waits else c.Tick()
        later = wake_at(state, plan) if machine.do(command) == [] else 0.0
        assert later == 0.0 or later > due, "nothing is live, no event is awaited, and the due time brings nothing"
    assert machine.state.status in RUN_OVER
    assert sum(isinstance(fact, f.RunEnded) for fact in machine.facts) == 1
    assert machine.state.open_steps == 0
    check_fold(machine)


@pytest.mark.rule("F3", "F8")
@settings(max_examples=300, deadline=None)
@given(
    plan=plans(),
    before=st.lists(st.tuples(ASKS, st.sampled_from([0.0, 0.25, 1.0, 4.0])), min_size=5, max_size=30),
    after=st.lists(st.tuples(ASKS, st.sampled_from([0.0, 0.25, 1.0, 4.0])), min_size=5, max_size=30),
)
def test_a_state_that_went_through_text_goes_on_like_the_original(plan: Any, before: Any, after: Any) -> None:
    """Dumping and loading gives the same text again, and the same facts and replies under the same commands."""
    machine = Machine(plan).start()
    for ask, pause in before:
        machine.now += pause
        play(machine, ask)
    other = machine.copy()
    assert dump_state(other.state) == dump_state(machine.state)
    for ask, pause in after:
        machine.now += pause
        other.now += pause
        assert play(other, ask) == play(machine, ask)
    assert dump_state(other.state) == dump_state(machine.state)
    check_books(other)


@pytest.mark.rule("F3", "F4")
@settings(max_examples=150, deadline=None)
@given(
    plan=plans(room=1000), asks=st.lists(st.tuples(ASKS, st.sampled_from([0.25, 1.0, 4.0])), min_size=5, max_size=30)
)
def test_the_end_of_the_process_interrupts_what_was_live_and_nothing_else(plan: Any, asks: Any) -> None:
    """Each live step is armed again with what it has done, and all others stand as they stood; what its join had
    decided against is cancelled.
    """
    machine = Machine(plan).start()
    for ask, pause in asks:
        machine.now += pause
        play(machine, ask)
    state = machine.state
    live = {n: (item.step, item.payload, item.log, item.failures) for n, item in state.live.items()}
    done, suspended = dict(state.done), dict(state.suspended)
    closed = state.flow is not None and state.flow.group is not None and state.flow.group.closed
    for n in pending(state):
        machine.tell(c.DropStep(n) if state.phase is Phase.STOPPING else c.InterruptStep(n, True))
    assert not state.live
    assert state.suspended == suspended
    if closed:
        ended = {n: row[2] for n, row in state.done.items() if n not in done}
        assert ended == dict.fromkeys(live, "cancelled")
    elif state.phase is not Phase.STOPPING:
        assert state.done == done
        for n, kept in live.items():
            item = state.armed[n]
            assert (item.step, item.payload, item.log, item.failures) == kept  # type: ignore[union-attr]  # armed again: an activation
            assert item.interrupted  # type: ignore[union-attr]  # armed again: an activation
    machine.settle()
    check_books(machine)
    check_fold(machine)


def test_a_run_state_starts_open_and_empty() -> None:
    """A fresh state owes nothing, and its text loads into an equal one."""
    machine = Machine(plan_of())
    assert (machine.state.open_steps, machine.state.wake_at(), machine.state.phase) == (0, 0.0, Phase.OPEN)
    text = dump_state(machine.state)
    assert dump_state(load_state("run", text)) == text
    machine.do(START_RUN)
    assert machine.starts() == [1]

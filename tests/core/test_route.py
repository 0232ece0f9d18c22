"""The chain of a graph: every kind of link, every join, driven through decide, apply and settle."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import apply
from actorflow._core.decide import decide
from actorflow._core.lifecycle import Ending, Phase, RunStatus, StepStatus
from actorflow._core.plan import Node, NodeKind
from actorflow._core.policies import ALL, DRAIN, Join, Limits, first, tolerate
from actorflow._core.react import has_nothing_left, judge, open_gates, settle, wake_at
from actorflow._core.route import is_last
from actorflow._core.run_state import RunState
from actorflow._core.state_text import dump_state, load_state
from actorflow._core.values import encode
from actorflow.errors import RunOver
from tests.core.machine import T0, Machine, chain_plan, check_books, check_fold, kinds, link, plan_of

STEP, PARALLEL, BRANCH, FOREACH = NodeKind.STEP, NodeKind.PARALLEL, NodeKind.BRANCH, NodeKind.FOREACH
LOOP, SLEEP, EVENT = NodeKind.LOOP, NodeKind.SLEEP, NodeKind.EVENT


def begun(*nodes: Node, data: object = 0, **options: Any) -> Machine:
    """A graph that has just started with `data`."""
    return Machine(chain_plan(*nodes, **options)).start(data)


def group(kind: NodeKind, join: Join, count: int = 4, run_join: Join = ALL, **options: Any) -> Machine:
    """A graph of one group of `count` members, and a step behind it."""
    names = ["m"] if kind is FOREACH else [f"m{i}" for i in range(count)]
    behind = link(STEP, "behind")
    return begun(link(kind, *names, join=join), behind, data=list(range(count)), join=run_join, **options)


def outcome(machine: Machine) -> tuple[RunStatus, object]:
    """How the run ended, with its output."""
    assert machine.state.phase is Phase.OVER
    check_books(machine)
    check_fold(machine)
    return machine.state.status, json.loads(machine.state.output)


def payloads(machine: Machine) -> dict[str, object]:
    """What each live step was given."""
    return {item.step: json.loads(item.payload) for item in machine.state.live.values()}


def failures(machine: Machine) -> list[tuple[str, str]]:
    """Step and error type of every recorded failure."""
    return [(machine.state.done[n][1], machine.state.done[n][5]) for n in machine.state.failures]


# --- one link after the other


def test_a_chain_hands_on_what_each_link_gives() -> None:
    """The run's input first, its output the last one; the same step may stand twice."""
    machine = begun(link(STEP, "a"), link(STEP, "both"), link(STEP, "a"), data={"in": 1})
    assert payloads(machine) == {"a": {"in": 1}}
    assert kinds(machine.finish("a", 1)) == ["StepCompleted", "NodeEntered", "StepStarted"]
    assert payloads(machine) == {"both": 1}
    machine.finish("both", 2)
    assert machine.do(c.Tick()) == []
    assert kinds(machine.finish("a", 3, after=9)) == ["StepCompleted", "NodeEntered", "RunStopping", "RunEnded"]
    assert outcome(machine) == (RunStatus.COMPLETED, 3)
    assert machine.state.outputs == {"a": "3", "both": "2"}
    assert machine.state.counts[StepStatus.COMPLETED] == 3


@pytest.mark.rule("C1")
def test_a_chain_without_links_gives_its_input() -> None:
    """There is nothing to wait for."""
    assert outcome(begun(data="x")) == (RunStatus.COMPLETED, "x")


@pytest.mark.rule("C6")
@pytest.mark.parametrize("join", [ALL, DRAIN])
def test_a_failed_link_ends_the_chain(join: Join) -> None:
    """Nothing behind it starts, and there is no output."""
    machine = begun(link(STEP, "a"), link(STEP, "both"), join=join)
    machine.fail("a")
    assert outcome(machine) == (RunStatus.FAILED, None)
    assert failures(machine) == [("a", "Oops")]


@pytest.mark.rule("C6")
def test_a_tolerant_run_bears_the_failure_of_its_chain_without_an_output() -> None:
    """The chain has ended all the same."""
    machine = begun(link(STEP, "a"), link(STEP, "both"), join=tolerate(count=1))
    machine.fail("a")
    assert outcome(machine) == (RunStatus.COMPLETED, None)


@pytest.mark.rule("C5")
def test_a_link_is_retried_like_any_step() -> None:
    """The chain waits for its last attempt."""
    machine = begun(link(STEP, "tough"), link(STEP, "a"))
    assert kinds(machine.fail("tough", retryable=True)) == ["AttemptFailed"]
    machine.do(c.Tick(), after=1)
    machine.do(c.InterruptStep(machine.live("tough"), True))
    machine.finish("tough", 1)
    assert payloads(machine) == {"a": 1}
    machine.finish("a")
    outcome(machine)


# --- parallel and branch


@pytest.mark.rule("C9")
@pytest.mark.parametrize("order", ["abc", "cba", "bca"])
def test_a_parallel_gives_every_output_by_id(order: str) -> None:
    """All members get the same data; the order of the outputs is that of the members."""
    machine = begun(link(STEP, "a"), link(PARALLEL, "b", "c", "d"), link(STEP, "e"))
    machine.finish("a", "x")
    assert payloads(machine) == {"b": "x", "c": "x", "d": "x"}
    names = dict(zip("abc", "bcd", strict=True))
    for place, letter in enumerate(order):
        facts = kinds(machine.finish(names[letter], names[letter].upper()))
        assert facts == ["StepCompleted", *(["NodeEntered", "StepStarted"] if place == 2 else [])]
    assert list(payloads(machine)["e"].items()) == [("b", "B"), ("c", "C"), ("d", "D")]  # type: ignore[attr-defined]  # it is an object
    machine.finish("e", "out")
    assert outcome(machine) == (RunStatus.COMPLETED, "out")


@pytest.mark.rule("C9")
@pytest.mark.parametrize(
    ("answer", "runs", "gives"),
    [
        ([0, 2], ["b", "d"], {"b": "B", "d": "D"}),
        ([1], ["c"], {"c": "C"}),
        ([0, 1, 2], ["b", "c", "d"], {"b": "B", "c": "C", "d": "D"}),
        ([], [], {}),
        (None, [], {}),
    ],
)
def test_a_branch_runs_what_its_question_names(answer: object, runs: list[str], gives: dict[str, str]) -> None:
    """The others are skipped, and absent from the output; nobody at all is an empty output."""
    machine = begun(link(STEP, "a"), link(BRANCH, "b", "c", "d", question="_which"), link(STEP, "e"))
    machine.finish("a", "x")
    assert payloads(machine) == {"_which": "x"}
    machine.finish("_which", answer)
    assert payloads(machine) == (dict.fromkeys(runs, "x") or {"e": {}})
    for name in reversed(runs):
        machine.finish(name, name.upper())
    assert payloads(machine) == {"e": gives}
    state = machine.state
    assert state.counts[StepStatus.SKIPPED] == 3 - len(runs)
    assert state.counts[StepStatus.COMPLETED] == 1 + len(runs), "the question is not counted"
    assert "b" in state.outputs or "b" not in runs
    machine.finish("e")
    outcome(machine)


def test_a_condition_that_fails_fails_the_run_and_is_counted() -> None:
    """The part of the graph that broke is among the failures, though it has no author."""
    machine = begun(link(BRANCH, "b", "c", question="_which"))
    machine.fail("_which")
    assert outcome(machine) == (RunStatus.FAILED, None)
    assert failures(machine) == [("_which", "Oops")]
    assert machine.state.counts[StepStatus.FAILED] == 1


# --- joins


@pytest.mark.rule("C6", "C9", "C12")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
def test_all_cancels_and_awaits_the_rest_at_the_first_failure(kind: NodeKind) -> None:
    """Armed members are dropped, live ones awaited, and what they still say is heard; then the run fails."""
    machine = group(kind, ALL, 5, max_live_steps=4)
    machine.finish(1)
    assert kinds(machine.fail(2)) == ["StepFailed", "GroupClosed"]
    assert sorted(machine.state.live) == [3, 4, 5], "the fifth had got the place of the first"
    assert kinds(machine.finish(3)) == ["StepCompleted"]
    assert kinds(machine.fail(4, retryable=True)) == ["StepFailed"], "it is not tried again"
    assert kinds(machine.do(c.DropStep(5))) == ["StepCancelled", "NodeFailed", "RunStopping", "RunEnded"]
    assert outcome(machine)[0] is RunStatus.FAILED
    assert len(machine.state.failures) == 2


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
@pytest.mark.parametrize("run_join", [ALL, DRAIN, tolerate(count=0)])
def test_drain_lets_all_finish_and_then_fails(kind: NodeKind, run_join: Join) -> None:
    """Also in a run whose own join would go on: of a graph, the chain has ended."""
    machine = group(kind, DRAIN, 3, run_join)
    assert kinds(machine.fail(1)) == ["StepFailed"]
    machine.finish(3)
    assert kinds(machine.finish(2)) == ["StepCompleted", "GroupClosed", "NodeFailed", "RunStopping", "RunEnded"]
    assert outcome(machine) == (RunStatus.FAILED, None)
    assert machine.state.ending is Ending.FAIL


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
def test_tolerate_gives_a_record_for_each_failure(kind: NodeKind) -> None:
    """In the place of its output; the failures are listed, and the run completes."""
    machine = group(kind, tolerate(fraction=0.5))
    machine.fail(2)
    machine.finish(4, "D")
    machine.fail(3)
    machine.finish(1, "A")
    given_on: Any = payloads(machine)["behind"]
    members = given_on if kind is FOREACH else list(given_on.values())
    record = {"activation_id": "2", "attempts": 1, "error_type": "Oops", "message": "it broke"}
    record["step_id"] = "m" if kind is FOREACH else "m1"
    assert [members[0], members[1], members[3]] == ["A", record, "D"]
    machine.finish("behind", "out")
    assert outcome(machine) == (RunStatus.COMPLETED, "out")
    assert (len(machine.state.failures), judge(machine.state, machine.plan)) == (2, Ending.COMPLETE)


@pytest.mark.rule("C6")
def test_tolerate_is_lost_as_soon_as_nothing_can_save_it() -> None:
    """The third failure of at most two: the rest is cancelled; skipped members count for nothing."""
    machine = group(PARALLEL, tolerate(fraction=0.5))
    machine.fail(1)
    machine.fail(2)
    assert kinds(machine.fail(3)) == ["StepFailed", "GroupClosed"]
    machine.do(c.InterruptStep(4, True))
    assert machine.state.done[4][2] == "cancelled"
    assert outcome(machine) == (RunStatus.FAILED, None)
    assert failures(machine) == [("m0", "Oops"), ("m1", "Oops"), ("m2", "Oops")]
    chosen = begun(link(BRANCH, "b", "c", "d", "e", question="_which", join=tolerate(fraction=0.5)))
    chosen.finish("_which", [0, 1])
    chosen.fail("b")
    assert chosen.state.phase is Phase.OPEN
    assert kinds(chosen.fail("c"))[:2] == ["StepFailed", "GroupClosed"]


@pytest.mark.rule("C6", "C9", "C12")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
def test_first_is_done_at_the_kth_success(kind: NodeKind) -> None:
    """The rest is cancelled, awaited and absent, also what still succeeds after the join was decided."""
    machine = group(kind, first(2))
    machine.fail(1)
    machine.finish(4, "D")
    assert kinds(machine.finish(2, "B")) == ["StepCompleted", "GroupClosed"]
    assert kinds(machine.finish(3, "late")) == ["StepCompleted", "NodeEntered", "StepStarted"]
    gives: object = ["B", "D"] if kind is FOREACH else {"m1": "B", "m3": "D"}
    assert payloads(machine) == {"behind": gives}
    machine.finish("behind")
    assert outcome(machine)[0] is RunStatus.COMPLETED


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
def test_first_takes_no_more_than_k_of_those_that_end_in_one_breath(kind: NodeKind) -> None:
    """All have ended before anybody looks: the first k in the order of their ends are in."""
    machine = group(kind, first(2))
    for n in (3, 1, 4, 2):
        machine.tell(c.FinishStep(n, encode(n)))
    machine.settle()
    gives: object = [1, 3] if kind is FOREACH else {"m0": 1, "m2": 3}
    assert payloads(machine) == {"behind": gives}
    assert machine.state.counts[StepStatus.COMPLETED] == 4
    machine.finish("behind")
    outcome(machine)


@pytest.mark.rule("C6", "C8")
@pytest.mark.parametrize(("join", "good"), [(first(2), True), (ALL, False)])
@pytest.mark.parametrize(("concurrency", "places"), [(2, 1000), (None, 2)])
def test_a_member_that_is_not_needed_any_more_does_not_start(
    join: Join, good: bool, concurrency: int | None, places: int
) -> None:
    """The place that becomes free with the decision of the join is nobody's."""
    chain = link(FOREACH, "m", join=join, concurrency=concurrency)
    machine = begun(chain, data=[1, 2, 3, 4], max_live_steps=places)
    if good:
        machine.finish(1, "A")
    started = machine.starts()
    facts = machine.finish(2, "B") if good else machine.fail(2)
    assert kinds(facts)[:2] == ["StepCompleted" if good else "StepFailed", "GroupClosed"]
    machine.do(c.DropStep(3 if good else 1))
    assert machine.starts() == started
    assert outcome(machine) == ((RunStatus.COMPLETED, ["A", "B"]) if good else (RunStatus.FAILED, None))


@pytest.mark.rule("F3", "F4")
@pytest.mark.parametrize(
    "node",
    [
        link(PARALLEL, "a", "b"),
        link(FOREACH, "a"),
        link(BRANCH, "a", "b", question="_which"),
        link(LOOP, "a", question="_again"),
        link(SLEEP, "_sleep", question="_until"),
        link(EVENT, "_event", event="go"),
    ],
    ids=lambda node: node.kind.value,
)
def test_a_history_may_be_cut_between_any_two_facts(node: Node) -> None:
    """What settles in one go may be cut in two, as by a fork: whatever its beginning, it goes on to the same end."""
    whole = drive(begun(node, link(STEP, "behind"), data=[1, 2]))
    for count in range(1, len(whole.facts)):
        part = Machine(whole.plan)
        for fact in whole.facts[:count]:
            part.record(fact)
        for n in list(part.state.live):
            part.tell(c.InterruptStep(n, True))
        part.settle()
        drive(part)
        assert outcome(part) == outcome(whole)
        assert on_the_chain(part) == on_the_chain(whole)


def drive(machine: Machine) -> Machine:
    """Bring a run to its end: live steps return what their name says, events come."""
    answers: dict[str, object] = {"_which": [0, 1], "_again": False, "_until": 0}
    while machine.state.phase is Phase.OPEN:
        if machine.state.live:
            n = min(machine.state.live)
            step = machine.state.live[n].step
            machine.finish(n, answers.get(step, [step, n]))
        else:
            assert machine.state.waits, "nothing is live and nothing is awaited"
            machine.do(c.SendEvent("go", '"e"'))
    return machine


def on_the_chain(machine: Machine) -> list[f.Fact]:
    """What happened on the chain."""
    return [fact for fact in machine.facts if isinstance(fact, f.NodeEntered | f.GroupOpened)]


@pytest.mark.rule("D6", "F4")
def test_an_event_that_was_kept_finds_a_wait_that_was_cut_off_from_it() -> None:
    """A history that ends between the wait and the event that it takes; events of other names stay kept."""
    for names in (["go"], ["other", "go"]):
        machine = begun(link(EVENT, "_event", event="go"), data="x")
        for name in names:
            machine.record(f.EventReceived(T0, name, f'"{name}"', 0))
        assert kinds(machine.settle())[:2] == ["EventTaken", "StepStarted"]
        assert machine.state.output == '"go"'
    other = begun(link(EVENT, "_event", event="go"), data="x")
    other.do(c.SendEvent("other", "1"))
    assert other.state.kept.keys() == {"other"}
    assert other.state.phase is Phase.OPEN


@pytest.mark.rule("C6")
@pytest.mark.parametrize("kind", [PARALLEL, FOREACH])
def test_first_that_cannot_be_met_fails_at_once_and_says_what_is_missing(kind: NodeKind) -> None:
    """At the failure that makes it impossible, as a failure of its own beside those of the members."""
    machine = group(kind, first(3))
    machine.fail(1)
    machine.finish(2)
    assert kinds(machine.fail(3)) == ["StepFailed", "GroupClosed"]
    assert kinds(machine.do(c.DropStep(4))) == ["StepCancelled", "NodeFailed", "RunStopping", "RunEnded"]
    assert outcome(machine) == (RunStatus.FAILED, None)
    name = machine.plan.chain[0].name  # type: ignore[index]  # the plan of a graph
    broken = ["m", "m"] if kind is FOREACH else ["m0", "m2"]
    assert failures(machine) == [(name, "JoinUnmet"), *((step, "Oops") for step in broken)], "what says why comes first"
    text = machine.state.done[machine.state.failures[0]][6]
    what = "elements" if kind is FOREACH else "members"
    assert text == (
        f"{name} joins at 3 successes, but of its 4 {what} only 2 can succeed (2 failed); ask for fewer, "
        "or give it more"
    )


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize(
    ("join", "output"), [(ALL, []), (DRAIN, []), (tolerate(count=0), []), (tolerate(fraction=0), []), (first(1), None)]
)
def test_an_empty_foreach_joins_at_once(join: Join, output: object) -> None:
    """It gives an empty list, but no number of successes."""
    machine = begun(link(FOREACH, "m", join=join), data=[])
    status = RunStatus.COMPLETED if output == [] else RunStatus.FAILED
    assert outcome(machine) == (status, output)
    assert failures(machine) == ([] if output == [] else [("foreach(m)", "JoinUnmet")])


@pytest.mark.rule("C6")
def test_two_failures_in_one_breath_are_two_recorded_failures() -> None:
    """The join is decided by both."""
    machine = group(PARALLEL, ALL, 2)
    for n in (1, 2):
        machine.tell(c.FailStep(n, "E", "", False, 0.5))
    assert kinds(machine.settle()) == ["GroupClosed", "NodeFailed", "RunStopping", "RunEnded"]
    assert len(machine.state.failures) == 2


@pytest.mark.rule("C5", "C6")
def test_a_member_that_crashed_too_often_is_a_failure_for_its_join() -> None:
    """Not for the run as a whole."""
    machine = group(PARALLEL, tolerate(count=1), 2, limits=Limits(crashes_per_step=1))
    assert kinds(machine.do(c.InterruptStep(1, True))) == ["StepInterrupted", "StepFailed"]
    machine.finish(2)
    machine.finish("behind")
    assert outcome(machine)[0] is RunStatus.COMPLETED


# --- foreach


@pytest.mark.rule("C9")
def test_a_foreach_gives_its_outputs_in_the_order_of_the_elements() -> None:
    """Whoever ends first."""
    machine = begun(link(FOREACH, "m"), link(STEP, "behind"), data=[[1], {"k": "é"}, None, "x"])
    assert [json.loads(machine.state.live[n].payload) for n in range(1, 5)] == [[1], {"k": "é"}, None, "x"]
    for n in (4, 2, 1, 3):
        machine.finish(n, n * 10)
    assert payloads(machine) == {"behind": [10, 20, 30, 40]}


@pytest.mark.rule("B2")
@pytest.mark.parametrize("data", [{"a": 1}, "text", 5, None])
@pytest.mark.parametrize("join", [ALL, DRAIN])
def test_a_foreach_of_something_else_than_a_list_fails(data: object, join: Join) -> None:
    """As an `InputError` of the link, with the value, and what to do about it."""
    machine = begun(link(STEP, "a"), link(FOREACH, "m"), join=join)
    machine.finish("a", data)
    assert outcome(machine) == (RunStatus.FAILED, None)
    assert failures(machine) == [("foreach(m)", "InputError")]
    message = machine.state.done[machine.state.failures[0]][6]
    assert message.startswith("$: expected a list, got ")
    assert message.endswith("; let the step before foreach(m) give one")


@pytest.mark.rule("C8", "D5")
def test_a_foreach_runs_no_more_elements_at_once_than_it_says() -> None:
    """Nor than the step itself does; behind the foreach the step's own bound alone counts."""
    chain = (link(FOREACH, "a", concurrency=2), link(FOREACH, "gated", concurrency=3), link(FOREACH, "a"))
    machine = begun(*chain, data=[1, 2, 3, 4])
    for live_at_once in (2, 2, 4):
        while True:
            assert len(machine.state.live) <= live_at_once
            node, most = machine.state.flow.node, len(machine.state.live)  # type: ignore[union-attr]  # the plan of a graph
            machine.finish(max(machine.state.live), 1)
            check_books(machine)
            if machine.state.phase is Phase.OVER or machine.state.flow.node != node:  # type: ignore[union-attr]  # the plan of a graph
                break
            assert most <= live_at_once
    assert outcome(machine) == (RunStatus.COMPLETED, [1, 1, 1, 1])


def test_the_bound_of_a_foreach_outlives_a_snapshot() -> None:
    """The gate of its step is there when the state comes back."""
    machine = begun(link(FOREACH, "a", concurrency=1), data=[1, 2, 3])
    other = machine.copy()
    assert dump_state(other.state) == dump_state(machine.state)
    for each in (machine, other):
        each.finish(1)
        assert list(each.state.live) == [2]
        assert wake_at(each.state, each.plan) == 0.0
        check_books(each)


# --- loops


@pytest.mark.rule("C9")
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_a_loop_runs_its_body_until_its_question_says_no(rounds: int) -> None:
    """At least once; each round gets what the round before gave, and knows its number; the last output goes on."""
    machine = begun(link(LOOP, "a", question="_again"), link(STEP, "behind"), data=100)
    flow = machine.state.flow
    assert flow is not None
    for round_ in range(1, rounds + 1):
        assert payloads(machine) == {"a": 99 + round_}
        assert (flow.iteration, flow.stage) == (round_, "body")
        machine.finish("a", 100 + round_)
        assert payloads(machine) == {"_again": 100 + round_}
        assert (flow.iteration, flow.stage) == (round_, "question")
        machine.finish("_again", round_ < rounds)
    assert payloads(machine) == {"behind": 100 + rounds}
    assert flow.iteration == 1
    machine.finish("behind")
    outcome(machine)


# --- time and events


@pytest.mark.rule("D7")
@pytest.mark.parametrize(
    ("options", "due"),
    [({"delay_s": 5.0}, T0 + 5), ({"due": T0 + 9}, T0 + 9), ({"due": T0 - 9}, T0), ({"delay_s": 0.0}, T0)],
)
def test_a_sleep_hands_its_data_on_when_it_is_due(options: Any, due: float) -> None:
    """No sooner; a moment that has passed is now. The timer is no step of anybody's."""
    machine = begun(link(SLEEP, "_sleep", **options), link(STEP, "a"), data="x")
    if due > T0:
        assert wake_at(machine.state, machine.plan) == due
        assert machine.do(c.Tick(), after=due - T0 - 1) == []
        machine.do(c.Tick(), after=1)
    assert payloads(machine) == {"a": "x"}
    assert machine.state.counts[StepStatus.COMPLETED] == 0
    machine.finish("a")
    outcome(machine)


@pytest.mark.rule("D7")
@pytest.mark.parametrize(("answer", "due"), [(T0 + 7, T0 + 7), (5, T0), (T0 + 0.5, T0 + 0.5), ("soon", T0)])
def test_a_sleep_may_ask_how_long(answer: object, due: float) -> None:
    """The question gets the data and gives the due time; the data goes on."""
    machine = begun(link(SLEEP, "_sleep", question="_until"), link(STEP, "a"), data="x")
    assert payloads(machine) == {"_until": "x"}
    machine.finish("_until", answer)
    if due > T0:
        assert wake_at(machine.state, machine.plan) == due
        machine.do(c.Tick(), after=due - T0)
    assert payloads(machine) == {"a": "x"}


@pytest.mark.rule("D6")
@pytest.mark.parametrize("early", [True, False])
def test_an_event_is_the_data_of_the_next_link(early: bool) -> None:
    """One that came before its wait is kept for it; each is given once."""
    machine = begun(link(STEP, "a"), link(EVENT, "_event", event="go"), link(EVENT, "_event", event="go"))
    if early:
        machine.do(c.SendEvent("go", '"first"'))
    machine.finish("a", "x")
    if not early:
        assert wake_at(machine.state, machine.plan) == 0.0
        machine.do(c.SendEvent("go", '"first"'))
    assert machine.state.phase is Phase.OPEN
    machine.do(c.SendEvent("go", '"second"'))
    assert outcome(machine) == (RunStatus.COMPLETED, "second")
    assert (machine.state.kept, machine.state.waits) == ({}, {})


@pytest.mark.rule("D6", "D7")
@pytest.mark.parametrize("join", [ALL, DRAIN])
def test_a_wait_of_a_graph_times_out(join: Join) -> None:
    """With `StepTimeout`; an event in time closes the deadline."""
    chain = (link(EVENT, "_event", event="go", timeout_s=5.0), link(STEP, "a"))
    late, in_time = begun(*chain, join=join), begun(*chain, join=join)
    assert wake_at(late.state, late.plan) == T0 + 5
    assert kinds(late.do(c.Tick(), after=5))[:2] == ["WaitTimedOut", "StepFailed"]
    assert outcome(late) == (RunStatus.FAILED, None)
    assert failures(late) == [("_event", "StepTimeout")]
    in_time.do(c.SendEvent("go", "1"), after=4)
    assert in_time.do(c.Tick(), after=9) == []
    in_time.finish("a", "out")
    assert outcome(in_time) == (RunStatus.COMPLETED, "out")


@pytest.mark.rule("F4", "D7")
@pytest.mark.parametrize("kind", [SLEEP, EVENT])
def test_a_part_without_code_that_was_cut_off_in_the_middle_completes(kind: NodeKind) -> None:
    """A history that ends between its start and its end, as a fork may: it is done when it is due again."""
    wait = link(EVENT, "_event", event="go") if kind is EVENT else link(SLEEP, "_sleep", delay_s=1.0)
    machine = begun(wait, data="x", limits=Limits(crashes_per_step=3))
    machine.now += 1
    if kind is EVENT:
        machine.tell(c.SendEvent("go", '"e"'))
    machine.record(f.StepStarted(machine.now, 1, 1))
    machine.tell(c.InterruptStep(1, True))
    assert kinds(machine.settle()) == ["StepStarted", "StepCompleted", "NodeEntered", "RunStopping", "RunEnded"]
    assert outcome(machine) == (RunStatus.COMPLETED, "e" if kind is EVENT else "x")


# --- the end of the run


@pytest.mark.rule("C1", "C6")
@pytest.mark.parametrize("end", [c.CancelRun("stop"), c.Bail(0, '"out"')])
@pytest.mark.parametrize(
    "node",
    [
        link(SLEEP, "_sleep", delay_s=5.0),
        link(EVENT, "_event", event="go"),
        link(STEP, "a"),
        link(FOREACH, "a", concurrency=1),
        link(BRANCH, "a", "both", question="_which"),
    ],
    ids=lambda node: node.kind.value,
)
def test_the_end_of_a_run_leaves_nothing_of_its_chain(node: Node, end: c.Command) -> None:
    """Whatever it waits for is cancelled; a timer or a wait of the graph's own is counted nowhere."""
    machine = begun(node, link(STEP, "behind"), data=[1, 2])
    machine.do(end)
    for n in list(machine.state.live):
        machine.do(c.DropStep(n))
    assert outcome(machine)[0] is (RunStatus.CANCELLED if isinstance(end, c.CancelRun) else RunStatus.COMPLETED)
    hidden = node.kind in (SLEEP, EVENT, BRANCH)
    assert machine.state.counts[StepStatus.CANCELLED] == (0 if hidden else 2 if node.kind is FOREACH else 1)
    with pytest.raises(RunOver):
        machine.do(c.SendEvent("go", "1"))


@pytest.mark.rule("F8", "F3")
def test_a_graph_survives_as_text_at_every_moment() -> None:
    """After each fact the state that was loaded goes on to the same end."""
    chain = (
        link(STEP, "a"),
        link(PARALLEL, "b", "tough", join=tolerate(count=1)),
        link(BRANCH, "c", "d", question="_which"),
        link(LOOP, "a", question="_again"),
        link(SLEEP, "_sleep", delay_s=1.0),
        link(EVENT, "_event", event="go"),
        link(FOREACH, "gated", concurrency=1, join=first(2)),
    )
    machine = begun(*chain)
    script: list[Any] = [
        ("a", 1), ("b", 2), "tough", ("_which", [1]), ("d", 3), ("a", 4), ("_again", True), ("a", 5), ("_again", False),
        c.Tick(), c.SendEvent("go", "[7,8,9]"), ("gated", 1), ("gated", 2),
    ]  # fmt: skip
    for place, move in enumerate(script):
        other = machine.copy()
        assert dump_state(other.state) == dump_state(machine.state)
        for each in (other, machine):
            play_on(each, move)
        assert dump_state(other.state) == dump_state(machine.state)
        if place % 4 == 0:
            machine = other
    assert (machine.state.status, machine.state.output) == (RunStatus.COMPLETED, "[1,2]")
    check_books(machine)


def play_on(machine: Machine, move: Any) -> None:
    """One move of the script: a step fails, a step returns, or a command one second later."""
    if isinstance(move, str):
        machine.fail(move)
    elif isinstance(move, tuple):
        machine.finish(*move)
    else:
        machine.do(move, after=1)


@pytest.mark.rule("F3", "F8")
def test_a_snapshot_of_the_first_version_is_read() -> None:
    """It knows neither graphs nor children nor suspensions: what it has is all that there is."""
    machine = Machine(chain_plan()).start()
    old = RunState("run")
    plan = machine.plan
    document = json.loads(dump_state(open_gates(old, plan)))
    new = ("suspended", "guests", "calls", "own", "flow")
    first_version = {name: value for name, value in document.items() if name not in new}
    first_version["scalars"] = document["scalars"][:20]
    loaded = load_state("run", json.dumps(first_version))
    assert document["v"] == 2
    assert dump_state(loaded) == dump_state(old)


# --- any chain


LEAVES = tuple("abcdef")
NAMES = st.lists(st.sampled_from(LEAVES), min_size=1, max_size=6, unique=True)
LINKS = st.one_of(
    st.sampled_from(LEAVES).map(lambda name: link(STEP, name)),
    st.tuples(NAMES, st.sampled_from([ALL, DRAIN, tolerate(count=0)])).map(lambda x: link(PARALLEL, *x[0], join=x[1])),
    st.tuples(st.integers(0, 6), st.sampled_from([None, 1, 2])).map(
        lambda x: link(FOREACH, "each", concurrency=x[1], delay_s=float(x[0]))  # the delay stands for the size here
    ),
    st.just(link(SLEEP, "_sleep", delay_s=1.0)),
)


def leaf(step: str, data: object) -> object:
    """What every step gives: who it was, and a short mark of what it got."""
    return [step, len(encode(data)), encode(data)[:20]]


def expected(chain: list[Node], data: object) -> tuple[object, Counter[str]]:
    """What a chain gives and how often each step runs, worked out in another way."""
    ran: Counter[str] = Counter()
    for node in chain:
        if node.kind is SLEEP:
            continue
        ran.update(node.steps * (len(data) if node.kind is FOREACH else 1))  # type: ignore[arg-type]  # it is a list
        if node.kind is STEP:
            data = leaf(node.steps[0], data) if node.steps[0] != "lister" else [[i] for i in range(int(node.due))]
        elif node.kind is PARALLEL:
            data = {step: leaf(step, data) for step in node.steps}
        else:
            data = [leaf(node.steps[0], item) for item in data]  # type: ignore[attr-defined]  # it is a list
    return data, ran


def with_lists(nodes: list[Node]) -> list[Node]:
    """The same chain with a step before each foreach that gives its list."""
    chain: list[Node] = []
    for node in nodes:
        if node.kind is FOREACH:
            chain.append(link(STEP, "lister", due=node.delay_s))
        chain.append(node)
    return chain


@pytest.mark.rule("C9", "C10")
@settings(max_examples=150, deadline=None)
@given(
    nodes=st.lists(LINKS, min_size=1, max_size=5),
    random=st.randoms(use_true_random=False),
    places=st.sampled_from([1, 2, 1000]),
)
def test_every_join_fires_once_with_every_leaf(nodes: list[Node], random: Any, places: int) -> None:
    """Any chain of steps, groups and sleeps, any order of ends, any places: one output, as worked out by hand."""
    chain = with_lists(nodes)
    machine = begun(*chain, data="in", max_live_steps=places)
    while machine.state.phase is Phase.OPEN:
        if not machine.state.live:
            machine.do(c.Tick(), after=1)
            continue
        n = random.choice(sorted(machine.state.live))
        item = machine.state.live[n]
        flow = machine.state.flow
        assert flow is not None
        lists = item.step == "lister"
        gives = [[i] for i in range(int(chain[flow.node].due))] if lists else leaf(item.step, json.loads(item.payload))
        machine.finish(n, gives)
        if random.random() < 0.2:
            history, machine = machine.facts, machine.copy()
            machine.facts = history
        check_books(machine)
    output, ran = expected(chain, "in")
    assert machine.state.output == encode(output)
    entered = [fact.node for fact in machine.facts if isinstance(fact, f.NodeEntered)]
    assert entered == list(range(len(chain) + 1))
    opened = sum(isinstance(fact, f.GroupOpened) for fact in machine.facts)
    assert opened == sum(node.kind in (PARALLEL, FOREACH) for node in chain)
    done = Counter(row[1] for row in machine.state.done.values() if row[2] == "completed")
    assert done == ran + Counter(_sleep=sum(node.kind is SLEEP for node in chain))
    assert machine.state.status is RunStatus.COMPLETED


@pytest.mark.rule("C9")
@settings(max_examples=200, deadline=None)
@given(
    kind=st.sampled_from([PARALLEL, FOREACH]),
    join=st.sampled_from([ALL, DRAIN, first(1), first(2), first(4), tolerate(count=1), tolerate(fraction=0.5)]),
    ends=st.permutations([*enumerate([True] * 6)]),
    good=st.lists(st.booleans(), min_size=6, max_size=6),
    breaths=st.lists(st.booleans(), min_size=6, max_size=6),
)
def test_a_join_is_decided_by_what_its_members_say(kind: Any, join: Join, ends: Any, good: Any, breaths: Any) -> None:
    """Whatever the order, alone or in one breath: met or lost as its words say, once, with the outputs it promises."""
    machine = group(kind, join, 6)
    succeeded: list[int] = []
    failed = 0
    for (index, _), breath in zip(ends, breaths, strict=True):
        n = index + 1
        if n not in machine.state.live:
            break
        decided = machine.state.flow.group is None or machine.state.flow.group.closed  # type: ignore[union-attr]  # the plan of a graph
        if decided:
            machine.do(c.DropStep(n))
            continue
        machine.tell(c.FinishStep(n, str(n)) if good[index] else c.FailStep(n, "E", "", False, 0.5))
        succeeded += [n] * good[index]
        failed += not good[index]
        if breath:
            machine.settle()
    machine.settle()
    lost = {
        "all": failed > 0,
        "drain": failed > 0,
        "first": len(succeeded) < (join.count or 0),
        "tolerate": not join.bears(failed, 6),
    }[join.kind.value]
    assert sum(isinstance(fact, f.GroupClosed) for fact in machine.facts) <= 1
    assert (machine.state.phase is Phase.OVER) == lost
    if lost:
        assert outcome(machine) == (RunStatus.FAILED, None)
        return
    given_on: Any = payloads(machine)["behind"]
    members = given_on if kind is FOREACH else list(given_on.values())
    taken = succeeded[: join.count] if join.kind.value == "first" else succeeded
    assert [item for item in members if isinstance(item, int)] == sorted(taken)
    records = [item for item in members if isinstance(item, dict)]
    assert len(records) == (failed if join.kind.value == "tolerate" else 0)


@pytest.mark.rule("C9", "F8")
@pytest.mark.parametrize("count", [0, 1, 2, 1000, 10_000])
def test_a_join_of_any_size_fires_once(count: int) -> None:
    """From both ends inwards: never early and never with a blank."""
    plan = chain_plan(link(FOREACH, "m"), max_live_steps=count + 1)
    state = RunState("run")
    ends: list[f.Fact] = []

    def record(fact: f.Fact) -> object:
        if isinstance(fact, f.NodeEntered | f.RunEnded):
            ends.append(fact)
        return apply(state, fact)

    def tell(command: c.Command) -> None:
        for fact in decide(state, plan, command, T0).facts:
            record(fact)
        settle(state, plan, T0, record)

    tell(c.StartRun("w", "", "", encode(list(range(count))), "{}", "", {}))
    for i in range(count):
        assert state.phase is Phase.OPEN
        n = i // 2 + 1 if i % 2 else count - i // 2
        tell(c.FinishStep(n, str(n)))
    assert json.loads(state.output) == list(range(1, count + 1))
    assert kinds(ends) == ["NodeEntered", "NodeEntered", "RunEnded"]


def test_a_run_with_nothing_left_is_told_from_one_between_two_links() -> None:
    """While a runtime closes no link begins: only a chain at its end, or one that has failed, goes on to the end."""
    machine = begun(link(STEP, "a"), link(STEP, "b"))
    chain, flow = machine.plan.chain, machine.state.flow
    assert chain is not None
    assert flow is not None
    assert not has_nothing_left(RunState("run"), machine.plan)
    assert not has_nothing_left(machine.state, machine.plan)  # a step is live
    assert not is_last(flow, chain)
    machine.finish("a")
    assert is_last(flow, chain)
    machine.finish("b")
    assert is_last(flow, chain)
    assert has_nothing_left(machine.state, machine.plan)
    plain = Machine(plan_of()).start()
    assert not has_nothing_left(plain.state, plain.plan)
    plain.finish("start")
    assert has_nothing_left(plain.state, plain.plan)

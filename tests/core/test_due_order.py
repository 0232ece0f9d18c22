"""Which step starts next: due order, the order of scheduling for ties."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core.due_order import head
from actorflow._core.plan import RunPlan, StepPlan
from actorflow._core.policies import Rate
from actorflow._core.react import wake_at
from tests.core.machine import T0, Machine, plan_of

pytestmark = pytest.mark.rule("C2")
DELAYS = st.sampled_from([0.0, 1.0, 2.0, 5.0])


def crowded() -> Machine:
    """A run whose one place is taken by `start`."""
    return Machine(plan_of(max_live_steps=1)).start()


@settings(deadline=None)
@given(
    st.lists(st.tuples(DELAYS, st.integers(0, 3), st.sampled_from([0.0, 0.5, 1.0])), min_size=1, max_size=15),
    st.sets(st.integers(0, 14)),
)
def test_steps_start_in_due_order_and_ties_in_the_order_of_the_calls(
    asks: list[tuple[float, int, float]], off: set[int]
) -> None:
    """One by one through one place, whether scheduled singly or in batches; those taken back are passed over."""
    machine = crowded()
    expected: list[tuple[float, int]] = []
    singles = []
    for delay, many, pause in asks:
        n = machine.state.next_n
        due = machine.now + delay
        if many:
            machine.do(c.ScheduleMany(1, "a", ["1"] * many, due))
            expected += [(due, n + offset) for offset in range(many)]
        else:
            machine.schedule("a", delay=delay)
            expected.append((due, n))
            singles.append((due, n))
        machine.now += pause
    for index, entry in enumerate(singles):
        if index in off:
            assert machine.tell(c.Unschedule(entry[1])) is True
            expected.remove(entry)
    machine.now += 100
    while machine.state.live:
        machine.do(c.FinishStep(next(iter(machine.state.live)), "null"))
    assert machine.starts() == [1, *(n for _, n in sorted(expected))]


def test_nothing_starts_before_it_is_due() -> None:
    """The head of the queue is what is due now; `wake_at` says when there will be more."""
    machine = Machine(plan_of()).start()
    late, soon = machine.schedule("a", delay=5), machine.schedule("a", delay=2)
    assert head(machine.state, machine.now) is None
    assert wake_at(machine.state, machine.plan) == T0 + 2
    machine.do(c.Tick(), after=1.5)
    assert machine.starts() == [1]
    machine.do(c.Tick(), after=0.5)
    assert machine.starts() == [1, soon]
    machine.do(c.Tick(), after=10)
    assert machine.starts() == [1, soon, late]


def test_a_timer_that_was_taken_back_may_wake_too_early_but_starts_nothing() -> None:
    """The entry stays until it is at the head, then it is dropped."""
    machine = Machine(plan_of()).start()
    first, second = machine.schedule("a", delay=1), machine.schedule("a", delay=2)
    machine.tell(c.Unschedule(first))
    assert wake_at(machine.state, machine.plan) <= T0 + 2
    assert machine.do(c.Tick(), after=1) == []
    assert wake_at(machine.state, machine.plan) == T0 + 2
    machine.do(c.Tick(), after=1)
    assert machine.starts() == [1, second]


def test_a_batch_that_is_due_gives_way_to_an_older_timer_only_between_its_steps() -> None:
    """A timer due earlier than a waiting batch is first, one due later is last."""
    machine = crowded()
    early = machine.schedule("a", delay=1)
    machine.now += 2
    machine.do(c.ScheduleMany(1, "a", ["1", "2"], machine.now))
    later = machine.schedule("a", delay=1)
    machine.now += 5
    while machine.state.live:
        machine.do(c.FinishStep(next(iter(machine.state.live)), "null"))
    assert machine.starts() == [1, early, early + 1, early + 2, later]


@pytest.mark.rule("F4", "D7")
def test_a_tie_is_broken_in_the_same_way_after_loading() -> None:
    """A step that is armed again at the instant at which younger ones wait: both sides of a snapshot agree."""
    machine = Machine(plan_of(max_live_steps=2)).start()
    old = machine.schedule("a")
    machine.schedule("a")
    machine.tell(c.InterruptStep(old, False))
    other = machine.copy()
    for run in (machine, other):
        run.facts.clear()
        run.do(c.FinishStep(1, "null"))
        run.do(c.Tick())
    assert machine.starts() == other.starts()


@pytest.mark.rule("F4", "D7")
def test_a_tie_behind_a_gate_is_broken_in_the_same_way_after_loading() -> None:
    """A gated step that is armed again at the instant at which younger ones are held goes before them."""
    machine = Machine(plan_of()).start()
    first, second, third, fourth = (machine.schedule("gated") for _ in range(4))
    for n in (second, first):
        machine.tell(c.InterruptStep(n, False))
    other = machine.copy()
    for run in (machine, other):
        run.settle()
        assert sorted(run.state.live) == [1, first, second]
        for n in (first, second, third):
            run.do(c.FinishStep(n, "null"))
        assert run.state.live.keys() == {1, fourth}


@pytest.mark.rule("F4", "D7")
def test_what_two_gates_hold_starts_in_due_order_too() -> None:
    """One place becomes free while both gates stand open: the step that has waited longer gets it."""
    steps = {name: StepPlan(step_id=name) for name in ("start", "free")}
    steps |= {name: StepPlan(step_id=name, rate=Rate(1, per=1.0)) for name in ("x", "y")}
    machine = Machine(RunPlan(workflow_id="w", max_live_steps=3, steps=steps)).start()
    x, y = machine.schedule("x"), machine.schedule("y")
    machine.do(c.FinishStep(x, "null"))
    second_y, second_x = machine.schedule("y"), machine.schedule("x")
    free = machine.schedule("free")
    assert machine.state.live.keys() == {1, y, free}
    machine.now += 5
    machine.do(c.FinishStep(y, "null"))
    assert machine.state.live.keys() == {1, free, second_y}
    machine.do(c.FinishStep(free, "null"))
    assert machine.state.live.keys() == {1, second_y, second_x}

"""`perform` is `decide_operation` followed by `apply_operation`: the same facts, replies, errors and states."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core.apply import apply
from actorflow._core.apply_store import apply_operation
from actorflow._core.commands import NO_MARK
from actorflow._core.decide_store import decide_operation
from actorflow._core.facts import RunStarted, StepScheduled, StepStarted
from actorflow._core.operations import VERBS, Argument
from actorflow._core.perform import perform
from actorflow._core.plan import RunPlan, StepPlan
from actorflow._core.policies import Limits
from actorflow._core.run_state import RunState
from actorflow._core.state_text import dump_state
from actorflow._core.values import MISSING
from actorflow.errors import ActorflowError, LostUpdate, StateTypeError

TEXTS = ['"x"', "1", "-7", "2.5", "[]", '[1,"a"]', "{}", '{"a":1}', "null", "true", f'"{"y" * 300}"', str(10**20)]
NUMBERS = [0, 1, -1, 2.5, 10**9, -(10**30), 1e300]


def arguments(verb: str) -> st.SearchStrategy[Argument]:
    """Arguments as a sender would have checked them."""
    if verb in ("increment", "decrement", "maximum", "minimum"):
        return st.sampled_from(NUMBERS)
    if verb in ("delete", "pop"):
        return st.none()
    if verb == "merge":
        return st.sampled_from(["{}", '{"b":2}'])
    if verb == "extend":
        return st.lists(st.sampled_from(TEXTS), max_size=3).map(tuple)
    if verb == "compare_and_set":
        return st.tuples(st.sampled_from(["", *TEXTS]), st.sampled_from(TEXTS))
    return st.sampled_from(TEXTS)


operations = st.sampled_from(sorted(VERBS)).flatmap(
    lambda verb: st.tuples(
        st.sampled_from([2, 3]), st.just(verb), st.sampled_from(["a", "b", "é"]), arguments(verb), st.booleans()
    )
)


def begun() -> RunState:
    """A run with two live steps."""
    state = RunState("r")
    apply(state, RunStarted(1.0, "W", "", "", "null", "{}", "", "", ""))
    for n in (2, 3):
        apply(state, StepScheduled(1.0, n, "s", "null", 1.0, 0, ""))
        apply(state, StepStarted(1.0, n, 1))
    return state


@settings(max_examples=150, deadline=None)
@given(st.lists(operations, max_size=25), st.sampled_from([400, 64 * 1024 * 1024]))
def test_performing_is_deciding_and_then_applying(
    wanted: list[tuple[int, str, str, Argument, bool]], state_bytes: int
) -> None:
    """Whatever is done, in whatever order, near the limits or far from them."""
    plan = RunPlan(workflow_id="W", steps={"s": StepPlan(step_id="s")}, limits=Limits(state_bytes=state_bytes))
    quick, plain = begun(), begun()
    for at, (n, verb, key, argument, was_read) in enumerate(wanted, 2):
        mark = max(0, plain.store.writes - 2) if was_read else NO_MARK
        refusal: ActorflowError | None = None
        fact = None
        try:
            fact = decide_operation(plain, plan, float(at), n, verb, key, argument, "", mark)
        except ActorflowError as error:
            refusal = error
        if refusal is not None:
            with pytest.raises(type(refusal)) as raised:
                perform(quick, plan, float(at), n, verb, key, argument, mark)
            assert str(raised.value) == str(refusal)
        elif fact is None:
            expected = VERBS[verb].unchanged(plain.store.values.get(key, MISSING), argument)
            assert perform(quick, plan, float(at), n, verb, key, argument, mark) == (None, expected)
        else:
            plain.seq += 1
            expected = apply_operation(plain, fact)
            assert perform(quick, plan, float(at), n, verb, key, argument, mark) == (fact, expected)
        assert dump_state(quick) == dump_state(plain)
        assert quick.store.undo == plain.store.undo


def test_who_is_live_remembers_and_who_is_not_does_not() -> None:
    """The first operation of an activation on a key that is there, and one of an activation that has ended."""
    plan = RunPlan(workflow_id="W", steps={"s": StepPlan(step_id="s")})
    state = begun()
    perform(state, plan, 2.0, 2, "increment", "a", 1, NO_MARK)
    assert perform(state, plan, 3.0, 3, "increment", "a", 1, NO_MARK)[1] == 2
    assert perform(state, plan, 4.0, 9, "increment", "a", 1, NO_MARK)[1] == 3
    assert state.live[3].log == [("increment", "a", 1, 2)]
    assert 9 not in state.live


def test_every_road_through_it_is_taken() -> None:
    """The plain case, a value of another size, a refusal, a change of nothing, and a key that was read before."""
    plan = RunPlan(workflow_id="W", steps={"s": StepPlan(step_id="s")})
    state = begun()
    perform(state, plan, 2.0, 2, "push", "l", '"x"', NO_MARK)
    assert perform(state, plan, 2.0, 2, "push", "l", '"y"', NO_MARK)[1] == 2
    perform(state, plan, 2.0, 2, "set", "a", '"short"', NO_MARK)
    before = state.store.bytes
    perform(state, plan, 2.0, 2, "set", "a", '"a longer one"', NO_MARK)
    assert state.store.bytes == before + 7
    with pytest.raises(StateTypeError, match="increment"):
        perform(state, plan, 2.0, 2, "increment", "a", 1, NO_MARK)
    assert perform(state, plan, 2.0, 2, "delete", "none", None, NO_MARK) == (None, False)
    with pytest.raises(LostUpdate):
        perform(state, plan, 2.0, 3, "set", "a", "1", 0)

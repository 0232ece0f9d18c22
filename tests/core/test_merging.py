"""What a child gives back: fewer operations, the same effect."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core.apply_store import operate
from actorflow._core.merging import merged
from actorflow._core.operations import VERBS
from actorflow._core.store_state import StoreState, value_of
from actorflow._core.values import MAX_DIGITS, MISSING
from actorflow.errors import ActorflowError

pytestmark = pytest.mark.rule("E2")

TEXTS = st.sampled_from(["1", "-7", '"x"', "[1,2]", "[]", '{"a":1}', "null", "2.5"])
NUMBERS = st.sampled_from([0, 1, -3, 10**20, -(10**20)])
BLIND: tuple[st.SearchStrategy[Any], ...] = (
    st.tuples(st.just("set"), TEXTS),
    st.tuples(st.just("push"), TEXTS),
    st.tuples(st.just("extend"), st.lists(TEXTS, max_size=3).map(tuple)),
    st.tuples(st.just("remove"), TEXTS),
    st.tuples(st.sampled_from(["increment", "decrement", "maximum", "minimum"]), NUMBERS | st.just(0.5)),
    st.tuples(st.just("merge"), st.sampled_from(["{}", '{"b":2}', '{"a":"é"}'])),
    st.tuples(st.just("set_if_absent"), TEXTS),
    st.tuples(st.just("delete"), st.none()),
)
SEEING: tuple[st.SearchStrategy[Any], ...] = (
    st.tuples(st.just("pop"), st.none()),
    st.tuples(st.just("compare_and_set"), st.tuples(st.sampled_from(["", "1", "[]", '"x"']), TEXTS)),
    st.tuples(st.just("update"), TEXTS | st.tuples(TEXTS, st.just("mark"))),
)
KEYS = st.sampled_from(["k", "l", "é"])
START: dict[str, tuple[str, Any]] = {"k": ("set", "[1]"), "l": ("set", "5")}


def store(*keys: str) -> StoreState:
    """A store that holds a list and a number."""
    made = StoreState()
    for key in keys:
        operate(made, 1, START[key][0], key, START[key][1])
    return made


def does(target: StoreState, key: str, verb: str, argument: Any) -> bool:
    """One operation, if it fits and changes something; whether it was done."""
    try:
        if not VERBS[verb].check(target.values.get(key, MISSING), argument):
            return False
    except ActorflowError:
        return False
    operate(target, 1, verb, key, argument)
    return True


def values(target: StoreState) -> dict[str, object]:
    """The store as JSON values."""
    return {key: value_of(value) for key, value in target.values.items()}


def done(target: StoreState, wanted: Any) -> list[Any]:
    """What of `wanted` took place: a run keeps only what changed something."""
    return [(verb, key, argument) for (verb, argument), key in wanted if does(target, key, verb, argument)]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(st.one_of(*BLIND, *SEEING), KEYS), max_size=20))
def test_what_comes_back_does_what_the_child_did(wanted: Any) -> None:
    """On a parent that has not changed meanwhile, with every verb: the same values, by no more operations."""
    child, parent = store("k", "l"), store("k", "l")
    operations = done(child, wanted)
    given_back = merged(operations, "*")
    for verb, key, argument in given_back:
        assert does(parent, key, verb, argument) or verb in ("delete", "extend", "increment", "merge", "remove", "set")
    assert values(parent) == values(child)
    assert len(given_back) <= len(operations)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(*BLIND), KEYS), max_size=20),
    st.lists(st.tuples(st.tuples(st.just("push"), TEXTS) | st.tuples(st.just("increment"), NUMBERS), KEYS), max_size=6),
)
def test_what_comes_back_does_to_a_changed_parent_what_the_operations_would(wanted: Any, meanwhile: Any) -> None:
    """For verbs that do not look: wherever all the operations would fit one by one, the merged ones do the same."""
    operations = done(store("k", "l"), wanted)
    one_by_one, at_once = store("k", "l"), store("k", "l")
    done(one_by_one, meanwhile)
    done(at_once, meanwhile)
    try:
        for verb, key, argument in operations:
            if VERBS[verb].check(one_by_one.values.get(key, MISSING), argument):
                operate(one_by_one, 1, verb, key, argument)
    except ActorflowError:
        return
    for verb, key, argument in merged(operations, "*"):
        if VERBS[verb].check(at_once.values.get(key, MISSING), argument):
            operate(at_once, 1, verb, key, argument)
    assert values(at_once) == values(one_by_one)


@pytest.mark.parametrize(
    ("operations", "expected"),
    [
        ([("push", "1"), ("extend", ("2", "3")), ("push", "4")], [("extend", ("1", "2", "3", "4"))]),
        ([("increment", 2), ("decrement", 5), ("increment", 1)], [("increment", -2)]),
        ([("increment", 0.5), ("increment", 0.25)], [("increment", 0.5), ("increment", 0.25)]),
        (
            [("increment", 1), ("increment", 0.5), ("increment", 2)],
            [("increment", 1), ("increment", 0.5), ("increment", 2)],
        ),
        ([("push", "1"), ("set", "[]"), ("push", "2")], [("set", "[]"), ("extend", ("2",))]),
        ([("set", "1"), ("delete", None)], [("delete", None)]),
        ([("push", "1"), ("pop", None)], [("delete", None)]),
        ([("push", "1"), ("remove", "2"), ("push", "3")], [("extend", ("1",)), ("remove", "2"), ("extend", ("3",))]),
        ([("compare_and_set", ("1", "2"))], [("set", "2")]),
        ([("update", ("7", "mark")), ("increment", 1)], [("set", "7"), ("increment", 1)]),
        ([("update", "7")], [("set", "7")]),
        (
            [("set_if_absent", "1"), ("maximum", 5), ("minimum", 2)],
            [("set_if_absent", "1"), ("maximum", 5), ("minimum", 2)],
        ),
        ([("merge", '{"a":1}'), ("merge", '{"b":1}')], [("merge", '{"a":1}'), ("merge", '{"b":1}')]),
        ([], []),
    ],
)
def test_the_operations_on_one_key_shrink_to_what_counts(operations: Any, expected: Any) -> None:
    """Pushes to one extend, whole increments to a sum; what is overwritten is not sent at all."""
    found = merged([(verb, "k", argument) for verb, argument in operations], "*")
    assert found == [(verb, "k", argument) for verb, argument in expected]


def test_only_the_keys_that_are_meant_come_back() -> None:
    """Keys are taken each for itself, in the order in which they were first changed."""
    operations: Any = [("push", "b", "1"), ("set", "a", "1"), ("push", "b", "2"), ("increment", "c", 1)]
    assert merged(operations, '["a","b","none"]') == [("extend", "b", ("1", "2")), ("set", "a", "1")]
    assert merged(operations, "[]") == []
    assert [key for _, key, _ in merged(operations, "*")] == ["b", "a", "c"]


@pytest.mark.rule("B2")
def test_a_sum_stays_a_number_that_can_be_stored() -> None:
    """Two increments whose sum has too many digits stay two: the child had begun far below zero."""
    big = 10**MAX_DIGITS - 1
    operations: Any = [("increment", "k", big), ("increment", "k", big), ("decrement", "k", big)]
    assert merged(operations, "*") == [("increment", "k", big), ("increment", "k", 0)]


def test_ten_thousand_pushes_come_back_as_one_operation() -> None:
    """One message, whatever the child did."""
    found = merged((("push", "k", str(i)) for i in range(10_000)), "*")
    assert found == [("extend", "k", tuple(str(i) for i in range(10_000)))]

"""The verbs against plain Python, argument by argument."""

from __future__ import annotations

import copy
from decimal import Decimal
from enum import IntEnum
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from actorflow._core.apply_store import operate
from actorflow._core.operations import VERBS, check_delta, check_mapping, describe, is_list
from actorflow._core.store_state import StoreState, value_of, value_text
from actorflow._core.values import MISSING, decode, encode, json_equal
from actorflow.errors import InputError, StateTypeError, ValueTooLarge
from tests.core.machine import check_bytes
from tests.core.test_values import Real, Whole, exact

SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(-3, 3), st.sampled_from([0.5, -2.25, 1e300, "", "a", "é", "1", 10**20])
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xy"), inner, max_size=2),
    max_leaves=4,
)
NUMBERS = st.integers(-3, 3) | st.sampled_from([0.5, -2.25, 1e308, 10**12, -(10**12), 10**20])
NOTHING: Any = object()
DEED = st.one_of(
    st.tuples(st.sampled_from(["set", "push", "remove", "update", "set_if_absent"]), VALUES),
    st.tuples(st.just("extend"), st.lists(VALUES, max_size=3)),
    st.tuples(st.sampled_from(["increment", "decrement", "maximum", "minimum"]), NUMBERS),
    st.tuples(st.sampled_from(["delete", "pop"]), st.none()),
    st.tuples(st.just("merge"), st.dictionaries(st.sampled_from("xy"), VALUES, max_size=2)),
    st.tuples(st.just("compare_and_set"), st.tuples(VALUES | st.just(NOTHING), VALUES)),
)


def is_number(value: object) -> bool:
    """What JSON calls a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def model(state: dict[str, Any], verb: str, key: str, argument: Any) -> Any:
    """What the rules say of one verb, on a plain dict; the reply. Raises TypeError where the store must refuse."""
    there = key in state
    old = copy.deepcopy(state.get(key))
    argument = copy.deepcopy(argument) if verb != "compare_and_set" else argument
    if verb in ("push", "extend") or (verb == "remove" and there):
        if there and not isinstance(old, list):
            raise TypeError
        old = old or []
    if verb in ("increment", "decrement", "maximum", "minimum") and there and not is_number(old):
        raise TypeError
    match verb:
        case "set":
            state[key] = argument
            return None
        case "update":
            state[key] = argument
            return argument
        case "push" | "extend":
            old.extend([argument] if verb == "push" else argument)
            state[key] = old
            return len(old)
        case "remove":
            kept = [item for item in old or [] if not json_equal(item, argument)]
            if there:
                state[key] = kept
            return len(old or []) - len(kept)
        case "increment" | "decrement":
            total = (old if there else 0) + (argument if verb == "increment" else -argument)
            if total - total != 0:
                raise TypeError
            state[key] = total
            return total
        case "maximum" | "minimum":
            better = not there or (argument > old if verb == "maximum" else argument < old)
            state[key] = argument if better else old
            return state[key]
        case "delete":
            return state.pop(key, NOTHING) is not NOTHING
        case "pop":
            return state.pop(key, MISSING)
        case "merge":
            if there and not isinstance(old, dict):
                raise TypeError
            state[key] = {**(old or {}), **argument}
            return None
        case "set_if_absent":
            state.setdefault(key, argument)
            return not there
        case _:
            expected, new = argument
            same = not there if expected is NOTHING else there and json_equal(old, expected)
            if same:
                state[key] = new
            return same


def as_sent(verb: str, argument: Any) -> Any:
    """An argument as it travels."""
    match verb:
        case "increment" | "decrement" | "maximum" | "minimum" | "delete" | "pop":
            return argument
        case "extend":
            return tuple(map(encode, argument))
        case "compare_and_set":
            expected, new = argument
            return ("" if expected is NOTHING else encode(expected), encode(new))
        case _:
            return encode(argument)


def do(store: StoreState, verb: str, key: str, argument: Any) -> Any:
    """Check, then write, as deciding and applying do."""
    old = store.values.get(key, MISSING)
    if VERBS[verb].check(old, argument):
        return operate(store, 1, verb, key, argument)
    return VERBS[verb].unchanged(old, argument)


@pytest.mark.rule("B3", "B4", "B5", "B6", "A5")
@settings(max_examples=400, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["k", "a.b", "é"]), DEED), max_size=25))
@example([("k", ("push", 1)), ("k", ("remove", 1)), ("k", ("push", 2)), ("k", ("extend", [])), ("k", ("push", None))])
@example([("k", ("set", [1, True])), ("k", ("remove", 1)), ("k", ("extend", [2])), ("k", ("pop", None))])
def test_the_verbs_agree_with_a_plain_dict(deeds: Any) -> None:
    """Same replies, same errors, same values of the same types; a refusal changes nothing."""
    store, state = StoreState(), {}
    for key, (verb, argument) in deeds:
        before = dict(store.values)
        try:
            expected = model(state, verb, key, argument)
        except TypeError:
            with pytest.raises(StateTypeError):
                do(store, verb, key, as_sent(verb, argument))
            assert store.values == before
            continue
        reply = do(store, verb, key, as_sent(verb, argument))
        assert exact(reply) == exact(expected)
        assert {key: exact(value_of(value)) for key, value in store.values.items()} == {
            key: exact(value) for key, value in state.items()
        }
        for value in store.values.values():
            assert decode(value_text(value)) == value_of(value)


@pytest.mark.rule("B8")
@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["k", "l"]), DEED.filter(lambda deed: "00000000" not in repr(deed)))))
def test_the_size_of_the_store_is_kept_true(deeds: Any) -> None:
    """After any verbs the size is the sum over what is there; huge numbers have the next test."""
    store = StoreState()
    for key, (verb, argument) in deeds:
        try:
            do(store, verb, key, as_sent(verb, argument))
        except StateTypeError:
            continue
        check_bytes(store)


@pytest.mark.rule("B8")
def test_a_number_that_shrinks_gives_its_bytes_back() -> None:
    """A counter of a thousand digits that falls back to 0 takes eight bytes again."""
    store = StoreState()
    do(store, "set", "k", str(10**1000))
    do(store, "increment", "k", -(10**1000))
    check_bytes(store)


@pytest.mark.rule("B6")
@pytest.mark.parametrize(
    ("start", "delta", "error"),
    [
        (1e308, 1e308, StateTypeError),
        (10**400, 0.5, StateTypeError),
        (10**4300 - 1, 1, ValueTooLarge),
        (-(10**4300) + 1, -1, ValueTooLarge),
    ],
)
def test_a_sum_that_json_cannot_carry_changes_nothing(start: Any, delta: Any, error: type[Exception]) -> None:
    """Infinite, beyond a float's range, or with too many digits: the error, and the value as it was."""
    store = StoreState()
    do(store, "increment", "k", start)
    with pytest.raises(error):
        do(store, "increment", "k", delta)
    assert store.values["k"] == start


@pytest.mark.rule("B6")
def test_exact_integers_stay_exact() -> None:
    """int + int never becomes a float, however large."""
    store = StoreState()
    do(store, "increment", "k", 2**70)
    assert do(store, "increment", "k", 1) == 2**70 + 1
    assert do(store, "increment", "k", -(2**70)) == 1
    assert exact(do(store, "increment", "k", 0.0)) == exact(1.0)


@pytest.mark.rule("B6")
@pytest.mark.parametrize("delta", [True, "1", None, [1], Decimal(1), float("nan"), float("inf"), Real("-inf")])
def test_what_is_no_number_is_refused(delta: object) -> None:
    """A bool is not a number, and neither is what JSON cannot carry."""
    with pytest.raises(StateTypeError, match="increment"):
        check_delta(delta, "increment")


class Step(IntEnum):
    TWO = 2


@pytest.mark.rule("B6")
@pytest.mark.parametrize(
    ("delta", "plain"), [(3, 3), (-(2**80), -(2**80)), (0.5, 0.5), (Whole(4), 4), (Real(1), 1.0), (Step.TWO, 2)]
)
def test_a_number_is_taken_as_what_it_is(delta: object, plain: object) -> None:
    """Subclasses of int and float become the plain number."""
    assert exact(check_delta(delta, "increment")) == exact(plain)


def test_a_number_with_too_many_digits_is_too_large() -> None:
    """Plain or not."""
    for delta in (10**4300, Whole(10**4300)):
        with pytest.raises(ValueTooLarge):
            check_delta(delta, "maximum")


def test_merge_wants_a_mapping() -> None:
    """Any mapping will do, nothing else."""
    assert check_mapping({"a": 1}) == {"a": 1}
    with pytest.raises(InputError, match="mapping"):
        check_mapping([("a", 1)])


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (MISSING, "missing"),
        ((["1", "2", "3"], 2, 4), "a list of 2"),
        ("[1]", "a list"),
        ('{"a":1}', "an object"),
        ('"x"', "text"),
        ("true", "a bool"),
        ("false", "a bool"),
        ("null", "null"),
        (5, "a number '5'"),
        (0.5, "a number"),
    ],
)
def test_a_value_is_described_by_its_kind(value: Any, kind: str) -> None:
    """Error texts say what is there, in a few words."""
    assert describe(value).startswith(kind)
    assert is_list(value) is (kind.startswith("a list"))


def test_a_long_value_is_described_shortly() -> None:
    """Not with its whole text."""
    assert len(describe(encode("x" * 10_000))) < 60


@pytest.mark.rule("C3")
def test_every_verb_tells_what_a_refused_change_replies() -> None:
    """What changes nothing has its documented reply: False, 0, the value, the length, MISSING."""
    replies = {
        verb: entry.unchanged(5 if verb in ("maximum", "minimum") else MISSING, None) for verb, entry in VERBS.items()
    }
    assert replies["delete"] is replies["set_if_absent"] is replies["compare_and_set"] is False
    assert (replies["remove"], replies["extend"], replies["pop"]) == (0, 0, MISSING)
    assert (replies["maximum"], replies["minimum"], replies["merge"]) == (5, 5, None)


@pytest.mark.rule("F3")
def test_popping_what_is_not_there_leaves_it_so() -> None:
    """`write` is total: replaying it on a missing key gives None."""
    assert VERBS["pop"].write(MISSING, None) == (MISSING, None)

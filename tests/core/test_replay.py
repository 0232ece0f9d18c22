"""How a second pass recognises what the first one did."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core.replay import UNMATCHED, Replay, same_argument
from actorflow._core.values import encode

pytestmark = pytest.mark.rule("C3")


def replay(*log: tuple[object, object], verb: str = "push", key: str = "k", lenient: bool = True) -> Replay:
    """A replay of one lane: (argument, reply) in order."""
    return Replay([(verb, key, argument, reply) for argument, reply in log], lenient=lenient)


def test_an_equal_argument_is_matched_first_whatever_its_place() -> None:
    """The second pass may do the same operations in another order."""
    again = replay(('"a"', 1), ('"b"', 2), ('"c"', 3))
    assert [again.match("push", "k", text) for text in ('"c"', '"a"', '"b"')] == [3, 1, 2]
    assert again.match("push", "k", '"a"') is UNMATCHED


def test_a_lenient_pass_takes_the_oldest_that_is_left() -> None:
    """After a retry or a crash the first write stands, even if the argument differs now."""
    again = replay(('"a"', 1), ('"b"', 2), ('"c"', 3))
    assert [again.match("push", "k", text) for text in ('"b"', '"x"', '"y"')] == [2, 1, 3]
    assert again.match("push", "k", '"z"') is UNMATCHED


def test_after_a_resume_a_new_argument_is_a_new_operation() -> None:
    """Only equal arguments are matched then, except of an update, whose argument is not known before it ran."""
    again = replay(('"a"', 1), leg=10**9)
    assert again.match("push", "k", '"x"') is UNMATCHED
    assert again.match("push", "k", '"a"') == 1
    updates = replay(("1", 1), ("2", 2), verb="update", leg=10**9)
    assert [updates.match("update", "k", None) for _ in range(3)] == [1, 2, UNMATCHED]


def test_verbs_and_keys_are_lanes_of_their_own() -> None:
    """The same argument under another verb or key is another operation."""
    again = replay(("1", 1))
    assert again.match("set", "k", "1") is UNMATCHED
    assert again.match("push", "l", "1") is UNMATCHED
    assert again.match("push", "k", "1") == 1


def test_equal_arguments_are_matched_once_each_in_order() -> None:
    """Three pushes of one value have three replies."""
    again = replay(("1", 1), ("1", 2), ("1", 3), leg=10**9)
    assert [again.match("push", "k", "1") for _ in range(4)] == [1, 2, 3, UNMATCHED]


@pytest.mark.parametrize("lenient", [True, False])
def test_objects_are_recognised_whatever_the_order_of_their_keys(lenient: bool) -> None:
    """Equal as JSON is equal; objects that are not equal are not."""
    again = replay(('{"a":1}', 1), ('{"b":2,"a":1}', 2), ("[1]", 3), lenient=lenient)
    assert again.match("push", "k", '{"a":1,"b":2}') == 2
    assert again.match("push", "k", "[1.0]") == 3
    if not lenient:
        assert again.match("push", "k", '{"a":2}') is UNMATCHED
    assert again.match("push", "k", '{"a":1}') == 1


@pytest.mark.parametrize(
    ("verb", "first", "second"),
    [
        ("extend", ("1", "2"), ("1", "3")),
        ("compare_and_set", ("", "1"), ("1", "2")),
        ("transaction", [("set", "a", "1")], [("set", "a", "2")]),
        ("increment", 1, 2),
        ("increment", 0.5, 1.5),
        ("delete", None, "x"),
    ],
)
def test_every_shape_of_argument_is_recognised(verb: str, first: Any, second: Any) -> None:
    """Tuples, lists of operations, numbers and nothing at all."""
    again = replay((first, "one"), (second, "two"), verb=verb, leg=10**9)
    assert [again.match(verb, "k", argument) for argument in (second, first, first)] == ["two", "one", UNMATCHED]


def test_a_batch_is_matched_step_by_step() -> None:
    """`schedule_many` stands for as many schedules; each payload has its number."""
    log: Any = [("schedule", "a", "9", 4), ("schedule_many", "a", ["1", "2", "1"], 5), ("schedule_many", "b", ["1"], 8)]
    again = Replay(log, leg=10**9)
    assert [again.match("schedule", "a", text) for text in ("1", "1", "2", "9", "1")] == [5, 7, 6, 4, UNMATCHED]
    assert again.match("schedule", "b", "1") == 8


def test_a_number_of_another_type_does_not_use_up_an_entry() -> None:
    """1.0 is not the increment by 1, and asking for it leaves the 1 where it was."""
    again = replay((1, 5), verb="increment", leg=10**9)
    assert again.match("increment", "k", 1.0) is UNMATCHED
    assert again.match("increment", "k", 1) == 5


@given(
    st.lists(st.sampled_from(["1", "2", '{"a":1}', '{"a":2}', '"x"']), max_size=12), st.randoms(use_true_random=False)
)
def test_a_pass_that_does_the_same_in_any_order_does_nothing_new(texts: list[str], random: Any) -> None:
    """Each operation of the first pass is found exactly once, and a further one is new."""
    for lenient in (True, False):
        again = replay(*((text, n) for n, text in enumerate(texts)), lenient=lenient)
        order = random.sample(texts, len(texts))
        replies = [again.match("push", "k", text) for text in order]
        assert sorted(replies) == list(range(len(texts)))  # type: ignore[type-var]  # the replies are numbers
        assert all(texts[reply] == text for reply, text in zip(replies, order, strict=True))  # type: ignore[index]  # the replies are numbers
        assert again.match("push", "k", "1") is UNMATCHED


@given(st.lists(st.text(), max_size=8), st.lists(st.text(), max_size=12))
def test_a_lenient_pass_does_new_work_only_when_the_old_is_used_up(first: list[str], second: list[str]) -> None:
    """Whatever the arguments: the k-th operation is new exactly when the first pass did fewer than k."""
    again = replay(*((encode(text), n) for n, text in enumerate(first)))
    replies = [again.match("push", "k", encode(text)) for text in second]
    found = [reply for reply in replies if reply is not UNMATCHED]
    assert len(found) == len(set(found)) == min(len(first), len(second))


@pytest.mark.parametrize(
    ("left", "right", "same"),
    [
        ('{"a":1}', '{"a":1.0}', True),
        ('{"a":1}', '{"a":true}', False),
        ("[1]", "{}", False),
        ("1", "1", True),
        ("1", "2", False),
        (1, 1, True),
        (1, 1.0, False),
        (1, "1", False),
        (("1",), ("1",), True),
        (None, None, True),
        ("", "", True),
        ("", "1", False),
    ],
)
def test_two_arguments_are_the_same_if_equal_as_json(left: object, right: object, same: bool) -> None:
    """Text is compared as JSON where it can differ in form, everything else by type and value."""
    assert same_argument(left, right) is same

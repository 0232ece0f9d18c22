"""How a second pass recognises what the first one did."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core.replay import UNMATCHED, Replay, same_argument
from actorflow._core.values import encode

pytestmark = pytest.mark.rule("C3")

ALL_OF_IT = 10**9
"""A leg that is longer than every log: the pass comes after a resume, and nothing was done since."""


def replay(*log: tuple[object, object], verb: str = "push", key: str = "k", leg: int = 0) -> Replay:
    """A replay of one lane: (argument, reply) in order."""
    return Replay([(verb, key, argument, reply) for argument, reply in log], leg=leg)


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
    """Only equal arguments are matched then; of an update it is the mark of its function that counts."""
    again = replay(('"a"', 1), leg=ALL_OF_IT)
    assert again.match("push", "k", '"x"') is UNMATCHED
    assert again.match("push", "k", '"a"') == 1
    updates = replay((("1", "f"), 1), (("2", "f"), 2), (("3", "g"), 3), verb="update", leg=ALL_OF_IT)
    assert [updates.match("update", "k", mark) for mark in ("g", "f", "f", "f")] == [3, 1, 2, UNMATCHED]
    again = replay((("1", "f"), 1), (("2", "g"), 2), verb="update")
    assert [again.match("update", "k", mark) for mark in ("g", "h", "f")] == [2, 1, UNMATCHED]


@pytest.mark.rule("C3", "D4")
def test_what_was_done_since_the_resume_stands_after_a_crash() -> None:
    """Of the part before the last resume, equal arguments alone; of the part behind it, the oldest that is left."""
    log = (('"a"', 1), ('"b"', 2), ('"c"', 3), ('"d"', 4))
    again = replay(*log, leg=2)
    assert [again.match("push", "k", text) for text in ('"x"', '"b"', '"y"', '"z"')] == [3, 2, 4, UNMATCHED]
    assert again.match("push", "k", '"a"') == 1
    in_turn = replay(*log, leg=2)
    assert [in_turn.match("push", "k", text) for text in ('"c"', '"x"', '"x"')] == [3, 4, UNMATCHED]
    other = Replay([("set", "k", "1", None), ("push", "k", '"a"', 1)], leg=1)
    assert other.match("push", "k", '"x"') == 1, "the leg counts the whole log, not that of one verb"
    assert other.match("set", "k", "2") is UNMATCHED


def test_a_child_is_recognised_by_its_workflow_and_its_input() -> None:
    """The reply is the number of the call."""
    again = Replay([("child", "W", '{"a":1,"b":2}', 4), ("child", "V", "1", 5)], leg=ALL_OF_IT)
    assert again.match("child", "W", '{"b":2,"a":1}') == 4
    assert again.match("child", "V", "2") is UNMATCHED
    assert again.match("child", "V", "1") == 5


def test_verbs_and_keys_are_lanes_of_their_own() -> None:
    """The same argument under another verb or key is another operation."""
    again = replay(("1", 1))
    assert again.match("set", "k", "1") is UNMATCHED
    assert again.match("push", "l", "1") is UNMATCHED
    assert again.match("push", "k", "1") == 1


def test_equal_arguments_are_matched_once_each_in_order() -> None:
    """Three pushes of one value have three replies."""
    again = replay(("1", 1), ("1", 2), ("1", 3), leg=ALL_OF_IT)
    assert [again.match("push", "k", "1") for _ in range(4)] == [1, 2, 3, UNMATCHED]


@pytest.mark.parametrize("leg", [0, ALL_OF_IT])
def test_objects_are_recognised_whatever_the_order_of_their_keys(leg: int) -> None:
    """Equal as JSON is equal; objects that are not equal are not."""
    again = replay(('{"a":1}', 1), ('{"b":2,"a":1}', 2), ("[1]", 3), leg=leg)
    assert again.match("push", "k", '{"a":1,"b":2}') == 2
    assert again.match("push", "k", "[1.0]") == 3
    if leg:
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
    again = replay((first, "one"), (second, "two"), verb=verb, leg=ALL_OF_IT)
    assert [again.match(verb, "k", argument) for argument in (second, first, first)] == ["two", "one", UNMATCHED]


def test_a_batch_is_matched_step_by_step() -> None:
    """`schedule_many` stands for as many schedules; each payload has its number."""
    log: Any = [("schedule", "a", "9", 4), ("schedule_many", "a", ["1", "2", "1"], 5), ("schedule_many", "b", ["1"], 8)]
    again = Replay(log, leg=ALL_OF_IT)
    assert [again.match("schedule", "a", text) for text in ("1", "1", "2", "9", "1")] == [5, 7, 6, 4, UNMATCHED]
    assert again.match("schedule", "b", "1") == 8


def test_a_number_of_another_type_does_not_use_up_an_entry() -> None:
    """1.0 is not the increment by 1, and asking for it leaves the 1 where it was."""
    again = replay((1, 5), verb="increment", leg=ALL_OF_IT)
    assert again.match("increment", "k", 1.0) is UNMATCHED
    assert again.match("increment", "k", 1) == 5


@given(
    st.lists(st.sampled_from(["1", "2", '{"a":1}', '{"a":2}', '"x"']), max_size=12), st.randoms(use_true_random=False)
)
def test_a_pass_that_does_the_same_in_any_order_does_nothing_new(texts: list[str], random: Any) -> None:
    """Each operation of the first pass is found exactly once, and a further one is new."""
    for leg in (0, len(texts) // 2, ALL_OF_IT):
        again = replay(*((text, n) for n, text in enumerate(texts)), leg=leg)
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

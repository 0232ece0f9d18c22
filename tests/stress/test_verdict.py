"""What a verdict says and shows: transactions, values from before, calls that tell nothing, small pictures."""

from __future__ import annotations

from math import inf
from random import Random
from xml.etree import ElementTree

import pytest

from actorflow.testing import History, Linearizability, StoreCall, check_linearizable
from actorflow.testing.linear_search import search
from actorflow.testing.linear_shrink import SHOWN

SVG = "{http://www.w3.org/2000/svg}"


def history_of(*calls: StoreCall, initial: dict[str, object] | None = None) -> History:
    """A history of these calls."""
    history = History(initial=initial or {})
    history.calls += calls
    return history


def transfer(branch: str, amount: int, begin: float, end: float) -> StoreCall:
    """A transaction that moves something from one key to another."""
    parts = (("decrement", "from", (amount,)), ("increment", "to", (amount,)))
    return StoreCall(branch, "transaction", "", parts, None, begin, end)


def read(branch: str, key: str, result: object, begin: float, end: float) -> StoreCall:
    """A `get` and its answer."""
    return StoreCall(branch, "get", key, (None,), result, begin, end)


@pytest.mark.rule("B11")
def test_half_a_transaction_is_a_violation() -> None:
    """Who sees one key changed and then the other unchanged has seen a transaction that was not one change."""
    initial: dict[str, object] = {"from": 10, "to": 0}
    seen = [read("B", "from", 7, 2, 3), read("B", "to", 0, 4, 5)]
    verdict = check_linearizable(history_of(transfer("A", 3, 1, 6), *seen, initial=initial))
    assert verdict.status is Linearizability.VIOLATED
    assert verdict.sentence.startswith("keys 'from', 'to': branch B was told get gave 0")
    other = [read("B", "to", 0, 2, 3), read("B", "from", 7, 4, 5)]
    assert check_linearizable(history_of(transfer("A", 3, 1, 6), *other, initial=initial)), "it came between the two"
    right = [read("B", "from", 7, 2, 3), read("B", "to", 3, 4, 5)]
    assert check_linearizable(history_of(transfer("A", 3, 1, 6), *right, initial=initial))


@pytest.mark.rule("B11")
def test_a_transaction_that_broke_off_counts_whole_or_not_at_all() -> None:
    """Of a transaction without an answer both keys changed, or none."""
    initial: dict[str, object] = {"from": 10, "to": 0}
    for told_to, is_right in ((3, True), (0, False)):
        calls = [transfer("A", 3, 1, inf), read("B", "from", 7, 2, 3), read("B", "to", told_to, 4, 5)]
        assert bool(check_linearizable(history_of(*calls, initial=initial))) is is_right


def test_keys_without_transactions_are_checked_alone() -> None:
    """What a search cannot decide about tied keys does not hide what is wrong with another key."""
    wrong = [StoreCall("A", "increment", "n", (1,), 1, 1, 2), StoreCall("B", "increment", "n", (1,), 1, 3, 4)]
    verdict = check_linearizable(history_of(transfer("A", 3, 5, 6), transfer("A", 3, 7, 8), *wrong), budget=0)
    assert verdict.key == "n"
    verdict = check_linearizable(history_of(transfer("A", 3, 5, 6), transfer("A", 3, 7, 8)), budget=0)
    assert verdict.undecided == ("from", "to")


@pytest.mark.parametrize(
    ("initial", "call", "is_right"),
    [
        (5, StoreCall("A", "increment", "k", (1,), 6, 1, 2), True),
        (5, StoreCall("A", "increment", "k", (1,), 1, 1, 2), False),
        (["a"], StoreCall("A", "push", "k", ("b",), 2, 1, 2), True),
        (["a"], StoreCall("A", "push", "k", ("b",), 1, 1, 2), False),
        (["a"], read("A", "k", ["a"], 1, 2), True),
        (["a"], read("A", "k", None, 1, 2), False),
        ("old", read("A", "k", "old", 1, 2), True),
        ("old", read("A", "k", None, 1, 2), False),
        ({"x": 1}, StoreCall("A", "compare_and_set", "k", ({"x": 1}, 2), True, 1, 2), True),
        ({"x": 1}, StoreCall("A", "set_if_absent", "k", (2,), True, 1, 2), False),
    ],
)
def test_values_from_before_the_first_call(initial: object, call: StoreCall, *, is_right: bool) -> None:
    """A history knows what the store held at its beginning, whichever way a key is checked."""
    assert bool(check_linearizable(history_of(call, initial={"k": initial}))) is is_right


@pytest.mark.rule("A2")
def test_calls_that_tell_nothing_keep_their_turn() -> None:
    """What one sender sent later cannot stand in a list before what it sent earlier, though nobody told it when."""
    sent = [StoreCall("A", "push", "k", (item,), None, number, inf, 1) for number, item in enumerate("ab", 1)]
    assert check_linearizable(history_of(*sent, read("B", "k", ["a", "b"], 4, 5)))
    assert check_linearizable(history_of(*sent, read("B", "k", ["b"], 4, 5))), "the first one may have failed"
    verdict = check_linearizable(history_of(*sent, read("B", "k", ["b", "a"], 4, 5)))
    assert not verdict
    assert "but it had sent push('k', 'a') before" in verdict.sentence
    unknown = [StoreCall("A", "push", "k", (item,), None, number, inf) for number, item in enumerate("ab", 1)]
    assert check_linearizable(history_of(*unknown, read("B", "k", ["b", "a"], 4, 5))), "no turn is known"


def test_a_history_without_some_keys() -> None:
    """Keys of which not all writes are known can be left out, also of transactions."""
    history = history_of(transfer("A", 3, 1, 2), read("B", "from", 99, 3, 4), read("B", "to", 3, 5, 6))
    assert not check_linearizable(history)
    assert check_linearizable(history.without(["from"]))
    assert [call.keys for call in history.without(["from"]).calls] == [("to",), ("to",)]


def test_a_picture_for_a_page() -> None:
    """A verdict is drawn as one element: a lane per branch, a box per call with its tooltip, the culprit marked."""
    calls = [
        StoreCall("<A>", "set_if_absent", "k", ("x" * 100,), True, 1, 4),
        StoreCall("B", "set_if_absent", "k", ("y",), True, 2, 3),
        StoreCall("B", "delete", "k", (), None, 5, inf),
    ]
    verdict = check_linearizable(history_of(*calls[:2]))
    assert verdict.culprit is not None
    root = ElementTree.fromstring(verdict.svg())
    assert root.tag == f"{SVG}svg"
    assert [text.text for text in root.findall(f"{SVG}text")] == ["<A>", "B"]
    boxes = root.findall(f"{SVG}g")
    assert [box.get("class") for box in boxes] == ["call", "call culprit"]
    assert "x" * 100 in str(boxes[0].findtext(f"{SVG}title"))
    assert str(boxes[0].findtext(f"{SVG}text")).endswith("…")
    assert check_linearizable(history_of()).svg() == ""
    open_box = ElementTree.fromstring(type(verdict)(verdict.status, calls=tuple(calls)).svg()).findall(f"{SVG}g")[-1]
    assert open_box.get("class") == "call open culprit"
    assert "outcome unknown" in str(open_box.findtext(f"{SVG}title"))


def long_history(*, count: int, width: int) -> list[StoreCall]:
    """A right history of a register whose values come again, `width` calls at once, and a stale read at its end."""
    random, calls, clock, value = Random(3), [], 0, 0
    while len(calls) < count:
        batch = []
        for number in range(width):
            clock += 1
            batch.append((f"b{number}", clock))
        random.shuffle(batch)
        for branch, begin in batch:
            clock += 1
            is_write = random.random() < 0.5
            value = random.randrange(3) if is_write else value
            verb, given, result = ("set", (value,), None) if is_write else ("get", (None,), value or 0)
            calls.append(StoreCall(branch, verb, "k", given, result, begin, clock))
    return [
        *calls,
        StoreCall("z", "set", "k", (9,), None, clock + 1, clock + 2),
        read("y", "k", 1, clock + 3, clock + 4),
    ]


def test_a_long_history_is_shown_in_a_few_calls() -> None:
    """Of two thousand calls whose last answer is wrong, those that exclude each other are shown, and no more."""
    verdict = check_linearizable(history_of(*long_history(count=2_000, width=3), initial={"k": 0}))
    assert verdict.status is Linearizability.VIOLATED
    assert verdict.culprit is not None
    assert verdict.culprit.branch == "y"
    assert verdict.calls[-2].branch == "z"
    assert len(verdict.calls) <= SHOWN
    assert all(call.branch == "z" or 1 in (call.result, *call.arguments) for call in verdict.calls), "only what matters"


@pytest.mark.parametrize("verbs", ["register", "compare", "counter"])
def test_right_histories_with_many_calls_under_way_are_decided(verbs: str) -> None:
    """Two thousand calls, 64 of them at once, take about as many configurations as there are calls."""
    random, calls, value = Random(verbs), [], 0
    under_way = {f"b{number}": number for number in range(64)}
    clock = 100
    for _ in range(2_000):
        branch = random.choice(sorted(under_way))
        clock += 2
        begin, under_way[branch] = under_way[branch], clock
        is_read = random.random() < 0.5
        if is_read:
            verb, given, result = "get", (-1,), value
        elif verbs == "register":
            value = random.randrange(4)
            verb, given, result = "set", (value,), None
        elif verbs == "compare":
            wanted = random.randrange(3)
            verb, given, result = "compare_and_set", (wanted, (wanted + 1) % 3), wanted == value
            value = given[1] if result else value
        else:
            value += 1
            verb, given, result = "increment", (1,), value
        calls.append(StoreCall(branch, verb, "k", given, result, begin, clock - 1))
    assert search(calls, initial={"k": 0}, budget=4 * len(calls))

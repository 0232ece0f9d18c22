"""Versions, shared list views, and views of past moments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import commands as c
from actorflow._core import store_state
from actorflow._core.apply_store import operate
from actorflow._core.store_state import StoreState, from_text, list_view, value_bytes, value_of, value_text
from actorflow._core.values import MISSING, decode
from tests.core.machine import Machine, plan_of

KEYS = st.sampled_from(["a", "b", "é"])
WRITERS = st.integers(1, 3)
DEEDS = st.one_of(
    st.tuples(st.just("push"), st.integers(0, 9).map(str)),
    st.tuples(st.just("set"), st.sampled_from(["1", "[]", "[1,2]", '{"x":1}'])),
    st.tuples(st.just("extend"), st.just(("7", "8"))),
    st.tuples(st.just("delete"), st.none()),
)


def do(store: StoreState, writer: int, verb: str, key: str, argument: Any) -> None:
    """One write, made to fit: a list verb on something else sets a list first, a missing key is not deleted."""
    old = store.values.get(key, MISSING)
    if verb == "delete" and old is MISSING:
        return
    if verb in ("push", "extend") and not (old is MISSING or value_text(old)[0] == "["):
        operate(store, writer, "set", key, "[]")
    operate(store, writer, verb, key, argument)


def plain(values: dict[str, Any]) -> dict[str, object]:
    """Stored values as Python objects."""
    return {key: value_of(value) for key, value in values.items()}


@pytest.mark.rule("B10")
@given(st.lists(st.tuples(WRITERS, KEYS, DEEDS), max_size=30))
def test_the_last_foreign_write_is_known_for_every_writer(writes: Any) -> None:
    """For each key and each writer, the version and the author of the last write by somebody else."""
    store = StoreState()
    log: list[tuple[str, int]] = [("", 0)]
    for writer, key, (verb, argument) in writes:
        count = store.writes
        do(store, writer, verb, key, argument)
        log.extend([(key, writer)] * (store.writes - count))
    for key in ("a", "b", "é", "never"):
        for writer in range(5):
            foreign = [version for version, (k, w) in enumerate(log) if k == key and w != writer]
            last = foreign[-1] if foreign else 0
            assert store.foreign_version(key, writer) == last
            assert store.foreign_writer(key, writer) == log[last][1]


@pytest.mark.rule("B10", "E1")
@pytest.mark.parametrize("most", [1, 2, 3, 50_000])
@settings(deadline=None)
@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("write"), KEYS, DEEDS),
            st.tuples(st.sampled_from(["mark", "mark", "end", "forget"]), st.integers(0, 4), st.none()),
        ),
        max_size=40,
    )
)
def test_a_view_shows_the_moment_of_its_mark(most: int, deeds: Any) -> None:
    """Whatever is written later, and whatever is forgotten on the way, as long as the mark is named when forgetting."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_MAX", most)
        store = StoreState()
        marks: list[tuple[int, dict[str, object]]] = []
        for kind, what, deed in deeds:
            if kind == "write":
                do(store, 1, deed[0], what, deed[1])
            elif kind == "mark":
                marks.append((store.writes, plain(store.values)))
            elif kind == "end" and marks:
                del marks[what % len(marks)]
            elif kind == "forget":
                store.forget([mark for mark, _ in marks])
                assert len(store.undo) <= most
                assert marks or not store.undo
                assert set(store.views) <= {mark for mark, _ in marks}
            for mark, seen in marks:
                assert plain(store.view(mark)) == seen


def test_undoing_is_kept_only_as_far_as_the_oldest_mark_needs() -> None:
    """When the oldest mark goes, the writes that only it needed go with it."""
    store = StoreState()
    for _ in range(3):
        do(store, 1, "set", "a", "1")
    younger = store.writes
    do(store, 1, "set", "a", "2")
    store.forget([0, younger])
    assert len(store.undo) == 4
    store.forget([younger])
    assert len(store.undo) == 1
    assert (plain(store.view(younger)), plain(store.view(store.writes))) == ({"a": 1}, {"a": 2})
    store.forget([])
    assert len(store.undo) == 0


def test_a_view_is_made_once_when_the_undo_list_is_emptied() -> None:
    """The views of old marks are kept until their marks go; younger marks go on from there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_MAX", 2)
        store = StoreState()
        for number in range(4):
            do(store, 1, "set", "a", str(number))
        store.forget([1, 2])
        assert (store.undo, set(store.views)) == ([], {1, 2})
        assert store.view(1) is store.view(1)
        for number in range(4, 8):
            do(store, 1, "set", "a", str(number))
        store.forget([1, 5])
        assert [plain(store.view(mark)) for mark in (1, 5, 8)] == [{"a": 0}, {"a": 4}, {"a": 7}]
        store.forget([5])
        assert set(store.views) == {5}


@pytest.mark.rule("B10")
def test_a_run_forgets_what_no_live_step_can_ask_about() -> None:
    """When a step starts, the list is cut back to the oldest live step, and each live step still sees its moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_TRIM", 4)
        patch.setattr(store_state, "UNDO_MAX", 6)
        machine = Machine(plan_of()).start()
        machine.state.store.undo_limit = 4
        for number in range(40):
            n = machine.schedule("a")
            machine.tell(c.Operate(n, "push", "k", str(number)))
            if number > 2:
                machine.do(c.FinishStep(n, "null"))
        state = machine.state
        for n, seen in ((1, {}), (2, {}), (3, {"k": [0]}), (4, {"k": [0, 1]})):
            assert plain(state.store.view(state.live[n].mark)) == seen
        assert len(state.store.undo) <= 14


@pytest.mark.rule("B10", "F3")
def test_a_loaded_run_sees_past_moments_too() -> None:
    """A step that starts after loading from text sees the store as it found it, also after much was forgotten."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_TRIM", 4)
        first = Machine(plan_of()).start()
        for number in range(9):
            first.tell(c.Operate(1, "push", "k", str(number)))
        first.tell(c.InterruptStep(1, True))
        machine = first.copy()
        machine.settle()
        machine.state.store.undo_limit = 4
        seen = plain(machine.state.store.values)
        for number in range(9):
            machine.tell(c.Operate(1, "push", "k", str(number)))
        machine.schedule("a")
        assert plain(machine.state.store.view(machine.state.live[1].mark)) == seen


@pytest.mark.rule("B10")
@pytest.mark.parametrize("whole", [False, True])
def test_what_a_long_step_writes_is_not_remembered_without_bound(whole: bool) -> None:
    """A run with one step that writes for ever holds no more than UNDO_MAX asks for, and the step sees its moment."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_TRIM", 4)
        patch.setattr(store_state, "UNDO_MAX", 6)
        machine = Machine(plan_of()).start()
        machine.state.store.undo_limit = 4
        machine.tell(c.Operate(9, "set", "k", "[9]"))
        n = machine.schedule("a")
        most = 0
        for number in range(1000):
            if whole:
                machine.tell(c.Transact(n, [("push", "k", str(number)), ("increment", "z", 1)]))
            else:
                machine.tell(c.Operate(n, "push", "k", str(number)))
            most = max(most, len(machine.state.store.undo))
        assert most <= 12
        views = [plain(machine.state.store.view(machine.state.live[m].mark)) for m in (1, n)]
        assert views == [{}, {"k": [9]}]


@pytest.mark.rule("E1", "F8")
def test_pushes_share_one_list_and_old_views_stay_true() -> None:
    """A push copies nothing; who pushes onto an older view gets a list of his own."""
    store, other = StoreState(), StoreState()
    do(store, 1, "push", "k", "1")
    old = store.values["k"]
    do(store, 1, "push", "k", "2")
    new = store.values["k"]
    assert isinstance(old, tuple)
    assert isinstance(new, tuple)
    assert new[0] is old[0]
    assert (value_text(old), value_text(new)) == ("[1]", "[1,2]")
    for verb, argument in (("push", "3"), ("extend", ("3",))):
        other.values["k"] = old
        do(other, 1, verb, "k", argument)
        forked = other.values["k"]
        assert isinstance(forked, tuple)
        assert forked[0] is not old[0]
        assert (value_text(forked), value_text(new)) == ("[1,3]", "[1,2]")
        assert forked[2] == new[2]


@pytest.mark.parametrize(
    "text", ["1", "-1", "0", "0.5", "-2.5", "1e300", '"1"', "true", "null", "[]", "[1,2]", '{"a":1}', '"é"']
)
def test_a_value_keeps_its_text_whatever_its_form(text: str) -> None:
    """Numbers are kept as numbers, the rest as text; both come back as they were."""
    value = from_text(text)
    assert isinstance(value, int | float) is (text[0] in "-0123456789")
    assert decode(value_text(value)) == decode(text) == value_of(value)


@pytest.mark.rule("B8")
@pytest.mark.parametrize(
    ("value", "size"),
    [(5, 8), (0.5, 8), (10**8, 9), (-(10**8), 10), ('"é"', 4), ("null", 4), ((["1", '"é"', "9"], 2, 7), 9)],
)
def test_bytes_are_those_of_the_text(value: Any, size: int) -> None:
    """A small number counts eight, the rest its UTF-8 bytes."""
    assert value_bytes(value) == size


def test_text_of_a_key() -> None:
    """JSON text of what is there, None of what is not."""
    store = StoreState()
    do(store, 1, "push", "k", '"x"')
    assert (store.text("k"), store.text("l")) == ('["x"]', None)


def test_a_list_that_was_text_becomes_a_view_of_the_same_size() -> None:
    """The size of a list does not jump when it is pushed to for the first time."""
    for text in ("[]", "[1,2]", '["é",{"a":[1]}]'):
        items, length, size = list_view(text)
        assert (len(items), size) == (length, value_bytes(text) - 2)
        assert value_text((items, length, size)) == text
    assert list_view("{}")[:2] == ([], 0)

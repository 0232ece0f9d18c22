"""Versions, shared list views, and views of past moments."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actorflow._core import store_state
from actorflow._core.run_state import operate
from actorflow._core.store_state import StoreState, from_text, list_view, value_bytes, value_of, value_text
from actorflow._core.values import MISSING, decode

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
            st.tuples(st.sampled_from(["mark", "unmark"]), st.integers(1, 4), st.none()),
        ),
        max_size=40,
    )
)
def test_a_view_shows_the_moment_of_its_mark(most: int, deeds: Any) -> None:
    """Whatever is written later, and however short the undo list is; nothing is kept once no mark needs it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_MAX", most)
        store = StoreState()
        seen: dict[int, dict[str, object]] = {}
        marks: dict[int, Any] = {}
        for kind, what, deed in deeds:
            if kind == "write":
                do(store, 1, deed[0], what, deed[1])
            elif kind == "mark" and what not in marks:
                marks[what] = store.mark(what)
                seen[what] = plain(store.values)
            elif kind == "unmark":
                store.unmark(what)
                marks.pop(what, None)
            for owner, mark in marks.items():
                assert plain(store.view(mark)) == seen[owner]
            assert len(store.undo) <= most
            assert marks or not store.undo
            assert set(store.marks) == set(marks)


def test_undoing_is_kept_only_as_far_as_the_oldest_mark_needs() -> None:
    """When the oldest mark goes, the writes that only it needed go with it."""
    store = StoreState()
    store.mark(1)
    for _ in range(3):
        do(store, 1, "set", "a", "1")
    younger = store.mark(2)
    store.unmark(1)
    assert len(store.undo) == 0
    do(store, 1, "set", "a", "2")
    assert len(store.undo) == 1
    assert plain(store.view(younger)) == {"a": 1}
    store.unmark(7)  # nobody's: nothing happens
    store.unmark(2)
    assert len(store.undo) == 0


def test_a_frozen_view_is_made_once() -> None:
    """After the undo list was emptied, the view is the one that was made then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_state, "UNDO_MAX", 2)
        store = StoreState()
        do(store, 1, "set", "a", "0")
        first = store.mark(1)
        do(store, 1, "set", "a", "1")
        second = store.mark(2)
        do(store, 1, "set", "a", "2")
        do(store, 1, "set", "a", "3")
        assert store.view(first) is store.view(first)
        assert (plain(store.view(first)), plain(store.view(second))) == ({"a": 0}, {"a": 1})
        third = store.mark(3)
        for n in range(5):
            do(store, 1, "set", "a", str(n))
        assert (plain(store.view(first)), plain(store.view(third))) == ({"a": 0}, {"a": 3})


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


@pytest.mark.parametrize("text", ["1", "-1", "0", "0.5", "-2.5", "1e300", '"1"', "true", "null", "[]", "[1,2]", '{"a":1}', '"é"'])
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

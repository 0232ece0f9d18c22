"""Strict JSON: what goes in comes out, what does not fit is refused with its path."""

from __future__ import annotations

import json
import sys
from collections import OrderedDict
from enum import Enum, IntEnum, StrEnum
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core.values import (
    MAX_DEPTH,
    MAX_DIGITS,
    MISSING,
    check_integer,
    decode,
    encode,
    json_equal,
    parse,
    shorten,
    size_of,
)
from actorflow.errors import InputError, NotJsonError, ValueTooLarge

LEAVES = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.text())
JSON = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))


class Text(str):
    __slots__ = ()


class Whole(int):
    pass


class Real(float):
    pass


class Colour(Enum):
    RED = "red"


class Level(IntEnum):
    LOW = 1


class Name(StrEnum):
    ADA = "ada"


class Point(NamedTuple):
    x: int
    y: int


class Opaque:
    def __repr__(self) -> str:
        return "<opaque>"


def exact(value: object) -> object:
    """A value with its types, all the way down."""
    if isinstance(value, dict):
        return {key: exact(item) for key, item in value.items()}
    if isinstance(value, list):
        return [exact(item) for item in value]
    return type(value), repr(value)


def nested(levels: int, wrap: Any = lambda inner: [inner]) -> Any:
    """`levels` containers, one in the other."""
    value: Any = 0
    for _ in range(levels):
        value = wrap(value)
    return value


@pytest.mark.rule("B1", "B2")
@given(JSON)
def test_a_json_value_survives_exactly(value: object) -> None:
    """Text and back gives an equal value of equal types, and the text is compact."""
    text = encode(value)
    assert exact(decode(text)) == exact(value)
    assert text == json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert size_of(text) == len(text.encode())
    assert parse(text) == value


@pytest.mark.rule("B1")
def test_every_decode_is_a_copy_of_its_own() -> None:
    """Two readers of one text never share an object."""
    text = encode({"a": [1]})
    first = decode(text)
    assert isinstance(first, dict)
    first["a"].append(2)
    assert decode(text) == {"a": [1]}


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    ("value", "text"),
    [
        ((1, (2, [3])), "[1,[2,[3]]]"),
        (Text("é"), '"é"'),
        ({Text("k"): Text("v")}, '{"k":"v"}'),
        (Whole(7), "7"),
        (Real(0.5), "0.5"),
        ([Whole(7), True, None], "[7,true,null]"),
        (OrderedDict(b=1, a=(2,)), '{"b":1,"a":[2]}'),
        (Colour.RED, '"red"'),
        ([Level.LOW, Name.ADA], '[1,"ada"]'),
        (Point(1, 2), "[1,2]"),
        ({"p": [Point(1, 2)]}, '{"p":[[1,2]]}'),
    ],
)
def test_relatives_of_the_json_types_become_them(value: object, text: str) -> None:
    """Tuples, subclasses and enums are stored as what they are made of."""
    assert encode(value) == text
    assert type(encode(value)) is str


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    ("value", "path"),
    [
        (float("nan"), "$"),
        ([1, float("inf")], "$[1]"),
        ({"a": [0, -float("inf")]}, "$.a[1]"),
        (Real("nan"), "$"),
        (b"x", "$"),
        ({"a": {1, 2}}, "$.a"),
        ({"a": {1: 2}}, "$.a"),
        ({None: 1}, "$"),
        ([Opaque()], "$[0]"),
        ((0, Opaque()), "$[1]"),
        ("\ud800", "$"),
        ({"k": ["ok", "a\udfff"]}, "$.k[1]"),
        ({"\ud800": 1}, "$"),
        (Text("\ud800"), "$"),
        ([Text("é"), "\ud800"], "$[1]"),
        (MISSING, None),
    ],
)
def test_what_json_cannot_carry_is_refused_with_its_path(value: object, path: str | None) -> None:
    """The error is a `NotJsonError` that names the place."""
    if path is None:
        assert encode(value) == '"MISSING"'  # an enum like any other; the verbs refuse it before
        return
    with pytest.raises(NotJsonError) as caught:
        encode(value)
    assert caught.value.path == path
    assert f"at {path}" in str(caught.value)


@pytest.mark.rule("B2")
@pytest.mark.parametrize("wrap", [lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_nesting_is_allowed_to_the_bound_and_not_past_it(wrap: Any) -> None:
    """200 levels pass, 201 are refused, on both roads in."""
    good = nested(MAX_DEPTH, wrap)
    assert encode(good).count("0") == 1
    assert encode(nested(MAX_DEPTH - 1, lambda inner: OrderedDict(a=inner)))
    for bad in (nested(MAX_DEPTH + 1, wrap), {"x": nested(MAX_DEPTH, wrap)}):
        with pytest.raises(NotJsonError, match="200 levels"):
            encode(bad)


@pytest.mark.rule("B2")
def test_a_cycle_is_refused() -> None:
    """A list or dict that holds itself is an error, not a recursion without end."""
    loop: list[object] = [1]
    loop.append({"again": loop})
    with pytest.raises(NotJsonError, match="cycle") as caught:
        encode(loop)
    assert caught.value.path.startswith("$[1].again[1].again")


@pytest.mark.rule("B2")
@pytest.mark.parametrize("sign", [1, -1])
def test_integers_survive_up_to_4300_digits(sign: int) -> None:
    """The largest of 4,300 digits comes back exactly, the next is too large, wherever it stands."""
    largest = sign * (10**MAX_DIGITS - 1)
    assert decode(encode({"n": [largest]})) == {"n": [largest]}
    assert check_integer(largest) == largest
    for value in (largest + sign, {"n": [largest + sign]}, (Whole(largest + sign),)):
        with pytest.raises(ValueTooLarge) as caught:
            encode(value)
        assert (caught.value.what, caught.value.limit) == ("digits", MAX_DIGITS)
        assert caught.value.size in (MAX_DIGITS, MAX_DIGITS + 1)
    with pytest.raises(ValueTooLarge):
        check_integer(largest + sign)


def test_an_interpreter_that_writes_shorter_integers_is_reported_as_such() -> None:
    """Where Python itself refuses to write what our rules allow, the caller still gets an `InputError`."""
    before = sys.get_int_max_str_digits()
    sys.set_int_max_str_digits(640)
    try:
        with pytest.raises(NotJsonError, match="this int cannot be written"):
            encode(10**1000)
    finally:
        sys.set_int_max_str_digits(before)


# --- foreign types


def convert(value: object) -> object:
    """A converter as cattrs gives it: what it does not know it returns."""
    return {"opaque": (1,)} if isinstance(value, Opaque) else value


@pytest.mark.rule("B2")
def test_the_converter_is_asked_for_what_is_no_json_type() -> None:
    """Its result is checked like any value; what it does not know goes the usual way."""
    assert encode([Opaque(), Colour.RED, Whole(3)], convert) == '[{"opaque":[1]},"red",3]'
    with pytest.raises(NotJsonError) as caught:
        encode({"a": object()}, convert)
    assert caught.value.path == "$.a"


@pytest.mark.rule("B2")
@pytest.mark.parametrize("value", [b"x", bytearray(b"x"), {1}, frozenset({1})])
def test_no_converter_makes_bytes_or_sets_acceptable(value: object) -> None:
    """Converters turn sets into lists and bytes into text; that would come back as something else."""
    with pytest.raises(NotJsonError):
        encode(value, lambda found: "converted")


def test_an_error_of_the_converter_is_the_cause() -> None:
    """Whatever it raises, the caller gets a `NotJsonError` with the path and the cause."""

    def broken(value: object) -> object:
        raise KeyError("no hook")

    with pytest.raises(NotJsonError, match="cannot be turned into JSON") as caught:
        encode([Opaque()], broken)
    assert isinstance(caught.value.__cause__, KeyError)
    assert caught.value.path == "$[0]"


def test_a_converter_that_never_gets_anywhere_is_refused() -> None:
    """A converter that answers with one foreign object after the other is an input error, not a `RecursionError`."""
    with pytest.raises(NotJsonError):
        encode([Opaque()], lambda value: Opaque())


# --- parsing


@pytest.mark.parametrize(
    "text", ["", "{", "NaN", "[1,]", "1e999", "'a'", "1 2", '"\\ud800"', "9" * 5000, "[" * 201 + "]" * 201]
)
def test_text_from_outside_is_held_to_the_same_rules(text: str) -> None:
    """What is no strict JSON is refused, and the text of the error stays short."""
    with pytest.raises(InputError) as caught:
        parse(text, "input")
    assert len(str(caught.value)) < 600


def test_text_that_is_nested_beyond_all_bounds_is_refused() -> None:
    """Python's own recursion limit is not what the caller sees."""
    with pytest.raises(NotJsonError, match="input is not valid JSON"):
        parse("[" * 200_000, "input")


# --- equality, sizes, texts


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        (1, 1.0, True),
        (2**53 + 1, float(2**53), False),
        (True, 1, False),
        (1, True, False),
        (False, False, True),
        (0, False, False),
        (None, False, False),
        (None, None, True),
        ("1", 1, False),
        ("a", "a", True),
        ({"a": 1, "b": [2]}, {"b": [2.0], "a": 1.0}, True),
        ({"a": 1}, {"a": True}, False),
        ({"a": 1}, {"b": 1}, False),
        ({}, [], False),
        ([1, 2], [2, 1], False),
        ([1], [1, 1], False),
        ([[True]], [[1]], False),
    ],
)
def test_equality_is_that_of_json(left: object, right: object, equal: bool) -> None:
    """Numbers by value, True is not 1, the order of keys does not matter."""
    assert json_equal(left, right) is equal
    assert json_equal(right, left) is equal


@given(JSON, JSON)
def test_equality_goes_with_the_text(left: object, right: object) -> None:
    """A value equals its copy, and equal texts are equal values."""
    assert json_equal(left, decode(encode(left)))
    if encode(left) == encode(right):
        assert json_equal(left, right)


@given(st.text())
def test_a_size_is_in_utf8_bytes(text: str) -> None:
    """Not in characters."""
    assert size_of(text) == len(text.encode())


@given(st.one_of(st.text(), st.lists(st.integers()), st.binary()), st.integers(10, 100))
def test_a_shortened_value_fits(value: object, width: int) -> None:
    """Error texts show no more than they are given room for."""
    shown = shorten(value, width)
    assert len(shown) <= width
    assert shown == repr(value) or shown.endswith("…")


def test_missing_names_itself() -> None:
    """It shows up as users import it."""
    assert repr(MISSING) == "actorflow.MISSING"

"""Declared types: what fits, how it is written, and the path to every bad field."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, StrEnum
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, NotRequired, TypedDict, TypeVar
from uuid import UUID

import pytest
from attrs import define, field, frozen
from attrs.validators import ge

from actorflow._authoring.schema import PLAIN, faults, schema_of, unstructure
from actorflow.errors import InputError, NotJsonError, ValueTooLarge

if TYPE_CHECKING:
    from fractions import Fraction

T = TypeVar("T")
OrderId = NewType("OrderId", int)


class Colour(Enum):
    RED = "red"
    ONE = 1


class Level(IntEnum):
    LOW = 1


class Word(StrEnum):
    YES = "yes"


class Odd(Enum):
    THING = b"bytes"


@define
class Item:
    price: float
    name: str = "pen"


@define
class Order:
    id: int
    items: list[Item] = field(factory=list)
    parent: Order | None = None


@define
class Box(Generic[T]):
    content: T
    more: list[T] = field(factory=list)


@define
class Positive:
    n: int = field(validator=ge(0))


@define
class Loose:
    anything: Any = None
    raw: bytes = b""


@frozen
class Cat:
    kind: Literal["cat"]
    name: str = ""


@frozen
class Dog:
    kind: Literal["dog"]
    name: str = ""


@frozen
class Short:
    a: int


@frozen
class Long:
    a: int
    b: int = 0


@dataclasses.dataclass
class Point:
    x: int
    y: int = 0


class Pair(NamedTuple):
    left: int
    right: str = "r"


class Options(TypedDict):
    size: int
    colour: NotRequired[Colour]


@define
class Hidden:
    part: Fraction


UID = UUID("12345678-1234-5678-1234-567812345678")
AWARE = datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)
EAST = datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))

ROUND_TRIPS = [
    (int, 10**400, str(10**400)),
    (float, 2.5, "2.5"),
    (bool, True, "true"),
    (str, "ä\u2028", '"ä\u2028"'),
    (bytes, b"\x00\xff", '"AP8="'),
    (datetime, AWARE, '"2024-01-02T03:04:05+00:00"'),
    (datetime, EAST, '"2024-01-02T03:04:05.000006+02:00"'),
    (datetime, AWARE.replace(tzinfo=None), '"2024-01-02T03:04:05"'),
    (date, date(2024, 1, 2), '"2024-01-02"'),
    (time, time(3, 4, 5), '"03:04:05"'),
    (timedelta, timedelta(days=2, microseconds=10), '"PT172800.00001S"'),
    (timedelta, -timedelta(seconds=1, microseconds=1), '"-PT1.000001S"'),
    (timedelta, timedelta.max, '"PT86399999999999.999999S"'),
    (Decimal, Decimal("1.10"), '"1.10"'),
    (UUID, UID, f'"{UID}"'),
    (PurePosixPath, PurePosixPath("a/b"), '"a/b"'),
    (Colour, Colour.RED, '"red"'),
    (Colour, Colour.ONE, "1"),
    (Level, Level.LOW, "1"),
    (Word, Word.YES, '"yes"'),
    (Literal["a", 1, None], None, "null"),
    (OrderId, OrderId(7), "7"),
    (Annotated[int, "unit"], 7, "7"),
    (int | None, None, "null"),
    (list[int], [1, 2], "[1,2]"),
    (Sequence[int], [1, 2], "[1,2]"),
    (deque[int], deque([1]), "[1]"),
    (set[str], {"b", "a"}, '["a","b"]'),
    (frozenset[int], frozenset({2, 1}), "[1,2]"),
    (tuple[int, str], (1, "a"), '[1,"a"]'),
    (tuple[int, ...], (1, 2, 3), "[1,2,3]"),
    (dict[str, Item], {"a": Item(1.0)}, '{"a":{"price":1.0,"name":"pen"}}'),
    (dict[int, str], {5: "x"}, '{"5":"x"}'),
    (dict[date, int], {date(2024, 1, 2): 1}, '{"2024-01-02":1}'),
    (Mapping[Colour, int], {Colour.RED: 1, Colour.ONE: 2}, '{"red":1,"1":2}'),
    (Order, Order(1, [Item(2.0)], Order(3)), None),
    (Box[int], Box(1, [2]), '{"content":1,"more":[2]}'),
    (Box[list[Item]], Box([Item(1.0)]), None),
    (Point, Point(1, 2), '{"x":1,"y":2}'),
    (Pair, Pair(1), '[1,"r"]'),
    (Options, {"size": 1}, '{"size":1}'),
    (Options, {"size": 1, "colour": Colour.RED}, '{"size":1,"colour":"red"}'),
    (list[Cat | Dog], [Dog("dog"), Cat("cat")], None),
    (Short | Long, Long(1), '{"a":1,"b":0}'),
    (Long | Short, Short(1), '{"a":1}'),
    (int | str | list[int] | None, [1], "[1]"),
    (float | int, 1, "1"),
    (int | bool, True, "true"),
    (str | UUID, UID, f'"{UID}"'),
    (str | UUID, "text", '"text"'),
    (datetime | date | None, date(2024, 1, 2), '"2024-01-02"'),
    (dict[str, int] | Short, Short(1), '{"a":1}'),
    (bytes | None, b"x", '"eA=="'),
    (Item | dict[str, object], {"price": 1.0, "other": 2}, '{"price":1.0,"other":2}'),
    (Loose, Loose([1, {"a": None}], b"x"), '{"anything":[1,{"a":null}],"raw":"eA=="}'),
]


@pytest.mark.rule("B2")
@pytest.mark.parametrize(("kind", "value", "text"), ROUND_TRIPS, ids=range(len(ROUND_TRIPS)))
def test_a_value_of_its_type_comes_back_the_same(kind: object, value: object, text: str | None) -> None:
    """Written and read again, a value equals itself and has its own class; written again, it is the same text."""
    assert faults(kind) == []
    schema = schema_of(kind)
    written = schema.unstructure(value, "x")
    assert text is None or written == text
    back = schema.structure(written, "x")
    assert (back, type(back)) == (value, type(value))
    assert schema.check(back, "x") == written


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    ("kind", "data", "value"),
    [
        (datetime, "2024-01-02T03:04:05Z", AWARE),
        (timedelta, "P1W1DT1H1M1.5S", timedelta(days=8, hours=1, minutes=1, seconds=1.5)),
        (timedelta, 90, timedelta(seconds=90)),
        (Decimal, 3, Decimal(3)),
        (float, 3, 3.0),
        (set[int], [1, 1], {1}),
        (Order, {"id": 1, "items": [{"price": 2, "unknown": 0}], "x": 1}, Order(1, [Item(2.0)])),
        (list[Item], [Item(1.0), {"price": 2.0}], [Item(1.0), Item(2.0)]),
        (Pair, {"left": 1}, Pair(1)),
        (Options, {"size": 1, "extra": 2}, {"size": 1}),
        (list[int], (1, 2), [1, 2]),
    ],
    ids=lambda value: str(value)[:40],
)
def test_what_else_is_understood(kind: object, data: object, value: object) -> None:
    """Unknown fields are ignored, an int will do for a float, instances and JSON may be mixed."""
    schema = schema_of(kind)
    assert schema.structure(schema.unstructure(data, "x"), "x") == value


MISFITS = [
    (int, "5", {"$": "expected int, got '5'"}),
    (int, True, {"$": "expected int, got True"}),
    (int, 1.0, {"$": "expected int, got 1.0"}),
    (float, "1", {"$": "expected float, got '1'"}),
    (float, False, {"$": "expected float, got False"}),
    (float, 10**400, None),
    (str, 5, {"$": "expected str, got 5"}),
    (str, AWARE, None),
    (bool, 1, {"$": "expected bool, got 1"}),
    (type(None), 0, {"$": "expected None, got 0"}),
    (bytes, "*", None),
    (datetime, "2024-01-02", None),
    (datetime, 5, None),
    (date, AWARE, None),
    (date, "2024-01-02T00:00:00", None),
    (time, "25:00", None),
    (timedelta, "P", None),
    (timedelta, "1 day", None),
    (timedelta, float("nan"), None),
    (Decimal, 1.5, None),
    (Decimal, "x", None),
    (UUID, "x", None),
    (Colour, True, {"$": "expected one of 'red', 1, got True"}),
    (Level, True, None),
    (Word, Colour.RED, None),
    (Literal["a", 1], True, {"$": "expected one of 'a', 1, got True"}),
    (list[int], "12", {"$": "expected list[int], got '12'"}),
    (list[int], {"a": 1}, None),
    (list[int], [1, "x", None], {"$[1]": "expected int, got 'x'", "$[2]": "expected int, got None"}),
    (tuple[int, str], [1], {"$": "expected tuple[int, str], got 1 items"}),
    (dict[str, int], {"a b": "x"}, {'$["a b"]': "expected int, got 'x'"}),
    (
        dict[int, int],
        {"x": 1, "05": 2},
        {"$.x": "key: expected int, got 'x'", '$["05"]': "key: expected int, got '05'"},
    ),
    (Item, {}, {"$.price": "required"}),
    (Item, None, {"$": "expected Item, got None"}),
    (Item, [], {"$": "expected Item, got []"}),
    (Item, Short(1), None),
    (Item, Item("x"), {"$.price": "expected float, got 'x'"}),  # type: ignore[arg-type]  # bad on purpose
    (Box[int], {"content": "x", "more": ["y"]}, {"$.content": "expected int, got 'x'", "$.more[0]": None}),
    (Point, {"x": "1"}, {"$.x": "expected int, got '1'"}),
    (Pair, {"right": 1}, {"$.left": "required", "$.right": "expected str, got 1"}),
    (Pair, [], {"$.left": "required"}),
    (Options, {"colour": "blue"}, {"$.size": "required", "$.colour": "expected one of 'red', 1, got 'blue'"}),
    (Positive, {"n": -1}, {"$": None}),
    (int | str, None, {"$": "expected int | str, got None"}),
    (Item | None, {"price": "x"}, {"$.price": "expected float, got 'x'"}),
    (Item | int, {"price": "x"}, {"$.price": "expected float, got 'x'"}),
    (Cat | Dog, {"kind": "cow"}, {"$": "expected Cat | Dog, got {'kind': 'cow'}"}),
    (
        Order,
        {"id": "1", "items": [{"price": 1}, {"price": "x", "name": 5}], "parent": {"id": None}},
        {
            "$.id": "expected int, got '1'",
            "$.items[1].price": "expected float, got 'x'",
            "$.items[1].name": "expected str, got 5",
            "$.parent.id": "expected int, got None",
        },
    ),
]


@pytest.mark.rule("D5", "B2")
@pytest.mark.parametrize(("kind", "data", "problems"), MISFITS, ids=lambda value: str(value)[:40])
def test_every_bad_field_is_named_by_its_path(kind: object, data: object, problems: dict[str, str | None]) -> None:
    """Primitives are strict, and one error tells of every bad field what was expected and what came."""
    with pytest.raises(InputError, match="input of Import") as caught:
        schema_of(kind).unstructure(data, "input of Import")
    found = dict(caught.value.problems)
    assert found
    if problems is not None:
        assert {path: found[path] if text else None for path, text in problems.items()} == problems
        assert found.keys() == problems.keys()
    assert all(path in str(caught.value) for path in found)


def test_what_was_journaled_is_held_to_its_type_too() -> None:
    """Reading text gives the same error as writing data."""
    with pytest.raises(InputError) as caught:
        schema_of(list[Item]).structure('[{"price":"x"}]', "payload")
    assert caught.value.problems == {"$[0].price": "expected float, got 'x'"}


def test_a_long_list_of_bad_items_makes_a_short_text() -> None:
    """The text shows a few problems and counts the rest, and even `problems` has a bound."""
    with pytest.raises(InputError, match="and 990 more") as caught:
        schema_of(list[int]).unstructure(["x"] * 5000, "x")
    assert len(caught.value.problems) == 1000
    assert len(str(caught.value)) < 1000


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    ("kind", "value", "path"),
    [
        (Loose, Loose(anything=b"x"), "$.anything"),
        (list[Any], [1, {2}], "$[1]"),
        (list[float], [1.0, float("nan")], "$[1]"),
        (dict[str, object], {"a": {1: 2}}, "$.a"),
        (str, "\ud800", "$"),
        (None, {"a": b"x"}, "$.a"),
        (Any, [{1, 2}], "$[0]"),
    ],
)
def test_what_json_cannot_carry_is_refused_where_it_is_not_declared(kind: object, value: object, path: str) -> None:
    """Bytes and sets under no declared type, NaN and lone surrogates anywhere, are a `NotJsonError` with the path."""
    with pytest.raises(NotJsonError, match="output of Import") as caught:
        schema_of(kind).unstructure(value, "output of Import")
    assert caught.value.path == path
    assert list(caught.value.problems) == [path]


@pytest.mark.rule("B2")
def test_an_integer_beyond_the_limit_is_too_large() -> None:
    """A declared int is bounded like any other."""
    with pytest.raises(ValueTooLarge):
        schema_of(int).unstructure(10**4300, "x")


@pytest.mark.rule("B2")
def test_data_of_no_declared_type_is_plain_json() -> None:
    """Instances are written by their classes and read as JSON values."""
    value = {
        "item": Item(1.0),
        "at": AWARE,
        "id": UID,
        "pair": Pair(1),
        "colours": (Colour.RED, Level.LOW),
        "d": Decimal(1),
    }
    text = PLAIN.unstructure(value, "x")
    assert PLAIN.structure(text, "x") == {
        "item": {"price": 1.0, "name": "pen"},
        "at": AWARE.isoformat(),
        "id": str(UID),
        "pair": [1, "r"],
        "colours": ["red", 1],
        "d": "1",
    }
    assert all(schema_of(kind) is PLAIN for kind in (None, Any, object))


@pytest.mark.rule("B2")
@pytest.mark.parametrize(
    "value", [b"x", {1}, object(), Item, 5, "text", Exception("x")], ids=lambda value: type(value).__name__
)
def test_unstructure_leaves_alone_what_it_does_not_know(value: object) -> None:
    """The very object comes back, for `encode` to refuse or to take."""
    assert unstructure(value) is value


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (complex, ["complex"]),
        (Callable[[int], int], ["Callable"]),
        (dict[str, list[complex]], ["complex"]),
        (Box[complex], ["Box.content", "complex"]),
        (object.__class__, ["type"]),
        (Odd, ["Odd", "bytes"]),
        (Literal[b"x"], ["Literal"]),
        (Hidden, ["Hidden", "Fraction", "TYPE_CHECKING"]),
        (list[Hidden | None], ["Hidden", "Fraction"]),
    ],
    ids=str,
)
def test_a_type_that_cannot_be_data_says_why(kind: object, words: list[str]) -> None:
    """A type that JSON cannot carry is found when the workflow is defined, by its name and the field that has it."""
    found = faults(kind)
    assert found
    assert [word for word in words if word not in found[0]] == []

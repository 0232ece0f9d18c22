"""State types: defaults, views, and what may stand under a key."""

from __future__ import annotations

import dataclasses
from typing import Any, NotRequired, Optional, TypedDict

import pytest
from attrs import define, field
from attrs.validators import ge

from actorflow._authoring.schema import StateSchema
from actorflow.errors import InputError, NotJsonError, StateKeyError, StateTypeError


@define
class Line:
    price: float


@define
class Progress:
    owner: str
    done: int = 0
    ratio: float = 0.5
    lines: list[Line] = field(factory=list)
    tags: set[str] = field(factory=set)
    note: str | None = None
    mixed: list[int] | list[str] | None = None
    free: Any = None
    seen: int = field(default=0, init=False)


@dataclasses.dataclass
class Plain:
    done: int = 0
    names: list[str] = dataclasses.field(default_factory=list)


class Table(TypedDict):
    done: int
    note: NotRequired[str]


@define
class Bounded:
    n: int = field(default=0, validator=ge(0))


SCHEMA = StateSchema(Progress)
DEFAULTS = {
    "owner": '"me"', "done": "0", "ratio": "0.5", "lines": "[]", "tags": "[]", "note": "null", "mixed": "null",
    "free": "null",
}  # fmt: skip


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    ("kind", "initial", "expected"),
    [
        (Progress, Progress("me"), DEFAULTS),
        (Progress, {"owner": "me"}, DEFAULTS),
        (Progress, {"owner": "me", "lines": [Line(1)]}, {**DEFAULTS, "lines": '[{"price":1.0}]'}),
        (Plain, None, {"done": "0", "names": "[]"}),
        (Plain, Plain(3), {"done": "3", "names": "[]"}),
        (Table, {"done": 1}, {"done": "1"}),
    ],
    ids=repr,
)
def test_every_key_with_a_value_is_written(kind: type, initial: object, expected: dict[str, str]) -> None:
    """An instance, a mapping or nothing gives the text of every field; a key that may be missing is left out."""
    assert StateSchema(kind).defaults(initial) == expected


@pytest.mark.rule("B9", "D5")
@pytest.mark.parametrize(
    ("kind", "initial", "problems"),
    [
        (Progress, None, {"$.owner": "required"}),
        (Progress, {"done": "4"}, {"$.owner": "required", "$.done": "expected int, got '4'"}),
        (Progress, Progress("me", done="4"), {"$.done": "expected int, got '4'"}),  # type: ignore[arg-type]  # bad on purpose
        (Progress, {"owner": "me", "dnoe": 4, "seen": 1}, {"$.dnoe": "unknown key", "$.seen": "unknown key"}),
        (Progress, Plain(), {"$": "expected Progress or a mapping"}),
        (Progress, [], {"$": "expected Progress or a mapping"}),
        (Table, None, {"$.done": "required"}),
        (Bounded, {"n": -1}, {"$": "'n' must be >= 0"}),
    ],
    ids=repr,
)
def test_a_bad_initial_state_names_every_key(kind: type, initial: object, problems: dict[str, str]) -> None:
    """Missing, unknown and bad keys are all told at once."""
    with pytest.raises(InputError, match="initial state") as caught:
        StateSchema(kind).defaults(initial)
    found = caught.value.problems
    assert found.keys() == problems.keys()
    assert [path for path, text in problems.items() if not found[path].startswith(text)] == []


@pytest.mark.rule("B9")
def test_a_view_is_an_instance_of_its_own() -> None:
    """Other keys are ignored, missing ones have their defaults, and two views share nothing."""
    values = {"owner": "me", "done": 2, "lines": [{"price": 1}], "tags": ["a"], "of_others": 1}
    view = SCHEMA.view(values)
    assert view == Progress("me", 2, lines=[Line(1.0)], tags={"a"})
    assert isinstance(view, Progress)
    view.lines.clear()
    assert SCHEMA.view(values).lines == [Line(1.0)]  # type: ignore[attr-defined]  # a view is typed as an object
    with pytest.raises(InputError) as caught:
        SCHEMA.view({"done": "x"})
    assert caught.value.problems == {"$.owner": "required", "$.done": "expected int, got 'x'"}


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    ("key", "text", "written"),
    [
        ("done", "5", "5"),
        ("ratio", "1", "1.0"),
        ("note", "null", "null"),
        ("lines", '[{"price":1,"x":2}]', '[{"price":1.0}]'),
        ("tags", '["b","a","b"]', '["a","b"]'),
        ("mixed", '["a"]', '["a"]'),
        ("free", '{"any":[1]}', '{"any":[1]}'),
    ],
)
def test_a_value_that_fits_is_written_as_its_field_does(key: str, text: str, written: str) -> None:
    """What stands in the store is the form that the type gives the value."""
    assert SCHEMA.check_value(key, text) == written


@pytest.mark.rule("B9")
@pytest.mark.parametrize(
    ("check", "key", "argument", "words"),
    [
        ("check_value", "done", '"5"', "$.done: expected int, got '5'"),
        ("check_value", "lines", '[{"price":"x"}]', "$.lines[0].price: expected float"),
        ("check_value", "mixed", '[1,"a"]', "$.mixed: expected list[int] | list[str]"),
        ("check_item", "lines", '{"price":"x"}', "$.lines[].price: expected float"),
        ("check_item", "tags", "1", "expected str"),
        ("check_item", "mixed", "null", "expected int | str"),
        ("check_item", "done", "1", "not a list"),
        ("check_number", "done", 0.5, "expected int"),
        ("check_number", "owner", 1, "expected str"),
        ("check_number", "lines", 1, "expected list[Line]"),
    ],
)
def test_a_value_that_does_not_fit_is_a_state_type_error(check: str, key: str, argument: object, words: str) -> None:
    """The error knows the key, the class and the path."""
    with pytest.raises(StateTypeError) as caught:
        getattr(SCHEMA, check)(key, argument)
    assert caught.value.key == key
    assert words in str(caught.value)


@pytest.mark.rule("B9")
def test_items_and_numbers_that_fit_are_taken() -> None:
    """An item of any list among the alternatives, and an int for a float."""
    assert SCHEMA.check_item("lines", '{"price":1}') == '{"price":1.0}'
    assert SCHEMA.check_item("mixed", '"a"') == '"a"'
    assert SCHEMA.check_item("free", "[1]") == "[1]"
    for key, number in [("done", 1), ("ratio", 1), ("ratio", 1.5), ("free", 2.5)]:
        SCHEMA.check_number(key, number)


@pytest.mark.rule("B9")
def test_declared_sets_may_be_given_as_they_are() -> None:
    """A value that is not text yet is held to its field; what JSON cannot carry under `Any` still is refused."""
    assert SCHEMA.write_value("tags", {"b", "a"}) == '["a","b"]'
    assert SCHEMA.write_item("lines", Line(2.0)) == '{"price":2.0}'
    with pytest.raises(NotJsonError):
        SCHEMA.write_value("free", {"a"})
    with pytest.raises(NotJsonError):
        SCHEMA.write_value("ratio", float("nan"))


@pytest.mark.rule("B9")
@pytest.mark.parametrize("check", ["check_key", "check_value", "check_item", "check_number"])
def test_an_unknown_key_names_the_known_ones(check: str) -> None:
    """`StateKeyError`, with the key and the fields of the class."""
    arguments = {"check_key": (), "check_number": (1,)}.get(check, ("1",))
    with pytest.raises(StateKeyError, match="owner, done, ratio") as caught:
        getattr(SCHEMA, check)("dnoe", *arguments)
    assert caught.value.key == "dnoe"


@define
class Part:
    done: int = 0
    note: Optional[str] = None  # noqa: UP045 - another spelling of the same type is the point
    lines: list[Line] = field(factory=list)


@define
class Stray:
    done: str = ""
    more: int = 0


def test_a_part_of_the_state_has_the_same_keys_and_types() -> None:
    """A spelling of the same type is no difference; a missing key and another type are."""
    assert StateSchema(Part).differences(SCHEMA) == []
    assert StateSchema(Stray).differences(SCHEMA) == [
        "Stray.done is str, but in the state Progress int",
        "Stray.more is not in the state Progress",
    ]

"""The run store once more, as plain Python over decoded JSON: what each journaled operation does and answers.

What lives here: `Store`, which replays facts. What does not: what the facts have to agree with (`facts`). It shares no
code with the library, nor with the model of `actorflow.testing`: a checker made of what it checks agrees with it.
"""

from __future__ import annotations

import json
from copy import deepcopy
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow import Fact

__all__ = ["GONE", "Store", "Wrong", "decoded", "same"]

GONE: Final = object()
"""A key that is not there."""


class Wrong(Exception):
    """An operation that cannot have been applied here."""


def same(left: object, right: object) -> bool:
    """Whether two JSON values are one: numbers by value, and true is not 1."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(same(value, right[key]) for key, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    return left == right


def decoded(verb: str, argument: object) -> object:
    """The argument of an operation within another fact, where texts stand as they are journaled."""
    if isinstance(argument, str) and argument:
        return json.loads(argument)
    return argument


def _texts(argument: object) -> list[object]:
    return [json.loads(text) for text in cast("tuple[str, ...]", argument)]


def _list(old: object) -> list[object]:
    if old is GONE:
        return []
    if not isinstance(old, list):
        raise Wrong(f"the value is {type(old).__name__}, no list")
    return old


def _number(value: object) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Wrong(f"{value!r} is no number")
    return value


def _push(old: object, item: object) -> tuple[object, object]:
    items = _list(old)
    items.append(item)
    return items, len(items)


def _extend(old: object, argument: object) -> tuple[object, object]:
    items = _list(old)
    items.extend(_texts(argument))
    return items, len(items)


def _remove(old: object, item: object) -> tuple[object, object]:
    items = _list(old)
    left = [one for one in items if not same(one, item)]
    if len(left) == len(items):
        raise Wrong("nothing was there to remove")
    return left, len(items) - len(left)


def _add(old: object, delta: object, sign: int) -> tuple[object, object]:
    total = (0 if old is GONE else _number(old)) + sign * _number(delta)
    return total, total


def _limit(old: object, number: object, *, up: bool) -> tuple[object, object]:
    if old is not GONE and (_number(number) <= _number(old) if up else _number(number) >= _number(old)):
        raise Wrong(f"{number!r} does not move {old!r}")
    return number, number


def _set(value: object) -> object:
    return list(value) if isinstance(value, list) else value  # what is pushed onto it later is not in the fact


def _there(old: object) -> object:
    if old is GONE:
        raise Wrong("there is no such key")
    return old


def _absent(old: object, value: object) -> tuple[object, object]:
    if old is not GONE:
        raise Wrong("the key is there already")
    return _set(value), True


def _merge(old: object, mapping: object) -> tuple[object, object]:
    if not isinstance(old, dict) and old is not GONE:
        raise Wrong(f"the value is {type(old).__name__}, no object")
    begin = old if isinstance(old, dict) else {}
    return {**begin, **cast("dict[str, object]", mapping)}, None


def _compare(old: object, argument: object) -> tuple[object, object]:
    wanted, value = cast("tuple[str, str]", argument)
    if (old is not GONE) if not wanted else (old is GONE or not same(old, json.loads(wanted))):
        raise Wrong("the value is not the one that was expected")
    return json.loads(value), True


def _update(old: object, argument: object) -> tuple[object, object]:
    value = json.loads(cast("tuple[str, str]", argument)[0]) if isinstance(argument, tuple) else argument
    return _set(value), deepcopy(value)


VERBS: Final[Mapping[str, Callable[[object, object], tuple[object, object]]]] = {
    "set": lambda old, value: (_set(value), None),
    "push": _push,
    "extend": _extend,
    "remove": _remove,
    "increment": lambda old, delta: _add(old, delta, 1),
    "decrement": lambda old, delta: _add(old, delta, -1),
    "maximum": lambda old, number: _limit(old, number, up=True),
    "minimum": lambda old, number: _limit(old, number, up=False),
    "delete": lambda old, _: (GONE, _there(old) is not GONE),
    "pop": lambda old, _: (GONE, _there(old)),
    "merge": _merge,
    "set_if_absent": _absent,
    "compare_and_set": _compare,
    "update": _update,
}
"""What a verb makes of the value, and what it answers."""


@define
class Store:
    """A run store that is written by facts alone."""

    values: dict[str, object] = field(factory=dict)

    def operate(self, verb: str, key: str, argument: object) -> object:
        """Apply one operation; its answer. Raises `Wrong` for one that cannot have happened."""
        act = VERBS.get(verb)
        if act is None:
            raise Wrong(f"there is no verb {verb!r}")
        new, answer = act(self.values.get(key, GONE), argument)
        if new is GONE:
            self.values.pop(key, None)
        else:
            self.values[key] = new
        return answer

    def operate_all(self, operations: object) -> None:
        """Apply the operations of one fact; those that change nothing are journaled all the same."""
        for verb, key, argument in cast("list[tuple[str, str, object]]", operations):
            try:
                self.operate(verb, key, decoded(verb, argument))
            except Wrong:
                if verb in ("push", "extend", "increment", "decrement", "set"):
                    raise

    def apply(self, fact: Fact) -> object:
        """Let a fact write what it writes; the answer of a single operation."""
        fields = fact.fields
        if fact.kind == "operation-applied":
            return self.operate(str(fields["verb"]), str(fields["key"]), fields["argument"])
        if fact.kind in ("transaction-applied", "child-ended"):
            self.operate_all(fields["operations"])
        elif fact.kind == "state-seeded":
            values = cast("Mapping[str, object]", fields["values"])
            self.values.update({key: _set(value) for key, value in values.items()})
        return None

    def copy(self) -> dict[str, object]:
        """The values as they are now; lists are copied, for they grow in place."""
        return {key: _set(value) for key, value in self.values.items()}

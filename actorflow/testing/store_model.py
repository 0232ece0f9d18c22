"""One key of a run store, as plain functions: what every verb does and answers.

What lives here: values that can be compared and hashed like JSON, and the effect of each verb. What does not: the
store itself. It is written a second time on purpose: a checker that shares code with what it checks agrees with it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from math import inf
from typing import TYPE_CHECKING, Final, cast

from attrs import frozen

from .._core.values import MISSING

if TYPE_CHECKING:
    from .store_call import StoreCall


class Truth(Enum):
    """JSON's booleans: in JSON, true is not 1."""

    YES = True
    NO = False


class Wrong(Enum):
    """The answer of a move that cannot be at this place."""

    WRONG = "wrong"


WRONG: Final = Wrong.WRONG


@frozen
class Fields:
    """A JSON object; the order of its fields does not matter."""

    items: frozenset[tuple[str, object]]


PLAIN: Final = frozenset({str, int, float, type(None)})


def freeze(value: object) -> object:
    """A JSON value as one that can be hashed; equal if the JSON is equal."""
    if type(value) in PLAIN:
        return value
    if isinstance(value, bool):
        return Truth.YES if value else Truth.NO
    if isinstance(value, list | tuple):
        return tuple(freeze(one) for one in value)
    if isinstance(value, Mapping):
        return Fields(frozenset((name, freeze(one)) for name, one in value.items()))
    return value


def thaw(value: object) -> object:
    """A private copy of the value that was frozen."""
    if isinstance(value, Truth):
        return value.value
    if isinstance(value, tuple):
        return [thaw(one) for one in value]
    if isinstance(value, Fields):
        return {name: thaw(one) for name, one in value.items}
    return value


Effect = Callable[[object, tuple[object, ...]], tuple[object, object]]


def _added(state: object, delta: object, sign: int) -> tuple[object, object]:
    new = (0 if state is MISSING else cast("int", state)) + sign * cast("int", delta)
    return new, new


def _items(state: object) -> tuple[object, ...]:
    if state is MISSING:
        return ()
    if not isinstance(state, tuple):
        raise TypeError("not a list")
    return state


def _extend(state: object, added: tuple[object, ...]) -> tuple[object, object]:
    new = _items(state) + added
    return new, len(new)


def _remove(state: object, item: object) -> tuple[object, object]:
    kept = tuple(one for one in _items(state) if one != item)
    return (state if state is MISSING else kept), len(_items(state)) - len(kept)


def _merge(state: object, mapping: object) -> tuple[object, object]:
    old = Fields(frozenset()) if state is MISSING else state
    if not isinstance(old, Fields) or not isinstance(mapping, Fields):
        raise TypeError("not an object")
    return Fields(frozenset({**dict(old.items), **dict(mapping.items)}.items())), None


def _extreme(state: object, number: object, pick: Callable[[float, float], float]) -> tuple[object, object]:
    new = number if state is MISSING else pick(cast("float", state), cast("float", number))
    return new, new


def _compare(state: object, expected: object, value: object) -> tuple[object, object]:
    return (value, Truth.YES) if state == expected else (state, Truth.NO)


def _update(state: object, function: object, default: object) -> tuple[object, object]:
    compute = cast("Callable[[object], object]", function)
    new = freeze(compute(thaw(default if state is MISSING else state)))
    return new, new


EFFECTS: Final[dict[str, Effect]] = {
    "get": lambda state, given: (state, given[0] if state is MISSING else state),
    "has": lambda state, _: (state, freeze(state is not MISSING)),
    "length": lambda state, _: (state, len(_items(state))),
    "set": lambda _, given: (given[0], None),
    "delete": lambda state, _: (MISSING, freeze(state is not MISSING)),
    "pop": lambda state, given: (MISSING, given[0] if state is MISSING else state),
    "push": _extend,
    "extend": lambda state, given: _extend(state, _items(given[0])),
    "remove": lambda state, given: _remove(state, given[0]),
    "increment": lambda state, given: _added(state, given[0], 1),
    "decrement": lambda state, given: _added(state, given[0], -1),
    "maximum": lambda state, given: _extreme(state, given[0], max),
    "minimum": lambda state, given: _extreme(state, given[0], min),
    "merge": lambda state, given: _merge(state, given[0]),
    "set_if_absent": lambda state, given: (given[0], Truth.YES) if state is MISSING else (state, Truth.NO),
    "compare_and_set": lambda state, given: _compare(state, given[0], given[1]),
    "update": lambda state, given: _update(state, given[0], given[1]),
}
"""What a verb does with the value under its key: the new value, and the answer."""


def move(call: StoreCall) -> Callable[[object], object]:
    """A call as a function from the value before it to the value after it, or `WRONG` if it was told otherwise."""
    effect = EFFECTS[call.verb]
    given = tuple(freeze(one) for one in call.arguments)
    result = freeze(call.result)
    unknown = call.returned == inf

    def after(state: object) -> object:
        try:
            new, answer = effect(state, given)
        except TypeError:
            return WRONG
        return new if unknown or answer == result else WRONG

    return after

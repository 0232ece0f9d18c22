"""The verbs of the run store: for each, what must hold, and what it does.

What lives here: one table, `VERBS`. `check(old, argument)` raises the documented error or tells whether anything
would change; `write(old, argument)` gives the new value and the reply. Both are pure; recovery uses `write` alone.
What does not: keys, limits and lost updates (`decide`), where the value is kept (`store_state`).

Arguments are what travels and rests: JSON text for values, numbers for deltas, tuples of texts for many items.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

from attrs import frozen

from ..errors import InputError, StateTypeError
from .store_state import ListView, Value, from_text, list_view, value_of, value_text
from .values import MISSING, Missing, check_integer, decode, encode, json_equal, shorten, size_of

Argument = str | int | float | tuple[str, ...] | None
Operation = tuple[str, str, Argument]
"""(verb, key, argument)"""
Old = Value | Missing
Checked = bool
"""Whether the operation would change something: what changes nothing is neither journaled nor recorded."""
Written = tuple[Value | Missing, object]
"""The new value (MISSING: the key goes) and the reply."""


@frozen
class Verb:
    """One verb: `check` before it is decided, `write` when it is applied.

    `certain`: it always changes something, and `write` itself raises what `check` would, with nothing changed; so
    whoever decides and applies in one go may leave the check out.
    """

    check: Callable[[Old, Argument], Checked]
    write: Callable[[Old, Argument], Written]
    unchanged: Callable[[Old, Argument], object] = lambda old, argument: None
    certain: bool = False


def is_list(value: Old) -> bool:
    """Whether a stored value is a JSON list."""
    return isinstance(value, tuple) or (isinstance(value, str) and value[0] == "[")


def _view(value: Old) -> ListView:
    if isinstance(value, tuple):
        return value
    return ([], 0, 0) if value is MISSING else list_view(cast("str", value))


def describe(value: Old) -> str:
    """What kind of value it is, for error texts, without printing much of it."""
    if value is MISSING:
        return "missing"
    if isinstance(value, tuple):
        return f"a list of {value[1]}"
    text = value_text(value)
    kinds = {"{": "an object", "[": "a list", '"': "text", "t": "a bool", "f": "a bool", "n": "null"}
    return f"{kinds.get(text[0], 'a number')} {shorten(text, 40)}"


# --- lists


def _check_list(old: Old, argument: Argument) -> Checked:
    if type(old) is tuple:
        return True
    if old is not MISSING and not is_list(old):
        raise StateTypeError(f"the value is {describe(old)}, not a list; use another key, or set() it to a list first")
    return True


def _push(old: Old, argument: Argument) -> Written:
    if type(old) is tuple:
        items, length, size = old
    else:
        _check_list(old, argument)
        items, length, size = _view(old)
    if length != len(items):
        items = items[:length]  # somebody appended past this view: it is not ours to extend
    items.append(argument)  # type: ignore[arg-type]  # text, by verb
    length += 1
    return (items, length, size + size_of(argument) + 1), length  # type: ignore[arg-type]  # text, by verb


def _check_extend(old: Old, argument: Argument) -> Checked:
    _check_list(old, argument)
    return bool(argument) or old is MISSING


def _extend(old: Old, argument: Argument) -> Written:
    items, length, size = _view(old)
    texts = cast("tuple[str, ...]", argument)
    if length != len(items):
        items = items[:length]
    items.extend(texts)
    length += len(texts)
    return (items, length, size + sum(map(size_of, texts)) + len(texts)), length


def _kept(old: Old, argument: Argument) -> list[str]:
    items, length, _ = _view(old)
    text = cast("str", argument)
    wanted = decode(text)
    return [item for item in items[:length] if item != text and not json_equal(decode(item), wanted)]


def _check_remove(old: Old, argument: Argument) -> Checked:
    if old is MISSING:
        return False
    _check_list(old, argument)
    return len(_kept(old, argument)) < _view(old)[1]


def _remove(old: Old, argument: Argument) -> Written:
    kept = _kept(old, argument)
    return (kept, len(kept), sum(map(size_of, kept)) + len(kept)), _view(old)[1] - len(kept)


# --- numbers


def _number(old: Old, verb: str) -> int | float:
    if type(old) is int or type(old) is float:
        return old
    raise StateTypeError(f"{verb} needs a number, the value is {describe(old)}; use another key, or set() it first")


def _sum(old: Old, delta: int | float) -> int | float:
    if type(old) is int and type(delta) is int:
        total: int | float = old + delta
        if -(1 << 62) < total < 1 << 62:
            return total
    start = 0 if old is MISSING else _number(old, "increment")
    try:
        total = start + delta
    except OverflowError:
        total = float("inf")
    if isinstance(total, float):
        if total - total != 0:
            raise StateTypeError(f"{start!r} + {delta!r} is {total!r}, which JSON cannot carry; the value is unchanged")
    elif not -(1 << 62) < total < 1 << 62:
        check_integer(total)
    return total


def _check_increment(old: Old, argument: Argument) -> Checked:
    _sum(old, argument)  # type: ignore[arg-type]  # a number, by verb
    return True


def _increment(old: Old, argument: Argument) -> Written:
    total = _sum(old, argument)  # type: ignore[arg-type]  # a number, by verb
    return total, total


def _check_decrement(old: Old, argument: Argument) -> Checked:
    _sum(old, -cast("int", argument))
    return True


def _decrement(old: Old, argument: Argument) -> Written:
    total = _sum(old, -cast("int", argument))
    return total, total


def _check_maximum(old: Old, argument: Argument) -> Checked:
    return old is MISSING or cast("int", argument) > _number(old, "maximum")


def _check_minimum(old: Old, argument: Argument) -> Checked:
    return old is MISSING or cast("int", argument) < _number(old, "minimum")


def _take(old: Old, argument: Argument) -> Written:
    return cast("int", argument), argument


def _number_now(old: Old, argument: Argument) -> object:
    return old


# --- any value


def _always(old: Old, argument: Argument) -> Checked:
    return True


def _set(old: Old, argument: Argument) -> Written:
    return from_text(cast("str", argument)), None


def _update(old: Old, argument: Argument) -> Written:
    text = argument[0] if isinstance(argument, tuple) else cast("str", argument)  # beside it: the function's mark
    return from_text(text), decode(text)


def _check_present(old: Old, argument: Argument) -> Checked:
    return old is not MISSING


def _delete(old: Old, argument: Argument) -> Written:
    return MISSING, True


def _false(old: Old, argument: Argument) -> object:
    return False


def _zero(old: Old, argument: Argument) -> object:
    return 0


def _pop(old: Old, argument: Argument) -> Written:
    return MISSING, None if old is MISSING else value_of(old)


def _check_merge(old: Old, argument: Argument) -> Checked:
    if old is not MISSING and not (isinstance(old, str) and old[0] == "{"):
        raise StateTypeError(f"merge needs an object, the value is {describe(old)}; use set() instead")
    return old is MISSING or argument != "{}"


def _merge(old: Old, argument: Argument) -> Written:
    merged = {} if old is MISSING else cast("dict[str, object]", decode(cast("str", old)))
    merged.update(cast("dict[str, object]", decode(cast("str", argument))))
    return encode(merged), None


def _check_absent(old: Old, argument: Argument) -> Checked:
    return old is MISSING


def _set_true(old: Old, argument: Argument) -> Written:
    return from_text(cast("str", argument)), True


def _check_compare(old: Old, argument: Argument) -> Checked:
    expected = cast("tuple[str, ...]", argument)[0]
    if not expected or old is MISSING:
        return not expected and old is MISSING
    return json_equal(value_of(old), decode(expected))


def _compare(old: Old, argument: Argument) -> Written:
    return from_text(cast("tuple[str, ...]", argument)[1]), True


def check_delta(delta: object, verb: str) -> int | float:
    """A number that a store may add or compare: finite, not a bool. Raises `StateTypeError`."""
    if type(delta) is int:
        if not -(1 << 62) < delta < 1 << 62:
            check_integer(delta)
        return delta
    if isinstance(delta, bool) or not isinstance(delta, int | float):
        raise StateTypeError(f"{verb}: {shorten(delta)} is a {type(delta).__name__}, not a number")
    if isinstance(delta, float) and delta - delta != 0:
        raise StateTypeError(f"{verb}: {delta!r} is not a number that JSON can carry")
    return float(delta) if isinstance(delta, float) else check_integer(int(delta))


def check_mapping(mapping: object) -> Mapping[str, object]:
    """The argument of `merge`; raises `InputError` for anything but a mapping."""
    if isinstance(mapping, Mapping):
        return mapping
    raise InputError(f"merge needs a mapping, got {shorten(mapping)}")


VERBS: Final[Mapping[str, Verb]] = {
    "set": Verb(_always, _set, certain=True),
    "push": Verb(_check_list, _push, certain=True),
    "increment": Verb(_check_increment, _increment, certain=True),
    "decrement": Verb(_check_decrement, _decrement, certain=True),
    "delete": Verb(_check_present, _delete, _false),
    "extend": Verb(_check_extend, _extend, lambda old, argument: _view(old)[1]),
    "remove": Verb(_check_remove, _remove, _zero),
    "pop": Verb(_check_present, _pop, lambda old, argument: MISSING),
    "merge": Verb(_check_merge, _merge),
    "maximum": Verb(_check_maximum, _take, _number_now),
    "minimum": Verb(_check_minimum, _take, _number_now),
    "set_if_absent": Verb(_check_absent, _set_true, _false),
    "compare_and_set": Verb(_check_compare, _compare, _false),
    "update": Verb(_always, _update),
}
"""Every verb that changes something, by name. The names are journaled: renaming one needs a new fact version."""

"""Strict JSON: from Python values to checked compact text and back.

What lives here: the codec of every value that enters or leaves a run, and JSON equality. What does not: typed data
(cattrs, in `_authoring`), limits (in `store_state` and `decide`). Text is what travels and rests: that alone gives
private copies, sizes and journal rows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from enum import Enum
from json.encoder import JSONEncoder, encode_basestring
from typing import Final, cast

from .._ids import JsonText
from ..errors import NotJsonError, ValueTooLarge

MAX_DEPTH: Final = 200
"""Nesting that is still accepted; well under Python's recursion limit on both ways."""

MAX_DIGITS: Final = 4300
"""Digits of an integer: Python's own default bound for turning text into an int."""

_MAX_INT: Final = 10**MAX_DIGITS
_LEAVES: Final = frozenset({str, int, bool, float, type(None)})

Unstructure = Callable[[object], object]


class Missing(Enum):
    """The value of a key that is not there: equal only to itself."""

    MISSING = "MISSING"

    def __repr__(self) -> str:
        return "actorflow.MISSING"


MISSING: Final = Missing.MISSING

_ENCODER = JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), check_circular=False)


def _make_chunks() -> Callable[[object, int], Iterable[str]]:
    """One C encoder for the life of the process: `JSONEncoder.encode` builds a new one per call (1 µs of 1.6)."""
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # pragma: no cover - interpreters without the C accelerator
        return lambda value, depth: (_ENCODER.encode(value),)
    encoder: Callable[[object, int], Iterable[str]] = make(
        None, _ENCODER.default, encode_basestring, None, ":", ",", False, False, False
    )
    return encoder


_chunks = _make_chunks()
_join = "".join
# Not `JSONDecoder.decode`: that looks for white space on both sides of a text that has none.
_scan: Callable[[str, int], tuple[object, int]] = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # not in the stub


def decode(text: str) -> object:
    """The Python value of checked JSON text; a new object at every call."""
    return _scan(text, 0)[0]


def size_of(text: str) -> int:
    """UTF-8 bytes of `text`; O(1) for ASCII."""
    return len(text) if text.isascii() else len(text.encode())


def encode(value: object, unstructure: Unstructure | None = None) -> JsonText:
    """Check `value` and write it as compact JSON text.

    `unstructure` turns what is not a JSON type (attrs instances, enums, datetimes …) into JSON types.
    Raises `NotJsonError` with the path to the offending part, or `ValueTooLarge` for an integer beyond 4,300 digits.
    """
    if not _is_plain(value, 0):
        value = _plain(value, "$", 0, unstructure)
    try:
        text = _join(_chunks(value, 0))
        if not text.isascii():
            text.encode()  # lone surrogates have no UTF-8 form
    except (ValueError, RecursionError):
        _plain(value, "$", 0, unstructure)  # finds the culprit and raises with its path
        raise NotJsonError(f"this {type(value).__name__} cannot be written as JSON", path="$") from None
    return JsonText(text)


def parse(text: str, what: str = "JSON") -> object:
    """The value of JSON text from outside, held to the same rules as `encode`; raises `NotJsonError`."""
    try:
        value: object = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotJsonError(f"{what} is not valid JSON: {error}; got {shorten(text)}", path="$") from None
    encode(value)
    return value


def shorten(value: object, width: int = 80) -> str:
    """A bounded `repr` for error texts: a huge value must not make a huge report."""
    text = value[: width * 2] if isinstance(value, str) else value
    shown = repr(text)
    return shown if len(shown) <= width else f"{shown[: width - 1]}…"


def _is_plain(value: object, depth: int) -> bool:
    """Whether `value` consists of nothing but the exact JSON types (numbers and text are looked at by the encoder)."""
    kind = type(value)
    if kind in _LEAVES:
        return True
    if depth >= MAX_DEPTH:
        return False
    if kind is dict:
        for key, item in value.items():  # type: ignore[attr-defined]  # a dict, by its exact type
            if type(key) is not str:
                return False
            if type(item) not in _LEAVES and not _is_plain(item, depth + 1):
                return False
        return True
    if kind is list or kind is tuple:
        for item in value:  # type: ignore[attr-defined]  # noqa: SIM110 - a generator is slower; list or tuple
            if type(item) not in _LEAVES and not _is_plain(item, depth + 1):
                return False
        return True
    return False


def _plain(value: object, path: str, depth: int, unstructure: Unstructure | None) -> object:
    """`value` as exact JSON types: the slow road, which knows the path and converts what it can."""
    kind = type(value)
    if kind is bool or value is None:
        return value
    if kind is str:
        return _text(cast("str", value), path)
    if kind is int:
        return _integer(cast("int", value), path)
    if kind is float:
        return _number(cast("float", value), path)
    if depth >= MAX_DEPTH and isinstance(value, dict | list | tuple):
        raise NotJsonError(
            f"at {path[:120]}…: nested deeper than {MAX_DEPTH} levels, or a cycle; flatten it", path=path
        )
    if kind is dict:
        return _object(cast("dict[object, object]", value), path, depth, unstructure)
    if kind is list or kind is tuple:
        items = cast("list[object]", value)
        return [_plain(item, f"{path}[{i}]", depth + 1, unstructure) for i, item in enumerate(items)]
    return _foreign(value, path, depth, unstructure)


def _foreign(value: object, path: str, depth: int, unstructure: Unstructure | None) -> object:
    if depth > MAX_DEPTH:
        raise NotJsonError(f"at {path[:120]}…: it is turned into ever new objects, {MAX_DEPTH} deep", path=path)
    if unstructure is not None and not isinstance(value, bytes | bytearray | set | frozenset):
        try:
            converted = unstructure(value)
        except Exception as error:  # the converter's own errors are of any type; the cause is kept
            raise NotJsonError(f"at {path}: {shorten(value)} cannot be turned into JSON: {error}", path=path) from error
        if converted is not value:
            return _plain(converted, path, depth + 1, unstructure)
    if isinstance(value, Enum):
        return _plain(value.value, path, depth + 1, unstructure)
    if isinstance(value, str):
        return _text(str.__str__(value), path)
    if isinstance(value, int):
        return _integer(int(value), path)
    if isinstance(value, float):
        return _number(float(value), path)
    if isinstance(value, dict):
        return _object(cast("dict[object, object]", value), path, depth, unstructure)
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{i}]", depth + 1, unstructure) for i, item in enumerate(value)]
    raise NotJsonError(
        f"at {path}: {shorten(value)} is a {type(value).__name__}, which JSON cannot carry; "
        "send str, int, float, bool, None, list or dict",
        path=path,
    )


def _object(value: dict[object, object], path: str, depth: int, unstructure: Unstructure | None) -> object:
    result: dict[str, object] = {}
    for key, item in value.items():
        if not isinstance(key, str):
            raise NotJsonError(
                f"at {path}: the key {shorten(key)} is a {type(key).__name__}; JSON keys are strings", path=path
            )
        name = _text(key if type(key) is str else str.__str__(key), path)
        result[name] = _plain(item, f"{path}.{key}", depth + 1, unstructure)
    return result


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise NotJsonError(
            f"at {path}: {shorten(value)} contains a lone surrogate, which UTF-8 cannot carry", path=path
        ) from None
    return value


def _integer(value: int, path: str) -> int:
    if not -_MAX_INT < value < _MAX_INT:
        digits = int(value.bit_length() * 0.30103) + 1
        raise ValueTooLarge(
            f"at {path}: an integer of about {digits} digits; at most {MAX_DIGITS} survive, send it as text",
            limit=MAX_DIGITS,
            size=digits,
            what="digits",
        )
    return value


def _number(value: float, path: str) -> float:
    if value != value or value in (float("inf"), float("-inf")):
        raise NotJsonError(f"at {path}: {value!r} is not a JSON number; send None or text instead", path=path)
    return value


def check_integer(value: int) -> int:
    """`value` if it has at most 4,300 digits, else `ValueTooLarge`."""
    return _integer(value, "$")


def json_equal(left: object, right: object) -> bool:
    """Equality of two decoded JSON values: numbers by value, True is not 1, the order of keys does not matter."""
    if isinstance(left, bool) or isinstance(right, bool):
        return left is right
    if isinstance(left, int | float) and isinstance(right, int | float):
        return left == right
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(json_equal(left[k], right[k]) for k in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(json_equal, left, right))
    return type(left) is type(right) and left == right

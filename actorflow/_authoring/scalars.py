"""How single values are read and written: exactly what the hint says, nothing coerced.

What lives here: the hooks of everything that JSON carries as one text, number, bool or null. What does not: whatever
holds other values (`containers`).

Primitives are strict: no "5" for an int, a bool is no number, an int will do for a float. What JSON does not have:
datetime, date and time are ISO 8601 text (aware stays aware, naive stays naive, `Z` is understood; of a named zone
the offset is kept); timedelta an ISO 8601 duration, written in seconds ("PT90S"), read also from a number of seconds;
Decimal, UUID and paths are text; bytes are base64; an enum is its value.
"""

from __future__ import annotations

import base64
import re
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from functools import lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Final, cast, get_args

from .._core.values import encode, shorten
from ..errors import InputError
from . import kinds
from .converter import Load, is_uuid, unstructure
from .misfit import Misfit, expected

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from cattrs import Converter

_DURATION: Final = re.compile(
    r"(-)?P(?=.)(?:(\d+)W)?(?:(\d+)D)?(?:T(?=\d)(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)(?:\.(\d{1,6}))?S)?)?", re.ASCII
)


def _load_text(value: object, kind: object) -> object:
    if kind is not str:
        return _load_subclass(value, kind, str)
    if not isinstance(value, str):
        raise expected(kind, value)
    return value if type(value) is str else str.__str__(value)


def _load_int(value: object, kind: object) -> object:
    if kind is not int:
        return _load_subclass(value, kind, int)
    if not isinstance(value, int) or isinstance(value, bool):
        raise expected(kind, value)
    return int(value)


def _load_float(value: object, kind: object) -> object:
    if kind is not float:
        return _load_subclass(value, kind, float)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise expected(kind, value)
    try:
        return float(value)
    except OverflowError:
        raise Misfit({"": f"expected float, got an integer beyond its range: {shorten(value, 40)}"}) from None


def _load_subclass(value: object, kind: object, base: type) -> object:
    """A user's own class of text or numbers, or an enum that mixes such a class in."""
    cls = cast("type[object]", kind)
    if isinstance(value, cls):
        return value
    if issubclass(cls, Enum):
        return _load_enum(value, cls)
    plain = _PRIMITIVES[base](value, base)
    return cast("Callable[[object], object]", cls)(plain)


def _load_bool(value: object, kind: object) -> object:
    if not isinstance(value, bool):
        raise expected(kind, value)
    return value


def _load_none(value: object, kind: object) -> object:
    if value is not None:
        raise expected("None", value)
    return None


_PRIMITIVES: Final[Mapping[type, Load]] = {str: _load_text, int: _load_int, float: _load_float}


def _load_bytes(value: object, kind: object) -> object:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except ValueError:
            pass
    raise expected("bytes (base64 text)", value)


def _load_datetime(value: object, kind: object) -> object:
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and not _is_date(value):  # a date alone would become midnight of nobody's zone
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            pass
    raise expected("datetime (ISO 8601 text)", value)


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _load_date(value: object, kind: object) -> object:
    if isinstance(value, date) and not isinstance(value, datetime):
        return value
    if isinstance(value, str) and _is_date(value):
        return date.fromisoformat(value)
    raise expected("date (ISO 8601 text)", value)


def _load_time(value: object, kind: object) -> object:
    if isinstance(value, time):
        return value
    if isinstance(value, str):
        try:
            return time.fromisoformat(value)
        except ValueError:
            pass
    raise expected("time (ISO 8601 text)", value)


def _load_timedelta(value: object, kind: object) -> object:
    try:
        if isinstance(value, timedelta):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return timedelta(seconds=value)
        match = _DURATION.fullmatch(value) if isinstance(value, str) else None
        if match is not None:
            weeks, days, hours, minutes, seconds = (int(part or 0) for part in match.groups()[1:6])
            found = timedelta(days, seconds, int((match[7] or "").ljust(6, "0")), 0, minutes, hours, weeks)
            return -found if match[1] else found
    except (OverflowError, ValueError):
        pass
    raise expected("timedelta (ISO 8601 duration such as 'PT90S', or seconds)", value)


def _dump_timedelta(value: timedelta) -> str:
    # In whole microseconds: a float of seconds would lose some from 285 years on.
    micro = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(micro), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if micro < 0 else ''}PT{seconds}{fraction}S"


def _load_decimal(value: object, kind: object) -> object:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str | int) and not isinstance(value, bool):
        try:
            return Decimal(value)
        except InvalidOperation:
            pass
    raise expected("Decimal (text)", value)


def _load_from_text(value: object, kind: object) -> object:
    """UUIDs and paths: classes that read and write themselves as text."""
    cls = cast("type[object]", kind)
    if isinstance(value, cls):
        return value
    if isinstance(value, str):
        try:
            return cast("Callable[[str], object]", cls)(value)
        except ValueError:
            pass
    raise expected(f"{cls.__name__} (text)", value)


# --- closed sets of values: found by their JSON text, in which 1, 1.0, True and "1" differ


@lru_cache(maxsize=1_000)
def _enum_values(cls: type[Enum]) -> Mapping[str, object]:
    return {encode(member.value, unstructure): member for member in cls}


def _load_enum(value: object, kind: object) -> object:
    cls = cast("type[Enum]", kind)
    if isinstance(value, cls):
        return value
    if issubclass(cls, Flag):
        try:
            return cast("Callable[[object], object]", cls)(_load_int(value, int))
        except ValueError:
            raise expected(cls, value) from None
    members = _enum_values(cls)
    text = None if isinstance(value, Enum) else _text_of(value)
    if text is not None and text in members:
        return members[text]
    raise Misfit({"": f"expected {_choice([member.value for member in cls])}, got {shorten(value, 60)}"})


def _literal_hook(kind: object) -> Load:
    choices = get_args(kind)
    by_text: dict[str, object] = {encode(choice, unstructure): choice for choice in choices}

    def hook(value: object, _: object) -> object:
        text = _text_of(value)
        if text is not None and text in by_text:
            return by_text[text]
        raise Misfit({"": f"expected {_choice(choices)}, got {shorten(value, 60)}"})

    return hook


def _text_of(value: object) -> str | None:
    try:
        return encode(value, unstructure)
    except InputError:
        return None


def _choice(values: Sequence[object]) -> str:
    shown = ", ".join(shorten(value, 40) for value in values[:10])
    more = ", …" if len(values) > 10 else ""
    return f"one of {shown}{more}" if len(values) > 1 else shown


def _value_of(member: Enum) -> object:
    return cast("object", member.value)


def _as_it_is(value: object) -> object:
    return value


def _from_core(kind: object) -> bool:
    # NewType, TypeVar, Annotated and aliases, wherever they stand; cattrs would go by the class of the value.
    return kinds.core(kind) is not kind


def register(converter: Converter) -> None:
    """Teach the converter every single value."""
    for cls, hook in [
        (str, _load_text), (int, _load_int), (float, _load_float), (bool, _load_bool), (bytes, _load_bytes),
        (datetime, _load_datetime), (date, _load_date), (time, _load_time), (timedelta, _load_timedelta),
        (Decimal, _load_decimal), (PurePath, _load_from_text), (Path, _load_from_text), (Enum, _load_enum),
    ]:  # fmt: skip
        converter.register_structure_hook(cls, hook)
    converter.register_structure_hook_func(is_uuid, _load_from_text)
    converter.register_structure_hook_factory(kinds.is_literal, _literal_hook)
    converter.register_structure_hook_func(lambda kind: kind is None or kind is kinds.NoneType, _load_none)
    converter.register_structure_hook_func(kinds.is_anything, lambda value, _: value)
    converter.register_structure_hook_factory(
        _from_core, lambda kind: _through(converter.get_structure_hook(kinds.core(kind)), kinds.core(kind))
    )

    converter.register_unstructure_hook(bytes, lambda value: base64.b64encode(value).decode())
    converter.register_unstructure_hook(datetime, datetime.isoformat)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(time, time.isoformat)
    converter.register_unstructure_hook(timedelta, _dump_timedelta)
    for cls in (Decimal, PurePath, Path):
        converter.register_unstructure_hook(cls, str)
    converter.register_unstructure_hook_func(is_uuid, str)
    converter.register_unstructure_hook(Enum, _value_of)
    converter.register_unstructure_hook_func(kinds.is_literal, _as_it_is)  # an enum in it: `encode` knows enums
    converter.register_unstructure_hook_func(kinds.is_anything, _as_it_is)
    converter.register_unstructure_hook_factory(
        _from_core, lambda kind: converter.get_unstructure_hook(kinds.core(kind))
    )


def _through(hook: Load, kind: object) -> Load:
    return lambda value, _: hook(value, kind)

"""The columns of a frame: how one field of many facts becomes one entry of the head, or lines beside it.

What lives here: the kinds of columns, each a pair of functions. What does not: which fact has which (`codec.TAGS`),
the frame around them (`codec`). Only `codec` imports this.
"""

from __future__ import annotations

import json
import sys
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, compress, repeat
from math import isfinite
from string import ascii_letters, digits
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar, cast

from attrs import frozen

if TYPE_CHECKING:
    from .._core.operations import Argument

T = TypeVar("T")

ALPHABET: Final = ascii_letters + digits
"""One character stands for a group of facts, or for a word of a column: all that ASCII can hold unescaped."""

PACKED_FROM: Final = 16
"""Length from which a column of numbers is written as their bytes: five times faster than their digits, and shorter."""

_PACKED: Final[Mapping[str, str]] = {"f8": "d", "u4": "I"}
"""How numbers are packed: in little-endian order, as base 64."""


def _make_dump() -> Callable[[object], str]:
    """One C encoder for the life of the process: `JSONEncoder.encode` builds a new one per call.

    ASCII only: the messages of foreign exceptions may hold lone surrogates, which have no UTF-8 form.
    """
    encoder = json.JSONEncoder(separators=(",", ":"), check_circular=False, allow_nan=False)
    make = getattr(json.encoder, "c_make_encoder", None)
    if make is None:  # pragma: no cover - interpreters without the C accelerator
        return encoder.encode
    encode = make(None, encoder.default, json.encoder.encode_basestring_ascii, None, ":", ",", False, False, False)
    join = "".join
    return lambda value: join(encode(value, 0))


dump: Final = _make_dump()
"""A head, or a part of one, as JSON text."""

quote: Final[Callable[[str], str]] = json.encoder.encode_basestring_ascii
"""A text as JSON text, as `dump` writes it."""


class Lines:
    """The lines of one part of a frame, taken from the front."""

    __slots__ = ("_lines", "_next")

    def __init__(self, part: bytes) -> None:
        self._lines = part.decode().split("\n")
        self._next = 0

    def take(self, count: int) -> list[str]:
        """The next `count` lines; `ValueError` if there are fewer."""
        start = self._next
        self._next = start + count
        found = self._lines[start : start + count]
        if len(found) != count:
            raise ValueError(f"{count} lines wanted from line {start + 1} on, {len(found)} are there")
        return found

    def check_all_taken(self) -> None:
        """`ValueError` if lines are left over."""
        left = len(self._lines) - self._next
        if left and (self._next or self._lines != [""]):
            raise ValueError(f"{left} lines too many")


class Sink(NamedTuple):
    """Where columns put their lines."""

    texts: list[str]
    values: list[str]


class Source(NamedTuple):
    """Where columns take their lines from; `values` is None when they were dropped."""

    texts: Lines
    values: Lines | None


@frozen
class Column:
    """How one field of all facts of a kind in a frame is written (what remains goes to the head) and read back."""

    write: Callable[[list[object], Sink], object]
    read: Callable[[object, int, Source], Iterable[object]]


def is_uniform(column: list[object]) -> bool:
    """Whether a column, which is not empty, holds one value throughout."""
    first = column[0]
    return column[-1] == first and column.count(first) == len(column)


def only(items: Sequence[T], letters: str, letter: str) -> list[T]:
    """The items under which `letter` stands; `letters` are ASCII, one for each item."""
    chosen = letters.encode("ascii").translate(_CHOSEN[letter])
    return list(compress(items, chosen))


_CHOSEN: Final = {letter: bytes(code == ord(letter) for code in range(256)) for letter in ALPHABET}


def write_atoms(column: list[object], sink: Sink) -> object:
    """What JSON can hold but a list or an object: once if it is the same throughout, packed if it is all numbers."""
    if column and is_uniform(column):
        return column[0]
    return column if len(column) < PACKED_FROM else _pack(column)


def _pack(column: list[object]) -> object:
    """Numbers of one kind as bytes; what cannot be packed stays as it is, and so does what JSON refuses."""
    kinds = set(map(type, column))
    try:
        if kinds == {float} and isfinite(sum(cast("list[float]", column))):
            return _packed("f8", array("d", cast("list[float]", column)))
        if kinds == {int}:
            return _packed("u4", array("I", cast("list[int]", column)))
    except OverflowError:  # negative, or too large
        pass
    return column


def _packed(form: str, numbers: array[float] | array[int]) -> object:
    if sys.byteorder == "big":  # pragma: no cover - such machines are rare
        numbers.byteswap()
    return {form: b2a_base64(numbers, newline=False).decode("ascii")}


def _unpack(stored: Mapping[str, str]) -> list[object]:
    ((form, text),) = stored.items()
    numbers = array(_PACKED[form])
    numbers.frombytes(a2b_base64(text, strict_mode=True))
    if sys.byteorder == "big":  # pragma: no cover - such machines are rare
        numbers.byteswap()
    return cast("list[object]", numbers.tolist())


def read_atoms(stored: object, count: int, source: Source) -> Iterable[object]:
    """The reverse of `write_atoms`."""
    if type(stored) is dict:
        stored = _unpack(stored)
    elif type(stored) is not list:
        return repeat(stored, count)
    if len(stored) != count:
        raise ValueError(f"a column of {len(stored)} for {count} facts")
    return stored


def _write_words(column: list[object], sink: Sink) -> object:
    """Names repeat: each is written once, and decoded once, whatever the number of facts that carry it."""
    if not column or is_uniform(column):
        return write_atoms(column, sink)
    words = list(dict.fromkeys(column))
    if len(words) * 2 > len(column) or len(words) > len(ALPHABET):
        return column
    letters = dict(zip(words, ALPHABET, strict=False))
    return {"words": words, "order": "".join(map(letters.__getitem__, column))}


def _read_words(stored: object, count: int, source: Source) -> Iterable[object]:
    if type(stored) is not dict:
        return read_atoms(stored, count, source)
    if len(stored["order"]) != count:
        raise ValueError(f"a column of {len(stored['order'])} for {count} facts")
    return map(dict(zip(ALPHABET, stored["words"], strict=False)).__getitem__, stored["order"])


def _write_texts(column: list[object], sink: Sink) -> object:
    if len(column) > 1 and is_uniform(column):
        sink.texts.append(cast("str", column[0]))
        return 1
    sink.texts.extend(cast("list[str]", column))
    return 0


def _read_texts(stored: object, count: int, source: Source) -> Iterable[object]:
    return repeat(source.texts.take(1)[0], count) if stored else source.texts.take(count)


def _write_text_lists(column: list[object], sink: Sink) -> object:
    lists = cast("list[list[str]]", column)
    sink.texts.extend(chain.from_iterable(lists))
    return list(map(len, lists))


def _read_text_lists(stored: object, count: int, source: Source) -> Iterable[object]:
    return list(map(source.texts.take, cast("list[int]", stored)))


_CODES: Final[Mapping[type, str]] = {str: "s", int: "i", float: "f", tuple: "t", type(None): "z"}
"""Kinds of arguments: a JSON text, a number, several texts, none. The text `5` and the number 5 are not the same."""


def _write_arguments(column: list[object], sink: Sink) -> object:
    if column and type(column[0]) is str and {str}.issuperset(map(type, column)):
        sink.values.extend(cast("list[str]", column))
        return "s"
    codes = "".join([_CODES[type(item)] for item in column])
    kinds = sorted(set(codes))
    for code in kinds:
        part = column if len(kinds) == 1 else only(column, codes, code)
        if code == "s":
            sink.values.extend(cast("list[str]", part))
        elif code == "t":
            tuples = cast("list[tuple[str, ...]]", part)
            sink.values.append(",".join(map(str, map(len, tuples))))
            sink.values.extend(chain.from_iterable(tuples))
        elif code == "i" and is_uniform(part):
            sink.values.extend([repr(part[0])] * len(part))
        elif code != "z":
            sink.values.extend(map(repr, part))
    return codes[0] if len(kinds) == 1 else codes


def few(column: list[T], show: Callable[[T], str]) -> str:
    """A column as JSON text at once: of numbers or names, and too short for letters or packing."""
    first = column[0]
    return show(first) if column.count(first) == len(column) else f"[{','.join(map(show, column))}]"


def few_arguments(column: list[Argument], sink: Sink) -> str:
    """The same as the column of arguments, for a few of them."""
    codes = ""
    numbers: list[str] = []
    texts: list[str] = []
    for argument in column:
        if type(argument) is str:
            codes += "s"
            texts.append(argument)
        elif type(argument) is int:
            codes += "i"
            numbers.append(repr(argument))
        else:
            return cast("str", _write_arguments(cast("list[object]", column), sink))
    sink.values.extend(numbers)
    sink.values.extend(texts)
    return codes if numbers and texts else codes[0]


def _read_arguments(stored: object, count: int, source: Source) -> Iterable[object]:
    codes = cast("str", stored)
    if source.values is None:
        return repeat(None, count)
    if len(codes) == 1:
        return _read_argument_kind(codes, count, source.values)
    if len(codes) != count:
        raise ValueError(f"{len(codes)} arguments for {count} operations")
    parts = {code: iter(_read_argument_kind(code, codes.count(code), source.values)) for code in sorted(set(codes))}
    return map(next, map(parts.__getitem__, codes))


def _read_argument_kind(code: str, count: int, values: Lines) -> Iterable[object]:
    if code == "s":
        return values.take(count)
    if code == "i":
        return map(int, values.take(count))
    if code == "f":
        return map(float, values.take(count))
    if code == "z":
        return repeat(None, count)
    return [tuple(values.take(int(length))) for length in values.take(1)[0].split(",")]


def _write_operations(column: list[object], sink: Sink) -> object:
    lists = cast("list[list[tuple[str, str, Argument]]]", column)
    flat = [operation for operations in lists for operation in operations]
    verbs, keys, arguments = ([operation[i] for operation in flat] for i in range(3))
    return [
        list(map(len, lists)),
        _write_words(cast("list[object]", verbs), sink),
        _write_words(cast("list[object]", keys), sink),
        _write_arguments(cast("list[object]", arguments), sink),
    ]


def _read_operations(stored: object, count: int, source: Source) -> Iterable[object]:
    lengths, verbs, keys, arguments = cast("tuple[list[int], object, object, object]", stored)
    total = sum(lengths)
    flat = zip(
        _read_words(verbs, total, source),
        _read_words(keys, total, source),
        _read_arguments(arguments, total, source),
        strict=True,
    )
    return [[next(flat) for _ in range(length)] for length in lengths]


def _write_state(column: list[object], sink: Sink) -> object:
    """The names of the keys belong to the values here: they go with them."""
    for state in cast("list[Mapping[str, str]]", column):
        sink.values.append(str(len(state)))
        sink.values.extend(map(dump, state))
        sink.values.extend(state.values())
    return 0


def _read_state(stored: object, count: int, source: Source) -> Iterable[object]:
    values = source.values
    if values is None:
        return [{} for _ in range(count)]
    states: list[object] = []
    for _ in range(count):
        length = int(values.take(1)[0])
        keys = [cast("str", json.loads(key)) for key in values.take(length)]
        states.append(dict(zip(keys, values.take(length), strict=True)))
    return states


ATOM: Final = Column(write_atoms, read_atoms)
"""A number, a flag, or a text that is not JSON (it may hold newlines and anything else)."""
WORD: Final = Column(_write_words, _read_words)
"""A name that many facts share."""
TEXT: Final = Column(_write_texts, _read_texts)
"""A JSON text, or nothing."""
TEXTS: Final = Column(_write_text_lists, _read_text_lists)
"""A list of JSON texts."""
ARGUMENT: Final = Column(_write_arguments, _read_arguments)
"""The argument of a store operation."""
OPERATIONS: Final = Column(_write_operations, _read_operations)
"""The operations of a transaction."""
STATE: Final = Column(_write_state, _read_state)
"""Keys and values of the run store."""

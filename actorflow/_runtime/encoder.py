"""The sender's side of a store verb: from a call's arguments to an operation.

What lives here: `Encoder`, so that a bad argument never reaches the run. What does not: what a verb does
(`_core.operations`), what a key may be (`names`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._authoring.schema import StateSchema, unstructure
from .._core.operations import Argument, Operation, check_delta, check_mapping
from .._core.values import encode, shorten, size_of
from ..errors import InputError, StateTypeError, ValueTooLarge
from .names import check_key


class Encoder:
    """What both stores and transactions share: from a call's arguments to an operation."""

    __slots__ = ("_limit", "_schema")

    def __init__(self, schema: StateSchema | None, limit: int) -> None:
        self._schema = schema
        self._limit = limit

    def key(self, key: object) -> str:
        """A key that may be used."""
        if type(key) is str and 0 < len(key) <= 128 and key.isascii():
            if self._schema is None:
                return key
            name = key
        else:
            name = check_key(key)
        if self._schema is not None:
            self._schema.check_key(name)
        return name

    def text(self, key: str, value: object) -> str:
        """A whole value for `key`."""
        if self._schema is not None:
            return self._sized(key, self._schema.write_value(key, value))
        return self._sized(key, encode(value, unstructure))

    def item(self, key: str, item: object) -> str:
        """One more item for the list under `key`."""
        if self._schema is not None:
            return self._sized(key, self._schema.write_item(key, item))
        return self._sized(key, encode(item, unstructure))

    def _sized(self, key: str, text: str) -> str:
        size = len(text) if text.isascii() else size_of(text)
        if size > self._limit:
            raise ValueTooLarge(
                f"the value for key {key!r} has {size} bytes, the limit is {self._limit}; "
                "keep bulk data elsewhere and store a reference, or raise Limits(value_bytes=…)",
                key=key,
                limit=self._limit,
                size=size,
                what="value_bytes",
            )
        return text

    def number(self, key: str, number: object, verb: str) -> int | float:
        try:
            found = check_delta(number, verb)
        except StateTypeError as error:
            raise StateTypeError(str(error), key=key) from None
        if self._schema is not None:
            self._schema.check_number(key, found)
        return found

    def numbered(self, key: object, number: object, verb: str) -> tuple[str, int | float]:
        """A key and a number for it."""
        name = self.key(key)
        return name, self.number(name, number, verb)

    def operation(self, verb: str, key: object, argument: object) -> Operation:
        """One verb with its checked argument."""
        name = self.key(key)
        found: Argument
        if verb in ("set", "set_if_absent"):
            found = self.text(name, argument)
        elif verb in ("push", "remove"):
            found = self.item(name, argument)
        elif verb == "extend":
            found = tuple([self.item(name, item) for item in items_of(argument)])
        elif verb in ("increment", "decrement", "maximum", "minimum"):
            found = self.number(name, argument, verb)
        elif verb == "merge":
            found = self._sized(name, encode(check_mapping(argument), unstructure))
        else:
            found = None
        return verb, name, found


def items_of(items: object) -> Iterable[object]:
    """The argument of `extend`: any iterable but text and mappings."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise InputError(f"extend needs a list or another iterable of items, got {shorten(items)}")
    return items

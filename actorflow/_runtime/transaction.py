"""Several verbs as one change.

What lives here: `Transaction`, what `async with store.transaction() as tx` gives. What does not: sending it
(`run_store`), applying it (`_core.operations`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .._core.operations import Operation
    from .encoder import Encoder


class Transaction:
    """The verbs of a `transaction()`: plain calls without a result, applied together on leaving."""

    __slots__ = ("_closed", "_encoder", "_operations")

    def __init__(self, encoder: Encoder) -> None:
        self._encoder = encoder
        self._operations: list[Operation] = []
        self._closed = False

    def _add(self, verb: str, key: object, argument: object) -> None:
        if self._closed:
            raise InputError(f"the transaction is over: {verb}({key!r}) came too late")
        self._operations.append(self._encoder.operation(verb, key, argument))

    def set(self, key: str, value: object) -> None:
        """Put `value` under `key`."""
        self._add("set", key, value)

    def push(self, key: str, item: object) -> None:
        """Append one item to a list."""
        self._add("push", key, item)

    def increment(self, key: str, delta: float = 1) -> None:
        """Add to a number."""
        self._add("increment", key, delta)

    def decrement(self, key: str, delta: float = 1) -> None:
        """Subtract from a number."""
        self._add("decrement", key, delta)

    def delete(self, key: str) -> None:
        """Remove a key."""
        self._add("delete", key, None)

    def extend(self, key: str, items: Iterable[object]) -> None:
        """Append every item of an iterable."""
        self._add("extend", key, items)

    def remove(self, key: str, item: object) -> None:
        """Remove all items equal to `item` from a list."""
        self._add("remove", key, item)

    def pop(self, key: str) -> None:
        """Remove a key."""
        self._add("pop", key, None)

    def merge(self, key: str, mapping: Mapping[str, object]) -> None:
        """Shallow merge into an object."""
        self._add("merge", key, mapping)

    def maximum(self, key: str, number: float) -> None:
        """Keep the larger of the value and `number`."""
        self._add("maximum", key, number)

    def minimum(self, key: str, number: float) -> None:
        """Keep the smaller of the value and `number`."""
        self._add("minimum", key, number)

    def set_if_absent(self, key: str, value: object) -> None:
        """Put `value` under `key` if nothing is there."""
        self._add("set_if_absent", key, value)

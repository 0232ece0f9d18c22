"""One call of a store verb, as a record.

What lives here: `StoreCall`, and what the verbs take. What does not: recording calls (`history`), what a verb does
(`store_model`).
"""

from __future__ import annotations

from math import inf
from typing import Final, cast

from attrs import frozen

from .._core.values import MISSING

PARAMETERS: Final[dict[str, dict[str, object]]] = {
    "set": {"value": MISSING},
    "push": {"item": MISSING},
    "increment": {"delta": 1},
    "decrement": {"delta": 1},
    "delete": {},
    "extend": {"items": MISSING},
    "remove": {"item": MISSING},
    "pop": {"default": None},
    "merge": {"mapping": MISSING},
    "maximum": {"number": MISSING},
    "minimum": {"number": MISSING},
    "set_if_absent": {"value": MISSING},
    "compare_and_set": {"expected": MISSING, "value": MISSING},
    "get": {"default": None},
    "has": {},
    "length": {},
    "update": {"function": MISSING, "default": None},
}
"""The verbs that are recorded, and what they take after the key."""

READS: Final = frozenset({"get", "has", "length"})
TRANSACTION: Final = "transaction"

Part = tuple[str, str, tuple[object, ...]]
"""One verb of a transaction: verb, key, arguments."""


@frozen
class StoreCall:
    """One call of a verb: who, what, and what was told when.

    `invoked` and `returned` are places in the order of all events of the history, not times. A call that was cancelled
    or broke off has the place infinity: it may count at any moment after it began, or never. So has one of a verb that
    tells nothing (`push_nowait` is recorded as `push`), but it keeps its place among the calls of its `sender`.

    A transaction is one call with the verb "transaction" and no key; its `arguments` are its verbs, each as
    (verb, key, arguments).

    Attributes:
        sender: calls with the same number were sent one after the other, in the order of `invoked`: what was not told
            counts before the later ones, or never. 0 if nothing is known.
    """

    branch: str
    verb: str
    key: str
    arguments: tuple[object, ...]
    result: object
    invoked: float
    returned: float = inf
    sender: int = 0

    @property
    def parts(self) -> tuple[Part, ...]:
        """The verbs that count together: those of a transaction, else the call itself."""
        if self.verb == TRANSACTION:
            return cast("tuple[Part, ...]", self.arguments)
        return ((self.verb, self.key, self.arguments),)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys that it reads or writes, each once."""
        return tuple(dict.fromkeys(key for _, key, _ in self.parts))

    @property
    def asked(self) -> str:
        """The call as it could stand in a program."""
        if self.verb == TRANSACTION:
            return f"transaction({', '.join(_shown(*part) for part in self.parts)})"
        return _shown(self.verb, self.key, self.arguments)

    def __str__(self) -> str:
        return f"{self.asked} = {'?' if self.returned == inf else repr(self.result)}"


def _shown(verb: str, key: str, arguments: tuple[object, ...]) -> str:
    names = (getattr(one, "__name__", repr(one)) if callable(one) else repr(one) for one in arguments)
    return f"{verb}({', '.join((repr(key), *names))})"

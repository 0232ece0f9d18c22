"""What a child run gives back of its changes: fewer operations with the same effect.

What lives here: `merged`. What does not: applying them to the parent (`apply_child`), who asks for it (the shell).

Operations on different keys do not see each other, so each key is taken for itself. Pushes become one `extend`, whole
increments one sum; what overwrites a key makes everything before it on that key pointless.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from attrs import define

from .operations import Argument, Operation
from .values import MAX_DIGITS

if TYPE_CHECKING:
    from collections.abc import Iterable

_OVERWRITES: Final = frozenset({"set", "delete"})
_SUM_END: Final = 10**MAX_DIGITS
"""Where numbers end that a journal can hold: two that are within may add up to one that is not."""


def merged(operations: Iterable[Operation], merge: str) -> list[Operation]:
    """The operations on the keys that `merge` names ("*": all, else a JSON list), as they are applied to the parent.

    What was decided by what the child saw is no question any more: a `compare_and_set` that took place and the result
    of an `update` are sets, a `pop` is a delete.
    """
    wanted = None if merge == "*" else frozenset(json.loads(merge))
    by_key: dict[str, list[_Change]] = {}
    for verb, key, argument in operations:
        if wanted is None or key in wanted:
            _add(by_key.setdefault(key, []), _plain(verb, argument))
    return [
        (change.verb, key, change.argument if change.items is None else tuple(change.items))
        for key, found in by_key.items()
        for change in found
    ]


@define
class _Change:
    verb: str
    argument: Argument = None
    items: list[str] | None = None
    """Of an `extend`: what it will append."""


def _plain(verb: str, argument: Argument) -> _Change:
    if isinstance(argument, tuple):
        if verb == "update":
            return _Change("set", argument[0])
        if verb == "compare_and_set":
            return _Change("set", argument[1])
        return _Change(verb, items=list(argument))
    if verb == "pop":
        return _Change("delete")
    if verb == "push":
        return _Change("extend", items=[str(argument)])
    if verb == "update":
        return _Change("set", argument)
    if verb == "decrement" and isinstance(argument, int | float):
        return _Change("increment", -argument)
    return _Change(verb, argument)


def _add(found: list[_Change], change: _Change) -> None:
    if change.verb in _OVERWRITES:
        found.clear()
    elif found:
        last = found[-1]
        if last.items is not None and change.items is not None:
            last.items += change.items
            return
        if change.verb == last.verb == "increment" and type(last.argument) is int and type(change.argument) is int:
            total = last.argument + change.argument
            if -_SUM_END < total < _SUM_END:
                last.argument = total
                return
    found.append(change)

"""What the branches of a run were told: every call of a store verb, with its place in the order of events.

What lives here: `StoreCall`, `History` and the wrapper that records. What does not: judging it (`linearizable`).
"""

from __future__ import annotations

from contextlib import contextmanager
from math import inf
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

from attrs import define, field, frozen

from .._authoring.schema import unstructure
from .._core.values import MISSING, decode, encode
from ..errors import InputError, LostUpdate, StateKeyError, StateTypeError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable, Iterator

StoreT = TypeVar("StoreT")

REFUSED: Final = (InputError, StateKeyError, StateTypeError, LostUpdate)
"""Errors that promise an unchanged value; after any other the call may or may not count."""

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

UNRECORDED: Final = ("transaction", "push_nowait", "increment_nowait", "set_nowait")
"""Verbs that write without telling a result: a history that left them out would accuse the innocent."""


@frozen
class StoreCall:
    """One call of a verb: who, what, and what was told when.

    `invoked` and `returned` are places in the order of all events of the history, not times. A call that was cancelled
    or broke off has the place infinity: it may count at any moment after it began, or never.
    """

    branch: str
    verb: str
    key: str
    arguments: tuple[object, ...]
    result: object
    invoked: float
    returned: float = inf

    def __str__(self) -> str:
        shown = ", ".join(repr(one) for one in (self.key, *self.arguments))
        return f"{self.verb}({shown}){' = ?' if self.returned == inf else f' = {self.result!r}'}"


@define(eq=False)
class Answer:
    """What a call of `History.operation` was told: the block sets `result`."""

    result: object = None


def _copy(value: object) -> object:
    return value if value is MISSING or callable(value) else decode(encode(value, unstructure))


def _lists(value: object) -> object:
    return value if isinstance(value, str | list) else list(cast("Iterable[object]", value))


@define(eq=False)
class History:
    """Records what each branch asked of a store and was told.

    Wrap the store of each branch with `store`. For an operation that your own code builds from several verbs, and that
    should look like one verb from outside, use `operation`.

    The history must know every write of the keys that it tells about; the state of a run begins empty. A call that a
    retry repeats is recognised by its `op_id` only, and a step with `commit="on_success"` cannot be recorded.
    """

    calls: list[StoreCall] = field(factory=list, init=False)
    _events: int = field(default=0, init=False)
    _named: dict[tuple[str, str, str], int] = field(factory=dict, init=False)

    def store(self, store: StoreT, *, branch: str) -> StoreT:
        """The same store, recorded as what `branch` does. Reads over many keys pass unrecorded."""
        return cast("StoreT", _RecordedStore(self, store, branch))

    @contextmanager
    def operation(self, verb: str, key: str, *arguments: object, branch: str, op_id: str = "") -> Iterator[Answer]:
        """Record the block as one call of `verb`: it sets `result` of what it is given.

        A block that leaves by an error has an unknown outcome, unless the error promises that nothing changed.
        """
        if verb not in PARAMETERS:
            raise ValueError(f"unknown verb {verb!r}; known are {', '.join(PARAMETERS)}")
        given = tuple(_copy(one) for one in arguments)
        given += tuple(PARAMETERS[verb].values())[len(given) :]
        place = self._named.get((branch, verb, op_id)) if op_id else None
        is_repeat = place is not None
        if place is None:
            place = len(self.calls)
            self._events += 1
            self.calls.append(StoreCall(branch, verb, key, given, None, self._events))
            if op_id:
                self._named[branch, verb, op_id] = place
        answer = Answer()
        try:
            yield answer
        except REFUSED:
            if not is_repeat:  # of a repeat, the first try may have counted: its outcome stays unknown
                self._named.pop((branch, verb, op_id), None)
                self._settle(place, verb="refused", result=None)
            raise
        self._settle(place, verb=verb, result=_copy(answer.result))

    def _settle(self, place: int, *, verb: str, result: object) -> None:
        call = self.calls[place]
        if call.returned == inf:
            self._events += 1
            self.calls[place] = StoreCall(
                call.branch, verb, call.key, call.arguments, result, call.invoked, self._events
            )


class _Verb(Protocol):
    def __call__(self, *given: object, **named: object) -> Awaitable[object]: ...


class _RecordedStore:
    """Stands in the place of a store: its verbs, each between two marks in the history."""

    __slots__ = ("_branch", "_history", "_store")

    def __init__(self, history: History, store: object, branch: str) -> None:
        self._history, self._store, self._branch = history, store, branch

    def __getattr__(self, verb: str) -> object:
        if verb in UNRECORDED:
            raise AttributeError(f"{verb} cannot be recorded: it tells no result to check; use the store itself")
        real: _Verb = getattr(self._store, verb)
        parameters = PARAMETERS.get(verb)
        if parameters is None:
            return real

        async def recorded(key: str, *arguments: object, op_id: str = "", **named: object) -> object:
            rest = list(parameters)[len(arguments) :]
            given = [*arguments, *(named.get(name, parameters[name]) for name in rest)]
            if verb == "extend":
                given = [_lists(given[0])]
            with self._history.operation(verb, key, *given, branch=self._branch, op_id=op_id) as answer:
                answer.result = await (real(key, *given, op_id=op_id) if op_id else real(key, *given))
            return answer.result

        return recorded

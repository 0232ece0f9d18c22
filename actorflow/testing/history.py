"""What the branches of a run were told: every call of a store verb, with its place in the order of events.

What lives here: `History` and the wrapper that records. What does not: judging it (`linearizable`, `lost_update`),
which calls are repeats (`repeats`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager, asynccontextmanager, contextmanager
from math import inf
from typing import Final, Protocol, TypeVar, cast

import trio
from attrs import define, evolve, field

from .._authoring.schema import unstructure
from .._core.values import MISSING, decode, encode
from ..errors import InputError, LostUpdate, StateKeyError, StateTypeError
from .repeats import Likeness, Pass
from .store_call import PARAMETERS, TRANSACTION, Part, StoreCall

__all__ = ["Answer", "History", "StoreCall", "Told"]

StoreT = TypeVar("StoreT")

REFUSED: Final = (InputError, StateKeyError, StateTypeError, LostUpdate)
"""Errors that promise an unchanged value; after any other the call may or may not count."""

UNTOLD: Final = {"push_nowait": "push", "increment_nowait": "increment", "set_nowait": "set"}
"""Verbs that tell no result, and the verb that each is without waiting."""

SEEN: Final = ("snapshot", "wait_for")
"""Reads of whole values that are kept for stories only: a check would have to look at all their keys together."""

SEEN_MAX: Final = 10_000
"""Each of them holds a copy of what it read: stories are not worth the memory of a long load run."""


@define(eq=False)
class Answer:
    """What a call of `History.operation` was told: the block sets `result`."""

    result: object = None


@define
class Told:
    """A call that was asked for again and got another answer than the first time."""

    call: StoreCall
    again: object


def _copy(value: object) -> object:
    return value if value is MISSING or callable(value) else decode(encode(value, unstructure))


def _lists(value: object) -> object:
    if isinstance(value, str | bytes | list | Mapping) or not isinstance(value, Iterable):
        return value
    return list(value)


def _full(verb: str, arguments: Sequence[object]) -> tuple[object, ...]:
    given = tuple(_copy(one) for one in arguments)
    return given + tuple(PARAMETERS[verb].values())[len(given) :]


def _copied(values: Mapping[str, object]) -> dict[str, object]:
    return {key: _copy(value) for key, value in values.items()}


def _without(call: StoreCall, hidden: set[str]) -> StoreCall | None:
    if call.verb != TRANSACTION:
        return None if call.key in hidden else call
    parts = tuple(part for part in call.parts if part[1] not in hidden)
    return evolve(call, arguments=parts) if parts else None


@define(eq=False)
class _Ticket:
    """A call under way: where it stands in the history, if it does already, and what it may be."""

    verb: str
    key: str
    given: tuple[object, ...]
    place: int | None
    likeness: Likeness = Likeness.FRESH


@define(eq=False)
class History:
    """Records what each branch asked of a store and was told.

    Wrap the store of each branch with `store`. For an operation that your own code builds from several verbs, and that
    should look like one verb from outside, use `operation`. The history must know every write of the keys that it
    tells about. A step with `commit="on_success"` cannot be recorded.

    Args:
        initial: what the store holds before the first call: the run's `initial_state`, or what a child inherited.

    Attributes:
        calls: every call, those of no known outcome included; a refused one has the verb "refused".
        seen: reads of several keys or of awaited values (`snapshot`, `wait_for`): not checked, but told in stories.
        contradicted: repeated calls that got another answer than the first time.
    """

    initial: dict[str, object] = field(factory=dict, kw_only=True, converter=_copied)
    calls: list[StoreCall] = field(factory=list, init=False)
    seen: list[StoreCall] = field(factory=list, init=False)
    contradicted: list[Told] = field(factory=list, init=False)
    _events: int = field(default=0, init=False)
    _senders: int = field(default=0, init=False)
    _named: dict[tuple[str, str, str], int] = field(factory=dict, init=False)
    _passes: dict[str, tuple[object, Pass]] = field(factory=dict, init=False)

    def store(self, store: StoreT, *, branch: str, replayed: bool = False) -> StoreT:
        """The same store, recorded as what `branch` does. Reads over many keys pass unrecorded.

        Args:
            store: the store of a step.
            branch: the lane it is shown in.
            replayed: whether `branch` names one activation of a step (as `ctx.activation_id` does), so that a later
                store of the same branch is that of a step which runs again, after a retry, a crash or a suspension. A
                write that it repeats is one call with the first one, and began when that one began. Reads are done
                afresh, and so recorded again.
        """
        self._senders += 1
        if not replayed:
            return cast("StoreT", _RecordedStore(self, store, branch, self._senders, None))
        # Several stores of one pass (that of the run and those above it, or one asked for twice) are one pass.
        identity = getattr(store, "_pass", store)
        known = self._passes.get(branch)
        if known is None:
            known = (identity, Pass(self.calls, self._senders))
        elif known[0] is not identity:
            known = (identity, known[1].next(self._senders))
        self._passes[branch] = known
        return cast("StoreT", _RecordedStore(self, store, branch, known[1].sender, known[1]))

    def without(self, keys: Iterable[str]) -> History:
        """The history of the other keys: for keys that were also written in a way that is not recorded."""
        hidden = set(keys)
        found = History(initial={key: value for key, value in self.initial.items() if key not in hidden})
        found.calls = [left for call in self.calls if (left := _without(call, hidden)) is not None]
        found.seen = [call for call in self.seen if call.key not in hidden]
        found.contradicted = [told for told in self.contradicted if hidden.isdisjoint(told.call.keys)]
        return found

    @contextmanager
    def operation(self, verb: str, key: str, *arguments: object, branch: str, op_id: str = "") -> Iterator[Answer]:
        """Record the block as one call of `verb`: it sets `result` of what it is given.

        A block that leaves by an error has an unknown outcome, unless the error promises that nothing changed.
        """
        if verb not in PARAMETERS:
            raise ValueError(f"unknown verb {verb!r}; known are {', '.join(PARAMETERS)}")
        with self._call(verb, key, _full(verb, arguments), branch=branch, op_id=op_id) as answer:
            yield answer

    @contextmanager
    def _call(
        self,
        verb: str,
        key: str,
        given: tuple[object, ...],
        *,
        branch: str,
        op_id: str = "",
        sender: int = 0,
        within: Pass | None = None,
    ) -> Iterator[Answer]:
        if op_id:
            named = self._named.get((branch, verb, op_id))
            ticket = _Ticket(verb, key, given, named, Likeness.FRESH if named is None else Likeness.REPEAT)
            if named is None:
                ticket.place = self._named[branch, verb, op_id] = self._append(branch, verb, key, given, sender)
            within = None  # a call with a name is recognised by it alone
        else:
            ticket = _Ticket(verb, key, given, None)
            if within is not None:
                ticket.likeness = within.begin(verb, key, given)
            if ticket.likeness is not Likeness.REPEAT:
                ticket.place = self._append(branch, verb, key, given, sender, within)
        answer = Answer()
        is_repeat = ticket.likeness is Likeness.REPEAT
        try:
            yield answer
        except BaseException as error:
            is_refused = isinstance(error, REFUSED)
            if is_refused and not is_repeat:
                self._named.pop((branch, verb, op_id), None)
                self._settle(ticket.place, verb="refused", result=None)
            else:  # of a repeat, the first try may have counted: its outcome stays unknown
                self._break_off(ticket, within, was_asked=not isinstance(error, trio.Cancelled))
            raise
        result = _copy(answer.result)
        if within is None:
            self._settle(ticket.place, verb=verb, result=result)
        else:
            self._answered(ticket, within, result)

    def _answered(self, ticket: _Ticket, within: Pass, result: object) -> None:
        verb, key, given, place = ticket.verb, ticket.key, ticket.given, ticket.place
        if ticket.likeness is Likeness.REPEAT:
            within.release(verb, key, given)
            place = within.repeated(verb, key, given, result)
            if place is None:
                place = within.first_equal(verb, key, given)
                self.contradicted.append(Told(self.calls[place], result))
            within.take(place)
            self._loosen(place)
            if self.calls[place].returned == inf and within.is_ambiguous(verb, key, given, result):
                within.doubt(verb, key)
            else:
                self._settle(place, verb=verb, result=result)
        elif ticket.likeness is Likeness.FRESH or not within.is_ambiguous(verb, key, None, result):
            self._settle(place, verb=verb, result=result)
        else:
            self._loosen(place)

    def _break_off(self, ticket: _Ticket, within: Pass | None, *, was_asked: bool) -> None:
        if within is not None and ticket.likeness is Likeness.REPEAT:
            within.release(ticket.verb, ticket.key, ticket.given)
            if not was_asked:  # it has not been looked up: it will be when it is asked for again
                return
            within.doubt(ticket.verb, ticket.key)
            place = within.first_equal(ticket.verb, ticket.key, ticket.given)
            within.take(place)
            self._loosen(place)
        else:
            self._loosen(ticket.place)

    def _append(
        self, branch: str, verb: str, key: str, given: tuple[object, ...], sender: int, within: Pass | None = None
    ) -> int:
        place = len(self.calls)
        self._events += 1
        self.calls.append(StoreCall(branch, verb, key, given, None, self._events, inf, sender))
        if within is not None:
            within.keep(place)
        return place

    def _settle(self, place: int | None, *, verb: str, result: object) -> None:
        assert place is not None
        call = self.calls[place]
        if call.returned == inf:
            self._events += 1
            self.calls[place] = StoreCall(
                call.branch, verb, call.key, call.arguments, result, call.invoked, self._events, call.sender
            )

    def _loosen(self, place: int | None) -> None:
        # It was not told in its turn, or was asked for twice: where it stands among its sender's calls is not known.
        assert place is not None
        call = self.calls[place]
        if call.returned == inf and call.sender:
            self.calls[place] = evolve(call, sender=0)

    def _untold(self, store: _RecordedStore, verb: str, key: str, item: object, op_id: str) -> None:
        given, within, name = (_copy(item),), store._within, (store._branch, verb, op_id)
        if op_id and name in self._named:
            self._loosen(self._named[name])
        elif op_id:
            self._named[name] = self._append(store._branch, verb, key, given, store._sender)
        elif within is not None and within.begin(verb, key, given) is Likeness.REPEAT:
            within.release(verb, key, given)
            place = within.first_equal(verb, key, given)
            within.take(place)
            self._loosen(place)
        else:
            self._append(store._branch, verb, key, given, store._sender, within)

    def _saw(self, branch: str, verb: str, key: str, invoked: int, result: object) -> None:
        self._events += 1
        if len(self.seen) < SEEN_MAX:
            self.seen.append(StoreCall(branch, verb, key, (), _copy(result), invoked, self._events))

    def _mark(self) -> int:
        self._events += 1
        return self._events


class _Verb(Protocol):
    def __call__(self, *given: object, **named: object) -> Awaitable[object]: ...


class _PlainVerb(Protocol):
    def __call__(self, *given: object, **named: object) -> object: ...


class _RecordedStore:
    """Stands in the place of a store: its verbs, each between two marks in the history."""

    __slots__ = ("_branch", "_history", "_sender", "_store", "_within")

    def __init__(self, history: History, store: object, branch: str, sender: int, within: Pass | None) -> None:
        self._history, self._store, self._branch, self._sender, self._within = history, store, branch, sender, within

    def __getattr__(self, verb: str) -> object:
        real: _Verb = getattr(self._store, verb)
        if verb in UNTOLD:
            return self._untold(verb)
        if verb in SEEN:
            return self._seeing(verb)
        parameters = PARAMETERS.get(verb)
        if parameters is None:
            return real

        async def recorded(key: str, *arguments: object, op_id: str = "", **named: object) -> object:
            rest = list(parameters)[len(arguments) :]
            given = [*arguments, *(named.get(name, parameters[name]) for name in rest)]
            if verb == "extend":
                given = [_lists(given[0])]
            with self._call(verb, key, given, op_id) as answer:
                answer.result = await (real(key, *given, op_id=op_id) if op_id else real(key, *given))
            return answer.result

        return recorded

    def _call(self, verb: str, key: str, given: Sequence[object], op_id: str) -> AbstractContextManager[Answer]:
        return self._history._call(
            verb, key, _full(verb, given), branch=self._branch, op_id=op_id, sender=self._sender, within=self._within
        )

    def _untold(self, verb: str) -> object:
        real: _PlainVerb = getattr(self._store, verb)

        def recorded(key: str, *arguments: object, op_id: str = "", **named: object) -> None:
            told = UNTOLD[verb]
            item = arguments[0] if arguments else next(iter(named.values()), PARAMETERS[told].get("delta", MISSING))
            real(key, item, op_id=op_id)  # what is wrong raises at the call, and did not happen
            self._history._untold(self, told, key, item, op_id)

        return recorded

    def _seeing(self, verb: str) -> object:
        real: _Verb = getattr(self._store, verb)

        async def recorded(*given: object, **named: object) -> object:
            invoked = self._history._mark()
            result = await real(*given, **named)
            key = str(named.get("key", given[0] if given else ""))
            self._history._saw(self._branch, verb, key, invoked, result)
            return result

        return recorded

    @asynccontextmanager
    async def transaction(self, *, op_id: str = "") -> AsyncIterator[_RecordedTransaction]:
        """The store's transaction, recorded as one call over all its keys."""
        store = cast("_Transacting", self._store)
        inner = store.transaction(op_id=op_id) if op_id else store.transaction()
        parts: list[Part] = []
        tx = await inner.__aenter__()
        try:
            yield _RecordedTransaction(tx, parts)
        except BaseException as error:
            if not await inner.__aexit__(type(error), error, error.__traceback__):
                raise
            return
        with self._history._call(
            TRANSACTION, "", tuple(parts), branch=self._branch, op_id=op_id, sender=self._sender, within=self._within
        ):
            await inner.__aexit__(None, None, None)


class _Transacting(Protocol):
    def transaction(self, **named: str) -> AbstractAsyncContextManager[object]: ...


class _RecordedTransaction:
    """Stands in the place of a transaction: its verbs are those of one call."""

    __slots__ = ("_parts", "_tx")

    def __init__(self, tx: object, parts: list[Part]) -> None:
        self._tx, self._parts = tx, parts

    def __getattr__(self, verb: str) -> object:
        real: _PlainVerb = getattr(self._tx, verb)
        parameters = PARAMETERS.get(verb)
        if parameters is None:
            return real
        taken = {} if verb == "pop" else parameters  # in a transaction it answers nothing, so it has no default

        def recorded(key: str, *arguments: object, **named: object) -> object:
            rest = list(taken)[len(arguments) :]
            given = [*arguments, *(named.get(name, taken[name]) for name in rest)]
            if verb == "extend":
                given = [_lists(given[0])]
            result = real(key, *given)
            self._parts.append((verb, key, _full(verb, given)))
            return result

        return recorded

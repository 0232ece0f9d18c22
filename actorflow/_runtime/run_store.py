"""The run store as a step sees it: every verb is one message to the run.

What lives here: `RunStore`. What does not: checking and encoding arguments (`encoder`), what a verb does
(`_core.operations`), the road of the message from here on (`supervisor`).
"""

from __future__ import annotations

from collections.abc import Coroutine
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._authoring.mark import mark_of
from .._authoring.schema import unstructure
from .._core import commands as c
from .._core.operations import Argument, Operation, describe, is_list
from .._core.replay import UNMATCHED
from .._core.ruling import over
from .._core.store_state import Value, list_view, value_of
from .._core.values import MISSING, Missing, decode, encode, shorten
from ..errors import HookRestriction, InputError, StateKeyError, StateTypeError
from .mailbox import Message
from .recalling import recall
from .transaction import Transaction
from .waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Mapping

    from .._core.run_state import RunState
    from .passes import Pass

__all__ = ["RunStore", "Transaction"]


class RunStore:
    """The only memory that the branches of one run share.

    Every verb is one message to the run's mailbox, applied in arrival order by the only writer, so no aggregation can
    race. Verbs that change something take `op_id=`, a name by which a later pass of the same step recognises them.

    Raises (any verb): `StateKeyError` for a bad key, `NotJsonError` and `ValueTooLarge` for a bad value,
    `StateTypeError` if the value under the key does not allow the verb (it is unchanged), `RunOver` after the end.
    """

    __slots__ = ("_actor", "_encoder", "_n", "_pass")

    def __init__(self, owner: Pass) -> None:
        self._pass = owner
        actor = self._actor = owner.actor
        self._n = owner.activation.n
        self._encoder = actor.encoder

    # --- writing

    async def set(self, key: str, value: object, *, op_id: str = "") -> None:
        """Put `value` under `key`. Raises `LostUpdate` if another branch changed it after this step read it."""
        encoder = self._encoder
        name = encoder.key(key)
        await self._write("set", name, encoder.text(name, value), op_id)

    async def push(self, key: str, item: object, *, op_id: str = "") -> int:
        """Append one item to a list, made if missing; the new length."""
        encoder = self._encoder
        name = encoder.key(key)
        return await self._write("push", name, encoder.item(name, item), op_id)  # type: ignore[return-value]  # by verb

    async def increment(self, key: str, delta: float = 1, *, op_id: str = "") -> int | float:
        """Add to a number that starts at 0; the new value. Whole numbers stay exact."""
        encoder = self._encoder
        name = encoder.key(key)
        number = encoder.number(name, delta, "increment")
        return await self._write("increment", name, number, op_id)  # type: ignore[return-value]  # by verb

    async def decrement(self, key: str, delta: float = 1, *, op_id: str = "") -> int | float:
        """Subtract from a number that starts at 0; the new value."""
        name = self._encoder.key(key)
        number = self._encoder.number(name, delta, "decrement")
        return await self._write("decrement", name, number, op_id)  # type: ignore[return-value]  # by verb

    async def delete(self, key: str, *, op_id: str = "") -> bool:
        """Remove a key; whether it existed."""
        return await self._write("delete", self._encoder.key(key), None, op_id)  # type: ignore[return-value]  # by verb

    async def extend(self, key: str, items: Iterable[object], *, op_id: str = "") -> int:
        """Append every item of an iterable, as one change; the new length."""
        verb, name, argument = self._encoder.operation("extend", key, items)
        return await self._write(verb, name, argument, op_id)  # type: ignore[return-value]  # by verb

    async def remove(self, key: str, item: object, *, op_id: str = "") -> int:
        """Remove all items equal to `item` from a list; how many went."""
        verb, name, argument = self._encoder.operation("remove", key, item)
        return await self._write(verb, name, argument, op_id)  # type: ignore[return-value]  # by verb

    async def pop(self, key: str, default: object = None, *, op_id: str = "") -> object:
        """Remove a key; the value that was there, or `default`."""
        found = await self._write("pop", self._encoder.key(key), None, op_id)
        return default if found is MISSING else found

    async def merge(self, key: str, mapping: Mapping[str, object], *, op_id: str = "") -> None:
        """Shallow merge into an object, made if missing."""
        verb, name, argument = self._encoder.operation("merge", key, mapping)
        if self._encoder._schema is None:
            await self._write(verb, name, argument, op_id)
            return
        added = decode(str(argument))
        assert isinstance(added, dict)

        def merged(value: object) -> object:
            if value is None:
                return added
            if not isinstance(value, dict):
                raise StateTypeError(f"merge({name!r}) needs an object, the value is {shorten(value)}", key=name)
            return {**value, **added}

        await self._update(name, merged, "null", f"merge {argument}", op_id)

    async def maximum(self, key: str, number: float, *, op_id: str = "") -> int | float:
        """Keep the larger of the value and `number`; the new value. A missing key takes `number`."""
        name, found = self._encoder.numbered(key, number, "maximum")
        return await self._write("maximum", name, found, op_id)  # type: ignore[return-value]  # by verb

    async def minimum(self, key: str, number: float, *, op_id: str = "") -> int | float:
        """Keep the smaller of the value and `number`; the new value. A missing key takes `number`."""
        name, found = self._encoder.numbered(key, number, "minimum")
        return await self._write("minimum", name, found, op_id)  # type: ignore[return-value]  # by verb

    async def set_if_absent(self, key: str, value: object, *, op_id: str = "") -> bool:
        """Put `value` under `key` if nothing is there; whether it was put."""
        verb, name, argument = self._encoder.operation("set_if_absent", key, value)
        return await self._write(verb, name, argument, op_id)  # type: ignore[return-value]  # by verb

    async def compare_and_set(self, key: str, expected: object, value: object, *, op_id: str = "") -> bool:
        """Put `value` under `key` if what is there equals `expected`; whether it was put.

        Equality is that of JSON: True is not 1. A missing key equals only `actorflow.MISSING`.
        """
        name = self._encoder.key(key)
        wanted = "" if expected is MISSING else encode(expected, unstructure)
        argument = (wanted, self._encoder.text(name, value))
        return await self._write("compare_and_set", name, argument, op_id)  # type: ignore[return-value]  # by verb

    async def update(
        self, key: str, function: Callable[[object], object], default: object = None, *, op_id: str = ""
    ) -> object:
        """Put `function(value)` under `key`, computed by the owner; the new value, which is journaled.

        `function` is plain and quick; it gets a private copy, or `default` for a missing key.
        """
        if not callable(function):
            raise InputError(f"update needs a plain function, got {shorten(function)}")
        name = self._encoder.key(key)
        return await self._update(name, function, encode(default, unstructure), mark_of(function), op_id)

    async def _update(
        self, name: str, function: Callable[[object], object], base: str, mark: str, op_id: str
    ) -> object:
        encoder = self._encoder

        def compute(old: Value | Missing) -> tuple[str, str]:
            value = function(decode(base) if old is MISSING else value_of(old))
            if hasattr(value, "__await__"):
                if isinstance(value, Coroutine):
                    value.close()  # or Python warns that nobody awaited it
                raise InputError(f"update({name!r}): the function is async; it must be plain, it runs in the owner")
            return encoder.text(name, value), mark

        owner = self._pass
        replay = owner.replay
        if replay is not None and not op_id:
            found = await recall(replay, "update", name, mark)
            if found is not UNMATCHED:
                return found
        if owner.buffer is not None:
            return owner.buffer.update(name, compute)
        self._check_usable()
        return await self._actor.ask(c.Operate(self._n, "update", name, None, op_id, compute=compute), owner)

    # --- reading

    async def get(self, key: str, default: object = None) -> object:
        """A private copy of the value, or `default`."""
        name = self._encoder.key(key)
        owner = self._pass

        def read(state: RunState) -> Value | Missing:
            if owner.reads is None:
                owner.reads = {}
            owner.reads[name] = state.store.writes
            return state.store.values.get(name, MISSING)

        value = await self._read(name, read)
        return default if value is MISSING else value_of(value)

    async def has(self, key: str) -> bool:
        """Whether the key exists."""
        name = self._encoder.key(key)
        return await self._read(name, lambda state: state.store.values.get(name, MISSING)) is not MISSING

    async def keys(self, prefix: str = "") -> list[str]:
        """The keys that begin with `prefix`, in the order in which they came."""
        if not isinstance(prefix, str):
            raise StateKeyError(f"prefix {shorten(prefix)} is a {type(prefix).__name__}; give a string")
        snapshot = await self._values()
        return [key for key in snapshot if key.startswith(prefix)]

    async def length(self, key: str) -> int:
        """Items of a list, 0 for a missing key; the list is not copied."""
        name = self._encoder.key(key)
        value = await self._read(name, lambda state: state.store.values.get(name, MISSING))
        return _view(name, value)[1]

    async def slice(self, key: str, start: int | None, stop: int | None = None) -> list[object]:
        """Items `start` to `stop` of a list, as Python slices count; `[]` for a missing key."""
        for bound in (start, stop):
            if bound is not None and (isinstance(bound, bool) or not isinstance(bound, int)):
                raise InputError(f"slice bounds are whole numbers, got {shorten(bound)}")
        name = self._encoder.key(key)
        value = await self._read(name, lambda state: state.store.values.get(name, MISSING))
        items, length, _ = _view(name, value)
        first, last, _ = slice(start, stop).indices(length)
        return [decode(item) for item in items[first:last]]

    async def snapshot(self) -> dict[str, object]:
        """Every key with its value, as they were at one moment."""
        return {key: value_of(value) for key, value in (await self._values()).items()}

    async def wait_for(self, key: str, predicate: Callable[[object], bool]) -> object:
        """The value under `key` as soon as `predicate(value)` holds (None for a missing key).

        The step does not count against `max_live_steps` while it waits. Bound the wait with trio's own scopes.
        """
        self._refuse("wait_for")
        if not callable(predicate):
            raise InputError(f"wait_for needs a plain function, got {shorten(predicate)}")
        name = self._encoder.key(key)
        self._check_usable()
        return await wait_for(self._actor, self._pass, name, predicate)

    # --- several at once, or without waiting

    @asynccontextmanager
    async def transaction(self, *, op_id: str = "") -> AsyncIterator[Transaction]:
        """Several verbs as one change: applied together on leaving, or not at all; a raised error drops them."""
        tx = Transaction(self._encoder)
        try:
            yield tx
        finally:
            tx._closed = True
        await self._transact(tx._operations, op_id, "transaction")

    async def _transact(self, operations: list[Operation], op_id: str, what: str, mark: int | None = None) -> None:
        self._check_usable()
        owner = self._pass
        replay = owner.replay
        if replay is not None and not op_id and await recall(replay, "transaction", "", operations) is not UNMATCHED:
            return
        if mark is not None:
            marks = {key: mark for _, key, _ in operations}
        else:
            reads = owner.reads or {}
            marks = {key: reads[key] for _, key, _ in operations if key in reads}
        if owner.buffer is not None:
            await trio.lowlevel.checkpoint()
            owner.buffer.transact(operations, marks)
            return
        if operations:
            await self._actor.ask(c.Transact(self._n, operations, op_id, marks), owner)
        else:
            await trio.lowlevel.checkpoint()

    def push_nowait(self, key: str, item: object, *, op_id: str = "") -> None:
        """`push` without waiting for the reply; `trio.WouldBlock` if the mailbox is full."""
        self._enqueue("push", key, item, op_id)

    def increment_nowait(self, key: str, delta: float = 1, *, op_id: str = "") -> None:
        """`increment` without waiting for the reply; `trio.WouldBlock` if the mailbox is full."""
        self._enqueue("increment", key, delta, op_id)

    def set_nowait(self, key: str, value: object, *, op_id: str = "") -> None:
        """`set` without waiting for the reply; `trio.WouldBlock` if the mailbox is full."""
        self._enqueue("set", key, value, op_id)

    def _enqueue(self, verb: str, key: object, argument: object, op_id: str) -> None:
        verb, name, checked = self._encoder.operation(verb, key, argument)
        owner = self._pass
        actor = self._actor
        self._check_usable()
        if owner.replay is not None and not op_id and owner.replay.match(verb, name, checked) is not UNMATCHED:
            return
        if owner.buffer is not None:
            owner.buffer.write(verb, name, checked)
            return
        mark = (owner.reads or {}).get(name, c.NO_MARK)
        named = c.Operate(self._n, verb, name, checked, op_id, mark) if op_id else None
        message = Message(named, origin=owner) if named else Message.asking((self._n, verb, name, checked, mark), owner)
        message.done = partial(_remember_failure, owner)
        actor.mailbox.put_nowait(message, actor.kernel.clock.now)
        actor.kernel.dispatcher.wake(actor)

    # --- the road to the run

    def _check_usable(self) -> None:
        actor = self._actor
        actor.check_usable()
        if actor.is_over:
            raise over(actor.state)
        if self._pass.ended and self._pass.worker is None:
            self._pass.actor.kernel.check_open()

    def _refuse(self, what: str) -> None:
        owner = self._pass
        if owner.is_hook:
            raise HookRestriction(f"{what} in the hook {owner.activation.step!r}: the run is ending; do it in a step")
        if owner.buffer is not None:
            raise HookRestriction(
                f'{what} in step {owner.activation.step!r}: with commit="on_success" nothing may be waited for that '
                "cannot be taken back"
            )

    async def _write(self, verb: str, key: str, argument: Argument, op_id: str) -> object:
        owner = self._pass
        if owner.replay is not None and not op_id:
            found = await recall(owner.replay, verb, key, argument)
            if found is not UNMATCHED:
                return found
        if owner.buffer is not None:
            await trio.lowlevel.checkpoint()
            return owner.buffer.write(verb, key, argument)
        mark = c.NO_MARK if owner.reads is None else owner.reads.get(key, c.NO_MARK)
        actor = self._actor
        if actor.idle and not op_id:
            await trio.lowlevel.checkpoint_if_cancelled()
            if actor.broken is not None:
                actor.check_usable()
            reply = actor.operate(self._n, verb, key, argument, mark)
            kernel = actor.kernel
            kernel.breath += 1
            if kernel.breath >= kernel.stride:
                await kernel.breathe()
            return reply
        if not actor.open or owner.ended:
            self._check_usable()
        if op_id:
            return await actor.ask(c.Operate(self._n, verb, key, argument, op_id, mark), owner)
        message = Message.asking((self._n, verb, key, argument, mark), owner)
        await trio.lowlevel.checkpoint_if_cancelled()
        actor.tell(message)
        if message.answered:
            return await message.reply()
        message.task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(message.abort)
        if message.error is not None:
            raise message.error
        return message.value

    async def _read(self, name: str, read: Callable[[RunState], Value | Missing]) -> Value | Missing:
        self._check_usable()
        owner = self._pass
        if owner.buffer is not None and owner.buffer.knows(name):
            await trio.lowlevel.checkpoint()
            return owner.buffer.value(name)
        return await self._actor.ask_read(_alive(read), owner)  # type: ignore[return-value]  # what `read` returns

    async def _values(self) -> dict[str, Value]:
        self._check_usable()
        owner = self._pass
        found = await self._actor.ask_read(_alive(lambda state: dict(state.store.values)), owner)
        assert isinstance(found, dict)
        return found if owner.buffer is None else owner.buffer.over(found)


def _alive(read: Callable[[RunState], object]) -> Callable[[RunState], object]:
    def checked(state: RunState) -> object:
        if state.phase.value == "over":
            raise over(state)
        return read(state)

    return checked


def _remember_failure(owner: Pass, error: BaseException | None) -> None:
    if isinstance(error, Exception) and owner.unasked_error is None:
        owner.unasked_error = error


def _view(key: str, value: Value | Missing) -> tuple[list[str], int, int]:
    if value is MISSING:
        return [], 0, 0
    if not is_list(value):
        raise StateTypeError(f"the value under {key!r} is {describe(value)}, not a list", key=key)
    return value if isinstance(value, tuple) else list_view(str(value))

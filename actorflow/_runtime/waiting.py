"""Waiting for something of a run: a value of its store, a child, a look at its state.

What lives here: these waits, as functions of the run's actor. What does not: waiting for the run to settle, and the
answers (`supervisor`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from .._core import commands as c
from .._core.values import MISSING
from ..errors import RunOver
from .ledger import decoded
from .mailbox import Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .._core.run_state import RunState
    from .guests import Guest
    from .passes import Pass
    from .supervisor import RunActor

T = TypeVar("T")


@contextmanager
def parked(origin: Pass | Guest) -> Iterator[None]:
    """The step gives its place in its own run up meanwhile; it may be in several waits at once."""
    actor, n = origin.home
    held = actor.state.parked
    held[n] = held.get(n, 0) + 1
    actor.kernel.branches.tell()
    try:
        if n in actor.state.live:
            actor.tell_control(c.Tick())  # the place that was given up may let another step start
        yield
    finally:
        left = held.get(n, 0) - 1
        if left > 0:
            held[n] = left
        else:
            held.pop(n, None)


async def call_settled(actor: RunActor, origin: Pass, call: int) -> None:
    """Wait for news of a child run."""
    message = Message(None, origin=origin)
    actor.callers.setdefault(call, []).append(message)
    try:
        with parked(origin):
            await message.reply()
    finally:
        waiting = actor.callers.get(call, [])
        if message in waiting:
            waiting.remove(message)


async def inspect(actor: RunActor, look: Callable[[RunState], T]) -> T:
    """What `look` finds in the state, when all that it shows is durable; never held up by user messages."""
    if actor.volatile or actor.ended:
        await trio.lowlevel.checkpoint()
        return look(actor.state)
    actor.check_usable()
    await trio.lowlevel.checkpoint_if_cancelled()
    found: list[T] = []
    message = Message(None, read=lambda state: found.append(look(state)))
    actor.mailbox.put_control(message)
    actor.kernel.dispatcher.wake(actor)
    try:
        await message.reply()
    except RunOver:
        return look(actor.state)
    return found[0]


async def wait_for(actor: RunActor, origin: Pass, key: str, predicate: Callable[[object], bool]) -> object:
    """The value under `key` as soon as `predicate` holds for it."""
    message = Message(None, origin=origin)

    def look(state: RunState) -> object:
        value = decoded(state.store.values.get(key, MISSING))
        if predicate(value):
            return (value,)
        actor.watches.append((message, key, predicate))
        return None

    try:
        found = await actor.ask_read(look, origin)
        if isinstance(found, tuple):
            return found[0]
        with parked(origin):
            return await message.reply()
    finally:
        actor.watches = [watch for watch in actor.watches if watch[0] is not message]

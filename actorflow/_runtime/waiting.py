"""Waiting for something of a run: a value of its store, a child, a look at its state.

What lives here: these waits, as functions of the run's actor. What does not: waiting for the run to settle, and the
answers (`supervisor`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from .._core import commands as c
from .._core.lifecycle import RUN_OVER, RunStatus
from .._core.values import MISSING
from .._ids import child_id
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


async def stranded(owner: Pass) -> None:
    """Wait for children of this step whose workflow is not known any more: to fail it now would leave them without
    their parent, and the workflow may be known at the next opening.
    """
    actor, n = owner.actor, owner.activation.n
    for call in actor.state.unfinished_calls():
        while call.by == n and call.status not in RUN_OVER and call.workflow_id not in actor.kernel.definitions:
            with actor.kernel.waits.of(owner, child_id(actor.state.run_id, call.n)):
                await call_settled(actor, owner, call.n)


async def holds(owner: Pass, call: int) -> bool:
    """Whether a call of an earlier pass is this one. If that pass had let go of it, its end decides: what has completed
    has happened, what was cancelled is called anew.
    """
    actor = owner.actor
    with actor.kernel.waits.of(owner, child_id(actor.state.run_id, call)):
        while (found := actor.state.calls.get(call)) is not None and found.unwanted and found.status not in RUN_OVER:
            await call_settled(actor, owner, call)
    return found is not None and (not found.unwanted or found.status is RunStatus.COMPLETED)

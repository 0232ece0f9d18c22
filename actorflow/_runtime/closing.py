"""The order of closing a runtime: no new runs; the grace; the rest is cancelled; the journal is flushed.

What lives here: `close`, and `release` for what is left when no task runs any more. What does not: the nursery that
ends between the two (`runtime`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from .._core import commands as c
from ..errors import JournalError, RuntimeClosed
from . import places
from .recovery import interrupted_commands

if TYPE_CHECKING:
    from .kernel import Kernel

LOG: Final = logging.getLogger("actorflow")


async def release(kernel: Kernel) -> None:
    """Let go of the journal and its thread."""
    with trio.CancelScope(shield=True):  # bounded by closing a file
        try:
            await kernel.journal.close()
        except JournalError as error:
            LOG.error("closing the journal %s: %s", kernel.journal.url, error)
        kernel.writer.stop()


async def close(kernel: Kernel, grace: float) -> None:
    """Bring every run to rest; returns when no step runs, and nothing waits for the journal."""
    kernel.closing = True
    for actor in (*kernel.actors.values(), *kernel.resting.values()):  # a timer may yet wake one that rests
        actor.paused = True
    began = trio.current_time()
    await _let_steps_end(kernel, grace)
    with trio.CancelScope(shield=True):  # ends when the last step has: a cancelled step is awaited, however long
        closed = RuntimeClosed("the runtime's block has ended; unfinished runs go on at the next opening, if durable")
        for actor in list(kernel.actors.values()):
            if not actor.ended:
                actor.close_waiting(closed)
        if kernel.journal.durable:
            await _park_runs(kernel)
        else:
            await _end_runs(kernel, max(0.0, grace - (trio.current_time() - began)))
        await kernel.dispatcher.idle()
        for actor in list(kernel.actors.values()):
            actor.fail(closed) if not actor.ended else None


async def _let_steps_end(kernel: Kernel, grace: float) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
        # A step that waits for a child, or for a value that another step will write, goes on when they do: when nobody
        # moves any more, the rest of the grace would be waited for in vain.
        while kernel.branches.moving or kernel.dispatcher.busy:
            await kernel.branches.still()
            await kernel.dispatcher.idle()
    late = [found for found in kernel.branches.live if not found.is_parked]
    if late:
        names = ", ".join(
            f"{found.activation.step!r} (activation {found.activation_id}, run {found.actor.state.run_id!r})"
            for found in late
        )
        LOG.warning("closing: %d steps outlasted the grace of %g s and are cancelled: %s", len(late), grace, names)
        kernel.reached(places.CUT_OFF)
    kernel.stopping = True
    for actor in list(kernel.actors.values()):
        for found in list(actor.passes.values()):
            found.stop("the runtime is closing")
    with trio.CancelScope(shield=True):
        while kernel.branches.busy:
            await kernel.branches.empty()
            await kernel.dispatcher.idle()


async def _park_runs(kernel: Kernel) -> None:
    """Steps that were cut off are armed again in the journal: the end of a runtime is not a crash."""
    for actor in list(kernel.actors.values()):
        if actor.broken is not None or actor.ended:
            continue
        for command in interrupted_commands(actor.state, crashed=False):
            actor.tell_control(command)
    await kernel.dispatcher.idle()


async def _end_runs(kernel: Kernel, grace: float) -> None:
    """Nothing outlives a volatile journal: what is unfinished ends as cancelled, with its cancel hook."""
    for actor in list(kernel.actors.values()):
        if not actor.ended and actor.broken is None:
            for command in interrupted_commands(actor.state, crashed=False):
                actor.execute(command)
            kernel.stopping = False  # for the hooks, within what is left of the grace
            actor.execute(c.CancelRun("the runtime closed"))
    with trio.CancelScope(deadline=trio.current_time() + grace):
        await kernel.branches.empty()
    for found in kernel.branches.live:
        found.stop("the runtime is closing")
    await kernel.branches.empty()


def same_group(raised: BaseException, error: BaseException | None) -> bool:
    """Whether `raised` is the nursery's wrapper around nothing but the group `error`; trio may have copied that."""
    inner = raised.exceptions[0] if isinstance(raised, BaseExceptionGroup) and len(raised.exceptions) == 1 else None
    if not isinstance(inner, BaseExceptionGroup) or not isinstance(error, BaseExceptionGroup):
        return False
    return inner.message == error.message and inner.exceptions == error.exceptions


async def let_cancel(raised: BaseException) -> None:
    """Of a block that was cancelled from outside comes `Cancelled`, and not what its steps and callers were told."""
    group = raised if isinstance(raised, BaseExceptionGroup) else BaseExceptionGroup("", [raised])
    closed, rest = group.split(RuntimeClosed)
    if closed is not None and (rest is None or rest.split(trio.Cancelled)[1] is None):
        await trio.lowlevel.checkpoint_if_cancelled()

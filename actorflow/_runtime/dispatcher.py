"""Who turns the crank: turns for the runs that have messages, one commit over all of them, then the consequences.

What lives here: `Dispatcher`, one task per runtime, and with it the group commit: what arrived in any run while a
commit was under way goes into the next one. What does not: what a turn decides (`supervisor`), the bytes
(`journals`).
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from ..errors import ActorflowError, JournalError, RuntimeClosed
from . import places
from .supervisor import KEEP_MAX

if TYPE_CHECKING:
    from ..abc import Append
    from .kernel import Kernel
    from .supervisor import RunActor


class Dispatcher:
    """Gives turns to run actors and commits what they decide."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._ready: deque[RunActor] = deque()
        self._task: trio.lowlevel.Task | None = None
        self._busy = False
        self._idle: list[trio.Event] = []
        self._failure: RuntimeClosed | None = None

    def wake(self, actor: RunActor) -> None:
        """Give `actor` a turn soon; if there are no more turns, it fails."""
        if self._failure is not None:
            if not actor.ended:  # pragma: no branch - nobody who waits wakes one that has ended
                actor.fail(self._failure)
            return
        if not actor.queued:
            actor.queued = True
            self._ready.append(actor)
            if actor.open and actor.state.run_id not in self._kernel.actors:
                self._kernel.awake(actor)
            if self._task is not None:
                task, self._task = self._task, None
                trio.lowlevel.reschedule(task)

    async def run(self) -> None:
        """Turn the crank until cancelled; a commit under way is always finished."""
        try:
            await self._crank()
        except BaseException as error:
            self._fail_all(error)  # nobody will answer any more: whoever waits, perhaps shielded, must not hang
            raise
        finally:
            self._tell_idle()

    def _fail_all(self, error: BaseException) -> None:
        if isinstance(error, trio.Cancelled):  # from outside the block, if it has not ended
            failure = RuntimeClosed("the runtime's block was cancelled; unfinished runs go on at the next opening")
        else:
            failure = RuntimeClosed(f"the runtime has failed: {type(error).__name__}: {error}")
            failure.__cause__ = error
        self._failure = failure
        for actor in list(self._kernel.actors.values()):
            if not actor.ended:  # nobody waits for one that is: what comes late is answered in a round
                actor.fail(failure)

    async def _crank(self) -> None:
        while True:
            if not self._ready:
                await self._sleep()
            # One more tick: whoever is runnable now may add to this round. With ten callers that doubles its size.
            await trio.lowlevel.checkpoint()
            self._busy = True
            try:
                with trio.CancelScope(shield=True):  # bounded by one commit
                    await self._round()
            finally:
                self._busy = False

    def _tell_idle(self) -> None:
        for event in self._idle:
            event.set()
        self._idle.clear()

    async def _sleep(self) -> None:
        self._tell_idle()
        self._task = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._task = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    @property
    def busy(self) -> bool:
        """Whether something is left to be decided or committed."""
        return bool(self._ready or self._busy) and self._failure is None

    async def idle(self) -> None:
        """Wait until nothing is left to be decided or committed."""
        while self.busy:
            event = trio.Event()
            self._idle.append(event)
            await event.wait()

    async def _round(self) -> None:
        kernel = self._kernel
        turned: dict[RunActor, None] = {}
        appends: list[Append] = []
        writers: list[RunActor] = []
        ready = self._ready
        while ready:  # also those that are woken by a turn: parent and child decide in one commit
            actor = ready.popleft()
            actor.queued = False
            if actor.broken is not None:
                continue
            if actor.ended:
                for message in actor.mailbox.drain():
                    actor.answer_late(message)
            else:  # over and not ended is a run only while its end is being written
                if kernel.probe is not None:
                    places.probe_mailbox(kernel.probe, actor.mailbox)
                actor.turn()
            turned[actor] = None
            if actor.volatile:
                actor.act()
        for actor in turned:
            if actor.volatile and not actor.is_over and len(actor.outbox) <= KEEP_MAX:
                continue
            append = actor.append()
            if append is not None:
                appends.append(append)
                writers.append(actor)
        if appends:
            error = await self._commit(appends)
            if error is not None:
                for actor in writers:
                    if actor.broken is None:  # else it has stopped with its tree
                        kernel.broken(actor, error)
        for actor in turned:
            if actor.broken is None:
                actor.act()
                kernel.reached(places.ACTED)
            if len(actor.mailbox) and actor.broken is None and not actor.is_over:
                self.wake(actor)
            elif actor.may_rest:
                kernel.rest(actor)

    async def _commit(self, appends: list[Append]) -> ActorflowError | None:
        kernel = self._kernel
        began = kernel.clock.elapsed()
        kernel.reached(places.COMMIT_SEVERAL if len(appends) > 1 else places.COMMIT)
        try:
            async with kernel.commit_lock:
                written = await kernel.journal.commit(appends)
        except ActorflowError as error:
            return error
        except Exception as error:  # noqa: BLE001 - a journal of somebody else's making: its errors are the journal's
            text = f"the journal {kernel.journal.url} failed: {type(error).__name__}: {error}"
            found = JournalError(text)
            found.__cause__ = error
            return found
        kernel.reached(places.WRITTEN)
        kernel.committed(appends, written, kernel.clock.elapsed() - began)
        return None

    async def flush(self) -> None:
        """Bring what volatile runs still keep to themselves into their journal, so that it can be read."""
        kernel = self._kernel
        appends = [
            append
            for actor in list(kernel.actors.values())
            if actor.volatile and actor.broken is None and (append := actor.append()) is not None
        ]
        await kernel.commit(appends)  # also with nothing of its own: it waits for a commit under way
        for append in appends:
            actor = kernel.actors.get(append.run_id)
            # If it has recorded more meanwhile, its last facts are yet to come, perhaps with a commit under way.
            if actor is not None and actor.ended and actor.state.seq < append.first_seq + len(append.facts):
                del kernel.actors[append.run_id]

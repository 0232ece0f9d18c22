"""The mailbox of a run: two lanes, one-shot replies, and a bound that makes senders wait.

What lives here: `Message`, which is at once the envelope and the cell that its sender waits on, and `Mailbox`. What
does not: what a message means (`supervisor`), who turns the crank (`dispatcher`).

The bound. Every sender has at most one message here that it waits for, so the queue holds at most one per waiting
task; a turn takes at most `limit` of them. What is put without waiting counts fully and is refused past the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import outcome
import trio

from .._core.commands import Command
from .._core.run_state import RunState

if TYPE_CHECKING:
    from .passes import Pass

Read = Callable[[RunState], object]


class Message:
    """A command, or a read, on its way; the reply comes back through it, once."""

    __slots__ = ("command", "done", "origin", "read", "result", "since", "taken", "task", "withdrawn")

    def __init__(self, command: Command | None, *, read: Read | None = None, origin: Pass | None = None) -> None:
        self.command = command
        self.read = read
        self.origin = origin
        self.task: trio.lowlevel.Task | None = None
        self.result: outcome.Outcome[object] | None = None
        self.done: Callable[[outcome.Outcome[object]], None] | None = None
        self.since = 0.0
        self.taken = False
        self.withdrawn = False

    def resolve(self, result: outcome.Outcome[object]) -> bool:
        """Hand the reply over; False if nobody waits for it any more."""
        self.result = result
        if self.done is not None:
            self.done(result)
        if self.task is None:
            return False
        task, self.task = self.task, None
        trio.lowlevel.reschedule(task, result)
        return True

    def _abort(self, raise_cancel: object) -> trio.lowlevel.Abort:
        # Cancelled must mean "did not happen": a message is withdrawn before the run has taken it, or waited for.
        if self.taken:
            return trio.lowlevel.Abort.FAILED
        self.withdrawn = True
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def reply(self) -> object:
        """Wait for the reply: its value, or its error."""
        if self.result is not None:
            await trio.lowlevel.checkpoint()
            return self.result.unwrap()
        self.task = trio.lowlevel.current_task()
        return await trio.lowlevel.wait_task_rescheduled(self._abort)


class Mailbox:
    """What waits for one run, in arrival order; control before the rest."""

    __slots__ = ("_control", "_limit", "_user")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._control: deque[Message] = deque()
        self._user: deque[Message] = deque()

    def __len__(self) -> int:
        return len(self._user) + len(self._control)

    @property
    def depth(self) -> int:
        """User messages that hold a place; more senders than that are waiting for one."""
        return min(len(self._user), self._limit)

    @property
    def oldest(self) -> float | None:
        """When the oldest user message came."""
        return self._user[0].since if self._user else None

    def put(self, message: Message) -> None:
        """Append behind what waits; its sender waits for the reply, or it is a step's end, which is never refused."""
        self._user.append(message)

    def put_nowait(self, message: Message) -> None:
        """Append, or raise `trio.WouldBlock` when `limit` messages wait."""
        if len(self._user) >= self._limit:
            raise trio.WouldBlock(f"the mailbox holds {self._limit} messages; await a verb, or raise Limits(mailbox=…)")
        self._user.append(message)

    def put_control(self, message: Message) -> None:
        """Append to the lane that is never bounded and always first."""
        self._control.append(message)

    def take(self) -> list[Message]:
        """The messages of one turn: control alone if there is any, else up to the bound. Withdrawn ones are gone."""
        lane = self._control or self._user
        taken: list[Message] = []
        room = self._limit
        while lane and room:
            message = lane.popleft()
            if not message.withdrawn:
                message.taken = True
                taken.append(message)
                room -= 1
        return taken

    def drain(self) -> list[Message]:
        """Everything, for an actor that ends."""
        left = [message for message in (*self._control, *self._user) if not message.withdrawn]
        self._control.clear()
        self._user.clear()
        for message in left:
            message.taken = True
        return left

"""The mailbox of a run: two lanes, one-shot replies, and a bound that makes senders wait.

What lives here: `Message`, which is at once the envelope and the cell that its sender waits on, `Mailbox`, and how an
error is given to several callers. What does not: what a message means (`supervisor`), who turns the crank
(`dispatcher`).

The bound. Every sender has at most one message here that it waits for, so the queue holds at most one per waiting
task; a turn takes at most `limit` of them. What is put without waiting counts fully and is refused past the bound.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from .._core.operations import Argument
from .._core.run_state import RunState

if TYPE_CHECKING:
    from .._core.commands import Command
    from ..errors import ActorflowError
    from .passes import Pass

Read = Callable[[RunState], object]


Ask = tuple[int, str, str, Argument, int]
"""One store verb: activation, verb, key, argument, mark. What `Operate` is without its object: it is sent most."""


class Message:
    """Something asked of a run, on its way; the answer comes back through it, once.

    It is one of: a `command`; a `read` of the state; one store verb (`ask`); the plain success of a step (`output`).
    """

    # Defaults stand on the class: most messages need two or three of these, and there are millions.
    command: Command | None = None
    read: Read | None = None
    ask: Ask | None = None
    output: str | None = None
    origin: Pass | None = None
    task: trio.lowlevel.Task | None = None
    value: object = None
    error: BaseException | None = None
    done: Callable[[BaseException | None], None] | None = None
    answered = False
    taken = False
    withdrawn = False

    def __init__(self, command: Command | None = None, *, read: Read | None = None, origin: Pass | None = None) -> None:
        if command is not None:
            self.command = command
        if read is not None:
            self.read = read
        if origin is not None:
            self.origin = origin

    @classmethod
    def asking(cls, ask: Ask, origin: Pass) -> Message:
        """One store verb on its way."""
        message = cls()
        message.ask = ask
        message.origin = origin
        return message

    @classmethod
    def succeeding(cls, output: str, origin: Pass) -> Message:
        """The plain success of a step on its way."""
        message = cls()
        message.output = output
        message.origin = origin
        return message

    def answer(self, value: object = None) -> None:
        """The answer is `value`."""
        self.value = value
        self.deliver()

    def refuse(self, error: BaseException) -> None:
        """The answer is an error."""
        self.error = error
        self.deliver()

    def deliver(self) -> bool:
        """Hand over what has been put into it; False if nobody waits for it."""
        self.answered = True
        if self.done is not None:
            self.done(self.error)
        task = self.task
        if task is None:
            return False
        self.task = None
        trio.lowlevel.reschedule(task)
        return True

    def abort(self, raise_cancel: object) -> trio.lowlevel.Abort:
        """The sender is cancelled: `Cancelled` must mean "did not happen", so a message is withdrawn before the run has
        taken it, and waited for afterwards.
        """
        if self.taken:
            return trio.lowlevel.Abort.FAILED
        self.withdrawn = True
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    async def reply(self) -> object:
        """Wait for the answer: its value, or its error."""
        if self.answered:
            await trio.lowlevel.checkpoint()
        else:
            self.task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self.abort)
        if self.error is not None:
            raise self.error
        return self.value


class Mailbox:
    """What waits for one run, in arrival order; control before the rest."""

    __slots__ = ("_limit", "control", "since", "user")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self.control: deque[Message] = deque()
        self.user: deque[Message] = deque()
        self.since = 0.0

    def __len__(self) -> int:
        return len(self.user) + len(self.control)

    @property
    def depth(self) -> int:
        """User messages that hold a place; more senders than that are waiting for one."""
        return min(len(self.user), self._limit)

    @property
    def oldest(self) -> float | None:
        """When the first of the user messages that wait came; about, for those beyond one turn's bound."""
        return self.since if self.user else None

    def put(self, message: Message, now: Callable[[], float]) -> None:
        """Append behind what waits; its sender waits for the reply, or it is a step's end, which is never refused."""
        if not self.user:
            self.since = now()
        self.user.append(message)

    def put_nowait(self, message: Message, now: Callable[[], float]) -> None:
        """Append, or raise `trio.WouldBlock` when `limit` messages wait."""
        if len(self.user) >= self._limit:
            raise trio.WouldBlock(f"the mailbox holds {self._limit} messages; await a verb, or raise Limits(mailbox=…)")
        self.put(message, now)

    def put_control(self, message: Message) -> None:
        """Append to the lane that is never bounded and always first."""
        self.control.append(message)

    def take(self) -> list[Message]:
        """The messages of one turn: control alone if there is any, else up to the bound. Withdrawn ones are gone.

        No control message may be left for a later turn: the end of a child is news in the commit that holds that end.
        """
        lane = self.control or self.user
        taken: list[Message] = []
        room = len(lane) if self.control else self._limit
        while lane and room:
            message = lane.popleft()
            if not message.withdrawn:
                message.taken = True
                taken.append(message)
                room -= 1
        return taken

    def drain(self) -> list[Message]:
        """Everything, for an actor that ends."""
        left = [message for message in (*self.control, *self.user) if not message.withdrawn]
        self.control.clear()
        self.user.clear()
        for message in left:
            message.taken = True
        return left


def afresh(error: ActorflowError) -> ActorflowError:
    """The same error for one more caller: an exception that is raised again and again collects their tracebacks."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy

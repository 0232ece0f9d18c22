"""The handle of a step that was scheduled.

What lives here: `ScheduledStep`. What does not: scheduling (`context`, `scheduling`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._core import commands as c
from .._ids import activation_id
from ..errors import HookRestriction

if TYPE_CHECKING:
    from datetime import datetime

    from .passes import Pass


class ScheduledStep:
    """A step that was armed: `activation_id`, `due` (aware UTC, None for a wait without timeout), `cancel()`."""

    __slots__ = ("_n", "_owner", "due")

    def __init__(self, owner: Pass, n: int, due: datetime | None) -> None:
        self._owner = owner
        self._n = n
        self.due = due

    @property
    def activation_id(self) -> str:
        """Unique in the run and stable over attempts and crashes."""
        return activation_id(self._owner.actor.state.prefix, self._n)

    async def cancel(self) -> bool:
        """Take the step back. True if it was still armed; it will never run then."""
        return await self._owner.actor.ask(c.Unschedule(self._n), self._owner) is True

    def __repr__(self) -> str:
        return f"<{type(self).__name__} due {self.due}>"


class BufferedStep(ScheduledStep):
    """A step that will be armed with the success of its `commit="on_success"` scheduler; it has no id before."""

    __slots__ = ("_command",)

    def __init__(self, owner: Pass, command: c.Schedule, due: datetime | None) -> None:
        super().__init__(owner, 0, due)
        self._command = command

    @property
    def activation_id(self) -> str:
        """Not known before the scheduler has succeeded: raises `HookRestriction`."""
        raise HookRestriction(
            f'a step that was scheduled by {self._owner.activation.step!r} with commit="on_success" has no '
            "activation_id before that step has succeeded"
        )

    async def cancel(self) -> bool:
        """Take it back before it was armed; True if it had not been taken back yet."""
        await trio.lowlevel.checkpoint()
        buffer = self._owner.buffer
        if buffer is None or self._owner.ended or self._command not in buffer.schedules:
            return False
        buffer.schedules.remove(self._command)
        return True

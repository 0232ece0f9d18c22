"""A step of a child run that writes to the stores above it.

What lives here: `Guest`, which stands in for the pass where a store of another run is meant. What does not: the verbs
(`run_store`). A guest's operations are messages to the other run's mailbox like everybody's; that run remembers them
under a number made of the activation's id, so that a second pass of the step is recognised there too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core.replay import Replay
from .._ids import guest, guest_legs
from ..errors import HookRestriction
from .run_store import RunStore

if TYPE_CHECKING:
    from .branches import Worker
    from .buffer import Buffer
    from .passes import Pass
    from .supervisor import RunActor


class GuestActivation:
    """What a store asks of an activation: its number here, and its step."""

    __slots__ = ("n", "step")

    def __init__(self, n: int, step: str) -> None:
        self.n = n
        self.step = step


class Guest:
    """A pass as a run above sees it."""

    buffer: Buffer | None = None
    reads: dict[str, int] | None = None

    def __init__(self, owner: Pass, actor: RunActor) -> None:
        self._owner = owner
        self.actor = actor
        number = guest(owner.activation_id[len(actor.state.prefix) :], owner.activation.wakes)
        self.activation = GuestActivation(number, owner.activation.step)
        self.replay: Replay | None = None
        legs = [actor.state.guests[leg].log or [] for leg in guest_legs(number) if leg in actor.state.guests]
        if legs:
            now = legs[-1] if number in actor.state.guests else []
            log = [entry for leg in legs for entry in leg]
            self.replay = Replay(log, leg=len(log) - len(now))
        self.is_hook = owner.is_hook

    @property
    def activation_id(self) -> str:
        """That of the pass."""
        return self._owner.activation_id

    @property
    def home(self) -> tuple[RunActor, int]:
        """The run in which the pass has a place, and its number there."""
        return self._owner.home

    @property
    def ended(self) -> bool:
        """Whether the pass is over."""
        return self._owner.ended

    @property
    def worker(self) -> Worker | None:
        """Who runs the pass."""
        return self._owner.worker

    @property
    def unasked_error(self) -> Exception | None:
        """What a call failed with that the step did not wait for."""
        return self._owner.unasked_error

    @unasked_error.setter
    def unasked_error(self, error: Exception | None) -> None:
        self._owner.unasked_error = error

    async def flush(self) -> None:
        """Wait until everything that was sent without waiting has been applied."""
        if self.actor.mailbox:
            await self.actor.ask_read(lambda state: None)


def store_of(owner: Pass | Guest) -> RunStore:
    """The store that a step uses, with what a test has put before it."""
    store = RunStore(owner)  # type: ignore[arg-type]  # a guest has what a store asks of a pass
    face = owner.actor.kernel.face
    return store if face is None else face(store, owner)


def store_above(owner: Pass, actor: RunActor | None) -> RunStore | None:
    """The store of a run above, for a step; None if there is no run above."""
    if actor is None:
        return None
    if owner.buffer is not None:
        name = owner.activation.step
        raise HookRestriction(f'{name!r} has commit="on_success": what it writes to another run cannot be taken back')
    if owner.guests is None:
        owner.guests = {}
    found = owner.guests.get(actor.state.run_id)
    if found is None:
        found = owner.guests[actor.state.run_id] = Guest(owner, actor)
    return store_of(found)

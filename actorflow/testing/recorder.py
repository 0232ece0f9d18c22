"""What the steps of a simulated runtime ask of their run stores: recorded without their doing.

What lives here: the face that is put before each run store. What does not: histories (`history`), judging them
(`linearizable`, `lost_update`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from attrs import define, field

from .._core.store_state import value_of
from .history import History

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._core.operations import Operation
    from .._runtime.guests import Guest
    from .._runtime.passes import Pass
    from .._runtime.run_store import RunStore

__all__ = ["Recorder"]


@define(eq=False)
class Recorder:
    """The histories of all runs, by run id."""

    histories: dict[str, History] = field(factory=dict)
    foreign: dict[str, set[str]] = field(factory=dict)
    """Keys that were also written in ways which a history does not know: a child's changes that came back."""
    places: Counter[str] = field(factory=Counter)
    """How often each of the runtime's named places was reached."""
    watch: Callable[[str, int], None] | None = None
    """Told of each place, and how often it has been reached; for crashes there."""
    unknown: set[str] = field(factory=set)
    """Runs in which anything may have been written so: steps with `commit="on_success"`."""

    def face(self, store: RunStore, owner: Pass | Guest) -> RunStore:
        """The store, recorded as what this step does."""
        state = owner.actor.state
        if owner.buffer is not None:
            self.unknown.add(state.run_id)
            return store
        history = self.histories.get(state.run_id)
        if history is None:
            values = {key: value_of(value) for key, value in state.store.values.items()}
            history = self.histories[state.run_id] = History(initial=values)
        recorded = history.store(store, branch=_branch(owner), replayed=True)
        return cast("RunStore", _Face(self, state.run_id, store, recorded))

    def reached(self, place: str) -> None:
        """A named place of the runtime."""
        self.places[place] += 1
        if self.watch is not None:
            self.watch(place, self.places[place])

    @property
    def operations(self) -> int:
        """Calls that were recorded."""
        return sum(len(history.calls) for history in self.histories.values())

    def disturbed(self, run_id: str, keys: Iterable[str]) -> None:
        """These keys of a run were written in a way that its history does not know."""
        self.foreign.setdefault(run_id, set()).update(keys)

    def known(self, run_id: str) -> History:
        """The history of a run, without the keys of which it cannot know all."""
        history, hidden = self.histories[run_id], self.foreign.get(run_id)
        return history.without(hidden) if hidden else history


def _branch(owner: Pass | Guest) -> str:
    """What a user would call the branch: its step, and its number if it is one of many."""
    return f"{owner.activation.step} {owner.activation_id}"


class _Face:
    """A recorded store, which also tells of the writes that a history does not know."""

    __slots__ = ("_recorded", "_recorder", "_run_id", "_store")

    def __init__(self, recorder: Recorder, run_id: str, store: RunStore, recorded: RunStore) -> None:
        self._recorder, self._run_id, self._store, self._recorded = recorder, run_id, store, recorded

    def __getattr__(self, name: str) -> object:
        if name == "_transact":
            return self._write_many
        found: object = getattr(self._store if name.startswith("_") else self._recorded, name)
        return found

    async def _write_many(self, operations: list[Operation], op_id: str, what: str, mark: int) -> None:
        self._recorder.disturbed(self._run_id, [key for _, key, _ in operations])
        await self._store._transact(operations, op_id, what, mark)

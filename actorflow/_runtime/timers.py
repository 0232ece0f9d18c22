"""One task that waits for the earliest due time of all runs.

What lives here: `Timers`. What does not: which of a run's steps are due (`_core.due_order`): trio wakes equal
deadlines in any order, so a run is told that time has passed, and looks for itself.
"""

from __future__ import annotations

import heapq
from itertools import count
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from .clock import RunClock


class Sleeper(Protocol):
    """Who is told that time has passed."""

    def tick(self) -> None:
        """It is due."""
        ...


class Timers:
    """Due times of runs, in epoch seconds."""

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Sleeper]] = []
        self._order = count()
        self._scope: trio.CancelScope | None = None

    def add(self, due: float, actor: Sleeper) -> None:
        """Tick `actor` at `due`; a stale entry does no harm."""
        heapq.heappush(self._heap, (due, next(self._order), actor))
        if self._scope is not None and self._heap[0][2] is actor:
            self._scope.deadline = min(self._scope.deadline, self._clock.deadline(due))

    async def run(self) -> None:
        """Tick until cancelled."""
        while True:
            with trio.CancelScope() as self._scope:
                if self._heap:
                    self._scope.deadline = self._clock.deadline(self._heap[0][0])
                await trio.sleep_forever()
            self._scope = None
            now = self._clock.now()
            while self._heap and self._heap[0][0] <= now:
                _, _, actor = heapq.heappop(self._heap)
                actor.tick()
            await trio.lowlevel.checkpoint()

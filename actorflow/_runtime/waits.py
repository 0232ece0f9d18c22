"""Who waits for whom: a step that waits for a run which waits for that step would wait for ever.

What lives here: `Waits`. What does not: the waiting (`handle`, `children`).
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import Deadlock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .kernel import Kernel
    from .passes import Pass


class Waits:
    """The waits of steps for runs, as edges from run to run; beside them every run waits for its children."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._edges: list[tuple[str, str]] = []

    @contextmanager
    def of(self, waiter: Pass | None, run_id: str) -> Iterator[None]:
        """Watch over a wait: one that can never end raises `Deadlock`, in the wait that closes the ring."""
        if waiter is None:
            yield
            return
        edge = (waiter.actor.state.run_id, run_id)
        self._refuse_cycle(*edge)
        self._edges.append(edge)
        try:
            yield
        finally:
            self._edges.remove(edge)

    def _waited_for_by(self, run_id: str) -> Iterator[str]:
        for source, target in self._edges:
            if source == run_id:
                yield target
        actor = self._kernel.find(run_id)
        if actor is not None:
            yield from actor.open_children()

    def _refuse_cycle(self, waiter: str, awaited: str) -> None:
        came_from = {awaited: waiter}
        todo = [awaited]
        while todo:
            run = todo.pop()
            if run == waiter:
                ring = [waiter]
                step = came_from[waiter]
                while step != waiter:
                    ring.append(step)
                    step = came_from[step]
                ring.append(waiter)
                ring.reverse()
                raise Deadlock(
                    f"run {waiter!r} would wait for itself: {' → '.join(ring)}; let a step end instead of waiting",
                    run_id=waiter,
                    cycle=tuple(ring[:-1]),
                )
            for target in self._waited_for_by(run):
                if target not in came_from or target == waiter:
                    if target == waiter and waiter in came_from:
                        continue
                    came_from[target] = run
                    todo.append(target)

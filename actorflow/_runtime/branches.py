"""The tasks that run steps: a pool that takes the next pass when it runs, not when it is told.

What lives here: `Branches`. What does not: which step may start (`react`), the step boundary (`passes`).

Why a pool: a task costs 10 to 18 µs to start and end, and a fan-out needs one per branch otherwise. Why it pulls:
trio starts the tasks of one batch in any order, but steps must start in due order; whichever worker runs first takes
the first pass in line, and runs it to its first checkpoint before anybody else runs. Each worker has one cancel scope
for its life, so that a pass can be cancelled without a scope of its own; a worker whose scope was cancelled ends.
"""

from __future__ import annotations

from collections import deque
from contextvars import copy_context
from typing import TYPE_CHECKING, Final

import trio
from attrs import define

from .passes import Pass

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE_MAX: Final = 1_024
"""Idle workers that are kept, 5 kB each: about as many as one run may have steps live, because between two commits
all of them are idle."""

STRIDE: Final = 16
"""Passes that a worker runs in a row before it lets the others have a turn."""


@define(eq=False)
class Worker:
    """One task of the pool."""

    scope: trio.CancelScope
    task: trio.lowlevel.Task
    current: Pass | None = None
    stopped: bool = False

    def stop(self, reason: str) -> None:
        """Cancel what it runs; the worker ends with it."""
        self.stopped = True
        self.scope.cancel(reason=reason)


class Branches:
    """The pool of one runtime."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery
        self._ready: deque[Pass] = deque()
        self._idle: list[Worker] = []
        self._coming = 0
        self.workers: dict[trio.lowlevel.Task, Worker] = {}
        self._waiting: list[tuple[Callable[[], bool], trio.Event]] = []
        self.spread = 1

    @property
    def live(self) -> list[Pass]:
        """The passes that run now."""
        return [worker.current for worker in self.workers.values() if worker.current is not None]

    def submit(self, found: Pass) -> None:
        """Have a pass run as soon as a worker runs."""
        self._ready.append(found)
        if self._coming * self.spread < len(self._ready):
            self._call_worker()

    def _call_worker(self) -> None:
        self._coming += 1
        if self._idle:
            trio.lowlevel.reschedule(self._idle.pop().task)
        else:
            self._nursery.start_soon(self._work, name="actorflow branch")

    async def _work(self) -> None:
        task = trio.lowlevel.current_task()
        baseline = copy_context()
        with trio.CancelScope() as scope:
            worker = self.workers[task] = Worker(scope, task)
            try:
                while True:
                    self._coming -= 1
                    await self._run_ready(worker)
                    if len(self._idle) >= IDLE_MAX or copy_context() != baseline:
                        return  # a context that a step has changed is not for another step
                    self._idle.append(worker)
                    await trio.lowlevel.wait_task_rescheduled(lambda _: self._leave(worker))
            finally:
                del self.workers[task]
                if self._ready and self._coming * self.spread < len(self._ready):
                    self._call_worker()
                self.tell()

    def _leave(self, worker: Worker) -> trio.lowlevel.Abort:
        if worker in self._idle:
            self._idle.remove(worker)
            return trio.lowlevel.Abort.SUCCEEDED
        return trio.lowlevel.Abort.FAILED  # called, and about to run

    async def _run_ready(self, worker: Worker) -> None:
        ready = self._ready
        stride = 0
        while ready:
            found = ready.popleft()
            if ready and self._coming == 0:
                self._call_worker()
            if found.stop_reason is not None:
                found.skip()
                continue
            worker.current = found
            found.worker = worker
            try:
                await found.run()
            finally:
                worker.current = None
                found.worker = None
            if worker.stopped:
                await trio.lowlevel.checkpoint()
            stride += 1
            if stride == STRIDE:
                stride = 0
                await trio.lowlevel.cancel_shielded_checkpoint()
        self.tell()

    def pass_of(self, task: trio.lowlevel.Task | None) -> Pass | None:
        """The pass that `task` runs for, if it is a worker or a descendant of one."""
        while task is not None:
            worker = self.workers.get(task)
            if worker is not None:
                return worker.current
            nursery = task.parent_nursery
            task = nursery.parent_task if nursery is not None else None
        return None

    # --- closing

    @property
    def moving(self) -> bool:
        """Whether a pass runs, or waits to, that is not itself waiting for its run: for a child, or a value."""
        return bool(self._ready) or not all(found.is_parked for found in self.live)

    @property
    def busy(self) -> bool:
        """Whether a pass runs or waits to."""
        return bool(self._ready or self.live)

    async def still(self) -> None:
        """Wait until no pass is moving."""
        await self._until(lambda: not self.moving)

    async def empty(self) -> None:
        """Wait until no pass runs and none waits to."""
        await self._until(lambda: not self.busy)

    async def _until(self, quiet: Callable[[], bool]) -> None:
        while not quiet():
            event = trio.Event()
            self._waiting.append((quiet, event))
            await event.wait()

    def tell(self) -> None:
        """A pass has ended, or has begun to wait for its run: whoever waits for quiet may have it."""
        if self._waiting:
            waiting, self._waiting = self._waiting, []
            for quiet, event in waiting:
                if quiet():
                    event.set()
                else:
                    self._waiting.append((quiet, event))

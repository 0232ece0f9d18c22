"""Time, chance and threads: the one seam through which they enter.

What lives here: the wall clock of a runtime, its dice, and the thread in which blocking work runs. Nothing else in
the package reads a clock or rolls dice. What does not: timers (`timers`).
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")


class RunClock:
    """Epoch seconds that advance with trio's clock, and whatever else a run must not make up by itself.

    Under trio's `MockClock` all of it is virtual: wall time is what it was at the start plus virtual time passed.
    """

    def __init__(self) -> None:
        self._trio = trio.lowlevel.current_clock()
        self._offset = time.time() - self._trio.current_time()
        self._read = self._trio.current_time
        self._dice = random.Random()
        self._held = 0
        self._threshold = float("inf")

    def now(self) -> float:
        """Epoch seconds."""
        return self._read() + self._offset

    def deadline(self, epoch_s: float) -> float:
        """The same instant on trio's clock."""
        return epoch_s - self._offset

    def elapsed(self) -> float:
        """Seconds on a real clock, for measuring; never for a decision."""
        return time.perf_counter()

    def dice(self) -> float:
        """A uniform number in [0, 1)."""
        return self._dice.random()

    def new_run_id(self) -> str:
        """A run id that nobody has."""
        return uuid.uuid4().hex

    @property
    def virtual(self) -> bool:
        """Whether this is a mock clock."""
        return hasattr(self._trio, "autojump_threshold")

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Keep a mock clock from jumping while a thread works: trio takes a task that waits for one as idle."""
        self._change_hold(1)
        try:
            yield
        finally:
            self._change_hold(-1)

    @contextmanager
    def release(self) -> Iterator[None]:
        """Inside a `hold`: the thread itself waits for trio now, and time may pass."""
        self._change_hold(-1)
        try:
            yield
        finally:
            self._change_hold(1)

    def _change_hold(self, by: int) -> None:
        clock = self._trio
        if not isinstance(getattr(clock, "autojump_threshold", None), float | int):
            return
        was, self._held = self._held, self._held + by
        if was == 0:
            self._threshold = getattr(clock, "autojump_threshold")  # noqa: B009 - MockClock is not imported here
            setattr(clock, "autojump_threshold", float("inf"))  # noqa: B010 - the same
        elif self._held == 0:
            setattr(clock, "autojump_threshold", self._threshold)  # noqa: B010 - the same


class WriterThread:
    """One thread for the journal's blocking work: 79 µs a call, where a pool takes 134.

    A call is never abandoned: what was handed over is waited for, also by a cancelled caller.
    """

    def __init__(self, clock: RunClock) -> None:
        self._clock = clock
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function()`, computed in the thread."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="actorflow journal", daemon=True)
            self._thread.start()
        task = trio.lowlevel.current_task()
        token = trio.lowlevel.current_trio_token()

        def job() -> None:
            result = outcome.capture(function)
            token.run_sync_soon(trio.lowlevel.reschedule, task, result)

        with self._clock.hold():
            self._jobs.put(job)
            found: T = await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)
        return found

    def stop(self) -> None:
        """End the thread; everything handed over has been answered by then."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()

"""Time, chance and threads: the one seam through which they enter.

What lives here: the world that a runtime is opened in, its wall clock, its dice, and the thread in which blocking work
runs. Nothing else in the package reads a clock or rolls dice, so a simulated world makes a runtime repeatable
(`actorflow.testing.simulation`). What does not: timers (`timers`).
"""

from __future__ import annotations

import random
import threading
import time
import uuid
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TYPE_CHECKING, Protocol, TypeVar

import outcome
import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from .guests import Guest
    from .passes import Pass
    from .run_store import RunStore

T = TypeVar("T")


class Thread(Protocol):
    """Where blocking work runs: an executor that ends with the runtime."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function()`."""
        ...

    def stop(self) -> None:
        """Nothing more comes."""
        ...


class World:
    """What a runtime takes from outside: the real one."""

    face: Callable[[RunStore, Pass | Guest], RunStore] | None = None
    """What stands before the run store that a step is given; for tests that record what it does."""
    merged: Callable[[str, Iterable[str]], None] | None = None
    """Told when a child's changes come back into a run: the run, and the keys; for such tests, too."""

    eager = True
    """Whether a message to an idle run in memory is decided in the turn of its sender."""
    stride = 16
    """Writes to idle runs in memory after which the writer lets the other tasks have a turn: a few µs each."""
    spread = 8
    """Steps that are ready, in memory, for which one task is called; it calls the next when one of them waits."""

    probe: Callable[[str], None] | None = None
    """Told of each of the `places` that is reached; for tests."""

    def wall(self) -> float:
        """Epoch seconds."""
        return time.time()

    def dice(self) -> random.Random:
        """Dice for one runtime."""
        return random.Random()

    def new_run_id(self) -> str:
        """A run id that nobody has."""
        return uuid.uuid4().hex

    def thread(self, clock: RunClock) -> Thread:
        """Where the journal's blocking work runs."""
        return WriterThread(clock)


_world: World = World()


@contextmanager
def opened_in(world: World) -> Iterator[None]:
    """Runtimes that are opened meanwhile, and their steps, live in this world."""
    global _world  # noqa: PLW0603 - one world at a time, like one run of trio's at a time in a thread
    before, _world = _world, world
    try:
        yield
    finally:
        _world = before


class RunClock:
    """Epoch seconds that advance with trio's clock, and whatever else a run must not make up by itself.

    Under trio's `MockClock` all of it is virtual: wall time is what it was at the start plus virtual time passed.
    """

    def __init__(self) -> None:
        self.world = _world
        self._trio = trio.lowlevel.current_clock()
        self._offset = self.world.wall() - self._trio.current_time()
        self._read = self._trio.current_time
        self._dice = self.world.dice()
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
        return self.world.new_run_id()

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

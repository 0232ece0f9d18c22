"""Running trio on virtual time, with everything in one thread, so that a run can be had again and cannot hang.

What lives here: the clock, and `simulated`. What does not: control over single decisions: a crash at every write needs
one run of a workload and not thousands.
"""

from __future__ import annotations

import gc
import math
import sys
from typing import TYPE_CHECKING, Final, TypeVar

import trio

from actorflow.testing import simulation

from ..nested.driving import seeded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

T = TypeVar("T")

HANG_S: Final = 100_000.0
"""Virtual seconds after which a run hangs; the longest pause that anything takes on purpose is 30."""
ROUNDS_MAX: Final = 100_000
"""Rounds of trio's loop after which a run hangs; the largest workload takes some ten thousand."""
IDLE_MAX: Final = 200
"""Looks at a loop in which nobody can run and no time is waited for, after which it hangs."""


class Hang(Exception):
    """Something that should have ended did not."""


class Inline:
    """Blocking work where it is asked for: no thread, so always the same order."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result."""
        return function()


class HangingClock(trio.abc.Clock):
    """Virtual time that jumps to the next deadline as soon as nobody can run, and an error as soon as there is none.

    Unlike `MockClock` it gets out of what is shielded: an error of the clock ends the whole loop.
    """

    def __init__(self, begin_s: float) -> None:
        self.autojump_threshold = math.inf  # by this the library knows virtual time
        self.hung = ""
        self._now = begin_s
        self._end_s = begin_s + HANG_S
        self._rounds = 0
        self._idle = 0

    def start_clock(self) -> None:
        """Nothing runs by itself."""

    def current_time(self) -> float:
        """Virtual seconds."""
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            self._hang(f"it turned {ROUNDS_MAX:,} rounds")
        return self._now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Never sleep: the time has come. Called when nobody can run."""
        if deadline == math.inf:
            self._idle += 1
            if self._idle > IDLE_MAX:
                self._hang("everybody waits for something that nobody will do")
        elif deadline > self._now:
            self._now = deadline
            if self._now > self._end_s:
                self._hang(f"{HANG_S:,.0f} virtual seconds have passed")
        return 0.0

    def _hang(self, reason: str) -> None:
        self.hung = self.hung or reason
        raise Hang(reason)


class _World(simulation.SimulatedWorld):
    """Wall time is virtual, too: it stands in the facts, whose size must be the same again. Nothing is recorded."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._made = 0


def simulated(seed: int, function: Callable[[], Awaitable[T]], *, begin_s: float = 0.0) -> T:
    """The result of the async function, run on virtual time with the order of tasks that follows from the seed.

    Time begins at `begin_s`: later lives of one file come later.

    Raises `Hang` if it would not end.
    """
    clock = HangingClock(begin_s)
    before = sys.unraisablehook
    world = simulation.opened_in(_World(seed))  # type: ignore[attr-defined]  # it is there, if not by a door of its own
    with seeded(seed), world:
        try:
            return trio.run(function, clock=clock)
        except BaseException:
            if not clock.hung:
                raise
            sys.unraisablehook = _ignore  # the stranded coroutines complain when they go: here, where it is expected
    try:
        gc.collect()
    finally:
        sys.unraisablehook = before
    raise Hang(clock.hung)


def _ignore(_: object) -> None:
    pass


def at_once(coroutine: Coroutine[object, None, T]) -> T:
    """The result of a coroutine that never waits, because its blocking work is inline."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        found: T = stop.value
        return found
    raise AssertionError("it waits")

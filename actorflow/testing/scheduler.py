"""One decision a task step, made by us: the controlled schedule.

What lives here: the scheduler that stands in the place of trio's dice, decisions and their digest, the detection of
deadlocks and livelocks. What does not: whom to choose (`policies`), the programs that run under it (`simulation`).

How it works. trio hands its batch of runnable tasks to `shuffle` and then pops from the end of that very list. We take
all of them out and put one back; after its step, an instrument puts the next chosen one onto the same list, newly
runnable tasks included. So the batch goes on, one chosen task after the other, until nobody may run. Every so many
steps it is left, so that trio sees to deadlines and to what comes from outside.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from . import trio_internals
from .policies import NOBODY, Policy, Replay, encoded

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio.testing import MockClock

__all__ = ["Livelock", "Scheduler", "Stuck"]

BURST: Final = 256
"""Steps after which trio's loop has a look at deadlines."""

IDLE_MAX: Final = 3
"""Turns of the loop without anything to do, after which it is a deadlock: one may be that of a clock about to jump."""

STEPS_A_DECISION: Final = 4
"""Task steps that may come for each decision: a task that spins alone leaves nothing to decide."""

MASK: Final = (1 << 61) - 1


class Stuck(AssertionError):
    """Every task waits, and nothing can wake any: a deadlock. The message names the tasks."""


class Livelock(AssertionError):
    """The schedule took more decisions than it may; it does not seem to end."""


class Abandoned(BaseException):
    """Thrown into the tasks of a schedule that cannot be ended in any other way."""


class Scheduler(trio.abc.Instrument):
    """Orders the tasks of one run of trio by a policy; `begin` starts a new schedule.

    Attributes:
        choices: what was chosen, relative to the running task; steps with only one task to run are none.
        widths: among how many.
        digest: of the whole schedule: equal schedules have equal digests, in every process and on every Python.
        failure: why the schedule was given up.
        dirty: tasks were thrown out of where they waited: this run of trio is of no more use.
    """

    def __init__(self, clock: MockClock) -> None:
        self._batch: list[trio.lowlevel.Task] = []
        self._pool: list[trio.lowlevel.Task] = []
        self._last: trio.lowlevel.Task | None = None
        self._burst = 0
        self._idle = 0
        self.dirty = False
        self._policy: Policy = Replay({})
        self._limit = 0
        self._scope: trio.CancelScope | None = None
        self._watch: Callable[[int], None] | None = None
        self._tick = 0.0
        self._clock = clock
        self._begin()

    def _begin(self) -> None:
        self.choices: list[int] = []
        self.widths: list[int] = []
        self.digest = 0
        self.steps = 0
        self.failure: BaseException | None = None
        self._last = None
        self._idle = 0

    def begin(
        self,
        policy: Policy,
        scope: trio.CancelScope,
        *,
        limit: int,
        tick: float = 0.0,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        """A new schedule.

        Args:
            policy: who chooses.
            scope: around the program; cancelled when the schedule is given up.
            limit: decisions after which it is given up.
            tick: virtual seconds that each task step takes. With 0 time stands still as long as anybody may run, so
                nothing is ever due in the middle of something else.
            watch: called with the number of each decision, before it is made; for faults.
        """
        self._begin()
        self._policy, self._scope, self._limit, self._tick, self._watch = policy, scope, limit, tick, watch

    def end(self) -> None:
        """The program is over; until the next one, tasks run as they come."""
        self._scope = None
        self._tick = 0.0
        self._watch = None
        self._policy = Replay({})

    # --- what trio takes for its dice

    def random(self) -> float:
        """Asked only by a trio that does not shuffle."""
        return 0.75

    def uniform(self, low: float, high: float) -> float:
        """Asked for the offset of the system clock."""
        return low

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Take the batch over: all but one are kept here."""
        self._batch = batch
        self._burst = 0
        self._pool = batch[:]
        batch.clear()
        if self._pool:
            self._pick()

    # --- what trio tells

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Put the next one onto the batch."""
        runnable = trio_internals.runner().runq
        pool = self._pool
        self._last = task
        self.steps += 1
        if self.steps == STEPS_A_DECISION * self._limit and self._scope is not None:
            self.give_up(Livelock(f"no end after {self.steps} task steps; it seems to turn in circles"))
        if runnable:
            pool.extend(runnable)
            runnable.clear()
            if len(pool) > 1:
                pool.sort(key=trio_internals.age)
        if not pool:
            return
        self._burst += 1
        if self._burst >= BURST or (self._tick and self._pass_time()):
            runnable.extend(pool)
            pool.clear()
            return
        self._pick()

    def _pass_time(self) -> bool:
        """The step has taken its time; whether something is due now."""
        self._clock.jump(self._tick)
        return trio_internals.runner().deadlines.next_deadline() <= trio.current_time()

    def before_io_wait(self, timeout: float) -> None:
        """Nobody may run. If nothing can change that, it is a deadlock; a mock clock would turn around for ever."""
        if self._scope is None:
            return
        loop = trio_internals.runner()
        if not trio_internals.is_idle(loop):
            self._idle = 0
            return
        self._idle += 1
        if self._idle > IDLE_MAX:
            self._idle = 0
            if self.failure is None:
                self.give_up(Stuck(_waiting()))
            else:  # cancelled, and it waits all the same: behind a shield
                self.dirty = True
                trio_internals.throw_into_all(loop, Abandoned)

    def give_up(self, failure: BaseException) -> None:
        """End this schedule: cancel the program, and let its tasks run as they come."""
        if self.failure is None:
            self.failure = failure
            self._policy = Replay({})
            self._watch = None
            if self._scope is not None:
                self._scope.cancel()

    def _pick(self) -> None:
        pool = self._pool
        count = len(pool)
        if count == 1:
            self._batch.append(pool.pop())
            return
        try:
            last = self._last
            current = pool.index(last) if last is not None and last in pool else NOBODY
            step = len(self.choices)
            if self._watch is not None:
                self._watch(step)
            index = self._policy.choose(pool, current, step)
            choice = encoded(index, current)
            self.choices.append(choice)
            self.widths.append(count)
            self.digest = (self.digest * 1_000_003 + choice * 257 + count) & MASK
            if step >= self._limit and self.failure is None:
                self.give_up(Livelock(f"no end after {step} scheduling decisions; it seems to turn in circles"))
        except BaseException as error:  # noqa: BLE001 - trio drops an instrument that raises, and our tasks with it
            self.give_up(error)
            index = 0
        self._batch.append(pool.pop(index))


def _waiting() -> str:
    tasks = [task for task in trio_internals.runner().tasks if trio_internals.is_below_main(task)]
    names = [f"{task.name} in {_place(task)}" for task in sorted(tasks, key=trio_internals.age)]
    return f"nothing can happen any more; {len(names)} tasks wait: {'; '.join(names[:12])}"


def _place(task: trio.lowlevel.Task) -> str:
    inner = [frame.f_code for frame, _ in task.iter_await_frames()]
    own = [code.co_qualname if hasattr(code, "co_qualname") else code.co_name for code in inner]
    outside = [
        name for name, code in zip(own, inner, strict=True) if "/trio/" not in code.co_filename.replace("\\", "/")
    ]
    return outside[-1] if outside else own[-1] if own else "its beginning"

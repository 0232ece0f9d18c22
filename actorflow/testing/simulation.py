"""Programs under a controlled schedule, one after the other in one run of trio, each in a world of its own.

What lives here: the simulated world (virtual time, seeded dice and ids, threads in lockstep), and running one
schedule. What does not: ordering tasks (`scheduler`), which schedules there are (`exploring`).
"""

from __future__ import annotations

import gc
import logging
import random
import threading
from collections.abc import Awaitable, Callable
from contextlib import contextmanager
from contextvars import copy_context
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple, cast

import outcome
import trio
import trio.testing
from attrs import define, field, frozen

from .._runtime.clock import World, opened_in
from . import trio_internals
from .policies import Policy, policy_of
from .recorder import Recorder
from .scheduler import Abandoned, Livelock, Scheduler, Stuck

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .._runtime.clock import RunClock, Thread

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH_S: Final = 1_800_000_000.0
"""When a simulated world begins: wall time is part of the facts, and must be the same again."""

HASTE: Final = ((False, 1, 1), (False, 1, 1), (False, 2, 2), (True, 1, 1), (True, 16, 8))
"""Whether an idle run in memory decides in the sender's turn, how many writes and how many steps for one task come
before others have a turn. The last is what the real world does, where switching costs time; the others show what may
happen there all the same."""

TICKS_S: Final = (0.0, 0.0, 0.0, 0.001, 0.03)
"""Virtual seconds that a task step takes, by seed: a slow machine, on which things are due in the middle of others."""

DECISIONS_MAX: Final = 100_000
"""Of one schedule. A schedule of some dozens of branches takes some thousands."""


@frozen
class Schedule:
    """A program, and the order in which its tasks will run.

    Args:
        seed: of the world: dice, ids.
        program: what is run.
        policy: who chooses; None: that of the seed.
        limit: decisions after which it counts as one that never ends.
        watch: called with the number of each decision before it is made.
        places: called with each named place of the runtime that is reached, and with how often it has been.
        recorder: where the calls of run stores are put down; whoever watches may look into it.
    """

    seed: int
    program: Callable[[], Awaitable[object]]
    policy: Policy | None = None
    limit: int = DECISIONS_MAX
    watch: Callable[[int], None] | None = None
    places: Callable[[str, int], None] | None = None
    recorder: Recorder = field(factory=Recorder)


@define(eq=False)
class Passage:
    """One schedule that was run.

    Attributes:
        seed: its seed.
        value: what the program returned.
        error: what it raised instead, or `Stuck`, or `Livelock`.
        choices: the decisions, relative to the task that ran before; see `policies.encoded`.
        widths: among how many tasks each was made.
        digest: of all decisions: equal schedules have equal ones.
        steps: task steps, those without a choice included.
        recorder: what the steps of the runtimes in it asked of their run stores.
    """

    seed: int
    value: object = None
    error: BaseException | None = None
    choices: list[int] = field(factory=list)
    widths: list[int] = field(factory=list)
    digest: int = 0
    steps: int = 0
    recorder: Recorder = field(factory=Recorder)

    @property
    def switches(self) -> dict[int, int]:
        """The decisions that were not to go on with the running task."""
        return {step: choice for step, choice in enumerate(self.choices) if choice}


class SimulatedWorld(World):
    """What a runtime takes from outside, made from a seed."""

    def __init__(self, seed: int, recorder: Recorder) -> None:
        self._seed = seed
        self._made = 0
        self.eager, self.stride, self.spread = random.Random(f"haste {seed}").choice(HASTE)
        self.face = recorder.face
        self.merged = recorder.disturbed
        self.probe = recorder.reached

    def wall(self) -> float:
        """Epoch seconds, virtual."""
        return EPOCH_S + trio.current_time()

    def dice(self) -> random.Random:
        """Other dice for each runtime."""
        self._made += 1
        return random.Random(f"world {self._seed}, dice {self._made}")

    def new_run_id(self) -> str:
        """Counted."""
        self._made += 1
        return f"run-{self._made}"

    def thread(self, clock: RunClock) -> Thread:
        """None: the work is done at once, between two checkpoints."""
        return _Inline()


class _Inline:
    async def run(self, function: Callable[[], T]) -> T:
        await trio.lowlevel.cancel_shielded_checkpoint()
        result = outcome.capture(function)
        await trio.lowlevel.cancel_shielded_checkpoint()
        return result.unwrap()

    def stop(self) -> None:
        pass


# --- threads in lockstep


class _Ask:
    """What a thread wants to have done in trio."""

    def __init__(self, do: Callable[[], object], *, is_async: bool) -> None:
        self.do, self.is_async = do, is_async


class _Lane(threading.local):
    ask: Callable[[_Ask], object] | None = None


_lane = _Lane()


async def _to_thread(
    function: Callable[[*Ts], object],
    *arguments: *Ts,
    thread_name: str | None = None,
    abandon_on_cancel: bool = False,
    limiter: trio.CapacityLimiter | None = None,
) -> object:
    """In the place of `trio.to_thread.run_sync`: the thread runs while trio stands still, so the order is ours."""
    await trio.lowlevel.checkpoint_if_cancelled()
    if limiter is not None:
        async with limiter:
            return await _lockstep(partial(function, *arguments), thread_name)
    return await _lockstep(partial(function, *arguments), thread_name)


async def _lockstep(function: Callable[[], object], name: str | None) -> object:
    await trio.lowlevel.cancel_shielded_checkpoint()
    from_thread: SimpleQueue[_Ask | outcome.Outcome[object]] = SimpleQueue()
    to_thread: SimpleQueue[outcome.Outcome[object]] = SimpleQueue()

    def ask(wish: _Ask) -> object:
        from_thread.put(wish)
        return to_thread.get().unwrap()

    def work() -> None:
        _lane.ask = ask
        from_thread.put(outcome.capture(function))

    thread = threading.Thread(target=partial(copy_context().run, work), name=name, daemon=True)
    thread.start()
    while isinstance(said := from_thread.get(), _Ask):
        done = outcome.capture(said.do)
        if said.is_async and isinstance(done, outcome.Value):
            done = await outcome.acapture(_waited, cast("Awaitable[object]", done.value))
        to_thread.put(done)
    thread.join()
    await trio.lowlevel.cancel_shielded_checkpoint()
    return said.unwrap()


async def _waited(found: Awaitable[object]) -> object:
    return await found


def _from_thread(
    function: Callable[[*Ts], object], *arguments: *Ts, trio_token: object = None, is_async: bool
) -> object:
    if _lane.ask is None:
        raise RuntimeError("this thread was not made by trio.to_thread.run_sync(): its order cannot be controlled")
    return _lane.ask(_Ask(partial(function, *arguments), is_async=is_async))


@contextmanager
def _threads_in_lockstep() -> Iterator[None]:
    before = trio.to_thread.run_sync, trio.from_thread.run, trio.from_thread.run_sync
    try:
        setattr(trio.to_thread, "run_sync", _to_thread)  # noqa: B010 - replaced on purpose, which has no type
        setattr(trio.from_thread, "run", partial(_from_thread, is_async=True))  # noqa: B010 - the same
        setattr(trio.from_thread, "run_sync", partial(_from_thread, is_async=False))  # noqa: B010 - the same
        yield
    finally:
        trio.to_thread.run_sync, trio.from_thread.run, trio.from_thread.run_sync = before


@contextmanager
def _in_silence() -> Iterator[None]:
    """The crashes and failing writes that are made on purpose would each be told."""
    logger = logging.getLogger("actorflow")
    before = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(before)


@contextmanager
def _without_collector() -> Iterator[None]:
    """Finalizers would run at moments that nobody has chosen."""
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


# --- running


def run_schedules(schedules: Iterable[Schedule], done: Callable[[Passage], object]) -> None:
    """Run them one after the other; `done` is called with each, and says True to stop.

    Raises `RuntimeError` inside a run of trio.
    """
    if trio_internals.in_trio():
        raise RuntimeError("schedules are explored from a plain function, not from inside trio.run()")
    waiting = iter(schedules)
    is_over = False
    while not is_over:
        session = _Session(waiting, done)
        with trio_internals.ordered_by(session.scheduler), _threads_in_lockstep(), _without_collector(), _in_silence():
            trio.run(session.main, clock=session.clock, instruments=[session.scheduler])
        gc.collect()
        is_over = session.is_over


COLLECT_EVERY: Final = 200
"""Schedules in one run of trio, after which garbage is collected."""


class _Session:
    def __init__(self, schedules: Iterator[Schedule], done: Callable[[Passage], object]) -> None:
        self._schedules, self._done = schedules, done
        self.clock = trio.testing.MockClock(autojump_threshold=0)
        self.scheduler = Scheduler(self.clock)
        self.is_over = False

    async def main(self) -> None:
        for _ in range(COLLECT_EVERY):
            schedule = next(self._schedules, None)
            if schedule is None:
                self.is_over = True
                return
            # Every task of trio's own waits then, so each schedule begins at the same place.
            await trio.testing.wait_all_tasks_blocked()
            trio_internals.rewind(self.clock)
            passage = Passage(schedule.seed, recorder=schedule.recorder)
            passage.recorder.watch = schedule.places
            await self._run(schedule, passage)
            if self._done(passage):
                self.is_over = True
                return
            if self.scheduler.dirty:
                return

    async def _run(self, schedule: Schedule, passage: Passage) -> None:
        scheduler = self.scheduler

        async def program() -> None:
            passage.value = await schedule.program()

        policy = policy_of(schedule.seed) if schedule.policy is None else schedule.policy
        try:
            with opened_in(SimulatedWorld(schedule.seed, passage.recorder)), trio.CancelScope() as scope:
                tick = random.Random(f"tick {schedule.seed}").choice(TICKS_S)
                scheduler.begin(policy, scope, limit=schedule.limit, tick=tick, watch=schedule.watch)
                async with trio.open_nursery() as nursery:  # below the main task, so that it can be thrown out
                    nursery.start_soon(program)
        except* Abandoned:
            pass
        except* Exception as group:  # noqa: BLE001 - whatever a user's program raises is a finding
            passage.error = single(group)
        finally:
            scheduler.end()
        if scheduler.failure is not None:
            if not isinstance(scheduler.failure, Stuck | Livelock):
                raise scheduler.failure
            passage.error = scheduler.failure
        passage.choices, passage.widths = scheduler.choices, scheduler.widths
        passage.digest, passage.steps = scheduler.digest, scheduler.steps


def single(error: BaseException) -> BaseException:
    """The error itself, if it is the only one of its group."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error

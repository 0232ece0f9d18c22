"""Every private name of trio that the test kit touches, in one place.

What lives here: taking the order of tasks over, and looking at the run loop. What does not: who runs next
(`policies`), the loop around it (`scheduler`).

trio has no public way to choose the order of tasks (its request 2675 is open). Since 0.9 its run loop lets a plugin of
Hypothesis seed the order: `_ALLOW_DETERMINISTIC_SCHEDULING` makes it sort each batch of runnable tasks by age and hand
it to `_r.shuffle`, and then it pops tasks from the end of that very list. A test runs the golden schedule on the
oldest and on the newest supported trio, so a change there is seen at once.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, cast

import outcome
import trio
from trio._core import _run

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableSequence

    from trio.testing import MockClock

__all__ = ["Shuffler", "UnknownTrio", "check", "ordered_by", "throw_into_all"]

MODULE_NAMES = ("_r", "_ALLOW_DETERMINISTIC_SCHEDULING", "GLOBAL_RUN_CONTEXT")


class UnknownTrio(RuntimeError):
    """The installed trio does not have what a controlled schedule needs."""


class Shuffler(Protocol):
    """What stands in the place of trio's dice: `random.Random` is one."""

    def shuffle(self, batch: list[trio.lowlevel.Task]) -> None:
        """Order the tasks that run next; the last one runs first."""
        ...

    def random(self) -> float:
        """A number in [0, 1)."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number between the two."""
        ...


class _Deadlines(Protocol):
    def next_deadline(self) -> float: ...


class _EntryQueue(Protocol):
    def size(self) -> int: ...


class _Runner(Protocol):
    runq: MutableSequence[trio.lowlevel.Task]
    deadlines: _Deadlines
    waiting_for_idle: object
    entry_queue: _EntryQueue
    tasks: set[trio.lowlevel.Task]


def check() -> None:
    """Raise `UnknownTrio` if this trio is not made as we know it."""
    missing = [name for name in MODULE_NAMES if not hasattr(_run, name)]
    if missing:
        raise UnknownTrio(
            f"trio {trio.__version__} has no {', '.join(missing)}: controlled schedules are not possible with it; "
            "install another version of trio, or write to us which one this is"
        )


@contextmanager
def ordered_by(dice: Shuffler) -> Iterator[None]:
    """Until the block is left, runs of trio that begin in it have their tasks ordered by `dice`.

    With `random.Random(seed)` the order of each batch is a seeded shuffle. Raises `UnknownTrio`, and `RuntimeError`
    inside a run of trio: its order has been chosen already.
    """
    check()
    if in_trio():
        raise RuntimeError("the order of tasks cannot be taken over from inside trio.run(); do it around trio.run()")
    before = [getattr(_run, name) for name in MODULE_NAMES[:2]]
    try:
        for name, value in zip(MODULE_NAMES[:2], (dice, True), strict=True):
            setattr(_run, name, value)
        yield
    finally:
        for name, value in zip(MODULE_NAMES[:2], before, strict=True):
            setattr(_run, name, value)


def in_trio() -> bool:
    """Whether this thread runs trio now."""
    return hasattr(_run.GLOBAL_RUN_CONTEXT, "runner")


def runner() -> _Runner:
    """The run loop of this thread."""
    return cast("_Runner", _run.GLOBAL_RUN_CONTEXT.runner)


def is_idle(loop: _Runner) -> bool:
    """Whether nothing can ever happen again: no task may run, no deadline is ahead, nobody waits for that."""
    return not (loop.runq or loop.waiting_for_idle or loop.entry_queue.size()) and (
        loop.deadlines.next_deadline() == float("inf")
    )


def age(task: trio.lowlevel.Task) -> int:
    """Tasks in the order in which they were made."""
    return cast("int", getattr(task, "_counter"))  # noqa: B009 - private there, and so without a type


def rewind(clock: MockClock) -> None:
    """Set virtual time back to zero; nobody may be waiting for a time."""
    setattr(clock, "_virtual_base", 0.0)  # noqa: B010 - private there


def throw_into_all(loop: _Runner, error: type[BaseException]) -> int:
    """Make every blocked task below the main task raise `error` where it waits; how many. Call it until none is left.

    Tasks with children wait for those, and are left until they have gone. What was waited at is left in disorder: this
    run of trio must not be used for anything else.
    """
    scheduled = set(loop.runq)
    found = [task for task in loop.tasks if task not in scheduled and is_below_main(task) and not _has_children(task)]
    for task in sorted(found, key=age):
        trio.lowlevel.reschedule(task, outcome.Error(error()))
    return len(found)


def _has_children(task: trio.lowlevel.Task) -> bool:
    return any(nursery.child_tasks for nursery in task.child_nurseries)


def is_below_main(task: trio.lowlevel.Task) -> bool:
    nursery = task.parent_nursery
    return nursery is not None and nursery.parent_task.parent_nursery is not None

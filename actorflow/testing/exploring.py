"""Run a program under many schedules, find one that breaks it, make it small, tell it in words.

What lives here: `explore`, `replay`, and what they give. What does not: running one schedule (`simulation`), what is
done to a program on purpose (`faults`), judging (`judging`), making smaller (`shrinking`).
"""

from __future__ import annotations

import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from .explained import ScheduleFailure, told
from .judging import Invariant, Judge
from .policies import Policy, policy_of
from .programs import Lives, Program, ProgramFunction, Trial, program_of
from .repro import Repro
from .shrinking import Budget, shrink
from .simulation import DECISIONS_MAX, Passage, Schedule, run_schedules

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from .faults import Faults
    from .judging import Finding

    _Item = tuple[Trial, Policy | None, str]

__all__ = ["Exploration", "explore", "replay"]

CAREFUL_SEED: Final = 1
"""A world in which every call of a run store can be interrupted, and time stands still while anybody may run."""

AGAIN: Final = "again"
TWICE_EVERY: Final = 100
"""Each schedule of so many is run twice and compared: a program that is not the same again cannot be replayed."""


@define(eq=False)
class Exploration:
    """What an exploration did, when nothing was found.

    Attributes:
        schedules: how many were run, without the repeated ones; decisions: scheduling decisions in them; steps: task
            steps.
        distinct: how many of the schedules differed from each other.
        operations: calls of run stores that were recorded and checked.
        by_policy: schedules by the name of the policy.
        places: how often each named place of the runtime was reached, such as "commit: written".
        crashes: how often the program was crashed on purpose, and faults: writes of its journal that failed.
        undecided: runs whose store calls were too tangled to be judged.
        repeated: schedules that were run twice to see whether they are the same again; unrepeatable: seeds of those
            that were not.
        complete: whether these were all schedules there are, within `preemptions`.
        seconds: processor time.
    """

    schedules: int = 0
    decisions: int = 0
    steps: int = 0
    operations: int = 0
    crashes: int = 0
    faults: int = 0
    undecided: int = 0
    repeated: int = 0
    unrepeatable: list[int] = field(factory=list)
    complete: bool = False
    seconds: float = 0.0
    by_policy: Counter[str] = field(factory=Counter)
    places: Counter[str] = field(factory=Counter)
    _digests: set[int] = field(factory=set, repr=False)

    @property
    def distinct(self) -> int:
        """How many of the schedules differed."""
        return len(self._digests)

    def add(self, lives: Lives, passage: Passage, policy: str) -> None:
        """Count a schedule."""
        if policy == AGAIN:
            return
        self.schedules += 1
        self.decisions += len(passage.choices)
        self.steps += passage.steps
        self.operations += passage.recorder.operations
        self.crashes += lives.crashes
        self.faults += lives.failed_writes
        self.by_policy[policy] += 1
        self.places.update(passage.recorder.places)
        self._digests.add(passage.digest)

    def include(self, other: Exploration) -> None:
        """Add what another exploration did."""
        self.schedules += other.schedules
        self.decisions += other.decisions
        self.steps += other.steps
        self.operations += other.operations
        self.crashes += other.crashes
        self.faults += other.faults
        self.undecided += other.undecided
        self.repeated += other.repeated
        self.seconds += other.seconds
        self.unrepeatable += other.unrepeatable
        self.by_policy.update(other.by_policy)
        self.places.update(other.places)
        self._digests |= other._digests

    def __str__(self) -> str:
        kinds = ", ".join(f"{name} {count}" for name, count in sorted(self.by_policy.items()))
        text = (
            f"{self.schedules} schedules, {self.distinct} of them distinct ({kinds}); {self.decisions} decisions, "
            f"{self.operations} store calls checked"
        )
        if self.crashes or self.faults:
            text += f"; {self.crashes} crashes, {self.faults} failed writes"
        return f"{text}; {self.seconds:.1f} s"


def explore(
    program: ProgramFunction,
    *,
    seeds: int | Iterable[int] = 1000,
    faults: Faults | None = None,
    invariants: Iterable[Invariant] = (),
    plan: Callable[[random.Random], object] | None = None,
    preemptions: int | None = None,
    check_stores: bool = True,
    shrink_for: float = 30.0,
    max_decisions: int = DECISIONS_MAX,
) -> Exploration:
    """Run an async program under many schedules on virtual time; raise `ScheduleFailure` for the first that breaks it.

    A schedule says which task runs at every step, and comes from a seed. Broken means: the program raises, an
    invariant does not hold, nothing can happen any more (deadlock), it never ends (livelock), or some run store gave
    answers that no order of the calls explains. The failure is shrunk, and told with the seed that repeats it.

    Call it from a plain test function, not from inside trio. Threads of `trio.to_thread` run in lockstep; sockets,
    subprocesses and threads of your own are not controlled.

    Args:
        program: an async function. It is called with what its parameters ask for by name: `journal`, a durable journal
            in memory for `open_runtime(journal=…)`, that survives crashes; `plan`, what `plan` made.
        seeds: how many (0, 1, 2 …), or which.
        faults: crashes and failing writes to be drawn for each seed; the program needs the parameter `journal`, and is
            called again on the same journal after a crash.
        invariants: functions of what the program returned. One that returns False or a text, or raises, is broken.
        plan: makes what the program is to do, as JSON, from the dice of a seed. A plan can be shrunk: elements of its
            lists are left out.
        preemptions: instead of seeds, every schedule with at most so many departures from the plain order, in which a
            task goes on until it waits, and then the oldest one does.
        check_stores: record every call of every run store and check it.
        shrink_for: processor seconds for making a failure smaller; 0 keeps it as it was.
        max_decisions: of one schedule, after which it counts as one that never ends.

    Raises:
        ScheduleFailure: an `AssertionError`; `seed`, `switches`, `plan` and `repro` repeat it.
        TypeError: a parameter that cannot be filled. RuntimeError: called from inside trio.

    Example:
        >>> import trio
        >>> from actorflow.testing import explore
        >>> async def program():
        ...     total = []
        ...     async with trio.open_nursery() as nursery:
        ...         for number in (1, 2):
        ...             nursery.start_soon(add, total, number)
        ...     return sum(total)
        >>> async def add(total, number):
        ...     await trio.lowlevel.checkpoint()
        ...     total.append(number)
        >>> explore(program, seeds=50, invariants=[lambda total: total == 3]).schedules
        50
    """
    target = program_of(program, plan, faults)
    judge = Judge(tuple(invariants), check_stores=check_stores)
    found = Exploration()
    began = time.process_time()
    walk = _Walk(judge, found)
    if preemptions is None:
        failed = walk.go(_seeded(walk, target, seeds, max_decisions))
    else:
        failed = walk.go(_all(walk, target, preemptions, max_decisions))
    found.undecided = judge.undecided
    found.seconds = time.process_time() - began
    if found.unrepeatable:
        warnings.warn(
            f"{target.name}: the schedule of seed {found.unrepeatable[0]} went another way the second time: the "
            "program takes something from outside (time, random numbers, the order of a set of texts), so a failure "
            "may not come again",
            stacklevel=2,
        )
    if failed is None:
        return found
    trial, passage, finding = failed
    smallest = shrink(trial, passage, finding, judge, Budget(shrink_for))
    found.seconds = time.process_time() - began
    raise ScheduleFailure(told(smallest, found, target.name), smallest, found)


def replay(
    program: ProgramFunction,
    seed: int | str | Path | Repro,
    *,
    faults: Faults | None = None,
    invariants: Iterable[Invariant] = (),
    plan: Callable[[random.Random], object] | None = None,
    check_stores: bool = True,
    max_decisions: int = DECISIONS_MAX,
) -> object:
    """Run one schedule again: what the program returns, or the same `ScheduleFailure`.

    Args:
        program: as given to `explore`.
        seed: of the schedule; or the `repro` of a failure, its text, or a file that holds it: then it is the shrunk
            schedule, which stays the same when the makers of plans change.
        faults: as given to `explore`, and so are the following.
        invariants: what must hold.
        plan: the maker of plans.
        check_stores: whether the run stores are checked.
        max_decisions: of the schedule.
    """
    target = program_of(program, plan, faults)
    judge = Judge(tuple(invariants), check_stores=check_stores)
    repro = Repro.of(seed)
    trial = target.trial(repro.seed, limit=max_decisions)
    if repro.switches is not None:
        trial = evolve(trial, plan=repro.plan, switches=repro.switches, fate=repro.fate)
    walk = _Walk(judge, Exploration())
    failed = walk.go([(trial, None if repro.switches is not None else policy_of(repro.seed), "replay")])
    if failed is None:
        return None if walk.last is None else walk.last.value
    failure = shrink(*failed, judge, Budget(0))
    raise ScheduleFailure(told(failure, walk.found, target.name), failure, walk.found)


# --- the ways to go through schedules

_Failed = tuple[Trial, "Passage", "Finding"]


@define(eq=False)
class _Walk:
    """Goes through trials one after the other, until one fails."""

    judge: Judge
    found: Exploration
    failed: _Failed | None = None
    last: Passage | None = None

    def go(self, trials: Iterable[tuple[Trial, Policy | None, str]]) -> _Failed | None:
        """Run them; the one that fails, if any."""
        waiting: list[tuple[Trial, Lives, str]] = []

        def schedules() -> Iterator[Schedule]:
            for trial, policy, name in trials:
                lives = trial.begin(policy)
                waiting.append((trial, lives, name))
                yield lives.schedule()

        def done(passage: Passage) -> bool:
            trial, lives, name = waiting.pop()
            self.last = passage
            self.found.add(lives, passage, name)
            finding = self.judge.judge(passage)
            if finding is not None:
                self.failed = trial, passage, finding
            return finding is not None

        run_schedules(schedules(), done)
        return self.failed


def _seeded(walk: _Walk, target: Program, seeds: int | Iterable[int], limit: int) -> Iterator[_Item]:
    """One trial a seed; some of them twice, to see that they are the same again."""
    for count, seed in enumerate(range(seeds) if isinstance(seeds, int) else seeds, 1):
        trial = target.trial(seed, limit=limit)
        policy = policy_of(seed)
        yield trial, policy, policy.name
        first = walk.last
        if count % TWICE_EVERY == 1 and first is not None:
            yield trial, policy_of(seed), AGAIN
            second = walk.last
            walk.found.repeated += 1
            if second is not None and (first.digest, len(first.choices)) != (second.digest, len(second.choices)):
                walk.found.unrepeatable.append(seed)


def _all(walk: _Walk, target: Program, bound: int, limit: int) -> Iterator[_Item]:
    """Depth first: every schedule with at most so many departures from the plain order."""
    prefix: list[int] = []
    while True:
        yield target.trial(CAREFUL_SEED, limit=limit, switches=dict(enumerate(prefix))), None, "all"
        passage = walk.last
        assert passage is not None
        following = _next(passage, bound)
        if following is None:
            walk.found.complete = True
            return
        prefix = following


def _next(passage: Passage, bound: int) -> list[int] | None:
    """The choices that lead to the next schedule; None if that was the last one."""
    choices, widths = passage.choices, passage.widths
    used = [0]
    for choice in choices:
        used.append(used[-1] + bool(choice))
    for step in range(len(choices) - 1, -1, -1):
        if choices[step] + 1 < widths[step] and used[step] < bound:
            return [*choices[:step], choices[step] + 1]
    return None

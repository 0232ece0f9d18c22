"""A crash at every point of a program, a second one while it recovers, and the same result in the end.

What lives here: `crash_everywhere`: which points there are, and going through them. What does not: the lives of a
program on one disk (`programs`), what counts as the same result (`sameness`), crashes at random points under many
schedules (`explore` with `Faults`).
"""

from __future__ import annotations

import time
import warnings
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field

from .faults import Fate
from .judging import Finding, Invariant, Judge
from .programs import Lives, Program, ProgramFunction, Trial, program_of
from .repro import Repro
from .sameness import difference
from .simulation import DECISIONS_MAX, Passage, Schedule, run_schedules

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Compare = Callable[[object, object], object]

__all__ = ["CrashFailure", "CrashReport", "crash_everywhere"]

SIDES: Final = ("crash", "crash after")
"""Before the write is there, and after it."""

EARLY: Final = 6
"""Of the writes and of the decisions of a recovery, so many are what most recoveries have: half of the second crashes
fall on them."""

SHOWN: Final = 600
"""Characters of a result that a message shows."""


@define(eq=False)
class CrashReport:
    """What a sweep of crashes did.

    Attributes:
        seeds: schedules that were swept.
        writes: of their journals, when nothing crashed, and decisions: scheduling decisions.
        points: runs in which something crashed; second: those of them in which the recovery crashed, too.
        crashes: how often a program was crashed, and recoveries: how often it was called again.
        undecided: runs whose store calls were too tangled to be judged.
        seconds: processor time.
    """

    seeds: int = 0
    writes: int = 0
    decisions: int = 0
    points: int = 0
    second: int = 0
    crashes: int = 0
    recoveries: int = 0
    undecided: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        return (
            f"{self.points} crash points, {self.second} of them with a second crash during recovery: {self.writes} "
            f"writes and {self.decisions} decisions of {self.seeds} schedules; {self.crashes} crashes, "
            f"{self.recoveries} recoveries; {self.seconds:.1f} s"
        )


class CrashFailure(AssertionError):
    """After a crash the program did not end as it does without one. The text says where, and how to have it again.

    Attributes:
        sentence: what is wrong.
        repro: `crash_everywhere(program, at=repro)` runs this point alone.
        expected: what the undisturbed run gave, and found: what came after the crash.
        report: what had been run by then.
    """

    def __init__(
        self, text: str, *, sentence: str, repro: Repro, expected: object, found: object, report: CrashReport
    ) -> None:
        super().__init__(text)
        self.sentence, self.repro, self.report = sentence, repro, report
        self.expected, self.found = expected, found

    def __reduce__(self) -> tuple[object, ...]:
        return AssertionError, (str(self),)  # what made it stays in the process that found it


def crash_everywhere(
    program: ProgramFunction,
    *,
    seeds: int | Iterable[int] = 1,
    decisions: bool = True,
    again: int = 1,
    compare: Compare | None = None,
    invariants: Iterable[Invariant] = (),
    check_stores: bool = True,
    max_decisions: int = DECISIONS_MAX,
    at: Repro | str | Path | None = None,
) -> CrashReport:
    """Run a program, crash it at every point there is, call it again on what its journal holds, compare the results.

    Write the program so that it can be called again after a real crash: it opens its runtime with the `journal` that it
    is given, starts runs with fixed run ids, and returns what has to be the same then. Each crash freezes the journal
    as it is, cancels the program, and calls it anew. Everything is on virtual time and under a controlled schedule, so
    a failure can be had again.

    Args:
        program: an async function with a parameter `journal`.
        seeds: how many schedules to sweep, or which.
        decisions: crash before every scheduling decision, too, and not only in the writes of the journal (before the
            write is there, and after it). It takes longer, and also finds what is done without being written.
        again: second crashes for every first one, while the program recovers: in its writes and before its decisions,
            most of them early.
        compare: is given the undisturbed result and the one after the crash; False, a text or an exception says that
            they differ. Default: they are equal; of a `RunOutcome` the status, output, state and failures are compared,
            lists in the state in any order, as branches push in any order. A run that was over before the crash has
            no state any more afterwards, unless its workflow has `keep_state`: then the state is left out.
        invariants: functions that are given each result; False, a text or an exception says that something is wrong.
        check_stores: whether what the branches were told by run stores must be linearizable, over the crashes.
        max_decisions: of one schedule, after which it counts as one that never ends.
        at: the `repro` of a failure, or its text: that one point is run.

    Returns what was done.

    Raises `CrashFailure` at the first point after which the result differs, `ValueError` for a program that writes
    nothing to its journal, `RuntimeError` inside a run of trio: call it from a plain function.

    Example:
        def test_orders_survive_crashes():
            async def orders(journal):
                async with open_runtime([OrderImport], journal=journal) as runtime:
                    run = await runtime.start(OrderImport, order, run_id="order-1")
                    return await run.wait()

            print(crash_everywhere(orders))
    """
    target = program_of(program)
    if "journal" not in target.wants:
        raise TypeError(f"{program!r} has no parameter `journal`: it must open its runtime with the one it is given")
    if isinstance(again, bool) or again < 0:
        raise ValueError(f"again={again!r}: give a whole number, at least 0")
    judge = Judge(tuple(invariants), check_stores=check_stores)
    sweep = _Sweep(target, judge, compare or difference, limit=max_decisions)
    began = time.process_time()
    try:
        if at is not None:
            sweep.go(partial(_alone, sweep, Repro.of(at)))
        else:
            sweep.go(partial(_all, sweep, range(seeds) if isinstance(seeds, int) else seeds, decisions, again))
    finally:
        sweep.report.seconds = time.process_time() - began
        sweep.report.undecided = judge.undecided
        if not sweep.is_same_again:
            warnings.warn(
                f"{target.name}: the same schedule went another way the second time: the program takes something from "
                "outside (time, random numbers, the order of a set of texts), so a failure may not come again",
                stacklevel=2,
            )
    return sweep.report


@define(eq=False)
class _Life:
    """A seed, crashed at some points; and where in it the program was called."""

    program: Program
    seed: int
    fate: Fate
    limit: int
    calls: list[tuple[int, int]] = field(factory=list)
    """Decisions and writes before each call."""
    passage: Passage = field(factory=partial(Passage, 0))
    lives: Lives = field(init=False)
    _step: int = 0

    def __attrs_post_init__(self) -> None:
        function = self.program.function

        async def noted(**given: object) -> object:
            self.calls.append((self._step, self.lives.writes))
            return await function(**given)

        program = evolve(self.program, function=noted)
        self.lives = Trial(program, self.seed, None, self.fate, None, self.limit).begin()

    def schedule(self) -> Schedule:
        """To be run."""
        return evolve(self.lives.schedule(), watch=self._watch)

    def _watch(self, step: int) -> None:
        self._step = step + 1
        self.lives._watch(step)


@define(eq=False)
class _Sweep:
    """Goes through trials one after the other, until one fails."""

    program: Program
    judge: Judge
    compare: Compare
    limit: int
    report: CrashReport = field(factory=CrashReport)
    last: _Life | None = None
    calm: _Life | None = None
    failed: tuple[Finding, _Life] | None = None
    is_same_again: bool = True

    def life(self, seed: int, fate: Fate | None = None) -> _Life:
        """A seed, crashed at these points."""
        return _Life(self.program, seed, fate or Fate(), self.limit)

    def go(self, lives: Callable[[], Iterator[_Life]]) -> None:
        """Run them; raise what is wrong."""
        waiting: list[_Life] = []

        def schedules() -> Iterator[Schedule]:
            for life in lives():
                waiting.append(life)
                yield life.schedule()

        def done(passage: Passage) -> bool:
            life = waiting.pop()
            life.passage = passage
            self.last = life
            finding = self._judge(life)
            if finding is not None:
                self.failed = finding, life
            return finding is not None

        run_schedules(schedules(), done)
        if self.failed is not None:
            raise self._failure(*self.failed)

    def _judge(self, life: _Life) -> Finding | None:
        report, fate = self.report, life.fate
        report.crashes += life.lives.crashes
        report.recoveries += len(life.calls) - 1
        if fate:
            report.points += 1
            report.second += life.lives.crashes > 1
        finding = self.judge.judge(life.passage)
        if finding is None and fate and self.calm is not None:
            finding = self._compared(self.calm.passage.value, life.passage.value)
        return finding

    def _compared(self, expected: object, found: object) -> Finding | None:
        try:
            said = self.compare(expected, found)
        except Exception as error:  # noqa: BLE001 - one that raises says that they differ
            said = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        if said is False or (isinstance(said, str) and said):
            why = f": {said}" if said else ""
            return Finding("result", f"the result is not that of the undisturbed run{why}")
        return None

    def _failure(self, finding: Finding, life: _Life) -> CrashFailure:
        name, calm = self.program.name, self.calm
        repro = Repro(seed=life.seed, fate=life.fate, program=name)
        expected = None if calm is None else calm.passage.value
        where = f"crashed on purpose ({life.fate})" if life.fate else "without any crash"
        lines = [f"{name}, {where}: {finding.sentence}"]
        if finding.detail:
            lines += ["", finding.detail.rstrip(), ""]
        if finding.kind == "result":
            lines += [f"undisturbed: {_short(expected)}", f"after the crash: {_short(life.passage.value)}"]
        lines.append(f"after {self.report.points} points; this one began {_turns(life)}")
        lines.append(f"again: crash_everywhere({name}, at={repro.to_json()!r}), with the other arguments as here")
        return CrashFailure(
            "\n".join(lines),
            sentence=finding.sentence,
            repro=repro,
            expected=expected,
            found=life.passage.value,
            report=self.report,
        )


def _turns(life: _Life) -> str:
    """The calls of the program, as a user counts them."""
    turns = [f"at decision {step} and write {writes}" for step, writes in life.calls]
    return ", again ".join(turns) or "never"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


# --- the points


def _calm(sweep: _Sweep, seed: int) -> Iterator[_Life]:
    """The undisturbed run of a seed."""
    life = sweep.life(seed)
    yield life
    sweep.calm = life
    sweep.report.seeds += 1
    sweep.report.writes += life.lives.writes
    sweep.report.decisions += len(life.passage.choices)
    if not life.lives.writes:
        raise ValueError(
            f"{sweep.program.name} writes nothing to its journal, so nothing can be lost: open the runtime with it "
            "(open_runtime([…], journal=journal)), and start a run there"
        )


def _alone(sweep: _Sweep, repro: Repro) -> Iterator[_Life]:
    """One point."""
    yield from _calm(sweep, repro.seed)
    yield sweep.life(repro.seed, repro.fate)


def _all(sweep: _Sweep, seeds: Iterable[int], decisions: bool, again: int) -> Iterator[_Life]:
    """Every point of every seed."""
    number = 0
    for count, seed in enumerate(seeds):
        yield from _calm(sweep, seed)
        calm = sweep.calm
        assert calm is not None
        if not count:
            yield from _repeatable(sweep, calm)
        points = [Fate((), {write: side}) for write in range(1, calm.lives.writes + 1) for side in SIDES]
        if decisions:
            points += [Fate((step,)) for step in range(len(calm.passage.choices))]
        for point in points:
            first = sweep.life(seed, point)
            yield first
            for turn in range(again):
                following = _second(point, first, number * again + turn)
                if following is not None:
                    yield sweep.life(seed, following)
            number += 1


def _repeatable(sweep: _Sweep, calm: _Life) -> Iterator[_Life]:
    """The undisturbed run a second time: it must be the same again, or nothing that is found could be."""
    twin = sweep.life(calm.seed)
    yield twin
    sweep.is_same_again = (twin.passage.digest, len(twin.passage.choices)) == (
        calm.passage.digest,
        len(calm.passage.choices),
    )


def _second(point: Fate, first: _Life, number: int) -> Fate | None:
    """A point in the recovery from the first one: over a sweep, writes and decisions, half of them early."""
    if len(first.calls) < 2:
        return None
    step, writes = first.calls[1]
    kind, number = number % 3, number // 3
    is_write = kind < len(SIDES) and first.lives.writes > writes
    count = first.lives.writes - writes if is_write else len(first.passage.choices) - step
    if count < 1:
        return None
    place = (number // 2) % (min(EARLY, count) if number % 2 else count)
    if is_write:
        return Fate(point.decisions, {**point.writes, writes + 1 + place: SIDES[kind]})
    return Fate((*point.decisions, step + place), point.writes)

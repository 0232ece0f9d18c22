"""Making a failure smaller: first what the program does, then what is done to it, then the order of its tasks.

What lives here: the search for a smaller trial that fails in the same way. What does not: what a failure is
(`judging`).

The order follows what a reader needs: a plan with two elements is easier to understand than any schedule. A smaller
plan fails under another schedule, so each is tried with the one that failed last and with some others. The order of
tasks is made smaller by delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input",
IEEE Transactions on Software Engineering 28(2), 2002) over its switches: all choices are relative to the running task,
so leaving one out means to go on.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from attrs import define, evolve

from .judging import Finding, Judge
from .policies import MIX
from .programs import Trial
from .simulation import Passage, Schedule, run_schedules

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["Budget", "Failure", "shrink"]

OTHER_SEEDS: Final = 12 * len(MIX)
"""Other schedules under which a smaller plan is tried."""


class Budget:
    """Processor time that may be spent."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.process_time() + seconds
        self.runs = 0

    @property
    def is_spent(self) -> bool:
        """Whether it is over."""
        return time.process_time() >= self._end


@define(eq=False)
class Failure:
    """A trial that fails, as small as it got.

    Attributes:
        trial: with its switches, so that it is this very schedule.
        passage: what it did.
        finding: what is wrong with it.
        origin: the trial that was found.
        decisions: of the origin; switches: of those, how many were not to go on.
        runs: schedules that were run to make it smaller.
    """

    trial: Trial
    passage: Passage
    finding: Finding
    origin: Trial
    decisions: int
    switches: int
    runs: int = 0


def shrink(trial: Trial, passage: Passage, finding: Finding, judge: Judge, budget: Budget) -> Failure:
    """The smallest trial that fails in the same way, as far as the budget goes."""
    decisions, switches = len(passage.choices), len(passage.switches)
    best = Failure(evolve(trial, switches=passage.switches), passage, finding, trial, decisions, switches)
    if not budget.seconds:
        return best
    search = _Search(best, judge, budget)
    search.drop_fate()
    search.shrink_plan()
    search.shrink_switches()
    best.runs = budget.runs
    return best


@define(eq=False)
class _Search:
    best: Failure
    judge: Judge
    budget: Budget

    def _first(self, trials: Iterator[Trial]) -> bool:
        """Whether one of these fails in the same way; the first is the best one then."""
        tried: list[Trial] = []
        found: list[bool] = []

        def schedules() -> Iterator[Schedule]:
            for trial in trials:
                if self.budget.is_spent:
                    return
                tried.append(trial)
                yield trial.begin().schedule()

        def done(passage: Passage) -> bool:
            self.budget.runs += 1
            finding = self.judge.judge(passage)
            if finding is None or finding.kind != self.best.finding.kind:
                return False
            found.append(True)
            self.best.trial = evolve(tried[-1], switches=passage.switches)
            self.best.passage, self.best.finding = passage, finding
            return True

        run_schedules(schedules(), done)
        return bool(found)

    # --- what the program does

    def shrink_plan(self) -> None:
        """Leave out elements of the plan's lists: large parts first, at any depth."""
        if self.best.trial.program.plan is None:
            return
        while not self.budget.is_spent:
            if not any(self._first(self._under_many(smaller)) for smaller in _smaller(self.best.trial.plan)):
                return

    def _under_many(self, plan: object) -> Iterator[Trial]:
        trial = self.best.trial
        yield evolve(trial, plan=plan)
        yield evolve(trial, plan=plan, switches=None)
        for seed in range(OTHER_SEEDS):
            yield evolve(trial, plan=plan, switches=None, seed=seed)

    # --- what is done to it

    def drop_fate(self) -> None:
        """Leave out crashes and failing writes."""
        part = 0
        while part < len(self.best.trial.fate) and not self.budget.is_spent:
            fate = self.best.trial.fate.without(part)
            if not self._first(
                iter([evolve(self.best.trial, fate=fate), evolve(self.best.trial, fate=fate, switches=None)])
            ):
                part += 1

    # --- the order of its tasks

    def shrink_switches(self) -> None:
        """Leave out switches: the end first, then parts, then one by one; then make each as small as it goes."""
        self._cut_end()
        parts = 2
        while (steps := sorted(self._switches)) and not self.budget.is_spent:
            size = max(1, len(steps) // parts)
            for begin in range(0, len(steps), size):
                gone = set(steps[begin : begin + size])
                if self._with({step: to for step, to in self._switches.items() if step not in gone}):
                    parts = max(parts - 1, 2)
                    break
            else:
                if size == 1:
                    break
                parts = min(parts * 2, len(steps))
        for step in sorted(self._switches):
            for choice in range(1, self._switches.get(step, 0)):
                if self._with({**self._switches, step: choice}):
                    break

    @property
    def _switches(self) -> Mapping[int, int]:
        return self.best.trial.switches or {}

    def _with(self, switches: Mapping[int, int]) -> bool:
        before = len(self._switches)
        if not self._first(iter([evolve(self.best.trial, switches=switches)])):
            return False
        # What was chosen is what was asked for, unless a step that is no more was asked about.
        return len(self._switches) <= before

    def _cut_end(self) -> None:
        steps = sorted(self._switches)
        low, high = 0, len(steps)
        while low < high and not self.budget.is_spent:
            middle = (low + high) // 2
            if self._with({step: self._switches[step] for step in steps[:middle] if step in self._switches}):
                steps = sorted(self._switches)
                high = min(middle, len(steps))
            else:
                low = middle + 1


def _smaller(value: object) -> Iterator[object]:
    """The same with a part left out of one of its lists: halves first, then single elements; outer lists first."""
    if isinstance(value, list):
        size = len(value)
        while size:
            for begin in range(0, len(value), size):
                yield value[:begin] + value[begin + size :]
            size //= 2
        for index, element in enumerate(value):
            for smaller in _smaller(element):
                yield [*value[:index], smaller, *value[index + 1 :]]
    elif isinstance(value, dict):
        for key, inner in value.items():
            for smaller in _smaller(inner):
                yield {**value, key: smaller}

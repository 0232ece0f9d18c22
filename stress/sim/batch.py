"""Some seeds of one scenario, run and judged in this process.

What lives here: a batch, and working it off. What does not: which batches there are (`campaign`), other processes
(`pool`), making a failure small and telling it (`failing`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast
from zlib import crc32

from attrs import define, field, frozen

from actorflow.testing.judging import Finding
from actorflow.testing.programs import Lives, Trial
from actorflow.testing.shrinking import Budget, shrink
from actorflow.testing.simulation import Passage, run_schedules

from .catalogue import scenario_of
from .driven import Driven, ScenarioJudge, Settings, findings, policy_for
from .failing import described
from .tally import ENDS, PROMISES, Tally, blamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.testing.simulation import Schedule

__all__ = ["REACHED", "TWICE_EVERY", "Batch", "work_off"]

TWICE_EVERY: Final = 97
"""Each such seed is run twice and compared. A prime number: so every policy of the mix has its turn."""

SEEDS_A_TURN: Final = 5
"""Seeds in one run of trio: garbage is collected after it, not before, and a large plan leaves megabytes of it."""

REACHED: Final = "the runtime reached: "


@frozen(kw_only=True)
class Batch:
    """Seeds `first` to `first + count - 1` of a scenario.

    Attributes:
        scenario: as it stands on the command line.
        shrink_for: processor seconds for making a failure small.
        known: kinds of failures that were made small before, and need not be again.
    """

    scenario: str
    first: int
    count: int
    settings: Settings = field(factory=Settings)
    shrink_for: float = 30.0
    known: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """For another process."""
        return {
            "scenario": self.scenario,
            "first": self.first,
            "count": self.count,
            "settings": self.settings.to_json(),
            "shrink_for": self.shrink_for,
            "known": list(self.known),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Batch:
        """From what `to_json` gave."""
        return cls(
            scenario=cast("str", value["scenario"]),
            first=cast("int", value["first"]),
            count=cast("int", value["count"]),
            settings=Settings.from_json(cast("Mapping[str, object]", value["settings"])),
            shrink_for=cast("float", value["shrink_for"]),
            known=tuple(cast("list[str]", value["known"])),
        )


def work_off(batch: Batch) -> Tally:
    """Run all seeds of a batch; what they came to."""
    walk = _Walk(batch, Driven(scenario_of(batch.scenario)))
    walk.go()
    return walk.tally


@define(eq=False)
class _Walk:
    """Goes through the seeds of a batch; after one that fails it goes on."""

    batch: Batch
    driven: Driven
    tally: Tally = field(factory=Tally)
    _known: set[str] = field(factory=set)
    _failed: tuple[Trial, Passage, Finding] | None = None
    _last: Passage | None = None

    def go(self) -> None:
        self._known = set(self.batch.known)
        seeds = range(self.batch.first, self.batch.first + self.batch.count)
        for begin in range(0, len(seeds), SEEDS_A_TURN):
            left = iter(seeds[begin : begin + SEEDS_A_TURN])
            while (failed := self._next_failure(left)) is not None:
                self._found(*failed)

    def _next_failure(self, left: Iterator[int]) -> tuple[Trial, Passage, Finding] | None:
        self._failed = None
        run_schedules(self._schedules(left), self._done)
        return self._failed

    def _schedules(self, left: Iterator[int]) -> Iterator[Schedule]:
        for seed in left:
            self._began = time.process_time()
            trial = self.driven.trial(seed, self.batch.settings)
            self._trial, self._lives = trial, self._begin(trial)
            self._counts = True
            yield self._lives.schedule()
            first = self._last
            if seed % TWICE_EVERY == 0 and first is not None:
                self._counts = False
                yield self._begin(trial).schedule()
                self._compare(first, self._last)

    _began: float = 0.0
    _counts: bool = True
    _trial: Trial = field(init=False)
    _lives: Lives = field(init=False)

    def _begin(self, trial: Trial) -> Lives:
        return trial.begin(policy_for(self.batch.settings.policy, trial.seed))

    def _done(self, passage: Passage) -> bool:
        self._last = passage
        if not self._counts:
            return False
        self._count(passage)
        finding = ScenarioJudge(self.driven).judge(passage)
        if finding is None:
            return False
        self._failed = self._trial, passage, finding
        return True

    def _count(self, passage: Passage) -> None:
        tally, lives = self.tally, self._lives
        seed = self._trial.seed
        tally.count(
            policy_for(self.batch.settings.policy, seed).name,
            {
                "schedules": 1,
                "decisions": len(passage.choices),
                "steps": passage.steps,
                "operations": self.driven.operations(passage),
                "crashes": lives.crashes,
                "failed writes": lives.failed_writes,
            },
        )
        tally.digests.add(passage.digest ^ crc32(self.batch.scenario.encode()))
        tally.sometimes.update({f"{self.batch.scenario}: {what}": n for what, n in self.driven.record.happened.items()})
        tally.sometimes.update({f"{REACHED}{place}": n for place, n in passage.recorder.places.items()})
        tally.looked_at(PROMISES if passage.error is None else [ENDS])
        tally.undecided.update(one.invariant for one in findings(passage) if one.undecided)
        tally.violated.update({one.invariant for one in findings(passage) if not one.undecided})

    def _compare(self, first: Passage, second: Passage | None) -> None:
        self.tally.counts["run twice"] += 1
        if second is not None and (first.digest, first.steps) != (second.digest, second.steps):
            seed = first.seed
            self.tally.errors.append(
                f"{self.batch.scenario}, seed {seed}: the same schedule went another way the second time; something "
                "comes from outside (time, random numbers, the order of a set of texts), so failures may not come again"
            )

    def _found(self, trial: Trial, passage: Passage, finding: Finding) -> None:
        """Make it small, unless one of its kind is known, and put it down."""
        unsaid = blamed(finding)
        if unsaid is not None:
            self.tally.violated[unsaid] += 1
        judge = ScenarioJudge(self.driven, finding.kind)
        seconds = 0.0 if finding.kind in self._known else self.batch.shrink_for
        self._known.add(finding.kind)
        failure = shrink(trial, passage, finding, judge, Budget(seconds))
        self.tally.failures.append(described(failure, self.batch.scenario, self.batch.settings))

"""All schedules of one plan, depth first.

What lives here: a job of `explore`, and working it off. What does not: which plans there are (`explore_command`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, cast
from zlib import crc32

from attrs import define, evolve, field, frozen

from actorflow.testing.faults import Fate
from actorflow.testing.judging import Finding
from actorflow.testing.programs import Trial
from actorflow.testing.recorder import Recorder
from actorflow.testing.shrinking import Budget, shrink
from actorflow.testing.simulation import Passage, SimulatedWorld, run_schedules

from ..driving import ORACLES
from ..oracles import INVARIANTS, PLAN
from .catalogue import scenario_of
from .driven import Driven, ScenarioJudge, Settings, WholePlan, findings
from .failing import described
from .small import SmallScenario
from .tally import ENDS, PROMISES, Tally, blamed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from actorflow.testing.simulation import Schedule

__all__ = ["Job", "following", "paces", "work_off"]

NAME: Final = "all"
"""In the place of a policy."""


def paces() -> list[int]:
    """Seeds of worlds that differ in how fast an idle run decides: one for each way there is."""
    found: dict[tuple[bool, int, int], int] = {}
    for seed in range(200):
        world = SimulatedWorld(seed, Recorder())
        found.setdefault((world.eager, world.stride, world.spread), seed)
    return [found[pace] for pace in sorted(found)]


@frozen(kw_only=True)
class Job:
    """One plan in one world.

    Attributes:
        scenario: as it stands on the command line.
        plan: what is done; None: what the seed decides.
        seed: of the world.
        preemptions: at most so many switches away from what would go on by itself.
        journal: "memory" or "durable", for a given plan.
        oracles: those that judge.
        seconds: processor time after which it is given up, and counts as not complete.
    """

    scenario: str
    seed: int
    plan: object = None
    journal: str = "memory"
    oracles: tuple[str, ...] = tuple(sorted(ORACLES))
    preemptions: int = 2
    seconds: float = 60.0
    shrink_for: float = 30.0
    settings: Settings = field(factory=Settings)

    def to_json(self) -> dict[str, object]:
        """For another process."""
        return {
            "scenario": self.scenario,
            "seed": self.seed,
            "plan": self.plan,
            "journal": self.journal,
            "oracles": list(self.oracles),
            "preemptions": self.preemptions,
            "seconds": self.seconds,
            "shrink_for": self.shrink_for,
            "settings": self.settings.to_json(),
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Job:
        """From what `to_json` gave."""
        return cls(
            scenario=cast("str", value["scenario"]),
            seed=cast("int", value["seed"]),
            plan=value["plan"],
            journal=cast("str", value["journal"]),
            oracles=tuple(cast("list[str]", value["oracles"])),
            preemptions=cast("int", value["preemptions"]),
            seconds=cast("float", value["seconds"]),
            shrink_for=cast("float", value["shrink_for"]),
            settings=Settings.from_json(cast("Mapping[str, object]", value["settings"])),
        )


def work_off(job: Job) -> Tally:
    """Run all schedules of a job; what they came to."""
    walk = _Walk(job, Driven(scenario_of(job.scenario), frozenset(job.oracles)))
    walk.go()
    return walk.tally


@define(eq=False)
class _Walk:
    """Goes through all schedules, until one fails."""

    job: Job
    driven: Driven
    tally: Tally = field(factory=Tally)
    _failed: tuple[Trial, Passage, Finding] | None = None
    _last: Passage | None = None
    _trial: Trial = field(init=False)
    _step: int = -1
    _marks: list[int] = field(factory=list)
    _spent: bool = False

    def go(self) -> None:
        scenario = self.driven.scenario
        if isinstance(scenario, SmallScenario):
            scenario.mark = lambda: self._marks.append(self._step)
        self._end = time.process_time() + self.job.seconds
        run_schedules(self._schedules(), self._done)
        self.tally.counts["plans"] += 1
        self.tally.counts["plans with all schedules"] += not self._spent and self._failed is None
        if self._failed is not None:
            self._found(*self._failed)

    _end: float = 0.0

    def _schedules(self) -> Iterator[Schedule]:
        first: Trial = self._first()
        prefix: list[int] | None = []
        while prefix is not None:
            self._step = -1
            self._marks.clear()
            self._trial = evolve(first, switches=dict(enumerate(prefix)))
            yield evolve(self._trial.begin().schedule(), watch=self._watch)
            if time.process_time() > self._end:
                self._spent = True
                return
            assert self._last is not None
            prefix = following(self._last, self.job.preemptions, *self._window())

    def _first(self) -> Trial:
        if self.job.plan is None:
            return evolve(self.driven.trial(self.job.seed, self.job.settings), fate=Fate())
        plan = WholePlan(journal=self.job.journal, plan=self.job.plan)
        return evolve(self.driven.program.trial(self.job.seed), plan=plan)

    def _watch(self, step: int) -> None:
        self._step = step

    def _window(self) -> tuple[int, int]:
        """Other decisions stay as they are: those before all branches stand side by side, and after all are through."""
        if len(self._marks) < 2:
            return 0, len(self._last.choices) if self._last is not None else 0
        return self._marks[0] + 1, self._marks[-1] + 1

    def _done(self, passage: Passage) -> bool:
        self._last = passage
        tally = self.tally
        counted = {
            "schedules": 1,
            "decisions": len(passage.choices),
            "steps": passage.steps,
            "operations": self.driven.operations(passage),
        }
        tally.count(NAME, counted)
        tally.digests.add(passage.digest ^ crc32(repr((self.job.scenario, self.job.seed, self.job.plan)).encode()))
        judges = self.driven.oracles
        some = [name for name in PROMISES if name == PLAN or not judges.isdisjoint(INVARIANTS[name].oracles)]
        tally.looked_at(some if passage.error is None else [ENDS])
        tally.undecided.update(one.invariant for one in findings(passage) if one.undecided)
        tally.violated.update({one.invariant for one in findings(passage) if not one.undecided})
        finding = ScenarioJudge(self.driven).judge(passage)
        if finding is not None:
            self._failed = self._trial, passage, finding
        return finding is not None

    def _found(self, trial: Trial, passage: Passage, finding: Finding) -> None:
        tally, unsaid = self.tally, blamed(finding)
        if unsaid is not None:
            tally.violated[unsaid] += 1
        failure = shrink(trial, passage, finding, ScenarioJudge(self.driven, finding.kind), Budget(self.job.shrink_for))
        tally.failures.append(described(failure, self.job.scenario, self.job.settings))


def following(passage: Passage, bound: int, first: int, end: int) -> list[int] | None:
    """The choices that lead to the next schedule, depth first; None after the last.

    Of a schedule's decisions only those in `range(first, end)` are changed, and `bound` of them at most.
    """
    choices, widths = passage.choices, passage.widths
    used = [0]
    for choice in choices:
        used.append(used[-1] + bool(choice))
    for step in range(min(end, len(choices)) - 1, first - 1, -1):
        if choices[step] + 1 < widths[step] and used[step] < bound:
            return [*choices[:step], choices[step] + 1]
    return None

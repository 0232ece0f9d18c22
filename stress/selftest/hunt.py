"""Looking for whatever may be wrong: scenarios under schedules, on journals that last or do not, with faults.

What lives here: the mix, and going through its seeds until something is found. What does not: which bug is planted;
what is looked for is always the same.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from actorflow.testing import Faults
from actorflow.testing.judging import Judge
from actorflow.testing.policies import policy_of
from actorflow.testing.programs import program_of
from actorflow.testing.simulation import run_schedules

from ..driving import drive
from ..recording import Record
from ..scenario import Size, find, names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow.abc import Journal
    from actorflow.testing.programs import Lives
    from actorflow.testing.simulation import Passage, Schedule

    from ..oracles import Finding

__all__ = ["LIKELY_FIRST", "Found", "Hunt"]

MODES: Final = ("memory", "memory", "lasting", "lasting", "faults", "faults", "faults", "slow", "slow", "sqlite")
"""A journal that need not be waited for; one that must be; one that fails, in a process that dies; one that takes long
for many of its writes, in a process that dies: so that it dies while others go on; a file."""
LIKELY_FIRST: Final = 150
"""Seeds for which a mutant's likely scenarios are taken, before all of them are."""
DECISIONS_MAX: Final = 30_000
"""Of one schedule, after which it never ends; the longest that does takes some thousands."""
FAULTS: Final = {"faults": Faults(crashes=3, failures=2, delays=1), "slow": Faults(crashes=3, delays=40)}
SIZES: Final = (Size(branches=2, ops=3), Size(branches=4, ops=4), Size(branches=6, ops=5, depth=3))
MEMORY: Final = Path("/dev/shm")


@frozen
class Found:
    """Something wrong: which seed, in which scenario and mode, who noticed, and what in a sentence."""

    seed: int
    scenario: str
    mode: str
    oracle: str
    sentence: str


@frozen
class Trial:
    """What a seed stands for."""

    seed: int
    scenario: str
    mode: str
    size: Size


@define(eq=False)
class Hunt:
    """The seeds of the mix, one after the other.

    Args:
        likely: scenarios that are taken for the first seeds; none: all.
        scenarios: those there are.
    """

    likely: Sequence[str] = ()
    scenarios: Sequence[str] = field(factory=names)
    happened: Counter[str] = field(factory=Counter)
    tried: Counter[str] = field(factory=Counter)
    seconds: float = 0.0

    def trial(self, seed: int) -> Trial:
        """The scenario, the journal and the size of a seed."""
        chance = random.Random(f"selftest {seed}")
        some = self.likely if self.likely and seed < LIKELY_FIRST else self.scenarios
        return Trial(seed, chance.choice(list(some)), chance.choice(MODES), chance.choice(SIZES))

    def go(self, seeds: int, *, first: int = 0) -> Found | None:
        """Go through the seeds from `first` on until something is found, or there are no more."""
        began = time.perf_counter()
        judge = Judge((_nothing,), check_stores=False)
        current: list[_Probe] = []
        found: list[Found] = []

        def schedules() -> Iterator[Schedule]:
            for seed in range(first, seeds):
                trial = self.trial(seed)
                self.tried[f"{trial.scenario}, {trial.mode}"] += 1
                probe = _Probe(trial)
                current[:] = [probe]
                yield probe.lives().schedule()

        def done(passage: Passage) -> bool:
            (probe,) = current
            self.happened.update(probe.record.happened)
            probe.close()
            finding = judge.judge(passage)
            if finding is None:
                return False
            trial = probe.trial
            oracle, _, sentence = (
                str(passage.value).partition(": ") if finding.kind.startswith("invariant") else ("", "", "")
            )
            found.append(
                Found(trial.seed, trial.scenario, trial.mode, oracle or finding.kind, sentence or finding.sentence)
            )
            return True

        try:
            run_schedules(schedules(), done)
        except trio.TrioInternalError as error:  # what cannot be ended in any other way
            trial = current[0].trial
            sentence = f"it hangs, and cannot be cancelled: {error.__cause__!r}"
            found.append(Found(trial.seed, trial.scenario, trial.mode, "deadlock", sentence))
        self.seconds += time.perf_counter() - began
        return found[0] if found else None


def _nothing(said: object) -> bool:
    return not said


@define(eq=False)
class _Probe:
    """One plan of one scenario, in as many lives as it takes."""

    trial: Trial
    record: Record = field(factory=Record)
    folder: TemporaryDirectory[str] | None = None

    def lives(self) -> Lives:
        """Ready to be run: with the journal that the mode means."""
        trial = self.trial
        scenario = find(trial.scenario)
        plan = scenario.plan(random.Random(f"plan {trial.seed}"), trial.size)
        self.record.faulty = trial.mode in FAULTS

        async def forgetting() -> str:
            return told(await drive(scenario, plan, self.record, journal=self._place()))

        async def lasting(journal: Journal) -> str:
            return told(await drive(scenario, plan, self.record, journal=journal))

        if trial.mode in ("memory", "sqlite"):
            program = program_of(forgetting)
        else:
            program = program_of(lasting, faults=FAULTS.get(trial.mode))
        return program.trial(trial.seed, limit=DECISIONS_MAX).begin(policy_of(trial.seed))

    def _place(self) -> str:
        if self.trial.mode == "memory":
            return "memory:"
        self.folder = TemporaryDirectory(prefix="actorflow-selftest-", dir=MEMORY if MEMORY.is_dir() else None)
        return f"sqlite:{self.folder.name}/journal.db"

    def close(self) -> None:
        """Clear away."""
        self.record.forget()
        if self.folder is not None:
            self.folder.cleanup()


def told(findings: Sequence[Finding]) -> str:
    """The first thing that is wrong, its oracle before it; "" if nothing is. What is undecided is nothing."""
    for finding in findings:
        if not finding.undecided:
            return f"{finding.invariant}: {finding.sentence}"
    return ""

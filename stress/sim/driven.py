"""A scenario as a program of the simulation, and its judge.

What lives here: the plan of a seed with all that it decides, one record over all lives of a schedule, findings as the
engine knows them. What does not: running schedules (`batch`), the oracles.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypedDict, cast

from attrs import define, evolve, field, frozen

from actorflow.testing.faults import Fate, Faults
from actorflow.testing.judging import Finding, Judge
from actorflow.testing.policies import MIX, Policy, policy_of
from actorflow.testing.programs import Program, Trial

from ..driving import ORACLES, drive
from ..recording import Record
from ..scenario import Scenario, Size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actorflow.testing import FaultyJournal
    from actorflow.testing.simulation import Passage

    from ..oracles import Finding as OracleFinding


__all__ = ["POLICIES", "Driven", "ScenarioJudge", "Settings", "WholePlan", "findings", "policy_for"]

POLICIES: Final[dict[str, Callable[[int], Policy]]] = {
    maker.name: maker for maker in MIX if isinstance(maker, type) and issubclass(maker, Policy)
}
"""The policies by name; the mix of them is the default."""

SIZES: Final = (
    *((2, 3), (3, 3), (4, 4), (5, 5), (5, 5), (6, 6)),
    *((8, 8), (12, 8), (12, 8), (16, 10), (20, 14), (30, 18)),
)
"""Branches and operations: many small plans, which find most and are understood by people, and some large ones."""

FAULTY: Final = 0.3
"""The share of seeds in which things go wrong on purpose, if no `--faults` are given."""

IN_MEMORY: Final = 0.4
"""Of the other seeds, the share that runs on a journal which keeps nothing: there, a run decides without waiting."""

DEFAULT_FAULTS: Final = Faults(crashes=2, failures=1, delays=1)


class WholePlan(TypedDict):
    """What a seed decides: which journal is under it, and what the scenario does."""

    journal: str
    plan: object


@frozen(kw_only=True)
class Settings:
    """The options that change what a seed stands for.

    Attributes:
        policy: name of the policy, or "mix".
        branches: of each plan; None: the seed chooses, and so are the operations.
        ops: of a branch, at most.
        faults: what may go wrong in each seed; None: in some of them, `DEFAULT_FAULTS`.
    """

    policy: str = "mix"
    branches: int | None = None
    ops: int | None = None
    faults: Faults | None = None

    def size(self, seed: int) -> Size:
        """How large the plan of a seed is."""
        branches, ops = random.Random(f"size {seed}").choice(SIZES)
        return Size(branches=self.branches or branches, ops=self.ops or ops)

    @property
    def given(self) -> str:
        """As options of the command line, where they are not the default."""
        parts = [f"--policy {self.policy}"] if self.policy != "mix" else []
        parts += [f"--{name} {value}" for name in ("branches", "ops") if (value := getattr(self, name)) is not None]
        if self.faults is not None:
            some = [(name, getattr(self.faults, name)) for name in ("crashes", "failures", "delays")]
            parts.append("--faults " + (",".join(f"{name}={most}" for name, most in some if most) or "none"))
        return " ".join(parts)

    def to_json(self) -> dict[str, object]:
        """For another process."""
        faults = self.faults
        return {
            "policy": self.policy,
            "branches": self.branches,
            "ops": self.ops,
            "faults": None if faults is None else [faults.crashes, faults.failures, faults.delays],
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Settings:
        """From what `to_json` gave."""
        faults = cast("list[int] | None", value["faults"])
        return cls(
            policy=cast("str", value["policy"]),
            branches=cast("int | None", value["branches"]),
            ops=cast("int | None", value["ops"]),
            faults=None if faults is None else Faults(crashes=faults[0], failures=faults[1], delays=faults[2]),
        )


def policy_for(name: str, seed: int) -> Policy:
    """A fresh policy of this name for a seed."""
    return policy_of(seed) if name == "mix" else POLICIES[name](seed)


@define(eq=False)
class Driven:
    """Drives one scenario through schedule after schedule, and judges each.

    Attributes:
        scenario: what is driven.
        oracles: names of those that judge.
        record: that of the last schedule.
    """

    scenario: Scenario
    oracles: frozenset[str] = ORACLES
    record: Record = field(factory=Record)
    _lives: int = 0
    _disk: object = None

    async def live(self, journal: FaultyJournal, plan: WholePlan) -> list[OracleFinding]:
        """One life of the program: until its end, or until it dies."""
        if self._disk is not journal.journal:
            self._disk = journal.journal
            self.record.forget()
            self.record = Record()
            self._lives = 0
        self._lives += 1
        self.record.faulty = self.record.faulty or self._lives > 1
        on = "memory:" if plan["journal"] == "memory" else journal
        return await drive(self.scenario, plan["plan"], self.record, journal=on, oracles=self.oracles)

    def trial(self, seed: int, settings: Settings) -> Trial:
        """All that follows from a seed."""
        dice = random.Random(f"journal and faults {seed}")
        fate = Fate()
        if settings.faults is not None or dice.random() < FAULTY:
            fate = (DEFAULT_FAULTS if settings.faults is None else settings.faults).fate(random.Random(f"fate {seed}"))
        in_memory = not fate and dice.random() < IN_MEMORY
        plan = self.scenario.plan(random.Random(f"plan {seed}"), settings.size(seed))
        whole = WholePlan(journal="memory" if in_memory else "durable", plan=plan)
        return evolve(self.program.trial(seed), plan=whole, fate=fate)

    @property
    def program(self) -> Program:
        """For the engine."""
        return Program(self.live, frozenset({"journal", "plan"}), lambda chance: None)

    def operations(self, passage: Passage) -> int:
        """Store calls of the last schedule that were checked."""
        return self.record.operations or passage.recorder.operations


def findings(passage: Passage) -> list[OracleFinding]:
    """What the oracles said of a schedule that came to its end."""
    return cast("list[OracleFinding]", passage.value or [])


class ScenarioJudge(Judge):
    """Takes what the oracles said for the engine, which shrinks by it.

    Args:
        driven: what was run.
        wanted: the kind of finding to look for among several; any for None.
    """

    def __init__(self, driven: Driven, wanted: str | None = None) -> None:
        super().__init__(())
        self._driven, self._wanted = driven, wanted

    def judge(self, passage: Passage) -> Finding | None:
        """What is wrong with a schedule: of several things the wanted one, else the first."""
        if passage.error is not None:
            return super().judge(passage)
        found = [one for one in findings(passage) if not one.undecided]
        some = [one for one in found if one.invariant == self._wanted] or found
        if some:
            others = [str(one) for one in found if one is not some[0]][:5]
            operations = [f"    {operation}" for operation in some[0].operations]
            detail = "\n".join([*operations, *(["also:", *others] if others else [])])
            return Finding(some[0].invariant, some[0].sentence, detail)
        # A scenario that records nothing is judged by what the simulation itself has recorded.
        return None if self._driven.record.histories else super().judge(passage)

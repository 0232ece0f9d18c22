"""All mutants, a process for each, and the kernel as it is beside them.

What lives here: starting the processes, and what came of them. What does not: planting and looking (`worker`).
"""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from ..child import SOURCE, command, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .mutant import Mutant

__all__ = ["CONTROL", "Outcome", "Result", "Tally", "campaign"]

CONTROL: Final = "(none planted)"
"""The name of the control: the same search in the kernel as it is, which must find nothing."""
PATIENCE_S: Final = 60.0
"""For one process, and as much again for every hundred seeds: it takes a few seconds, and may be beside others."""


class Outcome(Enum):
    """What came of a mutant."""

    SURVIVED = "survived"
    ERROR = "error"
    FOUND = "found"


@frozen(kw_only=True)
class Result:
    """What came of one search.

    Attributes:
        name: of the mutant, or `CONTROL`.
        invariants: ids of what it violates.
        where: the scenario and the kind of journal; or which other finder.
        oracle: who noticed: an invariant of the oracles, the scenario's own check ("plan"), a deadlock.
        sentence: what was found, or what went wrong with the search.
        seeds: of the mix until then.
        excluded: seeds in which something was found in the kernel as it is, too.
        never: what did not happen in any seed, of the control.
    """

    name: str
    outcome: Outcome
    invariants: tuple[str, ...] = ()
    where: str = ""
    oracle: str = ""
    sentence: str = ""
    seeds: int = 0
    seconds: float = 0.0
    excluded: tuple[int, ...] = ()
    never: tuple[str, ...] = ()


@define
class Tally:
    """All results."""

    results: list[Result] = field(factory=list)
    control: Result | None = None
    seconds: float = 0.0

    def those(self, outcome: Outcome) -> list[Result]:
        """The mutants with this outcome."""
        return [one for one in self.results if one.outcome is outcome]

    @property
    def exit_code(self) -> int:
        """0: all were found, and nothing where nothing is; 1: not so; 2: a search could not be made."""
        if self.those(Outcome.SURVIVED) or (self.control is not None and self.control.outcome is Outcome.FOUND):
            return 1
        control_failed = self.control is not None and self.control.outcome is Outcome.ERROR
        return 2 if control_failed or self.those(Outcome.ERROR) else 0


def campaign(
    mutants: Sequence[Mutant], seeds: int, jobs: int, tell: Callable[[Result], None], *, control: bool
) -> Tally:
    """Search for all of them, `jobs` at a time; `tell` is called with each result as it comes."""
    tally = Tally()
    todo: list[Mutant | None] = [None, *mutants] if control else list(mutants)
    with ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(lambda mutant: search(mutant, seeds), todo):
            if result.name == CONTROL:
                tally.control = result
            else:
                tally.results.append(result)
            tell(result)
    return tally


def search(mutant: Mutant | None, seeds: int) -> Result:
    """One search, in a process of its own."""
    name = CONTROL if mutant is None else mutant.name
    invariants = () if mutant is None else mutant.invariants
    asking = command("stress.selftest.worker", "--seeds", str(seeds), "--mutant", "" if mutant is None else name)
    try:
        done = subprocess.run(
            asking,
            env=environment(),
            cwd=SOURCE,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S * (1 + seeds / 100),
            check=False,
        )
    except subprocess.TimeoutExpired as late:
        return Result(name=name, invariants=invariants, outcome=Outcome.ERROR, sentence=f"no end in {late.timeout:g} s")
    try:
        found = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        text = f"its process left with {done.returncode} and said: {said}"
        return Result(name=name, invariants=invariants, outcome=Outcome.ERROR, sentence=text)
    error = str(found.get("error", ""))
    return Result(
        name=name,
        invariants=invariants,
        outcome=Outcome.ERROR if error else Outcome.FOUND if found["found"] else Outcome.SURVIVED,
        where=str(found.get("where", "")),
        oracle=str(found.get("oracle", "")),
        sentence=error or str(found.get("sentence", "")),
        seeds=int(found.get("seeds", 0)),
        seconds=float(found["seconds"]),
        excluded=tuple(found.get("excluded", ())),
        never=tuple(found.get("never", ())),
    )

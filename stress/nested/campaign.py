"""A campaign: one case after the other, and the counts that show that it tested something.

What lives here: counting, and the report. What does not: a single case (`driving`), options (`command`).
"""

from __future__ import annotations

import time
import traceback
from collections import Counter
from typing import TYPE_CHECKING

from attrs import asdict, define, field

from .driving import Case
from .programs import Leaf, flows_in, parts, shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAILURES_SHOWN = 5
"""Cases that failed and are shown whole: the next ones mostly say the same."""


@define
class Tally:
    """The counts of a campaign, and the cases that failed."""

    seed: int
    counts: Counter[str] = field(factory=Counter)
    failures: list[str] = field(factory=list)
    seconds: float = 0.0

    def add(self, case: Case) -> None:
        """Count a case that was run."""
        self.counts["cases"] += 1
        self.counts["leaves"] += case.wanted.leaves
        for name, count in asdict(case.happened).items():
            self.counts[name] += count
        for flow in flows_in(case.program.flow):
            self.counts["workflows"] += 1
            self.counts["losers"] += sum(isinstance(part, Leaf) and bool(part.never) for part in parts(flow))

    @property
    def missing(self) -> list[str]:
        """What should have happened at least once, and did not."""
        return [name for name in WANTED if not self.counts[name]]

    @property
    def is_clean(self) -> bool:
        """Whether no case failed."""
        return not self.failures

    def show(self) -> None:
        """Print the report: the verdict first."""
        verdict = "OK: every leaf once, every state and output as without crash and suspension"
        print(verdict if self.is_clean else f"VIOLATION in {len(self.failures)} of {self.counts['cases']} cases")
        for name, text in WANTED.items():
            print(f"{text:44}{self.counts[name]:>10,}")
        print(f"{'seconds':44}{self.seconds:>10,.1f}")
        if self.missing:
            print(f"never happened: {', '.join(WANTED[name] for name in self.missing)}; run more cases")
        for failure in self.failures[:FAILURES_SHOWN]:
            print(f"\n{failure}")
        print(f"seeds {self.seed} to {self.seed + self.counts['cases'] - 1}; one again: --cases 1 --seed N")


WANTED = {
    "cases": "cases",
    "workflows": "workflows in them",
    "leaves": "leaves",
    "writes": "journal writes of the undisturbed runs",
    "resumes": "questions answered",
    "deep_resumes": "… two or more runs below the outermost",
    "crashes": "crashes",
    "recovery_crashes": "… in the first three writes of a life",
    "faults": "lives with writes that failed",
    "closings": "lives that were closed",
    "losers": "steps that only a cancellation ends",
}
"""What is counted, and how it is called; none of it may stay 0 in a campaign of some size."""


def campaign(seed: int, cases: int | None, seconds: float | None, tell: Callable[[str], None]) -> Tally:
    """Run the cases of the seeds from `seed` on: so many, or for so long."""
    tally = Tally(seed)
    began = time.perf_counter()
    for number in _numbers(seed, cases):
        if seconds is not None and time.perf_counter() - began >= seconds:
            break
        case = Case.of(number)
        try:
            case.run()
        except Exception:  # noqa: BLE001 - whatever comes out of the library, the seed must not be lost
            case.findings.append(traceback.format_exc())
        tally.add(case)
        if case.findings:
            tally.failures.append(told(case))
            tell(f"seed {number}: {case.findings[0].splitlines()[-1]}")
    tally.seconds = time.perf_counter() - began
    return tally


def _numbers(seed: int, cases: int | None) -> Iterator[int]:
    number = seed
    while cases is None or number < seed + cases:
        yield number
        number += 1


def told(case: Case) -> str:
    """A failed case: its seed, what is wrong, and the program."""
    program = case.program
    start = f"input {program.data}, state {dict(program.state)}, keep_state={program.keeps_state}"
    return "\n".join([f"seed {case.seed}: {start}", *case.findings, *shown(program.flow, "  ")])

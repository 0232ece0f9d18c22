"""A campaign: every case, seed after seed, and the table of what was tried.

What lives here: going through the cases, counting, the report for people and as JSON. What does not: the cases
(`step_calls`, `handle_calls`, `openings`, `crash_programs`), options (`command`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from attrs import asdict, define, field

from actorflow.testing import CancelFailure, CrashFailure, cancel_everywhere, crash_everywhere

if TYPE_CHECKING:
    from pathlib import Path

    from .crash_programs import CrashProgram
    from .stage import Case

__all__ = ["KINDS", "Line", "Sweep", "cases_of", "sweep"]

KINDS: Final = ("cancel", "crash")
SCHEMA: Final = 1
FAILURES_SHOWN: Final = 10
"""Failures that are shown whole: more of them mostly say the same."""
POINTS: Final = 1000
"""Moments of one schedule of a case that are tried at most."""

Trial = Callable[[Sequence[int]], "dict[str, float]"]


@define
class Line:
    """One case in the table.

    Attributes:
        name: of the call, or of the program.
        journal: what it ran on.
        counts: what was tried, and what came of it; the same names in every line of a kind.
        seconds: processor time.
        failure: what is wrong, and how to have it again.
    """

    name: str
    journal: str
    counts: dict[str, int] = field(factory=dict)
    seconds: float = 0.0
    failure: str = ""


@define
class Sweep:
    """A campaign of one kind.

    Attributes:
        kind: "cancel" or "crash".
        first: the first seed.
        seeds: how many each case had at least.
        lines: one for each case and journal.
        seconds: on the wall.
    """

    kind: str
    first: int
    seeds: int = 0
    lines: list[Line] = field(factory=list)
    seconds: float = 0.0

    @property
    def points(self) -> int:
        """All that were tried."""
        return sum(line.counts.get("points", 0) for line in self.lines)

    @property
    def failures(self) -> list[Line]:
        """The cases with something wrong."""
        return [line for line in self.lines if line.failure]

    @property
    def idle(self) -> list[str]:
        """Cases in which nothing was tried."""
        return [line.name for line in self.lines if not line.counts.get("points") and not line.failure]

    @property
    def undecided(self) -> int:
        """Runs whose store calls were too tangled to be judged."""
        return sum(line.counts.get("undecided", 0) for line in self.lines)

    @property
    def exit_code(self) -> int:
        """0 all is well, 1 something is wrong, 2 something was not really tried."""
        if self.failures:
            return 1
        return 2 if self.undecided or self.idle or not self.lines else 0

    def show(self) -> None:
        """Print the verdict, the table, and what is wrong."""
        wrong = self.failures
        if wrong:
            print(f"VIOLATION in {len(wrong)} of {len(self.lines)} cases")
        elif self.exit_code:
            print(f"UNDECIDED: {self.undecided} runs, {len(self.idle)} cases without a point")
        else:
            print(WELL[self.kind])
        names = list(dict.fromkeys(name for line in self.lines for name in line.counts if name not in HIDDEN))
        print(f"\n{'case':42} {'journal':8}" + "".join(f"{name:>11}" for name in names) + f"{'cpu s':>9}")
        for line in self.lines:
            mark = "  <- VIOLATION" if line.failure else ""
            numbers = "".join(f"{line.counts.get(name, 0):>11,}" for name in names)
            print(f"{line.name:42} {line.journal:8}{numbers}{line.seconds:>9.1f}{mark}")
        totals = "".join(f"{sum(line.counts.get(name, 0) for line in self.lines):>11,}" for name in names)
        seconds = sum(line.seconds for line in self.lines)
        print(f"{'all':42} {'':8}{totals}{seconds:>9.1f}")
        rate = self.points / seconds if seconds else 0.0
        print(f"\n{self.points:,} points in {self.seconds:.1f} s, {rate:,.0f} a second of processor time")
        for line in wrong[:FAILURES_SHOWN]:
            print(f"\n{line.name}, on {line.journal}:\n{line.failure}")
        print(f"seeds {self.first} to {self.first + max(self.seeds, 1) - 1}; one case: sweep {self.kind} --only NAME")

    def write(self, path: Path) -> None:
        """As JSON."""
        found = {
            "schema": SCHEMA,
            "verdict": ("ok", "violation", "undecided")[self.exit_code],
            "kind": self.kind,
            "first_seed": self.first,
            "seeds": self.seeds,
            "points": self.points,
            "seconds": round(self.seconds, 3),
            "cases": [asdict(line) for line in self.lines],
        }
        path.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


WELL: Final = {
    "cancel": "OK: cancelled calls did not happen, all others happened whole, nobody hangs, nothing is left over",
    "crash": "OK: after every crash, and a second one during recovery, the same result",
}
HIDDEN: Final = frozenset({"undecided"})


# --- going through


def cases_of(kind: str, only: str | None = None) -> list[tuple[Line, Trial]]:
    """The cases of a kind whose name contains `only`, each with what runs it."""
    found = list(_cancelled() if kind == "cancel" else _crashed())
    return [(line, trial) for line, trial in found if only is None or only.lower() in line.name.lower()]


def _cancelled() -> Iterator[tuple[Line, Trial]]:
    from . import handle_calls, openings, step_calls

    for case in (*step_calls.CASES, *handle_calls.CASES, *openings.CASES):
        for journal in case.journals:
            yield Line(case.name, journal), _cancelling(case, journal)


def _cancelling(case: Case, journal: str) -> Trial:
    program = case.program(journal)

    def trial(seeds: Sequence[int]) -> dict[str, float]:
        fewer = seeds[: max(1, int(len(seeds) * case.share))]
        report = cancel_everywhere(
            program, seeds=fewer, points=max(1, int(POINTS * case.share)), check_stores=case.check_stores
        )
        names = ("points", "cancelled", "finished", "raised", "skipped", "undecided", "seconds")
        return {name: getattr(report, name) for name in names}

    return trial


def _crashed() -> Iterator[tuple[Line, Trial]]:
    from .crash_programs import PROGRAMS

    for program in PROGRAMS:
        yield Line(program.name, "durable"), _crashing(program)


def _crashing(program: CrashProgram) -> Trial:
    def trial(seeds: Sequence[int]) -> dict[str, float]:
        report = crash_everywhere(program.run, seeds=seeds)
        names = ("points", "second", "writes", "decisions", "crashes", "recoveries", "undecided", "seconds")
        return {name: getattr(report, name) for name in names}

    return trial


def sweep(
    kind: str,
    *,
    first: int,
    seeds: int | None,
    seconds: float | None = None,
    only: str | None = None,
    tell: Callable[[str], None] = lambda text: None,
) -> Sweep:
    """Run the cases: with so many seeds each, or with one seed after the other for so long."""
    found = Sweep(kind, first)
    cases = cases_of(kind, only)
    found.lines = [line for line, _ in cases]
    began = time.perf_counter()
    for block in _blocks(first, seeds, seconds):
        for line, trial in cases:
            if line.failure:
                continue
            if seconds is not None and found.seeds and time.perf_counter() - began >= seconds:
                break
            tell(f"seeds {block[0]} to {block[-1]}: {line.name}")
            _run(line, trial, block)
        else:
            found.seeds += len(block)
            continue
        break
    found.seconds = time.perf_counter() - began
    return found


def _run(line: Line, trial: Trial, seeds: Sequence[int]) -> None:
    try:
        counts = trial(seeds)
    except CancelFailure as failure:
        line.failure = str(failure)
        counts = {"points": failure.report.points, "seconds": failure.report.seconds}
    except CrashFailure as failure:
        line.failure = str(failure)
        counts = {"points": failure.report.points, "seconds": failure.report.seconds}
    line.seconds += counts.pop("seconds")
    for name, count in counts.items():
        line.counts[name] = line.counts.get(name, 0) + int(count)


def _blocks(first: int, seeds: int | None, seconds: float | None) -> Iterator[range]:
    """All seeds at once; or, against the clock, a few at a time."""
    if seconds is None or seeds is not None:
        yield range(first, first + (seeds or 1))
        return
    while True:
        yield range(first, first + 1)
        first += 1

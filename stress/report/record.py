"""What a campaign found, whichever subcommand ran it.

What lives here: the records, the verdict that follows from them, and its exit code. What does not: any form in which
they are shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen

from .histogram import Histogram

SCHEMA: Final = 1
"""The version of the JSON form; it grows when a field changes its meaning or goes."""


class Verdict(Enum):
    """What comes of a campaign, worst first."""

    VIOLATED = "violated"
    ERROR = "error"
    UNDECIDED = "undecided"
    INTERRUPTED = "interrupted"
    MISSED = "threshold missed"
    OK = "ok"


CODES: Final = {
    Verdict.VIOLATED: 1,
    Verdict.ERROR: 2,
    Verdict.UNDECIDED: 2,
    Verdict.INTERRUPTED: 130,
    Verdict.MISSED: 3,
    Verdict.OK: 0,
}


@frozen(kw_only=True)
class Invariant:
    """How often something that must always hold was checked, and what came of it."""

    name: str
    checked: int
    violated: int = 0
    undecided: int = 0


@frozen(kw_only=True)
class Threshold:
    """One `--expect`, and what was measured: `shown` is the worst value, and where it was found."""

    text: str
    is_met: bool
    shown: str


@frozen(kw_only=True)
class Failure:
    """One violation, as small as it could be made.

    Args:
        sentence: what was violated, in the words of a user.
        seed: of the campaign's plan and schedule, where there is one.
        policy: the scheduling policy that found it.
        options: what the seed stands for, expanded.
        plan: the shrunk plan, as JSON.
        switches: the context switches that are left, as JSON.
        lanes: the calls that matter as text, one lane per branch.
        lanes_svg: the same as an `<svg>` element.
        command: the exact command that repeats it.
        repro: the file that the command reads.
    """

    sentence: str
    seed: int | None = None
    policy: str = ""
    options: Mapping[str, object] = field(factory=dict)
    plan: object = None
    switches: object = None
    lanes: str = ""
    lanes_svg: str = ""
    command: str = ""
    repro: str = ""


@frozen(kw_only=True)
class LoadRow:
    """What one number of branches gave; `details` are further counters, such as the commits."""

    branches: int
    operations: int
    seconds: float
    latency: Histogram
    peak_bytes: int = 0
    bytes_per_branch: int | None = None
    details: Mapping[str, float] = field(factory=dict)

    @property
    def rate(self) -> float:
        """Operations per second."""
        return self.operations / self.seconds if self.seconds else 0.0


@frozen(kw_only=True)
class Series:
    """A quantity over the time of a campaign: (seconds since its start, value)."""

    name: str
    unit: str = ""
    points: tuple[tuple[float, float], ...] = ()


@frozen(kw_only=True)
class Report:
    """Everything that a campaign found. What a subcommand does not know stays empty and is not shown.

    Args:
        command: the subcommand.
        subject: what it worked on, such as the name of a scenario.
        seed: the seed that everything random came from.
        arguments: the options, as given or by default.
        versions: what it ran on (`child.versions`).
        seconds: how long it took.
        totals: counters of the whole campaign, such as seeds, operations, decisions.
        policies: the same counters by scheduling policy.
        invariants: what was checked; a report that checked nothing is undecided.
        sometimes: how often the things happened that must happen now and then.
        sometimes_least: what happened less often leaves the campaign undecided: it tested too little.
        latency: of all operations.
        rows: throughput and latency by number of branches.
        series: quantities over time.
        peak_bytes: the most memory that a process held.
        thresholds: expectations and what came of them.
        failures: violations.
        errors: what went wrong in the tool itself, or stopped it.
        notes: what a reader should know beside.
        is_interrupted: the campaign was stopped from outside; what it has found stands.
    """

    command: str
    subject: str = ""
    seed: int | None = None
    arguments: Mapping[str, object] = field(factory=dict)
    versions: Mapping[str, str] = field(factory=dict)
    seconds: float = 0.0
    totals: Mapping[str, float] = field(factory=dict)
    policies: Mapping[str, Mapping[str, float]] = field(factory=dict)
    invariants: tuple[Invariant, ...] = ()
    sometimes: Mapping[str, int] = field(factory=dict)
    sometimes_least: int = 0
    latency: Histogram | None = None
    rows: tuple[LoadRow, ...] = ()
    series: tuple[Series, ...] = ()
    peak_bytes: int = 0
    thresholds: tuple[Threshold, ...] = ()
    failures: tuple[Failure, ...] = ()
    errors: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    is_interrupted: bool = False

    @property
    def too_rare(self) -> list[str]:
        """What happened less often than it must."""
        return [name for name, count in self.sometimes.items() if count < self.sometimes_least]

    @property
    def checks(self) -> int:
        """Checks of all invariants together."""
        return sum(one.checked for one in self.invariants)

    @property
    def verdict(self) -> Verdict:
        """What comes of it all: a violation outweighs everything else."""
        if self.failures or any(one.violated for one in self.invariants):
            return Verdict.VIOLATED
        if self.errors:
            return Verdict.ERROR
        if self.is_interrupted:
            return Verdict.INTERRUPTED
        if not self.checks or self.too_rare or any(one.undecided for one in self.invariants):
            return Verdict.UNDECIDED
        if not all(one.is_met for one in self.thresholds):
            return Verdict.MISSED
        return Verdict.OK

    @property
    def reason(self) -> str:
        """The verdict in one sentence."""
        verdict = self.verdict
        if verdict is Verdict.VIOLATED:
            violated = ", ".join(one.name for one in self.invariants if one.violated)
            return self.failures[0].sentence if self.failures else f"violated: {violated}"
        if verdict is Verdict.ERROR:
            return self.errors[0]
        if verdict is Verdict.INTERRUPTED:
            return "stopped before its end; what it had found by then is below"
        if verdict is Verdict.UNDECIDED:
            if self.too_rare:
                return f"tested too little: {', '.join(self.too_rare)} happened less than {self.sometimes_least} times"
            undecided = sum(one.undecided for one in self.invariants)
            return f"{undecided:,} checks came to no end" if undecided else "nothing was checked"
        if verdict is Verdict.MISSED:
            missed = [one for one in self.thresholds if not one.is_met]
            return "; ".join(f"{one.text} was expected, it was {one.shown}" for one in missed)
        return f"every invariant held, in {self.checks:,} checks"


def exit_code(report: Report) -> int:
    """0 ok, 1 violated, 2 undecided or in error, 3 threshold missed, 130 interrupted."""
    return CODES[report.verdict]

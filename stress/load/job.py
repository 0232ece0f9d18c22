"""What one row of a load test asks of its process, and what that process tells back.

What lives here: the two records and their JSON. What does not: the process (`alone`), and who starts it (`campaign`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from attrs import asdict, field, frozen

from ..report.histogram import Histogram, histogram_from_json
from ..report.record import Invariant, LoadRow


@frozen(kw_only=True)
class Job:
    """One row.

    Args:
        workload: a workload of `workload.WORKLOADS`, or the name of a scenario.
        branches: parallel branches.
        total: operations of all branches together.
        journal: the URL of the journal.
        rate: operations per second that are to begin, whatever became of those before; None: as fast as answers come.
        seed: of everything random.
    """

    workload: str
    branches: int
    total: int
    journal: str = "memory:"
    rate: float | None = None
    seed: int = 0

    def as_json(self) -> dict[str, object]:
        """All fields."""
        return asdict(self)


@frozen
class Finding:
    """One violation: what, and the calls that show it as lanes of text."""

    sentence: str
    lanes: str = ""
    lanes_svg: str = ""


@frozen(kw_only=True)
class Answer:
    """What the process measured, and what it found when it checked."""

    operations: int
    seconds: float
    latency: Histogram
    peak_bytes: int
    bytes_per_branch: int | None = None
    details: Mapping[str, float] = field(factory=dict)
    invariants: tuple[Invariant, ...] = ()
    findings: tuple[Finding, ...] = ()
    sometimes: Mapping[str, int] = field(factory=dict)

    def row(self, branches: int) -> LoadRow:
        """Its line in the report."""
        return LoadRow(
            branches=branches,
            operations=self.operations,
            seconds=self.seconds,
            latency=self.latency,
            peak_bytes=self.peak_bytes,
            bytes_per_branch=self.bytes_per_branch,
            details=self.details,
        )

    def as_json(self) -> dict[str, object]:
        """All fields."""
        return {
            "operations": self.operations,
            "seconds": self.seconds,
            "latency": self.latency.as_json(),
            "peak_bytes": self.peak_bytes,
            "bytes_per_branch": self.bytes_per_branch,
            "details": dict(self.details),
            "invariants": [asdict(one) for one in self.invariants],
            "findings": [asdict(one) for one in self.findings],
            "sometimes": dict(self.sometimes),
        }


def answer_from_json(found: Mapping[str, object]) -> Answer:
    """What `as_json` gave, as an answer again."""
    rest = dict(found)
    latency = histogram_from_json(cast("Mapping[str, object]", rest.pop("latency")))
    invariants = tuple(map(_invariant, cast("list[dict[str, object]]", rest.pop("invariants"))))
    findings = tuple(Finding(**one) for one in cast("list[dict[str, str]]", rest.pop("findings")))
    return Answer(
        operations=cast("int", rest["operations"]),
        seconds=cast("float", rest["seconds"]),
        latency=latency,
        peak_bytes=cast("int", rest["peak_bytes"]),
        bytes_per_branch=cast("int | None", rest["bytes_per_branch"]),
        details=cast("dict[str, float]", rest["details"]),
        invariants=invariants,
        findings=findings,
        sometimes=cast("dict[str, int]", rest["sometimes"]),
    )


def _invariant(found: Mapping[str, object]) -> Invariant:
    return Invariant(
        name=str(found["name"]),
        checked=cast("int", found["checked"]),
        violated=cast("int", found["violated"]),
        undecided=cast("int", found["undecided"]),
    )


def job_from_json(found: Mapping[str, object]) -> Job:
    """What `Job.as_json` gave, as a job again."""
    return Job(
        workload=str(found["workload"]),
        branches=cast("int", found["branches"]),
        total=cast("int", found["total"]),
        journal=str(found.get("journal", "memory:")),
        rate=cast("float | None", found.get("rate")),
        seed=cast("int", found.get("seed", 0)),
    )

"""What a part of a campaign has counted, and how parts come together.

What lives here: counters, their JSON for other processes. What does not: counting (`batch`, `exhaustive`), the report.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from ..oracles import INVARIANTS, PLAN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from actorflow.testing.judging import Finding

__all__ = ["ENDS", "PROMISES", "Tally", "blamed"]

ENDS: Final = "I16"
"""What a deadlock and an endless schedule violate."""

OURS: Final = frozenset({"client", "facts", "journal", "driver", "simulation"})
PROMISES: Final = {
    **{name: one.promise for name, one in INVARIANTS.items() if not OURS.isdisjoint(one.oracles)},
    PLAN: "the end is what the plan says",
}
"""What is looked at in each schedule that comes to its end; the other promises need crashes on disk or a soak."""

DISTINCT_MAX: Final = 300_000
"""Digests that are remembered: enough for a night's campaign in little memory. From there on none is counted."""


def blamed(finding: Finding) -> str | None:
    """The invariant that a finding of the engine itself violates; None for one of an oracle."""
    if finding.kind in ("deadlock", "livelock"):
        return ENDS
    if finding.kind == "store":
        return "I1"
    return PLAN if finding.kind.startswith("raised") else None


@define(eq=False)
class Tally:
    """Counters of schedules.

    Attributes:
        counts: schedules, decisions, operations, crashes and so on, by name.
        policies: the same by policy.
        checked: how often each invariant was looked at; violated, undecided: what came of it.
        sometimes: what happened now and then.
        digests: of the schedules: two with one digest are one.
        failures: what was found, as the process that found it has described it.
        errors: what is wrong with the campaign itself.
    """

    counts: Counter[str] = field(factory=Counter)
    policies: dict[str, Counter[str]] = field(factory=dict)
    checked: Counter[str] = field(factory=Counter)
    violated: Counter[str] = field(factory=Counter)
    undecided: Counter[str] = field(factory=Counter)
    sometimes: Counter[str] = field(factory=Counter)
    digests: set[int] = field(factory=set)
    failures: list[dict[str, object]] = field(factory=list)
    errors: list[str] = field(factory=list)

    def count(self, policy: str, counted: Mapping[str, int]) -> None:
        """Count one schedule."""
        self.counts.update(counted)
        self.policies.setdefault(policy, Counter()).update(counted)

    def looked_at(self, names: Iterable[str]) -> None:
        """Count checks of invariants."""
        self.checked.update(list(names))

    def add(self, other: Tally) -> None:
        """Count in what another process has counted."""
        self.counts.update(other.counts)
        for policy, counted in other.policies.items():
            self.policies.setdefault(policy, Counter()).update(counted)
        self.checked.update(other.checked)
        self.violated.update(other.violated)
        self.undecided.update(other.undecided)
        self.sometimes.update(other.sometimes)
        if len(self.digests) < DISTINCT_MAX:
            self.digests |= other.digests
        self.failures += other.failures
        self.errors += other.errors

    def to_json(self) -> dict[str, object]:
        """For another process."""
        return {
            "counts": self.counts,
            "policies": self.policies,
            "checked": self.checked,
            "violated": self.violated,
            "undecided": self.undecided,
            "sometimes": self.sometimes,
            "digests": sorted(self.digests),
            "failures": self.failures,
            "errors": self.errors,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, object]) -> Tally:
        """From what `to_json` gave."""

        def counter(name: str) -> Counter[str]:
            return Counter(cast("dict[str, int]", value[name]))

        policies = cast("dict[str, dict[str, int]]", value["policies"])
        return cls(
            counts=counter("counts"),
            policies={name: Counter(counted) for name, counted in policies.items()},
            checked=counter("checked"),
            violated=counter("violated"),
            undecided=counter("undecided"),
            sometimes=counter("sometimes"),
            digests=set(cast("list[int]", value["digests"])),
            failures=cast("list[dict[str, object]]", value["failures"]),
            errors=cast("list[str]", value["errors"]),
        )

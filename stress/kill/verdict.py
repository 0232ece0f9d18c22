"""What a campaign of kills came to.

What lives here: the counts, and their report. What does not: counting (`rounds`).
"""

from __future__ import annotations

from attrs import define, field


@define
class Verdict:
    """The counts, and everything that must not have happened."""

    seed: int
    kills: int = 0
    met_live: int = 0
    met_opening: int = 0
    left_alone: int = 0
    runs: int = 0
    survivors: int = 0
    checked: int = 0
    lost: int = 0
    doubled: int = 0
    seconds: float = 0.0
    violations: list[str] = field(factory=list)

    @property
    def is_clean(self) -> bool:
        """Whether nothing was lost, doubled or otherwise wrong."""
        return not (self.lost or self.doubled or self.violations)

    def show(self) -> None:
        """Print the report: the verdict first."""
        print("OK: nothing lost, nothing doubled" if self.is_clean else "VIOLATION")
        lines = [
            ("kills", f"{self.kills} in {self.seconds:.1f} s"),
            ("… that met a live run", f"{self.met_live}"),
            ("… while the journal was opened", f"{self.met_opening}"),
            ("runs finished", f"{self.runs}, {self.survivors} of which outlived a kill"),
            ("items checked", f"{self.checked:,}"),
            ("lost", f"{self.lost:,}"),
            ("doubled", f"{self.doubled:,}"),
        ]
        for name, text in lines:
            print(f"{name:32}{text}")
        for violation in self.violations:
            print(f"violation: {violation}")
        print(f"seed {self.seed}: the same moments again with --seed {self.seed} (the machine adds its own chance)")

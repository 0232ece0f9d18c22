"""P3: a million branches: time per branch against ten thousand, and memory; each in a process of its own.

What lives here: those figures. What does not: the process (`alone`).
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from .alone import measure_apart
from .figures import Figure, Settings, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW = 10_000
GOAL_GB = 1.5


def in_memory(settings: Settings) -> Iterator[Figure]:
    """P3."""
    many = settings.choose(1_000_000, 100_000)
    # Two of the large ones keep the whole report within minutes; each is set against the median of several small ones.
    large, small = [], []
    for _ in range(settings.choose(2, 1)):
        few = [measure_apart(FEW, "memory:").seconds / FEW for _ in range(settings.choose(5, 3))]
        small.append(median(few))
        large.append(measure_apart(many, "memory:"))
    each = [cost.seconds / many for cost in large]
    note = f"{median(each) * 1e6:.0f} µs against {median(small) * 1e6:.0f} µs a branch"
    yield ratio("P3", f"{many:,} branches in memory, time per branch / at {FEW:,}", each, small, goal=1.3, note=note)
    peaks = tuple(cost.peak_bytes / 1e9 for cost in large)
    note = f"{max(peaks) * 1e9 / many:,.0f} bytes a branch"
    what = f"{many:,} branches in memory, peak memory of the process"
    yield Figure(id="P3", what=what, value=max(peaks), unit="GB", goal=GOAL_GB, samples=peaks, note=note)

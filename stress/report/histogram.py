"""Latencies in buckets that grow by 4 %: constant memory, however many there are.

What lives here: the buckets, their quantiles, and their form as JSON. What does not: what was timed.
"""

from __future__ import annotations

from math import inf, log
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

if TYPE_CHECKING:
    from collections.abc import Mapping

GROWTH: Final = 1.04
"""Upper bound of a bucket / its lower bound: no quantile is off by more than 2 %, either way."""

LEAST_S: Final = 1e-7
"""The end of the first bucket: below a tenth of a microsecond there is nothing to tell apart."""

BUCKETS: Final = 600
"""Enough for half an hour; what takes longer is counted in the last one."""

SCALE: Final = 1 / log(GROWTH)

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}
"""Those that reports show, and that thresholds know."""


@define(eq=False)
class Histogram:
    """How long many things took. Times are seconds."""

    counts: list[int] = field(factory=lambda: [0] * BUCKETS, repr=False)
    total: int = 0
    sum_s: float = 0.0
    least_s: float = inf
    most_s: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        if seconds <= LEAST_S:
            bucket = 0
        else:
            bucket = min(int(log(seconds / LEAST_S) * SCALE) + 1, BUCKETS - 1)
        self.counts[bucket] += 1
        self.total += 1
        self.sum_s += seconds
        if seconds > self.most_s:
            self.most_s = seconds
        if seconds < self.least_s:
            self.least_s = seconds

    def merge(self, other: Histogram) -> None:
        """Count all those of another, too."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total
        self.sum_s += other.sum_s
        self.least_s = min(self.least_s, other.least_s)
        self.most_s = max(self.most_s, other.most_s)

    @property
    def mean_s(self) -> float:
        """The average; 0 of nothing."""
        return self.sum_s / self.total if self.total else 0.0

    def quantile(self, share: float) -> float:
        """The time that this share of all kept within; 0 of nothing."""
        if not self.total:
            return 0.0
        left = share * self.total
        for bucket, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                middle: float = LEAST_S * GROWTH ** (bucket - 0.5)
                return min(max(middle, self.least_s), self.most_s)
        return self.most_s

    def as_json(self) -> dict[str, object]:
        """Everything, for machines: filled buckets by the seconds at which they end."""
        named = {name: self.quantile(share) for name, share in QUANTILES.items()}
        return {
            "unit": "s",
            "count": self.total,
            "mean": self.mean_s,
            "sum": self.sum_s,
            "min": self.least_s if self.total else None,
            "max": self.most_s if self.total else None,
            **named,
            "growth": GROWTH,
            "buckets": [
                {"number": number, "until": LEAST_S * GROWTH**number, "count": count}
                for number, count in enumerate(self.counts)
                if count
            ],
        }


def histogram_from_json(found: Mapping[str, object]) -> Histogram:
    """What `as_json` gave, as a histogram again."""
    made = Histogram()
    for bucket in cast("list[dict[str, int]]", found["buckets"]):
        made.counts[bucket["number"]] += bucket["count"]
        made.total += bucket["count"]
    made.sum_s = cast("float", found["sum"])
    if made.total:
        made.least_s, made.most_s = cast("float", found["min"]), cast("float", found["max"])
    return made

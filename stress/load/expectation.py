"""What `--expect` says: `p99<20ms`, `ops/s>15000`, `ops/s@10000>=15k`, `scaling@100>50%`, `bytes/branch<8KiB`.

What lives here: reading an expectation, and holding rows against it. What does not: the rows (`campaign`).
"""

from __future__ import annotations

import argparse
import operator
import re
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ..report.figures import duration, size
from ..report.record import Threshold
from .workload import WEIGHED_FROM

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from ..report.record import LoadRow

TIMES: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
SIZES: Final = {"B": 1, "kB": 1e3, "KB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
COUNTS: Final = {"": 1.0, "k": 1e3, "M": 1e6}
SHARES: Final = {"": 1.0, "%": 0.01}

COMPARE: Final[dict[str, Callable[[float, float], bool]]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}

FORM: Final = re.compile(
    r"\s*(?P<metric>[A-Za-z][\w/.]*)\s*(?:@\s*(?P<branches>[\d_]+))?\s*(?P<sign><=|>=|<|>)\s*"
    r"(?P<value>\d[\d_]*(?:\.\d+)?)\s*(?P<unit>\S*)\s*"
)

LATENCIES: Final = "p50, p99, p99.9 (any), mean, min, max"
EXAMPLES: Final = "p99<20ms, ops/s>15000, ops/s@10000>=15k, scaling@100>50%, bytes/branch<8KiB, peak<1GiB"


@frozen(kw_only=True)
class Expectation:
    """One expectation. `branches` picks a row; without it every row has to meet it."""

    text: str
    metric: str
    sign: str
    bound: float
    branches: int | None = None

    def judge(self, rows: Sequence[LoadRow]) -> Threshold:
        """Whether the rows are as expected: the worst of them decides."""
        found = [(value, row.branches) for row in rows if (value := self._measured(row, rows)) is not None]
        if not found:
            return Threshold(text=self.text, is_met=False, shown="not measured")
        worst = max(found) if self.sign in ("<", "<=") else min(found)
        is_met = COMPARE[self.sign](worst[0], self.bound)
        return Threshold(text=self.text, is_met=is_met, shown=f"{self._written(worst[0])} at {worst[1]:,} branches")

    def complaint(self, branches: Sequence[int]) -> str | None:
        """Why it can never be judged with these rows."""
        if self.branches is not None and self.branches not in branches:
            have = ", ".join(map(str, branches))
            return f"{self.text!r}: there is no row with {self.branches} branches, but {have}"
        if self.metric == "scaling" and (len(branches) < 2 or self.branches == max(branches)):
            return f"{self.text!r}: scaling needs a row with fewer branches to compare the largest with"
        asked = branches if self.branches is None else [self.branches]
        if self.metric == "bytes/branch" and max(asked) < WEIGHED_FROM:
            return f"{self.text!r}: the memory of one branch is measured with {WEIGHED_FROM} branches or more"
        return None

    def _measured(self, row: LoadRow, rows: Sequence[LoadRow]) -> float | None:
        if self.metric == "scaling":
            return self._scaling(row, rows)
        if self.branches is not None and row.branches != self.branches:
            return None
        if self.metric == "ops/s":
            return row.rate
        if self.metric == "peak":
            return row.peak_bytes
        if self.metric == "bytes/branch":
            return row.bytes_per_branch
        if self.metric == "mean":
            return row.latency.mean_s
        if self.metric == "max":
            return row.latency.most_s
        if self.metric == "min":
            return row.latency.least_s
        return row.latency.quantile(float(self.metric[1:]) / 100)

    def _scaling(self, row: LoadRow, rows: Sequence[LoadRow]) -> float | None:
        # The largest row only, against the one that was named, or else the smallest.
        if row.branches != max(one.branches for one in rows):
            return None
        against = self.branches or min(one.branches for one in rows)
        base = next((one.rate for one in rows if one.branches == against), 0.0)
        return row.rate / base if base else None

    def _written(self, value: float) -> str:
        if self.metric == "scaling":
            return f"{value:.0%}"
        if self.metric == "ops/s":
            return f"{value:,.0f}"
        if self.metric in ("peak", "bytes/branch"):
            return size(value)
        return duration(value)


def expectation(text: str) -> Expectation:
    """What an `--expect` says; the message of a mistake names the text, the part in question and what there is."""
    found = FORM.fullmatch(text)
    if found is None:
        raise _mistake(text, f"is not METRIC<VALUE or METRIC>VALUE; such as {EXAMPLES}")
    metric = found["metric"]
    units = _units(text, metric)
    if found["unit"] not in units:
        wanted = ", ".join(unit or "none" for unit in units)
        what = f"has the unit {found['unit']!r}" if found["unit"] else "has no unit"
        raise _mistake(text, f"{what}; of {metric} it is one of {wanted}")
    bound = float(found["value"].replace("_", "")) * units[found["unit"]]
    branches = int(found["branches"].replace("_", "")) if found["branches"] else None
    return Expectation(text=text.strip(), metric=metric, sign=found["sign"], bound=bound, branches=branches)


def _units(text: str, metric: str) -> dict[str, float]:
    if metric == "ops/s":
        return COUNTS
    if metric == "scaling":
        return SHARES
    if metric in ("peak", "bytes/branch"):
        return dict(SIZES)
    if metric in ("mean", "min", "max"):
        return TIMES
    share = re.fullmatch(r"p(\d{1,2}(?:\.\d+)?)", metric)
    if share is not None and float(share[1]) > 0:
        return TIMES
    raise _mistake(text, f"asks for {metric!r}, which is not measured; {LATENCIES}, ops/s, peak, bytes/branch, scaling")


def _mistake(text: str, what: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(f"{text!r} {what}")

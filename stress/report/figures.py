"""How numbers are written in reports.

What lives here: numbers, times and sizes as short text, and the tables that text and page have in common. What does
not: the text and the page.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from .histogram import QUANTILES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .histogram import Histogram
    from .record import Report

TIMES = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"))
SIZES = ((1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"))


def number(value: float) -> str:
    """Whole numbers in full with commas, others with three digits that count."""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """Such as `12.3 ms`."""
    for unit, name in TIMES:
        if seconds >= unit:
            return f"{seconds / unit:.3g} {name}" if seconds / unit < 1000 else f"{seconds / unit:,.0f} {name}"
    return f"{seconds * 1e9:.3g} ns" if seconds else "0"


def size(count: float) -> str:
    """Such as `12.3 MiB`."""
    for unit, name in SIZES:
        if abs(count) >= unit:
            return f"{count / unit:,.1f} {name}"
    return f"{count:,.0f} B"


@frozen
class Table:
    """A table of text; the first column names the row, the others hold numbers."""

    title: str
    heads: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]


def tables(report: Report) -> Iterator[Table]:
    """The tables of a report in the order in which they are read; empty ones are left out."""
    made = (
        _rows(report),
        _counters("totals", report.totals),
        _policies(report),
        _invariants(report),
        _counters("sometimes", report.sometimes),
        _latency(report.latency if len(report.rows) < 2 else None),  # numbers of branches do not mix,
    )
    yield from (table for table in made if table.lines)


def _rows(report: Report) -> Table:
    heads = ("branches", "operations", "ops/s", "p50", "p99", "p99.9", "max", "peak memory", "idle branch")
    lines = [
        (
            number(row.branches),
            number(row.operations),
            f"{row.rate:,.0f}",
            *(duration(row.latency.quantile(QUANTILES[name])) for name in ("p50", "p99", "p99.9")),
            duration(row.latency.most_s),
            size(row.peak_bytes),
            "–" if row.bytes_per_branch is None else size(row.bytes_per_branch),
        )
        for row in report.rows
    ]
    names = list(dict.fromkeys(name for row in report.rows for name in row.details))
    more = [tuple(number(row.details[name]) if name in row.details else "–" for name in names) for row in report.rows]
    full = tuple((*line, *rest) for line, rest in zip(lines, more, strict=True))
    return Table("by number of branches", (*heads, *names), full)


def _counters(title: str, counters: Mapping[str, float]) -> Table:
    return Table(title, (title, "count"), tuple((name, number(count)) for name, count in counters.items()))


def _policies(report: Report) -> Table:
    names: Sequence[str] = list(dict.fromkeys(name for counters in report.policies.values() for name in counters))
    lines = [
        (policy, *(number(counters.get(name, 0)) for name in names)) for policy, counters in report.policies.items()
    ]
    return Table("policies", ("policy", *names), tuple(lines))


def _invariants(report: Report) -> Table:
    lines = [(one.name, number(one.checked), number(one.violated), number(one.undecided)) for one in report.invariants]
    return Table("invariants", ("invariant", "checked", "violated", "undecided"), tuple(lines))


def _latency(latency: Histogram | None) -> Table:
    if latency is None or not latency.total:
        return Table("latency", (), ())
    found = {"mean": latency.mean_s, "min": latency.least_s}
    found |= {name: latency.quantile(share) for name, share in QUANTILES.items()} | {"max": latency.most_s}
    return Table("latency", ("latency", "of all"), tuple((name, duration(value)) for name, value in found.items()))

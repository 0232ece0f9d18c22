"""The report for people, as plain text.

What lives here: the order of its parts, and their layout. What does not: how a number is written (`figures`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from .figures import Table, duration, size, tables

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .record import Failure, Report

SHOWN: Final = 3
"""Failures that are shown in full: the rest is in the JSON, and the first is the one to look at."""


def human(report: Report) -> str:
    """The verdict, the thresholds, the figures, what was checked, and then what failed, with the way to repeat it."""
    parts = [_head(report), _thresholds(report)]
    parts += [layout(table) for table in tables(report)]
    parts += [_failure(one, place) for place, one in enumerate(report.failures[:SHOWN], start=1)]
    if len(report.failures) > SHOWN:
        parts.append(f"{len(report.failures) - SHOWN:,} more failures are left out here; --json has them all")
    parts += ["\n".join(f"error: {error}" for error in report.errors), "\n".join(report.notes), _foot(report)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _head(report: Report) -> str:
    subject = f" {report.subject}" if report.subject else ""
    return f"{report.verdict.value.upper()}  {report.command}{subject}: {report.reason}"


def _thresholds(report: Report) -> str:
    width = max((len(one.text) for one in report.thresholds), default=0)
    return "\n".join(
        f"{'met   ' if one.is_met else 'MISSED'}  {one.text:<{width}}  {one.shown}" for one in report.thresholds
    )


def layout(table: Table) -> str:
    """A table in columns: names to the left, numbers to the right."""
    lines = [table.heads, *table.lines]
    widths = [max(len(line[place]) for line in lines) for place in range(len(table.heads))]
    shown = []
    for line in lines:
        cells = [line[0].ljust(widths[0])] + [
            cell.rjust(width) for cell, width in zip(line[1:], widths[1:], strict=True)
        ]
        shown.append("  ".join(cells).rstrip())
    return "\n".join(shown)


def _failure(failure: Failure, place: int) -> str:
    return "\n".join(_failure_lines(failure, place))


def _failure_lines(failure: Failure, place: int) -> Iterator[str]:
    origin = [f"seed {failure.seed}"] if failure.seed is not None else []
    origin += [f"policy {failure.policy}"] if failure.policy else []
    yield f"FAILURE {place}{' (' + ', '.join(origin) + ')' if origin else ''}: {failure.sentence}"
    if failure.options:
        yield "  options: " + ", ".join(f"{name}={value}" for name, value in failure.options.items())
    if failure.plan is not None:
        yield "  plan:"
        entries = failure.plan if isinstance(failure.plan, list) else [failure.plan]
        yield from (f"    {json.dumps(entry, ensure_ascii=False, default=str)}" for entry in entries)
    if failure.switches is not None:
        yield f"  context switches: {json.dumps(failure.switches, ensure_ascii=False, default=str)}"
    if failure.lanes:
        yield ""
        yield from (f"    {line}" for line in failure.lanes.splitlines())
        yield ""
    if failure.command:
        yield f"  repeat it with: {failure.command}"


def _foot(report: Report) -> str:
    known = [f"seed {report.seed}"] if report.seed is not None else []
    known += [duration(report.seconds)] if report.seconds else []
    known += [f"peak memory {size(report.peak_bytes)}"] if report.peak_bytes else []
    known += [f"{name} {version}" for name, version in report.versions.items()]
    return " · ".join(known)

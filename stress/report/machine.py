"""The report for machines.

What lives here: its form as JSON. Fields are only ever added to a version of the schema. What does not: writing files.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .record import SCHEMA, exit_code

if TYPE_CHECKING:
    from .record import Failure, LoadRow, Report


def to_json(report: Report) -> dict[str, object]:
    """Everything, as JSON values. What a subcommand does not know is there, and empty or null."""
    return {
        "schema": SCHEMA,
        "command": report.command,
        "subject": report.subject,
        "verdict": report.verdict.value,
        "reason": report.reason,
        "exit_code": exit_code(report),
        "versions": dict(report.versions),
        "arguments": dict(report.arguments),
        "seed": report.seed,
        "seconds": report.seconds,
        "totals": dict(report.totals),
        "policies": {policy: dict(counters) for policy, counters in report.policies.items()},
        "invariants": {
            one.name: {"checked": one.checked, "violated": one.violated, "undecided": one.undecided}
            for one in report.invariants
        },
        "sometimes": dict(report.sometimes),
        "sometimes_least": report.sometimes_least,
        "latency": None if report.latency is None else report.latency.as_json(),
        "rows": [_row(one) for one in report.rows],
        "series": [
            {"name": one.name, "unit": one.unit, "points": [list(point) for point in one.points]}
            for one in report.series
        ],
        "peak_bytes": report.peak_bytes,
        "thresholds": [{"text": one.text, "met": one.is_met, "shown": one.shown} for one in report.thresholds],
        "failures": [_failure(one) for one in report.failures],
        "errors": list(report.errors),
        "notes": list(report.notes),
    }


def _row(row: LoadRow) -> dict[str, object]:
    return {
        "branches": row.branches,
        "operations": row.operations,
        "seconds": row.seconds,
        "ops_per_s": row.rate,
        "latency": row.latency.as_json(),
        "peak_bytes": row.peak_bytes,
        "bytes_per_branch": row.bytes_per_branch,
        "details": dict(row.details),
    }


def _failure(failure: Failure) -> dict[str, object]:
    return {
        "sentence": failure.sentence,
        "seed": failure.seed,
        "policy": failure.policy,
        "options": dict(failure.options),
        "plan": failure.plan,
        "switches": failure.switches,
        "lanes": failure.lanes,
        "lanes_svg": failure.lanes_svg,
        "command": failure.command,
        "repro": failure.repro,
    }

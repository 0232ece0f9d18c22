"""The report of a campaign: for people, the verdict first, and for machines.

What lives here: text and JSON. What does not: counting (`images`, `faults`).
"""

from __future__ import annotations

import platform
import sqlite3
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Final

import apsw
from attrs import asdict

from .judging import KINDS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .campaign import Outcome
    from .images import Failure, Tally

SCHEMA: Final = 1
SHOWN_MAX: Final = 12
"""Failures that are told to people one by one."""

HEADS: Final = {
    "images": ("workload", "boundaries", "images", "distinct", "finished", "seconds", "wrong"),
    "io-errors": ("workload", "points", "images", "finished", "seconds", "wrong"),
}


def lines(outcome: Outcome) -> Iterator[str]:
    """The report, line by line."""
    yield _verdict(outcome)
    yield ""
    heads = HEADS[outcome.mode]
    rows = [_row(outcome, tally) for tally in outcome.tallies]
    if len(rows) > 1:
        rows.append(_row(outcome, _total(outcome)))
    yield f"{heads[0]:<12}" + "".join(f"{head:>12}" for head in heads[1:])
    for row in rows:
        yield f"{row[0]:<12}" + "".join(f"{cell:>12}" for cell in row[1:])
    yield ""
    for name, count in _total(outcome).happened.items():
        yield f"{name:<40}{count:>12,}"
    if outcome.missed:
        yield f"never happened: {', '.join(outcome.missed)}; so this campaign proves little"
    if outcome.controls:
        yield ""
        yield "controls: broken on purpose, to be found out"
        for control in outcome.controls:
            found = ", ".join(f"{count} {kind}" for kind, count in control.found.items()) or "nothing wrong"
            mark = "found out" if control.is_found_out else "NOT FOUND OUT"
            yield f"  {control.name:<42}{mark:<15}{found}"
    yield from _failures(outcome)
    yield ""
    yield f"seed {outcome.seed}, {outcome.seconds:.1f} s · " + " · ".join(f"{k} {v}" for k, v in versions().items())


def _verdict(outcome: Outcome) -> str:
    total = _total(outcome)
    if outcome.violations:
        found = ", ".join(f"{count} × {KINDS[kind]}" for kind, count in total.found.items())
        return f"VIOLATION: {found}"
    if not all(control.is_found_out for control in outcome.controls):
        return "VIOLATION: a control that is broken on purpose was not found out"
    if outcome.mode == "images":
        return f"OK: {total.distinct:,} distinct images, 0 lost, 0 unreadable, 0 half commits, 0 ended otherwise"
    return f"OK: {total.points:,} failing points, 0 false acknowledgements, 0 hangs, 0 ended otherwise"


def _row(outcome: Outcome, tally: Tally) -> tuple[str, ...]:
    distinct = [tally.distinct] if outcome.mode == "images" else []
    numbers = (tally.points, tally.images, *distinct, tally.finished)
    return tally.name, *(f"{number:,}" for number in numbers), f"{tally.seconds:.1f}", f"{sum(tally.found.values()):,}"


def _total(outcome: Outcome) -> Tally:
    from .images import Tally

    total = Tally("all")
    for tally in outcome.tallies:
        total.add(tally)
    return total


def _failures(outcome: Outcome) -> Iterator[str]:
    failures = [failure for tally in outcome.tallies for failure in tally.failures]
    for failure in failures[:SHOWN_MAX]:
        yield ""
        yield f"{failure.finding.kind}: {failure.workload}, {failure.finding.text}"
        yield f"  again: {command(outcome, failure)}"
    if outcome.violations > SHOWN_MAX:
        yield f"… and {outcome.violations - min(SHOWN_MAX, len(failures)):,} more"


def command(outcome: Outcome, failure: Failure) -> str:
    """What to type to have a failure again."""
    at = f" --at '{failure.at}'" if failure.at else ""
    mode = " --io-errors" if outcome.mode == "io-errors" else ""
    return f"python -m stress crash {failure.workload}{mode} --seed {failure.seed}{at}"


def versions() -> dict[str, str]:
    """What it was found on."""
    found = {"python": platform.python_version(), "sqlite written with": apsw.sqlite_lib_version()}
    found["read with"] = sqlite3.sqlite_version
    for package in ("actorflow", "trio", "apsw"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "unknown"
    return {**found, "platform": sys.platform}


def as_json(outcome: Outcome) -> dict[str, object]:
    """The same for machines."""
    failures = [
        {**asdict(failure), "command": command(outcome, failure)}
        for tally in outcome.tallies
        for failure in tally.failures
    ]
    return {
        "schema": SCHEMA,
        "command": "crash",
        "mode": outcome.mode,
        "verdict": {0: "ok", 1: "violation", 2: "undecided"}[outcome.code],
        "seed": outcome.seed,
        "seconds": round(outcome.seconds, 3),
        "versions": versions(),
        "total": asdict(_total(outcome), filter=_counts),
        "workloads": [asdict(tally, filter=_counts) for tally in outcome.tallies],
        "controls": [{**asdict(control), "found_out": control.is_found_out} for control in outcome.controls],
        "never_happened": outcome.missed,
        "failures": failures,
    }


def _counts(attribute: object, value: object) -> bool:
    return getattr(attribute, "name", "") != "failures"

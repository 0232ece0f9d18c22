"""What came of the mutants, as a table and as JSON.

What lives here: the layout; survivors first. What does not: the campaign.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..child import versions
from .campaign import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from .campaign import Result, Tally

__all__ = ["as_json", "as_text"]

SCHEMA: Final = "actorflow-stress-selftest/1"
SHOWN: Final = 110
"""Letters of a sentence in the table; the JSON has all."""
ORDER: Final = (Outcome.SURVIVED, Outcome.ERROR, Outcome.FOUND)


def as_text(tally: Tally) -> str:
    """The verdict, the table, the control."""
    lines = [_verdict(tally), ""]
    rows = [_row(one) for outcome in ORDER for one in tally.those(outcome)]
    if rows:
        lines += [*_layout([("mutant", "invariant", "seeds", "s", "found by"), *rows]), ""]
    control = tally.control
    if control is not None:
        what = {
            Outcome.SURVIVED: f"nothing in {control.seeds} seeds, and nothing by the checks",
            Outcome.FOUND: f"seed {control.seeds - 1}, {control.where}: {control.oracle}: {control.sentence}",
            Outcome.ERROR: f"error: {control.sentence}",
        }
        lines.append(f"the kernel as it is: {what[control.outcome]} ({control.seconds:.1f} s)")
        if control.never:
            lines.append(f"never happened: {'; '.join(control.never)}")
    excluded = sum(len(one.excluded) for one in tally.results)
    if excluded:
        lines.append(f"left out: {excluded} findings that the kernel as it is gives in the same seed")
    lines.append(f"{tally.seconds:.0f} s in all")
    return "\n".join(lines) + "\n"


def _verdict(tally: Tally) -> str:
    survivors, errors = tally.those(Outcome.SURVIVED), tally.those(Outcome.ERROR)
    said = f"{len(tally.those(Outcome.FOUND))} of {len(tally.results)} mutants were found"
    if tally.control is not None and tally.control.outcome is Outcome.FOUND:
        return f"VIOLATED  {said}, and something was found where nothing is planted"
    if survivors:
        return f"VIOLATED  {said}; {', '.join(one.name for one in survivors)} survived"
    if tally.exit_code:
        failed = [*errors, *([tally.control] if tally.control is not None else [])]
        return (
            f"ERROR  {said}; {', '.join(one.name for one in failed if one.outcome is Outcome.ERROR)} could not be tried"
        )
    return f"OK  {said}"


def _layout(rows: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    for name, invariants, seeds, seconds, found in rows:
        left = f"{name:<{widths[0]}}  {invariants:<{widths[1]}}"
        yield f"{left}  {seeds:>{widths[2]}}  {seconds:>{widths[3]}}  {found}"


def _row(one: Result) -> tuple[str, ...]:
    found = one.sentence if len(one.sentence) <= SHOWN else f"{one.sentence[: SHOWN - 1]}…"
    if one.outcome is Outcome.FOUND:
        found = f"{one.where}: {one.oracle}: {found}"
    else:
        found = f"{one.outcome.value.upper()} {found}".strip()
    return one.name, " ".join(one.invariants), str(one.seeds), f"{one.seconds:.1f}", found


def as_json(tally: Tally) -> dict[str, object]:
    """Everything, for machines."""
    return {
        "schema": SCHEMA,
        "verdict": ("ok", "violated", "error")[tally.exit_code],
        "versions": versions(),
        "seconds": tally.seconds,
        "control": None if tally.control is None else _fields(tally.control),
        "mutants": [_fields(one) for outcome in ORDER for one in tally.those(outcome)],
    }


def _fields(one: Result) -> dict[str, object]:
    return {
        "name": one.name,
        "invariants": list(one.invariants),
        "outcome": one.outcome.value,
        "where": one.where,
        "oracle": one.oracle,
        "sentence": one.sentence,
        "seeds": one.seeds,
        "seconds": one.seconds,
        "excluded": list(one.excluded),
        "never": list(one.never),
    }

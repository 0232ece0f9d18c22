"""How small a failure is made: planted bugs are found, shrunk, and had again a hundred times.

What lives here: `selftest --shrink`, and the process of one of its bugs. What does not: shrinking itself
(`actorflow.testing`). Nothing of actorflow is imported before the bug is planted.
"""

from __future__ import annotations

import json
import logging
import statistics
import subprocess
import sys
import time
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ..child import command, environment
from .mutants import MUTANTS
from .planting import plant

if TYPE_CHECKING:
    import random

    from ..oracles import Finding
    from ..scenario import Scenario

__all__ = ["shrink_some"]

SOME: Final = (
    ("increment-as-get-and-set", "aggregate"),
    ("stale-read-after-ack", "aggregate"),
    ("replies-swapped", "hot-key"),
    ("drops-last-of-full-batch", "slow"),
    ("lost-wake-up", "aggregate"),
    ("newest-message-first", "aggregate"),
    ("order-between-keys", "aggregate"),
    ("write-without-a-fact", "hot-key"),
)
"""Bugs of the order of things, and the scenario that finds each."""

COLUMNS: Final = ("branches", "operations", "switches", "before", "runs", "seconds", "again")
WIDTHS: Final = (10, 12, 10, 8, 8, 9, 7)

SEEDS: Final = 500
SHRINK_S: Final = 60.0
REPLAYS: Final = 100


def shrink_some() -> int:
    """Print the table; the exit code."""
    rows: list[dict[str, object]] = []
    heads = zip(COLUMNS, WIDTHS, strict=True)
    print(f"{'planted bug':28}" + "".join(f"{head:>{width}}" for head, width in heads))
    for mutant, scenario in SOME:
        done = subprocess.run(
            command("stress.selftest.small", mutant, scenario),
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            print(f"{mutant}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
            return 2
        row = cast("dict[str, object]", json.loads(done.stdout))
        rows.append(row)
        cells = zip(COLUMNS, WIDTHS, strict=True)
        print(f"{mutant:28}" + "".join(f"{row[name]!s:>{width}}" for name, width in cells), flush=True)
    for name in COLUMNS[:3]:
        print(f"median of {name}: {statistics.median(cast('int', row[name]) for row in rows):g}")
    return 0 if all(row["again"] == REPLAYS for row in rows) else 1


def main() -> int:
    """One bug: print what its failure was shrunk to, as one line of JSON."""
    mutant, name = sys.argv[1:]
    plant(MUTANTS[mutant])
    logging.getLogger("actorflow").setLevel(logging.CRITICAL + 1)
    from actorflow.testing import ScheduleFailure, explore, replay

    from ..scenario import Size, find

    scenario = find(name)

    def plan(chance: random.Random) -> object:
        return json.loads(json.dumps(scenario.plan(chance, Size(branches=5, ops=5))))

    program = partial(_findings, scenario)
    began = time.process_time()
    try:
        explore(program, seeds=SEEDS, plan=plan, invariants=[_nothing], check_stores=False, shrink_for=SHRINK_S)
    except ScheduleFailure as failure:
        seconds = time.process_time() - began
        again = 0
        for _ in range(REPLAYS):
            try:
                replay(program, failure.repro, plan=plan, invariants=[_nothing], check_stores=False)
            except ScheduleFailure as second:
                again += second.failure.passage.digest == failure.failure.passage.digest
        branches = cast("dict[str, list[dict[str, object]]]", failure.plan)["branches"]
        row = {
            "branches": len(branches),
            "operations": sum(map(_operations, branches)),
            "switches": len(failure.switches),
            "before": failure.failure.switches,
            "runs": failure.failure.runs,
            "seconds": round(seconds, 1),
            "again": again,
        }
        print(json.dumps(row))
        return 0
    print(f"{mutant} was not found by {name} in {SEEDS} seeds", file=sys.stderr)
    return 2


async def _findings(scenario: Scenario, plan: object) -> list[Finding]:
    from ..driving import drive
    from ..recording import Record

    found = await drive(scenario, plan, Record())
    return [one for one in found if not one.undecided]


def _nothing(found: list[Finding]) -> object:
    return "; ".join(f"{one.invariant}: {one.sentence}" for one in found) or True


def _operations(branch: dict[str, object]) -> int:
    """Of a branch of one of the scenarios above: a list of them, or how many."""
    for name in ("ops", "bursts"):
        if isinstance(branch.get(name), list):
            return len(cast("list[object]", branch[name]))
    return cast("int", branch.get("times", 0))


if __name__ == "__main__":
    sys.exit(main())

"""`python -m stress selftest`: options, and what they lead to.

What lives here: the subcommand. What does not: the processes (`campaign`), the table (`report`).
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import count

if TYPE_CHECKING:
    import argparse

__all__ = ["add_options", "run"]

SEEDS = 500
JOBS = 2


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `selftest`."""
    parser.add_argument(
        "mutants", nargs="*", metavar="MUTANT", help="bugs to plant (default: all, and none at all as a control)"
    )
    parser.add_argument("--seeds", type=count, default=SEEDS, metavar="N", help=f"for each, at most (default: {SEEDS})")
    parser.add_argument("--jobs", type=count, default=JOBS, metavar="N", help=f"processes at once (default: {JOBS})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too, for machines")
    parser.add_argument("--shrink", action="store_true", help="instead, show how small the failures of some become")
    parser.add_argument("--list", action="store_true", help="name the mutants, and do nothing")


def run(options: argparse.Namespace) -> int:
    """Plant, search and report; returns the exit code."""
    if options.shrink:
        from .small import shrink_some

        return shrink_some()
    from .campaign import CONTROL, Outcome, Result, campaign
    from .mutants import UnknownMutant, named
    from .report import as_json, as_text

    try:
        mutants = named(options.mutants)
    except UnknownMutant as unknown:
        print(unknown, file=sys.stderr)
        return 2
    if options.list:
        for mutant in mutants:
            print(f"{mutant.name}  {' '.join(mutant.invariants)}  {mutant.module}\n    {mutant.why}")
        return 0

    def tell(result: Result) -> None:
        is_bad = result.outcome is not (Outcome.SURVIVED if result.name == CONTROL else Outcome.FOUND)
        if is_bad or sys.stderr.isatty():
            print(f"{result.name}: {result.outcome.value} {result.where} {result.sentence[:120]}", file=sys.stderr)

    began = time.perf_counter()
    tally = campaign(mutants, options.seeds, options.jobs, tell, control=not options.mutants)
    tally.seconds = time.perf_counter() - began
    print(as_text(tally), end="")
    if options.json is not None:
        try:
            options.json.write_text(json.dumps(as_json(tally), indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            print(f"{options.json} cannot be written: {error.strerror or error}", file=sys.stderr)
            return tally.exit_code or 2
        print(f"written: {options.json}")
    return tally.exit_code

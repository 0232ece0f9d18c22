"""`python -m stress crash`: options, and what they lead to.

What lives here: the subcommand. What does not: the campaign (`campaign`), the report (`report`).
"""

from __future__ import annotations

import json
import os
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import count, fresh_seed, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from .campaign import Outcome, Task
    from .faults import Plan as FaultPlan
    from .images import Plan as ImagePlan

__all__ = ["add_options", "run"]

IMAGES = 5
DEEP = 16
JOBS = 2


class _WrongUse(Exception):
    """Options that do not go together."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `crash`."""
    parser.add_argument("workloads", nargs="*", metavar="WORKLOAD", help="which (default: all; `list` names them)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument(
        "--images", type=count, metavar="N", help=f"files that each crash may have left (default: {IMAGES})"
    )
    mode.add_argument("--io-errors", action="store_true", help="instead, let each call to the disk fail")
    parser.add_argument(
        "--time", type=seconds, metavar="T", help="go on with new seeds for so long, such as 90s or 10m"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the workloads and the images (default: a new one)")
    parser.add_argument("--every", type=count, default=1, metavar="N", help="try only every N-th place (default: all)")
    parser.add_argument(
        "--deep", type=count, default=DEEP, metavar="N", help=f"finish the runs of every N-th image (default: {DEEP})"
    )
    parser.add_argument("--at", metavar="WHERE", help="one image or one fault only, as a report names it")
    parser.add_argument("--jobs", type=count, metavar="N", help=f"processes (default: {JOBS}, or fewer cores)")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the files of images that are wrong")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the report as JSON, too")


def run(options: argparse.Namespace) -> int:
    """Crash and report; returns the exit code."""
    if find_spec("apsw") is None:
        print("crash needs apsw to stand between SQLite and the disk; install actorflow[apsw]", file=sys.stderr)
        return 2
    from .campaign import Outcome, run_all, workloads
    from .report import as_json, lines

    outcome = Outcome(
        "io-errors" if options.io_errors else "images", fresh_seed() if options.seed is None else options.seed
    )
    known = workloads(outcome.mode)
    if options.workloads == ["list"]:
        print("\n".join(f"{name:<12}{workload.summary}" for name, workload in known.items()))
        return 0
    try:
        tasks = _tasks(options, outcome, list(known))
    except _WrongUse as error:
        print(error, file=sys.stderr)
        return 2
    outcome.complete = not options.workloads and options.every == 1 and not options.time
    jobs = options.jobs or min(JOBS, os.cpu_count() or 1)
    watch = sys.stderr.isatty()
    run_all(
        outcome,
        tasks,
        jobs,
        lambda text: print(text, file=sys.stderr) if watch else None,
        controls=options.at is None,
    )
    print("\n".join(lines(outcome)))
    if options.json is not None:
        options.json.write_text(json.dumps(as_json(outcome), indent=2) + "\n", encoding="utf-8")
    return outcome.code


def _tasks(options: argparse.Namespace, outcome: Outcome, known: Sequence[str]) -> list[Task]:
    from .campaign import Task

    names = options.workloads or known
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise _WrongUse(f"there is no workload {unknown[0]!r} for this; there are {', '.join(known)}")
    if options.at is not None and (len(names) != 1 or options.seed is None):
        raise _WrongUse("--at goes with one workload and its --seed")
    plan: ImagePlan | FaultPlan = _fault_plan(options) if options.io_errors else _image_plan(options)
    jobs = options.jobs or min(JOBS, os.cpu_count() or 1)
    share = None if options.time is None else options.time * min(jobs, len(names)) / len(names)
    return [Task(mode=outcome.mode, name=name, seed=outcome.seed, plan=plan, seconds=share) for name in names]


def _image_plan(options: argparse.Namespace) -> ImagePlan:
    from .disk import kinds
    from .images import Plan

    wanted = kinds(options.images or IMAGES)
    only = None
    if options.at is not None:
        place, _, kind = options.at.partition(":")
        if not place.isdecimal() or kind not in kinds(1000):
            raise _WrongUse(f"--at {options.at}: a place and a kind of image, such as 120:subset")
        only = (int(place), kind)
    return Plan(kinds=wanted, stride=options.every, deep=options.deep, only=only, keep=options.keep)


def _fault_plan(options: argparse.Namespace) -> FaultPlan:
    from .faults import Plan
    from .vfs import Fault

    try:
        only = None if options.at is None else Fault.parse(options.at)
    except ValueError:
        raise _WrongUse(f"--at {options.at}: a fault such as sync:7:EIO:once") from None
    return Plan(stride=options.every, only=only)

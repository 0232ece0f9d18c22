"""`python -m stress load`: options, and what they lead to.

What lives here: the subcommand. What does not: the rows (`campaign`), the report (`report`).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..options import count, counts, fresh_seed
from ..report.delivery import add_report_options, deliver
from ..report.live import Live

if TYPE_CHECKING:
    from .expectation import Expectation

__all__ = ["add_options", "journal", "run"]

BRANCHES = [10, 100, 1_000, 10_000]
TOTAL = 100_000
WORKLOAD = "pushes"


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `load`."""
    parser.add_argument(
        "scenario",
        nargs="?",
        default=WORKLOAD,
        metavar="SCENARIO",
        help="pushes (the default) or increments: one key, every reply accounted for; or any scenario of `stress run`",
    )
    parser.add_argument(
        "--branches",
        type=counts,
        default=BRANCHES,
        metavar="N,N…",
        help=f"parallel branches, a row for each number (default: {','.join(map(str, BRANCHES))})",
    )
    parser.add_argument(
        "--total", type=count, default=TOTAL, metavar="N", help=f"operations of a row (default: {TOTAL:,}; 1e6 is fine)"
    )
    parser.add_argument(
        "--journal",
        type=journal,
        default="memory:",
        metavar="URL",
        help="memory: (the default), sqlite, or sqlite:FILE",
    )
    parser.add_argument(
        "--rate",
        type=count,
        metavar="N",
        help="begin so many operations per second, whatever becomes of those before, and count latency from when each "
        "was to begin (default: a branch begins its next when it has the answer to the last)",
    )
    parser.add_argument(
        "--expect",
        type=_expectation,
        action="append",
        default=[],
        metavar="'p99<20ms'",
        help="exit with 3 if it is not so; also 'ops/s>15000', 'ops/s@10000>15k', 'scaling@100>50%%', "
        "'bytes/branch<8KiB', 'peak<1GiB'; may be repeated",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of everything random (default: a new one)")
    add_report_options(parser)


def journal(text: str) -> str:
    """The journal that a row is measured on; `sqlite` is a new file for each."""
    if text in ("memory:", "sqlite") or (text.startswith("sqlite:") and len(text) > len("sqlite:")):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} names no journal; memory:, sqlite (a new file) or sqlite:FILE")


def _expectation(text: str) -> Expectation:
    from .expectation import expectation  # late: it brings trio, which `--help` has no use for

    return expectation(text)


def run(options: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    from .campaign import Settings, campaign

    wrong = [text for one in options.expect if (text := one.complaint(options.branches)) is not None]
    wrong += _unfit(options)
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 2
    settings = Settings(
        workload=options.scenario,
        branches=options.branches,
        total=options.total,
        journal=options.journal,
        rate=options.rate,
        seed=fresh_seed() if options.seed is None else options.seed,
        expectations=options.expect,
    )
    return deliver(campaign(settings, Live()), json_file=options.json, html_file=options.html)


def _unfit(options: argparse.Namespace) -> list[str]:
    """Why there is no load of this name, or not with these options."""
    name: str = options.scenario
    from ..scenario import UnknownScenario, find, names
    from .workload import WORKLOADS

    if name in WORKLOADS:
        return []
    try:
        scenario = find(name)
    except UnknownScenario:
        known = [*WORKLOADS, *(one for one in names() if find(one).for_load)]
        return [f"there is no load {name!r}; there are {', '.join(known)}"]
    if not scenario.for_load:
        return [f"{name} is no load: it waits for timers or does not grow with the branches; `stress run` it"]
    wrong = []
    if options.rate is not None:
        wrong.append(f"--rate is for {' and '.join(WORKLOADS)}: {name} decides itself when its operations begin")
    if options.journal.startswith("sqlite:"):
        wrong.append(f"the runs of {name} have the same ids in each plan: take --journal sqlite, a new file for each")
    return wrong

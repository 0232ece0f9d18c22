"""`python -m stress run`: options, and what they lead to.

What lives here: the subcommand, and which seeds of which scenarios there are. What does not: running them (`batch`),
sharing them out (`campaign`).
"""

from __future__ import annotations

import argparse
import sys
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..options import count, seconds
from ..own import command as own
from ..report import add_report_options, deliver
from .options import add_seed_options, jobs_by_default, settings_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .pool import Job

__all__ = ["add_options", "run"]

SEEDS: Final = 10_000
QUICK: Final = 1_500
BATCH: Final = 30
"""Seeds that a process takes at once: seconds of work, and each policy as often as every other."""

WEIGHTS: Final[Mapping[str, int]] = {
    **dict.fromkeys(("aggregate", "hot-key", "many-runs", "nested", "retry", "slow", "verbs"), 4),
    **dict.fromkeys(("cancel", "closing", "suspend"), 2),
}
"""How many batches a scenario has for one of those that are not named here."""

EVERYTHING_FROM: Final = 1_000
"""Seeds of a campaign from which on everything that has to happen now and then must have happened."""

OFTEN_FROM: Final = SEEDS
"""Seeds of a campaign of all scenarios from which on it must have happened `OFTEN` times, and the runtime must have
reached each of its named places `PLACES_OFTEN` times."""

OFTEN: Final = 10
PLACES_OFTEN: Final = 100
OUT_OF_REACH: Final = frozenset({"snapshot: taken"})
"""Places that no plan comes to: a run takes a snapshot after megabytes in the journal."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `run`."""
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help="names, or FILE.py:CLASS for a scenario or a workflow of yours (default: all)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seeds", type=count, metavar="N", help=f"of all scenarios together (default: {SEEDS:,}; 1e6 is fine)"
    )
    length.add_argument("--time", type=seconds, metavar="T", help="go on for so long instead, such as 90s, 10m or 1h")
    length.add_argument("--quick", action="store_true", help=f"{QUICK:,} seeds: a look before a commit")
    parser.add_argument("--seed", type=_seed, default=0, metavar="N", help="the first seed (default: 0)")
    add_seed_options(parser)
    add_campaign_options(parser)
    own.add_options(parser)


def add_campaign_options(parser: argparse.ArgumentParser) -> None:
    """Those that `explore` has, too."""
    parser.add_argument("--jobs", type=count, metavar="N", help="processes (default: as many as processors)")
    parser.add_argument(
        "--max-failures", type=count, default=10, metavar="N", help="end after so many violations (default: 10)"
    )
    parser.add_argument(
        "--shrink-for",
        type=seconds,
        default=30.0,
        metavar="T",
        help="processor time for making a violation small (default: 30s; 0s: leave it as it is)",
    )
    parser.add_argument(
        "--repros", type=Path, default=Path(), metavar="DIR", help="where repro files go (default: this folder)"
    )
    add_report_options(parser)


def _seed(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no seed: a whole number from 0 on")


def run(options: argparse.Namespace) -> int:
    """Run the campaign and report; returns the exit code."""
    from actorflow.testing.faults import PLACES

    from ..report.live import Live
    from ..scenario import UnknownScenario, names
    from .batch import REACHED
    from .campaign import Campaign
    from .catalogue import chosen, scenario_of

    if not options.repros.is_dir():
        print(f"there is no folder {options.repros}", file=sys.stderr)
        return 2
    if own.is_workflow(options.scenarios, scenario_of):
        return own.run(options, settings_of(options).faults)
    try:
        scenarios = chosen(options.scenarios)
    except UnknownScenario as error:
        print(error, file=sys.stderr)
        return 2
    seeds = None if options.time is not None else QUICK if options.quick else options.seeds or SEEDS
    campaign = Campaign(
        command="run",
        subject="all scenarios" if not options.scenarios or "all" in options.scenarios else ", ".join(scenarios),
        workers=options.jobs or jobs_by_default(),
        folder=options.repros,
        live=Live(),
        failures_max=options.max_failures,
        seconds=options.time,
    )
    campaign.conduct(batches(scenarios, options, seeds), seeds)
    done = campaign.tally.counts["schedules"]
    reached = {place: campaign.tally.sometimes[f"{REACHED}{place}"] for place in PLACES}
    missed = [place for place, times in reached.items() if not times]
    is_whole = options.policy == "mix" and done >= EVERYTHING_FROM and not campaign.failures
    is_full = is_whole and done >= OFTEN_FROM and scenarios == names() and not settings_of(options).given
    if is_full:
        campaign.tally.errors += [
            f"tested too little: {place!r} was reached {times} times in the runtime, and not {PLACES_OFTEN} times"
            for place, times in reached.items()
            if times < PLACES_OFTEN and place not in OUT_OF_REACH
        ]
    report = campaign.report(
        {
            "scenarios": ", ".join(scenarios),
            "seeds": seeds if seeds is not None else f"as many as in {options.time:.0f} s",
            "policy": options.policy,
            "branches": options.branches or "by seed",
            "ops": options.ops or "by seed",
            "faults": options.faults or "in some seeds",
            "jobs": campaign.workers,
        },
        seed=options.seed,
        rare=OFTEN if is_full else 1 if is_whole else 0,
        notes=(f"never reached in the runtime: {', '.join(missed)}",) if missed else (),
    )
    return deliver(report, json_file=options.json, html_file=options.html)


def batches(scenarios: list[str], options: argparse.Namespace, seeds: int | None) -> Iterator[Job]:
    """Batches of all scenarios in turn, by their weights; each scenario has its seeds from the first one on."""
    from .batch import Batch

    weights = {name: WEIGHTS.get(name, 1) if len(scenarios) > 1 else 1 for name in scenarios}
    next_seed = dict.fromkeys(scenarios, options.seed)
    left = seeds
    for turn in counting():
        for name, weight in weights.items():
            if turn % max(weights.values()) >= weight:
                continue
            number = BATCH if left is None else min(BATCH, left)
            if not number:
                return
            batch = Batch(
                scenario=name,
                first=next_seed[name],
                count=number,
                settings=settings_of(options),
                shrink_for=options.shrink_for,
            )
            next_seed[name] += number
            left = None if left is None else left - number
            yield {"kind": "run", **batch.to_json()}

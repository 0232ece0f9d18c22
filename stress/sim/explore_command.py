"""`python -m stress explore`: options, and what they lead to.

What lives here: the subcommand, and which plans are gone through. What does not: going through one (`exhaustive`).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Final

from ..options import count, seconds
from ..report import deliver
from .options import jobs_by_default
from .run_command import add_campaign_options

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .pool import Job as PoolJob

__all__ = ["add_options", "jobs", "run"]

PREEMPTIONS: Final = 2
"""Nearly all faults of order need no more: each one more multiplies the schedules by their length."""

PLANS: Final = 5
TIME_S: Final = 180.0
PLAN_S: Final = 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `explore`."""
    parser.add_argument(
        "scenarios",
        nargs="*",
        metavar="SCENARIO",
        help="names, or FILE.py:CLASS (default: every pair and every triple of store operations)",
    )
    parser.add_argument(
        "--preemptions",
        type=_number,
        default=PREEMPTIONS,
        metavar="N",
        help=f"all schedules with at most so many switches (default: {PREEMPTIONS})",
    )
    parser.add_argument("--branches", type=count, metavar="N", help="2 or 3 (default: both; for a scenario, 2)")
    parser.add_argument("--ops", type=count, default=1, metavar="N", help="of a branch of a scenario (default: 1)")
    parser.add_argument(
        "--plans", type=count, default=PLANS, metavar="N", help=f"plans of each scenario (default: {PLANS})"
    )
    parser.add_argument(
        "--time",
        type=seconds,
        metavar="T",
        help=f"begin no new plan after so long (default: {TIME_S:.0f}s for scenarios; the matrix is gone through)",
    )
    add_campaign_options(parser)


def _number(text: str) -> int:
    if text.isdecimal():
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number from 0 on")


def run(options: argparse.Namespace) -> int:
    """Go through all schedules and report; returns the exit code."""
    from ..report.live import Live
    from ..scenario import UnknownScenario
    from .campaign import Campaign
    from .catalogue import chosen

    try:
        scenarios = chosen(options.scenarios) if options.scenarios else []
    except UnknownScenario as error:
        print(error, file=sys.stderr)
        return 2
    if not scenarios and options.branches not in (None, 2, 3):
        print("the matrix is of 2 or 3 branches; name a scenario for more", file=sys.stderr)
        return 2
    if not options.repros.is_dir():
        print(f"there is no folder {options.repros}", file=sys.stderr)
        return 2
    limit = options.time or (TIME_S if scenarios else None)
    campaign = Campaign(
        command="explore",
        subject=", ".join(scenarios) or "pairs and triples of store operations",
        workers=options.jobs or jobs_by_default(),
        folder=options.repros,
        live=Live(),
        failures_max=options.max_failures,
        seconds=limit,
    )
    campaign.conduct(jobs(options, scenarios))
    counts = campaign.tally.counts
    open_ended = counts["plans"] - counts["plans with all schedules"]
    notes = (f"{open_ended:,} plans have more schedules than there was time for",) if open_ended else ()
    arguments = {
        "preemptions": options.preemptions,
        "branches": options.branches or ("2" if scenarios else "2 and 3"),
        "jobs": campaign.workers,
        **({"ops": options.ops, "plans": options.plans} if scenarios else {}),
    }
    return deliver(campaign.report(arguments, notes=notes), json_file=options.json, html_file=options.html)


def jobs(options: argparse.Namespace, scenarios: list[str]) -> Iterator[PoolJob]:
    """All plans, as jobs."""
    from .driven import Settings
    from .exhaustive import Job

    if not scenarios:
        yield from _matrix(options)
        return
    settings = Settings(branches=options.branches or 2, ops=options.ops)
    for number in range(options.plans):
        for name in scenarios:
            job = Job(
                scenario=name,
                seed=number,
                preemptions=options.preemptions,
                seconds=min(PLAN_S, options.time or PLAN_S),
                shrink_for=options.shrink_for,
                settings=settings,
            )
            yield {"kind": "explore", **job.to_json()}


def _matrix(options: argparse.Namespace) -> Iterator[PoolJob]:
    """Pairs at every pace of the runtime, and on a journal that takes its time; triples at its usual paces."""
    from .exhaustive import Job, paces
    from .small import SmallScenario, matrix

    for branches in (2, 3) if options.branches is None else (options.branches,):
        ways = [("memory", seed, options.preemptions) for seed in (paces() if branches == 2 else paces()[-2:])]
        if branches == 2:
            ways.append(("durable", 0, min(1, options.preemptions)))
        for plan in matrix(branches):
            # What set_state does has no name in a history but that of a set, which the facts tell apart.
            oracles = ("client",) if "set_state" in plan["verbs"] else ("client", "facts", "journal")
            for journal, seed, preemptions in ways:
                job = Job(
                    scenario=SmallScenario.name,
                    seed=seed,
                    plan=plan,
                    journal=journal,
                    oracles=oracles,
                    preemptions=preemptions,
                    shrink_for=options.shrink_for,
                )
                yield {"kind": "explore", **job.to_json()}

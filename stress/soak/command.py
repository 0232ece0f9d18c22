"""`python -m stress soak`: options, and what they lead to.

What lives here: the subcommand. What does not: the rounds (`campaign`), the report (`report`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..load.command import journal
from ..options import fresh_seed, seconds
from ..report.delivery import add_report_options, deliver
from ..report.live import Live

if TYPE_CHECKING:
    import argparse

__all__ = ["add_options", "run"]

TIME_S = 30 * 60.0


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `soak`."""
    parser.add_argument("--time", type=seconds, default=TIME_S, metavar="T", help="how long (default: 30m)")
    parser.add_argument(
        "--journal", type=journal, default="sqlite", metavar="URL", help="sqlite (the default), sqlite:FILE, or memory:"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="of the first round (default: a new one)")
    add_report_options(parser)


def run(options: argparse.Namespace) -> int:
    """Soak and report; returns the exit code."""
    from .campaign import Settings, campaign

    seed = fresh_seed() if options.seed is None else options.seed
    report = campaign(Settings(seconds=options.time, journal=options.journal, seed=seed), Live())
    return deliver(report, json_file=options.json, html_file=options.html)

"""`python -m stress nested`: options, and what they lead to.

What lives here: the subcommand. What does not: the cases (`campaign`).
"""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from ..options import count, fresh_seed, seconds

if TYPE_CHECKING:
    import argparse

__all__ = ["add_options", "run"]

CASES = 500


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `nested`."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--cases", type=count, metavar="N", help=f"programs (default: {CASES})")
    length.add_argument("--time", type=seconds, metavar="T", help="go on for so long instead, such as 90s, 10m or 1h")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first program (default: a new one)")


def run(options: argparse.Namespace) -> int:
    """Run the cases and report; returns the exit code."""
    from .campaign import campaign

    seed = fresh_seed() if options.seed is None else options.seed
    cases = options.cases or (None if options.time else CASES)
    logger = logging.getLogger("actorflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)  # every crash would be told: they are what is wanted here
    try:
        tally = campaign(seed, cases, options.time, lambda text: print(text, file=sys.stderr))
    finally:
        logger.setLevel(level)
    tally.show()
    return 0 if tally.is_clean else 1

"""`python -m stress nested`: options, and what they lead to.

What lives here: the subcommand. What does not: the cases (`campaign`).
"""

from __future__ import annotations

import argparse
import logging
import random
import re
import sys

__all__ = ["add_options", "run"]

CASES = 500
UNITS = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `nested`."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--cases", type=_count, metavar="N", help=f"programs (default: {CASES})")
    length.add_argument("--time", type=_seconds, metavar="T", help="go on for so long instead, such as 90s, 10m or 1h")
    parser.add_argument("--seed", type=int, metavar="N", help="of the first program (default: a new one)")


def _count(text: str) -> int:
    if text.isdecimal() and int(text) > 0:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")


def _seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h")
    return float(found[1]) * UNITS[found[2]]


def run(options: argparse.Namespace) -> int:
    """Run the cases and report; returns the exit code."""
    from .campaign import campaign

    seed = random.SystemRandom().randrange(10**9) if options.seed is None else options.seed
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

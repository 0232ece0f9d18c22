"""`python -m stress kill`: options, and what they lead to.

What lives here: the subcommand. What does not: the rounds (`rounds`).
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from ..options import count, fresh_seed, seconds

if TYPE_CHECKING:
    import argparse

__all__ = ["add_options", "run"]

ROUNDS = 200
JOBS = {"census": ["census"], "orders": ["orders"], "both": ["census", "orders"]}


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `kill`."""
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--rounds", type=count, metavar="N", help=f"kills (default: {ROUNDS})")
    length.add_argument("--time", type=seconds, metavar="T", help="go on for so long instead, such as 90s, 10m or 1h")
    parser.add_argument("--seed", type=int, metavar="N", help="of the moments of the kills (default: a new one)")
    parser.add_argument("--job", choices=sorted(JOBS), default="both", help="the program of docs/examples to run")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="put the journal on the disk of this folder")


def run(options: argparse.Namespace) -> int:
    """Kill and report; returns the exit code."""
    if not hasattr(os, "fork") or not hasattr(signal, "SIGKILL"):
        print("kill needs fork and SIGKILL, which this platform does not have", file=sys.stderr)
        return 2
    from .jobs import NoExamples, example
    from .rounds import CannotRun, campaign

    try:
        for name in JOBS[options.job]:
            example(name)
    except NoExamples as missing:
        print(missing, file=sys.stderr)
        return 2
    seed = fresh_seed() if options.seed is None else options.seed
    rounds = options.rounds or (None if options.time else ROUNDS)
    with tempfile.TemporaryDirectory(prefix="actorflow-kill-", dir=options.folder) as folder:
        try:
            verdict = campaign(
                Path(folder),
                JOBS[options.job],
                seed=seed,
                rounds=rounds,
                seconds=options.time,
                watch=sys.stderr.isatty(),
            )
        except CannotRun as error:
            print(f"the undisturbed run failed:\n{error}", file=sys.stderr)
            return 2
    verdict.show()
    return 0 if verdict.is_clean else 1

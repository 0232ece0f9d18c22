"""The options that say what a seed stands for: `run` and `replay` share them.

What lives here: those options. What does not: the options of one subcommand alone.
"""

from __future__ import annotations

import argparse
import os
from typing import TYPE_CHECKING, Final

from ..options import count

if TYPE_CHECKING:
    from .driven import Settings

__all__ = ["add_seed_options", "jobs_by_default", "settings_of"]

POLICIES: Final = ("mix", "uniform", "sticky", "pct", "rounds", "flips")
FAULTS: Final = ("crashes", "failures", "delays")


def add_seed_options(parser: argparse.ArgumentParser) -> None:
    """`--policy`, `--branches`, `--ops`, `--faults`."""
    parser.add_argument(
        "--policy",
        choices=POLICIES,
        default="mix",
        help="who chooses the task that runs next (default: mix, another one for each seed)",
    )
    parser.add_argument("--branches", type=count, metavar="N", help="of a plan (default: the seed says, up to 30)")
    parser.add_argument("--ops", type=count, metavar="N", help="operations of a branch (default: the seed says)")
    parser.add_argument(
        "--faults",
        type=faults,
        metavar="crashes=2,failures=1",
        help="what goes wrong on purpose in a seed, at most: crashes of the process, failures and delays of writes; "
        "none (default: up to 2, 1 and 1 in some of the seeds)",
    )


def faults(text: str) -> str:
    """The text, if it names faults."""
    if text != "none":
        for part in text.split(","):
            name, _, number = part.partition("=")
            if name not in FAULTS or not number.isdecimal():
                raise argparse.ArgumentTypeError(f"{part!r} is none of crashes=N, failures=N and delays=N")
    return text


def settings_of(options: argparse.Namespace) -> Settings:
    """What the options come to."""
    from actorflow.testing import Faults

    from .driven import Settings

    given = None
    if options.faults is not None:
        parts = [] if options.faults == "none" else [part.partition("=") for part in options.faults.split(",")]
        given = Faults(**{name: int(number) for name, _, number in parts})
    return Settings(policy=options.policy, branches=options.branches, ops=options.ops, faults=given)


def jobs_by_default() -> int:
    """As many as this process may use processors."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

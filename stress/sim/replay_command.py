"""`python -m stress replay`: options, and what they lead to.

What lives here: the subcommand. What does not: running the schedule again (`replaying`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..report import add_report_options
from .options import add_seed_options

if TYPE_CHECKING:
    import argparse

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `replay`."""
    parser.add_argument(
        "what",
        metavar="REPRO.json|SCENARIO:SEED",
        help="the file of a violation; or a scenario and a seed of it, with the options that the campaign had",
    )
    parser.add_argument("--trace", action="store_true", help="print every switch and every store call, in their order")
    parser.add_argument("--pdb", action="store_true", help="end in the debugger, where the error was raised")
    add_seed_options(parser)
    add_report_options(parser)


def run(options: argparse.Namespace) -> int:
    """Run the schedule again; 1 if it fails again, 0 if not."""
    from ..own import command as own
    from .replaying import replay

    if own.is_kept(options.what):
        return own.replay(options.what)
    return replay(options)

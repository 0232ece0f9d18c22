"""`python -m stress`: the subcommands and their exit codes.

What lives here: choosing the subcommand. What does not: what it does (`command` of each).
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main"]

CODES = """\
exit codes: 0 all is well, 1 a wrong answer or something lost or doubled, 2 undecided, wrong use, or it cannot run here,
3 a threshold was missed (load and soak; bench with --enforce), 130 interrupted
"""


def make_parser() -> argparse.ArgumentParser:
    """All options of all subcommands."""
    from .bench import command as bench
    from .crash import command as crash
    from .kill import command as kill
    from .load import command as load
    from .nested import command as nested
    from .selftest import command as selftest
    from .sim import explore_command as explore
    from .sim import replay_command as replay
    from .sim import run_command as simulate
    from .soak import command as soak
    from .sweep import command as sweep

    parser = argparse.ArgumentParser(
        prog="python -m stress",
        description="Break actorflow, and workflows of your own, in every way that is known; and measure it.",
        epilog=CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subcommands = parser.add_subparsers(title="subcommands", metavar="")
    for module, name, summary in (
        (simulate, "run", "run scenarios under thousands of schedules, with crashes, and check every answer"),
        (replay, "replay", "run one schedule again, from the file of a violation or from a seed"),
        (explore, "explore", "run every schedule of small plans: all pairs and triples of store operations"),
        (crash, "crash", "let the disk die or fail at every single call, and count what was lost"),
        (kill, "kill", "kill -9 a process that runs workflows, over and over, and count what was lost or doubled"),
        (load, "load", "run ever more branches in parallel: how fast, how late, how heavy, and whether it was right"),
        (soak, "soak", "run everything over and over for a long time, and tell whether anything grows or stays behind"),
        (sweep, "sweep", "cancel every public call at every moment, and crash small programs at every point"),
        (selftest, "selftest", "plant one bug at a time into the kernel, and see that the suite finds it"),
        (nested, "nested", "run random nested workflows, suspended and crashed at random, and check them with a model"),
        (bench, "bench", "print the figures, each beside its goal"),
    ):
        subparser = subcommands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        module.add_options(subparser)
        subparser.set_defaults(run=module.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand on the arguments (default: those of this process); returns the exit code."""
    parser = make_parser()
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:  # argparse leaves so after --help and after a mistake
        return stop.code if isinstance(stop.code, int) else 2
    run = getattr(options, "run", None)
    if run is None:
        parser.print_help()
        return 0
    try:
        return int(run(options))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())

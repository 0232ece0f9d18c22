"""`python -m stress bench`: options, and what they lead to.

What lives here: the subcommand. What does not: measuring (`plan` and the modules that it names).
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
from pathlib import Path

from ..child import versions
from .figures import Figure, Settings, WrongAnswer
from .plan import GROUPS
from .report import as_json, show

__all__ = ["add_options", "run"]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `bench`."""
    # No `choices`: with nargs="*" argparse would hold them against the empty list.
    parser.add_argument("groups", nargs="*", metavar="P", type=_group, help=f"{', '.join(GROUPS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes and fewer repetitions: under a minute")
    parser.add_argument("--enforce", action="store_true", help="exit with 3 if a goal is missed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to FILE, too")
    parser.add_argument("--folder", type=Path, metavar="DIR", help="measure SQLite on the disk of this folder")


def _group(text: str) -> str:
    if text.upper() in GROUPS:
        return text.upper()
    raise argparse.ArgumentTypeError(f"{text!r} is none of {', '.join(GROUPS)}")


def run(options: argparse.Namespace) -> int:
    """Measure and report; returns the exit code."""
    # Closing over a sleeping step is part of some measurements, and worth no warning there.
    logging.getLogger("actorflow").setLevel(logging.ERROR)
    settings = Settings(quick=options.quick, folder=options.folder)
    wanted = [name for name in GROUPS if not options.groups or name in options.groups]
    figures: list[Figure] = []
    wrong: list[str] = []
    for name in wanted:
        print(f"measuring {name} …", file=sys.stderr, flush=True)
        try:
            figures.extend(GROUPS[name](settings))
        except WrongAnswer as error:  # the other groups may be right
            wrong.append(f"{name}: WRONG ANSWER: {error}")
    found = versions()
    show(figures, found)
    if options.json is not None:
        text = json.dumps(as_json(figures, found, quick=options.quick), indent=2, ensure_ascii=False)
        options.json.write_text(text + "\n", encoding="utf-8")
    missed = [figure for figure in figures if not figure.is_met]
    with_goal = sum(figure.goal is not None for figure in figures)
    print(f"{with_goal - len(missed)} of {with_goal} goals met{' (quick: smaller sizes)' if options.quick else ''}")
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        return 1
    return 3 if missed and options.enforce else 0

"""`python -m stress sweep`: options, and what they lead to.

What lives here: the subcommand. What does not: the cases, and going through them (`campaign`).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ..options import count, seconds

if TYPE_CHECKING:
    import argparse

    from .campaign import Sweep

__all__ = ["add_options", "run"]

SEEDS: Final = {"cancel": 20, "crash": 8}
"""Schedules for each case: with them each kind has over 10,000 points."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of `sweep`."""
    parser.add_argument(
        "kind",
        nargs="?",
        choices=["cancel", "crash"],
        help="cancel: every public call, cancelled at every moment; crash: small programs, crashed in every write and "
        "before every decision, with a second crash during recovery (default: both)",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--seeds",
        type=count,
        metavar="N",
        help=f"schedules for each case (default: {SEEDS['cancel']} for cancel, {SEEDS['crash']} for crash)",
    )
    length.add_argument("--time", type=seconds, metavar="T", help="go on for so long instead, such as 90s, 10m or 1h")
    parser.add_argument("--seed", type=int, metavar="N", default=0, help="the first one (default: 0)")
    parser.add_argument("--only", metavar="NAME", help="only the cases whose name contains this")
    parser.add_argument("--list", action="store_true", help="show the cases and leave")
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write the figures there, too; with both kinds, FILE.crash beside it"
    )


def run(options: argparse.Namespace) -> int:
    """Sweep and report; returns the exit code."""
    from .campaign import KINDS, cases_of

    kinds = [kind for kind in KINDS if options.kind in (None, kind) and cases_of(kind, options.only)]
    if not kinds:
        print(f"no case has {options.only!r} in its name; --list shows them", file=sys.stderr)
        return 2
    if options.list:
        for kind in kinds:
            for line, _ in cases_of(kind, options.only):
                print(f"{kind:8}{line.name:42} {line.journal}")
        return 0
    codes = []
    for number, kind in enumerate(kinds):
        found = _swept(kind, options, share=len(kinds))
        found.show()
        codes.append(found.exit_code)
        if options.json is not None:
            found.write(options.json if not number else options.json.with_name(f"{options.json.name}.{kind}"))
    return 1 if 1 in codes else max(codes)


def _swept(kind: str, options: argparse.Namespace, *, share: int) -> Sweep:
    from .campaign import sweep

    live = sys.stderr.isatty()

    def tell(text: str) -> None:
        if live:
            print(f"\r\033[K{text[:100]}", end="", file=sys.stderr, flush=True)

    seeds = options.seeds or (None if options.time else SEEDS[kind])
    found = sweep(
        kind,
        first=options.seed,
        seeds=seeds,
        seconds=options.time / share if options.time else None,
        only=options.only,
        tell=tell,
    )
    if live:
        print("\r\033[K", end="", file=sys.stderr)
    return found

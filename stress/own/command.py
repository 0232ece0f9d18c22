"""`python -m stress run FILE.py:WORKFLOW`: options, and what they lead to.

What lives here: the options that only a workflow of one's own has, and telling it from a scenario. What does not: the
campaign (`campaign`), the subcommand itself (`sim.run_command`).
"""

from __future__ import annotations

import json
import sys
from itertools import count as counting
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from actorflow.testing import Faults

__all__ = ["add_options", "is_kept", "is_workflow", "replay", "run"]

SEEDS: Final = 1_000
QUICK: Final = 200


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of a workflow of one's own."""
    group = parser.add_argument_group("a workflow of your own", "for FILE.py:WORKFLOW or MODULE:WORKFLOW")
    group.add_argument("--input", metavar="JSON|@FILE", help="the input of its runs; lists in it are shrunk")
    group.add_argument("--state", metavar="JSON|@FILE", help="what the run store holds at the start, an object")
    group.add_argument(
        "--invariant",
        action="append",
        default=[],
        metavar="EXPR",
        help="what must hold at the end, over output, state, status, failures, counts and input: "
        "\"state['count'] == len(input)\"; may be given again",
    )
    group.add_argument(
        "--same", action="append", default=[], metavar="EXPR", help="what must have one value in all schedules"
    )
    group.add_argument("--may-fail", action="store_true", help="a run that fails is no violation by itself")


def is_workflow(targets: list[str], scenario_of: Callable[[str], object]) -> bool:
    """Whether the command line names a workflow: `PLACE:NAME`, and it is no class of a scenario."""
    if len(targets) != 1 or ":" not in targets[0]:
        return False
    if not targets[0].rpartition(":")[0].endswith(".py"):
        return True
    try:
        scenario_of(targets[0])
    except Exception:  # noqa: BLE001 - whatever is wrong with the file is told by who looks for a workflow in it
        return True
    return False


def is_kept(what: str) -> bool:
    """Whether this is the file of a failure of somebody's workflow."""
    path = Path(what)
    if not path.is_file():
        return False
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(found, dict) and "question" in found


def run(options: argparse.Namespace, faults: Faults | None) -> int:
    """Explore the workflow and report; returns the exit code."""
    from actorflow import ActorflowError

    from ..report import deliver
    from ..report.live import Live
    from .campaign import Question, asked
    from .expressions import BadExpression

    if options.branches or options.ops or options.policy != "mix":
        print("--branches, --ops and --policy are for scenarios; a workflow is run as it is", file=sys.stderr)
        return 2
    try:
        question = Question(
            target=options.scenarios[0],
            data=_json(options.input, "--input"),
            state=_object(options.state, "--state"),
            invariants=tuple(options.invariant),
            same=tuple(options.same),
            may_fail=options.may_fail,
            faults=faults,
        )
        many = options.seeds or (QUICK if options.quick else SEEDS)
        seeds = counting(options.seed) if options.time is not None else range(options.seed, options.seed + many)
        live = Live()
        report = asked(
            question,
            seeds=seeds,
            seconds=options.time,
            shrink_for=options.shrink_for,
            folder=options.repros,
            tell=live.show,
        )
        live.clear()
    except (ActorflowError, BadExpression, _BadArgument) as error:
        print(error, file=sys.stderr)
        return 2
    return deliver(report, json_file=options.json, html_file=options.html)


def replay(what: str) -> int:
    """Run the schedule of a file again; 1 if it fails again, 0 if not."""
    from actorflow import ActorflowError

    from .campaign import again

    try:
        fails = again(Path(what), print)
    except (ActorflowError, KeyError, TypeError, ValueError) as error:
        print(f"{what} cannot be replayed: {error}", file=sys.stderr)
        return 2
    print("it fails again" if fails else "it does not fail any more")
    return 1 if fails else 0


class _BadArgument(ValueError):
    """An option that cannot be read."""


def _json(text: str | None, option: str) -> object:
    if text is None:
        return None
    if text.startswith("@"):
        try:
            text = Path(text[1:]).read_text(encoding="utf-8")
        except OSError as error:
            raise _BadArgument(f"{option} {text}: {error.strerror or error}") from error
    try:
        found: object = json.loads(text)
    except ValueError as error:
        raise _BadArgument(f"{option} {text[:80]!r} is no JSON: {error}; give JSON, or @FILE") from error
    return found


def _object(text: str | None, option: str) -> object:
    found = _json(text, option)
    if found is None or isinstance(found, dict):
        return found
    raise _BadArgument(f"{option} {str(text)[:80]!r} is no JSON object")

"""How a suspended run goes on, in words: the commands to type, and what stands in the way of a `resume`.

What lives here: addresses of suspended steps, command lines, the texts of `NotSuspended` and `AmbiguousResume` for
somebody at a shell. What does not: resuming (`act`), reading runs (`tree`). Imports neither trio nor rich.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from typing import TYPE_CHECKING, Final

from .options import DEFAULT_JOURNAL

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import Suspension

__all__ = ["address", "command_line", "how_to_resume", "refusal"]

# Nobody chooses from a list that is longer than a screen.
LISTED: Final = 20


def command_line(verb: str, run_id: str, *options: str, journal: str) -> str:
    """A command that can be pasted into a shell; the journal is named unless it is the one that is meant anyway."""
    usual = os.environ.get("ACTORFLOW_JOURNAL") or DEFAULT_JOURNAL
    words = options if journal == usual else (*options, "--journal", journal)
    # An id that begins with a dash would be taken for an option.
    words = (*words, "--", run_id) if run_id.startswith("-") else (run_id, *words)
    return shlex.join(("actorflow", verb, *words))


def address(one: Suspension, among: Sequence[Suspension]) -> str:
    """The shortest `--step` that means this suspension alone: its step, its path, else its activation."""
    if one.step_id.replace(".", "").isdigit():  # it would be taken for an activation
        return one.activation_id
    if Counter(other.step_id for other in among)[one.step_id] == 1:
        return one.step_id
    # A path of one step is that step's id, which means all of its namesakes.
    if len(one.path) > 1 and Counter(other.path for other in among)[one.path] == 1:
        return ".".join(one.path)
    return one.activation_id


def how_to_resume(run_id: str, suspensions: Sequence[Suspension], *, journal: str) -> str:
    """What to type, one command for each place where the run waits (the first ones of many); "" if it is none."""
    if not suspensions:
        return ""
    commands = [
        command_line("resume", run_id, *step, "--data", "JSON", journal=journal)
        for one in suspensions[:LISTED]
        for step in [() if len(suspensions) == 1 else ("--step", address(one, suspensions))]
    ]
    lines = ["to resume it, with JSON as the answer (or without --data):", *(f"  {command}" for command in commands)]
    if len(suspensions) > LISTED:
        more = command_line("show", run_id, "--json", journal=journal)
        lines.append(f"  … and {len(suspensions) - LISTED} more: {more}")
    return "\n".join(lines)


def _is_at(one: Suspension, step: str | None) -> bool:
    return step is None or step in (one.step_id, ".".join(one.path), one.activation_id)


def refusal(
    run_id: str, status: str, suspensions: Sequence[Suspension], *, step: str | None, label: str | None, journal: str
) -> str:
    """Why `resume` with this step and label found nothing, or too much, to resume, and what to type instead."""
    if not suspensions:
        look = command_line("show", run_id, journal=journal)
        return f"nothing in run {run_id!r} is suspended (it is {status}); see: {look}"
    places = "1 place" if len(suspensions) == 1 else f"{len(suspensions)} places"
    fault = "say which one is meant"
    if step is not None or label is not None:
        options = [("--step", step), ("--label", label)]
        wanted = " ".join(f"{option} {shlex.quote(name)}" for option, name in options if name is not None)
        meant = [one for one in suspensions if (label is None or one.label == label) and _is_at(one, step)]
        fault = f"{wanted} means {len(meant) or 'none'} of them"
    return f"run {run_id!r} is suspended in {places}: {fault}\n" + how_to_resume(run_id, suspensions, journal=journal)

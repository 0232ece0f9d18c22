"""Drawing a run and the runs below it as a tree: steps, suspensions, waits, timers.

What lives here: what stands on each line. What does not: reading runs (`tree`), tables (`output`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from rich.text import Text
from rich.tree import Tree

from .. import StepStatus
from .._ids import is_internal
from .output import printable, short

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from .. import StepRecord, Suspension, Wait
    from .tree import RunTree, Timer

__all__ = ["draw", "hidden_steps"]

STYLES: Final = {
    "running": "cyan",
    "pending": "dim",
    "suspended": "yellow",
    "completed": "green",
    "failed": "red",
    "cancelled": "magenta",
    "skipped": "dim",
}
# In a run of many steps those that ended well say the least.
DULL: Final = (StepStatus.COMPLETED, StepStatus.SKIPPED, StepStatus.PENDING)


def draw(tree: RunTree, limit: int | None) -> Tree:
    """The tree, with at most `limit` steps of each run: the first ones, after those that are live or went wrong."""
    root = Tree(_run_line(tree), guide_style="dim")
    _fill(root, tree, limit)
    return root


def hidden_steps(tree: RunTree, limit: int | None) -> int:
    """How many steps the drawing leaves out."""
    own = len(tree.description.steps) - len(_shown(tree.description.steps, limit))
    return own + sum(hidden_steps(child, limit) for child in tree.children)


def _fill(branch: Tree, tree: RunTree, limit: int | None) -> None:
    about = tree.description
    suspended = {one.activation_id: one for one in about.suspensions}
    waiting = {wait.activation_id: wait for wait in about.waits}
    due = {timer.activation_id: timer for timer in tree.timers}
    steps: dict[str, Tree] = {}
    for step in _shown(about.steps, limit):
        name = step.activation_id
        line = _step_line(step, suspended.get(name), waiting.pop(name, None), due.pop(name, None))
        steps[name] = branch.add(line)
    known = {step.activation_id for step in about.steps}
    for child in tree.children:
        caller = tree.callers.get(child.description.run_id, "")
        _fill(steps.get(caller, branch).add(_run_line(child)), child, limit)
    # What belongs to no step of the author: waits and sleeps of a graph.
    for wait in waiting.values():
        if wait.activation_id not in known:
            branch.add(_line(f"{wait.activation_id}  {printable(_awaited(wait))}"))
    for timer in due.values():
        if timer.activation_id not in known:
            what = "sleeps" if is_internal(timer.step_id) else timer.step_id
            branch.add(_line(f"{timer.activation_id}  {printable(what)} until {_time(timer.due)}"))


def _shown(steps: Sequence[StepRecord], limit: int | None) -> list[StepRecord]:
    if limit is None or len(steps) <= limit:
        return list(steps)
    first = sorted(range(len(steps)), key=lambda index: (steps[index].status in DULL, index))[:limit]
    return [steps[index] for index in sorted(first)]


def _run_line(tree: RunTree) -> Text:
    about = tree.description
    line = _line((printable(about.run_id), "bold"), f"  {printable(about.workflow_id)}  ", _status(about.status.value))
    if about.recovery_error is not None:
        line.append(f"  {printable(str(about.recovery_error))}", "red")
    return line


def _step_line(step: StepRecord, suspended: Suspension | None, wait: Wait | None, timer: Timer | None) -> Text:
    line = _line(f"{step.activation_id}  {printable(step.step_id)}  ", _status(step.status.value))
    told = [] if suspended is None else _asked(suspended)
    if wait is not None:
        told.append(_awaited(wait))
    if timer is not None:
        told.append(f"due {_time(timer.due)}")
    if step.attempts > 1:
        told.append(f"{step.attempts} attempts")
    if step.started_at is not None and step.ended_at is not None:
        told.append(f"{(step.ended_at - step.started_at).total_seconds():.3g} s")
    elif step.started_at is not None and step.status is not StepStatus.PENDING:
        told.append(f"since {_time(step.started_at)}")
    if step.error is not None:
        told.append(f"{step.error.error_type}: {step.error.message}")
    for text in told:
        line.append(f"  {printable(' '.join(text.split()))}")
    return line


def _asked(one: Suspension) -> list[str]:
    told = [("label", one.label), ("payload", one.payload)]
    return [f"{name} {_json(value)}" for name, value in told if value is not None]


def _awaited(wait: Wait) -> str:
    until = "" if wait.deadline is None else f" until {_time(wait.deadline)}"
    return f"waits for event {wait.event!r}{until}"


def _json(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else short(value)


def _time(moment: datetime | None) -> str:
    return "-" if moment is None else f"{moment.astimezone():%Y-%m-%d %H:%M:%S}"


def _line(*parts: str | tuple[str, str]) -> Text:
    # Text, not str: what comes from runs must never be read as markup.
    return Text.assemble(*parts, overflow="fold")


def _status(status: str) -> tuple[str, str]:
    return status, STYLES[status]

"""The diagrams of docs/lifecycle.md, drawn from the tables of legal moves in `_core/lifecycle.py`.

`python -m tests.docs.lifecycle_page --write` brings the page up to date; without `--write` it prints the diagrams. The
test beside it compares, so a move that is added to a table has to be drawn before the tests pass again.

What lives here: the drawing, and the words on the arrows. What does not: the prose around the diagrams.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from enum import Enum
from pathlib import Path

from actorflow._core.lifecycle import (
    ENDING_STATUS,
    PHASE_MOVES,
    RUN_MOVES,
    STEP_MOVES,
    Ending,
    Phase,
    RunStatus,
    StepStatus,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lifecycle.md"

Move = tuple[Enum, Enum]
Moves = Mapping[Enum, frozenset[Enum]]

# What makes the move, as a user would say it. A move without words is drawn as a bare arrow.
WORDS: dict[Move, str] = {
    (RunStatus.RUNNING, RunStatus.SUSPENDED): "nothing live or due, a step suspended",
    (RunStatus.RUNNING, RunStatus.COMPLETED): "nothing open, or bail",
    (RunStatus.RUNNING, RunStatus.FAILED): "a failure that the join does not tolerate",
    (RunStatus.RUNNING, RunStatus.CANCELLED): "cancel",
    (RunStatus.SUSPENDED, RunStatus.RUNNING): "resume, event, timer",
    (RunStatus.SUSPENDED, RunStatus.CANCELLED): "cancel",
    (StepStatus.PENDING, StepStatus.RUNNING): "due, and there is a place",
    (StepStatus.PENDING, StepStatus.CANCELLED): "cancel of the handle, its group or the run",
    (StepStatus.PENDING, StepStatus.SKIPPED): "no condition chose it",
    (StepStatus.PENDING, StepStatus.FAILED): "a wait past its timeout, or too many crashes",
    (StepStatus.RUNNING, StepStatus.PENDING): "retry, or the process died",
    (StepStatus.RUNNING, StepStatus.SUSPENDED): "suspend, or its child run is suspended",
    (StepStatus.RUNNING, StepStatus.COMPLETED): "returned",
    (StepStatus.RUNNING, StepStatus.FAILED): "raised, no attempt left",
    (StepStatus.RUNNING, StepStatus.CANCELLED): "a sibling failed, or cancel",
    (StepStatus.SUSPENDED, StepStatus.PENDING): "resume, or its child run goes on",
    (StepStatus.SUSPENDED, StepStatus.CANCELLED): "a sibling failed, or cancel",
    (Phase.OPEN, Phase.STOPPING): "the end is decided",
    (Phase.STOPPING, Phase.HOOK): "no step is live, there is a hook",
    (Phase.STOPPING, Phase.OVER): "no step is live, there is no hook",
    (Phase.HOOK, Phase.OVER): "the hook has ended",
    (Phase.HOOK, Phase.STOPPING): "cancel overtakes the completion hook",
}

DIAGRAMS: dict[str, tuple[Moves, Enum]] = {
    "run": (RUN_MOVES, RunStatus.RUNNING),
    "step": (STEP_MOVES, StepStatus.PENDING),
    "phase": (PHASE_MOVES, Phase.OPEN),
}
"""The parts of the page: the name of the marker, the table, and where everything begins."""


def begin(name: str) -> str:
    """The line of the page before a generated part."""
    return f"<!-- lifecycle-{name}: written by `python -m tests.docs.lifecycle_page --write` -->"


def end(name: str) -> str:
    """The line of the page after a generated part."""
    return f"<!-- /lifecycle-{name} -->"


def diagram(moves: Moves, first: Enum) -> str:
    """A table of moves as a Mermaid state diagram; the states stand in the order of their enum."""
    order = list(type(first))
    lines = ["```mermaid", "stateDiagram-v2", f"    [*] --> {first.value}"]
    for state in order:
        for target in order:
            if target in moves[state]:
                words = WORDS.get((state, target), "")
                lines.append(f"    {state.value} --> {target.value}{f': {words}' if words else ''}")
        if not moves[state]:
            lines.append(f"    {state.value} --> [*]")
    return "\n".join([*lines, "```"])


def endings() -> str:
    """Every way of ending, and the status that it gives the run."""
    rows = [f"| {ending.value} | `{ENDING_STATUS[ending].name}` |" for ending in Ending]
    return "\n".join(["| the end is decided by | status of the run |", "|---|---|", *rows])


def parts() -> dict[str, str]:
    """All generated parts by the name of their marker."""
    return {name: diagram(*drawn) for name, drawn in DIAGRAMS.items()} | {"endings": endings()}


def refreshed(page: str) -> str:
    """The page with every part as it is drawn now; a part whose markers are missing is a `ValueError`."""
    for name, text in parts().items():
        if page.count(begin(name)) != 1 or page.count(end(name)) != 1:
            raise ValueError(f"the page needs the markers of {name!r} once each")
        before, rest = page.split(begin(name), 1)
        page = f"{before}{begin(name)}\n{text}\n{end(name)}{rest.split(end(name), 1)[1]}"
    return page


def main(arguments: Sequence[str]) -> int:
    """Print the diagrams, or write them into docs/lifecycle.md."""
    if "--write" not in arguments:
        print("\n\n".join(parts().values()))  # noqa: T201 - printing them is what this call is for
        return 0
    PAGE.write_text(refreshed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

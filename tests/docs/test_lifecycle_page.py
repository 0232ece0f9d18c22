"""docs/lifecycle.md shows the tables of legal moves as they are."""

from __future__ import annotations

import pytest

from actorflow._core.lifecycle import RunStatus, StepStatus
from tests.docs import lifecycle_page


def test_the_page_is_in_step_with_the_tables() -> None:
    """Drawing the diagrams again changes nothing on the page."""
    page = lifecycle_page.PAGE.read_text(encoding="utf-8")
    assert page == lifecycle_page.refreshed(page), "run: python -m tests.docs.lifecycle_page --write"


def test_words_are_for_moves_that_exist() -> None:
    """No arrow has words for a move that no table allows."""
    legal = {
        (state, target)
        for moves, _ in lifecycle_page.DIAGRAMS.values()
        for state, targets in moves.items()
        for target in targets
    }
    assert set(lifecycle_page.WORDS) - legal == set()


def test_every_move_is_an_arrow_and_every_end_is_one() -> None:
    """Each move is drawn once with its words, and the states without a move lead to the end."""
    moves = {
        RunStatus.RUNNING: frozenset({RunStatus.COMPLETED, RunStatus.SUSPENDED}),
        RunStatus.SUSPENDED: frozenset({RunStatus.FAILED}),
        RunStatus.COMPLETED: frozenset(),
        RunStatus.FAILED: frozenset(),
        RunStatus.CANCELLED: frozenset(),
    }
    assert lifecycle_page.diagram(moves, RunStatus.RUNNING).splitlines()[2:-1] == [
        "    [*] --> running",
        "    running --> suspended: nothing live or due, a step suspended",
        "    running --> completed: nothing open, or bail",
        "    suspended --> failed",
        "    completed --> [*]",
        "    failed --> [*]",
        "    cancelled --> [*]",
    ]


def test_a_page_that_lacks_a_diagram_is_refused() -> None:
    """Somebody who deletes a marker is told, instead of getting a page that is never refreshed again."""
    page = lifecycle_page.PAGE.read_text(encoding="utf-8").replace(lifecycle_page.begin("step"), "")
    with pytest.raises(ValueError, match="'step'"):
        lifecycle_page.refreshed(page)


def test_no_state_is_missing_from_its_diagram() -> None:
    """Every status of runs and of steps that users can see stands in the picture."""
    drawn = lifecycle_page.parts()
    assert all(f" {status.value}" in drawn["run"] for status in RunStatus)
    assert all(f" {status.value}" in drawn["step"] for status in StepStatus)

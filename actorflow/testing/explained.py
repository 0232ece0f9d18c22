"""A failed schedule in words.

What lives here: the error that `explore` raises, and its text. What does not: finding and shrinking it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from .lanes import draw, draw_svg
from .lost_update import lost_updates
from .repro import Repro

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .exploring import Exploration
    from .lost_update import LostUpdateStory
    from .shrinking import Failure
    from .store_call import StoreCall

__all__ = ["ScheduleFailure", "told"]

STORIES: Final = 5
LANES_MAX: Final = 24
"""Calls that a picture of lanes may hold without a story that chooses among them."""

PLAN_SHOWN: Final = 2_000
"""Characters of a plan that a message shows."""


class ScheduleFailure(AssertionError):
    """A schedule that breaks the program. Its text says what, why, and how to have it again.

    Attributes:
        seed: `replay(program, seed)` runs the schedule that was found.
        repro: `replay(program, repro)` runs the shrunk one, also after plans and policies have changed.
        plan: what the program was to do, shrunk.
        switches: the order of its tasks, shrunk: by number of decision, which other task was taken.
        sentence: what is wrong. stories: what happened, as far as the calls of run stores tell.
        exploration: what had been run by then.
    """

    def __init__(self, text: str, failure: Failure, exploration: Exploration) -> None:
        super().__init__(text)
        self.failure = failure
        self.exploration = exploration

    @property
    def seed(self) -> int:
        """Of the schedule that was found."""
        return self.failure.origin.seed

    @property
    def plan(self) -> object:
        """Shrunk."""
        return self.failure.trial.plan

    @property
    def switches(self) -> Mapping[int, int]:
        """Shrunk."""
        return self.failure.trial.switches or {}

    @property
    def sentence(self) -> str:
        """What is wrong."""
        return self.failure.finding.sentence

    @property
    def stories(self) -> list[str]:
        """What happened, in words."""
        return stories(self.failure)

    @property
    def lanes(self) -> str:
        """The calls that matter as text, one lane per branch; empty if there are none."""
        calls = _calls(self.failure)
        return draw(calls) if calls else ""

    @property
    def lanes_svg(self) -> str:
        """The same as one `<svg>` element."""
        calls = _calls(self.failure)
        return draw_svg(calls, title=self.sentence) if calls else ""

    @property
    def repro(self) -> Repro:
        """The shrunk schedule."""
        return repro_of(self.failure)

    def __reduce__(self) -> tuple[object, ...]:
        return AssertionError, (str(self),)  # what made it stays in the process that found it


def repro_of(failure: Failure) -> Repro:
    """How the shrunk schedule is had again."""
    trial = failure.trial
    return Repro(seed=trial.seed, switches=trial.switches, plan=trial.plan, fate=trial.fate, program=trial.program.name)


def stories(failure: Failure) -> list[str]:
    """What the calls of the run stores tell, in words, in the order in which it happened."""
    return [str(story) for story in _stories(failure)]


def _stories(failure: Failure) -> list[LostUpdateStory]:
    recorder = failure.passage.recorder
    return [story for run_id in recorder.histories for story in lost_updates(recorder.known(run_id))]


def _calls(failure: Failure) -> list[StoreCall]:
    """Those of the stories, else all of a history that is short enough to be looked at."""
    told_of = {id(call): call for story in _stories(failure)[:STORIES] for call in story.calls}
    if told_of:
        return list(told_of.values())
    recorder = failure.passage.recorder
    calls = [call for run_id in recorder.histories for call in recorder.known(run_id).calls]
    return calls if len(calls) <= LANES_MAX else []


def told(failure: Failure, exploration: Exploration, program: str) -> str:
    """The whole text."""
    trial, origin = failure.trial, failure.origin
    lines = [f"{program}: {failure.finding.sentence}"]
    known = stories(failure)
    if known:
        lines += ["", "What happened:", *(f"  {story}" for story in known[:STORIES])]
        if len(known) > STORIES:
            lines.append(f"  … and {len(known) - STORIES} more of the kind")
    if failure.finding.detail:
        lines += ["", failure.finding.detail.rstrip()]
    lines.append("")
    if trial.program.plan is not None:
        lines.append(f"plan: {_short(trial.plan)}")
    if trial.fate:
        lines.append(f"on purpose: {trial.fate}")
    lines.append(
        f"schedule: seed {origin.seed}, {exploration.schedules - 1} others were fine; {failure.switches} switches in "
        f"{failure.decisions} decisions, {len(trial.switches or {})} after shrinking ({failure.runs} runs)"
    )
    lines.append(f"again: replay({program}, {origin.seed}), with the other arguments as here")
    lines.append(f"shrunk: replay({program}, {repro_of(failure).to_json()!r})")
    return "\n".join(lines)


def _short(plan: object) -> str:
    text = json.dumps(plan, ensure_ascii=False, default=repr)
    return text if len(text) <= PLAN_SHOWN else f"{text[:PLAN_SHOWN]}… ({len(text)} characters)"

"""A failed schedule, described for the report, and kept in a file that repeats it.

What lives here: the description as JSON, repro files. What does not: making it small (`actorflow.testing`).
"""

from __future__ import annotations

import json
from math import inf
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve

from actorflow.testing.explained import repro_of, stories
from actorflow.testing.lanes import draw, draw_svg
from actorflow.testing.linearizable import check_linearizable

from ..report import Failure as Told
from .catalogue import scenario_of
from .driven import Settings, policy_for

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from actorflow.testing import StoreCall
    from actorflow.testing.shrinking import Failure
    from actorflow.testing.simulation import Passage

__all__ = ["described", "keep", "told"]

STORIES: Final = 5
DRAWN: Final = 40
"""Calls of which there is a picture; more fit on no screen."""

SAME_NAME_MAX: Final = 1000
"""Repro files of one scenario and seed that may lie in one folder."""


def described(failure: Failure, scenario: str, settings: Settings) -> dict[str, object]:
    """Everything that is told of a failure, as JSON."""
    origin, trial = failure.origin, failure.trial
    text, svg = _pictures(failure.passage)
    known = list(dict.fromkeys(stories(failure)))
    happened = ["What happened:", *(f"  {story}" for story in known[:STORIES])] if known else []
    more = [f"  … and {len(known) - STORIES} more of the kind"] if len(known) > STORIES else []
    size = settings.size(origin.seed)
    options: dict[str, object] = {"branches": size.branches, "ops": size.ops}
    if trial.fate:
        options["on purpose"] = str(trial.fate)
    options["shrunk"] = (
        f"from {failure.switches} switches in {failure.decisions} decisions to {len(trial.switches or {})} "
        f"in {failure.runs} runs"
    )
    return {
        "scenario": scenario,
        "kind": failure.finding.kind,
        "sentence": f"{scenario}: {failure.finding.kind}: {failure.finding.sentence}",
        "seed": origin.seed,
        "policy": policy_for(settings.policy, origin.seed).name,
        "options": options,
        "plan": trial.plan,
        "switches": {str(step): to for step, to in sorted((trial.switches or {}).items())},
        "lanes": "\n".join([*happened, *more, *filter(None, [failure.finding.detail.rstrip(), text])]),
        "lanes_svg": svg,
        "repro": json.loads(evolve(repro_of(failure), program=scenario).to_json()),
        "again": again(scenario, origin.seed, settings),
    }


def again(scenario: str, seed: int, settings: Settings) -> str:
    """The command that runs a seed once more, as long as plans and policies are made as now."""
    return f"python -m stress replay {scenario}:{seed} {settings.given}".rstrip()


def _pictures(passage: Passage) -> tuple[str, str]:
    """The calls that show what is wrong; if none do, all of the schedule, if they are few."""
    recorder = passage.recorder
    calls: list[StoreCall] = []
    for run_id in recorder.histories:
        if run_id in recorder.unknown:
            continue
        verdict = check_linearizable(recorder.known(run_id))
        if verdict.calls:
            return verdict.picture, verdict.svg()
        calls += recorder.histories[run_id].calls
    if len(recorder.histories) != 1 or not 0 < len(calls) <= DRAWN:
        return "", ""
    last = max((call.returned for call in calls if call.returned != inf), default=0)
    return draw(calls), draw_svg(calls, title=f"{len(calls)} calls, {last:g} events")


def told(found: Mapping[str, object], file: Path | None) -> Told:
    """As the report has it."""
    command = cast("str", found["again"]) if file is None else f"python -m stress replay {file}"
    return Told(
        sentence=cast("str", found["sentence"]),
        seed=cast("int", found["seed"]),
        policy=cast("str", found["policy"]),
        options=cast("Mapping[str, object]", found["options"]),
        plan=found["plan"],
        switches=found["switches"],
        lanes=cast("str", found["lanes"]),
        lanes_svg=cast("str", found["lanes_svg"]),
        command=command,
        repro="" if file is None else str(file),
    )


def keep(found: Mapping[str, object], folder: Path) -> Path:
    """Write the file that repeats it: a new one, unless this very schedule is kept already."""
    text = json.dumps(found["repro"], indent=1) + "\n"
    reference = cast("str", found["scenario"])
    stem = f"stress-repro-{scenario_of(reference).name}-{found['seed']}"
    for number in range(1, SAME_NAME_MAX):
        path = folder / (f"{stem}.json" if number == 1 else f"{stem}-{number}.json")
        try:
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
        except FileExistsError:
            if path.read_text(encoding="utf-8") != text:
                continue
        return path
    raise OSError(f"{folder} is full of {stem}-*.json")

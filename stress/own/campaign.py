"""Somebody's workflow under many schedules, and the report of it.

What lives here: options to invariants, the exploration, its report and the file that repeats a failure. What does not:
one run (`program`).
"""

from __future__ import annotations

import json
import shlex
import time
from itertools import islice
from typing import TYPE_CHECKING, Final

from attrs import asdict, frozen

from actorflow import InputError
from actorflow.cli.finding import find_beside, find_workflow, together
from actorflow.testing import Exploration, Faults, Repro, ScheduleFailure, explore, replay
from actorflow.testing.policies import policy_of

from ..child import versions
from ..report import Failure, Invariant, Report
from .expressions import Holds, Same, compiled
from .program import program_of, settles_well

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from actorflow.testing import ProgramFunction

__all__ = ["Question", "again", "asked"]

SLICE: Final = 250
"""Seeds of one call of `explore`; between two of them the display is brought up to date."""


@frozen(kw_only=True)
class Question:
    """What the command line asks of a workflow.

    Args:
        target: `FILE.py:NAME` or `MODULE:NAME`.
        data: the input. state: the initial state.
        invariants: expressions that must hold. same: expressions that must have one value in all schedules.
        may_fail: whether a run may fail without that being a finding.
        faults: crashes and failing writes of one schedule.
    """

    target: str
    data: object = None
    state: object = None
    invariants: tuple[str, ...] = ()
    same: tuple[str, ...] = ()
    may_fail: bool = False
    faults: Faults | None = None

    def checks(self) -> list[Callable[..., object]]:  # type: ignore[explicit-any]  # functions of how a run ended
        """The invariants as functions; `BadExpression` for a text that is none."""
        found: list[Callable[..., object]] = [] if self.may_fail else [settles_well]  # type: ignore[explicit-any]  # the same
        found += [Holds(compiled(text)) for text in self.invariants]
        found += [Same(compiled(text)) for text in self.same]
        return found

    def plan(self, chance: random.Random) -> object:
        """What the run begins with: the same for every seed, and shrunk like any plan."""
        return {"input": self.data, "state": self.state}

    def to_json(self) -> dict[str, object]:
        """For the file that repeats a failure."""
        return {**asdict(self, recurse=True), "invariants": list(self.invariants), "same": list(self.same)}


def asked(
    question: Question,
    *,
    seeds: Iterable[int],
    seconds: float | None,
    shrink_for: float = 30.0,
    folder: Path,
    tell: Callable[[str], None],
) -> Report:
    """Explore the schedules of these seeds, for so long at most; what was found.

    Raises `DefinitionError` for a target that is no workflow, `BadExpression`, and what is wrong with the input.
    """
    program, checks = _program(question), question.checks()
    began = time.perf_counter()
    whole = Exploration()
    failure: ScheduleFailure | None = None
    left = iter(seeds)
    while failure is None and (part := list(islice(left, SLICE))):
        try:
            found = explore(
                program,
                seeds=part,
                faults=question.faults,
                invariants=checks,
                plan=question.plan,
                shrink_for=shrink_for,
            )
        except ScheduleFailure as error:
            failure, found = error, error.exploration
            if isinstance(error.failure.finding.error, InputError):
                raise error.failure.finding.error from None
        whole.include(found)
        passed = time.perf_counter() - began
        tell(f"{whole.schedules:,} schedules, {whole.operations:,} store calls checked, {passed:.0f} s")
        if seconds is not None and passed >= seconds:
            break
    return _report(question, whole, failure, len(checks), time.perf_counter() - began, folder)


def again(path: Path, tell: Callable[[str], None]) -> bool:
    """Run the schedule that a file holds; whether it fails again."""
    found = json.loads(path.read_text(encoding="utf-8"))
    asked_for = found["question"]
    faults = asked_for["faults"]
    question = Question(
        target=asked_for["target"],
        data=asked_for["data"],
        state=asked_for["state"],
        invariants=tuple(asked_for["invariants"]),
        same=tuple(asked_for["same"]),
        may_fail=asked_for["may_fail"],
        faults=None if faults is None else Faults(**faults),
    )
    program, checks = _program(question), question.checks()
    if question.same:  # the value that the others had
        explore(program, seeds=[0], invariants=checks, plan=question.plan, faults=question.faults, shrink_for=0)
    try:
        repro = Repro.from_json(json.dumps(found["repro"]))
        replay(program, repro, faults=question.faults, invariants=checks, plan=question.plan)
    except ScheduleFailure as failure:
        tell("\n".join(part for part in (failure.sentence, *failure.stories, failure.lanes) if part))
        return True
    return False


def _program(question: Question) -> ProgramFunction:
    workflow = find_workflow(question.target)
    workflows = together([workflow], find_beside(question.target.rpartition(":")[0]))
    return program_of(workflow, list(workflows.values()), durable=question.faults is not None)


def _report(
    question: Question,
    found: Exploration,
    failure: ScheduleFailure | None,
    checks: int,
    seconds: float,
    folder: Path,
) -> Report:
    failures: tuple[Failure, ...] = ()
    if failure is not None:
        path = _kept(question, failure, folder)
        failures = (
            Failure(
                sentence=" — ".join([failure.sentence, *failure.stories[:3]]),
                seed=failure.seed,
                policy=policy_of(failure.seed).name,
                plan=failure.plan,
                switches={str(step): choice for step, choice in failure.switches.items()},
                lanes=failure.lanes,
                lanes_svg=failure.lanes_svg,
                command=f"actorflow stress replay {shlex.quote(str(path))}",
                repro=str(path),
            ),
        )
    broken = 0 if failure is None else 1
    return Report(
        command="run",
        subject=question.target,
        seed=0,
        arguments={"target": question.target, "invariants": list(question.invariants), "same": list(question.same)},
        versions=versions(),
        seconds=seconds,
        totals={
            "schedules": found.schedules,
            "distinct schedules": found.distinct,
            "decisions": found.decisions,
            "store calls checked": found.operations,
            "crashes": found.crashes,
            "failed writes": found.faults,
        },
        policies={name: {"schedules": count} for name, count in sorted(found.by_policy.items())},
        invariants=(
            Invariant(name="what was asked", checked=found.schedules * max(1, checks), violated=broken),
            Invariant(name="run stores", checked=found.operations, undecided=found.undecided),
        ),
        failures=failures,
    )


def _kept(question: Question, failure: ScheduleFailure, folder: Path) -> Path:
    """The file that repeats it; one that is there already is left."""
    name = question.target.rpartition(":")[2].replace(".", "-")
    number = 0
    while True:
        path = folder / f"stress-repro-{name}-{failure.seed}{f'-{number}' if number else ''}.json"
        try:
            with path.open("x", encoding="utf-8") as file:
                text = {"question": question.to_json(), "repro": json.loads(failure.repro.to_json())}
                json.dump(text, file, ensure_ascii=False, indent=1)
        except FileExistsError:
            number += 1
        else:
            return path

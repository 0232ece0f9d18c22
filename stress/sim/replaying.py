"""One schedule again: from the file of a violation, or from a scenario and a seed.

What lives here: finding out which, running it, the report. What does not: the options (`replay_command`), the trace
(`tracing`), the text of a failure (`failing`).
"""

from __future__ import annotations

import pdb
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from actorflow.testing import Repro
from actorflow.testing.programs import Trial
from actorflow.testing.shrinking import Budget, shrink

from ..child import versions
from ..oracles import PLAN
from ..report import Invariant, Report, deliver
from ..scenario import UnknownScenario
from .catalogue import scenario_of
from .driven import Driven, ScenarioJudge, Settings, findings
from .failing import again, described, told
from .options import settings_of
from .tally import ENDS, PROMISES, blamed
from .tracing import traced

if TYPE_CHECKING:
    import argparse

    from actorflow.testing.judging import Finding
    from actorflow.testing.simulation import Passage

    from ..report import Failure

__all__ = ["replay"]


class Unreadable(Exception):
    """What is to be replayed cannot be made out."""


@frozen
class _Again:
    """What is run again, and the command that does so."""

    reference: str
    driven: Driven
    trial: Trial
    settings: Settings
    command: str

    @classmethod
    def of(cls, what: str, settings: Settings) -> _Again:
        """From a file, or from a scenario and a seed."""
        reference, _, number = what.rpartition(":")
        if reference and number.isdecimal():
            driven = Driven(scenario_of(reference))
            trial = driven.trial(int(number), settings)
            return cls(reference, driven, trial, settings, again(reference, int(number), settings))
        path = Path(what)
        if not path.is_file():
            raise Unreadable(f"{what!r} is neither a file nor SCENARIO:SEED")
        repro = Repro.from_json(path.read_text(encoding="utf-8"))
        driven = Driven(scenario_of(repro.program))
        trial = driven.program.trial(repro.seed, switches=repro.switches or {})
        trial = evolve(trial, plan=repro.plan, fate=repro.fate)
        return cls(repro.program, driven, trial, settings, f"python -m stress replay {what}")


def replay(options: argparse.Namespace) -> int:
    """Run the schedule again; 1 if it fails again, 0 if not."""
    try:
        what = _Again.of(options.what, settings_of(options))
    except (Unreadable, UnknownScenario, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 2
    passage, lines = traced(what.trial, what.settings.policy)
    if options.trace:
        print("\n".join(lines), end="\n\n")
    finding = ScenarioJudge(what.driven).judge(passage)
    if options.pdb:
        _debug(what.driven, passage, finding)
    report = _report(what, passage, finding)
    return deliver(report, json_file=options.json, html_file=options.html)


def _report(what: _Again, passage: Passage, finding: Finding | None) -> Report:
    said = findings(passage)
    unsaid = None if finding is None else blamed(finding)
    names = PROMISES if passage.error is None else [ENDS, PLAN]
    return Report(
        command="replay",
        subject=what.reference,
        seed=what.trial.seed,
        versions=versions(),
        totals={
            "decisions": len(passage.choices),
            "switches": len(passage.switches),
            "operations": what.driven.operations(passage),
        },
        invariants=tuple(
            Invariant(
                name=f"{name} {PROMISES[name]}",
                checked=1,
                violated=name == unsaid or any(one.invariant == name and not one.undecided for one in said),
                undecided=any(one.invariant == name and one.undecided for one in said),
            )
            for name in names
        ),
        failures=() if finding is None else (_failure(what, passage, finding),),
        notes=(f"digest of the schedule: {passage.digest:016x}",),
    )


def _failure(what: _Again, passage: Passage, finding: Finding) -> Failure:
    judge = ScenarioJudge(what.driven, finding.kind)
    failure = shrink(what.trial, passage, finding, judge, Budget(0))
    return evolve(told(described(failure, what.reference, what.settings), None), command=what.command)


def _debug(driven: Driven, passage: Passage, finding: Finding | None) -> None:
    """Where the error was raised; without one, beside everything that was recorded."""
    if passage.error is not None and passage.error.__traceback__ is not None:
        pdb.post_mortem(passage.error.__traceback__)
        return
    record = driven.record
    print("the schedule is over; look at `record`, `passage` and `finding`")
    pdb.set_trace()
    del record, finding

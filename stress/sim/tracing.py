"""One schedule, told step by step: who took over from whom, which store call began and ended where.

What lives here: the policy that listens while another one chooses. What does not: choosing.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from attrs import define, evolve, field

from actorflow.testing.policies import NOBODY, Policy, Replay
from actorflow.testing.simulation import run_schedules

from .driven import policy_for

if TYPE_CHECKING:
    from collections.abc import Sequence

    import trio

    from actorflow.testing import StoreCall
    from actorflow.testing.programs import Trial
    from actorflow.testing.recorder import Recorder
    from actorflow.testing.simulation import Passage

__all__ = ["traced"]


class _Listening(Policy):
    """Lets another policy choose, and writes down what happens."""

    name = "listening"

    def __init__(self, inner: Policy) -> None:
        self._inner = inner
        self.chosen: list[str] = []

    def choose(self, pool: Sequence[trio.lowlevel.Task], current: int, step: int) -> int:
        """What the other one chooses."""
        index = self._inner.choose(pool, current, step)
        taken = _short(pool[index].name)
        if current == NOBODY:
            self.chosen.append(f"{taken} goes on, one of {len(pool)}")
        elif index != current:
            self.chosen.append(f"{taken} takes over from {_short(pool[current].name)}, one of {len(pool)}")
        else:
            self.chosen.append("")
        return index


def _short(name: str) -> str:
    return name.rpartition(".<locals>.")[2].removeprefix("actorflow.")


@define(eq=False)
class _Calls:
    """The store calls, each told when it is first seen and when its answer is."""

    lines: list[str] = field(factory=list)
    _told: dict[tuple[str, int], bool] = field(factory=dict)

    def look(self, recorder: Recorder, step: int) -> None:
        """What is new since this decision."""
        for run_id, history in recorder.histories.items():
            for place, call in enumerate(history.calls):
                key, answered = (run_id, place), call.returned != inf
                if key not in self._told:
                    self.lines.append(_line(step, run_id, call, call.asked))
                if answered and not self._told.get(key):
                    self.lines.append(_line(step, run_id, call, f"{call.asked} = {call.result!r}"))
                self._told[key] = answered


def _line(step: int, run_id: str, call: StoreCall, text: str) -> str:
    return f"{step:>6}    {run_id}, {call.branch}: {text}"


def traced(trial: Trial, policy: str) -> tuple[Passage, list[str]]:
    """Run a trial; what it did, and the lines that tell it."""
    inner = policy_for(policy, trial.seed) if trial.switches is None else Replay(trial.switches)
    listening, calls = _Listening(inner), _Calls()
    lives = trial.begin(listening)
    schedule = lives.schedule()
    before = schedule.watch
    found: list[Passage] = []

    def watch(step: int) -> None:
        if listening.chosen and listening.chosen[-1]:
            calls.lines.append(f"{step - 1:>6}  {listening.chosen[-1]}")
            listening.chosen[-1] = ""
        calls.look(schedule.recorder, step - 1)
        if before is not None:
            before(step)

    run_schedules([evolve(schedule, watch=watch)], found.append)
    calls.look(schedule.recorder, len(found[0].choices) - 1)
    return found[0], calls.lines

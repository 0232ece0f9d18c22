"""A user's program with all it asks for, ready to be run under a schedule, crashed, and called again.

What lives here: filling in parameters, the lives of a program on one disk. What does not: the schedule (`simulation`),
what is wrong with what came out (`judging`).
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final

import trio
from attrs import define, field, frozen

from ..errors import JournalError
from ..journals import MemoryJournal
from .faults import Fate, Faults
from .faulty import FaultyJournal
from .policies import Policy, Replay
from .simulation import DECISIONS_MAX, Passage, Schedule, run_schedules

__all__ = ["Lives", "Program", "Trial", "program_of", "run"]

PARAMETERS: Final = ("journal", "plan")
"""What a program may ask for, by the name of a parameter."""

ProgramFunction = Callable[..., Awaitable[object]]  # type: ignore[explicit-any]  # what it takes is seen by name
"""An async function that may ask for `journal` and `plan`."""

LIVES_MAX: Final = 50
"""Times that a program is called again, after which it will not end."""


@frozen
class Program:
    """A program, and what its arguments are made of."""

    function: ProgramFunction
    wants: frozenset[str]
    plan: Callable[[random.Random], object] | None = None
    faults: Faults | None = None

    @property
    def name(self) -> str:
        """How a user would call it."""
        plain = self.function
        while isinstance(plain, partial):
            plain = plain.func
        return str(getattr(plain, "__name__", plain))

    def trial(self, seed: int, *, limit: int = DECISIONS_MAX, switches: Mapping[int, int] | None = None) -> Trial:
        """All that follows from a seed."""
        plan = None if self.plan is None else self.plan(random.Random(f"plan {seed}"))
        fate = Fate() if self.faults is None else self.faults.fate(random.Random(f"fate {seed}"))
        return Trial(self, seed, plan, fate, switches, limit)


def program_of(
    function: ProgramFunction,
    plan: Callable[[random.Random], object] | None = None,
    faults: Faults | None = None,
) -> Program:
    """The program, with its parameters looked at; `TypeError` for one that cannot be filled."""
    if not callable(function):
        raise TypeError(f"{function!r} is no program; give an async function")
    wants = set()
    for name, parameter in inspect.signature(function).parameters.items():
        if name in PARAMETERS:
            wants.add(name)
        elif parameter.default is parameter.empty and parameter.kind not in (
            parameter.VAR_POSITIONAL,
            parameter.VAR_KEYWORD,
        ):
            raise TypeError(
                f"the parameter {name!r} of {function!r} cannot be filled: a program may ask for `journal` and `plan`; "
                "give the others with functools.partial"
            )
    if ("plan" in wants) != (plan is not None):
        missing = "no plan= is given" if plan is None else "it has no parameter `plan`"
        raise TypeError(f"{function!r} cannot be given its plan: {missing}")
    if faults is not None and "journal" not in wants:
        raise TypeError(f"{function!r} has no parameter `journal` to open its runtime with: faults need one")
    return Program(function, frozenset(wants), plan, faults)


@frozen
class Trial:
    """A program with one plan, one fate and one order of tasks.

    Attributes:
        switches: the order, as decisions that were not to go on; None: what the policy of the seed chooses.
    """

    program: Program
    seed: int
    plan: object = None
    fate: Fate = field(factory=Fate)
    switches: Mapping[int, int] | None = None
    limit: int = DECISIONS_MAX

    def begin(self, policy: Policy | None = None) -> Lives:
        """Ready to be run."""
        if policy is None and self.switches is not None:
            policy = Replay(self.switches)
        return Lives(self, policy)


@define(eq=False)
class Lives:
    """A trial as it runs: the program is called, dies, and is called again on the same disk."""

    trial: Trial
    policy: Policy | None = None
    crashes: int = 0
    failed_writes: int = 0
    writes: int = 0
    _journal: FaultyJournal | None = None
    _scope: trio.CancelScope | None = None

    def schedule(self) -> Schedule:
        """To be run."""
        trial = self.trial
        watch = self._watch if trial.fate.decisions else None
        places = self._reached if trial.fate.places else None
        return Schedule(trial.seed, self._live, self.policy, trial.limit, watch, places)

    def _watch(self, step: int) -> None:
        if step in self.trial.fate.decisions:
            self._die()

    def _reached(self, place: str, times: int) -> None:
        if self.trial.fate.places.get(place) == times:
            self._die()

    def _die(self) -> None:
        if self._journal is not None and not self._journal.crashed:
            self._journal.crash()
            if self._scope is not None:
                self._scope.cancel()

    async def _live(self) -> object:
        trial = self.trial
        given = {"plan": trial.plan} if "plan" in trial.program.wants else {}
        if "journal" not in trial.program.wants:
            return await trial.program.function(**given)
        disk = MemoryJournal(durable=True)
        for _ in range(LIVES_MAX):
            # With a breath on both sides of each write: on a real disk others go on meanwhile.
            journal = self._journal = FaultyJournal(disk, trial.fate.plan(self.writes), breathes=True)
            try:
                with trio.CancelScope() as self._scope:
                    value = await trial.program.function(journal=journal, **given)
                    if not journal.crashed:
                        return value
            except Exception as error:
                if not journal.crashed and not (trial.fate and _is_of_journal(error)):
                    raise
            finally:
                self.writes += journal.writes
                self.failed_writes += journal.failed
                self.crashes += journal.crashed
        raise AssertionError(f"called {LIVES_MAX} times on the same journal, and no end")


def _is_of_journal(error: Exception) -> bool:
    if isinstance(error, ExceptionGroup):
        return error.split(JournalError)[1] is None
    return isinstance(error, JournalError)


def run(trial: Trial, policy: Policy | None = None) -> tuple[Lives, Passage]:
    """Run one trial."""
    lives = trial.begin(policy)
    found: list[Passage] = []
    run_schedules([lives.schedule()], found.append)
    return lives, found[0]

"""`crash_everywhere`: it reaches every point, finds planted faults, tells them, and passes over what is right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
import trio
from attrs import frozen

from actorflow import Context, RunNotFound, RunOutcome, RunStatus, StepFailed, Workflow, open_runtime
from actorflow.testing import CrashFailure, FaultyJournal, crash_everywhere
from actorflow.testing.sameness import difference
from stress.sweep.crash_programs import PROGRAMS, CrashProgram

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from actorflow.abc import Append, Journal


class Sum(Workflow):
    """Three branches."""

    async def start(self, data: object, ctx: Context[object]) -> None:
        """One branch each."""
        for item in (1, 2, 3):
            await ctx.schedule_next_step("add", item)

    async def add(self, data: int, ctx: Context[object]) -> None:
        """Two messages."""
        await ctx.run_store.increment("sum", data)
        await ctx.run_store.push("items", data)


async def right(journal: Journal) -> object:
    """Starts its run under a fixed id, and gives its end."""
    async with open_runtime([Sum], journal=journal) as runtime:
        return await (await runtime.start(Sum, run_id="r")).wait()


@pytest.mark.rule("F4", "C3")
def test_every_write_and_decision_is_a_point_with_a_second_crash_each() -> None:
    """Two sides of each write, each decision, and for nearly each of them one more point in its recovery."""
    report = crash_everywhere(right)
    first = 2 * report.writes + report.decisions
    assert report.points == first + report.second
    assert report.second > 0.9 * first
    assert report.crashes == report.points + report.second
    assert report.recoveries == report.crashes
    assert f"{report.points} crash points" in str(report)


def test_writes_alone_can_be_swept() -> None:
    """Without decisions, and without second crashes, there are exactly two points a write."""
    report = crash_everywhere(right, decisions=False, again=0)
    assert report.points == 2 * report.writes
    assert report.second == 0


@pytest.mark.rule("F4", "C3")
@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_programs_of_both_styles_end_as_without_a_crash(program: CrashProgram) -> None:
    """Nested, suspended, waiting, failing: crashed in every write and once more during recovery."""
    assert crash_everywhere(program.run, seeds=[3], decisions=False).second > 5


def test_what_is_done_beside_the_journal_is_found_and_had_again() -> None:
    """A program that counts outside of it gives another result after a crash; the text repeats that very point."""
    calls: list[str] = []

    async def forgets(journal: Journal) -> object:
        calls.append("called")
        await right(journal)
        return len(calls)

    calls.clear()
    with pytest.raises(CrashFailure, match="the result is not that of the undisturbed run") as found:
        crash_everywhere(forgets, compare=lambda expected, result: str(expected) == str(result))
    failure = found.value
    assert failure.report.points == 1
    assert "again: crash_everywhere(forgets, at=" in str(failure)
    assert failure.repro.to_json() in str(failure)


def crashed_twice(calls: list[int]) -> Callable[[Journal], Awaitable[object]]:
    """A program that goes wrong only if its recovery is crashed, too."""

    async def program(journal: Journal) -> object:
        mine = calls[0] = calls[0] + 1
        outcome = await right(journal)
        assert isinstance(outcome, RunOutcome)
        calls[0] = 0  # it has got to its end: the next one is another point
        return "lost" if mine > 2 else outcome.status

    return program


def test_a_fault_of_the_second_crash_needs_the_second_crash() -> None:
    """With one crash all is well; with one more during recovery it is found, and the text says both."""
    calls = [0]
    program = crashed_twice(calls)
    crash_everywhere(program, again=0)
    calls[0] = 0
    with pytest.raises(CrashFailure, match=r"crashed on purpose .*,.*'lost' instead of") as found:
        crash_everywhere(program)
    assert len(found.value.repro.fate) == 2
    calls[0] = 0
    with pytest.raises(CrashFailure, match="'lost' instead of"):
        crash_everywhere(program, at=found.value.repro.to_json())


class Hasty:
    """Acknowledges a write before it is there: it goes out with the next one."""

    def __init__(self, journal: FaultyJournal) -> None:
        self._journal = journal
        self._held: Sequence[Append] = ()

    def __getattr__(self, name: str) -> object:
        return getattr(self._journal, name)

    async def commit(self, appends: Sequence[Append]) -> int:
        """Write what was acknowledged before."""
        held, self._held = self._held, appends
        return await self._journal.commit(held) if held else 0


@pytest.mark.rule("F1")
@pytest.mark.parametrize("is_hasty", [False, True])
def test_an_acknowledgement_before_the_write_is_found(is_hasty: bool) -> None:
    """A start that was acknowledged must be known after the crash; a journal that is hasty forgets it."""
    acknowledged: set[FaultyJournal] = set()

    async def program(journal: FaultyJournal) -> object:
        known = any(other.journal is journal.journal for other in acknowledged)
        async with open_runtime([Sum], journal=Hasty(journal) if is_hasty else journal) as runtime:  # type: ignore[arg-type]  # it passes the rest on
            if known:
                try:
                    await runtime.get_run("r")
                except RunNotFound:
                    return "acknowledged and lost"
            run = await runtime.start(Sum, run_id="r")
            if not journal.crashed:
                acknowledged.add(journal)
            if is_hasty:
                await trio.sleep(1)
                return "started"
            await run.wait()
        return "started"

    if is_hasty:
        with pytest.raises(CrashFailure, match="acknowledged and lost"):
            crash_everywhere(program)
    else:
        assert crash_everywhere(program).points > 50


def test_a_recovery_that_hangs_is_a_deadlock() -> None:
    """Nobody waits for a timeout: on virtual time it is seen at once."""
    calls: list[str] = []

    async def hangs(journal: Journal) -> object:
        calls.append("called")
        if len(calls) > 3:
            await trio.sleep_forever()
        return await right(journal)

    with pytest.raises(CrashFailure, match="deadlock: nothing can happen any more"):
        crash_everywhere(hangs)


def test_an_invariant_is_looked_at_after_every_point() -> None:
    """It is given each result, also that of the undisturbed run."""
    seen: list[object] = []

    def holds(outcome: RunOutcome) -> bool:
        seen.append(outcome.status)
        return outcome.status is RunStatus.COMPLETED

    report = crash_everywhere(right, decisions=False, invariants=[holds])
    assert len(seen) == report.points + 2  # the undisturbed run is run twice, to see that it is the same again

    with pytest.raises(CrashFailure, match="without any crash: invariant `lambda outcome: False` does not hold"):
        crash_everywhere(right, invariants=[lambda outcome: False])


def test_a_program_that_takes_chance_from_outside_is_told_so() -> None:
    """The undisturbed run is repeated; if it goes another way, no point can be had again."""
    calls: list[str] = []

    async def other_each_time(journal: Journal) -> None:
        calls.append("called")
        async with trio.open_nursery() as nursery:
            for _ in range(len(calls)):
                nursery.start_soon(trio.lowlevel.checkpoint)
        await right(journal)

    with pytest.warns(UserWarning, match="went another way the second time"):
        crash_everywhere(other_each_time, decisions=False, again=0, compare=lambda *_: True)


async def writes_nothing(journal: Journal) -> None:
    """Opens another journal by mistake."""
    async with open_runtime([Sum]) as runtime:
        await runtime.run(Sum)


async def wants_nothing() -> None:
    """Has no journal to open."""


def test_a_program_that_cannot_be_crashed_is_refused_with_the_reason() -> None:
    """One that does not use the journal, one that does not want it, and a bad count."""
    with pytest.raises(ValueError, match=r"writes nothing to its journal.*journal=journal"):
        crash_everywhere(writes_nothing)
    with pytest.raises(TypeError, match="has no parameter `journal`"):
        crash_everywhere(wants_nothing)
    with pytest.raises(ValueError, match="again=-1"):
        crash_everywhere(right, again=-1)


async def test_inside_trio_it_is_refused() -> None:
    """It runs trio itself."""
    with pytest.raises(RuntimeError, match="plain function"):
        crash_everywhere(right)


@frozen
class Pair:
    """A value of one's own."""

    left: int


def outcome(status: RunStatus = RunStatus.COMPLETED, **given: object) -> RunOutcome:
    """How a run settled."""
    return RunOutcome(run_id="r", status=status, **given)  # type: ignore[arg-type]  # the fields of the test


def failed(message: str, activation: str = "1") -> StepFailed:
    """A failure of a step."""
    return StepFailed(step_id="s", activation_id=activation, attempts=1, error_type="ValueError", message=message)


@pytest.mark.parametrize(
    ("expected", "found"),
    [
        (1, 1),
        (Pair(1), Pair(1)),
        ({"a": [1, {"b": 2}]}, {"a": [1, {"b": 2}]}),
        (outcome(state={"l": [1, 2]}), outcome(state={"l": [2, 1]})),
        (outcome(state={"l": [1, 2]}), outcome(state={})),
        (outcome(failures=(failed("a"), failed("b"))), outcome(failures=(failed("b", "7"), failed("a", "9")))),
        ([outcome(output=1)], [outcome(output=1)]),
    ],
    ids=[
        "number",
        "record",
        "nested",
        "pushes in any order",
        "state gone",
        "failures in any order",
        "list of outcomes",
    ],
)
def test_results_that_are_the_same(expected: object, found: object) -> None:
    """What follows from the schedule, and what goes with the end of a run, is no difference."""
    assert difference(expected, found) == ""


@pytest.mark.parametrize(
    ("expected", "found", "told"),
    [
        (1, 2, "it is 2 instead of 1"),
        (1, True, "it is True instead of 1"),
        ({"a": 1}, {}, r"\['a'\] is missing; it was 1"),
        ({}, {"a": 1}, r"\['a'\] is new: 1"),
        ([1, 2], [2, 1], "only the order differs"),
        ([1, 2], [1, 3], r"\[1\] is 3 instead of 2"),
        (outcome(output=1), outcome(output=2), "output is 2 instead of 1"),
        (outcome(), outcome(RunStatus.FAILED), "status is"),
        (outcome(state={"n": 1}), outcome(state={"n": 2}), r"state\['n'\] is 2 instead of 1"),
        (outcome(RunStatus.SUSPENDED, state={"n": 1}), outcome(RunStatus.SUSPENDED), r"state\['n'\] is missing"),
        (outcome(failures=(failed("a"),)), outcome(), "failures is"),
    ],
)
def test_results_that_differ_are_told_apart_by_the_place(expected: object, found: object, told: str) -> None:
    """The first difference is named, with both values."""
    assert re.search(told, difference(expected, found))

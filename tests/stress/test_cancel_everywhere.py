"""`cancel_everywhere`: it reaches every moment of a call, finds planted faults, and no call of ours does harm.

The sweep over the library itself (`stress/sweep`) has one test a call here, with one schedule each; `python -m stress
sweep cancel` has twenty.
"""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

import pytest
import trio

from actorflow import Context, Workflow, open_runtime
from actorflow.testing import CancelFailure, Victim, cancel_everywhere
from stress.sweep import command, handle_calls, openings, step_calls
from stress.sweep.campaign import Line, Sweep

if TYPE_CHECKING:
    from pathlib import Path

    from actorflow.abc import Journal
    from stress.sweep.stage import Case


# --- the kit


class Account:
    """Two numbers that should always add up to zero."""

    def __init__(self) -> None:
        self.left = self.right = 0

    async def move(self) -> None:
        """Wrong: there is a moment between the two."""
        await trio.lowlevel.checkpoint()
        self.left -= 1
        await trio.lowlevel.checkpoint()
        self.right += 1

    async def move_whole(self) -> None:
        """Right: cancelled before the first, or not at all."""
        await trio.lowlevel.checkpoint()
        with trio.CancelScope(shield=True):
            self.left -= 1
            await trio.lowlevel.checkpoint()
            self.right += 1


async def torn(victim: Victim) -> int:
    """What is out of balance after a move."""
    account = Account()
    await victim(account.move)
    return account.left + account.right


async def whole(victim: Victim) -> int:
    """The same, with the right move."""
    account = Account()
    await victim(account.move_whole)
    assert victim.cancelled is (account.left == 0)
    return account.left + account.right


def balanced(value: int) -> bool:
    """Nothing was lost on the way."""
    return value == 0


def test_a_change_that_is_torn_by_a_cancellation_is_found_and_had_again() -> None:
    """The moment between the two halves is named, and run again alone it is the same."""
    with pytest.raises(CancelFailure, match="balanced does not hold") as found:
        cancel_everywhere(torn, invariants=[balanced])
    failure = found.value
    assert failure.value == -1
    assert "call 0 of the victim (Account.move) cancelled after" in str(failure)
    assert f"again: cancel_everywhere(torn, at={failure.at})" in str(failure)
    with pytest.raises(CancelFailure, match="balanced does not hold") as again:
        cancel_everywhere(torn, invariants=[balanced], at=failure.at)
    assert (again.value.at, again.value.report.points) == (failure.at, 1)


def test_a_change_that_is_whole_passes_at_every_moment() -> None:
    """Some calls are cancelled, some finish all the same, and together they are all there were."""
    report = cancel_everywhere(whole, invariants=[balanced], seeds=3)
    assert (report.seeds, report.calls, report.raised) == (3, 3, 0)
    assert report.cancelled > 0
    assert report.finished > 0
    assert report.cancelled + report.finished == report.points
    assert f"{report.points} moments of 3 calls" in str(report)


class Lane:
    """A queue whose reader has to be woken."""

    def __init__(self) -> None:
        self.items: list[str] = []
        self.wake = trio.Event()

    async def put(self) -> None:
        """Wrong: cancelled between the two, nobody is woken."""
        self.items.append("item")
        await trio.lowlevel.checkpoint()
        self.wake.set()

    async def take(self) -> None:
        """Waits for an item."""
        await self.wake.wait()


async def forgotten(victim: Victim) -> None:
    """A reader, and a writer that may be cancelled."""
    lane = Lane()
    async with trio.open_nursery() as nursery:
        await victim(lane.put)
        if lane.items:
            nursery.start_soon(lane.take, name="reader")


def test_a_wake_up_that_is_lost_is_a_deadlock() -> None:
    """It is found at once, on virtual time, and the text names who waits."""
    with pytest.raises(CancelFailure, match=r"deadlock: .*reader in Lane\.take"):
        cancel_everywhere(forgotten)


async def stubborn(victim: Victim) -> None:
    """Takes its time although it is cancelled."""

    async def call() -> None:
        try:
            await trio.sleep(1)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(30)

    await victim(call)


def test_a_call_that_goes_on_for_long_after_its_cancellation_is_slow() -> None:
    """Patience is in virtual seconds; None allows any time."""
    with pytest.raises(CancelFailure, match="took 30 s to end; patience is 10 s"):
        cancel_everywhere(stubborn, seeds=1)
    assert cancel_everywhere(stubborn, seeds=1, patience=None).points > 1


async def three_calls(victim: Victim) -> list[bool]:
    """Which of three calls were cancelled."""
    for _ in range(3):
        await victim(trio.sleep, 1)
    return [call.cancelled for call in victim.calls]


def test_of_several_calls_each_is_cancelled_alone() -> None:
    """In every run at most one of them, and each of them in some."""
    seen: set[tuple[bool, ...]] = set()

    def one_at_most(cancelled: list[bool]) -> bool:
        seen.add(tuple(cancelled))
        return sum(cancelled) <= 1

    cancel_everywhere(three_calls, seeds=1, invariants=[one_at_most])
    assert {(True, False, False), (False, True, False), (False, False, True)} < seen


def test_too_many_moments_are_thinned_out_evenly() -> None:
    """No more than asked for in one schedule; the report counts what was left out."""
    report = cancel_everywhere(three_calls, seeds=2, points=2)
    assert report.points == 4
    assert report.skipped > 0


async def failing(victim: Victim) -> None:
    """A call that raises, cancelled or not."""

    async def call() -> None:
        raise ValueError("as planned")

    with pytest.raises(ValueError, match="as planned"):
        await victim(call)
    assert victim.calls[0].error is not None


def test_an_error_of_the_call_passes_through_and_is_counted() -> None:
    """The program may catch it."""
    assert cancel_everywhere(failing, seeds=1).raised == 1


class Paid(Workflow):
    """Waits to be paid."""

    async def start(self, data: object, ctx: Context[object]) -> None:
        """The wait."""
        await ctx.wait_for_event("paid", action="paid")

    async def paid(self, data: object, ctx: Context[object]) -> None:
        """The event."""
        await ctx.run_store.push("paid", ctx.event)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """All of them."""
        return await ctx.run_store.get("paid")


async def careless(victim: Victim, journal: Journal) -> object:
    """Does not send again what was cancelled."""
    async with open_runtime([Paid], journal=journal) as runtime:
        run = await runtime.start(Paid)
        await victim(run.send_event, "paid", 3)
        return await run.result()


async def careful(victim: Victim, journal: Journal) -> object:
    """Sends again what was cancelled: cancelled means that it did not happen."""
    async with open_runtime([Paid], journal=journal) as runtime:
        run = await runtime.start(Paid)
        await victim(run.send_event, "paid", 3)
        if victim.cancelled:
            await run.send_event("paid", 3)
        return await run.result()


@pytest.mark.rule("A6")
def test_an_event_is_sent_whole_or_not_at_all() -> None:
    """Sending it again after a cancellation, and only then, delivers it once."""
    report = cancel_everywhere(careful, invariants=[lambda paid: paid == [3]], seeds=6)
    assert report.cancelled > 0
    assert report.finished > 0
    with pytest.raises(CancelFailure, match="deadlock"):
        cancel_everywhere(careless, seeds=1)


async def no_victim(victim: Victim) -> None:
    """Forgets what it was given."""


async def no_parameter() -> None:
    """Takes nothing."""


def test_a_program_without_a_victim_is_refused_with_the_reason() -> None:
    """One that does not call it, and one that does not take it."""
    with pytest.raises(ValueError, match="never calls its victim"):
        cancel_everywhere(no_victim)
    with pytest.raises(TypeError, match="first parameter is the victim"):
        cancel_everywhere(no_parameter)


# --- the library


VARIANTS = [case for case in step_calls.CASES if case.share < 1.0]
CASES = [
    case
    for case in (*step_calls.CASES, *handle_calls.CASES, *openings.CASES)
    if case not in VARIANTS and not case.name.endswith((", over", ", on success, again", "a file"))
]
SOME = ("store.push", "store.transaction", "ctx.schedule_next_step", "ctx.wait_for_event", "ctx.run_child", "ctx.once")


@pytest.mark.rule("A6")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_no_moment_of_a_call_is_a_bad_one_to_cancel_it(case: Case) -> None:
    """It did not happen, or it happened whole; nobody hangs, and nothing is left over."""
    for journal in case.journals:
        report = cancel_everywhere(case.program(journal), seeds=[1], points=20, check_stores=case.check_stores)
        assert report.points > 0


@pytest.mark.rule("A6", "C3")
@pytest.mark.parametrize(
    "case",
    [case for case in VARIANTS if case.name.split(",")[0] in SOME],
    ids=lambda case: case.name,
)
def test_after_a_cancelled_call_a_second_pass_of_its_step_counts_once(case: Case) -> None:
    """Cancelled in the first pass or in the second, in the end the call has happened exactly once."""
    for journal in case.journals:
        assert cancel_everywhere(case.program(journal), seeds=[2], points=20).points > 0


# --- the subcommand


def options(*words: str) -> argparse.Namespace:
    """As on the command line."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return parser.parse_args(words)


def test_the_subcommand_sweeps_what_is_asked_for_and_writes_it_down(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Verdict first, a table, and the same figures as JSON."""
    path = tmp_path / "sweep.json"
    assert command.run(options("cancel", "--only", "store.has", "--seeds", "2", "--json", str(path))) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("OK: cancelled calls did not happen")
    assert "store.has, again" in shown
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["verdict"], found["kind"], found["seeds"]) == ("ok", "cancel", 2)
    assert found["points"] == sum(case["counts"]["points"] for case in found["cases"]) > 10


def test_the_subcommand_crashes_programs(capsys: pytest.CaptureFixture[str]) -> None:
    """The other kind."""
    assert command.run(options("crash", "--only", "bail", "--seeds", "1")) == 0
    assert capsys.readouterr().out.startswith("OK: after every crash")


def test_a_case_that_is_not_there_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """And the list says which there are."""
    assert command.run(options("--only", "no such call")) == 2
    assert "--list" in capsys.readouterr().err
    assert command.run(options("crash", "--list")) == 0
    assert "class: fan-out" in capsys.readouterr().out


def test_a_violation_and_an_idle_case_have_their_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    """1 for something wrong, 2 for something that was not tried."""
    fine = Line("fine", "memory", {"points": 3})
    assert Sweep("cancel", 0, lines=[fine]).exit_code == 0
    assert Sweep("cancel", 0, lines=[fine, Line("idle", "memory")]).exit_code == 2
    broken = Sweep("cancel", 0, lines=[fine, Line("broken", "memory", {"points": 1}, failure="it broke")])
    assert broken.exit_code == 1
    broken.show()
    assert capsys.readouterr().out.startswith("VIOLATION in 1 of 2 cases")

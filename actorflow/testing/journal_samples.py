"""Facts, rows and appends to try a journal with.

What lives here: `SAMPLES`, one or more of every kind of fact, and short ways to write appends. What does not: the tests
(`journal_contract`). Tests of journals import this; programs have no use for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import attrs

from .._core import facts as f
from .._core.lifecycle import RunStatus
from ..abc import Append, RunHeader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._core.facts import Fact

T = TypeVar("T")

AT: Final = 1_700_000_000.123456
ODD: Final = 'line\nbreak "quoted" \\ \u00e9 \u2028 \U0001f389 \x00'
"""Text that is not JSON: names and messages may hold anything that a str can."""

SAMPLES: Final[Sequence[Fact]] = (
    f.RunStarted(AT, "Import", "v1", "flow.py:Import", '{"a":[1]}', '{"who":"é"}', "f00", "", ""),
    f.RunStarted(AT, ODD, "", "", "null", "{}", "", "3.", "parent"),
    f.StateSeeded(AT, {}),
    f.StateSeeded(AT, {"count": "0", ODD: '"x\\ny"', "list": "[1,2]"}),
    f.StepScheduled(AT, 1, "start", "null", AT, 0, ""),
    f.StepScheduled(AT, 2, "process", '{"item":"\\n"}', AT + 10.5, 1, ODD),
    f.StepsScheduled(AT, 3, "process", ["1", '"\\n"', "[]"], AT, 1),
    f.StepsScheduled(AT, 6, "process", [], AT, 1),
    f.StepUnscheduled(AT, 2),
    f.WaitOpened(AT, 7, "take", "{}", "paid", 0.0, "", 1),
    f.WaitOpened(AT, 8, "take", "{}", ODD, AT + 60, "give_up", 1),
    f.EventReceived(AT, "paid", '{"amount":1}', 7),
    f.EventTaken(AT, ODD, 8),
    f.WaitTimedOut(AT, 8),
    f.StepStarted(AT, 1, 1),
    f.OperationApplied(AT, 1, "push", "results", '{"id":1}', ""),
    f.OperationApplied(AT, 1, "increment", ODD, 1, "op-1"),
    f.OperationApplied(AT, 1, "maximum", "peak", -0.5, ""),
    f.OperationApplied(AT, 1, "extend", "results", ("1", "[2]"), ""),
    f.OperationApplied(AT, 1, "extend", "results", (), ""),
    f.OperationApplied(AT, 1, "compare_and_set", "lock", ("", '"mine"'), ""),
    f.OperationApplied(AT, 1, "delete", "results", None, ""),
    f.TransactionApplied(AT, 1, [("push", "a", "1"), ("increment", "b", 1), ("delete", "c", None)], ""),
    f.TransactionApplied(AT, 1, [("extend", ODD, ("1", "2")), ("increment", "b", 1.5)], "op-2"),
    f.TransactionApplied(AT, 1, [], ""),
    f.OnceRecorded(AT, 1, "charge", '"receipt"'),
    f.Emitted(AT, 1, "progress", "[1,2]"),
    f.Logged(AT, 1, 1, 20, ODD),
    f.StepCompleted(AT, 1, "null"),
    f.AttemptFailed(AT, 2, "ValueError", ODD, AT + 1),
    f.StepFailed(AT, 2, "ValueError", "lone \ud800 surrogate"),
    f.StepCancelled(AT, 3),
    f.StepInterrupted(AT, 4, True),
    f.StepInterrupted(AT, 5, False),
    f.RunStopping(AT, "bail", '{"x":1}', ""),
    f.RunStopping(AT, "cancel", "", ODD),
    f.HookScheduled(AT, 9, "on_workflow_complete"),
    f.HookEnded(AT, 9, '{"processed":2}', "", ""),
    f.HookEnded(AT, 9, "", "KeyError", ODD),
    f.RunEnded(AT, "completed", '{"processed":2}', ""),
    f.StepSuspended(AT, 10, 0, ODD, '{"ask":"\\n"}'),
    f.StepSuspended(AT, 10, 4, "", "null"),
    f.StepResumed(AT, 10, '{"yes":true}'),
    f.StepResumed(AT, 10, ""),
    f.RunSuspended(AT),
    f.RunWoken(AT),
    f.ChildAttached(AT, 4, 17, '["a","b"]', "*", '["total"]'),
    f.ChildStarted(AT, 4, 1, "Child", '{"region":"é"}'),
    f.ChildAbandoned(AT, 4),
    f.ChildPaused(AT, 4),
    f.ChildWoken(AT, 4),
    f.ChildEnded(AT, 4, "completed", "[1]", "", "", [("push", "a", "1"), ("increment", "b", 2), ("pop", "c", None)]),
    f.ChildEnded(AT, 5, "failed", "null", "RunFailed", ODD, []),
    f.EventForwarded(AT, ODD, "run-1~4"),
    f.NodeEntered(AT, 3, "parallel(a, b)", 2, "question", "last", 11, "_branch.3", AT + 5, ODD),
    f.GroupOpened(AT, 12, ["a", "b", "é c"], "101", False, 0),
    f.GroupOpened(AT, 12, ["a"], "", True, 2),
    f.GroupClosed(AT),
    f.NodeFailed(AT, 15, "foreach(a)", "InputError", ODD),
)
"""Every kind of fact, with the values at which writers of journals stumble."""


class InlineExecutor:
    """Runs blocking work where it is called: right for tests, where nothing else waits for the loop."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function()`, or its exception."""
        return function()


def header(number: int = 1, **changes: object) -> RunHeader:
    """The row of a run `run-<number>`."""
    plain = RunHeader(
        run_id=f"run-{number}", workflow_id="Import", status=RunStatus.RUNNING, created=number, started_at=AT
    )
    return attrs.evolve(plain, **changes)  # type: ignore[arg-type]  # the fields are named by the tests below


def append(first_seq: int, facts: Sequence[Fact], number: int = 1, *, new: bool = False) -> Append:
    """Facts for run `run-<number>`; with its row if it is new."""
    return Append(run_id=f"run-{number}", first_seq=first_seq, facts=facts, header=header(number) if new else None)


def pushes(count: int, start: int = 0) -> list[Fact]:
    """Facts that can be told apart."""
    return [f.OperationApplied(AT, 1, "push", "items", str(i), "") for i in range(start, start + count)]


def without_values(fact: Fact) -> Fact:
    """What remains of a fact when its run is over."""
    if isinstance(fact, f.OperationApplied):
        return attrs.evolve(fact, argument=None)
    if isinstance(fact, f.TransactionApplied | f.ChildEnded):
        return attrs.evolve(fact, operations=[(verb, key, None) for verb, key, _ in fact.operations])
    return attrs.evolve(fact, values={}) if isinstance(fact, f.StateSeeded) else fact


def end(first_seq: int, number: int = 1) -> Append:
    """The end of a run."""
    return Append(
        run_id=f"run-{number}",
        first_seq=first_seq,
        facts=[f.RunEnded(AT, "completed", "null", "")],
        header=header(number, status=RunStatus.COMPLETED, ended_at=AT),
        drop_values=True,
    )


def kind(fact: Fact) -> str:
    """The name of a parametrized case."""
    return type(fact).__name__

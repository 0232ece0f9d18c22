"""How each kind of fact is written: its tag, its version, its columns.

What lives here: `TAGS`, the one table of today's, and `OLD`, those of earlier versions. What does not: the kinds of
columns (`columns`), the frames that are made of them (`codec`).

A change to a fact: raise the version of its tag, move the old entry to `OLD` with an `upcast`, and add a journal of the
old version to tests/golden.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from .._core import facts as f
from .._core.facts import Fact
from .columns import ARGUMENT, ATOM, OPERATIONS, STATE, TEXT, TEXTS, WORD, Column


@frozen
class Tag:
    """How one kind of fact is written: its columns, in the order of its fields after `at`.

    A tag of an earlier version has an `upcast`, which turns `at` and the columns of that version into today's fact.
    """

    tag: str
    version: int
    kind: type[object]
    columns: Mapping[str, Column]
    upcast: Callable[[tuple[object, ...]], Fact] | None = None

    @property
    def name(self) -> str:
        """What stands in the journal, such as "op1"."""
        return f"{self.tag}{self.version}"


# --- tags

TAGS: Final[Mapping[type, Tag]] = {
    tag.kind: tag
    for tag in (
        Tag(
            "run",
            1,
            f.RunStarted,
            {
                "workflow_id": WORD,
                "version": ATOM,
                "source": ATOM,
                "input": TEXT,
                "headers": TEXT,
                "fingerprint": ATOM,
                "prefix": ATOM,
                "parent_id": ATOM,
            },
        ),
        Tag("seed", 1, f.StateSeeded, {"values": STATE}),
        Tag(
            "step",
            1,
            f.StepScheduled,
            {"n": ATOM, "step": WORD, "payload": TEXT, "due": ATOM, "by": ATOM, "key": WORD},
        ),
        Tag(
            "steps",
            1,
            f.StepsScheduled,
            {"first": ATOM, "step": WORD, "payloads": TEXTS, "due": ATOM, "by": ATOM},
        ),
        Tag("unstep", 1, f.StepUnscheduled, {"n": ATOM}),
        Tag(
            "wait",
            1,
            f.WaitOpened,
            {
                "n": ATOM,
                "step": WORD,
                "payload": TEXT,
                "event": WORD,
                "deadline": ATOM,
                "on_timeout": WORD,
                "by": ATOM,
            },
        ),
        Tag("event", 1, f.EventReceived, {"event": WORD, "data": TEXT, "n": ATOM}),
        Tag("take", 1, f.EventTaken, {"event": WORD, "n": ATOM}),
        Tag("late", 1, f.WaitTimedOut, {"n": ATOM}),
        Tag("start", 1, f.StepStarted, {"n": ATOM, "attempt": ATOM}),
        Tag("op", 1, f.OperationApplied, {"n": ATOM, "verb": WORD, "key": WORD, "argument": ARGUMENT, "op_id": WORD}),
        Tag("tx", 1, f.TransactionApplied, {"n": ATOM, "operations": OPERATIONS, "op_id": WORD}),
        Tag("once", 1, f.OnceRecorded, {"n": ATOM, "name": WORD, "value": TEXT}),
        Tag("emit", 1, f.Emitted, {"n": ATOM, "name": WORD, "data": TEXT}),
        Tag("log", 1, f.Logged, {"n": ATOM, "attempt": ATOM, "level": ATOM, "message": ATOM}),
        Tag("done", 1, f.StepCompleted, {"n": ATOM, "output": TEXT}),
        Tag("retry", 1, f.AttemptFailed, {"n": ATOM, "error_type": WORD, "message": ATOM, "due": ATOM}),
        Tag("fail", 1, f.StepFailed, {"n": ATOM, "error_type": WORD, "message": ATOM}),
        Tag("cancel", 1, f.StepCancelled, {"n": ATOM}),
        Tag("cut", 1, f.StepInterrupted, {"n": ATOM, "crashed": ATOM}),
        Tag("stop", 1, f.RunStopping, {"ending": ATOM, "output": TEXT, "reason": ATOM}),
        Tag("hook", 1, f.HookScheduled, {"n": ATOM, "step": WORD}),
        Tag("hooked", 1, f.HookEnded, {"n": ATOM, "output": TEXT, "error_type": WORD, "message": ATOM}),
        Tag("end", 1, f.RunEnded, {"status": ATOM, "output": TEXT, "reason": ATOM}),
        Tag("suspend", 1, f.StepSuspended, {"n": ATOM, "call": ATOM, "label": ATOM, "payload": TEXT}),
        Tag("resume", 1, f.StepResumed, {"n": ATOM, "data": TEXT}),
        Tag("sleep", 1, f.RunSuspended, {}),
        Tag("wake", 1, f.RunWoken, {}),
        Tag(
            "attach",
            1,
            f.ChildAttached,
            {"call": ATOM, "seq": ATOM, "path": ATOM, "inherits": ATOM, "merge": ATOM},
        ),
        Tag("child", 1, f.ChildStarted, {"n": ATOM, "by": ATOM, "workflow_id": WORD, "input": TEXT}),
        Tag("abandon", 1, f.ChildAbandoned, {"n": ATOM}),
        Tag("pause", 1, f.ChildPaused, {"n": ATOM}),
        Tag("go", 1, f.ChildWoken, {"n": ATOM}),
        Tag(
            "exit",
            1,
            f.ChildEnded,
            {
                "n": ATOM,
                "status": WORD,
                "output": TEXT,
                "error_type": WORD,
                "message": ATOM,
                "operations": OPERATIONS,
            },
        ),
        Tag("forward", 1, f.EventForwarded, {"event": WORD, "child": ATOM}),
        Tag(
            "node",
            1,
            f.NodeEntered,
            {
                "node": ATOM,
                "name": WORD,
                "iteration": ATOM,
                "stage": WORD,
                "takes": WORD,
                "n": ATOM,
                "step": WORD,
                "due": ATOM,
                "event": WORD,
            },
        ),
        Tag(
            "fork",
            1,
            f.GroupOpened,
            {"first": ATOM, "steps": TEXTS, "runs": ATOM, "elements": ATOM, "enough": ATOM},
        ),
        Tag("shut", 1, f.GroupClosed, {}),
        Tag("unmet", 1, f.NodeFailed, {"n": ATOM, "step": WORD, "error_type": WORD, "message": ATOM}),
    )
}
"""How each kind of fact is written today."""

OLD: Final[Sequence[Tag]] = ()
"""Tags of earlier versions, which are read for ever and never written."""

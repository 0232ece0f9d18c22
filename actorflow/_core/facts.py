"""What happened to a run: the closed set of facts, in the past tense.

What lives here: the set. Facts are what is journaled; folding them (`apply`) rebuilds a run. What does not: the
records (`facts_run`; `facts_child` for suspensions and child runs, `facts_graph` for the chain of a graph), their
bytes (`journals.codec`), the decision to record one (`decide`, `react`).

Times (`at`, `due`) are seconds of the Unix epoch on the run's clock. `n` is the number of an activation in its run.
Values, payloads and outputs are JSON text.
"""

from __future__ import annotations

from typing import Final

from .facts_child import (
    ChildAbandoned,
    ChildAttached,
    ChildEnded,
    ChildPaused,
    ChildStarted,
    ChildWoken,
    EventForwarded,
    RunSuspended,
    RunWoken,
    StepResumed,
    StepSuspended,
)
from .facts_graph import GroupClosed, GroupOpened, NodeEntered, NodeFailed
from .facts_run import (
    AttemptFailed,
    Emitted,
    EventReceived,
    EventTaken,
    HookEnded,
    HookScheduled,
    Logged,
    OnceRecorded,
    OperationApplied,
    RunEnded,
    RunStarted,
    RunStopping,
    StateSeeded,
    StepCancelled,
    StepCompleted,
    StepFailed,
    StepInterrupted,
    StepScheduled,
    StepsScheduled,
    StepStarted,
    StepUnscheduled,
    TransactionApplied,
    WaitOpened,
    WaitTimedOut,
)

__all__ = [
    "FACTS",
    "AttemptFailed",
    "ChildAbandoned",
    "ChildAttached",
    "ChildEnded",
    "ChildPaused",
    "ChildStarted",
    "ChildWoken",
    "Emitted",
    "EventForwarded",
    "EventReceived",
    "EventTaken",
    "Fact",
    "GroupClosed",
    "GroupOpened",
    "HookEnded",
    "HookScheduled",
    "Logged",
    "NodeEntered",
    "NodeFailed",
    "OnceRecorded",
    "OperationApplied",
    "RunEnded",
    "RunStarted",
    "RunStopping",
    "RunSuspended",
    "RunWoken",
    "StateSeeded",
    "StepCancelled",
    "StepCompleted",
    "StepFailed",
    "StepInterrupted",
    "StepResumed",
    "StepScheduled",
    "StepStarted",
    "StepSuspended",
    "StepUnscheduled",
    "StepsScheduled",
    "TransactionApplied",
    "WaitOpened",
    "WaitTimedOut",
]

Fact = (
    RunStarted
    | StateSeeded
    | StepScheduled
    | StepsScheduled
    | StepUnscheduled
    | WaitOpened
    | EventReceived
    | EventTaken
    | WaitTimedOut
    | StepStarted
    | OperationApplied
    | TransactionApplied
    | OnceRecorded
    | Emitted
    | Logged
    | StepCompleted
    | AttemptFailed
    | StepFailed
    | StepCancelled
    | StepInterrupted
    | RunStopping
    | HookScheduled
    | HookEnded
    | RunEnded
    | StepSuspended
    | StepResumed
    | RunSuspended
    | RunWoken
    | ChildAttached
    | ChildStarted
    | ChildAbandoned
    | ChildPaused
    | ChildWoken
    | ChildEnded
    | EventForwarded
    | NodeEntered
    | GroupOpened
    | GroupClosed
    | NodeFailed
)

FACTS: Final = (
    RunStarted,
    StateSeeded,
    StepScheduled,
    StepsScheduled,
    StepUnscheduled,
    WaitOpened,
    EventReceived,
    EventTaken,
    WaitTimedOut,
    StepStarted,
    OperationApplied,
    TransactionApplied,
    OnceRecorded,
    Emitted,
    Logged,
    StepCompleted,
    AttemptFailed,
    StepFailed,
    StepCancelled,
    StepInterrupted,
    RunStopping,
    HookScheduled,
    HookEnded,
    RunEnded,
    StepSuspended,
    StepResumed,
    RunSuspended,
    RunWoken,
    ChildAttached,
    ChildStarted,
    ChildAbandoned,
    ChildPaused,
    ChildWoken,
    ChildEnded,
    EventForwarded,
    NodeEntered,
    GroupOpened,
    GroupClosed,
    NodeFailed,
)
"""Every kind of fact; `APPLY` and the codec's tags are held against it."""

"""The states of runs and steps, and the legal moves between them.

What lives here: the enums and the two tables. The diagrams in the documentation are drawn from the tables, and a
property test holds every run to them. What does not: when a move is made (`decide`), what follows (`react`).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping


class RunStatus(Enum):
    """What a run is doing, as its users see it."""

    __hash__ = object.__hash__  # members are singletons; the inherited one is a Python call

    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


class StepStatus(Enum):
    """What one activation of a step is doing."""

    __hash__ = object.__hash__  # members are singletons; the inherited one is a Python call

    PENDING = "pending"
    RUNNING = "running"
    SUSPENDED = "suspended"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"


class Phase(Enum):
    """Where a run is on its way from open to over; finer than `RunStatus`.

    OPEN: steps may start. STOPPING: no step starts any more, live ones are cancelled and awaited. HOOK: the one hook
    of the run's end is due or live. OVER: nothing of the run will ever run again.
    """

    OPEN = "open"
    STOPPING = "stopping"
    HOOK = "hook"
    OVER = "over"


class Ending(Enum):
    """Why a run leaves the OPEN phase."""

    COMPLETE = "complete"
    BAIL = "bail"
    FAIL = "fail"
    CANCEL = "cancel"


RUN_MOVES: Final[Mapping[RunStatus, frozenset[RunStatus]]] = {
    RunStatus.RUNNING: frozenset({RunStatus.SUSPENDED, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.SUSPENDED: frozenset({RunStatus.RUNNING, RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED}),
    RunStatus.COMPLETED: frozenset(),
    RunStatus.FAILED: frozenset(),
    RunStatus.CANCELLED: frozenset(),
}

STEP_MOVES: Final[Mapping[StepStatus, frozenset[StepStatus]]] = {
    StepStatus.PENDING: frozenset({StepStatus.RUNNING, StepStatus.CANCELLED, StepStatus.SKIPPED, StepStatus.FAILED}),
    StepStatus.RUNNING: frozenset(
        {
            StepStatus.PENDING,  # a retry, or a process that died
            StepStatus.SUSPENDED,
            StepStatus.COMPLETED,
            StepStatus.FAILED,
            StepStatus.CANCELLED,
        }
    ),
    StepStatus.SUSPENDED: frozenset({StepStatus.PENDING, StepStatus.CANCELLED, StepStatus.FAILED}),
    StepStatus.COMPLETED: frozenset(),
    StepStatus.FAILED: frozenset(),
    StepStatus.CANCELLED: frozenset(),
    StepStatus.SKIPPED: frozenset(),
}

PHASE_MOVES: Final[Mapping[Phase, frozenset[Phase]]] = {
    Phase.OPEN: frozenset({Phase.STOPPING}),
    Phase.STOPPING: frozenset({Phase.HOOK, Phase.OVER}),
    Phase.HOOK: frozenset({Phase.STOPPING, Phase.OVER}),  # a cancel may overtake the completion hook
    Phase.OVER: frozenset(),
}

RUN_OVER: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
RUN_SETTLED: Final = RUN_OVER | {RunStatus.SUSPENDED}
STEP_OVER: Final = frozenset({s for s, moves in STEP_MOVES.items() if not moves})

ENDING_STATUS: Final[Mapping[Ending, RunStatus]] = {
    Ending.COMPLETE: RunStatus.COMPLETED,
    Ending.BAIL: RunStatus.COMPLETED,
    Ending.FAIL: RunStatus.FAILED,
    Ending.CANCEL: RunStatus.CANCELLED,
}

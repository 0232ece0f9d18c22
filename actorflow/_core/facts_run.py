"""What happens to a run and to its steps.

What lives here: one record per kind of fact, as in `facts`, which has the whole set. What does not: their bytes.
"""

from __future__ import annotations

from collections.abc import Mapping

from .fact import fact
from .operations import Argument


@fact
class RunStarted:
    """The run exists. `fingerprint` tells an identical second start from a different one."""

    at: float
    workflow_id: str
    version: str
    source: str
    input: str
    headers: str
    fingerprint: str
    prefix: str
    parent_id: str


@fact
class StateSeeded:
    """The run store as the run starts with it: schema defaults and the initial state."""

    at: float
    values: Mapping[str, str]


@fact
class StepScheduled:
    """Activation `n` is armed: from now on it counts as open. `by` is the activation that asked (0: the run)."""

    at: float
    n: int
    step: str
    payload: str
    due: float
    by: int
    key: str


@fact
class StepsScheduled:
    """Activations `first`, `first` + 1 … are armed, one per payload."""

    at: float
    first: int
    step: str
    payloads: list[str]
    due: float
    by: int


@fact
class StepUnscheduled:
    """An armed activation was taken back before it started."""

    at: float
    n: int


@fact
class WaitOpened:
    """Activation `n` of `step` is armed by the event `event`; at `deadline` (0: never) `on_timeout` runs instead."""

    at: float
    n: int
    step: str
    payload: str
    event: str
    deadline: float
    on_timeout: str
    by: int


@fact
class EventReceived:
    """An event came; it is kept until a wait for it opens, unless a wait is open (`n`, else 0)."""

    at: float
    event: str
    data: str
    n: int


@fact
class EventTaken:
    """A kept event was given to the wait of activation `n`."""

    at: float
    event: str
    n: int


@fact
class WaitTimedOut:
    """The deadline of the wait of activation `n` passed; its `on_timeout` step is armed in its place, if it has one."""

    at: float
    n: int


@fact
class StepStarted:
    """Activation `n` runs; `attempt` counts from 1 and does not count passes cut off by a crash."""

    at: float
    n: int
    attempt: int


@fact
class OperationApplied:
    """One store operation of activation `n`. `op_id` is empty unless the caller named the operation."""

    at: float
    n: int
    verb: str
    key: str
    argument: Argument
    op_id: str


@fact
class TransactionApplied:
    """Several operations of activation `n`, as one change."""

    at: float
    n: int
    operations: list[tuple[str, str, Argument]]
    op_id: str


@fact
class OnceRecorded:
    """The result of a `once` of activation `n`."""

    at: float
    n: int
    name: str
    value: str


@fact
class Emitted:
    """A custom event of activation `n`."""

    at: float
    n: int
    name: str
    data: str


@fact
class Logged:
    """A line that activation `n` logged; `level` as in the logging module."""

    at: float
    n: int
    attempt: int
    level: int
    message: str


@fact
class StepCompleted:
    """Activation `n` returned `output`."""

    at: float
    n: int
    output: str


@fact
class AttemptFailed:
    """A pass of activation `n` failed and will be tried again at `due`."""

    at: float
    n: int
    error_type: str
    message: str
    due: float


@fact
class StepFailed:
    """Activation `n` failed for good."""

    at: float
    n: int
    error_type: str
    message: str


@fact
class StepCancelled:
    """Activation `n` was live or armed and is not any more: it had no outcome of its own."""

    at: float
    n: int


@fact
class StepInterrupted:
    """Activation `n` was live when its process ended; it is armed again."""

    at: float
    n: int
    crashed: bool


@fact
class RunStopping:
    """No step starts any more. `ending` is an `Ending`; `output` belongs to a bail, `reason` to a cancel."""

    at: float
    ending: str
    output: str
    reason: str


@fact
class HookScheduled:
    """Activation `n` is the hook of the run's end."""

    at: float
    n: int
    step: str


@fact
class HookEnded:
    """The hook returned `output`, or raised (`error_type` is not empty). It never changes the status."""

    at: float
    n: int
    output: str
    error_type: str
    message: str


@fact
class RunEnded:
    """The run is over. `status` is a `RunStatus`."""

    at: float
    status: str
    output: str
    reason: str

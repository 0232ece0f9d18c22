"""What may be asked of a run: the closed set of commands, in the imperative.

What lives here: one record per kind of command; everything in it is checked, encoded and sized by whoever sends it.
Time and chance come in with a command (`due`, `dice`), never from inside. What does not: the answers (`decide`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import define, field

from .facts import ChildAttached
from .lifecycle import RunStatus
from .operations import Argument, Operation
from .store_state import Value
from .values import Missing

NO_MARK: Final = -1
"""The key was not read by this step: a `set` of it is last-write-wins."""


@define(eq=False)
class StartRun:
    """Create the run. `initial` is the state that it starts with, by key."""

    workflow_id: str
    version: str
    source: str
    input: str
    headers: str
    fingerprint: str
    initial: Mapping[str, str]
    prefix: str = ""
    parent_id: str = ""
    attached: ChildAttached | None = None
    """For a child: the fact that ties it to its parent; its time is filled in."""


@define(eq=False)
class Schedule:
    """Arm one step. The reply is its activation number; with a `key` that is taken, the number of its holder."""

    by: int
    step: str
    payload: str
    due: float
    key: str = ""


@define(eq=False)
class ScheduleMany:
    """Arm one step per payload. The reply is how many."""

    by: int
    step: str
    payloads: list[str]
    due: float


@define(eq=False)
class Unschedule:
    """Take an armed step back. The reply is whether it was still armed."""

    n: int


@define(eq=False)
class OpenWait:
    """Arm a step by an event. The reply is its activation number."""

    by: int
    step: str
    payload: str
    event: str
    deadline: float
    on_timeout: str


@define(eq=False)
class SendEvent:
    """Deliver an event to the oldest wait for it, or keep it for one."""

    event: str
    data: str
    waited_for: bool = False
    """Deliver it only if a wait for it is open; the reply says whether."""


@define(eq=False)
class Operate:
    """One verb of the run store. `mark` is the store's write count when the step read the key, or `NO_MARK`.

    `compute`, for an `update`, makes the argument from the value that is there when the command's turn comes: the new
    value, and the mark by which the function is known again.
    """

    n: int
    verb: str
    key: str
    argument: Argument
    op_id: str = ""
    mark: int = NO_MARK
    compute: Callable[[Value | Missing], tuple[str, str]] | None = None


@define(eq=False)
class Transact:
    """Several verbs, all or nothing. `marks` holds, by key, what `Operate.mark` holds."""

    n: int
    operations: Sequence[Operation]
    op_id: str = ""
    marks: Mapping[str, int] = field(factory=dict)


@define(eq=False)
class RecordOnce:
    """Keep the result of a `once`. The reply is the recorded value, which is the first one."""

    n: int
    name: str
    value: str


@define(eq=False)
class Emit:
    """A custom event on the run's stream."""

    n: int
    name: str
    data: str


@define(eq=False)
class Log:
    """A line for the run's history."""

    n: int
    attempt: int
    level: int
    message: str


@define(eq=False)
class FinishStep:
    """A pass returned. `operations` and `schedules` are what a `commit="on_success"` step has buffered."""

    n: int
    output: str
    operations: Sequence[Operation] = ()
    marks: Mapping[str, int] = field(factory=dict)
    schedules: Sequence[Schedule | ScheduleMany] = ()
    emits: Sequence[Emit] = ()


@define(eq=False)
class FailStep:
    """A pass raised. `retryable` says whether the policy covers the exception; `dice` is uniform in [0, 1)."""

    n: int
    error_type: str
    message: str
    retryable: bool
    dice: float


@define(eq=False)
class DropStep:
    """A pass was cancelled by the run and had no outcome of its own."""

    n: int


@define(eq=False)
class InterruptStep:
    """A pass was cut off by the end of its process (`crashed`) or of its runtime."""

    n: int
    crashed: bool


@define(eq=False)
class FinishHook:
    """The hook of the run's end returned `output` ("" for None), or raised."""

    n: int
    output: str
    error_type: str = ""
    message: str = ""


@define(eq=False)
class SuspendStep:
    """A pass has asked to be suspended: until an answer comes, or (`call` is not 0) until that child run has ended."""

    n: int
    call: int = 0
    label: str = ""
    payload: str = "null"


@define(eq=False)
class ResumeStep:
    """Let a suspended step go on with an answer to its `wakes`-th question; it may have asked the next one since."""

    n: int
    data: str
    wakes: int


@define(eq=False)
class StartChild:
    """Call a child run. `prepare`, given the values of the store, checks what the child inherits and raises if it
    cannot begin with it; what it returns is the shell's. The reply is the number of the call.
    """

    by: int
    workflow_id: str
    input: str
    prepare: Callable[[Mapping[str, Value]], object]
    merge: str = ""
    prepared: object = None


@define(eq=False)
class AbandonCall:
    """A step does not want a child any more."""

    call: int


@define(eq=False)
class ReportChild:
    """News of a child run: it is suspended, goes on, or is over."""

    call: int
    status: RunStatus
    output: str = "null"
    error_type: str = ""
    message: str = ""
    operations: Sequence[Operation] = ()


@define(eq=False)
class ClaimEvent:
    """The descendant run `child` waits for an event; the reply is whether one was kept here for it, and its data."""

    event: str
    child: str


@define(eq=False)
class CancelRun:
    """End the run as cancelled."""

    reason: str


@define(eq=False)
class Bail:
    """End the run now as completed, with this output."""

    n: int
    output: str


@define(eq=False)
class Tick:
    """Time has passed: do what has fallen due."""


Command = (
    StartRun
    | Schedule
    | ScheduleMany
    | Unschedule
    | OpenWait
    | SendEvent
    | Operate
    | Transact
    | RecordOnce
    | Emit
    | Log
    | FinishStep
    | FailStep
    | DropStep
    | InterruptStep
    | FinishHook
    | CancelRun
    | Bail
    | Tick
    | SuspendStep
    | ResumeStep
    | StartChild
    | AbandonCall
    | ReportChild
    | ClaimEvent
)

COMMANDS: Final = (
    StartRun,
    Schedule,
    ScheduleMany,
    Unschedule,
    OpenWait,
    SendEvent,
    Operate,
    Transact,
    RecordOnce,
    Emit,
    Log,
    FinishStep,
    FailStep,
    DropStep,
    InterruptStep,
    FinishHook,
    CancelRun,
    Bail,
    Tick,
    SuspendStep,
    ResumeStep,
    StartChild,
    AbandonCall,
    ReportChild,
    ClaimEvent,
)
"""Every kind of command; `DECIDE` is held against it."""

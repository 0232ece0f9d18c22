"""The state of one run: what is known of it, and of each of its steps.

What lives here: `RunState` and the records that it is made of. What does not: writing it (`apply`, the one pen),
deciding (`decide`), what follows from it (`react`).

A fan-out of a million branches must wait as compact records: a step that has not started yet is represented by the
fact that armed it (or by its place in a `Batch`), one that has ended by a tuple. Only live steps are objects.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from attrs import define, field

from . import facts as f
from .lifecycle import RUN_OVER, Ending, Phase, RunStatus, StepStatus
from .operations import Operation
from .store_state import StoreState, Value

LogEntry = tuple[str, str, object, object]
"""(verb, key, argument, reply) of something that an activation did to its run: what a second pass must not repeat."""

Finished = tuple[int, str, str, int, str, str, str, float, float, float]
"""(n, step, status, attempts, output, error type, message, scheduled at, started at, ended at). The status by its
value: the garbage collector lets go of a tuple that holds nothing but text and numbers, and there may be millions."""


class Activation:
    """One step from its first start to its end, through retries and crashes.

    A plain class with defaults on the class: most activations live once, for microseconds, and need six of these.
    """

    status = StepStatus.PENDING
    due = 0.0
    attempt = 0
    failures = 0
    crashes = 0
    started_at = 0.0
    key = ""
    event: str | None = None
    error_type = ""
    message = ""
    interrupted = False
    call = 0
    """While it is suspended: the child run that it waits for; 0: an answer."""
    label = ""
    note = "null"
    """What it handed out with its suspension."""
    calls: list[int] | None = None
    """The child runs that it has called, also those that are forgotten."""
    answers: list[str] | None = None
    wakes = 0
    """How often it has been resumed: what it then does to the stores above is told apart by it."""
    leg = 0
    """How much of the log was there when it was last resumed: of that, only what is asked again in the same words is
    recognised."""
    mark = 0
    """The store's write count when the present pass started: what `ctx.state` shows."""
    log: list[LogEntry] | None = None
    once: dict[str, str] | None = None
    named: dict[str, tuple[str, str, object]] | None = None

    def __init__(self, n: int, step: str, payload: str, scheduled_at: float) -> None:
        self.n = n
        self.step = step
        self.payload = payload
        self.scheduled_at = scheduled_at

    def remember(self, entry: LogEntry) -> None:
        """Keep what it did to its run, for later passes."""
        if self.log is None:
            self.log = [entry]
        else:
            self.log.append(entry)

    def name(self, op_id: str, verb: str, key: str, reply: object) -> None:
        """Keep the reply of an operation that the caller has named."""
        if self.named is None:
            self.named = {}
        self.named[op_id] = (verb, key, reply)


@define(eq=False)
class Batch:
    """The steps of one `StepsScheduled` that have not started: those from `index` on."""

    fact: f.StepsScheduled
    index: int = 0


@define(eq=False)
class Call:
    """A child run that a step has called: `n` is the number of the call, `by` the step."""

    n: int
    by: int
    workflow_id: str
    status: RunStatus = RunStatus.RUNNING
    output: str = "null"
    error_type: str = ""
    message: str = ""
    unwanted: bool = False
    """The step has let go of it: it is being cancelled."""


@define(eq=False)
class Group:
    """The members of a parallel, a branch or a foreach, from the fork to the join.

    `slots` has the output of each member that succeeded, None for the others; `left` counts those that have not ended.
    `enough` successes fill a slot, 0: all.
    """

    first: int
    steps: list[str]
    elements: bool
    slots: list[str | None]
    left: int
    succeeded: int = 0
    failed: int = 0
    closed: bool = False
    enough: int = 0


@define(eq=False)
class Flow:
    """Where a run is on the chain of its graph; as `NodeEntered` says."""

    node: int = -1
    name: str = ""
    iteration: int = 1
    stage: str = ""
    data: str = "null"
    last: str = "null"
    current: int = 0
    """The activation that the chain waits for; 0: none, or a group."""
    group: Group | None = None
    failed: bool = False


Armed = f.StepScheduled | f.WaitOpened | Activation
Queued = tuple[float, int, int, Armed | Batch]
"""(due, n, place, what): the order in which steps start. The place tells entries of one number apart: a batch goes by
that of its first step, and this one itself, armed again, has a negative place.
"""


@define(eq=False)
class Gate:
    """Live steps, waiting steps and recent starts of one step id that has a concurrency or a rate.

    `keeps` is how many of the latest starts are remembered: the count of the rate.
    """

    live: int = 0
    keeps: int = 0
    held: deque[Queued] = field(factory=deque)
    starts: deque[float] = field(factory=deque)


@define(eq=False)
class RunState:
    """Everything that is known of one run. Written by `apply` alone, except `parked` and `inherited`, which are not
    journaled.
    """

    run_id: str
    workflow_id: str = ""
    version: str = ""
    source: str = ""
    prefix: str = ""
    parent_id: str = ""
    input: str = "null"
    headers: str = "{}"
    fingerprint: str = ""
    seq: int = 0
    next_n: int = 1
    phase: Phase = Phase.OPEN
    status: RunStatus = RunStatus.RUNNING
    ending: Ending | None = None
    output: str = "null"
    start_output: str = "null"
    reason: str = ""
    started_at: float = 0.0
    ended_at: float = 0.0
    store: StoreState = field(factory=StoreState)
    armed: dict[int, Armed] = field(factory=dict)
    armed_count: int = 0
    firsts: list[int] = field(factory=list)
    batches: list[Batch] = field(factory=list)
    ready: deque[Queued] = field(factory=deque)
    timers: list[Queued] = field(factory=list)
    gates: dict[str, Gate] = field(factory=dict)
    live: dict[int, Activation] = field(factory=dict)
    parked: dict[int, int] = field(factory=dict)
    """How many waits for this run, or for one below or above it, each live step is in: it takes no place meanwhile."""
    suspended: dict[int, Activation] = field(factory=dict)
    calls: dict[int, Call] = field(factory=dict)
    open_calls: int = 0
    running_calls: int = 0
    guests: dict[int, Activation] = field(factory=dict)
    """Steps of descendants that have written to this store, by their (negative) number, as long as they may again."""
    guests_of: dict[int, list[int]] = field(factory=dict)
    """The same numbers, by the call through which they came."""
    flow: Flow | None = None
    path: str = "[]"
    call: int = 0
    merge: str = ""
    own: list[Operation] | None = None
    """What this run itself has changed, for a parent that takes it back."""
    inherited: Mapping[str, Value] | None = None
    """The store of the parent at the call: given to whoever folds the facts of a child."""
    done: dict[int, Finished] = field(factory=dict)
    dropped: list[tuple[Armed | Batch, float]] = field(factory=list)
    counts: dict[StepStatus, int] = field(factory=lambda: dict.fromkeys(StepStatus, 0))
    keys: dict[str, int] = field(factory=dict)
    waits: dict[str, deque[int]] = field(factory=dict)
    kept: dict[str, deque[str]] = field(factory=dict)
    outputs: dict[str, str] = field(factory=dict)
    failures: list[int] = field(factory=list)
    start_failed: bool = False
    hook: int = 0
    hook_step: str = ""
    hook_ended: bool = False
    hook_error: tuple[str, str] | None = None

    @property
    def open_steps(self) -> int:
        """Steps that are armed, live or suspended, and child runs: the run is not over before this is zero."""
        return self.armed_count + len(self.live) + len(self.suspended) + self.open_calls

    def unfinished_calls(self) -> list[Call]:
        """The child runs that are not over."""
        return [call for call in self.calls.values() if call.status not in RUN_OVER]

    def wake_at(self) -> float:
        """The next due time in the future, 0.0 if there is none; a cancelled timer makes it too early, never late."""
        return self.timers[0][0] if self.timers else 0.0

"""What happens between a step and whoever it waits for: suspensions, and the child runs that it calls.

What lives here: one record per kind of fact, as in `facts`, which has the whole set. What does not: their bytes.
"""

from __future__ import annotations

from .fact import fact
from .operations import Argument


@fact
class StepSuspended:
    """The pass of activation `n` ended in a suspension: until it is resumed, or until the child run `call` has ended
    if that is not 0. `label` and `payload` are for whoever resumes it.
    """

    at: float
    n: int
    call: int
    label: str
    payload: str


@fact
class StepResumed:
    """The suspended activation `n` is armed again; `data` is the answer, "" if a child run was what it waited for."""

    at: float
    n: int
    data: str


@fact
class RunSuspended:
    """Nothing of the run is live or due, and a step is suspended."""

    at: float


@fact
class RunWoken:
    """The suspended run goes on."""

    at: float


@fact
class ChildAttached:
    """The run is a child: that of the call `call` of its parent.

    `path` is the JSON list of the steps that called, from the outermost run on. `inherits` says which keys of the
    parent's store, as it was after its fact `seq`, this one begins with: "" none, "*" all, else a JSON list. `merge`
    says which of its own changes go back: "" none, "*" all, else a JSON list.
    """

    at: float
    call: int
    seq: int
    path: str
    inherits: str
    merge: str


@fact
class ChildStarted:
    """Step `by` called a child run of `workflow_id`; the call has the number `n`."""

    at: float
    n: int
    by: int
    workflow_id: str
    input: str


@fact
class ChildAbandoned:
    """The step that made the call `n` does not want its child any more: it is cancelled. If it ends so, a later pass of
    the step that asks for the same calls anew.
    """

    at: float
    n: int


@fact
class ChildPaused:
    """The child run of call `n` is suspended."""

    at: float
    n: int


@fact
class ChildWoken:
    """The child run of call `n` goes on."""

    at: float
    n: int


@fact
class ChildEnded:
    """The child run of call `n` is over; `operations` are its changes that come back, applied as one."""

    at: float
    n: int
    status: str
    output: str
    error_type: str
    message: str
    operations: list[tuple[str, str, Argument]]


@fact
class EventForwarded:
    """The oldest kept event of this name was handed on to the child run `child`, which waits for it."""

    at: float
    event: str
    child: str

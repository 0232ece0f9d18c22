"""Every error that actorflow raises, sorted by who must act.

What lives here: one root, `ActorflowError`, and its leaves. Each names the offending value and the next step in its
text, and carries the facts as attributes. What does not: deciding when to raise. Every module may import this one.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = [
    "ActorflowError",
    "AmbiguousResume",
    "Deadlock",
    "DefinitionError",
    "Fenced",
    "HookRestriction",
    "InputError",
    "JournalBusy",
    "JournalCorrupt",
    "JournalError",
    "LostUpdate",
    "NonRetryable",
    "NotJsonError",
    "NotSuspended",
    "RunCancelled",
    "RunExists",
    "RunFailed",
    "RunNotFound",
    "RunOver",
    "RunSuspended",
    "RuntimeClosed",
    "StateKeyError",
    "StateTypeError",
    "StepFailed",
    "StepTimeout",
    "ValueTooLarge",
]


class ActorflowError(Exception):
    """The root of all errors of this library.

    Attributes that an error knows are set on it; those that it does not know are None.
    """

    run_id: str | None = None
    step_id: str | None = None
    key: str | None = None

    def __init__(self, message: str = "", /, **fields: object) -> None:
        super().__init__(message)
        self.__dict__.update(fields)


# --- the author of the workflow must act -------------------------------------------------------------------------


class DefinitionError(ActorflowError):
    """A workflow that cannot run, or one that this runtime does not know. `findings` has one text per fault."""

    findings: Sequence[str] = ()


class HookRestriction(ActorflowError):
    """A call that a hook, or a step with `commit="on_success"`, may not make."""


class NonRetryable(ActorflowError):
    """Raise it (or a subclass) in a step to fail at once, whatever the retry policy says."""


class LostUpdate(ActorflowError):
    """A `set` of a key that another branch changed after this step had read it.

    `key`, `step_id`, `activation_id` (who tried) and `other_activation_id` (who changed it) tell what met.
    """

    activation_id: str | None = None
    other_activation_id: str | None = None


class Deadlock(ActorflowError):
    """A wait that can never end. `cycle` names the runs that wait for each other, in order."""

    cycle: Sequence[str] = ()


# --- the caller must send something else -------------------------------------------------------------------------


class InputError(ActorflowError, ValueError):
    """Data that does not fit. `problems` maps the path of every bad field (`$.items[3].price`) to what is wrong."""

    problems: Mapping[str, str] = {}


class NotJsonError(InputError):
    """A value that strict JSON cannot carry; `path` says where in it."""

    path: str = "$"


class ValueTooLarge(InputError):
    """Over a limit: `limit` and `size` in bytes (or keys, or digits), `what` names the limit."""

    limit: int = 0
    size: int = 0
    what: str = ""


class StateKeyError(ActorflowError, KeyError):
    """A key that is not a non-empty string of at most 512 UTF-8 bytes, or is outside the state schema."""

    def __str__(self) -> str:
        return Exception.__str__(self)


class StateTypeError(ActorflowError, TypeError):
    """The value under `key`, or the argument, has the wrong type for this verb. The value is unchanged."""


class RunExists(ActorflowError):
    """The run id is taken by a run with another workflow, input or initial state."""


class RunNotFound(ActorflowError, LookupError):
    """No run with this id in the journal."""


class RunOver(ActorflowError):
    """The run has ended; its store and its schedule are gone."""


class NotSuspended(ActorflowError):
    """`resume` of something that is not suspended."""


class AmbiguousResume(ActorflowError):
    """`resume` without `step` or `label` while several steps are suspended; `candidates` lists them."""

    candidates: Sequence[str] = ()


class RuntimeClosed(ActorflowError):
    """A call on a runtime, or on one of its runs, whose block is closing or closed."""


# --- what happened to a step or a run ----------------------------------------------------------------------------


class StepFailed(ActorflowError):
    """How every failure of a step is reported; `__cause__` is the step's own exception while it is in this process."""

    activation_id: str = ""
    attempts: int = 0
    error_type: str = ""
    message: str = ""

    def __init__(
        self,
        text: str = "",
        *,
        run_id: str | None = None,
        step_id: str = "",
        activation_id: str = "",
        attempts: int = 0,
        error_type: str = "",
        message: str = "",
    ) -> None:
        if not text:
            times = "1 attempt" if attempts == 1 else f"{attempts} attempts"
            text = f"step {step_id!r} (activation {activation_id}) failed after {times}: {error_type}: {message}"
        super().__init__(
            text,
            run_id=run_id,
            step_id=step_id,
            activation_id=activation_id,
            attempts=attempts,
            error_type=error_type,
            message=message,
        )


class StepTimeout(ActorflowError, TimeoutError):
    """A step passed its `timeout`, or a wait its own; `seconds` is the bound."""

    seconds: float | None = None


class RunFailed(ActorflowError):
    """From `Run.result()`: the run failed. `failures` has every failed step, `__cause__` is the first."""

    failures: Sequence[StepFailed] = ()
    is_final: bool = False
    """Whether its first failure was `NonRetryable`: a step that called the run as its child is not retried then."""


class RunCancelled(ActorflowError):
    """From `Run.result()`: the run was cancelled, for `reason`."""

    reason: str = ""


class RunSuspended(ActorflowError):
    """From `Run.result()`: the run is suspended; `suspensions` says where it waits to be resumed."""

    suspensions: Sequence[object] = ()


# --- the operator must act ---------------------------------------------------------------------------------------


class JournalError(ActorflowError):
    """The journal cannot be opened, read or written, or is a foreign file (which is left untouched)."""


class JournalBusy(JournalError):
    """The journal has an owner already, in this process or another."""


class JournalCorrupt(JournalError):
    """What the journal holds for this run is damaged."""


class Fenced(JournalError):
    """The journal has a newer owner; this one may not write any more."""

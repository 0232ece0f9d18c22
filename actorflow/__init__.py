"""Workflows as actors, for trio.

Each run of a workflow is a supervisor actor that owns the run's state in a single-writer mailbox. Parallel branches
send it `push`, `increment`, `set` …, applied in order, so no aggregation can race; a durable journal makes what was
acknowledged survive `kill -9` and count exactly once.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._authoring.builder import workflow
    from ._authoring.graph import Graph
    from ._authoring.sources import constant, from_input, from_state, from_step
    from ._authoring.step import Step, step
    from ._authoring.workflow import Workflow
    from ._core.lifecycle import RunStatus, StepStatus
    from ._core.policies import ALL, DRAIN, Join, Limits, Rate, Retry, first, tolerate
    from ._core.values import MISSING
    from ._runtime.context import Context
    from ._runtime.events import EventStream
    from ._runtime.handle import Run
    from ._runtime.records import (
        Event,
        Fact,
        Failure,
        RunDescription,
        RunOutcome,
        RunSummary,
        Statistics,
        StepRecord,
        Suspension,
        Wait,
    )
    from ._runtime.run_store import RunStore, Transaction
    from ._runtime.runtime import Runtime, open_runtime
    from ._runtime.scheduled import ScheduledStep
    from .errors import (
        ActorflowError,
        AmbiguousResume,
        Deadlock,
        DefinitionError,
        Fenced,
        HookRestriction,
        InputError,
        JournalBusy,
        JournalCorrupt,
        JournalError,
        LostUpdate,
        NonRetryable,
        NotJsonError,
        NotSuspended,
        RunCancelled,
        RunExists,
        RunFailed,
        RunNotFound,
        RunOver,
        RunSuspended,
        RuntimeClosed,
        StateKeyError,
        StateTypeError,
        StepFailed,
        StepTimeout,
        ValueTooLarge,
    )

__all__ = [
    "ALL",
    "DRAIN",
    "MISSING",
    "ActorflowError",
    "AmbiguousResume",
    "Context",
    "Deadlock",
    "DefinitionError",
    "Event",
    "EventStream",
    "Fact",
    "Failure",
    "Fenced",
    "Graph",
    "HookRestriction",
    "InputError",
    "Join",
    "JournalBusy",
    "JournalCorrupt",
    "JournalError",
    "Limits",
    "LostUpdate",
    "NonRetryable",
    "NotJsonError",
    "NotSuspended",
    "Rate",
    "Retry",
    "Run",
    "RunCancelled",
    "RunDescription",
    "RunExists",
    "RunFailed",
    "RunNotFound",
    "RunOutcome",
    "RunOver",
    "RunStatus",
    "RunStore",
    "RunSummary",
    "RunSuspended",
    "Runtime",
    "RuntimeClosed",
    "ScheduledStep",
    "StateKeyError",
    "StateTypeError",
    "Statistics",
    "Step",
    "StepFailed",
    "StepRecord",
    "StepStatus",
    "StepTimeout",
    "Suspension",
    "Transaction",
    "ValueTooLarge",
    "Wait",
    "Workflow",
    "constant",
    "first",
    "from_input",
    "from_state",
    "from_step",
    "open_runtime",
    "step",
    "tolerate",
    "workflow",
]

# The door is lazy: a name is imported when it is first asked for, so that `actorflow --help` needs neither trio nor
# cattrs. The table says where each name lives; a test holds it against `__all__` and against the imports above.
_HOME = {
    "._authoring.builder": ("workflow",),
    "._authoring.graph": ("Graph",),
    "._authoring.sources": (
        "constant",
        "from_input",
        "from_state",
        "from_step",
    ),
    "._authoring.step": (
        "Step",
        "step",
    ),
    "._authoring.workflow": ("Workflow",),
    "._core.lifecycle": (
        "RunStatus",
        "StepStatus",
    ),
    "._core.policies": (
        "ALL",
        "DRAIN",
        "Join",
        "Limits",
        "Rate",
        "Retry",
        "first",
        "tolerate",
    ),
    "._core.values": ("MISSING",),
    "._runtime.context": ("Context",),
    "._runtime.events": ("EventStream",),
    "._runtime.handle": ("Run",),
    "._runtime.records": (
        "Event",
        "Fact",
        "Failure",
        "RunDescription",
        "RunOutcome",
        "RunSummary",
        "Statistics",
        "StepRecord",
        "Suspension",
        "Wait",
    ),
    "._runtime.run_store": (
        "RunStore",
        "Transaction",
    ),
    "._runtime.runtime": (
        "Runtime",
        "open_runtime",
    ),
    "._runtime.scheduled": ("ScheduledStep",),
    ".errors": (
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
    ),
}

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(module, __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

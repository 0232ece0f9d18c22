"""Names for the identifiers that travel through every floor, and how an activation is written out.

What lives here: NewTypes and their text forms. Nothing here makes up an id: chance is the clock's business.
"""

from __future__ import annotations

from typing import Final, NewType

RunId = NewType("RunId", str)
WorkflowId = NewType("WorkflowId", str)
StepId = NewType("StepId", str)
JsonText = NewType("JsonText", str)
"""One JSON value as compact text, checked."""

START = StepId("start")
HOOK_COMPLETE = StepId("on_workflow_complete")
HOOK_ERROR = StepId("on_workflow_error")
HOOK_CANCEL = StepId("on_workflow_cancel")
HOOKS = frozenset({HOOK_COMPLETE, HOOK_ERROR, HOOK_CANCEL})


def is_internal(step: str) -> bool:
    """Whether a step is a part of a graph's own machinery (a condition, a map, a timer), and none of its author's."""
    return step.startswith("_")


CHILD_MARK: Final = "~"
"""Between the id of a run and the number of the call, in the id of a child: runs of users cannot have such an end."""


def child_id(run_id: str, call: int) -> str:
    """The id of the child run that a call has made."""
    return f"{run_id}{CHILD_MARK}{call}"


def activation_id(prefix: str, number: int) -> str:
    """The public id of the `number`-th activation of a run; `prefix` is empty for a root run and the id of the
    calling activation, with a dot, for a child: ids are unique over the whole tree. A negative number is a `guest`.
    """
    if number >= 0:
        return f"{prefix}{number}"
    return prefix + ".".join(str(part) for part in _parts(-number)[:-1])


def place_of(run_id: str, activation: str) -> tuple[str, int]:
    """The run in which an activation is, and its number there, from its id below `run_id`."""
    *calls, number = activation.split(".")
    for call in calls:
        run_id = child_id(run_id, int(call))
    return run_id, int(number)


_GUEST_BITS: Final = 48
"""Room for one number of an activation in the number of a guest: more than a run can count."""


def guest(path: str, wakes: int) -> int:
    """The number under which a step of a descendant writes to a run: negative, and made of its id below that run and
    of how often it has been resumed.
    """
    number = 0
    for part in (*map(int, path.split(".")), wakes):
        number = (number << _GUEST_BITS) | part
    return -number


def guest_legs(number: int) -> list[int]:
    """The numbers of the same guest from its first pass on, up to this one."""
    wakes = -number & ((1 << _GUEST_BITS) - 1)
    return [number + wakes - leg for leg in range(wakes + 1)]


def guest_call(number: int) -> int:
    """The call through which a guest came; 0 for a number that is none."""
    return _parts(-number)[0] if number < 0 else 0


def _parts(number: int) -> list[int]:
    parts: list[int] = []
    while number:
        parts.append(number & ((1 << _GUEST_BITS) - 1))
        number >>= _GUEST_BITS
    return parts[::-1]

"""Names for the identifiers that travel through every floor, and how an activation is written out.

What lives here: NewTypes and their text forms. Nothing here makes up an id: chance is the clock's business.
"""

from __future__ import annotations

from typing import NewType

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


def activation_id(prefix: str, number: int) -> str:
    """The public id of the `number`-th activation of a run; `prefix` is empty for a root run and the id of the
    calling activation, with a dot, for a child: ids are unique over the whole tree.
    """
    return f"{prefix}{number}"

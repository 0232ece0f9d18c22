"""What both authoring styles compile to: the kernel's `RunPlan`, and the functions and types behind its names.

What lives here: frozen records. What does not: reading hints (`signature`), checking and building (`step`,
`workflow`), types to data and back (`schema`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import Enum

from attrs import field, frozen

from .._core.plan import RunPlan, StepPlan
from .._ids import HOOKS
from .schema import PLAIN, Schema, StateSchema


class Offload(Enum):
    """Where a step's function runs."""

    NONE = "none"
    THREAD = "thread"
    PROCESS = "process"


class Commit(Enum):
    """When a step's store operations and schedules take effect."""

    AT_ONCE = "at_once"
    ON_SUCCESS = "on_success"


@frozen(kw_only=True)
class BoundStep:
    """One step with its code.

    `invoke` calls the user's function with (data, ctx) (hooks: see `Definition.hook_data`); it returns an awaitable,
    or, for a step with `offload`, the result itself. `payload` and `output` turn data into JSON text and back, held
    to the declared types. `state` is the schema that `ctx.state` of this step shows; `resume` and `suspend` are the
    types of `ctx.resume_data` and of what `ctx.suspend` hands out.
    """

    plan: StepPlan
    invoke: Callable[[object, object], Awaitable[object] | object]
    payload: Schema
    output: Schema
    state: StateSchema | None
    timeout: float | None = None
    offload: Offload = Offload.NONE
    commit: Commit = Commit.AT_ONCE
    simple: bool = field(init=False)
    """Whether a pass is nothing but one awaited call with plain JSON: no options, no types, no hook."""

    @simple.default
    def _is_simple(self) -> bool:
        return (
            self.payload.kind is None
            and self.output.kind is None
            and self.timeout is None
            and self.offload is Offload.NONE
            and self.commit is Commit.AT_ONCE
            and self.plan.step_id not in HOOKS
        )

    resume: Schema = PLAIN
    suspend: Schema = PLAIN


@frozen(kw_only=True)
class Definition:
    """One workflow, ready to run.

    Args:
        plan: what the kernel knows.
        steps: by step id, `start` and the hooks included. The first argument that a hook's `invoke` gets is None for
            `on_workflow_complete`, the `StepFailed` for `on_workflow_error`, the reason for `on_workflow_cancel`.
        state: the master state schema, or None.
        output: the type of the run's output.
        events: the type that the definition gives to the data of an event, by event name.
        nested: the workflows that stand in a graph as steps, by id; a runtime that knows the graph knows them.
        input: the type of the run's input.
        source: "FILE:NAME" where the workflow was found, so that another process can find it again; or "".
        target: what the user gave: the class or the graph.
    """

    plan: RunPlan
    steps: Mapping[str, BoundStep]
    state: StateSchema | None
    output: Schema
    input: Schema = PLAIN
    events: Mapping[str, Schema] = field(factory=dict)
    nested: Mapping[str, Definition] = field(factory=dict)
    source: str = ""
    target: object = None

    @property
    def workflow_id(self) -> str:
        """The id under which a runtime knows it."""
        return self.plan.workflow_id

"""From a step's function and its hints to a `BoundStep`: what both authoring styles share.

What lives here: the declared types and the state of one step. What does not: which functions are steps
(`workflow`, `graph_compile`), reading annotations (`signature`).
"""

from __future__ import annotations

from operator import or_
from typing import TYPE_CHECKING, cast

from .._core.plan import StepPlan
from . import kinds, signature
from .definition import BoundStep
from .schema import PLAIN, Schema, StateSchema, faults, schema_of
from .signature import Signature
from .step import Step, state_problems

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .check import Findings


def schema(kind: object | None) -> Schema:
    """The schema of a hint; of one that has faults, which are a finding already, that of plain JSON."""
    return PLAIN if kind is None or faults(kind) else schema_of(kind)


def either_output(hook: object | None, other: object | None) -> object | None:
    """The type of a run's output: what the completion hook gives; where that may be None, also what else there is."""
    if hook is None:
        return other
    inner = kinds.core(hook)
    if kinds.is_union(inner) and kinds.NoneType in kinds.members(inner):
        return cast("object", or_(inner, kinds.ANYTHING if other is None else kinds.core(other)))
    return hook


def declared(
    member: object,
    parameters: Sequence[str],
    scopes: Sequence[Mapping[str, object]],
    label: str,
    findings: Findings,
) -> Signature:
    """The types of one function or `Step`: its options, else its annotations.

    Args:
        member: the function, or the step.
        parameters: what it is called with, as in `signature.read`.
        scopes: what its annotations may name besides the globals of its module.
        label: how findings call it.
        findings: where the faults go.
    """
    function = member.function if isinstance(member, Step) else member
    where = signature.location(function)
    read = signature.read(function, parameters, *scopes)
    for text in read.problems:
        findings.add(where, f"{label}: {text}")
    for what, kind in (("data", read.data), ("result", read.output)):
        for text in faults(kind) if kind is not None else ():
            findings.add(where, f"{label}: {what}: {text}")
    if not isinstance(member, Step):
        return read
    return Signature(
        member.input if member.input is not None else read.data,
        member.output if member.output is not None else read.output,
        member.state if member.state is not None else read.state,
    )


def step_state(
    function: object, found: Signature, master: StateSchema | None, label: str, findings: Findings
) -> StateSchema | None:
    """The state that a step sees: its own part of the master, or the whole."""
    if found.state is None or (master is not None and found.state is master.kind):
        return master
    where = signature.location(function)
    problems = list(state_problems("state", found.state))
    if problems:
        for text in problems:
            findings.add(where, f"{label}: {text}")
        return master
    own = StateSchema(cast("type", found.state))
    for text in own.differences(master) if master is not None else ():
        findings.add(where, f"{label}: {text}")
    return own


def bind(
    step: Step[[object, object], object],
    step_id: str,
    invoke: Callable[[object, object], Awaitable[object] | object],
    found: Signature,
    state: StateSchema | None,
) -> BoundStep:
    """A `Step` with its options, under the id that it has in its workflow."""
    return BoundStep(
        plan=StepPlan(step_id=step_id, retry=step.retry, concurrency=step.concurrency, rate=step.rate),
        invoke=invoke,
        payload=schema(found.data),
        output=schema(found.output),
        state=state,
        timeout=step.timeout,
        offload=step.offload,
        commit=step.commit,
        resume=schema(step.resume),
        suspend=schema(step.suspend),
    )

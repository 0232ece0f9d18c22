"""The pen for the chain of a graph: where it is, and the counting down of its joins.

What lives here: what the facts of a graph write into `Flow` and `Group`. What does not: arming steps (`apply`), the
rules of routing (`route`). A member's end costs the same whatever the size of the group: the chain is never walked
again, and a join is a number that is counted down.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._ids import activation_id
from .lifecycle import StepStatus
from .run_state import Flow, Group, RunState
from .values import decode, encode

if TYPE_CHECKING:
    from . import facts as f


def enter(state: RunState, fact: f.NodeEntered) -> Flow:
    """The chain comes to a link."""
    flow = state.flow
    if flow is None:
        flow = state.flow = Flow(data=state.input)
    if fact.takes == "last":
        flow.data = flow.last
    elif fact.takes == "group":
        assert flow.group is not None
        flow.data = joined(state, flow.group)
    flow.node, flow.name, flow.iteration, flow.stage = fact.node, fact.name, fact.iteration, fact.stage
    flow.group = None
    flow.current = fact.n
    flow.last = "null"
    return flow


def open_group(state: RunState, fact: f.GroupOpened) -> Flow:
    """A fork: from here on its members are counted."""
    flow = state.flow
    assert flow is not None
    total = len(element_texts(flow.data)) if fact.elements else len(fact.steps)
    flow.group = Group(fact.first, fact.steps, fact.elements, [None] * total, total, enough=fact.enough)
    flow.current = 0
    return flow


def element_texts(data: str) -> list[str]:
    """The elements of a JSON list, each as text."""
    found = decode(data)
    assert isinstance(found, list)
    return [encode(item) for item in found]


def member_ended(state: RunState, n: int, status: StepStatus, output: str) -> None:
    """A step of the graph has ended: the chain's own, or a member of the group."""
    flow = state.flow
    assert flow is not None
    if n == flow.current:
        flow.current = 0
        flow.last = output
        flow.failed = status is not StepStatus.COMPLETED
        return
    group = flow.group
    if group is None or not 0 <= n - group.first < len(group.slots):
        return
    group.left -= 1
    if status is StepStatus.COMPLETED:
        if not group.enough or group.succeeded < group.enough:
            group.slots[n - group.first] = output
        group.succeeded += 1
    elif status is StepStatus.FAILED:
        group.failed += 1


def joined(state: RunState, group: Group) -> str:
    """What a group gives: the outputs of its members, those that failed as records of it, those cut off not at all."""
    parts: list[str] = []
    for index, slot in enumerate(group.slots):
        text = slot if slot is not None else _failure_text(state, group, index)
        if text is None:
            continue
        parts.append(text if group.elements else f"{encode(group.steps[index])}:{text}")
    return f"[{','.join(parts)}]" if group.elements else f"{{{','.join(parts)}}}"


def _failure_text(state: RunState, group: Group, index: int) -> str | None:
    n = group.first + index
    row = state.done.get(n)
    if row is None or row[2] != StepStatus.FAILED.value or group.closed:
        return None
    _, step, _, attempts, _, error_type, message, *_ = row
    return encode(
        {
            "step_id": step,
            "activation_id": activation_id(state.prefix, n),
            "attempts": attempts,
            "error_type": error_type,
            "message": message,
        }
    )

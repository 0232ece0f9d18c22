"""Routing: where a graph's chain goes when what it waited for has ended.

What lives here: `route`, one step on the chain, and the joins of its groups. What does not: the shapes (`plan`), the
counting (`apply_graph`), starting what was armed (`react`). Nothing here looks at more than the present link: the cost
of a member's end does not depend on how many members or links there are.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import Enum
from typing import TYPE_CHECKING

from . import facts as f
from .decide_steps import stop_after_failure
from .plan import Node, NodeKind
from .policies import JoinKind
from .values import decode, shorten

if TYPE_CHECKING:
    from .plan import RunPlan
    from .run_state import Flow, Group, RunState

Record = Callable[[f.Fact], object]


class Verdict(Enum):
    """What the join of a group says before all of its members have ended."""

    OPEN = "open"
    MET = "met"
    LOST = "lost"


def route(state: RunState, plan: RunPlan, now: float, record: Record) -> bool:
    """Go one step on the chain, if what it waits for has ended; whether it did."""
    chain = plan.chain
    assert chain is not None
    flow = state.flow
    if flow is None:
        _enter(state, plan, 0, now, record, takes="data")
        return True
    if flow.failed or flow.current or flow.node >= len(chain):
        return False
    if flow.group is not None:
        return _join(state, plan, chain[flow.node], flow, flow.group, now, record)
    node = chain[flow.node]
    if flow.stage == "fork":  # the facts were cut between the two that stand together
        _fork(state, plan, node, now, record)
    elif flow.stage == "question":
        _answered(state, plan, node, flow, now, record)
    elif node.kind is NodeKind.LOOP:
        record(_ask(state, node, flow.node, now, takes="last", round_=flow.iteration))
    else:
        takes = "data" if node.kind is NodeKind.SLEEP else "last"
        _enter(state, plan, flow.node + 1, now, record, takes=takes)
    return True


def is_last(flow: Flow, chain: Sequence[Node]) -> bool:
    """Whether the chain ends when what it waits for has ended."""
    if flow.node >= len(chain):
        return True
    return flow.node == len(chain) - 1 and chain[flow.node].kind is not NodeKind.LOOP and flow.stage == "body"


def _enter(state: RunState, plan: RunPlan, index: int, now: float, record: Record, *, takes: str) -> None:
    chain = plan.chain or ()
    if index == len(chain):
        record(f.NodeEntered(now, index, "", 1, "body", takes, 0, "", 0.0, ""))
        return
    node = chain[index]
    if node.kind in (NodeKind.PARALLEL, NodeKind.FOREACH):
        record(f.NodeEntered(now, index, node.name, 1, "fork", takes, 0, "", 0.0, ""))
        _fork(state, plan, node, now, record)
    elif node.question and node.kind is not NodeKind.LOOP:
        record(_ask(state, node, index, now, takes=takes))
    elif node.kind is NodeKind.EVENT:
        _arm_wait(state, node, index, now, record, takes)
    else:
        due = node.due or now + node.delay_s
        record(_body(state, node, index, now, takes=takes, due=due))


def _ask(state: RunState, node: Node, index: int, now: float, *, takes: str, round_: int = 1) -> f.NodeEntered:
    """The step that decides is armed."""
    return f.NodeEntered(now, index, node.name, round_, "question", takes, state.next_n, node.question, now, "")


def _body(
    state: RunState, node: Node, index: int, now: float, *, takes: str, round_: int = 1, due: float = 0.0
) -> f.NodeEntered:
    """The link's own step is armed."""
    due = max(now, due)
    return f.NodeEntered(now, index, node.name, round_, "body", takes, state.next_n, node.steps[0], due, "")


def _arm_wait(state: RunState, node: Node, index: int, now: float, record: Record, takes: str) -> None:
    n = state.next_n
    deadline = 0.0 if node.timeout_s is None else now + node.timeout_s
    record(f.NodeEntered(now, index, node.name, 1, "body", takes, n, node.steps[0], deadline, node.event))
    if state.kept.get(node.event):
        record(f.EventTaken(now, node.event, n))


def _answered(state: RunState, plan: RunPlan, node: Node, flow: Flow, now: float, record: Record) -> None:
    """The step that decides has said what."""
    answer: object = decode(flow.last)
    if node.kind is NodeKind.LOOP:
        if answer:
            record(_body(state, node, flow.node, now, takes="data", round_=flow.iteration + 1))
        else:
            _enter(state, plan, flow.node + 1, now, record, takes="data")
    elif node.kind is NodeKind.SLEEP:
        due = float(answer) if isinstance(answer, int | float) else now
        record(_body(state, node, flow.node, now, takes="data", due=due))
    else:
        chosen = set(answer) if isinstance(answer, list) else set()
        runs = "".join("1" if index in chosen else "0" for index in range(len(node.steps)))
        record(f.GroupOpened(now, state.next_n, list(node.steps), runs, False, 0))


# --- forks and joins


def _fork(state: RunState, plan: RunPlan, node: Node, now: float, record: Record) -> None:
    enough = (node.join.count or 1) if node.join.kind is JoinKind.FIRST else 0
    if node.kind is NodeKind.PARALLEL:
        record(f.GroupOpened(now, state.next_n, list(node.steps), "", False, enough))
        return
    flow = state.flow
    assert flow is not None
    data: object = decode(flow.data)
    if isinstance(data, list):
        record(f.GroupOpened(now, state.next_n, [node.steps[0]], "", True, enough))
        return
    text = f"$: expected a list, got {shorten(data, 60)}; let the step before {node.name} give one"
    _fail(state, plan, node, now, record, "InputError", text)


def _join(state: RunState, plan: RunPlan, node: Node, flow: Flow, group: Group, now: float, record: Record) -> bool:
    """Close the group when its join is decided; leave it when all of its members have ended."""
    if not group.closed:
        verdict = _verdict(node, group)
        if verdict is not Verdict.OPEN:
            record(f.GroupClosed(now))
            return True
        if group.left:
            return False
    elif state.live or state.open_calls:
        return False  # what was cancelled is awaited
    if _verdict(node, group) is Verdict.LOST:
        missing = _missing(node, group)
        _fail(state, plan, node, now, record, "JoinUnmet" if missing else "", missing)
    else:
        _enter(state, plan, flow.node + 1, now, record, takes="group")
    return True


def _fail(
    state: RunState, plan: RunPlan, node: Node, now: float, record: Record, error_type: str, message: str
) -> None:
    record(f.NodeFailed(now, state.next_n if error_type else 0, node.name, error_type, message))
    for fact in stop_after_failure(state, plan, now):
        record(fact)


def _verdict(node: Node, group: Group) -> Verdict:
    """What the join says now. `tolerate` and `first` are lost as soon as nothing can save them; skipped members do not
    count.
    """
    join, failed = node.join, group.failed
    if join.kind is JoinKind.FIRST:
        needed = join.count or 1
        if group.succeeded >= needed:
            return Verdict.MET
        return Verdict.LOST if group.succeeded + group.left < needed else Verdict.OPEN
    if join.kind is JoinKind.TOLERATE:
        return Verdict.OPEN if join.bears(failed, failed + group.succeeded + group.left) else Verdict.LOST
    if join.kind is JoinKind.DRAIN and group.left:
        return Verdict.OPEN
    return Verdict.LOST if failed else Verdict.OPEN


def _missing(node: Node, group: Group) -> str:
    """Why a `first` cannot be met; "" for the other joins, whose members' failures say it."""
    if node.join.kind is not JoinKind.FIRST:
        return ""
    names = "elements" if group.elements else "members"
    return (
        f"{node.name} joins at {node.join.count} successes, but of its {len(group.slots)} {names} only "
        f"{len(group.slots) - group.failed} can succeed ({group.failed} failed); ask for fewer, or give it more"
    )

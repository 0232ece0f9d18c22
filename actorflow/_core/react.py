"""What follows by itself from a state: "therefore somebody must …".

What lives here: `settle`, which starts what is due, times waits out, and walks a run to its end; and `pending`, which
names what a run owes after a crash. What does not: answers to commands (`decide`), acting on it (the shell).
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

from .._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR, START
from . import facts as f
from .decide_steps import stop_after_failure
from .due_order import head, number, take
from .lifecycle import ENDING_STATUS, Ending, Phase, RunStatus, StepStatus
from .policies import JoinKind
from .route import is_last, route
from .run_state import Activation, Batch, Gate, Queued, RunState

if TYPE_CHECKING:
    from .plan import RunPlan, StepPlan

Record = Callable[[f.Fact], object]
"""Writes a fact into the state and keeps it for the journal."""

HOOK_OF: Final = {
    Ending.COMPLETE: HOOK_COMPLETE,
    Ending.BAIL: HOOK_COMPLETE,
    Ending.FAIL: HOOK_ERROR,
    Ending.CANCEL: HOOK_CANCEL,
}


def open_gates(state: RunState, plan: RunPlan) -> RunState:
    """Give `state` a gate for every step that has bounds of its own; before its facts are folded, or it begins.

    The gates of a snapshot may be those of an older plan: what bounds nothing any more goes, and the rest is fitted.
    """
    before, state.gates = state.gates, {}
    bounded = {node.steps[0] for node in plan.chain or () if node.concurrency is not None}
    for step_id, step in plan.steps.items():
        if step.concurrency is None and step.rate is None and step_id not in bounded:
            continue
        gate = before.get(step_id)
        if gate is None:
            gate = Gate(live=sum(activation.step == step_id for activation in state.live.values()))
        gate.keeps = step.rate.count if step.rate is not None else 0
        while len(gate.starts) > gate.keeps:
            gate.starts.popleft()
        state.gates[step_id] = gate
    return state


def settle(state: RunState, plan: RunPlan, now: float, record: Record) -> None:
    """Record every fact that is due by itself at `now`, until none is left."""
    while True:
        if state.phase is Phase.OPEN:
            if state.kept and state.waits:
                _give_kept(state, now, record)
            while plan.chain is not None and route(state, plan, now, record):
                pass  # first of all: a join that is decided holds back its members that have not started
            _start_due(state, plan, now, record)
            if state.phase is Phase.OPEN:
                if plan.chain is not None and route(state, plan, now, record):
                    continue
                if state.open_steps:
                    if state.suspended or state.status is RunStatus.SUSPENDED:
                        _tell_suspension(state, now, record)
                    return
                ending = judge(state, plan)
                output = _output(state) if ending is Ending.COMPLETE else "null"
                record(f.RunStopping(now, ending.value, output, ""))
        elif state.phase is Phase.STOPPING:
            if state.live or state.open_calls:
                return
            _after_the_last_step(state, plan, now, record)
        elif state.phase is Phase.HOOK:
            if state.hook in state.armed:
                _start_hook(state, plan, now, record)
                continue
            if not state.hook_ended:
                return
            _end(state, now, record)
        else:
            return


def _give_kept(state: RunState, now: float, record: Record) -> None:
    """An event that was kept goes to the wait that is open for it."""
    for event in [event for event in state.kept if event in state.waits]:
        record(f.EventTaken(now, event, state.waits[event][0]))


def has_nothing_left(state: RunState, plan: RunPlan) -> bool:
    """Whether an open run ends by itself, without starting another step."""
    if state.open_steps or plan.chain is None:
        return not state.open_steps
    flow = state.flow
    return flow is not None and (flow.failed or is_last(flow, plan.chain))


def _output(state: RunState) -> str:
    flow = state.flow
    if flow is None:
        return state.start_output
    return "null" if flow.failed else flow.data


def is_suspended(state: RunState, now: float) -> bool:
    """Whether nothing is live or due and a step is suspended, whatever timers and waits stand open beside it."""
    if not state.suspended or state.live or state.running_calls:
        return False
    return head(state, now) is None and not any(gate.held for gate in state.gates.values())


def _tell_suspension(state: RunState, now: float, record: Record) -> None:
    suspended = is_suspended(state, now)
    if suspended and state.status is RunStatus.RUNNING:
        record(f.RunSuspended(now))
    elif not suspended and state.status is RunStatus.SUSPENDED:
        record(f.RunWoken(now))


def judge(state: RunState, plan: RunPlan) -> Ending:
    """How a run whose steps have all ended ends, by its join policy."""
    if not state.failures or (state.flow is not None and not state.flow.failed):
        return Ending.COMPLETE  # of a graph's failures only those that no join has borne count
    if plan.join.kind is not JoinKind.TOLERATE or state.start_failed:
        return Ending.FAIL
    failed = len(state.failures)
    total = failed + state.counts[StepStatus.COMPLETED] - (START in state.outputs)
    return Ending.COMPLETE if plan.join.bears(failed, total) else Ending.FAIL


def _after_the_last_step(state: RunState, plan: RunPlan, now: float, record: Record) -> None:
    assert state.ending is not None
    hook = HOOK_OF[state.ending]
    if hook in plan.hooks:
        record(f.HookScheduled(now, state.next_n, hook))
    else:
        _end(state, now, record)


def _end(state: RunState, now: float, record: Record) -> None:
    assert state.ending is not None
    status = ENDING_STATUS[state.ending]
    record(f.RunEnded(now, status.value, state.output, state.reason))


def _start_hook(state: RunState, plan: RunPlan, now: float, record: Record) -> None:
    activation = state.armed[state.hook]
    if isinstance(activation, Activation) and activation.crashes >= plan.limits.crashes_per_step:
        text = f"its process died {activation.crashes} times while it ran"
        record(f.HookEnded(now, state.hook, "", "Crashed", text))
    else:
        record(f.StepStarted(now, state.hook, 1))


# --- starting steps


def _start_due(state: RunState, plan: RunPlan, now: float, record: Record) -> None:
    room = plan.max_live_steps - len(state.live) + len(state.parked)
    while room > 0 and state.phase is Phase.OPEN:
        entry = head(state, now)
        gate = _next_gate(state, plan, now) if state.gates else None
        if gate is not None and (entry is None or gate.held[0][:2] < entry[:2]):
            room -= _start_held(state, plan, gate, now, record)
            continue
        if entry is None:
            return
        item = entry[3]
        if type(item) is Batch:
            step, n = item.fact.step, item.fact.first + item.index
        elif isinstance(item, f.WaitOpened):
            take(state, entry)
            _time_out(state, plan, item, now, record)
            continue
        else:
            step, n = item.step, entry[1]  # type: ignore[union-attr]  # no batch: `type() is` narrows one way only
        step_plan = plan.steps[step]
        if step in state.gates and _held(state, plan, step_plan, entry, now):
            continue
        if type(item) is Activation:
            room -= _start(state, plan, entry, now, record)
            if state.phase is not Phase.OPEN:
                return  # type: ignore[unreachable]  # a step that crashed too often has stopped the run
        else:
            record(f.StepStarted(now, n, 1))
            room -= 1
            if step_plan.auto:
                room += _complete(state, n, now, record)
        if type(item) is not Batch or item.index >= len(item.fact.payloads):
            take(state, entry)


def _held(state: RunState, run: RunPlan, plan: StepPlan, entry: Queued, now: float) -> bool:
    """Whether the step's own bounds keep it back; it waits behind its gate then."""
    gate = state.gates[plan.step_id]
    if not gate.held and _open(gate, plan, places(state, run, plan), now):
        return False
    take(state, entry)
    held = gate.held
    if held and entry[:3] < held[-1][:3]:  # armed again at the instant at which it had been due: rare
        held.insert(bisect_right(held, entry[:3], key=_order), entry)
    else:
        held.append(entry)
    return True


def _order(entry: Queued) -> tuple[float, int, int]:
    return entry[:3]


def _more(entry: Queued) -> bool:
    """Whether the entry is a batch with steps left."""
    item = entry[3]
    return not isinstance(item, f.StepScheduled | Activation | f.WaitOpened) and item.index < len(item.fact.payloads)


def _start(state: RunState, plan: RunPlan, entry: Queued, now: float, record: Record) -> int:
    """Start the step at the head of `entry`; how many places it takes."""
    item = entry[3]
    if isinstance(item, Activation):
        if item.crashes >= plan.limits.crashes_per_step:
            text = f"its process died {item.crashes} times while it ran"
            record(f.StepFailed(now, item.n, "Crashed", text))
            for fact in stop_after_failure(state, plan, now):
                record(fact)
            return 0
        record(f.StepStarted(now, item.n, item.failures + 1))
        if plan.steps[item.step].auto:
            return 1 - _complete(state, item.n, now, record)
    else:
        record(f.StepStarted(now, number(entry), 1))
    return 1


def _complete(state: RunState, n: int, now: float, record: Record) -> int:
    """A step without code is done as soon as it is due; how many places that gives back."""
    event = state.live[n].event
    record(f.StepCompleted(now, n, "null" if event is None else event))
    return 1


def _time_out(state: RunState, plan: RunPlan, wait: f.WaitOpened, now: float, record: Record) -> None:
    record(f.WaitTimedOut(now, wait.n))
    if wait.on_timeout:
        return
    text = f"no event {wait.event!r} came within {wait.deadline - wait.at:g} s"
    record(f.StepFailed(now, wait.n, "StepTimeout", text))
    for fact in stop_after_failure(state, plan, now):
        record(fact)


def places(state: RunState, run: RunPlan, plan: StepPlan) -> int | None:
    """How many of a step may be live: its own bound, or that of the foreach that runs it; None: any number."""
    bound = plan.concurrency
    flow, chain = state.flow, run.chain
    if flow is not None and chain is not None and 0 <= flow.node < len(chain):
        other = chain[flow.node].concurrency
        if other is not None:
            return other if bound is None else min(bound, other)
    return bound


def _open(gate: Gate, plan: StepPlan, bound: int | None, now: float) -> bool:
    if bound is not None and gate.live >= bound:
        return False
    if plan.rate is None or len(gate.starts) < plan.rate.count:
        return True
    return now >= gate.starts[0] + plan.rate.per  # the very sum that `wake_at` waits for: rounding must not part them


def _next_gate(state: RunState, plan: RunPlan, now: float) -> Gate | None:
    """Of the gates that stand open, the one whose first waiting step was due first; None if nothing can start."""
    first: Gate | None = None
    for step, gate in state.gates.items():
        while gate.held and _gone(state, gate.held[0]):
            gate.held.popleft()
        if gate.held and (first is None or gate.held[0][:2] < first.held[0][:2]):
            bounds = plan.steps[step]
            if _open(gate, bounds, places(state, plan, bounds), now):
                first = gate
    return first


def _start_held(state: RunState, plan: RunPlan, gate: Gate, now: float, record: Record) -> int:
    """Start what waits first behind `gate`; how many places it takes."""
    entry = gate.held[0]
    places = _start(state, plan, entry, now, record)
    if not _more(entry) and gate.held:
        gate.held.popleft()
    return places


def _gone(state: RunState, entry: Queued) -> bool:
    item = entry[3]
    if isinstance(item, f.StepScheduled | Activation | f.WaitOpened):
        return state.armed.get(entry[1]) is not item
    return not _more(entry)


def wake_at(state: RunState, plan: RunPlan) -> float:
    """When time alone gives `settle` something to do; 0.0 if it does not.

    What is due but has no place is not waited for: it is looked at when a live step ends, and asking for a moment that
    has passed would wake the run at once, again and again.
    """
    if state.phase is not Phase.OPEN or len(state.live) - len(state.parked) >= plan.max_live_steps:
        return 0.0
    times = [t for t in (state.wake_at(), *_gate_times(state, plan)) if t]
    return min(times, default=0.0)


def _gate_times(state: RunState, plan: RunPlan) -> Iterator[float]:
    for step, gate in state.gates.items():
        bounds = plan.steps[step]
        bound = places(state, plan, bounds)
        if bound is not None and gate.live >= bound:
            continue  # the end of a live step opens it, not the time
        if gate.held and bounds.rate is not None and len(gate.starts) >= bounds.rate.count:
            yield gate.starts[0] + bounds.rate.per


def pending(state: RunState) -> list[int]:
    """The activations that were live when the process died: each owes an outcome, and will run again."""
    return list(state.live)

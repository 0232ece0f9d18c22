"""The pen: `apply(state, fact)`, the only function that ever changes a run.

What lives here: one small writing function per kind of fact, and the table of them; those for what a step does while
it runs are in `apply_store`. Folding a journal's facts with `apply` rebuilds the run. What does not: whether a fact
happens (`decide`), what follows from it (`react`), what there is to write (`run_state`).
"""

from __future__ import annotations

from bisect import bisect_right
from typing import TYPE_CHECKING, Final, cast

from .._ids import START, is_internal
from . import facts as f
from .apply_child import APPLY_CHILD, child_ended, forget_calls, forget_failed_calls
from .apply_graph import element_texts, enter, member_ended, open_group
from .apply_schedule import APPLY_SCHEDULE, disarm, enqueue, step_scheduled, steps_scheduled, wait_opened
from .apply_store import APPLY_STORE
from .lifecycle import Ending, Phase, RunStatus, StepStatus
from .run_state import Activation, Armed, Batch, RunState
from .store_state import from_text, key_bytes, value_bytes
from .values import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def apply(state: RunState, fact: f.Fact) -> object:
    """Write `fact` into `state`; the result is the reply for whoever caused it."""
    state.seq += 1
    return APPLY[type(fact)](state, fact)


def fold(state: RunState, facts: Iterable[f.Fact]) -> RunState:
    """Apply all of `facts` in order."""
    table = APPLY
    for fact in facts:
        state.seq += 1  # per fact: it is what makes two entries of one step in a queue comparable
        table[type(fact)](state, fact)
    return state


# --- the beginning


def _run_started(state: RunState, fact: f.RunStarted) -> None:
    state.workflow_id = fact.workflow_id
    state.version = fact.version
    state.source = fact.source
    state.prefix = fact.prefix
    state.parent_id = fact.parent_id
    state.input = fact.input
    state.headers = fact.headers
    state.fingerprint = fact.fingerprint
    state.started_at = fact.at


def _state_seeded(state: RunState, fact: f.StateSeeded) -> None:
    for key, text in fact.values.items():
        value = from_text(text)
        state.store.write(key, MISSING, value, 0, value_bytes(value) + key_bytes(key))


# --- passes


def _step_started(state: RunState, fact: f.StepStarted) -> Activation:
    n = fact.n
    item = state.armed.pop(n, None)
    state.armed_count -= 1
    if item is None:
        activation = _from_batch(state, n)
    elif type(item) is f.StepScheduled:
        activation = Activation(n, item.step, item.payload, item.at)
        activation.key = item.key
        activation.due = item.due
    else:
        activation = cast("Activation", item)
    activation.status = StepStatus.RUNNING
    activation.attempt = fact.attempt
    if not activation.started_at:
        activation.started_at = fact.at
    activation.mark = state.store.writes
    state.live[n] = activation
    if state.gates and activation.step in state.gates:
        gate = state.gates[activation.step]
        gate.live += 1
        if gate.keeps:
            gate.starts.append(fact.at)
            if len(gate.starts) > gate.keeps:
                gate.starts.popleft()
    return activation


def _from_batch(state: RunState, n: int) -> Activation:
    """The step of a batch: a batch starts in the order of its payloads."""
    place = bisect_right(state.firsts, n) - 1
    batch = state.batches[place]
    scheduled = batch.fact
    index = n - scheduled.first
    batch.index = index + 1
    if batch.index == len(scheduled.payloads):
        del state.firsts[place], state.batches[place]
    activation = Activation(n, scheduled.step, scheduled.payloads[index], scheduled.at)
    activation.due = scheduled.due
    return activation


# --- the ends of passes


def _end_pass(state: RunState, n: int) -> Activation:
    activation = state.live.pop(n)
    if state.parked:
        state.parked.pop(n, None)
    if state.gates and activation.step in state.gates:
        state.gates[activation.step].live -= 1
    return activation


def _finish(state: RunState, activation: Activation, status: StepStatus, at: float, output: str) -> None:
    n = activation.n
    if state.flow is None or status is StepStatus.FAILED or not is_internal(activation.step):
        state.counts[status] += 1
    state.done[n] = (
        n,
        activation.step,
        status._value_,
        activation.attempt,
        output,
        activation.error_type,
        activation.message,
        activation.scheduled_at,
        activation.started_at,
        at,
    )
    if activation.key and state.keys.get(activation.key) == n:
        del state.keys[activation.key]
    if state.calls:
        forget_calls(state, activation)
    if state.flow is not None:
        member_ended(state, n, status, output)


def _step_completed(state: RunState, fact: f.StepCompleted) -> None:
    activation = _end_pass(state, fact.n)
    activation.error_type = activation.message = ""
    _finish(state, activation, StepStatus.COMPLETED, fact.at, fact.output)
    state.outputs[activation.step] = fact.output
    if activation.step == START:
        state.start_output = fact.output


def _rearm(state: RunState, activation: Activation, at: float, due: float) -> None:
    activation.status = StepStatus.PENDING
    activation.due = due
    state.armed[activation.n] = activation
    state.armed_count += 1
    enqueue(state, at, due, activation.n, activation)


def _attempt_failed(state: RunState, fact: f.AttemptFailed) -> None:
    activation = _end_pass(state, fact.n)
    activation.failures += 1
    activation.error_type, activation.message = fact.error_type, fact.message
    activation.interrupted = False
    if state.calls:
        forget_failed_calls(state, activation)
    _rearm(state, activation, fact.at, fact.due)


def _step_interrupted(state: RunState, fact: f.StepInterrupted) -> None:
    activation = _end_pass(state, fact.n)
    activation.crashes += fact.crashed
    activation.interrupted = True
    _rearm(state, activation, fact.at, activation.due or fact.at)  # in its old place among those that wait


def _step_suspended(state: RunState, fact: f.StepSuspended) -> None:
    activation = _end_pass(state, fact.n)
    activation.status = StepStatus.SUSPENDED
    activation.call, activation.label, activation.note = fact.call, fact.label, fact.payload
    activation.interrupted = False
    state.suspended[fact.n] = activation


def _step_resumed(state: RunState, fact: f.StepResumed) -> None:
    if fact.data:
        activation = state.suspended[fact.n]
        activation.answers = [*(activation.answers or ()), fact.data]
    _wake(state, fact.n, fact.at)


def _wake(state: RunState, n: int, at: float) -> None:
    """A suspended step runs again, from its first line."""
    activation = state.suspended.pop(n)
    activation.call, activation.label, activation.note = 0, "", "null"
    activation.leg = len(activation.log or ())
    activation.wakes += 1
    _rearm(state, activation, at, at)


def _child_ended(state: RunState, fact: f.ChildEnded) -> None:
    by = state.calls[fact.n].by
    child_ended(state, fact)
    waiting = state.suspended.get(by)
    if waiting is not None and waiting.call == fact.n:
        _wake(state, by, fact.at)


def _drop_suspended(state: RunState, at: float) -> None:
    suspended, state.suspended = state.suspended, {}
    for activation in suspended.values():
        _finish(state, activation, StepStatus.CANCELLED, at, "null")


def _step_failed(state: RunState, fact: f.StepFailed) -> None:
    n = fact.n
    if n in state.live:
        activation = _end_pass(state, n)
        activation.failures += 1
    else:  # a wait that timed out, or a step that crashed too often: it was armed
        item = disarm(state, n)
        activation = item if isinstance(item, Activation) else Activation(n, item.step, item.payload, item.at)
    activation.error_type, activation.message = fact.error_type, fact.message
    _finish(state, activation, StepStatus.FAILED, fact.at, "null")
    state.failures.append(n)
    if activation.step == START:
        state.start_failed = True


def _step_cancelled(state: RunState, fact: f.StepCancelled) -> None:
    activation = _end_pass(state, fact.n)
    _finish(state, activation, StepStatus.CANCELLED, fact.at, "null")


# --- the end of the run


def _run_stopping(state: RunState, fact: f.RunStopping) -> None:
    state.phase = Phase.STOPPING
    state.status = RunStatus.RUNNING
    state.ending = Ending(fact.ending)
    state.output = fact.output
    state.reason = fact.reason
    _drop_armed(state, fact.at)
    _drop_suspended(state, fact.at)


def _drop_armed(state: RunState, at: float) -> None:
    """What has not started never will."""
    if state.armed_count:
        dropped: list[Armed | Batch] = [*state.armed.values(), *state.batches]
        state.dropped.extend((item, at) for item in dropped)
        waited = state.armed.get(state.flow.current) if state.flow is not None else None
        hidden = waited is not None and is_internal(waited.step)  # part of the graph, and no step of its author's
        state.counts[StepStatus.CANCELLED] += state.armed_count - hidden
        if state.calls:
            for item in state.armed.values():
                if isinstance(item, Activation):  # it has run before, and may have called
                    forget_calls(state, item)
        state.armed.clear()
        state.firsts.clear()
        state.batches.clear()
        state.armed_count = 0
    state.ready.clear()
    state.timers.clear()
    state.waits.clear()
    for gate in state.gates.values():
        gate.held.clear()


def _group_closed(state: RunState, fact: f.GroupClosed) -> None:
    flow = state.flow
    assert flow is not None
    assert flow.group is not None
    flow.group.closed = True
    _drop_suspended(state, fact.at)
    _drop_armed(state, fact.at)
    flow.group.left = len(state.live)


def _node_entered(state: RunState, fact: f.NodeEntered) -> None:
    flow = enter(state, fact)
    if not fact.n:
        return
    if fact.event:
        wait_opened(state, f.WaitOpened(fact.at, fact.n, fact.step, flow.data, fact.event, fact.due, "", 0))
    else:
        step_scheduled(state, f.StepScheduled(fact.at, fact.n, fact.step, flow.data, fact.due, 0, ""))


def _group_opened(state: RunState, fact: f.GroupOpened) -> None:
    flow = open_group(state, fact)
    at, data = fact.at, flow.data
    if fact.elements:
        items = element_texts(data)
        steps_scheduled(state, f.StepsScheduled(at, fact.first, fact.steps[0], items, at, 0))
        return
    for index, step in enumerate(fact.steps):
        n = fact.first + index
        if fact.runs and fact.runs[index] == "0":
            _finish(state, Activation(n, step, "null", at), StepStatus.SKIPPED, at, "null")
        else:
            step_scheduled(state, f.StepScheduled(at, n, step, data, at, 0, ""))
    state.next_n = fact.first + len(fact.steps)


def _node_failed(state: RunState, fact: f.NodeFailed) -> None:
    flow = state.flow
    assert flow is not None
    flow.failed, flow.group, flow.current = True, None, 0
    if fact.n:
        state.next_n = fact.n + 1
        activation = Activation(fact.n, fact.step, "null", fact.at)
        activation.error_type, activation.message = fact.error_type, fact.message
        _finish(state, activation, StepStatus.FAILED, fact.at, "null")
        state.failures.insert(0, fact.n)  # it says why the group failed; the members' failures alone did not


def _hook_scheduled(state: RunState, fact: f.HookScheduled) -> None:
    state.phase = Phase.HOOK
    state.next_n = fact.n + 1
    state.hook = fact.n
    state.hook_step = fact.step
    state.hook_ended = False
    activation = Activation(fact.n, fact.step, "null", fact.at)
    activation.due = fact.at
    state.armed[fact.n] = activation
    state.armed_count += 1
    state.ready.append((fact.at, fact.n, state.seq, activation))


def _hook_ended(state: RunState, fact: f.HookEnded) -> None:
    if fact.n in state.live:
        _end_pass(state, fact.n)
    else:
        disarm(state, fact.n)
    state.hook_ended = True
    if fact.error_type:
        state.hook_error = (fact.error_type, fact.message)
    elif fact.output and state.ending is Ending.COMPLETE:
        state.output = fact.output


def _run_ended(state: RunState, fact: f.RunEnded) -> None:
    state.phase = Phase.OVER
    state.status = RunStatus(fact.status)
    state.output = fact.output
    state.reason = fact.reason
    state.ended_at = fact.at
    state.kept.clear()


APPLY: Final[Mapping[type, Callable[..., object]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    **APPLY_SCHEDULE,
    **APPLY_STORE,
    **APPLY_CHILD,
    f.StepSuspended: _step_suspended,
    f.StepResumed: _step_resumed,
    f.ChildEnded: _child_ended,
    f.NodeEntered: _node_entered,
    f.GroupOpened: _group_opened,
    f.GroupClosed: _group_closed,
    f.NodeFailed: _node_failed,
    f.RunStarted: _run_started,
    f.StateSeeded: _state_seeded,
    f.StepStarted: _step_started,
    f.StepCompleted: _step_completed,
    f.AttemptFailed: _attempt_failed,
    f.StepFailed: _step_failed,
    f.StepCancelled: _step_cancelled,
    f.StepInterrupted: _step_interrupted,
    f.RunStopping: _run_stopping,
    f.HookScheduled: _hook_scheduled,
    f.HookEnded: _hook_ended,
    f.RunEnded: _run_ended,
}
"""One writing function per kind of fact."""

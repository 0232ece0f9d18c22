"""The pen: `apply(state, fact)`, the only function that ever changes a run.

What lives here: one small writing function per kind of fact, and the table of them; those for what a step does while
it runs are in `apply_store`. Folding a journal's facts with `apply` rebuilds the run. What does not: whether a fact
happens (`decide`), what follows from it (`react`), what there is to write (`run_state`).
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from .._ids import START
from . import facts as f
from .apply_store import APPLY_STORE
from .lifecycle import Ending, Phase, RunStatus, StepStatus
from .run_state import Activation, Armed, Batch, LogEntry, RunState
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


# --- scheduling


def enqueue(state: RunState, at: float, due: float, n: int, item: Armed | Batch) -> None:
    """Put a step in line: what is due now behind what was due before, the rest by due time."""
    ready = state.ready
    if due <= at and not (ready and (due, n) < ready[-1][:2]):
        ready.append((due, n, state.seq, item))
    else:
        heapq.heappush(state.timers, (due, n, state.seq, item))


def _remember(state: RunState, by: int, entry: LogEntry) -> None:
    scheduler = state.live.get(by)
    if scheduler is not None:
        scheduler.remember(entry)


def _step_scheduled(state: RunState, fact: f.StepScheduled) -> int:
    n = fact.n
    state.next_n = n + 1
    state.armed[n] = fact
    state.armed_count += 1
    if fact.key:
        state.keys[fact.key] = n
    enqueue(state, fact.at, fact.due, n, fact)
    _remember(state, fact.by, ("schedule", fact.step, fact.payload, n))
    return n


def _steps_scheduled(state: RunState, fact: f.StepsScheduled) -> int:
    count = len(fact.payloads)
    if not count:
        return 0
    state.next_n = fact.first + count
    state.armed_count += count
    batch = Batch(fact)
    state.firsts.append(fact.first)
    state.batches.append(batch)
    enqueue(state, fact.at, fact.due, fact.first, batch)
    _remember(state, fact.by, ("schedule_many", fact.step, fact.payloads, fact.first))
    return count


def _step_unscheduled(state: RunState, fact: f.StepUnscheduled) -> bool:
    item = _disarm(state, fact.n)
    _close_wait(state, item)
    state.dropped.append((item, fact.at))
    state.counts[StepStatus.CANCELLED] += 1
    _release_key(state, item)
    return True


def _disarm(state: RunState, n: int) -> Armed:
    state.armed_count -= 1
    return state.armed.pop(n)


def _release_key(state: RunState, item: Armed) -> None:
    key = "" if isinstance(item, f.WaitOpened) else item.key
    if key and state.keys.get(key) == item.n:
        del state.keys[key]


def _wait_opened(state: RunState, fact: f.WaitOpened) -> int:
    state.next_n = fact.n + 1
    state.armed[fact.n] = fact
    state.armed_count += 1
    state.waits.setdefault(fact.event, deque()).append(fact.n)
    if fact.deadline:
        heapq.heappush(state.timers, (fact.deadline, fact.n, state.seq, fact))
    _remember(state, fact.by, ("wait", f"{fact.event}\n{fact.step}", fact.payload, fact.n))
    return fact.n


def _close_wait(state: RunState, item: Armed) -> None:
    if isinstance(item, f.WaitOpened):
        waiting = state.waits[item.event]
        waiting.remove(item.n)
        if not waiting:
            del state.waits[item.event]


def _arm_waited(
    state: RunState, n: int, at: float, *, data: str | None, step: str = "", due: float | None = None
) -> None:
    wait = cast("f.WaitOpened", state.armed[n])
    _close_wait(state, wait)
    activation = Activation(n, step or wait.step, wait.payload, wait.at)
    activation.due, activation.event = at if due is None else due, data
    state.armed[n] = activation
    enqueue(state, at, activation.due, n, activation)


def _event_received(state: RunState, fact: f.EventReceived) -> None:
    if fact.n:
        _arm_waited(state, fact.n, fact.at, data=fact.data)
    else:
        state.kept.setdefault(fact.event, deque()).append(fact.data)


def _event_taken(state: RunState, fact: f.EventTaken) -> None:
    kept = state.kept[fact.event]
    _arm_waited(state, fact.n, fact.at, data=kept.popleft())
    if not kept:
        del state.kept[fact.event]


def _wait_timed_out(state: RunState, fact: f.WaitTimedOut) -> None:
    wait = cast("f.WaitOpened", state.armed[fact.n])
    if wait.on_timeout:
        _arm_waited(state, fact.n, fact.at, data=None, step=wait.on_timeout, due=wait.deadline)
        return
    _close_wait(state, wait)


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
        state.parked.discard(n)
    if state.gates and activation.step in state.gates:
        state.gates[activation.step].live -= 1
    return activation


def _finish(state: RunState, activation: Activation, status: StepStatus, at: float, output: str) -> None:
    n = activation.n
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
    _rearm(state, activation, fact.at, fact.due)


def _step_interrupted(state: RunState, fact: f.StepInterrupted) -> None:
    activation = _end_pass(state, fact.n)
    activation.crashes += fact.crashed
    activation.interrupted = True
    _rearm(state, activation, fact.at, fact.at)


def _step_failed(state: RunState, fact: f.StepFailed) -> None:
    n = fact.n
    if n in state.live:
        activation = _end_pass(state, n)
        activation.failures += 1
    else:  # a wait that timed out, or a step that crashed too often: it was armed
        item = _disarm(state, n)
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
    state.ending = Ending(fact.ending)
    state.output = fact.output
    state.reason = fact.reason
    if state.armed_count:
        dropped: list[Armed | Batch] = [*state.armed.values(), *state.batches]
        state.dropped.extend((item, fact.at) for item in dropped)
        state.counts[StepStatus.CANCELLED] += state.armed_count
        state.armed.clear()
        state.firsts.clear()
        state.batches.clear()
        state.armed_count = 0
    state.ready.clear()
    state.timers.clear()
    state.waits.clear()
    for gate in state.gates.values():
        gate.held.clear()


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
        _disarm(state, fact.n)
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
    **APPLY_STORE,
    f.RunStarted: _run_started,
    f.StateSeeded: _state_seeded,
    f.StepScheduled: _step_scheduled,
    f.StepsScheduled: _steps_scheduled,
    f.StepUnscheduled: _step_unscheduled,
    f.WaitOpened: _wait_opened,
    f.EventReceived: _event_received,
    f.EventTaken: _event_taken,
    f.WaitTimedOut: _wait_timed_out,
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

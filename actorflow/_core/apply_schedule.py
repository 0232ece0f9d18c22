"""The pen for steps that have not started: armed now, for later, or by an event.

What lives here: the writing functions of these facts, and the queues that say what is next. What does not: passes and
ends (`apply`), looking at the queues (`due_order`).
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from . import facts as f
from .lifecycle import StepStatus
from .run_state import Activation, Armed, Batch, LogEntry, RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def enqueue(state: RunState, at: float, due: float, n: int, item: Armed | Batch) -> None:
    """Put a step in line: what is due now behind what was due before, the rest by due time. A step that has run before
    stands before the batch that it came from, which may go by the same number.
    """
    ready = state.ready
    place = -state.seq if type(item) is Activation else state.seq
    if due <= at and not (ready and (due, n, place) < ready[-1][:3]):
        ready.append((due, n, place, item))
    else:
        heapq.heappush(state.timers, (due, n, place, item))


def _remember(state: RunState, by: int, entry: LogEntry) -> None:
    scheduler = state.live.get(by)
    if scheduler is not None:
        scheduler.remember(entry)


def step_scheduled(state: RunState, fact: f.StepScheduled) -> int:
    """One step is armed."""
    n = fact.n
    state.next_n = n + 1
    state.armed[n] = fact
    state.armed_count += 1
    if fact.key:
        state.keys[fact.key] = n
    enqueue(state, fact.at, fact.due, n, fact)
    _remember(state, fact.by, ("schedule", fact.step, fact.payload, n))
    return n


def steps_scheduled(state: RunState, fact: f.StepsScheduled) -> int:
    """One step per payload is armed."""
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
    item = disarm(state, fact.n)
    _close_wait(state, item)
    state.dropped.append((item, fact.at))
    state.counts[StepStatus.CANCELLED] += 1
    _release_key(state, item)
    return True


def disarm(state: RunState, n: int) -> Armed:
    """A step is armed no more."""
    state.armed_count -= 1
    return state.armed.pop(n)


def _release_key(state: RunState, item: Armed) -> None:
    key = "" if isinstance(item, f.WaitOpened) else item.key
    if key and state.keys.get(key) == item.n:
        del state.keys[key]


def wait_opened(state: RunState, fact: f.WaitOpened) -> int:
    """A step is armed by an event."""
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


def take_kept(state: RunState, event: str) -> str:
    """The data of the oldest event of this name that was kept; it is kept no more."""
    kept = state.kept[event]
    data = kept.popleft()
    if not kept:
        del state.kept[event]
    return data


def _event_taken(state: RunState, fact: f.EventTaken) -> None:
    _arm_waited(state, fact.n, fact.at, data=take_kept(state, fact.event))


def _wait_timed_out(state: RunState, fact: f.WaitTimedOut) -> None:
    wait = cast("f.WaitOpened", state.armed[fact.n])
    if wait.on_timeout:
        _arm_waited(state, fact.n, fact.at, data=None, step=wait.on_timeout, due=wait.deadline)
        return
    _close_wait(state, wait)


APPLY_SCHEDULE: Final[Mapping[type, Callable[..., object]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    f.StepScheduled: step_scheduled,
    f.StepsScheduled: steps_scheduled,
    f.StepUnscheduled: _step_unscheduled,
    f.WaitOpened: wait_opened,
    f.EventReceived: _event_received,
    f.EventTaken: _event_taken,
    f.WaitTimedOut: _wait_timed_out,
}
"""The part of `APPLY` that is written here."""

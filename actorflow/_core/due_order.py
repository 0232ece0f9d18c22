"""Which armed step is next: due order first, the order of scheduling for ties.

What lives here: looking at the head of a run's queues, and clearing away what is no longer armed. What does not: the
decision to start it (`react`), the start itself (`apply`). The queues are an index over `armed` and
`batches`: entries are not removed when their step is, they are skipped here.
"""

from __future__ import annotations

import heapq

from .run_state import Activation, Batch, Queued, RunState


def is_stale(state: RunState, entry: Queued) -> bool:
    """Whether what the entry stands for is armed no more, or stands in line anew."""
    item = entry[3]
    if type(item) is Batch:
        return item.index >= len(item.fact.payloads)
    # The same activation stands in line again after a retry, and folded facts take no entry out of the queues.
    return state.armed.get(entry[1]) is not item or (type(item) is Activation and item.due != entry[0])


def head(state: RunState, now: float) -> Queued | None:
    """The next step or wait that is due at `now`, left in its queue; None if nothing is due."""
    ready = state.ready
    timers = state.timers
    while ready and is_stale(state, ready[0]):
        ready.popleft()
    while timers and is_stale(state, timers[0]):
        heapq.heappop(timers)
    if timers and timers[0][0] <= now and not (ready and _before(ready[0], timers[0])):
        return timers[0]
    return ready[0] if ready else None


def _before(left: Queued, right: Queued) -> bool:
    return left[:3] < right[:3]


def take(state: RunState, entry: Queued) -> None:
    """Remove the entry that `head` gave."""
    if state.ready and state.ready[0] is entry:
        state.ready.popleft()
    else:
        heapq.heappop(state.timers)


def number(entry: Queued) -> int:
    """The activation number of the step at the head of an entry."""
    item = entry[3]
    return item.fact.first + item.index if type(item) is Batch else entry[1]

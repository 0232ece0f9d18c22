"""What a runtime tells about its runs: frozen records, with times as aware UTC datetimes, None until they happen.

What lives here: the records and how they are made from a run's state. What does not: who asks (`handle`, `inspect`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, cast

from attrs import field, frozen

from .._core import facts as f
from .._core.durations import moment
from .._core.lifecycle import RunStatus, StepStatus
from .._core.run_state import Activation, Batch, RunState
from .._core.values import decode
from .._ids import HOOKS, activation_id, is_internal
from ..errors import ActorflowError, StepFailed

if TYPE_CHECKING:
    from ..abc import RunHeader


@frozen(kw_only=True)
class Suspension:
    """One place where a run waits to be resumed. `path` is the step ids from the outermost run on."""

    activation_id: str
    step_id: str
    path: tuple[str, ...] = ()
    label: str | None = None
    payload: object = None


@frozen(kw_only=True)
class Wait:
    """One open wait for an event: the step that it arms, its payload, and when it times out."""

    activation_id: str
    event: str
    step_id: str
    payload: object = None
    deadline: datetime | None = None
    on_timeout: str | None = None


@frozen(kw_only=True)
class Failure:
    """What a tolerated failure looks like in data."""

    step_id: str
    activation_id: str
    attempts: int
    error_type: str
    message: str


@frozen(kw_only=True)
class StepRecord:
    """One activation of a step. `output` is its JSON value; `error` says what went wrong last."""

    activation_id: str
    step_id: str
    status: StepStatus
    attempts: int = 0
    output: object = None
    error: Failure | None = None
    scheduled_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@frozen(kw_only=True)
class RunSummary:
    """One run in a list."""

    run_id: str
    workflow_id: str
    status: RunStatus
    parent_id: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


@frozen(kw_only=True)
class RunDescription(RunSummary):
    """Everything that can be told of a run. `counts` has every step status; `steps` every activation, by number."""

    counts: Mapping[StepStatus, int] = field(factory=dict)
    steps: tuple[StepRecord, ...] = ()
    suspensions: tuple[Suspension, ...] = ()
    waits: tuple[Wait, ...] = ()
    children: tuple[RunSummary, ...] = ()
    error: StepFailed | None = None
    recovery_error: ActorflowError | None = None


@frozen(kw_only=True)
class RunOutcome:
    """How a run settled. `state` is the final snapshot, for handles that were had before the end.

    `state` and `steps` are made when they are first looked at: a fan-out of a million branches has a million of them.
    """

    run_id: str
    status: RunStatus
    output: object = None
    error: StepFailed | None = None
    failures: tuple[StepFailed, ...] = ()
    _state: dict[str, object] | Callable[[], dict[str, object]] = field(
        factory=dict, alias="state", repr=False, eq=False
    )
    suspensions: tuple[Suspension, ...] = ()
    _steps: tuple[StepRecord, ...] | Callable[[], tuple[StepRecord, ...]] = field(
        default=(), alias="steps", repr=False, eq=False
    )

    @property
    def state(self) -> dict[str, object]:
        """The run store as it was at the end: JSON values by key."""
        if callable(self._state):
            object.__setattr__(self, "_state", self._state())
        return cast("dict[str, object]", self._state)

    @property
    def steps(self) -> tuple[StepRecord, ...]:
        """Every activation, by number."""
        if callable(self._steps):
            object.__setattr__(self, "_steps", self._steps())
        return cast("tuple[StepRecord, ...]", self._steps)


@frozen(kw_only=True)
class Event:
    """One thing that happened to a run, as its stream tells it; `seq` is the number of the fact."""

    seq: int
    kind: str
    run_id: str
    step_id: str | None
    at: datetime
    data: object = None


@frozen
class Fact:
    """One fact of a run's history. `fields` are those of its kind, JSON decoded; they can be read as attributes too."""

    seq: int
    kind: str
    at: datetime
    fields: Mapping[str, object] = field(factory=dict)

    def __getattr__(self, name: str) -> object:
        if not name.startswith("_") and name in self.fields:
            return self.fields[name]
        raise AttributeError(f"a fact of kind {self.kind!r} has no field {name!r}; it has {', '.join(self.fields)}")


@frozen(kw_only=True)
class Statistics:
    """Counters of a runtime. Seconds are real ones; `mailbox_*` is the fullest mailbox."""

    live_runs: int
    live_steps: int
    pending_steps: int
    suspended_runs: int
    mailbox_depth: int
    mailbox_oldest_s: float
    commits: int
    facts: int
    commit_latency_s: float
    restarts: int
    late_replies: int


def when(epoch_s: float) -> datetime | None:
    """An epoch second as a datetime; 0.0 has not happened."""
    return moment(epoch_s) if epoch_s else None


def summary(header: RunHeader) -> RunSummary:
    """One row of the journal's list."""
    return RunSummary(
        run_id=header.run_id,
        workflow_id=header.workflow_id,
        status=header.status,
        parent_id=header.parent_id or None,
        started_at=when(header.started_at),
        ended_at=when(header.ended_at),
    )


def counts(state: RunState) -> dict[StepStatus, int]:
    """Steps by status."""
    found = dict(state.counts)
    found[StepStatus.PENDING] = state.armed_count - (state.hook in state.armed)
    found[StepStatus.RUNNING] = len(state.live) - (state.hook in state.live)
    found[StepStatus.SUSPENDED] = len(state.suspended)
    if state.flow is not None:  # a graph's own machinery is no step of its author's
        n = state.flow.current
        armed, live = state.armed.get(n), state.live.get(n)
        found[StepStatus.PENDING] -= armed is not None and is_internal(armed.step)
        found[StepStatus.RUNNING] -= live is not None and is_internal(live.step)
    return found


def waits(state: RunState) -> tuple[Wait, ...]:
    """The open waits, in the order in which they were opened."""
    return tuple(
        Wait(
            activation_id=activation_id(state.prefix, item.n),
            event=item.event,
            step_id=item.step,
            payload=decode(item.payload),
            deadline=when(item.deadline),
            on_timeout=item.on_timeout or None,
        )
        for item in state.armed.values()
        if isinstance(item, f.WaitOpened)
    )


def step_records(state: RunState) -> tuple[StepRecord, ...]:
    """Every activation, by number."""
    rows = [*_done(state), *_open(state)]
    return tuple(
        record
        for _, record in sorted(rows, key=lambda row: row[0])
        if not is_internal(record.step_id) or record.status is StepStatus.FAILED
    )


def own_suspensions(state: RunState) -> list[Suspension]:
    """Where this very run waits to be resumed, by activation number."""
    path: tuple[str, ...] = tuple(json.loads(state.path))
    return [
        Suspension(
            activation_id=activation_id(state.prefix, n),
            step_id=item.step,
            path=(*path, item.step),
            label=item.label or None,
            payload=decode(item.note),
        )
        for n, item in sorted(state.suspended.items())
        if not item.call
    ]


def _done(state: RunState) -> Iterator[tuple[int, StepRecord]]:
    prefix = state.prefix
    for n, step, status, attempts, output, error_type, message, scheduled, started, ended in state.done.values():
        name = activation_id(prefix, n)
        yield (
            n,
            StepRecord(
                activation_id=name,
                step_id=step,
                status=StepStatus(status),
                attempts=attempts,
                output=decode(output),
                error=_failure(name, step, attempts, error_type, message),
                scheduled_at=when(scheduled),
                started_at=when(started),
                ended_at=when(ended),
            ),
        )
    for item, at in state.dropped:
        yield from _queued(state, item, StepStatus.CANCELLED, at)


def _failure(name: str, step: str, attempts: int, error_type: str, message: str) -> Failure | None:
    if not error_type:
        return None
    return Failure(step_id=step, activation_id=name, attempts=attempts, error_type=error_type, message=message)


def _open(state: RunState) -> Iterator[tuple[int, StepRecord]]:
    for item in (*state.armed.values(), *state.batches):
        if not isinstance(item, Batch) and item.step in HOOKS:
            continue
        yield from _queued(state, item, StepStatus.PENDING, 0.0)
    for activation in state.live.values():
        if activation.step in HOOKS:
            continue  # the hook of the run's end is not a step
        yield activation.n, _started(state, activation, StepStatus.RUNNING, 0.0)
    for activation in state.suspended.values():
        yield activation.n, _started(state, activation, StepStatus.SUSPENDED, 0.0)


def _started(state: RunState, item: Activation, status: StepStatus, ended: float) -> StepRecord:
    name = activation_id(state.prefix, item.n)
    return StepRecord(
        activation_id=name,
        step_id=item.step,
        status=status,
        attempts=item.attempt,
        error=_failure(name, item.step, item.attempt, item.error_type, item.message),
        scheduled_at=when(item.scheduled_at),
        started_at=when(item.started_at),
        ended_at=when(ended),
    )


def _queued(
    state: RunState, item: f.StepScheduled | f.WaitOpened | Activation | Batch, status: StepStatus, ended: float
) -> Iterator[tuple[int, StepRecord]]:
    if isinstance(item, Activation):
        yield item.n, _started(state, item, status, ended)
        return
    if isinstance(item, Batch):
        numbers = range(item.fact.first + item.index, item.fact.first + len(item.fact.payloads))
        step, at = item.fact.step, item.fact.at
    else:
        numbers, step, at = range(item.n, item.n + 1), item.step, item.at
    for n in numbers:
        yield (
            n,
            StepRecord(
                activation_id=activation_id(state.prefix, n),
                step_id=step,
                status=status,
                scheduled_at=when(at),
                ended_at=when(ended),
            ),
        )

"""The stream of a run's events: ordered, numbered, and never in the run's way.

What lives here: `EventStream`, and how a fact looks as an event. What does not: the facts (`_core.facts`).
"""

from __future__ import annotations

import re
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs
import trio

from .._core import facts as f
from .._core.durations import moment
from .._core.values import decode
from .records import Event

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..errors import ActorflowError

BUFFER: Final = 10_000
"""Events that wait for one slow reader; older ones are dropped then, and the reader is told how many."""

MISSED: Final = "missed"
"""The kind of the event that tells a slow reader how many it missed: `data` is {"missed": n}."""

JSON_FIELDS: Final = frozenset({"payload", "output", "data", "input", "headers", "value"})
"""Fields of facts that hold JSON text; users see the value."""

_HIDDEN: Final = frozenset({"at", "argument", "operations", "values", "payloads", "fingerprint"})


def kind_of(fact: f.Fact) -> str:
    """The name of a kind of fact, as users see it: "step-started", "run-completed"."""
    if isinstance(fact, f.RunEnded):
        return f"run-{fact.status}"
    return _KINDS[type(fact)]


_OF_STEPS: Final = (
    f.StepStarted, f.StepCompleted, f.StepFailed, f.StepCancelled, f.StepSuspended, f.StepResumed, f.AttemptFailed,
    f.StepInterrupted, f.Emitted, f.Logged, f.OnceRecorded, f.OperationApplied, f.TransactionApplied,
)  # fmt: skip

_KINDS: Final = {kind: re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower() for kind in f.FACTS}


class EventStream:
    """`async for event in stream`: the events of one run from `after` on, until the run ends.

    A run never waits for a reader. One that falls too far behind gets an event of kind "missed" that says how many
    were dropped, and goes on from there.
    """

    def __init__(self, run_id: str, after: int) -> None:
        self._run_id = run_id
        self._after = after
        self._buffer: deque[tuple[int, f.Fact]] = deque()
        self._have = 0
        self._missed = 0
        self._finished = False
        self._error: ActorflowError | None = None
        self._reader: trio.lowlevel.Task | None = None
        self._steps: dict[int, str] = {}
        self._element = ""

    def feed(self, first: int, facts: Sequence[f.Fact]) -> None:
        """New facts, numbered from `first`."""
        buffer = self._buffer
        for seq, fact in enumerate(facts, first):
            if seq > self._have:
                buffer.append((seq, fact))
        while len(buffer) > BUFFER:
            self._learn(buffer.popleft()[1])
            self._missed += 1
        self._wake()

    def prime(self, facts: Sequence[f.Fact]) -> None:
        """The facts that the run has already, before the live ones; they wait for the reader, whatever their number."""
        live = [entry for entry in self._buffer if entry[0] > len(facts)]
        self._buffer = deque(enumerate(facts, 1))
        self._buffer.extend(live)
        self._have = len(facts)

    def finish(self) -> None:
        """No further event will come."""
        self._finished = True
        self._wake()

    def break_off(self, error: ActorflowError) -> None:
        """The run cannot go on here."""
        self._error = error
        self.finish()

    def _wake(self) -> None:
        if self._reader is not None:
            task, self._reader = self._reader, None
            trio.lowlevel.reschedule(task)

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        await trio.lowlevel.checkpoint()
        while True:
            if self._missed:
                missed, self._missed = self._missed, 0
                seq, fact = self._buffer[0]
                at = moment(fact.at)
                return Event(
                    seq=seq - 1, kind=MISSED, run_id=self._run_id, step_id=None, at=at, data={"missed": missed}
                )
            while self._buffer:
                seq, fact = self._buffer.popleft()
                event = self._event(seq, fact)
                if seq > self._after:
                    return event
            if self._error is not None:
                raise self._error
            if self._finished:
                raise StopAsyncIteration
            await self._more()

    async def _more(self) -> None:
        self._reader = trio.lowlevel.current_task()

        def abort(_: object) -> trio.lowlevel.Abort:
            self._reader = None
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    def _learn(self, fact: f.Fact) -> None:
        """Remember which step a number stands for."""
        n = getattr(fact, "n", 0)
        step = getattr(fact, "step", "")
        if n and step:
            self._steps[n] = step
        if isinstance(fact, f.StepsScheduled):
            self._steps.update(dict.fromkeys(range(fact.first, fact.first + len(fact.payloads)), fact.step))
        elif isinstance(fact, f.GroupOpened):
            self._steps.update(enumerate(fact.steps, fact.first))
            self._element = fact.steps[0] if fact.elements else ""

    def _event(self, seq: int, fact: f.Fact) -> Event:
        self._learn(fact)
        step = getattr(fact, "step", "") or self._steps.get(getattr(fact, "n", 0))
        if not step and isinstance(fact, _OF_STEPS):
            step = self._element  # how many elements there are stands in the data, not in the fact
        if isinstance(fact, f.StepCompleted | f.StepFailed | f.StepCancelled):
            self._steps.pop(fact.n, None)
        at = moment(fact.at)
        if isinstance(fact, f.Emitted):
            return Event(seq=seq, kind=fact.name, run_id=self._run_id, step_id=step, at=at, data=decode(fact.data))
        return Event(seq=seq, kind=kind_of(fact), run_id=self._run_id, step_id=step or None, at=at, data=_data(fact))


def _data(fact: f.Fact) -> dict[str, object]:
    """The fields of a fact, without the store's values, which are not everybody's business."""
    data: dict[str, object] = {}
    for field in attrs.fields(type(fact)):
        name = field.name
        if name in _HIDDEN:
            continue
        value = getattr(fact, name)
        data[name] = decode(value) if name in JSON_FIELDS and value else value
    if isinstance(fact, f.StepsScheduled):
        data["count"] = len(fact.payloads)
    return data

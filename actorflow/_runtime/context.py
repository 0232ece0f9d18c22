"""What a step is given: who it is, the run's store, and the calls that shape the run.

What lives here: `Context`. What does not: the handle of a scheduled step (`scheduled`), the store's verbs
(`run_store`), calling child runs (`children`), the rules (`_core.decide`), the pass that it belongs to (`passes`).
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Awaitable, Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Generic, TypeVar, TypeVarTuple

import trio

from .._authoring.schema import unstructure
from .._core import commands as c
from .._core.durations import due_time, moment, seconds
from .._core.replay import UNMATCHED
from .._core.ruling import over
from .._core.store_state import value_of
from .._core.values import decode, encode, shorten
from ..errors import HookRestriction, InputError, RunOver
from .children import call_child
from .guests import store_above, store_of
from .names import action_of, event_name
from .recalling import recall
from .scheduled import BufferedStep, ScheduledStep
from .scheduling import (
    BATCH,
    due_of,
    fallback_of,
    iterable_of,
    key_text,
    nth_payload_text,
    payload_text,
    schedule_batch,
)
from .step_log import StepLog
from .suspending import answer, suspend

if TYPE_CHECKING:
    import logging
    from datetime import datetime

    from .passes import Pass
    from .run_store import RunStore

S = TypeVar("S")
Ts = TypeVarTuple("Ts")


class Context(Generic[S]):
    """Everything that a step may know and do. It belongs to one pass of one step; keep it no longer."""

    __slots__ = ("_pass", "_state_seen", "_store")

    def __init__(self, owner: Pass) -> None:
        self._pass = owner
        self._store: RunStore | None = None
        self._state_seen: object = None

    # --- who and when

    @property
    def run_id(self) -> str:
        """The id of the run."""
        return self._pass.actor.state.run_id

    @property
    def workflow_id(self) -> str:
        """The id of the workflow."""
        return self._pass.actor.state.workflow_id

    @property
    def step_id(self) -> str:
        """The id of the step: the action's name."""
        return self._pass.activation.step

    @property
    def activation_id(self) -> str:
        """Unique in the run and stable over attempts and crashes: an idempotency key for calls to the outside."""
        return self._pass.activation_id

    @property
    def attempt(self) -> int:
        """Counts from 1; a pass cut off by a crash does not count."""
        return self._pass.activation.attempt

    @property
    def headers(self) -> Mapping[str, object]:
        """The mapping given at `start`."""
        headers = decode(self._pass.actor.state.headers)
        assert isinstance(headers, dict)
        return MappingProxyType(headers)

    @property
    def input(self) -> object:
        """The run's input, typed as `start` declares it."""
        actor = self._pass.actor
        return actor.definition.input.structure(actor.state.input, "input of the run")

    @property
    def event(self) -> object:
        """The data of the event that this step waited for; None if it did not wait."""
        activation = self._pass.activation
        return None if activation.event is None else decode(activation.event)

    def now(self) -> datetime:
        """The time on the run's clock, aware, in UTC."""
        return moment(self._pass.actor.kernel.clock.now())

    # --- state

    @property
    def run_store(self) -> RunStore:
        """The store of this run."""
        found = self._store = self._store or store_of(self._pass)
        return found

    @property
    def parent_store(self) -> RunStore | None:
        """The store of the run above: what is written there is written at once. None at the root."""
        return store_above(self._pass, self._pass.actor.parent)

    @property
    def root_store(self) -> RunStore | None:
        """The store of the outermost run; None at the root."""
        actor = self._pass.actor.parent
        while actor is not None and actor.parent is not None:
            actor = actor.parent
        return store_above(self._pass, actor)

    @property
    def state(self) -> S:
        """The store as it was when this step started: an instance of the state type, else a read-only mapping."""
        if self._state_seen is None:
            owner = self._pass
            view = owner.actor.state.store.view(owner.activation.mark)
            values = {key: value_of(value) for key, value in view.items()}
            schema = owner.step.state or owner.actor.definition.state
            self._state_seen = MappingProxyType(values) if schema is None else schema.view(values)
        return self._state_seen  # type: ignore[return-value]  # what the annotation promises

    async def set_state(self, **changes: object) -> None:
        """Set only the named keys, as one atomic message.

        It counts as written after a read of `ctx.state`: a key that another branch changed since this step started
        raises `LostUpdate`.
        """
        store = self.run_store
        owner = self._pass
        if owner.step.state is not None:
            for key in changes:
                owner.step.state.check_key(key)
        operations = [store._encoder.operation("set", key, value) for key, value in changes.items()]
        await store._transact(operations, "", "set_state", owner.activation.mark)

    # --- scheduling

    async def schedule_next_step(
        self,
        action: str,
        payload: object = None,
        *,
        delay: object = 0,
        at: datetime | None = None,
        key: str | None = None,
    ) -> ScheduledStep:
        """Arm a step: it runs when it is due, whatever becomes of this one.

        Args:
            action: the name of the step's method (or the method itself).
            payload: its data; checked and copied now.
            delay: seconds, a `timedelta`, or text such as "30 sec", "5 minutes", "2 hr"; 0 s to 400 days.
            at: an aware datetime instead of a delay; a past one is due now.
            key: while a step with this key is armed or live, a second call gives the first one's handle.
        """
        owner = self._pass
        self._check_shaping("schedule_next_step")
        name = action_of(self._pass.actor.definition, action)
        text = payload_text(owner.actor, name, payload)
        actor = owner.actor
        now = actor.kernel.clock.now()
        due = due_time(now, delay, at)
        label = key_text(key)
        if owner.replay is not None:
            found = await recall(owner.replay, "schedule", name, text)
            if isinstance(found, int):
                return ScheduledStep(owner, found, moment(due_of(actor.state, found, due)))
        if owner.buffer is not None:
            await trio.lowlevel.checkpoint()
            command = owner.buffer.schedule(c.Schedule(owner.activation.n, name, text, due - now, label))
            return BufferedStep(owner, command, moment(now + command.due))
        n = await actor.ask(c.Schedule(owner.activation.n, name, text, due, label), owner)
        assert isinstance(n, int)
        return ScheduledStep(owner, n, moment(due_of(actor.state, n, due)))

    async def schedule_many(
        self, action: str, payloads: Iterable[object] | AsyncIterable[object], *, delay: object = 0
    ) -> int:
        """Arm one step per payload of an iterable or async iterable, taken lazily and in batches; how many.

        Raises `InputError` naming the index of a bad payload; what was armed before stays armed.
        """
        self._check_shaping("schedule_many")
        name = action_of(self._pass.actor.definition, action)
        owner = self._pass
        now = owner.actor.kernel.clock.now()
        due = due_time(now, delay, None)
        count = 0
        batch: list[str] = []
        try:
            if isinstance(payloads, AsyncIterable):
                async for payload in payloads:
                    batch.append(nth_payload_text(owner.actor, name, payload, count + len(batch)))
                    if len(batch) == BATCH:
                        batch, full = [], batch
                        count += await schedule_batch(owner, name, full, due, now)
            else:
                for payload in iterable_of(payloads):
                    batch.append(nth_payload_text(owner.actor, name, payload, count + len(batch)))
                    if len(batch) == BATCH:
                        batch, full = [], batch
                        count += await schedule_batch(owner, name, full, due, now)
        except trio.Cancelled:
            batch = []
            raise
        finally:
            if batch:
                count += await schedule_batch(owner, name, batch, due, now)
        return count

    async def wait_for_event(
        self,
        name: str,
        *,
        action: str,
        payload: object = None,
        timeout: object = None,  # noqa: ASYNC109 - not of this call: it bounds the wait of the run, which is journaled
        on_timeout: str | None = None,
    ) -> ScheduledStep:
        """Keep the run open until the event `name`; then `action` runs with `payload`, the event under `ctx.event`.

        Past `timeout` (as a delay is written) the step `on_timeout` runs with the same payload instead, or, without
        one, the wait fails with `StepTimeout`.
        """
        self._check_shaping("wait_for_event")
        owner = self._pass
        step = action_of(self._pass.actor.definition, action)
        event = event_name(name)
        text = payload_text(owner.actor, step, payload)
        fallback = fallback_of(owner.actor, on_timeout, payload, timeout)
        now = owner.actor.kernel.clock.now()
        deadline = 0.0 if timeout is None else now + seconds(timeout, "timeout")
        if owner.replay is not None:
            found = await recall(owner.replay, "wait", f"{event}\n{step}", text)
            if isinstance(found, int):
                return ScheduledStep(owner, found, moment(deadline) if deadline else None)
        if owner.buffer is not None:
            raise HookRestriction('wait_for_event in a commit="on_success" step: it cannot be taken back')
        n = await owner.actor.ask(c.OpenWait(owner.activation.n, step, text, event, deadline, fallback), owner)
        assert isinstance(n, int)
        return ScheduledStep(owner, n, moment(deadline) if deadline else None)

    def _check_shaping(self, what: str) -> None:
        owner = self._pass
        actor = owner.actor
        if owner.is_hook:
            raise HookRestriction(f"{what} in the hook {self.step_id!r}: the run is ending; do it in a step")
        if actor.is_over:
            raise over(actor.state)
        if owner.ended:
            raise RunOver(
                f"{what}: this context belongs to a pass of {self.step_id!r} that has ended", run_id=self.run_id
            )

    # --- suspending, and child runs

    @property
    def resumed(self) -> bool:
        """Whether this step was suspended and has been resumed."""
        return bool(self._pass.activation.answers)

    @property
    def resume_data(self) -> object:
        """What the latest `resume` of this step sent, as its `resume` type; None before."""
        answers = self._pass.activation.answers
        return answer(self._pass, answers[-1]) if answers else None

    async def suspend(self, payload: object = None, *, label: str | None = None) -> object:
        """Hand `payload` out and end this pass, until somebody resumes the step.

        The step then runs again from its first line, with the answer in `ctx.resume_data`; on that run the n-th
        `suspend` returns the n-th answer. What it did to the store is not done again; no attempt is used up.

        Args:
            payload: for whoever answers; of the step's `suspend` type, if it has one.
            label: a name by which `resume(label=…)` finds it.
        """
        self._check_shaping("suspend")
        return await suspend(self._pass, payload, label)

    async def run_child(
        self,
        workflow: object,
        data: object = None,
        *,
        initial_state: object = None,
        merge_state: bool | Collection[str] = False,
    ) -> object:
        """Run another workflow as a child of this run; its output.

        The child begins with a snapshot of this run's state (the keys of its own state type), or with `initial_state`.
        Cancelling this step cancels it. When it is suspended, so is this step, until the child is over.

        Args:
            workflow: a class or graph that the runtime knows, or its id.
            data: its input.
            initial_state: what its store begins with instead.
            merge_state: which of its own changes come back when it completes: True for all, or the keys.

        Raises `RunFailed` and `RunCancelled` for how it ended, `InputError` for what it cannot begin with.
        """
        self._check_shaping("run_child")
        return await call_child(self._pass, workflow, data, initial_state, merge_state)

    @property
    def iteration(self) -> int:
        """In a loop of a graph: how often its body has begun, from 1."""
        flow = self._pass.actor.state.flow
        return 1 if flow is None else flow.iteration

    # --- results and the outside world

    async def once(self, name: str, function: Callable[[*Ts], Awaitable[object]], *args: *Ts) -> object:
        """Run an async function and journal its result (JSON); a later attempt of this step gets the journaled one.

        The function runs again only if the process died between its return and the commit.
        """
        owner = self._pass
        key_text(name or " ", "name of once")
        if not callable(function):
            raise InputError(f"once({name!r}, {shorten(function)}): give an async function")
        known = (owner.activation.once or {}).get(name)
        if known is not None:
            await trio.lowlevel.checkpoint()
            return decode(known)
        found = function(*args)
        if not hasattr(found, "__await__"):
            raise InputError(f"once({name!r}, {shorten(function)}): the function is not async")
        text = encode(await found, unstructure)
        owner.actor.kernel.check_payload(text, f"result of once({name!r})")
        with trio.CancelScope(shield=True):  # it has happened outside: forgetting it would make it happen again
            recorded = await owner.actor.ask(c.RecordOnce(owner.activation.n, name, text), owner)
        return decode(str(recorded))

    async def step_result(self, step_id: str) -> object:
        """The output of the latest finished activation of a step of this run; `InputError` if there is none."""
        owner = self._pass
        if step_id not in owner.actor.definition.steps:
            raise InputError(f"{shorten(step_id)} is not a step of {self.workflow_id!r}")
        found = await owner.actor.ask_read(lambda state: state.outputs.get(step_id), owner)
        if found is None:
            raise InputError(f"step {step_id!r} of run {self.run_id!r} has no result yet")
        return owner.actor.definition.steps[step_id].output.structure(str(found), f"output of {step_id!r}")

    async def emit(self, name: str, data: object = None) -> None:
        """A custom event on the run's stream, of kind `name`."""
        owner = self._pass
        kind = event_name(name)
        text = encode(data, unstructure)
        owner.actor.kernel.check_payload(text, f"data of event {name!r}")
        if owner.replay is not None and await recall(owner.replay, "emit", kind, text) is not UNMATCHED:
            return
        if owner.buffer is not None:
            await trio.lowlevel.checkpoint()
            owner.buffer.emits.append(c.Emit(owner.activation.n, kind, text))
            return
        await owner.actor.ask(c.Emit(owner.activation.n, kind, text), owner)

    async def bail(self, output: object = None) -> None:
        """End the run now as completed, with this output: live steps are cancelled and awaited, armed ones dropped."""
        owner = self._pass
        self._check_shaping("bail")
        if owner.buffer is not None:
            raise HookRestriction('bail in a commit="on_success" step: it cannot be taken back')
        text = owner.actor.definition.output.unstructure(output, "output of bail")
        owner.actor.kernel.check_payload(text, "output of bail")
        await owner.actor.ask(c.Bail(owner.activation.n, text), owner)
        await trio.sleep_forever()  # the run cancels this step, as every other

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry run, step and attempt, and stay readable in the run's history."""
        return StepLog(self._pass)

    def __repr__(self) -> str:
        return f"<Context of step {self.step_id!r}, activation {self.activation_id}, run {self.run_id!r}>"

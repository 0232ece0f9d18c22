"""A run as its users hold it.

What lives here: `Run`, which finds the run wherever it is: live in this runtime, or only in the journal. What does
not: the actor (`supervisor`), the records (`records`).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import trio

from .._authoring.schema import PLAIN
from .._core import commands as c
from .._core import facts as f
from .._core.lifecycle import RUN_OVER, RunStatus, StepStatus
from .._core.run_state import RunState
from .._core.store_state import value_of
from ..errors import ActorflowError, InputError, RunCancelled, RunFailed, RunOver, RunSuspended
from . import tree
from .events import EventStream
from .forking import fork_run
from .inspect import (
    Cuts,
    check_seq,
    check_values,
    describe_state,
    failures,
    history_of,
    load,
    output_of,
    stored_state,
    unknown,
    values_after,
)
from .names import event_name
from .records import Fact, RunDescription, RunOutcome, Suspension, counts, step_records
from .tree import suspensions_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from .._authoring.definition import Definition
    from .runtime import Runtime
    from .supervisor import RunActor


T = TypeVar("T")


class Run:
    """One run of a workflow. Handles are cheap; any number may stand for one run."""

    __slots__ = ("__weakref__", "_actor", "_runtime", "run_id", "workflow_id")

    run_id: str
    workflow_id: str

    def __init__(self, runtime: Runtime, run_id: str, workflow_id: str, actor: RunActor | None) -> None:
        self._runtime = runtime
        self.run_id = run_id
        self.workflow_id = workflow_id
        self._actor = actor
        if actor is None:
            runtime._kernel.expect(run_id, self.bind)

    def bind(self, actor: RunActor) -> None:
        """The run has come back into memory: its end will be known to this handle with the values of its store."""
        self._actor = actor

    def __repr__(self) -> str:
        return f"<Run {self.run_id!r} of {self.workflow_id!r}>"

    # --- where it is

    def _live(self) -> RunActor | None:
        """The actor, if the run is in this runtime's memory."""
        self._runtime._kernel.check_open()
        current = self._runtime._kernel.find(self.run_id)
        if current is not None:
            self._actor = current
        elif self._actor is not None and self._actor.broken is not None:
            self._actor = None  # the journal refused its facts; what is true now stands there
        return self._actor

    async def _acting(self) -> RunActor | None:
        """The actor, taking the run up if it is only in the journal; None if it is over."""
        actor = self._live()
        if actor is None:
            actor = self._actor = await self._runtime._take_up(self.run_id)
        return actor

    def _definition(self) -> Definition | None:
        return self._runtime._kernel.definitions.get(self.workflow_id)

    async def _look(self, look: Callable[[RunState], T]) -> T:
        """What `look` finds in the state of the run, wherever it is; nothing that is not durable yet."""
        self._live()
        return await tree.look_at(self._runtime._kernel, self.run_id, look)

    # --- how it ends

    async def wait(self) -> RunOutcome:
        """How the run settled, as soon as it is completed, failed, cancelled or suspended.

        Never raises for what the run did. Raises `Deadlock` if the waiting step is what the run waits for,
        `JournalError` if the journal stopped it, `RuntimeClosed` if the runtime's block ends first.
        """
        runtime = self._runtime
        runtime._kernel.check_open()
        with runtime._waiting_for(self.run_id):
            while True:
                actor = await self._acting()
                if actor is None:
                    return await self._stored_outcome()
                await actor.settled()
                if actor.ended:
                    actor.check_usable()  # over, and its last facts refused: nothing will make that known
                outcome = await self._outcome(actor) if actor.broken is None else None
                if outcome is not None:
                    return outcome

    async def _outcome(self, actor: RunActor) -> RunOutcome | None:
        """How the run has settled; None if it has gone on while that was found out."""
        found: list[Suspension] = []
        if not actor.ended:
            found = await suspensions_of(self._runtime._kernel, self.run_id)
        if actor.ended:
            return self._outcome_of(actor.state, actor)
        # A timer may have woken it, in a commit that is under way: it is suspended no more, and nobody has said so yet.
        is_settled = actor.settled_once and actor.state.status is RunStatus.SUSPENDED
        return self._outcome_of(actor.state, actor, tuple(found)) if is_settled else None

    async def _stored_outcome(self) -> RunOutcome:
        kernel = self._runtime._kernel
        state = await stored_state(kernel.journal, await load(kernel.journal, self.run_id))
        return self._outcome_of(state, None)

    def _outcome_of(
        self, state: RunState, actor: RunActor | None, suspensions: tuple[Suspension, ...] = ()
    ) -> RunOutcome:
        found = failures(state, actor.causes if actor is not None else None)
        values = actor.final_state if actor is not None and actor.final_state is not None else state.store.values
        if state.status not in RUN_OVER:  # it goes on one day: what is shown is how it stands now
            values = dict(values)
        completed = state.status is RunStatus.COMPLETED
        return RunOutcome(
            run_id=self.run_id,
            status=state.status,
            output=self._output(state.output) if completed else None,
            error=None if completed or not found else found[0],
            failures=found,
            state=lambda: {key: value_of(value) for key, value in values.items()},
            suspensions=suspensions,
            steps=(lambda: step_records(state)) if state.status in RUN_OVER else step_records(state),
        )

    def _output(self, text: str) -> object:
        definition = self._definition()
        return output_of(PLAIN if definition is None else definition.output, text, self.run_id)

    async def result(self) -> object:
        """The output of the run. Raises `RunFailed`, `RunCancelled` or `RunSuspended`, and what `wait` raises."""
        outcome = await self.wait()
        if outcome.status is RunStatus.FAILED:
            first = outcome.failures[0] if outcome.failures else None
            text = f"run {self.run_id!r} of {self.workflow_id!r} failed: {first}"
            if len(outcome.failures) > 1:
                text += f" (and {len(outcome.failures) - 1} more)"
            raise RunFailed(text, run_id=self.run_id, failures=outcome.failures) from first
        if outcome.status is RunStatus.CANCELLED:
            reason = await self._look(lambda state: state.reason)
            why = f": {reason}" if reason else ""
            raise RunCancelled(f"run {self.run_id!r} was cancelled{why}", run_id=self.run_id, reason=reason)
        if outcome.status is RunStatus.SUSPENDED:
            places = ", ".join(f"{'.'.join(item.path)} ({item.activation_id})" for item in outcome.suspensions)
            raise RunSuspended(
                f"run {self.run_id!r} is suspended at {places}; resume() it",
                run_id=self.run_id,
                suspensions=outcome.suspensions,
            )
        return outcome.output

    # --- acting on it

    async def send_event(self, name: str, data: object = None) -> None:
        """Deliver a named event to this run, or else to a descendant that waits for it; it is kept if nobody does yet.
        Returns once journaled.

        Raises `RunOver` after the end, `InputError` for a bad name or bad data.
        """
        event = event_name(name)
        if not await tree.send_event(self._runtime._kernel, self.run_id, event, data):
            raise self._over(await self.status())

    async def resume(self, data: object = None, *, step: str | None = None, label: str | None = None) -> None:
        """Let a suspended step go on, of this run or of a child run at any depth; returns once journaled.

        Args:
            data: the answer, as the step's `resume` type.
            step: a step id that is unique among the suspended, a dotted path of step ids, or an activation id.
            label: the label that the step gave with `suspend`.

        Raises `AmbiguousResume` if several steps could be meant, `NotSuspended` if none, `RunOver` after the end,
        `InputError` for data that does not fit: all before anything is journaled. Of two answers to one suspension
        the second is refused.
        """
        kernel = self._runtime._kernel
        kernel.check_open()
        await self._acting()
        await tree.resume(kernel, self.run_id, data, step, label)

    def _over(self, status: RunStatus) -> RunOver:
        return RunOver(f"run {self.run_id!r} is over ({status.value})", run_id=self.run_id)

    async def cancel(self, reason: str = "") -> None:
        """End the run as cancelled; returns when it is over. A second call, and one after the end, is harmless."""
        if not isinstance(reason, str):
            raise InputError(f"cancel({reason!r}): the reason is text")
        actor = await self._acting()
        if actor is None:
            return
        actor.check_usable()
        if actor.ended:
            await trio.lowlevel.checkpoint()
            return
        await actor.control(c.CancelRun(reason))
        await actor.settled(or_suspended=False)

    async def fork(self, *, at: int | None = None, before: str | None = None, run_id: str | None = None) -> Run:
        """A new, running run that starts from this one's journal.

        Args:
            at: the last fact that the new run shares.
            before: a step id (just before its first activation) or an activation id, instead of `at`.
            run_id: the id of the new run.

        Raises `RunOver` if the values that it needs are gone, `InputError` for a fact or step that is not there.
        """
        return await fork_run(self._runtime, self.run_id, at=at, before=before, new_id=run_id)

    async def _rests(self) -> bool:
        """Whether it is out of memory, and may have more to tell."""
        kernel = self._runtime._kernel
        if self.run_id in kernel.asleep:
            return True
        header = await kernel.journal.header(self.run_id)
        return header is not None and header.status is RunStatus.SUSPENDED

    # --- looking at it

    async def status(self) -> RunStatus:
        """What the run is doing."""
        actor = self._live()
        if actor is not None and actor.broken is None:
            await trio.lowlevel.checkpoint()
            if actor.ended:
                return actor.state.status
            return RunStatus.SUSPENDED if actor.settled_once else RunStatus.RUNNING
        header = await self._runtime._kernel.journal.header(self.run_id)
        if header is None:
            raise unknown(self.run_id)
        return header.status

    async def progress(self) -> tuple[Mapping[StepStatus, int], int]:
        """Steps by status, and the number of keys in the store: cheap, for a display that refreshes often."""
        return await self._look(lambda state: (counts(state), len(state.store.values)))

    async def describe(self) -> RunDescription:
        """Everything that can be told of the run: every step, the open waits, the error."""
        runtime = self._runtime
        journal = runtime._kernel.journal
        runtime._kernel.check_open()
        await runtime._kernel.dispatcher.flush()
        header = await journal.header(self.run_id)
        if header is None:
            raise unknown(self.run_id)
        actor = self._live()
        children = await journal.headers(parent_id=self.run_id)
        causes = actor.causes if actor is not None else None
        trouble = runtime.unrecovered.get(self.run_id)
        try:
            found = [] if header.status in RUN_OVER else await suspensions_of(runtime._kernel, self.run_id)
            return await self._look(
                lambda state: describe_state(
                    state, header, children=children, suspensions=found, causes=causes, recovery_error=trouble
                )
            )
        except ActorflowError:
            if trouble is None:
                raise
            bare = RunState(self.run_id, workflow_id=header.workflow_id, status=header.status)
            return describe_state(bare, header, children=children, recovery_error=trouble)

    async def state(self) -> dict[str, object]:
        """A consistent snapshot of the run store. Raises `RunOver` after the end, unless the workflow keeps it."""
        status, values = await self._look(
            lambda state: (state.status, {key: value_of(value) for key, value in state.store.values.items()})
        )
        if status in RUN_OVER and not self._keeps():
            raise self._over(status)
        return values

    def _keeps(self) -> bool:
        definition = self._definition()
        return definition is not None and definition.plan.keep_state

    async def state_at(self, seq: int) -> dict[str, object]:
        """The run store as it was after fact `seq`. Raises `RunOver` when the values are gone."""
        facts = await self._facts()
        check_seq(seq, len(facts))
        header = await self._runtime._kernel.journal.header(self.run_id)
        if header is not None:
            check_values(header, self._keeps())
        above = None
        if header is not None and header.parent_id:
            above = await Cuts(self._runtime._kernel.journal).of(header.parent_id, facts)
        return values_after(self.run_id, facts, seq, above)

    async def history(self) -> list[Fact]:
        """The facts of the run, in order."""
        return history_of(await self._facts())

    async def _facts(self) -> Sequence[f.Fact]:
        kernel = self._runtime._kernel
        kernel.check_open()
        await kernel.dispatcher.flush()
        if await kernel.journal.header(self.run_id) is None:
            raise unknown(self.run_id)
        return await kernel.journal.read(self.run_id)

    @asynccontextmanager
    async def events(self, after: int = 0) -> AsyncIterator[EventStream]:
        """`async with run.events() as stream: async for event in stream`: ordered, numbered, from `after` on.

        The stream never blocks the run. A reader that falls far behind gets an event of kind "missed", whose data
        says how many it missed. The last event is "run-completed", "run-failed" or "run-cancelled".
        """
        if isinstance(after, bool) or not isinstance(after, int) or after < 0:  # type: ignore[redundant-expr]  # not every caller is type-checked
            raise InputError(f"events(after={after!r}): give the number of an event, 0 for all")
        stream = EventStream(self.run_id, after)
        actor = self._live()
        if actor is None and await self._rests():
            actor = await self._acting()
        live = actor is not None and actor.broken is None and not actor.is_over
        if live and actor is not None:
            actor.streams.append(stream)
        try:
            stream.prime(await self._facts())
            if not live:
                stream.finish()
            yield stream
        finally:
            if actor is not None and stream in actor.streams:
                actor.streams.remove(stream)

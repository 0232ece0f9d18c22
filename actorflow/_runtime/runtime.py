"""The runtime: the block in which runs live.

What lives here: `open_runtime` and `Runtime`. What does not: one run (`supervisor`, `handle`), what a start is made of
(`starting`), the order of closing (`closing`), the services (`kernel`).
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import trio

from .._authoring.workflow import resolve
from .._core import commands as c
from .._core.durations import moment
from .._core.lifecycle import RUN_OVER, RunStatus
from .._core.policies import Limits
from .._core.run_state import RunState
from .._core.values import shorten
from ..errors import (
    ActorflowError,
    Deadlock,
    InputError,
    RunExists,
    RuntimeClosed,
)
from ..journals import parse_url
from . import inbox, recovery
from .clock import RunClock
from .closing import close, let_cancel, release, same_group
from .handle import Run
from .inspect import unknown
from .kernel import Kernel
from .opening import definitions_of, each_of
from .passes import only_leaf
from .records import RunSummary, Statistics, summary
from .starting import checked_run_id, fingerprint_of, headers_text, initial_values
from .supervisor import RunActor

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime
    from types import TracebackType

    from .._authoring.definition import Definition
    from ..abc import Instrument, Journal, RunHeader


class Runtime:
    """Starts, finds and lists runs. Made by `open_runtime`; every call after its block raises `RuntimeClosed`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._starting: dict[str, trio.Event] = {}

    # --- starting

    async def start(
        self,
        workflow: object,
        data: object = None,
        *,
        run_id: str | None = None,
        initial_state: object = None,
        headers: Mapping[str, object] | None = None,
    ) -> Run:
        """Start a run; returns once the start is journaled.

        An existing `run_id`, finished or not, with the same workflow, input and initial state gives that run's
        handle, so a start may be repeated; with different ones it raises `RunExists`.

        Raises `InputError` (the run id stays free), `DefinitionError` for a workflow that this runtime does not know,
        `JournalError`, `RuntimeClosed`.
        """
        kernel = self._kernel
        kernel.check_accepting()
        await trio.lowlevel.checkpoint_if_cancelled()
        definition = kernel.definition_of(workflow)
        what = f"input of {definition.workflow_id!r}"
        text = definition.input.unstructure(data, what)
        kernel.check_payload(text, what)
        initial = initial_values(kernel.limits, definition, initial_state)
        header_text = headers_text(kernel, headers)
        name = kernel.clock.new_run_id() if run_id is None else checked_run_id(run_id)
        fingerprint = fingerprint_of(definition, text, initial)
        while name in self._starting:
            await self._starting[name].wait()
        known = await self._known(name)
        if known is not None:
            return await self._same(known, fingerprint, definition)
        plan = definition.plan
        command = c.StartRun(
            definition.workflow_id, plan.version, definition.source, text, header_text, fingerprint, initial
        )
        self._starting[name] = trio.Event()
        try:
            return await self._begin(name, definition, command)
        finally:
            self._starting.pop(name).set()

    async def _begin(self, name: str, definition: Definition, command: c.StartRun) -> Run:
        kernel = self._kernel
        if run_id_taken := (kernel.journal.durable and await kernel.journal.header(name)):
            return await self._same(run_id_taken, command.fingerprint, definition)
        kernel.check_accepting()
        actor = RunActor(kernel, definition, RunState(name), None)
        kernel.actors[name] = actor
        try:
            with trio.CancelScope(shield=True):  # bounded by one commit: a start is journaled, or has not happened
                await actor.ask(command)
        except BaseException:
            if actor.header is None or actor.broken is not None:
                kernel.actors.pop(name, None)
                kernel.broken_runs.pop(name, None)
            raise
        return self._handle(name, definition.workflow_id, actor)

    async def _known(self, name: str) -> RunHeader | None:
        actor = self._kernel.find(name)
        if actor is not None:
            actor.check_usable()
            if actor.header is None:
                await self._kernel.dispatcher.flush()
            if actor.header is not None:
                return actor.header
        return None if self._kernel.journal.durable else await self._kernel.journal.header(name)

    async def _same(self, header: RunHeader, fingerprint: str, definition: Definition) -> Run:
        if header.fingerprint != fingerprint:
            raise RunExists(
                f"run id {header.run_id!r} is taken by a run of {header.workflow_id!r} with another workflow, input or "
                "initial state; choose another id, or get_run() it",
                run_id=header.run_id,
            )
        actor = self._kernel.find(header.run_id)
        if actor is None and header.status not in RUN_OVER:
            actor = await self._take_up(header.run_id)  # in the journal, but nobody runs it
        await trio.lowlevel.checkpoint()
        return self._handle(header.run_id, header.workflow_id, actor)

    async def run(
        self,
        workflow: object,
        data: object = None,
        *,
        run_id: str | None = None,
        initial_state: object = None,
        headers: Mapping[str, object] | None = None,
    ) -> object:
        """`start`, and the `result` of the run."""
        run = await self.start(workflow, data, run_id=run_id, initial_state=initial_state, headers=headers)
        return await run.result()

    # --- finding

    async def get_run(self, run_id: str) -> Run:
        """The handle of a run of this journal; `RunNotFound` if there is none."""
        kernel = self._kernel
        kernel.check_open()
        if not isinstance(run_id, str):
            raise InputError(f"run_id {shorten(run_id)} is a {type(run_id).__name__}; give text")
        await trio.lowlevel.checkpoint()
        actor = kernel.find(run_id)
        if actor is not None:
            return self._handle(run_id, actor.state.workflow_id, actor)
        header = await kernel.journal.header(run_id)
        if header is None:
            raise unknown(run_id)
        return self._handle(run_id, header.workflow_id, None)

    def _handle(self, run_id: str, workflow_id: str, actor: RunActor | None) -> Run:
        return Run(self, run_id, workflow_id, actor)

    async def list_runs(
        self,
        *,
        workflow: object = None,
        status: RunStatus | None = None,
        limit: int = 100,
        after: str | None = None,
    ) -> list[RunSummary]:
        """The runs of this journal, newest first; the next page begins `after` the last run id of this one."""
        kernel = self._kernel
        kernel.check_open()
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:  # type: ignore[redundant-expr]  # not every caller is type-checked
            raise InputError(f"limit={limit!r}: give a whole number, at least 1")
        if status is not None and not isinstance(status, RunStatus):
            raise InputError(f"status={status!r}: give a RunStatus, such as RunStatus.RUNNING")
        workflow_id: str | None = None
        if workflow is not None:
            workflow_id = workflow if isinstance(workflow, str) else resolve(workflow).workflow_id
        await kernel.dispatcher.flush()
        if after is not None and await kernel.journal.header(after) is None:
            raise unknown(after)
        headers = await kernel.journal.headers(
            workflow_id=workflow_id, statuses=None if status is None else [status], limit=limit, after=after
        )
        return [summary(header) for header in headers]

    def statistics(self) -> Statistics:
        """Counters, as they are now."""
        kernel = self._kernel
        actors = [actor for actor in kernel.actors.values() if not actor.ended]
        now = kernel.clock.now()
        waited = [now - since for actor in actors if (since := actor.mailbox.oldest) is not None]
        return Statistics(
            live_runs=len(actors) + len(kernel.asleep) - sum(actor.settled_once for actor in actors),
            live_steps=sum(len(actor.state.live) for actor in actors),
            pending_steps=sum(actor.state.armed_count for actor in actors) + sum(kernel.asleep.values()),
            suspended_runs=kernel.suspended if kernel.journal.durable else sum(actor.settled_once for actor in actors),
            mailbox_depth=max((actor.mailbox.depth for actor in actors), default=0),
            mailbox_oldest_s=max(waited, default=0.0),
            commits=kernel.commits,
            facts=kernel.facts + sum(len(actor.outbox) - actor.acted for actor in actors if actor.volatile),
            commit_latency_s=kernel.commit_seconds,
            restarts=kernel.restarts,
            late_replies=kernel.late_replies,
        )

    @property
    def unrecovered(self) -> Mapping[str, ActorflowError]:
        """Runs that could not be taken up, by id, with the error. They are tried again at the next opening."""
        return dict(self._kernel.unrecovered)

    def now(self) -> datetime:
        """The time on the runtime's clock, aware, in UTC."""
        return moment(self._kernel.clock.now())

    # --- waiting and acting, for handles

    async def _take_up(self, run_id: str) -> RunActor | None:
        trouble = self._kernel.unrecovered.get(run_id)
        if trouble is not None:
            raise trouble.with_traceback(None)
        if self._kernel.closing:
            header = await self._kernel.journal.header(run_id)
            if header is not None and header.status in (RunStatus.RUNNING, RunStatus.SUSPENDED):
                self._kernel.check_accepting()
        return await recovery.take_up(self._kernel, run_id)

    def _waiting_for(self, run_id: str) -> AbstractContextManager[None]:
        return self._kernel.waits.of(self._kernel.branches.pass_of(trio.lowlevel.current_task()), run_id)


# --- opening and closing


def open_runtime(
    workflows: Iterable[object] = (),
    *,
    journal: str | Journal = "memory:",
    limits: Limits | None = None,
    recover: bool = True,
    shutdown_grace: float = 10.0,
    instruments: Iterable[Instrument] = (),
) -> AbstractAsyncContextManager[Runtime]:
    """The block in which runs live.

    Write `async with open_runtime([MyWorkflow], journal="sqlite:runs.db") as runtime:`.

    Args:
        workflows: the `Workflow` subclasses (and graphs) that this runtime can run and take up.
        journal: "memory:", "sqlite:PATH", or a `Journal` of your own.
        limits: bounds on what a run may hold.
        recover: take up unfinished runs now; False: they can be read, and are taken up when acted on.
        shutdown_grace: seconds that live steps get when the block ends.
        instruments: observers.

    Raises on entering: `DefinitionError` with all findings, `JournalError`, `JournalBusy`.

    Every task lives in a nursery of this block. On leaving, unfinished runs stay in a durable journal and are taken
    up by the next opening; with "memory:" they end as cancelled.
    """
    return _Block(tuple(each_of(workflows)), journal, limits or Limits(), recover, shutdown_grace, tuple(instruments))


class _Block(AbstractAsyncContextManager[Runtime]):
    """What `async with open_runtime(…)` enters and leaves."""

    def __init__(
        self,
        workflows: tuple[object, ...],
        journal: str | Journal,
        limits: Limits,
        recover: bool,
        grace: float,
        instruments: tuple[Instrument, ...],
    ) -> None:
        self._definitions = definitions_of(workflows)
        self._journal = parse_url(journal) if isinstance(journal, str) else journal
        if not isinstance(limits, Limits):
            raise InputError(f"limits={shorten(limits)}: give Limits(…)")
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0:  # type: ignore[redundant-expr]  # not every caller is type-checked
            raise InputError(f"shutdown_grace={grace!r}: give seconds, at least 0")
        self._limits = limits
        self._recover = recover
        self._grace = float(grace)
        self._instruments = instruments
        self._nursery_manager: AbstractAsyncContextManager[trio.Nursery] | None = None
        self._runtime: Runtime | None = None

    async def __aenter__(self) -> Runtime:
        if self._runtime is not None:
            raise RuntimeClosed("this block has been entered before; call open_runtime() again")
        clock = RunClock()
        kernel = Kernel(clock=clock, journal=self._journal, limits=self._limits, definitions=self._definitions)
        kernel.instruments = self._instruments
        runtime = self._runtime = Runtime(kernel)
        with clock.hold():
            await self._journal.open(kernel.writer)
        try:
            newest = await self._journal.headers(limit=1)
            kernel.created = newest[0].created if newest else 0
            manager = trio.open_nursery()
            nursery = await manager.__aenter__()
        except BaseException:
            await release(kernel)
            raise
        self._nursery_manager, self._nursery = manager, nursery
        try:
            kernel.start_services(nursery)
            nursery.start_soon(recovery.repair, kernel, name="actorflow repair")
            kernel.take_up = runtime._take_up
            kernel.take_up_and_tell = partial(recovery.take_up_and_tell, kernel)
            # Counted before anything goes on: a run that is suspended meanwhile counts itself.
            await recovery.look_at_suspended(kernel, examine=self._recover)
            if self._recover:
                await recovery.take_up_all(kernel)
            inbox.start(runtime, nursery)
        except BaseException as error:
            if await self._leave(type(error), error, error.__traceback__):
                raise
            raise
        return runtime

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        runtime = self._runtime
        assert runtime is not None
        kernel = runtime._kernel
        inside = kernel.branches.pass_of(trio.lowlevel.current_task())
        if inside is not None and not kernel.closing:
            raise Deadlock(
                f"step {inside.activation.step!r} of run {inside.actor.state.run_id!r} closes the runtime that runs "
                "it, which would wait for the step; close it from outside",
                run_id=inside.actor.state.run_id,
                step_id=inside.activation.step,
                cycle=(inside.actor.state.run_id,),
            )
        return await self._leave(kind, error, trace)

    async def _leave(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        runtime, manager = self._runtime, self._nursery_manager
        assert runtime is not None
        assert manager is not None
        kernel = runtime._kernel
        try:
            await close(kernel, self._grace)
        finally:
            kernel.closed = True
            self._nursery.cancel_scope.cancel()
            try:
                swallowed = await manager.__aexit__(kind, error, trace)
            except BaseException as raised:
                bare = only_leaf(raised)
                await let_cancel(raised)
                if bare is error or same_group(raised, error):
                    return False
                if bare is raised:
                    raise
                raise bare from bare.__cause__
            finally:
                await release(kernel)
        return swallowed

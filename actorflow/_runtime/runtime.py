"""The runtime: the block in which runs live.

What lives here: `open_runtime`, `Runtime`, and the order of closing. What does not: one run (`supervisor`, `handle`),
the services (`kernel`).
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Final

import trio

from .._authoring.definition import Definition
from .._authoring.schema import unstructure
from .._authoring.workflow import resolve
from .._core import commands as c
from .._core.durations import moment
from .._core.lifecycle import RUN_OVER, RunStatus
from .._core.policies import Limits
from .._core.run_state import RunState
from .._core.values import decode, encode, shorten, size_of
from .._ids import START
from ..abc import Instrument, Journal, RunHeader
from ..errors import (
    ActorflowError,
    Deadlock,
    DefinitionError,
    InputError,
    JournalError,
    RunExists,
    RuntimeClosed,
    ValueTooLarge,
)
from ..journals import parse_url
from . import inbox, recovery
from .clock import RunClock
from .handle import Run
from .inspect import unknown
from .kernel import Kernel
from .records import RunSummary, Statistics, summary
from .run_store import check_key
from .supervisor import RunActor, interrupted_commands

LOG: Final = logging.getLogger("actorflow")

RUN_ID_BYTES: Final = 512


class Runtime:
    """Starts, finds and lists runs. Made by `open_runtime`; every call after its block raises `RuntimeClosed`."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._unrecovered: dict[str, ActorflowError] = {}
        self._waits: list[tuple[str, str]] = []
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
        definition = self._definition(workflow)
        what = f"input of {definition.workflow_id!r}"
        text = definition.steps[START].payload.unstructure(data, what)
        kernel.check_payload(text, what)
        initial = self._initial(definition, initial_state)
        header_text = self._headers(headers)
        name = kernel.clock.new_run_id() if run_id is None else self._check_run_id(run_id)
        fingerprint = _fingerprint(definition, text, initial)
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
        actor = self._kernel.actors.get(name)
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
        actor = self._kernel.actors.get(header.run_id)
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

    def _definition(self, workflow: object) -> Definition:
        known = self._kernel.definitions
        if isinstance(workflow, str):
            definition = known.get(workflow)
            if definition is not None:
                return definition
            name: object = workflow
        else:
            asked = resolve(workflow)
            definition = known.get(asked.workflow_id)
            if definition is not None and definition.target is asked.target:
                return definition
            name = asked.workflow_id
        text = (
            f"this runtime does not know the workflow {name!r}; give it to open_runtime(). "
            f"It knows {', '.join(map(repr, sorted(known))) or 'none'}"
        )
        raise DefinitionError(text, findings=(text,))

    def _initial(self, definition: Definition, initial: object) -> dict[str, str]:
        limits = self._kernel.limits
        if definition.state is not None:
            found = {key: str(text) for key, text in definition.state.defaults(initial).items()}
        elif initial is None:
            return {}
        elif isinstance(initial, Mapping):
            found = {check_key(key): str(encode(value, unstructure)) for key, value in initial.items()}
        else:
            plain = unstructure(initial)
            if not isinstance(plain, Mapping):
                raise InputError(f"initial_state {shorten(initial)} is not a mapping of keys to values")
            found = {check_key(key): str(encode(value, unstructure)) for key, value in plain.items()}
        sizes = {key: size_of(text) for key, text in found.items()}
        for key, size in sizes.items():
            if size > limits.value_bytes:
                raise _state_too_large(f"initial_state[{key!r}]", "value_bytes", limits.value_bytes, size)
        total = sum(sizes.values()) + sum(map(len, sizes))
        if total > limits.state_bytes:
            raise _state_too_large("initial_state", "state_bytes", limits.state_bytes, total)
        if len(found) > limits.keys:
            raise _state_too_large("initial_state", "keys", limits.keys, len(found))
        return found

    def _headers(self, headers: object) -> str:
        if headers is None:
            return "{}"
        if not isinstance(headers, Mapping):
            raise InputError(f"headers {shorten(headers)} is not a mapping")
        text = encode(dict(headers), unstructure)
        self._kernel.check_payload(text, "headers")
        return text

    def _check_run_id(self, run_id: object) -> str:
        try:
            return check_key(run_id)
        except ActorflowError as error:
            raise InputError(f"run_id {shorten(run_id)}: {error}") from None

    # --- finding

    async def get_run(self, run_id: str) -> Run:
        """The handle of a run of this journal; `RunNotFound` if there is none."""
        kernel = self._kernel
        kernel.check_open()
        if not isinstance(run_id, str):
            raise InputError(f"run_id {shorten(run_id)} is a {type(run_id).__name__}; give text")
        actor = kernel.actors.get(run_id)
        if actor is not None:
            await trio.lowlevel.checkpoint()
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
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
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
            live_runs=len(actors),
            live_steps=sum(len(actor.state.live) for actor in actors),
            pending_steps=sum(actor.state.armed_count for actor in actors),
            suspended_runs=0,
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
        return dict(self._unrecovered)

    def now(self) -> datetime:
        """The time on the runtime's clock, aware, in UTC."""
        return moment(self._kernel.clock.now())

    # --- waiting and acting, for handles

    async def _take_up(self, run_id: str) -> RunActor | None:
        if run_id in self._unrecovered:
            raise self._unrecovered[run_id].with_traceback(None)
        if self._kernel.closing:
            header = await self._kernel.journal.header(run_id)
            if header is not None and header.status in (RunStatus.RUNNING, RunStatus.SUSPENDED):
                self._kernel.check_accepting()
        return await recovery.take_up(self._kernel, run_id)

    @contextmanager
    def _waiting_for(self, run_id: str) -> Iterator[None]:
        """Watch over a wait: one that can never end raises `Deadlock`, in the wait that closes the ring."""
        waiter = self._kernel.branches.pass_of(trio.lowlevel.current_task())
        if waiter is None:
            yield
            return
        edge = (waiter.actor.state.run_id, run_id)
        self._refuse_cycle(*edge)
        self._waits.append(edge)
        try:
            yield
        finally:
            self._waits.remove(edge)

    def _refuse_cycle(self, waiter: str, awaited: str) -> None:
        came_from = {awaited: waiter}
        todo = [awaited]
        while todo:
            run = todo.pop()
            if run == waiter:
                ring = [waiter]
                step = came_from[waiter]
                while step != waiter:
                    ring.append(step)
                    step = came_from[step]
                ring.append(waiter)
                ring.reverse()
                raise Deadlock(
                    f"run {waiter!r} would wait for itself: {' → '.join(ring)}; let a step end instead of waiting",
                    run_id=waiter,
                    cycle=tuple(ring[:-1]),
                )
            for source, target in self._waits:
                if source == run and target not in came_from:
                    came_from[target] = run
                    todo.append(target)
                elif source == run and target == waiter:
                    came_from[waiter] = run
                    todo.append(waiter)


def _state_too_large(name: str, what: str, limit: int, size: int) -> ValueTooLarge:
    text = f"{name} is {size} ({what}), the limit is {limit}; start with less, or raise Limits({what}=…)"
    return ValueTooLarge(text, what=what, limit=limit, size=size)


def _fingerprint(definition: Definition, text: str, initial: Mapping[str, str]) -> str:
    """Equal for starts that are the same as JSON: the order of keys does not matter, True is not 1."""
    parts = [definition.workflow_id, decode(text), {key: decode(value) for key, value in initial.items()}]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()


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
    """The block in which runs live: `async with open_runtime([MyWorkflow], journal="sqlite:runs.db") as runtime:`.

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
    return _Block(tuple(_each(workflows)), journal, limits or Limits(), recover, shutdown_grace, tuple(instruments))


def _each(workflows: object) -> Iterable[object]:
    if isinstance(workflows, Iterable) and not isinstance(workflows, str | type):
        return workflows
    text = f"open_runtime({shorten(workflows)}): give a list of workflows, such as [MyWorkflow]"
    raise DefinitionError(text, findings=(text,))


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
        self._definitions = _define(workflows)
        self._journal = parse_url(journal) if isinstance(journal, str) else journal
        if not isinstance(limits, Limits):
            raise InputError(f"limits={shorten(limits)}: give Limits(…)")
        if isinstance(grace, bool) or not isinstance(grace, int | float) or not grace >= 0:
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
            await _release(kernel)
            raise
        self._nursery_manager, self._nursery = manager, nursery
        try:
            kernel.start_services(nursery)
            nursery.start_soon(recovery.repair, kernel, name="actorflow repair")
            if self._recover:
                await recovery.take_up_all(kernel, runtime._unrecovered)
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
        assert runtime is not None and manager is not None
        kernel = runtime._kernel
        try:
            await _close(kernel, self._grace)
        finally:
            kernel.closed = True
            self._nursery.cancel_scope.cancel()
            try:
                swallowed = await manager.__aexit__(kind, error, trace)
            except BaseException as raised:
                bare = _bare(raised)
                if bare is error:
                    return False
                if bare is raised:
                    raise
                raise bare from bare.__cause__
            finally:
                await _release(kernel)
        return swallowed


def _bare(error: BaseException) -> BaseException:
    """The one error in a group of one, at any depth."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _define(workflows: Iterable[object]) -> dict[str, Definition]:
    found: dict[str, Definition] = {}
    findings: list[str] = []
    for workflow in workflows:
        try:
            definition = resolve(workflow)
        except DefinitionError as error:
            findings.extend(error.findings or [str(error)])
            continue
        known = found.setdefault(definition.workflow_id, definition)
        if known is not definition and known.target is not definition.target:
            findings.append(
                f"two workflows have the id {definition.workflow_id!r}: {known.target!r} and {definition.target!r}; "
                "give one of them another id"
            )
    if findings:
        raise DefinitionError("\n".join(findings), findings=tuple(findings))
    return found


async def _release(kernel: Kernel) -> None:
    with trio.CancelScope(shield=True):  # bounded by closing a file
        try:
            await kernel.journal.close()
        except JournalError as error:
            LOG.error("closing the journal %s: %s", kernel.journal.url, error)
        kernel.writer.stop()


async def _close(kernel: Kernel, grace: float) -> None:
    """The order of closing: no new runs; the grace; the rest is cancelled; the journal is flushed."""
    kernel.closing = True
    for actor in kernel.actors.values():
        actor.paused = True
    began = trio.current_time()
    await _let_steps_end(kernel, grace)
    with trio.CancelScope(shield=True):  # ends when the last step has: a cancelled step is awaited, however long
        closed = RuntimeClosed("the runtime's block has ended; unfinished runs go on at the next opening, if durable")
        for actor in list(kernel.actors.values()):
            if not actor.ended:
                actor.close_waiting(closed)
        if kernel.journal.durable:
            await _park_runs(kernel)
        else:
            await _end_runs(kernel, max(0.0, grace - (trio.current_time() - began)))
        await kernel.dispatcher.idle()
        for actor in list(kernel.actors.values()):
            actor.fail(closed) if not actor.ended else None


async def _let_steps_end(kernel: Kernel, grace: float) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + grace):
        while kernel.branches.busy or kernel.dispatcher.busy:
            await kernel.branches.empty()
            await kernel.dispatcher.idle()
    late = kernel.branches.live
    if late:
        names = ", ".join(
            f"{found.activation.step!r} (activation {found.activation_id}, run {found.actor.state.run_id!r})"
            for found in late
        )
        LOG.warning("closing: %d steps outlasted the grace of %g s and are cancelled: %s", len(late), grace, names)
    kernel.stopping = True
    for actor in list(kernel.actors.values()):
        for found in list(actor.passes.values()):
            found.stop("the runtime is closing")
    with trio.CancelScope(shield=True):
        while kernel.branches.busy:
            await kernel.branches.empty()
            await kernel.dispatcher.idle()


async def _park_runs(kernel: Kernel) -> None:
    """Steps that were cut off are armed again in the journal: the end of a runtime is not a crash."""
    for actor in list(kernel.actors.values()):
        if actor.broken is not None or actor.ended:
            continue
        for command in interrupted_commands(actor.state, crashed=False):
            actor.tell_control(command)
    await kernel.dispatcher.idle()


async def _end_runs(kernel: Kernel, grace: float) -> None:
    """Nothing outlives a volatile journal: what is unfinished ends as cancelled, with its cancel hook."""
    for actor in list(kernel.actors.values()):
        if not actor.ended and actor.broken is None:
            for command in interrupted_commands(actor.state, crashed=False):
                actor.execute(command)
            kernel.stopping = False  # for the hooks, within what is left of the grace
            actor.execute(c.CancelRun("the runtime closed"))
    with trio.CancelScope(deadline=trio.current_time() + grace):
        await kernel.branches.empty()
    for found in kernel.branches.live:
        found.stop("the runtime is closing")
    await kernel.branches.empty()

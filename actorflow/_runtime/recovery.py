"""Taking up a stored run: fold its facts, say what the crash cut off, and let it go on.

What lives here: from a `StoredRun` to a live `RunActor`, and the repair of runs whose journal failed. What does not:
running any user code to rebuild state: there is none to run.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final

import trio

from .._core import commands as c
from .._core import facts as f
from .._core import react
from .._core.lifecycle import RUN_OVER, Phase, RunStatus
from .._ids import CHILD_MARK, child_id
from ..errors import ActorflowError, DefinitionError, JournalCorrupt, JournalError, RunNotFound, RuntimeClosed
from . import places
from .children import tell_again
from .inspect import Cuts, load, rebuild, stored_state, unknown
from .supervisor import RunActor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._authoring.definition import Definition
    from .._core.run_state import Call, RunState
    from .._core.store_state import Value
    from ..abc import RunHeader, StoredRun
    from .kernel import Kernel

LOG: Final = logging.getLogger("actorflow")

PAGE: Final = 2_000
"""Rows of suspended runs that are read at once: there may be millions."""

CHECKED_MAX: Final = 1_000
"""Suspended runs whose steps are looked at when the journal is opened, a fraction of a second; beyond them a run that
waits in a step which its workflow has lost says so when it wakes."""

REPAIR_FIRST_S: Final = 0.5
REPAIR_MAX_S: Final = 30.0
"""Pauses between attempts to go on with runs whose journal failed: doubling, from the first to the longest."""


def definition_for(kernel: Kernel, header: RunHeader) -> Definition:
    """The workflow of a stored run; `DefinitionError` if this runtime does not know it."""
    definition = kernel.definitions.get(header.workflow_id)
    if definition is None:
        text = (
            f"run {header.run_id!r} belongs to workflow {header.workflow_id!r}, which this runtime does not know; "
            "give it to open_runtime()"
        )
        raise DefinitionError(text, findings=(text,), run_id=header.run_id)
    return definition


def check_steps(state: RunState, definition: Definition) -> None:
    """Raise `DefinitionError` if the run still needs a step that the workflow does not have any more."""
    needed = {item.step for item in state.armed.values()}
    needed |= {batch.fact.step for batch in state.batches} | {item.step for item in state.live.values()}
    needed |= {item.on_timeout for item in state.armed.values() if isinstance(item, f.WaitOpened) and item.on_timeout}
    needed |= {item.step for item in state.suspended.values()}
    flow, chain = state.flow, definition.plan.chain
    if flow is not None and chain is not None and flow.node < len(chain) and chain[flow.node].name != flow.name:
        needed.add(flow.name)  # the chain has another link in this place now
    gone = sorted(step for step in needed if step not in definition.steps)
    if gone:
        text = (
            f"run {state.run_id!r} waits to run {', '.join(map(repr, gone))}, which workflow "
            f"{definition.workflow_id!r} (version {definition.plan.version!r}, the run has {state.version!r}) does not "
            "have any more; put the step back until its runs are over"
        )
        raise DefinitionError(text, findings=(text,), run_id=state.run_id)


def interrupted_commands(state: RunState, *, crashed: bool) -> list[c.Command]:
    """What must be told to a run whose live passes are gone."""
    ask: list[c.Command] = []
    for n in react.pending(state):
        if state.phase is Phase.STOPPING:
            ask.append(c.DropStep(n))
        else:
            ask.append(c.InterruptStep(n, crashed))
    return ask


def revive(
    kernel: Kernel,
    stored: StoredRun,
    *,
    crashed: bool,
    parent: RunActor | None = None,
    inherited: Mapping[str, Value] | None = None,
) -> RunActor:
    """A live actor for a stored, unfinished run. Raises what stands in its way, and leaves the run as it is."""
    definition = definition_for(kernel, stored.header)
    state = rebuild(stored, definition.plan, inherited=inherited)
    check_steps(state, definition)
    actor = RunActor(kernel, definition, state, stored.header)
    actor.parent = parent
    kernel.reached(places.REVIVED if parent is None else places.REVIVED_CHILD)
    actor.frame_bytes, actor.snapshot_bytes = stored.frame_bytes, stored.snapshot_bytes
    now = kernel.clock.now()
    for command in interrupted_commands(state, crashed=crashed):
        actor._rule(command, now)
        kernel.restarts += 1
        kernel.reached(places.RESTARTED)
    actor.orphans += [call.n for call in state.unfinished_calls() if _is_orphan(state, call)]
    kernel.awake(actor)
    kernel.dispatcher.wake(actor)
    return actor


def _is_orphan(state: RunState, call: Call) -> bool:
    """Whether nobody will ask for the child of this call again."""
    waits = call.by in state.armed or call.by in state.suspended
    return call.unwanted or state.phase is not Phase.OPEN or not waits


async def take_up(kernel: Kernel, run_id: str, *, crashed: bool = True, cuts: Cuts | None = None) -> RunActor | None:
    """Go on with a stored run, and with those above and below it that run; None if it is over.

    Raises `RunNotFound` if there is none, and what stands in the way of it or of a run above it.
    """
    found = kernel.find(run_id)
    if found is not None:
        return None if found.ended else found
    async with kernel.reviving:  # one at a time: between a look at the journal and the actor, nobody else makes one
        return await _take_up(kernel, run_id, crashed, cuts or Cuts(kernel.journal))


async def _take_up(kernel: Kernel, run_id: str, crashed: bool, cuts: Cuts) -> RunActor | None:
    found = kernel.find(run_id)
    if found is not None:
        return None if found.ended else found
    header = await kernel.journal.header(run_id)
    if header is None:
        raise unknown(run_id)
    parent = None
    if header.parent_id and header.status not in RUN_OVER:
        parent = await _take_up(kernel, header.parent_id, crashed, cuts)
        found = kernel.find(run_id)
        if found is not None:  # its parent has taken it up
            return None if found.ended else found
    stored = await load(kernel.journal, run_id)  # not before: it may have gone on with its parent, and ended
    if stored.header.status in RUN_OVER:
        return kernel.find(run_id)
    above = await cuts.of(header.parent_id, stored.facts) if header.parent_id and stored.snapshot is None else None
    if parent is not None:
        parent.check_usable()  # it may have stopped again meanwhile
    actor = revive(kernel, stored, crashed=crashed, parent=parent, inherited=above)
    if parent is not None:
        tell_again(actor, parent)
    for call in list(actor.state.calls.values()):
        if call.status is RunStatus.RUNNING:
            name = child_id(run_id, call.n)
            try:
                await _take_up(kernel, name, crashed, cuts)
            except (DefinitionError, JournalCorrupt, RunNotFound) as error:
                kernel.unrecovered[name] = error  # its own trouble: the others go on
    return actor


async def take_up_and_tell(kernel: Kernel, run_ids: Sequence[str], command: c.Command) -> None:
    """Take up runs that rest in the journal, and tell them something."""
    cuts = Cuts(kernel.journal)
    for run_id in run_ids:
        pause = REPAIR_FIRST_S
        while True:
            try:
                actor = await take_up(kernel, run_id, cuts=cuts)
            except (DefinitionError, JournalCorrupt, RunNotFound) as error:
                LOG.error("run %s cannot be taken up: %s", run_id, error)
                kernel.unrecovered[run_id] = error
                _give_up(kernel, run_id, error)
            except ActorflowError as error:
                LOG.warning("run %s cannot be taken up now: %s", run_id, error)
                if not kernel.closing:
                    await trio.sleep(pause)
                    pause = min(2 * pause, REPAIR_MAX_S)
                    continue
            else:
                if actor is not None:
                    actor.tell_control(command)
            break


def _give_up(kernel: Kernel, run_id: str, error: ActorflowError) -> None:
    """A child that cannot be taken up to be cancelled is left as it is; its parent does not wait for it."""
    parent_id, mark, call = run_id.rpartition(CHILD_MARK)
    parent = kernel.find(parent_id) if mark else None
    if parent is not None:
        parent.tell_control(
            c.ReportChild(int(call), RunStatus.FAILED, error_type=type(error).__name__, message=str(error))
        )


async def take_up_all(kernel: Kernel) -> None:
    """Go on with everything unfinished; a run that cannot be taken up is left as it is and reported."""
    cuts = Cuts(kernel.journal)
    for header in reversed(await kernel.journal.headers(statuses=[RunStatus.RUNNING])):
        try:
            await take_up(kernel, header.run_id, cuts=cuts)
        except ActorflowError as error:
            if kernel.broken_runs and isinstance(error, JournalError) and not isinstance(error, JournalCorrupt):
                kernel.broken_runs[header.run_id] = error  # a write failed meanwhile: it goes on when writing works
            else:
                kernel.unrecovered[header.run_id] = error
        await trio.lowlevel.checkpoint()


async def look_at_suspended(kernel: Kernel, *, examine: bool) -> None:
    """Suspended runs stay in the journal: they are counted, and those that time will wake have an alarm set.

    Those of workflows that this runtime does not know go into `unrecovered`; unless `examine`, all are only counted.
    """
    after: str | None = None
    cuts, checked = Cuts(kernel.journal), 0
    while True:
        page = await kernel.journal.headers(statuses=[RunStatus.SUSPENDED], limit=PAGE, after=after)
        for header in page if examine else ():
            try:
                definition = definition_for(kernel, header)
                if checked < CHECKED_MAX:
                    checked += 1
                    stored = await load(kernel.journal, header.run_id)
                    check_steps(await stored_state(kernel.journal, stored, cuts=cuts), definition)
            except ActorflowError as error:
                kernel.unrecovered[header.run_id] = error
            else:
                kernel.set_alarm(header.run_id, header.wake_at)
        kernel.suspended += len(page)
        if len(page) < PAGE:
            return
        after = page[-1].run_id


async def repair(kernel: Kernel) -> None:
    """Go on with runs whose journal failed, as soon as it works again, from what it holds."""
    pause = REPAIR_FIRST_S
    while True:
        if not kernel.broken_runs:
            pause = REPAIR_FIRST_S
            kernel.repair = trio.Event()
            await kernel.repair.wait()
            kernel.repair = None
        await trio.sleep(pause)
        pause = min(2 * pause, REPAIR_MAX_S)
        for run_id in list(kernel.broken_runs):
            if run_id in kernel.broken_runs:
                await _repair_tree(kernel, run_id)
        await kernel.dispatcher.idle()


async def _repair_tree(kernel: Kernel, run_id: str) -> None:
    """A run goes on together with those above and below it, which have stopped with it."""
    async with kernel.reviving:
        await _revive_tree(kernel, run_id)


async def _revive_tree(kernel: Kernel, run_id: str) -> None:
    first = kernel.find(run_id)
    actors: list[RunActor] = []
    if first is not None:
        if first.broken is None:  # it has been taken up with another one
            kernel.broken_runs.pop(run_id, None)
            return
        kernel.broken(first, first.broken)  # all of them: none may go on beside its successor
        actors = kernel.tree(first)
    if any(actor.passes for actor in actors):
        return  # their steps have not ended yet
    stopped: dict[str, RunActor | None] = {actor.state.run_id: actor for actor in actors}
    stopped = stopped or {run_id: None}
    try:
        kernel.reached(places.REPAIRS)
        headers = {name: await kernel.journal.header(name) for name in stopped}  # if there is anybody to ask
        for name, actor in stopped.items():
            kernel.actors.pop(name, None)
            kernel.resting.pop(name, None)
            kernel.broken_runs.pop(name, None)  # now: it may stop again before all have been taken up
            header = headers[name]
            if actor is not None and actor.header is not None:  # what it counted as may never have become true
                kernel.status_changed(actor.header.status, RunStatus.COMPLETED if header is None else header.status)
                actor.header = header
        for name, header in headers.items():
            if header is not None:
                await _take_up(kernel, name, False, Cuts(kernel.journal))
    except RuntimeClosed:
        return  # the block ends meanwhile; the next opening takes them up
    except ActorflowError as error:
        for name, actor in stopped.items():
            if actor is not None and kernel.find(name) is None:
                kernel.actors[name] = actor
            if actor is None or kernel.find(name) is actor:
                kernel.broken_runs[name] = error
        for name in stopped:
            again = kernel.find(name)
            if again is not None:
                kernel.broken(again, error)  # those that went on stop with the rest

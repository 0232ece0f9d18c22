"""Forks: a new run that shares the beginning of another, with the children that were not over then.

What lives here: finding the place, copying the facts, taking the new run up. What does not: the folding (`inspect`).

Parent and child have journals of their own; how far each had come is told by the times of their facts. A child that
was over then is only its result. One that was not is forked with its parent; if it has ended since, and its values are
gone with it, it begins anew with what it inherits.
"""

from __future__ import annotations

import json
import re
from copy import copy
from math import nextafter
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, evolve, field

from .._core import facts as f
from .._core.apply import fold
from .._core.apply_child import inherited
from .._core.lifecycle import RUN_OVER, Phase, RunStatus
from .._core.react import open_gates, wake_at
from .._core.run_state import RunState
from .._core.store_state import value_text
from .._core.values import encode
from .._ids import activation_id, child_id, place_of
from ..abc import Append, RunHeader
from ..errors import InputError, RunExists, RunOver
from .inspect import Cuts, check_seq, check_values, unknown
from .kernel import Kernel
from .recovery import definition_for, take_up
from .starting import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .._core.plan import RunPlan
    from .._core.store_state import Value
    from .handle import Run
    from .runtime import Runtime
    from .supervisor import RunActor

_BELOW: Final = re.compile(r"\d+(\.\d+)+")
"""The id of an activation in a child, seen from the run above."""


@define(eq=False)
class _Fork:
    """One fork on its way: what it will commit, and where single runs of the tree are cut."""

    kernel: Kernel
    moment: float
    """What a child has done later is not shared."""
    cuts: dict[str, int] = field(factory=dict)
    appends: list[Append] = field(factory=list)


async def fork_run(runtime: Runtime, run_id: str, *, at: int | None, before: str | None, new_id: str | None) -> Run:
    """The body of `Run.fork`."""
    kernel = runtime._kernel
    kernel.check_accepting()
    if at is not None and before is not None:
        raise InputError(f"fork(at={at!r}, before={before!r}): give one of them")
    await trio.lowlevel.checkpoint_if_cancelled()
    await kernel.dispatcher.flush()
    header = await kernel.journal.header(run_id)
    if header is None:
        raise unknown(run_id)
    definition = definition_for(kernel, header)
    check_values(header, definition.plan.keep_state)
    fork = _Fork(kernel, kernel.clock.now())  # before reading: no child may be ahead of the runs above it
    facts = await kernel.journal.read(run_id)
    above = await Cuts(kernel.journal).of(header.parent_id, facts) if header.parent_id else {}
    last = await _last(fork, header, facts, above, at, before)
    while last < len(facts) and not any(isinstance(fact, _BEGINS) for fact in facts[:last]):
        last += 1  # the first facts of a run are one: without its first step there would be nothing to go on with
    name = kernel.clock.new_run_id() if new_id is None else checked_run_id(new_id)
    shared = _uprooted([copy(fact) for fact in facts[:last]], above)
    state = _folded(RunState(name), definition.plan, shared)
    if state.phase is Phase.OVER:
        raise InputError(f"at fact {last} run {run_id!r} was already over; fork it at an earlier one, or before a step")
    if kernel.find(name) is not None or await kernel.journal.header(name) is not None:
        raise RunExists(f"run id {name!r} is taken; choose another", run_id=name)
    _keep(fork, header, state, shared)
    if last < len(facts) and not fork.cuts:  # all that the children did before the first fact that is not shared
        fork.moment = max(shared[-1].at, nextafter(facts[last].at, 0.0))
    await _fork_children(fork, run_id, state)
    await trio.lowlevel.checkpoint_if_cancelled()
    with trio.CancelScope(shield=True):  # bounded by one commit and a few reads: there is a fork, or there is none
        actor = await _begin(fork, name)
    return runtime._handle(name, header.workflow_id, actor)


async def _begin(fork: _Fork, name: str) -> RunActor | None:
    """Write the fork, and let it and its children go on."""
    kernel = fork.kernel
    await kernel.commit(fork.appends)
    for append in fork.appends:
        if append.header is not None:
            kernel.status_changed(RunStatus.RUNNING, append.header.status)
            kernel.set_alarm(append.run_id, append.header.wake_at)  # a child may stay in the journal
    actor = await take_up(kernel, name, crashed=False)
    for append in fork.appends[1:]:  # also one whose parent thinks it suspended, and which begins anew
        if append.header is not None and (append.header.status is RunStatus.RUNNING or not kernel.journal.durable):
            await take_up(kernel, append.run_id, crashed=False)  # nothing rests in a journal that does not last
    return actor


_BEGINS: Final = (f.StepScheduled, f.NodeEntered)


def _folded(state: RunState, plan: RunPlan, facts: Sequence[f.Fact]) -> RunState:
    """The state after these facts, with the gates of the plan: a step that they hold may be what wakes the run."""
    open_gates(state, plan)
    return fold(state, facts)


def _keep(fork: _Fork, header: RunHeader, state: RunState, facts: Sequence[f.Fact]) -> None:
    plan = definition_for(fork.kernel, header).plan
    copied = RunHeader(
        run_id=state.run_id,
        workflow_id=header.workflow_id,
        version=header.version,
        source=header.source,
        status=state.status,
        parent_id=state.parent_id,
        created=fork.kernel.next_created(),
        started_at=header.started_at,
        wake_at=wake_at(state, plan) if state.status is RunStatus.SUSPENDED else 0.0,
        fingerprint=header.fingerprint,
    )
    fork.appends.append(Append(run_id=state.run_id, first_seq=1, facts=facts, header=copied))


def _uprooted(facts: list[f.Fact], above: Mapping[str, Value]) -> list[f.Fact]:
    """The facts of a child as those of a run of its own: what it inherited is what it was given."""
    found: list[f.Fact] = []
    for fact in facts:
        if isinstance(fact, f.RunStarted):
            found.append(evolve(fact, parent_id="", prefix=""))
        elif not isinstance(fact, f.ChildAttached):
            found.append(fact)
        elif above:
            found.append(f.StateSeeded(fact.at, {key: value_text(value) for key, value in above.items()}))
    return found


# --- the children


async def _fork_children(fork: _Fork, old_id: str, state: RunState) -> None:
    """The children that were open in `state`, with their own children, under the new run."""
    journal = fork.kernel.journal
    values = Cuts(journal)
    for call in state.calls.values():
        if call.status in RUN_OVER:
            continue
        name = child_id(old_id, call.n)
        header = await journal.header(name)
        if header is None:
            raise unknown(name)
        facts = await journal.read(name)
        above = await values.of(old_id, facts)
        if header.status in RUN_OVER and not definition_for(fork.kernel, header).plan.keep_state:
            shared = _begun_anew(fork.kernel, header, facts, above)
        else:
            last = fork.cuts.get(name, len(facts))
            shared = _until(facts[:last], fork.moment)
        shared = _replanted([copy(fact) for fact in shared], state, call.n)
        below = RunState(child_id(state.run_id, call.n))
        below.inherited = above
        _folded(below, definition_for(fork.kernel, header).plan, shared)
        _keep(fork, header, below, shared)
        await _fork_children(fork, name, below)


def _until(facts: Sequence[f.Fact], moment: float) -> list[f.Fact]:
    """What a child had done at that moment; at least its first facts, which are one with the call, though later."""
    found: list[f.Fact] = []
    begun = False
    for fact in facts:
        if isinstance(fact, f.RunEnded) or (begun and fact.at > moment):
            break
        begun = begun or isinstance(fact, _BEGINS)
        found.append(fact)
    return found


def _replanted(facts: list[f.Fact], above: RunState, call: int) -> list[f.Fact]:
    """The facts of a child as those of the same call of `above`: its ids and its path begin where that run's do."""
    for index, fact in enumerate(facts[:2]):
        if isinstance(fact, f.RunStarted):
            facts[index] = evolve(fact, parent_id=above.run_id, prefix=activation_id(above.prefix, call) + ".")
        elif isinstance(fact, f.ChildAttached):
            path = [*json.loads(above.path), json.loads(fact.path)[-1]]  # its last part is the step that called
            facts[index] = evolve(fact, path=encode(path))
    return facts


def _begun_anew(
    kernel: Kernel, header: RunHeader, facts: Sequence[f.Fact], above: Mapping[str, Value]
) -> Sequence[f.Fact]:
    """The first facts of a child whose values are gone."""
    attached = facts[1]
    assert isinstance(attached, f.ChildAttached)
    if not attached.inherits:
        raise RunOver(
            f"child run {header.run_id!r} was not over at that fact, and has ended since: the state that it was given "
            "is gone; fork before the step that called it, or set keep_state on its workflow",
            run_id=header.run_id,
        )
    schema = definition_for(kernel, header).state
    begun: list[f.Fact] = list(facts[:2])
    if schema is not None:
        begun.append(f.StateSeeded(attached.at, schema.defaults_beside(inherited(above, attached.inherits))))
    begin = next((fact for fact in facts[2:4] if isinstance(fact, f.StepScheduled)), None)
    return begun if begin is None else [*begun, begin]


# --- the place


async def _last(
    fork: _Fork,
    header: RunHeader,
    facts: Sequence[f.Fact],
    above: Mapping[str, Value],
    at: int | None,
    before: str | None,
) -> int:
    """The number of the last fact that the new run shares."""
    if at is not None:
        last = check_seq(at, len(facts))
        if last < 1:
            raise InputError(f"fork(at={at!r}): a run begins with fact 1")
        return last
    if before is None:
        return len(facts)
    if not isinstance(before, str):
        raise InputError(f"fork(before={before!r}): give a step id or an activation id")
    started = facts[0]
    prefix = started.prefix if isinstance(started, f.RunStarted) else ""
    if before.startswith(prefix) and _BELOW.fullmatch(before[len(prefix) :]):
        return await _below(fork, header.run_id, facts, before, prefix)
    return place(facts, before, above)


async def _below(fork: _Fork, run_id: str, facts: Sequence[f.Fact], before: str, prefix: str) -> int:
    """A place in a child: it is cut there, the runs above it at that moment."""
    below = before[len(prefix) :]
    name, _ = place_of(run_id, below)
    header = await fork.kernel.journal.header(name)
    if header is None:
        raise InputError(f"fork(before={before!r}): this run has no activation of that name")
    check_values(header, definition_for(fork.kernel, header).plan.keep_state)
    inner = await fork.kernel.journal.read(name)
    fork.cuts[name] = place(inner, before, await Cuts(fork.kernel.journal).of(header.parent_id, inner))
    cut = fork.cuts[name]
    moment = fork.moment = inner[cut].at if cut < len(inner) else fork.moment
    outer = int(below.partition(".")[0])
    for seq, fact in enumerate(facts):
        if fact.at > moment or (isinstance(fact, f.ChildEnded) and fact.n == outer):
            return seq
    return len(facts)


def place(facts: Sequence[f.Fact], before: str, above: Mapping[str, Value]) -> int:
    """The number of the last fact before the step, or the activation, `before` first starts."""
    state = RunState("")
    state.inherited = above
    for seq, fact in enumerate(facts):
        fold(state, [fact])
        if isinstance(fact, f.StepStarted):
            activation = state.live[fact.n]
            if before in (activation.step, activation_id(state.prefix, fact.n)):
                return seq
    if any(before in (item.step, activation_id(state.prefix, n)) for n, item in state.armed.items()):
        return len(facts)  # it has not started yet: that is now
    raise InputError(f"fork(before={before!r}): no step or activation of that name has started in this run")

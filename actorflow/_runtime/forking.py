"""Forks: a new run that shares the beginning of another.

What lives here: finding the place, copying the facts, taking the new run up. What does not: the folding (`inspect`).
"""

from __future__ import annotations

from copy import copy
from typing import TYPE_CHECKING

from attrs import evolve

from .._core import facts as f
from .._core.apply import fold
from .._core.lifecycle import Phase, RunStatus
from .._core.run_state import RunState
from .._ids import activation_id
from ..abc import Append, RunHeader, StoredRun
from ..errors import InputError, RunExists
from .inspect import check_seq, check_values, unknown
from .recovery import definition_for, revive
from .starting import checked_run_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .handle import Run
    from .runtime import Runtime


async def fork_run(runtime: Runtime, run_id: str, *, at: int | None, before: str | None, new_id: str | None) -> Run:
    """The body of `Run.fork`."""
    kernel = runtime._kernel
    kernel.check_accepting()
    if at is not None and before is not None:
        raise InputError(f"fork(at={at!r}, before={before!r}): give one of them")
    await kernel.dispatcher.flush()
    header = await kernel.journal.header(run_id)
    if header is None:
        raise unknown(run_id)
    definition = definition_for(kernel, header)
    check_values(header, definition.plan.keep_state)
    facts = await kernel.journal.read(run_id)
    last = check_seq(at, len(facts)) if at is not None else len(facts) if before is None else place(facts, before)
    if last < 1:
        raise InputError(f"fork(at={at!r}): a run begins with fact 1")
    while last < len(facts) and not any(isinstance(fact, f.StepScheduled) for fact in facts[:last]):
        last += 1  # the first facts of a run are one: without `start` there would be nothing to go on with
    shared = [copy(fact) for fact in facts[:last]]
    name = kernel.clock.new_run_id() if new_id is None else checked_run_id(new_id)
    state = fold(RunState(name), shared)
    if state.phase is Phase.OVER:
        raise InputError(f"at fact {last} run {run_id!r} was already over; fork it at an earlier one, or before a step")
    if kernel.find(name) is not None or await kernel.journal.header(name) is not None:
        raise RunExists(f"run id {name!r} is taken; choose another", run_id=name)
    copied = RunHeader(
        run_id=name,
        workflow_id=header.workflow_id,
        version=header.version,
        source=header.source,
        status=RunStatus.RUNNING,
        created=kernel.next_created(),
        started_at=header.started_at,
        fingerprint=header.fingerprint,
    )
    await kernel.commit([Append(run_id=name, first_seq=1, facts=shared, header=copied)])
    actor = revive(kernel, StoredRun(header=evolve(copied), facts=shared), crashed=False)
    return runtime._handle(name, header.workflow_id, actor)


def place(facts: Sequence[f.Fact], before: str) -> int:
    """The number of the last fact before the step, or the activation, `before` first starts."""
    if not isinstance(before, str):
        raise InputError(f"fork(before={before!r}): give a step id or an activation id")
    state = RunState("")
    for seq, fact in enumerate(facts):
        fold(state, [fact])
        if isinstance(fact, f.StepStarted):
            activation = state.live[fact.n]
            if before in (activation.step, activation_id(state.prefix, fact.n)):
                return seq
    raise InputError(f"fork(before={before!r}): no step or activation of that name has started in this run")

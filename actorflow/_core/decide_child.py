"""Suspensions and child runs: what is asked of a run about them, and what that leads to.

What lives here: one small function per command of these. What does not: writing (`apply`, `apply_child`), carrying
news between parent and child (the shell).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._ids import activation_id
from ..errors import ActorflowError, NotSuspended
from . import commands as c
from . import facts as f
from .decide_steps import closed_to_steps, is_cut_off
from .decide_store import check_all
from .lifecycle import RUN_OVER, Phase, RunStatus
from .ruling import NOTHING, Ruling

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .plan import RunPlan
    from .run_state import RunState


def _suspend_step(state: RunState, plan: RunPlan, command: c.SuspendStep, now: float) -> Ruling:
    n = command.n
    if n not in state.live:
        return NOTHING
    if is_cut_off(state, n):
        return Ruling((f.StepCancelled(now, n),))
    suspended = f.StepSuspended(now, n, command.call, command.label, command.payload)
    call = state.calls.get(command.call)
    if command.call and (call is None or call.status is not RunStatus.SUSPENDED):
        return Ruling((suspended, f.StepResumed(now, n, "")))  # the child has gone on meanwhile
    return Ruling((suspended,))


def _resume_step(state: RunState, plan: RunPlan, command: c.ResumeStep, now: float) -> Ruling:
    activation = state.suspended.get(command.n)
    is_asking = activation is not None and not activation.call and activation.wakes == command.wakes
    if not is_asking or state.phase is not Phase.OPEN:
        raise NotSuspended(
            f"activation {activation_id(state.prefix, command.n)} of run {state.run_id!r} is not suspended (any more); "
            "describe() shows what is",
            run_id=state.run_id,
        )
    return Ruling((f.StepResumed(now, command.n, command.data),))


def _start_child(state: RunState, plan: RunPlan, command: c.StartChild, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise closed_to_steps(state)
    command.prepared = command.prepare(state.store.values)
    return Ruling((f.ChildStarted(now, state.next_n, command.by, command.workflow_id, command.input),))


def _report_child(state: RunState, plan: RunPlan, command: c.ReportChild, now: float) -> Ruling:
    call = state.calls.get(command.call)
    if call is None or call.status is command.status or call.status in RUN_OVER:
        return NOTHING
    n = command.call
    if command.status is RunStatus.SUSPENDED:
        return Ruling((f.ChildPaused(now, n),))
    if command.status is RunStatus.RUNNING:
        return Ruling((f.ChildWoken(now, n),))
    status, output, error_type, message = command.status.value, command.output, command.error_type, command.message
    operations = list(command.operations)
    if operations:
        try:
            check_all(state, plan, n, operations, {}, now)
        except ActorflowError as error:
            status, output, operations = RunStatus.FAILED.value, "null", []
            error_type = type(error).__name__
            message = f"its changes do not fit the run that called it: {error}"
    return Ruling((f.ChildEnded(now, n, status, output, error_type, message, operations),))


def _abandon_call(state: RunState, plan: RunPlan, command: c.AbandonCall, now: float) -> Ruling:
    call = state.calls.get(command.call)
    if call is None or call.unwanted or call.status in RUN_OVER:
        return NOTHING
    return Ruling((f.ChildAbandoned(now, command.call),))


def _claim_event(state: RunState, plan: RunPlan, command: c.ClaimEvent, now: float) -> Ruling:
    if state.phase is not Phase.OPEN or not state.kept.get(command.event):
        return NOTHING
    return Ruling((f.EventForwarded(now, command.event, command.child),))


DECIDE_CHILD: Final[Mapping[type, Callable[..., Ruling]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    c.SuspendStep: _suspend_step,
    c.ResumeStep: _resume_step,
    c.StartChild: _start_child,
    c.ReportChild: _report_child,
    c.AbandonCall: _abandon_call,
    c.ClaimEvent: _claim_event,
}
"""The part of `DECIDE` that is decided here."""

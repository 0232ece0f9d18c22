"""The steps of a run: arming them, waiting for events, and what the end of a pass means.

What lives here: one small function per command of these. What does not: what a step asks while it runs
(`decide_store`), which step starts when (`react`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import RunOver
from . import commands as c
from . import facts as f
from .decide_store import check_all
from .lifecycle import Ending, Phase
from .policies import JoinKind
from .ruling import NOTHING, Ruling
from .run_state import Activation, RunState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .plan import RunPlan


def closed_to_steps(state: RunState) -> RunOver:
    """The error for who would still schedule something in a run that is ending."""
    return RunOver(
        f"run {state.run_id!r} is ending ({state.ending.value if state.ending else 'over'}): no step can be scheduled",
        run_id=state.run_id,
    )


def _schedule(state: RunState, plan: RunPlan, command: c.Schedule, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise closed_to_steps(state)
    if command.key and command.key in state.keys:
        return Ruling((), state.keys[command.key])
    due = max(now, command.due)
    return Ruling((f.StepScheduled(now, state.next_n, command.step, command.payload, due, command.by, command.key),))


def _schedule_many(state: RunState, plan: RunPlan, command: c.ScheduleMany, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise closed_to_steps(state)
    due = max(now, command.due)
    return Ruling((f.StepsScheduled(now, state.next_n, command.step, command.payloads, due, command.by),))


def _unschedule(state: RunState, plan: RunPlan, command: c.Unschedule, now: float) -> Ruling:
    item = state.armed.get(command.n)
    if item is None or (isinstance(item, Activation) and item.attempt):  # a step between two attempts has started
        return Ruling((), False)
    return Ruling((f.StepUnscheduled(now, command.n),))


def _open_wait(state: RunState, plan: RunPlan, command: c.OpenWait, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise closed_to_steps(state)
    n = state.next_n
    opened = f.WaitOpened(
        now, n, command.step, command.payload, command.event, command.deadline, command.on_timeout, command.by
    )
    if state.kept.get(command.event):
        return Ruling((opened, f.EventTaken(now, command.event, n)), n)
    return Ruling((opened,), n)


def _send_event(state: RunState, plan: RunPlan, command: c.SendEvent, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise closed_to_steps(state)
    waiting = state.waits.get(command.event)
    if command.waited_for and not waiting:
        return Ruling((), False)
    n = waiting[0] if waiting else 0
    return Ruling((f.EventReceived(now, command.event, command.data, n),), True)


# --- the ends of passes: a second report about the same pass decides to nothing


def _finish_step(state: RunState, plan: RunPlan, command: c.FinishStep, now: float) -> Ruling:
    n = command.n
    if n not in state.live:
        return NOTHING
    facts: list[f.Fact] = []
    if command.operations and check_all(state, plan, n, command.operations, command.marks, now):
        facts.append(f.TransactionApplied(now, n, list(command.operations), ""))
    next_n = state.next_n
    taken: set[str] = set()
    for ask in command.schedules if state.phase is Phase.OPEN else ():
        if isinstance(ask, c.Schedule):
            if ask.key:
                if ask.key in state.keys or ask.key in taken:
                    continue
                taken.add(ask.key)
            facts.append(f.StepScheduled(now, next_n, ask.step, ask.payload, now + ask.due, n, ask.key))
            next_n += 1
        else:
            facts.append(f.StepsScheduled(now, next_n, ask.step, ask.payloads, now + ask.due, n))
            next_n += len(ask.payloads)
    facts.extend(f.Emitted(now, n, emit.name, emit.data) for emit in command.emits)
    facts.append(f.StepCompleted(now, n, command.output))
    return Ruling(facts)


def _fail_step(state: RunState, plan: RunPlan, command: c.FailStep, now: float) -> Ruling:
    activation = state.live.get(command.n)
    if activation is None:
        return NOTHING
    retry = plan.steps[activation.step].retry
    failures = activation.failures + 1
    if command.retryable and failures < retry.attempts and not is_cut_off(state, command.n):
        due = now + retry.pause_s(failures, command.dice)
        return Ruling((f.AttemptFailed(now, command.n, command.error_type, command.message, due),))
    failed = f.StepFailed(now, command.n, command.error_type, command.message)
    return Ruling((failed, *stop_after_failure(state, plan, now)))


def is_cut_off(state: RunState, n: int) -> bool:
    """Whether a live step will not run again, whatever its pass says: the run is ending, or the join of its group is
    decided.
    """
    if state.phase is not Phase.OPEN:
        return True
    flow = state.flow
    return flow is not None and flow.group is not None and flow.group.closed


def stop_after_failure(state: RunState, plan: RunPlan, now: float) -> tuple[f.Fact, ...]:
    """What a failed step means for the others: under `ALL` the run stops at once; in a group its join decides."""
    if state.flow is not None and state.flow.group is not None:
        return ()
    if state.phase is Phase.OPEN and plan.join.kind is JoinKind.ALL:
        return (f.RunStopping(now, Ending.FAIL.value, "null", ""),)
    return ()


def _drop_step(state: RunState, plan: RunPlan, command: c.DropStep, now: float) -> Ruling:
    if command.n not in state.live:
        return NOTHING
    if command.n == state.hook:
        return Ruling((f.HookEnded(now, command.n, "", "Cancelled", "the hook was cancelled"),))
    return Ruling((f.StepCancelled(now, command.n),))


def _interrupt_step(state: RunState, plan: RunPlan, command: c.InterruptStep, now: float) -> Ruling:
    if command.n not in state.live:
        return NOTHING
    if command.n != state.hook and is_cut_off(state, command.n):
        return Ruling((f.StepCancelled(now, command.n),))
    return Ruling((f.StepInterrupted(now, command.n, command.crashed),))


def _finish_hook(state: RunState, plan: RunPlan, command: c.FinishHook, now: float) -> Ruling:
    if command.n not in state.live:
        return NOTHING
    return Ruling((f.HookEnded(now, command.n, command.output, command.error_type, command.message),))


DECIDE_STEPS: Final[Mapping[type, Callable[..., Ruling]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    c.Schedule: _schedule,
    c.ScheduleMany: _schedule_many,
    c.Unschedule: _unschedule,
    c.OpenWait: _open_wait,
    c.SendEvent: _send_event,
    c.FinishStep: _finish_step,
    c.FailStep: _fail_step,
    c.DropStep: _drop_step,
    c.InterruptStep: _interrupt_step,
    c.FinishHook: _finish_hook,
}
"""The part of `DECIDE` that is decided here."""

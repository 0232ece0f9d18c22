"""What a command leads to: facts, or the documented error. Nothing is changed here.

What lives here: `decide`, the table of one small function per command, and those functions that are about the run as
a whole; those about its steps are in `decide_steps`, those about its store in `decide_store`. `decide(state, plan,
command, now)` gives the facts and raises what the sender gets; `Ruling.reply` is what the sender is told when no fact
says it. What does not: what follows by itself from the new state (`react`), writing (`apply`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._ids import START
from . import commands as c
from . import facts as f
from .decide_child import DECIDE_CHILD
from .decide_steps import DECIDE_STEPS
from .decide_store import DECIDE_STORE
from .lifecycle import Ending, Phase
from .ruling import NOTHING, Ruling, over

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .plan import RunPlan
    from .run_state import RunState


def decide(state: RunState, plan: RunPlan, command: c.Command, now: float) -> Ruling:
    """The facts that `command` leads to at `now`; raises the error that its sender gets."""
    if state.phase is Phase.OVER and not isinstance(command, _AFTER_THE_END):
        raise over(state)
    return DECIDE[type(command)](state, plan, command, now)


def _start_run(state: RunState, plan: RunPlan, command: c.StartRun, now: float) -> Ruling:
    started = f.RunStarted(
        now,
        command.workflow_id,
        command.version,
        command.source,
        command.input,
        command.headers,
        command.fingerprint,
        command.prefix,
        command.parent_id,
    )
    facts: list[f.Fact] = [started]
    if command.attached is not None:
        facts.append(command.attached)
    if command.initial:
        facts.append(f.StateSeeded(now, dict(command.initial)))
    if plan.chain is None:
        facts.append(f.StepScheduled(now, 1, START, command.input, now, 0, ""))
    return Ruling(facts)


def _cancel_run(state: RunState, plan: RunPlan, command: c.CancelRun, now: float) -> Ruling:
    if state.phase is Phase.OPEN or (state.phase is Phase.HOOK and state.ending in (Ending.COMPLETE, Ending.BAIL)):
        return Ruling((f.RunStopping(now, Ending.CANCEL.value, "null", command.reason),))
    return NOTHING


def _bail(state: RunState, plan: RunPlan, command: c.Bail, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        return NOTHING
    return Ruling((f.RunStopping(now, Ending.BAIL.value, command.output, ""),))


def _tick(state: RunState, plan: RunPlan, command: c.Tick, now: float) -> Ruling:
    return NOTHING


_AFTER_THE_END: Final = (
    c.CancelRun, c.Tick, c.FinishStep, c.FailStep, c.DropStep, c.FinishHook, c.Unschedule, c.Bail, c.SuspendStep,
    c.ReportChild, c.AbandonCall, c.ClaimEvent,
)  # fmt: skip
"""Commands that may meet a run that has ended: the news is late, and nothing happens."""

DECIDE: Final[Mapping[type, Callable[..., Ruling]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    c.StartRun: _start_run,
    c.CancelRun: _cancel_run,
    c.Bail: _bail,
    c.Tick: _tick,
    **DECIDE_CHILD,
    **DECIDE_STEPS,
    **DECIDE_STORE,
}
"""One deciding function per kind of command."""

"""The pen for child runs, as their parent and as they themselves see it.

What lives here: the writing functions of these facts, and the letting go of calls that nobody can ask about any more.
What does not: suspensions of steps (`apply`), whether any of it happens (`decide_child`).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from . import facts as f
from .apply_schedule import take_kept
from .apply_store import operate_all
from .lifecycle import RUN_OVER, RunStatus
from .run_state import Activation, Call
from .store_state import key_bytes, value_bytes

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from .run_state import RunState
    from .store_state import Value


def _run_suspended(state: RunState, fact: f.RunSuspended) -> None:
    state.status = RunStatus.SUSPENDED


def _run_woken(state: RunState, fact: f.RunWoken) -> None:
    state.status = RunStatus.RUNNING


def _child_attached(state: RunState, fact: f.ChildAttached) -> None:
    state.call = fact.call
    state.path = fact.path
    state.merge = fact.merge
    if fact.merge:
        state.own = []
    if fact.inherits:
        values = inherited(state.inherited or {}, fact.inherits)
        state.store.values = values
        state.store.bytes = sum(value_bytes(value) + key_bytes(key) for key, value in values.items())
    state.inherited = None


def inherited(values: Mapping[str, Value], inherits: str) -> dict[str, Value]:
    """The part of the parent's store that a child begins with: values are shared, and never written in place."""
    if inherits == "*":
        return dict(values)
    return {key: values[key] for key in json.loads(inherits) if key in values}


def _child_started(state: RunState, fact: f.ChildStarted) -> int:
    n = fact.n
    state.next_n = n + 1
    state.calls[n] = Call(n, fact.by, fact.workflow_id)
    state.open_calls += 1
    state.running_calls += 1
    caller = state.live.get(fact.by)
    if caller is not None:
        caller.remember(("child", fact.workflow_id, fact.input, n))
        note_call(caller, n)
    return n


def note_call(caller: Activation, n: int) -> None:
    """The calls of a step are found through it: of all the calls of a run there may be ten thousand."""
    if caller.calls is None:
        caller.calls = []
    caller.calls.append(n)


def _child_paused(state: RunState, fact: f.ChildPaused) -> None:
    state.calls[fact.n].status = RunStatus.SUSPENDED
    state.running_calls -= 1


def _child_woken(state: RunState, fact: f.ChildWoken) -> None:
    state.calls[fact.n].status = RunStatus.RUNNING
    state.running_calls += 1


def child_ended(state: RunState, fact: f.ChildEnded) -> None:
    """A child is over: its changes come back, and the steps in it will never write here again."""
    call = state.calls[fact.n]
    state.open_calls -= 1
    state.running_calls -= call.status is RunStatus.RUNNING
    call.status = RunStatus(fact.status)
    call.output, call.error_type, call.message = fact.output, fact.error_type, fact.message
    if fact.operations:
        operate_all(state, fact.n, fact.operations)
    for number in state.guests_of.pop(fact.n, ()):
        del state.guests[number]
    caller = state.live.get(call.by) or state.suspended.get(call.by) or state.armed.get(call.by)
    if caller is None:
        del state.calls[fact.n]  # nobody waits for it any more
    elif call.unwanted and call.status is not RunStatus.COMPLETED and isinstance(caller, Activation):
        _forget_in_log(caller, (fact.n,))  # what completed before the cancellation reached it has happened, and counts


def _calls_of(state: RunState, activation: Activation) -> list[Call]:
    return [state.calls[n] for n in activation.calls or () if n in state.calls]


def forget_calls(state: RunState, activation: Activation) -> None:
    """A step has ended: what its calls gave is asked for no more."""
    for call in _calls_of(state, activation):
        if call.status in RUN_OVER:
            del state.calls[call.n]


def forget_failed_calls(state: RunState, activation: Activation) -> None:
    """A step will be tried again: children that have completed are its results, those that failed are called anew."""
    gone = {call.n: call for call in _calls_of(state, activation) if call.status is not RunStatus.COMPLETED}
    if gone:
        _forget_in_log(activation, gone.keys())
        for n, call in gone.items():
            if call.status in RUN_OVER:
                del state.calls[n]


def _forget_in_log(activation: Activation, gone: Collection[int]) -> None:
    """These calls will not be recognised any more: a pass that asks for the same calls anew."""
    log, leg = activation.log or [], activation.leg
    stays = [entry[0] != "child" or entry[3] not in gone for entry in log]
    activation.log = [entry for entry, stay in zip(log, stays, strict=True) if stay]
    activation.leg = sum(stays[:leg])  # what was there at the last resume, without what is gone


def _child_abandoned(state: RunState, fact: f.ChildAbandoned) -> None:
    state.calls[fact.n].unwanted = True


def _event_forwarded(state: RunState, fact: f.EventForwarded) -> str:
    return take_kept(state, fact.event)


APPLY_CHILD: Final[Mapping[type, Callable[..., object]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    f.RunSuspended: _run_suspended,
    f.RunWoken: _run_woken,
    f.ChildAttached: _child_attached,
    f.ChildStarted: _child_started,
    f.ChildAbandoned: _child_abandoned,
    f.ChildPaused: _child_paused,
    f.ChildWoken: _child_woken,
    f.EventForwarded: _event_forwarded,
}
"""The part of `APPLY` that is written here."""

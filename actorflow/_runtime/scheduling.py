"""The sender's side of scheduling: payloads and keys are checked and written out before the run hears of them.

What lives here: what `schedule_next_step`, `schedule_many` and `wait_for_event` share. What does not: those calls
(`context`), the names of actions (`names`), what arming a step means (`_core.decide`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final

import trio

from .._authoring.schema import unstructure
from .._core import commands as c
from .._core.facts import WaitOpened
from .._core.replay import UNMATCHED
from .._core.values import encode, shorten
from ..errors import InputError
from .names import action_of

if TYPE_CHECKING:
    from .._core.run_state import RunState
    from .passes import Pass
    from .supervisor import RunActor

BATCH: Final = 1000
"""Payloads that `schedule_many` sends at once: a million of them need no million in memory."""


def payload_text(actor: RunActor, name: str, payload: object) -> str:
    """A payload for the step `name`, checked, as JSON."""
    what = f"payload for {name!r}"
    text = actor.definition.steps[name].payload.unstructure(payload, what)
    actor.kernel.check_payload(text, what)
    return text


def nth_payload_text(actor: RunActor, name: str, payload: object, index: int) -> str:
    """`payload_text` for one of many; an error says which."""
    try:
        if actor.definition.steps[name].payload.kind is None:
            text = encode(payload, unstructure)
            if len(text) * 4 <= actor.kernel.limits.payload_bytes:
                return text
        return payload_text(actor, name, payload)
    except InputError as error:
        problems = {f"$[{index}]{path[1:]}": text for path, text in error.problems.items()}
        raise InputError(f"payload [{index}] of schedule_many: {error}", problems=problems) from error


def key_text(key: object, what: str = "key") -> str:
    """The `key=` of a step, or another name; "" for none."""
    if key is None:
        return ""
    if not isinstance(key, str) or not key:
        raise InputError(f"{what}={shorten(key)}: give a non-empty string")
    return key


def fallback_of(actor: RunActor, on_timeout: str | None, payload: object, timeout: object) -> str:
    """The step that runs when a wait times out; "" for none."""
    if on_timeout is None:
        return ""
    name = action_of(actor.definition, on_timeout)
    payload_text(actor, name, payload)
    if timeout is None:
        raise InputError(f"on_timeout={on_timeout!r} without timeout=: give the delay after which it runs")
    return name


def iterable_of(payloads: object) -> Iterable[object]:
    """What `schedule_many` was given, if it can be one payload after the other."""
    if isinstance(payloads, str | bytes | Mapping) or not isinstance(payloads, Iterable):
        raise InputError(f"schedule_many needs an iterable of payloads, got {shorten(payloads)}")
    return payloads


async def schedule_batch(owner: Pass, name: str, batch: list[str], due: float, now: float) -> int:
    """Arm one step per payload, as one message; how many."""
    n = owner.activation.n
    total = len(batch)
    if owner.replay is not None:
        await trio.lowlevel.checkpoint_if_cancelled()  # not later: the entries of those that match are taken now
        replay = owner.replay
        batch = [text for text in batch if replay.match("schedule", name, text) is UNMATCHED]
    if owner.buffer is not None:
        await trio.lowlevel.checkpoint()
        owner.buffer.schedules.append(c.ScheduleMany(n, name, batch, due - now))
    elif batch:
        await owner.actor.ask(c.ScheduleMany(n, name, batch, due), owner)
    else:
        await trio.lowlevel.cancel_shielded_checkpoint()
    return total


def due_of(state: RunState, n: int, asked: float) -> float:
    """When activation `n` is due: it may have been armed by an earlier call than the one that asks now."""
    item = state.armed.get(n) or state.live.get(n)
    return asked if item is None or isinstance(item, WaitOpened) else item.due

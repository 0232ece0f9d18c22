"""A run and the runs below it, as one: where it waits to be resumed, and who of them an event is for.

What lives here: finding the place, and sending the answer there. What does not: what resuming means
(`_core.decide_child`), one run's own looks (`inspect`).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import frozen

from .._authoring.schema import unstructure
from .._core import commands as c
from .._core.lifecycle import RUN_OVER
from .._core.values import encode, shorten
from .._ids import place_of
from ..errors import AmbiguousResume, InputError, NotSuspended, RunOver
from .inspect import Cuts, load, open_children, stored_state, suspensions_below
from .records import own_suspensions
from .waiting import inspect

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._authoring.definition import Definition
    from .._core.run_state import RunState
    from .kernel import Kernel
    from .records import Suspension
    from .supervisor import RunActor

T = TypeVar("T")

_ACTIVATION: Final = re.compile(r"\d+(\.\d+)*")


async def look_at(kernel: Kernel, run_id: str, look: Callable[[RunState], T], *, cuts: Cuts | None = None) -> T:
    """What `look` finds in the state of a run, wherever it is; nothing that is not durable yet."""
    actor = kernel.find(run_id)
    if actor is not None and actor.broken is None:
        return await inspect(actor, look)
    await trio.lowlevel.checkpoint()
    return look(await stored_state(kernel.journal, await load(kernel.journal, run_id), cuts=cuts))


async def suspensions_of(kernel: Kernel, run_id: str) -> list[Suspension]:
    """Where a run and its descendants wait to be resumed."""
    cuts = Cuts(kernel.journal)

    async def look(name: str) -> tuple[list[Suspension], list[str]]:
        return await look_at(kernel, name, lambda state: (own_suspensions(state), open_children(state)), cuts=cuts)

    return await suspensions_below(look, run_id)


# --- resuming


async def resume(kernel: Kernel, run_id: str, data: object, step: str | None, label: str | None) -> None:
    """The body of `Run.resume`."""
    for name, value in (("step", step), ("label", label)):
        if value is not None and not isinstance(value, str):
            raise InputError(f"resume({name}={shorten(value)}): give text")
    status, prefix = await look_at(kernel, run_id, lambda state: (state.status, state.prefix))
    if status in RUN_OVER:
        raise RunOver(f"run {run_id!r} is over ({status.value}): nothing of it can be resumed", run_id=run_id)
    if step is not None and _ACTIVATION.fullmatch(step) and step.startswith(prefix):
        target, n = place_of(run_id, step[len(prefix) :])
        question = await _question(kernel, target, n, step)
        if label in (None, question.label):
            await _answer(kernel, target, n, question, data)
            return
    found = await suspensions_of(kernel, run_id)
    chosen = [item for item in found if _is_meant(item, step, label)]
    if not chosen:
        raise _none(run_id, found, step, label)
    if len(chosen) > 1:
        names = tuple(item.activation_id for item in chosen)
        shown = ", ".join(f"{item.activation_id} ({'.'.join(item.path)})" for item in chosen)
        raise AmbiguousResume(
            f"{len(chosen)} steps of run {run_id!r} are suspended: {shown}; name one with step= (its id, path or "
            "activation id) or label=",
            run_id=run_id,
            candidates=names,
        )
    (item,) = chosen
    target, n = place_of(run_id, item.activation_id[len(prefix) :])
    question = await _question(kernel, target, n, item.activation_id)
    if (question.step, question.label) != (item.step_id, item.label or ""):
        raise NotSuspended(
            f"activation {item.activation_id} of run {run_id!r} has been answered already", run_id=run_id
        )
    await _answer(kernel, target, n, question, data)


def _is_meant(item: Suspension, step: str | None, label: str | None) -> bool:
    if label is not None and item.label != label:
        return False
    return step is None or step in (item.step_id, ".".join(item.path), item.activation_id)


def _none(run_id: str, found: list[Suspension], step: str | None, label: str | None) -> NotSuspended:
    asked = [f"step={step!r}"] if step is not None else []
    asked += [f"label={label!r}"] if label is not None else []
    where = ", ".join(f"{'.'.join(item.path)} ({item.activation_id})" for item in found) or "nothing"
    what = f"what {' and '.join(asked)} names is not suspended" if asked else "no step is suspended"
    return NotSuspended(f"run {run_id!r}: {what}; suspended: {where}", run_id=run_id, step_id=step)


@frozen
class _Question:
    """What a suspended activation waits for: its step, its label, and how often it has been answered before."""

    step: str
    label: str
    wakes: int


async def _question(kernel: Kernel, run_id: str, n: int, name: str) -> _Question:
    """The open question of an activation; `NotSuspended` if it has none."""
    if await kernel.journal.header(run_id) is None and kernel.find(run_id) is None:
        raise NotSuspended(f"there is no activation {name} in this run", run_id=run_id)

    def look(state: RunState) -> _Question | None:
        item = state.suspended.get(n)
        return None if item is None or item.call else _Question(item.step, item.label, item.wakes)

    found = await look_at(kernel, run_id, look)
    if found is None:
        raise NotSuspended(f"activation {name} of run {run_id!r} is not suspended", run_id=run_id)
    return found


async def _answer(kernel: Kernel, run_id: str, n: int, question: _Question, data: object) -> None:
    actor = await kernel.take_up(run_id)
    if actor is None:
        raise NotSuspended(f"run {run_id!r} is over", run_id=run_id)
    step = actor.definition.steps[question.step]
    what = f"resume data of step {question.step!r}"
    text = step.resume.check(data, what)
    kernel.check_payload(text, what)
    kernel.check_accepting()
    try:
        await actor.ask(c.ResumeStep(n, text, question.wakes))
    except RunOver as error:  # it has ended with its run, meanwhile
        raise NotSuspended(str(error), run_id=run_id) from None


# --- events


async def send_event(kernel: Kernel, run_id: str, event: str, data: object) -> bool:
    """The body of `Run.send_event`: to the run itself if it waits for the event, else to the first descendant that
    does, else kept in the run. False if the run is over.
    """
    actor = await kernel.take_up(run_id)
    text = _event_text(kernel, actor.definition if actor is not None else None, event, data)
    if actor is None:
        return False
    kernel.check_accepting()
    if not actor.open_children():
        await actor.ask(c.SendEvent(event, text))
        return True
    if await actor.ask(c.SendEvent(event, text, waited_for=True)):
        return True

    async def give(name: str) -> bool:
        child = await kernel.take_up(name)
        if child is None:
            return False
        own = _event_text(kernel, child.definition, event, data)
        return bool(await child.ask(c.SendEvent(event, own, waited_for=True)))

    async def offer(name: str) -> bool:
        actor.tell_control(c.ClaimEvent(event, name))
        return True

    cuts = Cuts(kernel.journal)
    if await _try_waiting(kernel, actor, event, cuts, give):
        return True
    await actor.ask(c.SendEvent(event, text))
    # A wait that is opened from now on asks for it; one that was opened while nobody looked has not found it.
    await _try_waiting(kernel, actor, event, cuts, offer)
    return True


async def _try_waiting(
    kernel: Kernel, actor: RunActor, event: str, cuts: Cuts, take: Callable[[str], Awaitable[bool]]
) -> bool:
    """Ask the descendants that wait for an event, nearest first, until one takes it; whether one did."""
    todo = actor.open_children()
    while todo:
        name = todo.pop(0)
        waits, below = await look_at(
            kernel, name, lambda state: (event in state.waits, open_children(state)), cuts=cuts
        )
        todo += below
        if waits and await take(name):
            return True
    return False


def _event_text(kernel: Kernel, definition: Definition | None, event: str, data: object) -> str:
    schema = definition.events.get(event) if definition is not None else None
    what = f"data of event {event!r}"
    text = encode(data, unstructure) if schema is None else schema.check(data, what)
    kernel.check_payload(text, what)
    return text

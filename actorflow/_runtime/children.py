"""Child runs: calling one from a step, beginning it under its parent, and carrying news between the two.

What lives here: the body of `run_child`, and what parent and child tell each other. What does not: what the news means
(`_core.decide_child`), when they are told (`supervisor`).

A child's first facts, and every news of it, go into the commit that also holds what its parent makes of them: after
a crash both know the same.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio

from .._authoring import kinds
from .._core import commands as c
from .._core import facts as f
from .._core.lifecycle import RUN_OVER, RunStatus
from .._core.merging import merged
from .._core.run_state import RunState
from .._core.store_state import Value, value_of, value_text
from .._core.values import encode, shorten
from .._ids import activation_id, child_id
from ..errors import (
    ActorflowError,
    DefinitionError,
    HookRestriction,
    InputError,
    NonRetryable,
    RunCancelled,
    RunFailed,
    StateTypeError,
    StepFailed,
)
from . import places
from .births import Seed
from .inspect import failures, output_of, rebuild
from .recalling import recall
from .starting import initial_values
from .unwinding import Suspended
from .waiting import call_settled, holds, stranded

if TYPE_CHECKING:
    from .._authoring.definition import Definition
    from .._authoring.schema import StateSchema
    from .._core.operations import Operation
    from .._core.run_state import Call
    from .births import Birth
    from .kernel import Kernel
    from .passes import Pass
    from .supervisor import RunActor


NEST_MAX: Final = 50
"""Levels through which news go up in one call; deeper ones wait for a turn, or Python's stack would end."""


# --- calling one


async def call_child(
    owner: Pass, workflow: object, data: object, initial_state: object, merge_state: bool | Collection[str]
) -> object:
    """The body of `run_child`."""
    actor = owner.actor
    kernel = actor.kernel
    if owner.buffer is not None:
        raise HookRestriction('run_child in a commit="on_success" step: it cannot be taken back')
    if owner.suspension is not None:
        raise Suspended  # the step has caught what ends its pass, and goes on as if it had not been said
    try:
        definition = kernel.definition_of(workflow)
    except DefinitionError:
        await stranded(owner)
        raise
    what = f"input of {definition.workflow_id!r}"
    text = definition.input.unstructure(data, what)
    kernel.check_payload(text, what)
    merge = merge_text(actor.definition, definition, merge_state)
    call = 0
    if owner.replay is not None:
        found = await recall(owner.replay, "child", definition.workflow_id, text)
        if isinstance(found, int) and await holds(owner, found):
            call = found
    if not call:
        given = None
        if initial_state is not None:
            given = Seed("", initial_values(kernel.limits, definition, initial_state))

        def prepare(values: Mapping[str, Value]) -> Seed:
            return given or seed_of(actor.definition.state, definition, values)

        reply = await actor.ask(c.StartChild(owner.activation.n, definition.workflow_id, text, prepare, merge), owner)
        assert isinstance(reply, int)
        call = reply
    with kernel.waits.of(owner, child_id(actor.state.run_id, call)):
        return await _outcome(owner, call, definition)


def seed_of(master: StateSchema | None, definition: Definition, values: Mapping[str, Value]) -> Seed:
    """What a child takes over of the store of its parent, as it stands now: the keys of its own state schema.

    Values are looked at only where the two schemas do not agree, so a snapshot costs the same whatever its size.
    Raises `InputError` for what the child cannot begin with.
    """
    schema = definition.state
    if schema is None:
        if definition.plan.keep_state:
            return Seed("", {key: value_text(value) for key, value in values.items()})
        return Seed("*", {})
    present = [key for key in schema.fields if key in values]
    problems: dict[str, str] = {}
    for key in present:
        part = schema.fields[key]
        other = None if master is None else master.fields.get(key)
        if other is None or not kinds.same_kind(part.kind, other.kind):
            try:
                schema.write_value(key, value_of(values[key]))
            except StateTypeError as error:
                problems[f"$.{key}"] = str(error)
    if problems:
        raise InputError(
            f"the state that {definition.workflow_id!r} inherits does not fit: {'; '.join(problems.values())}; "
            "give initial_state",
            problems=problems,
        )
    defaults = schema.defaults_beside(present)
    if definition.plan.keep_state:  # it may outlast the values of its parent, and must not need them
        return Seed("", {key: value_text(values[key]) for key in present} | defaults)
    return Seed(encode(present), defaults)


def merge_text(parent: Definition, child: Definition, merge: object) -> str:
    """`merge_state` as it is journaled; `InputError` for keys that one of the two does not have."""
    if isinstance(merge, bool):
        keys = None
        if not merge:
            return ""
    elif isinstance(merge, str) or not isinstance(merge, Collection) or not all(isinstance(key, str) for key in merge):
        raise InputError(f"merge_state={shorten(merge)}: give True, False or a list of keys")
    else:
        keys = list(merge)
    theirs, ours = child.state, parent.state
    for key in keys or ():
        for schema, name in ((theirs, child.workflow_id), (ours, parent.workflow_id)):
            if schema is not None and key not in schema.keys:
                raise InputError(f"merge_state: key {key!r} is not in the state of {name!r}")
    if ours is not None:
        common = [key for key in (keys if keys is not None else ours.fields) if theirs is None or key in theirs.keys]
        for key in common:
            if theirs is not None and not kinds.same_kind(theirs.fields[key].kind, ours.fields[key].kind):
                raise InputError(
                    f"merge_state: key {key!r} has another type in {child.workflow_id!r} than in {parent.workflow_id!r}"
                )
        keys = common
    return "*" if keys is None else encode(keys)


async def _outcome(owner: Pass, call: int, definition: Definition) -> object:
    actor = owner.actor
    while True:
        found = actor.state.calls[call]
        if found.status is RunStatus.SUSPENDED:
            raise owner.suspend(call, "", "null")
        if found.status in RUN_OVER:
            return await _result(actor, found, definition)
        try:
            await call_settled(actor, owner, call)
        except trio.Cancelled:
            if owner.stop_reason is None and owner.suspension is None and actor.broken is None:
                await _abandon(actor, owner, call)
                found = actor.state.calls[call]
                if found.status is RunStatus.COMPLETED:  # before the cancellation reached it: it has happened
                    return await _result(actor, found, definition)
            raise


async def _abandon(actor: RunActor, owner: Pass, call: int) -> None:
    """The step does not want the child any more, by a scope of its own: the child is cancelled and awaited."""
    # Bounded by the child's own end, or by the journal's trouble or the closing, which stop both.
    with trio.CancelScope(shield=True), suppress(ActorflowError):
        await actor.control(c.AbandonCall(call))
        while (found := actor.state.calls.get(call)) is not None and found.status not in RUN_OVER:
            if owner.stop_reason is not None or actor.broken is not None:
                return
            await call_settled(actor, owner, call)


async def _result(actor: RunActor, call: Call, definition: Definition) -> object:
    run_id = child_id(actor.state.run_id, call.n)
    if call.status is RunStatus.CANCELLED:
        why = f": {call.message}" if call.message else ""
        raise RunCancelled(f"child run {run_id!r} was cancelled{why}", run_id=run_id, reason=call.message)
    if call.status is RunStatus.FAILED:
        raise actor.child_errors.get(call.n) or await _failed_before(actor, call, run_id)
    return output_of(definition.output, call.output, run_id)


async def _failed_before(actor: RunActor, call: Call, run_id: str) -> RunFailed:
    """The failure of a child that ended in another process: its record tells it."""
    stored = await actor.kernel.journal.load(run_id)
    found = failures(rebuild(stored)) if stored is not None and stored.header.status is RunStatus.FAILED else ()
    text = f"child run {run_id!r} of {call.workflow_id!r} failed: {found[0] if found else call.message}"
    error = RunFailed(text, run_id=run_id, failures=found, is_final=call.error_type == NonRetryable.__name__)
    error.__cause__ = found[0] if found else None
    return error


# --- beginning one


def begin(kernel: Kernel, parent: RunActor, birth: Birth) -> None:
    """Make the child's actor and let it begin, in the commit that holds the call."""
    fact, above = birth.fact, parent.state
    definition = kernel.definitions[fact.workflow_id]
    run_id = child_id(above.run_id, fact.n)
    caller = above.live.get(fact.by)
    path = [*json.loads(above.path), caller.step if caller is not None else ""]
    attached = f.ChildAttached(fact.at, fact.n, birth.seq, encode(path), birth.seed.inherits, birth.merge)
    state = RunState(run_id)
    state.inherited = birth.values
    actor = type(parent)(kernel, definition, state, None)
    actor.parent = parent
    kernel.actors[run_id] = actor
    kernel.reached(places.BORN)
    actor.tell_control(
        c.StartRun(
            definition.workflow_id,
            definition.plan.version,
            definition.source,
            fact.input,
            above.headers,
            "child",
            birth.seed.values,
            activation_id(above.prefix, fact.n) + ".",
            above.run_id,
            attached,
        )
    )


# --- news


_STATUS: Final = {f.RunSuspended: RunStatus.SUSPENDED, f.RunWoken: RunStatus.RUNNING}


def link(actor: RunActor) -> None:
    """Begin children and carry news to the runs above and below; they have their turn before the commit."""
    if actor.births:
        births, actor.births = actor.births, []
        for birth in births:
            begin(actor.kernel, actor, birth)
    if actor.news:
        news, actor.news = actor.news, []
        _carry(actor, news)


def _carry(actor: RunActor, news: Sequence[f.Fact | tuple[c.ClaimEvent, object]]) -> None:
    for item in news:
        if isinstance(item, tuple):
            _forward(actor, *item)
        elif actor.parent is None:
            continue
        elif isinstance(item, f.WaitOpened | f.NodeEntered):
            if item.event and isinstance(actor.state.armed.get(item.n), f.WaitOpened):
                actor.parent.tell_control(c.ClaimEvent(item.event, actor.state.run_id))
        else:
            report(actor, actor.state.status if isinstance(item, f.RunEnded) else _STATUS[type(item)])


def _forward(actor: RunActor, claim: c.ClaimEvent, data: object) -> None:
    """Hand a kept event on to the descendant that waits for it, or ask for it further up."""
    if data is None:
        if actor.parent is not None:
            actor.parent.tell_control(claim)
        return
    child = actor.kernel.find(claim.child)
    if child is not None:
        child.tell_control(c.SendEvent(claim.event, str(data)))


def cancel_calls(actor: RunActor, calls: Sequence[int], reason: str) -> None:
    """Cancel the children of these calls, also those that rest in the journal."""
    absent: list[str] = []
    for n in calls:
        name = child_id(actor.state.run_id, n)
        child = actor.kernel.find(name)
        if child is None:
            absent.append(name)
        else:
            child.tell_control(c.CancelRun(reason))
    if absent:
        actor.kernel.fetch(absent, c.CancelRun(reason))


def tell_again(actor: RunActor, parent: RunActor) -> None:
    """A child was taken up: if its parent does not know how it stands (after a fork between the two), it is told."""
    call = parent.state.calls.get(actor.state.call)
    if call is not None and call.status is not actor.state.status:
        report(actor, actor.state.status)


def report(actor: RunActor, status: RunStatus) -> None:
    """Tell the parent that its child is suspended, goes on, or is over; in the same commit."""
    parent, state = actor.parent, actor.state
    if parent is None or not parent.open:
        return
    call = state.call
    command = c.ReportChild(call, status)
    if status is RunStatus.COMPLETED:
        command.output = state.output
        if state.own:
            command.operations = _given_back(parent, state, command)
    elif status is RunStatus.CANCELLED:
        command.message = state.reason
    elif status is RunStatus.FAILED:
        _tell_failure(actor, parent, command)
    if parent.idle and state.prefix.count(".") <= NEST_MAX:
        parent.execute(command)  # nothing has to be durable: whoever resumed the child finds its parent awake
    else:
        parent.tell_control(command)


def _given_back(parent: RunActor, state: RunState, command: c.ReportChild) -> list[Operation]:
    operations = merged(state.own or (), state.merge)
    schema = parent.definition.state
    if schema is not None and parent.kernel.definitions[state.workflow_id].state is None:
        try:
            for verb, key, argument in operations:
                _fit(schema, verb, key, argument)
        except ActorflowError as error:
            command.status, command.output = RunStatus.FAILED, "null"
            command.error_type = type(error).__name__
            command.message = f"its changes do not fit the run that called it: {error}"
            return []
    parent.kernel.reached(places.MERGES)
    tell = parent.kernel.clock.world.merged
    if tell is not None:
        tell(parent.state.run_id, [key for _, key, _ in operations])
    return operations


def _fit(schema: StateSchema, verb: str, key: str, argument: object) -> None:
    schema.check_key(key)
    if isinstance(argument, tuple):
        for item in argument:
            schema.check_item(key, str(item))
    elif isinstance(argument, str) and verb != "remove":
        schema.check_value(key, argument)
    elif isinstance(argument, int | float):
        schema.check_number(key, argument)


def _tell_failure(actor: RunActor, parent: RunActor, command: c.ReportChild) -> None:
    state = actor.state
    found = failures(state, actor.causes)
    first = found[0] if found else None
    final = first is not None and is_final(first)
    text = f"child run {state.run_id!r} of {state.workflow_id!r} failed: {first}"
    if len(found) > 1:
        text += f" (and {len(found) - 1} more)"
    error = RunFailed(text, run_id=state.run_id, failures=found, is_final=final)
    error.__cause__ = first
    parent.child_errors[state.call] = error
    command.error_type = NonRetryable.__name__ if final else first.error_type if first is not None else "RunFailed"
    command.message = first.message if first is not None else ""


def is_final(error: BaseException | None) -> bool:
    """Whether a failure says of itself that trying again is pointless: also one of a child, at any depth."""
    if isinstance(error, RunFailed):
        return error.is_final
    if isinstance(error, StepFailed):
        return error.error_type == NonRetryable.__name__ or is_final(error.__cause__)
    return isinstance(error, NonRetryable)

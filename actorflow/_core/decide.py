"""What a command leads to: facts, or the documented error. Nothing is changed here.

What lives here: one small function per command, and the table of them. `decide(state, plan, command, now)` gives the
facts and raises what the sender gets; `Ruling.reply` is what the sender is told when no fact says it. What does not:
what follows by itself from the new state (`react`), writing (`run_state.apply`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from .._ids import START, activation_id
from ..errors import InputError, LostUpdate, RunOver, StateTypeError, ValueTooLarge
from . import commands as c
from . import facts as f
from .lifecycle import Ending, Phase
from .operations import VERBS, Argument
from .plan import LostUpdates, RunPlan
from .policies import JoinKind
from .run_state import RunState, operate
from .store_state import SMALL, key_bytes, value_bytes
from .values import MAX_DIGITS, MISSING, decode, json_equal, size_of


@frozen
class Ruling:
    """The facts that a command leads to. The reply is that of the last fact's writing, unless `facts` is empty."""

    facts: Sequence[f.Fact]
    reply: object = None


_NOTHING: Final = Ruling(())
Decider = Callable[[RunState, RunPlan, c.Command, float], Ruling]


def decide(state: RunState, plan: RunPlan, command: c.Command, now: float) -> Ruling:
    """The facts that `command` leads to at `now`; raises the error that its sender gets."""
    if state.phase is Phase.OVER and not isinstance(command, _AFTER_THE_END):
        raise over(state)
    return DECIDE[type(command)](state, plan, command, now)


def over(state: RunState) -> RunOver:
    """The error for whoever still wants something of a run that has ended."""
    return RunOver(
        f"run {state.run_id!r} is over ({state.status.value}); start a new run, or read its record with describe()",
        run_id=state.run_id,
    )


# --- the run


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
    if command.initial:
        facts.append(f.StateSeeded(now, dict(command.initial)))
    facts.append(f.StepScheduled(now, 1, START, command.input, now, 0, ""))
    return Ruling(facts)


def _cancel_run(state: RunState, plan: RunPlan, command: c.CancelRun, now: float) -> Ruling:
    if state.phase is Phase.OPEN or (state.phase is Phase.HOOK and state.ending in (Ending.COMPLETE, Ending.BAIL)):
        return Ruling((f.RunStopping(now, Ending.CANCEL.value, "null", command.reason),))
    return _NOTHING


def _bail(state: RunState, plan: RunPlan, command: c.Bail, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        return _NOTHING
    return Ruling((f.RunStopping(now, Ending.BAIL.value, command.output, ""),))


def _tick(state: RunState, plan: RunPlan, command: c.Tick, now: float) -> Ruling:
    return _NOTHING


# --- scheduling


def _closed_to_steps(state: RunState) -> RunOver:
    return RunOver(
        f"run {state.run_id!r} is ending ({state.ending.value if state.ending else 'over'}): no step can be scheduled",
        run_id=state.run_id,
    )


def _schedule(state: RunState, plan: RunPlan, command: c.Schedule, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise _closed_to_steps(state)
    if command.key and command.key in state.keys:
        return Ruling((), state.keys[command.key])
    due = max(now, command.due)
    return Ruling((f.StepScheduled(now, state.next_n, command.step, command.payload, due, command.by, command.key),))


def _schedule_many(state: RunState, plan: RunPlan, command: c.ScheduleMany, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise _closed_to_steps(state)
    due = max(now, command.due)
    return Ruling((f.StepsScheduled(now, state.next_n, command.step, command.payloads, due, command.by),))


def _unschedule(state: RunState, plan: RunPlan, command: c.Unschedule, now: float) -> Ruling:
    item = state.armed.get(command.n)
    if item is None or getattr(item, "attempt", 0):  # a step between two attempts has started
        return Ruling((), False)
    return Ruling((f.StepUnscheduled(now, command.n),))


def _open_wait(state: RunState, plan: RunPlan, command: c.OpenWait, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise _closed_to_steps(state)
    n = state.next_n
    opened = f.WaitOpened(
        now, n, command.step, command.payload, command.event, command.deadline, command.on_timeout, command.by
    )
    if state.kept.get(command.event):
        return Ruling((opened, f.EventTaken(now, command.event, n)), n)
    return Ruling((opened,), n)


def _send_event(state: RunState, plan: RunPlan, command: c.SendEvent, now: float) -> Ruling:
    if state.phase is not Phase.OPEN:
        raise _closed_to_steps(state)
    waiting = state.waits.get(command.event)
    n = waiting[0] if waiting else 0
    return Ruling((f.EventReceived(now, command.event, command.data, n),))


# --- the run store


def decide_operation(
    state: RunState,
    plan: RunPlan,
    now: float,
    n: int,
    verb: str,
    key: str,
    argument: Argument,
    op_id: str,
    mark: int,
) -> f.OperationApplied | None:
    """The fact of one store operation, or None if it would change nothing. Taken apart from `Operate` because it is
    the hottest call of the library."""
    if state.phase is Phase.OVER:
        raise over(state)
    store = state.store
    old = store.values.get(key, MISSING)
    if mark >= 0 and verb == "set" and store.foreign_version(key, n) > mark:
        if plan.lost_updates is not LostUpdates.ALLOW:
            raise lost_update(state, key, n)
    try:
        changes = VERBS[verb].check(old, argument)
    except StateTypeError as error:
        raise StateTypeError(f"{verb}({key!r}): {error}", run_id=state.run_id, key=key) from None
    if not changes:
        return None
    limits = plan.limits
    if old is MISSING and len(store.values) + store.hidden_keys >= limits.keys:
        raise _too_large(state, key, "keys", limits.keys, limits.keys + 1)
    if store.bytes + _most_bytes(key, argument) > limits.state_bytes:
        _check_state_bytes(state, plan, verb, key, argument)
    return f.OperationApplied(now, n, verb, key, argument, op_id)


def _most_bytes(key: str, argument: Argument) -> int:
    """No operation with this argument lets the store grow by more: a bound that is quickly had."""
    if type(argument) is str:
        return size_of(argument) + size_of(key) + 8
    if type(argument) is tuple:
        return sum(map(size_of, argument)) + len(argument) + size_of(key) + 8
    return 16 + size_of(key) if argument is None or -SMALL < argument < SMALL else MAX_DIGITS  # type: ignore[operator]  # a number


def _check_state_bytes(state: RunState, plan: RunPlan, verb: str, key: str, argument: Argument) -> None:
    """Near the limit: what the store would hold exactly."""
    store = state.store
    old = store.values.get(key, MISSING)
    before = 0 if old is MISSING else value_bytes(old)
    if verb == "push":
        after = max(before, 2) + size_of(str(argument)) + 1
    elif verb == "extend" and isinstance(argument, tuple):
        after = max(before, 2) + sum(map(size_of, argument)) + len(argument)
    else:
        new, _ = VERBS[verb].write(old, argument)
        after = 0 if new is MISSING else value_bytes(new)
    grown = after - before + (key_bytes(key) if old is MISSING else 0)
    if grown > 0 and store.bytes + grown > plan.limits.state_bytes:
        raise _too_large(state, key, "state_bytes", plan.limits.state_bytes, store.bytes + grown)


def _too_large(state: RunState, key: str, what: str, limit: int, size: int) -> ValueTooLarge:
    return ValueTooLarge(
        f"key {key!r} would bring the run store of {state.run_id!r} to {size} ({what}), the limit is {limit}; "
        f"keep bulk data elsewhere, or raise Limits({what}=…)",
        run_id=state.run_id,
        key=key,
        what=what,
        limit=limit,
        size=size,
    )


def lost_update(state: RunState, key: str, n: int) -> LostUpdate:
    """The error for a `set` that would wipe out what another branch wrote since the key was read."""
    other = state.store.foreign_writer(key, n)
    mine = activation_id(state.prefix, n)
    theirs = activation_id(state.prefix, other) if other else "the start of the run"
    return LostUpdate(
        f"set({key!r}) by {_name(state, n)} (activation {mine}) would undo the change that {_name(state, other)} "
        f"(activation {theirs}) made after it was read; use increment, push, update or compare_and_set, "
        "or give the step a retry so that it reads afresh",
        run_id=state.run_id,
        key=key,
        activation_id=mine,
        other_activation_id=theirs,
    )


def _name(state: RunState, n: int) -> str:
    if n in state.live:
        return f"step {state.live[n].step!r}"
    if n in state.done:
        return f"step {state.done[n][1]!r}"
    return "another branch"


def _operate(state: RunState, plan: RunPlan, command: c.Operate, now: float) -> Ruling:
    if command.op_id and is_named(state, command.n, command.op_id):
        return Ruling((), named_reply(state, command.n, command.op_id, command.verb, command.key))
    if command.compute is not None:
        command.argument = command.compute(state.store.values.get(command.key, MISSING))
    fact = decide_operation(
        state, plan, now, command.n, command.verb, command.key, command.argument, command.op_id, command.mark
    )
    if fact is None:
        old = state.store.values.get(command.key, MISSING)
        return Ruling((), VERBS[command.verb].unchanged(old, command.argument))
    return Ruling((fact,))


def is_named(state: RunState, n: int, op_id: str) -> bool:
    """Whether activation `n` has applied an operation of this name."""
    named = state.live[n].named if n in state.live else None
    return named is not None and op_id in named


def named_reply(state: RunState, n: int, op_id: str, verb: str, key: str) -> object:
    """What the operation named `op_id` replied; `InputError` if the name belongs to something else."""
    named = state.live[n].named or {}
    named_verb, named_key, reply = named[op_id]
    if (named_verb, named_key) != (verb, key):
        raise InputError(
            f"op_id {op_id!r} already names {named_verb}({named_key!r}) in run {state.run_id!r}; "
            f"give {verb}({key!r}) another one",
            run_id=state.run_id,
            key=key,
        )
    return reply


def _transact(state: RunState, plan: RunPlan, command: c.Transact, now: float) -> Ruling:
    if command.op_id and is_named(state, command.n, command.op_id):
        return Ruling((), named_reply(state, command.n, command.op_id, "transaction", ""))
    if not check_all(state, plan, command.n, command.operations, command.marks, now):
        return _NOTHING
    return Ruling((f.TransactionApplied(now, command.n, list(command.operations), command.op_id),))


def check_all(
    state: RunState,
    plan: RunPlan,
    n: int,
    operations: Sequence[c.Operation],
    marks: Mapping[str, int],
    now: float,
) -> bool:
    """Whether `operations` change anything, checked one after the other on a copy of the keys they touch; raises what
    the first bad one raises."""
    scratch = scratch_of(state, operations)
    changes = False
    for verb, key, argument in operations:
        mark = marks.get(key, c.NO_MARK)
        if decide_operation(scratch, plan, now, n, verb, key, argument, "", mark) is not None:
            operate(scratch.store, n, verb, key, argument)
            changes = True
    return changes


def scratch_of(state: RunState, operations: Sequence[c.Operation]) -> RunState:
    """A stand-in for `state` that holds the keys of `operations` and can be written without harm.

    A list that is only grown is stood in for by an empty one of the same size in bytes, because a push onto the real
    view would extend the list that it shares; one that is also read is copied.
    """
    scratch = RunState(state.run_id, prefix=state.prefix)
    scratch.phase = state.phase
    scratch.live, scratch.done = state.live, state.done
    store = scratch.store
    real = state.store
    store.bytes, store.writes = real.bytes, real.writes
    only_grown: dict[str, bool] = {}
    for verb, key, _ in operations:
        only_grown[key] = only_grown.get(key, True) and verb in ("push", "extend")
    for key, grown in only_grown.items():
        if key in real.meta:
            store.meta[key] = real.meta[key]
        value = real.values.get(key, MISSING)
        if isinstance(value, tuple):
            items, length, size = value
            store.values[key] = ([], 0, size) if grown else (items[:length], length, size)
        elif value is not MISSING:
            store.values[key] = value
    store.hidden_keys = len(real.values) - len(store.values)
    return scratch


def _record_once(state: RunState, plan: RunPlan, command: c.RecordOnce, now: float) -> Ruling:
    activation = state.live.get(command.n)
    once = None if activation is None else activation.once
    if once is not None and command.name in once:
        return Ruling((), once[command.name])
    return Ruling((f.OnceRecorded(now, command.n, command.name, command.value),))


def _emit(state: RunState, plan: RunPlan, command: c.Emit, now: float) -> Ruling:
    return Ruling((f.Emitted(now, command.n, command.name, command.data),))


def _log(state: RunState, plan: RunPlan, command: c.Log, now: float) -> Ruling:
    return Ruling((f.Logged(now, command.n, command.attempt, command.level, command.message),))


# --- the ends of passes: a second report about the same pass decides to nothing


def _finish_step(state: RunState, plan: RunPlan, command: c.FinishStep, now: float) -> Ruling:
    n = command.n
    if n not in state.live:
        return _NOTHING
    facts: list[f.Fact] = []
    if command.operations and check_all(state, plan, n, command.operations, command.marks, now):
        facts.append(f.TransactionApplied(now, n, list(command.operations), ""))
    next_n = state.next_n
    taken = set(state.keys) if command.schedules else set()
    for ask in command.schedules if state.phase is Phase.OPEN else ():
        if isinstance(ask, c.Schedule):
            if ask.key in taken:
                continue
            if ask.key:
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
        return _NOTHING
    retry = plan.steps[activation.step].retry
    failures = activation.failures + 1
    if state.phase is Phase.OPEN and command.retryable and failures < retry.attempts:
        due = now + retry.pause_s(failures, command.dice)
        return Ruling((f.AttemptFailed(now, command.n, command.error_type, command.message, due),))
    failed = f.StepFailed(now, command.n, command.error_type, command.message)
    return Ruling((failed, *stop_after_failure(state, plan, now)))


def stop_after_failure(state: RunState, plan: RunPlan, now: float) -> tuple[f.Fact, ...]:
    """What a failed step means for the others: under `ALL` the run stops at once."""
    if state.phase is Phase.OPEN and plan.join.kind is JoinKind.ALL:
        return (f.RunStopping(now, Ending.FAIL.value, "null", ""),)
    return ()


def _drop_step(state: RunState, plan: RunPlan, command: c.DropStep, now: float) -> Ruling:
    if command.n not in state.live:
        return _NOTHING
    if command.n == state.hook:
        return Ruling((f.HookEnded(now, command.n, "", "Cancelled", "the hook was cancelled"),))
    return Ruling((f.StepCancelled(now, command.n),))


def _interrupt_step(state: RunState, plan: RunPlan, command: c.InterruptStep, now: float) -> Ruling:
    activation = state.live.get(command.n)
    if activation is None:
        return _NOTHING
    return Ruling((f.StepInterrupted(now, command.n, command.crashed),))


def _finish_hook(state: RunState, plan: RunPlan, command: c.FinishHook, now: float) -> Ruling:
    if command.n not in state.live:
        return _NOTHING
    return Ruling((f.HookEnded(now, command.n, command.output, command.error_type, command.message),))


def same_argument(left: object, right: object) -> bool:
    """Whether two arguments of one verb are equal as JSON: what a second pass is recognised by."""
    if left == right and type(left) is type(right):
        return True
    if isinstance(left, str) and isinstance(right, str):
        return left[:1] == right[:1] and left[:1] in "{[" and json_equal(decode(left), decode(right))
    return False


_AFTER_THE_END: Final = (c.CancelRun, c.Tick, c.FinishStep, c.FailStep, c.DropStep, c.FinishHook, c.Unschedule, c.Bail)
"""Commands that may meet a run that has ended: the news is late, and nothing happens."""

DECIDE: Final[Mapping[type, Callable[..., Ruling]]] = {
    c.StartRun: _start_run,
    c.Schedule: _schedule,
    c.ScheduleMany: _schedule_many,
    c.Unschedule: _unschedule,
    c.OpenWait: _open_wait,
    c.SendEvent: _send_event,
    c.Operate: _operate,
    c.Transact: _transact,
    c.RecordOnce: _record_once,
    c.Emit: _emit,
    c.Log: _log,
    c.FinishStep: _finish_step,
    c.FailStep: _fail_step,
    c.DropStep: _drop_step,
    c.InterruptStep: _interrupt_step,
    c.FinishHook: _finish_hook,
    c.CancelRun: _cancel_run,
    c.Bail: _bail,
    c.Tick: _tick,
}
"""One deciding function per kind of command."""

"""What a step asks of its run while it runs: store operations, what it records, emits and logs.

What lives here: one small function per command of these, and what they check: limits, lost updates, named operations.
What does not: the verbs themselves (`operations`), writing (`apply_store`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._ids import activation_id, guest_legs
from ..errors import InputError, LostUpdate, StateTypeError, ValueTooLarge
from . import commands as c
from . import facts as f
from .apply_store import operate
from .lifecycle import Phase
from .operations import VERBS, Argument, Operation
from .plan import LostUpdates, RunPlan
from .ruling import NOTHING, Ruling, over
from .run_state import RunState
from .store_state import SMALL, key_bytes, value_bytes
from .values import MAX_DIGITS, MISSING, size_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


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
    the hottest call of the library.
    """
    if state.phase is Phase.OVER:
        raise over(state)
    store = state.store
    old = store.values.get(key, MISSING)
    if (
        mark >= 0
        and verb == "set"
        and store.foreign_version(key, n) > mark
        and plan.lost_updates is not LostUpdates.ALLOW
    ):
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
    if (store.bytes > plan.roomy_bytes or type(argument) is tuple) and (
        store.bytes + _most_bytes(key, argument) > limits.state_bytes
    ):
        _check_state_bytes(state, plan, verb, key, argument)
    return f.OperationApplied(now, n, verb, key, argument, op_id)


def _most_bytes(key: str, argument: Argument) -> int:
    """No operation with this argument lets the store grow by more: a bound that is quickly had."""
    if type(argument) is str:
        return size_of(argument) + size_of(key) + 16
    if type(argument) is tuple:
        return sum(map(size_of, argument)) + len(argument) + size_of(key) + 16
    small = argument is None or -SMALL < argument < SMALL  # type: ignore[operator]  # a number, by verb
    return (0 if small else MAX_DIGITS) + size_of(key) + 16


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
        step_id=state.live[n].step if n in state.live else None,
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


def _names(state: RunState, n: int, op_id: str) -> tuple[str, str, object] | None:
    """The operation of this name that activation `n` has applied: a live step, or one of a descendant in any leg."""
    if n > 0:
        asker = state.live.get(n)
        return asker.named.get(op_id) if asker is not None and asker.named is not None else None
    for leg in guest_legs(n):
        guest = state.guests.get(leg)
        if guest is not None and guest.named is not None and op_id in guest.named:
            return guest.named[op_id]
    return None


def is_named(state: RunState, n: int, op_id: str) -> bool:
    """Whether activation `n` has applied an operation of this name."""
    return _names(state, n, op_id) is not None


def named_reply(state: RunState, n: int, op_id: str, verb: str, key: str) -> object:
    """What the operation named `op_id` replied; `InputError` if the name belongs to something else."""
    named = _names(state, n, op_id)
    assert named is not None
    named_verb, named_key, reply = named
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
        return NOTHING
    return Ruling((f.TransactionApplied(now, command.n, list(command.operations), command.op_id),))


def check_all(
    state: RunState,
    plan: RunPlan,
    n: int,
    operations: Sequence[Operation],
    marks: Mapping[str, int],
    now: float,
) -> bool:
    """Whether `operations` change anything, checked one after the other on a copy of the keys they touch; raises what
    the first bad one raises.
    """
    scratch = scratch_of(state, operations)
    changes = False
    for verb, key, argument in operations:
        mark = marks.get(key, c.NO_MARK)
        if decide_operation(scratch, plan, now, n, verb, key, argument, "", mark) is not None:
            operate(scratch.store, n, verb, key, argument)
            changes = True
    return changes


def scratch_of(state: RunState, operations: Sequence[Operation]) -> RunState:
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


DECIDE_STORE: Final[Mapping[type, Callable[..., Ruling]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    c.Operate: _operate,
    c.Transact: _transact,
    c.RecordOnce: _record_once,
    c.Emit: _emit,
    c.Log: _log,
}
"""The part of `DECIDE` that is decided here."""

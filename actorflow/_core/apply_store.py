"""The pen for what a step does while it runs: the run store, its log, what it recorded once.

What lives here: the writing functions of these facts, and `operate`, which lets one verb loose on one key. What does
not: the other facts (`apply`), the verbs (`operations`), whether any of it happens (`decide_store`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._ids import guest_call
from . import facts as f
from .operations import VERBS
from .run_state import Activation
from .store_state import SMALL, key_bytes, value_bytes
from .values import MISSING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .operations import Argument, Operation
    from .run_state import RunState
    from .store_state import StoreState

_LOW: Final = -SMALL

_BARE_VERBS: Final = frozenset({"delete", "pop"})
"""Verbs without an argument; for the others a missing one means that the journal has let go of it."""


def apply_operation(state: RunState, fact: f.OperationApplied) -> object:
    """Write one store operation; public because the shortest way through the library calls it by name."""
    key = fact.key
    argument = fact.argument
    if argument is None and (fact.verb not in _BARE_VERBS or key not in state.store.values):
        return None  # the record of a finished run, whose values are gone
    store = state.store
    reply = operate(store, fact.n, fact.verb, key, argument)
    if len(store.undo) > store.undo_limit:
        _forget(state)
    if state.own is not None:
        state.own.append((fact.verb, key, argument))
    activation = state.live.get(fact.n)
    if activation is None and fact.n < 0:
        activation = guest(state, fact.n)
    if activation is not None:
        if fact.op_id:
            activation.name(fact.op_id, fact.verb, key, reply)
        elif activation.log is None:
            activation.log = [(fact.verb, key, argument, reply)]
        else:
            activation.log.append((fact.verb, key, argument, reply))
    return reply


def guest(state: RunState, n: int) -> Activation:
    """The step of a descendant that sends operations under the number `n`: what it has done here is remembered until
    the child run that it is in has ended.
    """
    found = state.guests.get(n)
    if found is None:
        found = state.guests[n] = Activation(n, "", "null", 0.0)
        state.guests_of.setdefault(guest_call(n), []).append(n)
    return found


def _forget(state: RunState) -> None:
    """Let go of old writes that no live step can ask about any more."""
    state.store.forget([activation.mark for activation in state.live.values()])


def operate(store: StoreState, writer: int, verb: str, key: str, argument: Argument) -> object:
    """Let `verb` loose on one key of `store`; the reply. It has been checked before."""
    old = store.values.get(key, MISSING)
    new, reply = VERBS[verb].write(old, argument)
    kind = type(new)
    if kind is tuple and type(old) is tuple:
        grown = new[2] - old[2]  # type: ignore[index, operator]  # two lists: their bytes
    elif kind is int and type(old) is int and _LOW < new < SMALL and _LOW < old < SMALL:  # type: ignore[operator]  # two numbers
        grown = 0
    elif old is MISSING:
        grown = 0 if new is MISSING else value_bytes(new) + key_bytes(key)
    elif new is MISSING:
        grown = -value_bytes(old) - key_bytes(key)
    else:
        grown = value_bytes(new) - value_bytes(old)
    store.write(key, old, new, writer, grown)
    return reply


def operate_all(state: RunState, writer: int, operations: Sequence[Operation]) -> None:
    """Several verbs as one change."""
    values = state.store.values
    for verb, key, argument in operations:
        if argument is None and verb not in _BARE_VERBS:
            continue  # the record of a finished run
        if VERBS[verb].check(values.get(key, MISSING), argument):  # those that change nothing are kept all the same:
            operate(state.store, writer, verb, key, argument)  # a second pass recognises the whole by its arguments
            if state.own is not None:
                state.own.append((verb, key, argument))
    if len(state.store.undo) > state.store.undo_limit:
        _forget(state)


def _transaction_applied(state: RunState, fact: f.TransactionApplied) -> None:
    operate_all(state, fact.n, fact.operations)
    activation = state.live.get(fact.n)
    if activation is None and fact.n < 0:
        activation = guest(state, fact.n)
    if activation is not None:
        if fact.op_id:
            activation.name(fact.op_id, "transaction", "", None)
        else:
            activation.remember(("transaction", "", fact.operations, None))


def _once_recorded(state: RunState, fact: f.OnceRecorded) -> str:
    activation = state.live.get(fact.n)
    if activation is not None:
        if activation.once is None:
            activation.once = {}
        activation.once[fact.name] = fact.value
    return fact.value


def _emitted(state: RunState, fact: f.Emitted) -> None:
    activation = state.live.get(fact.n)
    if activation is not None:
        activation.remember(("emit", fact.name, fact.data, None))


def _logged(state: RunState, fact: f.Logged) -> None:
    """A line of the log changes nothing."""


APPLY_STORE: Final[Mapping[type, Callable[..., object]]] = {  # type: ignore[explicit-any]  # each takes its own kind
    f.OperationApplied: apply_operation,
    f.TransactionApplied: _transaction_applied,
    f.OnceRecorded: _once_recorded,
    f.Emitted: _emitted,
    f.Logged: _logged,
}
"""The part of `APPLY` that is written here."""

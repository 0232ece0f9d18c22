"""Deciding and writing one store operation in one go: the way of a run whose journal has to be waited for by nobody.

What lives here: `perform`, which does what `decide_operation` and `apply_operation` do one after the other, with one
look at the key in place of three. A property test holds it to them. What does not: any rule of its own: whatever is
not the plain case goes the plain way.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import StateTypeError
from . import facts as f
from .apply_store import apply_operation, guest
from .decide_store import decide_operation
from .lifecycle import Phase
from .operations import VERBS
from .store_state import SMALL, value_bytes
from .values import MISSING

if TYPE_CHECKING:
    from .operations import Argument
    from .plan import RunPlan
    from .run_state import RunState

_LOW: Final = -SMALL


def perform(
    state: RunState, plan: RunPlan, now: float, n: int, verb: str, key: str, argument: Argument, mark: int
) -> tuple[f.OperationApplied | None, object]:
    """The fact of one operation, written already, and the reply; no fact if it changes nothing. Raises what
    `decide_operation` raises, with nothing changed.
    """
    store = state.store
    old = store.values.get(key, MISSING)
    known = VERBS[verb]
    if (
        not known.certain
        or old is MISSING
        or mark >= 0
        or store.bytes > plan.roomy_bytes
        or state.phase is Phase.OVER
        or len(store.undo) > store.undo_limit
    ):
        fact = decide_operation(state, plan, now, n, verb, key, argument, "", mark)
        if fact is None:
            return None, known.unchanged(old, argument)
        state.seq += 1
        return fact, apply_operation(state, fact)
    try:
        new, reply = known.write(old, argument)
    except StateTypeError as error:
        raise StateTypeError(f"{verb}({key!r}): {error}", run_id=state.run_id, key=key) from None
    kind = type(new)
    if kind is tuple and type(old) is tuple:
        grown = new[2] - old[2]  # type: ignore[index, operator]  # two lists: their bytes
    elif kind is int and type(old) is int and _LOW < new < SMALL and _LOW < old < SMALL:  # type: ignore[operator]  # two numbers
        grown = 0
    else:
        grown = value_bytes(new) - value_bytes(old)  # type: ignore[arg-type]  # a certain verb leaves a value
    state.seq += 1
    store.write(key, old, new, n, grown)
    if state.own is not None:
        state.own.append((verb, key, argument))
    activation = state.live.get(n)
    if activation is None and n < 0:
        activation = guest(state, n)
    if activation is not None:
        if activation.log is None:
            activation.log = [(verb, key, argument, reply)]
        else:
            activation.log.append((verb, key, argument, reply))
    return f.OperationApplied(now, n, verb, key, argument, ""), reply

"""The second opinion: the checker of the test kit, on the same operations.

What lives here: an account written as a `History`. What does not: the exact account itself, which needs neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from actorflow.testing import History, Linearizability, StoreCall, check_linearizable

from ..report.record import Invariant
from .job import Finding

if TYPE_CHECKING:
    from .account import Account, Judgement

MOST: Final = 200_000
"""Calls of a history, each some hundred bytes. Above that the exact account has to do."""

NAME: Final = "linearizable, says the checker of the test kit"


def second_opinion(account: Account, state: object, judgement: Judgement) -> None:
    """Let `check_linearizable` judge, if the history is not too long."""
    if account.total > MOST:
        return
    history = written(account, state if isinstance(state, dict) else {})
    verdict = check_linearizable(history)
    judgement.invariants.append(
        Invariant(
            name=NAME,
            checked=len(history.calls),
            violated=int(verdict.status is Linearizability.VIOLATED),
            undecided=int(verdict.status is Linearizability.UNDECIDED),
        )
    )
    if verdict.status is Linearizability.VIOLATED:
        judgement.findings.append(Finding(verdict.sentence, verdict.picture))


def written(account: Account, state: dict[str, object]) -> History:
    """The calls that were answered, and a read of the final value after them all."""
    history = History()
    is_list = "items" in state
    for place, owner in enumerate(account.owners, start=1):
        if owner < 0:
            continue  # the exact account tells of it
        verb, key = ("push", "items") if is_list else ("increment", "counter")
        arguments: tuple[object, ...] = (account.label(owner),) if is_list else (1,)
        branch = f"branch {owner % account.branches}"
        invoked, returned = account.invoked[place - 1], account.returned[place - 1]
        history.calls.append(StoreCall(branch, verb, key, arguments, place, invoked, returned))
    key = "items" if is_list else "counter"
    last = account.moment + 1
    final = state.get(key)
    history.calls.append(StoreCall("the end", "get", key, (None,), final, last, last + 1))
    history.calls.sort(key=lambda call: call.invoked)
    return history

"""The first oracle: what the branches were told, and nothing else.

What lives here: linearizability of each run's history, and the exact accounts of lists that only grow and of counters,
held against the state at the end. What does not: facts (`facts`), files (`journal_file`). Keys that transactions write
have no such account.
"""

from __future__ import annotations

import json
from collections import Counter
from math import inf
from typing import TYPE_CHECKING, Final

from actorflow.testing import Linearizability, check_linearizable

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow.testing import History, StoreCall

    from ..recording import Record

__all__ = ["check_client"]

READS: Final = frozenset({"get", "has", "length", "refused"})
SHOWN: Final = 6
"""Calls that a finding shows."""


def check_client(record: Record) -> list[Finding]:
    """What is wrong with the answers that the branches got."""
    found: list[Finding] = []
    for run_id, history in record.histories.items():
        found += _linear(run_id, history)
        state = record.state_of(run_id)
        by_key: dict[str, list[StoreCall]] = {}
        together = {key for call in history.calls if call.verb == "transaction" for key in call.keys}
        for call in history.calls:
            if call.verb not in READS and call.key not in together and call.verb != "transaction":
                by_key.setdefault(call.key, []).append(call)
        initial = _initial(history)
        for key, calls in by_key.items():
            final = None if state is None else state.get(key)
            verbs = {call.verb for call in calls}
            where = f"run {run_id}, key {key!r}"
            if state is None:
                continue
            if verbs <= {"push", "extend"}:
                found += _list(where, calls, initial.get(key, []), final)
            elif verbs <= {"increment", "decrement"}:
                found += _counter(where, calls, initial.get(key, 0), final)
    return found


def _initial(history: History) -> Mapping[str, object]:
    return history.initial


def _linear(run_id: str, history: History) -> Iterator[Finding]:
    for told in history.contradicted:
        sentence = f"run {run_id}: {told.call.branch} asked for the same once more, and was told {told.again!r}"
        yield Finding("I11", sentence, (f"{told.call.branch}: {told.call}",))
    verdict = check_linearizable(history)
    if verdict.status is not Linearizability.OK:
        undecided = verdict.status is Linearizability.UNDECIDED
        calls = tuple(f"{call.branch}: {call}" for call in verdict.calls[:SHOWN])
        yield Finding("I1", f"run {run_id}, {verdict.sentence}", calls, undecided=undecided)


def _items(call: StoreCall) -> list[object]:
    (given,) = call.arguments
    return list(given) if call.verb == "extend" and isinstance(given, list) else [given]


def _name(item: object) -> str:
    return json.dumps(item, sort_keys=True)


def _list(where: str, calls: Sequence[StoreCall], initial: object, final: object) -> Iterator[Finding]:
    """Every item that was acknowledged stands in the list once, where its answer says, in its branch's order."""
    if not isinstance(final, list):
        acknowledged = [call for call in calls if call.returned != inf]
        if acknowledged:
            shown = tuple(f"{call.branch}: {call}" for call in acknowledged[:SHOWN])
            yield Finding("I2", f"{where}: {len(acknowledged)} pushes were acknowledged, and there is no list", shown)
        return
    asked = Counter(_name(item) for call in calls for item in _items(call))
    if asked and max(asked.values()) > 1:
        return  # elements that are not unique tell nothing of their own
    begin = len(initial) if isinstance(initial, list) else 0
    places: dict[str, int] = {}
    for place, item in enumerate(map(_name, final), 1):
        if item in places and place > begin:
            yield Finding("I2", f"{where}: {item} stands in the list twice, at {places[item]} and at {place}")
        places.setdefault(item, place)
    for item, place in places.items():
        if item not in asked and place > begin:
            yield Finding("I2", f"{where}: {item} stands in the list at {place}, and nobody has pushed it")
    last: dict[str, tuple[int, StoreCall]] = {}
    for call in calls:
        ends = [places.get(_name(item)) for item in _items(call)]
        shown = (f"{call.branch}: {call}",)
        if call.returned != inf and None in ends:
            yield Finding("I2", f"{where}: what {call.branch} pushed was acknowledged and is lost", shown)
        known = [end for end in ends if end is not None]
        if not known:
            continue
        if call.returned != inf and call.result is not None and known[-1] != call.result:
            sentence = f"{where}: {call.branch} was told place {call.result!r}, and its item stands at {known[-1]}"
            yield Finding("I1", sentence, shown)
        before = last.get(call.branch)
        if before is not None and before[0] > known[0] and before[1].sender == call.sender != 0:
            sentence = f"{where}: the pushes of {call.branch} stand in another order than it made them"
            yield Finding("I3", sentence, (f"{call.branch}: {before[1]}", *shown))
        last[call.branch] = (known[-1], call)


def _counter(where: str, calls: Sequence[StoreCall], initial: object, final: object) -> Iterator[Finding]:
    """The number at the end is the sum of what was acknowledged, and of none, some or all that is unknown."""
    low = high = initial if isinstance(initial, int | float) else 0
    exact = isinstance(low, int)
    for call in calls:
        (delta,) = call.arguments
        if not isinstance(delta, int | float):
            continue
        exact = exact and isinstance(delta, int)
        change = delta if call.verb == "increment" else -delta
        if call.returned != inf:
            low, high = low + change, high + change
        else:
            low, high = low + min(change, 0), high + max(change, 0)
    found = 0 if final is None else final
    if not isinstance(found, int | float) or isinstance(found, bool):
        yield Finding("I4", f"{where}: {found!r} is no number, and it was only counted with")
        return
    slack = 0 if exact else 1e-9 * max(1.0, abs(low), abs(high))
    if not low - slack <= found <= high + slack:
        wanted = f"{low}" if low == high else f"between {low} and {high}"
        shown = tuple(f"{call.branch}: {call}" for call in calls[-SHOWN:])
        yield Finding("I4", f"{where}: it is {found!r} at the end, and the increments come to {wanted}", shown)

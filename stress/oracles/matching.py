"""Which fact belongs to which answer, and whether the two agree.

What lives here: the comparison of a run's operations with the history of what its branches were told. What does not:
replaying (`replaying`), which facts there are (`facts`). Calls of one branch are taken to be made one after the other.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict, deque
from math import inf
from typing import TYPE_CHECKING, Final, cast

from attrs import frozen

from actorflow import Fact

from .finding import Finding
from .replaying import GONE, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow.testing import History, StoreCall

__all__ = ["Applied", "check_answers", "owner_of"]

READS: Final = frozenset({"get", "has", "length", "refused"})
NUMBER_BITS: Final = 48
"""Step of a descendant, as the number of an activation of the run above: its numbers on the way, packed, negative."""

Lane = tuple[str, str, str, str]


@frozen
class Applied:
    """One journaled operation, the branch that asked for it, and the answer that replaying it gives."""

    fact: Fact
    branch: str
    answer: object

    @property
    def verb(self) -> str:
        """As the branch calls it."""
        return str(self.fact.fields.get("verb", "transaction"))

    @property
    def key(self) -> str:
        """The key; that of a transaction is empty."""
        return str(self.fact.fields.get("key", ""))


def owner_of(prefix: str, n: int) -> str:
    """The activation id behind the number `n` in a run whose ids begin with `prefix`."""
    if n >= 0:
        return f"{prefix}{n}"
    number, parts = -n, list[str]()
    while number:
        parts.append(str(number & ((1 << NUMBER_BITS) - 1)))
        number >>= NUMBER_BITS
    return prefix + ".".join(parts[:0:-1])  # the last one says how often it was resumed


def _name(value: object) -> str:
    return json.dumps(value, sort_keys=True)


def _of_fact(fact: Fact, *, blind: bool) -> str:
    if fact.kind == "transaction-applied":
        parts = cast("list[tuple[str, str, object]]", fact.fields["operations"])
        return _name([[verb, key, None if blind else _plain(verb, argument)] for verb, key, argument in parts])
    verb, argument = fact.fields["verb"], fact.fields["argument"]
    if blind or verb in ("delete", "pop"):
        return ""
    if verb == "extend":
        return _name([json.loads(text) for text in cast("tuple[str, ...]", argument)])
    if verb == "compare_and_set":
        return _name(json.loads(cast("tuple[str, str]", argument)[1]))
    if verb == "update":
        return "" if argument is None else _name(json.loads(argument[0]) if isinstance(argument, tuple) else argument)
    return _name(argument)


def _plain(verb: str, argument: object) -> object:
    """An argument within a transaction, where it stands as it is journaled."""
    if isinstance(argument, tuple):
        return [json.loads(text) for text in argument]
    return json.loads(argument) if isinstance(argument, str) else argument


def _of_call(call: StoreCall, *, blind: bool) -> str:
    if call.verb == "transaction":
        return _name([[verb, key, given[0] if given and not blind else None] for verb, key, given in call.parts])
    if blind or call.verb in ("delete", "pop"):
        return ""
    if call.verb == "compare_and_set":
        return _name(call.arguments[1])
    if call.verb == "update":
        return _name(call.result)
    return _name(call.arguments[0])


def _changed(call: StoreCall) -> bool | None:
    """Whether a call must have changed something; None: it may have."""
    result, verb = call.result, call.verb
    if verb in ("delete", "set_if_absent", "compare_and_set"):
        return bool(result)
    if verb == "remove":
        return result != 0
    if verb == "pop":
        return None if same(result, call.arguments[0]) else True
    if verb in ("maximum", "minimum"):
        return None if same(result, call.arguments[0]) else False
    if verb in ("extend", "merge"):
        return True if call.arguments[0] else None
    return True


def _is_other(call: StoreCall, one: Applied, *, blind: bool) -> bool:
    """Whether a call that looks like an operation has changed nothing, and so is not that operation."""
    changed = _changed(call)
    if call.returned == inf or changed:
        return False
    return changed is False or (not blind and one.answer is not GONE and not same(call.result, one.answer))


def check_answers(
    run_id: str, applied: Sequence[Applied], history: History | None, *, blind: bool = False
) -> Iterator[Finding]:
    """Each acknowledged change is one fact, and each fact somebody's call; answers and order agree.

    Args:
        run_id: for the sentences.
        applied: the operations of the facts, in order.
        history: what the branches were told; keys that it does not know are not looked at.
        blind: the facts have let go of the values: calls are told apart by branch, verb and key alone.
    """
    if history is None:
        return
    known = {call.key for call in history.calls}
    lanes: dict[Lane, deque[StoreCall]] = defaultdict(deque)
    unsure: dict[Lane, deque[StoreCall]] = defaultdict(deque)
    for call in history.calls:
        if call.verb in READS:
            continue
        if call.returned == inf and call.verb == "update":
            unsure[call.branch, call.verb, call.key, ""].append(call)
            continue
        lanes[call.branch, call.verb, call.key, _of_call(call, blind=blind)].append(call)
    pairs: list[tuple[Applied, StoreCall]] = []
    placed = [(one, _lane(one, blind=blind)) for one in applied if one.key in known]
    left_of = Counter(lane for _, lane in placed)
    for one, lane in placed:
        verb, key = one.verb, one.key
        left_of[lane] -= 1
        waiting = lanes.get(lane) or unsure.get((one.branch, verb, key, ""))
        while waiting and _is_other(waiting[0], one, blind=blind):
            waiting.popleft()
        if not waiting:
            sentence = (
                f"run {run_id}, fact {one.fact.seq}: {verb} of {key!r} was applied for branch {one.branch} once more"
            )
            yield Finding("I2", f"{sentence} than it asked for", (_told(one),))
            continue
        call = _choose(waiting, one, left_of[lane], blind=blind)
        if _changed(call) or call.returned == inf or not any(_changed(other) is None for other in waiting):
            pairs.append((one, call))  # else nobody can say which of the equal calls it was that changed something
    for left in lanes.values():
        for call in left:
            if call.returned != inf and _changed(call):
                sentence = f"run {run_id}: {call.verb} of {call.key!r} was acknowledged to branch {call.branch}"
                yield Finding("I2", f"{sentence}, and no fact says that it was applied", (f"{call.branch}: {call}",))
    yield from _order(run_id, pairs)
    if not blind:
        yield from _answers(run_id, pairs)


def _lane(one: Applied, *, blind: bool) -> Lane:
    return (one.branch, one.verb, one.key, _of_fact(one.fact, blind=blind))


def _choose(waiting: deque[StoreCall], one: Applied, left: int, *, blind: bool) -> StoreCall:
    """Which of the equal calls an operation is: the first, but for one that broke off and may never have counted.

    It stands back for an acknowledged one if that was told this very answer, or if the facts that are `left` are too
    few for all that were acknowledged.
    """
    if waiting[0].returned != inf:
        return waiting.popleft()
    sure = [call for call in waiting if call.returned != inf and _changed(call)]
    for call in sure:
        is_told = not blind and one.answer is not GONE and same(call.result, one.answer)
        if is_told or left < len(sure):
            waiting.remove(call)
            return call
    return waiting.popleft()


def _told(one: Applied) -> str:
    what = one.fact.fields.get("argument", one.fact.fields.get("operations"))
    return f"fact {one.fact.seq} for {one.branch}: {one.verb}({one.key!r}, {what!r})"


def _order(run_id: str, pairs: Sequence[tuple[Applied, StoreCall]]) -> Iterator[Finding]:
    """Facts stand in the order of each branch, and what was over before something began stands before it."""
    last: dict[str, tuple[Applied, StoreCall]] = {}
    latest: tuple[Applied, StoreCall] | None = None
    for one, call in pairs:
        before = last.get(one.branch)
        # A later pass repeats what the run knows and does the rest afresh: only within one pass is there one order.
        if before is not None and before[1].invoked > call.invoked and before[1].sender == call.sender != 0:
            sentence = f"run {run_id}: branch {one.branch} asked for {call} before {before[1]}"
            yield Finding(
                "I3", f"{sentence}, and they were applied the other way round", (_told(before[0]), _told(one))
            )
        elif latest is not None and call.returned < latest[1].invoked:
            sentence = f"run {run_id}: {call} of branch {one.branch} was over when branch {latest[0].branch}"
            shown = (_told(latest[0]), _told(one))
            yield Finding("I5", f"{sentence} asked for {latest[1]}, which was applied before it", shown)
        last[one.branch] = (one, call)
        if latest is None or call.invoked > latest[1].invoked:
            latest = (one, call)


def _answers(run_id: str, pairs: Sequence[tuple[Applied, StoreCall]]) -> Iterator[Finding]:
    for one, call in pairs:
        if call.returned == inf or one.answer is GONE:
            continue
        if not same(call.result, one.answer):
            invariant = "I4" if call.verb in ("increment", "decrement") else "I1"
            sentence = (
                f"run {run_id}: branch {one.branch} was told that {call.verb} of {call.key!r} gave {call.result!r}"
            )
            yield Finding(invariant, f"{sentence}, and its facts come to {one.answer!r}", (_told(one),))

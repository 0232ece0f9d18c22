"""Which calls of a step that runs again are calls that it had made before.

What lives here: `Pass`, the calls of one pass of a step beside those of its earlier passes, and what can be said of a
call that was answered from them. What does not: recording (`history`), the rule itself (semantics C3), which is
written a second time here, on purpose: with less knowledge, so that it says "not known" where the run knows.

A run answers a repeated operation from its memory if it had changed something; reads, refusals and what changed
nothing are done afresh. A history does not know for sure what had changed something (was the value 5 already when
`maximum(5)` gave 5?), nor which calls that broke off had counted. Whatever is in doubt gets no answer: it may count or
not, which accuses nobody.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from enum import Enum
from math import inf
from typing import Final

from attrs import define, field

from .._authoring.mark import mark_of
from .._core.values import MISSING
from .store_call import READS, TRANSACTION, StoreCall
from .store_model import freeze

Lane = tuple[str, str]
"""Verb and key: operations are recognised among those of the same lane."""

CERTAIN: Final = frozenset({"set", "push", "increment", "decrement", "update"})
"""Verbs that always count as a change, whatever the value was."""


class Changed(Enum):
    """Whether a call changed something, as far as its answer tells."""

    YES = "yes"
    NO = "no"
    PERHAPS = "perhaps"


def changed(call: StoreCall) -> Changed:
    """Whether a call changed something; a call that was not answered is taken for one that did."""
    verb, given, result = call.verb, call.arguments, call.result
    if verb in READS or verb == "refused":
        return Changed.NO
    if verb in CERTAIN or call.returned == inf:
        return Changed.YES
    if verb in {"delete", "set_if_absent", "compare_and_set"}:
        return Changed.YES if result is True else Changed.NO
    if verb == "remove":
        return Changed.YES if result else Changed.NO
    if verb in {"maximum", "minimum"}:
        return Changed.PERHAPS if freeze(result) == freeze(given[0]) else Changed.NO
    if verb == "pop":
        return Changed.PERHAPS if freeze(result) == freeze(given[0]) else Changed.YES
    if verb == TRANSACTION:
        return Changed.YES if any(part[0] in CERTAIN for part in call.parts) else Changed.PERHAPS
    return Changed.YES if given[0] else Changed.PERHAPS  # extend, merge


def _text(value: object) -> str:
    if value is MISSING:
        return ""
    if callable(value):
        return mark_of(value)
    if isinstance(value, tuple):
        return ",".join(map(_text, value))
    return json.dumps(value, sort_keys=True)


class Likeness(Enum):
    """What a new call is, beside those of earlier passes."""

    FRESH = "fresh"
    REPEAT = "repeat"
    DOUBTFUL = "doubtful"


@define(eq=False)
class Pass:
    """The calls of one pass of a step, by their places in the history, beside those of its earlier passes.

    Args:
        calls: the history.
        sender: the number of the pass, for `StoreCall.sender`.
        earlier: by lane, the places of what earlier passes did and this one has not asked for yet.
    """

    calls: Sequence[StoreCall]
    sender: int
    earlier: dict[Lane, list[int]] = field(factory=dict)
    _done: dict[Lane, list[int]] = field(factory=dict, init=False)
    _reserved: dict[tuple[str, str, str], int] = field(factory=dict, init=False)
    _doubts: set[Lane] = field(factory=set, init=False)
    """Lanes in which a call may have been answered from an earlier one with other arguments, which is gone then."""

    def next(self, sender: int) -> Pass:
        """The pass after this one. What this one did not come to is not forgotten: the run remembers it."""
        known = {lane: list(places) for lane, places in self._done.items()}
        for lane, places in self.earlier.items():
            known[lane] = sorted({*known.get(lane, ()), *places})
        return Pass(self.calls, sender, known)

    def keep(self, place: int) -> None:
        """Note a call that was made in this pass, or was recognised in it."""
        call = self.calls[place]
        if call.verb not in READS:
            self._done.setdefault((call.verb, call.key), []).append(place)

    def begin(self, verb: str, key: str, given: tuple[object, ...]) -> Likeness:
        """Whether a call that now begins is new, as far as it is known before the answer.

        What was told to be a `REPEAT` has one of the earlier calls reserved; give it back with `release`.
        """
        found = self._likeness(verb, key, given)
        if found is Likeness.REPEAT:
            text = _text(given)
            self._reserved[verb, key, text] = self._reserved.get((verb, key, text), 0) + 1
        elif found is Likeness.DOUBTFUL:
            self._doubts.add((verb, key))
        return found

    def _likeness(self, verb: str, key: str, given: tuple[object, ...]) -> Likeness:
        found = Likeness.FRESH
        text = ""
        reserved = 0
        for place, change in self._open(verb, key):
            if (verb, key) in self._doubts:
                return Likeness.DOUBTFUL
            if found is Likeness.FRESH:
                found, text = Likeness.DOUBTFUL, _text(given)
                reserved = self._reserved.get((verb, key, text), 0)
            if _text(self.calls[place].arguments) == text:
                if change is Changed.PERHAPS:
                    return Likeness.DOUBTFUL  # done afresh, or answered from memory: who knows
                if reserved:
                    reserved -= 1
                    continue
                found = Likeness.REPEAT
                if verb in CERTAIN:
                    break
        return found

    def doubt(self, verb: str, key: str) -> None:
        """A call of this lane may have been answered from another one."""
        self._doubts.add((verb, key))

    def release(self, verb: str, key: str, given: tuple[object, ...]) -> None:
        """A call that was told to be a `REPEAT` is over."""
        self._reserved[verb, key, _text(given)] -= 1

    def repeated(self, verb: str, key: str, given: tuple[object, ...], result: object) -> int | None:
        """The place of the call that a `REPEAT` with this answer is; None if it was answered otherwise before."""
        text, answer = _text(given), freeze(result)
        unanswered: int | None = None
        for place, _ in self._open(verb, key):
            call = self.calls[place]
            if _text(call.arguments) == text:
                if call.returned == inf:
                    unanswered = place if unanswered is None else unanswered
                elif freeze(call.result) == answer:
                    return place
        return unanswered

    def first_equal(self, verb: str, key: str, given: tuple[object, ...]) -> int:
        """The place of the first call that is asked for again; one without an answer if there is one."""
        text = _text(given)
        equal = [place for place, _ in self._open(verb, key) if _text(self.calls[place].arguments) == text]
        return next((place for place in equal if self.calls[place].returned == inf), equal[0])

    def take(self, place: int) -> None:
        """That call has been asked for again."""
        call = self.calls[place]
        self.earlier[call.verb, call.key].remove(place)
        self.keep(place)

    def is_ambiguous(self, verb: str, key: str, given: tuple[object, ...] | None, result: object) -> bool:
        """Whether an answer may be that of an earlier call with other arguments than `given` (None: with any).

        After a retry the first write stands, even if its arguments would differ now.
        """
        text, answer = None if given is None else _text(given), freeze(result)
        calls = [self.calls[place] for place, _ in self._open(verb, key)]
        others = [call for call in calls if text is None or _text(call.arguments) != text]
        return any(call.returned == inf or freeze(call.result) == answer for call in others)

    def _open(self, verb: str, key: str) -> Iterator[tuple[int, Changed]]:
        for place in self.earlier.get((verb, key), ()):
            change = changed(self.calls[place])
            if change is not Changed.NO:
                yield place, change

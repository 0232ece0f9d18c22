"""What is known of each call before the search for an order begins.

What lives here: `Tables`: for every call its effect, whether it can change anything, which value it must find, which
values it may leave. What does not: the search (`linear_search`), the verbs (`store_model`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import inf
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from .._core.values import MISSING
from .store_call import READS, TRANSACTION
from .store_model import WRONG, freeze, move

if TYPE_CHECKING:
    from .store_call import StoreCall

Move = Callable[[object], object]
Seat = tuple[int, object]

LEAVES_RESULT: Final = frozenset({"increment", "decrement", "maximum", "minimum", "update"})
"""Verbs whose answer is the new value."""


@define(eq=False)
class Tables:
    """The calls of one search. Calls of known outcome have an index in the order of their invocation; those of unknown
    outcome ("open") have one of their own. A seat is a key's number with a value; (number, WRONG) stands for any value.

    Attributes:
        is_joint: whether the state is a tuple, one value per key, and not the value itself.
        bars: by call, the open calls that cannot count any more after it: their sender sent them before it.
    """

    keys: tuple[str, ...]
    initial: object
    is_joint: bool
    begins: list[float] = field(factory=list)
    ends: list[float] = field(factory=list)
    moves: list[Move] = field(factory=list)
    pure: list[bool] = field(factory=list)
    needs: list[Seat | None] = field(factory=list)
    bars: list[int] = field(factory=list)
    touches: list[tuple[int, ...]] = field(factory=list)
    wanters: dict[Seat, list[int]] = field(factory=dict)
    makers: dict[Seat, list[int]] = field(factory=dict)
    open_begins: list[float] = field(factory=list)
    open_moves: list[Move] = field(factory=list)
    open_kinds: list[object] = field(factory=list)
    open_touches: list[tuple[int, ...]] = field(factory=list)
    open_bars: list[int] = field(factory=list)
    open_makers: dict[Seat, int] = field(factory=dict)

    @classmethod
    def of(cls, calls: Sequence[StoreCall], initial: Mapping[str, object]) -> Tables:
        """Look at every call once."""
        slots: dict[str, int] = {}
        for call in calls:
            for key in call.keys:
                slots.setdefault(key, len(slots))
        values = tuple(freeze(initial[key]) if key in initial else MISSING for key in slots)
        is_joint = len(slots) > 1
        found = cls(tuple(slots), values if is_joint else values[0] if values else MISSING, is_joint)
        ordered = sorted(calls, key=lambda call: call.invoked)
        queues: dict[int, int] = {}  # by sender: the open calls that it has sent so far
        for call in ordered:
            bars = queues.get(call.sender, 0)
            if call.returned != inf:
                found._add(call, slots, bars)
            elif call.verb not in READS:
                if call.sender:
                    queues[call.sender] = bars | 1 << len(found.open_begins)
                found._add_open(call, slots, bars)
        return found

    def _add(self, call: StoreCall, slots: Mapping[str, int], bars: int) -> None:
        index = len(self.begins)
        need = _need(call)
        seat = None if need is WRONG else (slots[call.key], need)
        self.begins.append(call.invoked)
        self.ends.append(call.returned)
        self.moves.append(_move(call, slots, is_joint=self.is_joint))
        is_pure = changes_nothing(call)
        self.pure.append(is_pure)
        self.needs.append(seat)
        self.bars.append(bars)
        if seat is not None:
            self.wanters.setdefault(seat, []).append(index)
        self.touches.append(tuple(slots[key] for key in call.keys))
        if not is_pure:
            for made in _made(call, slots):
                self.makers.setdefault(made, []).append(index)

    def _add_open(self, call: StoreCall, slots: Mapping[str, int], bars: int) -> None:
        bit = 1 << len(self.open_begins)
        self.open_begins.append(call.invoked)
        self.open_moves.append(_move(call, slots, is_joint=self.is_joint))
        # Calls of one sender bar each other, so only those of the same sender stand for each other.
        self.open_kinds.append((call.verb, call.key, call.sender, freeze(call.arguments)))
        self.open_touches.append(tuple(slots[key] for key in call.keys))
        self.open_bars.append(bars)
        for made in _made(call, slots):
            self.open_makers[made] = self.open_makers.get(made, 0) | bit

    def slack(self) -> dict[Seat, int]:
        """By value that calls must find and then change: how often more it comes up than they need it.

        Each of them needs it to come up once for itself. A key with calls of which it is not known what they leave has
        no such bound.
        """
        found: dict[Seat, int] = {}
        for index, need in enumerate(self.needs):
            if need is not None and not self.pure[index]:
                found[need] = found.get(need, 0) - 1
        if not found:
            return found
        for slot, value in enumerate(cast("tuple[object, ...]", self.initial) if self.is_joint else (self.initial,)):
            if (slot, value) in found:
                found[slot, value] += 1
        for seat in list(found):
            if self.makers.get((seat[0], WRONG)) or self.open_makers.get((seat[0], WRONG)):
                del found[seat]
            else:
                found[seat] += len(self.makers.get(seat, ())) + self.open_makers.get(seat, 0).bit_count()
        return found


def changes_nothing(call: StoreCall) -> bool:
    """Whether the answer says that the value stayed what it was, whatever it was."""
    verb, result = call.verb, call.result
    if verb in READS:
        return True
    if verb in {"delete", "set_if_absent", "compare_and_set"}:
        return result is False
    if verb == "remove":
        return result == 0
    return verb in {"maximum", "minimum"} and freeze(result) != freeze(call.arguments[0])


def _need(call: StoreCall) -> object:
    """The value that a call must have found, WRONG if more than one will do."""
    verb, given, result = call.verb, call.arguments, call.result
    if verb == "get" or verb == "pop":
        return WRONG if freeze(result) == freeze(given[0]) else freeze(result)
    if verb == "compare_and_set":
        return freeze(given[0]) if result is True else WRONG
    if (verb == "set_if_absent" and result is True) or (verb in {"has", "delete"} and result is False):
        return MISSING
    if verb in {"increment", "decrement"} and type(result) is int and type(given[0]) is int:
        found = result - given[0] if verb == "increment" else result + given[0]
        return found or WRONG  # 0 may be a missing key as well
    if verb in {"maximum", "minimum"} and changes_nothing(call):
        return freeze(result)
    return WRONG


def _made(call: StoreCall, slots: Mapping[str, int]) -> list[Seat]:
    """The seats that a call may leave its keys on."""
    if call.verb == TRANSACTION or call.returned == inf:
        left = {key: _left(verb, given) for verb, key, given in call.parts}
        return [(slots[key], value) for key, value in left.items()]
    value = freeze(call.result) if call.verb in LEAVES_RESULT else _left(call.verb, call.arguments)
    return [(slots[call.key], value)]


def _left(verb: str, given: tuple[object, ...]) -> object:
    """The value that a verb leaves if it changes anything, whatever it found; WRONG if that depends."""
    if verb in {"set", "set_if_absent", "compare_and_set"}:
        return freeze(given[-1])
    if verb in {"delete", "pop"}:
        return MISSING
    return WRONG


def _move(call: StoreCall, slots: Mapping[str, int], *, is_joint: bool) -> Move:
    if call.verb != TRANSACTION:
        single = move(call)
        return _at(single, slots[call.key]) if is_joint else single
    steps = [(move(_untold(call, verb, key, given)), slots[key]) for verb, key, given in call.parts]
    if not is_joint:
        return _chain([one for one, _ in steps])
    return _chain([_at(one, slot) for one, slot in steps])


def _untold(call: StoreCall, verb: str, key: str, given: tuple[object, ...]) -> StoreCall:
    return type(call)(call.branch, verb, key, given, None, call.invoked, inf)


def _at(single: Move, slot: int) -> Move:
    def after(state: object) -> object:
        values = cast("tuple[object, ...]", state)
        new = single(values[slot])
        return new if new is WRONG else (*values[:slot], new, *values[slot + 1 :])

    return after


def _chain(steps: Sequence[Move]) -> Move:
    def after(state: object) -> object:
        for one in steps:
            state = one(state)
            if state is WRONG:
                return WRONG
        return state

    return after

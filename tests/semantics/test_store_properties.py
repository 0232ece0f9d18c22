"""The run store against a model in plain Python: random sequences of verbs, replies and errors compared."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from actorflow import MISSING, ActorflowError, StateTypeError
from tests.semantics.store_flows import error_of, exact, flow_of, must_complete, on_store, play

# Floats that end in an odd multiple of 2**-9, used only to add: their sums are exact and never whole, so that the
# question whether 1 equals 1.0, which the rules leave open, does not come up.
FLOATS = st.sampled_from([2**-9, 3 * 2**-9, 5 + 2**-9])
INTS = st.integers(-3, 3) | st.sampled_from([2**30, -(2**30)])
# Few different values, so that equal ones meet.
SCALARS = st.one_of(st.none(), st.booleans(), INTS, FLOATS, st.sampled_from(["", "a", "é", "1"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("xyz"), inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3)
KEYS = st.sampled_from(["a", "b", "a.b", "é"])
NUMBERS = INTS | FLOATS


def wrap(value: object) -> object:
    """A function for `update`: any value in, another value out."""
    return {"was": value} if not isinstance(value, dict) else sorted(value)


def private(argument: object) -> object:
    """A copy of an argument; what is no JSON has an identity that must stay."""
    return argument if argument is MISSING or callable(argument) else copy.deepcopy(argument)


class Model:
    """What the rules say, verb by verb, on a plain dict."""

    def __init__(self) -> None:
        self.state: dict[str, Any] = {}

    def get(self, key: str, default: object = None) -> object:
        return self.state.get(key, default)

    def has(self, key: str) -> bool:
        return key in self.state

    def set(self, key: str, value: object) -> None:
        self.state[key] = value

    def delete(self, key: str) -> bool:
        return self.state.pop(key, MISSING) is not MISSING

    def pop(self, key: str, default: object = None) -> object:
        return self.state.pop(key, default)

    def push(self, key: str, item: object) -> int:
        return self.extend(key, [item])

    def extend(self, key: str, items: list[object]) -> int:
        new = [*self._list(key), *items]
        # The rules do not say whether adding no item makes an empty list; the sequences below never do that.
        self.state[key] = new
        return len(new)

    def remove(self, key: str, item: object) -> int:
        old = self._list(key)
        new = [other for other in old if exact(other) != exact(item)]
        if key in self.state:
            self.state[key] = new
        return len(old) - len(new)

    def length(self, key: str) -> int:
        return len(self._list(key))

    def slice(self, key: str, start: int, stop: int) -> list[object]:
        return self._list(key)[start:stop]

    def increment(self, key: str, delta: float = 1) -> float:
        self.state[key] = self._number(key, 0) + delta
        return self.state[key]

    def decrement(self, key: str, delta: float = 1) -> float:
        return self.increment(key, -delta)

    def maximum(self, key: str, number: float) -> float:
        self.state[key] = max(self._number(key, number), number)
        return self.state[key]

    def minimum(self, key: str, number: float) -> float:
        self.state[key] = min(self._number(key, number), number)
        return self.state[key]

    def merge(self, key: str, mapping: dict[str, object]) -> None:
        old = self.state.get(key, {})
        if not isinstance(old, dict):
            raise StateTypeErrorInModel
        self.state[key] = {**old, **mapping}

    def set_if_absent(self, key: str, value: object) -> bool:
        if key in self.state:
            return False
        self.state[key] = value
        return True

    def compare_and_set(self, key: str, expected: object, value: object) -> bool:
        current = self.state.get(key, MISSING)
        if current is MISSING or expected is MISSING:
            equal = current is expected
        else:
            equal = exact(current) == exact(expected)
        if equal:
            self.state[key] = value
        return equal

    def update(self, key: str, function: Callable[[object], object], default: object = None) -> object:
        self.state[key] = function(self.state.get(key, default))
        return self.state[key]

    def keys(self, prefix: str = "") -> list[str]:
        return [key for key in self.state if key.startswith(prefix)]

    def snapshot(self) -> dict[str, object]:
        return self.state

    def transaction(self, verbs: list[tuple[Any, ...]]) -> None:
        before = copy.deepcopy(self.state)
        try:
            for verb, *args in verbs:
                getattr(self, verb)(*args)
        except StateTypeErrorInModel:
            self.state = before
            raise

    def _list(self, key: str) -> list[object]:
        value = self.state.get(key, [])
        if not isinstance(value, list):
            raise StateTypeErrorInModel
        return value

    def _number(self, key: str, missing: float) -> float:
        value = self.state.get(key, missing)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise StateTypeErrorInModel
        return value


class StateTypeErrorInModel(Exception):
    """Where the model expects a `StateTypeError`."""


def verb(name: str, *arguments: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    """Calls of one verb with a key and these arguments."""
    return st.tuples(st.just(name), KEYS, *arguments)


# Those without a reply that depends on a condition may stand in a transaction.
PLAIN_WRITES = [
    verb("set", VALUES),
    verb("push", VALUES),
    verb("push", SCALARS),
    verb("extend", st.lists(VALUES, min_size=1, max_size=3)),
    verb("increment"),
    verb("increment", NUMBERS),
    verb("decrement", INTS),
    verb("maximum", NUMBERS),
    verb("minimum", NUMBERS),
    verb("merge", OBJECTS),
    verb("delete"),
    verb("remove", SCALARS),
]
OTHERS = [
    verb("pop"),
    verb("pop", SCALARS),
    verb("set_if_absent", VALUES),
    verb("compare_and_set", SCALARS | st.just(MISSING), VALUES),
    verb("update", st.just(wrap)),
    verb("update", st.just(wrap), SCALARS),
    verb("get"),
    verb("get", SCALARS),
    verb("has"),
    verb("length"),
    verb("slice", st.integers(0, 4), st.integers(0, 6)),
    st.tuples(st.just("keys"), st.sampled_from(["", "a", "a.", "z"])),
    st.tuples(st.just("snapshot")),
    st.tuples(st.just("transaction"), st.lists(st.one_of(PLAIN_WRITES), max_size=4)),
]
CALLS = st.lists(st.one_of(PLAIN_WRITES + OTHERS), min_size=1, max_size=25)


async def apply(store: Any, name: str, args: tuple[Any, ...]) -> object:
    """One call on the real store."""
    if name != "transaction":
        return await getattr(store, name)(*args)
    async with store.transaction() as tx:
        for inner, *inner_args in args[0]:
            getattr(tx, inner)(*inner_args)
    return None


def comparable(name: str, reply: object) -> str:
    """A reply in a form in which order counts only where the rules promise it."""
    return exact(sorted(reply) if name == "keys" else reply)


@pytest.mark.rule("B1", "B4", "B5", "B6", "B11", "A5")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CALLS)
def test_the_store_behaves_like_the_model(calls: list[tuple[Any, ...]]) -> None:
    """Every reply, every refusal and every state in between is that of the model."""

    async def body(store: Any) -> None:
        model = Model()
        for name, *args in calls:
            expected: object = None
            refused = False
            try:
                expected = getattr(model, name)(*(private(arg) for arg in args))
            except StateTypeErrorInModel:
                refused = True
            if refused:
                error = await error_of(apply, store, name, tuple(args))
                assert isinstance(error, StateTypeError), (name, args, error)
            else:
                reply = await apply(store, name, tuple(args))
                assert comparable(name, reply) == comparable(name, expected), (name, args)
            assert exact(await store.snapshot()) == exact(model.state), (name, args)

    trio.run(on_store, body)


@pytest.mark.rule("A2", "A5", "B7")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.one_of(PLAIN_WRITES), min_size=1, max_size=25))
def test_concurrent_calls_give_the_state_of_some_order_of_them(calls: list[tuple[Any, ...]]) -> None:
    """Calls of many tasks are applied one at a time: replaying them as they were applied gives the same state."""
    order: list[int] = []

    async def body(ctx: Any) -> None:
        store = ctx.run_store

        async def send(number: int, name: str, args: list[Any]) -> None:
            # The push notes the place of the call in the order, since both are one message.
            async with store.transaction() as tx:
                tx.push("order", number)
                getattr(tx, name)(*args)

        async def tolerant(number: int, name: str, args: list[Any]) -> None:
            assert isinstance(await error_of(send, number, name, args), ActorflowError | None)

        async with trio.open_nursery() as nursery:
            for number, (name, *args) in enumerate(calls):
                nursery.start_soon(tolerant, number, name, args)
        order.extend(await store.get("order", default=[]))
        model = Model()
        for number in order:
            name, *args = copy.deepcopy(calls[number])
            getattr(model, name)(*args)
        state = await store.snapshot()
        state.pop("order", None)
        assert exact(state) == exact(model.state)
        assert len(order) == len(set(order))

    trio.run(_completes, body)


async def _completes(body: Callable[[Any], Any]) -> None:
    must_complete(await play(flow_of(body)))

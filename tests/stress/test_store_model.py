"""The model of the verbs says what the real run store says, for random sequences of every verb."""

from __future__ import annotations

from random import Random
from typing import ClassVar

import pytest
import trio

from actorflow import MISSING, Context, Workflow, open_runtime
from actorflow.errors import LostUpdate, StateTypeError
from actorflow.testing import History, check_linearizable
from actorflow.testing.linear_tables import Tables
from actorflow.testing.store_call import PARAMETERS, StoreCall
from actorflow.testing.store_model import EFFECTS, WRONG, freeze

VALUES = (0, 1, 2, -1, 1.5, "a", "", True, False, None, [], [1, "a"], [True, 1], {}, {"x": 1}, {"x": [1], "y": None})
NUMBERS = (1, 2, -1, 0, 1.5, 10**20)


def bump(value: object) -> object:
    """What `update` does here."""
    return value + 1 if type(value) is int else [value]


def arguments(random: Random, verb: str) -> tuple[object, ...]:
    """What a call of the verb is given."""
    kinds = {
        "default": VALUES,
        "value": VALUES,
        "item": VALUES,
        "expected": (MISSING, *VALUES),
        "items": ([], [1], [1, "a", [1]]),
        "mapping": ({}, {"x": 2}, {"y": [1]}),
        "delta": NUMBERS,
        "number": NUMBERS,
        "function": (bump,),
    }
    return tuple(random.choice(kinds[name]) for name in PARAMETERS[verb])


class Comparing(Workflow):
    """One branch that asks the store, and holds every answer against the model."""

    seen: ClassVar[set[str]] = set()

    async def start(self, data, ctx: Context):
        random = Random(data)
        state: dict[str, object] = {"a": MISSING, "b": MISSING}
        for turn in range(120):
            if turn % 15 == 14:
                await transact(random, ctx, state)
                continue
            verb, key = random.choice(sorted(EFFECTS)), random.choice("ab")
            given = arguments(random, verb)
            try:
                new, answer = EFFECTS[verb](state[key], tuple(freeze(one) for one in given))
            except TypeError:
                with pytest.raises(StateTypeError):
                    await getattr(ctx.run_store, verb)(key, *given)
                self.seen.add(f"{verb} refused")
                continue
            found = await getattr(ctx.run_store, verb)(key, *given)
            assert freeze(found) == answer, (verb, key, given, state[key], found)
            state[key] = new
            self.seen.add(verb)
        found = await ctx.run_store.snapshot()
        assert {key: freeze(value) for key, value in found.items()} == {
            key: value for key, value in state.items() if value is not MISSING
        }


async def transact(random: Random, ctx: Context, state: dict[str, object]) -> None:
    """Several verbs at once, also held against the model."""
    verbs = [verb for verb in sorted(EFFECTS) if verb not in {"get", "has", "length", "update", "compare_and_set"}]
    parts = []
    for _ in range(random.randint(1, 3)):
        verb = random.choice(verbs)
        parts.append((verb, random.choice("ab"), () if verb == "pop" else arguments(random, verb)))
    padded = tuple((verb, key, given or (None,) * (verb == "pop")) for verb, key, given in parts)
    call = StoreCall("A", "transaction", "", padded, None, 1)
    order = StoreCall("A", "transaction", "", (("delete", "a", ()), ("delete", "b", ())), None, 0)
    values = {key: value for key, value in state.items() if value is not MISSING}
    move = Tables.of([order, call], {}).open_moves[1]
    new = move(tuple(state[key] for key in "ab"))
    if new is WRONG:
        with pytest.raises(StateTypeError):
            await apply(ctx, parts)
        found = await ctx.run_store.snapshot()
        assert {key: freeze(value) for key, value in found.items()} == values
        Comparing.seen.add("transaction refused")
    else:
        await apply(ctx, parts)
        state.update(zip("ab", new, strict=True))
        Comparing.seen.add("transaction")


async def apply(ctx: Context, parts: list[tuple[str, str, tuple[object, ...]]]) -> None:
    """The transaction itself."""
    async with ctx.run_store.transaction() as tx:
        for verb, key, given in parts:
            getattr(tx, verb)(key, *given)


@pytest.mark.rule("B4", "B5", "B6", "B11")
async def test_the_model_agrees_with_the_run_store(autojump_clock: trio.testing.MockClock) -> None:
    """Answers, refusals and values of every verb on values of every kind are those of the real store."""
    Comparing.seen = set()
    async with open_runtime([Comparing]) as runtime:
        for seed in range(60):
            await runtime.run(Comparing, seed)
    assert set(EFFECTS) | {"transaction", "transaction refused"} <= Comparing.seen
    refusing = set(EFFECTS) - {"get", "has", "set", "delete", "pop", "set_if_absent", "compare_and_set", "update"}
    assert {f"{verb} refused" for verb in refusing} <= Comparing.seen


class Mixing(Workflow):
    """Branches that use every verb side by side, recorded."""

    history = History()

    async def start(self, data, ctx: Context):
        for number in range(4):
            await ctx.schedule_next_step("work", [data, number])

    async def work(self, data, ctx: Context):
        random = Random(str(data))
        store = self.history.store(ctx.run_store, branch=f"b{data[1]}")
        for _ in range(12):
            await trio.sleep(random.random())
            verb, key = random.choice([*sorted(EFFECTS), "transaction", "push_nowait"]), random.choice("abc")
            try:
                if verb == "transaction":
                    async with store.transaction() as tx:
                        tx.push(key, "item")
                        tx.increment("count")
                elif verb == "push_nowait":
                    store.push_nowait("sent", random.randrange(2))
                    if random.random() < 0.5:
                        await store.get("sent")
                else:
                    await getattr(store, verb)(key, *arguments(random, verb))
            except (StateTypeError, LostUpdate):
                pass


async def test_histories_of_every_verb_are_linearizable(autojump_clock: trio.testing.MockClock) -> None:
    """Whatever branches ask side by side, with refusals, transactions and calls that tell nothing, has an order."""
    verbs: set[str] = set()
    async with open_runtime([Mixing]) as runtime:
        for seed in range(20):
            Mixing.history = History(initial={"a": [1]})
            await runtime.run(Mixing, seed, initial_state={"a": [1]})
            verdict = check_linearizable(Mixing.history)
            assert verdict, str(verdict)
            verbs |= {call.verb for call in Mixing.history.calls}
    assert verbs == {*EFFECTS, "transaction", "refused"}

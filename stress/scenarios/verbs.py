"""Every verb of the run store, by branches that share a few keys; bad ones among them, which must be refused.

What lives here: the scenario. What does not: sums and lists at scale (`aggregate`). Three branches share each key, so
that what they are told can be searched through.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import (
    MISSING,
    ActorflowError,
    Context,
    JournalError,
    Limits,
    NotJsonError,
    RunOver,
    RunStore,
    RuntimeClosed,
    StateKeyError,
    StateTypeError,
    ValueTooLarge,
    Workflow,
)

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import edge, element, ended, mailbox, start_and_wait, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

RUN: Final = "verbs"
SHARE: Final = 3
"""Branches that share a set of keys."""
OPS: Final = 6
"""Operations of a branch, at most: what is told is searched through, key by key."""

SWAPPED: Final = "compare_and_set succeeded"
NOT_SWAPPED: Final = "compare_and_set found another value"
REMOVED: Final = "remove found something"
POPPED: Final = "pop found a value"
REFUSED: Final = "a bad operation was refused"

VERBS: Final = {
    "n": ("increment", "decrement", "maximum", "minimum", "get", "swap", "pop"),
    "l": ("push", "push", "extend", "remove", "remove", "length", "get", "delete", "slice"),
    "o": ("merge", "get", "has", "set_if_absent", "update"),
    "v": ("set", "set_if_absent", "compare_and_set", "update", "pop", "delete", "has", "get", "edge"),
    "t": ("transfer", "transfer", "sum"),
    "b": ("bad",),
}
"""By kind of key (numbers, lists, objects, any value, a pair of accounts, none): what is done to it."""


class Op(TypedDict):
    """One operation."""

    kind: str
    verb: str
    n: int
    number: int
    value: object


class Branch(TypedDict):
    """One branch, and the set of keys that it writes to."""

    id: str
    group: int
    ops: list[Op]
    waits: int


class Plan(TypedDict):
    """All branches."""

    mailbox: int
    branches: list[Branch]


class Verbs(Workflow):
    """Branches that use every verb."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        await ctx.schedule_many("branch", list(cast("Plan", record_of(ctx).plan)["branches"]))

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Do what the plan says, one after the other."""
        mine, record = cast("Branch", data), record_of(ctx)
        store = record.store(ctx)
        for op in mine["ops"]:
            await weave(mine["waits"])
            if op["kind"] == "b":
                await bad(store, record, op, mine["id"])
            elif op["kind"] == "t":
                await transfer(store, record, op, f"t{mine['group']}")
            else:
                await act(store, record, op, f"{op['kind']}{mine['group']}", element(mine["id"], op["n"]))
        await ctx.run_store.push("done", f"{mine['id']}.0")


async def act(store: RunStore, record: Record, op: Op, key: str, name: str) -> None:
    """Use one verb on one key."""
    verb, number = op["verb"], op["number"]
    if verb in ("increment", "decrement", "maximum", "minimum"):
        await getattr(store, verb)(key, number)
    elif verb in ("get", "has", "length", "delete"):
        await getattr(store, verb)(key)
    elif verb == "pop":
        record.sometimes(POPPED, await store.pop(key) is not None)
    elif verb == "swap":
        found = await store.get(key)
        swapped = await store.compare_and_set(key, MISSING if found is None else found, number)
        record.sometimes(SWAPPED if swapped else NOT_SWAPPED)
    elif verb == "push":
        await store.push(key, number)
    elif verb == "extend":
        await store.extend(key, [name, number][: number % 3])
    elif verb == "remove":
        record.sometimes(REMOVED, await store.remove(key, number))
    elif verb == "slice":
        if len(await store.slice(key, -2, None)) > 2:
            record.seen.append(f"slice({key!r}, -2, None) has given more than two items")
    elif verb == "merge":
        await store.merge(key, {"last": name, str(number): number})
    elif verb == "update":
        await store.update(key, lambda old: {"by": name, "was": isinstance(old, dict)})
    elif verb == "set_if_absent":
        await store.set_if_absent(key, {"by": name})
    elif verb == "compare_and_set":
        record.sometimes(SWAPPED if await store.compare_and_set(key, number, number + 1) else NOT_SWAPPED)
    else:
        await store.set(key, {"by": name, "value": op["value"]} if verb == "edge" else number)


async def transfer(store: RunStore, record: Record, op: Op, key: str) -> None:
    """Two accounts that come to nothing together, whoever looks, and whenever."""
    if op["verb"] == "transfer":
        async with store.transaction() as tx:
            tx.decrement(f"{key} a", op["number"])
            tx.increment(f"{key} b", op["number"])
        return
    seen = await store.snapshot()
    a, b = (cast("int", seen.get(f"{key} {side}", 0)) for side in "ab")
    if a + b:
        record.seen.append(f"a transaction was seen half done: {key} a is {a}, and {key} b is {b}")


async def bad(store: RunStore, record: Record, op: Op, name: str) -> None:
    """Something that has to be refused with its own error."""
    # A key of its own: a later pass is told of its `set` from memory, and finds what the pass before it has left.
    key = f"bad {element(name, op['n'])}"
    await store.set(key, [op["n"]])
    tries = (
        (StateTypeError, lambda: store.increment(key)),
        (StateTypeError, lambda: store.merge(key, {"a": 1})),
        (StateTypeError, lambda: store.increment(key, cast("int", True))),
        (NotJsonError, lambda: store.set(key, float("nan"))),
        (NotJsonError, lambda: store.push(key, "\ud800")),
        (NotJsonError, lambda: store.push(key, {1, 2})),
        (StateKeyError, lambda: store.push("", 1)),
        (ValueTooLarge, lambda: store.push(key, "x" * 300_000)),
    )
    wanted, attempt = tries[op["number"] % len(tries)]
    try:
        await attempt()
    except wanted:
        record.sometimes(REFUSED)
    except (JournalError, RunOver, RuntimeClosed):
        raise  # the run is being stopped from outside
    except ActorflowError as error:
        record.seen.append(f"branch {name}: {wanted.__name__} was to be raised, and it was {error!r}")
    else:
        record.seen.append(f"branch {name}: {wanted.__name__} was to be raised, and nothing was")
    if await store.get(key) != [op["n"]]:
        record.seen.append(f"branch {name}: a refused operation has changed the value")


class VerbsScenario(Scenario):
    """All verbs."""

    name = "verbs"
    summary = "every verb of the run store, refused ones and transactions among them"
    workflows = (Verbs,)
    sometimes = (SWAPPED, NOT_SWAPPED, REMOVED, POPPED, REFUSED)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Branches in groups that share their keys."""
        branches = []
        for number in range(size.branches):
            ops = []
            for n in range(chance.randint(1, min(OPS, size.ops))):
                kind = chance.choice("nnllovvvttb")
                verb = chance.choice(VERBS[kind])
                value = edge(chance) if verb == "edge" else None
                ops.append(
                    Op(kind=kind, verb=verb, n=n, number=chance.randint(0, 1 if kind == "l" else 8), value=value)
                )
            branches.append(Branch(id=f"b{number}", group=number // SHARE, ops=ops, waits=chance.choice((0, 0, 1, 4))))
        return Plan(mailbox=mailbox(chance), branches=branches)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan, and room for a key of each kind and branch."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"], keys=1_000_000)

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Verbs, RUN)

    def check(self, plan: object, record: Record) -> list[str]:
        """Everybody has done everything, and accounts are even; the oracles know what each verb does."""
        return list(_check(cast("Plan", plan), record))


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    state = record.state_of(RUN)
    if state is None:
        return
    done, wanted = (
        sorted(cast("list[str]", state.get("done", []))),
        sorted(f"{one['id']}.0" for one in plan["branches"]),
    )
    if done != wanted:
        yield f"{len(wanted)} branches were to come to their end, once each, and {len(done)} have: {done[:5]}"
    for key, value in state.items():
        if key.endswith(" a") and cast("int", value) + cast("int", state.get(f"{key[:-2]} b", 0)):
            yield f"{key} is {value!r}, and {key[:-2]} b is {state.get(f'{key[:-2]} b')!r}"

"""Many branches aggregate into one store: lists, sums and registers, with reads in between.

What lives here: the scenario. What does not: all branches on one key (`hot_key`), all verbs (`verbs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, Workflow

from ..recording import record_of
from ..scenario import Scenario, Size
from .elements import differences, edge, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import RunStore, Runtime

    from ..recording import Record

RUN: Final = "aggregate"
READ_WHOLE: Final = 400
"""Operations of a plan up to which whole lists are read: each read copies its list."""

BETWEEN: Final = "another branch came between a read and a write"
FULL: Final = "mailbox full"
BEHIND: Final = "a register was overwritten by another branch"


class Op(TypedDict):
    """One thing that a branch does: `do` says what, `n` is its number in the branch."""

    do: str
    n: int
    key: str
    value: object


class Branch(TypedDict):
    """One branch."""

    id: str
    ops: list[Op]
    waits: int


class Plan(TypedDict):
    """What the branches do. `keep`: whether the store outlives its run."""

    mailbox: int
    keep: bool
    branches: list[Branch]


class Aggregate(Workflow):
    """The branches of a plan, side by side."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        plan = cast("Plan", record_of(ctx).plan)
        await ctx.schedule_many("branch", list(plan["branches"]))

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """What one branch does."""
        mine = cast("Branch", data)
        record = record_of(ctx)
        store = record.store(ctx)
        await weave(mine["waits"])
        for op in mine["ops"]:
            await act(store, record, op, element(mine["id"], op["n"]))
        await store.increment("branches")

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """How many branches there were."""
        return await ctx.run_store.get("branches", 0)


class Passing(Aggregate):
    """The same, and its store goes with it."""

    keep_state = False


async def act(store: RunStore, record: Record, op: Op, name: str) -> None:
    """Do one thing."""
    do, key, value = op["do"], op["key"], op["value"]
    if do == "push":
        await store.push(key, name)
    elif do == "tell":
        try:
            store.push_nowait(key, name)
        except trio.WouldBlock:
            record.sometimes(FULL)
            await store.push(key, name)
    elif do == "add":
        await store.increment(key, cast("int", value))
    elif do == "look":
        await (store.get(key) if value else store.length(key))
    elif do == "grow":
        length = await store.length(key)
        record.sometimes(BETWEEN, await store.push(key, name) != length + 1)
    elif do == "mark":
        await store.set(key, {"by": name, "value": value})
    else:
        found = await store.get(key)
        record.sometimes(BEHIND, isinstance(found, dict) and found["by"].partition(".")[0] != name.partition(".")[0])


KINDS: Final = ("push", "push", "tell", "add", "add", "look", "grow", "mark", "recall")


class AggregateScenario(Scenario):
    """Pushes, increments, sets and reads by many branches."""

    name = "aggregate"
    summary = "many branches push, add, set and read; JSON at its edges"
    workflows = (Aggregate, Passing)
    sometimes = (BETWEEN, FULL, BEHIND)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Branches with operations on one to three keys of each kind."""
        spread = chance.randint(1, 3)
        whole = size.branches * size.ops <= READ_WHOLE
        branches: list[Branch] = []
        for number in range(chance.randint(2, max(2, size.branches)) if whole else size.branches):
            ops: list[Op] = []
            for n in range(chance.randint(1, size.ops) if whole else size.ops):
                do = chance.choice(KINDS)
                key = f"{KEYS[do]}{chance.randrange(spread)}"
                value = chance.randint(1, 9) if do == "add" else edge(chance) if do == "mark" else whole
                ops.append(Op(do=do, n=n, key=key, value=value))
            branches.append(Branch(id=f"b{number}", ops=ops, waits=chance.choice((0, 0, 0, 1, 5))))
        return Plan(mailbox=mailbox(chance), keep=chance.random() < 0.7, branches=branches)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Aggregate if cast("Plan", plan)["keep"] else Passing, RUN)

    def check(self, plan: object, record: Record) -> list[str]:
        """Every list, every sum and every register is what the branches made of it."""
        return list(_check(cast("Plan", plan), record))


KEYS: Final = {
    "push": "list",
    "tell": "list",
    "look": "list",
    "grow": "list",
    "add": "sum",
    "mark": "register",
    "recall": "register",
}


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    branches = plan["branches"]
    outcome = record.outcomes.get(RUN)
    if outcome is not None and outcome.output != len(branches):
        yield f"the run says that it had {outcome.output!r} branches, and it had {len(branches)}"
    state = record.state_of(RUN)
    if state is None:
        return
    lists: dict[str, dict[str, list[str]]] = {}
    sums: dict[str, int] = {}
    last: dict[str, dict[str, Op]] = {}
    for branch in branches:
        for op in branch["ops"]:
            if op["do"] in ("push", "tell", "grow"):
                each = lists.setdefault(op["key"], {})
                each.setdefault(branch["id"], []).append(element(branch["id"], op["n"]))
            elif op["do"] == "add":
                sums[op["key"]] = sums.get(op["key"], 0) + cast("int", op["value"])
            elif op["do"] == "mark":
                last.setdefault(op["key"], {})[element(branch["id"], op["n"])] = op
                for n in range(op["n"]):
                    last[op["key"]].pop(element(branch["id"], n), None)
    for key, wanted in lists.items():
        yield from differences(key, wanted, state.get(key))
    for key, total in sums.items():
        yield from sum_is(key, total, state.get(key))
    for key, marks in last.items():
        found = state.get(key)
        if not isinstance(found, dict) or found.get("by") not in marks:
            yield f"{key} is {found!r}, which is not the last that any branch has set"
        elif repr(found["value"]) != repr(marks[found["by"]]["value"]):
            yield f"{key} is {found['value']!r}, and branch {found['by']} has set {marks[found['by']]['value']!r}"
    for key in sorted(state.keys() - {*lists, *sums, *last, "branches"}):
        yield f"there is a key {key!r} that no branch has written"

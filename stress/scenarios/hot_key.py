"""All branches on one key, each plan with one way of writing to it.

What lives here: the scenario. What does not: many keys (`aggregate`), many verbs (`verbs`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import MISSING, Context, Limits, LostUpdate, Retry, RunStore, Workflow, step

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

RUN: Final = "hot-key"
KEY: Final = "hot"
SEARCHED: Final = 40
"""Writes up to which ways are chosen that only a search can check, and whose branches have to try again."""

RACE_LOST: Final = "compare_and_set lost a race"
UPDATE_LOST: Final = "a lost update was refused"
NOT_NEXT: Final = "two increments of a branch had others between them"


class Branch(TypedDict):
    """One branch: how often it writes, and what it waits before."""

    id: str
    times: int
    waits: int


class Plan(TypedDict):
    """`way`: how all of them write."""

    mailbox: int
    way: str
    branches: list[Branch]


class HotKey(Workflow):
    """Branches that write to one key."""

    keep_state = True
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        plan = cast("Plan", record_of(ctx).plan)
        await ctx.schedule_many("careless" if plan["way"] == "set" else "branch", list(plan["branches"]))

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Write as often as the plan says."""
        mine, record = cast("Branch", data), record_of(ctx)
        store = record.store(ctx)
        way = cast("Plan", record.plan)["way"]
        last = 0.0
        for n in range(mine["times"]):
            await weave(mine["waits"])
            if way == "increment":
                now = await store.increment(KEY)
                record.sometimes(NOT_NEXT, last and now != last + 1)
                last = now
            elif way == "push":
                await store.push(KEY, element(mine["id"], n))
            elif way == "maximum":
                await store.maximum(KEY, (n + 1) * 1000 + int(mine["id"][1:]))
            elif way == "update":
                await store.update(KEY, one_more, 0)
            else:
                await swap(store, record, mine["waits"])

    @step(retry=Retry(1000, delay=0.01, factor=1.5, max_delay=2.0, jitter=0.5, on=(LostUpdate,)))
    async def careless(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Read, and set: right only because a lost update is refused, and the step tries again."""
        mine, record = cast("Branch", data), record_of(ctx)
        store = record.store(ctx)
        record.sometimes(UPDATE_LOST, ctx.attempt > 1)
        found = await store.get(KEY, 0)
        await weave(mine["waits"])
        await store.set(KEY, one_more(found))


def one_more(value: object) -> object:
    """The number after this one."""
    return cast("int", value) + 1


async def swap(store: RunStore, record: Record, waits: int) -> None:
    """Increment by `compare_and_set`, as often as it takes."""
    while True:
        found = await store.get(KEY)
        await weave(waits)
        if await store.compare_and_set(KEY, MISSING if found is None else found, one_more(found or 0)):
            return
        record.sometimes(RACE_LOST)


class HotKeyScenario(Scenario):
    """One key, and everybody on it."""

    name = "hot-key"
    summary = "all branches write to one key, by increment, push, maximum, update, compare_and_set or get and set"
    workflows = (HotKey,)
    sometimes = (RACE_LOST, UPDATE_LOST, NOT_NEXT)

    def plan(self, chance: random.Random, size: Size) -> object:
        """One way for all branches."""
        small = size.branches * size.ops <= SEARCHED
        ways = ("increment", "push", "maximum", "update", "swap", "set") if small else ("increment", "push")
        count = chance.randint(2, max(2, size.branches)) if small else size.branches
        branches = [
            Branch(
                id=f"b{number}",
                times=chance.randint(1, size.ops) if small else size.ops,
                waits=chance.choice((0, 0, 1, 3)),
            )
            for number in range(count)
        ]
        return Plan(mailbox=mailbox(chance), way=chance.choice(ways), branches=branches)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, HotKey, RUN)

    def check(self, plan: object, record: Record) -> list[str]:
        """The key is what all of them together made of it."""
        return list(_check(cast("Plan", plan), record))


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    state = record.state_of(RUN)
    if state is None:
        return
    found, branches, way = state.get(KEY), plan["branches"], plan["way"]
    if way == "push":
        wanted = {one["id"]: [element(one["id"], n) for n in range(one["times"])] for one in branches}
        yield from differences(KEY, wanted, found)
    elif way == "maximum":
        yield from sum_is(KEY, max((one["times"] * 1000 + int(one["id"][1:]) for one in branches), default=0), found)
    else:
        yield from sum_is(KEY, sum(1 if way == "set" else one["times"] for one in branches), found)

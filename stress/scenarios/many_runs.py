"""Hundreds of runs at once in one runtime, each with branches of its own, each checked.

What lives here: the scenario. What does not: many branches of one run (`aggregate`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, Retry, Workflow, step

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from actorflow import Runtime

INTERLEAVED: Final = "two runs were between their first and their last step at once"
TAKEN: Final = "a start was repeated under the same id"


class One(TypedDict):
    """One run: what it starts with, its branches by name, how many elements each pushes, and whether it is kept."""

    id: str
    branches: list[str]
    ops: int
    waits: int
    keep: bool
    twice: bool


class Plan(TypedDict):
    """All runs."""

    mailbox: int
    runs: list[One]


class Small(Workflow):
    """A run that lets its store go with it."""

    max_live_steps = 100_000

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Schedule the branches."""
        mine, record = cast("One", data), record_of(ctx)
        open_now = cast("set[str]", record.notes.setdefault("open", set()))
        open_now.add(ctx.run_id)
        record.sometimes(INTERLEAVED, len(open_now) > 1)
        await ctx.schedule_many("branch", [{"id": name, "ops": mine["ops"]} for name in mine["branches"]])
        await weave(mine["waits"])

    @step(retry=Retry(3, delay=0.1))
    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Push, add, and fail once in the middle if it is an odd one."""
        store = record_of(ctx).store(ctx)
        name, ops = str(data["id"]), cast("int", data["ops"])
        for n in range(ops):
            await store.push("list", element(name, n))
            await store.increment("sum", n + 1)
            if name.endswith("!") and ctx.attempt == 1 and n == ops // 2:
                raise ConnectionError("as planned")

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """What the store holds, while it is there."""
        cast("set[str]", record_of(ctx).notes.get("open", set())).discard(ctx.run_id)
        return await ctx.run_store.snapshot()


class Kept(Small):
    """The same, and its store stays."""

    keep_state = True


class ManyRunsScenario(Scenario):
    """Runs beside one another, which have nothing to do with one another."""

    name = "many-runs"
    summary = "hundreds of runs at once, each with a few branches"
    workflows = (Small, Kept)
    sometimes = (INTERLEAVED, TAKEN)

    def plan(self, chance: random.Random, size: Size) -> object:
        """As many runs as there may be branches."""
        runs = [
            One(
                id=f"many-{number}",
                branches=[f"b{n}{'!' if chance.random() < 0.2 else ''}" for n in range(chance.randint(1, 3))],
                ops=chance.randint(1, size.ops),
                waits=chance.choice((0, 0, 2, 10)),
                keep=chance.random() < 0.5,
                twice=chance.random() < 0.2,
            )
            for number in range(size.branches)
        ]
        return Plan(mailbox=mailbox(chance), runs=runs)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """All runs, started at once; some of them twice, which has to give the same run."""

        async def one(mine: One) -> None:
            await start_and_wait(runtime, record, Kept if mine["keep"] else Small, mine["id"], mine)

        async with trio.open_nursery() as nursery:
            for mine in cast("Plan", plan)["runs"]:
                record.adopt(mine["id"])
                nursery.start_soon(one, mine)
                if mine["twice"]:
                    record.sometimes(TAKEN)
                    nursery.start_soon(one, mine)

    def check(self, plan: object, record: Record) -> list[str]:
        """Every run has what its own branches made, and nothing of another one."""
        return [text for mine in cast("Plan", plan)["runs"] for text in _check(mine, record)]


def _check(mine: One, record: Record) -> Iterator[str]:
    yield from ended(record, mine["id"])
    outcome = record.outcomes.get(mine["id"])
    for state in () if outcome is None else (outcome.output, record.state_of(mine["id"])):
        if state is None:
            continue
        found = cast("dict[str, object]", state)
        wanted: dict[str, Sequence[str]] = {
            name: [element(name, n) for n in range(mine["ops"])] for name in mine["branches"]
        }
        yield from differences(f"list of {mine['id']}", wanted, found.get("list"))
        total = len(mine["branches"]) * mine["ops"] * (mine["ops"] + 1) // 2
        yield from sum_is(f"sum of {mine['id']}", total, found.get("sum"))

"""Scenarios of crashes that no other one has: going on without being asked, and keeping what was told.

What lives here: `AloneScenario`, `ToldScenario`. What does not: why they are here (`extra`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, RunStatus, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from ..scenarios.elements import differences, ended, mailbox, start_and_wait

if TYPE_CHECKING:
    import random

    from actorflow import Runtime

__all__ = ["AloneScenario", "ToldScenario"]


# --- going on without being asked

PATIENCE_S: Final = 400.0
"""Virtual seconds after which a run should be over, also if its journal could not be written for some time."""


class Sleepers(TypedDict):
    """How long each run sleeps."""

    naps: list[float]


class Sleeper(Workflow):
    """Sleep in one step, and then in another."""

    keep_state = True

    async def start(self, data: float, ctx: Context[object]) -> None:
        """Sleep a little, and write it down."""
        await trio.sleep(data)
        await record_of(ctx).store(ctx).push("list", "start.0")
        await ctx.schedule_next_step("again", data, delay=data)

    async def again(self, data: float, ctx: Context[object]) -> None:
        """Write it down again."""
        await record_of(ctx).store(ctx).push("list", "again.0")


class AloneScenario(Scenario):
    """Runs that nobody asks for."""

    name = "alone"
    summary = "runs that are started once, and have to go on by themselves in every later life"
    workflows = (Sleeper,)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """A few runs."""
        return Sleepers(naps=[chance.choice((0.0, 0.1, 2.0)) for _ in range(size.branches)])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Start what has not been started, and look on from outside until all are over."""
        started = cast("set[str]", record.notes.setdefault("started", set()))
        ids = [f"alone-{number}" for number in range(len(cast("Sleepers", plan)["naps"]))]
        for run_id, nap in zip(ids, cast("Sleepers", plan)["naps"], strict=True):
            record.adopt(run_id)
            if run_id not in started:
                await runtime.start(Sleeper, nap, run_id=run_id)
                started.add(run_id)
        deadline = trio.current_time() + PATIENCE_S
        while open_now := [row.run_id for row in await runtime.list_runs() if row.status is RunStatus.RUNNING]:
            if trio.current_time() > deadline:
                record.seen.append(f"nobody has asked for {', '.join(sorted(open_now))}, and so nothing goes on there")
                break
            await trio.sleep(1.0)
        for run_id in ids:
            record.keep(run_id, await (await runtime.get_run(run_id)).wait())

    def check(self, plan: object, record: Record) -> list[str]:
        """All are over, and have done everything once."""
        found: list[str] = []
        for number in range(len(cast("Sleepers", plan)["naps"])):
            run_id = f"alone-{number}"
            found += ended(record, run_id)
            state = record.state_of(run_id)
            if state is not None:
                wanted = {"start": ["start.0"], "again": ["again.0"]}
                found += differences(f"list of {run_id}", wanted, state.get("list"))
        return found


# --- what was told stays


class Writer(TypedDict):
    """One writer: how often it pushes, and how many seconds it waits between."""

    times: int
    pause: float


class Reader(TypedDict):
    """One reader: how often it reads, and how many seconds it waits between."""

    times: int
    pause: float


class Telling(TypedDict):
    """Writers and readers."""

    mailbox: int
    writers: list[Writer]
    readers: list[Reader]


class Told(Workflow):
    """Writers whose elements have another name in each pass, so that it shows which of them has become durable."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule all."""
        plan = cast("Telling", record_of(ctx).plan)
        await ctx.schedule_many("write", list(plan["writers"]))
        await ctx.schedule_many("read", list(plan["readers"]))

    async def write(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Push what nobody has pushed before."""
        mine, notes = cast("Writer", data), record_of(ctx).notes
        for _ in range(mine["times"]):
            notes["count"] = cast("int", notes.get("count", 0)) + 1
            await ctx.run_store.push("list", notes["count"])
            await trio.sleep(mine["pause"])

    async def read(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Read, and remember outside of the run what was there: also while a slow write is under way."""
        mine = cast("Reader", data)
        for _ in range(mine["times"]):
            await trio.sleep(mine["pause"])
            found = cast("list[int]", await ctx.run_store.get("list", []))
            cast("list[list[int]]", record_of(ctx).notes.setdefault("told", [])).append(found)


class ToldScenario(Scenario):
    """Reads."""

    name = "told"
    for_load = False
    summary = "readers remember over crashes what they were told; it has to be true for ever"
    workflows = (Told,)

    def plan(self, chance: random.Random, size: Size) -> object:
        """A few of both."""
        return Telling(
            mailbox=mailbox(chance),
            writers=[
                Writer(times=chance.randint(size.ops, 3 * size.ops), pause=chance.choice((0, 0.1, 0.4)))
                for _ in range(size.branches)
            ],
            readers=[Reader(times=chance.randint(5, 10 * size.ops), pause=pause) for pause in (0.05, 0.2, 0.5)],
        )

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Telling", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Told, "told")

    def check(self, plan: object, record: Record) -> list[str]:
        """Whatever was read is the beginning of what is there at the end."""
        found = list(ended(record, "told"))
        state = record.state_of("told")
        final = cast("list[int]", state.get("list", [])) if state is not None else None
        for seen in cast("list[list[int]]", record.notes.get("told", [])) if final is not None else ():
            if final is not None and final[: len(seen)] != seen:
                found.append(f"a reader was told {seen}, and at the end the list begins with {final[: len(seen)]}")
        return found

"""Runs that nobody asks for: they are started once, and have to go on by themselves over every crash.

What lives here: the scenario. What does not: runs that are started again in every life (all the others).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, RunStatus, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, ended

if TYPE_CHECKING:
    import random

    from actorflow import Runtime

__all__ = ["AloneScenario"]

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

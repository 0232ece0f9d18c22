"""Faults of the runtime that the stress tool has found, each with the exploration that finds its kind."""

import pytest
import trio

from actorflow import Context, RunStatus, Runtime, Workflow, open_runtime
from actorflow.abc import Journal
from actorflow.testing import explore


@pytest.mark.rule("D1")
def test_wait_never_tells_of_a_run_that_is_still_running() -> None:
    """Also when a timer wakes the suspended run while its outcome is put together."""

    class Woken(Workflow):
        async def start(self, data: object, ctx: Context):
            await ctx.schedule_next_step("asking")
            for number in range(12):
                await ctx.schedule_next_step("late", delay=0.5 * (number // 4 + 1))

        async def late(self, data: object, ctx: Context):
            await ctx.run_store.increment("late")

        async def asking(self, data: object, ctx: Context):
            await ctx.suspend("why?")

    async def program(journal: Journal) -> set[RunStatus]:
        told = set()

        async def look(runtime: Runtime, run_id: str) -> None:
            run = await runtime.start(Woken, run_id=run_id)
            while trio.current_time() < 2:
                for _ in range(20):
                    told.add((await run.wait()).status)
                await trio.sleep(0.5)

        async with open_runtime([Woken], journal=journal, shutdown_grace=0) as runtime, trio.open_nursery() as nursery:
            for number in range(2):
                nursery.start_soon(look, runtime, f"r{number}")
        return told

    explore(program, seeds=60, invariants=[lambda told: told <= {RunStatus.SUSPENDED}])

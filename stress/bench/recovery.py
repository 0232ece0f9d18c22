"""P9: how long it takes to take a run up again, against how long it took to run.

What lives here: that figure. What does not: whether recovery is right under real crashes (`stress.kill`).
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import trio

from actorflow import Context, Workflow, open_runtime

from .figures import Figure, Settings, ratio
from .question import check

if TYPE_CHECKING:
    from collections.abc import Iterator

FACTS_PER_BRANCH = 4
"""Its start, its push, its increment, its end."""


def take_up(settings: Settings) -> Iterator[Figure]:
    """P9."""
    facts = settings.choose(100_000, 20_000)
    ran, recovered = [], []
    for _ in range(settings.choose(5, 3)):
        with settings.journal() as journal:
            took, again = trio.run(run_and_recover, journal, facts // FACTS_PER_BRANCH)
        ran.append(took)
        recovered.append(again)
    note = f"{median(recovered):.3f} s for a run of {median(ran):.2f} s"
    what = f"recovery of a run of {facts:,} facts on SQLite / the time that it took to run"
    yield ratio("P9", what, recovered, ran, goal=0.2, note=note)


async def run_and_recover(journal: str, branches: int) -> tuple[float, float]:
    """Seconds until all branches are done, and then until the next runtime has taken the run up.

    The first runtime is closed over a step that sleeps. In the second the run ends, and its answer is checked.
    """
    done = trio.Event()
    state = {"left": branches}

    class CutOff(Workflow):
        async def start(self, data: int, ctx: Context[object]) -> None:
            await ctx.schedule_many("branch", range(data))
            if not done.is_set():
                await trio.sleep_forever()

        async def branch(self, data: int, ctx: Context[object]) -> None:
            await ctx.run_store.push("items", {"id": data, "status": "done"})
            await ctx.run_store.increment("counter")
            state["left"] -= 1
            if not state["left"]:
                done.set()

    gc.collect()
    async with open_runtime([CutOff], journal=journal, shutdown_grace=0) as runtime:
        began = time.perf_counter()
        await runtime.start(CutOff, branches, run_id="cut")
        await done.wait()
        ran = time.perf_counter() - began
    gc.collect()
    began = time.perf_counter()
    async with open_runtime([CutOff], journal=journal) as runtime:
        recovered = time.perf_counter() - began
        outcome = await (await runtime.get_run("cut")).wait()
    check(outcome.state, branches)
    return ran, recovered

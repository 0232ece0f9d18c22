"""P10: a thousand small runs at once against one run that does the same work.

What lives here: that figure. What does not: one run alone (`fanout`).
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import trio

from actorflow import Context, Workflow, open_runtime

from .figures import Figure, Settings, WrongAnswer, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

OPERATIONS = 10


async def work(ctx: Context[object]) -> None:
    """Ten operations, one after the other."""
    for _ in range(OPERATIONS // 2):
        await ctx.run_store.increment("counter")
        await ctx.run_store.push("items", 1)


class Small(Workflow):
    """One run of many."""

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Do one share of the work."""
        await work(ctx)


class Large(Workflow):
    """One run for all."""

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Open one branch per share of the work."""
        await ctx.schedule_many("branch", range(data))

    async def branch(self, data: int, ctx: Context[object]) -> None:
        """Do one share of the work."""
        await work(ctx)


def at_once(settings: Settings) -> Iterator[Figure]:
    """P10."""
    runs = settings.choose(1_000, 300)
    many, one = [], []
    for _ in range(settings.choose(5, 3)):
        with settings.journal() as journal:
            many.append(trio.run(many_small, journal, runs))
        with settings.journal() as journal:
            one.append(trio.run(one_large, journal, runs))
    operations = runs * OPERATIONS
    note = f"{median(many):.3f} s against {median(one):.3f} s"
    what = f"{runs:,} runs at once, {operations:,} operations on SQLite / one run with {runs:,} branches"
    yield ratio("P10", what, many, one, goal=1.5, note=note)


async def many_small(journal: str, runs: int) -> float:
    """Seconds for all the runs, started together."""
    async with open_runtime([Small], journal=journal) as runtime:

        async def one(number: int) -> None:
            run = await runtime.start(Small, number)
            check((await run.wait()).state, 1)

        gc.collect()
        began = time.perf_counter()
        async with trio.open_nursery() as nursery:
            for number in range(runs):
                nursery.start_soon(one, number)
        return time.perf_counter() - began


async def one_large(journal: str, branches: int) -> float:
    """Seconds for one run with as many branches."""
    async with open_runtime([Large], journal=journal) as runtime:
        gc.collect()
        began = time.perf_counter()
        run = await runtime.start(Large, branches)
        outcome = await run.wait()
        seconds = time.perf_counter() - began
        check(outcome.state, branches)
    return seconds


def check(state: dict[str, object], shares: int) -> None:
    """Everything counted once; `WrongAnswer` otherwise."""
    expected = shares * OPERATIONS // 2
    if state != {"counter": expected, "items": [1] * expected}:
        raise WrongAnswer(f"{shares} shares of work gave {str(state)[:200]}")

"""P6: child runs that inherit much, against child runs that inherit nothing.

What lives here: those figures. What does not: child runs that suspend (`suspended`).
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from actorflow import Context, Workflow, open_runtime

from .figures import Figure, Settings, WrongAnswer, ratio
from .question import check_items

if TYPE_CHECKING:
    from collections.abc import Iterator

CHILDREN = 50
ITEMS = 100_000
SLICE = 1_000
"""Items that one message brings: the list grows as lists of runs do, not as one large value."""


class Heir(Workflow):
    """The child run: it looks how long the list is that it has inherited."""

    async def start(self, data: object, ctx: Context[object]) -> int:
        """Count, without reading."""
        return await ctx.run_store.length("items")


def inheriting(settings: Settings) -> Iterator[Figure]:
    """P6."""
    items = settings.choose(ITEMS, ITEMS // 10)
    for kind in ("memory", "sqlite"):
        full, empty = [], []
        for _ in range(settings.choose(7, 3)):
            with settings.journal(kind) as journal:
                taken = trio.run(start_children, journal, items)
            full.append(taken[items])
            empty.append(taken[0])
        where = "in memory" if kind == "memory" else "on SQLite"
        what = f"{CHILDREN} child runs that inherit a list of {items:,} items {where} / with an empty state"
        note = f"{_each(full)} against {_each(empty)} a child run"
        yield ratio("P6", what, full, empty, goal=1.3, note=note)


def _each(seconds: list[float]) -> str:
    return f"{median(seconds) * 1e6:.0f} µs"


async def start_children(journal: str, items: int) -> dict[int, float]:
    """Seconds for a child run of a run with so many items, and of one with none: each the median of fifty.

    The two runs take turns: a child run of the one, a child run of the other. What they saw is checked.
    """
    took: dict[int, list[float]] = {items: [], 0: []}
    seen: dict[int, list[int]] = {items: [], 0: []}
    filled = {items: trio.Event(), 0: trio.Event()}
    turns = trio.Lock()  # first come, first served: two that want it again and again alternate

    class Parent(Workflow):
        async def start(self, data: int, ctx: Context[object]) -> None:
            for first in range(0, data, SLICE):
                await ctx.run_store.extend("items", ({"id": number} for number in range(first, first + SLICE)))
            filled[data].set()
            for event in filled.values():
                await event.wait()
            for _ in range(CHILDREN):
                async with turns:
                    await wait_all_tasks_blocked()  # what the other's child run leaves to do is not counted here
                    began = time.perf_counter()
                    found = await ctx.run_child(Heir)
                    took[data].append(time.perf_counter() - began)
                seen[data].append(found)  # type: ignore[arg-type]  # as Heir gives it

    async with open_runtime([Parent, Heir], journal=journal) as runtime:
        gc.collect()
        runs = [(number, await runtime.start(Parent, number)) for number in took]
        for number, run in runs:
            outcome = await run.wait()
            if outcome.error is not None:
                raise WrongAnswer(f"a parent run failed: {outcome.error}")
            check_items(outcome.state.get("items", []), number)
            if seen[number] != [number] * CHILDREN:
                raise WrongAnswer(f"child runs of a run with {number} items saw {sorted(set(seen[number]))}")
    return {number: median(seconds) for number, seconds in took.items()}

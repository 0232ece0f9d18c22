"""The common question: fan out N branches; each pushes one small object and increments one counter; join; check.

What lives here: the question as actorflow asks it, the baseline R that a trio user would write by hand, and the check
of the answer. What does not: any figure.
"""

from __future__ import annotations

import gc
import time
from typing import TYPE_CHECKING

import trio

from actorflow import Context, Workflow, open_runtime

from .figures import WrongAnswer

if TYPE_CHECKING:
    from collections.abc import Mapping


class FanOut(Workflow):
    """The question, the way the documentation recommends: one durable call per thousand branches."""

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Open the branches."""
        await ctx.schedule_many("branch", range(data))

    async def branch(self, data: int, ctx: Context[object]) -> None:
        """Push and count."""
        await ctx.run_store.push("items", {"id": data, "status": "done"})
        await ctx.run_store.increment("counter")


class FanOutOneByOne(FanOut):
    """The question with one call per branch."""

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Open the branches."""
        for number in range(data):
            await ctx.schedule_next_step("branch", number)


async def ask(workflow: type[Workflow], journal: str, branches: int) -> float:
    """Seconds from the start of a run to its result, in a runtime of its own; the answer is checked."""
    async with open_runtime([workflow], journal=journal) as runtime:
        gc.collect()
        began = time.perf_counter()
        run = await runtime.start(workflow, branches, run_id="question")
        await run.result()
        seconds = time.perf_counter() - began
        check((await run.wait()).state, branches)
    return seconds


async def baseline(branches: int) -> float:
    """R: seconds for the same with a bare nursery: no isolation, no limits, no journal, no recovery."""
    items: list[object] = []
    counter = 0

    async def branch(number: int) -> None:
        nonlocal counter
        await trio.lowlevel.checkpoint()
        items.append({"id": number, "status": "done"})
        await trio.lowlevel.checkpoint()
        counter += 1

    gc.collect()
    began = time.perf_counter()
    async with trio.open_nursery() as nursery:
        for number in range(branches):
            nursery.start_soon(branch, number)
    seconds = time.perf_counter() - began
    check({"items": items, "counter": counter}, branches)
    return seconds


def check(state: Mapping[str, object], branches: int) -> None:
    """Every item once, and the counter N; `WrongAnswer` otherwise."""
    if state.get("counter") != branches:
        raise WrongAnswer(f"the counter is {state.get('counter')!r} after {branches} increments")
    check_items(state.get("items"), branches)


def check_items(items: object, count: int) -> None:
    """The items are those with the ids from 0 to `count` - 1, each once; `WrongAnswer` otherwise."""
    assert isinstance(items, list)
    ids = [item["id"] for item in items]
    if len(ids) != count or set(ids) != set(range(count)):
        lost = count - len(set(ids) & set(range(count)))
        raise WrongAnswer(f"{lost} of {count} items are lost, and {len(ids) - count + lost} too many")

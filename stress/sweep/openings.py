"""Opening and closing a runtime, as the call that is cancelled.

What lives here: a whole block, the way into one that has runs to take up, the way out of one whose steps still work.
What does not: calls on an open runtime (`handle_calls`).
"""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio

from actorflow import Context, Workflow, open_runtime

from .handle_calls import ANSWERED, FLOWS, SUMS, Items, Questions, answered, asked
from .stage import Case, check_quiet, in_order

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorflow import Runtime
    from actorflow.abc import Journal
    from actorflow.testing import Victim

    from .stage import Body

__all__ = ["CASES"]


class Slow(Workflow):
    """Steps that take their time, also when they are cancelled."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Two steps now, one later."""
        await ctx.schedule_next_step("work", "a")
        await ctx.schedule_next_step("work", "b")
        await ctx.schedule_next_step("work", "c", delay=3)

    async def work(self, data: object, ctx: Context[object]) -> None:
        """One operation before the pause, one after it."""
        await ctx.run_store.push("begun", data)
        try:
            await trio.sleep(2)
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
        await ctx.run_store.increment("done")

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """Both."""
        return in_order(await ctx.run_store.get("begun")), await ctx.run_store.get("done")


WORKED: Final = [["a", "b", "c"], 3]
ALL: Final = (*FLOWS, Slow)
GRACE_S: Final = 1.0


def block(journal: str | Journal) -> Callable[[], Awaitable[None]]:
    """A block that is entered, used and left."""

    async def whole() -> None:
        async with open_runtime(ALL, journal=journal, shutdown_grace=GRACE_S) as runtime:
            await runtime.start(Slow, run_id="slow")
            run = await runtime.start(Items, run_id="r")
            await run.wait()

    return whole


def passage(journal: str | Journal) -> Callable[[], Awaitable[None]]:
    """A block that is entered and left at once."""

    async def through() -> None:
        async with open_runtime(ALL, journal=journal, shutdown_grace=GRACE_S):
            pass

    return through


async def rest(runtime: Runtime) -> None:
    """Every run ends as if nobody had been cancelled."""
    run = await runtime.start(Items, run_id="r")
    slow = await runtime.start(Slow, run_id="slow")
    assert await run.result() == SUMS
    found = await slow.result()
    assert found == WORKED, found
    check_quiet(runtime)


async def whole_block(victim: Victim, journal: str | Journal) -> object:
    """Whatever a block was doing: the next one takes it up, and nothing of the first lives on."""
    await victim(block(journal))
    async with open_runtime(ALL, journal=journal) as runtime:
        await rest(runtime)
    return None


async def enter(victim: Victim, journal: str | Journal) -> object:
    """Into a journal with a run that waits for answers, one that was cut off in its steps, one that has a timer."""
    async with open_runtime(ALL, journal=journal, shutdown_grace=0) as runtime:
        questions = await runtime.start(Questions, run_id="q")
        await asked(questions)
        await runtime.start(Slow, run_id="slow")
        await trio.sleep(1)
    await victim(passage(journal))
    async with open_runtime(ALL, journal=journal) as runtime:
        outcome = await answered(await runtime.get_run("q"))
        assert outcome.output == ANSWERED, outcome.output
        await rest(runtime)
    return None


async def on_disk(body: Body, victim: Victim, journal: str | Journal) -> object:
    """The same on a file, which nobody may be left to own."""
    with tempfile.TemporaryDirectory(prefix="actorflow-sweep-") as folder:
        return await body(victim, f"sqlite:{Path(folder, 'runs.db')}")


CASES: Final[tuple[Case, ...]] = (
    Case("open_runtime, whole block", whole_block, check_stores=False),
    Case("open_runtime, taking up", enter, ("durable",)),
    Case(
        "open_runtime, whole block on a file", partial(on_disk, whole_block), ("memory",), share=0.1, check_stores=False
    ),
    Case("open_runtime, taking up from a file", partial(on_disk, enter), ("memory",), share=0.1, check_stores=False),
)

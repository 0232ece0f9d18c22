"""A suspended run with suspended children is cancelled, while all of them rest in the journal.

What lives here: the scenario. What does not: cancels of what is running (`cancel`), answers (`suspend`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, RunStatus, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import element, ended, mailbox

if TYPE_CHECKING:
    import random

    from actorflow import Runtime


DEEP: Final = "a child of a child was suspended"


class Quiet(TypedDict):
    """Children by how deep they ask, and after which time the run is cancelled."""

    mailbox: int
    depths: list[int]
    after: float


class Outer(Workflow):
    """A run whose children ask, so that all of it is suspended."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """One branch a child."""
        await ctx.schedule_many("call", cast("Quiet", record_of(ctx).plan)["depths"])

    async def call(self, data: int, ctx: Context[object]) -> object:
        """Run it."""
        return await ctx.run_child(Inner, data)


class Inner(Workflow):
    """It asks, or has a child that does."""

    async def start(self, data: int, ctx: Context[object]) -> object:
        """Nobody answers."""
        record = record_of(ctx)
        record.sometimes(DEEP, not data and ctx.run_id.count("~") > 1)
        await record.store(ctx).push(f"asks {data}", element(ctx.activation_id, 0))
        return await (ctx.run_child(Inner, data - 1) if data else ctx.suspend("anybody there?"))


class QuietScenario(Scenario):
    """Cancelling what is asleep."""

    name = "quiet"
    summary = "a suspended run with suspended children is cancelled: nobody may be left"
    workflows = (Outer, Inner)
    sometimes = (DEEP,)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """Some children."""
        depths = [chance.randint(0, 2) for _ in range(chance.randint(1, size.branches))]
        return Quiet(mailbox=mailbox(chance), depths=depths, after=chance.choice((0.0, 0.1)))

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Quiet", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Wait until it is suspended, and cancel it."""
        run = await runtime.start(Outer, run_id=record.adopt("quiet"))
        await run.wait()
        await trio.sleep(cast("Quiet", plan)["after"])
        await run.cancel("as planned")
        record.keep("quiet", await run.wait())

    def check(self, plan: object, record: Record) -> list[str]:
        """All of them are cancelled."""
        return [
            *ended(record, "quiet", RunStatus.CANCELLED),
            *(
                f"run {run_id} is {row.status.value}, and the outermost one was cancelled"
                for run_id, row in record.summaries.items()
                if row.status is not RunStatus.CANCELLED
            ),
        ]

"""Order where places are few: due order with one place for all steps, and the order of a join's outputs.

What lives here: the scenario. What does not: times (`timers`), graphs of more than one group (`graph`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, Workflow, step, tolerate, workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import element, ended, mailbox, start_and_wait, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime


SOON_S: Final = 0.05
"""Later than that a step is late: it had to wait for somebody."""

HELD: Final = "a step was due while another one had the only place"


class Job(TypedDict):
    """One step: when it is due, how long it takes, whether it schedules another one."""

    id: str
    delay: float
    busy: float
    more: bool


class Jobs(TypedDict):
    """The steps, and the elements of the graph."""

    mailbox: int
    jobs: list[Job]
    waits: list[int]


class Narrow(Workflow):
    """One place: what is due has to wait."""

    keep_state = True
    max_live_steps = 1

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule everything."""
        for job in cast("Jobs", record_of(ctx).plan)["jobs"]:
            await ctx.schedule_next_step("work", job, delay=job["delay"])

    async def work(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Take some time."""
        job = cast("Job", data)
        if job["more"]:
            await ctx.schedule_next_step("work", Job(id=f"{job['id']}+", delay=0, busy=0, more=False))
        await trio.sleep(job["busy"])
        await record_of(ctx).store(ctx).push("list", element(job["id"], 0))
        if job["more"]:
            await ctx.schedule_next_step("work", Job(id=f"{job['id']}*", delay=0, busy=0, more=False))


@step
async def echo(data: list[object], ctx: Context[object]) -> object:
    """The number of the element, after a while; every fourth fails."""
    number, waits = cast("tuple[int, int]", data)
    await weave(waits)
    if number % 4 == 3:
        raise ConnectionError("as planned")
    return number


@step
async def flat(data: list[object], ctx: Context[object]) -> list[int]:
    """What the join gives: numbers, and a record of each that failed."""
    return [one if isinstance(one, int) else -1 for one in data]


ORDERED = (
    workflow("stress-ordered", keep_state=True, max_live_steps=100_000)
    .foreach(echo, concurrency=None, join=tolerate(fraction=1.0))
    .then(flat)
    .commit()
)


class OrderedScenario(Scenario):
    """Order."""

    name = "ordered"
    summary = "due order with one place for all steps; a join whose outputs stand in the order of its elements"
    workflows = (Narrow, ORDERED)
    sometimes = (HELD,)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """Delays that end while somebody else has the place."""
        jobs = [
            Job(
                id=f"j{number}",
                delay=chance.choice((0, 0, 0.1, 0.2, 0.2, 0.5)),
                busy=chance.choice((0, 0.15, 0.3)),
                more=chance.random() < 0.5,
            )
            for number in range(size.branches)
        ]
        waits = [chance.choice((0, 1, 4, 9)) for _ in range(chance.randint(1, 2 * size.branches))]
        return Jobs(mailbox=mailbox(chance), jobs=jobs, waits=waits)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Jobs", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Both runs."""
        elements = [[number, waits] for number, waits in enumerate(cast("Jobs", plan)["waits"])]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start_and_wait, runtime, record, Narrow, "narrow")
            nursery.start_soon(start_and_wait, runtime, record, ORDERED, "in-order", elements)

    def check(self, plan: object, record: Record) -> list[str]:
        """Nobody started before somebody who was due earlier; outputs stand where their elements stood."""
        return list(_ordered(cast("Jobs", plan), record))


def _ordered(plan: Jobs, record: Record) -> Iterator[str]:
    yield from ended(record, "narrow")
    yield from ended(record, "in-order")
    outcome = record.outcomes.get("in-order")
    wanted = [-1 if number % 4 == 3 else number for number in range(len(plan["waits"]))]
    if outcome is not None and outcome.output != wanted:
        yield f"the join gives {outcome.output!r}, and its elements were {wanted}"
    waiting: dict[int, tuple[float, int]] = {}
    for fact in record.facts.get("narrow", ()):
        n = cast("int", fact.fields.get("n", 0))
        if fact.kind == "step-scheduled":
            waiting[n] = (cast("float", fact.fields["due"]), n)
        elif fact.kind == "step-started" and n in waiting:
            mine = waiting.pop(n)
            record.sometimes(HELD, fact.at.timestamp() > mine[0] + SOON_S)
            earlier = [one for one in waiting.values() if one < mine]
            if earlier:
                due, other = earlier[0]
                yield f"step {n} was due at {mine[0]:.3f} and started before step {other}, due at {due:.3f}"

"""Scenarios of steps that no other one has: refusals, attempts that run out, order.

What lives here: `BoundedScenario`, `OrderedScenario`. What does not: why they are here (`extra`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, Retry, RunStatus, StateTypeError, Workflow, step, tolerate, workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from ..scenarios.elements import differences, element, ended, mailbox, start_and_wait, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

__all__ = ["BoundedScenario", "OrderedScenario"]


# --- what is refused, and what runs out

ATTEMPTS: Final = 3


class Bounds(TypedDict):
    """How many transactions are refused, and how many steps fail for ever."""

    mailbox: int
    refused: int
    failing: int


class Bounded(Workflow):
    """Transactions that do not fit, and steps that never succeed."""

    keep_state = True
    lost_updates = "allow"
    join = tolerate(fraction=1.0)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule both kinds."""
        plan = cast("Bounds", record_of(ctx).plan)
        await ctx.run_store.set("text", "no number")
        await ctx.schedule_many("refused", list(range(plan["refused"])))
        await ctx.schedule_many("failing", list(range(plan["failing"])))

    async def refused(self, data: int, ctx: Context[object]) -> None:
        """Two that fit and one that does not: nothing of it may be there."""
        await ctx.run_store.push("list", element("good", data))
        try:
            async with ctx.run_store.transaction() as tx:
                tx.push("list", element("bad", data))
                tx.increment("sum", 1)
                tx.increment("text", 1)
        except StateTypeError:
            return
        record_of(ctx).seen.append("a transaction that does not fit was not refused")

    @step(retry=Retry(ATTEMPTS, delay=0.1, factor=2.0))
    async def failing(self, data: int, ctx: Context[object]) -> None:
        """Fail, always."""
        made = cast("dict[str, list[int]]", record_of(ctx).notes.setdefault("made", {}))
        made.setdefault(str(data), []).append(ctx.attempt)
        raise ConnectionError("as planned")


class BoundedScenario(Scenario):
    """Refusals."""

    name = "bounded"
    summary = "transactions that are refused as a whole, and steps whose attempts run out"
    workflows = (Bounded,)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Some of each."""
        return Bounds(mailbox=mailbox(chance), refused=chance.randint(1, size.branches), failing=chance.randint(0, 2))

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Bounds", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Bounded, "bounded")

    def check(self, plan: object, record: Record) -> list[str]:
        """Nothing of what was refused is there; as many attempts were made as the policy grants."""
        return list(_bounded(cast("Bounds", plan), record))


def _bounded(plan: Bounds, record: Record) -> Iterator[str]:
    yield from ended(record, "bounded", RunStatus.COMPLETED)
    state = record.state_of("bounded")
    if state is not None:
        found = cast("list[str]", state.get("list", []))
        good = {"good": [element("good", n) for n in range(plan["refused"])]}
        yield from differences("list", {"good": sorted(good["good"])}, sorted(found))
        if "sum" in state:
            yield f"a transaction was refused, and its increment is there: sum is {state['sum']!r}"
    for n, attempts in cast("dict[str, list[int]]", record.notes.get("made", {})).items():
        once = sorted(set(attempts))
        if once != list(range(1, ATTEMPTS + 1)) or (len(attempts) != ATTEMPTS and not record.faulty):
            yield f"step {n} has {ATTEMPTS} attempts, and it made {attempts}"


# --- order where places are few


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
            earlier = [one for one in waiting.values() if one < mine]
            if earlier:
                due, other = earlier[0]
                yield f"step {n} was due at {mine[0]:.3f} and started before step {other}, due at {due:.3f}"

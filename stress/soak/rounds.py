"""What the long-lived runtime does, over and over: runs that end in every way there is, checked one by one.

What lives here: the workflows, a round of them, and what has to come of it. What does not: the scenarios, which are
run beside (`campaign`), and what is sampled between the rounds (`samples`).
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from actorflow import Context, Retry, RunStatus, Workflow, step

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Run, RunOutcome, Runtime

FLAKY: Final = 5
"""Every fifth branch fails at first, after its push: that must count once all the same."""

CHILD: Final = 7
"""Every seventh branch has a child run do it."""


class Below(Workflow):
    """A child run that pushes for its parent."""

    id = "stress-soak-below"

    async def start(self, data: int, ctx: Context[object]) -> int:
        """Push and count in a state of its own, which is merged."""
        await ctx.run_store.push("items", data)
        await ctx.run_store.increment("counter")
        return data


class Busy(Workflow):
    """Branches, retries, children, a timer, an event and a question."""

    id = "stress-soak"

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Open everything."""
        await ctx.run_store.set("begun", True)
        await ctx.schedule_many("branch", range(data))
        await ctx.schedule_next_step("late", delay=0.005)
        await ctx.wait_for_event("go", action="told")
        await ctx.schedule_next_step("asking")

    @step(retry=Retry(attempts=2, delay=0.001))
    async def branch(self, data: int, ctx: Context[object]) -> None:
        """Push once and count once, whichever way."""
        if data % CHILD == 0:
            await ctx.run_child(Below, data, initial_state={}, merge_state=["items", "counter"])
            return
        await ctx.run_store.push("items", data)
        if data % FLAKY == 0 and ctx.attempt == 1:
            raise ValueError("fails at first")
        async with ctx.run_store.transaction() as tx:
            tx.increment("counter")
            tx.maximum("most", data)

    async def late(self, data: object, ctx: Context[object]) -> None:
        """After a while."""
        await ctx.run_store.set("late", True)

    async def told(self, data: object, ctx: Context[object]) -> None:
        """After the event."""
        await ctx.run_store.set("told", ctx.event)

    async def asking(self, data: object, ctx: Context[object]) -> None:
        """After the answer."""
        await ctx.run_store.set("answer", await ctx.suspend("why?"))


class Endless(Workflow):
    """It ends by being cancelled."""

    id = "stress-soak-endless"

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Open branches, and stay."""
        await ctx.schedule_many("branch", range(data))

    async def branch(self, data: int, ctx: Context[object]) -> None:
        """Something in the store, and no end."""
        await ctx.run_store.push("items", data)
        await trio.sleep_forever()


class Failing(Workflow):
    """It ends by failing, with something in its store."""

    id = "stress-soak-failing"

    async def start(self, data: int, ctx: Context[object]) -> None:
        """Leave things behind."""
        await ctx.schedule_many("branch", range(data), delay=60)
        await ctx.run_store.push("items", data)
        raise ValueError("as it should")


WORKFLOWS: Final = (Busy, Below, Endless, Failing)


@define
class Round:
    """What one round found and did."""

    name: str
    findings: list[str] = field(factory=list)
    runs: int = 0
    items: int = 0


async def do_round(runtime: Runtime, chance: random.Random) -> Round:
    """Several runs at once, of every kind; their ids are new in every journal."""
    found = Round(uuid.uuid4().hex[:12])

    async def busy(place: int) -> None:
        branches = chance.randint(1, 30)
        run = await runtime.start(Busy, branches, run_id=f"{found.name}-busy-{place}")
        outcome = await _driven(run)
        if outcome.status in (RunStatus.RUNNING, RunStatus.SUSPENDED):
            await run.cancel("it has not ended as it should")  # it would stand in every sample from now on
        found.findings += [f"run {run.run_id}: {sentence}" for sentence in judge_busy(outcome, branches)]
        found.runs += 1
        found.items += branches

    async def endless() -> None:
        run = await runtime.start(Endless, chance.randint(1, 30), run_id=f"{found.name}-endless")
        await trio.lowlevel.checkpoint()
        await run.cancel("enough")
        found.findings += _ends(await run.wait(), RunStatus.CANCELLED)
        found.runs += 1

    async def failing() -> None:
        run = await runtime.start(Failing, chance.randint(1, 30), run_id=f"{found.name}-failing")
        found.findings += _ends(await run.wait(), RunStatus.FAILED)
        found.runs += 1

    async with trio.open_nursery() as nursery:
        for place in range(chance.randint(1, 4)):
            nursery.start_soon(busy, place)
        nursery.start_soon(endless)
        nursery.start_soon(failing)
    return found


async def _driven(run: Run) -> RunOutcome:
    await run.send_event("go", run.run_id)
    outcome = await run.wait()
    while outcome.status is RunStatus.SUSPENDED:
        await run.resume("because")
        outcome = await run.wait()
    return outcome


def _ends(outcome: RunOutcome, wanted: RunStatus) -> list[str]:
    if outcome.status is wanted:
        return []
    return [f"run {outcome.run_id} should be {wanted.value}, and is {outcome.status.value}: {outcome.error}"]


def judge_busy(outcome: RunOutcome, branches: int) -> Iterator[str]:
    """What is wrong with the end of a `Busy` run."""
    if outcome.status is not RunStatus.COMPLETED:
        yield f"it should be completed, and is {outcome.status.value}: {outcome.error}"
        return
    items = outcome.state.get("items")
    if not isinstance(items, list) or sorted(items) != list(range(branches)):
        yield f"the items of {branches} branches are {items!r:.200}"
    wanted = {"counter": branches, "late": True, "told": outcome.run_id, "answer": "because"}
    for key, value in wanted.items():
        if outcome.state.get(key) != value:
            yield f"{key!r} is {outcome.state.get(key)!r} and should be {value!r}"

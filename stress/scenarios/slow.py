"""Bursts into a small mailbox, beside readers that are slow: senders wait, nothing is dropped, nobody hangs.

What lives here: the scenario. What does not: journals that are slow (faults of the driver).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, Workflow, tolerate

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Run, Runtime

RUN: Final = "slow"

FULL: Final = "mailbox full"
FAILED: Final = "a step failed while its siblings waited for a place"
BEHIND: Final = "the run was over while a reader of its events was behind"


class Branch(TypedDict):
    """One branch: the size of each of its bursts, and whether it fails after them."""

    id: str
    bursts: list[int]
    fails: bool
    waits: int


class Plan(TypedDict):
    """All branches, and how slowly each reader reads, in turns."""

    mailbox: int
    readers: list[int]
    branches: list[Branch]


class Slow(Workflow):
    """Branches that send faster than the owner applies."""

    keep_state = True
    max_live_steps = 100_000
    join = tolerate(fraction=1.0)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        await ctx.schedule_many("branch", list(cast("Plan", record_of(ctx).plan)["branches"]))

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Send without waiting until there is no place, then wait for one."""
        mine, record = cast("Branch", data), record_of(ctx)
        store = record.store(ctx)
        bound = cast("Plan", record.plan)["mailbox"]
        n = 0
        begun = cast("set[str]", record.notes.setdefault("begun", set()))
        is_first = ctx.activation_id not in begun  # what a second pass repeats needs no place
        begun.add(ctx.activation_id)
        for burst in mine["bursts"]:
            taken = 0
            for _ in range(burst):
                try:
                    store.push_nowait("list", element(mine["id"], n))
                except trio.WouldBlock:
                    record.sometimes(FULL)
                    taken = -bound
                    await store.push("list", element(mine["id"], n))
                n, taken = n + 1, taken + 1
                if taken > bound and is_first:
                    record.seen.append(f"the mailbox has {bound} places, and took {taken} messages in one breath")
            await weave(mine["waits"])
            await store.increment("sum", burst)
        if mine["fails"]:
            record.sometimes(FAILED, record.happened[FULL])
            raise ConnectionError("as planned")


class SlowScenario(Scenario):
    """Back-pressure."""

    name = "slow"
    summary = "bursts into a mailbox of one to three places, beside slow readers of events"
    workflows = (Slow,)
    sometimes = (FULL, FAILED, BEHIND)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Branches with bursts that are larger than the mailbox."""
        bound = chance.randint(1, 3)
        branches = [
            Branch(
                id=f"b{number}",
                bursts=[chance.randint(1, 2 * bound + 1) for _ in range(chance.randint(1, size.ops))],
                fails=chance.random() < 0.2,
                waits=chance.choice((0, 0, 1, 4)),
            )
            for number in range(size.branches)
        ]
        readers = [chance.choice((0, 1, 20)) for _ in range(chance.randint(0, 2))]
        return Plan(mailbox=bound, readers=readers, branches=branches)

    def limits(self, plan: object) -> Limits:
        """The small mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run, and its readers; each has to come to the end of it."""
        run = await runtime.start(Slow, run_id=record.adopt(RUN))
        async with trio.open_nursery() as nursery:
            for turns in cast("Plan", plan)["readers"]:
                nursery.start_soon(read, run, turns, record)
            record.keep(RUN, await run.wait())
            record.notes["over"] = True

    def check(self, plan: object, record: Record) -> list[str]:
        """Nothing was dropped, and failures are those of the plan."""
        return list(_check(cast("Plan", plan), record))


async def read(run: Run, turns: int, record: Record) -> None:
    """Read the events of a run slowly, and hold their numbers against each other."""
    last = 0
    kind = ""
    async with run.events() as stream:
        async for event in stream:
            missed = cast("dict[str, int]", event.data)["missed"] if event.kind == "missed" else 0
            if event.seq <= last or (missed and event.seq != last + missed):
                record.seen.append(f"event {event.seq} ({event.kind}, {event.data!r}) comes after event {last}")
            last, kind = event.seq, event.kind
            record.sometimes(BEHIND, "over" in record.notes and not kind.startswith("run-"))
            await weave(turns)
    if kind not in ("run-completed", "run-failed", "run-cancelled"):
        record.seen.append(f"the last event of the run is {kind!r}")


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    failing = [one for one in plan["branches"] if one["fails"]]
    outcome = record.outcomes.get(RUN)
    if outcome is not None and len(outcome.failures) != len(failing):
        yield f"{len(outcome.failures)} failures are listed, and {len(failing)} branches fail"
    state = record.state_of(RUN)
    if state is None:
        return
    wanted = {one["id"]: [element(one["id"], n) for n in range(sum(one["bursts"]))] for one in plan["branches"]}
    yield from differences("list", wanted, state.get("list"))
    yield from sum_is("sum", sum(map(len, wanted.values())), state.get("sum"))

"""The block of the runtime ends in the middle, several times: what is cut off, or rests, goes on in the next one.

What lives here: the scenario. What does not: processes that die (faults of the driver). Nobody holds the runs between
the beginning and the end of a block, so those that wait for time or for somebody leave memory, and come back by
themselves when they are due.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, NotSuspended, RunOver, RunStatus, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, sum_is

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from actorflow import Runtime

ROUNDS: Final = 1000
"""Looks at a run after which it hangs: each answers one question at least."""
LONG_S: Final = 400.0
"""Within this time all timers have come due: the longest of them, and a journal that fails for some time."""

CUT: Final = "a step ran again"
ASLEEP: Final = "a timer came due while a step of its run waited for an answer"
BELOW: Final = "a step of a child run was cut off"


class Branch(TypedDict):
    """One branch. `way`: it is "busy" so many seconds after each operation, here or in a "child" run, "asks" after them
    and is answered in the last block, or is due "later".
    """

    id: str
    way: str
    ops: int
    busy: float


class One(TypedDict):
    """One run."""

    id: str
    branches: list[Branch]


class Plan(TypedDict):
    """`blocks`: after how many seconds each block but the last one ends."""

    mailbox: int
    blocks: list[float]
    runs: list[One]


async def work(ctx: Context[object], mine: Branch, key: str) -> None:
    """Write, and take time."""
    store = record_of(ctx).store(ctx)
    for n in range(mine["ops"]):
        await store.push(key, element(mine["id"], n))
        await trio.sleep(mine["busy"])
    await store.increment("sum", mine["ops"])


def is_again(ctx: Context[object]) -> bool:
    """Whether this is not the first pass of its step."""
    begun = cast("set[str]", record_of(ctx).notes.setdefault("begun", set()))
    name = f"{ctx.run_id} {ctx.activation_id}"
    known = name in begun
    begun.add(name)
    return known


class Closed(Workflow):
    """Branches that take longer than a block."""

    keep_state = True
    max_live_steps = 100_000

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Schedule every branch."""
        for branch in cast("One", data)["branches"]:
            delay = branch["busy"] if branch["way"] == "later" else 0
            await ctx.schedule_next_step(branch["way"], branch, delay=delay)

    async def busy(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Take time."""
        record_of(ctx).sometimes(CUT, is_again(ctx))
        await work(ctx, cast("Branch", data), "list")

    async def later(self, data: dict[str, object], ctx: Context[object]) -> None:
        """It is time."""
        record = record_of(ctx)
        asking = cast("set[str]", record.notes.get("asking", set()))
        record.sometimes(ASLEEP, any(one.startswith(f"{ctx.run_id} ") for one in asking))
        await work(ctx, {**cast("Branch", data), "busy": 0.0}, "list")

    async def asks(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Ask, and write down the answer."""
        mine, record = cast("Branch", data), record_of(ctx)
        await work(ctx, {**mine, "busy": 0.0}, "list")
        asking = cast("set[str]", record.notes.setdefault("asking", set()))
        asking.add(f"{ctx.run_id} {mine['id']}")
        answer = await ctx.suspend(label=mine["id"])
        asking.discard(f"{ctx.run_id} {mine['id']}")
        await record.store(ctx).push("answers", answer)

    async def child(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Have a child take the time."""
        await ctx.run_child(Below, data, initial_state={}, merge_state=["below"])


class Below(Workflow):
    """A child that takes time."""

    keep_state = True

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Take it."""
        record_of(ctx).sometimes(BELOW, is_again(ctx))
        await work(ctx, cast("Branch", data), "below")


class ClosingScenario(Scenario):
    """Blocks that end."""

    name = "closing"
    summary = "the runtime is closed in the middle, several times; what was cut off or asleep goes on in the next one"
    workflows = (Closed, Below)
    sometimes = (CUT, ASLEEP, BELOW)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """A few runs of a few branches."""
        number = chance.randint(1, max(1, min(4, size.branches // 2)))
        runs = [
            One(
                id=f"closing-{n}",
                branches=[
                    Branch(
                        id=f"b{place}",
                        way=chance.choice(("busy", "busy", "child", "asks", "asks", "later", "later")),
                        ops=chance.randint(1, min(3, size.ops)),
                        busy=chance.choice((0.0, 0.1, 5.0, 40.0)),
                    )
                    for place in range(max(1, min(12, size.branches) // number))
                ],
            )
            for n in range(number)
        ]
        blocks = [chance.choice((0.0, 0.05, 3.0, 30.0)) for _ in range(chance.randint(1, 3))]
        return Plan(mailbox=mailbox(chance), blocks=blocks, runs=runs)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    def closings(self, plan: object) -> int:
        """As the plan says."""
        return len(cast("Plan", plan)["blocks"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Start the runs, and let go of them; in the last block bring them home when all that needs nobody is done."""
        mine = cast("Plan", plan)
        for one in mine["runs"]:
            await runtime.start(Closed, one, run_id=record.adopt(one["id"]))
        if record.closings > 0:
            await trio.sleep(mine["blocks"][record.closed])
            return
        await trio.sleep(LONG_S)
        for one in mine["runs"]:
            await bring_home(runtime, one["id"], record)

    def check(self, plan: object, record: Record) -> list[str]:
        """Everything has happened once, as if no block had ever ended."""
        return [text for one in cast("Plan", plan)["runs"] for text in _check(one, record)]


async def bring_home(runtime: Runtime, run_id: str, record: Record) -> None:
    """Answer what is asked until the run is over."""
    run = await runtime.get_run(run_id)
    for _ in range(ROUNDS):
        outcome = await run.wait()
        if outcome.status is not RunStatus.SUSPENDED:
            record.keep(run_id, outcome)
            return
        for question in (await run.describe()).suspensions:
            try:
                await run.resume(f"{question.label}.0", step=question.activation_id)
            except (NotSuspended, RunOver):  # it was answered in a life that ended before it was told so
                continue
    record.seen.append(f"run {run_id} hangs: after {ROUNDS} looks it is not over")


def _check(one: One, record: Record) -> Iterator[str]:
    yield from ended(record, one["id"])
    state = record.state_of(one["id"])
    if state is None:
        return
    branches = one["branches"]
    for key, ways in (("list", ("busy", "later", "asks")), ("below", ("child",))):
        wanted = {b["id"]: [element(b["id"], n) for n in range(b["ops"])] for b in branches if b["way"] in ways}
        yield from differences(f"{key} of {one['id']}", wanted, state.get(key))
    asked: dict[str, Sequence[str]] = {b["id"]: [element(b["id"], 0)] for b in branches if b["way"] == "asks"}
    yield from differences(f"answers of {one['id']}", asked, state.get("answers"))
    total = sum(b["ops"] for b in branches if b["way"] != "child")
    yield from sum_is(f"sum of {one['id']}", total, state.get("sum"))

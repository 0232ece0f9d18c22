"""Graphs: forks and joins of many branches, loops, conditions, a graph in a graph; each join fires once.

What lives here: the scenario, and its two graphs. What does not: random graphs (`stress nested`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import Context, Limits, Workflow, first, step, tolerate, workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

OPEN_END: Final = "members of a group were cancelled because enough had succeeded"
PASSED: Final = "a later element was ready before an earlier one"
LOOPED: Final = "a loop went around more than once"
FAILURE: Final = "a failed element came out as data"
ROUNDS: Final = 3
FEW: Final = 2
"""Members of a group that are enough."""


class Item(TypedDict):
    """One element of the fork: what it is worth, how long it takes, whether it fails where that is tolerated."""

    id: str
    value: int
    waits: int
    fails: bool


class Plan(TypedDict):
    """`strict`: which of the two graphs."""

    mailbox: int
    strict: bool
    items: list[Item]


@step
async def work(data: dict[str, object], ctx: Context[object]) -> int:
    """One element: write, wait, be worth something."""
    item, record = cast("Item", data), record_of(ctx)
    store = record.store(ctx)
    await weave(item["waits"])
    place = await store.push("list", element(item["id"], 0))
    record.sometimes(PASSED, cast("Plan", record.plan)["items"].index(item) > place - 1)
    await store.increment("sum", item["value"])
    return item["value"] * 2


@step
async def fragile(data: dict[str, object], ctx: Context[object]) -> int:
    """The same, and some fail."""
    found = await record_of(ctx).store(ctx).increment("tried")
    if data["fails"]:
        record_of(ctx).sometimes(FAILURE)
        raise ConnectionError(f"{data['id']} fails, as planned")
    return int(found) * 0 + cast("int", data["value"])


@step
async def joined(data: list[object], ctx: Context[object]) -> int:
    """What is behind a join runs once, and finds everything there."""
    await record_of(ctx).store(ctx).increment("joins")
    return sum(one for one in data if isinstance(one, int))


@step
async def left(data: int, ctx: Context[object]) -> int:
    """A member of a group."""
    await record_of(ctx).store(ctx).push("members", "left.0")
    return data + 1


@step
async def right(data: int, ctx: Context[object]) -> int:
    """Another one."""
    await weave(3)
    await record_of(ctx).store(ctx).push("members", "right.0")
    return data - 1


@step
async def endless(data: int, ctx: Context[object]) -> int:
    """A member that waits until it is cancelled."""
    record_of(ctx).sometimes(OPEN_END)
    await ctx.run_store.wait_for("never", bool)
    return data


@step
async def even(data: int, ctx: Context[object]) -> int:
    """A branch for even numbers."""
    return data + 10


@step
async def odd(data: int, ctx: Context[object]) -> int:
    """And one for odd ones."""
    return data + 20


@step
async def around(data: int, ctx: Context[object]) -> int:
    """The body of a loop."""
    record_of(ctx).sometimes(LOOPED, (ctx.iteration or 0) > 1)
    await record_of(ctx).store(ctx).increment("rounds")
    return data + 100


@step
async def deep(data: int, ctx: Context[object]) -> int:
    """A step of the graph within."""
    await record_of(ctx).store(ctx).push("within", "deep.0")
    return data + 1


class Twice(Workflow):
    """A workflow in the class style, in a graph."""

    keep_state = True

    async def start(self, data: int, ctx: Context[object]) -> int:
        """Double."""
        await record_of(ctx).store(ctx).push("mine", "twice.0")
        return data * 2


inner = workflow("stress-inner", keep_state=True).then(deep).then(Twice).commit()

STRICT = (
    workflow("stress-graph", keep_state=True, max_live_steps=100_000)
    .foreach(work, concurrency=None)
    .then(joined)
    .parallel([left, right, inner])
    .map(lambda data, ctx: sum(data.values()))
    .branch([(lambda data, ctx: data % 2 == 0, even), (lambda data, ctx: data % 2 == 1, odd)])
    .map(lambda data, ctx: sum(data.values()))
    .do_until(around, lambda data, ctx: ctx.iteration == ROUNDS)
    .sleep(0.01)
    .commit()
)

LOOSE = (
    workflow("stress-loose", keep_state=True, max_live_steps=100_000)
    .foreach(fragile, concurrency=3, join=tolerate(fraction=1.0))
    .then(joined)
    .parallel([left, right, endless], join=first(FEW))
    .map(lambda data, ctx: sum(data.values()))
    .commit()
)


class GraphScenario(Scenario):
    """Two graphs."""

    name = "graph"
    summary = "graphs with foreach, parallel, branch, loops and child graphs; every join fires once"
    workflows = (STRICT, LOOSE, inner, Twice)
    sometimes = (OPEN_END, PASSED, LOOPED, FAILURE)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Elements of the fork."""
        items = [
            Item(
                id=f"i{number}",
                value=chance.randint(0, 9),
                waits=chance.choice((0, 0, 1, 5)),
                fails=chance.random() < 0.3,
            )
            for number in range(chance.choice((0, 1, size.branches, size.branches)))
        ]
        return Plan(mailbox=mailbox(chance), strict=chance.random() < 0.6, items=items)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan, and room for its elements in one payload."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"], payload_bytes=64 * 1024 * 1024)

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run of the graph that is meant."""
        mine = cast("Plan", plan)
        await start_and_wait(runtime, record, STRICT if mine["strict"] else LOOSE, run_of(mine), mine["items"])

    def check(self, plan: object, record: Record) -> list[str]:
        """The output is that of the same steps, one after the other."""
        return list(_check(cast("Plan", plan), record))


def run_of(plan: Plan) -> str:
    """The id of the run."""
    return "graph" if plan["strict"] else "loose"


def output_of(plan: Plan) -> int:
    """What the graph comes to."""
    if not plan["strict"]:
        return 2 * sum(one["value"] for one in plan["items"] if not one["fails"])
    total = sum(2 * one["value"] for one in plan["items"])
    total = (total + 1) + (total - 1) + 2 * (total + 1)
    return total + (20 if total % 2 else 10) + ROUNDS * 100


def _check(plan: Plan, record: Record) -> Iterator[str]:
    run_id = run_of(plan)
    yield from ended(record, run_id)
    outcome = record.outcomes.get(run_id)
    if outcome is not None and outcome.output != output_of(plan):
        yield f"the output is {outcome.output!r}, not {output_of(plan)}"
    state = record.state_of(run_id)
    if state is None:
        return
    yield from sum_is("joins", 1, state.get("joins"))
    if not plan["strict"]:
        yield from sum_is("tried", len(plan["items"]), state.get("tried"))
        return
    yield from differences("list", {one["id"]: [element(one["id"], 0)] for one in plan["items"]}, state.get("list"))
    yield from sum_is("sum", sum(one["value"] for one in plan["items"]), state.get("sum"))
    yield from sum_is("rounds", ROUNDS, state.get("rounds"))
    yield from differences("members", {"left": ["left.0"], "right": ["right.0"]}, state.get("members"))

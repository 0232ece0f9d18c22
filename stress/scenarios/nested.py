"""A tree of child runs: what they inherit stays as it was, what they give back comes back once.

What lives here: the scenario. What does not: random programs of all shapes (`stress nested`), suspension (`suspend`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import Context, Limits, RunFailed, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping

    from actorflow import Runtime

RUN: Final = "nested"
MERGES: Final[tuple[bool | list[str], ...]] = (True, ["list"], ["list", "sum"], False)

MOVED: Final = "the parent changed what a child had inherited while the child ran"
SIDE_BY_SIDE: Final = "two children merged into a parent that had changed meanwhile"
DIED: Final = "a child died after it had written to the run above"


class Node(TypedDict):
    """One run of the tree. `ops`: what it pushes; `merge`: what comes back of it; `fails`: it has no child."""

    id: str
    ops: list[int]
    waits: int
    merge: bool | list[str]
    fails: bool
    keep: bool
    children: list[Node]


class Plan(TypedDict):
    """The tree, and how often its root moves what its children have inherited."""

    mailbox: int
    moves: int
    root: Node


def own_key(node: str) -> str:
    """The key that only one run, and those right below it, write."""
    return f"below {node}"


class Nested(Workflow):
    """One run of the tree."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Look at what was inherited, write, call the children, and look again."""
        mine, record = cast("Node", data), record_of(ctx)
        inherited = await ctx.run_store.snapshot()
        record.begin(ctx.run_id, inherited)
        saw(record, mine, inherited)
        store = record.store(ctx)
        for n in mine["ops"]:
            name = element(mine["id"], n)
            await ctx.run_store.push("list", name)
            await store.push(own_key(mine["id"]), name)
            if ctx.parent_store is not None:
                above = mine["id"].rpartition("-")[0]
                await record.parent_store(ctx).push(own_key(above), name)
                await record.root_store(ctx).increment("all", n + 1)
            await ctx.run_store.increment("sum", n + 1)
            await weave(mine["waits"])
        if mine["fails"]:
            record.sometimes(DIED, bool(mine["ops"]))
            raise ConnectionError(f"{mine['id']} fails, as planned")
        await ctx.schedule_many("call", list(mine["children"]))
        if ctx.parent_store is None:
            for n in range(cast("Plan", record.plan)["moves"]):
                async with ctx.run_store.transaction() as tx:
                    tx.set("left", n)
                    tx.set("right", n)
                await weave(1)
        now = await ctx.run_store.snapshot()
        for key in ("left", "right") if ctx.parent_store is not None else ():
            if now.get(key) != inherited.get(key):
                record.seen.append(
                    f"{mine['id']} began with {key} = {inherited.get(key)!r}, and then it was {now.get(key)!r}"
                )

    async def call(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Run one child; that it fails is no failure here."""
        child, record = cast("Node", data), record_of(ctx)
        before = await ctx.run_store.snapshot()
        try:
            await ctx.run_child(Nested if child["keep"] else Passing, child, merge_state=child["merge"])
        except RunFailed:
            await ctx.run_store.push("failed", element(child["id"], 0))
            return
        after = await ctx.run_store.snapshot()
        record.sometimes(MOVED, ctx.parent_store is None and before.get("left") != after.get("left"))
        grown = len(cast("list[object]", after.get("list", []))) - len(cast("list[object]", before.get("list", [])))
        record.sometimes(SIDE_BY_SIDE, grown > len(child["ops"]) and not child["children"])


class Passing(Nested):
    """The same, and its store goes with it: it inherits by a mark in its parent's journal."""

    keep_state = False


def saw(record: Record, mine: Node, inherited: Mapping[str, object]) -> None:
    """What a child begins with is its parent's state at one moment."""
    if inherited.get("left") != inherited.get("right"):
        record.seen.append(f"{mine['id']} began in the middle of a transaction of its parent: {dict(inherited)!r}")


class NestedScenario(Scenario):
    """A tree of runs."""

    name = "nested"
    summary = "a tree of child runs that inherit, write to the runs above and give back with merge_state"
    workflows = (Nested, Passing)
    sometimes = (MOVED, SIDE_BY_SIDE, DIED)

    def plan(self, chance: random.Random, size: Size) -> object:
        """A tree with about as many runs as there may be branches."""
        left = [size.branches]

        def node(name: str, depth: int) -> Node:
            ops = list(range(chance.randint(0, size.ops)))
            made = Node(
                id=name,
                ops=ops,
                waits=chance.choice((0, 0, 1, 3)),
                merge=chance.choice(MERGES),
                fails=bool(depth) and chance.random() < 0.15,
                keep=not depth or chance.random() < 0.5,
                children=[],
            )
            while left[0] > 0 and depth < size.depth and not made["fails"] and (not depth or chance.random() < 0.6):
                left[0] -= 1
                made["children"].append(node(f"{name}-{len(made['children'])}", depth + 1))
            return made

        return Plan(mailbox=mailbox(chance), moves=chance.choice((0, 1, 5, 20)), root=node("r", 0))

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """The outermost run."""
        await start_and_wait(runtime, record, Nested, RUN, cast("Plan", plan)["root"])

    def check(self, plan: object, record: Record) -> list[str]:
        """The outermost run has its own elements, and those that were to come back, once each."""
        return list(_check(cast("Plan", plan)["root"], record))


Given = tuple[dict[str, list[str]], int, dict[str, list[str]]]
"""Elements of "list" by run, the sum, and the failed ones."""


def given(node: Node) -> Given:
    """What a run has at its end, without what it inherited."""
    lists = {node["id"]: [element(node["id"], n) for n in node["ops"]]}
    total = sum(n + 1 for n in node["ops"])
    failed: dict[str, list[str]] = {}
    for child in node["children"] if not node["fails"] else ():
        if child["fails"]:
            failed[child["id"]] = [element(child["id"], 0)]
            continue
        merge = child["merge"]
        child_lists, child_total, child_failed = given(child)
        if merge is True or (merge and "list" in merge):
            lists |= child_lists
        if merge is True or (merge and "sum" in merge):
            total += child_total
        if merge is True:
            failed |= child_failed
    return lists, total, failed


def everyone(node: Node) -> Iterator[Node]:
    """A run and all runs below it that are ever started."""
    yield node
    for child in node["children"] if not node["fails"] else ():
        yield from everyone(child)


def _check(root: Node, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    state = record.state_of(RUN)
    if state is None:
        return
    lists, total, failed = given(root)
    yield from differences("list", lists, state.get("list"))
    yield from sum_is("sum", total, state.get("sum"))
    yield from differences("failed", failed, state.get("failed"))
    below = {one["id"]: [element(one["id"], n) for n in one["ops"]] for one in (root, *root["children"])}
    yield from differences(own_key(root["id"]), below, state.get(own_key(root["id"])))
    wrote = [one for one in everyone(root) if one is not root]
    yield from sum_is("all", sum(n + 1 for one in wrote for n in one["ops"]), state.get("all"))
    runs = [run_id for run_id in record.summaries if run_id.startswith(f"{RUN}~")]
    if record.summaries and len(runs) != len(wrote):
        yield f"there are {len(runs)} child runs, and the tree has {len(wrote)}"

"""Children that share what they inherit with a run that goes on changing it.

What lives here: the scenario. What does not: what children give back (`nested`). A child that keeps no state of its own
inherits without a copy: so does each of these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import Context, Limits, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import branch_of, element, ended, mailbox, start_and_wait, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Sequence

    from actorflow import Fact, Runtime


MOVED: Final = "the run above changed what a child had inherited before the child was over"


class Below(TypedDict):
    """One child: what it pushes, how long it waits between, whether its list comes back, and the child it has."""

    id: str
    ops: int
    waits: int
    merge: bool
    deeper: Below | None


class Tree(TypedDict):
    """The children of one run, and how often it moves what they have inherited."""

    mailbox: int
    moves: int
    children: list[Below]


class Child(Workflow):
    """It keeps nothing, so it shares the values of the run above and copies none."""

    lost_updates = "allow"

    async def start(self, data: dict[str, object], ctx: Context[object]) -> object:
        """What it began with, and what it had at its end, as its output."""
        mine = cast("Below", data)
        began = await ctx.run_store.snapshot()
        found = cast("list[str]", began.get("list", []))
        began["list"] = [one for one in found if branch_of(one) != mine["id"]]  # its own: this is not its first pass
        store = record_of(ctx).store(ctx)
        for n in range(mine["ops"]):
            await ctx.run_store.push("list", element(mine["id"], n))
            await store.push(f"own {mine['id']}", element(mine["id"], n))
            await weave(mine["waits"])
        now = await ctx.run_store.get("list", [])
        below = None
        if mine["deeper"] is not None:
            below = await ctx.run_child(Child, mine["deeper"])
        after = await ctx.run_store.get("list", [])
        return {"run": ctx.run_id, "began": began, "now": now, "after": after, "below": below}


class Above(Workflow):
    """A run that goes on changing what its children have inherited."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Something to inherit; then everything at once."""
        plan = cast("Tree", record_of(ctx).plan)
        await move(ctx, 0)
        await ctx.schedule_many("call", list(plan["children"]))
        await ctx.schedule_many("move", list(range(1, plan["moves"] + 1)))

    async def call(self, data: dict[str, object], ctx: Context[object]) -> object:
        """Run one child."""
        mine, record = cast("Below", data), record_of(ctx)
        said = await ctx.run_child(Child, mine, merge_state=["list"] if mine["merge"] else False)
        cast("dict[str, object]", record.notes.setdefault("said", {}))[mine["id"]] = said
        began = cast("Said", said)["began"]
        record.sometimes(MOVED, await ctx.run_store.get("left") != began.get("left"))
        return None

    async def move(self, data: int, ctx: Context[object]) -> None:
        """Change three keys at once."""
        await move(ctx, data)


async def move(ctx: Context[object], n: int) -> None:
    """Both sides and the list, at one moment."""
    async with ctx.run_store.transaction() as tx:
        tx.increment("left", 1)
        tx.push("list", element("m", n))
        tx.increment("right", 1)


class InheritingScenario(Scenario):
    """Shared snapshots."""

    name = "inheriting"
    summary = "children that share the values of a run which goes on changing them"
    workflows = (Above, Child)
    sometimes = (MOVED,)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """A few children, some of them with one of their own."""

        def child(name: str, depth: int) -> Below:
            return Below(
                id=name,
                ops=chance.randint(1, size.ops),
                waits=chance.choice((0, 0, 1, 3)),
                merge=chance.random() < 0.3,
                deeper=child(f"{name}-", depth + 1) if depth < size.depth and chance.random() < 0.4 else None,
            )

        children = [child(f"c{number}", 1) for number in range(chance.randint(1, size.branches))]
        return Tree(mailbox=mailbox(chance), moves=chance.randint(0, 6), children=children)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Tree", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """The outermost run."""
        await start_and_wait(runtime, record, Above, "inheriting")

    def check(self, plan: object, record: Record) -> list[str]:
        """Every child began with what was there when it was called, and had its own changes besides, and no others."""
        return list(_inherited(cast("Tree", plan), record))


class Said(TypedDict):
    """What a child has told: where it ran, its store when it began, its list before and after its own child."""

    run: str
    began: dict[str, object]
    now: list[str]
    after: list[str]
    below: object


def _inherited(plan: Tree, record: Record) -> Iterator[str]:
    yield from ended(record, "inheriting")
    told = cast("dict[str, Said]", record.notes.get("said", {}))
    at_calls = dict(lists_at_calls(record.facts.get("inheriting", ())))
    for child in plan["children"]:
        said = told.get(child["id"])
        if said is None:
            continue
        called = at_calls.get(int(said["run"].rpartition("~")[2]))
        began = said["began"].get("list")
        if called is not None and began != called:
            yield f"{child['id']} began with the list {began}, and when it was called it was {called}"
        yield from _one(child, said)


def _one(child: Below, said: Said) -> Iterator[str]:
    began = cast("list[str]", said["began"].get("list", []))
    if said["began"].get("left") != said["began"].get("right"):
        yield f"{child['id']} began in the middle of a transaction: {said['began']}"
    wanted = [*began, *(element(child["id"], n) for n in range(child["ops"]))]
    for found in (said["now"], said["after"]):
        if found != wanted:
            yield f"{child['id']} began with {began} and pushed {child['ops']}, and then its list is {found}"
    if child["deeper"] is not None and said["below"] is not None:
        below = cast("Said", said["below"])
        if below["began"].get("list") != wanted:
            yield f"{child['deeper']['id']} began with {below['began'].get('list')}, and the run above had {wanted}"
        yield from _one(child["deeper"], below)


def lists_at_calls(facts: Sequence[Fact]) -> Iterator[tuple[int, list[str]]]:
    """The key "list" at each call of a child, by the number of the call."""
    found: list[str] = []
    for fact in facts:
        fields = fact.fields
        if fact.kind == "child-started":
            yield cast("int", fields["n"]), list(found)
        for verb, key, argument in cast("list[tuple[str, str, object]]", fields.get("operations", ())):
            if key == "list" and argument is not None:
                items = [argument] if verb == "push" else cast("list[object]", argument)
                found += [str(item).strip('"') for item in items]

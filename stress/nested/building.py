"""Programs as workflows of the library.

What lives here: steps, graphs and classes made from the records, and what the steps note down. What does not: running
them (`driving`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from functools import partial

import trio
from attrs import define, field

from actorflow import (
    ALL,
    DRAIN,
    Context,
    Graph,
    Retry,
    Step,
    Workflow,
    first,
    step,
    tolerate,
    workflow,
)
from actorflow import Join as LibraryJoin

from .model import answer, element, folded
from .programs import (
    Action,
    Branch,
    ClassFlow,
    Flow,
    ForEach,
    GraphFlow,
    Join,
    Leaf,
    Loop,
    Member,
    Merge,
    Parallel,
    Sleep,
    Then,
    digest,
    members_of,
)

NEVER = "never"
"""The payload of a suspension that nobody resumes."""
AGES = 1e7
"""Seconds that no case lasts."""

Plain = Step[[str, Context[object]], Awaitable[str]]
Built = Plain | Graph | type[Workflow]


class Planned(Exception):
    """A step fails as its program wants it."""


@define
class Notes:
    """What the steps of a case see, beside the journal: it outlives every crash.

    Args:
        sights: of each leaf, what it has to find in its run store.
        suspends: False: questions are answered at once, by the program itself.
    """

    sights: Mapping[str, frozenset[str]]
    suspends: bool
    passes: Counter[str] = field(factory=Counter)
    once: Counter[str] = field(factory=Counter)
    asked: Counter[str] = field(factory=Counter)
    findings: list[str] = field(factory=list)

    def look(self, me: str, found: object) -> None:
        """Check what a leaf, or a hook, found in its store as it began."""
        items = [str(item) for item in found] if isinstance(found, list) else []
        if me not in self.sights:
            self.findings.append(f"{me} runs, which no place of the program leads to")
            return
        missing = self.sights[me] - set(items)
        if missing:
            self.findings.append(f"{me} does not see {sorted(missing)}")
        doubled = sorted(item for item, times in Counter(items).items() if times > 1)
        if doubled:
            self.findings.append(f"{me} sees {doubled} more than once")


def joined(join: Join) -> LibraryJoin:
    """The join policy."""
    if join.kind == "drain":
        return DRAIN
    if join.kind == "first":
        return first(join.count)
    return tolerate(count=join.count) if join.kind == "tolerate" else ALL


def merged(merge: Merge, members: Iterable[Member]) -> bool | list[str]:
    """The argument `merge_state`; a graph refuses it where no workflow stands."""
    if all(isinstance(member, Leaf) for member in members):
        return False
    return merge if isinstance(merge, bool) else list(merge)


def retry(leaf: Leaf) -> Retry:
    """The retry policy of a leaf."""
    return Retry(attempts=2 if leaf.flaky else 1, delay=0.5, jitter=0.0)


def commit(leaf: Leaf) -> str:
    """When the operations of a leaf take effect."""
    return "on_success" if leaf.buffered else "at_once"


@define
class Builder:
    """Builds the parts of one program; `keeps_state` names the workflow whose state stays when it is over."""

    notes: Notes
    keeps_state: str = ""
    flows: dict[str, Graph | type[Workflow]] = field(factory=dict)

    def member(self, member: Member) -> Built:
        """A step, or a workflow."""
        return self.step(member) if isinstance(member, Leaf) else self.flow(member)

    def flow(self, flow: Flow) -> Graph | type[Workflow]:
        """A workflow; the same one for the same record."""
        if flow.id not in self.flows:
            self.flows[flow.id] = self.class_flow(flow) if isinstance(flow, ClassFlow) else self.graph(flow)
        return self.flows[flow.id]

    # --- leaves

    def step(self, leaf: Leaf) -> Plain:
        """A step of a graph."""

        async def run(data: str, ctx: Context[object]) -> str:
            return await self.body(leaf, data, ctx)

        return step(id=leaf.id, retry=retry(leaf), commit=commit(leaf), concurrency=leaf.concurrency)(run)

    async def body(
        self,
        leaf: Leaf,
        data: str,
        ctx: Context[object],
        go: Callable[[], Awaitable[None]] | None = None,
        name: str = "",
    ) -> str:
        """What a leaf does."""
        me = f"{name or leaf.id}@{data}"
        self.notes.passes[me] += 1
        self.notes.look(me, await ctx.run_store.get("leaves"))
        out = [leaf.id, data]
        for place, (verb, amount) in enumerate(leaf.script):
            if verb == "go" and go is not None:
                await go()
            elif verb == "sleep":
                await trio.sleep(amount)
            elif verb == "ask":
                out.append(await self.ask(me, place, ctx))
            elif verb == "once":
                out.append(str(await ctx.once(f"once.{place}", self.outside, me, place)))
            else:
                await self.apply(verb, me, data, ctx)
        if leaf.never == "ask":
            await ctx.suspend(NEVER)
        elif leaf.never == "sleep":
            await trio.sleep(AGES)
        if leaf.fails_on(data) or (leaf.flaky and ctx.attempt == 1):
            raise Planned(me)
        return digest(out)

    async def apply(self, verb: str, me: str, data: str, ctx: Context[object]) -> None:
        """One verb on a store."""
        store = ctx.run_store
        if verb == "push":
            await store.push("leaves", me)
        elif verb == "tell":
            store.push_nowait("leaves", me)
        elif verb == "count":
            await store.increment("n")
        elif verb == "set":
            await store.set(f"s.{me}", data)
        elif verb == "pair":
            async with store.transaction() as tx:
                tx.push("pairs", me)
                tx.increment("pairs_n")
        elif verb == "root":
            await (ctx.root_store or store).push("rooted", me)
        elif verb == "parent":
            await (ctx.parent_store or store).push("below", me)

    async def ask(self, me: str, place: int, ctx: Context[object]) -> str:
        """Suspend, unless this is the undisturbed run."""
        payload = [me, place]
        if not self.notes.suspends:
            return answer(payload)
        self.notes.asked[f"{me} {place}"] += 1
        return str(await ctx.suspend(payload, label=f"{me} {place}"))

    async def outside(self, me: str, place: int) -> str:
        """An effect outside the run."""
        self.notes.once[f"{me} {place}"] += 1
        return digest(me, place)

    async def hook(self, flow_id: str, ctx: Context[object]) -> None:
        """What every completion hook does."""
        self.notes.look(f"{flow_id}@{ctx.input}", await ctx.run_store.get("leaves"))
        await ctx.run_store.increment("hooks")

    # --- graphs

    def graph(self, flow: GraphFlow) -> Graph:
        """A workflow as a graph."""
        keeps = flow.id == self.keeps_state
        chain = workflow(flow.id, max_live_steps=flow.max_live_steps, keep_state=keeps)
        for place in flow.places:
            if isinstance(place, Then):
                chain = chain.then(self.member(place.member), merge_state=merged(place.merge, members_of(place)))
            elif isinstance(place, Parallel):
                members = [self.member(member) for member in place.members]
                chain = chain.parallel(
                    members, joined(place.join), merge_state=merged(place.merge, members_of(place))
                ).map(_fold)
            elif isinstance(place, Branch):
                pairs = [(condition(place, n), self.member(member)) for n, member in enumerate(place.members)]
                other = None if place.otherwise is None else self.member(place.otherwise)
                chain = chain.branch(
                    pairs,
                    otherwise=other,
                    first_match=place.first_match,
                    merge_state=merged(place.merge, members_of(place)),
                ).map(_fold)
            elif isinstance(place, ForEach):
                chain = chain.map(partial(_elements, place.count))
                for member in place.members:
                    chain = chain.foreach(
                        self.member(member),
                        concurrency=place.concurrency,
                        join=joined(place.join),
                        merge_state=merged(place.merge, [member]),
                    )
                chain = chain.map(_fold)
            elif isinstance(place, Loop):
                verb = chain.do_until if place.until else chain.do_while
                chain = verb(
                    self.member(place.member), rounds(place), merge_state=merged(place.merge, members_of(place))
                )
            elif isinstance(place, Sleep):
                chain = chain.sleep(place.seconds)
            else:
                chain = chain.map(_shape)
        if flow.hook:

            async def hook(ctx: Context[object]) -> None:
                await self.hook(flow.id, ctx)

            chain = chain.on_complete(hook)
        return chain.commit()

    # --- classes

    def class_flow(self, flow: ClassFlow) -> type[Workflow]:
        """A workflow as a class: its output is made of what its actions push under the key `o.<input>`."""
        chains = [list(_steps(action)) for action in flow.actions]

        async def start(this: Workflow, data: str, ctx: Context[object]) -> None:
            async def go() -> None:
                for n, actions in enumerate(chains):
                    await ctx.schedule_next_step(f"a{n}_0", element(data, n), delay=actions[0].delay)

            await self.body(flow.start, data, ctx, go, f"{flow.id}.start")

        async def on_workflow_complete(this: Workflow, ctx: Context[object]) -> str:
            await self.hook(flow.id, ctx)
            outputs = await ctx.run_store.get(f"o.{ctx.input}", [])
            return folded(ctx.input, sorted(map(str, outputs)) if isinstance(outputs, list) else outputs)

        namespace: dict[str, object] = {"start": start, "on_workflow_complete": on_workflow_complete}
        namespace |= {"id": flow.id, "join": joined(flow.join), "max_live_steps": flow.max_live_steps}
        namespace["keep_state"] = flow.id == self.keeps_state
        for n, actions in enumerate(chains):
            for m, action in enumerate(actions):
                after = actions[m + 1] if m + 1 < len(actions) else None
                namespace[f"a{n}_{m}"] = self.action(action, f"a{n}_{m + 1}", after)
        return type(flow.id, (Workflow,), {**namespace, "__module__": __name__})

    def action(self, action: Action, following: str, after: Action | None) -> object:
        """A method that runs a member and schedules the one behind it."""
        member = action.member
        built = None if isinstance(member, Leaf) else self.flow(member)

        async def run(this: Workflow, data: str, ctx: Context[object]) -> None:
            if isinstance(member, Leaf):
                output = await self.body(member, data, ctx)
            else:
                output = str(await ctx.run_child(built, data, merge_state=merged(action.merge, [member])))
            await ctx.run_store.push(f"o.{ctx.input}", output)
            if after is not None:
                await ctx.schedule_next_step(following, output, delay=after.delay)

        if not isinstance(member, Leaf):
            return run
        return step(retry=retry(member), commit=commit(member), concurrency=member.concurrency)(run)


def _steps(action: Action) -> Iterator[Action]:
    step_of: Action | None = action
    while step_of is not None:
        yield step_of
        step_of = step_of.then


def _fold(data: object, ctx: Context[object]) -> str:
    return folded(ctx.input, data)


def _elements(count: int, data: object, ctx: Context[object]) -> list[str]:
    return [element(str(data), place) for place in range(count)]


def _shape(data: object, ctx: Context[object]) -> str:
    return digest("shape", data)


def condition(place: Branch, n: int) -> Callable[[str, Context[object]], object]:
    """The condition of a member of a branch."""

    async def holds_async(data: str, ctx: Context[object]) -> bool:
        await trio.lowlevel.checkpoint()
        return place.holds(n, data)

    def holds(data: str, ctx: Context[object]) -> bool:
        return place.holds(n, data)

    return holds_async if place.asks_async else holds


def rounds(place: Loop) -> Callable[[str, Context[object]], bool]:
    """The condition of a loop."""
    if place.until:
        return lambda data, ctx: ctx.iteration >= place.times
    return lambda data, ctx: ctx.iteration < place.times

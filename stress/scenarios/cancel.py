"""A storm of cancels: runs, steps that wait their turn, and single calls are cancelled in the middle.

What lives here: the scenario. What does not: the sweep over every checkpoint (simulation).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, RunStatus, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import branch_of, element, mailbox, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Run, Runtime

MIDWAY: Final = "a run was cancelled mid-way"
LATE: Final = "a cancel came after the end"
WITHDRAWN: Final = "a call was cancelled before it was applied"
APPLIED: Final = "a cancel of a call came too late"
UNSTARTED: Final = "a step was cancelled before it started"
CHILD: Final = "a child run was cancelled with the run above"


class Branch(TypedDict):
    """One branch. `cuts`: after how many turns each call is cancelled, -1 for never; `child`: done in a child run."""

    id: str
    cuts: list[int]
    waits: int
    delay: float
    child: bool
    unschedule: bool


class One(TypedDict):
    """One run, and after how many turns it is cancelled, -1 for never."""

    id: str
    after: int
    branches: list[Branch]


class Plan(TypedDict):
    """All runs."""

    mailbox: int
    runs: list[One]


class Cancelled(Workflow):
    """Branches whose calls are cancelled, in a run that is."""

    keep_state = True
    max_live_steps = 100_000

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Schedule every branch, and take some back."""
        mine, record = cast("One", data), record_of(ctx)
        taken_back = []
        for branch in mine["branches"]:
            step = await ctx.schedule_next_step("branch", branch, delay=branch["delay"])
            if branch["unschedule"]:
                taken_back.append((branch["id"], step))
        for name, step in taken_back:
            if await step.cancel():
                record.sometimes(UNSTARTED)
                noted(record, "never").add(f"{ctx.run_id} {name}")

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Push what the plan says, or have a child do it."""
        mine, record = cast("Branch", data), record_of(ctx)
        noted(record, "ran").add(f"{ctx.run_id} {mine['id']}")
        if mine["child"]:
            await ctx.run_child(Cancelled, One(id="", after=-1, branches=[{**mine, "child": False}]), initial_state={})
            return
        store = record.store(ctx)
        for n, cut in enumerate(mine["cuts"]):
            name = element(mine["id"], n)
            key = f"{ctx.run_id} {name}"
            if key in noted(record, "withdrawn"):
                continue  # a pass before this one has settled that
            in_doubt = key in noted(record, "begun")
            noted(record, "begun").add(key)
            with trio.CancelScope() as scope:
                async with trio.open_nursery() as nursery:
                    if cut >= 0:
                        nursery.start_soon(cancel_after, scope, cut)
                    try:
                        # With a name: a later pass, whose calls are not cancelled, must not take one for another.
                        await store.push("list", name, op_id=name)
                    except trio.Cancelled:
                        if not in_doubt:
                            noted(record, "withdrawn").add(key)
                        raise
                    noted(record, "told").add(key)
                    nursery.cancel_scope.cancel()
            record.sometimes(WITHDRAWN if key in noted(record, "withdrawn") else APPLIED, cut >= 0)
            await weave(mine["waits"])

    async def on_workflow_cancel(self, reason: str, ctx: Context[object]) -> None:
        """Say so in the store, and nowhere else."""
        await ctx.run_store.increment("cancels")
        record_of(ctx).sometimes(CHILD, ctx.parent_store is not None)


def noted(record: Record, what: str) -> set[str]:
    """Elements of branches, by what happened to their push: "begun", "told", or "withdrawn", and so not to be there.

    Likewise the branches that "ran", and those that "never" were to.
    """
    return cast("set[str]", record.notes.setdefault(what, set()))


async def cancel_after(scope: trio.CancelScope, turns: int) -> None:
    """Cancel a call some turns from now."""
    await weave(turns)
    scope.cancel()


class CancelScenario(Scenario):
    """Cancels at any moment."""

    name = "cancel"
    summary = "runs, steps and single calls are cancelled in the middle; what is cancelled has not happened"
    workflows = (Cancelled,)
    sometimes = (MIDWAY, LATE, WITHDRAWN, APPLIED, UNSTARTED, CHILD)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Some runs, each with its share of the branches."""
        runs = []
        each = min(size.branches, 5)
        for number in range(max(1, size.branches // each)):
            branches = [
                Branch(
                    id=f"b{n}",
                    cuts=[chance.choice((-1, -1, 0, 1, 2, 3, 5)) for _ in range(chance.randint(1, size.ops))],
                    waits=chance.choice((0, 0, 1, 3)),
                    delay=chance.choice((0, 0, 0, 0.1)),
                    child=chance.random() < 0.2,
                    unschedule=chance.random() < 0.15,
                )
                for n in range(each)
            ]
            runs.append(
                One(id=f"cancel-{number}", after=chance.choice((-1, 0, 2, 5, 10, 20, 40, 1000)), branches=branches)
            )
        return Plan(mailbox=mailbox(chance), runs=runs)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Start all runs, and cancel each after its turns; twice, which is harmless."""

        async def one(mine: One) -> None:
            run = await runtime.start(Cancelled, mine, run_id=record.adopt(mine["id"]))
            async with trio.open_nursery() as nursery:
                if mine["after"] >= 0:
                    nursery.start_soon(cancel, run, mine["after"], record)
                record.keep(mine["id"], await run.wait())

        async with trio.open_nursery() as nursery:
            for mine in cast("Plan", plan)["runs"]:
                nursery.start_soon(one, mine)

    def check(self, plan: object, record: Record) -> list[str]:
        """What was told is there, what was cancelled is not, and nobody hangs."""
        return [text for mine in cast("Plan", plan)["runs"] for text in _check(mine, record)]


async def cancel(run: Run, turns: int, record: Record) -> None:
    """Cancel a run, from two sides."""
    await weave(turns)
    running = await run.status() is RunStatus.RUNNING
    record.sometimes(MIDWAY if running else LATE)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run.cancel, "as planned")
        nursery.start_soon(run.cancel, "once more")


def _check(mine: One, record: Record) -> Iterator[str]:
    outcome = record.outcomes.get(mine["id"])
    if outcome is None or outcome.status not in (RunStatus.COMPLETED, RunStatus.CANCELLED):
        why = outcome.error if outcome else ""
        yield f"run {mine['id']} is {outcome.status.value if outcome else 'not waited for'}: {why}"
        return
    if mine["after"] < 0 and outcome.status is RunStatus.CANCELLED:
        yield f"run {mine['id']} is cancelled, and nobody has asked for it"
    never, ran = noted(record, "never"), noted(record, "ran")
    for run_id in (name for name in record.states if name.partition("~")[0] == mine["id"]):
        yield from (f"step {name} was taken back, and has run" for name in never & ran if name.startswith(f"{run_id} "))
        yield from _store(run_id, record)


def _store(run_id: str, record: Record) -> Iterator[str]:
    state = record.states[run_id]
    status = record.summaries[run_id].status
    found = [str(name) for name in cast("list[object]", state.get("list", []))]
    told = noted(record, "told")
    for name in found:
        if f"{run_id} {name}" in noted(record, "withdrawn") - told:
            yield f"run {run_id}: the push of {name} was cancelled, and it is there"
    last: dict[str, int] = {}
    for name in found:
        n = int(name.rpartition(".")[2])
        if last.get(branch_of(name), -1) >= n:
            yield f"run {run_id}: {name} stands behind {branch_of(name)}.{last[branch_of(name)]}"
        last[branch_of(name)] = n
    missing = {one for one in told if one.partition(" ")[0] == run_id} - {f"{run_id} {name}" for name in found}
    if missing:
        yield f"run {run_id}: {sorted(missing)[0].partition(' ')[2]} was acknowledged, and it is not there"
    hooks = state.get("cancels", 0)
    if hooks != (status is RunStatus.CANCELLED):
        yield f"run {run_id} is {status.value}, and what its cancel hook did counts {hooks!r} times"

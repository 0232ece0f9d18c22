"""A storm of suspensions: many steps ask, are answered in any order, some twice at once, some in child runs.

What lives here: the scenario. What does not: suspension over crashes of random programs (`stress nested`).
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import (
    Context,
    JournalError,
    Limits,
    NotSuspended,
    RunFailed,
    RunOver,
    RunStatus,
    RuntimeClosed,
    Workflow,
)

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, sum_is

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow import Run, Runtime, Suspension

RUN: Final = "suspend"
ROUNDS: Final = 1000
"""Looks at a run after which it hangs: each answers one question at least."""

RACE: Final = "resume lost a race"
RUNNING: Final = "a step was resumed while others were running"
DIED: Final = "a child died while its parent was suspended beside it"
DEEP: Final = "a step in a child run was resumed"
ALL: Final = "the whole run was suspended"


class Branch(TypedDict):
    """One branch. `asks`: how often; `way`: "here", in a "child" run, or in a child run that "dies" in the end."""

    id: str
    asks: int
    way: str
    busy: float


class Plan(TypedDict):
    """`order`: the seed of who is answered when; `doubles`: the share of answers that are given twice."""

    mailbox: int
    order: int
    doubles: float
    branches: list[Branch]


async def ask(ctx: Context[object], mine: Branch) -> None:
    """Write, ask, and write down the answer, as often as the plan says."""
    store = record_of(ctx).store(ctx)
    for n in range(mine["asks"]):
        await store.push("before", element(mine["id"], n))
        await trio.sleep(mine["busy"])
        answer = await ctx.suspend({"of": mine["id"], "n": n}, label=element(mine["id"], n))
        await store.push("answers", answer)
        await store.increment("sum", n + 1)


class Asking(Workflow):
    """Branches that ask."""

    keep_state = True
    lost_updates = "allow"
    max_live_steps = 100_000

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        await ctx.schedule_many("branch", list(cast("Plan", record_of(ctx).plan)["branches"]))

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Ask here, or have a child ask."""
        mine, record = cast("Branch", data), record_of(ctx)
        if mine["way"] == "here":
            await ask(ctx, mine)
            return
        try:
            await ctx.run_child(Below, mine, initial_state={}, merge_state=["kept"])
        except RunFailed:
            await record.store(ctx).push("died", element(mine["id"], 0))
            record.sometimes(DIED, record.notes.get("questions", 0))


class Below(Workflow):
    """A child that asks; its answers come back."""

    keep_state = True

    async def start(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Ask in a step of its own, so that this one is not run again."""
        await ctx.run_store.push("kept", f"{data['id']}.0")
        await ctx.schedule_next_step("asking", data)

    async def asking(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Ask, and perhaps die of the answer."""
        await ask(ctx, cast("Branch", data))
        if data["way"] == "dies":
            raise ConnectionError(f"{data['id']} dies, as planned")


class SuspendScenario(Scenario):
    """Questions, answered in any order."""

    name = "suspend"
    summary = "a storm of suspended steps, also in child runs, answered in any order and some twice at once"
    workflows = (Asking, Below)
    sometimes = (RACE, RUNNING, DIED, DEEP, ALL)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Branches that ask up to three times."""
        branches = [
            Branch(
                id=f"b{number}",
                asks=chance.randint(1, max(1, min(3, size.ops))),
                way=chance.choice(("here", "here", "here", "child", "dies")),
                busy=chance.choice((0.0, 0.0, 0.01, 0.05)),
            )
            for number in range(size.branches)
        ]
        return Plan(
            mailbox=mailbox(chance),
            order=chance.randrange(10**6),
            doubles=chance.choice((0, 0.3, 1)),
            branches=branches,
        )

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Answer whatever is asked until the run is over."""
        mine = cast("Plan", plan)
        chance = random.Random(mine["order"])
        run = await runtime.start(Asking, run_id=record.adopt(RUN))
        for _ in range(ROUNDS):
            outcome = None
            with trio.move_on_after(chance.choice((0.005, 0.03, 10.0))):
                outcome = await run.wait()
            if outcome is not None and outcome.status is not RunStatus.SUSPENDED:
                record.keep(RUN, outcome)
                return
            record.sometimes(ALL, outcome is not None)
            asked = list((await run.describe()).suspensions)
            record.notes["questions"] = sum(len(one.path) == 1 for one in asked)
            labels = [one.label for one in asked]
            record.seen.extend(f"question {one} is open twice" for one in {*labels} if labels.count(one) > 1)
            chance.shuffle(asked)
            some = asked[: chance.randint(1, len(asked))] if asked and chance.random() < 0.5 else asked
            async with trio.open_nursery() as nursery:
                for question in some:
                    record.sometimes(RUNNING, outcome is None)
                    record.sometimes(DEEP, len(question.path) > 1)
                    twice = chance.random() < mine["doubles"]
                    nursery.start_soon(answer, run, question, record, ("a", "b") if twice else ("a",))
        record.seen.append(f"the run hangs: after {ROUNDS} looks it is not over")

    def check(self, plan: object, record: Record) -> list[str]:
        """Every question was answered once, and its branch went on where it had stopped."""
        return list(_check(cast("Plan", plan), record))


async def answer(run: Run, question: Suspension, record: Record, versions: tuple[str, ...]) -> None:
    """Answer a question; if twice at once, then one answer has to be refused."""
    told = cast("dict[str, list[str]]", record.notes.setdefault("told", {}))

    async def one(version: str) -> None:
        text = f"{question.label}{version}"
        try:
            # With the label, too: the step may have asked its next question by the time that the second answer comes.
            await run.resume(text, step=question.activation_id, label=question.label)
        except (NotSuspended, RunOver):
            refused.append(text)
        except (JournalError, RuntimeClosed):
            told.setdefault(text, []).append("unknown")
            raise
        else:
            told.setdefault(text, []).append("yes")

    refused: list[str] = []
    async with trio.open_nursery() as nursery:
        for version in versions:
            nursery.start_soon(one, version)
    if len(versions) > 1:
        record.sometimes(RACE, len(refused) == 1)
        if not refused:
            record.seen.append(f"question {question.label} was answered twice, and neither answer was refused")
    if len(refused) == len(versions) and not record.faulty:
        record.seen.append(f"question {question.label} was open, and every answer to it was refused")


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    told = cast("dict[str, list[str]]", record.notes.get("told", {}))
    for text, times in told.items():
        if times.count("yes") > 1:
            yield f"answer {text} was accepted {len(times)} times"
    state = record.state_of(RUN)
    if state is None:
        return
    here = [one for one in plan["branches"] if one["way"] == "here"]
    wanted = {one["id"]: [element(one["id"], n) for n in range(one["asks"])] for one in here}
    yield from differences("before", wanted, state.get("before"))
    found = cast("list[str]", state.get("answers", []))
    yield from differences("answers", wanted, [text[:-1] for text in found])
    if not record.faulty:
        yield from (f"{text} was written down, and it was refused" for text in found if text not in told)
    yield from sum_is("sum", sum(n + 1 for one in here for n in range(one["asks"])), state.get("sum"))
    for key, way in (("died", "dies"), ("kept", "child")):
        some = {one["id"]: [element(one["id"], 0)] for one in plan["branches"] if one["way"] == way}
        yield from differences(key, some, state.get(key))

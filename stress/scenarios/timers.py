"""Timers and events: nothing starts early, equal times keep their order, an event and a timeout exclude each other.

What lives here: the scenario. What does not: clocks that jump (the drivers). It waits on the run's clock, which is
virtual in simulation, so it is none for load.

A plan counts in units of an hour or of a second. Work takes no time, or some seconds if the driver says so (a slow
machine): against hours that is nothing, so the plan says what must come to be. With seconds, things are due in the
middle of others, and anything may come first: then the times of the facts say which of it was right.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import Context, Limits, RunOver, Workflow, tolerate

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import branch_of, differences, element, ended, mailbox

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Run, Runtime

RUN: Final = "timers"

TIE: Final = "two steps were due at the same time"
CAME: Final = "an event came before its timeout"
LATE: Final = "a wait timed out"
KEPT: Final = "an event was kept for its wait"
BARE: Final = "a wait without an on_timeout timed out"


HOUR_S: Final = 3600.0
SOON_S: Final = 1e-3
"""Times are sums of floats."""


class Timer(TypedDict):
    """One step, and the units after which it is due."""

    id: str
    delay: float


class Wait(TypedDict):
    """One wait for an event: when it opens, how long it waits, and when the event is sent (-1: never)."""

    id: str
    opens: float
    timeout: float
    sent: float
    fallback: bool


class Plan(TypedDict):
    """All timers and waits, and the seconds of their unit."""

    mailbox: int
    unit: float
    timers: list[Timer]
    waits: list[Wait]


class Timers(Workflow):
    """Steps that start later, and waits."""

    keep_state = True
    max_live_steps = 100_000
    join = tolerate(fraction=1.0)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule everything."""
        record = record_of(ctx)
        plan = cast("Plan", record.plan)
        for timer in plan["timers"]:
            scheduled = await ctx.schedule_next_step("tick", timer, delay=timer["delay"] * plan["unit"])
            due = cast("dict[str, float]", record.notes.setdefault("due", {}))
            if scheduled.due is not None:
                record.sometimes(TIE, scheduled.due.timestamp() in due.values())
                due.setdefault(timer["id"], scheduled.due.timestamp())
        for wait in plan["waits"]:
            await ctx.schedule_next_step("open", wait, delay=wait["opens"] * plan["unit"])

    async def tick(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Say that it is time."""
        timer, record = cast("Timer", data), record_of(ctx)
        cast("list[str]", record.notes.setdefault("order", [])).append(timer["id"])
        due = cast("dict[str, float]", record.notes.get("due", {})).get(timer["id"], 0.0)
        if ctx.now().timestamp() < due - 1e-3:
            record.seen.append(f"timer {timer['id']} runs {due - ctx.now().timestamp():.3f} s too early")
        await record.store(ctx).push("ticks", element(timer["id"], 0))

    async def open(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Open a wait."""
        wait = cast("Wait", data)
        timeout = wait["timeout"] * cast("Plan", record_of(ctx).plan)["unit"]
        fallback = "late" if wait["fallback"] else None
        await ctx.wait_for_event(wait["id"], action="came", payload=wait, timeout=timeout, on_timeout=fallback)

    async def came(self, data: dict[str, object], ctx: Context[object]) -> None:
        """The event came; what it says is written down."""
        await record_of(ctx).store(ctx).push("came", ctx.event)

    async def late(self, data: dict[str, object], ctx: Context[object]) -> None:
        """It did not come in time."""
        await record_of(ctx).store(ctx).push("late", f"{data['id']}.0")


def comes(wait: Wait) -> bool:
    """Whether the event is there before the wait has timed out."""
    return 0 <= wait["sent"] < wait["opens"] + wait["timeout"]


class TimersScenario(Scenario):
    """Time."""

    name = "timers"
    summary = "delays, ties, events that come, come early, come late or never come"
    workflows = (Timers,)
    sometimes = (TIE, CAME, LATE, KEPT, BARE)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """Times are tenths of units; waits end between them, so that nothing happens at the same time by chance."""
        timers = [
            Timer(id=f"t{number}", delay=chance.choice((0, 0.1, 0.1, 0.5, 3, 3, 5_000)))
            for number in range(chance.randint(1, size.branches))
        ]
        waits = [
            Wait(
                id=f"w{number}",
                opens=chance.choice((0, 0, 0.3, 2)),
                timeout=chance.choice((0.25, 1.05, 50.05)),
                sent=chance.choice((-1, 0, 0.1, 0.6, 2.2, 60)),
                fallback=chance.random() < 0.8,
            )
            for number in range(chance.randint(0, size.branches))
        ]
        return Plan(mailbox=mailbox(chance), unit=chance.choice((1.0, HOUR_S)), timers=timers, waits=waits)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Plan", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Start the run, and send each event when it is time."""
        mine = cast("Plan", plan)
        run = await runtime.start(Timers, run_id=record.adopt(RUN))
        async with trio.open_nursery() as nursery:
            for wait in mine["waits"]:
                if wait["sent"] >= 0:
                    nursery.start_soon(send, run, wait, mine["unit"], record)
            record.keep(RUN, await run.wait())
            nursery.cancel_scope.cancel()  # events that would come after the end

    def check(self, plan: object, record: Record) -> list[str]:
        """Every timer ran once, in due order; every wait had one of its two ends."""
        return list(_check(cast("Plan", plan), record))


async def send(run: Run, wait: Wait, unit: float, record: Record) -> None:
    """Send one event, once over all lives of the scenario."""
    await trio.sleep(wait["sent"] * unit)
    sent = cast("set[str]", record.notes.setdefault("sent", set()))
    if wait["id"] in sent:
        return
    try:
        await run.send_event(wait["id"], element(wait["id"], 0))
    except RunOver:
        return
    sent.add(wait["id"])


def _check(plan: Plan, record: Record) -> Iterator[str]:
    yield from ended(record, RUN)
    for wait in plan["waits"]:
        record.sometimes(CAME if comes(wait) else LATE if wait["fallback"] else BARE)
        record.sometimes(KEPT, 0 <= wait["sent"] < wait["opens"])
    yield from _by_their_times(record)
    if plan["unit"] >= HOUR_S and not record.faulty:
        yield from _by_the_plan(plan, record)
    state = record.state_of(RUN)
    if state is None:
        return
    yield from differences("ticks", {one["id"]: [element(one["id"], 0)] for one in plan["timers"]}, state.get("ticks"))
    found = [branch_of(one) for key in ("came", "late") for one in cast("list[str]", state.get(key, []))]
    yield from (f"wait {one} has ended twice" for one in {*found} if found.count(one) > 1)
    outcome = record.outcomes.get(RUN)
    failed = 0 if outcome is None else len(outcome.failures)
    if outcome is not None and len(found) + failed != len(plan["waits"]):
        yield f"{len(found)} waits have had their step, {failed} have failed, and there were {len(plan['waits'])}"


def _by_the_plan(plan: Plan, record: Record) -> Iterator[str]:
    """Nothing takes hours but what the plan lets wait: it says how each wait ends, and in which order timers run."""
    late = [one for one in plan["waits"] if not comes(one)]
    bare = [one for one in late if not one["fallback"]]
    outcome = record.outcomes.get(RUN)
    if outcome is not None and len(outcome.failures) != len(bare):
        yield f"{len(outcome.failures)} failures are listed, and {len(bare)} waits time out without an on_timeout"
    order = cast("list[str]", record.notes.get("order", []))
    planned = [one["id"] for one in sorted(plan["timers"], key=lambda one: one["delay"])]
    if order != planned:
        yield f"the timers ran as {order}, and they were due as {planned}"
    state = record.state_of(RUN) or {}
    for key, some in (("came", filter(comes, plan["waits"])), ("late", (one for one in late if one["fallback"]))):
        yield from differences(key, {one["id"]: [element(one["id"], 0)] for one in some}, state.get(key))


def _by_their_times(record: Record) -> Iterator[str]:
    """Nothing times out before its time, and none of what had its event in time; what is due earlier starts earlier."""
    sent: dict[str, float] = {}
    waits: dict[int, tuple[str, float]] = {}
    armed: dict[int, tuple[float, int]] = {}
    for fact in record.facts.get(RUN, ()):
        n, at = cast("int", fact.fields.get("n", 0)), fact.at.timestamp()
        if fact.kind == "event-received":
            sent[str(fact.fields["event"])] = at
        elif fact.kind == "wait-opened":
            waits[n] = str(fact.fields["event"]), cast("float", fact.fields["deadline"])
        elif fact.kind == "wait-timed-out":
            name, deadline = waits[n]
            if at < deadline - SOON_S:
                yield f"wait {name} times out {deadline - at:.3f} s before its time"
            if sent.get(name, deadline) < deadline - SOON_S:
                yield f"wait {name} times out, and its event had come {deadline - sent[name]:.3f} s before"
        elif fact.kind == "step-scheduled":
            armed[n] = cast("float", fact.fields["due"]), n
        elif fact.kind == "step-started" and n in armed:
            mine = armed.pop(n)
            before = [one for one in armed.values() if one < mine]
            if before and not record.faulty:
                due, other = min(before)
                yield f"step {n} was due at {mine[0]:.3f} and started before step {other}, due at {due:.3f}"

"""The calls from outside: starting, finding, watching, answering, cancelling and forking runs.

What lives here: each call as a case. What does not: opening and closing a runtime (`openings`), calls of steps.

Every case ends in the same way: whatever became of the call, it is made again if it did not happen, and then the runs
end as if nobody had been cancelled.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from actorflow import Context, NotSuspended, Run, RunNotFound, RunOver, RunStatus, Runtime, Workflow, open_runtime

from .stage import Case, check_quiet, in_order

if TYPE_CHECKING:
    from actorflow import RunOutcome
    from actorflow.abc import Journal
    from actorflow.testing import Victim

    from .stage import Body

__all__ = ["CASES", "Items", "Questions"]

Look = Callable[[Run], Awaitable[object]]


class Items(Workflow):
    """Three branches that end by themselves."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """One branch an item."""
        await ctx.schedule_many("item", [1, 2, 3])

    async def item(self, data: int, ctx: Context[object]) -> None:
        """Two operations."""
        await ctx.run_store.push("items", data)
        await ctx.run_store.increment("sum", data)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """All of them."""
        return in_order(await ctx.run_store.get("items")), await ctx.run_store.get("sum")


class Questions(Workflow):
    """Waits for an event, and for an answer, here and in a child run."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Three waits."""
        await ctx.wait_for_event("paid", action="paid", timeout=900, on_timeout="paid")
        await ctx.schedule_next_step("ask")
        await ctx.schedule_next_step("below")

    async def paid(self, data: object, ctx: Context[object]) -> None:
        """The event has come."""
        await ctx.run_store.push("paid", ctx.event)

    async def ask(self, data: object, ctx: Context[object]) -> None:
        """A question."""
        await ctx.run_store.push("asked", "once")
        await ctx.run_store.push("answers", await ctx.suspend("ask"))

    async def below(self, data: object, ctx: Context[object]) -> None:
        """A question in a child run."""
        await ctx.run_store.push("answers", await ctx.run_child(Below))

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """The whole state, in an order that does not follow from the schedule."""
        state = await ctx.run_store.snapshot()
        return {key: sorted(value) for key, value in state.items() if isinstance(value, list)}


class Below(Workflow):
    """The child run that asks."""

    async def start(self, data: object, ctx: Context[object]) -> object:
        """A question."""
        return await ctx.suspend("below")


SUMS: Final = [[1, 2, 3], 6]
ANSWERED: Final = {"paid": [3], "asked": ["once"], "answers": [7, 8]}
FLOWS: Final = (Items, Questions, Below)
ENDS: Final = ("run-completed", "run-failed", "run-cancelled")


async def exists(runtime: Runtime, run_id: str) -> bool:
    """Whether there is such a run."""
    try:
        await runtime.get_run(run_id)
    except RunNotFound:
        return False
    return True


async def answered(run: Run, *, event: bool = True) -> RunOutcome:
    """Everything that `Questions` waits for, and its end."""
    if event:
        await run.send_event("paid", 3)
    while (outcome := await run.wait()).status is RunStatus.SUSPENDED:
        for suspension in outcome.suspensions:
            await run.resume(8 if "below" in suspension.path else 7, step=suspension.activation_id)
    return outcome


async def asked(run: Run) -> None:
    """Both questions are open."""
    while len((await run.wait()).suspensions) < 2:  # noqa: ASYNC110 - no event tells of the second one
        await trio.sleep(1)


# --- starting


async def start(victim: Victim, journal: str | Journal) -> object:
    """It has started, or the run id is free."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        await victim(partial(runtime.start, Items, run_id="r"))
        assert await exists(runtime, "r") is not victim.cancelled, (
            "cancelled, and there is a run; or none, and it is not"
        )
        run = await runtime.start(Items, run_id="r")
        assert await run.result() == SUMS
        check_quiet(runtime)
        kinds = [fact.kind for fact in await run.history()]
        assert kinds.count("run-started") == 1, kinds
    return None


async def start_by_two(victim: Victim, journal: str | Journal) -> object:
    """Two start the same run; one is cancelled."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(victim, partial(runtime.start, Items, run_id="r"))
            nursery.start_soon(partial(runtime.start, Items, run_id="r"))
        assert await (await runtime.get_run("r")).result() == SUMS
        check_quiet(runtime)
    return None


async def run_whole(victim: Victim, journal: str | Journal) -> object:
    """`Runtime.run` is a start and a wait: a run that has started goes on without the one who waited."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        await victim(partial(runtime.run, Items, run_id="r"))
        assert victim.cancelled or await exists(runtime, "r")
        assert await runtime.run(Items, run_id="r") == SUMS
        check_quiet(runtime)
    return None


# --- looking


async def get_run(runtime: Runtime) -> object:
    """A run that is there, and one that is not."""
    await runtime.get_run("r")
    return await exists(runtime, "nobody")


async def list_all(runtime: Runtime) -> object:
    """Two pages."""
    first = await runtime.list_runs(limit=1)
    return await runtime.list_runs(after=first[-1].run_id, status=RunStatus.RUNNING)


async def read_events(run: Run) -> int:
    """The stream, up to its end or to a question."""
    seen = 0
    with trio.move_on_after(5):
        async with run.events() as stream:
            async for event in stream:
                assert event.seq > seen
                seen = event.seq
    return seen


async def read_state_at(run: Run) -> object:
    """The store after the last fact."""
    return await run.state_at(len(await run.history()))


async def try_result(run: Run) -> object:
    """The output, once there is one."""
    outcome = await run.wait()
    return await run.result() if outcome.status is RunStatus.COMPLETED else None


LOOKS: Final[dict[str, Look]] = {
    "Run.wait": lambda run: run.wait(),
    "Run.result": try_result,
    "Run.status": lambda run: run.status(),
    "Run.describe": lambda run: run.describe(),
    "Run.state": lambda run: run.state(),
    "Run.history": lambda run: run.history(),
    "Run.state_at": read_state_at,
    "Run.events": read_events,
}


def looked(look: Callable[[Runtime, Run], Awaitable[object]], flow: type[Workflow], when: str) -> Body:
    """Somebody looks, is cancelled, and looks again; the run is not concerned."""

    async def body(victim: Victim, journal: str | Journal) -> object:
        async with open_runtime(FLOWS, journal=journal) as runtime:
            run = await runtime.start(flow, run_id="r")
            other = await runtime.start(Items, run_id="s")
            if when == "suspended":
                await run.send_event("paid", 3)
                await asked(run)
            elif when == "over":
                await run.result()
            await victim(look, runtime, run)
            await look(runtime, run)
            if flow is Items:
                assert await run.result() == SUMS
            else:
                outcome = await answered(run, event=when != "suspended")
                assert outcome.output == ANSWERED, outcome.output
            await other.result()
            check_quiet(runtime)
        return None

    return body


def looks() -> list[Case]:
    """Each look at a run that goes on, at one that is suspended, and at one that is over."""
    found = []
    calls: dict[str, Callable[[Runtime, Run], Awaitable[object]]] = {
        "Runtime.get_run": lambda runtime, run: get_run(runtime),
        "Runtime.list_runs": lambda runtime, run: list_all(runtime),
    }
    for name, look in LOOKS.items():
        calls[name] = partial(_on_run, look)
    for name, call in calls.items():
        found.append(Case(f"{name}, running", looked(call, Items, "running")))
        found.append(Case(f"{name}, suspended", looked(call, Questions, "suspended")))
        found.append(Case(f"{name}, over", looked(call, Items, "over")))
    return found


async def _on_run(look: Look, runtime: Runtime, run: Run) -> object:
    return await look(run)


# --- acting


async def send_event(victim: Victim, journal: str | Journal) -> object:
    """Delivered once, or not at all."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        run = await runtime.start(Questions, run_id="r")
        await victim(run.send_event, "paid", 3)
        outcome = await answered(run, event=victim.cancelled)
        assert outcome.output == ANSWERED, outcome.output
        check_quiet(runtime)
    return None


async def send_event_asleep(victim: Victim, journal: str | Journal) -> object:
    """To a run that waits for nothing but that."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        run = await runtime.start(Questions, run_id="r")
        await asked(run)
        await victim(run.send_event, "paid", 3)
        outcome = await answered(run, event=victim.cancelled)
        assert outcome.output == ANSWERED, outcome.output
        check_quiet(runtime)
    return None


def resume(step: str, data: int) -> Body:
    """Of a step, there or in a child run: it has its answer, or is still suspended."""

    async def body(victim: Victim, journal: str | Journal) -> object:
        async with open_runtime(FLOWS, journal=journal) as runtime:
            run = await runtime.start(Questions, run_id="r")
            await asked(run)
            await victim(partial(run.resume, data, step=step))
            try:
                await run.resume(data, step=step)
                again = True
            except NotSuspended:
                again = False
            assert again is victim.cancelled, "cancelled, and it is not suspended; or answered, and it is"
            outcome = await answered(run)
            assert outcome.output == ANSWERED, outcome.output
            check_quiet(runtime)
        return None

    return body


def cancel(when: str) -> Body:
    """The run is cancelled, or goes on."""

    async def body(victim: Victim, journal: str | Journal) -> object:
        async with open_runtime(FLOWS, journal=journal) as runtime:
            run = await runtime.start(Questions, run_id="r")
            if when == "suspended":
                await asked(run)
            await victim(run.cancel, "enough")
            if not victim.cancelled:
                assert await run.status() is RunStatus.CANCELLED
            await run.cancel("again")
            outcome = await run.wait()
            assert outcome.status is RunStatus.CANCELLED
            check_quiet(runtime)
            below = await runtime.list_runs(limit=10)
            assert all(summary.status is RunStatus.CANCELLED for summary in below), below
        return None

    return body


async def cancel_late(victim: Victim, journal: str | Journal) -> object:
    """A run that ends by itself meanwhile: it ends once, in one way or the other."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        run = await runtime.start(Items, run_id="r")
        await victim(run.cancel, "enough")
        outcome = await run.wait()
        assert outcome.status in (RunStatus.CANCELLED, RunStatus.COMPLETED)
        ends = [fact.kind for fact in await run.history() if fact.kind in ENDS]
        assert len(ends) == 1, ends
        check_quiet(runtime)
    return None


async def fork(victim: Victim, journal: str | Journal) -> object:
    """There is a second run, or its id is free; the first one is not concerned."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        run = await runtime.start(Questions, run_id="r")
        await asked(run)
        await victim(partial(run.fork, before="ask", run_id="f"))
        made = await exists(runtime, "f")
        assert made is not victim.cancelled, "cancelled, and there is a run; or none, and it is not"
        copy = await runtime.get_run("f") if made else await run.fork(before="ask", run_id="f")
        for one in (run, copy):
            outcome = await answered(one)
            assert outcome.output == ANSWERED, outcome.output
        check_quiet(runtime)
    return None


async def event_after_end(victim: Victim, journal: str | Journal) -> object:
    """Refused, cancelled or not."""
    async with open_runtime(FLOWS, journal=journal) as runtime:
        run = await runtime.start(Items, run_id="r")
        await run.result()
        try:
            await victim(run.send_event, "paid", 3)
        except RunOver:
            return None
        assert victim.cancelled, "an event was taken after the end"
    return None


CASES: Final[tuple[Case, ...]] = (
    Case("Runtime.start", start),
    Case("Runtime.start, by two", start_by_two),
    Case("Runtime.run", run_whole),
    *looks(),
    Case("Run.send_event", send_event),
    Case("Run.send_event, suspended", send_event_asleep),
    Case("Run.send_event, over", event_after_end),
    Case("Run.resume", resume("ask", 7)),
    Case("Run.resume, of a child", resume("below.start", 8)),
    Case("Run.cancel", cancel("running")),
    Case("Run.cancel, suspended", cancel("suspended")),
    Case("Run.cancel, too late", cancel_late),
    Case("Run.fork", fork),
)

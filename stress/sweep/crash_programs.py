"""Small programs to be crashed at every point: both styles, nested, suspended, with events, timers and retries.

What lives here: the programs. What does not: crashing them (`actorflow.testing.crash_everywhere`).

Each keeps its state, so that a run which was over before the crash can be compared as well.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from actorflow import (
    DRAIN,
    Context,
    Failure,
    NotSuspended,
    Retry,
    Run,
    RunOver,
    RunStatus,
    Workflow,
    from_step,
    open_runtime,
    step,
    tolerate,
    workflow,
)

from .stage import Function, check_quiet

if TYPE_CHECKING:
    from actorflow import RunOutcome
    from actorflow.abc import Journal

__all__ = ["PROGRAMS", "CrashProgram"]


@frozen
class CrashProgram:
    """A program and its name in the report."""

    name: str
    run: Function


def ended(flow: object, data: object = None, *, status: RunStatus = RunStatus.COMPLETED) -> Function:
    """One run, told the event "go", its questions answered with their label, up to its end."""

    async def program(journal: Journal) -> RunOutcome:
        async with open_runtime([flow, *WITH.get(flow, ())], journal=journal) as runtime:
            run = await runtime.start(flow, data, run_id="r")
            outcome = await driven(run)
            check_quiet(runtime)
        assert outcome.status is status, outcome
        return outcome

    return program


async def driven(run: Run) -> RunOutcome:
    """To the end, answering."""
    with suppress(RunOver):
        facts = await run.history()
        if not any(fact.kind == "event-received" for fact in facts):
            await run.send_event("go", 5)
    while (outcome := await run.wait()).status is RunStatus.SUSPENDED:
        for suspension in outcome.suspensions:
            with suppress(NotSuspended, RunOver):
                await run.resume({"for": suspension.label}, step=suspension.activation_id)
    return outcome


# --- class style


class FanOut(Workflow):
    """Branches that push, add and set."""

    keep_state = True

    async def start(self, data: int, ctx: Context[object]) -> None:
        """One branch each."""
        for item in range(data):
            await ctx.schedule_next_step("item", item)

    async def item(self, data: int, ctx: Context[object]) -> None:
        """Three messages."""
        await ctx.run_store.push("items", data)
        await ctx.run_store.increment("sum", data)
        async with ctx.run_store.transaction() as tx:
            tx.increment("count")
            tx.set(f"last of {data}", data)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """The hook counts once, too."""
        await ctx.run_store.increment("hooks")
        return await ctx.run_store.length("items"), await ctx.run_store.get("sum")


class Retried(Workflow):
    """Steps that fail after they have done something."""

    keep_state = True
    join = tolerate(count=1)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """One that recovers, one that does not, one all or nothing."""
        await ctx.schedule_next_step("shaky")
        await ctx.schedule_next_step("hopeless")
        await ctx.schedule_next_step("careful")

    @step(retry=Retry(attempts=3, delay=2, jitter=0))
    async def shaky(self, data: object, ctx: Context[object]) -> None:
        """Works the third time."""
        await ctx.run_store.increment("shaky")
        await ctx.schedule_next_step("after", "shaky", key="once")
        await ctx.run_store.set("attempt", ctx.attempt)
        if ctx.attempt < 3:
            raise RuntimeError("not yet")

    async def after(self, data: str, ctx: Context[object]) -> None:
        """Scheduled once."""
        await ctx.run_store.push("after", data)

    async def hopeless(self, data: object, ctx: Context[object]) -> None:
        """Keeps what it has applied."""
        await ctx.run_store.push("tried", "hopeless")
        raise RuntimeError("never")

    @step(retry=Retry(attempts=2, delay=1, jitter=0), commit="on_success")
    async def careful(self, data: object, ctx: Context[object]) -> None:
        """Applies with its success."""
        await ctx.run_store.push("careful", ctx.attempt)
        await ctx.schedule_next_step("after", "careful")
        if ctx.attempt == 1:
            raise RuntimeError("once")


class Outside(Workflow):
    """What happens outside, events, and a timer."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """A wait for the event, one for nothing, one for time."""
        await ctx.run_store.set("paid", await ctx.once("pay", pay))
        await ctx.wait_for_event("go", action="told", payload="go", timeout=90, on_timeout="missed")
        await ctx.wait_for_event("never", action="told", payload="never", timeout=4, on_timeout="missed")
        await ctx.schedule_next_step("told", "late", delay=7)
        await ctx.emit("begun", 1)

    async def told(self, data: str, ctx: Context[object]) -> None:
        """It came."""
        await ctx.run_store.push("told", [data, ctx.event])

    async def missed(self, data: object, ctx: Context[object]) -> None:
        """It did not."""
        await ctx.run_store.push("missed", data)


async def pay() -> str:
    """The outside world."""
    await trio.lowlevel.checkpoint()
    return "receipt"


class Asking(Workflow):
    """Two questions in one step, one in another, while a third works."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Three steps."""
        for name in ("twice", "once", "work"):
            await ctx.schedule_next_step(name)

    async def twice(self, data: object, ctx: Context[object]) -> None:
        """Runs three times; what it did counts once."""
        await ctx.run_store.increment("begun")
        first = await ctx.suspend("first", label="first")
        await ctx.run_store.push("answers", first)
        second = await ctx.suspend("second", label="second")
        await ctx.run_store.push("answers", second)

    async def once(self, data: object, ctx: Context[object]) -> None:
        """One question."""
        await ctx.run_store.push("answers", await ctx.suspend("third", label="third"))

    async def work(self, data: object, ctx: Context[object]) -> None:
        """No question."""
        await ctx.run_store.push("worked", 1)


class Leaf(Workflow):
    """The innermost run."""

    async def start(self, data: int, ctx: Context[object]) -> int:
        """Changes what it inherited."""
        await ctx.run_store.push("leaves", data)
        await ctx.run_store.increment("sum", data)
        assert ctx.root_store is not None
        await ctx.root_store.increment("at once")
        return data * 2


class Middle(Workflow):
    """Calls two leaves, one after the other."""

    async def start(self, data: int, ctx: Context[object]) -> int:
        """The second begins with what the first has left."""
        first = await ctx.run_child(Leaf, data, merge_state=True)
        second = await ctx.run_child(Leaf, data + 1, merge_state=True)
        return int(str(first)) + int(str(second))


class Tree(Workflow):
    """Two middle runs side by side."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Two branches."""
        await ctx.run_store.push("leaves", 0)
        for item in (10, 20):
            await ctx.schedule_next_step("call", item)

    async def call(self, data: int, ctx: Context[object]) -> None:
        """A child of two levels."""
        await ctx.run_store.push("results", await ctx.run_child(Middle, data, merge_state=["leaves", "sum"]))


class Below(Workflow):
    """Asks in a child run."""

    async def start(self, data: object, ctx: Context[object]) -> object:
        """One question."""
        await ctx.run_store.push("asked", data)
        return await ctx.suspend("below", label=f"below {data}")


class AskingTree(Workflow):
    """Children that are suspended, and one that fails."""

    keep_state = True
    join = DRAIN

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Three calls."""
        for item in ("a", "b"):
            await ctx.schedule_next_step("call", item)
        await ctx.schedule_next_step("fail")

    async def call(self, data: str, ctx: Context[object]) -> None:
        """A child that asks."""
        await ctx.run_store.push("answers", await ctx.run_child(Below, data, merge_state=True))

    async def fail(self, data: object, ctx: Context[object]) -> None:
        """Fails the run, when the others have finished."""
        await ctx.run_store.push("failed", 1)
        raise ValueError("as planned")

    async def on_workflow_error(self, error: object, ctx: Context[object]) -> None:
        """The hook."""
        await ctx.run_store.increment("hooks")


class Bails(Workflow):
    """Ends in the middle."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """One that ends it, one that would go on for ever."""
        await ctx.schedule_next_step("end", delay=600)
        await ctx.schedule_next_step("wait")

    async def wait(self, data: object, ctx: Context[object]) -> None:
        """Is cancelled."""
        await ctx.run_store.push("begun", 1)
        await trio.sleep_forever()

    async def end(self, data: object, ctx: Context[object]) -> None:
        """The end."""
        await ctx.run_store.push("ended", 1)
        await ctx.bail("enough")


# --- graph style


@step
async def double(data: int, ctx: Context[object]) -> int:
    """Twice as much."""
    await ctx.run_store.push("doubled", data)
    return data * 2


@step(retry=Retry(attempts=2, delay=1, jitter=0))
async def shaky(data: int, ctx: Context[object]) -> int:
    """Works the second time."""
    await ctx.run_store.increment("shaky")
    if ctx.attempt == 1:
        raise RuntimeError("not yet")
    return data + 1


@step
async def often(data: int, ctx: Context[object]) -> int:
    """The body of a loop."""
    await ctx.run_store.increment("turns")
    return data + 1


@step
async def approve(data: object, ctx: Context[object]) -> object:
    """A question of a graph."""
    answer = await ctx.suspend(data, label="approve")
    await ctx.run_store.push("approved", answer)
    return data


@step
async def choosy(data: int, ctx: Context[object]) -> int:
    """Fails for one of them."""
    await ctx.run_store.push("seen", data)
    if data == 5:
        raise ValueError("five")
    return data


def count_failures(data: object, ctx: object) -> list[object]:
    """Records of tolerated failures, as texts."""
    assert isinstance(data, list)
    return ["failed" if isinstance(item, Failure | dict) else item for item in data]


inner = workflow("sweep-inner", input=int, keep_state=True).then(double).then(shaky).commit()

LOOPS: Final = (
    workflow("sweep-loops", input=int, keep_state=True)
    .then(double)
    .parallel([shaky, double])
    .map({"n": from_step("shaky")})
    .map(lambda data, ctx: data["n"])
    .do_until(often, lambda data, ctx: data >= 6)
    .commit()
)

EACH: Final = (
    workflow("sweep-each", input=list[int], keep_state=True)
    .foreach(inner, concurrency=2)
    .foreach(choosy, concurrency=None, join=tolerate(count=9))
    .map(count_failures)
    .commit()
)

WAITING: Final = (
    workflow("sweep-waiting", input=int, keep_state=True)
    .then(double)
    .sleep(3)
    .wait_for_event("go")
    .then(approve)
    .parallel([double, Leaf])
    .commit()
)

WITH: Final[dict[object, tuple[object, ...]]] = {Tree: (Middle, Leaf), AskingTree: (Below,)}
"""What runs need beside their own workflow."""

PROGRAMS: Final = (
    CrashProgram("class: fan-out", ended(FanOut, 3)),
    CrashProgram("class: retries, tolerate, on success", ended(Retried)),
    CrashProgram("class: once, events, timers", ended(Outside)),
    CrashProgram("class: suspended", ended(Asking)),
    CrashProgram("class: bail", ended(Bails)),
    CrashProgram("nested: three levels, merged", ended(Tree)),
    CrashProgram("nested: suspended, drained", ended(AskingTree, status=RunStatus.FAILED)),
    CrashProgram("graph: parallel, map, loop", ended(LOOPS, 1)),
    CrashProgram("graph: foreach of graphs", ended(EACH, [1, 2, 3])),
    CrashProgram("graph: sleep, event, question, child", ended(WAITING, 2)),
)

"""Workflows whose process is killed, and the process that is killed: run as a program it forks one life per request.

What lives here: what `test_crash.py` runs in processes of its own. What does not: any judgement of how it went.

A life opens the journal, starts the run (or finds it), drives it to its end, and kills itself with SIGKILL at the
point that the request names. Everything that the library acknowledges to a step is written to a file at once, so
that the test knows afterwards what must not be lost.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

import attrs
import trio

from actorflow import ALL, Context, Limits, Retry, Workflow, open_runtime, step
from actorflow.abc import Append
from actorflow.journals import SqliteJournal

RUN_ID = "r"
ITEMS = 4
MANY = 2500
HALF = 1500


@attrs.define
class Kill:
    """Where this process dies: before or after its n-th commit, or at a point that a step passes; nowhere else."""

    commit: int = 0
    side: str = "before"
    point: str = ""


here = Kill()
"""Of this process. In a process that is to live it stays empty."""


def die() -> None:
    """End as with `kill -9`."""
    os.kill(os.getpid(), signal.SIGKILL)


def passing(point: str) -> None:
    """A step passes a point at which its process may have to die."""
    if here.point == point:
        die()


def note(path: str, *parts: object) -> None:
    """Add one line to a file, in one write: what is here was said, whatever becomes of the process."""
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        os.write(descriptor, (json.dumps(parts) + "\n").encode())
    finally:
        os.close(descriptor)


def notes(path: Path) -> list[list[object]]:
    """The lines of such a file."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


class KillingJournal(SqliteJournal):
    """A journal whose process dies before or after the n-th commit."""

    commits = 0

    async def commit(self, appends: Sequence[Append]) -> int:
        """Commit, unless this is the one."""
        self.commits += 1
        if self.commits == here.commit and here.side == "before":
            die()
        written = await super().commit(appends)
        if self.commits == here.commit and here.side == "after":
            die()
        return written


async def charge(log: str) -> dict[str, int]:
    """What must not be done twice, as far as that can be had."""
    note(log, "charged")
    passing("in once")
    return {"amount": 3}


class Everything(Workflow):
    """One of each: branches, verbs, a transaction, a retry, a timer, an event, `once`, all-or-nothing, the hook."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("who", "order")
        await ctx.schedule_many("item", [{"i": i} for i in range(ITEMS)])
        await ctx.schedule_next_step("late", delay=0.01)
        await ctx.schedule_next_step("pay")
        await ctx.wait_for_event("go", action="gone")

    async def item(self, data, ctx: Context):
        log, i = ctx.input["log"], data["i"]
        note(log, "push", i, await ctx.run_store.push("items", i))
        note(log, "increment", i, await ctx.run_store.increment("n"))
        async with ctx.run_store.transaction() as tx:
            tx.push("pairs", i)
            tx.increment("pairs_n")
        note(log, "pair", i)
        await ctx.schedule_next_step("sub", {"i": i})
        note(log, "sub", i)

    @step(retry=Retry(attempts=2, delay=0.01, jitter=0.0))
    async def sub(self, data, ctx: Context):
        await ctx.run_store.increment("subs")
        if ctx.attempt == 1:
            raise ValueError("the first attempt")
        await ctx.run_store.push("tried", [data["i"], ctx.attempt])

    async def pay(self, data, ctx: Context):
        receipt = await ctx.once("charge", charge, ctx.input["log"])
        note(ctx.input["log"], "receipt", receipt)
        passing("after once")
        await ctx.run_store.push("receipts", receipt)
        await ctx.schedule_next_step("book")

    @step(commit="on_success")
    async def book(self, data, ctx: Context):
        await ctx.run_store.increment("booked")
        await ctx.run_store.increment("booked")
        passing("in book")

    async def late(self, data, ctx: Context):
        await ctx.run_store.increment("late")

    async def gone(self, data, ctx: Context):
        await ctx.run_store.push("events", ctx.event)

    async def on_workflow_complete(self, ctx: Context):
        note(ctx.input["log"], "hook", await ctx.run_store.increment("hook"))
        passing("in hook")
        found = await ctx.run_store.snapshot()
        return {
            key: sorted(value) if isinstance(value, list) and key != "receipts" else value
            for key, value in found.items()
        }


EVERYTHING = {
    "who": "order",
    "items": [0, 1, 2, 3],
    "n": 4,
    "pairs": [0, 1, 2, 3],
    "pairs_n": 4,
    "subs": 4,
    "tried": [[0, 2], [1, 2], [2, 2], [3, 2]],
    "receipts": [{"amount": 3}],
    "booked": 2,
    "late": 1,
    "events": [7],
    "hook": 1,
}
"""The output of an undisturbed run. `subs`: an attempt that runs again does not count again."""


class Many(Workflow):
    """Schedules more than one batch, and may die half-way."""

    async def start(self, data, ctx: Context):
        return await ctx.schedule_many("one", self._numbers())

    def _numbers(self):
        """The payloads, one at a time."""
        for i in range(MANY):
            if i == HALF:
                passing("half-way")
            yield i
        passing("all taken")

    async def one(self, data, ctx: Context):
        await ctx.run_store.increment("n")
        await ctx.run_store.increment("sum", data)

    async def on_workflow_complete(self, ctx: Context):
        return [await ctx.run_store.get("n"), await ctx.run_store.get("sum")]


class Timers(Workflow):
    """Three timers, in another order than they fall due."""

    async def start(self, data, ctx: Context):
        for hours in (3, 1, 2):
            await ctx.schedule_next_step("ring", hours, delay=hours * 3600)
        note(ctx.input["log"], "armed")
        passing("armed")

    async def ring(self, data, ctx: Context):
        await ctx.run_store.push("rang", data)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("rang")


class Failing(Workflow):
    """Fails, and its error hook may die."""

    join = ALL

    async def start(self, data, ctx: Context):
        await ctx.run_store.increment("started")
        raise ValueError("boom")

    async def on_workflow_error(self, error, ctx: Context):
        note(ctx.input["log"], "told", error.step_id, error.error_type, error.message)
        await ctx.run_store.increment("hook")
        passing("in hook")


class Deadly(Workflow):
    """Kills each process that runs it."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.increment("passes")
        note(ctx.input["log"], "attempt", ctx.attempt)
        passing("always")
        return "survived"


class Marking(Workflow):
    """Says on stdout how far it is, and waits to be killed from outside."""

    async def start(self, data, ctx: Context):
        for i in range(10):
            note(ctx.input["log"], "push", i, await ctx.run_store.push("l", i))
            ctx.run_store.push_nowait("unasked", i)
        print("ready", flush=True)  # noqa: T201 - the marker for the test
        if here.point == "block":
            await trio.sleep_forever()
        return [await ctx.run_store.get("l"), await ctx.run_store.get("unasked")]


FLOWS = [Everything, Many, Timers, Failing, Deadly, Marking]
DEADLY = Limits(crashes_per_step=3)


def limits(flow: str) -> Limits:
    """The limits of the runtime that such a run is for."""
    return DEADLY if flow == "Deadly" else Limits()


async def live(path: str, flow: str, data: dict[str, object]) -> None:
    """One life: begin or go on with the run, and see it to its end."""
    async with open_runtime(FLOWS, journal=KillingJournal(path), limits=limits(flow)) as runtime:
        run = await runtime.start(flow, data, run_id=RUN_ID)
        if flow == "Everything" and not any(fact.kind == "event-received" for fact in await run.history()):
            await run.send_event("go", 7)
            note(str(data["log"]), "sent")
        await run.wait()


def serve() -> None:
    """For each request on stdin, fork a life and say on stdout how it ended: forking costs less than starting anew."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if not child:
            code = 1
            try:
                here.commit, here.side, here.point = request["commit"], request["side"], request["point"]
                trio.run(live, request["path"], request["flow"], request["data"])
                code = 0
            except BaseException:  # noqa: BLE001 - a forked life must never return into the loop of its parent
                traceback.print_exc()
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    serve()

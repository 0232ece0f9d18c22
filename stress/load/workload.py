"""The workloads that come with `load`: one run, many branches, one hot key, every reply accounted for.

What lives here: the workflow, its measured operations, closed and open loop. What does not: judging (`account`), the
scenarios that users write (`scenarios`).

With a rate, the timer of the event loop is in the latencies: it wakes up to a millisecond late.
"""

from __future__ import annotations

import math
import time
import uuid
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from actorflow import Context, Limits, Workflow, open_runtime

from ..report.histogram import Histogram
from .account import Account, Judgement, judge
from .job import Answer, Job
from .memory import peak_now, resident_bytes
from .opinion import second_opinion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actorflow import Run, RunOutcome, RunStore, Runtime, Statistics


TICK_S: Final = 0.25
"""How often the process tells how it stands."""

WEIGHED_FROM: Final = 100
"""Branches below which the memory of one drowns in that of everything else."""

STATE_BYTES_PER_ITEM: Final = 64


def pushes(store: RunStore, branch: int, n: int) -> Awaitable[object]:
    """One push of a text that nobody else pushes."""
    return store.push("items", f"{branch}.{n}")


def increments(store: RunStore, branch: int, n: int) -> Awaitable[object]:
    """One increment of the counter that all share."""
    return store.increment("counter")


WORKLOADS: Final = {"pushes": pushes, "increments": increments}
"""Each returns the awaitable of one operation, whose result is its place."""


@define(eq=False)
class Meter:
    """What is measured while branches work."""

    job: Job
    account: Account
    latency: Histogram = field(factory=Histogram)
    gate: trio.Event = field(factory=trio.Event)
    all_here: trio.Event = field(factory=trio.Event)
    here: int = 0
    done: int = 0
    branches_done: int = 0
    began: float = 0.0
    ended: float = 0.0
    mailbox_most: int = 0

    def arrive(self) -> None:
        """A branch stands at the gate."""
        self.here += 1
        if self.here == self.job.branches:
            self.all_here.set()

    def open(self) -> None:
        """Now all of them begin."""
        self.began = time.perf_counter()
        self.gate.set()

    async def work(self, store: RunStore, branch: int) -> None:
        """All operations of one branch."""
        act, account, latency, clock = WORKLOADS[self.job.workload], self.account, self.latency, time.perf_counter
        branches, rate = self.job.branches, self.job.rate
        for n in range(account.count_of(branch)):
            number = n * branches + branch
            wanted = clock()
            if rate is not None:
                # Coordinated omission: whoever is late counts from when it should have begun, not from when it could.
                wanted = self.began + number / rate
                if (early := wanted - clock()) > 0:
                    await trio.sleep(early)
            invoked = account.begin()
            place = await act(store, branch, n)
            self.ended = clock()
            account.settle(number, place, invoked)
            latency.add(self.ended - wanted)
            self.done += 1
        await store.increment("done", account.count_of(branch))
        self.branches_done += 1


def workflow(meter: Meter) -> type[Workflow]:
    """All branches wait at the gate, live, so that the time of starting them is not that of their operations."""
    most = meter.job.branches + 1

    class Load(Workflow):
        id = "stress-load"
        max_live_steps = most

        async def start(self, data: int, ctx: Context[object]) -> None:
            """Open the branches."""
            await ctx.schedule_many("branch", range(data))

        async def branch(self, data: int, ctx: Context[object]) -> None:
            """Wait for the others, then work."""
            meter.arrive()
            await meter.gate.wait()
            await meter.work(ctx.run_store, data)

    return Load


async def measure(job: Job, tell: Callable[[str, int, int], None]) -> Answer:
    """Run the workload, take the figures, and check every operation afterwards: that costs memory, too."""
    meter = Meter(job, Account(job.branches, job.total))
    limits = Limits(state_bytes=max(Limits().state_bytes, job.total * STATE_BYTES_PER_ITEM))
    load = workflow(meter)
    async with open_runtime([load], journal=job.journal, limits=limits) as runtime, trio.open_nursery() as nursery:
        nursery.start_soon(_watch, meter, runtime, tell)
        before, began = resident_bytes(), time.perf_counter()
        # A new id each time: an old one would give back the finished run of an earlier call.
        run = await runtime.start(load, job.branches, run_id=f"load-{job.branches}-{uuid.uuid4().hex[:12]}")
        await _all_here(meter, run)
        starting_s = time.perf_counter() - began
        weight = (resident_bytes() - before) // job.branches
        processor = time.process_time()
        meter.open()
        outcome = await run.wait()
        processor_s = time.process_time() - processor
        peak = peak_now()
        statistics = runtime.statistics()
        nursery.cancel_scope.cancel()
    tell("checking", meter.done, meter.branches_done)
    judgement = _judged(meter, outcome, statistics)
    details = {
        "ops/cpu-s": round(meter.done / max(processor_s, math.ulp(1.0))),  # on a busy machine, the fairer figure
        "starting s": round(starting_s, 3),
        "commits": statistics.commits,
        "facts/commit": round(statistics.facts / max(1, statistics.commits), 1),
        "mailbox": meter.mailbox_most,
    }
    return Answer(
        operations=meter.done,
        seconds=max(meter.ended - meter.began, math.ulp(1.0)),
        latency=meter.latency,
        peak_bytes=peak,
        bytes_per_branch=max(0, weight) if job.branches >= WEIGHED_FROM else None,
        details=details,
        invariants=tuple(judgement.invariants),
        findings=tuple(judgement.findings),
    )


async def _all_here(meter: Meter, run: Run) -> None:
    # A run that fails while its branches begin would keep us at the gate for ever.
    async with trio.open_nursery() as nursery:

        async def until_over() -> None:
            await run.wait()
            meter.all_here.set()

        nursery.start_soon(until_over)
        await meter.all_here.wait()
        nursery.cancel_scope.cancel()


async def _watch(meter: Meter, runtime: Runtime, tell: Callable[[str, int, int], None]) -> None:
    while True:
        if meter.gate.is_set():
            tell("running", meter.done, meter.branches_done)
        else:
            tell("starting", 0, meter.here)
        meter.mailbox_most = max(meter.mailbox_most, runtime.statistics().mailbox_depth)
        await trio.sleep(TICK_S)


def _judged(meter: Meter, outcome: RunOutcome, statistics: Statistics) -> Judgement:
    judgement = Judgement()
    failed = [] if outcome.status.value == "completed" else [f"the run is {outcome.status.value}: {outcome.error}"]
    judgement.add("the run completes", 1, failed)
    judge(meter.account, outcome.state, judgement)
    second_opinion(meter.account, outcome.state, judgement)
    left = {
        name: getattr(statistics, name)
        for name in ("live_runs", "live_steps", "pending_steps", "suspended_runs", "mailbox_depth")
    }
    wrong = [f"{name} is {count} after the run" for name, count in left.items() if count]
    judgement.add("nothing is left behind", len(left), wrong)
    most = meter.mailbox_most
    full = [f"{most:,} messages wait in a mailbox of {Limits().mailbox:,}"] if most > Limits().mailbox else []
    judgement.add("the mailbox keeps within its bound", 1, full)
    return judgement

"""Any scenario of `stress run`, under load: plan after plan with fresh seeds, until there were operations enough.

What lives here: timing the calls of its steps, and driving it. What does not: the scenarios, and what judges them.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar, cast

import trio
from attrs import define, field

from ..driving import ORACLES, drive
from ..oracles import INVARIANTS, PLAN
from ..recording import Record
from ..report.histogram import Histogram
from ..report.record import Invariant
from ..scenario import Scenario, Size, find
from .job import Answer, Finding
from .memory import peak_now
from .workload import TICK_S

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from actorflow import Context, Limits, RunStore, Runtime

    from ..oracles import Finding as Found
    from .job import Job

S = TypeVar("S")

PLAN_OPERATIONS: Final = 20_000
"""Of one plan, about: its history has to fit in memory, and to be checked in the time that it took to make it."""

OPS_MOST: Final = 50
"""Of one branch."""

ALL_ORACLES_UNTIL: Final = 2_000
"""Operations of a plan up to which every oracle judges; above it, the one that reads what the branches were told."""


@define(eq=False)
class Clocked:
    """What is measured of all plans together."""

    latency: Histogram = field(factory=Histogram)
    seconds: float = 0.0
    done: int = 0
    phase: str = "starting"


class ClockedRecord(Record):
    """A record that times every call of a step to a store, too."""

    def __init__(self, clocked: Clocked) -> None:
        super().__init__()
        self.clocked = clocked

    def store(self, ctx: Context[S]) -> RunStore:
        """The run store of a step."""
        return clocked_store(super().store(ctx), self.clocked)

    def parent_store(self, ctx: Context[S]) -> RunStore:
        """That of the run above."""
        return clocked_store(super().parent_store(ctx), self.clocked)

    def root_store(self, ctx: Context[S]) -> RunStore:
        """That of the outermost run."""
        return clocked_store(super().root_store(ctx), self.clocked)


class _Verb(Protocol):
    def __call__(self, *given: object, **named: object) -> Awaitable[object]: ...


class _ClockedStore:
    """Stands in the place of a store: each verb that is awaited goes into the histogram."""

    __slots__ = ("_clocked", "_store")

    def __init__(self, store: object, clocked: Clocked) -> None:
        self._store, self._clocked = store, clocked

    def __getattr__(self, verb: str) -> object:
        real: _Verb = getattr(self._store, verb)
        # `wait_for` waits for others, and a transaction is a block; neither is one call that is answered.
        if verb.endswith("_nowait") or verb in ("transaction", "wait_for"):
            return real
        clocked = self._clocked

        async def timed(*given: object, **named: object) -> object:
            began = time.perf_counter()
            result: object = await real(*given, **named)
            clocked.latency.add(time.perf_counter() - began)
            clocked.done += 1
            return result

        return timed


def clocked_store(store: RunStore, clocked: Clocked) -> RunStore:
    """The same store, timed."""
    return cast("RunStore", _ClockedStore(store, clocked))


class _ClockedScenario(Scenario):
    """A scenario whose run is timed, from its first start to its last end."""

    def __init__(self, scenario: Scenario, clocked: Clocked) -> None:
        self.inner, self.clocked = scenario, clocked
        # They are of the class in a scenario, and of the object here: this one stands for any of them.
        vars(self).update(name=scenario.name, workflows=scenario.workflows, sometimes=scenario.sometimes)

    def limits(self, plan: object) -> Limits:
        return self.inner.limits(plan)

    def plan(self, chance: random.Random, size: Size) -> object:
        return self.inner.plan(chance, size)

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        self.clocked.phase = "running"
        began = time.perf_counter()
        await self.inner.run(runtime, plan, record)
        self.clocked.seconds += time.perf_counter() - began
        self.clocked.phase = "checking"

    def check(self, plan: object, record: Record) -> list[str]:
        return self.inner.check(plan, record)


def size_of(job: Job) -> Size:
    """How large one plan is."""
    wanted = min(job.total, PLAN_OPERATIONS) // job.branches
    return Size(branches=job.branches, ops=max(1, min(OPS_MOST, wanted)))


async def measure_scenario(job: Job, tell: Callable[[str, int, int], None]) -> Answer:
    """Plan after plan, each in a runtime of its own on an empty journal: run ids of a scenario are always the same."""
    clocked, tally = Clocked(), Tally()
    scenario = _ClockedScenario(find(job.workload), clocked)
    peak = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_watch, clocked, tell)
        while clocked.done < job.total and not tally.findings:
            seed = job.seed + tally.plans
            record = ClockedRecord(clocked)
            plan = scenario.plan(random.Random(seed), size_of(job))
            oracles = oracles_for(job)
            with journal_of_plan(job.journal, tally.plans) as journal:
                found = await drive(scenario, plan, record, journal=journal, oracles=oracles)
            # Each plan begins anew, so the first tells what all of them need; the oracles are in it from the second on.
            peak = peak or peak_now()
            tally.add(found, oracles, record, seed)
            if tally.plans == 1 and not clocked.done:
                raise RuntimeError(f"{job.workload} calls no store: there is nothing to measure")
        nursery.cancel_scope.cancel()
    return Answer(
        operations=clocked.done,
        seconds=clocked.seconds,
        latency=clocked.latency,
        peak_bytes=peak,
        details={"plans": tally.plans, "recorded": tally.recorded},
        invariants=tuple(tally.invariants()),
        findings=tuple(tally.findings),
        sometimes=dict(tally.happened),
    )


def oracles_for(job: Job) -> Collection[str]:
    """Those whose cost fits the size of the plans."""
    size = size_of(job)
    return ORACLES if size.branches * size.ops <= ALL_ORACLES_UNTIL else frozenset({"client"})


@contextmanager
def journal_of_plan(url: str, number: int) -> Iterator[str]:
    """The journal of one plan, gone when it is judged."""
    if url == "memory:":
        yield url
        return
    path = Path(f"{url.partition(':')[2]}-{number}")
    yield f"sqlite:{path}"
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


async def _watch(clocked: Clocked, tell: Callable[[str, int, int], None]) -> None:
    while True:
        tell(clocked.phase, clocked.done, 0)
        await trio.sleep(TICK_S)


@define
class Tally:
    """What came of the plans so far."""

    plans: int = 0
    recorded: int = 0
    happened: Counter[str] = field(factory=Counter)
    violated: Counter[str] = field(factory=Counter)
    undecided: Counter[str] = field(factory=Counter)
    checked: Counter[str] = field(factory=Counter)
    findings: list[Finding] = field(factory=list)

    def add(self, found: list[Found], oracles: Collection[str], record: Record, seed: int) -> None:
        """Count a judged plan in."""
        self.plans += 1
        self.recorded += record.operations  # calls; one that a retry repeats counts once, and is timed each time
        self.happened.update(record.happened)
        looked_at = {name for name, one in INVARIANTS.items() if {*oracles, "driver"} & set(one.oracles)}
        self.checked.update({*looked_at, PLAN})
        for one in found:
            (self.undecided if one.undecided else self.violated)[one.invariant] += 1
            if not one.undecided:
                sentence = f"{one.sentence} (plan of seed {seed})"
                self.findings.append(Finding(sentence, "\n".join(one.operations)))

    def invariants(self) -> Iterator[Invariant]:
        """The counts, by what was promised."""
        for name, checked in sorted(self.checked.items(), key=lambda one: (len(one[0]), one[0])):
            promise = INVARIANTS[name].promise if name in INVARIANTS else "the end is what the plan says"
            yield Invariant(
                name=f"{name} {promise}",
                checked=checked,
                violated=self.violated[name],
                undecided=self.undecided[name],
            )

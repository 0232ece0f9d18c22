"""P8: very many suspended runs in one journal: what they weigh, and what it costs to resume one, or all.

What lives here: those figures. What does not: the process that suspends them (`asleep`).
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from actorflow import open_runtime

from .asleep import Asking, each, run_id, suspend_apart
from .figures import Figure, Settings, WrongAnswer, bytes_of, ratio

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from actorflow import Runtime

FEW = 100
GOAL_BYTES = 100
"""What stands for "nothing" a run: the caches of journal and allocator, which have a limit, spread over all of them."""


@define
class Times:
    """Seconds, of the journal with many suspended runs and of the one with few."""

    open_many: list[float] = field(factory=list)
    open_few: list[float] = field(factory=list)
    resume_many: list[float] = field(factory=list)
    resume_few: list[float] = field(factory=list)
    resume_all: float = 0.0


def in_a_journal(settings: Settings) -> Iterator[Figure]:
    """P8."""
    runs, start = settings.choose(100_000, 2_000), settings.choose(1_000, 500)
    with settings.journal() as many, settings.journal() as few:
        weight = suspend_apart(start, runs, many)
        suspend_apart(FEW, FEW, few)
        size = bytes_of(many)
        times = trio.run(resume, many, few, runs, settings.choose(5, 3), settings.choose(60, 20))
    grown = (weight.many_bytes - weight.few_bytes) / (runs - start)
    blocks = (weight.many_blocks - weight.few_blocks) / (runs - start)
    yield Figure(
        id="P8",
        what=f"{runs:,} suspended runs on SQLite: memory a run, above that of {start:,}",
        value=max(grown, 0.0),
        unit="bytes",
        goal=GOAL_BYTES,
        samples=(grown,),
        note=f"{blocks:.2f} Python objects a run, {size / runs:,.0f} bytes a run on disk",
    )
    note = f"{median(times.resume_many) * 1e3:.2f} ms against {median(times.resume_few) * 1e3:.2f} ms"
    what = f"resuming one of {runs:,} suspended runs, to its end / one of {FEW}"
    yield ratio("P8", what, times.resume_many, times.resume_few, goal=1.5, note=note)
    left = runs - len(times.resume_many)
    resuming, suspending = times.resume_all / left, weight.seconds / (runs - start)
    yield Figure(
        id="P8",
        what=f"resuming {left:,} suspended runs, to their ends",
        value=times.resume_all,
        unit="s",
        samples=(times.resume_all,),
        note=f"{resuming * 1e6:.0f} µs a run; suspending took {suspending * 1e6:.0f} µs",
    )
    yield Figure(
        id="P8",
        what=f"opening a journal with {runs:,} suspended runs",
        value=median(times.open_many),
        unit="s",
        samples=tuple(times.open_many),
        note=f"{median(times.open_few):.3f} s with {FEW}; {median(times.open_many) / runs * 1e6:.1f} µs a run",
    )


async def resume(many: str, few: str, runs: int, openings: int, pairs: int) -> Times:
    """Open both journals alternately, resume one run of each alternately, then all that are left."""
    times = Times()
    for _ in range(openings):
        times.open_few.append(await _opening(few, FEW))
        times.open_many.append(await _opening(many, runs))
    # Spread over the journal, not its newest pages only.
    chosen = [number * runs // pairs for number in range(pairs)]
    async with open_runtime([Asking], journal=many) as large, open_runtime([Asking], journal=few) as small:
        gc.collect()
        for number, one in enumerate(chosen):
            times.resume_few.append(await _resume_one(small, number))
            times.resume_many.append(await _resume_one(large, one))
        times.resume_all = await _resume_all(large, set(range(runs)).difference(chosen))
        if large.statistics().suspended_runs or large.statistics().live_runs:
            raise WrongAnswer(f"after all have been resumed: {large.statistics()}")
    return times


async def _opening(journal: str, runs: int) -> float:
    gc.collect()
    began = time.perf_counter()
    async with open_runtime([Asking], journal=journal) as runtime:
        seconds = time.perf_counter() - began
        if runtime.statistics().suspended_runs != runs or runtime.unrecovered:
            raise WrongAnswer(f"{runtime.statistics().suspended_runs} of {runs} suspended runs are found again")
    return seconds


async def _resume_one(runtime: Runtime, number: int) -> float:
    began = time.perf_counter()
    run = await runtime.get_run(run_id(number))
    await run.resume("yes")
    found = await run.result()
    seconds = time.perf_counter() - began
    if found != [number, "yes"]:
        raise WrongAnswer(f"run {number} gave {found!r}")
    return seconds


async def _resume_all(runtime: Runtime, numbers: Iterable[int]) -> float:
    async def one(number: int) -> None:
        await _resume_one(runtime, number)

    gc.collect()
    began = time.perf_counter()
    await each(one, numbers)
    return time.perf_counter() - began

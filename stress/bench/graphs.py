"""P7: the elements of a large foreach against those of a small one; and the bytes that outputs of graph steps take.

What lives here: those figures. What does not: branches of the class style (`fanout`, `scale`).
"""

from __future__ import annotations

import gc
import time
from statistics import median
from typing import TYPE_CHECKING

import trio

from actorflow import Context, open_runtime, step, workflow

from .figures import Figure, Settings, WrongAnswer, bytes_of, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow import Graph

FEW = 1_000
MANY = 10_000
STEPS = 50
OUTPUT_BYTES = 100_000


@step
async def double(data: int, ctx: Context[object]) -> int:
    """Do the least that can be checked."""
    return 2 * data


def foreach(settings: Settings) -> Iterator[Figure]:
    """P7."""
    plans: tuple[tuple[str, int | None, int], ...] = (
        ("memory", 1, settings.choose(7, 3)),
        ("memory", None, settings.choose(7, 3)),
        ("sqlite", None, settings.choose(5, 3)),
    )
    for kind, concurrency, times in plans:
        yield _foreach(settings, kind, concurrency, times)


def _foreach(settings: Settings, kind: str, concurrency: int | None, times: int) -> Figure:
    graph = workflow("doubling").foreach(double, concurrency=concurrency).commit()
    many, few = [], []
    for _ in range(times):
        # As many small ones as weigh as much: a single one is over before the machine's noise has shown itself.
        with settings.journal(kind) as journal:
            few.append(trio.run(run_foreach, graph, journal, FEW, MANY // FEW) / MANY)
        with settings.journal(kind) as journal:
            many.append(trio.run(run_foreach, graph, journal, MANY, 1) / MANY)
    where = "in memory" if kind == "memory" else "on SQLite"
    how = "one at a time" if concurrency else "all at once"
    what = f"foreach of {MANY:,} elements {where}, {how}, time per element / of {FEW:,}"
    note = f"{median(many) * 1e6:.0f} µs against {median(few) * 1e6:.0f} µs an element"
    # On disk, the larger group shares its commits among more elements: told, not asked for.
    return ratio("P7", what, many, few, goal=1.3 if kind == "memory" else None, note=note)


async def run_foreach(graph: Graph, journal: str, elements: int, runs: int) -> float:
    """Seconds for so many runs of the graph, one after the other."""
    given = list(range(elements))
    expected = [2 * number for number in given]
    seconds = 0.0
    async with open_runtime([graph], journal=journal) as runtime:
        for _ in range(runs):
            gc.collect()
            began = time.perf_counter()
            found = await runtime.run(graph, given)
            seconds += time.perf_counter() - began
            if found != expected:
                raise WrongAnswer(f"a foreach of {elements} elements gave {str(found)[:200]}")
    return seconds


def outputs_on_disk(settings: Settings) -> Iterator[Figure]:
    """What the outputs of a chain take in the journal: P5, asked of graphs."""
    with settings.journal() as journal:
        while_open, closed = trio.run(chain_and_weigh, journal)
    payload = STEPS * OUTPUT_BYTES
    for size, when in ((while_open, "while it is open"), (closed, "after closing")):
        yield Figure(
            id="P5",
            what=f"a chain of {STEPS} steps with outputs of {OUTPUT_BYTES // 1000} KB, journal / payload, {when}",
            value=size / payload,
            goal=2.0,
            samples=(size / payload,),
            note=f"{size:,} bytes",
        )


async def chain_and_weigh(journal: str) -> tuple[int, int]:
    """Bytes of the journal's files when the last of the steps is done, and after closing."""
    weighed: list[int] = []

    @step
    async def fill(data: str, ctx: Context[object]) -> str:
        number = int(data[:3]) + 1
        return f"{number:03}".ljust(OUTPUT_BYTES - 2, "x")  # and the two quotes

    @step
    async def weigh(data: str, ctx: Context[object]) -> str:
        weighed.append(bytes_of(journal))
        return data[:3]

    chain = workflow("chain")
    for _ in range(STEPS):
        chain = chain.then(fill)
    graph = chain.then(weigh).commit()
    async with open_runtime([graph], journal=journal) as runtime:
        found = await runtime.run(graph, "000")
    if found != f"{STEPS:03}":
        raise WrongAnswer(f"a chain of {STEPS} steps gave {found!r}")
    return weighed[0], bytes_of(journal)

"""P12: what observers cost the runs that they observe.

What lives here: those figures. What does not: what observers do with what they hear, which is theirs.
"""

from __future__ import annotations

import gc
import time
from contextlib import AsyncExitStack
from statistics import median
from typing import TYPE_CHECKING

import trio

from actorflow import open_runtime
from actorflow.abc import Instrument

from .figures import Figure, Settings, WrongAnswer, ratio
from .question import FanOut, check

if TYPE_CHECKING:
    from collections.abc import Iterator

BRANCHES = 5_000
STREAM, READ, INSTRUMENT = "an open event stream", "an event stream that is read meanwhile", "an instrument"
# What a reader does with each event in the same process is the reader's cost, and what an instrument does is its own.
GOALS = {STREAM: 1.1, READ: None, INSTRUMENT: None}


class Counting(Instrument):
    """An observer that only counts."""

    def __init__(self) -> None:
        self.steps = 0

    def step_ended(self, run_id: str, step_id: str, activation_id: str, outcome: str) -> None:
        """Count."""
        self.steps += 1


def attached(settings: Settings) -> Iterator[Figure]:
    """P12."""
    for kind in ("memory", "sqlite"):
        taken: dict[str, list[float]] = {how: [] for how in ("", *GOALS)}
        for _ in range(settings.choose(15, 3)):
            for how, times in taken.items():
                with settings.journal(kind) as journal:
                    times.append(trio.run(observe, journal, settings.choose(BRANCHES, BRANCHES // 5), how))
        where = "in memory" if kind == "memory" else "on SQLite"
        for how, goal in GOALS.items():
            note = f"{median(taken[how]):.3f} s against {median(taken['']):.3f} s"
            what = f"the common question {where} with {how} / without"
            yield ratio("P12", what, taken[how], taken[""], goal=goal, note=note)


async def observe(journal: str, branches: int, how: str) -> float:
    """Seconds for the common question under one observer, or under none."""
    counting = Counting()
    instruments = (counting,) if how == INSTRUMENT else ()
    async with open_runtime([FanOut], journal=journal, instruments=instruments) as runtime, AsyncExitStack() as stack:
        gc.collect()
        began = time.perf_counter()
        run = await runtime.start(FanOut, branches, run_id="question")
        last = 0
        stream = await stack.enter_async_context(run.events()) if how in (STREAM, READ) else None
        if stream is not None and how == READ:
            async for event in stream:
                last = event.seq
        await run.result()
        seconds = time.perf_counter() - began
        check((await run.wait()).state, branches)
        if stream is not None:
            async for event in stream:
                last = event.seq
            if last != len(await run.history()):
                raise WrongAnswer(f"the last event is {last}, of {len(await run.history())} facts")
    if how == INSTRUMENT and counting.steps != branches + 1:
        raise WrongAnswer(f"the instrument heard of {counting.steps} steps of {branches + 1}")
    return seconds

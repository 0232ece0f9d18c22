"""P1 and P2: the common question against a bare nursery, in memory and on SQLite; and its processor seconds.

What lives here: those figures. What does not: very many branches (`scale`).
"""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

import trio

from .alone import measure_apart
from .figures import Figure, Settings, ratio
from .question import FanOut, FanOutOneByOne, ask, baseline

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow import Workflow

BRANCHES = 10_000
BRANCHES_ALONE = 5_000


def in_memory(settings: Settings) -> Iterator[Figure]:
    """P1."""
    yield _against_r(settings, "P1", FanOut, "memory", 1.0)
    yield _against_r(settings, "P1", FanOutOneByOne, "memory", None)
    yield _processor_seconds(settings, "P1", "memory", 0.25)


def on_disk(settings: Settings) -> Iterator[Figure]:
    """P2."""
    yield _against_r(settings, "P2", FanOut, "sqlite", 2.0)
    yield _processor_seconds(settings, "P2", "sqlite", 0.7)


def _against_r(settings: Settings, name: str, workflow: type[Workflow], kind: str, goal: float | None) -> Figure:
    async def alternate() -> tuple[list[float], list[float]]:
        ours, bare = [], []
        await baseline(BRANCHES // 10)
        for _ in range(settings.choose(7, 3)):
            bare.append(await baseline(BRANCHES))
            with settings.journal(kind) as journal:
                ours.append(await ask(workflow, journal, BRANCHES))
        return ours, bare

    ours, bare = trio.run(alternate)
    how = "schedule_many" if workflow is FanOut else "a loop of schedule_next_step"
    where = "in memory" if kind == "memory" else "on SQLite, synchronous=FULL"
    note = f"{median(ours):.3f} s, R {median(bare):.3f} s, {median(ours) / BRANCHES * 1e6:.0f} µs a branch"
    return ratio(name, f"{BRANCHES:,} branches {where}, {how}, time / R", ours, bare, goal=goal, note=note)


def _processor_seconds(settings: Settings, name: str, kind: str, goal: float) -> Figure:
    costs = []
    for _ in range(settings.choose(5, 3)):
        with settings.journal(kind) as journal:
            costs.append(measure_apart(BRANCHES_ALONE, journal).processor_s)
    where = "in memory" if kind == "memory" else "on SQLite"
    what = f"{BRANCHES_ALONE:,} branches {where}: processor seconds of the whole process"
    return Figure(id=name, what=what, value=median(costs), unit="s", goal=goal, samples=tuple(costs))

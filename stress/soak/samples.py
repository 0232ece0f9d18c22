"""What a process and its journal hold when nothing is to be done, and whether that grows.

What lives here: taking samples, and judging them. What does not: what happens between them (`rounds`).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Final

import trio
from attrs import fields, frozen

from ..load.memory import open_files, resident_bytes, threads
from ..report.figures import size
from ..report.record import Invariant, Series, Threshold

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow import Runtime

GROWTH_MOST: Final = 0.05
"""Of memory, after warming up."""

WARM_UP: Final = 0.3
"""Share of the time in which caches fill, code is compiled, and the allocator finds its size."""

WINDOW: Final = 0.2
"""Share of the samples after that which stand for the beginning, and for the end."""

SAMPLES_LEAST: Final = 10
"""Fewer of them after warming up tell nothing."""

IDLE_THREADS: Final = 1
"""Workers that trio keeps for some seconds: one more or less is chance."""

WORKER: Final = "actorflow branch"
"""The name of the tasks that branches run in."""

ROWS: Final = "SELECT (SELECT count(*) FROM frame_values) + (SELECT count(*) FROM snapshots)"
"""Rows that hold values of run stores: none, when every run is over."""


@frozen(kw_only=True)
class Sample:
    """What there is between two rounds; None for what nobody tells on this platform, or of this journal."""

    at_s: float
    memory_bytes: int
    tasks: int
    idle_workers: int
    threads: int
    open_files: int | None
    journal_rows: int | None
    live: int


UNITS: Final = {"memory_bytes": "bytes"}
NAMES: Final = {
    "memory_bytes": "memory",
    "tasks": "tasks",
    "idle_workers": "idle branch workers",
    "threads": "threads",
    "open_files": "open files",
    "journal_rows": "journal rows of finished runs",
    "live": "live runs, steps and messages",
}


def take(runtime: Runtime, journal: str, at_s: float) -> Sample:
    """A sample, now. Call it when every run is over."""
    now, idle = runtime.statistics(), idle_workers()
    return Sample(
        at_s=at_s,
        memory_bytes=resident_bytes(),
        tasks=trio.lowlevel.current_statistics().tasks_living - idle,
        idle_workers=idle,
        threads=threads(),
        open_files=open_files(),
        journal_rows=journal_rows(journal),
        live=now.live_runs + now.live_steps + now.pending_steps + now.suspended_runs + now.mailbox_depth,
    )


def idle_workers() -> int:
    """Tasks that the runtimes of this process keep for the next branch, a thousand at most: they are no leak."""
    found, left = 0, [trio.lowlevel.current_root_task()]
    while left:
        task = left.pop()
        assert task is not None
        found += task.name == WORKER
        left += [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    return found


def journal_rows(journal: str) -> int | None:
    """Rows of a SQLite journal that go when their run ends."""
    if not journal.startswith("sqlite:"):
        return None
    address = f"{Path(journal.partition(':')[2]).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(address, uri=True)) as connection:
        found: int = connection.execute(ROWS).fetchone()[0]
    return found


def series(samples: Sequence[Sample]) -> tuple[Series, ...]:
    """Every quantity over time."""
    made = []
    for one in fields(Sample):
        points = [(sample.at_s, getattr(sample, one.name)) for sample in samples if one.name != "at_s"]
        points = [(at_s, value) for at_s, value in points if value is not None]
        if points:
            made.append(Series(name=NAMES[one.name], unit=UNITS.get(one.name, ""), points=tuple(points)))
    return tuple(made)


def warm(samples: Sequence[Sample]) -> Sequence[Sample]:
    """Those after warming up."""
    if not samples:
        return samples
    start = samples[0].at_s + WARM_UP * (samples[-1].at_s - samples[0].at_s)
    return [one for one in samples if one.at_s >= start]


def memory_growth(samples: Sequence[Sample]) -> Threshold:
    """Memory at the end against memory after warming up: medians, for one sample may meet a full free list."""
    text = f"memory growth<{GROWTH_MOST:.0%}"
    kept = warm(samples)
    if len(kept) < SAMPLES_LEAST:
        return Threshold(
            text=text, is_met=False, shown=f"not measured: {len(kept)} samples, {SAMPLES_LEAST} are needed"
        )
    window = max(3, int(len(kept) * WINDOW))
    first = median(one.memory_bytes for one in kept[:window])
    last = median(one.memory_bytes for one in kept[-window:])
    growth = last / first - 1
    return Threshold(text=text, is_met=growth < GROWTH_MOST, shown=f"{growth:+.1%}, from {size(first)} to {size(last)}")


def back_to_base(samples: Sequence[Sample]) -> tuple[list[Invariant], list[str]]:
    """Everything else, at every sample, against the most of the time of warming up: nothing may stay behind.

    What holds values of runs that are over, or counts live ones, has to be 0 from the beginning.
    """
    slack = {"threads": IDLE_THREADS}
    kept = warm(samples)
    invariants, sentences = [], []
    for name in ("tasks", "threads", "open_files", "journal_rows", "live"):
        is_zero = name in ("journal_rows", "live")
        judged = samples if is_zero else kept
        known = [(one.at_s, getattr(one, name)) for one in judged if getattr(one, name) is not None]
        early = [getattr(one, name) for one in samples[: len(samples) - len(kept) + 1]]
        if not known or None in early:
            continue
        before = 0 if is_zero else max(early)
        over = [(at_s, value) for at_s, value in known if value > before + slack.get(name, 0)]
        invariants.append(Invariant(name=f"{NAMES[name]}: no more than before", checked=len(known), violated=len(over)))
        if over:
            at_s, value = max(over, key=lambda one: one[1])
            what = f"{before} before, {value} after {at_s:.0f} s, when nothing was to be done"
            sentences.append(f"{NAMES[name]}: {what}")
    return invariants, sentences

"""The live line of a run: how many steps are pending, live, done, failed; the rate; the keys of the store.

What lives here: sampling a run and drawing it. What does not: waiting for it. There is no extra thread: rich's own
refreshing is off, and the task that samples also refreshes.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

import trio
from attrs import frozen

from .. import Run, StepStatus

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Sample", "sample", "show"]

PERIOD_S: Final = 0.25  # a few times a second is as fast as anybody reads
OVER: Final = frozenset({StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED, StepStatus.SKIPPED})


@frozen(kw_only=True)
class Sample:
    """Counts of steps by status (only those above zero), and how many keys the store has."""

    counts: Mapping[str, int]
    keys: int = 0

    def of(self, *statuses: StepStatus) -> int:
        """How many steps are in any of these statuses."""
        return sum(self.counts.get(status.value, 0) for status in statuses)


async def sample(run: Run) -> Sample:
    """How far the run is."""
    counts, keys = await run.progress()
    return Sample(counts={status.value: number for status, number in counts.items() if number}, keys=keys)


async def show(run: Run) -> None:
    """Draw the run's progress on stderr until cancelled, then wipe it."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    display = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=20),
        TextColumn("{task.fields[told]}", markup=False),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
        # What steps print belongs on stdout; only where that is the same terminal must it go above the line.
        redirect_stdout=sys.stdout.isatty(),
    )
    with display:
        await _follow(display, run)


async def _follow(display: Progress, run: Run) -> None:
    task = display.add_task(run.run_id, total=None, told="")
    before, then = 0, trio.current_time()
    while True:
        now = await sample(run)
        done, elapsed = now.of(*OVER), max(trio.current_time() - then, PERIOD_S)
        rate, before, then = (done - before) / elapsed, done, trio.current_time()
        display.update(task, completed=done, total=sum(now.counts.values()) or None, told=told(now, rate))
        display.refresh()
        await trio.sleep(PERIOD_S)


def told(now: Sample, rate: float) -> str:
    """One sample in words."""
    words = [
        f"{now.of(StepStatus.PENDING)} pending",
        f"{now.of(StepStatus.RUNNING)} live",
        f"{now.of(StepStatus.COMPLETED)} done",
        f"{now.of(StepStatus.FAILED)} failed",
        f"{rate:.0f}/s",
        f"{now.keys} keys",
    ]
    if suspended := now.of(StepStatus.SUSPENDED):
        words.insert(2, f"{suspended} suspended")
    return " · ".join(words)

"""All workloads and all controls, shared between processes.

What lives here: what is to be done, and doing it. What does not: a single workload (`images`, `faults`), options
(`command`), the report (`report`).
"""

from __future__ import annotations

import logging
import time
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from attrs import define, evolve, field, frozen

from . import faults, images
from .controls import FAULT_CONTROLS, IMAGE_CONTROLS, Verdict
from .images import Tally
from .workloads import FAULTED, WORKLOADS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .workloads import Workload

HAPPENS: Final = {
    "images": (
        "commits of several runs",
        "states deleted",
        "pages written back into the file",
        "cuts of the log",
        "lives that a crash ended",
    ),
    "io-errors": ("commits that failed", "commits acknowledged"),
}
"""What a whole campaign has to have met, or it has tested nothing."""


@frozen(kw_only=True)
class Task:
    """One workload.

    Args:
        mode: "images" or "io-errors".
        seconds: go on with one seed after the other for so long; None: one round.
    """

    mode: str
    name: str
    seed: int
    plan: images.Plan | faults.Plan
    seconds: float | None = None


@define
class Outcome:
    """Everything that a campaign found."""

    mode: str
    seed: int
    tallies: list[Tally] = field(factory=list)
    controls: list[Verdict] = field(factory=list)
    seconds: float = 0.0
    complete: bool = True

    @property
    def missed(self) -> list[str]:
        """What should have happened in a whole campaign and did not."""
        if not self.complete:
            return []
        return [name for name in HAPPENS[self.mode] if not any(tally.happened.get(name) for tally in self.tallies)]

    @property
    def violations(self) -> int:
        """How many points or images were wrong."""
        return sum(count for tally in self.tallies for count in tally.found.values())

    @property
    def code(self) -> int:
        """The exit code."""
        if self.violations or not all(control.is_found_out for control in self.controls):
            return 1
        return 2 if self.missed else 0


def workloads(mode: str) -> Mapping[str, Workload]:
    """Those that a mode has, by name."""
    return WORKLOADS if mode == "images" else FAULTED


def run_task(task: Task) -> Tally:
    """One workload, once or for some time; in whichever process."""
    logging.getLogger("actorflow").setLevel(logging.CRITICAL + 1)  # every failure would be told: they are wanted here
    workload = workloads(task.mode)[task.name]
    until = None if task.seconds is None else time.time() + task.seconds
    total = Tally(task.name)
    seed = task.seed
    while True:
        if isinstance(task.plan, images.Plan):
            total.add(images.campaign(workload, seed, evolve(task.plan, until=until)))
        else:
            total.add(faults.campaign(workload, seed, evolve(task.plan, until=until)))
        seed += 1
        if until is None or time.time() >= until:
            return total


def run_controls(mode: str, seed: int) -> list[Verdict]:
    """All controls of a mode."""
    logging.getLogger("actorflow").setLevel(logging.CRITICAL + 1)
    return [control.run(seed) for control in (IMAGE_CONTROLS if mode == "images" else FAULT_CONTROLS)]


def run_all(outcome: Outcome, tasks: Sequence[Task], jobs: int, tell: Callable[[str], None], *, controls: bool) -> None:
    """Do the tasks, and the controls; with one job in this process."""
    began = time.perf_counter()
    level = logging.getLogger("actorflow").level
    try:
        if jobs == 1 or len(tasks) == 1:
            outcome.controls = run_controls(outcome.mode, outcome.seed) if controls else []
            for task in tasks:
                outcome.tallies.append(run_task(task))
                tell(f"{task.name} is done")
        else:
            _share(outcome, tasks, jobs, tell, controls=controls)
    finally:
        logging.getLogger("actorflow").setLevel(level)
    outcome.seconds = time.perf_counter() - began


def _share(outcome: Outcome, tasks: Sequence[Task], jobs: int, tell: Callable[[str], None], *, controls: bool) -> None:
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        checks = pool.submit(run_controls, outcome.mode, outcome.seed) if controls else None
        shared: list[Future[Tally]] = [pool.submit(run_task, task) for task in tasks]
        try:
            outcome.controls = checks.result() if checks is not None else []
            for task, future in zip(tasks, shared, strict=True):
                outcome.tallies.append(future.result())
                tell(f"{task.name} is done")
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

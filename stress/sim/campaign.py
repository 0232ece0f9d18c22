"""Jobs shared among processes, followed while they run, and reported.

What lives here: what `run` and `explore` have in common. What does not: which jobs there are (`seeds`, `matrix`).
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from ..child import versions
from ..load.memory import peak_now
from ..report import Failure, Invariant, Report
from ..report.live import Live
from .failing import keep, told
from .pool import Pool, WorkerDied
from .tally import PROMISES, Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .pool import Job

__all__ = ["Campaign"]

FAILURES_MAX: Final = 10
"""Violations after which a campaign ends, unless it is told otherwise."""


@define(eq=False)
class Campaign:
    """One campaign.

    Args:
        command: the subcommand; subject: what it is about.
        workers: processes.
        folder: where repro files go.
        failures_max: violations after which it ends.
        seconds: after which no new job begins; None: when all are done.
        live: where to tell how it stands.
    """

    command: str
    subject: str
    workers: int
    folder: Path
    live: Live
    failures_max: int = FAILURES_MAX
    seconds: float | None = None
    tally: Tally = field(factory=Tally)
    failures: list[Failure] = field(factory=list)
    is_interrupted: bool = False
    stopped: str = ""
    """Why it ended before its end; empty if it did not."""
    _began: float = field(factory=time.monotonic)
    _known: dict[str, set[str]] = field(factory=dict)
    _peaks: list[int] = field(factory=list)

    def conduct(self, jobs: Iterator[Job], planned: int | None = None) -> None:
        """Do all of them. `planned`: how many schedules that will be, if anybody knows."""
        pool = Pool(self.workers)
        try:
            for job, tally in pool.each(self._next(jobs)):
                self._add(job, tally)
                self.live.show(self._status(planned))
        except WorkerDied as error:
            self.tally.errors.append(str(error))
        except KeyboardInterrupt:
            self.is_interrupted = True
        finally:
            self._peaks = [peak_now(), *pool.peaks]
            self.live.clear()

    def _next(self, jobs: Iterator[Job]) -> Callable[[], Job | None]:
        def give() -> Job | None:
            if self.seconds is not None and time.monotonic() - self._began >= self.seconds:
                self.stopped = self.stopped or f"the time is over ({self.seconds:.0f} s)"
            if len(self.failures) >= self.failures_max:
                self.stopped = self.stopped or f"{len(self.failures)} violations are enough (--max-failures)"
            job = None if self.stopped else next(jobs, None)
            if job is not None and "known" in job:
                job["known"] = sorted(self._known.get(str(job["scenario"]), ()))
            return job

        return give

    def _add(self, job: Job, tally: Tally) -> None:
        found, tally.failures = tally.failures, []
        self.tally.add(tally)
        for one in found:
            if len(self.failures) >= self.failures_max:
                return
            self._known.setdefault(str(job["scenario"]), set()).add(str(one["kind"]))
            file = None
            try:
                file = keep(one, self.folder)
            except OSError as error:
                self.tally.errors.append(f"no repro file can be written: {error}")
            self.failures.append(told(one, file))

    def _status(self, planned: int | None) -> str:
        counts, seconds = self.tally.counts, max(time.monotonic() - self._began, 0.001)
        done = counts["schedules"]
        of = f" of {planned:,}" if planned is not None else ""
        found = f"{len(self.failures):,} VIOLATIONS" if self.failures else "no violation"
        return (
            f"{done:,}{of} schedules ({done / seconds:,.0f}/s), {counts['decisions']:,} decisions, "
            f"{counts['operations']:,} operations checked, {found}"
        )

    def report(
        self, arguments: Mapping[str, object], *, seed: int | None = None, rare: int = 0, notes: tuple[str, ...] = ()
    ) -> Report:
        """All that came of it. `rare`: what happened less often leaves it undecided."""
        tally = self.tally
        totals: dict[str, float] = {**tally.counts, "distinct schedules": len(tally.digests)}
        more = [f"{len(self._peaks)} processes held {sum(self._peaks) / 2**20:.0f} MiB at most, all together"]
        more += [f"no more was begun: {self.stopped}"] if self.stopped else []
        return Report(
            command=self.command,
            subject=self.subject,
            seed=seed,
            arguments=arguments,
            versions=versions(),
            seconds=time.monotonic() - self._began,
            totals=totals,
            policies=cast("Mapping[str, Mapping[str, float]]", tally.policies),
            invariants=tuple(
                Invariant(
                    name=f"{name} {promise}",
                    checked=tally.checked[name],
                    violated=tally.violated[name],
                    undecided=tally.undecided[name],
                )
                for name, promise in PROMISES.items()
                if tally.checked[name] or tally.violated[name]
            ),
            sometimes=dict(sorted(tally.sometimes.items())),
            sometimes_least=rare,
            peak_bytes=max(self._peaks, default=0),
            failures=tuple(self.failures),
            errors=tuple(tally.errors),
            notes=(*notes, *more),
            is_interrupted=self.is_interrupted,
        )

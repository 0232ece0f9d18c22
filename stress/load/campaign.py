"""All rows of a load test, each in a fresh process, and the report.

What lives here: starting the processes one after the other, following them, ending them. What does not: what they do
(`alone`), the options (`command`).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field, frozen

from ..child import command, environment, versions
from ..report.histogram import Histogram
from ..report.record import Failure, Invariant, LoadRow, Report
from .expectation import Expectation
from .job import Answer, Job, answer_from_json
from .workload import TICK_S

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from ..report.live import Live
    from .job import Finding

STALL_S: Final = 60.0
"""Without a single operation for so long, the row hangs: that is a violation, and the campaign must not hang, too."""

ERROR_BYTES: Final = 2_000


class RowFailed(Exception):
    """The process of a row ended without an answer; `trace` is the end of what it wrote to stderr."""

    def __init__(self, sentence: str, trace: str = "") -> None:
        super().__init__(sentence)
        self.trace = trace


class RowHangs(Exception):
    """Nothing moves any more in the process of a row."""


@frozen(kw_only=True)
class Settings:
    """What to do."""

    workload: str
    branches: Sequence[int]
    total: int
    journal: str
    rate: float | None = None
    seed: int
    expectations: Sequence[Expectation] = ()

    def job(self, branches: int, journal: str) -> Job:
        """What one row is to do. Each branch does something, so a row may be larger than asked for."""
        return Job(
            workload=self.workload,
            branches=branches,
            total=max(self.total, branches),
            journal=journal,
            rate=self.rate,
            seed=self.seed,
        )

    def repeat(self, branches: int) -> str:
        """The command line for this row alone."""
        rate = "" if self.rate is None else f" --rate {self.rate:g}"
        return (
            f"python -m stress load {self.workload} --branches {branches} --total {self.total}"
            f" --journal {self.journal} --seed {self.seed}{rate}"
        )


@define
class Tally:
    """What the rows have given so far."""

    rows: list[LoadRow] = field(factory=list)
    invariants: dict[str, Invariant] = field(factory=dict)
    failures: list[Failure] = field(factory=list)
    errors: list[str] = field(factory=list)
    sometimes: dict[str, int] = field(factory=dict)
    notes: list[str] = field(factory=list)
    is_interrupted: bool = False

    def add(self, answer: Answer, branches: int, settings: Settings) -> None:
        """Count a row in."""
        row = answer.row(branches)
        self.rows.append(row)
        for one in answer.invariants:
            self.check(one)
        for name, count in answer.sometimes.items():
            self.sometimes[name] = self.sometimes.get(name, 0) + count
        self.failures += [self.failure(finding, branches, settings) for finding in answer.findings]
        if settings.rate is not None and row.rate < 0.95 * settings.rate:
            self.notes.append(
                f"{branches:,} branches: {row.rate:,.0f} operations per second came of the {settings.rate:,.0f} that "
                "were to begin, so their latency grows as long as it goes on"
            )

    def check(self, one: Invariant) -> None:
        """Count checks of an invariant in."""
        known = self.invariants.get(one.name, Invariant(name=one.name, checked=0))
        self.invariants[one.name] = Invariant(
            name=one.name,
            checked=known.checked + one.checked,
            violated=known.violated + one.violated,
            undecided=known.undecided + one.undecided,
        )

    def failure(self, finding: Finding, branches: int, settings: Settings) -> Failure:
        """A violation, with the way to repeat it."""
        return Failure(
            sentence=finding.sentence,
            seed=settings.seed,
            options={"branches": branches},
            lanes=finding.lanes,
            lanes_svg=finding.lanes_svg,
            command=settings.repeat(branches),
        )


def campaign(settings: Settings, live: Live) -> Report:
    """One row after the other; a row that fails does not keep the others from being measured."""
    tally = Tally()
    began = time.perf_counter()
    try:
        for branches in settings.branches:
            with journal_of(settings.journal) as journal:
                _measure(settings, branches, journal, tally, live)
    except KeyboardInterrupt:
        tally.is_interrupted = True
    finally:
        live.clear()
    return _report(settings, tally, time.perf_counter() - began)


def _measure(settings: Settings, branches: int, journal: str, tally: Tally, live: Live) -> None:
    job = settings.job(branches, journal)
    try:
        tally.add(apart(job, live), branches, settings)
    except RowHangs as hanging:
        tally.check(Invariant(name="every operation comes to its end", checked=1, violated=1))
        sentence = f"with {branches:,} branches nothing moved for {STALL_S:.0f} s: {hanging}"
        tally.failures.append(Failure(sentence=sentence, seed=settings.seed, command=settings.repeat(branches)))
    except RowFailed as failed:
        tally.errors.append(f"with {branches:,} branches: {failed}")
        tally.notes += [failed.trace] if failed.trace else []


@contextmanager
def journal_of(asked: str) -> Iterator[str]:
    """The URL of a journal: the one that was asked for, or a file that is gone afterwards."""
    if asked != "sqlite":
        yield asked
        return
    with tempfile.TemporaryDirectory(prefix="actorflow-load-") as folder:
        yield f"sqlite:{Path(folder) / 'runs.db'}"


def apart(job: Job, live: Live, *, module: str = "stress.load.alone") -> Answer:
    """The answer of a fresh process to a job."""
    line = command(module, json.dumps(job.as_json()))
    with tempfile.TemporaryFile() as errors:
        process = subprocess.Popen(
            line, env=environment(), stdout=subprocess.PIPE, stderr=errors, text=True, encoding="utf-8"
        )
        assert process.stdout is not None
        try:
            with process.stdout as told:
                answer, wrong = _follow(told, job, live)
            process.wait()
        finally:
            process.kill()
            process.wait()
        if answer is None:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip()[-ERROR_BYTES:]
            raise RowFailed(f"the process ended with {process.returncode}{wrong and f': {wrong}'}", said)
    return answer


def _follow(told: Iterable[str], job: Job, live: Live) -> tuple[Answer | None, str]:
    last, still = (0.0, 0), 0
    for line in told:
        found = cast("dict[str, object]", json.loads(line))
        if "answer" in found:
            return answer_from_json(cast("Mapping[str, object]", found["answer"])), ""
        if "errors" in found:
            return None, "; ".join(cast("list[str]", found["errors"]))
        done, branches, phase = cast("int", found["done"]), cast("int", found["branches"]), found["phase"]
        now, moved = time.perf_counter(), done + branches
        still = still + 1 if moved == last[1] and phase != "checking" else 0
        # Counted by what the process says, not by our clock: a machine that sleeps is no hang.
        if still * TICK_S > STALL_S:
            raise RowHangs(f"{done:,} of {job.total:,} operations were done, {branches:,} branches {phase}")
        speed = 0.0 if not last[0] or phase != "running" else max(0, moved - last[1]) / (now - last[0])
        last = (now, moved)
        live.show(
            f"{job.workload}, {job.branches:,} branches: {phase}, {done:,} of {job.total:,} operations "
            f"({done / job.total:.0%}), {speed:,.0f}/s, {branches:,} branches "
            f"{'have begun' if phase == 'starting' else 'done'}"
        )
    return None, ""


def _report(settings: Settings, tally: Tally, seconds: float) -> Report:
    latency = Histogram()
    for row in tally.rows:
        latency.merge(row.latency)
    operations = sum(row.operations for row in tally.rows)
    return Report(
        command="load",
        subject=settings.workload,
        seed=settings.seed,
        arguments={
            "branches": ",".join(map(str, settings.branches)),
            "total": settings.total,
            "journal": settings.journal,
            "rate": settings.rate,
        },
        versions=versions(),
        seconds=seconds,
        totals={"rows": len(tally.rows), "operations": operations},
        invariants=tuple(tally.invariants.values()),
        sometimes=tally.sometimes,
        latency=latency,
        rows=tuple(tally.rows),
        peak_bytes=max((row.peak_bytes for row in tally.rows), default=0),
        thresholds=tuple(one.judge(tally.rows) for one in settings.expectations),
        failures=tuple(tally.failures),
        errors=tuple(tally.errors),
        notes=tuple(tally.notes),
        is_interrupted=tally.is_interrupted,
    )

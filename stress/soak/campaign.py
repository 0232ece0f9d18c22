"""Round after round for a given time, samples in between, and the report.

What lives here: the loop. What does not: a round (`rounds`), a sample (`samples`).
"""

from __future__ import annotations

import random
import tempfile
import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen
from trio.testing import wait_all_tasks_blocked

from actorflow import open_runtime

from ..child import versions
from ..load.memory import peak_now
from ..report.mistakes import leaves, sentences
from ..report.record import Failure, Invariant, Report
from .rounds import WORKFLOWS, do_round
from .samples import Sample, back_to_base, memory_growth, series, take

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from actorflow import Runtime

    from ..report.live import Live

SAMPLES: Final = 100
"""Of a whole soak, about."""

EVERY_S: Final = (0.1, 30.0)
"""Between two of them, at least and at most."""

QUIET_S: Final = 0.002
"""Nothing runs for so long: then there is nothing to be done."""

KEPT: Final = "memory: keeps the records of runs that are over until its block ends, so its growth is not judged:"

FAILURES_MOST: Final = 10
"""Then it ends: what goes wrong so often needs no more of it."""


@frozen(kw_only=True)
class Settings:
    """What to do."""

    seconds: float
    journal: str
    seed: int


@define
class Tally:
    """What came of the rounds so far."""

    rounds: int = 0
    bad_rounds: int = 0
    undecided: int = 0
    counts: Counter[str] = field(factory=Counter)
    sometimes: Counter[str] = field(factory=Counter)
    failures: list[Failure] = field(factory=list)
    errors: list[str] = field(factory=list)
    samples: list[Sample] = field(factory=list)
    is_interrupted: bool = False


def campaign(settings: Settings, live: Live) -> Report:
    """Soak, and tell."""
    tally = Tally()
    began = time.perf_counter()
    try:
        with _files(settings.journal) as (journal, folder):
            trio.run(_soak, settings, journal, folder, tally, live)
    except (Exception, KeyboardInterrupt, BaseExceptionGroup) as error:  # noqa: BLE001 - hours are worth a report
        tally.is_interrupted = any(isinstance(one, KeyboardInterrupt) for one in leaves(error))
        if not tally.is_interrupted:  # else the rest is what comes of that
            tally.errors += [f"after {tally.rounds:,} rounds: {one}" for one in sentences(error)]
    finally:
        live.clear()
    return _report(settings, tally, time.perf_counter() - began)


@contextmanager
def _files(asked: str) -> Iterator[tuple[str, Path]]:
    with tempfile.TemporaryDirectory(prefix="actorflow-soak-") as name:
        folder = Path(name)
        yield (f"sqlite:{folder / 'runs.db'}" if asked == "sqlite" else asked), folder


async def _soak(settings: Settings, journal: str, folder: Path, tally: Tally, live: Live) -> None:
    every = min(max(settings.seconds / SAMPLES, EVERY_S[0]), EVERY_S[1])
    began = time.perf_counter()
    due = 0.0
    names = _scenarios()
    async with open_runtime(WORKFLOWS, journal=journal) as runtime:
        while (passed := time.perf_counter() - began) < settings.seconds and len(tally.failures) < FAILURES_MOST:
            await _round(runtime, settings, folder, names, tally)
            if passed >= due:
                await wait_all_tasks_blocked(QUIET_S)  # a run is told to be over before its last task has gone
                sample = take(runtime, journal, time.perf_counter() - began)
                tally.samples.append(sample)
                due = passed + every
                live.show(_line(settings, tally, passed))


async def _round(runtime: Runtime, settings: Settings, folder: Path, names: Sequence[str], tally: Tally) -> None:
    """One scenario, and beside it as many rounds of our own as fit into its time."""
    seed = settings.seed + tally.rounds
    wrong: list[str] = []
    over = trio.Event()

    async def scenario() -> None:
        # By the seed, not by the round: so a failure is repeated by its seed alone.
        if names:
            name = names[seed % len(names)]
            wrong.extend(f"{name}: {one}" for one in await _scenario(name, seed, folder, settings, tally))
        over.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(scenario)
        chance = random.Random(seed)
        while True:
            done = await do_round(runtime, chance)
            tally.counts.update(runs=done.runs, items=done.items)
            wrong += done.findings
            if over.is_set():
                break
    command = f"python -m stress soak --time 1 --seed {seed} --journal {settings.journal}"
    tally.failures += [Failure(sentence=one, seed=seed, command=command) for one in wrong]
    tally.bad_rounds += bool(wrong)
    tally.rounds += 1


async def _scenario(name: str, seed: int, folder: Path, settings: Settings, tally: Tally) -> list[str]:
    # A runtime of its own beside the long-lived one: what opens and closes must leave nothing behind either.
    from ..driving import drive
    from ..recording import Record
    from ..scenario import Size, find

    scenario, record = find(name), Record()
    plan = scenario.plan(random.Random(seed), Size())
    path = folder / "scenario.db"
    journal = "memory:" if settings.journal == "memory:" else f"sqlite:{path}"
    found = await drive(scenario, plan, record, journal=journal)
    _remove(path)
    tally.counts.update(scenarios=1, operations=record.operations)
    tally.sometimes.update(record.happened)
    tally.undecided += sum(one.undecided for one in found)
    return [str(one) for one in found if not one.undecided]


def _remove(path: Path) -> None:
    for one in path.parent.glob(f"{path.name}*"):
        one.unlink()


def _scenarios() -> list[str]:
    from ..scenario import find, names

    return [name for name in names() if find(name).for_load]


def _line(settings: Settings, tally: Tally, passed: float) -> str:
    last = tally.samples[-1]
    return (
        f"{passed:.0f} of {settings.seconds:.0f} s, {tally.rounds:,} rounds, {tally.counts['runs']:,} runs, "
        f"memory {last.memory_bytes / 2**20:.1f} MiB, {last.tasks} tasks, {last.threads} threads, "
        f"{len(tally.failures)} failures"
    )


def _report(settings: Settings, tally: Tally, seconds: float) -> Report:
    invariants = [
        Invariant(
            name="every round ends as it must",
            checked=tally.rounds,
            violated=tally.bad_rounds,
            undecided=tally.undecided,
        ),
    ]
    failures = list(tally.failures)
    if tally.samples:
        kept, grown = back_to_base(tally.samples)
        invariants += kept
        command = (
            f"python -m stress soak --time {settings.seconds:g} --journal {settings.journal} --seed {settings.seed}"
        )
        failures += [Failure(sentence=one, seed=settings.seed, command=command) for one in grown]
    is_kept = settings.journal == "memory:"
    return Report(
        command="soak",
        seed=settings.seed,
        arguments={"time": settings.seconds, "journal": settings.journal},
        versions=versions(),
        seconds=seconds,
        totals={"rounds": tally.rounds, **tally.counts, "samples": len(tally.samples)},
        invariants=tuple(invariants),
        sometimes=dict(tally.sometimes),
        series=series(tally.samples),
        peak_bytes=peak_now(),
        thresholds=() if is_kept else (memory_growth(tally.samples),),
        failures=tuple(failures),
        errors=tuple(tally.errors),
        notes=(f"{KEPT} {memory_growth(tally.samples).shown}",) if is_kept else (),
        is_interrupted=tally.is_interrupted,
    )

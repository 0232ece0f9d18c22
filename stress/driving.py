"""One plan, driven to its end and judged: what the simulation, the load and the crash drivers have in common.

What lives here: opening the runtime, collecting what it knows before its block ends, and all oracles over that. What
does not: schedules and faults (whoever calls this brings the clock, the scheduler and the journal), the oracles.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import trio

from actorflow import RunOver, RunStatus, open_runtime
from actorflow.journals import MemoryJournal
from actorflow.testing import FaultyJournal

from .oracles import PLAN, Finding
from .oracles.client import check_client
from .oracles.facts import check_facts
from .oracles.journal_file import check_rows, read_file, read_journal

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from actorflow import Runtime
    from actorflow.abc import Journal

    from .recording import Record
    from .scenario import Scenario

__all__ = ["ORACLES", "OVER", "collect", "drive", "judge"]

ORACLES: Final = frozenset({"client", "facts", "journal"})
"""The oracles by name. Each costs time and memory: under load, those of many operations are chosen."""
OVER: Final = frozenset({RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED})
PAGE: Final = 1000
"""Runs that are listed at once."""


async def drive(
    scenario: Scenario,
    plan: object,
    record: Record,
    *,
    journal: str | Journal = "memory:",
    oracles: Collection[str] = ORACLES,
) -> list[Finding]:
    """Run a plan on a journal from one end to the other; what is wrong.

    Raises what the scenario and the runtime raise: after a crash, call it again with the same record, and a journal
    that holds what the crash has left.

    Args:
        scenario: what to run.
        plan: the plan of it.
        record: empty, or that of the lives before.
        journal: "memory:", "sqlite:PATH", or a journal that is not open.
        oracles: names of those that judge, all by default.
    """
    record.plan = plan
    for name in scenario.sometimes:
        record.sometimes(name, condition=False)
    ours = MemoryJournal() if journal == "memory:" else journal
    nurseries = len(trio.lowlevel.current_task().child_nurseries)
    found: list[Finding] = []
    is_over = False
    while not is_over:
        record.closings = scenario.closings(plan) - record.closed if isinstance(ours, str) or ours.durable else 0
        is_over = record.closings <= 0
        async with open_runtime(scenario.workflows, journal=ours, limits=scenario.limits(plan)) as runtime:
            await scenario.run(runtime, plan, record)
            found += await collect(runtime, record) if is_over else []
        record.closed += not is_over
    record.faulty = record.faulty or _has_failed(ours)
    if len(trio.lowlevel.current_task().child_nurseries) != nurseries:
        found.append(Finding("I13", "the block of the runtime is left, and its nursery is still there"))
    found += judge(scenario, plan, record, oracles=oracles)
    if "journal" in oracles:
        found += await _look_into(ours, record)
    record.forget()
    return found


async def collect(runtime: Runtime, record: Record) -> list[Finding]:
    """Put everything that the runtime can tell of the record's runs into it; what is left over in the runtime.

    Call it while the block of the runtime is open, when no more is done to the runs.
    """
    found = await _leftovers(runtime, record)
    after = None
    while True:
        page = await runtime.list_runs(limit=PAGE, after=after)
        for summary in page:
            if not record.owns(summary.run_id):
                continue
            record.summaries[summary.run_id] = summary
            run = await runtime.get_run(summary.run_id)
            record.facts[summary.run_id] = await run.history()
            try:
                record.states[summary.run_id] = await run.state()
            except RunOver:  # its state has gone with its end: a handle that was there before may know it
                continue
            record.kept.add(summary.run_id)
        if len(page) < PAGE:
            return found
        after = page[-1].run_id


async def _leftovers(runtime: Runtime, record: Record) -> list[Finding]:
    """What lives on in the runtime when all runs of the record are over."""
    if any(outcome.status not in OVER for outcome in record.outcomes.values()):
        return []
    now = runtime.statistics()
    left = {
        name: getattr(now, name)
        for name in ("live_runs", "live_steps", "pending_steps", "suspended_runs", "mailbox_depth")
        if getattr(now, name)
    }
    if left:
        said = ", ".join(f"{name} is {value}" for name, value in left.items())
        return [Finding("I8", f"every run is over, and the runtime still counts: {said}")]
    return [Finding("I8", f"run {run_id} was not taken up: {error}") for run_id, error in runtime.unrecovered.items()]


def judge(scenario: Scenario, plan: object, record: Record, *, oracles: Collection[str] = ORACLES) -> list[Finding]:
    """What the scenario and the oracles of the record say; the journal is looked into by `drive`."""
    found = [Finding(PLAN, text) for text in (*record.seen, *scenario.check(plan, record))]
    if "client" in oracles:
        found += check_client(record)
    if "facts" in oracles:
        found += check_facts(record)
    return found


def _has_failed(journal: str | Journal) -> bool:
    """Whether a write has failed on purpose: its runs stop and go on, and their steps run again as after a crash."""
    return isinstance(journal, FaultyJournal) and journal.failed > 0


async def _look_into(journal: str | Journal, record: Record) -> list[Finding]:
    """What the third oracle finds in the journal, now that its owner has closed it."""
    path = _path_of(journal)
    if path is not None:
        return check_rows(read_file(path), record)
    inner = journal
    while hasattr(inner, "journal"):  # one that fails on purpose: the one within holds what was written
        inner = inner.journal
    return [] if isinstance(inner, str) else check_rows(await read_journal(inner), record)


def _path_of(journal: object) -> str | Path | None:
    if isinstance(journal, str):
        return journal.partition(":")[2] if journal.startswith("sqlite:") else None
    inner = getattr(journal, "journal", None)
    if inner is not None:
        return _path_of(inner)
    path: str | Path | None = getattr(journal, "path", None)
    return path

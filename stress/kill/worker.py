"""What a process does that is going to be killed: open the journal, take up what is unfinished, keep new runs coming.

What lives here: that, the undisturbed run that the others are compared with, and the check at the end. Each is a
function for trio.run in a process of its own. What does not: processes and signals (`server`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import trio

from actorflow import Limits, Run, RunStatus, Runtime, open_runtime

from .jobs import Job, as_mapping, jobs, judge

WIDTH = 2
"""Runs of each job that are under way at once."""

LIMITS = Limits(crashes_per_step=1_000_000)
"""A step at which the process dies a hundred times fails, as a rule. Here it is we who kill."""

Tell = Callable[[str, object], None]
"""(kind of news, data): written to the pipe of the fork server before it returns."""

Ended = tuple[dict[str, object], dict[str, object]]
"""Output and final run store."""


class Trouble(Exception):
    """What no killed process is allowed to leave behind."""


async def live(folder: Path, names: list[str], tell: Tell) -> None:
    """Run and run, until killed."""
    work = jobs(names, folder)
    async with open_runtime(_workflows(work), journal=_journal(folder), limits=LIMITS) as runtime:
        _check_recovered(runtime)
        known = await _runs(runtime)
        unfinished = [run_id for run_id, status in known.items() if status is RunStatus.RUNNING]
        tell("open", unfinished)
        async with trio.open_nursery() as nursery:
            for job in work:
                mine = [run_id for run_id in known if run_id.startswith(f"{job.name}-")]
                numbers = iter(range(len(mine), 10**9))
                old = [run_id for run_id in unfinished if run_id in mine]
                for place in range(WIDTH):
                    nursery.start_soon(_keep_going, runtime, job, old[place::WIDTH], numbers, tell)


async def _keep_going(runtime: Runtime, job: Job, old: list[str], numbers: Iterator[int], tell: Tell) -> None:
    for run_id in old:
        await _until_end(await runtime.get_run(run_id), tell)
    for number in numbers:
        run = await runtime.start(job.workflow, job.input, run_id=f"{job.name}-{number}")
        tell("started", run.run_id)
        await _until_end(run, tell)


async def _until_end(run: Run, tell: Tell) -> None:
    outcome = await run.wait()
    if outcome.status is not RunStatus.COMPLETED:
        raise Trouble(f"run {run.run_id} ended as {outcome.status.value}: {outcome.error}")
    tell("ended", run.run_id)


async def undisturbed(folder: Path, names: list[str], tell: Tell) -> None:
    """Run each job once in memory, and keep what came of it for the check."""
    found = {}
    work = jobs(names, folder)
    async with open_runtime(_workflows(work)) as runtime:
        for job in work:
            found[job.name] = await _end(await runtime.start(job.workflow, job.input))
    _expected_file(folder).write_text(json.dumps(found), encoding="utf-8")


async def finish(folder: Path, names: list[str], tell: Tell) -> None:
    """Take everything up for the last time, let it end, and compare every run with the undisturbed one."""
    expected = json.loads(_expected_file(folder).read_text(encoding="utf-8"))
    work = jobs(names, folder)
    async with open_runtime(_workflows(work), journal=_journal(folder), limits=LIMITS) as runtime:
        _check_recovered(runtime)
        for run_id in await _runs(runtime):
            job = next(job for job in work if run_id.startswith(f"{job.name}-"))
            ended = await _end(await runtime.get_run(run_id))
            wanted: Ended = (expected[job.name][0], expected[job.name][1])
            finding = judge(job, wanted, ended)
            tell("checked", [run_id, finding.checked, finding.lost, finding.doubled, list(finding.differences)])


async def _end(run: Run) -> Ended:
    await _until_end(run, lambda kind, data: None)
    # As JSON has it on both sides: attrs objects inside are compared by their fields.
    output, state = json.loads(json.dumps([as_mapping(await run.result()), await run.state()]))
    return output, state


def _workflows(work: list[Job]) -> list[object]:
    return [job.workflow for job in work]


def _journal(folder: Path) -> str:
    return f"sqlite:{folder / 'runs.db'}"


def _expected_file(folder: Path) -> Path:
    return folder / "undisturbed.json"


def _check_recovered(runtime: Runtime) -> None:
    if runtime.unrecovered:
        raise Trouble(f"runs that could not be taken up: {dict(runtime.unrecovered)}")


async def _runs(runtime: Runtime) -> dict[str, RunStatus]:
    """Every run of the journal with its status, oldest first."""
    found: dict[str, RunStatus] = {}
    after: str | None = None
    while page := await runtime.list_runs(limit=500, after=after):
        found |= {run.run_id: run.status for run in page}
        after = page[-1].run_id
    return dict(reversed(found.items()))


TASKS = {"live": live, "undisturbed": undisturbed, "finish": finish}


def work(task: str, folder: str, names: list[str], news: int) -> None:
    """Do one of the tasks, telling the news as lines of JSON on the file descriptor `news`."""

    def tell(kind: str, data: object) -> None:
        os.write(news, json.dumps([kind, data]).encode() + b"\n")

    trio.run(TASKS[task], Path(folder), names, tell)

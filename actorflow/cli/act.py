"""`actorflow event`, `cancel`, `fork`: act on a run, through the process that owns the journal or as its new owner.

What lives here: the commands, and the choice between the two ways. What does not: the post (`opening`), driving a run
(`driving`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING

import click

from .options import read_json, shared_options

if TYPE_CHECKING:
    from .. import Run
    from .driving import Driven

__all__ = ["cancel", "event", "fork"]

Answer = Mapping[str, object]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument("name")
@click.option("--data", metavar="JSON|@FILE|-", help="What the event carries.")
@shared_options
def event(run_id: str, name: str, data: str | None, journal: str, as_json: bool) -> int:
    """Send an event to a run.

    If a live process owns the journal, it delivers the event; else this one does, and drives the run until it settles.
    """
    value = None if data is None else read_json(data, "--data")

    async def send(run: Run) -> Run:
        await run.send_event(name, value)
        return run

    request = {"kind": "event", "name": name, "data": value}
    return _act(run_id, request, send, done=f"event {name!r} sent", journal=journal, as_json=as_json)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--reason", default="", help="Why; the run's cancel hook gets it.")
@shared_options
def cancel(run_id: str, reason: str, journal: str, as_json: bool) -> int:
    """Cancel a run.

    Returns when the run is over: 0, for that is what was asked for. A run that is over already stays as it is.
    """

    async def stop(run: Run) -> Run:
        await run.cancel(reason)
        return run

    request = {"kind": "cancel", "reason": reason}
    code = _act(run_id, request, stop, done="cancelled", journal=journal, as_json=as_json)
    from .failures import ExitCode

    return ExitCode.DONE if code is ExitCode.CANCELLED else code


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--at", metavar="SEQ", type=click.IntRange(min=0), help="From the journal up to this fact.")
@click.option("--before", metavar="STEP", help="Up to just before this step (or activation) first started.")
@click.option("--run-id", "new_id", metavar="ID", help="The id of the new run.")
@shared_options
def fork(run_id: str, at: int | None, before: str | None, new_id: str | None, journal: str, as_json: bool) -> int:
    """Start a new run from the journal of another.

    If a live process owns the journal, it runs the new run; else this one does, until it settles.
    """
    if at is not None and before is not None:
        raise click.UsageError("--at and --before exclude each other.")

    async def branch_off(run: Run) -> Run:
        return await run.fork(at=at, before=before, run_id=new_id)

    request = {"kind": "fork", "at": at, "before": before, "new_run_id": new_id}
    return _act(run_id, request, branch_off, done="forked", journal=journal, as_json=as_json)


def _act(
    run_id: str,
    request: Mapping[str, object],
    action: Callable[[Run], Awaitable[Run]],
    *,
    done: str,
    journal: str,
    as_json: bool,
) -> int:
    """Do it here or have it done; print the outcome or the answer; returns the exit code."""
    from .driving import Driven, present, run_trio, shows_progress

    async def perform() -> Driven | Answer:
        return await _perform(run_id, request, action, journal=journal, live=shows_progress(as_json=as_json))

    result = run_trio(perform, journal=journal, as_json=as_json)
    if isinstance(result, Driven):
        return present(result, journal=journal, as_json=as_json)
    from .failures import ExitCode
    from .output import print_document

    answered = {"run_id": run_id, "status": "running", "output": None, "suspensions": []} | dict(result)
    if as_json:
        print_document(answered)
    else:
        click.echo(f"{answered['run_id']}: {done} (by the process that owns the journal)")
    return ExitCode.DONE


async def _perform(
    run_id: str,
    request: Mapping[str, object],
    action: Callable[[Run], Awaitable[Run]],
    *,
    journal: str,
    live: bool,
) -> Driven | Answer:
    from .. import Workflow, open_runtime
    from ..errors import ActorflowError, JournalBusy, RunNotFound
    from .driving import GRACE_S, drive
    from .finding import find_recorded
    from .opening import ask_owner, open_reader

    async with open_reader(journal) as reader:  # first, so that a wrong path or id creates nothing
        header = await reader.header(run_id)
    if header is None:
        raise RunNotFound(f"there is no run {run_id!r} in {journal}: `actorflow runs` lists them", run_id=run_id)
    workflow: type[Workflow] | ActorflowError
    try:
        workflow = find_recorded(header.source, header.workflow_id)
    except ActorflowError as error:
        workflow = error  # the owner, if there is one, has the workflow and needs no file
    workflows = [] if isinstance(workflow, ActorflowError) else [workflow]
    opened = False
    try:
        async with open_runtime(workflows, journal=journal, recover=False, shutdown_grace=GRACE_S) as runtime:
            opened = True
            if isinstance(workflow, ActorflowError):
                raise workflow

            async def begin() -> Run:
                return await action(await runtime.get_run(run_id))

            return await drive(begin, workflow, live=live)
    except JournalBusy as busy:
        if opened:
            raise
        return await ask_owner(journal, {**request, "run_id": run_id}, busy)

"""`actorflow resume`, `event`, `cancel`, `fork`: act on a run, through the owner of the journal or as its new owner.

What lives here: the commands, and the choice between the two ways. What does not: the post (`opening`), driving a run
(`driving`), the words for what cannot be resumed (`resuming`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import click

from .options import read_json, shared_options

if TYPE_CHECKING:
    from .. import Run, Suspension
    from ..abc import RunHeader
    from ..errors import ActorflowError
    from .driving import Driven
    from .finding import Target

__all__ = ["cancel", "event", "fork", "resume"]

Answer = Mapping[str, object]


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--step", metavar="STEP", help="Which suspended step: its id, a dotted path, or its activation id.")
@click.option("--label", help="Which suspension, by its label.")
@click.option("--data", metavar="JSON|@FILE|-", help="The answer that the step gets.")
@shared_options
def resume(run_id: str, step: str | None, label: str | None, data: str | None, journal: str, as_json: bool) -> int:
    """Resume a suspended run.

    If a live process owns the journal, it resumes the run; else this one does, and drives it until it settles.
    """
    value = None if data is None else read_json(data, "--data")

    async def go_on(run: Run) -> Run:
        await run.resume(value, step=step, label=label)
        return run

    request = {"kind": "resume", "step": step, "label": label, "data": value}
    from .failures import AnswerError, leaves

    try:
        return _act(run_id, request, go_on, done="resumed", journal=journal, as_json=as_json)
    except Exception as error:
        (first, *others) = leaves(error)
        kind = first.error if isinstance(first, AnswerError) else type(first).__name__
        if others or kind not in ("NotSuspended", "AmbiguousResume", "RunOver"):
            raise
        from .resuming import refusal

        status, suspensions = _places(run_id, journal)
        text = refusal(run_id, status, suspensions, step=step, label=label, journal=journal)
        raise AnswerError(kind, text) from error


def _places(run_id: str, journal: str) -> tuple[str, list[Suspension]]:
    """The status of a run, and where it and the runs below it are suspended now."""
    from .opening import read_journal
    from .tree import read_tree

    about = read_journal(journal, lambda reader: read_tree(reader, run_id)).description
    return about.status.value, list(about.suspensions)


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
    from .. import open_runtime
    from ..errors import JournalBusy
    from .driving import GRACE_S, drive
    from .opening import ask_owner, open_reader, unknown_run
    from .tree import family

    async with open_reader(journal) as reader:  # first, so that a wrong path or id creates nothing
        if await reader.header(run_id) is None:
            raise unknown_run(run_id, journal)
        headers = await family(reader, run_id)
    workflows, fault = _workflows_of(headers)
    opened = False
    try:
        async with open_runtime(workflows.values(), journal=journal, recover=False, shutdown_grace=GRACE_S) as runtime:
            opened = True
            if fault is not None:
                raise fault  # only now: the owner, if there is one, has the workflow and needs no file

            async def begin() -> Run:
                run = await action(await runtime.get_run(run_id))
                # What a child run gives goes to its parent: what must be driven is the outermost run.
                return run if run.run_id != run_id else await runtime.get_run(headers[0].run_id)

            return await drive(begin, workflows, live=live)
    except JournalBusy as busy:
        if opened:
            raise
        return await ask_owner(journal, {**request, "run_id": run_id}, busy)


def _workflows_of(headers: Sequence[RunHeader]) -> tuple[dict[str, Target], ActorflowError | None]:
    """The workflows of a tree of runs by id, from where the journal says they were found.

    The error is that of the outermost, or of a run below it whose workflow no other one brings along.
    """
    from .._authoring.workflow import resolve
    from .._core.lifecycle import RUN_OVER
    from ..errors import ActorflowError
    from .finding import brought, find_beside, find_recorded, together

    found: dict[str, Target] = {}
    beside: list[Target] = []
    faults: dict[str, ActorflowError] = {}
    for header in headers:
        if header.workflow_id in found or (header.status in RUN_OVER and header is not headers[0]):
            continue
        try:
            found[header.workflow_id] = find_recorded(header.source, header.workflow_id)
            beside += find_beside(header.source.rpartition(":")[0])
        except ActorflowError as error:
            faults[header.workflow_id] = error
    workflows = together(found.values(), beside)
    known = {name for workflow in workflows.values() for name in brought(resolve(workflow))}
    return workflows, next((error for name, error in faults.items() if name not in known), None)

"""`actorflow recover`: take up every unfinished run of a journal and drive them all until they settle.

What lives here: finding the workflows of the runs, waiting, the table of results. What does not: recovery itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import click

from .options import shared_options

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .. import RunOutcome, Runtime
    from ..abc import RunHeader
    from ..errors import DefinitionError
    from .finding import Target

    Document = dict[str, object]

__all__ = ["recover"]


@click.command()
@click.argument("place", metavar="[MODULE_OR_FILE]", required=False)
@shared_options
def recover(place: str | None, journal: str, as_json: bool) -> int:
    """Take up every unfinished run.

    The workflows are those that the journal remembers, or all of MODULE_OR_FILE. The exit code is the highest of the
    runs.
    """
    from .driving import print_how_to_resume, run_trio
    from .failures import ExitCode, InterruptedRun
    from .output import print_document, print_table, rows

    async def perform() -> tuple[list[Result], bool]:
        return await _recover(place, journal)

    results, interrupted = run_trio(perform, journal=journal, as_json=as_json)
    documents = [result.document for result in results]
    if as_json:
        print_document({"runs": documents})
    elif documents:
        lines = [(one["run_id"], one["status"], _told(one)) for one in documents]
        print_table(rows(("run_id", "status", "output or error"), lines))
        for result in results:
            if result.outcome is not None:
                print_how_to_resume(result.outcome, journal=journal)
    else:
        click.echo(f"nothing to recover in {journal}")
    if interrupted:
        raise InterruptedRun(journal)
    return max((result.code for result in results), default=ExitCode.DONE)


def _told(document: Document) -> object:
    error = document.get("error")
    if isinstance(error, dict):
        return f"{error.get('error_type')}: {error.get('message')}"
    return document["output"]


class Result(NamedTuple):
    """What became of one run: its document, its exit code, and its outcome if it settled."""

    document: Document
    code: int
    outcome: RunOutcome | None = None


async def _recover(place: str | None, journal: str) -> tuple[list[Result], bool]:
    """The result of each unfinished root run, oldest first; and whether the user interrupted."""
    import trio

    from .. import RunStatus, open_runtime
    from .driving import GRACE_S, Interrupt
    from .failures import ExitCode
    from .opening import open_reader

    async with open_reader(journal) as reader:  # first, so that a wrong path creates nothing
        headers = await reader.headers(statuses=[RunStatus.RUNNING, RunStatus.SUSPENDED])
    roots = [header for header in reversed(headers) if not header.parent_id]
    if not roots:
        return [], False
    workflows, faults = _workflows(place, headers)
    interrupt = Interrupt()
    results: dict[str, Result] = {}
    async with (
        open_runtime(list(workflows.values()), journal=journal, recover=True, shutdown_grace=GRACE_S) as runtime,
        trio.open_nursery() as nursery,
    ):
        await nursery.start(interrupt.watch, nursery.cancel_scope)
        async with trio.open_nursery() as waiters:
            for header in roots:
                waiters.start_soon(_settle, runtime, header, workflows, faults, results)
        nursery.cancel_scope.cancel()
    still = [results.get(header.run_id, Result(_document(header, "running"), ExitCode.DONE)) for header in roots]
    return still, interrupt.caught


def _document(header: RunHeader, status: str) -> Document:
    return {
        "run_id": header.run_id,
        "workflow_id": header.workflow_id,
        "status": status,
        "output": None,
        "suspensions": [],
    }


async def _settle(
    runtime: Runtime,
    header: RunHeader,
    workflows: Mapping[str, Target],
    faults: Mapping[str, BaseException],
    results: dict[str, Result],
) -> None:
    """Wait for one run and note what became of it."""
    from ..errors import ActorflowError
    from .failures import STATUS_CODES, code_of
    from .output import plain, plain_output

    try:
        unrecovered = runtime.unrecovered.get(header.run_id)
        if unrecovered is not None:
            # That the runtime does not know the workflow is true; why it was not found says more.
            raise faults.get(header.workflow_id, unrecovered)
        run = await runtime.get_run(header.run_id)
        outcome = await run.wait()
    except ActorflowError as error:  # of this run alone: the others go on
        document = _document(header, "not recovered") | {"error": plain(error)}
        results[header.run_id] = Result(document, code_of(error))
        return
    document = _document(header, outcome.status.value) | {
        "output": plain_output(outcome.output, workflows.get(header.workflow_id)),
        "suspensions": plain(outcome.suspensions),
        "error": plain(outcome.error),
    }
    results[header.run_id] = Result(document, STATUS_CODES[outcome.status.value], outcome)


def _workflows(place: str | None, headers: Sequence[RunHeader]) -> tuple[dict[str, Target], dict[str, BaseException]]:
    """The workflows to register, by id; and, by the id of those that are missing, why."""
    from .._authoring.workflow import resolve
    from ..errors import ActorflowError, DefinitionError
    from .finding import find_beside, find_recorded, find_workflows, together

    if place is not None:
        named: dict[str, Target] = {}
        names: dict[str, str] = {}
        for name, workflow in find_workflows(place).items():
            workflow_id = resolve(workflow).workflow_id
            if workflow_id in named:
                text = f"two workflows of {place} have the id {workflow_id!r}: {names[workflow_id]} and {name}"
                raise DefinitionError(f"{text}; give one of them another id", findings=(text,))
            named[workflow_id], names[workflow_id] = workflow, name
        missing = {header.workflow_id for header in headers} - set(named)
        faults: dict[str, BaseException] = {one: _missing(one, place, named) for one in missing}
        return together(named.values(), find_beside(place)), faults
    found: dict[str, Target] = {}
    beside: list[Target] = []
    faults = {}
    for header in headers:  # newest first: if a file has moved, the newer place of a workflow counts
        if header.workflow_id in found:
            continue
        try:
            found[header.workflow_id] = find_recorded(header.source, header.workflow_id)
            beside += find_beside(header.source.rpartition(":")[0])
        except ActorflowError as error:
            faults.setdefault(header.workflow_id, error)
    return together(found.values(), beside), faults


def _missing(workflow_id: str, place: str, named: Mapping[str, Target]) -> DefinitionError:
    from ..errors import DefinitionError

    there = ", ".join(map(repr, sorted(named)))
    text = f"{place} has no workflow with the id {workflow_id!r}, only {there}; name the file that has it"
    return DefinitionError(text, findings=(text,))

"""`actorflow runs`, `show`, `history`, `state`: look at a journal, also while another process owns it.

What lives here: four commands that only read. What does not: folding facts (`_runtime.inspect`), drawing (`output`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import click

from .options import shared_options

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .. import Fact, RunDescription, StepRecord
    from ..abc import Journal, RunHeader

__all__ = ["history", "runs", "show", "state"]

T = TypeVar("T")

STATUSES = ("running", "suspended", "completed", "failed", "cancelled")
# A table of a thousand lines takes most of a second to draw, and nobody reads it.
PAGE = 50


def _read(url: str, function: Callable[[Journal], Coroutine[object, object, T]]) -> T:
    import trio

    from .opening import open_reader

    async def read() -> T:
        async with open_reader(url) as reader:
            return await function(reader)

    return trio.run(read)


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@click.option("--workflow", metavar="ID", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE, show_default=True, help="At most so many runs.")
@shared_options
def runs(status: str | None, workflow: str | None, limit: int, journal: str, as_json: bool) -> int:
    """List the runs of a journal, newest first."""
    from .._runtime.records import summary
    from .output import plain, print_document, print_table, rows

    async def read(reader: Journal) -> list[RunHeader]:
        from .._core.lifecycle import RunStatus

        statuses = None if status is None else [RunStatus(status)]
        return list(await reader.headers(workflow_id=workflow, statuses=statuses, limit=limit))

    found = [summary(header) for header in _read(journal, read)]
    if as_json:
        print_document({"runs": plain(found)})
    elif not found:
        click.echo(f"no runs in {journal}" if status is workflow is None else f"no such runs in {journal}")
    else:
        columns = ("run_id", "workflow_id", "status", "started_at", "ended_at", "parent_id")
        print_table(rows(columns, ([getattr(one, column) for column in columns] for one in found)))
    return 0


async def _about(reader: Journal, run_id: str) -> tuple[RunDescription, dict[str, object]]:
    """A run's description, and the part that every document about a run has."""
    from .._runtime.inspect import describe_stored
    from .opening import output_stored
    from .output import plain

    description = await describe_stored(reader, run_id)
    return description, {
        "run_id": description.run_id,
        "workflow_id": description.workflow_id,
        "status": description.status.value,
        "output": await output_stored(reader, run_id),
        "suspensions": plain(description.suspensions),
    }


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--all", "everything", is_flag=True, help=f"Show every step, not just the first {PAGE}.")
@shared_options
def show(run_id: str, everything: bool, journal: str, as_json: bool) -> int:
    """Show one run: its status, counts, steps and waits."""
    from .output import pairs, plain, print_document, print_table, rows

    description, document = _read(journal, lambda reader: _about(reader, run_id))
    if as_json:
        fields = plain(description)
        print_document((fields if isinstance(fields, dict) else {}) | document)
        return 0
    counts = ", ".join(f"{number} {status.value}" for status, number in description.counts.items() if number)
    lines: list[tuple[str, object]] = [
        ("workflow", description.workflow_id),
        ("status", description.status.value),
        ("started", description.started_at),
        ("ended", description.ended_at),
        ("output", document["output"]),
        ("steps", counts or "none"),
    ]
    optional = {
        "parent": description.parent_id,
        "error": description.error and str(description.error),
        "recovery": description.recovery_error and str(description.recovery_error),
        "suspensions": document["suspensions"],
        "waits": "\n".join(
            f"{wait.event} for {wait.step_id}"
            + (f", until {wait.deadline:%Y-%m-%d %H:%M:%S %Z}" if wait.deadline else "")
            for wait in description.waits
        ),
        "children": plain(description.children),
    }
    print_table(pairs([*lines, *((name, value) for name, value in optional.items() if value)], title=run_id))
    steps = list(description.steps)
    shown = steps if everything else steps[:PAGE]
    if shown:
        columns = ("activation_id", "step_id", "status", "attempts", "started_at", "ended_at", "error")
        cells = [[_cell(step, column) for column in columns] for step in shown]
        print_table(rows(columns, cells, title="steps"))
    if len(shown) < len(steps):
        click.echo(f"{len(steps) - len(shown)} more steps: --all shows them")
    return 0


def _cell(step: StepRecord, column: str) -> object:
    if column == "error":
        return None if step.error is None else f"{step.error.error_type}: {step.error.message}"
    return getattr(step, column)


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    help=f"Only the last so many facts, 0 for all [default: {PAGE}; all with --json].",
)
@shared_options
def history(run_id: str, limit: int | None, journal: str, as_json: bool) -> int:
    """Show the facts of a run, in order."""
    from .output import facts_table, plain_fact, print_document, print_table

    async def read(reader: Journal) -> tuple[list[Fact], dict[str, object]]:
        from .._runtime.inspect import history_stored

        _, document = await _about(reader, run_id)
        return await history_stored(reader, run_id), document

    facts, document = _read(journal, read)
    if limit is None:
        limit = 0 if as_json else PAGE
    last = facts[-limit:] if limit else facts
    if as_json:
        print_document(document | {"facts": [plain_fact(fact) for fact in last]})
        return 0
    print_table(facts_table(last, title=run_id))
    if len(last) < len(facts):
        click.echo(f"{len(facts) - len(last)} earlier facts: --limit 0 shows all")
    return 0


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--at", metavar="SEQ", type=click.IntRange(min=0), help="As it was after this fact.")
@shared_options
def state(run_id: str, at: int | None, journal: str, as_json: bool) -> int:
    """Show the run store of a run."""
    from .output import pairs, print_document, print_table

    async def read(reader: Journal) -> tuple[dict[str, object], dict[str, object]]:
        from .._runtime.inspect import state_stored

        values = await state_stored(reader, run_id, at)
        return dict(values), (await _about(reader, run_id))[1]

    values, document = _read(journal, read)
    if as_json:
        print_document(document | {"at": at, "state": values})
    elif values:
        print_table(pairs(sorted(values.items()), title=run_id if at is None else f"{run_id} at {at}"))
    else:
        click.echo(f"the store of {run_id} is empty")
    return 0

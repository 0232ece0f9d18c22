"""`actorflow runs`, `show`, `history`, `state`: look at a journal, also while another process owns it.

What lives here: four commands that only read. What does not: folding facts (`_runtime.inspect`), the tree of
runs (`tree`, `drawing`), tables (`output`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import shared_options

if TYPE_CHECKING:
    from .. import Fact, RunDescription
    from ..abc import Journal, RunHeader

__all__ = ["history", "runs", "show", "state"]

STATUSES = ("running", "suspended", "completed", "failed", "cancelled")
# A table of a thousand lines takes most of a second to draw, and nobody reads it.
PAGE = 50


@click.command()
@click.option("--status", type=click.Choice(STATUSES), help="Only runs with this status.")
@click.option("--workflow", metavar="ID", help="Only runs of this workflow.")
@click.option("--limit", type=click.IntRange(min=1), default=PAGE, show_default=True, help="At most so many runs.")
@shared_options
def runs(status: str | None, workflow: str | None, limit: int, journal: str, as_json: bool) -> int:
    """List the runs of a journal, newest first."""
    from .._runtime.records import summary
    from .opening import read_journal
    from .output import plain, print_document, print_table, rows

    async def read(reader: Journal) -> list[RunHeader]:
        from .._core.lifecycle import RunStatus

        statuses = None if status is None else [RunStatus(status)]
        return list(await reader.headers(workflow_id=workflow, statuses=statuses, limit=limit))

    found = [summary(header) for header in read_journal(journal, read)]
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
    """Show one run: its status, and its steps and child runs as a tree."""
    from .opening import read_journal
    from .output import describe_suspension, pairs, print_document, print_table, printable
    from .resuming import how_to_resume
    from .tree import document_of, read_tree

    tree = read_journal(journal, lambda reader: read_tree(reader, run_id))
    if as_json:
        print_document(document_of(tree))
        return 0
    from .drawing import draw, hidden_steps

    description, limit = tree.description, None if everything else PAGE
    counts = ", ".join(f"{number} {status.value}" for status, number in description.counts.items() if number)
    lines: list[tuple[str, object]] = [
        ("workflow", description.workflow_id),
        ("status", description.status.value),
        ("started", description.started_at),
        ("ended", description.ended_at),
        ("output", tree.output),
        ("steps", counts or "none"),
    ]
    optional = {
        "parent": description.parent_id,
        "error": description.error and str(description.error),
        "recovery": description.recovery_error and str(description.recovery_error),
        "suspended in": "\n".join(map(describe_suspension, description.suspensions)),
    }
    print_table(pairs([*lines, *((name, value) for name, value in optional.items() if value)], title=run_id))
    print_table(draw(tree, limit))
    if hidden := hidden_steps(tree, limit):
        click.echo(f"{hidden} more steps: --all shows them")
    for line in how_to_resume(run_id, description.suspensions, journal=journal).splitlines():
        click.echo(printable(line))
    return 0


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
    from .opening import read_journal
    from .output import facts_table, plain_fact, print_document, print_table

    async def read(reader: Journal) -> tuple[list[Fact], dict[str, object]]:
        from .._runtime.inspect import history_stored

        _, document = await _about(reader, run_id)
        return await history_stored(reader, run_id), document

    facts, document = read_journal(journal, read)
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
    from .opening import read_journal
    from .output import pairs, print_document, print_table

    async def read(reader: Journal) -> tuple[dict[str, object], dict[str, object]]:
        from .._runtime.inspect import state_stored

        values = await state_stored(reader, run_id, at)
        return dict(values), (await _about(reader, run_id))[1]

    values, document = read_journal(journal, read)
    if as_json:
        print_document(document | {"at": at, "state": values})
    elif values:
        print_table(pairs(sorted(values.items()), title=run_id if at is None else f"{run_id} at {at}"))
    else:
        click.echo(f"the store of {run_id} is empty")
    return 0

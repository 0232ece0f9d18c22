"""`actorflow run`: start a run, or take it up, and follow it until it settles.

What lives here: the arguments of the command and its order of events. What does not: driving (`driving`), finding
workflows (`finding`). Only click is imported before the command is called, as in all modules of commands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import read_json, read_object, shared_options

if TYPE_CHECKING:
    from .driving import Driven

__all__ = ["run"]


@click.command()
@click.argument("target", metavar="MODULE_OR_FILE:WORKFLOW")
@click.option("--input", "data", metavar="JSON|@FILE|-", help="The run's input; - reads it from stdin.")
@click.option("--state", metavar="JSON|@FILE", help="What the run store holds at the start, an object.")
@click.option("--run-id", metavar="ID", help="The id of the run; with the same input, an existing run is taken up.")
@shared_options
def run(target: str, data: str | None, state: str | None, run_id: str | None, journal: str, as_json: bool) -> int:
    """Start a run, or take it up, and follow it to its end.

    The journal remembers where the workflow was found, so that other commands can take the run up again.
    Ctrl-C leaves a run that can be resumed with `actorflow recover`.
    """
    value = None if data is None else read_json(data, "--input")
    initial = None if state is None else read_object(state, "--state")

    async def start() -> Driven:
        from .. import Run, open_runtime
        from ..errors import RunExists
        from .driving import GRACE_S, drive, shows_progress
        from .finding import find_beside, find_workflow, together
        from .resuming import command_line

        workflow = find_workflow(target)
        workflows = together([workflow], find_beside(target.rpartition(":")[0]))
        # Only this run: what else the journal holds is for `recover`, and may need other workflows.
        async with open_runtime(workflows.values(), journal=journal, recover=False, shutdown_grace=GRACE_S) as runtime:

            async def begin() -> Run:
                try:
                    return await runtime.start(workflow, value, run_id=run_id, initial_state=initial)
                except RunExists as error:
                    look = command_line("show", str(run_id), journal=journal)
                    raise RunExists(
                        f"run id {run_id!r} is taken by a run with another workflow, input or state: choose another "
                        f"--run-id; see: {look}",
                        run_id=run_id,
                    ) from error

            return await drive(begin, workflows, live=shows_progress(as_json=as_json))

    from .driving import present, run_trio

    return present(run_trio(start, journal=journal, as_json=as_json), journal=journal, as_json=as_json)

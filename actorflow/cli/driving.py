"""Driving a run from the command line: begin, follow, leave it resumable when the user interrupts.

What lives here: the life of one run in this process and its outcome as a document or a table. What does not: drawing
progress (`progress`), choosing what to begin (the commands).
"""

from __future__ import annotations

import logging
import signal
import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import define, frozen

from .. import Run, RunOutcome
from .failures import STATUS_CODES, ExitCode, InterruptedRun
from .finding import Target
from .output import (
    describe_failure,
    describe_suspension,
    pairs,
    plain,
    plain_output,
    print_document,
    print_table,
    printable,
)
from .progress import Sample, sample, show
from .resuming import how_to_resume

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Mapping

__all__ = ["GRACE_S", "Driven", "Interrupt", "drive", "present", "run_trio", "shows_progress"]

T = TypeVar("T")

# Somebody sits at the terminal: live steps get a moment to end, not the ten seconds of a service.
GRACE_S = 2.0


@frozen(kw_only=True)
class Driven:
    """How the driving of a run ended: `outcome` is None if the user interrupted it, `run` if that came even earlier."""

    workflow: Target | None
    run: Run | None
    outcome: RunOutcome | None
    final: Sample | None
    seconds: float


@define(eq=False)
class Interrupt:
    """Whether Ctrl-C (or a plain kill) came; once it has, the default handling is back for a second one."""

    caught: bool = False

    async def watch(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Cancel `scope` at the first signal."""
        # A receiver rather than KeyboardInterrupt: that could be raised in the midst of anything, a commit included.
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            task_status.started()
            async for _ in signals:
                self.caught = True
                scope.cancel()
                return


def run_trio(function: Callable[[], Coroutine[object, object, T]], *, journal: str, as_json: bool) -> T:
    """Run an async command. With `as_json`, what the steps themselves print goes to stderr: stdout has the document."""
    # What the runtime logs is told in our own words; the steps' own loggers are not touched.
    logging.getLogger("actorflow").addHandler(logging.NullHandler())
    try:
        with redirect_stdout(sys.stderr if as_json else sys.stdout):
            return trio.run(function)
    except KeyboardInterrupt:
        raise InterruptedRun(journal) from None


async def drive(begin: Callable[[], Awaitable[Run]], workflows: Mapping[str, Target], *, live: bool) -> Driven:
    """Begin a run of one of these workflows (by id) and follow it until it settles or the user interrupts.

    Call it inside the block of the runtime: an interrupt ends only the following, the block closes in its own order.
    """
    interrupt = Interrupt()
    run: Run | None = None
    outcome: RunOutcome | None = None
    started = trio.current_time()
    async with trio.open_nursery() as nursery:
        await nursery.start(interrupt.watch, nursery.cancel_scope)
        run = await begin()
        if live:
            nursery.start_soon(show, run)
        outcome = await run.wait()
        nursery.cancel_scope.cancel()
    settled = run is not None and outcome is not None  # type: ignore[redundant-expr]  # an interrupt leaves the block early
    final = await sample(run) if settled else None
    workflow = workflows.get(run.workflow_id) if settled else None
    return Driven(workflow=workflow, run=run, outcome=outcome, final=final, seconds=trio.current_time() - started)


def shows_progress(*, as_json: bool) -> bool:
    """Whether somebody is there to look at a live line."""
    return not as_json and sys.stderr.isatty()


def present(driven: Driven, *, journal: str, as_json: bool) -> ExitCode:
    """Print how a run ended; returns the exit code of its status. Raises `InterruptedRun` if the user interrupted."""
    if driven.outcome is None:
        if as_json and driven.run is not None:
            print_document({"run_id": driven.run.run_id, "status": "running", "output": None, "suspensions": []})
        raise InterruptedRun(journal)
    document = document_of(driven, driven.outcome)
    if as_json:
        print_document(document)
    else:
        print_table(pairs(_lines(document, driven.outcome), title=driven.outcome.run_id))
        print_how_to_resume(driven.outcome, journal=journal)
    return STATUS_CODES[driven.outcome.status.value]


def print_how_to_resume(outcome: RunOutcome, *, journal: str) -> None:
    """Write, below the table, what to type next for a suspended run: as plain lines, so that they can be copied."""
    if outcome.suspensions:
        for line in how_to_resume(outcome.run_id, outcome.suspensions, journal=journal).splitlines():
            print(printable(line))


def document_of(driven: Driven, outcome: RunOutcome) -> dict[str, object]:
    """The JSON document of a run that has settled."""
    counts = driven.final.counts if driven.final is not None else {}
    return {
        "run_id": outcome.run_id,
        "workflow_id": driven.run.workflow_id if driven.run is not None else None,
        "status": outcome.status.value,
        "output": plain_output(outcome.output, driven.workflow),
        "suspensions": plain(outcome.suspensions),
        "error": plain(outcome.error),
        "failures": plain(outcome.failures),
        "counts": dict(counts),
        "seconds": round(driven.seconds, 3),
    }


def _lines(document: Mapping[str, object], outcome: RunOutcome) -> list[tuple[str, object]]:
    counts = document["counts"]
    told = ", ".join(f"{number} {name}" for name, number in counts.items()) if isinstance(counts, dict) else ""
    output = document["output"]
    lines: list[tuple[str, object]] = [
        ("workflow", document["workflow_id"]),
        ("status", outcome.status.value),
        # A text is shown with its quotes: "1" and 1 are different outputs.
        ("output", f'"{output}"' if isinstance(output, str) else output),
        ("steps", told or "none"),
        ("time", f"{document['seconds']} s"),
    ]
    if outcome.failures:
        lines.insert(3, ("failures", "\n".join(map(describe_failure, outcome.failures))))
    if outcome.suspensions:
        lines.insert(3, ("suspended in", "\n".join(map(describe_suspension, outcome.suspensions))))
    return lines

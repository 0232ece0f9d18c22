"""The program around somebody's workflow: open a runtime, run it to its end, tell how it ended.

What lives here: one run. What does not: which schedules (`campaign`), what must hold (`expressions`).
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from attrs import frozen

from actorflow import RunNotFound, RunOutcome, RunStatus, open_runtime

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actorflow.abc import Journal
    from actorflow.testing import ProgramFunction

__all__ = ["RUN_ID", "Ended", "program_of"]

RUN_ID: Final = "run"
OVER: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)


@frozen
class Ended:
    """How a run ended, for expressions.

    Attributes:
        outcome: as its handle gives it.
        plan: input and initial state that it began with.
        is_late: it was over before it was taken up again, after a crash: nobody knows its state any more.
    """

    outcome: RunOutcome
    plan: Mapping[str, object]
    is_late: bool = False

    def names(self) -> dict[str, object]:
        """What expressions speak of."""
        outcome = self.outcome
        counts: dict[str, int] = {}
        for step in outcome.steps:
            counts[step.status.value] = counts.get(step.status.value, 0) + 1
        return {
            "output": outcome.output,
            "state": dict(outcome.state),
            "status": outcome.status.value,
            "failures": [str(failure) for failure in outcome.failures],
            "counts": counts,
            "input": self.plan.get("input"),
        }


def settles_well(ended: Ended) -> object:
    """The invariant that always holds unless it is said otherwise: the run completes, or is suspended."""
    status = ended.outcome.status
    if status in (RunStatus.COMPLETED, RunStatus.SUSPENDED):
        return True
    return f"it is {status.value}: " + "; ".join(str(failure) for failure in ended.outcome.failures[:3])


settles_well.__name__ = "that the run completes"


def program_of(workflow: object, workflows: Sequence[object], *, durable: bool) -> ProgramFunction:
    """The program; with a durable journal it can be crashed and called again."""

    async def on(journal: Journal | str, plan: object) -> Ended:
        given = cast("Mapping[str, object]", plan)
        async with open_runtime(workflows, journal=journal, shutdown_grace=0) as runtime:
            is_late = False
            with suppress(RunNotFound):
                is_late = await (await runtime.get_run(RUN_ID)).status() in OVER
            run = await runtime.start(workflow, given.get("input"), run_id=RUN_ID, initial_state=given.get("state"))
            return Ended(await run.wait(), given, is_late)

    async def in_memory(plan: object) -> Ended:
        return await on("memory:", plan)

    async def on_disk(journal: Journal, plan: object) -> Ended:
        return await on(journal, plan)

    found = on_disk if durable else in_memory
    found.__name__ = getattr(workflow, "__name__", "") or str(getattr(workflow, "workflow_id", workflow))
    return found

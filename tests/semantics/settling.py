"""What the tests of suspended and of nested runs ask again and again.

What lives here: waiting for what a run tells about itself, and reading it. What does not: any workflow, any judgement.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

from actorflow import Run, RunDescription, RunOutcome, RunStatus, RunSummary, StepRecord, Suspension

ROUNDS = 100_000
"""How often a condition is asked before it counts as never true: far more than any test needs on any journal."""


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    """Return as soon as the condition holds: a bug must not become a hang, and nothing here waits in real time."""
    for _ in range(ROUNDS):
        if await condition():
            return
        await trio.lowlevel.checkpoint()
    raise AssertionError("what the test waits for does not come true")


async def asked(run: Run) -> dict[object, Suspension]:
    """The open suspensions of a run and its descendants, by payload."""
    found = (await run.describe()).suspensions
    assert len({suspension.activation_id for suspension in found}) == len(found)
    return {suspension.payload: suspension for suspension in found}


async def until_asked(run: Run, *payloads: object) -> dict[object, Suspension]:
    """Return when exactly these questions are open."""

    async def open_now() -> bool:
        return set(await asked(run)) == set(payloads)

    await until(open_now)
    return await asked(run)


async def answer(run: Run, payload: object, data: object = None) -> None:
    """Resume the suspension that has this payload, by its activation id."""
    await run.resume(data, step=(await asked(run))[payload].activation_id)


async def pause(run: Run) -> RunOutcome:
    """Wait until the run is settled, which has to be as suspended."""
    outcome = await run.wait()
    assert outcome.status is RunStatus.SUSPENDED, (outcome.status, outcome.error)
    return outcome


def records(told: RunDescription | RunOutcome, step_id: str) -> list[StepRecord]:
    """The records of one step, by number."""
    return [record for record in told.steps if record.step_id == step_id]


async def children(run: Run, workflow_id: str | None = None) -> list[RunSummary]:
    """The child runs of a run, all or those of one workflow."""
    found = (await run.describe()).children
    return [child for child in found if workflow_id in (None, child.workflow_id)]

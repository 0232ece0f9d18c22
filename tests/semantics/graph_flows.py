"""What the tests of graphs share: small steps, running a graph to its end, and counting what ran at once.

What lives here: makers of steps and graphs, and measures. What does not: any judgement of how a run went.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
from attrs import define, field

from actorflow import Context, Run, RunOutcome, RunStatus, Runtime, Step, StepRecord, open_runtime, step

LONG = 1e9
"""Seconds of virtual time after which a run that has not settled hangs."""


class Boom(Exception):
    """What the steps of these tests fail with."""


def kind(failure: object) -> str:
    """The bare class name of a failure's error type."""
    return str(getattr(failure, "error_type", failure)).rpartition(".")[2]


def kinds(outcome: RunOutcome) -> list[str]:
    """The bare class names of all failures of a run, sorted."""
    return sorted(kind(failure) for failure in outcome.failures)


def adding(name: str, amount: int = 1) -> Step:
    """A step of that id whose output is its input and so much more."""

    @step(id=name)
    async def add(data, ctx: Context):
        return data + amount

    return add


def saying(name: str) -> Step:
    """A step of that id that puts its id behind its input, a text."""

    @step(id=name)
    async def say(data, ctx: Context):
        return f"{data or ''}{name}"

    return say


def giving(name: str, value: object) -> Step:
    """A step of that id whose output is always the same."""

    @step(id=name)
    async def give(data, ctx: Context):
        return value

    return give


def failing(name: str, error: type[Exception] = Boom) -> Step:
    """A step of that id that raises."""

    @step(id=name)
    async def fail(data, ctx: Context):
        raise error(f"{name} fails")

    return fail


def taking(name: str, seconds: float, output: object = None) -> Step:
    """A step of that id that takes so long; its output is `output`, or else its input."""

    @step(id=name)
    async def take(data, ctx: Context):
        await trio.sleep(seconds)
        return data if output is None else output

    return take


def gated(name: str, gate: trio.Event, *, reached: trio.Event | None = None, log: list[Any] | None = None) -> Step:
    """A step of that id that waits for a gate, and passes its input on."""

    @step(id=name)
    async def wait(data, ctx: Context):
        if log is not None:
            log.append((ctx.run_id, data))
        if reached is not None:
            reached.set()
        await gate.wait()
        return data

    return wait


@define
class Meter:
    """How many are inside at once, and how many have been."""

    live: int = 0
    peak: int = 0
    started: int = 0
    finished: int = 0
    order: list[object] = field(factory=list)

    @asynccontextmanager
    async def inside(self, name: object = None) -> AsyncIterator[None]:
        """Count whoever is in this block."""
        self.live += 1
        self.started += 1
        self.peak = max(self.peak, self.live)
        try:
            yield
            self.finished += 1
            self.order.append(name)
        finally:
            self.live -= 1


@asynccontextmanager
async def opened(workflows: Sequence[object], **options: Any) -> AsyncIterator[Runtime]:
    """A runtime that ends with an error, instead of never, when a run in it hangs: on virtual time only."""
    with trio.fail_after(LONG):
        async with open_runtime(workflows, **options) as runtime:
            yield runtime


async def settle(
    graph: object,
    data: object = None,
    *,
    journal: str = "memory:",
    initial_state: object = None,
    act: Callable[[Run], Awaitable[object]] | None = None,
) -> RunOutcome:
    """Run a graph in a runtime of its own and return how it ended; `act` is done with the run once it is started."""
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, data, initial_state=initial_state)
        if act is not None:
            await act(run)
        return await run.wait()


async def output_of(graph: object, data: object = None, **options: Any) -> Any:
    """Run a graph that must complete, and return its output."""
    outcome = await settle(graph, data, **options)
    assert outcome.status is RunStatus.COMPLETED, outcome.failures
    return outcome.output


def records(outcome: Any) -> dict[str, list[StepRecord]]:
    """The step records of an outcome or a description, by step id."""
    found: dict[str, list[StepRecord]] = {}
    for record in outcome.steps:
        found.setdefault(record.step_id, []).append(record)
    return found


def statuses(outcome: Any) -> dict[str, list[str]]:
    """The statuses of the steps of an outcome or a description, by step id, sorted."""
    return {name: sorted(record.status.value for record in found) for name, found in records(outcome).items()}


async def reached_or_over(reached: trio.Event, run: Run) -> None:
    """Return when a step set the event, or else when the run settled without it: a bug must not become a hang."""
    async with trio.open_nursery() as nursery:

        async def over() -> None:
            await run.wait()
            nursery.cancel_scope.cancel()

        nursery.start_soon(over)
        await reached.wait()
        nursery.cancel_scope.cancel()


async def cut_off(
    graph: object, data: object, url: str, reached: trio.Event, *, also: Sequence[object] = (), **options: Any
) -> None:
    """Start the run "r", and close the runtime without grace once a step has set `reached`."""
    async with opened([graph, *also], journal=url, shutdown_grace=0) as runtime:
        run = await runtime.start(graph, data, run_id="r", **options)
        await reached_or_over(reached, run)


async def taken_up(graph: object, url: str, *, also: Sequence[object] = ()) -> RunOutcome:
    """Open the journal again, and see the run "r" to its settlement."""
    async with opened([graph, *also], journal=url) as runtime:
        assert runtime.unrecovered == {}
        return await (await runtime.get_run("r")).wait()

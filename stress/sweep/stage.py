"""What a cancelled call is tried in: the case, its stage, and the workflow whose steps make calls.

What lives here: `Case`, `Subject` and what a run of it must leave behind. What does not: the calls themselves
(`step_calls`, `handle_calls`, `openings`), cancelling them (`actorflow.testing`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from enum import Enum
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from actorflow import Context, NotSuspended, Retry, RunOver, RunStatus, Runtime, Workflow, open_runtime, step
from actorflow.testing import Victim

if TYPE_CHECKING:
    from actorflow import Run, RunOutcome
    from actorflow.abc import Journal

Function = Callable[..., Awaitable[object]]  # type: ignore[explicit-any]  # calls of every shape
Body = Callable[[Victim, "str | Journal"], Awaitable[object]]
Cut = Victim | Function
"""What makes a call: a victim, or `plain`."""
Call = Callable[[Context[object], Cut], Awaitable[object]]

ABSENT: Final = "(absent)"
"""In the place of a key that is not there."""

LESS: Final = 0.25
"""Of the seeds, for the variants of a call: they differ from it in what comes after, not in its moments."""

LEFT: Final = ("live_runs", "live_steps", "pending_steps", "suspended_runs", "mailbox_depth")
"""What a runtime counts, and must count as 0 when every run is over."""


@frozen
class Case:
    """One public call, and a program that makes it.

    Args:
        name: of the call, as users write it.
        body: the program, on a journal; it asserts what must hold.
        journals: on which journals it is tried.
        share: of the seeds, and of the moments of each: a case that waits for a disk is tried less.
        check_stores: whether one run id stands for one run in it, so that its answers can be judged.
    """

    name: str
    body: Body
    journals: tuple[str, ...] = ("memory", "durable")
    share: float = 1.0
    check_stores: bool = True

    def program(self, journal: str) -> Function:
        """The program, as `cancel_everywhere` takes it."""
        body = self.body
        if journal == "durable":

            async def program(victim: Victim, journal: Journal) -> object:
                return await body(victim, journal)

        else:

            async def program(victim: Victim) -> object:  # type: ignore[misc]  # the other shape of the same function
                return await body(victim, "memory:")

        program.__qualname__ = self.name
        return program


async def plain(function: Function, *arguments: object) -> object:
    """In the place of a victim: the call as it is."""
    return await function(*arguments)


# --- calls of steps


class Again(Exception):
    """The step fails after its call, so that it runs a second time."""


class How(Enum):
    """In which pass of its step a call is cancelled."""

    ONCE = "once"
    """In the only one."""
    AGAIN = "again"
    """In the first one; after it the step fails, and the second one makes the call whole."""
    REPLAYED = "replayed"
    """In the second one, after a first one that made the call whole; it is made again if it did not happen."""


@frozen(kw_only=True)
class StepCall:
    """A call that a step makes, and what it changes.

    Args:
        name: of the call.
        call: makes it, with the victim.
        before: keys of the run store without it, `ABSENT` for none.
        after: the same keys with it.
        at_once: it is to be seen as soon as it returns.
        where: the step that makes it.
    """

    name: str
    call: Call
    before: Mapping[str, object] = field(factory=dict)
    after: Mapping[str, object] | None = None
    at_once: bool = True
    where: str = "subject"

    @property
    def changed(self) -> Mapping[str, object]:
        """What is there when it has happened."""
        return self.before if self.after is None else self.after


@define(eq=False)
class Stage:
    """The case that is on now; steps find it here, because only one is on at a time."""

    victim: Victim
    call: StepCall
    how: How
    wrong: list[str] = field(factory=list)
    ran: list[str] = field(factory=list)


_stages: list[Stage] = []

STATE: Final[Mapping[str, object]] = {"l": [1, 2], "n": 5, "o": {"a": 1}, "s": "x"}
"""What the run store of a subject begins with."""


class Child(Workflow):
    """Changes what comes back to its parent."""

    async def start(self, data: object, ctx: Context[object]) -> str:
        """Two operations, and one more in a step of its own."""
        await ctx.run_store.push("l", 3)
        await ctx.schedule_next_step("more")
        return "child"

    async def more(self, data: object, ctx: Context[object]) -> None:
        """One more."""
        await ctx.run_store.increment("n", 10)


class Writer(Workflow):
    """Makes the call from a child run."""

    async def start(self, data: object, ctx: Context[object]) -> None:
        """The call."""
        await make_call(ctx)


class Subject(Workflow):
    """Makes a call in one step, while others make noise."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """The noise goes on before and after the call."""
        await ctx.schedule_next_step("noise")
        await ctx.schedule_next_step(_stages[-1].call.where)
        await ctx.schedule_next_step("noise")

    async def noise(self, data: object, ctx: Context[object]) -> None:
        """What others do meanwhile."""
        for _ in range(2):
            await ctx.run_store.increment("noise")
            await ctx.run_store.push("noises", ctx.activation_id)

    @step(retry=Retry(attempts=2, delay=0))
    async def subject(self, data: object, ctx: Context[object]) -> None:
        """The call."""
        await make_call(ctx)

    @step(retry=Retry(attempts=2, delay=0), commit="on_success")
    async def careful(self, data: object, ctx: Context[object]) -> None:
        """The call, in a step whose operations count with its success."""
        await make_call(ctx)

    @step(retry=Retry(attempts=2, delay=0))
    async def caller(self, data: object, ctx: Context[object]) -> None:
        """The call, made by a child run."""
        await ctx.run_child(Writer)

    async def mark(self, data: object, ctx: Context[object]) -> None:
        """What a scheduled step leaves behind."""
        await ctx.run_store.push("marks", data)


async def make_call(ctx: Context[object]) -> None:
    """Make the call of the stage: cancelled, or as it is."""
    stage = _stages[-1]
    call, victim = stage.call, stage.victim
    if victim.calls or (stage.how is How.REPLAYED and ctx.attempt == 1):
        await call.call(ctx, plain)
        if stage.how is How.REPLAYED and ctx.attempt == 1:
            raise Again
        return
    await call.call(ctx, victim)
    if stage.how is How.REPLAYED:
        if victim.cancelled:
            await call.call(ctx, plain)
        return
    if call.at_once:
        wanted = call.before if victim.cancelled else call.changed
        stage.wrong += differences("as soon as the call was over", wanted, await ctx.run_store.snapshot())
    if stage.how is How.AGAIN:
        raise Again


def differences(when: str, wanted: Mapping[str, object], state: Mapping[str, object]) -> list[str]:
    """Keys whose values are not the wanted ones, in sentences."""
    return [
        f"{when}, key {key!r} is {state.get(key, ABSENT)!r} and not {value!r}"
        for key, value in wanted.items()
        if state.get(key, ABSENT) != value
    ]


def case_of(call: StepCall, how: How) -> Case:
    """A call of a step as a case."""

    async def body(victim: Victim, journal: str | Journal) -> object:
        stage = Stage(victim, call, how)
        _stages.append(stage)
        try:
            async with open_runtime([Subject, Child, Writer], journal=journal) as runtime:
                run = await runtime.start(Subject, run_id="r", initial_state=dict(STATE))
                outcome = await settled(run)
                check_quiet(runtime)
        finally:
            _stages.pop()
        happened = how is not How.ONCE or not victim.cancelled
        stage.wrong += differences("in the end", call.changed if happened else call.before, outcome.state)
        stage.wrong += differences("in the end", {"noise": 4}, outcome.state)
        assert not stage.wrong, "; ".join(stage.wrong)
        assert outcome.status is RunStatus.COMPLETED, outcome
        return outcome.state

    if how is How.ONCE:
        return Case(call.name, body)
    return Case(f"{call.name}, {how.value}", body, share=LESS)


async def settled(run: Run) -> RunOutcome:
    """The end of a run whose questions are answered with 7, and which is told the event "go" once."""
    with suppress(RunOver):
        await run.send_event("go", "gone")
    while (outcome := await run.wait()).status is RunStatus.SUSPENDED:
        for suspension in outcome.suspensions:
            with suppress(NotSuspended, RunOver):
                await run.resume(7, step=suspension.activation_id)
    return outcome


def check_quiet(runtime: Runtime) -> None:
    """Every run is over: nothing is left in the runtime."""
    now = runtime.statistics()
    left = {name: getattr(now, name) for name in LEFT if getattr(now, name)}
    assert not left, f"every run is over, and the runtime still counts {left}"
    assert not runtime.unrecovered, runtime.unrecovered
    assert trio.current_effective_deadline() == float("inf")


def in_order(value: object) -> list[object]:
    """A list in an order that does not follow from the schedule."""
    assert isinstance(value, list)
    return sorted(value, key=repr)

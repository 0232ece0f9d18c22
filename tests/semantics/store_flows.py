"""Throw-away workflows for the tests of the run store, over the public API only.

What lives here: running a body as the `start` of a workflow, one fixed interleaving of two branches, and the
table of all verbs. What does not: anything that knows how the store works inside.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define

from actorflow import Context, Limits, Retry, RunOutcome, RunStatus, Workflow, open_runtime, step

# Far above what any of these tests needs: it turns a hang into a failure and says nothing about speed.
HANG_GUARD_S = 120

Body = Callable[[Any], Awaitable[object]]


@asynccontextmanager
async def no_hang() -> AsyncIterator[None]:
    """Fail instead of hanging; without effect on virtual time, where a deadline would be jumped to."""
    if isinstance(trio.lowlevel.current_clock(), trio.testing.MockClock):
        yield
        return
    with trio.fail_after(HANG_GUARD_S):
        yield


def exact(value: object) -> str:
    """A form of a JSON value in which 1, 1.0 and True differ, and the order of keys does not."""
    return json.dumps(value, sort_keys=True)


async def error_of(call: Callable[..., object], *args: object, **kwargs: object) -> Exception | None:
    """What the call raises, at the call or when awaited; None if it goes well."""
    try:
        result = call(*args, **kwargs)
        if inspect.isawaitable(result):
            await result
    except Exception as error:  # noqa: BLE001 - the error is the result
        return error
    return None


def must_complete(outcome: RunOutcome) -> RunOutcome:
    """The outcome itself; an assertion error that shows the reason if the run did not complete."""
    if outcome.status is not RunStatus.COMPLETED:
        raise AssertionError(f"the run is {outcome.status}: {outcome.error}") from outcome.error
    return outcome


async def play(
    flow: type[Workflow],
    data: object = None,
    *,
    journal: str = "memory:",
    limits: Limits | None = None,
    initial_state: object = None,
) -> RunOutcome:
    """Run the workflow once in a runtime of its own."""
    async with no_hang(), open_runtime([flow], journal=journal, limits=limits or Limits()) as runtime:
        run = await runtime.start(flow, data, initial_state=initial_state)
        return await run.wait()


def flow_of(
    body: Body,
    *,
    schema: type | None = None,
    keep: bool = False,
    policy: str = "error",
) -> type[Workflow]:
    """A workflow whose `start` is the body."""

    class Throwaway(Workflow):
        """One step, no branches."""

        id = "throwaway"
        state = schema
        keep_state = keep
        lost_updates = policy

        async def start(self, data, ctx: Context):
            """Run the body."""
            return await body(ctx)

    return Throwaway


async def run_body(
    body: Body,
    *,
    schema: type | None = None,
    journal: str = "memory:",
    limits: Limits | None = None,
    initial_state: object = None,
) -> Any:
    """Run `body(ctx)` as the only step of a run; give what it returned, or raise what it raised.

    The returned object comes back as it is, not through JSON; a failed assertion in the body fails the test.
    """
    returned: list[object] = []
    raised: list[Exception] = []

    async def recorded(ctx: Any) -> None:
        try:
            returned.append(await body(ctx))
        except Exception as error:
            raised.append(error)
            raise

    flow = flow_of(recorded, schema=schema)
    outcome = await play(flow, journal=journal, limits=limits, initial_state=initial_state)
    if raised:
        raise raised[0]
    must_complete(outcome)
    return returned[0]


async def on_store(body: Body, **options: Any) -> Any:
    """`run_body`, for a body that needs the run store alone."""

    async def with_store(ctx: Any) -> object:
        return await body(ctx.run_store)

    return await run_body(with_store, **options)


@define(eq=False)
class Clash:
    """What came of one interleaving of two branches."""

    outcome: RunOutcome
    errors: list[Exception]
    attempts: list[int]
    branches: dict[str, str]
    history: str


async def nothing(ctx: Any) -> None:
    """Do nothing, as a part of an interleaving."""


async def interleave(
    *,
    reads: Body = nothing,
    foreign: Body = nothing,
    writes: Body = nothing,
    setup: Body = nothing,
    retry: Retry | None = None,
    policy: str = "error",
    schema: type | None = None,
    journal: str = "memory:",
) -> Clash:
    """Two branches in one fixed order: `reads` in the first, `foreign` in the second, `writes` in the first."""
    read, written = trio.Event(), trio.Event()
    errors: list[Exception] = []
    attempts: list[int] = []
    branches: dict[str, str] = {}

    class Interleaving(Workflow):
        """Two branches that meet at one key."""

        id = "interleaving"
        state = schema
        lost_updates = policy

        async def start(self, data, ctx: Context):
            """Prepare the store and start both branches."""
            await setup(ctx)
            await ctx.schedule_next_step("early_reader")
            await ctx.schedule_next_step("foreign_writer")

        @step(retry=retry or Retry(attempts=1))
        async def early_reader(self, data, ctx: Context):
            """Read, let the other branch act, write."""
            attempts.append(ctx.attempt)
            branches["early_reader"] = ctx.activation_id
            await reads(ctx)
            read.set()
            await written.wait()
            try:
                await writes(ctx)
            except Exception as error:
                errors.append(error)
                raise

        async def foreign_writer(self, data, ctx: Context):
            """Act between the two halves of the reader."""
            branches["foreign_writer"] = ctx.activation_id
            await read.wait()
            await foreign(ctx)
            written.set()

    async with no_hang(), open_runtime([Interleaving], journal=journal) as runtime:
        run = await runtime.start(Interleaving)
        outcome = await run.wait()
        history = repr(await run.history())
    return Clash(outcome, errors, attempts, branches, history)


async def _transaction(store: Any, key: object) -> None:
    async with store.transaction() as tx:
        tx.set(key, 1)


# Every verb that takes a key, called once with harmless arguments.
KEYED_VERBS: dict[str, Callable[[Any, Any], object]] = {
    "get": lambda store, key: store.get(key),
    "set": lambda store, key: store.set(key, 1),
    "push": lambda store, key: store.push(key, 1),
    "increment": lambda store, key: store.increment(key),
    "decrement": lambda store, key: store.decrement(key),
    "delete": lambda store, key: store.delete(key),
    "extend": lambda store, key: store.extend(key, [1]),
    "remove": lambda store, key: store.remove(key, 1),
    "pop": lambda store, key: store.pop(key),
    "merge": lambda store, key: store.merge(key, {"a": 1}),
    "maximum": lambda store, key: store.maximum(key, 1),
    "minimum": lambda store, key: store.minimum(key, 1),
    "set_if_absent": lambda store, key: store.set_if_absent(key, 1),
    "compare_and_set": lambda store, key: store.compare_and_set(key, 1, 2),
    "update": lambda store, key: store.update(key, lambda value: 1),
    "has": lambda store, key: store.has(key),
    "length": lambda store, key: store.length(key),
    "slice": lambda store, key: store.slice(key, 0, 1),
    "wait_for": lambda store, key: store.wait_for(key, lambda value: True),
    "push_nowait": lambda store, key: store.push_nowait(key, 1),
    "increment_nowait": lambda store, key: store.increment_nowait(key),
    "set_nowait": lambda store, key: store.set_nowait(key, 1),
    "transaction": _transaction,
}

# The rest: verbs of the whole store.
WHOLE_VERBS: dict[str, Callable[[Any, Any], object]] = {
    "keys": lambda store, key: store.keys(),
    "snapshot": lambda store, key: store.snapshot(),
}

"""Hooks: what they see, what they may not do, and what happens when they raise (semantics C11)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    HookRestriction,
    RunOutcome,
    RunStatus,
    StepFailed,
    Workflow,
    open_runtime,
)

STATUS = {"complete": RunStatus.COMPLETED, "error": RunStatus.FAILED, "cancel": RunStatus.CANCELLED}
HOOKS = pytest.mark.parametrize("hook", list(STATUS))


class Boom(Exception):
    """What the steps of this file fail with."""


async def run_to_hook(
    hook: str, body: Callable[[Context], Awaitable[object]], journal: str = "memory:"
) -> tuple[RunOutcome, list[object], str]:
    """Run a workflow that ends in this hook, which runs `body`.

    Returns the outcome, what was called with what, and the text of everything on record about the run.
    """
    calls: list[object] = []
    live = trio.Event()

    class Ends(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("by_step", 1)
            live.set()
            if hook == "error":
                raise Boom("for the hook")
            if hook == "cancel":
                await trio.sleep_forever()

        async def later(self, data, ctx: Context):
            calls.append("later ran")

        async def on_workflow_complete(self, ctx: Context):
            calls.append("complete")
            return await body(ctx)

        async def on_workflow_error(self, error, ctx: Context):
            calls.extend(["error", error])
            await body(ctx)

        async def on_workflow_cancel(self, reason, ctx: Context):
            calls.extend(["cancel", reason])
            await body(ctx)

    async with open_runtime([Ends], journal=journal) as runtime:
        run = await runtime.start(Ends)
        if hook == "cancel":
            await live.wait()
            await run.cancel("the reason")
        outcome = await run.wait()
        record = f"{await run.history()!r} {await run.describe()!r}"
    return outcome, calls, record


@HOOKS
@pytest.mark.rule("C11", "B12")
async def test_hook_sees_and_changes_the_run_store(hook: str, journal: str) -> None:
    """Every hook reads what the steps wrote, and what it writes is in the final snapshot."""

    async def body(ctx: Context) -> object:
        seen = await ctx.run_store.get("by_step")
        await ctx.run_store.push("by_hook", len(seen))
        async with ctx.run_store.transaction() as tx:
            tx.increment("n", 3)
        return seen

    outcome, calls, _ = await run_to_hook(hook, body, journal)
    assert outcome.status is STATUS[hook]
    assert outcome.state == {"by_step": [1], "by_hook": [1], "n": 3}
    assert outcome.output == ([1] if hook == "complete" else None)
    assert calls[0] == hook
    if hook == "cancel":
        assert calls == ["cancel", "the reason"]
    if hook == "error":
        assert isinstance(calls[1], StepFailed)
        assert (calls[1].step_id, calls[1].activation_id) == ("start", outcome.error.activation_id)


RESTRICTED: dict[str, Callable[[Context], Awaitable[object]]] = {
    "schedule_next_step": lambda ctx: ctx.schedule_next_step("later"),
    "schedule_many": lambda ctx: ctx.schedule_many("later", [1, 2]),
    "wait_for_event": lambda ctx: ctx.wait_for_event("event", action="later"),
    "wait_for": lambda ctx: ctx.run_store.wait_for("by_step", bool),
}


@HOOKS
@pytest.mark.rule("C11")
@pytest.mark.parametrize("verb", RESTRICTED)
async def test_hook_may_not_open_new_work(hook: str, verb: str) -> None:
    """Scheduling and waiting in a hook raise `HookRestriction`; the hook can go on and the status stays."""

    async def body(ctx: Context) -> object:
        with pytest.raises(HookRestriction):
            await RESTRICTED[verb](ctx)
        await ctx.run_store.set("went", "on")
        return "output"

    outcome, calls, _ = await run_to_hook(hook, body)
    assert (outcome.status, outcome.state["went"]) == (STATUS[hook], "on")
    assert "later ran" not in calls


@HOOKS
@pytest.mark.rule("C11")
async def test_hook_that_raises_is_recorded_and_changes_nothing(hook: str, journal: str) -> None:
    """An exception in a hook leaves the status as it was, calls no other hook, and is on record."""

    async def body(ctx: Context) -> object:
        await ctx.run_store.set("by_hook", True)
        raise Boom("words-of-the-hook")

    outcome, calls, record = await run_to_hook(hook, body, journal)
    assert outcome.status is STATUS[hook]
    assert outcome.state == {"by_step": [1], "by_hook": True}
    assert [call for call in calls if call in STATUS] == [hook]
    assert "words-of-the-hook" in record
    assert (outcome.error is None) is (hook != "error")


@HOOKS
@pytest.mark.rule("C11")
async def test_uncaught_restriction_changes_nothing(hook: str) -> None:
    """A hook that runs into `HookRestriction` without catching it has raised like any other."""

    async def body(ctx: Context) -> object:
        return await ctx.schedule_next_step("later")

    outcome, calls, record = await run_to_hook(hook, body)
    assert outcome.status is STATUS[hook]
    assert "later ran" not in calls
    assert "HookRestriction" in record


@pytest.mark.rule("C11", "C12")
@pytest.mark.parametrize("hook", ["complete", "error"])
async def test_run_is_not_over_before_its_hook_is(hook: str, autojump_clock: MockClock) -> None:
    """`wait()` returns after the hook, however long that takes."""

    async def body(ctx: Context) -> object:
        await trio.sleep(3600)
        await ctx.run_store.set("hook", "done")
        return "late"

    began = trio.current_time()
    outcome, _, _ = await run_to_hook(hook, body)
    assert trio.current_time() - began >= 3600
    assert (outcome.status, outcome.state["hook"]) == (STATUS[hook], "done")


@pytest.mark.rule("C11", "C6")
async def test_completion_hook_is_not_called_for_a_failed_run(journal: str) -> None:
    """A failure after other branches had completed calls the error hook alone, and once."""
    calls = []

    class Late(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("branch", range(10))

        async def branch(self, data, ctx: Context):
            if await ctx.run_store.increment("done") == 10:
                raise Boom("the last one")

        async def on_workflow_complete(self, ctx: Context):
            calls.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            calls.append("error")

    async with open_runtime([Late], journal=journal) as runtime:
        assert (await (await runtime.start(Late)).wait()).status is RunStatus.FAILED
    assert calls == ["error"]


@pytest.mark.rule("C11")
async def test_hook_output_must_be_json() -> None:
    """What a completion hook returns and is no JSON does not come out, and is on record."""

    async def body(ctx: Context) -> object:
        return object()

    outcome, _, record = await run_to_hook("complete", body)
    assert outcome.output is None
    assert "NotJson" in record or "InputError" in record

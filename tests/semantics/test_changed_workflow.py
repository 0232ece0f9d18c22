"""A changed workflow meets an old run (semantics F9, F3), at the next opening of the journal."""

from __future__ import annotations

import pytest
import trio

from actorflow import Context, DefinitionError, RunStatus, Workflow, open_runtime


class Before(Workflow):
    """The workflow as the run began."""

    id = "order"
    version = "1"

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("by", "before")
        await ctx.schedule_next_step("ship", {"n": 1}, delay="1 hour")
        await ctx.wait_for_event("paid", action="book", timeout="2 hours", on_timeout="remind")

    async def ship(self, data, ctx: Context):
        await ctx.run_store.push("steps", "ship")

    async def book(self, data, ctx: Context):
        await ctx.run_store.push("steps", "book")

    async def remind(self, data, ctx: Context):
        await ctx.run_store.push("steps", "remind")

    async def on_workflow_complete(self, ctx: Context):
        return [await ctx.run_store.get("by"), *await ctx.run_store.get("steps")]


class Other(Workflow):
    async def start(self, data, ctx: Context):
        await ctx.wait_for_event("end", action="finish")

    async def finish(self, data, ctx: Context):
        return None

    async def on_workflow_complete(self, ctx: Context):
        return "other"


async def leave(url: str, *flows: type[Workflow]) -> None:
    """A run of each workflow, waiting, in the journal."""
    async with open_runtime(flows, journal=url) as runtime:
        for flow in flows:
            run = await runtime.start(flow, run_id=flow.__name__.lower())
            async with run.events() as stream:
                async for event in stream:
                    if event.kind == "step-completed":
                        break


def without(*names: str) -> type[Workflow]:
    """The workflow without some of its methods."""
    kept = {name: value for name, value in vars(Before).items() if not name.startswith("_") and name not in names}
    return type("After", (Workflow,), {**kept, "__module__": __name__, "version": "2"})


@pytest.mark.parametrize("gone", ["ship", "book", "remind"])
@pytest.mark.rule("F9", "F5")
async def test_a_step_that_is_gone_fails_the_recovery(gone: str, sqlite_url: str, autojump_clock: object) -> None:
    """The run waits for a step that the workflow has not any more, scheduled, by event or by timeout: it is named."""
    await leave(sqlite_url, Before, Other)
    async with open_runtime([without(gone), Other], journal=sqlite_url) as runtime:
        assert list(runtime.unrecovered) == ["before"]
        error = runtime.unrecovered["before"]
        assert isinstance(error, DefinitionError)
        assert gone in str(error)
        run = await runtime.get_run("before")
        for call in (run.wait, run.result):
            with pytest.raises(DefinitionError) as raised:
                await call()
            assert raised.value is error
        assert (await run.state()) == {"by": "before"}
        assert (await run.describe()).recovery_error is error
        other = await runtime.get_run("other")
        await other.send_event("end")
        assert await other.result() == "other"
    async with open_runtime([Before], journal=sqlite_url) as runtime:  # the step is back
        assert runtime.unrecovered == {}
        run = await runtime.get_run("before")
        await run.send_event("paid")
        assert await run.result() == ["before", "book", "ship"]


@pytest.mark.rule("F9")
async def test_a_step_that_is_gone_and_not_needed(sqlite_url: str, autojump_clock: object) -> None:
    """A step that has run already, or was never asked for, may go."""

    class Small(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("first")
            await ctx.schedule_next_step("last", delay=3600)

        async def first(self, data, ctx: Context):
            await ctx.run_store.push("l", "first")

        async def never(self, data, ctx: Context):
            raise AssertionError

        async def last(self, data, ctx: Context):
            await ctx.run_store.push("l", "last")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("l")

    async with open_runtime([Small], journal=sqlite_url) as runtime:
        await runtime.start(Small, run_id="r")
        await trio.sleep(1800)
    changed = type("Small", (Workflow,), {name: value for name, value in vars(Small).items() if name in KEPT})
    async with open_runtime([changed], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        assert await (await runtime.get_run("r")).result() == ["first", "last"]


KEPT = ("start", "last", "on_workflow_complete", "__module__")


@pytest.mark.rule("F9")
async def test_a_hook_that_is_gone(sqlite_url: str, autojump_clock: object) -> None:
    """A hook that the workflow has not any more does not run: the run ends without it."""
    await leave(sqlite_url, Before)
    async with open_runtime([without("on_workflow_complete")], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        run = await runtime.get_run("before")
        await run.send_event("paid")
        outcome = await run.wait()
        assert outcome.status is RunStatus.COMPLETED
        assert outcome.output is None
        assert outcome.state["steps"] == ["book", "ship"]


@pytest.mark.rule("F9")
async def test_an_unknown_workflow_is_left_untouched(sqlite_url: str, autojump_clock: object) -> None:
    """A run of a workflow that this runtime does not know is listed, can be read, and goes on where it is known."""
    await leave(sqlite_url, Before, Other)
    async with open_runtime([Other], journal=sqlite_url) as runtime:
        assert list(runtime.unrecovered) == ["before"]
        error = runtime.unrecovered["before"]
        assert isinstance(error, DefinitionError)
        assert "order" in str(error)
        run = await runtime.get_run("before")
        facts = len(await run.history())
        assert await run.state() == {"by": "before"}
        for call in (run.wait, run.cancel, lambda: run.send_event("paid")):
            with pytest.raises(DefinitionError):
                await call()
        await trio.sleep(7200)
        assert len(await run.history()) == facts
        assert [summary.run_id for summary in await runtime.list_runs(workflow="order")] == ["before"]
    async with open_runtime([Before], journal=sqlite_url) as runtime:
        assert list(runtime.unrecovered) == ["other"]
        run = await runtime.get_run("before")
        assert len(await run.history()) >= facts
        await run.send_event("paid")
        assert await run.result() == ["before", "book", "ship"]


@pytest.mark.rule("F9")
async def test_the_version_is_recorded(sqlite_url: str, autojump_clock: object) -> None:
    """A run keeps the version that it began with; a new run gets the new one."""
    await leave(sqlite_url, Before)
    changed = without()
    async with open_runtime([changed], journal=sqlite_url) as runtime:
        await runtime.start(changed, run_id="new")
        found = {}
        for run_id in ("before", "new"):
            found[run_id] = (await (await runtime.get_run(run_id)).history())[0].fields["version"]
        assert found == {"before": "1", "new": "2"}


@pytest.mark.rule("F3", "F9")
async def test_a_renamed_class_with_the_same_id_goes_on(sqlite_url: str, autojump_clock: object) -> None:
    """Facts name the workflow's id, not its class or module: both may be renamed, and code may change."""
    await leave(sqlite_url, Before)

    class Renamed(Workflow):
        id = "order"

        async def start(self, data, ctx: Context):
            raise AssertionError("a finished step never runs again")

        async def ship(self, data, ctx: Context):
            await ctx.run_store.push("steps", "new ship")

        async def book(self, data, ctx: Context):
            await ctx.run_store.push("steps", "new book")

        async def remind(self, data, ctx: Context):
            return None

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    Renamed.__module__ = "somewhere.else_"
    Renamed.__qualname__ = "Renamed"
    async with open_runtime([Renamed], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        run = await runtime.get_run("before")
        assert run.workflow_id == "order"
        await run.send_event("paid")
        assert await run.result() == {"by": "before", "steps": ["new book", "new ship"]}

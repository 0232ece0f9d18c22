"""Scope of the run store: one run, and what is left of it after the end (semantics B12)."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest
import trio
import trio.testing

from actorflow import Context, RunOver, RunStatus, Workflow, open_runtime
from tests.semantics.store_flows import KEYED_VERBS, WHOLE_VERBS, error_of, flow_of, must_complete, no_hang, play

SECRET = "s3cr3t-of-the-run"


async def leave_a_state(ctx: Any) -> str:
    """Write something and give something else as the output."""
    await ctx.run_store.set("a", 1)
    await ctx.run_store.push("l", "x")
    return "the output"


@pytest.mark.rule("B12")
async def test_the_outcome_has_the_final_snapshot(journal: str) -> None:
    """Every handle obtained before the end gets it, as often as it asks."""
    flow = flow_of(leave_a_state)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        first = await runtime.start(flow, run_id="r")
        for _ in range(2):
            outcome = must_complete(await first.wait())
            assert outcome.state == {"a": 1, "l": ["x"]}
            assert outcome.output == "the output"


@pytest.mark.rule("B12", "C11")
async def test_hooks_read_and_write_the_state_before_it_goes(journal: str) -> None:
    """What the completion hook wrote is in the final snapshot."""

    class Summed(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(10))

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("results", data)

        async def on_workflow_complete(self, ctx: Context):
            await ctx.run_store.set("summary", sum(await ctx.run_store.get("results")))

    outcome = must_complete(await play(Summed, journal=journal))
    assert outcome.state["summary"] == 45
    assert sorted(outcome.state["results"]) == list(range(10))


@pytest.mark.rule("B12", "C11")
@pytest.mark.parametrize("status", [RunStatus.FAILED, RunStatus.CANCELLED])
async def test_a_failed_and_a_cancelled_run_have_a_final_snapshot_too(status: RunStatus, journal: str) -> None:
    """Their hooks write into it; afterwards the state is gone all the same."""
    live = trio.Event()

    class Ending(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("a", 1)
            live.set()
            if status is RunStatus.FAILED:
                raise RuntimeError("on purpose")
            await trio.sleep_forever()

        async def on_workflow_error(self, error, ctx: Context):
            await ctx.run_store.set("hook", "error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            await ctx.run_store.set("hook", "cancel")

    async with no_hang(), open_runtime([Ending], journal=journal) as runtime:
        run = await runtime.start(Ending)
        await live.wait()
        if status is RunStatus.CANCELLED:
            await run.cancel("enough")
        outcome = await run.wait()
        assert outcome.status is status
        assert outcome.state == {"a": 1, "hook": "error" if status is RunStatus.FAILED else "cancel"}
        assert isinstance(await error_of(run.state), RunOver)


@pytest.mark.rule("B12")
async def test_a_kept_handle_raises_run_over_on_every_verb(journal: str) -> None:
    """No verb reads or writes anything after the end, with or without reply."""
    kept: list[Any] = []

    async def body(ctx: Any) -> None:
        kept.append(ctx)
        await ctx.run_store.set("k", [1])

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, run_id="finished")
        outcome = must_complete(await run.wait())
        for name, verb in {**KEYED_VERBS, **WHOLE_VERBS}.items():
            error = await error_of(verb, kept[0].run_store, "k")
            assert isinstance(error, RunOver), (name, error)
            assert error.run_id == "finished"
        assert (await run.wait()).state == outcome.state == {"k": [1]}


@pytest.mark.rule("B12", "C12")
async def test_a_kept_context_raises_run_over() -> None:
    """Scheduling and `set_state` after the end are refused in the same way."""
    kept: list[Any] = []

    class Kept(Workflow):
        async def start(self, data, ctx: Context):
            kept.append(ctx)

        async def more(self, data, ctx: Context):
            kept.append("ran")

    async with no_hang(), open_runtime([Kept]) as runtime:
        run = await runtime.start(Kept)
        must_complete(await run.wait())
        ctx = kept[0]
        assert isinstance(await error_of(ctx.schedule_next_step, "more"), RunOver)
        assert isinstance(await error_of(ctx.schedule_many, "more", [1]), RunOver)
        assert isinstance(await error_of(ctx.set_state, a=1), RunOver)
    assert kept == [ctx]


@pytest.mark.rule("B12", "A7")
async def test_who_still_waits_at_the_end_gets_run_over() -> None:
    """A `wait_for` from outside the steps does not outlive its run."""
    kept: list[Any] = []
    answers: list[object] = []
    live, gate = trio.Event(), trio.Event()

    async def body(ctx: Any) -> None:
        kept.append(ctx.run_store)
        await ctx.run_store.set("k", 1)
        live.set()
        await gate.wait()

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow]) as runtime:
        await runtime.start(flow)
        await live.wait()
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                answers.append(await error_of(kept[0].wait_for, "k", lambda value: False))

            nursery.start_soon(ask)
            await trio.testing.wait_all_tasks_blocked()
            assert answers == []
            gate.set()
    assert [type(answer) for answer in answers] == [RunOver]


@pytest.mark.rule("B12")
async def test_the_state_of_a_live_run_can_be_read_from_outside(journal: str) -> None:
    """`Run.state()` gives consistent snapshots until the end, then `RunOver`."""
    steps = [trio.Event() for _ in range(4)]

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("a", 1)
        steps[0].set()
        await steps[1].wait()
        async with ctx.run_store.transaction() as tx:
            tx.set("a", 2)
            tx.set("b", 2)
        steps[2].set()
        await steps[3].wait()

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, run_id="r")
        await steps[0].wait()
        assert await run.state() == {"a": 1}
        steps[1].set()
        await steps[2].wait()
        other = await runtime.get_run("r")
        assert await run.state() == await other.state() == {"a": 2, "b": 2}
        steps[3].set()
        assert (await run.wait()).state == (await other.wait()).state == {"a": 2, "b": 2}
        for handle in (run, other):
            error = await error_of(handle.state)
            assert isinstance(error, RunOver)
            assert error.run_id == "r"


@pytest.mark.rule("B12")
async def test_a_new_run_of_the_workflow_sees_nothing(journal: str) -> None:
    """Every run starts with an empty store."""
    seen: list[object] = []

    async def body(ctx: Any) -> None:
        seen.append(await ctx.run_store.snapshot())
        await ctx.run_store.increment("n")

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        for _ in range(3):
            run = await runtime.start(flow)
            assert (await run.wait()).state == {"n": 1}
    assert seen == [{}, {}, {}]


@pytest.mark.rule("B12")
async def test_runs_side_by_side_never_share_a_key(journal: str) -> None:
    """Ten interleaved runs of one workflow use the same keys; no value crosses."""

    class Side(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", [data] * 10)

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("l", data)
            await trio.lowlevel.checkpoint()
            await ctx.run_store.increment("n")

    async with no_hang(), open_runtime([Side], journal=journal) as runtime:
        runs = [await runtime.start(Side, number) for number in range(10)]
        for number, run in enumerate(runs):
            assert must_complete(await run.wait()).state == {"l": [number] * 10, "n": 10}


@pytest.mark.rule("B12")
async def test_the_record_of_a_finished_run_remains(journal: str) -> None:
    """Status, output and steps can still be read; the values of the store cannot."""

    async def body(ctx: Any) -> str:
        await ctx.run_store.set("a", SECRET)
        await ctx.run_store.push("l", {"deep": [SECRET]})
        await ctx.run_store.update("u", lambda value: SECRET)
        await ctx.run_store.pop("u")
        return "the output"

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, run_id="r")
        await run.wait()
        for handle in (run, await runtime.get_run("r")):
            assert await handle.status() is RunStatus.COMPLETED
            assert await handle.result() == "the output"
            description = await handle.describe()
            assert [record.step_id for record in description.steps] == ["start"]
            facts = await handle.history()
            assert facts
            assert SECRET not in repr(facts)
            assert SECRET not in repr(description)


@pytest.mark.rule("B12")
async def test_state_at_and_fork_raise_run_over_after_the_end(journal: str) -> None:
    """The past of a finished run is not kept, at no fact."""
    flow = flow_of(leave_a_state)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await run.wait()
        facts = await run.history()
        for seq in {facts[0].seq, facts[len(facts) // 2].seq, facts[-1].seq}:
            assert isinstance(await error_of(run.state_at, seq), RunOver)
            assert isinstance(await error_of(run.fork, at=seq), RunOver)
        assert [summary.run_id for summary in await runtime.list_runs()] == [run.run_id]


@pytest.mark.rule("B12")
async def test_state_at_shows_the_past_of_a_live_run(journal: str) -> None:
    """Fact by fact, the store goes through every state in order."""
    ready, gate = trio.Event(), trio.Event()

    async def body(ctx: Any) -> None:
        for number in (1, 2, 3):
            await ctx.run_store.push("l", number)
        await ctx.run_store.delete("l")
        ready.set()
        await gate.wait()

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await ready.wait()
        states: list[object] = []
        for fact in await run.history():
            state = await run.state_at(fact.seq)
            if not states or states[-1] != state:
                states.append(state)
        assert states == [{}, {"l": [1]}, {"l": [1, 2]}, {"l": [1, 2, 3]}, {}]
        gate.set()
        must_complete(await run.wait())


@pytest.mark.rule("B12")
async def test_memory_keeps_the_record_until_the_block_ends() -> None:
    """A new block of `memory:` knows nothing of the old one."""
    flow = flow_of(leave_a_state)
    for _ in range(2):
        async with no_hang(), open_runtime([flow]) as runtime:
            assert await runtime.list_runs() == []
            run = await runtime.start(flow, run_id="r")
            assert await run.result() == "the output"
            assert await (await runtime.get_run("r")).result() == "the output"


@pytest.mark.rule("B12")
async def test_the_journal_keeps_the_record_without_the_values(sqlite_url: str) -> None:
    """After reopening, output and status are there, the state is not, nor is it in any row."""

    async def body(ctx: Any) -> str:
        await ctx.run_store.set("a", SECRET)
        await ctx.run_store.push("l", {"deep": [SECRET]})
        return "the output"

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.start(flow, run_id="r")
        assert (await run.wait()).state == {"a": SECRET, "l": [{"deep": [SECRET]}]}
    async with no_hang(), open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.result() == "the output"
        assert await run.status() is RunStatus.COMPLETED
        assert isinstance(await error_of(run.state), RunOver)
    rows = all_rows(sqlite_url)
    assert rows
    assert not [row for row in rows if SECRET in row]


@pytest.mark.rule("B12")
async def test_the_values_of_an_unfinished_run_are_in_the_journal(sqlite_url: str) -> None:
    """The counterpart: a run cut off by the end of the block still has its state at the next opening."""
    ready = trio.Event()
    seen: list[object] = []

    async def body(ctx: Any) -> None:
        seen.append(await ctx.run_store.snapshot())
        await ctx.run_store.set("a", SECRET)
        ready.set()
        if len(seen) == 1:
            await trio.sleep_forever()

    flow = flow_of(body)
    async with no_hang(), open_runtime([flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(flow, run_id="r")
        await ready.wait()
    async with no_hang(), open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        must_complete(await run.wait())
    assert seen == [{}, {"a": SECRET}]
    assert not [row for row in all_rows(sqlite_url) if SECRET in row]


def all_rows(url: str) -> list[str]:
    """Every row of every table of a closed SQLite journal, as text."""
    connection = sqlite3.connect(url.removeprefix("sqlite:"))
    try:
        tables = [name for (name,) in connection.execute("select name from sqlite_master where type = 'table'")]
        return [repr(row) for table in tables for row in connection.execute(f'select * from "{table}"')]
    finally:
        connection.close()


@pytest.mark.rule("B12")
async def test_keep_state_keeps_it(sqlite_url: str) -> None:
    """With `keep_state` the state of a finished run can be read, now and after reopening; steps cannot write it."""
    kept: list[Any] = []

    async def body(ctx: Any) -> None:
        kept.append(ctx.run_store)
        await ctx.run_store.push("l", 1)
        await ctx.run_store.push("l", 2)

    flow = flow_of(body, keep=True)
    async with no_hang(), open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.start(flow, run_id="r")
        must_complete(await run.wait())
        assert await run.state() == {"l": [1, 2]}
        assert isinstance(await error_of(kept[0].push, "l", 3), RunOver)
        assert await run.state() == {"l": [1, 2]}
    async with no_hang(), open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.state() == {"l": [1, 2]}
        assert await run.state_at((await run.history())[-1].seq) == {"l": [1, 2]}

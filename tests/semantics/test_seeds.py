"""The documented examples of run-scoped state in a scheduled workflow, each ported and checked.

They are the programs that people bring along: passing data between steps, collecting results over a fan-out,
atomic counters, and the pitfall of reading and writing a shared key.
"""

from __future__ import annotations

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from actorflow import (
    Context,
    LostUpdate,
    Retry,
    RunOver,
    RunStatus,
    Workflow,
    open_runtime,
    step,
)


@frozen
class Customer:
    """Who ordered."""

    id: str


@frozen
class LineItem:
    """One line of an order."""

    id: int
    title: str = ""


@frozen
class Order:
    """The trigger's data."""

    customer: Customer
    line_items: list[LineItem]


def order(lines: int = 4) -> dict[str, object]:
    """An order as it would come in from outside."""
    return {
        "customer": {"id": "customer-7"},
        "line_items": [{"id": number, "title": f"line {number}"} for number in range(lines)],
    }


@pytest.mark.rule("C1", "B4")
@pytest.mark.parametrize("delay", [10, "10 sec"])
async def test_data_is_passed_between_steps(delay: object, autojump_clock: MockClock) -> None:
    """The customer id stored by `start` is there for the mail that goes out ten seconds later."""
    sent = []

    class SendMail(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("customerId", data["customer"]["id"])
            await ctx.schedule_next_step(delay=delay, action="sendEmail", payload={})

        async def sendEmail(self, data, ctx: Context):
            sent.append((await ctx.run_store.get("customerId"), data, trio.current_time() - began))

    began = trio.current_time()
    async with open_runtime([SendMail]) as runtime:
        outcome = await (await runtime.start(SendMail, order())).wait()
    assert outcome.status is RunStatus.COMPLETED
    assert sent == [("customer-7", {}, pytest.approx(10, abs=0.05))]


@pytest.mark.rule("B7", "C9")
@pytest.mark.parametrize("lines", [0, 1, 250])
async def test_results_are_collected_across_fan_out_branches(
    lines: int, journal: str, autojump_clock: MockClock
) -> None:
    """One branch per line item pushes its result, and the completion hook sees each of them once."""

    class FanOut(Workflow):
        async def start(self, data, ctx: Context):
            for item in data["line_items"]:
                await ctx.schedule_next_step(delay=10, action="processItem", payload={"item": item})

        async def processItem(self, data, ctx: Context):
            await ctx.run_store.push("results", {"id": data["item"]["id"], "status": "done"})

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("results", [])

    async with open_runtime([FanOut], journal=journal) as runtime:
        results = await runtime.run(FanOut, order(lines))
    assert sorted(entry["id"] for entry in results) == list(range(lines))
    assert all(entry["status"] == "done" for entry in results)


@pytest.mark.rule("B7", "B6")
async def test_counter_is_atomic_over_branches(journal: str) -> None:
    """Concurrent increments return every value once; a delta of -1 decrements."""

    class Counter(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(300))

        async def work(self, data, ctx: Context):
            new_count = await ctx.run_store.increment("processedCount")
            await ctx.run_store.push("seen", new_count)

        async def on_workflow_complete(self, ctx: Context):
            seen = sorted(await ctx.run_store.get("seen"))
            down = [await ctx.run_store.increment("processedCount", -1) for _ in range(2)]
            return {"seen": seen, "down": [*down, await ctx.run_store.decrement("processedCount")]}

    async with open_runtime([Counter], journal=journal) as runtime:
        output = await runtime.run(Counter)
    assert output == {"seen": list(range(1, 301)), "down": [299, 298, 297]}


@pytest.mark.rule("B4", "B5", "B6")
async def test_the_five_methods_do_what_the_table_says(journal: str) -> None:
    """`get` of an unset key is None, `set` takes any JSON, `push` keeps order, `increment` adds 1, `delete` removes."""

    class Table(Workflow):
        async def start(self, data, ctx: Context):
            store = ctx.run_store
            value = {"a": [1, 2.5, None, True, "é"], "b": {}}
            unset = await store.get("key")
            await store.set("key", value)
            stored = await store.get("key")
            for item in ("first", "second", {"third": 3}):
                await store.push("list", item)
            await store.increment("counter")
            counter = await store.increment("counter", 4)
            deleted = [await store.delete("key"), await store.delete("key")]
            return [unset, stored == value, await store.get("list"), counter, deleted, await store.get("key")]

    async with open_runtime([Table], journal=journal) as runtime:
        output = await runtime.run(Table)
    assert output == [None, True, ["first", "second", {"third": 3}], 5, [True, False], None]


@pytest.mark.rule("B12")
async def test_keys_are_scoped_to_the_run_and_gone_after_it(journal: str) -> None:
    """Two runs that use the same keys at the same time share nothing, and after the end the keys are gone."""
    both = []
    gate = trio.Event()

    class Scoped(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("who", data)
            both.append(data)
            if len(both) == 2:
                gate.set()
            await gate.wait()
            await ctx.run_store.increment("count")
            return [await ctx.run_store.get("who"), await ctx.run_store.get("count")]

    async with open_runtime([Scoped], journal=journal) as runtime:
        runs = [await runtime.start(Scoped, name) for name in ("a", "b")]
        assert [await run.result() for run in runs] == [["a", 1], ["b", 1]]
        for run in runs:
            with pytest.raises(RunOver):
                await run.state()
        assert await runtime.run(Scoped, "c") == ["c", 1]


class GetThenSet(Workflow):
    """The pitfall: shared aggregation by reading and writing one key in parallel branches."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("n", 0)
        await ctx.schedule_many("work", range(20))

    async def work(self, data, ctx: Context):
        value = await ctx.run_store.get("n")
        await ctx.run_store.increment("readers")
        await ctx.run_store.wait_for("readers", lambda count: count == 20)
        await ctx.run_store.set("n", value + 1)


class GetThenSetAllowed(GetThenSet):
    """The same where the author said that lost updates are fine."""

    lost_updates = "allow"


class GetThenSetRetried(Workflow):
    """The same cured by a retry that covers the lost update."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("n", 0)
        await ctx.schedule_many("work", range(20))

    @step(retry=Retry(attempts=100, delay=0.01, on=(LostUpdate,)))
    async def work(self, data, ctx: Context):
        value = await ctx.run_store.get("n")
        await trio.lowlevel.checkpoint()
        await ctx.run_store.set("n", value + 1)


@pytest.mark.rule("B10")
@pytest.mark.parametrize("workflow", [GetThenSet, GetThenSetAllowed, GetThenSetRetried])
async def test_get_then_set_in_branches_is_never_silently_wrong(
    workflow: type[Workflow], autojump_clock: MockClock
) -> None:
    """Get and set over branches fails loudly by default, loses updates only if allowed, and is right under retry."""
    async with open_runtime([workflow]) as runtime:
        outcome = await (await runtime.start(workflow)).wait()
    if workflow is GetThenSet:
        assert outcome.status is RunStatus.FAILED
        assert "LostUpdate" in str(outcome.error.error_type)
        assert outcome.state["n"] == 1
    elif workflow is GetThenSetAllowed:
        assert (outcome.status, outcome.state["n"]) == (RunStatus.COMPLETED, 1)
    else:
        assert (outcome.status, outcome.state["n"]) == (RunStatus.COMPLETED, 20)


@pytest.mark.rule("B7", "B8", "C1")
async def test_large_import_passes_compact_references(journal: str) -> None:
    """Parse once, pass chunk ranges, keep counters and warnings, summarise at the end; the last chunk knows it is."""
    rows = [{"row": number, "ok": number % 97 != 0} for number in range(1, 1001)]
    deleted = []

    class Import(Workflow):
        async def start(self, data, ctx: Context):
            chunks = [{"first": first, "last": min(first + 64, len(rows))} for first in range(0, len(rows), 64)]
            await ctx.run_store.set("chunkCount", len(chunks))
            await ctx.schedule_many("readChunk", chunks)

        async def readChunk(self, data, ctx: Context):
            good = 0
            for row in rows[data["first"] : data["last"]]:
                if row["ok"]:
                    good += 1
                else:
                    await ctx.run_store.push("warnings", {"row": row["row"]})
            await ctx.run_store.increment("good", good)
            if await ctx.run_store.increment("chunksDone") == await ctx.run_store.get("chunkCount"):
                deleted.append("upload")

        async def on_workflow_complete(self, ctx: Context):
            warnings = await ctx.run_store.get("warnings")
            return {"good": await ctx.run_store.get("good"), "bad": sorted(entry["row"] for entry in warnings)}

    async with open_runtime([Import], journal=journal) as runtime:
        output = await runtime.run(Import)
    assert output == {"good": 990, "bad": [97 * n for n in range(1, 11)]}
    assert deleted == ["upload"]


class OrderImport(Workflow):
    """Fan out one branch per line item and aggregate without a race."""

    async def start(self, data: Order, ctx: Context):
        await ctx.run_store.set("customer_id", data.customer.id)
        for item in data.line_items:
            await ctx.schedule_next_step("process_item", item, delay="10 sec")

    async def process_item(self, data: LineItem, ctx: Context):
        await ctx.run_store.push("results", {"id": data.id, "status": "done"})
        await ctx.run_store.increment("processed")

    async def on_workflow_complete(self, ctx: Context):
        return {
            "customer": await ctx.run_store.get("customer_id"),
            "processed": await ctx.run_store.get("processed"),
            "results": await ctx.run_store.length("results"),
        }


@pytest.mark.rule("B7", "C1", "C9")
async def test_order_import_as_a_whole(journal: str, autojump_clock: MockClock) -> None:
    """The examples together, typed: 250 line items are processed once each, in a run with a name of its own."""
    async with open_runtime([OrderImport], journal=journal) as runtime:
        run = await runtime.start(OrderImport, order(250), run_id="order-1001")
        assert await run.result() == {"customer": "customer-7", "processed": 250, "results": 250}
        # Starting the same order again under its name is the same run.
        again = await runtime.start("OrderImport", order(250), run_id="order-1001")
        assert (await again.result())["processed"] == 250
        assert [summary.run_id for summary in await runtime.list_runs()] == ["order-1001"]

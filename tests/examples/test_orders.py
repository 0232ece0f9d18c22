"""The order import of docs/examples counts every item once, however often the supplier refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from trio.testing import MockClock

from actorflow import InputError, RunFailed, RunStatus, open_runtime
from tests.examples.loading import EXAMPLES, load

orders = load("orders")


def order(skus: Sequence[str], **fields: object) -> dict[str, Any]:
    """An order of one unit at one cent for every article."""
    items = [{"id": f"L{number}", "sku": sku, "price_cents": 1} for number, sku in enumerate(skus)]
    return {"customer": {"id": "C-1"}, "line_items": items} | fields


async def test_the_sample_order_is_imported(journal: str, autojump_clock: MockClock) -> None:
    """The sample gives the summary that a reader can work out by hand, as output and in the final state."""
    sample = json.loads((EXAMPLES / "orders.json").read_text(encoding="utf-8"))
    async with open_runtime([orders.OrderImport], journal=journal) as runtime:
        run = await runtime.start(orders.OrderImport, sample, run_id="order-1001")
        outcome = await run.wait()
    assert outcome.status is RunStatus.COMPLETED
    done = [item for item in sample["line_items"] if item["quantity"] and not item["sku"].startswith("GONE-")]
    patient = [item["id"] for item in done if orders.refusals(item["sku"]) == orders.BUSY_AT_MOST]
    assert outcome.output == orders.Summary(
        customer_id="C-42",
        items=8,
        processed=6,
        rejected=1,
        failed=1,
        units=28,
        total_cents=2 * 450 + 390 + 6 * 720 + 6 * 720 + 4900 + 12 * 110,
        supplier_calls=sum(orders.refusals(item["sku"]) + 1 for item in done) + 1,
        warnings=sorted(
            [f"{name}: the supplier answered at the last attempt only" for name in patient]
            + ["L8: a quantity of 0 cannot be ordered"]
        ),
    )
    assert patient, "the sample shows an article that needs every attempt"
    assert sorted(one["id"] for one in outcome.state["results"]) == [item["id"] for item in done]
    assert outcome.state["summary"]["processed"] == 6


async def test_an_article_that_is_gone_is_listed_and_not_asked_again(journal: str, autojump_clock: MockClock) -> None:
    """A failure within the bound completes the run, with the failure after a single attempt in its record."""
    async with open_runtime([orders.OrderImport], journal=journal) as runtime:
        run = await runtime.start(orders.OrderImport, order(["GONE-1", "CUP-WHITE"]))
        outcome = await run.wait()
    assert outcome.status is RunStatus.COMPLETED
    assert [(failure.step_id, failure.attempts) for failure in outcome.failures] == [("process_item", 1)]
    assert "Discontinued" in outcome.failures[0].error_type
    assert (outcome.output.processed, outcome.output.failed) == (1, 1)


async def test_more_failures_than_the_bound_fail_the_import(journal: str, autojump_clock: MockClock) -> None:
    """With more than half of the articles gone the run fails and names every one of them."""
    async with open_runtime([orders.OrderImport], journal=journal) as runtime:
        run = await runtime.start(orders.OrderImport, order(["GONE-1", "GONE-2", "CUP-WHITE"]))
        with pytest.raises(RunFailed) as caught:
            await run.result()
    assert len(caught.value.failures) == 2


@pytest.mark.rule("C3", "C5")
async def test_attempts_are_counted_and_results_are_not_doubled(journal: str, autojump_clock: MockClock) -> None:
    """Each refused call was made and counted, and each of 300 items stands once in the results."""
    skus = [f"ARTICLE-{number}" for number in range(300)]
    async with open_runtime([orders.OrderImport], journal=journal) as runtime:
        run = await runtime.start(orders.OrderImport, order(skus))
        outcome = await run.wait()
    assert outcome.output.processed == outcome.output.units == outcome.output.total_cents == 300
    assert outcome.output.supplier_calls == sum(orders.refusals(sku) + 1 for sku in skus)
    assert sorted(one["id"] for one in outcome.state["results"]) == sorted(f"L{number}" for number in range(300))
    attempts = {one["id"]: one["attempts"] for one in outcome.state["results"]}
    assert attempts == {f"L{number}": orders.refusals(sku) + 1 for number, sku in enumerate(skus)}
    assert set(attempts.values()) == {1, 2, 3, 4}


async def test_an_order_without_items_completes(journal: str) -> None:
    """No item, no branch: the hook runs at once."""
    async with open_runtime([orders.OrderImport], journal=journal) as runtime:
        summary = await runtime.run(orders.OrderImport, order([]))
    assert (summary.items, summary.processed, summary.failed) == (0, 0, 0)


async def test_a_bad_order_is_refused_field_by_field() -> None:
    """Every bad field is named by its path, and the run id stays free."""
    bad = order(["A", "B"])
    bad["customer"]["id"] = 7
    bad["line_items"][1]["quantity"] = "2"
    async with open_runtime([orders.OrderImport]) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(orders.OrderImport, bad, run_id="order-1")
        assert set(caught.value.problems) == {"$.customer.id", "$.line_items[1].quantity"}
        summary = await runtime.run(orders.OrderImport, order([]), run_id="order-1")
    assert summary.items == 0

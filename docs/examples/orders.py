"""Import an order: one branch per line item, a supplier that is often busy, and a summary at the end.

    actorflow run docs/examples/orders.py:OrderImport --input @docs/examples/orders.json

The supplier is made up and fails in a way that can be foretold: the hash of an article's number says how many calls it
refuses first. What to look at: a call that is repeated is counted once unless it is named otherwise (`op_id`), one
article that is gone does not stop the import (`tolerate`), and no branch reads what another one writes.
"""

import hashlib

import trio
from attrs import field, frozen

from actorflow import Context, NonRetryable, Retry, Workflow, step, tolerate

BUSY_AT_MOST = 3
GONE = "GONE-"


@frozen
class Customer:
    """Who ordered."""

    id: str


@frozen
class LineItem:
    """One line of an order; the price is in cents, so that sums are exact."""

    id: str
    sku: str
    quantity: int = 1
    price_cents: int = 0


@frozen
class Order:
    """The input of the import."""

    customer: Customer
    line_items: list[LineItem]
    id: str = ""


@frozen
class Summary:
    """The output of the import."""

    customer_id: str
    items: int
    processed: int
    rejected: int
    failed: int
    units: int
    total_cents: int
    supplier_calls: int
    warnings: list[str] = field(factory=list)


class SupplierBusy(Exception):
    """The supplier refuses this call; a later one may go through."""


class Discontinued(NonRetryable):
    """The supplier does not have the article any more; asking again is useless."""


class OrderImport(Workflow):
    """Reserve every line item at the supplier and add up what that costs."""

    # Up to half of the items may be gone: the import completes and lists them. More, and it fails.
    join = tolerate(fraction=0.5)

    async def start(self, data: Order, ctx: Context) -> None:
        """One branch per line item. The input has been checked field by field before this runs."""
        await ctx.run_store.set("customer_id", data.customer.id)
        await ctx.run_store.set("items", len(data.line_items))
        await ctx.schedule_many("process_item", data.line_items)

    @step(retry=Retry(attempts=BUSY_AT_MOST + 1, delay=0.2, on=(SupplierBusy,)))
    async def process_item(self, data: LineItem, ctx: Context) -> None:
        """Reserve one item; its results go into the run store in one message."""
        store = ctx.run_store
        if data.quantity < 1:
            async with store.transaction() as tx:
                tx.increment("rejected")
                tx.push("warnings", f"{data.id}: a quantity of {data.quantity} cannot be ordered")
            return
        # A second attempt repeats this line, and a repeated operation counts once. Here every call is meant to count,
        # so each attempt gives its own name to the operation.
        await store.increment("supplier_calls", op_id=f"call {ctx.activation_id} {ctx.attempt}")
        await reserve(data.sku, ctx.attempt)
        async with store.transaction() as tx:
            tx.push("results", {"id": data.id, "status": "done", "attempts": ctx.attempt})
            tx.increment("processed")
            tx.increment("units", data.quantity)
            tx.increment("total_cents", data.quantity * data.price_cents)
            if ctx.attempt > BUSY_AT_MOST:
                tx.push("warnings", f"{data.id}: the supplier answered at the last attempt only")

    async def on_workflow_complete(self, ctx: Context) -> Summary:
        """Write the summary into the final state, and give it as the output."""
        state = await ctx.run_store.snapshot()
        processed, rejected = state.get("processed", 0), state.get("rejected", 0)
        summary = Summary(
            customer_id=state["customer_id"],
            items=state["items"],
            processed=processed,
            rejected=rejected,
            failed=state["items"] - processed - rejected,
            units=state.get("units", 0),
            total_cents=state.get("total_cents", 0),
            supplier_calls=state.get("supplier_calls", 0),
            warnings=sorted(state.get("warnings", [])),
        )
        await ctx.run_store.set("summary", summary)
        return summary


def refusals(sku: str) -> int:
    """How many calls the supplier refuses for this article before it answers: 0 to `BUSY_AT_MOST`."""
    return hashlib.sha256(sku.encode()).digest()[0] % (BUSY_AT_MOST + 1)


async def reserve(sku: str, attempt: int) -> None:
    """Ask the supplier; stands for a call over the network."""
    await trio.lowlevel.checkpoint()
    if sku.startswith(GONE):
        raise Discontinued(f"{sku} is gone for good")
    if attempt <= refusals(sku):
        raise SupplierBusy(f"{sku}: call {attempt} refused")

"""A nightly report: wait until the shops have closed, run one child per region, add up what they found.

    actorflow run docs/examples/nightly_report.py:nightly --run-id monday --input @docs/examples/regions.json

The graph on top is a timer, a fan-out and a summary. Each region is a run of its own, written as a class that opens one
branch per shop. What to look at: the regions count side by side into the parent's totals and lose nothing
(`merge_state`), a region that fails brings nothing back and does not stop the night (`tolerate`), and `shops_done` can
be watched from outside while the children run (`root_store`).

The figures of the shops are made up, from a hash, so that anybody can work the totals out.
"""

import datetime as dt
import hashlib

from attrs import define, field, frozen

from actorflow import Context, Failure, NonRetryable, Retry, Workflow, step, tolerate, workflow

CENTS_AT_MOST = 100_000
LOST_REGIONS_AT_MOST = 1
FLOODED = "flooded"


@frozen
class Region:
    """One region and its shops."""

    name: str
    shops: list[str] = field(factory=list)


@frozen
class Night:
    """The input: which day, when its shops close, and where they are."""

    day: dt.date
    closing: dt.datetime
    regions: list[Region] = field(factory=list)


@frozen
class RegionReport:
    """What a region's run gives its parent as output."""

    name: str
    shops: int
    cents: int


@define
class Totals:
    """The state of the night. The regions add to the first three, whose changes come back when a region is done."""

    shops: int = 0
    cents: int = 0
    best: list[str] = field(factory=list)
    shops_done: int = 0


@define
class RegionTotals:
    """The state of one region: the three keys that it shares with its parent, and two of its own.

    What it shares begins with what the parent had when the region began, which may be the sum of other regions. Its own
    figures are therefore counted separately.
    """

    shops: int = 0
    cents: int = 0
    best: list[str] = field(factory=list)
    own_shops: int = 0
    own_cents: int = 0


@frozen
class Summary:
    """The output of the night."""

    day: dt.date
    shops: int
    cents: int
    best: list[str]
    regions: list[RegionReport]
    missing: list[str]


@frozen
class Visit:
    """The payload of a branch: one shop of one day."""

    shop: str
    day: dt.date


class ShopBusy(Exception):
    """The till of this shop does not answer yet."""


class RegionDown(NonRetryable):
    """Nothing can be had from this region tonight."""


@frozen
class Task:
    """What one region's run is started with."""

    region: Region
    day: dt.date


class RegionCount(Workflow):
    """Count one region: a branch per shop."""

    state = RegionTotals

    async def start(self, data: Task, ctx: Context) -> None:
        """One branch per shop; an empty region is done at once."""
        if data.region.name.startswith(FLOODED):
            raise RegionDown(f"{data.region.name} is under water")
        await ctx.schedule_many("read_till", [Visit(shop, data.day) for shop in data.region.shops])

    @step(retry=Retry(attempts=3, delay=0.5, on=ShopBusy), concurrency=10)
    async def read_till(self, data: Visit, ctx: Context) -> None:
        """Read one till and count it, here and, for whoever watches the night, in the outermost run at once."""
        cents = await takings(data.shop, data.day, ctx.attempt)
        async with ctx.run_store.transaction() as tx:
            tx.increment("shops")
            tx.increment("cents", cents)
            tx.increment("own_shops")
            tx.increment("own_cents", cents)
            if cents > CENTS_AT_MOST * 9 // 10:
                tx.push("best", data.shop)
        if ctx.root_store is not None:  # None when a region is run by itself
            await ctx.root_store.increment("shops_done")

    async def on_workflow_complete(self, ctx: Context) -> RegionReport:
        """The figures of this region alone."""
        task: Task = ctx.input
        return RegionReport(
            task.region.name, await ctx.run_store.get("own_shops"), await ctx.run_store.get("own_cents")
        )


def after_closing(data: Night, ctx: Context) -> dt.datetime:
    """When the figures are complete. Long past: then the report begins at once."""
    return data.closing


def tasks(data: Night, ctx: Context) -> list[Task]:
    """One element per region."""
    return [Task(region, data.day) for region in data.regions]


@step
async def summarise(data: list[RegionReport | Failure], ctx: Context[Totals]) -> Summary:
    """Put reports and totals together. A region that failed stands as a `Failure` in the place of its report."""
    night: Night = ctx.input
    return Summary(
        day=night.day,
        shops=ctx.state.shops,
        cents=ctx.state.cents,
        best=sorted(ctx.state.best),
        regions=[report for report in data if isinstance(report, RegionReport)],
        missing=[
            region.name for region, report in zip(night.regions, data, strict=True) if isinstance(report, Failure)
        ],
    )


nightly = (
    workflow("nightly-report", input=Night, output=Summary, state=Totals)
    .sleep_until(after_closing)
    .map(tasks)
    .foreach(
        RegionCount,
        concurrency=4,
        join=tolerate(count=LOST_REGIONS_AT_MOST),
        merge_state=["shops", "cents", "best"],
    )
    .then(summarise)
    .commit()
)


def figure(shop: str, day: dt.date) -> int:
    """What a shop took on a day, in cents."""
    digest = hashlib.sha256(f"{shop} {day.isoformat()}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % CENTS_AT_MOST


async def takings(shop: str, day: dt.date, attempt: int) -> int:
    """Ask a till; stands for a call over the network. Every fourth shop or so needs a second call."""
    cents = figure(shop, day)
    if cents % 4 == 0 and attempt == 1:
        raise ShopBusy(shop)
    return cents

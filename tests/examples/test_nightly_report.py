"""The nightly report of docs/examples waits for closing time, and its children add up without losing a shop."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
from trio.testing import MockClock

from actorflow import RunFailed, RunStatus, open_runtime
from tests.examples.commands import actorflow
from tests.examples.loading import EXAMPLES, load

nightly_report = load("nightly_report")

DAY = dt.date(2026, 3, 2)
LONG_AGO = dt.datetime(2026, 3, 2, 20, tzinfo=dt.UTC)


def night(regions: dict[str, list[str]], closing: dt.datetime = LONG_AGO) -> Any:
    """An input for these regions and shops."""
    return nightly_report.Night(DAY, closing, [nightly_report.Region(name, shops) for name, shops in regions.items()])


def cents_of(shops: list[str]) -> int:
    """What these shops took, worked out by hand."""
    return sum(nightly_report.figure(shop, DAY) for shop in shops)


async def outcome_of(data: object, journal: str = "memory:") -> Any:
    """How the night ends."""
    async with open_runtime([nightly_report.nightly], journal=journal) as runtime:
        return await (await runtime.start(nightly_report.nightly, data)).wait()


async def test_the_sample_night(journal: str, autojump_clock: MockClock) -> None:
    """The sample gives the totals that a reader can work out by hand, and names the region that was lost."""
    sample = json.loads((EXAMPLES / "regions.json").read_text(encoding="utf-8"))
    outcome = await outcome_of(sample, journal)
    assert outcome.status is RunStatus.COMPLETED
    safe = [region for region in sample["regions"] if not region["name"].startswith("flooded")]
    shops = [shop for region in safe for shop in region["shops"]]
    assert outcome.output == nightly_report.Summary(
        day=dt.date.fromisoformat(sample["day"]),
        shops=len(shops),
        cents=cents_of(shops),
        best=sorted(shop for shop in shops if nightly_report.figure(shop, DAY) > 90_000),
        regions=[
            nightly_report.RegionReport(region["name"], len(region["shops"]), cents_of(region["shops"]))
            for region in safe
        ],
        missing=["flooded-coast"],
    )


@pytest.mark.rule("E2")
async def test_nothing_is_lost_between_many_regions(journal: str, autojump_clock: MockClock) -> None:
    """Forty regions with ten shops each count into one state side by side: every shop once, every cent."""
    regions = {f"region-{number}": [f"shop-{number}-{shop}" for shop in range(10)] for number in range(40)}
    outcome = await outcome_of(night(regions), journal)
    shops = [shop for found in regions.values() for shop in found]
    assert (outcome.state["shops"], outcome.state["cents"]) == (400, cents_of(shops))
    assert outcome.state["shops_done"] == 400
    assert len(outcome.state["best"]) == len(set(outcome.state["best"]))
    assert [report.name for report in outcome.output.regions] == list(regions)
    assert [report.cents for report in outcome.output.regions] == [cents_of(found) for found in regions.values()]
    assert "own_shops" not in outcome.state


@pytest.mark.rule("E2", "C6")
async def test_a_lost_region_brings_nothing_back(autojump_clock: MockClock) -> None:
    """Of the failed child neither keys nor report arrive; the failure is listed and the night completes."""
    outcome = await outcome_of(night({"flooded-north": ["a", "b"], "south": ["c"]}))
    assert outcome.status is RunStatus.COMPLETED
    assert (outcome.output.shops, outcome.output.missing) == (1, ["flooded-north"])
    assert len(outcome.failures) == 1


async def test_two_lost_regions_fail_the_night(autojump_clock: MockClock) -> None:
    """More failures than the bound fail the run."""
    async with open_runtime([nightly_report.nightly]) as runtime:
        with pytest.raises(RunFailed):
            await runtime.run(nightly_report.nightly, night({"flooded-1": [], "flooded-2": [], "south": ["c"]}))


async def test_the_night_waits_for_closing_time(autojump_clock: MockClock) -> None:
    """No child begins before the shops have closed."""
    async with open_runtime([nightly_report.nightly]) as runtime:
        closing = runtime.now() + dt.timedelta(hours=9)
        run = await runtime.start(nightly_report.nightly, night({"south": ["c"]}, closing))
        await run.result()
        described = await run.describe()
    (child,) = described.children
    assert child.started_at >= closing
    assert described.started_at <= closing - dt.timedelta(hours=9)


@pytest.mark.rule("D7")
async def test_the_timer_outlives_the_process(sqlite_url: str, autojump_clock: MockClock) -> None:
    """A night that was closed before its time goes on in the next runtime, and not before its time."""
    async with open_runtime([nightly_report.nightly], journal=sqlite_url) as runtime:
        closing = runtime.now() + dt.timedelta(hours=9)
        await runtime.start(nightly_report.nightly, night({"south": ["c"]}, closing), run_id="monday")
    async with open_runtime([nightly_report.nightly], journal=sqlite_url) as runtime:
        run = await runtime.get_run("monday")
        assert (await run.result()).shops == 1
        (child,) = (await run.describe()).children
    assert child.started_at >= closing


async def test_a_night_without_regions(autojump_clock: MockClock) -> None:
    """Nothing to count is a report, too."""
    outcome = await outcome_of(night({}))
    assert (outcome.output.shops, outcome.output.regions, outcome.output.missing) == (0, [], [])


async def test_a_region_runs_by_itself(autojump_clock: MockClock) -> None:
    """The child is an ordinary workflow: started alone, it has no root to report its progress to."""
    task = nightly_report.Task(nightly_report.Region("south", ["a", "b"]), DAY)
    async with open_runtime([nightly_report.RegionCount]) as runtime:
        report = await runtime.run(nightly_report.RegionCount, task)
    assert report == nightly_report.RegionReport("south", 2, cents_of(["a", "b"]))


def test_the_command_of_the_example(tmp_path: Path) -> None:
    """The command at the head of the file runs the sample."""
    arguments = ["--run-id", "monday", "--input", f"@{EXAMPLES / 'regions.json'}"]
    done = actorflow("run", f"{EXAMPLES / 'nightly_report.py'}:nightly", *arguments, cwd=tmp_path)
    assert done.code == 0, done.err
    assert (done.document["output"]["shops"], done.document["output"]["missing"]) == (7, ["flooded-coast"])

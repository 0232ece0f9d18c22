"""`python -m stress soak`: it goes round, it samples, and it would notice what stays behind."""

from __future__ import annotations

import argparse
import json
import random
from pathlib import Path

import pytest
from attrs import evolve

from actorflow import RunOutcome, RunStatus, open_runtime
from stress.report import Verdict
from stress.report.live import Live
from stress.soak import campaign as campaigns
from stress.soak import command
from stress.soak.campaign import Settings, campaign
from stress.soak.rounds import WORKFLOWS, do_round, judge_busy
from stress.soak.samples import SAMPLES_LEAST, Sample, back_to_base, journal_rows, memory_growth, series, take


def soak(*argv: str) -> int:
    """The subcommand on these arguments, as `python -m stress soak` runs it."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return command.run(parser.parse_args(argv))


@pytest.mark.parametrize("journal", ["memory:", "sqlite"])
def test_a_short_soak_leaves_nothing_behind(journal: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a second: rounds are done, everything but memory is judged, and all is back to base."""
    monkeypatch.setattr(campaigns, "_scenarios", list)
    path = tmp_path / "soak.json"
    code = soak("--time", "1", "--seed", "11", "--journal", journal, "--json", str(path))
    found = json.loads(path.read_text(encoding="utf-8"))
    # On SQLite memory is judged, too; a second is too short for that, so it may miss its threshold.
    assert code == 0 or (journal == "sqlite" and code == 3), found["reason"]
    assert found["totals"]["runs"] > found["totals"]["rounds"] > 0
    assert {one["name"] for one in found["series"]} >= {"memory", "tasks", "threads"}
    assert ("journal rows of finished runs" in {one["name"] for one in found["series"]}) == (journal == "sqlite")
    assert all(one["checked"] and not one["violated"] for one in found["invariants"].values())


@pytest.mark.rule("B12", "C1", "D1")
async def test_a_round_ends_in_every_way(journal: str, autojump_clock: object) -> None:
    """Completed over retries, children, a timer, an event and an answer; cancelled; failed: and nothing is left."""
    async with open_runtime(WORKFLOWS, journal=journal) as runtime:
        for seed in range(3):
            done = await do_round(runtime, random.Random(seed))
            assert done.findings == []
            statuses = {one.status for one in await runtime.list_runs()}
            assert statuses == {RunStatus.COMPLETED, RunStatus.CANCELLED, RunStatus.FAILED}
        assert take(runtime, journal, 0.0).live == 0
        assert journal_rows(journal) == (None if journal == "memory:" else 0)


GOOD = {"items": [1, 0], "counter": 2, "late": True, "told": "r", "answer": "because"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"items": [0]}, "the items of 2 branches are [0]"),
        ({"items": [0, 1, 1]}, "the items of 2 branches are [0, 1, 1]"),
        ({"items": None}, "the items of 2 branches are None"),
        ({"counter": 3}, "'counter' is 3 and should be 2"),
        ({"late": None}, "'late' is None and should be True"),
        ({"answer": "no"}, "'answer' is 'no' and should be 'because'"),
    ],
)
def test_a_wrong_end_is_noticed(changes: dict[str, object], told: str) -> None:
    """Lost and doubled items, a wrong sum, a timer that did not fire, another answer."""
    assert list(judge_busy(RunOutcome(run_id="r", status=RunStatus.COMPLETED, state=GOOD), 2)) == []
    outcome = RunOutcome(run_id="r", status=RunStatus.COMPLETED, state={**GOOD, **changes})
    assert list(judge_busy(outcome, 2)) == [told]
    failed = RunOutcome(run_id="r", status=RunStatus.FAILED)
    assert list(judge_busy(failed, 2)) == ["it should be completed, and is failed: None"]


BASE = Sample(at_s=0, memory_bytes=50 << 20, tasks=5, idle_workers=9, threads=2, open_files=9, journal_rows=0, live=0)
STILL = [evolve(BASE, at_s=float(at_s)) for at_s in range(100)]


def grown(**per_step: int) -> list[Sample]:
    """Samples in which something grows a little with each."""
    return [
        evolve(one, **{name: getattr(one, name) + step * place for name, step in per_step.items()})
        for place, one in enumerate(STILL)
    ]


def test_what_stands_still_is_fine() -> None:
    """No growth, no findings; a worker thread more, or more idle branch workers, are no leak."""
    assert back_to_base(STILL)[1] == []
    assert memory_growth(STILL).is_met
    later = [evolve(one, threads=3, idle_workers=900) if one.at_s > 50 else one for one in STILL]
    assert back_to_base(later)[1] == []
    assert [one.name for one in series(STILL)][:2] == ["memory", "tasks"]


@pytest.mark.parametrize("name", ["tasks", "threads", "open_files", "journal_rows", "live"])
def test_what_grows_is_a_violation(name: str) -> None:
    """One more with each round is found, whatever it is, and told with the moment."""
    invariants, sentences = back_to_base(grown(**{name: 1}))
    assert [one.violated > 0 for one in invariants].count(True) == 1
    assert len(sentences) == 1
    assert "after 99 s" in sentences[0]


def test_what_must_be_zero_is_judged_from_the_beginning() -> None:
    """A row of a finished run in the very first sample is no base to compare with."""
    assert len(back_to_base([evolve(one, journal_rows=1) for one in STILL])[1]) == 1


def test_what_nobody_tells_is_not_judged() -> None:
    """Without /proc and with the journal in memory the others are judged all the same."""
    bare = [evolve(one, open_files=None, journal_rows=None) for one in STILL]
    assert len(back_to_base(bare)[0]) == 3
    assert {"open files", "journal rows of finished runs"} & {one.name for one in series(bare)} == set()


@pytest.mark.parametrize(("step", "is_met"), [(10_000, True), (60_000, False)])
def test_memory_may_grow_by_five_percent(step: int, is_met: bool) -> None:
    """Slow growth that stays below is met, faster growth is missed; what happens while warming up does not count."""
    assert memory_growth(grown(memory_bytes=step)).is_met is is_met
    warming = [evolve(one, memory_bytes=10 << 20) if one.at_s < 29 else one for one in STILL]
    assert memory_growth(warming).is_met


def test_too_few_samples_are_no_measurement() -> None:
    """A soak that was too short says so."""
    found = memory_growth(STILL[:SAMPLES_LEAST])
    assert not found.is_met
    assert "not measured" in found.shown


@pytest.mark.parametrize(
    ("error", "verdict", "told"),
    [
        (RuntimeError("no more disk"), Verdict.ERROR, "after 0 rounds: RuntimeError: no more disk"),
        (KeyboardInterrupt(), Verdict.INTERRUPTED, "stopped before its end"),
    ],
)
def test_an_error_is_reported_and_not_raised(
    error: BaseException, verdict: Verdict, told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong in a round, and Ctrl-C, end the soak with a report of what there is."""

    async def broken(*given: object) -> None:
        raise error

    monkeypatch.setattr(campaigns, "do_round", broken)
    monkeypatch.setattr(campaigns, "_scenarios", list)
    report = campaign(Settings(seconds=5, journal="memory:", seed=1), Live())
    assert report.verdict is verdict
    assert told in report.reason


async def test_a_scenario_that_fails_is_a_failure_with_its_seed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """Scenarios are chosen by the seed, so that the seed alone repeats the failure."""
    asked: list[tuple[str, int]] = []

    async def scenario(name: str, seed: int, *given: object) -> list[str]:
        asked.append((name, seed))
        return ["an item is gone"]

    monkeypatch.setattr(campaigns, "_scenario", scenario)
    settings, tally = Settings(seconds=1, journal="memory:", seed=4), campaigns.Tally()
    async with open_runtime(WORKFLOWS) as runtime:
        for _ in range(3):
            await campaigns._round(runtime, settings, tmp_path, ["a", "b"], tally)
    assert asked == [("a", 4), ("b", 5), ("a", 6)]
    assert next((one.seed, one.sentence) for one in tally.failures) == (4, "a: an item is gone")
    assert (tally.rounds, tally.bad_rounds) == (3, 3)

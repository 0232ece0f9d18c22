"""The scenarios that come along: right programs on a right kernel, so no oracle has anything to say."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from actorflow import JournalError, RuntimeClosed
from actorflow.abc import Journal
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, FaultyJournal
from stress.driving import drive
from stress.oracles import Finding
from stress.recording import Record
from stress.scenario import Scenario, Size, UnknownScenario, find, names
from stress.scenarios import SCENARIOS

SEEDS = 30
HANG_S = 1e6
FILES = 3
SMALL = Size(branches=4, ops=4)
MODEST = Size(branches=12, ops=6)
LARGE = Size(branches=200, ops=4)


def planned(name: str, seed: int, size: Size = SMALL) -> tuple[Scenario, object]:
    """A scenario and its plan of a seed, as it comes out of a file."""
    scenario = find(name)
    return scenario, json.loads(json.dumps(scenario.plan(random.Random(f"{name} {seed}"), size)))


def driven(
    name: str, seed: int, journal: str | Journal = "memory:", size: Size = SMALL
) -> tuple[list[Finding], Record]:
    """What is found when the plan of a seed runs."""
    scenario, plan = planned(name, seed, size)
    record = Record()
    run = partial(drive, scenario, plan, record, journal=journal)
    return trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0)), record


def shown(findings: list[Finding]) -> str:
    """Findings as text; nothing if there are none."""
    return "\n".join(map(str, findings))


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_finds_nothing_in_memory(name: str) -> None:
    """Thirty plans run, everything is recorded, and no check and no oracle complains."""
    operations = 0
    for seed in range(SEEDS):
        findings, record = driven(name, seed)
        assert shown(findings) == "", f"seed {seed}"
        operations += record.operations
    assert operations > SEEDS


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_finds_nothing_in_a_file(name: str, tmp_path: Path) -> None:
    """The same on SQLite: what is in the file afterwards is what the handles told."""
    for seed in range(FILES):
        findings, record = driven(name, seed, f"sqlite:{tmp_path / f'{seed}.db'}")
        assert shown(findings) == "", f"seed {seed}"
        assert record.facts


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_what_has_to_happen_does_happen(name: str) -> None:
    """Everything that a scenario lists as happening sometimes happens in a few plans, and nothing else is counted."""
    scenario = find(name)
    happened: Counter[str] = Counter()
    for seed in range(100, 200):
        _, record = driven(name, seed, MemoryJournal(durable=True), size=MODEST if seed % 2 else SMALL)
        assert set(record.happened) == set(scenario.sometimes)
        happened.update(record.happened)
        if all(happened[one] for one in scenario.sometimes):
            break
    assert {one: happened[one] for one in scenario.sometimes if not happened[one]} == {}


@pytest.mark.parametrize("name", sorted(name for name in SCENARIOS if SCENARIOS[name].for_load))
def test_plans_grow(name: str) -> None:
    """A scenario for load makes plans of hundreds of branches, and they are right, too."""
    findings, record = driven(name, 1, size=LARGE)
    assert shown(findings) == ""
    assert record.operations >= LARGE.branches // 2


@pytest.mark.rule("F4", "C3")
@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_scenario_goes_on_after_a_crash(name: str) -> None:
    """A plan whose process dies in a write is driven once more on what is left, with the same record."""
    crashed = 0
    for seed, write in ((1, 3), (2, 6), (3, 9)):
        scenario, plan = planned(name, seed)
        record = Record(faulty=True)
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {write: Crash(written=bool(write % 2))})

        async def lives(scenario=scenario, plan=plan, record=record, journal=journal, disk=disk) -> list[Finding]:
            with trio.fail_after(HANG_S):
                try:
                    return await drive(scenario, plan, record, journal=journal)
                except (JournalError, RuntimeClosed, BaseExceptionGroup):
                    return await drive(scenario, plan, record, journal=disk)

        findings = trio.run(lives, clock=trio.testing.MockClock(autojump_threshold=0))
        crashed += journal.crashed
        assert shown(findings) == "", f"seed {seed}"
    assert crashed


@pytest.mark.rule("F4", "G")
def test_a_scenario_may_leave_its_block_in_the_middle() -> None:
    """On a journal that lasts the runtime is closed as often as the plan says, and what was cut off goes on."""
    cut_off = 0
    for seed in range(20):
        findings, record = driven("closing", seed, MemoryJournal(durable=True))
        assert shown(findings) == "", f"seed {seed}"
        assert record.closed == len(record.plan["blocks"]) > 0
        cut_off += record.happened["a step ran again"]
        assert driven("closing", seed)[1].closed == 0
    assert cut_off


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_a_plan_is_json_and_comes_from_its_seed(name: str) -> None:
    """A plan survives being written and read, is the same for the same seed, and others are different."""
    scenario, plan = planned(name, 7)
    assert json.loads(json.dumps(scenario.plan(random.Random(f"{name} 7"), SMALL))) == plan
    assert len({json.dumps(planned(name, seed)[1]) for seed in range(20)}) > 10


@pytest.mark.parametrize("name", sorted(SCENARIOS))
def test_any_element_of_a_plan_may_be_left_out(name: str) -> None:
    """What is left of a plan without some element of some list is a plan still: that is how plans are shrunk."""
    scenario, plan = planned(name, 3)
    for smaller in without_one(plan):
        record = Record()
        run = partial(drive, scenario, smaller, record)
        findings = trio.run(run, clock=trio.testing.MockClock(autojump_threshold=0))
        assert shown(findings) == "", smaller


def without_one(plan: object) -> list[object]:
    """The plan without the first element of each of its lists of records, one at a time; at most a dozen of them."""
    found: list[object] = []

    def walk(value: object, rebuild) -> None:
        if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
            found.append(rebuild(value[1:]))
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for place, one in items:
            walk(one, lambda new, place=place, value=value: rebuild(replaced(value, place, new)))

    walk(plan, lambda new: new)
    return found[:12]


def replaced(value: object, place: object, new: object) -> object:
    """A list or an object with another value in one place."""
    copied = dict(value) if isinstance(value, dict) else list(value)
    copied[place] = new
    return copied


def test_scenarios_are_found_by_name() -> None:
    """The names are those of the list, and one that is not there is told together with those that are."""
    assert set(names()) >= set(SCENARIOS)
    assert isinstance(find("aggregate"), SCENARIOS["aggregate"])
    with pytest.raises(UnknownScenario, match="aggregate"):
        find("no such thing")

"""`python -m stress bench`: it measures, it reports, and it notices a wrong answer. No figure is asserted on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from actorflow import Context, open_runtime, step, workflow
from stress.__main__ import main
from stress.bench import asleep, child_runs, graphs, observers, plan, report, suspended
from stress.bench.figures import Figure, Settings, WrongAnswer, ratio
from stress.bench.pushes import ITEM_BYTES, item
from stress.bench.question import FanOut, ask, baseline, check, check_items


def test_a_quick_run_reports_every_figure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """P1 and P4 are measured, shown beside their goals, and written as JSON with what they were measured on."""
    path = tmp_path / "figures.json"
    assert main(["bench", "--quick", "--json", str(path), "p4", "P1"]) == 0
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["schema"], found["quick"]) == (1, True)
    assert set(found["versions"]) == {"actorflow", "trio", "python", "sqlite", "platform"}
    assert [one["id"] for one in found["figures"]] == ["P1", "P1", "P1", "P4", "P4"]
    assert all(one["value"] > 0 and one["samples"] for one in found["figures"])
    shown = capsys.readouterr().out
    assert all(f"{one['value']:.2f}" in shown or one["value"] < 0.1 for one in found["figures"])
    assert "goals met" in shown


def fake(*figures: Figure) -> dict[str, plan.Group]:
    """A table with one group of given figures."""

    def measure(settings: Settings) -> Iterator[Figure]:
        yield from figures

    return {"P1": measure}


@pytest.mark.parametrize(("value", "options", "code"), [(1.0, ["--enforce"], 0), (1.1, ["--enforce"], 3), (1.1, [], 0)])
def test_only_enforce_makes_a_missed_goal_an_exit_code(
    value: float, options: list[str], code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A goal that is just met is met; a missed one is told, and exits with 3 where that was asked for."""
    monkeypatch.setattr("stress.bench.command.GROUPS", fake(Figure(id="P1", what="a", value=value, goal=1.0)))
    assert main(["bench", *options]) == code


def test_a_wrong_answer_is_told_and_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """If a measured run loses something, its figure is not shown, and the exit code is 1, enforced or not."""

    def measure(settings: Settings) -> Iterator[Figure]:
        raise WrongAnswer("3 of 10 items are lost")
        yield

    right = fake(Figure(id="P2", what="the other one", value=2.0, goal=1.0))["P1"]
    monkeypatch.setattr("stress.bench.command.GROUPS", {"P1": measure, "P2": right})
    assert main(["bench", "--enforce"]) == 1
    found = capsys.readouterr()
    assert "P1: WRONG ANSWER: 3 of 10 items are lost" in found.err
    assert "the other one" in found.out
    assert "0 of 1 goals met" in found.out


@pytest.mark.parametrize(
    ("state", "complaint"),
    [
        ({"counter": 2, "items": [{"id": 0}, {"id": 1}, {"id": 2}]}, "the counter is 2"),
        ({"counter": 3, "items": [{"id": 0}, {"id": 1}]}, "1 of 3 items are lost, and 0 too many"),
        ({"counter": 3, "items": [{"id": 0}, {"id": 1}, {"id": 1}]}, "1 of 3 items are lost, and 1 too many"),
        (
            {"counter": 3, "items": [{"id": 0}, {"id": 1}, {"id": 2}, {"id": 2}]},
            "0 of 3 items are lost, and 1 too many",
        ),
    ],
)
def test_the_check_sees_what_is_lost_and_doubled(state: dict[str, object], complaint: str) -> None:
    """The answer of the common question is compared item by item."""
    with pytest.raises(WrongAnswer, match=complaint):
        check(state, 3)


async def test_the_question_and_its_baseline_give_the_same_answer(journal: str) -> None:
    """Both go through the same check, and a workflow that forgets a branch does not pass it."""

    class Forgetful(FanOut):
        async def branch(self, data: int, ctx: Context[object]) -> None:
            if data != 7:
                await super().branch(data, ctx)

    assert await baseline(20) > 0
    assert await ask(FanOut, journal, 20) > 0
    async with open_runtime([Forgetful]) as runtime:
        outcome = await (await runtime.start(Forgetful, 20)).wait()
    with pytest.raises(WrongAnswer, match="the counter is 19"):
        check(outcome.state, 20)
    with pytest.raises(WrongAnswer, match="1 of 20 items"):
        check_items(outcome.state["items"], 20)


def test_a_ratio_is_the_median_of_pairs() -> None:
    """Times that were taken together are divided by each other, whatever the machine did between two pairs."""
    found = ratio("P1", "a", [1.0, 20.0, 9.0], [1.0, 10.0, 1.0], goal=2.0)
    assert (found.samples, found.value, found.is_met) == ((1.0, 2.0, 9.0), 2.0, True)


def test_the_table_needs_no_rich(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without rich the same cells come as plain lines."""
    monkeypatch.setattr("stress.bench.report.find_spec", lambda name: None)
    figures = [Figure(id="P1", what="one thing", value=0.5, goal=1.0), Figure(id="P2", what="b", value=2.0, goal=1.0)]
    report.show(figures, {"trio": "1"})
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["P1", "one", "thing", "0.50", "≤", "1.00", "met"]
    assert "MISSED" in lines[2]
    assert lines[3] == "trio 1"


@pytest.mark.parametrize("number", [0, 9, 10, 9_999])
def test_an_item_has_the_announced_size(number: int) -> None:
    """The payload that P5 divides by is what the items hold."""
    assert len(json.dumps(item(number), separators=(",", ":"))) == ITEM_BYTES


def test_there_is_a_group_for_every_published_goal() -> None:
    """P1 to P12, in that order."""
    assert list(plan.GROUPS) == [f"P{number}" for number in range(1, 13)]


async def test_child_runs_are_timed_for_a_full_and_for_an_empty_parent(journal: str) -> None:
    """P6: one figure for each of the two parents, whose children saw what they should."""
    found = await child_runs.start_children(journal, 2 * child_runs.SLICE)
    assert sorted(found) == [0, 2 * child_runs.SLICE]
    assert min(found.values()) > 0


async def test_a_foreach_that_gives_something_else_is_a_wrong_answer(journal: str) -> None:
    """P7: the output is compared, element by element."""

    @step
    async def forgets(data: int, ctx: Context[object]) -> int:
        return 0 if data == 7 else 2 * data

    right = workflow("doubling").foreach(graphs.double, concurrency=None).commit()
    wrong = workflow("forgetting").foreach(forgets).commit()
    assert await graphs.run_foreach(right, journal, 20, 2) > 0
    with pytest.raises(WrongAnswer, match="foreach of 20 elements"):
        await graphs.run_foreach(wrong, journal, 20, 1)


async def test_outputs_of_a_chain_are_weighed(sqlite_url: str) -> None:
    """P5: what a journal takes is at least what was put in."""
    while_open, closed = await graphs.chain_and_weigh(sqlite_url)
    assert min(while_open, closed) > graphs.STEPS * graphs.OUTPUT_BYTES


async def test_suspended_runs_are_weighed_and_all_resumed(tmp_path: Path) -> None:
    """P8: the runs that one runtime leaves suspended are found, resumed and completed by the next."""
    many, few = (f"sqlite:{tmp_path / name}.db" for name in ("many", "few"))
    weight = await asleep.weigh(10, 30, many)
    await asleep.weigh(suspended.FEW, suspended.FEW, few)
    assert min(weight.few_bytes, weight.few_blocks, weight.many_bytes, weight.many_blocks, weight.seconds) > 0
    times = await suspended.resume(many, few, 30, 2, 5)
    assert [len(times.open_many), len(times.resume_many), len(times.resume_few)] == [2, 5, 5]
    async with open_runtime([asleep.Asking], journal=many) as runtime:
        runs = await runtime.list_runs()
    assert [run.status.value for run in runs] == ["completed"] * 30


async def test_a_suspended_run_that_is_lost_is_a_wrong_answer(tmp_path: Path) -> None:
    """P8: a journal with fewer runs than there should be gives no figure."""
    many, few = (f"sqlite:{tmp_path / name}.db" for name in ("many", "few"))
    await asleep.weigh(10, 29, many)
    await asleep.weigh(suspended.FEW, suspended.FEW, few)
    with pytest.raises(WrongAnswer, match="29 of 30 suspended runs"):
        await suspended.resume(many, few, 30, 1, 5)


@pytest.mark.parametrize("how", ["", *observers.GOALS])
async def test_every_observer_hears_the_whole_run(journal: str, how: str) -> None:
    """P12: the stream ends with the last fact, the instrument has heard of each step; `WrongAnswer` otherwise."""
    assert await observers.observe(journal, 50, how) > 0

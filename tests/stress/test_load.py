"""`python -m stress load`: rows in processes of their own, every reply accounted for. No figure is asserted on."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actorflow import Context, Workflow
from stress.child import environment
from stress.load import campaign as campaigns
from stress.load import command
from stress.load.account import Account, Judgement, judge
from stress.load.campaign import RowFailed, RowHangs, Settings, apart, campaign
from stress.load.expectation import Expectation, expectation
from stress.load.job import Answer, Finding, Job, answer_from_json
from stress.load.opinion import NAME, second_opinion
from stress.load.scenarios import measure_scenario, size_of
from stress.load.workload import WORKLOADS, measure
from stress.recording import Record, record_of
from stress.report import Histogram, Invariant, LoadRow, Verdict
from stress.report.live import Live
from stress.scenario import Scenario, Size


def load(*argv: str) -> int:
    """The subcommand on these arguments, as `python -m stress load` runs it."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    try:
        options = parser.parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    return command.run(options)


def test_help_needs_no_trio() -> None:
    """The options of load and soak are there without the library that they will use."""
    code = "import sys, stress.load.command, stress.soak.command; sys.exit('trio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=environment(), check=False).returncode == 0


def test_rows_are_measured_checked_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two rows in their own processes: all pushes are accounted for, JSON and page are written, thresholds judged."""
    files = tmp_path / "load.json", tmp_path / "load.html"
    expected = ["--expect", "max<1000s", "--expect", "peak<64GiB"]
    argv = ["--branches", "3,200", "--total", "2000", "--seed", "5", "--json", str(files[0]), "--html", str(files[1])]
    assert load(*argv, *expected) == 0
    assert capsys.readouterr().out.startswith("OK  load pushes")
    found = json.loads(files[0].read_text(encoding="utf-8"))
    assert [(row["branches"], row["operations"]) for row in found["rows"]] == [(3, 2000), (200, 2000)]
    assert all(row["ops_per_s"] > 0 and row["peak_bytes"] > 1 << 20 for row in found["rows"])
    assert all(row["latency"]["count"] == 2000 for row in found["rows"])
    assert (found["rows"][0]["bytes_per_branch"], found["rows"][1]["bytes_per_branch"] > 0) == (None, True)
    assert found["invariants"]["no push lost, doubled or invented"]["checked"] == 4000
    assert found["invariants"][NAME]["checked"] == 4002
    assert all(one["met"] for one in found["thresholds"])
    assert "Operations per second by number of branches" in files[1].read_text(encoding="utf-8")


def test_a_missed_threshold_is_exit_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    """Nobody pushes in no time: 3, and the report says what was expected."""
    assert load("--branches", "2", "--total", "50", "--expect", "min<1ns") == 3
    assert capsys.readouterr().out.startswith("THRESHOLD MISSED  load pushes: min<1ns was expected")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["nonsense"], "there is no load 'nonsense'; there are pushes, increments"),
        (["--expect", "p99 is low"], "'p99 is low' is not METRIC<VALUE"),
        (["--expect", "p99<20"], "'p99<20' has no unit; of p99 it is one of ns, us"),
        (["--expect", "p99<20MiB"], "has the unit 'MiB'"),
        (["--expect", "median<2ms"], "asks for 'median', which is not measured"),
        (["--expect", "p0<2ms"], "asks for 'p0'"),
        (["--branches", "10", "--expect", "ops/s@100>1"], "there is no row with 100 branches, but 10"),
        (["--branches", "10", "--expect", "scaling>1"], "scaling needs a row with fewer branches"),
        (["--branches", "10", "--expect", "bytes/branch<1KiB"], "measured with 100 branches or more"),
        (["--branches", "10,none"], "whole number"),
        (["--journal", "postgres"], "names no journal"),
        (["--rate", "0"], "whole number"),
    ],
)
def test_a_mistake_is_told_before_anything_is_measured(
    argv: list[str], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit code 2, with the offending text in the message."""
    assert load(*argv) == 2
    assert told in capsys.readouterr().err


ROWS = [
    LoadRow(branches=branches, operations=1_000, seconds=seconds, latency=Histogram(), bytes_per_branch=size)
    for branches, seconds, size in ((10, 0.1, None), (100, 0.05, 4_000), (1_000, 0.2, 5_000))
]
for row in ROWS:
    row.latency.add(row.branches / 1_000)


@pytest.mark.parametrize(
    ("text", "is_met", "shown"),
    [
        ("ops/s>=5000", True, "5,000 at 1,000 branches"),
        ("ops/s>5k", False, "5,000 at 1,000 branches"),
        ("ops/s@100>0.02M", False, "20,000 at 100 branches"),
        ("ops/s @ 100 >= 20_000", True, "20,000 at 100 branches"),
        ("scaling>49%", True, "50% at 1,000 branches"),
        ("scaling@100>0.3", False, "25% at 1,000 branches"),
        ("p99<=1s", True, "1 s at 1,000 branches"),
        ("p99.9@10<9ms", False, "10 ms at 10 branches"),
        ("mean<1000.5ms", True, "1 s at 1,000 branches"),
        ("min>0.02s", False, "10 ms at 10 branches"),
        ("bytes/branch<4.9KiB", True, "4.9 KiB at 1,000 branches"),
        ("bytes/branch<5kB", False, "4.9 KiB at 1,000 branches"),
        ("bytes/branch@10<5kB", False, "not measured"),
    ],
)
def test_the_worst_row_decides(text: str, is_met: bool, shown: str) -> None:
    """Units, rows picked by their branches, and the row that is told."""
    found = expectation(text).judge(ROWS)
    assert (found.text, found.is_met, found.shown) == (text, is_met, shown)


def test_without_rows_nothing_is_met() -> None:
    """What could not be measured was not as expected."""
    assert not expectation("ops/s>0").judge([]).is_met
    assert isinstance(expectation(" p50<1s "), Expectation)


def told(phase: str, done: int, branches: int) -> None:
    """Nobody looks."""


@pytest.mark.parametrize("rate", [None, 1e6])
@pytest.mark.parametrize("workload", sorted(WORKLOADS))
@pytest.mark.rule("A2", "B7")
async def test_every_reply_is_accounted_for(
    workload: str, rate: float | None, journal: str, autojump_clock: object
) -> None:
    """Closed and open loop, a total that the branches cannot share equally: exact account and test kit agree."""
    answer = await measure(Job(workload=workload, branches=7, total=100, journal=journal, rate=rate), told)
    assert (answer.operations, answer.latency.total, answer.findings) == (100, 100, ())
    checked = {one.name: one.checked for one in answer.invariants}
    assert checked["replies are 1 to N, each once"] == 100
    assert checked[NAME] == 101
    assert not any(one.violated or one.undecided for one in answer.invariants)
    assert answer_from_json(json.loads(json.dumps(answer.as_json()))).as_json() == answer.as_json()


def honest(branches: int = 3, total: int = 8) -> tuple[Account, dict[str, object]]:
    """An account of branches that push in turn, and the final state that goes with it."""
    account = Account(branches, total)
    for number in range(total):
        account.settle(number, number + 1, account.begin())
    return account, {"items": [account.label(number) for number in range(total)], "done": total}


def judged(account: Account, state: object) -> list[str]:
    """All sentences, those of the second opinion included."""
    judgement = Judgement()
    judge(account, state, judgement)
    second_opinion(account, state, judgement)
    return [one.sentence for one in judgement.findings]


def test_an_honest_account_passes() -> None:
    """Nothing is found where nothing is wrong, in lists and in counters."""
    account, state = honest()
    assert [account.count_of(branch) for branch in range(3)] == [3, 3, 2]
    assert judged(account, state) == []
    assert judged(account, {"counter": 8, "done": 8}) == []


def items(change: Callable[[list[str]], object]) -> list[str]:
    """What is found if the list at the end is changed."""
    account, state = honest()
    values = list(state["items"])  # type: ignore[call-overload]  # the list of strings that honest gives
    change(values)
    return judged(account, {**state, "items": values})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda values: values.pop(), "the push of operation 2 of branch 1 is lost"),
        (lambda values: values.append("0.0"), "the push of operation 0 of branch 0 is in the list twice"),
        (lambda values: values.append("9.9"), "'9.9' is in the list, and nobody pushed it"),
        (lambda values: values.append(None), "None is in the list, and nobody pushed it"),
        (lambda values: values.insert(0, values.pop(3)), "operation 0 of branch 0 comes after its operation 1"),
        (lambda values: values.insert(0, values.pop(1)), "operation 0 of branch 1 was told place 2, where 0.0 is"),
    ],
)
def test_the_account_sees_what_is_wrong_with_the_list(change: Callable[[list[str]], object], sentence: str) -> None:
    """Lost, doubled, invented, out of the branch's order, elsewhere than its reply said."""
    assert sentence in items(change)


def test_the_account_sees_wrong_replies() -> None:
    """A place told twice, one that is none, one that nobody was told, and a sum that does not come out."""
    account, state = Account(2, 3), {"counter": 3, "done": 2}
    for number, place in ((0, 1), (1, 1), (2, 4)):
        account.settle(number, place, account.begin())
    found = judged(account, state)
    assert "operation 0 of branch 1 was told 1, which operation 0 of branch 0 had been told already" in found
    assert "operation 1 of branch 0 was told 4, which is no place of 3" in found
    assert "'done' is 2 at the end, and 3 were added" in found
    silent = Account(2, 2)
    silent.settle(0, 1, silent.begin())
    assert "1 of 2 places were told to nobody" in judged(silent, {"counter": 2, "done": 2})
    assert any("the list of all pushes is 'x'" in one for one in judged(silent, {"items": "x", "done": 2}))


def test_the_account_sees_time_run_backwards() -> None:
    """An operation that was over before another began, and comes after it: both opinions say so."""
    account = Account(2, 2)
    account.settle(0, 2, account.begin())
    account.settle(1, 1, account.begin())
    found = judged(account, {"items": ["1.0", "0.0"], "done": 2})
    assert found[0] == (
        "operation 0 of branch 0 was over before operation 0 of branch 1 began, and comes after it all the same"
    )
    assert len(found) == 2


def settings(*branches: int, journal: str = "memory:") -> Settings:
    """A small campaign."""
    return Settings(workload="pushes", branches=branches, total=100, journal=journal, seed=3)


def answered(*findings: Finding) -> Callable[[Job, Live], Answer]:
    """A process that measures nothing and finds this."""

    def process(job: Job, live: Live) -> Answer:
        return Answer(
            operations=job.total,
            seconds=1.0,
            latency=Histogram(),
            peak_bytes=1,
            invariants=(Invariant(name="I2", checked=5, violated=len(findings)),),
            findings=findings,
            sometimes={"mailbox full": 1},
        )

    return process


def raising(error: BaseException) -> Callable[[Job, Live], Answer]:
    """A process that ends like this at 20 branches."""

    def process(job: Job, live: Live) -> Answer:
        if job.branches == 20:
            raise error
        return answered()(job, live)

    return process


@pytest.mark.parametrize(
    ("process", "verdict", "rows", "told"),
    [
        (answered(), Verdict.OK, 3, "every invariant held, in 15 checks"),
        (answered(Finding("one push is lost", "0 |push|")), Verdict.VIOLATED, 3, "one push is lost"),
        (raising(RowFailed("killed")), Verdict.ERROR, 2, "with 20 branches: killed"),
        (raising(RowHangs("3 done")), Verdict.VIOLATED, 2, "with 20 branches nothing moved for 60 s: 3 done"),
        (raising(KeyboardInterrupt()), Verdict.INTERRUPTED, 1, "stopped before its end"),
    ],
)
def test_a_campaign_tells_what_came_of_its_rows(
    process: Callable[[Job, Live], Answer],
    verdict: Verdict,
    rows: int,
    told: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A row that fails or hangs does not keep the others from being measured; Ctrl-C keeps what there is."""
    monkeypatch.setattr(campaigns, "apart", process)
    report = campaign(settings(10, 20, 30), Live())
    assert (report.verdict, len(report.rows)) == (verdict, rows)
    assert told in report.reason
    assert all("--branches" in one.command and "--seed 3" in one.command for one in report.failures)


def test_a_process_without_an_answer_is_told_with_its_last_words() -> None:
    """A row on a journal that cannot be opened fails with the text of its error."""
    with pytest.raises(RowFailed, match="JournalError"):
        apart(Job(workload="pushes", branches=2, total=10, journal="sqlite:/nowhere/at/all.db"), Live())


def test_a_process_that_stands_still_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without progress for too long, the process is killed, and that is a violation."""
    monkeypatch.setattr(campaigns, "STALL_S", 0.1)
    job = Job(workload="pushes", branches=1, total=100, rate=1)
    with pytest.raises(RowHangs, match="of 100 operations were done"):
        apart(job, Live())


class Doing(Workflow):
    """What the scenario below runs."""

    id = "doing"

    async def start(self, data: int, ctx: Context[object]) -> None:
        await ctx.schedule_many("branch", range(data))

    async def branch(self, data: int, ctx: Context[object]) -> None:
        await record_of(ctx).store(ctx).push("items", data)


class Small(Scenario):
    """One push of each branch; its check can be told to fail."""

    name = "small"
    summary = "pushes"
    workflows = (Doing,)
    sometimes = ("never",)
    wrong: list[str] = []  # noqa: RUF012 - the test sets what its check says

    def plan(self, chance: random.Random, size: Size) -> object:
        return {"branches": size.branches}

    async def run(self, runtime: object, plan: object, record: Record) -> None:
        run = await runtime.start(Doing, plan["branches"], run_id=record.adopt("small"))  # type: ignore[attr-defined, index]  # what the driver gives
        record.keep("small", await run.wait())

    def check(self, plan: object, record: Record) -> list[str]:
        return self.wrong


async def test_any_scenario_is_driven_until_it_has_done_enough(
    journal: str, monkeypatch: pytest.MonkeyPatch, autojump_clock: object
) -> None:
    """Plan after plan on an empty journal each, all judged, its calls timed."""
    monkeypatch.setattr("stress.load.scenarios.find", lambda name: Small())
    answer = await measure_scenario(Job(workload="small", branches=4, total=10, journal=journal), told)
    assert (answer.operations, answer.latency.total, answer.details["plans"]) == (12, 12, 3)
    assert (answer.findings, answer.sometimes) == ((), {"never": 0})
    assert {one.checked for one in answer.invariants} == {3}
    assert not list(Path(journal.partition(":")[2] or "nowhere").parent.glob("runs.db-*"))


async def test_what_a_scenario_finds_ends_its_row(monkeypatch: pytest.MonkeyPatch, autojump_clock: object) -> None:
    """The first plan that is not as it should be is the last, and is named by its seed."""
    monkeypatch.setattr("stress.load.scenarios.find", lambda name: Small())
    monkeypatch.setattr(Small, "wrong", ["an item is gone"])
    answer = await measure_scenario(Job(workload="small", branches=4, total=100, seed=6), told)
    assert [one.sentence for one in answer.findings] == ["an item is gone (plan of seed 6)"]
    assert answer.details["plans"] == 1


def test_plans_grow_with_the_branches_and_stay_checkable() -> None:
    """Few branches do many operations each, ten thousand do two, and never less than one."""
    sizes = [size_of(Job(workload="x", branches=branches, total=10**6)) for branches in (10, 1_000, 10_000, 50_000)]
    assert [(one.branches, one.ops) for one in sizes] == [(10, 50), (1_000, 20), (10_000, 2), (50_000, 1)]


def test_an_interrupted_row_ends_its_process() -> None:
    """Ctrl-C reaches the tool only; the process of the row ignores it, and is ended by the tool."""

    class Interrupting(Live):
        def show(self, text: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)

    live = Interrupting()
    report = campaign(
        Settings(workload="pushes", branches=[2], total=10**6, journal="memory:", rate=10.0, seed=1), live
    )
    assert report.verdict is Verdict.INTERRUPTED

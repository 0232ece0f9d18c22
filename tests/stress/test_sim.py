"""`run`, `replay` and `explore`: campaigns over seeds, one schedule again, all schedules of small plans."""

from __future__ import annotations

import json
import subprocess
import sys
from argparse import ArgumentParser
from itertools import pairwise
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from actorflow.testing.faults import PLACES
from actorflow.testing.simulation import run_schedules
from stress.child import environment
from stress.scenario import UnknownScenario, names
from stress.sim import explore_command, replay_command, run_command
from stress.sim.batch import Batch, work_off
from stress.sim.catalogue import chosen, scenario_of
from stress.sim.driven import Driven, Settings, policy_for
from stress.sim.exhaustive import Job, following, paces
from stress.sim.exhaustive import work_off as explore
from stress.sim.failing import keep
from stress.sim.options import settings_of
from stress.sim.pool import Pool, WorkerDied
from stress.sim.small import STEPS, VERBS, matrix
from stress.sim.tally import Tally

LOST = dedent('''
    """A scenario with a fault: what is read may be old when it is written."""

    from actorflow import Workflow
    from stress.recording import record_of
    from stress.scenario import Scenario
    from stress.scenarios.elements import start_and_wait


    class Careless(Workflow):
        keep_state = True
        lost_updates = "allow"

        async def start(self, data, ctx):
            await ctx.schedule_many("branch", list(record_of(ctx).plan["branches"]))

        async def branch(self, data, ctx):
            store = record_of(ctx).store(ctx)
            await store.set("n", 1 + await store.get("n", 0))


    class Lost(Scenario):
        name = "lost"
        summary = "loses updates"
        workflows = (Careless,)
        sometimes = ("it never happens",)

        def plan(self, chance, size):
            return {"branches": [{"id": n} for n in range(size.branches)]}

        async def run(self, runtime, plan, record):
            await start_and_wait(runtime, record, Careless, "lost")

        def check(self, plan, record):
            found = record.state_of("lost")
            wanted = len(plan["branches"])
            return [] if found is None or found.get("n", 0) == wanted else [f"n is {found['n']}, not {wanted}"]


    class Fine(Lost):
        name = "fine"

        def check(self, plan, record):
            return []


    class Strange(Lost):
        name = "strange"
        turns = 0

        async def run(self, runtime, plan, record):
            Strange.turns += 1
            await start_and_wait(runtime, record, Careless, "lost")
            for _ in range(Strange.turns):
                await start_and_wait(runtime, record, Careless, f"lost {_}")

        def check(self, plan, record):
            return []


    class Deadly(Lost):
        name = "deadly"

        def plan(self, chance, size):
            import os
            os._exit(7)
''')

DIGESTS = """
from stress.sim.batch import Batch, work_off
from stress.sim.driven import Settings
small = Settings(branches=4, ops=4)
names = ("aggregate", "nested")
found = [sum(work_off(Batch(scenario=name, first=0, count=12, settings=small)).digests) for name in names]
print(":".join(f"{one:x}" for one in found))
"""


@pytest.fixture
def lost(tmp_path: Path) -> str:
    """The file with scenarios of the user's own."""
    path = tmp_path / "my_scenarios.py"
    path.write_text(LOST, encoding="utf-8")
    return str(path)


def run(module: Any, *arguments: str) -> int:
    """What a subcommand ends with."""
    parser = ArgumentParser()
    module.add_options(parser)
    return int(module.run(parser.parse_args(arguments)))


def digests(hash_seed: str) -> str:
    """The digests of some seeds, as another process makes them."""
    done = subprocess.run(
        [sys.executable, "-c", DIGESTS],
        env={**environment(), "PYTHONHASHSEED": hash_seed},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


@pytest.mark.slow
def test_seeds_are_the_same_everywhere() -> None:
    """Two processes with other hashes run the same schedules."""
    first, second = digests("1"), digests("2")
    assert first == second
    assert all(len(one) > 8 for one in first.split(":"))


def test_a_batch_counts_what_it_does() -> None:
    """Every seed is counted, under its policy, with what was checked in it."""
    tally = work_off(Batch(scenario="aggregate", first=0, count=12, settings=Settings(branches=3, ops=3)))
    assert tally.counts["schedules"] == 12
    assert {name: counted["schedules"] for name, counted in tally.policies.items()} == {
        "uniform": 2,
        "sticky": 2,
        "pct": 4,
        "rounds": 2,
        "flips": 2,
    }
    assert tally.counts["decisions"] > tally.counts["operations"] > 12
    assert tally.checked["I1"] == tally.checked["plan"] == 12
    assert tally.counts["run twice"] == 1
    assert len(tally.digests) > 6
    assert not tally.errors
    assert "aggregate: mailbox full" in tally.sometimes


def test_a_tally_survives_the_way_between_processes() -> None:
    """What comes back from a worker is what it has counted, and two of them add up."""
    tally = work_off(Batch(scenario="timers", first=0, count=3))
    again = Tally.from_json(json.loads(json.dumps(tally.to_json())))
    assert again.to_json() == tally.to_json()
    again.add(tally)
    assert again.counts["schedules"] == 6
    assert again.sometimes.keys() == tally.sometimes.keys()
    assert again.digests == tally.digests


def test_a_batch_survives_it_too() -> None:
    """A job as JSON is the same job."""
    parser = ArgumentParser()
    run_command.add_options(parser)
    given = parser.parse_args(["--faults", "crashes=2,delays=1", "--policy", "pct", "--branches", "4"])
    batch = Batch(scenario="retry", first=7, count=3, settings=settings_of(given), known=("I2",))
    assert Batch.from_json(json.loads(json.dumps(batch.to_json()))) == batch
    assert batch.settings.given == "--policy pct --branches 4 --faults crashes=2,delays=1"
    job = Job(scenario="small", seed=3, plan={"verbs": ["get"]}, oracles=("client",))
    assert Job.from_json(json.loads(json.dumps(job.to_json()))) == job


def test_a_fault_is_found_made_small_and_repeated(
    lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign tells the story of a lost update, and its file repeats it: two branches are left of it."""
    reference = f"{lost}:Lost"
    code = run(
        run_command,
        *(reference, "--seeds", "12", "--jobs", "1", "--shrink-for", "2s", "--max-failures", "1"),
        *("--branches", "3", "--faults", "none", "--repros", str(tmp_path), "--json", str(tmp_path / "out.json")),
        *("--html", str(tmp_path / "out.html")),
    )
    shown = capsys.readouterr().out
    assert code == 1
    assert shown.startswith("VIOLATED  run ")
    [file] = tmp_path.glob("stress-repro-lost-*.json")
    assert f"python -m stress replay {file}" in shown
    [failure] = json.loads((tmp_path / "out.json").read_text())["failures"]
    assert len(failure["plan"]["plan"]["branches"]) == 2
    assert failure["lanes"].startswith("What happened:\n")
    assert failure["lanes_svg"] in (tmp_path / "out.html").read_text()
    assert run(replay_command, str(file), "--trace") == 1
    again = capsys.readouterr().out
    assert "get('n', 0) = 0" in again
    assert "takes over from" in again or "goes on, one of" in again
    assert failure["sentence"] in again


def test_a_schedule_that_holds_is_not_reproduced(lost: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Replay ends with 0 when everything holds, and runs the very schedule of the campaign."""
    seed = 3
    driven = Driven(scenario_of(f"{lost}:Fine"))
    digest: list[int] = []
    trial = driven.trial(seed, Settings(faults=None))
    run_schedules([trial.begin(policy_for("mix", seed)).schedule()], lambda passage: digest.append(passage.digest))
    assert run(replay_command, f"{lost}:Fine:{seed}") == 0
    assert f"digest of the schedule: {digest[0]:016x}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "what", ["aggregate", "nobody:3", "missing.json", "missing.py:Wf:3"], ids=["no-seed", "nobody", "no-file", "no-py"]
)
def test_what_cannot_be_replayed_is_wrong_use(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Replay says what it was given, and ends with 2."""
    assert run(replay_command, what) == 2
    assert what.partition(":")[0] in capsys.readouterr().err


def test_a_damaged_file_is_wrong_use(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is no repro is told so."""
    path = tmp_path / "it.json"
    path.write_text('{"a": 1}', encoding="utf-8")
    assert run(replay_command, str(path)) == 2
    assert "no repro" in capsys.readouterr().err


def test_repro_files_are_never_overwritten(lost: str, tmp_path: Path) -> None:
    """The same failure keeps its file, another one of the same seed gets another name."""
    tally = work_off(Batch(scenario=f"{lost}:Lost", first=0, count=4, shrink_for=0, settings=Settings(branches=4)))
    found = tally.failures[0]
    first = keep(found, tmp_path)
    assert keep(found, tmp_path) == first
    second = keep({**found, "repro": {"other": 1}}, tmp_path)
    assert second.name == f"{first.stem}-2.json"
    assert json.loads(first.read_text()) == found["repro"]


def test_what_never_happens_fails_a_large_campaign(
    lost: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign in which something never happened has tested too little: 2; a small one says nothing of it."""
    options = (f"{lost}:Fine", "--seeds", "12", "--jobs", "1", "--branches", "2", "--repros", str(tmp_path))
    assert run(run_command, *options) == 0
    monkeypatch.setattr(run_command, "EVERYTHING_FROM", 12)
    capsys.readouterr()
    assert run(run_command, *options) == 2
    assert "it never happens" in capsys.readouterr().out.splitlines()[0]
    assert run(run_command, *options, "--policy", "sticky") == 0


def test_a_full_campaign_has_to_reach_everything_often(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of all scenarios and as many seeds, more is wanted: places that were reached too seldom are named."""
    for name, value in (("EVERYTHING_FROM", 1), ("OFTEN_FROM", 1), ("BATCH", 1)):
        monkeypatch.setattr(run_command, name, value)
    options = ("--seeds", str(len(names())), "--jobs", "1", "--repros", str(tmp_path))
    assert run(run_command, *options) == 2
    shown = capsys.readouterr().out
    assert "'closing: cuts steps off' was reached" in shown
    assert all(f"{place!r} was reached" not in shown for place in run_command.OUT_OF_REACH)
    run(run_command, *options, "--faults", "none")
    assert "was reached" not in capsys.readouterr().out


def test_places_out_of_reach_exist() -> None:
    """What is left out of the demand is a place of the runtime."""
    assert run_command.OUT_OF_REACH.issubset(PLACES)


def test_a_schedule_that_differs_the_second_time_is_an_error(lost: str) -> None:
    """What takes something from outside cannot be replayed, and a campaign says so."""
    tally = work_off(Batch(scenario=f"{lost}:Strange", first=0, count=1, settings=Settings(branches=2)))
    [error] = tally.errors
    assert "seed 0" in error
    assert "another way" in error


def test_a_dead_worker_ends_the_campaign(lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A process that dies is an error of the campaign, and names the seeds it was at."""
    assert run(run_command, f"{lost}:Deadly", "--seeds", "9", "--jobs", "2", "--repros", str(tmp_path)) == 2
    assert "ended with 7" in capsys.readouterr().out


def test_a_worker_that_hangs_is_ended() -> None:
    """Without an answer for too long, the worker is dead."""
    pool = Pool(1, stall_s=0.0)
    jobs = iter([{"kind": "run", **Batch(scenario="nested", first=0, count=2000).to_json()}])
    with pytest.raises(WorkerDied, match="nested"):
        list(pool.each(lambda: next(jobs, None)))


@pytest.mark.parametrize("module", [run_command, explore_command], ids=["run", "explore"])
def test_an_unknown_scenario_is_wrong_use(
    module: object, lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A name that nobody knows is told beside those that exist."""
    assert run(module, "nobody") == 2
    assert "aggregate" in capsys.readouterr().err
    assert run(module, f"{lost}:Nobody") == 2
    assert "Nobody'" in capsys.readouterr().err
    assert run(module, "aggregate", "--repros", str(tmp_path / "missing")) == 2
    assert "there is no folder" in capsys.readouterr().err


def test_scenarios_have_seeds_of_their_own() -> None:
    """The seeds of a campaign go around its scenarios, and each scenario has its first ones."""
    parser = ArgumentParser()
    run_command.add_options(parser)
    options = parser.parse_args(["--seed", "5"])
    jobs = [Batch.from_json(job) for job in run_command.batches(["retry", "timers"], options, 130)]
    assert sum(job.count for job in jobs) == 130
    for name in ("retry", "timers"):
        ranges = [(job.first, job.count) for job in jobs if job.scenario == name]
        assert ranges[0][0] == 5
        assert all(first + count == after for (first, count), (after, _) in pairwise(ranges))


def test_the_names_of_a_command_line() -> None:
    """Nothing means everything, and what is named twice is run once."""
    assert chosen([]) == chosen(["all"])
    assert chosen(["retry", "retry"]) == ["retry"]
    with pytest.raises(UnknownScenario):
        chosen(["retry", "nobody"])


@pytest.mark.parametrize("text", ["crash=1", "crashes", "crashes=x", ""])
def test_wrong_faults_are_refused(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What is no fault is told at the command line."""
    with pytest.raises(SystemExit):
        run(run_command, "aggregate", "--faults", text)
    assert "crashes=N" in capsys.readouterr().err


# --- all schedules


@pytest.mark.parametrize("seed", paces())
def test_a_pair_has_all_its_schedules(seed: int) -> None:
    """Both orders of two operations come to be, and what they come to is that of some order."""
    tally = explore(Job(scenario="small", seed=seed, plan={"verbs": ["push", "extend"]}, preemptions=1))
    assert tally.counts["plans with all schedules"] == 1
    assert not tally.failures
    assert len(tally.digests) == tally.counts["schedules"] > 1


def test_every_operation_can_be_paired() -> None:
    """No verb of the matrix is refused, and every one of them is in its pairs and triples."""
    verbs = [*VERBS, *STEPS]
    assert len(matrix(2)) == len(verbs) * (len(verbs) + 1) // 2
    assert {verb for plan in matrix(3) for verb in plan["verbs"]} == set(verbs)
    for verb in verbs:
        oracles = ("client",) if verb == "set_state" else ("client", "facts", "journal")
        job = Job(scenario="small", seed=paces()[-1], plan={"verbs": [verb, "set"]}, oracles=oracles)
        assert not explore(job).failures, verb


def test_all_schedules_find_a_lost_update(lost: str) -> None:
    """One switch is enough for it, and none is too few."""

    def found(preemptions: int) -> Tally:
        plan = {"branches": [{"id": 0}, {"id": 1}]}
        seed = paces()[0]
        return explore(
            Job(
                scenario=f"{lost}:Lost", seed=seed, plan=plan, preemptions=preemptions, shrink_for=0, oracles=("facts",)
            )
        )

    assert not found(0).failures
    [failure] = found(1).failures
    assert "n is 1, not 2" in str(failure["sentence"])
    assert found(0).counts["plans with all schedules"] == 1
    assert found(1).counts["plans with all schedules"] == 0


def test_explore_reports_what_it_went_through(lost: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The report counts plans and schedules; a plan for which there was no time is told."""
    options = (f"{lost}:Fine", "--plans", "2", "--jobs", "1", "--repros", str(tmp_path))
    assert run(explore_command, *options, "--preemptions", "1", "--json", str(tmp_path / "out.json")) == 0
    totals = json.loads((tmp_path / "out.json").read_text())["totals"]
    assert totals["plans"] == totals["plans with all schedules"] == 2
    assert totals["distinct schedules"] == totals["schedules"] > 50
    capsys.readouterr()
    tally = explore(Job(scenario=f"{lost}:Fine", seed=0, seconds=0.0))
    assert tally.counts["plans"] == 1
    assert tally.counts["plans with all schedules"] == 0


def test_going_depth_first_ends_and_misses_nothing() -> None:
    """All choices of a small tree are made once each, within the bound and the window."""

    class Way:
        def __init__(self, prefix: list[int]) -> None:
            self.widths = [2, 3, 2]
            self.choices = [*prefix, 0, 0, 0][:3]

    def all_ways(bound: int, first: int, end: int) -> list[tuple[int, ...]]:
        prefix: list[int] | None = []
        found = []
        while prefix is not None:
            way = Way(prefix)
            found.append(tuple(way.choices))
            prefix = following(way, bound, first, end)  # type: ignore[arg-type]  # it looks at these two only
        return found

    assert len(set(all_ways(3, 0, 3))) == len(all_ways(3, 0, 3)) == 12
    assert sorted(all_ways(1, 0, 3)) == [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 2, 0), (1, 0, 0)]
    assert sorted(all_ways(3, 1, 2)) == [(0, 0, 0), (0, 1, 0), (0, 2, 0)]

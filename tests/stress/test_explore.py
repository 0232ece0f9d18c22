"""`explore` and `replay`: faults of users' own programs are found, made small, told in words and had again."""

import json
import random
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
import trio

from actorflow import Context, Retry, RunOutcome, Workflow, open_runtime, step
from actorflow.abc import Journal
from actorflow.testing import Exploration, Faults, Repro, ScheduleFailure, explore, replay


class Racy(Workflow):
    """The fault that people come with: read, then write what was read plus one."""

    lost_updates = "allow"

    async def start(self, data: int, ctx: Context):
        for branch in range(data):
            await ctx.schedule_next_step("add", branch)

    async def add(self, branch: int, ctx: Context):
        count = await ctx.run_store.get("count", 0)
        await ctx.run_store.set("count", count + 1)


class Safe(Workflow):
    """The same with a message."""

    keep_state = True

    async def start(self, data: int, ctx: Context):
        for branch in range(data):
            await ctx.schedule_next_step("add", branch)

    @step(retry=Retry(5))
    async def add(self, branch: int, ctx: Context):
        await ctx.run_store.increment("count")
        await ctx.run_store.push("who", branch)


async def outcome_of(workflow: type[Workflow], data: object, journal: Journal | str = "memory:") -> RunOutcome:
    """One run, to its end."""
    async with open_runtime([workflow], journal=journal) as runtime:
        return await (await runtime.start(workflow, data, run_id="r")).wait()


async def racy() -> RunOutcome:
    """Five branches that race."""
    return await outcome_of(Racy, 5)


def counts_five(outcome: RunOutcome) -> bool:
    """Each branch counts."""
    return outcome.state["count"] == 5


def failure_of(*args: object, **options: object) -> ScheduleFailure:
    """What `explore` raises."""
    with pytest.raises(ScheduleFailure) as caught:
        explore(*args, **options)  # type: ignore[arg-type]  # passed on as given
    return caught.value


# --- finding


def test_a_race_is_found_made_small_and_told_in_words() -> None:
    """Which branch read what, and whose update is lost."""
    failure = failure_of(racy, seeds=100, invariants=[counts_five])
    assert "invariant counts_five does not hold" in failure.sentence
    assert len(failure.switches) <= 2
    assert any("read `count`" in story and " lost" in story for story in failure.stories)
    text = str(failure)
    assert failure.stories[0] in text
    assert f"replay(racy, {failure.seed})" in text


def test_a_correct_program_passes_and_the_report_says_what_was_done() -> None:
    """Counts that can be read off."""
    found = explore(partial(outcome_of, Safe, 5), seeds=120, invariants=[counts_five])
    assert isinstance(found, Exploration)
    assert (found.schedules, found.repeated, found.unrepeatable, found.undecided) == (120, 2, [], 0)
    assert found.distinct > 100
    assert found.operations == 120 * 10
    assert sum(found.by_policy.values()) == 120
    assert "120 schedules" in str(found)


def test_get_and_set_is_an_error_by_default_and_that_is_found_as_well() -> None:
    """The guard against lost updates fails the step: the run is not what the invariant wants."""

    class Guarded(Racy):
        lost_updates = "error"

    failure = failure_of(partial(outcome_of, Guarded, 3), seeds=100, invariants=[lambda outcome: not outcome.failures])
    assert "invariant `lambda outcome: not outcome.failures` does not hold" in failure.sentence


@pytest.mark.parametrize(
    ("invariant", "sentence"),
    [
        (lambda value: False, "does not hold for 'made'"),
        (lambda value: "it is made", "does not hold: it is made"),
        (lambda value: {}["x"], "does not hold: KeyError: 'x'"),
    ],
)
def test_an_invariant_may_say_no_in_three_ways(invariant: object, sentence: str) -> None:
    """False, a text, an exception; everything else is yes."""

    async def program() -> str:
        await trio.lowlevel.checkpoint()
        return "made"

    assert sentence in failure_of(program, seeds=1, invariants=[invariant]).sentence
    assert explore(program, seeds=1, invariants=[lambda value: True, lambda value: None]).schedules == 1


def test_an_invariant_may_look_elsewhere() -> None:
    """Without a parameter it is called without the value."""
    seen: list[int] = []

    async def program() -> None:
        await trio.lowlevel.checkpoint()
        seen.append(1)

    def not_too_many() -> bool:
        return len(seen) < 3

    assert "not_too_many does not hold" in failure_of(program, seeds=5, invariants=[not_too_many]).sentence


def test_an_error_of_the_program_is_a_finding_with_its_traceback() -> None:
    """And its kind is kept while it is made smaller."""

    async def program() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("not there")

    failure = failure_of(program, seeds=3)
    assert "raised LookupError: not there" in str(failure)
    assert "test_explore.py" in str(failure)


def test_a_program_that_is_not_the_same_again_is_warned_of() -> None:
    """What comes from outside cannot be replayed."""
    dice = random.Random(1)

    async def program() -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(dice.randint(2, 30)):
                nursery.start_soon(trio.lowlevel.checkpoint)

    with pytest.warns(UserWarning, match="went another way the second time"):
        found = explore(program, seeds=1)
    assert found.unrepeatable == [0]


def test_steps_that_are_plain_functions_are_explored_too() -> None:
    """Their threads run in lockstep."""

    class Threads(Workflow):
        async def start(self, data: object, ctx: Context):
            for branch in range(3):
                await ctx.schedule_next_step("work", branch)

        @step
        def work(self, branch: int, ctx: Context):
            for turn in range(2):
                ctx.run_store.push("order", f"{branch}.{turn}")

    orders = set()

    def all_there(outcome: RunOutcome) -> bool:
        order = outcome.state["order"]
        orders.add(tuple(order))
        return sorted(order) == [f"{branch}.{turn}" for branch in range(3) for turn in range(2)]

    found = explore(partial(outcome_of, Threads, None), seeds=60, invariants=[all_there])
    assert found.unrepeatable == []
    assert len(orders) > 6


# --- having it again


def test_a_seed_is_the_same_schedule_again() -> None:
    """With the same failure, every time."""
    failure = failure_of(racy, seeds=100, invariants=[counts_five])
    for _ in range(5):
        with pytest.raises(ScheduleFailure) as again:
            replay(racy, failure.seed, invariants=[counts_five])
        assert again.value.failure.passage.value == failure.failure.passage.value or again.value.switches
    assert replay(racy, failure.seed).run_id == "r"  # type: ignore[attr-defined]  # what the program returns


def test_a_repro_is_the_shrunk_schedule_again(tmp_path: Path) -> None:
    """As an object, as text, as a file."""
    failure = failure_of(racy, seeds=100, invariants=[counts_five])
    file = tmp_path / "repro.json"
    file.write_text(failure.repro.to_json(), encoding="utf-8")
    assert Repro.of(file) == failure.repro
    for given in (failure.repro, failure.repro.to_json(), file, str(file)):
        with pytest.raises(ScheduleFailure) as again:
            replay(racy, given, invariants=[counts_five])
        assert again.value.switches == failure.switches
        assert again.value.stories == failure.stories


@pytest.mark.parametrize(
    "text", ["{}", '{"actorflow-repro": 7}', '{"actorflow-repro": 1}', '{"actorflow-repro": 1, "seed": "x"}']
)
def test_a_damaged_repro_is_refused_by_name(text: str) -> None:
    """Not with a traceback from inside."""
    with pytest.raises(ValueError, match="repro"):
        replay(racy, text)


def test_what_is_no_seed_is_refused() -> None:
    """Naming what was given."""
    with pytest.raises(TypeError, match=r"seed=None: give a whole number"):
        replay(racy, None)  # type: ignore[arg-type]  # what is tested


PROGRAM = """
import sys
from tests.stress.test_explore import Safe, outcome_of
from actorflow.testing.programs import program_of, run
from functools import partial
from actorflow.testing import Faults
target = program_of(lambda journal: outcome_of(Safe, 4, journal), None, Faults(crashes=2, failures=2))
print([run(target.trial(seed))[1].digest for seed in range(12)])
"""


def test_a_schedule_is_the_same_in_another_process() -> None:
    """Whatever the hashes of texts are there: crashes, recovery and all."""
    root = Path(__file__).parents[2]
    outputs = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            cwd=root,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(root)},
            check=True,
            capture_output=True,
            text=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }
    assert len(outputs) == 1
    assert len(set(json.loads(outputs.pop()))) > 10


# --- plans


def pushes(chance: random.Random) -> dict[str, list[list[str]]]:
    """Branches with operations; one in eight is the bad one."""
    return {
        "branches": [
            ["bad" if chance.random() < 0.12 else "good" for _ in range(chance.randint(1, 5))]
            for _ in range(chance.randint(1, 5))
        ]
    }


async def planned(plan: dict[str, list[list[str]]]) -> int:
    """Fails when two bad operations of different branches overlap."""
    inside: Counter[str] = Counter()
    worst = 0

    async def branch(operations: list[str]) -> None:
        nonlocal worst
        for operation in operations:
            inside[operation] += 1
            worst = max(worst, inside["bad"])
            await trio.lowlevel.checkpoint()
            inside[operation] -= 1

    async with trio.open_nursery() as nursery:
        for operations in plan["branches"]:
            nursery.start_soon(branch, operations)
    return worst


def test_a_plan_is_shrunk_to_what_matters() -> None:
    """Two branches, one bad operation each."""
    failure = failure_of(planned, seeds=500, plan=pushes, invariants=[lambda worst: worst < 2])
    assert failure.plan == {"branches": [["bad"], ["bad"]]}
    with pytest.raises(ScheduleFailure):
        replay(planned, failure.repro, plan=pushes, invariants=[lambda worst: worst < 2])


# --- faults


async def durable(journal: Journal) -> RunOutcome:
    """A run that survives."""
    return await outcome_of(Safe, 4, journal)


def test_crashes_and_failing_writes_lose_and_double_nothing() -> None:
    """Exactly once, in every schedule."""
    found = explore(
        durable,
        seeds=150,
        faults=Faults(crashes=2, failures=2, delays=1),
        invariants=[lambda outcome: outcome.status.value == "completed"],
    )
    assert found.crashes > 50
    assert found.faults > 50


def test_what_is_kept_outside_the_run_is_lost_in_a_crash_and_that_is_found() -> None:
    """With the crash that did it, and nothing else."""

    class Outside(Workflow):
        async def start(self, data: list[int], ctx: Context):
            for branch in range(3):
                await ctx.schedule_next_step("add", branch)
            await ctx.schedule_next_step("total", data)

        async def add(self, branch: int, ctx: Context):
            memory.append(branch)

        async def total(self, data: object, ctx: Context):
            await ctx.run_store.set("total", len(memory))

        async def on_workflow_complete(self, ctx: Context):
            return len(memory)

    memory: list[int] = []

    async def program(journal: Journal) -> object:
        memory.clear()  # a new process knows nothing of what the old one had
        return (await outcome_of(Outside, [], journal)).output

    failure = failure_of(program, seeds=200, faults=Faults(crashes=2), invariants=[lambda total: total == 3])
    assert len(failure.failure.trial.fate) == 1
    assert "dies" in str(failure) or "crash" in str(failure)


def test_without_faults_a_journal_error_is_a_finding() -> None:
    """Nobody asked for it."""

    async def program(journal: Journal) -> None:
        journal.crash()  # type: ignore[attr-defined]  # it is the faulty one
        async with open_runtime([Safe], journal=journal):
            pass

    assert explore(program, seeds=0).schedules == 0
    failure = failure_of(program, seeds=1)
    assert "called 50 times on the same journal" in failure.sentence


# --- all of them


def test_all_schedules_with_few_preemptions() -> None:
    """The numbers can be counted by hand: two tasks of two steps, a switch at one of the steps of the first."""

    async def program() -> str:
        order = ""

        async def work(name: str) -> None:
            nonlocal order
            for _ in range(2):
                order += name
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, "a")
            nursery.start_soon(work, "b")
        seen[order] += 1
        return order

    seen: Counter[str] = Counter()
    none = explore(program, preemptions=0)
    assert (none.schedules, none.complete, set(seen)) == (1, True, {"aabb"})
    one = explore(program, preemptions=1)
    assert one.complete
    assert {"aabb", "abba", "bbaa"} <= set(seen)
    two = explore(program, preemptions=2)
    assert one.schedules < two.schedules
    assert {"aabb", "abab", "abba", "baab", "bbaa"} <= set(seen)
    assert len(seen) < sum(seen.values())


def test_the_race_shows_with_one_preemption() -> None:
    """Which is the smallest number that can show it."""
    program = partial(outcome_of, Racy, 2)
    failure = failure_of(program, preemptions=1, invariants=[lambda outcome: outcome.state["count"] == 2])
    assert len(failure.switches) == 1


# --- wrong use


def test_a_parameter_that_cannot_be_filled_is_named() -> None:
    """With what a program may ask for."""

    async def program(runtime: object) -> None:
        pass

    with pytest.raises(TypeError, match=r"parameter 'runtime' of .* may ask for `journal` and `plan`"):
        explore(program)


def test_a_plan_needs_its_parameter_and_the_other_way_round() -> None:
    """Else it would be made for nothing, or be missing."""
    with pytest.raises(TypeError, match="no plan= is given"):
        explore(planned)
    with pytest.raises(TypeError, match="it has no parameter `plan`"):
        explore(racy, plan=pushes)


def test_faults_need_a_journal() -> None:
    """The one that they happen to."""
    with pytest.raises(TypeError, match="no parameter `journal`"):
        explore(racy, faults=Faults(crashes=1))


def test_a_negative_number_of_faults_is_refused() -> None:
    """By its name."""
    with pytest.raises(ValueError, match="crashes"):
        Faults(crashes=-1)

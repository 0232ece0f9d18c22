"""`python -m stress nested`: random nested workflows against a model; and that the judge would see a wrong end."""

from __future__ import annotations

from collections import Counter

import pytest

from stress.__main__ import main
from stress.nested import campaign
from stress.nested.building import Builder
from stress.nested.driving import Case
from stress.nested.maker import made
from stress.nested.model import expected
from stress.nested.programs import Action, ClassFlow, GraphFlow, Leaf, Loop, Program, Then, flows_in, weight

CASES = 60


@pytest.mark.rule("C9", "C10", "D3", "D4", "E2", "E3", "F4")
def test_random_nested_workflows_end_as_the_model_says(capsys: pytest.CaptureFixture[str]) -> None:
    """Suspended, crashed, closed and refused writes at random: every leaf once, the same output, the same state."""
    assert main(["nested", "--cases", str(CASES), "--seed", "1"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert shown.startswith("OK")
    assert "never happened" not in shown


def test_a_seed_makes_one_program() -> None:
    """The same seed gives the same program, and other seeds give others."""
    assert made(7) == made(7)
    assert len({str(made(seed)) for seed in range(20)}) == 20


def test_ids_are_unique_in_a_program() -> None:
    """No two places of a program have a leaf, or a workflow, in common: so each identity has one place."""
    for seed in range(50):
        ids = Counter(flow.id for flow in flows_in(made(seed).flow))
        assert set(ids.values()) == {1}


def inner() -> GraphFlow:
    """A workflow of one leaf that pushes and counts."""
    return GraphFlow(id="inner", places=(Then(member=Leaf(id="leaf", script=(("push", 0), ("count", 0)))),))


def looped(times: int) -> Program:
    """That workflow, so many times."""
    return Program(flow=GraphFlow(id="outer", places=(Loop(member=inner(), times=times),)), data="ab")


def test_the_model_counts_by_hand() -> None:
    """Three rounds of a nested leaf come to three pushes and a count of three, and each round sees those before it."""
    found = expected(looped(3))
    state = found.state({"leaves": ["init"]})
    assert weight(looped(3).flow) == found.leaves == 3
    assert state["n"] == 3
    assert len(set(state["leaves"])) == 4
    assert sorted(len(seen) for seen in found.sights.values()) == [0, 1, 2]


@pytest.mark.parametrize("merge", [True, False, ("n",)])
def test_the_model_brings_back_what_merge_state_names(merge: object) -> None:
    """Everything, nothing, or one key; what a class-style parent notes down itself is always there."""
    start = Leaf(id="start", script=(("go", 0),))
    flow = ClassFlow(id="outer", start=start, actions=(Action(member=inner(), merge=merge),))
    state = expected(Program(flow=flow, data="ab")).state({})
    assert ("leaves" in state, "n" in state) == (merge is True, merge is not False)
    assert len(state["o.ab"]) == 1


BREAKAGES = {
    "a leaf that does nothing": (lambda self, *_: done(), "lost"),
    "a leaf that does it twice": (lambda self, verb, me, data, ctx: twice(ctx, me), "more than once"),
    "a leaf under another name": (lambda self, verb, me, data, ctx: ctx.run_store.push("leaves", "else"), "lost"),
}


async def done() -> None:
    """Nothing."""


async def twice(ctx: object, me: str) -> None:
    """A push that is not taken for the same one."""
    for op_id in ("a", "b"):
        await ctx.run_store.push("leaves", me, op_id=f"{me} {op_id}")


@pytest.mark.parametrize("name", BREAKAGES)
def test_the_judge_sees_a_wrong_leaf(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A push that is missing, doubled or wrong is found, in a state or by a later leaf, with its name."""
    change, word = BREAKAGES[name]
    assert Case.of(1, looped(2)).run() == []
    monkeypatch.setattr(Builder, "apply", change)
    findings = Case.of(1, looped(2)).run()
    assert any(word in finding for finding in findings), findings
    assert any("leaf@" in finding for finding in findings)


def test_a_violation_is_exit_code_1_with_seed_and_program(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A failed case shows its seed and its program, and how to run it again."""

    def run(case: Case) -> None:
        case.findings.append("made up")

    monkeypatch.setattr(campaign.Case, "run", run)
    assert main(["nested", "--cases", "2", "--seed", "40"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("VIOLATION in 2 of 2")
    assert "seed 41: input" in shown
    assert "made up" in shown
    assert "never happened" in shown


@pytest.mark.parametrize("argv", [["--cases", "0"], ["--time", "soon"], ["--cases", "1", "--time", "1s"]])
def test_a_mistake_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What it does not know is refused before anything runs."""
    assert main(["nested", *argv]) == 2
    assert "usage" in capsys.readouterr().err

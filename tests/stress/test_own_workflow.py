"""`stress run FILE.py:WORKFLOW`: somebody's workflow, judged by expressions of the command line."""

import json
from pathlib import Path

import pytest

from stress.__main__ import main
from stress.own.expressions import BadExpression, compiled

FLOWS = """
from actorflow import Context, Workflow, step, workflow


class Racy(Workflow):
    lost_updates = "allow"

    async def start(self, data: list[str], ctx: Context):
        for name in data:
            await ctx.schedule_next_step("look", name)

    async def look(self, name: str, ctx: Context):
        count = await ctx.run_store.get("count", 0)
        await ctx.run_store.set("count", count + 1)
        await ctx.run_store.push("names", name)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("count", 0)


class Right(Racy):
    async def look(self, name: str, ctx: Context):
        if name == "bad":
            raise ValueError("bad")
        await ctx.run_store.increment("count")
        await ctx.run_store.push("names", name)


@step
async def double(data: int, ctx: Context) -> int:
    await ctx.run_store.increment("sum", data)
    return 2 * data


graph = workflow("graph", input=list[int]).foreach(double, concurrency=None).commit()
"""


@pytest.fixture
def flows(tmp_path: Path) -> str:
    """A file with workflows."""
    file = tmp_path / "flows.py"
    file.write_text(FLOWS, encoding="utf-8")
    return str(file)


def test_a_race_is_found_shrunk_told_and_had_again(
    flows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without any code: two names are left of six, and the words name both branches."""
    names = json.dumps(list("abcdef"))
    page, data = tmp_path / "page.html", tmp_path / "report.json"
    where = ["--repros", str(tmp_path), "--html", str(page), "--json", str(data)]
    code = main(["run", f"{flows}:Racy", "--input", names, "--invariant", "output == len(input)", *where])
    told = capsys.readouterr().out
    assert code == 1
    assert "update is lost" in told
    assert "branch look " in told
    assert "read `count` = 0" in told
    (repro,) = tmp_path.glob("stress-repro-Racy-*.json")
    kept = json.loads(repro.read_text(encoding="utf-8"))
    assert len(kept["repro"]["plan"]["input"]) == 2
    assert len(kept["repro"]["switches"]) <= 2
    assert "<svg" in page.read_text(encoding="utf-8")
    assert json.loads(data.read_text(encoding="utf-8"))["verdict"] == "violated"
    assert main(["replay", str(repro)]) == 1
    assert "update is lost" in capsys.readouterr().out


def test_a_right_workflow_passes_and_says_what_was_checked(flows: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In memory and over crashes; what is the same in every schedule is so."""
    arguments = ["run", f"{flows}:Right", "--input", '["a", "b", "c"]', "--invariant", "output == len(input)"]
    assert main([*arguments, "--same", "sorted(state.get('names', []))", "--seeds", "100"]) == 0
    assert main([*arguments, "--seeds", "60", "--faults", "crashes=1,failures=1"]) == 0
    told = capsys.readouterr().out
    assert "OK" in told
    assert "100" in told


def test_what_differs_between_schedules_is_a_violation_if_it_must_not(
    flows: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The order in which branches push is not the same."""
    arguments = ["run", f"{flows}:Right", "--input", '["a", "b"]', "--repros", str(tmp_path)]
    assert main([*arguments, "--same", "state['names']"]) == 1
    assert "is the same in every schedule" in capsys.readouterr().out


def test_a_graph_is_run_as_well(flows: str) -> None:
    """By its name in the file."""
    assert main(["run", f"{flows}:graph", "--input", "[1, 2]", "--invariant", "output == [2, 4]", "--seeds", "40"]) == 0


def test_a_run_that_fails_is_a_violation_unless_it_may(flows: str, tmp_path: Path) -> None:
    """With `--may-fail` only what is asked counts."""
    arguments = ["run", f"{flows}:Right", "--input", '["bad"]', "--seeds", "20", "--repros", str(tmp_path)]
    assert main(arguments) == 1
    assert main([*arguments, "--may-fail", "--invariant", "status == 'failed'"]) == 0


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--invariant", "output =="], "is no expression"),
        (["--invariant", "outputs == 1"], "speaks of outputs; it may speak of output, state"),
        (["--invariant", "open('x')"], "speaks of open"),
        (["--input", "[1"], "is no JSON"),
        (["--input", "@nowhere.json"], "nowhere.json"),
        (["--state", "[]"], "is no JSON object"),
        (["--input", "7"], "input"),
        (["--branches", "3"], "are for scenarios"),
    ],
)
def test_what_is_wrong_with_the_command_line_is_said(
    flows: str, arguments: list[str], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything runs, naming what was given."""
    given = ["--input", '["a"]', *arguments] if "--input" not in arguments else arguments
    assert main(["run", f"{flows}:Racy", *given]) == 2
    assert text in capsys.readouterr().err


def test_a_workflow_that_is_not_there_is_named(flows: str, capsys: pytest.CaptureFixture[str]) -> None:
    """With those that are."""
    assert main(["run", f"{flows}:Rcay"]) == 2
    assert "has no 'Rcay'; its workflows: " in capsys.readouterr().err


def test_names_inside_comprehensions_are_seen() -> None:
    """Those of the comprehension itself are fine, unknown ones are not."""
    assert compiled("all(name for name in state['names'])").speaks_of_state
    with pytest.raises(BadExpression, match="nam"):
        compiled("[nam for name in state]")


def test_a_damaged_file_is_refused_by_replay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Not with a traceback."""
    file = tmp_path / "x.json"
    file.write_text('{"question": {}}', encoding="utf-8")
    assert main(["replay", str(file)]) == 2
    assert "cannot be replayed" in capsys.readouterr().err

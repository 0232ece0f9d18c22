"""`actorflow graph`, and graphs wherever a workflow is named: found by the variable that holds them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from actorflow._authoring.workflow import resolve
from actorflow._runtime.opening import definitions_of
from actorflow.cli.finding import find_beside, find_workflow, find_workflows, together
from actorflow.cli.opening import read_journal
from tests.cli.calls import Call, Leave

GRAPHS = """
from actorflow import Context, Workflow, step, workflow


@step
async def double(data: int, ctx: Context) -> int:
    return data * 2


@step
async def add_seed(data: int, ctx: Context) -> int:
    return data + await ctx.run_store.get("seed", 0)


class Outer:
    inner = workflow("kept in a class").then(double).commit()


@step
async def break_down(data, ctx: Context):
    raise ValueError("[bold]boom[/bold]")


arithmetic = workflow("arithmetic").then(double).then(add_seed).commit()
outer = workflow("outer").then(arithmetic).then(double).commit()
broken = workflow("broken").then(break_down).commit()
draft = workflow("draft").then(double)


def make():
    return workflow("made").then(double).commit()


class Hooked(Workflow):
    id = "hooked class"

    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("say \\"hi\\" #1")

    @step(id="say \\"hi\\" #1")
    async def say(self, data, ctx: Context): ...

    async def on_workflow_complete(self, ctx: Context): ...

    async def on_workflow_cancel(self, reason, ctx: Context): ...


class Bare(Workflow):
    async def start(self, data, ctx: Context): ...
"""


@pytest.fixture
def graphs(folder: Path) -> Path:
    """A file of graphs in the current folder."""
    path = folder / "graphs.py"
    path.write_text(GRAPHS, encoding="utf-8")
    return path


def test_a_graph_is_run_by_the_name_of_its_variable(call: Call, graphs: Path) -> None:
    """`run FILE:VARIABLE` runs a committed graph; its outcome is a table, its steps are counted."""
    called = call("run", "graphs.py:outer", "--input", "5", "--run-id", "r-1")
    assert called.code == 0, called.err
    assert [word for word in ("r-1", "outer", "completed", "20", "2 completed") if word not in called.out] == []


def test_a_graph_starts_with_a_state(call: Call, graphs: Path) -> None:
    """--state fills the run store of a graph."""
    called = call("run", "graphs:arithmetic", "--input", "5", "--state", '{"seed": 100}', "--json")
    assert called.code == 0, called.err
    assert called.document["output"] == 110


def test_a_failed_graph_names_its_step(call: Call, graphs: Path) -> None:
    """A graph that fails exits with 1; the table has the step, the document the failure's fields."""
    called = call("run", "graphs.py:broken", "--run-id", "r-1")
    assert called.code == 1
    assert "break_down (1): ValueError: [bold]boom[/bold]" in called.out
    error = call("run", "graphs.py:broken", "--run-id", "r-1", "--json").document["error"]
    assert isinstance(error, dict)
    assert (error["step_id"], error["error_type"]) == ("break_down", "ValueError")


def test_the_journal_remembers_where_a_graph_was_found(call: Call, graphs: Path) -> None:
    """The list row of a run of a graph names the file and the variable."""
    call("run", "graphs:arithmetic", "--input", "1", "--run-id", "r-1")
    header = read_journal("sqlite:actorflow.db", lambda reader: reader.header("r-1"))
    assert header is not None
    assert header.source == f"{graphs}:arithmetic"


def test_a_graph_that_a_function_made_is_remembered_too(call: Call, graphs: Path, folder: Path) -> None:
    """A graph that another file's function made, or that stands in a class, has the place that `run` was given."""
    (folder / "more.py").write_text("from graphs import make\n\nmade = make()\n", encoding="utf-8")
    for target in ("more.py:made", "graphs.py:Outer.inner"):
        assert call("run", target, "--input", "1", "--run-id", target).code == 0
        header = read_journal("sqlite:actorflow.db", lambda reader, run_id=target: reader.header(run_id))
        assert header is not None
        assert header.source == str(folder / target)


def test_the_diagram_is_that_of_the_graph(call: Call, graphs: Path) -> None:
    """`graph` prints what `Graph.to_mermaid()` gives, and makes no journal."""
    graph = find_workflow("graphs.py:arithmetic")
    called = call("graph", "graphs.py:arithmetic")
    assert called.code == 0, called.err
    assert not isinstance(graph, type)
    assert called.out == graph.to_mermaid().rstrip("\n") + "\n"
    assert "double" in called.out
    assert call("graph", "graphs.py:arithmetic", "--json").document == {
        "workflow_id": "arithmetic",
        "mermaid": graph.to_mermaid(),
    }
    assert [path.name for path in graphs.parent.iterdir() if path.name.startswith("actorflow.db")] == []


def test_the_diagram_of_a_class_has_its_steps(call: Call, graphs: Path) -> None:
    """Of a class, `graph` draws the steps that there are, with what Mermaid would read as its own signs escaped."""
    assert call("graph", "graphs.py:Hooked").out.splitlines() == [
        "flowchart TD",
        "    %% hooked class is a class: its steps decide at run time which ones follow",
        '    start(["start"])',
        '    subgraph actions ["scheduled at run time"]',
        '        action1["say #quot;hi#quot; #35;1"]',
        "    end",
        "    start -.-> actions",
        '    on_workflow_complete(["on_workflow_complete"])',
        "    actions -. when all have ended .-> on_workflow_complete",
        '    on_workflow_cancel(["on_workflow_cancel"])',
        "    actions -. on cancel .-> on_workflow_cancel",
    ]


def test_the_diagram_of_a_class_without_actions_is_its_start(call: Call, graphs: Path) -> None:
    """A class with `start` alone is one node."""
    assert call("graph", "graphs.py:Bare").out.splitlines()[2:] == ['    start(["start"])']


@pytest.mark.parametrize("command", ["graph", "run"])
@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("graphs.py:draft", ["draft", "commit()"]),
        ("graphs.py:double", ["step"]),
        ("graphs.py:missing", ["missing", "arithmetic", "outer", "Hooked"]),
        ("graphs.py:make", ["not a workflow", "arithmetic"]),
        ("graphs.py", ["MODULE:WORKFLOW", "arithmetic"]),
        ("nothing.py:flow", ["no file"]),
    ],
)
def test_what_is_no_graph_is_wrong_use(call: Call, graphs: Path, command: str, target: str, words: list[str]) -> None:
    """A builder that is not committed, a step, a function or nothing at all exits with 2, with what there is."""
    called = call(command, target)
    assert (called.code, called.out) == (2, "")
    assert [word for word in words if word not in called.err] == []
    assert len(called.err.splitlines()) == 1


def test_what_a_file_defines_has_its_graphs(graphs: Path) -> None:
    """Graphs stand beside classes in what a file defines, under their variables; a builder is none."""
    assert sorted(find_workflows("graphs.py")) == ["Bare", "Hooked", "arithmetic", "broken", "outer"]


def test_a_graph_is_at_home_in_one_file(graphs: Path, folder: Path) -> None:
    """A graph that a file only imports is not defined there; one that a function of another file made is."""
    (folder / "more.py").write_text(
        "from graphs import arithmetic, make\n\nmade = make()\nagain = made\n", encoding="utf-8"
    )
    assert list(find_workflows("more.py")) == ["made"]


def test_a_class_calls_what_its_module_knows(call: Call, folder: Path) -> None:
    """A child run of a workflow that the file imports, or defines further below, needs no list of workflows."""
    (folder / "far.py").write_text(
        "from actorflow import Workflow\n\n\nclass Far(Workflow):\n"
        "    async def start(self, data, ctx):\n        return data + 1\n",
        encoding="utf-8",
    )
    (folder / "near.py").write_text(
        "from actorflow import Workflow\nfrom far import Far\n\n\nclass Calls(Workflow):\n"
        "    async def start(self, data, ctx):\n"
        "        return await ctx.run_child(Far, await ctx.run_child(Below, data))\n\n\n"
        "class Below(Workflow):\n    async def start(self, data, ctx):\n        return data * 10\n",
        encoding="utf-8",
    )
    called = call("run", "near.py:Calls", "--input", "4", "--json")
    assert called.code == 0, called.err
    assert called.document["output"] == 41


def test_neighbours_that_do_not_agree_stay_out(graphs: Path) -> None:
    """Of what stands beside the wanted workflow, what cannot run or has an id that means another one is left out."""
    with graphs.open("a", encoding="utf-8") as file:
        file.write(
            "\n\nclass Broken(Workflow):\n    pass\n\n\nclass Twin(Workflow):\n    id = 'arithmetic'\n"
            "    async def start(self, data, ctx): ...\n"
        )
    for name in ("outer", "Twin"):
        wanted = find_workflow(f"graphs.py:{name}")
        known = together([wanted], find_beside("graphs.py"))
        assert known[resolve(wanted).workflow_id] is wanted
        assert len(definitions_of(known.values())) >= len(known)
        assert ("outer" in known) == (name == "outer")
        assert "Broken" not in known


def test_recover_from_a_file_without_the_workflow_says_what_is_there(call: Call, leave: Leave, graphs: Path) -> None:
    """`recover FILE` of a file that does not have the workflow of a run exits with 2 and names what it has."""
    leave("Waiting", None, "r-1")
    called = call("recover", "graphs.py")
    assert called.code == 2
    assert [word for word in ("graphs.py", "'Waiting'", "'arithmetic'") if word not in called.out] == []
    assert "open_runtime" not in called.out


def test_two_workflows_of_one_id_cannot_be_recovered(call: Call, leave: Leave, graphs: Path) -> None:
    """`recover FILE` of a file in which a class and a graph have one id exits with 2 and names both."""
    leave("Waiting", None, "r-1")
    with graphs.open("a", encoding="utf-8") as file:
        file.write("\n\nclass Twin(Workflow):\n    id = 'outer'\n    async def start(self, data, ctx): ...\n")
    called = call("recover", "graphs.py")
    assert called.code == 2
    assert "have the id 'outer': outer and Twin" in called.err


def test_a_place_that_holds_another_workflow_now_is_told(call: Call, leave: Leave, folder: Path) -> None:
    """When the recorded name stands for a workflow of another id, acting exits with 2 and names both ids."""
    leave("Waiting", None, "r-1")
    text = (folder / "flows.py").read_text(encoding="utf-8")
    text = text.replace("class Waiting(Workflow):", "class Waiting(Workflow):\n    id = 'w2'")
    (folder / "flows.py").write_text(text, encoding="utf-8")
    del sys.modules["flows"]
    called = call("event", "r-1", "go")
    assert called.code == 2
    assert [word for word in ("'w2'", "'Waiting'", "actorflow recover") if word not in called.err] == []


def test_a_taken_run_id_tells_what_to_type(call: Call, graphs: Path) -> None:
    """A second run with the id of another tells the option and the command that help, no function of the library."""
    call("run", "graphs.py:arithmetic", "--input", "1", "--run-id", "r 1")
    called = call("run", "graphs.py:outer", "--input", "1", "--run-id", "r 1")
    assert called.code == 2
    assert [word for word in ("--run-id", "actorflow show 'r 1'") if word not in called.err] == []

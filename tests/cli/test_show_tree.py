"""`actorflow show` of runs that have runs below them, suspensions, waits and timers."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from actorflow import open_runtime
from actorflow.cli.finding import find_workflow
from tests.cli.calls import Call, Spawn

FLOWS = """
import trio

from actorflow import Context, Retry, Workflow, step, workflow


@step
async def ask(data, ctx: Context):
    return await ctx.suspend({"amount": data}, label="[b]boss[/b]\\x1b[2J")


@step
async def fetch(data, ctx: Context):
    return data


inner = workflow("inner").then(fetch).then(ask).commit()
middle = workflow("middle").then(inner).commit()
outer = workflow("outer").parallel([middle, fetch]).commit()
deep = workflow("deep").foreach(middle, concurrency=None).commit()


@step
async def hold(data, ctx: Context):
    print("open", flush=True)
    await trio.sleep_forever()


held = workflow("held").parallel([middle, hold]).commit()


class Waits(Workflow):
    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("later", delay="1 day")
        await ctx.schedule_many("soon", range(3), delay="2 hr")
        await ctx.wait_for_event("go", action="later", timeout=3600, on_timeout="later")
        await ctx.schedule_next_step("shaky")
        await ctx.schedule_next_step("pause")

    async def later(self, data, ctx: Context): ...

    async def soon(self, data, ctx: Context): ...

    @step(retry=Retry(attempts=2, delay=3600, max_delay=3600))
    async def shaky(self, data, ctx: Context):
        raise ValueError("not\\nyet")

    async def pause(self, data, ctx: Context):
        await ctx.suspend()


sleeper = workflow("sleeper").sleep(86400).commit()
listener = workflow("listener").wait_for_event("go", timeout=3600).commit()


class Many(Workflow):
    async def start(self, data, ctx: Context):
        await ctx.schedule_many("item", range(60))
        await ctx.schedule_next_step("pause")

    async def item(self, data, ctx: Context): ...

    async def pause(self, data, ctx: Context):
        await ctx.suspend()
"""


DAMAGE = "UPDATE frames SET crc = crc + 1 WHERE run = (SELECT key FROM runs WHERE run_id = ?)"
WORDS = {"outer", "middle", "inner", "fetch", "ask", "suspended", "completed"}


@pytest.fixture(autouse=True)
def flows(folder: Path) -> None:
    """A file of workflows that call each other, in the current folder."""
    (folder / "trees.py").write_text(FLOWS, encoding="utf-8")


def begin(call: Call, name: str, data: object = 7) -> None:
    """Start a run that suspends."""
    called = call("run", f"trees.py:{name}", "--input", json.dumps(data), "--run-id", "r-1")
    assert called.code == 3, called.err


def drawn(text: str, run_id: str = "r-1") -> list[str]:
    """The lines of the tree: those below the table that have the run, or a branch."""
    lines = text.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith(f"{run_id}  "))
    last = next((number for number, line in enumerate(lines) if line.startswith("to resume")), len(lines))
    return [line.rstrip() for line in lines[first:last]]


def children(document: dict[str, object]) -> list[dict[str, object]]:
    """The documents of the runs right below."""
    found = document["children"]
    assert isinstance(found, list)
    return found


@pytest.mark.rule("D4")
def test_the_tree_has_steps_below_runs_and_runs_below_steps(call: Call) -> None:
    """Each child run stands below the step that called it, and a suspension once, with its label and payload."""
    begin(call, "outer")
    called = call("show", "r-1")
    assert called.code == 0, called.err
    words = [" ".join(line.strip("│├└─ ").split()) for line in drawn(called.out)]
    kinds = [[word for word in line.split() if word in WORDS] for line in words]
    assert kinds == [
        ["outer", "suspended"],
        ["middle", "suspended"],
        ["middle", "suspended"],
        ["inner", "suspended"],
        ["inner", "suspended"],
        ["fetch", "completed"],
        ["ask", "suspended"],
        ["fetch", "completed"],
    ]
    depths = [len(line) - len(line.lstrip("│├└─ ")) for line in drawn(called.out)]
    assert depths == [0, 4, 8, 12, 16, 20, 20, 4]
    assert called.out.count('payload {"amount":7}') == 1


def test_what_runs_say_is_neither_markup_nor_obeyed(call: Call) -> None:
    """A label is shown sign by sign, and what a terminal would obey is not."""
    begin(call, "outer")
    out = call("show", "r-1").out
    assert "[b]boss[/b]" in out
    assert "\x1b" not in out


def test_the_document_has_the_children_at_every_depth(call: Call) -> None:
    """With --json each run has the documents of the runs below it, and the suspensions of its whole tree."""
    begin(call, "outer")
    document = call("show", "r-1", "--json").document
    suspended = document["suspensions"]
    assert isinstance(suspended, list)
    assert [(one["path"], one["payload"]) for one in suspended] == [(["middle", "inner", "ask"], {"amount": 7})]
    (middle,) = children(document)
    (inner,) = children(middle)
    assert [one["workflow_id"] for one in (middle, inner)] == ["middle", "inner"]
    assert [one["parent_id"] for one in (middle, inner)] == ["r-1", middle["run_id"]]
    assert children(inner) == []
    assert middle["suspensions"] == inner["suspensions"] == suspended
    core = {"run_id", "status", "output", "suspensions", "steps", "waits", "timers", "children"}
    assert [core - set(one) for one in (document, middle, inner)] == [set(), set(), set()]


def test_a_finished_tree_keeps_its_runs(call: Call) -> None:
    """After the end the children are still below the steps that called them, with their outputs."""
    begin(call, "outer")
    assert call("resume", "r-1", "--data", "true").code == 0
    document = call("show", "r-1", "--json").document
    assert document["output"] == {"middle": True, "fetch": 7}
    (middle,) = children(document)
    assert middle.items() >= {"status": "completed", "output": True, "suspensions": []}.items()
    depths = [len(line) - len(line.lstrip("│├└─ ")) for line in drawn(call("show", "r-1").out)]
    assert depths == [0, 4, 8, 12, 16, 20, 20, 4]


def test_a_child_run_can_be_shown_alone(call: Call) -> None:
    """`show` takes the id of a child run and names its parent."""
    begin(call, "outer")
    (middle,) = children(call("show", "r-1", "--json").document)
    called = call("show", str(middle["run_id"]))
    assert called.code == 0, called.err
    assert "parent" in called.out


def test_children_stand_in_the_order_of_their_calls(call: Call) -> None:
    """Each element of a foreach has its own child run below its own step."""
    begin(call, "deep", [10, 20, 30])
    document = call("show", "r-1", "--json").document
    payloads = []
    for middle in children(document):
        suspended = middle["suspensions"]
        assert isinstance(suspended, list)
        payloads += [one["payload"]["amount"] for one in suspended]
    assert payloads == [10, 20, 30]


def test_waits_and_timers_are_shown(call: Call) -> None:
    """Open waits with their deadlines, delayed steps, and retries with what went wrong, have a line each."""
    begin(call, "Waits")
    document = call("show", "r-1", "--json").document
    timers = document["timers"]
    assert isinstance(timers, list)
    assert sorted(timer["step_id"] for timer in timers) == ["later", "shaky", "soon", "soon", "soon"]
    lines = drawn(call("show", "r-1").out)
    assert len([line for line in lines if "waits for event 'go' until 2" in line]) == 1
    assert len([line for line in lines if "pending  due 2" in line]) == 5
    assert len([line for line in lines if "ValueError: not yet" in line and "due 2" in line]) == 1


def test_waits_and_sleeps_of_a_graph_are_shown(call: Call) -> None:
    """What a graph waits for has a line of its own, without the name of a hidden step."""

    async def begin_to_rest() -> None:
        graphs = [find_workflow(f"trees.py:{name}") for name in ("sleeper", "listener")]
        async with open_runtime(graphs, journal="sqlite:actorflow.db", shutdown_grace=0) as runtime:
            for number, graph in enumerate(graphs, 1):
                run = await runtime.start(graph, run_id=f"r-{number}")
                while not [fact for fact in await run.history() if fact.kind == "node-entered"]:
                    await trio.lowlevel.checkpoint()

    trio.run(begin_to_rest)
    sleeping, listening = (drawn(call("show", name).out, name) for name in ("r-1", "r-2"))
    assert [len(lines) for lines in (sleeping, listening)] == [2, 2]
    assert "1  sleeps until 2" in sleeping[1]
    assert "1  waits for event 'go' until 2" in listening[1]


def test_what_is_open_is_shown_before_what_is_done(call: Call) -> None:
    """Of many steps the first are shown, but a suspended one always; --all shows them all."""
    begin(call, "Many")
    short, full = call("show", "r-1").out, call("show", "r-1", "--all").out
    assert "12 more steps: --all shows them" in short
    assert [len(drawn(text)) for text in (short.replace("12 more", "to resume"), full)] == [51, 63]
    assert "pause  suspended" in short


def test_a_damaged_child_is_told_and_the_rest_shown(call: Call, folder: Path) -> None:
    """A child run whose facts are damaged has its error in its place, and its siblings are shown: exit code 0."""
    begin(call, "deep", [10, 20])
    first, second = children(call("show", "r-1", "--json").document)
    with closing(sqlite3.connect(folder / "actorflow.db")) as connection:
        connection.execute(DAMAGE, (first["run_id"],))
        connection.commit()
    called = call("show", "r-1", "--json")
    assert called.code == 0, called.err
    broken, whole = children(called.document)
    error = broken["recovery_error"]
    assert isinstance(error, dict)
    assert error["error_type"] == "JournalCorrupt"
    assert whole == second
    assert "damaged" in call("show", "r-1").out


def test_a_tree_is_read_while_another_process_owns_it(call: Call, spawn: Spawn) -> None:
    """While a process runs on the journal, the tree is drawn from what it has committed."""
    process = spawn("run", "trees.py:held", "--run-id", "r-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    called = call("show", "r-1")
    assert called.code == 0, called.err
    assert [word for word in ("held", "middle", "hold") if word not in called.out] == []
    assert process.poll() is None

"""`actorflow resume`, and how a suspended run looks from a shell: as the owner of the journal and beside one."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from actorflow import Suspension
from actorflow.cli.resuming import address
from tests.cli.calls import Call, Called, Leave, Spawn

FLOWS = '''
from attrs import define

from actorflow import Context, Workflow, step, workflow


@define
class Answer:
    ok: bool


@step
async def approve(data, ctx: Context):
    return {"approve": await ctx.suspend({"amount": data}, label="boss")}


@step
async def budget(data, ctx: Context):
    return {"budget": await ctx.suspend()}


@step
async def twice(data, ctx: Context):
    first = await ctx.suspend("first")
    return [first, await ctx.suspend("second")]


@step(resume=Answer)
async def typed(data, ctx: Context):
    answer = await ctx.suspend()
    return answer.ok


@step
async def each(data, ctx: Context):
    return await ctx.suspend(data)


one = workflow("one").then(approve).commit()
pair = workflow("pair").parallel([approve, budget]).commit()
both = workflow("both").then(twice).commit()
strict = workflow("strict").then(typed).commit()
fan = workflow("fan").foreach(each, concurrency=None).commit()
nested = workflow("nested").then(one).commit()
twins = workflow("twins").parallel([one, approve]).commit()


class Held(Workflow):
    """Its process lives until the event "free" comes."""

    async def start(self, data, ctx: Context):
        await ctx.wait_for_event("free", action="free")
        await ctx.schedule_next_step("ask", "boss")
        await ctx.schedule_next_step("ask", "clerk")
        await ctx.schedule_next_step("hold")

    async def ask(self, data, ctx: Context):
        await ctx.run_store.set(data, await ctx.suspend(label=data))

    async def hold(self, data, ctx: Context):
        print("open", flush=True)
        await ctx.run_store.wait_for("free", bool)

    async def free(self, data, ctx: Context):
        await ctx.run_store.set("free", True)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.snapshot()


class Asking(Workflow):
    async def start(self, data, ctx: Context):
        return {"child": await ctx.run_child(Asked, data)}


class Asked(Workflow):
    async def start(self, data, ctx: Context):
        return await ctx.suspend({"for": data})
'''


@pytest.fixture(autouse=True)
def flows(folder: Path) -> None:
    """A file of workflows that suspend, in the current folder."""
    (folder / "waits.py").write_text(FLOWS, encoding="utf-8")


def begin(call: Call, name: str, data: object = 7) -> Called:
    """Start a run that suspends."""
    called = call("run", f"waits.py:{name}", "--input", json.dumps(data), "--run-id", "r-1")
    assert called.code == 3, called.err
    return called


def commands(text: str) -> list[list[str]]:
    """The commands that a message tells to type, without the program's name."""
    return [shlex.split(line)[1:] for line in text.splitlines() if line.startswith("  actorflow ")]


def places(called: Called) -> list[object]:
    """The activations in which a document says that a run is suspended."""
    suspensions = called.document["suspensions"]
    assert isinstance(suspensions, list)
    return [one["activation_id"] for one in suspensions]


def test_a_suspended_run_tells_how_to_resume_it(call: Call) -> None:
    """A run that suspends exits with 3; the table has step, label and payload, and below stands what to type."""
    called = begin(call, "one")
    assert [word for word in ("suspended", "approve (1", '"boss"', '{"amount":7}') if word not in called.out] == []
    assert commands(called.out) == [["resume", "r-1", "--data", "JSON"]]


def test_the_document_of_a_suspended_run_has_its_suspensions(call: Call) -> None:
    """With --json there is one document, with the suspension's fields, and exit code 3."""
    called = call("run", "waits.py:one", "--input", "7", "--run-id", "r-1", "--json")
    assert (called.code, called.err) == (3, "")
    assert called.document.items() >= {"run_id": "r-1", "status": "suspended", "output": None}.items()
    assert called.document["suspensions"] == [
        {"activation_id": "1", "step_id": "approve", "path": ["approve"], "label": "boss", "payload": {"amount": 7}}
    ]


def test_the_command_names_a_journal_that_is_not_the_usual_one(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """The printed command can be typed as it stands: it names the journal unless the environment does."""
    arguments = ("run", "waits.py:one", "--input", "7", "--run-id", "a b", "--journal", "sqlite:my runs.db")
    printed = commands(call(*arguments).out)
    assert printed == [["resume", "a b", "--data", "JSON", "--journal", "sqlite:my runs.db"]]
    assert call(*printed[0][:3], "1", *printed[0][4:]).code == 0
    monkeypatch.setenv("ACTORFLOW_JOURNAL", "sqlite:my runs.db")
    assert commands(call("run", "waits.py:one", "--run-id", "-r").out) == [["resume", "--data", "JSON", "--", "-r"]]
    assert call("resume", "--data", "1", "--", "-r").code == 0


def test_a_resumed_run_is_driven_to_its_end(call: Call) -> None:
    """Without an owner, `resume` takes the run up, gives the answer and follows the run to its end."""
    begin(call, "one")
    called = call("resume", "r-1", "--data", '{"yes": true}', "--json")
    assert called.code == 0, called.err
    assert called.document.items() >= {"status": "completed", "output": {"approve": {"yes": True}}}.items()


def test_an_answer_comes_from_a_file_or_is_left_out(call: Call, folder: Path) -> None:
    """--data takes @FILE; without --data the answer is null."""
    (folder / "answer.json").write_text("[1]", encoding="utf-8")
    begin(call, "one")
    assert call("resume", "r-1", "--data", "@answer.json", "--json").document["output"] == {"approve": [1]}
    assert call("run", "waits.py:one", "--run-id", "r-2").code == 3
    assert call("resume", "r-2", "--json").document["output"] == {"approve": None}


def test_a_run_that_suspends_again_gives_three_again(call: Call) -> None:
    """`resume` of a run that suspends once more exits with 3 and tells how to go on from there."""
    begin(call, "both")
    again = call("resume", "r-1", "--data", "1")
    assert again.code == 3, again.err
    assert "second" in again.out
    assert commands(again.out) == [["resume", "r-1", "--data", "JSON"]]
    assert call("resume", "r-1", "--data", "2", "--json").document["output"] == [1, 2]


@pytest.mark.rule("D3")
@pytest.mark.parametrize("name", ["pair", "fan", "twins"])
def test_each_printed_command_resumes_one_place(call: Call, name: str) -> None:
    """Where a run waits in several places, one command is printed for each, and each resumes just that."""
    begun = begin(call, name, [10, 20] if name == "fan" else 7)
    printed = commands(begun.out)
    assert len(printed) == 2
    assert commands(call("show", "r-1").out) == printed
    first, second = ([*command[:-1], json.dumps(number)] for number, command in enumerate(printed))
    before = places(call("show", "r-1", "--json"))
    assert call(*second).code == 3
    assert places(call("show", "r-1", "--json")) == before[:1]
    ended = call(*first, "--json")
    assert ended.code == 0, ended.err
    assert (
        ended.document["output"]
        == {
            "pair": {"approve": {"approve": 0}, "budget": {"budget": 1}},
            "fan": [0, 1],
            "twins": {"one": {"approve": 1}, "approve": {"approve": 0}},
        }[name]
    )


def test_several_places_and_no_step_is_wrong_use(call: Call) -> None:
    """Without --step, `resume` of a run that waits in two places exits with 2 and tells both commands."""
    printed = commands(begin(call, "pair").out)
    called = call("resume", "r-1", "--data", "1")
    assert (called.code, called.out) == (2, "")
    assert "suspended in 2 places: say which one is meant" in called.err
    assert commands(called.err) == printed


def test_of_many_places_the_first_are_told(call: Call) -> None:
    """Beyond twenty places the commands end with the one that shows them all."""
    told = begin(call, "fan", list(range(25))).out
    assert len(commands(told)) == 20
    assert told.splitlines()[-1] == "  … and 5 more: actorflow show r-1 --json"


def test_a_label_names_a_place(call: Call) -> None:
    """--label resumes the suspension with that label."""
    begin(call, "pair")
    assert call("resume", "r-1", "--label", "boss").code == 3
    assert places(call("show", "r-1", "--json")) == ["2"]


@pytest.mark.parametrize("options", [["--step", "nobody"], ["--label", "nobody"]])
def test_a_place_that_is_not_there_is_wrong_use(call: Call, options: list[str]) -> None:
    """A step or label that nothing suspended has exits with 2 and tells what there is."""
    printed = commands(begin(call, "pair").out)
    called = call("resume", "r-1", *options)
    assert called.code == 2
    assert "nobody" in called.err
    assert commands(called.err) == printed


@pytest.mark.parametrize("options", [[], ["--step", "approve"]])
def test_a_run_that_is_over_cannot_be_resumed(call: Call, options: list[str]) -> None:
    """`resume` after the end exits with 2, in one line with the next command."""
    begin(call, "one")
    call("resume", "r-1")
    called = call("resume", "r-1", *options)
    assert called.code == 2
    assert called.err == ("actorflow: nothing in run 'r-1' is suspended (it is completed); see: actorflow show r-1\n")


def test_a_run_that_only_waits_cannot_be_resumed(call: Call, leave: Leave) -> None:
    """`resume` of a run that waits for an event exits with 2, and the run still waits."""
    leave("Waiting", None, "r-1")
    called = call("resume", "r-1")
    assert called.code == 2
    assert "is running" in called.err
    assert call("show", "r-1", "--json").document["status"] == "running"


@pytest.mark.rule("D5")
def test_an_answer_of_the_wrong_type_is_wrong_use(call: Call) -> None:
    """An answer that does not fit the step's resume type exits with 2, names the field, and changes nothing."""
    begin(call, "strict")
    called = call("resume", "r-1", "--data", '{"ok": "yes"}')
    assert called.code == 2
    assert "$.ok" in called.err
    assert call("resume", "r-1", "--data", '{"ok": true}', "--json").document["output"] is True


@pytest.mark.rule("D4")
@pytest.mark.parametrize("name", ["nested", "Asking"])
@pytest.mark.parametrize("at_child", [False, True])
def test_a_step_of_a_child_run_is_resumed(call: Call, name: str, at_child: bool) -> None:
    """A step below is resumed by the outermost run's id or by the child's; the outermost run is driven to its end."""
    begin(call, name)
    children = call("show", "r-1", "--json").document["children"]
    assert isinstance(children, list)
    called = call("resume", children[0]["run_id"] if at_child else "r-1", "--data", "true", "--json")
    assert called.code == 0, called.err
    assert called.document["run_id"] == "r-1"
    assert called.document["output"] == ({"approve": True} if name == "nested" else {"child": True})


def test_an_event_or_a_cancel_reaches_a_suspended_run(call: Call) -> None:
    """`event` to a suspended run keeps it suspended, `cancel` ends it."""
    begin(call, "nested")
    assert call("event", "r-1", "go").code == 3
    assert call("cancel", "r-1").code == 0
    assert call("show", "r-1", "--json").document["status"] == "cancelled"


def test_recover_gives_three_and_tells_how_to_resume(call: Call) -> None:
    """A run that is still suspended after `recover` makes it exit with 3, with the command below the table."""
    begin(call, "one")
    called = call("recover")
    assert called.code == 3, called.err
    assert commands(called.out) == [["resume", "r-1", "--data", "JSON"]]


@pytest.mark.parametrize("arguments", [["resume", "nobody"], ["resume", "r-1", "--data", "{"]])
def test_resuming_nothing_is_wrong_use(call: Call, arguments: list[str]) -> None:
    """An unknown run, or an answer that is no JSON, exits with 2."""
    begin(call, "one")
    called = call(*arguments)
    assert called.code == 2
    assert len(called.err.splitlines()) == 1


def test_resuming_creates_no_journal(call: Call, folder: Path) -> None:
    """Where there is no journal, `resume` exits with 4, tells how one is made, and leaves no file behind."""
    called = call("resume", "r-1")
    assert called.code == 4
    assert "actorflow run" in called.err
    assert [path.name for path in folder.iterdir() if path.name.startswith("actorflow.db")] == []


def test_a_live_owner_resumes_its_run(call: Call, spawn: Spawn) -> None:
    """While a process owns the journal, it resumes the step, and refuses like this one; both exit codes say so."""
    process = spawn("run", "waits.py:Held", "--run-id", "r-1", "--json")
    assert process.stderr is not None
    assert process.stderr.readline() == "open\n"
    ambiguous = call("resume", "r-1")
    assert (ambiguous.code, len(commands(ambiguous.err))) == (2, 2), ambiguous.err
    called = call("resume", "r-1", "--label", "boss", "--data", "1", "--json")
    assert called.code == 0, called.err
    assert called.document.items() >= {"run_id": "r-1", "status": "running"}.items()
    told = call("resume", "r-1", "--step", "ask", "--data", "2")
    assert (told.code, told.out) == (0, "r-1: resumed (by the process that owns the journal)\n"), told.err
    assert call("resume", "r-1").code == 2
    assert call("event", "r-1", "free").code == 0
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert json.loads(out)["output"] == {"boss": 1, "clerk": 2, "free": True}


@pytest.mark.parametrize(
    ("places", "addresses"),
    [
        ([("1", ("a",)), ("2", ("b",))], ["a", "b"]),
        ([("1", ("a",)), ("2", ("a",))], ["1", "2"]),
        ([("1", ("a",)), ("2.1", ("x", "a")), ("3.1", ("y", "a"))], ["1", "x.a", "y.a"]),
        ([("1.1", ("x", "a")), ("2.1", ("x", "a")), ("3", ("b",))], ["1.1", "2.1", "b"]),
        ([("1", ("7",)), ("2", ("1.2",))], ["1", "2"]),
    ],
)
def test_a_place_has_the_shortest_address_that_means_it_alone(
    places: list[tuple[str, tuple[str, ...]]], addresses: list[str]
) -> None:
    """A step is named by its id, else by its path, else by its activation; never by an id that looks like one."""
    among = [Suspension(activation_id=name, step_id=path[-1], path=path) for name, path in places]
    assert [address(one, among) for one in among] == addresses

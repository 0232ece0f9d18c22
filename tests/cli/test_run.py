"""`actorflow run`: input, output, ids, and every way to name a workflow that is none."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.calls import Call, Leave


def test_a_completed_run_gives_zero_and_a_table(call: Call) -> None:
    """A run that completes exits with 0 and shows status, output and counts on stdout."""
    called = call("run", "flows.py:Double", "--input", '{"a": 1}', "--run-id", "r-1")
    assert called.code == 0, called.err
    assert "r-1" in called.out
    assert "completed" in called.out
    assert '"a": 1' in called.out
    assert called.err == ""


def test_json_is_one_document_about_the_run(call: Call) -> None:
    """With --json stdout holds one document with id, status, output and suspensions."""
    called = call("run", "flows.py:Fan", "--input", "5", "--run-id", "r-1", "--json")
    assert called.code == 0, called.err
    assert called.document.items() >= {
        "run_id": "r-1", "workflow_id": "Fan", "status": "completed", "output": {"total": 10}, "suspensions": [],
        "error": None, "failures": [],
    }.items()  # fmt: skip
    assert called.document["counts"] == {"completed": 6}


def test_typed_output_is_json_and_noise_of_steps_is_not_in_it(call: Call) -> None:
    """A typed output is shown as JSON, and what a step prints goes to stderr when stdout is a document."""
    called = call("run", "flows.py:Typed", "--input", '{"id": 7, "items": ["a", "b"]}', "--json")
    assert called.code == 0, called.err
    assert called.document["output"] == {"order": 7, "count": 2}
    assert "noise of a step" in called.err


def test_input_comes_from_a_file(call: Call, folder: Path) -> None:
    """--input @FILE reads JSON from a file."""
    (folder / "order.json").write_text('{"id": 1, "items": []}', encoding="utf-8")
    assert call("run", "flows.py:Typed", "--input", "@order.json", "--json").document["output"] == {
        "order": 1,
        "count": 0,
    }


def test_input_comes_from_stdin(call: Call) -> None:
    """--input - reads JSON from stdin."""
    called = call("run", "flows.py:Double", "--input", "-", "--json", stdin='"ä"'.encode())
    assert called.document["output"] == ["ä", "ä"]


def test_initial_state_is_given(call: Call) -> None:
    """--state fills the run store before the first step."""
    assert call("run", "flows.py:Seeded", "--state", '{"seed": [1]}', "--json").document["output"] == [1]


def test_a_failed_run_gives_one_and_names_the_failure(call: Call) -> None:
    """A run that fails exits with 1; the error's text is shown as it is, not as markup."""
    called = call("run", "flows.py:Failing")
    assert called.code == 1
    assert "ValueError: [bold]boom[/bold]" in called.out
    assert "Traceback" not in called.err


def test_a_failed_run_is_described_as_json(call: Call) -> None:
    """The document of a failed run holds the failure's fields."""
    called = call("run", "flows.py:Failing", "--json")
    assert called.code == 1
    error = called.document["error"]
    assert isinstance(error, dict)
    assert error["step_id"] == "start"
    assert error["error_type"] == "ValueError"
    assert called.document["failures"] == [error]


def test_the_same_start_gives_the_same_run(call: Call) -> None:
    """A second call with the same id and input gives the finished run again."""
    first = call("run", "flows.py:Double", "--input", "1", "--run-id", "r-1", "--json")
    second = call("run", "flows.py:Double", "--input", "1", "--run-id", "r-1", "--json")
    assert (first.code, second.code) == (0, 0)
    assert first.document["output"] == second.document["output"] == [1, 1]
    assert len(json.loads(call("runs", "--json").out)["runs"]) == 1


def test_a_taken_id_with_another_input_is_refused(call: Call) -> None:
    """The same id with other input is wrong use."""
    call("run", "flows.py:Double", "--input", "1", "--run-id", "r-1")
    called = call("run", "flows.py:Double", "--input", "2", "--run-id", "r-1")
    assert called.code == 2
    assert "r-1" in called.err
    assert len(called.err.splitlines()) == 1


def test_an_unfinished_run_is_taken_up(call: Call, leave: Leave, folder: Path) -> None:
    """`run` with the id and input of an unfinished run goes on with it."""
    leave("Stuck", str(folder / "free"), "r-1")
    (folder / "free").touch()
    called = call("run", "flows.py:Stuck", "--input", json.dumps(str(folder / "free")), "--run-id", "r-1", "--json")
    assert (called.code, called.document["output"]) == (0, "free")


def test_a_nested_class_is_found(call: Call) -> None:
    """A dotted name reaches a class inside a class."""
    assert call("run", "flows.py:Outer.Inner", "--json").document["output"] == "inner"


def test_a_module_is_found_from_the_current_folder(call: Call) -> None:
    """A dotted module name is imported with the current folder on the path."""
    assert call("run", "flows:Double", "--input", "1", "--json").document["output"] == [1, 1]


def test_a_file_in_a_package_is_imported_under_its_full_name(call: Call, folder: Path) -> None:
    """Relative imports work in a file that is part of a package."""
    package = folder / "shop" / "orders"
    package.mkdir(parents=True)
    (folder / "shop" / "__init__.py").touch()
    (package / "__init__.py").touch()
    (folder / "shop" / "tools.py").write_text("ANSWER = 42\n", encoding="utf-8")
    (package / "flow.py").write_text(
        "from actorflow import Workflow\nfrom ..tools import ANSWER\n\n"
        "class Flow(Workflow):\n    async def start(self, data, ctx):\n        return ANSWER\n",
        encoding="utf-8",
    )
    assert call("run", "shop/orders/flow.py:Flow", "--json").document["output"] == 42


def test_two_files_of_one_name_do_not_mix(call: Call, folder: Path) -> None:
    """A file called like a module that is loaded already is still the file that was named."""
    (folder / "json.py").write_text(
        "from actorflow import Workflow\n\nclass Flow(Workflow):\n"
        "    async def start(self, data, ctx):\n        return 'mine'\n",
        encoding="utf-8",
    )
    assert call("run", "./json.py:Flow", "--json").document["output"] == "mine"


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("flows.py:Missing", ["Missing", "Double"]),
        ("flows.py", ["MODULE:WORKFLOW", "Double"]),
        ("flows.py:Plain", ["Plain", "not a workflow"]),
        ("flows.py:number", ["3", "not a workflow"]),
        ("flows.py:Workflow", ["not a workflow"]),
        ("nothing.py:Flow", ["no file", "nothing.py"]),
        ("no.such.module:Flow", ["no module", "no.such.module"]),
        (":Flow", ["names no workflow"]),
    ],
)
def test_a_target_that_is_no_workflow_is_wrong_use(call: Call, folder: Path, target: str, words: list[str]) -> None:
    """A wrong target exits with 2, says what is there, and creates no journal."""
    called = call("run", target)
    assert called.code == 2
    assert [word for word in words if word not in called.err] == []
    assert len(called.err.splitlines()) == 1
    assert called.out == ""
    assert not (folder / "actorflow.db").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def broken(:\n", ["SyntaxError", "line 1"]),
        ("\n1 / 0\n", ["ZeroDivisionError", "line 2"]),
        ("import missing_part_of_it\n", ["missing_part_of_it"]),
        ("raise SystemExit(3)\n", ["SystemExit"]),
    ],
)
def test_a_file_that_cannot_be_imported_is_wrong_use(call: Call, folder: Path, text: str, words: list[str]) -> None:
    """What goes wrong in the user's file is told in one line, with the line of the file."""
    (folder / "broken.py").write_text(text, encoding="utf-8")
    called = call("run", "broken.py:Flow")
    assert called.code == 2
    assert [word for word in ["broken.py", *words] if word not in called.err] == []
    assert len(called.err.splitlines()) == 1


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--input", '{"a": }'], ["--input", "column 7"]),
        (["--input", ""], ["--input", "column 1"]),
        (["--input", "NaN"], ["--input"]),
        (["--input", "@missing.json"], ["--input", "missing.json", "No such file"]),
        (["--input", "@."], ["--input", "directory"]),
        (["--state", "[1]"], ["--state", "object"]),
        (["--state", "{"], ["--state", "column 2"]),
    ],
)
def test_bad_json_is_wrong_use(call: Call, options: list[str], words: list[str]) -> None:
    """Input that is no JSON exits with 2 and names the option and the place."""
    called = call("run", "flows.py:Double", *options)
    assert called.code == 2
    assert [word for word in words if word not in called.err] == []
    assert len(called.err.splitlines()) == 1


def test_a_file_that_is_no_text_is_wrong_use(call: Call, folder: Path) -> None:
    """Input that is not UTF-8 exits with 2."""
    (folder / "data.json").write_bytes(b'"\xff"')
    called = call("run", "flows.py:Double", "--input", "@data.json")
    assert called.code == 2
    assert "UTF-8" in called.err


def test_input_of_the_wrong_type_is_wrong_use(call: Call) -> None:
    """Input that does not fit the workflow's type exits with 2 and names the path of the bad field."""
    called = call("run", "flows.py:Typed", "--input", '{"id": "7", "items": []}')
    assert called.code == 2
    assert "$.id" in called.err
    assert call("runs", "--json").document == {"runs": []}

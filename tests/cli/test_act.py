"""`actorflow event`, `cancel`, `fork`, `recover`, and interruption: as the owner of the journal and beside one."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.calls import Call, Leave, Spawn


def test_an_event_takes_up_a_run_and_drives_it(call: Call, leave: Leave) -> None:
    """Without an owner, `event` delivers the event and follows the run to its end."""
    leave("Waiting", None, "r-1")
    called = call("event", "r-1", "go", "--data", '{"by": "me"}', "--json")
    assert called.code == 0, called.err
    assert called.document["status"] == "completed"
    assert called.document["output"] == {"seen": [{"by": "me"}]}


def test_an_event_goes_through_the_owner(call: Call, spawn: Spawn) -> None:
    """While a process owns the journal, it delivers the event; both commands exit with 0."""
    process = spawn("run", "flows.py:Waiting", "--run-id", "r-1", "--json")
    assert process.stderr is not None
    assert process.stderr.readline() == "open\n"
    called = call("event", "r-1", "go", "--data", "1", "--json")
    assert called.code == 0, called.err
    assert called.document["run_id"] == "r-1"
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["output"]) == (0, {"seen": [1]}), err


def test_an_owner_answers_with_its_error(call: Call, spawn: Spawn) -> None:
    """An error of the owner has the same exit code as one of this process."""
    first = call("run", "flows.py:Double", "--run-id", "over")
    process = spawn("run", "flows.py:Waiting", "--run-id", "r-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    called = call("event", "over", "go")
    assert (first.code, called.code) == (0, 2), called.err
    assert "over" in called.err
    assert len(called.err.splitlines()) == 1


def test_a_cancel_through_the_owner_ends_its_command_with_five(call: Call, spawn: Spawn) -> None:
    """`cancel` exits with 0; the process that ran the run exits with 5."""
    process = spawn("run", "flows.py:Waiting", "--run-id", "r-1", "--json")
    assert process.stderr is not None
    assert process.stderr.readline() == "open\n"
    assert call("cancel", "r-1", "--reason", "enough").code == 0
    out, err = process.communicate(timeout=60)
    assert (process.returncode, json.loads(out)["status"]) == (5, "cancelled"), err


def test_a_run_without_owner_is_cancelled_here(call: Call, leave: Leave) -> None:
    """Without an owner, `cancel` takes the run up and ends it; the run is then cancelled for everybody."""
    leave("Waiting", None, "r-1")
    called = call("cancel", "r-1", "--json")
    assert (called.code, called.document["status"]) == (0, "cancelled"), called.err
    assert call("run", "flows.py:Waiting", "--run-id", "r-1").code == 5


def test_cancelling_twice_is_harmless(call: Call, leave: Leave) -> None:
    """A second cancel of the same run exits with 0, too."""
    leave("Waiting", None, "r-1")
    assert [call("cancel", "r-1").code, call("cancel", "r-1").code] == [0, 0]


def test_an_event_after_the_end_is_wrong_use(call: Call) -> None:
    """An event to a finished run exits with 2."""
    call("run", "flows.py:Double", "--run-id", "r-1")
    assert call("event", "r-1", "go").code == 2


def test_a_fork_is_a_run_of_its_own(call: Call, leave: Leave, folder: Path) -> None:
    """`fork --before start` runs the workflow again under a new id and leaves the first run as it is."""
    leave("Stuck", str(folder / "free"), "r-1")
    (folder / "free").touch()
    called = call("fork", "r-1", "--before", "start", "--run-id", "r-2", "--json")
    assert called.code == 0, called.err
    assert called.document.items() >= {"run_id": "r-2", "status": "completed", "output": "free"}.items()
    assert call("show", "r-1", "--json").document["status"] == "running"


def test_a_fork_point_is_named_once(call: Call, leave: Leave) -> None:
    """--at and --before together are wrong use."""
    leave("Waiting", None, "r-1")
    assert call("fork", "r-1", "--at", "1", "--before", "start").code == 2


@pytest.mark.parametrize("arguments", [["event", "nobody", "go"], ["cancel", "nobody"], ["fork", "nobody"]])
def test_acting_on_an_unknown_run_is_wrong_use(call: Call, arguments: list[str]) -> None:
    """An unknown id exits with 2."""
    call("run", "flows.py:Double")
    called = call(*arguments)
    assert called.code == 2
    assert "nobody" in called.err


@pytest.mark.parametrize("arguments", [["event", "r-1", "go"], ["cancel", "r-1"], ["fork", "r-1"]])
def test_acting_creates_no_journal(call: Call, folder: Path, arguments: list[str]) -> None:
    """Where there is no journal, acting exits with 4 and leaves no file behind."""
    assert call(*arguments).code == 4
    assert [path.name for path in folder.iterdir() if path.name.startswith("actorflow.db")] == []


def test_a_run_whose_file_is_gone_says_so(call: Call, leave: Leave, folder: Path) -> None:
    """When the workflow's file has gone, acting exits with 2 and names the file."""
    leave("Waiting", None, "r-1")
    (folder / "flows.py").unlink()
    called = call("event", "r-1", "go")
    assert called.code == 2
    assert "flows.py" in called.err


@pytest.mark.rule("F7")
def test_a_busy_journal_is_journal_trouble(call: Call, spawn: Spawn) -> None:
    """`run` and `recover` on a journal that a process owns exit with 4."""
    process = spawn("run", "flows.py:Waiting", "--run-id", "r-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    assert [call("run", "flows.py:Double").code, call("recover").code] == [4, 4]
    assert process.poll() is None


def test_recover_finishes_what_was_left(call: Call, leave: Leave, folder: Path) -> None:
    """`recover` finds the workflows by the journal's own record and drives every run to its end."""
    leave("Stuck", str(folder / "free"), "r-1")
    leave("Stuck", str(folder / "free"), "r-2")
    (folder / "free").touch()
    called = call("recover", "--json")
    assert called.code == 0, called.err
    runs = called.document["runs"]
    assert isinstance(runs, list)
    assert [(run["run_id"], run["status"], run["output"]) for run in runs] == [
        ("r-1", "completed", "free"),
        ("r-2", "completed", "free"),
    ]
    assert call("recover").out.startswith("nothing to recover")


def test_recover_takes_the_workflows_of_a_file(call: Call, leave: Leave, folder: Path) -> None:
    """When the file has moved, `recover FILE` finds the workflows there."""
    leave("Stuck", str(folder / "free"), "r-1")
    (folder / "flows.py").rename(folder / "moved.py")
    (folder / "free").touch()
    assert call("recover").code == 2
    called = call("recover", "moved.py")
    assert called.code == 0, called.err
    assert "completed" in called.out


def test_recover_gives_the_highest_exit_code(call: Call, leave: Leave, folder: Path) -> None:
    """One run that fails makes `recover` exit with 1, whatever became of the others."""
    leave("Stuck", 3, "bad")  # Path(3) raises
    leave("Stuck", str(folder / "free"), "good")
    (folder / "free").touch()
    called = call("recover")
    assert called.code == 1
    assert [word for word in ("bad", "TypeError", "good", "free") if word not in called.out] == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_goes_on_later(call: Call, spawn: Spawn, folder: Path, number: signal.Signals) -> None:
    """Ctrl-C exits with 130, tells how to resume, and the run ends well with `recover`."""
    process = spawn("run", "flows.py:Stuck", "--input", json.dumps(str(folder / "free")), "--run-id", "r-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "stuck\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, err) == ("", "actorflow: interrupted; resume with: actorflow recover --journal sqlite:actorflow.db\n")
    (folder / "free").touch()
    assert call("recover").code == 0
    assert call("show", "r-1", "--json").document["output"] == "free"

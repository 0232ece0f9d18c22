"""`actorflow runs`, `show`, `history`, `state`: they read what is there, whoever owns it, and create nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.calls import Call, Leave, Spawn

ABOUT_A_RUN = ("show", "history", "state")


def listed(call: Call, *options: str) -> list[object]:
    """The ids that `runs` lists."""
    runs = call("runs", "--json", *options).document["runs"]
    assert isinstance(runs, list)
    return [run["run_id"] for run in runs]


def test_runs_lists_newest_first(call: Call) -> None:
    """The list has the newest run first and obeys its filters."""
    call("run", "flows.py:Double", "--run-id", "r-1")
    call("run", "flows.py:Failing", "--run-id", "r-2")
    call("run", "flows.py:Double", "--run-id", "r-3")
    assert listed(call) == ["r-3", "r-2", "r-1"]
    assert listed(call, "--status", "failed") == ["r-2"]
    assert listed(call, "--workflow", "Double") == ["r-3", "r-1"]
    assert listed(call, "--limit", "1") == ["r-3"]


def test_runs_is_a_table_for_people(call: Call) -> None:
    """Without --json the runs stand in a table."""
    call("run", "flows.py:Failing", "--run-id", "r-1")
    called = call("runs")
    assert called.code == 0
    assert [word for word in ("r-1", "Failing", "failed") if word not in called.out] == []


def test_show_tells_status_steps_and_output(call: Call) -> None:
    """`show` has the run's status, its output, and its steps, the first 50 of them unless all are asked for."""
    call("run", "flows.py:Fan", "--input", "60", "--run-id", "r-1")
    called = call("show", "r-1")
    assert called.code == 0, called.err
    assert [word for word in ("Fan", "completed", "1770", "more steps: --all") if word not in called.out] == []
    everything = call("show", "r-1", "--all").out
    assert "more steps" not in everything
    assert len(everything.splitlines()) > len(called.out.splitlines())


def test_show_tells_the_error_of_a_failed_run(call: Call) -> None:
    """`show` of a failed run exits with 0, for showing it worked, and has the error."""
    call("run", "flows.py:Failing", "--run-id", "r-1")
    called = call("show", "r-1")
    assert called.code == 0
    assert "[bold]boom[/bold]" in called.out


def test_show_tells_the_open_waits(call: Call, leave: Leave) -> None:
    """`show` of a waiting run names the event it waits for."""
    leave("Waiting", None, "r-1")
    called = call("show", "r-1")
    assert "running" in called.out
    assert "go" in called.out


@pytest.mark.parametrize("command", ABOUT_A_RUN)
def test_every_document_about_a_run_has_the_same_core(call: Call, leave: Leave, command: str) -> None:
    """run_id, status, output and suspensions stand in each document about a run."""
    leave("Waiting", None, "r-1")
    called = call(command, "r-1", "--json")
    assert called.code == 0, called.err
    core = {"run_id": "r-1", "status": "running", "output": None, "suspensions": []}
    assert called.document.items() >= core.items()


def test_the_document_of_a_finished_run_has_its_output(call: Call) -> None:
    """The output of a finished run is found in the journal."""
    call("run", "flows.py:Fan", "--input", "4", "--run-id", "r-1")
    assert call("show", "r-1", "--json").document["output"] == {"total": 6}


def test_history_is_numbered_and_ends_with_the_end(call: Call) -> None:
    """The facts are numbered from 1; --limit keeps the last ones."""
    call("run", "flows.py:Double", "--input", "1", "--run-id", "r-1")
    facts = call("history", "r-1", "--json").document["facts"]
    assert isinstance(facts, list)
    assert [fact["seq"] for fact in facts] == list(range(1, len(facts) + 1))
    assert call("history", "r-1", "--limit", "1", "--json").document["facts"] == facts[-1:]
    table = call("history", "r-1", "--limit", "1")
    assert table.code == 0
    assert f"{len(facts) - 1} earlier facts" in table.out


def test_state_is_shown_now_and_then(call: Call, leave: Leave) -> None:
    """`state` folds the facts; --at goes back to an earlier one."""
    leave("Waiting", None, "r-1")
    assert call("state", "r-1", "--json").document["state"] == {"phase": "waiting"}
    assert call("state", "r-1", "--at", "1", "--json").document["state"] == {}
    assert "waiting" in call("state", "r-1").out


def test_state_of_a_finished_run_is_wrong_use(call: Call) -> None:
    """The store of a finished run is gone: exit 2 and one line."""
    call("run", "flows.py:Double", "--run-id", "r-1")
    called = call("state", "r-1")
    assert called.code == 2
    assert "r-1" in called.err
    assert len(called.err.splitlines()) == 1


def test_a_journal_is_read_while_another_process_owns_it(call: Call, spawn: Spawn) -> None:
    """All four commands work while a process runs on the journal."""
    process = spawn("run", "flows.py:Waiting", "--run-id", "r-1")
    assert process.stdout is not None
    assert process.stdout.readline() == "open\n"
    assert listed(call) == ["r-1"]
    assert [call(command, "r-1").code for command in ABOUT_A_RUN] == [0, 0, 0]
    assert process.poll() is None


@pytest.mark.parametrize("command", ABOUT_A_RUN)
def test_an_unknown_run_is_wrong_use(call: Call, command: str) -> None:
    """An unknown id exits with 2, nothing on stdout, even with --json."""
    call("run", "flows.py:Double")
    called = call(command, "nobody", "--json")
    assert (called.code, called.out) == (2, "")
    assert "nobody" in called.err


@pytest.mark.parametrize("arguments", [["runs"], *([command, "r-1"] for command in ABOUT_A_RUN), ["recover"]])
def test_looking_creates_no_journal(call: Call, folder: Path, arguments: list[str]) -> None:
    """Where there is no journal, commands that need one exit with 4 and leave no file behind."""
    called = call(*arguments)
    assert called.code == 4
    assert "actorflow.db" in called.err
    assert [path.name for path in folder.iterdir() if path.name.startswith("actorflow.db")] == []


@pytest.mark.parametrize("arguments", [["runs"], ["run", "flows.py:Double"], ["recover"]])
def test_a_foreign_file_is_journal_trouble(call: Call, folder: Path, arguments: list[str]) -> None:
    """A file that is no journal exits with 4 and is left untouched."""
    content = b"these are my holiday notes\n" * 500
    (folder / "notes.db").write_bytes(content)
    called = call(*arguments, "--journal", "sqlite:notes.db")
    assert called.code == 4
    assert len(called.err.splitlines()) == 1
    assert (folder / "notes.db").read_bytes() == content


@pytest.mark.parametrize("url", ["sqlite:no/such/folder/runs.db", "sqlite:.", "carrier-pigeon:coop"])
def test_a_journal_that_cannot_be_is_journal_trouble(call: Call, url: str) -> None:
    """A path that cannot be written, or a journal of an unknown kind, exits with 4."""
    called = call("run", "flows.py:Double", "--journal", url)
    assert called.code == 4
    assert len(called.err.splitlines()) == 1


def test_the_journal_comes_from_the_environment(call: Call, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ACTORFLOW_JOURNAL names the journal; an option overrides it; without both it is actorflow.db."""
    monkeypatch.setenv("ACTORFLOW_JOURNAL", "sqlite:mine.db")
    call("run", "flows.py:Double", "--run-id", "r-1")
    call("run", "flows.py:Double", "--run-id", "r-2", "--journal", "sqlite:other.db")
    assert listed(call) == ["r-1"]
    assert listed(call, "--journal", "sqlite:other.db") == ["r-2"]
    assert not (folder / "actorflow.db").exists()

"""The way in: help, wrong use, the table of exit codes, errors nobody expected."""

from __future__ import annotations

import io
import subprocess
import sys

import click
import pytest

from actorflow import errors
from actorflow.cli import failures
from actorflow.cli.entry import COMMANDS, commands
from actorflow.cli.progress import Sample, told
from tests.cli.calls import ROOT, Call

HELP = [["--help"], ["-h"], *([name, "--help"] for name in COMMANDS if name != "stress")]


@pytest.mark.parametrize("arguments", HELP, ids=" ".join)
def test_help_is_on_stdout(call: Call, arguments: list[str]) -> None:
    """Help exits with 0 and stands on stdout."""
    called = call(*arguments)
    assert (called.code, called.err) == (0, "")
    assert "Usage: actorflow" in called.out


def test_help_lists_what_the_commands_say_of_themselves() -> None:
    """The list of commands, which loads none of them, has the first line of each one's own help."""
    context = click.Context(commands)
    for name, (_, text) in COMMANDS.items():
        command = commands.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(limit=200) == text


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "stress"])
def test_every_command_takes_the_shared_options(name: str) -> None:
    """--journal, --json and --traceback belong to every command."""
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    options = {word for parameter in command.params for word in parameter.opts}
    assert {"--journal", "--json", "--traceback"} <= options


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS if name != "stress")])
def test_help_needs_neither_trio_nor_rich(arguments: list[str]) -> None:
    """A process that only prints help has imported neither trio nor rich, attrs nor cattrs."""
    code = (
        "import sys; from actorflow.cli.entry import main; code = main(sys.argv[1:]);"
        "print('LOADED', code, *({'trio', 'rich', 'attr', 'cattrs'} & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert run.stdout.splitlines()[-1:] == ["LOADED 0"], run.stderr


@pytest.mark.parametrize(
    "arguments",
    [[], ["no-such-command"], ["run"], ["run", "x:Y", "--no-such-option"], ["show"], ["history", "r", "--limit", "x"]],
    ids=" ".join,
)
def test_wrong_use_gives_two(call: Call, arguments: list[str]) -> None:
    """A command line that cannot be understood exits with 2, with a message on stderr and nothing on stdout."""
    called = call(*arguments)
    assert (called.code, called.out) == (2, "")
    assert called.err
    assert "Traceback" not in called.err


def test_every_public_error_has_an_exit_code() -> None:
    """The table of exit codes has each error of the library except the root, and nothing else."""
    assert set(failures.ERROR_CODES) == set(errors.__all__) - {"ActorflowError"}


def test_every_status_has_an_exit_code() -> None:
    """The table of exit codes has each status of a run."""
    from actorflow import RunStatus

    assert set(failures.STATUS_CODES) == {status.value for status in RunStatus}


def test_an_answered_error_has_the_code_of_a_local_one() -> None:
    """An error told by the journal's owner exits like the same error raised here."""
    for name, code in failures.ERROR_CODES.items():
        assert failures.code_of(getattr(errors, name)("text")) is code
        assert failures.code_of(failures.AnswerError(name, "text")) is code


def test_a_group_of_errors_gives_the_highest_code_and_all_lines(capsys: pytest.CaptureFixture[str]) -> None:
    """Several errors are several lines, each once, and the highest exit code counts."""
    group = ExceptionGroup(
        "several",
        [errors.InputError("one"), ExceptionGroup("inner", [errors.JournalError("two"), errors.InputError("one")])],
    )
    assert failures.report(group, trace=False) == 4
    assert capsys.readouterr().err == "actorflow: one\nactorflow: two\n"


def test_an_unexpected_error_asks_to_be_reported(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is no error of the library is an internal one: exit 1, one line, the traceback only on demand."""
    monkeypatch.delenv("ACTORFLOW_TRACEBACK", raising=False)
    assert failures.report(ZeroDivisionError("oh\nno"), trace=False) == 1
    err = capsys.readouterr().err
    assert err.startswith("actorflow: internal error, please report it")
    assert err.endswith("ZeroDivisionError: oh no\n")
    assert len(err.splitlines()) == 1
    monkeypatch.setenv("ACTORFLOW_TRACEBACK", "1")
    failures.report(ZeroDivisionError(), trace=False)
    assert "Traceback" not in err
    assert capsys.readouterr().err.startswith("ZeroDivisionError\n")


def test_a_namesake_of_an_error_is_still_unexpected() -> None:
    """A foreign class that is called like one of ours is not taken for it."""
    namesake = type("JournalError", (Exception,), {})
    assert failures.known_code(namesake()) is None


def test_traceback_is_shown_on_demand(call: Call) -> None:
    """--traceback shows where an error came from, before the message."""
    assert "Traceback" not in call("run", "missing.py:Flow").err
    called = call("run", "missing.py:Flow", "--traceback")
    assert called.code == 2
    assert "Traceback" in called.err


def test_without_the_extra_one_line_says_what_to_install() -> None:
    """If click is missing, the command line says how to get it and exits with 2."""
    code = (
        "import importlib.util as u, sys; find = u.find_spec;"
        "u.find_spec = lambda name, *rest: None if name == 'click' else find(name, *rest);"
        "import runpy; sys.argv = ['actorflow']; runpy.run_module('actorflow', run_name='__main__')"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 2
    assert run.stderr == "actorflow: the command line needs click: pip install 'actorflow[cli]'\n"


def test_a_sample_in_words() -> None:
    """The live line counts steps, gives the rate and the keys, and speaks of suspended steps only if there are any."""
    sample = Sample(counts={"pending": 3, "running": 2, "completed": 7, "failed": 1}, keys=4)
    assert told(sample, 12.4) == "3 pending · 2 live · 7 done · 1 failed · 12/s · 4 keys"
    assert (
        told(Sample(counts={"suspended": 1}), 0)
        == "0 pending · 0 live · 1 suspended · 0 done · 0 failed · 0/s · 0 keys"
    )


def test_a_reader_of_stdin_takes_a_byte_order_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    """JSON that some editor saved with a byte order mark is still JSON."""
    from actorflow.cli.options import read_json

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xef\xbb\xbf[1]"), encoding="utf-8"))
    assert read_json("-", "--input") == [1]

"""`python -m stress`: help, mistakes and exit codes."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stress.__main__ import main
from stress.child import environment


def test_without_a_subcommand_there_is_help(capsys: pytest.CaptureFixture[str]) -> None:
    """The help names the subcommands and the exit codes."""
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert "bench" in shown
    assert "kill" in shown
    assert "exit codes" in shown


@pytest.mark.parametrize("argv", [["--help"], ["bench", "--help"], ["kill", "-h"]])
def test_help_is_no_mistake(argv: list[str]) -> None:
    """Asking for help gives 0, and the process of the caller lives on."""
    assert main(argv) == 0


@pytest.mark.parametrize(
    "argv",
    [
        ["walk"],
        ["bench", "P99"],
        ["bench", "--fast"],
        ["kill", "--rounds", "0"],
        ["kill", "--time", "soon"],
        ["kill", "--time", "1s", "--rounds", "1"],
        ["kill", "--job", "other"],
    ],
)
def test_a_mistake_is_exit_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What the tool does not know is refused before anything is measured or killed, with the word in question."""
    assert main(argv) == 2
    assert "usage" in capsys.readouterr().err


def test_it_runs_as_a_module() -> None:
    """`python -m stress` from any folder is the same as calling `main`."""
    command = [sys.executable, "-m", "stress", "kill", "--rounds", "none"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert "whole number" in done.stderr

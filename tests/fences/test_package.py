"""What is installed is complete and small: type marker, SQL, entry point, and no dependency beyond the three."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, version
from pathlib import Path

import pytest

from tests.fences.tree import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def imported_by(*arguments: str) -> set[str]:
    """The top-level modules that a fresh interpreter holds after running with these arguments."""
    report = "import sys, atexit; atexit.register(lambda: print('\\nLOADED', *sys.modules))\n"
    run = subprocess.run(
        [sys.executable, "-c", report + "import runpy\nsys.argv = sys.argv[1:]\n" + arguments[0], *arguments[1:]],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    loaded = re.search(r"^LOADED (.*)$", run.stdout, re.MULTILINE)
    assert loaded is not None, run.stdout + run.stderr
    return set(loaded[1].split())


def test_the_core_needs_trio_attrs_and_cattrs_only() -> None:
    """The core depends on three packages; everything else is an extra."""
    assert {re.split(r"[<>=\[ ]", word)[0] for word in PROJECT["dependencies"]} == {"trio", "attrs", "cattrs"}


def test_importing_the_package_needs_no_extra() -> None:
    """`import actorflow` loads no module of an extra and no asyncio."""
    loaded = imported_by("import actorflow, actorflow.journals, actorflow.abc")
    assert loaded & {"click", "rich", "apsw", "pytest", "hypothesis", "asyncio"} == set()


def test_help_starts_without_trio_and_rich() -> None:
    """`actorflow --help` is fast because it imports neither trio nor rich."""
    loaded = imported_by("runpy.run_module('actorflow', run_name='__main__')", "actorflow", "--help")
    assert "click" in loaded
    assert loaded & {"trio", "rich"} == set()


def test_the_package_says_that_it_is_typed() -> None:
    """The type marker lies beside the package."""
    package = importlib.import_module("actorflow")
    assert package.__file__ is not None
    assert (Path(package.__file__).parent / "py.typed").is_file()


def test_the_command_points_at_the_main_function() -> None:
    """The entry point of the command is the one that `python -m actorflow` runs."""
    assert PROJECT["scripts"] == {"actorflow": "actorflow.__main__:main"}
    assert callable(importlib.import_module("actorflow.__main__").main)


def test_the_installed_version_is_this_one() -> None:
    """What is imported was installed from this folder's metadata."""
    try:
        installed = version("actorflow")
    except ImportError:  # PackageNotFoundError: a source tree on the path, nothing to compare
        pytest.skip("actorflow is not installed here")
    assert installed == PROJECT["version"]
    assert [point.value for point in entry_points(group="console_scripts", name="actorflow")] == [
        "actorflow.__main__:main"
    ]


def test_the_constraints_cover_what_the_test_extra_names() -> None:
    """Every package that the extras name is pinned in constraints-dev.txt."""
    pinned = {
        line.split("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints-dev.txt").read_text(encoding="utf-8").splitlines()
        if "==" in line
    }
    extras = PROJECT["optional-dependencies"]
    named = {re.split(r"[<>=\[ ]", word)[0] for words in [PROJECT["dependencies"], *extras.values()] for word in words}
    assert named - pinned - {"actorflow"} == set()

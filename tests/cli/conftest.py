"""Fixtures of the command line's tests: an empty folder with a file of workflows, and a way to call a command in it."""

from __future__ import annotations

import io
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from actorflow import open_runtime
from actorflow.cli.entry import main
from actorflow.cli.finding import find_workflow
from tests.cli.calls import FLOWS, ROOT, Call, Called, Leave, Spawn


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with `flows.py` in it; what was imported from it is forgotten afterwards."""
    (tmp_path / "flows.py").write_text(FLOWS, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ACTORFLOW_JOURNAL", raising=False)
    monkeypatch.delenv("ACTORFLOW_TRACEBACK", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Call:
    """Call a command in this process, in the folder."""

    def call_command(*arguments: str, stdin: bytes = b"") -> Called:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        return Called(code=int(code), out=captured.out, err=captured.err)

    return call_command


@pytest.fixture
def spawn(folder: Path) -> Iterator[Spawn]:
    """Start a command as a process of its own, in the folder; what still runs is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        process = subprocess.Popen(
            [sys.executable, "-m", "actorflow", *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def leave(folder: Path) -> Leave:
    """Leave an unfinished run in the default journal: its steps began, its process is gone."""

    async def begin(name: str, data: object, run_id: str) -> None:
        workflow = find_workflow(f"{folder / 'flows.py'}:{name}")
        async with open_runtime([workflow], journal="sqlite:actorflow.db", shutdown_grace=0, recover=False) as runtime:
            run = await runtime.start(workflow, data, run_id=run_id)
            async with run.events() as stream:
                async for event in stream:
                    if "ready" in repr(event):  # what every workflow that is left says before it waits
                        break

    return lambda name, data, run_id: trio.run(begin, name, data, run_id)

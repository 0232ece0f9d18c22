"""The command line as a reader of the examples uses it: one process per command. Only the tests beside it use this."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import attrs

ROOT = Path(__file__).resolve().parents[2]


@attrs.frozen
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


def actorflow(*arguments: str, cwd: Path) -> Done:
    """Run `actorflow` with these arguments in a folder, with JSON output, on a journal in that folder."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.run(
        [sys.executable, "-m", "actorflow", *arguments, "--journal", f"sqlite:{cwd / 'runs.db'}", "--json"],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    return Done(process.returncode, process.stdout, process.stderr)

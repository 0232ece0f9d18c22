"""Handing a report over: to the terminal, to files, to the shell.

What lives here: the options that say where it goes, and doing so. What does not: its forms (`text`, `machine`, `page`).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from .machine import to_json
from .page import html
from .record import exit_code
from .text import human

if TYPE_CHECKING:
    import argparse

    from .record import Report


def add_report_options(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--html`."""
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything there, too, for machines")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write it as one page that needs nothing else")


def deliver(report: Report, *, json_file: Path | None = None, html_file: Path | None = None) -> int:
    """Print the report and write it where it was asked for; returns the exit code of the campaign.

    A file that cannot be written is told, and makes a good campaign end with 2: somebody counts on that file.
    """
    code = exit_code(report)
    shown = human(report)
    encoding = sys.stdout.encoding or "utf-8"
    print(shown.encode(encoding, errors="backslashreplace").decode(encoding), end="")
    for path, made in ((json_file, _json_text), (html_file, html)):
        if path is None:
            continue
        try:
            path.write_text(made(report), encoding="utf-8", errors="backslashreplace")  # plans hold lone surrogates
        except OSError as error:
            print(f"{path} cannot be written: {error.strerror or error}", file=sys.stderr)
            code = code or 2
        else:
            print(f"written: {path}")
    return code


def _json_text(report: Report) -> str:
    return json.dumps(to_json(report), indent=1, default=str) + "\n"

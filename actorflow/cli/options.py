"""The options that every command takes, and JSON given as an argument.

What lives here: reading arguments. What does not: acting on them. It must import neither trio nor rich.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

import click

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Settings", "read_json", "read_object", "shared_options"]

P = ParamSpec("P")
R = TypeVar("R")

DEFAULT_JOURNAL = "sqlite:actorflow.db"


class Settings:
    """What one command line asked for that outlives the command: how its errors are shown."""

    def __init__(self) -> None:
        self.traceback = False


def _remember_traceback(ctx: click.Context, parameter: click.Parameter, value: bool) -> None:
    settings = ctx.find_object(Settings)
    if value and settings is not None:
        settings.traceback = True


def shared_options(function: Callable[P, R]) -> Callable[P, R]:
    """Add `--journal`, `--json` and `--traceback`; the function gets `journal` and `as_json`."""
    for option in (
        click.option(
            "--traceback",
            is_flag=True,
            expose_value=False,
            callback=_remember_traceback,
            help="Show where an error came from (or set ACTORFLOW_TRACEBACK).",
        ),
        click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table."),
        click.option(
            "--journal",
            metavar="URL",
            # A variable that is set but empty means the default, as in a shell's ${NAME:-default}.
            default=lambda: os.environ.get("ACTORFLOW_JOURNAL") or DEFAULT_JOURNAL,
            show_default=f"$ACTORFLOW_JOURNAL, else {DEFAULT_JOURNAL}",
            help="The journal.",
        ),
    ):
        function = option(function)
    return function


def read_json(argument: str, option: str) -> object:
    """The value of an argument that is JSON, `@FILE` with JSON in it, or `-` for JSON on stdin.

    Raises `InputError`, naming the option and the place of the fault.
    """
    from .._core.values import parse
    from ..errors import InputError

    what = option
    if argument == "-":
        what, data = f"{option} (from stdin)", sys.stdin.buffer.read()
    elif argument.startswith("@"):
        what = f"{option} (from {argument[1:]})"
        try:
            data = Path(argument[1:]).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: a path that no system can hold
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise InputError(f"{option}: cannot read the file {argument[1:]!r}: {reason}") from error
    else:
        # What a shell passes that is no UTF-8 arrives as surrogates: back to the bytes, to be refused below.
        data = argument.encode(errors="surrogateescape")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} is not UTF-8 text: byte {error.start} cannot be decoded") from error
    try:
        return parse(text, "the text")
    except InputError as error:
        raise InputError(f"{what}: {error}") from error


def read_object(argument: str, option: str) -> dict[str, object]:
    """Like `read_json`, for what must be a JSON object."""
    from ..errors import InputError

    value = read_json(argument, option)
    if not isinstance(value, dict):
        raise InputError(f"{option} must be a JSON object with the keys of the run store, not {type(value).__name__}")
    return value

"""What commands print: one JSON document, or tables.

What lives here: records to JSON, records to tables. What does not: reading journals, driving runs. rich is imported
by the functions that draw, so that `--json` does without it.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

import attrs

from .._authoring.schema import unstructure
from .._authoring.workflow import resolve
from .._core.values import decode, encode
from ..errors import InputError, StepFailed

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from .. import Fact, Suspension
    from .finding import Target

__all__ = [
    "describe_failure",
    "describe_suspension",
    "facts_table",
    "pairs",
    "plain",
    "plain_fact",
    "plain_output",
    "print_document",
    "print_table",
    "printable",
    "rows",
    "short",
]


def plain(value: object) -> object:
    """Any record of the library as JSON types: records and mappings become objects, times ISO 8601 text."""
    if value is None or (isinstance(value, bool | int | float | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, StepFailed):
        names = ("step_id", "activation_id", "attempts", "error_type", "message")
        return {name: getattr(value, name) for name in names}
    if isinstance(value, BaseException):
        return {"error_type": type(value).__name__, "message": str(value)}
    kind = type(value)
    if attrs.has(kind):
        return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(kind)}
    if isinstance(value, Mapping):
        return {str(plain(key)): plain(item) for key, item in value.items()}
    if isinstance(value, Iterable) and not isinstance(value, bytes):
        return [plain(item) for item in value]
    return str(value)


def plain_output(output: object, workflow: Target | None) -> object:
    """The output of a run of this workflow (None: it is not known here), typed or not, as JSON types."""
    if output is None:  # what a run without output has, also where the type would not allow it
        return None
    if workflow is not None:
        with suppress(InputError):  # the type has changed since: what the run gave is shown as it was
            return decode(resolve(workflow).output.unstructure(output, "output"))
    return decode(encode(output, unstructure))


def print_document(document: object) -> None:
    """Write the one JSON document of a command to stdout."""
    # ASCII, so that no locale can break it; NaN cannot occur.
    print(json.dumps(plain(document), indent=2, allow_nan=False))


def print_table(table: RenderableType) -> None:
    """Draw on stdout: in colour on a terminal, as plain text into a pipe."""
    from rich.console import Console

    Console(file=sys.stdout, highlight=False).print(table)


def describe_failure(failure: object) -> str:
    """One failed step as one line."""
    if isinstance(failure, StepFailed):
        times = "" if failure.attempts == 1 else f", {failure.attempts} attempts"
        return f"{failure.step_id} ({failure.activation_id}{times}): {failure.error_type}: {failure.message}"
    return str(failure)


def describe_suspension(one: Suspension) -> str:
    """One place where a run waits to be resumed, as one line."""
    label = "" if one.label is None else f", label {json.dumps(one.label, ensure_ascii=False)}"
    payload = "" if one.payload is None else f": {short(one.payload)}"
    return printable(f"{'.'.join(one.path) or one.step_id} ({one.activation_id}{label}){payload}")


def printable(text: str) -> str:
    """A text of one line without signs that a terminal would obey: ids and labels may hold any."""
    return "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def _plain_title(title: str | None) -> Text | None:
    """A title as it is: a run id may hold what rich would take for markup."""
    from rich.text import Text

    return None if title is None else Text(printable(title))


def pairs(items: Iterable[tuple[str, object]], *, title: str | None = None) -> Table:
    """A table of names and values; a value that is no text is shown as JSON."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_plain_title(title), show_header=False)
    table.add_column(no_wrap=True, style="bold")
    table.add_column(overflow="fold")
    for name, value in items:
        # Text, not str: what comes from runs must never be read as markup.
        table.add_row(Text(name), Text(_shown(value)))
    return table


def rows(columns: Sequence[str], lines: Iterable[Sequence[object]], *, title: str | None = None) -> Table:
    """A table with a header."""
    from rich.table import Table
    from rich.text import Text

    table = Table(title=_plain_title(title))
    for column in columns:
        table.add_column(column, overflow="fold")
    for line in lines:
        table.add_row(*(Text(_shown(value)) for value in line))
    return table


def plain_fact(fact: Fact) -> dict[str, object]:
    """A fact as a flat JSON object: number, kind, time, and the fields of its kind."""
    fields = {name: plain(item) for name, item in fact.fields.items()}
    return {"seq": fact.seq, "kind": fact.kind, "at": plain(fact.at), **fields}


def facts_table(facts: Iterable[Fact], *, title: str) -> Table:
    """Facts, one a line: number, kind, time, and the other fields as far as they say something."""
    lines = []
    for fact in facts:
        said = ((name, item) for name, item in plain_fact(fact).items() if item not in (None, "", [], {}))
        told = " ".join(f"{name}={short(item)}" for name, item in said if name not in ("seq", "kind", "at"))
        lines.append((fact.seq, fact.kind, fact.at, told))
    return rows(("seq", "kind", "at", "fields"), lines, title=title)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, datetime):
        return value.astimezone().isoformat(sep=" ", timespec="seconds")
    value = plain(value)
    return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)


def short(value: object, width: int = 100) -> str:
    """A value as JSON (a text as it is) on one line, cut to a width."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text if len(text) <= width else f"{text[: width - 1]}…"

"""Where the facts of all runs are kept: the journals that come with the library, and how their names are read.

Most programs name a journal by its URL in `open_runtime(journal=…)` and never import this.
"""

from __future__ import annotations

from pathlib import Path as _Path
from typing import TYPE_CHECKING

from ..errors import JournalError as _JournalError
from .inbox import Inbox, Request
from .memory import MemoryJournal
from .reader import SqliteReader
from .sqlite import SqliteJournal

if TYPE_CHECKING:
    from ..abc import Journal as _Journal

__all__ = ["Inbox", "MemoryJournal", "Request", "SqliteJournal", "SqliteReader", "parse_url"]

_FORMS = '"memory:" or "sqlite:PATH"'


def parse_url(url: str) -> _Journal:
    """The journal that a URL names, not open yet.

    Args:
        url: `"memory:"`, or `"sqlite:PATH"` with a path as the system writes it (`~` is the home folder).

    Raises:
        JournalError: for anything else.

    Example:
        >>> from actorflow.journals import parse_url
        >>> parse_url("sqlite:runs.db").url
        'sqlite:runs.db'
    """
    kind, colon, rest = str(url).partition(":")
    if kind == "memory" and colon and not rest:
        return MemoryJournal()
    if kind == "sqlite" and rest and not rest.startswith(":"):
        return SqliteJournal(_Path(rest).expanduser())
    if kind in ("postgresql", "postgres") and colon:
        raise _JournalError(f"journal={url!r}: this version of actorflow has no Postgres journal; use {_FORMS}")
    raise _JournalError(f"journal={url!r} names no journal; {_FORMS} is wanted")

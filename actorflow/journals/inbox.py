"""How a command reaches the process that owns a journal: a small SQLite file beside it.

What lives here: `Inbox`. What does not: what requests mean (the command line and the runtime agree on that).
The journal itself cannot take them: exactly one connection may write it.

Plain blocking functions: the command line has no event loop to hold up, and the runtime runs them through its executor.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, cast

from attrs import frozen

from ..errors import JournalError
from . import sql
from .rows import translated

APPLICATION_ID: Final = 1634102392
KEPT: Final = 1_000
"""Requests that stay, answered or not; older ones, whose senders are long gone, make room."""

_BUSY_S: Final = 2.0
_CHANGES: Final = slice(24, 28)
"""Where a SQLite file (without a write-ahead log) counts its transactions."""

_SQL: Final = sql.statements("inbox")
_one_at_a_time: Final = threading.Lock()
"""Reading the count opens the file without SQLite, and closing it again would drop the locks of another thread."""


@frozen
class Request:
    """One request, as it was posted."""

    id: int
    body: Mapping[str, object]


class Inbox:
    """The requests to the owner of one journal, and its answers. Any number of processes may post at once.

    Args:
        journal: the file of the journal; the inbox is `<real path>-inbox`. It is made when the first request comes.
    """

    def __init__(self, journal: str | Path) -> None:
        real = Path(os.path.realpath(journal))
        self._path = real.with_name(f"{real.name}-inbox")
        self._seen: bytes | None = None

    @property
    def path(self) -> Path:
        """The file of the inbox, which may not be there."""
        return self._path

    def post(self, request: Mapping[str, object]) -> int:
        """Leave a request (a JSON object); returns its number, under which the reply will be."""
        body = json.dumps(request, ensure_ascii=True, allow_nan=False)
        with self._opened("write", create=True) as connection:
            number = connection.execute(_SQL["post"], (body,)).lastrowid or 0
            connection.execute(_SQL["prune"], (number - KEPT,))
            return number

    def poll(self) -> list[Request]:
        """The requests that nobody has taken yet, in the order in which they came; they are taken now.

        With nothing new, this costs one look at the file, or at the place where it would be.
        """
        with _one_at_a_time:
            changes = self._changes()
        if changes is None or changes == self._seen:
            return []
        with self._opened("read") as connection:
            found = connection.execute(_SQL["waiting"]).fetchall()
            connection.executemany(_SQL["take"], [(number,) for number, _ in found])
        # The count from before the look: whatever came in between is looked at once more.
        self._seen = changes
        return [Request(number, cast("Mapping[str, object]", json.loads(body))) for number, body in found]

    def answer(self, number: int, reply: Mapping[str, object]) -> None:
        """Leave the reply to a request."""
        body = json.dumps(reply, ensure_ascii=True, allow_nan=False)
        with self._opened("write", create=True) as connection:
            connection.execute(_SQL["answer"], (body, number))

    def reply(self, number: int) -> Mapping[str, object] | None:
        """The reply to a request, or None as long as there is none. Does not wait."""
        if not self._path.exists():
            return None
        with self._opened("read") as connection:
            row = connection.execute(_SQL["reply"], (number,)).fetchone()
        return None if row is None else cast("Mapping[str, object]", json.loads(row[0]))

    def withdraw(self, number: int) -> bool:
        """Take a request back, because the owner has gone; False if it was taken already (or is not there)."""
        if not self._path.exists():
            return False
        with self._opened("write") as connection:
            return connection.execute(_SQL["withdraw"], (number,)).rowcount > 0

    def _changes(self) -> bytes | None:
        try:
            with self._path.open("rb", buffering=0) as file:
                return (file.read(_CHANGES.stop) or b"")[_CHANGES]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise JournalError(f"cannot read the inbox {self._path}: {error}; check its rights") from error

    @contextlib.contextmanager
    def _opened(self, doing: str, *, create: bool = False) -> Iterator[sqlite3.Connection]:
        """One transaction on a connection of its own; requests are rare, and so nothing is kept open for them."""
        mode = "rwc" if create else "rw"
        with (
            _one_at_a_time,
            translated(self._path, doing),
            contextlib.closing(
                sqlite3.connect(f"{self._path.as_uri()}?mode={mode}", uri=True, timeout=_BUSY_S, isolation_level=None)
            ) as connection,
        ):
            connection.execute(_SQL["secure_delete"])
            connection.execute(_SQL["begin"])
            self._make(connection)
            yield connection
            connection.execute(_SQL["commit"])

    def _make(self, connection: sqlite3.Connection) -> None:
        application = connection.execute(_SQL["application_id"]).fetchone()[0]
        if application == APPLICATION_ID:
            return
        if application or connection.execute(_SQL["tables"]).fetchone()[0]:
            raise JournalError(
                f"{self._path} is not the inbox of an actorflow journal; it was left untouched: move it away"
            )
        connection.execute(_SQL["mark"])
        connection.execute(_SQL["create"])

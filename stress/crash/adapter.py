"""A connection of apsw that works, and fails, like one of the sqlite3 module: as much of it as the journal uses.

What lives here: that connection, and the settings that a workload or a control changes on the way. What does not: the
files below it (`vfs`).

Two things differ from a connection of sqlite3, and neither is seen from outside. The log's index lies in memory in
place of a -shm file, because apsw cannot pass that on: so the connection is exclusive. And an automatic checkpoint is
made by a hook: apsw would raise its failure out of a COMMIT that has succeeded, where SQLite says nothing.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Final, cast

import apsw
from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from .vfs import Tap

_MODES: Final = {
    "mode=rw": apsw.SQLITE_OPEN_READWRITE,
    "mode=rwc": apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE,
}
_CLASSES: Final[Mapping[int, type[sqlite3.DatabaseError]]] = {
    apsw.SQLITE_CORRUPT: sqlite3.DatabaseError,
    apsw.SQLITE_NOTADB: sqlite3.DatabaseError,
    apsw.SQLITE_CONSTRAINT: sqlite3.IntegrityError,
}
_AUTOCHECKPOINT: Final = re.compile(r"PRAGMA wal_autocheckpoint = (\d+);?")
_SYNCHRONOUS: Final = re.compile(r"PRAGMA synchronous = (\w+);?")


@frozen
class Settings:
    """What a workload has otherwise than the journal wants it: None leaves it."""

    checkpoint_pages: int | None = None
    synchronous: str | None = None


@contextmanager
def translated() -> Iterator[None]:
    """Errors of apsw as those of sqlite3."""
    try:
        yield
    except apsw.Error as error:
        extended = getattr(error, "extendedresult", apsw.SQLITE_ERROR)
        found = _CLASSES.get(extended & 0xFF, sqlite3.OperationalError)(str(error))
        found.sqlite_errorcode = extended
        names = {**apsw.mapping_result_codes, **apsw.mapping_extended_result_codes}
        found.sqlite_errorname = str(names.get(extended, "SQLITE_ERROR"))
        raise found from error


class _Rows:
    """A row is handed out once the one after it has been asked for, as sqlite3 does: only so are errors of the last
    step, such as those of the commit behind a PRAGMA, heard by who wants a single row.
    """

    def __init__(self, cursor: apsw.Cursor) -> None:
        self._cursor = cursor
        self._next = cursor.fetchone()

    def fetchone(self) -> object:
        found = self._next
        with translated():
            self._next = self._cursor.fetchone() if found is not None else None
        return found

    def fetchall(self) -> list[object]:
        return list(self)

    def __iter__(self) -> Iterator[object]:
        return iter(self.fetchone, None)


class _Connection:
    def __init__(self, tap: Tap, settings: Settings, path: Path, options: str) -> None:
        self._settings = settings
        with translated():
            self._db = apsw.Connection(str(path.absolute()), flags=_MODES[options], vfs=tap.name)
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()

    @property
    def in_transaction(self) -> bool:
        return self._db.in_transaction

    def execute(self, sql: str, values: object = ()) -> _Rows:
        if found := _AUTOCHECKPOINT.fullmatch(sql):
            self._checkpoint_at(self._settings.checkpoint_pages or int(found[1]))
            sql = "SELECT 0"
        elif _SYNCHRONOUS.fullmatch(sql) and self._settings.synchronous is not None:
            sql = f"PRAGMA synchronous = {self._settings.synchronous}"
        with translated():
            return _Rows(self._db.execute(sql, cast("tuple[apsw.SQLiteValue, ...]", values)))

    def executemany(self, sql: str, rows: Iterable[object]) -> _Rows:
        with translated():
            return _Rows(self._db.executemany(sql, cast("Iterable[tuple[apsw.SQLiteValue, ...]]", rows)))

    def executescript(self, sql: str) -> None:
        with translated():
            self._db.execute(sql).fetchall()

    def close(self) -> None:
        with translated():
            self._db.close()

    def _checkpoint_at(self, pages: int) -> None:
        def committed(db: apsw.Connection, name: str, frames: int) -> int:
            if frames >= pages:
                with suppress(apsw.Error):  # as SQLite: the commit stands, and the next one tries again
                    db.wal_checkpoint(name)
            return apsw.SQLITE_OK

        self._db.set_wal_hook(committed)


def connecting(tap: Tap, settings: Settings) -> Callable[[Path, str], sqlite3.Connection]:
    """What `SqliteJournal(connect=…)` takes."""
    return cast("Callable[[Path, str], sqlite3.Connection]", partial(_Connection, tap, settings))

"""Opening what a crash has left, with the sqlite3 module and the real journal, as the next process would.

What lives here: reading a whole journal, and SQLite's own check of the file. What does not: what should be there
(`ledger`), the verdict (`judging`).
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Final

from actorflow import ActorflowError
from actorflow.journals import SqliteJournal

from .ledger import Kept, State
from .simulated import Inline, at_once

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from actorflow.abc import Executor

NAME: Final = "runs.db"
PAGE: Final = 500


class Unreadable(Exception):
    """The file cannot be opened, or not be read whole."""


class InlineJournal(SqliteJournal):
    """A journal that works in the calling thread, whatever the runtime offers."""

    async def open(self, executor: Executor) -> None:
        """Become the owner."""
        await super().open(Inline())


def lay_out(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Put files into an empty folder, emptying it first; the path of the journal."""
    for old in folder.iterdir():
        old.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder / NAME


async def contents(journal: SqliteJournal) -> State:
    """Everything that an open journal holds. Raises what the journal raises, or `Unreadable`."""
    found: State = {}
    after: str | None = None
    while page := await journal.headers(limit=PAGE, after=after):
        for header in page:
            if header.run_id in found:
                raise Unreadable(f"the list of runs goes in a circle at {header.run_id}")
            facts: list[object] = list(await journal.read(header.run_id))
            found[header.run_id] = Kept(header, facts, len(facts))
        after = page[-1].run_id
    return found


def look(path: Path) -> State:
    """What a file holds, after its recovery; `Unreadable` if it cannot be had, or SQLite finds the file damaged."""
    try:
        journal = InlineJournal(path)
        at_once(journal.open(Inline()))
        try:
            found = at_once(contents(journal))
        finally:
            at_once(journal.close())
        with closing(sqlite3.connect(path)) as connection:
            said = connection.execute("PRAGMA integrity_check").fetchone()[0]
    except (ActorflowError, sqlite3.Error, OSError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    if said != "ok":
        raise Unreadable(f"integrity_check: {said}")
    return found

"""Looking at a SQLite journal: what owner and onlooker share, and the onlooker.

What lives here: `SqliteReader`, and the reading half of `SqliteJournal`. What does not: writing and ownership
(`sqlite`), rows as records (`rows`). All work is plain functions that run through the executor, one call per question.
"""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from ..errors import JournalError
from . import rows
from .refusals import not_open
from .rows import LOG, SQL, FileKind

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._core.facts import Fact
    from .._core.lifecycle import RunStatus
    from ..abc import Executor, RunHeader, StoredRun

T = TypeVar("T")

BUSY_S: Final = 5.0
"""How long a foreign program that has opened the file may hold up a statement."""


class SqliteFile:
    """What owner and reader share: a connection, and the reading half of the port."""

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._executor: Executor | None = None
        self._connection: sqlite3.Connection | None = None

    @property
    def url(self) -> str:
        """How a user would name this journal."""
        return f"sqlite:{self._path}"

    @property
    def path(self) -> Path:
        """The file of the journal."""
        return self._path

    @property
    def durable(self) -> bool:
        """True: what is committed survives the process, and with `synchronous="FULL"` a power cut."""
        return True

    async def load(self, run_id: str) -> StoredRun | None:
        """The run from its newest snapshot on, checked; None if there is no such run."""
        return await self._read(lambda connection: rows.load_run(connection, self._path, run_id), run_id)

    async def read(self, run_id: str, first_seq: int = 1, last_seq: int | None = None) -> Sequence[Fact]:
        """The facts `first_seq` to `last_seq`, checked; none if there is no such run."""
        return await self._read(
            lambda connection: rows.read_facts(connection, self._path, run_id, first_seq, last_seq), run_id
        )

    async def header(self, run_id: str) -> RunHeader | None:
        """The row of one run."""
        row = await self._read(lambda connection: rows.find_run(connection, self._path, run_id), run_id)
        return None if row is None else row.header

    async def headers(
        self,
        *,
        workflow_id: str | None = None,
        statuses: Sequence[RunStatus] | None = None,
        parent_id: str | None = None,
        limit: int | None = None,
        after: str | None = None,
    ) -> Sequence[RunHeader]:
        """Rows, newest first, from the one after run `after` on; `RunNotFound` if there is no such run."""
        return await self._read(
            lambda connection: rows.list_runs(
                connection,
                self._path,
                workflow_id=workflow_id,
                statuses=statuses,
                parent_id=parent_id,
                limit=limit,
                after=after,
            )
        )

    async def _read(self, function: Callable[[sqlite3.Connection], T], run_id: str | None = None) -> T:
        def work() -> T:
            with rows.translated(self._path, "read", run_id):
                connection = self._usable()
                connection.execute(SQL["begin_reading"])
                try:
                    return function(connection)
                finally:
                    end(connection)

        return await self._running().run(work)

    def _running(self) -> Executor:
        if self._executor is None:
            raise not_open(self.url)
        return self._executor

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> sqlite3.Connection:
        raise NotImplementedError  # pragma: no cover - owner and reader have their own

    def _discard(self) -> None:
        """Drop the connection; the next call makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                LOG.exception("journal %s: closing a broken connection failed", self._path)


def connect(path: Path, options: str) -> sqlite3.Connection:
    """A connection without implicit transactions, usable from whichever thread the executor takes."""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{options}",
        uri=True,
        timeout=BUSY_S,
        isolation_level=None,
        check_same_thread=False,
    )


def end(connection: sqlite3.Connection) -> None:
    """Leave the transaction, if there is one."""
    if connection.in_transaction:
        connection.execute(SQL["rollback"])


class SqliteReader(SqliteFile):
    """Looks at a SQLite journal without owning it, also while another process does: the reading half of a journal.

    It writes nothing and waits for nobody. Each call sees what was committed when it began.
    """

    async def open(self, executor: Executor) -> None:
        """Look whether there is a journal; `JournalError` if not."""

        def work() -> None:
            with rows.translated(self._path, "open"):
                if rows.look_at_file(self._path) is FileKind.NEW:
                    raise JournalError(f"there is no journal {self._path}; check the path")
                self._usable()

        await executor.run(work)
        self._executor = executor

    async def close(self) -> None:
        """Close the file; harmless when called again."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await executor.run(self._discard)

    def _connect(self) -> sqlite3.Connection:
        try:
            return self._look("mode=ro")
        except sqlite3.Error as error:
            log = self._path.with_name(f"{self._path.name}-wal")
            if rows.damages(error) or (log.exists() and log.stat().st_size):
                raise
            # A folder in which SQLite may not put its index of the log; without a log it needs none.
            return self._look("mode=ro&immutable=1")

    def _look(self, options: str) -> sqlite3.Connection:
        connection = connect(self._path, options)
        try:
            rows.check_version(self._path, connection.execute(SQL["user_version"]).fetchone()[0])
        except BaseException:
            connection.close()
            raise
        return connection

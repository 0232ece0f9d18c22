"""The journal in one SQLite file: one owner, one connection, one transaction per commit.

What lives here: `SqliteJournal`, which owns and writes. What does not: reading (`reader`, `rows`), bytes of facts
(`codec`), ownership (`lock`), SQL (`sql`).

Exactly one connection writes and checkpoints; every other one is read-only. That keeps out of reach the fault of
SQLite up to 3.51.2 that corrupts a file which two connections checkpoint at once.

All work is plain functions that run through the executor, one call per commit.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field

from .._core.lifecycle import RUN_OVER
from ..errors import JournalError
from . import rows, sql
from .codec import encode_parts
from .lock import OwnerLock
from .reader import SqliteFile, connect, end
from .refusals import already_open, check_joins, unknown_run
from .rows import LOG, SQL
from .wal import look_at_log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ..abc import Append, Executor

TAILS_MAX: Final = 10_000
"""Runs whose last fact is remembered; one that is not costs one look-up in an index at its next commit."""

LOG_BYTES_MAX: Final = 532_480
"""Size up to which the log is left lying: the pages between two checkpoints; `size_limit` in journal.sql agrees."""

_OVER: Final = frozenset(status.value for status in RUN_OVER)

_UNSAFE: Final = frozenset(
    {sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CANTOPEN}
)
"""Errors after which a connection is not trusted any more."""


ROWS_AT_ONCE: Final = 16
"""Small rows that one statement inserts: a statement of its own for each costs half as much again."""


@define(eq=False)
class _Tail:
    """Where a run ends in the journal: as it will be once the commit under way is there, while there is one."""

    key: int
    last_seq: int
    dropped: bool
    bound: int
    """The checksum of the run's id, from which all its checksums go on."""


@define(eq=False)
class _Batch:
    """The rows of one commit. Those of `frames` and `values` lie flat, one parameter after the other."""

    runs: list[tuple[object, ...]] = field(factory=list)
    frames: list[object] = field(factory=list)
    values: list[object] = field(factory=list)
    snapshots: list[tuple[object, ...]] = field(factory=list)
    dropped: list[int] = field(factory=list)
    next_frame: int = 0
    size: int = 0


def _many(name: str) -> tuple[str, str, int]:
    """The statement of one row, that of `ROWS_AT_ONCE` rows, and the parameters of a row.

    A row that is refused rolls the transaction back, which is what happens to it anyway: SQLite need not remember how
    to take back one statement.
    """
    one = SQL[name].removesuffix(";").replace("INSERT", "INSERT OR ROLLBACK", 1)
    before, row = one.split(" VALUES ")
    return one, f"{before} VALUES {', '.join([row] * ROWS_AT_ONCE)}", row.count("?")


_PUT_FRAMES: Final = _many("put_frame")
_PUT_VALUES: Final = _many("put_values")


def _insert(connection: sqlite3.Connection, statements: tuple[str, str, int], flat: list[object]) -> None:
    one, many, width = statements
    step = width * ROWS_AT_ONCE
    whole = len(flat) - len(flat) % step
    if whole:
        connection.executemany(many, (flat[start : start + step] for start in range(0, whole, step)))
    if whole < len(flat):
        connection.executemany(one, (flat[start : start + width] for start in range(whole, len(flat), width)))


class SqliteJournal(SqliteFile):
    """A journal in a SQLite file (and its -wal, -shm and .lock beside it while it is open).

    Args:
        path: the file; it is created if it is missing, its folder is not.
        synchronous: "FULL": every commit reaches the disk before it is acknowledged. "NORMAL": a power cut may take
            the last commits with it; a killed process takes none either way.
        connect: makes each connection, from the path and the options of a SQLite URI ("mode=rw" or "mode=rwc"). For
            tests that put something of their own between SQLite and the disk; what it gives has to work, and to fail,
            like a connection of `sqlite3` without implicit transactions.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        synchronous: Literal["FULL", "NORMAL"] = "FULL",
        connect: Callable[[Path, str], sqlite3.Connection] = connect,
    ) -> None:
        super().__init__(path)
        self._make = connect
        if synchronous not in ("FULL", "NORMAL"):
            raise ValueError(f'synchronous={synchronous!r}: "FULL" or "NORMAL" is wanted')
        self._synchronous = SQL[f"synchronous_{synchronous.lower()}"]
        self._lock: OwnerLock | None = None
        self._tails: dict[str, _Tail] = {}
        self._next_frame = 0
        """The id of the next frame; 0: not known, ask the file."""

    async def open(self, executor: Executor) -> None:
        """Become the owner. `JournalBusy` if there is one, `JournalError` for a foreign file, which stays as it is."""
        if self._executor is not None:
            raise already_open(self.url)
        await executor.run(self._open)
        self._executor = executor

    async def commit(self, appends: Sequence[Append]) -> int:
        """Make all of them durable, or none; returns the bytes of facts and snapshots written."""
        return await self._running().run(lambda: self._commit(appends))

    async def close(self) -> None:
        """Empty the log into the file and give up ownership; harmless when called again."""
        if self._executor is not None:
            executor, self._executor = self._executor, None
            await executor.run(self._close)

    # --- opening and closing, in the executor

    def _open(self) -> None:
        with rows.translated(self._path, "open"):
            rows.look_at_file(self._path)
            self._lock = OwnerLock.acquire(self._path)
            try:
                self._create()
                log = look_at_log(self._path.with_name(f"{self._path.name}-wal"))
                connection = self._usable()
                _, frames, _ = connection.execute(SQL["checkpoint"]).fetchone()
                if log is not None and (cut := log.cut_bytes(max(frames, 0))):
                    LOG.warning(
                        "journal %s: the last commit was not whole and never acknowledged; its %d bytes were cut off",
                        self._path,
                        cut,
                    )
            except BaseException:
                self._close()
                raise

    def _create(self) -> None:
        # Also a file whose creation was cut off: SQLite has just rolled it back to nothing.
        if self._path.stat().st_size and not self._path.with_name(f"{self._path.name}-journal").exists():
            return
        connection = self._make(self._path, "mode=rwc")
        try:
            if not connection.execute(SQL["tables"]).fetchone()[0]:
                connection.executescript(sql.script("schema"))
        finally:
            connection.close()

    def _connect(self) -> sqlite3.Connection:
        connection = self._make(self._path, "mode=rw")  # never creates: a journal that vanished is an error
        try:
            if connection.execute(SQL["application_id"]).fetchone()[0] != rows.APPLICATION_ID:
                raise JournalError(f"{self._path} is not an actorflow journal any more; name another file")
            rows.check_version(self._path, connection.execute(SQL["user_version"]).fetchone()[0])
            mode = connection.execute(SQL["wal"]).fetchone()[0]
            if mode != "wal":
                raise JournalError(
                    f"the journal {self._path} cannot have a write-ahead log where it lies (mode {mode!r}); "
                    "put it on a local disk"
                )
            for name in ("secure_delete", "autocheckpoint", "size_limit", "cell_size_check"):
                connection.execute(SQL[name])
            connection.execute(self._synchronous)
            connection.execute(SQL["begin"])  # proves that the file can be written, before anybody relies on it
            connection.execute(SQL["commit"])
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        try:
            if self._connection is not None:
                self._connection.execute(SQL["checkpoint_all"])
        except sqlite3.Error as error:  # what is committed is in the log, and the next opening takes it from there
            LOG.warning("journal %s: its log could not be emptied at closing: %s", self._path, error)
        finally:
            self._discard()
            self._tails.clear()
            lock, self._lock = self._lock, None
            if lock is not None:  # pragma: no branch - held until here; the type is that of a closed journal
                lock.release()

    # --- writing, in the executor

    def _usable(self) -> sqlite3.Connection:
        if self._connection is None:
            connection = self._connect()
            try:
                # After an I/O error, what the log holds may lie in the system's cache only, counted as written:
                # copying it into the file writes it, and syncs it, anew.
                if self._executor is not None:
                    connection.execute(SQL["checkpoint_all"])
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _commit(self, appends: Sequence[Append]) -> int:
        with rows.translated(self._path, "write"):
            connection = self._usable()
            with self._all_or_nothing(connection):
                if not self._next_frame:
                    self._next_frame = connection.execute(SQL["next_frame"]).fetchone()[0]
                batch = self._plan(connection, appends)
                connection.execute(SQL["begin"])
                self._write(connection, batch)
                connection.execute(SQL["commit"])
        self._next_frame = batch.next_frame
        self._forget(batch)
        if batch.dropped:
            self._cut_log(connection)
        return batch.size

    def _cut_log(self, connection: sqlite3.Connection) -> None:
        """Empty a log that a large deletion has swollen, if nobody reads it just now; else a later commit cuts it.

        What was deleted leaves the disk with it. The commit is durable already: a failure here is none of it.
        """
        try:
            if self._path.with_name(f"{self._path.name}-wal").stat().st_size > LOG_BYTES_MAX:
                connection.execute(SQL["do_not_wait"])
                connection.execute(SQL["checkpoint_all"])
                connection.execute(SQL["wait"])
        except (sqlite3.Error, OSError) as error:
            LOG.warning("journal %s: its log could not be emptied: %s", self._path, error)
            self._discard()

    def _plan(self, connection: sqlite3.Connection, appends: Sequence[Append]) -> _Batch:
        """The rows of a commit; refuses what does not join on before anything is written."""
        batch = _Batch()
        frames, values, tails = batch.frames, batch.values, self._tails
        frame = self._next_frame
        size = 0
        for append in appends:
            run_id, facts = append.run_id, append.facts
            tail = tails.get(run_id)
            if tail is None or append.header is not None:
                tail = self._find_tail(connection, append, batch)
            if append.drop_values:
                tail.dropped = True
                batch.dropped.append(tail.key)
            if facts:
                seq, count, bound = append.first_seq, len(facts), tail.bound
                if seq != tail.last_seq + 1:
                    check_joins(append, tail.last_seq)
                tail.last_seq += count
                try:
                    head, texts, body = encode_parts(facts)
                except ValueError as error:
                    raise JournalError(
                        f"the facts of run {run_id!r} cannot be written: {error}", run_id=run_id
                    ) from error
                values_crc = None
                if body and not tail.dropped:
                    values_crc = rows.body_crc(bound, seq, body)
                    values += (frame, body)
                    size += len(body)
                frames += (frame, tail.key, seq, count, head, texts)
                frames += (rows.frame_crc(bound, seq, count, head, texts), values_crc)
                frame += 1
                size += len(head) + len(texts)
            if append.snapshot is not None and not tail.dropped:
                body, last = append.snapshot.encode(), tail.last_seq
                batch.snapshots.append((tail.key, last, body, rows.body_crc(tail.bound, last, body)))
                size += len(body)
        batch.next_frame, batch.size = frame, size
        return batch

    def _find_tail(self, connection: sqlite3.Connection, append: Append, batch: _Batch) -> _Tail:
        """The end of the run of an append that is not known, or that has a row for it, which is put into the batch."""
        run_id = append.run_id
        tail = self._tails.get(run_id)
        if tail is None:
            found = connection.execute(SQL["tail"], (run_id,)).fetchone()
            if found is not None:
                tail = _Tail(found[0], found[2] or 0, bool(found[1]), rows.bound_crc(run_id))
            elif append.header is not None:
                tail = _Tail(append.header.created, 0, False, rows.bound_crc(run_id))
            else:
                raise unknown_run(run_id)
            self._tails[run_id] = tail
        if append.header is not None:
            batch.runs.append(rows.run_values(append.header))
        return tail

    def _write(self, connection: sqlite3.Connection, batch: _Batch) -> None:
        connection.executemany(SQL["put_run"], batch.runs)
        _insert(connection, _PUT_FRAMES, batch.frames)
        _insert(connection, _PUT_VALUES, batch.values)
        connection.executemany(SQL["put_snapshot"], batch.snapshots)
        connection.executemany(SQL["trim_snapshots"], [{"run": row[0]} for row in batch.snapshots])
        keys = [(key,) for key in batch.dropped]
        # Blanked before they go: a deletion may merge pages, and what lies in the gaps of a merged page is not wiped.
        for name in ("blank_values", "drop_values", "drop_snapshots", "mark_dropped"):
            connection.executemany(SQL[name], keys)

    @contextmanager
    def _all_or_nothing(self, connection: sqlite3.Connection) -> Iterator[None]:
        """The commit is durable at the end, or an error is raised and nothing of it is kept, here or in the file."""
        try:
            yield
        except BaseException as error:
            # A COMMIT that raised may have happened all the same: what is remembered of the file counts no more.
            self._tails.clear()
            self._next_frame = 0
            try:
                end(connection)
            except sqlite3.Error:
                self._discard()
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _UNSAFE:
                self._discard()
            raise

    def _forget(self, batch: _Batch) -> None:
        """Let go of the tails of runs that are over, and of those that are too many."""
        for row in batch.runs:
            if row[5] in _OVER:
                self._tails.pop(str(row[1]), None)
        while len(self._tails) > TAILS_MAX:
            del self._tails[next(iter(self._tails))]

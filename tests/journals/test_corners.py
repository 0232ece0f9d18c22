"""Places of the journals that seldom meet anybody: odd file systems, races of owners, damage with a right checksum."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest

from actorflow._core import facts as f
from actorflow._core.facts import Fact
from actorflow._core.lifecycle import RunStatus
from actorflow.errors import JournalBusy, JournalCorrupt, JournalError
from actorflow.journals import Inbox, MemoryJournal, SqliteJournal, SqliteReader, rows, sqlite
from actorflow.journals.codec import decode_frame, encode_frame
from actorflow.journals.lock import OwnerLock
from actorflow.journals.reader import connect
from actorflow.testing.journal_samples import AT, InlineExecutor, append, end, header, pushes, without_values

INLINE = InlineExecutor()


@asynccontextmanager
async def opened(journal: SqliteJournal | MemoryJournal) -> AsyncIterator[SqliteJournal | MemoryJournal]:
    """The journal, open."""
    await journal.open(INLINE)
    try:
        yield journal
    finally:
        await journal.close()


async def fill(path: Path) -> None:
    """A closed journal that holds one run."""
    async with opened(SqliteJournal(path)) as journal:
        await journal.commit([append(1, pushes(5), new=True)])


async def check_filled(path: Path) -> None:
    """The run is there, whole, and can go on."""
    async with opened(SqliteJournal(path)) as journal:
        assert list(await journal.read("run-1")) == pushes(5)
        await journal.commit([append(6, pushes(1, 5))])


class Failing(sqlite3.Connection):
    """A connection on which some statements fail, as if the disk refused what they need."""

    refused = ""
    """How the statements begin that fail; "": none."""

    def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]  # as it is called here
        """The statement, or its failure."""
        if Failing.refused and sql.startswith(Failing.refused):
            raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, *values)  # type: ignore[arg-type]  # whatever came


class Unclosable(sqlite3.Connection):
    """A connection that complains when it is closed."""

    def close(self) -> None:
        """Close it all the same."""
        super().close()
        raise sqlite3.OperationalError("disk I/O error")


def with_connection(path: Path, kind: type[sqlite3.Connection]) -> SqliteJournal:
    """A journal on connections of that kind."""

    def make(path: Path, options: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{path.absolute().as_uri()}?{options}",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            factory=kind,
        )

    return SqliteJournal(path, connect=make)


@pytest.fixture
def refuse(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """`refuse.setattr(Failing, "refused", …)` for a while."""
    return monkeypatch


# --- frames


@pytest.mark.parametrize(
    ("facts", "whole", "short"),
    [
        ([f.Logged(AT, n, 1, n, "m") for n in (1, 2, 3)], b"[1,2,3]", b"[1,2]"),
        ([f.EventTaken(AT, "ab"[n % 2], n) for n in range(6)], b'"order":"ababab"', b'"order":"ababa"'),
        ([f.OperationApplied(AT, 1, "set", "k", a, "") for a in ("1", 2, "3", 4)], b'"sisi"', b'"sis"'),
        ([f.StepsScheduled(AT, n, "s", ["1"], AT, 1) for n in (1, 2)], b"[1,1]", b"[2]"),
    ],
    ids=["numbers", "names", "arguments", "texts"],
)
@pytest.mark.rule("F5")
def test_a_column_that_is_too_short(facts: list[Fact], whole: bytes, short: bytes) -> None:
    """A frame with fewer entries in one column than it has facts is refused: no fact is made of its neighbour's."""
    frame = encode_frame(facts)
    assert decode_frame(*frame) == facts
    assert frame.head.count(whole) > 0, frame.head
    with pytest.raises(ValueError, match=r"column of|arguments for|were announced"):
        decode_frame(frame.head.replace(whole, short), frame.texts, frame.values)


@pytest.mark.rule("F5")
async def test_a_frame_that_does_not_hold_what_its_row_says(tmp_path: Path) -> None:
    """A row that announces more facts than its frame has, with a checksum that fits: the run is damaged."""
    path = tmp_path / "runs.db"
    await fill(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        head, texts = connection.execute("SELECT head, texts FROM frames").fetchone()
        crc = rows.frame_crc(rows.bound_crc("run-1"), 1, 6, head, texts)
        connection.execute("UPDATE frames SET count = 6, crc = ?", (crc,))
    async with opened(SqliteJournal(path)) as journal:
        with pytest.raises(JournalCorrupt, match="5 facts from 1 on, where 6 were announced"):
            await journal.load("run-1")


# --- what every journal does


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_run_keeps_its_place_in_the_list(kind: str, tmp_path: Path) -> None:
    """The place that a run got with its first commit stays, whatever a later row of it says."""
    async with opened(MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")) as journal:
        await journal.commit([append(1, pushes(1), 1, new=True), append(1, pushes(1), 2, new=True)])
        changed = header(1, created=9, status=RunStatus.SUSPENDED)
        await journal.commit([attrs.evolve(append(2, pushes(1, 1), 1), header=changed)])
        found = await journal.headers()
        assert [(row.run_id, row.created, row.status) for row in found] == [
            ("run-2", 2, RunStatus.RUNNING),
            ("run-1", 1, RunStatus.SUSPENDED),
        ]


@pytest.mark.rule("B12")
@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_values_that_are_dropped_twice(kind: str, tmp_path: Path) -> None:
    """Telling a journal again that a run is over changes nothing, and what comes late keeps no values either."""
    async with opened(MemoryJournal() if kind == "memory" else SqliteJournal(tmp_path / "runs.db")) as journal:
        await journal.commit([append(1, pushes(2), new=True)])
        await journal.commit([end(3)])
        await journal.commit([attrs.evolve(append(4, pushes(1, 2)), drop_values=True)])
        found = list(await journal.read("run-1"))
        assert [found[0], found[1], found[3]] == list(map(without_values, pushes(3)))


# --- files


async def test_where_sqlite_cannot_have_a_log(tmp_path: Path) -> None:
    """A place in which SQLite has no memory that processes share is refused, with the advice to take a local disk."""
    path = tmp_path / "runs.db"
    journal = SqliteJournal(path, connect=lambda path, options: connect(path, f"{options}&vfs=unix-none"))
    with pytest.raises(JournalError, match=r"runs\.db cannot have a write-ahead log.*local disk"):
        await journal.open(INLINE)
    async with opened(SqliteJournal(path)) as journal:  # and it was let go
        assert await journal.headers() == []


async def test_a_file_that_was_replaced_under_its_owner(tmp_path: Path) -> None:
    """Somebody puts another database in the journal's place: the next commit says so and does not write into it."""
    path, other = tmp_path / "runs.db", tmp_path / "other.db"
    with closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE precious (a)")
    before = other.read_bytes()
    journal = with_connection(path, sqlite3.Connection)
    async with opened(journal):
        await journal.commit([append(1, pushes(1), new=True)])
        assert isinstance(journal, SqliteJournal)
        assert journal._connection is not None
        journal._connection.close()
        with pytest.raises(JournalError):
            await journal.commit([append(2, pushes(1, 1))])
        os.replace(other, path)
        journal._discard()
        with pytest.raises(JournalError, match=r"runs\.db is not an actorflow journal any more"):
            await journal.commit([append(2, pushes(1, 1))])
    assert path.read_bytes() == before


async def test_a_whole_file_beside_an_empty_record_of_its_making(tmp_path: Path) -> None:
    """An empty `-journal` that was left beside a whole journal stands for nothing: the runs are there."""
    path = tmp_path / "runs.db"
    await fill(path)
    (tmp_path / "runs.db-journal").touch()
    await check_filled(path)


async def test_a_file_of_blanks(tmp_path: Path) -> None:
    """Pages that hold nothing are a journal only where SQLite's record of its making lies beside them."""
    making, path = tmp_path / "making.db", tmp_path / "runs.db"
    with closing(sqlite3.connect(making, isolation_level=None)) as connection:
        connection.execute("PRAGMA cache_size = 1")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("CREATE TABLE t (a)")
        connection.executemany("INSERT INTO t VALUES (?)", [(b"x" * 4000,)] * 50)
        assert making.stat().st_size > 0
        path.write_bytes(bytes(making.stat().st_size))
        shutil.copy(f"{making}-journal", f"{path}-record")
        connection.execute("ROLLBACK")
    with pytest.raises(JournalError, match="no SQLite database; it was left untouched"):
        await SqliteJournal(path).open(INLINE)
    os.replace(f"{path}-record", f"{path}-journal")
    await fill(path)
    await check_filled(path)


@pytest.mark.rule("F5")
async def test_a_log_that_was_only_begun(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log of which a part of the header reached the disk holds no commit: it is cut off and reported."""
    path = tmp_path / "runs.db"
    await fill(path)
    (tmp_path / "runs.db-wal").write_bytes(b"x" * 10)
    await check_filled(path)
    assert "its 10 bytes were cut off" in caplog.text


async def test_a_reader_where_nothing_can_be_made(tmp_path: Path) -> None:
    """In a place where SQLite cannot put its index of the log, a closed journal can be looked at all the same."""
    path = tmp_path / "runs.db"
    await fill(path)
    (tmp_path / "runs.db-shm").symlink_to(tmp_path / "nowhere" / "index")  # rights would not bind every user
    reader = SqliteReader(path)
    await reader.open(INLINE)
    assert reader.path == path
    assert list(await reader.read("run-1")) == pushes(5)
    await reader.close()


def test_an_inbox_that_cannot_be_read(tmp_path: Path) -> None:
    """A folder in the place of the inbox is a `JournalError` that names it, no raw error of the system."""
    inbox = Inbox(tmp_path / "runs.db")
    inbox.path.mkdir()
    with pytest.raises(JournalError, match=r"runs\.db-inbox"):
        inbox.poll()


# --- a disk that refuses


@pytest.mark.rule("F6")
async def test_a_new_connection_that_cannot_write_is_not_taken(tmp_path: Path, refuse: pytest.MonkeyPatch) -> None:
    """After an error, the log must reach the file before anything is acknowledged again; until then commits raise."""
    journal = with_connection(tmp_path / "runs.db", Failing)
    async with opened(journal):
        await journal.commit([append(1, pushes(5), new=True)])
        journal._discard()
        refuse.setattr(Failing, "refused", "PRAGMA wal_checkpoint")
        for _ in range(2):
            with pytest.raises(JournalError, match="disk I/O error"):
                await journal.commit([append(6, pushes(1, 5))])
        refuse.setattr(Failing, "refused", "")
        await journal.commit([append(6, pushes(1, 5))])
        assert list(await journal.read("run-1")) == pushes(6)


@pytest.mark.rule("B12", "F1")
async def test_a_log_that_cannot_be_emptied_after_an_end(
    tmp_path: Path, refuse: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The end of a large run is durable even where the swollen log cannot be cut: no error, a warning."""
    journal = with_connection(tmp_path / "runs.db", Failing)
    large: list[Fact] = [f.OperationApplied(AT, 1, "set", "k", f'"{"x" * 10_000}"', "") for _ in range(150)]
    async with opened(journal):
        await journal.commit([append(1, large, new=True)])
        refuse.setattr(Failing, "refused", "PRAGMA wal_checkpoint(TRUNCATE)")
        await journal.commit([end(151)])
        refuse.setattr(Failing, "refused", "")
        assert "its log could not be emptied: disk I/O error" in caplog.text
        assert [row.status for row in await journal.headers()] == [RunStatus.COMPLETED]
        await journal.commit([append(1, pushes(1), 2, new=True)])


async def test_a_log_that_cannot_be_emptied_at_closing(
    tmp_path: Path, refuse: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Closing is done though the log cannot be emptied: it says so, ownership ends, and the next owner finds all."""
    path = tmp_path / "runs.db"
    journal = with_connection(path, Failing)
    async with opened(journal):
        await journal.commit([append(1, pushes(5), new=True)])
        refuse.setattr(Failing, "refused", "PRAGMA wal_checkpoint(TRUNCATE)")
    refuse.setattr(Failing, "refused", "")
    assert "could not be emptied at closing" in caplog.text
    await check_filled(path)


async def test_a_connection_that_complains_when_it_is_closed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The journal is closed and free all the same; the complaint goes to the log."""
    path = tmp_path / "runs.db"
    with caplog.at_level(logging.ERROR, "actorflow"):
        journal = with_connection(path, sqlite3.Connection)
        await journal.open(INLINE)
        await journal.commit([append(1, pushes(5), new=True)])
        assert journal._connection is not None
        journal._connection.close()
        journal._connection = connect_unclosable(path)
        await journal.close()
    assert "closing a broken connection failed" in caplog.text
    await check_filled(path)


def connect_unclosable(path: Path) -> sqlite3.Connection:
    """A connection to the journal that complains when it is closed."""
    return sqlite3.connect(path, isolation_level=None, factory=Unclosable)


async def test_more_runs_than_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs whose end has been forgotten go on where they were, and a gap is still refused."""
    monkeypatch.setattr(sqlite, "TAILS_MAX", 3)
    async with opened(SqliteJournal(tmp_path / "runs.db")) as journal:
        await journal.commit([append(1, pushes(2), n, new=True) for n in range(1, 11)])
        for n in range(1, 11):
            await journal.commit([append(3, pushes(1, 2), n)])
        with pytest.raises(JournalError, match="does not join"):
            await journal.commit([append(5, pushes(1, 4), 1)])
        for n in range(1, 11):
            assert list(await journal.read(f"run-{n}")) == pushes(3)


# --- owners


@pytest.mark.rule("F7")
def test_ownership_may_be_given_up_twice(tmp_path: Path) -> None:
    """The second time does nothing, above all not to the lock of whoever owns the file by then."""
    path = tmp_path / "runs.db"
    first = OwnerLock.acquire(path)
    first.release()
    second = OwnerLock.acquire(path)
    first.release()
    with pytest.raises(JournalBusy):
        OwnerLock.acquire(path)
    second.release()
    OwnerLock.acquire(path).release()


@pytest.mark.rule("F7")
def test_a_lock_whose_file_was_removed_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last owner removes its lock between our opening it and our taking it: ours is a new one, and it holds."""
    path, sidecar = tmp_path / "runs.db", tmp_path / "runs.db.lock"
    real = fcntl.flock
    removed: list[int] = []

    def flock(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(descriptor)
            sidecar.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", flock)
    lock = OwnerLock.acquire(path)
    assert removed
    assert sidecar.read_text() == f"{os.getpid()}\n"
    with pytest.raises(JournalBusy):
        OwnerLock.acquire(path)
    lock.release()


@pytest.mark.rule("F7")
def test_two_at_once_where_files_cannot_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two threads open one file under two names at the same moment, on a disk without locks: one of them owns it."""
    path, hard = tmp_path / "runs.db", tmp_path / "hard.db"
    path.touch()
    hard.hardlink_to(path)
    real = fcntl.flock
    faster: list[OwnerLock] = []

    def flock(descriptor: int, operation: int) -> None:
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            raise OSError(errno.ENOTSUP, "no locks here")
        real(descriptor, operation)
        if not faster:
            faster.append(None)  # type: ignore[arg-type]  # it is under way
            faster[0] = OwnerLock.acquire(hard)

    monkeypatch.setattr(fcntl, "flock", flock)
    with pytest.raises(JournalBusy, match="this process, under another name of the file"):
        OwnerLock.acquire(path)
    faster[0].release()
    OwnerLock.acquire(path).release()

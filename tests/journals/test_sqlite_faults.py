"""Torn logs, full disks, broken connections: a commit is durable, or it raised and nothing of it is there."""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import TypeVar

import pytest

from actorflow.errors import JournalError
from actorflow.journals import SqliteJournal
from actorflow.testing.journal_samples import InlineExecutor, append, end, header, pushes, without_values

INLINE = InlineExecutor()
T = TypeVar("T")


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    """The journal, open."""
    journal = SqliteJournal(path)
    await journal.open(INLINE)
    try:
        yield journal
    finally:
        await journal.close()


def crashed_copy(path: Path, folder: Path) -> Path:
    """The files of an open journal as a killed process would leave them."""
    folder.mkdir()
    for suffix in ("", "-wal"):
        shutil.copy(f"{path}{suffix}", folder / f"{path.name}{suffix}")
    return folder / path.name


def flip(path: Path, place: int) -> None:
    """Change one byte of a file."""
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


async def commits(journal: SqliteJournal, log: Path, count: int) -> list[int]:
    """Several commits of one run; returns the size of the log after each."""
    sizes = []
    for number in range(count):
        await journal.commit([append(1 + 20 * number, pushes(20, 20 * number), new=number == 0)])
        sizes.append(os.stat(log).st_size)
    return sizes


@pytest.mark.rule("F4", "F5")
async def test_a_log_torn_anywhere_is_cut_to_whole_commits(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """However many bytes of the log reached the disk: the whole commits are there, and the cut is reported."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        await journal.commit([append(1, [], 9, new=True)])
        log = Path(f"{path}-wal")
        begin = os.stat(log).st_size
        sizes = [begin, *await commits(journal, log, 4)]
        assert sizes == sorted(set(sizes))
        crashed = crashed_copy(path, tmp_path / "crashed")
    for cut in sorted({*range(begin, sizes[-1], 1031), *sizes}):
        torn = tmp_path / f"torn-{cut}"
        torn.mkdir()
        for suffix in ("", "-wal"):
            shutil.copy(f"{crashed}{suffix}", torn)
        os.truncate(torn / "runs.db-wal", cut)
        whole = max(i for i, size in enumerate(sizes) if size <= cut)
        caplog.clear()
        async with opened(torn / "runs.db") as journal:
            assert list(await journal.read("run-1")) == pushes(20 * whole)
            left = cut - sizes[whole]
            assert [f"its {left} bytes were cut off" in text for text in caplog.messages] == ([True] if left else [])
            await journal.commit([append(20 * whole + 1, pushes(1), new=not whole)])


@pytest.mark.rule("F5")
async def test_a_log_damaged_in_its_last_commit(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A commit of which a page came out wrong is cut off like one that is too short."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        sizes = await commits(journal, Path(f"{path}-wal"), 3)
        crashed = crashed_copy(path, tmp_path / "crashed")
    flip(Path(f"{crashed}-wal"), sizes[1] + 1000)
    async with opened(crashed) as journal:
        assert list(await journal.read("run-1")) == pushes(40)
    assert f"its {sizes[2] - sizes[1]} bytes were cut off" in caplog.text


async def test_frames_of_an_earlier_generation_are_no_torn_tail(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A log that is written over from the front keeps old frames behind the new ones: nothing is reported."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        log = Path(f"{path}-wal")
        sizes = await commits(journal, log, 200)
        assert sizes[-1] == sizes[-5], "the log was not written over"
        crashed = crashed_copy(path, tmp_path / "crashed")
    async with opened(crashed) as journal:
        assert list(await journal.read("run-1")) == pushes(4000)
    assert caplog.messages == []


# --- writing fails


def connection_of(journal: SqliteJournal) -> sqlite3.Connection:
    """The one connection, to break it from below."""
    connection = journal._connection
    assert connection is not None
    return connection


@pytest.mark.rule("F6")
async def test_a_full_disk(tmp_path: Path) -> None:
    """When the file may not grow, the commit raises and nothing of it is there; with room again, it goes on."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        await journal.commit([append(1, pushes(10), new=True)])
        connection = connection_of(journal)
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        for _ in range(2):
            with pytest.raises(JournalError, match="SQLITE_FULL") as caught:
                await journal.commit([append(1, pushes(1), 2, new=True), append(11, pushes(20_000, 10))])
            assert isinstance(caught.value.__cause__, sqlite3.Error)
            assert [row.run_id for row in await journal.headers()] == ["run-1"]
            assert list(await journal.read("run-1")) == pushes(10)
        await journal.commit([append(11, pushes(1, 10))])
        connection.execute("PRAGMA max_page_count = 1000000")
        await journal.commit([append(12, pushes(20_000, 11))])
    async with opened(path) as journal:
        assert list(await journal.read("run-1")) == pushes(20_011)


class Limited:
    """Runs the work with a bound on the size that a file may have, as a quota would set it."""

    bound: int | None = None

    async def run(self, function: Callable[[], T]) -> T:
        import resource

        if self.bound is None:
            return function()
        before = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.bound, before[1]))
        try:
            return function()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.rule("F6")
@pytest.mark.skipif(sys.platform == "win32", reason="the system has no such bound")
async def test_every_write_fails_once(tmp_path: Path) -> None:
    """An I/O error at every place of a commit in turn: it raises, the journal is as before, the next one succeeds."""
    path = tmp_path / "runs.db"
    executor = Limited()
    journal = SqliteJournal(path)
    await journal.open(executor)
    await journal.commit([append(1, pushes(10), new=True)])
    failed = 0
    last = 10
    for bound in range(0, 200_000, 4120):
        executor.bound = bound
        try:
            await journal.commit([append(last + 1, pushes(3_000, last))])
        except JournalError:
            failed += 1
        else:
            last += 3_000
        executor.bound = None
        assert list(await journal.read("run-1")) == pushes(last)
        await journal.commit([append(last + 1, pushes(1, last))])
        last += 1
        if last > 3_000:
            break
    await journal.close()
    assert failed > 3
    async with opened(path) as journal:
        assert list(await journal.read("run-1")) == pushes(last)


@pytest.mark.rule("F6", "F2")
async def test_a_commit_interrupted_anywhere_is_all_or_nothing(tmp_path: Path) -> None:
    """Cut off after n instructions of SQLite, for n = 1, 2, 3 …: nothing of it is there, and it can be made again.

    The last instruction is COMMIT itself: cut off behind it, the outcome is an error, and all of the commit is there.
    """
    async with opened(tmp_path / "runs.db") as journal:
        await journal.commit([append(1, pushes(5), 1, new=True), append(1, pushes(5), 2, new=True)])
        before = list(await journal.headers())
        appends = [append(6, pushes(5, 5), 1), end(6, 2), append(1, pushes(1), 3, new=True)]
        for steps in range(1, 1000):
            calls = iter([*[0] * steps, 1])
            connection_of(journal).set_progress_handler(lambda left=calls: next(left, 0), 1)
            try:
                await journal.commit(appends)
            except JournalError:
                connection_of(journal).set_progress_handler(None, 1)
                if list(await journal.headers()) != before:
                    break
                assert list(await journal.read("run-2")) == list(await journal.read("run-1")) == pushes(5)
            else:
                break
        connection_of(journal).set_progress_handler(None, 1)
        assert steps > 20
        assert list(await journal.read("run-1")) == pushes(10)
        assert list(await journal.read("run-2")) == [*map(without_values, pushes(5)), *appends[1].facts]
        assert await journal.header("run-3") == header(3)
        await journal.commit([append(11, pushes(1, 10), 1), append(2, pushes(1, 1), 3)])
        assert list(await journal.read("run-1")) == pushes(11)


@pytest.mark.rule("F6")
async def test_a_connection_that_broke_is_replaced(tmp_path: Path) -> None:
    """A connection closed from below fails the next call, and the one after has a new one."""
    async with opened(tmp_path / "runs.db") as journal:
        await journal.commit([append(1, pushes(5), new=True)])
        connection_of(journal).close()
        with pytest.raises(JournalError):
            await journal.commit([append(6, pushes(5, 5))])
        await journal.commit([append(6, pushes(5, 5))])
        assert list(await journal.read("run-1")) == pushes(10)


@pytest.mark.rule("B12")
async def test_the_end_of_a_large_run_empties_the_log(tmp_path: Path) -> None:
    """Deleting many values fills the log with emptied pages: it is cut at once, also while somebody is reading."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        for number in (1, 2):
            await journal.commit([append(1, pushes(300_000), number, new=True)])
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM runs").fetchone()
            await journal.commit([end(300_001, 1)])
        await journal.commit([end(300_001, 2)])
        assert os.stat(f"{path}-wal").st_size == 0
        assert len(await journal.read("run-1")) == 300_001


@pytest.mark.rule("F8")
async def test_a_push_costs_the_same_at_any_length(tmp_path: Path) -> None:
    """The bytes of a commit do not depend on what is there already, nor does the number of pages that it writes."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        sizes = {await journal.commit([append(1 + i, pushes(1, 1_000_000 + i), new=not i)]) for i in range(2_000)}
        assert len(sizes) == 1
        assert os.stat(f"{path}-wal").st_size < 600_000
    assert os.stat(path).st_size < 2_000 * 150

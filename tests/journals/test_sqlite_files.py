"""What can be wrong with the file of a SQLite journal, and who may own it."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import attrs
import pytest

from actorflow._core import facts as f
from actorflow.errors import JournalBusy, JournalCorrupt, JournalError
from actorflow.journals import SqliteJournal, SqliteReader
from actorflow.testing.journal_samples import InlineExecutor, append, end, pushes, without_values

INLINE = InlineExecutor()


@asynccontextmanager
async def opened(path: Path) -> AsyncIterator[SqliteJournal]:
    """The journal, open."""
    journal = SqliteJournal(path)
    await journal.open(INLINE)
    try:
        yield journal
    finally:
        await journal.close()


async def fill(path: Path, runs: int = 3) -> None:
    """A closed journal with some runs of some commits each."""
    async with opened(path) as journal:
        for number in range(1, runs + 1):
            await journal.commit([append(1, pushes(5, 1000 * number), number, new=True)])
            await journal.commit([append(6, pushes(5, 1000 * number + 5), number)])


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, and every folder in it."""
    return {str(found): found.read_bytes() if found.is_file() else b"" for found in folder.rglob("*")}


def foreign_database(path: Path) -> None:
    """A SQLite database of somebody else."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; CREATE TABLE precious (a); INSERT INTO precious VALUES (1)"
        )


@pytest.mark.parametrize("kind", ["text", "short", "database", "newer"])
async def test_a_foreign_file_is_refused_and_left_as_it_is(tmp_path: Path, kind: str) -> None:
    """Neither owner nor reader touches a byte of a file that is no journal of theirs, and nothing appears beside it."""
    path = tmp_path / "runs.db"
    if kind == "database":
        foreign_database(path)
    elif kind == "newer":
        await fill(path)
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("PRAGMA user_version = 2")
    else:
        path.write_bytes(b"Dear diary, " * (1 if kind == "short" else 1000))
    before = contents(tmp_path)
    for journal in (SqliteJournal(path), SqliteReader(path)):
        with pytest.raises(JournalError, match=r"runs\.db.*untouched: ") as caught:
            await journal.open(INLINE)
        assert not isinstance(caught.value, JournalCorrupt | JournalBusy)
    assert contents(tmp_path) == before


@pytest.mark.parametrize("name", ["missing/runs.db", "folder", "file/runs.db"])
async def test_a_path_that_cannot_be_a_journal(tmp_path: Path, name: str) -> None:
    """A missing folder, a folder, a file in the place of a folder: the error names the path, and nothing is made."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("x")
    before = contents(tmp_path)
    with pytest.raises(JournalError, match=name):
        await SqliteJournal(tmp_path / name).open(INLINE)
    assert contents(tmp_path) == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="rights do not bind this user")
async def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """A folder without the right to write is a `JournalError`."""
    os.chmod(tmp_path, 0o500)
    try:
        with pytest.raises(JournalError):
            await SqliteJournal(tmp_path / "runs.db").open(INLINE)
    finally:
        os.chmod(tmp_path, 0o700)


async def test_an_empty_file_is_a_new_journal(tmp_path: Path) -> None:
    """A file of no bytes is taken as a place that somebody prepared."""
    (tmp_path / "runs.db").touch()
    await fill(tmp_path / "runs.db")


async def test_nothing_stays_beside_a_closed_journal(tmp_path: Path) -> None:
    """Closing leaves one file: no log, no lock."""
    await fill(tmp_path / "runs.db")
    assert os.listdir(tmp_path) == ["runs.db"]


# --- damage


@pytest.mark.rule("F5")
@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE frames SET head = replace(head, 'push', 'pusH') WHERE run = 2 AND seq = 6",
        "UPDATE frames SET texts = x'41' WHERE run = 2 AND seq = 6",
        "UPDATE frames SET count = 4 WHERE run = 2 AND seq = 6",
        "UPDATE frames SET crc = crc + 1 WHERE run = 2 AND seq = 1",
        "UPDATE frame_values SET body = replace(body, '2003', '2004') WHERE id = 3",
        "DELETE FROM frame_values WHERE id = 4",
        "DELETE FROM frames WHERE run = 2 AND seq = 1",
        "UPDATE frames SET seq = 7 WHERE run = 2 AND seq = 6",
        "UPDATE frames SET run = 2, seq = 11 WHERE run = 3 AND seq = 1; UPDATE frames SET seq = 1 WHERE run = 3",
        "UPDATE runs SET status = 'rumming' WHERE key = 2",
    ],
)
async def test_damage_concerns_one_run_only(tmp_path: Path, damage: str) -> None:
    """Whatever is damaged in one run is noticed there, with its id, and the others are as before."""
    path = tmp_path / "runs.db"
    await fill(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(damage.replace("replace(head, ", "replace(CAST(head AS TEXT), "))
    async with opened(path) as journal:
        for read in (journal.load, journal.read):
            with pytest.raises(JournalCorrupt, match="run-2") as caught:
                await read("run-2")
            assert caught.value.run_id == "run-2"
        assert list(await journal.read("run-1")) == pushes(10, 1000)
        assert [row.run_id for row in await journal.headers()] == ["run-3", "run-2", "run-1"]
        await journal.commit([append(11, pushes(1), 1)])


@pytest.mark.rule("F5")
async def test_a_flipped_byte_is_noticed(tmp_path: Path) -> None:
    """One byte of the file, changed in the middle of a value, makes its run corrupt and no other."""
    path = tmp_path / "runs.db"
    await fill(path)
    content = path.read_bytes()
    assert content.count(b"2003\n") == 1
    path.write_bytes(content.replace(b"2003\n", b"2903\n"))
    async with opened(path) as journal:
        with pytest.raises(JournalCorrupt, match="from 1 on"):
            await journal.load("run-2")
        assert list(await journal.read("run-3")) == pushes(10, 3000)


@pytest.mark.rule("F5")
@pytest.mark.parametrize("size", [50, 4096, 8192, 20000])
async def test_a_file_cut_short_is_corrupt(tmp_path: Path, size: int) -> None:
    """A journal that lost its end is a `JournalCorrupt` with its path, for owner and reader."""
    path = tmp_path / "runs.db"
    await fill(path, runs=40)
    os.truncate(path, size)
    for journal in (SqliteJournal(path), SqliteReader(path)):
        with pytest.raises(JournalCorrupt, match=r"runs\.db"):
            await journal.open(INLINE)
    assert path.stat().st_size == size


async def test_pages_of_rubbish_are_corrupt(tmp_path: Path) -> None:
    """Pages overwritten behind the header give a `JournalCorrupt`, no raw error."""
    path = tmp_path / "runs.db"
    await fill(path, runs=40)
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xa5" * (len(content) - 4096))
    with pytest.raises(JournalCorrupt):
        async with opened(path) as journal:
            await journal.load("run-2")


async def test_a_log_without_its_file_is_not_thrown_away(tmp_path: Path) -> None:
    """SQLite would delete the log of an empty database; here it may hold the only copy of what was acknowledged."""
    path = tmp_path / "runs.db"
    log = tmp_path / "runs.db-wal"
    log.write_bytes(b"x" * 100)
    with pytest.raises(JournalCorrupt, match="log"):
        await SqliteJournal(path).open(INLINE)
    assert log.read_bytes() == b"x" * 100


async def test_a_damaged_snapshot_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A snapshot only shortens recovery: a damaged one is reported, and an older one or none is taken."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        await journal.commit([attrs.evolve(append(1, pushes(3), new=True), snapshot="one")])
        await journal.commit([attrs.evolve(append(4, pushes(3, 3)), snapshot="two")])
    for left, facts in (("one", pushes(3, 3)), (None, pushes(6))):
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("UPDATE snapshots SET body = x'00' WHERE seq = ?", (6 if left else 3,))
        async with opened(path) as journal:
            stored = await journal.load("run-1")
        assert stored is not None
        assert (stored.snapshot, list(stored.facts)) == (left, facts)
        assert "the snapshot of run 'run-1' at 6 is damaged" in caplog.text


@pytest.mark.rule("B12")
async def test_ended_values_are_gone_from_the_file(tmp_path: Path) -> None:
    """After the end, not a byte of a value is left in the file; the record of the run is."""
    path = tmp_path / "runs.db"
    secret = [f.OperationApplied(1.0, 1, "set", "k", f'"secret-{i}-{"x" * i}"', "") for i in range(3000)]
    seeded = f.StateSeeded(1.0, {"secret-key": '"secret-seed"'})
    payload = f.StepScheduled(1.0, 2, "step", '"payload"', 1.0, 1, "")
    async with opened(path) as journal:
        await journal.commit([append(1, [seeded, payload], new=True)])
        for start in range(0, 3000, 100):
            await journal.commit([append(3 + start, secret[start : start + 100])])
        await journal.commit([end(3003)])
    content = b"".join(contents(tmp_path).values())
    assert b"secret" not in content
    assert b"payload" in content


@pytest.mark.rule("F2", "B12")
async def test_many_runs_side_by_side(tmp_path: Path) -> None:
    """Runs whose rows lie between each other's: each is read whole, and each end takes its values and no others."""
    path = tmp_path / "runs.db"
    runs, rounds = 213, 9
    texts = {n: [f'"run {n} holds {i}, {"x" * (n * i % 50)}"' for i in range(rounds)] for n in range(1, runs + 1)}
    facts = {n: [f.OperationApplied(1.0, 1, "push", "k", text, "") for text in texts[n]] for n in texts}
    async with opened(path) as journal:
        for i in range(rounds):
            await journal.commit([append(1 + i, facts[n][i : i + 1], n, new=not i) for n in texts])
        for n in texts:
            assert list(await journal.read(f"run-{n}")) == facts[n]
        for third in (0, 1):
            await journal.commit([end(rounds + 1, n) for n in texts if n % 3 == third])
        for n in texts:
            assert list(await journal.read(f"run-{n}", 1, rounds)) == (
                facts[n] if n % 3 == 2 else list(map(without_values, facts[n]))
            )
    content = b"".join(contents(tmp_path).values())
    assert [n for n in texts if any(text.encode() in content for text in texts[n])] == [n for n in texts if n % 3 == 2]


async def test_a_refused_commit_is_forgotten(tmp_path: Path) -> None:
    """What a commit would have added to any run does not count when its last append is refused."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        await journal.commit([append(1, pushes(2), n, new=True) for n in range(1, 41)])
        for bad in (append(9, pushes(1), 40), append(3, [f.StepCompleted(1.0, 1, "[\n]")], 40)):
            with pytest.raises(JournalError, match="run-40"):
                await journal.commit([*(append(3, pushes(1, 2), n) for n in range(1, 40)), end(4, 1), bad])
        await journal.commit([append(3, pushes(1, 2), n) for n in range(1, 41)])
    async with opened(path) as journal:
        for n in range(1, 41):
            assert list(await journal.read(f"run-{n}")) == pushes(3)


# --- owners

HOLD = """
import sys, trio
from actorflow.journals import SqliteJournal
from actorflow.testing.journal_samples import InlineExecutor
async def main():
    journal = SqliteJournal(sys.argv[1])
    await journal.open(InlineExecutor())
    print("open", flush=True)
    sys.stdin.read()
trio.run(main)
"""


def start_owner(path: Path) -> subprocess.Popen[str]:
    """Another process that opens the journal, says so, and waits."""
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )


@asynccontextmanager
async def owner_elsewhere(path: Path) -> AsyncIterator[subprocess.Popen[str]]:
    """Another process that owns the journal, and is killed at the end."""
    with start_owner(path) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "open\n"
            yield process
        finally:
            process.kill()


def spellings(path: Path) -> list[Path]:
    """The same file under other names."""
    symbolic, hard = path.with_name("symbolic.db"), path.with_name("hard.db")
    symbolic.symlink_to(path)
    hard.hardlink_to(path)
    return [path, Path(os.path.relpath(path)), path.parent / "." / ".." / path.parent.name / path.name, symbolic, hard]


@pytest.mark.rule("F7")
async def test_a_second_owner_in_this_process(tmp_path: Path) -> None:
    """Relative, through links of either kind: it is the same journal, and it is busy."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        for spelled in spellings(path):
            with pytest.raises(JournalBusy):
                await SqliteJournal(spelled).open(INLINE)
        await journal.commit([append(1, pushes(1), new=True)])
    async with opened(path):
        pass


@pytest.mark.rule("F7")
@pytest.mark.skipif(sys.platform != "linux", reason="hard links are seen across processes on Linux only")
async def test_a_second_owner_in_another_process(tmp_path: Path) -> None:
    """The other process is named; when it dies, however it dies, the journal is free."""
    path = tmp_path / "runs.db"
    await fill(path)
    async with owner_elsewhere(path) as process:
        for spelled in spellings(path):
            with pytest.raises(JournalBusy, match=str(process.pid) if spelled.name != "hard.db" else "another"):
                await SqliteJournal(spelled).open(INLINE)
        reader = SqliteReader(path)
        await reader.open(INLINE)
        assert list(await reader.read("run-1")) == pushes(10, 1000)
        await reader.close()
    async with opened(path) as journal:
        assert list(await journal.read("run-1")) == pushes(10, 1000)


# --- readers


async def test_a_reader_sees_each_commit(tmp_path: Path) -> None:
    """A reader beside the owner sees what was committed when it asked, and can change nothing."""
    path = tmp_path / "runs.db"
    async with opened(path) as journal:
        reader = SqliteReader(path)
        await reader.open(INLINE)
        await journal.commit([append(1, pushes(1), new=True)])
        assert list(await reader.read("run-1")) == pushes(1)
        await journal.commit([append(2, pushes(1, 1))])
        stored = await reader.load("run-1")
        assert stored is not None
        assert list(stored.facts) == pushes(2)
        assert await reader.headers() == await journal.headers()
        assert await reader.header("run-1") == await journal.header("run-1")
        await reader.close()
        await reader.close()
        with pytest.raises(JournalError):
            await reader.headers()


async def test_a_reader_makes_no_journal(tmp_path: Path) -> None:
    """A reader of a journal that is not there says so and leaves nothing."""
    with pytest.raises(JournalError, match="no journal"):
        await SqliteReader(tmp_path / "runs.db").open(INLINE)
    assert os.listdir(tmp_path) == []

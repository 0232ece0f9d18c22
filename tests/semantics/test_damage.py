"""Damaged journals (semantics F5): a torn tail is cut back, damage in the middle concerns its run only."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from actorflow import (
    ActorflowError,
    Context,
    JournalCorrupt,
    JournalError,
    RunExists,
    RunStatus,
    Workflow,
    open_runtime,
)

RUNS = ("a", "b", "c")


class Held(Workflow):
    """Pushes in several commits, and then waits to be told to end."""

    async def start(self, data, ctx: Context):
        for i in range(5):
            await ctx.run_store.push("l", f"{data}{i}")
        await ctx.wait_for_event("end", action="finish")

    async def finish(self, data, ctx: Context):
        await ctx.run_store.push("l", "end")

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("l")


def wanted(run_id: str) -> list[str]:
    """The output of one run."""
    return [*(f"{run_id}{i}" for i in range(5)), "end"]


async def leave_runs(url: str) -> None:
    """Three runs that wait, left in the journal."""
    async with open_runtime([Held], journal=url) as runtime:
        for run_id in RUNS:
            run = await runtime.start(Held, run_id, run_id=run_id)
            async with run.events() as stream:
                async for event in stream:
                    if event.kind == "step-completed":
                        break


def frames_of(connection: sqlite3.Connection, run_id: str) -> list[int]:
    """The ids of the commits of a run, in order."""
    rows = connection.execute(
        "SELECT f.id FROM frames AS f JOIN runs AS r ON r.key = f.run WHERE r.run_id = ? ORDER BY f.seq", (run_id,)
    )
    return [row[0] for row in rows]


def flip(connection: sqlite3.Connection, table: str, column: str, row: int, place: int) -> None:
    """Change one bit of a blob."""
    (blob,) = connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (row,)).fetchone()
    changed = bytearray(blob)
    changed[place % len(changed)] ^= 4
    connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (bytes(changed), row))


def flip_head(connection: sqlite3.Connection) -> None:
    """A bit of a commit in the middle."""
    flip(connection, "frames", "head", frames_of(connection, "b")[2], 11)


def flip_texts(connection: sqlite3.Connection) -> None:
    """A bit of the texts of the first commit."""
    flip(connection, "frames", "texts", frames_of(connection, "b")[0], 3)


def flip_value(connection: sqlite3.Connection) -> None:
    """A bit of a value of the store."""
    rows = connection.execute("SELECT id FROM frame_values").fetchall()
    flip(connection, "frame_values", "body", next(row for (row,) in rows if row in frames_of(connection, "b")), 2)


def flip_last(connection: sqlite3.Connection) -> None:
    """A bit of the last commit."""
    flip(connection, "frames", "head", frames_of(connection, "b")[-1], 5)


def lose_middle(connection: sqlite3.Connection) -> None:
    """A whole commit is gone."""
    connection.execute("DELETE FROM frames WHERE id = ?", (frames_of(connection, "b")[2],))


def lose_first(connection: sqlite3.Connection) -> None:
    """The first commit is gone."""
    connection.execute("DELETE FROM frames WHERE id = ?", (frames_of(connection, "b")[0],))


def lose_value(connection: sqlite3.Connection) -> None:
    """The values of a commit are gone, and the run is not over."""
    connection.execute(f"DELETE FROM frame_values WHERE id IN ({','.join(map(str, frames_of(connection, 'b')))})")


def swap_order(connection: sqlite3.Connection) -> None:
    """Two commits of one run in each other's place: each is whole in itself."""
    one, two = frames_of(connection, "b")[2:4]
    for column in ("head", "texts", "crc", "values_crc"):
        first, second = (
            connection.execute(f"SELECT {column} FROM frames WHERE id = ?", (row,)).fetchone()[0] for row in (one, two)
        )
        connection.execute(f"UPDATE frames SET {column} = ? WHERE id = ?", (second, one))
        connection.execute(f"UPDATE frames SET {column} = ? WHERE id = ?", (first, two))


def take_anothers(connection: sqlite3.Connection) -> None:
    """A whole commit of another run in this one's place."""
    mine, theirs = frames_of(connection, "b")[2], frames_of(connection, "c")[2]
    for column in ("head", "texts", "crc", "values_crc", "count"):
        (value,) = connection.execute(f"SELECT {column} FROM frames WHERE id = ?", (theirs,)).fetchone()
        connection.execute(f"UPDATE frames SET {column} = ? WHERE id = ?", (value, mine))


def spoil_status(connection: sqlite3.Connection) -> None:
    """The row of the run says a status that there is not."""
    connection.execute("UPDATE runs SET status = 'runninh' WHERE run_id = 'b'")


DAMAGES = [
    flip_head,
    flip_texts,
    flip_value,
    flip_last,
    lose_middle,
    lose_first,
    lose_value,
    swap_order,
    take_anothers,
    spoil_status,
]


def change(path: Path, damage: Callable[[sqlite3.Connection], None]) -> None:
    """Change a closed journal."""
    with closing(sqlite3.connect(path)) as connection, connection:
        damage(connection)


def content(path: Path, run_id: str) -> list[tuple[object, ...]]:
    """All that the journal holds of one run, byte for byte."""
    with closing(sqlite3.connect(path)) as connection:
        return connection.execute(
            "SELECT r.*, f.*, v.body FROM runs AS r JOIN frames AS f ON f.run = r.key "
            "LEFT JOIN frame_values AS v ON v.id = f.id WHERE r.run_id = ? ORDER BY f.seq",
            (run_id,),
        ).fetchall()


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.rule("F5")
async def test_damage_concerns_one_run(damage: Callable[[sqlite3.Connection], None], tmp_path: Path) -> None:
    """Whatever is damaged of a run: it is `JournalCorrupt` for that one, it is left as it is, the others go on."""
    path = tmp_path / "runs.db"
    url = f"sqlite:{path}"
    await leave_runs(url)
    change(path, damage)
    before = content(path, "b")
    async with open_runtime([Held], journal=url) as runtime:
        assert list(runtime.unrecovered) == ["b"]
        error = runtime.unrecovered["b"]
        assert isinstance(error, JournalCorrupt)
        assert error.run_id == "b"
        for run_id in ("a", "c"):
            run = await runtime.get_run(run_id)
            await run.send_event("end")
            assert await run.result() == wanted(run_id)
        listed = {summary.run_id: summary.status for summary in await runtime.list_runs()}
        assert listed == {"a": RunStatus.COMPLETED, "b": RunStatus.RUNNING, "c": RunStatus.COMPLETED}
    assert content(path, "b") == before


@pytest.mark.rule("F5")
async def test_what_a_handle_of_a_damaged_run_does(sqlite_url: str) -> None:
    """`wait`, `result`, `cancel`, `send_event` raise the error of the recovery; `describe` names it."""
    path = Path(sqlite_url.removeprefix("sqlite:"))
    await leave_runs(sqlite_url)
    change(path, flip_head)
    async with open_runtime([Held], journal=sqlite_url) as runtime:
        run = await runtime.get_run("b")
        error = runtime.unrecovered["b"]
        for call in (run.wait, run.result, run.cancel, lambda: run.send_event("end")):
            with pytest.raises(JournalCorrupt) as raised:
                await call()
            assert raised.value is error
        for call in (run.state, run.history):
            with pytest.raises(JournalCorrupt):
                await call()
        description = await run.describe()
        assert description.recovery_error is error
        assert description.status is RunStatus.RUNNING
        with pytest.raises(RunExists):
            await runtime.start(Held, "another input", run_id="b")


@pytest.mark.rule("F5")
async def test_a_mended_journal_is_tried_again(sqlite_url: str) -> None:
    """At the next opening a run that could not be taken up is tried again."""
    path = Path(sqlite_url.removeprefix("sqlite:"))
    await leave_runs(sqlite_url)
    change(path, flip_head)
    async with open_runtime([Held], journal=sqlite_url) as runtime:
        assert list(runtime.unrecovered) == ["b"]
    change(path, flip_head)  # the same bit once more: it is as it was
    async with open_runtime([Held], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        run = await runtime.get_run("b")
        await run.send_event("end")
        assert await run.result() == wanted("b")


@pytest.mark.rule("F5")
async def test_damage_of_a_run_that_is_over(sqlite_url: str) -> None:
    """A finished run is nothing to take up: its damage is told to whoever reads it, and to nobody else."""
    path = Path(sqlite_url.removeprefix("sqlite:"))
    await leave_runs(sqlite_url)
    async with open_runtime([Held], journal=sqlite_url) as runtime:
        for run_id in RUNS:
            await (await runtime.get_run(run_id)).cancel()
    change(path, flip_head)
    async with open_runtime([Held], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        assert (await (await runtime.get_run("a")).wait()).status is RunStatus.CANCELLED
        damaged = await runtime.get_run("b")
        assert await damaged.status() is RunStatus.CANCELLED
        for call in (damaged.wait, damaged.history):
            with pytest.raises(JournalCorrupt):
                await call()


@pytest.mark.rule("F5")
async def test_without_recovery_damage_shows_when_the_run_is_acted_on(sqlite_url: str) -> None:
    """With `recover=False` nothing is read at opening; acting on the damaged run raises, the others can be had."""
    path = Path(sqlite_url.removeprefix("sqlite:"))
    await leave_runs(sqlite_url)
    change(path, flip_texts)
    async with open_runtime([Held], journal=sqlite_url, recover=False) as runtime:
        assert runtime.unrecovered == {}
        with pytest.raises(JournalCorrupt):
            await (await runtime.get_run("b")).wait()
        run = await runtime.get_run("a")
        await run.send_event("end")
        assert await run.result() == wanted("a")


# --- the tail


async def torn_journal(tmp_path: Path, lose: int) -> Path:
    """The files as a killed process leaves them, without the last bytes of the log."""
    path = tmp_path / "runs.db"
    crashed = tmp_path / "crashed"
    crashed.mkdir()
    async with open_runtime([Held], journal=f"sqlite:{path}") as runtime:
        for run_id in RUNS:
            run = await runtime.start(Held, run_id, run_id=run_id)
            async with run.events() as stream:
                async for event in stream:
                    if event.kind == "step-completed":
                        break
        for suffix in ("", "-wal"):
            shutil.copy(f"{path}{suffix}", crashed)
    log = crashed / "runs.db-wal"
    log.write_bytes(log.read_bytes()[: -lose or None])
    return crashed / "runs.db"


@pytest.mark.parametrize("lose", [0, 1, 1000, 5000, 20_000])
@pytest.mark.rule("F5", "F4")
async def test_a_torn_tail(lose: int, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A log that ends anywhere is cut back to the last whole commit, the log says so, and every run goes on."""
    path = await torn_journal(tmp_path, lose)
    caplog.clear()
    async with open_runtime([Held], journal=f"sqlite:{path}") as runtime:
        assert runtime.unrecovered == {}
        for summary in await runtime.list_runs():
            run = await runtime.get_run(summary.run_id)
            await run.send_event("end")
            assert await run.result() == wanted(summary.run_id)
    reports = [record for record in caplog.records if "cut off" in record.getMessage()]
    assert len(reports) == (1 if lose % 4120 else 0)


@pytest.mark.rule("F5")
@pytest.mark.parametrize("size", [10, 60, 2000])
async def test_a_file_that_is_cut_off(size: int, sqlite_url: str) -> None:
    """A journal file of which only the beginning is left is refused whole, with an error of the journal's."""
    path = Path(sqlite_url.removeprefix("sqlite:"))
    await leave_runs(sqlite_url)
    os.truncate(path, size)
    with pytest.raises(JournalError) as raised:
        async with open_runtime([Held], journal=sqlite_url):
            pass
    assert isinstance(raised.value, ActorflowError)
    assert os.stat(path).st_size == size

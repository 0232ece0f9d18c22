"""Looking for what no schedule shows: the disk below the journal, other processes, a journal that was damaged.

What lives here: one function per check; it gives a sentence that says what is wrong, or "". What does not: the mix
(`hunt`).
"""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

import trio
import trio.testing

from actorflow import Context, JournalBusy, JournalCorrupt, JournalError, RunStatus, Workflow, open_runtime, step
from actorflow.abc import Append
from actorflow.journals import MemoryJournal, SqliteJournal
from actorflow.testing import FaultyJournal

from ..child import command, environment

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actorflow import Run

__all__ = ["CHECKS", "CannotCheck", "disk"]

RUN: Final = "checked"
CHUNK: Final = "x" * 200_000
CHUNKS: Final = 30
"""Values of 200 kB: some more than the 4 MB after which a run has its first snapshot."""
FREE, TAKEN, ODD = 10, 11, 12
"""What another process says of a journal by its exit code."""


class CannotCheck(Exception):
    """Something that is needed for it is not there."""


class Checked(Workflow):
    """A step that does something, asks, and does something more; beside it, one that writes a lot."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule both."""
        await ctx.schedule_next_step("asking")
        await ctx.schedule_next_step("writing")

    async def asking(self, data: object, ctx: Context[object]) -> None:
        """Write, ask, write."""
        for n in range(3):
            await ctx.run_store.push("list", n)
            await ctx.run_store.increment("sum", n)
        await ctx.suspend(label="question")
        await ctx.run_store.push("list", 3)

    @step
    async def writing(self, data: object, ctx: Context[object]) -> None:
        """Write until there is a snapshot, and ask as well."""
        for n in range(CHUNKS if data is None else 1):
            await ctx.run_store.set(f"large {n % 3}", CHUNK)
        await ctx.suspend(label="written")


WANTED: Final = {"list": [0, 1, 2, 3], "sum": 3}
"""What the small keys of such a run hold in the end."""


async def _until_it_asks(path: Path) -> None:
    async with open_runtime([Checked], journal=f"sqlite:{path}") as runtime:
        run = await runtime.start(Checked, run_id=RUN)
        await run.wait()


async def _answer(run: Run) -> None:
    for label in ("question", "written"):
        await run.resume(None, label=label)


def _is_damaged(path: Path) -> str:
    """A bit of a journaled fact is turned over: the run must be left as it is, with its error."""
    trio.run(_until_it_asks, path)
    with closing(sqlite3.connect(path)) as connection:
        number, body = connection.execute(
            "SELECT id, body FROM frame_values WHERE length(body) < 1000 ORDER BY id LIMIT 1"
        ).fetchone()
        place = body.index(b"0") if b"0" in body else len(body) // 2
        wrong = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        connection.execute("UPDATE frame_values SET body = ? WHERE id = ?", (wrong, number))
        connection.execute("DELETE FROM snapshots")
        connection.commit()

    async def look() -> str:
        async with open_runtime([Checked], journal=f"sqlite:{path}") as runtime:
            if isinstance(runtime.unrecovered.get(RUN), JournalCorrupt):
                return ""
            state = await (await runtime.get_run(RUN)).state()
            return f"a bit of a fact was turned over, and nobody noticed: list is now {state.get('list')!r}"

    try:
        return trio.run(look)
    except JournalCorrupt:
        return ""


def _has_two_owners(path: Path) -> str:
    """While this process owns the journal, another one must be refused."""

    async def hold() -> str:
        async with open_runtime([Checked], journal=f"sqlite:{path}") as runtime:
            run = await runtime.start(Checked, 1, run_id=RUN)
            await run.wait()
            said = await trio.to_thread.run_sync(_ask_another_process, path)
        return {TAKEN: "", FREE: "a second process opened the journal while its owner had it"}.get(
            said, f"a second process could not even try to open the journal: it left with {said}"
        )

    return trio.run(hold)


def _ask_another_process(path: Path) -> int:
    asking = command("stress.selftest.worker", "--open", str(path), "--mutant", os.environ.get(PLANTED, ""))
    return subprocess.run(asking, env=environment(), check=False).returncode


PLANTED: Final = "ACTORFLOW_STRESS_MUTANT"
"""The environment variable that tells another process which mutant is planted in this one."""


def open_once(path: Path) -> int:
    """Open a journal and close it; `FREE` if that worked, `TAKEN` if it has an owner."""

    async def attempt() -> int:
        try:
            async with open_runtime([Checked], journal=f"sqlite:{path}"):
                return FREE
        except JournalBusy:
            return TAKEN

    try:
        return trio.run(attempt)
    except Exception:  # noqa: BLE001 - whatever it is, the other process is told that it was neither
        return ODD


class _Inline:
    async def run(self, function: Callable[[], object]) -> object:
        return function()


def _is_not_fenced(path: Path) -> str:
    """Facts of an owner that does not know of the last ones must be refused, and those that leave a gap as well."""
    trio.run(_until_it_asks, path)

    async def write() -> str:
        journal = SqliteJournal(path)
        await journal.open(_Inline())  # type: ignore[arg-type]  # what it gives is of the right type
        try:
            facts = await journal.read(RUN)
            for what, first in (("in the place of others", len(facts)), ("behind a gap", len(facts) + 2)):
                try:
                    await journal.commit([Append(run_id=RUN, first_seq=first, facts=facts[-1:])])
                except JournalError:
                    continue
                return f"the journal has {len(facts)} facts of a run, and took one {what}, as number {first}"
        finally:
            await journal.close()
        return ""

    return trio.run(write)


def _snapshot_is_wrong(path: Path) -> str:
    """A run with a snapshot is taken up: everything has to be as it was, and to go on as if nothing had happened."""
    trio.run(_until_it_asks, path)
    with closing(sqlite3.connect(path)) as connection:
        if not connection.execute("SELECT count(*) FROM snapshots").fetchone()[0]:
            raise CannotCheck("the run was to have a snapshot, and it has none")

    async def go_on() -> str:
        async with open_runtime([Checked], journal=f"sqlite:{path}") as runtime:
            run = await runtime.get_run(RUN)
            before = _small(await run.state())
            await _answer(run)
            outcome = await run.wait()
            after = _small(await run.state())
        if before != {"list": [0, 1, 2], "sum": 3}:
            return f"taken up from a snapshot, the store is {before!r}"
        if outcome.status is not RunStatus.COMPLETED or after != WANTED:
            return f"taken up from a snapshot and answered, the run is {outcome.status.value} with {after!r}"
        return ""

    return trio.run(go_on)


def _small(state: Mapping[str, object]) -> dict[str, object]:
    return {key: value for key, value in state.items() if not key.startswith("large")}


class _Held(FaultyJournal):
    """A journal whose writes, once it is told so, wait."""

    def __init__(self) -> None:
        super().__init__(MemoryJournal(durable=True), {})
        self.goes_on = trio.Event()
        self.goes_on.set()

    async def commit(self, appends: Sequence[Append]) -> int:
        """Wait, and then write."""
        await self.goes_on.wait()
        return await super().commit(appends)


def _tells_too_early() -> str:
    """While a write is under way, nobody may be told what it holds: not who made it, and not who reads."""
    told: list[str] = []

    class Holding(Workflow):
        """One who writes, and one who reads beside it."""

        async def start(self, data: object, ctx: Context[object]) -> None:
            await ctx.schedule_next_step("write")
            await ctx.schedule_next_step("read")

        async def write(self, data: object, ctx: Context[object]) -> None:
            await trio.sleep(1)
            journal.goes_on = trio.Event()
            await ctx.run_store.push("list", "written")
            if not journal.goes_on.is_set():
                told.append("a push was acknowledged while its write was under way")

        async def read(self, data: object, ctx: Context[object]) -> None:
            await trio.sleep(2)
            with trio.move_on_after(10):
                found = await ctx.run_store.get("list")
                if found and not journal.goes_on.is_set():
                    told.append(f"a read gave {found!r} while the write of it was under way")
            journal.goes_on.set()

    journal = _Held()

    async def hold() -> None:
        async with open_runtime([Holding], journal=journal) as runtime:
            await runtime.run(Holding)

    trio.run(hold, clock=trio.testing.MockClock(autojump_threshold=0))
    return "; ".join(told)


def disk(seed: int) -> str:
    """The images that a crash of the disk may leave, of one small workload."""
    try:
        from ..crash import images
        from ..crash.disk import kinds
        from ..crash.workloads import CONTROL
    except ImportError as error:  # the layer below SQLite is needed for tests only, and may be missing
        raise CannotCheck(f"this needs apsw: {error}") from error
    tally = images.campaign(CONTROL, seed, images.Plan(kinds=kinds(3), stride=2, deep=10**9))
    for failure in tally.failures:
        return f"{failure.finding.kind}: {failure.finding.text} (after write {failure.at or '0'})"
    return ""


def _in_a_folder(check: Callable[[Path], str]) -> str:
    from .hunt import MEMORY

    with TemporaryDirectory(prefix="actorflow-selftest-", dir=MEMORY if MEMORY.is_dir() else None) as folder:
        return check(Path(folder) / "journal.db")


CHECKS: Final[dict[str, Callable[[], str]]] = {
    "damage": partial(_in_a_folder, _is_damaged),
    "owner": partial(_in_a_folder, _has_two_owners),
    "held": _tells_too_early,
    "fence": partial(_in_a_folder, _is_not_fenced),
    "snapshot": partial(_in_a_folder, _snapshot_is_wrong),
}
"""By name."""

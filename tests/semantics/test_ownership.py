"""One owner per journal (semantics F7), and what others may do meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from actorflow import Context, JournalBusy, RunStatus, Workflow, open_runtime
from actorflow.abc import Executor
from actorflow.journals import MemoryJournal, SqliteJournal, SqliteReader

T = object


class Inline:
    """An executor for tests: does the work where it is asked for."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result, at once."""
        return function()


INLINE: Executor = Inline()


class Waiter(Workflow):
    async def start(self, data, ctx: Context):
        await ctx.run_store.set("at", "start")
        await ctx.wait_for_event("end", action="finish")

    async def finish(self, data, ctx: Context):
        return None


def plain(path: Path) -> str:
    """As it is."""
    return str(path)


def relative(path: Path) -> str:
    """From the current folder."""
    return os.path.relpath(path)


def roundabout(path: Path) -> str:
    """With a detour."""
    return f"{path.parent}/../{path.parent.name}/./{path.name}"


def symbolic(path: Path) -> str:
    """Through a link to the file."""
    link = path.with_name("link.db")
    link.symlink_to(path)
    return str(link)


def through_folder(path: Path) -> str:
    """Through a link to its folder."""
    link = path.parent.parent / f"{path.parent.name}-link"
    link.symlink_to(path.parent, target_is_directory=True)
    return str(link / path.name)


def hard(path: Path) -> str:
    """Under another name of the same file."""
    link = path.with_name("hard.db")
    link.hardlink_to(path)
    return str(link)


SPELLINGS = [plain, relative, roundabout, symbolic, through_folder, hard]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal in a folder of its own."""
    (tmp_path / "folder").mkdir()
    return tmp_path / "folder" / "runs.db"


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.rule("F7")
async def test_a_second_owner_in_this_process_is_refused(spell: Callable[[Path], str], path: Path) -> None:
    """Whatever the path is spelled: `JournalBusy`, and the first owner is not disturbed."""
    async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
        run = await runtime.start(Waiter, run_id="r")
        with pytest.raises(JournalBusy):
            async with open_runtime([Waiter], journal=f"sqlite:{spell(path)}"):
                pytest.fail("two owners")
        await run.send_event("end")
        assert (await run.wait()).status is RunStatus.COMPLETED
    async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
        assert await (await runtime.get_run("r")).status() is RunStatus.COMPLETED


PROGRAM = """
import sys, trio
from actorflow import JournalBusy, open_runtime
async def main():
    try:
        async with open_runtime([], journal=f"sqlite:{sys.argv[1]}"):
            print("open")
    except JournalBusy:
        print("busy")
trio.run(main)
"""


def elsewhere(path: str) -> str:
    """What another process gets that opens the journal."""
    found = subprocess.run([sys.executable, "-c", PROGRAM, path], capture_output=True, text=True, check=True)
    return found.stdout.strip()


@pytest.mark.parametrize("spell", SPELLINGS)
@pytest.mark.rule("F7")
async def test_a_second_owner_in_another_process_is_refused(spell: Callable[[Path], str], path: Path) -> None:
    """Another process is refused, too, whatever the path is spelled; when the owner is gone it is let in."""
    if spell is hard and sys.platform != "linux":
        pytest.skip("hard links are seen through on Linux only")
    async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
        run = await runtime.start(Waiter, run_id="r")
        name = spell(path)
        assert elsewhere(name) == "busy"
        await run.send_event("end")
        assert (await run.wait()).status is RunStatus.COMPLETED
    assert elsewhere(name) == "open"


@pytest.mark.rule("F7")
async def test_reading_while_it_is_owned(path: Path) -> None:
    """A reader needs no ownership: it sees each commit when it is made, and holds up nobody."""
    async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
        run = await runtime.start(Waiter, run_id="r")
        reader = SqliteReader(path)
        await reader.open(INLINE)
        header = await reader.header("r")
        assert header is not None
        assert header.status is RunStatus.RUNNING
        async with run.events() as stream:
            async for event in stream:
                assert len(await reader.read("r")) >= event.seq  # what is shown is durable
                if event.kind == "step-completed":
                    break
        await run.cancel("enough")
        header = await reader.header("r")
        assert header is not None
        assert header.status is RunStatus.CANCELLED
        assert len(await reader.read("r")) == len(await run.history())
        await reader.close()


@pytest.mark.rule("F7")
async def test_one_object_has_one_owner(journal: str) -> None:
    """Two runtimes on one journal object: the second is refused; after the first is closed it is let in."""
    shared = MemoryJournal() if journal == "memory:" else SqliteJournal(journal.removeprefix("sqlite:"))
    async with open_runtime([Waiter], journal=shared):
        with pytest.raises(JournalBusy):
            async with open_runtime([Waiter], journal=shared):
                pytest.fail("two owners")
    async with open_runtime([Waiter], journal=shared) as runtime:
        assert runtime.unrecovered == {}


@pytest.mark.rule("F7", "G")
async def test_ownership_ends_with_the_block_also_by_an_error(path: Path) -> None:
    """A block that ends by an error, also one while it opens, gives the journal up."""

    class OwnError(Exception):
        pass

    with pytest.raises(OwnError):
        async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
            await runtime.start(Waiter, run_id="r")
            raise OwnError
    async with open_runtime([Waiter], journal=f"sqlite:{path}") as runtime:
        assert await (await runtime.get_run("r")).status() is RunStatus.RUNNING

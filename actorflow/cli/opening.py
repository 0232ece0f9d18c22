"""Opening a journal from the command line: as a reader, or by post to the process that owns it.

What lives here: URL to reader or inbox, waiting for the owner's answer, and what a command shows of a stored run beyond
the library's records. What does not: acting (`act`), drawing (`output`), owning (`open_runtime`). A reader never
creates a file and never takes the lock.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

import trio

from .._core.facts import RunEnded
from .._core.values import decode
from ..errors import InputError, JournalBusy, JournalError, RunNotFound
from ..journals import Inbox, SqliteJournal, SqliteReader, parse_url
from .failures import AnswerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Mapping

    from ..abc import Journal

__all__ = ["ask_owner", "open_reader", "output_stored", "read_journal", "unknown_run"]

T = TypeVar("T")

# The owner looks several times a second; what takes longer than this is stuck, or is a cancel with a long hook.
PATIENCE_S: Final = 5.0
LOOK_EVERY_S: Final = 0.05


class InlineExecutor:
    """Runs a reader's calls where they are: a command that only reads has nothing else to do meanwhile."""

    async def run(self, function: Callable[[], T]) -> T:
        """The result of `function()`."""
        await trio.lowlevel.checkpoint()
        return function()


def path_of(url: str) -> str:
    """The path in the URL of a journal that other processes can look into.

    Raises `InputError` for `memory:` and `JournalError` for what names no journal, or one that is not there.
    """
    journal = parse_url(url)
    if not isinstance(journal, SqliteJournal):
        raise InputError(f"a {url} journal lives inside one process: there is nothing to look at from outside")
    path = journal.url.removeprefix("sqlite:")
    if not Path(path).exists():
        raise JournalError(f"there is no journal {url}: `actorflow run` makes one, --journal URL names another")
    return path


@asynccontextmanager
async def open_reader(url: str) -> AsyncIterator[Journal]:
    """A journal for the length of a block, to be read only; `JournalError` if there is none at the path."""
    reader = SqliteReader(path_of(url))
    await reader.open(InlineExecutor())
    try:
        # The library's functions for looking take any journal and call its reading methods only.
        yield cast("Journal", reader)
    finally:
        await reader.close()


def read_journal(url: str, function: Callable[[Journal], Coroutine[object, object, T]]) -> T:
    """The result of an async function that reads a journal, for a command that does nothing else."""

    async def read() -> T:
        async with open_reader(url) as reader:
            try:
                return await function(reader)
            except RunNotFound as error:
                raise unknown_run(error.run_id or "", url) from error

    return trio.run(read)


def unknown_run(run_id: str, url: str) -> RunNotFound:
    """The error for an id that no run of the journal has, as somebody at a shell can use it."""
    return RunNotFound(f"there is no run {run_id!r} in {url}: `actorflow runs` lists them", run_id=run_id)


async def output_stored(reader: Journal, run_id: str) -> object:
    """The output of a finished run; None for any other."""
    stored = await reader.load(run_id)
    if stored is None:
        return None
    # A snapshot may stand after the last fact.
    facts = stored.facts or await reader.read(run_id, stored.snapshot_seq)
    last = facts[-1] if facts else None
    return decode(last.output) if isinstance(last, RunEnded) and last.output else None


async def ask_owner(url: str, request: Mapping[str, object], busy: JournalBusy) -> Mapping[str, object]:
    """Post a request to the process that owns the journal and wait for its answer; returns the result in it.

    Raises `AnswerError` with the owner's error, or `JournalBusy` if no answer comes; the request is then taken back
    if the owner has not begun with it.
    """
    inbox = Inbox(path_of(url))
    number = inbox.post(request)
    withdrawn = False
    try:
        with trio.move_on_after(PATIENCE_S):
            while (answer := inbox.reply(number)) is None:  # noqa: ASYNC110 - another process gives the answer
                await trio.sleep(LOOK_EVERY_S)
            return _result_of(answer)
    finally:
        # No answer, or Ctrl-C: nobody shall do later what nobody waits for any more.
        withdrawn = inbox.withdraw(number)
    told = "has not taken the request: nothing was done" if withdrawn else "has taken the request but not ended it"
    raise JournalBusy(f"{busy}; within {PATIENCE_S:g} s its owner {told}") from busy


def _result_of(answer: Mapping[str, object]) -> Mapping[str, object]:
    if not answer.get("ok"):
        raise AnswerError(str(answer.get("error")), str(answer.get("message")))
    result = answer.get("result")
    return result if isinstance(result, dict) else {}

"""The inbox beside a journal, and the names of journals."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from pathlib import Path

import pytest

from actorflow.errors import JournalError
from actorflow.journals import Inbox, MemoryJournal, SqliteJournal, parse_url


def test_a_request_and_its_reply(tmp_path: Path) -> None:
    """What one posts another takes once, in order; the reply is found under the number, and there is none before."""
    ours, theirs = Inbox(tmp_path / "runs.db"), Inbox(tmp_path / "runs.db")
    assert ours.poll() == []
    assert not ours.path.exists()
    first = theirs.post({"command": "cancel", "run": "r\n1"})
    second = theirs.post({"command": "event", "data": [1, None, "é"]})
    assert [(request.id, request.body) for request in ours.poll()] == [
        (first, {"command": "cancel", "run": "r\n1"}),
        (second, {"command": "event", "data": [1, None, "é"]}),
    ]
    assert ours.poll() == []
    assert theirs.reply(first) is None
    ours.answer(first, {"ok": True})
    assert theirs.reply(first) == {"ok": True}
    assert theirs.reply(second) is None
    assert ours.poll() == []


def test_a_post_right_after_a_poll_is_seen(tmp_path: Path) -> None:
    """However close a post follows on a look or an answer, the next look finds it: no clock is asked."""
    ours, theirs = Inbox(tmp_path / "runs.db"), Inbox(tmp_path / "runs.db")
    for number in range(100):
        posted = theirs.post({"number": number})
        found = ours.poll()
        assert [request.id for request in found] == [posted]
        ours.answer(posted, {})


def test_a_request_is_withdrawn_unless_taken(tmp_path: Path) -> None:
    """Who finds the owner gone takes the request back, so that the next owner does not act on it."""
    inbox = Inbox(tmp_path / "runs.db")
    assert not inbox.withdraw(1)
    assert inbox.reply(1) is None
    number = inbox.post({})
    assert inbox.withdraw(number)
    assert not inbox.withdraw(number)
    assert inbox.poll() == []
    number = inbox.post({})
    inbox.poll()
    assert not inbox.withdraw(number)


def test_many_post_at_once(tmp_path: Path) -> None:
    """No request of several senders is lost, doubled, or given a number twice."""
    numbers: list[int] = []

    def send() -> None:
        numbers.extend(Inbox(tmp_path / "runs.db").post({}) for _ in range(20))

    threads = [threading.Thread(target=send) for _ in range(4)]
    for thread in threads:
        thread.start()
    found: list[int] = []
    inbox = Inbox(tmp_path / "runs.db")
    while any(thread.is_alive() for thread in threads):
        found += [request.id for request in inbox.poll()]
    for thread in threads:
        thread.join()
    found += [request.id for request in inbox.poll()]
    assert sorted(found) == sorted(numbers) == list(range(1, 81))


def test_the_inbox_of_a_link_is_that_of_its_file(tmp_path: Path) -> None:
    """Who names the journal by a symbolic link reaches the same inbox."""
    (tmp_path / "runs.db").touch()
    (tmp_path / "link.db").symlink_to(tmp_path / "runs.db")
    assert Inbox(tmp_path / "link.db").path == Inbox(tmp_path / "runs.db").path


@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_foreign_inbox_is_left_as_it_is(tmp_path: Path, kind: str) -> None:
    """A file in the place of the inbox that is none is refused, untouched."""
    inbox = Inbox(tmp_path / "runs.db")
    if kind == "text":
        inbox.path.write_bytes(b"Dear diary, " * 1000)
    else:
        with closing(sqlite3.connect(inbox.path)) as connection:
            connection.execute("CREATE TABLE precious (a)")
    before = inbox.path.read_bytes()
    with pytest.raises(JournalError, match="inbox"):
        inbox.post({})
    with pytest.raises(JournalError, match="inbox"):
        inbox.poll()
    assert inbox.path.read_bytes() == before


def test_names_of_journals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A URL gives its journal; the path stands as the system writes it."""
    assert isinstance(parse_url("memory:"), MemoryJournal)
    assert parse_url("memory:") is not parse_url("memory:")
    for path in (str(tmp_path / "a b?.db"), "runs.db", "C:\\runs.db"):
        journal = parse_url(f"sqlite:{path}")
        assert isinstance(journal, SqliteJournal)
        assert journal.url == f"sqlite:{path}"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert parse_url("sqlite:~/runs.db").url == f"sqlite:{tmp_path / 'runs.db'}"


@pytest.mark.parametrize(
    "url", ["", "runs.db", "memory", "memory:x", "sqlite", "sqlite:", "sqlite::memory:", "mysql://x", "Memory:", None]
)
def test_a_name_of_no_journal(url: str) -> None:
    """What names no journal is refused with the value and the forms that are known."""
    with pytest.raises(JournalError, match='"memory:" or "sqlite:PATH"') as caught:
        parse_url(url)
    assert repr(url) in str(caught.value)


def test_postgres_is_not_there_yet() -> None:
    """The URL of a Postgres database is understood and refused."""
    with pytest.raises(JournalError, match="Postgres"):
        parse_url("postgresql://localhost/runs")


def test_only_two_ways_to_sync(tmp_path: Path) -> None:
    """A promise that the journal cannot keep is not for sale."""
    SqliteJournal(tmp_path / "runs.db", synchronous="NORMAL")
    with pytest.raises(ValueError, match="OFF"):
        SqliteJournal(tmp_path / "runs.db", synchronous="OFF")  # type: ignore[arg-type]  # what is refused

"""Every journal passes the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from actorflow.abc import Journal
from actorflow.journals import MemoryJournal, SqliteJournal
from actorflow.testing import JournalContract


class TestMemory(JournalContract):
    """The journal in memory: the object is its own storage."""

    def make(self, tmp_path: Path) -> Journal:
        return MemoryJournal()

    def again(self, journal: Journal) -> Journal:
        return journal


@pytest.mark.rule("F1", "F3", "F7", "B12")
class TestSqlite(JournalContract):
    """The journal in a SQLite file."""

    def make(self, tmp_path: Path) -> Journal:
        return SqliteJournal(tmp_path / "runs.db")

    def again(self, journal: Journal) -> Journal:
        return SqliteJournal(journal.url.removeprefix("sqlite:"))


@pytest.mark.rule("F10")
async def test_memory_is_not_durable() -> None:
    """A journal in memory says that it keeps nothing, unless a test asks it to pose as a disk."""
    assert not MemoryJournal().durable
    assert MemoryJournal(durable=True).durable

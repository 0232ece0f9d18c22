"""Fixtures shared by every test: which journal a test runs on, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty journal; a test that takes it runs once on each kind."""
    if request.param == "memory":
        return "memory:"
    return f"sqlite:{tmp_path / 'runs.db'}"


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of an empty SQLite journal, for tests that close and open again."""
    return f"sqlite:{tmp_path / 'runs.db'}"

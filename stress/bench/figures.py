"""What a measurement gives, and what it is told.

What lives here: `Figure` and `Settings`. What does not: measuring, or showing.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


class WrongAnswer(Exception):
    """A measured run lost, doubled or changed something: its speed is of no interest."""


@frozen(kw_only=True)
class Figure:
    """One measured number. `goal` is the most it should be, None for a number that is told for comparison only."""

    id: str
    what: str
    value: float
    unit: str = "x"
    goal: float | None = None
    samples: tuple[float, ...] = ()
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure keeps within its goal."""
        return self.goal is None or self.value <= self.goal


def ratio(
    id: str,  # noqa: A002 - the field's name
    what: str,
    tops: Sequence[float],
    bottoms: Sequence[float],
    *,
    goal: float | None = None,
    note: str = "",
) -> Figure:
    """The median of the ratios of times that were taken in pairs."""
    samples = tuple(top / bottom for top, bottom in zip(tops, bottoms, strict=True))
    return Figure(id=id, what=what, value=median(samples), goal=goal, samples=samples, note=note)


@frozen(kw_only=True)
class Settings:
    """How thoroughly to measure, and on which disk."""

    quick: bool = False
    folder: Path | None = None

    def choose(self, full: int, quick: int) -> int:
        """A size or a number of repetitions."""
        return quick if self.quick else full

    @contextmanager
    def journal(self, kind: str = "sqlite") -> Iterator[str]:
        """The URL of an empty journal that is gone afterwards."""
        if kind == "memory":
            yield "memory:"
            return
        with tempfile.TemporaryDirectory(prefix="actorflow-bench-", dir=self.folder) as folder:
            yield f"sqlite:{Path(folder) / 'runs.db'}"


def file_of(journal: str) -> Path:
    """The file of a SQLite journal."""
    return Path(journal.removeprefix("sqlite:"))


def bytes_of(journal: str) -> int:
    """What a SQLite journal takes on disk: the file, and those beside it."""
    path = file_of(journal)
    return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))

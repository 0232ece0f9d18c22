"""Children that have been called and have not begun.

What lives here: the records that a run keeps of them between the two. What does not: calling and beginning
(`children`).
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from .._core.facts import ChildStarted
from .._core.store_state import Value


@frozen
class Seed:
    """What the store of a child begins with: what it inherits (as in `ChildAttached`), and what it is given."""

    inherits: str
    values: Mapping[str, str]


@frozen
class Birth:
    """A child that a turn of its parent has called: how the store stood at that moment, and what was asked."""

    fact: ChildStarted
    seed: Seed
    values: Mapping[str, Value]
    seq: int
    merge: str

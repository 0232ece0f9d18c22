"""Scenarios that are here for what the others do not look at: each was written because a mutant had lived through all.

What lives here: their names. What does not: the scenarios themselves, which come along (`stress.scenarios`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..scenarios import SCENARIOS

if TYPE_CHECKING:
    from ..scenario import Scenario

__all__ = ["EXTRA"]

EXTRA: Final[dict[str, type[Scenario]]] = {
    name: SCENARIOS[name] for name in ("alone", "bounded", "inheriting", "ordered", "quiet")
}
"""By name."""

"""Scenarios for what the others do not look at: each was written because a mutant had lived through all of them.

What lives here: the list. What does not: the scenarios that come along (`stress.scenarios`); they are tried for every
mutant beside these.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .extra_crash import AloneScenario
from .extra_steps import BoundedScenario, OrderedScenario
from .extra_tree import InheritingScenario, QuietScenario

if TYPE_CHECKING:
    from ..scenario import Scenario

__all__ = ["EXTRA"]

EXTRA: Final[dict[str, type[Scenario]]] = {
    one.name: one for one in (AloneScenario, BoundedScenario, InheritingScenario, OrderedScenario, QuietScenario)
}
"""By name."""

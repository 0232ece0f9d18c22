"""The scenarios that come along, by name.

What lives here: the list. What does not: what a scenario is (`stress.scenario`), what they share (`elements`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .aggregate import AggregateScenario
from .alone import AloneScenario
from .bounded import BoundedScenario
from .cancel import CancelScenario
from .closing import ClosingScenario
from .graph import GraphScenario
from .hot_key import HotKeyScenario
from .inheriting import InheritingScenario
from .many_runs import ManyRunsScenario
from .nested import NestedScenario
from .ordered import OrderedScenario
from .quiet import QuietScenario
from .retry import RetryScenario
from .slow import SlowScenario
from .suspend import SuspendScenario
from .timers import TimersScenario
from .verbs import VerbsScenario

if TYPE_CHECKING:
    from ..scenario import Scenario

__all__ = ["SCENARIOS"]

SCENARIOS: Final[dict[str, type[Scenario]]] = {
    one.name: one
    for one in (
        AggregateScenario,
        HotKeyScenario,
        NestedScenario,
        SuspendScenario,
        RetryScenario,
        CancelScenario,
        SlowScenario,
        TimersScenario,
        ManyRunsScenario,
        VerbsScenario,
        GraphScenario,
        AloneScenario,
        BoundedScenario,
        ClosingScenario,
        InheritingScenario,
        OrderedScenario,
        QuietScenario,
    )
}
"""The class of each, by the name that the command line takes."""

"""What a stress scenario is, and where scenarios are found.

What lives here: the base class, sizes, the registry with its entry points. What does not: the scenarios that come
along (`scenarios`), what is recorded of a run (`recording`), who drives it: the simulation (`sim`) and `load`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, ClassVar, Final

from attrs import frozen

from actorflow import Limits

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from actorflow import Runtime

    from .recording import Record

__all__ = ["BUILT_IN", "GROUP", "Scenario", "Size", "UnknownScenario", "find", "names"]

GROUP: Final = "actorflow.stress"
"""The group of entry points under which other packages offer scenarios."""

BUILT_IN: Final = "stress.scenarios"
"""The package whose `SCENARIOS` (name -> class) come along."""


@frozen(kw_only=True)
class Size:
    """How large a plan may be.

    Args:
        branches: parallel branches of one run.
        ops: operations of one branch, at most.
        depth: levels of child runs, at most.
    """

    branches: int = 5
    ops: int = 5
    depth: int = 2


class Scenario(ABC):
    """A workload with its own judgement.

    It uses the public API only, so it runs unchanged in simulation (`stress run`), under load (`stress load`) and over
    crashes. Everything random is in the plan, which is JSON: so it can be shrunk and stored.
    """

    name: ClassVar[str]
    summary: ClassVar[str]
    """One line for `--help`."""
    workflows: ClassVar[Sequence[object]]
    """What the runtime is opened with."""
    sometimes: ClassVar[Sequence[str]] = ()
    """What has to happen in a campaign at least now and then (`Record.sometimes`), or nothing was tested."""
    for_load: ClassVar[bool] = True
    """Whether `stress load` makes sense for it: plans that grow with `Size.branches`, no waiting for timers."""

    def limits(self, plan: object) -> Limits:
        """What the runtime is opened with, for this plan."""
        return Limits()

    def closings(self, plan: object) -> int:
        """How often the block of the runtime ends before the runs do: on a journal that lasts, `run` leaves its block
        so often while runs go on (`Record.closings` says how often is left), and is called again with the next runtime.
        """
        return 0

    @abstractmethod
    def plan(self, chance: random.Random, size: Size) -> object:
        """What will be done, as JSON; the same for the same seed. Elements of lists may be left out by shrinking."""

    @abstractmethod
    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """Start what the plan says and wait for its end.

        It may be called again with another runtime on the same journal, after a crash: start with fixed run ids.
        """

    @abstractmethod
    def check(self, plan: object, record: Record) -> list[str]:
        """What is wrong, in sentences that a user understands; the oracles check the rest."""


class UnknownScenario(LookupError):
    """There is no scenario of this name."""


def _built_in() -> dict[str, type[Scenario]]:
    found: dict[str, type[Scenario]] = import_module(BUILT_IN).SCENARIOS
    return found


def names() -> list[str]:
    """The names of all scenarios, those of other packages included."""
    return sorted({*_built_in(), *(point.name for point in entry_points(group=GROUP))})


def find(name: str) -> Scenario:
    """The scenario of this name; `UnknownScenario` names those that exist."""
    built_in = _built_in()
    if name in built_in:
        return built_in[name]()
    for point in entry_points(group=GROUP):
        if point.name == name:
            loaded: type[Scenario] = point.load()
            return loaded()
    raise UnknownScenario(f"there is no scenario {name!r}; there are {', '.join(names())}")

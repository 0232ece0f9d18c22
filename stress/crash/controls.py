"""What the campaigns must find: journals, disks and workflows that are broken on purpose.

What lives here: the controls, and whether they were found out. What does not: the breaking (`recording`, `faults`,
`adapter`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from attrs import evolve, frozen

from . import faults, images
from .adapter import Settings
from .disk import kinds
from .images import Tally
from .vfs import Fault
from .workloads import CONTROL, DOUBLING

__all__ = ["FAULT_CONTROLS", "IMAGE_CONTROLS", "Control", "Verdict"]


@frozen
class Verdict:
    """What came of a control: `missing` is what should have been found and was not, `excess` what should not."""

    name: str
    found: Mapping[str, int]
    missing: tuple[str, ...]
    excess: tuple[str, ...]
    seconds: float

    @property
    def is_found_out(self) -> bool:
        """Whether exactly what is broken was found."""
        return not self.missing and not self.excess


@frozen
class Control:
    """Something broken.

    Args:
        campaign: runs it with a seed.
        wanted: the kinds of findings of which at least one has to come.
        allowed: those that may come, too; None: all.
    """

    name: str
    campaign: Callable[[int], Tally]
    wanted: tuple[str, ...]
    allowed: tuple[str, ...] | None = None

    def run(self, seed: int) -> Verdict:
        """See whether it is found out."""
        tally = self.campaign(seed)
        missing = tuple(kind for kind in self.wanted if not tally.found.get(kind))
        excess: tuple[str, ...] = ()
        if self.allowed is not None:
            excess = tuple(kind for kind in tally.found if kind not in (*self.wanted, *self.allowed))
        return Verdict(self.name, tally.found, missing, excess, tally.seconds)


_SHALLOW: Final = 10**9


def _imaged(
    sabotage: str = "", synchronous: str | None = None, only: tuple[str, ...] = (), stride: int = 4
) -> Callable[[int], Tally]:
    workload = evolve(CONTROL, settings=Settings(synchronous=synchronous))
    plan = images.Plan(kinds=only or kinds(5), stride=stride, deep=_SHALLOW)
    return lambda seed: images.campaign(workload, seed, plan, sabotage)


def _doubling(seed: int) -> Tally:
    return images.campaign(DOUBLING, seed, images.Plan(kinds=["process"], stride=4, deep=1))


def _faulted(sabotage: str) -> Callable[[int], Tally]:
    def campaign(seed: int) -> Tally:
        found = Tally(CONTROL.name)
        for fault in ("sync:12:EIO:once", "sync:15:EIO:for ever", "write:90:ENOSPC:for ever"):
            plan = faults.Plan(only=Fault.parse(fault))
            found.add(faults.campaign(CONTROL, seed, plan, sabotage))
        return found

    return campaign


IMAGE_CONTROLS: Final = (
    Control("synchronous=OFF", _imaged(synchronous="OFF"), ("lost",)),
    Control("acknowledged before it is committed", _imaged("early"), ("lost",)),
    Control("a commit of several runs in several", _imaged("halves", stride=2, only=("process",)), ("half",)),
    Control("a workflow that counts each pass", _doubling, ("differs",), ()),
    # Not broken, but promised less: a power cut takes the last commits, and nothing else goes wrong.
    Control("synchronous=NORMAL, power cuts", _imaged(synchronous="NORMAL", only=("none", "subset")), ("lost",), ()),
    Control("synchronous=NORMAL, killed processes", _imaged(synchronous="NORMAL", only=("process",)), (), ()),
)

FAULT_CONTROLS: Final = (
    Control("a commit that failed is acknowledged", _faulted("swallow"), ("lost",)),
    Control("errors of syncs are not heard", _faulted("deaf"), ("lost",)),
    Control("waits for ever after an error", _faulted("stuck"), ("hang",), ()),
)

"""The shape of a workflow, as the kernel sees it: names and numbers, no user code.

What lives here: the frozen records that both authoring styles compile to. What does not: the functions behind the
names (`_authoring.definition`), and the rules that use the shapes (`decide`, `react`).
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Final

from attrs import field, frozen

from .policies import ALL, Join, Limits, Rate, Retry

ROOM_FOR_A_KEY: Final = 8_192
"""More than the longest key, the longest number and the commas around them."""


class LostUpdates(Enum):
    """What a lost update leads to: an error for the step, a line in the log, nothing."""

    ERROR = "error"
    WARN = "warn"
    ALLOW = "allow"


@frozen(kw_only=True)
class StepPlan:
    """The options of one step that the kernel acts on."""

    step_id: str
    retry: Retry = Retry()
    concurrency: int | None = None
    rate: Rate | None = None


@frozen(kw_only=True)
class RunPlan:
    """What the kernel knows of a workflow."""

    workflow_id: str
    version: str = ""
    steps: Mapping[str, StepPlan]
    hooks: frozenset[str] = frozenset()
    join: Join = ALL
    lost_updates: LostUpdates = LostUpdates.ERROR
    max_live_steps: int = 1000
    keep_state: bool = False
    limits: Limits = field(factory=Limits)
    roomy_bytes: int = field(init=False)
    """A store of at most so many bytes has room for any one value, whatever its key: there is nothing to work out."""

    @roomy_bytes.default
    def _roomy_bytes(self) -> int:
        return self.limits.state_bytes - self.limits.value_bytes - ROOM_FOR_A_KEY

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
    """The options of one step that the kernel acts on.

    `auto`: it has no code; it completes by itself when it is due, with the event that it waited for, else its payload.
    `nested`: the id of the workflow that it runs as a child, or "".
    """

    step_id: str
    retry: Retry = Retry()
    concurrency: int | None = None
    rate: Rate | None = None
    auto: bool = False
    nested: str = ""


class NodeKind(Enum):
    """What a link of a graph's chain does with the data that comes to it."""

    STEP = "step"
    PARALLEL = "parallel"
    BRANCH = "branch"
    FOREACH = "foreach"
    LOOP = "loop"
    SLEEP = "sleep"
    EVENT = "event"


@frozen(kw_only=True)
class Node:
    """One link of a graph's chain.

    Args:
        kind: what it does.
        name: how messages call it, such as "parallel(fetch, score)"; a stored run is held against it.
        steps: ids of the steps that it runs. STEP, FOREACH, LOOP, SLEEP, EVENT: exactly one; PARALLEL, BRANCH: the
            members. SLEEP and EVENT: an `auto` step.
        question: a step whose output decides, "" for none. BRANCH: the list of the indices in `steps` that run; LOOP:
            whether the body runs again; SLEEP: the due time in epoch seconds. It gets the node's data (LOOP: the
            body's output).
        join: of PARALLEL and FOREACH.
        concurrency: of FOREACH: elements at once; None: no limit.
        delay_s: of SLEEP without `question` and `due`.
        due: of SLEEP: epoch seconds, 0.0 for none.
        event: of EVENT: its name.
        timeout_s: of EVENT: seconds, None for ever.
    """

    kind: NodeKind
    name: str
    steps: tuple[str, ...]
    question: str = ""
    join: Join = ALL
    concurrency: int | None = None
    delay_s: float = 0.0
    due: float = 0.0
    event: str = ""
    timeout_s: float | None = None


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
    chain: tuple[Node, ...] | None = None
    """The links of a graph, in order; None for a class, whose runs begin with its `start`."""
    limits: Limits = field(factory=Limits)
    roomy_bytes: int = field(init=False)
    """A store of at most so many bytes has room for any one value, whatever its key: there is nothing to work out."""

    @roomy_bytes.default
    def _roomy_bytes(self) -> int:
        return self.limits.state_bytes - self.limits.value_bytes - ROOM_FOR_A_KEY

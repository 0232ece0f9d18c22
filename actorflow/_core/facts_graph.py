"""What happens on the chain of a graph.

What lives here: one record per kind of fact, as in `facts`, which has the whole set. What does not: their bytes.
"""

from __future__ import annotations

from .fact import fact


@fact
class NodeEntered:
    """A graph's chain has come to the link `node`, whose name is `name`.

    `takes` says what its data is: that of the link before ("data"), the output of the step that ended last ("last"),
    or the outputs of the group that ended ("group"). `stage` is "question" while the step that decides runs, "fork"
    where a group opens at once, "body" else. Step `n` (0: none) is armed with the data, for `due`; with an `event`, by
    that event, until `due`.
    """

    at: float
    node: int
    name: str
    iteration: int
    stage: str
    takes: str
    n: int
    step: str
    due: float
    event: str


@fact
class GroupOpened:
    """The members of a group are armed as activations `first`, `first` + 1 …: one per step id in `steps`, or, with
    `elements`, one of the only step per element of the link's data. `runs` has a "1" for each member that runs and a
    "0" for each that is skipped, or is empty: all run. `enough` is how many successes the join takes in, 0 for all:
    what ends behind them, in the same breath, is left out.
    """

    at: float
    first: int
    steps: list[str]
    runs: str
    elements: bool
    enough: int


@fact
class GroupClosed:
    """The join of the group is decided before all of its members have ended: the rest is cancelled."""

    at: float


@fact
class NodeFailed:
    """The link that the chain had come to has failed; `n` (0: none) is the number of a failure of its own."""

    at: float
    n: int
    step: str
    error_type: str
    message: str

"""What an oracle says, and the list of what has to hold.

What lives here: `Finding` and `INVARIANTS`. What does not: finding anything.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["INVARIANTS", "PLAN", "Finding", "Invariant"]

PLAN: Final = "plan"
"""The id of findings of a scenario's own check: the end is not what the plan says."""


@frozen
class Finding:
    """One thing that cannot be.

    Attributes:
        invariant: the id of what was violated: "I2", or "plan".
        sentence: what is wrong, for somebody who knows the scenario and not the library.
        operations: the few calls or facts that show it.
        undecided: the oracle could not tell; nothing is known to be wrong.
    """

    invariant: str
    sentence: str
    operations: tuple[str, ...] = ()
    undecided: bool = False

    def __str__(self) -> str:
        lines = [f"{self.invariant}: {self.sentence}", *(f"    {operation}" for operation in self.operations)]
        return "\n".join(lines)


@frozen
class Invariant:
    """One promise, and who looks after it: oracles of this package, the driver, or other parts of the stress tool."""

    promise: str
    oracles: tuple[str, ...]


INVARIANTS: Final[dict[str, Invariant]] = {
    "I1": Invariant("each run store is linearizable", ("client", "facts")),
    "I2": Invariant("no operation is lost, doubled or invented", ("client", "facts", "scenario")),
    "I3": Invariant("each branch keeps its order, across all keys", ("client", "facts")),
    "I4": Invariant("increments answer with prefix sums, and come to the sum", ("client", "facts")),
    "I5": Invariant("what was over before something began stands before it", ("client", "facts")),
    "I6": Invariant("a child begins with its parent's state at one moment, and is apart from then on", ("facts",)),
    "I7": Invariant("what a child gives back is merged exactly once", ("facts", "journal")),
    "I8": Invariant("of a run that is over nothing is left but its record", ("journal", "driver")),
    "I9": Invariant("what was acknowledged is in the journal", ("journal", "crash")),
    "I10": Invariant("the journal holds facts without gaps, with the right checksums", ("facts", "journal", "crash")),
    "I11": Invariant("over crashes and repeats everything counts exactly once", ("client", "facts", "scenario")),
    "I12": Invariant("a resumed run goes on as if it had never stopped; one of two answers loses", ("scenario",)),
    "I13": Invariant("no task is left behind", ("driver", "soak")),
    "I14": Invariant("a cancelled call leaves everything whole", ("client", "facts", "scenario")),
    "I15": Invariant("mailboxes stay within their bound, and nobody waits for ever", ("driver", "simulation")),
    "I16": Invariant("runs and steps make legal moves only, and come to an end", ("facts", "scenario", "simulation")),
    "I17": Invariant("a run has one owner", ("journal",)),
    "I18": Invariant("the same facts always come to the same state", ("facts", "journal")),
}
"""What has to hold, by id. Those of `crash`, `soak` and `simulation` need more than one look at a finished run."""

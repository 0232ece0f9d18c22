"""Named places of the runtime that a test may want to see reached, or to let a process die at.

What lives here: their names, and what each of them means. What does not: reaching them (`Kernel.reached`), which costs
one look at an attribute when nobody watches; they stand where runs meet the journal, never on the road of an operation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .mailbox import Mailbox

COMMIT: Final = "commit: of one run"
COMMIT_SEVERAL: Final = "commit: of several runs"
WRITTEN: Final = "commit: written"
ACTED: Final = "commit: told"
TURN_SEVERAL: Final = "turn: several messages"
TURN_CONTROL: Final = "turn: control goes first"
MAILBOX_FULL: Final = "turn: more messages than places"
SNAPSHOT: Final = "snapshot: taken"
STOPS: Final = "run: stops"
REPAIRS: Final = "run: repaired"
REVIVED: Final = "run: taken up"
REVIVED_CHILD: Final = "run: taken up below its parent"
RESTARTED: Final = "step: runs again"
RESTS: Final = "run: rests"
AWAKE: Final = "run: awake"
ALARM: Final = "run: woken by a timer"
BORN: Final = "child: begins"
MERGES: Final = "child: gives its changes back"
CUT_OFF: Final = "closing: cuts steps off"

PLACES: Final[Mapping[str, str]] = {
    COMMIT: "the facts of one run are about to be written",
    COMMIT_SEVERAL: "the facts of several runs are about to be written together",
    WRITTEN: "they are durable, and nobody knows yet",
    ACTED: "a run has answered, and has started what the facts say",
    TURN_SEVERAL: "several messages are decided in one turn",
    TURN_CONTROL: "a control message overtakes the others",
    MAILBOX_FULL: "more senders wait than the mailbox has places",
    SNAPSHOT: "the state of a long run is written whole",
    STOPS: "the journal refuses a run's facts: it stops",
    REPAIRS: "a run that has stopped, and those around it, go on",
    REVIVED: "a run is taken up from the journal",
    REVIVED_CHILD: "a child run is taken up",
    RESTARTED: "a step that was cut off runs again",
    RESTS: "a run leaves memory: it waits for nothing but time, or somebody",
    AWAKE: "a run is in memory again",
    ALARM: "the time of a run that rests in the journal has come",
    BORN: "a child run begins",
    MERGES: "what a child has changed comes back into its parent",
    CUT_OFF: "steps have outlasted the grace of closing",
}


def probe_mailbox(probe: Callable[[str], None], mailbox: Mailbox) -> None:
    """What is noteworthy in a mailbox that is about to be emptied."""
    if len(mailbox) > 1:
        probe(TURN_SEVERAL)
    if mailbox.control and mailbox.user:
        probe(TURN_CONTROL)
    if len(mailbox.user) > mailbox.depth:
        probe(MAILBOX_FULL)

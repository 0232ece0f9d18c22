"""Whether what a crash has left keeps what was promised before it.

What lives here: the promises at one moment, and the verdict over one image. What does not: making images (`disk`),
which of them are judged (`images`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from actorflow import ActorflowError

from .driving import Drive, Unrecovered, differences
from .ledger import Ledger, is_same, same
from .looking import InlineJournal, Unreadable, look
from .simulated import Hang, simulated
from .tape import Acked, Issued, Settled, Told

if TYPE_CHECKING:
    from pathlib import Path

    from .driving import Ends
    from .ledger import State
    from .recording import Recorded
    from .tape import Entry

LATER_S: Final = 10_000.0
"""When a file is taken up that a crash has left: later than anything that happened to it."""

KINDS: Final = {
    "lost": "acknowledged commits or operations that are gone",
    "unreadable": "files that cannot be opened or read",
    "half": "commits of which a part is there",
    "unknown": "contents that nobody has written",
    "hang": "runs that never end",
    "differs": "runs that end otherwise than undisturbed",
}
"""What may be wrong with an image."""


@frozen
class Finding:
    """One thing that is wrong: its kind, and a sentence."""

    kind: str
    text: str


@define(eq=False)
class Promises:
    """What has been promised up to some moment of a tape.

    Attributes:
        acked: the contents up to this number are durable.
        issued: contents up to this number may be there.
        told: by run, the last fact that somebody was told of, and its mark.
        broken: what is wrong with the record itself: promises without a commit, and recoveries that broke some.
    """

    ledger: Ledger
    acked: int = 0
    issued: int = 0
    told: dict[str, tuple[int, str]] = field(factory=dict)
    broken: list[Finding] = field(factory=list)

    def feed(self, entry: Entry) -> None:
        """One more entry of the tape."""
        if isinstance(entry, Issued):
            self.issued = entry.state
        elif isinstance(entry, Acked):
            self.acked = entry.state
        elif isinstance(entry, Settled):
            finding = self.judge(self.ledger.states[entry.state])
            if finding is not None:
                self.broken.append(finding)
            self.acked = self.issued = entry.state
        elif isinstance(entry, Told):
            seq = self.ledger.place_of(entry.run_id, entry.mark, self.issued)
            if not seq:
                text = f"run {entry.run_id} was told of {entry.mark}, which was never written"
                self.broken.append(Finding("unknown", text))
            elif seq > self.told.get(entry.run_id, (0, ""))[0]:
                self.told[entry.run_id] = (seq, entry.mark)

    def judge(self, found: State) -> Finding | None:
        """Whether a journal with these contents keeps the promises."""
        states = self.ledger.states
        for run_id, (seq, mark) in self.told.items():
            kept = found.get(run_id)
            if kept is None:
                return Finding("lost", f"run {run_id}, whose start was acknowledged, is gone")
            if kept.count < seq:
                return Finding(
                    "lost", f"run {run_id} was told of {mark or 'its start'} (fact {seq}), but has {kept.count} facts"
                )
        if any(same(states[number], found) for number in range(self.acked, self.issued + 1)):
            return None
        if any(same(states[number], found) for number in range(self.acked)):
            return Finding("lost", "the contents are those before a commit that was acknowledged")
        for run_id, kept in found.items():
            if not any(run_id in state and is_same(kept, state[run_id]) for state in states):
                return Finding("unknown", f"run {run_id} with {kept.count} facts is as no commit has left it")
        return Finding("half", f"a commit is there for some of its runs only: {_counts(found)}")


def _counts(found: State) -> str:
    return ", ".join(f"{name} {kept.count}" for name, kept in sorted(found.items()))


def look_at(path: Path, promises: Promises) -> Finding | None:
    """Open a file, and judge its contents."""
    try:
        found = look(path)
    except Unreadable as error:
        return Finding("unreadable", str(error))
    return promises.judge(found)


def finish(path: Path, recorded: Recorded) -> Finding | None:
    """Let a runtime take up what a file holds, and bring all runs to the end that they have undisturbed."""
    return finish_runs(path, Drive(recorded.starts), recorded.ends, recorded.seed)


def finish_runs(path: Path, drive: Drive, wanted: Ends, seed: int) -> Finding | None:
    """The same, with a drive of one's own."""
    try:
        ends = simulated(seed, partial(drive.life, InlineJournal(path)), begin_s=LATER_S)
    except Hang as error:
        return Finding("hang", str(error))
    except (ActorflowError, Unrecovered, BaseExceptionGroup) as error:
        return Finding("unreadable", told(error))
    found = differences(wanted, ends)
    return Finding("differs", "; ".join(found)) if found else None


def told(error: BaseException) -> str:
    """An error, or those in a group, as text."""
    if isinstance(error, BaseExceptionGroup):
        return "; ".join(told(one) for one in error.exceptions)
    return f"{type(error).__name__}: {error}"

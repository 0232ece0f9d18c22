"""Whether the facts of a run are a life that a run can lead: steps in legal moves, one end, nothing after it.

What lives here: a small state machine per activation and call, written from the documentation of the lifecycle. What
does not: the values of the store (`replaying`), what the branches were told (`facts`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from actorflow import Fact

from .finding import Finding

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


__all__ = ["Life", "check_moves"]

SOON_S: Final = 1e-4
"""How much too early a step may start: a due time is a sum of floats."""
SHOWN: Final = 5
ENDS: Final = {"complete": "run-completed", "bail": "run-completed", "fail": "run-failed", "cancel": "run-cancelled"}
"""How a run ends, by why it does."""


class At(Enum):
    """Where an activation is."""

    WAITING = "waiting"
    ARMED = "armed"
    LIVE = "live"
    SUSPENDED = "suspended"
    OVER = "over"


@define
class Activation:
    """One activation of a step."""

    at: At
    due: float = 0.0
    failures: int = 0
    call: int = 0


@define
class Life:
    """What is known of a run after some of its facts."""

    run_id: str
    findings: list[Finding] = field(factory=list)
    activations: dict[int, Activation] = field(factory=dict)
    calls: dict[int, tuple[int, bool]] = field(factory=dict)
    elements_from: int = 0
    stopping: str = ""
    hook: int = 0
    ended: str = ""
    suspended: bool = False
    live: int = 0
    facts: Sequence[Fact] = ()

    def wrong(self, sentence: str, fact: Fact, *, invariant: str = "I16") -> None:
        """Something that cannot be, with the facts about the same activation."""
        n = fact.fields.get("n")
        alike = [one for one in self.facts if one.seq <= fact.seq and n is not None and one.fields.get("n") == n]
        shown = tuple(map(_said, alike[-SHOWN:] or [fact]))
        self.findings.append(Finding(invariant, f"run {self.run_id}, fact {fact.seq}: {sentence}", shown))

    def arm(self, n: int, fact: Fact, *, due: float = 0.0, at: At = At.ARMED) -> None:
        """A new activation."""
        if n in self.activations:
            self.wrong(f"step {n} is armed a second time", fact)
        if self.stopping and n != self.hook:
            self.wrong(f"step {n} is armed although the run is ending", fact)
        self.activations[n] = Activation(at, due)

    def move(self, fact: Fact, legal: tuple[At, ...], to: At) -> Activation:
        """An activation moves; a wrong move is told and made all the same."""
        n = cast("int", fact.fields["n"])
        found = self.activations.get(n)
        if found is None and self.elements_from and n >= self.elements_from:
            found = self.activations[n] = Activation(At.ARMED)
        if found is None:
            self.wrong(f"{fact.kind} of step {n}, which nobody has armed", fact)
            found = self.activations[n] = Activation(At.OVER)
        elif found.at not in legal:
            self.wrong(f"{fact.kind} of step {n}, which is {found.at.value}", fact)
        self.live += (to is At.LIVE) - (found.at is At.LIVE)
        found.at = to
        return found

    def drop(self) -> None:
        """What has not started never will, and what is suspended does not go on."""
        for found in self.activations.values():
            if found.at in (At.WAITING, At.ARMED, At.SUSPENDED):
                found.at = At.OVER
        self.elements_from = 0

    @property
    def open(self) -> list[int]:
        """The numbers of steps and calls that are not over."""
        calls = [n for n, (_, ended) in self.calls.items() if not ended]
        return [*(n for n, found in self.activations.items() if found.at is not At.OVER), *calls]


def _said(fact: Fact) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in fact.fields.items() if value not in ("", None))
    return f"{fact.seq}: {fact.kind} {fields}"


# --- one function per kind of fact


def _scheduled(life: Life, fact: Fact) -> None:
    life.arm(cast("int", fact.fields["n"]), fact, due=cast("float", fact.fields["due"]))


def _batch(life: Life, fact: Fact) -> None:
    first = cast("int", fact.fields["first"])
    for n in range(first, first + len(cast("list[object]", fact.fields["payloads"]))):
        life.arm(n, fact, due=cast("float", fact.fields["due"]))


def _wait(life: Life, fact: Fact) -> None:
    life.arm(cast("int", fact.fields["n"]), fact, at=At.WAITING)


def _event(life: Life, fact: Fact) -> None:
    if fact.fields["n"]:
        life.move(fact, (At.WAITING,), At.ARMED)


def _node(life: Life, fact: Fact) -> None:
    life.elements_from = 0
    if fact.fields["n"]:
        at = At.WAITING if fact.fields["event"] else At.ARMED
        due = 0.0 if fact.fields["event"] else cast("float", fact.fields["due"])
        life.arm(cast("int", fact.fields["n"]), fact, due=due, at=at)


def _group(life: Life, fact: Fact) -> None:
    first = cast("int", fact.fields["first"])
    if fact.fields["elements"]:
        life.elements_from = first  # how many there are is in the data of the link, not in this fact
        return
    runs = str(fact.fields["runs"])
    for index, _ in enumerate(cast("list[str]", fact.fields["steps"])):
        skipped = bool(runs) and runs[index] == "0"
        life.arm(first + index, fact, at=At.OVER if skipped else At.ARMED)


def _started(life: Life, fact: Fact) -> None:
    n = cast("int", fact.fields["n"])
    found = life.move(fact, (At.ARMED,), At.LIVE)
    if life.stopping and n != life.hook:
        life.wrong(f"step {n} starts although the run is ending ({life.stopping})", fact)
    if found.due and fact.at.timestamp() < found.due - SOON_S:
        early = found.due - fact.at.timestamp()
        life.wrong(f"step {n} starts {early:.3f} s before it is due", fact)
    if fact.fields["attempt"] != found.failures + 1:
        life.wrong(f"step {n} starts attempt {fact.fields['attempt']} after {found.failures} failures", fact)


def _works(life: Life, fact: Fact) -> None:
    n = cast("int", fact.fields["n"])
    if n > 0 and (n not in life.activations or life.activations[n].at is not At.LIVE):
        where = life.activations[n].at.value if n in life.activations else "unknown"
        life.wrong(f"{fact.kind} by step {n}, which is {where}", fact, invariant="I2")


def _completed(life: Life, fact: Fact) -> None:
    life.move(fact, (At.LIVE,), At.OVER)


def _retried(life: Life, fact: Fact) -> None:
    found = life.move(fact, (At.LIVE,), At.ARMED)
    found.failures += 1
    found.due = cast("float", fact.fields["due"])


def _failed(life: Life, fact: Fact) -> None:
    life.move(fact, (At.LIVE, At.ARMED, At.WAITING), At.OVER)


def _interrupted(life: Life, fact: Fact) -> None:
    life.move(fact, (At.LIVE,), At.ARMED)


def _unscheduled(life: Life, fact: Fact) -> None:
    life.move(fact, (At.ARMED, At.WAITING), At.OVER)


def _late(life: Life, fact: Fact) -> None:
    life.move(fact, (At.WAITING,), At.ARMED)


def _suspended(life: Life, fact: Fact) -> None:
    life.move(fact, (At.LIVE,), At.SUSPENDED).call = cast("int", fact.fields["call"])


def _resumed(life: Life, fact: Fact) -> None:
    found = life.move(fact, (At.SUSPENDED,), At.ARMED)
    found.call, found.due = 0, 0.0


def _child_started(life: Life, fact: Fact) -> None:
    n, by = cast("int", fact.fields["n"]), cast("int", fact.fields["by"])
    if n in life.calls:
        life.wrong(f"call {n} starts a second child", fact, invariant="I7")
    if by not in life.activations or life.activations[by].at is not At.LIVE:
        life.wrong(f"step {by} calls a child, and is not live", fact)
    life.calls[n] = (by, False)


def _child_ended(life: Life, fact: Fact) -> None:
    n = cast("int", fact.fields["n"])
    by, ended = life.calls.get(n, (0, True))
    if ended:
        life.wrong(f"the child of call {n} ends, and it had ended before or was never started", fact, invariant="I7")
    life.calls[n] = (by, True)
    caller = life.activations.get(by)
    if caller is not None and caller.at is At.SUSPENDED and caller.call == n:
        caller.at, caller.call, caller.due = At.ARMED, 0, 0.0


def _run_suspended(life: Life, fact: Fact) -> None:
    if life.suspended:
        life.wrong("the run is suspended a second time", fact)
    if life.live:
        live = [n for n, one in life.activations.items() if one.at is At.LIVE]
        life.wrong(f"the run is suspended while steps {live[:SHOWN]} are live", fact)
    if all(found.at is not At.SUSPENDED for found in life.activations.values()):
        life.wrong("the run is suspended, and no step of it is", fact)
    life.suspended = True


def _run_woken(life: Life, fact: Fact) -> None:
    if not life.suspended:
        life.wrong("the run goes on, and was not suspended", fact)
    life.suspended = False


def _stopping(life: Life, fact: Fact) -> None:
    if life.stopping and fact.fields["ending"] in (life.stopping, "complete"):
        life.wrong(f"the run begins to end a second time ({life.stopping}, then {fact.fields['ending']})", fact)
    life.stopping = str(fact.fields["ending"])
    life.suspended = False
    if life.stopping == "complete" and life.open:
        life.wrong(f"the run completes while {life.open[:SHOWN]} are open", fact)
    life.drop()


def _closed(life: Life, fact: Fact) -> None:
    life.drop()


def _hook(life: Life, fact: Fact) -> None:
    life.hook = cast("int", fact.fields["n"])
    life.arm(life.hook, fact)


def _hooked(life: Life, fact: Fact) -> None:
    life.move(fact, (At.LIVE, At.ARMED), At.OVER)


def _ended(life: Life, fact: Fact) -> None:
    life.ended = fact.kind
    if ENDS.get(life.stopping) != fact.kind:
        life.wrong(f"the run ends as {fact.kind}, and it was about to {life.stopping or 'go on'}", fact)
    if life.open:
        life.wrong(f"the run ends while {life.open[:SHOWN]} are open", fact)


MOVES: Final[Mapping[str, Callable[[Life, Fact], None]]] = {
    "step-scheduled": _scheduled,
    "steps-scheduled": _batch,
    "step-unscheduled": _unscheduled,
    "wait-opened": _wait,
    "event-received": _event,
    "event-taken": _event,
    "wait-timed-out": _late,
    "node-entered": _node,
    "group-opened": _group,
    "group-closed": _closed,
    "step-started": _started,
    "operation-applied": _works,
    "transaction-applied": _works,
    "once-recorded": _works,
    "emitted": _works,
    "step-completed": _completed,
    "attempt-failed": _retried,
    "step-failed": _failed,
    "step-cancelled": _completed,
    "step-interrupted": _interrupted,
    "step-suspended": _suspended,
    "step-resumed": _resumed,
    "child-started": _child_started,
    "child-ended": _child_ended,
    "run-suspended": _run_suspended,
    "run-woken": _run_woken,
    "run-stopping": _stopping,
    "hook-scheduled": _hook,
    "hook-ended": _hooked,
    "run-completed": _ended,
    "run-failed": _ended,
    "run-cancelled": _ended,
}
"""What each kind of fact means for the life of a run; kinds that are not here move nothing."""


def check_moves(run_id: str, facts: Sequence[Fact]) -> Life:
    """The life that these facts tell, with what cannot be in it."""
    life = Life(run_id, facts=facts)
    for place, fact in enumerate(facts, 1):
        if fact.seq != place:
            life.wrong(f"it stands at place {place}: facts are missing or doubled", fact, invariant="I10")
            break
    if facts and facts[0].kind != "run-started":
        life.wrong(f"the first fact is {facts[0].kind}", facts[0])
    for fact in facts:
        if life.ended:
            life.wrong(f"{fact.kind} after the run has ended", fact, invariant="I8")
            break
        move = MOVES.get(fact.kind)
        if move is not None:
            move(life, fact)
    return life

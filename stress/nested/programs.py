"""A random program as a value: what a case runs, before anything runs.

What lives here: the records, and their text for a report. What does not: making them up (`maker`), their meaning
(`model`, `building`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping

from attrs import field, frozen

Merge = bool | tuple[str, ...]
"""What of a nested workflow's state comes back: everything, nothing, or these keys."""

Op = tuple[str, float]
"""One thing that a leaf does: a verb and a number (seconds, for `sleep`)."""


def digest(*parts: object) -> str:
    """A short text that no other parts give: the data of every step, so that a wrong way of the data shows."""
    return hashlib.blake2s(json.dumps(parts).encode(), digest_size=6).hexdigest()


def number(data: str) -> int:
    """Such a text as a number, for conditions."""
    return int(data, 16)


@frozen(kw_only=True)
class Leaf:
    """A step without anything below it.

    Args:
        id: its name; with its data it makes an identity that nothing else in the program has.
        script: what it does, in order.
        fails: 0: it does not; n: it fails at its end where its data, as a number, is divisible by n.
        flaky: its first attempt fails, its second does not.
        never: "": it ends; "ask" or "sleep": at its end it is suspended, or sleeps, until it is cancelled.
        buffered: its operations take effect with its success only.
        concurrency: at most so many at once in a run.
    """

    id: str
    script: tuple[Op, ...]
    fails: int = 0
    flaky: bool = False
    never: str = ""
    buffered: bool = False
    concurrency: int | None = None

    def fails_on(self, data: str) -> bool:
        """Whether it fails for good."""
        return self.fails > 0 and number(data) % self.fails == 0

    def __str__(self) -> str:
        options = [
            *([f"fails={self.fails}"] if self.fails else []),
            *(["flaky"] if self.flaky else []),
            *([f"never={self.never}"] if self.never else []),
            *(["buffered"] if self.buffered else []),
            *([f"concurrency={self.concurrency}"] if self.concurrency else []),
        ]
        script = " ".join(verb if verb != "sleep" else f"sleep:{amount:g}" for verb, amount in self.script)
        return f"{self.id}({', '.join([script, *options])})"


@frozen(kw_only=True)
class Join:
    """When a group is done, and what a failure in it means."""

    kind: str = "all"
    count: int = 0

    def __str__(self) -> str:
        return f"{self.kind}({self.count})" if self.count else self.kind


@frozen(kw_only=True)
class Then:
    """One member."""

    member: Member
    merge: Merge = True


@frozen(kw_only=True)
class Parallel:
    """Several members beside each other."""

    members: tuple[Member, ...]
    join: Join = Join()
    merge: Merge = True


@frozen(kw_only=True)
class Branch:
    """Those of several members whose condition holds: member `i` where the data modulo `modulus` is at most `i`."""

    members: tuple[Member, ...]
    modulus: int
    otherwise: Member | None = None
    first_match: bool = False
    asks_async: bool = False
    merge: Merge = True

    def chosen(self, data: str) -> list[Member]:
        """The members that run."""
        found = [member for place, member in enumerate(self.members) if self.holds(place, data)]
        if not found and self.otherwise is not None:
            return [self.otherwise]
        return found[:1] if self.first_match else found

    def holds(self, place: int, data: str) -> bool:
        """The condition of a member."""
        return number(data) % self.modulus <= place


@frozen(kw_only=True)
class ForEach:
    """`count` elements made of the data, through one member after the other."""

    members: tuple[Member, ...]
    count: int
    concurrency: int | None = 1
    join: Join = Join()
    merge: Merge = True


@frozen(kw_only=True)
class Loop:
    """A member again and again."""

    member: Member
    times: int
    until: bool = False
    merge: Merge = True


@frozen(kw_only=True)
class Sleep:
    """A durable pause."""

    seconds: float


@frozen(kw_only=True)
class Shape:
    """A map of the data."""


Place = Then | Parallel | Branch | ForEach | Loop | Sleep | Shape


@frozen(kw_only=True)
class GraphFlow:
    """A workflow as a graph."""

    id: str
    places: tuple[Place, ...]
    hook: bool = False
    max_live_steps: int = 1000


@frozen(kw_only=True)
class Action:
    """An action of a class-style workflow: a member, and what is scheduled with its output, if anything."""

    member: Member
    delay: float = 0
    merge: Merge = True
    then: Action | None = None


@frozen(kw_only=True)
class ClassFlow:
    """A workflow as a class: `start` does a script, with a "go" in it that schedules the actions."""

    id: str
    start: Leaf
    actions: tuple[Action, ...]
    join: Join = Join()
    max_live_steps: int = 1000


Flow = GraphFlow | ClassFlow
Member = Leaf | GraphFlow | ClassFlow


@frozen(kw_only=True)
class Program:
    """The whole: the outermost workflow, whether it has to fail, what it starts with, and whether its journal keeps
    its state when it is over.
    """

    flow: Flow
    data: str
    fails: bool = False
    state: Mapping[str, object] = field(factory=dict)
    keeps_state: bool = False


def parts(member: Member) -> Iterator[Member]:
    """The members directly in a member."""
    if isinstance(member, ClassFlow):
        for action in member.actions:
            step: Action | None = action
            while step is not None:
                yield step.member
                step = step.then
    elif isinstance(member, GraphFlow):
        for place in member.places:
            yield from members_of(place)


def members_of(place: Place) -> Iterator[Member]:
    """The members directly in a place."""
    if isinstance(place, Then | Loop):
        yield place.member
    elif isinstance(place, Parallel | Branch | ForEach):
        yield from place.members
        if isinstance(place, Branch) and place.otherwise is not None:
            yield place.otherwise


def flows_in(member: Member) -> Iterator[Flow]:
    """A workflow and all below it."""
    if not isinstance(member, Leaf):
        yield member
        for part in parts(member):
            yield from flows_in(part)


def members_in(flow: Flow) -> Iterator[tuple[str, Leaf]]:
    """The leaves directly in a workflow, with the first part of their identities."""
    if isinstance(flow, ClassFlow):
        yield f"{flow.id}.start", flow.start
    for member in parts(flow):
        if isinstance(member, Leaf):
            yield member.id, member


def weight(member: Member) -> int:
    """How many leaves run at the most."""
    if isinstance(member, Leaf):
        return 1
    if isinstance(member, ClassFlow):
        return 1 + sum(map(weight, parts(member)))
    total = 0
    for place in member.places:
        inner = sum(map(weight, members_of(place)))
        total += inner * (place.count if isinstance(place, ForEach) else place.times if isinstance(place, Loop) else 1)
    return total


def shown(member: Member, indent: str = "") -> Iterator[str]:
    """The lines of a member in a report."""
    if isinstance(member, Leaf):
        yield f"{indent}{member}"
        return
    limit = "" if member.max_live_steps == 1000 else f" max_live_steps={member.max_live_steps}"
    if isinstance(member, ClassFlow):
        yield f"{indent}class {member.id} join={member.join}{limit}: {member.start}"
        for action in member.actions:
            yield from _shown_action(action, f"{indent}  action", indent)
        return
    yield f"{indent}graph {member.id}{' with a hook' if member.hook else ''}{limit}"
    for place in member.places:
        options = [
            f"{name}={getattr(place, name)}"
            for name in ("join", "merge", "count", "concurrency", "times", "until", "modulus", "first_match", "seconds")
            if hasattr(place, name)
        ]
        yield f"{indent}  .{type(place).__name__.lower()} {' '.join(options)}"
        for inner in members_of(place):
            is_other = isinstance(place, Branch) and inner is place.otherwise
            yield from shown(inner, f"{indent}    {'otherwise ' if is_other else ''}")


def _shown_action(action: Action, head: str, indent: str) -> Iterator[str]:
    yield f"{head} delay={action.delay:g} merge={action.merge}"
    yield from shown(action.member, f"{indent}    ")
    if action.then is not None:
        yield from _shown_action(action.then, f"{indent}  … then", indent)

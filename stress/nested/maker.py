"""Making up programs from a seed.

What lives here: the dice. What does not: what a program means (`model`).

Everything that a program does is certain but for the order: where a failure cancels siblings, or a group is done
before all its members are, what was cancelled leaves no trace that anybody could find later.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from attrs import define, evolve

from .programs import (
    Action,
    Branch,
    ClassFlow,
    Flow,
    ForEach,
    GraphFlow,
    Join,
    Leaf,
    Loop,
    Member,
    Merge,
    Op,
    Parallel,
    Place,
    Program,
    Shape,
    Sleep,
    Then,
    digest,
    members_of,
    weight,
)

if TYPE_CHECKING:
    from collections.abc import Callable

LEAVES_MAX = 90
"""Leaves of a program: with more a case takes longer than it is worth."""


def made(seed: int) -> Program:
    """The program of a seed."""
    chance = random.Random(seed)
    while True:
        program = Maker(chance).program(chance.choice([1, 2, 2, 3, 3, 4]))
        if 2 <= weight(program.flow) <= LEAVES_MAX:
            return program


@define
class Maker:
    """Makes up the parts; every part has an id of its own."""

    chance: random.Random
    names: int = 0

    def program(self, depth: int) -> Program:
        """The outermost workflow: its last step is a leaf, which sees everything before it, or fails."""
        fails = self.chance.random() < 0.05
        flow: Flow
        if not fails and self.chance.random() < 0.2:
            flow = self.class_flow(depth, doomed=False)
        else:
            last = self.leaf(doomed=True)
            flow = self.graph(depth, doomed=False)
            flow = evolve(flow, places=(*flow.places, Then(member=evolve(last, fails=1 if fails else 0))))
        state: dict[str, object] = {"leaves": ["init"]} if self.chance.random() < 0.5 else {}
        data = digest(self.chance.random())
        return Program(flow=flow, data=data, fails=fails, state=state, keeps_state=self.some(0.7))

    def some(self, likely: float) -> bool:
        """True in that share of the cases."""
        return self.chance.random() < likely

    def name(self, letter: str) -> str:
        """A new id."""
        self.names += 1
        return f"{letter}{self.names}"

    def merge(self) -> Merge:
        """What comes back of a nested workflow: mostly everything."""
        if self.some(0.6):
            return True
        keys: list[Merge] = [("leaves", "n"), ("leaves",), ("n", "below"), False]
        return self.chance.choice(keys)

    # --- leaves

    def leaf(self, *, doomed: bool) -> Leaf:
        """A step that ends well; `doomed`: what runs beside it may be cancelled, so it tells nothing to those above."""
        buffered = self.some(0.08)
        verbs = ["push" if self.some(0.8) else "tell"]
        verbs += ["count"] * self.some(0.6) + ["set"] * self.some(0.15) + ["pair"] * self.some(0.15)
        verbs += ["sleep"] * self.chance.choice([0, 0, 1, 2])
        if not buffered:
            verbs += ["ask"] * self.chance.choice([0, 0, 0, 0, 1, 1, 2]) + ["once"] * self.some(0.1)
            if not doomed:
                verbs += ["root"] * self.some(0.25) + ["parent"] * self.some(0.15)
        self.chance.shuffle(verbs)
        return Leaf(
            id=self.name("s"),
            script=tuple(self.op(verb) for verb in verbs),
            flaky=self.some(0.12),
            buffered=buffered,
            concurrency=1 if self.some(0.06) else None,
        )

    def op(self, verb: str) -> Op:
        """A verb with its number."""
        return (verb, self.chance.choice([0, 0.5, 1, 2, 7]) if verb == "sleep" else 0)

    def loser(self, depth: int) -> Member:
        """A member that never ends well, and leaves nothing: what it does is in a store of its own, or nothing."""
        never = self.chance.choice(["ask", "sleep", "fails"])
        script = () if self.some(0.7) else (("sleep", self.chance.choice([0.5, 3.0])),)
        leaf = Leaf(
            id=self.name("s"),
            script=script,
            fails=1 if never == "fails" else 0,
            never="" if never == "fails" else never,
        )
        if depth < 1 or self.some(0.4):
            return leaf
        flow = self.graph(depth - 1, doomed=True)
        return evolve(flow, places=(*flow.places, Then(member=leaf)))

    def failing(self, depth: int, *, doomed: bool) -> Member:
        """A member that fails for some data."""
        fails = self.chance.choice([1, 1, 2, 3])
        if depth < 1 or self.some(0.4):
            return evolve(self.leaf(doomed=doomed), fails=fails)
        flow = self.graph(depth - 1, doomed=True)
        leaf = evolve(self.leaf(doomed=True), fails=fails)
        joins = [Join(), Join(kind="drain")]
        last: Place = Then(member=leaf)
        if self.some(0.5):
            others = [self.leaf(doomed=True) for _ in range(self.chance.randint(1, 2))]
            last = Parallel(members=(*others, leaf), join=self.chance.choice(joins))
        return evolve(flow, places=(*flow.places, last))

    # --- workflows

    def member(self, depth: int, *, doomed: bool) -> Member:
        """A leaf, or a whole workflow."""
        if depth < 1 or self.some(0.35):
            return self.leaf(doomed=doomed)
        return self.class_flow(depth - 1, doomed=doomed) if self.some(0.25) else self.graph(depth - 1, doomed=doomed)

    def limit(self) -> int:
        """How many steps may live at once."""
        return self.chance.choice([1000] * 8 + [1, 2])

    def graph(self, depth: int, *, doomed: bool) -> GraphFlow:
        """A chain of a few places."""
        makers: list[Callable[[int, bool], Place]] = [
            self.then, self.then, self.parallel, self.parallel, self.branch, self.foreach, self.foreach, self.loop,
            self.pause,
        ]  # fmt: skip
        places = [self.chance.choice(makers)(depth, doomed) for _ in range(self.chance.choice([1, 1, 2, 2, 3]))]
        if self.some(0.1):
            places.insert(self.chance.randrange(len(places) + 1), Shape())
        # A loser that sleeps keeps a place among the live steps for as long as its group is not done.
        sleeps = any(isinstance(part, Leaf) and part.never == "sleep" for place in places for part in members_of(place))
        limit = 1000 if sleeps else self.limit()
        return GraphFlow(id=self.name("g"), places=tuple(places), hook=self.some(0.2), max_live_steps=limit)

    def then(self, depth: int, doomed: bool) -> Place:
        """One member."""
        return Then(member=self.member(depth, doomed=doomed), merge=self.merge())

    def parallel(self, depth: int, doomed: bool) -> Place:
        """A group with any join."""
        kind = self.chance.choice(["all", "all", "all", "drain", "tolerate", "first"])
        members = [self.member(depth, doomed=doomed) for _ in range(self.chance.choice([1, 2, 2, 3, 4]))]
        count = 0
        if kind == "tolerate":
            count = self.chance.randint(1, 2)
            members += [self.failing(depth, doomed=doomed) for _ in range(count)]
        elif kind == "first":
            count = len(members)
            members += [self.loser(depth) for _ in range(self.chance.randint(1, 2))]
        self.chance.shuffle(members)
        return Parallel(members=tuple(members), join=Join(kind=kind, count=count), merge=self.merge())

    def branch(self, depth: int, doomed: bool) -> Place:
        """A choice."""
        members = [self.member(depth, doomed=doomed) for _ in range(self.chance.randint(1, 3))]
        return Branch(
            members=tuple(members),
            modulus=self.chance.randint(1, 4),
            otherwise=self.member(depth, doomed=doomed) if self.some(0.5) else None,
            first_match=self.some(0.4),
            asks_async=self.some(0.5),
            merge=self.merge(),
        )

    def foreach(self, depth: int, doomed: bool) -> Place:
        """Elements, with or without failures among them."""
        join, count = Join(), self.chance.choice([0, 1, 2, 3, 3, 5, 8])
        if self.some(0.2) and count:
            join = Join(kind="tolerate", count=count)
            members = [self.failing(depth, doomed=doomed)]
        else:
            join = Join(kind=self.chance.choice(["all", "all", "drain"]))
            members = [self.member(depth, doomed=doomed) for _ in range(self.chance.choice([1, 1, 1, 2]))]
        return ForEach(
            members=tuple(members),
            count=count,
            concurrency=self.chance.choice([1, 2, 3, None]),
            join=join,
            merge=self.merge(),
        )

    def loop(self, depth: int, doomed: bool) -> Place:
        """Up to four times."""
        return Loop(
            member=self.member(depth, doomed=doomed),
            times=self.chance.randint(1, 4),
            until=self.some(0.5),
            merge=self.merge(),
        )

    def pause(self, depth: int, doomed: bool) -> Place:
        """A durable timer."""
        return Sleep(seconds=self.chance.choice([0, 1, 5, 100]))

    def class_flow(self, depth: int, *, doomed: bool) -> ClassFlow:
        """Actions that `start` schedules, some of which schedule another one."""
        join = Join()
        actions = [self.action(depth, doomed=doomed) for _ in range(self.chance.choice([0, 1, 2, 3, 4]))]
        if self.some(0.2):
            count = self.chance.randint(1, 2)
            join = Join(kind="tolerate", count=count)
            actions += [Action(member=self.failing(depth, doomed=doomed)) for _ in range(count)]
        elif self.some(0.2):
            join = Join(kind="drain")
        self.chance.shuffle(actions)
        start = evolve(self.leaf(doomed=doomed), id="start", flaky=False, buffered=False, concurrency=None)
        place = self.chance.randint(0, len(start.script))
        script: tuple[Op, ...] = (*start.script[:place], ("go", 0.0), *start.script[place:])
        return ClassFlow(
            id=self.name("c"),
            start=evolve(start, script=script),
            actions=tuple(actions),
            join=join,
            max_live_steps=self.limit(),
        )

    def action(self, depth: int, *, doomed: bool) -> Action:
        """A member, and perhaps another one after it."""
        return Action(
            member=self.member(depth, doomed=doomed),
            delay=self.chance.choice([0, 0, 0, 1, 5]),
            merge=self.merge(),
            then=self.action(depth, doomed=doomed) if self.some(0.2) else None,
        )

"""What a program must come to, by plain recursion: no clock, no journal, no suspension, no order.

What lives here: the expected output and state, and what each leaf must find in its run store. What does not: anything
of the library that is under test.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from .programs import (
    Action,
    Branch,
    ClassFlow,
    Flow,
    ForEach,
    Leaf,
    Loop,
    Member,
    Merge,
    Parallel,
    Place,
    Program,
    Sleep,
    Then,
    digest,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

Change = tuple[str, str, str]
"""What stays of an operation: its verb ("push", "count", "set"), its key, its value."""


class Failed(Exception):
    """A step, a group or a run fails for good."""


@define
class Store:
    """A run store of the model: what the run itself changed, and which leaves are certain to be seen in it."""

    input: str
    parent: Store | None = None
    changes: Counter[Change] = field(factory=Counter)
    seen: frozenset[str] = frozenset()

    @property
    def root(self) -> Store:
        """The outermost."""
        return self if self.parent is None else self.parent.root

    def add(self, verb: str, key: str, value: str = "") -> None:
        """One operation."""
        self.changes[verb, key, value] += 1

    def pushed(self) -> frozenset[str]:
        """The leaves that this run itself pushed, or got from below."""
        return frozenset(value for _, key, value in self.changes if key == "leaves")


@frozen
class Expected:
    """The end of a program."""

    output: str
    changes: Counter[Change]
    sights: dict[str, frozenset[str]]
    leaves: int

    def state(self, initial: dict[str, object]) -> dict[str, object]:
        """The final state, lists sorted."""
        found: dict[str, object] = {}
        lists: dict[str, list[str]] = {}
        counts: Counter[str] = Counter()
        for (verb, key, value), times in self.changes.items():
            if verb == "push":
                lists.setdefault(key, []).extend([value] * times)
            elif verb == "count":
                counts[key] += times
            else:
                found[key] = value
        for key, items in initial.items():
            lists.setdefault(key, []).extend(items if isinstance(items, list) else [])
        return found | {key: sorted(items) for key, items in lists.items()} | dict(counts)


def folded(given: object, data: object) -> str:
    """The outputs of a group as the data of the next place; with the input of the run, as there may be none."""
    if isinstance(data, dict):
        return digest(given, {str(key): plain(data[key]) for key in sorted(data)})
    return digest(given, [plain(item) for item in data] if isinstance(data, list) else data)


def plain(output: object) -> object:
    """An output, or that it failed and where."""
    if isinstance(output, dict):
        return f"failed {output['step_id']}"
    return output if isinstance(output, str) else f"failed {getattr(output, 'step_id', output)}"


def element(data: str, place: int) -> str:
    """An element of a `foreach`."""
    return digest(data, place)


def answer(payload: object) -> str:
    """What a question is answered with."""
    return digest("answer", payload)


def expected(program: Program) -> Expected:
    """Run a program in the model."""
    model = _Model()
    root = Store(program.data, seen=frozenset(str(item) for key in program.state for item in _list(program.state[key])))
    try:
        output = model.flow(program.flow, program.data, root)
    except Failed:
        output = "failed"
    return Expected(output, root.changes, model.sights, model.leaves)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


@define
class _Model:
    sights: dict[str, frozenset[str]] = field(factory=dict)
    leaves: int = 0

    def member(self, member: Member, data: str, store: Store, merge: Merge) -> str:
        if isinstance(member, Leaf):
            return self.leaf(member, data, store)
        below = Store(data, parent=store, seen=store.seen)
        output = self.flow(member, data, below)
        for (verb, key, value), times in below.changes.items():
            if merge is True or (merge and key in merge):
                store.changes[verb, key, value] += times
        if merge is True or (merge and "leaves" in merge):
            store.seen |= below.pushed()
        return output

    def leaf(self, leaf: Leaf, data: str, store: Store) -> str:
        out, _ = self.script(leaf, data, store)
        return out

    def script(self, leaf: Leaf, data: str, store: Store, name: str = "") -> tuple[str, frozenset[str]]:
        """Run the operations; returns the output, and what was certain to be seen at "go"."""
        me = f"{name or leaf.id}@{data}"
        self.sights[me] = at_go = store.seen
        self.leaves += 1
        fails = leaf.fails_on(data) or bool(leaf.never)
        out = [leaf.id, data]
        for place, (verb, _) in enumerate(leaf.script):
            if verb == "go":
                at_go = store.seen
            elif verb in {"ask", "once"}:
                out.append(answer([me, place]) if verb == "ask" else digest(me, place))
            elif not (fails and leaf.buffered):
                self.apply(verb, me, data, store)
        if fails:
            raise Failed(me)
        return digest(out), at_go

    def apply(self, verb: str, me: str, data: str, store: Store) -> None:
        """One verb of a leaf."""
        if verb in {"push", "tell"}:
            store.add("push", "leaves", me)
            store.seen |= {me}
        elif verb == "count":
            store.add("count", "n")
        elif verb == "set":
            store.add("set", f"s.{me}", data)
        elif verb == "pair":
            store.add("push", "pairs", me)
            store.add("count", "pairs_n")
        elif verb == "root":
            store.root.add("push", "rooted", me)
        elif verb == "parent":
            (store.parent or store).add("push", "below", me)

    def flow(self, flow: Flow, data: str, store: Store) -> str:
        if isinstance(flow, ClassFlow):
            return self.class_flow(flow, data, store)
        current = data
        for place in flow.places:
            current = self.place(place, current, store)
        if flow.hook:
            self.hook(flow.id, data, store)
        return current

    def hook(self, flow_id: str, data: str, store: Store) -> None:
        self.sights[f"{flow_id}@{data}"] = store.seen
        store.add("count", "hooks")

    def place(self, place: Place, data: str, store: Store) -> str:
        if isinstance(place, Then):
            return self.member(place.member, data, store, place.merge)
        if isinstance(place, Loop):
            for _ in range(place.times):
                data = self.member(place.member, data, store, place.merge)
            return data
        if isinstance(place, Parallel):
            found = self.group([(member, data) for member in place.members], store, place.merge)
            if place.join.kind == "first":
                found = [(name, output) for name, output in found if not output.startswith("failed")]
            elif place.join.kind != "tolerate" and any(output.startswith("failed") for _, output in found):
                raise Failed
            return folded(store.input, dict(found))
        if isinstance(place, Branch):
            return folded(
                store.input, dict(self.group([(member, data) for member in place.chosen(data)], store, place.merge))
            )
        if isinstance(place, ForEach):
            items = [element(data, n) for n in range(place.count)]
            for member in place.members:
                items = [out for _, out in self.group([(member, item) for item in items], store, place.merge)]
                if place.join.kind != "tolerate" and any(item.startswith("failed") for item in items):
                    raise Failed
            return folded(store.input, items)
        return data if isinstance(place, Sleep) else digest("shape", data)

    def group(self, members: Iterable[tuple[Member, str]], store: Store, merge: Merge) -> list[tuple[str, str]]:
        """Members beside each other: none is certain to see what another one does."""
        before, after, outputs = store.seen, store.seen, []
        for member, data in members:
            store.seen = before
            try:
                output = self.member(member, data, store, merge)
            except Failed:
                output = f"failed {member.id}"
            outputs.append((member.id, output))
            after |= store.seen
        store.seen = after
        return outputs

    def class_flow(self, flow: ClassFlow, data: str, store: Store) -> str:
        _, at_go = self.script(flow.start, data, store, f"{flow.id}.start")
        after, outputs = store.seen, []
        for place, action in enumerate(flow.actions):
            current: str = element(data, place)
            step: Action | None = action
            store.seen = at_go
            while step is not None:
                try:
                    current = self.member(step.member, current, store, step.merge)
                except Failed:
                    if flow.join.kind != "tolerate":
                        raise
                    break
                outputs.append(current)
                store.add("push", f"o.{data}", current)
                step = step.then
            after |= store.seen
        store.seen = after
        self.hook(flow.id, data, store)
        return folded(data, sorted(outputs))

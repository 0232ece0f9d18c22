"""Bugs between a run and its children.

What lives here: mutants of snapshots, of what comes back, and of what is left behind. What does not: those of one run.
"""

from __future__ import annotations

from typing import Final

from .mutant import Mutant

__all__ = ["TREE"]

TREE: Final = (
    Mutant(
        name="snapshot-aliases-lists",
        invariants=("I6", "I2"),
        module="actorflow._core.operations",
        old="""\
        items = items[:length]  # somebody appended past this view: it is not ours to extend
""",
        new="""\
        pass
""",
        why="a child pushes into the list of its parent, and siblings into each other's",
        likely=("inheriting", "nested"),
    ),
    Mutant(
        name="snapshot-too-late",
        invariants=("I6",),
        module="actorflow._runtime.ledger",
        old="        values = dict(self.state.store.values) if command.prepared.inherits else {}",
        new="        values = self.state.store.values if command.prepared.inherits else {}",
        why="a child begins with what its parent held at the end of the turn, not at the call",
        likely=("inheriting", "nested"),
    ),
    Mutant(
        name="merge-applied-twice",
        invariants=("I7", "I2"),
        module="actorflow._core.apply_child",
        old="""\
        operate_all(state, fact.n, fact.operations)
""",
        new="""\
        operate_all(state, fact.n, fact.operations)
        operate_all(state, fact.n, fact.operations)
""",
        why="what a child gives back is applied twice",
        likely=("nested", "suspend"),
    ),
    Mutant(
        name="merge-forgets-the-short-way",
        invariants=("I7", "I2"),
        module="actorflow._core.perform",
        old="""\
    if state.own is not None:
        state.own.append((verb, key, argument))
""",
        new="",
        why="of what a child has changed on the shortest way, nothing comes back",
        likely=("nested",),
    ),
    Mutant(
        name="merge-reordered",
        invariants=("I7", "I3"),
        module="actorflow._core.merging",
        old="""\
            last.items += change.items
""",
        new="""\
            last.items[:0] = change.items
""",
        why="what a child has pushed comes back in the wrong order",
        likely=("nested",),
    ),
    Mutant(
        name="grandchild-writes-twice",
        invariants=("I11", "I2"),
        module="actorflow._core.apply_store",
        old="""\
    activation = state.live.get(fact.n)
    if activation is None and fact.n < 0:
        activation = guest(state, fact.n)
    if activation is not None:
        if fact.op_id:
            activation.name(fact.op_id, fact.verb, key, reply)""",
        new="""\
    activation = state.live.get(fact.n)
    if activation is not None:
        if fact.op_id:
            activation.name(fact.op_id, fact.verb, key, reply)""",
        why="what a step of a child has written to the run above is not recognised when it runs again",
        likely=("nested",),
    ),
    Mutant(
        name="child-outlives-its-parent",
        invariants=("I13", "I16"),
        module="actorflow._core.react",
        old="""\
            if state.live or state.open_calls:
                return
""",
        new="""\
            if state.live:
                return
""",
        why="a run that is cancelled is over while its children still run",
        likely=("cancel",),
    ),
    Mutant(
        name="orphan-left",
        invariants=("I13", "I16"),
        module="actorflow._runtime.ledger",
        old="""\
            self.must_stop = True
            self.orphans += [call.n for call in state.unfinished_calls()]
""",
        new="""\
            self.must_stop = True
""",
        why="the children of a run that stops are not told, where nobody waits for them just now",
        likely=("quiet", "cancel"),
    ),
    Mutant(
        name="child-suspension-not-told",
        invariants=("I12", "I16"),
        module="actorflow._core.decide_child",
        old="""\
    if command.status is RunStatus.SUSPENDED:
        return Ruling((f.ChildPaused(now, n),))""",
        new="""\
    if command.status is RunStatus.SUSPENDED:
        return NOTHING""",
        why="a run whose child asks goes on waiting as if the child ran",
        likely=("quiet", "suspend"),
    ),
)
"""Those of the tree of runs."""

"""A run and the runs below it, as a journal has them.

What lives here: reading the tree, and its JSON document. What does not: drawing it (`drawing`), opening the journal
(`opening`). It only reads, and so also where another process owns the journal; each run is read as it was committed
when its turn came.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import attrs
from attrs import frozen

from .. import RunDescription
from .._core import facts as f
from .._core.durations import moment
from .._core.lifecycle import RUN_OVER
from .._core.run_state import Activation, Batch
from .._ids import activation_id, child_id
from .._runtime.inspect import Cuts, describe_state, load, stored_state
from .._runtime.records import own_suspensions, summary
from ..errors import ActorflowError
from .opening import output_stored
from .output import plain

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .._core.run_state import RunState
    from ..abc import Journal, RunHeader

__all__ = ["RunTree", "Timer", "document_of", "family", "read_tree"]


@frozen(kw_only=True)
class Timer:
    """What starts by itself at a time: a delayed step, the next attempt of one, a sleep of a graph."""

    activation_id: str
    step_id: str
    due: datetime


@frozen(kw_only=True)
class RunTree:
    """One run with those that it called, in the order of the calls.

    `callers` has, by the id of a child run, the activation that called it. A run that cannot be read has a description
    of its list row alone, with the `recovery_error`.
    """

    description: RunDescription
    output: object
    timers: tuple[Timer, ...]
    callers: Mapping[str, str]
    children: tuple[RunTree, ...]


async def read_tree(reader: Journal, run_id: str, cuts: Cuts | None = None) -> RunTree:
    """The run and everything below it; `RunNotFound` if there is none, `JournalCorrupt` if it is damaged itself.

    `cuts` is shared by the children of one run: it has read what they inherit.
    """
    stored = await load(reader, run_id)
    header = stored.header
    state = await stored_state(reader, stored, cuts=cuts)
    rows = sorted(await reader.headers(parent_id=run_id), key=lambda row: row.created)
    shared = Cuts(reader)
    children = [await _read_child(reader, row, shared) for row in rows]
    below = [one for child in children for one in child.description.suspensions]
    return RunTree(
        description=describe_state(state, header, children=rows, suspensions=[*own_suspensions(state), *below]),
        output=await output_stored(reader, run_id),
        timers=() if state.status in RUN_OVER else tuple(sorted(_timers(state), key=lambda timer: timer.due)),
        callers=await _callers(reader, run_id) if rows else {},
        children=tuple(children),
    )


async def _read_child(reader: Journal, header: RunHeader, cuts: Cuts) -> RunTree:
    try:
        return await read_tree(reader, header.run_id, cuts)
    except ActorflowError as error:  # of this run alone: the rest of the tree can be shown
        bare = RunDescription(**attrs.asdict(summary(header), recurse=False), recovery_error=error)
        return RunTree(description=bare, output=None, timers=(), callers={}, children=())


async def _callers(reader: Journal, run_id: str) -> dict[str, str]:
    facts = await reader.read(run_id)
    prefix = next((fact.prefix for fact in facts if isinstance(fact, f.RunStarted)), "")
    calls = (fact for fact in facts if isinstance(fact, f.ChildStarted))
    return {child_id(run_id, call.n): activation_id(prefix, call.by) for call in calls}


def _timers(state: RunState) -> Iterator[Timer]:
    for item in (*state.armed.values(), *state.batches):
        if isinstance(item, f.WaitOpened):
            continue  # its deadline stands with the waits
        if isinstance(item, Batch):
            numbers = range(item.fact.first + item.index, item.fact.first + len(item.fact.payloads))
            step, due, asked = item.fact.step, item.fact.due, item.fact.at
        elif isinstance(item, Activation):
            if not item.error_type:
                continue  # cut off or resumed: it only waits for its turn
            numbers, step, due, asked = range(item.n, item.n + 1), item.step, item.due, item.scheduled_at
        else:
            numbers, step, due, asked = range(item.n, item.n + 1), item.step, item.due, item.at
        if due > asked:  # what was due at once only waits for its turn
            for n in numbers:
                yield Timer(activation_id=activation_id(state.prefix, n), step_id=step, due=moment(due))


def document_of(tree: RunTree) -> dict[str, object]:
    """The JSON document of a run, with those of its children."""
    fields = plain(tree.description)
    return (fields if isinstance(fields, dict) else {}) | {
        "output": tree.output,
        "timers": plain(tree.timers),
        "children": [document_of(child) for child in tree.children],
    }


async def family(reader: Journal, run_id: str) -> list[RunHeader]:
    """The rows of all runs in the tree of this one, the outermost first; empty if there is no such run."""
    header = await reader.header(run_id)
    while header is not None and header.parent_id:
        above = await reader.header(header.parent_id)
        if above is None:
            break  # a journal from which rows were deleted: this is the outermost that there is
        header = above
    found = [] if header is None else [header]
    for one in found:  # it grows while it is walked
        found.extend(await reader.headers(parent_id=one.run_id))
    return found

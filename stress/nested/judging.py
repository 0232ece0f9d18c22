"""Whether a run came to what the model says.

What lives here: the comparison. What does not: the run (`driving`).
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from actorflow import RunStatus

from .programs import Leaf, flows_in, members_in

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actorflow import RunOutcome

    from .building import Notes
    from .model import Expected
    from .programs import Program


def judge(
    program: Program, wanted: Expected, notes: Notes, outcome: RunOutcome, *, calm: bool, gone: bool
) -> Iterator[str]:
    """What is wrong with the end of a run.

    Args:
        program: what ran.
        wanted: what the model says.
        notes: what the steps saw.
        outcome: of the run.
        gone: whether its state was not there to be seen any more.
        calm: whether no crash, fault or closing was in its way: then every pass can be told.
    """
    yield from notes.findings
    status = RunStatus.FAILED if program.fails else RunStatus.COMPLETED
    if outcome.status is not status:
        yield f"it is {outcome.status.value}: {outcome.error}"
        return
    if not program.fails and outcome.output != wanted.output:
        yield f"the output is {outcome.output!r}, not {wanted.output!r}"
    if not gone:
        yield from _differences(wanted.state(dict(program.state)), dict(outcome.state))
        yield from _disorder(wanted, outcome.state.get("leaves"))
    if calm:
        yield from _too_often(program, notes)


def _differences(wanted: dict[str, object], found: dict[str, object]) -> Iterator[str]:
    for key in sorted({*wanted, *found}):
        want, have = wanted.get(key), found.get(key)
        if isinstance(want, list) or isinstance(have, list):
            wants, has = Counter(_texts(want)), Counter(_texts(have))
            if wants != has:
                lost, more = sorted((wants - has).elements()), sorted((has - wants).elements())
                yield f"state[{key!r}]: lost {lost}, doubled or from nowhere {more}"
        elif want != have:
            yield f"state[{key!r}] is {have!r}, not {want!r}"


def _disorder(wanted: Expected, found: object) -> Iterator[str]:
    """What a leaf saw stands before it: each branch's own order is kept, also where it was merged."""
    places = {item: place for place, item in enumerate(_texts(found))}
    for leaf, seen in wanted.sights.items():
        late = sorted(item for item in seen if leaf in places and places.get(item, -1) > places[leaf])
        if late:
            yield f"{leaf} stands before {late}, which it saw"


def _too_often(program: Program, notes: Notes) -> Iterator[str]:
    """In a calm run a leaf runs once, once more for each answer, and once more if its first attempt fails."""
    leaves: dict[str, Leaf] = {}
    for flow in flows_in(program.flow):
        leaves |= dict(members_in(flow))
    for me, times in notes.passes.items():
        leaf = leaves[me.partition("@")[0]]
        asks = sum(verb == "ask" for verb, _ in leaf.script) if notes.suspends else 0
        most = 1 + asks + leaf.flaky
        if times > most:
            yield f"{me} ran {times} times, and {most} are enough"
    for me, times in notes.once.items():
        if times > 1:
            yield f"once of {me} ran {times} times"


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []

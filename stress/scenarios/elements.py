"""What the plans of the built-in scenarios are made of, and the accounts that their checks share.

What lives here: unique elements, JSON values at the edges, and sentences about lists and numbers that are not what a
plan adds up to. What does not: any scenario.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Final

import trio

from actorflow import RunStatus

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator, Mapping, Sequence

    from actorflow import Run, Runtime

    from ..recording import Record

__all__ = [
    "EDGES",
    "branch_of",
    "differences",
    "edge",
    "element",
    "ended",
    "mailbox",
    "start_and_wait",
    "sum_is",
    "weave",
]

EDGES: Final[Sequence[object]] = (
    None,
    True,
    False,
    0,
    -1,
    1.5,
    -0.0,
    5e-324,
    1e308,
    2**63,
    -(2**63) - 1,
    10**300,
    "",
    "\0",
    "a\nb\r\n\u2028",
    'quotes " and \\ slashes',
    "é 漢字 🎉",
    "x" * 3000,
    [],
    {},
    {"": 0},
    {"a": {"b": [{"c": []}]}},
    [None, [True, [False]], {"__proto__": "1e5"}],
)
"""JSON values on which a store may stumble; lone surrogates and NaN are refused, and are not here."""

SHOWN: Final = 5
"""Elements that a sentence names."""


def element(branch: str, n: int) -> str:
    """The unique element that is number `n` of its branch."""
    return f"{branch}.{n}"


def branch_of(text: str) -> str:
    """The branch of an element."""
    return text.rpartition(".")[0]


def edge(chance: random.Random) -> object:
    """Some JSON value at the edge, or within another one, deep down."""
    value = chance.choice(EDGES)
    for _ in range(chance.choice((0, 0, 0, 1, 40))):
        value = [value] if chance.random() < 0.5 else {"in": value}
    return value


def mailbox(chance: random.Random) -> int:
    """A bound of the mailbox: often so small that senders wait."""
    return chance.choice((1, 2, 3, 64, 1000))


async def weave(turns: int) -> None:
    """Let others have their turns."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()


async def start_and_wait(
    runtime: Runtime, record: Record, workflow: object, run_id: str, data: object = None, **options: object
) -> Run:
    """Start a run under an id that is always the same, and keep how it settled."""
    run = await runtime.start(workflow, data, run_id=record.adopt(run_id), **options)  # type: ignore[arg-type]  # passed on as given
    record.keep(run_id, await run.wait())
    return run


# --- sentences


def ended(record: Record, run_id: str, status: RunStatus = RunStatus.COMPLETED) -> Iterator[str]:
    """Whether a run ended as it should."""
    outcome = record.outcomes.get(run_id)
    if outcome is None:
        yield f"run {run_id} has not been waited for to its end"
    elif outcome.status is not status:
        yield f"run {run_id} is {outcome.status.value}, not {status.value}: {outcome.error}"


def differences(where: str, wanted: Mapping[str, Sequence[str]], found: object) -> Iterator[str]:
    """Whether a list has every element of every branch once, in the branch's order, and no other.

    `wanted` has the elements of each branch, in their order.
    """
    if found is None and not any(wanted.values()):
        return
    if not isinstance(found, list):
        yield f"{where} is {found!r}, and no list"
        return
    wants, has = Counter(one for each in wanted.values() for one in each), Counter(map(str, found))
    for word, some in (("lost", wants - has), ("doubled or invented", has - wants)):
        if some:
            names = ", ".join(sorted(some.elements())[:SHOWN])
            yield f"{where}: {some.total()} elements are {word}: {names}"
    order: dict[str, list[str]] = {}
    for one in map(str, found):
        order.setdefault(branch_of(one), []).append(one)
    for branch, elements in wanted.items():
        if sorted(order.get(branch, [])) == sorted(elements) and order.get(branch, []) != list(elements):
            yield f"{where}: branch {branch} pushed {list(elements)[:SHOWN]}, and they stand as {order[branch][:SHOWN]}"


def sum_is(where: str, wanted: float, found: object) -> Iterator[str]:
    """Whether a number came to what was added."""
    have = 0 if found is None else found
    if isinstance(have, bool) or not isinstance(have, int | float) or have != wanted:
        yield f"{where} is {found!r}, and what was added comes to {wanted}"

"""The code of a graph's own steps: conditions, maps, durations.

What lives here: how the functions of the user, `(data, ctx)`, sync or async, are called and what becomes of their
answers, and the call of a nested workflow. What does not: whether they can be called (`graph_check`), the mapping
form of `map` (`sources`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from inspect import isawaitable
from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from .._core.durations import due_time, instant
from .._core.values import encode
from .schema import Schema

if TYPE_CHECKING:
    from datetime import datetime


Invoke = Callable[[object, object], Awaitable[object]]
"""The code of a step."""


class Function(Protocol):
    """A function of the user's; what it takes has been checked."""

    def __call__(self, *args: object) -> object: ...


class _Clock(Protocol):
    def now(self) -> datetime: ...


class _Parent(Protocol):
    def run_child(self, workflow: object, data: object, *, merge_state: object) -> Awaitable[object]: ...


@frozen
class Condition:
    """One condition of a branch, and the type of the data that it declares."""

    function: Function
    schema: Schema
    name: str


def plain_call(function: Function) -> Invoke:
    """What the function gives, awaited if it wants to be."""

    async def call(data: object, ctx: object) -> object:
        return await _settled(function(data, ctx))

    return call


def hook_call(function: Function, *, takes_data: bool) -> Invoke:
    """A hook; that of completion gets the context alone."""

    async def call(data: object, ctx: object) -> object:
        return await _settled(function(data, ctx) if takes_data else function(ctx))

    return call


def run_child(target: object, merge_state: object) -> Callable[[object, object], Awaitable[object]]:
    """A workflow that stands in a graph as a step."""

    def call(data: object, ctx: _Parent) -> Awaitable[object]:
        return ctx.run_child(target, data, merge_state=merge_state)

    return call  # type: ignore[return-value]  # the context of every step can run a child


async def unused(data: object, ctx: object) -> object:
    """The code of a timer or a wait, which has none: the kernel completes it."""
    raise AssertionError("a step of the graph's own that has no code was run")


async def passed_on(data: object, ctx: object) -> object:
    """What comes in."""
    return data


def again(condition: Function, *, until: bool) -> Invoke:
    """Whether the body of a loop runs once more."""

    async def call(data: object, ctx: object) -> object:
        return bool(await _settled(condition(data, ctx))) is not until

    return call


def chosen(conditions: Sequence[Condition], *, otherwise: bool, first_match: bool) -> Invoke:
    """The indices of the branches that run; the one after the last condition's is `otherwise`."""

    async def call(data: object, ctx: object) -> object:
        text = encode(data)  # each condition gets a copy of its own
        found: list[int] = []
        for index, condition in enumerate(conditions):
            own = condition.schema.structure(text, f"data of the condition {condition.name}")
            if await _settled(condition.function(own, ctx)):
                found.append(index)
                if first_match:
                    break
        if not found and otherwise:
            found.append(len(conditions))
        return found

    return call


def due_after(duration: Function) -> Invoke:
    """The epoch second at which a `.sleep(function)` ends."""

    async def call(data: object, ctx: _Clock) -> object:
        found = await _settled(duration(data, ctx))
        return due_time(ctx.now().timestamp(), found, None)

    return call  # type: ignore[return-value]  # the context of every step has a clock


def due_at(moment: Function) -> Invoke:
    """The epoch second at which a `.sleep_until(function)` ends."""

    async def call(data: object, ctx: _Clock) -> object:
        found = await _settled(moment(data, ctx))
        return instant(found) if found is None else due_time(ctx.now().timestamp(), 0, found)

    return call  # type: ignore[return-value]  # the context of every step has a clock


async def _settled(value: object) -> object:
    return await value if isawaitable(value) else value

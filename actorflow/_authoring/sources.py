"""Where the parts of a `map({name: …})` come from, and the paths into them.

What lives here: `from_step`, `from_input`, `from_state`, `constant`, what can be wrong with one, and reading it while
a run goes. What does not: the function form of `map` (`questions`).

A path names a part of a value: `items[0].price` or `items.0.price`, `["unit price"]` for a key that a dot or a blank
would break; "" is the whole value, and `[-1]` the last item.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, ClassVar, Final, Protocol, cast

from attrs import field, frozen

from .._core.values import MISSING, decode, encode, shorten
from ..errors import InputError
from .misfit import key_path
from .schema import Schema, unstructure

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping

    from .schema import StateSchema

Part = str | int
"""A part of a path: a key (or an index without brackets), or an index."""

_PART: Final = re.compile(r'\[(-?\d{1,9})\]|\[("(?:[^"\\]|\\.)*")\]|\.([^.\[\]]+)')


class _Store(Protocol):
    async def get(self, key: str) -> object: ...


class _Context(Protocol):
    @property
    def input(self) -> object: ...

    @property
    def run_store(self) -> _Store: ...

    async def step_result(self, step_id: str) -> object: ...


@frozen
class Source:
    """Where a value comes from; made by `from_step`, `from_input`, `from_state`, `constant`."""

    verb: ClassVar[str] = ""


@frozen
class FromStep(Source):
    """The output of a step, or a part of it."""

    verb: ClassVar[str] = "from_step"
    step_id: object
    path: object

    def __str__(self) -> str:
        return f"from_step({shorten(self.step_id)}{f', {shorten(self.path)}' if self.path != '' else ''})"


@frozen
class FromInput(Source):
    """The run's input, or a part of it."""

    verb: ClassVar[str] = "from_input"
    path: object

    def __str__(self) -> str:
        return f"from_input({shorten(self.path) if self.path != '' else ''})"


@frozen
class FromState(Source):
    """The value of a key of the run store."""

    verb: ClassVar[str] = "from_state"
    key: object

    def __str__(self) -> str:
        return f"from_state({shorten(self.key)})"


@frozen
class Constant(Source):
    """A value that is known when the graph is written."""

    verb: ClassVar[str] = "constant"
    value: object = field(repr=shorten)

    def __str__(self) -> str:
        return f"constant({shorten(self.value)})"


def from_step(step: object, path: str = "") -> FromStep:
    """For `.map({name: …})`: the latest output of a step, or the part of it that `path` names.

    Args:
        step: the id of a step that stands earlier in the chain, or the step itself.
        path: such as "items[0].price"; "" is the whole output.

    A path that leads nowhere fails the run with an `InputError`, and so does a step that did not run.

    Example:
        >>> from actorflow import from_step
        >>> print(from_step("fetch", "items[0].price"))
        from_step('fetch', 'items[0].price')
    """
    return FromStep(step if isinstance(step, str) else getattr(step, "id", step), path)


def from_input(path: str = "") -> FromInput:
    """For `.map({name: …})`: the run's input, or the part of it that `path` names.

    Example:
        >>> from actorflow import from_input
        >>> print(from_input("customer.id"))
        from_input('customer.id')
    """
    return FromInput(path)


def from_state(key: str) -> FromState:
    """For `.map({name: …})`: what stands under a key of the run store, None if nothing does.

    Example:
        >>> from actorflow import from_state
        >>> print(from_state("processed"))
        from_state('processed')
    """
    return FromState(key)


def constant(value: object) -> Constant:
    """For `.map({name: …})`: this value; whatever can be JSON, copied when the graph is committed.

    Example:
        >>> from actorflow import constant
        >>> print(constant(["a", "b"]))
        constant(['a', 'b'])
    """
    return Constant(value)


# --- at commit


def source_problems(source: object, before: Mapping[str, object], state: StateSchema | None) -> Iterator[str]:
    """Why a part of a map cannot be had; `before` has the ids of the steps that stand earlier in the chain."""
    if not isinstance(source, Source):
        yield f"{shorten(source)} says no source; give from_step(…), from_input(…), from_state(…) or constant(…)"
        return
    if isinstance(source, FromStep | FromInput):
        try:
            parse_path(source.path)
        except ValueError as error:
            yield f"{source}: {error}"
    if isinstance(source, FromStep) and (not isinstance(source.step_id, str) or source.step_id not in before):
        known = ", ".join(before) or "no step at all"
        yield f"{source}: no such step stands before it in the chain, where there is {shorten(known, 200)}"
    elif isinstance(source, FromState):
        if not isinstance(source.key, str) or not source.key:
            yield f"{source}: give a key of the run store, text that is not empty"
        elif state is not None and source.key not in state.keys:
            yield f"{source}: the state {state.kind.__name__} has no such key; it has {', '.join(state.fields)}"
    elif isinstance(source, Constant):
        try:
            encode(source.value, unstructure)
        except InputError as error:
            yield f"{source}: {error}"


def parse_path(path: object) -> tuple[Part, ...]:
    """The parts of a path; raises `ValueError` saying what is wrong with it."""
    if not isinstance(path, str):
        raise ValueError(f"a path is text such as 'items[0].price', not a {type(path).__name__}")
    parts: list[Part] = []
    text = path if not path or path.startswith("[") else f".{path}"
    at = 0
    while at < len(text):
        match = _PART.match(text, at)
        if match is None:
            raise ValueError(
                f"the path {shorten(path)} is not understood from {shorten(text[at:], 40)} on; "
                "write it as 'items[0].price', 'items.0.price' or 'items[\"unit price\"]'"
            )
        if match[1] is not None:
            parts.append(int(match[1]))
        else:
            parts.append(match[3] if match[2] is None else cast("str", json.loads(match[2])))
        at = match.end()
    return tuple(parts)


# --- in a run


def read_path(value: object, path: str, source: object) -> object:
    """The part of plain JSON data that a path names; `InputError` says where it stops to lead on, and what is there."""
    where = "$"
    for part in parse_path(path):
        found = _part_of(value, part)
        if found is MISSING:
            text = f"{source}: at {where} there is no {part!r}, but {_content(value)}"
            raise InputError(text, problems={where: text})
        where += key_path(part) if isinstance(value, dict) else f"[{part}]"
        value = found
    return value


def _part_of(value: object, part: Part) -> object:
    if isinstance(value, dict):
        return value.get(part, MISSING) if isinstance(part, str) else MISSING
    if isinstance(value, list) and (isinstance(part, int) or part.isdecimal()):
        try:
            return value[int(part)]
        except (IndexError, ValueError):  # ValueError: more digits than an int is read from
            return MISSING
    return MISSING


def _content(value: object) -> str:
    if isinstance(value, dict):
        return f"the keys {shorten(list(value), 200)}" if value else "an empty object"
    if isinstance(value, list):
        return f"a list of {len(value)} items"
    return shorten(value)


def map_of(
    sources: Mapping[str, Source], outputs: Mapping[str, Schema], run_input: Schema
) -> Callable[[object, object], Awaitable[object]]:
    """The code of a `map({…})`.

    Args:
        sources: sound ones.
        outputs: how the output of each step is written.
        run_input: how the run's input is written.
    """
    # Copied now: what happens to a constant after the commit is nothing to the graph.
    constants = {
        name: encode(source.value, unstructure) for name, source in sources.items() if isinstance(source, Constant)
    }

    async def read(source: Source, ctx: _Context) -> object:
        if isinstance(source, FromStep):
            step_id = cast("str", source.step_id)
            found = _plain(await ctx.step_result(step_id), outputs[step_id], f"output of step {step_id!r}")
            return read_path(found, cast("str", source.path), source)
        if isinstance(source, FromInput):
            return read_path(_plain(ctx.input, run_input, "input of the run"), cast("str", source.path), source)
        return await ctx.run_store.get(cast("str", cast("FromState", source).key))

    async def shape(data: object, ctx: object) -> object:
        return {
            name: decode(constants[name]) if name in constants else await read(source, cast("_Context", ctx))
            for name, source in sources.items()
        }

    return shape


def _plain(value: object, schema: Schema, what: str) -> object:
    return value if schema.kind is None else decode(schema.unstructure(value, what))

"""Whether a graph can run: what `workflow(…)` and each verb were given, the steps aside.

What lives here: checks that add to the findings. What does not: the steps (`graph_members`), whether the data of one
link fits the next (`graph_flow`), the parts of a map (`sources`).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from .._core.durations import instant, seconds
from .._core.policies import Join, JoinKind
from .._core.values import shorten, size_of
from ..errors import InputError
from .check import PARAMETERS, attribute_problems
from .places import (
    Branch,
    DoUntil,
    DoWhile,
    ForEach,
    Hook,
    Map,
    Parallel,
    Place,
    Settings,
    Sleep,
    SleepUntil,
    Then,
    WaitForEvent,
    members_of,
    name_of,
    pairs_of,
)
from .signature import can_take, is_async_generator
from .step import ID_BYTES_MAX, Step, concurrency_problems, type_problems

if TYPE_CHECKING:
    from .check import Findings

_ATTRIBUTES: Final = ("id", "state", "join", "lost_updates", "version", "max_live_steps", "keep_state")


def check_settings(settings: Settings, findings: Findings) -> set[str]:
    """Look at what `workflow(…)` was given; returns the names of what is bad."""
    problems = {name: list(attribute_problems(name, getattr(settings, name))) for name in _ATTRIBUTES}
    problems |= {name: list(type_problems(name, getattr(settings, name))) for name in ("input", "output")}
    for texts in problems.values():
        for text in texts:
            findings.add(settings.where, f"workflow: {text}")
    return {name for name, texts in problems.items() if texts}


def check_place(place: Place, findings: Findings) -> bool:
    """Look at what one verb was given, its steps aside; whether all is well."""
    problems = [*_CHECKS[type(place)](place), *_merge_problems(place)]
    for text in problems:
        findings.add(place.where, f".{place.verb}: {text}")
    return not problems


def check_hooks(hooks: Sequence[Hook], findings: Findings) -> None:
    """No hook twice, and each can be called."""
    seen: dict[str, Hook] = {}
    for hook in hooks:
        known = seen.setdefault(hook.hook, hook)
        if known is not hook:
            findings.add(hook.where, f".{hook.verb}: there is one already, given at {known.where}; keep one of them")
        if isinstance(hook.function, Step):
            text = f"{hook.function.id} is a step, and a hook takes no @step; leave the decorator out"
            findings.add(hook.where, f".{hook.verb}: {text}")
            continue
        for text in function_problems(hook.function, PARAMETERS[hook.hook][1:]):
            findings.add(hook.where, f".{hook.verb}: {text}")


def check_group(place: Place, ids: Sequence[str], findings: Findings) -> None:
    """No two members of one group may have one id."""
    for step_id in dict.fromkeys(name for name in ids if ids.count(name) > 1):
        text = f"two members of the group have the id {step_id!r}, which names their output; give one another id="
        findings.add(place.where, f".{place.verb}: {text}")


def function_problems(function: object, parameters: Sequence[str] = ("data", "ctx")) -> Iterator[str]:
    """Why it cannot be called with these arguments."""
    called = f"({', '.join(parameters)})"
    if not callable(function):
        yield f"{shorten(function)} is no function; give one that takes {called}"
    elif is_async_generator(function):
        yield f"{name_of(function)} is an async generator; return a value instead of yielding"
    elif not can_take(function, len(parameters)):
        try:
            takes = str(inspect.signature(function))
        except (TypeError, ValueError):
            takes = "(…)"
        yield f"{name_of(function)}{takes} cannot be called with {called}; write it so"


# --- what each verb was given


def _join_problems(join: object) -> Iterator[str]:
    if not isinstance(join, Join):
        yield f"join={shorten(join)}: give ALL, DRAIN, first(k) or tolerate(count=…, fraction=…)"


def _never_met(join: Join, members: int) -> bool:
    return join.kind is JoinKind.FIRST and (join.count or 1) > members


def _merge_problems(place: Place) -> Iterator[str]:
    given = getattr(place, "merge_state", False)
    if isinstance(given, bool):
        if given and members_of(place) and all(isinstance(member, Step) for member in members_of(place)):
            yield "merge_state=True says what of a workflow's state comes back, but there is no workflow; leave it out"
        return
    if not isinstance(given, list | tuple | set | frozenset):
        meant = f"[{given!r}]" if isinstance(given, str) else "True, False or a list of keys"
        yield f"merge_state={shorten(given)}: give {meant}"
        return
    for key in given:
        if not _is_key(key):
            yield f"merge_state has {shorten(key)}: a key is text, not empty, of at most {ID_BYTES_MAX} bytes"


def _is_key(value: object) -> bool:
    try:
        return isinstance(value, str) and 0 < size_of(value) <= ID_BYTES_MAX
    except UnicodeEncodeError:
        return False


def _nothing(_: Place) -> Iterator[str]:
    yield from ()


def _parallel_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, Parallel)
    yield from _join_problems(place.join)
    if not isinstance(place.members, tuple):
        yield f"{shorten(place.members)} is no list of steps; write [a, b, …]"
    elif not place.members:
        yield "the list of steps is empty; give at least one"
    elif isinstance(place.join, Join) and _never_met(place.join, len(place.members)):
        yield f"first({place.join.count}) of {len(place.members)} steps can never be met; give at most their number"


def _branch_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, Branch)
    if type(place.first_match) is not bool:
        yield f"first_match={shorten(place.first_match)}: give True or False"
    if not isinstance(place.pairs, tuple):
        yield f"{shorten(place.pairs)} is no list of pairs; write [(condition, step), …]"
        return
    if not place.pairs:
        yield "the list of branches is empty; give at least one (condition, step)"
    if len(pairs_of(place)) < len(place.pairs):
        odd = next(pair for pair in place.pairs if not (isinstance(pair, tuple | list) and len(pair) == 2))
        yield f"{shorten(odd)} is no pair; write (condition, step)"
    for condition, _ in pairs_of(place):
        for text in function_problems(condition):
            yield f"condition: {text}"


def _foreach_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, ForEach)
    yield from _join_problems(place.join)
    yield from concurrency_problems("concurrency", place.concurrency)


def _loop_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, DoWhile)
    for text in function_problems(place.condition):
        yield f"condition: {text}"


def _map_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, Map)
    if not isinstance(place.shape, Mapping):
        if not callable(place.shape):
            yield f"{shorten(place.shape)} is no function and no mapping; write {{name: from_step(…), …}}"
        else:
            yield from function_problems(place.shape)
        return
    for name in place.shape:
        if not isinstance(name, str):
            yield f"the name {shorten(name)} is a {type(name).__name__}; names are text"


def _sleep_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, Sleep)
    if callable(place.until):
        yield from function_problems(place.until)
        return
    try:
        if isinstance(place, SleepUntil):
            instant(place.until)
        else:
            seconds(place.until, "duration")
    except InputError as error:
        yield str(error)


def _event_problems(place: Place) -> Iterator[str]:
    assert isinstance(place, WaitForEvent)
    if not _is_key(place.name):
        yield f"the name {shorten(place.name)}: give text, not empty, of at most {ID_BYTES_MAX} bytes"
    if place.timeout is not None:
        try:
            seconds(place.timeout, "timeout")
        except InputError as error:
            yield str(error)
    yield from type_problems("type", place.type)


_CHECKS: Final[Mapping[type[Place], Callable[[Place], Iterator[str]]]] = {
    Then: _nothing,
    Parallel: _parallel_problems,
    Branch: _branch_problems,
    ForEach: _foreach_problems,
    DoWhile: _loop_problems,
    DoUntil: _loop_problems,
    Map: _map_problems,
    Sleep: _sleep_problems,
    SleepUntil: _sleep_problems,
    WaitForEvent: _event_problems,
}

"""What the verbs of a graph were given, one frozen record per call, unchecked.

What lives here: the records, and where in the user's code they were written. What does not: whether they make sense
(`graph_check`), what becomes of them (`graph_compile`, `mermaid`).
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Final

from attrs import field, frozen

from .._core.policies import ALL
from .._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR
from .signature import local_names

NO_NAMES: Final[Mapping[str, object]] = {}


@frozen(kw_only=True)
class Place:
    """One call of a verb.

    `where` is `file:line`; `names` is what the annotations of the functions given here may need of the function in
    which the graph is written.
    """

    verb: ClassVar[str] = ""
    where: str
    names: Mapping[str, object] = field(default=NO_NAMES, repr=False)


@frozen(kw_only=True)
class Then(Place):
    """`.then(…)`."""

    verb: ClassVar[str] = "then"
    member: object
    merge_state: object = False


@frozen(kw_only=True)
class Parallel(Place):
    """`.parallel([…])`."""

    verb: ClassVar[str] = "parallel"
    members: object
    join: object = ALL
    merge_state: object = False


@frozen(kw_only=True)
class Branch(Place):
    """`.branch([(condition, …), …])`."""

    verb: ClassVar[str] = "branch"
    pairs: object
    otherwise: object = None
    first_match: object = False
    merge_state: object = False


@frozen(kw_only=True)
class ForEach(Place):
    """`.foreach(…)`."""

    verb: ClassVar[str] = "foreach"
    member: object
    concurrency: object = 1
    join: object = ALL
    merge_state: object = False


@frozen(kw_only=True)
class DoWhile(Place):
    """`.do_while(…, condition)`."""

    verb: ClassVar[str] = "do_while"
    member: object
    condition: object
    merge_state: object = False


@frozen(kw_only=True)
class DoUntil(DoWhile):
    """`.do_until(…, condition)`."""

    verb: ClassVar[str] = "do_until"


@frozen(kw_only=True)
class Map(Place):
    """`.map(…)`."""

    verb: ClassVar[str] = "map"
    shape: object


@frozen(kw_only=True)
class Sleep(Place):
    """`.sleep(…)`."""

    verb: ClassVar[str] = "sleep"
    until: object


@frozen(kw_only=True)
class SleepUntil(Sleep):
    """`.sleep_until(…)`."""

    verb: ClassVar[str] = "sleep_until"


@frozen(kw_only=True)
class WaitForEvent(Place):
    """`.wait_for_event(…)`."""

    verb: ClassVar[str] = "wait_for_event"
    name: object
    timeout: object = None
    type: object = None


@frozen(kw_only=True)
class Hook(Place):
    """`.on_complete(…)` and its siblings; `hook` is the id of the hook's step."""

    hook: ClassVar[str] = ""
    function: object


@frozen(kw_only=True)
class OnComplete(Hook):
    """`.on_complete(…)`."""

    verb: ClassVar[str] = "on_complete"
    hook: ClassVar[str] = HOOK_COMPLETE


@frozen(kw_only=True)
class OnError(Hook):
    """`.on_error(…)`."""

    verb: ClassVar[str] = "on_error"
    hook: ClassVar[str] = HOOK_ERROR


@frozen(kw_only=True)
class OnCancel(Hook):
    """`.on_cancel(…)`."""

    verb: ClassVar[str] = "on_cancel"
    hook: ClassVar[str] = HOOK_CANCEL


@frozen(kw_only=True)
class Settings:
    """What `workflow(…)` was given."""

    where: str
    id: str
    input: object | None
    output: object | None
    state: object | None
    join: object
    lost_updates: object
    version: object
    max_live_steps: object
    keep_state: object


def listed(value: object) -> object:
    """A list, tuple or generator as a tuple; anything else, also what has no order of its own, as it is."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | set | frozenset):
        return tuple(value)
    return value


def pairs_of(place: Branch) -> list[tuple[object, object]]:
    """The (condition, step) pairs that have the form of one."""
    given = place.pairs if isinstance(place.pairs, tuple) else ()
    return [(pair[0], pair[1]) for pair in given if isinstance(pair, tuple | list) and len(pair) == 2]


def members_of(place: Place) -> tuple[object, ...]:
    """The steps and workflows that a place names, as given."""
    if isinstance(place, Then | ForEach | DoWhile):
        return (place.member,)
    if isinstance(place, Parallel):
        return place.members if isinstance(place.members, tuple) else ()
    if isinstance(place, Branch):
        rest = () if place.otherwise is None else (place.otherwise,)
        return (*(member for _, member in pairs_of(place)), *rest)
    return ()


def name_of(function: object) -> str:
    """How the author calls a function: a diagram and an error text name it so."""
    name = getattr(function, "__name__", None)
    return name if isinstance(name, str) else type(function).__name__


def here(functions: Sequence[object] = ()) -> tuple[str, Mapping[str, object]]:
    """For a verb: `file:line` of its caller, and the names of that place that these functions' annotations use."""
    frame = sys._getframe(2)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}", local_names(frame, functions)

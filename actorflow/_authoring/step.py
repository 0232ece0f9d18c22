"""`@step`: a function with its options.

What lives here: the decorator, the record that it makes, the check of the options. What does not: the workflow around
it (`workflow`), running it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from types import FunctionType, MethodType
from typing import Final, Generic, ParamSpec, TypeVar, cast, overload

from attrs import field, frozen

from .._core.policies import Rate, Retry
from .._core.values import shorten, size_of
from .._ids import HOOKS
from ..errors import DefinitionError
from . import kinds
from .definition import Commit, Offload
from .schema import faults
from .signature import is_async, is_async_generator, local_names, location

P = ParamSpec("P")
R = TypeVar("R")

ID_BYTES_MAX: Final = 512
"""UTF-8 bytes of the id of a step or a workflow: as for the keys of a run store."""

_ONCE: Final = Retry()


@frozen(slots=False, eq=False, kw_only=True)
class Step(Generic[P, R]):
    """A function under `@step`: what it does and how it is to be run. Calling it calls the function.

    On a method of a `Workflow` it stays a method: `await self.charge(data, ctx)` runs it here and now, as a part of
    the step that calls it.
    """

    function: Callable[P, R]
    id: str
    named: bool = False
    input: object | None = None
    output: object | None = None
    state: object | None = None
    resume: object | None = None
    suspend: object | None = None
    retry: Retry = _ONCE
    timeout: float | None = None
    concurrency: int | None = None
    rate: Rate | None = None
    offload: Offload = Offload.NONE
    commit: Commit = Commit.AT_ONCE
    names: Mapping[str, object] = field(factory=dict, repr=False)

    def __attrs_post_init__(self) -> None:
        # What functools.update_wrapper does; it would assign, and the record is frozen.
        wrapped = {name: getattr(self.function, name) for name in ("__module__", "__name__", "__qualname__", "__doc__")}
        self.__dict__.update(wrapped, __wrapped__=self.function)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function gives."""
        return self.function(*args, **kwargs)

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Step[P, R]: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None) -> MethodType: ...

    def __get__(self, instance: object, owner: type | None = None) -> Step[P, R] | MethodType:
        """The step on the class, the bound function on an instance."""
        return self if instance is None else MethodType(self.function, instance)


@overload
def step(function: Callable[P, R], /) -> Step[P, R]: ...


@overload
def step(
    *,
    id: str | None = None,
    input: object | None = None,
    output: object | None = None,
    state: type | None = None,
    resume: object | None = None,
    suspend: object | None = None,
    retry: Retry = ...,
    timeout: float | None = None,
    concurrency: int | None = None,
    rate: Rate | None = None,
    offload: str | None = None,
    commit: str = "at_once",
) -> Callable[[Callable[P, R]], Step[P, R]]: ...


def step(  # noqa: PLR0913 - the options of a step are its vocabulary, all by keyword
    function: object = None,
    /,
    *,
    id: str | None = None,  # noqa: A002 - the name that everybody looks for
    input: object | None = None,  # noqa: A002 - pairs with output, as everywhere
    output: object | None = None,
    state: type | None = None,
    resume: object | None = None,
    suspend: object | None = None,
    retry: Retry = _ONCE,
    timeout: float | None = None,
    concurrency: int | None = None,
    rate: Rate | None = None,
    offload: str | None = None,
    commit: str = "at_once",
) -> object:
    """Make a step of a function `(data, ctx)`, or set the options of a method of a `Workflow`.

    An async function runs in a trio task. A plain function runs in a thread, where the verbs of `ctx.run_store` are
    plain calls.

    Args:
        function: given by the bare form `@step`.
        id: its name (default: the function's).
        input: the type of its data (this and the next two: default from the annotations).
        output: the type of what it returns.
        state: the type of `ctx.state`.
        resume: the type of `ctx.resume_data`.
        suspend: the type of what it hands out with `ctx.suspend`.
        retry: how often, when and for what it runs again.
        timeout: seconds, per attempt.
        concurrency: at most this many at once in one run.
        rate: starts per period in one run.
        offload: None, or "thread", for a plain function.
        commit: "at_once", or "on_success": its store operations and schedules take effect together when it succeeds,
            or never.

    Returns a `Step`; with options, a decorator that makes one.

    Raises `DefinitionError` listing every option that is wrong.

    Example:
        >>> from actorflow import Retry, step
        >>> @step(retry=Retry(3, on=TimeoutError), timeout=30)
        ... async def fetch(data, ctx):
        ...     return data
        >>> fetch.id
        'fetch'
    """
    options = {
        "id": id, "input": input, "output": output, "state": state, "resume": resume, "suspend": suspend,
        "retry": retry, "timeout": timeout, "concurrency": concurrency, "rate": rate, "offload": offload,
        "commit": commit,
    }  # fmt: skip
    here = inspect.currentframe()
    frame = here.f_back if here is not None else None

    def decorate(function: object) -> object:
        return _make(function, options, local_names(frame, [function]))

    return decorate if function is None else decorate(function)


def _make(function: object, options: Mapping[str, object], names: Mapping[str, object]) -> object:
    if not isinstance(function, FunctionType):
        hint = "it is a step already" if isinstance(function, Step) else "put it directly on a function"
        text = f"@step cannot take {shorten(function)}: {hint}"
        raise DefinitionError(text, findings=(text,))
    where = f"{location(function)}: @step on {function.__qualname__}"
    faulty = [text for name, check in _CHECKS.items() for text in check(name, options[name])]
    found = tuple(f"{where}: {text}" for text in [*faulty, *_code_problems(function, options)])
    if found:
        raise DefinitionError("\n  ".join([f"{function.__qualname__} cannot be a step:", *found]), findings=found)
    named = cast("str | None", options["id"])
    return Step(
        function=function,
        id=named or function.__name__,
        named=named is not None,
        input=options["input"],
        output=options["output"],
        state=cast("type | None", options["state"]),
        resume=options["resume"],
        suspend=options["suspend"],
        retry=cast("Retry", options["retry"]),
        timeout=cast("float | None", options["timeout"]),
        concurrency=cast("int | None", options["concurrency"]),
        rate=cast("Rate | None", options["rate"]),
        offload=Offload.NONE if is_async(function) else Offload.THREAD,
        commit=Commit(options["commit"]),
        names=names,
    )


def _code_problems(function: FunctionType, options: Mapping[str, object]) -> Iterator[str]:
    if is_async_generator(function):
        yield "it is an async generator, which gives no result; return a value instead of yielding"
    elif is_async(function) and options["offload"] is not None:
        yield f"offload={options['offload']!r} is for plain functions; leave it out, or write `def` without async"


# --- the options one by one: a generator of what is wrong with a value


def id_problems(name: str, value: object) -> Iterator[str]:
    """Why `value` cannot be the id of a workflow."""
    if not isinstance(value, str):
        yield f"{name}={shorten(value)} is a {type(value).__name__}; give text"
    elif not value or not value.isprintable() or value != value.strip():
        yield f"{name}={shorten(value)}: give text that is not empty, can be printed, and has no blank at its ends"
    elif size_of(value) > ID_BYTES_MAX:
        yield f"{name}={shorten(value)} has {size_of(value)} bytes; give at most {ID_BYTES_MAX}"


def step_id_problems(name: str, value: object) -> Iterator[str]:
    """Why `value` cannot be the id of a step; None is the default."""
    if value is None:
        return
    problems = list(id_problems(name, value))
    if not problems and isinstance(value, str):
        if value.startswith("_"):
            problems = [f"{name}={value!r} starts with an underscore, as private names do; leave it out"]
        elif "." in value:
            problems = [f"{name}={value!r} has a dot, which separates the steps of a path; write '-' or '_'"]
        elif value in HOOKS:
            problems = [f"{name}={value!r} is the name of a hook; give another one"]
    yield from problems


def type_problems(name: str, value: object) -> Iterator[str]:
    """Why `value` cannot be the type of data; None is no declared type."""
    if value is not None:
        yield from (f"{name}: {text}" for text in faults(value))


def state_problems(name: str, value: object) -> Iterator[str]:
    """Why `value` cannot be a state schema."""
    if value is None:
        return
    if not isinstance(value, type) or not kinds.is_record(value):
        yield f"{name}={shorten(value)} is no attrs class, dataclass or TypedDict; its fields are the keys of the state"
    else:
        yield from (f"{name}: {text}" for text in faults(value))


def _retry(name: str, value: object) -> Iterator[str]:
    if not isinstance(value, Retry):
        meant = f"retry=Retry({value})" if type(value) is int and value > 0 else "a Retry, such as retry=Retry(3)"
        yield f"{name}={shorten(value)}: give {meant}"


def _timeout(name: str, value: object) -> Iterator[str]:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
        yield f"{name}={shorten(value)}: give seconds above 0, or None"


def concurrency_problems(name: str, value: object) -> Iterator[str]:
    """Why `value` cannot bound how many run at once."""
    if value is not None and (type(value) is not int or value < 1):
        yield f"{name}={shorten(value)}: give a whole number, at least 1, or None"


def _rate(name: str, value: object) -> Iterator[str]:
    if value is not None and not isinstance(value, Rate):
        yield f"{name}={shorten(value)}: give a Rate, such as rate=Rate(100, per=1.0), or None"


def _offload(name: str, value: object) -> Iterator[str]:
    if value == "process":
        yield f"{name}='process' is not supported by this version; give 'thread'"
    elif value is not None and value != "thread":
        yield f"{name}={shorten(value)}: give 'thread', or None"


def _commit(name: str, value: object) -> Iterator[str]:
    if value not in ("at_once", "on_success"):
        yield f"{name}={shorten(value)}: give 'at_once' or 'on_success'"


_CHECKS: Final[Mapping[str, Callable[[str, object], Iterator[str]]]] = {
    "id": step_id_problems,
    "input": type_problems,
    "output": type_problems,
    "state": state_problems,
    "resume": type_problems,
    "suspend": type_problems,
    "retry": _retry,
    "timeout": _timeout,
    "concurrency": concurrency_problems,
    "rate": _rate,
    "offload": _offload,
    "commit": _commit,
}

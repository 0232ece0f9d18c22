"""The hints of user code: what a step takes, gives, and sees of the state.

What lives here: reading annotations, and whether a function can be called as a step is called. What does not: what
the types mean (`schema`), whether the workflow around it is sound (`check`).
"""

from __future__ import annotations

import inspect
import re
import typing
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Final, Generic, TypeVar, cast, get_args, get_origin

import attrs
from attrs import frozen

from . import kinds

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

T = TypeVar("T")

LOCAL_NAMES: Final = "_actorflow_local_names"
"""Where a class keeps the names that its annotations may need from the function in which it is defined."""

_NAME: Final = re.compile(r"[^\W\d]\w*")


class Context(Generic[T]):
    """Stands in for the runtime's `Context`, which this floor cannot import, where user code imports it for type
    checkers only.
    """


@frozen
class Signature:
    """What a function says of itself; None where it says nothing. `problems` has what cannot be understood."""

    data: object | None
    output: object | None
    state: object | None
    problems: tuple[str, ...] = ()


def is_async(function: object) -> bool:
    """Whether calling it gives something to await, also through a decorator that kept `__wrapped__`."""
    if inspect.iscoroutinefunction(function):
        return True
    return callable(function) and inspect.iscoroutinefunction(inspect.unwrap(function))


def is_async_generator(function: object) -> bool:
    """Whether it is `async def` with a `yield` in it."""
    return callable(function) and inspect.isasyncgenfunction(inspect.unwrap(function))


def location(function: object) -> str:
    """`file:line` of a function, of its first decorator if it has one."""
    code = getattr(inspect.unwrap(cast("FunctionType", function)), "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else "unknown place"


def can_take(function: object, count: int) -> bool:
    """Whether it can be called with so many positional arguments and nothing else."""
    try:
        inspect.signature(cast("FunctionType", function)).bind(*([None] * count))
    except (TypeError, ValueError):
        return False
    return True


def read(function: object, parameters: Sequence[str], *scopes: Mapping[str, object]) -> Signature:
    """The types that a function declares.

    Args:
        function: of a step, a hook or a graph's `map`.
        parameters: what it is called with, in order: "self", "data", "ctx"; the function's own names may differ.
        scopes: what its annotations may name besides the globals of its module, inner scopes first.
    """
    inner = inspect.unwrap(cast("FunctionType", function))
    problems: list[str] = []
    given = dict(zip(parameters, _positional(inner), strict=False))
    annotations = getattr(inner, "__annotations__", {})
    found: dict[str, object] = {}
    for role in ("data", "ctx", "return"):  # of the error and the reason that hooks get, the type is known
        name = "return" if role == "return" else given.get(role)
        if name is None or name not in annotations:
            continue
        try:
            found[role] = _evaluate(annotations[name], inner, scopes)
        except Exception as error:  # noqa: BLE001 - an annotation is code of the user's and may raise what it likes
            if role != "ctx":  # a Context that only type checkers know says nothing, and does no harm
                problems.append(_unresolved(name, annotations[name], error))
    output = found.get("return")
    if output in (None, kinds.NoneType, typing.NoReturn, typing.Never):
        output = None
    data = found.get("data")
    if data is None and "data" in found:
        data = kinds.NoneType  # declared to take nothing, which is not the same as undeclared
    return Signature(data, output, _state_of(found.get("ctx")), tuple(problems))


def _positional(function: object) -> list[str]:
    try:
        parameters = inspect.signature(cast("FunctionType", function)).parameters.values()
    except (TypeError, ValueError):
        return []
    return [p.name for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]


def _evaluate(annotation: object, function: object, scopes: Sequence[Mapping[str, object]]) -> object:
    """One annotation as a type; a stand-in for `Context` is taken only where the name means nothing."""
    module = cast("dict[str, object]", getattr(function, "__globals__", {}))
    holder = SimpleNamespace(__annotations__={"it": annotation})
    names: dict[str, object] = {}
    for scope in reversed(scopes):
        names |= scope
    try:
        return _hint(holder, module, names)
    except NameError:
        return _hint(holder, module, {"Context": Context, **names})


def _hint(holder: SimpleNamespace, module: dict[str, object], names: dict[str, object]) -> object:
    hints = typing.get_type_hints(holder, globalns=module, localns=names, include_extras=True)
    return cast("object", hints["it"])


def _unresolved(name: str, annotation: object, error: Exception) -> str:
    shown = annotation if isinstance(annotation, str) else kinds.name_of(annotation)
    where = "the return annotation" if name == "return" else f"the annotation of {name!r}"
    if isinstance(error, NameError):
        return (
            f"{where}, {shown!r}, is not known at run time ({error}); define it at the top level of a module, "
            "and import it outside of `if TYPE_CHECKING`"
        )
    return f"{where}, {shown!r}, is not a type: {type(error).__name__}: {error}"


def _state_of(hint: object) -> object | None:
    """X of `Context[X]`, known by its name: the class itself stands on a higher floor."""
    if get_origin(hint) is typing.Annotated:
        hint = get_args(hint)[0]
    if getattr(get_origin(hint), "__name__", "") != "Context":
        return None
    (found, *_) = get_args(hint)
    if found is None or found is kinds.NoneType or kinds.is_anything(found) or isinstance(found, TypeVar):
        return None
    return cast("object", found)


# --- names of an enclosing function


def local_names(frame: FrameType | None, functions: Sequence[object]) -> dict[str, object]:
    """What the annotations of these functions may name of the function that defines them, if `frame` is one.

    With postponed annotations nothing else keeps those names. Only the ones mentioned are kept, not the whole frame.
    """
    if frame is None or frame.f_locals is frame.f_globals:
        return {}
    scope = frame.f_locals
    found: dict[str, object] = {}
    for function in functions:
        for annotation in getattr(function, "__annotations__", {}).values():
            _gather(annotation, scope, found)
    return found


def _gather(annotation: object, scope: Mapping[str, object], found: dict[str, object]) -> None:
    text = annotation if isinstance(annotation, str) else repr(annotation)
    for name in _NAME.findall(text):
        if name not in scope or name in found:
            continue
        value = found[name] = scope[name]
        if not (isinstance(value, type) and attrs.has(value)):
            continue
        fields = attrs.fields(value)
        for field in fields:
            _gather(field.type, scope, found)
        if any(isinstance(field.type, str) for field in fields):
            try:
                attrs.resolve_types(value, localns=dict(found))
            except NameError:
                continue  # `schema.faults` will name it

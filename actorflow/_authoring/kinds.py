"""What a type hint is made of: its core, its members, its fields, its name in an error text.

What lives here: looking at types, whoever wrote them. What does not: turning data into them (`converter`), hints of
functions (`signature`).
"""

from __future__ import annotations

import dataclasses
import types
import typing
from collections import deque
from collections.abc import (
    Collection,
    Iterable,
    Mapping,
    MutableMapping,
    MutableSequence,
    MutableSet,
    Sequence,
    Set,
)
from typing import (
    Annotated,
    ClassVar,
    Final,
    Literal,
    NewType,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
)

import attrs
from attrs import frozen

from .._core.values import MISSING, shorten

NoneType: Final = type(None)
ANYTHING: Final[object] = typing.Any
"""The hint `Any`, which this package uses as a value only."""

_WRAPPERS: Final = (Final, ClassVar, Required, NotRequired)

LISTS: Final[Mapping[object, type]] = {
    list: list,
    MutableSequence: list,
    Sequence: list,
    Collection: list,
    Iterable: list,
    deque: deque,
    set: set,
    MutableSet: set,
    Set: set,
    frozenset: frozenset,
}
"""Every hint that JSON carries as a list, and what is built from it. A `Sequence` becomes a list."""

MAPPINGS: Final = frozenset({dict, Mapping, MutableMapping})


@frozen
class FieldKind:
    """One field of a record."""

    kind: object
    required: bool


def core(kind: object) -> object:
    """`kind` without what says nothing about the data: Annotated, NewType, Final, Required, aliases, type variables."""
    while True:
        origin = get_origin(kind)
        if origin is Annotated or origin in _WRAPPERS:
            kind = get_args(kind)[0]
        elif isinstance(kind, NewType):
            kind = cast("object", kind.__supertype__)
        elif isinstance(kind, TypeVar):
            # Several constraints mean that one is chosen where the class is used; unchosen, nothing is known.
            kind = ANYTHING if kind.__bound__ is None else kind.__bound__
        elif type(kind).__name__ == "TypeAliasType":  # the `type` statement of Python 3.12
            kind = cast("object", kind.__value__)  # type: ignore[attr-defined]  # Python 3.11 has no such type
        elif kind is None:
            return NoneType
        else:
            return kind


def is_anything(kind: object) -> bool:
    """Whether the hint says nothing: `Any`, `object`."""
    return kind is ANYTHING or kind is object


def class_of(kind: object) -> object:
    """The class behind a hint: that of a generic, or the hint itself."""
    return get_origin(kind) or kind


def is_union(kind: object) -> bool:
    """Whether it is `A | B`, `Union` or `Optional`."""
    return get_origin(kind) in (Union, types.UnionType)


def is_literal(kind: object) -> bool:
    """Whether it is a `Literal`."""
    return get_origin(kind) is Literal


def members(kind: object) -> tuple[object, ...]:
    """The members of a union, unions and aliases in it opened."""
    found: list[object] = []
    for member in get_args(kind):
        inner = core(member)
        found += members(inner) if is_union(inner) else [inner]
    return tuple(found)


def is_typed_dict(kind: object) -> bool:
    """Whether it is a TypedDict, also a generic one."""
    return typing.is_typeddict(cast("type[object]", class_of(kind)))


def is_record(kind: object) -> bool:
    """Whether it has named fields that JSON carries as an object: attrs class, dataclass, TypedDict."""
    cls = class_of(kind)
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls) or is_typed_dict(cls))


def is_named_tuple(kind: object) -> bool:
    """Whether it is a NamedTuple."""
    cls = class_of(kind)
    return isinstance(cls, type) and issubclass(cls, tuple) and hasattr(cls, "_fields")


def is_list(kind: object) -> bool:
    """Whether JSON carries it as a list of items of one kind."""
    return class_of(kind) in LISTS


def is_mapping(kind: object) -> bool:
    """Whether it is a dict or a mapping with keys and values of one kind each."""
    return class_of(kind) in MAPPINGS


def is_tuple(kind: object) -> bool:
    """Whether it is a plain tuple, of one kind or of several."""
    return class_of(kind) is tuple


def arguments(kind: object, count: int) -> tuple[object, ...]:
    """The arguments of a generic hint, `Any` for those not given."""
    return tuple(map(core, get_args(kind))) or (ANYTHING,) * count


def item_kinds(kind: object) -> tuple[object, ...]:
    """The kinds that an item of this list may have; empty if it is not a list. A union gives those of its lists."""
    kind = core(kind)
    if is_anything(kind):
        return (ANYTHING,)
    if is_union(kind):
        return tuple(item for member in members(kind) for item in item_kinds(member))
    if is_list(kind):
        return arguments(kind, 1)
    if is_tuple(kind):
        args = get_args(kind)
        return args[:1] if len(args) == 2 and args[1] is Ellipsis else () if args else (ANYTHING,)
    return ()


def fields_of(kind: object) -> dict[str, FieldKind]:
    """The fields of a record or NamedTuple, in order, those that `__init__` does not take left out.

    Raises `NameError` for a field type that cannot be named at run time.
    """
    cls = cast("type[object]", class_of(kind))
    if attrs.has(cls):
        attrs.resolve_types(cls)
        found = {
            field.name: FieldKind(ANYTHING if field.type is None else field.type, field.default is attrs.NOTHING)
            for field in attrs.fields(cls)
            if field.init
        }
    elif dataclasses.is_dataclass(cls):
        hints = typing.get_type_hints(cls, include_extras=True)
        found = {
            field.name: FieldKind(
                hints[field.name],
                field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING,
            )
            for field in dataclasses.fields(cls)
            if field.init
        }
    elif is_typed_dict(cls):
        found = _typed_dict_fields(cls)
    else:
        hints = typing.get_type_hints(cls, include_extras=True)
        names = cast("tuple[str, ...]", cls._fields)  # type: ignore[attr-defined]  # a NamedTuple has it
        defaults = cast("Mapping[str, object]", cls._field_defaults)  # type: ignore[attr-defined]  # the same
        found = {name: FieldKind(hints.get(name, ANYTHING), name not in defaults) for name in names}
    return _filled(found, kind)


def default_of(kind: object, name: str) -> object:
    """The default of one field of a record, made anew; MISSING if it has none of its own (a key of a TypedDict)."""
    cls = cast("type[object]", class_of(kind))
    if attrs.has(cls):
        default: object = attrs.fields_dict(cls)[name].default
        factory = cast("object", getattr(default, "factory", None))
        if not callable(factory) or type(default).__name__ != "Factory":
            return default
        return MISSING if getattr(default, "takes_self", False) else factory()
    if dataclasses.is_dataclass(cls):
        (found,) = (field for field in dataclasses.fields(cls) if field.name == name)
        if found.default is not dataclasses.MISSING:
            return cast("object", found.default)
        assert found.default_factory is not dataclasses.MISSING
        return cast("object", found.default_factory())
    return MISSING


def _typed_dict_fields(cls: type[object]) -> dict[str, FieldKind]:
    # With postponed annotations `__required_keys__` does not see NotRequired: the resolved hint is asked first.
    required = cast("frozenset[str]", cls.__required_keys__)  # type: ignore[attr-defined]  # a TypedDict has it
    found: dict[str, FieldKind] = {}
    for name, hint in typing.get_type_hints(cls, include_extras=True).items():
        wrapper = get_origin(hint)
        needed = wrapper is Required or (wrapper is not NotRequired and name in required)
        found[name] = FieldKind(get_args(hint)[0] if wrapper in (Required, NotRequired) else hint, needed)
    return found


def _filled(found: dict[str, FieldKind], kind: object) -> dict[str, FieldKind]:
    """The fields with the type variables of a generic replaced by its arguments."""
    variables = getattr(get_origin(kind), "__parameters__", ())
    if not variables:
        return found
    given = dict(zip(variables, get_args(kind), strict=False))

    def fill(hint: object) -> object:
        if isinstance(hint, TypeVar):
            return given.get(hint, hint)
        own = getattr(hint, "__parameters__", ())
        if not own or isinstance(hint, type):
            return hint
        return cast("object", hint[tuple(given.get(variable, variable) for variable in own)])  # type: ignore[index]  # a generic alias

    return {name: FieldKind(fill(field.kind), field.required) for name, field in found.items()}


def name_of(kind: object) -> str:
    """How the author would write the hint."""
    if is_anything(kind):
        return "Any"
    if kind is None or kind is NoneType:
        return "None"
    if kind is Ellipsis:
        return "..."
    if isinstance(kind, NewType | TypeVar) or type(kind).__name__ == "TypeAliasType":
        return str(kind.__name__)  # type: ignore[attr-defined]  # each of the three has a name
    origin, args = get_origin(kind), get_args(kind)
    if origin is Annotated or origin in _WRAPPERS:
        return name_of(args[0])
    if is_union(kind):
        return " | ".join(name_of(arg) for arg in args)
    if origin is Literal:
        return f"Literal[{', '.join(shorten(arg, 40) for arg in args)}]"
    if isinstance(kind, type) and not args:
        return kind.__name__
    if args:
        return f"{getattr(origin, '__name__', repr(origin))}[{', '.join(name_of(arg) for arg in args)}]"
    return repr(kind).removeprefix("typing.")


def same_kind(left: object, right: object) -> bool:
    """Whether two hints mean the same data, however they are spelled (`Optional[int]`, `int | None`)."""
    left, right = core(left), core(right)
    if left is right or (is_anything(left) and is_anything(right)):
        return True
    if is_union(left) and is_union(right):
        ours, theirs = members(left), members(right)
        return all(any(same_kind(one, other) for other in theirs) for one in ours) and len(ours) == len(theirs)
    if is_literal(left) or is_literal(right):
        return left == right
    if get_origin(left) is None and get_origin(right) is None:
        return left == right
    ours, theirs = get_args(left), get_args(right)
    return (
        class_of(left) is class_of(right)
        and len(ours) == len(theirs)
        and all(same_kind(one, other) for one, other in zip(ours, theirs, strict=True))
    )

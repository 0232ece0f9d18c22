"""How values that hold other values are read and written: lists, tuples, mappings, records, unions.

What lives here: their hooks. What does not: single values (`scalars`).

A set is a list, sorted when written; a record (attrs class, dataclass, TypedDict) is an object, and keys that it does
not know are ignored; a NamedTuple is a list, read also from an object; keys that are no text are written as the text
of their JSON.

A union takes the first member, as written, that the data fits, except that data of exactly the type of a member goes
to that member, that `str` is asked last (a UUID stays a UUID), and that among records the one wins that leaves the
fewest keys unused, then the one that lacks the fewest; a mapping takes what no record fits without a rest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Final, cast, get_args

from cattrs.gen import make_dict_structure_fn

from .._core.values import decode, encode, shorten
from . import kinds
from .converter import CONVERTER, Dump, Load, dump, load, unstructure
from .misfit import PROBLEMS_MAX, Misfit, expected, key_path, problems_of

if TYPE_CHECKING:
    from cattrs import Converter


class _Report:
    """Runs one `load` after the other and keeps the problems of all."""

    def __init__(self) -> None:
        self.problems: dict[str, str] = {}

    def load(self, value: object, kind: object, path: str) -> object:
        """The loaded value, or None and an entry in `problems`."""
        try:
            return load(value, kind)
        except Exception as error:  # noqa: BLE001 - validators of users raise what they like; all of it is reported
            if len(self.problems) < PROBLEMS_MAX:
                self.problems |= problems_of(error, path)
            return None

    def require(self, fields: Mapping[str, kinds.FieldKind], given: Mapping[str, object]) -> None:
        """Note what is missing."""
        for name, part in fields.items():
            if part.required and name not in given:
                self.problems[key_path(name)] = "required"

    def close(self) -> None:
        """Raise what was found."""
        if self.problems:
            raise Misfit(self.problems)


# --- lists and tuples


def _list_hook(kind: object) -> Load:
    (item,) = kinds.arguments(kind, 1)
    build = cast("Callable[[list[object]], object]", kinds.LISTS[kinds.class_of(kind)])
    accepted = {list, tuple, build, *((set, frozenset) if build in (set, frozenset) else ())}
    classes = tuple(cast("set[type]", accepted))

    def hook(value: object, _: object) -> object:
        if not isinstance(value, classes):
            raise expected(kind, value)
        report = _Report()
        found = [report.load(part, item, f"[{i}]") for i, part in enumerate(cast("Iterable[object]", value))]
        report.close()
        return found if build is list else build(found)

    return hook


def _list_dump(kind: object) -> Dump:
    (item,) = kinds.arguments(kind, 1)

    def hook(value: object) -> object:
        found = [dump(part, item) for part in cast("Iterable[object]", value)]
        if isinstance(value, set | frozenset):
            found.sort(key=lambda part: encode(part, unstructure))  # equal sets must give equal text
        return found

    return hook


def _tuple_kinds(kind: object, length: int) -> tuple[object, ...]:
    args = get_args(kind)
    if len(args) == 2 and args[1] is Ellipsis:
        return args[:1] * length
    return args if args or kind is not tuple else (kinds.ANYTHING,) * length  # without arguments: tuple[()]


def _tuple_hook(kind: object) -> Load:
    def hook(value: object, _: object) -> object:
        if not isinstance(value, list | tuple):
            raise expected(kind, value)
        wanted = _tuple_kinds(kind, len(value))
        if len(wanted) != len(value):
            raise Misfit({"": f"expected {kinds.name_of(kind)}, got {len(value)} items"})
        report = _Report()
        found = [report.load(part, wanted[i], f"[{i}]") for i, part in enumerate(value)]
        report.close()
        return tuple(found)

    return hook


def _tuple_dump(kind: object) -> Dump:
    def hook(value: object) -> object:
        items = cast("tuple[object, ...]", value)
        return [dump(part, inner) for part, inner in zip(items, _tuple_kinds(kind, len(items)), strict=True)]

    return hook


# --- mappings


def _mapping_hook(kind: object) -> Load:
    key_kind, value_kind = kinds.arguments(kind, 2)

    def hook(value: object, _: object) -> object:
        if not isinstance(value, Mapping):
            raise expected(kind, value)
        report = _Report()
        found: dict[object, object] = {}
        for key, item in value.items():
            name = _load_key(key, key_kind, report)
            found[name] = report.load(item, value_kind, key_path(key))
        report.close()
        return found

    return hook


def _load_key(key: object, kind: object, report: _Report) -> object:
    """A key: JSON has text only, so `{"5": …}` is how a dict[int, …] is written."""
    first = _Report()
    found = first.load(key, kind, key_path(key))
    if first.problems and isinstance(key, str):
        plain = _json_in(key)
        if not isinstance(plain, str):
            again = _Report()
            found = again.load(plain, kind, "")
            if not again.problems:
                return found
    report.problems |= {path: f"key: {text}" for path, text in first.problems.items()}
    return found


def _json_in(key: str) -> object:
    """The value that this key is the canonical text of, or the key itself."""
    try:
        plain = decode(key)
    except (ValueError, StopIteration):
        return key
    return plain if encode(plain) == key else key


def _mapping_dump(kind: object) -> Dump:
    key_kind, value_kind = kinds.arguments(kind, 2)

    def write_key(key: object) -> object:
        if kinds.is_anything(key_kind):
            return key
        plain = dump(key, key_kind)
        return plain if isinstance(plain, str) else encode(plain, unstructure)

    def hook(value: object) -> object:
        pairs = cast("Mapping[object, object]", value).items()
        return {write_key(key): dump(item, value_kind) for key, item in pairs}

    return hook


# --- records


def _record_hook(kind: object) -> Load:
    if kinds.is_typed_dict(kind):
        return _typed_dict_hook(kind)
    cls = cast("type[object]", kinds.class_of(kind))
    names = list(kinds.fields_of(kind))
    build: object = make_dict_structure_fn(cast("type[object]", kind), CONVERTER)

    def hook(value: object, _: object) -> object:
        if isinstance(value, cls):
            value = {name: getattr(value, name) for name in names}
        elif not isinstance(value, Mapping):
            raise expected(kind, value)
        return cast("Load", build)(value, kind)

    return hook


# cattrs goes by `__required_keys__`, which with postponed annotations counts what is NotRequired as required.
def _typed_dict_hook(kind: object) -> Load:
    fields = kinds.fields_of(kind)

    def hook(value: object, _: object) -> object:
        if not isinstance(value, Mapping):
            raise expected(kind, value)
        report = _Report()
        report.require(fields, value)
        found = {name: report.load(value[name], fields[name].kind, key_path(name)) for name in fields if name in value}
        report.close()
        return found

    return hook


def _typed_dict_dump(kind: object) -> Dump:
    fields = kinds.fields_of(kind)

    def hook(value: object) -> object:
        given = cast("Mapping[str, object]", value)
        return {name: dump(given[name], field.kind) for name, field in fields.items() if name in given}

    return hook


def _named_tuple_hook(kind: object) -> Load:
    cls = cast("type[object]", kinds.class_of(kind))
    make = cast("Callable[[Iterable[object]], object]", cls._make)  # type: ignore[attr-defined]  # a NamedTuple has it
    defaults = cast("Mapping[str, object]", cls._field_defaults)  # type: ignore[attr-defined]  # the same
    fields = kinds.fields_of(kind)

    def hook(value: object, _: object) -> object:
        if isinstance(value, Mapping):
            given: Mapping[str, object] = value
        elif isinstance(value, list | tuple) and len(value) <= len(fields):
            given = dict(zip(fields, value, strict=False))
        else:
            raise expected(kind, value)
        report = _Report()
        report.require(fields, given)
        found = [
            report.load(given[name], field.kind, key_path(name)) if name in given else defaults.get(name)
            for name, field in fields.items()
        ]
        report.close()
        return make(found)

    return hook


def _named_tuple_dump(kind: object) -> Dump:
    inner = [field.kind for field in kinds.fields_of(kind).values()]

    def hook(value: object) -> object:
        items = cast("tuple[object, ...]", value)
        return [dump(part, hint) for part, hint in zip(items, inner, strict=True)]

    return hook


# --- unions

_EXACT, _INSTANCE, _OTHER, _LAST = range(4)
_NONE: Final = (0, 0)
_FAR: Final = 1 << 30
_JSON_CONTAINERS: Final = (dict, list)
"""Being exactly one of these says nothing: records and sets look the same in JSON."""


def _rank(value: object, member: object) -> int:
    """How early this member is asked."""
    cls = kinds.class_of(member)
    if kinds.is_anything(member) or cls is str:
        return _LAST
    if cls is type(value) and cls not in _JSON_CONTAINERS:
        return _EXACT
    if cls in (int, float):
        return _LAST
    if isinstance(cls, type) and not kinds.is_typed_dict(cls) and cls is not dict and isinstance(value, cls):
        return _INSTANCE if cls not in _JSON_CONTAINERS else _OTHER
    return _OTHER


def _choose(value: object, members: Sequence[object]) -> tuple[object, object]:
    """The member that the value belongs to, and the value as that."""
    fits: list[tuple[tuple[int, int], object, object]] = []
    tried: list[tuple[object, Exception]] = []
    for member in sorted(members, key=lambda member: _rank(value, member)):
        try:
            found = load(value, member)
        except Exception as error:  # noqa: BLE001 - whatever a member raises means that it is not this one
            tried.append((member, error))
            continue
        distance = _distance(value, member)
        if distance == _NONE:
            return member, found
        fits.append((distance, member, found))
    if fits:
        _, member, found = min(fits, key=lambda fit: fit[0])
        return member, found
    # One candidate of the right shape: its own problems say more than "none of these".
    near = [error for member, error in tried if _same_shape(value, member)]
    if len(near) == 1:
        raise Misfit(problems_of(near[0], ""))
    raise Misfit({"": f"expected {' | '.join(map(kinds.name_of, members))}, got {shorten(value, 60)}"})


def _distance(value: object, member: object) -> tuple[int, int]:
    """How many keys of an object the member leaves unused, and how many of its own the object lacks."""
    if isinstance(value, Mapping) and kinds.is_record(member):
        fields = kinds.fields_of(member).keys()
        return len(value.keys() - fields), len(fields - value.keys())
    return (0, _FAR) if isinstance(value, Mapping) and kinds.is_mapping(member) else _NONE


def _same_shape(value: object, member: object) -> bool:
    if isinstance(value, Mapping):
        return kinds.is_record(member) or kinds.is_mapping(member) or kinds.is_named_tuple(member)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        return kinds.is_list(member) or kinds.is_tuple(member) or kinds.is_named_tuple(member)
    return kinds.class_of(member) is type(value)


def _only(members: Sequence[object]) -> object | None:
    """The other member of an Optional; None for any other union."""
    rest = [member for member in members if member is not kinds.NoneType]
    return rest[0] if len(rest) == 1 and len(members) == 2 else None


def _union_hook(kind: object) -> Load:
    members = kinds.members(kind)
    only = _only(members)
    if only is not None:
        return lambda value, _: None if value is None else load(value, only)
    return lambda value, _: _choose(value, members)[1]


def _union_dump(kind: object) -> Dump:
    members = kinds.members(kind)
    only = _only(members)
    if only is not None:
        return lambda value: None if value is None else dump(value, only)
    return lambda value: None if value is None else dump(value, _choose(value, members)[0])


def register(converter: Converter) -> None:
    """Teach the converter everything that holds other values. What is registered last is asked first."""
    for fits, read, write in [
        (kinds.is_list, _list_hook, _list_dump),
        (kinds.is_tuple, _tuple_hook, _tuple_dump),
        (kinds.is_mapping, _mapping_hook, _mapping_dump),
        (kinds.is_named_tuple, _named_tuple_hook, _named_tuple_dump),
        (kinds.is_union, _union_hook, _union_dump),
    ]:
        converter.register_structure_hook_factory(fits, read)
        converter.register_unstructure_hook_factory(fits, write)
    converter.register_structure_hook_factory(kinds.is_record, _record_hook)
    converter.register_unstructure_hook_factory(kinds.is_typed_dict, _typed_dict_dump)

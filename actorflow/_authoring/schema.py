"""Typed data: annotations to JSON text and back, with the path to every bad field.

What lives here: `Schema`, one declared type; `StateSchema`, a state type whose fields are the keys of a run store;
`faults`, why a type cannot be either. What does not: how each kind of value is read and written (`scalars`,
`containers`), limits on sizes (the caller's business).

Without a declared type data is plain JSON. With one it must fit: primitives are strict, unknown fields of an object
are ignored, and what travels is what the type makes of the data (defaults filled in, `1` for a float as `1.0`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from enum import Enum, Flag
from functools import reduce
from operator import or_
from typing import TYPE_CHECKING, Final, get_args

from attrs import field, frozen
from cattrs.errors import StructureHandlerNotFoundError

from .._core.values import MISSING, decode, encode, shorten
from ..errors import InputError, NotJsonError, StateKeyError, StateTypeError
from . import containers, kinds, scalars
from .converter import CONVERTER, dump, load, unstructure
from .kinds import FieldKind
from .misfit import key_path, problems_of

if TYPE_CHECKING:
    from .._ids import JsonText

__all__ = ["PLAIN", "Schema", "StateSchema", "faults", "schema_of", "unstructure"]

scalars.register(CONVERTER)
containers.register(CONVERTER)

_SHOWN_MAX: Final = 10
"""Problems that an error text spells out; `problems` has all."""


def _misfit(what: str, kind: object, problems: Mapping[str, str]) -> InputError:
    shown = [f"{path}: {text}" for path, text in list(problems.items())[:_SHOWN_MAX]]
    more = f" (and {len(problems) - _SHOWN_MAX} more)" if len(problems) > _SHOWN_MAX else ""
    return InputError(f"{what} does not fit {kinds.name_of(kind)}: {'; '.join(shown)}{more}", problems=problems)


def _encode(value: object, what: str) -> JsonText:
    try:
        return encode(value, unstructure)
    except NotJsonError as error:
        text = f"{what}: {error}"
        raise NotJsonError(text, path=error.path, problems={error.path: str(error)}) from error.__cause__


@frozen(eq=False)
class Schema:
    """One declared type; `kind` is None where the author declared none: then data is plain JSON (see `PLAIN`)."""

    kind: object | None

    def structure(self, text: str, what: str) -> object:
        """JSON text as a typed object; `what` says whose data it is, for the error.

        Raises `InputError` whose `problems` has every bad field.
        """
        return self._load(decode(text), what)

    def unstructure(self, value: object, what: str) -> JsonText:
        """A value, typed or as JSON data or mixed, as checked JSON text in the form that the type gives it.

        Raises `InputError` for what does not fit, `NotJsonError` for what JSON cannot carry, `ValueTooLarge` for an
        integer of more than 4,300 digits.
        """
        return _encode(dump(self._load(value, what), self.kind), what)

    def check(self, value: object, what: str) -> JsonText:
        """`unstructure`, under the name for data that comes from outside."""
        return self.unstructure(value, what)

    def _load(self, value: object, what: str) -> object:
        try:
            return load(value, self.kind)
        except Exception as error:  # validators of users raise what they like; all of it is reported
            raise _misfit(what, self.kind, problems_of(error, "$")) from error


class _Plain(Schema):
    def structure(self, text: str, what: str) -> object:
        return decode(text)

    def unstructure(self, value: object, what: str) -> JsonText:
        return _encode(value, what)


PLAIN: Final[Schema] = _Plain(None)
"""No declared type."""


def schema_of(kind: object | None) -> Schema:
    """The schema of a hint that has no `faults`; None, `Any` and `object` are no declared type."""
    return PLAIN if kind is None or kinds.is_anything(kinds.core(kind)) else Schema(kind)


@frozen(eq=False)
class StateSchema:
    """A state type: an attrs class (or dataclass, TypedDict) whose fields are the keys of the run store.

    Validators and converters of the class are run where the whole of it is seen (`defaults`, `view`); a verb on one
    key is held to the type of its field.
    """

    kind: type
    fields: Mapping[str, FieldKind] = field(init=False)
    keys: frozenset[str] = field(init=False)

    @fields.default
    def _find_fields(self) -> Mapping[str, FieldKind]:
        return kinds.fields_of(self.kind)

    @keys.default
    def _find_keys(self) -> frozenset[str]:
        return frozenset(self.fields)

    def defaults(self, initial: object | None) -> dict[str, JsonText]:
        """Every key that has a value when a run starts.

        Args:
            initial: an instance of the type, a mapping of some of its keys, or None.

        Raises `InputError` for a required field without a value, a bad value, an unknown key, all at once.
        """
        what = "initial state"
        problems: dict[str, str] = {}
        given = {} if initial is None else initial
        if isinstance(given, Mapping):
            known = ", ".join(self.fields) or "none"
            problems = {f"${key_path(key)}": f"unknown key; the state has: {known}" for key in given.keys() - self.keys}
            given = {key: value for key, value in given.items() if key in self.keys}
        elif kinds.is_typed_dict(self.kind) or not isinstance(given, self.kind):
            wanted = f"expected {kinds.name_of(self.kind)} or a mapping, got {shorten(given, 60)}"
            raise _misfit(what, self.kind, {"$": wanted})
        typed: object = None
        try:
            typed = load(given, self.kind)
        except Exception as error:  # noqa: BLE001 - validators of users raise what they like; all of it is reported
            problems |= problems_of(error, "$")
        if problems:
            raise _misfit(what, self.kind, problems)
        found: dict[str, JsonText] = {}
        for key, part in self.fields.items():
            if not isinstance(typed, dict):
                found[key] = _encode(dump(getattr(typed, key), part.kind), f"{what}, key {key!r}")
            elif key in typed:
                found[key] = _encode(dump(typed[key], part.kind), f"{what}, key {key!r}")
        return found

    def defaults_beside(self, present: Collection[str]) -> dict[str, JsonText]:
        """The defaults of the keys that are not among those `present`.

        Raises `InputError` naming every required key that is not there.
        """
        found: dict[str, JsonText] = {}
        problems: dict[str, str] = {}
        for key, part in self.fields.items():
            if key in present:
                continue
            if part.required:
                problems[f"$.{key}"] = "required, and not in the state that is inherited; give initial_state"
                continue
            value = kinds.default_of(self.kind, key)
            if value is not MISSING:
                found[key] = _encode(dump(value, part.kind), f"initial state, key {key!r}")
        if problems:
            raise _misfit("inherited state", self.kind, problems)
        return found

    def view(self, values: Mapping[str, object]) -> object:
        """Decoded JSON values as an instance; other keys are ignored, those not there have their default.

        Raises `InputError` if the class does not accept them.
        """
        try:
            return load(values, self.kind)
        except Exception as error:  # as in Schema
            raise _misfit("state", self.kind, problems_of(error, "$")) from error

    def check_key(self, key: str) -> None:
        """Raises `StateKeyError` for a key that is no field."""
        if key not in self.keys:
            known = shorten(", ".join(self.fields), 400)
            text = f"key {shorten(key)} is not in the state {kinds.name_of(self.kind)}, which has {known}"
            raise StateKeyError(f"{text}; add it to the class or use one of these", key=key)

    def check_value(self, key: str, text: str) -> JsonText:
        """The JSON text of a value as its field writes it; raises `StateTypeError` if it does not fit."""
        return self.write_value(key, decode(text))

    def check_item(self, key: str, text: str) -> JsonText:
        """The same for one item of a list field."""
        return self.write_item(key, decode(text))

    def write_value(self, key: str, value: object) -> JsonText:
        """`check_value` for a value that is not text yet: a set or bytes, too, where the field declares them."""
        self.check_key(key)
        return self._fit(key, value, self.fields[key].kind, "")

    def write_item(self, key: str, item: object) -> JsonText:
        """`check_item` for an item that is not text yet."""
        self.check_key(key)
        items = kinds.item_kinds(self.fields[key].kind)
        if not items:
            wanted = kinds.name_of(self.fields[key].kind)
            raise StateTypeError(f"key {key!r} is declared as {wanted}, which is not a list of one kind", key=key)
        return self._fit(key, item, reduce(or_, items), "[]")

    def check_number(self, key: str, number: int | float) -> None:
        """Raises `StateTypeError` if this number may not be stored under the key, or added to what is there."""
        self.check_key(key)
        self._fit(key, number, self.fields[key].kind, "")

    def _fit(self, key: str, value: object, kind: object, path: str) -> JsonText:
        if kinds.is_anything(kinds.core(kind)):
            return encode(value, unstructure)
        try:
            typed = load(value, kind)
        except Exception as error:  # as in Schema
            problems = problems_of(error, f"$.{key}{path}")
            shown = "; ".join(f"{where}: {text}" for where, text in list(problems.items())[:_SHOWN_MAX])
            name = kinds.name_of(self.kind)
            raise StateTypeError(
                f"the value does not fit key {key!r} of the state {name}: {shown}", key=key, problems=problems
            ) from error
        return encode(dump(typed, kind), unstructure)

    def differences(self, master: StateSchema) -> list[str]:
        """What keeps this type from being a part of the master state: a key that it lacks, or has as another type."""
        found = []
        for key, part in self.fields.items():
            other = master.fields.get(key)
            if other is None:
                found.append(f"{self.kind.__name__}.{key} is not in the state {master.kind.__name__}")
            elif not kinds.same_kind(part.kind, other.kind):
                ours, theirs = kinds.name_of(part.kind), kinds.name_of(other.kind)
                found.append(f"{self.kind.__name__}.{key} is {ours}, but in the state {master.kind.__name__} {theirs}")
        return found


# --- what cannot be data


def faults(kind: object) -> list[str]:
    """Why values of this type cannot be read from JSON and written to it; empty if they can."""
    return list(_faults(kind, "", set()))


def _faults(kind: object, at: str, seen: set[object]) -> Iterator[str]:
    kind = kinds.core(kind)
    where = f"{at}: " if at else ""
    if kinds.is_anything(kind) or kind is Ellipsis:
        return
    if type(kind).__hash__ is None:
        yield f"{where}{shorten(kind)} is not a type"
        return
    if isinstance(kind, str) or type(kind).__name__ == "ForwardRef":
        yield f"{where}the type {kinds.name_of(kind)} is not known at run time"
        return
    if kinds.is_record(kind) or kinds.is_named_tuple(kind):
        yield from _record_faults(kind, where, seen)
        return
    try:
        if isinstance(kind, type) and issubclass(kind, Enum) and not issubclass(kind, Flag):
            encode([member.value for member in kind], unstructure)
        elif kinds.is_literal(kind):
            encode(list(get_args(kind)), unstructure)
        if kinds.is_union(kind) or kinds.is_list(kind) or kinds.is_tuple(kind) or kinds.is_mapping(kind):
            for inner in kinds.members(kind) if kinds.is_union(kind) else get_args(kind):
                yield from _faults(inner, at, seen)
        else:
            CONVERTER.get_structure_hook(kind)
    except NotJsonError as error:
        yield f"{where}{kinds.name_of(kind)}: {error}"
    except StructureHandlerNotFoundError:
        yield (
            f"{where}{kinds.name_of(kind)} cannot be turned into JSON and back; "
            "use JSON types, attrs classes, dataclasses, enums, dates …, or Any"
        )


def _record_faults(kind: object, where: str, seen: set[object]) -> Iterator[str]:
    if kind in seen:
        return
    seen.add(kind)
    name = kinds.name_of(kinds.class_of(kind))
    try:
        fields = kinds.fields_of(kind)
    except NameError as error:
        yield (
            f"{where}{name} has a field whose type {error.name or error} is not known at run time; "
            "define it at the top level of its module, and import it outside of `if TYPE_CHECKING`"
        )
        return
    for part, found in fields.items():
        yield from _faults(found.kind, f"{name}.{part}", seen)

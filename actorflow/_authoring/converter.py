"""The one cattrs converter, strict: data to typed objects and back.

What lives here: `load`, `dump`, `unstructure`. What does not: how each kind is read and written (`scalars`,
`containers`), JSON text (`values`), what a declared type means for a run (`schema`).

`load` takes data and typed objects alike, so that what a user hands over is held to its declared type in the same
way as what comes out of a journal: an instance is taken apart into its fields, and each is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Final, cast

from cattrs import Converter
from cattrs.errors import StructureHandlerNotFoundError

from . import kinds

Load = Callable[[object, object], object]
Dump = Callable[[object], object]


def _unknown(kind: object) -> Load:
    # Before 24.2, cattrs would tell at the first value only, not when the workflow is defined.
    raise StructureHandlerNotFoundError(f"no way to read {kinds.name_of(kind)}", cast("type[object]", kind))


CONVERTER: Final = Converter(detailed_validation=True, structure_fallback_factory=_unknown)


def load(value: object, kind: object) -> object:
    """`value` as `kind`; raises whatever `misfit.problems_of` can explain."""
    return CONVERTER.structure(value, cast("type[object]", kind))


def dump(value: object, kind: object) -> object:
    """A value that `load` gave for `kind`, as JSON types; what stands under `Any` is left as it is."""
    return cast("object", CONVERTER.unstructure(value, kind))


def unstructure(value: object) -> object:
    """A value of no declared type as JSON types; the same object if nothing is known of its type.

    Bytes and sets are among the unknown: without a declared type, nothing could bring them back.
    """
    cls = type(value)
    if isinstance(value, Enum):
        return cast("object", value.value)
    if isinstance(value, date | time | timedelta | Decimal | PurePath) or is_uuid(cls) or kinds.is_record(cls):
        return dump(value, cls)
    return value


def is_uuid(kind: object) -> bool:
    """Whether it is `uuid.UUID`; by name, because this floor does not import the module that makes them up."""
    return isinstance(kind, type) and kind.__module__ == "uuid" and kind.__name__ == "UUID"

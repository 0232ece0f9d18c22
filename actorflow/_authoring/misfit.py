"""Data that does not fit its type: where, and what was expected.

What lives here: `Misfit`, and the translation of whatever structuring raises into {path: text}. What does not: the
public `InputError` (`schema` makes it).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from cattrs.errors import ClassValidationError, IterableValidationError

from .._core.values import shorten
from .kinds import name_of

if TYPE_CHECKING:
    from collections.abc import Mapping

PROBLEMS_MAX: Final = 1_000
"""Problems reported of one value: a list of a million bad items must not make a report of a million lines."""


class Misfit(ValueError):
    """`problems`: from the path below the value itself ("" is the value, ".price" a field of it) to a text."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems.items()))
        self.problems = problems


def expected(kind: object, value: object) -> Misfit:
    """The misfit of one value; `kind` is a hint, or already a text for one."""
    wanted = kind if isinstance(kind, str) else name_of(kind)
    return Misfit({"": f"expected {wanted}, got {shorten(value, 60)}"})


def key_path(key: object) -> str:
    """The step of a path to a key: `.price`, or `["unit price"]` where the dot would mislead."""
    if isinstance(key, str) and key.isidentifier():
        return f".{key}"
    return f"[{json.dumps(key, ensure_ascii=False) if isinstance(key, str) else shorten(key, 40)}]"


def problems_of(error: BaseException, path: str) -> dict[str, str]:
    """Every bad field that the error tells of, by its path."""
    found: dict[str, str] = {}
    _collect(error, path, found)
    return found


def _collect(error: BaseException, path: str, found: dict[str, str]) -> None:
    if len(found) >= PROBLEMS_MAX:
        return
    if isinstance(error, Misfit):
        for inner, text in error.problems.items():
            if len(found) >= PROBLEMS_MAX:
                break
            _add(found, f"{path}{inner}", text)
    elif isinstance(error, ClassValidationError):
        of_fields, of_class = error.group_exceptions()
        for fault, field in of_fields:
            if isinstance(fault, KeyError) and fault.args == (field.name,):
                _add(found, f"{path}{key_path(field.name)}", "required")
            else:
                _collect(fault, f"{path}{key_path(field.name)}", found)
        for fault in of_class:
            _collect(fault, path, found)
    elif isinstance(error, IterableValidationError):
        of_items, of_whole = error.group_exceptions()
        for fault, item in of_items:
            step = f"[{item.index}]" if isinstance(item.index, int) else key_path(item.index)
            _collect(fault, f"{path}{step}", found)
        for fault in of_whole:
            _collect(fault, path, found)
    else:
        _add(found, path, _text(error))


def _add(found: dict[str, str], path: str, text: str) -> None:
    found[path] = f"{found[path]}; {text}" if path in found else text


def _text(error: BaseException) -> str:
    """What a validator, a converter or `__init__` of the user's class said."""
    # Validators of attrs raise with the text first and then the attribute, the class and the value.
    text = error.args[0] if error.args and isinstance(error.args[0], str) else str(error)
    return text if isinstance(error, ValueError) and text else f"{type(error).__name__}: {text}"

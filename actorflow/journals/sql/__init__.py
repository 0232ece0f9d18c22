"""The SQL of the journals: the files beside this one, and the function that reads them. No statement stands in Python.

A file holds statements under names, each after a line `-- name: word`; `schema.sql` is one script.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

_MARK = "-- name: "


def script(name: str) -> str:
    """The whole text of one file."""
    return Path(__file__).with_name(f"{name}.sql").read_text(encoding="utf-8")


def statements(name: str) -> Mapping[str, str]:
    """The statements of one file by their names."""
    _, *parts = script(name).split(_MARK)
    return {part.partition("\n")[0].strip(): part.partition("\n")[2].strip() for part in parts}

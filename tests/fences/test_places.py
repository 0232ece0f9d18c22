"""The named places of the runtime: each is reached by some line, and no line reaches another one."""

from __future__ import annotations

import re
from pathlib import Path

import actorflow
from actorflow._runtime import places

RUNTIME = Path(actorflow.__file__).parent / "_runtime"
NAMES = {name: value for name, value in vars(places).items() if name.isupper() and isinstance(value, str)}


def test_every_name_stands_in_the_table() -> None:
    """With what it means."""
    assert sorted(NAMES.values()) == sorted(places.PLACES)
    assert all(places.PLACES.values())


def test_every_place_is_reached_somewhere() -> None:
    """A name that no line tells would never be seen, and its counter would stay 0 for ever."""
    text = "".join(path.read_text(encoding="utf-8") for path in RUNTIME.glob("*.py") if path.name != "places.py")
    told = set(re.findall(r"places\.([A-Z_]+)", text))
    own = set(re.findall(r"probe\(([A-Z_]+)\)", (RUNTIME / "places.py").read_text(encoding="utf-8")))
    assert told | own == NAMES.keys()


def test_a_place_that_nobody_tells_is_noticed() -> None:
    """The pattern sees what it should."""
    assert re.findall(r"places\.([A-Z_]+)", "kernel.reached(places.COMMIT)") == ["COMMIT"]

"""docs/acceptance.md leaves no scenario out and names tests that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "acceptance.md"
ROW = re.compile(r"^\| (?P<id>[MNP]\d+) \|(?P<cells>.*)\|$", re.MULTILINE)
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")
SCENARIOS = [
    *(f"M{number}" for number in range(1, 13)),
    *(f"N{number}" for number in range(1, 15)),
    *(f"P{number}" for number in range(1, 31)),
]


def names_in(path: Path) -> set[str]:
    """The functions, classes and assigned names at the top of a module."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_every_scenario_has_its_row() -> None:
    """The three lists are complete and in order."""
    assert [row["id"] for row in ROW.finditer(PAGE.read_text(encoding="utf-8"))] == SCENARIOS


def test_every_row_names_a_test() -> None:
    """Each row has its four cells, none of them empty, and at least one test in the last."""
    for row in ROW.finditer(PAGE.read_text(encoding="utf-8")):
        cells = [cell.strip() for cell in row["cells"].split("|")]
        assert len(cells) == 3, row["id"]
        assert all(cells), row["id"]
        assert NAMED.findall(cells[2]), row["id"]


def test_every_named_test_exists() -> None:
    """A renamed or removed test is noticed here, before a reader looks for it."""
    missing = []
    for file, name in NAMED.findall(PAGE.read_text(encoding="utf-8")):
        path = ROOT / "tests" / file
        if not path.is_file() or name not in names_in(path):
            missing.append(f"{file}::{name}")
    assert missing == []

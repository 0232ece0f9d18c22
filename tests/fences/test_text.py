"""No file of the project speaks of the machine it was written on, or of where its packages came from."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.fences.tree import ROOT, project_files, relative

# Written in pieces, so that this file does not hold what it looks for.
HOMES = "|".join(["home/[a-z_][\\w-]*", "root", "Users/\\w+", "work", "workspace", "builds", "tmp/[\\w.-]+"])
MACHINE_PATH = re.compile(rf"(?<![\w.~:<>)}}-])/(?:{HOMES})/[\w.-]|[A-Z]:\\Users\\")
REGISTRIES = re.compile(
    "|".join(
        [
            r"pypi\." + "org",
            "pythonhosted" + r"\.",
            r"npmjs\." + "(?:com|org)",
            r"proxy\." + r"golang\.org",
            r"crates\." + "io",
            r"anaconda\." + "(?:com|org)",
            r"\b(?:arti" + r"factory|nexus)\.\w",
            "index" + "-url",
        ]
    ),
    re.IGNORECASE,
)


def complaints(text: str) -> list[str]:
    """Every machine path and registry host in a text, with its line number."""
    found = []
    for number, line in enumerate(text.splitlines(), start=1):
        found += [f"{number}: {match[0]}" for pattern in (MACHINE_PATH, REGISTRIES) for match in pattern.finditer(line)]
    if str(ROOT) in text:
        found.append(f"the folder of this copy: {ROOT}")
    return found


def readable(path: Path) -> str | None:
    """The text of a file, or None if it holds bytes that are no text."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None


def test_no_file_names_a_machine_or_a_registry() -> None:
    """No tracked file holds an absolute path of some machine or the host of a package registry."""
    found = {}
    for path in project_files():
        text = readable(path)
        problems = complaints(text) if text is not None else []
        if problems:
            found[relative(path)] = problems
    assert found == {}


def test_no_lock_file_is_tracked() -> None:
    """Lock files record where packages came from; the constraints file holds names and versions only."""
    assert [relative(path) for path in project_files() if path.name in {"uv.lock", "poetry.lock", "Pipfile.lock"}] == []
    lines = (ROOT / "constraints-dev.txt").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if not re.fullmatch(r"#.*|[\w.-]+==[\w.]+", line)] == []


@pytest.mark.parametrize(
    "text",
    [
        "/ho" + "me/ada/project",
        "see /ro" + "ot/.venv/bin",
        "/t" + "mp/checkout-1/actorflow",
        "C:\\Us" + "ers\\ada",
        "https://pyp" + "i.org/simple",
        "--index" + "-url x",
        f"in {ROOT}/x",
    ],
)
def test_a_machine_path_or_registry_is_noticed(text: str) -> None:
    """The check sees the usual shapes."""
    assert complaints(text)


@pytest.mark.parametrize("text", ["sqlite:/tmp/runs.db", "ctx.root_store/x", "a/work/b", "GET /runs/1", "~/work/x"])
def test_an_ordinary_path_is_left_alone(text: str) -> None:
    """The check does not take every slash for a machine path."""
    assert complaints(text) == []

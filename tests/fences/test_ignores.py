"""A check that is switched off says why, where it is switched off."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.fences.tree import ROOT, comments, project_files, relative

# What switches a check off, with the codes it names; the rest of the comment has to be the reason.
SWITCHES = [
    (re.compile(r"#\s*noqa\b(?::\s*(?P<codes>[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*))?(?P<rest>.*)"), "noqa"),
    (re.compile(r"#\s*ruff:\s*noqa\b(?::\s*(?P<codes>[A-Z]+\d+(?:[,\s]+[A-Z]+\d+)*))?(?P<rest>.*)"), "ruff: noqa"),
    (re.compile(r"#\s*type:\s*ignore\b(?:\[(?P<codes>[\w\-, ]+)\])?(?P<rest>.*)"), "type: ignore"),
    (re.compile(r"#\s*mypy:\s*(?P<codes>[\w\-]+)(?P<rest>.*)"), "mypy"),
    (re.compile(r"#\s*pragma:\s*(?P<codes>no cover)(?P<rest>.*)"), "pragma"),
]
REASON_WORDS = 2


def complaints(source: str) -> Iterator[tuple[int, str]]:
    """Every switch in the comments of a file that names no code, or gives no reason, with its line."""
    for line, comment in comments(source):
        for pattern, kind in SWITCHES:
            found = pattern.search(comment)
            if found is None:
                continue
            if found["codes"] is None:
                yield line, f"{kind} without a code"
            elif len(re.findall(r"\w{2,}", found["rest"])) < REASON_WORDS:
                yield line, f"{kind} without a reason"


def test_every_ignore_has_a_reason() -> None:
    """No comment in any Python file of the project switches a check off without a code and a reason."""
    found = [
        f"{relative(path)}:{line}: {problem}"
        for path in project_files()
        if path.suffix == ".py"
        for line, problem in complaints(path.read_text(encoding="utf-8"))
    ]
    assert found == []


def test_every_ignore_of_the_configuration_has_a_reason() -> None:
    """In pyproject.toml each ignored code and each loosened mypy option stands on a line with a comment."""
    loosened = re.compile(r'^\s*(?:"(?:D|[A-Z]{1,4}\d)\w*",|"[^"]+" = \[".*"\]|ignore_missing_imports\b|module = )')
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    section = re.search(r"^ignore = \[\n(?P<codes>.*?)^\]", text, re.DOTALL | re.MULTILINE)
    files = re.search(r"^\[tool\.ruff\.lint\.per-file-ignores\]\n(?P<codes>.*?)^\[", text, re.DOTALL | re.MULTILINE)
    mypy = re.findall(r"^\[\[tool\.mypy\.overrides\]\]\n(.*?)(?=^\[)", text, re.DOTALL | re.MULTILINE)
    assert section is not None
    assert files is not None
    lines = [line for part in (section["codes"], files["codes"]) for line in part.splitlines() if loosened.match(line)]
    assert lines, "the expressions above no longer fit the file"
    assert [line for line in lines if "#" not in line] == []
    assert [part for part in mypy if "#" not in part] == []


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("x = 1  # noqa", "noqa without a code"),
        ("x = 1  # noqa: E501", "noqa without a reason"),
        ("x = 1  # noqa: BLE001, E501 - the boundary records whatever comes", None),
        ("x = 1  # type: ignore", "type: ignore without a code"),
        ("x = 1  # type: ignore[arg-type]", "type: ignore without a reason"),
        ("x = 1  # type: ignore[arg-type]  # the stub of the library is wrong here", None),
        ("x = 1  # pragma: no cover", "pragma without a reason"),
        ("x = '# noqa'", None),
    ],
)
def test_a_bare_ignore_is_noticed(line: str, problem: str | None) -> None:
    """The check tells a reasoned switch from a bare one, and a comment from a string."""
    assert [text for _, text in complaints(line + "\n")] == ([problem] if problem else [])

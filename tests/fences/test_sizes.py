"""Files and functions stay small enough to be read at one go, and no file is a drawer for everything."""

from __future__ import annotations

from tests.fences.tree import functions, package_files, relative

FILE_LINES = 400
FUNCTION_LINES = 70
DRAWERS = {"utils.py", "util.py", "helpers.py", "helper.py", "common.py", "misc.py"}

# Path, or path::function, to the reason why this one is better long than cut. An entry that is no longer needed fails.
LONG: dict[str, str] = {}


def too_long() -> dict[str, int]:
    """Every file and function over its limit, with its length."""
    found = {}
    for path in package_files():
        source = path.read_text(encoding="utf-8")
        if source.count("\n") > FILE_LINES:
            found[relative(path)] = source.count("\n")
        found |= {f"{relative(path)}::{name}": size for name, size in functions(source) if size > FUNCTION_LINES}
    return found


def test_nothing_is_too_long_without_a_reason() -> None:
    """No file has over 400 lines and no function over 70, except those listed with a reason."""
    assert {name: size for name, size in too_long().items() if name not in LONG} == {}


def test_no_exception_outlives_its_need() -> None:
    """What is listed as long still is, and says why."""
    assert sorted(set(LONG) - set(too_long())) == []
    assert [name for name, reason in LONG.items() if len(reason.split()) < 4] == []


def test_no_file_is_a_drawer() -> None:
    """What two modules share is the noun it is about, never utils, helpers or common."""
    assert [relative(path) for path in package_files() if path.name in DRAWERS] == []


def test_length_is_counted_without_the_docstring() -> None:
    """The measure sees nested functions and methods by their qualified names, and leaves docstrings out."""
    source = 'class A:\n    def f(self):\n        """One.\n\n        Two."""\n        x = 1\n\n        def g(): pass\n'
    assert dict(functions(source)) == {"A.f": 3, "A.f.g": 1}

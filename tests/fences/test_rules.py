"""A test stands for every rule of the semantics page, and tests/README.md says which."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from tests.fences import rule_table
from tests.fences.tree import project_files

RULES = rule_table.rules(rule_table.SEMANTICS.read_text(encoding="utf-8")) if rule_table.SEMANTICS.is_file() else []


def test_the_semantics_page_has_its_rules() -> None:
    """The page is there, has its seven sections, and numbers each of them without a gap."""
    assert {rule[0] for rule in RULES} == set("ABCDEFG")
    for letter in "ABCDEF":
        numbers = [int(rule[1:]) for rule in RULES if rule[0] == letter]
        assert numbers == list(range(1, len(numbers) + 1)), letter


def test_every_rule_has_a_test() -> None:
    """No rule is without a test, except those of machinery that does not exist yet."""
    tests = rule_table.collect()
    assert [rule for rule in RULES if rule not in rule_table.NOT_YET and not tests.get(rule)] == []


def test_a_rule_that_has_a_test_is_no_longer_called_missing() -> None:
    """The list of what is not built yet names only rules of the page, and none that has a test."""
    assert sorted(rule_table.NOT_YET - set(RULES)) == []
    assert sorted(rule_table.NOT_YET & set(rule_table.collect())) == []


def test_no_test_stands_for_an_unknown_rule() -> None:
    """Every id in a mark is a rule of the page."""
    assert {rule: tests for rule, tests in rule_table.collect().items() if rule not in RULES} == {}


def test_the_table_is_up_to_date() -> None:
    """tests/README.md holds the table that the marks give now."""
    readme = (rule_table.TESTS / "README.md").read_text(encoding="utf-8")
    assert rule_table.current(readme) == rule_table.table(RULES, rule_table.collect()), (
        "run: python -m tests.fences.rule_table --write"
    )


def test_every_folder_of_tests_has_an_address() -> None:
    """The first table of tests/README.md lists the folders below tests/, each once, and no other."""
    readme = (rule_table.TESTS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `(\w+)/` \|", readme, re.MULTILINE)
    ours = [path.relative_to(rule_table.TESTS).parts for path in project_files() if rule_table.TESTS in path.parents]
    assert sorted(listed) == sorted({parts[0] for parts in ours if len(parts) > 1})


def test_rules_are_read_from_headings_and_numbers() -> None:
    """A section letter and a number make an id; nested numbers and other headings make none, a bare section is one."""
    page = "# S\n1. no\n## A. One\n1. x\n   2. nested\n2. y\n## Notes\n1. no\n## G. Close\nBody ends.\n"
    assert rule_table.rules(page) == ["A1", "A2", "G"]


def test_marks_are_found_wherever_pytest_finds_them(tmp_path: Path) -> None:
    """Decorators, parameters, classes and pytestmark all count, and a function that is no test does not."""
    source = """
        import pytest
        pytestmark = pytest.mark.rule("A1")
        @pytest.mark.rule("B5", "B6")
        async def test_one(): ...
        @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.rule("C1"))])
        def test_two(x): ...
        def not_a_test(): ...
        @pytest.mark.rule("F1")
        class TestGroup:
            def test_three(self): ...
        TestMade = make()
        TestMade.pytestmark = [pytest.mark.rule("B7")]
    """
    (tmp_path / "test_x.py").write_text(textwrap.dedent(source), encoding="utf-8")
    assert rule_table.collect(tmp_path) == {
        "B7": ["test_x.py::TestMade"],
        "A1": ["test_x.py::test_one", "test_x.py::test_two", "test_x.py::TestGroup::test_three"],
        "B5": ["test_x.py::test_one"],
        "B6": ["test_x.py::test_one"],
        "C1": ["test_x.py::test_two"],
        "F1": ["test_x.py::TestGroup::test_three"],
    }


def test_a_computed_rule_id_is_refused(tmp_path: Path) -> None:
    """An id that cannot be read from the text is an error, not a rule silently left out."""
    (tmp_path / "test_x.py").write_text("@pytest.mark.rule(ID)\ndef test_one(): ...\n", encoding="utf-8")
    with pytest.raises(ValueError, match="written out as strings"):
        rule_table.collect(tmp_path)

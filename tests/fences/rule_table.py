"""The table of tests/README.md: for every rule of docs/semantics.md the tests that stand for it.

Both sides are read as text, nothing is imported. `python -m tests.fences.rule_table --write` brings the table up to
date; without `--write` it prints the table. The test beside it compares.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
SEMANTICS = TESTS.parent / "docs" / "semantics.md"
BEGIN = "<!-- rule-table: written by `python -m tests.fences.rule_table --write` -->"
END = "<!-- /rule-table -->"

# Rules whose machinery does not exist yet. One of them that gains a test has to leave this set.
NOT_YET: frozenset[str] = frozenset()

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


def rules(page: str) -> list[str]:
    """The rule ids of the semantics page, in its order: `## B. …` and `7. …` below it are B7.

    A section without numbers is one rule, named by its letter.
    """
    found: list[str] = []
    letter, numbered = "", True
    for line in [*page.splitlines(), "## end"]:
        if line.startswith("## "):
            if letter and not numbered:
                found.append(letter)
            heading = re.match(r"## ([A-Z])\. ", line)
            letter, numbered = (heading[1], False) if heading else ("", True)
        elif letter and (item := re.match(r"(\d+)\. ", line)):
            numbered = True
            found.append(f"{letter}{item[1]}")
    return found


def marked(node: ast.AST) -> list[str]:
    """The ids of every `pytest.mark.rule(...)` anywhere in an expression."""
    ids = []
    for call in ast.walk(node):
        if isinstance(call, ast.Call) and ast.unparse(call.func).endswith("mark.rule"):
            for argument in call.args:
                if not (isinstance(argument, ast.Constant) and isinstance(argument.value, str)):
                    raise ValueError(f"line {call.lineno}: rule ids are written out as strings")
                ids.append(argument.value)
    return ids


def pairs_of(body: Sequence[ast.stmt], *, inherited: Sequence[str] = (), prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every pair of rule id and test name in a module or class body; `pytestmark` counts for all tests beside it."""
    marks = [*inherited]
    for node in body:
        if isinstance(node, ast.Assign | ast.AnnAssign) and "pytestmark" in ast.unparse(node).split("=")[0]:
            target = ast.unparse(node).split("=")[0].split(":")[0].strip()
            if target == "pytestmark":
                marks += marked(node)
            else:  # TestMachine.pytestmark = …: a class that somebody else's call made
                yield from ((rule, target.removesuffix(".pytestmark")) for rule in marked(node))
    for node in body:
        if not isinstance(node, Definition):
            continue
        own = [*marks, *(rule for decorator in node.decorator_list for rule in marked(decorator))]
        if isinstance(node, ast.ClassDef):
            yield from pairs_of(node.body, inherited=own, prefix=f"{prefix}{node.name}::")
        elif node.name.startswith("test"):
            yield from ((rule, f"{prefix}{node.name}") for rule in own)


def collect(tests: Path = TESTS) -> dict[str, list[str]]:
    """Every rule id that a test names, with `file::test` of each, in order of file and line."""
    found: dict[str, list[str]] = {}
    for path in sorted(tests.rglob("test_*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        for rule, name in pairs_of(module.body):
            entry = f"{path.relative_to(tests).as_posix()}::{name}"
            if entry not in found.setdefault(rule, []):
                found[rule].append(entry)
    return found


def table(names: Sequence[str], tests: dict[str, list[str]]) -> str:
    """The table as it stands in tests/README.md: a row per rule, the tests grouped by file."""
    rows = ["| rule | tests |", "|---|---|"]
    for rule in names:
        files: dict[str, list[str]] = {}
        for entry in tests.get(rule, []):
            file, name = entry.split("::", 1)
            files.setdefault(file, []).append(f"`{name}`")
        cells = [f"[{file}]({file}): {', '.join(found)}" for file, found in files.items()]
        rows.append(f"| {rule} | {'<br>'.join(cells) or ('not built yet' if rule in NOT_YET else '**none**')} |")
    return "\n".join(rows)


def current(readme: str) -> str:
    """The table that stands in the page now."""
    return readme.split(BEGIN, 1)[1].split(END, 1)[0].strip()


def main(arguments: Sequence[str]) -> int:
    """Print the table, or write it into tests/README.md."""
    fresh = table(rules(SEMANTICS.read_text(encoding="utf-8")), collect())
    if "--write" not in arguments:
        print(fresh)  # noqa: T201 - printing the table is what this call is for
        return 0
    readme = TESTS / "README.md"
    before, rest = readme.read_text(encoding="utf-8").split(BEGIN, 1)
    after = rest.split(END, 1)[1]
    readme.write_text(f"{before}{BEGIN}\n{fresh}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

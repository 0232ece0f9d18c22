"""Every dispatch table is total: no command is left undecided, no fact is left unapplied or cannot be stored."""

from __future__ import annotations

import ast
import inspect
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_args

import attrs
import pytest

from actorflow._core import commands, fact, facts, facts_child, facts_graph, facts_run
from actorflow._core.apply import APPLY
from actorflow._core.commands import COMMANDS
from actorflow._core.decide import DECIDE
from actorflow._core.facts import FACTS
from actorflow.journals.tags import TAGS
from tests.fences.tree import ROOT, package_files


def tagged_types(table: object) -> list[object]:
    """The fact classes of the codec's table, whichever way round it is written."""
    assert isinstance(table, dict)
    return [word for pair in table.items() for word in pair if isinstance(word, type)]


def test_every_command_is_decided() -> None:
    """DECIDE has a function for each command and for nothing else."""
    assert set(DECIDE) == set(COMMANDS)


def test_every_fact_is_applied() -> None:
    """APPLY has a function for each fact and for nothing else."""
    assert set(APPLY) == set(FACTS)


def test_every_fact_has_a_tag() -> None:
    """The codec names each fact once and nothing else, and no two facts share a tag."""
    assert set(tagged_types(TAGS)) == set(FACTS)
    assert len(tagged_types(TAGS)) == len(TAGS) == len(FACTS)
    assert len(set(map(repr, TAGS.values()))) == len(TAGS)


FACT_MODULES = (facts_run, facts_child, facts_graph)


@pytest.mark.parametrize(
    ("modules", "union"), [((commands,), COMMANDS), (FACT_MODULES, FACTS)], ids=["commands", "facts"]
)
def test_a_union_lists_its_whole_modules(modules: Sequence[ModuleType], union: tuple[type, ...]) -> None:
    """Each record that the modules define is in its union, once; a record left out would be in no table."""
    records = {
        cls
        for module in modules
        for _, cls in inspect.getmembers(module, attrs.has)
        if cls.__module__ == module.__name__
    }
    parts = {part for cls in records for part in records if part is not cls and mentions(cls, part)}
    assert len(set(union)) == len(union)
    assert records - set(union) <= parts, "neither in the union nor a part of a record that is"
    assert set(union) <= {cls for cls in records | set(union) if attrs.has(cls)}


def mentions(cls: type, part: type) -> bool:
    """Whether a field of one record is typed with the other."""
    return any(part.__name__ in str(field.type) for field in attrs.fields(cls)) or issubclass(cls, part)


@pytest.mark.parametrize("cls", [*COMMANDS, *FACTS], ids=lambda cls: cls.__name__)
def test_a_command_or_fact_is_a_slotted_record(cls: type) -> None:
    """A command and a fact have their declared fields and no others, and name the types of these at run time."""
    assert attrs.has(cls)
    assert "__dict__" not in dir(cls)
    attrs.resolve_types(cls)


# The functions that set attributes by name, past the eyes of the type checker, and on what. No fact among them but one.
UNSEEN = {
    "RunClock._change_hold": "the clock of the tests is stopped and let go",
    "drop_arguments": "facts that nobody else has seen lose their values, in place",
    "RunOutcome.state": "made when it is first looked at",
    "RunOutcome.steps": "made when it is first looked at",
    "load_state": "a run that comes from text, field by field",
    "load_activation": "an activation that comes from text, field by field",
    "load_flow": "the place on a chain that comes from text, field by field",
    "ordered_by": "trio's dice are replaced for a controlled schedule, and given back as they were",
    "rewind": "the virtual clock of a controlled schedule begins at zero again",
    "threads_in_lockstep": "trio's ways into threads are replaced for a controlled schedule, and given back",
    "Workflow.__init_subclass__": "what was found out about a workflow class is kept on it",
    "compile_workflow": "what was found out about a workflow class is kept on it",
}


def test_a_fact_is_declared_as_one() -> None:
    """Each class of the modules stands under `@fact`, and for the type checker that is `attrs.frozen`."""
    modules = [ast.parse(inspect.getsource(module)) for module in FACT_MODULES]
    classes = [node for module in modules for node in module.body if isinstance(node, ast.ClassDef)]
    assert len(classes) == len(FACTS)
    assert {node.name: [ast.unparse(word) for word in node.decorator_list] for node in classes} == {
        cls.__name__: ["fact"] for cls in FACTS
    }
    assert [vars(module)["fact"] for module in FACT_MODULES] == [fact.fact] * len(FACT_MODULES)
    (told,) = [
        node.body
        for node in ast.parse(inspect.getsource(fact)).body
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    ]
    assert [ast.unparse(node) for node in told] == ["from attrs import frozen as fact"]


def test_every_fact_leaves_by_one_module() -> None:
    """`facts` gives out the union, each of its facts, and nothing else; every union of hints names them all."""
    assert set(facts.__all__) == {"FACTS", "Fact", *(cls.__name__ for cls in FACTS)}
    assert set(get_args(facts.Fact)) == set(FACTS)
    assert set(get_args(commands.Command)) == set(COMMANDS)


def test_the_type_checker_refuses_to_change_a_fact(tmp_path: Path) -> None:
    """Whoever assigns to a field of a fact fails the type check, which the package has to pass."""
    snippet = tmp_path / "snippet.py"
    text = "from actorflow._core.facts import StepStarted\n\nstarted = StepStarted(0.0, 1, 1)\n"
    words = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml"), "--cache-dir", str(tmp_path)]
    for line, errors in (("print(started.n)", 0), ("started.n = 2", 1)):
        snippet.write_text(f"{text}{line}\n", encoding="utf-8")
        result = subprocess.run([*words, str(snippet)], cwd=ROOT, capture_output=True, text=True, check=False)
        assert result.returncode == errors, result.stdout + result.stderr
        assert ("read-only" in result.stdout) == bool(errors)


def setters(node: ast.AST, prefix: str = "") -> Iterator[str]:
    """The qualified name of every function that sets attributes by name, once per call."""
    for child in ast.iter_child_nodes(node):
        named = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
        inner = f"{prefix}.{child.name}".lstrip(".") if named else prefix
        if isinstance(child, ast.Call) and ast.unparse(child.func).split(".")[-1] in ("setattr", "__setattr__"):
            yield prefix
        yield from setters(child, inner)


def test_nobody_changes_a_fact_behind_the_type_checker() -> None:
    """Attributes are set by name in the listed functions only: nothing else holds facts unchanged at run time."""
    found = {name for path in package_files() for name in setters(ast.parse(path.read_text(encoding="utf-8")))}
    assert sorted(name.removeprefix("_") for name in found) == sorted(UNSEEN)


def test_a_hidden_write_is_noticed() -> None:
    """The check sees both ways to set an attribute by name, in methods too."""
    source = "class A:\n    def f(self):\n        object.__setattr__(self, 'x', 1)\ndef g(a):\n    setattr(a, 'x', 1)\n"
    assert list(setters(ast.parse(source))) == ["A.f", "g"]


def test_commands_are_asked_in_the_imperative_and_facts_told_in_the_past() -> None:
    """No class is a command and a fact, and no two share a name."""
    names = [cls.__name__ for cls in (*COMMANDS, *FACTS)]
    assert len(names) == len(set(names))

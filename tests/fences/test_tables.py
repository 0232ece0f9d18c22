"""Every dispatch table is total: no command is left undecided, no fact is left unapplied or cannot be stored."""

from __future__ import annotations

import inspect
from types import ModuleType

import attrs
import pytest

from actorflow._core import commands, facts
from actorflow._core.commands import COMMANDS
from actorflow._core.decide import DECIDE
from actorflow._core.facts import FACTS
from actorflow._core.run_state import APPLY
from actorflow.journals.codec import TAGS


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


@pytest.mark.parametrize(("module", "union"), [(commands, COMMANDS), (facts, FACTS)], ids=["commands", "facts"])
def test_a_union_lists_its_whole_module(module: ModuleType, union: tuple[type, ...]) -> None:
    """Each record that the module defines is in its union, once; a record left out would be in no table."""
    records = {cls for _, cls in inspect.getmembers(module, attrs.has) if cls.__module__ == module.__name__}
    parts = {part for cls in records for part in records if part is not cls and mentions(cls, part)}
    assert len(set(union)) == len(union)
    assert records - set(union) <= parts, "neither in the union nor a part of a record that is"
    assert set(union) <= {cls for cls in records | set(union) if attrs.has(cls)}


def mentions(cls: type, part: type) -> bool:
    """Whether a field of one record is typed with the other."""
    return any(part.__name__ in str(field.type) for field in attrs.fields(cls)) or issubclass(cls, part)


@pytest.mark.parametrize("cls", [*COMMANDS, *FACTS], ids=lambda cls: cls.__name__)
def test_a_command_or_fact_is_a_frozen_record(cls: type) -> None:
    """A command and a fact are immutable, and name their field types at run time."""
    assert attrs.has(cls)
    assert cls.__setattr__ is not object.__setattr__, "not frozen"
    attrs.resolve_types(cls)


def test_commands_are_asked_in_the_imperative_and_facts_told_in_the_past() -> None:
    """No class is a command and a fact, and no two share a name."""
    names = [cls.__name__ for cls in (*COMMANDS, *FACTS)]
    assert len(names) == len(set(names))

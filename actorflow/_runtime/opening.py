"""What a runtime is opened with: its workflows.

What lives here: from workflow classes to definitions by id, all findings at once. What does not: the block itself
(`runtime`), how a class is read (`_authoring`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from .._authoring.workflow import resolve
from .._core.values import shorten
from ..errors import DefinitionError

if TYPE_CHECKING:
    from .._authoring.definition import Definition


def each_of(workflows: object) -> Iterable[object]:
    """The workflows that were given, if it is several."""
    if isinstance(workflows, Iterable) and not isinstance(workflows, str | type):
        return workflows
    text = f"open_runtime({shorten(workflows)}): give a list of workflows, such as [MyWorkflow]"
    raise DefinitionError(text, findings=(text,))


def with_nested(definition: Definition) -> Iterator[Definition]:
    """A workflow and all those that stand in it as steps, at any depth."""
    yield definition
    for inner in definition.nested.values():
        yield from with_nested(inner)


def definitions_of(workflows: Iterable[object]) -> dict[str, Definition]:
    """The workflows by id; `DefinitionError` with all findings."""
    found: dict[str, Definition] = {}
    findings: list[str] = []
    for workflow in workflows:
        try:
            definition = resolve(workflow)
        except DefinitionError as error:
            findings.extend(error.findings or [str(error)])
            continue
        findings += add(found, definition)
    findings = list(dict.fromkeys(findings))
    if findings:
        raise DefinitionError("\n".join(findings), findings=tuple(findings))
    return found


def add(known: dict[str, Definition], definition: Definition) -> Iterator[str]:
    """Put a workflow, and what is nested in it, among the known ones; what stands in the way."""
    for inner in with_nested(definition):
        other = known.setdefault(inner.workflow_id, inner)
        if other is not inner and other.target is not inner.target:
            yield (
                f"two workflows have the id {inner.workflow_id!r}: {other.target!r} and {inner.target!r}; "
                "give one of them another id"
            )

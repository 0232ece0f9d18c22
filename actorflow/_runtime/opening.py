"""What a runtime is opened with: its workflows.

What lives here: from workflow classes to definitions by id, all findings at once. What does not: the block itself
(`runtime`), how a class is read (`_authoring`).
"""

from __future__ import annotations

from collections.abc import Iterable
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
        known = found.setdefault(definition.workflow_id, definition)
        if known is not definition and known.target is not definition.target:
            findings.append(
                f"two workflows have the id {definition.workflow_id!r}: {known.target!r} and {definition.target!r}; "
                "give one of them another id"
            )
    if findings:
        raise DefinitionError("\n".join(findings), findings=tuple(findings))
    return found

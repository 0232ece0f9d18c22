"""`actorflow graph`: a workflow as the text of a Mermaid diagram.

What lives here: the command, and the diagram of a class. What does not: the diagram of a graph (`Graph.to_mermaid`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from .options import shared_options

if TYPE_CHECKING:
    from .._authoring.definition import Definition

__all__ = ["graph"]


@click.command()
@click.argument("target", metavar="MODULE_OR_FILE:WORKFLOW")
@shared_options
def graph(target: str, journal: str, as_json: bool) -> int:
    """Print a workflow as a Mermaid diagram.

    A graph is drawn link by link. A class decides only while it runs which step follows which: of it, the steps that
    there are.
    """
    from .._authoring.graph import Graph
    from .._authoring.workflow import resolve
    from .finding import find_workflow
    from .output import print_document

    workflow = find_workflow(target)
    definition = resolve(workflow)
    text = workflow.to_mermaid() if isinstance(workflow, Graph) else diagram_of_class(definition)
    if as_json:
        print_document({"workflow_id": definition.workflow_id, "mermaid": text})
    else:
        click.echo(text.rstrip("\n"))
    return 0


def diagram_of_class(definition: Definition) -> str:
    """The steps of a class-style workflow; dotted, because what follows what is not known before it runs."""
    from .._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR, HOOKS, START

    actions = [step for step in definition.steps if step != START and step not in HOOKS]
    lines = [
        "flowchart TD",
        f"    %% {_one_line(definition.workflow_id)} is a class: its steps decide at run time which ones follow",
        f'    {START}(["{START}"])',
    ]
    last = str(START)
    if actions:
        last = "actions"
        lines.append('    subgraph actions ["scheduled at run time"]')
        lines += [f'        action{number}["{_label(step)}"]' for number, step in enumerate(actions, 1)]
        lines += ["    end", f"    {START} -.-> actions"]
    ends = ((HOOK_COMPLETE, "when all have ended"), (HOOK_ERROR, "on failure"), (HOOK_CANCEL, "on cancel"))
    for hook, when in ends:
        if hook in definition.steps:
            lines += [f'    {hook}(["{hook}"])', f"    {last} -. {when} .-> {hook}"]
    return "\n".join(lines)


def _label(text: str) -> str:
    return _one_line(text).replace("#", "#35;").replace('"', "#quot;")


def _one_line(text: str) -> str:
    return "".join(sign if sign.isprintable() else " " for sign in text)

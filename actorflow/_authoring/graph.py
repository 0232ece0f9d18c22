"""`Graph`: what `.commit()` gives, and what stands for it before.

What lives here: the finished record. What does not: the verbs (`builder`), checking and compiling (`graph_check`,
`graph_compile`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import evolve

from .mermaid import to_mermaid

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .definition import Definition
    from .places import Hook, Place


class Uncommitted:
    """What the verbs of a graph give: no workflow yet."""

    __slots__ = ()


class Graph:
    """A workflow as a graph: what `workflow(…)….commit()` gives. It stands wherever a `Workflow` class can, and
    wherever a step can.

    It cannot be changed, and has no constructor of yours.

    Example:
        >>> from actorflow import step, workflow
        >>> @step
        ... async def greet(data, ctx):
        ...     return f"Hello {data}"
        >>> workflow("greeting").then(greet).commit()
        <Graph 'greeting': greet>
    """

    __slots__ = ("__weakref__", "_definition", "_home", "_hooks", "_places")

    def __init__(
        self,
        compile_for: Callable[[Graph], Definition],
        places: Sequence[Place],
        hooks: Sequence[Hook],
        home: Mapping[str, object],
    ) -> None:
        self._places = tuple(places)
        self._hooks = tuple(hooks)
        self._home: Mapping[str, object] | None = home
        self._definition: Definition = compile_for(self)

    @property
    def id(self) -> str:
        """Its name in journals."""
        return self._definition.workflow_id

    def definition(self) -> Definition:
        """What the runtime runs."""
        if self._home is not None:
            # Its name is not known before it is assigned: hence now, when somebody needs it, and no more than once.
            home, self._home = self._home, None
            self._definition = evolve(self._definition, source=self._source(home))
        return self._definition

    def to_mermaid(self) -> str:
        """The text of a Mermaid flowchart: put it into a code block of the language `mermaid`."""
        return to_mermaid(self._places, self._hooks)

    def _source(self, home: Mapping[str, object]) -> str:
        """Where another process finds it again; "" if the module that made it has no name for it."""
        file = home.get("__file__")
        name = next((name for name, value in list(home.items()) if value is self), None)
        return f"{os.path.abspath(file)}:{name}" if isinstance(file, str) and name is not None else ""

    def __repr__(self) -> str:
        chain = self._definition.plan.chain or ()
        return f"<Graph {self.id!r}: {' → '.join(node.name for node in chain)}>"

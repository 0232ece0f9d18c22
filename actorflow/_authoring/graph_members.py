"""The steps and workflows that stand in a graph, by their ids.

What lives here: telling what a member is, and its `BoundStep`. What does not: the graph's own steps
(`graph_compile`), the options of a step (`step`).
"""

from __future__ import annotations

from types import FunctionType, MethodType
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from .._core.plan import StepPlan
from .._core.values import shorten
from .._ids import HOOKS, START
from ..errors import DefinitionError
from .binding import bind, declared, step_state
from .check import Findings
from .definition import BoundStep, Definition
from .graph import Graph
from .graph_check import function_problems
from .places import Place, members_of, name_of
from .questions import run_child
from .schema import PLAIN, StateSchema
from .signature import Signature, location
from .step import Step, step_id_problems
from .workflow import Workflow, resolve

if TYPE_CHECKING:
    from collections.abc import Iterator


@frozen
class _Seen:
    member: object
    where: str
    merge_state: object


@define(eq=False)
class Members:
    """Every step of one graph. `signatures` has the declared types of the user's steps."""

    findings: Findings
    master: StateSchema | None
    steps: dict[str, BoundStep] = field(factory=dict)
    signatures: dict[str, Signature] = field(factory=dict)
    nested: dict[str, Definition] = field(factory=dict)
    _seen: dict[str, _Seen] = field(factory=dict)

    def add(self, place: Place) -> list[str]:
        """The ids of the members of a place, those left out that cannot be one."""
        return [step_id for member in members_of(place) if (step_id := self._add(place, member))]

    def _add(self, place: Place, member: object) -> str:
        if isinstance(member, Step):
            return self._add_step(place, member)
        if isinstance(member, FunctionType | MethodType):
            name = name_of(member)
            self._find(place, f"{name} is a plain function; put @step on it, which makes it a step")
            return ""
        try:
            definition = resolve(member)
        except DefinitionError as error:
            if isinstance(member, type) and issubclass(member, Workflow) and member is not Workflow:
                for finding in error.findings:
                    self.findings.add("", finding)
            else:
                hint = str(error).partition(": ")[2]
                self._find(place, f"{shorten(member)} is no step and no workflow: {hint}")
            return ""
        return self._add_workflow(place, member, definition)

    def _add_step(self, place: Place, step: Step[[object, object], object]) -> str:
        if not self._is_new(place, step.id, step, None):
            return step.id
        label = f"step {step.id!r}"
        for text in (*_id_problems(step.id), *function_problems(step.function)):
            self.findings.add(location(step.function), f"{label}: {text}")
        found = declared(step, ("data", "ctx"), (step.names,), label, self.findings)
        state = step_state(step.function, found, self.master, label, self.findings)
        self.signatures[step.id] = found
        self.steps[step.id] = bind(step, step.id, step.function, found, state)
        return step.id

    def _add_workflow(self, place: Place, target: object, definition: Definition) -> str:
        name = definition.workflow_id
        merge_state = _merge_state(getattr(place, "merge_state", False))
        if not self._is_new(place, name, target, merge_state):
            return name
        for text in (*_workflow_id_problems(name), *self._merge_problems(merge_state, definition)):
            self._find(place, text)
        self.nested[name] = definition
        self.signatures[name] = Signature(definition.input.kind, definition.output.kind, None)
        self.steps[name] = BoundStep(
            plan=StepPlan(step_id=name, nested=name),
            invoke=run_child(target, merge_state),
            payload=PLAIN,
            output=definition.output,
            state=self.master,
        )
        return name

    def _is_new(self, place: Place, step_id: str, member: object, merge_state: object) -> bool:
        """Whether it stands here for the first time; a finding if the id is another's."""
        seen = self._seen.get(step_id)
        if seen is None:
            self._seen[step_id] = _Seen(member, place.where, merge_state)
            return True
        if seen.member is not member:
            both = f"{_described(member)} and {_described(seen.member)}"
            self._find(place, f"{both} have the same id {step_id!r}; give one of them another id")
        elif seen.merge_state != merge_state:
            text = f"{step_id} has another merge_state at {seen.where}; a workflow has one in the whole graph"
            self._find(place, text)
        return False

    def _merge_problems(self, keys: object, definition: Definition) -> Iterator[str]:
        if not isinstance(keys, tuple):
            return
        schemas = {schema.kind: schema for schema in (definition.state, self.master) if schema is not None}
        for kind, schema in schemas.items():
            for key in keys:
                if key not in schema.keys:
                    yield f"merge_state has {shorten(key)}, which is no key of the state {kind.__name__}"

    def _find(self, place: Place, text: str) -> None:
        self.findings.add(place.where, f".{place.verb}: {text}")


def _id_problems(step_id: str) -> Iterator[str]:
    yield from step_id_problems("id", step_id)
    if step_id == START:
        yield "the id 'start' is that of a class's first step; give it another id="


def _workflow_id_problems(name: str) -> Iterator[str]:
    if name.startswith("_"):
        yield f"the workflow {name!r} is a step here, and its id starts with an underscore; give it another id"
    elif name in HOOKS or name == START:
        yield f"the workflow {name!r} is a step here, and its id is that of a hook or of a first step; give it another"


def _merge_state(given: object) -> bool | tuple[str, ...]:
    """In one form, whatever the order; no key at all is False."""
    if isinstance(given, list | tuple | set | frozenset):
        return tuple(sorted({key for key in given if isinstance(key, str)})) or False
    return given is True


def _described(member: object) -> str:
    if isinstance(member, Step):
        return f"the step at {location(member.function)}"
    return repr(member) if isinstance(member, Graph) else f"the workflow {getattr(member, '__qualname__', member)}"

"""The class style: `Workflow`, and from such a class to a `Definition`.

What lives here: the base class and the compiler. What does not: what can be wrong with a class (`check`), the graph
style.
"""

from __future__ import annotations

import inspect
import os
from types import FunctionType
from typing import TYPE_CHECKING, ClassVar, Final, cast

from .._core.plan import LostUpdates, RunPlan, StepPlan
from .._core.policies import ALL, Join
from .._core.values import shorten
from .._ids import HOOK_COMPLETE, HOOKS, START
from ..errors import DefinitionError
from . import binding, signature
from .binding import bind, either_output, schema, step_state
from .check import (
    PARAMETERS,
    STEP_PARAMETERS,
    Findings,
    check_attributes,
    check_constructor,
    check_function,
    check_ids,
    check_names,
)
from .definition import BoundStep, Definition
from .graph import Graph, Uncommitted
from .schema import PLAIN, StateSchema
from .signature import LOCAL_NAMES, Signature
from .step import Step

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

_COMPILED: Final = "_actorflow_definition"
"""Where a class keeps its definition: with the class it goes."""


class Workflow:
    """A workflow as a class: subclass it, and give it `async def start(self, data, ctx)`.

    `start` is where a run begins. Every other public coroutine method `(self, data, ctx)`, or plain one under
    `@step`, is an action that `ctx.schedule_next_step` can start as a branch. Three hooks are optional:
    `on_workflow_complete(self, ctx)`, whose result, if not None, is the run's output,
    `on_workflow_error(self, error, ctx)` and `on_workflow_cancel(self, reason, ctx)`. Every pass of a step gets a
    fresh instance: what a run must remember goes to `ctx.run_store`.

    Attributes:
        id: the name of the workflow in journals; the name of the class unless it sets its own (not inherited: two
            workflows cannot share one).
        state: the master state schema, an attrs class whose fields are the keys of the run store.
        join: what a failed step means for the others: `ALL`, `DRAIN`, `tolerate(count=…, fraction=…)`.
        lost_updates: "error", "warn" or "allow".
        version: recorded with every run.
        max_live_steps: steps in memory at once; more wait as compact records.
        keep_state: whether the journal keeps the values of the run store after the run.

    Example:
        >>> from actorflow import Workflow
        >>> class Greeting(Workflow):
        ...     async def start(self, data, ctx):
        ...         return f"Hello {data}"
        >>> Greeting.id
        'Greeting'
    """

    id: ClassVar[str]
    state: ClassVar[type | None] = None
    join: ClassVar[Join] = ALL
    lost_updates: ClassVar[str] = "error"
    version: ClassVar[str] = ""
    max_live_steps: ClassVar[int] = 1000
    keep_state: ClassVar[bool] = False

    def __init_subclass__(cls, **options: object) -> None:
        """Name the class, and keep what its annotations need of the function in which it is defined."""
        super().__init_subclass__(**options)
        if "id" not in vars(cls):
            cls.id = cls.__name__
        here = inspect.currentframe()
        functions = [value.function if isinstance(value, Step) else value for value in vars(cls).values()]
        names = signature.local_names(here.f_back if here is not None else None, functions)
        if names:
            setattr(cls, LOCAL_NAMES, names)


def resolve(target: object) -> Definition:
    """The definition of whatever stands for a workflow.

    Raises `DefinitionError` for anything that is none, and for one that cannot run.
    """
    if isinstance(target, type) and issubclass(target, Workflow):
        if target is not Workflow:
            return compile_workflow(target)
        hint = "it is the base class; give a subclass of it"
    elif isinstance(target, Graph):
        return target.definition()
    elif isinstance(target, Uncommitted):
        hint = "it is a graph that is not committed; call .commit()"
    elif isinstance(target, Workflow):
        hint = f"it is an instance; give the class {type(target).__name__} itself"
    elif isinstance(target, type):
        hint = f"the class does not derive from Workflow; write `class {target.__name__}(Workflow)`"
    elif isinstance(target, Step):
        hint = "a step is run by a workflow; put it in one"
    elif isinstance(target, str):
        hint = "an id names a workflow that a runtime already has; give the class or the graph here"
    else:
        hint = "give a subclass of Workflow, or a committed graph"
    text = f"{shorten(target)} is not a workflow: {hint}"
    raise DefinitionError(text, findings=(text,))


def compile_workflow(cls: type[Workflow]) -> Definition:
    """The definition of a class, made once per class object; raises `DefinitionError` with every finding."""
    known = cast("Definition | None", vars(cls).get(_COMPILED))
    if known is None:
        known = _compile(cls)
        setattr(cls, _COMPILED, known)
    return known


def _compile(cls: type[Workflow]) -> Definition:
    findings = Findings(cls.__name__)
    bad = check_attributes(cls, findings)
    check_constructor(cls, findings)
    members = _members(cls, findings)
    check_names(cls, members, findings)
    check_ids(cls, [(_id_of(name, member), name, member) for name, member in members.items()], findings)
    master = StateSchema(cls.state) if cls.state is not None and "state" not in bad else None
    steps: dict[str, BoundStep] = {}
    declared: dict[str, Signature] = {}
    for name, member in members.items():
        check_function(cls, name, member, findings)
        step_id = _id_of(name, member)
        found = declared[step_id] = _declared(cls, name, member, findings)
        function = member.function if isinstance(member, Step) else member
        state = step_state(function, found, master, f"{cls.__name__}.{name}", findings)
        steps[step_id] = _bind(cls, name, member, found, state)
    findings.close()
    plan = RunPlan(
        workflow_id=cls.id,
        version=cls.version,
        steps={step_id: bound.plan for step_id, bound in steps.items()},
        hooks=frozenset(steps) & HOOKS,
        join=cls.join,
        lost_updates=LostUpdates(cls.lost_updates),
        max_live_steps=cls.max_live_steps,
        keep_state=cls.keep_state,
    )
    return Definition(
        plan=plan,
        steps=steps,
        state=master,
        input=schema(declared[START].data),
        output=schema(_run_output(declared)),
        source=_source(cls),
        target=cls,
    )


def _run_output(declared: Mapping[str, Signature]) -> object | None:
    """The type of the run's output: what the completion hook gives; where that may be None, also what start gives."""
    hook = declared[HOOK_COMPLETE].output if HOOK_COMPLETE in declared else None
    return either_output(hook, declared[START].output)


def _members(cls: type[Workflow], findings: Findings) -> dict[str, object]:
    """Every start, action and hook by its name, in the order of definition, bases first; a plain helper is none."""
    found: dict[str, object] = {}
    for base in reversed(cls.__mro__):
        if base is Workflow or base.__module__ in ("builtins", "abc", "typing"):
            continue
        for name, value in vars(base).items():
            if name.startswith("_"):
                if isinstance(value, Step):
                    where = signature.location(value.function)
                    findings.add(where, f"{base.__name__}.{name} is private, and a step is not; rename it")
                continue
            found.pop(name, None)
            inner = getattr(value, "__func__", None)
            if isinstance(value, staticmethod | classmethod) and isinstance(inner, Step):
                where = signature.location(inner.function)
                findings.add(where, f"{base.__name__}.{name} is a {type(value).__name__}, which cannot be a step")
            elif isinstance(value, Step) or (isinstance(value, FunctionType) and _is_member(name, value)):
                found[name] = value
    return found


def _is_member(name: str, function: FunctionType) -> bool:
    reserved = name == START or name in HOOKS
    return reserved or signature.is_async(function) or signature.is_async_generator(function)


def _id_of(name: str, member: object) -> str:
    return member.id if isinstance(member, Step) and member.named else name


def _declared(cls: type, name: str, member: object, findings: Findings) -> Signature:
    parameters = PARAMETERS.get(name, STEP_PARAMETERS)
    return binding.declared(member, parameters, _scopes(cls, name, member), f"{cls.__name__}.{name}", findings)


def _scopes(cls: type, name: str, member: object) -> tuple[Mapping[str, object], ...]:
    """What annotations may name besides the globals of their module: the body of the class, enclosing functions."""
    owner = next((base for base in cls.__mro__ if name in vars(base)), cls)
    body = {key: value for key, value in vars(owner).items() if isinstance(value, type)}
    own = member.names if isinstance(member, Step) else {}
    return body, own, cast("Mapping[str, object]", vars(owner).get(LOCAL_NAMES, {})), {owner.__name__: owner}


def _bind(cls: type, name: str, member: object, found: Signature, state: StateSchema | None) -> BoundStep:
    if isinstance(member, Step):
        return bind(member, _id_of(name, member), _invoke(cls, cast("FunctionType", member.function)), found, state)
    function = cast("FunctionType", member)
    return BoundStep(
        plan=StepPlan(step_id=_id_of(name, member)),
        invoke=_invoke_complete(cls, function) if name == HOOK_COMPLETE else _invoke(cls, function),
        payload=PLAIN if name in HOOKS else schema(found.data),
        output=schema(found.output),
        state=state,
    )


def _invoke(cls: type, function: FunctionType) -> Callable[[object, object], Awaitable[object] | object]:
    def invoke(data: object, ctx: object) -> Awaitable[object] | object:
        return cast("object", function(cls(), data, ctx))

    return invoke


def _invoke_complete(cls: type, function: FunctionType) -> Callable[[object, object], Awaitable[object] | object]:
    def invoke(data: object, ctx: object) -> Awaitable[object] | object:
        return cast("object", function(cls(), ctx))

    return invoke


def _source(cls: type) -> str:
    """Where another process finds the class again; "" inside a function, and without a file."""
    if "<locals>" in cls.__qualname__:
        return ""
    try:
        return f"{os.path.abspath(inspect.getfile(cls))}:{cls.__qualname__}"
    except (OSError, TypeError):
        return ""

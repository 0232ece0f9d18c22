"""Whether a `Workflow` class can run: every finding at once, with file and line.

What lives here: the checks of class attributes, actions and hooks. What does not: the options of a step (`step`),
building the definition (`workflow`).
"""

from __future__ import annotations

import ast
import difflib
import inspect
import textwrap
from typing import TYPE_CHECKING, Final

from attrs import field, frozen

from .._core.plan import LostUpdates
from .._core.policies import Join, JoinKind
from .._core.values import shorten
from .._ids import HOOK_CANCEL, HOOK_COMPLETE, HOOK_ERROR, HOOKS, START
from ..errors import DefinitionError
from .signature import can_take, is_async, is_async_generator, location
from .step import Step, id_problems, state_problems

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

PARAMETERS: Final[Mapping[str, tuple[str, ...]]] = {
    HOOK_COMPLETE: ("self", "ctx"),
    HOOK_ERROR: ("self", "error", "ctx"),
    HOOK_CANCEL: ("self", "reason", "ctx"),
}
"""How each hook is called."""

STEP_PARAMETERS: Final = ("self", "data", "ctx")
"""How `start` and the actions are called."""


@frozen
class Findings:
    """What is wrong with one workflow, collected."""

    subject: str
    texts: list[str] = field(factory=list)

    def add(self, where: str, text: str) -> None:
        """One more; `where` is `file:line`."""
        self.texts.append(f"{where}: {text}" if where else text)

    def close(self) -> None:
        """Raise `DefinitionError` if there is any."""
        if self.texts:
            count = "1 finding" if len(self.texts) == 1 else f"{len(self.texts)} findings"
            text = "\n  ".join([f"{self.subject} cannot run, {count}:", *self.texts])
            raise DefinitionError(text, findings=tuple(self.texts))


# --- class attributes


def _join(name: str, value: object) -> Iterator[str]:
    if not isinstance(value, Join):
        yield f"{name} = {shorten(value)}: give ALL, DRAIN or tolerate(count=…, fraction=…)"
    elif value.kind is JoinKind.FIRST:
        yield f"{name} = first({value.count}) is for groups of a graph; give ALL, DRAIN or tolerate(…)"


def _lost_updates(name: str, value: object) -> Iterator[str]:
    words = [policy.value for policy in LostUpdates]
    if not isinstance(value, LostUpdates) and value not in words:
        yield f"{name} = {shorten(value)}: give one of {', '.join(map(repr, words))}"


def _version(name: str, value: object) -> Iterator[str]:
    if not isinstance(value, str):
        yield f"{name} = {shorten(value)} is a {type(value).__name__}; give text"


def _max_live_steps(name: str, value: object) -> Iterator[str]:
    if type(value) is not int or value < 1:
        yield f"{name} = {shorten(value)}: give a whole number, at least 1"


def _keep_state(name: str, value: object) -> Iterator[str]:
    if type(value) is not bool:
        yield f"{name} = {shorten(value)}: give True or False"


_ATTRIBUTES: Final[Mapping[str, Callable[[str, object], Iterator[str]]]] = {
    "id": id_problems,
    "state": state_problems,
    "join": _join,
    "lost_updates": _lost_updates,
    "version": _version,
    "max_live_steps": _max_live_steps,
    "keep_state": _keep_state,
}


def attribute_problems(name: str, value: object) -> Iterator[str]:
    """What is wrong with one attribute of a workflow, as `check_attributes` and `workflow()` call it."""
    return _ATTRIBUTES[name](name, value)


def check_attributes(cls: type, findings: Findings) -> set[str]:
    """Look at every class attribute that means something; returns the names of the bad ones."""
    bad: set[str] = set()
    for name in _ATTRIBUTES:
        for text in attribute_problems(name, getattr(cls, name)):
            findings.add(_attribute_place(cls, name), f"{cls.__name__}: {text}")
            bad.add(name)
    return bad


def check_constructor(cls: type, findings: Findings) -> None:
    """A fresh instance is made for every pass of a step, without arguments."""
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        findings.add(class_place(cls), f"{cls.__name__} is abstract: it does not define {', '.join(missing)}")
    elif cls.__init__ is not object.__init__ and not can_take(cls.__init__, 1):  # type: ignore[misc]  # of this very class
        findings.add(
            location(cls.__init__),  # type: ignore[misc]  # of this very class
            f"{cls.__name__}.__init__ needs arguments, but every step gets a fresh instance without any; "
            "give them defaults, and send data with start()",
        )


# --- methods


def check_function(cls: type, name: str, member: object, findings: Findings) -> None:
    """Whether a step or a hook can be called as it will be."""
    function = member.function if isinstance(member, Step) else member
    where, label = location(function), f"{cls.__name__}.{name}"
    parameters = PARAMETERS.get(name, STEP_PARAMETERS)
    if is_async_generator(function):
        findings.add(where, f"{label} is an async generator; return a value instead of yielding")
    elif not is_async(function) and not isinstance(member, Step):
        cure = "make it async" if name in HOOKS else "make it async, or put it under @step to run it in a thread"
        findings.add(where, f"{label} is a plain function; {cure}")
    if not can_take(function, len(parameters)):
        takes = inspect.signature(function) if callable(function) else "()"
        findings.add(where, f"{label}{takes} cannot be called with {name}({', '.join(parameters)}); write it so")
    if isinstance(member, Step) and name in HOOKS:
        findings.add(where, f"{label} is a hook, which takes no @step; leave the decorator out")
    if isinstance(member, Step) and member.named and name == START and member.id != START:
        findings.add(where, f"{label} cannot have another id than 'start'; leave id={member.id!r} out")


def check_ids(cls: type, members: Sequence[tuple[str, str, object]], findings: Findings) -> None:
    """No two methods (given as id, name, method) may have one step id."""
    seen: dict[str, str] = {}
    for step_id, name, member in members:
        other = seen.setdefault(step_id, name)
        if other != name:
            function = member.function if isinstance(member, Step) else member
            text = f"{cls.__name__}.{name} has the id {step_id!r}, which {other} has already; give another id="
            findings.add(location(function), text)


def check_names(cls: type, members: Mapping[str, object], findings: Findings) -> None:
    """No start, and names that look like a hook but are none."""
    if START not in members:
        findings.add(class_place(cls), f"{cls.__name__} has no start; define `async def start(self, data, ctx)`")
    for name, member in members.items():
        if name.startswith("on_workflow_") and name not in HOOKS:
            close = difflib.get_close_matches(name, sorted(HOOKS), 1)
            meant = f"; did you mean {close[0]}?" if close else f"; the hooks are {', '.join(sorted(HOOKS))}"
            function = member.function if isinstance(member, Step) else member
            findings.add(location(function), f"{cls.__name__}.{name} is no hook{meant}")


# --- places


def class_place(cls: type) -> str:
    """`file:line` of a class; only the module if there is no source."""
    try:
        return f"{inspect.getsourcefile(cls)}:{inspect.getsourcelines(cls)[1]}"
    except (OSError, TypeError):
        return f"module {cls.__module__}"


def _attribute_place(cls: type, name: str) -> str:
    """`file:line` of the assignment of a class attribute, or else of the class."""
    owner = next(base for base in cls.__mro__ if name in vars(base))
    try:
        lines, first = inspect.getsourcelines(owner)
        body = ast.parse(textwrap.dedent("".join(lines))).body[0]
    except (OSError, TypeError, SyntaxError):
        return class_place(cls)
    for node in body.body if isinstance(body, ast.ClassDef) else []:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            return f"{inspect.getsourcefile(owner)}:{first + node.lineno - 1}"
    return class_place(cls)

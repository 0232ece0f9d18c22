"""Finding workflows by the name of a module or the path of a file.

What lives here: the text forms, importing, and errors a user can act on. What does not: running anything.
A workflow is a class or a committed graph under a name of its module. One found in a file has that file's absolute path
as its source, so that another process, started in another folder, finds it again.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from hashlib import sha256
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import TYPE_CHECKING, TypeGuard, cast

from attrs import evolve

from .. import Workflow
from .._authoring.graph import Graph
from .._authoring.workflow import resolve
from ..errors import DefinitionError

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import ModuleType

    from .._authoring.definition import Definition

__all__ = ["Target", "brought", "find_beside", "find_recorded", "find_workflow", "find_workflows", "together"]

Target = type[Workflow] | Graph


def find_workflow(target: str) -> Target:
    """The workflow that `MODULE:NAME` or `FILE:NAME` names.

    Raises `DefinitionError` for whatever stands in the way: no such file or module, one that cannot be imported, no
    such name, or a name for something else.
    """
    place, colon, name = target.rpartition(":")
    if not colon or not place or not name or "/" in name or os.sep in name:
        known = f"; it has {_listed(find_workflows(target))}" if Path(target).is_file() else ""
        raise _error(f"{target!r} names no workflow: write MODULE:WORKFLOW or FILE:WORKFLOW{known}")
    module = _import(place)
    value: object = module
    for part in name.split("."):
        if not hasattr(value, part):
            raise _error(f"{place} has no {name!r}; its workflows: {_listed(_workflows_of(module))}")
        value = getattr(value, part)
    try:
        resolve(value)  # what is wrong with it is told before any journal is opened
    except DefinitionError as error:
        if _is_workflow(value):
            raise
        raise _error(f"{target}: {error}; workflows of {place}: {_listed(_workflows_of(module))}") from error
    workflow = cast("Target", value)
    if isinstance(workflow, Graph):
        _remember(workflow, module, name)
    return workflow


def _remember(graph: Graph, module: ModuleType, name: str) -> None:
    """Make this place the graph's source, if it has none: it was made by a function, or stands in a class."""
    definition = graph.definition()
    if not definition.source and module.__file__:
        graph._definition = evolve(definition, source=f"{os.path.abspath(module.__file__)}:{name}")


def find_recorded(source: str, workflow_id: str) -> Target:
    """The workflow that a run was started with, from where its journal says it was found; `DefinitionError` if not."""
    elsewhere = "`actorflow recover MODULE_OR_FILE` takes its runs up from another place"
    if not source or "<" in source:  # "<locals>", "<stdin>": nothing that could be imported again
        raise _error(f"the journal does not say where to find the workflow {workflow_id!r}: {elsewhere}")
    workflow = find_workflow(source)
    found = resolve(workflow).workflow_id
    if found != workflow_id:
        raise _error(f"{source} is the workflow {found!r} now, and the run needs {workflow_id!r}: {elsewhere}")
    return workflow


def find_beside(place: str) -> list[Target]:
    """All workflows that a module or file can name, imported ones too; without those that cannot run.

    A class calls child runs of workflows that nobody has listed: it can only mean what its module knows.
    """
    found: list[Target] = []
    for value in vars(_import(place)).values():
        if _is_workflow(value):
            with suppress(DefinitionError):  # whoever calls it will be told
                resolve(value)
                found.append(value)
    return found


def together(wanted: Iterable[Target], others: Iterable[Target]) -> dict[str, Target]:
    """By id, the wanted workflows, and those of the others that one runtime can know beside them."""
    found: dict[str, Target] = {}
    meant: dict[str, object] = {}
    for workflow in wanted:
        definition = resolve(workflow)
        found.setdefault(definition.workflow_id, workflow)
        meant.update(brought(definition))
    for workflow in others:
        definition = resolve(workflow)
        brings = brought(definition)
        if all(meant.get(name, target) is target for name, target in brings.items()):
            found.setdefault(definition.workflow_id, workflow)
            meant.update(brings)
    return found


def brought(definition: Definition) -> dict[str, object]:
    """By id, what a runtime that is given this workflow knows: the workflow, and those that stand in its graph."""
    found: dict[str, object] = {definition.workflow_id: definition.target}
    for inner in definition.nested.values():
        found |= brought(inner)
    return found


def find_workflows(place: str) -> dict[str, Target]:
    """All workflows that a module or file defines, by their names in it; `DefinitionError` if there is none."""
    found = _workflows_of(_import(place))
    if not found:
        raise _error(f"{place} defines no workflow")
    return found


def _error(text: str) -> DefinitionError:
    return DefinitionError(text, findings=(text,))


def _is_workflow(value: object) -> TypeGuard[Target]:
    is_class = isinstance(value, type) and issubclass(value, Workflow) and value is not Workflow
    return is_class or isinstance(value, Graph)


def _workflows_of(module: ModuleType) -> dict[str, Target]:
    found: dict[str, Target] = {}
    for name, value in vars(module).items():
        if not _is_workflow(value) or not _is_at_home(value, module):
            continue
        if isinstance(value, type):
            name = value.__qualname__
        if value not in found.values():
            found.setdefault(name, value)
    return found


def _is_at_home(workflow: Target, module: ModuleType) -> bool:
    """Whether the module defines it: what a module only imports belongs to another place."""
    if isinstance(workflow, type):
        return workflow.__module__ == module.__name__
    file, _, _ = workflow.definition().source.rpartition(":")
    # One that some function made is of no other place.
    return not file or Path(file).resolve() == _file_of(module)


def _listed(workflows: dict[str, Target]) -> str:
    return ", ".join(sorted(workflows)) or "none"


def _import(place: str) -> ModuleType:
    if place.endswith(".py") or os.sep in place or "/" in place:
        return _import_file(place)
    _put_on_path(Path.cwd())
    return _import_name(place, place)


def _import_file(place: str) -> ModuleType:
    path = Path(place).absolute()
    if not path.is_file():
        raise _error(f"there is no file {place!r}" if not path.exists() else f"{place!r} is not a file")
    path = path.resolve()
    folder, name = path.parent, path.stem
    if (folder / "__init__.py").is_file():
        # Part of a package: its relative imports work only under its full name.
        while (folder / "__init__.py").is_file():
            folder, name = folder.parent, f"{folder.name}.{name}"
        _put_on_path(folder)
        return _import_name(name.removesuffix(".__init__"), place)
    _put_on_path(folder)
    known = sys.modules.get(name)
    if known is not None and _file_of(known) == path:
        return known
    if known is not None or name in sys.stdlib_module_names or not name.isidentifier():
        # The plain name belongs to somebody else: two flows.py in two folders, or a queue.py.
        name = f"_workflows_{sha256(os.fsencode(path)).hexdigest()[:12]}"
        if name in sys.modules:
            return sys.modules[name]
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise _error(f"{place!r} is not a Python file")
    module = module_from_spec(spec)
    sys.modules[name] = module  # types of steps are looked up here while the file still runs
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:  # a script without a main guard may exit
        del sys.modules[name]
        raise _import_error(place, error) from error
    return module


def _import_name(name: str, place: str) -> ModuleType:
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        missing = isinstance(error, ModuleNotFoundError) and error.name is not None
        if missing and f"{name}.".startswith(f"{getattr(error, 'name', '')}."):
            hint = f"; there is a file {name}.py: write {name}.py:WORKFLOW" if Path(f"{name}.py").is_file() else ""
            raise _error(f"there is no module {place!r}{hint}") from error
        raise _import_error(place, error) from error


def _import_error(place: str, error: BaseException) -> DefinitionError:
    where = ""
    frame = error.__traceback__
    while frame is not None:  # the innermost line outside the import machinery is where the user has to look
        if "importlib" not in frame.tb_frame.f_code.co_filename:
            where = f" ({Path(frame.tb_frame.f_code.co_filename).name}, line {frame.tb_lineno})"
        frame = frame.tb_next
    if isinstance(error, SyntaxError):
        where = f" ({Path(error.filename or place).name}, line {error.lineno})"
    text = error.msg if isinstance(error, SyntaxError) else str(error)
    return _error(f"importing {place} failed: {type(error).__name__}: {text}{where}")


def _file_of(module: ModuleType) -> Path | None:
    return Path(module.__file__).resolve() if module.__file__ else None


def _put_on_path(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))

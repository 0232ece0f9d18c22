"""Which scenario is meant by what stands on the command line.

What lives here: names, and `FILE.py:Class`. What does not: the registry of names (`stress.scenario`).
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..scenario import Scenario, UnknownScenario, find, names
from .small import SmallScenario

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["chosen", "scenario_of"]


def chosen(given: list[str]) -> list[str]:
    """The scenarios of a command line: all for none, and for `all`; `UnknownScenario` for a wrong one."""
    if not given or "all" in given:
        return names()
    for reference in given:
        scenario_of(reference)
    return list(dict.fromkeys(given))


def scenario_of(reference: str) -> Scenario:
    """A scenario by its name, or the class of a file; `UnknownScenario` says what is wrong."""
    if reference == SmallScenario.name:
        return SmallScenario()
    file, separator, name = reference.rpartition(":")
    if not separator or not file.endswith(".py"):
        return find(reference)
    found = getattr(_module(Path(file)), name, None)
    if not (isinstance(found, type) and issubclass(found, Scenario)):
        raise UnknownScenario(f"{file} has no scenario {name!r}: a class below stress.scenario.Scenario")
    return found()


def _module(path: Path) -> ModuleType:
    """The file, imported once a process."""
    name = f"stress_scenarios_in_{path.stem}"
    known = sys.modules.get(name)
    if known is not None and known.__file__ == str(path):
        return known
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.exists():
        raise UnknownScenario(f"there is no file {path}")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module

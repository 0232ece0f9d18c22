"""Planting a mutant: its module is imported from a changed source, in this process alone.

What lives here: the import hook. What does not: which mutants there are. Nothing in the kernel knows of this.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import CodeType, ModuleType

    from .mutant import Mutant

__all__ = ["Rotten", "mutated", "plant", "source_of"]


class Rotten(Exception):
    """The mutant does not fit the source any more: its old text is not there exactly once."""


def source_of(module: str) -> str:
    """The source of a module that need not have been imported."""
    package = find_spec(module.rpartition(".")[0])
    paths = package.submodule_search_locations if package is not None else None
    spec = PathFinder.find_spec(module, paths)
    if spec is None or spec.origin is None:
        raise Rotten(f"there is no module {module}")
    return Path(spec.origin).read_text(encoding="utf-8")


def mutated(mutant: Mutant, source: str) -> str:
    """The source with the bug in it; `Rotten` if there is no one place for it."""
    count = source.count(mutant.old)
    if count != 1:
        raise Rotten(f"mutant {mutant.name}: its old text stands {count} times in {mutant.module}, not once")
    return source.replace(mutant.old, mutant.new)


def plant(mutant: Mutant) -> None:
    """From now on this process imports the module with the bug in it; it must not have been imported before."""
    if mutant.module in sys.modules:
        raise RuntimeError(f"{mutant.module} has been imported: a mutant needs a fresh process")
    sys.meta_path.insert(0, _Finder(mutant))


class _Finder(MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self._mutant = mutant

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != self._mutant.module:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin is not None:
            spec.loader = _Loader(self._mutant, spec.origin)
        return spec


class _Loader(SourceFileLoader):
    def __init__(self, mutant: Mutant, path: str) -> None:
        super().__init__(mutant.module, path)
        self._mutant = mutant

    def get_code(self, fullname: str) -> CodeType:
        source = Path(self.path).read_text(encoding="utf-8")
        return compile(mutated(self._mutant, source), self.path, "exec", dont_inherit=True)

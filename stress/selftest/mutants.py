"""The list of all mutants.

What lives here: `MUTANTS`, and finding some of them by name. What does not: what they are (`mutants_*`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .mutants_journal import JOURNAL
from .mutants_steps import STEPS
from .mutants_store import STORE
from .mutants_tree import TREE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .mutant import Mutant

__all__ = ["MUTANTS", "UnknownMutant", "named"]

MUTANTS: Final[dict[str, Mutant]] = {one.name: one for one in (*STORE, *STEPS, *TREE, *JOURNAL)}
"""By name."""


class UnknownMutant(LookupError):
    """There is no mutant of this name."""


def named(names: Sequence[str]) -> list[Mutant]:
    """Those of these names; all if there are none."""
    for name in names:
        if name not in MUTANTS:
            raise UnknownMutant(f"there is no mutant {name!r}; --list names them")
    return [MUTANTS[name] for name in names] or list(MUTANTS.values())

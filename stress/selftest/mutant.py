"""What a mutant is.

What lives here: `Mutant`. What does not: the mutants (`mutants`), planting them (`planting`), finding them.
"""

from __future__ import annotations

from typing import Final

from attrs import frozen

__all__ = ["CHECK", "DISK", "MIX", "Mutant"]

MIX: Final = "mix"
"""Looked for by the scenarios, under schedules and faults of seeds."""
DISK: Final = "disk"
"""Looked for by the images of a disk that lost its power."""
CHECK: Final = "check"
"""Looked for by a check of its own, because it is out of reach of the scenarios; see `checks`."""


@frozen(kw_only=True)
class Mutant:
    """A bug as a change of one place in the source of one module.

    Args:
        name: how it is called.
        invariants: ids of what it violates.
        module: the dotted name of the module.
        old: a text that stands in its source exactly once.
        new: what is put in its place.
        why: what is wrong then.
        likely: scenarios that are tried first.
        finder: who looks for it: `MIX`, `DISK`, or `CHECK`.
        check: the name of the check, for `CHECK`.
    """

    name: str
    invariants: tuple[str, ...]
    module: str
    old: str
    new: str
    why: str
    likely: tuple[str, ...] = ()
    finder: str = MIX
    check: str = ""

"""Errors of the tool and of what it runs, in words.

What lives here: exception groups as sentences. What does not: violations; those are findings, not exceptions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def leaves(error: BaseException) -> Iterator[BaseException]:
    """What went wrong, without the groups around it."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from leaves(one)
    else:
        yield error


def sentences(error: BaseException) -> list[str]:
    """Each thing that went wrong, once: of a hundred branches that fail alike one is enough."""
    return list(dict.fromkeys(f"{type(one).__name__}: {one}" for one in leaves(error)))

"""By what a function is known again when a step runs a second time.

What lives here: `mark_of`. What does not: the matching (`_core.replay`).
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Final, cast

if TYPE_CHECKING:
    from types import CodeType

_PLAIN: Final = (str, int, float, bool, bytes, type(None))


def mark_of(function: object) -> str:
    """A short text that is the same for the same function in another process: of its name, the names that it uses and
    its constants. Line numbers and byte code are left out, so that editing the lines above changes nothing.
    """
    found: object = function
    while hasattr(found, "func"):  # functools.partial
        found = found.func
    name = getattr(found, "__qualname__", type(found).__qualname__)
    code = cast("CodeType | None", getattr(found, "__code__", None))
    parts: list[object] = [name]
    if code is not None:
        parts += [code.co_names, code.co_varnames, [item for item in code.co_consts if isinstance(item, _PLAIN)]]
    return hashlib.blake2b(repr(parts).encode("utf-8", "surrogatepass"), digest_size=6).hexdigest()

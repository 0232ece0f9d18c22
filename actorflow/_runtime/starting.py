"""What a start is made of: the initial state, the headers, the run id, and the mark by which a repeated start is known.

What lives here: checking and encoding them, before there is a run. What does not: starting it (`runtime`).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from .._authoring.schema import unstructure
from .._core.values import decode, encode, shorten, size_of
from .._ids import CHILD_MARK
from ..errors import ActorflowError, InputError, ValueTooLarge
from .names import check_key

if TYPE_CHECKING:
    from .._authoring.definition import Definition
    from .._core.policies import Limits
    from .kernel import Kernel


_CHILD: Final = re.compile(rf"{CHILD_MARK}\d+$")


def initial_values(limits: Limits, definition: Definition, initial: object) -> dict[str, str]:
    """What the store of a new run begins with, key by key."""
    if definition.state is not None:
        found = {key: str(text) for key, text in definition.state.defaults(initial).items()}
    elif initial is None:
        return {}
    elif isinstance(initial, Mapping):
        found = {check_key(key): str(encode(value, unstructure)) for key, value in initial.items()}
    else:
        plain = unstructure(initial)
        if not isinstance(plain, Mapping):
            raise InputError(f"initial_state {shorten(initial)} is not a mapping of keys to values")
        found = {check_key(key): str(encode(value, unstructure)) for key, value in plain.items()}
    sizes = {key: size_of(text) for key, text in found.items()}
    for key, size in sizes.items():
        if size > limits.value_bytes:
            raise _state_too_large(f"initial_state[{key!r}]", "value_bytes", limits.value_bytes, size)
    total = sum(sizes.values()) + sum(map(len, sizes))
    if total > limits.state_bytes:
        raise _state_too_large("initial_state", "state_bytes", limits.state_bytes, total)
    if len(found) > limits.keys:
        raise _state_too_large("initial_state", "keys", limits.keys, len(found))
    return found


def headers_text(kernel: Kernel, headers: object) -> str:
    """The headers of a new run."""
    if headers is None:
        return "{}"
    if not isinstance(headers, Mapping):
        raise InputError(f"headers {shorten(headers)} is not a mapping")
    text = encode(dict(headers), unstructure)
    kernel.check_payload(text, "headers")
    return text


def checked_run_id(run_id: object) -> str:
    """`run_id`, if it can be one."""
    try:
        name = check_key(run_id)
    except ActorflowError as error:
        raise InputError(f"run_id {shorten(run_id)}: {error}") from None
    if _CHILD.search(name):
        raise InputError(f"run_id {shorten(run_id)}: ids that end in {CHILD_MARK!r} and a number name child runs")
    return name


def _state_too_large(name: str, what: str, limit: int, size: int) -> ValueTooLarge:
    text = f"{name} is {size} ({what}), the limit is {limit}; start with less, or raise Limits({what}=…)"
    return ValueTooLarge(text, what=what, limit=limit, size=size)


def fingerprint_of(definition: Definition, text: str, initial: Mapping[str, str]) -> str:
    """Equal for starts that are the same as JSON: the order of keys does not matter, True is not 1."""
    parts = [definition.workflow_id, decode(text), {key: decode(value) for key, value in initial.items()}]
    canonical = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(canonical.encode(), digest_size=16).hexdigest()

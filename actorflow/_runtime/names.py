"""The names that users give: keys of a store, events, actions of a workflow.

What lives here: what such a name may be. What does not: what stands under it (`run_store`, `context`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from .._core.values import shorten
from .._ids import HOOKS, START
from ..errors import InputError, StateKeyError

if TYPE_CHECKING:
    from .._authoring.definition import Definition

KEY_BYTES: Final = 512
"""Longest key, in UTF-8 bytes."""


def check_key(key: object) -> str:
    """`key`, if it is a non-empty string of at most 512 UTF-8 bytes; nothing is coerced."""
    if type(key) is str and key and len(key) <= 128:
        if key.isascii():
            return key
    elif not isinstance(key, str):
        raise StateKeyError(f"key {shorten(key)} is a {type(key).__name__}; keys are non-empty strings")
    elif not key:
        raise StateKeyError("the key is empty; keys are non-empty strings")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise StateKeyError(f"key {shorten(key)} contains a lone surrogate") from None
    if size > KEY_BYTES:
        raise StateKeyError(f"key {shorten(key)} has {size} bytes, the limit is {KEY_BYTES}", key=key)
    return str(key)


def event_name(name: object) -> str:
    """The name of an event: a non-empty string of at most 512 bytes."""
    try:
        return check_key(name)
    except StateKeyError as error:
        raise InputError(f"event name {shorten(name)}: {error}") from None


def action_of(definition: Definition, action: object) -> str:
    """The id of a step that may be scheduled, from its name or its method."""
    name = action if isinstance(action, str) else getattr(action, "__name__", None)
    if (
        isinstance(name, str)
        and name in definition.steps
        and name != START
        and name not in HOOKS
        and definition.plan.chain is None
    ):
        return name
    raise InputError(
        f"{shorten(action)} is not an action of {definition.workflow_id!r}; its actions are "
        f"{', '.join(sorted(actions_of(definition))) or 'none'}"
    )


def actions_of(definition: Definition) -> list[str]:
    """What may be scheduled; of a graph nothing, its chain says what runs."""
    return (
        []
        if definition.plan.chain is not None
        else [name for name in definition.steps if name != START and name not in HOOKS]
    )

"""Suspending a step.

What lives here: the body of `ctx.suspend`. What does not: what ends the pass (`passes`), resuming (`tree`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import HookRestriction
from .scheduling import key_text
from .unwinding import Suspended

if TYPE_CHECKING:
    from .passes import Pass


async def suspend(owner: Pass, payload: object, label: str | None) -> object:
    """The answer to this call of `suspend`, or the end of the pass."""
    if owner.buffer is not None:
        raise HookRestriction('suspend in a commit="on_success" step: what it has done would be lost')
    if owner.suspension is not None:
        raise Suspended  # the step has caught what ends its pass, and asks again
    name = key_text(label, "label")
    what = f"payload of suspend in step {owner.activation.step!r}"
    text = owner.step.suspend.unstructure(payload, what)
    owner.actor.kernel.check_payload(text, what)
    await trio.lowlevel.checkpoint()
    owner.suspends += 1
    answers = owner.activation.answers or []
    if owner.suspends <= len(answers):
        return answer(owner, answers[owner.suspends - 1])
    raise owner.suspend(0, name, text)


def answer(owner: Pass, text: str) -> object:
    """What a `resume` sent, as the step's type."""
    return owner.step.resume.structure(text, f"resume data of step {owner.activation.step!r}")

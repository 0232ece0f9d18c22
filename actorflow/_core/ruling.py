"""What every decision gives, and the refusal that every decision may give.

What lives here: `Ruling` and `over`. What does not: the decisions (`decide`, `decide_steps`, `decide_store`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from ..errors import RunOver
from . import facts as f

if TYPE_CHECKING:
    from .run_state import RunState


@frozen
class Ruling:
    """The facts that a command leads to. The reply is that of the last fact's writing, unless `facts` is empty."""

    facts: Sequence[f.Fact]
    reply: object = None


NOTHING: Final = Ruling(())
"""No facts, and no reply: news that comes late."""


def over(state: RunState) -> RunOver:
    """The error for whoever still wants something of a run that has ended."""
    return RunOver(
        f"run {state.run_id!r} is over ({state.status.value}); start a new run, or read its record with describe()",
        run_id=state.run_id,
    )

"""The logger of a step.

What lives here: `StepLog`, behind `ctx.log`. What does not: the road of a line into the run's history (`kernel`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .passes import Pass

LOG: Final = logging.getLogger("actorflow.step")


class StepLog(logging.LoggerAdapter[logging.Logger]):
    """Logs as the standard library does, and keeps each line in the run's history."""

    def __init__(self, owner: Pass) -> None:
        state = owner.actor.state
        self._pass = owner
        super().__init__(
            LOG,
            {
                "run_id": state.run_id,
                "workflow_id": state.workflow_id,
                "step_id": owner.activation.step,
                "activation_id": owner.activation_id,
                "attempt": owner.activation.attempt,
            },
        )

    def process(self, msg: object, kwargs: MutableMapping[str, object]) -> tuple[object, MutableMapping[str, object]]:
        extra = kwargs.get("extra")
        kwargs["extra"] = {**(extra if isinstance(extra, Mapping) else {}), **(self.extra or {})}
        return msg, kwargs

    def log(self, level: int, msg: object, *args: object, **kwargs: object) -> None:
        """Log, and keep the line in the run's history, whatever the logging configuration lets through."""
        super().log(level, msg, *args, **kwargs)  # type: ignore[arg-type]  # handed on as it came
        self._pass.actor.kernel.keep_log(self._pass, level, _format(msg, args))


def _format(msg: object, args: tuple[object, ...]) -> str:
    text = str(msg)
    if args:
        try:
            text = text % (args[0] if len(args) == 1 and isinstance(args[0], Mapping) and args[0] else args)
        except (TypeError, ValueError, KeyError):
            text = f"{text} {args!r}"
    return text.encode("utf-8", "replace").decode()[:4000]

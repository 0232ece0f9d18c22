"""What a step that runs again is told of what it did before.

What lives here: asking the log of its earlier passes, as a call that may be cancelled. What does not: the rule by which
a call is recognised (`_core.replay`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._core.replay import UNMATCHED

if TYPE_CHECKING:
    from .._core.replay import Replay


async def recall(replay: Replay, verb: str, key: str, argument: object) -> object:
    """The recorded reply of this operation, or `UNMATCHED`.

    Cancelled before, it has not been asked for; afterwards it has happened: an entry that was taken and not told would
    be missing when the step asks again, and the operation would count twice.
    """
    await trio.lowlevel.checkpoint_if_cancelled()
    found = replay.match(verb, key, argument)
    if found is not UNMATCHED:
        await trio.lowlevel.cancel_shielded_checkpoint()
    return found

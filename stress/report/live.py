"""What is seen while a campaign runs.

What lives here: one line that is rewritten on a terminal, and a line every few seconds elsewhere, such as in a log of
a CI. What does not: the report at the end.
"""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable
from typing import Final, TextIO

from attrs import define, field

LOG_EVERY_S: Final = 5.0
"""Often enough to see that it lives, seldom enough for a log."""

TERMINAL_EVERY_S: Final = 0.1


@define(eq=False)
class Live:
    """The display, on stderr: stdout is for the report."""

    stream: TextIO = field(factory=lambda: sys.stderr)
    clock: Callable[[], float] = time.monotonic
    _shown_at: float | None = field(default=None, init=False)
    _is_open: bool = field(default=False, init=False)

    def show(self, text: str) -> None:
        """Say how it stands; most calls do nothing, so call it as often as you like."""
        now = self.clock()
        is_terminal = self.stream.isatty()
        every = TERMINAL_EVERY_S if is_terminal else LOG_EVERY_S
        if self._shown_at is None:
            self._shown_at = now - (every if is_terminal else 0.0)  # the first line of a log can wait, too
        if now - self._shown_at < every:
            return
        self._shown_at = now
        if is_terminal:
            width = shutil.get_terminal_size().columns
            self.stream.write(f"\r\x1b[K{text[: width - 1]}")
            self._is_open = True
        else:
            self.stream.write(f"{text}\n")
        self.stream.flush()

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self._is_open:
            self.stream.write("\r\x1b[K")
            self.stream.flush()
            self._is_open = False

"""The tail of SQLite's write-ahead log, before SQLite cuts it.

What lives here: telling how many bytes of a log belong to a commit that never became whole, so that the cut can be
reported. What does not: the cut, which SQLite makes by itself when it recovers the log; checksums, which it checks.

A log is a header of 32 bytes and frames, each a header of 24 bytes and a page. The two salts of the header stand in
each frame of its generation; a frame with other salts is left from an earlier generation and means nothing.
Source: the file format page of SQLite, "the write-ahead log".
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

_HEADER: Final = 32
_FRAME_HEADER: Final = 24


@frozen
class LogFrames:
    """What a log holds of its present generation: the size of a frame, and the end of the last one that belongs."""

    frame_size: int
    end: int

    def cut_bytes(self, frames: int) -> int:
        """Bytes after the first `frames` frames, which SQLite found whole and committed."""
        return max(0, self.end - _HEADER - frames * self.frame_size)


def look_at_log(path: Path) -> LogFrames | None:
    """The frames of the log; None if there is no log or nothing in it."""
    try:
        log = path.open("rb")
    except FileNotFoundError:
        return None
    with log:
        header = log.read(_HEADER)
        if not header:
            return None
        page_size = int.from_bytes(header[8:12], "big")
        salts = header[16:24]
        size = os.fstat(log.fileno()).st_size
        if len(header) < _HEADER or not 512 <= page_size <= 65536:
            return LogFrames(1, size + _HEADER)  # a torn header: nothing after it counts
        frame_size = _FRAME_HEADER + page_size
        end = _HEADER
        for start in range(_HEADER, size, frame_size):
            log.seek(start)
            found = log.read(_FRAME_HEADER)[8:16]
            if found == salts or (len(found) < len(salts) and end == start):  # the last frame may be a mere stump
                end = min(start + frame_size, size)
        return LogFrames(frame_size, end)

"""Which figures there are, and who measures them.

What lives here: the table. The numbers are those of the published goals; what is missing in the row belongs to
features that are not there yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from . import fanout, many_runs, pushes, recovery, scale, startup
from .figures import Figure, Settings

Group = Callable[[Settings], Iterator[Figure]]

GROUPS: Mapping[str, Group] = {
    "P1": fanout.in_memory,
    "P2": fanout.on_disk,
    "P3": scale.in_memory,
    "P4": pushes.late_against_early,
    "P5": pushes.journal_bytes,
    "P9": recovery.take_up,
    "P10": many_runs.at_once,
    "P11": startup.processes,
}

"""Which figures there are, and who measures them.

What lives here: the table. The numbers are those of the published goals.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from . import child_runs, fanout, graphs, many_runs, observers, pushes, recovery, scale, startup, suspended
from .figures import Figure, Settings

Group = Callable[[Settings], Iterator[Figure]]


def journal_bytes(settings: Settings) -> Iterator[Figure]:
    """P5: of pushes, and of the outputs of a chain."""
    yield from pushes.journal_bytes(settings)
    yield from graphs.outputs_on_disk(settings)


GROUPS: Mapping[str, Group] = {
    "P1": fanout.in_memory,
    "P2": fanout.on_disk,
    "P3": scale.in_memory,
    "P4": pushes.late_against_early,
    "P5": journal_bytes,
    "P6": child_runs.inheriting,
    "P7": graphs.foreach,
    "P8": suspended.in_a_journal,
    "P9": recovery.take_up,
    "P10": many_runs.at_once,
    "P11": startup.processes,
    "P12": observers.attached,
}

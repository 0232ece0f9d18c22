"""The test kit: what programs, and journals of your own, are tested with.

`JournalContract`, `runtime` and `autojump_clock` need pytest and pytest-trio (the extra `test` has both); the rest
does not. So each name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cancelling import CancelFailure, CancelReport, Victim, VictimCall, cancel_everywhere
    from .crashing import CrashFailure, CrashReport, crash_everywhere
    from .explained import ScheduleFailure
    from .exploring import Exploration, explore, replay
    from .faults import Faults
    from .faulty import Crash, Delay, Fail, Fault, FaultyJournal, SimulatedCrash, Tear
    from .fixtures import autojump_clock, runtime
    from .history import History, StoreCall
    from .journal_contract import JournalContract
    from .linearizable import Linearizability, Verdict, check_linearizable
    from .lost_update import LostUpdateStory, lost_updates
    from .programs import ProgramFunction
    from .repro import Repro

__all__ = [
    "CancelFailure",
    "CancelReport",
    "Crash",
    "CrashFailure",
    "CrashReport",
    "Delay",
    "Exploration",
    "Fail",
    "Fault",
    "Faults",
    "FaultyJournal",
    "History",
    "JournalContract",
    "Linearizability",
    "LostUpdateStory",
    "ProgramFunction",
    "Repro",
    "ScheduleFailure",
    "SimulatedCrash",
    "StoreCall",
    "Tear",
    "Verdict",
    "Victim",
    "VictimCall",
    "autojump_clock",
    "cancel_everywhere",
    "check_linearizable",
    "crash_everywhere",
    "explore",
    "lost_updates",
    "replay",
    "runtime",
]

_HOME = {
    ".cancelling": ("CancelFailure", "CancelReport", "Victim", "VictimCall", "cancel_everywhere"),
    ".crashing": ("CrashFailure", "CrashReport", "crash_everywhere"),
    ".explained": ("ScheduleFailure",),
    ".exploring": ("Exploration", "explore", "replay"),
    ".faults": ("Faults",),
    ".faulty": ("Crash", "Delay", "Fail", "Fault", "FaultyJournal", "SimulatedCrash", "Tear"),
    ".fixtures": ("autojump_clock", "runtime"),
    ".history": ("History", "StoreCall"),
    ".journal_contract": ("JournalContract",),
    ".linearizable": ("Linearizability", "Verdict", "check_linearizable"),
    ".lost_update": ("LostUpdateStory", "lost_updates"),
    ".programs": ("ProgramFunction",),
    ".repro": ("Repro",),
}

_MODULE_OF = {name: module for module, names in _HOME.items() for name in names}


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found: object = getattr(import_module(module, __name__), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

"""The test kit: what programs, and journals of your own, are tested with.

`JournalContract`, `runtime` and `autojump_clock` need pytest and pytest-trio (the extra `test` has both); the rest
does not. So each name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faulty import Crash, Delay, Fail, Fault, FaultyJournal, SimulatedCrash, Tear
    from .fixtures import autojump_clock, runtime
    from .history import History, StoreCall
    from .journal_contract import JournalContract
    from .linearizable import Linearizability, Verdict, check_linearizable

__all__ = [
    "Crash",
    "Delay",
    "Fail",
    "Fault",
    "FaultyJournal",
    "History",
    "JournalContract",
    "Linearizability",
    "SimulatedCrash",
    "StoreCall",
    "Tear",
    "Verdict",
    "autojump_clock",
    "check_linearizable",
    "runtime",
]

_HOME = {
    ".faulty": ("Crash", "Delay", "Fail", "Fault", "FaultyJournal", "SimulatedCrash", "Tear"),
    ".fixtures": ("autojump_clock", "runtime"),
    ".history": ("History", "StoreCall"),
    ".journal_contract": ("JournalContract",),
    ".linearizable": ("Linearizability", "Verdict", "check_linearizable"),
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

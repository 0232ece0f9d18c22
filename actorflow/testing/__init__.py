"""The test kit: what programs, and journals of your own, are tested with.

`JournalContract`, `runtime` and `autojump_clock` need pytest and pytest-trio (the extra `test` has both); the rest
does not. So each name is imported when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .faulty import Crash, Delay, Fail, Fault, FaultyJournal, SimulatedCrash, Tear
    from .fixtures import autojump_clock, runtime
    from .journal_contract import JournalContract

__all__ = [
    "Crash",
    "Delay",
    "Fail",
    "Fault",
    "FaultyJournal",
    "JournalContract",
    "SimulatedCrash",
    "Tear",
    "autojump_clock",
    "runtime",
]

_HOME = {
    ".faulty": ("Crash", "Delay", "Fail", "Fault", "FaultyJournal", "SimulatedCrash", "Tear"),
    ".fixtures": ("autojump_clock", "runtime"),
    ".journal_contract": ("JournalContract",),
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

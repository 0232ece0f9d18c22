"""What is done to a program on purpose: crashes at any scheduling decision, writes of its journal that fail.

What lives here: how much of it (`Faults`), and what comes of it for one schedule (`Fate`). What does not: the journal
that fails (`faulty`), carrying it out (`programs`).
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, cast

from attrs import Factory, evolve, field, frozen, validators

from .._runtime import places as named
from .faulty import Crash, Delay, Fail

if TYPE_CHECKING:
    import random

    from .faulty import Fault

__all__ = ["Fate", "Faults"]

WRITES: Final[Mapping[str, Fault]] = MappingProxyType(
    {
        "crash": Crash(),
        "crash after": Crash(written=True),
        "fail": Fail(),
        "fail after": Fail(written=True),
        "fail 3": Fail(times=3),
        "delay": Delay(1.0),
    }
)
"""What may happen to a write, by the name that a repro has for it."""


PLACES: Final = tuple(named.PLACES)


@frozen(kw_only=True)
class Faults:
    """How much may happen in one schedule; the seed draws what does, and when.

    Args:
        crashes: times, at most, that the process "dies": before any scheduling decision, at a named place of the
            runtime, or in a write. The program is called again then, on what its journal held.
        failures: writes of the journal, at most, that raise `JournalError`; for some of them the write is there all the
            same. If the program lets the error through, it is called again.
        delays: writes, at most, that take a second longer.
    """

    crashes: int = field(default=0, validator=validators.ge(0))
    failures: int = field(default=0, validator=validators.ge(0))
    delays: int = field(default=0, validator=validators.ge(0))

    def fate(self, chance: random.Random) -> Fate:
        """What these dice make of it."""
        decisions: set[int] = set()
        writes: dict[int, str] = {}
        places: dict[str, int] = {}
        for _ in range(chance.randint(0, self.crashes)):
            how = chance.random()
            if how < 0.4:
                decisions.add(chance.randrange(2 ** chance.randint(3, 10)))
            elif how < 0.7:
                places[chance.choice(PLACES)] = 2 ** chance.randint(0, 3)
            else:
                writes[_number(chance)] = chance.choice(["crash", "crash after"])
        for _ in range(chance.randint(0, self.failures)):
            writes[_number(chance)] = chance.choice(["fail", "fail after", "fail 3"])
        for _ in range(chance.randint(0, self.delays)):
            writes[_number(chance)] = "delay"
        return Fate(tuple(sorted(decisions)), writes, places)


def _number(chance: random.Random) -> int:
    """Of a write: the first ones as likely as all later ones together."""
    return chance.randint(1, chance.choice([3, 8, 30]))


@frozen
class Fate:
    """What happens in one schedule.

    Attributes:
        decisions: before which the process dies, counted over all lives.
        writes: by number, counted over all lives, the name of what happens to it (`WRITES`).
        places: named places of the runtime at which the process dies, when they are reached for so many times.
    """

    decisions: tuple[int, ...] = ()
    writes: Mapping[int, str] = Factory(dict)
    places: Mapping[str, int] = Factory(dict)

    def __bool__(self) -> bool:
        return bool(self.decisions or self.writes or self.places)

    def plan(self, after: int) -> dict[int, Fault]:
        """For a journal that is opened after so many writes."""
        return {number - after: WRITES[name] for number, name in self.writes.items() if number > after}

    def without(self, part: int) -> Fate:
        """All but one of them."""
        if part < len(self.decisions):
            return evolve(self, decisions=self.decisions[:part] + self.decisions[part + 1 :])
        part -= len(self.decisions)
        if part < len(self.writes):
            gone = sorted(self.writes)[part]
            return evolve(self, writes={number: name for number, name in self.writes.items() if number != gone})
        left = sorted(self.places)[part - len(self.writes)]
        return evolve(self, places={place: times for place, times in self.places.items() if place != left})

    def __len__(self) -> int:
        return len(self.decisions) + len(self.writes) + len(self.places)

    def __str__(self) -> str:
        parts = [f"the process dies before decision {step}" for step in self.decisions]
        parts += [f"write {number}: {name}" for number, name in sorted(self.writes.items())]
        parts += [f"the process dies at {place!r}, time {times}" for place, times in sorted(self.places.items())]
        return ", ".join(parts)

    def to_json(self) -> dict[str, object]:
        """As JSON."""
        writes = {str(number): name for number, name in self.writes.items()}
        return {"decisions": list(self.decisions), "writes": writes, "places": dict(self.places)}

    @classmethod
    def from_json(cls, value: object) -> Fate:
        """From what `to_json` gave."""
        found = cast("dict[str, object]", value)
        writes = cast("dict[str, str]", found["writes"])
        return cls(
            tuple(cast("list[int]", found["decisions"])),
            {int(number): name for number, name in writes.items()},
            cast("dict[str, int]", found.get("places", {})),
        )

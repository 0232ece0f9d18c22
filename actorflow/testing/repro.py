"""What repeats a schedule in another process: its seed, or all of its choices.

What lives here: the record and its JSON. What does not: running it (`exploring.replay`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from attrs import field, frozen

from .faults import Fate

__all__ = ["Repro"]

SCHEMA: Final = 1


@frozen(kw_only=True)
class Repro:
    """How a failure is had again.

    With `switches` it holds the schedule itself, and stays the same when policies and makers of plans change; without
    it is the schedule that the seed makes.
    """

    seed: int
    switches: Mapping[int, int] | None = None
    plan: object = None
    fate: Fate = field(factory=Fate)
    program: str = ""

    def to_json(self) -> str:
        """As one line of JSON."""
        found: dict[str, object] = {"actorflow-repro": SCHEMA, "program": self.program, "seed": self.seed}
        if self.switches is not None:
            found["switches"] = {str(step): choice for step, choice in sorted(self.switches.items())}
            found["plan"] = self.plan
        if self.fate:
            found["fate"] = self.fate.to_json()
        return json.dumps(found, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Repro:
        """From what `to_json` gave; `ValueError` for anything else."""
        try:
            found = json.loads(text)
        except ValueError:
            found = None
        if not isinstance(found, dict) or found.get("actorflow-repro") != SCHEMA:
            raise ValueError(f"{text[:80]!r} is no repro of a failed schedule; give what `failure.repro` shows")
        try:
            switches = found.get("switches")
            return cls(
                seed=int(found["seed"]),
                switches=None if switches is None else {int(step): int(to) for step, to in switches.items()},
                plan=found.get("plan"),
                fate=Fate.from_json(found["fate"]) if "fate" in found else Fate(),
                program=str(found.get("program", "")),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise ValueError(f"this repro is damaged ({type(error).__name__}: {error}): {text[:200]!r}") from error

    @classmethod
    def of(cls, given: object) -> Repro:
        """From a seed, a repro, its text, or the path of a file with its text."""
        if isinstance(given, Repro):
            return given
        if isinstance(given, int) and not isinstance(given, bool):
            return cls(seed=given)
        if isinstance(given, str) and given.lstrip().startswith("{"):
            return cls.from_json(given)
        if isinstance(given, str | Path):
            return cls.from_json(Path(given).read_text(encoding="utf-8"))
        raise TypeError(f"seed={given!r}: give a whole number, or the repro of a failure")

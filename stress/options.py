"""The argument types that several subcommands share.

What lives here: reading counts, times and lists of the command line. What does not: any option of a subcommand.
"""

from __future__ import annotations

import argparse
import random
import re
from typing import Final

__all__ = ["count", "counts", "fresh_seed", "seconds"]

UNITS: Final = {"": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0}


def count(text: str) -> int:
    """A whole number above 0; `1e6` and `1_000` are fine."""
    plain = text.replace("_", "")
    if plain.isdecimal() and int(plain) > 0:
        return int(plain)
    if re.fullmatch(r"\d+(\.\d+)?[eE]\d+", plain) and float(plain) >= 1 and float(plain) == int(float(plain)):
        return int(float(plain))
    raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")


def counts(text: str) -> list[int]:
    """Several of them, with commas between."""
    return [count(part.strip()) for part in text.split(",")]


def seconds(text: str) -> float:
    """A time, in seconds."""
    found = re.fullmatch(r"(\d+(?:\.\d+)?)([smh]?)", text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no time such as 90s, 10m or 1h")
    return float(found[1]) * UNITS[found[2]]


def fresh_seed() -> int:
    """A seed that nobody has had; whoever takes it prints it."""
    return random.SystemRandom().randrange(10**9)

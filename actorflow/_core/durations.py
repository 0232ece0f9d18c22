"""Delays in every form that a user may write them, as seconds.

What lives here: parsing and bounds. What does not: reading a clock (the caller brings `now`).
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from ..errors import InputError
from .values import shorten

MAX_DELAY_S: Final = 400 * 86_400.0
"""400 days: the longest delay of the scheduling services that users come from."""

_UNITS: Final = {
    "s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1,
    "m": 60, "min": 60, "mins": 60, "minute": 60, "minutes": 60,
    "h": 3600, "hr": 3600, "hrs": 3600, "hour": 3600, "hours": 3600,
    "d": 86_400, "day": 86_400, "days": 86_400,
    "w": 604_800, "week": 604_800, "weeks": 604_800,
}  # fmt: skip
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]+)\s*", re.IGNORECASE | re.ASCII)

Delay = float | int | str | timedelta


def seconds(delay: object, what: str = "delay") -> float:
    """`delay` as seconds: a number, a `timedelta`, or text such as "30 sec", "5 minutes", "2 hr", "1 day", "2 weeks".

    Raises `InputError` for anything else, and outside 0 s to 400 days.
    """
    value = _number(delay, what)
    if not 0 <= value <= MAX_DELAY_S:  # NaN fails both comparisons
        raise InputError(f"{what} {shorten(delay)} is outside 0 s to 400 days")
    return value


def _number(delay: object, what: str) -> float:
    if isinstance(delay, bool):
        raise InputError(f"{what} {delay!r} is a bool; give seconds, a timedelta or text such as '30 sec'")
    if isinstance(delay, int | float):
        try:
            return float(delay)
        except OverflowError:
            return float("inf")
    if isinstance(delay, timedelta):
        return delay.total_seconds()
    if isinstance(delay, str):
        match = _TEXT.fullmatch(delay)
        unit = _UNITS.get(match[2].lower()) if match else None
        if match is None or unit is None:
            raise InputError(
                f"{what} {shorten(delay)} is not understood; write a number and sec, min, hr, day or week, "
                "such as '5 minutes' (months and years have no fixed length)"
            )
        return float(match[1]) * unit
    raise InputError(
        f"{what} {shorten(delay)} is a {type(delay).__name__}; give seconds, a timedelta or text such as '30 sec'"
    )


def due_time(now: float, delay: object, at: object) -> float:
    """The epoch second at which a step is due; `at` is an aware datetime, and a past one is due now.

    Raises `InputError` for a naive `at`, for `at` together with `delay`, and for delays out of bounds.
    """
    if at is None:
        return now if delay == 0 and type(delay) is int else now + seconds(delay)
    if not (type(delay) in (int, float) and delay == 0):
        raise InputError(f"give either at={at!r} or delay={delay!r}, not both")
    moment = instant(at)
    if moment - now > MAX_DELAY_S:
        raise InputError(f"at={at!r} is more than 400 days ahead")
    return max(now, moment)


def instant(at: object) -> float:
    """The epoch second of an aware datetime; raises `InputError` for anything else."""
    if not isinstance(at, datetime):
        raise InputError(f"at={shorten(at)} is a {type(at).__name__}; give an aware datetime")
    if at.utcoffset() is None:
        raise InputError(f"at={at!r} has no time zone; give an aware datetime, such as datetime.now(UTC)")
    return at.timestamp()


def moment(epoch_s: float) -> datetime:
    """The aware UTC datetime of an epoch second."""
    return datetime.fromtimestamp(epoch_s, UTC)

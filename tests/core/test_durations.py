"""Delays in every form, their bounds, and due times."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core.durations import MAX_DELAY_S, due_time, instant, moment, seconds
from actorflow.errors import InputError

pytestmark = pytest.mark.rule("C2")
NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (0, 0.0),
        (1.5, 1.5),
        (MAX_DELAY_S, MAX_DELAY_S),
        (timedelta(minutes=2), 120.0),
        ("30 sec", 30.0),
        ("30s", 30.0),
        ("1 second", 1.0),
        ("5 minutes", 300.0),
        ("1.5 min", 90.0),
        ("2m", 120.0),
        ("2 hr", 7200.0),
        ("2 HOURS", 7200.0),
        ("1 day", 86_400.0),
        ("  2   weeks ", 1_209_600.0),
        ("400 days", MAX_DELAY_S),
        ("0 s", 0.0),
    ],
)
def test_a_delay_may_be_written_in_many_ways(delay: object, expected: float) -> None:
    """Numbers, timedeltas and text all come out as seconds."""
    assert seconds(delay) == expected
    assert type(seconds(delay)) is float


@pytest.mark.parametrize(
    ("delay", "match"),
    [
        (-1, "outside 0 s to 400 days"),
        (-1e-9, "outside"),
        (MAX_DELAY_S + 1, "outside"),
        (float("nan"), "outside"),
        (float("inf"), "outside"),
        (10**400, "outside"),
        (timedelta(seconds=-1), "outside"),
        ("401 days", "outside"),
        ("9" * 400 + " s", "outside"),
        (True, "is a bool"),
        ("", "not understood"),
        ("5", "not understood"),
        ("5 months", "not understood"),
        ("1 year", "not understood"),
        ("-5 s", "not understood"),
        ("five min", "not understood"),
        ("1e3 s", "not understood"),
        ("٣ sec", "not understood"),
        (None, "NoneType"),
        (Fraction(1, 2), "Fraction"),
        ([5], "list"),
    ],
)
def test_a_bad_delay_is_refused(delay: object, match: str) -> None:
    """Out of bounds, of no fixed length or of a foreign type: an `InputError` that names what was given."""
    with pytest.raises(InputError, match=match):
        seconds(delay, "timeout")
    with pytest.raises(InputError, match=r"^timeout "):
        seconds(delay, "timeout")


@given(st.floats(0, MAX_DELAY_S))
def test_numbers_within_the_bounds_are_kept(delay: float) -> None:
    """A number of seconds is itself, also as a timedelta (to the microsecond)."""
    assert seconds(delay) == delay
    assert due_time(NOW, delay, None) == NOW + delay
    assert seconds(timedelta(seconds=delay)) == pytest.approx(delay, abs=1e-6)


def test_no_delay_is_due_now() -> None:
    """0 means now, in each form."""
    assert {due_time(NOW, delay, None) for delay in (0, 0.0, "0 s", timedelta(0))} == {NOW}


@given(st.integers(-(10**9), int(MAX_DELAY_S)), st.integers(-12, 12))
def test_an_instant_is_the_same_in_every_zone(offset: int, zone: int) -> None:
    """`at` counts as a point in time; a past one is due now."""
    at = datetime.fromtimestamp(NOW + offset, timezone(timedelta(hours=zone)))
    assert instant(at) == NOW + offset
    assert due_time(NOW, 0, at) == max(NOW, NOW + offset)


@pytest.mark.parametrize(
    ("delay", "at", "match"),
    [
        (0, datetime(2030, 1, 1), "no time zone"),  # noqa: DTZ001 - the naive one is what is refused
        (0, "2030-01-01", "is a str"),
        (0, 5.0, "is a float"),
        (1, datetime(2020, 1, 1, tzinfo=UTC), "not both"),
        ("0 s", datetime(2020, 1, 1, tzinfo=UTC), "not both"),
        (False, datetime(2020, 1, 1, tzinfo=UTC), "not both"),
        (0, datetime.max.replace(tzinfo=UTC), "more than 400 days"),
    ],
)
def test_a_bad_due_time_is_refused(delay: object, at: object, match: str) -> None:
    """Naive, foreign, together with a delay, or too far ahead."""
    with pytest.raises(InputError, match=match):
        due_time(NOW, delay, at)


def test_the_last_instant_within_the_bound_is_accepted() -> None:
    """400 days ahead to the second."""
    assert due_time(NOW, 0, moment(NOW + MAX_DELAY_S)) == NOW + MAX_DELAY_S
    with pytest.raises(InputError):
        due_time(NOW, 0, moment(NOW + MAX_DELAY_S + 1))


def test_a_moment_is_aware() -> None:
    """Epoch seconds come back as UTC."""
    assert moment(0.0) == datetime(1970, 1, 1, tzinfo=UTC)

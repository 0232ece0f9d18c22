"""Retry, rate, join and limits: what they accept and what they work out."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core.durations import MAX_DELAY_S
from actorflow._core.policies import ALL, DRAIN, Join, JoinKind, Limits, Rate, Retry, first, tolerate
from actorflow.errors import DefinitionError

NAN = float("nan")


@pytest.mark.parametrize(
    ("make", "options"),
    [
        *((Retry, {"attempts": bad}) for bad in (0, -1, True, 1.0, "3", None)),
        *((Retry, {"delay": bad}) for bad in (-1, NAN, MAX_DELAY_S + 1, "1", True, None)),
        *((Retry, {"factor": bad}) for bad in (0.5, 1001, NAN, False)),
        *((Retry, {"max_delay": bad}) for bad in (-1, NAN, 10**400)),
        *((Retry, {"jitter": bad}) for bad in (-0.1, 1.1, NAN, "x")),
        *((Retry, {"on": bad}) for bad in ("OSError", int, (OSError, 5), [object()], None)),
        *((Retry, {"never_on": bad}) for bad in (5, (str,))),
        *((Rate, {"count": bad}) for bad in (0, True, 1.5)),
        *((Rate, {"count": 1, "per": bad}) for bad in (0, -1, NAN, MAX_DELAY_S + 1, "1")),
        *((Limits, {name: bad}) for name in ("value_bytes", "keys", "mailbox") for bad in (0, -1, True, 1.0)),
        *((Limits, {name: 0}) for name in ("payload_bytes", "state_bytes", "crashes_per_step")),
        *((tolerate, {"count": bad}) for bad in (-1, True, 1.0, "1")),
        *((tolerate, {"fraction": bad}) for bad in (-0.1, 1.1, NAN, True, "x")),
        (tolerate, {}),
    ],
)
def test_a_bad_option_is_refused_by_name(make: Any, options: dict[str, Any]) -> None:
    """The error names the option and the value, and carries them as one finding."""
    with pytest.raises(DefinitionError) as caught:
        make(**options)
    assert len(caught.value.findings) == 1
    for name, value in list(options.items())[-1:]:
        assert f"{name}={value!r}" in str(caught.value) or f"{name}=({value!r},)" in str(caught.value) or name == "on"


@pytest.mark.rule("C6")
@pytest.mark.parametrize("count", [0, -1, True, 1.0, "1", None])
def test_a_bad_count_of_first_is_refused(count: Any) -> None:
    """It is a whole number of successes, at least one; the default is one."""
    with pytest.raises(DefinitionError, match=r"whole number") as caught:
        first(count)
    assert caught.value.findings == (f"first({count!r}): give a whole number, at least 1",)
    assert (first(), first(3)) == (Join(JoinKind.FIRST, 1), Join(JoinKind.FIRST, 3))


def test_exceptions_may_be_given_as_one_a_list_or_a_tuple() -> None:
    """All three mean the same."""
    assert Retry(on=OSError).on == Retry(on=[OSError]).on == Retry(on=(OSError,)).on == (OSError,)  # type: ignore[arg-type]  # one class or a list of them is taken too
    assert Retry(never_on=()).never_on == ()


def test_the_bounds_themselves_are_accepted() -> None:
    """The least and the greatest of everything."""
    assert Retry(1, delay=0, factor=1, max_delay=0, jitter=0).pause_s(5, 0.9) == 0
    assert Retry(1, delay=MAX_DELAY_S, factor=1000, max_delay=MAX_DELAY_S, jitter=1)
    assert Rate(1, per=1e-6)
    assert Limits(value_bytes=1, payload_bytes=1, state_bytes=1, keys=1, mailbox=1, crashes_per_step=1)
    assert tolerate(count=0, fraction=0) == Join(JoinKind.TOLERATE, 0, 0)


@pytest.mark.rule("C5")
@pytest.mark.parametrize(
    ("failures", "dice", "pause"),
    [(1, 0.5, 1.0), (2, 0.5, 2.0), (3, 0.5, 4.0), (4, 0.5, 5.0), (1, 0.0, 0.8), (2, 0.75, 2.2), (5000, 0.5, 5.0)],
)
def test_pauses_grow_to_their_bound_and_are_spread(failures: int, dice: float, pause: float) -> None:
    """delay, delay × factor … up to max_delay, spread by ± jitter; too many failures to compute mean the bound."""
    assert Retry(9, delay=1, factor=2, max_delay=5, jitter=0.2).pause_s(failures, dice) == pytest.approx(pause)
    assert Retry(9, delay=1.0, factor=2.0, max_delay=5.0, jitter=0.2).pause_s(failures, dice) == pytest.approx(pause)


@pytest.mark.rule("C5")
@given(
    st.floats(1e-6, 1e4),
    st.floats(1, 1000),
    st.floats(0, 1e4),
    st.floats(0, 1),
    st.integers(1, 3000),
    st.floats(0, 1, exclude_max=True),
)
def test_a_pause_stays_within_its_bounds(
    delay: float, factor: float, longest: float, jitter: float, failures: int, dice: float
) -> None:
    """Never negative, never beyond max_delay, not even by its jitter, and without jitter never shrinking."""
    retry = Retry(9, delay=delay, factor=factor, max_delay=longest, jitter=jitter)
    assert 0 <= retry.pause_s(failures, dice) <= longest
    middle = retry.pause_s(failures, 0.5)
    assert middle <= retry.pause_s(failures + 1, 0.5)


@pytest.mark.rule("C5")
def test_no_delay_stays_no_delay() -> None:
    """A retry without delay never begins to wait, however often it fails."""
    for failures in (1, 2, 1500):
        assert Retry(2000, delay=0.0).pause_s(failures, 0.5) == 0
        assert Retry(2000, delay=1e-300).pause_s(1500, 0.5) == 60


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    ("join", "failed", "total", "bears"),
    [
        (tolerate(count=2), 2, 2, True),
        (tolerate(count=2), 3, 1000, False),
        (tolerate(count=0), 0, 0, True),
        (tolerate(count=0), 1, 9, False),
        (tolerate(fraction=0.29), 29, 100, True),
        (tolerate(fraction=0.29), 30, 100, False),
        (tolerate(fraction=0), 0, 5, True),
        (tolerate(fraction=0), 1, 5, False),
        (tolerate(fraction=0.5), 0, 0, True),
        (tolerate(fraction=1), 5, 5, True),
        (tolerate(count=1, fraction=0.5), 1, 2, True),
        (tolerate(count=1, fraction=0.5), 2, 4, False),
        (tolerate(count=3, fraction=0.5), 3, 4, False),
        (DRAIN, 9, 9, True),
        (ALL, 9, 9, True),
    ],
)
def test_a_tolerance_is_exact(join: Join, failed: int, total: int, bears: bool) -> None:
    """Both bounds hold, the bound itself is within, and no float rounds a step away."""
    assert join.bears(failed, total) is bears


@pytest.mark.rule("C6")
@given(st.integers(1, 500), st.integers(1, 500))
def test_k_of_n_is_borne_by_the_fraction_k_of_n(k: int, n: int) -> None:
    """A fraction written as a division bears just that many."""
    k = min(k, n)
    join = tolerate(fraction=k / n)
    assert join.bears(k, n)
    assert k == n or not join.bears(k + 1, n)

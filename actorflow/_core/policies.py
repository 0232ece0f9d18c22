"""What an author may ask of a step or a run beyond its code: retry, rate, join policy, limits.

What lives here: frozen records and the plain arithmetic on them. What does not: dice and clocks (a retry's jitter
comes in as a number), matching of exceptions (they belong to the step boundary, in the shell).
"""

from __future__ import annotations

from enum import Enum
from typing import TYPE_CHECKING, Final

from attrs import Attribute, field, frozen

from ..errors import DefinitionError
from .durations import MAX_DELAY_S

if TYPE_CHECKING:
    from collections.abc import Callable

Exceptions = tuple[type[BaseException], ...]

KIB: Final = 1024
MIB: Final = 1024 * KIB


def _refuse(owner: object, name: str, value: object, wanted: str) -> DefinitionError:
    text = f"{type(owner).__name__}({name}={value!r}): {wanted}"
    return DefinitionError(text, findings=(text,))


def _is_whole(value: object, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_within(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high


def _number(low: float, high: float, wanted: str) -> Callable[[object, Attribute[float], object], None]:
    def check(owner: object, attribute: Attribute[float], value: object) -> None:
        if not _is_within(value, low, high):
            raise _refuse(owner, attribute.name, value, wanted)

    return check


def _whole(low: int, wanted: str) -> Callable[[object, Attribute[int], object], None]:
    def check(owner: object, attribute: Attribute[int], value: object) -> None:
        if not _is_whole(value, low):
            raise _refuse(owner, attribute.name, value, wanted)

    return check


def _exceptions(owner: object, attribute: Attribute[Exceptions], value: tuple[object, ...]) -> None:
    for kind in value:
        if not (isinstance(kind, type) and issubclass(kind, BaseException)):
            raise _refuse(owner, attribute.name, value, "give exception classes, such as (TimeoutError, OSError)")


def _classes(value: Exceptions | list[type[BaseException]] | type[BaseException]) -> Exceptions:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


@frozen
class Retry:
    """How often, when and for what a failed step runs again.

    Args:
        attempts: runs in all, the first one included.
        delay: seconds before the second run.
        factor: by which each further delay grows.
        max_delay: seconds that no delay exceeds.
        jitter: fraction by which each delay is spread at random, 0 to 1 (0.1: ±10 %).
        on: exception classes that are retried.
        never_on: exception classes that are not, whatever `on` says.
    """

    attempts: int = field(default=1, validator=_whole(1, "give a whole number of runs, at least 1"))
    delay: float = field(default=1.0, kw_only=True, validator=_number(0, MAX_DELAY_S, "give seconds, 0 to 400 days"))
    factor: float = field(default=2.0, kw_only=True, validator=_number(1, 1000, "give a number from 1 to 1000"))
    max_delay: float = field(
        default=60.0,
        kw_only=True,
        validator=_number(0, MAX_DELAY_S, "give seconds, 0 to 400 days"),
    )
    jitter: float = field(default=0.1, kw_only=True, validator=_number(0, 1, "give a fraction from 0 to 1"))
    on: Exceptions = field(default=(Exception,), kw_only=True, converter=_classes, validator=_exceptions)
    never_on: Exceptions = field(default=(), kw_only=True, converter=_classes, validator=_exceptions)

    def pause_s(self, failures: int, dice: float) -> float:
        """Seconds before the next run after `failures` failed ones; `dice` is a uniform number in [0, 1)."""
        try:
            base = min(self.delay * self.factor ** (failures - 1), self.max_delay)
        except OverflowError:
            base = self.max_delay if self.delay else 0.0
        return min(base * (1 + self.jitter * (2 * dice - 1)), self.max_delay)


@frozen
class Rate:
    """At most `count` starts per `per` seconds, in one run."""

    count: int = field(validator=_whole(1, "give a whole number of starts, at least 1"))
    per: float = field(default=1.0, kw_only=True, validator=_number(1e-6, MAX_DELAY_S, "give seconds above 0"))


class JoinKind(Enum):
    """The four answers to "a step of this group failed: and the others?"."""

    ALL = "all"
    DRAIN = "drain"
    TOLERATE = "tolerate"
    FIRST = "first"


@frozen
class Join:
    """When a group of steps is done and what a failure in it means; use `ALL`, `DRAIN`, `tolerate` or `first`.

    `count` is the bound of a `tolerate`, or how many successes a `first` needs.
    """

    kind: JoinKind
    count: int | None = None
    fraction: float | None = None

    def bears(self, failed: int, total: int) -> bool:
        """Whether `failed` of `total` steps stay within the bound of a `tolerate`."""
        if self.count is not None and failed > self.count:
            return False
        # Not fraction * total: 0.29 * 100 is less than 29.
        return self.fraction is None or not total or failed / total <= self.fraction


ALL: Final = Join(JoinKind.ALL)
DRAIN: Final = Join(JoinKind.DRAIN)


def first(count: int = 1) -> Join:
    """A join for a group of a graph: done at the `count`-th success; the rest is cancelled, awaited and left out.

    Raises `DefinitionError` if `count` is not a whole number of at least 1.
    """
    if not _is_whole(count, 1):
        text = f"first({count!r}): give a whole number, at least 1"
        raise DefinitionError(text, findings=(text,))
    return Join(JoinKind.FIRST, count)


def tolerate(*, count: int | None = None, fraction: float | None = None) -> Join:
    """A join that completes while at most `count`, and at most `fraction` (0 to 1), of its steps have failed.

    Raises `DefinitionError` if neither is given or one is out of range.
    """
    if count is None and fraction is None:
        raise DefinitionError("tolerate() needs count= or fraction=", findings=("tolerate() without a bound",))
    if count is not None and not _is_whole(count, 0):
        text = f"tolerate(count={count!r}): give a whole number, at least 0"
        raise DefinitionError(text, findings=(text,))
    if fraction is not None and not _is_within(fraction, 0, 1):
        text = f"tolerate(fraction={fraction!r}): give a number from 0 to 1"
        raise DefinitionError(text, findings=(text,))
    return Join(JoinKind.TOLERATE, count, fraction)


@frozen(kw_only=True)
class Limits:
    """Bounds on everything that a run may hold; sizes are UTF-8 bytes of compact JSON.

    Args:
        value_bytes: one value sent with a store verb (default 256 KiB).
        payload_bytes: one payload, event, output or input (default 1 MiB).
        state_bytes: the whole run store (default 64 MiB).
        keys: keys in the run store (default 10,000).
        mailbox: user messages that wait in one run's mailbox before senders wait (default 1,000).
        crashes_per_step: process deaths that one step may be live at before it fails (default 100).
    """

    value_bytes: int = field(default=256 * KIB, validator=_whole(1, "give bytes, at least 1"))
    payload_bytes: int = field(default=MIB, validator=_whole(1, "give bytes, at least 1"))
    state_bytes: int = field(default=64 * MIB, validator=_whole(1, "give bytes, at least 1"))
    keys: int = field(default=10_000, validator=_whole(1, "give a whole number, at least 1"))
    mailbox: int = field(default=1_000, validator=_whole(1, "give a whole number, at least 1"))
    crashes_per_step: int = field(default=100, validator=_whole(1, "give a whole number, at least 1"))

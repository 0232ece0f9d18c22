"""Whether what a program gave after a crash is what it gives without one, and where they differ.

What lives here: comparing results, those that hold run outcomes included. What does not: crashing (`crashing`).
"""

from __future__ import annotations

from collections.abc import Mapping

from .._core.lifecycle import RUN_OVER
from .._runtime.records import RunOutcome
from ..errors import StepFailed

__all__ = ["difference"]

SHOWN = 120
"""Characters of a value that a difference shows."""


def difference(expected: object, found: object) -> str:
    """Where the two differ first, in words; "" if they do not.

    Lists, tuples and mappings are compared part by part. Of a `RunOutcome` the status, the output, the state and the
    failures count, each failure by step, type of the error, message and attempts; failures, and lists in the state, in
    any order. Times do not count, nor do activations, whose numbers follow from the schedule. A state that is empty on
    one side is left out for a run that is over: it has gone with the end of the run, before the handle was had.
    """
    return _differs("", expected, found)


def _differs(where: str, expected: object, found: object) -> str:
    if isinstance(expected, RunOutcome) and isinstance(found, RunOutcome):
        return _outcomes(where, expected, found)
    if isinstance(expected, StepFailed) and isinstance(found, StepFailed):
        return _differs(where, _failure(expected), _failure(found))
    if isinstance(expected, Mapping) and isinstance(found, Mapping):
        for key in [*expected, *(key for key in found if key not in expected)]:
            if key not in found:
                return f"{where}[{key!r}] is missing; it was {_short(expected[key])}"
            if key not in expected:
                return f"{where}[{key!r}] is new: {_short(found[key])}"
            inner = _differs(f"{where}[{key!r}]", expected[key], found[key])
            if inner:
                return inner
        return ""
    if isinstance(expected, list | tuple) and isinstance(found, list | tuple) and len(expected) == len(found):
        if sorted(map(repr, expected)) == sorted(map(repr, found)) and list(expected) != list(found):
            return (
                f"{where.lstrip('.') or 'it'} is {_short(found)} instead of {_short(expected)}; only the order "
                "differs: if branches made it, sort it"
            )
        parts = (_differs(f"{where}[{n}]", *pair) for n, pair in enumerate(zip(expected, found, strict=True)))
        return next(filter(None, parts), "")
    if type(expected) is type(found) and expected == found:
        return ""
    return f"{where.lstrip('.') or 'it'} is {_short(found)} instead of {_short(expected)}"


def _outcomes(where: str, expected: RunOutcome, found: RunOutcome) -> str:
    for name in ("run_id", "status", "output"):
        inner = _differs(f"{where}.{name}", getattr(expected, name), getattr(found, name))
        if inner:
            return inner
    failures = [sorted(map(_failure, outcome.failures)) for outcome in (expected, found)]
    inner = _differs(f"{where}.failures", *failures)
    if inner:
        return inner
    if found.status in RUN_OVER and not (expected.state and found.state):
        return ""
    return _differs(f"{where}.state", _in_any_order(expected.state), _in_any_order(found.state))


def _in_any_order(state: Mapping[str, object]) -> dict[str, object]:
    """No order is promised between the pushes of branches (semantics B7)."""
    return {key: sorted(value, key=repr) if isinstance(value, list) else value for key, value in state.items()}


def _failure(error: StepFailed) -> tuple[str, str, str, int]:
    return error.step_id or "", error.error_type, error.message, error.attempts


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"

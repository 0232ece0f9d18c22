"""What is wrong with a schedule that was run.

What lives here: errors, invariants and the answers of run stores, as findings. What does not: checking one history
(`linearizable`), the stories of lost updates (`lost_update`), the text of a failure (`explained`).
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from .._runtime.records import RunOutcome
from .linearizable import Linearizability, check_linearizable
from .scheduler import Livelock, Stuck

if TYPE_CHECKING:
    from .simulation import Passage

__all__ = ["Finding", "Invariant", "Judge"]

SEARCH_BUDGET: Final = 5_000
"""Configurations of a search, a tenth of a second: what is not decided by then is tangled by calls whose outcome
nobody knows, after crashes, and takes for ever."""

Invariant = Callable[..., object]  # type: ignore[explicit-any]  # it is given whatever the user's program returns
"""What must hold of the value that a program returned: False, a text or an exception says that it does not. One without
a parameter is called without the value."""


@frozen
class Finding:
    """One thing that is wrong.

    Attributes:
        kind: two findings of one kind are the same fault, when a schedule is made smaller.
        sentence: what a user is told.
        detail: a picture, or where the error came from.
        error: the exception, if it was one.
    """

    kind: str
    sentence: str
    detail: str = ""
    error: BaseException | None = None


@define
class Judge:
    """Looks at schedules that were run."""

    invariants: Sequence[Invariant]
    check_stores: bool = True
    undecided: int = 0

    def judge(self, passage: Passage) -> Finding | None:
        """The first thing that is wrong."""
        if passage.error is not None:
            return _raised(passage.error)
        for number, invariant in enumerate(self.invariants):
            finding = _broken(number, invariant, passage.value)
            if finding is not None:
                return finding
        return self._stores(passage) if self.check_stores else None

    def _stores(self, passage: Passage) -> Finding | None:
        recorder = passage.recorder
        for run_id in recorder.histories:
            if run_id in recorder.unknown:
                continue
            verdict = check_linearizable(recorder.known(run_id), budget=SEARCH_BUDGET)
            if verdict.status is Linearizability.VIOLATED:
                return Finding(
                    "store", f"the run store of {run_id} gave wrong answers: {verdict.sentence}", verdict.picture
                )
            self.undecided += verdict.status is Linearizability.UNDECIDED
        return None


def _raised(error: BaseException) -> Finding:
    if isinstance(error, Stuck):
        return Finding("deadlock", f"deadlock: {error}", error=error)
    if isinstance(error, Livelock):
        return Finding("livelock", f"livelock: {error}", error=error)
    shown = traceback.format_exception(error)
    kinds = sorted({type(leaf).__name__ for leaf in leaves(error)})
    return Finding(
        f"raised {', '.join(kinds)}", f"the program raised {type(error).__name__}: {error}", "".join(shown), error
    )


def leaves(error: BaseException) -> list[BaseException]:
    """The errors of a group, at any depth; a plain error is its own only one."""
    if isinstance(error, BaseExceptionGroup):
        return [leaf for inner in error.exceptions for leaf in leaves(inner)]
    return [error]


def _broken(number: int, invariant: Invariant, value: object) -> Finding | None:
    try:
        said = invariant(value) if _takes_value(invariant) else invariant()
    except Exception as error:  # noqa: BLE001 - an invariant that raises is broken
        why = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        kind = f"invariant {number}, {type(error).__name__}"  # one that raises is another fault than one that says no
        return Finding(kind, f"{_name(invariant)} does not hold: {why}", _failures(value), error)
    if said is False or (isinstance(said, str) and said):
        why = f": {said}" if said else f" for {_short(value)}"
        return Finding(f"invariant {number}", f"{_name(invariant)} does not hold{why}", _failures(value))
    return None


def _takes_value(invariant: Invariant) -> bool:
    """Whether it looks at what the program returned; one without a parameter looks at something else."""
    try:
        parameters = inspect.signature(invariant).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(found.kind is not found.KEYWORD_ONLY and found.kind is not found.VAR_KEYWORD for found in parameters)


def _failures(value: object) -> str:
    """The steps that failed, if the value is how a run ended: mostly they are why."""
    if not isinstance(value, RunOutcome) or not value.failures:
        return ""
    return "\n".join(f"failed: {failure}" for failure in value.failures)


def _name(invariant: Invariant) -> str:
    name = getattr(invariant, "__name__", "") or type(invariant).__name__
    if name != "<lambda>":
        return f"invariant {name}"
    try:
        source = inspect.getsource(invariant).strip()
    except (OSError, TypeError):
        return "an invariant"
    return f"invariant `{_lambda(source)}`"


def _lambda(source: str) -> str:
    """The first lambda of a piece of source, up to where its brackets end."""
    begin = source.find("lambda")
    depth = 0
    for place, letter in enumerate(source[begin:], begin):
        depth += (letter in "([{") - (letter in ")]}")
        if depth < 0 or (depth == 0 and letter in ",\n" and ":" in source[begin:place]):
            return source[begin:place].strip()
    return source[begin:].strip()


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 300 else f"{text[:297]}…"

"""What a failure looks like from a shell: exit codes, and one line per error.

What lives here: the one table from error names to exit codes, for errors of this process and for those that a
journal's owner answered. What does not: catching (`entry`). Imports nothing of the library, so that help stays fast.
"""

from __future__ import annotations

import os
import sys
import traceback
from enum import IntEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["ERROR_CODES", "STATUS_CODES", "AnswerError", "ExitCode", "InterruptedRun", "code_of", "leaves", "report"]


class ExitCode(IntEnum):
    """What the exit code of every command means."""

    DONE = 0
    FAILED = 1
    WRONG_USE = 2
    SUSPENDED = 3
    JOURNAL = 4
    CANCELLED = 5
    INTERRUPTED = 130


STATUS_CODES: Final[Mapping[str, ExitCode]] = {
    "completed": ExitCode.DONE,
    "running": ExitCode.DONE,  # its owner runs on: what was asked for is done
    "failed": ExitCode.FAILED,
    "suspended": ExitCode.SUSPENDED,
    "cancelled": ExitCode.CANCELLED,
}

# By name, because an error of the journal's owner arrives as the name of its class.
ERROR_CODES: Final[Mapping[str, ExitCode]] = {
    "AmbiguousResume": ExitCode.WRONG_USE,
    "DefinitionError": ExitCode.WRONG_USE,
    "InputError": ExitCode.WRONG_USE,
    "NotJsonError": ExitCode.WRONG_USE,
    "NotSuspended": ExitCode.WRONG_USE,
    "RunExists": ExitCode.WRONG_USE,
    "RunNotFound": ExitCode.WRONG_USE,
    "RunOver": ExitCode.WRONG_USE,
    "StateKeyError": ExitCode.WRONG_USE,
    "StateTypeError": ExitCode.WRONG_USE,
    "ValueTooLarge": ExitCode.WRONG_USE,
    "Deadlock": ExitCode.FAILED,
    "HookRestriction": ExitCode.FAILED,
    "LostUpdate": ExitCode.FAILED,
    "NonRetryable": ExitCode.FAILED,
    "RunFailed": ExitCode.FAILED,
    "StepFailed": ExitCode.FAILED,
    "StepTimeout": ExitCode.FAILED,
    "RunSuspended": ExitCode.SUSPENDED,
    "Fenced": ExitCode.JOURNAL,
    "JournalBusy": ExitCode.JOURNAL,
    "JournalCorrupt": ExitCode.JOURNAL,
    "JournalError": ExitCode.JOURNAL,
    "RuntimeClosed": ExitCode.JOURNAL,  # the owner is going; the journal is free in a moment
    "RunCancelled": ExitCode.CANCELLED,
}


class AnswerError(Exception):
    """The journal's owner refused a request; `error` is the name of its error's class."""

    def __init__(self, error: str, message: str) -> None:
        super().__init__(message)
        self.error = error


class InterruptedRun(Exception):
    """The user interrupted a command that drove runs; they can be taken up again."""

    def __init__(self, journal: str) -> None:
        # A volatile journal is gone with this process, and so is everything that could be taken up.
        hint = "" if journal == "memory:" else f"; resume with: actorflow recover --journal {journal}"
        super().__init__(f"interrupted{hint}")


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The errors inside a group, at any depth; the error itself if it is none."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def known_code(error: BaseException) -> ExitCode | None:
    """The exit code of one error, by its class or the nearest base that is listed; None for an unexpected one."""
    if isinstance(error, AnswerError):
        return ERROR_CODES.get(error.error)
    if isinstance(error, InterruptedRun | KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    for base in type(error).__mro__:
        # Both parts must fit: a user's own class may share a name with one of ours.
        if base.__name__ in ERROR_CODES and base.__module__ == "actorflow.errors":
            return ERROR_CODES[base.__name__]
    return None


def code_of(error: BaseException) -> ExitCode:
    """The exit code of an error or a group of them: the highest counts, an unexpected error is a failure."""
    return max(known_code(leaf) or ExitCode.FAILED for leaf in leaves(error))


def line_of(error: BaseException) -> str:
    """One error as the user reads it."""
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    text = str(error).strip() or type(error).__name__
    if known_code(error) is not None:
        return text  # the findings of a bad workflow stand on lines of their own
    kind = error.error if isinstance(error, AnswerError) else type(error).__name__
    return f"internal error, please report it (--traceback shows where): {kind}: {' '.join(text.split())}"


def report(error: BaseException, *, trace: bool) -> ExitCode:
    """Write an error to stderr, one line for each that a group holds; returns the exit code."""
    if trace or os.environ.get("ACTORFLOW_TRACEBACK"):
        traceback.print_exception(error, file=sys.stderr)
    # Two waiters may report the same failure: it is one message.
    for line in dict.fromkeys(map(line_of, leaves(error))):
        print(f"actorflow: {line}", file=sys.stderr)
    return code_of(error)

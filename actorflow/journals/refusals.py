"""What every journal refuses, whatever it is made of.

What lives here: the checks and errors that all journals share, so that they say the same. Only journals import this.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import JournalBusy, JournalError, RunNotFound

if TYPE_CHECKING:
    from ..abc import Append


def check_joins(append: Append, last_seq: int) -> None:
    """Refuse facts that leave a gap after the last one, or overlap what is there."""
    if append.facts and append.first_seq != last_seq + 1:
        raise JournalError(
            f"run {append.run_id!r} ends at fact {last_seq}; an append from {append.first_seq} on does not join",
            run_id=append.run_id,
        )


def unknown_run(run_id: str) -> JournalError:
    """For an append without a header to a run that is not there."""
    return JournalError(f"run {run_id!r} is not in the journal; its first append needs a header", run_id=run_id)


def unknown_after(run_id: str) -> RunNotFound:
    """For a page that should begin after a run that is not there."""
    return RunNotFound(f"no run {run_id!r} to go on after; leave `after` out for the first page", run_id=run_id)


def not_open(url: str) -> JournalError:
    """For a call before `open` or after `close`."""
    return JournalError(f"the journal {url} is not open; await its open() first")


def already_open(url: str) -> JournalBusy:
    """For a second `open` of one object."""
    return JournalBusy(f"the journal {url} is open already; close it first, or use the one that is open")

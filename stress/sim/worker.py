"""`python -m stress.sim.worker`: a process that works off what it is given, one job a line, until there is no more.

What lives here: its loop. What does not: the jobs (`batch`, `exhaustive`), whoever gives them (`pool`).
"""

from __future__ import annotations

import gc
import json
import os
import signal
import sys
from typing import TYPE_CHECKING, TextIO

from ..load.memory import peak_now
from .batch import Batch
from .batch import work_off as run_batch
from .exhaustive import Job
from .exhaustive import work_off as run_job

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tally import Tally

__all__ = ["main", "work"]


def work(job: Mapping[str, object]) -> Tally:
    """Do one job."""
    if job["kind"] == "run":
        return run_batch(Batch.from_json(job))
    return run_job(Job.from_json(job))


def main() -> None:
    """Read jobs, answer each with its tally."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the one that gives jobs ends this one
    answers = _answers()
    gc.collect()
    gc.freeze()  # what is imported stays, and need not be looked through each time that garbage is collected
    for line in sys.stdin:
        tally = work(json.loads(line))
        answers.write(json.dumps({"tally": tally.to_json(), "peak": peak_now()}) + "\n")
        answers.flush()


def _answers() -> TextIO:
    """Where answers go. What a scenario prints goes to stderr instead, so that it is not taken for one."""
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    return answers


if __name__ == "__main__":
    main()

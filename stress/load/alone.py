"""One row in a process of its own: `python -m stress.load.alone JOB` prints how it stands, and at last the answer.

What lives here: that process, and what it says: one JSON object a line. What does not: starting it (`campaign`).
"""

from __future__ import annotations

import json
import signal
import sys
from typing import TYPE_CHECKING

import trio

from ..report.mistakes import sentences
from .job import Job, job_from_json
from .workload import WORKLOADS, measure

if TYPE_CHECKING:
    from .job import Answer


def tell(phase: str, done: int, branches: int) -> None:
    """One line: how it stands. If nobody listens any more, this ends the process."""
    print(json.dumps({"phase": phase, "done": done, "branches": branches}), flush=True)


def run(job: Job) -> Answer:
    """The answer to a job."""
    if job.workload in WORKLOADS:
        return trio.run(measure, job, tell)
    from .scenarios import measure_scenario

    return trio.run(measure_scenario, job, tell)


def main(argument: str) -> None:
    """Do the job that a JSON text describes."""
    # Ctrl-C is for who started this: it still has a report to write, and ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    job = job_from_json(json.loads(argument))
    try:
        answer = run(job)
    except Exception as error:
        print(json.dumps({"errors": sentences(error)}), flush=True)
        raise  # its traceback goes to stderr, which is kept, too
    print(json.dumps({"answer": answer.as_json()}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

"""The common question in a process of its own: `python -m stress.bench.alone BRANCHES JOURNAL` prints what it took.

What lives here: the process, and starting it. What does not: figures (`scale`, `fanout`).
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import trio
from attrs import frozen

from actorflow import open_runtime

from ..child import command, environment
from .figures import WrongAnswer
from .question import FanOut, check


@frozen
class Cost:
    """What the process took from its beginning to the result of the run; `seconds` from the start of the run."""

    seconds: float
    processor_s: float
    peak_bytes: int


async def answer(branches: int, journal: str) -> Cost:
    """Run, take the figures, and check the answer afterwards: that costs memory, too."""
    async with open_runtime([FanOut], journal=journal) as runtime:
        began = time.perf_counter()
        run = await runtime.start(FanOut, branches, run_id="question")
        await run.result()
        seconds = time.perf_counter() - began
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cost = Cost(seconds, usage.ru_utime + usage.ru_stime, peak_bytes(usage))
        check((await run.wait()).state, branches)
    return cost


def peak_bytes(usage: resource.struct_rusage) -> int:
    """The most memory that this process held. Linux hands `ru_maxrss` down from the parent, so /proc comes first."""
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure_apart(branches: int, journal: str) -> Cost:
    """The cost of the question in a fresh process."""
    line = command("stress.bench.alone", str(branches), journal)
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongAnswer(f"{branches} branches on {journal.partition(':')[0]}: {done.stderr.strip()[-2000:]}")
    found = json.loads(done.stdout)
    return Cost(found["seconds"], found["processor_s"], found["peak_bytes"])


if __name__ == "__main__":
    cost = trio.run(answer, int(sys.argv[1]), sys.argv[2])
    print(json.dumps({"seconds": cost.seconds, "processor_s": cost.processor_s, "peak_bytes": cost.peak_bytes}))

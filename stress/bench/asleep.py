"""A process that suspends runs and weighs itself: `python -m stress.bench.asleep FEW MANY JOURNAL` prints what it held.

What lives here: the process, the workflow that it runs, and starting it. What does not: figures (`suspended`).
"""

from __future__ import annotations

import gc
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import trio
from attrs import asdict, frozen

from actorflow import Context, RunStatus, Workflow, open_runtime

from ..child import command, environment
from .figures import WrongAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from actorflow import Runtime

AT_ONCE = 500


class Asking(Workflow):
    """A run that asks once, and gives the answer together with its own number."""

    async def start(self, data: int, ctx: Context[object]) -> list[object]:
        """Ask."""
        return [data, await ctx.suspend({"question": data})]


@frozen
class Weight:
    """What the process held with few and with many suspended runs: resident memory, and blocks of Python's own."""

    few_bytes: int
    few_blocks: int
    many_bytes: int
    many_blocks: int
    seconds: float


def run_id(number: int) -> str:
    """The id of one run."""
    return f"asking-{number}"


async def each(work: Callable[[int], Awaitable[None]], numbers: Iterable[int]) -> None:
    """Do the work for every number, many at once."""
    limit = trio.CapacityLimiter(AT_ONCE)

    async def one(number: int) -> None:
        try:
            await work(number)
        finally:
            limit.release_on_behalf_of(number)

    async with trio.open_nursery() as nursery:
        for number in numbers:
            await limit.acquire_on_behalf_of(number)
            nursery.start_soon(one, number)


async def suspend(runtime: Runtime, numbers: Iterable[int]) -> None:
    """Start runs, and wait until each is suspended."""

    async def one(number: int) -> None:
        run = await runtime.start(Asking, number, run_id=run_id(number))
        outcome = await run.wait()
        if outcome.status is not RunStatus.SUSPENDED:
            raise WrongAnswer(f"run {number} is {outcome.status.value}, not suspended")

    await each(one, numbers)


async def weigh(few: int, many: int, journal: str) -> Weight:
    """Suspend few runs, then all the others; what the process holds after each."""
    async with open_runtime([Asking], journal=journal) as runtime:
        await suspend(runtime, range(few))
        few_bytes, few_blocks = _held()
        began = time.perf_counter()
        await suspend(runtime, range(few, many))
        seconds = time.perf_counter() - began
        many_bytes, many_blocks = _held()
        if runtime.statistics().suspended_runs != many:
            raise WrongAnswer(f"{runtime.statistics().suspended_runs} of {many} runs are suspended")
    return Weight(few_bytes, few_blocks, many_bytes, many_blocks, seconds)


def _held() -> tuple[int, int]:
    gc.collect()
    return _resident(), sys.getallocatedblocks()


def _resident() -> int:
    """The memory of this process now; where the system does not tell, the most that it ever was."""
    try:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak * (1 if sys.platform == "darwin" else 1024)


def suspend_apart(few: int, many: int, journal: str) -> Weight:
    """`weigh` in a fresh process; the suspended runs stay in the journal."""
    line = command("stress.bench.asleep", str(few), str(many), journal)
    done = subprocess.run(line, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise WrongAnswer(f"{many} suspended runs: {done.stderr.strip()[-2000:]}")
    return Weight(**json.loads(done.stdout))


if __name__ == "__main__":
    print(json.dumps(asdict(trio.run(weigh, int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]))))

"""P11: what it costs to import the package, and to ask the command line for help.

What lives here: those figures. What does not: anything after the import.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from importlib.util import find_spec
from statistics import median
from typing import TYPE_CHECKING

from ..child import environment
from .figures import Figure, Settings, WrongAnswer, ratio

if TYPE_CHECKING:
    from collections.abc import Iterator

NOTHING = ("-c", "pass")
TRIO = ("-c", "import trio")
# The door of the package is lazy: the second line is what a program that uses it pays.
BARE = ("-c", "import actorflow")
USED = ("-c", "from actorflow import Context, Workflow, open_runtime")
HELP = ("-m", "actorflow", "--help")


def processes(settings: Settings) -> Iterator[Figure]:
    """P11."""
    commands: list[tuple[str, ...]] = [NOTHING, TRIO, BARE, USED]
    if find_spec("click") and find_spec("rich"):
        commands.append(HELP)
    wall: dict[tuple[str, ...], list[float]] = {one: [] for one in commands}
    processor: dict[tuple[str, ...], list[float]] = {one: [] for one in commands}
    for one in commands:
        run(one)  # writes the byte code, fills the cache of the disk
    for _ in range(settings.choose(15, 5)):
        for one in commands:
            passed, used = run(one)
            wall[one].append(passed)
            processor[one].append(used)
    for times, name in ((processor, "processor time"), (wall, "wall time")):
        yield _compare(f"`{BARE[1]}` / `{TRIO[1]}`, {name}", times[BARE], times[TRIO], 1.8)
        yield _compare(f"`{USED[1]}` / `{TRIO[1]}`, {name}", times[USED], times[TRIO], 1.8)
        if HELP in times:
            yield _compare(f"`actorflow --help` / `python -c pass`, {name}", times[HELP], times[NOTHING], 6.0)


def _compare(what: str, ours: list[float], theirs: list[float], goal: float) -> Figure:
    note = f"{median(ours) * 1e3:.0f} ms against {median(theirs) * 1e3:.0f} ms"
    return ratio("P11", what, ours, theirs, goal=goal, note=note)


def run(arguments: tuple[str, ...]) -> tuple[float, float]:
    """Wall seconds and processor seconds of one process of this interpreter."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run([sys.executable, *arguments], env=environment(), capture_output=True, text=True, check=False)
    passed = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise WrongAnswer(f"python {' '.join(arguments)} exits with {done.returncode}: {done.stderr[-1000:]}")
    return passed, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime

"""The rounds: when to kill, and the counting.

What lives here: `campaign`. What does not: forking and killing (`server`), what the processes do (`worker`).
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from attrs import define, field, frozen

from ..child import command, environment
from .verdict import Verdict

if TYPE_CHECKING:
    from pathlib import Path

OPENING_S = 0.06
"""Killed within this time, a process is opening the journal or taking runs up."""

WORKING_S = 0.5
"""Killed within this time, it is somewhere in its runs: small ones end and new ones begin."""

EARLY_SHARE = 0.2
"""Rounds whose kill aims at the opening."""


class ForkServer:
    """The process that forks the ones to be killed; a context manager."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            command("stress.kill.server"),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *_: object) -> None:
        with self._process as process:
            assert process.stdin is not None
            process.stdin.close()
            process.wait()

    def ask(self, task: str, folder: Path, jobs: Sequence[str], kill_after_s: float | None) -> Answer:
        """Have a task done in a new process, killed after so many seconds unless that is None."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"task": task, "folder": str(folder), "jobs": list(jobs), "kill_after_s": kill_after_s}
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            raise OSError("the fork server has ended")
        found = json.loads(line)
        return Answer([(kind, data) for kind, data in found["news"]], found["killed"], found["code"], found["error"])


@frozen
class Answer:
    """What became of one process."""

    news: Sequence[tuple[str, object]]
    killed: bool
    code: int
    error: str

    def data(self, kind: str) -> list[object]:
        """All news of one kind."""
        return [data for found, data in self.news if found == kind]


class CannotRun(Exception):
    """The undisturbed run does not work, so nothing can be compared with it."""


@define
class Tally:
    """The counting. What a process told before it was killed was acknowledged to it, so it has to hold for ever."""

    verdict: Verdict
    _started: set[str] = field(factory=set)
    _ended: set[str] = field(factory=set)
    _hit: set[str] = field(factory=set)

    def round(self, answer: Answer) -> None:
        """Take one killed process into account."""
        verdict = self.verdict
        if not answer.killed:
            verdict.violations.append(f"a process ended by itself with {answer.code}: {answer.error}")
            return
        verdict.kills += 1
        opened = answer.data("open")
        if not opened:
            verdict.met_opening += 1
            self._hit |= self._started - self._ended
            return
        unfinished = opened[0]
        assert isinstance(unfinished, list)
        if revived := sorted(self._ended.intersection(unfinished)):
            verdict.violations.append(f"runs that had ended are unfinished again: {', '.join(revived)}")
        self._started.update(unfinished, map(str, answer.data("started")))
        self._ended.update(map(str, answer.data("ended")))
        alive = self._started - self._ended
        self._hit |= alive
        verdict.met_live += bool(alive)
        verdict.runs = len(self._ended)

    def end(self, answer: Answer) -> None:
        """Take the last process into account, which compared every run."""
        verdict = self.verdict
        if answer.error:
            verdict.violations.append(f"the last process ended with {answer.code}: {answer.error}")
        seen = set()
        for row in answer.data("checked"):
            assert isinstance(row, list)
            run_id, checked, lost, doubled, differences = row
            seen.add(run_id)
            verdict.checked += checked
            verdict.lost += lost
            verdict.doubled += doubled
            verdict.violations.extend(f"run {run_id}, {difference}" for difference in differences)
        verdict.runs = len(seen)
        verdict.survivors = len(seen & self._hit)
        gone = sorted(self._started - seen)
        if gone and not answer.error:
            verdict.violations.append(f"runs whose start was acknowledged are gone: {', '.join(gone)}")


def campaign(
    folder: Path, jobs: Sequence[str], *, seed: int, rounds: int | None, seconds: float | None, watch: bool = False
) -> Verdict:
    """Kill, round after round, on one journal; then let everything end, and check every run."""
    dice = random.Random(seed)
    verdict = Verdict(seed)
    tally = Tally(verdict)
    with ForkServer() as server:
        first = server.ask("undisturbed", folder, jobs, None)
        if first.error:
            raise CannotRun(first.error)
        began = time.monotonic()
        while not verdict.violations:
            if rounds is not None and verdict.kills >= rounds:
                break
            if seconds is not None and time.monotonic() - began >= seconds:
                break
            span = OPENING_S if dice.random() < EARLY_SHARE else WORKING_S
            answer = server.ask("live", folder, jobs, dice.uniform(0.0, span))
            tally.round(answer)
            if watch:
                print(f"\r{verdict.kills} kills, {verdict.runs} runs finished", end="", file=sys.stderr, flush=True)
        if watch:
            print(file=sys.stderr)
        verdict.seconds = time.monotonic() - began
        tally.end(server.ask("finish", folder, jobs, None))
    return verdict

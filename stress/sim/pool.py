"""Worker processes that share the jobs of a campaign.

What lives here: starting them, handing out jobs, what becomes of one that dies or hangs. What does not: the jobs.
"""

from __future__ import annotations

import json
import queue
import subprocess
import tempfile
import threading
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Final

from attrs import define, field

from ..child import command, environment
from .tally import Tally

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["Pool", "WorkerDied"]

STALL_S: Final = 900.0
"""A job takes seconds, and shrinking has a budget: without an answer for so long, the schedule never ends."""

ERROR_BYTES: Final = 4_000

Job = dict[str, object]
_Answer = tuple[Job, Tally] | BaseException


class WorkerDied(Exception):
    """A worker ended, or was ended, without an answer."""


@define(eq=False)
class Pool:
    """So many processes, each with one job at a time.

    Args:
        jobs: how many.
        stall_s: without an answer for so long, a worker is ended.
    """

    jobs: int
    stall_s: float = STALL_S
    _peaks: dict[int, int] = field(factory=dict)
    _stopping: threading.Event = field(factory=threading.Event)

    @property
    def peaks(self) -> list[int]:
        """What each held at most, in bytes."""
        return list(self._peaks.values())

    def each(self, next_job: Callable[[], Job | None]) -> Iterator[tuple[Job, Tally]]:
        """Every job with its answer, as they come.

        `next_job` is asked for a job when a worker is free; None ends it. `WorkerDied` is raised for the first worker
        that dies; it ends the others, and so does leaving the loop.
        """
        answers: queue.SimpleQueue[_Answer | None] = queue.SimpleQueue()
        lock = threading.Lock()
        processes: list[subprocess.Popen[str]] = []

        def give() -> Job | None:
            with lock:
                return None if self._stopping.is_set() else next_job()

        def serve(place: int, process: subprocess.Popen[str], errors: IO[bytes]) -> None:
            try:
                while (job := give()) is not None:
                    answers.put((job, self._ask(place, process, errors, job)))
            except BaseException as error:  # noqa: BLE001 - raised again where the answers are read
                answers.put(error)
            finally:
                answers.put(None)

        with _processes(self.jobs, processes) as errors:
            threads = [
                threading.Thread(target=serve, args=(place, process, log), daemon=True)
                for place, (process, log) in enumerate(zip(processes, errors, strict=True))
            ]
            for thread in threads:
                thread.start()
            try:
                yield from _until_over(answers, len(threads))
            finally:
                self._stopping.set()
                for process in processes:
                    process.kill()
                for thread in threads:
                    thread.join()

    def _ask(self, place: int, process: subprocess.Popen[str], errors: IO[bytes], job: Job) -> Tally:
        assert process.stdin is not None
        assert process.stdout is not None
        hung = threading.Timer(self.stall_s, process.kill)
        hung.daemon = True
        hung.start()
        line = ""
        try:
            process.stdin.write(json.dumps(job) + "\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except OSError:  # it is dead, which the empty line says
            pass
        finally:
            hung.cancel()
        if not line:
            raise WorkerDied(self._obituary(process, errors, job))
        found: Mapping[str, object] = json.loads(line)
        self._peaks[place] = int(str(found["peak"]))
        tally = found["tally"]
        assert isinstance(tally, dict)
        return Tally.from_json(tally)

    def _obituary(self, process: subprocess.Popen[str], errors: IO[bytes], job: Job) -> str:
        code = process.wait()
        errors.seek(0)
        said = errors.read()[-ERROR_BYTES:].decode(errors="replace").strip()
        what = " ".join(f"{name}={value}" for name, value in job.items() if name in ("scenario", "first", "count"))
        return f"a worker process ended with {code} at {what}: {said or 'it said nothing'}"


def _until_over(answers: queue.SimpleQueue[_Answer | None], threads: int) -> Iterator[tuple[Job, Tally]]:
    while threads:
        answer = answers.get()
        if answer is None:
            threads -= 1
        elif isinstance(answer, BaseException):
            raise answer
        else:
            yield answer


@contextmanager
def _processes(count: int, processes: list[subprocess.Popen[str]]) -> Iterator[list[IO[bytes]]]:
    """Start them, and end them in any case."""
    errors: list[IO[bytes]] = []
    try:
        for _ in range(count):
            log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed below, together with the process
            errors.append(log)
            processes.append(
                subprocess.Popen(
                    command("stress.sim.worker"),
                    env=environment(),
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                )
            )
        yield errors
    finally:
        for process in processes:
            process.kill()
            process.wait()
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what could not be sent to a dead process cannot be sent now
                        pipe.close()
        for log in errors:
            log.close()

"""The fork server: `python -m stress.kill.server` reads what to do from stdin, forks a process for it, and kills it.

What lives here: forking, killing, and passing on what the child told. Everything heavy is imported once, here, so that
a round costs milliseconds; nothing here starts a thread or an event loop, so that forking is safe. What does not: what
the child does (`worker`), when to kill it (`rounds`).

One request a line, one answer a line, both JSON: `{"task", "folder", "jobs", "kill_after_s"}` and `{"news", "killed",
"code", "error"}`.
"""

from __future__ import annotations

import json
import os
import select
import signal
import sys
import time
import traceback

from . import jobs, worker


def serve() -> None:
    """Answer requests until stdin ends."""
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)


def answer(request: dict[str, object]) -> dict[str, object]:
    """Have one request done by a child."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_the_child(request, writing)
    os.close(writing)
    kill_after = request["kill_after_s"]
    try:
        text, killed = _listen(reading, pid, float(str(kill_after)) if kill_after is not None else None)
    finally:
        os.close(reading)
        _, status = os.waitpid(pid, 0)
    news = [json.loads(line) for line in text.split(b"\n")[:-1]]  # what follows the last newline was cut off
    error = next((str(data) for kind, data in news if kind == "error"), "")
    return {"news": news, "killed": killed, "code": os.waitstatus_to_exitcode(status), "error": error}


def _listen(reading: int, pid: int, kill_after_s: float | None) -> tuple[bytes, bool]:
    """What the child tells until it has ended; whether it had to be killed."""
    deadline = None if kill_after_s is None else time.monotonic() + kill_after_s
    text = b""
    while True:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        if not select.select([reading], [], [], left)[0]:
            os.kill(pid, signal.SIGKILL)
            break
        piece = os.read(reading, 65_536)
        if not piece:
            return text, False
        text += piece
    while piece := os.read(reading, 65_536):  # until the dead child's end is closed
        text += piece
    return text, True


def _be_the_child(request: dict[str, object], news: int) -> None:
    """Work, and never return: a child that came back would serve requests."""
    code = 1
    try:
        names = request["jobs"]
        assert isinstance(names, list)
        # The answers of the server go to stdout: nothing of the child may.
        os.dup2(2, 1)
        worker.work(str(request["task"]), str(request["folder"]), names, news)
        code = 0
    except jobs.NoExamples as error:
        os.write(news, json.dumps(["error", str(error)]).encode() + b"\n")
    except BaseException:  # noqa: BLE001 - the boundary of the process: whatever it is, it is told
        os.write(news, json.dumps(["error", traceback.format_exc()]).encode() + b"\n")
    finally:
        os._exit(code)


if __name__ == "__main__":
    serve()

"""Real `kill -9` at chosen instants, and what the next opening makes of it (semantics F4, C3, C4, C5, C11, D7)."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest
import trio

from actorflow import RunOutcome, RunStatus, open_runtime
from tests.semantics import crash_flows as flows

ROOT = Path(__file__).resolve().parents[2]
KILLED = -signal.SIGKILL
COMMITS_MAX = 500
"""Far more commits than any of the workflows asks for."""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")


@attrs.frozen
class Case:
    """One journal with one run, and the file with what was acknowledged to it."""

    folder: Path
    flow: str

    @property
    def path(self) -> Path:
        """The journal."""
        return self.folder / "runs.db"

    @property
    def log(self) -> Path:
        """What was said."""
        return self.folder / "said.jsonl"

    def said(self, *first: object) -> list[list[object]]:
        """The lines that begin so."""
        return [line for line in flows.notes(self.log) if line[: len(first)] == [*first]]


class Server:
    """The process that forks lives."""

    def __init__(self) -> None:
        path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.semantics.crash_flows"],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def live(self, case: Case, *, commit: int = 0, side: str = "before", point: str = "") -> bool:
        """One life of a case; returns whether it was killed. One that ended otherwise than well fails the test."""
        request = {"path": str(case.path), "flow": case.flow, "data": {"log": str(case.log)}}
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps({**request, "commit": commit, "side": side, "point": point}) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        assert code in (0, KILLED), "the life ended with an error; see its stderr"
        return code == KILLED


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """One per module: it imports everything once."""
    found = Server()
    yield found
    found.process.stdin.close()
    found.process.wait()
    found.process.stdout.close()


def new_case(tmp_path: Path, flow: str, name: object = 0) -> Case:
    """An empty journal for a run of `flow`."""
    folder = tmp_path / f"{flow}-{name}"
    folder.mkdir()
    return Case(folder, flow)


async def recover(case: Case) -> RunOutcome:
    """Open the journal, and see the run to its end. What goes on has to do so by itself: nothing is asked of it."""
    async with open_runtime(flows.FLOWS, journal=f"sqlite:{case.path}", limits=flows.limits(case.flow)) as runtime:
        assert runtime.unrecovered == {}
        if not await runtime.list_runs():
            assert not case.log.exists(), "acknowledged, and gone"
            await runtime.start(case.flow, {"log": str(case.log)}, run_id=flows.RUN_ID)
        run = await runtime.get_run(flows.RUN_ID)
        if case.flow == "Everything" and not any(fact.kind == "event-received" for fact in await run.history()):
            assert not case.said("sent"), "an acknowledged event is gone"
            await run.send_event("go", 7)
        with trio.fail_after(1e6):
            return await run.wait()


def check(case: Case, outcome: RunOutcome) -> None:
    """No acknowledged operation lost, none applied twice, and the end is that of a run that never crashed."""
    assert outcome.status is RunStatus.COMPLETED, outcome
    assert outcome.output == flows.EVERYTHING
    for verb in ("push", "increment"):
        replies: dict[object, set[object]] = {}
        for _, i, reply in case.said(verb):
            replies.setdefault(i, set()).add(reply)
        # A pass that ran again got the recorded reply, and no two branches got the same one.
        assert all(len(found) == 1 for found in replies.values()), replies
        assert sorted(reply for found in replies.values() for reply in found) == [1, 2, 3, 4]
    assert {json.dumps(line) for line in case.said("receipt")} <= {'["receipt", {"amount": 3}]'}
    assert {tuple(line) for line in case.said("hook")} == {("hook", 1)}


# --- at every commit


def test_an_undisturbed_run_ends_as_written_down(server: Server, tmp_path: Path) -> None:
    """The yardstick of all tests below: without a kill the output is what they compare with."""
    case = new_case(tmp_path, "Everything")
    assert not server.live(case)
    outcome = trio.run(recover, case)
    check(case, outcome)
    assert len(case.said("charged")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.rule("F4", "C3", "F1")
async def test_kill_at_every_commit(side: str, server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """Killed before or after any of its commits, the run ends as if nothing had been."""
    for n in range(1, COMMITS_MAX):
        case = new_case(tmp_path, "Everything", n)
        killed = server.live(case, commit=n, side=side)
        check(case, await recover(case))
        assert len(case.said("charged")) <= 2
        if not killed:
            assert n > 10
            assert len(case.said("charged")) == 1
            return
    pytest.fail("the commits never end")


@pytest.mark.slow
@pytest.mark.parametrize("side", ["before", "after"])
@pytest.mark.rule("F4", "C3")
async def test_kill_during_recovery(side: str, server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """Killed at its first, second, third … commit in every life, over and over, the run still ends as it should."""
    for first in (3, 8):
        for n in range(1, 5):
            case = new_case(tmp_path, "Everything", f"{first}-{n}")
            assert server.live(case, commit=first, side=side)
            assert server.live(case, commit=n, side=side)
            assert server.live(case, commit=1, side=side)
            check(case, await recover(case))


@pytest.mark.rule("F4", "C3", "C5")
async def test_killed_in_every_life_after_its_first_commit(
    server: Server, tmp_path: Path, autojump_clock: object
) -> None:
    """A life that reaches one commit brings the run forward: a run that dies after each of them comes to its end."""
    case = new_case(tmp_path, "Everything")
    lives = 1
    while server.live(case, commit=4, side="after"):
        lives += 1
        assert lives < 100
    assert lives > 3
    check(case, await recover(case))


# --- at chosen points of the code


@pytest.mark.rule("C4", "F4")
async def test_kill_between_the_return_of_once_and_its_commit(
    server: Server, tmp_path: Path, autojump_clock: object
) -> None:
    """The one gap that `once` has: the process died before the result was journaled, so the function runs again."""
    case = new_case(tmp_path, "Everything")
    assert server.live(case, point="in once")
    check(case, await recover(case))
    assert len(case.said("charged")) == 2


@pytest.mark.rule("C4", "F4")
async def test_kill_after_once(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """Once its result is journaled, the function never runs again; the step does, and gets the result."""
    case = new_case(tmp_path, "Everything")
    assert server.live(case, point="after once")
    check(case, await recover(case))
    assert len(case.said("charged")) == 1
    assert len(case.said("receipt")) == 2


@pytest.mark.rule("C3", "F4")
async def test_kill_in_a_step_that_commits_on_success(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """What a `commit="on_success"` step had buffered is gone with it, and comes once when it runs again."""
    case = new_case(tmp_path, "Everything")
    assert server.live(case, point="in book")
    check(case, await recover(case))


@pytest.mark.rule("C11", "F4")
async def test_kill_in_the_completion_hook(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """A hook runs again after a crash, and its effects count once."""
    case = new_case(tmp_path, "Everything")
    assert server.live(case, point="in hook")
    assert server.live(case, point="in hook")
    check(case, await recover(case))
    assert len(case.said("hook")) == 3


@pytest.mark.rule("C11", "F4", "C6")
async def test_kill_in_the_error_hook(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """The error hook, run again after a crash, is told the same failure; the run has failed for the same reason."""
    case = new_case(tmp_path, "Failing")
    assert server.live(case, point="in hook")
    outcome = await recover(case)
    assert outcome.status is RunStatus.FAILED
    assert [(error.step_id, error.error_type, error.message) for error in outcome.failures] == [
        ("start", "ValueError", "boom")
    ]
    assert outcome.state == {"started": 1, "hook": 1}
    assert case.said("told") == [["told", "start", "ValueError", "boom"]] * 2


@pytest.mark.parametrize("point", ["half-way", "all taken"])
@pytest.mark.rule("C3", "F4", "C2")
async def test_kill_in_schedule_many(point: str, server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """Killed with some batches armed and others not, every payload is still scheduled exactly once."""
    case = new_case(tmp_path, "Many")
    assert server.live(case, point=point)
    outcome = await recover(case)
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.output == [flows.MANY, sum(range(flows.MANY))]


@pytest.mark.rule("D7", "F4")
async def test_timers_that_fell_due_while_the_process_was_down(
    server: Server, tmp_path: Path, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Timers outlive the process: what fell due meanwhile fires at once, in the order in which it was due."""
    case = new_case(tmp_path, "Timers")
    assert server.live(case, point="armed")
    later = time.time() + 86400
    monkeypatch.setattr("time.time", lambda: later)
    outcome = await recover(case)
    assert outcome.output == [1, 2, 3]
    assert trio.current_time() < 1


@pytest.mark.rule("D7", "F4")
async def test_timers_that_are_still_to_come(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """Timers that are not due yet wait for the rest of their time, and do not begin anew."""
    case = new_case(tmp_path, "Timers")
    assert server.live(case, point="armed")
    outcome = await recover(case)
    assert outcome.output == [1, 2, 3]
    assert 3 * 3600 - 600 < trio.current_time() <= 3 * 3600


@pytest.mark.rule("C5", "F4")
async def test_a_step_that_kills_its_process_fails_at_the_limit(
    server: Server, tmp_path: Path, autojump_clock: object
) -> None:
    """A crash uses up no attempt; a step that was live at `crashes_per_step` deaths fails, and runs no more."""
    case = new_case(tmp_path, "Deadly")
    for _ in range(3):
        assert server.live(case, point="always")
    assert not server.live(case, point="always")
    outcome = await recover(case)
    assert outcome.status is RunStatus.FAILED
    assert case.said("attempt") == [["attempt", 1]] * 3
    assert outcome.failures[0].step_id == "start"


@pytest.mark.rule("F4", "F1")
async def test_killed_from_outside(tmp_path: Path, autojump_clock: object) -> None:
    """A process killed by another one, while its run waits: everything that it had acknowledged is there."""
    case = new_case(tmp_path, "Marking")
    program = (
        "import sys, trio; from tests.semantics import crash_flows as flows; flows.here.point = 'block'; "
        "trio.run(flows.live, sys.argv[1], 'Marking', {'log': sys.argv[2]})"
    )
    with subprocess.Popen(  # noqa: ASYNC220 - nothing else runs here meanwhile
        [sys.executable, "-c", program, str(case.path), str(case.log)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill()
    assert process.returncode == KILLED
    assert [line[1:] for line in case.said("push")] == [[i, i + 1] for i in range(10)]
    outcome = await recover(case)
    assert outcome.output == [list(range(10)), list(range(10))]
    assert case.said("push")[10:] == case.said("push")[:10]


@pytest.mark.rule("F4", "F7")
async def test_ownership_ends_with_the_process(server: Server, tmp_path: Path, autojump_clock: object) -> None:
    """A killed owner leaves nothing behind that would keep the next one out."""
    case = new_case(tmp_path, "Timers")
    assert server.live(case, point="armed")
    assert case.path.with_name("runs.db.lock") in list(case.folder.iterdir())
    async with open_runtime(flows.FLOWS, journal=f"sqlite:{case.path}") as runtime:
        assert [summary.status for summary in await runtime.list_runs()] == [RunStatus.RUNNING]

"""A commit that fails, at every point, once or for ever, written or not (semantics F6): nothing false is said."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import attrs
import pytest
import trio

from actorflow import Context, JournalError, Run, RunNotFound, RunStatus, Runtime, StepStatus, Workflow, open_runtime
from actorflow.abc import Journal
from actorflow.journals import MemoryJournal, SqliteJournal
from actorflow.testing import Crash, Delay, Fail, Fault, FaultyJournal, SimulatedCrash, Tear

BRANCHES = 3
POINTS_MAX = 200
"""Far more writes than the workflow below asks for: a campaign that gets here never ends."""


@attrs.define
class Said:
    """What the library has acknowledged to the steps of a run, by the replies that they got."""

    pushed: list[str] = attrs.field(factory=list)
    counted: list[object] = attrs.field(factory=list)
    failures: list[BaseException] = attrs.field(factory=list)
    began: list[str] = attrs.field(factory=list)


def order_flow(said: Said) -> type[Workflow]:
    """Branches that push and count, a wait for an event, a timer, and a hook: every kind of write but a failure."""

    class Order(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("item", [{"i": i} for i in range(BRANCHES)])
            await ctx.wait_for_event("paid", action="paid")

        async def item(self, data, ctx: Context):
            said.began.append(f"item{data['i']}")
            for j in range(2):
                name = f"{data['i']}.{j}"
                try:
                    await ctx.run_store.push("items", name)
                    said.pushed.append(name)
                    said.counted.append(await ctx.run_store.increment("n"))
                except Exception as error:
                    said.failures.append(error)
                    raise
            await ctx.schedule_next_step("later", data, delay="2 sec")

        async def later(self, data, ctx: Context):
            await ctx.run_store.increment("later")

        async def paid(self, data, ctx: Context):
            await ctx.run_store.set("paid", ctx.event)

        async def on_workflow_complete(self, ctx: Context):
            found = await ctx.run_store.snapshot()
            found["items"] = sorted(found["items"])
            return found

    return Order


WANTED = {"items": sorted(f"{i}.{j}" for i in range(BRANCHES) for j in range(2)), "n": 6, "later": 3, "paid": 7}


async def insist(call: Callable[[], Awaitable[object]], tries: int = 60) -> object:
    """What a caller does who knows that writing may work again: once more, after a pause. The last error is raised."""
    for left in reversed(range(tries)):
        try:
            return await call()
        except JournalError:
            if not left:
                raise
            await trio.sleep(1)
    raise AssertionError("not reached")


async def drive(runtime: Runtime, flow: type[Workflow]) -> object:
    """Start the order, pay it once, and wait for its result, whatever the journal does meanwhile."""

    async def begin() -> Run:
        return await runtime.start(flow, run_id="order")

    run = await insist(begin)
    assert isinstance(run, Run)

    async def pay() -> None:
        # Whether an event whose delivery raised has arrived is not known; the history, once it can be read, tells.
        if not any(fact.kind == "EventReceived" or "event" in fact.kind for fact in await run.history()):
            await run.send_event("paid", 7)

    await insist(pay)
    return await insist(run.result)


def check_said(said: Said, result: object) -> None:
    """Nothing acknowledged was lost, nothing counted twice, and the end is that of an undisturbed run."""
    assert result == WANTED
    assert set(said.pushed) <= set(WANTED["items"])
    for error in said.failures:
        assert isinstance(error, JournalError), error


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.rule("F6", "F4")
async def test_every_write_may_fail_and_the_run_goes_on(times: int, written: bool, autojump_clock: object) -> None:
    """Whichever write fails, for a while: the run ends in the same runtime as if nothing had been."""
    for n in range(1, POINTS_MAX):
        said = Said()
        flow = order_flow(said)
        journal = FaultyJournal(MemoryJournal(durable=True), {n: Fail(times=times, written=written)})
        with trio.fail_after(3600):
            async with open_runtime([flow], journal=journal) as runtime:
                check_said(said, await drive(runtime, flow))
        if not journal.failed:
            assert n > 10
            return
    pytest.fail("the writes never end")


@pytest.mark.parametrize(
    "fault",
    [Fail(times=None), Fail(times=None, written=True), Crash(), Crash(written=True)],
    ids=["fail", "fail-written", "crash", "crash-written"],
)
@pytest.mark.rule("F6", "F4")
async def test_every_write_may_be_the_last_and_the_next_opening_goes_on(fault: Fault, autojump_clock: object) -> None:
    """Whichever write is the last that works: the next opening goes on from what the journal holds."""
    for n in range(1, POINTS_MAX):
        said = Said()
        flow = order_flow(said)
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})
        ended = False
        with trio.move_on_after(100):
            try:
                async with open_runtime([flow], journal=journal, shutdown_grace=1) as runtime:
                    await drive(runtime, flow)
                    ended = True
            except (SimulatedCrash, JournalError):
                pass
        acknowledged = list(said.pushed)
        async with open_runtime([flow], journal=disk) as runtime:
            assert runtime.unrecovered == {}
            with trio.fail_after(3600):
                result = WANTED if ended else await drive(runtime, flow)
        assert len(set(acknowledged)) == len(acknowledged)
        check_said(said, result)
        if not journal.failed:
            assert n > 10
            return
    pytest.fail("the writes never end")


@pytest.mark.parametrize("fraction", [0.0, 0.3, 0.9, 1.0])
@pytest.mark.rule("F4", "F5", "F6")
async def test_a_write_torn_on_the_way_to_the_disk(fraction: float, tmp_path: Path, autojump_clock: object) -> None:
    """Whichever write of a file is torn, and wherever: what was acknowledged is there at the next opening."""
    n = 1
    while True:
        said = Said()
        flow = order_flow(said)
        path = tmp_path / f"{n}.db"
        journal = FaultyJournal(SqliteJournal(path), {n: Tear(fraction)})
        try:
            async with open_runtime([flow], journal=journal, shutdown_grace=1) as runtime:
                await drive(runtime, flow)
        except SimulatedCrash:
            pass
        if not journal.failed:
            break
        async with open_runtime([flow], journal=f"sqlite:{path}") as runtime:
            with trio.fail_after(3600):
                check_said(said, await drive(runtime, flow))
        n += 3
    assert n > 10


# --- one failure, looked at closely


class Steps:
    """What the steps of the workflow below went through."""

    def __init__(self) -> None:
        self.reached = trio.Event()
        self.cancelled = 0
        self.replies: list[object] = []


def push_flow(steps: Steps) -> type[Workflow]:
    """One step that writes when it is told to, and one that sleeps."""

    class Pusher(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("sleeper")
            await ctx.wait_for_event("go", action="writer")

        async def sleeper(self, data, ctx: Context):
            steps.reached.set()
            try:
                await trio.sleep(1000)
            except trio.Cancelled:
                steps.cancelled += 1
                raise

        async def writer(self, data, ctx: Context):
            for i in range(3):
                steps.replies.append(await ctx.run_store.push("l", i))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("l")

        async def on_workflow_error(self, error, ctx: Context):
            steps.replies.append(error)

        async def on_workflow_cancel(self, reason, ctx: Context):
            steps.replies.append(reason)

    return Pusher


async def quiet(runtime: Runtime) -> None:
    """Let everything that is under way come to rest, without letting time pass: a virtual clock never gets there."""
    for _ in range(50):
        await trio.lowlevel.checkpoint()


class Switch(MemoryJournal):
    """A journal in memory that claims to last, and that refuses all writes while it is `broken`."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self.broken = False
        self.keeps = False
        self.refused = 0

    async def commit(self, appends):
        """Write, or refuse; while `keeps` is set, do both."""
        if not self.broken:
            return await super().commit(appends)
        if self.keeps:
            await super().commit(appends)
        self.refused += 1
        raise JournalError("the disk is full")


@pytest.mark.rule("F6")
async def test_all_calls_raise_while_the_journal_cannot_be_written(autojump_clock: object) -> None:
    """A waiting caller hears of it, and so does every later wait, result, start, send_event and cancel."""
    steps = Steps()
    flow = push_flow(steps)
    disk = Switch()
    async with open_runtime([flow], journal=disk) as runtime:
        run = await runtime.start(flow, run_id="r")
        await steps.reached.wait()
        heard = []

        async def wait_for(call: Callable[[], Awaitable[object]]) -> None:
            with pytest.raises(JournalError) as raised:
                await call()
            heard.append(raised.value)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait_for, run.wait)
            nursery.start_soon(wait_for, run.result)
            await quiet(runtime)
            disk.broken = True
            with pytest.raises(JournalError):
                await run.send_event("go")
        assert len(heard) == 2
        calls: list[Callable[[], Awaitable[object]]] = [
            run.wait,
            run.result,
            run.cancel,
            lambda: run.send_event("go"),
            lambda: runtime.start(flow, run_id="r"),
            lambda: runtime.start(flow, run_id="another"),
        ]
        for call in calls:
            with pytest.raises(JournalError):
                await call()
        assert steps.cancelled == 1
        assert steps.replies == []
        disk.broken = False


@pytest.mark.rule("F6")
async def test_steps_are_cancelled_not_failed(autojump_clock: object) -> None:
    """A failing journal is nobody's failure: no hook runs, no attempt is used up, no failure is recorded."""
    steps = Steps()
    flow = push_flow(steps)
    disk = Switch()
    async with open_runtime([flow], journal=disk) as runtime:
        run = await runtime.start(flow, run_id="r")
        await steps.reached.wait()
        disk.broken = True
        with pytest.raises(JournalError):
            await run.send_event("go")
        await trio.sleep(100)
        assert steps.cancelled >= 1
        assert await run.status() is RunStatus.RUNNING
        disk.broken = False
        await insist(lambda: run.send_event("go"))
        outcome = await insist(run.wait)
        assert outcome.status is RunStatus.COMPLETED
        assert outcome.failures == ()
        assert {record.step_id: record.attempts for record in outcome.steps}["sleeper"] == 1
        assert all(record.status is StepStatus.COMPLETED for record in outcome.steps)
    assert steps.replies == [1, 2, 3]


@pytest.mark.rule("F6")
async def test_a_handle_from_before_the_trouble_sees_a_run_that_ended_in_it(autojump_clock: object) -> None:
    """The last commit of a run raised but was written: once writing works again, its handles tell how it ended."""

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            return 5

    for n in range(1, POINTS_MAX):
        journal = FaultyJournal(MemoryJournal(durable=True), {n: Fail(written=True)})
        async with open_runtime([Short], journal=journal) as runtime:
            run = await insist(lambda: runtime.start(Short, run_id="r"))
            assert isinstance(run, Run)
            with trio.fail_after(1000):
                assert await insist(run.result) == 5
        if not journal.failed:
            assert n > 2
            return


@pytest.mark.rule("F6")
async def test_cancel_says_nothing_of_an_end_that_is_not_written(autojump_clock: object) -> None:
    """The end of a run could not be written: `cancel`, `send_event`, `wait` raise, none tells that the run is over."""

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("end", action="finish")

        async def finish(self, data, ctx: Context):
            await trio.sleep(1)
            return 5

    disk = Switch()
    async with open_runtime([Short], journal=disk) as runtime:
        run = await runtime.start(Short, run_id="r")
        await run.send_event("end")
        await trio.sleep(0.5)
        disk.broken = True
        await trio.sleep(0.6)
        assert disk.refused == 1
        assert await run.status() is RunStatus.RUNNING
        for call in (run.cancel, run.wait, run.result, lambda: run.send_event("end")):
            with pytest.raises(JournalError):
                await call()
        disk.broken = False
        assert (await insist(run.wait)).status is RunStatus.COMPLETED


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
@pytest.mark.rule("F6")
async def test_a_start_that_failed_can_be_repeated(written: bool, autojump_clock: object) -> None:
    """A start whose commit raised, written or not: the same start again gives the run, and it runs by itself."""
    ran = trio.Event()

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            ran.set()
            return data

    journal = FaultyJournal(MemoryJournal(durable=True), {1: Fail(written=written)})
    async with open_runtime([Short], journal=journal) as runtime:
        with pytest.raises(JournalError):
            await runtime.start(Short, 1, run_id="r")
        assert not ran.is_set()
        if not written:
            with pytest.raises(RunNotFound):
                await runtime.get_run("r")
        await runtime.start(Short, 1, run_id="r")
        with trio.fail_after(100):
            await ran.wait()
            assert await (await runtime.get_run("r")).result() == 1


@pytest.mark.parametrize("written", [False, True], ids=["not-written", "written"])
@pytest.mark.rule("F6")
async def test_only_the_runs_of_the_failed_commit_stop(written: bool, autojump_clock: object) -> None:
    """A run that was not in the failed commit goes on, its steps undisturbed."""
    quiet_cancelled = []

    class Quiet(Workflow):
        async def start(self, data, ctx: Context):
            try:
                await trio.sleep(10)
            except trio.Cancelled:
                quiet_cancelled.append(True)
                raise
            return "quiet"

    class Loud(Workflow):
        async def start(self, data, ctx: Context):
            await trio.sleep(1)
            return await ctx.run_store.increment("n")

    disk = Switch()
    async with open_runtime([Quiet, Loud], journal=disk) as runtime:
        calm = await runtime.start(Quiet)
        loud = await runtime.start(Loud)
        await trio.sleep(0.5)
        disk.broken, disk.keeps = True, written
        with pytest.raises(JournalError):
            await loud.wait()
        disk.broken = False
        assert await calm.result() == "quiet"
        assert quiet_cancelled == []
        assert await insist(loud.result) == 1


@pytest.mark.rule("F6")
async def test_what_is_not_written_is_not_shown(autojump_clock: object) -> None:
    """The value that a failed commit would have written is seen by nobody: not in the state, events or history."""
    disk = Switch()

    class Writer(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("a", 1)
            await trio.sleep(1)
            await ctx.run_store.set("a", 2)

    async with open_runtime([Writer], journal=disk) as runtime:
        run = await runtime.start(Writer)
        await trio.sleep(0.5)
        seen = []

        async def listen() -> None:
            with pytest.raises(JournalError):
                async with run.events() as stream:
                    async for event in stream:
                        seen.append(event.seq)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            await quiet(runtime)
            before = len(await run.history())
            disk.broken = True
        assert await run.state() == {"a": 1}
        assert len(await run.history()) == before == seen[-1]
        description = await run.describe()
        assert description.status is RunStatus.RUNNING
        disk.broken = False
        assert (await insist(run.wait)).state == {"a": 2}


@pytest.mark.rule("F6")
async def test_a_failure_of_any_kind_is_a_journal_error(autojump_clock: object) -> None:
    """A journal of somebody else's making raises what it likes: the users get `JournalError`, with the cause."""

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            return 1

    journal = FaultyJournal(MemoryJournal(durable=True), {1: Fail(error=OSError(28, "No space left on device"))})
    async with open_runtime([Short], journal=journal) as runtime:
        with pytest.raises(JournalError) as raised:
            await runtime.start(Short)
        assert isinstance(raised.value.__cause__, OSError)


@pytest.mark.rule("F6", "G")
async def test_closing_while_the_journal_fails(autojump_clock: object) -> None:
    """A journal that fails at closing ends the block in order: its steps end first, the run is there afterwards."""
    ended = []

    class Slow(Workflow):
        async def start(self, data, ctx: Context):
            ended.append("begin")
            try:
                await trio.sleep(5 if len(ended) > 1 else 50)
            finally:
                ended.append("end")
            return "done"

    disk = Switch()
    with trio.fail_after(1000):
        async with open_runtime([Slow], journal=disk, shutdown_grace=1) as runtime:
            await runtime.start(Slow, run_id="r")
            await trio.sleep(1)
            disk.broken = True
        assert ended == ["begin", "end"]
        disk.broken = False
        async with open_runtime([Slow], journal=disk) as runtime:
            assert await (await runtime.get_run("r")).result() == "done"


@pytest.mark.rule("F6")
async def test_failing_journals_are_journals(autojump_clock: object) -> None:
    """With an empty plan `FaultyJournal` changes nothing, and counts the writes."""

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            return await ctx.run_store.push("l", 1)

    journal: Journal = FaultyJournal(MemoryJournal(durable=True), {})
    async with open_runtime([Short], journal=journal) as runtime:
        assert await runtime.run(Short) == 1
        assert isinstance(journal, FaultyJournal)
        assert journal.writes == runtime.statistics().commits > 0
        assert journal.failed == 0


@pytest.mark.rule("F1")
async def test_a_slow_write_delays_the_reply(autojump_clock: object) -> None:
    """A write that takes five seconds keeps its caller waiting for five seconds, and nothing else is lost."""

    class Short(Workflow):
        async def start(self, data, ctx: Context):
            return 1

    journal = FaultyJournal(MemoryJournal(durable=True), {1: Delay(5), 2: Delay(0)})
    async with open_runtime([Short], journal=journal) as runtime:
        before = trio.current_time()
        run = await runtime.start(Short)
        assert trio.current_time() - before == 5
        assert await run.result() == 1
        assert journal.failed == 0

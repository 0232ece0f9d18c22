"""Places of the runtime that seldom meet anybody: races at the end of a run, repairs cut short, odd watchers."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from actorflow import (
    Context,
    DefinitionError,
    JournalCorrupt,
    JournalError,
    Limits,
    LostUpdate,
    Run,
    RunFailed,
    RunOver,
    RunStatus,
    Runtime,
    RuntimeClosed,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from actorflow._runtime import dispatcher, recovery, supervisor
from actorflow.abc import Append, StoredRun
from actorflow.journals import MemoryJournal
from actorflow.testing import FaultyJournal

LONG = 1e6
"""Seconds of virtual time after which something hangs."""


class Gated(MemoryJournal):
    """A journal that claims to last; its commits and its reading can be held up, and fail."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self.gate: trio.Event | None = None
        self.waiting = trio.Event()
        self.refuses = False
        self.unreadable: dict[str, JournalError] = {}
        self.slow: dict[str, float] = {}
        self.looked_for: list[str] = []

    async def commit(self, appends: Sequence[Append]) -> int:
        """Write once the gate is open, or refuse."""
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        if self.refuses:
            raise JournalError("the disk is full")
        return await super().commit(appends)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Commits wait until the end of the block."""
        gate = self.gate = trio.Event()
        try:
            yield
        finally:
            self.gate = None
            gate.set()

    async def load(self, run_id: str) -> StoredRun | None:
        """The run, or the trouble with it."""
        self.looked_for.append(run_id)
        if run_id in self.slow:
            with trio.CancelScope(shield=True):  # as a thread that reads from a disk
                await trio.sleep(self.slow[run_id])
        if run_id in self.unreadable:
            raise self.unreadable[run_id]
        return await super().load(run_id)


async def quiet() -> None:
    """Let everything that is under way come to rest, without letting time pass."""
    for _ in range(50):
        await trio.lowlevel.checkpoint()


async def insist(call: Callable[[], Awaitable[object]]) -> object:
    """What a caller does who knows that writing may work again."""
    while True:
        try:
            return await call()
        except JournalError:
            await trio.sleep(1)


# --- who watches a value


async def watched(journal: str, change: Callable[[Context], Awaitable[object]], *more: type[Workflow]) -> object:
    """What `wait_for` gives to a step that waits for key "k" while another step makes the change."""

    class Watches(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("changes", delay=1)
            return await ctx.run_store.wait_for("k", lambda value: value is not None)

        async def changes(self, data, ctx: Context):
            await change(ctx)

    async with open_runtime([Watches, *more], journal=journal) as runtime:
        with trio.fail_after(LONG):
            return await runtime.run(Watches)


@pytest.mark.rule("B4", "C3")
async def test_a_watcher_hears_of_a_named_operation(journal: str, autojump_clock: MockClock) -> None:
    """`wait_for` returns for a change that carries an `op_id`, as for any other."""
    assert await watched(journal, lambda ctx: ctx.run_store.set("k", 5, op_id="mine")) == 5


@pytest.mark.rule("B11")
async def test_a_watcher_hears_of_a_transaction(journal: str, autojump_clock: MockClock) -> None:
    """`wait_for` returns for a key that a transaction changes among others."""

    async def change(ctx: Context) -> None:
        async with ctx.run_store.transaction() as tx:
            tx.increment("other")
            tx.set("k", 5)

    assert await watched(journal, change) == 5


@pytest.mark.rule("E2")
async def test_a_watcher_hears_of_what_a_child_gives_back(journal: str, autojump_clock: MockClock) -> None:
    """`wait_for` returns for what comes into the store by the merge of a child."""

    class Child(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.push("k", "from below")

    assert await watched(journal, lambda ctx: ctx.run_child(Child, merge_state=True), Child) == ["from below"]


@pytest.mark.rule("A5")
async def test_a_predicate_that_raises_later(journal: str, autojump_clock: MockClock) -> None:
    """A predicate that raises for a later value fails its own caller, and neither the writer nor the run."""
    heard: list[object] = []

    class Watches(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("changes", delay=1)
            try:
                await ctx.run_store.wait_for("k", lambda value: value is not None and 1 / value)
            except ZeroDivisionError as error:
                heard.append(error)
            return await ctx.run_store.get("k")

        async def changes(self, data, ctx: Context):
            heard.append(await ctx.run_store.increment("k", 0))

    async with open_runtime([Watches], journal=journal) as runtime:
        with trio.fail_after(LONG):
            assert await runtime.run(Watches) == 0
    assert sorted(type(item).__name__ for item in heard) == ["ZeroDivisionError", "int"]


# --- lost updates that are only warned of


@pytest.mark.rule("B10")
@pytest.mark.parametrize("kind", ["named", "on success"])
async def test_a_lost_update_that_is_only_warned_of(
    kind: str, journal: str, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With `lost_updates="warn"` the last write wins and a line is logged: with `op_id=`, and at a step's success."""

    class Warned(Workflow):
        lost_updates = "warn"

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("late" if kind == "on success" else "named")
            await ctx.schedule_next_step("between", delay=1)

        @step(commit="on_success")
        async def late(self, data, ctx: Context):
            await ctx.run_store.get("k")
            await trio.sleep(2)
            await ctx.run_store.set("k", "mine")

        async def named(self, data, ctx: Context):
            await ctx.run_store.get("k")
            await trio.sleep(2)
            await ctx.run_store.set("k", "mine", op_id="x")

        async def between(self, data, ctx: Context):
            await ctx.run_store.set("k", "theirs")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("k")

    async with open_runtime([Warned], journal=journal) as runtime:
        assert await runtime.run(Warned) == "mine"
    assert "lost update" in caplog.text
    assert LostUpdate.__name__ not in caplog.text


# --- events


@pytest.mark.rule("D6")
async def test_a_kept_event_that_fits_is_handed_down(journal: str, autojump_clock: MockClock) -> None:
    """An event kept in a run reaches the descendant that waits for it later, checked against its type there."""

    @step
    async def show(data: int, ctx: Context) -> int:
        return data

    inner = workflow("inner").sleep(5).wait_for_event("paid", type=int).then(show).commit()
    outer = workflow("outer").then(inner).commit()
    async with open_runtime([outer], journal=journal) as runtime:
        run = await runtime.start(outer)
        await run.send_event("paid", 7)
        with trio.fail_after(LONG):
            assert await run.result() == 7


@define
class Exits:
    """Event data whose making ends the process, as Ctrl-C in the middle of it would."""

    cents: int

    def __attrs_post_init__(self) -> None:
        if self.cents < 0:
            raise KeyboardInterrupt


async def test_an_exit_in_the_owner_ends_the_block_and_leaves_nobody_waiting(
    sqlite_url: str, autojump_clock: MockClock
) -> None:
    """Ctrl-C that strikes while a run decides: the block ends with it, and who waits hears that the runtime failed."""

    @step
    async def show(data: Exits, ctx: Context) -> int:
        return data.cents

    inner = workflow("inner").sleep(5).wait_for_event("paid", type=Exits).then(show).commit()
    outer = workflow("outer").then(inner).commit()
    heard: list[BaseException] = []

    async def wait(run: Run) -> None:
        with trio.CancelScope(shield=True):
            try:
                await run.wait()
            except RuntimeClosed as error:
                heard.append(error)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            async with open_runtime([outer], journal=sqlite_url) as runtime:
                run = await runtime.start(outer, run_id="r")
                await run.send_event("paid", {"cents": -1})
                nursery.start_soon(wait, run)
                await trio.sleep(LONG)

    with pytest.raises(BaseException) as raised:
        await main()
    error: BaseException = raised.value
    while isinstance(error, BaseExceptionGroup):
        assert len(error.exceptions) == 1
        error = error.exceptions[0]
    assert isinstance(error, KeyboardInterrupt)
    assert len(heard) == 1
    assert "KeyboardInterrupt" in str(heard[0])


@pytest.mark.rule("G")
async def test_who_asks_a_resting_run_of_a_cancelled_block(sqlite_url: str, autojump_clock: MockClock) -> None:
    """The block was cancelled from outside: a call to a run that rests, from a shielded place, ends at once."""
    with trio.CancelScope() as scope:
        async with open_runtime([Asks], journal=sqlite_url) as runtime:
            run = await runtime.start(Asks)
            await run.wait()
            scope.cancel()
            with trio.fail_after(LONG) as bound:
                bound.shield = True
                await trio.sleep(1)
                with pytest.raises(RuntimeClosed, match="was cancelled"):
                    await run.send_event("late")


# --- the end of a run


class Short(Workflow):
    """Waits for an event, and is over."""

    async def start(self, data, ctx: Context):
        await ctx.wait_for_event("end", action="finish")

    async def finish(self, data, ctx: Context):
        await trio.sleep(1)


@pytest.mark.rule("A7", "F1")
async def test_messages_behind_the_last_one(autojump_clock: MockClock) -> None:
    """What stands in the mailbox when the run ends is answered with `RunOver`, once that is durable; nobody hangs."""
    disk = Gated()
    heard: list[object] = []

    class Two(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("slow")

        async def slow(self, data, ctx: Context):
            await trio.sleep(1)

    async def send(run: Run) -> None:
        try:
            await run.send_event("late")
        except RunOver as error:
            heard.append(error)

    async with open_runtime([Two], journal=disk, limits=Limits(mailbox=1)) as runtime:
        run = await runtime.start(Two)
        async with trio.open_nursery() as nursery:
            await trio.sleep(0.5)
            with disk.held():
                nursery.start_soon(runtime.start, Two)  # a commit that takes its time
                await disk.waiting.wait()
                await trio.sleep(0.6)  # the end of the step waits behind it
                nursery.start_soon(send, run)
                await quiet()
            with trio.fail_after(LONG):
                assert (await run.wait()).status is RunStatus.COMPLETED
    assert len(heard) == 1


@pytest.mark.rule("F1", "F6")
@pytest.mark.parametrize("refuses", [False, True], ids=["written", "refused"])
async def test_nobody_hears_of_an_end_that_is_not_durable_yet(refuses: bool, autojump_clock: MockClock) -> None:
    """An event that comes while the end of the run is being written hears `RunOver` only when that is durable."""
    disk = Gated()
    heard: list[object] = []

    async def send(run: Run) -> None:
        try:
            await run.send_event("late")
        except (RunOver, JournalError) as error:
            heard.append(type(error))

    async with open_runtime([Short], journal=disk) as runtime:
        run = await runtime.start(Short)
        await run.send_event("end")
        await trio.sleep(0.5)
        async with trio.open_nursery() as nursery:
            with disk.held():
                await disk.waiting.wait()  # the end is on its way to the disk
                nursery.start_soon(send, run)
                await quiet()
                assert heard == []
                assert await run.status() is RunStatus.RUNNING
                disk.refuses = refuses
        assert heard == [JournalError if refuses else RunOver]
        disk.refuses = False
        with trio.fail_after(LONG):
            await insist(run.result)
        assert await run.status() is RunStatus.COMPLETED


@pytest.mark.rule("C5", "C12")
async def test_a_step_that_crashed_too_often_stops_one_that_would_begin(autojump_clock: MockClock) -> None:
    """Of two steps that a crash has cut off one has died too often: the run fails, and the other is not begun again."""
    disk = MemoryJournal(durable=True)
    began: list[str] = []

    class Dies(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="other")
            await ctx.schedule_next_step("deadly")

        async def other(self, data, ctx: Context):
            began.append("other")
            await trio.sleep_forever()

        async def deadly(self, data, ctx: Context):
            began.append("deadly")
            if len(began) > 1:  # in its second life, so that it comes behind the other one in the third
                await ctx.suspend()
            await trio.sleep_forever()

    @asynccontextmanager
    async def life() -> AsyncIterator[Runtime]:
        journal = FaultyJournal(disk, {})
        async with open_runtime(
            [Dies], journal=journal, limits=Limits(crashes_per_step=2), shutdown_grace=0
        ) as runtime:
            yield runtime
            await trio.sleep(1)
            journal.crash()

    async with life() as runtime:
        await runtime.start(Dies, run_id="r")
    async with life() as runtime:
        run = await runtime.get_run("r")
        assert (await run.wait()).status is RunStatus.SUSPENDED
        await run.send_event("go")
        await trio.sleep(1)
        await run.resume()
    assert began == ["deadly", "deadly", "other", "deadly"]
    async with open_runtime([Dies], journal=disk, limits=Limits(crashes_per_step=2)) as runtime:
        with trio.fail_after(LONG), pytest.raises(RunFailed, match="died 2 times"):
            await (await runtime.get_run("r")).result()
    assert began == ["deadly", "deadly", "other", "deadly"]


@pytest.mark.rule("C8")
async def test_a_long_run_in_memory_is_packed_on_the_way(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    """With `memory:` a run of many facts hands them on as it goes; its history is whole, in order, and once each."""
    monkeypatch.setattr(supervisor, "KEEP_MAX", 20)
    monkeypatch.setattr(dispatcher, "KEEP_MAX", 20)

    class Many(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("count", list(range(100)))
            await ctx.schedule_next_step("last", delay=10)

        async def count(self, data, ctx: Context):
            await ctx.run_store.increment("n")

        async def last(self, data, ctx: Context):
            await ctx.wait_for_event("end", action="last")

    async with open_runtime([Many]) as runtime:
        run = await runtime.start(Many)
        await trio.sleep(20)
        facts = await run.history()
        assert [fact.seq for fact in facts] == list(range(1, len(facts) + 1))
        assert sum("perationApplied" in fact.kind or fact.kind == "op" for fact in facts) in (0, 100)
        assert len(facts) > 300
        assert await run.state() == {"n": 100}


# --- taking up


begun: Counter[str] = Counter()
"""How often the step of each sleeping run has begun, since the test did."""


@pytest.fixture(autouse=True)
def nobody_has_begun() -> None:
    """Count from 0."""
    begun.clear()


class Sleeps(Workflow):
    """Works for ever, each time anew."""

    async def start(self, data, ctx: Context):
        begun[ctx.run_id] += 1
        await trio.sleep_forever()


class Calls(Workflow):
    """Has one child that sleeps."""

    async def start(self, data, ctx: Context):
        await ctx.run_child(Sleeps)


@pytest.mark.rule("F9", "F5")
async def test_a_running_child_that_nobody_knows(sqlite_url: str, autojump_clock: MockClock) -> None:
    """The workflow of a running child is not given any more: it is listed, and its parent waits until it is."""
    async with open_runtime([Calls, Sleeps], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Calls, run_id="r")
        await trio.sleep(1)
    async with open_runtime([Calls], journal=sqlite_url, shutdown_grace=0) as runtime:
        (found,) = runtime.unrecovered.values()
        assert isinstance(found, DefinitionError)
        await trio.sleep(1)
        assert await (await runtime.get_run("r")).status() is RunStatus.RUNNING
    async with open_runtime([Calls, Sleeps], journal=sqlite_url, shutdown_grace=0) as runtime:
        assert not runtime.unrecovered
        await trio.sleep(1)
        assert (runtime.statistics().live_runs, runtime.statistics().live_steps) == (2, 2)


@pytest.mark.rule("A8")
async def test_a_parent_of_a_child_that_nobody_knows_can_be_cancelled(
    sqlite_url: str, autojump_clock: MockClock
) -> None:
    """It waits, and whoever does not want to bring the workflow back ends it."""
    async with open_runtime([Calls, Sleeps], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Calls, run_id="r")
        await trio.sleep(1)
    async with open_runtime([Calls], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.get_run("r")
        await trio.sleep(1)
        await run.cancel()
        with trio.fail_after(LONG):
            assert (await run.wait()).status is RunStatus.CANCELLED


@pytest.mark.rule("F4", "A8")
async def test_acting_on_a_child_takes_up_its_parent_first(sqlite_url: str, autojump_clock: MockClock) -> None:
    """With `recover=False`, acting on a child brings back the runs above it as well, and it runs once, not twice."""
    async with open_runtime([Calls, Sleeps], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Calls, run_id="r")
        await trio.sleep(1)
        (child,) = (await (await runtime.get_run("r")).describe()).children
    async with open_runtime([Calls, Sleeps], journal=sqlite_url, recover=False, shutdown_grace=0) as runtime:
        below = await runtime.get_run(child.run_id)
        await below.send_event("hello")
        await trio.sleep(1)
        assert runtime.statistics().live_runs == 2
        assert runtime.statistics().live_steps == 2
        assert begun == {child.run_id: 2}
        await below.cancel()
        with trio.fail_after(LONG):
            assert (await (await runtime.get_run("r")).wait()).status is RunStatus.FAILED


@pytest.mark.rule("F9")
async def test_a_chain_with_another_link_in_the_place(sqlite_url: str, autojump_clock: MockClock) -> None:
    """A graph whose link was exchanged under a waiting run: the recovery fails and names the link that it waits in."""

    @step
    async def pay(data, ctx: Context):
        return data

    def graph(event: str, link: bool) -> object:
        work = workflow("order")
        work = work.wait_for_event(event) if link else work.sleep(1000)
        return work.then(pay).commit()

    async with open_runtime([graph("paid", True)], journal=sqlite_url) as runtime:
        await runtime.start("order", run_id="r")
        await trio.sleep(1)
    async with open_runtime([graph("paid", False)], journal=sqlite_url) as runtime:
        assert isinstance(runtime.unrecovered["r"], DefinitionError)
        assert "paid" in str(runtime.unrecovered["r"]) or "event" in str(runtime.unrecovered["r"])


@pytest.mark.rule("F5", "A8")
async def test_a_child_whose_parent_is_not_in_the_journal(autojump_clock: MockClock) -> None:
    """The row of a parent is lost: its child is listed with that, and the other runs go on."""
    disk = MemoryJournal(durable=True)
    async with open_runtime([Calls, Sleeps], journal=disk, shutdown_grace=0) as runtime:
        await runtime.start(Calls, run_id="r")
        await runtime.start(Sleeps, run_id="other")
        await trio.sleep(1)
        (child,) = (await (await runtime.get_run("r")).describe()).children
    del disk._runs["r"]
    async with open_runtime([Calls, Sleeps], journal=disk, shutdown_grace=0) as runtime:
        assert list(runtime.unrecovered) == [child.run_id]
        await trio.sleep(1)
        assert begun == {child.run_id: 1, "other": 2}


class Asks(Workflow):
    """Asks, and gives up asking in a while."""

    id = "asks"

    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("remind", delay=100)
        await ctx.suspend("?")

    async def remind(self, data, ctx: Context):
        await ctx.run_store.increment("reminded")


def asks_without(name: str) -> type[Workflow]:
    """The same workflow without one of its steps."""
    kept = {key: value for key, value in vars(Asks).items() if not key.startswith("_") and key != name}
    return type("Asks", (Workflow,), {**kept, "__module__": __name__})


async def leave_asking(count: int) -> MemoryJournal:
    """A journal with that many suspended runs; their ids are numbers."""
    disk = Gated()
    async with open_runtime([Asks], journal=disk) as runtime:
        for n in range(count):
            assert (await (await runtime.start(Asks, run_id=str(n))).wait()).status is RunStatus.SUSPENDED
    gc.collect()
    return disk


@pytest.mark.rule("D1", "D7", "F9")
async def test_more_suspended_runs_than_are_looked_at(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Beyond the first ones suspended runs are only counted; one whose step is gone says so when its time comes."""
    disk = await leave_asking(5)
    monkeypatch.setattr(recovery, "PAGE", 2)
    monkeypatch.setattr(recovery, "CHECKED_MAX", 3)
    async with open_runtime([asks_without("remind")], journal=disk) as runtime:
        assert runtime.statistics().suspended_runs == 5
        assert sorted(runtime.unrecovered) == ["2", "3", "4"]
        await trio.sleep(200)
        assert sorted(runtime.unrecovered) == ["0", "1", "2", "3", "4"]
        assert "run 0 cannot be taken up" in caplog.text
    async with open_runtime([Asks], journal=disk) as runtime:
        await trio.sleep(200)
        for n in range(5):
            assert await (await runtime.get_run(str(n))).state() == {"reminded": 1}


@pytest.mark.rule("D7", "F6")
async def test_a_timer_that_falls_due_while_the_journal_cannot_be_read(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A resting run whose time has come is taken up as soon as the journal can be read again."""
    disk = await leave_asking(1)
    assert isinstance(disk, Gated)
    async with open_runtime([Asks], journal=disk) as runtime:
        disk.unreadable["0"] = JournalError("no such device")
        await trio.sleep(110)
        assert "run 0 cannot be taken up now: no such device" in caplog.text
        disk.unreadable.clear()
        await trio.sleep(100)
        assert runtime.unrecovered == {}
        assert await (await runtime.get_run("0")).state() == {"reminded": 1}


@pytest.mark.rule("G", "D7")
async def test_closing_while_a_run_cannot_be_taken_up(autojump_clock: MockClock) -> None:
    """A run that cannot be read as its time comes does not hold up the end of the block; it goes on another time."""
    disk = await leave_asking(1)
    assert isinstance(disk, Gated)
    with trio.fail_after(LONG):
        async with open_runtime([Asks, Sleeps], journal=disk, shutdown_grace=100) as runtime:
            await runtime.start(Sleeps)  # takes the whole grace, in which the first run is tried again
            disk.unreadable["0"] = JournalError("no such device")
            await trio.sleep(110)
            began = trio.current_time()
        assert trio.current_time() - began == 100
        tries = len(disk.looked_for)
        await trio.sleep(100)
        assert len(disk.looked_for) == tries
        disk.unreadable.clear()
        async with open_runtime([Asks, Sleeps], journal=disk, shutdown_grace=0) as runtime:
            await trio.sleep(300)
            assert await (await runtime.get_run("0")).state() == {"reminded": 1}


@pytest.mark.rule("F5")
async def test_a_resting_run_that_was_damaged_meanwhile(autojump_clock: MockClock) -> None:
    """A run that is found to be damaged as its time comes is listed with that, and not tried again and again."""
    disk = await leave_asking(1)
    assert isinstance(disk, Gated)
    async with open_runtime([Asks], journal=disk) as runtime:
        found = JournalCorrupt("a wrong checksum", run_id="0")
        disk.unreadable["0"] = found
        await trio.sleep(110)
        assert runtime.unrecovered == {"0": found}
        tries = len(disk.looked_for)
        await trio.sleep(1000)
        assert len(disk.looked_for) == tries


# --- repair


@pytest.mark.rule("F6")
@pytest.mark.parametrize("acts", [False, True], ids=["left alone", "acted on"])
async def test_a_run_that_could_not_be_read_at_the_opening(acts: bool, autojump_clock: MockClock) -> None:
    """Writing and reading fail while the journal is opened: all runs go on by themselves, or earlier if acted on."""
    disk = Gated()
    async with open_runtime([Sleeps], journal=disk, shutdown_grace=0) as runtime:
        for n in range(3):
            await runtime.start(Sleeps, run_id=str(n))
        await trio.sleep(1)
    disk.refuses = True
    disk.unreadable["2"] = JournalError("no such device")
    async with open_runtime([Sleeps], journal=disk, shutdown_grace=0) as runtime:
        assert runtime.unrecovered == {}
        if acts:
            disk.unreadable.clear()
            disk.refuses = False
            await (await runtime.get_run("2")).send_event("hello")
        else:
            await trio.sleep(10)
            disk.unreadable.clear()
            await trio.sleep(10)
            disk.refuses = False
        await trio.sleep(100)
        assert begun == {"0": 2, "1": 2, "2": 2}


@pytest.mark.rule("F6", "C12")
async def test_a_repair_waits_for_steps_that_clean_up(autojump_clock: MockClock) -> None:
    """Writing works again before a step has ended that was cut off: the run goes on after it, never beside it."""
    disk = Gated()
    said: list[str] = []

    class Cleans(Workflow):
        async def start(self, data, ctx: Context):
            said.append("begins")
            try:
                await trio.sleep(5)
            except trio.Cancelled:
                with trio.CancelScope(shield=True):
                    await trio.sleep(20)
                said.append("has cleaned up")
                raise
            said.append("ends")

    async with open_runtime([Cleans], journal=disk) as runtime:
        run = await runtime.start(Cleans)
        await trio.sleep(1)
        disk.refuses = True
        with pytest.raises(JournalError):
            await run.send_event("x")
        disk.refuses = False
        with trio.fail_after(LONG):
            outcome = await insist(run.wait)
    assert getattr(outcome, "status", None) is RunStatus.COMPLETED
    assert said == ["begins", "has cleaned up", "begins", "ends"]


@pytest.mark.rule("G", "F6")
async def test_closing_while_a_tree_is_repaired(autojump_clock: MockClock) -> None:
    """The block ends without an error of its own while a parent has been repaired and its child is being read."""
    disk = Gated()
    with trio.fail_after(LONG):
        async with open_runtime([Calls, Sleeps], journal=disk, shutdown_grace=0) as runtime:
            run = await runtime.start(Calls, run_id="r")
            await trio.sleep(1)
            (child,) = (await run.describe()).children
            disk.refuses = True
            with pytest.raises(JournalError):
                await run.send_event("x")
            disk.refuses = False
            disk.slow[child.run_id] = 50
            await until_looked_for(disk, child.run_id)
    disk.slow.clear()
    async with open_runtime([Calls, Sleeps], journal=disk, shutdown_grace=0) as runtime:
        await trio.sleep(1)
        assert runtime.unrecovered == {}
        assert runtime.statistics().live_runs == 2


async def until_looked_for(disk: Gated, run_id: str) -> None:
    """Return when the journal is asked for the run."""
    while disk.looked_for[-1:] != [run_id]:  # noqa: ASYNC110 - the clock is virtual
        await trio.sleep(0.1)

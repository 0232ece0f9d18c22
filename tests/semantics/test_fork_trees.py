"""Forks of runs that have children: their ids, paths and timers are those of the new tree, and they come to an end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import trio
from trio.testing import MockClock

from actorflow import Context, JournalError, Run, RunNotFound, RunOutcome, RunStatus, Workflow, step, workflow
from actorflow.abc import Append
from actorflow.journals import MemoryJournal
from tests.semantics.graph_flows import opened


async def asked(run: Run) -> RunOutcome:
    """The outcome of a run once it says what it waits for, or is over."""
    outcome = await run.wait()
    for _ in range(100):
        if outcome.status is not RunStatus.SUSPENDED or outcome.suspensions:
            break
        outcome = await run.wait()  # it was seen before a child of it has begun anew
    return outcome


async def answered(run: Run, *answers: object) -> RunOutcome:
    """The outcome of a run whose questions are answered in turn; the last ones, if there are fewer questions left."""
    outcome = await asked(run)
    left = list(answers)
    while outcome.status is RunStatus.SUSPENDED:
        (item,) = outcome.suspensions
        await run.resume(left[0] if item.step_id == "dig" else left[-1], step=item.activation_id)
        outcome = await asked(run)
    return outcome


class Digs(Workflow):
    """The lowest of three: writes, asks, writes."""

    async def start(self, data: object, ctx: Context) -> str:
        await ctx.run_store.push("log", "G")
        await ctx.run_store.increment("n", 1)
        await ctx.schedule_next_step("dig")
        return "G"

    @step
    async def dig(self, data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "G before")
        answer = await ctx.suspend("deep?")
        await ctx.run_store.push("log", f"G {answer}")
        await ctx.run_store.increment("n", 10)
        return answer


class Calls(Workflow):
    """The middle one: writes before and after its child."""

    async def start(self, data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", "C")
        found = await ctx.run_child(Digs, data, merge_state=True)
        await ctx.run_store.increment("n", 100)
        await ctx.run_store.push("log", "C after")
        return ["C", found]


class Tops(Workflow):
    """The root: after its child it asks once more."""

    async def start(self, data: object, ctx: Context) -> str:
        await ctx.run_store.push("log", "P")
        await ctx.schedule_next_step("call")
        return "P"

    @step
    async def call(self, data: object, ctx: Context) -> None:
        found = await ctx.run_child(Calls, data, merge_state=True)
        await ctx.run_store.increment("n", 1000)
        await ctx.schedule_next_step("sign", found)

    @step
    async def sign(self, data: object, ctx: Context) -> None:
        await ctx.run_store.push("log", "P before")
        answer = await ctx.suspend("sign?")
        await ctx.run_store.push("log", [data, answer])


CLASSES = [Tops, Calls, Digs]


def graphs() -> list[object]:
    """A tree of the same form, as graphs."""

    @step
    async def note(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", ctx.workflow_id)
        return data

    @step
    async def dig(data: object, ctx: Context) -> object:
        await ctx.run_store.increment("n", 1)
        return await ctx.suspend("deep?")

    @step
    async def after(data: object, ctx: Context) -> object:
        await ctx.run_store.push("log", [ctx.workflow_id, data])
        await ctx.run_store.increment("n", 10)
        return data

    @step
    async def sign(data: object, ctx: Context) -> object:
        return [data, await ctx.suspend("sign?")]

    low = workflow("low").then(note).then(dig).then(after).commit()

    @step
    async def down(data: object, ctx: Context) -> object:
        return await ctx.run_child(low, data, merge_state=True)

    middle = workflow("middle").then(note).then(down).then(after).commit()

    @step
    async def call(data: object, ctx: Context) -> object:
        return await ctx.run_child(middle, data, merge_state=True)

    top = workflow("top").then(note).then(call).then(after).then(sign).then(after).commit()
    return [top, middle, low]


STYLES = pytest.mark.parametrize("style", ["classes", "graphs"])


def tree_of(style: str) -> list[object]:
    """The three workflows of a tree, the root's first."""
    return list(CLASSES) if style == "classes" else graphs()


# ------------------------------------------------------------------------------------------------ every fact
# On the real clock: every fact has a time of its own there, and it is the time that tells what a child had done.


@STYLES
@pytest.mark.rule("B12", "C3", "D4", "E2")
async def test_forks_at_every_fact_of_a_tree_end_like_it(journal: str, style: str) -> None:
    """Wherever a tree of three is cut, while its lowest run or its root asks: same output, same final state."""
    tree = tree_of(style)
    async with opened(tree, journal=journal) as runtime:
        run = await runtime.start(tree[0], "x", run_id="r")
        assert (await asked(run)).suspensions[0].payload == "deep?"
        forks = [await run.fork(at=fact.seq) for fact in await run.history()]
        await run.resume("deep")
        assert (await asked(run)).suspensions[0].payload == "sign?"
        forks += [await run.fork(at=fact.seq) for fact in await run.history()]
        await run.resume("signed")
        ended = await run.wait()
        assert ended.status is RunStatus.COMPLETED
        assert ended.state["n"] == (1111 if style == "classes" else 41)
        for fork in forks:
            outcome = await answered(fork, "deep", "signed")
            assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, ended.output), outcome.failures
            assert outcome.state == ended.state
    assert len(forks) > 20


@STYLES
@pytest.mark.rule("B12", "C3", "D4", "E2")
async def test_forks_at_every_fact_of_a_child_end_like_it(journal: str, style: str) -> None:
    """The same for forks of the handle of each run below the root: they are roots, with what they had inherited."""
    tree = tree_of(style)
    async with opened(tree, journal=journal) as runtime:
        run = await runtime.start(tree[0], "x", run_id="r")
        await asked(run)
        (middle,) = (await run.describe()).children
        (low,) = (await (await runtime.get_run(middle.run_id)).describe()).children
        handles = [await runtime.get_run(item.run_id) for item in (middle, low)]
        for handle in handles:
            await handle.wait()
        forks = [[await handle.fork(at=fact.seq) for fact in await handle.history()] for handle in handles]
        await run.resume("deep")
        await asked(run)
        for handle, copies in zip(handles, forks, strict=True):
            ended = await handle.wait()
            assert ended.status is RunStatus.COMPLETED
            assert ended.state["log"]
            assert len(copies) > 4
            for fork in copies:
                outcome = await answered(fork, "deep")
                assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, ended.output), outcome.failures
                assert outcome.state == ended.state


class Lower(Workflow):
    """Writes to the root, in several steps, and asks."""

    async def start(self, data: object, ctx: Context) -> None:
        await self.write("start", ctx)
        await ctx.schedule_next_step("second")

    @step
    async def second(self, data: object, ctx: Context) -> None:
        await self.write("second", ctx)
        await ctx.schedule_next_step("third")

    @step
    async def third(self, data: object, ctx: Context) -> None:
        await self.write("third", ctx)
        await ctx.suspend("?")
        await self.write("answered", ctx)

    async def write(self, name: str, ctx: Context) -> None:
        """Tell the root that this step ran."""
        assert ctx.root_store is not None
        await ctx.root_store.push("log", name)
        await ctx.root_store.increment("n", 1)


class Upper(Workflow):
    """Calls it, and goes on."""

    async def start(self, data: object, ctx: Context) -> None:
        await ctx.run_store.push("log", "upper")
        await ctx.run_child(Lower)
        await ctx.run_store.push("log", "over")


@pytest.mark.rule("C3", "D4")
async def test_what_descendants_write_above_counts_once_in_every_fork(journal: str) -> None:
    """Of what a child did no more is shared than the run above it knows: no write is lost, and none is made twice."""
    async with opened([Upper, Lower], journal=journal) as runtime:
        run = await runtime.start(Upper, run_id="r")
        await asked(run)
        forks = [await run.fork(at=fact.seq) for fact in await run.history()]
        forks += [await run.fork(before=name) for name in ("start", "2.1", "2.2", "2.3")]
        await run.resume()
        ended = await run.wait()
        assert ended.state == {"log": ["upper", "start", "second", "third", "answered", "over"], "n": 4}
        for fork in forks:
            outcome = await answered(fork, None)
            assert (outcome.status, outcome.state) == (RunStatus.COMPLETED, ended.state), outcome.failures


@pytest.mark.rule("D4")
async def test_a_fork_does_not_do_again_what_a_child_had_done(journal: str) -> None:
    """The copy of a run as it stands, and one cut before a step of a child, share the finished steps of the child."""
    ran: list[tuple[str, str]] = []

    @step
    async def first(data: object, ctx: Context) -> object:
        ran.append((ctx.run_id, "first"))
        return data

    @step
    async def ask(data: object, ctx: Context) -> object:
        ran.append((ctx.run_id, "ask"))
        return await ctx.suspend("?")

    inner = workflow("inner").then(first).then(ask).commit()
    outer = workflow("outer").then(inner).commit()
    async with opened([outer], journal=journal) as runtime:
        run = await runtime.start(outer, run_id="r")
        (item,) = (await asked(run)).suspensions
        assert [name for _, name in ran] == ["first", "ask"]
        ran.clear()
        now = await run.fork(run_id="now")
        assert (await asked(now)).suspensions == (item,)
        assert ran == []
        before = await run.fork(before=item.activation_id, run_id="before")
        assert (await asked(before)).suspensions == (item,)
        assert [name for _, name in ran] == ["ask"]


# ------------------------------------------------------------------------------------------------ ids and paths


@STYLES
@pytest.mark.rule("B12", "D4")
async def test_the_fork_of_a_child_with_a_child_names_its_own_tree(
    journal: str, style: str, autojump_clock: MockClock
) -> None:
    """The fork of a child is a root: the ids and paths below it begin there, and by each of them it can be resumed."""
    tree = tree_of(style)
    async with opened(tree, journal=journal) as runtime:
        run = await runtime.start(tree[0], "x", run_id="r")
        await asked(run)
        (middle,) = (await run.describe()).children
        handle = await runtime.get_run(middle.run_id)
        forks = [await handle.fork(run_id=name) for name in ("f", "g", "h")]
        caller = "start" if style == "classes" else "down"
        places = []
        for fork in forks:
            (item,) = (await asked(fork)).suspensions
            (child,) = (await fork.describe()).children
            _, _, call = child.run_id.rpartition("~")
            assert child.run_id == f"{fork.run_id}~{call}"
            assert child.parent_id == fork.run_id
            assert item.path == (caller, "dig")
            steps = (await (await runtime.get_run(child.run_id)).describe()).steps
            assert item.activation_id in [record.activation_id for record in steps]
            assert item.activation_id.split(".")[:-1] == [call]
            places.append(item)
        await forks[0].resume("one")
        await forks[1].resume("two", step=places[1].activation_id)
        await forks[2].resume("three", step=f"{caller}.dig")
        for fork, answer in zip(forks, ("one", "two", "three"), strict=True):
            outcome = await fork.wait()
            assert outcome.status is RunStatus.COMPLETED, outcome.failures
            assert outcome.output == (["C", "G"] if style == "classes" else answer)
            assert answer in str(outcome.state)
        assert (await run.wait()).status is RunStatus.SUSPENDED  # the origin still asks


@pytest.mark.rule("B12", "D4")
async def test_the_fork_of_a_childs_fork_and_of_a_deep_tree(journal: str, autojump_clock: MockClock) -> None:
    """Forked again, and with two levels below the cut: still every id and every path is that of the tree it is in."""

    class Leaf(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            return await ctx.suspend("?")

    class Third(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            return await ctx.run_child(Leaf)

    class Second(Workflow):
        async def start(self, data: object, ctx: Context) -> None:
            await ctx.schedule_next_step("hand")

        @step
        async def hand(self, data: object, ctx: Context) -> None:
            await ctx.run_store.set("heard", await ctx.run_child(Third))

    class First(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            await ctx.run_child(Second, merge_state=True)
            return await ctx.run_store.get("heard")

    async with opened([First, Second, Third, Leaf], journal=journal) as runtime:
        run = await runtime.start(First, run_id="r")
        (item,) = (await asked(run)).suspensions
        assert item.path == ("start", "hand", "start", "start")
        second = await runtime.get_run("r~2")
        fork = await second.fork(run_id="f")
        again = await fork.fork(run_id="ff")
        for name in (fork, again):
            (found,) = (await asked(name)).suspensions
            assert found.path == ("hand", "start", "start")
            assert found.activation_id == item.activation_id.partition(".")[2]
            before = await name.fork(before=found.activation_id)
            assert (await asked(before)).suspensions == (found,)
            await before.resume("before")
            assert (await before.wait()).state == {"heard": "before"}
            await name.resume(name.run_id, step=found.activation_id)
            assert (await name.wait()).state == {"heard": name.run_id}
        await run.resume("r")
        assert await run.result() == "r"


# ------------------------------------------------------------------------------------------------ time


class Waits(Workflow):
    """Asks, and does something else an hour later."""

    async def start(self, data: object, ctx: Context) -> object:
        await ctx.schedule_next_step("later", delay=3600)
        return await ctx.suspend("?")

    @step
    async def later(self, data: object, ctx: Context) -> None:
        await ctx.run_store.set("later", True)


class Above(Workflow):
    """Calls it."""

    async def start(self, data: object, ctx: Context) -> object:
        return await ctx.run_child(Waits, merge_state=True)


@pytest.mark.rule("D1", "D7")
@pytest.mark.parametrize("held", [True, False])
async def test_the_timer_of_a_suspended_fork_fires(journal: str, held: bool, autojump_clock: MockClock) -> None:
    """In a root and in a child, whether somebody holds a handle or not, at the time at which the origin's does."""
    async with opened([Above, Waits], journal=journal) as runtime:
        for kind, run_id, name in ((Waits, "root", "fork"), (Above, "above", "fork-above")):
            run = await runtime.start(kind, run_id=run_id)
            assert (await run.wait()).status is RunStatus.SUSPENDED
            fork = await run.fork(run_id=name)
            assert (await fork.wait()).status is RunStatus.SUSPENDED
            waits = name if kind is Waits else f"{name}~2"
            kept = [fork, await runtime.get_run(waits)] if held else []
            del fork, run
            await trio.sleep(3500)
            assert "later" not in await (await runtime.get_run(waits)).state()
            await trio.sleep(200)
            assert (await (await runtime.get_run(waits)).state())["later"] is True
            fork = await runtime.get_run(name)
            assert await fork.status() is RunStatus.SUSPENDED
            await fork.resume("done")
            assert await fork.result() == "done"
            kept.clear()


@pytest.mark.rule("D7", "F4")
async def test_the_timers_of_suspended_forks_survive_closing(sqlite_url: str, autojump_clock: MockClock) -> None:
    """The list of runs says when a suspended fork has to be woken, in whichever process."""
    async with opened([Above, Waits], journal=sqlite_url) as runtime:
        for kind, name in ((Waits, "fork"), (Above, "fork-above")):
            run = await runtime.start(kind)
            await run.wait()
            await (await run.fork(run_id=name)).wait()
    async with opened([Above, Waits], journal=sqlite_url) as runtime:
        await trio.sleep(4000)
        for waits, name in (("fork", "fork"), ("fork-above~2", "fork-above")):
            assert (await (await runtime.get_run(waits)).state())["later"] is True
            fork = await runtime.get_run(name)
            await fork.resume("done")
            assert await fork.result() == "done"


@pytest.mark.rule("D1", "D7")
async def test_a_sleeping_graph_in_a_suspended_fork_wakes(journal: str, autojump_clock: MockClock) -> None:
    """The member of a parallel that sleeps in a child goes on beside the one that asks."""

    @step
    async def ask(data: object, ctx: Context) -> object:
        return await ctx.suspend("?")

    @step
    async def awake(data: object, ctx: Context) -> str:
        await ctx.root_store.set("woken", True)
        return "awake"

    sleeps = workflow("sleeps").sleep(3600).then(awake).commit()
    asks = workflow("asks").then(ask).commit()
    graph = workflow("both").parallel([sleeps, asks]).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(1)
        fork = await run.fork()
        await trio.sleep(4000)
        assert await fork.state() == {"woken": True}
        await fork.resume("yes")
        assert await fork.result() == {"sleeps": "awake", "asks": "yes"}


# ------------------------------------------------------------------------------------------------ counting


class Full(MemoryJournal):
    """A journal in memory that claims to last, and that refuses writes while it is `full`."""

    def __init__(self) -> None:
        super().__init__(durable=True)
        self.full = False

    async def commit(self, appends: Sequence[Append]) -> int:
        """Write, or refuse."""
        if self.full:
            raise JournalError("the disk is full")
        return await super().commit(appends)


@pytest.mark.rule("F6")
async def test_a_fork_that_was_not_written_is_not_counted(autojump_clock: MockClock) -> None:
    """A fork whose commit fails leaves no run, and no trace in the numbers; the next one is as if it had not been."""
    disk = Full()
    async with opened(CLASSES, journal=disk) as runtime:
        run = await runtime.start(Tops, run_id="r")
        await asked(run)
        disk.full = True
        with pytest.raises(JournalError):
            await run.fork(run_id="f")
        disk.full = False
        assert runtime.statistics().suspended_runs == 3
        with pytest.raises(RunNotFound):
            await runtime.get_run("f")
        fork = await run.fork(run_id="f")
        assert runtime.statistics().suspended_runs == 6
        assert (await answered(fork, "deep", "signed")).status is RunStatus.COMPLETED


@pytest.mark.rule("G", "A8")
async def test_a_suspended_fork_of_a_tree_is_cancelled_with_a_journal_that_does_not_last(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """At closing, each run of the fork hears of its end, as those of the origin do."""
    cancelled: list[str] = []

    class Leaf(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            return await ctx.suspend("?")

        async def on_workflow_cancel(self, reason: str, ctx: Context) -> None:
            cancelled.append(ctx.run_id)

    class Root(Workflow):
        async def start(self, data: object, ctx: Context) -> object:
            return await ctx.run_child(Leaf)

        async def on_workflow_cancel(self, reason: str, ctx: Context) -> None:
            cancelled.append(ctx.run_id)

    async with opened([Root, Leaf], journal="memory:") as runtime:
        run = await runtime.start(Root, run_id="r")
        await asked(run)
        await asked(await run.fork(run_id="f"))
    assert sorted(cancelled) == ["f", "f~2", "r", "r~2"]
    assert [record.message for record in caplog.records if "cannot be taken up" in record.message] == []


@pytest.mark.rule("D1")
async def test_suspended_forks_count_once(journal: str, autojump_clock: MockClock) -> None:
    """What the runtime says of suspended runs is right while forks of trees are asked for, and when they are over."""
    async with opened(CLASSES, journal=journal) as runtime:
        run = await runtime.start(Tops, run_id="r")
        await asked(run)
        assert runtime.statistics().suspended_runs == 3
        fork = await run.fork(run_id="f")
        await asked(fork)
        assert runtime.statistics().suspended_runs == 6
        for name in (run, fork):
            assert (await answered(name, "deep", "signed")).status is RunStatus.COMPLETED
        assert runtime.statistics().suspended_runs == 0

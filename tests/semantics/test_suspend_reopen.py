"""Suspended in one runtime, resumed in another, on one journal file (semantics D1, D2, D3, D4, D7, F4)."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    InputError,
    JournalError,
    NotSuspended,
    RunOver,
    RunStatus,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, Fault, FaultyJournal
from tests.semantics.settling import answer, asked, children, kind, pause, records, until, until_asked

Flow = type[Workflow] | Graph
RECOVER = pytest.mark.parametrize("recover", [True, False], ids=["recover", "only when acted on"])
DAY_S = 86_400
STYLE = pytest.mark.parametrize("style", ["class", "graph"])


@attrs.define
class Decision:
    """A typed answer."""

    ok: bool


def order(style: str, passes: Counter[str]) -> Flow:
    """Step `prepare`, then `approve`, which asks twice, then `ship`; the output is what they made together."""

    async def prepare(data: object, ctx: Context) -> object:
        passes["prepare"] += 1
        await ctx.run_store.push("log", "prepared")
        return {"item": data}

    async def approve(data: object, ctx: Context) -> object:
        passes["approve"] += 1
        await ctx.run_store.push("log", "asked")
        price = await ctx.suspend({"price of": data["item"]}, label="price")
        await ctx.run_store.push("log", "priced")
        return {**data, "price": price, "by": await ctx.suspend("who?", label="who")}

    async def ship(data: object, ctx: Context) -> object:
        passes["ship"] += 1
        await ctx.run_store.push("log", "shipped")
        return {**data, "log": await ctx.run_store.get("log")}

    if style == "graph":
        steps = [step(id=body.__name__)(body) for body in (prepare, approve, ship)]
        return workflow("order").then(steps[0]).then(steps[1]).then(steps[2]).commit()

    class Order(Workflow):
        id = "order"

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("approve", await prepare(data, ctx))

        async def approve(self, data, ctx: Context):
            await ctx.schedule_next_step("ship", await approve(data, ctx))

        async def ship(self, data, ctx: Context):
            await ctx.run_store.set("out", await ship(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("out")

    return Order


ORDERED = {"item": "tea", "price": 5, "by": "ann", "log": ["prepared", "asked", "priced", "shipped"]}


@STYLE
@RECOVER
@pytest.mark.rule("D2", "D4", "F4")
async def test_a_run_is_resumed_in_other_runtimes(style: str, recover: bool, sqlite_url: str) -> None:
    """Each of three runtimes does one leg: what was said, and who finished, is there in the next, exactly once."""
    passes: Counter[str] = Counter()
    flow = order(style, passes)
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.start(flow, "tea", run_id="r")
        before = await pause(run)
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        assert await run.status() is RunStatus.SUSPENDED
        assert await run.state() == {"log": ["prepared", "asked"]}
        assert (await run.describe()).suspensions == before.suspensions
        assert passes == {"prepare": 1, "approve": 1}
        await run.resume(5)
        outcome = await pause(run)
        assert [found.payload for found in outcome.suspensions] == ["who?"]
        assert outcome.suspensions[0].activation_id == before.suspensions[0].activation_id
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        await run.resume("ann", label="who")
        assert await run.result() == ORDERED
        with pytest.raises(RunOver):
            await run.resume("again")
    assert passes == {"prepare": 1, "approve": 3, "ship": 1}
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        assert await (await runtime.get_run("r")).result() == ORDERED
    assert passes == {"prepare": 1, "approve": 3, "ship": 1}


@STYLE
@RECOVER
@pytest.mark.rule("D1", "D2")
async def test_a_suspended_run_can_be_looked_at_without_being_touched(
    style: str, recover: bool, sqlite_url: str
) -> None:
    """Status, list, state, description, outcome and history are those of before; looking writes nothing."""
    flow = order(style, passes := Counter())
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.start(flow, "tea", run_id="r")
        outcome = await pause(run)
        described, history = await run.describe(), await run.history()
    for _ in range(2):
        async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
            assert [found.run_id for found in await runtime.list_runs(status=RunStatus.SUSPENDED)] == ["r"]
            run = await runtime.get_run("r")
            assert (await pause(run)).suspensions == outcome.suspensions
            assert await run.describe() == described
            assert await run.history() == history
            assert runtime.statistics().suspended_runs == 1
            assert runtime.unrecovered == {}
    assert passes == {"prepare": 1, "approve": 1}


@STYLE
@RECOVER
@pytest.mark.rule("D2", "D5", "F4")
async def test_an_acknowledged_answer_is_never_lost(style: str, recover: bool, sqlite_url: str) -> None:
    """The process stops right after the resume: the next one has its answer, and nobody can resume it again."""
    live, release, seen = trio.Event(), trio.Event(), []

    async def body(data: object, ctx: Context) -> object:
        given = await ctx.suspend("q")
        seen.append((given, ctx.resumed, ctx.resume_data, ctx.attempt))
        await ctx.run_store.increment("n")
        live.set()
        await release.wait()
        return [given, await ctx.run_store.get("n")]

    class Blocked(Workflow):
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Blocked if style == "class" else workflow("blocked").then(step(id="b")(body)).commit()
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        await pause(await runtime.start(flow, run_id="r"))
    async with open_runtime([flow], journal=sqlite_url, recover=recover, shutdown_grace=0) as runtime:
        run = await runtime.get_run("r")
        await run.resume("yes")
        await live.wait()
    release.set()
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        with pytest.raises((NotSuspended, RunOver)):
            await run.resume("no")
        assert await run.result() == ["yes", 1]
    assert seen == [("yes", True, "yes", 1)] * 2


@RECOVER
@pytest.mark.rule("D5")
async def test_an_answer_is_checked_by_the_new_runtime_too(recover: bool, sqlite_url: str) -> None:
    """The resume type is that of the step: a misfit is refused before anything is journaled, also after reopening."""

    class Typed(Workflow):
        @step(resume=Decision)
        async def start(self, data, ctx: Context):
            return (await ctx.suspend("q")).ok

    async with open_runtime([Typed], journal=sqlite_url) as runtime:
        await pause(await runtime.start(Typed, run_id="r"))
    async with open_runtime([Typed], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        with pytest.raises(InputError, match=r"\$\.ok"):
            await run.resume({"ok": "maybe"})
        with pytest.raises(NotSuspended):
            await run.resume({"ok": True}, step="nobody")
        assert (await pause(run)).suspensions[0].payload == "q"
        await run.resume(Decision(True))
        assert await run.result() is True


@STYLE
@pytest.mark.rule("D2", "D3", "F4")
async def test_finished_live_and_suspended_branches_after_reopening(style: str, sqlite_url: str) -> None:
    """The finished branch is not run again, the one that was live is, the suspended one waits for its answer."""
    passes: Counter[str] = Counter()
    live, release = trio.Event(), trio.Event()

    async def done(data: object, ctx: Context) -> object:
        passes["done"] += 1
        return "done"

    async def works(data: object, ctx: Context) -> object:
        passes["works"] += 1
        live.set()
        await release.wait()
        return "worked"

    async def asks(data: object, ctx: Context) -> object:
        passes["asks"] += 1
        return await ctx.suspend("q")

    class Three(Workflow):
        async def start(self, data, ctx: Context):
            for name in ("done", "works", "asks"):
                await ctx.schedule_next_step(name)

        async def done(self, data, ctx: Context):
            await ctx.run_store.set("done", await done(data, ctx))

        async def works(self, data, ctx: Context):
            await ctx.run_store.set("works", await works(data, ctx))

        async def asks(self, data, ctx: Context):
            await ctx.run_store.set("asks", await asks(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    graph = workflow("three").parallel([step(id=body.__name__)(body) for body in (done, works, asks)]).commit()
    flow = Three if style == "class" else graph
    async with open_runtime([flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        run = await runtime.start(flow, run_id="r")
        await live.wait()
        await until_asked(run, "q")

        async def one_done() -> bool:
            return [record.status for record in records(await run.describe(), "done")] == [StepStatus.COMPLETED]

        await until(one_done)
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.status() is RunStatus.RUNNING
        release.set()
        await pause(run)
        assert passes == {"done": 1, "works": 2, "asks": 1}
        await run.resume("a")
        assert await run.result() == {"done": "done", "works": "worked", "asks": "a"}
    assert passes == {"done": 1, "works": 2, "asks": 2}


class Beside(Workflow):
    """Suspends beside a timer of an hour and beside an open wait; the output is what became of each."""

    async def start(self, data, ctx: Context):
        await ctx.schedule_next_step("later", delay=3600)
        await ctx.wait_for_event("go", action="gone")
        await ctx.run_store.set("answer", await ctx.suspend("q"))

    async def later(self, data, ctx: Context):
        await ctx.run_store.set("later", True)

    async def gone(self, data, ctx: Context):
        await ctx.run_store.set("event", ctx.event)

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.snapshot()


@pytest.mark.rule("D1", "D2", "D7")
async def test_timers_and_waits_beside_a_suspension_survive(sqlite_url: str, mock_clock: MockClock) -> None:
    """After reopening the timer fires, the event is delivered, the answer taken, and all of it is still one run."""
    async with open_runtime([Beside], journal=sqlite_url) as runtime:
        await pause(await runtime.start(Beside, run_id="r"))
    async with open_runtime([Beside], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        described = await run.describe()
        assert (described.status, len(described.waits)) == (RunStatus.SUSPENDED, 1)
        mock_clock.jump(4000)

        async def fired() -> bool:
            return (await run.state()).get("later") is True

        await until(fired)
        await run.send_event("go", "went")

        async def went() -> bool:
            return (await run.state()).get("event") == "went"

        await until(went)
        assert (await pause(run)).suspensions[0].payload == "q"
        await run.resume("a")
        assert await run.result() == {"later": True, "event": "went", "answer": "a"}


@pytest.mark.rule("D6", "D2")
async def test_an_event_wakes_a_run_that_is_only_taken_up_when_acted_on(sqlite_url: str) -> None:
    """With `recover=False` an event, too, takes up the suspended run it is sent to."""

    class Waits(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.wait_for_event("go", action="gone")
            await ctx.run_store.set("answer", await ctx.suspend("q"))

        async def gone(self, data, ctx: Context):
            await ctx.run_store.set("event", ctx.event)

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.snapshot()

    async with open_runtime([Waits], journal=sqlite_url) as runtime:
        await pause(await runtime.start(Waits, run_id="r"))
    async with open_runtime([Waits], journal=sqlite_url, recover=False) as runtime:
        run = await runtime.get_run("r")
        await run.send_event("go", 5)

        async def gone() -> bool:
            return (await run.state()).get("event") == 5

        await until(gone)
        await pause(run)
        await run.resume("a")
        assert await run.result() == {"event": 5, "answer": "a"}


@STYLE
@RECOVER
@pytest.mark.rule("A8", "D1")
async def test_a_suspended_run_is_cancelled_after_reopening(style: str, recover: bool, sqlite_url: str) -> None:
    """`cancel` reaches a run that was suspended in another process; no step of it runs for that."""
    flow = order(style, passes := Counter())
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        await pause(await runtime.start(flow, "tea", run_id="r"))
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        await run.cancel("never mind")
        outcome = await run.wait()
        assert (outcome.status, outcome.suspensions) == (RunStatus.CANCELLED, ())
        with pytest.raises(RunOver):
            await run.resume(1)
    assert passes == {"prepare": 1, "approve": 1}


@RECOVER
@pytest.mark.rule("D2", "D4")
async def test_conditions_before_the_suspension_are_not_asked_again(recover: bool, sqlite_url: str) -> None:
    """Map and branch were decided in the first process; the second goes on inside the chosen branch."""
    calls = []

    @step
    async def ask(data, ctx: Context):
        calls.append("ask")
        return [data, await ctx.suspend("q")]

    @step
    async def never(data, ctx: Context):
        calls.append("never")

    def shape(data: object, ctx: Context) -> object:
        calls.append("map")
        return {"n": data}

    def chosen(data: dict[str, int], ctx: Context) -> bool:
        calls.append("chosen")
        return data["n"] == 1

    def other(data: dict[str, int], ctx: Context) -> bool:
        calls.append("other")
        return data["n"] == 2

    flow = workflow("decided").map(shape).branch([(chosen, ask), (other, never)]).commit()
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        await pause(await runtime.start(flow, 1, run_id="r"))
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        await run.resume("a")
        assert await run.result() == {"ask": [{"n": 1}, "a"]}
    assert calls == ["map", "chosen", "other", "ask", "ask"]


@RECOVER
@pytest.mark.rule("D4", "D2")
async def test_a_foreach_with_some_answered_goes_on_in_another_runtime(recover: bool, sqlite_url: str) -> None:
    """Of five elements two are answered in the first process and three in the second; the output is whole, in order."""
    passes: Counter[object] = Counter()

    @step
    async def ask(data, ctx: Context):
        passes[data] += 1
        await ctx.run_store.increment("n")
        return [data, await ctx.suspend(data, label=f"l{data}")]

    flow = workflow("five").foreach(ask, concurrency=2).commit()
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        run = await runtime.start(flow, list(range(5)), run_id="r")
        await pause(run)
        for n in (4, 1):
            await run.resume(n, label=f"l{n}")
        assert len((await pause(run)).suspensions) == 3
    async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        assert set(await asked(run)) == {0, 2, 3}
        for n in (3, 0, 2):
            await answer(run, n, n)
        outcome = await run.wait()
    assert (outcome.output, outcome.state) == ([[n, n] for n in range(5)], {"n": 5})
    assert passes == dict.fromkeys(range(5), 2)


@RECOVER
@pytest.mark.rule("D4", "D2")
async def test_a_loop_goes_on_in_the_round_it_was_suspended_in(recover: bool, sqlite_url: str) -> None:
    """Each round of the loop is answered in a runtime of its own; rounds and state add up."""
    rounds = []

    @step
    async def body(data, ctx: Context):
        rounds.append(ctx.iteration)
        await ctx.run_store.push("given", await ctx.suspend(ctx.iteration))
        return ctx.iteration

    flow = workflow("loop").do_until(body, lambda data, ctx: data >= 3).commit()
    async with open_runtime([flow], journal=sqlite_url) as runtime:
        await pause(await runtime.start(flow, run_id="r"))
    for n in (1, 2, 3):
        async with open_runtime([flow], journal=sqlite_url, recover=recover) as runtime:
            run = await runtime.get_run("r")
            assert set(await asked(run)) == {n}
            await run.resume(n * n)
            outcome = await run.wait()
    assert (outcome.status, outcome.output, outcome.state) == (RunStatus.COMPLETED, 3, {"given": [1, 4, 9]})
    assert rounds == [1, 1, 2, 2, 3, 3]


def nested(style: str, passes: Counter[str]) -> tuple[Flow, list[Flow]]:
    """Three workflows in each other; the innermost has a step `first`, and a step `approve` that suspends."""

    async def leading(data: object, ctx: Context) -> object:
        passes["first"] += 1
        await ctx.run_store.push("log", ctx.workflow_id)
        return data

    async def approve(data: object, ctx: Context) -> object:
        passes["approve"] += 1
        return [data, await ctx.suspend("q", label="deep")]

    async def last(data: object, ctx: Context) -> object:
        passes["last"] += 1
        return {"got": data, "log": await ctx.run_store.get("log")}

    if style == "graph":
        one, two, three = (step(id=body.__name__)(body) for body in (leading, approve, last))
        inner = workflow("inner").then(one).then(two).commit()
        middle = workflow("middle").then(one).then(inner, merge_state=True).commit()
        outer = workflow("outer").then(one).then(middle, merge_state=True).then(three).commit()
        return outer, [outer]

    class Inner(Workflow):
        id = "inner"

        async def start(self, data, ctx: Context):
            await leading(data, ctx)
            await ctx.schedule_next_step("approve", data)

        async def approve(self, data, ctx: Context):
            await ctx.run_store.set("out", await approve(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("out")

    class Middle(Workflow):
        id = "middle"

        async def start(self, data, ctx: Context):
            await leading(data, ctx)
            await ctx.schedule_next_step("inner", data)

        async def inner(self, data, ctx: Context):
            await ctx.run_store.set("out", await ctx.run_child(Inner, data, merge_state=["log"]))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("out")

    class Outer(Workflow):
        id = "outer"

        async def start(self, data, ctx: Context):
            await leading(data, ctx)
            await ctx.schedule_next_step("middle", data)

        async def middle(self, data, ctx: Context):
            found = await ctx.run_child(Middle, data, merge_state=["log"])
            await ctx.run_store.set("out", await last(found, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("out")

    return Outer, [Outer, Middle, Inner]


NESTED = {"got": ["x", "a"], "log": ["outer", "middle", "inner"]}


@STYLE
@RECOVER
@pytest.mark.parametrize("how", ["path", "label", "activation", "step", "nothing", "own handle"])
@pytest.mark.rule("D2", "D4", "E3", "F4")
async def test_a_step_two_workflows_deep_is_resumed_after_reopening(
    style: str, recover: bool, how: str, sqlite_url: str
) -> None:
    """The root's handle, or the child's own, resumes it in another process; what was finished does not run again."""
    flow, registered = nested(style, passes := Counter())
    async with open_runtime(registered, journal=sqlite_url) as runtime:
        run = await runtime.start(flow, "x", run_id="r")
        await pause(run)
    assert passes == {"first": 3, "approve": 1}
    async with open_runtime(registered, journal=sqlite_url, recover=recover) as runtime:
        assert runtime.unrecovered == {}
        run = await runtime.get_run("r")
        (suspension,) = (await pause(run)).suspensions
        assert (suspension.path, suspension.payload) == (("middle", "inner", "approve"), "q")
        if how == "own handle":
            (middle,) = await children(run)
            (inner,) = await children(await runtime.get_run(middle.run_id))
            await (await runtime.get_run(inner.run_id)).resume("a")
        else:
            address = {
                "path": {"step": "middle.inner.approve"},
                "label": {"label": "deep"},
                "activation": {"step": suspension.activation_id},
                "step": {"step": "approve"},
                "nothing": {},
            }[how]
            await run.resume("a", **address)
        assert await run.result() == NESTED
    assert passes == {"first": 3, "approve": 2, "last": 1}


@STYLE
@pytest.mark.rule("F4", "F6", "D2", "E2")
@pytest.mark.parametrize("fault", [Crash(), Crash(written=True)], ids=["crash", "crash-written"])
async def test_every_write_of_a_suspended_tree_may_be_the_last(
    style: str, fault: Fault, autojump_clock: MockClock
) -> None:
    """Whichever write the process dies in: suspended or resumed, the next process ends with the same result."""
    for n in range(1, 200):
        flow, registered = nested(style, Counter())
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})

        async def drive(opened: object, *, flow: Flow = flow, registered: list[Flow] = registered) -> object:
            async with open_runtime(registered, journal=opened, shutdown_grace=1) as runtime:
                run = await runtime.start(flow, "x", run_id="r")
                if (await run.wait()).status is RunStatus.SUSPENDED:
                    await run.resume("a")
                return await run.result()

        with trio.fail_after(DAY_S), suppress(JournalError):
            assert await drive(journal) == NESTED
        with trio.fail_after(DAY_S):
            assert await drive(disk) == NESTED
        if not journal.failed:
            assert n > 10
            return
    pytest.fail("the writes never end")


@RECOVER
@pytest.mark.rule("A8", "D2")
async def test_cancel_reaches_a_tree_that_another_process_suspended(recover: bool, sqlite_url: str) -> None:
    """The root's cancel ends every suspended descendant, though nothing of the tree is in memory."""
    flow, registered = nested("class", passes := Counter())
    async with open_runtime(registered, journal=sqlite_url) as runtime:
        await pause(await runtime.start(flow, "x", run_id="r"))
    async with open_runtime(registered, journal=sqlite_url, recover=recover) as runtime:
        run = await runtime.get_run("r")
        (middle,) = await children(run)
        handle = await runtime.get_run(middle.run_id)
        (inner,) = await children(handle)
        await run.cancel("enough")
        for run_id in ("r", middle.run_id, inner.run_id):
            assert await (await runtime.get_run(run_id)).status() is RunStatus.CANCELLED
    assert passes == {"first": 3, "approve": 1}


@pytest.mark.rule("F9", "D2")
async def test_a_suspended_step_that_no_longer_exists(sqlite_url: str) -> None:
    """A workflow that has lost the suspended step fails that run's recovery, by name, and nothing else."""

    class Before(Workflow):
        id = "changing"

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("approve")

        async def approve(self, data, ctx: Context):
            await ctx.suspend("q")

    class After(Workflow):
        id = "changing"

        async def start(self, data, ctx: Context):
            return "fine"

    async with open_runtime([Before], journal=sqlite_url) as runtime:
        await pause(await runtime.start(Before, run_id="r"))
    async with open_runtime([After], journal=sqlite_url) as runtime:
        assert kind(type(runtime.unrecovered["r"]).__name__) == "DefinitionError"
        assert "approve" in str(runtime.unrecovered["r"])
        assert await runtime.run(After, run_id="other") == "fine"
    async with open_runtime([Before], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        await run.resume()
        assert (await run.wait()).status is RunStatus.COMPLETED

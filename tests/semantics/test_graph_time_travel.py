"""Time travel in graphs: `fork` does again what comes after its point and nothing else, `state_at` shows the past."""

from __future__ import annotations

import itertools
from collections import Counter
from typing import ClassVar

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Run,
    RunExists,
    RunOver,
    RunStatus,
    StepRecord,
    Workflow,
    from_step,
    step,
    workflow,
)
from tests.semantics.graph_flows import (
    LONG,
    Boom,
    adding,
    giving,
    kinds,
    opened,
    records,
    saying,
    statuses,
)


class Trace:
    """What ran in which run, and a gate that some steps wait at."""

    def __init__(self) -> None:
        self.ran: Counter[tuple[str, object]] = Counter()
        self.gate = trio.Event()
        self.reached: list[trio.Event] = [trio.Event()]

    def step(self, name: str, *, gated: object = None):
        """A step of that id that notes its run and pushes its input; it waits at the gate for that input, or always."""

        @step(id=name)
        async def run(data, ctx: Context):
            self.ran[ctx.run_id, name] += 1
            await ctx.run_store.push("seen", [name, data])
            if gated is True or (gated is not None and data == gated):
                self.reached[-1].set()
                await self.gate.wait()
            return f"{data or ''}{name}"

        return run

    def of(self, run: Run) -> dict[object, int]:
        """How often each step ran in this run, and in its children."""
        found: Counter[object] = Counter()
        for (run_id, name), count in self.ran.items():
            if run_id == run.run_id or run_id.startswith(f"{run.run_id}~"):
                found[name] += count
        return dict(found)


async def the(run: Run, step_id: str, place: int = -1) -> StepRecord:
    """The record of the latest activation of a step, or of another one."""
    return records(await run.describe())[step_id][place]


# ------------------------------------------------------------------------------------------------ chains


async def test_fork_before_a_step_of_a_chain(journal: str, autojump_clock: MockClock) -> None:
    """The fork has the outputs and the state from before the step, runs the step and the rest, and nothing earlier."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a")).then(trace.step("b", gated=True)).then(trace.step("c")).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, ">", run_id="origin")
        await trace.reached[0].wait()
        fork = await origin.fork(before="b", run_id="fork")
        assert (fork.run_id, fork.workflow_id) == ("fork", "chain")
        trace.gate.set()
        assert (await origin.result(), await fork.result()) == (">abc", ">abc")
        assert (await fork.wait()).state == {"seen": [["a", ">"], ["b", ">a"], ["c", ">ab"]]}
    assert trace.of(origin) == {"a": 1, "b": 1, "c": 1}
    assert trace.of(fork) == {"b": 1, "c": 1}


async def test_fork_before_the_first_step_begins_anew(journal: str, autojump_clock: MockClock) -> None:
    """Before the first step there is nothing: all of it runs, with the origin's input."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a")).then(trace.step("b", gated=True)).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, ">")
        await trace.reached[0].wait()
        fork = await origin.fork(before="a")
        trace.gate.set()
        assert await fork.result() == ">ab"
        await origin.wait()
    assert trace.of(fork) == {"a": 1, "b": 1}


async def test_fork_at_the_last_fact(journal: str, autojump_clock: MockClock) -> None:
    """A copy of the run as it stands: what is done is done, what is live runs again there, its effects count once."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a")).then(trace.step("b", gated=True)).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, ">")
        await trace.reached[0].wait()
        await trio.sleep(1)
        cut = (await origin.history())[-1].seq
        fork = await origin.fork(at=cut)
        assert await fork.state() == await origin.state_at(cut) == {"seen": [["a", ">"], ["b", ">a"]]}
        trace.gate.set()
        assert await fork.result() == ">ab"
        assert (await fork.wait()).state == {"seen": [["a", ">"], ["b", ">a"]]}
        await origin.wait()
    assert trace.of(fork) == {"b": 1}


async def test_fork_at_every_fact(journal: str, autojump_clock: MockClock) -> None:
    """Wherever the history is cut, the fork comes to the same end with the same state, and nothing runs twice in it."""
    trace = Trace()
    inner = workflow("inner").then(trace.step("i")).commit()
    graph = (
        workflow("everywhere")
        .then(trace.step("a"))
        .map(lambda data, ctx: [1, 2])
        .foreach(trace.step("e"))
        .map(lambda data, ctx: "".join(data))
        .parallel([trace.step("p"), inner])
        .map({"p": from_step("p")})
        .branch([(lambda data, ctx: True, giving("yes", "y")), (lambda data, ctx: False, giving("no", 1))])
        .map(lambda data, ctx: data["yes"])
        .sleep(5)
        .do_until(trace.step("l"), lambda data, ctx: ctx.iteration == 2)
        .then(trace.step("z", gated=True))
        .commit()
    )
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, run_id="origin")
        await trace.reached[0].wait()
        await trio.sleep(1)
        forks = [await origin.fork(at=fact.seq) for fact in await origin.history()]
        trace.gate.set()
        ended = await origin.wait()
        assert ended.output == "yllz"
        most = trace.of(origin)
        assert most == {"a": 1, "e": 2, "p": 1, "i": 1, "l": 2, "z": 1}
        for fork in forks:
            outcome = await fork.wait()
            assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, "yllz"), (outcome.failures, fork)
            assert sorted(outcome.state["seen"], key=str) == sorted(ended.state["seen"], key=str)
            assert [name for name, count in trace.of(fork).items() if count > most[name]] == []
    assert len(forks) > 10
    assert trace.of(forks[0]) == most
    assert trace.of(forks[-1]) == {"z": 1}


async def test_fork_before_a_step_used_twice(autojump_clock: MockClock) -> None:
    """By its id it is the first activation that is meant, by its activation id any."""
    trace = Trace()
    twice = trace.step("t")
    graph = workflow("twice").then(twice).then(trace.step("m")).then(twice).then(trace.step("z", gated=True)).commit()
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph, ">")
        await trace.reached[0].wait()
        first_fork = await origin.fork(before="t")
        second_fork = await origin.fork(before=(await the(origin, "t")).activation_id)
        trace.gate.set()
        assert await first_fork.result() == await second_fork.result() == await origin.result() == ">tmtz"
    assert trace.of(first_fork) == {"t": 2, "m": 1, "z": 1}
    assert trace.of(second_fork) == {"t": 1, "z": 1}


async def test_a_fork_sees_other_circumstances(autojump_clock: MockClock) -> None:
    """What the world gives is taken as it is now; what was done before the point is taken from the record."""
    world = {"price": 10}
    trace = Trace()

    @step
    async def price(data, ctx: Context):
        return world["price"]

    @step
    async def total(data, ctx: Context):
        return [data, world["price"], await ctx.step_result("price")]

    graph = (
        workflow("world")
        .then(price)
        .then(trace.step("z", gated=True))
        .map({"p": from_step("price")})
        .then(total)
        .commit()
    )
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph)
        await trace.reached[0].wait()
        world["price"] = 20
        kept = await origin.fork(before="z")
        afresh = await origin.fork(before="price")
        trace.gate.set()
        assert await kept.result() == [{"p": 10}, 20, 10]
        assert await afresh.result() == [{"p": 20}, 20, 20]
        await origin.wait()


# ------------------------------------------------------------------------------------------------ groups


async def test_fork_before_an_element_keeps_its_finished_siblings(journal: str, autojump_clock: MockClock) -> None:
    """In a foreach, elements that were done before the activation do not run again; it and the later ones do."""
    trace = Trace()
    graph = workflow("each").foreach(trace.step("e", gated=3)).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, [1, 2, 3, 4, 5])
        await trace.reached[0].wait()
        fork = await origin.fork(before=(await the(origin, "e", 2)).activation_id)
        trace.gate.set()
        assert await fork.result() == await origin.result() == ["1e", "2e", "3e", "4e", "5e"]
        assert sorted((await fork.wait()).state["seen"]) == [["e", n] for n in range(1, 6)]
    assert trace.of(fork) == {"e": 3}


async def test_fork_at_a_fact_keeps_finished_siblings(journal: str, autojump_clock: MockClock) -> None:
    """In `parallel`, a member that was done at that fact stays done, though its sibling is live and runs again."""
    trace = Trace()
    graph = (
        workflow("members")
        .parallel([trace.step("a"), trace.step("b", gated=True), trace.step("c")])
        .then(trace.step("z"))
        .commit()
    )
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, "")
        await trace.reached[0].wait()
        await trio.sleep(1)
        found = statuses(await origin.describe())
        assert (found["a"], found["b"], found["c"]) == (["completed"], ["running"], ["completed"])
        fork = await origin.fork(at=(await origin.history())[-1].seq)
        trace.gate.set()
        assert await fork.result() == await origin.result()
        assert sorted((await fork.wait()).state["seen"]) == sorted((await origin.wait()).state["seen"])
    assert trace.of(fork) == {"b": 1, "z": 1}
    assert trace.of(origin) == {"a": 1, "b": 1, "c": 1, "z": 1}


async def test_fork_of_a_loop_goes_on_with_its_count(journal: str, autojump_clock: MockClock) -> None:
    """Forked before its third iteration, the loop goes on with number three and the data of the second."""
    seen: list[tuple[str, object, int]] = []
    gate, reached = trio.Event(), trio.Event()

    @step
    async def body(data, ctx: Context):
        seen.append((ctx.run_id, data, ctx.iteration))
        if ctx.iteration == 3:
            reached.set()
            await gate.wait()
        return data + 1

    graph = workflow("loop").do_while(body, lambda data, ctx: data < 4).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, 0, run_id="origin")
        await reached.wait()
        fork = await origin.fork(before=(await the(origin, "body")).activation_id, run_id="fork")
        gate.set()
        assert await fork.result() == await origin.result() == 4
    assert [entry[1:] for entry in seen if entry[0] == "fork"] == [(2, 3), (3, 4)]


async def test_fork_of_a_failed_run_repeats_only_what_failed(journal: str, autojump_clock: MockClock) -> None:
    """A run that kept its state is forked before the element that failed: the done ones are kept, the rest runs."""
    broken = {2}
    ran: Counter[tuple[str, int]] = Counter()

    @step
    async def work(data, ctx: Context):
        ran[ctx.run_id, data] += 1
        await ctx.run_store.push("seen", data)
        if data in broken:
            raise Boom("not yet")
        return data * 10

    graph = workflow("repair", keep_state=True).foreach(work).then(giving("end", "repaired")).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, [0, 1, 2, 3], run_id="origin")
        outcome = await origin.wait()
        assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["Boom"])
        (failed,) = [found for found in outcome.steps if found.status.value == "failed"]
        broken.clear()
        fork = await origin.fork(before=failed.activation_id, run_id="fork")
        assert await fork.result() == "repaired"
        assert sorted((await fork.wait()).state["seen"]) == [0, 1, 2, 3]
        assert (await origin.wait()).status is RunStatus.FAILED
    assert {key[1]: count for key, count in ran.items() if key[0] == "fork"} == {2: 1, 3: 1}


# ------------------------------------------------------------------------------------------------ children


class Notes(Workflow):
    """A class-style child that notes that it ran."""

    ran: ClassVar[Counter[str]] = Counter()

    async def start(self, data, ctx: Context):
        self.ran[ctx.run_id] += 1
        return f"{data}N"


async def test_finished_children_keep_their_results(journal: str, autojump_clock: MockClock) -> None:
    """Forked behind nested workflows, none of their steps runs again, and their outputs are there."""
    trace = Trace()
    Notes.ran.clear()
    inner = workflow("inner").then(trace.step("i")).then(trace.step("j")).commit()
    graph = (
        workflow("outer")
        .then(inner)
        .parallel([inner, Notes])
        .then(trace.step("z", gated=True))
        .map({"z": from_step("z"), "inner": from_step("inner"), "notes": from_step("Notes")})
        .commit()
    )
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, ">", run_id="origin")
        await trace.reached[0].wait()
        ran = Notes.ran.total()
        before = await origin.fork(before="z")
        at = await origin.fork(at=(await origin.history())[-1].seq)
        trace.gate.set()
        wanted = await origin.result()
        assert wanted["inner"] == ">ijij"
        assert (await before.result(), await at.result()) == (wanted, wanted)
    assert trace.of(before) == trace.of(at) == {"z": 1}
    assert Notes.ran.total() == ran == 1


async def test_fork_before_a_nested_workflow_runs_it_again(journal: str, autojump_clock: MockClock) -> None:
    """The step that is the child runs again: the fork has a child of its own, below itself."""
    trace = Trace()
    inner = workflow("inner").then(trace.step("i", gated=True)).commit()
    graph = workflow("outer").then(trace.step("a")).then(inner).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, ">", run_id="origin")
        await trace.reached[0].wait()
        fork = await origin.fork(before="inner", run_id="fork")
        trace.gate.set()
        assert await origin.result() == await fork.result() == ">ai"
        (child,) = (await fork.describe()).children
        assert (child.parent_id, child.status) == ("fork", RunStatus.COMPLETED)
        assert [found.run_id for found in (await origin.describe()).children] != [child.run_id]
    assert trace.of(fork) == {"i": 1}


async def test_fork_in_the_middle_of_children(journal: str, autojump_clock: MockClock) -> None:
    """Of children that run beside each other the finished ones keep their results, the live one runs for the fork."""
    trace = Trace()
    inner = workflow("inner").then(trace.step("i")).then(trace.step("j", gated="2i")).commit()
    graph = workflow("outer").foreach(inner, concurrency=None).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, [1, 2, 3], run_id="origin")
        await trace.reached[0].wait()
        await trio.sleep(1)
        fork = await origin.fork(at=(await origin.history())[-1].seq, run_id="fork")
        trace.gate.set()
        assert await origin.result() == await fork.result() == ["1ij", "2ij", "3ij"]
    assert trace.of(fork)["j"] == 1
    assert trace.of(fork).get("i", 0) <= 1


# ------------------------------------------------------------------------------------------------ waiting


async def test_fork_of_a_sleeping_run(journal: str, autojump_clock: MockClock) -> None:
    """The fork's timer is due when the origin's is."""
    graph = workflow("sleeps").then(saying("a")).sleep(3600).then(saying("b")).commit()
    began = trio.current_time()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, "")
        await trio.sleep(1000)
        fork = await origin.fork(at=(await origin.history())[-1].seq)
        assert await fork.status() is RunStatus.RUNNING
        with trio.fail_after(LONG):
            assert await fork.result() == await origin.result() == "ab"
    assert trio.current_time() - began == pytest.approx(3600, abs=1)


async def test_fork_of_a_waiting_run(journal: str, autojump_clock: MockClock) -> None:
    """Each has a wait of its own: an event to one is none to the other."""
    graph = workflow("waits").then(saying("a")).wait_for_event("go").commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, "")
        await trio.sleep(1)
        fork = await origin.fork(at=(await origin.history())[-1].seq)
        await fork.send_event("go", "to the fork")
        assert await fork.result() == "to the fork"
        assert await origin.status() is RunStatus.RUNNING
        await origin.send_event("go", "to the origin")
        assert await origin.result() == "to the origin"


async def test_fork_of_a_suspended_run(journal: str, autojump_clock: MockClock) -> None:
    """The fork asks the same question, and each gets its own answer."""
    ran: Counter[str] = Counter()

    @step
    async def before(data, ctx: Context):
        ran[ctx.run_id] += 1
        return data

    @step
    async def ask(data, ctx: Context):
        return await ctx.suspend({"question": data})

    graph = workflow("asks").then(before).then(ask).then(adding("plus")).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, 1, run_id="origin")
        assert (await origin.wait()).status is RunStatus.SUSPENDED
        fork = await origin.fork(at=(await origin.history())[-1].seq, run_id="fork")
        outcome = await fork.wait()
        assert outcome.status is RunStatus.SUSPENDED
        assert [found.payload for found in outcome.suspensions] == [{"question": 1}]
        await fork.resume(10)
        assert await fork.result() == 11
        assert await origin.status() is RunStatus.SUSPENDED
        await origin.resume(20)
        assert await origin.result() == 21
    assert ran == {"origin": 1}


async def test_fork_before_a_suspended_step_forgets_its_answer(autojump_clock: MockClock) -> None:
    """A run that was resumed is forked before the question: the fork asks again."""
    trace = Trace()

    @step
    async def ask(data, ctx: Context):
        return await ctx.suspend("why?")

    graph = workflow("asks").then(ask).then(trace.step("z", gated=True)).commit()
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph)
        await origin.wait()
        await origin.resume("because")
        await trace.reached[0].wait()
        fork = await origin.fork(before="ask")
        assert (await fork.wait()).status is RunStatus.SUSPENDED
        trace.gate.set()
        await fork.resume("otherwise")
        assert (await fork.result(), await origin.result()) == ("otherwisez", "becausez")


# ------------------------------------------------------------------------------------------------ lineage


async def test_forks_do_not_see_each_other(journal: str, autojump_clock: MockClock) -> None:
    """Several forks of one point and their origin go on side by side: what one does is in no other."""
    gates = {name: trio.Event() for name in ("origin", "f1", "f2")}
    reached = trio.Event()

    @step
    async def work(data, ctx: Context):
        reached.set()
        await gates[ctx.run_id].wait()
        await ctx.run_store.push("log", ctx.run_id)
        return await ctx.run_store.get("log")

    @step
    async def begin(data, ctx: Context):
        await ctx.run_store.push("log", "begin")

    graph = workflow("lineage").then(begin).then(work).then(work).commit()
    async with opened([graph], journal=journal) as runtime:
        origin = await runtime.start(graph, run_id="origin")
        await reached.wait()
        await trio.sleep(1)
        cut = (await origin.history())[-1].seq
        forks = [await origin.fork(at=cut, run_id=name) for name in ("f1", "f2")]
        for name in ("f2", "origin", "f1"):
            gates[name].set()
            await trio.sleep(1)
        for run in (origin, *forks):
            assert await run.result() == ["begin", run.run_id, run.run_id]


async def test_a_fork_can_be_forked(autojump_clock: MockClock) -> None:
    """A fork is a run like any other."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a")).then(trace.step("b", gated=True)).commit()
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph, "")
        await trace.reached[0].wait()
        child = await origin.fork(before="b")
        trace.reached.append(trio.Event())
        grandchild = await child.fork(before="b")
        trace.gate.set()
        assert await grandchild.result() == await child.result() == await origin.result() == "ab"
    assert trace.of(grandchild) == {"b": 1}


async def test_the_run_id_of_a_fork_must_be_free(autojump_clock: MockClock) -> None:
    """An existing run is not overwritten."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a", gated=True)).commit()
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph, "", run_id="origin")
        other = await runtime.start(graph, "other", run_id="other")
        await trace.reached[0].wait()
        with pytest.raises(RunExists):
            await origin.fork(before="a", run_id="other")
        trace.gate.set()
        assert (await origin.result(), await other.result()) == ("a", "othera")


@pytest.mark.rule("B12")
async def test_a_finished_run_cannot_be_forked(journal: str, autojump_clock: MockClock) -> None:
    """Its values are gone with its end."""
    graph = workflow("over").then(saying("a")).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, "")
        await run.wait()
        with pytest.raises(RunOver):
            await run.fork(before="a")
        with pytest.raises(RunOver):
            await run.state_at((await run.history())[-1].seq)


@pytest.mark.rule("F4", "B12")
async def test_origin_and_fork_survive_closing(sqlite_url: str, autojump_clock: MockClock) -> None:
    """Both are in the journal: opened again both go on, each with what was its own."""
    trace = Trace()
    graph = workflow("chain").then(trace.step("a")).then(trace.step("b", gated=True)).then(trace.step("c")).commit()
    async with opened([graph], journal=sqlite_url, shutdown_grace=0) as runtime:
        origin = await runtime.start(graph, ">", run_id="origin")
        await trace.reached[0].wait()
        await origin.fork(before="b", run_id="fork")
    trace.gate.set()
    async with opened([graph], journal=sqlite_url) as runtime:
        assert runtime.unrecovered == {}
        runs = [await runtime.get_run(run_id) for run_id in ("origin", "fork")]
        assert [await run.result() for run in runs] == [">abc", ">abc"]
        assert [(await run.wait()).state for run in runs] in (
            [{"seen": [["a", ">"], ["b", ">a"], ["c", ">ab"]]}] * 2,
            [{}] * 2,
        )
    assert trace.of(runs[0])["a"] == 1
    assert "a" not in trace.of(runs[1])


# ------------------------------------------------------------------------------------------------ state_at


@pytest.mark.rule("A2", "B12")
async def test_state_at_shows_each_iteration(journal: str, autojump_clock: MockClock) -> None:
    """The state of every iteration of a loop can be read afterwards, in order, while the run lives."""
    trace = Trace()

    @step
    async def body(data, ctx: Context):
        await ctx.set_state(n=ctx.iteration)
        return data

    graph = (
        workflow("past").do_until(body, lambda data, ctx: ctx.iteration == 4).then(trace.step("z", gated=True)).commit()
    )
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trace.reached[0].wait()
        await trio.sleep(1)
        facts = await run.history()
        past = [(await run.state_at(fact.seq)).get("n") for fact in facts]
        assert await run.state_at(facts[-1].seq) == await run.state()
        trace.gate.set()
        await run.wait()
    assert [value for value, _ in itertools.groupby(past)] == [None, 1, 2, 3, 4]


@pytest.mark.rule("A2")
async def test_state_at_of_parallel_branches_is_one_order(journal: str, autojump_clock: MockClock) -> None:
    """Each state of the past is the one before with one more change: branches have one order for all observers."""
    trace = Trace()

    @step
    async def work(data, ctx: Context):
        await trio.sleep(data % 3)
        await ctx.run_store.push("items", data)

    graph = workflow("order").foreach(work, concurrency=None).then(trace.step("z", gated=True)).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, list(range(10)))
        await trace.reached[0].wait()
        past = [(await run.state_at(fact.seq)).get("items", []) for fact in await run.history()]
        trace.gate.set()
        await run.wait()
    assert all(later[: len(sooner)] == sooner for sooner, later in itertools.pairwise(past))
    assert sorted(past[-1]) == list(range(10))


async def test_a_failing_step_after_a_fork_fails_the_fork_alone(autojump_clock: MockClock) -> None:
    """Origin and fork end each for itself."""
    trace = Trace()
    broken = {"fork"}

    @step
    async def fragile(data, ctx: Context):
        if ctx.run_id in broken:
            raise Boom("in the fork")
        return data

    graph = workflow("alone").then(trace.step("a", gated=True)).then(fragile).commit()
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph, "", run_id="origin")
        await trace.reached[0].wait()
        fork = await origin.fork(before="a", run_id="fork")
        trace.gate.set()
        assert await origin.result() == "a"
        assert kinds(await fork.wait()) == ["Boom"]

"""Branches that suspend beside each other and are resumed in any order (semantics D3, D4, D5, C6, C12)."""

from __future__ import annotations

from collections import Counter
from itertools import permutations

import pytest
import trio

from actorflow import (
    ALL,
    DRAIN,
    Context,
    Graph,
    NotSuspended,
    RunStatus,
    StepStatus,
    Workflow,
    first,
    open_runtime,
    step,
    tolerate,
    workflow,
)
from tests.semantics.settling import answer, asked, kind, pause, records, until, until_asked

Flow = type[Workflow] | Graph
STYLE = pytest.mark.parametrize("style", ["class", "foreach"])


def fan_out(style: str, passes: Counter[object], branches: int = 3) -> Flow:
    """A branch for each number below `branches`: it counts, asks "q<n>", counts again, and keeps its answer."""

    async def branch(data: object, ctx: Context) -> object:
        passes[data] += 1
        await ctx.run_store.increment("n")
        await ctx.run_store.set(f"b{data}", True)
        given = await ctx.suspend(f"q{data}", label=f"label-{data}")
        await ctx.run_store.increment("n", 10)
        await ctx.run_store.set(f"r{data}", given)
        return [data, given]

    if style == "foreach":

        @step
        async def collect(data, ctx: Context):
            passes["joined"] += 1
            return data

        return workflow("fan").foreach(step(id="branch")(branch), concurrency=None).then(collect).commit()

    class Fan(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("branch", data)

        async def branch(self, data, ctx: Context):
            await ctx.run_store.push("out", await branch(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            passes["joined"] += 1
            return sorted(await ctx.run_store.get("out"))

    return Fan


@STYLE
@pytest.mark.rule("D3", "C9")
@pytest.mark.parametrize("order", list(permutations(range(3))), ids=lambda order: "".join(map(str, order)))
async def test_branches_are_resumed_in_any_order(style: str, order: tuple[int, ...], journal: str) -> None:
    """Three branches, resumed one after another: no write of any is lost, none counts twice, the join fires once."""
    passes: Counter[object] = Counter()
    async with open_runtime([flow := fan_out(style, passes)], journal=journal) as runtime:
        run = await runtime.start(flow, [0, 1, 2])
        assert {found.payload for found in (await pause(run)).suspensions} == {"q0", "q1", "q2"}
        for done, n in enumerate(order):
            assert (await run.state())["n"] == 3 + 10 * done
            await answer(run, f"q{n}", f"a{n}")
            if done < 2:
                outcome = await pause(run)
                assert len(outcome.suspensions) == 2 - done
        outcome = await run.wait()
    assert outcome.output == [[0, "a0"], [1, "a1"], [2, "a2"]]
    expected = {"n": 33} | {f"b{n}": True for n in range(3)} | {f"r{n}": f"a{n}" for n in range(3)}
    assert {key: value for key, value in outcome.state.items() if key != "out"} == expected
    assert passes == {0: 2, 1: 2, 2: 2, "joined": 1}


@STYLE
@pytest.mark.rule("D3", "D4")
async def test_ten_ask_and_three_are_answered(style: str, journal: str) -> None:
    """The three go on, the seven wait as they did: same activation, same payload, same label, no further pass."""
    passes: Counter[object] = Counter()
    async with open_runtime([flow := fan_out(style, passes)], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(10)))
        before = {found.payload: found for found in (await pause(run)).suspensions}
        assert len(before) == 10
        for n in (7, 2, 5):
            await run.resume(n, label=f"label-{n}")
        outcome = await pause(run)
        left = {found.payload: found for found in outcome.suspensions}
        assert left == {key: found for key, found in before.items() if key not in ("q7", "q2", "q5")}
        assert passes == {n: 2 if n in (7, 2, 5) else 1 for n in range(10)}
        assert (await run.state())["n"] == 40
        statuses = Counter(record.status for record in records(await run.describe(), "branch"))
        assert statuses == {StepStatus.COMPLETED: 3, StepStatus.SUSPENDED: 7}
        for payload in left:
            await answer(run, payload, int(str(payload)[1:]))
        assert await run.result() == [[n, n] for n in range(10)]


@STYLE
@pytest.mark.rule("D3")
async def test_different_suspensions_are_resumed_at_the_same_moment(style: str, journal: str) -> None:
    """Ten tasks that resume ten branches at once are all accepted."""
    passes: Counter[object] = Counter()
    async with open_runtime([flow := fan_out(style, passes)], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(10)))
        found = {suspension.payload: suspension for suspension in (await pause(run)).suspensions}

        async def resume(n: int) -> None:
            await run.resume(n, step=found[f"q{n}"].activation_id)

        async with trio.open_nursery() as nursery:
            for n in range(10):
                nursery.start_soon(resume, n)
        assert await run.result() == [[n, n] for n in range(10)]
    assert passes == dict.fromkeys(range(10), 2) | {"joined": 1}


def two(style: str, a: object, b: object, **options: object) -> Flow:
    """Steps `a` and `b` beside each other, with the functions given; the output has what both returned."""
    if style == "graph":
        join = options.pop("join", ALL)
        return workflow("two", **options).parallel([step(id="a")(a), step(id="b")(b)], join=join).commit()

    class Two(Workflow):
        join = options.get("join", ALL)

        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("a", data)
            await ctx.schedule_next_step("b", data)

        async def a(self, data, ctx: Context):
            await ctx.run_store.set("a", await a(data, ctx))

        async def b(self, data, ctx: Context):
            await ctx.run_store.set("b", await b(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return {name: await ctx.run_store.get(name) for name in ("a", "b") if await ctx.run_store.has(name)}

    return Two


BOTH = pytest.mark.parametrize("style", ["class", "graph"])


@BOTH
@pytest.mark.rule("D1", "D3")
async def test_a_branch_is_resumed_while_its_sibling_runs(style: str, journal: str) -> None:
    """A run with a live branch is running; the suspended one is resumed and ends while the other is still at work."""
    release, passes = trio.Event(), []

    async def a(data: object, ctx: Context) -> object:
        passes.append("a")
        await release.wait()
        return "a done"

    async def b(data: object, ctx: Context) -> object:
        passes.append("b")
        return [await ctx.suspend("q1"), await ctx.suspend("q2")]

    async with open_runtime([flow := two(style, a, b)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await until_asked(run, "q1")
        assert await run.status() is RunStatus.RUNNING
        await run.resume("a1", step="b")
        await until_asked(run, "q2")
        assert await run.status() is RunStatus.RUNNING
        await run.resume("a2", step="b")

        async def b_is_done() -> bool:
            return [record.status for record in records(await run.describe(), "b")] == [StepStatus.COMPLETED]

        await until(b_is_done)
        assert await run.status() is RunStatus.RUNNING
        release.set()
        assert await run.result() == {"a": "a done", "b": ["a1", "a2"]}
    assert Counter(passes) == {"a": 1, "b": 3}


@BOTH
@pytest.mark.rule("D3")
async def test_a_sibling_that_ends_leaves_a_resumed_branch_at_work(style: str, journal: str) -> None:
    """The long branch ends while the resumed one is in its second round: that round goes on and nothing runs again."""
    release, resumed, go_on, passes = trio.Event(), trio.Event(), trio.Event(), []

    async def a(data: object, ctx: Context) -> object:
        passes.append("a")
        await release.wait()
        return "a"

    async def b(data: object, ctx: Context) -> object:
        passes.append("b")
        found = [await ctx.suspend("q1")]
        resumed.set()
        await go_on.wait()
        return [*found, await ctx.suspend("q2")]

    async with open_runtime([flow := two(style, a, b)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await until_asked(run, "q1")
        await run.resume("a1")
        await resumed.wait()
        release.set()

        async def a_is_done() -> bool:
            return [record.status for record in records(await run.describe(), "a")] == [StepStatus.COMPLETED]

        await until(a_is_done)
        assert await run.status() is RunStatus.RUNNING
        go_on.set()
        await pause(run)
        await run.resume("a2")
        assert await run.result() == {"a": "a", "b": ["a1", "a2"]}
    assert Counter(passes) == {"a": 1, "b": 3}


@BOTH
@pytest.mark.rule("D3")
async def test_a_finished_sibling_never_falls_back(style: str, journal: str) -> None:
    """A branch that is done stays done, with its output and its state, over every resume of the other."""
    passes = []

    async def a(data: object, ctx: Context) -> object:
        passes.append("a")
        await ctx.run_store.increment("by_a")
        return "a"

    async def b(data: object, ctx: Context) -> object:
        return [await ctx.suspend(n) for n in range(4)]

    async with open_runtime([flow := two(style, a, b)], journal=journal) as runtime:
        run = await runtime.start(flow)
        for n in range(4):
            assert (await pause(run)).suspensions[0].payload == n
            (record,) = records(await run.describe(), "a")
            assert (record.status, (await run.state())["by_a"]) == (StepStatus.COMPLETED, 1)
            await run.resume(n)
        assert await run.result() == {"a": "a", "b": [0, 1, 2, 3]}
    assert passes == ["a"]


async def asks(data: object, ctx: Context) -> object:
    """Suspends and returns its answer."""
    return await ctx.suspend("q")


async def fails(data: object, ctx: Context) -> object:
    """Fails once the run shows that its sibling is suspended."""
    await ctx.run_store.wait_for("fail", lambda value: value is True)
    raise ValueError("on purpose")


async def asks_and_tells(data: object, ctx: Context) -> object:
    """Lets its sibling fail, then suspends."""
    await ctx.run_store.set("fail", True)
    return await ctx.suspend("q")


@BOTH
@pytest.mark.rule("C6", "D3")
async def test_a_failure_ends_the_suspended_siblings(style: str, journal: str) -> None:
    """Under ALL the run fails at once: nothing waits any more, and the suspended step counts as cancelled."""

    async def late(data: object, ctx: Context) -> object:
        if not ctx.resumed:
            return await ctx.suspend("fail?")
        raise ValueError("on purpose")

    async with open_runtime([flow := two(style, late, asks)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await answer(run, "fail?")
        outcome = await run.wait()
        described = await run.describe()
    assert (outcome.status, kind(outcome.error), outcome.suspensions) == (RunStatus.FAILED, "ValueError", ())
    assert described.suspensions == ()
    assert [record.status for record in records(described, "b")] == [StepStatus.CANCELLED]


@BOTH
@pytest.mark.rule("C6", "D1", "D3")
async def test_drain_waits_for_the_suspended_and_then_fails(style: str, journal: str) -> None:
    """Under DRAIN a failed branch leaves the run suspended; once the other is answered and done, it fails."""
    async with open_runtime([flow := two(style, asks_and_tells, fails, join=DRAIN)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert [record.status for record in records(await run.describe(), "b")] == [StepStatus.FAILED]
        await run.resume("late")
        outcome = await run.wait()
    assert (outcome.status, [kind(failure) for failure in outcome.failures]) == (RunStatus.FAILED, ["ValueError"])
    assert [record.status for record in records(outcome, "a")] == [StepStatus.COMPLETED]


@BOTH
@pytest.mark.rule("C6", "D3")
async def test_a_tolerated_failure_leaves_the_suspended_alone(style: str, journal: str) -> None:
    """With room for one failure the run completes after the answer, and lists it."""
    flow = two(style, asks_and_tells, fails, join=tolerate(count=1))
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume("late")
        outcome = await run.wait()
    assert outcome.status is RunStatus.COMPLETED
    assert outcome.output["a"] == "late"
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("b", "ValueError")]


@pytest.mark.rule("C6", "D3", "C12")
async def test_a_group_that_needs_one_drops_the_suspended(journal: str) -> None:
    """With `first(1)` a success ends the group: the suspended member is cancelled and can no longer be resumed."""

    async def quick(data: object, ctx: Context) -> object:
        await ctx.run_store.wait_for("fail", lambda value: value is True)
        return "quick"

    @step
    async def after(data, ctx: Context):
        return [data, await ctx.suspend("after")]

    group = workflow("race").parallel([step(id="a")(asks_and_tells), step(id="b")(quick)], join=first(1))
    async with open_runtime([flow := group.then(after).commit()], journal=journal) as runtime:
        run = await runtime.start(flow)
        outcome = await pause(run)
        assert [found.payload for found in outcome.suspensions] == ["after"]
        assert [record.status for record in records(outcome, "a")] == [StepStatus.CANCELLED]
        with pytest.raises(NotSuspended):
            await run.resume("a", step="a")
        await run.resume("go")
        assert await run.result() == [{"b": "quick"}, "go"]


@pytest.mark.rule("D3", "C6")
async def test_first_of_two_suspended_that_is_answered_wins(journal: str) -> None:
    """Both members of a `first(1)` group are suspended: answering one ends the wait of the other."""
    group = workflow("race").parallel([step(id="a")(asks), step(id="b")(asks)], join=first(1))
    async with open_runtime([flow := group.commit()], journal=journal) as runtime:
        run = await runtime.start(flow)
        assert len((await pause(run)).suspensions) == 2
        await run.resume("won", step="b")
        assert await run.result() == {"b": "won"}


@pytest.mark.rule("D4", "C9")
async def test_only_the_chosen_arms_of_a_branch_go_on(journal: str) -> None:
    """Two arms hold and suspend, a third does not: the join waits for both, and the third is never run."""
    passes = []

    def arm(name: str) -> object:
        @step(id=name)
        async def body(data, ctx: Context):
            passes.append(name)
            return [name, await ctx.suspend(name)]

        return body

    arms = [(lambda data, ctx, n=n: data % n == 0, arm(f"by{n}")) for n in (2, 3, 5)]
    async with open_runtime([flow := workflow("arms").branch(arms).commit()], journal=journal) as runtime:
        run = await runtime.start(flow, 6)
        assert {found.payload for found in (await pause(run)).suspensions} == {"by2", "by3"}
        await run.resume("x", step="by3")
        assert [found.payload for found in (await pause(run)).suspensions] == ["by2"]
        await run.resume("y")
        assert await run.result() == {"by2": ["by2", "y"], "by3": ["by3", "x"]}
    assert Counter(passes) == {"by2": 2, "by3": 2}


@pytest.mark.rule("D5", "D3")
@pytest.mark.parametrize("concurrency", [1, 2, None], ids=["one", "two", "all"])
async def test_a_suspended_element_holds_no_place(concurrency: int | None, journal: str) -> None:
    """Every element gets to its question, whatever the concurrency; the output is in the order of the input."""

    @step
    async def ask(data, ctx: Context):
        return [data, await ctx.suspend(data)]

    flow = workflow("places").foreach(ask, concurrency=concurrency).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(5)))
        assert {found.payload for found in (await pause(run)).suspensions} == set(range(5))
        for n in (3, 0, 4, 1, 2):
            await answer(run, n, n * n)
        assert await run.result() == [[n, n * n] for n in range(5)]


@pytest.mark.rule("D5", "C8")
async def test_resumed_elements_take_their_places_again(journal: str) -> None:
    """All elements resumed at once still run at most two at a time, and all of them run."""
    live, peak = [0], [0]

    @step
    async def ask(data, ctx: Context):
        await ctx.suspend(data)
        live[0] += 1
        peak[0] = max(peak[0], live[0])
        for _ in range(20):
            await trio.lowlevel.checkpoint()
        await ctx.run_store.increment("n")
        live[0] -= 1
        return data

    async with open_runtime(
        [flow := workflow("places").foreach(ask, concurrency=2).commit()], journal=journal
    ) as runtime:
        run = await runtime.start(flow, list(range(6)))
        found = {suspension.payload: suspension for suspension in (await pause(run)).suspensions}
        assert len(found) == 6
        for suspension in found.values():
            await run.resume(step=suspension.activation_id)
        outcome = await run.wait()
    assert (outcome.output, outcome.state["n"], peak) == (list(range(6)), 6, [2])


@pytest.mark.rule("D5", "D3")
async def test_an_element_that_suspends_again_holds_up_nobody(journal: str) -> None:
    """Several elements are resumed, the first asks again: the others are worked off meanwhile."""

    @step
    async def ask(data, ctx: Context):
        found = [await ctx.suspend(data)]
        if data == 0:
            found.append(await ctx.suspend("again"))
        return found

    async with open_runtime([flow := workflow("again").foreach(ask).commit()], journal=journal) as runtime:
        run = await runtime.start(flow, [0, 1, 2])
        for payload in (await pause(run)).suspensions:
            await run.resume(payload.payload, step=payload.activation_id)
        outcome = await pause(run)
        assert [found.payload for found in outcome.suspensions] == ["again"]
        done = [record.status for record in records(outcome, "ask")]
        assert Counter(done) == {StepStatus.COMPLETED: 2, StepStatus.SUSPENDED: 1}
        await run.resume("last")
        assert await run.result() == [[0, "last"], [1], [2]]


@pytest.mark.rule("C8", "D3")
async def test_suspended_steps_take_no_place_among_the_live(journal: str) -> None:
    """With room for a single live step, five branches are all suspended at once."""

    class Narrow(Workflow):
        max_live_steps = 1

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("ask", range(5))

        async def ask(self, data, ctx: Context):
            await ctx.run_store.increment("sum", await ctx.suspend(data))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("sum")

    async with open_runtime([Narrow], journal=journal) as runtime:
        run = await runtime.start(Narrow)
        assert len((await pause(run)).suspensions) == 5
        for payload in range(5):
            await answer(run, payload, payload)
        assert await run.result() == 10


@pytest.mark.rule("D3", "C9")
async def test_a_hundred_branches_suspend_and_all_are_counted(journal: str) -> None:
    """A hundred suspensions, resumed from both ends: a hundred answers, one join."""
    passes: Counter[object] = Counter()
    async with open_runtime([flow := fan_out("class", passes)], journal=journal) as runtime:
        run = await runtime.start(flow, list(range(100)))
        found = {suspension.payload: suspension for suspension in (await pause(run)).suspensions}
        for n in sorted(range(100), key=lambda n: abs(n - 50), reverse=True):
            await run.resume(n, step=found[f"q{n}"].activation_id)
        assert await run.result() == [[n, n] for n in range(100)]
    assert passes == dict.fromkeys(range(100), 2) | {"joined": 1}


@BOTH
@pytest.mark.rule("D3")
async def test_bail_of_one_branch_ends_the_suspension_of_another(style: str, journal: str) -> None:
    """A branch that bails completes the run; what is suspended beside it is dropped."""

    async def bails(data: object, ctx: Context) -> object:
        await ctx.suspend("bail?")
        await ctx.bail("bailed")

    async with open_runtime([flow := two(style, bails, asks)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert set(await asked(run)) == {"bail?", "q"}
        await answer(run, "bail?")
        outcome = await run.wait()
    assert (outcome.status, outcome.output, outcome.suspensions) == (RunStatus.COMPLETED, "bailed", ())

"""Graphs, verb by verb: chains, groups, branches, mappings, workflows as steps, and what `commit` refuses.

What lives here: the plain meaning of each verb. What does not: what failures in a group mean (`test_graph_joins.py`),
loops (`test_graph_loops.py`), types and state (`test_graph_data.py`), time and events (`test_graph_time.py`).
"""

from __future__ import annotations

import threading
from datetime import datetime

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    DefinitionError,
    NonRetryable,
    Retry,
    RunExists,
    RunFailed,
    RunStatus,
    StepStatus,
    Workflow,
    constant,
    first,
    from_input,
    from_state,
    from_step,
    open_runtime,
    step,
    workflow,
)
from tests.semantics.graph_flows import (
    Boom,
    adding,
    failing,
    gated,
    giving,
    kind,
    kinds,
    opened,
    output_of,
    records,
    saying,
    settle,
    statuses,
    taking,
)

NAMES = ["a", "b", "c"]


# ------------------------------------------------------------------------------------------------ then


async def test_a_chain_hands_each_output_on(journal: str, autojump_clock: MockClock) -> None:
    """Every step gets the output of the one before; the run's output is that of the last."""
    graph = workflow("chain").then(saying("a")).then(saying("b")).then(saying("c")).commit()
    outcome = await settle(graph, ">", journal=journal)
    assert (outcome.status, outcome.output, outcome.error, outcome.failures) == (
        RunStatus.COMPLETED,
        ">abc",
        None,
        (),
    )
    assert [(record.step_id, record.output) for record in outcome.steps] == [("a", ">a"), ("b", ">ab"), ("c", ">abc")]
    assert statuses(outcome) == {name: ["completed"] for name in NAMES}


async def test_a_step_begins_after_the_one_before_has_ended(autojump_clock: MockClock) -> None:
    """Along a chain nothing overlaps, and the times on record say so."""
    graph = workflow("slow").then(taking("a", 5)).then(taking("b", 7)).commit()
    began = trio.current_time()
    outcome = await settle(graph)
    assert trio.current_time() - began == pytest.approx(12, abs=0.05)
    (first_record,), (second_record,) = records(outcome)["a"], records(outcome)["b"]
    assert first_record.ended_at <= second_record.started_at
    assert (second_record.ended_at - first_record.started_at).total_seconds() == pytest.approx(12, abs=0.05)


async def test_every_verb_returns_a_new_builder(autojump_clock: MockClock) -> None:
    """A builder can be gone on from twice: neither graph has anything of the other, nor has the beginning."""
    base = workflow("shared").then(saying("a"))
    left = base.then(saying("l"))
    right = base.parallel([saying("r"), saying("s")])
    assert len({id(base), id(left), id(right)}) == 3
    assert await output_of(left.commit(), "") == "al"
    assert await output_of(right.commit(), "") == {"r": "ar", "s": "as"}
    assert await output_of(base.commit(), "") == "a"


async def test_a_committed_graph_is_not_changed_by_its_builder(autojump_clock: MockClock) -> None:
    """What is done with a builder after `commit()` is not in the graph that it gave."""
    builder = workflow("early").then(saying("a"))
    graph = builder.commit()
    builder.then(saying("b"))
    assert await output_of(graph, "") == "a"


@pytest.mark.rule("C9")
async def test_the_same_step_twice_in_a_chain(journal: str, autojump_clock: MockClock) -> None:
    """It runs twice, as two activations of one step id, each with the output before it."""
    seen = []

    @step
    async def twice(data, ctx: Context):
        seen.append((data, ctx.activation_id))
        return data + 1

    graph = workflow("again").then(twice).then(adding("between", 10)).then(twice).then(twice).commit()
    outcome = await settle(graph, 0, journal=journal)
    assert outcome.output == 13
    assert [data for data, _ in seen] == [0, 11, 12]
    assert len({activation for _, activation in seen}) == 3
    assert [record.activation_id for record in records(outcome)["twice"]] == [activation for _, activation in seen]


async def test_latest_output_of_a_step_used_twice(autojump_clock: MockClock) -> None:
    """`step_result` and `from_step` give the output of the latest activation at that moment."""
    plus = adding("plus")
    seen = []

    @step
    async def look(data, ctx: Context):
        seen.append(await ctx.step_result("plus"))
        return data

    graph = (
        workflow("latest")
        .then(plus)
        .then(look)
        .then(plus)
        .then(look)
        .map({"plus": from_step("plus"), "look": from_step("look")})
        .commit()
    )
    assert await output_of(graph, 1) == {"plus": 3, "look": 3}
    assert seen == [2, 3]


async def test_one_step_in_two_graphs(autojump_clock: MockClock) -> None:
    """A step belongs to no graph: two graphs of one runtime use it side by side."""
    plus = adding("plus")
    one = workflow("one").then(plus).commit()
    two = workflow("two").then(plus).then(plus).commit()
    async with opened([one, two]) as runtime:
        assert (await runtime.run(one, 1), await runtime.run(two, 1)) == (2, 3)


async def test_a_graph_is_found_by_its_id(journal: str, autojump_clock: MockClock) -> None:
    """`start` takes the graph or its id; the run says which workflow it is of, and `list_runs` filters by it."""
    graph = workflow("by-id").then(adding("plus")).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start("by-id", 1, run_id="r1")
        assert (run.run_id, run.workflow_id, await run.result()) == ("r1", "by-id", 2)
        assert await runtime.run(graph, 5) == 6
        assert {summary.workflow_id for summary in await runtime.list_runs(workflow="by-id")} == {"by-id"}
        assert len(await runtime.list_runs(workflow=graph)) == 2
        with pytest.raises(DefinitionError):
            await runtime.start("unknown", 1)


async def test_start_of_a_graph_is_idempotent(journal: str, autojump_clock: MockClock) -> None:
    """The same run id with the same graph and input gives the same run, also after its end; other input, RunExists."""
    ran = []

    @step
    async def once(data, ctx: Context):
        ran.append(data)
        return data

    graph = workflow("idempotent").then(once).commit()
    async with opened([graph], journal=journal) as runtime:
        assert await runtime.run(graph, [1], run_id="r") == [1]
        assert await (await runtime.start(graph, [1], run_id="r")).result() == [1]
        with pytest.raises(RunExists):
            await runtime.start(graph, [2], run_id="r")
    assert ran == [[1]]


async def test_ids_that_a_step_sees(autojump_clock: MockClock) -> None:
    """Run, workflow and step ids, the attempt, and the run's initial input in every step of the chain."""
    seen = []

    def looking(name: str):
        @step(id=name)
        async def look(data, ctx: Context):
            seen.append((ctx.run_id, ctx.workflow_id, ctx.step_id, ctx.attempt, ctx.input, data))
            return name

        return look

    graph = workflow("ids").then(looking("x")).then(looking("y")).commit()
    async with opened([graph]) as runtime:
        await runtime.run(graph, {"in": 1}, run_id="r")
    assert seen == [("r", "ids", "x", 1, {"in": 1}, {"in": 1}), ("r", "ids", "y", 1, {"in": 1}, "x")]


async def test_headers_reach_every_step(autojump_clock: MockClock) -> None:
    """The mapping given at the start is there in each step of a graph."""
    seen = []

    @step
    async def look(data, ctx: Context):
        seen.append(dict(ctx.headers))

    graph = workflow("headers").then(look).parallel([look]).commit()
    async with opened([graph]) as runtime:
        await (await runtime.start(graph, headers={"tenant": "t1"})).result()
    assert seen == [{"tenant": "t1"}] * 2


async def test_a_plain_function_is_a_step_in_a_thread(autojump_clock: MockClock) -> None:
    """A plain function runs off the trio thread, and the verbs of its run store are plain calls."""
    threads = []

    @step
    def crunch(data, ctx):
        threads.append(threading.get_ident())
        ctx.run_store.push("seen", data)
        return ctx.run_store.increment("n", data)

    graph = workflow("threads").then(crunch).then(crunch).commit()
    outcome = await settle(graph, 3)
    assert (outcome.output, outcome.state) == (6, {"seen": [3, 3], "n": 6})
    assert threading.get_ident() not in threads


@pytest.mark.rule("C5", "C3")
async def test_a_retried_step_counts_once(journal: str, autojump_clock: MockClock) -> None:
    """A step of a chain that succeeds at its third attempt has one record, one effect, and the chain goes on once."""

    @step(retry=Retry(attempts=3, delay=1.0, jitter=0.0))
    async def flaky(data, ctx: Context):
        await ctx.run_store.increment("effects")
        if ctx.attempt < 3:
            raise Boom("again")
        return data + ctx.attempt

    graph = workflow("retry").then(flaky).then(adding("after", 100)).commit()
    outcome = await settle(graph, 0, journal=journal)
    assert (outcome.output, outcome.state, outcome.failures) == (103, {"effects": 1}, ())
    assert [record.attempts for record in records(outcome)["flaky"]] == [3]


@pytest.mark.rule("C6")
async def test_a_failing_step_ends_the_chain(journal: str, autojump_clock: MockClock) -> None:
    """The run fails with that step's failure; nothing behind it starts, and `result()` raises `RunFailed`."""
    ran = []

    @step
    async def after(data, ctx: Context):
        ran.append(data)

    graph = workflow("fails").then(adding("before")).then(failing("broken")).then(after).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, 1)
        outcome = await run.wait()
        with pytest.raises(RunFailed) as caught:
            await run.result()
    assert (outcome.status, outcome.output, ran) == (RunStatus.FAILED, None, [])
    assert outcome.error is not None
    assert (outcome.error.step_id, kind(outcome.error), outcome.error.attempts) == ("broken", "Boom", 1)
    assert "broken fails" in outcome.error.message
    assert [failure.step_id for failure in outcome.failures] == ["broken"]
    assert isinstance(outcome.error.__cause__, Boom)
    assert [failure.step_id for failure in caught.value.failures] == ["broken"]
    found = statuses(outcome)
    assert (found["before"], found["broken"]) == (["completed"], ["failed"])
    assert found.get("after", ["skipped"]) in (["skipped"], ["cancelled"])


@pytest.mark.rule("C5")
async def test_non_retryable_is_not_retried_in_a_chain(autojump_clock: MockClock) -> None:
    """`NonRetryable` ends the step at once, whatever its policy."""
    passes = []

    @step(retry=Retry(attempts=5))
    async def strict(data, ctx: Context):
        passes.append(ctx.attempt)
        raise NonRetryable("never")

    outcome = await settle(workflow("strict").then(strict).commit())
    assert (passes, outcome.status) == ([1], RunStatus.FAILED)


@pytest.mark.rule("C4", "C3")
async def test_once_in_a_graph_step(autojump_clock: MockClock) -> None:
    """What `once` did in the first attempt is not done again in the second."""
    calls = []

    async def charge(amount: int) -> int:
        calls.append(amount)
        return amount * 2

    @step(retry=Retry(attempts=2))
    async def pay(data, ctx: Context):
        paid = await ctx.once("charge", charge, data)
        if ctx.attempt == 1:
            raise Boom("after paying")
        return paid

    assert await output_of(workflow("pays").then(pay).commit(), 4) == 8
    assert calls == [4]


@pytest.mark.rule("C3")
async def test_commit_on_success_in_a_group(autojump_clock: MockClock) -> None:
    """Members that commit on success apply all of it when they succeed, and nothing of an attempt that failed."""

    @step(commit="on_success", retry=Retry(attempts=2))
    async def book(data, ctx: Context):
        await ctx.run_store.increment("booked")
        await ctx.run_store.push("attempts", ctx.attempt)
        if ctx.attempt == 1 and data % 2:
            raise Boom("after booking")
        return data

    outcome = await settle(workflow("books").foreach(book, concurrency=None).commit(), [0, 1, 2, 3])
    assert outcome.output == [0, 1, 2, 3]
    assert outcome.state["booked"] == 4
    assert sorted(outcome.state["attempts"]) == [1, 1, 2, 2]


# ------------------------------------------------------------------------------------------------ parallel


@pytest.mark.rule("C9")
async def test_parallel_gives_all_members_the_same_input(journal: str, autojump_clock: MockClock) -> None:
    """The output is a mapping from id to output, in the order in which the members were given."""
    graph = workflow("fork").then(adding("before")).parallel([adding(n, i) for i, n in enumerate("cab")]).commit()
    output = await output_of(graph, 9, journal=journal)
    assert output == {"c": 10, "a": 11, "b": 12}
    assert list(output) == ["c", "a", "b"]


@pytest.mark.rule("C9")
async def test_parallel_members_run_at_once(autojump_clock: MockClock) -> None:
    """Members wait for each other: they could not finish if they ran one after the other."""
    arrived = [trio.Event() for _ in range(5)]

    def meeting(number: int):
        @step(id=f"m{number}")
        async def meet(data, ctx: Context):
            arrived[number].set()
            for event in arrived:
                await event.wait()
            return number

        return meet

    output = await output_of(workflow("meeting").parallel([meeting(n) for n in range(5)]).commit())
    assert output == {f"m{n}": n for n in range(5)}


@pytest.mark.rule("C9")
async def test_what_follows_parallel_gets_the_mapping_once(autojump_clock: MockClock) -> None:
    """The step behind the join runs once, after the slowest member, whatever the order of finishing."""
    seen = []

    @step
    async def join(data, ctx: Context):
        seen.append((data, trio.current_time()))
        return sum(data.values())

    members = [taking("slow", 30, 1), taking("fast", 1, 2), taking("middle", 10, 3)]
    began = trio.current_time()
    assert await output_of(workflow("joined").parallel(members).then(join).commit(), 0) == 6
    ((data, at),) = seen
    assert data == {"slow": 1, "fast": 2, "middle": 3}
    assert at - began == pytest.approx(30, abs=0.05)


@pytest.mark.parametrize("count", [1, 2, 1000])
@pytest.mark.rule("C9")
async def test_parallel_of_any_width(count: int, autojump_clock: MockClock) -> None:
    """One, two and a thousand members all come out."""
    members = [adding(f"m{n}", n) for n in range(count)]
    assert await output_of(workflow("wide").parallel(members).commit(), 1) == {f"m{n}": n + 1 for n in range(count)}


async def test_two_groups_in_a_row(autojump_clock: MockClock) -> None:
    """The second group gets the mapping of the first; a step may be a member of both."""

    @step(id="a")
    async def total(data, ctx: Context):
        return data + 1 if isinstance(data, int) else sum(data.values())

    graph = workflow("two").parallel([total, adding("b", 2)]).parallel([total, giving("c", 0)]).commit()
    assert await output_of(graph, 10) == {"a": 23, "c": 0}


async def test_a_member_that_returns_none_is_in_the_mapping(autojump_clock: MockClock) -> None:
    """None is an output like any other."""
    assert await output_of(workflow("none").parallel([giving("a", None), giving("b", 1)]).commit()) == {
        "a": None,
        "b": 1,
    }


# ------------------------------------------------------------------------------------------------ branch


def parts(log: list[object] | None = None):
    """Three pairs of condition and step: negative, even, large."""

    def noting(name: str, holds: bool) -> bool:
        if log is not None:
            log.append(name)
        return holds

    async def even(data, ctx: Context):
        await trio.lowlevel.checkpoint()
        return noting("even", data % 2 == 0)

    return [
        (lambda data, ctx: noting("negative", data < 0), saying("negative")),
        (even, saying("even")),
        (lambda data, ctx: noting("large", data > 100), saying("large")),
    ]


@pytest.mark.parametrize(
    ("data", "chosen"),
    [
        (5, []),
        (4, ["even"]),
        (-4, ["negative", "even"]),
        (200, ["even", "large"]),
        (101, ["large"]),
        (-1, ["negative"]),
    ],
)
@pytest.mark.rule("C9")
async def test_every_branch_whose_condition_holds(
    data: int, chosen: list[str], journal: str, autojump_clock: MockClock
) -> None:
    """Plain and async conditions choose the members; the others are skipped, and the output has the chosen ones."""
    outcome = await settle(workflow("choose").branch(parts()).commit(), data, journal=journal)
    assert outcome.output == {name: f"{data}{name}" for name in chosen}
    assert statuses(outcome) == {
        name: ["completed" if name in chosen else "skipped"] for name in ("negative", "even", "large")
    }


@pytest.mark.parametrize(("data", "chosen"), [(5, []), (-4, ["negative"]), (200, ["even"]), (101, ["large"])])
@pytest.mark.rule("C9")
async def test_first_match_takes_one_branch(data: int, chosen: list[str], autojump_clock: MockClock) -> None:
    """With `first_match` only the first branch whose condition holds runs."""
    outcome = await settle(workflow("one").branch(parts(), first_match=True).commit(), data)
    assert outcome.output == {name: f"{data}{name}" for name in chosen}
    assert {name for name, found in statuses(outcome).items() if found != ["skipped"]} == set(chosen)


@pytest.mark.parametrize("first_match", [False, True])
@pytest.mark.parametrize(("data", "chosen"), [(5, "other"), (4, "even"), (101, "large")])
async def test_otherwise_runs_if_no_condition_holds(
    first_match: bool, data: int, chosen: str, autojump_clock: MockClock
) -> None:
    """`otherwise` runs in their place, under its own id, and is skipped if one of them holds."""
    graph = workflow("else").branch(parts(), otherwise=saying("other"), first_match=first_match).commit()
    outcome = await settle(graph, data)
    assert outcome.output == {chosen: f"{data}{chosen}"}
    assert statuses(outcome)["other"] == ["completed" if chosen == "other" else "skipped"]


async def test_a_branch_of_which_none_holds_goes_on(autojump_clock: MockClock) -> None:
    """The empty mapping is what the next step gets."""
    seen = []

    @step
    async def after(data, ctx: Context):
        seen.append(data)
        return "went on"

    graph = workflow("empty").branch([(lambda data, ctx: False, saying("a"))]).then(after).commit()
    assert (await output_of(graph, 1), seen) == ("went on", [{}])


async def test_conditions_see_state_input_and_store(autojump_clock: MockClock) -> None:
    """A condition has the context of its run: the store as the steps left it, and the run's input."""

    @step
    async def write(data, ctx: Context):
        await ctx.run_store.set("written", 7)
        return "output of write"

    async def by_store(data, ctx: Context):
        return await ctx.run_store.get("written") == 7 and data == "output of write"

    graph = (
        workflow("looks")
        .then(write)
        .branch(
            [
                (by_store, giving("store", 1)),
                (lambda data, ctx: ctx.input == "the input", giving("input", 2)),
                (lambda data, ctx: ctx.state["written"] == 7, giving("state", 3)),
                (lambda data, ctx: ctx.workflow_id != "looks", giving("never", 4)),
            ]
        )
        .commit()
    )
    assert await output_of(graph, "the input") == {"store": 1, "input": 2, "state": 3}


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_condition_that_raises_fails_the_run(
    asynchronous: bool, journal: str, autojump_clock: MockClock
) -> None:
    """Its own exception is on record, and nothing behind it runs."""
    ran = []

    @step
    async def after(data, ctx: Context):
        ran.append("after")

    def plain(data, ctx: Context):
        raise Boom("no decision")

    async def slow(data, ctx: Context):
        await trio.sleep(1)
        raise Boom("no decision")

    graph = workflow("undecided").branch([(slow if asynchronous else plain, after)]).then(after).commit()
    outcome = await settle(graph, journal=journal)
    assert (outcome.status, kinds(outcome), ran) == (RunStatus.FAILED, ["Boom"], [])
    assert outcome.error is not None
    assert "no decision" in outcome.error.message


async def test_no_member_starts_before_all_conditions_are_known(autojump_clock: MockClock) -> None:
    """A condition that raises late finds no branch at work: what was decided before has not begun."""
    ran = []

    @step
    async def chosen(data, ctx: Context):
        ran.append("chosen")

    async def late(data, ctx: Context):
        await trio.sleep(10)
        raise Boom("late")

    graph = workflow("late").branch([(lambda data, ctx: True, chosen), (late, saying("other"))]).commit()
    outcome = await settle(graph)
    assert (outcome.status, kinds(outcome), ran) == (RunStatus.FAILED, ["Boom"], [])


async def test_branches_run_at_once(autojump_clock: MockClock) -> None:
    """Chosen members are parallel: the group takes as long as its slowest."""
    always = lambda data, ctx: True  # noqa: E731 - a condition is shortest as a lambda
    began = trio.current_time()
    graph = workflow("both").branch([(always, taking("a", 10)), (always, taking("b", 20))]).commit()
    assert await output_of(graph, 1) == {"a": 1, "b": 1}
    assert trio.current_time() - began == pytest.approx(20, abs=0.05)


# ------------------------------------------------------------------------------------------------ foreach


@pytest.mark.rule("C9")
async def test_foreach_runs_a_branch_per_element(journal: str, autojump_clock: MockClock) -> None:
    """One after the other by default; outputs come in the order of the input."""
    seen = []

    @step
    async def double(data, ctx: Context):
        seen.append(data)
        await trio.sleep(10 - data)
        return data * 2

    outcome = await settle(workflow("each").foreach(double).commit(), [3, 1, 2, 1], journal=journal)
    assert (outcome.output, seen) == ([6, 2, 4, 2], [3, 1, 2, 1])
    assert [record.output for record in records(outcome)["double"]] == [6, 2, 4, 2]
    assert len({record.activation_id for record in records(outcome)["double"]}) == 4


@pytest.mark.parametrize("data", [[], [None], [None, [], {}, [[1]], "", False, 0]], ids=repr)
async def test_foreach_takes_any_elements(data: list[object], autojump_clock: MockClock) -> None:
    """Elements are JSON values of any kind, the empty and the nested ones too; no element, no output."""

    @step
    async def same(data, ctx: Context):
        return data

    assert await output_of(workflow("any").foreach(same).commit(), data) == data


@pytest.mark.parametrize("data", [{"a": 1}, "text", 5, None, True, 1.5], ids=repr)
@pytest.mark.rule("C9")
async def test_foreach_over_something_else_than_a_list(data: object, journal: str, autojump_clock: MockClock) -> None:
    """It is an `InputError` of the run, and no branch starts."""
    outcome = await settle(workflow("no-list").foreach(failing("never")).commit(), data, journal=journal)
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["InputError"])


async def test_foreach_over_the_output_of_a_step(autojump_clock: MockClock) -> None:
    """Tuples are lists; what the step before gave is what is fanned out."""
    graph = workflow("after").then(giving("some", (1, 2, 3))).foreach(adding("plus", 10)).commit()
    assert await output_of(graph) == [11, 12, 13]


async def test_two_foreach_in_a_row(autojump_clock: MockClock) -> None:
    """The second one gets the outputs of the first, in order."""
    graph = workflow("twice").foreach(adding("a", 1), concurrency=3).foreach(adding("b", 10)).commit()
    assert await output_of(graph, [1, 2, 3]) == [12, 13, 14]


@pytest.mark.rule("C9")
async def test_a_foreach_in_a_foreach_is_a_nested_graph(autojump_clock: MockClock) -> None:
    """Lists of lists, unequal ones and empty ones among them, keep their shape."""
    inner = workflow("inner").foreach(adding("plus")).commit()
    graph = workflow("outer").foreach(inner, concurrency=None).commit()
    assert await output_of(graph, [[1, 2, 3], [], [4], [5, 6]]) == [[2, 3, 4], [], [5], [6, 7]]


# ------------------------------------------------------------------------------------------------ map


async def test_map_by_function(journal: str, autojump_clock: MockClock) -> None:
    """A plain or an async function shapes the data, and sees the store and the run's input."""

    async def slowly(data, ctx: Context):
        await trio.sleep(5)
        await ctx.run_store.set("mapped", data)
        return [data, ctx.input]

    graph = workflow("shape").then(adding("plus")).map(lambda data, ctx: data * 10).map(slowly).commit()
    outcome = await settle(graph, 1, journal=journal)
    assert (outcome.output, outcome.state) == ([20, 1], {"mapped": 20})
    assert set(statuses(outcome)) == {"plus"}


async def test_map_by_mapping(journal: str, autojump_clock: MockClock) -> None:
    """Each source: the output of a step or a part of it, the run's input or a part of it, a key, a constant."""

    @step
    async def order(data, ctx: Context):
        await ctx.run_store.set("key", {"deep": [1]})
        return {"customer": {"name": "ann", "tags": ["x", "y"]}, "total": 3}

    graph = (
        workflow("sources")
        .then(order)
        .then(saying("between"))
        .map(
            {
                "whole": from_step("order"),
                "part": from_step("order", "customer.name"),
                "between": from_step("between"),
                "input": from_input("a.b"),
                "state": from_state("key"),
                "fixed": constant([1, {"two": 2}]),
                "nothing": constant(None),
            }
        )
        .commit()
    )
    assert await output_of(graph, {"a": {"b": "from the input"}}, journal=journal) == {
        "whole": {"customer": {"name": "ann", "tags": ["x", "y"]}, "total": 3},
        "part": "ann",
        "between": "{'customer': {'name': 'ann', 'tags': ['x', 'y']}, 'total': 3}between",
        "input": "from the input",
        "state": {"deep": [1]},
        "fixed": [1, {"two": 2}],
        "nothing": None,
    }


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("items[1].name", "ink"),
        ("items[0]", {"name": "pen"}),
        ("items.1.name", "ink"),
        ("items[-1].name", "ink"),
        ('["unit price"]', 5),
        ("nothing", None),
    ],
)
async def test_paths_lead_into_lists(path: str, wanted: object, autojump_clock: MockClock) -> None:
    """A path goes through lists by index, and through keys that are no words by quotes."""
    order = {"items": [{"name": "pen"}, {"name": "ink"}], "unit price": 5, "nothing": None}
    graph = (
        workflow("paths")
        .then(giving("order", order))
        .map({"step": from_step("order", path), "input": from_input(path)})
        .commit()
    )
    assert await output_of(graph, order) == {"step": wanted, "input": wanted}


async def test_map_reads_members_of_groups(autojump_clock: MockClock) -> None:
    """`from_step` names a member of a group as any other step, a nested workflow too."""
    inner = workflow("inner").then(adding("plus", 100)).commit()
    graph = (
        workflow("group")
        .parallel([adding("a", 1), inner])
        .then(giving("other", "x"))
        .map({"a": from_step("a"), "inner": from_step("inner")})
        .commit()
    )
    assert await output_of(graph, 1) == {"a": 2, "inner": 101}


async def test_a_map_that_raises_fails_the_run(autojump_clock: MockClock) -> None:
    """Its exception is on record as any step's."""

    def broken(data, ctx: Context):
        raise Boom("cannot shape that")

    outcome = await settle(workflow("broken").map(broken).then(failing("never")).commit())
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["Boom"])
    assert outcome.error is not None
    assert "cannot shape that" in outcome.error.message


@pytest.mark.rule("B2")
@pytest.mark.parametrize("value", [float("nan"), {1: 2}, b"x", object()], ids=["nan", "key", "bytes", "object"])
async def test_what_a_map_gives_must_be_json(value: object, autojump_clock: MockClock) -> None:
    """A value that is no JSON fails the run, and does not travel on."""
    outcome = await settle(workflow("odd").map(lambda data, ctx: value).then(failing("never")).commit())
    assert outcome.status is RunStatus.FAILED
    assert kinds(outcome)[0] in {"NotJsonError", "InputError"}


@pytest.mark.parametrize("source", [from_step("order", "no.such"), from_input("no.such")], ids=["step", "input"])
async def test_a_path_that_leads_nowhere(source: object, autojump_clock: MockClock) -> None:
    """A part that is not there fails the run and is named, instead of being None in silence."""
    graph = workflow("nowhere").then(giving("order", {"a": 1})).map({"x": source}).commit()
    outcome = await settle(graph, {"b": 1})
    assert outcome.status is RunStatus.FAILED
    assert outcome.error is not None
    assert "no" in outcome.error.message


@pytest.mark.rule("B1")
async def test_data_between_steps_is_copied(autojump_clock: MockClock) -> None:
    """What a step does to its input, or to its output later, is not seen by anybody else."""
    kept = []

    @step
    async def gives(data, ctx: Context):
        kept.append({"list": [1]})
        return kept[0]

    @step
    async def spoils(data, ctx: Context):
        data["list"].append("spoiled")
        kept[0]["list"].append("later")

    graph = (
        workflow("copies")
        .then(gives)
        .parallel([spoils, giving("other", None)])
        .then(giving("x", 0))
        .map({"gives": from_step("gives")})
        .commit()
    )
    assert await output_of(graph) == {"gives": {"list": [1]}}


# ------------------------------------------------------------------------------------------------ workflows as steps


class Shout(Workflow):
    """A class-style workflow that stands in graphs."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("said", f"{data}!")
        await ctx.schedule_next_step("again")

    async def again(self, data, ctx: Context):
        await ctx.run_store.update("said", lambda said: f"{said}!")

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.get("said")


@pytest.mark.rule("E2")
async def test_workflows_stand_where_steps_stand(journal: str, autojump_clock: MockClock) -> None:
    """Classes and graphs in a chain, in a group, in a branch, in a foreach: their outputs are what comes out."""
    inner = workflow("inner").then(saying("x")).then(saying("y")).commit()
    graph = (
        workflow("outer")
        .then(inner)
        .then(Shout)
        .parallel([inner, Shout, saying("z")])
        .map(lambda data, ctx: [data["inner"], data["Shout"], data["z"]])
        .foreach(inner, concurrency=2)
        .branch([(lambda data, ctx: True, Shout)], otherwise=inner)
        .map(lambda data, ctx: data["Shout"])
        .commit()
    )
    output = await output_of(graph, "", journal=journal)
    assert output == "['xy!!xyxy', 'xy!!!!xy', 'xy!!zxy']!!"


@pytest.mark.rule("E2", "B12")
async def test_a_nested_workflow_has_state_of_its_own(autojump_clock: MockClock) -> None:
    """What a child does to its store stays in the child, and its output is all that comes back."""
    outcome = await settle(workflow("outer").then(Shout).commit(), "hey")
    assert (outcome.output, outcome.state) == ("hey!!", {})


async def test_a_nested_workflow_is_one_step_of_its_parent(journal: str, autojump_clock: MockClock) -> None:
    """The parent has one record for it under its id; the child is a run of its own below the parent."""
    inner = workflow("inner").then(saying("x")).then(saying("y")).commit()
    graph = workflow("outer").then(saying("a")).then(inner).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, "", run_id="r")
        assert await run.result() == "axy"
        description = await run.describe()
        (child,) = description.children
        assert (child.workflow_id, child.parent_id, child.status) == ("inner", "r", RunStatus.COMPLETED)
        assert child.run_id.startswith("r")
        assert [record.step_id for record in description.steps] == ["a", "inner"]
        nested = await (await runtime.get_run(child.run_id)).describe()
        assert [record.step_id for record in nested.steps] == ["x", "y"]


@pytest.mark.rule("E3", "C6")
@pytest.mark.parametrize("depth", [1, 2, 3])
async def test_a_failing_child_fails_its_step(depth: int, autojump_clock: MockClock) -> None:
    """At any depth the failure comes up as that of the step that ran the child, and the parents end with it."""
    graph = workflow("level0").then(failing("broken")).commit()
    for level in range(1, depth + 1):
        graph = workflow(f"level{level}").then(graph).then(failing(f"never{level}")).commit()
    outcome = await settle(graph)
    assert outcome.status is RunStatus.FAILED
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [(f"level{depth - 1}", "RunFailed")]


async def test_one_nested_graph_many_times(autojump_clock: MockClock) -> None:
    """One graph stands several times in another; each time is a run of its own with its own ids."""
    seen = []

    @step
    async def look(data, ctx: Context):
        seen.append((ctx.run_id, ctx.activation_id))
        return data + 1

    inner = workflow("inner").then(look).commit()
    graph = workflow("outer").then(inner).then(inner).foreach(inner).commit()
    assert (await settle(graph, 0)).status is RunStatus.FAILED  # 2 is no list
    assert len(seen) == len(set(seen)) == 2
    assert len({run_id for run_id, _ in seen}) == 2
    assert len({activation_id for _, activation_id in seen}) == 2


# ------------------------------------------------------------------------------------------------ bail


@pytest.mark.rule("C13")
async def test_bail_in_a_chain(journal: str, autojump_clock: MockClock) -> None:
    """The run completes at once with that output; nothing behind it starts, nothing after the call runs."""
    ran = []

    @step
    async def enough(data, ctx: Context):
        await ctx.bail({"early": data})
        ran.append("after bail")

    graph = workflow("bails").then(enough).then(failing("never")).commit()
    outcome = await settle(graph, 1, journal=journal)
    assert (outcome.status, outcome.output, outcome.failures, ran) == (RunStatus.COMPLETED, {"early": 1}, (), [])
    found = statuses(outcome)
    assert found["enough"] in (["completed"], ["cancelled"])
    assert found.get("never", ["skipped"]) in (["skipped"], ["cancelled"])


@pytest.mark.rule("C13", "C12")
@pytest.mark.parametrize("group", ["parallel", "foreach", "branch"])
async def test_bail_in_a_group(group: str, autojump_clock: MockClock) -> None:
    """Its siblings are cancelled and awaited, those that had not begun never do, and the join never fires."""
    log = []

    @step
    async def sleeper(data, ctx: Context):
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    @step
    async def bails(data, ctx: Context):
        await trio.sleep(1)
        await ctx.bail("bailed")

    @step
    async def each(data, ctx: Context):
        if data == 1:
            await trio.sleep(1)
            await ctx.bail("bailed")
        try:
            await trio.sleep_forever()
        finally:
            log.append("cancelled")

    always = lambda data, ctx: True  # noqa: E731 - a condition is shortest as a lambda
    graph = {
        "parallel": workflow("p").parallel([sleeper, bails]),
        "branch": workflow("b").branch([(always, sleeper), (always, bails)]),
        "foreach": workflow("f").foreach(each, concurrency=2),
    }[group]
    outcome = await settle(graph.then(failing("never")).commit(), [0, 1, 2, 3])
    assert (outcome.status, outcome.output, outcome.failures) == (RunStatus.COMPLETED, "bailed", ())
    assert log == ["cancelled"]


@pytest.mark.rule("C13")
async def test_bail_in_a_child_ends_the_child_only(autojump_clock: MockClock) -> None:
    """The parent goes on with what the child bailed with."""

    @step
    async def enough(data, ctx: Context):
        await ctx.bail("child's")

    inner = workflow("inner").then(enough).then(failing("never")).commit()
    assert await output_of(workflow("outer").then(inner).then(saying("+")).commit(), "") == "child's+"


# ------------------------------------------------------------------------------------------------ what is shown


@pytest.mark.rule("C1")
async def test_internal_parts_are_hidden(journal: str, autojump_clock: MockClock) -> None:
    """Conditions, mappings, timers and joins are no steps: description, outcome and counts have the user's only."""
    always = lambda data, ctx: True  # noqa: E731 - a condition is shortest as a lambda
    graph = (
        workflow("parts")
        .map(lambda data, ctx: data)
        .then(adding("a"))
        .sleep(1)
        .parallel([adding("b"), adding("c")])
        .map({"d": from_step("b")})
        .branch([(always, giving("e", [1]))])
        .map(lambda data, ctx: data["e"])
        .foreach(adding("f"))
        .do_while(giving("g", 0), lambda data, ctx: data > 0)
        .commit()
    )
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, 1)
        outcome = await run.wait()
        assert outcome.status is RunStatus.COMPLETED, outcome.failures
        description = await run.describe()
    assert [record.step_id for record in outcome.steps] == list("abcefg")
    assert [record.step_id for record in description.steps] == list("abcefg")
    assert {status: count for status, count in description.counts.items() if count} == {StepStatus.COMPLETED: 6}


async def test_description_of_a_run_at_work(autojump_clock: MockClock) -> None:
    """Half-way the finished, the live and the waiting elements stand there as what they are."""
    gate, reached = trio.Event(), trio.Event()
    live = gated("live", gate, reached=reached)
    graph = workflow("half").then(adding("done")).parallel([giving("quick", 1), live]).then(giving("z", 2)).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph, 1)
        await reached.wait()
        await trio.sleep(1)
        found = statuses(await run.describe())
        assert (found["done"], found["quick"], found["live"]) == (["completed"], ["completed"], ["running"])
        assert found.get("z", ["pending"]) == ["pending"]
        assert await run.status() is RunStatus.RUNNING
        gate.set()
        assert await run.result() == 2


async def test_events_of_a_graph_end_with_its_end(autojump_clock: MockClock) -> None:
    """The stream is numbered in order, names the steps, and its last event is the run's completion."""
    gate = trio.Event()
    graph = workflow("stream").then(gated("gate", gate)).then(adding("a")).parallel([adding("b"), adding("c")]).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph, 1)
        async with run.events() as stream:
            gate.set()
            found = [event async for event in stream]
    assert found[-1].kind == "run-completed"
    assert [event.seq for event in found] == sorted({event.seq for event in found})
    assert {"gate", "a", "b", "c"} <= {event.step_id for event in found}


def test_mermaid_shows_every_step() -> None:
    """The diagram names each step, condition or not, and the nested workflow."""
    inner = workflow("inner-graph").then(saying("inner-step")).commit()
    graph = (
        workflow("drawn")
        .then(saying("alpha"))
        .parallel([saying("beta"), inner])
        .branch([(lambda data, ctx: True, saying("gamma"))], otherwise=saying("delta"))
        .map(lambda data, ctx: list(data))
        .foreach(saying("epsilon"))
        .do_until(saying("zeta"), lambda data, ctx: True)
        .sleep("1 hr")
        .wait_for_event("approval")
        .map({"x": constant(1)})
        .commit()
    )
    text = graph.to_mermaid()
    assert text.split()[0] in {"flowchart", "graph"}
    names = ["alpha", "beta", "inner-graph", "gamma", "delta", "epsilon", "zeta", "approval"]
    assert [name for name in names if name not in text] == []
    assert "-->" in text


# ------------------------------------------------------------------------------------------------ commit


def findings(builder: object) -> str:
    """What `commit` says about a bad graph."""
    with pytest.raises(DefinitionError) as caught:
        builder.commit()  # type: ignore[attr-defined]  # any builder will do here
    return str(caught.value)


def test_two_members_of_one_group_with_one_id() -> None:
    """A group's output has a place per id: two members of one id are refused, by name, in every kind of group."""
    always = lambda data, ctx: True  # noqa: E731 - a condition is shortest as a lambda
    one, two = saying("same"), adding("same")
    assert "same" in findings(workflow("p").parallel([one, two]))
    assert "same" in findings(workflow("p").parallel([one, one]))
    assert "same" in findings(workflow("b").branch([(always, one), (always, two)]))
    assert "same" in findings(workflow("b").branch([(always, one)], otherwise=two))


def test_every_finding_is_listed_at_once() -> None:
    """A graph with several mistakes is refused once, with all of them."""
    builder = (
        workflow("bad")
        .parallel([saying("first-mistake"), adding("first-mistake")])
        .map({"x": from_step("second-mistake")})
        .sleep("third mistake")
        .parallel([saying("fourth-mistake"), adding("fourth-mistake")])
    )
    text = findings(builder)
    mistakes = ["first-mistake", "second-mistake", "third mistake", "fourth-mistake"]
    assert [mistake for mistake in mistakes if mistake not in text] == []


def test_from_step_of_a_later_step_is_refused() -> None:
    """A mapping can only look back."""
    assert "later" in findings(workflow("future").map({"x": from_step("later")}).then(saying("later")))


def test_naive_datetime_is_refused() -> None:
    """`sleep_until` asks for an aware datetime."""
    naive = datetime(2030, 1, 1)  # noqa: DTZ001 - a naive one is what is tested
    findings(workflow("naive").sleep_until(naive))


@pytest.mark.parametrize("thing", [42, "a name", None, saying], ids=["number", "text", "none", "function"])
def test_what_is_no_step_is_refused(thing: object) -> None:
    """Only steps, workflow classes and committed graphs can be placed."""
    with pytest.raises((DefinitionError, TypeError)):
        workflow("odd").then(thing).commit()


@pytest.mark.parametrize("concurrency", [0, -1])
def test_bad_concurrency_is_refused(concurrency: int) -> None:
    """A foreach that may never start anything is no workflow."""
    with pytest.raises((DefinitionError, ValueError)):
        workflow("stuck").foreach(saying("a"), concurrency=concurrency).commit()


def test_a_join_that_no_group_can_meet_is_refused_or_fails() -> None:
    """Of two members there are never three successes: `commit` knows that."""
    assert "3" in findings(workflow("three").parallel([saying("a"), saying("b")], join=first(3)))


def test_two_steps_of_one_id_in_one_graph() -> None:
    """One id is one step: two different ones of it in a chain are refused, by name."""
    assert "same" in findings(workflow("w").then(saying("same")).then(adding("same")))
    assert "same" in findings(workflow("w").then(saying("same")).parallel([adding("same"), saying("other")]))


def test_data_that_can_never_fit_is_found_early() -> None:
    """A group gives a mapping: a foreach or a step that wants another kind of data behind it is refused."""

    @step
    async def wants_text(data: str, ctx: Context):
        """Never runs."""

    @step
    async def gives_number(data, ctx: Context) -> int:
        return 1

    findings(workflow("w").parallel([saying("a"), saying("b")]).foreach(saying("c")))
    assert "wants_text" in findings(workflow("w").then(gives_number).then(wants_text))


def test_ids_of_internal_parts_are_not_for_users() -> None:
    """A step id that begins with an underscore is refused, where it is made or where the graph is."""
    with pytest.raises((DefinitionError, ValueError)):
        workflow("private").then(saying("_map1")).commit()


def test_two_graphs_of_one_id_are_told_apart() -> None:
    """A runtime refuses two different workflows of one id."""

    async def opens() -> None:
        one = workflow("same").then(saying("a")).commit()
        two = workflow("same").then(saying("b")).commit()
        async with open_runtime([one, two]):
            pass

    with pytest.raises(DefinitionError):
        trio.run(opens)


def test_two_nested_graphs_of_one_id_are_told_apart() -> None:
    """The same holds for workflows that a graph brings along."""

    async def opens() -> None:
        one = workflow("same").then(saying("a")).commit()
        two = workflow("same").then(saying("b")).commit()
        outer = workflow("outer").then(one).then(two).commit()
        async with open_runtime([outer]):
            pass

    with pytest.raises(DefinitionError):
        trio.run(opens)

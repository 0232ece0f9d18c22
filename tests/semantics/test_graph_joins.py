"""Groups in graphs: what a failure in one means, when it is done, how many of it run at once (semantics C6, C8 to C10).

What lives here: `parallel`, `foreach` and nested groups under every join policy, limit and size. What does not: the
plain meaning of the verbs (`test_graph_verbs.py`).
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    ALL,
    DRAIN,
    Context,
    Failure,
    Limits,
    NonRetryable,
    Rate,
    Retry,
    RunOutcome,
    RunStatus,
    first,
    step,
    tolerate,
    workflow,
)
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, Fault, FaultyJournal, SimulatedCrash
from tests.semantics.graph_flows import (
    LONG,
    Boom,
    Meter,
    adding,
    cut_off,
    failing,
    giving,
    kind,
    kinds,
    opened,
    output_of,
    records,
    saying,
    settle,
    statuses,
    taken_up,
    taking,
)

FIELDS = {"step_id", "activation_id", "attempts", "error_type", "message"}
POINTS_MAX = 500
"""Far more writes than any graph here asks for."""


def failing_some(bad: set[int], *, retry: Retry | None = None, ran: list[int] | None = None):
    """A step "work" over numbers that fails for some of them and gives ten times the others."""

    @step(id="work", retry=retry or Retry(attempts=1))
    async def work(data, ctx: Context):
        if ran is not None:
            ran.append(data)
        if data in bad:
            raise Boom(f"element {data}")
        return data * 10

    return work


# ------------------------------------------------------------------------------------------------ ALL


@pytest.mark.rule("C6", "C12", "C9")
@pytest.mark.parametrize("explicit", [False, True])
async def test_the_first_failure_of_a_group_cancels_and_awaits_the_rest(
    explicit: bool, journal: str, autojump_clock: MockClock
) -> None:
    """By default a failing member ends its siblings; the run fails with its failure when the last has really ended."""
    log = []

    @step
    async def sleeper(data, ctx: Context):
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(5)
            log.append("sleeper ended")

    @step
    async def broken(data, ctx: Context):
        await trio.sleep(1)
        raise Boom("first")

    async def on_error(error, ctx: Context):
        log.append(f"error of {error.step_id}")

    options = {"join": ALL} if explicit else {}
    graph = (
        workflow("all")
        .parallel([sleeper, broken, giving("quick", 1)], **options)
        .then(failing("never"))
        .on_error(on_error)
        .commit()
    )
    outcome = await settle(graph, journal=journal)
    assert log == ["sleeper ended", "error of broken"]
    assert (outcome.status, outcome.output) == (RunStatus.FAILED, None)
    assert [(failure.step_id, kind(failure)) for failure in outcome.failures] == [("broken", "Boom")]
    found = statuses(outcome)
    assert (found["sleeper"], found["broken"], found["quick"]) == (["cancelled"], ["failed"], ["completed"])
    assert found.get("never", ["skipped"]) in (["skipped"], ["cancelled"])


@pytest.mark.rule("C6", "C12")
@pytest.mark.parametrize("concurrency", [1, 2, 5, None])
async def test_a_failing_element_ends_the_foreach(
    concurrency: int | None, journal: str, autojump_clock: MockClock
) -> None:
    """No element starts after the failure, none runs twice, and nothing of the foreach runs after the run's end."""
    ran: list[int] = []
    late = []

    @step
    async def work(data, ctx: Context):
        ran.append(data)
        await trio.sleep(data + 1)
        if data == 3:
            raise Boom("element 3")
        late.append(data)

    graph = workflow("each").foreach(work, concurrency=concurrency).commit()
    outcome = await settle(graph, list(range(10)), journal=journal)
    after = len(late)
    await trio.sleep(100)
    assert (outcome.status, kinds(outcome), len(late)) == (RunStatus.FAILED, ["Boom"], after)
    assert len(ran) == len(set(ran))
    assert late == [0, 1, 2]
    if concurrency == 1:
        assert ran == [0, 1, 2, 3]
    counts = Counter(status for found in statuses(outcome).values() for status in found)
    assert (counts["completed"], counts["failed"]) == (3, 1)
    assert set(counts) <= {"completed", "failed", "cancelled", "skipped"}


@pytest.mark.rule("C6")
async def test_two_failures_at_one_instant(autojump_clock: MockClock) -> None:
    """Two members that fail at the same instant give one call of the error hook and two recorded failures."""
    hooks = []
    gate = trio.Event()

    def simultaneous(name: str):
        @step(id=name)
        async def fail(data, ctx: Context):
            await gate.wait()
            raise Boom(name)

        return fail

    @step
    async def opens(data, ctx: Context):
        await trio.sleep(1)
        gate.set()

    async def on_error(error, ctx: Context):
        hooks.append(error.step_id)

    graph = workflow("instant").parallel([simultaneous("a"), simultaneous("b"), opens]).on_error(on_error).commit()
    outcome = await settle(graph)
    assert outcome.status is RunStatus.FAILED
    assert sorted(failure.step_id for failure in outcome.failures) == ["a", "b"]
    assert len(hooks) == 1


@pytest.mark.rule("C7", "C6")
async def test_an_error_under_cancellation_is_not_lost(autojump_clock: MockClock) -> None:
    """The failure on record is the first one; a sibling that raises while it is cancelled changes nothing of that."""

    @step
    async def sore(data, ctx: Context):
        try:
            await trio.sleep_forever()
        finally:
            raise LookupError("while cleaning up")

    @step
    async def broken(data, ctx: Context):
        await trio.sleep(1)
        raise Boom("the cause")

    outcome = await settle(workflow("sore").parallel([sore, broken]).commit())
    assert outcome.error is not None
    assert (outcome.status, outcome.error.step_id, kind(outcome.error)) == (RunStatus.FAILED, "broken", "Boom")


# ------------------------------------------------------------------------------------------------ DRAIN


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize("concurrency", [1, 3, None])
@pytest.mark.parametrize("bad", [{0}, {9}, {0, 4, 9}, set(range(10))], ids=str)
async def test_drain_lets_all_elements_finish_then_fails(
    bad: set[int], concurrency: int | None, autojump_clock: MockClock
) -> None:
    """Every element runs once, and then the group fails with every failure listed."""
    ran: list[int] = []
    graph = (
        workflow("drain")
        .foreach(failing_some(bad, ran=ran), concurrency=concurrency, join=DRAIN)
        .then(failing("never"))
        .commit()
    )
    outcome = await settle(graph, list(range(10)))
    assert (outcome.status, sorted(ran)) == (RunStatus.FAILED, list(range(10)))
    assert sorted(failure.message[-1] for failure in outcome.failures) == sorted(str(number) for number in bad)
    assert kinds(outcome) == ["Boom"] * len(bad)
    assert statuses(outcome)["work"] == ["completed"] * (10 - len(bad)) + ["failed"] * len(bad)


@pytest.mark.rule("C6", "C11")
async def test_the_error_hook_of_a_drained_group_comes_last(autojump_clock: MockClock) -> None:
    """The hook waits for the slowest member, and is called once for several failures."""
    log = []

    @step
    async def slow(data, ctx: Context):
        await trio.sleep(3600)
        log.append("slow")

    async def on_error(error, ctx: Context):
        log.append("hook")

    graph = workflow("drained").parallel([failing("a"), slow, failing("b")], join=DRAIN).on_error(on_error).commit()
    outcome = await settle(graph)
    assert (log, len(outcome.failures)) == (["slow", "hook"], 2)


@pytest.mark.rule("C6")
async def test_drain_without_a_failure_is_all(autojump_clock: MockClock) -> None:
    """When nothing fails, the policy makes no difference."""
    for join in (ALL, DRAIN, tolerate(count=0), first(3)):
        graph = workflow("fine").foreach(failing_some(set()), join=join).commit()
        assert await output_of(graph, [1, 2, 3]) == [10, 20, 30]


# ------------------------------------------------------------------------------------------------ tolerate


@pytest.mark.rule("C6")
@pytest.mark.parametrize(
    ("bound", "elements", "bad", "completes"),
    [
        ({"count": 0}, 3, 1, False),
        ({"count": 1}, 5, 1, True),
        ({"count": 1}, 5, 2, False),
        ({"count": 5}, 5, 5, True),
        ({"fraction": 0.25}, 4, 1, True),
        ({"fraction": 0.25}, 4, 2, False),
        ({"fraction": 1 / 3}, 3, 1, True),
        ({"fraction": 0.33}, 3, 1, False),
        ({"fraction": 0.001}, 1000, 1, True),
        ({"fraction": 0.001}, 1000, 2, False),
        ({"fraction": 1.0}, 3, 3, True),
        ({"fraction": 0.0}, 3, 1, False),
    ],
    ids=str,
)
async def test_failures_within_the_bound_come_out_as_records(
    bound: dict[str, float], elements: int, bad: int, completes: bool, autojump_clock: MockClock
) -> None:
    """Within the bound every element has its place in the output, failed ones as records; one more fails the group."""
    hooks = []

    async def on_complete(ctx: Context):
        hooks.append("complete")

    async def on_error(error, ctx: Context):
        hooks.append("error")

    graph = (
        workflow("tolerant")
        .foreach(failing_some(set(range(bad))), concurrency=None, join=tolerate(**bound))
        .on_complete(on_complete)
        .on_error(on_error)
        .commit()
    )
    outcome = await settle(graph, list(range(elements)))
    if completes:
        assert (outcome.status, outcome.error, hooks) == (RunStatus.COMPLETED, None, ["complete"])
        assert outcome.output[bad:] == [number * 10 for number in range(bad, elements)]
        assert [set(record) for record in outcome.output[:bad]] == [FIELDS] * bad
        assert [kind(record["error_type"]) for record in outcome.output[:bad]] == ["Boom"] * bad
        assert [f"element {n}" in record["message"] for n, record in enumerate(outcome.output[:bad])] == [True] * bad
        assert len(outcome.failures) == bad
    else:
        assert (outcome.status, hooks) == (RunStatus.FAILED, ["error"])
        assert set(kinds(outcome)) == {"Boom"}


@pytest.mark.rule("C6")
async def test_a_tolerated_failure_says_whose_it_is(journal: str, autojump_clock: MockClock) -> None:
    """The record in the data has the step, its activation, its attempts and its error; `failures` has the same."""
    work = failing_some({1}, retry=Retry(attempts=3, delay=1.0))
    graph = workflow("told").foreach(work, join=tolerate(count=1)).commit()
    outcome = await settle(graph, [0, 1, 2], journal=journal)
    record = outcome.output[1]
    (failed,) = [found for found in outcome.steps if found.status.value == "failed"]
    assert (record["step_id"], record["activation_id"], record["attempts"]) == ("work", failed.activation_id, 3)
    (failure,) = outcome.failures
    assert (failure.step_id, failure.activation_id, failure.attempts) == ("work", failed.activation_id, 3)
    assert outcome.output[::2] == [0, 20]


@pytest.mark.rule("C6")
async def test_tolerated_members_of_parallel(journal: str, autojump_clock: MockClock) -> None:
    """In a mapping a failed member stands under its id as its record, and the chain goes on."""
    graph = (
        workflow("members")
        .parallel([giving("a", 1), failing("b"), failing("c")], join=tolerate(count=2))
        .map(lambda data, ctx: {name: value if name == "a" else value["step_id"] for name, value in data.items()})
        .commit()
    )
    outcome = await settle(graph, journal=journal)
    assert outcome.output == {"a": 1, "b": "b", "c": "c"}
    assert sorted(failure.step_id for failure in outcome.failures) == ["b", "c"]


@pytest.mark.rule("C6")
async def test_tolerated_failures_arrive_typed(autojump_clock: MockClock) -> None:
    """A step that asks for numbers or failures gets `Failure` instances."""
    seen = []

    @step
    async def sums(data: list[int | Failure], ctx: Context) -> int:
        seen.extend(data)
        return sum(entry for entry in data if isinstance(entry, int))

    graph = workflow("typed").foreach(failing_some({2}), join=tolerate(count=1)).then(sums).commit()
    assert await output_of(graph, [1, 2, 3]) == 40
    assert isinstance(seen[1], Failure)
    assert (seen[1].step_id, kind(seen[1]), seen[1].attempts) == ("work", "Boom", 1)


@pytest.mark.rule("C6", "E3")
async def test_tolerated_children(autojump_clock: MockClock) -> None:
    """A child that fails within the bound is a record like any other, and says which run failed."""
    inner = workflow("inner").then(failing_some({1})).commit()
    graph = workflow("outer").foreach(inner, concurrency=None, join=tolerate(fraction=0.5)).commit()
    output = await output_of(graph, [0, 1, 2])
    assert (output[0], output[2]) == (0, 20)
    assert (output[1]["step_id"], kind(output[1]["error_type"])) == ("inner", "RunFailed")


@pytest.mark.rule("C6")
async def test_a_bound_is_per_group(autojump_clock: MockClock) -> None:
    """Failures tolerated in one group do not count in the next."""
    work = failing_some({1})
    graph = (
        workflow("groups")
        .foreach(work, join=tolerate(count=1))
        .map(lambda data, ctx: [0, 1])
        .foreach(work, join=tolerate(count=1))
        .commit()
    )
    outcome = await settle(graph, [1, 2])
    assert (outcome.status, len(outcome.failures)) == (RunStatus.COMPLETED, 2)


@pytest.mark.rule("C6")
async def test_no_element_no_failure(autojump_clock: MockClock) -> None:
    """An empty list is within every bound."""
    for join in (ALL, DRAIN, tolerate(count=0), tolerate(fraction=0.0)):
        assert await output_of(workflow("empty").foreach(failing("f"), join=join).commit(), []) == []


# ------------------------------------------------------------------------------------------------ first(k)


@pytest.mark.rule("C6", "C9", "C12")
@pytest.mark.parametrize("k", [1, 2, 3, 4])
async def test_first_successes_of_parallel(k: int, journal: str, autojump_clock: MockClock) -> None:
    """Done at the k-th success: the rest is cancelled, awaited and absent, whatever its place."""
    ended = []

    def taking_note(name: str, seconds: float):
        @step(id=name)
        async def take(data, ctx: Context):
            try:
                await trio.sleep(seconds)
            finally:
                ended.append(name)
            return name.upper()

        return take

    @step
    async def after(data, ctx: Context):
        ended.append("after")
        return data

    members = [taking_note("d", 40), taking_note("b", 20), taking_note("a", 10), taking_note("c", 30)]
    began = trio.current_time()
    outcome = await settle(workflow("race").parallel(members, join=first(k)).then(after).commit(), journal=journal)
    assert outcome.output == {name: name.upper() for name in "abcd"[:k]}
    assert trio.current_time() - began == pytest.approx(10 * k, abs=0.1)
    assert sorted(ended[:4]) == list("abcd")
    assert ended[4:] == ["after"]
    found = statuses(outcome)
    assert [found[name] for name in "abcd"] == [["completed"]] * k + [["cancelled"]] * (4 - k)
    assert outcome.failures == ()


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize(("concurrency", "k"), [(1, 2), (2, 3), (None, 2), (None, 5)])
async def test_first_successes_of_foreach(concurrency: int | None, k: int, autojump_clock: MockClock) -> None:
    """The k outputs come in input order; elements that were never needed do not run."""
    ran = []

    @step
    async def work(data, ctx: Context):
        ran.append(data)
        await trio.sleep(data)
        return data

    graph = workflow("race").foreach(work, concurrency=concurrency, join=first(k)).commit()
    outcome = await settle(graph, [5, 3, 1, 4, 2])
    # With two at a time 5 and 3 begin at 0, 1 at 3 and 4 at 4; then 5 ends, and is the third.
    wanted = {(1, 2): [5, 3], (2, 3): [5, 3, 1], (None, 2): [1, 2], (None, 5): [5, 3, 1, 4, 2]}
    assert outcome.output == wanted[concurrency, k]
    if concurrency == 1:
        assert ran == [5, 3]
    assert statuses(outcome)["work"].count("completed") == k


@pytest.mark.rule("C6")
async def test_first_outlives_failures_as_long_as_it_can_be_met(autojump_clock: MockClock) -> None:
    """Failures before the k-th success do not fail the group, and are absent from the output."""
    graph = (
        workflow("enough")
        .parallel([failing("a"), taking("b", 5, "B"), failing("c"), taking("d", 3, "D")], join=first(2))
        .commit()
    )
    outcome = await settle(graph)
    assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, {"b": "B", "d": "D"})


@pytest.mark.rule("C6", "C12")
async def test_first_that_can_no_longer_be_met_fails_at_once(journal: str, autojump_clock: MockClock) -> None:
    """When too few members are left, the group fails there and then, with `JoinUnmet`; the rest is cancelled."""
    ended = []

    @step
    async def slow(data, ctx: Context):
        try:
            await trio.sleep(3600)
        finally:
            ended.append("slow")

    began = trio.current_time()
    graph = (
        workflow("unmet").parallel([slow, failing("b"), failing("c")], join=first(2)).then(failing("never")).commit()
    )
    outcome = await settle(graph, journal=journal)
    assert trio.current_time() - began < 1
    assert outcome.status is RunStatus.FAILED
    (unmet,) = [failure for failure in outcome.failures if kind(failure) == "JoinUnmet"]
    assert "2" in unmet.message
    assert ended == ["slow"]


@pytest.mark.rule("C6", "C9")
@pytest.mark.parametrize(("elements", "bad"), [(2, 0), (4, 2), (3, 3)])
async def test_first_of_too_few_elements(elements: int, bad: int, autojump_clock: MockClock) -> None:
    """A list that is too short, or in which too many fail, is a `JoinUnmet`; it does not hang."""
    graph = workflow("few").foreach(failing_some(set(range(bad))), concurrency=None, join=first(3)).commit()
    outcome = await settle(graph, list(range(elements)))
    assert outcome.status is RunStatus.FAILED
    assert "JoinUnmet" in kinds(outcome)


# ------------------------------------------------------------------------------------------------ sizes and orders


@pytest.mark.rule("C9", "C8")
@pytest.mark.parametrize("count", [0, 1, 2, 1000, pytest.param(10_000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("order", ["forwards", "backwards", "random", "together"])
async def test_a_join_sees_every_branch_once(count: int, order: str, autojump_clock: MockClock) -> None:
    """Whatever the number and the order of finishing: each branch runs once, the join fires once, nothing is blank."""
    joined = []
    chance = random.Random(count)
    delays = {
        "forwards": list(range(count)),
        "backwards": list(range(count, 0, -1)),
        "random": [chance.randrange(count) for _ in range(count)],
        "together": [1] * count,
    }[order]

    @step
    async def work(data, ctx: Context):
        await trio.sleep(data[1])
        await ctx.run_store.increment("n")
        return data[0]

    @step
    async def join(data, ctx: Context):
        joined.append(len(data))
        return [len(data), data == list(range(count)), await ctx.run_store.get("n", 0)]

    graph = workflow("sizes", max_live_steps=20_000).foreach(work, concurrency=None).then(join).commit()
    assert await output_of(graph, [[number, delay] for number, delay in enumerate(delays)]) == [count, True, count]
    assert joined == [count]


@pytest.mark.rule("C9")
async def test_branches_of_unequal_length(journal: str, autojump_clock: MockClock) -> None:
    """A branch of one step and branches of three and five: the join fires once, after the longest."""
    joined = []
    three = workflow("three").then(saying("1")).then(taking("2", 10)).then(saying("3")).commit()
    five = workflow("five")
    for number in range(5):
        five = five.then(saying(str(number)))
    graph = (
        workflow("unequal")
        .parallel([saying("one"), three, five.commit()])
        .map(lambda data, ctx: joined.append(1) or data)
        .commit()
    )
    assert await output_of(graph, ">", journal=journal) == {"one": ">one", "three": ">13", "five": ">01234"}
    assert joined == [1]


@pytest.mark.rule("C9")
async def test_a_join_fed_by_joins(autojump_clock: MockClock) -> None:
    """An inner join and what follows it are done before the outer one fires, beside a plain and a fanned-out branch."""
    log = []

    @step
    async def after_inner(data, ctx: Context):
        await trio.sleep(50)
        log.append("after inner")
        return sorted(data.values())

    @step
    async def after_outer(data, ctx: Context):
        log.append("after outer")
        return data

    inner = workflow("inner").parallel([taking("x", 5, 1), taking("y", 9, 2)]).then(after_inner).commit()
    fanned = workflow("fanned").map(lambda data, ctx: [3, 1, 2]).foreach(adding("p"), concurrency=2).commit()
    graph = workflow("outer").parallel([inner, fanned, saying("plain")]).then(after_outer).commit()
    assert await output_of(graph, "") == {"inner": [1, 2], "fanned": [4, 2, 3], "plain": "plain"}
    assert log == ["after inner", "after outer"]


def random_tree(chance: random.Random, depth: int, path: str, leaves: list[str], ran: list[str]):
    """A graph of nested forks and joins whose output is the list of all its leaves."""

    def leaf(name: str, seconds: int):
        leaves.append(name)

        @step(id=name)
        async def run(data, ctx: Context):
            await trio.sleep(seconds)
            ran.append(name)
            return [name]

        return run

    def flat(data, ctx: Context) -> list[object]:
        parts = data.values() if isinstance(data, dict) else data
        return [name for part in parts for name in part]

    members = []
    for number in range(chance.randint(1, 4)):
        name = f"{path}-{number}"
        if depth and chance.random() < 0.6:
            members.append(random_tree(chance, depth - 1, name, leaves, ran))
        else:
            members.append(leaf(name, chance.randrange(20)))
    builder = workflow(path)
    if chance.random() < 0.3:
        builder = builder.sleep(chance.randrange(5))
    shape = chance.choice(["parallel", "branch", "chain"])
    if shape == "chain":
        middle = len(members) // 2 + 1
        builder = (
            builder.parallel(members[:middle]).map(flat).parallel([taking(f"{path}-passed", 1), *members[middle:]])
        )
    elif shape == "branch":
        builder = builder.branch([(lambda data, ctx: True, member) for member in members])
    else:
        builder = builder.parallel(members)
    return builder.map(flat).commit()


@pytest.mark.rule("C9")
@pytest.mark.parametrize("seed", range(20))
async def test_random_trees_of_forks_and_joins(seed: int, autojump_clock: MockClock) -> None:
    """The outermost join sees every leaf exactly once, and every leaf ran exactly once."""
    leaves: list[str] = []
    ran: list[str] = []
    graph = random_tree(random.Random(seed), 3, "t", leaves, ran)
    assert sorted(await output_of(graph)) == sorted(ran) == sorted(leaves)


@pytest.mark.rule("C9")
async def test_skipped_branches_do_not_hold_up_a_join(autojump_clock: MockClock) -> None:
    """Branches in which nothing runs (no condition, empty list) count as done for the join around them."""
    nothing = workflow("nothing").branch([(lambda data, ctx: False, saying("x"))]).commit()
    empty = workflow("empty").map(lambda data, ctx: []).foreach(saying("y")).commit()
    graph = workflow("outer").parallel([nothing, empty, saying("z")]).then(saying("!")).commit()
    assert await output_of(graph, "") == str({"nothing": {}, "empty": [], "z": "z"}) + "!"


@pytest.mark.rule("C9", "C6")
async def test_a_join_sees_all_four_ends(autojump_clock: MockClock) -> None:
    """Done, failed, cancelled and skipped are on record as such, and none of them is taken for another."""
    inner = workflow("inner").branch(
        [(lambda data, ctx: False, saying("skip")), (lambda data, ctx: True, saying("do"))]
    )
    graph = (
        workflow("ends")
        .parallel([taking("slow", 100), failing("bad"), inner.commit(), giving("good", 1)], join=first(2))
        .commit()
    )
    async with opened([graph]) as runtime:
        run = await runtime.start(graph, "")
        outcome = await run.wait()
        (child,) = (await run.describe()).children
        nested = statuses(await (await runtime.get_run(child.run_id)).describe())
    assert outcome.output == {"inner": {"do": "do"}, "good": 1}
    assert statuses(outcome) == {
        "slow": ["cancelled"],
        "bad": ["failed"],
        "inner": ["completed"],
        "good": ["completed"],
    }
    assert nested == {"skip": ["skipped"], "do": ["completed"]}


# ------------------------------------------------------------------------------------------------ pipelines


@pytest.mark.rule("C10")
async def test_a_slow_sibling_does_not_hold_up_a_fast_branch(journal: str, autojump_clock: MockClock) -> None:
    """In a foreach over a nested graph the fast element begins its second step while the slow one is at its first."""
    at: dict[object, float] = {}
    began = trio.current_time()

    @step
    async def one(data, ctx: Context):
        await trio.sleep(data)
        return data

    @step
    async def two(data, ctx: Context):
        at[data] = trio.current_time() - began
        return data

    pipe = workflow("pipe").then(one).then(two).commit()
    graph = workflow("pipes").foreach(pipe, concurrency=None).commit()
    assert await output_of(graph, [120, 10, 60], journal=journal) == [120, 10, 60]
    assert at == pytest.approx({10: 10, 60: 60, 120: 120}, abs=0.1)


@pytest.mark.rule("C10")
async def test_two_foreach_in_a_row_are_a_barrier(autojump_clock: MockClock) -> None:
    """The second group begins when the slowest element of the first has ended."""
    at = []
    began = trio.current_time()

    @step
    async def two(data, ctx: Context):
        at.append(trio.current_time() - began)

    @step
    async def one(data, ctx: Context):
        await trio.sleep(data)

    graph = workflow("barrier").foreach(one, concurrency=None).foreach(two, concurrency=None).commit()
    await output_of(graph, [120, 10, 60])
    assert at == pytest.approx([120] * 3, abs=0.1)


@pytest.mark.rule("C10")
async def test_branches_of_parallel_are_pipelines(autojump_clock: MockClock) -> None:
    """Chains beside each other do not wait for one another before the join."""
    log = []

    def logging(name: str, seconds: float):
        @step(id=name)
        async def run(data, ctx: Context):
            await trio.sleep(seconds)
            log.append(name)

        return run

    slow = workflow("slow").then(logging("s1", 100)).then(logging("s2", 100)).commit()
    fast = workflow("fast").then(logging("f1", 10)).then(logging("f2", 10)).then(logging("f3", 10)).commit()
    await output_of(workflow("both").parallel([slow, fast]).commit())
    assert log == ["f1", "f2", "f3", "s1", "s2"]


# ------------------------------------------------------------------------------------------------ how many at once


@pytest.mark.rule("C8", "C9")
@pytest.mark.parametrize("concurrency", [1, 2, 3, 5, 6, 7, 100])
async def test_concurrency_of_a_foreach(concurrency: int, journal: str, autojump_clock: MockClock) -> None:
    """For every limit: started equals finished equals the number of elements, and the limit is used but not passed."""
    meter = Meter()

    @step
    async def work(data, ctx: Context):
        async with meter.inside(data):
            await trio.sleep(7 - data)
            return data * data

    graph = workflow("limit").foreach(work, concurrency=concurrency).commit()
    assert await output_of(graph, list(range(6)), journal=journal) == [0, 1, 4, 9, 16, 25]
    assert (meter.started, meter.finished, meter.peak, meter.live) == (6, 6, min(concurrency, 6), 0)


@pytest.mark.rule("C8")
async def test_a_free_place_is_taken_at_once(autojump_clock: MockClock) -> None:
    """A foreach is no row of batches: when one element ends the next begins, though its neighbour is slow."""
    at = {}
    began = trio.current_time()

    @step
    async def work(data, ctx: Context):
        at[data] = trio.current_time() - began
        await trio.sleep(data)

    await output_of(workflow("window").foreach(work, concurrency=2).commit(), [100, 10, 20, 30, 5])
    assert at == pytest.approx({100: 0, 10: 0, 20: 10, 30: 30, 5: 60}, abs=0.1)


@pytest.mark.rule("C8")
async def test_no_limit_means_all_at_once(autojump_clock: MockClock) -> None:
    """With `concurrency=None` all elements run together."""
    meter = Meter()

    @step
    async def work(data, ctx: Context):
        async with meter.inside():
            await trio.sleep(1)

    began = trio.current_time()
    await output_of(workflow("free").foreach(work, concurrency=None).commit(), list(range(500)))
    assert (meter.peak, meter.finished) == (500, 500)
    assert trio.current_time() - began == pytest.approx(1, abs=0.1)


@pytest.mark.rule("C8")
@pytest.mark.parametrize("limit", [1, 2, 7])
async def test_max_live_steps_bounds_what_is_in_memory(limit: int, autojump_clock: MockClock) -> None:
    """The class attribute, given as a keyword, bounds every group; nothing is dropped."""
    meter = Meter()

    @step
    async def work(data, ctx: Context):
        async with meter.inside():
            await trio.sleep(1)
            return data

    graph = workflow("bounded", max_live_steps=limit).foreach(work, concurrency=None).commit()
    assert await output_of(graph, list(range(50))) == list(range(50))
    assert (meter.peak, meter.started, meter.finished) == (limit, 50, 50)


@pytest.mark.rule("C8")
async def test_max_live_steps_bounds_parallel(autojump_clock: MockClock) -> None:
    """The same holds for the members of `parallel`."""
    meter = Meter()

    def member(number: int):
        @step(id=f"m{number}")
        async def work(data, ctx: Context):
            async with meter.inside():
                await trio.sleep(1)

        return work

    graph = workflow("bounded", max_live_steps=3).parallel([member(n) for n in range(10)]).commit()
    await output_of(graph)
    assert (meter.peak, meter.finished) == (3, 10)


@pytest.mark.rule("C8")
async def test_children_do_not_count_as_live_steps_of_their_parent(autojump_clock: MockClock) -> None:
    """A step parked in a child run holds no place: more children than `max_live_steps` run at once, none is stuck."""
    meter = Meter()

    @step
    async def work(data, ctx: Context):
        async with meter.inside():
            await trio.sleep(1)
            return data

    inner = workflow("inner").then(work).commit()
    graph = workflow("outer", max_live_steps=2).foreach(inner, concurrency=None).commit()
    assert await output_of(graph, list(range(20))) == list(range(20))
    assert (meter.started, meter.finished) == (20, 20)
    assert meter.peak > 2


@pytest.mark.rule("C8")
async def test_concurrency_of_a_foreach_over_children(autojump_clock: MockClock) -> None:
    """The limit of the foreach holds for whole children, not for their steps."""
    meter = Meter()

    @step
    async def begin(data, ctx: Context):
        meter.live += 1
        meter.peak = max(meter.peak, meter.live)
        return data

    @step
    async def end(data, ctx: Context):
        await trio.sleep(1)
        meter.live -= 1
        meter.finished += 1
        return data

    inner = workflow("inner").then(begin).sleep(5).then(end).commit()
    graph = workflow("outer").foreach(inner, concurrency=3).commit()
    assert await output_of(graph, list(range(10))) == list(range(10))
    assert (meter.peak, meter.finished, meter.live) == (3, 10, 0)


@pytest.mark.rule("C5")
async def test_concurrency_of_the_step_itself(autojump_clock: MockClock) -> None:
    """A step's own limit holds in a group without one."""
    meter = Meter()

    @step(concurrency=2)
    async def work(data, ctx: Context):
        async with meter.inside():
            await trio.sleep(1)
            return data

    assert await output_of(workflow("own").foreach(work, concurrency=None).commit(), list(range(9))) == list(range(9))
    assert (meter.peak, meter.finished) == (2, 9)


@pytest.mark.rule("C5")
async def test_rate_of_the_step_itself(autojump_clock: MockClock) -> None:
    """A step's rate holds in a group: of ten elements two start per second."""
    at = []

    @step(rate=Rate(2, per=1.0))
    async def work(data, ctx: Context):
        at.append(trio.current_time())
        return data

    began = trio.current_time()
    assert await output_of(workflow("rate").foreach(work, concurrency=None).commit(), list(range(10))) == list(
        range(10)
    )
    assert trio.current_time() - began >= 3.9
    assert all(later - sooner >= 0.99 for sooner, later in zip(at, at[2:], strict=False))


# ------------------------------------------------------------------------------------------------ retries, timeouts


@pytest.mark.rule("C5", "C3", "C9")
@pytest.mark.parametrize("concurrency", [1, 3, None])
async def test_retries_in_a_group(concurrency: int | None, journal: str, autojump_clock: MockClock) -> None:
    """Elements that need several attempts keep their place, count once, and do not hold up the join for ever."""

    @step(retry=Retry(attempts=4, delay=1.0, jitter=0.5))
    async def work(data, ctx: Context):
        await ctx.run_store.increment("n")
        await ctx.run_store.push("seen", data)
        if ctx.attempt <= data % 4:
            raise Boom("again")
        return [data, ctx.attempt]

    graph = workflow("retries").foreach(work, concurrency=concurrency).commit()
    outcome = await settle(graph, list(range(12)), journal=journal)
    assert outcome.output == [[number, number % 4 + 1] for number in range(12)]
    assert (outcome.state["n"], sorted(outcome.state["seen"])) == (12, list(range(12)))
    assert [record.attempts for record in records(outcome)["work"]] == [number % 4 + 1 for number in range(12)]


@pytest.mark.rule("C5", "C6")
async def test_a_timeout_in_a_group(autojump_clock: MockClock) -> None:
    """An element past its timeout failed with `StepTimeout`; within the bound the others come out."""

    @step(timeout=10)
    async def work(data, ctx: Context):
        await trio.sleep(data)
        return data

    graph = workflow("timeouts").foreach(work, concurrency=None, join=tolerate(count=1)).commit()
    began = trio.current_time()
    output = await output_of(graph, [1, 1000, 2])
    assert (output[0], kind(output[1]["error_type"]), output[2]) == (1, "StepTimeout", 2)
    assert trio.current_time() - began == pytest.approx(10, abs=0.1)


@pytest.mark.rule("C5", "C6")
async def test_one_non_retryable_element_ends_the_group(autojump_clock: MockClock) -> None:
    """It is tried once, although its step has attempts left."""
    passes = []

    @step(retry=Retry(attempts=5, delay=1.0))
    async def work(data, ctx: Context):
        passes.append(data)
        if data == 1:
            raise NonRetryable("hopeless")
        await trio.sleep_forever()

    outcome = await settle(workflow("hopeless").foreach(work, concurrency=None).commit(), [0, 1, 2])
    assert (outcome.status, sorted(passes)) == (RunStatus.FAILED, [0, 1, 2])


@pytest.mark.rule("C5", "C6")
async def test_a_retry_that_is_due_dies_with_its_group(autojump_clock: MockClock) -> None:
    """An element that waits for its next attempt when its group fails does not run again."""
    passes = []

    @step(retry=Retry(attempts=5, delay=100.0, jitter=0.0))
    async def flaky(data, ctx: Context):
        passes.append(ctx.attempt)
        raise Boom("again")

    @step
    async def broken(data, ctx: Context):
        await trio.sleep(10)
        raise Boom("for good")

    began = trio.current_time()
    outcome = await settle(workflow("due").parallel([flaky, broken]).commit())
    assert trio.current_time() - began == pytest.approx(10, abs=0.1)
    assert (passes, [failure.step_id for failure in outcome.failures]) == ([1], ["broken"])


# ------------------------------------------------------------------------------------------------ cancel


@pytest.mark.rule("A8", "C12")
@pytest.mark.parametrize("group", ["parallel", "foreach", "children"])
async def test_cancel_reaches_every_member(group: str, journal: str, autojump_clock: MockClock) -> None:
    """A cancel of the run ends all live members, waits for them, and calls the cancel hook once."""
    log = []
    live = trio.Event()
    begun = []

    @step
    async def sleeper(data, ctx: Context):
        begun.append(1)
        if len(begun) == 3:
            live.set()
        try:
            await trio.sleep_forever()
        finally:
            log.append("ended")

    def named(name: str):
        @step(id=name)
        async def sleeps(data, ctx: Context):
            begun.append(1)
            if len(begun) == 3:
                live.set()
            try:
                await trio.sleep_forever()
            finally:
                log.append("ended")

        return sleeps

    async def on_cancel(reason, ctx: Context):
        log.append(reason)

    inner = workflow("inner").then(sleeper).commit()
    builder = {
        "parallel": workflow("g").parallel([named("a"), named("b"), named("c")]),
        "foreach": workflow("g").foreach(sleeper, concurrency=3),
        "children": workflow("g").foreach(inner, concurrency=3),
    }[group]
    graph = builder.then(failing("never")).on_cancel(on_cancel).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, [1, 2, 3, 4, 5])
        await live.wait()
        await run.cancel("enough")
        outcome = await run.wait()
    assert (outcome.status, outcome.failures) == (RunStatus.CANCELLED, ())
    assert log == ["ended"] * 3 + ["enough"]
    assert len(begun) == 3


# ------------------------------------------------------------------------------------------------ crash


@pytest.mark.rule("F4", "C3", "C9")
@pytest.mark.parametrize("concurrency", [1, 2, None])
async def test_finished_elements_are_not_repeated(
    concurrency: int | None, sqlite_url: str, autojump_clock: MockClock
) -> None:
    """Closed half-way and opened again: elements that were done stay done, the live ones run again, all count once."""
    passes: Counter[int] = Counter()
    reached = trio.Event()
    live = {3} if concurrency == 1 else {3, 4}
    stopped = set(live)

    @step
    async def work(data, ctx: Context):
        passes[data] += 1
        await ctx.run_store.increment("n")
        await ctx.run_store.push("seen", data)
        if data in stopped and passes[data] == 1:
            stopped.discard(data)
            if not stopped:
                await trio.sleep(1)
                reached.set()
            await trio.sleep_forever()
        return data * 10

    graph = workflow("half").foreach(work, concurrency=concurrency).commit()
    await cut_off(graph, list(range(8)), sqlite_url, reached)
    before = dict(passes)
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.output == [number * 10 for number in range(8)]
    assert (outcome.state["n"], sorted(outcome.state["seen"])) == (8, list(range(8)))
    assert {number for number in before if passes[number] > before[number]} == live
    assert all(record.attempts == 1 for record in outcome.steps)


@pytest.mark.rule("F4", "C3")
async def test_members_of_parallel_that_are_done_stay_done(sqlite_url: str, autojump_clock: MockClock) -> None:
    """One member done, one live, one waiting for its retry: after reopening only the last two go on."""
    log = []
    reached = trio.Event()

    @step
    async def done(data, ctx: Context):
        log.append("done")
        return "done"

    @step
    async def live(data, ctx: Context):
        log.append("live")
        if log.count("live") == 1:
            await trio.sleep(1)
            reached.set()
            await trio.sleep_forever()
        return "live"

    @step(retry=Retry(attempts=3, delay=50.0, jitter=0.0))
    async def flaky(data, ctx: Context):
        log.append(f"flaky {ctx.attempt}")
        if ctx.attempt == 1:
            raise Boom("again")
        return ctx.attempt

    graph = workflow("members").parallel([done, live, flaky]).commit()
    await cut_off(graph, None, sqlite_url, reached)
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.output == {"done": "done", "live": "live", "flaky": 2}
    assert sorted(log) == ["done", "flaky 1", "flaky 2", "live", "live"]


def everything() -> tuple[object, dict[str, object]]:
    """A graph with one of each, and the state and output that an undisturbed run of it has."""

    @step
    async def count(data, ctx: Context):
        await ctx.run_store.increment("counted")
        return data + 1

    @step(retry=Retry(attempts=2, delay=1.0, jitter=0.0))
    async def flaky(data, ctx: Context):
        await ctx.run_store.push("flaky", data)
        if ctx.attempt == 1:
            raise Boom("again")
        return data

    @step
    async def looped(data, ctx: Context):
        await ctx.run_store.push("iterations", ctx.iteration)
        return data + 1

    async def slowly(data, ctx: Context):
        await ctx.run_store.increment("mapped")
        return [data] * 3

    async def less(data, ctx: Context):
        return data < 6

    pipe = workflow("pipe").then(count).sleep(2).then(adding("plus", 10)).commit()
    graph = (
        workflow("everything")
        .then(count)
        .map(slowly)
        .foreach(flaky, concurrency=2)
        .foreach(pipe, concurrency=None)
        .parallel([giving("a", 3), flaky_free("b"), failing("c")], join=tolerate(count=1))
        .map(lambda data, ctx: data["a"])
        .do_while(looped, less)
        .sleep("1 hr")
        .branch([(less, giving("low", 0)), (lambda data, ctx: data == 6, count)])
        .commit()
    )
    return graph, {
        "output": {"count": 7},
        "counted": 2,
        "flaky": [1, 1, 1],
        "mapped": 1,
        "iterations": [1, 2, 3],
        "b": 1,
    }


def flaky_free(name: str):
    """A step that counts itself under its id."""

    @step(id=name)
    async def once(data, ctx: Context):
        return await ctx.run_store.increment(name)

    return once


def check_everything(outcome: RunOutcome, wanted: dict[str, object]) -> None:
    """The run ended as the undisturbed one does."""
    assert outcome.status is RunStatus.COMPLETED, outcome.failures
    assert {"output": outcome.output, **outcome.state} == wanted
    assert kinds(outcome) == ["Boom"]


async def test_an_undisturbed_run_of_everything(journal: str, autojump_clock: MockClock) -> None:
    """The yardstick of the test below."""
    graph, wanted = everything()
    check_everything(await settle(graph, 0, journal=journal), wanted)


@pytest.mark.slow
@pytest.mark.rule("F4", "C3", "C9", "D7")
@pytest.mark.parametrize("fault", [Crash(), Crash(written=True)], ids=["before", "after"])
async def test_a_crash_at_every_write_of_a_graph(fault: Fault, autojump_clock: MockClock) -> None:
    """Whichever write the process dies in, before or after it is whole: the run ends as if nothing had been."""
    for n in range(1, POINTS_MAX):
        graph, wanted = everything()
        disk = MemoryJournal(durable=True)
        journal = FaultyJournal(disk, {n: fault})
        with trio.move_on_after(LONG):
            try:
                async with opened([graph], journal=journal, shutdown_grace=0) as runtime:
                    await (await runtime.start(graph, 0, run_id="r")).wait()
            except SimulatedCrash:
                pass
        if not journal.failed:
            assert n > 20
            return
        async with opened([graph], journal=disk) as runtime:
            assert runtime.unrecovered == {}
            run = await runtime.start(graph, 0, run_id="r")
            outcome = await run.wait()
            if outcome.state:
                check_everything(outcome, wanted)
            else:
                assert outcome.output == wanted["output"]  # it had ended in that write: its values are gone
    pytest.fail("the writes never end")


@pytest.mark.slow
@pytest.mark.rule("C9", "F4")
async def test_a_thousand_elements_closed_half_way(sqlite_url: str, autojump_clock: MockClock) -> None:
    """At reopening as many are done as had been acknowledged, and in the end each has counted once."""
    passes: Counter[int] = Counter()
    reached = trio.Event()

    @step
    async def work(data, ctx: Context):
        passes[data] += 1
        if passes.total() == 500:
            reached.set()
        await ctx.run_store.increment("n")
        return data

    graph = workflow("thousand").foreach(work, concurrency=10).commit()
    await cut_off(graph, list(range(1000)), sqlite_url, reached)
    outcome = await taken_up(graph, sqlite_url)
    assert outcome.output == list(range(1000))
    assert outcome.state == {"n": 1000}
    assert passes.total() - 1000 <= 10


# ------------------------------------------------------------------------------------------------ aggregates


@pytest.mark.rule("B7", "C9")
@pytest.mark.parametrize("count", [10, 1000, pytest.param(5000, marks=pytest.mark.slow)])
async def test_branches_that_count_lose_nothing(count: int, autojump_clock: MockClock) -> None:
    """Increments, pushes and updates of any number of concurrent elements all arrive."""

    @step
    async def work(data, ctx: Context):
        await trio.sleep(data % 7)
        await ctx.run_store.push("items", data)
        await ctx.run_store.update("twice", lambda value: value + 2, default=0)
        return await ctx.run_store.increment("n")

    outcome = await settle(workflow("sums").foreach(work, concurrency=None).commit(), list(range(count)))
    assert sorted(outcome.output) == list(range(1, count + 1))
    assert (outcome.state["n"], outcome.state["twice"]) == (count, 2 * count)
    assert sorted(outcome.state["items"]) == list(range(count))


@pytest.mark.rule("A8", "C9")
async def test_many_runs_of_one_graph_do_not_mix(autojump_clock: MockClock) -> None:
    """Concurrent runs fan out side by side: each gets its own elements and its own state."""

    @step
    async def work(data, ctx: Context):
        await trio.sleep(data % 5)
        await ctx.run_store.push("seen", data)
        return [ctx.run_id, data]

    graph = workflow("many").foreach(work, concurrency=3).commit()
    async with opened([graph]) as runtime:
        runs = [await runtime.start(graph, [n * 100 + i for i in range(10)], run_id=f"r{n}") for n in range(50)]
        for n, run in enumerate(runs):
            outcome = await run.wait()
            assert outcome.output == [[f"r{n}", n * 100 + i] for i in range(10)]
            assert sorted(outcome.state["seen"]) == [n * 100 + i for i in range(10)]
        assert runtime.statistics().live_runs == 0
        assert runtime.statistics().live_steps == 0


@pytest.mark.rule("B8")
async def test_a_small_mailbox_does_not_block_a_wide_group(autojump_clock: MockClock) -> None:
    """With room for one message at a time a hundred concurrent elements come to their end all the same."""

    @step
    async def work(data, ctx: Context):
        for _ in range(3):
            await ctx.run_store.increment("n")
        return data

    graph = workflow("narrow").foreach(work, concurrency=None).commit()
    async with opened([graph], limits=Limits(mailbox=1)) as runtime:
        outcome = await (await runtime.start(graph, list(range(100)))).wait()
    assert (outcome.output, outcome.state) == (list(range(100)), {"n": 300})

"""What a history keeps of calls that are repeated, that tell nothing, and that count together."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
import trio

from actorflow import Context, Retry, Workflow, open_runtime, step
from actorflow.errors import StateTypeError
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, FaultyJournal, History, SimulatedCrash, check_linearizable


class Scripted:
    """A store that gives prepared answers; an error among them is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    async def _answer(self, *given: object, **named: object) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    set = push = increment = get = delete = maximum = compare_and_set = snapshot = _answer

    def push_nowait(self, key: str, item: object, *, op_id: str = "") -> None:
        if not isinstance(item, str):
            raise StateTypeError("only words", key=key)


def stores(history: History, *passes: Scripted) -> list[Scripted]:
    """The recorded stores of the passes of one step."""
    return [history.store(one, branch="A", replayed=True) for one in passes]


def told(history: History) -> list[tuple[str, object, float, float]]:
    """The calls in short."""
    return [(call.verb, call.result, call.invoked, call.returned) for call in history.calls]


async def test_a_repeated_write_counts_once_from_its_first_time() -> None:
    """A step that runs again is told the old answers: one call each; what broke off is answered, what is new is new."""
    history = History()
    first, second = Scripted(1, 2, OSError("down")), Scripted(1, 2, 3, 4)
    store = history.store(first, branch="A", replayed=True)
    await store.increment("n")
    await store.increment("n")
    with pytest.raises(OSError, match="down"):
        await store.increment("n")
    assert told(history) == [("increment", 1, 1, 2), ("increment", 2, 3, 4), ("increment", None, 5, inf)]
    store = history.store(second, branch="A", replayed=True)
    for _ in range(4):
        await store.increment("n")
    assert [call[:2] for call in told(history)] == [("increment", n) for n in (1, 2, 3, 4)]
    assert told(history)[2][2:] == (5, 6)
    assert not history.contradicted
    assert check_linearizable(history)


async def test_without_replayed_every_call_is_its_own() -> None:
    """A branch whose stores are not those of one step that runs again asks twice if it asks twice."""
    history = History()
    for answer in (1, 2):
        await history.store(Scripted(answer), branch="A").increment("n")
    assert [call[1] for call in told(history)] == [1, 2]


async def test_two_stores_of_one_pass_are_one_pass() -> None:
    """Whoever asks twice for the recorded store in one pass of a step does not repeat anything."""
    history, real = History(), Scripted(1, 2)
    for store in stores(history, real, real):
        await store.increment("n")
    assert [call[1] for call in told(history)] == [1, 2]


async def test_reads_and_what_changed_nothing_are_done_afresh() -> None:
    """A read, a refusal and a False of an earlier pass are no answers for the next one."""
    history = History()
    store = history.store(Scripted(None, False, StateTypeError("no", key="k")), branch="A", replayed=True)
    await store.get("k")
    await store.delete("k")
    with pytest.raises(StateTypeError):
        await store.push("k", 1)
    store = history.store(Scripted([1], True, 1), branch="A", replayed=True)
    await store.get("k")
    await store.delete("k")
    await store.push("k", 1)
    assert [call[:2] for call in told(history)] == [
        ("get", None),
        ("delete", False),
        ("refused", None),
        ("get", [1]),
        ("delete", True),
        ("push", 1),
    ]
    assert all(call.returned != inf for call in history.calls)


async def test_what_may_have_changed_nothing_stays_open() -> None:
    """`maximum(5)` that gave 5 may have found 5: the second one may be a new one, so it may count or not."""
    for again, is_open in ((5, True), (6, False)):
        history = History()
        for answer in (5, again):
            await history.store(Scripted(answer), branch="A", replayed=True).maximum("n", 5)
        assert [call.returned == inf for call in history.calls] == [False, is_open]


async def test_another_answer_to_the_same_call_is_a_violation() -> None:
    """An operation that was applied twice is told from one that was told its old answer."""
    history = History()
    for answer in (1, 2):
        await history.store(Scripted(answer), branch="A", replayed=True).push("list", "a")
    verdict = check_linearizable(history)
    assert not verdict
    assert "branch A was told push('list', 'a') gave 1, and 2 when it asked again" in verdict.sentence


async def test_other_arguments_are_a_new_call_that_may_have_been_answered_from_the_old_one() -> None:
    """After a retry the first write stands, after a resume it is a new one: the history cannot know, and says so."""
    history = History()
    for item, answer in (("a", 1), ("b", 1), ("c", 2)):
        await history.store(Scripted(answer), branch="A", replayed=True).push("list", item)
    assert [(call.arguments[0], call.returned == inf) for call in history.calls] == [
        ("a", False),
        ("b", True),
        ("c", True),
    ]
    assert check_linearizable(history)
    await history.store(Scripted(7), branch="B", replayed=True).push("list", "d")
    await history.store(Scripted(9), branch="B", replayed=True).push("list", "e")
    assert history.calls[-1].returned != inf, "no earlier call was told 9"


async def test_an_answer_that_went_to_another_call_accuses_nobody() -> None:
    """After a crash a refused comparison may be told the old answer of a later one, which is then made afresh."""
    history = History()
    for answers in ((False, True), (True, False)):
        store = history.store(Scripted(*answers), branch="A", replayed=True)
        await store.compare_and_set("k", 1, 1)
        await store.compare_and_set("k", 0, 0)
    assert not history.contradicted
    assert [(call.result, call.returned == inf) for call in history.calls] == [
        (False, False),
        (True, False),
        (None, True),
        (False, False),
    ]


async def test_calls_that_tell_nothing_are_recorded() -> None:
    """`push_nowait` is a push of unknown outcome that keeps its place; one that raises at the call did not happen."""
    history = History()
    store = history.store(Scripted(3), branch="A", replayed=True)
    store.push_nowait("list", "a")
    store.push_nowait("list", "b", op_id="b")
    with pytest.raises(StateTypeError):
        store.push_nowait("list", 7)
    await store.push("list", "c")
    assert told(history) == [("push", None, 1, inf), ("push", None, 2, inf), ("push", 3, 3, 4)]
    assert len({call.sender for call in history.calls} - {0}) == 1
    store = history.store(Scripted(), branch="A", replayed=True)
    store.push_nowait("list", "a")
    store.push_nowait("list", "b", op_id="b")
    assert len(history.calls) == 3
    assert [bool(call.sender) for call in history.calls] == [False, False, True], "asked twice: its turn is not known"


async def test_two_equal_calls_at_once_are_matched_one_by_one() -> None:
    """Of two equal calls under way only as many are repeats as there were calls before."""

    class Slow:
        total = 1

        async def increment(self, key: str, delta: int = 1) -> int:
            if self.total:
                answer, self.total = self.total, self.total + 1
            await trio.lowlevel.checkpoint()
            return answer

    history = History()
    await history.store(Scripted(1), branch="A", replayed=True).increment("n")
    store = history.store(Slow(), branch="A", replayed=True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(store.increment, "n")
        nursery.start_soon(store.increment, "n")
    assert sorted(call.result for call in history.calls) == [1, 2]
    assert not history.contradicted
    assert check_linearizable(history)


async def test_snapshots_are_kept_beside_the_calls() -> None:
    """A read of all keys is there for stories and changes no verdict."""
    history = History()
    await history.store(Scripted({"a": 1}), branch="A").snapshot()
    assert [(call.verb, call.result) for call in history.seen] == [("snapshot", {"a": 1})]
    assert not history.calls


class Passing(Workflow):
    """A step that fails, is suspended, and finishes in its third pass; each pass does the same operations."""

    history = History()

    async def start(self, data, ctx: Context):
        for _ in range(3):
            await ctx.schedule_next_step("work")

    @step(retry=Retry(2))
    async def work(self, data, ctx: Context):
        store = self.history.store(ctx.run_store, branch=ctx.activation_id, replayed=True)
        for turn in range(2):
            await store.increment("count")
            await store.push("list", f"{ctx.activation_id}.{turn}")
            store.push_nowait("list", f"{ctx.activation_id}.{turn}.late")
            await store.get("count")
            async with store.transaction() as tx:
                tx.increment("a")
                tx.decrement("b", 1)
            await store.maximum("high", turn)
        if ctx.attempt == 1 and not ctx.resumed:
            raise OSError("again")
        await ctx.suspend()
        await store.increment("count")
        await store.length("list")


@pytest.mark.rule("C3")
async def test_a_real_step_that_runs_again(autojump_clock: trio.testing.MockClock) -> None:
    """Retries and suspensions of real steps leave one call per operation, and a linearizable history."""
    Passing.history = history = History()
    async with open_runtime([Passing]) as runtime:
        run = await runtime.start(Passing)
        while found := (await run.wait()).suspensions:
            for suspension in found:
                await run.resume(step=suspension.activation_id)
    verdict = check_linearizable(history)
    assert verdict, str(verdict)
    assert not history.contradicted
    assert sum(call.verb == "increment" for call in history.calls) == 3 * 3
    assert sum(call.verb == "push" for call in history.calls) == 3 * 4
    assert sum(call.verb == "transaction" for call in history.calls) == 3 * 2


class Dying(Workflow):
    """Branches that do the same in every life; what they ask depends on nothing but their number."""

    history = History()

    async def start(self, data, ctx: Context):
        for number in range(4):
            await ctx.schedule_next_step("work", [data, number])

    @step(retry=Retry(3))
    async def work(self, data, ctx: Context):
        random = Random(str(data))
        store = self.history.store(ctx.run_store, branch=ctx.activation_id, replayed=True)
        for turn in range(6):
            verb = random.choice(["push", "increment", "set", "cas", "delete", "nowait", "transaction", "maximum"])
            if verb == "push":
                await store.push("list", f"{data[1]}.{turn}")
            elif verb == "set":
                await store.set("register", random.randrange(3))
            elif verb == "cas":
                await store.compare_and_set("register", random.randrange(3), random.randrange(3))
            elif verb == "nowait":
                store.push_nowait("list", f"{data[1]}.{turn}.untold")
            elif verb == "transaction":
                async with store.transaction() as tx:
                    tx.increment("from", -1)
                    tx.increment("to", 1)
            elif verb == "maximum":
                await store.maximum("high", random.randrange(4))
            elif verb == "delete":
                await store.delete("register")
            else:
                await store.increment("count")
            for key in ("list", "register", "to", "count"):
                if random.random() < 0.3:
                    await store.get(key)
            if random.random() < 0.1 and ctx.attempt == 1:
                raise OSError("again")
            await trio.sleep(random.random())


@pytest.mark.rule("C3", "F4")
@pytest.mark.parametrize("seed", range(40))
async def test_a_run_that_dies_again_and_again(seed: int, autojump_clock: trio.testing.MockClock) -> None:
    """Over crashes before and after a write, and retries, what the branches are told has one order, nothing twice."""
    Dying.history = history = History()
    chance, disk = Random(seed), MemoryJournal(durable=True)
    for _ in range(5):
        journal = FaultyJournal(disk, {chance.randint(1, 20): Crash(written=chance.random() < 0.5)})
        try:
            async with open_runtime([Dying], journal=journal, shutdown_grace=0) as runtime:
                await (await runtime.start(Dying, seed, run_id="r")).wait()
        except SimulatedCrash:
            pass
    async with open_runtime([Dying], journal=disk) as runtime:
        outcome = await (await runtime.start(Dying, seed, run_id="r")).wait()
    for key, value in outcome.state.items():
        with history.operation("get", key, branch="end") as answer:
            answer.result = value
    verdict = check_linearizable(history)
    assert verdict, str(verdict)

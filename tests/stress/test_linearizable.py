"""The checker is checked: against brute force, against itself, on real runs, and on a race that was planted."""

from __future__ import annotations

from math import inf
from random import Random

import pytest
import trio
from attrs import evolve

from actorflow import MISSING, Context, Workflow, open_runtime
from actorflow.errors import StateTypeError
from actorflow.testing import History, Linearizability, StoreCall, check_linearizable
from actorflow.testing.linear_search import final_states, search
from actorflow.testing.linear_special import check_counter, check_list, check_register, special
from actorflow.testing.store_call import READS
from actorflow.testing.store_model import EFFECTS, freeze, thaw

SHAPES = {
    "mixed": ("set", "get", "compare_and_set", "increment", "delete", "set_if_absent", "pop", "has"),
    "register": ("set", "get"),
    "counter": ("increment", "get"),
    "list": ("push", "get", "length"),
    "lists": ("push", "extend", "remove", "get", "length", "pop", "merge"),
    "numbers": ("maximum", "minimum", "decrement", "update", "get", "compare_and_set"),
    "joint": ("transaction", "get", "increment", "set", "delete"),
}
CHECKERS = {"register": check_register, "counter": check_counter, "list": check_list}


def brute_force(calls: list[StoreCall], initial: dict[str, object], ends: set[object] | None = None) -> bool:
    """Whether any order of any choice of the calls of unknown outcome explains all answers: by trying them all.

    With `ends`, all orders are tried, and the value of `k` after each is put there.
    """
    useful = [call for call in calls if call.returned != inf or call.verb not in READS]

    def goes_on(state: dict[str, object], left: list[StoreCall]) -> bool:
        if all(call.returned == inf for call in left):
            if ends is not None:
                ends.add(state.get("k", MISSING))
            return ends is None
        for index, call in enumerate(left):
            if any(other.returned < call.invoked for other in left):
                continue
            new = done(call, state)
            if new is None:
                continue
            others = left[:index] + left[index + 1 :]
            if goes_on(new, [one for one in others if not is_late(one, call)]):
                return True
        return False

    return goes_on(initial, useful)


def is_late(untold: StoreCall, done_before: StoreCall) -> bool:
    """Whether a call without an answer cannot count any more: its sender had sent it before the other one."""
    same = untold.sender == done_before.sender != 0
    return same and untold.returned == inf and untold.invoked < done_before.invoked


def done(call: StoreCall, state: dict[str, object]) -> dict[str, object] | None:
    """The values after a call, None if it was told something else or is refused."""
    new = dict(state)
    for verb, key, given in call.parts:
        try:
            new[key], answer = EFFECTS[verb](new.get(key, MISSING), tuple(freeze(one) for one in given))
        except TypeError:
            return None
        if call.returned != inf and call.verb != "transaction" and answer != freeze(call.result):
            return None
    return new


def half(value: object) -> object:
    """What `update` does in these histories."""
    return value // 2 if isinstance(value, int) else value


def arguments(random: Random, shape: str, verb: str, number: int, unit: int) -> tuple[object, ...]:
    """What a call of the verb is given; unique values where the shape needs them."""
    if verb in {"get", "pop"}:
        return (None,)
    if verb == "update":
        return (half, 1)
    if verb in {"extend", "remove", "push"} and shape == "lists":
        return ([1] * random.randrange(3) if verb == "extend" else random.choice([1, 2]),)
    if verb in {"merge", "maximum", "minimum", "decrement"}:
        return ({} if verb == "merge" else random.choice([1, 2]),)
    if verb == "transaction":
        parts = [("increment", "k", (1,)), ("increment", "m", (-1,)), ("set", "m", (2,)), ("set", "k", (number,))]
        return tuple(random.sample(parts, 2))
    if verb == "compare_and_set":
        return (random.choice([MISSING, 1, 2]), random.choice([1, 2]))
    if verb == "increment":
        return (unit,)
    if verb in {"set", "push", "set_if_absent"}:
        return (number if shape not in {"mixed", "joint"} else random.choice([1, 2]),)
    return ()


def random_history(
    random: Random, shape: str, *, count: int, spoil: float, initial: object = MISSING, senders: bool = False
) -> list[StoreCall]:
    """Calls of a right store, of which one answer may be spoilt and some outcomes are lost."""
    unit = random.choice([1, 2])
    starts = sorted(random.sample(range(4 * count), count))
    width = random.choice([2, 4, 4 * count])
    spans = [(at, at + 1 + random.randrange(width)) for at in starts]
    # Distinct places for all events, in the order that the spans say.
    events = sorted([(a, 0, i) for i, (a, _) in enumerate(spans)] + [(b, 1, i) for i, (_, b) in enumerate(spans)])
    place = {(index, kind): rank for rank, (_, kind, index) in enumerate(events, 1)}
    moments = {i: random.uniform(place[i, 0], place[i, 1]) for i in range(count)}
    calls: dict[int, StoreCall] = {}
    state: dict[str, object] = {"k": initial, "m": initial}
    answers: list[object] = []
    for i in sorted(range(count), key=moments.__getitem__):
        verb = random.choice(SHAPES[shape])
        key = random.choice("km") if shape == "joint" else "k"
        given = arguments(random, shape, verb, i, unit)
        lost = random.random() < (0.3 if senders else 0.12)
        call = StoreCall(f"b{i % 3}", verb, key, given, None, place[i, 0], sender=1 + i % 3 if senders else 0)
        if verb == "transaction":
            call = evolve(call, key="")
        if not lost or random.random() < 0.5:
            state, answer = applied(call, state)
            answers.append(answer)
            if not lost:
                if random.random() < spoil:
                    answer = random.choice(answers)
                call = evolve(call, result=None if verb == "transaction" else answer, returned=place[i, 1])
        calls[i] = call
    return [calls[i] for i in sorted(calls)]


def applied(call: StoreCall, state: dict[str, object]) -> tuple[dict[str, object], object]:
    """The values after a call, and what a right store answers."""
    new, answer = dict(state), None
    for verb, key, given in call.parts:
        try:
            new[key], answer = EFFECTS[verb](new[key], tuple(freeze(one) for one in given))
        except TypeError:
            return state, "refused"
    return new, thaw(answer)


STARTS: dict[str, object] = {
    "lists": [1],
    "numbers": 0,
    "register": "old",
    "counter": 5,
    "list": ["old"],
    "mixed": 1,
    "joint": 1,
}


def compare_with_brute_force(*, histories: int, seed: int = 0) -> tuple[int, int]:
    """How many histories were compared and how many of them were invalid; a difference is an error."""
    random = Random(seed)
    invalid = 0
    for number in range(histories):
        shape = list(SHAPES)[number % len(SHAPES)]
        first = random.choice([MISSING, MISSING, STARTS[shape]])
        senders = random.random() < 0.3
        calls = random_history(
            random, shape, count=random.randint(3, 6), spoil=random.choice([0, 1, 1]), initial=first, senders=senders
        )
        initial = {} if first is MISSING else {"k": first, "m": first}
        truth = brute_force(calls, {key: freeze(value) for key, value in initial.items()})
        invalid += not truth
        shown = f"{initial}\n" + "\n".join(map(repr, calls))
        assert search(calls, initial=initial) is truth, shown
        checker = special(calls, first) if shape != "joint" else None
        if checker is not None:
            verdict = checker(calls, first) is None
            assert verdict is truth or (senders and verdict), shown
    return histories, invalid


@pytest.mark.parametrize("seed", range(4))
def test_search_and_special_checkers_agree_with_brute_force(seed: int) -> None:
    """Every verdict over small random histories is that of trying all orders, and many of them are invalid.

    With calls that tell nothing the special checkers may be milder than the truth, never harsher.
    """
    compared, invalid = compare_with_brute_force(histories=5_000, seed=seed)
    assert invalid >= 0.3 * compared
    assert invalid <= 0.9 * compared


def test_the_states_that_calls_may_leave_are_those_of_all_orders() -> None:
    """What may be the value after some calls is exactly what some order leaves: the rest of a history builds on it."""
    random = Random(1)
    sizes = set()
    for number in range(600):
        calls = random_history(random, ("mixed", "numbers", "lists")[number % 3], count=5, spoil=0)
        calls = [call for call in calls if call.returned != inf]
        ends: set[object] = set()
        brute_force(calls, {}, ends)
        found = final_states(calls, initial={}, budget=10_000)
        assert found is not None
        assert {freeze(state.get("k", MISSING)) for state in found} == (ends if calls else set()), calls
        sizes.add(len(ends))
    assert {0, 1, 2} <= sizes


@pytest.mark.parametrize("shape", CHECKERS)
def test_special_checkers_agree_with_the_search(shape: str) -> None:
    """On longer histories sorting and searching give the same verdict."""
    random = Random(shape)
    verdicts = set()
    for _ in range(300):
        calls = random_history(random, shape, count=random.randint(8, 30), spoil=random.choice([0, 0.03]))
        found = search(calls, budget=20_000)
        if found is not None and special(calls) is not None:
            assert (CHECKERS[shape](calls) is None) is found, "\n".join(map(repr, calls))
            verdicts.add(found)
    assert verdicts == {True, False}


class Busy(Workflow):
    """Branches that use most verbs, all on a few keys."""

    history = History()

    async def start(self, data, ctx: Context):
        for number in range(data):
            await ctx.schedule_next_step("work", number)

    async def work(self, data, ctx: Context):
        store = self.history.store(ctx.run_store, branch=f"b{data}")
        random = Random(data)
        for turn in range(6):
            await trio.sleep(random.random())
            await store.increment("count")
            await store.push("list", f"{data}.{turn}")
            await store.compare_and_set("mixed", random.choice([MISSING, 1, 2]), random.choice([1, 2]))
            await store.update("sum", lambda value: value + 1, 0)
            await store.get(random.choice(["count", "list", "mixed", "sum"]))
            await store.increment("named", op_id=f"turn {turn}")
            await store.length("list")


async def test_a_real_run_is_linearizable(journal: str, autojump_clock: trio.testing.MockClock) -> None:
    """What branches that work side by side are told by the run store can be put in one order."""
    Busy.history = History()
    async with open_runtime([Busy], journal=journal) as runtime:
        await runtime.run(Busy, 8)
    verdict = check_linearizable(Busy.history)
    assert verdict, str(verdict)
    assert len(Busy.history.calls) == 8 * 6 * 7


class Racing(Workflow):
    """A counter that is written the wrong way: read, wait, write."""

    history = History()

    async def start(self, data, ctx: Context):
        for name in ("A", "B"):
            await ctx.schedule_next_step("bump", name)

    async def bump(self, data, ctx: Context):
        for _ in range(2):
            with self.history.operation("increment", "count", branch=data) as answer:
                seen = (await ctx.run_store.snapshot()).get("count", 0)
                await trio.sleep(1)
                await ctx.run_store.set("count", seen + 1)
                answer.result = seen + 1


async def test_a_planted_race_is_found_and_explained(autojump_clock: trio.testing.MockClock) -> None:
    """An increment made of a read and a write is caught, with the two answers that exclude each other, drawn."""
    Racing.history = History()
    async with open_runtime([Racing]) as runtime:
        await runtime.run(Racing)
    verdict = check_linearizable(Racing.history)
    assert verdict.status is Linearizability.VIOLATED
    assert verdict.key == "count"
    assert len(verdict.calls) == 2
    assert "was told increment gave 1 although branch" in verdict.sentence
    lanes = verdict.picture.splitlines()
    assert [lane.split()[0] for lane in lanes] == ["A", "B"]
    assert all("increment('count', 1) = 1" in lane for lane in lanes)


def test_a_searched_violation_is_shrunk_to_what_matters() -> None:
    """Of a dozen calls on a key that needs the search, the two that exclude each other are shown."""
    calls = [StoreCall("A", "set", "k", (number % 3,), None, 2 * number, 2 * number + 1) for number in range(12)]
    calls.append(StoreCall("A", "set_if_absent", "k", (7,), True, 200, 201))
    history = History()
    history.calls.extend(calls)
    verdict = check_linearizable(history)
    assert verdict.status is Linearizability.VIOLATED
    assert len(verdict.calls) == 2
    assert verdict.calls[-1].verb == "set_if_absent"
    assert "branch A had been told set" in verdict.sentence


def test_a_budget_that_is_too_small_is_undecided() -> None:
    """What the search cannot decide is said to be undecided: neither right nor wrong."""
    history = History()
    history.calls.extend(StoreCall(f"b{n}", "extend", "k", ([n],), 2 - n, n, 100 + n) for n in range(2))
    verdict = check_linearizable(history, budget=0)
    assert verdict.status is Linearizability.UNDECIDED
    assert verdict.undecided == ("k",)
    assert not verdict


class Flaky:
    """A counter whose first answer gets lost, that knows a repeated call by its name, and refuses words."""

    def __init__(self) -> None:
        self.total = 0
        self.named: dict[str, int] = {}

    async def increment(self, key: str, delta: int = 1, *, op_id: str = "") -> int:
        if not isinstance(delta, int):
            raise StateTypeError("not a number", key=key)
        if op_id not in self.named:
            self.total += delta
            self.named[op_id] = self.total
            if len(self.named) == 1:
                raise OSError("the answer got lost")
        return self.named[op_id]


async def test_outcomes_that_are_not_known() -> None:
    """A broken-off call may have counted and is one with its repetition by op_id; a refused one is none."""
    history = History()
    store = history.store(Flaky(), branch="A")
    with pytest.raises(OSError, match="got lost"):
        await store.increment("k", op_id="first")
    assert history.calls[0].returned == inf
    assert await store.increment("k", 2, op_id="second") == 3
    assert check_linearizable(history), "the lost call may have counted"
    assert await store.increment("k", op_id="first") == 1
    with pytest.raises(StateTypeError):
        await store.increment("k", "three", op_id="third")
    assert [call.result for call in history.calls] == [1, 3, None]
    verdict = check_linearizable(history)
    assert verdict, str(verdict)


def test_an_unknown_verb_is_refused() -> None:
    """An operation is one of the verbs of a store; what it is not is named."""
    with pytest.raises(ValueError, match="unknown verb 'grow'"), History().operation("grow", "k", branch="A"):
        pass


def test_a_repeat_that_is_refused_says_nothing_of_the_first_try() -> None:
    """A named call that was lost and then refused may have counted: it stays open, and accuses nobody."""
    history = History()
    with pytest.raises(OSError, match="lost"), history.operation("increment", "n", 1, branch="a", op_id="once"):
        raise OSError("lost")
    with pytest.raises(StateTypeError), history.operation("increment", "n", 1, branch="a", op_id="once"):
        raise StateTypeError("refused")
    with history.operation("get", "n", branch="b") as answer:
        answer.result = 1
    assert check_linearizable(history).status is Linearizability.OK

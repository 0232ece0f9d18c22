"""The controlled schedule: the same on every trio, deadlocks and livelocks found, threads in lockstep."""

import threading

import pytest
import trio

from actorflow.testing import explore, trio_internals
from actorflow.testing.policies import MIX, NOBODY, decoded, encoded, policy_of
from actorflow.testing.programs import program_of, run
from actorflow.testing.scheduler import Livelock, Stuck
from actorflow.testing.simulation import Passage, Schedule, run_schedules


async def busy() -> list[int]:
    """Five tasks that take turns, sleep, wait for each other and cancel one."""
    order: list[int] = []
    gate = trio.Event()
    lock = trio.Lock()

    async def work(number: int) -> None:
        for turn in range(4):
            async with lock:
                order.append(number * 10 + turn)
                await trio.lowlevel.checkpoint()
            await trio.sleep(0.5 * (number % 2))
        if number == 3:
            gate.set()
        await gate.wait()

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(work, number, name=f"work {number}")
        with trio.move_on_after(0.7):
            await trio.sleep_forever()
        order.append(99)
    return order


def passages(seeds: range) -> list[Passage]:
    """The schedules of these seeds."""
    found: list[Passage] = []
    run_schedules((Schedule(seed, busy) for seed in seeds), found.append)
    return found


CANARY = 1805861114441707522
"""Of trio 0.31 to 0.35 on Python 3.11 to 3.13."""


def test_the_golden_schedules_are_the_same_on_every_trio() -> None:
    """If this fails after an update of trio, its run loop has changed: look at `trio_internals` first."""
    digest = 0
    for passage in passages(range(60)):
        assert passage.error is None
        order = passage.value
        assert isinstance(order, list)
        for number in (*passage.choices, *order):
            digest = (digest * 1_000_003 + number) & ((1 << 61) - 1)
    assert digest == CANARY


def test_one_seed_is_one_schedule() -> None:
    """Alone, in a row, again: the same choices and the same result."""
    for passage in passages(range(24)):
        _, alone = run(program_of(busy).trial(passage.seed))
        assert (alone.choices, alone.digest, alone.value) == (passage.choices, passage.digest, passage.value)


def test_a_replay_of_the_switches_is_the_schedule() -> None:
    """Whatever policy made it."""
    for passage in passages(range(2 * len(MIX))):
        _, again = run(program_of(busy).trial(passage.seed, switches=passage.switches))
        assert (again.digest, again.value) == (passage.digest, passage.value)


def test_different_seeds_are_different_schedules() -> None:
    """Of sixty, nearly all."""
    assert len({passage.digest for passage in passages(range(60))}) > 50


def test_no_switches_means_that_nobody_is_interrupted() -> None:
    """Each task runs until it waits."""

    async def two() -> list[str]:
        seen: list[str] = []

        async def work(name: str) -> None:
            for _ in range(3):
                seen.append(name)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, "a")
            nursery.start_soon(work, "b")
        return seen

    _, passage = run(program_of(two).trial(0, switches={}))
    assert passage.value == ["a", "a", "a", "b", "b", "b"]


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_choice_and_its_index_belong_together(count: int) -> None:
    """Relative to the running task there and back; 0 is to go on."""
    for current in (NOBODY, *range(count)):
        choices = [encoded(index, current) for index in range(count)]
        assert sorted(choices) == list(range(count))
        assert [decoded(choice, current) for choice in choices] == list(range(count))
        assert current == NOBODY or encoded(current, current) == 0


def test_every_policy_of_the_mix_has_its_turn() -> None:
    """Seeds go around."""
    assert {policy_of(seed).name for seed in range(len(MIX))} == {"uniform", "sticky", "pct", "rounds", "flips"}


# --- schedules that do not end


def test_a_deadlock_is_found_and_names_its_tasks() -> None:
    """Two tasks with two locks in opposite order: not in every schedule, but soon."""

    async def crossed() -> None:
        locks = {"left": trio.Lock(), "right": trio.Lock()}

        async def work(first: str, second: str) -> None:
            async with locks[first]:
                await trio.lowlevel.checkpoint()
                async with locks[second]:
                    pass

        async with trio.open_nursery() as nursery:
            nursery.start_soon(work, "left", "right", name="lefty")
            nursery.start_soon(work, "right", "left", name="righty")

    with pytest.raises(
        AssertionError, match=r"deadlock: nothing can happen any more; .* lefty in .*; righty in "
    ) as caught:
        explore(crossed, seeds=50)
    assert len(caught.value.switches) <= 1  # type: ignore[attr-defined]  # of a ScheduleFailure


def test_a_deadlock_behind_a_shield_is_given_up_and_the_next_schedule_is_clean() -> None:
    """Nothing can end it but throwing its tasks out; the schedules after it are not harmed."""

    async def shielded() -> None:
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(trio.Event().wait)
                await trio.Event().wait()

    found: list[Passage] = []
    programs = [shielded, busy, shielded, busy]
    run_schedules((Schedule(5, program) for program in programs), found.append)
    assert [type(passage.error) for passage in found] == [Stuck, type(None), Stuck, type(None)]
    _, alone = run(program_of(busy).trial(5))
    assert [found[1].value, found[3].value] == [alone.value, alone.value]


def test_what_waits_for_a_time_is_no_deadlock() -> None:
    """Virtual time goes on when nobody may run."""

    async def sleeper() -> float:
        await trio.sleep(50_000)
        return trio.current_time()

    _, passage = run(program_of(sleeper).trial(0))
    assert passage.error is None
    assert passage.value == pytest.approx(50_000)


def test_every_schedule_begins_at_time_zero() -> None:
    """Also the second one of a run of trio."""

    async def clock() -> tuple[float, float]:
        began = trio.current_time()
        await trio.sleep(5)
        return began, trio.current_time()

    found: list[Passage] = []
    run_schedules((Schedule(seed, clock) for seed in range(3)), found.append)
    assert {passage.value for passage in found} == {(0.0, 5.0)}


def test_a_livelock_is_found() -> None:
    """Two tasks that let each other pass for ever."""

    async def polite() -> None:
        async def bow() -> None:
            while True:
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(bow)
            nursery.start_soon(bow)

    _, passage = run(program_of(polite).trial(0, limit=500))
    assert isinstance(passage.error, Livelock)


def test_one_task_that_spins_is_a_livelock_too() -> None:
    """Steps without a choice count as well."""

    async def spin() -> None:
        while True:
            await trio.lowlevel.checkpoint()

    _, passage = run(program_of(spin).trial(0, limit=500))
    assert isinstance(passage.error, Livelock)


# --- what is taken over


def test_an_error_of_the_program_is_its_result() -> None:
    """Unwrapped, if it is the only one."""

    async def breaks() -> None:
        await trio.lowlevel.checkpoint()
        raise KeyError("gone")

    _, passage = run(program_of(breaks).trial(0))
    assert isinstance(passage.error, KeyError)


def test_trio_is_left_as_it_was() -> None:
    """Its dice, its threads, and the collector."""
    import gc

    names = trio_internals.MODULE_NAMES[:2]
    before = [getattr(trio_internals._run, name) for name in names], trio.to_thread.run_sync, gc.isenabled()
    passages(range(2))
    assert before == ([getattr(trio_internals._run, name) for name in names], trio.to_thread.run_sync, gc.isenabled())


async def test_inside_trio_there_is_nothing_to_take_over() -> None:
    """The error says what to do instead."""
    with pytest.raises(RuntimeError, match="from a plain function"):
        explore(busy)


def test_an_unknown_trio_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are gone are an error with the version, not an AttributeError somewhere."""
    monkeypatch.delattr(trio_internals._run, "_r")
    with pytest.raises(trio_internals.UnknownTrio, match=rf"trio {trio.__version__} has no _r"):
        passages(range(1))


# --- threads


def test_threads_run_in_lockstep_and_are_the_same_again() -> None:
    """A thread that asks trio for something, while others run: one order per seed."""

    async def program() -> list[str]:
        seen: list[str] = []

        async def note(text: str) -> str:
            await trio.lowlevel.checkpoint()
            seen.append(text)
            return text.upper()

        def work(name: str) -> str:
            first = trio.from_thread.run(note, f"{name} 1")
            trio.from_thread.run_sync(seen.append, f"{name} 2")
            return first + threading.current_thread().name

        async with trio.open_nursery() as nursery:
            for name in ("a", "b"):

                async def one(name: str = name) -> None:
                    seen.append(await trio.to_thread.run_sync(work, name, thread_name=f"/{name}"))

                nursery.start_soon(one)
        return seen

    orders = set()
    for seed in range(20):
        _, first = run(program_of(program).trial(seed))
        _, second = run(program_of(program).trial(seed))
        assert first.error is None
        assert isinstance(first.value, list)
        assert first.value == second.value
        assert sorted(first.value) == ["A 1/a", "B 1/b", "a 1", "a 2", "b 1", "b 2"]
        orders.add(tuple(first.value))
    assert len(orders) > 2


def test_an_error_in_a_thread_and_one_of_trio_reach_each_other() -> None:
    """As with real threads."""

    async def fails() -> None:
        await trio.lowlevel.checkpoint()
        raise LookupError("in trio")

    def work() -> None:
        with pytest.raises(LookupError, match="in trio"):
            trio.from_thread.run(fails)
        raise ValueError("in the thread")

    async def program() -> None:
        await trio.to_thread.run_sync(work, limiter=trio.CapacityLimiter(1))

    _, passage = run(program_of(program).trial(0))
    assert isinstance(passage.error, ValueError)


def test_a_thread_of_ones_own_cannot_be_controlled() -> None:
    """And is told so."""
    seen: list[BaseException] = []

    async def program() -> None:
        def work() -> None:
            try:
                trio.from_thread.run_sync(print)
            except RuntimeError as error:
                seen.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()

    run(program_of(program).trial(0))
    assert "cannot be controlled" in str(seen[0])

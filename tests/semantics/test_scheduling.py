"""Scheduling: when a step runs, in which order, and what is refused at the call (semantics C2)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, timedelta, timezone

import pytest
import trio
from attrs import define
from trio.testing import MockClock

from actorflow import (
    Context,
    InputError,
    NotJsonError,
    RunOutcome,
    RunStatus,
    ValueTooLarge,
    Workflow,
    open_runtime,
    step,
)

DAY_S = 86_400


@define
class Parcel:
    """A payload with a type."""

    weight: int


async def settle(workflow: type[Workflow], data: object = None, *, journal: str = "memory:") -> RunOutcome:
    """Run a workflow in a runtime of its own and return how it ended."""
    async with open_runtime([workflow], journal=journal) as runtime:
        run = await runtime.start(workflow, data)
        return await run.wait()


@pytest.mark.rule("C2")
@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (10, 10),
        (0.25, 0.25),
        (timedelta(minutes=3), 180),
        ("30 sec", 30),
        ("30 seconds", 30),
        ("5 min", 300),
        ("5 minutes", 300),
        ("2 hr", 7200),
        ("2 hours", 7200),
        ("1 day", DAY_S),
        ("3 days", 3 * DAY_S),
        ("1 week", 7 * DAY_S),
        ("2 weeks", 14 * DAY_S),
        ("400 days", 400 * DAY_S),
        (timedelta(days=400), 400 * DAY_S),
    ],
    ids=str,
)
async def test_every_form_of_delay_gives_its_exact_due_time(
    delay: object, seconds: float, mock_clock: MockClock
) -> None:
    """Numbers, timedeltas and duration texts are due exactly that much after now."""
    seen = []

    class Delays(Workflow):
        async def start(self, data, ctx: Context):
            handle = await ctx.schedule_next_step("later", delay=delay)
            assert handle.due.utcoffset() is not None
            seen.append((handle.due - ctx.now()).total_seconds())
            seen.append(await handle.cancel())

        async def later(self, data, ctx: Context):
            seen.append("ran")

    outcome = await settle(Delays)
    assert outcome.error is None
    assert seen == [pytest.approx(seconds, abs=0.01), True]


@pytest.mark.rule("C2")
@pytest.mark.parametrize(
    "delay",
    [
        "1 month",
        "1 year",
        "soon",
        "",
        "sec",
        "-5 sec",
        "5 fortnights",
        "nan sec",
        -1,
        -0.001,
        float("nan"),
        float("inf"),
        True,
        None,
        [10],
        timedelta(seconds=-1),
        401 * DAY_S,
        "401 days",
        timedelta(days=400, seconds=1),
    ],
    ids=repr,
)
async def test_bad_delay_is_refused_and_arms_nothing(delay: object, autojump_clock: MockClock) -> None:
    """A delay that is no duration between 0 s and 400 days is an `InputError` at the call, for one step and many."""
    ran = []

    class BadDelay(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises(InputError):
                await ctx.schedule_next_step("later", delay=delay)
            with pytest.raises(InputError):
                await ctx.schedule_many("later", [1, 2], delay=delay)

        async def later(self, data, ctx: Context):
            ran.append(data)

    outcome = await settle(BadDelay)
    assert (outcome.status, outcome.error, ran) == (RunStatus.COMPLETED, None, [])


@pytest.mark.rule("C2", "D7")
@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=5, minutes=30))], ids=["utc", "other"])
async def test_at_is_an_instant_in_any_zone(zone: timezone, autojump_clock: MockClock) -> None:
    """`at=` takes an aware datetime of any zone and the step runs at that instant."""
    times = []

    class At(Workflow):
        async def start(self, data, ctx: Context):
            due = (ctx.now() + timedelta(hours=2)).astimezone(zone)
            handle = await ctx.schedule_next_step("later", at=due)
            assert abs(handle.due - due) < timedelta(milliseconds=10)

        async def later(self, data, ctx: Context):
            times.append(trio.current_time() - began)

    began = trio.current_time()
    assert (await settle(At)).error is None
    assert times == [pytest.approx(7200, abs=0.05)]


@pytest.mark.rule("C2")
async def test_at_in_the_past_is_due_now(mock_clock: MockClock) -> None:
    """A step scheduled for a time that has gone by runs at once, on a clock that stands still."""

    class Past(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("later", at=ctx.now() - timedelta(days=3))

        async def later(self, data, ctx: Context):
            await ctx.run_store.set("ran", True)

    assert (await settle(Past)).state == {"ran": True}


@pytest.mark.rule("C2")
@pytest.mark.parametrize("form", ["naive", "with delay"])
async def test_bad_at_is_refused(form: str, autojump_clock: MockClock) -> None:
    """A naive `at`, or `at` together with `delay`, is an `InputError` and arms nothing."""
    ran = []

    class BadAt(Workflow):
        async def start(self, data, ctx: Context):
            soon = ctx.now() + timedelta(seconds=9)
            options = {"at": soon.replace(tzinfo=None)} if form == "naive" else {"at": soon, "delay": 5}
            with pytest.raises(InputError):
                await ctx.schedule_next_step("later", **options)

        async def later(self, data, ctx: Context):
            ran.append(data)

    outcome = await settle(BadAt)
    assert (outcome.error, ran) == (None, [])


@pytest.mark.rule("C2")
@pytest.mark.parametrize(
    "action",
    [
        "nowhere",
        "",
        "start",
        "on_workflow_complete",
        "on_workflow_error",
        "on_workflow_cancel",
        "_private",
        "__init__",
        "plain_method",
        "attribute",
        "max_live_steps",
        "Later",
        "later ",
    ],
)
async def test_what_is_not_an_action_is_refused_at_the_call(action: str) -> None:
    """Only public coroutine methods other than `start` and the hooks can be scheduled or wait for an event."""
    ran = []

    class Names(Workflow):
        attribute = 5

        async def start(self, data, ctx: Context):
            with pytest.raises(InputError):
                await ctx.schedule_next_step(action)
            with pytest.raises(InputError):
                await ctx.schedule_many(action, [1])
            with pytest.raises(InputError):
                await ctx.wait_for_event("event", action=action)
            await ctx.schedule_next_step("later")

        async def later(self, data, ctx: Context):
            ran.append("later")

        async def _private(self, data, ctx: Context):
            ran.append("private")

        def plain_method(self, data, ctx: Context):
            ran.append("plain")

        async def on_workflow_complete(self, ctx: Context):
            ran.append("complete")

        async def on_workflow_error(self, error, ctx: Context):
            ran.append("error")

        async def on_workflow_cancel(self, reason, ctx: Context):
            ran.append("cancel")

    outcome = await settle(Names)
    assert (outcome.error, ran) == (None, ["later", "complete"])


@pytest.mark.rule("C2")
async def test_step_id_option_names_the_action() -> None:
    """A method renamed by `@step(id=…)` is scheduled under that id and reports it."""
    seen = []

    class Renamed(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("send-mail")

        @step(id="send-mail")
        async def send(self, data, ctx: Context):
            seen.append(ctx.step_id)

    outcome = await settle(Renamed)
    assert (outcome.error, seen) == (None, ["send-mail"])


def cycle() -> object:
    """A list that holds itself."""
    payload: list[object] = []
    payload.append(payload)
    return payload


@pytest.mark.rule("C2", "B2", "B8")
@pytest.mark.parametrize(
    "payload",
    [
        float("nan"),
        {"a": [float("-inf")]},
        b"bytes",
        {"a": {1, 2}},
        {1: 2},
        cycle(),
        "\ud800",
        "x" * (1024 * 1024 + 1),
        object(),
    ],
    ids=["nan", "inf", "bytes", "set", "int key", "cycle", "surrogate", "too large", "object"],
)
async def test_bad_payload_is_refused_and_arms_nothing(payload: object) -> None:
    """A payload that is not JSON, or too large, is refused at the call and the run goes on."""
    ran = []

    class BadPayload(Workflow):
        async def start(self, data, ctx: Context):
            with pytest.raises((InputError, NotJsonError, ValueTooLarge)):
                await ctx.schedule_next_step("later", payload)

        async def later(self, data, ctx: Context):
            ran.append(data)

    outcome = await settle(BadPayload)
    assert (outcome.status, outcome.error, ran) == (RunStatus.COMPLETED, None, [])


@pytest.mark.rule("C2", "B1")
async def test_payload_is_copied_when_it_is_scheduled(journal: str) -> None:
    """A payload changed after the call reaches its step as it was at the call; none at all arrives as None."""
    seen = {}

    class Copies(Workflow):
        async def start(self, data, ctx: Context):
            payload = {"items": [1], "pair": (1, 2)}
            await ctx.schedule_next_step("later", payload)
            payload["items"].append(2)
            payload["new"] = True
            await ctx.schedule_next_step("later", {})
            await ctx.schedule_next_step("later")

        async def later(self, data, ctx: Context):
            seen[len(seen)] = data

    assert (await settle(Copies, journal=journal)).error is None
    assert seen == {0: {"items": [1], "pair": [1, 2]}, 1: {}, 2: None}


@pytest.mark.rule("C2")
async def test_steps_run_in_due_order(journal: str, mock_clock: MockClock) -> None:
    """Steps scheduled for 30, 10 and 20 s start as 10, 20, 30, also when all of them are due by then."""
    started = []
    armed = trio.Event()

    class Due(Workflow):
        async def start(self, data, ctx: Context):
            for delay in (30, 10, 20):
                await ctx.schedule_next_step("work", delay, delay=delay)
            armed.set()

        async def work(self, data, ctx: Context):
            started.append(data)

    async with open_runtime([Due], journal=journal) as runtime:
        run = await runtime.start(Due)
        await armed.wait()
        assert started == []
        mock_clock.jump(60)
        assert (await run.wait()).status is RunStatus.COMPLETED
    assert started == [10, 20, 30]


@pytest.mark.rule("C2")
async def test_each_step_starts_at_its_own_due_time(autojump_clock: MockClock) -> None:
    """On virtual time every step starts when it is due, neither earlier nor later."""
    started = []

    class Punctual(Workflow):
        async def start(self, data, ctx: Context):
            for delay in (30, 0, 10, 20, 0.5):
                await ctx.schedule_next_step("work", delay, delay=delay)

        async def work(self, data, ctx: Context):
            started.append((data, trio.current_time() - began))

    began = trio.current_time()
    await settle(Punctual)
    assert [due for due, _ in started] == [0, 0.5, 10, 20, 30]
    assert [at for _, at in started] == pytest.approx([0, 0.5, 10, 20, 30], abs=0.05)


@pytest.mark.rule("C2")
@pytest.mark.parametrize("delay", [0, 5])
async def test_ties_start_in_schedule_order(delay: int, autojump_clock: MockClock) -> None:
    """Steps due at the same instant run their first lines in the order of the calls, in every one of 40 runs."""
    orders = {}

    class Ties(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("work", 0, delay=delay)
            await ctx.schedule_many("work", range(1, 7), delay=delay)
            await ctx.schedule_next_step("other", 7, delay=delay)

        async def work(self, data, ctx: Context):
            orders.setdefault(ctx.run_id, []).append(data)
            await ctx.run_store.push("order", data)

        async def other(self, data, ctx: Context):
            orders[ctx.run_id].append(data)

    async with open_runtime([Ties]) as runtime:
        for run in [await runtime.start(Ties) for _ in range(40)]:
            assert (await run.wait()).status is RunStatus.COMPLETED
    assert len(orders) == 40
    assert set(map(tuple, orders.values())) == {tuple(range(8))}


@pytest.mark.rule("C2")
async def test_handle_names_the_activation_that_runs(journal: str) -> None:
    """The handle of a scheduled step carries the very activation id that the step sees."""
    scheduled, ran = [], []

    class Handles(Workflow):
        async def start(self, data, ctx: Context):
            for _ in range(3):
                scheduled.append((await ctx.schedule_next_step("work")).activation_id)

        async def work(self, data, ctx: Context):
            ran.append(ctx.activation_id)

    await settle(Handles, journal=journal)
    assert ran == scheduled
    assert len(set(ran)) == 3


@pytest.mark.rule("C2", "C1")
async def test_cancelled_step_never_runs_and_ends_the_run(journal: str, mock_clock: MockClock) -> None:
    """Cancelling the last armed step lets the run complete at once, and a second cancel says False."""
    log = []

    class Cancels(Workflow):
        async def start(self, data, ctx: Context):
            handle = await ctx.schedule_next_step("later", delay="3 days")
            log.append(await handle.cancel())
            log.append(await handle.cancel())

        async def later(self, data, ctx: Context):
            log.append("ran")

    outcome = await settle(Cancels, journal=journal)
    assert (outcome.status, log) == (RunStatus.COMPLETED, [True, False])


@pytest.mark.rule("C2")
@pytest.mark.parametrize("when", ["live", "done"])
async def test_cancel_of_a_started_step_is_false(when: str) -> None:
    """A step that has begun, or is done, is not touched by `cancel` of its handle."""
    log = []
    begun, release, done = trio.Event(), trio.Event(), trio.Event()

    class TooLate(Workflow):
        async def start(self, data, ctx: Context):
            handle = await ctx.schedule_next_step("work")
            await begun.wait()
            if when == "done":
                release.set()
                await done.wait()
                await ctx.run_store.wait_for("finished", bool)
            log.append(await handle.cancel())
            release.set()

        async def work(self, data, ctx: Context):
            begun.set()
            await release.wait()
            await ctx.run_store.set("finished", True)
            done.set()

    outcome = await settle(TooLate)
    assert (outcome.status, log, outcome.state) == (RunStatus.COMPLETED, [False], {"finished": True})


@pytest.mark.rule("C2")
async def test_key_gives_the_first_handle_while_armed(journal: str, mock_clock: MockClock) -> None:
    """A second call with the key of an armed step returns the first handle and arms nothing."""
    ran, ids = [], []
    armed = trio.Event()

    class Keyed(Workflow):
        async def start(self, data, ctx: Context):
            for number in range(3):
                handle = await ctx.schedule_next_step("work", number, delay=5, key="one")
                ids.append((handle.activation_id, handle.due))
            ids.append(((await ctx.schedule_next_step("work", 9, delay=5, key="two")).activation_id, None))
            armed.set()

        async def work(self, data, ctx: Context):
            ran.append(data)

    async with open_runtime([Keyed], journal=journal) as runtime:
        run = await runtime.start(Keyed)
        await armed.wait()
        mock_clock.jump(6)
        await run.wait()
    assert (ran, ids[0], ids[1]) == ([0, 9], ids[1], ids[2])
    assert ids[3][0] != ids[0][0]


@pytest.mark.rule("C2")
async def test_key_is_held_while_live_and_free_afterwards(autojump_clock: MockClock) -> None:
    """A key belongs to its step until that has ended; then the same key schedules anew."""
    ran, ids = [], []
    begun, release = trio.Event(), trio.Event()

    class Keyed(Workflow):
        async def start(self, data, ctx: Context):
            ids.append((await ctx.schedule_next_step("work", 1, key="k")).activation_id)
            await begun.wait()
            ids.append((await ctx.schedule_next_step("work", 2, key="k")).activation_id)
            release.set()
            await ctx.schedule_next_step("again", delay=1)

        async def work(self, data, ctx: Context):
            ran.append(data)
            begun.set()
            await release.wait()

        async def again(self, data, ctx: Context):
            ids.append((await ctx.schedule_next_step("work", 3, key="k")).activation_id)

    assert (await settle(Keyed)).error is None
    assert ran == [1, 3]
    assert ids[0] == ids[1]
    assert ids[2] != ids[0]


@pytest.mark.rule("C2")
async def test_cancel_frees_the_key(mock_clock: MockClock) -> None:
    """The key of a cancelled step can be used again at once."""
    ran = []

    class Freed(Workflow):
        async def start(self, data, ctx: Context):
            first = await ctx.schedule_next_step("work", "first", delay="1 day", key="k")
            assert await first.cancel()
            second = await ctx.schedule_next_step("work", "second", key="k")
            assert second.activation_id != first.activation_id

        async def work(self, data, ctx: Context):
            ran.append(data)

    assert (await settle(Freed)).error is None
    assert ran == ["second"]


def as_generator(count: int) -> Iterator[int]:
    """The payloads one at a time."""
    yield from range(count)


async def as_async_generator(count: int) -> AsyncIterator[int]:
    """The payloads one at a time, each after a checkpoint."""
    for number in range(count):
        await trio.lowlevel.checkpoint()
        yield number


@pytest.mark.rule("C2", "C1")
@pytest.mark.parametrize("form", [list, tuple, as_generator, as_async_generator, set])
@pytest.mark.parametrize("count", [0, 1, 300])
async def test_schedule_many_takes_any_iterable(form: Callable[[object], object], count: int) -> None:
    """Lists, generators and async generators of payloads become one step each, and the count comes back."""
    returned = []

    class Many(Workflow):
        async def start(self, data, ctx: Context):
            payloads = form(count) if form in (as_generator, as_async_generator) else form(range(count))
            returned.append(await ctx.schedule_many("work", payloads))

        async def work(self, data, ctx: Context):
            await ctx.run_store.push("seen", data)

    outcome = await settle(Many)
    assert (outcome.error, returned) == (None, [count])
    assert sorted(outcome.state.get("seen", [])) == list(range(count))


@pytest.mark.rule("C2")
@pytest.mark.parametrize("bad", [0, 1, 37, 1234])
@pytest.mark.parametrize("payload", [float("nan"), {"weight": "heavy"}], ids=["not json", "wrong type"])
async def test_bad_payload_among_many_names_its_index(bad: int, payload: object, journal: str) -> None:
    """A bad payload is refused with its index, what came before it stays armed and nothing after it is."""

    class ManyBad(Workflow):
        async def start(self, data, ctx: Context):
            payloads = ({"weight": number} if number != bad else payload for number in range(bad + 50))
            with pytest.raises((InputError, NotJsonError), match=rf"\b{bad}\b"):
                await ctx.schedule_many("work", payloads)

        async def work(self, data: Parcel, ctx: Context):
            await ctx.run_store.push("seen", data.weight)

    outcome = await settle(ManyBad, journal=journal)
    assert outcome.error is None
    assert sorted(outcome.state.get("seen", [])) == list(range(bad))


@pytest.mark.rule("C2")
async def test_schedule_many_shares_one_delay(autojump_clock: MockClock) -> None:
    """All steps of one `schedule_many` get its delay."""
    times = []

    class Delayed(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_many("work", range(4), delay="2 minutes")

        async def work(self, data, ctx: Context):
            times.append(trio.current_time() - began)

    began = trio.current_time()
    await settle(Delayed)
    assert times == pytest.approx([120] * 4, abs=0.05)


@pytest.mark.rule("C2")
async def test_same_call_twice_without_key_runs_twice(journal: str) -> None:
    """Two equal calls of one pass are two steps."""

    class Twice(Workflow):
        async def start(self, data, ctx: Context):
            for _ in range(2):
                await ctx.schedule_next_step("work", {"same": True})

        async def work(self, data, ctx: Context):
            await ctx.run_store.increment("ran")

    assert (await settle(Twice, journal=journal)).state == {"ran": 2}

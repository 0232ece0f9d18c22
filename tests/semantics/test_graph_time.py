"""Timers and events in graphs: `sleep`, `sleep_until`, `wait_for_event`, in one runtime and over several."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import trio
from attrs import frozen
from trio.testing import MockClock

from actorflow import (
    Context,
    DefinitionError,
    InputError,
    NotJsonError,
    RunOver,
    RunStatus,
    first,
    from_step,
    step,
    tolerate,
    workflow,
)
from tests.semantics.graph_flows import (
    Boom,
    adding,
    failing,
    giving,
    kinds,
    opened,
    output_of,
    saying,
    settle,
    statuses,
)


@frozen
class Decision:
    """The data of an event with a type."""

    ok: bool
    by: str = "nobody"


# ------------------------------------------------------------------------------------------------ sleep


@pytest.mark.rule("D7")
@pytest.mark.parametrize(
    ("duration", "seconds"),
    [
        (0, 0),
        (0.5, 0.5),
        (90, 90),
        (timedelta(minutes=3), 180),
        ("30 sec", 30),
        ("5 minutes", 300),
        ("2 hr", 7200),
        ("1 day", 86_400),
        ("2 weeks", 1_209_600),
    ],
    ids=str,
)
async def test_sleep_takes_its_time_and_passes_its_input_on(
    duration: object, seconds: float, journal: str, autojump_clock: MockClock
) -> None:
    """Seconds, a timedelta or words: the next step begins that much later, with the data from before."""
    at = []

    @step
    async def after(data, ctx: Context):
        at.append(trio.current_time())
        return data

    graph = workflow("sleeps").then(saying("a")).sleep(duration).then(after).commit()
    began = trio.current_time()
    async with opened([graph], journal=journal) as runtime:
        assert await runtime.run(graph, ">") == ">a"
    assert at[0] - began == pytest.approx(seconds, abs=0.1)


@pytest.mark.rule("D7")
@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_function_says_how_long(asynchronous: bool, autojump_clock: MockClock) -> None:
    """The duration may depend on data and state; the function runs once."""
    calls = []

    @step
    async def before(data, ctx: Context):
        await ctx.run_store.set("more", 5)
        return data

    def plain(data, ctx: Context):
        calls.append(data)
        return data + ctx.state["more"]

    async def slow(data, ctx: Context):
        await trio.sleep(1)
        return f"{plain(data, ctx) - 1} sec"

    graph = workflow("computed").then(before).sleep(slow if asynchronous else plain).commit()
    began = trio.current_time()
    assert await output_of(graph, 100) == 100
    assert trio.current_time() - began == pytest.approx(105, abs=0.1)
    assert calls == [100]


@pytest.mark.parametrize("duration", [-1, "soon", "5 parsecs", "", timedelta(days=401), float("nan"), True], ids=str)
def test_a_bad_duration_is_refused(duration: object) -> None:
    """Zero seconds to 400 days, in words that are known: anything else is found when the graph is committed."""
    with pytest.raises(DefinitionError):
        workflow("bad").sleep(duration).commit()


@pytest.mark.parametrize("duration", [-1, "soon", None, [], timedelta(days=401)], ids=str)
async def test_a_function_that_gives_a_bad_duration(duration: object, autojump_clock: MockClock) -> None:
    """The run fails with an `InputError`, at once."""
    began = trio.current_time()
    outcome = await settle(workflow("bad").sleep(lambda data, ctx: duration).then(failing("never")).commit())
    assert (outcome.status, kinds(outcome), trio.current_time()) == (RunStatus.FAILED, ["InputError"], began)


@pytest.mark.parametrize("verb", ["sleep", "sleep_until"])
async def test_a_function_that_raises(verb: str, autojump_clock: MockClock) -> None:
    """Its exception is on record, and nothing behind it starts."""

    def broken(data, ctx: Context):
        raise Boom("no time")

    outcome = await settle(getattr(workflow("raises"), verb)(broken).then(failing("never")).commit())
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["Boom"])


@pytest.mark.rule("D7")
@pytest.mark.parametrize("computed", [False, True])
async def test_sleep_until_a_moment(computed: bool, journal: str, autojump_clock: MockClock) -> None:
    """It wakes at that moment of the run's clock, given at once or by a function, and passes its input on."""
    async with opened([], journal="memory:") as runtime:
        moment = runtime.now() + timedelta(hours=5)
    given = (lambda data, ctx: ctx.now() + timedelta(hours=5)) if computed else moment
    graph = workflow("until").sleep_until(given).then(saying("+")).commit()
    began = trio.current_time()
    assert await output_of(graph, "data", journal=journal) == "data+"
    assert trio.current_time() - began == pytest.approx(5 * 3600, abs=10)


@pytest.mark.rule("D7")
async def test_a_moment_that_is_past_is_due_now(autojump_clock: MockClock) -> None:
    """There is nothing to wait for."""
    began = trio.current_time()
    graph = workflow("past").sleep_until(datetime(2001, 1, 1, tzinfo=UTC)).then(saying("+")).commit()
    assert await output_of(graph, "data") == "data+"
    assert trio.current_time() == began


@pytest.mark.parametrize("moment", ["tomorrow", 5, None, datetime(2030, 1, 1)], ids=str)  # noqa: DTZ001 - naive is tested
async def test_a_function_that_gives_no_moment(moment: object, autojump_clock: MockClock) -> None:
    """What is no aware datetime fails the run with an `InputError`."""
    outcome = await settle(workflow("bad").sleep_until(lambda data, ctx: moment).then(failing("never")).commit())
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["InputError"])


@pytest.mark.rule("D1", "D7")
async def test_a_sleeping_run_is_running_and_can_be_cancelled(journal: str, autojump_clock: MockClock) -> None:
    """With nothing but a timer it is running; a cancel ends it at once, and it stays cancelled."""
    graph = workflow("sleeps").sleep("100 days").then(failing("never")).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(3600)
        assert await run.status() is RunStatus.RUNNING
        assert statuses(await run.describe()).get("never", ["pending"]) == ["pending"]
        began = trio.current_time()
        await run.cancel("no more")
        assert (await run.wait()).status is RunStatus.CANCELLED
        assert trio.current_time() == began
        await trio.sleep(200 * 86_400)
        assert await run.status() is RunStatus.CANCELLED


@pytest.mark.rule("D7", "C10")
async def test_sleeps_beside_each_other(autojump_clock: MockClock) -> None:
    """A thousand elements that sleep do not hold each other up, and hold no place among the live steps."""
    inner = workflow("inner").sleep(lambda data, ctx: data).then(adding("plus")).commit()
    graph = workflow("outer", max_live_steps=5).foreach(inner, concurrency=None).commit()
    began = trio.current_time()
    assert await output_of(graph, [n % 50 for n in range(1000)]) == [n % 50 + 1 for n in range(1000)]
    assert trio.current_time() - began == pytest.approx(49, abs=0.5)


@pytest.mark.rule("D7", "F4")
async def test_a_timer_goes_on_over_closing(sqlite_url: str, autojump_clock: MockClock) -> None:
    """Opened again, a sleeping run waits for the rest of its time only, and what ran before does not run again."""
    ran = []

    @step
    async def before(data, ctx: Context):
        ran.append("before")
        return "data"

    graph = workflow("sleeps").then(before).sleep(3600).then(saying("+")).commit()
    async with opened([graph], journal=sqlite_url) as runtime:
        run = await runtime.start(graph, run_id="r")
        await trio.sleep(1)
        assert statuses(await run.describe())["before"] == ["completed"]
    reopened = trio.current_time()
    async with opened([graph], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == "data+"
    # Virtual time passed in the first runtime is not in the wall clock that the second one begins with.
    assert trio.current_time() - reopened == pytest.approx(3600, abs=60)
    assert ran == ["before"]


@pytest.mark.rule("D7", "F4")
@pytest.mark.parametrize("verb", ["sleep", "sleep_until"])
async def test_a_timer_that_fell_due_meanwhile(
    verb: str, sqlite_url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A timer that fell due while no runtime was open fires at once."""
    builder = workflow("due")
    builder = (
        builder.sleep(3600) if verb == "sleep" else builder.sleep_until(lambda d, ctx: ctx.now() + timedelta(hours=1))
    )
    graph = builder.then(saying("+")).commit()
    async with opened([graph], journal=sqlite_url) as runtime:
        run = await runtime.start(graph, "data", run_id="r")
        await trio.sleep(1)
        later = (runtime.now() + timedelta(days=1)).timestamp()
        assert await run.status() is RunStatus.RUNNING
    monkeypatch.setattr("time.time", lambda: later)
    began = trio.current_time()
    async with opened([graph], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == "data+"
    assert trio.current_time() - began < 1


@pytest.mark.rule("D7", "F4")
async def test_timers_of_elements_that_fell_due_meanwhile(
    sqlite_url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nested sleeps that all fell due meanwhile wake at once, each of them once."""
    woke = []

    @step
    async def wakes(data, ctx: Context):
        woke.append(data)
        return data

    inner = workflow("inner").sleep(lambda data, ctx: data).then(wakes).commit()
    graph = workflow("outer").foreach(inner, concurrency=None).commit()
    delays = [5000, 1000, 4000, 2000, 3000]
    async with opened([graph], journal=sqlite_url) as runtime:
        await runtime.start(graph, delays, run_id="r")
        await trio.sleep(1)
        later = (runtime.now() + timedelta(days=1)).timestamp()
    monkeypatch.setattr("time.time", lambda: later)
    async with opened([graph], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == delays
    assert sorted(woke) == sorted(delays)


# ------------------------------------------------------------------------------------------------ events


@pytest.mark.rule("D6")
@pytest.mark.parametrize("data", [{"ok": True}, [1, 2], "text", 0, False, None], ids=repr)
async def test_the_output_of_a_wait_is_the_event(data: object, journal: str, autojump_clock: MockClock) -> None:
    """The chain goes on with the event's data, once."""
    graph = workflow("waits").then(saying("a")).wait_for_event("go").map(lambda data, ctx: [data]).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph, "")
        await trio.sleep(1)
        await run.send_event("go", data)
        assert await run.result() == [data]


@pytest.mark.rule("D6", "D1", "C1")
async def test_a_waiting_run_is_running(autojump_clock: MockClock) -> None:
    """It shows the wait under its name, and an event of another name changes nothing."""
    graph = workflow("waits").wait_for_event("decision").commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(1)
        await run.send_event("another", 1)
        await trio.sleep(1)
        description = await run.describe()
        assert (description.status, len(description.waits)) == (RunStatus.RUNNING, 1)
        assert "decision" in repr(description.waits[0])
        await run.send_event("decision", 2)
        assert await run.result() == 2
        assert (await run.describe()).waits == ()


@pytest.mark.rule("D6")
async def test_an_early_event_is_kept(journal: str, autojump_clock: MockClock) -> None:
    """An event sent before the chain has come to its wait is there when it does."""
    graph = workflow("early").sleep(3600).wait_for_event("go").commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await run.send_event("go", "early")
        await trio.sleep(10)
        assert await run.status() is RunStatus.RUNNING
        assert await run.result() == "early"


@pytest.mark.rule("D6")
async def test_two_waits_take_two_events_in_order(autojump_clock: MockClock) -> None:
    """Each event goes to one wait: two in a row get the first and the second."""
    graph = (
        workflow("two")
        .wait_for_event("go")
        .then(giving("between", 0))
        .map({"between": from_step("between")})
        .wait_for_event("go")
        .commit()
    )
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        await run.send_event("go", "first")
        await run.send_event("go", "second")
        assert await run.result() == "second"


@pytest.mark.rule("D6")
@pytest.mark.parametrize("sent", [99, 101])
async def test_an_event_in_time_or_too_late(sent: int, journal: str, autojump_clock: MockClock) -> None:
    """Before the timeout the event wins; past it the wait has failed with `StepTimeout`, and the event is refused."""
    graph = workflow("waits").wait_for_event("go", timeout=100).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(sent)
        if sent < 100:
            await run.send_event("go", "in time")
        else:
            with pytest.raises(RunOver):
                await run.send_event("go", "too late")
        outcome = await run.wait()
    assert (outcome.output, kinds(outcome)) == (("in time", []) if sent < 100 else (None, ["StepTimeout"]))


@pytest.mark.rule("D6")
async def test_a_wait_fails_at_its_timeout(autojump_clock: MockClock) -> None:
    """The run fails exactly then, the error hook is called, and nothing behind the wait starts."""
    hooks = []

    async def on_error(error, ctx: Context):
        hooks.append(error.error_type.rpartition(".")[2])

    graph = workflow("waits").wait_for_event("go", timeout="1 hr").then(failing("never")).on_error(on_error).commit()
    began = trio.current_time()
    outcome = await settle(graph)
    assert trio.current_time() - began == pytest.approx(3600, abs=0.1)
    assert (outcome.status, kinds(outcome), hooks) == (RunStatus.FAILED, ["StepTimeout"], ["StepTimeout"])


@pytest.mark.rule("D6")
async def test_an_answered_wait_does_not_time_out_later(autojump_clock: MockClock) -> None:
    """A step still at work when the timeout would have struck is left alone."""

    @step
    async def slow(data, ctx: Context):
        await trio.sleep(1000)
        return data

    graph = workflow("answered").wait_for_event("go", timeout=10).then(slow).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        await run.send_event("go", "went")
        assert await run.result() == "went"


@pytest.mark.rule("D6", "D5")
@pytest.mark.parametrize(
    ("data", "path"),
    [({"ok": "yes"}, "$.ok"), ({}, "ok"), (None, "$"), ({"ok": True, "by": 5}, "$.by")],
    ids=str,
)
async def test_an_event_with_a_type(data: object, path: str, journal: str, autojump_clock: MockClock) -> None:
    """Data that does not fit is refused to its sender with the path, and the wait stays open for a better one."""
    seen = []

    @step
    async def decided(decision: Decision, ctx: Context) -> Decision:
        seen.append(decision)
        return decision

    graph = workflow("typed", output=Decision).wait_for_event("decision", type=Decision).then(decided).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(1)
        with pytest.raises(InputError) as caught:
            await run.send_event("decision", data)
        assert path in str(caught.value)
        assert await run.status() is RunStatus.RUNNING
        await run.send_event("decision", Decision(ok=True))
        assert await run.result() == Decision(ok=True)
    assert seen == [Decision(ok=True)]


@pytest.mark.rule("D6", "D5")
async def test_an_early_event_is_checked_as_well(autojump_clock: MockClock) -> None:
    """The type belongs to the name in the definition: it holds before the wait is open."""
    graph = workflow("typed").sleep(100).wait_for_event("decision", type=Decision).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        with pytest.raises(InputError):
            await run.send_event("decision", {"ok": 1})
        await run.send_event("decision", {"ok": False})
        assert await run.result() == Decision(ok=False)


@pytest.mark.rule("D6", "B2")
@pytest.mark.parametrize("data", [float("nan"), {1, 2}, {1: 2}], ids=["nan", "set", "key"])
async def test_an_event_must_be_json(data: object, autojump_clock: MockClock) -> None:
    """What is no JSON is refused to its sender."""
    graph = workflow("json").wait_for_event("go").commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph)
        with pytest.raises((InputError, NotJsonError)):
            await run.send_event("go", data)
        await run.send_event("go", "fine")
        assert await run.result() == "fine"


@pytest.mark.rule("D6", "D4")
async def test_an_event_finds_the_descendant_that_waits(journal: str, autojump_clock: MockClock) -> None:
    """Sent to the outermost run, it reaches the wait two levels down."""
    inner = workflow("inner").wait_for_event("go").then(saying("!")).commit()
    middle = workflow("middle").then(inner).commit()
    graph = workflow("outer").parallel([middle, giving("other", 1)]).commit()
    async with opened([graph], journal=journal) as runtime:
        run = await runtime.start(graph)
        await trio.sleep(1)
        await run.send_event("go", "hey")
        assert await run.result() == {"middle": "hey!", "other": 1}


@pytest.mark.rule("D6", "C6")
async def test_waits_beside_each_other(autojump_clock: MockClock) -> None:
    """Of nested waits of one name each event ends one; the others time out, within the bound of their group."""
    inner = workflow("inner").wait_for_event("go", timeout=100).commit()
    graph = workflow("outer").foreach(inner, concurrency=None, join=tolerate(count=1)).commit()
    async with opened([graph]) as runtime:
        run = await runtime.start(graph, [0, 1, 2])
        await trio.sleep(1)
        await run.send_event("go", "a")
        await run.send_event("go", "b")
        output = await run.result()
    assert sorted(entry for entry in output if isinstance(entry, str)) == ["a", "b"]
    assert len(output) == 3


@pytest.mark.rule("C6", "D6", "D7")
async def test_the_faster_of_a_timer_and_an_event(autojump_clock: MockClock) -> None:
    """With `first(1)` the wait that was not needed is closed with its child: nothing stays open behind the run."""
    event = workflow("event").wait_for_event("go").commit()
    timer = workflow("timer").sleep(50).map(lambda data, ctx: "late").commit()
    graph = workflow("race").parallel([event, timer], join=first(1)).commit()
    async with opened([graph]) as runtime:
        one = await runtime.start(graph)
        two = await runtime.start(graph)
        await trio.sleep(10)
        await one.send_event("go", "early")
        assert await one.result() == {"event": "early"}
        assert await two.result() == {"timer": "late"}
        assert trio.current_time() < 100
        assert runtime.statistics().live_runs == 0


@pytest.mark.rule("D6", "F4", "D2")
@pytest.mark.parametrize("sent", ["before closing", "after reopening"])
async def test_waits_and_events_survive_closing(sent: str, sqlite_url: str, autojump_clock: MockClock) -> None:
    """An open wait is answered after reopening, and an event that came early is kept over the closing."""
    early = sent == "before closing"
    builder = workflow("waits").then(saying("a"))
    graph = (builder.sleep(600) if early else builder).wait_for_event("go").then(saying("+")).commit()
    async with opened([graph], journal=sqlite_url) as runtime:
        run = await runtime.start(graph, "", run_id="r")
        await trio.sleep(1)
        if early:
            await run.send_event("go", "event")
    async with opened([graph], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        assert await run.status() is RunStatus.RUNNING
        if not early:
            await run.send_event("go", "event")
        assert await run.result() == "event+"


@pytest.mark.rule("D6", "D7", "F4")
async def test_a_timeout_that_struck_while_closed(
    sqlite_url: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait whose timeout passed while no runtime was open has failed when the next one opens."""
    graph = workflow("waits").wait_for_event("go", timeout=3600).commit()
    async with opened([graph], journal=sqlite_url) as runtime:
        await runtime.start(graph, run_id="r")
        await trio.sleep(1)
        later = (runtime.now() + timedelta(days=1)).timestamp()
    monkeypatch.setattr("time.time", lambda: later)
    async with opened([graph], journal=sqlite_url) as runtime:
        outcome = await (await runtime.get_run("r")).wait()
    assert (outcome.status, kinds(outcome)) == (RunStatus.FAILED, ["StepTimeout"])


@pytest.mark.rule("D6", "F4", "E3")
async def test_a_nested_wait_survives_closing(sqlite_url: str, autojump_clock: MockClock) -> None:
    """After reopening an event still finds the child that waits, and the finished sibling stays finished."""
    ran = []

    @step
    async def sibling(data, ctx: Context):
        ran.append("sibling")
        return 1

    inner = workflow("inner").wait_for_event("go").then(saying("!")).commit()
    graph = workflow("outer").parallel([inner, sibling]).commit()
    async with opened([graph], journal=sqlite_url) as runtime:
        await runtime.start(graph, run_id="r")
        await trio.sleep(1)
    async with opened([graph], journal=sqlite_url) as runtime:
        run = await runtime.get_run("r")
        await run.send_event("go", "hey")
        assert await run.result() == {"inner": "hey!", "sibling": 1}
    assert ran == ["sibling"]

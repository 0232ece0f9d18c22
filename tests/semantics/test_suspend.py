"""Suspending one step and resuming it: what is shown, what runs again, what counts (semantics C3, D1, D2, D4)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    Context,
    Graph,
    Retry,
    RunStatus,
    RunSuspended,
    StepStatus,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from tests.semantics.settling import asked, kind, pause, records

Body = Callable[[object, Context], Awaitable[object]]
Flow = type[Workflow] | Graph
STYLE = pytest.mark.parametrize("style", ["class", "graph"])


def flow_of(style: str, body: Body) -> Flow:
    """A workflow with one step `ask`, which runs `body` and gives the run its output."""

    @step(id="ask")
    async def ask(data, ctx: Context):
        return await body(data, ctx)

    if style == "graph":
        return workflow("asking").then(ask).commit()

    class Asking(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("ask", data)

        async def ask(self, data, ctx: Context):
            await ctx.run_store.set("_output", await body(data, ctx))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("_output")

    return Asking


@STYLE
@pytest.mark.rule("D1")
async def test_a_suspension_says_where_and_what_for(style: str, journal: str) -> None:
    """A suspended run settles as suspended, with the step, its path, its label and its payload."""

    async def body(data: object, ctx: Context) -> object:
        return await ctx.suspend({"may I": data}, label="boss")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow, 7, run_id="r")
        outcome = await pause(run)
        (suspension,) = outcome.suspensions
        described = await run.describe()
        assert (suspension.step_id, suspension.path, suspension.label) == ("ask", ("ask",), "boss")
        assert suspension.payload == {"may I": 7}
        assert (outcome.run_id, outcome.output, outcome.error, outcome.failures) == ("r", None, None, ())
        assert (described.status, described.suspensions) == (RunStatus.SUSPENDED, (suspension,))
        (record,) = records(described, "ask")
        assert (record.activation_id, record.status) == (suspension.activation_id, StepStatus.SUSPENDED)
        assert (record.ended_at, record.error, described.ended_at) == (None, None, None)
        assert described.counts[StepStatus.SUSPENDED] == 1
        await run.resume("yes")
        assert await run.result() == "yes"
        described = await run.describe()
        assert (described.suspensions, described.counts[StepStatus.SUSPENDED]) == ((), 0)
        assert [record.status for record in records(described, "ask")] == [StepStatus.COMPLETED]


@STYLE
@pytest.mark.rule("D4")
async def test_what_follows_a_suspend_runs_once_and_only_after_the_answer(style: str, journal: str) -> None:
    """The step begins again from its first line; the line after `suspend` is reached by the second pass alone."""
    lines = []

    async def body(data: object, ctx: Context) -> object:
        lines.append(("before", ctx.resumed, ctx.resume_data, ctx.activation_id))
        given = await ctx.suspend()
        lines.append(("after", ctx.resumed, ctx.resume_data, ctx.activation_id))
        return given

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        (suspension,) = (await pause(run)).suspensions
        name = suspension.activation_id
        assert (lines, suspension.payload, suspension.label) == ([("before", False, None, name)], None, None)
        await run.resume({"n": 1})
        assert await run.result() == {"n": 1}
    assert lines[1:] == [("before", True, {"n": 1}, name), ("after", True, {"n": 1}, name)]


@STYLE
@pytest.mark.rule("D4")
@pytest.mark.parametrize("given", [None, False, 0, "", [], {"deep": [{"er": 1.5}]}, "text"], ids=repr)
async def test_every_json_value_is_an_answer(style: str, given: object, journal: str) -> None:
    """Whatever is sent comes out of `suspend`, also None, which `resumed` tells apart from no answer."""

    async def body(data: object, ctx: Context) -> object:
        found = await ctx.suspend()
        return [found, ctx.resume_data, ctx.resumed]

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume(given)
        assert await run.result() == [given, given, True]


@STYLE
@pytest.mark.rule("D1")
async def test_suspending_unwinds_the_step(style: str, journal: str) -> None:
    """`finally` blocks run at the suspension; `except Exception` cannot swallow it."""
    lines = []

    async def body(data: object, ctx: Context) -> object:
        try:
            return await ctx.suspend("q")
        except Exception:  # noqa: BLE001 - what a step of some user may well do
            lines.append("swallowed")
        finally:
            lines.append("left")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert lines == ["left"]
        await run.resume("a")
        assert await run.result() == "a"
    assert lines == ["left", "left"]


@STYLE
@pytest.mark.rule("C3", "D2")
async def test_what_the_first_pass_did_counts_once(style: str, journal: str) -> None:
    """Verbs, a transaction, `set_state` and `once` before the suspension are not repeated; replies are the same."""
    replies, outside = [], []

    async def call() -> str:
        outside.append(1)
        return "called"

    async def body(data: object, ctx: Context) -> object:
        store = ctx.run_store
        replies.append(
            [
                await store.push("l", "a"),
                await store.push("l", "a"),
                await store.increment("n", 2),
                await store.set_if_absent("first", 1),
                await ctx.once("call", call),
            ]
        )
        async with store.transaction() as tx:
            tx.push("l", "t")
            tx.increment("n", 10)
        await ctx.set_state(typed=5)
        await store.set("s", "set")
        await ctx.suspend()
        return await store.snapshot()

    expected = {"l": ["a", "a", "t"], "n": 12, "first": 1, "typed": 5, "s": "set"}
    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert await run.state() == expected
        await run.resume()
        assert await run.result() == expected
    assert replies == [[1, 2, 2, True, "called"]] * 2
    assert outside == [1]


@STYLE
@pytest.mark.rule("C3", "D4")
async def test_after_a_resume_other_arguments_are_another_operation(style: str, journal: str) -> None:
    """What the second pass does with arguments of its own is new, what it does with the old ones is not."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.push("seen", ctx.resumed)
        await ctx.run_store.push("seen", "same")
        await ctx.suspend()
        await ctx.run_store.push("seen", "end")
        return await ctx.run_store.get("seen")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume()
        assert await run.result() == [False, "same", True, "end"]


@pytest.mark.rule("C3", "D2")
async def test_steps_scheduled_and_events_emitted_before_the_suspension_count_once(journal: str) -> None:
    """A second pass schedules nothing again and emits nothing again; what the first scheduled ran meanwhile."""

    class Schedules(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("other", 1)
            await ctx.schedule_many("other", [2, 3])
            await ctx.emit("note", "n")
            await ctx.suspend()
            await ctx.schedule_next_step("other", 4)

        async def other(self, data, ctx: Context):
            await ctx.run_store.push("others", data)

        async def on_workflow_complete(self, ctx: Context):
            return sorted(await ctx.run_store.get("others"))

    async with open_runtime([Schedules], journal=journal) as runtime:
        run = await runtime.start(Schedules)
        await pause(run)
        assert sorted((await run.state())["others"]) == [1, 2, 3]
        await run.resume()
        assert await run.result() == [1, 2, 3, 4]
        async with run.events() as stream:
            told = [event async for event in stream]
    assert len([event for event in told if "note" in (event.kind, *_names(event.data))]) == 1
    assert told[-1].kind == "run-completed"


def _names(data: object) -> list[object]:
    """The values in an event's data, where it has any."""
    return [value for value in data.values() if isinstance(value, str)] if isinstance(data, dict) else []


@STYLE
@pytest.mark.rule("D2")
async def test_state_can_be_read_and_stays_while_suspended(style: str, journal: str) -> None:
    """`state()` shows everything said before; it is there for the resumed step, typed or not."""

    async def body(data: object, ctx: Context) -> object:
        if not ctx.resumed:
            await ctx.run_store.set("k", {"deep": [1, {"n": None}]})
        await ctx.suspend()
        return await ctx.run_store.get("k")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow, initial_state={"given": 1})
        outcome = await pause(run)
        assert await run.state() == outcome.state == {"given": 1, "k": {"deep": [1, {"n": None}]}}
        await run.resume()
        assert await run.result() == {"deep": [1, {"n": None}]}


@STYLE
@pytest.mark.rule("D2", "D4")
async def test_two_suspending_steps_in_a_row(style: str, journal: str) -> None:
    """The second of two steps suspends as the first did; each gets its own answer and the first is not run again."""
    passes = []

    @step
    async def one(data, ctx: Context):
        passes.append("one")
        return [await ctx.suspend("q1")]

    @step
    async def two(data, ctx: Context):
        passes.append("two")
        return [*data, await ctx.suspend("q2")]

    class InARow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("one")

        async def one(self, data, ctx: Context):
            passes.append("one")
            await ctx.schedule_next_step("two", [await ctx.suspend("q1")])

        async def two(self, data, ctx: Context):
            passes.append("two")
            await ctx.run_store.set("out", [*data, await ctx.suspend("q2")])

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("out")

    flow = InARow if style == "class" else workflow("in-a-row").then(one).then(two).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        assert [found.payload for found in (await pause(run)).suspensions] == ["q1"]
        await run.resume("a1")
        assert [found.payload for found in (await pause(run)).suspensions] == ["q2"]
        await run.resume("a2")
        assert await run.result() == ["a1", "a2"]
    assert passes == ["one", "one", "two", "two"]


@pytest.mark.rule("D4")
async def test_the_condition_of_a_branch_is_not_asked_again(journal: str) -> None:
    """Data shaped by a map, a chosen branch, a suspension in it: resuming runs that branch's step and nothing else."""
    calls = []

    @step
    async def big(data, ctx: Context):
        calls.append("big")
        return [data, await ctx.suspend()]

    @step
    async def small(data, ctx: Context):
        calls.append("small")

    @step
    async def last(data, ctx: Context):
        calls.append("last")
        return data

    async def shape(data: object, ctx: Context) -> object:
        calls.append("map")
        return {"n": data}

    def is_big(data: dict[str, int], ctx: Context) -> bool:
        calls.append("is big")
        return data["n"] > 10

    def is_small(data: dict[str, int], ctx: Context) -> bool:
        calls.append("is small")
        return data["n"] <= 10

    flow = workflow("sizes").map(shape).branch([(is_big, big), (is_small, small)]).then(last).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, 50)
        await pause(run)
        assert calls == ["map", "is big", "is small", "big"]
        await run.resume("ok")
        assert await run.result() == {"big": [{"n": 50}, "ok"]}
    assert calls == ["map", "is big", "is small", "big", "big", "last"]


@pytest.mark.rule("D4", "D2")
@pytest.mark.parametrize("verb", ["do_until", "do_while"])
async def test_a_loop_that_counts_in_the_state_suspends_once_a_round(verb: str, journal: str) -> None:
    """Each iteration suspends, gets its own answer, and the condition sees what it wrote to the state."""
    rounds = []

    @step
    async def body(data, ctx: Context):
        rounds.append(ctx.iteration)
        given = await ctx.suspend(f"round {ctx.iteration}")
        await ctx.run_store.push("answers", given)
        return await ctx.run_store.increment("n")

    async def enough(data: object, ctx: Context) -> bool:
        return await ctx.run_store.get("n") >= 3

    async def go_on(data: object, ctx: Context) -> bool:
        return await ctx.run_store.get("n") < 3

    builder = workflow("loop")
    builder = builder.do_until(body, enough) if verb == "do_until" else builder.do_while(body, go_on)
    async with open_runtime([flow := builder.commit()], journal=journal) as runtime:
        run = await runtime.start(flow)
        seen = set()
        for n in (1, 2, 3):
            (suspension,) = (await pause(run)).suspensions
            assert suspension.payload == f"round {n}"
            seen.add(suspension.activation_id)
            await run.resume(n * 10)
        outcome = await run.wait()
    assert (outcome.status, outcome.output) == (RunStatus.COMPLETED, 3)
    assert outcome.state == {"answers": [10, 20, 30], "n": 3}
    assert (rounds, len(seen)) == ([1, 1, 2, 2, 3, 3], 3)


@pytest.mark.rule("D1")
async def test_start_itself_may_suspend(journal: str) -> None:
    """The entry point is a step like any other: what it returns after its answer is the run's output."""

    class Start(Workflow):
        async def start(self, data, ctx: Context):
            return [data, await ctx.suspend()]

    async with open_runtime([Start], journal=journal) as runtime:
        run = await runtime.start(Start, 1)
        (suspension,) = (await pause(run)).suspensions
        assert suspension.path == ("start",)
        await run.resume(2, step="start")
        assert await run.result() == [1, 2]


@STYLE
@pytest.mark.rule("D1")
@pytest.mark.parametrize("payload", [float("nan"), {1, 2}, b"bytes"], ids=["nan", "set", "bytes"])
async def test_a_payload_that_is_not_json_is_refused_at_the_call(style: str, payload: object, journal: str) -> None:
    """`suspend` raises what every verb raises for such a value; a step that lets it through fails."""

    async def body(data: object, ctx: Context) -> object:
        return await ctx.suspend(payload)

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        outcome = await (await runtime.start(flow)).wait()
    assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "NotJsonError")


@attrs.define
class Question:
    """What a step asks for."""

    text: str
    amounts: list[int] = attrs.field(factory=list)


@step(id="typed", suspend=Question)
async def asks_typed(data, ctx: Context):
    """Suspends with what it was given."""
    return await ctx.suspend(Question(*data) if len(data) == 2 else {"text": data[0]})


@pytest.mark.rule("D1", "B2")
async def test_a_declared_payload_type_is_shown_as_json_and_checked(journal: str) -> None:
    """A payload of the step's suspend type becomes JSON with its defaults; one that does not fit fails the step."""
    flow = workflow("typed-question").then(asks_typed).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, ["how much?", [1, 2]])
        (suspension,) = (await pause(run)).suspensions
        assert suspension.payload == {"text": "how much?", "amounts": [1, 2]}
        await run.resume("3")
        assert await run.result() == "3"
        outcome = await (await runtime.start(flow, [5])).wait()
    assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "InputError")


@STYLE
@pytest.mark.rule("D1")
async def test_the_stream_goes_on_over_a_suspension(style: str, journal: str) -> None:
    """A reader from the start sees one stream with rising numbers, before and after, to the terminal event."""
    told = []

    async def body(data: object, ctx: Context) -> object:
        return await ctx.suspend("q")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)

        async def read() -> None:
            async with run.events() as stream:
                async for event in stream:
                    told.append(event)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            await pause(run)
            before = len(await run.history())
            await run.resume("a")
            assert await run.result() == "a"
    assert [event.seq for event in told] == sorted({event.seq for event in told})
    assert told[-1].kind == "run-completed"
    assert len([event for event in told if event.seq > before]) >= 2


@STYLE
@pytest.mark.rule("D5", "C5")
async def test_the_time_of_a_suspension_is_no_part_of_the_timeout(style: str, autojump_clock: MockClock) -> None:
    """A step with a timeout of ten seconds may be suspended for a day."""

    class Patient(Workflow):
        @step(timeout=10)
        async def start(self, data, ctx: Context):
            return await ctx.suspend("q")

    @step(timeout=10)
    async def patient(data, ctx: Context):
        return await ctx.suspend("q")

    flow = Patient if style == "class" else workflow("patient").then(patient).commit()
    async with open_runtime([flow]) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await trio.sleep(86_400)
        assert await run.status() is RunStatus.SUSPENDED
        await run.resume("late")
        assert await run.result() == "late"


@pytest.mark.rule("D2", "C3")
async def test_a_step_that_called_without_reply_before_it_suspended(journal: str) -> None:
    """Writes without reply before the suspension are all applied, once, whatever the second pass does."""

    async def body(data: object, ctx: Context) -> object:
        for n in range(20):
            ctx.run_store.push_nowait("l", n)
        ctx.run_store.increment_nowait("n", 1)
        await ctx.suspend()
        return await ctx.run_store.snapshot()

    expected = {"l": list(range(20)), "n": 1}
    async with open_runtime([flow := flow_of("class", body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert await run.state() == expected
        await run.resume()
        assert await run.result() == expected


@STYLE
@pytest.mark.rule("A5", "D1")
async def test_a_refused_write_without_reply_is_not_forgotten_over_a_suspension(style: str, journal: str) -> None:
    """A write without reply that was refused in the first pass fails the step, be it there or at its end."""

    async def body(data: object, ctx: Context) -> object:
        if not ctx.resumed:
            await ctx.run_store.set("text", "no number")
            ctx.run_store.increment_nowait("text", 1)
        return await ctx.suspend()

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        outcome = await run.wait()
        if outcome.status is RunStatus.SUSPENDED:
            await run.resume()
            outcome = await run.wait()
    assert (outcome.status, kind(outcome.error)) == (RunStatus.FAILED, "StateTypeError")


@pytest.mark.rule("D1", "D3")
async def test_a_suspension_inside_a_task_group_of_the_step(journal: str) -> None:
    """`suspend` called in a nursery of the step ends the whole pass, cancelling the other tasks, and is no failure."""
    lines = []

    async def beside() -> None:
        try:
            await trio.sleep_forever()
        finally:
            lines.append("beside left")

    async def body(data: object, ctx: Context) -> object:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(beside)
            await trio.testing.wait_all_tasks_blocked()
            lines.append(await ctx.suspend("q"))
            nursery.cancel_scope.cancel()
        return "done"

    async with open_runtime([flow := flow_of("class", body)], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        assert lines == ["beside left"]
        await run.resume("a")
        assert await run.result() == "done"
    assert lines == ["beside left", "a", "beside left"]


@STYLE
@pytest.mark.rule("C5", "D5")
async def test_a_suspension_in_a_second_attempt(style: str, autojump_clock: MockClock) -> None:
    """A step may fail first and suspend in its retry: the attempt number stays that of the retry."""
    attempts = []

    async def body(data: object, ctx: Context) -> object:
        attempts.append(ctx.attempt)
        if ctx.attempt == 1:
            raise ValueError("first attempt")
        return await ctx.suspend("q")

    class Later(Workflow):
        @step(retry=Retry(attempts=2, jitter=0.0))
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    later = step(id="later", retry=Retry(attempts=2, jitter=0.0))(body)
    flow = Later if style == "class" else workflow("later").then(later).commit()
    async with open_runtime([flow]) as runtime:
        run = await runtime.start(flow)
        await trio.sleep(60)
        assert set(await asked(run)) == {"q"}
        await run.resume("a")
        assert await run.result() == "a"
    assert attempts == [1, 2, 2]


@STYLE
@pytest.mark.rule("D1")
async def test_result_of_a_suspended_run_raises_with_its_suspensions(style: str, journal: str) -> None:
    """`result()` and `Runtime.run` raise RunSuspended, with the run's id and where it waits; the run goes on after."""

    async def body(data: object, ctx: Context) -> object:
        return await ctx.suspend("q", label="x")

    async with open_runtime([flow := flow_of(style, body)], journal=journal) as runtime:
        with pytest.raises(RunSuspended) as caught:
            await runtime.run(flow, run_id="r")
        assert caught.value.run_id == "r"
        assert [(found.payload, found.label) for found in caught.value.suspensions] == [("q", "x")]
        run = await runtime.get_run("r")
        with pytest.raises(RunSuspended):
            await run.result()
        await run.resume("a")
        assert await runtime.run(flow, run_id="r") == "a"

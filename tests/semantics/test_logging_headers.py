"""What a step is told about itself and what it can tell the world: ids, headers, input, log, emit.

Not here: the store, scheduling, ctx.state with a schema.
"""

from __future__ import annotations

import contextlib
import logging

import pytest
import trio

from actorflow import (
    ActorflowError,
    Context,
    Retry,
    RunStatus,
    Workflow,
    open_runtime,
    step,
)

# ------------------------------------------------------------------------------------------------ ids


async def test_the_context_names_run_workflow_and_step(journal: str) -> None:
    """run_id, workflow_id, step_id and attempt are those of the run and step that own the context."""
    seen: list[tuple[str, str, str, int]] = []

    class Flow(Workflow):
        id = "the-flow"

        async def start(self, data, ctx: Context):
            seen.append((ctx.run_id, ctx.workflow_id, ctx.step_id, ctx.attempt))
            await ctx.schedule_next_step("other")

        async def other(self, data, ctx: Context):
            seen.append((ctx.run_id, ctx.workflow_id, ctx.step_id, ctx.attempt))

        async def on_workflow_complete(self, ctx: Context):
            seen.append((ctx.run_id, ctx.workflow_id, "hook", 1))

    async with open_runtime([Flow], journal=journal) as runtime:
        await runtime.run(Flow, run_id="r")
    assert seen == [("r", "the-flow", name, 1) for name in ("start", "other", "hook")]


async def test_every_activation_has_an_id_of_its_own(journal: str) -> None:
    """Fifty branches of one action in two runs have a hundred ids: those of their handles and of describe."""
    ids: list[str] = []
    handles: list[str] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(50):
                handles.append((await ctx.schedule_next_step("work", n)).activation_id)

        async def work(self, data, ctx: Context):
            ids.append(ctx.activation_id)

    async with open_runtime([Flow], journal=journal) as runtime:
        for run_id in ("a", "b"):
            ids.clear()
            handles.clear()
            run = await runtime.start(Flow, run_id=run_id)
            await run.wait()
            described = [record.activation_id for record in (await run.describe()).steps if record.step_id == "work"]
            assert len(set(ids)) == 50
            assert sorted(ids) == sorted(handles) == sorted(described)
            assert all(isinstance(activation_id, str) for activation_id in ids)


async def test_the_activation_id_is_stable_over_attempts(autojump_clock) -> None:
    """A retried step keeps its activation id while attempt counts 1, 2, 3."""
    seen: list[tuple[str, int]] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("flaky")

        @step(retry=Retry(attempts=3, delay=1.0))
        async def flaky(self, data, ctx: Context):
            seen.append((ctx.activation_id, ctx.attempt))
            if ctx.attempt < 3:
                raise OSError("not yet")

    async with open_runtime([Flow]) as runtime:
        run = await runtime.start(Flow)
        assert (await run.wait()).status is RunStatus.COMPLETED
        (record,) = [record for record in (await run.describe()).steps if record.step_id == "flaky"]
    assert [attempt for _, attempt in seen] == [1, 2, 3]
    assert {activation_id for activation_id, _ in seen} == {record.activation_id}
    assert record.attempts == 3


async def test_the_input_of_the_run_is_readable_everywhere(journal: str) -> None:
    """ctx.input is the run's input in every step and hook; spoiling a copy spoils nobody else's."""
    seen: list[object] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            data["items"].append("spoiled")
            await ctx.schedule_next_step("other", {"own": 1})

        async def other(self, data, ctx: Context):
            seen.append([data, ctx.input])

        async def on_workflow_complete(self, ctx: Context):
            seen.append(ctx.input)

    given = {"items": [1]}
    async with open_runtime([Flow], journal=journal) as runtime:
        await runtime.run(Flow, given)
    assert seen == [[{"own": 1}, {"items": [1]}], {"items": [1]}]
    assert given == {"items": [1]}


# ------------------------------------------------------------------------------------------------ headers


async def test_headers_reach_every_step_and_hook(journal: str) -> None:
    """The mapping given at start is the same in start, in a scheduled step and in the hook."""
    seen: list[object] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            seen.append(dict(ctx.headers))
            await ctx.schedule_next_step("other")

        async def other(self, data, ctx: Context):
            seen.append(dict(ctx.headers))

        async def on_workflow_complete(self, ctx: Context):
            seen.append(dict(ctx.headers))

    given = {"trace": "t-1", "tenant": "north"}
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, headers=given)
        given["tenant"] = "changed by the caller"
        await run.wait()
    assert seen == [{"trace": "t-1", "tenant": "north"}] * 3


async def test_without_headers_the_mapping_is_empty(journal: str) -> None:
    """A run started without headers has an empty mapping, not None."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            return [len(ctx.headers), ctx.headers.get("trace", "nothing")]

    async with open_runtime([Flow], journal=journal) as runtime:
        assert await runtime.run(Flow) == [0, "nothing"]


async def test_a_step_cannot_change_the_headers_of_others(journal: str) -> None:
    """Writing into ctx.headers is refused, or at least stays in that step."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            with contextlib.suppress(TypeError, AttributeError):
                ctx.headers["trace"] = "spoiled"  # type: ignore[index]  # that it is refused is what the test is about
            await ctx.schedule_next_step("other")

        async def other(self, data, ctx: Context):
            await ctx.run_store.set("trace", ctx.headers["trace"])

    async with open_runtime([Flow], journal=journal) as runtime:
        outcome = await (await runtime.start(Flow, headers={"trace": "t-1"})).wait()
    assert outcome.state == {"trace": "t-1"}


async def test_headers_belong_to_one_run(journal: str) -> None:
    """Two runs at once each see their own headers."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("other")

        async def other(self, data, ctx: Context):
            await ctx.run_store.set("trace", ctx.headers["trace"])

    async with open_runtime([Flow], journal=journal) as runtime:
        runs = [await runtime.start(Flow, headers={"trace": str(n)}) for n in range(5)]
        assert [(await run.wait()).state for run in runs] == [{"trace": str(n)} for n in range(5)]


async def test_headers_and_input_survive_a_new_opening(sqlite_url: str) -> None:
    """A run taken up by another opening has the headers and the input it was started with."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            if not live.is_set():
                live.set()
                await trio.sleep_forever()
            return [dict(ctx.headers), ctx.input, ctx.attempt]

    live = trio.Event()
    async with open_runtime([Flow], journal=sqlite_url, shutdown_grace=0) as runtime:
        await runtime.start(Flow, {"n": 1}, run_id="r", headers={"trace": "t-1"})
        await live.wait()
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        assert await (await runtime.get_run("r")).result() == [{"trace": "t-1"}, {"n": 1}, 1]


# ------------------------------------------------------------------------------------------------ log


def _records(caplog: pytest.LogCaptureFixture, text: str) -> list[logging.LogRecord]:
    return [record for record in caplog.records if text in record.getMessage()]


def _field(record: logging.LogRecord, *names: str) -> object:
    """The first attribute of the record that is there under one of the names."""
    return next((record.__dict__[name] for name in names if name in record.__dict__), None)


async def test_log_records_carry_run_step_and_attempt(autojump_clock, caplog) -> None:
    """A line logged by the second attempt of a step says which run, step and attempt it is from."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("flaky")

        @step(retry=Retry(attempts=2, delay=1.0))
        async def flaky(self, data, ctx: Context):
            ctx.log.info("trying %s of %d", "part", 7)
            if ctx.attempt == 1:
                raise OSError("not yet")

    with caplog.at_level(logging.INFO):
        async with open_runtime([Flow]) as runtime:
            await runtime.run(Flow, run_id="run-77")
    lines = _records(caplog, "trying part of 7")
    assert [line.levelno for line in lines] == [logging.INFO] * 2
    assert [_field(line, "run_id", "run") for line in lines] == ["run-77"] * 2
    assert [_field(line, "step_id", "step") for line in lines] == ["flaky"] * 2
    assert [_field(line, "attempt") for line in lines] == [1, 2]


@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "critical"])
async def test_every_level_is_logged_as_that_level(journal: str, caplog, level: str) -> None:
    """ctx.log has the usual levels, and a record keeps its level."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            getattr(ctx.log, level)("a line at %s", level)

    with caplog.at_level(logging.DEBUG):
        async with open_runtime([Flow], journal=journal) as runtime:
            await runtime.run(Flow)
    assert [record.levelname.lower() for record in _records(caplog, f"a line at {level}")] == [level]


async def test_log_lines_of_concurrent_runs_do_not_mix(journal: str, caplog) -> None:
    """Each line carries the id of its own run, however the steps interleave."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(5):
                ctx.log.info("line %d of %s", n, data)
                await trio.lowlevel.checkpoint()

    with caplog.at_level(logging.INFO):
        async with open_runtime([Flow], journal=journal) as runtime:
            async with trio.open_nursery() as nursery:
                for name in ("one", "two", "three"):
                    nursery.start_soon(lambda name=name: runtime.run(Flow, name, run_id=name))
    for name in ("one", "two", "three"):
        lines = _records(caplog, f" of {name}")
        assert [line.getMessage() for line in lines] == [f"line {n} of {name}" for n in range(5)]
        assert {_field(line, "run_id", "run") for line in lines} == {name}


async def test_log_lines_stay_readable_in_the_history(journal: str) -> None:
    """What a step logged is found in the run's history, in order, with its step, also after the end."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            ctx.log.warning("first line about %s", "apples")
            await ctx.run_store.set("k", 1)
            ctx.log.warning("second line")
            await ctx.schedule_next_step("other")

        async def other(self, data, ctx: Context):
            ctx.log.warning("third line")

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        await run.wait()
        facts = [repr(fact) for fact in await run.history()]
    positions = []
    for text in ("first line about apples", "second line", "third line"):
        found = [index for index, fact in enumerate(facts) if text in fact]
        assert len(found) == 1, text
        positions += found
    assert positions == sorted(positions)


async def test_log_lines_in_the_history_survive_a_new_opening(sqlite_url: str) -> None:
    """The log of a finished run is read back from a durable journal."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            ctx.log.error("kept for later")

    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        await runtime.run(Flow, run_id="r")
    async with open_runtime([Flow], journal=sqlite_url) as runtime:
        facts = await (await runtime.get_run("r")).history()
    assert len([fact for fact in facts if "kept for later" in repr(fact)]) == 1


async def test_a_value_that_json_does_not_know_can_be_logged(journal: str, caplog) -> None:
    """Logging never fails a step: any object is logged as its text, an exception with its traceback."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            ctx.log.info("set %s and bytes %r", {1}, b"x")
            try:
                raise OSError("seen")
            except OSError:
                ctx.log.exception("went wrong")
            return "done"

    with caplog.at_level(logging.INFO):
        async with open_runtime([Flow], journal=journal) as runtime:
            assert await runtime.run(Flow) == "done"
    assert len(_records(caplog, "set {1} and bytes b'x'")) == 1
    (line,) = _records(caplog, "went wrong")
    assert line.exc_info is not None
    assert isinstance(line.exc_info[1], OSError)


async def test_hooks_and_failed_steps_can_log(journal: str, caplog) -> None:
    """The last words of a step that fails, and those of the error hook, are logged and kept."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            ctx.log.info("last words")
            raise ValueError("on purpose")

        async def on_workflow_error(self, error, ctx: Context):
            ctx.log.info("hook was here")

    with caplog.at_level(logging.INFO):
        async with open_runtime([Flow], journal=journal) as runtime:
            run = await runtime.start(Flow, run_id="r")
            await run.wait()
            facts = [repr(fact) for fact in await run.history()]
    for text in ("last words", "hook was here"):
        (line,) = _records(caplog, text)
        assert _field(line, "run_id", "run") == "r"
        assert any(text in fact for fact in facts)


# ------------------------------------------------------------------------------------------------ emit


def _named(events: list, name: str) -> list:
    """The custom events of that name, wherever an event keeps its name."""
    return [event for event in events if name in event.kind or name in repr(event.data)]


async def _read(run) -> list:
    async with run.events() as stream:
        return [event async for event in stream]


async def test_emitted_events_come_in_order_with_step_and_data(journal: str) -> None:
    """Custom events stand on the run's stream in the order of their calls, with the step that emitted them."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            for n in range(5):
                await ctx.emit("progress-made", {"n": n})
            await ctx.emit("bare-word")

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow, run_id="r")
        events = await _read(run)
    progress = _named(events, "progress-made")
    assert len(progress) == 5
    assert all(repr(n) in repr(event.data) for n, event in enumerate(progress))
    assert {(event.run_id, event.step_id) for event in progress} == {("r", "start")}
    assert [event.seq for event in progress] == sorted(event.seq for event in progress)
    assert len(_named(events, "bare-word")) == 1
    assert events[-1].kind == "run-completed"


async def test_an_event_reaches_a_live_reader_while_the_step_still_runs(journal: str) -> None:
    """A reader sees an emitted event without waiting for the end of the step that emitted it."""
    received = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.emit("half-way", {"percent": 50})
            await received.wait()
            return "done"

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        async with run.events() as stream:
            async for event in stream:
                if _named([event], "half-way"):
                    received.set()
        assert received.is_set()
        assert await run.result() == "done"


async def test_two_readers_see_the_same_stream(journal: str) -> None:
    """Readers do not take events from each other."""
    streams: list[list] = []

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await go.wait()
            for n in range(20):
                await ctx.emit("tick", n)

    go = trio.Event()
    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)

        async def read() -> None:
            streams.append([(event.seq, event.kind) for event in await _read(run)])

        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(read)
            go.set()
    assert len(streams) == 3
    assert streams[0] == streams[1] == streams[2]
    assert len(streams[0]) >= 21


@pytest.mark.rule("C3")
async def test_a_retried_step_emits_once(autojump_clock) -> None:
    """What the first attempt emitted is not emitted again by the second; what is new is."""

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("flaky")

        @step(retry=Retry(attempts=3, delay=1.0))
        async def flaky(self, data, ctx: Context):
            await ctx.emit("always-said", {"n": 1})
            if ctx.attempt < 3:
                raise OSError("not yet")
            await ctx.emit("said-at-the-end")

    async with open_runtime([Flow]) as runtime:
        events = await _read(await runtime.start(Flow))
    assert len(_named(events, "always-said")) == 1
    assert len(_named(events, "said-at-the-end")) == 1


@pytest.mark.parametrize("data", [float("nan"), {1, 2}, b"x", {1: "key"}], ids=["nan", "set", "bytes", "int key"])
async def test_emit_refuses_what_is_not_json(journal: str, data) -> None:
    """Bad data is refused at the call, no event appears, and the step goes on."""

    class Flow(Workflow):
        async def start(self, _, ctx: Context):
            try:
                await ctx.emit("refused-one", data)
            except ActorflowError:
                return "refused"

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        assert await run.result() == "refused"
        assert _named(await _read(run), "refused-one") == []


async def test_emitted_data_is_a_private_copy(journal: str) -> None:
    """Changing what was emitted afterwards does not change the event."""
    read = trio.Event()

    class Flow(Workflow):
        async def start(self, data, ctx: Context):
            sent = {"items": ["kept"]}
            await ctx.emit("a-copy", sent)
            sent["items"].append("smuggled")
            await read.wait()

    async with open_runtime([Flow], journal=journal) as runtime:
        run = await runtime.start(Flow)
        events = []
        async with run.events() as stream:
            async for event in stream:
                events.append(event)
                if _named([event], "a-copy"):
                    read.set()
    (event,) = _named(events, "a-copy")
    assert "kept" in repr(event.data)
    assert "smuggled" not in repr(event.data)

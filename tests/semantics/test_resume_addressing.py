"""Which suspension a `resume` means, what it refuses, and what the step finds afterwards (semantics D4, D5)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import attrs
import pytest
import trio
from trio.testing import MockClock

from actorflow import (
    AmbiguousResume,
    Context,
    Graph,
    InputError,
    NotJsonError,
    NotSuspended,
    Retry,
    Run,
    RunOver,
    RunStatus,
    Suspension,
    Workflow,
    open_runtime,
    step,
    workflow,
)
from tests.semantics.settling import answer, kind, pause, until, until_asked

Flow = type[Workflow] | Graph


class Ask(Workflow):
    """Suspends in `approve`, in `confirm` and in two of `each`, or in those of them that the input names."""

    async def start(self, data, ctx: Context):
        for action in data or ["approve", "confirm", "each", "each"]:
            number = await ctx.run_store.increment("branches")
            await ctx.schedule_next_step(action, number)

    async def approve(self, data, ctx: Context):
        await ctx.run_store.set("approve", await ctx.suspend("approve", label="boss"))

    async def confirm(self, data, ctx: Context):
        await ctx.run_store.set("confirm", await ctx.suspend("confirm"))

    async def each(self, data, ctx: Context):
        await ctx.run_store.set(f"each{data}", await ctx.suspend(f"each{data}", label=f"each-{data}"))

    async def on_workflow_complete(self, ctx: Context):
        return await ctx.run_store.snapshot()


@step
async def approve(data, ctx: Context):
    """Asks the boss."""
    return await ctx.suspend("approve", label="boss")


@step
async def confirm(data, ctx: Context):
    """Asks anybody."""
    return await ctx.suspend("confirm")


single = workflow("single").then(approve).commit()
pair = workflow("pair").parallel([approve, confirm]).commit()
nested_pair = workflow("nested-pair").parallel([pair, confirm]).commit()

ADDRESSES: dict[str, Callable[[Suspension], dict[str, str]]] = {
    "nothing": lambda found: {},
    "step id": lambda found: {"step": found.step_id},
    "path": lambda found: {"step": ".".join(found.path)},
    "label": lambda found: {"label": str(found.label)},
    "activation id": lambda found: {"step": found.activation_id},
    "step and label": lambda found: {"step": found.step_id, "label": str(found.label)},
}


@pytest.mark.rule("D4")
@pytest.mark.parametrize("how", ADDRESSES)
@pytest.mark.parametrize("flow", [Ask, single], ids=["class", "graph"])
async def test_one_suspension_is_found_by_every_address(how: str, flow: Flow, journal: str) -> None:
    """A single suspension is resumed by nothing at all, step id, path, label or activation id."""
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, ["approve"])
        (suspension,) = (await pause(run)).suspensions
        await run.resume("ok", **ADDRESSES[how](suspension))
        output = await run.result()
    assert output in ("ok", {"branches": 1, "approve": "ok"})


@pytest.mark.rule("D4")
@pytest.mark.parametrize("how", [how for how in ADDRESSES if how != "nothing"])
@pytest.mark.parametrize("flow", [Ask, pair], ids=["class", "graph"])
async def test_one_of_several_is_found_by_its_address(how: str, flow: Flow, journal: str) -> None:
    """Beside others, the one that is addressed is resumed and no other."""
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        before = {found.payload: found for found in (await pause(run)).suspensions}
        await run.resume("ok", **ADDRESSES[how](before["approve"]))
        after = {found.payload for found in (await pause(run)).suspensions}
    assert after == set(before) - {"approve"}


@pytest.mark.rule("D4")
@pytest.mark.parametrize("address", [{}, {"step": "each"}], ids=["nothing", "step id"])
async def test_several_candidates_are_ambiguous(address: dict[str, str], journal: str) -> None:
    """Several candidates raise AmbiguousResume, which lists them, and nothing is resumed."""
    async with open_runtime([Ask], journal=journal) as runtime:
        run = await runtime.start(Ask, ["each", "each"])
        before = (await pause(run)).suspensions
        facts = len(await run.history())
        with pytest.raises(AmbiguousResume) as caught:
            await run.resume("ok", **address)
        assert len(caught.value.candidates) == 2
        text = f"{caught.value} {caught.value.candidates}"
        assert all(found.activation_id in text or str(found.label) in text for found in before)
        assert (await pause(run)).suspensions == before
        assert len(await run.history()) == facts
        for found in before:
            await run.resume(found.label, label=found.label)
        assert await run.result() == {"branches": 2, "each1": "each-1", "each2": "each-2"}


@pytest.mark.rule("D4")
async def test_one_label_twice_is_ambiguous(journal: str) -> None:
    """Two suspensions with one label are told apart by something else."""
    async with open_runtime([Ask], journal=journal) as runtime:
        run = await runtime.start(Ask, ["approve", "approve"])
        one, two = (await pause(run)).suspensions
        with pytest.raises(AmbiguousResume):
            await run.resume("ok", label="boss")
        await run.resume("ok", step=one.activation_id)
        await pause(run)
        await run.resume("ok", label="boss")
        assert (await run.wait()).status is RunStatus.COMPLETED
        assert one.activation_id != two.activation_id


@pytest.mark.rule("D4")
async def test_an_element_of_a_foreach_is_found_by_label_and_activation(journal: str) -> None:
    """The elements share a step id: that one is ambiguous, labels and activation ids are not."""

    @step
    async def ask(data, ctx: Context):
        return await ctx.suspend({"n": data}, label=f"item-{data}")

    async with open_runtime(
        [flow := workflow("each").foreach(ask, concurrency=3).commit()], journal=journal
    ) as runtime:
        run = await runtime.start(flow, [0, 1, 2])
        found = {suspension.label: suspension for suspension in (await pause(run)).suspensions}
        with pytest.raises(AmbiguousResume):
            await run.resume("all", step="ask")
        await run.resume("one", label="item-1")
        await run.resume("two", step=found["item-2"].activation_id)
        (last,) = (await pause(run)).suspensions
        assert last.payload == {"n": 0}
        await run.resume("zero", step="ask")
        assert await run.result() == ["zero", "one", "two"]


@pytest.mark.rule("D4")
async def test_the_same_step_id_at_two_depths(journal: str) -> None:
    """`confirm` stands in the run and in its child: the bare id is ambiguous, the path into the child is not."""
    async with open_runtime([nested_pair], journal=journal) as runtime:
        run = await runtime.start(nested_pair)
        found = {suspension.path for suspension in (await pause(run)).suspensions}
        assert found == {("pair", "approve"), ("pair", "confirm"), ("confirm",)}
        with pytest.raises(AmbiguousResume):
            await run.resume("?", step="confirm")
        await run.resume("inner", step="pair.confirm")
        await run.resume("boss", step="approve")
        await run.resume("outer", step="confirm")
        assert await run.result() == {"pair": {"approve": "boss", "confirm": "inner"}, "confirm": "outer"}


UNKNOWN = [
    {"step": "nobody"},
    {"step": "start"},
    {"step": "approve.confirm"},
    {"label": "nobody"},
    {"label": "approve"},
    {"step": "999"},
    {"step": ""},
    {"step": "confirm", "label": "boss"},
]


@pytest.mark.rule("D4", "D5")
@pytest.mark.parametrize("address", UNKNOWN, ids=lambda address: " ".join(address.values()) or "empty")
async def test_what_is_not_suspended_cannot_be_resumed(address: dict[str, str], journal: str) -> None:
    """An unknown step, label or path, a finished step, or a step and a label that do not meet: NotSuspended."""
    async with open_runtime([Ask], journal=journal) as runtime:
        run = await runtime.start(Ask, ["approve", "confirm"])
        before = (await pause(run)).suspensions
        facts = len(await run.history())
        with pytest.raises(NotSuspended) as caught:
            await run.resume("ok", **address)
        assert caught.value.run_id == run.run_id
        assert ((await pause(run)).suspensions, len(await run.history())) == (before, facts)


@pytest.mark.rule("D5")
@pytest.mark.parametrize("address", [{}, {"step": "start"}, {"label": "x"}], ids=["nothing", "step", "label"])
async def test_a_running_run_without_suspensions_cannot_be_resumed(address: dict[str, str], journal: str) -> None:
    """A live step is not suspended, whatever it may be later."""
    live, release = trio.Event(), trio.Event()

    class Busy(Workflow):
        async def start(self, data, ctx: Context):
            live.set()
            await release.wait()
            return "done"

    async with open_runtime([Busy], journal=journal) as runtime:
        run = await runtime.start(Busy)
        await live.wait()
        with pytest.raises(NotSuspended):
            await run.resume(1, **address)
        release.set()
        assert await run.result() == "done"


@pytest.mark.rule("D5", "A7")
@pytest.mark.parametrize("end", ["completed", "failed", "cancelled"])
async def test_after_the_end_a_resume_is_run_over(end: str, journal: str) -> None:
    """A resume of a run that is over raises RunOver, however it ended, for what was suspended and for anything else."""

    class Ends(Workflow):
        async def start(self, data, ctx: Context):
            if await ctx.suspend("q") == "failed":
                raise ValueError("the end")

    async with open_runtime([Ends], journal=journal) as runtime:
        run = await runtime.start(Ends)
        (suspension,) = (await pause(run)).suspensions
        await (run.cancel() if end == "cancelled" else run.resume(end))
        assert (await run.wait()).status is RunStatus(end)
        for address in ({}, {"step": "start"}, {"step": suspension.activation_id}, {"label": "x"}):
            with pytest.raises(RunOver):
                await run.resume("again", **address)


@pytest.mark.rule("D5")
async def test_resuming_twice_is_refused(journal: str) -> None:
    """A second resume of the same suspension raises NotSuspended while the step is live and when it is done."""
    resumed, release = trio.Event(), trio.Event()

    class Twice(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.schedule_next_step("ask")
            await ctx.schedule_next_step("other")

        async def ask(self, data, ctx: Context):
            await ctx.run_store.push("answers", await ctx.suspend("q"))
            resumed.set()
            await release.wait()

        async def other(self, data, ctx: Context):
            await ctx.suspend("other")

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("answers")

    async with open_runtime([Twice], journal=journal) as runtime:
        run = await runtime.start(Twice)
        found = {suspension.payload: suspension for suspension in (await pause(run)).suspensions}
        await run.resume("first", step="ask")
        for address in ("ask", found["q"].activation_id):
            with pytest.raises(NotSuspended):
                await run.resume("second", step=address)
        await resumed.wait()
        with pytest.raises(NotSuspended):
            await run.resume("second", step="ask")
        release.set()
        await pause(run)
        with pytest.raises(NotSuspended):
            await run.resume("second", step=found["q"].activation_id)
        await run.resume(step="other")
        assert await run.result() == ["first"]


@pytest.mark.rule("D5")
@pytest.mark.parametrize("flow", [Ask, single], ids=["class", "graph"])
async def test_of_concurrent_resumes_one_wins(flow: Flow, journal: str) -> None:
    """Twenty tasks resume one suspension at once: one is accepted, the others get NotSuspended or RunOver."""
    accepted, refused = [], []
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow, ["approve"])
        (suspension,) = (await pause(run)).suspensions

        async def resume(n: int) -> None:
            try:
                await run.resume(n, step=suspension.activation_id)
            except (NotSuspended, RunOver) as error:
                refused.append(error)
            else:
                accepted.append(n)

        async with trio.open_nursery() as nursery:
            for n in range(20):
                nursery.start_soon(resume, n)
        output = await run.result()
    assert (len(accepted), len(refused)) == (1, 19)
    assert output in (accepted[0], {"branches": 1, "approve": accepted[0]})


@attrs.define
class Decision:
    """What a typed step wants to be told."""

    ok: bool
    amounts: list[int] = attrs.field(factory=list)


class TypedClass(Workflow):
    """Takes a typed answer, in class style."""

    @step(resume=Decision)
    async def start(self, data, ctx: Context):
        given = await ctx.suspend("q")
        return [type(given).__name__, type(ctx.resume_data).__name__, given.ok, sum(ctx.resume_data.amounts)]


@step(resume=Decision)
async def typed(data, ctx: Context):
    """Takes a typed answer."""
    given = await ctx.suspend("q")
    return [type(given).__name__, type(ctx.resume_data).__name__, given.ok, sum(ctx.resume_data.amounts)]


TYPED = pytest.mark.parametrize("flow", [TypedClass, workflow("typed").then(typed).commit()], ids=["class", "graph"])


@TYPED
@pytest.mark.rule("D5")
@pytest.mark.parametrize("given", [Decision(True, [1, 2]), {"ok": True, "amounts": [1, 2]}], ids=["typed", "json"])
async def test_a_typed_answer_arrives_structured(flow: Flow, given: object, journal: str) -> None:
    """`resume` takes the type or its JSON; `suspend` returns, and `resume_data` is, an instance."""
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume(given)
        assert await run.result() == ["Decision", "Decision", True, 3]


@TYPED
@pytest.mark.rule("D5")
@pytest.mark.parametrize(
    ("given", "path"),
    [
        ({"ok": "yes"}, "$.ok"),
        ({"ok": True, "amounts": [1, "2"]}, "$.amounts[1]"),
        ({}, "ok"),
        (None, "$"),
        ({"ok": True, "amounts": [float("nan")]}, "$.amounts[0]"),
    ],
    ids=["bool", "deep", "missing", "none", "nan"],
)
async def test_a_bad_answer_is_refused_before_anything_is_journaled(
    flow: Flow, given: object, path: str, journal: str
) -> None:
    """A misfit raises InputError with its path to the caller; the suspension stands, and a better answer is taken."""
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        before = await pause(run)
        facts = len(await run.history())
        with pytest.raises(InputError) as caught:
            await run.resume(given)
        assert path in str(caught.value)
        assert len(await run.history()) == facts
        assert (await pause(run)).suspensions == before.suspensions
        await run.resume({"ok": False})
        assert await run.result() == ["Decision", "Decision", False, 0]


@pytest.mark.rule("D5", "B2")
@pytest.mark.parametrize("given", [float("inf"), {1, 2}, b"x", {"a": {3: 4}}], ids=["inf", "set", "bytes", "key"])
async def test_an_answer_that_is_not_json_is_refused(given: object, journal: str) -> None:
    """Without a type the answer still has to be JSON."""
    async with open_runtime([single], journal=journal) as runtime:
        run = await runtime.start(single)
        await pause(run)
        with pytest.raises((InputError, NotJsonError)):
            await run.resume(given)
        await run.resume([1])
        assert await run.result() == [1]


@pytest.mark.rule("D5", "B1")
async def test_an_answer_is_copied_when_sent(journal: str) -> None:
    """Changing the answer afterwards, or what a pass got of it, changes no other pass."""

    class Copies(Workflow):
        async def start(self, data, ctx: Context):
            first = await ctx.suspend("q1")
            seen = list(first)
            first.append("mutated")
            await ctx.suspend("q2")
            return seen

    async with open_runtime([Copies], journal=journal) as runtime:
        run = await runtime.start(Copies)
        await pause(run)
        given = [1]
        await run.resume(given)
        given.append(2)
        await pause(run)
        await run.resume()
        assert await run.result() == [1]


@pytest.mark.rule("D4")
@pytest.mark.parametrize("style", ["class", "graph"])
async def test_the_nth_suspend_gets_the_nth_answer(style: str, journal: str) -> None:
    """Four suspends in one step: each call returns its own answer in every later pass; `resume_data` is the latest."""
    latest = []

    async def body(data: object, ctx: Context) -> object:
        latest.append(ctx.resume_data)
        return [await ctx.suspend({"n": n}, label=f"l{n}") for n in range(4)]

    class Four(Workflow):
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Four if style == "class" else workflow("four").then(step(id="four")(body)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        activations = set()
        for n in range(4):
            (suspension,) = (await pause(run)).suspensions
            assert (suspension.payload, suspension.label) == ({"n": n}, f"l{n}")
            activations.add(suspension.activation_id)
            await run.resume(f"a{n}")
        assert await run.result() == ["a0", "a1", "a2", "a3"]
    assert (latest, len(activations)) == ([None, "a0", "a1", "a2", "a3"], 1)


@pytest.mark.rule("D4")
async def test_a_step_asks_until_it_is_content(journal: str) -> None:
    """A step that suspends in a loop of its own sees its earlier answers again and stops when one pleases it."""

    class Insists(Workflow):
        async def start(self, data, ctx: Context):
            tries = 1
            while await ctx.suspend({"try": tries}) != "please":
                tries += 1
            return tries

    async with open_runtime([Insists], journal=journal) as runtime:
        run = await runtime.start(Insists)
        for given in ("no", None, "never", "please"):
            await pause(run)
            await run.resume(given)
        assert await run.result() == 4


@pytest.mark.rule("D5", "C5")
@pytest.mark.parametrize("style", ["class", "graph"])
async def test_a_suspension_uses_up_no_attempt_and_the_policy_stays_in_force(
    style: str, journal: str, autojump_clock: MockClock
) -> None:
    """Four attempts are left after two suspensions; each of them finds the answers, and the failure says four."""
    seen = []

    async def body(data: object, ctx: Context) -> object:
        found = (await ctx.suspend("q1"), await ctx.suspend("q2"))
        seen.append((ctx.attempt, *found, ctx.resume_data, ctx.resumed))
        raise ValueError("always")

    retry = Retry(attempts=4, delay=1.0, jitter=0.0)

    class Stubborn(Workflow):
        @step(retry=retry)
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Stubborn if style == "class" else workflow("stubborn").then(step(id="s", retry=retry)(body)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume("a1")
        await pause(run)
        await run.resume("a2")
        outcome = await run.wait()
    assert seen == [(attempt, "a1", "a2", "a2", True) for attempt in (1, 2, 3, 4)]
    assert (outcome.status, kind(outcome.error), outcome.error.attempts) == (RunStatus.FAILED, "ValueError", 4)


@pytest.mark.rule("D5", "C3", "C5")
@pytest.mark.parametrize("style", ["class", "graph"])
async def test_effects_count_once_over_suspension_and_retry_together(
    style: str, journal: str, autojump_clock: MockClock
) -> None:
    """A step that suspends, fails and is retried still counts once for what stands before and after its question."""

    async def body(data: object, ctx: Context) -> object:
        await ctx.run_store.increment("before")
        await ctx.suspend("q")
        await ctx.run_store.increment("after")
        if ctx.attempt < 3:
            raise ValueError("not yet")
        return await ctx.run_store.snapshot()

    retry = Retry(attempts=3, delay=1.0, jitter=0.0)

    class Counted(Workflow):
        @step(retry=retry)
        async def start(self, data, ctx: Context):
            return await body(data, ctx)

    flow = Counted if style == "class" else workflow("counted").then(step(id="s", retry=retry)(body)).commit()
    async with open_runtime([flow], journal=journal) as runtime:
        run = await runtime.start(flow)
        await pause(run)
        await run.resume()
        assert await run.result() == {"before": 1, "after": 1}


async def resume_from_inside(run: list[Run], ctx: Context, attempt: Callable[[Run], Awaitable[None]]) -> object:
    """Resume the run's other branch from one of its own steps, with the handle that the test has."""
    await ctx.run_store.wait_for("asked", lambda value: value is True)
    await until_asked(run[0], "q")
    await attempt(run[0])
    return None


@pytest.mark.rule("D3", "A7")
async def test_a_step_may_resume_its_sibling(journal: str) -> None:
    """A resume sent from inside the run is taken like any other and blocks nobody."""
    handle: list[Run] = []
    ready = trio.Event()

    class Siblings(Workflow):
        async def start(self, data, ctx: Context):
            await ready.wait()
            await ctx.schedule_next_step("ask")
            await ctx.schedule_next_step("tell")

        async def ask(self, data, ctx: Context):
            await ctx.run_store.set("asked", True)
            await ctx.run_store.set("answer", await ctx.suspend("q"))

        async def tell(self, data, ctx: Context):
            await resume_from_inside(handle, ctx, lambda run: answer(run, "q", "from beside"))

        async def on_workflow_complete(self, ctx: Context):
            return await ctx.run_store.get("answer")

    async with open_runtime([Siblings], journal=journal) as runtime:
        handle.append(await runtime.start(Siblings))
        ready.set()
        assert await handle[0].result() == "from beside"


@pytest.mark.rule("D5")
async def test_a_cancelled_resume_is_sent_or_not_but_never_half(journal: str) -> None:
    """After a resume that was cancelled in the call the step is either suspended as before or has that answer."""
    async with open_runtime([single], journal=journal) as runtime:
        for _ in range(5):
            run = await runtime.start(single)
            await pause(run)
            with trio.CancelScope() as scope:
                scope.cancel()
                await run.resume("cancelled")

            async def settled(run: Run = run) -> bool:
                return await run.status() is not RunStatus.RUNNING

            await until(settled)
            if await run.status() is RunStatus.SUSPENDED:
                await run.resume("again")
            assert await run.result() in ("cancelled", "again")

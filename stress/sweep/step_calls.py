"""The calls that steps make: every verb of the run store, and what shapes the run.

What lives here: each call, and what it changes. What does not: the workflow that makes them (`stage`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from actorflow import Context, Workflow, open_runtime

from .stage import ABSENT, STATE, Case, Child, How, StepCall, _stages, case_of, check_quiet

if TYPE_CHECKING:
    from actorflow import RunStore
    from actorflow.abc import Journal
    from actorflow.testing import Victim

    from .stage import Cut

__all__ = ["CASES"]


def verb(name: str, *arguments: object, key: str = "n", after: object = None, **options: object) -> StepCall:
    """A verb of the run store on one key; `after` None: it only reads."""

    async def call(ctx: Context[object], cut: Cut) -> None:
        await cut(partial(getattr(ctx.run_store, name), *arguments, **options))

    before = {key: STATE.get(key, ABSENT)}
    return StepCall(name=f"store.{name}", call=call, before=before, after=None if after is None else {key: after})


def double(value: object) -> object:
    """For `update`."""
    assert isinstance(value, int)
    return value * 2


async def transact(store: RunStore) -> None:
    """A transaction of three verbs."""
    async with store.transaction() as tx:
        tx.push("l", 3)
        tx.increment("n")
        tx.set("s", "y")


async def transaction(ctx: Context[object], cut: Cut) -> None:
    """The block, as one call."""
    await cut(transact, ctx.run_store)


async def set_state(ctx: Context[object], cut: Cut) -> None:
    """Two keys at once."""
    await cut(partial(ctx.set_state, s="y", z=1))


async def wait_for(ctx: Context[object], cut: Cut) -> None:
    """A value that others write."""
    await cut(ctx.run_store.wait_for, "noise", lambda value: (value or 0) >= 2)


async def parent_push(ctx: Context[object], cut: Cut) -> None:
    """From the child's step into the parent's store."""
    assert ctx.parent_store is not None
    await cut(ctx.parent_store.push, "l", 3)


async def root_transaction(ctx: Context[object], cut: Cut) -> None:
    """A transaction of the child's step in the root's store."""
    assert ctx.root_store is not None
    await cut(transact, ctx.root_store)


async def schedule(ctx: Context[object], cut: Cut) -> None:
    """One step."""
    await cut(ctx.schedule_next_step, "mark", "m")


async def schedule_later(ctx: Context[object], cut: Cut) -> None:
    """One step with a delay and a key."""
    await cut(partial(ctx.schedule_next_step, "mark", "m", delay=5, key="k"))


async def schedule_many(ctx: Context[object], cut: Cut) -> None:
    """Three steps."""
    await cut(ctx.schedule_many, "mark", ["m", "m", "m"])


async def cancel_scheduled(ctx: Context[object], cut: Cut) -> None:
    """A step that is armed for later."""
    scheduled = await ctx.schedule_next_step("mark", "m", delay=50)
    await cut(scheduled.cancel)


async def wait_for_event(ctx: Context[object], cut: Cut) -> None:
    """A wait for what the outside sends."""
    await cut(partial(ctx.wait_for_event, "go", action="mark", payload="m"))


async def wait_in_vain(ctx: Context[object], cut: Cut) -> None:
    """A wait that times out."""
    await cut(partial(ctx.wait_for_event, "never", action="subject", payload="m", timeout=9, on_timeout="mark"))


async def run_child(ctx: Context[object], cut: Cut) -> None:
    """A child run whose changes come back."""
    await cut(partial(ctx.run_child, Child, merge_state=True))


async def suspend(ctx: Context[object], cut: Cut) -> None:
    """A question, and its answer in the store."""
    answer = await cut(ctx.suspend, {"why": "ask"})
    if answer is not None:
        await ctx.run_store.set("answer", answer)


async def outside(ran: list[str]) -> str:
    """Something in the outside world, that takes two steps."""
    await trio.lowlevel.checkpoint()
    ran.append("ran")
    return "done"


async def once(ctx: Context[object], cut: Cut) -> None:
    """What happens outside happens once, and its result is kept."""
    stage = _stages[-1]
    found = await cut(ctx.once, "pay", outside, stage.ran)
    assert found == "done" or stage.victim.cancelled, found
    assert stage.ran.count("ran") <= 1, "the function ran to its end twice"
    if stage.ran:
        await ctx.run_store.set("paid", len(stage.ran))


async def step_result(ctx: Context[object], cut: Cut) -> None:
    """The output of another step, which has ended by now."""
    await trio.sleep(1)
    await cut(ctx.step_result, "start")


async def emit(ctx: Context[object], cut: Cut) -> None:
    """A custom event."""
    await cut(ctx.emit, "hello", {"n": 1})


class Bails(Workflow):
    """Ends in the middle, or is not let."""

    keep_state = True

    async def start(self, data: object, ctx: Context[object]) -> str:
        """One that ends it, one that takes longer."""
        await ctx.schedule_next_step("end")
        await ctx.schedule_next_step("work")
        return "went on"

    async def end(self, data: object, ctx: Context[object]) -> None:
        """The call."""
        await _bailing[-1](ctx.bail, "bailed")

    async def work(self, data: object, ctx: Context[object]) -> None:
        """Is cut off, or finishes."""
        await trio.sleep(2)
        await ctx.run_store.push("worked", 1)


_bailing: list[Victim] = []


async def bail(victim: Victim, journal: str | Journal) -> object:
    """The run has ended with this output, or goes on to its own."""
    _bailing.append(victim)
    try:
        async with open_runtime([Bails], journal=journal) as runtime:
            outcome = await (await runtime.start(Bails, run_id="r")).wait()
            check_quiet(runtime)
    finally:
        _bailing.pop()
    wanted = ("went on", {"worked": [1]}) if victim.cancelled else ("bailed", {})
    assert (outcome.output, outcome.state) == wanted, outcome
    return outcome.output


def careful(call: StepCall) -> StepCall:
    """The same in a step with `commit="on_success"`."""
    return evolve(call, name=f"{call.name}, on success", where="careful")


LIST_AND_NUMBER: Final = {"l": [1, 2], "n": 5}
WHOLE: Final = {"l": [1, 2], "n": 5, "s": "x"}
CHANGED: Final = {"l": [1, 2, 3], "n": 6, "s": "y"}

VERBS: Final = (
    verb("get", "n"),
    verb("set", "s", "y", key="s", after="y"),
    verb("push", "l", 3, key="l", after=[1, 2, 3]),
    verb("increment", "n", 2, after=7),
    verb("decrement", "n", after=4),
    verb("delete", "s", key="s", after=ABSENT),
    verb("extend", "l", [3, 4], key="l", after=[1, 2, 3, 4]),
    verb("remove", "l", 1, key="l", after=[2]),
    verb("pop", "s", key="s", after=ABSENT),
    verb("merge", "o", {"b": 2}, key="o", after={"a": 1, "b": 2}),
    verb("maximum", "n", 9, after=9),
    verb("minimum", "n", 1, after=1),
    verb("set_if_absent", "z", 1, key="z", after=1),
    verb("compare_and_set", "s", "x", "y", key="s", after="y"),
    verb("update", "n", double, after=10),
    verb("has", "n"),
    verb("keys"),
    verb("length", "l", key="l"),
    verb("slice", "l", 0, 1, key="l"),
    verb("snapshot"),
    StepCall(name="store.transaction", call=transaction, before=WHOLE, after=CHANGED),
    StepCall(name="ctx.set_state", call=set_state, before={"s": "x", "z": ABSENT}, after={"s": "y", "z": 1}),
)
"""What is done to the run store, or read of it, in one message."""

SHAPING: Final = (
    StepCall(
        name="ctx.schedule_next_step", call=schedule, before={"marks": ABSENT}, after={"marks": ["m"]}, at_once=False
    ),
    StepCall(
        name="ctx.schedule_next_step(delay, key)",
        call=schedule_later,
        before={"marks": ABSENT},
        after={"marks": ["m"]},
        at_once=False,
    ),
    StepCall(
        name="ctx.schedule_many",
        call=schedule_many,
        before={"marks": ABSENT},
        after={"marks": ["m"] * 3},
        at_once=False,
    ),
)

CALLS: Final = (
    *VERBS,
    *SHAPING,
    StepCall(name="store.wait_for", call=wait_for),
    StepCall(
        name="ScheduledStep.cancel",
        call=cancel_scheduled,
        before={"marks": ["m"]},
        after={"marks": ABSENT},
        at_once=False,
    ),
    StepCall(
        name="ctx.wait_for_event", call=wait_for_event, before={"marks": ABSENT}, after={"marks": ["m"]}, at_once=False
    ),
    StepCall(
        name="ctx.wait_for_event(timeout)",
        call=wait_in_vain,
        before={"marks": ABSENT},
        after={"marks": ["m"]},
        at_once=False,
    ),
    StepCall(name="ctx.run_child", call=run_child, before=LIST_AND_NUMBER, after={"l": [1, 2, 3], "n": 15}),
    StepCall(name="ctx.suspend", call=suspend, before={"answer": ABSENT}, after={"answer": 7}, at_once=False),
    StepCall(name="ctx.step_result", call=step_result),
    StepCall(name="ctx.emit", call=emit),
    StepCall(name="ctx.once", call=once, before={"paid": ABSENT}, after={"paid": 1}, at_once=False),
)

IN_CHILDREN: Final = (
    StepCall(
        name="parent_store.push",
        call=parent_push,
        before={"l": [1, 2]},
        after={"l": [1, 2, 3]},
        at_once=False,
        where="caller",
    ),
    StepCall(
        name="root_store.transaction", call=root_transaction, before=WHOLE, after=CHANGED, at_once=False, where="caller"
    ),
)

CASES: Final[tuple[Case, ...]] = (
    Case("ctx.bail", bail),
    *(case_of(call, how) for call in CALLS for how in How),
    *(case_of(call, How.ONCE) for call in IN_CHILDREN),
    *(case_of(careful(call), how) for call in (*VERBS, *SHAPING) for how in (How.ONCE, How.AGAIN)),
)

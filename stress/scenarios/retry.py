"""Steps that fail a number of times, at this or that place, and are tried again: what they wrote counts once.

What lives here: the scenario. What does not: steps that run again for other reasons (`suspend`, crashes).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import Context, Limits, NonRetryable, Retry, RunStatus, Workflow, step, tolerate

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait, sum_is, weave

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

RUN: Final = "retry"
ATTEMPTS: Final = 5

RETRIED: Final = "a step was tried again"
GAVE_UP: Final = "a step failed for good after it had written"
UNCOMMITTED: Final = "an attempt failed and took its writes with it"
POLICY: Final = Retry(ATTEMPTS, delay=0.2, factor=1.5, jitter=0.3)


class Branch(TypedDict):
    """One branch: its operations by number, and after how many of them each failing attempt fails.

    `how`: "plain", "commit" (its operations take effect with its success), or "hopeless": an error that is not retried
    comes in the place of the success.
    """

    id: str
    how: str
    ops: list[int]
    fails: list[int]
    waits: int


class Plan(TypedDict):
    """All branches."""

    mailbox: int
    branches: list[Branch]


class Retrying(Workflow):
    """Branches that fail."""

    keep_state = True
    max_live_steps = 100_000
    join = tolerate(fraction=1.0)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule every branch."""
        for how, action in (("commit", "committing"), ("", "branch")):
            some = [
                one for one in cast("Plan", record_of(ctx).plan)["branches"] if (one["how"] == "commit") == bool(how)
            ]
            await ctx.schedule_many(action, some)

    @step(retry=POLICY)
    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Write, fail where the plan says, and write on in the next attempt."""
        mine, record = cast("Branch", data), record_of(ctx)
        store = record.store(ctx)
        record.sometimes(RETRIED, ctx.attempt > 1)
        for place, n in enumerate(mine["ops"]):
            fail_at(mine, ctx.attempt, place)
            await store.push("list", element(mine["id"], n))
            await store.increment("sum", n + 1)
            store.increment_nowait("count")
            await weave(mine["waits"])
        await ctx.once("outside", count, record, mine["id"])
        await ctx.schedule_next_step("after", {"id": mine["id"]})
        fail_at(mine, ctx.attempt, len(mine["ops"]))
        if mine["how"] == "hopeless":
            record.sometimes(GAVE_UP, bool(mine["ops"]))
            raise NonRetryable("as planned")

    @step(retry=POLICY, commit="on_success")
    async def committing(self, data: dict[str, object], ctx: Context[object]) -> None:
        """The same, all or nothing."""
        mine = cast("Branch", data)
        for place, n in enumerate(mine["ops"]):
            record_of(ctx).sometimes(UNCOMMITTED, place and ctx.attempt <= len(mine["fails"]))
            fail_at(mine, ctx.attempt, place)
            await ctx.run_store.push("late list", element(mine["id"], n))
            await ctx.run_store.increment("late sum", n + 1)
        await ctx.schedule_next_step("after", {"id": mine["id"]})
        fail_at(mine, ctx.attempt, len(mine["ops"]))

    async def after(self, data: dict[str, object], ctx: Context[object]) -> None:
        """What a branch has scheduled, however often it ran."""
        await record_of(ctx).store(ctx).push("after", f"{data['id']}.0")


def fail_at(mine: Branch, attempt: int, place: int) -> None:
    """Raise if this attempt is to fail at this place."""
    fails = mine["fails"]
    if attempt <= len(fails) and min(fails[attempt - 1], len(mine["ops"])) == place:
        raise ConnectionError(f"attempt {attempt} fails, as planned")


async def count(record: Record, branch: str) -> int:
    """Something outside of the run, which must happen once."""
    times = cast("dict[str, int]", record.notes.setdefault("outside", {}))
    times[branch] = times.get(branch, 0) + 1
    return times[branch]


class RetryScenario(Scenario):
    """Attempts that fail."""

    name = "retry"
    summary = "steps fail up to four times, at any place, and what they write counts once"
    workflows = (Retrying,)
    sometimes = (RETRIED, GAVE_UP, UNCOMMITTED)

    def plan(self, chance: random.Random, size: Size) -> object:
        """Branches with the places at which their attempts fail."""
        branches = []
        for number in range(size.branches):
            ops = list(range(chance.randint(1, size.ops)))
            how = chance.choice(("plain", "plain", "plain", "commit", "hopeless"))
            fails = [chance.randint(0, len(ops)) for _ in range(chance.randint(0, ATTEMPTS - 1))]
            branches.append(Branch(id=f"b{number}", how=how, ops=ops, fails=fails, waits=chance.choice((0, 0, 2))))
        return Plan(mailbox=mailbox(chance), branches=branches)

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan; attempts that tell and do not wait need some places."""
        return Limits(mailbox=max(64, cast("Plan", plan)["mailbox"]) * 100)

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Retrying, RUN)

    def check(self, plan: object, record: Record) -> list[str]:
        """Each branch counts once; what failed for good has left what it wrote, or nothing."""
        return list(_check(cast("Plan", plan), record))


def _check(plan: Plan, record: Record) -> Iterator[str]:
    branches = plan["branches"]
    hopeless = sorted(one["id"] for one in branches if one["how"] == "hopeless")
    yield from ended(record, RUN, RunStatus.COMPLETED)
    outcome = record.outcomes.get(RUN)
    if outcome is not None and len(outcome.failures) != len(hopeless):
        yield f"{len(outcome.failures)} failures are listed, and {len(hopeless)} branches fail for good"
    for branch, times in cast("dict[str, int]", record.notes.get("outside", {})).items():
        if times > 1 and not record.faulty:
            yield f"the once of branch {branch} was done {times} times"
    state = record.state_of(RUN)
    if state is None:
        return
    for prefix, late in (("", False), ("late ", True)):
        some = [one for one in branches if (one["how"] == "commit") == late]
        wanted = {one["id"]: [element(one["id"], n) for n in one["ops"]] for one in some}
        yield from differences(f"{prefix}list", wanted, state.get(f"{prefix}list"))
        yield from sum_is(f"{prefix}sum", sum(n + 1 for one in some for n in one["ops"]), state.get(f"{prefix}sum"))
    plain = [one for one in branches if one["how"] != "commit"]
    yield from sum_is("count", sum(len(one["ops"]) for one in plain), state.get("count"))
    yield from differences("after", {one["id"]: [f"{one['id']}.0"] for one in branches}, state.get("after"))

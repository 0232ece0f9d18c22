"""What is refused, and what runs out: transactions that do not fit, steps that never succeed.

What lives here: the scenario. What does not: bad operations one by one (`verbs`), attempts that succeed (`retry`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypedDict, cast

from actorflow import Context, Limits, Retry, RunStatus, StateTypeError, Workflow, step, tolerate

from ..recording import Record, record_of
from ..scenario import Scenario, Size
from .elements import differences, element, ended, mailbox, start_and_wait

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

    from actorflow import Runtime

ATTEMPTS: Final = 3

REFUSED: Final = "a transaction was refused as a whole"
RAN_OUT: Final = "a step made its last attempt, and failed"


class Bounds(TypedDict):
    """How many transactions are refused, and how many steps fail for ever."""

    mailbox: int
    refused: int
    failing: int


class Bounded(Workflow):
    """Transactions that do not fit, and steps that never succeed."""

    keep_state = True
    lost_updates = "allow"
    join = tolerate(fraction=1.0)

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule both kinds."""
        plan = cast("Bounds", record_of(ctx).plan)
        await record_of(ctx).store(ctx).set("text", "no number")
        await ctx.schedule_many("refused", list(range(plan["refused"])))
        await ctx.schedule_many("failing", list(range(plan["failing"])))

    async def refused(self, data: int, ctx: Context[object]) -> None:
        """Two that fit and one that does not: nothing of it may be there."""
        store = record_of(ctx).store(ctx)
        await store.push("list", element("good", data))
        try:
            async with store.transaction() as tx:
                tx.push("list", element("bad", data))
                tx.increment("sum", 1)
                tx.increment("text", 1)
        except StateTypeError:
            record_of(ctx).sometimes(REFUSED)
            return
        record_of(ctx).seen.append("a transaction that does not fit was not refused")

    @step(retry=Retry(ATTEMPTS, delay=0.1, factor=2.0))
    async def failing(self, data: int, ctx: Context[object]) -> None:
        """Fail, always."""
        made = cast("dict[str, list[int]]", record_of(ctx).notes.setdefault("made", {}))
        made.setdefault(str(data), []).append(ctx.attempt)
        record_of(ctx).sometimes(RAN_OUT, ctx.attempt == ATTEMPTS)
        raise ConnectionError("as planned")


class BoundedScenario(Scenario):
    """Refusals."""

    name = "bounded"
    summary = "transactions that are refused as a whole, and steps whose attempts run out"
    workflows = (Bounded,)
    sometimes = (REFUSED, RAN_OUT)
    for_load = False

    def plan(self, chance: random.Random, size: Size) -> object:
        """Some of each."""
        return Bounds(mailbox=mailbox(chance), refused=chance.randint(1, size.branches), failing=chance.randint(0, 2))

    def limits(self, plan: object) -> Limits:
        """The mailbox of the plan."""
        return Limits(mailbox=cast("Bounds", plan)["mailbox"])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run."""
        await start_and_wait(runtime, record, Bounded, "bounded")

    def check(self, plan: object, record: Record) -> list[str]:
        """Nothing of what was refused is there; as many attempts were made as the policy grants."""
        return list(_bounded(cast("Bounds", plan), record))


def _bounded(plan: Bounds, record: Record) -> Iterator[str]:
    yield from ended(record, "bounded", RunStatus.COMPLETED)
    state = record.state_of("bounded")
    if state is not None:
        found = cast("list[str]", state.get("list", []))
        good = {"good": [element("good", n) for n in range(plan["refused"])]}
        yield from differences("list", {"good": sorted(good["good"])}, sorted(found))
        if "sum" in state:
            yield f"a transaction was refused, and its increment is there: sum is {state['sum']!r}"
    for n, attempts in cast("dict[str, list[int]]", record.notes.get("made", {})).items():
        once = sorted(set(attempts))
        if once != list(range(1, ATTEMPTS + 1)) or (len(attempts) != ATTEMPTS and not record.faulty):
            yield f"step {n} has {ATTEMPTS} attempts, and it made {attempts}"

"""Two or three branches with one operation each, for which all schedules can be run.

What lives here: the scenario, and the matrix of what its branches do. What does not: going through the schedules
(`exhaustive`).

The branches wait for one another, so that everything from then until the last answer can be ordered at will, and
nothing else needs to be. Afterwards the whole store is read: what the branches were told, and what was there in the
end, has to be that of some order.
"""

from __future__ import annotations

from itertools import combinations_with_replacement
from typing import TYPE_CHECKING, Final, TypedDict, cast

import trio

from actorflow import MISSING, Context, Workflow

from ..recording import Record, record_of
from ..scenario import Scenario, Size

if TYPE_CHECKING:
    import random
    from collections.abc import Awaitable, Callable, Iterator

    from actorflow import RunStore, Runtime

__all__ = ["VERBS", "Plan", "SmallScenario", "matrix"]

RUN: Final = "small"
KEYS: Final = ("list", "number", "object", "register")
INITIAL: Final[dict[str, object]] = {"list": ["a"], "number": 1, "object": {"a": 1}, "register": "first"}


class Plan(TypedDict):
    """What each branch does."""

    verbs: list[str]


async def _transaction(store: RunStore, branch: int) -> None:
    async with store.transaction() as tx:
        tx.increment("number", 10 ** (branch + 1))
        tx.push("list", f"t{branch}")
        tx.set("register", f"t{branch}")


VERBS: Final[dict[str, Callable[[RunStore, int], Awaitable[object]]]] = {
    "get": lambda store, branch: store.get("register"),
    "set": lambda store, branch: store.set("register", f"s{branch}"),
    "update": lambda store, branch: store.update("register", lambda old: f"{old} and u{branch}"),
    "compare_and_set": lambda store, branch: store.compare_and_set("register", "first", f"c{branch}"),
    "set_if_absent": lambda store, branch: store.set_if_absent("register", f"i{branch}"),
    "delete": lambda store, branch: store.delete("register"),
    "pop": lambda store, branch: store.pop("register", MISSING),
    "push": lambda store, branch: store.push("list", f"p{branch}"),
    "extend": lambda store, branch: store.extend("list", [f"e{branch}", f"f{branch}"]),
    "remove": lambda store, branch: store.remove("list", "a"),
    "length": lambda store, branch: store.length("list"),
    "increment": lambda store, branch: store.increment("number", 10 ** (branch + 1)),
    "maximum": lambda store, branch: store.maximum("number", branch + 5),
    "merge": lambda store, branch: store.merge("object", {"a": branch, f"b{branch}": 1}),
    "transaction": _transaction,
}
"""What a branch may do; by chance of which key it uses, some meet and some pass each other by."""

STEPS: Final = ("set_state", "schedule_next_step")
"""What it may do with the context instead."""


def matrix(branches: int) -> list[Plan]:
    """Every choice of so many verbs, the order of the branches left aside."""
    return [Plan(verbs=list(verbs)) for verbs in combinations_with_replacement([*VERBS, *STEPS], branches)]


class Small(Workflow):
    """One operation a branch."""

    keep_state = True
    lost_updates = "allow"

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule the branches."""
        verbs = cast("Plan", record_of(ctx).plan)["verbs"]
        await ctx.schedule_many("branch", [{"n": n, "verb": verb} for n, verb in enumerate(verbs)])

    async def branch(self, data: dict[str, object], ctx: Context[object]) -> None:
        """Wait for the others, and do it."""
        record, n, verb = record_of(ctx), cast("int", data["n"]), str(data["verb"])
        gate = cast("Gate", record.notes["gate"])
        await gate.enter()
        if verb == "set_state":
            with record.histories[ctx.run_id].operation("set", "register", f"w{n}", branch=ctx.activation_id):
                await ctx.set_state(register=f"w{n}")
        elif verb == "schedule_next_step":
            await ctx.schedule_next_step("after", {"n": n})
        else:
            await VERBS[verb](record.store(ctx), n)
        gate.leave()

    async def after(self, data: dict[str, object], ctx: Context[object]) -> None:
        """What was scheduled."""
        await record_of(ctx).store(ctx).push("list", f"n{data['n']}")


class Gate:
    """Lets all branches through at once, and says when they begin and when they are through."""

    def __init__(self, branches: int, mark: Callable[[], None]) -> None:
        self._out = self._left = branches
        self._open = trio.Event()
        self._mark = mark

    async def enter(self) -> None:
        """Wait for the others."""
        self._out -= 1
        if not self._out:
            self._mark()
            self._open.set()
        await self._open.wait()

    def leave(self) -> None:
        """The answer has come."""
        self._left -= 1
        if not self._left:
            self._mark()


class SmallScenario(Scenario):
    """All schedules of it are run.

    Attributes:
        mark: called when the branches begin, and when the last has its answer.
    """

    name = "small"
    summary = "two or three branches with one operation each: the matrix of `explore`"
    workflows = (Small,)
    for_load = False

    def __init__(self) -> None:
        self.mark: Callable[[], None] = lambda: None

    def plan(self, chance: random.Random, size: Size) -> object:
        """Any of the matrix."""
        return Plan(verbs=[chance.choice([*VERBS, *STEPS]) for _ in range(min(size.branches, 3))])

    async def run(self, runtime: Runtime, plan: object, record: Record) -> None:
        """One run, and a look at all that it has left."""
        record.notes["gate"] = Gate(len(cast("Plan", plan)["verbs"]), self.mark)
        record.begin(RUN, INITIAL)
        run = await runtime.start(Small, run_id=record.adopt(RUN), initial_state=INITIAL)
        record.keep(RUN, await run.wait())
        state = await run.state()
        for key in KEYS:
            with record.histories[RUN].operation("get", key, MISSING, branch="the end") as answer:
                answer.result = state.get(key, MISSING)

    def check(self, plan: object, record: Record) -> list[str]:
        """Nothing but what the branches write is there."""
        return list(_check(record))


def _check(record: Record) -> Iterator[str]:
    outcome = record.outcomes.get(RUN)
    if outcome is None or outcome.status.value != "completed":
        yield f"the run did not complete: {outcome}"
    for key in sorted((record.state_of(RUN) or {}).keys() - set(KEYS)):
        yield f"there is a key {key!r} that no branch has written"

"""P4 and P5: what a push costs late in a long step, and what pushes cost on disk.

What lives here: those figures. What does not: fan-outs without regard to bytes (`fanout`).
"""

from __future__ import annotations

import gc
import json
import time
from statistics import median
from typing import TYPE_CHECKING

import trio
from attrs import frozen

from actorflow import Context, Workflow, open_runtime

from .figures import Figure, Settings, bytes_of, ratio
from .question import check_items

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = 1_000
ITEMS = 10_000
ITEM_BYTES = 200
BRANCHES = 1_000


def late_against_early(settings: Settings) -> Iterator[Figure]:
    """P4."""
    yield _late(settings, "memory", settings.choose(100_000, 20_000), settings.choose(5, 3))
    # Every push is a commit of its own here: once is long enough.
    yield _late(settings, "sqlite", settings.choose(100_000, 5_000), 1)


def _late(settings: Settings, kind: str, pushes: int, times: int) -> Figure:
    measured = []
    for _ in range(times):
        with settings.journal(kind) as journal:
            measured.append(trio.run(push_one_by_one, journal, pushes))
    early, late = [one[0] for one in measured], [one[1] for one in measured]
    where = "in memory" if kind == "memory" else "on SQLite"
    # The processor's share tells a slower disk at the end of a long measurement from a slower library.
    note = f"{_each([one.wall_s for one in late])} against {_each([one.wall_s for one in early])} a push"
    note += (
        f", processor {_each([one.processor_s for one in late])} against {_each([one.processor_s for one in early])}"
    )
    what = f"{pushes:,} pushes in one step {where}, last {WINDOW:,} / first {WINDOW:,}"
    return ratio("P4", what, [one.wall_s for one in late], [one.wall_s for one in early], goal=1.2, note=note)


def _each(seconds: list[float]) -> str:
    return f"{median(seconds) / WINDOW * 1e6:.0f} µs"


@frozen
class Window:
    """What a thousand pushes took."""

    wall_s: float
    processor_s: float


async def push_one_by_one(journal: str, pushes: int) -> tuple[Window, Window]:
    """The first and the last thousand pushes of one step."""
    marks: list[tuple[float, float]] = []

    class Pushing(Workflow):
        async def start(self, data: int, ctx: Context[object]) -> None:
            push = ctx.run_store.push
            gc.collect()
            for number in range(data):
                if number in (0, WINDOW, data - WINDOW):
                    marks.append((time.perf_counter(), time.process_time()))
                await push("items", {"id": number})
            marks.append((time.perf_counter(), time.process_time()))

    async with open_runtime([Pushing], journal=journal) as runtime:
        run = await runtime.start(Pushing, pushes)
        await run.result()
        check_items((await run.wait()).state["items"], pushes)
    first, second, third, last = marks
    return _between(first, second), _between(third, last)


def _between(begin: tuple[float, float], end: tuple[float, float]) -> Window:
    return Window(end[0] - begin[0], end[1] - begin[1])


def journal_bytes(settings: Settings) -> Iterator[Figure]:
    """P5."""
    for branches in (1, BRANCHES):
        with settings.journal() as journal:
            while_open, closed = trio.run(push_and_weigh, journal, branches)
        how = "one step" if branches == 1 else f"{branches:,} branches"
        payload = ITEMS * ITEM_BYTES
        for size, when in ((while_open, "while it is open"), (closed, "after closing")):
            yield Figure(
                id="P5",
                what=f"{ITEMS:,} pushes of {ITEM_BYTES} bytes by {how}, journal / payload, {when}",
                value=size / payload,
                goal=2.0,
                samples=(size / payload,),
                note=f"{size:,} bytes",
            )


def item(number: int) -> dict[str, object]:
    """An item whose JSON text has 200 bytes."""
    bare = len(json.dumps({"id": number, "text": ""}, separators=(",", ":")))
    return {"id": number, "text": "x" * (ITEM_BYTES - bare)}


async def push_and_weigh(journal: str, branches: int) -> tuple[int, int]:
    """Bytes of the journal's files when the last push has returned, and after closing; then the items are checked.

    The run is kept from ending until both are taken: the values of a run leave its journal when it ends.
    """
    pushed = trio.Event()
    state = {"left": branches}

    class Weighed(Workflow):
        async def start(self, data: int, ctx: Context[object]) -> None:
            await ctx.schedule_many("branch", range(data))
            if not pushed.is_set():
                await trio.sleep_forever()

        async def branch(self, data: int, ctx: Context[object]) -> None:
            for number in range(data, ITEMS, branches):
                await ctx.run_store.push("items", item(number))
            state["left"] -= 1
            if not state["left"]:
                pushed.set()

    async with open_runtime([Weighed], journal=journal, shutdown_grace=0) as runtime:
        await runtime.start(Weighed, branches, run_id="weighed")
        await pushed.wait()
        while_open = bytes_of(journal)
    closed = bytes_of(journal)
    async with open_runtime([Weighed], journal=journal) as runtime:
        outcome = await (await runtime.get_run("weighed")).wait()
    check_items(outcome.state["items"], ITEMS)
    return while_open, closed

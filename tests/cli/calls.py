"""What the tests of the command line call, and what comes back: workflows, and the result of a command."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs

ROOT = Path(__file__).resolve().parents[2]

FLOWS = '''
import pathlib

import trio
from attrs import define

from actorflow import Context, Workflow


@define
class Order:
    id: int
    items: list[str]


@define
class Receipt:
    order: int
    count: int


class Double(Workflow):
    async def start(self, data, ctx: Context):
        return [data, data]


class Fan(Workflow):
    async def start(self, data, ctx: Context):
        for number in range(data):
            await ctx.schedule_next_step("item", {"number": number})

    async def item(self, data, ctx: Context):
        await ctx.run_store.increment("total", data["number"])

    async def on_workflow_complete(self, ctx: Context):
        return {"total": await ctx.run_store.get("total")}


class Typed(Workflow):
    async def start(self, data: Order, ctx: Context) -> Receipt:
        print("noise of a step")
        return Receipt(order=data.id, count=len(data.items))


class Seeded(Workflow):
    async def start(self, data, ctx: Context):
        return await ctx.run_store.get("seed")


class Failing(Workflow):
    async def start(self, data, ctx: Context):
        raise ValueError("[bold]boom[/bold]")


class Waiting(Workflow):
    async def start(self, data, ctx: Context):
        await ctx.run_store.set("phase", "waiting")
        await ctx.wait_for_event("go", action="proceed")
        await ctx.emit("ready")
        print("open", flush=True)

    async def proceed(self, data, ctx: Context):
        await ctx.run_store.push("seen", ctx.event)

    async def on_workflow_complete(self, ctx: Context):
        return {"seen": await ctx.run_store.get("seen")}


class Stuck(Workflow):
    """Sleeps for ever while the file in its input is missing."""

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("phase", "stuck")
        await ctx.emit("ready")
        print("stuck", flush=True)
        if not pathlib.Path(data).exists():
            await trio.sleep_forever()
        return "free"


class Outer:
    class Inner(Workflow):
        async def start(self, data, ctx: Context):
            return "inner"


class Plain:
    pass


number = 3
'''


@attrs.frozen
class Called:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> dict[str, object]:
        """The one JSON document on stdout."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value


Call = Callable[..., Called]
Leave = Callable[[str, object, str], None]
Spawn = Callable[..., subprocess.Popen[str]]

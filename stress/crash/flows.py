"""The workflows that run while the disk dies. Each makes its marks where it will be seen whether they were lost.

What lives here: the workflows, and how their steps tell what they were told. What does not: which of them run together
and how large they are (`workloads`).

A mark is a text such as `t(run.3.1)` inside an argument, a payload or an `op_id`: the fact that carries it shows it.
Everything ends up in the output, because the state is gone with the run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, cast

import trio

from actorflow import Context, Retry, Workflow, step

__all__ = ["ALL_FLOWS", "Asking", "Branches", "Doubling", "Kept", "Nesting", "hearing", "mark", "tell"]

Tell = Callable[[str, str], None]

_listeners: Final[list[Tell]] = []


class hearing:
    """While it lasts, whatever a step was told is passed on: (run id, mark)."""

    def __init__(self, listener: Tell) -> None:
        self._listener = listener

    def __enter__(self) -> None:
        _listeners.append(self._listener)

    def __exit__(self, *_: object) -> None:
        _listeners.remove(self._listener)


def tell(run_id: str, text: str) -> None:
    """What carries this mark was acknowledged."""
    for listener in _listeners:
        listener(run_id, text)


def mark(*parts: object) -> str:
    """A mark."""
    return f"t({'.'.join(map(str, parts))})"


def _of(data: object) -> Mapping[str, object]:
    return cast("Mapping[str, object]", data)


async def _receipt(text: str) -> str:
    await trio.lowlevel.checkpoint()
    return text


class Branches(Workflow):
    """Parallel branches with a list of operations each; the plan is the input. Its state goes with its end."""

    id = "crash-branches"

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Schedule the branches."""
        branches = cast("list[list[object]]", _of(data)["branches"])
        await ctx.schedule_many("branch", [{"number": n, "ops": ops} for n, ops in enumerate(branches)])

    @step(retry=Retry(attempts=3, delay=0.5, jitter=0.0))
    async def branch(self, data: object, ctx: Context[object]) -> None:
        """Do what the plan says, and tell each answer."""
        branch = _of(data)
        for n, (verb, size, pause) in enumerate(cast("list[tuple[str, int, float]]", branch["ops"])):
            if pause:
                await trio.sleep(pause)
            text = mark(ctx.run_id, branch["number"], n)
            await self._one(verb, size, text, ctx)
            if verb == "fail" and ctx.attempt == 1:
                raise ValueError("the first attempt fails, as planned")

    async def _one(self, verb: str, size: int, text: str, ctx: Context[object]) -> None:
        store = ctx.run_store
        if verb in ("push", "fail"):
            await store.push("items", text + "x" * size)
        elif verb == "add":
            await store.increment("count", size, op_id=text)
        elif verb == "pair":
            async with store.transaction() as tx:
                tx.push("pairs", text)
                tx.increment("paired")
        elif verb == "once":
            await ctx.once(text, _receipt, text)
        elif verb == "later":
            await ctx.schedule_next_step("late", {"text": text}, delay=size / 10)
        else:
            await store.set(f"key-{size}", text)
        tell(ctx.run_id, text)

    async def late(self, data: object, ctx: Context[object]) -> None:
        """Scheduled by a branch."""
        await ctx.run_store.push("late", _of(data)["text"])

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """Everything, in an order that does not depend on chance."""
        return shown(await ctx.run_store.snapshot())


def shown(state: Mapping[str, object]) -> object:
    """A state with its lists in order, and long texts by their marks."""
    return {
        key: sorted(str(item).rstrip("x") for item in value) if isinstance(value, list) else _last_writer(key, value)
        for key, value in sorted(state.items())
    }


def _last_writer(key: str, value: object) -> object:
    return "set" if key.startswith("key-") else value  # who wrote last is chance


class Kept(Branches):
    """The same, with a state that stays."""

    id = "crash-kept"
    keep_state = True


class Asking(Workflow):
    """Branches that suspend, some twice, between a timer and an event."""

    id = "crash-asking"

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Open everything at once."""
        for number in range(cast("int", _of(data)["questions"])):
            await ctx.schedule_next_step("ask", {"number": number})
        await ctx.schedule_next_step("timer", delay=5)
        await ctx.wait_for_event("go", action="gone")

    async def ask(self, data: object, ctx: Context[object]) -> None:
        """Ask, and ask again."""
        number = cast("int", _of(data)["number"])
        for n in range(1 + number % 2):
            text = mark(ctx.run_id, "ask", number, n)
            await ctx.run_store.push("asked", text)
            tell(ctx.run_id, text)
            answer = await ctx.suspend({"question": text}, label=f"{number}.{n}")
            await ctx.run_store.push("answers", answer)
            await ctx.run_store.increment("answered", op_id=f"{text}+")

    async def timer(self, data: object, ctx: Context[object]) -> None:
        """What time brings."""
        await ctx.run_store.increment("rang")

    async def gone(self, data: object, ctx: Context[object]) -> None:
        """What an event brings."""
        await ctx.run_store.push("events", ctx.event)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """Everything."""
        return shown(await ctx.run_store.snapshot())


class Leaf(Workflow):
    """A child run, one level or two."""

    id = "crash-leaf"

    async def start(self, data: object, ctx: Context[object]) -> object:
        """Write, and have a child write."""
        name, depth = _of(data)["name"], cast("int", _of(data)["depth"])
        for n in range(3):
            text = mark(name, depth, n)
            await ctx.run_store.push("items", text)
            await ctx.run_store.increment("count")
            tell(ctx.run_id, text)
            await trio.sleep(0.01 * (n + 1))
        if depth:
            await ctx.run_child(Leaf, {"name": name, "depth": depth - 1}, merge_state=True)
        return mark(name, depth, "out")


class Nesting(Workflow):
    """Children at once whose changes come back."""

    id = "crash-nesting"

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Write something, and schedule the children."""
        await ctx.run_store.push("items", mark(ctx.run_id, "first"))
        tell(ctx.run_id, mark(ctx.run_id, "first"))
        for number in range(cast("int", _of(data)["children"])):
            await ctx.schedule_next_step("call", {"number": number}, delay=0.02 * number)

    async def call(self, data: object, ctx: Context[object]) -> None:
        """One child, merged."""
        number = cast("int", _of(data)["number"])
        name = f"{ctx.run_id}.{number}"
        depth = number % 2
        out = await ctx.run_child(Leaf, {"name": name, "depth": depth}, merge_state=True)
        tell(ctx.run_id, mark(name, 0, 0))  # it came back with the merge
        tell(ctx.run_id, str(out))

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """Everything."""
        return shown(await ctx.run_store.snapshot())


class Doubling(Workflow):
    """Breaks the rule on purpose: each pass names its operations anew, so that a repeated one counts twice."""

    id = "crash-doubling"
    _passes = 0

    async def start(self, data: object, ctx: Context[object]) -> None:
        """Count, with gaps in which to die."""
        Doubling._passes += 1
        for n in range(6):
            await ctx.run_store.increment("count", op_id=f"{Doubling._passes}.{n}")
            await trio.sleep(0.1)

    async def on_workflow_complete(self, ctx: Context[object]) -> object:
        """The count, which should be 6."""
        return shown(await ctx.run_store.snapshot())


ALL_FLOWS: Final = (Branches, Kept, Asking, Leaf, Nesting, Doubling)

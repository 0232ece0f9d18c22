"""Asking a live owner from another process: the runtime answers requests that were left beside its journal.

What lives here: the polling task, and what each kind of request does. What does not: the file (`journals.inbox`).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from ..errors import ActorflowError, InputError
from ..journals import Inbox, Request, SqliteJournal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .runtime import Runtime

POLL_S: Final = 0.25
"""Pause between looks, one `stat` each: an answer comes within a second."""


def start(runtime: Runtime, nursery: trio.Nursery) -> None:
    """Watch the inbox of the runtime's journal, if it has one. On virtual time nobody could be waiting outside."""
    kernel = runtime._kernel
    if isinstance(kernel.journal, SqliteJournal) and not kernel.clock.virtual:
        nursery.start_soon(_watch, runtime, Inbox(kernel.journal.path), name="actorflow inbox")


async def _watch(runtime: Runtime, inbox: Inbox) -> None:
    writer = runtime._kernel.writer
    async with trio.open_nursery() as nursery:
        while True:
            await trio.sleep(POLL_S)
            for request in await writer.run(inbox.poll) if inbox.path.exists() else ():
                nursery.start_soon(_serve, runtime, inbox, request)


async def _serve(runtime: Runtime, inbox: Inbox, request: Request) -> None:
    reply = await _answer(runtime, request.body)
    await runtime._kernel.writer.run(partial(inbox.answer, request.id, reply))


async def _answer(runtime: Runtime, request: Mapping[str, object]) -> dict[str, object]:
    try:
        result = await _do(runtime, request)
    except ActorflowError as error:
        return {"ok": False, "error": type(error).__name__, "message": str(error)}
    return {"ok": True, "result": result}


async def _do(runtime: Runtime, request: Mapping[str, object]) -> dict[str, object]:
    kind = request.get("kind")
    run = await runtime.get_run(str(request.get("run_id")))
    if kind == "event":
        await run.send_event(str(request.get("name")), request.get("data"))
    elif kind == "resume":
        step, label = request.get("step"), request.get("label")
        await run.resume(
            request.get("data"),
            step=None if step is None else str(step),
            label=None if label is None else str(label),
        )
    elif kind == "cancel":
        await run.cancel(str(request.get("reason") or ""))
    elif kind == "fork":
        at, before, new_id = request.get("at"), request.get("before"), request.get("new_run_id")
        run = await run.fork(
            at=at if isinstance(at, int) else None,
            before=None if before is None else str(before),
            run_id=None if new_id is None else str(new_id),
        )
    else:
        raise InputError(f"the owner of this journal does not know requests of kind {kind!r}")
    status = await run.status()
    return {"run_id": run.run_id, "status": status.value}

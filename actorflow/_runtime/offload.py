"""Steps that are plain functions: they run in a thread, and the verbs of their store are plain calls.

What lives here: the hop there and back. What does not: the verbs (`run_store`), the step boundary (`passes`).
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Protocol

import trio

from .scheduled import ScheduledStep

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from .clock import RunClock
    from .passes import Pass


async def run_in_thread(owner: Pass, data: object) -> object:
    """The result of a plain step function, run in a worker thread under the runtime's own limiter.

    A thread cannot be cancelled: the step ends when its function returns, or at its next store verb, which raises
    `Cancelled` there.
    """
    context = owner.context
    assert context is not None
    kernel = owner.actor.kernel
    with kernel.clock.hold():
        return await trio.to_thread.run_sync(
            partial(owner.step.invoke, data, Blocking(context, kernel.clock)), limiter=kernel.step_threads
        )


class Blocking:
    """The face of a context or of a store in a thread: each coroutine method is a plain call that waits.

    Every call is a message to the run all the same, in the order of the calls.
    """

    __slots__ = ("_clock", "_face")

    def __init__(self, face: object, clock: RunClock) -> None:
        self._face = face
        self._clock = clock

    def __getattr__(self, name: str) -> object:
        if name.startswith("_"):
            raise AttributeError(name)
        value: object = getattr(self._face, name)
        if name in ("run_store", "parent_store", "root_store"):
            return None if value is None else Blocking(value, self._clock)
        if inspect.iscoroutinefunction(value):
            return partial(_call, self._clock, value)
        if name.endswith("_nowait"):
            return partial(_call_plain, value)  # type: ignore[arg-type]  # the store's methods of such names
        if name == "transaction":
            return partial(_PlainTransaction, value)  # type: ignore[arg-type]  # the store's method of that name
        return value

    def __repr__(self) -> str:
        return f"<plain calls to {self._face!r}>"


class _Verb(Protocol):
    def __call__(self, *args: object, **kwargs: object) -> Awaitable[object]: ...


class _Plain(Protocol):
    def __call__(self, *args: object, **kwargs: object) -> object: ...


class _Opener(Protocol):
    def __call__(self, *, op_id: str) -> AbstractAsyncContextManager[object]: ...


def _call(clock: RunClock, function: _Verb, *args: object, **kwargs: object) -> object:
    async def call() -> object:
        with clock.release():
            return await function(*args, **kwargs)

    found: object = trio.from_thread.run(call)
    return Blocking(found, clock) if isinstance(found, ScheduledStep) else found


def _call_plain(function: _Plain, *args: object, **kwargs: object) -> object:
    return trio.from_thread.run_sync(partial(function, *args, **kwargs))


class _PlainTransaction:
    """`with store.transaction() as tx:` for a thread."""

    def __init__(self, function: _Opener, *, op_id: str = "") -> None:
        self._manager = function(op_id=op_id)

    def __enter__(self) -> object:
        return trio.from_thread.run(self._manager.__aenter__)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return trio.from_thread.run(self._manager.__aexit__, kind, error, trace)

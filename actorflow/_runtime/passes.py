"""One pass of a step: from its first line to its outcome.

What lives here: `Pass`, what a running step carries with it, and the step boundary, where a user's exception becomes
the run's news. What does not: which task runs it (`branches`), what the news leads to (`decide`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from .._authoring.definition import BoundStep, Commit, Offload
from .._core import commands as c
from .._core.lifecycle import Phase
from .._core.replay import Replay
from .._core.values import decode
from .._ids import HOOK_CANCEL, HOOK_ERROR, HOOKS, activation_id
from ..errors import InputError, RunOver, StepTimeout
from .buffer import Buffer
from .children import is_final
from .context import Context
from .inspect import failure
from .mailbox import Message
from .offload import run_in_thread
from .unwinding import Suspended

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

    from .._core.run_state import Activation
    from .branches import Worker
    from .guests import Guest
    from .supervisor import RunActor


class Pass:
    """One pass of one activation."""

    worker: Worker | None = None
    stop_reason: str | None = None
    ended = False
    reads: dict[str, int] | None = None
    """By key that the step has read: the store's write count when it did."""
    unasked_error: Exception | None = None
    """What a call failed with that the step did not wait for."""
    buffer: Buffer | None = None
    context: Context[object] | None = None
    replay: Replay | None = None
    suspension: c.SuspendStep | None = None
    """What the step has asked to be suspended with: from then on it ends as suspended, unless it fails."""
    is_hopeless = False
    suspends = 0
    """How often the step has called `suspend` in this pass."""
    guests: dict[str, Guest] | None = None
    """As whom it writes to the stores above, by run."""

    def __init__(self, actor: RunActor, activation: Activation) -> None:
        self.actor = actor
        self.activation = activation
        self.step: BoundStep = actor.definition.steps[activation.step]
        if activation.log is not None:
            self.replay = Replay(activation.log, leg=activation.leg)

    @property
    def activation_id(self) -> str:
        """The public id of the activation."""
        return activation_id(self.actor.state.prefix, self.activation.n)

    @property
    def home(self) -> tuple[RunActor, int]:
        """The run in which it has a place, and its number there."""
        return self.actor, self.activation.n

    @property
    def is_parked(self) -> bool:
        """Whether it waits for something that its run will tell it."""
        return self.activation.n in self.actor.state.parked

    @property
    def is_hook(self) -> bool:
        """Whether this is the hook of the run's end."""
        return self.activation.step in HOOKS

    def stop(self, reason: str) -> None:
        """Cancel it, now or when it begins."""
        if not self.ended and self.stop_reason is None:
            self.stop_reason = reason
            if self.worker is not None:
                self.worker.stop(f"actorflow: {reason}")
            for waiting in self.actor.callers.values():
                for message in waiting:
                    if message.origin is self and not message.answered:
                        message.answer()  # also one that is shielded: what it waits for may not come any more

    def suspend(self, call: int, label: str, payload: str) -> Suspended:
        """What ends the pass: raise it. The step runs again from its first line when it is resumed."""
        if self.suspension is None:
            self.suspension = c.SuspendStep(self.activation.n, call, label, payload)
        return Suspended()

    def skip(self) -> None:
        """It was stopped before it began: no line of it runs."""
        news, result = self._after_cancel(None)
        self._leave()
        if news is not None:
            self._report(news, result)

    async def run(self) -> None:
        """Run the step and tell its run how it ended. Only what is nobody's outcome leaves: `Cancelled`, and the
        interpreter's own exits.
        """
        actor = self.actor
        instruments = actor.kernel.instruments
        if instruments:
            for instrument in instruments:
                instrument.step_started(
                    actor.state.run_id, self.activation.step, self.activation_id, self.activation.attempt
                )
        news: c.Command | None = None
        result = "completed"
        leaving: BaseException | None = None
        step = self.step
        try:
            if step.simple:
                found = await step.invoke(decode(self.activation.payload), Context(self))  # type: ignore[misc]  # it is a coroutine function
                output = "null" if found is None else self._output(found)
            else:
                output = await self._invoke()
            if self.guests is not None:
                for guest in self.guests.values():
                    await guest.flush()
        except (KeyboardInterrupt, GeneratorExit) as error:
            leaving = error
        except BaseException as error:  # noqa: BLE001 - the step boundary: whatever a step raises is the run's news
            news, result, leaving = self._verdict(error)
        else:
            news = self._success(output)
            result = "completed" if self.suspension is None else "suspended"
        # Not inside the handler: what is cancelled in consequence would get this exception as its context.
        if not self.ended:
            self._leave()
        if news is not None:
            self._report(news, result)
        if leaving is not None:
            raise leaving

    async def _invoke(self) -> str:
        step = self.step
        activation = self.activation
        context = self.context = Context(self)
        if step.commit is Commit.ON_SUCCESS:
            self.buffer = Buffer(self)
        data: object
        if activation.step in HOOKS:
            data = self._hook_data()
        elif step.payload.kind is None:
            data = decode(activation.payload)
        else:
            try:
                data = step.payload.structure(activation.payload, self._what("payload"))
            except InputError:
                self.is_hopeless = True  # the same data will never fit
                raise
        if step.offload is Offload.THREAD:
            call = run_in_thread(self, data)
        else:
            call = step.invoke(data, context)  # type: ignore[assignment]  # an awaitable, by `offload`
        if step.timeout is None:
            output = await call
        else:
            own: BaseException | None = None
            with trio.move_on_after(step.timeout) as scope:
                try:
                    output = await call
                except trio.Cancelled as error:
                    own = _own_error(error)
                    raise
            if scope.cancelled_caught:
                if own is not None:
                    raise own
                text = f"step {activation.step!r} passed its timeout of {step.timeout:g} s"
                raise StepTimeout(text, step_id=activation.step, seconds=step.timeout)
        if output is None:
            if activation.step in HOOKS:
                return ""
            if step.output.kind is None:
                return "null"
        return self._output(output)

    def _output(self, output: object) -> str:
        what = self._what("output")
        text = self.step.output.unstructure(output, what)
        self.actor.kernel.check_payload(text, what)
        return text

    def _what(self, noun: str) -> str:
        activation = self.activation
        noun = "input" if activation.step == "start" and noun == "payload" else noun
        return f"{noun} of step {activation.step!r} (activation {self.activation_id})"

    def _hook_data(self) -> object:
        if self.activation.step == HOOK_ERROR:
            state = self.actor.state
            return failure(state, state.failures[0], self.actor.causes) if state.failures else None
        if self.activation.step == HOOK_CANCEL:
            return self.actor.state.reason
        return None

    def _success(self, output: str) -> c.Command | None:
        n = self.activation.n
        if self.unasked_error is not None:
            return self.failure(self.unasked_error)
        if self.suspension is not None:
            return self.suspension  # the step has caught what should have ended it
        if self.activation.step in HOOKS:
            return c.FinishHook(n, output)
        if self.buffer is not None:
            return self.buffer.finish(output)
        actor = self.actor
        if actor.idle and actor.broken is None and not actor.kernel.instruments:
            self._leave()
            actor.complete(n, output)
            return None
        if actor.broken is None and not actor.is_over and not actor.kernel.instruments:
            self._leave()
            actor.tell(Message.succeeding(output, self))
            return None
        return c.FinishStep(n, output)

    def failure(self, error: BaseException) -> c.Command:
        """The news that this pass raised `error`."""
        n = self.activation.n
        error_type, message = type(error).__name__, _message(error)
        if self.is_hook:
            return c.FinishHook(n, "", error_type, message)
        self.actor.causes[n] = error
        retry = self.step.plan.retry
        retryable = (
            isinstance(error, retry.on)
            and not isinstance(error, retry.never_on)
            and not isinstance(error, RunOver)
            and not is_final(error)
            and not self.is_hopeless
        )
        return c.FailStep(n, error_type, message, retryable, self.actor.kernel.clock.dice())

    def _verdict(self, error: BaseException) -> tuple[c.Command | None, str, BaseException | None]:
        """What a pass that raised tells its run, and what must go on through the worker: its cancellation, or an exit
        of the interpreter.
        """
        if isinstance(error, trio.Cancelled):
            return *self._after_cancel(_own_error(error)), error
        if isinstance(error, Suspended):
            return self._success(""), "suspended", None
        if isinstance(error, BaseExceptionGroup):
            asked, others = error.split(Suspended)
            if asked is not None:
                if others is None:
                    return self._success(""), "suspended", None
                error = others
                if others.split(trio.Cancelled)[1] is None and self.stop_reason is None:
                    return self._success(""), "suspended", None
            cancels, rest = error.split(trio.Cancelled)
            if rest is None:
                return *self._after_cancel(_own_error(error)), error
            leaf = only_leaf(rest)
            if rest.split(KeyboardInterrupt)[0] is not None:
                return None, "left", error
            return self.failure(leaf), "failed", cancels
        return self.failure(error), "failed", None

    def _after_cancel(self, own: BaseException | None) -> tuple[c.Command | None, str]:
        actor = self.actor
        stopping = actor.state.phase is Phase.STOPPING
        closing = self.stop_reason is not None and actor.paused and not stopping
        if own is not None and not closing:  # cut off by the closing, it may have been about to get over its error
            return self.failure(own), "failed"
        if self.stop_reason is None or actor.broken is not None or closing:
            return None, "left"  # cut off from outside: the step has no outcome, and runs again another time
        return c.DropStep(self.activation.n), "cancelled"

    def _report(self, command: c.Command, result: str) -> None:
        actor = self.actor
        actor.tell_end(command, self)
        for instrument in actor.kernel.instruments:
            instrument.step_ended(actor.state.run_id, self.activation.step, self.activation_id, result)

    def _leave(self) -> None:
        self.ended = True
        self.context = None  # a cycle that would have to wait for the garbage collector
        self.actor.passes.pop(self.activation.n, None)


def _message(error: BaseException) -> str:
    """The text of an exception, bounded: a report must not be larger than what it reports."""
    try:
        text = str(error)
        text.encode()
    except Exception as odd:  # noqa: BLE001 - a user's __str__ may raise anything
        return f"<its text cannot be had: {type(odd).__name__}>"
    return text if len(text) <= 4000 else f"{text[:4000]}… ({len(text)} characters)"


def _own_error(error: BaseException) -> BaseException | None:
    """The step's own exception behind a `Cancelled` that replaced it during clean-up.

    The context of a `Cancelled` may also be somebody else's exception: that of whoever asked for the cancellation.
    The step's own was raised through a frame that the `Cancelled` went through as well.
    """
    if isinstance(error, BaseExceptionGroup):
        return next((own for inner in error.exceptions if (own := _own_error(inner)) is not None), None)
    frames = set(_frames(error))
    seen: set[int] = set()
    found = error.__context__
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        if not isinstance(found, trio.Cancelled) and not frames.isdisjoint(_frames(found)):
            if not isinstance(found, BaseExceptionGroup):
                return found
            rest = found.split(trio.Cancelled)[1]
            if rest is not None:
                return only_leaf(rest)
        found = found.__context__
    return None


def _frames(error: BaseException) -> Iterator[FrameType]:
    trace = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def only_leaf(error: BaseException) -> BaseException:
    """The one exception in a group of one, at any depth; a group of several stays what it is."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error

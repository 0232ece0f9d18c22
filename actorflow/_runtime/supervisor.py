"""The supervisor: one actor per run, the only writer of its state.

What lives here: `RunActor`, which decides the messages of its mailbox, writes the facts, and answers when they are
durable. What does not: deciding and writing themselves (`_core`), when it gets a turn and when facts are committed
(`dispatcher`), running steps (`branches`, `passes`).

Two roads lead to a decision. With a durable journal every message waits in the mailbox for a turn, and its reply for
the commit. With a volatile one nothing has to be waited for, so an idle mailbox is decided in the sender's turn.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import evolve

from .._authoring.definition import Definition
from .._core import commands as c
from .._core import facts as f
from .._core import react
from .._core.decide import Ruling, decide, decide_operation, over
from .._core.lifecycle import Phase
from .._core.operations import VERBS, Argument
from .._core.plan import LostUpdates, RunPlan
from .._core.run_state import APPLY, Activation, RunState, apply_operation
from .._core.store_state import Value, value_of
from .._core.values import MISSING, Missing
from ..abc import Append, RunHeader
from ..errors import ActorflowError, LostUpdate, RunOver
from .mailbox import Mailbox, Message, Read
from .passes import Pass

if TYPE_CHECKING:
    from .events import EventStream
    from .kernel import Kernel

LOG = logging.getLogger("actorflow")

KEEP_MAX: Final = 8_000
"""Facts that a run with a volatile journal keeps to itself before they are packed away there."""

T = TypeVar("T")

Watch = tuple[Message, str, Callable[[object], bool], int]
"""(who waits, key, predicate, activation)"""


class RunActor:
    """One run: its state, its mailbox, its live passes, and whoever waits for it."""

    def __init__(self, kernel: Kernel, definition: Definition, state: RunState, header: RunHeader | None) -> None:
        self.kernel = kernel
        self.definition = definition
        self.plan: RunPlan = evolve(definition.plan, limits=kernel.limits)
        self.state = react.open_gates(state, self.plan)
        self.header = header
        self.mailbox = Mailbox(kernel.limits.mailbox)
        self.volatile = not kernel.journal.durable
        self.saved_seq = state.seq
        self.acted = 0
        self.started: list[Activation] = []
        self.must_stop = False
        self.encoder = kernel.encoder(definition)
        self.outbox: list[f.Fact] = []
        self.answers: list[Message] = []
        self.passes: dict[int, Pass] = {}
        self.watches: list[Watch] = []
        self.streams: list[EventStream] = []
        self.waiting: list[Message] = []
        self.final_state: dict[str, Value] | None = None
        self.causes: dict[int, BaseException] = {}
        self.queued = False
        self.paused = kernel.closing
        self.created = kernel.next_created() if header is None else header.created
        self.ended = state.phase is Phase.OVER
        self.broken: ActorflowError | None = None
        self.armed_at = 0.0
        self.frame_bytes = 0
        self.snapshot_bytes = 0

    # --- asking

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run will ever run again."""
        return self.state.phase is Phase.OVER

    @property
    def idle(self) -> bool:
        """Whether a message may be decided in its sender's turn: nothing waits, and nothing has to be durable."""
        return self.volatile and not self.mailbox.user and not self.mailbox.control

    def check_usable(self) -> None:
        """Raise what stands in the way of any message."""
        if self.broken is not None:
            raise afresh(self.broken)

    async def ask(self, command: c.Command, origin: Pass | None = None) -> object:
        """Send a command and wait for its reply; cancelled before the run has taken it, it never happened."""
        self.check_usable()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.idle:
            reply = self.execute(command, origin)
            await self.kernel.breathe()
            return reply
        message = Message(command, origin=origin)
        self.tell(message)
        return await message.reply()

    async def ask_read(self, read: Read, origin: Pass | None = None) -> object:
        """Read something of the state, in order with everything else; a reader lets others have their turn."""
        self.check_usable()
        if self.idle:
            await trio.lowlevel.checkpoint()
            if not self.mailbox:
                self.check_usable()
                return read(self.state)
        return await self.post(Message(None, read=read, origin=origin))

    async def post(self, message: Message) -> object:
        """Put a message into the mailbox and wait."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self.tell(message)
        return await message.reply()

    def tell(self, message: Message) -> None:
        """Put a message into the mailbox, and have a turn."""
        if self.broken is not None or self.is_over:
            message.refuse(afresh(self.broken) if self.broken is not None else over(self.state))
            return
        self.mailbox.put(message, self.kernel.clock.now)
        if not self.queued:
            self.kernel.dispatcher.wake(self)

    def tell_control(self, command: c.Command) -> None:
        """Send a command on the control lane without waiting."""
        self.mailbox.put_control(Message(command))
        self.kernel.dispatcher.wake(self)

    async def control(self, command: c.Command) -> object:
        """Send a command that no queue of user messages can hold up."""
        self.check_usable()
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.volatile and self.is_over:
            return None
        message = Message(command)
        self.mailbox.put_control(message)
        self.kernel.dispatcher.wake(self)
        return await message.reply()

    def tell_end(self, command: c.Command, origin: Pass | None) -> None:
        """The end of a pass: in order behind what the pass has sent, never refused, never waited for."""
        if self.broken is not None or self.is_over:
            return
        if self.idle and not isinstance(command, c.FailStep):
            self.execute(command, origin)
        else:  # a failure may stop the others: those that fail in the same breath shall be heard first
            self.tell(Message(command, origin=origin))

    # --- deciding

    def execute(self, command: c.Command, origin: Pass | None = None) -> object:
        """Decide, write and act at once: the road of a volatile journal with an idle mailbox."""
        now = self.kernel.clock.now()
        try:
            reply = self._rule(command, now, origin)
        finally:
            self.settle(now)
            self.act()
        return reply

    def operate(self, n: int, verb: str, key: str, argument: Argument, mark: int) -> object:
        """`execute` for one store verb without `op_id`: the shortest way through the library."""
        reply = self._decide(self.kernel.clock.now(), n, verb, key, argument, mark)
        if self.streams or self.answers:
            self.act()
        return reply

    def _decide(self, now: float, n: int, verb: str, key: str, argument: Argument, mark: int) -> object:
        state = self.state
        try:
            fact = decide_operation(state, self.plan, now, n, verb, key, argument, "", mark)
        except LostUpdate as error:
            self._warn_or_raise(error)
            fact = decide_operation(state, self.plan, now, n, verb, key, argument, "", c.NO_MARK)
        if fact is None:
            return VERBS[verb].unchanged(state.store.values.get(key, MISSING), argument)
        state.seq += 1
        reply = apply_operation(state, fact)
        self.outbox.append(fact)
        if self.watches:
            self._look(key)
        return reply

    def complete(self, n: int, output: str) -> None:
        """`execute` for the plain success of a step."""
        if n not in self.state.live:
            return
        now = self.kernel.clock.now()
        self.record(f.StepCompleted(now, n, output))
        self.settle(now)
        self.act()
        if len(self.outbox) > KEEP_MAX and not self.queued:
            self.kernel.dispatcher.wake(self)

    def _warn_or_raise(self, error: LostUpdate) -> None:
        if self.plan.lost_updates is not LostUpdates.WARN:
            raise error
        LOG.warning("lost update: %s", error)

    def _rule(self, command: c.Command, now: float, origin: Pass | None = None) -> object:
        if isinstance(command, c.FinishStep) and origin is not None:
            return self._finish(command, now, origin)
        try:
            ruling = decide(self.state, self.plan, command, now)
        except LostUpdate as error:
            self._warn_or_raise(error)
            ruling = decide(self.state, self.plan, _unmarked(command), now)
        return self._record_all(ruling)

    def _record_all(self, ruling: Ruling) -> object:
        reply = ruling.reply
        for fact in ruling.facts:
            written = self.record(fact)
            if ruling.reply is None:
                reply = written
        return reply

    def _finish(self, command: c.FinishStep, now: float, origin: Pass) -> object:
        """The success of a step is a failure if a call that it did not wait for has failed, or if what it had
        buffered for its success does not fit any more."""
        if origin.unasked_error is not None:
            return self._rule(origin.failure(origin.unasked_error), now)
        try:
            try:
                ruling = decide(self.state, self.plan, command, now)
            except LostUpdate as error:
                self._warn_or_raise(error)
                ruling = decide(self.state, self.plan, _unmarked(command), now)
        except ActorflowError as error:
            return self._rule(origin.failure(error), now)
        return self._record_all(ruling)

    def record(self, fact: f.Fact) -> object:
        """Write a fact, keep it for the journal, and note what it will have to lead to."""
        kind = type(fact)
        state = self.state
        state.seq += 1
        reply = APPLY[kind](state, fact)
        self.outbox.append(fact)
        if kind is f.StepStarted:
            self.started.append(reply)  # type: ignore[arg-type]  # the activation
        elif kind is f.RunStopping:
            self.must_stop = True
        elif self.watches:
            if kind is f.OperationApplied:
                self._look(fact.key)  # type: ignore[union-attr]  # by kind
            elif kind is f.TransactionApplied:
                for _, key, _ in fact.operations:  # type: ignore[union-attr]  # by kind
                    self._look(key)
        return reply

    def turn(self) -> None:
        """Decide everything that waits. Nothing leaves the run before `act`, which comes after the commit."""
        now = self.kernel.clock.now()
        answers = self.answers
        for message in self.mailbox.take():
            try:
                if message.ask is not None:
                    message.value = self._decide(now, *message.ask)
                elif message.output is not None:
                    self._succeed(message, now)
                elif message.read is not None:
                    message.value = message.read(self.state)
                elif message.command is not None:
                    message.value = self._rule(message.command, now, message.origin)
            except Exception as error:  # the actor's boundary; a user's `update` function may raise anything
                message.error = error
            if message.done is not None:
                message.done(message.error)  # now: the end of its step may be the next message
            answers.append(message)
        self.settle(now)

    def _succeed(self, message: Message, now: float) -> None:
        origin = message.origin
        assert origin is not None and message.output is not None
        n = origin.activation.n
        if origin.unasked_error is not None:
            self._rule(origin.failure(origin.unasked_error), now)
        elif n in self.state.live:
            self.record(f.StepCompleted(now, n, message.output))

    def settle(self, now: float) -> None:
        """Record what follows by itself. While the runtime closes, a run that is on the way to its end goes on to it,
        and one with nothing left to do ends, but no step starts."""
        if not self.paused or self.state.phase is not Phase.OPEN or not self.state.open_steps:
            react.settle(self.state, self.plan, now, self.record)

    # --- acting

    def append(self) -> Append | None:
        """What the next commit has to keep of this run, or None."""
        if not self.outbox and self.header is not None:
            return None
        header = self._new_header()
        changed = header if header != self.header else None
        self.header = header
        first = self.saved_seq + 1
        facts = self.outbox
        self.saved_seq += len(facts)
        drops = self.is_over and not self.plan.keep_state
        if self.volatile:
            self.outbox, self.acted = [], 0
            if drops:
                _drop_arguments(facts)
        return Append(
            run_id=self.state.run_id,
            first_seq=first,
            facts=facts,
            header=changed,
            drop_values=drops,
            snapshot=self.kernel.snapshot_of(self),
        )

    def _new_header(self) -> RunHeader:
        state = self.state
        if self.header is None:
            return RunHeader(
                run_id=state.run_id,
                workflow_id=state.workflow_id,
                version=state.version,
                source=state.source,
                status=state.status,
                parent_id=state.parent_id,
                created=self.created,
                started_at=state.started_at,
                ended_at=state.ended_at,
                fingerprint=state.fingerprint,
            )
        if self.header.status is state.status and self.header.ended_at == state.ended_at:
            return self.header
        return evolve(self.header, status=state.status, ended_at=state.ended_at)

    def act(self) -> None:
        """After the commit: answer, start what is to be started, stop what is to be stopped, tell who listens."""
        outbox = self.outbox
        count = len(outbox) - self.acted
        if self.volatile:  # the facts stay here until somebody wants to read them, or the run is over
            facts = outbox[self.acted :] if self.streams else ()
            self.acted = len(outbox)
            self.kernel.commits += 1
        else:
            facts = outbox
            self.outbox = []
        self.kernel.facts += count
        if self.answers:
            answers, self.answers = self.answers, []
            for message in answers:
                if not message.deliver() and message.error is not None and message.ask is not None:
                    self.kernel.late_replies += message.done is None
        if self.must_stop:  # before what starts: the hook of the run's end may be among it
            self.must_stop = False
            self._stop_passes()
        if self.started:
            started, self.started = self.started, []
            for activation in started:
                self._start(activation)
        if self.state.phase is Phase.OVER and not self.ended:
            self._ended()
        if self.streams:
            self._feed(facts)
        if self.state.timers or self.state.gates:
            self.arm()

    def _feed(self, facts: Sequence[f.Fact]) -> None:
        first = self.state.seq - len(facts) + 1
        for stream in self.streams:
            stream.feed(first, facts)
        if self.is_over:
            for stream in self.streams:
                stream.finish()
            self.streams.clear()

    def arm(self) -> None:
        """Have a turn when the next timer falls due."""
        if self.paused:
            return
        due = react.wake_at(self.state, self.plan)
        if due and due != self.armed_at:
            self.armed_at = due
            self.kernel.timers.add(due, self)

    def tick(self) -> None:
        """A timer fell due."""
        self.armed_at = 0.0
        if self.broken is None and not self.is_over:
            self.mailbox.put_control(Message(c.Tick()))
            self.kernel.dispatcher.wake(self)

    def _start(self, activation: Activation) -> None:
        n = activation.n
        if n not in self.state.live or n in self.passes:
            return
        found = self.passes[n] = Pass(self, activation)
        if self.state.phase is Phase.STOPPING:
            found.stop("the run is ending")
        elif self.kernel.stopping:
            found.stop("the runtime is closing")
        self.kernel.branches.submit(found)

    def _stop_passes(self) -> None:
        for found in list(self.passes.values()):
            found.stop("the run is ending")

    def _ended(self) -> None:
        state = self.state
        self.ended = True
        self.final_state = dict(state.store.values)
        for message in self.mailbox.drain():
            self.answer_late(message)
        for message, *_ in self.watches:
            message.refuse(over(state))
        self.watches.clear()
        if not self.plan.keep_state:
            state.store.values = {}
            state.store.meta = {}
        self.kernel.run_ended(self)
        self.wake_waiting()
        if self.volatile:
            self.kernel.dispatcher.wake(self)  # its record goes to the journal

    def answer_late(self, message: Message) -> None:
        """Nobody hangs: what still waits when the run ends is told so."""
        if isinstance(message.command, c.CancelRun | c.Tick):
            message.answer()
        else:
            message.refuse(afresh(self.broken) if self.broken is not None else over(self.state))

    def wake_waiting(self) -> None:
        """Wake everybody who waits for the run to settle; they look at it again."""
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            message.answer()

    async def settled(self) -> None:
        """Wait until the run is over, or cannot go on."""
        while not self.ended:
            self.check_usable()
            message = Message(None)
            self.waiting.append(message)
            await message.reply()
        await trio.lowlevel.checkpoint()

    async def inspect(self, look: Callable[[RunState], T]) -> T:
        """What `look` finds in the state, when all that it shows is durable; never held up by user messages."""
        if self.volatile or self.ended:
            await trio.lowlevel.checkpoint()
            return look(self.state)
        self.check_usable()
        await trio.lowlevel.checkpoint_if_cancelled()
        found: list[T] = []
        message = Message(None, read=lambda state: found.append(look(state)))
        self.mailbox.put_control(message)
        self.kernel.dispatcher.wake(self)
        try:
            await message.reply()
        except RunOver:
            return look(self.state)
        return found[0]

    def close_waiting(self, error: ActorflowError) -> None:
        """The runtime closes: whoever waits from outside is told so."""
        waiting, self.waiting = self.waiting, []
        for message in waiting:
            message.refuse(afresh(error))
        for stream in self.streams:
            stream.break_off(error)
        self.streams.clear()

    def fail(self, error: ActorflowError) -> None:
        """The journal does not take our facts: nothing is acknowledged, and nothing of this run goes on here."""
        if self.broken is not None:
            return
        self.broken = error
        self.outbox = []
        answers, self.answers = self.answers, []
        for message in (*answers, *self.mailbox.drain(), *(watch[0] for watch in self.watches)):
            message.refuse(afresh(error))
        self.watches.clear()
        for found in list(self.passes.values()):
            found.stop("the journal cannot be written")
        for stream in self.streams:
            stream.break_off(error)
        self.streams.clear()
        self.wake_waiting()

    # --- wait_for

    async def wait_for(self, origin: Pass, key: str, predicate: Callable[[object], bool]) -> object:
        """The value under `key` as soon as `predicate` holds for it; the step gives its place up meanwhile."""
        n = origin.activation.n
        message = Message(None, origin=origin)

        def look(state: RunState) -> object:
            value = decoded(state.store.values.get(key, MISSING))
            if predicate(value):
                return (value,)
            self.watches.append((message, key, predicate, n))
            state.parked.add(n)
            return None

        found = await self.ask_read(look, origin)
        if isinstance(found, tuple):
            return found[0]
        try:
            if self.volatile:
                self.execute(c.Tick())  # the place that was given up may let another step start
            return await message.reply()
        finally:
            self.watches = [watch for watch in self.watches if watch[0] is not message]
            self.state.parked.discard(n)

    def _look(self, key: str) -> None:
        value = decoded(self.state.store.values.get(key, MISSING))
        for watch in [watch for watch in self.watches if watch[1] == key]:
            message, _, predicate, n = watch
            try:
                if not predicate(value):
                    continue
            except Exception as error:  # a user's predicate: its error belongs to its caller
                message.error = error
            self.watches.remove(watch)
            self.state.parked.discard(n)
            message.taken = True
            message.value = value
            self.answers.append(message)


def _drop_arguments(facts: Sequence[f.Fact]) -> None:
    """Take the values out of facts that nobody else has seen, in place, which costs a tenth of making new ones."""
    for fact in facts:
        if type(fact) is f.OperationApplied:
            object.__setattr__(fact, "argument", None)


def afresh(error: ActorflowError) -> ActorflowError:
    """The same error for one more caller: an exception that is raised again and again collects their tracebacks."""
    copy = type(error).__new__(type(error))
    copy.args = error.args
    copy.__dict__.update(error.__dict__)
    copy.__cause__ = error.__cause__
    return copy


def _unmarked(command: c.Command) -> c.Command:
    """The same command without what it knows of earlier reads: the last write wins."""
    if isinstance(command, c.Operate):
        command.mark = c.NO_MARK
    elif isinstance(command, c.Transact | c.FinishStep):
        command.marks = {}
    return command


def decoded(value: Value | Missing) -> object:
    """A stored value as a Python object; None for a missing key."""
    return None if value is MISSING else value_of(value)


def interrupted_commands(state: RunState, *, crashed: bool) -> list[c.Command]:
    """What must be told to a run whose live passes are gone."""
    ask: list[c.Command] = []
    for n in react.pending(state):
        if state.phase is Phase.STOPPING:
            ask.append(c.DropStep(n))
        else:
            ask.append(c.InterruptStep(n, crashed))
    return ask

"""The supervisor: one actor per run, the only writer of its state.

What lives here: `RunActor`, which takes the messages of its mailbox, and answers and acts when their facts are
durable. What does not: deciding and writing (`ledger`), when it gets a turn and when facts are committed
(`dispatcher`), running steps (`branches`, `passes`).

Two roads lead to a decision. With a durable journal every message waits in the mailbox for a turn, and its reply for
the commit. With a volatile one nothing has to be waited for, so an idle mailbox is decided in the sender's turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar
from weakref import ref

import trio

from .._core import commands as c
from .._core import facts as f
from .._core import react
from .._core.decide_steps import is_cut_off
from .._core.lifecycle import Phase, RunStatus
from .._core.ruling import over
from .children import cancel_calls, link
from .inspect import open_children
from .ledger import Ledger
from .mailbox import Mailbox, Message, Read, afresh
from .passes import Pass

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._authoring.definition import Definition
    from .._core.operations import Argument
    from .._core.run_state import Activation, RunState
    from .._core.store_state import Value
    from ..abc import RunHeader
    from ..errors import ActorflowError, RunFailed
    from .events import EventStream
    from .kernel import Kernel


KEEP_MAX: Final = 60_000
"""Facts that a run with a volatile journal keeps to itself before they are packed away there."""

T = TypeVar("T")


class Ticker:
    """A due time of a run that does not keep it in memory: one that rests has an alarm instead."""

    __slots__ = ("_actor",)

    def __init__(self, actor: RunActor) -> None:
        self._actor = ref(actor)

    def tick(self) -> None:
        """Time has passed."""
        actor = self._actor()
        if actor is not None:
            actor.tick()


class RunActor(Ledger):
    """One run: its ledger, its mailbox, its live passes, and whoever waits for it."""

    __slots__ = (
        "__weakref__",
        "armed_at",
        "broken",
        "causes",
        "child_errors",
        "encoder",
        "ended",
        "final_state",
        "mailbox",
        "parent",
        "passes",
        "queued",
        "settled_once",
        "streams",
        "waiting",
    )

    def __init__(self, kernel: Kernel, definition: Definition, state: RunState, header: RunHeader | None) -> None:
        super().__init__(kernel, definition, state, header)
        self.mailbox = Mailbox(kernel.limits.mailbox)
        self.encoder = kernel.encoder(definition)
        self.passes: dict[int, Pass] = {}
        self.streams: list[EventStream] = []
        self.waiting: list[Message] = []
        self.final_state: dict[str, Value] | None = None
        self.causes: dict[int, BaseException] = {}
        self.child_errors: dict[int, RunFailed] = {}
        self.parent: RunActor | None = None
        self.settled_once = state.status is not RunStatus.RUNNING
        """Whether it was over or suspended when it last acted: all that it says then is durable."""
        self.queued = False
        self.ended = state.phase is Phase.OVER
        self.broken: ActorflowError | None = None
        self.armed_at = 0.0

    # --- asking

    @property
    def idle(self) -> bool:
        """Whether a message may be decided in its sender's turn: nothing waits, and nothing has to be durable."""
        return self.eager and not self.mailbox.user and not self.mailbox.control

    @property
    def may_rest(self) -> bool:
        """Whether nothing can happen to the run but by time, or by somebody who asks for it: it is suspended, or waits
        for events alone.
        """
        state = self.state
        if self.volatile or not self.open or self.paused or state.live or state.ready:
            return False
        if state.status is not RunStatus.SUSPENDED and (state.timers or state.open_calls):
            return False
        busy = self.mailbox or self.passes or self.waiting or self.streams or self.watches or self.callers
        return not (busy or self.outbox)

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
        if self.broken is not None or self.ended:  # not while the end is on its way to the journal
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
            link(self)
            self.act()
        return reply

    def open_children(self) -> list[str]:
        """The ids of the child runs that are not over."""
        return open_children(self.state)

    def operate(self, n: int, verb: str, key: str, argument: Argument, mark: int) -> object:
        """`execute` for one store verb without `op_id`: the shortest way through the library."""
        reply = self._decide(self.kernel.clock.now(), n, verb, key, argument, mark)
        if self.streams or self.answers:
            self.act()
        return reply

    def complete(self, n: int, output: str) -> None:
        """`execute` for the plain success of a step."""
        now = self.kernel.clock.now()
        self.record(f.StepCompleted(now, n, output))
        self.settle(now)
        link(self)
        self.act()
        if len(self.outbox) > KEEP_MAX and not self.queued:
            self.kernel.dispatcher.wake(self)

    def turn(self) -> None:
        """Decide everything that waits. Nothing leaves the run before `act`, which comes after the commit."""
        now = self.kernel.clock.now()
        taken = self.mailbox.take()
        self.answers += taken  # at once: whatever happens in this turn, nobody who waits is forgotten
        for message in taken:
            try:
                if message.ask is not None:
                    message.value = self._decide(now, *message.ask)
                elif message.output is not None:
                    self._succeed(message, now)
                elif message.read is not None:
                    message.value = message.read(self.state)
                else:
                    assert message.command is not None
                    message.value = self._rule(message.command, now, message.origin)
            except BaseException as error:  # the actor's boundary: a user's `update` may raise anything
                if message.task is None and not isinstance(error, Exception):
                    raise  # an exit of the interpreter that nobody would hear of
                message.error = error
            if message.done is not None:
                message.done(message.error)  # now: the end of its step may be the next message
        self.settle(now)
        link(self)

    # --- acting

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
        if self.child_errors and not self.child_errors.keys() <= self.state.calls.keys():
            self.child_errors = {n: error for n, error in self.child_errors.items() if n in self.state.calls}
        if self.orphans:
            orphans, self.orphans = self.orphans, []
            cancel_calls(self, orphans, "the run that called it does not need it any more")
        if self.started:
            started, self.started = self.started, []
            for activation in started:
                self._start(activation)
        if self.state.phase is Phase.OVER and not self.ended:
            self._ended()
        elif (self.state.status is RunStatus.SUSPENDED) is not self.settled_once:
            self.settled_once = not self.settled_once
            if self.settled_once:
                self.wake_waiting()
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
            self.kernel.timers.add(due, Ticker(self))

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
        if self.state.phase is not Phase.HOOK and is_cut_off(self.state, n):
            found.stop("the run is ending")
        elif self.kernel.stopping:
            found.stop("the runtime is closing")
        self.kernel.branches.submit(found)

    def _stop_passes(self) -> None:
        reason = "the run is ending" if self.state.phase is not Phase.OPEN else "the join of its group is decided"
        for found in list(self.passes.values()):
            found.stop(reason)

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

    async def settled(self, *, or_suspended: bool = True) -> None:
        """Wait until the run is over, or suspended, or cannot go on."""
        while not (self.ended or (or_suspended and self.settled_once)):
            self.check_usable()
            message = Message(None)
            self.waiting.append(message)
            await message.reply()
        await trio.lowlevel.checkpoint()

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
        self.open = False
        self.outbox = []
        answers, self.answers = self.answers, []
        callers = [message for waiting in self.callers.values() for message in waiting]
        self.callers.clear()
        for message in (*answers, *self.mailbox.drain(), *(watch[0] for watch in self.watches), *callers):
            message.refuse(afresh(error))
        self.watches.clear()
        for found in list(self.passes.values()):
            found.stop("the journal cannot be written")
        for stream in self.streams:
            stream.break_off(error)
        self.streams.clear()
        self.wake_waiting()

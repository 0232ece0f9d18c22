"""The ledger of one run: its state, the pen, and what is not in the journal yet.

What lives here: `Ledger`, which decides one message, writes its facts, notes what they have to lead to, and packs them
for the next commit. What does not: the rules (`_core`), when a message is decided and what a fact leads to outside
(`supervisor`).
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from attrs import evolve

from .._core import commands as c
from .._core import facts as f
from .._core import react
from .._core.apply import APPLY
from .._core.decide import decide
from .._core.lifecycle import RUN_OVER, Phase, RunStatus
from .._core.perform import perform
from .._core.plan import LostUpdates, RunPlan
from .._core.store_state import Value, value_of
from .._core.values import MISSING, Missing
from ..abc import Append, RunHeader
from ..errors import ActorflowError, InputError, LostUpdate
from .births import Birth, Seed
from .mailbox import Message

if TYPE_CHECKING:
    from .._authoring.definition import Definition
    from .._core.operations import Argument
    from .._core.ruling import Ruling
    from .._core.run_state import Activation, RunState
    from .kernel import Kernel
    from .passes import Pass

LOG = logging.getLogger("actorflow")

Watch = tuple[Message, str, Callable[[object], bool]]
"""(who waits, key, predicate)"""


class Ledger:
    """The only writer of one run's state, and its facts on their way to the journal."""

    __slots__ = (
        "acted",
        "answers",
        "births",
        "callers",
        "created",
        "definition",
        "eager",
        "frame_bytes",
        "header",
        "kernel",
        "must_stop",
        "news",
        "open",
        "orphans",
        "outbox",
        "paused",
        "plan",
        "saved_seq",
        "snapshot_bytes",
        "started",
        "state",
        "volatile",
        "watches",
    )

    def __init__(self, kernel: Kernel, definition: Definition, state: RunState, header: RunHeader | None) -> None:
        self.kernel = kernel
        self.definition = definition
        self.plan: RunPlan = evolve(definition.plan, limits=kernel.limits)
        self.state = react.open_gates(state, self.plan)
        self.header = header
        self.created = kernel.next_created() if header is None else header.created
        self.volatile = not kernel.journal.durable
        self.eager = self.volatile and kernel.clock.world.eager
        self.saved_seq = state.seq
        self.acted = 0
        self.outbox: list[f.Fact] = []
        self.answers: list[Message] = []
        self.watches: list[Watch] = []
        self.started: list[Activation] = []
        self.must_stop = False
        self.births: list[Birth] = []
        """Children that have been called and not begun."""
        self.news: list[f.Fact | tuple[c.ClaimEvent, object]] = []
        """What the parent, or a descendant, has to be told in the same commit."""
        self.orphans: list[int] = []
        """Calls whose children nobody wants any more."""
        self.callers: dict[int, list[Message]] = {}
        """Who waits for which call."""
        self.open = state.phase is not Phase.OVER
        """Whether messages are taken: the run is not over, and its journal has not failed."""
        self.paused = kernel.closing
        self.frame_bytes = 0
        self.snapshot_bytes = 0

    @property
    def is_over(self) -> bool:
        """Whether nothing of the run will ever run again."""
        return self.state.phase is Phase.OVER

    # --- deciding and writing

    def _decide(self, now: float, n: int, verb: str, key: str, argument: Argument, mark: int) -> object:
        try:
            fact, reply = perform(self.state, self.plan, now, n, verb, key, argument, mark)
        except LostUpdate as error:
            self._warn_or_raise(error)
            fact, reply = perform(self.state, self.plan, now, n, verb, key, argument, c.NO_MARK)
        if fact is not None:
            self.outbox.append(fact)
            if self.watches:
                self._look(key)
        return reply

    def _warn_or_raise(self, error: LostUpdate) -> None:
        if self.plan.lost_updates is not LostUpdates.WARN:
            raise error
        LOG.warning("lost update: %s", error)

    def _rule(self, command: c.Command, now: float, origin: Pass | None = None) -> object:
        if isinstance(command, c.FinishStep | c.SuspendStep) and origin is not None:
            return self._finish(command, now, origin)
        if isinstance(command, c.StartChild):
            return self._call(command, now)
        if isinstance(command, c.ClaimEvent):
            reply = self._record_all(decide(self.state, self.plan, command, now)) if self._fits(command) else None
            self.news.append((command, reply))
            return reply
        try:
            ruling = decide(self.state, self.plan, command, now)
        except LostUpdate as error:
            self._warn_or_raise(error)
            ruling = decide(self.state, self.plan, _unmarked(command), now)
        return self._record_all(ruling)

    def _fits(self, claim: c.ClaimEvent) -> bool:
        """Whether the kept event is of the type that the descendant which waits for it gives it; else it stays kept."""
        child = self.kernel.find(claim.child)
        kept = self.state.kept.get(claim.event)
        schema = child.definition.events.get(claim.event) if child is not None else None
        if schema is None or not kept:
            return True
        try:
            schema.structure(kept[0], f"data of event {claim.event!r}")
        except InputError as error:
            LOG.warning("run %s: a kept event is not handed to %s: %s", self.state.run_id, claim.child, error)
            return False
        return True

    def _call(self, command: c.StartChild, now: float) -> object:
        """A child begins with the store as it is at this very moment."""
        (fact,) = decide(self.state, self.plan, command, now).facts
        reply = self.record(fact)
        assert isinstance(fact, f.ChildStarted)
        assert isinstance(command.prepared, Seed)
        values = dict(self.state.store.values) if command.prepared.inherits else {}
        self.births.append(Birth(fact, command.prepared, values, self.state.seq, command.merge))
        return reply

    def _record_all(self, ruling: Ruling) -> object:
        reply = ruling.reply
        for fact in ruling.facts:
            written = self.record(fact)
            if ruling.reply is None:
                reply = written
        return reply

    def _finish(self, command: c.FinishStep | c.SuspendStep, now: float, origin: Pass) -> object:
        """The success of a step is a failure if a call that it did not wait for has failed, or if what it had
        buffered for its success does not fit any more.
        """
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
        caller = state.live.get(fact.n) if state.open_calls and kind in _ENDS else None  # type: ignore[union-attr]  # by kind
        reply = APPLY[kind](state, fact)
        self.outbox.append(fact)
        if kind is f.StepStarted:
            self.started.append(reply)  # type: ignore[arg-type]  # the activation
        elif kind in _RARE:
            self._note(fact)
        elif caller is not None and caller.calls is not None:
            self._leave_orphans(caller.calls)
        elif self.watches:
            if kind is f.OperationApplied:
                self._look(fact.key)  # type: ignore[union-attr]  # by kind
            elif kind is f.TransactionApplied:
                for _, key, _ in fact.operations:  # type: ignore[union-attr]  # by kind
                    self._look(key)
        return reply

    def _note(self, fact: f.Fact) -> None:
        """Facts that come seldom and lead to much."""
        state = self.state
        if isinstance(fact, f.RunStopping):
            self.must_stop = True
            self.orphans += [call.n for call in state.unfinished_calls()]
        elif isinstance(fact, f.GroupClosed):
            self.must_stop = True
            self.orphans += [call.n for call in state.unfinished_calls() if call.by not in state.live]
        elif isinstance(fact, f.ChildEnded | f.ChildPaused):
            for message in self.callers.pop(fact.n, ()):
                message.taken = True
                self.answers.append(message)
            if isinstance(fact, f.ChildEnded) and self.watches:
                for _, key, _ in fact.operations:
                    self._look(key)
        elif isinstance(fact, f.ChildAbandoned):
            self.orphans.append(fact.n)
        else:
            if isinstance(fact, f.RunEnded):
                self.open = False
            self.news.append(fact)

    def _leave_orphans(self, calls: Sequence[int]) -> None:
        """A pass of a step has ended: children that it still has would never be waited for."""
        known = self.state.calls
        self.orphans += [n for n in calls if n in known and known[n].status not in RUN_OVER]

    def _succeed(self, message: Message, now: float) -> None:
        origin = message.origin
        assert origin is not None
        assert message.output is not None
        n = origin.activation.n
        if origin.unasked_error is not None:
            self._rule(origin.failure(origin.unasked_error), now)
        elif n in self.state.live:
            self.record(f.StepCompleted(now, n, message.output))

    def settle(self, now: float) -> None:
        """Record what follows by itself. While the runtime closes, a run that is on the way to its end goes on to it,
        and one with nothing left to do ends, but no step starts.
        """
        if not self.paused or self.state.phase is not Phase.OPEN or react.has_nothing_left(self.state, self.plan):
            react.settle(self.state, self.plan, now, self.record)

    # --- for the journal

    def append(self) -> Append | None:
        """What the next commit has to keep of this run, or None."""
        if not self.outbox and (self.header is not None or not self.state.seq):
            return None  # nothing new, or a child that has not begun
        header = self._new_header()
        changed = header if header is not self.header else None
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
            self.kernel.status_changed(RunStatus.RUNNING, state.status)
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
        wake_at = react.wake_at(state, self.plan) if state.status is RunStatus.SUSPENDED else 0.0
        header = self.header
        if header.status is state.status and header.ended_at == state.ended_at and header.wake_at == wake_at:
            return header
        self.kernel.status_changed(header.status, state.status)
        return evolve(header, status=state.status, ended_at=state.ended_at, wake_at=wake_at)

    # --- what somebody waits for

    def _look(self, key: str) -> None:
        value = decoded(self.state.store.values.get(key, MISSING))
        for watch in [watch for watch in self.watches if watch[1] == key]:
            message, _, predicate = watch
            try:
                if not predicate(value):
                    continue
            except BaseException as error:  # noqa: BLE001 - a user's predicate: its error belongs to its caller
                message.error = error
            self.watches.remove(watch)
            message.taken = True
            message.value = value
            self.answers.append(message)


_RARE: Final = frozenset(
    {f.RunStopping, f.GroupClosed, f.ChildAbandoned, f.ChildEnded, f.ChildPaused, f.RunEnded, f.RunSuspended,
     f.RunWoken, f.WaitOpened, f.NodeEntered}
)  # fmt: skip
_ENDS: Final = frozenset({f.StepCompleted, f.StepFailed, f.StepCancelled, f.AttemptFailed})


def _drop_arguments(facts: Sequence[f.Fact]) -> None:
    """Take the values out of facts that nobody else has seen, in place, which costs a tenth of making new ones."""
    for fact in facts:
        if type(fact) is f.OperationApplied:
            object.__setattr__(fact, "argument", None)


def _unmarked(command: c.Command) -> c.Command:
    """The same command without what it knows of earlier reads: the last write wins."""
    if isinstance(command, c.Operate):
        command.mark = c.NO_MARK
    else:
        assert isinstance(command, c.Transact | c.FinishStep)  # nothing else knows of reads
        command.marks = {}
    return command


def decoded(value: Value | Missing) -> object:
    """A stored value as a Python object; None for a missing key."""
    return None if value is MISSING else value_of(value)

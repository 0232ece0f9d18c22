"""The services that all runs of one runtime share, in one record: clock, journal, pool, timers, definitions, counters.

What lives here: `Kernel` and the small duties that belong to no run in particular. What does not: the face that
users see (`runtime`), taking runs up (`recovery`).
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Final
from weakref import WeakMethod, WeakValueDictionary

import trio

from .._authoring.workflow import resolve
from .._core import commands as c
from .._core.lifecycle import RunStatus
from .._core.state_text import dump_state
from .._core.values import size_of
from ..errors import ActorflowError, DefinitionError, RuntimeClosed, ValueTooLarge
from . import places
from .branches import Branches
from .dispatcher import Dispatcher
from .encoder import Encoder
from .mailbox import Message
from .opening import add
from .timers import Timers
from .waits import Waits

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from .._authoring.definition import Definition
    from .._core.policies import Limits
    from ..abc import Append, Instrument, Journal
    from .clock import RunClock
    from .ledger import Ledger
    from .passes import Pass
    from .supervisor import RunActor

LOG: Final = logging.getLogger("actorflow")

STEP_THREADS: Final = 40
"""Worker threads for plain-function steps, of our own: trio's default limiter belongs to the host application."""

EXPECTED_TRIM: Final = 1_000
"""Runs with handles outside of memory before those whose handles are gone are forgotten."""

SNAPSHOT_MIN_BYTES: Final = 4 * 1024 * 1024
"""Journal bytes of a run before its first snapshot: folding them takes about a tenth of a second."""

SNAPSHOT_FACTOR: Final = 3
"""A further snapshot is due when the facts since the last are this many times its size: the total cost of snapshots
stays below half of that of the facts."""


class Alarm:
    """A due time of a run that rests in the journal."""

    __slots__ = ("_kernel", "_run_id")

    def __init__(self, kernel: Kernel, run_id: str) -> None:
        self._kernel = kernel
        self._run_id = run_id

    def tick(self) -> None:
        """Its time has come; it may have been taken up, or have ended, meanwhile: nothing happens then."""
        if not self._kernel.closing:
            self._kernel.reached(places.ALARM)
            self._kernel.fetch([self._run_id], c.Tick())


class Kernel:
    """What the runs of one runtime share."""

    def __init__(
        self, *, clock: RunClock, journal: Journal, limits: Limits, definitions: Mapping[str, Definition]
    ) -> None:
        self.clock = clock
        self.journal = journal
        self.limits = limits
        self.definitions = dict(definitions)
        self.learns = False
        """Whether a workflow becomes known by being started: for tests, which need no list of what they run then."""
        self.instruments: Sequence[Instrument] = ()
        self.actors: dict[str, RunActor] = {}
        self.resting: WeakValueDictionary[str, RunActor] = WeakValueDictionary()
        """Runs that wait for nothing but events: in memory only as long as somebody holds a handle."""
        self.expected: dict[str, list[WeakMethod[Callable[[RunActor], None]]]] = {}
        """Handles of runs that are out of memory, by run."""
        self.expected_limit = EXPECTED_TRIM
        self.asleep: dict[str, int] = {}
        """How many steps each of them has armed."""
        self.broken_runs: dict[str, ActorflowError] = {}
        self.dispatcher = Dispatcher(self)
        self.timers = Timers(clock)
        self.writer = clock.world.thread(clock)
        self.face = clock.world.face
        self.stride = clock.world.stride
        self.probe = clock.world.probe
        self.step_threads = trio.CapacityLimiter(STEP_THREADS)
        self.branches: Branches
        self.nursery: trio.Nursery
        self.created = 0
        self.closing = False
        self.stopping = False
        self.closed = False
        self.breath = 0
        self.facts = 0
        self.commits = 0
        self.commit_seconds = 0.0
        self.late_replies = 0
        self.restarts = 0
        self.repair: trio.Event | None = None
        self.commit_lock = trio.Lock()
        self.reviving = trio.Lock()
        """Held while runs are taken up from the journal."""
        self.take_up: Callable[[str], Awaitable[RunActor | None]]
        """How a run comes back from the journal for somebody who asks for it; set by `runtime`, which stands above."""
        self.take_up_and_tell: Callable[[Sequence[str], c.Command], Awaitable[None]]
        """How runs come back to be told something, also while the runtime closes; set by `runtime`."""
        self.unrecovered: dict[str, ActorflowError] = {}
        """Runs that could not be taken up, and why."""
        self.waits = Waits(self)
        self.suspended = 0
        """Runs that are suspended, wherever they are."""
        self._encoders: dict[int, tuple[Definition, Encoder]] = {}

    def start_services(self, nursery: trio.Nursery) -> None:
        """Start the tasks of the runtime."""
        self.nursery = nursery
        self.branches = Branches(nursery)
        self.branches.spread = 1 if self.journal.durable else self.clock.world.spread
        nursery.start_soon(self.dispatcher.run, name="actorflow dispatcher")
        nursery.start_soon(self.timers.run, name="actorflow timers")

    def reached(self, place: str) -> None:
        """Tell a test that watches that this place (`places`) has been reached."""
        if self.probe is not None:
            self.probe(place)

    def check_open(self) -> None:
        """Raise `RuntimeClosed` when the block is over."""
        if self.closed:
            raise RuntimeClosed("the runtime's block is closed; open a new one with open_runtime()")

    def check_accepting(self) -> None:
        """Raise `RuntimeClosed` when the block is ending or over: nothing new is taken on."""
        if self.closing:
            raise RuntimeClosed("the runtime's block is ending; open a new one with open_runtime()")

    async def breathe(self) -> None:
        """Let the other tasks have a turn. What has been applied is applied: no cancellation here."""
        self.breath = 0
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def commit(self, appends: Sequence[Append]) -> None:
        """A commit outside the dispatcher's rounds, between two of them. What it is given has left its runs already, so
        it is not cancelled.
        """
        with trio.CancelScope(shield=True):  # bounded by two commits
            async with self.commit_lock:
                if appends:
                    await self.journal.commit(appends)

    def next_created(self) -> int:
        """The place of a new run in the order of the journal's runs."""
        self.created += 1
        return self.created

    # --- helping hands for steps

    def definition_of(self, workflow: object) -> Definition:
        """The definition of a workflow that this runtime knows, given as itself or by its id."""
        known = self.definitions
        if isinstance(workflow, str):
            definition = known.get(workflow)
            if definition is not None:
                return definition
            name: object = workflow
        else:
            asked = resolve(workflow)
            if self.learns:
                findings = tuple(add(known, asked))
                if findings:
                    raise DefinitionError("\n".join(findings), findings=findings)
            definition = known.get(asked.workflow_id)
            if definition is not None and definition.target is asked.target:
                return definition
            name = asked.workflow_id
        text = (
            f"this runtime knows another workflow as {name!r}: {known[name].target!r}; give one of them another id"
            if isinstance(name, str) and not isinstance(workflow, str) and name in known
            else f"this runtime does not know the workflow {name!r}; give it to open_runtime(). "
            f"It knows {', '.join(map(repr, sorted(known))) or 'none'}"
        )
        raise DefinitionError(text, findings=(text,))

    def encoder(self, definition: Definition) -> Encoder:
        """The checker of store arguments for one workflow."""
        found = self._encoders.get(id(definition))
        if found is None:
            found = self._encoders[id(definition)] = (definition, Encoder(definition.state, self.limits.value_bytes))
        return found[1]

    def check_payload(self, text: str, what: str) -> None:
        """Raise `ValueTooLarge` for a payload, input, event or output over the limit."""
        limit = self.limits.payload_bytes
        if len(text) * 4 <= limit:
            return
        size = size_of(text)
        if size > limit:
            raise ValueTooLarge(
                f"{what} has {size} bytes, the limit is {limit}; pass a reference instead, "
                "or raise Limits(payload_bytes=…)",
                limit=limit,
                size=size,
                what="payload_bytes",
            )

    def keep_log(self, owner: Pass, level: int, message: str) -> None:
        """Put a logged line into the run's history, in order with what the step sends."""
        if not trio.lowlevel.in_trio_task():  # a step in a thread
            trio.from_thread.run_sync(self.keep_log, owner, level, message)
            return
        actor = owner.actor
        if actor.broken is not None or actor.is_over:
            return
        command = c.Log(owner.activation.n, owner.activation.attempt, level, message)
        actor.mailbox.put(Message(command, origin=owner), self.clock.now)
        self.dispatcher.wake(actor)

    # --- runs in memory and out of it

    def find(self, run_id: str) -> RunActor | None:
        """The actor of a run, if it is in memory."""
        actor = self.actors.get(run_id)
        if actor is None:
            actor = self.resting.get(run_id)
        return actor

    def expect(self, run_id: str, bind: Callable[[RunActor], None]) -> None:
        """Have a handle told when its run comes back into memory; the handle itself is not kept."""
        self.expected.setdefault(run_id, []).append(WeakMethod(bind))
        if len(self.expected) > self.expected_limit:
            alive = {
                name: [held for held in all_held if held() is not None] for name, all_held in self.expected.items()
            }
            self.expected = {name: found for name, found in alive.items() if found}
            self.expected_limit = max(EXPECTED_TRIM, 2 * len(self.expected))

    def awake(self, actor: RunActor) -> None:
        """A run has something to do: it is kept in memory."""
        run_id = actor.state.run_id
        for held in self.expected.pop(run_id, ()):
            bind = held()
            if bind is not None:
                bind(actor)
        self.asleep.pop(run_id, None)
        self.reached(places.AWAKE)
        self.resting.pop(run_id, None)  # one place for each: a run that has broken must not be found here again
        self.actors[run_id] = actor

    def rest(self, actor: RunActor) -> None:
        """Nothing can happen to a run but by time: it goes from memory when nobody holds it, and is read from the
        journal when somebody asks for it, or when its time has come.
        """
        state = actor.state
        run_id = state.run_id
        if self.actors.pop(run_id, None) is not None:
            self.resting[run_id] = actor
            self.reached(places.RESTS)
            if state.status is RunStatus.SUSPENDED:
                self.set_alarm(run_id, actor.header.wake_at if actor.header is not None else 0.0)
            else:
                self.asleep[run_id] = state.armed_count

    def set_alarm(self, run_id: str, due: float) -> None:
        """Take up a run that rests in the journal when it is due; 0.0: it never is by itself."""
        if due:
            self.timers.add(due, Alarm(self, run_id))

    def fetch(self, run_ids: Sequence[str], command: c.Command) -> None:
        """Take up runs that rest in the journal, and tell them something, without waiting."""
        self.nursery.start_soon(self.take_up_and_tell, run_ids, command, name="actorflow fetch")

    # --- news from the runs

    def status_changed(self, before: RunStatus, after: RunStatus) -> None:
        """A run has been suspended, or is suspended no more."""
        self.suspended += (after is RunStatus.SUSPENDED) - (before is RunStatus.SUSPENDED)

    def run_ended(self, actor: RunActor) -> None:
        """A run is over."""
        for instrument in self.instruments:
            instrument.run_ended(actor.state.run_id, actor.state.status)

    def committed(self, appends: Sequence[Append], written: int, seconds: float) -> None:
        """A commit is durable."""
        self.commits += 1
        self.commit_seconds = seconds if self.commits == 1 else 0.9 * self.commit_seconds + 0.1 * seconds
        facts = sum(len(append.facts) for append in appends)
        for append in appends:
            actor = self.actors.get(append.run_id)
            if actor is None:
                continue
            if append.snapshot is not None:
                actor.snapshot_bytes, actor.frame_bytes = len(append.snapshot), 0
            elif facts:
                actor.frame_bytes += written * len(append.facts) // facts
            if actor.is_over:
                self.actors.pop(append.run_id, None)
        for instrument in self.instruments:
            instrument.committed(facts, len(appends), seconds)

    def tree(self, actor: RunActor) -> list[RunActor]:
        """The runs above and below a run, and itself, as far as they are in memory; parents first.

        Found by name: what a state says of its calls may never become durable, and an actor that stopped may have a
        successor already.
        """
        while actor.parent is not None:
            actor = self.find(actor.parent.state.run_id) or actor.parent
        below: dict[str, list[RunActor]] = {}
        for other in (*self.actors.values(), *self.resting.values()):
            if other.parent is not None:
                below.setdefault(other.parent.state.run_id, []).append(other)
        found = [actor]
        for other in found:
            found += below.get(other.state.run_id, ())
        return found

    def broken(self, actor: RunActor, error: ActorflowError) -> None:
        """The journal refused the facts of a run: it stops here, and goes on when writing works again; so do the runs
        above and below it, which wait for each other.
        """
        for found in self.tree(actor):
            if found.broken is None:
                LOG.error("run %s stops: %s", found.state.run_id, error)
                found.fail(error)
                self.reached(places.STOPS)
                self.broken_runs[found.state.run_id] = error
        if self.repair is not None:
            self.repair.set()

    def snapshot_of(self, ledger: Ledger) -> str | None:
        """The state of a run as text, when its journal has grown enough to be worth it."""
        if ledger.volatile or ledger.is_over:
            return None
        if ledger.frame_bytes < max(SNAPSHOT_MIN_BYTES, SNAPSHOT_FACTOR * ledger.snapshot_bytes):
            return None
        self.reached(places.SNAPSHOT)
        return dump_state(ledger.state)

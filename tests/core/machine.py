"""A run without a shell: drives the kernel with commands and holds what it records against an independent account.

`Machine` decides, applies and settles like the supervisor does, one command at a time. `Account` is the other book:
it reads facts alone, knows nothing of `RunState`, and knows at each moment which activation is where.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import apply, fold
from actorflow._core.decide import decide
from actorflow._core.due_order import is_stale, number
from actorflow._core.lifecycle import (
    PHASE_MOVES,
    RUN_MOVES,
    RUN_OVER,
    STEP_MOVES,
    STEP_OVER,
    Phase,
    RunStatus,
    StepStatus,
)
from actorflow._core.plan import Node, NodeKind, RunPlan, StepPlan
from actorflow._core.policies import Rate, Retry
from actorflow._core.react import is_suspended, open_gates, settle
from actorflow._core.run_state import Batch, RunState
from actorflow._core.state_text import dump_state, load_state
from actorflow._core.store_state import StoreState, Value, value_bytes
from actorflow._core.values import encode
from actorflow._ids import HOOKS, guest_call, is_internal

T0 = 1000.0
STEPS = ("a", "gated", "rated", "both", "tough")
START_RUN = c.StartRun("w", "1", "", "null", "{}", "print", {})


def plan_of(**options: object) -> RunPlan:
    """A plan with plain, gated, rated and retried steps."""
    steps = [
        StepPlan(step_id="start"),
        StepPlan(step_id="a"),
        StepPlan(step_id="gated", concurrency=2),
        StepPlan(step_id="rated", rate=Rate(2, per=4.0)),
        StepPlan(step_id="both", concurrency=1, rate=Rate(1, per=2.0)),
        StepPlan(step_id="tough", retry=Retry(3, delay=1.0, factor=2.0, jitter=0.0)),
        *(StepPlan(step_id=hook) for hook in sorted(HOOKS)),
    ]
    return RunPlan(workflow_id="w", steps={step.step_id: step for step in steps}, **options)  # type: ignore[arg-type]  # fields by name


def chain_plan(*nodes: Node, **options: object) -> RunPlan:
    """A graph of these links, over the steps of `plan_of` and what else they name; sleeps and waits have no code."""
    plain = plan_of()
    steps = {name: step for name, step in plain.steps.items() if name != "start"}
    for node in nodes:
        auto = node.kind in (NodeKind.SLEEP, NodeKind.EVENT)
        for name in node.steps:
            steps.setdefault(name, StepPlan(step_id=name, auto=auto))
        if node.question:
            steps.setdefault(node.question, StepPlan(step_id=node.question))
    return RunPlan(workflow_id="w", steps=steps, chain=nodes, **options)  # type: ignore[arg-type]  # fields by name


def link(kind: NodeKind, *steps: str, **options: object) -> Node:
    """A link of a chain, named after what it does."""
    return Node(kind=kind, name=f"{kind.value}({', '.join(steps)})", steps=steps, **options)  # type: ignore[arg-type]  # fields by name


CHAIN_FACTS = (f.NodeEntered, f.GroupOpened, f.GroupClosed, f.NodeFailed)


class Account:
    """Where each activation is, by the facts alone; every move is held against the tables."""

    def __init__(self) -> None:
        self.where: dict[int, StepStatus] = {}
        self.steps: dict[int, str] = {}
        self.hooks: set[int] = set()  # those that have ended: a hook is no step, and is counted nowhere
        self.calls: dict[int, RunStatus] = {}
        self.waits_for: dict[int, int] = {}

    def _arm(self, n: int, step: str) -> None:
        assert n not in self.where, f"activation {n} is armed twice"
        assert n not in self.calls, f"number {n} is that of a call"
        self.where[n], self.steps[n] = StepStatus.PENDING, step

    def _move(self, n: int, to: StepStatus) -> None:
        assert to in STEP_MOVES[self.where[n]], f"activation {n}: {self.where[n]} to {to}"
        self.where[n] = to

    def take(self, fact: f.Fact, members: int = 0) -> None:
        """Book a fact; of a group that opens, the number of its members."""
        match fact:
            case f.StepScheduled(n=n, step=step) | f.WaitOpened(n=n, step=step) | f.HookScheduled(n=n, step=step):
                self._arm(n, step)
            case f.StepsScheduled(first=first, payloads=payloads, step=step):
                for offset in range(len(payloads)):
                    self._arm(first + offset, step)
            case f.NodeEntered(n=n, step=step):
                if n:
                    self._arm(n, step)
            case f.GroupOpened(first=first, steps=steps, runs=runs, elements=elements):
                for offset in range(members):
                    self._arm(first + offset, steps[0] if elements else steps[offset])
                    if runs and runs[offset] == "0":
                        self._move(first + offset, StepStatus.SKIPPED)
            case f.NodeFailed(n=n, step=step):
                if n:
                    self._arm(n, step)
                    self._move(n, StepStatus.FAILED)
            case f.ChildStarted() | f.ChildPaused() | f.ChildWoken() | f.ChildEnded():
                self._take_child(fact)
            case f.StepStarted(n=n):
                self._move(n, StepStatus.RUNNING)
            case f.StepCompleted(n=n):
                self._move(n, StepStatus.COMPLETED)
            case f.HookEnded(n=n, error_type=error_type):
                self._move(n, StepStatus.FAILED if error_type else StepStatus.COMPLETED)
                self.hooks.add(n)
            case f.StepFailed(n=n):
                self._move(n, StepStatus.FAILED)
            case f.StepCancelled(n=n) | f.StepUnscheduled(n=n):
                self._move(n, StepStatus.CANCELLED)
            case f.AttemptFailed(n=n) | f.StepInterrupted(n=n) | f.StepResumed(n=n):
                self._move(n, StepStatus.PENDING)
            case f.StepSuspended(n=n, call=call):
                self._move(n, StepStatus.SUSPENDED)
                self.waits_for[n] = call
            case f.RunStopping() | f.GroupClosed():
                for n in self.at(StepStatus.PENDING, StepStatus.SUSPENDED):
                    self._move(n, StepStatus.CANCELLED)
            case _:
                pass

    def _take_child(self, fact: f.ChildStarted | f.ChildPaused | f.ChildWoken | f.ChildEnded) -> None:
        n = fact.n
        if isinstance(fact, f.ChildStarted):
            assert n not in self.where, f"number {n} is that of a step"
            assert n not in self.calls, f"call {n} is made twice"
            self.calls[n] = RunStatus.RUNNING
            return
        to = RunStatus.SUSPENDED if isinstance(fact, f.ChildPaused) else RunStatus.RUNNING
        to = RunStatus(fact.status) if isinstance(fact, f.ChildEnded) else to
        assert to in RUN_MOVES[self.calls[n]], f"call {n}: {self.calls[n]} to {to}"
        self.calls[n] = to
        if isinstance(fact, f.ChildEnded):
            for waiting in self.at(StepStatus.SUSPENDED):
                if self.waits_for[waiting] == n:
                    self._move(waiting, StepStatus.PENDING)

    def open_calls(self) -> list[int]:
        """The calls whose child runs are not over."""
        return sorted(n for n, status in self.calls.items() if status not in RUN_OVER)

    def at(self, *statuses: StepStatus) -> list[int]:
        return sorted(n for n, status in self.where.items() if status in statuses)


class Machine:
    """One run under test."""

    def __init__(self, plan: RunPlan, state: RunState | None = None, now: float = T0) -> None:
        self.plan = plan
        self.state = open_gates(state or RunState("run"), plan)
        self.inherited: Mapping[str, Value] | None = None
        self.now = now
        self.facts: list[f.Fact] = []
        self.account = Account()

    def record(self, fact: f.Fact) -> object:
        """`apply`, watched: the phase and the status move as the tables say, and nothing is open at the end alone."""
        state = self.state
        phase, status = state.phase, state.status
        if phase is Phase.OPEN and self.account.where and not state.open_steps:
            legal = (f.RunStopping,) if self.plan.chain is None else (f.RunStopping, *CHAIN_FACTS)
            assert isinstance(fact, legal), f"{fact} came after the last open step"
        reply = apply(state, fact)
        self.facts.append(fact)
        group = state.flow.group if state.flow is not None else None
        self.account.take(fact, len(group.slots) if group is not None else 0)
        assert state.phase is phase or state.phase in PHASE_MOVES[phase], f"{phase} to {state.phase} by {fact}"
        assert state.status is status or state.status in RUN_MOVES[status]
        still_open = self.account.at(StepStatus.PENDING, StepStatus.RUNNING, StepStatus.SUSPENDED)
        assert state.open_steps == len(still_open) + len(self.account.open_calls())
        return reply

    def tell(self, command: c.Command) -> object:
        """Decide and apply, without what follows from it."""
        ruling = decide(self.state, self.plan, command, self.now)
        reply = ruling.reply
        for fact in ruling.facts:
            written = self.record(fact)
            reply = written if ruling.reply is None else reply
        return reply

    def settle(self) -> list[f.Fact]:
        """What follows by itself now."""
        count = len(self.facts)
        settle(self.state, self.plan, self.now, self.record)
        return self.facts[count:]

    def do(self, command: c.Command, *, after: float = 0.0) -> list[f.Fact]:
        """Tell, `after` seconds later, and settle; every fact that came of it."""
        self.now += after
        count = len(self.facts)
        try:
            self.tell(command)
        finally:
            self.settle()
        return self.facts[count:]

    def start(self, data: object = None) -> Machine:
        self.do(START_RUN if data is None else c.StartRun("w", "1", "", encode(data), "{}", "print", {}))
        return self

    def live(self, step: str) -> int:
        """The number of the oldest live activation of `step`."""
        return next(n for n, activation in self.state.live.items() if activation.step == step)

    def finish(self, step: str | int, output: object = None, *, after: float = 0.0) -> list[f.Fact]:
        """A pass of `step` (the oldest, or that of a number) returns `output`."""
        n = self.live(step) if isinstance(step, str) else step
        return self.do(c.FinishStep(n, encode(output)), after=after)

    def fail(self, step: str | int, *, retryable: bool = False) -> list[f.Fact]:
        """A pass of `step` raises."""
        n = self.live(step) if isinstance(step, str) else step
        return self.do(c.FailStep(n, "Oops", "it broke", retryable, 0.5))

    def schedule(self, step: str, *, delay: float = 0.0, key: str = "", by: int = 1) -> int:
        n = self.state.next_n
        self.do(c.Schedule(by, step, f'"{step}{n}"', self.now + delay, key))
        return n

    def starts(self) -> list[int]:
        """The activations in the order of their starts."""
        return [fact.n for fact in self.facts if isinstance(fact, f.StepStarted)]

    def copy(self) -> Machine:
        """Another machine that goes on from the text of this one's state."""
        other = Machine(self.plan, load_state("run", dump_state(self.state)), self.now)
        other.account = deepcopy(self.account)
        return other


def kinds(facts: Sequence[f.Fact]) -> list[str]:
    """The names of the facts' kinds."""
    return [type(fact).__name__ for fact in facts]


def check_books(machine: Machine) -> None:
    """Everything that `RunState` keeps twice, counted again."""
    state, account = machine.state, machine.account
    batched = [n for batch in state.batches for n in _numbers(batch)]
    assert sorted([*state.armed, *batched]) == account.at(StepStatus.PENDING)
    assert state.armed_count == len(state.armed) + len(batched)
    assert sorted(state.live) == account.at(StepStatus.RUNNING)
    assert state.firsts == sorted(batch.fact.first for batch in state.batches)
    counts = {status: len(set(account.at(status)) - account.hooks - hidden(machine)) for status in STEP_OVER}
    assert {status: count for status, count in state.counts.items() if count} == {s: n for s, n in counts.items() if n}
    assert len(account.at(*STEP_OVER)) + state.open_steps - state.open_calls + len(account.calls) == state.next_n - 1
    assert not account.hooks & state.done.keys()
    assert sorted([*account.where, *account.calls]) == list(range(1, state.next_n))
    assert {n: StepStatus(row[2]) for n, row in state.done.items()} == {n: account.where[n] for n in state.done}
    waiting = sorted(n for item in state.waits.values() for n in item)
    assert waiting == sorted(n for n, item in state.armed.items() if isinstance(item, f.WaitOpened))
    if state.phase is Phase.OPEN:
        assert state.open_steps > 0
        for key, n in state.keys.items():
            holder = state.live.get(n) or state.suspended.get(n) or state.armed[n]
            assert getattr(holder, "key", None) == key
    check_calls(machine)
    check_gates(machine)
    assert in_order(state)
    assert len(state.live) - len(state.parked) <= machine.plan.max_live_steps
    check_bytes(state.store)


def hidden(machine: Machine) -> set[int]:
    """What has ended of a graph's own machinery: counted only where it failed."""
    if machine.plan.chain is None:
        return set()
    where, steps = machine.account.where, machine.account.steps
    return {n for n, step in steps.items() if is_internal(step) and where[n] is not StepStatus.FAILED}


def check_calls(machine: Machine) -> None:
    """Calls are kept while their child is open or their step may ask again; guests, while their child is open."""
    state, account = machine.state, machine.account
    assert sorted(state.suspended) == account.at(StepStatus.SUSPENDED)
    assert {n: state.calls[n].status for n in state.calls} == {n: account.calls[n] for n in state.calls}
    assert state.open_calls == len(account.open_calls())
    assert set(account.open_calls()) <= state.calls.keys()
    assert {call.n for call in state.unfinished_calls()} == set(account.open_calls())
    assert state.running_calls == sum(status is RunStatus.RUNNING for status in account.calls.values())
    still_open = {*state.live, *state.armed, *state.suspended}
    for n, call in state.calls.items():
        assert call.status not in RUN_OVER or call.by in still_open, f"call {n} is kept for nobody"
    assert sorted(state.guests) == sorted(n for found in state.guests_of.values() for n in found)
    assert all(guest_call(n) in account.open_calls() for n in state.guests)
    assert (state.status is RunStatus.SUSPENDED) == (state.phase is Phase.OPEN and is_suspended(state, machine.now))


def check_gates(machine: Machine) -> None:
    """Every step with bounds has its gate, which knows who is live and when the latest started, and no more."""
    chain, flow = machine.plan.chain or (), machine.state.flow
    pairs = {node.steps[0] for node in chain if node.concurrency is not None}
    bounded = {
        n: s for n, s in machine.plan.steps.items() if s.concurrency is not None or s.rate is not None or n in pairs
    }
    assert machine.state.gates.keys() == bounded.keys()
    here = chain[flow.node].concurrency if flow is not None and flow.node < len(chain) else None
    for step, gate in machine.state.gates.items():
        assert gate.live == sum(activation.step == step for activation in machine.state.live.values())
        limit, rate = bounded[step].concurrency, bounded[step].rate
        assert limit is None or gate.live <= limit
        assert here is None or gate.live <= here
        assert gate.keeps == (rate.count if rate is not None else 0)
        assert len(gate.starts) <= gate.keeps
        assert list(gate.starts) == sorted(gate.starts)


def check_bytes(store: StoreState) -> None:
    """The size of the store is the sum of what it holds."""
    assert store.bytes == sum(value_bytes(value) + len(key.encode()) + 4 for key, value in store.values.items())


def _numbers(batch: Batch) -> range:
    return range(batch.fact.first + batch.index, batch.fact.first + len(batch.fact.payloads))


def check_fold(machine: Machine) -> None:
    """Folding the facts into a fresh state gives this state."""
    blank = open_gates(RunState("run"), machine.plan)
    blank.inherited = machine.inherited
    folded = fold(blank, machine.facts)
    assert dump_state(folded) == dump_state(machine.state)
    assert in_line(folded) == in_line(machine.state)


def in_line(state: RunState) -> set[tuple[float, int]]:
    """When which armed step is due, as the queues and gates have it."""
    held = [entry for gate in state.gates.values() for entry in gate.held]
    entries = [entry for entry in (*state.ready, *state.timers, *held) if not is_stale(state, entry)]
    return {(entry[0], number(entry)) for entry in entries}


def in_order(state: RunState) -> bool:
    """Whether what waits for a place stands in due order, schedule order for ties."""
    lines = [state.ready, *(gate.held for gate in state.gates.values())]
    return all(list(line) == sorted(line, key=lambda entry: entry[:3]) for line in lines)

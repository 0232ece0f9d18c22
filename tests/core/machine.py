"""A run without a shell: drives the kernel with commands and holds what it records against an independent account.

`Machine` decides, applies and settles like the supervisor does, one command at a time. `Account` is the other book:
it reads facts alone, knows nothing of `RunState`, and knows at each moment which activation is where.
"""

from __future__ import annotations

from collections.abc import Sequence

from actorflow._core import commands as c
from actorflow._core import facts as f
from actorflow._core.apply import apply, fold
from actorflow._core.decide import decide
from actorflow._core.lifecycle import PHASE_MOVES, RUN_MOVES, STEP_MOVES, Phase, StepStatus
from actorflow._core.plan import RunPlan, StepPlan
from actorflow._core.policies import Rate, Retry
from actorflow._core.react import open_gates, settle
from actorflow._core.run_state import Batch, RunState
from actorflow._core.state_text import dump_state, load_state
from actorflow._core.store_state import StoreState, value_bytes
from actorflow._ids import HOOKS

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


class Account:
    """Where each activation is, by the facts alone; every move is held against the tables."""

    def __init__(self) -> None:
        self.where: dict[int, StepStatus] = {}
        self.hooks: set[int] = set()  # those that have ended: a hook is no step, and is counted nowhere

    def _arm(self, n: int) -> None:
        assert n not in self.where, f"activation {n} is armed twice"
        self.where[n] = StepStatus.PENDING

    def _move(self, n: int, to: StepStatus) -> None:
        assert to in STEP_MOVES[self.where[n]], f"activation {n}: {self.where[n]} to {to}"
        self.where[n] = to

    def take(self, fact: f.Fact) -> None:
        match fact:
            case f.StepScheduled(n=n) | f.WaitOpened(n=n) | f.HookScheduled(n=n):
                self._arm(n)
            case f.StepsScheduled(first=first, payloads=payloads):
                for offset in range(len(payloads)):
                    self._arm(first + offset)
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
            case f.AttemptFailed(n=n) | f.StepInterrupted(n=n):
                self._move(n, StepStatus.PENDING)
            case f.RunStopping():
                for n in self.at(StepStatus.PENDING):
                    self._move(n, StepStatus.CANCELLED)
            case _:
                pass

    def at(self, *statuses: StepStatus) -> list[int]:
        return sorted(n for n, status in self.where.items() if status in statuses)


class Machine:
    """One run under test."""

    def __init__(self, plan: RunPlan, state: RunState | None = None, now: float = T0) -> None:
        self.plan = plan
        self.state = open_gates(state or RunState("run"), plan)
        self.now = now
        self.facts: list[f.Fact] = []
        self.account = Account()

    def record(self, fact: f.Fact) -> object:
        """`apply`, watched: the phase and the status move as the tables say, and nothing is open at the end alone."""
        state = self.state
        phase, status = state.phase, state.status
        if phase is Phase.OPEN and self.account.where and not state.open_steps:
            assert isinstance(fact, f.RunStopping), f"{fact} came after the last open step"
        reply = apply(state, fact)
        self.facts.append(fact)
        self.account.take(fact)
        assert state.phase is phase or state.phase in PHASE_MOVES[phase], f"{phase} to {state.phase} by {fact}"
        assert state.status is status or state.status in RUN_MOVES[status]
        assert state.open_steps == len(self.account.at(StepStatus.PENDING, StepStatus.RUNNING))
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

    def start(self) -> Machine:
        self.do(START_RUN)
        return self

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
        other.account.where, other.account.hooks = dict(self.account.where), set(self.account.hooks)
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
    over = (StepStatus.COMPLETED, StepStatus.FAILED, StepStatus.CANCELLED)
    counts = {status: len(set(account.at(status)) - account.hooks) for status in over}
    assert {status: count for status, count in state.counts.items() if count} == {s: n for s, n in counts.items() if n}
    assert sum(counts.values()) + state.open_steps + len(account.hooks) == state.next_n - 1
    assert not account.hooks & state.done.keys()
    assert sorted(account.where) == list(range(1, state.next_n))
    assert {n: StepStatus(row[2]) for n, row in state.done.items()} == {n: account.where[n] for n in state.done}
    waiting = sorted(n for item in state.waits.values() for n in item)
    assert waiting == sorted(n for n, item in state.armed.items() if isinstance(item, f.WaitOpened))
    if state.phase is Phase.OPEN:
        assert state.open_steps > 0
        for key, n in state.keys.items():
            holder = state.live.get(n) or state.armed[n]
            assert getattr(holder, "key", None) == key
    check_gates(machine)
    assert in_order(state)
    assert len(state.live) - len(state.parked) <= machine.plan.max_live_steps
    check_bytes(state.store)


def check_gates(machine: Machine) -> None:
    """Every step with bounds has its gate, which knows who is live and when the latest started, and no more."""
    bounded = {n: s for n, s in machine.plan.steps.items() if s.concurrency is not None or s.rate is not None}
    assert machine.state.gates.keys() == bounded.keys()
    for step, gate in machine.state.gates.items():
        assert gate.live == sum(activation.step == step for activation in machine.state.live.values())
        limit, rate = bounded[step].concurrency, bounded[step].rate
        assert limit is None or gate.live <= limit
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
    folded = fold(open_gates(RunState("run"), machine.plan), machine.facts)
    assert dump_state(folded) == dump_state(machine.state)


def in_order(state: RunState) -> bool:
    """Whether what waits for a place stands in due order, schedule order for ties."""
    lines = [state.ready, *(gate.held for gate in state.gates.values())]
    return all(list(line) == sorted(line, key=lambda entry: entry[:2]) for line in lines)

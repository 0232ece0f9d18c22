"""Bugs of steps: repeats, attempts, questions, time, joins, the end of a run.

What lives here: mutants of what the core decides about steps. What does not: those of the store (`mutants_store`).
"""

from __future__ import annotations

from typing import Final

from .mutant import Mutant

__all__ = ["STEPS"]

STEPS: Final = (
    Mutant(
        name="retry-without-recognition",
        invariants=("I11", "I2"),
        module="actorflow._runtime.passes",
        old="            self.replay = Replay(activation.log, leg=activation.leg)",
        new="            self.replay = None",
        why="a step that runs again does again what it has done before",
        likely=("retry",),
    ),
    Mutant(
        name="no-dedupe-after-crash",
        invariants=("I11", "I2"),
        module="actorflow._core.apply",
        old="""\
    activation.crashes += fact.crashed
""",
        new="""\
    activation.crashes += fact.crashed
    activation.log = None
""",
        why="a step that was cut off by a crash does again what was durable already",
        likely=("aggregate", "hot-key", "many-runs"),
    ),
    Mutant(
        name="schedules-again",
        invariants=("I11", "I2"),
        module="actorflow._core.apply_schedule",
        old='    _remember(state, fact.by, ("schedule", fact.step, fact.payload, n))',
        new="",
        why="a step that runs again schedules its next step once more",
        likely=("retry", "timers"),
    ),
    Mutant(
        name="equal-arguments-are-not-enough",
        invariants=("I11",),
        module="actorflow._core.replay",
        old="""\
        self.taken.add(index)
""",
        new="",
        why="one recorded operation answers for every equal one that a second pass makes",
        likely=("retry", "suspend", "hot-key"),
    ),
    Mutant(
        name="one-attempt-too-few",
        invariants=("I16",),
        module="actorflow._core.decide_steps",
        old="failures < retry.attempts and",
        new="failures + 1 < retry.attempts and",
        why="the last attempt that the policy grants is not made",
        likely=("retry",),
    ),
    Mutant(
        name="one-attempt-too-many",
        invariants=("I16",),
        module="actorflow._core.decide_steps",
        old="failures < retry.attempts and",
        new="failures <= retry.attempts and",
        why="one attempt more is made than the policy grants",
        likely=("bounded", "retry"),
    ),
    Mutant(
        name="crash-uses-up-an-attempt",
        invariants=("I11", "I16"),
        module="actorflow._core.apply",
        old="""\
    activation.crashes += fact.crashed
""",
        new="""\
    activation.crashes += fact.crashed
    activation.failures += fact.crashed
""",
        why="the death of a process counts as a failure of the step",
        likely=("retry", "many-runs"),
    ),
    Mutant(
        name="double-resume",
        invariants=("I12",),
        module="actorflow._core.decide_child",
        old="""\
    activation = state.suspended.get(command.n)
    is_asking""",
        new="""\
    activation = state.suspended.get(command.n)
    if activation is None and (command.n in state.armed or command.n in state.live):
        return Ruling((), True)
    is_asking""",
        why="of two answers at once both are told that they were taken",
        likely=("suspend",),
    ),
    Mutant(
        name="answer-to-the-next-question",
        invariants=("I12",),
        module="actorflow._core.decide_child",
        old=" and activation.wakes == command.wakes",
        new="",
        why="an answer that comes late is taken for one to the next question of the same step",
        likely=("suspend",),
    ),
    Mutant(
        name="answer-forgotten",
        invariants=("I12",),
        module="actorflow._core.apply",
        old="        activation.answers = [*(activation.answers or ()), fact.data]",
        new="        activation.answers = [fact.data]",
        why="the second answer of a step takes the place of the first",
        likely=("suspend",),
    ),
    Mutant(
        name="resumed-without-its-log",
        invariants=("I12", "I11"),
        module="actorflow._core.apply",
        old="    activation.leg = len(activation.log or ())",
        new="    activation.log, activation.leg = None, 0",
        why="a step that goes on after an answer does again what it did before its question",
        likely=("suspend",),
    ),
    Mutant(
        name="suspended-run-lost-at-reopen",
        invariants=("I12", "I11"),
        module="actorflow._runtime.recovery",
        old="""\
    if stored.header.status in RUN_OVER:
        return kernel.find(run_id)""",
        new="""\
    if stored.header.status is not RunStatus.RUNNING:
        return kernel.find(run_id)""",
        why="a run that was suspended when its process died is never taken up again",
        likely=("suspend",),
    ),
    Mutant(
        name="over-while-suspended",
        invariants=("I16", "I12"),
        module="actorflow._core.run_state",
        old="        return self.armed_count + len(self.live) + len(self.suspended) + self.open_calls",
        new="        return self.armed_count + len(self.live) + self.open_calls",
        why="a run whose last step asks is over",
        likely=("suspend",),
    ),
    Mutant(
        name="join-fires-early",
        invariants=("I16",),
        module="actorflow._core.route",
        old="""\
        if group.left:
            return False""",
        new="""\
        if group.left > 1:
            return False""",
        why="a join does not wait for the last of its members",
        likely=("graph",),
    ),
    Mutant(
        name="join-in-order-of-ends",
        invariants=("I16", "I2"),
        module="actorflow._core.apply_graph",
        old="            group.slots[n - group.first] = output",
        new="            group.slots[group.succeeded % len(group.slots)] = output",
        why="a join gives the outputs in the order in which the members ended",
        likely=("ordered", "graph"),
    ),
    Mutant(
        name="completion-hook-twice",
        invariants=("I16", "I11"),
        module="actorflow._core.react",
        old="""\
            if not state.hook_ended:
                return
""",
        new="""\
            if not state.hook_ended:
                return
            if -1 not in state.parked and state.hook_error is None:
                state.parked[-1] = 1
                record(f.HookScheduled(now, state.next_n, state.hook_step))
                continue
""",
        why="the hook of the run's end runs a second time",
        likely=("cancel", "aggregate"),
    ),
    Mutant(
        name="event-lost",
        invariants=("I2", "I16"),
        module="actorflow._core.apply_schedule",
        old="        state.kept.setdefault(fact.event, deque()).append(fact.data)",
        new="        pass",
        why="an event that comes before its wait is open is dropped",
        likely=("timers",),
    ),
    Mutant(
        name="timeout-beside-the-event",
        invariants=("I2", "I16"),
        module="actorflow._core.due_order",
        old="    return state.armed.get(entry[1]) is not item",
        new="    return entry[1] not in state.armed and entry[1] not in state.done",
        why="a timer that its event has made pointless fires all the same",
        likely=("timers",),
    ),
    Mutant(
        name="timer-lost-at-recovery",
        invariants=("I11", "I16"),
        module="actorflow._runtime.supervisor",
        old="""\
        self.broken: ActorflowError | None = None
        self.armed_at = 0.0""",
        new="""\
        self.broken: ActorflowError | None = None
        self.armed_at = react.wake_at(state, self.plan)""",
        why="the timers of a run that is taken up are taken for set already",
        likely=("timers", "retry"),
    ),
    Mutant(
        name="timer-not-moved-forward",
        invariants=("I16",),
        module="actorflow._runtime.timers",
        old="            self._scope.deadline = min(self._scope.deadline, self._clock.deadline(due))",
        new="            pass",
        why="a timer that is set while a later one is waited for is late",
        likely=("timers", "retry"),
    ),
    Mutant(
        name="due-order-of-timers",
        invariants=("I16",),
        module="actorflow._core.apply_schedule",
        old="        heapq.heappush(state.timers, (due, n, place, item))",
        new="        heapq.heappush(state.timers, (due // 1, -n, place, item))",
        why="steps that are due in the same second start in the wrong order, and too early",
        likely=("timers",),
    ),
    Mutant(
        name="ready-before-what-was-due-earlier",
        invariants=("I16",),
        module="actorflow._core.due_order",
        old="    if timers and timers[0][0] <= now and not (ready and _before(ready[0], timers[0])):",
        new="    if timers and timers[0][0] <= now and not ready:",
        why="a step that was scheduled just now starts before one whose time came earlier",
        likely=("ordered", "timers"),
    ),
    Mutant(
        name="pause-forgotten-at-recovery",
        invariants=("I11", "I16"),
        module="actorflow._core.due_order",
        old=" or (type(item) is Activation and item.due != entry[0])",
        new="",
        why="after a recovery, the due time of an earlier attempt starts the next one before its pause is over",
        likely=("retry", "bounded"),
    ),
    Mutant(
        name="cancelled-step-runs",
        invariants=("I14", "I16"),
        module="actorflow._core.decide_steps",
        old="    return Ruling((f.StepUnscheduled(now, command.n),))",
        new="    return Ruling((), True)",
        why="a scheduled step that was taken back runs all the same",
        likely=("cancel",),
    ),
)
"""Those of steps."""

"""A call, cancelled at every moment of its life, and what must hold afterwards.

What lives here: `cancel_everywhere`, the victim that programs are given, and the knife. What does not: crashes
(`crashing`), what is wrong with a run of the program (`judging`).

The moments of a call are the steps that any task takes while it is under way. Cancelling before each of them covers
what a caller can meet: nothing sent yet, sent and not taken, taken and being written, answered and not yet awake.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Final, TypeVar, TypeVarTuple

import trio
from attrs import define, field

from .judging import Finding, Invariant, Judge
from .programs import Trial, program_of
from .simulation import DECISIONS_MAX, Passage, Schedule, run_schedules

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["CancelFailure", "CancelReport", "Victim", "VictimCall", "cancel_everywhere"]

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

VictimProgram = Callable[..., Awaitable[object]]  # type: ignore[explicit-any]  # it takes a victim, and may ask for a journal
"""An async function whose first parameter is a `Victim`."""

PATIENCE_S: Final = 10.0
"""Virtual seconds that a cancelled call may take to end: the grace of a runtime that closes."""

POINTS_MAX: Final = 1000
"""Moments of one schedule that are tried, evenly spread: a call that waits while thousands of branches work has as
many as they take steps."""


@define(eq=False)
class VictimCall:
    """One call that may be cancelled.

    Attributes:
        name: of the function.
        steps: that tasks took while it was under way.
        cancelled: it ended with the cancellation: whatever it was to do, it did not.
        finished: it returned. A call that is cancelled too late returns its result all the same.
        value: what it returned.
        error: what it raised.
    """

    name: str
    steps: int = 0
    cancelled: bool = False
    finished: bool = False
    value: object = None
    error: BaseException | None = None
    _cut_at: float | None = None
    _took: float = 0.0


class Victim:
    """What a program makes the calls with that are to be cancelled: `await victim(function, *arguments)`.

    The call runs under a cancel scope of its own. In each run of the program one call is cancelled, at one moment; the
    others are left alone. It gives what the function returns, or None if the cancellation ended it, which `cancelled`
    then tells; errors pass through.

    Attributes:
        calls: all of them so far, in the order in which they began.
    """

    def __init__(self, cut: tuple[int, int] | None = None) -> None:
        self._cut = cut
        self.calls: list[VictimCall] = []

    @property
    def cancelled(self) -> bool:
        """Whether any call has ended with the cancellation."""
        return any(call.cancelled for call in self.calls)

    async def __call__(self, function: Callable[[*Ts], Awaitable[T]], *arguments: *Ts) -> T | None:
        """The result of `function(*arguments)`, or None if it is cancelled before it has one."""
        number = len(self.calls)
        call = VictimCall(_name(function))
        self.calls.append(call)
        found: T | None = None
        with trio.CancelScope() as scope:
            at = self._cut[1] if self._cut is not None and self._cut[0] == number else None
            knife = _Knife(call, scope, at)
            trio.lowlevel.add_instrument(knife)
            try:
                found = await function(*arguments)
                call.finished = True
                call.value = found
            except Exception as error:
                call.error = error
                raise
            finally:
                trio.lowlevel.remove_instrument(knife)
                if call._cut_at is not None:
                    call._took = trio.current_time() - call._cut_at
        call.cancelled = scope.cancelled_caught
        return found


def _name(function: object) -> str:
    while isinstance(function, partial):
        function = function.func
    return str(getattr(function, "__qualname__", "") or repr(function))


class _Knife(trio.abc.Instrument):
    """Counts the steps of a call, and cancels it before one of them."""

    def __init__(self, call: VictimCall, scope: trio.CancelScope, at: int | None) -> None:
        self._call, self._scope, self._at = call, scope, at
        self._reached()

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        """A task is about to run."""
        self._call.steps += 1
        self._reached()

    def _reached(self) -> None:
        if self._call.steps == self._at:
            self._call._cut_at = trio.current_time()
            self._scope.cancel()


@define(eq=False)
class CancelReport:
    """What a sweep of cancellations did.

    Attributes:
        seeds: schedules that were swept.
        calls: calls of the victim in them, when nothing was cancelled.
        points: runs in which one was cancelled.
        cancelled: calls that the cancellation ended; finished: calls that returned their result all the same; raised:
            calls that ended with an error.
        skipped: moments that were left out, because there were too many.
        undecided: runs whose store calls were too tangled to be judged.
        seconds: processor time.
    """

    seeds: int = 0
    calls: int = 0
    points: int = 0
    cancelled: int = 0
    finished: int = 0
    raised: int = 0
    skipped: int = 0
    undecided: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        text = (
            f"{self.points} moments of {self.calls} calls in {self.seeds} schedules: {self.cancelled} cancelled, "
            f"{self.finished} finished all the same, {self.raised} raised"
        )
        if self.skipped:
            text += f"; {self.skipped} moments skipped"
        return f"{text}; {self.seconds:.1f} s"


class CancelFailure(AssertionError):
    """Something is wrong after a cancellation. The text says what, where, and how to have it again.

    Attributes:
        sentence: what is wrong.
        at: `cancel_everywhere(program, at=at)` runs this point alone: seed, number of the call, steps before the
            cancellation. The last two are None if nothing was cancelled.
        calls: those of the victim.
        value: what the program returned.
        report: what had been run by then.
    """

    def __init__(
        self,
        text: str,
        *,
        sentence: str,
        at: tuple[int, int | None, int | None],
        calls: list[VictimCall],
        value: object,
        report: CancelReport,
    ) -> None:
        super().__init__(text)
        self.sentence, self.at, self.calls, self.value, self.report = sentence, at, calls, value, report

    def __reduce__(self) -> tuple[object, ...]:
        return AssertionError, (str(self),)  # what made it stays in the process that found it


def cancel_everywhere(
    program: VictimProgram,
    *,
    seeds: int | Iterable[int] = 20,
    invariants: Iterable[Invariant] = (),
    patience: float | None = PATIENCE_S,
    points: int = POINTS_MAX,
    check_stores: bool = True,
    max_decisions: int = DECISIONS_MAX,
    at: tuple[int, int | None, int | None] | None = None,
) -> CancelReport:
    """Run a program once for every moment at which a call in it can be cancelled, and cancel it there.

    The program makes the calls in question with the victim that it is given: `await victim(run.send_event, "paid")`,
    from its own tasks or from a step. First it runs undisturbed, and the steps of its calls are counted; then once for
    each of them. Each time it must end (a deadlock is found at once, on virtual time), raise nothing, and keep its
    invariants: a call that says `Cancelled` has not happened, and everything else goes on.

    Args:
        program: an async function of a `Victim`; with a parameter `journal`, too, it is given a durable journal in
            memory to open its runtime with.
        seeds: how many schedules to sweep, or which.
        invariants: functions that are given what the program returned; False, a text or an exception says that
            something is wrong. The program itself may assert as well.
        patience: virtual seconds in which a cancelled call must have ended; None: any time.
        points: moments to try at most in one schedule, evenly spread.
        check_stores: whether what the branches were told by run stores must be linearizable.
        max_decisions: of one schedule, after which it counts as one that never ends.
        at: the `at` of a failure: that one point is run.

    Returns what was done.

    Raises `CancelFailure` at the first point where something is wrong, `ValueError` for a program that never calls its
    victim, `RuntimeError` inside a run of trio: call it from a plain function.

    Example:
        def test_an_event_is_delivered_whole_or_not_at_all():
            async def program(victim):
                async with open_runtime([Order]) as runtime:
                    run = await runtime.start(Order)
                    await victim(run.send_event, "paid", 3)
                    if victim.cancelled:
                        await run.send_event("paid", 3)
                    return await run.result()

            cancel_everywhere(program, invariants=[lambda paid: paid == 3])
    """
    sweep = _Sweep(program, Judge(tuple(invariants), check_stores=check_stores), patience, points, max_decisions)
    began = time.process_time()
    try:
        if at is not None:
            cut = None if at[1] is None or at[2] is None else (at[1], at[2])
            sweep.go(iter([_Turn(sweep, at[0], cut)]))
        else:
            sweep.go(sweep.all(range(seeds) if isinstance(seeds, int) else seeds))
    finally:
        sweep.report.seconds = time.process_time() - began
        sweep.report.undecided = sweep.judge.undecided
    return sweep.report


@define(eq=False)
class _Sweep:
    """Goes through points one after the other, until one fails."""

    program: VictimProgram
    judge: Judge
    patience: float | None
    points: int
    limit: int
    report: CancelReport = field(factory=CancelReport)
    failed: tuple[Finding, _Turn] | None = None

    @property
    def name(self) -> str:
        """How a user would call the program."""
        return _name(self.program)

    def go(self, turns: Iterator[_Turn]) -> None:
        """Run them; raise what is wrong."""
        waiting: list[_Turn] = []

        def schedules() -> Iterator[Schedule]:
            for turn in turns:
                waiting.append(turn)
                yield turn.schedule()

        def done(passage: Passage) -> bool:
            turn = waiting.pop()
            turn.passage = passage
            finding = self._judge(turn)
            if finding is not None:
                self.failed = finding, turn
            return finding is not None

        run_schedules(schedules(), done)
        if self.failed is not None:
            raise self._failure(*self.failed)

    def all(self, seeds: Iterable[int]) -> Iterator[_Turn]:
        """Every point of every seed."""
        for seed in seeds:
            calm = _Turn(self, seed, None)
            yield calm
            calls = calm.victim.calls
            if not calls:
                raise ValueError(f"{self.name} never calls its victim: `await victim(function, *arguments)`")
            self.report.seeds += 1
            self.report.calls += len(calls)
            moments = [(number, step) for number, call in enumerate(calls) for step in range(call.steps + 1)]
            chosen = moments
            if len(moments) > self.points:
                chosen = [moments[place * len(moments) // self.points] for place in range(self.points)]
            self.report.skipped += len(moments) - len(chosen)
            for moment in chosen:
                yield _Turn(self, seed, moment)

    def _judge(self, turn: _Turn) -> Finding | None:
        report = self.report
        cut = None
        if turn.cut is not None:
            report.points += 1
            if turn.cut[0] < len(turn.victim.calls):
                cut = turn.victim.calls[turn.cut[0]]
                report.cancelled += cut.cancelled
                report.finished += cut.finished
                report.raised += cut.error is not None
        finding = self.judge.judge(turn.passage)
        if finding is None and cut is not None and self.patience is not None and cut._took > self.patience:
            return Finding("slow", f"the cancelled call took {cut._took:g} s to end; patience is {self.patience:g} s")
        return finding

    def _failure(self, finding: Finding, turn: _Turn) -> CancelFailure:
        where, at = "with nothing cancelled", (turn.seed, *(turn.cut or (None, None)))
        if turn.cut is not None:
            number, step = turn.cut
            calls = turn.victim.calls
            name = calls[number].name if number < len(calls) else "never reached"
            where = f"call {number} of the victim ({name}) cancelled after {step} task steps"
        lines = [f"{self.name}, {where}: {finding.sentence}"]
        if finding.detail:
            lines += ["", finding.detail.rstrip(), ""]
        for number, call in enumerate(turn.victim.calls):
            lines.append(f"call {number}, {call.name}: {_ended(call)}")
        lines.append(f"after {self.report.points} points of {self.report.seeds} schedules")
        lines.append(f"again: cancel_everywhere({self.name}, at={at}), with the other arguments as here")
        return CancelFailure(
            "\n".join(lines),
            sentence=finding.sentence,
            at=at,
            calls=turn.victim.calls,
            value=turn.passage.value,
            report=self.report,
        )


def _ended(call: VictimCall) -> str:
    if call.cancelled:
        return "cancelled"
    if call.error is not None:
        return f"raised {type(call.error).__name__}: {call.error}"
    return f"returned {call.value!r}" if call.finished else "not over"


@define(eq=False)
class _Turn:
    """A seed, cancelled at one point, or nowhere."""

    sweep: _Sweep
    seed: int
    cut: tuple[int, int] | None
    victim: Victim = field(init=False)
    passage: Passage = field(factory=partial(Passage, 0))

    def __attrs_post_init__(self) -> None:
        self.victim = Victim(self.cut)

    def schedule(self) -> Schedule:
        """To be run."""
        program = self.sweep.program
        if not inspect.signature(program).parameters:
            raise TypeError(f"{program!r} is no program: give an async function whose first parameter is the victim")
        target = program_of(partial(program, self.victim))
        return Trial(target, self.seed, limit=self.sweep.limit).begin().schedule()

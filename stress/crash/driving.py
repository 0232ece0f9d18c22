"""Bringing the runs of a workload to their end, in as many lives as it takes.

What lives here: starting, answering, waiting, and what came of it. What does not: the disk below (`recording`,
`faulting`).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field, frozen

from actorflow import JournalError, NotSuspended, RunOver, RunStatus, open_runtime
from actorflow.journals import MemoryJournal

from .flows import ALL_FLOWS, Asking, mark, shown, tell
from .workloads import Start

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actorflow import Run, Runtime
    from actorflow.abc import Journal


OVER: Final = (RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.CANCELLED)
PATIENCE_S: Final = 400.0
"""Virtual seconds for which a life whose journal fails goes on trying: several of the longest pauses of a repair."""
RETRY_S: Final = 5.0


@frozen
class End:
    """How a run ended, as text that can be compared; the state of those that keep theirs."""

    status: str
    output: str


Ends = dict[str, End]


class Unrecovered(Exception):
    """Runs could not be taken up."""


@define
class Drive:
    """One life of the runs.

    Args:
        starts: the runs.
        until: "end", or "questions": leave as soon as all of them wait for answers, or are over.
        patient: go on when the journal fails, for some time.
    """

    starts: Sequence[Start]
    until: str = "end"
    patient: bool = False
    ends: Ends = field(factory=dict)

    async def life(self, journal: Journal) -> Ends:
        """Open, drive, and leave the block."""
        async with open_runtime(ALL_FLOWS, journal=journal, shutdown_grace=0.0) as runtime:
            if runtime.unrecovered:
                raise Unrecovered(str(dict(runtime.unrecovered)))
            async with trio.open_nursery() as nursery:
                for start in self.starts:
                    nursery.start_soon(self._follow, runtime, start)
        return self.ends

    async def _follow(self, runtime: Runtime, start: Start) -> None:
        if not self.patient:
            return await self._once(runtime, start)
        deadline = trio.current_time() + PATIENCE_S
        while trio.current_time() < deadline:
            try:
                return await self._once(runtime, start)
            except JournalError:
                await trio.sleep(RETRY_S)
        return None

    async def _once(self, runtime: Runtime, start: Start) -> None:
        run = await runtime.start(start.workflow, start.data, run_id=start.run_id)
        tell(start.run_id, "")
        if start.workflow is Asking and await run.status() not in OVER and self.until == "end":
            await self._send(run)
        while (outcome := await run.wait()).status not in OVER:
            if self.until == "questions":
                return
            for question in outcome.suspensions:
                await self._answer(run, question.activation_id, question.label or "")
        state = shown(await run.state()) if getattr(start.workflow, "keep_state", False) else None
        said = [outcome.output, str(outcome.error) if outcome.error else None, state]
        self.ends[start.run_id] = End(outcome.status.value, json.dumps(said, sort_keys=True))

    async def _send(self, run: Run) -> None:
        text = mark(run.run_id, "event")
        if any(fact.kind == "event-received" for fact in await run.history()):
            return
        try:
            await run.send_event("go", text)
        except RunOver:
            return
        tell(run.run_id, text)

    async def _answer(self, run: Run, activation_id: str, label: str) -> None:
        text = mark(run.run_id, "answer", label)
        try:
            await run.resume(text, step=activation_id)
        except NotSuspended:  # answered before the crash, or by a call that failed and happened all the same
            return
        tell(run.run_id, text)


async def undisturbed(starts: Sequence[Start]) -> Ends:
    """How the runs end on a journal in memory, which never fails."""
    return await Drive(starts).life(MemoryJournal(durable=True))


def differences(wanted: Mapping[str, End], found: Mapping[str, End]) -> list[str]:
    """What ended otherwise, in sentences."""
    texts = []
    for name in sorted({*wanted, *found}):
        one, other = wanted.get(name), found.get(name)
        if one != other:
            texts.append(f"run {name} ended as {_shown(other)} instead of {_shown(one)}")
    return texts


def _shown(end: End | None) -> str:
    return "nothing" if end is None else f"{end.status} {end.output[:300]}"

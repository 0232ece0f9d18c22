"""A workload, run once on a recorded disk, in as many lives as it has.

What lives here: the recorded journal, what a control breaks in it, and `record`. What does not: the images that are
made of the record (`images`).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from attrs import define, frozen

from actorflow.journals import SqliteJournal

from .adapter import connecting
from .disk import Disk
from .driving import Drive, Ends, differences, undisturbed
from .flows import hearing
from .ledger import Ledger, same
from .looking import contents, lay_out
from .simulated import Inline, simulated
from .tape import CALLS, Acked, Died, Issued, Settled, Tape, Told
from .vfs import Tap
from .workloads import Start, Workload

if TYPE_CHECKING:
    from actorflow.abc import Append, Executor

    from .tape import Entry
    from .workloads import Life


LIFE_S: Final = 1000.0
"""Virtual seconds from the beginning of one life to that of the next."""


class CannotRecord(Exception):
    """The undisturbed lives do not end as they should: nothing can be compared with them."""


@frozen
class Recorded:
    """A workload with all that its disk went through.

    Attributes:
        ends: how its runs end if nothing happens.
        left: the files as they are after the last life that was recorded.
    """

    workload: Workload
    seed: int
    starts: Sequence[Start]
    tape: Tape
    ledger: Ledger
    ends: Ends
    left: Mapping[str, bytes]

    @property
    def boundaries(self) -> list[int]:
        """The places of the tape that a crash can come after."""
        return [place for place, entry in enumerate(self.tape) if isinstance(entry, CALLS)]


class RecordedJournal(SqliteJournal):
    """The real journal, whose commits are noted in the ledger and on the tape.

    Args:
        sabotage: what is wrong with it: "" nothing; "early": it acknowledges a commit before it is made; "halves": a
            commit of several runs is made in several.
    """

    def __init__(self, path: Path, tap: Tap, ledger: Ledger, workload: Workload, sabotage: str) -> None:
        super().__init__(path, connect=connecting(tap, workload.settings))
        self._tap = tap
        self._ledger = ledger
        self._sabotage = sabotage
        self._late: list[Sequence[Append]] = []

    async def open(self, executor: Executor) -> None:
        """Become the owner, and see which commits are there."""
        await super().open(Inline())
        found = await contents(self)
        ledger = self._ledger
        number = next((n for n in reversed(range(len(ledger.states))) if same(ledger.states[n], found)), None)
        if number is None:
            raise CannotRecord("what a crash has left is not the contents after any commit")
        self._note(Settled(ledger.settle(number)))

    async def commit(self, appends: Sequence[Append]) -> int:
        """A commit."""
        number = self._ledger.issue(appends)
        self._note(Issued(number))
        if self._sabotage == "early":
            self._note(Acked(number))
            self._late.append(appends)
            while len(self._late) > 1:
                await super().commit(self._late.pop(0))
            return 0
        if self._sabotage == "halves":
            for append in appends:
                await super().commit([append])
            size = 0
        else:
            size = await super().commit(appends)
        self._note(Acked(number))
        return size

    async def close(self) -> None:
        """Close; what is late is made up for."""
        while self._late:
            await super().commit(self._late.pop(0))
        await super().close()

    def _note(self, entry: Entry) -> None:
        if self._tap.is_on:
            self._tap.tape.append(entry)


@define(eq=False)
class _Recorder:
    workload: Workload
    seed: int
    starts: Sequence[Start]
    sabotage: str
    tape: Tape
    ledger: Ledger
    disk: Disk

    def life(self, number: int, life: Life, folder: Path) -> Ends:
        """One life on the files that the last one left; its crash is cut out of its record."""
        folder.mkdir()
        path = lay_out(folder, {name: bytes(content) for name, content in self.disk.seen.items()})
        begin = len(self.tape)

        def told(run_id: str, mark: str) -> None:
            self.tape.append(Told(run_id, mark))

        with Tap(self.tape) as tap, hearing(told):
            journal = RecordedJournal(path, tap, self.ledger, self.workload, self.sabotage)
            drive = Drive(self.starts, life.until)
            ends = simulated(self.seed + number, partial(drive.life, journal), begin_s=LIFE_S * number)
        calls = [place for place in range(begin, len(self.tape)) if isinstance(self.tape[place], CALLS)]
        if life.dies:
            del self.tape[calls[int(life.at * len(calls))] + 1 :]
        for entry in self.tape[begin:]:
            if isinstance(entry, CALLS):
                self.disk.feed(entry)
        if life.dies:
            self._die(life, number)
            return {}
        return ends

    def _die(self, life: Life, number: int) -> None:
        files: Mapping[str, bytes] | None = None
        if life.dies != "process":
            files = self.disk.image(life.dies, random.Random(f"{self.seed} death {number}"))
            self.disk = Disk.of(files)
        self.tape.append(Died(files))


def record(workload: Workload, seed: int, sabotage: str = "", *, lives: int | None = None) -> Recorded:
    """Run a workload on a recorded disk: to its end, or its first few lives."""
    starts = workload.starts(random.Random(f"{workload.name} {seed}"))
    wanted = simulated(seed, partial(undisturbed, starts))
    recorder = _Recorder(workload, seed, starts, sabotage, [], Ledger(), Disk())
    ends: Ends = {}
    with TemporaryDirectory(prefix="actorflow-crash-", dir=memory_folder()) as folder:
        for number, life in enumerate(workload.lives[:lives]):
            ends = recorder.life(number, life, Path(folder, str(number)))
    if lives is None and (found := differences(wanted, ends)):
        raise CannotRecord(f"{workload.name}: {'; '.join(found)}")
    left = {name: bytes(content) for name, content in recorder.disk.seen.items()}
    return Recorded(workload, seed, starts, recorder.tape, recorder.ledger, wanted, left)


def memory_folder() -> str | None:
    """Where files cost least: here the disk is a model, and a real one would only wear out."""
    folder = Path("/dev/shm")
    return str(folder) if folder.is_dir() else None

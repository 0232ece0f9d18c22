"""Every image that a crash may leave, of every place of a record: opened, read, and some of them brought to their end.

What lives here: the campaign over one workload. What does not: the kinds of images (`disk`), the verdict (`judging`).
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from .disk import Disk
from .judging import Finding, Promises, finish, look_at
from .looking import NAME, lay_out
from .recording import CannotRecord, Recorded, memory_folder, record
from .tape import CALLS, Died, Sync, Told, Truncate, Write

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .tape import Tape
    from .workloads import Workload

FAILURES_KEPT: Final = 20
"""Failures of one workload that are told one by one; all are counted."""


@frozen
class Failure:
    """Something wrong, and how to have it again: `at` names the image, or the fault."""

    workload: str
    seed: int
    at: str
    finding: Finding


@define
class Tally:
    """The counts of one workload.

    Attributes:
        points: places that a crash came after, or calls that failed.
        images: files that were made of them; `distinct` of which differ, in content or in what is promised.
        finished: how many were brought to the end of all runs.
        found: by kind, how many were wrong.
    """

    name: str
    points: int = 0
    images: int = 0
    distinct: int = 0
    finished: int = 0
    seconds: float = 0.0
    found: dict[str, int] = field(factory=dict)
    happened: dict[str, int] = field(factory=dict)
    failures: list[Failure] = field(factory=list)

    def fail(self, failure: Failure) -> None:
        """Count something wrong."""
        self.found[failure.finding.kind] = self.found.get(failure.finding.kind, 0) + 1
        if len(self.failures) < FAILURES_KEPT:
            self.failures.append(failure)

    def add(self, other: Tally) -> None:
        """Take another round of the same workload in."""
        self.points += other.points
        self.images += other.images
        self.distinct += other.distinct
        self.finished += other.finished
        self.seconds += other.seconds
        for counts, more in ((self.found, other.found), (self.happened, other.happened)):
            for name, count in more.items():
                counts[name] = counts.get(name, 0) + count
        self.failures += other.failures[: FAILURES_KEPT - len(self.failures)]


@frozen(kw_only=True)
class Plan:
    """How much is tried.

    Args:
        kinds: the kinds of images at each place.
        stride: only every so many places.
        deep: every so many distinct images are brought to the end of their runs.
        only: (place, kind) of the one image that is wanted.
        until: when to stop, in epoch seconds.
        keep: where images that are wrong are kept.
    """

    kinds: Sequence[str]
    stride: int = 1
    deep: int = 4
    only: tuple[int, str] | None = None
    until: float | None = None
    keep: Path | None = None


def campaign(workload: Workload, seed: int, plan: Plan, sabotage: str = "") -> Tally:
    """Record a workload, and judge the images of it."""
    tally = Tally(workload.name)
    began = time.perf_counter()
    try:
        recorded = record(workload, seed, sabotage)
    except CannotRecord as error:
        tally.fail(Failure(workload.name, seed, "", Finding("differs", str(error))))
    else:
        tally.happened = {**recorded.ledger.happened, **_happened(recorded.tape)}
        with TemporaryDirectory(prefix="actorflow-crash-", dir=memory_folder()) as folder:
            _Judge(recorded, plan, tally, Path(folder)).all()
    tally.seconds = time.perf_counter() - began
    return tally


def _happened(tape: Tape) -> dict[str, int]:
    return {
        "syncs": sum(isinstance(entry, Sync) for entry in tape),
        "pages written back into the file": sum(
            isinstance(entry, Write) and entry.file == NAME and entry.offset > 0 for entry in tape
        ),
        "cuts of the log": sum(isinstance(entry, Truncate) and entry.file != NAME for entry in tape),
        "lives that a crash ended": sum(isinstance(entry, Died) for entry in tape),
        "answers told to steps and callers": sum(isinstance(entry, Told) for entry in tape),
    }


@define(eq=False)
class _Judge:
    recorded: Recorded
    plan: Plan
    tally: Tally
    folder: Path
    seen: set[bytes] = field(factory=set)

    def all(self) -> None:
        plan, recorded = self.plan, self.recorded
        disk, promises = Disk(), Promises(recorded.ledger)
        number = 0
        for place, entry in enumerate(recorded.tape):
            if isinstance(entry, Died):
                disk = disk if entry.files is None else Disk.of(entry.files)
            if not isinstance(entry, CALLS):
                promises.feed(entry)
                continue
            disk.feed(entry)
            number += 1
            if plan.only is not None and plan.only[0] != place:
                continue
            if number % plan.stride and plan.only is None:
                continue
            if plan.until is not None and time.time() > plan.until:
                break
            self.tally.points += 1
            for kind in plan.kinds if plan.only is None else [plan.only[1]]:
                self._one(disk, promises, place, kind)
        for finding in promises.broken:
            self._fail("", finding)

    def _one(self, disk: Disk, promises: Promises, place: int, kind: str) -> None:
        files = disk.image(kind, random.Random(f"{self.recorded.seed} {place} {kind}"))
        self.tally.images += 1
        digest = _digest(files, (promises.acked, promises.issued, sum(seq for seq, _ in promises.told.values())))
        if digest in self.seen:
            return
        self.seen.add(digest)
        self.tally.distinct += 1
        path = lay_out(self.folder, files)
        finding = look_at(path, promises)
        if finding is None and (self.tally.distinct % self.plan.deep == 0 or self.plan.only is not None):
            self.tally.finished += 1
            finding = finish(lay_out(self.folder, files), self.recorded)
        if finding is not None:
            self._fail(f"{place}:{kind}", finding)
            if self.plan.keep is not None:
                kept = self.plan.keep / f"{self.recorded.workload.name}-{self.recorded.seed}-{place}-{kind}"
                kept.mkdir(parents=True, exist_ok=True)
                lay_out(kept, files)

    def _fail(self, at: str, finding: Finding) -> None:
        self.tally.fail(Failure(self.recorded.workload.name, self.recorded.seed, at, finding))


def _digest(files: Mapping[str, bytes], promised: object) -> bytes:
    digest = blake2b(repr(promised).encode(), digest_size=16)
    for name, content in sorted(files.items()):
        digest.update(b"%s %d\0" % (name.encode(), len(content)))
        digest.update(content)
    return digest.digest()

"""Rows of a SQLite journal as records, checked; and what is wrong with a file that is none.

What lives here: reading (shared by the owner and by the command line), checksums, the translation of SQLite's errors.
What does not: writing and ownership (`sqlite`), bytes of facts (`codec`).
"""

from __future__ import annotations

import json
import logging
import sqlite3
import zlib
from contextlib import contextmanager
from enum import Enum
from typing import TYPE_CHECKING, Final, cast

from attrs import evolve, frozen

from .._core.lifecycle import RunStatus
from ..abc import RunHeader, StoredRun
from ..errors import JournalCorrupt, JournalError
from . import sql
from .codec import decode_frame
from .lock import is_owned_here
from .refusals import unknown_after

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from .._core.facts import Fact

SQL: Final = sql.statements("journal")
LOG: Final = logging.getLogger("actorflow.journal")

APPLICATION_ID: Final = 1634102391
SCHEMA_VERSION: Final = 1

_MAGIC: Final = b"SQLite format 3\0"
_HEADER: Final = 100
_NO_LIMIT: Final = (1 << 63) - 1

_FrameRow = tuple[int, int, bytes, bytes, int, int | None, bytes | None]
_RunRow = tuple[str, str, str, str, str, str, int, float, float, float, str, int]


class FileKind(Enum):
    """What a path holds before SQLite has touched it."""

    NEW = "new"
    JOURNAL = "journal"


# --- errors


@contextmanager
def translated(path: Path, doing: str, run_id: str | None = None) -> Iterator[None]:
    """Turn what SQLite and the system raise into the journal's errors, the cause kept."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise translate(error, path, doing, run_id) from error


def translate(error: Exception, path: Path, doing: str, run_id: str | None = None) -> JournalError:
    """The journal's error for one of SQLite or of the system."""
    if damages(error):
        return JournalCorrupt(
            f"cannot {doing} the journal {path}: the file is damaged ({error}); "
            "keep a copy of it with its -wal file, then restore it from a backup",
            run_id=run_id,
        )
    code = getattr(error, "sqlite_errorname", None) or type(error).__name__
    return JournalError(
        f"cannot {doing} the journal {path}: {error} ({code}); check the path, its rights and the space left",
        run_id=run_id,
    )


def damages(error: Exception) -> bool:
    """Whether SQLite says that what it read is no whole database."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return isinstance(error, sqlite3.Error) and code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def damaged(path: Path, run_id: str, what: str) -> JournalCorrupt:
    """The error for one damaged run; the others are not concerned."""
    return JournalCorrupt(
        f"run {run_id!r} in the journal {path} is damaged: {what}; other runs are not concerned, "
        "restore this one from a backup or start it anew under another id",
        run_id=run_id,
    )


# --- files


def look_at_file(path: Path) -> FileKind:
    """What the path holds, by reading at most 100 bytes: a file that is not ours stays as it is, byte for byte."""
    if is_owned_here(path):
        return FileKind.JOURNAL
    if path.is_dir():
        raise JournalError(f"cannot open the journal {path}: it is a folder; name a file in it")
    if not path.parent.is_dir():
        raise JournalError(f"cannot open the journal {path}: there is no folder {path.parent}; create it first")
    try:
        with path.open("rb") as file:
            header = file.read(_HEADER)
    except FileNotFoundError:
        header = b""
    if not header:
        _check_no_lost_log(path)
        return FileKind.NEW
    if not any(header) and _is_unfinished(path):
        return FileKind.NEW
    application = int.from_bytes(header[68:72], "big")
    if not header.startswith(_MAGIC[: len(header)]) or (len(header) == _HEADER and application != APPLICATION_ID):
        kind = "a SQLite database of another application" if header.startswith(_MAGIC) else "no SQLite database"
        raise JournalError(
            f"{path} is not an actorflow journal but {kind}; it was left untouched: "
            "name another file, or move this one away"
        )
    if len(header) < _HEADER:
        raise JournalCorrupt(f"the journal {path} is cut off after {len(header)} bytes; restore it from a backup")
    check_version(path, int.from_bytes(header[60:64], "big"))
    return FileKind.JOURNAL


def check_version(path: Path, version: int) -> None:
    """Refuse tables that a newer version wrote."""
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"the journal {path} has version {version}, this actorflow reads up to {SCHEMA_VERSION}; "
            "it was left untouched: open it with a newer actorflow, or name another file"
        )


def _is_unfinished(path: Path) -> bool:
    """Whether the power went while the file was made: SQLite takes back what has arrived of it.

    Its pages may arrive in any order. One that holds no header yet belongs to nobody else, if the record of what to
    take back lies beside it.
    """
    record = path.with_name(f"{path.name}-journal")
    return record.exists() and record.stat().st_size > 0


def _check_no_lost_log(path: Path) -> None:
    # SQLite deletes the log of an empty database. Ours never has one: tables come before the log.
    log = path.with_name(f"{path.name}-wal")
    if log.exists() and log.stat().st_size:
        raise JournalCorrupt(
            f"the journal {path} is empty or gone, but its write-ahead log {log.name} is there; "
            "restore both together, or move the log away to start a new journal"
        )


# --- checksums


def bound_crc(run_id: str) -> int:
    """Where the checksums of a run begin: a row that strayed to another run does not pass."""
    return zlib.crc32(f"{run_id}\0".encode("utf-8", "surrogatepass"))


def frame_crc(bound: int, seq: int, count: int, head: bytes, texts: bytes) -> int:
    """Checksum of a frame, bound to its run and place in it."""
    crc = zlib.crc32(head, zlib.crc32(b"%d\0%d\0%d" % (seq, count, len(head)), bound))
    return zlib.crc32(texts, crc) if texts else crc


def body_crc(bound: int, seq: int, body: bytes) -> int:
    """Checksum of the values of a frame, or of a snapshot, bound likewise."""
    return zlib.crc32(body, zlib.crc32(b"%d" % seq, bound))


# --- rows


@frozen
class RunRow:
    """One row of the table of runs."""

    header: RunHeader
    key: int
    dropped: bool


def _run_row(row: _RunRow) -> RunRow:
    run_id, workflow_id, version, source, status, parent_id, key, *times, fingerprint, dropped = row
    started_at, ended_at, wake_at = times
    header = RunHeader(
        run_id=run_id,
        workflow_id=workflow_id,
        version=version,
        source=source,
        status=RunStatus(status),
        parent_id=parent_id,
        created=key,
        started_at=started_at,
        ended_at=ended_at,
        wake_at=wake_at,
        fingerprint=fingerprint,
    )
    return RunRow(header, key, bool(dropped))


def run_values(header: RunHeader) -> tuple[object, ...]:
    """A header as the parameters of the statement `put_run`."""
    return (
        header.created,
        header.run_id,
        header.workflow_id,
        header.version,
        header.source,
        header.status.value,
        header.parent_id,
        header.started_at,
        header.ended_at,
        header.wake_at,
        header.fingerprint,
    )


def find_run(connection: sqlite3.Connection, path: Path, run_id: str) -> RunRow | None:
    """The row of one run."""
    row: _RunRow | None = connection.execute(SQL["run"], (run_id,)).fetchone()
    if row is None:
        return None
    try:
        return _run_row(row)
    except ValueError as error:
        raise damaged(path, run_id, f"its row says {error}") from error


def list_runs(
    connection: sqlite3.Connection,
    path: Path,
    *,
    workflow_id: str | None,
    statuses: Sequence[RunStatus] | None,
    parent_id: str | None,
    limit: int | None,
    after: str | None,
) -> list[RunHeader]:
    """Rows, newest first. One whose status cannot be read is listed as running, so that somebody looks at it."""
    before = _NO_LIMIT
    if after is not None:
        row = find_run(connection, path, after)
        if row is None:
            raise unknown_after(after)
        before = row.key
    filters: dict[str, str | None] = {"workflow_id": workflow_id, "parent_id": parent_id}
    if statuses is None:
        filters.update(statuses=None, excluded=None)
    elif RunStatus.RUNNING in statuses:  # what is not a known word is listed as running
        filters.update(statuses=None, excluded=json.dumps([s.value for s in RunStatus if s not in statuses]))
    else:
        filters.update(statuses=json.dumps([status.value for status in statuses]), excluded=None)
    lines = []
    given = []
    for line in SQL["runs"].splitlines():
        mark = line.removeprefix("/* ").partition(" */")[0] if line.startswith("/* ") else None
        value = None if mark is None else filters[mark]
        if mark is None or value is not None:
            lines.append(line)
        if value is not None:
            given.append(value)
    values = [before, *given, -1 if limit is None else limit]
    return [_readable(row) for row in connection.execute("\n".join(lines), values)]


def _readable(row: _RunRow) -> RunHeader:
    try:
        return _run_row(row).header
    except ValueError:
        return _run_row((*row[:4], RunStatus.RUNNING.value, *row[5:])).header


def load_run(connection: sqlite3.Connection, path: Path, run_id: str) -> StoredRun | None:
    """The run from its newest whole snapshot on. Several statements: the caller holds a transaction."""
    row = find_run(connection, path, run_id)
    if row is None:
        return None
    stored = StoredRun(header=row.header, facts=())
    bound = bound_crc(run_id)
    for seq, body, crc in connection.execute(SQL["snapshots"], (row.key,)).fetchall():
        if isinstance(body, bytes) and crc == body_crc(bound, seq, body):
            stored = evolve(stored, snapshot=body.decode(), snapshot_seq=seq, snapshot_bytes=len(body))
            break
        LOG.warning("journal %s: the snapshot of run %r at %d is damaged; an older one is taken", path, run_id, seq)
    facts, size = _facts(connection, path, row, stored.snapshot_seq + 1, _NO_LIMIT)
    return evolve(stored, facts=facts, frame_bytes=size)


def read_facts(
    connection: sqlite3.Connection, path: Path, run_id: str, first_seq: int, last_seq: int | None
) -> list[Fact]:
    """The facts of a run from `first_seq` to `last_seq`; none if there is no such run."""
    row = find_run(connection, path, run_id)
    if row is None:
        return []
    return _facts(connection, path, row, first_seq, _NO_LIMIT if last_seq is None else last_seq)[0]


def _facts(
    connection: sqlite3.Connection, path: Path, run: RunRow, first_seq: int, last_seq: int
) -> tuple[list[Fact], int]:
    """The facts from `first_seq` to `last_seq`, and the size of their frames."""
    facts: list[Fact] = []
    size = 0
    first_seq = max(1, first_seq)
    expected = 0
    place = {"run": run.key, "first": first_seq, "last": last_seq}
    for frame in cast("list[_FrameRow]", connection.execute(SQL["frames"], place).fetchall()):
        seq, count, head, texts, _, _, body = frame
        if seq != (expected or seq) or (not expected and seq > first_seq):
            raise damaged(path, run.header.run_id, f"facts {expected or first_seq} to {seq - 1} are missing")
        expected = seq + count
        if expected <= first_seq:
            continue  # the frame before the one wanted
        decoded = _decode(path, run, frame)
        if seq < first_seq or expected - 1 > last_seq:
            decoded = decoded[max(0, first_seq - seq) : last_seq - seq + 1]
        facts += decoded
        size += len(head) + len(texts) + len(body or b"")
    return facts, size


def _decode(path: Path, run: RunRow, frame: _FrameRow) -> list[Fact]:
    seq, count, head, texts, crc, values_crc, body = frame
    run_id = run.header.run_id
    bound = bound_crc(run_id)
    try:
        whole = crc == frame_crc(bound, seq, count, head, texts)
        if not run.dropped and values_crc is not None:
            whole = whole and body is not None and values_crc == body_crc(bound, seq, body)
        if not whole:
            raise damaged(path, run_id, f"the checksum of the facts from {seq} on is wrong")
        facts = decode_frame(head, texts, None if run.dropped else body or b"")
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise damaged(path, run_id, f"the facts from {seq} on cannot be read: {error}") from error
    if len(facts) != count:
        raise damaged(path, run_id, f"{len(facts)} facts from {seq} on, where {count} were announced")
    return facts

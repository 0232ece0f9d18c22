"""The third oracle: what lies in the journal when its owner has closed it.

What lives here: reading a SQLite journal with plain `sqlite3`, or any other by opening it again; checksums, numbers,
rows against facts, and what should be gone. What does not: the bytes of a frame (`frames`), judging facts (`facts`).
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar, cast

from attrs import AttrsInstance, define, field, fields

from .finding import Finding
from .frames import COLUMNS, Entry, Unreadable, read_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actorflow import Fact
    from actorflow.abc import Journal

    from ..recording import Record

__all__ = ["Row", "Stored", "check_families", "check_rows", "read_file", "read_journal"]

T = TypeVar("T")

APPLICATION: Final = 0x61666C77
"""What a journal has at offset 68: the letters "aflw"."""
OVER: Final = ("completed", "failed", "cancelled")
GONE_WITHOUT: Final = ("delete", "pop")
"""Verbs that never had an argument."""
ARGUMENTS: Final = frozenset({"argument", "operations", "values"})
"""Fields that hold values of the run store."""


@define
class Row:
    """One run as the journal has it."""

    run_id: str
    workflow_id: str
    status: str
    parent_id: str
    ended_at: float
    wake_at: float
    entries: list[Entry] = field(factory=list)
    values_gone: bool = False


@define
class Stored:
    """A whole journal, and what is wrong with its bytes."""

    rows: dict[str, Row] = field(factory=dict)
    findings: list[Finding] = field(factory=list)


# --- reading a SQLite file


def read_file(path: str | Path) -> Stored:
    """A SQLite journal that nobody owns."""
    found = Stored()
    if not Path(path).exists():
        return found
    with closing(sqlite3.connect(f"{Path(path).resolve().as_uri()}?mode=ro", uri=True)) as connection:
        try:
            _read(connection, found)
        except sqlite3.DatabaseError as error:
            found.findings.append(Finding("I10", f"SQLite cannot read the journal: {error}"))
    return found


def _read(connection: sqlite3.Connection, found: Stored) -> None:
    ((said,),) = connection.execute("PRAGMA quick_check(1)").fetchall()
    if said != "ok":
        found.findings.append(Finding("I10", f"SQLite says of the journal: {said}"))
    if connection.execute("PRAGMA application_id").fetchone()[0] != APPLICATION:
        found.findings.append(Finding("I17", "the file does not say that it is an actorflow journal"))
    keys = {}
    for key, run_id, *columns, dropped in connection.execute(
        "SELECT key, run_id, workflow_id, status, parent_id, ended_at, wake_at, dropped FROM runs ORDER BY key"
    ):
        row = found.rows[run_id] = Row(run_id, *columns)
        row.values_gone = bool(dropped)
        keys[key] = row
        _read_frames(connection, key, row, found.findings)
    for table, question in ORPHANS.items():
        count = connection.execute(question).fetchone()[0]
        if count:
            sentence = f"the journal keeps {count} rows of {table} that belong to nothing that is still wanted"
            found.findings.append(Finding("I8", sentence))


ORPHANS: Final = {
    "frames": "SELECT count(*) FROM frames WHERE run NOT IN (SELECT key FROM runs)",
    "frame_values": "SELECT count(*) FROM frame_values WHERE id NOT IN "
    "(SELECT f.id FROM frames f JOIN runs r ON r.key = f.run WHERE NOT r.dropped)",
    "snapshots": "SELECT count(*) FROM snapshots WHERE run NOT IN (SELECT key FROM runs WHERE NOT dropped)",
}
"""What must be nowhere: parts of runs that are not there, and values of those whose values have gone."""


def _crc(*parts: bytes, start: int = 0) -> int:
    for part in parts:
        start = zlib.crc32(part, start)
    return start


def _read_frames(connection: sqlite3.Connection, key: int, row: Row, findings: list[Finding]) -> None:
    bound = _crc(row.run_id.encode("utf-8", "surrogatepass") + b"\0")
    last = 0
    for seq, count, head, texts, crc, values_crc, body in connection.execute(
        "SELECT f.seq, f.count, f.head, f.texts, f.crc, f.values_crc, v.body FROM frames f "
        "LEFT JOIN frame_values v ON v.id = f.id WHERE f.run = ? ORDER BY f.seq",
        (key,),
    ):
        where = f"run {row.run_id}, facts {seq} to {seq + count - 1} of the journal"
        if seq != last + 1:
            findings.append(Finding("I10", f"{where}: the ones before end with {last}"))
        last = seq + count - 1
        if crc != _crc(b"%d\0%d\0%d" % (seq, count, len(head)), head, texts, start=bound):
            findings.append(Finding("I10", f"{where}: the checksum is wrong"))
        wanted = values_crc is not None and not row.values_gone
        if wanted and (body is None or values_crc != _crc(b"%d" % seq, body, start=bound)):
            findings.append(Finding("I10", f"{where}: the values are missing, or their checksum is wrong"))
        try:
            entries = read_frame(head, texts, None if row.values_gone else body or b"")
        except (Unreadable, ValueError, TypeError, KeyError, IndexError) as error:
            findings.append(Finding("I10", f"{where}: they cannot be read: {error}"))
            continue
        if len(entries) != count:
            findings.append(Finding("I10", f"{where}: there are {len(entries)}"))
        row.entries += entries
    for seq, body, crc in connection.execute("SELECT seq, body, crc FROM snapshots WHERE run = ?", (key,)):
        if crc != _crc(b"%d" % seq, body, start=bound):
            findings.append(Finding("I10", f"run {row.run_id}, snapshot at {seq}: the checksum is wrong"))
        if seq > last:
            findings.append(Finding("I10", f"run {row.run_id}, snapshot at {seq}: the facts end with {last}"))


# --- reading any other journal


class _Inline:
    """An executor that lets the work be done where it is asked for."""

    async def run(self, function: Callable[[], T]) -> T:
        return function()


async def read_journal(journal: Journal) -> Stored:
    """A journal without a file, through its port: it is opened once more, read and closed."""
    found = Stored()
    await journal.open(_Inline())
    try:
        for header in await journal.headers():
            row = Row(
                header.run_id,
                header.workflow_id,
                header.status.value,
                header.parent_id,
                header.ended_at,
                header.wake_at,
            )
            found.rows[header.run_id] = row
            row.entries = [_entry(fact) for fact in await journal.read(header.run_id)]
            row.values_gone = row.status in OVER and not any(map(_has_values, row.entries))
    finally:
        await journal.close()
    return found


_CLASSES: Final = {
    "".join(part.title() for part in kind.split("-")): kind for kind, _ in COLUMNS.values() if kind != "run-"
}


def _entry(fact: object) -> Entry:
    given = {one.name: getattr(fact, one.name) for one in fields(type(cast("AttrsInstance", fact)))}
    at = given.pop("at")
    kind = _CLASSES.get(type(fact).__name__) or f"run-{given['status']}"
    return Entry(kind, at, given)


def _has_values(entry: Entry) -> bool:
    """Whether something of the run store is left in a fact."""
    found = entry.fields
    if entry.kind == "operation-applied":
        return found["argument"] is not None
    if entry.kind in ("transaction-applied", "child-ended"):
        operations = cast("list[tuple[str, str, object]]", found["operations"])
        return any(argument is not None for _, _, argument in operations)
    return entry.kind == "state-seeded" and bool(found["values"])


# --- judging


def check_rows(stored: Stored, record: Record) -> list[Finding]:
    """What is wrong with a journal, for the runs of a record."""
    found = [*stored.findings, *check_families(stored)]
    for run_id, facts in record.facts.items():
        row = stored.rows.get(run_id)
        if row is None:
            found.append(Finding("I9", f"run {run_id} is not in the journal"))
            continue
        found += _against_itself(row)
        found += _against_facts(row, facts)
        if row.status in OVER and run_id not in record.kept and any(map(_has_values, row.entries)):
            left = next(filter(_has_values, row.entries))
            sentence = f"run {run_id} is over, and the journal still holds values of its store"
            found.append(Finding("I8", sentence, (f"{left.kind} {dict(left.fields)}",)))
        if run_id in record.kept and row.values_gone and row.status in OVER and _had_values(facts):
            found.append(Finding("I9", f"run {run_id} keeps its state, and the journal has let go of the values"))
    return found


def check_families(stored: Stored) -> Iterator[Finding]:
    """The end of a child run and what its parent makes of it are one commit: nobody would tell it again."""
    told = {
        (row.run_id, entry.fields["n"])
        for row in stored.rows.values()
        for entry in row.entries
        if entry.kind == "child-ended"
    }
    for row in stored.rows.values():
        attached = next((entry for entry in row.entries[:2] if entry.kind == "child-attached"), None)
        if attached is None or row.status not in OVER or row.parent_id not in stored.rows:
            continue
        if (row.parent_id, attached.fields["call"]) not in told:
            yield Finding("I7", f"run {row.run_id} is over, and the journal does not say that {row.parent_id} was told")


def _had_values(facts: object) -> bool:
    return any(
        fact.kind == "operation-applied" and fact.fields["verb"] not in GONE_WITHOUT
        for fact in cast("list[Fact]", facts)
    )


def _against_itself(row: Row) -> Iterator[Finding]:
    """The row of a run says what its facts say."""
    run_id = row.run_id
    if not row.entries or row.entries[0].kind != "run-started":
        yield Finding("I10", f"run {run_id}: its facts in the journal do not begin with its start")
        return
    first, last = row.entries[0].fields, row.entries[-1]
    for name, said, told in (
        ("workflow", row.workflow_id, first["workflow_id"]),
        ("parent", row.parent_id, first["parent_id"]),
        ("status", row.status, _status(row)),
        ("end", row.ended_at, last.at if row.status in OVER else 0.0),
        ("next waking", row.wake_at if row.status in OVER else 0.0, 0.0),
    ):
        if said != told:
            yield Finding("I10", f"run {run_id}: as its {name} the row says {said!r}, and its facts say {told!r}")


def _status(row: Row) -> str:
    for entry in reversed(row.entries):
        if entry.kind in ("run-completed", "run-failed", "run-cancelled", "run-suspended"):
            return entry.kind.partition("-")[2]
        if entry.kind in ("run-woken", "run-stopping"):
            break
    return "running"


def _against_facts(row: Row, facts: object) -> Iterator[Finding]:
    """Everything that the handle told is in the journal, in this order; more may have come since."""
    known = cast("list[Fact]", facts)
    if len(row.entries) < len(known):
        yield Finding("I9", f"run {row.run_id}: {len(known)} facts were told, and the journal has {len(row.entries)}")
    for fact, entry in zip(known, row.entries, strict=False):
        differing = (
            [
                name
                for name in entry.fields
                if name not in ARGUMENTS and _plain(fact.fields[name]) != _plain(entry.fields[name])
            ]
            if fact.kind == entry.kind
            else ["kind"]
        )
        if not differing and fact.kind == "operation-applied" and entry.fields["argument"] is not None:
            differing = [] if _plain(fact.fields["argument"]) == _plain(entry.fields["argument"]) else ["argument"]
        if differing:
            shown = (f"told: {fact.kind} {dict(fact.fields)}", f"journal: {entry.kind} {dict(entry.fields)}")
            yield Finding("I9", f"run {row.run_id}, fact {fact.seq}: told and journaled are not the same", shown)
            return


def _plain(value: object) -> object:
    """A field, whether it is JSON text as in the journal or the value as users see it."""
    if isinstance(value, str) and value:
        try:
            return _plain_json(json.loads(value))
        except ValueError:
            return value
    return _plain_json(value)


def _plain_json(value: object) -> object:
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return value

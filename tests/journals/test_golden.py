"""Journals of every version ever written are read as the facts of today."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from actorflow._core import facts as f
from actorflow._core.facts import FACTS, Fact
from actorflow._core.lifecycle import RunStatus
from actorflow.journals import SqliteJournal
from actorflow.journals.codec import decode_frame
from actorflow.journals.tags import OLD, TAGS
from actorflow.testing.journal_samples import AT, InlineExecutor, append, header, pushes, without_values

GOLDEN = Path(__file__).parents[1] / "golden"
FRAMES = [
    json.loads(line)
    for path in sorted(GOLDEN.glob("frames-v*.jsonl"))
    for line in path.read_text(encoding="utf-8").splitlines()
]


def fact(name: str, fields: dict[str, object]) -> Fact:
    """A fact as it is written in the golden files: JSON knows no tuples."""
    cls = {kind.__name__: kind for kind in FACTS}[name]
    if isinstance(fields.get("argument"), list):
        fields = {**fields, "argument": tuple(fields["argument"])}  # type: ignore[arg-type]  # just looked at
    if "operations" in fields:
        operations = [(v, k, tuple(a) if isinstance(a, list) else a) for v, k, a in fields["operations"]]  # type: ignore[attr-defined]  # a list of triples
        fields = {**fields, "operations": operations}
    return cls(**fields)  # type: ignore[arg-type]  # the fields of this class


@pytest.mark.rule("F3")
@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: frame["facts"][0][0])
def test_a_golden_frame_is_read(frame: dict[str, str]) -> None:
    """Bytes of an earlier version, as they were written then, are the facts that they were."""
    head, texts, values = (frame[part].encode() for part in ("head", "texts", "values"))
    facts = [fact(*shown) for shown in frame["facts"]]  # type: ignore[arg-type]  # pairs of a name and fields
    assert repr(decode_frame(head, texts, values)) == repr(facts)
    assert decode_frame(head, texts, None) == list(map(without_values, facts))


@pytest.mark.rule("F3")
def test_every_tag_is_in_a_golden_frame() -> None:
    """No version of a fact was released without a frame that shows it."""
    written = {row[0] for frame in FRAMES for row in json.loads(frame["head"])[3:]}
    assert written == {tag.name for tag in (*TAGS.values(), *OLD)}


@pytest.mark.rule("F3")
async def test_a_golden_file_is_opened_and_goes_on(tmp_path: Path) -> None:
    """A SQLite journal of version 1 opens: its live run goes on, its ended run is on record."""
    path = tmp_path / "runs.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript((GOLDEN / "sqlite-v1.sql").read_text(encoding="utf-8"))
    journal = SqliteJournal(path)
    await journal.open(InlineExecutor())
    try:
        ended = header(2, status=RunStatus.COMPLETED, ended_at=AT)
        assert list(await journal.headers()) == [ended, header(1)]
        live = await journal.load("run-1")
        assert live is not None
        assert (live.snapshot, live.snapshot_seq, list(live.facts)) == ('{"a":1}', 27, pushes(2, 3))
        assert list(await journal.read("run-1", 25)) == pushes(5)
        assert list(await journal.read("run-1", 1, 2)) == [
            f.StepStarted(AT, 2, 1),
            f.OperationApplied(AT, 2, "push", "results", '{"id":2}', ""),
        ]
        record = list(await journal.read("run-2"))
        assert record[1] == f.OperationApplied(AT, 2, "push", "results", None, "")
        assert record[-1] == f.RunEnded(AT, "completed", "null", "")
        await journal.commit([append(30, pushes(1, 5))])
        assert len(await journal.read("run-1")) == 30
    finally:
        await journal.close()

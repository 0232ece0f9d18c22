"""The oracles of the stress tool: what is planted in a right record, each of them has to find."""

from __future__ import annotations

import ast
import json
import random
import shutil
import sqlite3
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from functools import cache
from math import inf
from pathlib import Path
from tempfile import mkdtemp

import attrs
import pytest
import trio
import trio.testing

import stress.oracles
from actorflow import Fact, open_runtime
from actorflow.testing import History, StoreCall
from stress.driving import collect, drive, judge
from stress.oracles import INVARIANTS, Finding
from stress.oracles.client import check_client
from stress.oracles.facts import check_facts
from stress.oracles.frames import COLUMNS, read_frame
from stress.oracles.journal_file import check_rows, read_file
from stress.oracles.matching import Applied, check_answers
from stress.recording import Record
from stress.scenario import Size, find

GOLDEN = Path(__file__).parents[1] / "golden"


@cache
def ran(name: str, seed: int) -> tuple[Record, Path]:
    """A scenario that has run on SQLite without a finding, and the file that it has left."""
    scenario = find(name)
    plan = json.loads(json.dumps(scenario.plan(random.Random(f"{name} {seed}"), Size(branches=5, ops=5))))
    record = Record()
    path = Path(mkdtemp(prefix="actorflow-oracles-"), "runs.db")

    async def main() -> list[Finding]:
        return await drive(scenario, plan, record, journal=f"sqlite:{path}")

    found = trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))
    assert found == []
    return record, path


@pytest.fixture(scope="module", autouse=True)
def no_file_is_left() -> Iterator[None]:
    """The files of `ran` go when the module has been tested."""
    yield
    for name, seed in RUNS:
        shutil.rmtree(ran(name, seed)[1].parent, ignore_errors=True)


def kept(name: str, wanted: Callable[[Record], bool]) -> int:
    """The first seed whose record has something to corrupt."""
    for seed in range(50):
        RUNS.add((name, seed))
        if wanted(ran(name, seed)[0]):
            return seed
    raise AssertionError(f"no plan of {name} has what is wanted")


RUNS: set[tuple[str, int]] = set()


def copied(record: Record) -> Record:
    """A record that may be changed."""
    histories = {}
    for run_id, history in record.histories.items():
        histories[run_id] = History(initial=history.initial)
        histories[run_id].calls.extend(history.calls)
    facts = {run_id: list(facts) for run_id, facts in record.facts.items()}
    states = {run_id: json.loads(json.dumps(state)) for run_id, state in record.states.items()}
    other = Record(plan=record.plan, histories=histories, outcomes=dict(record.outcomes), facts=facts, states=states)
    other.summaries, other.kept = dict(record.summaries), set(record.kept)
    return other


def named(findings: list[Finding], *invariants: str) -> bool:
    """Whether one of these invariants is among the findings."""
    return any(one.invariant in invariants for one in findings)


# --- what the branches were told


def has_pushes(record: Record) -> bool:
    """Whether the record of `aggregate` is one whose lists have a few elements of several branches."""
    (run_id,) = record.histories
    pushes = [call for call in record.histories[run_id].calls if call.verb == "push" and call.returned != inf]
    sums = [call for call in record.histories[run_id].calls if call.verb == "increment" and call.key != "branches"]
    by_key = {call.key for call in pushes if sum(one.key == call.key for one in pushes) > 3}
    return run_id in record.kept and bool(by_key) and len(sums) > 2


def aggregate() -> tuple[Record, str, list[StoreCall]]:
    """A copy of a record of `aggregate`, its run and its calls."""
    record = copied(ran("aggregate", kept("aggregate", has_pushes))[0])
    (run_id,) = record.histories
    return record, run_id, record.histories[run_id].calls


def place_of(calls: list[StoreCall], verb: str) -> int:
    """Where the second acknowledged call of a verb stands, of a key that has several."""
    for place, call in enumerate(calls):
        alike = [one for one in calls if (one.verb, one.key) == (verb, call.key) and one.returned != inf]
        if call.verb == verb and len(alike) > 2 and call == alike[1]:
            return place
    raise AssertionError(f"no {verb} has company")


def list_of(record: Record, run_id: str) -> list[object]:
    """The longest list of the state."""
    return max((one for one in record.states[run_id].values() if isinstance(one, list)), key=len)


@pytest.mark.parametrize("verb", ["push", "increment"])
@pytest.mark.parametrize("kind", ["dropped", "doubled", "altered"])
def test_the_client_oracle_sees_a_wrong_answer(verb: str, kind: str) -> None:
    """A call that is missing, there twice, or was told something else, is found in what the branches were told."""
    record, _, calls = aggregate()
    place = place_of(calls, verb)
    if kind == "dropped":
        del calls[place]
    elif kind == "doubled":
        calls.append(attrs.evolve(calls[place], invoked=10**6, returned=10**6 + 1))
    else:
        calls[place] = attrs.evolve(calls[place], result=int(calls[place].result) + 1)
    assert named(check_client(record), "I1", "I2", "I4")
    assert named(check_facts(record), "I1", "I2", "I4")


def test_the_client_oracle_sees_swapped_answers() -> None:
    """Two branches that got each other's answers are found."""
    record, _, calls = aggregate()
    first = place_of(calls, "push")
    key = calls[first].key
    second = next(
        place
        for place, call in enumerate(calls)
        if call.verb == "push" and call.key == key and place != first and call.returned != inf
    )
    one, other = calls[first], calls[second]
    calls[first], calls[second] = attrs.evolve(one, result=other.result), attrs.evolve(other, result=one.result)
    assert named(check_client(record), "I1")
    assert named(check_facts(record), "I1")


@pytest.mark.parametrize("kind", ["dropped", "doubled", "swapped", "invented"])
def test_the_client_oracle_sees_a_wrong_list(kind: str) -> None:
    """A list at the end that lacks an element, has one twice, in another place, or from nowhere, is found."""
    record, run_id, _ = aggregate()
    items = list_of(record, run_id)
    if kind == "dropped":
        del items[1]
    elif kind == "doubled":
        items.append(items[0])
    elif kind == "swapped":
        items[0], items[-1] = items[-1], items[0]
    else:
        items.append("nobody.0")
    assert named(check_client(record), "I1", "I2", "I3")
    assert named(check_facts(record), "I2")


def test_the_client_oracle_sees_a_wrong_sum() -> None:
    """A counter that does not come to its increments is found by both oracles that know it."""
    record, run_id, _ = aggregate()
    record.states[run_id]["branches"] += 1
    assert named(check_client(record), "I4")
    assert named(check_facts(record), "I18")


# --- the facts


def facts_of(record: Record) -> list[Fact]:
    """The facts of the only run."""
    (run_id,) = record.facts
    return record.facts[run_id]


def renumbered(facts: list[Fact]) -> None:
    """Give the facts the numbers of their places, so that the numbers alone do not tell."""
    facts[:] = [Fact(seq, fact.kind, fact.at, fact.fields) for seq, fact in enumerate(facts, 1)]


def changed(fact: Fact, **fields: object) -> Fact:
    """The fact with other fields."""
    return Fact(fact.seq, fact.kind, fact.at, {**fact.fields, **fields})


KINDS = ["operation-applied", "step-started", "step-completed", "steps-scheduled", "run-stopping", "run-completed"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("how", ["dropped", "doubled"])
def test_the_oracle_of_facts_sees_one_too_few_and_one_too_many(kind: str, how: str) -> None:
    """A fact that is missing or there twice is found, also if the numbers were made to fit."""
    record, _, _ = aggregate()
    facts = facts_of(record)
    place = next(place for place, fact in enumerate(facts) if fact.kind == kind)
    if how == "dropped":
        del facts[place]
    else:
        facts.insert(place, facts[place])
    assert named(check_facts(record), "I10", "I16")
    renumbered(facts)
    assert named(check_facts(record), "I1", "I2", "I4", "I8", "I16", "I18")


def popped(*answers: object, blind: bool = False) -> list[Finding]:
    """What is said of two pops of one branch, the first of which broke off, beside facts with these answers."""
    history = History()
    history.calls += [
        StoreCall("7", "pop", "n", (None,), None, invoked=1),
        StoreCall("7", "pop", "n", (None,), 2, invoked=2, returned=3),
    ]
    at = datetime.fromtimestamp(0, UTC)
    facts = [
        Fact(seq, "operation-applied", at, {"n": 7, "verb": "pop", "key": "n", "argument": None})
        for seq in range(1, 1 + len(answers))
    ]
    applied = [Applied(fact, "7", answer) for fact, answer in zip(facts, answers, strict=True)]
    return list(check_answers("r", applied, history, blind=blind))


def test_a_call_that_broke_off_stands_back_for_one_that_was_answered() -> None:
    """One fact is that of the answered call; of two, either may be; a third is too many."""
    assert shown(popped(2)) == shown(popped(2, blind=True)) == ""
    assert shown(popped(2, 5)) == shown(popped(5, 2)) == shown(popped(5, 2, blind=True)) == ""
    assert named(popped(), "I2")
    assert named(popped(5), "I1")
    assert named(popped(2, 5, 6), "I2")


def test_the_oracle_of_facts_sees_another_order() -> None:
    """Two operations of one branch on different keys that changed places: nothing but their order tells."""
    record, run_id, _ = aggregate()
    facts = facts_of(record)
    places = [place for place, fact in enumerate(facts) if fact.kind == "operation-applied"]
    first, second = next(
        (one, other)
        for one in places
        for other in places
        if one < other and facts[one].n == facts[other].n and facts[one].key != facts[other].key
    )
    assert first < second
    facts[first], facts[second] = facts[second], facts[first]
    renumbered(facts)
    found = check_facts(record)
    assert named(found, "I3")
    assert run_id in shown(found)


def shown(findings: list[Finding]) -> str:
    """All of them as text."""
    return "\n".join(map(str, findings))


@pytest.mark.parametrize(
    ("field", "value", "invariants"),
    [
        ("key", "elsewhere", ("I2",)),
        ("verb", "set", ("I2",)),
        ("n", 1, ("I2",)),
        ("argument", "nobody.0", ("I2",)),
    ],
)
def test_the_oracle_of_facts_sees_an_altered_operation(field: str, value: object, invariants: tuple[str, ...]) -> None:
    """An operation with another key, verb, branch or argument is found."""
    record, _, _ = aggregate()
    facts = facts_of(record)
    place = next(place for place, fact in enumerate(facts) if fact.kind == "operation-applied" and fact.verb == "push")
    facts[place] = changed(facts[place], **{field: value})
    assert named(check_facts(record), *invariants)


@pytest.mark.parametrize("kind", ["child-started", "child-ended", "child-attached"])
def test_the_oracle_of_facts_sees_a_wrong_family(kind: str) -> None:
    """A child that nobody called, a second merge, and an inheritance from another moment are found."""
    record = copied(ran("nested", kept("nested", has_merges))[0])
    run_id, facts = next(
        (run_id, facts)
        for run_id, facts in sorted(record.facts.items())
        if has(facts, kind) and (run_id.rpartition("~")[0] or run_id) in record.kept
    )
    place = next(
        place for place, fact in enumerate(facts) if fact.kind == kind and (kind != "child-ended" or fact.operations)
    )
    if kind == "child-started":
        del facts[place]
    elif kind == "child-ended":
        facts.insert(place, facts[place])
    else:
        facts[place] = changed(facts[place], seq=1)
    renumbered(facts)
    assert named(check_facts(record), "I6", "I7"), run_id


def has(facts: object, kind: str) -> bool:
    """Whether there is a fact of the kind; one that gives something back, if a child has ended."""
    return any(fact.kind == kind and (kind != "child-ended" or fact.operations) for fact in facts)


def has_merges(record: Record) -> bool:
    """Whether some kept child gave something back to a kept parent."""
    return any(
        one.kind == "child-ended" and one.operations and f"{run_id}~{one.n}" in record.kept
        for run_id in record.kept
        for one in record.facts[run_id]
    )


def test_the_oracle_of_facts_sees_a_wrong_merge() -> None:
    """A child that gives back something else than it had changed is found."""
    record = copied(ran("nested", kept("nested", has_merges))[0])
    run_id, place = next(
        (run_id, place)
        for run_id in sorted(record.kept)
        for place, one in enumerate(record.facts[run_id])
        if one.kind == "child-ended" and one.operations and f"{run_id}~{one.n}" in record.kept
    )
    facts = record.facts[run_id]
    _, key, _ = facts[place].operations[0]
    facts[place] = changed(facts[place], operations=[*facts[place].operations, ("set", key, '"other"')])
    assert named(check_facts(record), "I7")


def test_the_oracle_of_facts_sees_a_wrong_inheritance() -> None:
    """A child that began with something else than its parent had at the call is found."""
    record = copied(ran("nested", kept("nested", has_merges))[0])
    child = next(name for name in sorted(record.histories) if name.count("~") == 1 and record.histories[name].initial)
    record.histories[child].initial["list"] = ["r.0", "nobody.0"]
    assert named(check_facts(record), "I6")


def test_the_oracle_of_facts_sees_an_early_start() -> None:
    """A step that starts before it is due is found."""
    record = copied(ran("timers", kept("timers", has_delay))[0])
    facts = facts_of(record)
    n = next(fact.n for fact in facts if fact.kind == "step-scheduled" and fact.payload and "delay" in fact.payload)
    place = next(place for place, fact in enumerate(facts) if fact.kind == "step-scheduled" and fact.n == n)
    facts[place] = changed(facts[place], due=facts[place].due + 1)
    assert named(check_facts(record), "I16")


def has_delay(record: Record) -> bool:
    """Whether some timer was set."""
    return any(fact.kind == "step-scheduled" and "delay" in (fact.payload or {}) for fact in facts_of(record))


# --- the file


def altered(statement: str, *values: object, name: str = "aggregate") -> list[Finding]:
    """What is found in a copy of the file after a statement."""
    record, path = ran(name, kept(name, has_pushes if name == "aggregate" else has_merges))
    other = path.with_name("copy.db")
    shutil.copy(path, other)
    with closing(sqlite3.connect(other)) as connection:
        assert connection.execute(statement, values).rowcount > 0, "nothing was altered"
        connection.commit()
    return check_rows(read_file(other), record)


SWAP = "UPDATE {0} SET {1} = CAST(replace({1}, '{2}', '{3}') AS BLOB) WHERE instr({1}, CAST('{2}' AS BLOB))"

BAD = {
    "a frame is gone": "DELETE FROM frames WHERE id = (SELECT max(id) - 1 FROM frames)",
    "the last frame is gone": "DELETE FROM frames WHERE id = (SELECT max(id) FROM frames)",
    "a frame was moved": "UPDATE frames SET seq = seq + 1 WHERE id = (SELECT max(id) FROM frames)",
    "a head was altered": SWAP.format("frames", "head", "push", "pull"),
    "a text was altered": SWAP.format("frames", "texts", "b0", "b9"),
    "a checksum was altered": "UPDATE frames SET crc = crc + 1 WHERE id = 1",
    "a value was altered": SWAP.format("frame_values", "body", ".", ","),
    "a value is gone": "DELETE FROM frame_values WHERE id = (SELECT min(id) FROM frame_values)",
    "a status was altered": "UPDATE runs SET status = 'running'",
    "a workflow was altered": "UPDATE runs SET workflow_id = 'Other'",
    "an end was altered": "UPDATE runs SET ended_at = ended_at + 1",
    "a waking was left": "UPDATE runs SET wake_at = 5.0",
    "a run is gone": "DELETE FROM runs",
    "values of a run that let go of them": "UPDATE runs SET dropped = 1",
    "a snapshot of nobody": "INSERT INTO snapshots (run, seq, body, crc) VALUES (99, 1, '', 0)",
    "a frame of nobody": "INSERT INTO frames (run, seq, count, head, texts, crc) VALUES (99, 1, 1, '', '', 0)",
}


@pytest.mark.parametrize("what", BAD)
def test_the_oracle_of_the_file_sees_damage(what: str) -> None:
    """Whatever is altered in the tables is found."""
    assert named(altered(BAD[what]), "I8", "I9", "I10"), what


def test_the_oracle_of_the_file_sees_a_forged_frame() -> None:
    """A frame that was altered together with its checksum differs from what the handles told."""
    record, path = ran("aggregate", kept("aggregate", has_pushes))
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT id, seq, count, head, texts FROM frames").fetchall()
    frame, seq, count, head, texts = next(row for row in rows if b'"increment"' in row[3])
    (run_id,) = record.facts
    forged = head.replace(b'"increment"', b'"decrement"')
    crc = zlib.crc32(f"{run_id}\0".encode())
    crc = zlib.crc32(texts, zlib.crc32(forged, zlib.crc32(b"%d\0%d\0%d" % (seq, count, len(forged)), crc)))
    found = altered("UPDATE frames SET head = ?, crc = ? WHERE id = ?", forged, crc, frame)
    assert {one.invariant for one in found} == {"I9"}


def test_the_oracle_of_the_file_sees_values_that_should_be_gone() -> None:
    """A run whose state was to go with it, and whose values are still there, is found."""
    record, path = ran("aggregate", kept("aggregate", has_pushes))
    other = copied(record)
    other.kept.clear()
    assert named(check_rows(read_file(path), other), "I8")


def test_the_oracle_of_the_file_sees_a_child_whose_end_was_not_told() -> None:
    """A child run that is over in a journal whose parent does not know it would be waited for for ever."""
    record, path = ran("nested", kept("nested", has_merges))
    stored = read_file(path)
    row = stored.rows["nested"]
    assert check_rows(stored, record) == []
    row.entries = [entry for entry in row.entries if entry.kind != "child-ended"]
    assert named(check_rows(stored, record), "I7")


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_second_reading_of_frames_agrees_with_the_golden_ones(version: str) -> None:
    """Frames of released formats are read as the facts that they were written from."""
    lines = (GOLDEN / f"frames-{version}.jsonl").read_text(encoding="utf-8").splitlines()
    for line in lines:
        golden = json.loads(line)
        head, texts, values = (golden[part].encode() for part in ("head", "texts", "values"))
        entries = read_frame(head, texts, values)
        assert len(entries) == len(golden["facts"])
        for entry, (kind, fields) in zip(entries, golden["facts"], strict=True):
            assert kind.lower() == entry.kind.replace("-", "") or entry.kind.startswith("run-")
            assert plain({"at": entry.at, **entry.fields}) == plain(fields), kind
    assert lines


def plain(value: object) -> object:
    """Tuples as lists."""
    return json.loads(json.dumps(value))


# --- the whole


def test_every_invariant_has_somebody() -> None:
    """I1 to I18 are all looked after, by names that exist."""
    assert list(INVARIANTS) == [f"I{n}" for n in range(1, 19)]
    known = {"client", "facts", "journal", "scenario", "driver", "simulation", "crash", "soak"}
    assert {name for one in INVARIANTS.values() for name in one.oracles} <= known
    assert all(one.oracles for one in INVARIANTS.values())


def test_the_oracles_share_no_code() -> None:
    """No oracle imports another one, and that of the file nothing of the library's journals."""
    folder = Path(stress.oracles.__file__).parent
    own = {
        "client": {"finding"},
        "facts": {"finding", "matching", "moves", "replaying"},
        "journal_file": {"finding", "frames"},
        "frames": set(),
        "matching": {"finding", "replaying"},
        "moves": {"finding"},
        "replaying": set(),
    }
    for name, allowed in own.items():
        tree = ast.parse((folder / f"{name}.py").read_text(encoding="utf-8"))
        imports = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {node.module for node in imports if node.level == 1} <= allowed
        assert not any((node.module or "").startswith("actorflow.journals") for node in imports)


def test_the_second_reading_knows_every_tag() -> None:
    """Every kind of fact that users can see is in the oracle's own table of columns."""
    seen = {fact.kind for name, seed in sorted(RUNS) for facts in ran(name, seed)[0].facts.values() for fact in facts}
    kinds = {kind for kind, _ in COLUMNS.values()}
    assert {kind for kind in seen if kind not in kinds and "run-" not in kind} == set()


async def test_what_is_left_over_is_found(autojump_clock: trio.testing.MockClock) -> None:
    """A runtime that still counts something when every run of a record is over is told of, as a sentence."""
    scenario, other = find("aggregate"), find("timers")
    plan = scenario.plan(random.Random(3), Size())
    record = Record(plan=plan)
    later = Record(plan={"unit": 1.0, "timers": [{"id": "t0", "delay": 60.0}], "waits": []})
    async with open_runtime([*scenario.workflows, *other.workflows]) as runtime:
        await scenario.run(runtime, plan, record)
        assert await collect(runtime, record) == []
        run = await runtime.start(other.workflows[0], run_id=later.adopt("later"))
        await trio.sleep(1)
        (found,) = await collect(runtime, record)
        assert found.invariant == "I8"
        assert "live_runs is 1" in found.sentence
        await run.wait()
        assert await collect(runtime, record) == []
    assert judge(scenario, plan, record) == []
    record.seen.append("made up")
    assert [str(one) for one in judge(scenario, plan, record)] == ["plan: made up"]
    for one in (record, later):
        one.forget()

"""`python -m stress crash`: each workload for a moment, and that the campaigns would see what they look for."""

from __future__ import annotations

import argparse
import json
import logging
import random
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from actorflow.errors import JournalError
from actorflow.journals import SqliteJournal
from actorflow.journals.reader import connect
from actorflow.testing.journal_samples import InlineExecutor, append, pushes
from stress.crash import command, faults, images
from stress.crash.controls import FAULT_CONTROLS, IMAGE_CONTROLS, Control
from stress.crash.disk import Disk, kinds
from stress.crash.judging import Promises, finish
from stress.crash.ledger import Kept, Ledger
from stress.crash.recording import record
from stress.crash.simulated import Hang, simulated
from stress.crash.tape import Acked, Create, Delete, Died, Issued, LostSync, Settled, Sync, Tape, Told, Truncate, Write
from stress.crash.vfs import Fault
from stress.crash.workloads import CONTROL, FAULTED, WORKLOADS

SEED = 3


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Each crash would be told."""
    logger = logging.getLogger("actorflow")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


def crash(*arguments: str) -> int:
    """The subcommand."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return command.run(parser.parse_args(arguments))


# --- the campaigns


@pytest.mark.rule("F1", "F2", "F4", "F5")
@pytest.mark.parametrize("name", list(WORKLOADS))
def test_no_crash_loses_anything_or_leaves_half_a_commit(name: str) -> None:
    """Images of places all over a workload open, hold what was acknowledged, and lead to the undisturbed end."""
    stride = 80 if name in ("suspend", "resume", "nested") else 170
    plan = images.Plan(kinds=kinds(6), stride=stride, deep=6)
    tally = images.campaign(WORKLOADS[name], SEED, plan)
    assert tally.failures == []
    assert tally.distinct > 12
    assert tally.finished > 1
    assert tally.happened["commits"] > 20


@pytest.mark.rule("F6")
@pytest.mark.parametrize("name", list(FAULTED))
def test_no_failing_call_makes_a_false_acknowledgement(name: str) -> None:
    """Calls all over a workload fail, once, for a while, for ever: nothing acknowledged is missing, nobody hangs."""
    tally = faults.campaign(FAULTED[name], SEED, faults.Plan(stride=251))
    assert tally.failures == []
    assert tally.points >= 2
    assert tally.happened["commits acknowledged"] > tally.happened["commits that failed"] // 2 > 0


@pytest.mark.parametrize("control", IMAGE_CONTROLS + FAULT_CONTROLS, ids=lambda control: control.name)
def test_what_is_broken_on_purpose_is_found_out(control: Control) -> None:
    """Without syncs, with acknowledgements that come too early, with half commits …: each is noticed as what it is."""
    verdict = control.run(SEED)
    assert (verdict.missing, verdict.excess) == ((), ())


def test_a_record_can_be_had_again() -> None:
    """The same seed gives the same calls in the same order, so that a place named in a report means something."""
    one, other = ([str(entry) for entry in shape(record(WORKLOADS["resume"], SEED).tape)] for _ in range(2))
    assert one == other
    assert [str(entry) for entry in shape(record(WORKLOADS["resume"], SEED + 1).tape)] != one


def shape(tape: Tape) -> Iterator[object]:
    """A tape without the bytes: SQLite draws the salts of a log from the system."""
    for entry in tape:
        if isinstance(entry, Write):
            yield entry.file, entry.offset, len(entry.data)
        else:
            yield "died" if isinstance(entry, Died) else entry


def test_an_end_that_differs_is_a_finding(tmp_path: Path) -> None:
    """A file of which the runs come to another end than undisturbed is found by finishing them."""
    recorded = record(CONTROL, SEED)
    for name, content in recorded.left.items():
        (tmp_path / name).write_bytes(content)
    assert finish(tmp_path / "runs.db", recorded) is None
    run_id = recorded.starts[0].run_id
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("DELETE FROM runs WHERE run_id = ?", (run_id,))
    connection.close()
    other = record(CONTROL, SEED + 1)
    found = finish(tmp_path / "runs.db", other)
    assert found is not None


# --- the model of the disk


def disk(*calls: object) -> Disk:
    """A disk after some calls."""
    found = Disk()
    for call in calls:
        found.feed(call)  # type: ignore[arg-type]  # all of them are calls
    return found


def image(found: Disk, kind: str, seed: int = 0) -> dict[str, bytes]:
    """What a crash leaves of it."""
    return found.image(kind, random.Random(seed))


def test_a_killed_process_loses_nothing_and_a_power_cut_what_was_not_synced() -> None:
    """Writes are in the system's cache until their file is synced."""
    found = disk(Write("a", 0, b"12"), Sync("a"), Write("a", 2, b"34"), Truncate("a", 3))
    assert image(found, "process") == {"a": b"123"}
    assert image(found, "none") == {"a": b"12"}
    assert {image(found, "subset", seed)["a"] for seed in range(30)} == {b"12", b"123", b"1234"}
    assert {image(found, "files", seed)["a"] for seed in range(30)} == {b"12", b"123"}


def test_the_last_write_is_torn_at_a_sector() -> None:
    """What a disk writes whole is 512 bytes; a smaller write may be cut anywhere."""
    found = disk(Write("a", 0, b"x" * 10), Write("a", 10, b"y" * 2000))
    assert {len(image(found, "torn", seed)["a"]) - 10 for seed in range(30)} == {512, 1024, 1536}
    mixed = {image(found, "sectors", seed)["a"][:600] for seed in range(30)}
    assert len(mixed) > 3


def test_a_sync_that_failed_is_not_made_up_for() -> None:
    """The pages count as clean after it: what a later sync writes is what came later."""
    found = disk(Write("a", 0, b"12"), LostSync("a"), Write("a", 4, b"5"), Sync("a"))
    assert image(found, "process") == {"a": b"12\0\x005"}
    assert image(found, "none") == {"a": b"\0\0\0\x005"}


def test_a_deleted_file_may_come_back_until_its_folder_is_synced() -> None:
    """SQLite deletes its journal without a sync of the folder; the first sync of a new log makes up for it."""
    gone = [Create("j", True), Write("j", 0, b"j"), Sync("j"), Delete("j", False)]
    assert {"j" in image(disk(*gone), "none", seed) for seed in range(30)} == {True, False}
    synced = disk(*gone, Create("w", True), Write("w", 0, b"w"), Sync("w"))
    assert {"j" in image(synced, "none", seed) for seed in range(30)} == {False}
    assert image(disk(*gone[:3], Delete("j", True)), "none") == {}


# --- the verdict


def test_the_promises_tell_lost_half_and_made_up_contents_apart() -> None:
    """What was acknowledged has to be there, what was asked for may be, whole; anything else is wrong."""
    ledger = Ledger()
    first = ledger.issue([append(1, pushes(1), 1, new=True), append(1, pushes(1), 2, new=True)])
    second = ledger.issue([append(2, pushes(1, 1), 1), append(2, pushes(1, 1), 2)])
    promises = Promises(ledger)
    for entry in (Settled(0), Issued(first), Acked(first), Issued(second)):
        promises.feed(entry)
    one, two = ledger.states[first], ledger.states[second]
    half = {**one, "run-1": two["run-1"]}
    made_up = {**one, "run-1": Kept(one["run-1"].header, pushes(1, 7), 1)}
    kinds_found = []
    for contents in (one, two, {}, half, made_up):
        finding = promises.judge(contents)
        kinds_found.append(None if finding is None else finding.kind)
    assert kinds_found == [None, None, "lost", "half", "unknown"]
    promises.feed(Acked(second))
    found = promises.judge(one)
    assert found is not None
    assert found.kind == "lost"


def test_what_a_step_was_told_counts_by_itself() -> None:
    """A start that was acknowledged is missed even if no commit is; a mark that nobody wrote is none."""
    promises = Promises(Ledger())
    promises.feed(Told("run-1", ""))
    found = promises.judge({})
    assert found is not None
    assert "start was acknowledged" in found.text
    promises.feed(Told("run-1", "t(x)"))
    assert [finding.text for finding in promises.broken] == ["run run-1 was told of t(x), which was never written"]


def test_a_recovery_that_loses_something_is_noticed() -> None:
    """What a life finds when it opens the file is held to what the lives before it were promised."""
    ledger = Ledger()
    first = ledger.issue([append(1, pushes(1), 1, new=True)])
    promises = Promises(ledger)
    for entry in (Issued(first), Acked(first), Settled(ledger.settle(0))):
        promises.feed(entry)
    assert [finding.kind for finding in promises.broken] == ["lost"]


@pytest.mark.parametrize("stuck", ["forever", "shielded", "spinning", "sleeping"])
def test_whatever_never_ends_is_a_hang(stuck: str) -> None:
    """Also what is shielded, what goes on without ever waiting, and what sleeps again and again."""

    async def never() -> None:
        with trio.CancelScope(shield=stuck == "shielded"):
            while True:
                if stuck == "spinning":
                    await trio.lowlevel.checkpoint()
                elif stuck == "sleeping":
                    await trio.sleep(1000)
                else:
                    await trio.sleep_forever()

    with pytest.raises(Hang):
        simulated(1, never)


# --- the command


def test_the_report_and_its_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The verdict comes first; the JSON has the same counts; one job stays in this process."""
    file = tmp_path / "found.json"
    monkeypatch.setattr("stress.crash.campaign.IMAGE_CONTROLS", IMAGE_CONTROLS[-2:])
    assert crash("nested", "--every", "60", "--jobs", "1", "--seed", "5", "--json", str(file)) == 0
    shown = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert shown.startswith(f"OK: {found['total']['distinct']} distinct images")
    assert (found["schema"], found["verdict"], found["mode"], found["seed"]) == (1, "ok", "images", 5)
    assert [control["found_out"] for control in found["controls"]] == [True, True]


def test_a_violation_is_exit_code_1_and_tells_how_to_have_it_again(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """With a journal that does not sync, the report names an image; its command finds the same one again."""
    monkeypatch.setattr("stress.crash.campaign.IMAGE_CONTROLS", ())
    monkeypatch.setitem(WORKLOADS, "nested", _unsynced())  # type: ignore[arg-type]  # the mapping is a dict
    assert crash("nested", "--every", "40", "--jobs", "1", "--seed", "5", "--keep", str(tmp_path)) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("VIOLATION: ")
    again = next(line for line in shown.splitlines() if "again: python -m stress crash" in line)
    arguments = again.partition("stress crash ")[2].replace("'", "").split()
    assert list(tmp_path.iterdir())
    assert crash(*arguments, "--jobs", "1") == 1
    assert "1 × " in capsys.readouterr().out.splitlines()[0]


def _unsynced() -> object:
    from attrs import evolve

    from stress.crash.adapter import Settings

    return evolve(WORKLOADS["nested"], settings=Settings(synchronous="OFF"))


def test_a_control_that_passes_is_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A campaign that cannot see a broken journal proves nothing about a sound one."""
    blind = Control("blind", lambda _: images.Tally("blind"), ("lost",))
    monkeypatch.setattr("stress.crash.campaign.IMAGE_CONTROLS", (blind,))
    assert crash("nested", "--every", "200", "--jobs", "1", "--seed", "5") == 1
    shown = capsys.readouterr().out
    assert shown.startswith("VIOLATION: a control")
    assert "NOT FOUND OUT" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nothing"], "there is no workload 'nothing'"),
        (["group", "--at", "5:subset"], "--at goes with"),
        (["group", "--seed", "1", "--at", "5:nothing"], "a place and a kind"),
        (["group", "--io-errors", "--seed", "1", "--at", "sync:x:EIO:once"], "a fault such as"),
    ],
)
def test_wrong_use_is_exit_code_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Nothing is run, and it says what would be right."""
    assert crash(*arguments) == 2
    assert said in capsys.readouterr().err


def test_one_fault_alone_for_some_time(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """`--at` tries the fault that a report names, and `--time` seed after seed."""
    fault = str(Fault("sync", 9, "EIO", "a while"))
    assert crash("group", "--io-errors", "--seed", "4", "--at", fault, "--jobs", "1") == 0
    assert capsys.readouterr().out.startswith("OK: 1 failing points")
    monkeypatch.setattr("stress.crash.campaign.FAULT_CONTROLS", ())
    assert crash("recovery", "--io-errors", "--seed", "4", "--time", "0.2s", "--jobs", "1") == 0


# --- what it found in the journal


@pytest.mark.rule("F4")
async def test_a_file_whose_making_was_cut_off_by_the_power_is_made_anew(tmp_path: Path) -> None:
    """Later pages of a new file had reached the disk, the first one not: SQLite takes them back, and all is well."""
    path = tmp_path / "runs.db"
    path.write_bytes(bytes(4096) + b"\r" + bytes(4095))
    record_of_nothing = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" + bytes(12) + b"\0\0\x02\0" + b"\0\0\x10\0"
    path.with_name("runs.db-journal").write_bytes(record_of_nothing.ljust(512, b"\0"))
    journal = SqliteJournal(path)
    await journal.open(InlineExecutor())
    await journal.commit([append(1, pushes(2), new=True)])
    assert list(await journal.read("run-1")) == pushes(2)
    await journal.close()


async def test_a_file_of_zeros_with_nothing_beside_it_stays_as_it_is(tmp_path: Path) -> None:
    """Without the record of what to take back, it may be anybody's."""
    path = tmp_path / "runs.db"
    path.write_bytes(bytes(8192))
    with pytest.raises(JournalError, match="no SQLite database"):
        await SqliteJournal(path).open(InlineExecutor())
    assert path.read_bytes() == bytes(8192)


async def test_a_journal_takes_its_connections_from_where_it_is_told(tmp_path: Path) -> None:
    """`connect=` is asked for each of them, for the making of the file and for its use."""
    asked = []

    def connecting(path: Path, options: str) -> sqlite3.Connection:
        asked.append((path.name, options))
        return connect(path, options)

    journal = SqliteJournal(tmp_path / "runs.db", connect=connecting)
    await journal.open(InlineExecutor())
    await journal.close()
    assert asked == [("runs.db", "mode=rwc"), ("runs.db", "mode=rw")]

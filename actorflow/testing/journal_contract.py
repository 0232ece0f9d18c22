"""The suite that every journal must pass, ours and yours.

What lives here: `JournalContract`. What does not: what it tries journals with (`journal_samples`); what only one kind
of journal can do wrong (foreign files, torn logs), which is tested beside that journal.

The tests are coroutines: run them under pytest-trio with `trio_mode`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from .._core.lifecycle import RunStatus
from ..abc import Append, Journal
from ..errors import JournalBusy, JournalError, RunNotFound
from .journal_facts import FactContract
from .journal_samples import AT, InlineExecutor, append, end, header, pushes, without_values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from .._core.facts import Fact


class JournalContract(FactContract):
    """What every journal does. Subclass it in a test module, and say how your journal is made.

    Example:
        class TestMine(JournalContract):
            def make(self, tmp_path):
                return MyJournal(tmp_path / "mine")

            def again(self, journal):
                return MyJournal(journal.path)
    """

    # --- committing

    async def test_an_empty_commit(self, tmp_path: Path) -> None:
        """Nothing to commit is fine."""
        async with self.opened(tmp_path) as journal:
            assert await journal.commit([]) == 0
            assert list(await journal.headers()) == []

    async def test_one_run_twice_in_a_commit(self, tmp_path: Path) -> None:
        """Appends to one run in one commit join on to each other."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(2), new=True), append(3, pushes(1, 2)), append(4, pushes(1, 3))])
            assert list(await journal.read("run-1")) == pushes(4)

    @pytest.mark.parametrize("first", [1, 2, 4, 100])
    async def test_a_gap_or_overlap_is_refused(self, tmp_path: Path, first: int) -> None:
        """Facts that do not join on to the last one are refused, and the journal goes on."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(2), new=True)])
            with pytest.raises(JournalError) as caught:
                await journal.commit([append(first, pushes(1))])
            assert caught.value.run_id == "run-1"
            await journal.commit([append(3, pushes(1, 2))])
            assert list(await journal.read("run-1")) == pushes(3)

    async def test_a_run_begins_with_its_first_fact(self, tmp_path: Path) -> None:
        """The first fact of a run has number 1."""
        async with self.opened(tmp_path) as journal:
            with pytest.raises(JournalError):
                await journal.commit([append(2, pushes(1), new=True)])
            assert await journal.load("run-1") is None

    async def test_a_run_begins_with_a_header(self, tmp_path: Path) -> None:
        """An append to a run that is not there, without a header, is refused."""
        async with self.opened(tmp_path) as journal:
            with pytest.raises(JournalError) as caught:
                await journal.commit([append(1, pushes(1))])
            assert caught.value.run_id == "run-1"

    @pytest.mark.parametrize("place", [0, 1, 2])
    async def test_a_commit_is_all_or_nothing(self, tmp_path: Path, place: int) -> None:
        """One bad append, wherever it stands, keeps all the others out: facts, new runs, headers and dropped values."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(2), 1, new=True), append(1, pushes(2), 2, new=True)])
            appends = [end(3, 1), append(1, pushes(1), 3, new=True)]
            appends.insert(place, append(9, pushes(1), 2))
            with pytest.raises(JournalError):
                await journal.commit(appends)
            assert [found.run_id for found in await journal.headers()] == ["run-2", "run-1"]
            assert await journal.header("run-1") == header(1)
            assert list(await journal.read("run-1")) == pushes(2)
            await journal.commit([append(3, pushes(1, 2), 1), append(3, pushes(1, 2), 2)])
            assert list(await journal.read("run-1")) == list(await journal.read("run-2")) == pushes(3)

    # --- rows

    @pytest.mark.parametrize("status", RunStatus)
    async def test_a_row_is_read_as_it_was_committed(self, tmp_path: Path, status: RunStatus) -> None:
        """Every field of a row survives, and the latest row counts."""
        row = header(
            status=status,
            version="v2",
            source="flow.py:Flow",
            parent_id="run-0",
            ended_at=AT + 1,
            wake_at=AT + 2.5,
            fingerprint="f00",
        )
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(1), new=True)])
            await journal.commit([Append(run_id="run-1", first_seq=2, facts=[], header=row)])
            assert await journal.header("run-1") == row
            async with self.reopened(journal) as other:
                assert list(await other.headers()) == [row]
                assert list(await other.read("run-1")) == pushes(1)

    async def test_rows_come_newest_first(self, tmp_path: Path) -> None:
        """The order is that of `created`, whatever was committed or changed last."""
        async with self.opened(tmp_path) as journal:
            for number in (2, 5, 1, 4, 3):
                await journal.commit([append(1, pushes(1), number, new=True)])
            await journal.commit([Append(run_id="run-2", first_seq=2, facts=[], header=header(2, wake_at=AT))])
            assert [row.created for row in await journal.headers()] == [5, 4, 3, 2, 1]

    async def test_rows_by_pages(self, tmp_path: Path) -> None:
        """`after` and `limit` cut the list into pages, also where a filter leaves rows out."""
        async with self.opened(tmp_path) as journal:
            await journal.commit(
                [
                    Append(run_id=f"run-{i}", first_seq=1, facts=[], header=header(i, workflow_id="AB"[i % 2]))
                    for i in range(1, 8)
                ]
            )
            assert [row.created for row in await journal.headers(limit=3)] == [7, 6, 5]
            assert [row.created for row in await journal.headers(limit=3, after="run-5")] == [4, 3, 2]
            assert [row.created for row in await journal.headers(after="run-3")] == [2, 1]
            assert [row.created for row in await journal.headers(after="run-6", workflow_id="B", limit=2)] == [5, 3]
            assert list(await journal.headers(after="run-1")) == list(await journal.headers(limit=0)) == []

    async def test_a_page_after_an_unknown_run(self, tmp_path: Path) -> None:
        """A page cannot begin after a run that is not there."""
        async with self.opened(tmp_path) as journal:
            with pytest.raises(RunNotFound):
                await journal.headers(after="run-1")

    async def test_rows_are_filtered(self, tmp_path: Path) -> None:
        """By workflow, statuses and parent, alone and together."""
        running, failed, over = RunStatus.RUNNING, RunStatus.FAILED, RunStatus.COMPLETED
        rows = [
            header(1, status=over),
            header(2, status=failed, parent_id="run-1"),
            header(3, workflow_id="Other"),
            header(4, parent_id="run-1"),
        ]

        async def found(**filters: object) -> list[int]:
            return [row.created for row in await journal.headers(**filters)]  # type: ignore[arg-type]  # named below

        async with self.opened(tmp_path) as journal:
            await journal.commit([Append(run_id=row.run_id, first_seq=1, facts=[], header=row) for row in rows])
            assert await found(workflow_id="Other") == [3]
            assert await found(statuses=[running, over]) == [4, 3, 1]
            assert await found(statuses=[]) == []
            assert await found(parent_id="run-1") == [4, 2]
            assert await found(parent_id="run-1", statuses=[failed], workflow_id="Import") == [2]
            assert await found(parent_id="run-2") == await found(workflow_id="Missing") == []

    # --- the end of a run, snapshots

    async def test_the_end_takes_the_values_of_this_run_only(self, tmp_path: Path) -> None:
        """The values go with the commit that says so, its own included; other runs keep theirs."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(3), 1, new=True), append(1, pushes(3), 2, new=True)])
            last = end(4)
            await journal.commit([attrs.evolve(last, facts=[*pushes(1, 3), *last.facts])])
            left = [*map(without_values, pushes(4)), *last.facts]
            for _ in range(2):
                assert list(await journal.read("run-1")) == left
                stored = await journal.load("run-1")
                assert stored is not None
                assert (stored.header, list(stored.facts)) == (last.header, left)
            assert list(await journal.read("run-2")) == pushes(3)
            async with self.reopened(journal) as other:
                assert list(await other.read("run-1")) == left
                assert list(await other.read("run-2")) == pushes(3)

    async def test_the_end_does_not_touch_the_facts_of_others(self, tmp_path: Path) -> None:
        """Facts that somebody was given before the end keep their values: they are his."""
        facts = pushes(3)
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            given = list(await journal.read("run-1"))
            await journal.commit([end(4)])
            await journal.commit([append(1, pushes(1), 2, new=True)])
            assert given == facts == pushes(3)

    async def test_what_comes_after_the_end_has_no_values(self, tmp_path: Path) -> None:
        """A run whose values were dropped takes no new ones, in the same commit, the next, or after opening again."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(1), new=True), end(2), append(3, pushes(1))])
            await journal.commit([append(4, pushes(1))])
            async with self.reopened(journal) as other:
                await other.commit([append(5, pushes(1))])
                found = list(await other.read("run-1"))
                assert [getattr(fact, "argument", "none") for fact in found] == [None, "none", None, None, None]

    async def test_load_begins_at_the_newest_snapshot(self, tmp_path: Path) -> None:
        """`load` gives the newest snapshot and the facts after it; `read` still gives all."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([_snapshot(1, pushes(3), "one", new=True)])
            await journal.commit([append(4, pushes(2, 3))])
            assert await _loaded(journal) == ("one", 3, pushes(2, 3))
            for number in range(5, 9):
                await journal.commit([_snapshot(number + 1, pushes(1, number), f"é\n{number}")])
            assert await _loaded(journal) == ("é\n8", 9, [])
            await journal.commit([append(10, pushes(1, 9))])
            async with self.reopened(journal) as other:
                assert await _loaded(other) == ("é\n8", 9, pushes(1, 9))
                assert list(await other.read("run-1")) == pushes(10)

    async def test_a_snapshot_without_facts(self, tmp_path: Path) -> None:
        """A snapshot may come alone, after what is there already."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(3), new=True)])
            await journal.commit([_snapshot(4, [], "late")])
            assert await _loaded(journal) == ("late", 3, [])

    async def test_the_end_takes_the_snapshots(self, tmp_path: Path) -> None:
        """A snapshot holds values: it goes with them, and no later one is kept."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([_snapshot(1, pushes(3), "one", new=True)])
            await journal.commit([attrs.evolve(end(4), snapshot="two")])
            await journal.commit([_snapshot(5, [], "three")])
            assert (await _loaded(journal))[:2] == (None, 0)

    # --- owners

    async def test_a_second_owner_is_refused(self, tmp_path: Path) -> None:
        """Storage has one owner at a time; refusing another does not disturb it."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(1), new=True)])
            with pytest.raises(JournalBusy):
                await self.again(journal).open(InlineExecutor())
            await journal.commit([append(2, pushes(1, 1))])
            assert list(await journal.read("run-1")) == pushes(2)
            async with self.reopened(journal) as other:
                assert list(await other.read("run-1")) == pushes(2)

    async def test_one_journal_is_opened_once(self, tmp_path: Path) -> None:
        """Opening what is open is refused."""
        async with self.opened(tmp_path) as journal:
            with pytest.raises(JournalBusy):
                await journal.open(InlineExecutor())
            assert await journal.commit([append(1, pushes(1), new=True)]) >= 0

    async def test_a_closed_journal_refuses_everything(self, tmp_path: Path) -> None:
        """Before `open` and after `close`, every call is a `JournalError`, and closing again is harmless."""
        journal = self.make(tmp_path)
        await journal.close()
        for _ in range(2):
            with pytest.raises(JournalError):
                await journal.commit([append(1, pushes(1), new=True)])
            with pytest.raises(JournalError):
                await journal.load("run-1")
            with pytest.raises(JournalError):
                await journal.read("run-1")
            with pytest.raises(JournalError):
                await journal.header("run-1")
            with pytest.raises(JournalError):
                await journal.headers()
            await journal.open(InlineExecutor())
            await journal.close()
            await journal.close()

    async def test_it_goes_on_where_it_was(self, tmp_path: Path) -> None:
        """After closing and opening, facts join on to those from before."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(3), new=True)])
            async with self.reopened(journal) as other:
                with pytest.raises(JournalError):
                    await other.commit([append(3, pushes(1))])
                await other.commit([append(4, pushes(1, 3)), append(1, pushes(1), 2, new=True)])
                assert list(await other.read("run-1")) == pushes(4)

    async def test_it_says_what_it_is(self, tmp_path: Path) -> None:
        """A journal has a URL that names its kind, and knows whether it is durable."""
        journal = self.make(tmp_path)
        assert ":" in journal.url
        assert isinstance(journal.durable, bool)


def _snapshot(first_seq: int, facts: Sequence[Fact], text: str, *, new: bool = False) -> Append:
    return Append(run_id="run-1", first_seq=first_seq, facts=facts, snapshot=text, header=header() if new else None)


async def _loaded(journal: Journal) -> tuple[str | None, int, list[Fact]]:
    stored = await journal.load("run-1")
    assert stored is not None
    return stored.snapshot, stored.snapshot_seq, list(stored.facts)

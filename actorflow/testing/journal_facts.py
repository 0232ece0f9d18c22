"""The first half of the contract of journals: facts go in and come out.

What lives here: how a test gets its journal, and the tests of what is kept and read. What does not: commits, rows, ends
and owners (`journal_contract`, which is the class to subclass).
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from .._core import facts as f
from .._core.facts import FACTS, Fact
from .journal_samples import AT, SAMPLES, InlineExecutor, append, end, header, kind, pushes, without_values

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from ..abc import Journal


class FactContract:
    """What every journal does with single facts; the first half of `JournalContract`."""

    def make(self, tmp_path: Path) -> Journal:
        """A journal over empty storage, not open yet."""
        raise NotImplementedError

    def again(self, journal: Journal) -> Journal:
        """Another journal over the same storage, not open yet; the same object if it is its own storage."""
        raise NotImplementedError

    @asynccontextmanager
    async def opened(self, tmp_path: Path) -> AsyncIterator[Journal]:
        """A new journal, open; closed at the end, if the test has not done so."""
        journal = self.make(tmp_path)
        await journal.open(InlineExecutor())
        try:
            yield journal
        finally:
            await journal.close()

    @asynccontextmanager
    async def reopened(self, journal: Journal) -> AsyncIterator[Journal]:
        """The same storage after closing and opening."""
        await journal.close()
        other = self.again(journal)
        await other.open(InlineExecutor())
        try:
            yield other
        finally:
            await other.close()

    # --- facts

    def test_the_samples_show_every_kind_of_fact(self) -> None:
        """No kind of fact is left out of this suite."""
        assert {type(fact) for fact in SAMPLES} == set(FACTS)

    @pytest.mark.parametrize("fact", SAMPLES, ids=kind)
    async def test_a_fact_is_read_as_it_was_committed(self, tmp_path: Path, fact: Fact) -> None:
        """Each kind of fact survives alone in a commit, in this journal and in the next over the same storage."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, [fact], new=True)])
            assert list(await journal.read("run-1")) == [fact]
            async with self.reopened(journal) as other:
                found = list(await other.read("run-1"))
                assert found == [fact]
                assert repr(found) == repr([fact])  # also 1 and 1.0, True and 1 are told apart

    @pytest.mark.parametrize("fact", SAMPLES, ids=kind)
    async def test_a_fact_of_an_ended_run_has_no_values(self, tmp_path: Path, fact: Fact) -> None:
        """Each kind of fact stays when the values go, with everything that is no value of the store."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, [fact], new=True)])
            await journal.commit([end(2)])
            assert list(await journal.read("run-1", 1, 1)) == [without_values(fact)]

    async def test_all_kinds_in_one_commit_keep_their_order(self, tmp_path: Path) -> None:
        """Facts of all kinds, mixed and repeated, come back in the order in which they were committed."""
        facts = [*SAMPLES, *reversed(SAMPLES), *SAMPLES[::3]]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert repr(list(await journal.read("run-1"))) == repr(facts)

    async def test_facts_of_one_commit_may_differ_in_time(self, tmp_path: Path) -> None:
        """Each fact keeps its own time, to the last bit."""
        facts: list[Fact] = [f.StepStarted(AT + i / 3, i, 1) for i in range(50)]
        facts[10:10] = [f.StepCompleted(AT, 1, "null"), f.StepCompleted(AT + 1e-6, 2, "null")]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert list(await journal.read("run-1")) == facts

    @pytest.mark.parametrize("argument", [0, -1, 2**63, -(2**64), 10**4299, 0.1, 1e300, 5e-324, 1.0, "5", "5.0", '"5"'])
    async def test_arguments_keep_kind_and_value(self, tmp_path: Path, argument: str | int | float) -> None:
        """Numbers of any size are exact, and a number is never mistaken for the JSON text of one."""
        facts: list[Fact] = [f.OperationApplied(AT, 1, "set", "k", value, "") for value in (argument, "null", argument)]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert repr(list(await journal.read("run-1"))) == repr(facts)

    async def test_many_payloads_in_one_fact(self, tmp_path: Path) -> None:
        """A fact with thousands of payloads, and one without any beside it."""
        facts: list[Fact] = [
            f.StepsScheduled(AT, 1, "step", [f'{{"i":{i}}}' for i in range(5_000)], AT, 1),
            f.StepsScheduled(AT, 5_001, "step", [], AT, 1),
            f.StepsScheduled(AT, 5_001, "step", ["1"], AT, 1),
        ]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert list(await journal.read("run-1")) == facts

    async def test_a_large_commit(self, tmp_path: Path) -> None:
        """Ten thousand facts and a value of a megabyte, in one commit."""
        large = f.OperationApplied(AT, 1, "set", "large", '"' + "é" * 500_000 + '"', "")
        facts = [*pushes(10_000), large]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert list(await journal.read("run-1")) == facts

    async def test_many_names(self, tmp_path: Path) -> None:
        """Any number of different keys, steps and events in one commit."""
        facts: list[Fact] = [f.OperationApplied(AT, i, "set", f"key-{i % 150}", "1", f"op-{i}") for i in range(500)]
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            assert list(await journal.read("run-1")) == facts

    async def test_the_journal_keeps_its_own_list(self, tmp_path: Path) -> None:
        """What the caller does with its list after a commit changes nothing."""
        facts = pushes(3)
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts, new=True)])
            facts.clear()
            assert list(await journal.read("run-1")) == pushes(3)

    # --- reading

    async def test_an_unknown_run(self, tmp_path: Path) -> None:
        """A run that is not there is None, and has no facts."""
        async with self.opened(tmp_path) as journal:
            assert await journal.load("run-1") is None
            assert await journal.header("run-1") is None
            assert list(await journal.read("run-1")) == []

    @pytest.mark.parametrize("first", [1, 2, 3, 4, 6, 7, 10, 11])
    @pytest.mark.parametrize("last", [None, 1, 3, 6, 7, 10, 20])
    async def test_any_part_can_be_read(self, tmp_path: Path, first: int, last: int | None) -> None:
        """`read` gives exactly the facts asked for, wherever the commits were cut."""
        facts = pushes(10)
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, facts[:3], new=True)])
            await journal.commit([append(4, facts[3:4])])
            await journal.commit([append(5, facts[4:])])
            assert list(await journal.read("run-1", first, last)) == facts[first - 1 : last]

    async def test_load_gives_header_and_facts(self, tmp_path: Path) -> None:
        """Without a snapshot `load` gives everything."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(2), new=True)])
            await journal.commit([append(3, pushes(2, 2))])
            stored = await journal.load("run-1")
            assert stored is not None
            assert (stored.header, list(stored.facts)) == (header(), pushes(4))
            assert (stored.snapshot, stored.snapshot_seq) == (None, 0)

    async def test_runs_do_not_mix(self, tmp_path: Path) -> None:
        """Facts of many runs, committed together, come back run by run."""
        async with self.opened(tmp_path) as journal:
            await journal.commit([append(1, pushes(2, 100 * i), i, new=True) for i in range(1, 30)])
            await journal.commit([append(3, pushes(1, 100 * i + 2), i) for i in range(29, 0, -1)])
            for i in range(1, 30):
                assert list(await journal.read(f"run-{i}")) == pushes(3, 100 * i)

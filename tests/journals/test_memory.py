"""The journal in memory: facts packed into frames, and what is seen of them."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import pytest

from actorflow._core import facts as f
from actorflow._core.facts import Fact
from actorflow.journals import MemoryJournal, memory
from actorflow.testing.journal_samples import AT, SAMPLES, InlineExecutor, append, end, pushes, without_values

PACKED_FROM, LOOSE_MAX = 256, 1_024

SIZES = [1, PACKED_FROM - 1, PACKED_FROM, 3, LOOSE_MAX - 4, 2, 10, 3000, *[100] * 25, 7]


@asynccontextmanager
async def opened() -> AsyncIterator[MemoryJournal]:
    """A journal, open."""
    journal = MemoryJournal()
    await journal.open(InlineExecutor())
    yield journal
    await journal.close()


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The thresholds of packing, small enough that a test passes them often."""
    monkeypatch.setattr(memory, "PACKED_FROM", PACKED_FROM)
    monkeypatch.setattr(memory, "LOOSE_MAX", LOOSE_MAX)


async def fill(journal: MemoryJournal) -> list[Fact]:
    """A run that came in appends of very different sizes; returns its facts."""
    facts: list[Fact] = []
    for size in SIZES:
        new = pushes(size, len(facts))
        await journal.commit([append(len(facts) + 1, new, new=not facts)])
        facts += new
    return facts


async def test_any_part_of_a_run_can_be_read() -> None:
    """Whatever appends the facts came in, every range of them is read as it was, and no fact of a neighbour with it."""
    async with opened() as journal:
        facts = await fill(journal)
        assert list(await journal.read("run-1")) == facts
        places = [0, 1, 2, 256, 257, 512, 513, 515, 516, 1539, 1541, 4550, 4551, len(facts) - 7, len(facts)]
        for first in places:
            for last in (*places, None, len(facts) + 5):
                expected = facts[max(0, first - 1) : last]
                assert list(await journal.read("run-1", first, last)) == expected, (first, last)


async def test_every_kind_of_fact_is_packed_and_comes_back() -> None:
    """Nothing is lost of any kind of fact, with its values and, after the end, without them."""
    facts = [attrs.evolve(fact, at=AT + i) for i, fact in enumerate([*SAMPLES] * 30)]
    async with opened() as journal:
        await journal.commit([append(1, facts, new=True)])
        assert repr(await journal.read("run-1")) == repr(facts)
        await journal.commit([end(len(facts) + 1)])
        assert list(await journal.read("run-1", 1, len(facts))) == list(map(without_values, facts))


async def test_a_long_run_is_no_work_for_the_garbage_collector() -> None:
    """However a run comes, in large appends or in small ones, few facts stay objects."""
    async with opened() as journal:
        total = len(await fill(journal))
        gc.collect()
        left = sum(type(found) is f.OperationApplied for found in gc.get_objects())
        assert total > 6 * LOOSE_MAX
        assert left < LOOSE_MAX


@pytest.mark.rule("B12")
async def test_the_end_takes_the_values_of_every_part() -> None:
    """Packed or not, before, with or after the end: no value is left in the journal."""
    async with opened() as journal:
        facts = await fill(journal)
        await journal.commit([end(len(facts) + 1)])
        late = [*pushes(3), *pushes(PACKED_FROM)]
        await journal.commit([append(len(facts) + 2, late[:3]), append(len(facts) + 5, late[3:])])
        found = list(await journal.read("run-1"))
        assert found == [
            *map(without_values, facts),
            f.RunEnded(AT, "completed", "null", ""),
            *map(without_values, late),
        ]
        kept = journal._runs["run-1"]
        assert [part.values for part in kept.parts] == [None] * len(kept.parts)
        assert all(fact == without_values(fact) for fact in kept.loose)


@pytest.mark.rule("B12")
@pytest.mark.parametrize("odd", ["[1,\n2]", '"\ud800"', True])
async def test_what_has_no_form_in_bytes_is_kept_all_the_same(odd: object) -> None:
    """A journal in memory takes what it takes: a value that cannot be packed is there, and goes with the end."""
    facts = [*pushes(PACKED_FROM), f.OperationApplied(AT, 1, "set", "k", odd, "")]  # type: ignore[arg-type]  # see above
    async with opened() as journal:
        await journal.commit([append(1, facts, new=True)])
        facts += pushes(PACKED_FROM)
        await journal.commit([append(PACKED_FROM + 2, facts[PACKED_FROM + 1 :])])
        assert list(await journal.read("run-1")) == facts
        await journal.commit([end(len(facts) + 1)])
        assert list(await journal.read("run-1", 1, len(facts))) == list(map(without_values, facts))

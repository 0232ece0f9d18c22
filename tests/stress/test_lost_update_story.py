"""What a history tells of updates that were lost between branches."""

from __future__ import annotations

from typing import ClassVar

import pytest
import trio

from actorflow import Context, Workflow, open_runtime
from actorflow.testing import History
from actorflow.testing.lost_update import Story, lost_updates
from actorflow.testing.store_call import StoreCall

Short = tuple[str, str, tuple[object, ...], object]


def history_of(*calls: Short, initial: dict[str, object] | None = None) -> History:
    """A history of calls on the key `k` that came one after the other: branch, verb, arguments, result."""
    history = History(initial=initial or {})
    for number, (branch, verb, arguments, result) in enumerate(calls):
        history.calls.append(StoreCall(branch, verb, "k", arguments, result, 2 * number, 2 * number + 1))
    return history


def told(history: History) -> list[str]:
    """The stories as text."""
    return [str(story) for story in lost_updates(history)]


class Racing(Workflow):
    """Two branches that count the wrong way: read, wait, write."""

    history: ClassVar[History]

    async def start(self, data, ctx: Context):
        await ctx.run_store.set("count", 3)
        for name in ("A", "B"):
            await ctx.schedule_next_step("bump", name)

    async def bump(self, data, ctx: Context):
        store = self.history.store(ctx.run_store, branch=data)
        seen = (await store.snapshot())["count"]
        await trio.sleep(2 if data == "A" else 1)
        await store.set("count", seen + 1)


async def test_a_lost_update_is_told(autojump_clock: trio.testing.MockClock) -> None:
    """A real race through a snapshot is told in the words of a user."""
    Racing.history = History(initial={"count": 3})
    async with open_runtime([Racing]) as runtime:
        await runtime.run(Racing)
    (story,) = lost_updates(Racing.history)
    assert str(story) == "branch A read `count` = 3, branch B set 4, branch A set 4: B's update is lost"
    assert story.kind is Story.LOST_UPDATE
    assert "increment" in story.advice


@pytest.mark.parametrize(
    ("calls", "sentence"),
    [
        (
            [("A", "get", (None,), None), ("B", "set", ("b",), None), ("A", "set", ("a",), None)],
            "branch A found no `k`, branch B set 'b', branch A set 'a': B's update is lost",
        ),
        (
            [("A", "has", (), False), ("B", "push", (1,), 1), ("C", "push", (2,), 2), ("A", "set", ([],), None)],
            "branch A found no `k`, branch B pushed 1, branch C pushed 2, branch A set []: 2 updates are lost",
        ),
        (
            [("A", "increment", (1,), 1), ("B", "increment", (2,), 3), ("A", "set", (2,), None)],
            "branch A added 1 to 1 (`k`), branch B added 2 to 3, branch A set 2: B's update is lost",
        ),
    ],
)
def test_the_patterns_that_are_found(calls: list[Short], sentence: str) -> None:
    """A check that was out of date, a list that was thrown away, a number that was told and overwritten."""
    assert told(history_of(*calls)) == [sentence]


@pytest.mark.parametrize(
    "calls",
    [
        [("B", "set", (4,), None), ("A", "get", (None,), 4), ("A", "set", (5,), None)],
        [("A", "get", (None,), 3), ("B", "set", (4,), None), ("A", "get", (None,), 4), ("A", "set", (5,), None)],
        [("A", "get", (None,), 3), ("A", "set", (4,), None), ("B", "get", (None,), 4), ("A", "set", (5,), None)],
        [("B", "set", (4,), None), ("A", "set", (5,), None)],
        [("A", "get", (None,), 3), ("B", "delete", (), False), ("A", "set", (4,), None)],
        [("A", "get", (None,), 3), ("B", "refused", (4,), None), ("A", "set", (4,), None)],
        [("A", "get", (None,), 3), ("B", "set", (4,), None), ("A", "increment", (1,), 5)],
    ],
)
def test_what_is_right_has_no_story(calls: list[Short]) -> None:
    """Who reads again, writes without having read, or uses a verb that is safe, loses nothing."""
    assert told(history_of(*calls)) == []


def test_a_write_that_the_read_saw_is_not_lost() -> None:
    """A write that was answered late, but that the read had seen, is not told as overwritten."""
    history = History()
    history.calls += [
        StoreCall("B", "set", "k", (4,), None, 1, 4),
        StoreCall("A", "get", "k", (None,), 4, 2, 3),
        StoreCall("A", "set", "k", (5,), None, 5, 6),
    ]
    assert told(history) == []


def test_the_verbs_of_a_transaction_are_part_of_stories() -> None:
    """What a transaction wrote can be lost, and a transaction can overwrite."""
    history = History()
    history.calls += [
        StoreCall("A", "get", "k", (None,), 1, 1, 2),
        StoreCall("B", "transaction", "", (("increment", "k", (1,)), ("push", "log", ("b",))), None, 3, 4),
        StoreCall("A", "transaction", "", (("set", "k", (7,)), ("push", "log", ("a",))), None, 5, 6),
    ]
    assert told(history) == ["branch A read `k` = 1, branch B added 1, branch A set 7: B's update is lost"]


def test_an_item_that_was_pushed_once_and_stands_twice() -> None:
    """A list in which an item stands more often than it was pushed is told, and only then."""
    twice = history_of(("A", "push", ("x",), 1), ("B", "get", (None,), ["x", "x"]))
    assert told(twice) == [
        "branch B read `k` with 'x' in it twice, but it was pushed once, by branch A: it was applied again"
    ]
    assert not told(history_of(("A", "push", ("x",), 2), ("B", "get", (None,), ["x", "x"]), initial={"k": ["x"]}))

"""Lost updates: a `set` after a `get` that another branch has overtaken (semantics B10)."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import trio
import trio.testing
from attrs import define

from actorflow import Context, LostUpdate, Retry, RunStatus, StateTypeError, Workflow, step
from tests.semantics.store_flows import Body, error_of, interleave, must_complete, nothing, on_store, play


async def start_at_one(ctx: Any) -> None:
    """The value that both branches meet."""
    await ctx.run_store.set("tally", 1)


async def read(ctx: Any) -> None:
    """Mark the key as read."""
    await ctx.run_store.get("tally")


async def write(ctx: Any) -> None:
    """Write back what would be the reader's own sum."""
    await ctx.run_store.set("tally", 2)


async def set_foreign(ctx: Any) -> None:
    """Change the key from the other branch."""
    await ctx.run_store.set("tally", 50)


async def set_same_value(ctx: Any) -> None:
    """Write the value that is there already: a new version of the same value."""
    await ctx.run_store.set("tally", 1)


async def there_and_back(ctx: Any) -> None:
    """End with the value that was there in the beginning."""
    await ctx.run_store.set("tally", 7)
    await ctx.run_store.set("tally", 1)


async def delete_and_restore(ctx: Any) -> None:
    """Take the key away and put the same value back."""
    await ctx.run_store.delete("tally")
    await ctx.run_store.set("tally", 1)


async def in_a_transaction(ctx: Any) -> None:
    """Change the key as a part of a transaction."""
    async with ctx.run_store.transaction() as tx:
        tx.set("other", 1)
        tx.increment("tally")


async def without_reply(ctx: Any) -> None:
    """Change the key by a call without reply, and make sure that it was applied."""
    ctx.run_store.increment_nowait("tally")
    await ctx.run_store.has("tally")


FOREIGN_WRITES: dict[str, Body] = {
    "set": set_foreign,
    "set to the same value": set_same_value,
    "there and back": there_and_back,
    "delete": lambda ctx: ctx.run_store.delete("tally"),
    "delete and restore": delete_and_restore,
    "pop": lambda ctx: ctx.run_store.pop("tally"),
    "increment": lambda ctx: ctx.run_store.increment("tally"),
    "decrement": lambda ctx: ctx.run_store.decrement("tally"),
    "maximum": lambda ctx: ctx.run_store.maximum("tally", 9),
    "minimum": lambda ctx: ctx.run_store.minimum("tally", -9),
    "compare_and_set": lambda ctx: ctx.run_store.compare_and_set("tally", 1, 5),
    "update": lambda ctx: ctx.run_store.update("tally", lambda value: value + 1),
    "transaction": in_a_transaction,
    "nowait": without_reply,
    "set_state": lambda ctx: ctx.set_state(tally=5),
}


@pytest.mark.rule("B10")
@pytest.mark.parametrize("foreign", FOREIGN_WRITES.values(), ids=FOREIGN_WRITES.keys())
async def test_a_set_that_another_branch_overtook_is_refused(foreign: Body) -> None:
    """Whatever verb the other branch used, and whatever value it left: versions count, not values."""
    reference = await interleave(setup=start_at_one, foreign=foreign)
    clash = await interleave(setup=start_at_one, reads=read, foreign=foreign, writes=write)
    assert [type(error) for error in clash.errors] == [LostUpdate]
    assert clash.outcome.status is RunStatus.FAILED
    assert "LostUpdate" in clash.outcome.error.error_type
    assert clash.outcome.error.step_id == "early_reader"
    assert clash.outcome.state == reference.outcome.state


@pytest.mark.rule("B10")
async def test_it_holds_on_every_journal(journal: str) -> None:
    """The refusal does not depend on where the run is kept."""
    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=write, journal=journal)
    assert [type(error) for error in clash.errors] == [LostUpdate]
    assert clash.outcome.state == {"tally": 50}


@pytest.mark.rule("B10")
async def test_the_refusal_names_the_key_both_branches_and_a_safe_verb() -> None:
    """The message alone says who overtook whom, and what to use instead."""
    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=write)
    error = clash.errors[0]
    assert isinstance(error, LostUpdate)
    assert error.key == "tally"
    text = str(error)
    assert "tally" in text
    for step_id, activation_id in clash.branches.items():
        assert step_id in text or activation_id in text
    assert [verb for verb in ("increment", "update", "push", "compare_and_set", "transaction") if verb in text]


# ---------------------------------------------------------------- what marks a read, and what moves the mark


async def read_twice(ctx: Any) -> None:
    """Two reads, the second of another key."""
    await ctx.run_store.get("tally")
    await ctx.run_store.get("other")


async def read_then_write_own(ctx: Any) -> None:
    """The own write moves the mark, since nothing foreign lies between."""
    await ctx.run_store.get("tally")
    await ctx.run_store.set("tally", 3)


async def read_then_increment_own(ctx: Any) -> None:
    """The same with another verb."""
    await ctx.run_store.get("tally")
    await ctx.run_store.increment("tally")


async def increment_then_set(ctx: Any) -> None:
    """The own increment stands behind a foreign change, so it moves no mark."""
    await ctx.run_store.increment("tally")
    await ctx.run_store.set("tally", 2)


async def set_in_a_transaction(ctx: Any) -> None:
    """Write back inside a transaction."""
    async with ctx.run_store.transaction() as tx:
        tx.push("log", "written")
        tx.set("tally", 2)


async def create(ctx: Any) -> None:
    """Make the key that the reader found missing."""
    await ctx.run_store.set("tally", 1)


async def set_other_reads(ctx: Any) -> None:
    """Read another key between the stale read and the write."""
    await ctx.run_store.get("other")
    await ctx.run_store.set("tally", 2)


@pytest.mark.rule("B10")
@pytest.mark.parametrize(
    "setup, reads, foreign, writes",
    [
        pytest.param(nothing, read, create, write, id="a missing key is a read, too"),
        pytest.param(start_at_one, read_twice, set_foreign, write, id="reading another key refreshes nothing"),
        pytest.param(start_at_one, read, set_foreign, set_other_reads, id="nor later"),
        pytest.param(start_at_one, read_then_write_own, set_foreign, write, id="foreign after the own set"),
        pytest.param(start_at_one, read_then_increment_own, set_foreign, write, id="foreign after the own increment"),
        pytest.param(start_at_one, read, set_foreign, increment_then_set, id="own write behind a foreign one"),
        pytest.param(start_at_one, read, set_foreign, set_in_a_transaction, id="set in a transaction"),
    ],
)
async def test_these_are_lost_updates(setup: Body, reads: Body, foreign: Body, writes: Body) -> None:
    """The mark of a read stays until the same key is read again."""
    clash = await interleave(setup=setup, reads=reads, foreign=foreign, writes=writes)
    assert [type(error) for error in clash.errors] == [LostUpdate]
    assert "log" not in clash.outcome.state


async def read_again_and_set(ctx: Any) -> None:
    """A new read refreshes the mark."""
    value = await ctx.run_store.get("tally")
    await ctx.run_store.set("tally", value + 1)


async def set_three_times(ctx: Any) -> None:
    """Own writes are nobody else's."""
    for value in (2, 3, 4):
        await ctx.run_store.set("tally", value)


async def safe_verbs(ctx: Any) -> None:
    """Every verb that needs no earlier read may follow a stale one."""
    store = ctx.run_store
    await store.increment("tally")
    await store.decrement("tally", 2)
    await store.maximum("tally", 100)
    await store.minimum("tally", 99)
    assert await store.compare_and_set("tally", 99, 98)
    await store.update("tally", lambda value: value - 1)
    await store.delete("tally")
    await store.push("tally", "x")


async def touch_another_key(ctx: Any) -> None:
    """Change something else."""
    await ctx.run_store.set("other", 1)


async def change_nothing(ctx: Any) -> None:
    """Verbs that fail, decline, or read: no change, so no new version."""
    store = ctx.run_store
    assert isinstance(await error_of(store.push, "tally", 1), StateTypeError)
    assert await store.compare_and_set("tally", "no", 1) is False
    assert await store.set_if_absent("tally", 9) is False
    assert await store.delete("missing") is False
    assert await store.get("tally") == 1
    assert await store.wait_for("tally", lambda value: value == 1) == 1

    async def dropped() -> None:
        async with store.transaction() as tx:
            tx.set("tally", 9)
            raise KeyError("dropped")

    assert isinstance(await error_of(dropped), KeyError)


async def set_up_by_reading(ctx: Any) -> None:
    """The read of one step is not the read of another."""
    await ctx.run_store.set("tally", 1)
    await ctx.run_store.get("tally")


@pytest.mark.rule("B10")
@pytest.mark.parametrize(
    "setup, reads, foreign, writes, final",
    [
        pytest.param(start_at_one, nothing, set_foreign, write, 2, id="never read: the last write wins"),
        pytest.param(set_up_by_reading, nothing, set_foreign, write, 2, id="read by another step only"),
        pytest.param(start_at_one, read, nothing, write, 2, id="nobody else wrote"),
        pytest.param(start_at_one, read, touch_another_key, write, 2, id="another key changed"),
        pytest.param(start_at_one, read, change_nothing, write, 2, id="nothing changed"),
        pytest.param(start_at_one, read, set_foreign, read_again_and_set, 51, id="read again"),
        pytest.param(start_at_one, read, nothing, set_three_times, 4, id="own writes"),
        pytest.param(start_at_one, read, set_foreign, safe_verbs, ["x"], id="verbs that are safe"),
    ],
)
async def test_these_are_none(setup: Body, reads: Body, foreign: Body, writes: Body, final: object) -> None:
    """No false alarm, and the write stands."""
    clash = await interleave(setup=setup, reads=reads, foreign=foreign, writes=writes)
    must_complete(clash.outcome)
    assert clash.errors == []
    assert clash.outcome.state["tally"] == final


@pytest.mark.rule("B10")
async def test_a_step_alone_never_loses_an_update() -> None:
    """Get and set in turn, many times, in one branch."""

    async def body(store: Any) -> None:
        await store.set("n", 0)
        for _ in range(50):
            await store.set("n", await store.get("n") + 1)
            await store.increment("n")
            await store.set("n", await store.get("n") - 1)
        assert await store.get("n") == 50

    await on_store(body)


@pytest.mark.rule("B10", "A5")
async def test_a_step_that_catches_it_goes_on() -> None:
    """The refusal fails only its caller, who may read again."""

    async def catch(ctx: Any) -> None:
        error = await error_of(ctx.run_store.set, "tally", 2)
        assert isinstance(error, LostUpdate)
        assert isinstance(await error_of(ctx.run_store.set, "tally", 2), LostUpdate)
        await ctx.run_store.set("tally", await ctx.run_store.get("tally") + 1)

    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=catch)
    assert must_complete(clash.outcome).state == {"tally": 51}


@pytest.mark.rule("B10")
async def test_a_set_without_reply_is_guarded_too() -> None:
    """`set_nowait` that lost an update fails its step at the end."""

    async def set_without_reply(ctx: Any) -> None:
        ctx.run_store.set_nowait("tally", 2)

    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=set_without_reply)
    assert clash.outcome.status is RunStatus.FAILED
    assert "LostUpdate" in clash.outcome.error.error_type
    assert clash.outcome.state == {"tally": 50}


# ---------------------------------------------------------------- under a retry policy


@pytest.mark.rule("B10", "C5")
async def test_a_retry_reads_afresh(journal: str, autojump_clock: trio.testing.MockClock) -> None:
    """With a policy that covers it, the step runs again and both changes are kept."""

    async def add_one(ctx: Any) -> None:
        if ctx.attempt > 1:
            await ctx.run_store.set("tally", await ctx.run_store.get("tally") + 1)
            return
        await ctx.run_store.set("tally", 2)

    clash = await interleave(
        setup=start_at_one, reads=read, foreign=set_foreign, writes=add_one, retry=Retry(attempts=3), journal=journal
    )
    assert must_complete(clash.outcome).state == {"tally": 51}
    assert clash.attempts == [1, 2]
    assert [type(error) for error in clash.errors] == [LostUpdate]


@pytest.mark.rule("B10")
@pytest.mark.parametrize(
    "retry",
    [Retry(attempts=5, never_on=(LostUpdate,)), Retry(attempts=5, on=(KeyError,))],
    ids=["never on", "on others only"],
)
async def test_a_policy_that_does_not_cover_it_does_not_retry(
    retry: Retry, autojump_clock: trio.testing.MockClock
) -> None:
    """The step fails at its first attempt."""
    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=write, retry=retry)
    assert clash.outcome.status is RunStatus.FAILED
    assert clash.attempts == [1]


@pytest.mark.rule("B10", "C3", "C5")
@pytest.mark.parametrize("how", ["set", "set_state"])
async def test_get_and_set_under_retry_counts_every_branch(how: str, autojump_clock: trio.testing.MockClock) -> None:
    """The classic race of twenty branches ends with twenty, and did clash on the way."""
    attempts: list[int] = []

    class Race(Workflow):
        state = Tally

        async def start(self, data, ctx: Context):
            await ctx.schedule_many("add", range(20))

        @step(retry=Retry(attempts=60, delay=0.5, factor=1.0, jitter=0.1))
        async def add(self, data, ctx: Context):
            attempts.append(ctx.attempt)
            if how == "set":
                value = await ctx.run_store.get("tally")
                await trio.sleep(0.01)
                await ctx.run_store.set("tally", value + 1)
            else:
                await trio.sleep(0.01)
                await ctx.set_state(tally=ctx.state.tally + 1)

    outcome = must_complete(await play(Race))
    assert outcome.state["tally"] == 20
    assert max(attempts) > 1


@pytest.mark.rule("B10")
async def test_the_same_race_without_retry_fails_loudly() -> None:
    """Never a total that is silently too small."""

    class Race(Workflow):
        async def start(self, data, ctx: Context):
            await ctx.run_store.set("tally", 0)
            await ctx.schedule_many("add", range(20))

        async def add(self, data, ctx: Context):
            value = await ctx.run_store.get("tally")
            await ctx.run_store.increment("readers")
            await ctx.run_store.wait_for("readers", lambda readers: readers == 20)
            await ctx.run_store.set("tally", value + 1)

    outcome = await play(Race)
    assert outcome.status is RunStatus.FAILED
    assert "LostUpdate" in outcome.error.error_type
    assert outcome.state["tally"] == 1


# ---------------------------------------------------------------- the other policies


@pytest.mark.rule("B10")
@pytest.mark.parametrize("policy", ["warn", "allow"])
async def test_a_workflow_may_let_the_last_write_win(policy: str, caplog: pytest.LogCaptureFixture) -> None:
    """`warn` says so in the log or the history, `allow` says nothing; both write."""
    caplog.set_level(logging.DEBUG)
    clash = await interleave(setup=start_at_one, reads=read, foreign=set_foreign, writes=write, policy=policy)
    assert must_complete(clash.outcome).state == {"tally": 2}
    assert clash.errors == []
    # The word with an s is the name of the setting, which the history may give.
    told = re.search(r"lost[ _-]?update(?!s)", caplog.text + clash.history, re.IGNORECASE)
    assert (told is not None) is (policy == "warn")


# ---------------------------------------------------------------- set_state


@define
class Tally:
    """Two fields, one of which the branches fight for."""

    tally: int = 0
    other: int = 0


async def bump_state(ctx: Any) -> None:
    """Write one field from the snapshot."""
    await ctx.set_state(tally=ctx.state.tally + 1)


async def bump_twice(ctx: Any) -> None:
    """The step's own earlier write is no other branch's."""
    await ctx.set_state(tally=ctx.state.tally + 1)
    await ctx.set_state(tally=ctx.state.tally + 2)


async def increment_then_state(ctx: Any) -> None:
    """An own increment, then the field from the snapshot."""
    await ctx.run_store.increment("tally", 10)
    await ctx.set_state(tally=7)


async def bump_both(ctx: Any) -> None:
    """Both fields in one message."""
    await ctx.set_state(other=5, tally=ctx.state.tally + 1)


async def set_other_field(ctx: Any) -> None:
    """Change the field that the reader does not write."""
    await ctx.set_state(other=1)


FOREIGN_ON_STATE: dict[str, Body] = {
    "increment": lambda ctx: ctx.run_store.increment("tally"),
    "set": lambda ctx: ctx.run_store.set("tally", 0),
    "set_state": lambda ctx: ctx.set_state(tally=9),
}


@pytest.mark.rule("B10")
@pytest.mark.parametrize("foreign", FOREIGN_ON_STATE.values(), ids=FOREIGN_ON_STATE.keys())
@pytest.mark.parametrize("writes", [bump_state, bump_both, increment_then_state], ids=lambda body: body.__name__)
async def test_set_state_counts_as_written_after_a_read(foreign: Body, writes: Body) -> None:
    """The snapshot has read every field, so a field that another branch changed since is refused, whole."""
    clash = await interleave(schema=Tally, foreign=foreign, writes=writes)
    assert [type(error) for error in clash.errors] == [LostUpdate]
    assert clash.errors[0].key == "tally"
    assert clash.outcome.state["other"] == 0


@pytest.mark.rule("B10")
@pytest.mark.parametrize(
    "reads, foreign, writes, final",
    [
        pytest.param(nothing, set_other_field, bump_state, {"tally": 1, "other": 1}, id="other field"),
        pytest.param(nothing, nothing, bump_twice, {"tally": 2, "other": 0}, id="twice in one step"),
        pytest.param(nothing, nothing, increment_then_state, {"tally": 7, "other": 0}, id="after an own increment"),
        pytest.param(nothing, set_foreign, write, {"tally": 2, "other": 0}, id="plain set without get"),
    ],
)
async def test_set_state_gives_no_false_alarm(reads: Body, foreign: Body, writes: Body, final: object) -> None:
    """Other fields and own writes are no lost update; the snapshot is no `get` for a plain `set`."""
    clash = await interleave(schema=Tally, reads=reads, foreign=foreign, writes=writes)
    assert must_complete(clash.outcome).state == final
    assert clash.errors == []


@pytest.mark.rule("B10", "C5")
async def test_set_state_under_retry_takes_a_new_snapshot(autojump_clock: trio.testing.MockClock) -> None:
    """The second attempt sees what the other branch left."""
    clash = await interleave(
        schema=Tally,
        foreign=lambda ctx: ctx.run_store.increment("tally", 10),
        writes=bump_state,
        retry=Retry(attempts=2),
    )
    assert must_complete(clash.outcome).state == {"tally": 11, "other": 0}
    assert clash.attempts == [1, 2]

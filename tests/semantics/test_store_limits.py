"""Limits of the run store: what is measured, when, and what the refusal says (semantics B8)."""

from __future__ import annotations

from typing import Any

import pytest

from actorflow import ActorflowError, Context, InputError, Limits, RunStatus, ValueTooLarge, Workflow, open_runtime
from tests.semantics.store_flows import error_of, flow_of, must_complete, on_store, play


def names(error: BaseException, number: int) -> bool:
    """Whether the text of the error gives the number, with or without separators."""
    return str(number) in str(error).replace(",", "").replace("_", "")


@pytest.mark.rule("B8")
def test_the_documented_defaults() -> None:
    """256 KiB a value, 1 MiB a payload, 64 MiB and 10,000 keys a run, a hundred crashes a step."""
    limits = Limits()
    assert limits.value_bytes == 256 * 1024
    assert limits.payload_bytes == 1024 * 1024
    assert limits.state_bytes == 64 * 1024 * 1024
    assert limits.keys == 10_000
    assert limits.crashes_per_step == 100
    assert limits.mailbox > 0


@pytest.mark.rule("B8")
async def test_the_default_limit_of_a_value_is_exact(journal: str) -> None:
    """A value of exactly 256 KiB is stored, one byte more is refused, by the default limits."""
    room = 256 * 1024 - 2

    async def body(store: Any) -> None:
        await store.set("k", "x" * room)
        assert await store.get("k") == "x" * room
        assert isinstance(await error_of(store.set, "k", "y" * (room + 1)), ValueTooLarge)
        assert await store.get("k") == "x" * room

    await on_store(body, journal=journal)


@pytest.mark.rule("B8")
@pytest.mark.parametrize(
    "fits, too_large",
    [
        ("x" * 38, "x" * 39),
        ("é" * 19, "é" * 20),
        ("\N{GRINNING FACE}" * 9 + "ab", "\N{GRINNING FACE}" * 9 + "abc"),
        ([1] * 18 + [22], [1] * 20),
        ({"a": "x" * 14, "b": "y" * 11}, {"a": "x" * 14, "b": "y" * 12}),
        (10**39, 10**40),
    ],
    ids=["ascii", "two bytes each", "four bytes each", "list", "object", "int"],
)
async def test_size_is_that_of_compact_json_in_utf8(fits: object, too_large: object) -> None:
    """Forty bytes fit a limit of forty, forty-one do not, without spaces and without escapes."""

    async def body(store: Any) -> None:
        await store.set("k", fits)
        error = await error_of(store.set, "k", too_large)
        assert isinstance(error, ValueTooLarge)
        assert await store.get("k") == fits

    await on_store(body, limits=Limits(value_bytes=40))


@pytest.mark.rule("B8")
async def test_the_refusal_names_limit_size_and_key() -> None:
    """`ValueTooLarge` says what to change, and by how much."""

    async def body(store: Any) -> None:
        error = await error_of(store.set, "blob", "x" * 1234)
        assert isinstance(error, ValueTooLarge)
        assert isinstance(error, ActorflowError)
        assert (error.limit, error.size, error.key) == (1000, 1236, "blob")
        assert names(error, 1000)
        assert names(error, 1236)
        assert "blob" in str(error)

    await on_store(body, limits=Limits(value_bytes=1000))


@pytest.mark.rule("B8", "A5")
@pytest.mark.parametrize(
    "verb, args",
    [
        ("set", ("k", "x" * 50)),
        ("push", ("list", "x" * 50)),
        ("merge", ("object", {"b": "x" * 50})),
        ("set_if_absent", ("k", "x" * 50)),
        ("compare_and_set", ("n", 1, "x" * 50)),
        ("extend", ("list", [1, "x" * 50])),
        ("set_nowait", ("k", "x" * 50)),
        ("push_nowait", ("list", "x" * 50)),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_every_verb_that_sends_a_value_is_bounded(verb: str, args: tuple[object, ...]) -> None:
    """No verb carries a value past the limit, and the refusal leaves everything."""

    async def body(store: Any) -> None:
        before = {"n": 1, "list": [0], "object": {"a": 1}}
        for key, value in before.items():
            await store.set(key, value)
        assert isinstance(await error_of(getattr(store, verb), *args), ValueTooLarge)
        assert await store.snapshot() == before

    await on_store(body, limits=Limits(value_bytes=40))


@pytest.mark.rule("B8")
async def test_a_list_that_grows_by_pushes_counts_only_towards_the_total(journal: str) -> None:
    """Fifty small items make a list far above the limit of one value; it can be read."""

    async def body(store: Any) -> None:
        for number in range(50):
            assert await store.push("l", f"item-{number}") == number + 1
        assert await store.get("l") == [f"item-{number}" for number in range(50)]

    await on_store(body, journal=journal, limits=Limits(value_bytes=20))


@pytest.mark.rule("B8", "A5")
async def test_the_total_of_a_run_is_bounded_and_deleting_makes_room(journal: str) -> None:
    """Pushes succeed until the total is reached; earlier items stay; `delete` frees what it took."""

    async def body(store: Any) -> None:
        error = None
        pushed = 0
        while error is None and pushed < 100:
            error = await error_of(store.push, "l", "x" * 98)
            pushed += error is None
        assert isinstance(error, ValueTooLarge)
        assert 8 <= pushed <= 10
        assert await store.get("l") == ["x" * 98] * pushed
        assert isinstance(await error_of(store.set, "other", "y" * 150), ValueTooLarge)
        assert await store.delete("l") is True
        assert await store.push("l", "x" * 98) == 1
        await store.set("other", "y" * 150)

    await on_store(body, journal=journal, limits=Limits(value_bytes=200, state_bytes=1000))


@pytest.mark.rule("B8")
@pytest.mark.parametrize("shrink", ["set", "pop", "remove", "update", "merge", "compare_and_set"])
async def test_what_makes_a_value_smaller_makes_room(shrink: str) -> None:
    """The total follows every verb that shrinks a value, over many rounds."""
    big = "x" * 700

    async def body(store: Any) -> None:
        for _ in range(5):
            if shrink == "remove":
                await store.push("k", big)
                assert isinstance(await error_of(store.set, "other", big), ValueTooLarge)
                assert await store.remove("k", big) == 1
            elif shrink == "merge":
                await store.set("k", {"a": big})
                assert isinstance(await error_of(store.set, "other", big), ValueTooLarge)
                await store.merge("k", {"a": 1})
            else:
                await store.set("k", big)
                assert isinstance(await error_of(store.set, "other", big), ValueTooLarge)
                if shrink == "set":
                    await store.set("k", 1)
                elif shrink == "pop":
                    assert await store.pop("k") == big
                elif shrink == "update":
                    await store.update("k", lambda value: 1)
                else:
                    assert await store.compare_and_set("k", big, 1)
            await store.set("other", big)
            await store.delete("other")
            await store.delete("k")

    await on_store(body, limits=Limits(value_bytes=800, state_bytes=1000))


@pytest.mark.rule("B8")
async def test_overwriting_does_not_add_up() -> None:
    """The same key may be set any number of times: only what is there counts."""

    async def body(store: Any) -> None:
        for number in range(50):
            await store.set("k", str(number) * 300)
        assert (await store.get("k")).startswith("49")

    await on_store(body, limits=Limits(value_bytes=800, state_bytes=1000))


@pytest.mark.rule("B8", "A5")
async def test_an_extend_past_the_total_adds_nothing() -> None:
    """The limit is checked before anything is applied."""

    async def body(store: Any) -> None:
        await store.push("l", "first")
        assert isinstance(await error_of(store.extend, "l", ["x" * 100] * 12), ValueTooLarge)
        assert await store.get("l") == ["first"]

    await on_store(body, limits=Limits(value_bytes=2000, state_bytes=1000))


@pytest.mark.rule("B8", "B11")
async def test_a_transaction_past_the_total_adds_nothing() -> None:
    """Each part would fit alone; together they do not, so none is applied."""

    async def body(store: Any) -> None:
        async def fill() -> None:
            async with store.transaction() as tx:
                for number in range(4):
                    tx.set(f"k{number}", "x" * 300)

        assert isinstance(await error_of(fill), ValueTooLarge)
        assert await store.snapshot() == {}

    await on_store(body, limits=Limits(value_bytes=500, state_bytes=1000))


@pytest.mark.rule("B8", "A5")
@pytest.mark.parametrize("verb, args", [("set", (1,)), ("push", (1,)), ("increment", ()), ("merge", ({"a": 1},))])
async def test_the_number_of_keys_is_bounded(verb: str, args: tuple[object, ...]) -> None:
    """A new key past the limit is refused, whatever verb makes it; old keys go on, a deleted one makes room."""

    async def body(store: Any) -> None:
        for key in ("a", "b", "c"):
            await getattr(store, verb)(key, *args)
        before = await store.snapshot()
        error = await error_of(getattr(store, verb), "d", *args)
        assert isinstance(error, ValueTooLarge)
        assert names(error, 3)
        assert await store.snapshot() == before
        await getattr(store, verb)("c", *args)
        await store.delete("b")
        await getattr(store, verb)("d", *args)
        assert sorted(await store.keys()) == ["a", "c", "d"]

    await on_store(body, limits=Limits(keys=3))


@pytest.mark.rule("B8")
async def test_a_payload_is_bounded_at_the_call() -> None:
    """A payload over the limit is refused and nothing is armed; one at the limit goes."""
    errors: list[object] = []
    received: list[object] = []

    class Sending(Workflow):
        async def start(self, data, ctx: Context):
            errors.append(await error_of(ctx.schedule_next_step, "receive", "x" * 99))
            errors.append(await error_of(ctx.schedule_next_step, "receive", "y" * 98))

        async def receive(self, data, ctx: Context):
            received.append(data)

    must_complete(await play(Sending, limits=Limits(payload_bytes=100)))
    assert isinstance(errors[0], ValueTooLarge | InputError)
    assert errors[1] is None
    assert received == ["y" * 98]


@pytest.mark.rule("B8")
async def test_the_input_of_a_run_is_bounded() -> None:
    """`start` refuses input over the payload limit, and the run id stays free."""

    async def body(ctx: Any) -> None:
        await ctx.run_store.set("size", len(ctx.input))

    flow = flow_of(body)
    async with open_runtime([flow], limits=Limits(payload_bytes=100)) as runtime:
        error = await error_of(runtime.start, flow, "x" * 99, run_id="r")
        assert isinstance(error, ValueTooLarge | InputError)
        run = await runtime.start(flow, "x" * 98, run_id="r")
        assert (await run.wait()).state == {"size": 98}


@pytest.mark.rule("B8")
@pytest.mark.parametrize("size, status", [(98, RunStatus.COMPLETED), (99, RunStatus.FAILED)])
async def test_an_output_is_bounded(size: int, status: RunStatus) -> None:
    """An output over the limit fails the step that gave it."""

    async def body(ctx: Any) -> str:
        return "x" * size

    outcome = await play(flow_of(body), limits=Limits(payload_bytes=100))
    assert outcome.status is status
    if status is RunStatus.FAILED:
        assert "ValueTooLarge" in outcome.error.error_type


@pytest.mark.rule("B8")
async def test_an_initial_state_is_bounded() -> None:
    """An initial state over the total is refused at `start`."""
    flow = flow_of(lambda ctx: ctx.run_store.set("ok", True))
    async with open_runtime([flow], limits=Limits(state_bytes=1000)) as runtime:
        error = await error_of(runtime.start, flow, run_id="r", initial_state={"a": "x" * 600, "b": "x" * 600})
        assert isinstance(error, ValueTooLarge | InputError)
        run = await runtime.start(flow, run_id="r", initial_state={"a": 1})
        assert (await run.wait()).state == {"a": 1, "ok": True}

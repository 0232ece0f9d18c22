"""`@step`: what it makes of a function, and which options it refuses."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator

import pytest
from attrs import define

from actorflow._authoring.definition import Commit, Offload
from actorflow._authoring.step import Step, step
from actorflow._core.policies import Rate, Retry
from actorflow.errors import DefinitionError


@define
class State:
    n: int = 0


async def work(data: object, ctx: object) -> object:
    """Work."""
    return data


def crunch(data: object, ctx: object) -> object:
    """Work without awaiting."""
    return data


async def produce(data: object, ctx: object) -> AsyncIterator[int]:
    """Yield."""
    yield 1


def test_a_bare_step_keeps_the_look_of_its_function() -> None:
    """Name, docstring, module and signature are those of the function, and the options have their defaults."""
    made = step(work)
    assert isinstance(made, Step)
    assert (made.id, made.named, made.retry, made.offload, made.commit) == (
        "work", False, Retry(), Offload.NONE, Commit.AT_ONCE,
    )  # fmt: skip
    assert (made.__name__, made.__doc__, made.__module__) == ("work", "Work.", __name__)  # type: ignore[attr-defined]  # set at run time
    assert inspect.signature(made) == inspect.signature(work)


async def test_a_step_is_called_like_its_function() -> None:
    """As a function, and as a method of an instance."""

    class Holder:
        @step(timeout=5)
        async def double(self, data: int, ctx: object) -> int:
            return data * 2

    assert await step(work)("x", None) == "x"
    assert await Holder().double(4, None) == 8
    assert isinstance(Holder.double, Step)


def test_every_option_arrives() -> None:
    """Options are kept as given, the two words as enums."""
    made = step(
        id="w-1", input=int, output=str, state=State, resume=bool, suspend=float, retry=Retry(3), timeout=1,
        concurrency=2, rate=Rate(5), commit="on_success",
    )(work)  # fmt: skip
    assert (made.id, made.named, made.input, made.output, made.state, made.resume, made.suspend) == (
        "w-1", True, int, str, State, bool, float,
    )  # fmt: skip
    assert (made.retry, made.timeout, made.concurrency, made.rate, made.commit) == (
        Retry(3), 1, 2, Rate(5), Commit.ON_SUCCESS,
    )  # fmt: skip


@pytest.mark.parametrize("offload", [None, "thread"])
def test_a_plain_function_runs_in_a_thread(offload: str | None) -> None:
    """With or without saying so."""
    assert step(offload=offload)(crunch).offload is Offload.THREAD


BAD_OPTIONS = [
    ("id", ""), ("id", 5), ("id", "_x"), ("id", "a.b"), ("id", " a"), ("id", "a\n"), ("id", "é" * 300),
    ("id", "on_workflow_error"), ("input", complex), ("output", list[complex]), ("state", int), ("state", State()),
    ("resume", complex), ("suspend", complex), ("retry", 3), ("retry", None), ("timeout", 0), ("timeout", -1),
    ("timeout", True), ("timeout", "5"), ("timeout", float("nan")), ("timeout", float("inf")), ("concurrency", 0),
    ("concurrency", 1.5), ("concurrency", True), ("rate", 5), ("offload", "process"), ("offload", "fork"),
    ("offload", True), ("commit", "later"), ("commit", None),
]  # fmt: skip


@pytest.mark.parametrize(("option", "value"), BAD_OPTIONS, ids=lambda value: str(value)[:20])
def test_a_bad_option_is_named_with_its_value(option: str, value: object) -> None:
    """`DefinitionError` tells the file and line of the function, the option and what it was given."""
    with pytest.raises(DefinitionError) as caught:
        step(**{option: value})(crunch)  # type: ignore[call-overload]  # bad on purpose
    (finding,) = caught.value.findings
    assert finding.startswith(f"{__file__}:{crunch.__code__.co_firstlineno}: @step on crunch: {option}")
    shown = getattr(value, "__name__", repr(value))[:20]
    assert shown in finding or "complex" in finding


def test_all_bad_options_are_told_at_once() -> None:
    """One error, one finding per option."""
    with pytest.raises(DefinitionError) as caught:
        step(retry=3, timeout=0, offload="thread")(work)  # type: ignore[call-overload]  # bad on purpose
    assert len(caught.value.findings) == 3
    assert "retry=Retry(3)" in str(caught.value)
    assert all(finding in str(caught.value) for finding in caught.value.findings)


@pytest.mark.parametrize("target", [5, "work", State, staticmethod(work), step(work)], ids=lambda v: type(v).__name__)
def test_only_a_function_can_be_a_step(target: object) -> None:
    """Anything else under the decorator is refused."""
    with pytest.raises(DefinitionError, match="@step cannot take"):
        step(target)  # type: ignore[call-overload]  # bad on purpose


def test_an_async_generator_is_no_step() -> None:
    """It has no result."""
    with pytest.raises(DefinitionError, match="async generator"):
        step(produce)

"""The five documented cases of shared state do what their descriptions say."""

from __future__ import annotations

import pytest

from actorflow import InputError, NotSuspended, RunStatus, StepStatus, open_runtime
from tests.examples.loading import EXAMPLES, load

state = load("workflow_state")


async def test_data_goes_through_and_state_stays(journal: str) -> None:
    """The second step sees the counter that the first raised, and of the input only what the first handed on."""
    async with open_runtime([state.counted], journal=journal) as runtime:
        run = await runtime.start(state.counted, {"text": "hello"}, initial_state={"shared_counter": 41})
        outcome = await run.wait()
    assert outcome.output == "HELLO #42"
    assert outcome.state == {"shared_counter": 42}


async def test_a_step_sees_its_own_part_of_the_schema(journal: str) -> None:
    """One step extends the list, the other reads the metadata, and the final state has both."""
    begin = {"metadata": {"processed_by": "system"}, "processed_items": ["item-0"]}
    async with open_runtime([state.formatted], journal=journal) as runtime:
        run = await runtime.start(state.formatted, state.Message("Hello"), initial_state=begin)
        outcome = await run.wait()
    assert outcome.output == "HELLO!! system"
    assert outcome.state == {"metadata": {"processed_by": "system"}, "processed_items": ["item-0", "item-1", "item-2"]}
    assert begin["processed_items"] == ["item-0"], "the caller's own object is not touched"


@pytest.mark.parametrize(
    ("initial", "path"),
    [
        (None, "$.metadata"),
        ({"processed_items": []}, "$.metadata"),
        ({"metadata": {}}, "$.metadata.processed_by"),
        ({"metadata": {"processed_by": "x"}, "processed_items": ["a", 2]}, "$.processed_items[1]"),
    ],
)
async def test_an_initial_state_that_does_not_fit_is_refused(initial: object, path: str) -> None:
    """The bad field is named by its path, and the run id stays free."""
    async with open_runtime([state.formatted]) as runtime:
        with pytest.raises(InputError) as caught:
            await runtime.start(state.formatted, {"text": "x"}, run_id="r", initial_state=initial)
        assert list(caught.value.problems) == [path]
        assert await runtime.list_runs() == []


async def test_state_outlives_a_suspension(sqlite_url: str) -> None:
    """What the step had done before it suspended is there after the answer, once, in another runtime."""
    async with open_runtime([state.persistent], journal=sqlite_url) as runtime:
        run = await runtime.start(state.persistent, run_id="p")
        assert (await run.wait()).status is RunStatus.SUSPENDED
        assert await run.state() == {"count": 1, "items": ["item-1"]}
    async with open_runtime([state.persistent], journal=sqlite_url) as runtime:
        run = await runtime.get_run("p")
        assert await run.status() is RunStatus.SUSPENDED
        with pytest.raises(InputError):
            await run.resume({"proceed": "yes"})
        await run.resume({"proceed": True})
        outcome = await run.wait()
    assert outcome.output == {"proceed": True, "count": 1, "items": ["item-1"]}
    assert outcome.state == {"count": 1, "items": ["item-1"]}
    assert [(record.step_id, record.status, record.attempts) for record in outcome.steps] == [
        ("ask", StepStatus.COMPLETED, 1),
        ("look", StepStatus.COMPLETED, 1),
    ]


async def test_an_answer_is_taken_once() -> None:
    """The second answer to the same question is refused, and the first stands."""
    async with open_runtime([state.persistent]) as runtime:
        run = await runtime.start(state.persistent)
        await run.wait()
        await run.resume({"proceed": False})
        with pytest.raises(NotSuspended):
            await run.resume({"proceed": True})
        assert (await run.result())["proceed"] is False


async def test_a_nested_workflow_begins_with_the_state_of_its_parent(journal: str) -> None:
    """The nested step receives what the parent had set, and what it sets itself stays below."""
    async with open_runtime([state.parent], journal=journal) as runtime:
        run = await runtime.start(state.parent)
        outcome = await run.wait()
    assert outcome.output == {"child": "Received: modified-by-parent", "parent": "modified-by-parent"}
    assert outcome.state == {"shared_value": "modified-by-parent"}


def test_every_graph_is_named_in_the_instructions() -> None:
    """The commands at the head of the file cover each graph that can be run by itself."""
    head = (EXAMPLES / "workflow_state.py").read_text(encoding="utf-8").split('"""')[1]
    for name in ("counted", "formatted", "persistent", "parent"):
        assert f"workflow_state.py:{name}" in head

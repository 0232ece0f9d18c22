"""The expense report of docs/examples waits for a human, takes one valid answer, and pays at most once."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest
from trio.testing import MockClock

from actorflow import InputError, NotSuspended, RunFailed, RunOver, RunStatus, RunSuspended, StepStatus, open_runtime
from tests.examples.commands import actorflow
from tests.examples.loading import EXAMPLES, load

approval = load("approval")


def sample() -> dict[str, Any]:
    """The report that lies beside the program."""
    return json.loads((EXAMPLES / "expenses.json").read_text(encoding="utf-8"))


async def test_a_large_report_waits_and_is_paid(journal: str, autojump_clock: MockClock) -> None:
    """The approver sees the sum; after a yes the money goes out once, and each entry of the trail stands once."""
    async with open_runtime([approval.flow], journal=journal) as runtime:
        run = await runtime.start(approval.flow, sample(), run_id="trip-7")
        outcome = await run.wait()
        assert outcome.status is RunStatus.SUSPENDED
        (suspension,) = outcome.suspensions
        assert (suspension.path, suspension.label) == (("ask",), "decision")
        assert suspension.payload == {"text": "Ada: 69450 cents, most of it for flight?", "cents": 69450}
        with pytest.raises(RunSuspended):
            await run.result()
        await run.resume(approval.Decision(approved=True, by="Grace"))
        outcome = await run.wait()
    assert outcome.status is RunStatus.COMPLETED
    assert (outcome.output.status, outcome.output.cents, outcome.output.decided_by) == ("paid", 69450, "Grace")
    assert outcome.state["trail"] == [
        "Ada asks for 69450 cents",
        "a decision is needed",
        "Grace says yes",
        f"paid as {outcome.output.payment}",
    ]


async def test_a_no_pays_nothing(journal: str, autojump_clock: MockClock) -> None:
    """The reject path ends as completed, with the note of the approver and without a payment."""
    async with open_runtime([approval.flow], journal=journal) as runtime:
        run = await runtime.start(approval.flow, sample())
        await run.wait()
        await run.resume({"approved": False, "by": "Grace", "note": "Take the train"}, label="decision")
        outcome = await run.wait()
    assert outcome.output == approval.Result("turned down", 69450, "Grace", "Take the train", None)
    assert outcome.state["trail"][-2:] == ["Grace says no", "turned down"]
    statuses = {record.step_id: record.status for record in outcome.steps}
    assert (statuses["pay"], statuses["turn_down"]) == (StepStatus.SKIPPED, StepStatus.COMPLETED)


async def test_a_small_report_asks_nobody(journal: str, autojump_clock: MockClock) -> None:
    """Up to the limit, the limit included, the run completes by itself."""
    report = approval.Report("Ada", [approval.Line("coffee", approval.FREE_CENTS)])
    async with open_runtime([approval.flow], journal=journal) as runtime:
        result = await runtime.run(approval.flow, report)
    assert (result.status, result.decided_by) == ("paid", "the rules")


async def test_one_cent_more_is_asked_for(autojump_clock: MockClock) -> None:
    """Above the limit the run suspends."""
    report = approval.Report("Ada", [approval.Line("coffee", approval.FREE_CENTS + 1)])
    async with open_runtime([approval.flow]) as runtime:
        assert (await (await runtime.start(approval.flow, report)).wait()).status is RunStatus.SUSPENDED


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        ({"approved": "yes", "by": "Grace"}, "$.approved"),
        ({"approved": True}, "$.by"),
        ({"approved": True, "by": None}, "$.by"),
        (None, "$"),
        ("yes", "$"),
    ],
)
async def test_an_answer_that_is_none_is_refused(answer: object, path: str, autojump_clock: MockClock) -> None:
    """What does not fit the decision is refused with its path, and the question stays open for a better one."""
    async with open_runtime([approval.flow]) as runtime:
        run = await runtime.start(approval.flow, sample())
        await run.wait()
        with pytest.raises(InputError) as caught:
            await run.resume(answer)
        assert list(caught.value.problems) == [path]
        assert await run.status() is RunStatus.SUSPENDED
        await run.resume({"approved": True, "by": "Grace"})
        assert (await run.result()).status == "paid"


async def test_only_one_of_two_answers_counts(autojump_clock: MockClock) -> None:
    """The second approver is told that nobody asks any more."""
    async with open_runtime([approval.flow]) as runtime:
        run = await runtime.start(approval.flow, sample())
        await run.wait()
        await run.resume({"approved": False, "by": "Grace"})
        with pytest.raises((NotSuspended, RunOver)):
            await run.resume({"approved": True, "by": "Edsger"})
        assert (await run.result()).decided_by == "Grace"


async def test_the_bank_is_asked_again_and_pays_once(
    journal: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two refusals of the bank are retried, with one idempotency key, and the trail names one payment."""
    calls = []

    async def reluctant(key: str, employee: str, cents: int) -> str:
        calls.append(key)
        if len(calls) < 3:
            raise approval.PaymentFailed
        return "P-1"

    monkeypatch.setattr(approval, "transfer", reluctant)
    async with open_runtime([approval.flow], journal=journal) as runtime:
        run = await runtime.start(approval.flow, approval.Report("Ada", [approval.Line("tea", 300)]))
        outcome = await run.wait()
    assert outcome.output.payment == "P-1"
    assert len(calls) == 3
    assert len(set(calls)) == 1
    assert [line for line in outcome.state["trail"] if line.startswith("paid")] == ["paid as P-1"]


async def test_a_report_without_amounts_fails(autojump_clock: MockClock) -> None:
    """Nobody is asked about nothing."""
    async with open_runtime([approval.flow]) as runtime:
        with pytest.raises(RunFailed, match="at least one line"):
            await runtime.run(approval.flow, {"employee": "Ada", "lines": []})


@pytest.mark.parametrize(
    ("decision", "status"),
    [
        ({"approved": True, "by": "Grace"}, "paid"),
        ({"approved": False, "by": "Grace", "note": "no"}, "turned down"),
    ],
)
def test_the_commands_of_the_example(decision: dict[str, object], status: str, tmp_path: Path) -> None:
    """Run, look, a bad answer, a good one, and one too many: each is a process of its own, on one journal."""
    program, report = EXAMPLES / "approval.py", EXAMPLES / "expenses.json"
    began = actorflow("run", f"{program}:flow", "--run-id", "trip-7", "--input", f"@{report}", cwd=tmp_path)
    assert began.code == 3, began.err
    assert [(one["label"], one["payload"]["cents"]) for one in began.document["suspensions"]] == [("decision", 69450)]
    assert actorflow("show", "trip-7", cwd=tmp_path).document["status"] == "suspended"
    assert actorflow("resume", "trip-7", "--data", '{"approved": 1}', cwd=tmp_path).code == 2
    resumed = actorflow("resume", "trip-7", "--step", "ask", "--data", json.dumps(decision), cwd=tmp_path)
    assert (resumed.code, resumed.document["status"]) == (0, "completed"), resumed.err
    assert resumed.document["output"]["status"] == status
    assert actorflow("resume", "trip-7", "--data", json.dumps(decision), cwd=tmp_path).code == 2


def test_the_sample_is_a_report() -> None:
    """The file beside the program has the fields of the report and asks for more than the limit."""
    assert set(sample()) == {field.name for field in attrs.fields(approval.Report)}
    assert sum(line["cents"] for line in sample()["lines"]) > approval.FREE_CENTS

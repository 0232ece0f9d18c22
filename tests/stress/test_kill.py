"""`python -m stress kill`: real processes, really killed; and that the count would see a loss."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from stress.__main__ import main
from stress.kill import jobs
from stress.kill.rounds import Answer, Tally
from stress.kill.verdict import Verdict


@pytest.mark.rule("F4", "C3")
@pytest.mark.parametrize("job", ["census", "orders"])
def test_killed_processes_lose_and_double_nothing(job: str, capsys: pytest.CaptureFixture[str]) -> None:
    """After a handful of kills on one journal every run ends as if there had been none."""
    assert main(["kill", "--rounds", "6", "--seed", "7", "--job", job]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("OK")
    assert number(shown, "kills") == 6
    assert number(shown, "runs finished") > 0
    assert number(shown, "items checked") >= 40
    assert (number(shown, "lost"), number(shown, "doubled")) == (0, 0)


def number(shown: str, name: str) -> int:
    """The first number of a line of the report."""
    found = re.search(rf"^{name} +(\d[\d,]*\b)", shown, re.MULTILINE)
    assert found is not None, shown
    return int(found[1].replace(",", ""))


def items(output: object, state: object) -> Counter[str]:
    """A job whose items are a list in its store."""
    assert isinstance(state, dict)
    return Counter(state["items"])


JOB = jobs.Job("made-up", jobs.Workflow, None, items)


@pytest.mark.parametrize(
    ("output", "found", "lost", "doubled", "differences"),
    [
        (3, ["b", "a", "c"], 0, 0, 0),
        (3, ["a", "b"], 1, 0, 1),
        (3, ["a", "b", "c", "c"], 0, 1, 1),
        (3, ["a", "c", "c"], 1, 1, 1),
        (4, ["a", "b", "c"], 0, 0, 1),
    ],
)
def test_the_judge_sees_loss_and_doubling(
    output: int, found: list[str], lost: int, doubled: int, differences: int
) -> None:
    """Order is no difference; a missing item, one too many, both at once, and another output are."""
    expected = ({"n": 3}, {"items": ["a", "b", "c"]})
    finding = jobs.judge(JOB, expected, ({"n": output}, {"items": found}))
    assert (finding.checked, finding.lost, finding.doubled) == (3, lost, doubled)
    assert len(finding.differences) == differences


def killed(*news: tuple[str, object]) -> Answer:
    """A process that told something and was killed."""
    return Answer(news, killed=True, code=-9, error="")


def test_what_a_killed_process_told_is_held_against_the_rest() -> None:
    """A run that had ended and is unfinished later, one that is gone, and a process that fails are violations."""
    tally = Tally(Verdict(seed=1))
    tally.round(killed(("open", []), ("started", "a-0"), ("started", "a-1"), ("ended", "a-0")))
    tally.round(killed())
    assert (tally.verdict.kills, tally.verdict.met_live, tally.verdict.met_opening) == (2, 1, 1)
    assert tally.verdict.is_clean
    tally.round(killed(("open", ["a-0", "a-1"])))
    tally.round(Answer((), killed=False, code=1, error="JournalCorrupt"))
    tally.end(Answer([("checked", ["a-0", 5, 0, 0, []])], killed=False, code=0, error=""))
    assert [text.partition(":")[0] for text in tally.verdict.violations] == [
        "runs that had ended are unfinished again",
        "a process ended by itself with 1",
        "runs whose start was acknowledged are gone",
    ]
    assert (tally.verdict.runs, tally.verdict.checked, tally.verdict.is_clean) == (1, 5, False)


def test_a_violation_is_exit_code_1(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """One lost item fails the campaign, and the report begins with that."""
    monkeypatch.setattr("stress.kill.rounds.campaign", lambda *_, **options: Verdict(options["seed"], lost=1))
    assert main(["kill", "--rounds", "1", "--seed", "3"]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("VIOLATION")
    assert "--seed 3" in shown


def test_without_the_examples_it_says_so(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where only the package is installed, the tool points to the source tree instead of failing somewhere."""
    monkeypatch.setattr(jobs, "EXAMPLES", tmp_path)
    jobs.example.cache_clear()
    assert main(["kill", "--rounds", "1"]) == 2
    assert "run it from the source tree" in capsys.readouterr().err

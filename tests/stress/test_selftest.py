"""`python -m stress selftest`: planted bugs are found, none of them is out of date, and a survivor is told."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import pytest

from stress.oracles import INVARIANTS
from stress.scenario import names
from stress.selftest import command
from stress.selftest.campaign import CONTROL, Outcome, Result, Tally
from stress.selftest.checks import CHECKS
from stress.selftest.extra import EXTRA
from stress.selftest.hunt import Hunt
from stress.selftest.mutant import CHECK, DISK, MIX
from stress.selftest.mutants import MUTANTS
from stress.selftest.planting import Rotten, mutated, plant, source_of
from stress.selftest.report import as_json, as_text


def selftest(*arguments: str) -> int:
    """Run the subcommand."""
    parser = argparse.ArgumentParser()
    command.add_options(parser)
    return command.run(parser.parse_args(arguments))


# --- the mutants


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_a_mutant_fits_the_source(name: str) -> None:
    """The text that it changes stands exactly once in its module, and what comes of it compiles."""
    mutant = MUTANTS[name]
    source = source_of(mutant.module)
    changed = mutated(mutant, source)
    assert changed != source
    compile(changed, mutant.module, "exec")


def test_every_invariant_has_a_mutant() -> None:
    """There are more than 25 mutants, and one at least for each invariant."""
    assert len(MUTANTS) >= 25
    assert {invariant for mutant in MUTANTS.values() for invariant in mutant.invariants} == set(INVARIANTS)


def test_a_mutant_names_only_what_exists() -> None:
    """Finders, checks and scenarios of all mutants are there, and no two mutants change the same text alike."""
    for mutant in MUTANTS.values():
        assert mutant.finder in (MIX, DISK, CHECK)
        assert (mutant.check in CHECKS) is (mutant.finder == CHECK)
        assert set(mutant.likely) <= {*names(), *EXTRA}
        assert mutant.why
    assert len({(mutant.module, mutant.old, mutant.new) for mutant in MUTANTS.values()}) == len(MUTANTS)


def test_a_mutant_that_does_not_fit_is_rotten() -> None:
    """A source without the text, or with two of it, is refused: nothing would be planted, or too much."""
    mutant = MUTANTS["bound-ignored"]
    for source in ("", mutant.old * 2):
        with pytest.raises(Rotten, match="bound-ignored"):
            mutated(mutant, source)


def test_a_mutant_needs_a_fresh_process() -> None:
    """A module that has been imported cannot be changed any more, and nothing is left behind."""
    before = list(sys.meta_path)
    with pytest.raises(RuntimeError, match="fresh process"):
        plant(MUTANTS["bound-ignored"])
    assert sys.meta_path == before


# --- looking for them


def test_planted_bugs_are_found(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """One that scenarios find and one that a check finds: both are told, with the seeds that it took."""
    file = tmp_path / "found.json"
    assert selftest("merge-applied-twice", "stale-owner-not-fenced", "--json", str(file)) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("OK  2 of 2 mutants were found")
    found = {one["name"]: one for one in json.loads(file.read_text(encoding="utf-8"))["mutants"]}
    assert found["merge-applied-twice"]["outcome"] == "found"
    assert 1 <= found["merge-applied-twice"]["seeds"] <= 500
    assert found["stale-owner-not-fenced"]["where"] == "check"


def test_a_survivor_fails_it(capsys: pytest.CaptureFixture[str]) -> None:
    """With a single seed, a bug that needs more of them survives, which is a violation."""
    assert selftest("only-the-newest-run-goes-on", "--seeds", "1") == 1
    assert "only-the-newest-run-goes-on survived" in capsys.readouterr().out


@pytest.mark.parametrize("name", sorted(set(CHECKS) - {"owner"}))
def test_the_checks_find_nothing_in_the_kernel_as_it_is(name: str) -> None:
    """What is not broken is not told to be."""
    assert not CHECKS[name]()


@pytest.mark.rule("A8", "B11", "C2", "C5", "C9", "D7", "E1", "E2", "F4")
@pytest.mark.parametrize("name", sorted(EXTRA))
def test_the_added_scenarios_find_nothing_in_the_kernel_as_it_is(name: str) -> None:
    """Shared snapshots, refused transactions, the last attempt, due order, cancels in their sleep, going on alone."""
    hunt = Hunt(scenarios=[name])
    found = hunt.go(16)
    assert found is None
    assert sum(hunt.tried.values()) == 16


# --- telling of them


def result(name: str, outcome: Outcome) -> Result:
    """One of them."""
    return Result(name=name, outcome=outcome, invariants=("I1",), sentence="it is so", seeds=7, where="here")


@pytest.mark.parametrize(
    ("outcomes", "control", "code"),
    [
        ((Outcome.FOUND,), Outcome.SURVIVED, 0),
        ((Outcome.FOUND, Outcome.SURVIVED), Outcome.SURVIVED, 1),
        ((Outcome.FOUND,), Outcome.FOUND, 1),
        ((Outcome.FOUND, Outcome.ERROR), Outcome.SURVIVED, 2),
        ((Outcome.FOUND,), Outcome.ERROR, 2),
        ((Outcome.SURVIVED, Outcome.ERROR), Outcome.ERROR, 1),
    ],
    ids=["all found", "a survivor", "a bug in the control", "an error", "no control", "survivor before error"],
)
def test_the_exit_code_says_what_came_of_it(outcomes: tuple[Outcome, ...], control: Outcome, code: int) -> None:
    """0 if all were found and nothing else was, 1 if not so, 2 if a search could not be made."""
    results = [result(f"m{number}", outcome) for number, outcome in enumerate(outcomes)]
    tally = Tally(results, result(CONTROL, control))
    assert tally.exit_code == code
    assert as_json(tally)["verdict"] == ("ok", "violated", "error")[code]
    assert as_text(tally).startswith(("OK", "VIOLATED", "ERROR")[code])


def test_survivors_come_first() -> None:
    """They are what is to be looked at."""
    tally = Tally([result("found", Outcome.FOUND), result("wrong", Outcome.ERROR), result("alive", Outcome.SURVIVED)])
    rows = [line.split()[0] for line in as_text(tally).splitlines()[3:6]]
    assert rows == ["alive", "wrong", "found"]


def test_the_list_names_all(capsys: pytest.CaptureFixture[str]) -> None:
    """`--list` has every mutant, and plants none."""
    assert selftest("--list") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in MUTANTS)


def test_a_mutant_that_does_not_exist_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    """A name that nobody has ends with 2, and says how to see the names."""
    assert selftest("no-such-bug") == 2
    assert "--list" in capsys.readouterr().err

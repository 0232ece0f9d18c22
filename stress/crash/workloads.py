"""What runs while the disk dies: which runs, how large, and how often their process ends on the way.

What lives here: the workloads by name. What does not: their workflows (`flows`), driving them (`driving`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from attrs import frozen

from .adapter import Settings
from .flows import Asking, Branches, Doubling, Kept, Nesting

__all__ = ["CONTROL", "DOUBLING", "FAULTED", "WORKLOADS", "Life", "Start", "Workload"]


AS_IT_IS: Final = Settings()
"""The journal's own settings."""


@frozen
class Start:
    """One run to start: its id, its workflow, its input."""

    run_id: str
    workflow: object
    data: object


@frozen
class Life:
    """From one opening to its end.

    Args:
        until: "end" of all runs, or their "questions": then the block is left.
        dies: the kind of image that it leaves in place of a clean closing ("" closes), after the share `at` of its
            writes.
    """

    until: str = "end"
    dies: str = ""
    at: float = 0.0


@frozen
class Workload:
    """Some runs and the lives in which they are brought to their end."""

    name: str
    summary: str
    starts: Callable[[random.Random], Sequence[Start]]
    lives: Sequence[Life] = (Life(),)
    settings: Settings = AS_IT_IS


def _branches(
    dice: random.Random, count: int, ops: int, size: int, *, pauses: float = 0.4, verbs: str = "push push add"
) -> object:
    def one() -> list[object]:
        verb = dice.choice(verbs.split())
        amount = dice.randint(1, size) if verb in ("push", "fail") else dice.randint(1, 9)
        return [verb, amount, round(0.05 * dice.randint(0, int(pauses / 0.05)), 2)]

    return {"branches": [[one() for _ in range(ops)] for _ in range(count)]}


ANY: Final = "push push add pair once later set fail"


def _group(dice: random.Random) -> list[Start]:
    return [Start("group", Kept, _branches(dice, 24, 6, 200, verbs=ANY))]


def _many(dice: random.Random) -> list[Start]:
    return [Start(f"many-{n}", Branches, _branches(dice, 3, 4, 300, pauses=0.2, verbs=ANY)) for n in range(9)]


def _checkpoint(dice: random.Random) -> list[Start]:
    return [Start(f"checkpoint-{n}", Kept, _branches(dice, 6, 6, 3000)) for n in range(2)]


def _asking(dice: random.Random) -> list[Start]:
    return [Start(f"asking-{n}", Asking, {"questions": dice.randint(2, 4)}) for n in range(4)]


def _deletion(dice: random.Random) -> list[Start]:
    large = Start("deletion", Branches, _branches(dice, 3, 6, 30_000, verbs="push"))
    return [large, *(Start(f"deletion-{n}", Branches, _branches(dice, 2, 4, 4000, verbs=ANY)) for n in range(4))]


def _nested(dice: random.Random) -> list[Start]:
    return [Start(f"nested-{n}", Nesting, {"n": n, "children": 3}) for n in range(2)]


def _recovery(dice: random.Random) -> list[Start]:
    return [
        Start("recovery", Kept, _branches(dice, 6, 5, 200, verbs=ANY)),
        *(Start(f"recovery-{n}", Branches, _branches(dice, 3, 4, 200, verbs=ANY)) for n in range(3)),
        Start("recovery-nested", Nesting, {"n": 0, "children": 3}),
        Start("recovery-asking", Asking, {"questions": 2}),
    ]


_CRASHES: Final = (
    Life(dies="process", at=0.3),
    Life(dies="torn", at=0.2),
    Life(dies="process", at=0.04),
    Life(dies="subset", at=0.3),
    Life(dies="none", at=0.04),
    Life(dies="sectors", at=0.5),
    Life(),
)

# The longest ones first: that is how two processes share them best.
WORKLOADS: Final[Mapping[str, Workload]] = {
    workload.name: workload
    for workload in (
        Workload("group", "24 branches of one run, whose operations share commits", _group),
        Workload(
            "recovery",
            "seven lives on one file, six of which end in a crash, some within the recovery",
            _recovery,
            _CRASHES,
        ),
        Workload("many", "nine runs that share commits, each with all kinds of operations", _many),
        Workload("deletion", "states that go with the end of their runs, one so large that the log is cut", _deletion),
        Workload("checkpoint", "a checkpoint every five pages", _checkpoint, settings=Settings(checkpoint_pages=5)),
        Workload(
            "resume",
            "the process dies while questions are asked, and while answers come in",
            _asking,
            (Life("questions", "process", 0.6), Life(dies="torn", at=0.5), Life()),
        ),
        Workload(
            "suspend", "runs that suspend; the block is left and entered again", _asking, (Life("questions"), Life())
        ),
        Workload("nested", "child runs on two levels whose changes are merged", _nested),
    )
}


def _small(dice: random.Random) -> list[Start]:
    return [Start(f"small-{n}", Branches, _branches(dice, 2, 3, 200, pauses=0.1)) for n in range(3)]


CONTROL: Final = Workload("small", "what the controls run", _small)

DOUBLING: Final = Workload(
    "doubling", "a workflow that does not count exactly once", lambda _: [Start("doubling", Doubling, None)]
)


def _few_branches(dice: random.Random) -> list[Start]:
    return [Start("group", Kept, _branches(dice, 4, 3, 300, pauses=0.1, verbs=ANY))]


def _few_values(dice: random.Random) -> list[Start]:
    return [Start(f"deletion-{n}", Branches, _branches(dice, 2, 2, 6000, pauses=0.1, verbs="push")) for n in range(2)]


def _few_questions(dice: random.Random) -> list[Start]:
    return [Start("asking", Asking, {"questions": 2})]


def _few_children(dice: random.Random) -> list[Start]:
    return [Start("nested", Nesting, {"n": 0, "children": 2})]


FAULTED: Final[Mapping[str, Workload]] = {
    workload.name: workload
    for workload in (
        Workload("nested", "child runs whose changes are merged", _few_children),
        Workload(
            "deletion",
            "large values that go with their runs, a checkpoint every few pages",
            _few_values,
            settings=Settings(checkpoint_pages=5),
        ),
        Workload("group", "branches of one run", _few_branches),
        Workload("resume", "answers that come in", _few_questions, (Life("questions"), Life())),
        Workload(
            "recovery",
            "the recovery of a file that a crash has left",
            _few_branches,
            (Life(dies="process", at=0.6), Life()),
        ),
    )
}
"""Smaller ones for the faults: each write of their last life fails in nine ways."""

"""The exact account of a load test: for every place that was told, whose it is and between which moments it was told.

What lives here: the account, in 24 bytes an operation, and the checks that it allows. What does not: the operations
(`workload`), the second opinion of the test kit (`opinion`).

Each reply of `push` and of `increment` is the place of the operation in the one order in which the run applied them.
So that order is known, and everything is checked in one pass over it; nothing has to be searched.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final

from attrs import define, field

from ..report.record import Invariant
from .job import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SHOWN: Final = 3
"""Violations of one kind that are told: the others have the same cause."""


@define(eq=False)
class Account:
    """Operations 0 to `total` - 1; number `n` is the `n // branches`-th of branch `n % branches`.

    Moments are places in the order of all calls and answers, not times.
    """

    branches: int
    total: int
    owners: array[int] = field(init=False, repr=False)
    invoked: array[int] = field(init=False, repr=False)
    returned: array[int] = field(init=False, repr=False)
    strays: list[str] = field(factory=list, init=False)
    stray_count: int = field(default=0, init=False)
    moment: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.owners = array("q", [-1]) * self.total
        self.invoked = array("q", [0]) * self.total
        self.returned = array("q", [0]) * self.total

    def count_of(self, branch: int) -> int:
        """Operations of a branch."""
        return (self.total - branch + self.branches - 1) // self.branches

    def begin(self) -> int:
        """An operation is called; the moment."""
        self.moment += 1
        return self.moment

    def settle(self, number: int, place: object, invoked: int) -> None:
        """An operation was told its place, which counts from 1."""
        self.moment += 1
        if type(place) is not int or not 0 < place <= self.total:
            self._stray(f"{self.name(number)} was told {place!r}, which is no place of {self.total:,}")
        elif self.owners[place - 1] >= 0:
            first = self.name(self.owners[place - 1])
            self._stray(f"{self.name(number)} was told {place}, which {first} had been told already")
        else:
            self.owners[place - 1] = number
            self.invoked[place - 1] = invoked
            self.returned[place - 1] = self.moment

    def _stray(self, sentence: str) -> None:
        self.stray_count += 1
        if len(self.strays) < SHOWN:
            self.strays.append(sentence)

    def label(self, number: int) -> str:
        """The text that stands for an operation: `branch.n`."""
        return f"{number % self.branches}.{number // self.branches}"

    def name(self, number: int) -> str:
        """An operation in words."""
        return f"operation {number // self.branches} of branch {number % self.branches}"


@define
class Judgement:
    """What the checks of one row found."""

    invariants: list[Invariant] = field(factory=list)
    findings: list[Finding] = field(factory=list)

    def add(self, name: str, checked: int, violations: Sequence[str], *, violated: int | None = None) -> None:
        """One invariant; `violated` if there are more violations than sentences."""
        count = len(violations) if violated is None else violated
        self.invariants.append(Invariant(name=name, checked=checked, violated=count))
        self.findings += [Finding(sentence) for sentence in violations[:SHOWN]]


def judge(account: Account, state: object, judgement: Judgement) -> None:
    """Hold the replies, and the final state of the run, against what was sent."""
    values = state if isinstance(state, dict) else {}
    told = sum(1 for owner in account.owners if owner >= 0)
    silent = account.total - told
    wrong = list(account.strays)
    if silent and not wrong:
        wrong.append(f"{silent:,} of {account.total:,} places were told to nobody")
    judgement.add("replies are 1 to N, each once", account.total, wrong, violated=max(account.stray_count, silent))
    late = list(_against_time(account))
    judgement.add("what was over before another began is before it", account.total, late)
    if "items" in values:
        _judge_items(account, values["items"], judgement)
    else:
        _judge_order(account, [owner for owner in account.owners if owner >= 0], judgement)
    _judge_sums(account, values, judgement)


def _against_time(account: Account) -> Iterator[str]:
    # In the order of places, the latest call so far: nothing that comes after it may have been over before it began.
    latest, whose = 0, -1
    for owner, invoked, returned in zip(account.owners, account.invoked, account.returned, strict=True):
        if owner < 0:
            continue
        if returned < latest:
            yield (
                f"{account.name(owner)} was over before {account.name(whose)} began, and comes after it all the same"
            )
        if invoked > latest:
            latest, whose = invoked, owner


def _judge_items(account: Account, items: object, judgement: Judgement) -> None:
    if not isinstance(items, list):
        judgement.add("no push lost, doubled or invented", account.total, [f"the list of all pushes is {items!r:.80}"])
        return
    order: list[int] = []
    seen = bytearray(account.total)
    wrong = []
    number_of = {account.label(number): number for number in range(account.total)}
    for item in items:
        number = number_of.get(item) if isinstance(item, str) else None
        if number is None:
            wrong.append(f"{item!r:.80} is in the list, and nobody pushed it")
        elif seen[number]:
            wrong.append(f"the push of {account.name(number)} is in the list twice")
        else:
            seen[number] = 1
            order.append(number)
    wrong += [f"the push of {account.name(number)} is lost" for number, here in enumerate(seen) if not here]
    judgement.add("no push lost, doubled or invented", account.total, wrong)
    elsewhere = [
        f"{account.name(owner)} was told place {place}, where {_at(items, place)} is"
        for place, owner in enumerate(account.owners, start=1)
        if owner >= 0 and _at(items, place) != account.label(owner)
    ]
    judgement.add("a push is where its reply says", account.total, elsewhere)
    _judge_order(account, order, judgement)


def _at(items: Sequence[object], place: int) -> object:
    return items[place - 1] if place <= len(items) else "nothing"


def _judge_order(account: Account, order: Sequence[int], judgement: Judgement) -> None:
    last = array("q", [-1]) * account.branches
    wrong = []
    for number in order:
        branch, n = number % account.branches, number // account.branches
        if n <= last[branch]:
            wrong.append(f"operation {n} of branch {branch} comes after its operation {last[branch]}")
        last[branch] = max(n, last[branch])
    judgement.add("each branch in its own order", len(order), wrong)


def _judge_sums(account: Account, values: dict[str, object], judgement: Judgement) -> None:
    wrong = [
        f"{key!r} is {values.get(key)!r} at the end, and {account.total:,} were added"
        for key in ("done", "counter")
        if (key in values or key == "done") and values.get(key) != account.total
    ]
    judgement.add("sums", account.branches, wrong)

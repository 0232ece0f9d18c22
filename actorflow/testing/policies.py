"""Who runs next: the ways to choose among the tasks that could.

What lives here: the policies, their mix, and how a choice is written down. What does not: carrying a choice out
(`scheduler`).

No policy finds every kind of fault: a lost wake-up shows in nine of ten schedules that are almost fair and in hardly
any of those that let one task run far ahead; a stale read is the other way round. So seeds go around a mix.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import trio

    Pool = Sequence[trio.lowlevel.Task]

__all__ = ["MIX", "Policy", "Replay", "policy_of"]

NOBODY: Final = -1
"""In the place of the running task's index: it cannot go on."""

FAIRNESS: Final = 200
"""Steps in a row after which a task that spins lets others run, whatever its priority."""


class Policy(ABC):
    """Chooses one of the tasks that may run; all chance in it comes from the seed."""

    name: ClassVar[str]

    @abstractmethod
    def choose(self, pool: Pool, current: int, step: int) -> int:
        """The index of the next task in the pool, which is ordered by age.

        Args:
            pool: at least two tasks.
            current: the index of the one that ran last, `NOBODY` if it cannot go on.
            step: how many choices there were before.
        """


class Uniform(Policy):
    """Each task with the same chance, at every step."""

    name = "uniform"

    def __init__(self, seed: int) -> None:
        self._roll = random.Random(f"uniform {seed}").random

    def choose(self, pool: Pool, current: int, step: int) -> int:
        """Any of them."""
        return int(self._roll() * len(pool))


class Sticky(Policy):
    """The running task goes on; now and then another one takes over."""

    name = "sticky"

    def __init__(self, seed: int) -> None:
        dice = random.Random(f"sticky {seed}")
        self._roll = dice.random
        self._switch = dice.choice([0.03, 0.1, 0.1, 0.3])

    def choose(self, pool: Pool, current: int, step: int) -> int:
        """The current one, mostly."""
        if current != NOBODY and self._roll() >= self._switch:
            return current
        return int(self._roll() * len(pool))


class Priorities(Policy):
    """Random priorities, and a few moments at which the running task falls below all others.

    Burckhardt, Kothari, Musuvathi, Nagarakatte: "A Randomized Scheduler with Probabilistic Guarantees of Finding
    Bugs" (PCT), ASPLOS 2010. A fault that needs d ordered events among k steps of n tasks shows with a probability of
    at least 1 / (n k^(d-1)). The length k is not known before, so it is drawn as well, from 2^4 to 2^11.
    """

    name = "pct"
    depths: ClassVar[Sequence[int]] = (2, 3)

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"pct {seed}")
        length = 2 ** self._dice.randint(4, 11)
        depth = self._dice.choice(self.depths)
        self._changes = {self._dice.randrange(length) for _ in range(depth - 1)}
        self._priorities: dict[trio.lowlevel.Task, float] = {}
        self._lowest = 0.0
        self._last: trio.lowlevel.Task | None = None
        self._streak = 0

    def choose(self, pool: Pool, current: int, step: int) -> int:
        """The one with the highest priority."""
        best = self._best(pool)
        if pool[best] is self._last:
            self._streak += 1
        else:
            self._streak, self._last = 0, pool[best]
        if step in self._changes or self._streak > FAIRNESS:
            self._lowest -= 1.0
            self._priorities[pool[best]] = self._lowest
            self._streak = 0
            best = self._best(pool)
        return best

    def _best(self, pool: Pool) -> int:
        priorities, roll = self._priorities, self._dice.random
        best, highest = 0, -1e18
        for index, task in enumerate(pool):
            priority = priorities.get(task)
            if priority is None:
                priority = priorities[task] = 1.0 + roll()
            if priority > highest:
                best, highest = index, priority
        return best


class Rounds(Policy):
    """Fair rounds in which every task that may run runs once, in a new order each time: trio under Hypothesis."""

    name = "rounds"

    def __init__(self, seed: int) -> None:
        self._dice = random.Random(f"{self.name} {seed}")
        self._left: list[trio.lowlevel.Task] = []

    def choose(self, pool: Pool, current: int, step: int) -> int:
        """The next one of the round."""
        places = {task: index for index, task in enumerate(pool)}
        while True:
            while self._left:
                place = places.get(self._left.pop())
                if place is not None:
                    return place
            self._left = list(pool)
            self.order(self._left)

    def order(self, tasks: list[trio.lowlevel.Task]) -> None:
        """Put a round in order; the last one runs first."""
        self._dice.shuffle(tasks)


class Flips(Rounds):
    """Fair rounds from the oldest to the youngest, or the other way round: trio as it is in production."""

    name = "flips"

    def order(self, tasks: list[trio.lowlevel.Task]) -> None:
        """Forwards or backwards."""
        if self._dice.random() < 0.5:
            tasks.reverse()


class Replay(Policy):
    """The written choices; where none is written, the running task goes on."""

    name = "replay"

    def __init__(self, switches: Mapping[int, int]) -> None:
        self._switches = switches

    def choose(self, pool: Pool, current: int, step: int) -> int:
        """What is written for this step."""
        written = self._switches.get(step, 0)
        return decoded(written % len(pool), current) if written else decoded(0, current)


MIX: Final[tuple[Callable[[int], Policy], ...]] = (Uniform, Sticky, Priorities, Rounds, Flips, Priorities)
"""Seed n takes the n-th of these, around and around."""


def policy_of(seed: int) -> Policy:
    """The policy of a seed: always the same for the same seed."""
    return MIX[seed % len(MIX)](seed)


def encoded(index: int, current: int) -> int:
    """A choice relative to the running task: 0 is to go on, i the i-th of the others by age.

    So a schedule without any switch is all zeroes, and a simpler one has more of them.
    """
    if current == NOBODY:
        return index
    if index == current:
        return 0
    return index + 1 if index < current else index


def decoded(choice: int, current: int) -> int:
    """The index of a choice."""
    if current == NOBODY:
        return choice
    if choice == 0:
        return current
    return choice - 1 if choice <= current else choice

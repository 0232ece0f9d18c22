"""Random graphs against plain Python: the same output whatever the verbs, the nesting, the crashes and the forks.

What lives here: a maker of random programs, each as a graph and as a function. What does not: any verb by itself.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import trio
from attrs import define, field
from trio.testing import MockClock

from actorflow import Context, Retry, RunStatus, step, workflow
from actorflow.journals import MemoryJournal
from actorflow.testing import Crash, FaultyJournal, SimulatedCrash
from tests.semantics.graph_flows import Boom, opened, settle

Model = Callable[[Any], Any]
SIZE = 997
"""Numbers stay below this prime."""


def total(data: Any, ctx: object) -> int:
    """The sum of a mapping's or a list's numbers."""
    return sum(data.values() if isinstance(data, dict) else data) % SIZE


@define
class Maker:
    """Makes random programs from a seed; counts how often each activation ran."""

    chance: random.Random
    keep_state: bool = False
    ran: Counter[str] = field(factory=Counter)
    names: int = 0

    def name(self, verb: str) -> str:
        """An id that no other part of this program has."""
        self.names += 1
        return f"{verb}{self.names}"

    def step(self) -> tuple[object, Model]:
        """A step from number to number that may take time, and may need a second attempt."""
        factor, plus, seconds = self.chance.randint(1, 5), self.chance.randrange(SIZE), self.chance.randrange(4)
        flaky = self.chance.random() < 0.2

        @step(id=self.name("step"), retry=Retry(attempts=2, delay=1.0))
        async def run(data, ctx: Context):
            self.ran[ctx.activation_id] += 1
            await ctx.run_store.increment("n")
            await trio.sleep(seconds)
            if flaky and ctx.attempt == 1:
                raise Boom("the first attempt")
            return (data * factor + plus) % SIZE

        return run, lambda data: (data * factor + plus) % SIZE

    def member(self, depth: int) -> tuple[object, Model]:
        """A step or a whole program."""
        if depth and self.chance.random() < 0.5:
            builder, model = self.program(depth - 1)
            return builder.commit(), model
        return self.step()

    def program(self, depth: int) -> tuple[Any, Model]:
        """A chain of a few links from number to number."""
        builder = workflow(self.name("flow"), keep_state=self.keep_state)
        models: list[Model] = []
        for _ in range(self.chance.randint(1, 4)):
            link = self.chance.choice([self.then, self.sleep, self.parallel, self.branch, self.foreach, self.loop])
            builder, model = link(builder, depth)
            models.append(model)

        def run(data: Any) -> Any:
            for model in models:
                data = model(data)
            return data

        return builder, run

    def then(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """One member."""
        member, model = self.member(depth)
        return builder.then(member), model

    def sleep(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """A pause."""
        return builder.sleep(self.chance.randrange(5)), lambda data: data

    def parallel(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """Members beside each other, and the sum of what they give."""
        members = [self.member(depth) for _ in range(self.chance.randint(1, 4))]
        builder = builder.parallel([member for member, _ in members]).map(total)
        return builder, lambda data: sum(model(data) for _, model in members) % SIZE

    def branch(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """Those of several members that a remainder chooses."""
        modulus, first_match = self.chance.randint(1, 4), self.chance.random() < 0.5
        members = [self.member(depth) for _ in range(self.chance.randint(1, 4))]
        other = self.member(depth) if self.chance.random() < 0.5 else None

        def holds(place: int) -> Callable[[Any, object], bool]:
            return lambda data, ctx: data % modulus <= place % modulus

        pairs = [(holds(place), member) for place, (member, _) in enumerate(members)]
        builder = builder.branch(pairs, otherwise=other and other[0], first_match=first_match).map(total)

        def run(data: Any) -> Any:
            chosen = [model for place, (_, model) in enumerate(members) if holds(place)(data, None)]
            if first_match:
                chosen = chosen[:1]
            if not chosen and other is not None:
                chosen = [other[1]]
            return sum(model(data) for model in chosen) % SIZE

        return builder, run

    def foreach(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """A list made of the number, one or two rounds over its elements, and their sum."""
        count = self.chance.choice([0, 1, 2, 3, 6])
        rounds = [self.member(depth) for _ in range(self.chance.randint(1, 2))]
        builder = builder.map(lambda data, ctx: [(data + place) % SIZE for place in range(count)])
        for member, _ in rounds:
            builder = builder.foreach(member, concurrency=self.chance.choice([1, 2, None]))

        def run(data: Any) -> Any:
            items = [(data + place) % SIZE for place in range(count)]
            for _, model in rounds:
                items = [model(item) for item in items]
            # Places count too: outputs in another order would give another sum.
            return sum(item * (place + 1) for place, item in enumerate(items)) % SIZE

        weigh = lambda data, ctx: sum(item * (place + 1) for place, item in enumerate(data)) % SIZE  # noqa: E731 - as in the model
        return builder.map(weigh), run

    def loop(self, builder: Any, depth: int) -> tuple[Any, Model]:
        """A member again and again, until a count or a remainder says so."""
        member, model = self.member(max(depth - 1, 0))
        most, modulus = self.chance.randint(1, 4), self.chance.randint(2, 3)
        if self.chance.random() < 0.5:
            builder = builder.do_while(member, lambda data, ctx: ctx.iteration < most and data % modulus != 0)
        else:
            builder = builder.do_until(member, lambda data, ctx: ctx.iteration >= most or data % modulus == 0)

        def run(data: Any) -> Any:
            for _ in range(most):
                data = model(data)
                if data % modulus == 0:
                    break
            return data

        return builder, run


def made(seed: int, *, keep_state: bool = False) -> tuple[Maker, object, Model]:
    """The program of a seed."""
    maker = Maker(random.Random(seed), keep_state)
    builder, model = maker.program(2)
    return maker, builder.commit(), model


@pytest.mark.rule("C9", "C10")
@pytest.mark.parametrize("seed", range(60))
async def test_random_graphs_give_what_plain_python_gives(seed: int, autojump_clock: MockClock) -> None:
    """The output is that of the model, and no activation ran more often than its attempts."""
    maker, graph, model = made(seed)
    outcome = await settle(graph, seed)
    assert outcome.status is RunStatus.COMPLETED, outcome.failures
    assert outcome.output == model(seed)
    assert max(maker.ran.values(), default=0) <= 2


@pytest.mark.rule("F4", "C3", "C9")
@pytest.mark.parametrize("seed", range(30))
async def test_random_graphs_over_crashes(seed: int, autojump_clock: MockClock) -> None:
    """Crashed at one write after another, in one life after another, the run ends as the model says."""
    _, graph, model = made(seed)
    chance = random.Random(seed)
    disk = MemoryJournal(durable=True)
    for _ in range(8):
        journal = FaultyJournal(disk, {chance.randint(1, 25): Crash(written=chance.random() < 0.5)})
        try:
            async with opened([graph], journal=journal, shutdown_grace=0) as runtime:
                await (await runtime.start(graph, seed, run_id="r")).wait()
        except SimulatedCrash:
            pass
    async with opened([graph], journal=disk) as runtime:
        assert runtime.unrecovered == {}
        outcome = await (await runtime.start(graph, seed, run_id="r")).wait()
    assert outcome.status is RunStatus.COMPLETED, outcome.failures
    assert outcome.output == model(seed)


@pytest.mark.rule("F4", "C3", "C9")
@pytest.mark.parametrize("seed", range(8))
async def test_random_graphs_over_closings(seed: int, sqlite_url: str, autojump_clock: MockClock) -> None:
    """Closed and opened again every few seconds of its life, the run ends as the model says."""
    _, graph, model = made(seed)
    for life in range(10):
        async with opened([graph], journal=sqlite_url, shutdown_grace=0) as runtime:
            run = await runtime.start(graph, seed, run_id="r")
            with trio.move_on_after(1.5 + life):
                await run.wait()
    async with opened([graph], journal=sqlite_url) as runtime:
        assert (await (await runtime.start(graph, seed, run_id="r")).wait()).output == model(seed)


@pytest.mark.slow
@pytest.mark.rule("B12")
@pytest.mark.parametrize("seed", range(6))
async def test_random_graphs_forked_everywhere(seed: int, autojump_clock: MockClock) -> None:
    """Forked at every fact of its history, each fork of a run that kept its state gives the same output."""
    _, graph, model = made(seed, keep_state=True)
    async with opened([graph]) as runtime:
        origin = await runtime.start(graph, seed)
        assert await origin.result() == model(seed)
        facts = (await origin.history())[:-1]  # at the end there is nothing to go on with
        for fact in facts[:: max(1, len(facts) // 30)]:
            assert await (await origin.fork(at=fact.seq)).result() == model(seed), fact

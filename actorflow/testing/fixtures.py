"""The pytest fixtures of the test kit.

What lives here: `runtime`, and pytest-trio's `autojump_clock`. What does not: anything that runs without pytest.

Take them into a `conftest.py` with `from actorflow.testing import autojump_clock, runtime`, or all at once with
`pytest_plugins = ["actorflow.testing.fixtures"]`.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Final

import pytest
import trio
from pytest_trio.plugin import TrioFixture, autojump_clock

from .._runtime.runtime import Runtime, open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence


__all__ = ["autojump_clock", "runtime"]

GRACE_S: Final = 0.0
"""A test that is done waits for nobody."""


def _run(
    mock: trio.abc.Clock,
    test: Callable[[], Awaitable[object]],
    *,
    instruments: Sequence[trio.abc.Instrument],
    **_: object,
) -> object:
    return trio.run(test, clock=mock, instruments=instruments)


async def _opened() -> AsyncIterator[Runtime]:
    async with open_runtime(shutdown_grace=GRACE_S) as opened:
        opened._kernel.learns = True
        yield opened


@pytest.fixture
def runtime(request: pytest.FixtureRequest, autojump_clock: trio.abc.Clock) -> object:
    """An in-memory runtime on virtual time, for one test. It runs every workflow that it is given.

    Example:
        async def test_orders(runtime):
            assert await runtime.run(OrderImport, order) == {"processed": 250}
    """
    # pytest-trio takes a clock from the arguments of the test only. Who asks for `runtime` gets virtual time without
    # naming the clock as well: the runner of this one test brings it along.
    request.node.add_marker(pytest.mark.trio(run=partial(_run, autojump_clock)), append=False)
    return TrioFixture("runtime", _opened, {})

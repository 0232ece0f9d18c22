"""The graph style: `workflow(…)`, and the verbs that write down what is to happen.

What lives here: the builder. It checks nothing: what is wrong is told by `commit()`, all at once. What does not: the
finished `Graph` (`graph`), checking and compiling (`graph_compile`).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Never, Protocol

from attrs import frozen

from .._core.policies import ALL, Join
from .graph import Graph, Uncommitted
from .graph_compile import compile_graph
from .places import (
    Branch,
    DoUntil,
    DoWhile,
    ForEach,
    Hook,
    Map,
    OnCancel,
    OnComplete,
    OnError,
    Parallel,
    Place,
    Settings,
    Sleep,
    SleepUntil,
    Then,
    WaitForEvent,
    here,
    listed,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from .sources import Source

    Function = Callable[[Never, Never], object]
    """One of `(data, ctx)`, whatever types it declares."""
    MergeState = bool | Iterable[str]


class Member(Protocol):
    """What can stand in a graph: a function under `@step`, a `Workflow` class, a committed graph."""

    @property
    def id(self) -> str:
        """Its name."""


def workflow(
    id: str,  # noqa: A002 - the name that everybody looks for
    *,
    input: object | None = None,  # noqa: A002 - pairs with output, as everywhere
    output: object | None = None,
    state: type | None = None,
    join: Join = ALL,
    lost_updates: str = "error",
    version: str = "",
    max_live_steps: int = 1000,
    keep_state: bool = False,
) -> GraphBuilder:
    """Begin a workflow as a graph: a chain of steps, each with the output of the one before as its data.

    Args:
        id: its name in journals.
        input: the type of the run's input (default: that of the first step).
        output: the type of the run's output; what the last step gives must fit it.
        state: the master state schema, an attrs class whose fields are the keys of the run store.
        join: what a failed step means for the run: `ALL`, `DRAIN`, `tolerate(count=…, fraction=…)`.
        lost_updates: "error", "warn" or "allow".
        version: recorded with every run.
        max_live_steps: steps in memory at once; more wait as compact records.
        keep_state: whether the journal keeps the values of the run store after the run.

    Returns a builder. Every verb gives a new one and leaves it as it is; `.commit()` checks everything at once.

    Example:
        >>> from actorflow import step, workflow
        >>> @step
        ... async def double(data, ctx):
        ...     return 2 * data
        >>> workflow("doubling").foreach(double, concurrency=10).commit()
        <Graph 'doubling': foreach(double)>
    """
    settings = Settings(
        where=here()[0], id=id, input=input, output=output, state=state, join=join, lost_updates=lost_updates,
        version=version, max_live_steps=max_live_steps, keep_state=keep_state,
    )  # fmt: skip
    return GraphBuilder(settings)


@frozen(eq=False, repr=False)
class GraphBuilder(Uncommitted):
    """A graph that is being written; `workflow(…)` makes one."""

    _settings: Settings
    _places: tuple[Place, ...] = ()
    _hooks: tuple[Hook, ...] = ()

    def then(self, step: Member, *, merge_state: MergeState = False) -> GraphBuilder:
        """Run a step, or a workflow as a child run, with the output of what stands before.

        Args:
            step: a function under `@step`, a `Workflow` class, or a committed graph.
            merge_state: of a workflow: what of the child's own changes to its state comes back when it completes:
                True for all, or the keys.
        """
        where, _ = here()
        return self._with(Then(where=where, member=step, merge_state=merge_state))

    def parallel(self, steps: Iterable[Member], join: Join = ALL, *, merge_state: MergeState = False) -> GraphBuilder:
        """Run all of them at once with the same data; the output is `{id: output}`.

        Args:
            steps: steps and workflows.
            join: when the group is done and what a failure in it means: `ALL`, `DRAIN`, `first(k)`, `tolerate(…)`.
            merge_state: as for `then`.
        """
        where, _ = here()
        return self._with(Parallel(where=where, members=listed(steps), join=join, merge_state=merge_state))

    def branch(
        self,
        pairs: Iterable[tuple[Function, Member]],
        otherwise: Member | None = None,
        first_match: bool = False,
        *,
        merge_state: MergeState = False,
    ) -> GraphBuilder:
        """Run every step whose condition holds, at once and with the same data; the output is `{id: output}`.

        Args:
            pairs: of a condition, `(data, ctx)` to a bool, sync or async, and a step or workflow.
            otherwise: what runs if no condition holds; without it the output is then `{}`.
            first_match: only the first one whose condition holds; those behind it are not asked.
            merge_state: as for `then`.
        """
        given = listed(pairs)
        found = given if isinstance(given, tuple) else ()
        where, names = here([pair[0] for pair in found if isinstance(pair, tuple | list) and pair])
        place = Branch(
            where=where,
            names=names,
            pairs=given,
            otherwise=otherwise,
            first_match=first_match,
            merge_state=merge_state,
        )
        return self._with(place)

    def foreach(
        self, step: Member, *, concurrency: int | None = 1, join: Join = ALL, merge_state: MergeState = False
    ) -> GraphBuilder:
        """Run a step or workflow for every element of a list; the output is the list of the outputs, in that order.

        Args:
            step: a step or a workflow, which gets one element.
            concurrency: elements at once; None: as many as `max_live_steps` lets live.
            join: as for `parallel`.
            merge_state: as for `then`.
        """
        where, _ = here()
        place = ForEach(where=where, member=step, concurrency=concurrency, join=join, merge_state=merge_state)
        return self._with(place)

    def do_while(self, step: Member, condition: Function, *, merge_state: MergeState = False) -> GraphBuilder:
        """Run a step or workflow, and again with its own output as long as the condition holds; at least once.

        Args:
            step: a step or a workflow; `ctx.iteration` counts from 1.
            condition: `(data, ctx)` to a bool, sync or async; `data` is the output of `step`.
            merge_state: as for `then`.
        """
        where, names = here([condition])
        place = DoWhile(where=where, names=names, member=step, condition=condition, merge_state=merge_state)
        return self._with(place)

    def do_until(self, step: Member, condition: Function, *, merge_state: MergeState = False) -> GraphBuilder:
        """Run a step or workflow, and again with its own output until the condition holds; at least once.

        Args:
            step: a step or a workflow; `ctx.iteration` counts from 1.
            condition: `(data, ctx)` to a bool, sync or async; `data` is the output of `step`.
            merge_state: as for `then`.
        """
        where, names = here([condition])
        place = DoUntil(where=where, names=names, member=step, condition=condition, merge_state=merge_state)
        return self._with(place)

    def map(self, shape: Function | Mapping[str, Source]) -> GraphBuilder:
        """Shape the data.

        Args:
            shape: a function `(data, ctx)`, sync or async, or a mapping of names to `from_step(…)`, `from_input(…)`,
                `from_state(…)` and `constant(…)`.
        """
        where, names = here([shape])
        return self._with(Map(where=where, names=names, shape=dict(shape) if isinstance(shape, Mapping) else shape))

    def sleep(self, duration: float | str | timedelta | Function) -> GraphBuilder:
        """A durable pause; the data is passed on.

        Args:
            duration: seconds, a `timedelta`, or text such as "30 sec", "5 minutes", "2 hr", or a function
                `(data, ctx)`, sync or async, that gives one.
        """
        where, names = here([duration])
        return self._with(Sleep(where=where, names=names, until=duration))

    def sleep_until(self, moment: datetime | Function) -> GraphBuilder:
        """A durable pause up to a moment; one that is past is no pause. The data is passed on.

        Args:
            moment: an aware datetime, or a function `(data, ctx)`, sync or async, that gives one.
        """
        where, names = here([moment])
        return self._with(SleepUntil(where=where, names=names, until=moment))

    def wait_for_event(
        self,
        name: str,
        *,
        timeout: float | str | timedelta | None = None,
        type: object | None = None,  # noqa: A002 - the type of the event's data
    ) -> GraphBuilder:
        """A durable wait for `Run.send_event(name, data)`; the output is the event's data.

        Args:
            name: of the event.
            timeout: as a duration; past it the run fails with `StepTimeout`. None: for ever.
            type: of the event's data; `send_event` refuses what does not fit it.
        """
        where, _ = here()
        return self._with(WaitForEvent(where=where, name=name, timeout=timeout, type=type))

    def on_complete(self, hook: Callable[[Never], object]) -> GraphBuilder:
        """Run `hook(ctx)` when everything is done; what it gives, if not None, is the run's output."""
        where, names = here([hook])
        return self._with_hook(OnComplete(where=where, names=names, function=hook))

    def on_error(self, hook: Function) -> GraphBuilder:
        """Run `hook(error, ctx)` when the run fails; `error` is a `StepFailed`."""
        where, names = here([hook])
        return self._with_hook(OnError(where=where, names=names, function=hook))

    def on_cancel(self, hook: Function) -> GraphBuilder:
        """Run `hook(reason, ctx)` when the run is cancelled."""
        where, names = here([hook])
        return self._with_hook(OnCancel(where=where, names=names, function=hook))

    def commit(self) -> Graph:
        """The finished graph.

        Raises `DefinitionError` listing everything that is wrong with it, with file and line.
        """
        settings, places, hooks = self._settings, self._places, self._hooks
        home = sys._getframe(1).f_globals
        return Graph(lambda graph: compile_graph(settings, places, hooks, graph), places, hooks, home)

    def _with(self, place: Place) -> GraphBuilder:
        return GraphBuilder(self._settings, (*self._places, place), self._hooks)

    def _with_hook(self, hook: Hook) -> GraphBuilder:
        return GraphBuilder(self._settings, self._places, (*self._hooks, hook))

    def __repr__(self) -> str:
        verbs = "".join(f".{place.verb}(…)" for place in (*self._places, *self._hooks))
        return f"<workflow({self._settings.id!r}){verbs}, not committed>"

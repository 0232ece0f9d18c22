"""From what the verbs of a graph were given to its `Definition`.

What lives here: the chain of nodes, and the graph's own steps behind them. What does not: the user's steps
(`graph_members`), what can be wrong with the arguments (`graph_check`), the code of the graph's own steps
(`questions`, `sources`).

A step of the graph's own has an id that begins with an underscore and ends with the number of its link: it stays the
same when links are added behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from inspect import unwrap
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from .._core.durations import instant, seconds
from .._core.plan import LostUpdates, Node, NodeKind, RunPlan, StepPlan
from .._core.policies import Join, JoinKind
from .._core.values import shorten
from .._ids import HOOK_COMPLETE, is_internal
from . import kinds, questions
from .binding import declared, either_output, schema, step_state
from .check import PARAMETERS, Findings
from .definition import BoundStep, Definition
from .graph_check import check_group, check_hooks, check_place, check_settings
from .graph_flow import Link, Want, check_flow, clash, list_of
from .graph_members import Members
from .places import (
    Branch,
    DoUntil,
    DoWhile,
    ForEach,
    Hook,
    Map,
    Parallel,
    Place,
    Settings,
    Sleep,
    SleepUntil,
    Then,
    WaitForEvent,
    members_of,
    name_of,
    pairs_of,
)
from .schema import PLAIN, Schema, StateSchema
from .signature import Signature
from .sources import Source, map_of, source_problems
from .step import Step

if TYPE_CHECKING:
    from .graph import Graph
    from .questions import Function, Invoke

    _MakeLink = Callable[["_Compiler", Place, tuple[str, ...], Mapping[str, BoundStep]], Link]

OUTPUT: Final = "_output"
"""The step that holds the output of the last link to the type that the graph declares."""


def compile_graph(settings: Settings, places: Sequence[Place], hooks: Sequence[Hook], target: Graph) -> Definition:
    """The definition of a graph; raises `DefinitionError` with every finding."""
    findings = Findings(f"workflow({shorten(settings.id)})")
    bad = check_settings(settings, findings)
    master = StateSchema(settings.state) if isinstance(settings.state, type) and "state" not in bad else None
    run_input, wanted = (None if name in bad else getattr(settings, name) for name in ("input", "output"))
    work = _Compiler(findings, Members(findings, master), run_input)
    links = [work.link(place) for place in places]
    if not places:
        findings.add(settings.where, "workflow: the graph is empty; give it a step with .then(step)")
    gives = check_flow(run_input, links, findings)
    check_hooks(hooks, findings)
    for hook in hooks:
        work.add_hook(hook, wanted)
    if wanted is not None and links and links[-1] is not None:
        links += work.output_link(links[-1].place, gives, wanted, hooks)
    findings.close()
    shown = either_output(work.hook_output, None if gives in (dict, list) else gives) if wanted is None else wanted
    plan = RunPlan(
        workflow_id=settings.id,
        version=cast("str", settings.version),
        steps={step_id: bound.plan for step_id, bound in work.members.steps.items()},
        hooks=frozenset(hook.hook for hook in hooks),
        join=cast("Join", settings.join),
        lost_updates=LostUpdates(settings.lost_updates),
        max_live_steps=cast("int", settings.max_live_steps),
        keep_state=cast("bool", settings.keep_state),
        chain=tuple(link.node for link in links if link is not None),
    )
    return Definition(
        plan=plan,
        steps=work.members.steps,
        state=master,
        input=schema(work.run_input),
        output=schema(shown),
        events={name: schema(kind) for name, (kind, _) in work.events.items() if kind is not None},
        nested=work.members.nested,
        target=target,
    )


@define(eq=False)
class _Compiler:
    """The steps and links of one graph, as they come about."""

    findings: Findings
    members: Members
    run_input: object | None
    events: dict[str, tuple[object | None, str]] = field(factory=dict)
    """By name: the type of the data, and where it is said."""
    hook_output: object | None = None
    _number: int = 0
    """Of the link, from 1."""

    def link(self, place: Place) -> Link | None:
        """The link of one verb; None if something is wrong with it."""
        self._number += 1
        before = dict(self.members.steps)
        sound = check_place(place, self.findings)
        ids = self.members.add(place)
        check_group(place, ids, self.findings)
        if not sound or len(ids) < len(members_of(place)):
            return None
        make = cast("_MakeLink", _LINKS[type(place)])
        found = make(self, place, tuple(ids), before)
        if self._number == 1 and self.run_input is None and isinstance(place, Then | DoWhile | Map) and found.wants:
            self.run_input = found.wants[0].kind  # so that start() itself refuses what does not fit
        return found

    # --- a link for each verb

    def then(self, place: Then, ids: tuple[str, ...], _: object) -> Link:
        wants = [self._want(step_id) for step_id in ids]
        return Link(
            place=place, node=Node(kind=NodeKind.STEP, name=ids[0], steps=ids), wants=wants, gives=self._out(ids)
        )

    def parallel(self, place: Parallel, ids: tuple[str, ...], _: object) -> Link:
        join = cast("Join", place.join)
        node = Node(kind=NodeKind.PARALLEL, name=f"parallel({', '.join(ids)})", steps=ids, join=join)
        return Link(place=place, node=node, wants=[self._want(step_id) for step_id in ids], gives=dict)

    def branch(self, place: Branch, ids: tuple[str, ...], _: object) -> Link:
        wants = [self._want(step_id) for step_id in ids]
        conditions: list[questions.Condition] = []
        declared_types: list[Signature] = []
        for condition, _step in pairs_of(place):
            found = self._declared(place, condition, f"the condition {name_of(condition)}")
            name = name_of(condition)
            wants.append(Want(f"the condition {name}", found.data))
            conditions.append(questions.Condition(cast("Function", condition), schema(found.data), name))
            declared_types.append(found)
        invoke = questions.chosen(
            conditions, otherwise=place.otherwise is not None, first_match=cast("bool", place.first_match)
        )
        question = self._own(f"_branch.{self._number}", invoke, state=self._common_state(place, declared_types))
        node = Node(kind=NodeKind.BRANCH, name=f"branch({', '.join(ids)})", steps=ids, question=question)
        return Link(place=place, node=node, wants=wants, gives=dict)

    def foreach(self, place: ForEach, ids: tuple[str, ...], _: object) -> Link:
        want = self._want(ids[0])
        join = cast("Join", place.join)
        node = Node(
            kind=NodeKind.FOREACH, name=f"foreach({ids[0]})", steps=ids, join=join,
            concurrency=cast("int | None", place.concurrency),
        )  # fmt: skip
        # What is tolerated comes out as a Failure.
        gives = list if join.kind is JoinKind.TOLERATE else list_of(self._out(ids))
        return Link(place=place, node=node, wants=[Want(want.label, list_of(want.kind))], gives=gives)

    def loop(self, place: DoWhile, ids: tuple[str, ...], _: object) -> Link:
        want, gives = self._want(ids[0]), self._out(ids)
        found = self._declared(place, place.condition, "the condition")
        invoke = questions.again(cast("Function", place.condition), until=isinstance(place, DoUntil))
        state = self._state(place.condition, found)
        question = self._own(f"_loop.{self._number}", invoke, payload=schema(found.data), state=state)
        node = Node(kind=NodeKind.LOOP, name=f"{place.verb}({ids[0]})", steps=ids, question=question)
        # The body is given its own output from the second time on.
        again = [Want(want.label, want.kind, gives), Want("the condition", found.data, gives)] if gives else []
        return Link(place=place, node=node, wants=[want, *again], gives=gives)

    def map(self, place: Map, _: object, before: Mapping[str, BoundStep]) -> Link:
        step_id = f"_map.{self._number}"
        node = Node(kind=NodeKind.STEP, name="map", steps=(step_id,))
        if not isinstance(place.shape, Mapping):
            found = self._declared(place, place.shape, "the function")
            invoke = questions.plain_call(cast("Function", place.shape))
            state = self._state(place.shape, found)
            self._own(step_id, invoke, payload=schema(found.data), output=schema(found.output), state=state)
            wants = [Want("the function", found.data)] if found.data is not None else []
            return Link(place=place, node=node, wants=wants, gives=found.output)
        given = cast("Mapping[str, Source]", place.shape)
        known = {name: bound for name, bound in before.items() if not is_internal(name)}
        faults = [
            f".map: {name}: {text}"
            for name, source in given.items()
            for text in source_problems(source, known, self.members.master)
        ]
        for text in faults:
            self.findings.add(place.where, text)
        if not faults:
            outputs = {name: bound.output for name, bound in known.items()}
            self._own(step_id, map_of(dict(given), outputs, schema(self.run_input)))
        return Link(place=place, node=node, gives=dict)

    def sleep(self, place: Sleep, _ids: object, _: object) -> Link:
        until = isinstance(place, SleepUntil)
        timer = self._own(f"_sleep.{self._number}", questions.unused, auto=True)
        question, wants, delay, due = "", [], 0.0, 0.0
        if callable(place.until):
            found = self._declared(place, place.until, "the function")
            function = cast("Function", place.until)
            invoke = questions.due_at(function) if until else questions.due_after(function)
            state = self._state(place.until, found)
            question = self._own(f"{timer}.due", invoke, payload=schema(found.data), state=state)
            wants = [Want("the function", found.data)]
        elif until:
            due = instant(place.until)
        else:
            delay = seconds(place.until)
        node = Node(kind=NodeKind.SLEEP, name=place.verb, steps=(timer,), question=question, delay_s=delay, due=due)
        return Link(place=place, node=node, wants=wants, passes=True)

    def wait(self, place: WaitForEvent, _ids: object, _: object) -> Link:
        name = cast("str", place.name)
        kind, where = self.events.setdefault(name, (place.type, place.where))
        if kind is None and place.type is not None:
            self.events[name] = (place.type, place.where)
        elif place.type is not None and not kinds.same_kind(kind, place.type):
            both = f"{kinds.name_of(place.type)} here, but {kinds.name_of(kind)} at {where}"
            self.findings.add(place.where, f".{place.verb}: the data of the event {name!r} is {both}; give it one type")
        step = self._own(f"_event.{self._number}", questions.unused, output=schema(place.type), auto=True)
        timeout = None if place.timeout is None else seconds(place.timeout)
        node = Node(kind=NodeKind.EVENT, name=f"{place.verb}({name})", steps=(step,), event=name, timeout_s=timeout)
        return Link(place=place, node=node, gives=place.type)

    # --- hooks and output

    def add_hook(self, hook: Hook, run_output: object | None) -> None:
        """The step of a hook; what that of completion gives is held to the type of the run's output."""
        found = self._declared(hook, hook.function, "the hook", PARAMETERS[hook.hook][1:])
        completes = hook.hook == HOOK_COMPLETE
        output = found.output
        if completes:
            self.hook_output = found.output
            output = found.output if run_output is None else run_output
        self.members.steps[hook.hook] = BoundStep(
            plan=StepPlan(step_id=hook.hook),
            invoke=questions.hook_call(cast("Function", hook.function), takes_data=not completes),
            payload=PLAIN,
            output=schema(output),
            state=self._state(hook.function, found),
        )

    def output_link(self, place: Place, gives: object | None, wanted: object, hooks: Sequence[Hook]) -> list[Link]:
        """The last link, if anything is left to be checked: no hook gives the output, no step has this very type."""
        if any(hook.hook == HOOK_COMPLETE and not _is_silent(hook.function) for hook in hooks):
            return []
        text = clash(gives, wanted)
        if text:
            self.findings.add(place.where, f".{place.verb}: the output of the workflow gets its output, {text}")
        if gives is not None and kinds.same_kind(gives, wanted):
            return []
        self._own(OUTPUT, questions.passed_on, output=schema(wanted))
        return [Link(place=place, node=Node(kind=NodeKind.STEP, name="output", steps=(OUTPUT,)), gives=wanted)]

    # --- parts

    def _own(
        self,
        step_id: str,
        invoke: Invoke,
        *,
        payload: Schema = PLAIN,
        output: Schema = PLAIN,
        state: StateSchema | None = None,
        auto: bool = False,
    ) -> str:
        """A step of the graph's own; returns its id."""
        plan = StepPlan(step_id=step_id, auto=auto)
        self.members.steps[step_id] = BoundStep(
            plan=plan, invoke=invoke, payload=payload, output=output, state=state or self.members.master
        )
        return step_id

    def _want(self, step_id: str) -> Want:
        return Want(step_id, self.members.signatures[step_id].data)

    def _out(self, ids: tuple[str, ...]) -> object | None:
        return self.members.signatures[ids[0]].output

    def _declared(
        self, place: Place, function: object, label: str, parameters: Sequence[str] = ("data", "ctx")
    ) -> Signature:
        """The types of a condition, a map, a duration or a hook."""
        inner = function.function if isinstance(function, Step) else function
        if not callable(inner) or not isinstance(unwrap(inner), FunctionType | MethodType):
            return Signature(None, None, None)  # the annotations of another callable are those of its fields
        return declared(inner, parameters, (place.names,), f".{place.verb}: {label}", self.findings)

    def _state(self, function: object, found: Signature) -> StateSchema | None:
        return step_state(function, found, self.members.master, name_of(function), self.findings)

    def _common_state(self, place: Branch, found: Sequence[Signature]) -> StateSchema | None:
        """The state that the conditions of a branch see: they share one context."""
        pairs = [(pair[0], one) for pair, one in zip(pairs_of(place), found, strict=True) if one.state is not None]
        if len({id(one.state) for _, one in pairs}) > 1:
            text = f".{place.verb}: the conditions share one context; annotate it with the same type in all of them"
            self.findings.add(place.where, text)
        states = [self._state(condition, one) for condition, one in pairs]
        return states[0] if states else self.members.master


_LINKS: Final[Mapping[type[Place], object]] = {
    Then: _Compiler.then,
    Parallel: _Compiler.parallel,
    Branch: _Compiler.branch,
    ForEach: _Compiler.foreach,
    DoWhile: _Compiler.loop,
    DoUntil: _Compiler.loop,
    Map: _Compiler.map,
    Sleep: _Compiler.sleep,
    SleepUntil: _Compiler.sleep,
    WaitForEvent: _Compiler.wait,
}


def _is_silent(hook: object) -> bool:
    """Whether a completion hook says that it gives nothing, so that the output is the chain's."""
    given = getattr(unwrap(cast("FunctionType", hook)), "__annotations__", {})
    return "return" in given and given["return"] in (None, "None")

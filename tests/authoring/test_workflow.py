"""From a `Workflow` class to its `Definition`, and everything that can be wrong with one."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

import pytest
from attrs import define, field

from actorflow._authoring.definition import BoundStep, Commit, Definition, Offload
from actorflow._authoring.schema import PLAIN
from actorflow._authoring.step import step
from actorflow._authoring.workflow import Workflow, compile_workflow, resolve
from actorflow._core.plan import LostUpdates, StepPlan
from actorflow._core.policies import ALL, DRAIN, Join, JoinKind, Rate, Retry, tolerate
from actorflow.errors import DefinitionError

if TYPE_CHECKING:
    from fractions import Fraction

    from actorflow import StepFailed

S = TypeVar("S")


class Context(Generic[S]):
    """As the runtime's is, for `Context[X]`."""


@define
class Item:
    id: int


@define
class Master:
    done: int = 0
    names: list[str] = field(factory=list)


@define
class Part:
    done: int = 0


@define
class Stray:
    done: str = ""


def traced(function: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
    """A decorator as users write them: plain, but what it gives is awaited."""

    @functools.wraps(function)
    def wrapper(*args: Any) -> Awaitable[object]:
        return function(*args)

    return wrapper


class Base(Workflow):
    async def start(self, data, ctx):
        return "base"

    async def inherited(self, data, ctx):
        return "inherited"

    async def overridden(self, data, ctx):
        return "base"

    async def removed(self, data, ctx):
        return "base"


class Mixin:
    async def mixed_in(self, data, ctx):
        return "mixed in"


class Full(Base, Mixin):
    """One of everything."""

    id = "full"
    state = Master
    join = DRAIN
    lost_updates = "warn"
    version = "2"
    max_live_steps = 5
    keep_state = True
    removed = None

    @step(retry=Retry(3))
    async def start(self, data: list[Item], ctx: Context[Part]) -> Item:
        return data[0]

    @step(id="crunch-it", concurrency=2, rate=Rate(3), timeout=4.5, commit="on_success", input=int, output=str)
    def crunch(self, data, ctx):
        return "crunched"

    async def overridden(self, payload, context=None, *more):
        return "own"

    @traced
    async def wrapped(self, data: int, ctx):
        return "wrapped"

    async def late(self, data: Late, ctx: "Context[Late]") -> None:  # noqa: UP037 - quoted twice is allowed
        return None

    async def on_workflow_complete(self, ctx) -> int | None:
        return 1

    async def on_workflow_error(self, error: StepFailed, ctx):
        return error

    async def on_workflow_cancel(self, reason, ctx: Context):
        return reason

    def helper(self, a):
        return a

    async def _private(self, data, ctx):
        return None

    @staticmethod
    async def static():
        return None

    @classmethod
    async def of_class(cls):
        return None

    @property
    def prop(self):
        return 1


@define
class Late:
    done: int = 0


FULL = resolve(Full)


async def call(bound: BoundStep, data: object = None) -> object:
    """What a pass of this step gives."""
    result = bound.invoke(data, object())
    return await result if inspect.isawaitable(result) else result


def test_the_plan_has_every_setting_of_the_class() -> None:
    """Id, version, policies and bounds arrive in the plan."""
    plan = FULL.plan
    assert (plan.workflow_id, plan.version, plan.join, plan.lost_updates) == ("full", "2", DRAIN, LostUpdates.WARN)
    assert (plan.max_live_steps, plan.keep_state) == (5, True)
    assert plan.hooks == {"on_workflow_complete", "on_workflow_error", "on_workflow_cancel"}
    assert set(plan.steps) == set(FULL.steps) == {
        "start", "inherited", "overridden", "mixed_in", "crunch-it", "wrapped", "late", *plan.hooks,
    }  # fmt: skip
    assert plan.steps["start"] == StepPlan(step_id="start", retry=Retry(3))
    assert plan.steps["crunch-it"] == StepPlan(step_id="crunch-it", concurrency=2, rate=Rate(3))
    assert (FULL.source, FULL.target) == (f"{__file__}:Full", Full)


def test_the_defaults_are_the_documented_ones() -> None:
    """A class that sets nothing is named after itself, and fails with its first failed step."""
    plan = resolve(Base).plan
    assert (plan.workflow_id, plan.version, plan.join, plan.lost_updates) == ("Base", "", ALL, LostUpdates.ERROR)
    assert (plan.max_live_steps, plan.keep_state, plan.hooks) == (1000, False, frozenset())
    assert (resolve(Base).state, resolve(Base).output) == (None, PLAIN)


def test_the_id_is_not_inherited() -> None:
    """Two workflows cannot share one, so a subclass is named after itself."""

    class More(Full):
        pass

    assert (Full.id, More.id, resolve(More).plan.workflow_id) == ("full", "More", "More")


def test_the_options_of_a_step_arrive() -> None:
    """Those that the shell acts on stand in the bound step."""
    crunch, start = FULL.steps["crunch-it"], FULL.steps["start"]
    assert (crunch.timeout, crunch.offload, crunch.commit) == (4.5, Offload.THREAD, Commit.ON_SUCCESS)
    assert (start.timeout, start.offload, start.commit) == (None, Offload.NONE, Commit.AT_ONCE)


def test_types_come_from_annotations_and_options() -> None:
    """Payload, output and state of each step; None and nothing are plain JSON."""
    steps = FULL.steps
    assert (steps["start"].payload.kind, steps["start"].output.kind) == (list[Item], Item)
    assert (steps["crunch-it"].payload.kind, steps["crunch-it"].output.kind) == (int, str)
    assert steps["wrapped"].payload.kind is int
    assert (steps["late"].payload.kind, steps["late"].output) == (Late, PLAIN)
    assert (steps["overridden"].payload, steps["overridden"].output) == (PLAIN, PLAIN)
    assert steps["on_workflow_error"].payload is PLAIN
    kinds = {name: bound.state.kind for name, bound in steps.items() if bound.state is not None}
    assert kinds == {**dict.fromkeys(steps, Master), "start": Part, "late": Late}
    assert FULL.state is steps["inherited"].state


def test_the_output_is_typed_by_the_completion_hook_or_start() -> None:
    """A hook that may give None leaves room for what `start` gives."""
    assert FULL.output.unstructure(5, "x") == "5"
    assert FULL.output.structure('{"id":1}', "x") == Item(1)

    class OnlyStart(Workflow):
        async def start(self, data, ctx) -> Item:
            return Item(1)

        async def on_workflow_complete(self, ctx) -> None:
            return None

    class OnlyHook(OnlyStart):
        async def on_workflow_complete(self, ctx) -> int:  # type: ignore[override]  # another type on purpose
            return 1

    assert (resolve(OnlyStart).output.kind, resolve(OnlyHook).output.kind) == (Item, int)


@pytest.mark.parametrize(
    ("step_id", "data", "result"),
    [
        ("start", [1], 1),
        ("inherited", None, "inherited"),
        ("overridden", None, "own"),
        ("mixed_in", None, "mixed in"),
        ("crunch-it", None, "crunched"),
        ("wrapped", None, "wrapped"),
        ("on_workflow_complete", None, 1),
        ("on_workflow_error", "the error", "the error"),
        ("on_workflow_cancel", "the reason", "the reason"),
    ],
)
async def test_invoke_calls_the_method(step_id: str, data: object, result: object) -> None:
    """Steps get data and context, the completion hook the context alone."""
    assert await call(FULL.steps[step_id], data) == result


async def test_every_pass_has_an_instance_of_its_own() -> None:
    """What one pass leaves on `self` is not there for the next."""

    class Keeps(Workflow):
        async def start(self, data, ctx):
            self.seen = [*getattr(self, "seen", []), data]
            return self.seen

    start = resolve(Keeps).steps["start"]
    assert [await call(start, 1), await call(start, 2)] == [[1], [2]]


def test_a_class_is_compiled_once() -> None:
    """The same class gives the same definition, a subclass its own."""

    class More(Base):
        pass

    assert resolve(Base) is compile_workflow(Base)
    assert resolve(More) is not resolve(Base)


def test_local_types_can_be_named() -> None:
    """With postponed annotations, the names of an enclosing function and of the class are found all the same."""

    @define
    class Inner:
        n: int

    @define
    class Outer:
        inner: Inner

    class Local(Workflow):
        @define
        class Own:
            n: int

        async def start(self, data: Outer, ctx: Context[Part]) -> list[Own]:
            return []

        @step
        async def more(self, data: Own, ctx) -> None:
            return None

    definition = resolve(Local)
    assert definition.steps["start"].payload.structure('{"inner":{"n":1}}', "x") == Outer(Inner(1))
    assert definition.steps["more"].payload.kind is Local.Own
    assert definition.source == ""


def test_a_context_for_type_checkers_only_does_no_harm() -> None:
    """Where `Context` is not known at run time, `Context[X]` still tells the state, and anything else is ignored."""
    namespace: dict[str, object] = {"Workflow": Workflow, "Part": Part}
    code = (
        "from __future__ import annotations\n"
        "class Checked(Workflow):\n"
        "    async def start(self, data, ctx: Context[Part]): ...\n"
        "    async def more(self, data, ctx: flow.Context[Unknown]): ...\n"
    )
    exec(compile(code, "checked.py", "exec", dont_inherit=True), {**namespace, "__name__": "checked"}, namespace)
    definition = resolve(namespace["Checked"])
    states = {name: bound.state and bound.state.kind for name, bound in definition.steps.items()}
    assert states == {"start": Part, "more": None}
    assert definition.source == ""


# --- findings


def findings_of(cls: type[Workflow]) -> list[str]:
    """The texts of the error, each without its place, which must be in this file."""
    with pytest.raises(DefinitionError) as caught:
        resolve(cls)
    lines, first = inspect.getsourcelines(cls)
    for finding in caught.value.findings:
        file, line, _ = finding.split(":", 2)
        assert file == __file__
        assert first <= int(line) < first + len(lines)
        assert finding in str(caught.value)
    return [finding.split(": ", 1)[1] for finding in caught.value.findings]


class NoStart(Workflow):
    async def action(self, data, ctx): ...


class PlainStart(Workflow):
    def start(self, data, ctx): ...


class BadSettings(Workflow):
    id = ""
    state = int
    join = "all"
    lost_updates = "perhaps"
    version = 2
    max_live_steps = 0
    keep_state = 1

    async def start(self, data, ctx): ...


class BadSignatures(Workflow):
    async def start(self, data): ...

    async def action(self, data, ctx, more): ...

    @step
    async def keyword(self, data, ctx, *, needed): ...

    async def generator(self, data, ctx):
        yield 1

    async def on_workflow_complete(self, data, ctx): ...

    def on_workflow_error(self, error, ctx): ...

    @step
    async def on_workflow_cancel(self, reason, ctx): ...


class BadTypes(Workflow):
    state = Master

    async def start(self, data: Fraction, ctx) -> complex: ...

    async def stray(self, data: Missing, ctx: Context[Stray]): ...  # noqa: F821 - missing on purpose

    async def no_state(self, data: dict[str, complex], ctx: Context[int]): ...

    async def no_type(self, data: [1], ctx): ...


class BadIds(Workflow):
    @step(id="begin")
    async def start(self, data, ctx): ...

    @step(id="other")
    async def action(self, data, ctx): ...

    async def other(self, data, ctx): ...

    @step
    async def _hidden(self, data, ctx): ...

    @staticmethod
    @step
    async def static(data, ctx): ...

    async def on_workflow_completed(self, ctx): ...


class NeedsArguments(Workflow):
    def __init__(self, client):
        self.client = client

    async def start(self, data, ctx): ...


FINDINGS: list[tuple[type[Workflow], list[str]]] = [
    (NoStart, ["NoStart has no start"]),
    (PlainStart, ["PlainStart.start is a plain function; make it async, or put it under @step"]),
    (
        BadSettings,
        [
            "BadSettings: id=''",
            "BadSettings: state=<class 'int'> is no attrs class",
            "BadSettings: join = 'all': give ALL",
            "BadSettings: lost_updates = 'perhaps': give one of 'error', 'warn', 'allow'",
            "BadSettings: version = 2 is a int",
            "BadSettings: max_live_steps = 0",
            "BadSettings: keep_state = 1",
        ],
    ),
    (
        BadSignatures,
        [
            "BadSignatures.start(self, data) cannot be called with start(self, data, ctx)",
            "BadSignatures.action(self, data, ctx, more) cannot be called with action(self, data, ctx)",
            "BadSignatures.keyword(self, data, ctx, *, needed) cannot be called",
            "BadSignatures.generator is an async generator",
            "BadSignatures.on_workflow_complete(self, data, ctx) cannot be called with on_workflow_complete(self, ctx)",
            "BadSignatures.on_workflow_error is a plain function; make it async",
            "BadSignatures.on_workflow_cancel is a hook, which takes no @step",
        ],
    ),
    (
        BadTypes,
        [
            "BadTypes.start: the annotation of 'data', 'Fraction', is not known at run time",
            "BadTypes.start: result: complex cannot be turned into JSON",
            "BadTypes.stray: the annotation of 'data', 'Missing', is not known at run time",
            "BadTypes.stray: Stray.done is str, but in the state Master int",
            "BadTypes.no_state: data: complex cannot be turned into JSON",
            "BadTypes.no_state: state=<class 'int'> is no attrs class",
            "BadTypes.no_type: data: [1] is not a type",
        ],
    ),
    (
        BadIds,
        [
            "BadIds._hidden is private",
            "BadIds.static is a staticmethod, which cannot be a step",
            "BadIds.on_workflow_completed is no hook; did you mean on_workflow_complete?",
            "BadIds.other has the id 'other', which action has already",
            "BadIds.start cannot have another id than 'start'",
            "BadIds.on_workflow_completed(self, ctx) cannot be called",
        ],
    ),
    (NeedsArguments, ["NeedsArguments.__init__ needs arguments"]),
]


@pytest.mark.parametrize(("cls", "expected"), FINDINGS, ids=[cls.__name__ for cls, _ in FINDINGS])
def test_every_finding_is_told_at_once_with_file_and_line(cls: type[Workflow], expected: list[str]) -> None:
    """One error lists all that is wrong with a class, and where."""
    found = findings_of(cls)
    assert [text for text in expected if not any(line.startswith(text) for line in found)] == []
    assert len(found) == len(expected)


def test_a_finding_stands_where_the_fault_is() -> None:
    """A class attribute at its assignment, a method at its first line."""
    with pytest.raises(DefinitionError) as caught:
        resolve(BadSettings)
    lines, first = inspect.getsourcelines(BadSettings)
    place = {name: first + number for number, line in enumerate(lines) for name in [line.split(" = ")[0].strip()]}
    for finding in caught.value.findings:
        name = finding.split("BadSettings: ")[1].split()[0].split("=")[0]
        assert finding.startswith(f"{__file__}:{place[name]}: ")


@pytest.mark.parametrize("join", [tolerate, Join(JoinKind.FIRST, 1), None], ids=["function", "first", "none"])
def test_a_run_joins_by_a_join_for_runs(join: object) -> None:
    """Neither the function `tolerate`, nor `first(k)`, which is for groups, nor nothing."""
    cls = cast("type[Workflow]", type("Joined", (Base,), {"join": join}))
    with pytest.raises(DefinitionError, match="join"):
        resolve(cls)


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (None, "None is not a workflow: give a subclass"),
        (Workflow, "it is the base class"),
        (Full(), "it is an instance; give the class Full"),
        (Item, "does not derive from Workflow"),
        ("Full", "an id names a workflow that a runtime already has"),
        (step(Mixin.mixed_in), "a step is run by a workflow"),
        (5, "5 is not a workflow"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_no_workflow_is_told_apart(target: object, words: str) -> None:
    """The error names the value and what to give instead."""
    with pytest.raises(DefinitionError, match="is not a workflow") as caught:
        resolve(target)
    assert words in str(caught.value)
    assert caught.value.findings


def test_definitions_are_records() -> None:
    """What the runtime gets is frozen."""
    assert isinstance(FULL, Definition)
    with pytest.raises(AttributeError):
        FULL.source = "elsewhere"  # type: ignore[misc]  # frozen on purpose

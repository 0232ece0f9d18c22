"""Every public name leaves by exactly one door, and stays what its own module says it is."""

from __future__ import annotations

import ast
import importlib
import inspect
import sys
from pathlib import Path
from types import ModuleType

import attrs
import pytest

DOORS = ("actorflow", "actorflow.testing", "actorflow.abc", "actorflow.journals")

# Names that the documentation shows at two doors, with the reason. Empty: nothing needs it.
AT_TWO_DOORS: dict[str, str] = {}

ERRORS = """
    ActorflowError AmbiguousResume Deadlock DefinitionError Fenced HookRestriction InputError JournalBusy JournalCorrupt
    JournalError LostUpdate NonRetryable NotJsonError NotSuspended RunCancelled RunExists RunFailed RunNotFound RunOver
    RunSuspended RuntimeClosed StateKeyError StateTypeError StepFailed StepTimeout ValueTooLarge
""".split()

# What programs written against the documentation import. Taking a name away needs a fragment in docs/changes.d.
PROMISED = {
    "actorflow": [
        *ERRORS,
        *"Graph constant first from_input from_state from_step workflow".split(),
        *"ALL DRAIN MISSING Context Event EventStream Fact Failure Join Limits Rate Retry Run RunDescription".split(),
        *"RunOutcome RunStatus RunStore RunSummary Runtime ScheduledStep Statistics Step StepRecord StepStatus".split(),
        *"Suspension Transaction Wait Workflow open_runtime step tolerate".split(),
    ],
    "actorflow.testing": [
        *"Crash Delay Fail Fault FaultyJournal JournalContract SimulatedCrash Tear autojump_clock runtime".split(),
        *"History Linearizability StoreCall Verdict check_linearizable".split(),
        *"CancelFailure CancelReport CrashFailure CrashReport Victim VictimCall".split(),
        *"Exploration Faults LostUpdateStory ProgramFunction Repro ScheduleFailure".split(),
        *"cancel_everywhere crash_everywhere explore lost_updates replay".split(),
    ],
    "actorflow.abc": "Append Clock Executor Instrument Journal RunHeader StoredRun".split(),
    "actorflow.journals": "MemoryJournal SqliteJournal SqliteReader parse_url".split(),
}


def door(name: str) -> ModuleType:
    """The imported door; warnings at import are errors like everywhere."""
    return importlib.import_module(name)


LAZY_DOORS = ("actorflow", "actorflow.testing")


def public_classes() -> list[tuple[str, type]]:
    """Every class that leaves by a door, with the door."""
    found = [(name, getattr(door(name), public, None)) for name in DOORS for public in door(name).__all__]
    return [(name, value) for name, value in found if isinstance(value, type)]


def defines_class(path: Path, qualname: str) -> bool:
    """Whether the file itself, read as text, contains a class statement of that (possibly nested) name."""
    body: list[ast.stmt] = ast.parse(path.read_text(encoding="utf-8")).body
    for part in qualname.split("."):
        classes = [node for node in body if isinstance(node, ast.ClassDef) and node.name == part]
        if not classes:
            return False
        body = classes[0].body
    return True


@pytest.mark.parametrize("name", DOORS)
def test_a_door_lists_what_leaves_by_it(name: str) -> None:
    """Each door has an __all__ whose names exist, are public and stand there once."""
    module = door(name)
    listed = list(module.__all__)
    assert len(listed) == len(set(listed)), "a name is listed twice"
    assert [public for public in listed if public.startswith("_") and public != "__version__"] == []
    assert [public for public in listed if not hasattr(module, public)] == []


@pytest.mark.parametrize("name", LAZY_DOORS)
def test_a_lazy_door_knows_the_home_of_what_it_lists(name: str) -> None:
    """A door that imports late finds each name at run time exactly where the type checker is told to look."""
    module = door(name)
    home = {public: f".{where.lstrip('.')}" for where, names in vars(module)["_HOME"].items() for public in names}
    told = {
        alias.name: f".{node.module}"
        for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.level == 1
        for alias in node.names
    }
    assert home == told
    assert sorted(home) == sorted(module.__all__)


def test_a_name_leaves_by_one_door() -> None:
    """No two doors give out the same name, except where the documentation says so."""
    doors_of: dict[str, list[str]] = {}
    for name in DOORS:
        for public in door(name).__all__:
            doors_of.setdefault(public, []).append(name)
    twice = {public: names for public, names in doors_of.items() if len(names) > 1}
    assert set(twice) == set(AT_TWO_DOORS), twice


def test_an_object_leaves_by_one_door() -> None:
    """No class or function leaves under a second name by another door either."""
    first_seen: dict[int, str] = {}
    again = []
    for name in DOORS:
        for public in door(name).__all__:
            value = getattr(door(name), public)
            if not isinstance(value, type) and not inspect.isroutine(value):
                continue
            spelled = f"{name}.{public}"
            if first_seen.setdefault(id(value), spelled) != spelled and public not in AT_TWO_DOORS:
                again.append((first_seen[id(value)], spelled))
    assert again == []


@pytest.mark.parametrize("name", DOORS)
def test_no_unlisted_public_name_is_reachable(name: str) -> None:
    """What a package door imports without an underscore is listed, a submodule, or not ours."""
    module = door(name)
    assert module.__file__ is not None
    if Path(module.__file__).name != "__init__.py":
        return  # a plain module imports what it is written with; only its __all__ leaves
    stray = [
        public
        for public, value in vars(module).items()
        if not public.startswith("_")
        and public not in module.__all__
        and not isinstance(value, ModuleType)
        and str(getattr(value, "__module__", "")).split(".")[0] == "actorflow"
    ]
    assert stray == [], f"list them in {name}.__all__ or import them under an underscore"


@pytest.mark.parametrize("name", DOORS)
def test_what_was_promised_is_there(name: str) -> None:
    """The documented names can be imported from their door."""
    assert sorted(set(PROMISED[name]) - set(door(name).__all__)) == []


def test_public_classes_keep_their_module() -> None:
    """No public class claims a module that does not define it: cattrs looks field types up in the module it names."""
    moved = []
    for name, cls in public_classes():
        home = sys.modules.get(cls.__module__)
        source = getattr(home, "__file__", None)
        if home is None or source is None or not defines_class(Path(source), cls.__qualname__):
            moved.append(f"{name}.{cls.__name__} claims {cls.__module__}")
    assert moved == []


def test_field_types_of_public_records_resolve() -> None:
    """Every public attrs class can name its field types at run time: none hides behind TYPE_CHECKING."""
    unresolved = []
    for name, cls in public_classes():
        if attrs.has(cls):
            try:
                attrs.resolve_types(cls)
            except NameError as error:
                unresolved.append(f"{name}.{cls.__name__}: {error}")
    assert unresolved == []


def test_a_rewritten_module_is_noticed() -> None:
    """The check above sees a class that claims a module which does not define it."""
    here = Path(__file__)
    assert defines_class(here, "Probe.Inner")
    assert not defines_class(here, "Probe.Missing")
    assert not defines_class(here.with_name("tree.py"), "Probe")


class Probe:
    class Inner:
        pass

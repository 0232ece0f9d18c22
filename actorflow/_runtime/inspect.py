"""Reading runs from a journal without taking them up: also one that another process owns.

What lives here: folding stored facts into a state, for looking only. What does not: going on with a run (`recovery`).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from .._core import facts as f
from .._core.apply import apply, fold
from .._core.apply_child import inherited
from .._core.durations import moment
from .._core.lifecycle import RUN_OVER, Phase, RunStatus
from .._core.react import open_gates
from .._core.run_state import RunState
from .._core.state_text import load_state
from .._core.store_state import Value, value_of
from .._core.values import decode
from .._ids import activation_id, child_id
from ..errors import ActorflowError, InputError, JournalCorrupt, RunNotFound, RunOver, StepFailed
from .events import JSON_FIELDS, kind_of
from .records import Fact, RunDescription, Suspension, counts, own_suspensions, step_records, summary, waits

if TYPE_CHECKING:
    from .._authoring.schema import Schema
    from .._core.plan import RunPlan
    from ..abc import Journal, RunHeader, StoredRun


def rebuild(
    stored: StoredRun, plan: RunPlan | None = None, *, inherited: Mapping[str, Value] | None = None
) -> RunState:
    """The state of a stored run; for going on with it, with the gates that `plan` asks for. `inherited`: `Cuts`.

    Raises `JournalCorrupt` if its facts do not fit together.
    """
    run_id = stored.header.run_id
    try:
        if stored.snapshot is not None:
            state = load_state(run_id, stored.snapshot)
        else:
            state = RunState(run_id)
            state.inherited = inherited
        if plan is not None:
            open_gates(state, plan)
        fold(state, stored.facts)
    except ActorflowError:
        raise
    except Exception as error:  # facts that do not fit fail in any way; the run is left as it is
        raise JournalCorrupt(
            f"run {run_id!r}: its facts do not fit together ({type(error).__name__}: {error}); "
            "restore the journal from a backup",
            run_id=run_id,
        ) from error
    if not state.workflow_id or (stored.header.status in RUN_OVER) != (state.phase is Phase.OVER):
        missing = "its first facts are missing" if not state.workflow_id else "its list row and its facts do not agree"
        raise JournalCorrupt(f"run {run_id!r}: {missing}; restore the journal from a backup", run_id=run_id)
    return state


def output_of(schema: Schema, text: str, run_id: str) -> object:
    """What a completed run gave, typed as its workflow declares it."""
    if text == "null":
        return None
    try:
        return schema.structure(text, f"output of run {run_id!r}")
    except InputError:
        return decode(text)  # the workflow has changed since: what the run gave is still what it gave


class Cuts:
    """What child runs inherit, read from the journals of their parents.

    A child's journal does not repeat what its parent's says: it names a moment of it. What was read is kept, so that a
    thousand children of one run cost one reading of it: one of these is for one sweep.
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._values: dict[str, dict[int, dict[str, Value]]] = {}

    async def of(self, parent_id: str, facts: Sequence[f.Fact]) -> Mapping[str, Value]:
        """The store of `parent_id` as the run whose facts these are began with it."""
        attached = next((fact for fact in facts[:2] if isinstance(fact, f.ChildAttached)), None)
        if attached is None or not attached.inherits:
            return {}
        found = self._values.get(parent_id)
        if found is None or attached.call not in found:  # it may have called more children since
            found = self._values[parent_id] = await self._read(parent_id)
        return inherited(found.get(attached.call, {}), attached.inherits)

    async def _read(self, run_id: str) -> dict[int, dict[str, Value]]:
        header = await self._journal.header(run_id)
        if header is None or header.status in RUN_OVER:
            return {}
        facts = await self._journal.read(run_id)
        state = RunState(run_id)
        if header.parent_id:
            state.inherited = await self.of(header.parent_id, facts)
        found: dict[int, dict[str, Value]] = {}
        for fact in facts:
            apply(state, fact)
            if isinstance(fact, f.ChildStarted):
                found[fact.n] = dict(state.store.values)
        return found


async def stored_state(
    journal: Journal, stored: StoredRun, plan: RunPlan | None = None, *, cuts: Cuts | None = None
) -> RunState:
    """`rebuild`, with what the run has inherited; `cuts` is shared by those who look at many children."""
    header = stored.header
    above: Mapping[str, Value] = {}
    if header.parent_id and stored.snapshot is None and header.status not in RUN_OVER:
        above = await (cuts or Cuts(journal)).of(header.parent_id, stored.facts)
    return rebuild(stored, plan, inherited=above)


async def load(journal: Journal, run_id: str) -> StoredRun:
    """The stored run; `RunNotFound` if there is none."""
    stored = await journal.load(run_id)
    if stored is None:
        raise unknown(run_id)
    return stored


def unknown(run_id: object) -> RunNotFound:
    """The error for an id that no run has."""
    return RunNotFound(
        f"no run {run_id!r} in this journal; list_runs() (or `actorflow runs`) shows what there is",
        run_id=str(run_id),
    )


def describe_state(
    state: RunState,
    header: RunHeader,
    *,
    children: Sequence[RunHeader] = (),
    suspensions: Sequence[Suspension] = (),
    causes: Mapping[int, BaseException] | None = None,
    recovery_error: ActorflowError | None = None,
) -> RunDescription:
    """Everything that can be told of a run."""
    return RunDescription(
        **attrs.asdict(summary(attrs.evolve(header, status=state.status, ended_at=state.ended_at)), recurse=False),
        counts=counts(state),
        steps=step_records(state),
        suspensions=tuple(suspensions),
        waits=waits(state),
        children=tuple(summary(child) for child in children),
        error=next(iter(failures(state, causes)), None) if state.status is not RunStatus.COMPLETED else None,
        recovery_error=recovery_error,
    )


def failures(state: RunState, causes: Mapping[int, BaseException] | None = None) -> tuple[StepFailed, ...]:
    """The failed steps of a run, in order, as errors."""
    return tuple(failure(state, n, causes) for n in state.failures)


def failure(state: RunState, n: int, causes: Mapping[int, BaseException] | None = None) -> StepFailed:
    """A failed step as an error, with its own exception as the cause while it is in this process."""
    _, step, _, attempts, _, error_type, message, *_ = state.done[n]
    error = StepFailed(
        run_id=state.run_id,
        step_id=step,
        activation_id=activation_id(state.prefix, n),
        attempts=attempts,
        error_type=error_type,
        message=message,
    )
    error.__cause__ = (causes or {}).get(n)
    return error


def history_of(facts: Sequence[f.Fact], first: int = 1) -> list[Fact]:
    """Facts as users see them."""
    return [Fact(seq, kind_of(fact), moment(fact.at), _fields(fact)) for seq, fact in enumerate(facts, first)]


def _fields(fact: f.Fact) -> dict[str, object]:
    fields: dict[str, object] = {}
    for attribute in attrs.fields(type(fact)):
        name = attribute.name
        value: object = getattr(fact, name)
        if name == "at":
            continue
        if (name in JSON_FIELDS and value) or (name == "argument" and isinstance(value, str) and value):
            value = decode(str(value))
        elif name == "payloads":
            value = [decode(text) for text in value] if isinstance(value, list) else value
        elif name == "values" and isinstance(value, Mapping):
            value = {key: decode(text) for key, text in value.items()}
        fields[name] = value
    return fields


def check_seq(seq: object, last: int) -> int:
    """`seq` as the number of a fact of a run that has `last` of them; `InputError` otherwise."""
    if isinstance(seq, bool) or not isinstance(seq, int) or not 0 <= seq <= last:
        raise InputError(f"{seq!r} is not the number of a fact of this run; it has facts 1 to {last}")
    return seq


def values_after(
    run_id: str, facts: Sequence[f.Fact], seq: int, above: Mapping[str, Value] | None = None
) -> dict[str, object]:
    """The run store as it was after fact `seq`; `above` is what it inherited."""
    state = RunState(run_id)
    state.inherited = above
    for fact in facts[:seq]:
        apply(state, fact)
    return {key: value_of(value) for key, value in state.store.values.items()}


def check_values(header: RunHeader, keep_state: bool) -> None:
    """Raise `RunOver` if the values of a finished run are gone."""
    if header.status in RUN_OVER and not keep_state:
        raise RunOver(
            f"run {header.run_id!r} is over ({header.status.value}): the values of its store are gone; "
            "set keep_state on the workflow to keep them",
            run_id=header.run_id,
        )


# --- for the command line: on anything that has a journal's reading methods


async def describe_stored(journal: Journal, run_id: str) -> RunDescription:
    """`Run.describe()` of a stored run."""
    stored = await load(journal, run_id)
    children = await journal.headers(parent_id=run_id)
    cuts = Cuts(journal)
    state = await stored_state(journal, stored, cuts=cuts)

    async def look(name: str) -> tuple[list[Suspension], list[str]]:
        found = state if name == run_id else await stored_state(journal, await load(journal, name), cuts=cuts)
        return own_suspensions(found), open_children(found)

    found = await suspensions_below(look, run_id)
    return describe_state(state, stored.header, children=children, suspensions=found)


def open_children(state: RunState) -> list[str]:
    """The ids of the child runs that are not over."""
    return [child_id(state.run_id, call.n) for call in state.unfinished_calls()]


async def suspensions_below(
    look: Callable[[str], Awaitable[tuple[list[Suspension], list[str]]]], run_id: str
) -> list[Suspension]:
    """Where a run and its descendants wait to be resumed: each place once, a run's own before its children's.

    `look` gives the own suspensions and the open children of one run.
    """
    found: list[Suspension] = []
    todo = [run_id]
    while todo:
        name = todo.pop()
        try:
            own, children = await look(name)
        except JournalCorrupt:
            if name == run_id:
                raise
            continue  # a damaged child is its own trouble: it says so itself
        found += own
        todo += reversed(children)
    return found


async def state_stored(journal: Journal, run_id: str, at: int | None = None) -> dict[str, object]:
    """`Run.state()`, or `state_at(at)`, of a stored run."""
    stored = await load(journal, run_id)
    if at is None:
        state = await stored_state(journal, stored)
        if stored.header.status in RUN_OVER and not state.store.values:
            check_values(stored.header, keep_state=False)
        return {key: value_of(value) for key, value in state.store.values.items()}
    facts = await journal.read(run_id)
    check_seq(at, len(facts))
    if stored.header.status in RUN_OVER and values_dropped(facts):
        check_values(stored.header, keep_state=False)
    above = await Cuts(journal).of(stored.header.parent_id, facts) if stored.header.parent_id else {}
    return values_after(run_id, facts, at, above)


def values_dropped(facts: Sequence[f.Fact]) -> bool:
    """Whether these are the facts of a finished run whose values are gone."""
    return any(
        (isinstance(fact, f.OperationApplied) and fact.argument is None and fact.verb not in ("pop", "delete"))
        or (isinstance(fact, f.StateSeeded) and not fact.values)
        or (
            isinstance(fact, f.TransactionApplied | f.ChildEnded)
            and bool(fact.operations)
            and all(argument is None for _, _, argument in fact.operations)
        )
        for fact in facts
    )


async def history_stored(journal: Journal, run_id: str) -> list[Fact]:
    """`Run.history()` of a stored run."""
    if await journal.header(run_id) is None:
        raise unknown(run_id)
    return history_of(await journal.read(run_id))

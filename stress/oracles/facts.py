"""The second oracle: the facts of every run, as its handle gives them.

What lives here: replaying them, and holding them against the state at the end, against the child runs and the runs
above, and against what the branches were told. What does not: legal moves (`moves`), what a verb does (`replaying`),
how the answers are compared (`matching`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from attrs import define, field

from actorflow import Fact

from ..recording import Record
from .finding import Finding
from .matching import Applied, check_answers, owner_of
from .moves import check_moves
from .replaying import GONE, Store, Wrong, same

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


__all__ = ["check_facts"]

APPLIED: Final = ("operation-applied", "transaction-applied")
LONG: Final = 120
"""Characters of a value that a finding shows."""


@define
class Replayed:
    """What came of replaying the facts of one run."""

    store: Store = field(factory=Store)
    applied: list[Applied] = field(factory=list)
    cuts: dict[int, Mapping[str, object]] = field(factory=dict)
    """The store as it was after those facts that child runs begin with."""
    merges: list[tuple[Fact, Mapping[str, object], Mapping[str, object]]] = field(factory=list)
    """The facts by which a child gave something back, with the keys concerned before and after."""
    wrong: list[Finding] = field(factory=list)


@define
class Looked:
    """All runs of a record, each replayed at most once, parents before their children."""

    record: Record
    replayed: dict[str, Replayed] = field(factory=dict)

    def of(self, run_id: str) -> Replayed:
        """The replay of a run."""
        found = self.replayed.get(run_id)
        if found is None:
            found = self.replayed[run_id] = replay(run_id, self.record.facts[run_id], self._begin(run_id))
        return found

    def _begin(self, run_id: str) -> Mapping[str, object]:
        attached = attached_of(self.record.facts[run_id])
        parent = run_id.rpartition("~")[0]
        if attached is None or not attached.fields["inherits"] or parent not in self.record.kept:
            return {}
        cut = self.of(parent).cuts.get(cast("int", attached.fields["seq"]), {})
        inherits = str(attached.fields["inherits"])
        names = cut.keys() if inherits == "*" else json.loads(inherits)
        return {key: _own(cut[key]) for key in names if key in cut}


def _own(value: object) -> object:
    return list(value) if isinstance(value, list) else value


def attached_of(facts: Sequence[Fact]) -> Fact | None:
    """The fact that says which call of its parent a child run is."""
    return next((fact for fact in facts[:2] if fact.kind == "child-attached"), None)


def replay(run_id: str, facts: Sequence[Fact], begin: Mapping[str, object]) -> Replayed:
    """Let the facts of a run write a store of their own."""
    found = Replayed()
    store = found.store
    store.values.update(begin)
    prefix = str(facts[0].fields.get("prefix", "")) if facts else ""
    for fact in facts:
        before = None
        if fact.kind == "child-ended" and fact.fields["operations"]:
            keys = {key for _, key, _ in cast("list[tuple[str, str, object]]", fact.fields["operations"])}
            before = {key: _own(store.values.get(key, GONE)) for key in keys}
        try:
            answer = store.apply(fact)
        except (Wrong, TypeError, ValueError, OverflowError) as error:
            sentence = f"run {run_id}, fact {fact.seq}: {fact.kind} cannot have been applied: {error}"
            found.wrong.append(Finding("I18", sentence, (_told(fact),)))
            continue
        if fact.kind in APPLIED:
            found.applied.append(Applied(fact, owner_of(prefix, cast("int", fact.fields["n"])), answer))
        elif fact.kind == "child-started":
            found.cuts[fact.seq] = store.copy()
        elif before is not None:
            found.merges.append((fact, before, {key: _own(store.values.get(key, GONE)) for key in before}))
    return found


def _told(fact: Fact) -> str:
    fields = fact.fields
    return f"{fact.seq}: {fields.get('verb', fact.kind)}({fields.get('key', '')!r}, {_short(fields.get('argument'))})"


def _short(value: object) -> str:
    text = "nothing" if value is GONE else repr(value)
    return text if len(text) <= LONG else f"{text[: LONG - 1]}…"


def check_facts(record: Record) -> list[Finding]:
    """What is wrong with the facts of the runs of a record."""
    found: list[Finding] = []
    looked = Looked(record)
    for run_id, facts in record.facts.items():
        life = check_moves(run_id, facts)
        found += life.findings
        found += _status(run_id, life.ended, record)
        if run_id not in record.kept:
            applied = [
                Applied(fact, owner_of(str(facts[0].fields.get("prefix", "")), cast("int", fact.fields["n"])), GONE)
                for fact in facts
                if fact.kind in APPLIED
            ]
            found += check_answers(run_id, applied, record.histories.get(run_id), blind=True)
            continue
        replayed = looked.of(run_id)
        found += replayed.wrong
        found += _final(run_id, replayed.store, record)
        found += check_answers(run_id, replayed.applied, record.histories.get(run_id))
        found += _children(run_id, replayed, looked)
    return found


def _status(run_id: str, ended: str, record: Record) -> Iterator[Finding]:
    summary = record.summaries.get(run_id)
    outcome = record.outcomes.get(run_id)
    said = ended.partition("-")[2]
    for who, status in (("the list of runs", summary), ("its outcome", outcome)):
        if status is None:
            continue
        told = status.status.value if status.status.value in ("completed", "failed", "cancelled") else ""
        if told != said:
            sentence = f"run {run_id}: {who} says {status.status.value}, and its facts say {said or 'that it goes on'}"
            yield Finding("I16", sentence)


def _final(run_id: str, store: Store, record: Record) -> Iterator[Finding]:
    """The facts come to the state that the run had."""
    for who, state in (("its handle", record.states.get(run_id)), ("its outcome", _outcome_state(record, run_id))):
        if state is None:
            continue
        for key in sorted({*state, *store.values}):
            told, replayed = state.get(key, GONE), store.values.get(key, GONE)
            if not (told is replayed or (GONE not in (told, replayed) and same(told, replayed))):
                sentence = (
                    f"run {run_id}, key {key!r}: {who} says {_short(told)}, and its facts come to {_short(replayed)}"
                )
                yield Finding("I2" if isinstance(told, list) else "I18", sentence)


def _outcome_state(record: Record, run_id: str) -> Mapping[str, object] | None:
    outcome = record.outcomes.get(run_id)
    return outcome.state or None if outcome is not None else None


# --- child runs


def _children(run_id: str, replayed: Replayed, looked: Looked) -> Iterator[Finding]:
    """Each call has its child, which began with one moment of the store here and gave back what it says it did."""
    record = looked.record
    facts = record.facts[run_id]
    ends = {cast("int", fact.fields["n"]): fact for fact in facts if fact.kind == "child-ended"}
    merges = {cast("int", fact.fields["n"]): (before, after) for fact, before, after in replayed.merges}
    for fact in facts:
        if fact.kind != "child-started":
            continue
        n = cast("int", fact.fields["n"])
        child = f"{run_id}~{n}"
        if child not in record.facts:
            yield Finding("I7", f"run {run_id}, fact {fact.seq}: call {n} started a child, and there is no run {child}")
            continue
        attached = attached_of(record.facts[child])
        if attached is None or attached.fields["call"] != n:
            yield Finding("I7", f"run {child} does not say that it is the child of call {n}")
            continue
        if attached.fields["seq"] != fact.seq:
            yield Finding(
                "I6",
                f"run {child} begins with the state of {run_id} after fact {attached.fields['seq']}, "
                f"and its call is fact {fact.seq}",
            )
        yield from _begin(child, replayed.cuts.get(fact.seq), record)
        if n in ends:
            yield from _exit(child, ends[n], looked, merges.get(n))


def _begin(child: str, cut: Mapping[str, object] | None, record: Record) -> Iterator[Finding]:
    """What a child said that it began with is the store of its parent as it was at the call."""
    history = record.histories.get(child)
    if cut is None or history is None or not history.initial:
        return
    for key in sorted({*cut, *history.initial}):
        told, was = history.initial.get(key, GONE), cut.get(key, GONE)
        if told is GONE or was is GONE or not same(told, was):
            sentence = f"run {child} began with {key!r} = {_short(told)}, and at its call its parent had {_short(was)}"
            yield Finding("I6", sentence)


def _exit(
    child: str,
    end: Fact,
    looked: Looked,
    merge: tuple[Mapping[str, object], Mapping[str, object]] | None,
) -> Iterator[Finding]:
    facts = looked.record.facts[child]
    last = facts[-1]
    status = end.fields["status"]
    if last.kind != f"run-{status}" or (
        status == "completed" and not same(last.fields["output"], end.fields["output"])
    ):
        sentence = f"run {child} ended as {last.kind} with {_short(last.fields.get('output'))}, and was reported as"
        yield Finding("I7", f"{sentence} {status} with {_short(end.fields['output'])}")
    attached = attached_of(facts)
    wanted = "" if attached is None else str(attached.fields["merge"])
    if status != "completed" or not wanted or child not in looked.record.kept:
        if merge is not None and (status != "completed" or not wanted):
            yield Finding("I7", f"run {child} was to give nothing back, and did", (_told(end),))
        return
    keys = None if wanted == "*" else frozenset(json.loads(wanted))
    own = _own_changes(facts, keys)
    before, after = merge or ({}, {})
    store = Store({key: _own(value) for key, value in before.items() if value is not GONE})
    for verb, key, argument in own:
        if key not in before:
            yield Finding("I7", f"run {child} changed {key!r}, and nothing of it came back")
            return
        store.operate(verb, key, argument)
    for key, value in after.items():
        found = store.values.get(key, GONE)
        if not (found is value or (GONE not in (found, value) and same(found, value))):
            sentence = f"run {child}, key {key!r}: merged, it should be {_short(found)}, and it is {_short(value)}"
            yield Finding("I7", sentence)


def _own_changes(facts: Sequence[Fact], keys: frozenset[str] | None) -> Iterator[tuple[str, str, object]]:
    """What a child run changed itself, as its parent is to see it: what it decided by its own state is decided."""
    for fact in facts:
        if fact.kind == "operation-applied":
            found = [(fact.fields["verb"], fact.fields["key"], fact.fields["argument"])]
        elif fact.kind in ("transaction-applied", "child-ended"):
            found = [
                (verb, key, json.loads(argument) if isinstance(argument, str) and argument else argument)
                for verb, key, argument in cast("list[tuple[str, str, object]]", fact.fields["operations"])
            ]
        else:
            continue
        for verb, key, argument in cast("list[tuple[str, str, object]]", found):
            if keys is not None and key not in keys:
                continue
            if verb == "update":
                text = argument[0] if isinstance(argument, tuple) else None
                yield "set", key, argument if text is None else json.loads(text)
            elif verb == "compare_and_set":
                yield "set", key, json.loads(cast("tuple[str, str]", argument)[1])
            elif verb in ("delete", "pop"):
                yield "set", key, None
                yield "delete", key, None
            else:
                yield verb, key, argument

"""A run's whole state as text and back: what a journal keeps as a snapshot, to shorten recovery.

What lives here: the only two functions that name every field of `RunState` besides `apply`; a property test holds them
to "load(dump(state)) goes on like state". What does not: when a snapshot is due (`_runtime.kernel`).
"""

from __future__ import annotations

import json
from collections import deque
from typing import TYPE_CHECKING, Final, cast

from .._ids import guest_call
from . import facts as f
from .apply_child import note_call
from .lifecycle import Ending, Phase, RunStatus, StepStatus
from .run_state import Activation, Armed, Batch, Call, Finished, Flow, Gate, Group, LogEntry, Queued, RunState
from .store_state import StoreState, Value

if TYPE_CHECKING:
    from .operations import Argument

VERSION: Final = 2
"""Written for whoever looks; version 1 lacks the last fields of some lists, and is read all the same."""

Row = list[object]

_SCALARS: Final = (
    "workflow_id", "version", "source", "prefix", "parent_id", "input", "headers", "fingerprint", "seq", "next_n",
    "output", "start_output", "reason", "started_at", "ended_at", "armed_count", "start_failed", "hook", "hook_step",
    "hook_ended", "path", "call", "merge", "open_calls", "running_calls",
)  # fmt: skip


def dump_state(state: RunState) -> str:
    """`state` as text."""
    document = {
        "v": VERSION,
        "scalars": [getattr(state, name) for name in _SCALARS],
        "phase": state.phase.value,
        "status": state.status.value,
        "ending": state.ending.value if state.ending else None,
        "store": _store(state.store),
        "armed": [_armed(item) for item in state.armed.values()],
        "batches": [_batch(batch) for batch in state.batches],
        "suspended": [_activation(item) for item in state.suspended.values()],
        "guests": [_activation(item) for item in state.guests.values()],
        "calls": [_call(call) for call in state.calls.values()],
        "own": state.own,
        "flow": _flow(state.flow),
        "live": [_activation(item) for item in state.live.values()],
        "done": list(state.done.values()),
        "dropped": [[_batch(item) if isinstance(item, Batch) else _armed(item), at] for item, at in state.dropped],
        "counts": {status.value: count for status, count in state.counts.items()},
        "keys": state.keys,
        "waits": {name: list(waiting) for name, waiting in state.waits.items()},
        "kept": {name: list(kept) for name, kept in state.kept.items()},
        "outputs": state.outputs,
        "failures": state.failures,
        "hook_error": state.hook_error,
        "gates": {step: [gate.keeps, *gate.starts] for step, gate in state.gates.items()},
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))


def load_state(run_id: str, text: str) -> RunState:
    """The state that `text` was dumped from. The caller has checked that the text is whole."""
    found = json.loads(text)
    state = RunState(run_id)
    for name, value in zip(_SCALARS, found["scalars"], strict=False):
        setattr(state, name, value)
    state.phase = Phase(found["phase"])
    state.status = RunStatus(found["status"])
    state.ending = Ending(found["ending"]) if found["ending"] else None
    state.store = _load_store(found["store"])
    for row in found["armed"]:
        item = _load_armed(row)
        state.armed[item.n] = item
    state.batches = [_load_batch(row) for row in found["batches"]]
    state.firsts = [batch.fact.first for batch in state.batches]
    for row in found["live"]:
        activation = _load_activation(row)
        state.live[activation.n] = activation
    for row in found.get("suspended", ()):
        activation = _load_activation(row)
        state.suspended[activation.n] = activation
    for row in found.get("guests", ()):
        activation = _load_activation(row)
        state.guests[activation.n] = activation
        state.guests_of.setdefault(guest_call(activation.n), []).append(activation.n)
    for row in found.get("calls", ()):
        _add_call(state, _load_call(row))
    own = found.get("own")
    if own is not None:
        state.own = [(verb, key, _load_argument(argument)) for verb, key, argument in own]
    state.flow = _load_flow(found.get("flow"))
    for row in found["done"]:
        state.done[row[0]] = cast("Finished", tuple(row))
    state.dropped = [(_load_batch(row) if row[0] == "b" else _load_armed(row), at) for row, at in found["dropped"]]
    state.counts = {StepStatus(status): count for status, count in found["counts"].items()}
    state.keys = found["keys"]
    state.waits = {name: deque(waiting) for name, waiting in found["waits"].items()}
    state.kept = {name: deque(kept) for name, kept in found["kept"].items()}
    state.outputs = found["outputs"]
    state.failures = found["failures"]
    state.hook_error = tuple(found["hook_error"]) if found["hook_error"] else None
    for step, (keeps, *starts) in found["gates"].items():
        live = sum(activation.step == step for activation in state.live.values())
        state.gates[step] = Gate(live=live, keeps=keeps, starts=deque(starts))
    state.timers = _queue(state)
    return state


def _queue(state: RunState) -> list[Queued]:
    """Every armed step by its due time: a sorted list is a heap."""
    entries: list[Queued] = []
    for n, item in state.armed.items():
        due = item.deadline if isinstance(item, f.WaitOpened) else item.due
        if due:
            entries.append((due, n, -1 if isinstance(item, Activation) else 0, item))
    entries.extend((batch.fact.due, batch.fact.first, 0, batch) for batch in state.batches)
    return sorted(entries, key=lambda entry: entry[:3])


def _store(store: StoreState) -> Row:
    values = [
        [key, value[0][: value[1]], value[2]] if isinstance(value, tuple) else [key, value]
        for key, value in store.values.items()
    ]
    return [store.bytes, store.writes, values, [[key, *meta] for key, meta in store.meta.items()]]


def _load_store(row: Row) -> StoreState:
    store = StoreState()
    store.bytes, store.writes = cast("int", row[0]), cast("int", row[1])
    store.undo_base = store.writes
    for key, value, *size in cast("list[list[object]]", row[2]):
        if isinstance(value, list):
            store.values[str(key)] = (value, len(value), cast("int", size[0]))
        else:
            store.values[str(key)] = cast("Value", value)
    for key, *meta in cast("list[list[object]]", row[3]):
        store.meta[str(key)] = cast("tuple[int, int, int, int]", tuple(meta))
    return store


def _armed(item: Armed) -> Row:
    if isinstance(item, f.StepScheduled):
        return ["s", item.at, item.n, item.step, item.payload, item.due, item.by, item.key]
    if isinstance(item, f.WaitOpened):
        return ["w", item.at, item.n, item.step, item.payload, item.event, item.deadline, item.on_timeout, item.by]
    return _activation(item)


def _load_armed(row: list[object]) -> Armed:
    tag, *rest = row
    fields = cast("list[str]", rest)  # positional, in the order of the record
    if tag == "s":
        return f.StepScheduled(*fields)  # type: ignore[arg-type]  # as dumped
    if tag == "w":
        return f.WaitOpened(*fields)  # type: ignore[arg-type]  # as dumped
    return _load_activation(row)


def _batch(batch: Batch) -> Row:
    fact = batch.fact
    return ["b", batch.index, fact.at, fact.first, fact.step, fact.payloads, fact.due, fact.by]


def _load_batch(row: list[object]) -> Batch:
    _, index, *fields = cast("list[int]", row)
    return Batch(f.StepsScheduled(*fields), index)  # type: ignore[arg-type]  # as dumped


def _call(call: Call) -> Row:
    return [
        call.n,
        call.by,
        call.workflow_id,
        call.status.value,
        call.output,
        call.error_type,
        call.message,
        call.unwanted,
    ]


def _load_call(row: list[str]) -> Call:
    n, by, workflow_id, status, output, error_type, message, unwanted = row
    return Call(int(n), int(by), workflow_id, RunStatus(status), output, error_type, message, bool(unwanted))


def _add_call(state: RunState, call: Call) -> None:
    state.calls[call.n] = call
    for steps in (state.live, state.suspended, state.armed):
        caller = steps.get(call.by)
        if isinstance(caller, Activation):
            note_call(caller, call.n)


_FLOW: Final = ("node", "name", "iteration", "stage", "data", "last", "current", "failed")
_GROUP: Final = ("first", "steps", "elements", "slots", "left", "succeeded", "failed", "closed", "enough")


def _flow(flow: Flow | None) -> Row | None:
    if flow is None:
        return None
    group = flow.group and [getattr(flow.group, name) for name in _GROUP]
    return [group, *(getattr(flow, name) for name in _FLOW)]


def _load_flow(row: Row | None) -> Flow | None:
    if row is None:
        return None
    group, *fields = row
    flow = Flow()
    for name, value in zip(_FLOW, fields, strict=True):
        setattr(flow, name, value)
    if group is not None:
        flow.group = Group(*cast("list[str]", group))  # type: ignore[arg-type]  # as dumped
    return flow


_ACTIVATION: Final = (
    "n", "step", "payload", "scheduled_at", "due", "attempt", "failures", "crashes", "started_at", "key", "event",
    "once", "error_type", "message", "interrupted", "call", "label", "note", "answers", "leg",
    "wakes",
)  # fmt: skip


def _activation(item: Activation) -> Row:
    fields = [getattr(item, name) for name in _ACTIVATION]
    named = item.named or {}
    return ["a", item.status.value, fields, item.log or [], [[name, *rest] for name, rest in named.items()]]


def _load_activation(row: list[object]) -> Activation:
    _, status, fields, log, named = row
    activation = Activation(0, "", "", 0.0)
    for name, value in zip(_ACTIVATION, cast("list[object]", fields), strict=False):
        setattr(activation, name, value)
    activation.status = StepStatus(status)
    for entry in cast("list[list[object]]", log):
        activation.remember(_load_entry(entry))
    for name, verb, key, reply in cast("list[list[str]]", named):
        activation.name(name, verb, key, reply)
    return activation


def _load_entry(entry: list[object]) -> LogEntry:
    verb, key, argument, reply = entry
    if verb == "transaction":
        operations = cast("list[list[object]]", argument)
        argument = [(str(v), str(k), _load_argument(a)) for v, k, a in operations]
    elif verb in ("extend", "compare_and_set", "update"):
        argument = _load_argument(argument)
    return str(verb), str(key), argument, reply


def _load_argument(argument: object) -> Argument:
    return tuple(argument) if isinstance(argument, list) else cast("Argument", argument)

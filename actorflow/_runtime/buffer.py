"""What a step with `commit="on_success"` has done so far, for itself alone.

What lives here: `Buffer`: a private copy of the keys that the step has written, the operations to apply with its
success, and the steps and events to send with it. What does not: applying them (`decide` does, as one change).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._core import commands as c
from .._core.apply_store import operate
from .._core.decide_store import decide_operation
from .._core.operations import VERBS, Argument, Operation
from .._core.run_state import RunState
from .._core.values import MISSING, Missing, decode

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._core.store_state import Value
    from .passes import Pass


class Buffer:
    """The unpublished work of one pass."""

    def __init__(self, owner: Pass) -> None:
        self._pass = owner
        self._actor = owner.actor
        self._n = owner.activation.n
        self._scratch = RunState(owner.actor.state.run_id)
        self._gone: set[str] = set()
        self.operations: list[Operation] = []
        self.marks: dict[str, int] = {}
        self.schedules: list[c.Schedule | c.ScheduleMany] = []
        self.emits: list[c.Emit] = []

    def knows(self, key: str) -> bool:
        """Whether this pass has written `key`."""
        return key in self._gone

    def value(self, key: str) -> Value | Missing:
        """The value of a key that this pass has written, as it sees it."""
        return self._scratch.store.values.get(key, MISSING)

    def over(self, values: dict[str, Value]) -> dict[str, Value]:
        """`values` with this pass's own writes on top."""
        for key in self._gone:
            value = self.value(key)
            if value is MISSING:
                values.pop(key, None)
            else:
                values[key] = value
        return values

    def _touch(self, key: str) -> None:
        """Copy a key before the first write: what others do to it later is not seen here."""
        if key in self._gone:
            return
        self._gone.add(key)
        value = self._actor.state.store.values.get(key, MISSING)
        if isinstance(value, tuple):
            items, length, size = value
            value = (items[:length], length, size)
        if value is not MISSING:
            self._scratch.store.values[key] = value
        reads = self._pass.reads
        if reads is not None and key in reads:
            self.marks[key] = reads[key]

    def write(self, verb: str, key: str, argument: Argument) -> object:
        """One verb, on the private copy; the reply as this pass sees it. Raises what the verb raises."""
        self._touch(key)
        plan = self._actor.plan
        fact = decide_operation(self._scratch, plan, 0.0, self._n, verb, key, argument, "", c.NO_MARK)
        if fact is None:
            return VERBS[verb].unchanged(self.value(key), argument)
        self.operations.append((verb, key, argument))
        return operate(self._scratch.store, self._n, verb, key, argument)

    def update(self, key: str, compute: Callable[[Value | Missing], tuple[str, str]]) -> object:
        """`update`: the function runs now, on what this pass sees."""
        self._touch(key)
        argument = compute(self.value(key))
        self.write("update", key, argument)
        return decode(argument[0])

    def transact(self, operations: list[Operation], marks: Mapping[str, int]) -> None:
        """Several verbs, all or nothing on the private copy too."""
        values, meta, count = dict(self._scratch.store.values), dict(self._scratch.store.meta), len(self.operations)
        try:
            for verb, key, argument in operations:
                self.write(verb, key, argument)
        except BaseException:
            self._scratch.store.values, self._scratch.store.meta = values, meta
            del self.operations[count:]
            raise
        self.marks.update({key: mark for key, mark in marks.items() if key not in self.marks})

    def schedule(self, command: c.Schedule) -> c.Schedule:
        """Arm a step with the success; the one that has its key already, if one has."""
        if command.key:
            for known in self.schedules:
                if isinstance(known, c.Schedule) and known.key == command.key:
                    return known
        self.schedules.append(command)
        return command

    def finish(self, output: str) -> c.FinishStep:
        """Everything, as the one command that publishes it with the step's success."""
        return c.FinishStep(self._n, output, self.operations, self.marks, self.schedules, self.emits)

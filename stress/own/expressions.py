"""What must hold of a run, written on the command line.

What lives here: reading and evaluating expressions over how a run ended. What does not: how runs end (`program`).
"""

from __future__ import annotations

import builtins
import json
from types import CodeType
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

if TYPE_CHECKING:
    from .program import Ended

__all__ = ["BadExpression", "Holds", "Same", "compiled"]

NAMES: Final = ("output", "state", "status", "failures", "counts", "input")
"""What an expression may speak of."""

BUILTINS: Final = {
    name: getattr(builtins, name)
    for name in (
        "abs all any bool dict enumerate float int isinstance len list max min range reversed round set sorted str sum "
        "tuple zip"
    ).split()
}


class BadExpression(ValueError):
    """The text is no expression, or speaks of something that is not there."""


@frozen
class Code:
    """An expression, ready to be evaluated."""

    text: str
    code: CodeType

    @property
    def speaks_of_state(self) -> bool:
        """Whether the state at the end is needed."""
        return "state" in self.code.co_names

    def value(self, ended: Ended) -> object:
        """Of one run."""
        found: object = eval(self.code, {"__builtins__": BUILTINS, **ended.names()})
        return found


def compiled(text: str) -> Code:
    """The expression; `BadExpression` names what is wrong with it."""
    try:
        code = compile(text.strip(), "<invariant>", "eval")
    except (SyntaxError, ValueError) as error:
        raise BadExpression(f"{text!r} is no expression: {error}; write such as \"state['count'] == 5\"") from error
    unknown = sorted(set(code.co_names) & {"open", "exec", "eval", "print"} | _unknown(code))
    if unknown:
        raise BadExpression(f"{text!r} speaks of {', '.join(unknown)}; it may speak of {', '.join(NAMES)}")
    return Code(text.strip(), code)


def _unknown(code: CodeType) -> set[str]:
    """Names that are looked up globally and are not there."""
    import dis

    looked_up = {str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_NAME", "LOAD_GLOBAL")}
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            looked_up |= _unknown(constant)
    return looked_up - set(NAMES) - set(BUILTINS)


class Holds:
    """An invariant: the expression is true."""

    def __init__(self, code: Code) -> None:
        self._code = code
        self.__name__ = f"`{code.text}`"

    def __call__(self, ended: Ended) -> object:
        """True, or a text that says what the names were."""
        if ended.is_late and self._code.speaks_of_state:
            return True  # it was over when it was taken up again: its state went with its end
        if self._code.value(ended):
            return True
        return f"it is {_shown(ended, self._code)}"


def _shown(ended: Ended, code: Code) -> str:
    names = ended.names()
    spoken = [name for name in NAMES if name in code.code.co_names or f"{name}" in code.text]
    parts = [f"{name} = {_short(names[name])}" for name in spoken]
    return "false with " + ", ".join(parts) if parts else "false"


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=repr)
    return text if len(text) <= 400 else f"{text[:400]}…"


@define(eq=False)
class Same:
    """An invariant: the expression has the same value in every schedule of one input."""

    code: Code
    _first: dict[str, tuple[object]] = field(factory=dict)
    __name__: str = ""

    def __attrs_post_init__(self) -> None:
        self.__name__ = f"`{self.code.text}` is the same in every schedule"

    def __call__(self, ended: Ended) -> object:
        """True, or a text that tells both values."""
        if ended.is_late and self.code.speaks_of_state:
            return True
        value = self.code.value(ended)
        (first,) = self._first.setdefault(_short(ended.plan), (value,))
        return value == first or f"it is {_short(value)} here and {_short(first)} in an earlier one"

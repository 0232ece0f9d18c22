"""Whether the data can go from one link of a graph to the next, as far as the declared types tell.

What lives here: `Link`, what a link wants and gives, and the comparison. What does not: where the types come from
(`graph_members`, `graph_compile`). Only what can never fit is a finding; the rest shows when it runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .._core.plan import Node
from . import kinds
from .places import Place

if TYPE_CHECKING:
    from .check import Findings

_SCALARS: Final[Mapping[object, str]] = {str: "text", int: "an integer", float: "a number", bool: "a bool"}


@frozen
class Want:
    """The data that a part of a link declares; `given` is what it gets, None for what comes to the link."""

    label: str
    kind: object | None
    given: object | None = None


@frozen(kw_only=True)
class Link:
    """One link of the chain with its types.

    `gives` is None where nothing is declared; `passes`: it gives what it gets.
    """

    place: Place
    node: Node
    wants: Sequence[Want] = ()
    gives: object | None = None
    passes: bool = False


def check_flow(run_input: object | None, links: Sequence[Link | None], findings: Findings) -> object | None:
    """Compare what each link gives with what the next one wants; returns what the last one gives.

    Args:
        run_input: the declared type of the run's input.
        links: None stands for one that is a finding already.
        findings: where the faults go.
    """
    current, giver = run_input, "the input"
    for link in links:
        if link is None:
            current = None
            continue
        for want in link.wants:
            own = want.given is not None
            text = clash(want.given if own else current, want.kind)
            if text:
                whose = "its own output" if own else f"the output of {giver}" if giver != "the input" else giver
                findings.add(link.place.where, f".{link.place.verb}: {want.label} gets {whose}, {text}")
        if not link.passes:
            current, giver = link.gives, link.node.name
    return current


def clash(given: object | None, wanted: object | None) -> str:
    """Why data of the one type can never be data of the other; "" if it may."""
    has, needs = _form(given), _form(wanted)
    if not has or not needs or (has, needs) == ("an integer", "a number"):
        return ""
    if has != needs:
        return f"which is {kinds.name_of(given)} ({has}), but wants {kinds.name_of(wanted)} ({needs})"
    if has == "a list" and clash(_item(given), _item(wanted)):
        return f"which is {kinds.name_of(given)}, but wants {kinds.name_of(wanted)}"
    return ""


def list_of(kind: object | None) -> object:
    """The type of a list of these; unknown ones make any list."""
    return list if kind is None else list[kind]  # type: ignore[valid-type]  # a hint that is a value here


def _form(kind: object | None) -> str:
    """What JSON carries data of this type as, where that is beyond doubt, else ""."""
    if kind is None:
        return ""
    inner = kinds.core(kind)
    if kinds.is_named_tuple(inner):
        return ""  # is read from an object, too
    if kinds.is_list(inner) or kinds.is_tuple(inner):
        return "a list"
    if kinds.is_mapping(inner) or kinds.is_record(inner):
        return "an object"
    return next((text for scalar, text in _SCALARS.items() if inner is scalar), "")


def _item(kind: object | None) -> object | None:
    """The type of the items of a list; None if it says nothing of them, or has items of several types."""
    found = () if kind is None else kinds.item_kinds(kind)
    return found[0] if len(found) == 1 and not kinds.is_anything(found[0]) else None

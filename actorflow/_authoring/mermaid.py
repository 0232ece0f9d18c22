"""A graph as the text of a Mermaid flowchart.

What lives here: shapes, edges and escaping. What does not: checking (a committed graph is sound), drawing.

Steps are boxes, workflows boxes with double sides, groups a pair of diamonds, maps slanted boxes, timers hexagons,
events flags. The same graph gives the same text, whatever the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final, cast

from attrs import define, field

from .._core.policies import Join, JoinKind
from .places import (
    Branch,
    DoUntil,
    DoWhile,
    ForEach,
    Hook,
    Map,
    Parallel,
    Place,
    Sleep,
    SleepUntil,
    Then,
    WaitForEvent,
    members_of,
    name_of,
    pairs_of,
)
from .step import Step

_ESCAPED: Final = {ord(sign): f"#{ord(sign)};" for sign in '#"&<>`\\'}
"""What would end a label, or be taken for markup; Mermaid reads `#34;` as the character of that number."""


def to_mermaid(places: Sequence[Place], hooks: Sequence[Hook]) -> str:
    """The text of a flowchart, from top to bottom."""
    chart = _Chart()
    chart.add("start", "([", "start", "])")
    exits: Sequence[_Exit] = [("start", "")]
    for number, place in enumerate(places, 1):
        exits = cast("_Draw", _DRAW[type(place)])(chart, place, f"n{number}", exits)
    chart.add("finish", "([", "end", "])")
    chart.join(exits, "finish")
    for hook in hooks:
        chart.add(hook.verb, "[", f"{hook.verb}: {name_of(hook.function)}", "]")
        chart.lines.append(f"finish -.-> {hook.verb}")
    return "\n    ".join(["flowchart TD", *chart.lines]) + "\n"


_Exit = tuple[str, str]
"""A node from which it goes on, and what stands at the edge."""


@define(eq=False)
class _Chart:
    lines: list[str] = field(factory=list)

    def add(self, node: str, left: str, label: str, right: str) -> None:
        self.lines.append(f'{node}{left}"{_escaped(label)}"{right}')

    def add_member(self, node: str, member: object) -> None:
        left, right = ("[", "]") if isinstance(member, Step) else ("[[", "]]")
        self.add(node, left, str(getattr(member, "id", "")), right)

    def join(self, exits: Sequence[_Exit], node: str) -> None:
        for origin, label in exits:
            self.edge(origin, node, label)

    def edge(self, origin: str, node: str, label: str = "") -> None:
        told = f'|"{_escaped(label)}"|' if label else ""
        self.lines.append(f"{origin} -->{told} {node}")


def _escaped(label: str) -> str:
    return label.translate(_ESCAPED)


_Draw = Callable[[_Chart, Place, str, Sequence[_Exit]], Sequence[_Exit]]


def _then(chart: _Chart, place: Then, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    chart.add_member(node, place.member)
    chart.join(exits, node)
    return [(node, "")]


def _parallel(chart: _Chart, place: Parallel, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    edges = [(member, "") for member in members_of(place)]
    return _group(chart, node, "parallel", edges, _join_text(place.join), exits)


def _branch(chart: _Chart, place: Branch, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    edges = [(member, name_of(condition)) for condition, member in pairs_of(place)]
    if place.otherwise is not None:
        edges.append((place.otherwise, "otherwise"))
    title = "branch: first match" if place.first_match else "branch"
    found = _group(chart, node, title, edges, "join", exits)
    if place.otherwise is None:
        chart.edge(node, f"{node}_join", "none holds")
    return found


def _foreach(chart: _Chart, place: ForEach, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    room = "all at once" if place.concurrency is None else f"{place.concurrency} at once"
    return _group(chart, node, "for each", [(place.member, room)], _join_text(place.join), exits)


def _group(
    chart: _Chart, node: str, title: str, edges: Sequence[tuple[object, str]], join: str, exits: Sequence[_Exit]
) -> Sequence[_Exit]:
    chart.add(node, "{", title, "}")
    chart.join(exits, node)
    for number, (member, _) in enumerate(edges, 1):
        chart.add_member(f"{node}_{number}", member)
    chart.add(f"{node}_join", "{", join, "}")
    for number, (_, label) in enumerate(edges, 1):
        chart.edge(node, f"{node}_{number}", label)
        chart.edge(f"{node}_{number}", f"{node}_join")
    return [(f"{node}_join", "")]


def _loop(chart: _Chart, place: DoWhile, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    chart.add_member(node, place.member)
    chart.join(exits, node)
    chart.add(f"{node}_again", "{", name_of(place.condition), "}")
    chart.edge(node, f"{node}_again")
    stay, leave = ("no", "yes") if isinstance(place, DoUntil) else ("yes", "no")
    chart.edge(f"{node}_again", node, stay)
    return [(f"{node}_again", leave)]


def _map(chart: _Chart, place: Map, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    told = ", ".join(map(str, place.shape)) if isinstance(place.shape, Mapping) else name_of(place.shape)
    chart.add(node, "[/", f"map: {told}", "/]")
    chart.join(exits, node)
    return [(node, "")]


def _sleep(chart: _Chart, place: Sleep, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    word = "sleep until" if isinstance(place, SleepUntil) else "sleep"
    chart.add(node, "{{", f"{word} {_time_text(place.until)}", "}}")
    chart.join(exits, node)
    return [(node, "")]


def _wait(chart: _Chart, place: WaitForEvent, node: str, exits: Sequence[_Exit]) -> Sequence[_Exit]:
    bound = "" if place.timeout is None else f", at most {_time_text(place.timeout)}"
    chart.add(node, ">", f"event {place.name}{bound}", "]")
    chart.join(exits, node)
    return [(node, "")]


_DRAW: Final[Mapping[type[Place], object]] = {
    Then: _then,
    Parallel: _parallel,
    Branch: _branch,
    ForEach: _foreach,
    DoWhile: _loop,
    DoUntil: _loop,
    Map: _map,
    Sleep: _sleep,
    SleepUntil: _sleep,
    WaitForEvent: _wait,
}


def _time_text(time: object) -> str:
    if callable(time):
        return name_of(time)
    if isinstance(time, datetime):
        return time.isoformat()
    if isinstance(time, timedelta):
        time = time.total_seconds()
    return f"{time:g} s" if isinstance(time, int | float) else str(time)


def _join_text(join: object) -> str:
    if not isinstance(join, Join):
        return ""
    if join.kind is JoinKind.FIRST:
        return f"first {join.count}"
    bounds = [text for text in _bounds(join) if text]
    return f"tolerate {', '.join(bounds)}" if bounds else join.kind.value


def _bounds(join: Join) -> Iterator[str]:
    if join.count is not None:
        yield f"{join.count}"
    if join.fraction is not None:
        yield f"{join.fraction:.4g} of them"

"""Line charts as SVG, drawn by hand: a report must open anywhere, with nothing to load.

What lives here: axes, lines, and the words for those who cannot see them. What does not: which charts there are
(`page`). Colours come from the page, so that they follow its light or dark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from math import ceil, floor, log10
from typing import Final

from attrs import frozen

WIDTH: Final = 640
HEIGHT: Final = 300
LEFT, RIGHT, TOP, BOTTOM = 78, 90, 16, 46

TICKS: Final = 5


@frozen
class Line:
    """One line of a chart."""

    name: str
    points: Sequence[tuple[float, float]]


@frozen(kw_only=True)
class Chart:
    """Lines over one axis.

    Args:
        id: unique in the page.
        title: what is seen.
        lines: at most four, or they cannot be told apart.
        across: the name of the horizontal axis.
        write_x: how a number of the horizontal axis is written.
        write_y: the same, upwards.
        log_x: whether each tick across is ten times the one before.
        log_y: the same, upwards; else the axis begins at 0.
    """

    id: str
    title: str
    lines: Sequence[Line]
    across: str
    write_x: Callable[[float], str]
    write_y: Callable[[float], str]
    log_x: bool = False
    log_y: bool = False


@frozen
class Axis:
    """From a value to its place between 0 and 1."""

    low: float
    high: float
    is_log: bool

    def place(self, value: float) -> float:
        """0 at the low end, 1 at the high one."""
        if self.is_log:
            return (log10(value) - log10(self.low)) / (log10(self.high) - log10(self.low))
        return (value - self.low) / (self.high - self.low)

    def ticks(self) -> list[float]:
        """Round values to write beside the axis."""
        if self.is_log:
            ends = range(round(log10(self.low)), round(log10(self.high)) + 1)
            return [10.0**power for power in ends]
        step = _round_step((self.high - self.low) / TICKS)
        return [step * place for place in range(ceil(self.low / step), floor(self.high / step + 1e-9) + 1)]


def _round_step(rough: float) -> float:
    power: float = 10.0 ** floor(log10(rough))
    return next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)


def axis(values: Sequence[float], *, is_log: bool) -> Axis:
    """An axis that shows all values: whole powers of ten, or from 0."""
    most = max(values)
    if is_log:
        low = floor(log10(min(values)))
        return Axis(10.0**low, 10.0 ** max(ceil(log10(most)), low + 1), is_log=True)
    step = _round_step(most / TICKS) if most > 0 else 1.0
    return Axis(0.0, step * max(1, ceil(most / step)), is_log=False)


def draw(chart: Chart) -> str:
    """The chart as an `<svg>` element, or nothing if it has no points.

    A logarithmic axis leaves out what is 0 or less.
    """
    lines = [Line(line.name, [point for point in line.points if _fits(chart, point)]) for line in chart.lines]
    lines = [line for line in lines if line.points]
    if not lines:
        return ""
    points = [point for line in lines for point in line.points]
    across = axis([x for x, _ in points], is_log=chart.log_x)
    up = axis([y for _, y in points], is_log=chart.log_y)
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-labelledby="{chart.id}-title {chart.id}-desc">',
        f'<title id="{chart.id}-title">{escape(chart.title)}</title>',
        f'<desc id="{chart.id}-desc">{escape(_words(chart, lines))}</desc>',
        *_grid(chart, across, up),
    ]
    ends: list[float] = []
    for place, line in enumerate(lines):
        spots = [(_x(across, x), _y(up, y)) for x, y in line.points]
        parts += _trace(chart, line, spots, place)
        ends.append(_free_height(spots[-1][1], ends))
        parts.append(
            f'<text class="line{place}" x="{WIDTH - RIGHT + 8}" y="{ends[-1] + 4:.1f}">{escape(line.name)}</text>'
        )
    return "".join([*parts, "</svg>"])


def _fits(chart: Chart, point: tuple[float, float]) -> bool:
    return (point[0] > 0 or not chart.log_x) and (point[1] > 0 or not chart.log_y)


def _words(chart: Chart, lines: Sequence[Line]) -> str:
    return ". ".join(
        f"{line.name}: " + ", ".join(f"{chart.write_y(y)} at {chart.write_x(x)}" for x, y in _some(line.points))
        for line in lines
    )


def _some(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    # A text of a thousand numbers helps nobody who listens to it.
    step = max(1, ceil(len(points) / 12))
    return [*points[:-1:step], points[-1]]


def _x(across: Axis, value: float) -> float:
    return LEFT + across.place(value) * (WIDTH - LEFT - RIGHT)


def _y(up: Axis, value: float) -> float:
    return HEIGHT - BOTTOM - up.place(value) * (HEIGHT - TOP - BOTTOM)


def _free_height(wanted: float, taken: Sequence[float]) -> float:
    # Names of lines that end close together would lie on each other.
    while any(abs(wanted - other) < 14 for other in taken):
        wanted -= 3
    return wanted


def _grid(chart: Chart, across: Axis, up: Axis) -> list[str]:
    right, bottom = WIDTH - RIGHT, HEIGHT - BOTTOM
    parts = []
    for tick in up.ticks():
        y = _y(up, tick)
        parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{escape(chart.write_y(tick))}</text>')
    for tick in across.ticks():
        x = _x(across, tick)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{bottom}"/>')
        parts.append(f'<text x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{escape(chart.write_x(tick))}</text>')
    middle = (LEFT + right) / 2
    parts.append(f'<text x="{middle:.1f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(chart.across)}</text>')
    return parts


def _trace(chart: Chart, line: Line, spots: Sequence[tuple[float, float]], place: int) -> list[str]:
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
    parts = [f'<polyline class="line{place}" points="{way}"/>']
    if len(spots) > 40:
        return parts
    for (x, y), (across, up) in zip(spots, line.points, strict=True):
        told = f"{line.name}: {chart.write_y(up)} at {chart.write_x(across)} {chart.across}"
        parts.append(
            f'<circle class="line{place}" cx="{x:.1f}" cy="{y:.1f}" r="4"><title>{escape(told)}</title></circle>'
        )
    return parts

"""Pictures of calls: one lane per branch, from left to right in the order of events.

What lives here: the same picture as text and as SVG. What does not: which calls to show (`linearizable`).
"""

from __future__ import annotations

from html import escape
from math import inf
from typing import TYPE_CHECKING, Final

from attrs import frozen

from .store_call import StoreCall

if TYPE_CHECKING:
    from collections.abc import Sequence

LABEL: Final = 60
"""Characters of a call that are written into its box of a picture; the tooltip has all."""

COLUMN: Final = 7.3
"""Pixels per character of 12 px monospace text."""

ROW: Final = 34
MARGIN: Final = 12

STYLE: Final = (
    ".lanes{font:12px ui-monospace,Menlo,Consolas,monospace;background:#fff}"
    ".lanes text{fill:#1b1f24}.lanes .lane{stroke:#d0d7de}.lanes rect{fill:#ddf4ff;stroke:#0969da}"
    ".lanes .open rect{fill:#f6f8fa;stroke:#6e7781;stroke-dasharray:5 3}"
    ".lanes .culprit rect{fill:#ffebe9;stroke:#cf222e;stroke-width:2}"
)


@frozen
class _Box:
    """Where a call is drawn, in columns of text, and in which row of its branch."""

    call: StoreCall
    label: str
    start: int
    end: int
    row: int


def _boxes(calls: Sequence[StoreCall], label: int | None = None) -> list[_Box]:
    shown = sorted(calls, key=lambda call: call.invoked)
    events = sorted({call.invoked for call in shown} | {call.returned for call in shown})
    labels = {id(call): _shorten(str(call), label) for call in shown}
    column: dict[float, int] = {}
    free = 0
    for event in events:
        ending = [column[call.invoked] + len(labels[id(call)]) + 2 for call in shown if call.returned == event]
        column[event] = max([free, *ending])
        free = column[event] + 2
    ends: dict[tuple[str, int], int] = {}
    boxes = []
    for call in shown:
        start, end, row = column[call.invoked], column[call.returned], 0
        while ends.get((call.branch, row), 0) > start:
            row += 1  # one branch may have several calls under way
        ends[call.branch, row] = end + 1
        boxes.append(_Box(call, labels[id(call)], start, end, row))
    return boxes


def _shorten(text: str, width: int | None) -> str:
    return text if width is None or len(text) <= width else f"{text[: width - 1]}…"


def draw(calls: Sequence[StoreCall]) -> str:
    """Lanes of text: `|increment('c', 1) = 3--|` reaches from the call to its answer."""
    lanes: dict[tuple[str, int], str] = {}
    for box in _boxes(calls):
        place = (box.call.branch, box.row)
        bar = box.label.ljust(box.end - box.start - 1, "-")
        lanes[place] = f"{lanes.get(place, ''):<{box.start}}|{bar}{'|' if box.call.returned != inf else '>'}"
    width = max((len(call.branch) for call in calls), default=0)
    return "\n".join(f"{branch:<{width}}  {lane}" for (branch, _), lane in sorted(lanes.items()))


def draw_svg(calls: Sequence[StoreCall], *, culprit: StoreCall | None = None, title: str = "") -> str:
    """The lanes as one `<svg>` element that needs nothing else: no script, no font, no file.

    `culprit` is marked; a call of unknown outcome has a dashed box. The tooltip of a box has the whole call.
    """
    boxes = _boxes(calls, LABEL)
    rows = sorted({(box.call.branch, box.row) for box in boxes})
    top = {place: MARGIN + number * ROW for number, place in enumerate(rows)}
    left = 2 * MARGIN + max((len(branch) for branch, _ in rows), default=0) * COLUMN
    width = left + max((box.end + 1 for box in boxes), default=0) * COLUMN + MARGIN
    height = 2 * MARGIN + len(rows) * ROW
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="lanes" role="img" width="{width:.0f}" height="{height}" '
        f'viewBox="0 0 {width:.0f} {height}">',
        f"<style>{STYLE}</style>",
    ]
    if title:
        parts.append(f"<title>{escape(title)}</title>")
    for (branch, row), y in top.items():
        middle = y + ROW / 2
        parts.append(f'<line class="lane" x1="{left:.1f}" y1="{middle}" x2="{width - MARGIN:.1f}" y2="{middle}"/>')
        if row == 0:
            parts.append(f'<text x="{MARGIN}" y="{middle + 4}">{escape(branch)}</text>')
    parts += [_svg_box(box, left, top[box.call.branch, box.row], culprit) for box in boxes]
    return "\n".join([*parts, "</svg>"])


def _svg_box(box: _Box, left: float, y: int, culprit: StoreCall | None) -> str:
    call = box.call
    kinds = ["call", *(["open"] if call.returned == inf else []), *(["culprit"] if call is culprit else [])]
    x, wide = left + box.start * COLUMN, (box.end - box.start) * COLUMN
    end = "outcome unknown" if call.returned == inf else f"answered at {call.returned:g}"
    tip = f"branch {call.branch}: {call}\ncalled at {call.invoked:g}, {end}"
    return (
        f'<g class="{" ".join(kinds)}"><title>{escape(tip)}</title>'
        f'<rect x="{x:.1f}" y="{y + 5}" width="{wide:.1f}" height="{ROW - 10}" rx="4"/>'
        f'<text x="{x + COLUMN:.1f}" y="{y + ROW / 2 + 4}">{escape(box.label)}</text></g>'
    )

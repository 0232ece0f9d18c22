"""How figures are shown: a table (with rich, if it is there, else plain), and JSON.

What lives here: text. What does not: measuring.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from .figures import Figure

PIPE_COLUMNS = 180
HEADS = ("", "what", "figure", "goal", "", "measured")


def show(figures: Sequence[Figure], versions: Mapping[str, str]) -> None:
    """Print the table, and what was measured on."""
    rows = [row(figure) for figure in figures]
    if find_spec("rich") is not None:
        _show_rich(rows)
    else:
        _show_plain(rows)
    print(" · ".join(f"{name} {version}" for name, version in versions.items()))


def row(figure: Figure) -> tuple[str, ...]:
    """One line of the table."""
    goal = "" if figure.goal is None else f"≤ {number(figure.goal)}"
    verdict = "" if figure.goal is None else ("met" if figure.is_met else "MISSED")
    unit = "" if figure.unit == "x" else f" {figure.unit}"
    return figure.id, figure.what, f"{number(figure.value)}{unit}", goal, verdict, figure.note


def number(value: float) -> str:
    """Two places, three below one tenth."""
    return f"{value:.3f}" if value < 0.1 else f"{value:.2f}"


def _show_rich(rows: Sequence[tuple[str, ...]]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for head in HEADS:
        justify: Literal["left", "right"] = "right" if head in ("figure", "goal") else "left"
        table.add_column(head, justify=justify, no_wrap=head not in ("what", "measured"))
    for line in rows:
        style = {"met": "green", "MISSED": "bold red"}.get(line[4], "")
        table.add_row(*(Text(cell, style=style if place == 4 else "") for place, cell in enumerate(line)))
    # A pipe has no width: long enough lines, so that a log shows one figure per line.
    console = Console()
    (console if console.is_terminal else Console(width=PIPE_COLUMNS)).print(table)


def _show_plain(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(len(line[place]) for line in [HEADS, *rows]) for place in range(len(HEADS))]
    for line in [HEADS, *rows]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def as_json(figures: Sequence[Figure], versions: Mapping[str, str], *, quick: bool) -> dict[str, object]:
    """Everything, for machines. `met` is null where there is no goal."""
    return {
        "schema": 1,
        "quick": quick,
        "versions": dict(versions),
        "figures": [
            {
                "id": one.id,
                "what": one.what,
                "value": one.value,
                "unit": one.unit,
                "goal": one.goal,
                "met": None if one.goal is None else one.is_met,
                "samples": list(one.samples),
                "note": one.note,
            }
            for one in figures
        ],
    }

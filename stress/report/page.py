"""The report as one page: a file that opens anywhere, with nothing to load and no script.

What lives here: the page, its style, and which charts it has. What does not: drawing charts (`charts`), the lanes of a
failing history, which come with the failure.
"""

from __future__ import annotations

import json
import re
from html import escape
from typing import TYPE_CHECKING, Final
from xml.etree import ElementTree

from .charts import Chart, Line, draw
from .figures import duration, number, size, tables
from .record import Verdict

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .figures import Table
    from .record import Failure, Report, Series

STYLE: Final = """
:root { color-scheme: light dark; --back: #fff; --text: #1c2024; --soft: #5b6470; --edge: #d5dae0; --box: #f5f7f9;
  --good: #14692f; --bad: #b3261e; --warn: #8a5300; --c0: #1a5fb4; --c1: #b0480c; --c2: #26743b; --c3: #813d9c }
@media (prefers-color-scheme: dark) { :root { --back: #16191d; --text: #e6e9ed; --soft: #9aa4b0; --edge: #383f47;
  --box: #20252b; --good: #6fcf8c; --bad: #ff8a80; --warn: #ffc26b; --c0: #78aeed; --c1: #ff9d5c; --c2: #6fcf8c;
  --c3: #d19be8 } }
body { margin: 2rem auto; max-width: 72rem; padding: 0 1rem; background: var(--back); color: var(--text);
  font: 1rem/1.5 system-ui, sans-serif }
h1 { font-size: 1.4rem } h2 { font-size: 1.15rem; margin-top: 2rem } h3 { font-size: 1rem }
.verdict { border-left: .4rem solid; padding: .4rem 1rem; background: var(--box) }
.verdict strong { text-transform: uppercase; margin-right: .5rem }
.good { color: var(--good) } .bad { color: var(--bad) } .warn { color: var(--warn) }
.verdict span { color: var(--text) }
.wide { overflow-x: auto }
.charts { display: grid; grid-template-columns: repeat(auto-fit, minmax(20rem, 1fr)); gap: 1rem }
figure { margin: 0 } figcaption, footer, .soft { color: var(--soft) }
table { border-collapse: collapse; margin: .5rem 0; font-variant-numeric: tabular-nums }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { padding: .2rem .8rem; border-bottom: 1px solid var(--edge); text-align: right; white-space: nowrap }
th:first-child, td:first-child { text-align: left; padding-left: 0 } thead th { color: var(--soft); font-weight: 500 }
pre { overflow-x: auto; padding: .6rem .8rem; background: var(--box); border: 1px solid var(--edge) }
svg { width: 100%; height: auto; max-width: 100%; color: var(--text) } svg text { fill: currentColor; font-size: 13px }
.charts svg .grid { stroke: var(--edge) } .charts svg polyline { fill: none; stroke-width: 2.5 }
.charts svg text.line0, circle.line0 { fill: var(--c0) } polyline.line0 { stroke: var(--c0) }
.charts svg text.line1, circle.line1 { fill: var(--c1) } polyline.line1 { stroke: var(--c1) }
.charts svg text.line2, circle.line2 { fill: var(--c2) } polyline.line2 { stroke: var(--c2) }
.charts svg text.line3, circle.line3 { fill: var(--c3) } polyline.line3 { stroke: var(--c3) }
"""

CLASSES: Final = {Verdict.OK: "good", Verdict.VIOLATED: "bad", Verdict.ERROR: "bad"}

FORBIDDEN: Final = {"script", "image", "foreignObject", "use", "iframe", "object", "a"}
"""SVG elements that run or load something."""


def html(report: Report) -> str:
    """One self-contained page: verdict, thresholds, charts, tables, and each failure with its lanes."""
    title = f"{report.command} {report.subject}".strip()
    body = [f"<h1>actorflow stress {escape(title)}</h1>", *_verdict(report), *_thresholds(report), *_charts(report)]
    found = list(tables(report))
    if found:
        body += ["<h2>Figures</h2>", *(_table(table) for table in found)]
    for place, failure in enumerate(report.failures, start=1):
        body += _failure(failure, place)
    body += [f'<p class="bad">error: {escape(error)}</p>' for error in report.errors]
    body += [_note(note) for note in report.notes]
    body += _foot(report)
    return "\n".join(
        [
            "<!DOCTYPE html>",
            '<html lang="en">',
            '<head><meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            # A browser holds the page to what it claims: nothing is loaded, nothing runs.
            "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
            f"<title>{escape(report.verdict.value)}: actorflow stress {escape(title)}</title>",
            f"<style>{STYLE}</style></head>",
            "<body><main>",
            *body,
            "</main></body>",
            "</html>\n",
        ]
    )


def _verdict(report: Report) -> Iterator[str]:
    kind = CLASSES.get(report.verdict, "warn")
    yield f'<p class="verdict {kind}"><strong>{escape(report.verdict.value)}</strong>'
    yield f"<span>{escape(report.reason)}</span></p>"


def _thresholds(report: Report) -> Iterator[str]:
    if not report.thresholds:
        return
    yield '<div class="wide"><table><caption>thresholds</caption><thead><tr><th scope="col">expected</th>'
    yield '<th scope="col">measured</th><th scope="col">met</th></tr></thead><tbody>'
    for one in report.thresholds:
        told = '<td class="good">met</td>' if one.is_met else '<td class="bad">MISSED</td>'
        yield f'<tr><th scope="row">{escape(one.text)}</th><td>{escape(one.shown)}</td>{told}</tr>'
    yield "</tbody></table></div>"


def _charts(report: Report) -> Iterator[str]:
    drawn = [(chart, draw(chart)) for chart in _load_charts(report)]
    drawn += [(chart, draw(chart)) for chart in map(_series_chart, report.series)]
    drawn = [(chart, svg) for chart, svg in drawn if svg]
    if not drawn:
        return
    yield '<h2>Charts</h2><div class="charts">'
    for chart, svg in drawn:
        yield f"<figure>{svg}<figcaption>{escape(chart.title)}</figcaption></figure>"
    yield "</div>"


def _load_charts(report: Report) -> Iterator[Chart]:
    if not report.rows:
        return
    rows = sorted(report.rows, key=lambda row: row.branches)
    yield Chart(
        id="throughput",
        title="Operations per second by number of branches",
        lines=[Line("ops/s", [(row.branches, row.rate) for row in rows])],
        across="branches",
        write_x=number,
        write_y=number,
        log_x=True,
    )
    shares = {"p50": 0.5, "p99": 0.99}
    lines = [
        Line(name, [(row.branches, row.latency.quantile(share)) for row in rows]) for name, share in shares.items()
    ]
    lines.append(Line("max", [(row.branches, row.latency.most_s) for row in rows]))
    yield Chart(
        id="latency",
        title="Latency by number of branches",
        lines=lines,
        across="branches",
        write_x=number,
        write_y=duration,
        log_x=True,
        log_y=True,
    )


def _series_chart(series: Series) -> Chart:
    return Chart(
        id="series-" + re.sub(r"\W+", "-", series.name),
        title=f"{series.name} over time",
        lines=[Line(series.name, series.points)],
        across="seconds",
        write_x=number,
        write_y=size if series.unit == "bytes" else number,
    )


def _table(table: Table) -> str:
    heads = "".join(f'<th scope="col">{escape(head)}</th>' for head in table.heads)
    lines = [
        f'<tr><th scope="row">{escape(first)}</th>{"".join(f"<td>{escape(cell)}</td>" for cell in rest)}</tr>'
        for first, *rest in table.lines
    ]
    caption = f"<caption>{escape(table.title)}</caption>"
    inner = f"{caption}<thead><tr>{heads}</tr></thead><tbody>{''.join(lines)}</tbody>"
    return f'<div class="wide"><table>{inner}</table></div>'


def _failure(failure: Failure, place: int) -> Iterator[str]:
    yield f'<section><h2 class="bad">Failure {place}</h2><p>{escape(failure.sentence)}</p>'
    origin = {"seed": failure.seed, "policy": failure.policy or None, **failure.options}
    told = ", ".join(f"{name} {value}" for name, value in origin.items() if value is not None)
    yield f'<p class="soft">{escape(told)}</p>' if told else ""
    drawing = safe_svg(failure.lanes_svg)
    if drawing:
        yield f'<figure><div class="wide">{drawing}</div>'
        yield "<figcaption>the calls that matter, one lane per branch</figcaption></figure>"
    if failure.lanes:
        yield f"<details{'' if drawing else ' open'}><summary>the calls as text</summary>"
        yield f"<pre>{escape(failure.lanes)}</pre></details>"
    for name, value in (("plan", failure.plan), ("context switches", failure.switches)):
        if value is not None:
            text = json.dumps(value, ensure_ascii=False, indent=1, default=str)
            yield f"<h3>{name}</h3><pre>{escape(text)}</pre>"
    if failure.command:
        yield f"<h3>repeat it with</h3><pre>{escape(failure.command)}</pre>"
    yield "</section>"


def safe_svg(drawing: str) -> str:
    """The drawing, if it is one that neither runs nor loads anything; else nothing, and the text of the lanes stands.

    Keys and values of the user are in it: one that was not escaped must not break the page.
    """
    try:
        root = ElementTree.fromstring(drawing)
    except ElementTree.ParseError:
        return ""
    if _bare(root.tag) != "svg":
        return ""
    for element in root.iter():
        names = {_bare(name) for name in element.attrib}
        if _bare(element.tag) in FORBIDDEN or "href" in names or any(name.startswith("on") for name in names):
            return ""
    return drawing


def _bare(name: str) -> str:
    return name.rpartition("}")[2]


def _note(note: str) -> str:
    return f"<pre>{escape(note)}</pre>" if "\n" in note else f'<p class="soft">{escape(note)}</p>'


def _foot(report: Report) -> Iterator[str]:
    known = {"seed": report.seed, "seconds": f"{report.seconds:.1f}"}
    known |= {"peak memory": size(report.peak_bytes)} if report.peak_bytes else {}
    lines = {**known, **report.versions, **{f"--{name}": value for name, value in report.arguments.items()}}
    told = " · ".join(f"{name} {value}" for name, value in lines.items() if value is not None)
    yield f"<footer><p>{escape(told)}</p></footer>"

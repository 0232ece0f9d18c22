"""The report of the stress tool: verdict and exit code, and its three forms."""

from __future__ import annotations

import io
import json
import math
import random
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from attrs import evolve

from stress.report import (
    Failure,
    Histogram,
    Invariant,
    LoadRow,
    Report,
    Series,
    Threshold,
    Verdict,
    deliver,
    exit_code,
    html,
    human,
    to_json,
)
from stress.report.charts import Chart, Line, axis, draw
from stress.report.histogram import GROWTH, histogram_from_json
from stress.report.live import LOG_EVERY_S, Live
from stress.report.page import safe_svg

GOOD = Report(command="run", subject="aggregate", seed=7, invariants=(Invariant(name="I1", checked=10),))
VIOLATED = Invariant(name="I2 nothing is lost", checked=10, violated=1)
UNDECIDED = Invariant(name="I1", checked=10, undecided=1)
MISSED = Threshold(text="p99<20ms", is_met=False, shown="31 ms at 10 branches")
MET = Threshold(text="ops/s>15000", is_met=True, shown="20,000 at 10 branches")
SVG = '<svg xmlns="http://www.w3.org/2000/svg"><text>push("a", 1)</text></svg>'
FAILURE = Failure(
    sentence='branch 0 read <c1> = None although branch 1 had been told "1"',
    seed=3,
    policy="pct2",
    options={"mailbox": 1},
    plan=[{"branch": 0, "ops": ["<get>"]}, {"branch": 1, "ops": ["set \udc80"]}],
    switches={"4": 1},
    lanes="0  |get = None|\n1 |set|",
    lanes_svg=SVG,
    command="python -m stress replay repro.json",
)


def latencies(*seconds: float) -> Histogram:
    """A histogram of these."""
    made = Histogram()
    for one in seconds:
        made.add(one)
    return made


ROWS = tuple(
    LoadRow(
        branches=branches,
        operations=1000,
        seconds=0.1 * branches,
        latency=latencies(0.001 * branches, 0.002, 0.5),
        peak_bytes=50 << 20,
        bytes_per_branch=4096 if branches > 10 else None,
        details={"commits": 12},
    )
    for branches in (10, 100, 1000)
)
FULL = evolve(
    GOOD,
    arguments={"seeds": 100},
    versions={"python": "3.11", "trio": "0.35"},
    totals={"seeds": 100, "operations": 1000},
    policies={"random": {"schedules": 50}, "pct2": {"schedules": 50, "failures": 1}},
    invariants=(GOOD.invariants[0], VIOLATED),
    sometimes={"mailbox full": 3},
    latency=latencies(0.001, 0.002),
    rows=ROWS,
    series=(Series(name="open files", points=((0.0, 7.0), (1.0, 7.0))),),
    peak_bytes=60 << 20,
    thresholds=(MET, MISSED),
    failures=(FAILURE,),
    notes=("measured on a busy machine",),
)


@pytest.mark.parametrize(
    ("changes", "verdict", "code"),
    [
        ({}, Verdict.OK, 0),
        ({"thresholds": (MET,)}, Verdict.OK, 0),
        ({"thresholds": (MET, MISSED)}, Verdict.MISSED, 3),
        ({"invariants": ()}, Verdict.UNDECIDED, 2),
        ({"invariants": (Invariant(name="I1", checked=0),)}, Verdict.UNDECIDED, 2),
        ({"invariants": (UNDECIDED,), "thresholds": (MISSED,)}, Verdict.UNDECIDED, 2),
        ({"sometimes": {"a": 9, "b": 10}, "sometimes_least": 10}, Verdict.UNDECIDED, 2),
        ({"sometimes": {"b": 10}, "sometimes_least": 10}, Verdict.OK, 0),
        ({"errors": ("no disk",), "is_interrupted": True}, Verdict.ERROR, 2),
        ({"is_interrupted": True, "invariants": ()}, Verdict.INTERRUPTED, 130),
        ({"invariants": (VIOLATED, UNDECIDED), "is_interrupted": True, "errors": ("x",)}, Verdict.VIOLATED, 1),
        ({"failures": (FAILURE,), "thresholds": (MISSED,)}, Verdict.VIOLATED, 1),
    ],
)
def test_the_verdict_is_the_worst_of_all(changes: dict[str, object], verdict: Verdict, code: int) -> None:
    """A violation outweighs errors, these outweigh what is undecided, and a missed threshold counts last."""
    report = evolve(GOOD, **changes)
    assert (report.verdict, exit_code(report)) == (verdict, code)
    assert report.reason


def test_the_human_report_keeps_its_order() -> None:
    """Verdict, thresholds, figures, policies, invariants, then the failure with its plan, lanes and command."""
    shown = human(FULL)
    marks = [
        "VIOLATED  run aggregate: branch 0 read",
        "met     ops/s>15000",
        "MISSED  p99<20ms",
        "branches  operations",
        "totals",
        "policy",
        "I2 nothing is lost",
        "mailbox full",
        "FAILURE 1 (seed 3, policy pct2)",
        "plan:",
        "context switches:",
        "|get = None|",
        "repeat it with: python -m stress replay repro.json",
        "measured on a busy machine",
        "trio 0.35",
    ]
    places = [shown.find(mark) for mark in marks]
    assert -1 not in places
    assert places == sorted(places)
    assert not any(line != line.rstrip() for line in shown.splitlines())


def test_only_the_first_failures_are_shown_in_full() -> None:
    """Five failures are three in the text, and all in the JSON."""
    report = evolve(GOOD, failures=(FAILURE,) * 5)
    assert human(report).count("FAILURE ") == 3
    assert "2 more failures" in human(report)
    failures = to_json(report)["failures"]
    assert isinstance(failures, list)
    assert len(failures) == 5


def test_the_json_has_every_field_and_is_json() -> None:
    """What was put in comes out again, and an empty report has the same keys."""
    found = json.loads(json.dumps(to_json(FULL)))
    assert (found["schema"], found["verdict"], found["exit_code"], found["seed"]) == (1, "violated", 1, 7)
    assert found["invariants"]["I2 nothing is lost"] == {"checked": 10, "violated": 1, "undecided": 0}
    assert found["policies"]["pct2"] == {"schedules": 50, "failures": 1}
    assert [row["branches"] for row in found["rows"]] == [10, 100, 1000]
    assert found["rows"][1]["ops_per_s"] == pytest.approx(100)
    assert found["rows"][0]["bytes_per_branch"] is None
    assert found["thresholds"][1] == {"text": "p99<20ms", "met": False, "shown": "31 ms at 10 branches"}
    assert found["failures"][0]["plan"] == FAILURE.plan
    assert found["failures"][0]["command"] == FAILURE.command
    assert sum(bucket["count"] for bucket in found["latency"]["buckets"]) == 2
    assert to_json(Report(command="crash")).keys() == found.keys()


VOID = {"meta", "br"}


class Page(HTMLParser):
    """Reads a page strictly: every element is closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_well_formed_and_loads_nothing() -> None:
    """Every element closes, ids are unique and lead somewhere, and nothing points outside the file."""
    text = html(FULL)
    page = Page(text)
    assert page.open == []
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object"}
    assert not [attrs for _, attrs in page.tags if {"src", "href", "onload", "onclick"} & set(attrs)]
    assert "url(" not in text
    assert "@import" not in text
    ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    labels = [name for _, attrs in page.tags for name in (attrs.get("aria-labelledby") or "").split()]
    assert labels
    assert set(labels) <= set(ids)
    assert "prefers-color-scheme: dark" in text


def test_the_page_tells_everything_that_the_text_tells() -> None:
    """Verdict, thresholds, tables, charts with words for them, the failure with its lanes drawn and as text."""
    page = Page(html(FULL))
    words = " ".join(page.words)
    for told in ("violated", "p99<20ms", "31 ms at 10 branches", "I2 nothing is lost", "pct2", FAILURE.sentence):
        assert told in words
    assert FAILURE.command in words
    assert "|get = None|" in words
    assert 'push("a", 1)' in words
    charts = [attrs for tag, attrs in page.tags if tag == "svg" and attrs.get("role") == "img"]
    assert len(charts) == 3
    assert "Operations per second by number of branches" in words
    assert "ops/s: 1,000 at 10, 100 at 100, 10 at 1,000" in words
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")


@pytest.mark.parametrize(
    "drawing",
    [
        "",
        "<svg><text>a</svg>",
        "<svg><text>a & b</text></svg>",
        "<p>no drawing</p>",
        "<svg><script>alert(1)</script></svg>",
        '<svg onload="alert(1)"/>',
        '<svg xmlns:x="http://www.w3.org/1999/xlink"><g x:href="file"/></svg>',
        '<svg><image href="http://a"/></svg>',
    ],
)
def test_a_drawing_that_could_break_the_page_stays_out(drawing: str) -> None:
    """What is no SVG, or runs or loads something, is left out, and the lanes stand there as open text."""
    assert safe_svg(drawing) == ""
    page = Page(html(evolve(GOOD, failures=(evolve(FAILURE, lanes_svg=drawing),))))
    assert ("details", {"open": None}) in page.tags
    assert page.open == []


def test_a_drawing_is_taken_as_it_is() -> None:
    """A harmless SVG goes into the page unchanged."""
    assert safe_svg(SVG) == SVG
    assert SVG in html(FULL)


def chart(*points: tuple[float, float], log: bool = False) -> Chart:
    """A chart of one line."""
    line = [Line("a & b", points)]
    return Chart(id="c", title="t", lines=line, across="x", write_x=str, write_y=str, log_x=log, log_y=log)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("points", [[(1.0, 5.0)], [(1.0, 1.0), (1000.0, 1e6)], [(3.0, 0.0), (4.0, 0.0), (5.0, 2.5)]])
def test_a_chart_stays_within_its_frame(points: list[tuple[float, float]], log: bool) -> None:
    """One point, equal points, zeros, many powers of ten: well-formed, and nothing is drawn outside."""
    root = ElementTree.fromstring(draw(chart(*points, log=log)))
    line = next(one for one in root.iter() if one.tag == "polyline")
    spots = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert len(spots) == len([y for _, y in points if y > 0 or not log])
    assert all(0 <= x <= 640 and 0 <= y <= 300 for x, y in spots)
    assert all(math.isfinite(number) for spot in spots for number in spot)


def test_a_chart_without_points_is_none() -> None:
    """Nothing to draw is no empty frame."""
    assert draw(chart()) == ""
    assert draw(chart((0.0, 1.0), log=True)) == ""


def test_axes_have_round_ticks() -> None:
    """The ticks of a plain axis are steps of 1, 2 or 5, those of a logarithmic one powers of ten."""
    assert axis([0, 24_900], is_log=False).ticks() == [0, 5_000, 10_000, 15_000, 20_000, 25_000]
    assert axis([10, 10_000], is_log=True).ticks() == [10, 100, 1_000, 10_000]
    assert axis([0.0], is_log=False).ticks()[0] == 0


def test_quantiles_are_right_within_the_width_of_a_bucket() -> None:
    """Against sorted samples over six powers of ten no quantile is off by more than 4 %."""
    chance = random.Random(3)
    samples = sorted(10 ** chance.uniform(-6, 0.5) for _ in range(5_000))
    found = latencies(*samples)
    for share in (0.001, 0.25, 0.5, 0.9, 0.99, 0.999, 1.0):
        exact = samples[max(0, math.ceil(share * len(samples)) - 1)]
        assert exact / GROWTH <= found.quantile(share) <= exact * GROWTH
    assert (found.least_s, found.most_s) == (samples[0], samples[-1])
    assert found.mean_s == pytest.approx(sum(samples) / len(samples))


def test_a_histogram_survives_json_and_merging() -> None:
    """Two halves, written, read and merged, are the whole; the extremes have a bucket, too."""
    samples = [0.0, 1e-9, 1e-7, 3e-4, 0.02, 1e9]
    whole = latencies(*samples)
    half = histogram_from_json(json.loads(json.dumps(latencies(*samples[:3]).as_json())))
    half.merge(histogram_from_json(latencies(*samples[3:]).as_json()))
    half.merge(histogram_from_json(Histogram().as_json()))
    assert half.as_json() == whole.as_json()
    assert (whole.least_s, whole.most_s, whole.total) == (0.0, 1e9, 6)
    assert whole.quantile(0.5) <= 1e-7 < whole.quantile(0.6)
    assert Histogram().quantile(0.5) == 0.0


def test_delivery_writes_what_was_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The text goes to stdout, the files hold the other forms, and the exit code is that of the report."""
    json_file, html_file = tmp_path / "r.json", tmp_path / "r.html"
    assert deliver(FULL, json_file=json_file, html_file=html_file) == 1
    assert capsys.readouterr().out.startswith("VIOLATED")
    assert json.loads(json_file.read_text(encoding="utf-8"))["verdict"] == "violated"
    assert html_file.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")


def test_a_file_that_cannot_be_written_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A good campaign whose JSON is nowhere ends with 2, a violated one still with 1."""
    assert deliver(GOOD, json_file=tmp_path / "no" / "r.json") == 2
    assert "cannot be written" in capsys.readouterr().err
    assert deliver(FULL, json_file=tmp_path / "no" / "r.json") == 1


class Screen(io.StringIO):
    """A terminal, or a file."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self.terminal = terminal

    def isatty(self) -> bool:
        return self.terminal


@pytest.mark.parametrize(
    ("terminal", "expected"),
    [(True, "\r\x1b[Kat 0\r\x1b[Kat 4\r\x1b[Kat 6\r\x1b[K"), (False, f"at {LOG_EVERY_S + 1:.0f}\n")],
)
def test_the_live_display_rewrites_a_line_or_logs_now_and_then(terminal: bool, expected: str) -> None:
    """On a terminal it is one line that is taken away at last, elsewhere a line every few seconds."""
    screen = Screen(terminal=terminal)
    now = [0.0]
    live = Live(screen, lambda: now[0])
    for now[0] in (0.0, 0.01, 4.0, 6.0):
        live.show(f"at {now[0]:.0f}")
    live.clear()
    assert screen.getvalue() == expected

"""The diagram of a graph."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest

from actorflow import (
    ALL,
    DRAIN,
    Join,
    Workflow,
    constant,
    first,
    step,
    tolerate,
    workflow,
)
from actorflow._authoring.builder import GraphBuilder

NODE = r'\w+(?:\(\[".*"\]\)|\[\[".*"\]\]|\[/".*"/\]|\{\{".*"\}\}|\{".*"\}|>".*"\]|\[".*"\])'
EDGE = r'(\w+) (?:-->|-\.->)(?:\|"[^"]*"\|)? (\w+)'


@step
async def fetch(data, ctx):
    """A step."""
    return data


@step
async def score(data, ctx):
    """Another one."""
    return data


class Child(Workflow):
    async def start(self, data, ctx): ...


INNER = workflow("inner").then(fetch).commit()


def is_ready(data, ctx):
    """A condition."""
    return True


async def tell(ctx):
    """A hook."""


def drawn(builder: GraphBuilder) -> list[str]:
    """The lines of the diagram, the heading aside; each is a node or an edge between nodes that are there."""
    heading, *lines = builder.commit().to_mermaid().splitlines()
    assert heading == "flowchart TD"
    lines = [line.removeprefix("    ") for line in lines]
    nodes: set[str] = set()
    for line in lines:
        assert re.fullmatch(NODE, line) or re.fullmatch(EDGE, line), line
        if re.fullmatch(NODE, line):
            nodes.add(re.split(r"\W", line)[0])
    for line in lines:
        if edge := re.fullmatch(EDGE, line):
            assert set(edge.groups()) <= nodes
    return lines


def test_a_chain() -> None:
    """Steps are boxes, workflows have double sides."""
    assert drawn(workflow("x").then(fetch).then(Child).then(INNER)) == [
        'start(["start"])',
        'n1["fetch"]',
        "start --> n1",
        'n2[["Child"]]',
        "n1 --> n2",
        'n3[["inner"]]',
        "n2 --> n3",
        'finish(["end"])',
        "n3 --> finish",
    ]


@pytest.mark.parametrize(
    ("join", "text"),
    [
        (ALL, "all"),
        (DRAIN, "drain"),
        (first(2), "first 2"),
        (tolerate(count=1), "tolerate 1"),
        (tolerate(count=3, fraction=0.25), "tolerate 3, 0.25 of them"),
    ],
)
def test_a_parallel_forks_and_joins(join: Join, text: str) -> None:
    """The join says what it waits for."""
    assert drawn(workflow("x").parallel([fetch, Child], join))[1:-2] == [
        'n1{"parallel"}',
        "start --> n1",
        'n1_1["fetch"]',
        'n1_2[["Child"]]',
        f'n1_join{{"{text}"}}',
        "n1 --> n1_1",
        "n1_1 --> n1_join",
        "n1 --> n1_2",
        "n1_2 --> n1_join",
    ]


def test_a_branch_names_its_conditions() -> None:
    """Also that none holds, unless there is an `otherwise`."""
    lines = drawn(workflow("x").branch([(is_ready, fetch), (lambda data, ctx: True, score)]))
    assert 'n1{"branch"}' in lines
    assert 'n1 -->|"is_ready"| n1_1' in lines
    assert 'n1 -->|"#60;lambda#62;"| n1_2' in lines
    assert 'n1 -->|"none holds"| n1_join' in lines
    lines = drawn(workflow("x").branch([(is_ready, fetch)], score, first_match=True))
    assert 'n1{"branch: first match"}' in lines
    assert 'n1 -->|"otherwise"| n1_2' in lines
    assert not any("none holds" in line for line in lines)


def test_a_foreach_says_how_many_at_once() -> None:
    """A number, or no bound."""
    assert 'n1 -->|"3 at once"| n1_1' in drawn(workflow("x").foreach(fetch, concurrency=3))
    assert 'n1 -->|"all at once"| n1_1' in drawn(workflow("x").foreach(fetch, concurrency=None))


def test_loops_lead_back() -> None:
    """`do_while` when the condition holds, `do_until` when it does not."""
    lines = drawn(workflow("x").do_while(fetch, is_ready).do_until(score, is_ready))
    assert lines[1:] == [
        'n1["fetch"]',
        "start --> n1",
        'n1_again{"is_ready"}',
        "n1 --> n1_again",
        'n1_again -->|"yes"| n1',
        'n2["score"]',
        'n1_again -->|"no"| n2',
        'n2_again{"is_ready"}',
        "n2 --> n2_again",
        'n2_again -->|"no"| n2',
        'finish(["end"])',
        'n2_again -->|"yes"| finish',
    ]


def test_timers_events_and_maps_have_shapes_of_their_own() -> None:
    """With what they wait for."""
    lines = drawn(
        workflow("x")
        .map({"a": constant(1), "b": constant(2)})
        .map(is_ready)
        .sleep(90)
        .sleep("5 minutes")
        .sleep(timedelta(hours=1))
        .sleep(is_ready)
        .sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
        .wait_for_event("approved")
        .wait_for_event("paid", timeout="1 day")
    )
    assert [line for line in lines if "-->" not in line][1:-1] == [
        'n1[/"map: a, b"/]',
        'n2[/"map: is_ready"/]',
        'n3{{"sleep 90 s"}}',
        'n4{{"sleep 5 minutes"}}',
        'n5{{"sleep 3600 s"}}',
        'n6{{"sleep is_ready"}}',
        'n7{{"sleep until 2030-01-01T00:00:00+00:00"}}',
        'n8>"event approved"]',
        'n9>"event paid, at most 1 day"]',
    ]


def test_hooks_hang_at_the_end() -> None:
    """With the names of their functions."""
    lines = drawn(workflow("x").then(fetch).on_complete(tell))
    assert lines[-2:] == ['on_complete["on_complete: tell"]', "finish -.-> on_complete"]


@pytest.mark.parametrize("sign", ['"', "#", "<", ">", "&", "`", "\\"])
def test_ids_are_escaped(sign: str) -> None:
    """No id can end its label or become markup."""
    odd = step(id=f"a{sign}b")(is_ready)
    assert f'n1["a#{ord(sign)};b"]' in drawn(workflow("x").then(odd))


def test_the_same_graph_gives_the_same_text() -> None:
    """Committed twice, drawn twice."""
    builder = workflow("x").parallel([fetch, score]).do_while(fetch, is_ready)
    graph = builder.commit()
    assert graph.to_mermaid() == graph.to_mermaid() == builder.commit().to_mermaid()

"""What is run while processes die: the programs of docs/examples, with made-up input, and how their ends are judged.

What lives here: `Job` and the two of them. What does not: running them (`worker`).
"""

from __future__ import annotations

import importlib.util
import random
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, cast

import attrs
from attrs import frozen

from actorflow import Workflow

if TYPE_CHECKING:
    from types import ModuleType

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"

FILES = 60
"""Files of the tree that a census counts."""

LINE_ITEMS = 40
"""Lines of an order: some are refused at first, some are gone for good, some cannot be ordered."""


class NoExamples(Exception):
    """The example programs are not here."""


@frozen
class Finding:
    """What became of the items of one run."""

    checked: int
    lost: int
    doubled: int
    differences: tuple[str, ...] = ()


@frozen
class Job:
    """One program: its workflow, its input, and which items its end should account for.

    `items` gives, from the output and the final run store, how often each item was counted.
    """

    name: str
    workflow: type[Workflow]
    input: object
    items: Callable[[Mapping[str, object], Mapping[str, object]], Counter[str]]


@cache
def example(name: str) -> ModuleType:
    """A program of docs/examples as a module."""
    path = EXAMPLES / f"{name}.py"
    if not path.is_file():
        raise NoExamples(
            "the kill loop runs the programs of docs/examples, which are not installed with the package; "
            "run it from the source tree of actorflow"
        )
    full_name = f"stress_examples_{name}"
    spec = importlib.util.spec_from_file_location(full_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[full_name] = module  # attrs and the annotations of steps look it up there
    spec.loader.exec_module(module)
    return module


def jobs(names: list[str], folder: Path) -> list[Job]:
    """The jobs of these names; `folder` is for their files."""
    makers = {"census": census, "orders": orders}
    return [makers[name](folder) for name in names]


def _kept(workflow: type[Workflow]) -> type[Workflow]:
    """The workflow, with a run store that can be read after the end: item by item, not by totals alone."""
    return type(
        workflow.__name__, (workflow,), {"keep_state": True, "__module__": __name__, "__doc__": workflow.__doc__}
    )


def census(folder: Path) -> Job:
    """A census of a tree of small files."""
    root = folder / "tree"
    if not root.exists():
        dice = random.Random("census")
        for number in range(FILES):
            path = root / f"{number % 5}" / f"{number}.{dice.choice(['py', 'txt', 'md'])}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"line\n" * dice.randrange(100))

    def items(output: Mapping[str, object], state: Mapping[str, object]) -> Counter[str]:
        counts: Counter[str] = Counter()
        for key in ("files", "folders"):  # each once; lines, bytes and digests are compared as they are
            found = output[key]
            assert isinstance(found, int)
            counts[key] = found
        return counts

    return Job("census", _kept(example("census").CodeCensus), {"root": str(root)}, items)


def orders(folder: Path) -> Job:
    """An order with many lines."""
    dice = random.Random("orders")
    lines = []
    for number in range(LINE_ITEMS):
        gone = dice.random() < 0.1
        lines.append(
            {
                "id": f"L{number}",
                "sku": f"{'GONE-' if gone else 'SKU-'}{number}",
                "quantity": dice.choice([0, 1, 1, 2, 5]),
                "price_cents": dice.randrange(1, 10_000),
            }
        )
    order = {"id": "order", "customer": {"id": "C-1"}, "line_items": lines}

    def items(output: Mapping[str, object], state: Mapping[str, object]) -> Counter[str]:
        results = state["results"]
        assert isinstance(results, list)
        counts = Counter(f"item {result['id']}" for result in results)
        for key in ("rejected", "failed"):
            found = output[key]
            assert isinstance(found, int)
            counts[key] = found
        return counts

    return Job("orders", _kept(example("orders").OrderImport), order, items)


def judge(
    job: Job,
    expected: tuple[Mapping[str, object], Mapping[str, object]],
    found: tuple[Mapping[str, object], Mapping[str, object]],
) -> Finding:
    """Compare the output and the run store of a run with those of one that nobody interrupted.

    Raises nothing for what it finds. Order is no difference: branches end in any order.
    """
    wanted, had = job.items(*expected), job.items(*found)
    lost, doubled = (wanted - had).total(), (had - wanted).total()
    differences = [
        f"{where} {key!r}: {str(one.get(key))[:200]} instead of {str(other.get(key))[:200]}"
        for where, other, one in (("output", expected[0], found[0]), ("store", expected[1], found[1]))
        for key in sorted({*other, *one})
        if _canonical(one.get(key)) != _canonical(other.get(key))
    ]
    return Finding(wanted.total(), lost, doubled, tuple(differences))


def _canonical(value: object) -> object:
    return sorted(map(repr, value)) if isinstance(value, list) else value


def as_mapping(output: object) -> dict[str, object]:
    """The output of a run, an attrs object or JSON already, as a mapping of its fields."""
    if isinstance(output, Mapping):
        return dict(output)
    return attrs.asdict(cast("attrs.AttrsInstance", output))

"""Where the parts of a map come from, and the paths into them."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from attrs import define, field

from actorflow import constant, from_input, from_state, from_step, step, workflow
from actorflow._authoring.sources import Source, parse_path, read_path
from actorflow._authoring.workflow import resolve
from actorflow.errors import InputError

DATA = {
    "items": [{"price": 1}, {"price": 2}],
    "unit price": 3,
    "a.b": 4,
    "0": 5,
    "none": None,
    "grid": [[1, 2], [3, 4]],
    'say "hi"': 6,
}


@define
class Item:
    price: int


@define
class Order:
    items: list[Item]
    tags: set[str] = field(factory=set)


@step
async def fetch(data, ctx) -> Order:
    """Declares what it gives."""
    return Order([])


@step
async def plain(data, ctx):
    """Declares nothing."""
    return data


@define
class Reads:
    """The parts of a context that a map reads; counts how often a step's result is asked for."""

    results: dict[str, object]
    input: object = None
    state: dict[str, object] = field(factory=dict)

    @property
    def run_store(self) -> Reads:
        return self

    async def get(self, key: str) -> object:
        return self.state.get(key)

    async def step_result(self, step_id: str) -> object:
        return self.results[step_id]


async def shaped(sources: Mapping[str, Source], ctx: Reads, kind: object = None) -> object:
    """What the map gives, committed behind one typed and one plain step."""
    flow = workflow("x", input=kind).then(plain).then(fetch).map(sources).commit()
    return await resolve(flow).steps["_map.3"].invoke({"ignored": True}, ctx)


@pytest.mark.parametrize(
    ("path", "parts"),
    [
        ("", ()),
        ("a", ("a",)),
        ("a.b", ("a", "b")),
        ("items[0].price", ("items", 0, "price")),
        ("items.0.price", ("items", "0", "price")),
        ("[0][-1]", (0, -1)),
        ('["unit price"].x', ("unit price", "x")),
        ('a["x.y[0]\\"]"]', ("a", 'x.y[0]"]')),
        ("unit price", ("unit price",)),
        ("größe", ("größe",)),
    ],
)
def test_a_path_has_parts(path: str, parts: tuple[object, ...]) -> None:
    """Keys by dots, indices with and without brackets, quoted keys."""
    assert parse_path(path) == parts


@pytest.mark.parametrize(
    "path", [".", ".a", "a.", "a..b", "a[", "a[x]", "a[0", "a[0]b", "a[]", "a[1.5]", "a]", 3, None]
)
def test_a_path_that_is_none(path: object) -> None:
    """It is told where it stops to be understood."""
    with pytest.raises(ValueError, match="path"):
        parse_path(path)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("", DATA),
        ("items[1].price", 2),
        ("items.1.price", 2),
        ("items[-1].price", 2),
        ("unit price", 3),
        ('["a.b"]', 4),
        ("0", 5),
        ("none", None),
        ("grid[1][0]", 3),
        ('["say \\"hi\\""]', 6),
    ],
)
def test_a_path_leads_to_a_part(path: str, value: object) -> None:
    """A null at the end is a value like any other; a number is an index in a list and a key in an object."""
    assert read_path(DATA, path, from_input(path)) == value


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("other", r"from_input\('other'\): at \$ there is no 'other', but the keys \['items', 'unit price', "),
        ("items[2].price", r"at \$\.items there is no 2, but a list of 2 items"),
        ("items.price", r"at \$\.items there is no 'price', but a list"),
        ("items.-1", r"there is no '-1', but a list"),
        ("items[0].price.cents", r"at \$\.items\[0\]\.price there is no 'cents', but 1"),
        ("none.x", r"at \$\.none there is no 'x', but None"),
        ("unit price.x", r"at \$\[\"unit price\"\] there is no 'x', but 3"),
        pytest.param("items." + 5000 * "9", "a list of 2 items", id="a huge index"),
        ("[0]", r"at \$ there is no 0, but the keys"),
    ],
)
def test_a_path_that_leads_nowhere_is_an_input_error(path: str, told: str) -> None:
    """It names the path, where it ends, and what is there."""
    with pytest.raises(InputError, match=told):
        read_path(DATA, path, from_input(path))


async def test_a_map_reads_from_everywhere() -> None:
    """Steps, the run's input, the state, constants; the data that comes in is not asked."""
    ctx = Reads({"plain": {"a": [1, 2]}, "fetch": Order([Item(7)])}, input={"id": 3}, state={"n": 4})
    sources = {
        "one": from_step("plain", "a[1]"),
        "all": from_step(plain),
        "id": from_input("id"),
        "input": from_input(),
        "n": from_state("n"),
        "missing": from_state("m"),
        "five": constant(5),
    }
    assert await shaped(sources, ctx) == {
        "one": 2, "all": {"a": [1, 2]}, "id": 3, "input": {"id": 3}, "n": 4, "missing": None, "five": 5,
    }  # fmt: skip


async def test_typed_results_are_read_as_data() -> None:
    """A path goes through a record as through its JSON form, whatever its fields are."""
    order = Order([Item(7)], {"b", "a"})
    ctx = Reads({"fetch": order}, input=order)
    sources = {"price": from_step("fetch", "items[0].price"), "tags": from_input("tags"), "items": from_input("items")}
    assert await shaped(sources, ctx, Order) == {"price": 7, "tags": ["a", "b"], "items": [{"price": 7}]}


async def test_a_path_that_leads_nowhere_fails_the_map() -> None:
    """The error names the source as it is written."""
    with pytest.raises(InputError, match=r"from_step\('fetch', 'items\[0\]'\): at \$\.items there is no 0"):
        await shaped({"x": from_step("fetch", "items[0]")}, Reads({"fetch": Order([])}))


async def test_a_constant_is_copied_at_commit_and_at_every_use() -> None:
    """Whatever becomes of the value, and of what a run got."""
    value = [1]
    flow = workflow("x").map({"a": constant(value)}).commit()
    invoke = resolve(flow).steps["_map.1"].invoke
    value.append(2)
    found = await invoke(None, Reads({}))
    assert found == {"a": [1]}
    found["a"].append(3)
    assert await invoke(None, Reads({})) == {"a": [1]}


async def test_a_constant_may_be_an_object_of_ours() -> None:
    """Records are written as everywhere."""
    assert await shaped({"item": constant(Item(3))}, Reads({})) == {"item": {"price": 3}}


async def test_the_mapping_is_taken_when_it_is_given() -> None:
    """What is put into it afterwards is not there."""
    sources: dict[str, Source] = {"a": constant(1)}
    builder = workflow("x").map(sources)
    sources["b"] = constant(2)
    assert await resolve(builder.commit()).steps["_map.1"].invoke(None, Reads({})) == {"a": 1}


def test_a_source_is_written_as_it_was_given() -> None:
    """For error texts."""
    sources = [from_step("a"), from_step(plain, "b"), from_input(), from_input("x"), from_state("k"), constant("c")]
    assert list(map(str, sources)) == [
        "from_step('a')", "from_step('plain', 'b')", "from_input()", "from_input('x')", "from_state('k')",
        "constant('c')",
    ]  # fmt: skip

"""Facts as bytes, and bytes of every version ever written as facts of today.

What lives here: frames, which hold the facts of one commit of one run. What does not: how each kind of fact is written
(`tags`), the kinds of columns (`columns`), checksums and tables (`sqlite`), the facts themselves (`_core.facts`).

A frame has three parts, so that what must go at the end of a run can be deleted alone:

    head    one JSON document: numbers, names, messages; [format, at, order, [tag, column …] …]
    texts   JSON texts that stay with the record of the run (payloads, outputs, event data), one a line
    values  the values of the run store, one a line; without them operations carry None

Facts of one kind stand together, column by column: a column that holds one value throughout is written once, and a
thousand facts cost one call of the C codec and one `map` (rows cost twice as much, both ways). Long columns of numbers
are packed. Frames of one to three facts, of which a commit of many runs has thousands, are put together from text, byte
for byte the same. Compact JSON text has no raw newline, which is what makes lines possible.
"""

from __future__ import annotations

from itertools import repeat, starmap
from math import isfinite
from operator import attrgetter
from typing import TYPE_CHECKING, Final, NamedTuple, cast

from .._core import facts as f
from .._core.values import decode
from .columns import (
    ALPHABET,
    ARGUMENT,
    ATOM,
    WORD,
    Lines,
    Sink,
    Source,
    dump,
    few,
    few_arguments,
    is_uniform,
    only,
    quote,
    read_atoms,
    write_atoms,
)
from .tags import OLD, TAGS, Tag

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from .._core.facts import Fact

FORMAT: Final = 1
"""Version of the frame as such; every tag has its own beside it."""

FEW: Final = 3
"""Facts up to which a frame is put together from text: less than building lists for the encoder of JSON.

With four, names could stand by letters, and there could be two groups of two: `_encode_few` counts on neither."""


class Frame(NamedTuple):
    """The facts of one commit of one run, as bytes."""

    head: bytes
    texts: bytes
    values: bytes


_READ: Final[Mapping[str, Tag]] = {tag.name: tag for tag in (*TAGS.values(), *OLD)}
_WRITE: Final = {
    kind: (tag.name, [(attrgetter(field), column.write) for field, column in tag.columns.items()])
    for kind, tag in TAGS.items()
}
_WRITE_ONE: Final = {
    kind: attrgetter("at", *tag.columns) if tag.columns else lambda fact: (fact.at,) for kind, tag in TAGS.items()
}
_MARKED: Final = {
    tag.name: [(i, column) for i, column in enumerate(tag.columns.values(), start=1) if column not in (ATOM, WORD)]
    for tag in _READ.values()
}
"""The columns of each kind, counted from 1, whose one value is not simply what stands in the head."""
_AT: Final = attrgetter("at")


# --- frames


def encode_frame(facts: Sequence[Fact]) -> Frame:
    """The facts of one commit of one run (at least one), as bytes. Raises `ValueError` for what lines cannot hold."""
    return Frame._make(encode_parts(facts))


def encode_parts(facts: Sequence[Fact]) -> tuple[bytes, bytes, bytes]:
    """The same as a plain tuple, for who writes thousands of small frames in one commit."""
    if len(facts) == 1:
        (fact,) = facts
        return _encode_operation(fact) if type(fact) is f.OperationApplied else _encode_few(facts)
    first = facts[0].at
    shared = first == facts[-1].at and is_uniform(list(map(_AT, facts)))
    if shared and len(facts) <= FEW:
        return _encode_few(facts)
    return _encode_many(facts, shared)


def _encode_many(facts: Sequence[Fact], shared: bool) -> tuple[bytes, bytes, bytes]:
    types = list(map(type, facts))
    kinds = list(dict.fromkeys(types))
    sink = Sink([], [])
    head: list[object] = [FORMAT, facts[0].at if shared else None]
    if len(kinds) == 1:
        head.append(len(facts))
        head.append(_encode_group(kinds[0], facts, shared, sink))
    else:
        letters = dict(zip(kinds, ALPHABET, strict=False))
        order = "".join(map(letters.__getitem__, types))
        head.append(order)
        for kind, letter in letters.items():
            head.append(_encode_group(kind, only(facts, order, letter), shared, sink))
    return dump(head).encode("ascii"), _join(sink.texts, "texts"), _join(sink.values, "values")


def _encode_few(facts: Sequence[Fact]) -> tuple[bytes, bytes, bytes]:
    """A few facts of one time: the same bytes, without a list per column and a document of lists."""
    groups: dict[type, list[Fact]] = {}
    for fact in facts:
        group = groups.get(type(fact))
        if group is None:
            groups[type(fact)] = [fact]
        else:
            group.append(fact)
    order = str(len(facts))
    if len(groups) > 1:
        one = type(facts[0])
        letters = ["a" if type(fact) is one else "b" for fact in facts]
        order = f'"{"".join(letters) if len(groups) < len(facts) else ALPHABET[: len(facts)]}"'
    sink = Sink([], [])
    rows = ""
    for kind, group in groups.items():
        if len(group) == 1:
            rows += f",{_ROWS[kind](group[0], sink)}"
        elif kind is f.OperationApplied:
            rows += f",{_operations_row(cast('list[f.OperationApplied]', group), sink)}"
        else:
            rows += f",{dump(_encode_group(kind, group, True, sink))}"
    head = f"[{FORMAT},{_time(facts[0].at)},{order}{rows}]"
    texts = _join(sink.texts, "texts") if sink.texts else b""
    return head.encode("ascii"), texts, _join(sink.values, "values") if sink.values else b""


def _encode_operation(fact: f.OperationApplied) -> tuple[bytes, bytes, bytes]:
    """The most frequent frame of all: one operation of one of many runs."""
    argument = fact.argument
    if type(argument) is str:
        if "\n" in argument:
            raise _raw_newline("values")
        code, values = "s", argument
    elif type(argument) is int:
        code, values = "i", repr(argument)
    else:
        return _encode_few((fact,))
    head = (
        f"[{FORMAT},{_time(fact.at)},1,"
        f'["{_OP}",{fact.n},{quote(fact.verb)},{quote(fact.key)},"{code}",{quote(fact.op_id)}]]'
    )
    return head.encode("ascii"), b"", values.encode()


def _time(at: float) -> str:
    return repr(at) if type(at) is float and isfinite(at) else dump(at)


def _encode_group(kind: type, group: Sequence[Fact], shared: bool, sink: Sink) -> list[object]:
    if len(group) == 1:
        return _encode_one(kind, group[0], shared, sink)
    name, columns = _WRITE[kind]
    row: list[object] = [name]
    if not shared:
        row.append(write_atoms(list(map(_AT, group)), sink))
    for get, write in columns:
        row.append(write(list(map(get, group)), sink))
    return row


def _encode_one(kind: type, fact: Fact, shared: bool, sink: Sink) -> list[object]:
    """The same for a single fact, without a list per column."""
    name = _WRITE[kind][0]
    row: list[object] = list(_WRITE_ONE[kind](fact))
    for i, column in _MARKED[name]:
        row[i] = column.write([row[i]], sink)
    if shared:
        row[0] = name
    else:
        row.insert(0, name)
    return row


def _operation_row(fact: Fact, sink: Sink) -> str:
    operation = cast("f.OperationApplied", fact)
    code = ARGUMENT.write([operation.argument], sink)
    return f'["{_OP}",{operation.n},{quote(operation.verb)},{quote(operation.key)},"{code}",{quote(operation.op_id)}]'


def _operations_row(group: list[f.OperationApplied], sink: Sink) -> str:
    numbers = few([operation.n for operation in group], str)
    verbs = few([operation.verb for operation in group], quote)
    keys = few([operation.key for operation in group], quote)
    codes = few_arguments([operation.argument for operation in group], sink)
    op_ids = few([operation.op_id for operation in group], quote)
    return f'["{_OP}",{numbers},{verbs},{keys},"{codes}",{op_ids}]'


def _start_row(fact: Fact, sink: Sink) -> str:
    started = cast("f.StepStarted", fact)
    return f'["{_START}",{started.n},{started.attempt}]'


def _done_row(fact: Fact, sink: Sink) -> str:
    completed = cast("f.StepCompleted", fact)
    sink.texts.append(completed.output)
    return f'["{_DONE}",{completed.n},0]'


def _any_row(kind: type) -> Callable[[Fact, Sink], str]:
    return lambda fact, sink: dump(_encode_one(kind, fact, True, sink))


_OP, _START, _DONE = (TAGS[kind].name for kind in (f.OperationApplied, f.StepStarted, f.StepCompleted))
_ROWS: Final[Mapping[type, Callable[[Fact, Sink], str]]] = {
    **{kind: _any_row(kind) for kind in TAGS},
    f.OperationApplied: _operation_row,
    f.StepStarted: _start_row,
    f.StepCompleted: _done_row,
}
"""How a single fact becomes its row of a head at once: those that come in every small frame without a list."""


def _join(lines: list[str], what: str) -> bytes:
    joined = "\n".join(lines)
    if lines and joined.count("\n") != len(lines) - 1:
        raise _raw_newline(what)
    return joined.encode()


def _raw_newline(what: str) -> ValueError:
    return ValueError(f"a raw newline among the {what} of a frame: that is no compact JSON text")


def decode_frame(head: bytes, texts: bytes, values: bytes | None) -> list[Fact]:
    """The facts of a frame, in their order; without `values`, operations carry None and a seeded state is empty.

    Raises `ValueError` for a tag that this version does not know, and for parts that do not belong together.
    """
    found: object = decode(head.decode("ascii"))
    version, at, order, *rows = cast("tuple[int, float | None, int | str, list[object]]", found)
    if version != FORMAT:
        raise ValueError(f"a frame of format {version!r}; this version reads format {FORMAT}")
    source = Source(Lines(texts), None if values is None else Lines(values))
    groups = []
    for letter, row in zip(ALPHABET, rows, strict=False):
        count = order if isinstance(order, int) else order.count(letter)
        groups.append(_decode_group(row, at, count, source))
    for lines in source:
        if lines is not None:
            lines.check_all_taken()
    if isinstance(order, int):
        return groups[0]
    parts = {letter: iter(group) for letter, group in zip(ALPHABET, groups, strict=False)}
    return list(map(next, map(parts.__getitem__, order)))


def _decode_group(row: list[object], at: float | None, count: int, source: Source) -> list[Fact]:
    tag = _READ.get(cast("str", row[0]))
    if tag is None:
        raise ValueError(f"unknown fact {row[0]!r}; a newer version of actorflow wrote it, read it with that one")
    if count == 1:
        return [_decode_one(tag, row, at, source)]
    start = 1 if at is not None else 2
    times = repeat(at, count) if at is not None else read_atoms(row[1], count, source)
    columns = [
        column.read(stored, count, source) for column, stored in zip(tag.columns.values(), row[start:], strict=True)
    ]
    arguments = zip(times, *columns, strict=False)
    make = tag.upcast
    made = cast("list[Fact]", list(starmap(tag.kind, arguments) if make is None else map(make, arguments)))
    if len(made) != count:
        raise ValueError(f"{len(made)} facts {tag.name!r} where {count} were announced")
    return made


def _decode_one(tag: Tag, row: list[object], at: float | None, source: Source) -> Fact:
    arguments = [at, *row[1:]] if at is not None else row[1:]
    for i, column in _MARKED[tag.name]:
        (arguments[i],) = column.read(arguments[i], 1, source)
    if tag.upcast is not None:
        return tag.upcast(tuple(arguments))
    return cast("Callable[[object], Fact]", tag.kind)(*arguments)

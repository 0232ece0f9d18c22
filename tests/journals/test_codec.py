"""Frames: totality, versions, what a reader refuses."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actorflow._core import facts as f
from actorflow._core.facts import FACTS, Fact
from actorflow.journals import codec
from actorflow.journals.codec import decode_frame, encode_frame
from actorflow.journals.columns import ATOM, TEXT, WORD
from actorflow.journals.tags import TAGS, Tag
from actorflow.testing.journal_samples import AT, SAMPLES, pushes, without_values


@pytest.mark.rule("F3")
def test_every_fact_has_its_tag() -> None:
    """Each kind of fact has one tag, with a version of its own, and names all its fields in their order."""
    assert set(TAGS) == set(FACTS)
    names = [tag.name for tag in (*TAGS.values(), *codec.OLD)]
    assert len(names) == len(set(names))
    for kind, tag in TAGS.items():
        assert ["at", *tag.columns] == [field.name for field in attrs.fields(kind)]


@given(
    st.lists(st.sampled_from(SAMPLES), min_size=1, max_size=40), st.lists(st.floats(0, 4e9), min_size=40, max_size=40)
)
def test_frames_come_back(chosen: list[Fact], times: list[float]) -> None:
    """Any facts, in any order and at any times, come back as they were; without their values, as what remains."""
    for facts in (chosen, [attrs.evolve(fact, at=at) for fact, at in zip(chosen, times, strict=False)]):
        frame = encode_frame(facts)
        assert repr(decode_frame(*frame)) == repr(facts)
        assert decode_frame(frame.head, frame.texts, None) == list(map(without_values, facts))


OPERATIONS = [fact for fact in SAMPLES if isinstance(fact, f.OperationApplied)]


@given(st.lists(st.sampled_from(SAMPLES) | st.sampled_from(OPERATIONS), min_size=1, max_size=codec.FEW))
def test_small_frames_are_the_same_bytes(facts: list[Fact]) -> None:
    """What writes frames of a few facts faster writes what the general way would have written."""
    assert tuple(encode_frame(facts)) == codec._encode_many(facts, shared=True)


@pytest.mark.parametrize(
    "numbers",
    [
        [*range(5, 25)],
        [2**32 - 1, *range(20)],
        [2**32, *range(20)],
        [-1, *range(20)],
        [10**30, *range(20)],
        [i / 7 for i in range(20)],
        [-0.0, 1e300, 5e-324, *[i / 7 for i in range(20)]],
        [1e308] * 19 + [0.5],
        [True, False] * 10,
        [1, 2.0] * 10,
    ],
)
def test_long_columns_of_numbers(numbers: list[float]) -> None:
    """Whatever numbers a long column holds come back as they were, of the same types, to the last bit."""
    facts = [f.Logged(AT + i, int(n), 1, n, "") for i, n in enumerate(numbers)]  # type: ignore[arg-type]  # any number
    frame = encode_frame(facts)
    assert repr(decode_frame(*frame)) == repr(facts)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("count", [1, 2, 3, 40])
def test_numbers_that_json_does_not_know(odd: float, count: int) -> None:
    """What is no number is refused in frames of every length."""
    with pytest.raises(ValueError, match="JSON"):
        encode_frame([f.StepUnscheduled(AT + i if i else odd, 1) for i in range(count)])


def test_a_typical_frame_is_small() -> None:
    """Thousands of facts with a time of their own take less than 40 bytes each, and are read as they were."""
    facts: list[Fact] = []
    for n in range(500_000, 502_000):
        at = AT + n / 7e5
        facts += [
            f.StepStarted(at, n, 1),
            f.OperationApplied(at + 1e-6, n, "push", "results", f'{{"id":{n}}}', ""),
            f.OperationApplied(at + 2e-6, n, "increment", "processed", 1, ""),
            f.StepCompleted(at + 3e-6, n, "null"),
        ]
    frame = encode_frame(facts)
    assert sum(map(len, frame)) < 40 * len(facts)
    assert repr(decode_frame(*frame)) == repr(facts)


@pytest.mark.parametrize(
    "damage",
    [
        (b'"u4":"', b'"u4":"AAAA'),
        (b'"u4":"', b'"u4":"AAAAAAAA'),
        (b'"u4":"', b'"u4":"?'),
        (b'{"u4":"', b'{"f8":"AAAAAAA=","u4":"'),
    ],
)
def test_a_damaged_column_of_numbers(damage: tuple[bytes, bytes]) -> None:
    """Packed numbers that are too many, not whole, or not packed at all are a `ValueError`, never other numbers."""
    frame = encode_frame([f.StepUnscheduled(AT, n) for n in range(20)])
    head = frame.head.replace(*damage)
    assert head != frame.head
    with pytest.raises(ValueError, match=r"20 facts|multiple|base64|unpack|data|padding|Excess"):
        decode_frame(head, frame.texts, frame.values)


def test_values_stand_apart() -> None:
    """Neither head nor texts hold anything of the store: its values, and the keys that it started with."""
    secret = [
        f.StateSeeded(AT, {"secret-key": '"secret"'}),
        f.OperationApplied(AT, 1, "set", "k", '"secret"', ""),
        f.OperationApplied(AT, 1, "increment", "k", 777777, ""),
        f.TransactionApplied(AT, 1, [("extend", "k", ('"secret"', "777777"))], ""),
    ]
    frame = encode_frame(secret)
    assert b"secret" not in frame.head + frame.texts
    assert b"777777" not in frame.head + frame.texts
    assert b"\x00" not in b"".join(frame)


def test_a_raw_newline_is_refused() -> None:
    """JSON texts stand on lines: one that is not compact would shift all others, and is refused at writing."""
    with pytest.raises(ValueError, match="newline"):
        encode_frame([f.StepCompleted(AT, 1, "[1,\n2]")])
    with pytest.raises(ValueError, match="newline"):
        encode_frame([f.OperationApplied(AT, 1, "set", "k", "[1,\n2]", "")])
    with pytest.raises(ValueError, match="newline"):
        encode_frame([f.OperationApplied(AT, 1, "set", "k", "[1,\n2]", "")] * 2)


@pytest.mark.parametrize(
    "change",
    [
        lambda head, texts, values: (head.replace(b"[1,", b"[2,", 1), texts, values),
        lambda head, texts, values: (head.replace(b"op1", b"op9"), texts, values),
        lambda head, texts, values: (head, texts + b"\n1", values),
        lambda head, texts, values: (head, texts, values + b"\n1"),
        lambda head, texts, values: (head, b"", values),
        lambda head, texts, values: (head, texts, values[:3]),
    ],
)
def test_parts_that_do_not_belong_together(change: object) -> None:
    """Unknown versions, lines too few and lines too many are a `ValueError`, never a wrong fact."""
    assert callable(change)
    facts = [*pushes(5), f.StepCompleted(AT, 1, "1"), f.StepCompleted(AT, 2, "2")]
    with pytest.raises(ValueError, match=r"format|unknown fact|lines|literal"):
        decode_frame(*change(*encode_frame(facts)))


@pytest.mark.rule("F3")
@pytest.mark.parametrize("count", [1, 3])
def test_an_old_version_is_read_as_the_fact_of_today(monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    """A tag of an earlier version, with other columns, gives today's fact through its upcast."""

    def upcast(columns: tuple[object, ...]) -> Fact:
        at, step, n, payload = columns
        return f.StepScheduled(at, n, step, payload, at, 0, "")  # type: ignore[arg-type]  # as the old columns had them

    old = Tag("step", 0, f.StepScheduled, {"step": WORD, "n": ATOM, "payload": TEXT}, upcast)
    monkeypatch.setitem(codec._READ, old.name, old)  # type: ignore[arg-type]  # the table is a dict underneath
    monkeypatch.setitem(codec._MARKED, old.name, [(3, TEXT)])
    numbers = "7" if count == 1 else "[7,8,9]"
    head = f'[1,5.0,{count},["step0","go",{numbers},0]]'.encode()
    texts = "\n".join(["{}"] * count).encode()
    assert decode_frame(head, texts, b"") == [f.StepScheduled(5.0, 7 + i, "go", "{}", 5.0, 0, "") for i in range(count)]

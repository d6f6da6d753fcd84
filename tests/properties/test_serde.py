"""Whatever a schema is, what is written by it loads again, and is the same."""

from __future__ import annotations

import dataclasses
import enum
import json
from pathlib import PurePosixPath
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from tvix.serde import Problem, SchemaMismatch, dump, json_schema, load, options, variant

TEXTS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters="\0"))
NAMES = st.from_regex(r"[a-z]{1,6}", fullmatch=True).map(lambda name: f"f_{name}")
PATHS = st.lists(TEXTS.filter(lambda text: "/" not in text), max_size=4).map(lambda parts: PurePosixPath("/", *parts))

SCALARS: dict[object, st.SearchStrategy[Any]] = {
    type(None): st.none(),
    bool: st.booleans(),
    int: st.integers(-(1 << 63), (1 << 63) - 1),
    float: st.floats(allow_nan=False),
    str: TEXTS,
    PurePosixPath: PATHS,
}
"""Each with its values."""

Typed = tuple[Any, st.SearchStrategy[Any]]


def _list_of(inner: Typed) -> Typed:
    return list[inner[0]], st.lists(inner[1], max_size=4)  # type: ignore[name-defined]


def _tuple_of(inner: Typed) -> Typed:
    return tuple[inner[0], ...], st.lists(inner[1], max_size=4).map(tuple)  # type: ignore[name-defined]


def _pair_of(both: tuple[Typed, Typed]) -> Typed:
    (first, first_values), (second, second_values) = both
    return tuple[first, second], st.tuples(first_values, second_values)


def _mapping_of(inner: Typed) -> Typed:
    return dict[str, inner[0]], st.dictionaries(TEXTS, inner[1], max_size=4)  # type: ignore[name-defined]


def _optional(inner: Typed) -> Typed:
    schema, values = inner
    return schema | None, st.one_of(st.none(), values)


def _record_of(fields: dict[str, Typed], name: str = "Record") -> Typed:
    schema = dataclasses.make_dataclass(name, [(field, inner[0]) for field, inner in fields.items()], frozen=True)
    return schema, st.fixed_dictionaries({field: inner[1] for field, inner in fields.items()}).map(lambda values: schema(**values))


def _union_of(drawn: list[tuple[dict[str, Typed], bool]]) -> Typed:
    members = [_record_of(fields, f"Variant{index}") for index, (fields, _) in enumerate(drawn)]
    union: Any = None
    for (schema, _), (_, positional) in zip(members, drawn, strict=True):
        marked = variant(positional=positional)(schema)
        union = marked if union is None else union | marked
    return union, st.one_of(*[values for _, values in members])


def _enumeration(names: set[str]) -> Typed:
    schema = enum.Enum("Enumeration", [(name, f"{name} value") for name in sorted(names)])  # type: ignore[misc]
    return schema, st.sampled_from(list(schema))


def _grown(inner: st.SearchStrategy[Typed]) -> st.SearchStrategy[Typed]:
    fields = st.dictionaries(NAMES, inner, max_size=3)
    return st.one_of(
        inner.map(_list_of),
        inner.map(_tuple_of),
        inner.map(_mapping_of),
        inner.filter(lambda typed: typed[0] is not type(None)).map(_optional),
        st.tuples(inner, inner).map(_pair_of),
        fields.map(_record_of),
        st.lists(st.tuples(fields, st.booleans()), min_size=2, max_size=3).map(_union_of),
    )


LEAVES = st.one_of(
    st.sampled_from(list(SCALARS.items())),
    st.just((int | str | None, st.one_of(SCALARS[int], TEXTS, st.none()))),
    st.just((str | PurePosixPath, st.one_of(TEXTS, PATHS))),
    st.sets(NAMES, min_size=1, max_size=4).map(_enumeration),
)
SCHEMAS: st.SearchStrategy[Typed] = st.recursive(LEAVES, _grown, max_leaves=8)


@given(st.data())
def test_dump_then_load_is_equal(data: st.DataObject) -> None:
    schema, values = data.draw(SCHEMAS)
    value = data.draw(values)
    text = dump(value, schema)
    assert load(text, schema) == value
    assert dump(load(text, schema), schema) == text


ANYTHING = st.recursive(
    st.one_of(*[values for kind, values in SCALARS.items()]),
    lambda inner: st.one_of(st.lists(inner, max_size=4).map(tuple), st.dictionaries(TEXTS, inner, max_size=4)),
    max_leaves=12,
)


@given(ANYTHING)
def test_values_without_a_schema(value: object) -> None:
    loaded = load(dump(value), object)
    assert loaded == value
    assert repr(loaded) == repr(value)


@given(SCHEMAS, ANYTHING)
def test_what_loads_is_of_its_type_and_what_does_not_says_where(typed: Typed, value: object) -> None:
    """Any text either loads, and then dumps, or all its mistakes have places inside of the text."""
    schema, _ = typed
    text = dump(value)
    problems: tuple[Problem, ...] = ()
    try:
        loaded = load(text, schema)
    except SchemaMismatch as error:
        problems = error.problems
    if not problems:
        assert load(dump(loaded, schema), schema) == loaded
    lines = text.encode().split(b"\n")
    for problem in problems:
        assert 1 <= problem.line <= problem.end_line <= len(lines)
        assert 1 <= problem.column <= len(lines[problem.line - 1]) + 1
        assert problem.end_line > problem.line or problem.end_column > problem.column
        assert problem.message in problem.report()


@given(SCHEMAS)
def test_schemas_describe_themselves(typed: Typed) -> None:
    json.dumps(json_schema(typed[0]))
    assert all(option.path for option in options(typed[0]))

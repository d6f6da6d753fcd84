"""What is written, and what can't be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import pytest

from tests.unit.serde.schema import Circle, Everything, Group, Level, Nothing, Pair, Server, Shape, Straight
from tvix.serde import NotDumpable, dump, load

WRITTEN = [
    (None, object, "null\n"),
    (True, bool, "true\n"),
    (-5, int, "-5\n"),
    ([-5, 5], list[int], "[ (-5) 5 ]\n"),
    (-(1 << 63), int, "(-9223372036854775807 - 1)\n"),
    (1e300, float, "1.0e+300\n"),
    (1e-7, float, "1.0e-07\n"),
    (0.1, float, "0.1\n"),
    (2.2250738585072014e-308, float, "2.2250738585072014e-308\n"),
    (5e-324, float, "(6.26302612502804e-294 * 7.888609052210118e-31)\n"),
    (-5e-324, float, "(-6.26302612502804e-294 * 7.888609052210118e-31)\n"),
    (1, float, "1.0\n"),
    (-0.0, float, "(-1.0 * 0.0)\n"),
    (math.inf, float, "(1.0e308 * 10.0)\n"),
    ([-math.inf], list[float], "[ (-1.0e308 * 10.0) ]\n"),
    ('a"b\\c\n\r\t${d}$${e}$', str, '"a\\"b\\\\c\\n\\r\\t\\${d}$\\${e}$"\n'),
    ("é😀", str, '"é😀"\n'),
    (PurePosixPath("/a/b"), PurePosixPath, "/a/b\n"),
    (PurePosixPath("/"), PurePosixPath, '(/. + "/")\n'),
    (PurePosixPath("/a b"), PurePosixPath, '(/. + "/a b")\n'),
    (PurePosixPath("a"), PurePosixPath, '"a"\n'),
    (PurePosixPath("/a/../b"), PurePosixPath, '"/a/../b"\n'),
    ([], list[int], "[ ]\n"),
    ({}, dict[str, int], "{ }\n"),
    ({"a b": 1, "if": 2, "é": 3, "": 4, "x'-1": 5}, dict[str, int],
     '{\n  "a b" = 1;\n  "if" = 2;\n  "é" = 3;\n  "" = 4;\n  x\'-1 = 5;\n}\n'),
    (Nothing(), Shape, '"Nothing"\n'),
    (Group([Nothing(), Straight((1, 2), (3, 4))]), Shape,
     '{\n  Group = [\n    "Nothing"\n    {\n      Line = [ [ 1 2 ] [ 3 4 ] ];\n    }\n  ];\n}\n'),
    (Level.DEBUG, Level, '"debug"\n'),
    (Pair("a", 1), Pair, '[ "a" 1 ]\n'),
    (Server("a"), Server, '{\n  host = "a";\n  port = 80;\n  aliases = [ ];\n}\n'),
    (["a" * 60, "b" * 60], list[str], f'[\n  "{"a" * 60}"\n  "{"b" * 60}"\n]\n'),
]  # fmt: skip


@pytest.mark.parametrize(("value", "schema", "text"), WRITTEN, ids=[text.strip() for _, _, text in WRITTEN])
def test_is_written_and_loads_again(value: object, schema: object, text: str) -> None:
    assert dump(value, schema) == text
    assert load(text, schema) == value


def test_without_a_schema_the_type_counts() -> None:
    value = Everything(shape=Circle(2.0), server=Server("a"), anything=(1, {"b": None}), by_name={"x": Server("y", 1, ("z",))})
    assert load(dump(value), Everything) == value
    assert dump([Server("a"), Level.DEBUG, (1, Path("/x"))]) == dump(
        [{"host": "a", "port": 80, "aliases": []}, "debug", [1, Path("/x")]]
    )


@dataclass
class Wrong:
    """Holds what its schema doesn't say."""

    items: list[dict[str, int]]


REFUSED = [
    (math.nan, float, "the value: what isn't a number can't be written down"),
    (1 << 63, int, "the value: 9223372036854775808 doesn't fit in 64 bits"),
    ("a\0", str, "the value: a string can't hold the character NUL"),
    ("\ud800", str, "the value: the string has half of a surrogate pair, which is no character"),
    ({1: 2}, dict[str, int], "the value: the key 1 is no string"),
    (Wrong([{"a": True}]), Wrong, "the value.items[0].a: expected an integer but found True"),
    (object(), object, "the value: expected a value that isn't a function but found <object object at"),
    (len, object, "the value: expected a value that isn't a function but found <built-in function len>"),
    (Server("a"), Shape, 'the value: expected "Nothing", { Circle = …; }, { Line = …; } or { Group = …; } but found Server('),
    ("a", int | None, "the value: expected an integer or null but found 'a'"),
    ((1,), tuple[int, int], "the value: expected a list of 2 elements but found (1,)"),
    ("c", Level, "the value: expected \"debug\" or \"warning\" but found 'c'"),
]  # fmt: skip


@pytest.mark.parametrize(("value", "schema", "said"), REFUSED, ids=[said for _, _, said in REFUSED])
def test_is_refused(value: object, schema: object, said: str) -> None:
    with pytest.raises(NotDumpable) as caught:
        dump(value, schema)
    assert str(caught.value).startswith(said)
    assert caught.value.exit_code == 65

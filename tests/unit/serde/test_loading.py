"""What loads, as what."""

from __future__ import annotations

import enum
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import InitVar, dataclass, field
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Generic, Literal, NewType, TypeVar

import pytest

from tests.unit.serde.schema import Circle, Everything, Group, Level, Nothing, Pair, Server, Shape, Straight
from tvix.eval.evaluator import Evaluator
from tvix.eval.io import NoIO
from tvix.eval.io_memory import MemoryIO
from tvix.serde import EvaluationFailed, SchemaMismatch, UnsupportedSchema, decode, load, load_file, variant

Port = NewType("Port", int)


class Signal(enum.IntEnum):
    """Named by its names, since its values are no strings."""

    HUP = 1
    TERM = 15


@dataclass(frozen=True)
class Swapped:
    """Fields with other keys, and without a default."""

    ours: int = field(metadata={"name": "their key"})
    made: list[int] = field(default_factory=list, kw_only=True)
    never: int = field(default=3, init=False)


ROOT = Path(__file__).resolve().parents[3]

LOADED = [
    ("null", None, None),
    ("1 == 1", bool, True),
    ("40 + 2", int, 42),
    ("1", float, 1.0),
    ("1.5e3", float, 1500.0),
    ('"a${"b"}"', str, "ab"),
    ('"é€😀"', str, "é€😀"),
    ("/a/../b", str, "/b"),
    ("/a/../b", PurePosixPath, PurePosixPath("/b")),
    ('"relative"', Path, Path("relative")),
    ("[ 1 (1 + 1) ]", list[int], [1, 2]),
    ("[ 1 2 ]", Sequence[int], [1, 2]),
    ("[ 1 2 ]", tuple[int, ...], (1, 2)),
    ('[ 1 "a" ]', tuple[int, str], (1, "a")),
    ("[ ]", tuple[()], ()),
    ("[ 1 null ]", list, [1, None]),
    ('[ "a" 1 ]', Pair, Pair("a", 1)),
    ("{ a = 1; b = 2; }", dict[str, int], {"a": 1, "b": 2}),
    ('{ "é" = { }; }', Mapping[str, dict[str, int]], {"é": {}}),
    ('{ a = [ 1 { } ]; b = ./c; d = 0.5; e = "é"; }', object, {"a": (1, {}), "b": PurePosixPath("/c"), "d": 0.5, "e": "é"}),
    ("1", Any, 1),
    ("null", int | None, None),
    ("1", int | None, 1),
    ("1", int | float, 1),
    ("1.0", int | float, 1.0),
    ("/a", str | Path, Path("/a")),
    ('"/a"', str | Path, "/a"),
    ("/a", int | str, "/a"),
    ('"debug"', Level, Level.DEBUG),
    ('"TERM"', Signal, Signal.TERM),
    ('"fast"', Literal["fast", "slow"], "fast"),
    ("1", Annotated[int, "a note"], 1),
    ("1", Port, 1),
    ("1", Annotated[Port, "a note"] | None, 1),
    ('{ host = "a"; }', Server, Server("a")),
    ('{ "their key" = 1; }', Swapped, Swapped(1)),
    ('"Nothing"', Shape, Nothing()),
    ("{ Circle = { radius = 1; }; }", Shape, Circle(1.0)),
    ("{ Circle.radius = 1; }", Shape, Circle(1.0)),
    ("{ Line = [ [ 1 2 ] [ 3 4 ] ]; }", Shape, Straight((1, 2), (3, 4))),
    ('{ Group = [ "Nothing" { Group = [ ]; } ]; }', Shape, Group([Nothing(), Group([])])),
    ("null", Shape | None, None),
    ("1", int | Nothing | Circle, 1),
    ("{ }", Everything, Everything()),
    ("{ by-name.a.host = \"b\"; again.again.flag = true; }", Everything,
     Everything(by_name={"a": Server("b")}, again=Everything(again=Everything(flag=True)))),
]  # fmt: skip


@pytest.mark.parametrize(("text", "schema", "value"), LOADED, ids=[f"{text} as {schema}" for text, schema, _ in LOADED])
def test_loads(text: str, schema: object, value: object) -> None:
    loaded = load(text, schema)
    assert loaded == value
    assert type(loaded) is type(value)


def test_bytes_are_taken_as_they_are() -> None:
    assert load('"é"'.encode(), str) == "é"


def test_only_what_the_schema_needs_is_evaluated() -> None:
    with pytest.raises(SchemaMismatch, match="unknown key"):
        load('{ host = "a"; more = throw "not needed"; }', Server)


def test_paths_start_from_the_base() -> None:
    assert load("./a", Path, base="/b") == Path("/b/a")


def test_variables_are_in_scope() -> None:
    assert load("name + toString (builtins.length ports)", str, variables={"name": "é", "ports": [1, 2]}) == "é2"


def test_nothing_can_be_looked_at() -> None:
    for text in ("import /etc/passwd", "builtins.readFile /etc/passwd", "builtins.readDir /."):
        with pytest.raises(EvaluationFailed, match="forbidden in pure evaluation mode"):
            load(text, object)
    assert load("builtins.pathExists /etc", bool) is False
    assert load('builtins.getEnv "PATH"', str) == ""
    assert load("builtins ? currentTime || builtins ? currentSystem", bool) is False


def test_memory_files() -> None:
    files = MemoryIO({"/a/default.nix": b"{ host = import ./b.nix; }", "/a/b.nix": b'"c"'})
    assert load_file("/a", Server, io=files) == Server("c")
    assert load("import /a", Server, io=files) == Server("c")


def test_a_file_imports_its_neighbours_and_nothing_else(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    (inside / "deeper").mkdir(parents=True)
    (inside / "deeper/host.nix").write_text('"é"')
    (tmp_path / "outside.nix").write_text('"no"')
    (inside / "good.nix").write_text("{ host = import ./deeper/host.nix; }")
    (inside / "bad.nix").write_text("{ host = import ../outside.nix; }")
    (inside / "link.nix").symlink_to("../outside.nix")
    (inside / "linked.nix").write_text("{ host = import ./link.nix; }")
    (tmp_path / "elsewhere.nix").symlink_to("inside/good.nix")
    (tmp_path / "too-far.nix").symlink_to("inside/bad.nix")
    assert load_file(str(inside / "good.nix"), Server) == Server("é")
    assert load_file(str(tmp_path / "elsewhere.nix"), Server) == Server("é")
    for name in ("bad.nix", "linked.nix", "../too-far.nix"):
        with pytest.raises(EvaluationFailed, match="forbidden in pure evaluation mode"):
            load_file(str(inside / name), Server)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(EvaluationFailed, match=r"none\.nix' does not exist"):
        load_file(str(tmp_path / "none.nix"), Server)


def test_mistakes_in_files_name_the_file_that_they_are_in() -> None:
    files = MemoryIO(
        {
            "/c.nix": b"{\n  host = import ./h.nix;\n  port = (import ./p.nix).port;\n}",
            "/h.nix": b"\n 1",
            "/p.nix": b"{ port = null; }",
        }
    )
    with pytest.raises(SchemaMismatch) as caught:
        load_file("/c.nix", Server, io=files)
    assert [str(problem) for problem in caught.value.problems] == [
        "/c.nix:2:10: host: expected a string but found an integer: 1",
        "/c.nix:3:10: port: expected an integer but found null",
    ]


def test_values_of_another_evaluator() -> None:
    evaluator = Evaluator(NoIO())
    with evaluator.session():
        text = '{ a = { host = "b"; }; c = { port = 1.5; }; }'
        value = evaluator.string(text, "/")
        assert decode(evaluator, value["a"], Server) == Server("b")
        with pytest.raises(SchemaMismatch) as caught:
            decode(evaluator, value["c"], Server)
    assert [problem.path for problem in caught.value.problems] == ["", "port"]
    assert [problem.column for problem in caught.value.problems] == [text.index("{ port") + 1, text.index("1.5") + 1]


def test_what_is_said_goes_to_the_log() -> None:
    said: list[str] = []
    assert load('builtins.trace "é" 1', int, log=said.append) == 1
    assert said == ["trace: é"]


def test_deep_programs_and_endless_ones() -> None:
    assert load("let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 9000", int) == 9000
    with pytest.raises(EvaluationFailed, match="max-call-depth exceeded"):
        load("let f = n: 1 + f n; in f 0", int)
    with pytest.raises(EvaluationFailed, match="max-call-depth exceeded"):
        load("let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 200", int, call_depth=100)
    with pytest.raises(EvaluationFailed, match="infinite recursion"):
        load("let a = a; in a", int)


def test_values_that_contain_themselves_end() -> None:
    with pytest.raises(EvaluationFailed, match="nested more deeply than 1000 levels"):
        load("let x = { again = x; }; in x", Everything)
    with pytest.raises(EvaluationFailed, match="nested more deeply than 1000 levels"):
        load("let x = [ x ]; in x", object)
    assert load("builtins.genList (n: [ n ]) 5000", list[list[int]]) == [[n] for n in range(5000)]


def test_the_recursion_limit_stays_as_it_was() -> None:
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1234)
    try:
        load("1", int)
        with pytest.raises(EvaluationFailed):
            load("throw 1", int)
        assert sys.getrecursionlimit() == 1234
    finally:
        sys.setrecursionlimit(before)


def test_errors_of_the_program_have_their_trace() -> None:
    with pytest.raises(EvaluationFailed) as caught:
        load('{\n  host = throw "no é";\n}', Server, name="c.nix")
    assert str(caught.value) == "c.nix:2:10: no é"
    assert "while evaluating 'host' for its schema" in caught.value.report()
    assert "      2|   host = throw" in caught.value.report()
    assert (caught.value.exit_code, caught.value.identifier) == (65, "serde.evaluation")


T = TypeVar("T")


@dataclass
class Box(Generic[T]):
    """Not one type."""

    value: T


@dataclass
class WithInitVar:
    """Can't be written back."""

    value: InitVar[int]


@dataclass
class Undefined:
    """Names nothing."""

    value: Missing  # type: ignore[name-defined]  # noqa: F821


@dataclass
class Twice:
    """One key, two fields."""

    a: int
    b: int = field(metadata={"name": "a"})


@variant("Nothing")
@dataclass
class AlsoNothing:
    """Has the tag of another."""


UNSUPPORTED = [
    (bytes, "no value of the language becomes bytes"),
    (set[int], "no value of the language becomes set[int]"),
    (complex, "no value of the language becomes complex"),
    (dict[int, str], "no value of the language becomes dict[int, str]"),
    (Literal[1, 2], "no value of the language becomes typing.Literal[1, 2]"),
    (str | Level, "a string could be more than one of str, Level"),
    (list[int] | tuple[str, ...], "a list could be more than one of list[int], tuple[str, ...]"),
    (Server | dict[str, int], "a set could be more than one of Server, dict[str, int]"),
    (str | Nothing | Circle, "a string could be more than one of str, Nothing, Circle"),
    (Nothing | AlsoNothing, "two variants have the tag Nothing"),
    (Box, "a generic dataclass isn't one type"),
    (WithInitVar, "an InitVar isn't kept"),
    (Undefined, "name 'Missing' is not defined where the class is defined"),
    (Twice, "two fields have the key a"),
    (1, "no value of the language becomes 1"),
]


@pytest.mark.parametrize(("schema", "reason"), UNSUPPORTED, ids=[str(schema) for schema, _ in UNSUPPORTED])
def test_types_that_nothing_becomes(schema: object, reason: str) -> None:
    with pytest.raises(UnsupportedSchema) as caught:
        load("{ }", schema)
    assert reason in str(caught.value)


def test_the_place_in_the_schema_is_named() -> None:
    with pytest.raises(UnsupportedSchema, match=r"Holder\.field\[\]\.\*: no value of the language becomes bytes"):
        load("{ }", Holder)


@dataclass
class Holder:
    """Has a field that is wrong deep inside."""

    field: list[dict[str, bytes]]


def test_importing_it_imports_no_evaluator() -> None:
    code = "import sys, tvix.serde; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "tvix.serde.loading" in loaded
    assert not loaded & {
        "tvix.eval.evaluator",
        "tvix.eval.values",
        "dataclasses",
        "typing",
        "re",
        "inspect",
        "pathlib",
        "json",
        "pickle",
    }


def test_loads_from_several_threads() -> None:
    text = "let f = n: if n == 0 then 0 else 1 + f (n - 1); in f 3000"
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda _: load(text, int), range(12))) == [3000] * 12


def test_the_report_in_the_manual() -> None:
    """Word for word."""
    text = '{\n  servers = [\n    { host = "a"; }\n    { host = "b"; prot = 8080; }\n  ];\n}\n'

    @dataclass(frozen=True)
    class Small:
        host: str
        port: int = 80

    @dataclass(frozen=True)
    class Servers:
        servers: list[Small]

    Servers.__annotations__["servers"] = list[Small]
    with pytest.raises(SchemaMismatch) as caught:
        load(text, Servers, name="config.nix")
    shown = "\n".join(f"    {line}" for line in caught.value.report().split("\n"))
    assert shown in (ROOT / "docs/manual/embedding.md").read_text()

"""The machine's files, files in memory, and what restrictions leave of both: one behaviour."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tvix.eval.errors import AccessForbidden, FileProblem
from tvix.eval.evaluator import Evaluator, Settings
from tvix.eval.io import NoIO
from tvix.eval.io_files import FileIO
from tvix.eval.io_memory import MemoryIO
from tvix.eval.io_restricted import RestrictedIO
from tvix.eval.symlinks import program

if TYPE_CHECKING:
    from pathlib import Path

    from tvix.eval.io import EvalIO

FILES = {"/d/default.nix": b"1", "/d/sub/x": b"x\0\xff", "/f": b"", "/caf\xe9": b"latin"}
LINKS = {
    "/ld": "d",
    "/d/up": "../f",
    "/dangling": "nowhere/else",
    "/loop-a": "loop-b",
    "/loop-b": "loop-a",
    "/absolute": "{}/d/sub",
}
KINDS = ["files", "memory", "restricted"]


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[EvalIO, str]:
    """An implementation, and the directory in it that has the files."""
    base = str(tmp_path.resolve())
    if request.param == "memory":
        files = {base + path: contents for path, contents in FILES.items()}
        return MemoryIO(files, {base + path: target.format(base) for path, target in LINKS.items()}, {"A": "b"}, now=5), base
    for path, contents in FILES.items():
        file = tmp_path / path[1:].encode("latin-1").decode(errors="surrogateescape")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(contents)
    for path, target in LINKS.items():
        (tmp_path / path[1:]).symlink_to(target.format(base))
    files_io = FileIO({"A": "b"})
    return RestrictedIO(files_io, [base]) if request.param == "restricted" else files_io, base


def test_kinds(place: tuple[EvalIO, str]) -> None:
    io, base = place
    assert io.kind(base) == io.kind(f"{base}/d") == "directory"
    assert io.kind(f"{base}/f") == io.kind(f"{base}/caf\xe9") == "regular"
    assert io.kind(f"{base}/ld") == io.kind(f"{base}/dangling") == io.kind(f"{base}/loop-a") == "symlink"
    assert io.kind(f"{base}/none") is io.kind(f"{base}/none/x") is io.kind(f"{base}/f/x") is None


def test_resolving(place: tuple[EvalIO, str]) -> None:
    io, base = place
    assert io.resolve(base) == base
    assert io.resolve(f"{base}/ld") == f"{base}/d"
    assert io.resolve(f"{base}/ld/up") == f"{base}/f"
    assert io.resolve(f"{base}/absolute/x") == f"{base}/d/sub/x"
    assert io.resolve(f"{base}/dangling") == f"{base}/nowhere/else"
    assert io.resolve(f"{base}/none/{'x/' * 50}y") == f"{base}/none/{'x/' * 50}y"
    with pytest.raises(FileProblem, match=f"infinite symlink recursion in path '{base}/loop-a'"):
        io.resolve(f"{base}/loop-a")


def test_reading(place: tuple[EvalIO, str]) -> None:
    io, base = place
    assert io.read(f"{base}/d/sub/x") == io.read(f"{base}/absolute/x") == b"x\0\xff"
    assert io.read(f"{base}/ld/up") == b""
    assert io.read(f"{base}/caf\xe9") == b"latin"
    with pytest.raises(FileProblem, match="No such file or directory"):
        io.read(f"{base}/none")
    with pytest.raises(FileProblem, match="Is a directory"):
        io.read(f"{base}/d")


def test_listing(place: tuple[EvalIO, str]) -> None:
    io, base = place
    assert io.list(f"{base}/ld") == {"default.nix": "regular", "sub": "directory", "up": "symlink"}
    assert "caf\xe9" in io.list(base)
    with pytest.raises(FileProblem, match="Not a directory"):
        io.list(f"{base}/f")
    with pytest.raises(FileProblem, match="No such file or directory"):
        io.list(f"{base}/none")


def test_programs(place: tuple[EvalIO, str]) -> None:
    """A link at the end is followed, one on the way is kept."""
    io, base = place
    assert program(io, f"{base}/d") == program(io, f"{base}/ld") == f"{base}/d/default.nix"
    assert program(io, f"{base}/ld/default.nix") == f"{base}/ld/default.nix"
    with pytest.raises(FileProblem, match=f"path '{base}/none' does not exist"):
        program(io, f"{base}/none")
    with pytest.raises(FileProblem, match="too many symbolic links"):
        program(io, f"{base}/loop-a")


def test_large_and_growing_files(tmp_path: Path) -> None:
    contents = bytes(range(256)) * 10_000
    (tmp_path / "large").write_bytes(contents)
    assert FileIO().read(str(tmp_path / "large")) == contents
    assert FileIO().read("/proc/self/status").startswith(b"Name:")


def test_what_is_no_path() -> None:
    assert FileIO().kind("/a\0b") is None
    with pytest.raises(FileProblem, match="NUL"):
        FileIO().read("/a\0b")


INSIDE = MemoryIO(
    {"/in/x": b"1", "/in/deep/y": b"2", "/out/z": b"3", "/inner": b"4"},
    {"/in/escape": "../out", "/in/far": "/out/z", "/in/back": "../out/../in/x", "/way-in": "in"},
    {"A": "b"},
    now=5,
)


def test_restrictions() -> None:
    io = RestrictedIO(INSIDE, ["/in"])
    assert io.read("/in/x") == b"1"
    assert io.list("/in/deep") == {"y": "regular"}
    assert io.list("/") == {"in": "directory"}
    assert io.environment("A") == ""
    assert io.now() == 5
    assert RestrictedIO(INSIDE, pure=True).now() == 0


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("/out/z", "/out"),
        ("/in/escape/z", "/out"),
        ("/in/far", "/out"),
        ("/in/back", "/out"),
        ("/inner", "/inner"),
        ("/in/../out/z", "/out"),
        ("/way-in/x", "/way-in"),
    ],
)
def test_no_way_out(path: str, named: str) -> None:
    """No component that isn't allowed is looked at, whatever a link says."""
    with pytest.raises(AccessForbidden, match=f"access to absolute path '{named}[/z]*' is forbidden in restricted mode"):
        RestrictedIO(INSIDE, ["/in"]).read(path)
    with pytest.raises(AccessForbidden, match="forbidden in pure evaluation mode"):
        RestrictedIO(INSIDE, ["/in"], pure=True).list(path)


def test_what_nothing_is_allowed_of_is_not_touched() -> None:
    """An inner IO that would complain isn't even asked."""
    io = RestrictedIO(NoIO(), ["/in"])
    with pytest.raises(AccessForbidden, match="restricted mode"):
        io.kind("/out")


def test_programs_in_memory() -> None:
    """Everything that looks at files works on files that never were on a disk."""
    settings = Settings()
    settings.search_path = [("in", "/in"), ("", "/out")]
    evaluator = Evaluator(INSIDE, settings)
    with evaluator.session():
        assert evaluator.string("import /in/x + import <in/deep/y> + import <z>", "/") == 6
        assert evaluator.string("builtins.readDir ./.", "/out") == {"z": "regular"}
        assert evaluator.string('builtins.getEnv "A" + toString builtins.currentTime', "/") == "b5"
        assert evaluator.string("builtins.pathExists /in/far", "/") is True


def test_files_are_evaluated_once_and_read_again_when_told() -> None:
    contents = {"/x": b"{ a = 1; }"}
    io = MemoryIO(contents)
    evaluator = Evaluator(io)
    with evaluator.session():
        first = evaluator.file("/x")
        assert evaluator.file("/x") is first
        evaluator.forget_files()
        assert evaluator.file("/x") is not first

"""The frozen trees: that they work, hold what their lists say, and start cheaply."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

MAX_INSTRUCTIONS = 100_000_000
MAX_MINIMAL_IMAGE = 14_000_000
"""Bytes. Both limits are promised in the README."""

HEAVY = {"argparse", "asyncio", "blake3", "google", "grpc", "inspect", "logging", "re", "rich", "socket", "ssl", "trio", "typing"}
"""What a start has no business to import."""


@pytest.fixture(params=["host", "initrd-minimal", "initrd-builder"])
def program(request: pytest.FixtureRequest, host_program: Path, minimal_tree: Path, builder_tree: Path) -> Path:
    """The program of each tree."""
    return {"host": host_program, "initrd-minimal": minimal_tree / "tvix", "initrd-builder": builder_tree / "tvix"}[request.param]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "LANG": "C.UTF-8"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd="/")


def test_selftest_passes(program: Path) -> None:
    done = run(program, "selftest")
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("tree", ["host", "builder"])
def test_the_evaluator_is_in_and_compiled(tree: str, host_program: Path, builder_tree: Path) -> None:
    """All kinds of output, and what its builtins import late."""
    program = host_program if tree == "host" else builder_tree / "tvix"
    value = (
        '[ (builtins.match "a(b|bc)*" "abcb") (map (n: builtins.hashString n "") [ "md5" "sha256" ]) (builtins.fromTOML "a = 1") ]'
    )
    for words in (("--strict",), ("--json",), ("--xml", "--strict")):
        done = run(program, "eval", *words, "-E", value)
        assert "d41d8cd98f00b204e9800998ecf8427e" in done.stdout, done.stderr
    assert run(program, "nix-instantiate", "--parse", "-E", "1+1").stdout == "(1 + 1)\n"
    assert "日本" in run(program, "eval", "-E", 'throw "日本"').stderr
    if tree == "builder":
        assert list(builder_tree.glob("_internal/tvix__mypyc.*.so"))
        assert not list(builder_tree.rglob("tvix/eval/*.py"))


def test_what_only_boots_evaluates_nothing(minimal_tree: Path) -> None:
    assert run(minimal_tree / "tvix", "eval", "-E", "1").returncode == 69
    assert not list(minimal_tree.rglob("tvix__mypyc*"))


def test_version(program: Path) -> None:
    from tvix import VERSION

    assert run(program, "--version").stdout == f"tvix {VERSION}\n"


def modules_of(program: Path) -> set[str]:
    """Names of the Python modules in a program's archive and of those compiled beside it."""
    viewer = Path(sys.executable).parent / "pyi-archive_viewer"
    listed = run(viewer, "--recursive", "--brief", program).stdout
    names = set(re.findall(r"^\s*([\w.]+)\s*$", listed, re.MULTILINE))
    compiled = {path.name.split(".")[0] for path in program.parent.rglob("*.so")}
    return names | compiled


@pytest.mark.parametrize("name", ["initrd-minimal", "initrd-builder"])
def test_initrd_trees_leave_out_what_they_should(name: str, minimal_tree: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[3] / "packaging"))
    try:
        import trees
    finally:
        del sys.path[0]
    found = modules_of(minimal_tree.parent / name / "tvix")
    assert "appliance.boot.init" in found
    excluded = set(trees.NEVER) | set(trees.TREES[name].excludes)
    assert not {module for module in found for out in excluded if module == out or module.startswith(f"{out}.")}


def test_only_the_builder_has_sqlite_and_nspawn(minimal_tree: Path, builder_tree: Path) -> None:
    assert "_sqlite3" not in modules_of(minimal_tree / "tvix")
    assert "_sqlite3" in modules_of(builder_tree / "tvix")
    assert not (minimal_tree / "bin").exists()
    assert run(builder_tree / "bin/systemd-nspawn", "--version").stdout.startswith("systemd 2")


def test_the_compiled_chunker_is_in(program: Path) -> None:
    """pyfastcdc freezes to its pure half, silently, unless its compiled one is named."""
    viewer = Path(sys.executable).parent / "pyi-archive_viewer"
    inside = re.findall(r"pyfastcdc/cy/(\w+)\.cpython", run(viewer, "--recursive", "--brief", program).stdout)
    beside = [path.name.split(".")[0] for path in program.parent.rglob("pyfastcdc/cy/*.so")]
    assert {"chunk", "constants", "fastcdc"} <= {*inside, *beside}


def test_a_start_costs_few_instructions(minimal_tree: Path, tmp_path: Path) -> None:
    """Counted, not timed: the same on every machine, however busy."""
    counts = tmp_path / "counts"
    done = run(
        "valgrind", "--tool=callgrind", "--trace-children=yes", f"--callgrind-out-file={counts}", minimal_tree / "tvix", "--version"
    )
    match = re.search(r"Collected : (\d+)", done.stderr)
    assert match, done.stderr
    assert int(match[1]) <= MAX_INSTRUCTIONS


def test_a_start_imports_nothing_heavy() -> None:
    code = "import sys; from appliance.__main__ import run; run(['tvix', '--version']); print(*sys.modules)"
    loaded = run(sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); {code}")
    assert not HEAVY & set(loaded.stdout.split()), loaded.stderr


def test_pid_1_imports_nothing_heavy() -> None:
    """All that PID 1 imports before it forks. `appliance.boot.init` may be imported anywhere; only `main` boots."""
    code = f"import sys; sys.path.insert(0, {str(Path(__file__).parents[3])!r}); import appliance.boot.init; print(*sys.modules)"
    loaded = run(sys.executable, "-I", "-S", "-c", code)
    assert "appliance.boot.init" in loaded.stdout, loaded.stderr
    assert not HEAVY & set(loaded.stdout.split())


def test_the_image_is_small(initrd: Path) -> None:
    assert initrd.stat().st_size <= MAX_MINIMAL_IMAGE


def test_trees_know_when_they_were_made(minimal_tree: Path, builder_tree: Path) -> None:
    for tree in (minimal_tree, builder_tree):
        assert int((tree / "build-date").read_text()) > 1_700_000_000

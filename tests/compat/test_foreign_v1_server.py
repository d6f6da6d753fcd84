"""Our program against a server that knows nothing but the published protocol, under one generation's names: everything works."""

from __future__ import annotations

import filecmp
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
TVIX = [sys.executable, "-m", "appliance"]


@pytest.fixture(scope="module", params=["tvix", "snix"])
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A directory with its `socket`, and `calls` as it wrote them down."""
    place = tmp_path_factory.mktemp("foreign")
    command = [sys.executable, "-I", HERE / "foreign_v1_server.py", place / "socket", request.param]
    with (
        (place / "calls").open("w") as calls,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=calls, cwd=place) as process,
    ):
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == b"READY\n"
            yield place
        finally:
            process.kill()


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every kind of node: large and empty files, nested and equal directories, a program."""
    tree = tmp_path_factory.mktemp("sample") / "sample"
    noise = Random(7)
    for number in range(20):
        file = tree / f"d{number % 3}" / "below" / f"f{number}"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(noise.randbytes(900 * number))
    (tree / "large").write_bytes(noise.randbytes(6 << 20))
    (tree / "bin").mkdir()
    (tree / "bin/echo").write_bytes(Path("/bin/busybox").read_bytes())
    (tree / "bin/echo").chmod(0o755)
    (tree / "link").symlink_to("d0/below/f3")
    (tree / "empty").mkdir()
    return tree


def tvix(*words: object, status: int = 0) -> str:
    """What it prints."""
    done = subprocess.run([*TVIX, *map(str, words)], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return (done.stdout if not status else done.stderr).strip()


def url(server: Path) -> str:
    return f"grpc+unix:{server}/socket"


@pytest.fixture(scope="module")
def path(server: Path, tree: Path) -> str:
    """The store path of the tree, once it was imported there."""
    return tvix("store", "import", "--store", url(server), tree)


def same(one: Path, other: Path) -> bool:
    compared = filecmp.dircmp(one, other)
    whole = not (compared.left_only or compared.right_only or compared.funny_files)
    files = filecmp.cmpfiles(one, other, compared.common_files, shallow=False)
    return whole and not (files[1] or files[2]) and all(same(one / name, other / name) for name in compared.common_dirs)


def test_what_is_imported_is_there(server: Path, path: str, tree: Path) -> None:
    assert path in tvix("store", "ls", "--store", url(server)).splitlines()
    assert tvix("store", "import", "--store", url(server), tree) == path  # again, and everything is there
    with_nothing = tvix("store", "import", "--store", "memory:", tree)
    assert with_nothing == path


def test_what_is_exported_is_what_was_imported(server: Path, path: str, tree: Path, tmp_path: Path) -> None:
    tvix("store", "export", "--store", url(server), path, tmp_path / "out")
    assert same(tree, tmp_path / "out")


def test_it_verifies(server: Path, path: str) -> None:
    assert path
    tvix("store", "verify", "--check-contents", "--store", url(server))


def test_it_is_copied_into_a_store_of_ours(server: Path, path: str, tree: Path, tmp_path: Path) -> None:
    near = f"pack:{tmp_path}/near"
    cache = f"cache:?near={near}&far={url(server)}"
    tvix("store", "export", "--store", cache, path, tmp_path / "out")
    assert same(tree, tmp_path / "out")
    tvix("store", "export", "--store", near, path, tmp_path / "again")
    assert same(tree, tmp_path / "again")


def test_what_is_not_there_is_said(server: Path, tmp_path: Path) -> None:
    absent = "/nix/store/00000000000000000000000000000000-absent"
    assert absent in tvix("store", "export", "--store", url(server), absent, tmp_path / "out", status=66)


@pytest.mark.root
@pytest.mark.fuse
@pytest.mark.parametrize("trust", ["bytes", "lists"])
@pytest.mark.parametrize("engine", ["fuse", "pyfuse3"])
def test_it_is_mounted(server: Path, path: str, tree: Path, tmp_path: Path, trust: str, engine: str) -> None:
    place = tmp_path / "mnt"
    place.mkdir()
    words = ["mount", "--engine", engine, "--near", "memory:", "--list", "--store", f"{url(server)}?trust={trust}", str(place)]
    with subprocess.Popen([*TVIX, *words], stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline().startswith(b"READY")
            shown = place / Path(path).name
            assert same(tree, shown)
            assert shown.name in os.listdir(place)
            assert os.readlink(shown / "link") == "d0/below/f3"
            with (shown / "large").open("rb") as file:
                file.seek(5_000_000)
                assert file.read(99) == (tree / "large").read_bytes()[5_000_000:5_000_099]
            assert subprocess.check_output([shown / "bin/echo", "out of it"]) == b"out of it\n"
            with pytest.raises(FileNotFoundError):
                os.stat(place / "00000000000000000000000000000000-absent")
        finally:
            process.terminate()
            assert process.wait(20) == 0


@pytest.mark.root
@pytest.mark.fuse
def test_a_program_is_run(server: Path, path: str) -> None:
    assert tvix("run", "--near", "memory:", "--store", url(server), f"{path}/bin/echo", "hello") == "hello"


def test_a_tree_of_which_the_server_has_a_part_is_completed(server: Path, tree: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", tree, other], check=True)
    (other / "more").write_text("more")
    before = (server / "calls").read_text().splitlines().count("Put")
    path = tvix("store", "import", "--store", url(server), other)
    put = (server / "calls").read_text().splitlines().count("Put") - before
    assert put < 10, "blobs that are there are not sent again"
    tvix("store", "export", "--store", url(server), path, tmp_path / "out")
    assert (tmp_path / "out/more").read_text() == "more"

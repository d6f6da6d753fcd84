"""Importing, exporting, listing: right input."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Tvix


def test_import_prints_one_store_path_a_line(tvix: Tvix, tree: Path) -> None:
    finished = tvix("store", "import", tree, tree / "README")
    assert [line.partition("-")[2] for line in finished.lines] == ["hello", "README"]
    assert all(line.startswith("/nix/store/") for line in finished.lines)
    assert finished.stderr.count("\n") == 2
    assert f"tvix: ingest {tree}: 2 files in " in finished.stderr


def test_import_in_json(tvix: Tvix, tree: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    finished = tvix("store", "import", "--json", tree, tree / "link")
    assert finished.stderr == ""
    directory, link = finished.json
    assert set(directory) == {"path", "root", "narHash", "narSize", "type"}
    assert directory["path"] == path
    assert directory["root"].startswith("blake3-")
    assert directory["narHash"] == tvix("hash", "path", tree).lines[0]
    assert (link["type"], link["root"]) == ("symlink", None)


def test_name(tvix: Tvix, tree: Path) -> None:
    assert tvix("store", "import", "--name", "hi-1.0", tree).lines[0].endswith("-hi-1.0")
    tvix.fails("store", "import", "--name", "hi", tree, tree, status=64, says="--name goes with one PATH only")
    tvix.fails("store", "import", "--name", "h i", tree, status=65, says="'h i' can't be the name of a store path")


def test_default_store_is_in_the_data_directory(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    tvix("store", "import", tree)
    assert (tvix.home / ".local/share/tvix/store/format").exists()
    tvix.environment["XDG_DATA_HOME"] = str(tmp_path / "odd place%3F")
    tvix("store", "import", tree)
    assert (tmp_path / "odd place%3F/tvix/store/format").exists()
    tvix.environment["TVIX_STORE"] = f"pack:{tmp_path}/named"
    tvix("store", "import", tree)
    assert (tmp_path / "named/format").exists()
    tvix("store", "import", "--store", f"pack:{tmp_path}/option", tree)
    assert (tmp_path / "option/format").exists()


def test_export_gives_back_what_was_imported(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    assert tvix("store", "export", path, tmp_path / "out").stdout == ""
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, tmp_path / "out"]).returncode == 0
    assert os.access(tmp_path / "out/bin/hello", os.X_OK)
    tvix("store", "export", f"{path}/bin/hello", tmp_path / "program")
    assert (tmp_path / "program").read_bytes() == (tree / "bin/hello").read_bytes()


def test_nar_out_and_in(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    done = subprocess.run([*tvix.program, "store", "export", "--nar", "-", path], capture_output=True, env=tvix.command_environment)
    assert done.returncode == 0
    assert tvix("store", "export", "--json", "--nar", tmp_path / "x.nar", path).json == {
        "path": path,
        "destination": f"{tmp_path}/x.nar",
    }
    assert (tmp_path / "x.nar").read_bytes() == done.stdout
    other = ("--store", f"pack:{tmp_path}/other")
    assert tvix("store", "import-nar", "--name", "hello", *other, stdin=done.stdout).lines == [path]
    assert tvix("store", "import-nar", "--name", "hello", *other, tmp_path / "x.nar").lines == [path]
    assert tvix("store", "import-nar", "--json", "--name", "hello", *other, "-", stdin=done.stdout).json[0]["narSize"] == len(
        done.stdout
    )


def test_list(tvix: Tvix, tree: Path) -> None:
    path, readme = tvix("store", "import", tree, tree / "README").lines
    assert tvix("store", "ls").lines == sorted([path, readme])
    assert tvix("store", "ls", path).lines == ["README", "bin/", "empty/", "link"]
    assert tvix("store", "ls", "-R", path).lines == ["README", "bin/", "bin/hello", "empty/", "link"]
    assert tvix("store", "ls", "-l", f"{path}/bin").lines == [f"-r-xr-xr-x {21:>12} hello"]
    assert tvix("store", "ls", f"{path}/link", "--long").lines == [f"lrwxrwxrwx {9:>12} link -> bin/hello"]
    assert tvix("store", "ls", "--json").json[0]["narSize"] > 0
    entries = {entry["name"]: entry for entry in tvix("store", "ls", "--json", path).json}
    assert entries["README"] == {
        "name": "README",
        "type": "regular",
        "digest": entries["README"]["digest"],
        "size": 9,
        "executable": False,
    }
    assert entries["link"] == {"name": "link", "type": "symlink", "target": "bin/hello"}


def test_names_that_are_not_text(tvix: Tvix, tmp_path: Path) -> None:
    tree = tmp_path / "odd"
    tree.mkdir()
    (tree / os.fsdecode(b"caf\xe9")).write_text("x")
    (tree / "new\nline\x1b[31m").write_text("y")
    path = tvix("store", "import", tree).lines[0]
    assert tvix("store", "ls", path).lines == [os.fsdecode(b"caf\xe9"), r"new\nline\x1b[31m"]
    names = [entry["name"] for entry in tvix("store", "ls", "--json", path).json]
    assert [os.fsencode(name) for name in names] == [b"caf\xe9", b"new\nline\x1b[31m"]
    assert tvix("store", "cat", f"{path}/" + os.fsdecode(b"caf\xe9")).stdout == "x"


def test_cat(tvix: Tvix, tree: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    assert tvix("store", "cat", f"{path}/README", f"{path}/bin/hello").stdout == "Read me.\n#!/bin/sh\necho hello\n"


def test_closure_root_is_stored(tvix: Tvix, tree: Path) -> None:
    path, readme = tvix("store", "import", tree, tree / "README").lines
    both = tvix("store", "closure", path, readme).lines
    assert len(both) == 1
    assert both[0].startswith("blake3-")
    assert both == tvix("store", "closure", readme, path).lines
    assert both != tvix("store", "closure", path).lines
    told = tvix("store", "closure", "--json", path, readme).json
    assert (told["root"], told["paths"]) == (both[0], sorted([path, readme]))


def test_path_info(tvix: Tvix, tree: Path) -> None:
    path, readme = tvix("store", "import", tree, tree / "README").lines
    assert tvix("path-info", path).lines == [path]
    assert tvix("path-info", "--size", path).lines == [f"{path}\t{tvix('path-info', '--json', path).json[path]['narSize']}"]
    told = tvix("path-info", "--json", readme, path, path).json
    assert list(told) == sorted([path, readme])
    assert told[path]["narHash"] == tvix("hash", "path", tree).lines[0]
    assert tvix("path-info", "--json", "--recursive", path).json == {path: told[path]}


def test_served_store(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    socket = tmp_path / "socket"
    with tvix.serving("--store", f"pack:{tmp_path}/served", "--listen", f"unix:{socket}") as (address, *_):
        path = tvix("store", "import", "--store", address, tree).lines[0]
        assert tvix("store", "ls", "--store", f"grpc+unix:{socket}").lines == [path]
        assert tvix("store", "cat", "--store", address, f"{path}/README").stdout == "Read me.\n"
        tvix("store", "export", "--store", address, path, tmp_path / "out")
        near = f"cache:?near=pack:{tmp_path}/near&far={address}"
        assert tvix("store", "cat", "--store", near, f"{path}/README").stdout == "Read me.\n"
    assert (tmp_path / "out/README").read_text() == "Read me.\n"
    assert tvix("store", "ls", "--store", f"pack:{tmp_path}/served").lines == [path]
    assert not socket.exists()


def test_read_only_server(tvix: Tvix, tree: Path) -> None:
    path, readme = tvix("store", "import", tree, tree / "README").lines
    root = tvix("store", "closure", path).lines
    with tvix.serving("--read-only") as (address, *_):
        tvix.fails("store", "import", "--progress", "quiet", "--store", address, tree, status=77, says="refused")
        assert tvix("store", "closure", "--store", address, path).lines == root
        tvix.fails("store", "closure", "--store", address, readme, status=77, says="refused")


@pytest.mark.nix
def test_paths_and_hashes_are_those_of_stock_nix(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "HOME": str(tmp_path),
        "NIX_CONFIG": "substituters =\nbuild-users-group =\nexperimental-features = nix-command\n",
    }

    def nix(*words: object) -> str:
        return subprocess.run([*map(str, words)], env=environment, capture_output=True, text=True, check=True).stdout.strip()

    store = f"local?root={tmp_path}/nix"
    assert tvix("store", "import", tree).lines == [nix("nix-store", "--store", store, "--add", tree)]
    for form, option in (("sri", "--sri"), ("hex", "--base16"), ("nixbase32", "--base32"), ("base64", "--base64")):
        assert tvix("hash", "path", "--format", form, tree).lines == [nix("nix", "hash", "path", option, tree)]

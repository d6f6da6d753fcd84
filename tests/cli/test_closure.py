"""Closures of a real Nix store, in and out through the program, and the JSON of stock Nix."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix
    from tvix.testing.stock_nix import StockNix

QUIET = ("--progress", "quiet")


@pytest.fixture
def closure(nix28: StockNix, tmp_path: Path) -> tuple[Path, Path, str]:
    """A directory of store paths, what Nix 2.8 says of them, and the one that refers to the other."""
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/data").write_text("data\n")
    inner = nix28.line("nix-store", "--add", tmp_path / "tree")
    expression = tmp_path / "outer.nix"
    expression.write_text(f'builtins.toFile "outer" "I need ${{builtins.storePath {inner}}}\\n"')
    outer = nix28.line("nix-instantiate", "--eval", "--read-write-mode", "--json", expression).strip('"')
    info = tmp_path / "INFO.json"
    info.write_text(json.dumps(nix28.json("nix", "path-info", "-r", "--json", outer)))
    return nix28.store, info, outer


@pytest.mark.nix
def test_closure_comes_in_whole(tvix: Tvix, closure: tuple[Path, Path, str], tmp_path: Path) -> None:
    store, info, outer = closure
    lines = tvix("store", "import-closure", "--nix-store", store, info).lines
    assert len(lines) == 2
    assert lines[-1] == outer
    told = tvix("path-info", "--json", "-r", outer).json
    assert list(told) == sorted(lines)
    assert told[outer]["references"] == [lines[0]]
    tvix("store", "export", lines[0], tmp_path / "out")
    assert (tmp_path / "out/data").read_text() == "data\n"
    again = tvix("store", "import-closure", "--json", "--nix-store", store, info).json
    assert [one["path"] for one in again] == lines


@pytest.mark.nix
def test_closure_that_lies(tvix: Tvix, closure: tuple[Path, Path, str], tmp_path: Path) -> None:
    store, info, outer = closure
    told = json.loads(info.read_text())
    command = ("store", "import-closure", "--nix-store", store, info, *QUIET)
    info.write_text(json.dumps([{**one, "narHash": told[0]["narHash"]} for one in told]))
    tvix.fails(*command, status=65, says="is said to have the NAR hash")
    info.write_text(json.dumps([one for one in told if one["path"] == outer]))
    tvix.fails(*command, status=66, says=f"{outer} refers to")
    info.write_text(json.dumps(told)[:-5])
    tvix.fails(*command, status=65, says=f"{info} is not what `nix path-info --json` prints")
    tvix.fails("store", "import-closure", "--nix-store", store, tmp_path / "none", status=66, says=f"{tmp_path}/none can't be read")
    info.write_text(json.dumps(told))
    tvix.fails("store", "import-closure", "--nix-store", tmp_path, info, *QUIET, status=66, says="can't be read")
    assert tvix("store", "ls").lines == []


@pytest.mark.nix
@pytest.mark.root
def test_path_info_is_that_of_nix_226(tvix: Tvix, nix226: StockNix, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/data").write_text("data\n")
    path = nix226.line("nix-store", "--add", tmp_path / "tree")
    assert tvix("store", "import", tmp_path / "tree").lines == [path]
    ours, theirs = tvix("path-info", "--json", path).json, nix226.json("nix", "path-info", "--json", path)
    assert list(ours) == list(theirs)
    # When it was registered is each store's own; that it was built there ("ultimate") we never claim.
    assert {**ours[path], "registrationTime": 0, "ultimate": 0} == {**theirs[path], "registrationTime": 0, "ultimate": 0}


@pytest.mark.nix
def test_nar_comes_back_through_stock_nix(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    path = tvix("store", "import", tree).lines[0]
    exported = subprocess.run(
        [*tvix.program, "store", "export", "--nar", "-", path], capture_output=True, env=tvix.command_environment
    )
    subprocess.run(["nix-store", "--restore", tmp_path / "restored"], input=exported.stdout, check=True)
    assert subprocess.run(["diff", "-r", "--no-dereference", tree, tmp_path / "restored"]).returncode == 0

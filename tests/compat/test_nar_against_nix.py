"""Fifty odd trees have the NAR that stock Nix makes of them, byte for byte, and what Nix restores is what went in."""

from __future__ import annotations

import io
from hashlib import sha256
from pathlib import Path

import pytest

from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.nar.reader import read_nar
from tvix.nix_compat.nar.writer import NarWriter
from tvix.nix_compat.store_path import source_path
from tvix.testing.stock_nix import StockNix
from tvix.testing.trees import ODD_TREES, Tree, make_tree, visit_tree

pytestmark = pytest.mark.nix


def nar_of(tree: Tree) -> bytes:
    output = io.BytesIO()
    writer = NarWriter(output.write)
    visit_tree(tree, writer)
    writer.close()
    return output.getvalue()


@pytest.mark.parametrize("name", ODD_TREES)
def test_an_odd_tree_has_the_nar_that_nix_dumps(name: str, nix28: StockNix, tmp_path: Path) -> None:
    tree = ODD_TREES[name]()
    path = make_tree(tmp_path / "tree", tree)
    dumped = nix28.run("nix-store", "--dump", path)
    assert nar_of(tree) == dumped
    copy = io.BytesIO()
    writer = NarWriter(copy.write)
    assert read_nar(io.BytesIO(dumped).read, writer) == len(dumped)
    writer.close()
    assert copy.getvalue() == dumped


@pytest.mark.parametrize(
    "name", ["all kinds", "names not UTF-8", "longest target", "modes", "nested to the limit", "files around a piece"]
)
def test_nix_restores_what_was_written(name: str, nix28: StockNix, tmp_path: Path) -> None:
    nar = nar_of(ODD_TREES[name]())
    nix28.run("nix-store", "--restore", tmp_path / "restored", stdin=nar)
    assert nix28.run("nix-store", "--dump", tmp_path / "restored") == nar


@pytest.mark.parametrize("name", ["all kinds", "empty directory", "executable file as root", "names that differ in case"])
def test_the_store_path_of_a_tree_is_the_one_nix_adds_it_under(name: str, nix28: StockNix, tmp_path: Path) -> None:
    tree = ODD_TREES[name]()
    path = make_tree(tmp_path / "tree", tree)
    digest = sha256(nar_of(tree)).digest()
    assert nix28.line("nix-store", "--add", path) == str(source_path("tree", digest))
    assert nix28.line("nix", "hash", "path", path) == Hash("sha256", digest).print("sri")
    assert nix28.line("nix-hash", "--type", "sha256", "--base32", path) == Hash("sha256", digest).print("nixbase32")

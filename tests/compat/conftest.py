"""Two stock Nixes to compare with, each on a private store in the test's own folder.

`nix28` is the Nix 2.8 that Debian 12's nix-bin installs: the peer for NARs and hashes, and quick to start (30 ms).
`nix226` is Debian 13's Nix 2.26 in a tree of its own under `.cache/nix-2.26`, entered with a mount namespace and chroot (0.4 s):
JSON shapes are judged by it. Its first use makes the tree (about a minute, 120 MB from the Debian mirror). It needs root.

Both are `tvix.testing.stock_nix.StockNix`:

    def test_something(nix28: StockNix, tmp_path: Path) -> None:
        path = nix28.line("nix-store", "--add", tmp_path / "tree")      # /nix/store/…, its files in nix28.store
        info = nix28.json("nix", "path-info", "--json", path)
        nix28.run("nix", "copy", "--to", nix28.url, path)               # nix28.url is local?root=…

Everything a program is to see must lie below `tmp_path`. Tests that use them are marked `nix`, those of `nix226` also `root`.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tvix.testing.stock_nix import StockNix, build_nix_226

_REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def nix28(tmp_path: Path) -> StockNix:
    """The installed Nix on a fresh private store, offline. Fails, rather than skips, where nix-bin isn't installed."""
    assert shutil.which("nix-store"), "nix-bin is not installed: apt-get install nix-bin"
    return StockNix(tmp_path, os.environ["PATH"])


@pytest.fixture(scope="session")
def nix226_tree() -> Path:
    """The Debian 13 tree with Nix 2.26 inside; several workers may ask for it at once."""
    return build_nix_226(_REPOSITORY / ".cache" / "nix-2.26")


@pytest.fixture
def nix226(nix226_tree: Path, tmp_path: Path) -> StockNix:
    """Nix 2.26 on a fresh private store, offline."""
    return StockNix(tmp_path, "/usr/sbin:/usr/bin:/sbin:/bin", chroot=nix226_tree)

"""`tvix store verify` as a program: what it prints, and what it exits with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.cli.conftest import Tvix

QUIET = ("--progress", "quiet")


def damage(place: Path) -> None:
    pack = place / "packs" / "00000000.pack"
    contents = bytearray(pack.read_bytes())
    contents[60] ^= 1
    pack.write_bytes(contents)


def test_a_sound_store(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    store = ("--store", f"pack:{tmp_path}/mine")
    tvix("store", "import", *store, tree)
    said = tvix("store", "verify", *store, *QUIET).lines
    assert len(said) == 1
    assert said[0].startswith("0 problems in ")
    told = tvix("store", "verify", "--check-contents", "--json", *store, *QUIET).json
    assert (told["ok"], told["problems"], told["incomplete"]) == (True, [], 0)
    assert told["checked"]["path info"] == 1


def test_a_damaged_store(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    store = ("--store", f"pack:{tmp_path}/mine")
    tvix("store", "import", *store, tree)
    damage(tmp_path / "mine")
    said = tvix("store", "verify", *store, *QUIET, status=65).lines
    assert len(said) > 1
    assert "checksum is wrong" in said[0]
    told = tvix("store", "verify", "--json", *store, *QUIET, status=65).json
    assert not told["ok"]
    assert {"kind", "name", "reason"} == set(told["problems"][0])


def test_a_store_that_is_served(tvix: Tvix, tree: Path, tmp_path: Path) -> None:
    tvix("store", "import", "--store", f"pack:{tmp_path}/mine", tree)
    listen = f"unix:{tmp_path}/socket"
    with tvix.serving("--store", f"pack:{tmp_path}/mine", "--listen", listen):
        said = tvix("store", "verify", "--check-contents", "--store", f"grpc+{listen}", *QUIET).lines
    assert said[0].startswith("0 problems in ")


def test_no_store(tvix: Tvix, tmp_path: Path) -> None:
    tvix.fails("store", "verify", "--store", f"pack:{tmp_path}/nowhere", status=66, says="nowhere")

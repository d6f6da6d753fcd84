"""Path infos in a pack store, held to the suite, and to what only a store on disk can promise."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.store.addresses import open_store
from tvix.store.path_info import PathInfo
from tvix.store.store import Store
from tvix.testing.path_infos_conformance import *  # noqa: F403
from tvix.testing.path_infos_conformance import file_node, get, info_of, put, signature


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with open_store(f"pack:{tmp_path}/store") as opened:
        yield opened


def test_what_was_put_outlives_the_process(store: Store, info: PathInfo, tmp_path: Path) -> None:
    signed = info._replace(signatures=(signature("a-1"),))
    put(store, info)
    put(store, signed)
    store.close()
    with open_store(f"pack:{tmp_path}/store") as again:
        assert get(again, info.path) == signed
        assert again.path_infos.calculate_nar(info.node) == (info.nar_size, info.nar_sha256)


SIGNS = """
import sys
from tvix.nix_compat.signatures import Signature
from tvix.nix_compat.store_path import parse_store_path
from tvix.store.addresses import open_store
store = open_store(sys.argv[1])
path = parse_store_path(sys.argv[2])
info = store.path_infos.get_many([path.digest])[path.digest]
for number in range(20):
    store.path_infos.put_many([info._replace(signatures=(Signature(f"{sys.argv[3]}-{number}", bytes(64)),))])
"""


def test_processes_that_sign_at_once_lose_no_signature(store: Store, info: PathInfo, tmp_path: Path) -> None:
    put(store, info)
    command = [sys.executable, "-c", SIGNS, f"pack:{tmp_path}/store", str(info.path)]
    signers = [subprocess.Popen([*command, f"k{number}"]) for number in range(3)]
    assert [signer.wait() for signer in signers] == [0, 0, 0]
    found = get(store, info.path)
    assert found is not None
    assert {signature.name for signature in found.signatures} == {f"k{k}-{n}" for k in range(3) for n in range(20)}


SEES = """
import sys
from tvix.store.addresses import open_store
from tvix.nix_compat.store_path import parse_store_path
store = open_store(sys.argv[1])
path = parse_store_path(sys.argv[2])
info = store.path_infos.get_many([path.digest])[path.digest]
print(store.path_infos.calculate_nar(info.node).sha256 == info.nar_sha256)
"""


def test_another_process_sees_the_tree_of_what_it_sees(store: Store, tmp_path: Path) -> None:
    """No sync is called: a path info is never durable before its contents are."""
    info = info_of(store, file_node(store, b"x" * 100_000))
    put(store, info)
    done = subprocess.run([sys.executable, "-c", SEES, f"pack:{tmp_path}/store", str(info.path)], capture_output=True, text=True)
    assert (done.stdout, done.stderr) == ("True\n", "")

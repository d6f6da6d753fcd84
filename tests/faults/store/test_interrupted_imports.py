"""An import that is killed, or that fills the disk, leaves nothing registered, a store that works, and can be repeated."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tvix.castore.pack.format import DiskFull
from tvix.nix_compat.hashes import Hash
from tvix.nix_compat.store_path import StorePath, StorePathDigest
from tvix.store.addresses import open_store
from tvix.store.importing import import_closure, import_path
from tvix.store.nar_hash import hash_path
from tvix.testing.trees import make_tree

PATHS = 12

# Says a line when a path has been read, and dies at the one it is told to.
IMPORTS = """
import os, signal, sys
from tvix.store.addresses import open_store
from tvix.store.importing import import_closure
from tvix.store.nar_hash_process import NarHashProcess

done = 0
def emit(event):
    global done
    if event["what"] == "ingest" and event["kind"] == "stop":
        done += 1
        if done == int(sys.argv[4]):
            print(hasher._pid, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)

hasher = NarHashProcess()
with open_store(sys.argv[1]) as store:
    import_closure(store, sys.argv[2], sys.argv[3], hasher=hasher, emit=emit)
"""


@pytest.fixture
def closure(tmp_path: Path) -> tuple[Path, Path]:
    """The folder of a Nix store and its INFO.json: each path refers to the one before."""
    folder, info = tmp_path / "store", tmp_path / "INFO.json"
    folder.mkdir()
    told: dict[str, object] = {}
    before: list[str] = []
    for number in range(PATHS):
        path = StorePath(StorePathDigest(bytes([number + 1]) * 20), f"path-{number}")
        contents = bytes([number]) * 3000
        size, digest = hash_path(make_tree(folder / path.basename, {b"%d" % n: contents + b"%d" % n for n in range(20)}))
        told[str(path)] = {"narHash": Hash("sha256", digest).print("sri"), "narSize": size, "references": before}
        before = [str(path)]
    info.write_text(json.dumps(told))
    return folder, info


@pytest.mark.parametrize("at", [1, 7, PATHS])
def test_killed(at: int, closure: tuple[Path, Path], tmp_path: Path) -> None:
    url = f"pack:{tmp_path}/pack"
    done = subprocess.run([sys.executable, "-c", IMPORTS, url, *closure, str(at)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (-signal.SIGKILL, "")
    _wait_for_end(int(done.stdout))
    with open_store(url) as store:
        assert list(store.path_infos.list()) == []
        assert len(import_closure(store, *closure)) == PATHS
    with open_store(url) as store:
        for info in store.path_infos.list():
            assert store.path_infos.calculate_nar(info.node) == (info.nar_size, info.nar_sha256)


def _wait_for_end(pid: int) -> None:
    """The hashing process ends with its parent."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    with open(descriptor) as process:
        import select

        poll = select.poll()
        poll.register(process, select.POLLIN)
        assert poll.poll(20_000), "the hashing process outlives its parent"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "disk"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.mark.root
def test_a_full_disk(small_disk: Path, tmp_path: Path) -> None:
    small = make_tree(tmp_path / "small", {b"a": b"fits"})
    large = make_tree(tmp_path / "large", {b"%03d" % number: os.urandom(50_000) for number in range(200)})
    url = f"pack:{small_disk}/pack"
    with pytest.raises(DiskFull), open_store(url) as store:
        import_path(store, large)
    with open_store(url) as store:
        assert list(store.path_infos.list()) == []
        info = import_path(store, small)
        assert store.path_infos.calculate_nar(info.node) == (info.nar_size, info.nar_sha256)

"""What the mount process of a boot loads while the network comes up: what the store's address needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tvix.castore.digests import print_digest
from tvix.castore.directory import Directory
from tvix.castore.nodes import Name, SymlinkNode
from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store

ROOT = Path(__file__).parents[3]
SCRIPT = """
import sys
from appliance.boot import mounting
mounting.STATUS_FILE = sys.argv[1] + "/mount.json"
mounting._import_client(sys.argv[2])
print(*(name for name in sys.argv[3:] if name in sys.modules))
"""
HEAVY = ("grpc", "google.protobuf", "lmdb", "asyncio", "argparse", "dataclasses", "inspect", "ssl")


@pytest.mark.parametrize(
    ("store", "loaded"),
    [
        ("tvix+tcp://10.0.0.1:8001", set()),
        ("tvix+unix:/run/s", set()),
        ("grpc+http://10.0.0.1:8000", set()),  # whether it takes gRPC, the server says
        ("grpc+unix:/run/s", set()),
        ("pack:/store", set()),
    ],
)
def test_only_what_is_spoken_is_loaded(store: str, loaded: set[str], tmp_path: Path) -> None:
    client = "tvix.castore.transfer.scheduler"
    words = [sys.executable, "-c", SCRIPT, str(tmp_path), store, client, *HEAVY]
    done = subprocess.run(words, capture_output=True, text=True, check=True, cwd=ROOT)
    assert set(done.stdout.split()) & {"grpc", "google.protobuf"} == loaded
    assert not set(done.stdout.split()) & {"lmdb", "asyncio", "argparse", "ssl"} - ({"asyncio", "ssl"} if loaded else set())
    assert (client in done.stdout) is (not store.startswith("pack:"))


NOTHING_MORE = """
import sys
from appliance.boot import mounting
mounting.STATUS_FILE = sys.argv[1] + "/mount.json"
import appliance.roles.mount
store, root = sys.argv[2:]
asked = mounting.contract.parse(f"tvix.store={store} tvix.root={root} tvix.find")
spec = mounting._spec(asked)
mounting._import_client(asked.store)
before = set(sys.modules)
from appliance.roles.mount_source import open_source
from tvix.mount.counters import Counters
source, close = open_source(spec, Counters())
source.root(spec.root)
print(*(set(sys.modules) - before))
close()
"""


@pytest.mark.parametrize("way", [0, 1], ids=["offered", "framed"])
def test_nothing_is_left_to_import_when_the_network_is_there(tmp_path: Path, way: int) -> None:
    """Until the store is mounted, a machine would wait for it."""
    store = open_store("memory:")
    nodes = [(Name(b"%d" % number), SymlinkNode(b"nowhere")) for number in range(10)]
    root = store.directories.put([Directory.of(nodes)])
    server = make_server(store, ["127.0.0.1:0", "tvix+tcp://127.0.0.1:0"])
    server.start()
    words = [str(tmp_path), server.addresses[way].url, print_digest(root)]
    done = subprocess.run([sys.executable, "-c", NOTHING_MORE, *words], capture_output=True, text=True, check=True, cwd=ROOT)
    server.stop(0)
    assert done.stdout == "\n"

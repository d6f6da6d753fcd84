"""What the mount process of a boot loads while the network comes up: what the store's address needs, and nothing else."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

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

"""What the client drags into a process that boots."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from tvix.castore.grpc_import import import_grpc
import_grpc(light=True)
from tvix.castore.addresses import parse_address
from tvix.castore.blobs.remote import RemoteBlobService
from tvix.castore.directories.remote import RemoteDirectoryService
from tvix.castore.remote_channel import open_channel
from tvix.store.path_infos.remote import RemotePathInfoService
from tvix.castore.blobs.interface import StoreUnavailable
channel = open_channel(parse_address("grpc+http://127.0.0.1:1?deadline=0.2"))
try:
    RemoteBlobService(channel).missing([bytes(32)])
except StoreUnavailable:
    print(" ".join(sorted(sys.modules)))
    channel.close()
import asyncio
asyncio.run(asyncio.sleep(0))
"""


def test_the_light_client_works_without_asyncio_and_generated_code() -> None:
    done = subprocess.run([sys.executable, "-I", "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    modules = set(done.stdout.split())
    assert "grpc" in modules, done.stderr
    assert done.returncode == 0, done.stderr
    unwanted = {"asyncio", "ssl", "google.protobuf", "http", "urllib.request", "argparse", "multiprocessing", "email"}
    assert not unwanted & modules
    assert not {name for name in modules if name.startswith(("asyncio.", "google.", "tvix.proto."))}

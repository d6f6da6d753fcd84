"""A foreign client, which has nothing of ours but the published protocol, is served in both name spaces."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store

CLIENT = Path(__file__).parent / "foreign_grpc_client.py"
EXTENSION_CLIENT = Path(__file__).parent / "foreign_extension_client.py"


@pytest.mark.parametrize("generation", ["tvix", "snix"])
@pytest.mark.parametrize("transport", ["tcp", "unix"])
def test_a_foreign_client_gets_every_answer(generation: str, transport: str, tmp_path: Path) -> None:
    with open_store("memory:") as store:
        server = make_server(store, ["127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/socket"])
        server.start()
        try:
            # -I and another folder: nothing of this project can be imported by accident
            command = [sys.executable, "-I", str(CLIENT), str(server.addresses[0]), generation]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        finally:
            server.stop(grace=0)
    assert done.stdout.strip().endswith("every call answered as published"), done.stderr


def test_a_foreign_client_of_the_extension_protocol_gets_every_answer(tmp_path: Path) -> None:
    with open_store("memory:") as store:
        server = make_server(store, ["127.0.0.1:0"])
        server.start()
        try:
            command = [sys.executable, "-I", str(EXTENSION_CLIENT), str(server.addresses[0])]
            done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
        finally:
            server.stop(grace=0)
    assert done.stdout.strip().endswith("every call answered as described"), done.stderr

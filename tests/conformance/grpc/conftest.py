"""A server of a memory store, reached over TCP and over a Unix socket."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store
from tvix.store.store import Store


@pytest.fixture(params=["tcp", "unix"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    transport = cast("str", request.param)
    with open_store("memory:") as served:
        server = make_server(served, ["127.0.0.1:0" if transport == "tcp" else f"unix:{tmp_path}/socket"])
        server.start()
        address = str(server.addresses[0])
        with open_store(f"grpc+http://{address}" if transport == "tcp" else f"grpc+{address}") as client:
            yield client
        server.stop(grace=0)

"""A server of a memory store, reached in every way: by gRPC and framed, over TCP and Unix sockets, with the extension or not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import cast

import pytest

from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store
from tvix.store.store import Store

WAYS = {
    "grpc+tcp": ("127.0.0.1:0", "grpc+http://", True),
    "grpc+unix": ("unix:{}/socket", "grpc+", True),
    "tvix+tcp": ("tvix+tcp://127.0.0.1:0", "", True),
    "tvix+unix": ("tvix+unix:{}/socket", "", True),
    "grpc, published services": ("unix:{}/socket", "grpc+", False),
    "framed, published services": ("tvix+unix:{}/socket", "", False),
    "distant": ("tvix+tcp://127.0.0.1:0", "", True),
}


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest) -> str:
    return cast("str", request.param)


@pytest.fixture
def store(way: str, tmp_path: Path) -> Iterator[Store]:
    listen, prefix, extension = WAYS[way]
    with open_store("memory:") as served:
        server = make_server(served, [listen.format(tmp_path)], extension=extension)
        server.start()
        with open_store(f"{prefix}{server.addresses[0]}") as client:
            if way == "distant":  # as over a network, where what is sent is cut and compressed
                client.blobs._channel.distant = True  # type: ignore[attr-defined]
            yield client
        server.stop(grace=0)

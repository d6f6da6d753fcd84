"""Servers that do what they like: functions from raw requests to raw answers under the published names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from typing import Any

import grpc
import pytest

from tvix.castore.addresses import parse_address
from tvix.castore.remote_channel import Channel, open_channel

SERVICES = {"Stat": "BlobService", "Read": "BlobService", "Put": "BlobService", "Get": "DirectoryService"}
Hostile = Callable[..., Channel]


@pytest.fixture
def hang() -> Iterator[Event]:
    """What a server waits for that never answers; the end of the test."""
    event = Event()
    yield event
    event.set()


@pytest.fixture
def hostile(hang: Event) -> Iterator[Hostile]:
    """Start a server of `methods` ("castore.v1.BlobService/Stat": handler…), and give a channel to it."""
    servers: list[Any] = []
    channels: list[Channel] = []

    def start(methods: dict[str, Any], deadline: float = 10, generation: str = "snix") -> Channel:
        server = grpc.server(ThreadPoolExecutor(4), options=[("grpc.max_send_message_length", -1)])
        for path, handler in methods.items():
            service, method = path.split("/")
            server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(f"{generation}.{service}", {method: handler}),))
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        servers.append(server)
        channels.append(open_channel(parse_address(f"grpc+http://127.0.0.1:{port}?deadline={deadline}")))
        return channels[-1]

    yield start
    for channel in channels:
        channel.close()
    hang.set()
    for server in servers:
        server.stop(0).wait()

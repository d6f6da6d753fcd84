"""Sockets, shutdown and log of the server."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from threading import Event as Flag
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from tvix.castore.blobs.interface import CorruptBlob
from tvix.castore.blobs.memory import MemoryBlobService
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.remote_errors import StoreFailed, StoreRefused
from tvix.grpc_api.policy import InsecureAddress
from tvix.grpc_api.server import Server, make_server
from tvix.grpc_api.sockets import CannotListen
from tvix.store.addresses import open_store
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store

if TYPE_CHECKING:
    from tvix.events import Event


class Blobs(MemoryBlobService):
    """Waits, fails and counts as told."""

    def __init__(self) -> None:
        super().__init__()
        self.at_missing: Callable[[], None] = lambda: None
        self.syncs = 0

    def missing(self, digests: Collection[Digest]) -> set[Digest]:
        self.at_missing()
        return super().missing(digests)

    def sync(self) -> None:
        self.syncs += 1


@pytest.fixture
def blobs() -> Blobs:
    return Blobs()


@pytest.fixture
def store(blobs: Blobs) -> Store:
    directories = MemoryDirectoryService()
    return Store(blobs, directories, MemoryPathInfoService(blobs, directories))


@pytest.fixture
def serve(store: Store) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def serve(*addresses: str, **options: object) -> Server:
        servers.append(make_server(store, addresses, **options))  # type: ignore[arg-type]
        servers[-1].start()
        return servers[-1]

    yield serve
    for server in servers:
        server.stop(grace=0)


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_mode_of_a_socket_is_private_unless_said_otherwise(serve: Callable[..., Server], tmp_path: Path) -> None:
    serve(f"unix:{tmp_path}/private")
    serve(f"unix:{tmp_path}/shared", socket_mode=0o660)
    assert (mode_of(tmp_path / "private"), mode_of(tmp_path / "shared")) == (0o600, 0o660)


def test_the_umask_is_left_as_it_was(serve: Callable[..., Server], tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        serve(f"unix:{tmp_path}/socket")
        assert os.umask(0o027) == 0o027
    finally:
        os.umask(before)


def test_a_stale_socket_is_replaced_and_a_live_one_is_not(serve: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(path))
    server = serve(f"unix:{path}")
    with pytest.raises(CannotListen, match="listens there already"):
        serve(f"unix:{path}")
    with open_store(f"grpc+unix:{path}") as client:
        assert client.blobs.put(b"x") == digest_of(b"x")
    server.stop(grace=0)
    serve(f"unix:{path}")


def test_what_is_no_socket_is_left_alone(serve: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("precious")
    with pytest.raises(CannotListen, match="not a socket"):
        serve(f"unix:{path}")
    assert path.read_text() == "precious"


def test_a_port_is_not_shared(serve: Callable[..., Server]) -> None:
    taken = serve("127.0.0.1:0").addresses[0]
    assert taken.port > 0
    with pytest.raises(CannotListen, match=rf"{taken}.*in use"):
        serve(str(taken))


def test_addresses_that_can_t_be(serve: Callable[..., Server], tmp_path: Path) -> None:
    for address in (f"unix:{tmp_path}/no/such/folder", "192.0.2.1:0", "nowhere.invalid:80"):
        with pytest.raises(CannotListen):
            serve(address, insecure="read")
    with pytest.raises(InsecureAddress):
        serve("0.0.0.0:0")


def test_rights_are_those_of_the_address(serve: Callable[..., Server], tmp_path: Path) -> None:
    server = serve(f"unix:{tmp_path}/socket", "0.0.0.0:0", insecure="read")
    port = next(listen.port for listen in server.addresses if listen.port)
    with open_store(f"grpc+unix:{tmp_path}/socket") as writer, open_store(f"grpc+http://127.0.0.1:{port}") as reader:
        digest = writer.blobs.put(b"x")
        writer.sync()
        reader.blobs.put(b"y")
        with pytest.raises(StoreRefused, match="serves reads only"):
            reader.sync()
        found = reader.blobs.open(digest)
        assert found is not None
        assert bytes(found.read_at(0, 1)) == b"x"


def test_a_path_with_odd_characters(serve: Callable[..., Server], tmp_path: Path) -> None:
    path = tmp_path / "a b%41 #?ä"
    serve(f"unix:{path}")
    with open_store(f"grpc+unix:{tmp_path}/a b%2541 %23%3Fä") as client:
        assert client.blobs.put(b"x") == digest_of(b"x")


def test_a_call_under_way_is_finished_before_the_server_stops(serve: Callable[..., Server], blobs: Blobs, tmp_path: Path) -> None:
    entered, go_on = Flag(), Flag()

    def wait() -> None:
        entered.set()
        go_on.wait(20)

    blobs.at_missing = wait
    server = serve(f"unix:{tmp_path}/socket")
    answers: list[set[Digest]] = []
    with open_store(f"grpc+unix:{tmp_path}/socket") as client:
        asking = Thread(target=lambda: answers.append(client.blobs.missing([digest_of(b"x")])))
        asking.start()
        assert entered.wait(20)
        stopping = Thread(target=server.stop, kwargs={"grace": 20})
        stopping.start()
        go_on.set()
        stopping.join()
        asking.join()
    assert answers == [{digest_of(b"x")}]
    assert blobs.syncs > 0
    assert server.wait(timeout=0)


def test_the_log_names_the_request_and_nobody_sees_a_trace(serve: Callable[..., Server], blobs: Blobs, tmp_path: Path) -> None:
    def fail() -> None:
        raise RuntimeError("a secret of the inside")

    def lie() -> None:
        raise CorruptBlob(digest="d", origin="disk", actual="a")

    events: list[Event] = []
    serve(f"unix:{tmp_path}/socket", emit=events.append)
    with open_store(f"grpc+unix:{tmp_path}/socket") as client:
        for fault in (fail, lie):
            blobs.at_missing = fault
            with pytest.raises(StoreFailed) as raised:
                client.blobs.missing([digest_of(b"x")])
            assert "secret" not in str(raised.value)
    (first, second) = (event["fields"] for event in events)
    assert "a secret of the inside" in str(first["trace"])
    assert "trace" not in second
    assert first["request"] != second["request"]
    assert raised.value.remote_identifier == "castore.corrupt-blob"
    assert raised.value.remote_fields == {"digest": "d", "origin": "disk", "actual": "a"}

"""Clients that send nonsense, stop reading, stop sending or go away: each harms itself at most."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event

import grpc
import pytest

from tvix.castore.blobs.interface import BlobReader, Buffer
from tvix.castore.blobs.memory import BytesReader, MemoryBlobService, MemoryBlobWriter
from tvix.castore.digests import Digest, digest_of
from tvix.castore.directories.memory import MemoryDirectoryService
from tvix.castore.grpc_import import Foreign
from tvix.castore.grpc_messages import encode_digest, encode_frame
from tvix.grpc_api.server import Limits, Server, make_server
from tvix.store.path_infos.memory import MemoryPathInfoService
from tvix.store.store import Store

BLOBS = "/snix.castore.v1.BlobService/"
DIRECTORIES = "/tvix.castore.v1.DirectoryService/"
PATH_INFOS = "/tvix.store.v1.PathInfoService/"
SMALL = b"small"
LARGE = bytes(64 << 20)


class WatchedBlobs(MemoryBlobService):
    """Says how far readers were read, and that a writer was given up."""

    def __init__(self) -> None:
        super().__init__()
        self.furthest = 0
        self.given_up = Event()
        self.left = Event()

    def open(self, digest: Digest) -> BytesReader | None:
        contents = self._get(digest)
        return None if contents is None else WatchedReader(contents, self)

    def writer(self) -> MemoryBlobWriter:
        return WatchedWriter(self, None)


class WatchedReader(BytesReader):
    def __init__(self, contents: Buffer, service: WatchedBlobs) -> None:
        super().__init__(contents)
        self.service = service

    def read_at(self, offset: int, length: int) -> Buffer:
        self.service.furthest = max(self.service.furthest, offset + length)
        return super().read_at(offset, length)

    def close(self) -> None:
        self.service.left.set()
        super().close()


class WatchedWriter(MemoryBlobWriter):
    def abort(self) -> None:
        if self._digest is None:
            self._service.given_up.set()  # type: ignore[attr-defined]
        super().abort()


@pytest.fixture
def blobs() -> WatchedBlobs:
    return WatchedBlobs()


@pytest.fixture
def start(blobs: WatchedBlobs) -> Iterator[Callable[..., Server]]:
    """Start a server of `blobs` with these limits."""
    servers: list[Server] = []

    def start(**limits: float) -> Server:
        directories = MemoryDirectoryService()
        store = Store(blobs, directories, MemoryPathInfoService(blobs, directories))
        servers.append(make_server(store, ["127.0.0.1:0"], limits=Limits(**limits)))  # type: ignore[arg-type]
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop(grace=0)


@pytest.fixture
def connect() -> Iterator[Callable[[Server], Foreign]]:
    """A raw channel with a connection of its own."""
    channels: list[Foreign] = []

    def connect(server: Server) -> Foreign:
        channels.append(grpc.insecure_channel(str(server.addresses[0]), options=[("grpc.use_local_subchannel_pool", 1)]))
        return channels[-1]

    yield connect
    for channel in channels:
        channel.close()


def code_of(call: Callable[[], object]) -> str:
    try:
        call()
    except grpc.RpcError as error:
        return str(error.code().name)
    return "OK"


@pytest.mark.parametrize(
    ("path", "message", "code"),
    [
        (BLOBS + "Stat", b"\xff", "INVALID_ARGUMENT"),
        (BLOBS + "Stat", b"\x0a\x20short", "INVALID_ARGUMENT"),
        (BLOBS + "Stat", b"\x08\x01", "INVALID_ARGUMENT"),
        (PATH_INFOS + "Get", b"\x0a\x7f", "INVALID_ARGUMENT"),
        (PATH_INFOS + "Put", b"", "INVALID_ARGUMENT"),
        (PATH_INFOS + "Put", b"\x0a\x02\x12\x00", "INVALID_ARGUMENT"),
        (PATH_INFOS + "CalculateNAR", b"", "INVALID_ARGUMENT"),
        (BLOBS + "Delete", b"", "UNIMPLEMENTED"),
    ],
)
def test_nonsense_in_one_message(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], path: str, message: bytes, code: str
) -> None:
    call = connect(start()).unary_unary(path)
    assert code_of(lambda: call(message)) == code


@pytest.mark.parametrize(
    ("path", "messages", "code"),
    [
        (BLOBS + "Put", [b"\x0a\xff"], "INVALID_ARGUMENT"),
        (BLOBS + "Put", [encode_frame(b"x"), b"\x08\x01"], "INVALID_ARGUMENT"),
        (DIRECTORIES + "Put", [], "INVALID_ARGUMENT"),
        (DIRECTORIES + "Put", [b"\x20\x01"], "INTERNAL"),
        (DIRECTORIES + "Put", [b"\xff" * 100], "INTERNAL"),
    ],
)
def test_nonsense_in_a_stream(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], path: str, messages: list[bytes], code: str
) -> None:
    call = connect(start()).stream_unary(path)
    assert code_of(lambda: call(iter(messages))) == code


def test_bytes_that_are_no_protocol_at_all(start: Callable[..., Server], connect: Callable[[Server], Foreign]) -> None:
    server = start()
    for _ in range(10):
        with socket.create_connection((server.addresses[0].host, server.addresses[0].port)) as connection:
            connection.sendall(b"\x00\xff" * 5000)
    assert code_of(lambda: connect(server).unary_unary(BLOBS + "Stat")(encode_digest(bytes(32)))) == "NOT_FOUND"


def test_a_message_over_the_limit(start: Callable[..., Server], connect: Callable[[Server], Foreign]) -> None:
    server = start(message_bytes=1 << 20)
    channel = connect(server)
    assert code_of(lambda: channel.stream_unary(BLOBS + "Put")(iter([bytes(2 << 20)]))) == "RESOURCE_EXHAUSTED"
    assert code_of(lambda: channel.stream_unary(BLOBS + "Put")(iter([encode_frame(bytes(1000))]))) == "OK"


def test_who_does_not_read_does_not_fill_memory(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    blobs.put(LARGE)
    server = start(stall=0.5)
    call = connect(server).unary_stream(BLOBS + "Read")(encode_digest(digest_of(LARGE)))
    next(call)
    assert blobs.left.wait(20)  # the server has ended the call, and had read what fits into the windows of the connection
    assert blobs.furthest < 24 << 20
    assert code_of(lambda: list(call)) != "OK"


def test_slow_readers_hold_up_neither_health_nor_questions(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    blobs.put(LARGE)
    blobs.put(SMALL)
    server = start(stream_threads=4, call_threads=2, stall=0.5)
    calls = [connect(server).unary_stream(BLOBS + "Read")(encode_digest(digest_of(LARGE))) for _ in range(8)]
    for call in calls[:4]:
        next(call)
    channel = connect(server)
    assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"
    assert code_of(lambda: channel.unary_unary(BLOBS + "Stat")(encode_digest(digest_of(SMALL)), timeout=10)) == "OK"
    # Those that read nothing are ended in time, so those in the queue behind them get their turn.
    read = channel.unary_stream(BLOBS + "Read")(encode_digest(digest_of(SMALL)), timeout=20)
    assert list(read) == [encode_frame(SMALL)]


def test_standard_services_that_stand_still_hold_up_nobody(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    blobs.put(SMALL)
    server = start(call_threads=2, stall=0.5)
    channel = connect(server)
    never = Event()

    def silence() -> Iterator[bytes]:
        never.wait(20)
        yield from ()

    silent = [
        channel.stream_stream(f"/grpc.{service}")(silence(), timeout=20)
        for service in ("health.v1.Health/Check", "reflection.v1.ServerReflection/ServerReflectionInfo")
        for _ in range(8)
    ]
    assert code_of(lambda: channel.unary_unary(BLOBS + "Stat")(encode_digest(digest_of(SMALL)), timeout=5)) == "OK"
    assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=10) == b"\x08\x01"
    watch = channel.unary_stream("/grpc.health.v1.Health/Watch")(b"", timeout=20)
    assert next(watch) == b"\x08\x01"
    watch.cancel()
    assert [code_of(lambda: list(call)) for call in silent] == ["CANCELLED"] * len(silent)  # noqa: B023
    never.set()


def test_who_stops_sending_is_ended(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    server = start(stall=0.5)
    never = Event()

    def messages() -> Iterator[bytes]:
        yield encode_frame(SMALL)
        never.wait(20)

    call = connect(server).stream_unary(BLOBS + "Put").future(messages())
    assert code_of(call.result) != "OK"
    never.set()
    assert blobs.given_up.wait(5)


def test_who_goes_away_half_way_harms_nobody(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    server = start(stream_threads=1)
    over = Event()

    def messages(on_the_way: Event) -> Iterator[bytes]:
        yield encode_frame(SMALL)
        on_the_way.set()
        over.wait(20)
        yield encode_frame(b" and the rest")

    for _ in range(5):
        on_the_way = Event()
        call = connect(server).stream_unary(BLOBS + "Put").future(messages(on_the_way))
        assert on_the_way.wait(20)
        call.cancel()
    # The one thread for uploads is free again, and nothing of what was cut off passes for the whole.
    assert code_of(lambda: connect(server).stream_unary(BLOBS + "Put")(iter([encode_frame(b"next")]))) == "OK"
    assert blobs.missing([digest_of(SMALL + b" and the rest"), digest_of(b"next")]) == {digest_of(SMALL + b" and the rest")}
    over.set()


def test_more_calls_than_the_limit_are_refused(
    start: Callable[..., Server], connect: Callable[[Server], Foreign], blobs: WatchedBlobs
) -> None:
    blobs.put(LARGE)
    server = start(calls=2)
    channel = connect(server)
    reads = [channel.unary_stream(BLOBS + "Read")(encode_digest(digest_of(LARGE))) for _ in range(2)]
    for read in reads:
        next(read)
    assert code_of(lambda: channel.unary_unary(BLOBS + "Stat")(encode_digest(bytes(32)))) == "RESOURCE_EXHAUSTED"
    for read in reads:
        read.cancel()


def test_reads_only_means_that(connect: Callable[[Server], Foreign], blobs: WatchedBlobs, tmp_path: Path) -> None:
    directories = MemoryDirectoryService()
    store = Store(blobs, directories, MemoryPathInfoService(blobs, directories))
    server = make_server(store, [f"unix:{tmp_path}/socket"], read_only=True)
    server.start()
    channel = connect(server)
    for call in (
        lambda: channel.stream_unary(BLOBS + "Put")(iter([encode_frame(SMALL)])),
        lambda: channel.stream_unary(DIRECTORIES + "Put")(iter([b""])),
        lambda: channel.unary_unary(PATH_INFOS + "Put")(b""),
    ):
        assert code_of(call) == "PERMISSION_DENIED"
    assert blobs.missing([digest_of(SMALL)]) == {digest_of(SMALL)}
    server.stop(grace=0)


def test_a_reader_is_a_reader(blobs: WatchedBlobs) -> None:
    """What is watched here is the service that all others are."""
    reader: BlobReader | None = blobs.open(blobs.put(SMALL))
    assert reader is not None
    assert bytes(reader.read_at(0, 10)) == SMALL

"""Connections that a loop polls, over real sockets: dialled again, given up, and never in the way of the loop."""

from __future__ import annotations

import os
import resource
import select
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Event
from time import monotonic

import pytest

from tvix.castore.addresses import Castore, parse_address
from tvix.castore.blobs.interface import StoreUnavailable
from tvix.castore.digests import Digest, digest_of
from tvix.castore.remote_errors import StoreFailed, StoreRefused
from tvix.castore.transfer.connection import Connection, dialler
from tvix.castore.transfer.framing import ERROR, HEADER, MESSAGE, Status, encode_status, record
from tvix.castore.transfer.link import METHOD, Link, LinkLost
from tvix.castore.transfer.receiving import ServerMisbehaves
from tvix.castore.transfer.scheduler import Scheduler
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.transfer_service import TransferMethods
from tvix.testing.fetch_ends import memory, noise, text
from tvix.testing.framed_peer import FramedPeer

SMALL = [b"%d" % number * 100 for number in range(300)]
LARGE = noise(5_000_000)


class Client:
    """A loop around a connection, and what it was told."""

    def __init__(self, url: str, deadline: float = 20.0) -> None:
        self.near = memory()
        self.scheduler = Scheduler(self.near, url, trusts_lists=True)
        self.connection = Connection(self.scheduler, dialler(parse_address(url)), deadline)
        self.got: list[object] = []
        self.longest_turn = 0.0

    def run(self, until: Callable[[], bool], seconds: float = 20.0) -> None:
        """Poll until something holds."""
        end = monotonic() + seconds
        while not until():
            assert monotonic() < end, "it takes too long"
            poll = select.poll()
            for descriptor, events in self.connection.descriptors():
                poll.register(descriptor, events)
            timeout = self.connection.timeout()
            poll.poll(1000 if timeout is None else min(int(timeout * 1000) + 1, 1000) if timeout else 0)
            before = monotonic()
            self.connection.turn()
            self.longest_turn = max(self.longest_turn, monotonic() - before)

    def read(self, contents: bytes, offset: int = 0, length: int = 1 << 30) -> bytes:
        """A read that waits."""
        got: list[object] = []
        here = self.scheduler.read(digest_of(contents), len(contents), offset, length, got.append)
        if here is None:
            self.run(lambda: bool(got))
            (here,) = got  # type: ignore[assignment]
        if isinstance(here, Exception):
            raise here
        return text(here)


def serve(path: str, store: Castore) -> FramedPeer:
    """The methods that we ship, at a socket."""
    service = TransferMethods(store.blobs, store.directories, lambda: None, message_bytes=1 << 24)
    caller = Caller("unix", may_write=False)
    return FramedPeer(path, {METHOD: lambda requests: (b"".join(answer) for answer in service.fetch(requests, caller))})


@pytest.fixture
def store() -> Castore:
    """What the server has."""
    far = memory()
    for contents in (*SMALL, LARGE):
        far.blobs.put(contents)
    return far


@pytest.fixture
def peer(tmp_path: Path, store: Castore) -> Iterator[FramedPeer]:
    """A server of it."""
    opened = serve(f"{tmp_path}/socket", store)
    yield opened
    opened.close()


@pytest.fixture
def client(peer: FramedPeer) -> Iterator[Client]:
    """A client of it."""
    made = Client(peer.url)
    yield made
    made.connection.close()


def test_blobs_small_and_large(client: Client, peer: FramedPeer) -> None:
    assert [client.read(contents) for contents in SMALL] == SMALL
    assert client.read(LARGE, 4_000_000, 100) == LARGE[4_000_000:4_000_100]
    assert client.read(LARGE) == LARGE
    assert peer.calls == [METHOD]
    assert not client.connection.waits
    client.run(lambda: client.connection.timeout() is None)


def test_a_server_that_hangs_up_is_dialled_again_and_nothing_comes_twice(client: Client, peer: FramedPeer) -> None:
    client.scheduler.prefetch([(digest_of(LARGE), len(LARGE))], 7)
    while client.near.blobs.missing([digest_of(LARGE)]) and client.connection.dialled < 6:
        received = client.connection.received_bytes
        client.run(lambda: client.connection.received_bytes > received + 300_000 or not client.connection.waits)  # noqa: B023
        peer.hang_up()
        client.run(lambda: not client.connection.waits or client.connection.received_bytes > received + 600_000)  # noqa: B023
    client.run(lambda: not client.connection.waits)
    assert client.connection.dialled > 2
    assert client.read(LARGE) == LARGE


def test_a_server_that_comes_late_is_waited_for(tmp_path: Path, store: Castore) -> None:
    client = Client(f"tvix+unix:{tmp_path}/late")
    got: list[object] = []
    client.scheduler.read(digest_of(SMALL[0]), len(SMALL[0]), 0, 5, got.append)
    client.run(lambda: client.connection.dialled > 2)
    peer = serve(f"{tmp_path}/late", store)
    client.run(lambda: bool(got), 3)
    assert text(got[0]) == SMALL[0][:5]
    client.connection.close()
    peer.close()


def test_without_a_server_the_deadline_says_why(tmp_path: Path) -> None:
    client = Client(f"tvix+unix:{tmp_path}/none", deadline=0.5)
    with pytest.raises(StoreUnavailable, match="No such file"):
        client.read(SMALL[0])
    assert client.longest_turn < 0.2
    client.connection.close()


@pytest.mark.usefixtures("peer")
def test_a_process_without_another_descriptor_dials_again_later(client: Client) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
    try:
        client.connection.turn()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert not client.connection.ready
    assert client.read(SMALL[0]) == SMALL[0]


def test_a_socket_whose_name_is_too_long_is_told_by_the_deadline(tmp_path: Path) -> None:
    client = Client(f"tvix+unix:{tmp_path}/{'x' * 200}", deadline=0.3)
    with pytest.raises(StoreUnavailable):
        client.read(SMALL[0])
    client.connection.close()


def test_a_server_that_says_nothing_is_given_up_and_dialled_again(tmp_path: Path) -> None:
    silence = Event()

    def hang(requests: Iterator[bytes]) -> Iterator[bytes]:
        next(requests)
        silence.wait()
        yield b""

    peer = FramedPeer(f"{tmp_path}/silent", {METHOD: hang})
    client = Client(peer.url, deadline=1.0)
    before = monotonic()
    with pytest.raises(StoreUnavailable):
        client.read(SMALL[0])
    assert 0.9 < monotonic() - before < 3
    assert client.connection.dialled >= 2
    silence.set()
    client.connection.close()
    peer.close()


def scripted(tmp_path: Path, answer: bytes, deadline: float = 1.0) -> tuple[socket.socket, Client]:
    """A socket that says one thing to whoever comes first, and listens for no other."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/scripted")
    listening.listen(8)
    client = Client(f"tvix+unix:{tmp_path}/scripted", deadline=deadline)
    client.connection.turn()
    connection, _address = listening.accept()
    connection.sendall(answer)
    listening.close()
    return connection, client


@pytest.mark.parametrize(("code", "kind"), [("PERMISSION_DENIED", StoreRefused), ("UNIMPLEMENTED", StoreFailed)])
def test_a_refusal_is_told_at_once(tmp_path: Path, code: str, kind: type[Exception]) -> None:
    connection, client = scripted(tmp_path, record(ERROR, encode_status(Status(code, "not for you"))), deadline=10)
    with pytest.raises(kind, match="not for you"):
        client.read(SMALL[0])
    client.connection.close()
    connection.close()


def test_a_server_that_is_too_busy_is_tried_again_until_the_deadline(tmp_path: Path) -> None:
    connection, client = scripted(tmp_path, record(ERROR, encode_status(Status("RESOURCE_EXHAUSTED", "busy"))))
    with pytest.raises(StoreUnavailable):
        client.read(SMALL[0])
    assert client.connection.dialled > 2
    client.connection.close()
    connection.close()


@pytest.mark.parametrize(
    "answer",
    [
        HEADER.pack(1 << 30, MESSAGE),
        HEADER.pack(5, 77) + b"hello",
        b"HTTP/1.1 400 Bad Request\r\n",
        HEADER.pack(3, MESSAGE) + b"\xff\xff\xff",
    ],
)
def test_what_is_not_the_protocol_ends_the_link(tmp_path: Path, answer: bytes) -> None:
    connection, client = scripted(tmp_path, answer)
    with pytest.raises((StoreUnavailable, ServerMisbehaves), match=r"protocol|Connection refused"):
        client.read(SMALL[0])
    client.connection.close()
    connection.close()


def test_messages_cut_into_single_bytes_are_put_together(tmp_path: Path, store: Castore) -> None:
    upstream = serve(f"{tmp_path}/up", store)
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/drip")
    listening.listen(1)
    client = Client(f"tvix+unix:{tmp_path}/drip")
    got: list[object] = []
    client.scheduler.read(digest_of(SMALL[7]), len(SMALL[7]), 0, 1 << 20, got.append)
    client.scheduler.read(digest_of(SMALL[8]), len(SMALL[8]), 0, 1 << 20, got.append)
    client.connection.turn()
    down, _address = listening.accept()
    up = socket.socket(socket.AF_UNIX)
    up.connect(f"{tmp_path}/up")
    down.setblocking(False)
    up.settimeout(0.05)
    while len(got) < 2:
        client.connection.turn()
        with suppress(BlockingIOError):
            up.sendall(down.recv(1 << 16))
        with suppress(TimeoutError):
            for byte in up.recv(1 << 16):
                down.sendall(bytes((byte,)))
                client.connection.turn()
    assert [text(result) for result in got] == [SMALL[7], SMALL[8]]
    client.connection.close()
    for one in (down, up, listening):
        one.close()
    upstream.close()


def test_much_to_send_does_not_block_a_loop_whose_server_reads_nothing(tmp_path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(f"{tmp_path}/deaf")
    listening.listen(1)
    client = Client(f"tvix+unix:{tmp_path}/deaf", deadline=30)
    digests = [Digest(number.to_bytes(32, "little")) for number in range(1, 100_000)]
    client.scheduler.prefetch([(digest, 10) for digest in digests], 7)
    client.run(lambda: client.connection.ready)
    client.connection.turn()
    assert client.longest_turn < 1
    assert any(events & select.POLLOUT for _descriptor, events in client.connection.descriptors())
    down, _address = listening.accept()
    received = 0
    down.settimeout(0.2)
    while received < 36 * len(digests):
        received += len(down.recv(1 << 20))
        client.connection.turn()
    assert not any(events & select.POLLOUT for _descriptor, events in client.connection.descriptors())
    client.connection.close()
    down.close()
    listening.close()


def test_a_host_that_cannot_be_found_does_not_block() -> None:
    link = dialler(parse_address("tvix+tcp://does-not-exist.invalid:1"))()
    assert not link.ready
    assert select.select([link.fileno()], [], [], 10)[0]
    with pytest.raises(LinkLost, match="can't be found"):
        _until_ready(link)
    link.close()


def _until_ready(link: Link) -> None:
    while not link.ready:
        link.receive()


def test_the_framed_way_imports_neither_grpc_nor_ssl_nor_asyncio() -> None:
    program = (
        "import sys\n"
        "from tvix.castore.transfer.connection import Connection, dialler\n"
        "import tvix.castore.transfer.framed_link\n"
        "heavy = {'grpc', 'ssl', 'asyncio', 'google.protobuf', 'zstandard', 'pyfastcdc', 'lmdb', 'inspect', 'logging'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "[]\n"

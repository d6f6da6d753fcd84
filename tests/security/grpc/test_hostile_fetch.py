"""Clients of `Fetch` that ask for all they can and read nothing: the server's memory is bounded, and others are served."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from select import select

import pytest

from tvix.castore.digests import Digest
from tvix.castore.protobuf import bytes_field
from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, decode_status, record
from tvix.castore.transfer.messages import SERVICE, Ask, decode_frame, encode_ask
from tvix.grpc_api.fetch_memory import READING, SENDING_BYTES
from tvix.grpc_api.fetch_queue import STREAM_IDS_MAX
from tvix.store.addresses import open_store

FETCH = f"/{SERVICE}/Fetch".encode()
CLIENTS = 12
SERVER = """
import signal, sys
from tvix.grpc_api.server import make_server
from tvix.store.addresses import open_store
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
with open_store(sys.argv[1]) as store:
    server = make_server(store, [sys.argv[2]])
    server.start()
    print("READY", flush=True)
    signal.sigwait([signal.SIGTERM])
    server.stop(0)
"""


class Served:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], path: str, small: Digest, large: Digest) -> None:
        self.process = process
        self.path = path
        self.small = small
        self.large = large

    def connect(self) -> socket.socket:
        """A connection on which a `Fetch` has begun."""
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(20)
        connection.connect(self.path)
        connection.sendall(record(CALL, FETCH))
        return connection

    def resident_bytes(self) -> int:
        """What the process takes of memory."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    url = f"pack:{tmp_path}/store"
    with open_store(url) as store:
        small, large = store.blobs.put(b"small"), store.blobs.put(os.urandom(8 << 20))
    path = f"{tmp_path}/socket"
    with subprocess.Popen([sys.executable, "-c", SERVER, url, f"tvix+unix:{path}"], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"READY\n"
        yield Served(process, path, small, large)
        process.send_signal(signal.SIGTERM)


def receive(connection: socket.socket) -> tuple[int, bytes]:
    def exactly(size: int) -> bytes:
        received = bytearray()
        while len(received) < size:
            piece = connection.recv(size - len(received))
            assert piece, "the server hung up"
            received += piece
        return bytes(received)

    length, kind = HEADER.unpack(exactly(HEADER.size))
    return kind, exactly(length)


def test_those_who_ask_and_do_not_read(served: Served) -> None:
    before = served.resident_bytes()
    asked = STREAM_IDS_MAX - 10
    ask = encode_ask(Ask(ids=range(asked), digests=[served.large] * asked, priority=7, max_frame=(1 << 32) - 1))
    hostile = [served.connect() for _ in range(CLIENTS)]
    for connection in hostile:
        connection.sendall(record(MESSAGE, ask))
        connection.sendall(record(MESSAGE, encode_ask(Ask(promote=range(0, asked, 100)))))
        connection.sendall(record(MESSAGE, encode_ask(Ask(root=served.small, closure=True, push=True))))
    well_behaved = served.connect()
    well_behaved.sendall(record(MESSAGE, encode_ask(Ask(ids=(1,), digests=(served.small,)))) + record(END))
    kind, body = receive(well_behaved)
    assert (kind, bytes(decode_frame(body).payload)) == (MESSAGE, b"small")
    assert receive(well_behaved) == (END, b"")
    # For each client what is outstanding, some 50 bytes an id; the message it came in; and one frame.
    assert served.resident_bytes() - before < CLIENTS * (14 + 12 + 20 << 20)
    for connection in (*hostile, well_behaved):
        connection.close()


def test_many_who_ask_for_large_chunks_and_do_not_read(served: Served) -> None:
    before = served.resident_bytes()
    hostile = [served.connect() for _ in range(100)]
    ask = record(MESSAGE, encode_ask(Ask(ids=range(4), digests=[served.large] * 4)))
    for connection in hostile:
        connection.sendall(ask)
    first: set[socket.socket] = set()
    while len(first) < 10:  # the others wait for room
        first.update(select(hostile, [], [], 20)[0])
    well_behaved = served.connect()
    well_behaved.sendall(record(MESSAGE, encode_ask(Ask(ids=(1,), digests=(served.small,)))) + record(END))
    kind, body = receive(well_behaved)
    assert (kind, bytes(decode_frame(body).payload)) == (MESSAGE, b"small")
    # What may wait to be sent, what may be read at a time, threads, and what the allocator keeps. Without a bound it is 800 MiB.
    assert served.resident_bytes() - before < SENDING_BYTES + READING * (8 << 20) + (200 << 20)
    for connection in (*hostile, well_behaved):
        connection.close()
    patient = served.connect()
    patient.sendall(ask + record(END))
    assert len(receive(patient)[1]) > 8 << 20
    patient.close()


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([Ask(ids=range(STREAM_IDS_MAX + 1), digests=[Digest(bytes(32))] * (STREAM_IDS_MAX + 1))], "RESOURCE_EXHAUSTED"),
        ([Ask(root=bytes(32), push=True, profile="x" * 600)], "RESOURCE_EXHAUSTED"),
        ([Ask(ids=(1 << 31,), digests=(Digest(bytes(32)),))], "INVALID_ARGUMENT"),
    ],
    ids=["ids", "profile", "server's id"],
)
def test_what_is_refused_is_told(served: Served, messages: list[Ask], code: str) -> None:
    connection = served.connect()
    for ask in messages:
        connection.sendall(record(MESSAGE, encode_ask(ask)))
    kind, body = receive(connection)
    assert (kind, decode_status(body).code) == (ERROR, code)
    connection.close()


def test_garbage(served: Served) -> None:
    for garbage in (b"\xff" * 20, bytes_field(2, bytes(31)), os.urandom(1000)):
        connection = served.connect()
        connection.sendall(record(MESSAGE, garbage))
        kind, body = receive(connection)
        assert (kind, decode_status(body).identifier) == (ERROR, "castore.malformed-message")
        connection.close()


def test_what_is_too_large_for_a_message(served: Served, tmp_path: Path) -> None:
    with open_store(f"pack:{tmp_path}/store") as store:
        larger = store.blobs.put(bytes(13 << 20))
    connection = served.connect()
    connection.sendall(record(MESSAGE, encode_ask(Ask(ids=(1,), digests=(larger,)))))
    kind, body = receive(connection)
    status = decode_status(body)
    assert (kind, status.code, status.identifier) == (ERROR, "INVALID_ARGUMENT", "transfer.item-too-large")
    connection.close()

"""More than a server takes: refused with a hint, and its memory stays bounded."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from threading import Thread

import grpc
import pytest

from tests.security.grpc.http2 import HEADERS, Connection
from tvix.castore.digests import Digest
from tvix.castore.grpc_errors import ERROR_KEY
from tvix.castore.transfer.framing import CALL, ERROR, HEADER, MESSAGE, decode_status, record
from tvix.castore.transfer.messages import SERVICE, Ask, encode_ask

FETCH = f"/{SERVICE}/Fetch"
DESCRIBE = f"/{SERVICE}/Describe"
PROGRAM = """
import sys
from tvix.grpc_api.server import Limits, make_server
from tvix.store.addresses import open_store
with open_store("memory:") as store:
    server = make_server(store, ["127.0.0.1:0", "tvix+tcp://127.0.0.1:0"], limits=Limits(question=1))
    server.start()
    print(*(listen.port for listen in server.addresses), flush=True)
    sys.stdin.read()
    server.stop(0)
"""


class Program:
    """A server in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        assert process.stdout is not None
        self.grpc, self.framed = map(int, process.stdout.readline().split())

    @property
    def resident(self) -> int:
        """MiB of it that are in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) >> 10

    def well(self) -> bool:
        """Whether it answers questions over both transports."""
        with grpc.insecure_channel(f"127.0.0.1:{self.grpc}") as channel:
            over_grpc = channel.unary_unary(DESCRIBE)(b"", timeout=20)
        with socket.create_connection(("127.0.0.1", self.framed), timeout=20) as raw:
            raw.sendall(record(CALL, DESCRIBE.encode()) + record(MESSAGE) + record(3))
            return bool(over_grpc) and raw.recv(5)[4] == MESSAGE


@pytest.fixture
def program() -> Iterator[Program]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield Program(process)
        process.kill()


def test_ten_thousand_streams_over_grpc(program: Program) -> None:
    assert program.well()
    before = program.resident
    with ExitStack() as stack:
        connections = [stack.enter_context(closing(Connection(("127.0.0.1", program.grpc)))) for _ in range(100)]
        for connection in connections[:2]:  # which take all there are
            connection.open(FETCH, 128)
        with grpc.insecure_channel(f"127.0.0.1:{program.grpc}") as channel:
            _until_refused(channel)
        for connection in connections[2:]:
            connection.open(FETCH, 100)
        refused = [how for connection in connections[2:] for how in connection.ended(100)]
        assert len(refused) == 9800
        assert set(refused) == {HEADERS}  # the status, which the next test reads
        assert program.well()
        assert program.resident - before < 200


def test_ten_thousand_streams_over_framed_connections(program: Program) -> None:
    assert program.well()
    before = program.resident
    held: list[socket.socket] = []
    refused = 0
    ask = record(CALL, FETCH.encode()) + record(MESSAGE, encode_ask(Ask(ids=(1,), digests=(Digest(bytes(32)),))))
    with ExitStack() as stack:
        for number in range(10_000):
            raw = stack.enter_context(socket.create_connection(("127.0.0.1", program.framed), timeout=20))
            raw.sendall(ask)
            length, kind = HEADER.unpack(raw.recv(HEADER.size, socket.MSG_WAITALL))
            if number < 256:
                assert kind == MESSAGE  # that nothing of the kind is here: the stream is served
                held.append(raw)
                continue
            assert kind == ERROR
            assert decode_status(raw.recv(length, socket.MSG_WAITALL)).code == "RESOURCE_EXHAUSTED"
            refused += 1
            raw.close()
        assert refused == 9744
        assert program.resident - before < 200
        assert program.well()


def test_the_hint_comes_with_the_refusal(program: Program) -> None:
    with closing(Connection(("127.0.0.1", program.grpc))) as first, closing(Connection(("127.0.0.1", program.grpc))) as second:
        first.open(FETCH, 128)
        second.open(FETCH, 128)
        with grpc.insecure_channel(f"127.0.0.1:{program.grpc}") as channel:
            answers = _until_refused(channel)
    assert answers.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "256 long streams open" in answers.details()
    assert "unmount" in answers.details()
    assert dict(answers.trailing_metadata())[ERROR_KEY] == "grpc.too-many-streams"


def _until_refused(channel: grpc.Channel) -> grpc.RpcError:
    """The hand-made calls are taken a moment after they are sent, so one of ours may come before one of them."""
    while True:
        call = channel.stream_stream(FETCH)(iter([encode_ask(Ask())]), timeout=20)
        try:
            list(call)
        except grpc.RpcError as error:
            return error


def test_two_gigabytes_over_grpc(program: Program) -> None:
    assert program.well()
    before = program.resident
    with closing(Connection(("127.0.0.1", program.grpc))) as connection:
        connection.open("/tvix.castore.v1.BlobService/Put", 1)
        connection.data(b"\x00\x7f\xff\xff\xff" + bytes(16_000))
        assert len(connection.ended(1)) == 1
    assert program.resident - before < 32
    assert program.well()


def test_hanging_questions_hold_up_nobody_for_long(program: Program) -> None:
    """A hundred questions that never come take all threads, for as long as a question may take to come."""
    with closing(Connection(("127.0.0.1", program.grpc))) as connection:
        connection.open(DESCRIBE, 100)
        connection.data(b"\x00\x00\x00\x00\x64half")
        answered: list[bool] = []
        asking = Thread(target=lambda: answered.append(program.well()))
        asking.start()
        asking.join()
    assert answered == [True]

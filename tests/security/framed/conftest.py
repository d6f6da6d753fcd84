"""A server of methods made for tests, over both transports, and raw ways to it."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from threading import Event

import pytest

from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, Status, decode_status, record
from tvix.grpc_api import server as server_module
from tvix.grpc_api.caller import Caller
from tvix.grpc_api.methods import BOTH_WAYS, STREAM_IN, STREAM_OUT, UNARY, Method
from tvix.grpc_api.server import Limits, Server, make_server
from tvix.grpc_api.status import NotHere
from tvix.store.addresses import open_store

SERVICE = "tvix_appliance.test.v1.Test"


class Methods:
    """`hold` keeps `Hold` from answering; `entered` says that it was called."""

    def __init__(self) -> None:
        self.hold, self.entered, self.gone = Event(), Event(), Event()

    def __iter__(self) -> Iterator[Method]:
        for name, kind, function, needs_write in (
            ("Echo", UNARY, self.echo, False),
            ("Write", UNARY, self.echo, True),
            ("Hold", UNARY, self.wait, False),
            ("Fail", UNARY, self.fail, False),
            ("Count", STREAM_OUT, self.count, False),
            ("Join", STREAM_IN, self.join, True),
            ("Talk", BOTH_WAYS, self.talk, False),
        ):
            yield Method(SERVICE, name, kind, function, needs_write=needs_write)

    def echo(self, request: bytes, _caller: Caller) -> bytes:
        return request

    def wait(self, request: bytes, _caller: Caller) -> bytes:
        self.entered.set()
        assert self.hold.wait(30)
        return request

    def fail(self, request: bytes, _caller: Caller) -> bytes:
        raise NotHere(kind="thing", name=request.decode())

    def count(self, request: bytes, _caller: Caller) -> Iterator[Sequence[bytes]]:
        """The n-th message is n in two pieces, padded to as many bytes as asked for."""
        number, size = map(int, request.split())
        for n in range(number):
            yield [b"%d" % n, b" " * size]

    def join(self, requests: Iterator[bytes], _caller: Caller) -> bytes:
        try:
            return b"".join(requests)
        except Exception:
            self.gone.set()
            raise

    def talk(self, requests: Iterator[bytes], _caller: Caller) -> Iterator[bytes]:
        self.entered.set()
        yield from requests


@pytest.fixture
def methods() -> Iterator[Methods]:
    made = Methods()
    yield made
    made.hold.set()


Start = Callable[..., Server]


@pytest.fixture
def start(methods: Methods, monkeypatch: pytest.MonkeyPatch) -> Iterator[Start]:
    """Serve `methods` at these addresses with these limits."""
    servers: list[Server] = []
    with open_store("memory:") as store:

        def begin(*addresses: str, read_only: bool = False, **limits: float) -> Server:
            with monkeypatch.context() as patch:
                patch.setattr(server_module, "methods_of", lambda *_words, **_options: iter(methods))
                servers.append(make_server(store, addresses, limits=Limits(**limits), read_only=read_only))  # type: ignore[arg-type]
            servers[-1].start()
            return servers[-1]

        yield begin
        methods.hold.set()
        for server in servers:
            server.stop(0)


class Raw:
    """One framed connection."""

    def __init__(self, address: str | tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.socket.settimeout(30)
        self.socket.connect(address)

    def send(self, *pieces: bytes) -> None:
        self.socket.sendall(b"".join(pieces))

    def call(self, name: str, *messages: bytes, end: bool = True) -> None:
        self.send(
            record(CALL, f"/{SERVICE}/{name}".encode()),
            *(record(MESSAGE, message) for message in messages),
            record(END) if end else b"",
        )

    def record(self) -> tuple[int, bytes] | None:
        """The next record, or None where the connection was closed."""
        head = self._exactly(HEADER.size)
        if head is None:
            return None
        length, kind = HEADER.unpack(head)
        return kind, self._exactly(length) or b""

    def answer(self) -> list[bytes] | Status:
        """All messages, or the error."""
        messages = []
        while True:
            found = self.record()
            assert found is not None, "the connection was closed"
            kind, body = found
            if kind == END:
                return messages
            if kind == ERROR:
                return decode_status(body)
            assert kind == MESSAGE
            messages.append(body)

    def error(self) -> Status:
        """The error that has to come now."""
        status = self.answer()
        assert isinstance(status, Status), status
        return status

    def closed(self) -> bool:
        """Whether the server closes the connection."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass
        return True

    def _exactly(self, size: int) -> bytes | None:
        data = b""
        while len(data) < size:
            try:
                piece = self.socket.recv(size - len(data))
            except ConnectionError:
                return None
            if not piece:
                return None
            data += piece
        return data


@pytest.fixture
def connect() -> Iterator[Callable[[Server], Raw]]:
    """A framed connection to the first address of a server."""
    connections: list[Raw] = []

    def begin(server: Server) -> Raw:
        listen = server.addresses[0]
        connections.append(Raw(listen.path or (listen.host, listen.port)))
        return connections[-1]

    yield begin
    for connection in connections:
        connection.socket.close()


@pytest.fixture
def framed(start: Start, tmp_path: Path) -> Callable[..., Server]:
    """A server of the framed protocol on a Unix socket, with these limits."""
    return lambda **limits: start(f"tvix+unix:{tmp_path}/framed", **limits)

"""Servers that answer every call with one message, over gRPC and framed, with whatever credentials they are given."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import grpc
import pytest

from tvix.castore.credentials import Credentials, ServerTls, files_in
from tvix.castore.transfer.framing import END, HEADER, MESSAGE, record
from tvix.errors import TvixError
from tvix.grpc_api.tls_sockets import accept
from tvix.testing.site import Site

ANSWER = b"here"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(tmp_path / "home")


@pytest.fixture
def other_site(tmp_path: Path) -> Site:
    return Site(tmp_path / "elsewhere", "home")


class FramedServer:
    """Lets callers in by `accept`, and keeps what it said of those whom it didn't."""

    def __init__(self, tls: ServerTls | None, port: int = 0) -> None:
        self._tls = tls
        self._socket = socket.create_server(("127.0.0.1", port))
        self._inside: set[socket.socket] = set()
        self.port = self._socket.getsockname()[1]
        self.refused: list[TvixError] = []
        self._thread = Thread(target=self._serve, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        for inside in list(self._inside):
            with suppress(OSError):
                inside.shutdown(socket.SHUT_RDWR)
        self._thread.join()

    def _serve(self) -> None:
        with suppress(OSError), ThreadPoolExecutor(8) as pool:
            while True:
                connected, _peer = self._socket.accept()
                pool.submit(self._answer, connected)

    def _answer(self, connected: socket.socket) -> None:
        try:
            inner = connected if self._tls is None else accept(connected, self._tls, "test", 5)[0]
        except TvixError as error:
            self.refused.append(error)
            return
        self._inside.add(inner)
        with inner, suppress(OSError), inner.makefile("rb") as stream:
            while head := stream.read(HEADER.size):
                length, kind = HEADER.unpack(head)
                if kind > END:
                    return
                stream.read(length)
                if kind == END:
                    inner.sendall(record(MESSAGE, ANSWER) + record(END))


def grpc_server(tls: ServerTls | None, port: int = 0) -> tuple[grpc.Server, int]:
    """A server whose every method gives `ANSWER`."""

    class Everything(grpc.GenericRpcHandler):
        def service(self, _details: object) -> object:
            return grpc.unary_unary_rpc_method_handler(lambda _request, _context: ANSWER)

    server = grpc.server(ThreadPoolExecutor(4), handlers=(Everything(),))
    port = (
        server.add_insecure_port(f"127.0.0.1:{port}")
        if tls is None
        else server.add_secure_port(f"127.0.0.1:{port}", tls.grpc_credentials(grpc))
    )
    server.start()
    return server, port


class Serve:
    """Serves gRPC or framed, with a directory of credentials or without TLS; gives HOST:PORT."""

    def __init__(self) -> None:
        self._closing: dict[str, Callable[[], object]] = {}

    def __call__(self, transport: str, credentials: Path | None, port: int = 0) -> str:
        tls = _unchecked(credentials) if credentials else None
        close: Callable[[], object]
        if transport == "grpc":
            server, port = grpc_server(tls, port)
            close = lambda: server.stop(0).wait()  # noqa: E731
        else:
            framed = FramedServer(tls, port)
            port, close = framed.port, framed.close
        where = f"127.0.0.1:{port}"
        self._closing[where] = close
        return where

    def stop(self, where: str) -> None:
        """End one, and the connections to it."""
        self._closing.pop(where)()

    def close(self) -> None:
        """End all."""
        for where in list(self._closing):
            self.stop(where)


@pytest.fixture
def serve() -> Iterator[Serve]:
    with closing(Serve()) as made:
        yield made


def _unchecked(credentials: Path) -> ServerTls:
    """A server that doesn't mind that its own certificate is over."""

    class Careless(ServerTls):
        def _check_dates(self, credentials: Credentials) -> None:
            del credentials

    return Careless(files_in(str(credentials)))

"""A server of the framed protocol that does what it is told: for tests of clients, which it may lie to."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from threading import Event, Thread
from typing import TypeAlias

from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, Status, encode_status, record
from tvix.errors import TvixError

Behaviour: TypeAlias = Callable[[Iterator[bytes]], Iterator[bytes]]
"""From the requests of a call to its answers. Raises `Refusal` to answer with a status, `OSError` to hang up."""


class Refusal(Exception):
    """Answer with an error."""

    def __init__(self, code: str, details: str = "", identifier: str = "", fields: str = "") -> None:
        super().__init__(code, details)
        self.status = Status(code, details, identifier, fields)


class FramedPeer:
    """Serves `behaviours` by path at the Unix socket `path`, a thread for each connection, until it is closed.

    `calls` are the paths that were called, in order.
    """

    def __init__(self, path: str, behaviours: Mapping[str, Behaviour]) -> None:
        self._behaviours = behaviours
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(path)
        self._listening.listen(64)
        self._connections: list[socket.socket] = []
        self.calls: list[str] = []
        self.url = f"tvix+unix:{path}"
        self._closing = Event()
        Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Hang up everywhere."""
        self._closing.set()
        for connection in (self._listening, *self._connections):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def hang_up(self) -> None:
        """Close the connections there are, and go on listening."""
        connections, self._connections = self._connections, []
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                connection, _address = self._listening.accept()
                self._connections.append(connection)
                Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while True:
                kind, body = _receive(connection)
                if kind != CALL:
                    return
                self._answer(connection, body.decode())

    def _answer(self, connection: socket.socket, path: str) -> None:
        self.calls.append(path)
        requests = _requests(connection)
        behaviour = self._behaviours.get(path)
        try:
            if behaviour is None:
                raise Refusal("UNIMPLEMENTED", "Method not found!")
            for message in behaviour(requests):
                connection.sendall(record(MESSAGE, message))
            for _request in requests:
                pass
        except Refusal as refusal:
            for _request in requests:
                pass
            connection.sendall(record(ERROR, encode_status(refusal.status)))
        except TvixError as error:
            connection.sendall(record(ERROR, encode_status(Status("INTERNAL", str(error), error.identifier))))
        else:
            connection.sendall(record(END))


def _requests(connection: socket.socket) -> Iterator[bytes]:
    while True:
        kind, body = _receive(connection)
        if kind != MESSAGE:
            return
        yield body


def _receive(connection: socket.socket) -> tuple[int, bytes]:
    length, kind = HEADER.unpack(_exactly(connection, HEADER.size))
    return kind, _exactly(connection, length)


def _exactly(connection: socket.socket, size: int) -> bytes:
    out = bytearray()
    while len(out) < size:
        piece = connection.recv(size - len(out))
        if not piece:
            raise OSError("the client hung up")
        out += piece
    return bytes(out)

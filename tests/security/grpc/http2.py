"""HTTP/2 by hand, as far as it takes to open thousands of gRPC calls, and messages that no client library would send."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from struct import pack

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1


class Connection:
    """One connection; streams are opened on it by number."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=30)
        self._buffer = b""
        self._next = 1
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _frame(SETTINGS, 0, 0, b""))

    def open(self, path: str, count: int) -> None:
        """Begin so many calls that send nothing yet."""
        head = b"\x83\x86" + _literal(b":path", path.encode()) + _literal(b":authority", b"x")
        head += _literal(b"content-type", b"application/grpc") + _literal(b"te", b"trailers")
        frames = []
        for _ in range(count):
            frames.append(_frame(HEADERS, END_HEADERS, self._next, head))
            self._next += 2
        self.socket.sendall(b"".join(frames))

    def data(self, body: bytes) -> None:
        """Send on the call that was begun last."""
        self.socket.sendall(_frame(DATA, 0, self._next - 2, body))

    def frames(self) -> Iterator[tuple[int, int, int, bytes]]:
        """Type, flags, stream and body of what comes, until the connection is closed."""
        while True:
            head = self._exactly(9)
            if len(head) < 9:
                return
            body = self._exactly(int.from_bytes(head[:3], "big"))
            if head[3] == SETTINGS and not head[4] & ACK:
                self.socket.sendall(_frame(SETTINGS, ACK, 0, b""))
            if head[3] == PING and not head[4] & ACK:
                self.socket.sendall(_frame(PING, ACK, 0, body))
            yield head[3], head[4], int.from_bytes(head[5:], "big"), body

    def ended(self, count: int) -> list[int]:
        """Wait for so many calls to end; how: the type of the frame, HEADERS where there was an answer."""
        found: dict[int, int] = {}
        for kind, flags, stream, _body in self.frames():
            if (kind == HEADERS and flags & END_STREAM) or kind == RST_STREAM:
                found.setdefault(stream, kind)  # an answer before the question has ended is followed by a reset
                if len(found) == count:
                    break
        return list(found.values())

    def close(self) -> None:
        """Hang up."""
        self.socket.close()

    def _exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            piece = self.socket.recv(1 << 16)
            if not piece:
                return b""
            self._buffer += piece
        data, self._buffer = self._buffer[:size], self._buffer[size:]
        return data


def _frame(kind: int, flags: int, stream: int, body: bytes) -> bytes:
    return pack(">I", len(body))[1:] + bytes((kind, flags)) + pack(">I", stream) + body


def _literal(name: bytes, value: bytes) -> bytes:
    """A header that goes into no table and isn't compressed (RFC 7541, 6.2.2), of less than 127 bytes."""
    return b"\x00" + bytes((len(name),)) + name + bytes((len(value),)) + value

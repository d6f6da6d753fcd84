"""One connection of the framed protocol (`tvix.castore.transfer.framing`): records out, records in, each wait bounded."""

from __future__ import annotations

import socket
from contextlib import suppress
from time import monotonic

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_calls import NEVER
from tvix.castore.remote_errors import CallFailed
from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, MESSAGE_BYTES_MAX, decode_status, record

_BUFFER_BYTES = 64 << 10
_GATHER_BYTES = 64 << 10
_CONNECT_SECONDS = 5.0


class Connection:
    """Not to be shared between threads, but for `break_off`."""

    __slots__ = ("_address", "_buffer", "_end", "_plain", "_seconds", "_socket", "_start", "answered", "used")

    def __init__(self, connected: socket.socket, address: Address, seconds: float) -> None:
        self._socket = connected
        self._plain = type(connected) is socket.socket  # Python's ssl sends one buffer at a time
        self._seconds = seconds
        self._address = address
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._start = self._end = 0
        self.used = False
        """Whether it has carried a call before, and may have been closed since by the other end."""
        self.answered = True
        """Whether nothing is on its way: only then it may carry the next call."""

    def begin(self, path: str, request: Buffer | None, end: float = NEVER) -> None:
        """A call; with its one request, where there is one. Raises `CallFailed`, as all methods do."""
        self.answered = False
        head = record(CALL, path.encode())
        if request is None:
            self._write((head,), end)
        else:
            self._write((head + HEADER.pack(len(request), MESSAGE), request, record(END)), end)

    def send(self, message: Buffer, end: float = NEVER) -> None:
        """One more message."""
        self._write((HEADER.pack(len(message), MESSAGE), message), end)

    def finish(self, end: float = NEVER) -> None:
        """No more messages."""
        self._write((record(END),), end)

    def next(self, end: float = NEVER) -> Buffer | None:
        """The next message of the answer, None at its end."""
        length, kind = HEADER.unpack(self._read(HEADER.size, end))
        if kind not in (MESSAGE, END, ERROR) or length > MESSAGE_BYTES_MAX:
            raise CallFailed("INTERNAL", f"it sent a record of kind {kind} with {length} bytes")
        body = self._read(length, end)
        if kind == MESSAGE:
            return body
        self.answered = True
        if kind == END:
            return None
        try:
            status = decode_status(body)
        except MalformedMessage as error:
            raise CallFailed("INTERNAL", str(error)) from None
        raise CallFailed(status.code, status.details, identifier=status.identifier, fields=status.fields)

    def answer(self, end: float = NEVER) -> Buffer:
        """The one message of an answer."""
        message = self.next(end)
        if message is None:
            raise CallFailed("INTERNAL", "it says that all is well and sends no answer")
        if self.next(end) is not None:
            raise CallFailed("INTERNAL", "it sends more than one answer")
        return message

    def break_off(self) -> None:
        """End what is going on, from any thread: whoever waits has an error."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Let go of it. Says nothing to the other end, so that the copy of a parent process isn't disturbed."""
        self._socket.close()

    def _write(self, pieces: tuple[Buffer, ...], end: float) -> None:
        try:
            if len(pieces) > 1 and (not self._plain or sum(map(len, pieces)) <= _GATHER_BYTES):
                pieces = (b"".join(pieces),)
            for piece in pieces:
                self._limit(end)
                self._socket.sendall(piece)
        except OSError as error:
            raise self._failed(error) from None

    def _read(self, size: int, end: float) -> Buffer:
        """Exactly `size` bytes; small ones are bytes."""
        have = self._end - self._start
        if size > have and size > _BUFFER_BYTES // 2:
            return self._read_large(size, end)
        while self._end - self._start < size:
            if self._start and _BUFFER_BYTES - self._start < size:
                self._buffer[: self._end - self._start] = bytes(self._buffer[self._start : self._end])
                self._start, self._end = 0, self._end - self._start
            self._end += self._receive(self._buffer[self._end :], end)
        self._start += size
        body = bytes(self._buffer[self._start - size : self._start])
        if self._start == self._end:
            self._start = self._end = 0
        return body

    def _read_large(self, size: int, end: float) -> Buffer:
        body = bytearray(size)
        view = memoryview(body)
        have = self._end - self._start
        view[:have] = self._buffer[self._start : self._end]
        self._start = self._end = 0
        while have < size:
            have += self._receive(view[have:], end)
        return body

    def _receive(self, into: memoryview, end: float) -> int:
        try:
            self._limit(end)
            received = self._socket.recv_into(into)
        except OSError as error:
            raise self._failed(error) from None
        if not received:
            raise CallFailed("UNAVAILABLE", "it closed the connection")
        return received

    def _limit(self, end: float) -> None:
        seconds = self._seconds
        if end != NEVER:
            seconds = min(seconds, max(end - monotonic(), 0.001))
        if self._socket.gettimeout() != seconds:
            self._socket.settimeout(seconds)

    def _failed(self, error: OSError) -> CallFailed:
        if isinstance(error, TimeoutError):
            return CallFailed("DEADLINE_EXCEEDED")
        if not self._plain:
            from tvix.castore.tls import refusal

            refused = refusal(error, self._address)
            if refused is not None:
                raise refused
        return CallFailed("UNAVAILABLE", error.strerror or str(error))


def connect(address: Address, seconds: float, end: float = NEVER) -> Connection:
    """A new connection to a server. Raises `CallFailed`, and what TLS refuses."""
    try:
        connected = connect_socket(address, max(min(_CONNECT_SECONDS, seconds, end - monotonic()), 0.001))
    except OSError as error:
        reason = "it takes too long to connect" if isinstance(error, TimeoutError) else error.strerror or str(error)
        raise CallFailed("UNAVAILABLE", reason) from None
    if address.scheme == "tvix+tls":
        from tvix.castore.tls import client_socket

        connected = client_socket(connected, address)
    return Connection(connected, address, seconds)


def connect_socket(address: Address, seconds: float) -> socket.socket:
    """A socket that is connected to where an address says; waits on it last `seconds`. Raises `OSError`."""
    if address.path:
        connected = socket.socket(socket.AF_UNIX)
        try:
            connected.settimeout(seconds)
            connected.connect(address.path)
        except BaseException:
            connected.close()
            raise
        return connected
    # As bytes: text is looked up by the idna codec, which the initrds do without.
    connected = socket.create_connection((address.host.encode(), address.port), timeout=seconds)  # type: ignore[arg-type]
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    return connected

"""Records in and out of one framed connection, each wait bounded.

One thread may read while another writes. Python's ssl lets no two threads into one connection, so over TLS each call into it is
short, never waits, and holds a lock; waiting is done outside, by poll. Plain sockets gather the pieces of a message in one system
call; ssl takes one buffer at a time, so there they are joined.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Sequence
from contextlib import suppress
from threading import Lock
from time import monotonic

from tvix.castore.blobs.interface import Buffer
from tvix.castore.transfer.framing import ERROR, HEADER, MESSAGE, Status, encode_status, record
from tvix.errors import EX_DATAERR, TvixError
from tvix.grpc_api.status import CallerGone

_BUFFER_BYTES = 16 << 10
_PIECE_BYTES = 1 << 20
_PIECES_MAX = 512
_PACE = 64 << 10
"""Bytes a second that whoever sends a large record must reach on the whole, beside the time that any record may take."""

TCP_NOTSENT_LOWAT = 25
"""Of Linux; Python has no name for it."""
NOTSENT_BYTES = 64 << 10
"""What may wait in the kernel to be sent: more would stand before something urgent."""


class NotFramed(TvixError):
    """Bytes on a framed connection that are no record, or not the one that has to come now."""

    identifier = "framed.not-framed"
    message = "a caller from {peer} doesn't speak the framed protocol: {reason}"
    exit_code = EX_DATAERR


class Stalled(CallerGone):
    """A caller that sends or reads nothing for too long, or too slowly."""

    identifier = "framed.stalled"
    message = "the caller sent or read too little in {seconds} s"


class Wire:
    """`stall` is how many seconds a caller may take to read or send something. Methods raise `CallerGone` and `Stalled`."""

    def __init__(self, connected: socket.socket, stall: float, peer: str) -> None:
        connected.setblocking(False)
        self.peer = peer
        self.socket = connected
        self._stall = stall
        self._plain = type(connected) is socket.socket
        self._lock = Lock()
        self._readable, self._writable = select.poll(), select.poll()
        self._readable.register(connected.fileno(), select.POLLIN)
        self._writable.register(connected.fileno(), select.POLLOUT)
        self._buffer = bytearray()
        self._start = self._end = 0
        self.writing = False
        """Whether a thread waits for the caller to read."""

    def begins(self, size: int, seconds: float) -> bool:
        """Whether the next record, of `size` bytes at most, or the end of the connection, is here within that time.

        What is here of it stays; whoever asks again later loses nothing.
        """
        try:
            if not self._fill(HEADER.size, monotonic() + seconds):
                return True
            length, _kind = HEADER.unpack_from(self._buffer, self._start)
            self._fill(HEADER.size + min(length, size), monotonic() + seconds)
        except Stalled:
            return False
        return True

    def header(self, seconds: float | None = None) -> tuple[int, int] | None:
        """Kind and length of the next record, None where the caller has closed the connection between two. Waits `seconds`."""
        end = monotonic() + (self._stall if seconds is None else seconds)
        if not self._fill(HEADER.size, end):
            return None
        length, kind = HEADER.unpack_from(self._buffer, self._start)
        self._start += HEADER.size
        return kind, length

    def body(self, size: int, seconds: float | None = None) -> bytes:
        """The body of a record; large ones have more time than `seconds`."""
        end = monotonic() + (self._stall if seconds is None else seconds) + size / _PACE
        have = self._end - self._start
        if size <= have:
            body = bytes(self._buffer[self._start : self._start + size])
            self._start += size
            return body
        pieces = [bytes(self._buffer[self._start : self._end])] if have else []
        self._start = self._end = 0
        while have < size:
            piece = self._receive(min(size - have, _PIECE_BYTES), end)
            if not piece:
                raise CallerGone
            pieces.append(piece)
            have += len(piece)
        return b"".join(pieces)

    def skip(self, size: int) -> None:
        """Read the body of a record and forget it."""
        while size:
            step = min(size, _PIECE_BYTES)
            self.body(step)
            size -= step

    def message(self, pieces: Buffer | Sequence[Buffer]) -> None:
        """Send one."""
        if isinstance(pieces, bytes | bytearray | memoryview):
            pieces = (pieces,)
        size = sum(map(len, pieces))
        self._send([HEADER.pack(size, MESSAGE), *pieces])

    def answer(self, message: bytes, end: bytes) -> None:
        """Send one message and what ends the call, in one go."""
        self._send([HEADER.pack(len(message), MESSAGE), message, end])

    def small(self, data: bytes) -> None:
        """Send a small record."""
        self._send([data])

    def error(self, status: Status) -> None:
        """Send how a call ended."""
        self._send([record(ERROR, encode_status(status))])

    @property
    def has_more(self) -> bool:
        """Whether something has been received that nobody has read: the socket needn't become readable for it."""
        return self._start < self._end or (not self._plain and self.socket.pending() > 0)  # type: ignore[attr-defined]

    def hang_up(self, how: int = socket.SHUT_RDWR) -> None:
        """End what is going on, from any thread: reading gives the end."""
        with suppress(OSError):
            socket.socket.shutdown(self.socket, how)

    def rest(self) -> None:
        """Hold no memory while nothing happens."""
        if not self.has_more:
            self._buffer = bytearray()
            self._start = self._end = 0

    def linger(self, seconds: float) -> None:
        """Say that nothing more comes, and read what is on its way for a moment: a reset would overtake what was said last."""
        self.hang_up(socket.SHUT_WR)
        end = monotonic() + seconds
        with suppress(CallerGone, OSError):
            while self._receive(_PIECE_BYTES, end):
                pass

    def close(self) -> None:
        """To be called when no other thread is inside."""
        self.socket.close()

    def _fill(self, size: int, end: float) -> bool:
        """Have `size` bytes in the buffer; False at the end of the connection where nothing is there."""
        if not self._buffer:
            self._buffer = bytearray(_BUFFER_BYTES)
        while self._end - self._start < size:
            if _BUFFER_BYTES - self._start < size or self._start == self._end:
                left = bytes(self._buffer[self._start : self._end])
                self._buffer[: len(left)] = left
                self._start, self._end = 0, len(left)
            piece = self._receive(_BUFFER_BYTES - self._end, end)
            if not piece:
                if self._start == self._end:
                    return False
                raise CallerGone
            self._buffer[self._end : self._end + len(piece)] = piece
            self._end += len(piece)
        return True

    def _receive(self, size: int, end: float) -> bytes:
        """Something, or nothing at the end."""
        while True:
            try:
                if self._plain:
                    return self.socket.recv(size)
                with self._lock:
                    return self.socket.recv(size)
            except OSError as error:
                self._await(error, self._readable, end)

    def _send(self, pieces: list[Buffer]) -> None:
        self.writing = True
        try:
            if self._plain:
                self._gather([memoryview(piece) for piece in pieces if len(piece)])
            else:
                self._write(memoryview(b"".join(pieces)))
        finally:
            self.writing = False

    def _gather(self, pieces: list[memoryview]) -> None:
        first = 0
        end = monotonic() + self._stall
        while first < len(pieces):
            try:
                sent = self.socket.sendmsg(pieces[first : first + _PIECES_MAX])
            except OSError as error:
                self._await(error, self._writable, end)
                continue
            end = monotonic() + self._stall
            while sent and sent >= len(pieces[first]):
                sent -= len(pieces[first])
                first += 1
            if sent:
                pieces[first] = pieces[first][sent:]

    def _write(self, data: memoryview) -> None:
        end = monotonic() + self._stall
        while data:
            try:
                with self._lock:
                    sent = self.socket.send(data)
            except OSError as error:
                self._await(error, self._writable, end)
                continue
            end = monotonic() + self._stall
            data = data[sent:]

    def _await(self, error: OSError, poll: select.poll, end: float) -> None:
        """Wait where that is what `error` wants. Raises `CallerGone` and `Stalled` otherwise."""
        if not isinstance(error, BlockingIOError):
            if self._plain:
                raise CallerGone from None
            import ssl

            if isinstance(error, ssl.SSLWantWriteError):
                poll = self._writable
            elif isinstance(error, ssl.SSLWantReadError):
                poll = self._readable
            else:
                raise CallerGone from None
        left = end - monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise Stalled(seconds=f"{self._stall:g}") from None

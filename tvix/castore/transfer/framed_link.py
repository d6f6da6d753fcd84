"""A link over a socket, without gRPC: `tvix+unix:`, `tvix+tcp:` and `tvix+tls:`.

A record is received straight into a buffer of its size, with room behind it for the header of the next: one call for each piece
that the kernel has, and no copy.
"""

from __future__ import annotations

import errno
import socket
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from tvix.castore.addresses import Address
from tvix.castore.blobs.interface import Buffer
from tvix.castore.protobuf import MalformedMessage
from tvix.castore.remote_errors import CallFailed
from tvix.castore.transfer.framing import CALL, END, ERROR, HEADER, MESSAGE, MESSAGE_BYTES_MAX, decode_status, record
from tvix.castore.transfer.link import METHOD, LinkLost, final_error
from tvix.castore.transfer.resolving import Resolving, SocketAddress, numeric
from tvix.errors import TvixError

if TYPE_CHECKING:
    from ssl import SSLSocket

_HEADER_BYTES = HEADER.size
_TURN_BYTES = 256 << 10
_CONNECTING = (errno.EINPROGRESS, errno.EAGAIN, errno.EALREADY)


class FramedLink:
    """See `Link`. Dials when it is made. Raises `LinkLost`."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._socket: socket.socket | None = None
        self._tls: SSLSocket | None = None
        self._resolving: Resolving | None = None
        self._candidates: list[SocketAddress] = []
        self._connecting = True
        self.ready = False
        self.wants_write = True
        self.pending = False
        self._out: deque[memoryview] = deque()
        self._buffer = memoryview(bytearray(_HEADER_BYTES))
        self._have = 0
        self._body = -1  # its length; less than none: the header is being received
        self._kind = 0
        if address.path:
            self._candidates = [(int(socket.AF_UNIX), (address.path,))]
        else:
            self._candidates = numeric(address.host, address.port)
            if not self._candidates:
                self._resolving = Resolving(address.host, address.port)
                self.wants_write = False
                return
        self._connect()

    def fileno(self) -> int:
        """See `Link`."""
        if self._resolving is not None:
            return self._resolving.fileno()
        return -1 if self._socket is None else self._socket.fileno()

    def send(self, message: Buffer) -> None:
        """See `Link`."""
        self._out.append(memoryview(HEADER.pack(len(message), MESSAGE) + bytes(message)))
        if len(self._out) == 1:
            self._flush()

    def receive(self) -> tuple[list[Buffer], int]:
        """See `Link`."""
        if not self.ready:
            self._establish()
            if not self.ready:
                return [], 0
        if self._out:
            self._flush()
        messages: list[Buffer] = []
        total = 0
        self.pending = False
        while total < _TURN_BYTES:
            received = self._receive_into(self._buffer[self._have :])
            if received < 0:
                return messages, total
            self._have += received
            total += received
            while self._complete():
                message = self._take_record()
                if message is not None:
                    messages.append(message)
            if messages:
                break
        self.pending = self._tls is not None and self._tls.pending() > 0
        return messages, total

    def close(self) -> None:
        """See `Link`."""
        if self._resolving is not None:
            self._resolving.close()
            self._resolving = None
        if self._socket is not None:
            self._socket.close()
        self._out.clear()

    # Beginning.

    def _connect(self) -> None:
        """Begin with the next address."""
        family, address = self._candidates.pop(0)
        try:
            connecting = self._socket = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            if family != socket.AF_UNIX:
                connecting.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connecting.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            code = connecting.connect_ex(address[0] if family == socket.AF_UNIX else address)
        except OSError as error:  # a kernel without this family, or a process without another descriptor
            code = error.errno or errno.EINVAL
        self._after_connect(code)

    def _after_connect(self, code: int) -> None:
        if code in _CONNECTING and not self._address.path:
            return
        if code:
            if self._socket is not None:
                self._socket.close()
            if self._candidates:
                self._connect()
                return
            raise LinkLost(_words(OSError(code, "")))
        self._connecting = False

    def _establish(self) -> None:
        if self._resolving is not None:
            try:
                found = self._resolving.result()
            except OSError as error:
                raise LinkLost(f"its address can't be found: {error.strerror or error}") from None
            if found is None:
                return
            self._resolving.close()
            self._resolving = None
            self._candidates = found
            self.wants_write = True
            self._connect()
        if self._socket is None:
            raise AssertionError("neither resolving nor connecting")
        if self._connecting:
            code = self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if not code:
                try:
                    self._socket.getpeername()
                except OSError:
                    return
            self._after_connect(code)
            if self._connecting:
                return
        if self._address.scheme == "tvix+tls" and not self._shake_hands(self._socket):
            return
        self.ready = True
        self.wants_write = False
        self._out.appendleft(memoryview(record(CALL, METHOD.encode())))
        self._flush()

    def _shake_hands(self, connected: socket.socket) -> bool:
        import ssl

        from tvix.castore.tls import begin_handshake, check_protocol, handshake_error

        try:
            if self._tls is None:
                self._tls = begin_handshake(connected, self._address)
                self._socket = self._tls
            self._tls.do_handshake()
            check_protocol(self._tls, self._address)
        except ssl.SSLWantReadError:
            self.wants_write = False
            return False
        except ssl.SSLWantWriteError:
            self.wants_write = True
            return False
        except OSError as error:
            wrong = handshake_error(error, self._address)
            raise LinkLost(str(wrong), wrong) from None
        except TvixError as error:
            raise LinkLost(str(error), error) from None
        return True

    # Sending.

    def _flush(self) -> None:
        if not self.ready or self._socket is None:
            return
        out = self._out
        try:
            while out:
                sent = self._socket.send(out[0])
                if sent == len(out[0]):
                    out.popleft()
                else:
                    out[0] = out[0][sent:]
        except BlockingIOError:
            pass
        except OSError as error:
            if not _waits(error):
                self._raise_said()
                raise self._lost(error) from None
        self.wants_write = bool(out)

    def _raise_said(self) -> None:
        """A server that hangs up may have said why before: that is the better reason."""
        with suppress(OSError):
            while True:
                received = self._receive_into(self._buffer[self._have :])
                if received <= 0:
                    return
                self._have += received
                while self._complete():
                    self._take_record()

    # Receiving.

    def _receive_into(self, room: memoryview) -> int:
        """How many bytes came; -1 where there are none now. Raises `LinkLost`."""
        if self._socket is None:
            raise LinkLost("it is closed")
        try:
            received = self._socket.recv_into(room)
        except BlockingIOError:
            return -1
        except OSError as error:
            if _waits(error):
                return -1
            raise self._lost(error) from None
        if not received:
            raise LinkLost("it closed the connection")
        return received

    def _complete(self) -> bool:
        return self._have >= (_HEADER_BYTES if self._body < 0 else self._body)

    def _take_record(self) -> Buffer | None:
        """What is complete: a header, which says how much room to make, or a record."""
        if self._body < 0:
            length, self._kind = HEADER.unpack(self._buffer[:_HEADER_BYTES])
            if self._kind not in (MESSAGE, END, ERROR) or length > MESSAGE_BYTES_MAX:
                raise LinkLost(f"it sent a record of kind {self._kind} with {length} bytes; it speaks another protocol")
            self._buffer = memoryview(bytearray(length + _HEADER_BYTES))
            self._body = length
            self._have = 0
            return None
        body, rest = self._buffer[: self._body], self._buffer[self._body : self._have]
        header = memoryview(bytearray(_HEADER_BYTES))
        header[: len(rest)] = rest
        self._buffer, self._have, self._body = header, len(rest), -1
        if self._kind == MESSAGE:
            return body
        if self._kind == END:
            raise LinkLost("it ended the call")
        raise self._ended(body)

    def _ended(self, body: Buffer) -> LinkLost:
        try:
            status = decode_status(body)
        except MalformedMessage as error:
            return LinkLost(str(error))
        failed = CallFailed(status.code, status.details, identifier=status.identifier, fields=status.fields)
        return LinkLost(failed.details, final_error(self._address, failed))

    def _lost(self, error: OSError) -> LinkLost:
        if self._tls is not None:
            from tvix.castore.tls import refusal

            try:
                refused = refusal(error, self._address)
            except TvixError as wrong:  # our own credentials are gone meanwhile
                return LinkLost(str(wrong), wrong)
            if refused is not None:
                return LinkLost(str(refused), refused)
        return LinkLost(_words(error))


def _waits(error: OSError) -> bool:
    """Whether TLS only wants to go on later. Its module isn't imported for plain sockets, whose errors never have these names."""
    return type(error).__name__ in ("SSLWantReadError", "SSLWantWriteError")


def _words(error: OSError) -> str:
    import os

    return error.strerror or (os.strerror(error.errno) if error.errno else str(error))

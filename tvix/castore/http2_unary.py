"""One gRPC call with a small request and a small answer, over a connection of its own, without gRPC.

What a server offers besides is asked before it is known whether gRPC will be needed, and importing that takes longer than all else
a boot does until its store is mounted. Of HTTP/2 (RFC 9113) there is just what such a call takes: one stream, no flow control since
the answer fits the first window, and of the answer neither headers nor trailers, so that nothing of HPACK (RFC 7541) is decoded.
The status is therefore not known: an answer without a message is none, and a message is to be tried out before it is believed.
"""

from __future__ import annotations

import socket
from struct import Struct
from time import monotonic

from tvix.castore.protobuf import encode_varint

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"  # RFC 9113, 3.4
_HEAD = Struct(">HBBBI")  # 4.1: length in 24 bits, type, flags, stream
_DATA, _HEADERS, _RST_STREAM, _SETTINGS, _GOAWAY = 0, 1, 3, 4, 7  # 6.1, 6.2, 6.4, 6.5, 6.8
_END_STREAM, _ACK, _END_HEADERS, _PADDED = 1, 1, 4, 8
_NO_PUSH = b"\x00\x02\x00\x00\x00\x00"  # 6.5.2: SETTINGS_ENABLE_PUSH is 0
_STREAM = 1
_FRAME_BYTES_MAX = 16_384  # 4.2: what a server may send to a client that doesn't ask for more
_ANSWER_BYTES_MAX = 65_535  # 6.9.2: the first window of a stream, and of a connection
_MESSAGE_HEAD = Struct(">BI")  # gRPC: whether it is compressed, and its length


class NotAnswered(Exception):
    """The other end says no, says nothing in time, or says what a gRPC server wouldn't."""


def call(connected: socket.socket, authority: str, path: str, request: bytes, end: float, *, encrypted: bool = False) -> bytes:
    """The message that answers `request`; `path` is /package.Service/Method, `end` a time of `monotonic`.

    The connection is used up, and the caller's to close. Raises `NotAnswered`.
    """
    try:
        _limit(connected, end)
        connected.sendall(_question(authority, path, request, end - monotonic(), encrypted=encrypted))
        return _message(_answer(connected, end))
    except OSError as error:
        raise NotAnswered(str(error)) from None


def _question(authority: str, path: str, request: bytes, seconds: float, *, encrypted: bool) -> bytes:
    """All that is said: it doesn't wait for the server's settings, as 3.4 allows."""
    headers = (
        (":method", "POST"),
        (":scheme", "https" if encrypted else "http"),
        (":path", path),
        (":authority", authority),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
        ("grpc-timeout", f"{max(int(seconds * 1000), 1)}m"),
    )
    block = b"".join(b"\x00" + _literal(name) + _literal(value) for name, value in headers)  # RFC 7541, 6.2.2: not to be indexed
    body = _MESSAGE_HEAD.pack(0, len(request)) + request
    return b"".join(
        (
            _PREFACE,
            _frame(_SETTINGS, 0, 0, _NO_PUSH),
            _frame(_HEADERS, _END_HEADERS, _STREAM, block),
            _frame(_DATA, _END_STREAM, _STREAM, body),
        )
    )


def _literal(text: str) -> bytes:
    """RFC 7541, 5.2: without Huffman coding, the length in a prefix of 7 bits and, from 127 on, in bytes of 7 more (5.1)."""
    raw = text.encode("utf-8", "surrogateescape")
    length = bytes((len(raw),)) if len(raw) < 127 else b"\x7f" + encode_varint(len(raw) - 127)
    return length + raw


def _frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return _HEAD.pack(len(payload) >> 8, len(payload) & 0xFF, kind, flags, stream) + payload


def _answer(connected: socket.socket, end: float) -> bytes:
    """What the frames of our stream carry, until it ends. Frames of other kinds are nobody's business here (4.1)."""
    body = b""
    received = 0
    while True:
        high, low, kind, flags, stream = _HEAD.unpack(_read(connected, _HEAD.size, end))
        length = high << 8 | low
        received += length
        if length > _FRAME_BYTES_MAX or received > _ANSWER_BYTES_MAX:
            raise NotAnswered("more than an answer")
        payload = _read(connected, length, end)
        if kind == _GOAWAY:
            raise NotAnswered("the server is leaving")
        if kind == _SETTINGS and not flags & _ACK:
            connected.sendall(_frame(_SETTINGS, _ACK, 0, b""))  # 6.5.3
        if stream & 0x7FFF_FFFF != _STREAM:  # the highest bit is nobody's (4.1)
            continue
        if kind == _RST_STREAM:
            raise NotAnswered("the stream is refused")
        if kind == _DATA:
            body += _unpadded(payload) if flags & _PADDED else payload
        if kind in (_DATA, _HEADERS) and flags & _END_STREAM:
            return body


def _unpadded(payload: bytes) -> bytes:
    """6.1: the first byte says how many at the end are nothing."""
    if not payload or payload[0] >= len(payload):
        raise NotAnswered("a frame with more padding than bytes")
    return payload[1 : len(payload) - payload[0]]


def _message(body: bytes) -> bytes:
    if len(body) < _MESSAGE_HEAD.size:
        raise NotAnswered("no message")
    compressed, length = _MESSAGE_HEAD.unpack_from(body)
    if compressed or length != len(body) - _MESSAGE_HEAD.size:
        raise NotAnswered("something else than one plain message")
    return body[_MESSAGE_HEAD.size :]


def _read(connected: socket.socket, size: int, end: float) -> bytes:
    data = b""
    while len(data) < size:
        _limit(connected, end)
        piece = connected.recv(size - len(data))
        if not piece:
            raise NotAnswered("the connection is closed")
        data += piece
    return data


def _limit(connected: socket.socket, end: float) -> None:
    """Let the next wait on the socket end in time. Raises `NotAnswered` where time is up."""
    left = end - monotonic()
    if left <= 0:
        raise NotAnswered("no answer in time")
    connected.settimeout(left)

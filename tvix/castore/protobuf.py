"""The part of the protobuf wire format that our few messages need.

Hand-written because boot can't afford generated code (102 million instructions to import), and because objects named by the digest
of their encoding need a codec that refuses every other encoding of the same message.
https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar

from tvix.errors import EX_DATAERR, TvixError

VARINT = 0
FIXED64 = 1
LENGTH_DELIMITED = 2
FIXED32 = 5

B = TypeVar("B", bytes, memoryview)

_U64_MAX = (1 << 64) - 1
_SMALL = [bytes((value,)) for value in range(128)]


class MalformedMessage(TvixError):
    """Bytes that aren't a protobuf message of the expected shape."""

    identifier = "castore.malformed-message"
    message = "malformed {what}: {reason} at byte {offset}"
    exit_code = EX_DATAERR


def encode_varint(value: int) -> bytes:
    """The shortest encoding of an unsigned integer below 2^64."""
    if value < 128:
        return _SMALL[value]
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(buffer: bytes | memoryview, offset: int, what: str) -> tuple[int, int]:
    """(value, offset after it). Raises `MalformedMessage` when it is cut short, not the shortest encoding, or over 64 bits."""
    value = shift = 0
    start = offset
    while True:
        try:
            byte = buffer[offset]
        except IndexError:
            raise MalformedMessage(what=what, reason="a varint is cut short", offset=start) from None
        offset += 1
        value |= (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
        if shift > 63:
            raise MalformedMessage(what=what, reason="a varint is over 64 bits", offset=start)
    if value > _U64_MAX or (byte == 0 and shift):
        raise MalformedMessage(what=what, reason="a varint is not in its shortest form", offset=start)
    return value, offset


def tag(field: int, wire_type: int) -> bytes:
    """The key before a field's value."""
    return encode_varint(field << 3 | wire_type)


def bytes_field(field: int, value: bytes) -> bytes:
    """A length-delimited field; empty values are left out, as proto3 does."""
    return tag(field, LENGTH_DELIMITED) + encode_varint(len(value)) + value if value else b""


def message_field(field: int, value: bytes) -> bytes:
    """A nested message or an element of a repeated field: written even when it is empty."""
    return tag(field, LENGTH_DELIMITED) + encode_varint(len(value)) + value


def varint_field(field: int, value: int) -> bytes:
    """A number, boolean or enum field; zero is left out, as proto3 does."""
    return tag(field, VARINT) + encode_varint(value) if value else b""


def fields(buffer: B, what: str) -> Iterator[tuple[int, int | B]]:
    """The fields of a message in the order they stand: an int for varints, a slice of `buffer` for everything else.

    Unknown fields are yielded too; skipping them is the caller's choice. Raises `MalformedMessage`.
    """
    offset = 0
    end = len(buffer)
    while offset < end:
        start = offset
        key, offset = buffer[offset], offset + 1
        if key > 127:
            key, offset = decode_varint(buffer, start, what)
        wire_type = key & 7
        if wire_type == VARINT:
            value, offset = decode_varint(buffer, offset, what)
            yield key >> 3, value
            continue
        if wire_type == LENGTH_DELIMITED:
            length, offset = decode_varint(buffer, offset, what)
        elif wire_type in (FIXED64, FIXED32):
            length = 8 if wire_type == FIXED64 else 4
        else:
            raise MalformedMessage(what=what, reason=f"wire type {wire_type} is not in use", offset=start)
        if length > end - offset:
            raise MalformedMessage(what=what, reason="a field is longer than the message", offset=start)
        yield key >> 3, buffer[offset : offset + length]
        offset += length

"""The messages of `Transfer` that aren't part of a stream, as bytes; see protos/tvix_appliance_castore_v1.proto.

Everything that decodes raises `MalformedMessage`, and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from struct import Struct, pack, unpack
from typing import NamedTuple

from tvix.castore.blobs.interface import Buffer, Chunk, StoredBlob
from tvix.castore.chunking import CHUNKS_MAX
from tvix.castore.digests import DIGEST_BYTES, Digest
from tvix.castore.protobuf import MalformedMessage, bytes_field, decode_varint, encode_varint, fields, varint_field
from tvix.castore.transfer.messages import split_digests

_CHUNK = Struct("<32sI")
_BINARY_DIGITS = b"01" + bytes(254)


class Description(NamedTuple):
    """What a server says of itself: its program, whether the caller may write, what it can do, the largest message it takes; and
    where it listens for the framed protocol: ports without and with TLS, and sockets by their names in the directory of the one
    that was called."""

    program: str = ""
    writable: bool = False
    features: Sequence[str] = ()
    message_bytes: int = 0
    framed_ports: Sequence[int] = ()
    framed_tls_ports: Sequence[int] = ()
    framed_sockets: Sequence[bytes] = ()


def encode_description(description: Description) -> bytes:
    """A Description."""
    features = b"".join(bytes_field(3, feature.encode()) for feature in description.features)
    return b"".join(
        (
            bytes_field(1, description.program.encode()),
            varint_field(2, description.writable),
            features,
            varint_field(4, description.message_bytes),
            bytes_field(5, b"".join(map(encode_varint, description.framed_ports))),
            bytes_field(6, b"".join(map(encode_varint, description.framed_tls_ports))),
            *(bytes_field(7, name) for name in description.framed_sockets),
        )
    )


def decode_description(message: bytes) -> Description:
    """A Description; features that aren't UTF-8 are no feature."""
    what = "Description"
    program, writable, features, message_bytes = "", False, [], 0
    ports: dict[int, list[int]] = {5: [], 6: []}
    sockets: list[bytes] = []
    for number, value in fields(message, what):
        if number == 1:
            program = _bytes(value, what).decode("utf-8", "replace")
        elif number == 2:
            writable = _number(value, what) != 0
        elif number == 3:
            features.append(_bytes(value, what).decode("utf-8", "replace"))
        elif number == 4:
            message_bytes = _number(value, what)
        elif number in ports:
            ports[number] += _varints(_bytes(value, what), what)
        elif number == 7:
            sockets.append(_bytes(value, what))
    return Description(program, writable, tuple(features), message_bytes, tuple(ports[5]), tuple(ports[6]), tuple(sockets))


def encode_missing_request(digests: Iterable[Digest], *, directories: bool = False) -> bytes:
    """A MissingRequest."""
    return bytes_field(1, b"".join(digests)) + varint_field(2, directories)


def decode_missing_request(message: bytes) -> tuple[list[Digest], bool]:
    """The digests of a MissingRequest, and whether they are of directories."""
    what = "MissingRequest"
    packed, kind = b"", 0
    for number, value in fields(message, what):
        if number == 1:
            packed = _bytes(value, what)
        elif number == 2:
            kind = _number(value, what)
    if kind > 1:
        raise MalformedMessage(what=what, reason=f"{kind} is no kind of digest", offset=0)
    return split_digests(packed, what), kind == 1


def encode_missing_response(missing: Sequence[bool]) -> bytes:
    """A MissingResponse, one bit for each digest of the request."""
    digits = bytes(reversed(missing)).translate(_BINARY_DIGITS)  # the fastest way from booleans to bits
    return bytes_field(1, int(digits or b"0", 2).to_bytes((len(missing) + 7) // 8, "little"))


def decode_missing_response(message: bytes, count: int) -> list[bool]:
    """Whether each of the `count` digests asked about is missing."""
    what = "MissingResponse"
    bits = b""
    for number, value in fields(message, what):
        if number == 1:
            bits = _bytes(value, what)
    if len(bits) != (count + 7) // 8:
        raise MalformedMessage(what=what, reason=f"{len(bits)} bytes of bits for {count} digests", offset=0)
    return [bits[position >> 3] >> (position & 7) & 1 == 1 for position in range(count)]


def encode_put_blobs(blobs: Sequence[StoredBlob]) -> bytes:
    """A PutBlobsRequest."""
    sizes = [blob.size for blob in blobs]
    lengths = [len(blob.contents) for blob in blobs]
    return b"".join(
        (
            bytes_field(1, pack(f"<{len(sizes)}I", *sizes)),
            bytes_field(2, b"".join(blob.contents for blob in blobs)),
            b"" if lengths == sizes else bytes_field(3, pack(f"<{len(lengths)}I", *lengths)),
        )
    )


def decode_put_blobs(message: Buffer) -> list[StoredBlob]:
    """The blobs of a PutBlobsRequest, views of the message; nothing is decompressed or hashed yet."""
    what = "PutBlobsRequest"
    columns = {1: b"", 2: b"", 3: b""}
    for number, value in fields(bytes(message), what):
        if number in columns:
            columns[number] = _bytes(value, what)
    sizes, payload = _column(columns[1], what), memoryview(columns[2])
    lengths = _column(columns[3], what) or sizes
    if len(lengths) != len(sizes):
        raise MalformedMessage(what=what, reason="the columns differ in length", offset=0)
    if sum(lengths) != len(payload):
        raise MalformedMessage(what=what, reason="the payload is not as long as its blobs", offset=0)
    blobs, offset = [], 0
    for size, length in zip(sizes, lengths, strict=True):
        if length > size:
            raise MalformedMessage(what=what, reason=f"a blob of {size} bytes takes {length}", offset=0)
        blobs.append(StoredBlob(size, payload[offset : offset + length]))
        offset += length
    return blobs


def encode_put_blobs_response(digests: Iterable[Digest]) -> bytes:
    """A PutBlobsResponse."""
    return bytes_field(1, b"".join(digests))


def decode_put_blobs_response(message: bytes) -> list[Digest]:
    """The digests of a PutBlobsResponse."""
    what = "PutBlobsResponse"
    packed = b""
    for number, value in fields(message, what):
        if number == 1:
            packed = _bytes(value, what)
    return split_digests(packed, what)


def encode_put_chunked(digest: Digest, chunks: Iterable[Chunk]) -> bytes:
    """A PutChunkedRequest."""
    return bytes_field(1, digest) + bytes_field(2, b"".join(_CHUNK.pack(*chunk) for chunk in chunks))


def decode_put_chunked(message: bytes) -> tuple[Digest, list[Chunk]]:
    """The digest and chunks of a PutChunkedRequest."""
    what = "PutChunkedRequest"
    digest, packed = b"", b""
    for number, value in fields(message, what):
        if number == 1:
            digest = _bytes(value, what)
        elif number == 2:
            packed = _bytes(value, what)
    if len(digest) != DIGEST_BYTES:
        raise MalformedMessage(what=what, reason=f"a digest of {len(digest)} bytes", offset=0)
    if len(packed) % _CHUNK.size or len(packed) > CHUNKS_MAX * _CHUNK.size:
        raise MalformedMessage(what=what, reason="the chunks are cut short or too many", offset=0)
    return Digest(digest), [Chunk(Digest(name), size) for name, size in _CHUNK.iter_unpack(packed)]


def _column(packed: bytes, what: str) -> tuple[int, ...]:
    if len(packed) % 4:
        raise MalformedMessage(what=what, reason="a column is cut short", offset=0)
    return unpack(f"<{len(packed) // 4}I", packed)


def _varints(packed: bytes, what: str) -> list[int]:
    values, offset = [], 0
    while offset < len(packed):
        value, offset = decode_varint(packed, offset, what)
        values.append(value)
    return values


def _bytes(value: int | bytes, what: str) -> bytes:
    if isinstance(value, int):
        raise MalformedMessage(what=what, reason="a field has the wrong type", offset=0)
    return value


def _number(value: int | bytes, what: str) -> int:
    if isinstance(value, bytes):
        raise MalformedMessage(what=what, reason="a field has the wrong type", offset=0)
    return value

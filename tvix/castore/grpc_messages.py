"""The messages of the published castore services as bytes, the same under `tvix.castore.v1` and `snix.castore.v1`.

    StatBlobRequest      digest = 1, send_chunks = 2              StatBlobResponse   chunks = 2 {digest = 1, size = 2}
    ReadBlobRequest      digest = 1                               BlobChunk          data = 1
    GetDirectoryRequest  digest = 1, recursive = 2                PutBlobResponse    digest = 1
                                                                  PutDirectoryResponse  root_digest = 1

Unknown fields are left aside. Everything here raises `MalformedMessage` or `InvalidDigest`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.digests import Digest, digest_from_bytes
from tvix.castore.protobuf import MalformedMessage, bytes_field, decode_varint, encode_varint, fields, message_field, varint_field

FRAME_BYTES = 1 << 20
"""How much of a blob goes into one message: so much that the cost of a message is small, and below every known limit (4 MiB)."""

_DATA_KEY = 0x0A


def encode_digest(digest: bytes) -> bytes:
    """Any message whose one field is a digest."""
    return bytes_field(1, digest)


def decode_digest(message: bytes, what: str) -> Digest:
    """The digest in field 1 of `message`, called `what` in errors."""
    return digest_and_flag(message, what)[0]


def encode_digest_and_flag(digest: bytes, flag: bool) -> bytes:
    """A digest in field 1, a boolean in field 2: StatBlobRequest, GetDirectoryRequest."""
    return bytes_field(1, digest) + varint_field(2, flag)


def digest_and_flag(message: bytes, what: str) -> tuple[Digest, bool]:
    """Field 1 as a digest, field 2 as a boolean."""
    digest = b""
    flag = False
    for number, value in fields(message, what):
        if number == 1 and isinstance(value, bytes):
            digest = value
        elif number == 2 and isinstance(value, int):
            flag = value != 0
        elif number <= 2:
            raise MalformedMessage(what=what, reason=f"field {number} has the wrong type", offset=0)
    return digest_from_bytes(digest), flag


def encode_frame(data: Buffer) -> bytes:
    """A BlobChunk, in one copy."""
    return b"".join((b"\x0a", encode_varint(len(data)), data)) if data else b""


def decode_frame(message: Buffer) -> Buffer:
    """The data of a BlobChunk, without a copy where the message holds nothing else."""
    if not message:
        return b""
    view = memoryview(message)
    if view[0] == _DATA_KEY:
        length, offset = decode_varint(view, 1, "blob chunk")
        if offset + length == len(view):
            return view[offset:]
    data = b""
    for number, value in fields(bytes(message), "blob chunk"):
        if number == 1:
            if not isinstance(value, bytes):
                raise MalformedMessage(what="blob chunk", reason="data has the wrong type", offset=0)
            data = value
    return data


def frames_of(contents: Buffer) -> Iterator[bytes]:
    """BlobChunks that together hold `contents`; one for an empty blob, so that its stream is not empty either."""
    if len(contents) <= FRAME_BYTES:
        yield encode_frame(contents)
        return
    view = memoryview(contents)
    for offset in range(0, len(view), FRAME_BYTES):
        yield encode_frame(view[offset : offset + FRAME_BYTES])


def encode_chunks(chunks: Sequence[Chunk]) -> bytes:
    """A StatBlobResponse."""
    return b"".join(message_field(2, bytes_field(1, chunk.digest) + varint_field(2, chunk.size)) for chunk in chunks)


def decode_chunks(message: bytes) -> list[Chunk]:
    """The chunks in a StatBlobResponse, as unproven as they came."""
    chunks: list[Chunk] = []
    for number, value in fields(message, "blob information"):
        if number != 2:
            continue
        if not isinstance(value, bytes):
            raise MalformedMessage(what="blob information", reason="a chunk has the wrong type", offset=0)
        digest = b""
        size = 0
        for part, content in fields(value, "chunk"):
            if part == 1 and isinstance(content, bytes):
                digest = content
            elif part == 2 and isinstance(content, int):
                size = content
            elif part <= 2:
                raise MalformedMessage(what="chunk", reason=f"field {part} has the wrong type", offset=0)
        chunks.append(Chunk(digest_from_bytes(digest), size))
    return chunks

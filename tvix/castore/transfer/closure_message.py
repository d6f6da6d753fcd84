"""What a `Frame` of kind `DIRECTORIES` holds: directories, parents first, and the chunk lists of the large blobs in them.

    u32 number of directories · u32 size of each · the directories · for each large blob: digest, u32 number of chunks,
    and for each chunk its digest and its size as u32

All numbers are little-endian. A chunk list proves nothing: the digest of a blob doesn't cover it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from struct import Struct, error, pack, unpack_from
from typing import NamedTuple

from tvix.castore.blobs.interface import Buffer, Chunk
from tvix.castore.chunk_list import encode_chunks
from tvix.castore.chunking import CHUNKS_MAX
from tvix.castore.digests import DIGEST_BYTES, Digest
from tvix.castore.protobuf import MalformedMessage

_CHUNK = Struct("<32sI")
_WHAT = "closure"


class ClosurePart(NamedTuple):
    """Encoded directories in their order, and chunks by the digest of the blob that they make up."""

    directories: Sequence[bytes]
    chunk_lists: Mapping[Digest, Sequence[Chunk]]


def encode_closure_part(part: ClosurePart) -> bytes:
    """The payload of one frame."""
    pieces = [pack(f"<I{len(part.directories)}I", len(part.directories), *map(len, part.directories)), *part.directories]
    for digest, chunks in part.chunk_lists.items():
        pieces += (digest, pack("<I", len(chunks)), encode_chunks(chunks))
    return b"".join(pieces)


def decode_closure_part(payload: Buffer) -> ClosurePart:
    """From bytes that may come from anywhere. Raises `MalformedMessage`."""
    view = memoryview(payload)
    try:
        (count,) = unpack_from("<I", view)
        if count > len(view) // 4:
            raise MalformedMessage(what=_WHAT, reason="it ends early", offset=0)
        sizes = unpack_from(f"<{count}I", view, 4)
        offset = 4 + 4 * count
        directories = []
        for size in sizes:
            directories.append(bytes(view[offset : offset + size]))
            offset += size
        lists: dict[Digest, Sequence[Chunk]] = {}
        while offset < len(view):
            digest = Digest(bytes(view[offset : offset + DIGEST_BYTES]))
            (chunks,) = unpack_from("<I", view, offset + DIGEST_BYTES)
            offset += DIGEST_BYTES + 4
            end = offset + chunks * _CHUNK.size
            if chunks > CHUNKS_MAX or end > len(view):
                raise MalformedMessage(what=_WHAT, reason="a chunk list is too long", offset=offset)
            lists[digest] = [Chunk(Digest(name), size) for name, size in _CHUNK.iter_unpack(view[offset:end])]
            offset = end
    except error:
        raise MalformedMessage(what=_WHAT, reason="it ends early", offset=len(view)) from None
    if offset != len(view):
        raise MalformedMessage(what=_WHAT, reason="it ends early", offset=len(view))
    return ClosurePart(directories, lists)

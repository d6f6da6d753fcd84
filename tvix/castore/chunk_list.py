"""Lists of chunks, and where in a blob each chunk lies.

Stores keep a list as 32 bytes of digest, then the size as 32 bits, little-endian, for each chunk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from struct import Struct

from tvix.castore.blobs.interface import Buffer, Chunk, CorruptBlob

_ENTRY = Struct("<32sI")


class WrongChunkList(CorruptBlob):
    """A server says of a blob that it consists of chunks which don't make it up."""

    identifier = "castore.wrong-chunk-list"
    message = "{origin} sent a list of chunks for blob {digest} which {reason}: refused"


def encode_chunks(chunks: Iterable[Chunk]) -> bytes:
    """The stored form."""
    return b"".join(_ENTRY.pack(*chunk) for chunk in chunks)


def decode_chunks(encoded: Buffer) -> list[Chunk]:
    """From the stored form. Raises `struct.error` when its length is wrong."""
    return [Chunk(*entry) for entry in _ENTRY.iter_unpack(encoded)]


class ChunkMap:
    """Which chunks hold a range of a blob."""

    __slots__ = ("_ends", "chunks", "size")

    def __init__(self, chunks: Sequence[Chunk]) -> None:
        self.chunks = chunks
        self._ends = list(accumulate(chunk.size for chunk in chunks))
        self.size = self._ends[-1] if self._ends else 0

    def offset(self, number: int) -> int:
        """Where a chunk begins."""
        return self._ends[number] - self.chunks[number].size

    def pieces(self, offset: int, length: int) -> Iterator[tuple[int, int, int]]:
        """(number of the chunk, offset in it, length) of the pieces that make up a range; the range ends where the blob does."""
        end = min(offset + length, self.size)
        number = bisect_right(self._ends, offset)
        while offset < end:
            chunk_end = self._ends[number]
            size = min(end, chunk_end) - offset
            yield number, offset - chunk_end + self.chunks[number].size, size
            offset += size
            number += 1

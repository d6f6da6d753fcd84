"""Ranges of a verified blob: where they are asked for, what is kept, and that lies are seen."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator

import pytest

from tvix.castore.blobs.interface import Buffer, Chunk, CorruptBlob
from tvix.castore.blobs.memory import BytesReader, MemoryBlobService
from tvix.castore.blobs.ranges import VerifiedRanges
from tvix.castore.digests import Digest, digest_of

CONTENTS = random.Random(3).randbytes(10 << 20)
PIECE = 256 << 10
CHUNKS = [Chunk(digest_of(CONTENTS[at : at + PIECE]), PIECE) for at in range(0, len(CONTENTS), PIECE)]
WHOLE = digest_of(CONTENTS)


class Watched(MemoryBlobService):
    """Counts how often it is asked, and for what."""

    def __init__(self, max_bytes: int | None = None) -> None:
        super().__init__(max_bytes)
        self.streams = 0
        self.pieces: list[Digest] = []

    def open(self, digest: Digest) -> BytesReader | None:
        self.streams += 1
        return super().open(digest)

    def read_many(self, digests: Iterable[Digest]) -> Iterator[tuple[Digest, Buffer | None]]:
        asked = list(digests)
        self.pieces += asked
        return super().read_many(asked)


def far_with(*contents: bytes) -> Watched:
    far = Watched()
    for blob in contents:
        far.put(blob)
    return far


def pieces() -> list[bytes]:
    return [CONTENTS[at : at + PIECE] for at in range(0, len(CONTENTS), PIECE)]


def test_a_far_end_that_has_the_chunks_is_asked_for_those_alone() -> None:
    far = far_with(CONTENTS, *pieces())
    ranges = VerifiedRanges(WHOLE, CHUNKS, MemoryBlobService(1 << 20), far, "far")
    assert bytes(ranges.read_at(5 * PIECE + 7, PIECE)) == CONTENTS[5 * PIECE + 7 : 6 * PIECE + 7]
    assert far.pieces == [CHUNKS[5].digest, CHUNKS[6].digest]
    assert far.streams == 0


def test_another_far_end_is_asked_for_the_blob() -> None:
    far = far_with(CONTENTS)
    ranges = VerifiedRanges(WHOLE, CHUNKS, MemoryBlobService(1 << 20), far, "far")
    assert bytes(ranges.read_at(0, 3 * PIECE)) == CONTENTS[: 3 * PIECE]
    assert bytes(ranges.read_at(3 * PIECE, PIECE)) == CONTENTS[3 * PIECE : 4 * PIECE]
    assert far.streams == 1


def test_a_near_end_that_forgets_is_not_filled_and_one_that_does_not_is() -> None:
    for near, kept in ((MemoryBlobService(4 << 20), 2), (MemoryBlobService(), 0)):
        VerifiedRanges(WHOLE, CHUNKS, near, far_with(*pieces()), "far").read_at(0, 2 * PIECE)
        assert len(near.missing([CHUNKS[0].digest, CHUNKS[1].digest])) == kept


def test_what_was_read_last_is_not_asked_for_again() -> None:
    far = far_with(*pieces())
    ranges = VerifiedRanges(WHOLE, CHUNKS, MemoryBlobService(1 << 20), far, "far")
    for offset in range(0, PIECE, 4096):
        ranges.read_at(offset, 4096)
    assert far.pieces == [CHUNKS[0].digest]


def test_a_far_end_that_lies_about_the_blob_is_refused() -> None:
    class Liar(Watched):
        def open(self, _digest: Digest) -> BytesReader | None:
            return BytesReader(bytes(len(CONTENTS)))

    ranges = VerifiedRanges(WHOLE, CHUNKS, MemoryBlobService(1 << 20), Liar(), "far")
    with pytest.raises(CorruptBlob):
        ranges.read_at(0, 10)
